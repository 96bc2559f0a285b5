"""Mean-field: q is a product of factors, each solved exactly given the others' expectations.

    log q_g(y_g) = E_{q of the others}[ log p(x, y | theta) ] + const
    ELBO         = sum of E_q[terms] + sum of entropies,   H(q_g) = A_g - E_{q_g}[ the terms that A_g normalises ]

Right after a factor's own update the terms that touch it and its entropy add up to A_g: so a sweep tells the bound
from the last factor's normaliser and the terms that do not touch it.

(Wainwright and Jordan 2008, section 5; Blei, Kucukelbir and McAuliffe 2017.) What a factor sees of another are its
moments: arrays like data. So each factor is eliminated as an exact posterior is, from terms averaged over the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Ix
from emdsl.derive.algebra.made import (
    ARGUMENT,
    AT,
    CLIQUE,
    COV,
    FIRST,
    LOCATION,
    MEAN,
    MOMENT,
    PAIR,
    PROBABILITIES,
    VARIANCE,
    VOLUME,
    Q,
    among,
    made_of,
)
from emdsl.derive.joint.addends import by_addends
from emdsl.derive.joint.factors import Factor, LogJoint
from emdsl.derive.joint.plates import home_of
from emdsl.derive.joint.records import WHOLE
from emdsl.derive.joint.sides import KNOWN, LATENT, classes, side_in
from emdsl.derive.joint.substituted import functions_of
from emdsl.derive.joint.terms import Term, by_states, merge, most_states, symmetry_of, terms
from emdsl.derive.joint.weights import weigh
from emdsl.derive.posteriors.averages import averaged, hidden, in_turn
from emdsl.derive.posteriors.block import MOST_TOGETHER, Block, touches
from emdsl.derive.posteriors.blocks import Elimination, Part, eliminated, enumerable, is_prior
from emdsl.derive.posteriors.discrete import WAYS_OUT, groups
from emdsl.derive.posteriors.gaussian_moments import covariance_axes
from emdsl.derive.posteriors.refusals import placed
from emdsl.derive.posteriors.scaled import is_matrix
from emdsl.errors import ModelError, Problem, Span
from emdsl.language import model as m


def factors_of_q(joint: LogJoint) -> tuple[tuple[str, ...], ...]:
    """The latents of each factor, in the order of the `infer` lines; () where none is by mean-field.

    What no line names forms one last factor: it is exact, given the rest. Missing cells of data stand with the class
    that their density is gated by: given the class they are exact. A line that names the data has them in a factor of
    their own, once they have gaps.
    """
    seen = {v.name for v in joint.model.of_kind("observed")} - joint.incomplete
    lines = [g for line in joint.model.infer if line.method == "meanfield" for g in line.groups]
    named = [g for g in (tuple(n for n in g if n not in seen) for g in lines) if g]
    if not named:
        return ()
    mine = {n for g in named for n in g}
    beside = {n: _gating(joint, n, named) for n in sorted(joint.incomplete - mine)}
    hidden = {v.name for v in joint.model.of_kind("latent")} - joint.deterministic | joint.incomplete
    rest = tuple(v.name for v in joint.model.variables if v.name in hidden - mine and beside.get(v.name) is None)
    whole = [(*g, *(n for n, at in beside.items() if at == k)) for k, g in enumerate(named)]
    return (*whole, rest) if rest else tuple(whole)


def _gating(joint: LogJoint, name: str, named: Sequence[tuple[str, ...]]) -> int | None:
    """The one factor that holds the discrete latents in a variable's density."""
    gates = {g.of.var for f in joint.factors if f.about == name for g in f.gates if isinstance(g.of, El)}
    found = [k for k, group in enumerate(named) if gates & set(group)]
    return found[0] if len(found) == 1 and gates <= set(named[found[0]]) else None


