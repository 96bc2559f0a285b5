"""LogJoint -> blocks of latents, in the order in which they are eliminated.

    sum over u of exp(sum_j <T_j(u), eta_j(rest)>)  =  exp A(eta(rest))

Eliminating a block leaves one new factor, its log-normaliser as a function of the neighbours it is
gated by; the neighbours take it up like any other factor. A discrete block is the family whose
statistics are one-hots; a continuous one is found in the table of posteriors by its statistics.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from emdsl.derive import expr as x
from emdsl.derive.chains import Chain, Neighbours, Placed, depth, lags, place_in_chain, references
from emdsl.derive.expr import DataIx, El, Expr, Idx, Ix
from emdsl.derive.factors import Factor, LogJoint
from emdsl.derive.plates import home_of, outside
from emdsl.derive.records import Posterior, recognise, statistic_of
from emdsl.derive.terms import Symmetry, Term, blocks_of, merge, symmetry_of, terms
from emdsl.derive.weights import weigh
from emdsl.errors import ModelError, Problem, Span
from emdsl.language import model as m


@dataclass(frozen=True)
class Block:
    """Latents handled exactly together, on the plates they live on.

    `states` are the one-hot indices of a discrete block, per latent. `neighbours` are gates of other
    latents that stay in its factors, as functions of its own plates. `terms` are written in the
    block's own indices; for a continuous block each carries the statistic it multiplies in `roles`.
    """

    name: str
    latents: tuple[str, ...]
    home: tuple[Ix, ...]
    states: tuple[Ix, ...]
    neighbours: tuple[x.Sel, ...]
    terms: tuple[Term, ...]
    roles: tuple[str, ...] = ()
    record: Posterior | None = None
    own: tuple[Ix, ...] = ()  # own axes of a vector-valued latent
    scale: El | None = None  # a neighbouring latent that scales the whole precision of a Gaussian, and cancels
    chain: Chain | None = None  # of a discrete block: how its elements follow one another

    @property
    def gates(self) -> tuple[Ix, ...]:
        return tuple(n.at for n in self.neighbours if isinstance(n.at, Ix))

    @property
    def nodes(self) -> tuple[Term, ...]:
        """The terms of a discrete block that are functions of one element's states."""
        return tuple(t for t, role in zip(self.terms, self.roles or ("",) * len(self.terms), strict=True) if not role)

    @property
    def outside(self) -> tuple[Ix, ...]:
        """The plates that are left when the block has been eliminated: of a chain, those of whole sequences."""
        return self.home if self.chain is None else self.chain.outer


@dataclass(frozen=True)
class Elimination:
    """Blocks in the order of elimination, the terms of the joint, and what no latent is left in."""

    blocks: tuple[Block, ...]
    free: tuple[Term, ...]  # terms without any latent: the log-likelihood is their sum
    prior: tuple[Term, ...]  # terms in parameters alone
    terms: tuple[tuple[Term, Factor], ...]  # every term of the joint, with the factor it came from


def classes(joint: LogJoint) -> Mapping[str, str]:
    """variable -> P (parameter), D (known), or L:name (continuous latent)."""
    out = {}
    for v in joint.model.variables:
        if v.kind == "param":
            out[v.name] = "P"
        elif v.kind == "latent" and v.name not in joint.discrete and v.name not in joint.deterministic:
            out[v.name] = f"L:{v.name}"
        else:
            out[v.name] = "D"
    return out


