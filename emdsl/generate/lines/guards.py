"""Factors beside a condition: what has no value where the condition fails is not evaluated there.

`[t > 0] / (1 - exp(x[t-1] - x[t]))` is 0 at t = 0, where what is read in place of x[-1] may make it 0 / 0: there the
argument of the function is a number at which it has a value.
"""

from __future__ import annotations

from collections.abc import Sequence

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import Expr

# Functions that are not finite everywhere, and a place where they are.
INSIDE = {"log": x.ONE, "log1mexp": x.num(-1), "logit": x.HALF, "lgamma": x.ONE, "digamma": x.ONE, "trigamma": x.ONE}


def guarded(factors: Sequence[Expr]) -> Sequence[Expr]:
    """The same product, whose other factors are evaluated only where its conditions hold."""
    conditions = [f for f in factors if isinstance(f, x.Fn) and f.name in x.COMPARISONS]
    if not conditions:
        return factors
    holds: Expr = conditions[0]
    for other in conditions[1:]:
        holds = x.fn("and", holds, other)
    return [f if f in conditions else x.rebuild(f, lambda e: _inside(e, holds)) for f in factors]


def _inside(e: Expr, holds: Expr) -> Expr | None:
    """A function of a sum that may be anything, taken at a safe place where the condition fails."""
    match e:
        case x.Fn(name, (x.Add() as a,)) if name in INSIDE and not x.positive(a):
            return x.Fn(name, (x.Where(holds, x.rebuild(a, lambda p: _inside(p, holds)), INSIDE[name]),))
        case x.Fn("log1mexp", (a,)):
            return x.Fn("log1mexp", (x.Where(holds, a, INSIDE["log1mexp"]),))
        case x.Pow(x.Add() as base, exponent) if not x.positive(base) and not _whole(exponent):
            return x.Pow(x.Where(holds, x.rebuild(base, lambda p: _inside(p, holds)), x.ONE), exponent)
    return None


def _whole(exponent: Expr) -> bool:
    return isinstance(exponent, x.Num) and exponent.value >= 0 and exponent.value == int(exponent.value)
