"""Data frames of foreign libraries, by what they can do and not by what they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from emdsl.runtime.data.faults import DataError


class Table:
    """Columns of equal length by name, in order."""

    def __init__(self, columns: Mapping[str, Any]) -> None:
        self.columns = columns


def as_table(data: Any) -> Table | None:
    """A pandas, polars or pyarrow frame as a Table, None for anything else; DataError for repeated names."""
    if isinstance(data, Table):
        return data
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
    return Table({str(n): column(n) for n in names})
