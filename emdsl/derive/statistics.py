"""The expected complete-data log-likelihood as a function of parameters and expected sufficient statistics.

    Q(theta) = sum over terms of coef * prod(functions of theta) * S,    S = E_q[ sum over data of the rest ]

A sufficient statistic is never written down by hand: it is what multiplies a function of parameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from emdsl.derive import expr as x
from emdsl.derive.block import Block, place, touches
from emdsl.derive.blocks import Elimination, classes, is_prior
from emdsl.derive.chains import EDGE, FIRST, Placed
from emdsl.derive.discrete import placements
from emdsl.derive.expr import DataIx, El, Expr, Idx, Ix
from emdsl.derive.factors import Factor, LogJoint
from emdsl.derive.gaussian_moments import under_gaussian
from emdsl.derive.networks import clique_key, in_clique
from emdsl.derive.records import function_of, slots_of
from emdsl.derive.show import show
from emdsl.derive.terms import Symmetry, Term, blocks_of, canonical_names, merge, spell, symmetry_of
from emdsl.derive.weights import weigh
from emdsl.errors import InternalError


@dataclass(frozen=True)
class Statistic:
    """`S[axes] = sum of prod(factors)` over every other index of the factors and over `ixs`.

    Factors hold data, weights (`weight`), posterior probabilities (`q:block`) and moments (`E:latent:function`).
    `definition` is the same product before expectations were taken.
    """

    name: str
    axes: tuple[Ix, ...]
    factors: tuple[Expr, ...]
    ixs: tuple[Ix, ...]
    definition: tuple[Expr, ...] = ()


@dataclass(frozen=True)
class Mixed:
    """A term in which data and parameters do not come apart: its factors after expectation."""

    term: Term
    factor: Factor


@dataclass(frozen=True)
class Expected:
    """Q: its statistics, its terms (statistics appear as `El("S:name", ...)`), and what does not come apart."""

    statistics: tuple[Statistic, ...]
    terms: tuple[Term, ...]
    prior: tuple[Term, ...]
    mixed: tuple[Mixed, ...]
    symmetry: Symmetry


def expected(joint: LogJoint, elimination: Elimination, weighted: str | None) -> Expected:
    """Q and its statistics, for every term that holds a parameter."""
    kinds = classes(joint)
    symmetry = symmetry_of(joint)
    found: dict[tuple[object, ...], Statistic] = {}
    terms: list[Term] = []
    prior: list[Term] = []
    mixed: list[Mixed] = []
    for t, factor in elimination.terms:
        if not any(kinds.get(n) == "P" for f in t.factors for n in x.variables(f)):
            continue
        if is_prior(t, factor, joint):
            prior.append(_multiplicity(t))
            continue
        for part in _expectation(t, elimination, joint):
            _collect(
                selectors(weigh(part, weighted, joint.model), joint, kinds),
                factor,
                kinds,
                mixed,
                terms,
                found,
                symmetry,
                joint,
                weighted,
            )
    return Expected(
        tuple(found.values()), tuple(merge(terms, symmetry)), tuple(merge(prior, symmetry)), tuple(mixed), symmetry
    )


def _expectation(t: Term, elimination: Elimination, joint: LogJoint) -> list[Term]:
    """A term under q: under the one posterior, or under each of the factors of q in turn."""
    out = [t]
    for blocks in [p.blocks for p in elimination.parts] or [elimination.blocks]:
        apart = average if not elimination.parts else averaged
        found = [apart(one, blocks, joint) for one in out]
        out = []
        for terms in found:
            if isinstance(terms, str):
                raise InternalError("statistics", terms)  # a posterior has the moments of the statistics that found it
            out += terms
    return out


def _collect(
    whole: Term, factor: Factor, kinds: Mapping[str, str], mixed: list[Mixed], terms: list[Term],
    found: dict[tuple[object, ...], Statistic], symmetry: Symmetry, joint: LogJoint, weighted: str | None,
) -> None:  # fmt: skip
    """One averaged term: into the mixed ones, or as functions of parameters times a statistic."""
    if any(len(blocks_of(f, lambda n: _side(n, kinds))) > 1 for f in whole.factors):
        mixed.append(Mixed(whole, factor))
        return
    ours = tuple(f for f in whole.factors if _is_parameter(f, kinds))
    rest = tuple(f for f in whole.factors if f not in ours)
    if not rest and not any(i.dim == weighted for i in whole.ixs):
        terms.append(_multiplicity(Term(whole.coef, (), ours, whole.ixs)))
    else:
        terms.append(_with_statistic(whole, ours, rest, found, symmetry, joint))


def _side(name: str, kinds: Mapping[str, str]) -> str:
    return "P" if kinds.get(name) == "P" else "D"


def _is_parameter(f: Expr, kinds: Mapping[str, str]) -> bool:
    return any(kinds.get(n) == "P" for n in x.variables(f))


def average(t: Term, blocks: Sequence[Block], joint: LogJoint) -> list[Term] | str:
    """E_q of a term: gates become posterior probabilities, functions of latents their moments."""
    held = {g.of.var for g in t.gates if isinstance(g.of, El)}
    held |= {n for f in t.factors for n in x.variables(f) if any(n in b.latents for b in blocks)}
    # a block that is averaged out leaves only its arrays (`location:u`) behind
    block = next((b for b in blocks if held & set(b.latents)), None)
    if block is None:
        return [t]
    neighbours: dict[tuple[str, tuple[Idx, ...]], Ix] = {}
    for n in block.neighbours:
        assert isinstance(n.of, El) and isinstance(n.at, Ix)
        neighbours[n.of.var, n.of.idx] = n.at
    before = set(neighbours)
    if block.network:
        return [_in_network(t, block, joint)]
    if block.gaussian is not None:
        return under_gaussian(t, block)
    if block.states:
        found = placements(t, block, neighbours)
        assert not isinstance(found, str) and set(neighbours) == before, found
        return [probable(p, block) for p in found]
    placed = place(t, block.latents, block.home, block.states, neighbours)
    if block.scale is not None and isinstance(placed, Term):
        return _given_scale(t, placed, block, blocks, joint)
    assert isinstance(placed, Term) and set(neighbours) == before, placed
    moment = _moments(placed, block)
    return moment if isinstance(moment, str) else [moment]


def hidden(t: Term, latents: Sequence[str]) -> Term:
    """Selectors of other latents among the factors, as those of data are."""
    gates = tuple(g for g in t.gates if isinstance(g.of, El) and g.of.var in latents)
    return Term(t.coef, gates, (*t.factors, *(g for g in t.gates if g not in gates)), t.ixs)


def _shown(t: Term, joint: LogJoint) -> Term:
    """Back again."""
    found = [f for f in t.factors if isinstance(f, x.Sel) and isinstance(f.of, El) and f.of.var in joint.discrete]
    return Term(t.coef, (*t.gates, *found), tuple(f for f in t.factors if f not in found), t.ixs)  # type: ignore[arg-type]


def averaged(t: Term, blocks: Sequence[Block], joint: LogJoint) -> list[Term] | str:
    """The expectation of a term over these blocks alone: what it holds of other latents stays."""
    latents = [n for b in blocks for n in b.latents]
    if not touches(t, latents):
        return [t]
    found = average(hidden(t, latents), blocks, joint)
    return found if isinstance(found, str) else [_shown(p, joint) for p in found]


def probable(p: Placed, block: Block) -> Term:
    """A term in the states of a discrete block under its posterior.

    `q:z` is the probability of an element's states, `pair:z` of those before it and its own, `first0:z`, ... the
    same at the positions that have fewer than L elements behind them.
    """
    chain = block.chain
    kind, home = "q", block.home
    behind: tuple[Ix, ...] = ()
    if chain is not None and p.role == EDGE:
        kind, behind = "pair", chain.before
    elif chain is not None and p.role:
        kind, home = p.role, chain.outer
        behind = chain.before if p.role != f"{FIRST}0" else ()
    axes = (*behind, *block.states, *block.gates, *home)
    return Term(p.term.coef, (), (*p.term.factors, El(f"{kind}:{block.name}", axes)),
                tuple(dict.fromkeys((*p.term.ixs, *axes))))  # fmt: skip


def _in_network(t: Term, block: Block, joint: LogJoint) -> Term:
    """A term under the probabilities of the clique that it stands in."""
    made = in_clique(t, block.latents, joint.levels)
    assert not isinstance(made, str), made
    n = next(n for n, c in enumerate(block.network) if clique_key(c) == clique_key(made))
    (own,) = made.terms
    q = El(f"clique{n}:{block.name}", made.axes)
    return Term(own.coef, (), (*made.masks, *own.factors, q), own.ixs)


def _given_scale(t: Term, placed: Term, block: Block, blocks: Sequence[Block], joint: LogJoint) -> list[Term] | str:
    """u -> location, u^2 -> location^2 + variance / scale; then the scale's own block averages what is left."""
    name, axes = block.name, (*block.gates, *block.home)
    mine = [f for f in placed.factors if name in x.variables(f)]
    rest = tuple(f for f in placed.factors if name not in x.variables(f))
    location, variance = El(f"location:{name}", axes), El(f"variance:{name}", axes)
    leaf = next(e for f in mine for e in x.walk(f) if isinstance(e, El) and e.var == name)
    kind = function_of(x.mul(*mine), leaf)
    assert block.scale is not None
    if kind == "id":
        parts: list[tuple[Expr, ...]] = [(location,)]
    elif kind == "square":
        parts = [(x.power(location, x.num(2)),), (variance, x.power(block.scale, x.num(-1)))]
    else:
        return f"no closed expectation of {show(x.mul(*mine))} under the posterior of {name}"
    out: list[Term] = []
    for p in parts:
        c, body = x.split_number(x.mul(*rest, *p))
        term = Term(placed.coef * c, block.neighbours, tuple(f for f in x.factors_of(body) if f != x.ONE), placed.ixs)
        later = average(term, [b for b in blocks if b is not block], joint)
        if isinstance(later, str):
            return later
        out += later
    return out