def factorised(
    joint: LogJoint, weighted: str | None, wanted: Sequence[tuple[str, ...]], single: frozenset[str] = frozenset()
) -> Elimination:
    """The factors of q and the terms of the bound. Raises `ModelError` where an expectation does not close.

    single : latents of which each element is a factor, beside those that an `infer` line names so.
    """
    made = [e.latents for e in joint.events]
    wanted = [*made, *(g for g in wanted if g not in made)]
    kinds, owner = classes(joint), {n: str(k) for k, latents in enumerate(wanted) for n in latents}
    whole = [(t, f) for f in joint.factors for t in terms(f, side_in(kinds))]
    everything = [
        (p, f) for t, f in whole for p in (by_states(t, lambda n: owner.get(n, n)) if most_states(t) > FEW else [t])
    ]
    prior = tuple(t for t, f in everything if is_prior(t, f, joint))
    mine = [(t, f) for t, f in everything if not is_prior(t, f, joint)]
    bare = [_bare(joint, latents) or (latents[0] if latents[0] in single else None) for latents in wanted]
    alone = [_conditional(joint, g, mine, kinds, weighted, b) for g, b in zip(wanted, bare, strict=True)]
    parts = []
    for n, latents in enumerate(wanted):
        others = [blocks for k, blocks in enumerate(alone) if k != n]
        pool = [(p, f.span, f.about) for t, f in mine if touches(t, latents) for p in _over(t, f, others, joint)]
        held = _known(kinds, latents)
        blocks, rest = eliminated(joint, _groups(joint, latents, mine), pool, held, weighted, bare[n])
        own = [p for t, span, about in pool for p in _apart(t, span, about, blocks, joint)]
        symmetry = symmetry_of(joint)
        shares = [tuple(merge((weigh(t, weighted, joint) for t in ts), symmetry)) for ts in (rest, own)]
        parts.append(Part(latents, blocks, *shares))
    done = [p.blocks for p in parts]
    free, apart = (
        tuple(merge((weigh(p, weighted, joint) for t, f in some for p in _over(t, f, done, joint)), symmetry_of(joint)))
        for some in (mine, [(t, f) for t, f in mine if not touches(t, wanted[-1])])
    )
    blocks = tuple(b for p in parts for b in p.blocks)
    _refuse_bare(joint.model, blocks)
    enumerable(blocks, joint.model)
    return Elimination(blocks, free, prior, tuple(everything), tuple(parts), apart)


def as_sums_or_addends(joint: LogJoint) -> tuple[LogJoint, ...]:
    """The joint as it is, and with logs of sums as those of an addend, where it has some."""
    found = by_addends(joint, side_in(classes(joint)))
    return (joint, found) if found.events else (joint,)


def largest_factors(joint: LogJoint, weighted: str | None) -> Elimination | None:
    """Factors of q as large as are tractable: those of single blocks, two made one wherever that can be.

    None where even the smallest do not close, nor single elements of continuous latents. The order is that of
    declaration.
    """
    everything, wanted = _smallest(joint)
    best, single = _tractable(joint, weighted, wanted), frozenset[str]()
    if best is None:
        single = _continuous(joint, wanted)
        best = _tractable(joint, weighted, wanted, single) if single else None
    apart = frozenset[str]()
    if best is not None and not joint.model.enumerated:  # states together are too many: of elements there are few
        apart = frozenset(p.latents[0] for p in best.parts if len(p.latents) == 1 and any(b.network for b in p.blocks))
        best, single = _tractable(joint, weighted, wanted, single | apart) or best, single | apart
    pairs = [(a, b) for k, a in enumerate(wanted) for b in wanted[k + 1 :]] if len(wanted) <= MOST else []
    for a, b in pairs if best is not None else []:
        first, second = (next(w for w in wanted if n in w) for n in (a[0], b[0]))
        if first == second or any(map(joint.events_of, (*first, *second))) or apart & {*first, *second}:
            continue
        if not any(touches(t, first) and touches(t, second) for t, _ in everything):
            continue
        merged = tuple(v.name for v in joint.model.variables if v.name in (*first, *second))
        fewer = [merged if w == first else w for w in wanted if w != second]
        found = _tractable(joint, weighted, fewer, single) if len(fewer) > 1 else None
        if found is not None:
            wanted, best = fewer, found
    return best


