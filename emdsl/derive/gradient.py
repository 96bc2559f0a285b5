"""Derivatives of indexed expressions by elements of a variable: the chain rule with indices.

d e / d v[J] = sum over occurrences v[I] in e of (partial of e) * prod(delta(J, I))
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from emdsl.derive import expr as x
from emdsl.derive.coefficients import _to_axes
from emdsl.derive.expr import El, Expr, Ix
from emdsl.derive.terms import Term
from emdsl.errors import InternalError

_LOG_ROOT = x.neg(x.mul(x.HALF, x.fn("log", x.mul(x.num(2), x.Fn("pi", ())))))  # -log sqrt(2 pi)

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
    outer = x.mul(e.exponent, x.power(e.base, x.add(e.exponent, x.num(-1))))
    out += [(leaf, x.mul(outer, p), s) for leaf, p, s in partials(e.base, name)]
    log = x.mul(e, x.fn("log", e.base))
    out += [(leaf, x.mul(log, p), s) for leaf, p, s in partials(e.exponent, name)]
    return out


def _function(e: x.Fn, name: str) -> list[Partial]:
    out: list[Partial] = []
    for n, a in enumerate(e.args):
        inner = partials(a, name)
        if inner:
            slope = derivative(e, n)
            out += [(leaf, x.mul(slope, p), s) for leaf, p, s in inner]
    return out


_UNARY: Mapping[str, Callable[[x.Fn, Expr], Expr]] = {  # f'(a), given f(a) and a
    "log": lambda e, a: x.power(a, x.num(-1)),
    "exp": lambda e, a: e,
    "log1p": lambda e, a: x.power(x.add(x.ONE, a), x.num(-1)),
    "softplus": lambda e, a: x.Fn("logistic", (a,)),
    "logistic": lambda e, a: x.mul(e, x.add(x.ONE, x.neg(e))),
    "logit": lambda e, a: x.power(x.mul(a, x.add(x.ONE, x.neg(a))), x.num(-1)),
    "sin": lambda e, a: x.fn("cos", a),
    "cos": lambda e, a: x.neg(x.fn("sin", a)),
    "tanh": lambda e, a: x.add(x.ONE, x.neg(x.power(e, x.num(2)))),
    "abs": lambda e, a: x.Fn("sign", (a,)),
    "sign": lambda e, a: x.ZERO,
    "lgamma": lambda e, a: x.Fn("digamma", (a,)),
    "digamma": lambda e, a: x.Fn("trigamma", (a,)),
    "log_bessel_i0": lambda e, a: x.Fn("bessel_ratio", (a,)),
    "Phi": lambda e, a: x.Fn("phi", (a,)),
    "log_Phi": lambda e, a: x.fn("exp", x.add(x.neg(e), x.mul(x.num(-1), x.HALF, x.power(a, x.num(2))), _LOG_ROOT)),
    "phi": lambda e, a: x.neg(x.mul(a, e)),
}


def derivative(e: x.Fn, n: int) -> Expr:
    """d e / d (argument n)."""
    slope = _UNARY.get(e.name)
    if slope is not None:
        return slope(e, e.args[0])
    if e.name in x.COMPARISONS or e.name == "value":
        return x.ZERO
    if e.name in ("min", "max"):
        other = e.args[1 - n]
        return x.fn("lt" if e.name == "min" else "gt", e.args[n], other)
    raise InternalError("gradient", f"no derivative of {e.name}")


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
                to, extra = _to_axes(leaf.idx, axes, (*t.ixs, *sums))
                factors = tuple(x.substitute(g, to) for g in (*x.factors_of(p), *rest)) + tuple(
                    _place(e) for e in extra
                )
                left = tuple(k for k in (*t.ixs, *sums) if k not in to)
                out.append((x.Num(t.coef), factors, left))
    return out


def _place(e: Expr) -> Expr:
    """`delta(axis, data index)` as a selector of data."""
    if isinstance(e, x.Delta):
        for a, b in ((e.a, e.b), (e.b, e.a)):
            if isinstance(a, x.DataIx) and isinstance(b, Ix):
                return x.Sel(a.value, b)
    return e
