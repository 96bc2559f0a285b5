"""Sums whose terms stand over one denominator as one fraction: `a / s - b / s` is `(a - b) / s`."""

from __future__ import annotations

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import Expr
from emdsl.report.sums import taken_out
from emdsl.report.tidy import content


def gathered(e: Expr) -> Expr:
    """The sum with its fractions gathered, in the order of the first of each; what is no sum as it is."""
    if not isinstance(e, x.Add):
        return e
    groups: dict[frozenset[Expr], list[Expr]] = {}
    for t in e.terms:
        below = frozenset(p for p in x.factors_of(t) if divides(p))
        groups.setdefault(below or frozenset((t,)), []).append(t)
    return x.add(*(terms[0] if len(terms) == 1 else _over(below, terms) for below, terms in groups.items()))


def _over(below: frozenset[Expr], terms: list[Expr]) -> Expr:
    above = taken_out([x.mul(*(p for p in x.factors_of(t) if p not in below)) for t in terms])
    if not isinstance(above, x.Add):
        return x.mul(above, *below)
    c, whole = content(above)
    order = [p for p in x.factors_of(terms[0]) if p in below]
    return x.mul(x.Num(c), whole, *order)


def divides(e: Expr) -> bool:
    """Whether a factor stands below the line."""
    return isinstance(e, x.Pow) and isinstance(e.exponent, x.Num) and e.exponent.value < 0
