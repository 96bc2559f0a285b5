"""The normaliser of a family that its variable's domain cuts: `- log P(lower <= x <= upper)`.

Counts: the mass left out below a literal bound is summed from the density itself, so any family
will do. Where it is known what a family has below and above a value, that is used. On the line, where
the density is quadratic in x it is a Gaussian, whatever its name, and its mass is a difference of Phi.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr, Ix
from emdsl.derive.joint.ends import ends_of
from emdsl.derive.joint.records import function_of
from emdsl.derive.joint.sides import ASKED, REST
from emdsl.derive.joint.terms import opened
from emdsl.errors import ModelError, Problem
from emdsl.language import model as m

Tails = tuple[Callable[[Expr], Expr], Callable[[Expr], Expr]]
MOST = 1000  # terms of a count's mass that are written out


def narrower(own: m.Domain, declared: m.Domain) -> bool:
    """Whether the declared kind leaves out some of the family's values: a positive variable, a family on the line."""
    inside = own.ends[0] <= declared.ends[0] and declared.ends[1] <= own.ends[1]
    return not own.dims and own.interval and declared.interval and inside and declared.ends != own.ends


def limits(declared: m.Domain, element: Callable[[m.Expr], Expr]) -> tuple[Expr | None, Expr | None]:
    """(lower, upper) of a domain as scalar expressions."""
    ends = ends_of(declared)
    sides = ("lower", declared.lower, "max"), ("upper", declared.upper, "min")
    low, high = (_narrower(ends.get(side), None if b is None else element(b), inner) for side, b, inner in sides)
    return low, high


def _narrower(end: Expr | None, bound: Expr | None, inner: str) -> Expr | None:
    """What leaves less: the end of the kind of domain, or the bound that was written (`positive(min = lo[n])`)."""
    if end is None or bound is None or isinstance(bound, x.Num):
        return end if bound is None else bound
    return bound if inner == "max" and end == x.ZERO and x.positive(bound) else x.fn(inner, bound, end)


def log_mass(
    density: Callable[[Expr], Expr], tails: Tails | None, own: m.Domain, low: Expr | None, high: Expr | None,
    call: m.FamilyCall, outside: bool = False,
) -> Expr:  # fmt: skip
    """log of the mass between two limits, or outside of them; `density(x)` is the log density at a value, `tails` what
    is below and above one. Raises ModelError."""
    if not outside and own.kind == "count" and (mass := _count_mass(density, low, high)) is not None:
        return mass
    probe = El("truncated variate", (Ix("here", ""),))
    found = None if tails is not None or own.kind == "count" else gaussian_in(density(probe), probe.var)
    if found is not None:
        mean, sd = found
        tails = (lambda v: _standard(v, mean, sd), lambda v: _standard(mean, v, sd))
    if tails is None:
        raise ModelError(refusal(call))
    if outside and low is not None and high is not None:
        below, above = tails
        return _log(x.add(below(low), above(high)))
    return _between(tails, own, low, high)


def _standard(a: Expr, b: Expr, sd: Expr) -> Expr:
    return x.Fn("Phi", (x.mul(x.add(a, x.neg(b)), x.power(sd, x.num(-1))),))


def refusal(call: m.FamilyCall) -> Problem:
    """What is said of a family whose cut normaliser is not known."""
    hint = "widen the variable's domain, or declare the truncated family with its own normaliser"
    return Problem("E103", f"the normaliser of {call.family.name} cut by this domain is not known", call.span, hint)


def _between(tails: Tails, own: m.Domain, low: Expr | None, high: Expr | None) -> Expr:
    """log(S(low) - S(high)) = log S(low) + log(1 - exp(log S(high) - log S(low))), S = P(X > .), where log S has digits
    on both sides of the mass; else a difference on the side where both are small. The family's own ends cut nothing
    off."""
    below, above = tails
    one = x.num(1) if own.kind == "count" else x.ZERO  # P(X >= low) = P(X > low - 1)
    if low is not None and isfinite(own.ends[0]):
        low = _inside(low, own.kind == "count")
    if isinstance(high, x.Num) and high.value >= own.ends[1]:
        high = None
    if low is None:
        return x.ZERO if high is None else _log(below(high))
    low = x.add(low, x.neg(one))
    start = _log(above(low))
    if high is None:
        return start
    match below(low), below(high):
        case x.Fn("Phi", (a,)), x.Fn("Phi", (b,)):
            return x.Fn("log_between", (a, b))
    if any(isinstance(e, x.Fn) and e.name == "log_mass" for e in x.walk(start)):
        return x.Fn("log_inside", (below(low), below(high), above(low), above(high)))
    return x.add(start, x.Fn("log1mexp", (x.add(_log(above(high)), x.neg(start)),)))


def _log(mass: Expr) -> Expr:
    """The logarithm of a mass; one that underflows is no number, not a very small one: it stands in a denominator."""
    out = x.fn("log", mass)
    return x.Fn("log_mass", out.args) if isinstance(out, x.Fn) and out.name == "log" else out


def _inside(low: Expr, count: bool) -> Expr | None:
    """A lower limit within the support; None where it cuts nothing off."""
    if isinstance(low, x.Num):
        return None if (low.value < 1 if count else low.value <= 0) else low
    return low if x.positive(low) and not count else x.fn("max", low, x.ZERO)


def _count_mass(density: Callable[[Expr], Expr], low: Expr | None, high: Expr | None) -> Expr | None:
    first = _literal(low, 0)
    last = _literal(high, -1)
    if first is None or last is None or max(first, last) > MOST:
        return None
    if high is not None:
        return x.fn("log", x.add(*(x.fn("exp", density(x.num(n))) for n in range(first, last + 1))))
    below = [x.fn("exp", density(x.num(n))) for n in range(first)]
    return x.fn("log", x.add(x.ONE, *(x.neg(b) for b in below)))


def _literal(e: Expr | None, default: int) -> int | None:
    if e is None:
        return default
    return int(e.value) if isinstance(e, x.Num) else None


def gaussian_in(body: Expr, name: str) -> tuple[Expr, Expr] | None:
    """(mean, sd) of a log density that is quadratic in the one element of a variable that it holds."""
    probe = next((e for e in x.walk(body) if isinstance(e, El) and e.var == name), None)
    if probe is None:
        return None
    linear: list[Expr] = []
    square: list[Expr] = []
    for c, factors, sums in opened(body, lambda n: ASKED if n == probe.var else REST):
        mine = [f for f in factors if probe.var in x.variables(f)]
        rest = x.mul(x.Num(c), *(f for f in factors if f not in mine))
        if sums and mine:
            return None
        if mine:
            kind = function_of(x.mul(*mine), probe)
            if kind not in ("id", "square"):
                return None
            (linear if kind == "id" else square).append(rest)
    if not square:
        return None
    variance = x.power(x.mul(x.num(-2), x.add(*square)), x.num(-1))
    return x.mul(x.add(*linear), variance) if linear else x.ZERO, x.power(variance, x.HALF)