def eliminate(joint: LogJoint, weighted: str | None) -> Elimination:
    """All blocks in order. Raises `ModelError` naming the factor that ties a posterior that is not tractable."""
    kinds = classes(joint)

    def block(name: str) -> str:
        return kinds.get(name, "D")

    everything = [(t, f) for f in joint.factors for t in terms(f, block)]
    prior = tuple(t for t, f in everything if is_prior(t, f, joint))
    pool = [(t, f.span, f.about) for t, f in everything if not is_prior(t, f, joint)]
    groups = _groups(joint, everything)
    blocks: list[Block] = []
    left = dict(groups)
    while left:
        reasons: dict[str, Problem] = {}
        for name, latents in sorted(left.items(), key=lambda kv: kv[0] in joint.discrete):
            made = _try(name, latents, joint, pool, kinds, weighted)
            if isinstance(made, Problem):
                reasons[name] = made
                continue
            blocks.append(made)
            del left[name]
            pool = [p for p in pool if not _touches(p[0], latents)]
            span = joint.model.variable(latents[0]).span
            pool += [(t, span, name) for t in messages(made)]
            break
        else:
            raise ModelError(list(reasons.values()), joint.model.source)
    free = tuple(merge((weigh(t, weighted, joint.model) for t, _, _ in pool), symmetry_of(joint)))
    return Elimination(tuple(blocks), free, prior, tuple(everything))


def is_prior(t: Term, f: Factor, joint: LogJoint) -> bool:
    """Whether a term is about parameters and hyperparameters alone: a prior or a penalty."""
    if f.role == "param":
        return True
    names = {n for e in t.factors for n in x.variables(e)}
    data = {v.name for v in joint.model.variables if v.kind in ("latent", "observed")}
    return f.role == "potential" and not t.gates and not names & data


def messages(block: Block) -> list[Term]:
    """What elimination leaves: the log-normaliser as a function of the gates.

    For a Gaussian with precision tau M and linear term tau b it is linear in the statistics of tau,
    `tau b^2 / (2 M) - 1/2 log tau - 1/2 log M + const`: cancellation is conjugacy.
    """
    axes = (*block.gates, *block.outside)
    ixs = (*block.outside, *block.gates)
    if block.scale is None:
        return [Term(1, gates_outside(block), (El(f"A:{block.name}", axes),), ixs)]
    half = x.HALF.value
    return [
        Term(half, block.neighbours, (block.scale, El(f"fit:{block.name}", axes)), ixs),
        Term(-half, block.neighbours, (x.fn("log", block.scale),), ixs),
        Term(1, block.neighbours, (El(f"A:{block.name}", axes),), ixs),
    ]


def gates_outside(block: Block) -> tuple[x.Sel, ...]:
    """The gates of a block as the plates outside it see them."""
    if block.chain is None:
        return block.neighbours
    seen = dict(zip(block.chain.rows, block.chain.outer, strict=True))
    out = []
    for n in block.neighbours:
        assert isinstance(n.of, El)
        out.append(x.Sel(El(n.of.var, tuple(seen.get(i, i) for i in n.of.idx), n.of.sort), n.at))
    return tuple(out)


def latents_in(t: Term) -> dict[str, list[tuple[Idx, ...]]]:
    """Latent -> the places at which a term holds it."""
    out: dict[str, list[tuple[Idx, ...]]] = {}
    for g in t.gates:
        assert isinstance(g.of, El)
        out.setdefault(g.of.var, []).append(g.of.idx)
    return out


def _touches(t: Term, latents: Sequence[str]) -> bool:
    if any(isinstance(g.of, El) and g.of.var in latents for g in t.gates):
        return True
    return any(n in latents for f in t.factors for n in x.variables(f))


def _groups(joint: LogJoint, everything: Sequence[tuple[Term, Factor]]) -> dict[str, tuple[str, ...]]:
    """Discrete latents that meet in a term, at one plate element or along an ordered plate, form one block.

    A latent that only meets a chain element by element is a block of its own inside it.
    """
    latents = [v.name for v in joint.model.variables if v.kind == "latent" and v.name not in joint.deterministic]
    discrete = [n for n in latents if n in joint.discrete]
    terms_in = [t for t, _ in everything if t.gates]
    alone = {n for n in discrete if _inside(n, discrete, terms_in)}
    leader = {n: n for n in latents}

    def find(n: str) -> str:
        while leader[n] != n:
            n = leader[n]
        return n

    for t in terms_in:
        places = [(n, i) for n, refs in latents_in(t).items() for i in refs]
        for n1, i1 in places:
            for n2, i2 in places:
                apart = (n1 in alone and n2 not in alone) or (n2 in alone and n1 not in alone)
                if n1 < n2 and not apart and (i1 == i2 or (len(i1) == len(i2) and _follow(i1, i2))):
                    leader[find(n2)] = find(n1)
    out: dict[str, list[str]] = {}
    for n in latents:
        out.setdefault(find(n), []).append(n)
    return {members[0]: tuple(members) for members in out.values()}


