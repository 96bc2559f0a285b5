"""Posteriors of chains by recursions in logs, where probabilities span more than a float holds."""

# mypy: disable-error-code="no-any-return"
# (operators on arrays of any dtype, and all of scipy, are Any to mypy)

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from emdsl.runtime.data.columns import Array
from emdsl.runtime.discrete.edges import RowEdges, Stepped
from emdsl.runtime.discrete.lanes import Laid, Lanes
from emdsl.runtime.numeric.numerics import LOWEST, log_sum_exp

LITTLE = 1e-280  # of a scaled sum: what its terms have lost below is none of its digits
NOTHING = LOWEST / 2  # logs below are those of zero
A_STEP = 6e-5  # seconds that a step takes however few lanes there are, and what one entry of a table takes
AN_ENTRY = 1.2e-8


class LogTable:
    """What ties an element to those before it, (a, m, c) or (a, m, c, lanes) in logs, as a map of log weights.

    A table that is the same for all rows is a matrix product of weights that are scaled to their largest, exact unless
    all that is left is below `LITTLE`: such entries alone are summed in logs. `largest`: with the largest term in place
    of the sum.
    """

    def __init__(self, logs: Array, largest: bool = False) -> None:
        self.logs, self.largest = logs[..., None] if largest and logs.ndim == 3 else logs, largest
        if self.logs.ndim == 3:
            self.top = max(float(logs.max(initial=LOWEST)), NOTHING)
            weights = np.exp(np.maximum(logs - self.top, -745.0)) * (logs - self.top > -745.0)
            self.weights, self.there = weights.transpose(1, 2, 0), (logs > NOTHING).transpose(1, 2, 0) * 1.0

    def total(self, logs: Array, axis: int) -> Array:
        return logs.max(axis=axis) if self.largest else log_sum_exp(logs, axis)

    def ahead(self, values: Array) -> Array:
        """log sum_a exp(values[i, a, m] + logs[a, m, c]), (i, m, c, lanes)."""
        if self.logs.ndim == 4:
            return np.maximum(self.total(values[:, :, :, None] + self.logs, 1), LOWEST)
        return self._product(values.transpose(0, 2, 1, 3), self.weights, self.there, self.logs.transpose(1, 0, 2))

    def behind(self, values: Array) -> Array:
        """log sum_c exp(values[i, m, c] + logs[a, m, c]), (i, a, m, lanes)."""
        if self.logs.ndim == 4:
            return np.maximum(self.total(values[:, None] + self.logs, 3), LOWEST)
        weights, there = self.weights.transpose(0, 2, 1), self.there.transpose(0, 2, 1)
        return self._product(values, weights, there, self.logs.transpose(1, 2, 0)).transpose(0, 2, 1, 3)

    def _product(self, values: Array, weights: Array, there: Array, logs: Array) -> Array:
        """log sum_x exp(values[i, m, x] + logs[m, x, y]), (i, m, y, lanes); `weights` and `there` are (m, y, x)."""
        top = np.maximum(values.max(axis=2, keepdims=True), NOTHING)
        scaled = np.exp(values - top)
        out = np.matmul(weights, scaled)
        little = out < LITTLE
        with np.errstate(divide="ignore"):
            np.log(out, out=out)
        out += top + self.top
        if little.any():
            lost = little & (np.matmul(there, (values > NOTHING) * 1.0) > 0)
            i, m, y, n = np.nonzero(lost)
            out[i, m, y, n] = log_sum_exp(values[i, m, :, n] + logs[m, :, y], 1)
        return np.maximum(out, LOWEST, out=out)


def lanes_in_logs(lanes: tuple[Lanes, Lanes], states: int, k: int) -> Lanes:
    """Whole sequences or pieces of them, whichever takes less: what pieces do to all that may enter is states times
    the work, and a step of whole sequences takes its time however few they are."""
    whole, cut = lanes
    return cut if len(cut.order) * states**2 * k * AN_ENTRY < (whole.steps - cut.steps) * A_STEP else whole


