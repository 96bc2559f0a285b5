"""Display equations that are too long for a line: where they are broken, whatever prints them.

A sum is broken before the sign of a term, a product before a factor (that of a sum over indices, too, which holds to
the end anyway), and what stands left of the relation gets a line of its own where it is long.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from emdsl.report import formula as f
from emdsl.report.formula import Formula, Terms

Text = Callable[[Formula], str]


@dataclass(frozen=True)
class Piece:
    """A factor, with the signs that stand before it: a minus, sums over indices."""

    negative: bool
    sums: tuple[f.Big, ...]
    factor: Formula


@dataclass(frozen=True)
class Broken:
    """A relation over several lines: its left side, on a line of its own or not, and the rows of its right side.

    Either `terms`, the rows of a sum, or `pieces`, the rows of a product.
    """

    left: Formula
    sign: str
    alone: bool
    terms: tuple[Terms, ...]
    pieces: tuple[tuple[Piece, ...], ...]

    @property
    def rows(self) -> int:
        """How many lines the right side has."""
        return len(self.terms) or len(self.pieces)


def broken(e: Formula, text: Text, wide: int, inner: int) -> Broken | None:
    """The lines of an equation longer than `wide`; None where it fits or cannot be broken."""
    if not isinstance(e, f.Relation) or len(text(e)) <= wide or e.op not in ("=", ">=", "∝"):
        return None
    left = len(text(e.left))
    alone = left > 0.6 * wide
    used = 0 if alone else left
    if isinstance(e.right, f.Plus) and len(e.right.terms) > 1:
        rows = f.in_rows(e.right.terms, text, wide - (3 if alone else 0), used)
        out = Broken(e.left, e.op, alone, tuple(rows), ())
    else:
        out = Broken(e.left, e.op, alone, (), tuple(_product_rows(pieces(e.right), text, wide, inner, used)))
    return out if out.rows > 1 or alone else None


def pieces(e: Formula) -> list[Piece]:
    """A product in the pieces that may stand on different lines."""
    match e:
        case f.Plus(((negative, only),)):
            first, *rest = pieces(only)
            return [Piece(negative != first.negative, first.sums, first.factor), *rest]
        case f.Times(factors):
            *most, last = factors
            return [*(Piece(False, (), p) for p in most), *pieces(last)]
        case f.Big(_, _, body) if f.level(body) >= f.PRODUCT:
            first, *rest = pieces(body)
            return [Piece(first.negative, (e, *first.sums), first.factor), *rest]
    return [Piece(False, (), e)]


def _product_rows(found: list[Piece], text: Text, wide: int, inner: int, used: int) -> list[tuple[Piece, ...]]:
    rows: list[list[Piece]] = [[]]
    length = used
    for p in found:
        size = width(p.factor, text, inner) + 4 * len(p.sums) + 1
        if rows[-1] and length + size > wide and any(f.level(q.factor) != f.ATOM or q.sums for q in rows[-1]):
            rows.append([])
            length = 0
        rows[-1].append(p)
        length += size
    return [tuple(row) for row in rows]


def width(e: Formula, text: Text, inner: int) -> int:
    """About how many characters a factor takes on its line: a long sum within it is broken, too."""
    match e:
        case f.Plus(terms):
            rows = f.in_rows(terms, text, inner)
            return max(sum(len(text(t)) + 3 for _, t in row) for row in rows)
        case f.Over(top, bottom):
            return max(width(top, text, inner), width(bottom, text, inner))
        case f.Apply(function, arguments):
            return len(text(function)) + 2 + sum(width(a, text, inner) for a in arguments)
    return len(text(e))
