"""Expectations of terms under q: gates become probabilities, functions of latents their moments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr, Idx, Ix
from emdsl.derive.algebra.made import CLIQUE, FIRST, LOCATION, MOMENT, PAIR, VARIANCE, Q
from emdsl.derive.algebra.show import show
from emdsl.derive.joint.factors import LogJoint
from emdsl.derive.joint.records import function_of, slots_of
from emdsl.derive.joint.terms import Term, settle
from emdsl.derive.posteriors.block import Block, place, touches
from emdsl.derive.posteriors.blocks import Elimination
from emdsl.derive.posteriors.chains import Placed, position_of
from emdsl.derive.posteriors.cuts import cut_of
from emdsl.derive.posteriors.discrete import placements
from emdsl.derive.posteriors.gaussian_moments import under_gaussian
from emdsl.derive.posteriors.networks import clique_key, in_clique
from emdsl.derive.posteriors.roles import Edge, Start
from emdsl.derive.posteriors.scaled import under_scaled
from emdsl.derive.posteriors.turns import averaged_in_turn


def expectation(t: Term, elimination: Elimination, joint: LogJoint) -> list[Term] | str:
    """A term under q: under the one posterior, or under each of the factors of q in turn; or why it does not close."""
    if not elimination.parts:
        return average(t, elimination.blocks, joint)
    return in_turn(t, [part.blocks for part in elimination.parts], joint)


def in_turn(t: Term, factors: Sequence[Sequence[Block]], joint: LogJoint) -> list[Term] | str:
    """A term averaged over several factors of q, one after the other: networks last, others choose their cliques."""
    out = [t]
    for blocks in sorted(factors, key=lambda blocks: any(b.network for b in blocks)):
        found = [averaged(one, blocks, joint) for one in out]
        out = []
        for terms in found:
            if isinstance(terms, str):
                return terms
            out += terms
    return out


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
        return _in_network(t, block, joint)
    if block.turns:
        return averaged_in_turn(t, block)
    if block.gaussian is not None and (block.scale is None or block.by_pattern):
        under = under_gaussian(t, block)
        if block.scale is None or isinstance(under, str):
            return under
        return _later(under, block, blocks, joint)
    if block.states:
        found = placements(t, block, neighbours)
        assert not isinstance(found, str) and set(neighbours) == before, found
        return [probable(p, block) for p in found]
    placed = place(t, block.latents, block.home, block.states, neighbours)
    if block.scale is not None and isinstance(placed, Term):
        return _given_scale(placed, block, blocks, joint)
    assert isinstance(placed, Term) and set(neighbours) == before, placed
    if block.cuts and cut_of(placed, block.latents[0]) in block.cuts:
        return []  # q has no mass where it was not seen to lie: log 1
    moment = _moments(placed, block)
    return moment if isinstance(moment, str) else [moment]


def hidden(t: Term, latents: Sequence[str]) -> Term:
    """Selectors of other latents among the factors, as those of data are."""
    gates = tuple(g for g in t.gates if isinstance(g.of, El) and g.of.var in latents)
    return Term(t.coef, gates, (*t.factors, *(g for g in t.gates if g not in gates)), t.ixs)


def _shown(t: Term, joint: LogJoint) -> Term:
    """Back again."""
    found = [f for f in t.factors if isinstance(f, x.Sel) and isinstance(f.of, El) and f.of.var in joint.discrete]
    return Term(t.coef, (*t.gates, *found), tuple(f for f in t.factors if f not in found), t.ixs)


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
    same at the positions that have fewer than L elements behind them. A term that reads another chain beside this one
    still says where both have elements behind.
    """
    chain = block.chain
    kind, home = Q, block.home
    behind: tuple[Ix, ...] = ()
    where: tuple[Expr, ...] = ()
    if chain is not None and p.role == Edge():
        kind, behind = PAIR, chain.before
        if any(isinstance(f, x.Sel) for f in p.term.factors):
            where = (x.fn("ge", position_of(chain), x.num(chain.depth)),)
    elif chain is not None and isinstance(p.role, Start):
        kind, home = FIRST.at(p.role.position), chain.outer
        behind = chain.before if p.role.position else ()
    axes = (*behind, *block.states, *block.gates, *home)
    return Term(p.term.coef, (), (*where, *p.term.factors, El(kind.of(block.name), axes)),
                tuple(dict.fromkeys((*p.term.ixs, *axes))))  # fmt: skip


