"""Sums over literal lists, and over a few powers, written out: their terms are of other forms."""

from __future__ import annotations

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import Expr, Ix

MOST_POWERS = 12  # terms of a sum of powers that are written out


def unrolled(e: Expr) -> Expr:
    """Sums over the items of a literal list, and over a few powers, are written out."""

    def open_sum(s: Expr) -> Expr | None:
        if not isinstance(s, x.Sum):
            return None
        for node in x.walk(s.body):
            count = _written_out(node, s.ix)
            if count:
                return x.add(*(unrolled(x.substitute(s.body, {s.ix: v})) for v in range(count)))
        return None

    return x.rebuild(e, open_sum)


def _written_out(e: Expr, ix: Ix) -> int:
    """How many terms a sum over this index has, where this part of it is of another form in each; else 0.

    Under a name of their own powers of data are no polynomial: `sum(c[j] * t[n]^j for j in 4)`.
    """
    match e:
        case x.Choose(at, options) if at == ix:
            return len(options)
        case x.Pow(_, exponent) if ix in x.free(exponent) and ix.dim.isdigit():
            return int(ix.dim) if int(ix.dim) <= MOST_POWERS else 0
    return 0
