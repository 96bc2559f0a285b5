"""Forward and backward recursions along chains, many sequences side by side, in scaled probabilities.

A sequence that is much longer than the others is cut into pieces that run side by side. All pieces run from a guess;
then each runs again from what the piece before it left, until that makes no difference any more. Where the chain does
not forget within a piece, the pieces' transfer matrices say what enters them.
Rabiner (1989), Proc. IEEE 77, section III; pieces: Hassan, Sarkka and Garcia-Fernandez (2021), IEEE Transactions on
Signal Processing 69.
"""

# mypy: disable-error-code="no-any-return"
# (operators on arrays of any dtype, and all of scipy, are Any to mypy)

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from emdsl.runtime.data.columns import Array
from emdsl.runtime.discrete.edges import RowEdges, Stepped, exp_in_place
from emdsl.runtime.discrete.lanes import Laid, Lanes, Unlaid, moderate
from emdsl.runtime.numeric.numerics import LOWEST

FORGOTTEN = 1e-13  # relative: two runs that differ by less will not differ any more
NO_DIFFERENCE = 1e-100  # of a probability
LEAST = 1e-140  # the smallest share that a step may leave of all weights
LOUD = 1e100  # what later data may say for a state that had been given up
SCALED_EVERY = 4  # steps after which weights are scaled, where they can neither vanish nor overflow on the way
BETWEEN_SCALINGS = 50.0  # the log of what weights may grow by from one scaling to the next