def why_not(joint: LogJoint, weighted: str | None) -> str:
    """Why even the smallest factors do not close, in words; "" where they do, or where there is one alone."""
    _, wanted = _smallest(joint)
    try:
        factorised(joint, weighted, wanted, _continuous(joint, wanted))
    except ModelError as refusal:
        return placed(refusal.problems[0], refusal.source) if len(wanted) > 1 else ""
    return ""


def without_family(
    joint: LogJoint, weighted: str | None, wanted: Sequence[tuple[str, ...]], everyone: bool
) -> list[tuple[str, ...]]:
    """The continuous latents of each factor whose form is no known one, given the others; or of all factors."""
    kinds = classes(joint)
    whole = [(t, f) for f in joint.factors for t in terms(f, side_in(kinds))]
    mine = [(t, f) for t, f in whole if not is_prior(t, f, joint)]
    out: list[tuple[str, ...]] = []
    for latents in wanted:
        try:
            _conditional(joint, latents, mine, kinds, weighted, _bare(joint, latents))
        except ModelError:
            pass
        else:
            if not everyone:
                continue
        free = tuple(n for n in latents if n not in joint.discrete | joint.deterministic | joint.in_clouds)
        out += [free] if free else []
    return out


FEW = 8  # latents of whose states a function may be a table without a look at what it is made of
MOST = 8  # latents of which all pairs are tried


def _smallest(joint: LogJoint) -> tuple[list[tuple[Term, Factor]], list[tuple[str, ...]]]:
    """All terms, and the latents that meet in these together; where they are too many for that, each by itself."""
    kinds = classes(joint)
    everything = [(t, f) for f in joint.factors for t in terms(f, side_in(kinds))]
    found = groups(joint, everything).values()
    return everything, [w for g in found for w in ([g] if len(g) <= MOST_TOGETHER else [(n,) for n in g])]


def _continuous(joint: LogJoint, wanted: Sequence[tuple[str, ...]]) -> frozenset[str]:
    """The continuous latents that stand alone in their factor."""
    return frozenset(g[0] for g in wanted if len(g) == 1 and g[0] not in joint.discrete)


def _tractable(
    joint: LogJoint, weighted: str | None, wanted: Sequence[tuple[str, ...]], single: frozenset[str] = frozenset()
) -> Elimination | None:
    try:
        return factorised(joint, weighted, wanted, single)
    except ModelError:
        return None


def _tied(block: Block) -> bool:
    """Whether the elements of a block are handled together."""
    field = block.field is not None and bool(block.field.ties)
    return block.chain is not None or ((bool(block.network) or field) and not block.apart)


def _refuse_bare(model: m.ModelText, blocks: Sequence[Block]) -> None:
    """A bare name asks for a factor for each of its elements: only where they are not tied is that the block found."""
    problems = []
    for line in model.infer:
        for group, grouped in zip(line.groups, line.grouped, strict=True):
            block = next((b for b in blocks if group[0] in b.latents), None)
            if line.method == "meanfield" and not grouped and block is not None and _tied(block):
                text = (
                    f"the elements of {group[0]} are tied to one another, and factors for single ones do not follow yet"
                )
                problems.append(
                    Problem("E120", text, line.span, f"keep them together: infer ({group[0]}) by meanfield")
                )
    if problems:
        raise ModelError(problems, model.source)


def _conditional(
    joint: LogJoint, latents: tuple[str, ...], mine: Sequence[tuple[Term, Factor]], kinds: Mapping[str, str],
    weighted: str | None, bare: str | None,
) -> tuple[Block, ...]:  # fmt: skip
    """The blocks of one factor with all other latents known: they have the statistics that mean-field gives them."""
    pool = [(hidden(t, latents), f.span, f.about) for t, f in mine if touches(t, latents)]
    left = _groups(joint, latents, mine)
    return eliminated(joint, left, pool, _known(kinds, latents), weighted, bare)[0]