def _follow(a: tuple[Idx, ...], b: tuple[Idx, ...]) -> bool:
    """Whether one place is before the other along an ordered plate."""
    found = lags([a, b]) or lags([b, a])
    return found is not None and max(found[1]) > 0


def _inside(name: str, discrete: Sequence[str], everything: Sequence[Term]) -> bool:
    """Whether a latent that is not chained meets a chained one, each time at one element of it."""
    mine = [t for t in everything if references(t, [name])]
    if depth(mine, [name]):
        return False
    others = {n for t in mine for n, _ in references(t, discrete)} - {name}
    chained = {n for n in others if depth(everything, [n])}
    return bool(chained) and all(len({p for _, p in references(t, list(chained))}) <= 1 for t in mine)


def _try(
    name: str, latents: tuple[str, ...], joint: LogJoint,
    pool: Sequence[tuple[Term, Span, str]], kinds: Mapping[str, str], weighted: str | None,
) -> Block | Problem:  # fmt: skip
    """The block, or why it cannot be eliminated now."""
    if name in joint.discrete:
        return _discrete(name, latents, joint, pool, kinds, weighted)
    variable = joint.model.variable(latents[0])
    home = home_of(variable)
    states = tuple(Ix(f"{n}", joint.levels[n]) for n in latents) if name in joint.discrete else ()
    mine = [(t, span, about) for t, span, about in pool if _touches(t, latents)]
    neighbours: dict[tuple[str, tuple[Idx, ...]], Ix] = {}
    own_terms, roles = [], []
    scales: set[str] = set()
    own = tuple(Ix(f"{name}_{i}", str(d)) for i, d in enumerate(variable.domain.dims))
    for t, span, about in mine:
        placed = place(t, latents, home, states, neighbours, joint.levels)
        if isinstance(placed, str):
            return Problem("E110", f"the posterior of {name} is not tractable: {placed}", span, WAYS_OUT)
        foreign = [b for f in placed.factors for b in blocks_of(f, lambda n: kinds.get(n, "D")) if b[:2] == "L:"]
        others = sorted({b[2:] for b in foreign} - set(latents))
        if others and not states and len(others) == 1 and not own:
            scales.add(others[0])
        elif others:
            text = f"{name} is tied to the continuous latent {others[0]} in the density of {about or 'a factor'}"
            return Problem("E110", f"the posterior of {name} is not tractable: {text}", span, WAYS_OUT)
        placed = weigh(placed, weighted, joint.model, home)
        if states:
            own_terms.append(placed)
            continue
        role = statistic_of(placed, name, home, own)
        if isinstance(role, str):
            return Problem("E110", f"the posterior of {name} is not tractable: {role}", span, WAYS_OUT)
        own_terms.append(role.rest)
        roles.append(role.name)
    gates = tuple(x.Sel(El(n, idx), k) for (n, idx), k in neighbours.items())
    record = None
    if not states:
        found = recognise(frozenset(r for r in roles if r), len(own), variable)
        if isinstance(found, str):
            text = f"the posterior of {name} is not a known family: {found}"
            return Problem("E111", text, variable.span, WAYS_OUT)
        record = found
    scale: El | None = None
    if scales:
        found_scale = _common_scale(own_terms, roles, scales, home)
        if found_scale is None or record is None or record.name != "Normal":
            text = f"{name} is tied to the continuous latent {sorted(scales)[0]}, which does not scale all of it"
            return Problem("E110", f"the posterior of {name} is not tractable: {text}", mine[0][1], WAYS_OUT)
        scale, own_terms = found_scale
    fixed = (*home, *states, *own, *(k for k in neighbours.values()))
    merged = _merged(own_terms, roles, symmetry_of(joint), fixed)
    return Block(name, latents, home, states, gates, *merged, own=own, record=record, scale=scale)


