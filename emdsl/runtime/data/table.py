"""Data frames and tables of columns as arrays by variable, long format included.

A table has one row per element of the innermost plate. Nested plates are told apart by index
columns, one for each plate: `index={"s": "subject"}`, or columns that bear the loop names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from emdsl.runtime.data.arguments import by_name
from emdsl.runtime.data.cells import nested_columns, read_cells
from emdsl.runtime.data.columns import Array, Column, holds_numbers, read_column, refuse_text
from emdsl.runtime.data.faults import DataError, closest
from emdsl.runtime.data.frames import Table, as_table
from emdsl.runtime.data.plates import Record
from emdsl.runtime.data.sizes import ragged_name


class ReadData(NamedTuple):
    """Arrays by variable; `lengths` of ragged plates whose arrays are flat; `labels` of plates named in text."""

    values: dict[str, Any]
    lengths: Mapping[str, Array] = MappingProxyType({})
    labels: Mapping[str, list[str]] = MappingProxyType({})


def read_data(
    spec: Mapping[str, Any], data: Any, columns: Mapping[str, Any] | None, index: Mapping[str, str] | None
) -> ReadData:
    """What `fit` was given (a dict, a frame, one array) as arrays by variable.

    Raises DataError where a column is absent, or where one array is not enough to know what it is.
    """
    table = as_table(data)
    columns, index = (
        by_name({} if a is None else a, n, "columns") for a, n in ((columns, "columns"), (index, "index"))
    )
    if table is not None:
        return read_table(spec, table, columns, index)
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


def read_table(spec: Mapping[str, Any], table: Table, columns: Mapping[str, Any], index: Mapping[str, str]) -> ReadData:
    """A table's columns as arrays by variable, by the rules of `columns_of` and `Layout`."""
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
    layout = layout_of(spec, used, table, index)
    values: dict[str, Any] = {}
    for variable in used:
        parts = {n: _column(table, n) for n in chosen[variable["name"]]}
        if variable["domain"] not in ("category", "index"):
            for n, part in parts.items():
                if part.text:
                    refuse_text(variable["name"] if n == variable["name"] else f"{variable['name']} (column {n})", part)
        stacked = _stack(list(parts.values()), bool(variable["array"] or variable["event"]))
        values[variable["name"]] = layout.arrange(variable, stacked)
    return ReadData(values, layout.lengths, layout.labels)


def spread_over_columns(variable: Record, table: Table, columns: Mapping[str, Any], index: Mapping[str, str]) -> Record:
    """A scalar over nested plates `x[n, i]` that a wide table holds, its last plate along columns: as a vector x[n].

    So where several columns are named for it, or where it has no column of its own and none tells its plates apart.
    """
    plates, named = variable["plates"], columns.get(variable["name"])
    if len(plates) < 2 or ragged_name(plates[-1][1]) or variable["array"] or variable["event"]:
        return variable
    several = named is not None and not isinstance(named, (str, int)) and len(named) > 1
    loops = [p[0] for p in plates]
    long = variable["name"] in table.columns or any(n in index or n in table.columns for n in loops)
    if not several and (named is not None or long):
        return variable
    return {**variable, "plates": plates[:-1], "array": [plates[-1][1]]}


def _column(table: Table, name: str) -> Column:
    return read_column(name, table.columns[name])


def _stack(columns: Sequence[Column], vector: bool) -> Column:
    """Scalar columns side by side."""
    if not vector:
        return columns[0]
    kinds = {c.text for c in columns}
    values = np.stack([c.values.astype(object) if len(kinds) > 1 else c.values for c in columns], -1)
    return Column(
        values, None if all(c.missing is None for c in columns) else np.stack([~c.present for c in columns], -1)
    )


