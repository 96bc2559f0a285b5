"""Posteriors of chains: probabilities of single elements and of neighbours, log-normalisers."""

# mypy: disable-error-code="no-any-return"
# (operators on arrays of any dtype, and all of scipy, are Any to mypy)

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from emdsl.runtime.data.columns import Array
from emdsl.runtime.discrete.edges import RowEdges, gates_alone, inside_gates
from emdsl.runtime.discrete.lanes import Laid, Lanes, out_of_lanes
from emdsl.runtime.discrete.logchains import LogPairs, LogRecursion, lanes_in_logs
from emdsl.runtime.discrete.recursion import LEAST, Recursion, backward, forward
from emdsl.runtime.numeric.numerics import honest
from emdsl.runtime.numeric.preparation import row_count

IN_LANES = 2**14  # rows of states of gates whose chains run side by side: of more, a step is not its overhead


def chain_posterior(
    node: Array | Laid, edge: Array | RowEdges, first: Sequence[Array], lanes: tuple[Lanes, Lanes], room: str = ""
) -> tuple[Array, Pairs | LogPairs]:
    """Posterior of every chain of a block.

    node : (K, rows) log weights of single elements, or these in lanes. edge : (K^L, K) log weights of an element given
    the L before it, the oldest first, or (K^L, K, rows) or `RowEdges` where they differ by row. first : first[0]
    (K, sequences), first[r] (K^L, K, sequences) for the positions r < L. Returns the log-normaliser of each sequence,
    and the probabilities of elements and neighbours, which stand in the lanes' own `room` until the next call.

    What is scaled step by step may have lost a state that was left with nearly nothing. That matters only where later
    data speak for it: alpha_k beta_k is its posterior, beta is known, and what alpha has lost is below 1e-160. So with
    beta below `LOUD` throughout, what was lost is below rounding, whatever the tables, their lag and their zeros.
    Otherwise everything is run again in logs.
    """
    count, rows = first[0].shape[-1], None if isinstance(node, Laid) else node.shape[-1]
    if not isinstance(edge, RowEdges) and edge.ndim == 3:
        edge = RowEdges.of(edge)
    with np.errstate(all="ignore"):
        r = Recursion(node, edge, first, lanes[1], room)
        parts = Pairs(r, *forward(r), count, rows)
        if r.inverse.all.max(initial=0.0) < 1 / LEAST and (r.even or parts.behind[2]):
            return honest(r.log_weights(count)), parts
        used = lanes_in_logs(lanes, r.states, r.k)
        logs = LogRecursion(out_of_lanes(node), edge, first, used)
        log_z = np.zeros(count)
        log_z[used.sequence] = np.where(np.isnan(logs.total), -np.inf, logs.total)
        return honest(log_z), LogPairs(logs, count, rows)