def _in_network(t: Term, block: Block, joint: LogJoint) -> list[Term] | str:
    """A term under the probabilities of the clique that it stands in; or why there is none."""
    made = in_clique(t, block.latents, joint.levels)
    assert not isinstance(made, str), made
    n = next((n for n, c in enumerate(block.network) if clique_key(c) == clique_key(made)), None)
    if n is None:
        return f"it holds elements of {', '.join(block.latents)} together that latents of another factor choose"
    (own,) = made.terms
    q = El(CLIQUE.at(n).of(block.name), made.axes)
    return [Term(own.coef, (), (*made.masks, *own.factors, q), own.ixs)]


def _given_scale(placed: Term, block: Block, blocks: Sequence[Block], joint: LogJoint) -> list[Term] | str:
    """u -> location, u^2 -> location^2 + variance / scale; then the scale's own block averages what is left."""
    placed = _where_selected(placed)
    parts = under_scaled(placed, block) if block.gaussian is not None else _scaled_number(placed, block)
    if isinstance(parts, str):
        return parts
    return _later(parts, block, blocks, joint)


def _where_selected(t: Term) -> Term:
    """[c_n = k] f(k, c_n) = [c_n = k] f(k, k): what a code of data looks up is at the index that it selects."""
    at = {x.DataIx(f.of): f.at for f in t.factors if isinstance(f, x.Sel) and isinstance(f.at, Ix)}

    def moved(e: Expr) -> Expr | None:
        if isinstance(e, El) and any(i in at for i in e.idx):
            return El(e.var, tuple(at.get(i, i) if isinstance(i, x.DataIx) else i for i in e.idx), e.sort)
        return None

    kept = tuple(f if isinstance(f, x.Sel) else x.rebuild(f, moved) for f in t.factors)
    return replace(t, factors=kept)


def _later(parts: Sequence[Term], block: Block, blocks: Sequence[Block], joint: LogJoint) -> list[Term] | str:
    """What the other blocks make of terms that one has averaged, given its gates."""
    out: list[Term] = []
    for p in map(_where_selected, parts):
        c, body = x.split_number(x.mul(*p.factors))
        kept = tuple(f for f in x.factors_of(body) if f != x.ONE)
        left = settle(Term(p.coef * c, block.neighbours, kept, p.ixs))
        later = average(left, [b for b in blocks if b is not block], joint)
        if isinstance(later, str):
            return later
        out += later
    return out


def _scaled_number(placed: Term, block: Block) -> list[Term] | str:
    name, axes = block.name, (*block.gates, *block.home)
    mine = [f for f in placed.factors if name in x.variables(f)]
    rest = tuple(f for f in placed.factors if name not in x.variables(f))
    location, variance = El(LOCATION.of(name), axes), El(VARIANCE.of(name), axes)
    leaf = next(e for f in mine for e in x.walk(f) if isinstance(e, El) and e.var == name)
    kind = function_of(x.mul(*mine), leaf)
    assert block.scale is not None
    if kind == "id":
        parts: list[tuple[Expr, ...]] = [(location,)]
    elif kind == "square":
        parts = [(x.power(location, x.num(2)),), (variance, x.power(block.scale, x.num(-1)))]
    else:
        return f"no closed expectation of {show(x.mul(*mine))} under the posterior of {name}"
    return [Term(placed.coef, (), (*rest, *p), placed.ixs) for p in parts]


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
        factors = (
            *rest,
            El(MOMENT.of(name, kind), (*block.gates, *block.home, *slots_of(whole, leaf, len(block.home)))),
        )
    if not block.gates:
        return replace(t, factors=factors)
    q = El(Q.of(block.name), (*block.gates, *block.home))
    return Term(t.coef, (), (*factors, q), tuple(dict.fromkeys((*t.ixs, *block.gates))))
