"""Data frames of foreign libraries, by what they can do and not by what they are."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from emdsl.runtime.data.faults import DataError


class Table:
    """Columns of equal length by name, in order; what stands beside them in an index is found by its name alone."""

    def __init__(self, columns: Mapping[str, Any], aside: Mapping[str, Any] = MappingProxyType({})) -> None:
        self.columns: Mapping[str, Any] = _Columns(columns, aside)


class _Columns(dict[str, Any]):
    def __init__(self, columns: Mapping[str, Any], aside: Mapping[str, Any]) -> None:
        super().__init__(columns)
        self.aside = aside

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or name in self.aside

    def __missing__(self, name: str) -> Any:
        return self.aside[name]


def as_table(data: Any) -> Table | None:
    """A pandas, polars or pyarrow frame, or a list of rows, each a mapping, as a Table; None for anything else.

    Raises DataError for repeated names.
    """
    if isinstance(data, Table):
        return data
    if isinstance(data, (list, tuple)) and data and all(isinstance(row, Mapping) for row in data):
        return Table({str(n): [row.get(n) for row in data] for n in dict.fromkeys(n for row in data for n in row)})
    if isinstance(data, (dict, np.ndarray)):
        return None
    if hasattr(data, "collect") and hasattr(data, "collect_schema"):
        data = data.collect()
    if hasattr(data, "column_names") and hasattr(data, "column"):
        names, column = list(data.column_names), data.column
    elif hasattr(data, "columns") and hasattr(data, "__getitem__") and not isinstance(data, (Mapping, np.ndarray)):
        names, column = list(data.columns), data.__getitem__
    else:
        return None
    twice = sorted({str(n) for n in names if names.count(n) > 1})
    if twice:
        raise DataError(f"the table has two columns named {', '.join(twice)}", code="D017")
    return Table({str(n): column(n) for n in names}, _index_levels(data))


def _index_levels(data: Any) -> dict[str, Any]:
    """The named levels of a pandas index: who moved a column there still means it by its name."""
    index = getattr(data, "index", None)
    levels = getattr(index, "names", None) or ()
    return {
        str(n): index.get_level_values(k).to_series()
        for k, n in enumerate(levels)
        if n is not None and index is not None
    }
