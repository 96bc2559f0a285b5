"""The missing entries of a fit's data one by one: where each is in the user's table, and what is told of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from emdsl.errors import DataError, Problem
from emdsl.fit.variants import Variant
from emdsl.runtime.data.binding import Bound
from emdsl.runtime.data.plates import Record
from emdsl.runtime.data.sizes import ragged_name
from emdsl.runtime.data.table import ReadData

Array = np.ndarray[Any, np.dtype[Any]]


class Cell(NamedTuple):
    """A missing entry: the column it is in, or its variable; by column or loop name the element that it is of; its
    mean and standard deviation, or the probability of each level."""

    variable: str
    place: dict[str, Any]
    told: dict[str, float]
    discrete: bool


def missing_cells(
    module: Any, bound: Bound, read: ReadData, posterior: Mapping[str, Any], labels: Mapping[str, list[str]]
) -> Iterator[Cell]:
    """All missing entries of which the posterior tells, variable by variable, in the order of the data."""
    kept = _kept(module, bound)
    for v in module.SPEC["variables"]:
        mask, name = bound.masks.get(v["name"]), v.get("data_of", v["name"])
        if v["kind"] != "observed" or mask is None or name not in posterior:
            continue
        missing = ~np.asarray(mask) & kept.get(v["name"], True)
        if not isinstance(posterior[name], Mapping):
            yield from _labels(v, name, missing, bound, read, _flat(posterior[name]), labels)
        else:
            yield from _numbers(v, name, missing, bound, read, {n: _flat(a) for n, a in posterior[name].items()})


def _kept(module: Any, bound: Bound) -> Mapping[str, Array]:
    """By variable the elements that its plates' conditions leave: the others are not missing."""
    if "kept" not in vars(module):
        return {}
    masks = {n: m for n, m in bound.masks.items() if m is not None}
    seen = {n: np.where(masks[n], a, np.nan) if n in masks else a for n, a in bound.values.items()}
    found: Mapping[str, Array] = module.kept(bound.sizes, seen, bound.ragged)
    return found


def columns_of_cells(cells: Sequence[Cell]) -> dict[str, list[Any]]:
    """As a table, which has a row for each number, and one for each level of each label."""
    rows: list[dict[str, Any]] = []
    for cell in cells:
        head = {"variable": cell.variable, **cell.place}
        levels = [{"level": n, "probability": p} for n, p in cell.told.items()]
        rows.extend({**head, **more} for more in (levels if cell.discrete else [cell.told]))
    last = [n for n in ("level", "probability", "mean", "sd") if any(n in row for row in rows)]
    names = dict.fromkeys(n for row in rows for n in row if n not in last)
    return {n: [row.get(n) for row in rows] for n in (*names, *last)}


def _labels(
    v: Record, name: str, missing: Array, bound: Bound, read: ReadData, told: Array, labels: Mapping[str, list[str]]
) -> Iterator[Cell]:
    known = labels.get(name) or labels.get(str(v.get("levels"))) or [str(k) for k in range(told.shape[-1])]
    for at in np.argwhere(missing):
        where, axes = _place(v, tuple(at.tolist()), bound, read)
        chances = dict(zip(known, told[tuple(at)].tolist(), strict=False))
        yield Cell(_column(name, at.tolist()[axes:], read), where, chances, True)


def _numbers(
    v: Record, name: str, missing: Array, bound: Bound, read: ReadData, told: Mapping[str, Array]
) -> Iterator[Cell]:
    mean = told["mean"]
    spread = told.get("var", np.einsum("...ii->...i", told["cov"]) if "cov" in told else np.full(mean.shape, np.nan))
    for at in np.argwhere(missing):
        where, axes = _place(v, tuple(at.tolist()), bound, read)
        moments = {"mean": float(mean[tuple(at)]), "sd": float(np.sqrt(spread[tuple(at)]))}
        yield Cell(_column(name, at.tolist()[axes:], read), where, moments, False)


def _flat(value: Any) -> Array:
    """Nested lists over ragged plates as one axis."""
    if not isinstance(value, list):
        return np.asarray(value)
    parts = [p for p in map(_flat, value) if len(p)]
    return np.concatenate(parts) if parts else np.zeros(0)


def _column(name: str, entry: Sequence[int], read: ReadData) -> str:
    """The column of an entry of a vector, by the user's name where it has one."""
    columns = read.columns.get(name, [name])
    if len(entry) == 1 and len(columns) > 1:
        return columns[entry[0]]
    return columns[0] + (f"[{', '.join(map(str, entry))}]" if entry else "")


def _place(v: Record, at: tuple[int, ...], bound: Bound, read: ReadData) -> tuple[dict[str, Any], int]:
    """The element that an entry is of, in the words of the table, else by position; how many axes lead to it."""
    positions, axes = _positions([p[1] for p in v["plates"]], at, bound)
    row = read.rows[v.get("data_of", v["name"])](at) if v.get("data_of", v["name"]) in read.rows else None
    if row is not None:
        axes = row[1]
        positions = positions if any(ragged_name(p[1]) for p in v["plates"]) else positions[:axes]
    place: dict[str, Any] = {}
    for plate, position in zip(v["plates"], positions, strict=False):
        column, values, seen = read.loops.get(plate[0], (plate[0], None, []))
        if values is None:
            place[column] = bound.labels[plate[1]][position] if plate[1] in bound.labels else position
        elif ragged_name(plate[1]) is None:
            place[column] = seen[position]
        elif row is not None and row[0] is not None:
            cell = np.asarray(values)[row[0]]
            place[column] = cell.item() if isinstance(cell, np.generic) else cell
    return place, axes


def _positions(sizes: Sequence[str], at: tuple[int, ...], bound: Bound) -> tuple[tuple[int, ...], int]:
    """The position on each plate of an entry of an array, in which a ragged plate and those around are one axis."""
    deepest = max((k for k, s in enumerate(sizes) if ragged_name(s) is not None), default=None)
    if deepest is None:
        return at[: len(sizes)], len(sizes)
    rows = bound.ragged[str(ragged_name(sizes[deepest]))]
    parent, inside = int(rows.row[at[0]]), int(rows.position[at[0]])
    around = sizes[:deepest]
    if any(ragged_name(s) is not None for s in around):
        before = _positions(around, (parent,), bound)[0]
    else:
        before = tuple(int(i) for i in np.unravel_index(parent, [bound.sizes[s] for s in around]))
    behind = len(sizes) - deepest
    return (*before, inside, *at[1:behind]), behind


class TellsMissing:
    """What a fitter tells of missing entries of the data that it was fitted to."""

    _fitted: Variant

    @property
    def imputed_(self) -> dict[str, list[Any]]:
        """Missing entries as columns of a table: which they are, and `mean` and `sd`, or each `level` with its
        `probability`. Where data were a table, elements and columns are named as there."""
        return columns_of_cells(self.missing_cells())

    def written(self) -> Bound | None:
        """The data of the fit as the model is written; None of a fit that was read."""
        found = self._fitted.tied
        bound: Bound | None = self.__dict__.get("_training", (None,))[0] if found is None else found.written
        return bound

    def missing_cells(self) -> list[Cell]:
        """What `imputed_` tells, entry by entry."""
        fit: Any = self
        fit.params_  # noqa: B018  (not fitted: says so)
        bound, read = self.written(), self.__dict__.get("_read")
        if bound is None or read is None:
            raise DataError(Problem("D020", "imputed_: a fit that was read has no data; see posterior(data)"))
        posterior = fit.posterior_
        return list(missing_cells(self._fitted.current.module, bound, read, posterior, fit.labels_))
