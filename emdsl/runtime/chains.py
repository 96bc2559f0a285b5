"""Sum-product and max-product along chains: forward and backward over many sequences side by side.

Rows of all sequences stand one after the other. A sequence that is much longer than the others is cut into
pieces that run side by side; what enters a piece is found from a short run over the end of the piece before it,
and where the chain does not forget so fast, from the piece's transfer matrix.
Rabiner (1989), Proc. IEEE 77, section III; pieces: Hassan, Sarkka and Garcia-Fernandez (2021), IEEE TSP 69.
"""

# mypy: disable-error-code="no-any-return"
# (operators on arrays of any dtype, and all of scipy, are Any to mypy)

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import special

from emdsl.runtime.columns import Array
from emdsl.runtime.numerics import LOWEST, honest

WARM = 64  # rows from which a piece's entry is guessed
TINY = 1e-250  # what may have been lost to underflow
CERTAIN = 1e-80  # transitions above this forget everything smaller than rounding


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

    def gather(self, values: Array) -> Array:
        """(k, rows) -> (steps, k, lanes)."""
        out = np.empty((self.steps, *values.shape[:-1], len(self.start)))
        for place in np.ndindex(*values.shape[:-1]):
            out[(slice(None), *place)] = values[place][self.rows]
        return out

    def scatter(self, values: Array, rows: int) -> Array:
        """(steps, k, lanes) -> (k, rows); rows of no lane are 0."""
        out = np.zeros((values.shape[1], rows))
        target = self.rows[self.valid]
        for k in range(values.shape[1]):
            out[k, target] = values[:, k][self.valid]
        return out


