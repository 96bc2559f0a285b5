"""How the rows of a table lie in the plates of a model: their order, and the place of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from emdsl.runtime.data.columns import Array, Column
from emdsl.runtime.data.faults import DataError, closest
from emdsl.runtime.data.frames import Table
from emdsl.runtime.data.groups import group_columns, told_by_rows
from emdsl.runtime.data.places import check_places, coded_places, is_ordered, names_elements
from emdsl.runtime.data.plates import Record
from emdsl.runtime.data.sizes import ragged_name

IndexColumn = tuple[str, Any, list[Any]]
RowsOf = Callable[[tuple[int, ...]], tuple[int | None, int]]  # a place in an array: its row, how many axes lead to it


def first_row(keys: Array, shape: tuple[int, ...], place: tuple[int, ...]) -> tuple[int | None, int]:
    """Of the elements at flat positions `keys` in `shape` the first at a place, None where none is, and its axes."""
    if len(shape) > len(place):
        return None, 0
    found = np.flatnonzero(keys == (np.ravel_multi_index(place[: len(shape)], shape) if shape else 0))
    return int(found[0]) if found.size else None, len(shape)


class Layout(NamedTuple):
    """How the table's rows lie in the plates: `order` sorts them; `cell` is each sorted row's place in
    the dense grid `shape` (None where rows are simply taken in order); `parents` are for the elements of the first k
    plates the place of each row among them, and their shape."""

    plates: tuple[str, ...]
    order: Array | None = None
    shape: tuple[int, ...] = ()
    cell: Array | None = None
    parents: tuple[tuple[Array, tuple[int, ...]], ...] = ()
    lengths: Mapping[str, Array] = MappingProxyType({})
    labels: Mapping[str, list[str]] = MappingProxyType({})
    loops: Mapping[str, IndexColumn] = MappingProxyType({})

    def row(self, depth: int, place: tuple[int, ...]) -> tuple[int | None, int]:
        """The table's row of the element at a place over the first plates, and how many of its axes are theirs."""
        if self.order is None:
            return place[0], 1
        if depth < len(self.plates):
            return first_row(*self.parents[depth], place)
        if self.cell is None:
            return int(self.order[place[0]]), 1
        flat = np.ravel_multi_index(place[: len(self.shape)], self.shape)
        at = int(np.searchsorted(self.cell, flat))  # they are sorted
        return int(self.order[at]) if at < len(self.cell) and self.cell[at] == flat else None, len(self.shape)

    def arrange(self, variable: Record, column: Column) -> Any:
        """One variable's column in the shape of its plates, missing where the grid has no row."""
        name, plates = variable["name"], tuple(p[1] for p in variable["plates"])
        if plates != self.plates[: len(plates)]:
            raise DataError(
                f"{name}: lies over {' x '.join(plates) or 'no plate'}, "
                f"but the table has a row for each of {' x '.join(self.plates)}",
                hint="pass a dict of arrays, or a JSON file of them",
                code="D019",
            )
        values = np.ma.MaskedArray(column.values, ~column.present)
        if self.order is None:
            return values if column.missing is not None else column.values
        if len(plates) < len(self.plates):
            keys, shape = self.parents[len(plates)]
            over = " x ".join(self.plates[: len(plates)]) or "the model"
            return told_by_rows(variable, values, keys, shape, over)
        empty = np.setdiff1d(np.flatnonzero(column.present.reshape(len(values), -1).any(1)), self.order)
        if empty.size:
            raise DataError(f"{name}: is there in a row that has no place", code="D019", row=int(empty[0]))
        values = values[self.order]
        if self.cell is None:
            return values
        grid: Any = np.ma.masked_all(  # type: ignore[no-untyped-call]
            (int(np.prod(self.shape)), *values.shape[1:]), values.dtype
        )
        grid[self.cell] = values
        return grid.reshape(*self.shape, *values.shape[1:])


def plates_of_rows(used: Sequence[Record]) -> list[Any]:
    """The deepest plates; of several such, those whose rows lead to all others (a pupil to his class)."""
    depth = max((len(v["plates"]) for v in used), default=0)
    deepest = [v["plates"] for v in used if len(v["plates"]) == depth]
    for plates in deepest:
        sizes = [p[1] for p in plates]
        beside = group_columns(used, sizes)
        if all(p[1] in sizes or p[1] in beside for v in used for p in v["plates"]):
            return list(plates)
    return list(deepest[0]) if deepest else []