class Recursion:
    """One chain's tables on some lanes, in probabilities: W = exp(edge), E = exp(node), scaled where they are large.

    The states behind a step are the last L elements, the oldest first: (K^L,).
    `inverse[l]` is one over what the weights of step l add up to, or 1 where step l is not scaled, and `extra` the logs
    of what starts were divided by.
    """

    def __init__(
        self, node: Array | Laid, edge: Array | RowEdges, first: Sequence[Array], lanes: Lanes, room: str = ""
    ) -> None:
        self.lanes, self.first, self.room = lanes, first, room
        self.k = len(first[0])
        self.states = self.k ** len(first)
        self.middle = self.states // self.k
        self.top: Laid | None = None
        self.e = lanes.kept(f"e{room}", self.k)
        highest = node.exponents(self.e) if isinstance(node, Unlaid) and node.own else None
        if highest is None:
            highest = self._exponents(node if isinstance(node, Laid) else lanes.gather(node, self.e))
        self.rows = Stepped(edge, lanes, scaled=True) if isinstance(edge, RowEdges) else None
        if not isinstance(edge, RowEdges):
            self.offset = float(edge.max(initial=LOWEST))
            self.w = exp_in_place(edge - self.offset)
            self.ahead_by = self._by_middle(self.w, (1, 2, 0))
            self.behind_by = self._by_middle(self.w, (1, 0, 2))
        # What later data say for the states of one step differs by no more than the rows of W do: so where no entry of
        # W is small next to another, they are loud for none.
        self.even = self.rows is None and self.middle == 1 and bool(self.w.min(initial=1.0) > 1 / LOUD)
        self.stride = SCALED_EVERY if self.even and SCALED_EVERY * highest < BETWEEN_SCALINGS else 1
        self.inverse = lanes.kept(f"inverse{room}", 1)
        self.extra = np.zeros(len(lanes.start))

    def _exponents(self, given: Laid) -> float:
        """E, of each row divided by its largest where they are large or small; and the largest of its logs."""
        highest = moderate(given.all)
        if highest is not None:
            np.exp(given.all, out=self.e.all)
            return highest
        self.top = self.lanes.kept(f"top{self.room}", 1)
        for run, top, out in zip(given.runs, self.top.runs, self.e.runs, strict=True):
            np.maximum.reduce(run, axis=1, out=top[:, 0])
            np.subtract(run, top, out=out)
        exp_in_place(self.e.all)
        return 0.0

    def _by_middle(self, w: Array, order: tuple[int, int, int]) -> Array:
        """W[a, m, c] as (m, ., .), the middle elements left out where there are none."""
        out = np.ascontiguousarray(w.reshape(self.k, self.middle, self.k).transpose(order))
        return out[0] if self.middle == 1 else out

    def table(self, step: int, n: int) -> Array:
        """W at a step where it differs by row: (a, m, c, lanes)."""
        assert self.rows is not None
        return self.rows.at(step)[..., :n].reshape(self.k, self.middle, self.k, n)

    def ahead(self, alpha: Array, step: int, out: Array) -> None:
        """sum_a W[a, m, c] alpha[a, m]: what the states before a step say of those at it."""
        if self.rows is None and self.middle == 1:
            np.matmul(self.ahead_by, alpha, out=out)
            return
        n = alpha.shape[-1]
        before = alpha.reshape(self.k, self.middle, n)
        target = out.reshape(self.middle, self.k, n)
        if self.rows is None:
            np.matmul(self.ahead_by, before.transpose(1, 0, 2), out=target)
        else:
            np.einsum("amcn,amn->mcn", self.table(step, n), before, out=target)

    def behind(self, after: Array, step: int) -> Array:
        """sum_c W[a, m, c] after[m, c]: what the states at a step say of those before it."""
        if self.rows is None and self.middle == 1:
            return self.behind_by @ after
        n = after.shape[-1]
        ahead = after.reshape(self.middle, self.k, n)
        if self.rows is None:
            return np.matmul(self.behind_by, ahead).transpose(1, 0, 2).reshape(self.states, n)
        return np.einsum("amcn,mcn->amn", self.table(step, n), ahead).reshape(self.states, n)

    def weigh(self, values: Array, step: int, out: Array) -> None:
        """values[m, c] E[c]."""
        n = values.shape[-1]
        if self.middle > 1:
            shape = (self.middle, self.k, n)
            values, out = values.reshape(shape), out.reshape(shape)
        np.multiply(values, self.e.steps[step][:, :n], out=out)

    def scales(self, step: int) -> bool:
        """Whether weights are divided by what they add up to: always at the ends of lanes."""
        active, last = self.lanes.active, step + 1 == self.lanes.steps
        return (step + 1) % self.stride == 0 or last or active[step + 1] < active[step]

    def start_table(self, step: int, lanes: Array) -> tuple[Array, Array]:
        """exp of the table that holds at an early position, (a, m, c, lanes), each lane divided by exp of its top."""
        logs = self.first[step][..., self.lanes.sequence[lanes]]
        top = logs.max(axis=(0, 1), initial=LOWEST)
        return np.exp(logs - top).reshape(self.k, self.middle, self.k, -1), top

    def begin(self, out: Array) -> None:
        """The states at the starts of sequences, before their own data."""
        lanes = self.lanes
        logs = self.first[0][:, lanes.sequence[lanes.first]]
        top = logs.max(axis=0)
        self.extra[lanes.first] = top
        out[:, lanes.first] = 0.0
        out[: self.k, lanes.first] = np.exp(logs - top)

    def early(self, alpha: Array, step: int, out: Array) -> None:
        """The same for positions that have fewer than L elements behind them."""
        there = self.early_lanes(step)
        w, top = self.start_table(step, there)
        before = alpha[:, there].reshape(self.k, self.middle, -1)
        out[:, there] = np.einsum("amcn,amn->mcn", w, before).reshape(self.states, -1)
        self.extra[there] += top

    def early_lanes(self, step: int) -> Array:
        return self.lanes.first[self.lanes.first < self.lanes.active[step]]

    def log_weights(self, count: int) -> Array:
        """The logs of what all paths of each sequence weigh together."""
        lanes = self.lanes
        begun = np.where(lanes.before < 0, np.minimum(lanes.length, len(self.first)), 0)
        total = self.extra.copy() if self.rows is not None else self.extra + self.offset * (lanes.length - begun)
        logs = -np.log(self.inverse.all)
        if self.top is not None:
            logs += self.top.all
        for step, n in enumerate(lanes.active):
            own = slice(lanes.cuts[step], lanes.cuts[step + 1])
            total[:n] += logs[own]
            if self.rows is not None:
                total[:n] += np.where(step < begun[:n], 0.0, self.rows.tops[own])
        return np.bincount(lanes.sequence, weights=total, minlength=count)


