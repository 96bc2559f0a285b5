"""Blocks of discrete latents: which of them belong together, enumerated at each element or along a chain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Idx, Ix
from emdsl.derive.algebra.made import LOG_NORMALISER
from emdsl.derive.joint.factors import Factor, LogJoint
from emdsl.derive.joint.plates import home_of, outside, plate_names
from emdsl.derive.joint.terms import Term, continuous_in, symmetry_of
from emdsl.derive.joint.weights import of_one, weigh
from emdsl.derive.posteriors.block import MOST_TOGETHER, Block, Tied, latents_in, place, touches
from emdsl.derive.posteriors.chains import Chain, Neighbours, Placed, depth, lags, place_in_chain, references
from emdsl.derive.posteriors.networks import cliques_of, widest
from emdsl.derive.posteriors.roles import merge_roles
from emdsl.errors import Problem
from emdsl.language import model as m

ENUMERATED = 2**12  # states of one element that are one table, whatever ties them
SPARSE = 64  # how many times fewer entries a network's largest table has, so that many small ones are worth it
SEVERAL = "a latent inside it reads several of its elements"
WAYS_OUT = "choose another method: infer ... by meanfield, quadrature, mcmc or saem"


def groups(joint: LogJoint, everything: Sequence[tuple[Term, Factor]]) -> dict[str, tuple[str, ...]]:
    """Discrete latents that meet in a term, at one plate element or along an ordered plate, form one block.

    A latent that only meets a chain element by element is a block of its own inside it.
    """
    away = joint.deterministic | joint.configured | (joint.in_clouds - {c.name for c in joint.clouds})
    latents = [
        v.name for v in joint.model.variables
        if v.name in joint.incomplete or (v.kind == "latent" and v.name not in away)
    ]  # fmt: skip
    discrete = [n for n in latents if n in joint.discrete]
    terms_in = [t for t, _ in everything if t.gates]
    alone = _inside(discrete, terms_in)
    around = [{c.name, c.outer} for c in joint.clouds]
    leader = {n: n for n in latents}

    def find(n: str) -> str:
        while leader[n] != n:
            n = leader[n]
        return n

    for t in terms_in:
        places = [(n, i) for n, refs in latents_in(t).items() for i in refs]
        for n1, i1 in places:
            for n2, i2 in places:
                apart = (n1 in alone and n2 not in alone) or (n2 in alone and n1 not in alone) or {n1, n2} in around
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


def _inside(discrete: Sequence[str], everything: Sequence[Term]) -> set[str]:
    """The latents that are not chained and meet chained ones, each time at one element of them."""
    chained = {n for n in discrete if depth(everything, [n])}
    met: dict[str, set[str]] = {n: set() for n in discrete}
    several: set[str] = set()
    for refs in (references(t, discrete) for t in everything) if chained else ():
        held = {n for n, _ in refs}
        places = {p for n, p in refs if n in chained}
        for n in held:
            met[n] |= held & chained
        several |= held if len(places) > 1 else set()
    return {n for n in discrete if n not in chained and met[n] and n not in several}


def discrete_block(
    name: str, latents: tuple[str, ...], joint: LogJoint,
    pool: Sequence[Tied], kinds: Mapping[str, str], weighted: str | None,
) -> Block | Problem:  # fmt: skip
    """A block of discrete latents: enumerated at each element, or along an ordered plate."""
    home = home_of(joint.model.variable(latents[0]))
    states = tuple(Ix(n, joint.levels[n]) for n in latents)
    mine = [(t, span, about) for t, span, about in pool if touches(t, latents)]
    block = Block(name, latents, home, states, (), (), chain=_chain(latents, joint, [t for t, _, _ in mine]))
    neighbours: Neighbours = {}
    found: list[Placed] = []
    for t, span, about in mine:
        placed = placements(t, block, neighbours, joint.levels) if _along(t, block) else SEVERAL
        why = placed if isinstance(placed, str) else _foreign([p.term for p in placed], kinds, about)
        if why or isinstance(placed, str):
            return Problem("E110", f"the posterior of {name} is not tractable: {why}", span, WAYS_OUT)
        alone = [replace(p, term=of_one(p.term, name, joint)) for p in placed]
        found += [Placed(weigh(p.term, weighted, joint, (*home, *block.outside)), p.role) for p in alone]
    gates = tuple(x.Sel(El(n, idx), k) for (n, idx), k in neighbours.items())
    before = block.chain.before if block.chain else ()
    fixed = (*home, *block.outside, *states, *before, *neighbours.values())
    merged = merge_roles([p.term for p in found], [p.role for p in found], symmetry_of(joint), fixed)
    made = Block(name, latents, home, states, gates, *merged, chain=block.chain)
    sparse = None
    if block.chain is None and not gates and _is_sparse(made, joint):
        sparse = network_block({latents[0]: latents}, joint, pool, kinds, weighted)
    return sparse or made


def _along(t: Term, block: Block) -> bool:
    """Whether a chain has what others need of its states: of a block inside several of them those at neighbours alone.

    Of elements that the model names one by one (`g[0]`, `g[1]`, `g[2]`) it has no table together; a network has.
    """
    inside = block.chain is not None and any(isinstance(f, El) and f.var in LOG_NORMALISER for f in t.factors)
    places = {i for _, i in references(t, block.latents)} if inside else set()
    return len(places) < 2 or not any(isinstance(i[-1], int) for i in places)


def _is_sparse(block: Block, joint: LogJoint) -> bool:
    """Whether the states of one element are many together, and few in any table that eliminating them in turn needs."""
    defaults = {s.name: s.default.constant for s in joint.model.sizes if s.default is not None}
    states = {i: int(i.dim) if i.dim.isdigit() else int(defaults.get(i.dim) or 2) for i in block.states}
    together = prod(states.values())
    if together <= ENUMERATED:
        return False
    largest = widest(scopes_of(block), states)
    return len(largest) <= MOST_TOGETHER and prod(states[i] for i in largest) * SPARSE <= together


def scopes_of(block: Block) -> list[frozenset[Ix]]:
    """Which latents of one element the terms of a discrete block hold together."""
    return [frozenset(block.states) & {i for f in t.factors for i in x.free(f)} for t in block.terms]


def _foreign(terms: Sequence[Term], kinds: Mapping[str, str], about: str) -> str:
    """Why terms do not belong to a discrete block: a continuous latent that they hold."""
    other = min((n for t in terms for n in continuous_in(t, kinds)), default="")
    return f"it is tied to the continuous latent {other} in the density of {about or 'a factor'}" if other else ""


def _chain(latents: tuple[str, ...], joint: LogJoint, terms: Sequence[Term]) -> Chain | None:
    """How the elements of a block follow one another, where some term holds an element and one before it."""
    reach = depth(terms, latents)
    variable = joint.model.variable(latents[0])
    if not reach or not variable.plates:
        return None
    outer, rows = outside(variable)
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


def network_block(
    left: Mapping[str, tuple[str, ...]], joint: LogJoint, pool: Sequence[Tied],
    kinds: Mapping[str, str], weighted: str | None,
) -> Block | None:  # fmt: skip
    """Discrete latents that no simpler block holds, as one network with all that terms tie them to; None where a
    continuous latent is among these.

    Where no element of it lies on the weighted plate, rows of that add their weights to its terms. Where all of them
    do, a part of it lies in one row, and what it leaves counts by that row's weight.
    """
    for leader in left:
        if leader not in joint.discrete:
            continue
        latents = _tied(left[leader], joint, [t for t, _, _ in pool])
        mine = [t for t, _, _ in pool if touches(t, latents)]
        if _foreign(mine, kinds, ""):
            continue
        inside = weighted is not None and all(weighted in plate_names(joint.model.variable(n)) for n in latents)
        found = cliques_of([weigh(t, None if inside else weighted, joint) for t in mine], latents, joint.levels)
        if not isinstance(found, str):
            states = tuple(Ix(n, joint.levels[n]) for n in latents)
            within = (Ix("row", weighted),) if inside and weighted is not None else ()
            return Block(latents[0], latents, (), states, (), (), network=found, within=within)
    return None


def elements_apart(latent: str, joint: LogJoint, pool: Sequence[Tied]) -> Block | None:
    """A latent whose single elements are factors of q; None where no term holds two of them."""
    mine = [t for t, _, _ in pool if touches(t, (latent,))]
    if latent not in joint.discrete or not any(len(set(latents_in(t).get(latent, ()))) > 1 for t in mine):
        return None
    found = cliques_of(mine, (latent,), joint.levels)
    state = Ix(latent, joint.levels[latent])
    return None if isinstance(found, str) else Block(latent, (latent,), (), (state,), (), (), network=found, apart=True)


def _tied(latents: tuple[str, ...], joint: LogJoint, terms: Sequence[Term]) -> tuple[str, ...]:
    """The discrete latents that terms tie to these, directly or through others, in order of declaration."""
    found = set(latents)
    while True:
        more = {n for t in terms if touches(t, tuple(found)) for n in latents_in(t)} | found
        if more == found:
            return tuple(v.name for v in joint.model.variables if v.name in found)
        found = more