def _moments(t: Term, block: Block) -> Term | str:
    name = block.latents[0]
    mine = [f for f in t.factors if name in x.variables(f)]
    rest = tuple(f for f in t.factors if name not in x.variables(f))
    factors = rest
    if mine:
        leaf = next(e for f in mine for e in x.walk(f) if isinstance(e, El) and e.var == name)
        whole = x.mul(*mine)
        kind = function_of(whole, leaf)
        if kind is None or block.record is None or kind not in block.record.moments:
            return f"no closed expectation of {show(whole)} under the posterior of {name}"
        factors = (*rest, El(f"E:{name}:{kind}", (*block.gates, *block.home, *slots_of(whole, leaf, len(block.home)))))
    if not block.gates:
        return replace(t, factors=factors)
    q = El(f"q:{block.name}", (*block.gates, *block.home))
    return Term(t.coef, (), (*factors, q), tuple(dict.fromkeys((*t.ixs, *block.gates))))


def selectors(t: Term, joint: LogJoint, kinds: Mapping[str, str]) -> Term:
    """A parameter read through data becomes a selector and a dummy.

    `beta[group[n]] = sum_g [group[n] = g] beta[g]`
    """
    found: dict[tuple[Expr, str], Ix] = {}

    def replace_index(e: Expr) -> Expr | None:
        if not isinstance(e, El) or kinds.get(e.var) != "P" or not any(isinstance(i, DataIx) for i in e.idx):
            return None
        shape = joint.model.variable(e.var).shape
        idx: list[Idx] = []
        for i, size in zip(e.idx, shape, strict=True):
            if isinstance(i, DataIx):
                key = (i.value, str(size))
                if key not in found:
                    found[key] = x.fresh(str(size))
                idx.append(found[key])
            else:
                idx.append(i)
        return El(e.var, tuple(idx), e.sort)

    factors = []
    for f in t.factors:
        sides = blocks_of(f, lambda n: _side(n, kinds))
        factors.append(x.rebuild(f, replace_index) if "P" in sides and _only_indices(f, kinds) else f)
    chosen = tuple(x.sel(value, ix) for (value, _), ix in found.items())
    return replace(t, factors=(*factors, *chosen), ixs=(*t.ixs, *found.values()))


