"""Equations over a short literal axis that is compared with numbers: one for each of its elements."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import Expr, Idx, Ix

SHORT_CASES = 6  # as many equations are still read


def compared_with(i: Ix, e: Expr) -> bool:
    """Whether an index is compared with a number in an expression."""
    return any(
        isinstance(n, x.Delta) and i in (n.a, n.b) and not (isinstance(n.a, Ix) and isinstance(n.b, Ix))
        for n in x.walk(e)
    )


def written_out(slots: Sequence[Ix], e: Expr) -> Iterator[dict[Ix, Idx]]:
    """Settings of short literal axes that are compared with numbers: one equation each."""
    short = [i for i in slots if i.dim.isdigit() and int(i.dim) <= SHORT_CASES and compared_with(i, e)]
    for values in product(*(range(int(i.dim)) for i in short)):
        yield dict(zip(short, values, strict=True))
