"""Rows of ragged plates: such a plate and those around it are one axis, off whose rows the indices of each are read."""

from __future__ import annotations

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import DataIx, El, Expr, Idx
from emdsl.derive.algebra.made import POSITION, ROW, START
from emdsl.language import model as m


def axes_of(plates: tuple[m.Plate, ...], row: Idx) -> tuple[Idx, ...]:
    """The indices of plates at a row of all of them together: a ragged plate and those around it are one axis."""
    *around, last = plates
    if not around or isinstance(last.size, m.Ragged):
        return (row,)
    whole, size = x.value_of(row), x.SizeN(str(last.size))
    return (*axes_of(tuple(around), x.as_index(x.fn("floordiv", whole, size))), DataIx(x.fn("mod", whole, size)))


def places_of(plates: tuple[m.Plate, ...], row: Idx) -> tuple[Idx, ...]:
    """The same, with the place in its own plate for each of them."""
    for k, p in reversed(list(enumerate(plates))):
        if isinstance(p.size, m.Ragged):
            first, *inner = axes_of(plates, row)
            outer = places_of(plates[:k], x.as_index(El(ROW.of(p.size.name), (first,))))
            return (*outer, DataIx(El(POSITION.of(p.size.name), (first,))), *inner)
    return axes_of(plates, row)


def _one_row(row: Expr, place: Expr, size: Expr) -> Expr:
    """A place in an even plate and the row around it, as one row; where they were read off one, it is that."""
    match place:
        case x.Fn("mod", (whole, by)) if by == size and row == x.fn("floordiv", whole, size):
            return whole
    return x.add(x.mul(row, size), place)


def flattened(shape: m.Shape, plates: tuple[m.Plate, ...], idx: tuple[Idx, ...]) -> tuple[Idx, ...]:
    """The indices of an array: a ragged axis and everything before it are one axis of rows."""
    for axis, size in reversed(list(enumerate(shape[: len(plates)]))):
        if isinstance(size, m.Ragged):
            name, here = size.name, idx[axis]
            match here:
                case DataIx(El(var=v, idx=(row,))) if (
                    v == POSITION.of(name) and places_of(plates[: axis + 1], row) == idx[: axis + 1]
                ):
                    return (row, *idx[axis + 1 :])
            parent = row_around(shape[:axis], plates[:axis], idx[:axis])
            row_value = x.add(El(START.of(name), (x.as_index(parent),)), x.value_of(here))
            return (x.as_index(row_value), *idx[axis + 1 :])
    return idx


def row_around(shape: m.Shape, plates: tuple[m.Plate, ...], idx: tuple[Idx, ...]) -> Expr:
    """The row of the plates around a ragged one, all in one, at some indices."""
    parents = flattened(shape, plates, idx)
    row = x.value_of(parents[0])
    for p, d in zip(parents[1:], shape[len(shape) - len(parents) + 1 :], strict=True):
        row = _one_row(row, x.value_of(p), x.SizeN(str(d)))
    return row
