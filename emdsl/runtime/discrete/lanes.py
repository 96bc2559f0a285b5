"""Many sequences side by side: where their rows lie, and how long ones are cut."""

# mypy: disable-error-code="no-any-return"
# (operators on arrays of any dtype, and all of scipy, are Any to mypy)

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np

from emdsl.runtime.data.columns import Array

FEW_RUNS = 8  # runs of steps that are moved one by one
IN_CACHE = 2**15  # numbers of which exponents are taken at a time


class Lanes:
    """Sequences, or pieces of them, side by side: lane j holds rows start[j] to start[j] + length[j].

    Lanes stand in order of length, so that those still running at step l are the first active[l].
    `before[j]` is the lane that j continues, -1 at the start of a sequence; `sequence[j]` is its sequence.
    `runs` are the stretches of steps with equally many lanes, (step, step, lanes); `cuts` where each step begins when
    steps follow one another, `order` the rows in that order. What lists steps is made when it is read: of whole
    sequences beside their pieces it rarely is.
    """

    def __init__(self, starts: Array, lengths: Array, piece: int) -> None:
        parts = -(-lengths // piece)
        of = np.repeat(np.arange(len(lengths)), parts)
        part = np.arange(len(of)) - np.repeat(np.cumsum(parts) - parts, parts)
        own = np.minimum(piece, lengths[of] - part * piece)
        order = np.argsort(-own, kind="stable")
        place = np.empty(len(of), int)
        place[order] = np.arange(len(of))
        self.sequence, self.length = of[order], own[order]
        self.start = (starts[of] + part * piece)[order]
        self.before = np.where(part > 0, np.roll(place, 1), -1)[order]
        self.steps = int(own.max(initial=0))
        self.full = int((own == self.steps).sum()) if (part > 0).any() else 0
        self.first = np.flatnonzero(self.before < 0)
        self.later = np.flatnonzero(self.before >= 0)
        self.room: dict[tuple[str, int], Laid] = {}
        self.copies = 1
        self.beside: dict[int, Lanes] = {}

    def several(self, times: int, rows: int) -> Lanes:
        """Whole sequences, each in so many copies, which are those in lanes that follow one another: lane
        j * copies + c runs through the rows of lane j, counted on from c * rows."""
        if times not in self.beside:
            starts = np.zeros(int(self.sequence.max(initial=-1)) + 1, int)
            lengths = starts.copy()
            starts[self.sequence], lengths[self.sequence] = self.start, self.length
            each = np.add.outer(starts, rows * np.arange(times)).ravel()
            self.beside[times] = Lanes(each, np.repeat(lengths, times), max(1, self.steps))
            self.beside[times].copies = times
        return self.beside[times]

    @cached_property
    def active(self) -> list[int]:
        return np.searchsorted(-self.length, -np.arange(self.steps), side="left").tolist()

    @cached_property
    def cuts(self) -> list[int]:
        return [0, *np.cumsum(self.active).tolist()]

    @cached_property
    def runs(self) -> list[tuple[int, int, int]]:
        ends = np.unique(self.length).tolist()
        return [(a, b, self.active[a]) for a, b in zip([0, *ends][:-1], ends, strict=True)]

    @cached_property
    def order(self) -> Array:
        step = np.repeat(np.arange(self.steps), self.active)
        lane = np.arange(self.cuts[-1]) - np.repeat(self.cuts[:-1], self.active).astype(int)
        return self.start[lane] + step

    def kept(self, name: str, k: int) -> Laid:
        """Room for k numbers a row, the same at every call: fresh memory costs more than what is computed in it."""
        if (name, k) not in self.room:
            self.room[name, k] = Laid(self, k)
        return self.room[name, k]

    @cached_property
    def tiled(self) -> int:
        """How many lanes of full length lie one after the other in the rows: they are moved as one transposed block."""
        whole = int((self.length == self.steps).sum())
        follow = self.start[:whole] == self.start[:1] + np.arange(whole) * self.steps
        return (whole if follow.all() else int(follow.argmin())) if len(self.runs) <= FEW_RUNS else 0

    def _block(self, rows: Array) -> Array:
        """The rows of the tiled lanes as (k, lanes, steps): a view."""
        a = int(self.start[0]) if self.tiled else 0
        return rows[:, a : a + self.tiled * self.steps].reshape(len(rows), self.tiled, self.steps)

    def gather(self, values: Array, out: Laid | None = None) -> Laid:
        """(k, rows) -> the same, step by step."""
        out = Laid(self, len(values)) if out is None else out
        if len(self.runs) > FEW_RUNS:
            moved = values[:, self.order]
            for step, here in enumerate(out.steps):
                here[...] = moved[:, self.cuts[step] : self.cuts[step + 1]]
            return out
        tiles = self._block(values)
        for (a, b, n), run in zip(self.runs, out.runs, strict=True):
            for k, tile in enumerate(tiles):  # one after the other: so the lines of the cache are read once
                run[:, k, : self.tiled] = tile[:, a:b].T
            if self.tiled < n:
                run[:, :, self.tiled :] = values[:, self._rest(a, b, n)].transpose(1, 0, 2)
        return out

    def scatter(self, laid: Laid, rows: int | None = None) -> Array:
        """Step by step -> (k, rows); rows of no lane are 0."""
        rows = len(self.order) if rows is None else rows
        out = np.zeros((laid.k, rows)) if len(self.order) < rows else np.empty((laid.k, rows))
        if len(self.runs) > FEW_RUNS:
            out[:, self.order] = np.concatenate(laid.steps, axis=1)
            return out
        tiles = self._block(out)
        for (a, b, n), run in zip(self.runs, laid.runs, strict=True):
            tiles[:, :, a:b] = run[:, :, : self.tiled].transpose(1, 2, 0)
            if self.tiled < n:
                out[:, self._rest(a, b, n)] = run[:, :, self.tiled :].transpose(1, 0, 2)
        return out

    def _rest(self, a: int, b: int, n: int) -> Array:
        """Rows of the lanes that are not tiled, at steps a to b: (steps, lanes)."""
        return self.start[self.tiled : n] + np.arange(a, b)[:, None]


class Laid:
    """k numbers for every row, step by step: steps[l] is (k, lanes still running at l), runs[i] (steps, k, lanes)."""

    def __init__(self, lanes: Lanes, k: int, kind: type = float) -> None:
        self.lanes, self.k = lanes, k
        self.all: Array = np.empty(k * len(lanes.order), kind)
        self.runs = []
        for a, b, n in lanes.runs:
            at = k * lanes.cuts[a]
            self.runs.append(self.all[at : at + k * (b - a) * n].reshape(b - a, k, n))
        self.steps = [step for run in self.runs for step in run]


def sequences(starts: Array, lengths: Array) -> tuple[Lanes, Lanes]:
    """Whole sequences as lanes, and the same cut where a few long ones would keep the others waiting."""
    starts, lengths = np.asarray(starts, int), np.asarray(lengths, int)
    longest = max(1, int(lengths.max(initial=0)))
    piece = max(128, int(lengths.sum()) // 1024)
    whole = Lanes(starts, lengths, longest)
    return whole, (whole if longest <= 2 * piece else Lanes(starts, lengths, piece))


def out_of_lanes(values: Array | Laid) -> Array:
    """(k, rows), whether it lies in lanes or not."""
    return values.lanes.scatter(values) if isinstance(values, Laid) else values


def lane_features(prepared: Mapping[str, Any], lanes: tuple[Lanes, Lanes], rows: slice, make: Any) -> Laid:
    """The features of all rows, in lanes: those kept at preparation, or made now."""
    kept = prepared["the features"].get(make.__name__)
    return lanes[1].gather(make(prepared, rows)) if kept is None else kept


def kept_in_lanes(prepared: Mapping[str, Any], lanes: tuple[Lanes, Lanes], make: Any, numbers: int) -> dict[Any, Laid]:
    """Features in lanes, where all of them together are small (64 MB); else none: they are made each time."""
    if numbers * 8 > 64e6:
        return {}
    return {make.__name__: lanes[1].gather(make(prepared, slice(0, len(lanes[1].order))))}


class Unlaid(Laid):
    """Logs of weights that are laid out when they are read: what they are exponents of is had without."""

    def __init__(self, lanes: Lanes, k: int) -> None:
        self.lanes, self.k = lanes, k
        self.own = True  # nothing has been added to them

    def __getattr__(self, name: str) -> Any:
        if name not in ("all", "runs", "steps"):
            raise AttributeError(name)
        out = self.lanes.kept("node", self.k)
        self.lay(out)
        self.all, self.runs, self.steps = out.all, out.runs, out.steps
        return getattr(self, name)

    def lay(self, out: Laid) -> None:
        raise NotImplementedError

    def exponents(self, out: Laid) -> float | None:
        """Lays out what they are the logs of, and returns the largest of them; None where floats do not hold that."""
        raise NotImplementedError


def moderate(logs: Array) -> float | None:
    """The largest (at least 0) of logs whose exponents are far from what a float can hold, else None."""
    low, high = float(logs.min(initial=0.0)), float(logs.max(initial=0.0))
    return high if low > -300.0 and high < 300.0 else None


class Combined(Unlaid):
    """Linear combinations of features: their exponents are taken while they are still in the cache."""

    def __init__(self, coefficients: Array, features: Laid) -> None:
        super().__init__(features.lanes, len(coefficients))
        self.coefficients, self.features = coefficients, features

    def lay(self, out: Laid) -> None:
        for run, given in zip(out.runs, self.features.runs, strict=True):
            np.matmul(self.coefficients, given, out=run)

    def exponents(self, out: Laid) -> float | None:
        highest = 0.0
        for (_, _, n), run, given in zip(self.lanes.runs, out.runs, self.features.runs, strict=True):
            some = max(1, IN_CACHE // (self.k * n))
            for a in range(0, len(run), some):
                block = np.matmul(self.coefficients, given[a : a + some], out=run[a : a + some])
                if (high := moderate(block)) is None:
                    return None
                highest = max(highest, high)
                np.exp(block, out=block)
        return highest


def lane_table(coefficients: Array, features: Laid, matrix: Array | None = None) -> Laid:
    """As `log_table`, of features in lanes; its room is overwritten by the next."""
    if matrix is None or np.abs(coefficients).max(initial=0.0) < 1e100:
        return Combined(coefficients if matrix is None else coefficients @ matrix, features)
    out = features.lanes.kept("node", len(coefficients))
    for run, given in zip(out.runs, features.runs, strict=True):
        np.matmul(coefficients, matrix @ given, out=run)
    return out


def lane_codes(codes: Array, mask: Array | None, lanes: tuple[Lanes, Lanes]) -> Laid:
    """Integer codes of the rows plus one, in lanes; 0 where they are missing."""
    own = codes + 1 if mask is None else np.where(mask, codes + 1, 0)
    return lanes[1].gather(own[None], Laid(lanes[1], 1, np.intp))


class LookedUp(Unlaid):
    """Columns of a table at the codes of the rows, whose exponents are those of the table."""

    def __init__(self, table: Array, codes: Laid) -> None:
        """table : (K, codes + 1), its first column that of missing codes."""
        super().__init__(codes.lanes, len(table))
        self.table, self.codes = table, codes

    def lay(self, out: Laid) -> None:
        self._fill(self.table, out)

    def exponents(self, out: Laid) -> float | None:
        highest = moderate(self.table)
        if highest is not None:
            self._fill(np.exp(self.table), out)
        return highest

    def _fill(self, table: Array, out: Laid) -> None:
        """A table of this shape, looked up in the place of this one."""
        for step, at in zip(out.steps, self.codes.steps, strict=True):
            np.take(table, at[0], axis=1, out=step, mode="clip")


def lane_lookup(table: Array, codes: Laid, onto: Laid | None = None) -> Laid:
    """table[:, code] of each row, in lanes, 0 where the code is missing: added to what is there, or in its place.

    table : (K, codes).
    """
    whole = np.concatenate([np.zeros((len(table), 1)), table], axis=1)
    if onto is None:
        return LookedUp(whole, codes)
    for step, at in zip(onto.steps, codes.steps, strict=True):
        step += whole[:, at[0]]
    if isinstance(onto, Unlaid):
        onto.own = False
    return onto
