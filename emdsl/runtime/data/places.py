"""Columns of a table that say which element of a plate a row is: names, numbers, dates."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from emdsl.runtime.data.columns import Array, is_missing, read_column, refuse_where
from emdsl.runtime.data.faults import DataError
from emdsl.runtime.data.sizes import ragged_name

ISO = re.compile(
    r"\d{4}(-?Q[1-4]|-\d\d(-\d\d([T ][\d:.]+(Z|[+-]\d\d:?\d\d)?)?)?)"
)  # of dates, whose order as text is theirs


def is_ordered(spec: Mapping[str, Any], size: str) -> bool:
    """Whether something is read from earlier elements of a plate, so that the order of its rows means something."""
    return (ragged_name(size) or size) in spec.get("steps", {})


def names_elements(spec: Mapping[str, Any], size: str, seen: Sequence[Any]) -> bool:
    """Whether values of an index column are names: text, or numbers by which parameters of elements are found again."""
    if isinstance(seen[0], str):
        return True
    sizes = {s for v in spec["variables"] if v["kind"] == "param" for s in (*(p[1] for p in v["plates"]), *v["array"])}
    return size in sizes


def coded_places(name: str, column: Any, empty: bool, kept: Sequence[str] | None) -> tuple[Array, list[Any]]:
    """An index column as positions among its sorted values, and those values; -1 where it is missing, which on a ragged
    plate (`empty`) says that the row is no element of it: what lies around may have none. `kept` are the names of a fit
    before, in its order."""
    found = read_column(name, _dates_as_text(column))
    if found.values.ndim != 1:
        raise DataError(f"{name}: an index is one name or number a row, not shape {found.values.shape}", code="D019")
    if found.missing is not None and not (empty and found.present.any()):
        raise DataError(f"{name}: an index may not be missing", code="D019", row=int(np.flatnonzero(found.missing)[0]))
    values = found.values[found.present]
    if values.dtype.kind == "f" and (values == np.floor(values)).all() and (np.abs(values) < 2.0**63).all():
        values = values.astype(np.int64)
    codes = np.full(len(found.values), -1)
    seen, codes[found.present] = np.unique(values, return_inverse=True)
    if kept is None:
        return codes, seen.tolist()
    places = {label: i for i, label in enumerate(kept)}
    before = np.array([places.get(str(v), -1) for v in seen], np.int64)
    new = found.present & (before[codes] < 0)
    refuse_where(name, new, found.values, "has names that were not seen in the fit", code="D008")
    codes[found.present] = before[codes[found.present]]
    return codes, list(kept) if found.text else [type(seen.tolist()[0])(k) for k in kept]


def _dates_as_text(column: Any) -> Any:
    """Dates of any library as ISO text, of which the order is theirs; any other column as it is."""
    kind = str(getattr(column, "dtype", getattr(column, "type", "object"))).lower()
    if not kind.startswith(("date", "timestamp", "period", "object")):
        return column
    if isinstance(column, np.ndarray) and column.dtype.kind == "M":
        column = column.astype("datetime64[us]").astype(object)
    cells = column.to_pylist() if hasattr(column, "to_pylist") else list(column)
    if kind.startswith("period"):
        return np.array([None if is_missing(c) else str(c) for c in cells], object)
    if not any(hasattr(c, "isoformat") and not is_missing(c) for c in cells):
        return column
    return np.array([c.isoformat() if hasattr(c, "isoformat") and not is_missing(c) else c for c in cells], object)


def check_places(
    spec: Mapping[str, Any], size: str, name: str, order: Array, keys: Array, inner: Array, seen: Sequence[Any]
) -> None:
    """No element twice; on an ordered plate text in the order of its rows or dates, and no gap in whole-numbered times.

    order : the row of the table that each of the sorted rows is. keys, inner : its place around, and on the plate.
    """
    same = keys[1:] == keys[:-1]
    twice = same & (inner[1:] == inner[:-1])
    if twice.any():
        place = int(np.flatnonzero(twice)[0])
        raise DataError(
            f"{name}: {int(twice.sum())} rows repeat an element, the first {seen[int(inner[place])]!r}",
            code="D019",
            row=int(order[place + 1]),
        )
    if not is_ordered(spec, size):
        return
    if all(isinstance(v, int) for v in seen):
        if ragged_name(size) is None:  # where one lacks a step that others have, it is missing there
            order, inner = order[np.unique(inner, return_index=True)[1]], np.arange(len(seen))
            same = np.ones(max(len(seen) - 1, 0), bool)
        _refuse_gap(name, order, same, np.asarray(seen)[inner])
    elif any(isinstance(v, str) for v in seen):
        _refuse_unordered(name, order, same, [seen[i] for i in inner])


def _refuse_gap(name: str, order: Array, same: Array, times: Array) -> None:
    """Times of one element around are equally far apart, and as far in all of them."""
    steps = times[1:] - times[:-1]
    gap = same & (steps != steps[same].min(initial=np.iinfo(np.int64).max))
    if gap.any():
        place = int(np.flatnonzero(gap)[0])
        raise DataError(
            f"{name}: a gap between {times[place]} and {times[place + 1]}, where what follows reads what came before",
            hint="add rows with empty cells for the steps in between, or number the rows that are there",
            code="D019",
            row=int(order[place + 1]),
        )


def _refuse_unordered(name: str, order: Array, same: Array, times: Iterable[str]) -> None:
    """Names of steps are in order where their rows are, or where they are dates that sort as text."""
    texts = list(times)
    back = same & (order[1:] < order[:-1])
    if back.any() and not all(ISO.fullmatch(t) for t in texts):
        place = int(np.flatnonzero(back)[0])
        raise DataError(
            f"{name}: is text, in whose order {texts[place]!r} comes before {texts[place + 1]!r}, but not its row",
            hint="number the steps, or write dates as 2026-01-31",
            code="D019",
            row=int(order[place + 1]),
        )
