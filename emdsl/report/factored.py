"""Factors of a product as a person would put them, before numbers are gathered."""

from __future__ import annotations

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr


def negative(e: Expr) -> bool:
    return isinstance(e, x.Num) and e.value < 0


def one_exponential(factors: list[Expr]) -> list[Expr]:
    """`exp(a) exp(b) exp(c)` is `exp(a + b + c)`."""
    powers = [p.args[0] for p in factors if isinstance(p, x.Fn) and p.name == "exp"]
    if len(powers) < 3:
        return factors
    return [*(p for p in factors if not (isinstance(p, x.Fn) and p.name == "exp")), x.fn("exp", x.add(*powers))]


def out_of_sums(factors: list[Expr]) -> list[Expr]:
    """`s (a / s - b / s)` as `a - b`: what divides every term of a sum, before it, where it meets what stands there."""
    out = list(factors)
    for n, f in enumerate(factors):
        if not isinstance(f, x.Add):
            continue
        first, *more = ([p for p in x.factors_of(t) if isinstance(p, x.Pow) and negative(p.exponent)] for t in f.terms)
        shared = [p for p in first if isinstance(p, x.Pow) and p.base in out and all(p in own for own in more)]
        for p in shared:
            out[out.index(p.base)] = x.power(p.base, x.add(p.exponent, x.ONE))
        out[n] = x.add(*(x.mul(*(p for p in x.factors_of(t) if p not in shared)) for t in f.terms)) if shared else f
    return out


def ordered(factors: list[Expr]) -> list[Expr]:
    """Elements of one array beside each other in the order of their places, so that like products meet."""
    out = list(factors)
    places: dict[str, list[int]] = {}
    for n, f in enumerate(factors):
        if isinstance(f, El):
            places.setdefault(f.var, []).append(n)
    for at in places.values():
        for n, f in zip(at, sorted((factors[k] for k in at), key=repr), strict=True):
            out[n] = f
    return out
