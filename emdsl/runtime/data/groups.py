"""What belongs to groups, in a table of rows: the value that the rows of a group repeat.

A table of pupils has the size of their class in every row. `given size[c]` is read from it where the
rows have a column `given class[n] : index[C]`, or through several: a school's from its classes'.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from emdsl.runtime.data.columns import Array, Column, refuse_where, whole_numbers
from emdsl.runtime.data.faults import DataError
from emdsl.runtime.data.plates import Record


class Groups(NamedTuple):
    """A plate beside the rows: the position of each row in it, how many there are, their names where they have any."""

    positions: Array
    size: int
    labels: list[str] | None


def group_columns(variables: Sequence[Record], plates: Sequence[str]) -> dict[str, list[str]]:
    """Plate -> the givens that say which of its elements a row belongs to, for all that rows over `plates` lead to."""
    pointers = [v for v in variables if v["domain"] == "index" and not v["array"] and not v["event"]]
    reached, found = {*plates}, dict[str, list[str]]()
    while True:
        new = {
            v["levels"]: [w["name"] for w in pointers if w["levels"] == v["levels"]]
            for v in pointers
            if v["levels"] not in reached and all(p[1] in reached for p in v["plates"])
        }
        if not new:
            return found
        found, reached = {**found, **new}, {*reached, *new}


def read_groups(plate: str, columns: Mapping[str, Column], kept: Sequence[str] | None) -> Groups:
    """The groups of a plate by the column that points into it; `kept` are names in the order of a fit before.

    Raises DataError where more than one column does: a row then belongs to several, and what belongs to them has no
    column of its own.
    """
    names = list(columns)
    if len(names) > 1:
        raise DataError(
            f"{' and '.join(names)} point into {plate}, so that rows do not say whose the values over {plate} are",
            hint="pass a dict of arrays, or a JSON file of them",
            code="D019",
        )
    name, column = names[0], columns[names[0]]
    if column.missing is not None:
        row = int(np.flatnonzero(column.missing)[0])
        raise DataError(f"{name}: an index may not be missing", code="D019", row=row)
    if column.text:
        labels = sorted(set(column.values.tolist())) if kept is None else list(kept)
        named = Groups(np.zeros(0, np.int64), len(labels), labels)
        return named._replace(positions=coded(name, column, named).values)
    positions = whole_numbers(name, column, f"a position in {plate}")
    refuse_where(name, positions < 0, positions, "must be a position, counted from 0")
    return Groups(positions, int(positions.max(initial=-1)) + 1, None)


def coded(name: str, column: Column, groups: Groups) -> Column:
    """A column of labels of groups as their positions; of positions, as it is."""
    if not column.text or groups.labels is None:
        return column
    code = {label: i for i, label in enumerate(groups.labels)}
    unseen = np.array([v not in code for v in column.values], bool) & column.present
    refuse_where(name, unseen, column.values, "has labels that were not seen in the fit", code="D008")
    return Column(np.array([code.get(v, 0) for v in column.values], np.int64), column.missing)


def coded_by_rows(name: str, column: Column, names: Column, naming: str) -> Column:
    """A column that points at other rows (`parent[n]`) as their positions, where a column names the rows: a family
    tree says who somebody's mother is by name or number. Where rows have numbers and it has text, or the other way
    round, it is as it stands."""
    rows = names.values.tolist()
    code = {v: i for i, v in enumerate(rows)}
    once = names.missing is None and len(code) == len(rows)
    if column.text != names.text or not (once or names.text):  # numbers that repeat name nothing
        return column
    if not once:
        twice = f"{naming}: the rows that {name} points at are named here, each once"
        raise DataError(twice, code="D019", row=next(i for i, v in enumerate(rows) if code[v] != i))
    lost = np.array([v not in code for v in column.values.tolist()], bool) & column.present
    refuse_where(name, lost, column.values, f"is none of the rows that column {naming} names", code="D008")
    return Column(np.array([code.get(v, 0) for v in column.values.tolist()], np.int64), column.missing)


def told_by_rows(variable: Record, values: Any, keys: Array, shape: tuple[int, ...], over: str) -> Any:
    """One value for each of the groups `shape` from those of their rows, which may not differ; some may leave it out.

    values : masked, a row for each of `keys`, the flat position of its group. Raises DataError where the rows of a
    group differ, or where a given has none.
    """
    name, count = variable["name"], int(np.prod(shape))
    flat = values.reshape(len(values), int(np.prod(values.shape[1:])))
    out: Any = np.ma.masked_all((count, flat.shape[1]), flat.dtype)  # type: ignore[no-untyped-call]
    for cell in range(flat.shape[1]):
        seen = np.flatnonzero(~np.ma.getmaskarray(flat)[:, cell])[::-1]
        column = np.asarray(flat.data[:, cell])
        out[keys[seen], cell] = column[seen]  # the first one that is there is written last
        differs = seen[column[seen] != np.asarray(out.data[keys[seen], cell])]
        if differs.size:
            raise DataError(f"{name}: varies within one element of {over}", code="D019", row=int(differs.min()))
    absent = np.setdiff1d(np.arange(count), keys)
    if absent.size and variable["kind"] == "given":
        raise DataError(
            f"{name}: no row for some of {over}, the first at position {int(absent[0])}",
            hint="numbers are positions from 0; labels in text are those that the rows have",
            code="D019",
        )
    return out.reshape(*shape, *values.shape[1:])