def _bare(joint: LogJoint, latents: tuple[str, ...]) -> str | None:
    """The latent that an `infer` line names without parentheses: each of its elements is a factor."""
    for line in joint.model.infer:
        for group, grouped in zip(line.groups, line.grouped, strict=True):
            if line.method == "meanfield" and group == latents and not grouped:
                return latents[0]
    return None


def _known(kinds: Mapping[str, str], latents: Sequence[str]) -> Mapping[str, str]:
    """The classes of variables for one factor: the latents of others are known."""
    return {n: KNOWN if k in LATENT and n not in latents else k for n, k in kinds.items()}


def _groups(joint: LogJoint, latents: Sequence[str], mine: Sequence[tuple[Term, Factor]]) -> dict[str, tuple[str, ...]]:
    own = [(hidden(t, latents), f) for t, f in mine if touches(t, latents)]
    return {n: found for n, found in groups(joint, own).items() if set(found) <= set(latents)}


def _apart(t: Term, span: Span, about: str, blocks: Sequence[Block], joint: LogJoint) -> list[Term]:
    return _closed(averaged(t, blocks, joint), span, about, joint)


def _closed(found: list[Term] | str, span: Span, about: str, joint: LogJoint) -> list[Term]:
    if not isinstance(found, str):
        found = next((why for t in found if (why := _too_wide(t))), found)
    if isinstance(found, str):
        text = f"mean-field cannot average the density of {about or 'a factor'}: {found}"
        raise ModelError([Problem("E110", text, span, WAYS_OUT)], joint.model.source)
    return found


def _too_wide(t: Term) -> str:
    """Why a term is not averaged: one function reads the states of more latents than make a table. "" where it is."""
    states = {i for f in t.factors if isinstance(f, El) and among(f.var, PROBABILITIES) for i in x.free(f)}
    read = [sorted({i.name for i in set(x.free(f)) & states}) for f in t.factors if not isinstance(f, El)]
    most = max(read, key=len, default=[])
    if len(most) <= MOST_TOGETHER:
        return ""
    return f"a function reads the states of {len(most)} latents together, at least 2^{len(most)} of them"


def _over(t: Term, f: Factor, factors: Sequence[tuple[Block, ...]], joint: LogJoint) -> list[Term]:
    """A term averaged over several factors, one after the other."""
    return _closed(in_turn(t, factors, joint), f.span, f.about, joint)


