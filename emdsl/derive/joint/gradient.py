"""Derivatives of indexed expressions by elements of a variable: the chain rule with indices.

Indices are followed here; the functions of numbers at the leaves are differentiated by sympy (`scalars.slope`).

d e / d v[J] = sum over occurrences v[I] in e of (partial of e) * prod(delta(J, I))
"""

from __future__ import annotations

from collections.abc import Sequence

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr, Ix
from emdsl.derive.algebra.scalars import slope
from emdsl.derive.joint.coefficients import _to_axes
from emdsl.derive.joint.terms import Term
from emdsl.errors import InternalError
from emdsl.families.special import ELEMENTARY

Partial = tuple[El, Expr, tuple[Ix, ...]]  # occurrence, cofactor, indices that are summed


def partials(e: Expr, name: str) -> list[Partial]:
    """All occurrences of `name` in e with their cofactors."""
    if name not in x.variables(e):
        return []
    match e:
        case El():
            return [(e, x.ONE, ())]
        case x.Add():
            return [p for t in e.terms for p in partials(t, name)]
        case x.Mul():
            return [
                (leaf, x.mul(p, *(g for j, g in enumerate(e.factors) if j != i)), s)
                for i, f in enumerate(e.factors)
                for leaf, p, s in partials(f, name)
            ]
        case x.Sum():
            ix, body = x.refresh(e)
            return [(leaf, p, (ix, *s)) for leaf, p, s in partials(body, name)]
        case x.Pow():
            return _power(e, name)
        case x.Fn():
            return _function(e, name)
        case x.LogDet():
            i, j = x.fresh(e.i.dim), x.fresh(e.j.dim)
            body = x.substitute(e.body, {e.i: i, e.j: j})
            outer: Expr = x.MatInv(e.i, e.j, e.body, (j, i))
            return [(leaf, x.mul(outer, p), (i, j, *s)) for leaf, p, s in partials(body, name)]
        case x.MatInv():
            i, j = x.fresh(e.i.dim), x.fresh(e.j.dim)
            body = x.substitute(e.body, {e.i: i, e.j: j})
            left, right = x.MatInv(e.i, e.j, e.body, (e.at[0], i)), x.MatInv(e.i, e.j, e.body, (j, e.at[1]))
            return [(leaf, x.mul(x.num(-1), left, right, p), (i, j, *s)) for leaf, p, s in partials(body, name)]
        case x.Where():
            out = [(leaf, x.where(e.cond, lambda p=p: p, lambda: x.ZERO), s) for leaf, p, s in partials(e.then, name)]  # type: ignore[misc]
            out += [(leaf, x.where(e.cond, lambda: x.ZERO, lambda p=p: p), s) for leaf, p, s in partials(e.other, name)]  # type: ignore[misc]
            return out
        case x.Choose():
            return [
                (leaf, x.mul(x.delta(e.at, n) if not isinstance(e.at, x.DataIx) else x.sel(e.at.value, n), p), s)
                for n, o in enumerate(e.options)
                for leaf, p, s in partials(o, name)
            ]
    raise InternalError("gradient", f"no derivative of {type(e).__name__}")


def _power(e: x.Pow, name: str) -> list[Partial]:
    out: list[Partial] = []
    if inner := partials(e.base, name):
        outer = x.mul(e.exponent, x.power(e.base, x.add(e.exponent, x.num(-1))))
        out += [(leaf, x.mul(outer, p), s) for leaf, p, s in inner]
    if inner := partials(e.exponent, name):
        log = x.mul(e, x.fn("log", e.base))
        out += [(leaf, x.mul(log, p), s) for leaf, p, s in inner]
    return out


def _function(e: x.Fn, name: str) -> list[Partial]:
    out: list[Partial] = []
    for n, a in enumerate(e.args):
        inner = partials(a, name)
        if inner:
            slope = derivative(e, n)
            out += [(leaf, x.mul(slope, p), s) for leaf, p, s in inner]
    return out


def derivative(e: x.Fn, n: int) -> Expr:
    """d e / d (argument n): sympy's derivative of the function, at these arguments."""
    if e.name in x.COMPARISONS or e.name == "value":
        return x.ZERO
    if e.name not in ELEMENTARY:
        raise InternalError("gradient", f"no derivative of {e.name}")
    places, found = slope(e.name, len(e.args), n)
    at: dict[Expr, Expr] = dict(zip(places, e.args, strict=True))
    return x.rebuild(found, at.get)


def gradient(
    terms: Sequence[Term], name: str, axes: tuple[Ix, ...]
) -> list[tuple[Expr, tuple[Expr, ...], tuple[Ix, ...]]]:
    """d Q / d name over its axes, as (coefficient, factors, summed indices) products."""
    out: list[tuple[Expr, tuple[Expr, ...], tuple[Ix, ...]]] = []
    for t in terms:
        for i, f in enumerate(t.factors):
            for leaf, p, sums in partials(f, name):
                if p == x.ZERO:
                    continue
                rest = [g for j, g in enumerate(t.factors) if j != i]
                to, extra = _to_axes(leaf.idx, axes)
                factors = tuple(x.substitute(g, to) for g in (*x.factors_of(p), *rest))
                factors += tuple(place(x.substitute(e, to)) for e in extra)  # c[j, y[i, j]]: both of one element
                left = tuple(k for k in (*t.ixs, *sums) if k not in to)
                out.append((x.Num(t.coef), factors, left))
    return out


def place(e: Expr) -> Expr:
    """`delta(axis, data index)` as a selector of data."""
    if isinstance(e, x.Delta):
        for a, b in ((e.a, e.b), (e.b, e.a)):
            if isinstance(a, x.DataIx) and isinstance(b, Ix):
                return x.Sel(a.value, b)
    return e