def _to_one(values: Array) -> Array:
    mass = values.sum(axis=0)
    return values / np.where(mass > 0, mass, 1.0)


def _no_news(new: Array, old: Array) -> bool:
    """Whether positive numbers are the same but for rounding."""
    return bool((np.abs(new - old) <= FORGOTTEN * new + NO_DIFFERENCE).all())


def forward(r: Recursion) -> tuple[Laid, Array]:
    """alpha[l] = p(states at l | data up to l), (K^L, lanes) by step, but for a factor where step l is not scaled; and
    what enters each lane."""
    out = _from_guesses(r)
    if r.stride > 1 and not r.inverse.all.max(initial=0.0) < 1 / LEAST:
        r.stride = 1
        out = _from_guesses(r)
    return out


def _from_guesses(r: Recursion) -> tuple[Laid, Array]:
    """The same, as often scaled as `r` says."""
    lanes = r.lanes
    r.extra[:] = 0.0
    alpha = lanes.kept(f"alpha{r.room}", r.states)
    entry = np.full((r.states, len(lanes.start)), 1.0 / r.states)
    _forward(r, alpha, entry)
    if lanes.later.size:
        entry[:, lanes.later] = alpha.steps[-1][:, lanes.before[lanes.later]]
        if not _forward(r, alpha, entry, again=True):
            entry[:, lanes.later] = _stitched(r, alpha.steps[-1])
            _forward(r, alpha, entry)
    return alpha, entry


def _forward(r: Recursion, alpha: Laid, entry: Array, again: bool = False) -> bool:
    """Fills alpha from what enters each lane; `again` stops, and says so, where that changes nothing."""
    lanes = r.lanes
    for step, out in enumerate(alpha.steps):
        old = out.copy() if again and step % 4 == 3 else None
        if step:
            before = alpha.steps[step - 1][:, : out.shape[1]]
            r.ahead(before, step, out)
            if step < len(r.first):
                r.early(before, step, out)
        else:
            if lanes.later.size:
                r.ahead(entry, 0, out)
            r.begin(out)
        r.weigh(out, step, out)
        inverse = r.inverse.steps[step][0]
        if not r.scales(step):
            inverse.fill(1.0)
            continue
        np.add.reduce(out, axis=0, out=inverse)
        np.divide(1.0, inverse, out=inverse)
        out *= inverse
        if old is not None and step >= len(r.first) and _no_news(out, old):
            return True
    return False


def _transfer(r: Recursion, backward: bool) -> tuple[Array, Array]:
    """Of every lane of full length, the matrix that takes what enters it to what leaves it: column by column divided by
    its sum, (K^L, K^L, lanes), and the logs of these, (K^L, lanes)."""
    full = r.lanes.full
    out = np.repeat(np.eye(r.states)[:, :, None], full, axis=2)
    logs = np.zeros((r.states, full))
    for step in range(r.lanes.steps):
        at = r.lanes.steps - 1 - step if backward else step
        for i in range(r.states):
            column = np.ascontiguousarray(out[:, i])
            if backward:
                r.weigh(column, at, column)
                column = r.behind(column, at)
            else:
                moved = np.empty_like(column)
                r.ahead(column, at, moved)
                r.weigh(moved, at, moved)
                column = moved
            out[:, i] = column
        mass = out.sum(axis=0)
        logs += np.log(mass)
        out /= np.where(mass > 0, mass, 1.0)
    return out, logs


