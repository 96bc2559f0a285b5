"""Weighted medians: a parameter that stands only in distances from data.

    Q = - sum_n w_n |x_n - v| + terms without v,   w_n >= 0

has its maximum where at most half of the weight is below v and at most half above (Laplace 1774). A positive factor
that all distances share (`1 / scale`) does not move it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr, Ix
from emdsl.derive.algebra.facts import COMPARISONS, positive
from emdsl.derive.algebra.made import PRESENT, WEIGHT, Q, among
from emdsl.derive.joint.terms import Term
from emdsl.language import model as m


@dataclass(frozen=True)
class Distances:
    """`weights` times |v - at|, v an element of the parameter on `places`, added up over `over`."""

    at: Expr
    weights: tuple[Expr, ...]
    places: tuple[Ix, ...]
    over: tuple[Ix, ...]

    @property
    def axes(self) -> tuple[Ix, ...]:
        return (*self.places, *self.over)


def distances(
    v: m.Variable, held: Sequence[Term], mixed: Sequence[Term], params: Collection[str], never_negative: Collection[str]
) -> tuple[tuple[Term, ...], tuple[Distances, ...]] | None:
    """The terms of Q that hold this parameter, less what they share, and the same as distances; None for others.

    `held` are its terms without data: there may be none. Of `params` only it may stand in a distance; `never_negative`
    are variables that its weights may hold.
    """
    if held or not mixed or not v.domain.unbounded:
        return None
    terms, out = [], []
    shared: set[tuple[Expr, ...]] = set()
    for t in mixed:
        mine = [f for f in t.factors if v.name in x.variables(f)]
        found = _distance(mine[0], v) if len(mine) == 1 else None
        if found is None or not t.coef < 0:
            return None
        place, at = found
        places = tuple(i for i in place.idx if isinstance(i, Ix) and i in t.ixs)
        others = [f for f in t.factors if f is not mine[0]]
        scales = [f for f in others if set(params) & x.variables(f)]
        weights = tuple(f for f in others if f not in scales)
        apart = len(places) == len(set(places)) == len(place.idx) and not set(params) & x.variables(at)
        if not apart or not all(_weighs(f, never_negative) for f in weights) or not all(map(positive, scales)):
            return None
        if not {i for f in scales for i in x.free(f)} <= set(places):
            return None
        to = {i: Ix(f"place{n}", i.dim) for n, i in enumerate(places)}
        shared.add(tuple(x.substitute(f, dict(to)) for f in scales))
        weights = weights if t.coef == -1 else (x.num(-t.coef), *weights)
        terms.append(Term(-1, (), (*weights, mine[0]), t.ixs))
        out.append(Distances(at, weights, places, tuple(i for i in t.ixs if i not in places)))
    return (tuple(terms), tuple(out)) if len(shared) == 1 else None


def _distance(f: Expr, v: m.Variable) -> tuple[El, Expr] | None:
    """(v's element, a) of |v - a|."""
    match f:
        case x.Fn("abs", (x.Add(terms),)):
            parts = [x.split_number(t) for t in terms]
            mine = [(c, e) for c, e in parts if isinstance(e, El) and e.var == v.name and abs(c) == 1]
            rest = [t for t, (_, e) in zip(terms, parts, strict=True) if v.name not in x.variables(e)]
            if len(mine) == 1 and len(rest) == len(terms) - 1:
                sign, leaf = mine[0]
                return leaf, x.mul(x.num(-sign), x.add(*rest))
    return None


def _weighs(f: Expr, never_negative: Collection[str]) -> bool:
    """Whether a factor is never negative: posterior probabilities, presence, sample weights, conditions."""
    if isinstance(f, El):
        return positive(f) or f.var == WEIGHT or f.var in never_negative or among(f.var, (Q, PRESENT))
    if isinstance(f, x.Fn):
        return positive(f) or f.name in COMPARISONS
    return positive(f) or isinstance(f, x.Sel | x.Delta | x.SizeN | x.Val)
