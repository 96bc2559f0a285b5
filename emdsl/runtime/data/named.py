"""Which columns of a table hold a variable: those that the user names, or by their names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from emdsl.runtime.data.arguments import by_name
from emdsl.runtime.data.columns import holds_numbers, read_column, refuse_text
from emdsl.runtime.data.faults import DataError, closest
from emdsl.runtime.data.frames import Table
from emdsl.runtime.data.plates import Record
from emdsl.runtime.data.sizes import ragged_name


def named_columns(columns: Any) -> dict[str, str | list[str]]:
    """What `columns=` is handed, checked: by variable the name of a column, or a list of names, none of them twice."""
    found: dict[str, str | list[str]] = {}
    for name, given in by_name({} if columns is None else columns, "columns", "columns").items():
        named = given.tolist() if hasattr(given, "tolist") else given  # of numpy and pandas
        if isinstance(named, (str, int)):
            found[str(name)] = str(named)
            continue
        if not isinstance(named, (list, tuple)):  # nor a set, which has no order
            raise DataError(f"columns: {name} needs a name, or a list of names, not {given!r:.60}", code="D016")
        names = found[str(name)] = [str(n) for n in named]
        if twice := [n for n, count in Counter(names).items() if count > 1]:
            raise DataError(f"columns: {name} has the column {twice[0]} twice", code="D018")
    return found


def index_columns(index: Any) -> dict[str, str]:
    """What `index=` is handed, checked: by loop the name of a column."""
    given = by_name({} if index is None else index, "index", "columns")
    for loop, column in given.items():
        if not isinstance(column, (str, int)):
            raise DataError(f"index: {loop} needs the name of a column, not {column!r:.60}", code="D016")
    return {str(loop): str(column) for loop, column in given.items()}


def spread_over_columns(variable: Record, table: Table, columns: Mapping[str, Any], index: Mapping[str, str]) -> Record:
    """A scalar over nested plates `x[n, i]` that a wide table holds, its last plate along columns: as a vector x[n].

    So where several columns are named for it, or where it has no column of its own and none tells its plates apart.
    """
    plates, named = variable["plates"], columns.get(variable["name"])
    if len(plates) < 2 or ragged_name(plates[-1][1]) or variable["array"] or variable["event"]:
        return variable
    several = isinstance(named, list) and len(named) > 1
    loops = [p[0] for p in plates]
    long = variable["name"] in table.columns or any(n in index or n in list(table.columns) for n in loops)
    if not several and (named is not None or long):
        return variable
    return {**variable, "plates": plates[:-1], "array": [plates[-1][1]]}


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
        names = [named] if isinstance(named, str) else named
        for n in names:
            if n not in table.columns:
                raise DataError(f"{name}: the table has no column {n}", hint=closest(n, table.columns), code="D018")
        if not axes and len(names) != 1:
            raise DataError(f"{name}: is one number a row, but {len(names)} columns are named for it", code="D018")
        return list(names)
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
    left = {n: read_column(n, table.columns[n]) for n in table.columns if n not in taken}
    for n, column in left.items():
        if column.text and holds_numbers(column):  # a wrong cell must not take its whole column out of the fit
            refuse_text(f"{name} (column {n})", column)
    found = [n for n, column in left.items() if not column.text]
    if not found:
        raise DataError(
            f"{name}: the table has no numeric column left", hint=f"say which: columns={{{name!r}: [...]}}", code="D018"
        )
    return found
