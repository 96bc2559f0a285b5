"""Data frames and tables of columns as arrays by variable, long format included.

A table has one row per element of the innermost plate. Nested plates are told apart by index
columns, one for each plate: `index={"s": "subject"}`, or columns that bear the loop names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from emdsl.runtime.data.cells import nested_columns, read_cells
from emdsl.runtime.data.columns import Array, Column, place_words, read_column, refuse_text
from emdsl.runtime.data.faults import DataError, closest
from emdsl.runtime.data.frames import Table, as_table, refuse_other_order
from emdsl.runtime.data.groups import Groups, coded, coded_by_rows, group_columns, read_groups, told_by_rows
from emdsl.runtime.data.layout import IndexColumn, Layout, RowsOf, first_row, layout_of, plates_of_rows
from emdsl.runtime.data.named import columns_of, index_columns, named_columns, spread_over_columns
from emdsl.runtime.data.plates import Record


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
    layout: Layout | None = None

    def weights(self, given: Any, over: str | None) -> Any:
        """Weights that stand in the rows of a table, as those of the elements of its outermost plate, in its order."""
        layout = self.layout
        if given is None or layout is None or layout.order is None or over not in (None, layout.plates[0]):
            return given
        column = read_column("sample_weight", given)
        if column.text or column.values.shape != layout.parents[0][0].shape:
            return given
        variable = {"name": "sample_weight", "kind": "given", "plates": [("", layout.plates[0])]}
        return layout.arrange(variable, column)

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
    columns, index = named_columns(columns), index_columns(index)
    if table is not None:
        return read_table(spec, table, columns, index, kept)
    if columns or index:
        raise DataError("columns= and index= are for data frames", code="D017")
    if isinstance(data, Mapping):
        refuse_other_order(data)
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
            rows[name] = partial(first_row, told.positions, (told.size,))
        else:
            values[name] = layout.arrange(variable, column)
            rows[name] = partial(layout.row, len(variable["plates"]))
    named = {n: g.labels for n, g in groups.items() if g.labels is not None}
    return ReadData(values, layout.lengths, {**layout.labels, **named}, rows, chosen, layout.loops, layout)


def _naming(
    used: Sequence[Record], layout: Layout, table: Table, index: Mapping[str, str], data: Sequence[str]
) -> tuple[Column, str] | None:
    """The column that names the rows of a plate by itself and is none of the `data`, and its name; sorted where the
    plate is."""
    plates = plates_of_rows(used)
    if len(plates) != 1 or (layout.order is not None and not layout.labels):
        return None
    column = index.get(plates[0][0], plates[0][0])
    if layout.labels:
        return Column(np.array(layout.labels[plates[0][1]], object)), column
    return (
        (read_column(column, table.columns[column]), column) if column in table.columns and column not in data else None
    )


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
