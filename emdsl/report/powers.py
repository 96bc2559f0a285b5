"""Products of powers whose exponents no number says, as a person would write them: `(y / c)^s`, not `y^s c^(-s)`."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import Expr


def one_power(factors: Sequence[Expr]) -> list[Expr]:
    """`y^s c^(-s - 1)` as `(y / c)^s / c`, `c^(-s) sum_n y[n]^s` as `sum_n (y[n] / c)^s`, `(y / c)^(s - 1) y / c` as
    `(y / c)^s`: the same where y and c are positive, which what has such an exponent is."""
    out = list(factors)
    for q in out:
        if isinstance(q, x.Pow) and not isinstance(q.exponent, x.Num) and x.split_number(_letters(q.exponent))[0] < 0:
            for p in out:
                if (met := _over(p, q)) is not None:
                    return one_power([*(r for r in out if r not in (p, q)), *met])
    for p in out:
        if (raised := _raised(p, [q for q in out if q is not p])) is not None:
            return one_power(raised)
    return out


def _letters(e: Expr) -> Expr:
    """A sum without its numbers."""
    return x.add(*(t for t in x.terms_of(e) if not isinstance(t, x.Num)))


def _over(p: Expr, q: x.Pow) -> tuple[Expr, ...] | None:
    """`y^s` and what `c^(k - s)` is beside it; of a sum, of the one of its factors that is such a power."""
    match p:
        case x.Pow(base, exponent) if not isinstance(exponent, x.Num):
            left = x.add(q.exponent, exponent)
            if isinstance(left, x.Num) and isinstance(left.value, Fraction) and left.value.denominator == 1:
                both = x.Pow(x.mul(base, x.power(q.base, x.num(-1))), exponent)
                return both, *(() if left == x.ZERO else (x.power(q.base, left),))
        case x.Sum(ix, body) if ix not in x.free(q):
            inside = x.factors_of(body)
            for r in inside:
                if (met := _over(r, q)) is not None:
                    power, *rest = met
                    return x.Sum(ix, x.mul(*(o for o in inside if o is not r), power)), *rest
    return None


def _raised(p: Expr, others: Sequence[Expr]) -> list[Expr] | None:
    """`(y / c)^(s - 1)`, alone or in a sum, beside y and 1 / c, with these in it."""
    if isinstance(p, x.Sum):
        inside = x.factors_of(p.body)
        found = (_raised(r, [*(o for o in inside if o is not r), *others]) for r in inside)
        raised = next((product for product in found if product is not None), None)
        return None if raised is None else list(x.factors_of(x.total(p.ix, x.mul(*raised))))
    if not isinstance(p, x.Pow):
        return None
    if not any(isinstance(t, x.Num) and t.value < 0 for t in x.terms_of(p.exponent)) or p.exponent == x.num(-1):
        return None
    if isinstance(p.exponent, x.Num) or not isinstance(p.base, x.Mul):
        return None
    left = list(others)
    for base, n in map(_parted, p.base.factors):
        own = [_parted(o) for o in left]
        at = next((k for k, (o, m) in enumerate(own) if o == base and n and m / n >= 1), None)
        if at is None:
            return None
        left[at] = x.power(base, x.Num(own[at][1] - n))
    return [*(o for o in left if o != x.ONE), x.power(p.base, x.add(p.exponent, x.ONE))]


def _parted(e: Expr) -> tuple[Expr, Fraction]:
    """A factor as a base and a number it is raised to; a number has none."""
    match e:
        case x.Num():
            return e, Fraction(0)
        case x.Pow(base, x.Num(Fraction() as n)):
            return base, n
    return e, Fraction(1)
