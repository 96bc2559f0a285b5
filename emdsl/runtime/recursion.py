"""Forward and backward recursions along chains, many sequences side by side, in scaled probabilities.

A sequence that is much longer than the others is cut into pieces that run side by side; what enters a piece is
found from a short run over the end of the piece before it, and where the chain does not forget so fast, from
the pieces' transfer matrices. Rabiner (1989), Proc. IEEE 77, section III; pieces: Hassan, Sarkka and
Garcia-Fernandez (2021), IEEE Transactions on Signal Processing 69.
"""

# mypy: disable-error-code="no-any-return"
# (operators on arrays of any dtype, and all of scipy, are Any to mypy)

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from emdsl.runtime.columns import Array
from emdsl.runtime.lanes import Lanes
from emdsl.runtime.numerics import LOWEST

WARM = 64  # rows from which a piece's entry is guessed


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