def _only_indices(f: Expr, kinds: Mapping[str, str]) -> bool:
    """Whether data enters an expression of parameters through index positions alone."""

    def known(e: Expr) -> bool:
        match e:
            case El():
                return kinds.get(e.var) == "P"
            case x.Val() | x.Sel():
                return False
            case x.MatInv() | x.LogDet() | x.Sum():
                return known(e.body)
            case _:
                return all(known(c) for c in x.children(e))

    return known(f)


def _multiplicity(t: Term) -> Term:
    """An index that nothing carries counts its length."""
    carried = {i for f in t.factors for i in x.free(f)}
    extra = tuple(x.num(int(i.dim)) if i.dim.isdigit() else x.SizeN(i.dim) for i in t.ixs if i not in carried)
    if not extra:
        return t
    c, rest = x.split_number(x.mul(*extra))
    more = tuple(f for f in x.factors_of(rest) if f != x.ONE)
    return Term(t.coef * c, (), (*t.factors, *more), tuple(i for i in t.ixs if i in carried))


def _with_statistic(
    t: Term, ours: tuple[Expr, ...], rest: tuple[Expr, ...],
    found: dict[tuple[object, ...], Statistic], symmetry: Symmetry, joint: LogJoint,
) -> Term:  # fmt: skip
    """The term with everything but functions of parameters replaced by its statistic."""
    t = _multiplicity(t)
    rest = (*rest, *(f for f in t.factors if f not in ours and f not in rest))
    rest, _ = drop_presence(rest)
    wanted = {i for f in ours for i in x.free(f)}
    out = tuple(i for i in t.ixs if i in wanted and any(i in x.free(f) for f in rest))
    marks = tuple(El("out", (i,)) for i in out)
    inside = tuple(i for i in t.ixs if any(i in x.free(f) for f in rest))
    names = canonical_names((*rest, *marks), inside, symmetry)
    key = spell((*rest, *marks), names, symmetry)
    axes = tuple(sorted((names[i] for i in out), key=lambda i: (not _is_state(i, names, rest), i.name, i.dim)))
    if key not in found:
        to: dict[Ix, Idx] = dict(names)
        factors = tuple(x.substitute(f, to) for f in rest)
        used = {s.name for s in found.values()}
        found[key] = Statistic(_name(factors, used), axes, factors, tuple(names[i] for i in inside))
    stat = found[key]
    back = {v: k for k, v in names.items()}
    statistic = El(f"S:{stat.name}", tuple(back[i] for i in stat.axes))
    ixs = tuple(i for i in t.ixs if i in wanted)
    return Term(t.coef, (), (*ours, statistic), ixs)