def sequences(starts: Array, lengths: Array) -> tuple[Lanes, Lanes]:
    """Whole sequences as lanes, and the same cut where a few long ones would keep the others waiting."""
    starts, lengths = np.asarray(starts, int), np.asarray(lengths, int)
    longest = max(1, int(lengths.max(initial=0)))
    piece = max(128, int(lengths.sum()) // 1024)
    whole = Lanes(starts, lengths, longest)
    return whole, (whole if longest <= 2 * piece else Lanes(starts, lengths, piece))


class Recursion:
    """One chain's tables on some lanes, in probabilities: W = exp(edge), E = exp(node), each scaled to at most 1.

    The state behind a step are the last L elements, the oldest first: (K^L,).
    """

    def __init__(self, node: Array, edge: Array, first: Sequence[Array], lanes: Lanes) -> None:
        self.lanes, self.first = lanes, first
        self.k = node.shape[0]
        self.states = edge.shape[0]
        self.middle = self.states // self.k
        self.top = node.max(axis=0)
        self.e = lanes.gather(_exp(node - self.top))
        self.offset = float(edge.max(initial=LOWEST))
        self.w = np.exp(edge - self.offset)
        self.fixed = self.w.ndim == 2
        if not self.fixed:
            self.w = lanes.gather(self.w)
        self.scale = np.zeros((lanes.steps, len(lanes.start)))
        self.mass = np.ones((lanes.steps, len(lanes.start)))

    def ahead(self, alpha: Array, step: int) -> Array:
        """sum_a W[a, m, c] alpha[a, m]: what the states before a step say of those at it."""
        n = alpha.shape[-1]
        w = self.w if self.fixed else self.w[step][..., :n]
        if self.middle == 1:
            return w.T @ alpha if self.fixed else np.einsum("acn,an->cn", w, alpha)
        w = w.reshape(self.k, self.middle, self.k, *w.shape[2:])
        spec = "amc,amn->mcn" if self.fixed else "amcn,amn->mcn"
        return np.einsum(spec, w, alpha.reshape(self.k, self.middle, n)).reshape(self.states, n)

    def behind(self, after: Array, step: int) -> Array:
        """sum_c W[a, m, c] after[m, c]: what the states at a step say of those before it."""
        n = after.shape[-1]
        w = self.w if self.fixed else self.w[step][..., :n]
        if self.middle == 1:
            return w @ after if self.fixed else np.einsum("acn,cn->an", w, after)
        w = w.reshape(self.k, self.middle, self.k, *w.shape[2:])
        spec = "amc,mcn->amn" if self.fixed else "amcn,mcn->amn"
        return np.einsum(spec, w, after.reshape(self.middle, self.k, n)).reshape(self.states, n)

    def seen(self, values: Array, step: int) -> Array:
        """values[m, c] E[c]."""
        n = values.shape[-1]
        if self.middle == 1:
            return values * self.e[step][:, :n]
        return (values.reshape(self.middle, self.k, n) * self.e[step][:, :n]).reshape(self.states, n)

    def begin(self, node: Array) -> tuple[Array, Array]:
        """States at the starts of sequences, and the logs of what they were divided by."""
        lanes = self.lanes
        logs = node[:, lanes.start[lanes.first]] + self.first[0][:, lanes.sequence[lanes.first]]
        top = logs.max(axis=0)
        alpha = np.zeros((self.states, len(lanes.first)))
        alpha[: self.k] = np.exp(logs - top)
        return alpha, top - self.top[lanes.start[lanes.first]]

    def early(self, alpha: Array, step: int, lanes: Array) -> tuple[Array, Array]:
        """As `ahead` at a position that has fewer than L elements behind it; and the logs of its scale."""
        w, top = self.start_table(step, lanes)
        w = w.reshape(self.k, self.middle, self.k, -1)
        got = np.einsum("amcn,amn->mcn", w, alpha.reshape(self.k, self.middle, -1))
        return got.reshape(self.states, -1), top

    def start_table(self, step: int, lanes: Array) -> tuple[Array, Array]:
        """exp of the table that holds at an early position, (K^L, K, lanes), each lane divided by exp of its top."""
        logs = self.first[step][..., self.lanes.sequence[lanes]]
        top = logs.max(axis=(0, 1))
        return np.exp(logs - top), top


def _exp(values: Array) -> Array:
    """exp, in place, with everything below -700 as 0: there it is slow, and nothing."""
    small = values < -700.0
    np.maximum(values, -700.0, out=values)
    np.exp(values, out=values)
    values[small] = 0.0
    return values


def forward(r: Recursion, node: Array) -> Array:
    """alpha[l] = p(states at l | data up to l), (steps, K^L, lanes); log scales go to r.scale."""
    lanes = r.lanes
    alpha = np.zeros((lanes.steps, r.states, len(lanes.start)))
    entry, borders = np.zeros((r.states, len(lanes.start))), None
    if lanes.later.size:
        guess = np.full((r.states, lanes.full), 1.0 / r.states)
        for step in range(max(1, lanes.steps - WARM), lanes.steps):
            guess = _to_one(r.seen(r.ahead(guess, step), step))
        borders = guess[:, lanes.before[lanes.later]]
        entry[:, lanes.later] = borders
    _forward(r, node, alpha, entry)
    if borders is not None:
        ends = alpha[-1][:, lanes.before[lanes.later]]
        if not np.abs(ends - borders).max(initial=0) < 1e-13:
            entry[:, lanes.later] = _stitched(r, alpha[-1])
            _forward(r, node, alpha, entry)
    return alpha


def _forward(r: Recursion, node: Array, alpha: Array, entry: Array) -> None:
    lanes = r.lanes
    here = r.seen(r.ahead(entry, 0), 0) if lanes.later.size else np.zeros_like(entry)
    offset = np.full(len(lanes.start), r.offset)
    here[:, lanes.first], offset[lanes.first] = r.begin(node)
    for step in range(lanes.steps):
        n = lanes.active[step]
        if step:
            ahead = r.ahead(here[:, :n], step)
            offset = np.full(n, r.offset)
            if step < len(r.first):
                early = lanes.first[lanes.first < n]
                ahead[:, early], offset[early] = r.early(here[:, early], step, early)
            here = r.seen(ahead, step)
        mass = here[:, :n].sum(axis=0)
        with np.errstate(divide="ignore"):
            r.scale[step, :n] = np.log(mass) + offset[:n]
        r.mass[step, :n] = mass
        here = here[:, :n] / np.where(mass > 0, mass, 1.0)
        alpha[step, :, :n] = here


def _to_one(values: Array) -> Array:
    mass = values.sum(axis=0)
    return values / np.where(mass > 0, mass, 1.0)


def _transfer(r: Recursion, backward: bool) -> Array:
    """Of every lane of full length, the matrix that takes what enters it to what leaves it: (K^L, K^L, lanes)."""
    full = r.lanes.full
    out = np.repeat(np.eye(r.states)[:, :, None], full, axis=2)
    for step in range(r.lanes.steps):
        at = r.lanes.steps - 1 - step if backward else step
        for i in range(r.states):
            out[:, i] = r.behind(r.seen(out[:, i], at), at) if backward else r.seen(r.ahead(out[:, i], at), at)
        out /= np.maximum(out.max(axis=(0, 1)), 1e-300)
    return out


def _stitched(r: Recursion, ends: Array) -> Array:
    """What enters each piece, the pieces' transfer matrices applied one after the other."""
    lanes = r.lanes
    through = _transfer(r, backward=False)
    left = ends.copy()
    for lane in sorted(lanes.later, key=lambda j: lanes.start[j]):
        previous = lanes.before[lane]
        if lanes.before[previous] >= 0:
            left[:, previous] = _to_one(through[:, :, previous] @ left[:, lanes.before[previous]])
    return left[:, lanes.before[lanes.later]]


def backward(r: Recursion) -> Array:
    """beta[l], proportional to p(data after l | states at l), (steps, K^L, lanes)."""
    lanes = r.lanes
    beta = np.ones((lanes.steps, r.states, len(lanes.start)))
    exits = np.ones((r.states, len(lanes.start)))
    if not lanes.later.size:
        _backward(r, beta, exits)
        return beta
    guess = np.ones((r.states, 0))
    for step in range(min(WARM, lanes.steps) - 1, -1, -1):
        n = lanes.active[step]
        guess = np.concatenate([guess, np.ones((r.states, n - guess.shape[1]))], axis=1)
        guess = _to_one(r.behind(r.seen(guess, step), step))
    exits[:, lanes.before[lanes.later]] = guess[:, lanes.later]
    entered = _backward(r, beta, exits)
    if not np.abs(entered[:, lanes.later] - guess[:, lanes.later]).max(initial=0) < 1e-13:
        through = _transfer(r, backward=True)
        for lane in sorted(lanes.later, key=lambda j: -lanes.start[j]):
            if lane < lanes.full and (lanes.before == lane).any():
                entered[:, lane] = _to_one(through[:, :, lane] @ exits[:, lane])
            exits[:, lanes.before[lane]] = entered[:, lane]
        _backward(r, beta, exits)
    return beta


def _backward(r: Recursion, beta: Array, exits: Array) -> Array:
    """Fills beta from what leaves each lane; returns what enters them."""
    lanes = r.lanes
    here = np.ones((r.states, 0))
    for step in range(lanes.steps - 1, -1, -1):
        n = lanes.active[step]
        here = np.concatenate([here, exits[:, here.shape[1] : n]], axis=1) if n > here.shape[1] else here
        beta[step, :, :n] = here
        if step and step < len(r.first):
            early = lanes.first[lanes.first < n]
            w, _ = r.start_table(step, early)
            seen = r.seen(here, step)
            here = r.behind(seen, step)
            part = seen[:, early].reshape(r.middle, r.k, -1)
            w = w.reshape(r.k, r.middle, r.k, -1)
            here[:, early] = np.einsum("amcn,mcn->amn", w, part).reshape(r.states, -1)
        else:
            here = r.behind(r.seen(here, step), step)
        here = _to_one(here)
    return here


def chain_posterior(
    node: Array, edge: Array, first: Sequence[Array], lanes: tuple[Lanes, Lanes]
) -> tuple[Array, Array, dict[str, Any]]:
    """Posterior of every chain of a block.

    node : (K, rows) log weights of single elements. edge : (K^L, K) or (K^L, K, rows) log weights of an element
    given the L before it, the oldest first. first : first[0] (K, sequences), first[r] (K^L, K, sequences) for the
    positions r < L. Returns q (K, rows); the log-normaliser of each sequence; and `from` (K^L, rows),
    `edge`, `to` (K^L, rows), whose product is the joint probability of L + 1 elements, and `first`.
    """
    rows = node.shape[-1]
    count = first[0].shape[-1]
    r = Recursion(node, edge, first, lanes[1])
    alpha, beta = forward(r, node), backward(r)
    if _lost(r, node, alpha, beta):
        r = Recursion(node, edge, first, lanes[0])
        alpha, beta = _in_logs(r, node, edge)
    both = alpha * beta
    total = both.sum(axis=1)
    safe = np.where(total > 0, total, 1.0)
    q = (both / safe[:, None]).reshape(r.lanes.steps, r.middle, r.k, -1).sum(axis=1)
    scale = np.where(r.lanes.valid, r.scale, 0.0).sum(axis=0)
    log_z = np.bincount(r.lanes.sequence, weights=scale, minlength=count) + _node_tops(r, count)
    parts = {"edge": r.w if r.fixed else np.exp(edge - r.offset), "first": _first_positions(r, alpha, beta, q, count)}
    parts["from"], parts["to"] = _pair_factors(r, alpha, beta, r.mass * total, rows)
    return r.lanes.scatter(q, rows), honest(np.where(np.isnan(log_z), -np.inf, log_z)), parts


def chains(
    node: Array, edge: Array, first: Sequence[Array], lanes: tuple[Lanes, Lanes], shape: tuple[int, int, int, bool],
    rng: Any = None,
) -> tuple[Array, Array, dict[str, Any]]:  # fmt: skip
    """`chain_posterior` for arrays with an axis for each latent, gate and plate.

    node : (*states, *gates, *home), edge : (*before, *states), with gates and home behind them where it differs by
    these, first[r] : (*before if r, *states, *gates, *outer). `shape` is the number of axes of states and gates, the
    elements that an edge looks back, and whether edges differ by row. With `rng`, a start is drawn: every
    element's states are taken as its node has them.
    """
    n, gates, depth, varies = shape
    states, kept, own = node.shape[:n], node.shape[n : n + gates], node.shape[n + gates :]
    k, g = int(np.prod(states)), int(np.prod(kept))
    gated = edge.ndim - n * (depth + 1) - varies * len(own) > 0
    flat = edge.reshape(k**depth, k, g if gated else 1, *((-1,) if varies else ()))
    if rng is not None:
        flat, first = np.zeros_like(flat), [np.zeros_like(a) for a in first]
    nodes = node.reshape(k, g, -1)
    begins = [a.reshape(*((k**depth,) if r else ()), k, g, -1) for r, a in enumerate(first)]
    made = [
        chain_posterior(nodes[:, j], flat[:, :, j if gated else 0], [b[..., j, :] for b in begins], lanes)
        for j in range(g)
    ]
    behind, before, outer = states * (depth - 1), states * depth, first[0].shape[n + gates :]
    q, log_z = np.stack([q for q, _, _ in made], axis=1), np.stack([a for _, a, _ in made])
    several = range(g if gated else 1)
    return q.reshape(node.shape), log_z.reshape((*kept, *outer)), {
        "from": np.stack([p["from"] for _, _, p in made], axis=1).reshape((*before, *kept, *own)),
        "to": np.stack([p["to"] for _, _, p in made], axis=1).reshape((*behind, *states, *kept, *own)),
        "edge": np.stack([made[j][2]["edge"] for j in several], axis=2).reshape(edge.shape),
        "first": [np.stack([p["first"][r] for _, _, p in made], axis=-2).reshape(a.shape) for r, a in enumerate(first)],
    }  # fmt: skip


def _node_tops(r: Recursion, count: int) -> Array:
    """The sum of what was taken out of the nodes, by sequence."""
    tops = np.where(r.lanes.valid, r.top[r.lanes.rows], 0.0).sum(axis=0)
    return np.bincount(r.lanes.sequence, weights=tops, minlength=count)


def _pair_factors(r: Recursion, alpha: Array, beta: Array, mass: Array, rows: int) -> tuple[Array, Array]:
    """`from` and `to` by row; 0 where an element has fewer than L behind it. `mass` is what their product sums to."""
    lanes, n = r.lanes, len(r.lanes.start)
    after = (beta.reshape(lanes.steps, r.middle, r.k, n) * r.e[:, None]).reshape(beta.shape)
    after /= np.where(mass > 0, mass, 1.0)[:, None]
    inside = np.zeros_like(alpha)
    if lanes.steps:
        inside[1:] = alpha[:-1]
        inside[0][:, lanes.later] = alpha[-1][:, lanes.before[lanes.later]]
    for step in range(min(len(r.first), lanes.steps)):
        inside[step][:, lanes.first] = 0.0
        after[step][:, lanes.first] = 0.0
    return lanes.scatter(inside, rows), lanes.scatter(after, rows)


def _first_positions(r: Recursion, alpha: Array, beta: Array, q: Array, count: int) -> list[Array]:
    """Probabilities at the first L positions of each sequence: (K, sequences), then (K^L, K, sequences)."""
    lanes = r.lanes
    out = [np.zeros((r.k, count)), *(np.zeros((r.states, r.k, count)) for _ in r.first[1:])]
    if not lanes.steps:
        return out
    out[0][:, lanes.sequence[lanes.first]] = q[0][:, lanes.first]
    for step in range(1, min(len(r.first), lanes.steps)):
        there = lanes.first[lanes.length[lanes.first] > step]
        w, _ = r.start_table(step, there)
        after = r.seen(beta[step], step)[:, there].reshape(r.middle, r.k, -1)
        pair = w.reshape(r.k, r.middle, r.k, -1) * after
        pair = pair.reshape(r.states, r.k, -1) * alpha[step - 1][:, None, there]
        out[step][..., lanes.sequence[there]] = pair / pair.sum(axis=(0, 1))
    return out


def _lost(r: Recursion, node: Array, alpha: Array, beta: Array) -> bool:
    """Whether underflow may have lost a state that matters.

    Where every transition is above CERTAIN, a state that is left with less than the square of it can be
    replaced by a better one on every path through it. Else zeros must be the structure's own.
    """
    if not np.isfinite(r.scale[r.lanes.valid]).all():
        return True
    if r.w.min(initial=1.0) >= CERTAIN:
        return False
    possible = r.lanes.gather((node - r.top > LOWEST / 2).astype(float))
    for values, step_of in ((alpha, 1), (beta, -1)):
        small = (values < TINY) & r.lanes.valid[:, None]
        if not small.any():
            continue
        if not _structural(r, small, possible, step_of):
            return True
    return False


def _structural(r: Recursion, small: Array, possible: Array, step_of: int) -> bool:
    """Whether all small entries are states that no path of nonzero weight reaches (exactly, by their pattern)."""
    if r.middle > 1 or not r.fixed or r.lanes.later.size:
        return False
    allowed = (r.w > 0).astype(float)
    steps = range(r.lanes.steps) if step_of > 0 else range(r.lanes.steps - 1, -1, -1)
    reached = np.ones((r.states, len(r.lanes.start)))
    for step in steps:
        if step_of > 0:
            if step:
                reached = ((allowed.T @ reached) > 0).astype(float)
            else:
                reached[:, r.lanes.first] = r.first[0][:, r.lanes.sequence[r.lanes.first]] > LOWEST / 2
            reached = reached * possible[step]
            if (small[step] & (reached > 0)).any():
                return False
        else:
            ends = r.lanes.length == step + 1
            reached[:, ends] = 1.0
            if (small[step] & (reached > 0)).any():
                return False
            reached = ((allowed @ (reached * possible[step])) > 0).astype(float)
    return True


def _in_logs(r: Recursion, node: Array, edge: Array) -> tuple[Array, Array]:
    """alpha and beta by recursions in logs, for chains whose probabilities span more than a float holds."""
    lanes, n = r.lanes, len(r.lanes.start)
    logs = lanes.gather(np.maximum(node, LOWEST))
    table = edge[:, :, None] if edge.ndim == 2 else None
    rows = None if table is not None else lanes.gather(edge)
    alpha = np.full((lanes.steps, r.states, n), LOWEST)
    beta = np.zeros((lanes.steps, r.states, n))
    shape = (r.k, r.middle, r.k, -1)

    def at(step: int, early: bool) -> Array:
        if early:
            return r.first[step][..., lanes.sequence].reshape(shape)
        return (table if rows is None else rows[step]).reshape(shape)  # type: ignore[union-attr]

    for step in range(lanes.steps):
        if step == 0:
            alpha[0, : r.k] = logs[0] + r.first[0][:, lanes.sequence]
            continue
        before = alpha[step - 1].reshape(r.k, r.middle, 1, n)
        ahead = special.logsumexp(before + at(step, step < len(r.first)), axis=0)
        alpha[step] = np.maximum(ahead + logs[step], LOWEST).reshape(r.states, n)
    for step in range(lanes.steps - 1, 0, -1):
        after = beta[step].reshape(1, r.middle, r.k, n) + logs[step]
        back = special.logsumexp(at(step, step < len(r.first)) + after, axis=2)
        beta[step - 1] = np.where(lanes.valid[step], np.maximum(back.reshape(r.states, n), LOWEST), 0.0)
    last = lanes.length - 1
    total = special.logsumexp(alpha[last, :, np.arange(n)], axis=1)
    r.scale = np.zeros((lanes.steps, n))
    r.scale[0] = honest(total) - np.where(lanes.valid, r.top[lanes.rows], 0.0).sum(axis=0)
    top = alpha.max(axis=1, keepdims=True)
    alpha, beta = np.exp(alpha - top), np.exp(np.minimum(beta - (total - top), 700.0))
    for step in range(1, lanes.steps):
        r.mass[step] = (r.ahead(alpha[step - 1], step) * r.seen(beta[step], step)).sum(axis=0)
    r.mass /= np.maximum((alpha * beta).sum(axis=1), TINY)
    return alpha, beta


def most_probable_path(node: Array, edge: Array, first: Sequence[Array], lanes: tuple[Lanes, Lanes]) -> Array:
    """The path of largest weight through each sequence, (rows,) (Viterbi 1967); arguments as `chain_posterior`."""
    whole = lanes[0]
    k, states = node.shape[0], edge.shape[0]
    middle, n = states // k, len(whole.start)
    logs, shape = whole.gather(node), (k, middle, k, -1)
    rows = None if edge.ndim == 2 else whole.gather(edge)
    best = np.full((states, n), LOWEST)
    back = np.zeros((whole.steps, middle, k, n), np.int64)
    ends = np.zeros((states, n))
    for step in range(whole.steps):
        if step == 0:
            best[:k] = logs[0] + first[0][:, whole.sequence]
        else:
            early = step < len(first)
            table = first[step][..., whole.sequence] if early else (edge[:, :, None] if rows is None else rows[step])
            score = best.reshape(k, middle, 1, n) + table.reshape(shape)
            back[step] = score.argmax(axis=0)
            best = (score.max(axis=0) + logs[step]).reshape(states, n)
        done = whole.length == step + 1
        ends[:, done] = best[:, done]
    path = np.zeros(node.shape[-1], np.int64)
    here = np.zeros(n, int)
    for step in range(whole.steps - 1, -1, -1):
        here = np.where(whole.length == step + 1, ends.argmax(axis=0), here)
        running = whole.valid[step]
        path[whole.rows[step][running]] = here[running] % k
        oldest = back[step].reshape(states, n)[here, np.arange(n)]
        here = oldest * middle + here // k
    return path


def paths(
    node: Array, edge: Array, first: Sequence[Array], lanes: tuple[Lanes, Lanes], shape: tuple[int, int, int, bool],
    given: Sequence[Array],
) -> list[Array]:  # fmt: skip
    """The most probable path of each latent of a chain, (*home,), given the gates' states; arguments as `chains`."""
    n, gates, depth, varies = shape
    states, kept, own = node.shape[:n], node.shape[n : n + gates], node.shape[n + gates :]
    k, g = int(np.prod(states)), int(np.prod(kept))
    gated = edge.ndim - n * (depth + 1) - varies * len(own) > 0
    flat = edge.reshape(k**depth, k, g if gated else 1, *((-1,) if varies else ()))
    nodes = node.reshape(k, g, -1)
    begins = [a.reshape(*((k**depth,) if r else ()), k, g, -1) for r, a in enumerate(first)]
    found = [
        most_probable_path(nodes[:, j], flat[:, :, j if gated else 0], [b[..., j, :] for b in begins], lanes)
        for j in range(g)
    ]
    which = np.ravel_multi_index([np.broadcast_to(a, own).ravel() for a in given], kept) if gates else 0
    path = np.choose(which, found) if gates else found[0]
    return [p.reshape(own) for p in np.unravel_index(path, states)]
