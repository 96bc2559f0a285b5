"""What ties an element of a chain to those before it where that differs from row to row: made a piece at a time.

A table of all rows would have K^(L+1) entries for each, and the recursions no more than K^L numbers.
"""

# mypy: disable-error-code="no-any-return"
# (operators on arrays of any dtype, and all of scipy, are Any to mypy)

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from emdsl.runtime.data.columns import Array
from emdsl.runtime.discrete.lanes import Lanes
from emdsl.runtime.numeric.numerics import LOWEST
from emdsl.runtime.numeric.preparation import row_count

TABLES = 2**17  # entries of tables that are made at once
HELD = 2**22  # entries of tables of all rows that are kept: of more, each is made again when it is read again


class RowEdges:
    """Log weights of an element given those before it, (K^L, K, rows), of any rows when they are asked for."""

    def __init__(self, make: Callable[[Any], Array], states: int, k: int, gate: int = 0) -> None:
        """make : rows (a slice or their numbers) -> (..., rows), the axes before being those of K^L and K states, and
        behind these those of gates, where it differs by them: of which `gate` is the state."""
        self.make, self.states, self.k, self.gate = make, states, k, gate

    @classmethod
    def of(cls, whole: Array) -> RowEdges:
        """Of a table of all rows, (K^L, K, rows)."""
        return cls(lambda rows: whole[..., rows], *whole.shape[:2])

    def logs(self, rows: Any) -> Array:
        """(K^L, K, rows)."""
        n = row_count(rows)
        made = np.reshape(self.make(rows), (self.states, self.k, -1, n) if n else (self.states, self.k, 1, 0))
        return made[:, :, self.gate if made.shape[2] > 1 else 0]

    def weights(self, rows: Any) -> tuple[Array, Array]:
        """These as exp of what they are less than the largest of their row, and those, (rows,)."""
        logs = self.logs(rows)
        top = np.maximum.reduce(logs.reshape(-1, logs.shape[2]), axis=0, initial=LOWEST)
        return exp_in_place(logs - top), top


class Stepped:
    """The tables of lanes step by step, those of a few steps at a time: each (K^L, K, lanes)."""

    def __init__(self, edges: RowEdges, lanes: Lanes, scaled: bool) -> None:
        """scaled : whether as `weights` (their tops go to `tops`, in the order of the steps) or as logs."""
        self.edges, self.lanes, self.scaled = edges, lanes, scaled
        self.tops = np.zeros(len(lanes.order)) if scaled else np.zeros(0)
        self.reach, self.held = (0, 0), np.zeros((edges.states, edges.k, 0))
        self.kept: dict[int, Array] | None = {} if len(lanes.order) * edges.states * edges.k <= HELD else None
        most, cuts, ends = max(1, TABLES // (edges.states * edges.k)), lanes.cuts, [0]
        while ends[-1] < lanes.steps:
            last = int(np.searchsorted(cuts, cuts[ends[-1]] + most, side="right")) - 1
            ends.append(min(max(last, ends[-1] + 1), lanes.steps))
        self.ends = ends

    def at(self, step: int) -> Array:
        """(K^L, K, lanes) of one step."""
        a, b = self.reach
        cuts = self.lanes.cuts
        if not a <= step < b:
            n = int(np.searchsorted(self.ends, step, side="right"))
            a, b = self.reach = self.ends[n - 1], self.ends[n]
            made = None if self.kept is None else self.kept.get(a)
            self.held = self._made(cuts[a], cuts[b]) if made is None else made
            if self.kept is not None:
                self.kept[a] = self.held
        return self.held[..., cuts[step] - cuts[a] : cuts[step + 1] - cuts[a]]

    def _made(self, start: int, stop: int) -> Array:
        """Tables of rows that follow one another in the lanes."""
        rows = self.lanes.order[start:stop]
        if not self.scaled:
            return self.edges.logs(rows)
        held, self.tops[start:stop] = self.edges.weights(rows)
        return held


def inside_gates(edge: Any, axes: int, own: int, size: tuple[int, int, int]) -> list[Array | RowEdges]:
    """What ties neighbours, for each state of the gates where it differs by these, else one for all.

    edge : (*before, *states), behind these its gates and rows, or a function of rows; `axes` are those of the states,
    `own` those of the rows where it has them. size : K^L, K, and the states of the gates.
    """
    states, k, g = size
    if not isinstance(edge, np.ndarray):
        return [RowEdges(edge, states, k, j) for j in range(g)]
    gated = edge.ndim - axes - own > 0
    flat = edge.reshape(states, k, g if gated else 1, *((-1,) if own else ()))
    return [RowEdges.of(flat[:, :, j]) if own else flat[:, :, j] for j in range(flat.shape[2])]


def exp_in_place(values: Array) -> Array:
    """exp, with everything below -700 as 0: there it is slow, and nothing."""
    small = values < -700.0
    if not small.any():
        return np.exp(values, out=values)
    np.maximum(values, -700.0, out=values)
    np.exp(values, out=values)
    values[small] = 0.0
    return values
