"""Display equations that are too long for a line: where they are broken, whatever prints them.

A sum is broken before the sign of a term, a product before a factor (that of a sum over indices, too, which holds to
the end anyway), and what stands left of the relation gets a line of its own where it is long.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from emdsl.report import formula as f
from emdsl.report.formula import Formula, Terms
from emdsl.report.walking import parts, rebuilt

Size = Callable[[Formula], int]
PRODUCT = 1.35  # of the width of a sum within an equation: a product or a list that is longer is broken, too
SHORT = 12  # letters of a product that would look lost on a line


@dataclass(frozen=True)
class Piece:
    """A factor, with the signs that stand before it: a minus, sums over indices."""

    negative: bool
    sums: tuple[f.Big, ...]
    factor: Formula


@dataclass(frozen=True)
class Row:
    """A line of the right side: a sign (`+`, `-`, `×`, or none), then terms of a sum or pieces of a product."""

    sign: str
    terms: Terms
    pieces: tuple[Piece, ...] = ()


@dataclass(frozen=True)
class Broken:
    """A relation over several lines: its left side, on a line of its own or not, and the rows of its right side."""

    left: Formula
    sign: str
    alone: bool
    rows: tuple[Row, ...]


def broken(e: Formula, size_of: Size, wide: int, inner: int) -> Broken | None:
    """The lines of an equation longer than `wide`; None where it fits or cannot be broken."""
    if not isinstance(e, f.Relation) or size_of(e) <= wide or e.op not in ("=", ">=", "∝", "<-"):
        return None
    left = size_of(e.left)
    several = isinstance(e.right, f.Plus) and len(e.right.terms) > 1
    if isinstance(e.right, f.Plus):
        longest = max(width(t, size_of, inner) for _, t in e.right.terms)
    else:
        longest = max(_size(p, size_of, inner) for p in pieces(e.right))
    alone = left > 0.6 * wide or (longest + left > wide and (longest <= wide or left > 0.25 * wide))
    used = 0 if alone else left
    if several and isinstance(e.right, f.Plus):
        rows = _sum_rows(e.right.terms, size_of, wide - (3 if alone else 0), inner, used)
    else:
        rows = _product_rows(pieces(e.right), size_of, wide, inner, used)
    return Broken(e.left, e.op, alone, tuple(rows)) if len(rows) > 1 or alone else None


def _sum_rows(terms: Terms, size_of: Size, wide: int, inner: int, used: int) -> list[Row]:
    """The rows of a sum; a term too long for a row of its own is broken before its factors."""
    rows: list[Row] = []
    for row in f.in_rows(terms, size_of, wide, used):
        negative, first = row[0]
        sign = "-" if negative else "+" if rows else ""
        if len(row) == 1 and used + size_of(first) > wide:
            start, *rest = _product_rows(pieces(first), size_of, wide, inner, used)
            rows += [Row(sign, (), start.pieces), *rest]
        else:
            rows.append(Row(sign, ((False, first), *row[1:])))
    return rows


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


def _product_rows(found: list[Piece], size_of: Size, wide: int, inner: int, used: int) -> list[Row]:
    rows: list[list[Piece]] = [[]]
    length, held = used, 0  # with and without what stands to the left
    for p in found:
        whole = _size(p, size_of, inner) - width(p.factor, size_of, inner) + size_of(p.factor)
        size = whole if used + whole <= wide else _size(p, size_of, inner)  # else it is broken within
        if rows[-1] and length + size > wide and (held >= SHORT or any(q.sums for q in rows[-1])):
            rows.append([])
            length, held = used, 0
        rows[-1].append(p)
        length, held = length + size, held + size
    while len(rows) > 1 and len(rows[-2]) > 1 and sum(_size(p, size_of, inner) for p in rows[-1]) < SHORT:
        if _size(rows[-2][-1], size_of, inner) >= SHORT:
            break
        rows[-1].insert(0, rows[-2].pop())  # `e[0] e[0]ᵀ` is not torn apart
    return [Row("×" if n else "", (), tuple(row)) for n, row in enumerate(rows)]


def sums_out(e: Formula) -> Formula:
    """`(sum_n a) / b` as `1 / b sum_n a`, as it stands on paper, `a (sum_n b - c) / d` as `a / d (sum_n b - c)`.

    A ratio of sums stays one.
    """

    def tall(p: Formula) -> bool:
        return any(isinstance(q, f.Big) for q in parts(p))

    def step(p: Formula) -> Formula | None:
        match p:
            case f.Over(top, bottom):
                factors = top.factors if isinstance(top, f.Times) else (top,)
                held = [n for n, p in enumerate(factors) if isinstance(p, f.Big | f.Plus) and tall(p)]
                if len(held) == 1 and not tall(bottom):
                    before, after = factors[: held[0]], factors[held[0] :]
                    return f.times(f.Over(f.times(*map(sums_out, before)), sums_out(bottom)), *map(sums_out, after))
            case f.Times(factors):
                return f.times(*map(sums_out, factors))
        return None

    return rebuilt(e, step)


def factor_rows(e: f.Times, size_of: Size, inner: int) -> list[Row]:
    """The rows of a product within brackets or a fraction, where it is longer than a line."""
    wide = int(PRODUCT * inner)
    return _product_rows(pieces(e), size_of, wide, inner, 0) if size_of(e) > wide else []


def argument_rows(e: f.Apply, size_of: Size, inner: int) -> list[tuple[list[Formula], str]]:
    """What a function is of in rows, each with what separates it from the next; empty where it is short."""
    if size_of(e) <= PRODUCT * inner or (len(e.arguments) == 1 and not isinstance(e.arguments[0], f.Relation)):
        return []
    sides: tuple[Formula, ...] = (f.Listed(e.arguments),)
    match e.arguments:
        case (f.Relation("|", left, right),):
            sides = (left, right)
        case (_,):
            return []
    found = [item_rows(side, size_of, inner) for side in sides]
    ends = [
        end
        for rows, last in zip(found, ("|", "")[2 - len(sides) :], strict=True)
        for end in [*[","] * (len(rows) - 1), last]
    ]
    return list(zip((row for rows in found for row in rows), ends, strict=True))


def item_rows(e: Formula, size_of: Size, inner: int) -> list[list[Formula]]:
    """A list in rows."""
    rows: list[list[Formula]] = [[]]
    for item in e.items if isinstance(e, f.Listed) else (e,):
        if rows[-1] and sum(map(size_of, (*rows[-1], item))) > inner:
            rows.append([])
        rows[-1].append(item)
    return rows


def widest(e: Formula, parts: Broken | None, size_of: Size, inner: int) -> int:
    """About how wide the widest line of an equation is, broken as it is."""
    if not isinstance(e, f.Relation):
        return width(e, size_of, inner)
    left = size_of(e.left)
    if parts is None:
        return min(size_of(e), left + sum(_size(p, size_of, inner) for p in pieces(e.right)))
    rows = [
        sum(width(t, size_of, inner) + 3 for _, t in row.terms) + sum(_size(p, size_of, inner) for p in row.pieces)
        for row in parts.rows
    ]
    return max(width(e.left, size_of, inner), *rows) if parts.alone else left + max(rows)


def _size(p: Piece, size_of: Size, inner: int) -> int:
    """A factor with the signs before it."""
    signs = sum(max(4, size_of(replace(s, body=f.Number("")))) for s in p.sums)
    return width(p.factor, size_of, inner) + signs + 1


def width(e: Formula, size_of: Size, inner: int) -> int:
    """About how many characters a factor takes on its line: a long sum within it is broken, too."""
    match e:
        case f.Plus(terms):
            rows = f.in_rows(terms, size_of, inner)
            return max(sum(width(t, size_of, inner) + 3 for _, t in row) for row in rows)
        case f.Over(top, bottom):
            return max(width(top, size_of, inner), width(bottom, size_of, inner))
        case f.Apply(function, _) if listed := argument_rows(e, size_of, inner):
            return size_of(function) + 4 + max(sum(map(size_of, items)) + 2 * len(items) for items, _ in listed)
        case f.Mean(body, None):
            return width(body, size_of, inner) + 3
        case f.Apply(function, arguments):
            return size_of(function) + 2 + sum(width(a, size_of, inner) for a in arguments)
        case f.Big(_, _, body):
            return size_of(replace(e, body=f.Number(""))) + width(body, size_of, inner) + 2
        case f.Relation(_, left, right):
            return width(left, size_of, inner) + 3 + width(right, size_of, inner)
        case f.Raised(base, f.Number(_)):
            return width(base, size_of, inner) + 3
        case f.Times(factors):
            several = factor_rows(e, size_of, inner)
            if len(several) > 1:
                return max(sum(_size(p, size_of, inner) for p in row.pieces) for row in several) + 2
            return sum(width(p, size_of, inner) + 1 for p in factors)
    return size_of(e)