def _discrete(
    name: str, latents: tuple[str, ...], joint: LogJoint,
    pool: Sequence[tuple[Term, Span, str]], kinds: Mapping[str, str], weighted: str | None,
) -> Block | Problem:  # fmt: skip
    """A block of discrete latents: enumerated at each element, or along an ordered plate."""
    home = home_of(joint.model.variable(latents[0]))
    states = tuple(Ix(n, joint.levels[n]) for n in latents)
    mine = [(t, span, about) for t, span, about in pool if _touches(t, latents)]
    block = Block(name, latents, home, states, (), (), chain=_chain(latents, joint, [t for t, _, _ in mine]))
    neighbours: Neighbours = {}
    found: list[Placed] = []
    for t, span, about in mine:
        placed = placements(t, block, neighbours, joint.levels)
        why = placed if isinstance(placed, str) else _foreign([p.term for p in placed], kinds, about)
        if why or isinstance(placed, str):
            return Problem("E110", f"the posterior of {name} is not tractable: {why}", span, WAYS_OUT)
        found += [Placed(weigh(p.term, weighted, joint.model, (*home, *block.outside)), p.role) for p in placed]
    gates = tuple(x.Sel(El(n, idx), k) for (n, idx), k in neighbours.items())
    before = block.chain.before if block.chain else ()
    fixed = (*home, *block.outside, *states, *before, *neighbours.values())
    merged = _merged([p.term for p in found], [p.role for p in found], symmetry_of(joint), fixed)
    return Block(name, latents, home, states, gates, *merged, chain=block.chain)


def _foreign(terms: Sequence[Term], kinds: Mapping[str, str], about: str) -> str:
    """Why terms do not belong to a discrete block: a continuous latent that they hold."""
    held = {b for t in terms for f in t.factors for b in blocks_of(f, lambda n: kinds.get(n, "D")) if b[:2] == "L:"}
    other = min(held, default="")[2:]
    return f"it is tied to the continuous latent {other} in the density of {about or 'a factor'}" if held else ""


def _chain(latents: tuple[str, ...], joint: LogJoint, terms: Sequence[Term]) -> Chain | None:
    """How the elements of a block follow one another, where some term holds an element and one before it."""
    reach = depth(terms, latents)
    variable = joint.model.variable(latents[0])
    if not reach or not variable.plates:
        return None
    outer, rows = outside(variable, joint.model)
    past = tuple(tuple(Ix(f"{n}_{k + 1}", joint.levels[n]) for n in latents) for k in range(reach))
    last = variable.plates[-1].size
    return Chain(home_of(variable)[-1], outer, past, rows, last.name if isinstance(last, m.Ragged) else "")


def placements(
    t: Term, block: Block, neighbours: Neighbours, levels: Mapping[str, str] | None = None
) -> list[Placed] | str:
    """A term in a discrete block's own indices, once for each of its roles; a text that says why it does not fit."""
    if block.chain is not None:
        found = place_in_chain(t, block.latents, block.home, block.states, block.chain, neighbours, levels)
        if found is not None:
            return found
    one = place(t, block.latents, block.home, block.states, neighbours, levels)
    return one if isinstance(one, str) else [Placed(one, "")]


def _common_scale(
    own_terms: Sequence[Term], roles: Sequence[str], scales: set[str], home: tuple[Ix, ...]
) -> tuple[El, list[Term]] | None:
    """The neighbour that multiplies every quadratic and every linear term once, and the terms without it."""
    out: list[Term] = []
    found: set[El] = set()
    for t, role in zip(own_terms, roles, strict=True):
        mine = [f for f in t.factors if scales & x.variables(f)]
        if not role or len(mine) != 1 or not isinstance(mine[0], El) or not set(x.free(mine[0])) <= set(home):
            return None
        found.add(mine[0])
        out.append(Term(t.coef, t.gates, tuple(f for f in t.factors if f != mine[0]), t.ixs))
    return (next(iter(found)), out) if len(found) == 1 else None