class Pairs:
    """Joint probabilities of L + 1 neighbours, as what stands before, an edge and what stands after.

    Of lanes that are copies (`Lanes.several`) rows are those of the first copy, then of the second, ...

    from[a, m] edge[a, m, c] to[m, c] is the probability of an element's state c with a, m before it, row by row;
    `first` are those at the first L positions: (K, sequences), then (K^L, K, sequences). What needs the recursion back
    is found when it is read: a density does not.
    """

    def __init__(self, r: Recursion, alpha: Laid, entry: Array, count: int, rows: int | None) -> None:
        self.r, self.lanes, self.alpha, self.entry = r, r.lanes, alpha, entry
        self.count, self.rows = count, rows

    @cached_property
    def behind(self) -> tuple[Laid, Laid, bool]:
        """As `backward` has it."""
        with np.errstate(all="ignore"):
            return backward(self.r, self.alpha)

    @property
    def q(self) -> Laid:
        return self.behind[0]

    @property
    def to(self) -> Laid:
        return self.behind[1]

    @cached_property
    def first(self) -> list[Array]:
        with np.errstate(all="ignore"):
            return _first_positions(self.r, self.alpha, self.to, self.q, self.count)

    @property
    def edge(self) -> Array:
        """(K^L, K), where it is the same for all rows, or (K^L, K, copies, rows of one)."""
        return self.r.w if self.r.rows is None else self.edge_of(slice(0, (self.rows or 0) // self.lanes.copies))

    def edge_of(self, rows: Any) -> Array:
        """Of these rows of a copy, (K^L, K, copies, rows), where edges differ by row."""
        assert self.r.rows is not None
        return self.r.rows.edges.weights(rows)[0]

    def factors(self) -> tuple[Array, Array]:
        """`from` and `to` by row, (K^L, rows); `from` is 0 where an element has fewer than L behind it."""
        inside = Laid(self.r.lanes, self.r.states)
        for step, out in enumerate(inside.steps):
            out[...] = self._before(step)
            if step < len(self.r.first):
                out[:, self.r.early_lanes(step)] = 0.0
        return self.r.lanes.scatter(inside, self.rows), self.r.lanes.scatter(self.to, self.rows)

    def _before(self, step: int) -> Array:
        return self.alpha.steps[step - 1][:, : self.r.lanes.active[step]] if step else self.entry

    def sums(self, weight: Array | None = None) -> Array:
        """The sum over all elements of a copy, (K^L, K, copies), where edges are the same for all; a sequence counts
        `weight` times."""
        r, lanes, weight = self.r, self.r.lanes, uneven(weight)
        out = np.zeros((lanes.copies, r.middle, r.k, r.k))
        for (a, b, n), left, right in zip(lanes.runs, self.alpha.runs, self.to.runs, strict=True):
            share = None if weight is None else weight[lanes.sequence[:n]]
            single = min(b, max(a + 1, len(r.first)))  # of these steps what stands before is not the run's own
            for step in range(a, single):
                before, after = self._before(step), right[step - a]
                if step < len(r.first) and lanes.copies > 1:
                    continue
                if step < len(r.first):  # only pieces of a sequence have L elements behind them
                    there = lanes.later[lanes.later < n]
                    before, after = before[:, there], after[:, there]
                    out += self._products(before, after, None if share is None else share[there])
                else:
                    out += self._products(before, after, share)
            if single < b:
                out += self._products(left[single - a - 1 : -1], right[single - a :], share)
        return self.edge[..., None] * out.transpose(2, 1, 3, 0).reshape(r.states, r.k, lanes.copies)

    def _products(self, before: Array, after: Array, share: Array | None) -> Array:
        """The sum over lanes of before[a, m] after[m, c], as (copies, m, a, c); steps may stand in front."""
        r, times = self.r, self.lanes.copies
        after = after if share is None else after * share
        steps, n = (1, *before.shape)[-3], before.shape[-1] // times
        left = before.reshape(steps, r.k, r.middle, n, times).transpose(0, 4, 2, 1, 3)
        right = after.reshape(steps, r.middle, r.k, n, times).transpose(0, 4, 1, 3, 2)
        return np.matmul(left, right).sum(axis=0)


def uneven(weight: Array | None) -> Array | None:
    """Weights, or None where all of them are 1."""
    return None if weight is None or (weight == 1.0).all() else weight


def chains(
    node: Array | Laid, edge: Array | Callable[[Any], Array], first: Sequence[Array], lanes: tuple[Lanes, Lanes],
    shape: tuple[int, int, int, bool], rng: Any = None,
) -> tuple[Array, Neighbours]:  # fmt: skip
    """`chain_posterior` for arrays with an axis for each latent, gate and plate.

    node : (*states, *gates, *home), or (states, rows) in lanes. edge : (*before, *states), with gates and home behind
    them where it differs by these (by row: all gates); what differs by row may be a function of rows that makes it.
    first[r] : (*before if r, *states, *gates, *outer). `shape` is the number of axes of states and gates, the elements
    that an edge looks back, and whether edges differ by row. With `rng`, a start is drawn: every element's states are
    taken as its node has them.
    """
    n, gates, depth, varies = shape
    states, kept, outer = first[0].shape[:n], first[0].shape[n : n + gates], first[0].shape[n + gates :]
    own = (len(node.lanes.order),) if isinstance(node, Laid) else node.shape[n + gates :]
    k, g = int(np.prod(states)), int(np.prod(kept))
    if rng is not None:
        first = [np.zeros_like(a) for a in first]

    def even(rows: Any) -> Array:
        return np.zeros((k ** (depth + 1), row_count(rows)))

    gated = isinstance(edge, np.ndarray) and not varies and edge.ndim > n * (depth + 1)
    nodes: Any = node if isinstance(node, Laid) else node.reshape(k, g, -1)
    alone = gated or isinstance(nodes, Laid)
    stretches = gates_alone(g) if alone else gates_together(g, nodes.shape[-1], lanes)
    edges = inside_gates(edge, n * (depth + 1), varies * len(own), (k**depth, k, g), stretches)
    if rng is not None:
        edges = [RowEdges(even, k**depth, k, e.gates) if isinstance(e, RowEdges) else np.zeros_like(e) for e in edges]
    shaped = edge.shape if isinstance(edge, np.ndarray) else (*states * (depth + 1), *own)
    begins = [a.reshape(*((k**depth,) if r else ()), k, g, -1) for r, a in enumerate(first)]
    made = []
    for (a, b), tie in zip(stretches, edges, strict=True):
        flat = nodes if isinstance(nodes, Laid) else nodes[:, a:b].reshape(k, -1)
        begin = [f[..., a:b, :].swapaxes(-1, -2).reshape(*f.shape[:-2], -1) for f in begins]
        used = lanes if b - a == 1 else (lanes[0].several(b - a, nodes.shape[-1]),) * 2
        made.append(chain_posterior(flat, tie, begin, used, str(a)))
    parts = Neighbours([m[1] for m in made], states, kept, own, depth, shaped, [a.shape for a in first])
    log_z = [m[0].reshape(-1, m[1].lanes.copies).T for m in made]
    return _beside(log_z, 0).reshape((*kept, *outer)), parts


def gates_together(g: int, rows: int, lanes: tuple[Lanes, Lanes]) -> list[tuple[int, int]]:
    """The stretches of states of the gates whose chains run as copies in the same lanes: where rows are few, a step
    takes as long for many. Pieces of long sequences, which are run through twice, are not copied."""
    whole, cut = lanes
    runs = -(-g * max(rows, 1) // IN_LANES)
    if runs >= g or runs * whole.steps > g * 2 * cut.steps:
        return gates_alone(g)
    return [(g * i // runs, g * (i + 1) // runs) for i in range(runs)]


def _beside(arrays: Sequence[Array], axis: int) -> Array:
    """Some states of the gates each, side by side; one alone as it is."""
    return np.concatenate(arrays, axis=axis) if len(arrays) > 1 else arrays[0]


class Neighbours:
    """`Pairs` inside each state of the gates, with an axis for each latent, gate and plate; made when they are read."""

    def __init__(
        self, made: Sequence[Pairs | LogPairs], states: tuple[int, ...], kept: tuple[int, ...], own: tuple[int, ...],
        depth: int, edge: tuple[int, ...], first: Sequence[tuple[int, ...]],
    ) -> None:  # fmt: skip
        self.made, self.states, self.kept, self.own = made, states, kept, own
        self.behind, self.earlier, self.shape = states * (depth - 1), states * depth, edge
        self.gated = len(edge) > len(states) * (depth + 1)
        self.known: tuple[Array, Array] | None = None
        self.single: Array | None = None
        self.early = first

    @cached_property
    def first(self) -> list[Array]:
        """Probabilities at the first positions, as the tables of these are shaped."""
        several = [[f.reshape(*f.shape[:-1], -1, p.lanes.copies).swapaxes(-1, -2) for f in p.first] for p in self.made]
        return [_beside([f[r] for f in several], -2).reshape(to) for r, to in enumerate(self.early)]

    def factors(self) -> tuple[Array, Array]:
        """`before` (*before, *gates, *home) and `after` (*before but the oldest, *states, *gates, *home)."""
        if self.known is None:
            made = [[_each_copy(p, f) for f in p.factors()] for p in self.made]
            before, after = (_beside([m[i] for m in made], 1) for i in (0, 1))
            rest = (*self.kept, *self.own)
            self.known = before.reshape((*self.earlier, *rest)), after.reshape((*self.behind, *self.states, *rest))
        return self.known

    @property
    def q(self) -> Array:
        """Probabilities of single elements, (*states, *gates, *home)."""
        if self.single is None:
            made = [_each_copy(p, p.lanes.scatter(p.q, p.rows)) for p in self.made]
            self.single = _beside(made, 1).reshape((*self.states, *self.kept, *self.own))
        return self.single

    def along(self, features: Laid, weight: Array | None = None) -> Array:
        """Sums of features over all rows, (states, features), without gates; a sequence counts `weight` times."""
        q, weight = self._in_lanes_of(features), uneven(weight)
        out = np.zeros((q.k, features.k))
        for run, given in zip(q.runs, features.runs, strict=True):
            share = run if weight is None else run * weight[q.lanes.sequence[: run.shape[2]]]
            out += np.matmul(share, given.transpose(0, 2, 1)).sum(axis=0)
        return out

    def counts(self, codes: Laid, size: int, weight: Array | None = None) -> Array:
        """How often each state meets each code, (states, size), without gates; a sequence counts `weight` times."""
        q, weight = self._in_lanes_of(codes), uneven(weight)
        out = np.zeros((q.k, size + 1))
        for run, at in zip(q.runs, codes.runs, strict=True):
            for k, row in enumerate(out):
                share = run[:, k] if weight is None else run[:, k] * weight[q.lanes.sequence[: run.shape[2]]]
                row += np.bincount(at.ravel(), weights=share.ravel(), minlength=size + 1)
        return out[:, 1:]

    def _in_lanes_of(self, other: Laid) -> Laid:
        """Probabilities of single elements in the lanes that data lie in: recursions in logs run in others."""
        q = self.made[0].q
        return q if q.lanes is other.lanes else other.lanes.gather(q.lanes.scatter(q))

    @property
    def before(self) -> Array:
        return self.factors()[0]

    @property
    def after(self) -> Array:
        return self.factors()[1]

    @property
    def edge(self) -> Array:
        """The tables between these, as `edge` is given, in probabilities."""
        tables = [p.edge for p in (self.made if self.gated else self.made[:1])]
        return _beside([t[:, :, None] if t.ndim == 2 else t for t in tables], 2).reshape(self.shape)

    def edge_of(self, rows: Any) -> Array:
        """Of these rows of the outermost plate: (*before, *states, *gates, *home)."""
        within = int(np.prod(self.own[1:]))
        flat = slice(rows.start * within, rows.stop * within)
        made = _beside([p.edge_of(flat) for p in self.made], 2)
        count = rows.stop - rows.start
        return made.reshape((*self.earlier, *self.states, *self.kept, count, *self.own[1:]))

    def sums(self, weight: Array | None = None) -> Array:
        """Joint probabilities of neighbours, summed over the rows: (*before, *states, *gates).

        weight : (*gates, *outer), how often each sequence counts.
        """
        shares: Sequence[Array | None] = [None] * len(self.made)
        if weight is not None:
            ends, flat = np.cumsum([p.lanes.copies for p in self.made]), weight.reshape(int(np.prod(self.kept)), -1)
            shares = [w.T.ravel() for w in np.split(flat, ends[:-1])]
        made = [p.sums(w) for p, w in zip(self.made, shares, strict=True)]
        return _beside(made, 2).reshape((*self.earlier, *self.states, *self.kept))


def _each_copy(p: Pairs | LogPairs, values: Array) -> Array:
    """(k, rows) -> (k, copies, rows of one)."""
    return values.reshape(len(values), p.lanes.copies, -1 if values.size else 0)


def _first_positions(r: Recursion, alpha: Laid, to: Laid, q: Laid, count: int) -> list[Array]:
    """Probabilities at the first L positions of each sequence: (K, sequences), then (K^L, K, sequences)."""
    lanes = r.lanes
    out = [np.zeros((r.k, count)), *(np.zeros((r.states, r.k, count)) for _ in r.first[1:])]
    if not lanes.steps:
        return out
    out[0][:, lanes.sequence[lanes.first]] = q.steps[0][:, lanes.first]
    for step in range(1, min(len(r.first), lanes.steps)):
        there = r.early_lanes(step)
        w, _ = r.start_table(step, there)
        pair = w * to.steps[step][:, there].reshape(r.middle, r.k, -1)
        pair = pair.reshape(r.states, r.k, -1) * alpha.steps[step - 1][:, None, there]
        out[step][..., lanes.sequence[there]] = pair / pair.sum(axis=(0, 1))
    return out
