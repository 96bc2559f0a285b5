"""Many sequences side by side: where their rows lie, and how long ones are cut."""

# mypy: disable-error-code="no-any-return"
# (operators on arrays of any dtype, and all of scipy, are Any to mypy)

from __future__ import annotations

import numpy as np

from emdsl.runtime.columns import Array


class Lanes:
    """Sequences, or pieces of them, side by side: lane j holds rows start[j] to start[j] + length[j].

    Lanes stand in order of length, so that those still running at step l are the first active[l].
    `before[j]` is the lane that j continues, -1 at the start of a sequence; `sequence[j]` is its sequence.
    """

    def __init__(self, starts: Array, lengths: Array, piece: int) -> None:
        cuts = [(s, a, min(piece, n - a), a > 0) for s, n in enumerate(lengths) for a in range(0, int(n), piece)]
        order = sorted(range(len(cuts)), key=lambda j: -cuts[j][2])
        place = np.empty(len(cuts), int)
        place[order] = np.arange(len(cuts))
        self.sequence = np.array([cuts[j][0] for j in order], int)
        self.start = np.array([starts[cuts[j][0]] + cuts[j][1] for j in order], int)
        self.length = np.array([cuts[j][2] for j in order], int)
        self.before = np.array([place[j - 1] if cuts[j][3] else -1 for j in order], int)
        self.steps = int(self.length.max(initial=0))
        self.active = (self.length[None, :] > np.arange(self.steps)[:, None]).sum(1)
        self.rows = self.start + np.minimum(np.arange(self.steps)[:, None], self.length - 1)
        self.full = int((self.length == self.steps).sum()) if (self.before >= 0).any() else 0
        self.first = np.flatnonzero(self.before < 0)
        self.later = np.flatnonzero(self.before >= 0)
        self.valid = np.arange(self.steps)[:, None] < self.length
        self.tiled = self._tiled()
        self.target = self.rows[:, self.tiled :][self.valid[:, self.tiled :]]

    def _tiled(self) -> int:
        """How many lanes of full length lie one after the other in the rows: they are moved as one transposed block."""
        whole = int((self.length == self.steps).sum())
        follow = self.start[:whole] == self.start[:1] + np.arange(whole) * self.steps
        return whole if follow.all() else int(follow.argmin())

    def _block(self, rows: Array) -> Array:
        """The rows of the tiled lanes as (..., lanes, steps): a view."""
        a = int(self.start[0]) if self.tiled else 0
        return rows[..., a : a + self.tiled * self.steps].reshape(*rows.shape[:-1], self.tiled, self.steps)

    def gather(self, values: Array) -> Array:
        """(k, rows) -> (steps, k, lanes)."""
        out = np.empty((self.steps, *values.shape[:-1], len(self.start)))
        for place in np.ndindex(*values.shape[:-1]):
            out[(slice(None), *place, slice(self.tiled))] = self._block(values[place]).T
            out[(slice(None), *place, slice(self.tiled, None))] = values[place][self.rows[:, self.tiled :]]
        return out

    def scatter(self, values: Array, rows: int) -> Array:
        """(steps, k, lanes) -> (k, rows); rows of no lane are 0."""
        out = np.zeros((values.shape[1], rows))
        self._block(out)[...] = values[:, :, : self.tiled].transpose(1, 2, 0)
        valid = self.valid[:, self.tiled :]
        for k in range(values.shape[1]) if self.target.size else ():
            out[k, self.target] = values[:, k, self.tiled :][valid]
        return out


def sequences(starts: Array, lengths: Array) -> tuple[Lanes, Lanes]:
    """Whole sequences as lanes, and the same cut where a few long ones would keep the others waiting."""
    starts, lengths = np.asarray(starts, int), np.asarray(lengths, int)
    longest = max(1, int(lengths.max(initial=0)))
    piece = max(128, int(lengths.sum()) // 1024)
    whole = Lanes(starts, lengths, longest)
    return whole, (whole if longest <= 2 * piece else Lanes(starts, lengths, piece))