class LogRecursion:
    """Forward and, but for `largest` alone, backward in logs; arguments as of `chain_posterior`.

    `alpha` and `to` are (K^L, lanes) by step: alpha[a, m] + edge[a, m, c] + to[m, c] is the log probability of an
    element with those before it. `q` (K, lanes) are probabilities of single elements, `total` the log-normaliser of
    each lane's sequence. All are relative to the largest of their step, so that long sequences cost no digits.
    Pieces of a sequence are stitched by what each does to all that may enter it (`_transfer`).
    """

    def __init__(
        self, node: Array, edge: Array | RowEdges, first: Sequence[Array], lanes: Lanes, largest: bool = False
    ) -> None:
        self.largest = largest
        self.lanes, self.first, self.edge = lanes, first, edge
        self.k = node.shape[0]
        self.states = self.k ** len(first)
        self.middle = self.states // self.k
        self.logs = lanes.gather(np.maximum(node, LOWEST))
        self.rows = Stepped(edge, lanes, scaled=False) if isinstance(edge, RowEdges) else None
        self.same = None if isinstance(edge, RowEdges) else LogTable(edge.reshape(self.k, self.middle, self.k), largest)
        self.alpha = Laid(lanes, self.states)
        self.entry = np.zeros((self.states, len(lanes.start)))
        self.exits = np.zeros((self.states, len(lanes.start)))
        self._forward()
        transfer = self._transfer() if lanes.later.size else None
        if transfer is not None:
            self._enter(transfer)
            self._forward()
        if largest:
            return
        self.to, self.q = Laid(lanes, self.states), Laid(lanes, self.k)
        if transfer is not None:
            self._leave(transfer)
        self._backward()

    def early(self, step: int) -> Array:
        """The lanes whose elements at a step have fewer than L behind them."""
        first = self.lanes.first
        return first[first < self.lanes.active[step]] if step < len(self.first) else first[:0]

    def table(self, step: int, n: int) -> LogTable:
        """What ties the lanes' own elements, where they have L behind them."""
        if self.same is not None:
            return self.same
        assert self.rows is not None
        return LogTable(self.rows.at(step)[..., :n].reshape(self.k, self.middle, self.k, n), self.largest)

    def begin_table(self, step: int) -> LogTable:
        """The same for the lanes that have fewer."""
        logs = self.first[step][..., self.lanes.sequence[self.early(step)]]
        return LogTable(logs.reshape(self.k, self.middle, self.k, -1), self.largest)

    def before(self, step: int, n: int) -> Array:
        """alpha of the step before, (K^L, lanes)."""
        return (self.alpha.steps[step - 1] if step else self.entry)[:, :n]

    def _ahead(self, step: int, before: Array) -> Array:
        """(i, K^L, lanes) one step on, the elements' own weights included."""
        n = before.shape[-1]
        out = self.table(step, n).ahead(before.reshape(-1, self.k, self.middle, n)).reshape(len(before), -1, n)
        there = self.early(step)
        if step and there.size:
            some = before[:, :, there].reshape(-1, self.k, self.middle, there.size)
            out[:, :, there] = self.begin_table(step).ahead(some).reshape(len(before), -1, there.size)
        own = self.logs.steps[step][None, None, :, :n]
        out.reshape(len(before), self.middle, self.k, n)[...] += own
        return np.maximum(out, LOWEST)

    def _forward(self) -> None:
        lanes = self.lanes
        tops, ends = np.zeros(len(lanes.start)), np.zeros(len(lanes.start))
        for step, out in enumerate(self.alpha.steps):
            n = out.shape[1]
            if step or lanes.later.size:
                out[...] = self._ahead(step, self.before(step, n)[None])[0]
            if not step:
                here = self.logs.steps[0][:, lanes.first] + self.first[0][:, lanes.sequence[lanes.first]]
                out[:, lanes.first] = LOWEST
                out[: self.k, lanes.first] = np.maximum(here, LOWEST)
            top = _highest(out)
            out -= top
            tops[:n] += top
            over = np.flatnonzero(lanes.length[:n] == step + 1)
            ends[over] = out[:, over].max(axis=0) if self.largest else log_sum_exp(out[:, over], 0)
        ends[lanes.before[lanes.later]] = 0.0  # what is left there enters the next piece
        whole = np.bincount(lanes.sequence, weights=tops + ends)
        self.total = whole[lanes.sequence]

    def _transfer(self) -> Array:
        """What each lane makes of every state that enters it, (K^L, K^L, lanes)."""
        lanes, eye = self.lanes, np.eye(self.states)[:, :, None]
        out = np.repeat(np.where(eye > 0, 0.0, LOWEST), len(lanes.start), axis=2)
        tops = np.zeros((self.states, 1, len(lanes.start)))
        for step, n in enumerate(lanes.active):
            moved = self._ahead(step, out[:, :, :n])
            top = _highest(moved, 1)[:, None]
            out[:, :, :n] = moved - top
            tops[:, :, :n] += top
        return out + tops

    def _enter(self, transfer: Array) -> None:
        """What enters each piece, from what the pieces before it do one after the other."""
        lanes = self.lanes
        for lane in sorted(lanes.later.tolist(), key=lambda j: int(lanes.start[j])):
            previous = lanes.before[lane]
            left = self.alpha.steps[-1][:, previous]
            if lanes.before[previous] >= 0:
                both = self.entry[:, previous, None] + transfer[:, :, previous]
                left = both.max(axis=0) if self.largest else log_sum_exp(both, 0)
            self.entry[:, lane] = np.maximum(left - _highest(left), LOWEST)

    def _leave(self, transfer: Array) -> None:
        """What later pieces say at the end of each, in the same way."""
        lanes = self.lanes
        for lane in sorted(lanes.later.tolist(), key=lambda j: -int(lanes.start[j])):
            back = log_sum_exp(transfer[:, :, lane] + self.exits[:, lane], 1)
            self.exits[:, lanes.before[lane]] = np.maximum(back - _highest(back), LOWEST)

    def _backward(self) -> None:
        lanes, beta = self.lanes, np.zeros((self.states, 0))
        for step in range(lanes.steps - 1, -1, -1):
            n = lanes.active[step]
            beta = np.concatenate([beta, self.exits[:, beta.shape[1] : n]], axis=1)
            belief = self.alpha.steps[step] + beta
            belief = np.exp(np.minimum(belief - log_sum_exp(belief, 0), 0.0))
            self.q.steps[step][...] = belief.reshape(self.middle, self.k, n).sum(axis=0)
            after = (beta.reshape(self.middle, self.k, n) + self.logs.steps[step]).reshape(self.states, n)
            self.to.steps[step][...] = after
            if step or lanes.later.size:
                back = self._behind(step, after)
                self.to.steps[step][...] -= log_sum_exp(self.before(step, n) + back, 0)
                beta = np.maximum(back - _highest(back), LOWEST)

    def _behind(self, step: int, after: Array) -> Array:
        """What the states at a step say of those before it, (K^L, lanes)."""
        n, there = after.shape[1], self.early(step)
        shape = (1, self.middle, self.k, -1)
        out = self.table(step, n).behind(after.reshape(shape)).reshape(self.states, n)
        if step and there.size:
            out[:, there] = self.begin_table(step).behind(after[:, there].reshape(shape)).reshape(self.states, -1)
        return out

    def pair(self, step: int) -> Array:
        """Joint probabilities of the elements at a step with those before them, (a, m, c, lanes)."""
        n, there = self.lanes.active[step], self.early(step)
        logs = self.table(step, n).logs
        logs = logs[..., None] if logs.ndim == 3 else logs
        if step and there.size:
            logs = np.broadcast_to(logs, (*logs.shape[:3], n)).copy()
            logs[..., there] = self.begin_table(step).logs
        before = self.before(step, n).reshape(self.k, self.middle, 1, n)
        return np.exp(np.minimum(before + logs + self.to.steps[step].reshape(1, self.middle, self.k, n), 0.0))

    def later(self, step: int) -> Array:
        """The lanes whose elements at a step have L behind them."""
        n = self.lanes.active[step]
        return np.setdiff1d(np.arange(n), self.early(step)) if step < len(self.first) else np.arange(n)