def moments_of(block: Block, model: m.ModelText) -> dict[str, tuple[Ix, ...]]:
    """What others may read of a factor's posterior: each array's name and the axes it has."""
    name, own = block.name, (*block.gates, *(block.outside if block.field is not None else block.home))
    if block.network:
        cliques = {CLIQUE.at(n).of(name): c.axes for n, c in enumerate(block.network)}
        places = [home_of(model.variable(n)) for n in block.latents]
        return cliques | {Q.of(n): (s, *h) for n, s, h in zip(block.latents, block.states, places, strict=True)}
    out: dict[str, tuple[Ix, ...]] = {Q.of(name): (*block.states, *own)} if block.states or block.gates else {}
    out |= _points_of(block, model)
    if block.chain is not None:
        out[PAIR.of(name)] = (*block.chain.before, *block.states, *own)
        for r in range(block.chain.depth):
            behind = block.chain.before if r else ()
            out[FIRST.at(r).of(name)] = (*behind, *block.states, *block.gates, *block.chain.outer)
    if block.record is not None and block.scale is None:
        shapes = {k: own if k in WHOLE else (*own, *block.own) for k in (*block.record.moments, *block.record.fields)}
        out |= {MOMENT.of(name, kind): shapes[kind] for kind in block.record.moments}
        out |= {ARGUMENT.of(name, a): shapes[a] for a in block.record.fields if not block.gates}
    if block.scale is not None and block.gaussian is None:
        out |= {LOCATION.of(name): own, VARIANCE.of(name): own}
    if block.scale is not None and block.gaussian is not None and not block.by_pattern:
        both = () if is_matrix(block) else (*block.gaussian.rows[name], *block.gaussian.columns[name])
        out |= {LOCATION.of(name): (*own, *block.own), VARIANCE.of(name): (*own, *both)}
    elif block.gaussian is not None and block.field is None:
        g, shared = block.gaussian, covariance_axes(block)
        out |= {MEAN.of(n): (*own, *g.rows[n]) for n in block.latents}
        pairs = [(a, b) for k, a in enumerate(block.latents) for b in block.latents[k:]]
        out |= {COV.of(a, b): (*shared, *g.rows[a], *g.columns[b]) for a, b in pairs}
    if block.gaussian is not None and block.field is not None:
        g, homes = block.gaussian, block.field.homes
        out |= {MEAN.of(n): (*block.gates, *homes[n], *g.rows[n]) for n in block.latents}
        pairs = [(a, b) for a in block.latents for b in block.latents if homes[a] == homes[b]]
        out |= {COV.of(a, b): (*block.gates, *homes[a], *g.rows[a], *g.columns[b]) for a, b in pairs}
        for k, tie in enumerate(block.field.ties):
            a, b = tie.latents
            out[COV.of(a, b, k)] = (*block.gates, *tie.ixs, *g.rows[a], *g.columns[b])
    return out


def _points_of(block: Block, model: m.ModelText) -> dict[str, tuple[Ix, ...]]:
    """Where the latents of a block stand that has them at points, and the volumes that these stand for."""
    out: dict[str, tuple[Ix, ...]] = {}
    for e in (e for t in block.terms for f in t.factors for e in x.walk(f)):
        if isinstance(e, El) and e.idx and e.idx[0] in block.states:
            assert isinstance(e.idx[0], Ix)
            if e.var in AT:
                dims = [str(d) for d in model.variable(AT.named(e.var)).domain.dims]
                own = tuple(Ix(f"{AT.named(e.var)}_{k}", d) for k, d in enumerate(dims))
                out[e.var] = (e.idx[0], *block.home, *own)
            elif e.var in VOLUME:
                out[e.var] = (e.idx[0], *block.home)
    return out


def moments(elimination: Elimination, model: m.ModelText) -> dict[str, tuple[Ix, ...]]:
    """The arrays that one factor hands to the others, to the statistics, or to whoever asks for the posterior."""
    read = {
        e.var
        for part in elimination.parts
        for t in (*(t for b in part.blocks for t in b.all_terms), *part.own, *elimination.free)
        for f in t.factors
        for e in x.walk(f)
        if isinstance(e, El)
    }
    kept = (Q, MOMENT, ARGUMENT, MEAN, COV, LOCATION, VARIANCE, AT)
    found = {k: axes for p in elimination.parts for b in p.blocks for k, axes in moments_of(b, model).items()}
    return {k: axes for k, axes in found.items() if k in read or (among(k, kept) and len(made_of(k)[1]) < 3)}


def alone(model: m.ModelText, latents: Sequence[str]) -> m.ModelText:
    """The model in which all latents but those of one factor of q are data: under it that factor is the posterior.

    What is a function of latents stays one: it has no distribution that data could be of.
    """
    held = {*latents, *functions_of(model)}
    variables = tuple(
        replace(v, kind="observed") if v.kind == "latent" and v.name not in held else v for v in model.variables
    )
    lines = []
    for line in model.infer:
        kept = [(g, whole) for g, whole in zip(line.groups, line.grouped, strict=True) if set(g) & held]
        groups = tuple(tuple(n for n in g if n in held) for g, _ in kept)
        lines += [replace(line, groups=groups, grouped=tuple(whole for _, whole in kept))] if kept else []
    return replace(model, variables=variables, infer=tuple(lines))
