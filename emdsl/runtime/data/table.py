"""Data frames and tables of columns as arrays by variable, long format included.

A table has one row per element of the innermost plate. Nested plates are told apart by index
columns, one for each plate: `index={"s": "subject"}`, or columns that bear the loop names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from emdsl.runtime.data.arguments import by_name
from emdsl.runtime.data.cells import nested_columns, read_cells
from emdsl.runtime.data.columns import Array, Column, place_words, read_column, refuse_text
from emdsl.runtime.data.faults import DataError, closest
from emdsl.runtime.data.frames import Table, as_table
from emdsl.runtime.data.groups import Groups, coded, coded_by_rows, group_columns, read_groups, told_by_rows
from emdsl.runtime.data.named import columns_of, spread_over_columns
from emdsl.runtime.data.places import check_places, coded_places, is_ordered, names_elements
from emdsl.runtime.data.plates import Record
from emdsl.runtime.data.sizes import ragged_name


class ReadData(NamedTuple):
    """Arrays by variable; `lengths` of ragged plates whose arrays are flat; `labels` of plates named in text.

    Of what a table holds: `rows` is where the rows of a variable's elements are, `columns` its columns, and `loops`
    by their names the columns that tell elements apart, with their values and those that differ, in the plate's order.
    """

    values: dict[str, Any]
    lengths: Mapping[str, Array] = MappingProxyType({})
    labels: Mapping[str, list[str]] = MappingProxyType({})
    rows: Mapping[str, RowsOf] = MappingProxyType({})
    columns: Mapping[str, list[str]] = MappingProxyType({})
    loops: Mapping[str, IndexColumn] = MappingProxyType({})

    def in_table(self, error: DataError) -> DataError:
        """A fault of an entry of an array as one of the table's row that the entry was read from."""
        name, place = error.place or ("", ())
        rows = self.rows.get(name)
        if rows is None or not place:
            return error
        row, axes = rows(place)
        if row is None:
            return DataError(error.message, "the table has no row there", error.code)
        there = error.message.replace(place_words(place), place_words((row, *place[axes:])), 1)
        found = DataError(there, error.hint, error.code, row)
        found.of_table = True
        return found


def read_data(
    spec: Mapping[str, Any],
    data: Any,
    columns: Mapping[str, Any] | None,
    index: Mapping[str, str] | None,
    kept: Mapping[str, list[str]] = MappingProxyType({}),
) -> ReadData:
    """What `fit` was given (a dict, a frame, one array) as arrays by variable; `kept` are labels of a fit before.

    Raises DataError where a column is absent, or where one array is not enough to know what it is.
    """
    table = as_table(data)
    columns, index = (
        by_name({} if a is None else a, n, "columns") for a, n in ((columns, "columns"), (index, "index"))
    )
    if table is not None:
        return read_table(spec, table, columns, index, kept)
    if columns or index:
        raise DataError("columns= and index= are for data frames", code="D017")
    if isinstance(data, Mapping):
        return ReadData(dict(data))
    needed = [
        v["name"] for v in spec["variables"] if v["kind"] == "observed" or (v["kind"] == "given" and not v["default"])
    ]
    if len(needed) != 1:
        raise DataError(
            f"one array is not enough: the model reads {', '.join(needed)}",
            hint=f"pass a dict: {{{needed[0]!r}: ...}}",
            code="D002",
        )
    return ReadData({needed[0]: data})


