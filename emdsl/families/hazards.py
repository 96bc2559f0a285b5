"""A density whose log holds the log of its own tail as a part: what lies above a value, without an integral.

    log f(x) = log h(x) + log S(x),     log h + log S = log(-S')          x > 0: log k + (k - 1) log x  +  -(x/s)^k
    log f(x) = log r(x) + log F(x),     log r + log F = log F'            on the line: -z  +  -exp(-z)

So of any family by its hazard (Weibull, Gompertz, proportional hazards), of Pareto's and Lomax's, which hold it among
the terms of an opened product, and, where a term stands twice, of the logistic and its like. Which of the terms make up
S or F is tried at numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache, reduce
from itertools import product

import numpy as np

from emdsl.families.density import density_scope, limits
from emdsl.families.evaluate import rows_of
from emdsl.families.normalised import random_arguments
from emdsl.families.scope import Array, Scope
from emdsl.language.model import Call, Expr, Family, Num

MOST = 8  # terms, of which all sums are tried
SHARES = (0.0, 1.0, 0.5)  # of a term
TRIALS = 3
STEP, CLOSE = 1e-5, 1e-6
FAR = 1e3  # where nothing is left beyond, on the line
Term = tuple[int, Expr]  # its sign, and what is added or subtracted


@lru_cache(maxsize=256)
def tails_within(family: Family, signature: int) -> tuple[Expr, Expr] | None:
    """P(X <= x) and P(X > x) where one of them is a part of the density; None where neither is."""
    terms = list(_summands(family.signatures[signature].log_density, 1))
    if family.sizes or family.x.domain.dims or not family.x.domain.interval or len(terms) > MOST:
        return None
    shares = np.array(sorted(product(SHARES, repeat=len(terms)), key=lambda s: (sum(s), s)))[1:]
    for upward in (False, True):
        fits = np.ones(len(shares), bool)
        for trial in range(TRIALS):
            with np.errstate(all="ignore"):
                fits &= _fits(family, signature, terms, shares, upward, np.random.default_rng([trial]))
        if fits.any():
            mass = Call("exp", (_sum(terms, shares[np.flatnonzero(fits)[0]]),), ())
            rest = Call("sub", (Num(1), mass), ())
            return (mass, rest) if upward else (rest, mass)
    return None


def _fits(
    family: Family, signature: int, terms: list[Term], shares: Array, upward: bool, rng: np.random.Generator
) -> Array:
    """Which sums of shares of the terms are the log of what lies below (`upward`), or above a value."""
    args = random_arguments(family, signature, {}, rng)
    low, high = (float(v[0]) for v in limits(family.x.domain, Scope(sizes={}, local=args)))
    x = _points(low, high, rng)
    step = STEP * np.minimum(1, np.minimum(x - low, high - x))
    end = np.array([min(high, FAR) if upward else max(low, -FAR)])

    def values(x: Array) -> Array:
        scope, _ = density_scope(family, signature, x, list(args.values()))
        return np.stack([np.broadcast_to(sign * rows_of(e, scope), len(x)) for sign, e in terms])

    log_mass, density = shares @ values(x), values(x).sum(0)
    slope = shares @ ((values(x + step) - values(x - step)) / (2 * step)) * (1 if upward else -1)
    at_end = np.where(shares > 0, shares * values(end)[:, 0], 0).sum(1)
    found = (np.abs(np.log(slope) + log_mass - density) < CLOSE * (1 + np.abs(density))).all(1)
    return np.asarray(found & (np.abs(at_end) < CLOSE))


def _points(low: float, high: float, rng: np.random.Generator) -> Array:
    """Values of moderate size inside of an interval."""
    z = rng.standard_normal(9)
    if np.isfinite(low) and np.isfinite(high):
        return np.asarray(low + (high - low) * (0.1 + 0.8 * rng.random(9)))
    if np.isfinite(low) or np.isfinite(high):
        return np.asarray(low + np.exp(z) if np.isfinite(low) else high - np.exp(z))
    return np.asarray(1.5 * z)


def _summands(e: Expr, sign: int) -> Iterator[Term]:
    """The terms of a sum, products of sums opened."""
    match e:
        case Call("add", (a, b)):
            yield from _summands(a, sign)
            yield from _summands(b, sign)
        case Call("sub", (a, b)):
            yield from _summands(a, sign)
            yield from _summands(b, -sign)
        case Call("neg", (a,)):
            yield from _summands(a, -sign)
        case Call("mul", (a, b)):
            for one, left in _summands(a, sign):
                for two, right in _summands(b, 1):
                    yield one * two, Call("mul", (left, right), ())
        case Call("div", (a, b)):
            for one, top in _summands(a, sign):
                yield one, Call("div", (top, b), ())
        case _:
            yield sign, e


def _sum(terms: list[Term], shares: Array) -> Expr:
    parts: list[Expr] = []
    for (sign, e), share in zip(terms, shares, strict=True):
        if share:
            part = e if share == 1 else Call("mul", (Num(Fraction(share)), e), ())
            parts.append(Call("neg", (part,), ()) if sign < 0 else part)
    return reduce(lambda a, b: Call("add", (a, b), ()), parts)