def layout_of(
    spec: Mapping[str, Any],
    used: Sequence[Record],
    table: Table,
    index: Mapping[str, str],
    kept: Mapping[str, list[str]],
) -> Layout:
    """The rows' places in the plates of the variable that lies deepest; `kept` are names in the order of a fit."""
    plates = plates_of_rows(used)
    names = [p[0] for p in plates]
    for loop, column in index.items():
        if loop not in names:
            raise DataError(
                f"index: no plate of the data has the loop name {loop}", hint=closest(loop, names), code="D019"
            )
        if column not in table.columns:
            raise DataError(
                f"index: the table has no column {column}", hint=closest(column, table.columns), code="D018"
            )
    sizes = tuple(p[1] for p in plates)
    own = len(plates) > 1 or any(is_ordered(spec, size) for size in sizes)
    found = [index.get(n) or (n if own and n in table.columns else None) for n in names]
    if len(plates) < 2 and not any(found):
        return Layout(sizes)
    for name, found_in in zip(names[:-1], found[:-1], strict=True):
        if found_in is None:
            raise DataError(
                f"the rows of plate {name} cannot be told apart",
                hint=f"name its column: --index {name}=COLUMN or index={{{name!r}: ...}}",
                code="D019",
            )
    ragged = ragged_name(sizes[-1]) is not None and len(sizes) > 1
    coded = [
        coded_places(c, table.columns[c], ragged and k == len(found) - 1, kept.get(size)) if c else None
        for k, (c, size) in enumerate(zip(found, sizes, strict=True))
    ]
    loops = {
        loop: (c, table.columns[c], values[1])
        for loop, c, values in zip(names, found, coded, strict=True) if c is not None and values is not None
    }  # fmt: skip
    return _grid(spec, sizes, coded, [c or "" for c in found])._replace(loops=loops)


def _grid(
    spec: Mapping[str, Any],
    sizes: tuple[str, ...],
    coded: Sequence[tuple[Array, list[Any]] | None],
    names: Sequence[str],
) -> Layout:
    """Rows sorted by their index columns; plates may be ragged, and the last may have no column of its own."""
    count = len(next(c for c in coded if c is not None)[0])
    parents, lengths = _parents(sizes[:-1], [c for c in coded[:-1] if c is not None], count)
    keys, shape = parents[-1]
    last = coded[-1]
    order = np.argsort(keys, kind="stable") if last is None else np.lexsort((last[0], keys))
    if last is not None:
        order = order[last[0][order] >= 0]
    keys = keys[order]
    if last is not None:
        check_places(spec, sizes[-1], names[-1], order, keys, last[0][order], last[1])
    labels = {
        s: [str(v) for v in c[1]]
        for s, c in zip(sizes, coded, strict=True)
        if c is not None and ragged_name(s) is None and names_elements(spec, s, c[1])
    }
    per_parent = np.bincount(keys, minlength=int(np.prod(shape)))
    name = ragged_name(sizes[-1])
    if name is not None:
        return Layout(sizes, order, shape, None, tuple(parents), {**lengths, name: per_parent}, labels)
    if lengths:
        raise DataError(
            f"{sizes[-1]}: is one length inside a ragged plate",
            hint="pass lists of arrays, or a JSON file of them",
            code="D019",
        )
    if last is None:
        if len(set(per_parent.tolist())) > 1:
            raise DataError(
                f"{names[0]}: its elements have {per_parent.min()} to {per_parent.max()} rows, "
                f"but {sizes[-1]} is one length",
                code="D019",
            )
        inner, width = np.arange(count) - np.repeat(np.cumsum(per_parent) - per_parent, per_parent), int(per_parent[0])
    else:
        inner, width = last[0][order], len(last[1])
    return Layout(sizes, order, (*shape, width), keys * width + inner, tuple(parents), {}, labels)


def _parents(
    sizes: Sequence[str], coded: Sequence[tuple[Array, list[Any]]], count: int
) -> tuple[list[tuple[Array, tuple[int, ...]]], dict[str, Array]]:
    """For the elements of the first k plates each row's place among them, and their shape; lengths of ragged ones.

    Elements of a ragged plate are those that rows name, in order inside each element around.
    """
    parents: list[tuple[Array, tuple[int, ...]]] = [(np.zeros(count, np.int64), ())]
    lengths: dict[str, Array] = {}
    for size, (codes, seen) in zip(sizes, coded, strict=True):
        above, shape = parents[-1]
        keys, name = above * len(seen) + codes, ragged_name(size)
        if name is None and not lengths:
            parents.append((keys, (*shape, len(seen))))
            continue
        if name is None:
            raise DataError(
                f"{size}: is one length inside a ragged plate",
                hint="pass lists of arrays, or a JSON file of them",
                code="D019",
            )
        met, places = np.unique(keys, return_inverse=True)
        lengths[name] = np.bincount(met // len(seen), minlength=int(np.prod(shape)))
        parents.append((places.reshape(-1), (len(met),)))
    return parents, lengths
