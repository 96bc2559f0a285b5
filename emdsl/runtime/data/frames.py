"""Data frames of foreign libraries, by what they can do and not by what they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from itertools import pairwise
from types import MappingProxyType
from typing import Any

import numpy as np

from emdsl.runtime.data.faults import DataError, first_line


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
    try:
        return _as_table(data)
    except (DataError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001  (of code that is not ours: a lazy frame is read here)
        message = f"the data are a {type(data).__name__}, which makes no table: {first_line(error)}"
        raise DataError(message, code="D004") from None


def _as_table(data: Any) -> Table | None:
    if isinstance(data, Table):
        return data
    names: list[Any]
    column: Callable[[Any], Any]
    if isinstance(data, (dict, np.ndarray)):
        return None
    if hasattr(data, "collect") and hasattr(data, "collect_schema"):
        data = data.collect()
    if isinstance(data, (list, tuple)):
        if not data or not all(isinstance(row, Mapping) for row in data):
            return None
        names, column = list(dict.fromkeys(n for row in data for n in row)), lambda n: [row.get(n) for row in data]
    elif hasattr(data, "column_names") and hasattr(data, "column"):
        names, column = list(data.column_names), data.column
    elif hasattr(data, "columns") and hasattr(data, "__getitem__") and not isinstance(data, (Mapping, np.ndarray)):
        names, column = list(data.columns), data.__getitem__
    else:
        return None
    twice = sorted(n for n, count in Counter(map(str, names)).items() if count > 1)
    if twice:
        raise DataError(f"the table has two columns named {', '.join(twice)}", code="D017")
    return Table({str(n): column(n) for n in names}, _index_levels(data))


def refuse_other_order(data: Mapping[str, Any]) -> None:
    """DataError where two pandas Series have the same labels in another order: by position rows would be mixed."""
    series = {n: v.index for n, v in data.items() if type(v).__name__ == "Series" and hasattr(v, "index")}
    for (one, before), (two, index) in pairwise(series.items()):
        if len(index) == len(before) and not index.equals(before) and set(index) == set(before):
            hint = "put them into one data frame, or pass their values: .to_numpy()"
            raise DataError(f"{one} and {two} have the same index in another order", hint=hint, code="D017")


def _index_levels(data: Any) -> dict[str, Any]:
    """The named levels of a pandas index: who moved a column there still means it by its name. Two of one name have
    none."""
    index = getattr(data, "index", None)
    levels = list(getattr(index, "names", None) or ())
    return {
        str(n): index.get_level_values(k).to_series()
        for k, n in enumerate(levels)
        if n is not None and index is not None and levels.count(n) == 1
    }