def _merged(
    own_terms: Sequence[Term], roles: Sequence[str], symmetry: Symmetry, fixed: tuple[Ix, ...]
) -> tuple[tuple[Term, ...], tuple[str, ...]]:
    """Equal terms of one statistic added up."""
    if not roles:
        return tuple(merge(own_terms, symmetry, fixed)), ()
    out: list[tuple[Term, str]] = []
    for role in dict.fromkeys(roles):
        mine = [t for t, r in zip(own_terms, roles, strict=True) if r == role]
        out += [(t, role) for t in merge(mine, symmetry, fixed)]
    return tuple(t for t, _ in out), tuple(r for _, r in out)


WAYS_OUT = "choose another method: infer ... by meanfield, quadrature, mcmc or saem (these follow in a later release)"


def place(
    t: Term, latents: tuple[str, ...], home: tuple[Ix, ...], states: tuple[Ix, ...],
    neighbours: dict[tuple[str, tuple[Idx, ...]], Ix], levels: Mapping[str, str] | None = None,
) -> Term | str:  # fmt: skip
    """The term in the block's own indices, or why it does not fit.

    Own selectors become the state's index, other gates become neighbours; a place reached through
    data (`truth[item[r]]`) becomes a selector `item[r] == home`. `levels` are the dimensions of gates that
    are met for the first time.
    """
    refs = _references(t, latents)
    if len(set(refs)) != 1:
        return f"one term holds two elements of {latents[0]}"
    ref = refs[0][: len(home)]
    to: dict[Ix, Idx] = {}
    extra: list[Expr] = []
    for h, i in zip(home, ref, strict=True):
        if isinstance(i, Ix) and i not in to and i in t.ixs:
            to[i] = h
        elif isinstance(i, DataIx):
            extra.append(x.sel(i.value, h))
        else:
            extra.append(x.delta(h, x.as_index(x.substitute(x.value_of(i), to))))
    clash = {h: x.fresh(h.dim) for h in home if h in t.ixs and h not in to}
    to.update({old: new for old, new in clash.items() if old not in to})
    renamed = rename(t, to)
    ixs = [i for i in renamed.ixs if i not in home]
    factors = [*renamed.factors, *(x.substitute(e, dict(clash)) for e in extra)]
    for g in renamed.gates:
        assert isinstance(g.of, El)
        at: Ix
        if g.of.var in latents:
            at = states[latents.index(g.of.var)]
        else:
            if any(i in ixs for i in x.free(g.of)):
                return f"it is tied to several elements of {g.of.var}"
            key = (g.of.var, g.of.idx)
            if key not in neighbours:
                neighbours[key] = g.at if isinstance(g.at, Ix) else x.fresh((levels or {})[g.of.var])
            at = neighbours[key]
        if isinstance(g.at, Ix):
            factors = [x.substitute(f, {g.at: at}) for f in factors]
            ixs = [at if i == g.at else i for i in ixs]
        else:
            factors.append(x.delta(at, g.at))
            ixs.append(at)
    return Term(t.coef, (), tuple(f for f in factors if f != x.ONE), (*home, *dict.fromkeys(ixs)))


def _references(t: Term, latents: tuple[str, ...]) -> list[tuple[Idx, ...]]:
    refs = [g.of.idx for g in t.gates if isinstance(g.of, El) and g.of.var in latents]
    for f in t.factors:
        refs += [e.idx for e in x.walk(f) if isinstance(e, El) and e.var in latents]
    return refs


def rename(t: Term, to: Mapping[Ix, Idx]) -> Term:
    """The term under other indices."""
    gates = tuple(x.Sel(x.substitute(g.of, to), to.get(g.at, g.at) if isinstance(g.at, Ix) else g.at) for g in t.gates)
    factors = tuple(x.substitute(f, to) for f in t.factors)
    ixs = tuple(dict.fromkeys(j for i in t.ixs if isinstance(j := to.get(i, i), Ix)))
    return Term(t.coef, gates, factors, ixs)