def _is_state(i: Ix, names: Mapping[Ix, Ix], rest: Sequence[Expr]) -> bool:
    originals = [k for k, v in names.items() if v == i]
    probabilities = [f for f in rest if isinstance(f, El) and f.var.startswith(("q:", "pair:", "clique", FIRST))]
    return any(o in f.idx for f in probabilities for o in originals)


def drop_presence(factors: tuple[Expr, ...]) -> tuple[tuple[Expr, ...], bool]:
    """A missing value is stored as 0, so a factor that vanishes with it needs no mask."""
    vanishing = {e.var for f in factors for e in _vanishes_with(f)}
    kept = tuple(
        f for f in factors if not (isinstance(f, El) and f.var.startswith("present:") and f.var[8:] in vanishing)
    )
    return kept, len(kept) < len(factors)


def _vanishes_with(f: Expr) -> tuple[El, ...]:
    match f:
        case El():
            return (f,)
        case x.Pow(El() as e, x.Num(v)) if v > 0:
            return (e,)
    return ()


def _name(factors: Sequence[Expr], used: set[str]) -> str:
    """A readable name: what is summed, joined by underscores; squares and products repeat a name."""
    parts: list[str] = []
    for f in factors:
        match f:
            case El() if f.var.startswith("q:"):
                parts.insert(0, f.var[2:])
            case El() if f.var.startswith("pair:"):
                parts.insert(0, f"{f.var[5:]}_pair")
            case El() if f.var.startswith(FIRST):
                kind, _, latent = f.var.partition(":")
                parts.insert(
                    0, f"{latent}_first" if kind == f"{FIRST}0" else f"{latent}_pair_{kind.removeprefix(FIRST)}"
                )
            case El() if f.var.startswith(("mean:", "cov:")):
                kind, *latents = f.var.split(":")
                names = dict.fromkeys(n for n in latents if not n.isdigit())
                parts += latents if kind == "mean" else [f"{'cov' if len(latents) == 2 else 'tie'}_{'_'.join(names)}"]
            case El() if f.var.startswith("clique"):
                parts.insert(0, f.var.partition(":")[2])
            case El() if f.var.startswith("E:"):
                _, latent, kind = f.var.split(":")
                parts.append(latent if kind == "id" else f"{kind.replace('^', '')}_{latent}")
            case El() if f.var == ":weight":
                pass
            case El() if f.var.startswith("present:"):
                parts.append(f"n_{f.var[8:]}")
            case x.Pow(El() as e, x.Num(v)) if v == 2:
                parts += [e.var, e.var]
            case x.Fn() if f.name in x.COMPARISONS:
                pass
            case x.Sel():
                parts += sorted(n for n in x.variables(f.of) if ":" not in n)
            case El() if ":" in f.var:
                pass
            case _:
                inner = sorted(n for n in x.variables(f) if ":" not in n)
                parts.append("_".join(([f.name] if isinstance(f, x.Fn) else []) + inner))
    base = "_".join(p.rpartition(":")[2] for p in parts if p) or "count"
    used = used | {"log_likelihood", "state"}
    name, n = base, 1
    while name in used:
        n += 1
        name = f"{base}_{n}"
    return name
