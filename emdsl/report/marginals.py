"""Sums over states: of a joint probability they leave that of the other states, `sum_l q(a = k, b = l) = q(a = k)`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import DataIx, El, Expr, Idx, Ix
from emdsl.derive.algebra.made import CLIQUE, FIRST, PAIR, Q
from emdsl.derive.plan import Plan
from emdsl.derive.posteriors.block import Block


def summed_out(i: Idx | None) -> bool:
    """Whether a place of a probability is that of a state that has been summed out: nothing is written of it."""
    return isinstance(i, DataIx) and isinstance(i.value, x.Fn) and i.value.name == "any"


def summable(plan: Plan) -> dict[str, tuple[tuple[int, ...], ...]]:
    """Probabilities with the places of their states, in groups of which each keeps one.

    Of a pair in a chain the oldest states are a group of their own: where nothing stands there, the pair is 0.
    """
    out: dict[str, tuple[tuple[int, ...], ...]] = {}
    for b in plan.elimination.blocks:
        if b.states:
            out[Q.of(b.name)] = (tuple(range(len(b.states))),)
        if b.chain is not None:
            out |= _of_chain(b)
        out |= {CLIQUE.at(n).of(b.name): (tuple(range(len(c.states))),) for n, c in enumerate(b.network)}
    return out


def _of_chain(b: Block) -> dict[str, tuple[tuple[int, ...], ...]]:
    assert b.chain is not None
    own, before = len(b.states), len(b.chain.before)
    oldest = len(b.chain.past[-1])
    out: dict[str, tuple[tuple[int, ...], ...]] = {}
    out |= {PAIR.of(b.name): (tuple(range(oldest)), tuple(range(oldest, before + own)))}
    for position in range(b.chain.depth):
        out[FIRST.at(position).of(b.name)] = (tuple(range((before if position else 0) + own)),)
    return out


def marginal(ix: Ix, body: Expr, places: Mapping[str, tuple[tuple[int, ...], ...]]) -> Expr | None:
    """The body, with a state summed out of the one probability that holds it; None where something else does."""
    sums: list[Ix] = []
    inner = body
    while isinstance(inner, x.Sum):
        sums.append(inner.ix)
        inner = inner.body
    factors = x.factors_of(inner)
    held = [p for p in factors if ix in x.free(p)]
    if len(held) != 1 or not isinstance(p := held[0], El) or p.var not in places:
        return None
    at = [n for n, i in enumerate(p.idx) if i == ix]
    group = next((g for g in places[p.var] if at and at[0] in g), ())
    last = p.var in PAIR and group and group[0] > 0  # what stands here may all be summed out
    kept = [n for n in group if not summed_out(p.idx[n]) and n not in at]
    if len(at) != 1 or not group or not (kept or last) or ix in x.free(El("", _others(p, at[0]))):
        return None
    idx = tuple(DataIx(x.Fn("any", (x.SizeN(ix.dim),))) if n == at[0] else i for n, i in enumerate(p.idx))
    out = x.mul(*(replace(p, idx=idx) if q is p else q for q in factors))
    return x.totals(sums, out)


def _others(p: El, at: int) -> tuple[Idx, ...]:
    return tuple(i for n, i in enumerate(p.idx) if n != at)


def counted_out(ix: Ix, body: Expr) -> Expr:
    """`sum_t [t > 0] f` is `(T - 1) f`: how many elements a condition leaves, where it is all that holds the index."""
    held = [p for p in x.factors_of(body) if ix in x.free(p)]
    if len(held) != 1 or "[" in ix.dim:
        return x.total(ix, body)
    less: Fraction | float = Fraction(-1)
    match held[0]:
        case x.Fn("not", (x.Fn("eq", (x.Val(), x.Num(v))),)) if v == 0:
            less = Fraction(1)
        case x.Fn("ge", (x.Val(), x.Num(v))) | x.Fn("not", (x.Fn("lt", (x.Val(), x.Num(v))),)):
            less = v
        case x.Fn("gt", (x.Val(), x.Num(v))):
            less = v + 1
    if less < 0:
        return x.total(ix, body)
    return x.mul(*(p for p in x.factors_of(body) if p is not held[0]), x.add(x.SizeN(ix.dim), x.Num(-less)))
