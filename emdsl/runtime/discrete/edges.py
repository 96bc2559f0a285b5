"""What ties an element of a chain to those before it where that differs from row to row: made a piece at a time.

A table of all rows would have K^(L+1) entries for each, and the recursions no more than K^L numbers.
"""

# mypy: disable-error-code="no-any-return"
# (operators on arrays of any dtype, and all of scipy, are Any to mypy)

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from emdsl.runtime.data.columns import Array
from emdsl.runtime.discrete.lanes import Lanes
from emdsl.runtime.numeric.numerics import LOWEST
from emdsl.runtime.numeric.preparation import row_count

TABLES = 2**17  # entries of tables that are made at once
HELD = 2**22  # entries of tables of all rows that are kept: of more, each is made again when it is read again


class RowEdges:
    """Log weights of an element given those before it, (K^L, K, copies, rows), of any rows when they are asked for."""

    def __init__(self, make: Callable[[Any], Array], states: int, k: int, gates: tuple[int, int] = (0, 1)) -> None:
        """make : rows (a slice or their numbers) -> (..., rows), the axes before being those of K^L and K states, and
        behind these those of gates, where it differs by them: of which those from `gates` on, up to the second, are
        the copies."""
        self.make, self.states, self.k, self.gates = make, states, k, gates

    @classmethod
    def of(cls, whole: Array, gates: tuple[int, int] = (0, 1)) -> RowEdges:
        """Of a table of all rows, (K^L, K, rows), or with gates before these."""
        states, k = whole.shape[:2]
        return cls(lambda rows: whole[..., rows], states, k, gates)

    def logs(self, rows: Any) -> Array:
        """(K^L, K, copies, rows)."""
        n, (a, b) = row_count(rows), self.gates
        made = np.reshape(self.make(rows), (self.states, self.k, -1, n) if n else (self.states, self.k, 1, 0))
        return made[:, :, a:b] if made.shape[2] > 1 else np.broadcast_to(made, (self.states, self.k, b - a, n))

    def weights(self, rows: Any) -> tuple[Array, Array]:
        """These as exp of what they are less than the largest of their row, and those, (copies, rows)."""
        logs = self.logs(rows)
        top = np.maximum.reduce(logs, axis=(0, 1), initial=LOWEST)
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
        rows = self.lanes.order[start : stop : self.lanes.copies]
        made, tops = self.edges.weights(rows) if self.scaled else (self.edges.logs(rows), None)
        if tops is not None:
            self.tops[start:stop] = tops.T.ravel()
        return made.swapaxes(2, 3).reshape(*made.shape[:2], -1)


def inside_gates(
    edge: Any, axes: int, own: int, size: tuple[int, int, int], stretches: Sequence[tuple[int, int]]
) -> list[Array | RowEdges]:
    """What ties neighbours, for each stretch of the states of the gates: (K^L, K), or by row.

    edge : (*before, *states), behind these its gates and rows, or a function of rows; `axes` are those of the states,
    `own` those of the rows where it has them. size : K^L, K, and the states of the gates. What differs by gates alone
    has stretches of one.
    """
    states, k, g = size
    if not isinstance(edge, np.ndarray):
        return [RowEdges(edge, states, k, gates) for gates in stretches]
    gated = edge.ndim - axes - own > 0
    flat = edge.reshape(states, k, g if gated else 1, *((-1,) if own else ()))
    return [RowEdges.of(flat, (a, b)) if own else flat[:, :, a * gated] for a, b in stretches]


def gates_alone(g: int) -> list[tuple[int, int]]:
    """Stretches of one state of the gates each."""
    return [(j, j + 1) for j in range(g)]


def exp_in_place(values: Array) -> Array:
    """exp, with everything below -700 as 0: there it is slow, and nothing."""
    small = values < -700.0
    if not small.any():
        return np.exp(values, out=values)
    np.maximum(values, -700.0, out=values)
    np.exp(values, out=values)
    values[small] = 0.0
    return values