def read_table(
    spec: Mapping[str, Any],
    table: Table,
    columns: Mapping[str, Any],
    index: Mapping[str, str],
    kept: Mapping[str, list[str]] = MappingProxyType({}),
) -> ReadData:
    """A table's columns as arrays by variable, by the rules of `columns_of`, `Layout` and `Groups`."""
    variables = [v for v in spec["variables"] if v["kind"] in ("observed", "given")]
    for name in columns:
        if name not in {v["name"] for v in variables}:
            raise DataError(
                f"columns: the model has no variable {name}",
                hint=closest(name, [v["name"] for v in variables]),
                code="D002",
            )
    nested = nested_columns(variables, table, columns)
    if nested:
        others = [v for v in variables if v["name"] not in nested]
        found = {v["name"]: columns_of(v, variables, table, columns, index) for v in others}
        return ReadData(read_cells(table, nested, {n: names for n, names in found.items() if names is not None}))
    variables = [spread_over_columns(v, table, columns, index) for v in variables]
    chosen = {
        v["name"]: names for v in variables if (names := columns_of(v, variables, table, columns, index)) is not None
    }
    used = [v for v in variables if v["name"] in chosen]
    layout = layout_of(spec, used, table, index, kept)
    read = {v["name"]: _stacked(v, chosen[v["name"]], table) for v in used}
    groups = _groups(used, layout, read, kept)
    naming = _naming(used, layout, table, index, [c for names in chosen.values() for c in names])
    values: dict[str, Any] = {}
    rows: dict[str, RowsOf] = {}
    for variable in used:
        name, plate = variable["name"], "".join(p[1] for p in variable["plates"])
        column = read[name]
        if variable.get("levels") in groups:
            column = coded(name, column, groups[variable["levels"]])
        elif naming is not None and variable["domain"] == "index" and variable.get("levels") in layout.plates:
            column = coded_by_rows(name, column, *naming)
        if plate in groups:
            told, masked = groups[plate], np.ma.MaskedArray(column.values, ~column.present)
            values[name] = told_by_rows(variable, masked, told.positions, (told.size,), plate)
            rows[name] = partial(_first_row, told.positions, (told.size,))
        else:
            values[name] = layout.arrange(variable, column)
            rows[name] = partial(layout.row, len(variable["plates"]))
    named = {n: g.labels for n, g in groups.items() if g.labels is not None}
    return ReadData(values, layout.lengths, {**layout.labels, **named}, rows, chosen, layout.loops)


def _naming(
    used: Sequence[Record], layout: Layout, table: Table, index: Mapping[str, str], data: Sequence[str]
) -> tuple[Column, str] | None:
    """The column that names the rows of a plate by itself and is none of the `data`, and its name; sorted where the
    plate is."""
    plates = _plates_of_rows(used)
    if len(plates) != 1 or (layout.order is not None and not layout.labels):
        return None
    column = index.get(plates[0][0], plates[0][0])
    if layout.labels:
        return Column(np.array(layout.labels[plates[0][1]], object)), column
    return (
        (read_column(column, table.columns[column]), column) if column in table.columns and column not in data else None
    )


def _first_row(keys: Array, shape: tuple[int, ...], place: tuple[int, ...]) -> tuple[int | None, int]:
    """Of the elements at flat positions `keys` in `shape` the first at a place, None where none is, and its axes."""
    if len(shape) > len(place):
        return None, 0
    found = np.flatnonzero(keys == (np.ravel_multi_index(place[: len(shape)], shape) if shape else 0))
    return int(found[0]) if found.size else None, len(shape)


def _stacked(variable: Record, names: Sequence[str], table: Table) -> Column:
    """A variable's columns side by side; DataError for text where numbers are needed."""
    try:
        parts = {n: read_column(n, table.columns[n]) for n in names}
        if variable["domain"] not in ("category", "index"):
            for n, part in parts.items():
                if part.text:
                    refuse_text(variable["name"] if n == variable["name"] else f"{variable['name']} (column {n})", part)
    except DataError as error:
        error.of_table = True
        raise
    return _stack(list(parts.values()), bool(variable["array"] or variable["event"]))


def _groups(
    used: Sequence[Record], layout: Layout, read: Mapping[str, Column], kept: Mapping[str, list[str]]
) -> dict[str, Groups]:
    """The plates beside those of the rows on which variables lie, each by the column that points into it."""
    plates = {tuple(p[1] for p in v["plates"]) for v in used} - {layout.plates[:k] for k in range(9)}
    beside = {p[0] for p in plates if len(p) == 1}
    return {
        plate: read_groups(plate, {n: read[n] for n in names}, kept.get(plate))
        for plate, names in group_columns(used, layout.plates).items()
        if plate in beside
    }


def _stack(columns: Sequence[Column], vector: bool) -> Column:
    """Scalar columns side by side."""
    if not vector:
        return columns[0]
    kinds = {c.text for c in columns}
    values = np.stack([c.values.astype(object) if len(kinds) > 1 else c.values for c in columns], -1)
    return Column(
        values, None if all(c.missing is None for c in columns) else np.stack([~c.present for c in columns], -1)
    )


# ------------------------------------------------------------------ rows

IndexColumn = tuple[str, Any, list[Any]]
RowsOf = Callable[[tuple[int, ...]], tuple[int | None, int]]  # a place in an array: its row, how many axes lead to it


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
            return _first_row(*self.parents[depth], place)
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


def _plates_of_rows(used: Sequence[Record]) -> list[Any]:
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
    plates = _plates_of_rows(used)
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