def columns_of(
    variable: Record, variables: Sequence[Record], table: Table, columns: Mapping[str, Any], index: Mapping[str, str]
) -> list[str] | None:
    """The columns that hold a variable, None for a given that has a default and no column.

    A scalar x is column x, a vector x the columns x1, x2, ... (or x_1, x.1, x[1], from 0 or 1); what
    `columns` says comes first. One observed vector that no column is named after takes every numeric
    column that nothing else uses.
    """
    name, axes = variable["name"], [*variable["array"], *variable["event"]]
    if name in columns:
        named = columns[name]
        names = [str(named)] if isinstance(named, (str, int)) else [str(n) for n in named]
        for n in names:
            if n not in table.columns:
                raise DataError(f"{name}: the table has no column {n}", hint=closest(n, table.columns), code="D018")
        if not axes and len(names) != 1:
            raise DataError(f"{name}: is one number a row, but {len(names)} columns are named for it", code="D018")
        return names
    if not axes and name in table.columns:
        return [name]
    for pattern in ("{}{}", "{}_{}", "{}.{}", "{}[{}]") if len(axes) == 1 else ():
        for first in (1, 0):
            numbered: list[str] = []
            while pattern.format(name, first + len(numbered)) in table.columns:
                numbered.append(pattern.format(name, first + len(numbered)))
            if numbered:
                return numbered
    if variable["default"]:
        return None
    vectors = [v for v in variables if v["kind"] == "observed" and len(v["array"]) + len(v["event"]) == 1]
    if len(axes) == 1 and len(vectors) == 1 and vectors[0] is variable:
        return _all_numeric(name, variables, table, columns, index)
    what = f"column {name}" if not axes else f"columns {name}1, {name}2, ..."
    raise DataError(
        f"{name}: the table has no {what}; its columns are {', '.join(table.columns)}",
        hint=f"say which columns it is: --column {name}=a or columns={{{name!r}: ...}}",
        code="D018",
    )


def _all_numeric(
    name: str, variables: Sequence[Record], table: Table, columns: Mapping[str, Any], index: Mapping[str, str]
) -> list[str]:
    taken = {v["name"] for v in variables} | set(index.values())
    for named in columns.values():
        taken |= {named} if isinstance(named, str) else set(named)
    left = {n: _column(table, n) for n in table.columns if n not in taken}
    for n, column in left.items():
        if column.text and holds_numbers(column):  # a wrong cell must not take its whole column out of the fit
            refuse_text(f"{name} (column {n})", column)
    found = [n for n, column in left.items() if not column.text]
    if not found:
        raise DataError(
            f"{name}: the table has no numeric column left", hint=f"say which: columns={{{name!r}: [...]}}", code="D018"
        )
    return found


# ------------------------------------------------------------------ rows


class Layout(NamedTuple):
    """How the table's rows lie in the plates: `order` sorts them; `cell` is each sorted row's place in
    the dense grid `shape` (None where rows are simply taken in order); `ragged` names a ragged last plate."""

    plates: tuple[str, ...]
    order: Array | None = None
    shape: tuple[int, ...] = ()
    cell: Array | None = None
    ragged: bool = False
    codes: tuple[Array, ...] = ()
    lengths: Mapping[str, Array] = MappingProxyType({})
    labels: Mapping[str, list[str]] = MappingProxyType({})

    def arrange(self, variable: Record, column: Column) -> Any:
        """One variable's column in the shape of its plates, missing where the grid has no row."""
        name, plates = variable["name"], tuple(p[1] for p in variable["plates"])
        if plates != self.plates[: len(plates)]:
            raise DataError(
                f"{name}: lies over {' x '.join(plates) or 'no plate'}, "
                f"but the table has a row for each of {' x '.join(self.plates)}",
                hint="pass a dict of arrays",
                code="D019",
            )
        values = np.ma.MaskedArray(column.values, ~column.present)
        if self.order is None:
            return values if column.missing is not None else column.values
        values = values[self.order]
        if len(plates) < len(self.plates):
            return self._parents(name, values, len(plates))
        if self.cell is None:
            return values
        grid: Any = np.ma.masked_all(  # type: ignore[no-untyped-call]
            (int(np.prod(self.shape)), *values.shape[1:]), values.dtype
        )
        grid[self.cell] = values
        return grid.reshape(*self.shape, *values.shape[1:])

    def _parents(self, name: str, values: Any, depth: int) -> Any:
        """A variable of an enclosing plate: constant over the rows of each parent."""
        if depth == 0:
            keys, shape = np.zeros(len(values), np.int64), self.shape[:0]
        else:
            shape = self.shape[:depth]
            keys = np.ravel_multi_index(self.codes[:depth], shape)
        first = np.full(int(np.prod(shape)), -1)
        first[keys[::-1]] = np.arange(len(keys))[::-1]
        if (first < 0).any():
            raise DataError(f"{name}: no row for some of {' x '.join(self.plates[:depth])}", code="D019")
        differs = np.ma.filled(values != values[first[keys]], False)
        if differs.any():
            row = int(np.argwhere(differs)[0][0])
            raise DataError(
                f"{name}: varies within one element of {' x '.join(self.plates[:depth]) or 'the model'}",
                code="D019",
                row=row,
            )
        return values[first].reshape(*shape, *values.shape[1:])