def _highest(logs: Array, axis: int = 0) -> Array:
    """The largest along an axis, 0 where all are logs of zero."""
    top = logs.max(axis=axis)
    return np.where(top > NOTHING, top, 0.0)


class LogPairs:
    """As `Pairs`. Where edges are the same for all rows, the factors are scaled by the most probable state of the step
    before; else edges are the joint probabilities by row, made when they are read, and the factors are ones."""

    def __init__(self, r: LogRecursion, count: int, rows: int | None) -> None:
        self.r, self.lanes, self.q, self.rows = r, r.lanes, r.q, rows
        lanes = r.lanes
        self.first = [np.zeros((r.k, count)), *(np.zeros((r.states, r.k, count)) for _ in r.first[1:])]
        for step in range(min(len(r.first), lanes.steps)):
            n, there = lanes.active[step], r.early(step)
            found = r.pair(step).reshape(r.states, r.k, n) if step else r.q.steps[0]
            self.first[step][..., lanes.sequence[there]] = found[..., there]
        if isinstance(r.edge, RowEdges):
            self.behind, self.after = self._by_row()
        else:
            self.top = float(r.edge.max(initial=LOWEST))

    def _by_row(self) -> tuple[Array, Array]:
        """alpha of the elements before and `to`, (K^L, rows): LOWEST where fewer than L elements stand behind."""
        r, lanes = self.r, self.lanes
        behind = np.full((r.states, len(lanes.order) if self.rows is None else self.rows), LOWEST)
        for step in range(lanes.steps):
            n, there = lanes.active[step], r.later(step)
            behind[:, lanes.order[lanes.cuts[step] :][there]] = r.before(step, n)[:, there]
        return behind, lanes.scatter(r.to, self.rows)

    @property
    def edge(self) -> Array:
        """(K^L, K), where it is the same for all rows, or (K^L, K, copies, rows of one)."""
        if self.r.rows is None:
            assert not isinstance(self.r.edge, RowEdges)
            return np.exp(self.r.edge - self.top)
        return self.edge_of(slice(0, self.behind.shape[1] // self.lanes.copies))

    def edge_of(self, rows: Any) -> Array:
        """Of these rows of a copy, (K^L, K, copies, rows)."""
        r, times = self.r, self.lanes.copies
        assert isinstance(r.edge, RowEdges)
        logs = r.edge.logs(rows)
        behind, after = (a.reshape(r.states, times, -1)[..., rows] for a in (self.behind, self.after))
        shape = (r.k, r.middle, 1, times, -1), (1, r.middle, r.k, times, -1)
        joint = logs.reshape(r.k, r.middle, r.k, times, -1) + behind.reshape(shape[0])
        return np.exp(np.minimum(joint + after.reshape(shape[1]), 0.0)).reshape(logs.shape)

    def factors(self) -> tuple[Array, Array]:
        """`from` and `to` by row, (K^L, rows); `from` is 0 where an element has fewer than L behind it."""
        r, lanes = self.r, self.r.lanes
        if r.rows is not None:
            n = self.behind.shape[1]
            return np.ones((r.states, n)), np.ones((r.states, n))
        before, after = Laid(lanes, r.states), Laid(lanes, r.states)
        for step, (out, to) in enumerate(zip(before.steps, after.steps, strict=True)):
            n = out.shape[1]
            behind, joint = r.before(step, n), r.pair(step).sum(axis=2).reshape(r.states, n)
            scale = np.take_along_axis(behind, joint.argmax(axis=0)[None], axis=0)
            out[...] = np.exp(np.minimum(behind - scale, 700.0))
            to[...] = np.exp(np.minimum(r.to.steps[step] + scale + self.top, 700.0))
            if step < len(r.first):
                out[:, r.early(step)], to[:, r.early(step)] = 0.0, 0.0
        return lanes.scatter(before, self.rows), lanes.scatter(after, self.rows)

    def sums(self, weight: Array | None = None) -> Array:
        """The sum over all elements of a copy, (K^L, K, copies); a sequence counts `weight` times."""
        r, lanes = self.r, self.lanes
        out = np.zeros((r.states, r.k, lanes.copies))
        for step in range(lanes.steps):
            there = r.later(step)
            pair = r.pair(step).reshape(r.states, r.k, -1)[..., there]
            pair = pair if weight is None else pair * weight[lanes.sequence[there]]
            out += pair.reshape(r.states, r.k, len(there) // lanes.copies, lanes.copies).sum(axis=2)
        return out
