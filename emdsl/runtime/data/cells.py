"""Tables of which some cells are lists: a row is an element of the outermost plate, its cells what lies inside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from emdsl.runtime.data.columns import is_missing
from emdsl.runtime.data.faults import DataError
from emdsl.runtime.data.frames import Table
from emdsl.runtime.data.plates import Record


def nested_columns(variables: Sequence[Record], table: Table, columns: Mapping[str, Any]) -> dict[str, str]:
    """Variable -> its column, for those whose cells are lists or arrays: as data frames hold what is ragged."""
    out = {}
    for v in variables:
        named = columns.get(v["name"], v["name"])
        named = named[0] if isinstance(named, (list, tuple)) and len(named) == 1 else named
        inside = len(v["plates"]) > 1 or v["array"] or v["event"]
        if inside and isinstance(named, str) and named in table.columns and _holds_lists(table.columns[named]):
            out[v["name"]] = named
    return out


def read_cells(table: Table, nested: Mapping[str, str], flat: Mapping[str, list[str]]) -> dict[str, Any]:
    """The arrays and lists by variable, as a dict has them; DataError where others have several columns.

    nested : variable -> its column of lists. flat : variable -> its columns, of all others.
    """
    values: dict[str, Any] = {name: [_plain_cell(cell) for cell in table.columns[c]] for name, c in nested.items()}
    for name, names in flat.items():
        if len(names) > 1:
            raise DataError(
                f"{name}: has {len(names)} columns, beside {next(iter(nested))}, whose cells are lists",
                hint="put it in one column of lists, or hand over a dict of arrays",
                code="D018",
            )
        values[name] = table.columns[names[0]]
    return values


def _holds_lists(column: Any) -> bool:
    """Whether the first cell that is there holds several values."""
    for cell in column:
        plain = _plain_cell(cell)
        if isinstance(plain, list) or not is_missing(plain):
            return isinstance(plain, list)
    return False


def _plain_cell(cell: Any) -> Any:
    """A cell as a list, where it is a list of some library; anything else as it is."""
    for method in ("as_py", "to_list", "tolist"):  # pyarrow, polars and pandas, numpy
        if hasattr(cell, method):
            return getattr(cell, method)()
    return list(cell) if isinstance(cell, tuple) else cell