def _through(transfer: tuple[Array, Array], lane: int, values: Array) -> Array:
    """What leaves a lane, in proportion, where `values` enter it."""
    matrix, logs = transfer[0][:, :, lane], transfer[1][:, lane]
    weights = np.log(values) + logs
    top = weights.max()
    return _to_one(matrix @ np.exp(weights - top)) if np.isfinite(top) else np.zeros_like(values)


def _stitched(r: Recursion, ends: Array) -> Array:
    """What enters each piece, the pieces' transfer matrices applied one after the other."""
    lanes = r.lanes
    transfer = _transfer(r, backward=False)
    left = ends.copy()
    for lane in sorted(lanes.later, key=lambda j: lanes.start[j]):
        previous = lanes.before[lane]
        if lanes.before[previous] >= 0:
            left[:, previous] = _through(transfer, previous, left[:, lanes.before[previous]])
    return left[:, lanes.before[lanes.later]]


def backward(r: Recursion, alpha: Laid) -> tuple[Laid, Laid, bool]:
    """p(states at l | all data), (K, lanes) by step, and `to`, with p(states before, states | all data) = alpha W to.

    Says too whether all is well: later data speak so loudly for no state that it matters what alpha lost of it.
    """
    lanes = r.lanes
    q, to = lanes.kept(f"q{r.room}", r.k), lanes.kept(f"to{r.room}", r.states)
    exits = np.ones((r.states, len(lanes.start)))
    entered, high = _backward(r, alpha, q, to, exits)
    if lanes.later.size and entered is not None:
        exits[:, lanes.before[lanes.later]] = entered[:, lanes.later]
        entered, high = _backward(r, alpha, q, to, exits, again=True)
        if entered is not None:
            _stitch_back(r, alpha, exits, entered)
            high = _backward(r, alpha, q, to, exits)[1]
    return q, to, high < LOUD


def _stitch_back(r: Recursion, alpha: Laid, exits: Array, entered: Array) -> None:
    """What later pieces say at the end of each, the pieces' transfer matrices applied one after the other."""
    lanes, ends = r.lanes, alpha.steps[-1]
    transfer = _transfer(r, backward=True)
    for lane in sorted(lanes.later.tolist(), key=lambda j: -int(lanes.start[j])):
        before = lanes.before[lane]
        if lane < lanes.full and (lanes.before == lane).any():
            entered[:, lane] = _through(transfer, lane, exits[:, lane])
        exits[:, before] = entered[:, lane] / (ends[:, before] @ entered[:, lane])


def _backward(
    r: Recursion, alpha: Laid, q: Laid, to: Laid, exits: Array, again: bool = False
) -> tuple[Array | None, float]:
    """Fills q and `to` from what later data say at the end of each lane; returns what they say before it (None where
    `again` found that nothing changes, or that it is in vain), and the most that they say for any state."""
    lanes = r.lanes
    beta, high = np.ones((r.states, 0)), 0.0
    for step in range(lanes.steps - 1, -1, -1):
        n = lanes.active[step]
        if n > beta.shape[1]:
            beta = np.concatenate([beta, exits[:, beta.shape[1] : n]], axis=1)
        out = to.steps[step]
        old = out.copy() if again and step % 4 == 3 else None
        if not r.even:
            high = max(high, float(beta.max()))
            if not high < LOUD:
                return None, np.inf
        r.weigh(beta, step, out)
        if r.scales(step):
            out *= r.inverse.steps[step][0]
        if r.middle == 1:
            np.multiply(alpha.steps[step], beta, out=q.steps[step])
        else:
            both = alpha.steps[step] * beta
            np.add.reduce(both.reshape(r.middle, r.k, n), axis=0, out=q.steps[step])
        if old is not None and _no_news(out, old):
            return None, high
        beta = r.behind(out, step)
        if step and step < len(r.first):
            there = r.early_lanes(step)
            w, _ = r.start_table(step, there)
            part = out[:, there].reshape(r.middle, r.k, -1)
            beta[:, there] = np.einsum("amcn,mcn->amn", w, part).reshape(r.states, -1)
    return beta, high