def layout_of(spec: Mapping[str, Any], used: Sequence[Record], table: Table, index: Mapping[str, str]) -> Layout:
    """The rows' places in the plates of the variable that lies deepest."""
    deepest = max(used, key=lambda v: len(v["plates"]), default=None)
    plates = list(deepest["plates"]) if deepest is not None else []
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
    found = [index.get(n) or (n if n in table.columns and len(plates) > 1 else None) for n in names]
    sizes = tuple(p[1] for p in plates)
    if len(plates) < 2 and not any(found):
        return Layout(sizes)
    for name, found_in in zip(names[:-1], found[:-1], strict=True):
        if found_in is None:
            raise DataError(
                f"the rows of plate {name} cannot be told apart",
                hint=f"name its column: --index {name}=COLUMN or index={{{name!r}: ...}}",
                code="D019",
            )
    return _grid(spec, sizes, [_codes(c, table) if c else None for c in found], [c or "" for c in found])


def _codes(name: str, table: Table) -> tuple[Array, list[Any]]:
    """An index column as positions among its sorted values, and those values."""
    column = _column(table, name)
    if column.missing is not None:
        raise DataError(f"{name}: an index may not be missing", code="D019", row=int(np.flatnonzero(column.missing)[0]))
    seen, codes = np.unique(column.values, return_inverse=True)
    return codes.reshape(-1), seen.tolist()


def _grid(
    spec: Mapping[str, Any],
    sizes: tuple[str, ...],
    coded: Sequence[tuple[Array, list[Any]] | None],
    names: Sequence[str],
) -> Layout:
    """Rows sorted by their index columns; the last plate may be ragged, or have no column of its own."""
    outer = [c for c in coded[:-1] if c is not None]
    shape = tuple(len(seen) for _, seen in outer)
    count = len(next(c for c in coded if c is not None)[0])
    keys = np.ravel_multi_index([c for c, _ in outer], shape) if outer else np.zeros(count, np.int64)
    if any(ragged_name(s) for s in sizes[:-1]):
        raise DataError("a table can hold one ragged plate, the innermost", hint="pass lists of arrays", code="D019")
    last = coded[-1]
    order = np.argsort(keys, kind="stable") if last is None else np.lexsort((last[0], keys))
    if last is not None:
        _check_steps(spec, keys[order], last[0][order], last[1], names, sizes)
    labels = {
        s: [str(v) for v in c[1]]
        for s, c in zip(sizes, coded, strict=True)
        if c is not None and ragged_name(s) is None and isinstance(c[1][0], str)
    }
    codes = tuple(c[order] for c, _ in outer)
    per_parent = np.bincount(keys, minlength=int(np.prod(shape)))
    name = ragged_name(sizes[-1])
    if name is not None:
        return Layout(sizes, order, shape, None, True, codes, {name: per_parent}, labels)
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
    return Layout(sizes, order, (*shape, width), keys[order] * width + inner, False, (*codes, inner), {}, labels)


def _check_steps(
    spec: Mapping[str, Any], keys: Array, inner: Array, seen: Sequence[Any], names: Sequence[str], sizes: Sequence[str]
) -> None:
    """No element twice; on an ordered ragged plate no gap in whole-numbered times."""
    same = keys[1:] == keys[:-1]
    twice = same & (inner[1:] == inner[:-1])
    if twice.any():
        place = int(np.flatnonzero(twice)[0])
        raise DataError(
            f"{names[-1]}: {int(twice.sum())} rows repeat an element, the first {seen[int(inner[place])]!r}",
            code="D019",
        )
    ordered = spec.get("ordered", False)
    last = ragged_name(sizes[-1]) or sizes[-1]
    if (ordered is True or (ordered and last in ordered)) and all(isinstance(v, int) for v in seen):
        times = np.asarray(seen)[inner]
        gap = same & (times[1:] - times[:-1] != 1)
        if gap.any():
            place = int(np.flatnonzero(gap)[0])
            raise DataError(
                f"{names[-1]}: a gap between {times[place]} and {times[place + 1]}",
                hint="add rows with empty cells for the steps in between",
                code="D019",
            )
