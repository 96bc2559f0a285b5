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


class LogRecursion:
    """Forward and backward on whole sequences, in logs; arguments as of `chain_posterior`.

    `alpha` and `to` are (K^L, lanes) by step: alpha[a, m] + edge[a, m, c] + to[m, c] is the log probability of an
    element with those before it. `q` (K, lanes) are probabilities of single elements, `total` the log-normalisers.
    """

    def __init__(self, node: Array, edge: Array | RowEdges, first: Sequence[Array], lanes: Lanes) -> None:
        self.lanes, self.first, self.edge = lanes, first, edge
        self.k = node.shape[0]
        self.states = self.k ** len(first)
        self.middle = self.states // self.k
        self.logs = lanes.gather(np.maximum(node, LOWEST))
        self.rows = Stepped(edge, lanes, scaled=False) if isinstance(edge, RowEdges) else None
        self.alpha, self.to, self.q = (Laid(lanes, k) for k in (self.states, self.states, self.k))
        self._forward()
        self._backward()

    def table(self, step: int, n: int) -> Array:
        """What ties a step to those before it, (a, m, c, lanes)."""
        shape = (self.k, self.middle, self.k, -1)
        if step < len(self.first):
            return self.first[step][..., self.lanes.sequence[:n]].reshape(shape)
        if self.rows is not None:
            return self.rows.at(step)[..., :n].reshape(shape)
        assert not isinstance(self.edge, RowEdges)
        return self.edge.reshape(shape)

    def before(self, step: int, n: int) -> Array:
        """alpha of the step before, (a, m, 1, lanes)."""
        return self.alpha.steps[step - 1][:, :n].reshape(self.k, self.middle, 1, n)

    def after(self, step: int, n: int) -> Array:
        """`to` of a step, (1, m, c, lanes)."""
        return self.to.steps[step].reshape(1, self.middle, self.k, n)

    def _forward(self) -> None:
        self.total = np.zeros(len(self.lanes.start))
        for step, (out, here) in enumerate(zip(self.alpha.steps, self.logs.steps, strict=True)):
            n = out.shape[1]
            if step:
                ahead = log_sum_exp(self.before(step, n) + self.table(step, n), 0)
                out[...] = np.maximum(ahead + here, LOWEST).reshape(self.states, n)
            else:
                out[...] = LOWEST
                out[: self.k] = here + self.first[0][:, self.lanes.sequence]
            ends = self.lanes.length[:n] == step + 1
            self.total[:n][ends] = log_sum_exp(out[:, ends], 0)

    def _backward(self) -> None:
        beta = np.zeros((self.states, 0))
        for step in range(self.lanes.steps - 1, -1, -1):
            n = self.lanes.active[step]
            beta = np.concatenate([beta, np.zeros((self.states, n - beta.shape[1]))], axis=1)
            belief = np.exp(np.minimum(self.alpha.steps[step] + beta - self.total[:n], 0.0))
            self.q.steps[step][...] = belief.reshape(self.middle, self.k, n).sum(axis=0)
            after = beta.reshape(1, self.middle, self.k, n) + self.logs.steps[step]
            self.to.steps[step][...] = after.reshape(self.states, n) - self.total[:n]
            if step:
                back = log_sum_exp(self.table(step, n) + after, 2)
                beta = np.maximum(back.reshape(self.states, n), LOWEST)

    def pair(self, step: int) -> Array:
        """Joint probabilities of the elements at a step with those before them, (a, m, c, lanes)."""
        n = self.lanes.active[step]
        return np.exp(np.minimum(self.before(step, n) + self.table(step, n) + self.after(step, n), 0.0))


class LogPairs:
    """As `Pairs`. Where edges are the same for all rows, the factors are scaled by the most probable state of the step
    before; else edges are the joint probabilities by row, made when they are read, and the factors are ones."""

    def __init__(self, r: LogRecursion, count: int, rows: int | None) -> None:
        self.r, self.lanes, self.q, self.rows = r, r.lanes, r.q, rows
        lanes = r.lanes
        self.first = [np.zeros((r.k, count)), *(np.zeros((r.states, r.k, count)) for _ in r.first[1:])]
        for step in range(min(len(r.first), lanes.steps)):
            n = lanes.active[step]
            found = r.pair(step).reshape(r.states, r.k, n) if step else r.q.steps[0]
            self.first[step][..., lanes.sequence[:n]] = found
        if isinstance(r.edge, RowEdges):
            self.behind, self.after = self._by_row()
        else:
            self.top = float(r.edge.max(initial=LOWEST))

    def _by_row(self) -> tuple[Array, Array]:
        """alpha of the elements before and `to`, (K^L, rows): LOWEST where fewer than L elements stand behind."""
        r, lanes = self.r, self.lanes
        behind = np.full((r.states, len(lanes.order) if self.rows is None else self.rows), LOWEST)
        for step in range(len(r.first), lanes.steps):
            n = lanes.active[step]
            behind[:, lanes.order[lanes.cuts[step] :][:n]] = r.alpha.steps[step - 1][:, :n]
        return behind, lanes.scatter(r.to, self.rows)

    @property
    def edge(self) -> Array:
        """(K^L, K), where it is the same for all rows, or (K^L, K, rows)."""
        if self.r.rows is None:
            assert not isinstance(self.r.edge, RowEdges)
            return np.exp(self.r.edge - self.top)
        return self.edge_of(slice(0, self.behind.shape[1]))

    def edge_of(self, rows: Any) -> Array:
        """Of these rows, (K^L, K, rows)."""
        r = self.r
        assert isinstance(r.edge, RowEdges)
        joint = r.edge.logs(rows).reshape(r.k, r.middle, r.k, -1) + self.behind[:, rows].reshape(r.k, r.middle, 1, -1)
        joint = np.exp(np.minimum(joint + self.after[:, rows].reshape(1, r.middle, r.k, -1), 0.0))
        return joint.reshape(r.states, r.k, -1)

    def factors(self) -> tuple[Array, Array]:
        """`from` and `to` by row, (K^L, rows); `from` is 0 where an element has fewer than L behind it."""
        r, lanes = self.r, self.r.lanes
        if r.rows is not None:
            n = self.behind.shape[1]
            return np.ones((r.states, n)), np.ones((r.states, n))
        before, after = Laid(lanes, r.states), Laid(lanes, r.states)
        for step, (out, to) in enumerate(zip(before.steps, after.steps, strict=True)):
            n = out.shape[1]
            if step < len(r.first):
                out[...], to[...] = 0.0, 0.0
                continue
            behind, joint = r.alpha.steps[step - 1][:, :n], r.pair(step).sum(axis=2).reshape(r.states, n)
            scale = np.take_along_axis(behind, joint.argmax(axis=0)[None], axis=0)
            out[...] = np.exp(np.minimum(behind - scale, 700.0))
            to[...] = np.exp(np.minimum(r.to.steps[step] + scale + self.top, 700.0))
        return lanes.scatter(before, self.rows), lanes.scatter(after, self.rows)

    def sums(self, weight: Array | None = None) -> Array:
        """The sum over all elements, (K^L, K); a sequence counts `weight` times."""
        out = np.zeros((self.r.states, self.r.k))
        for step in range(len(self.r.first), self.r.lanes.steps):
            pair = self.r.pair(step).reshape(self.r.states, self.r.k, -1)
            out += pair.sum(axis=2) if weight is None else pair @ weight[self.r.lanes.sequence[: pair.shape[2]]]
        return out
