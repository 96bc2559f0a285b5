"""Means along a chain of which most steps are alike: a recursion with constant coefficients, many steps at a time."""

# mypy: disable-error-code="no-any-return"
# (operators on arrays of any dtype, and all of scipy, are Any to mypy)

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from emdsl.runtime.data.columns import Array

WIDTH = 48  # numbers of a piece whose means are one matrix product; at least 4 blocks
VANISHED = 1e-30  # of a power of a matrix: what is left of so many steps before


def chain_means(stops: Sequence[int], p: Sequence[Array], g: Sequence[Array], h: Array) -> Array:
    """f_t+1 = h_t+1 - G_t' f_t forward, then m_t = P_t f_t - G_t m_t+1 backward: m (m, w).

    Of the blocks of a part, up to `stops`, the first ones have P_t and G_t of their own, and all others the last.
    """
    out, known = h.copy(), []
    starts = [0, *stops[:-1]]
    for start, stop, p_t, g_t in zip(starts, stops, p, g, strict=True):
        alike = start + len(p_t) - 1
        for t, gain in enumerate(g_t[:-1], start):
            out[t + 1] -= out[t] @ gain
        steps = SameSteps(p_t[-1], g_t[-1], out[alike:stop])
        known.append(steps)
        if stop < len(out):
            out[stop] -= steps.last @ g_t[-1]
    for start, stop, p_t, g_t, steps in list(zip(starts, stops, p, g, known, strict=True))[::-1]:
        alike = start + len(p_t) - 1
        steps.smooth(out[stop] if stop < len(out) else np.zeros(h.shape[1]))
        out[start:alike] = (out[start:alike, None] @ p_t[:-1])[:, 0]
        for t in range(alike - 1, start - 1, -1):
            out[t] -= g_t[t - start] @ out[t + 1]
    return out


class SameSteps:
    """Blocks with one P and one G, cut into pieces of a few: what enters each, `u` (n, w), is made its mean in place.

    Of a piece, what enters it goes to its means by one matrix, S (1 x P) S' with S[i, j] = (-G)^(j - i); what comes
    from before adds to what enters its first block, and what lies after it adds to its means.
    """

    def __init__(self, p: Array, g: Array, u: Array) -> None:
        """`last` : the message of the last block, f_n."""
        n, w = u.shape
        piece = max(4, WIDTH // w)
        self.u, self.p, self.g, self.pieces = u, p, g, 0 if n < 2 * piece else -(-n // piece)
        if not self.pieces:
            for t in range(1, n):
                u[t] -= u[t - 1] @ g
            self.last = u[-1]
            return
        self.power = matrix_powers(-g, piece)
        lags = np.concatenate([np.zeros((piece - 1, w, w)), self.power[:-1]])
        apart = np.arange(piece - 1, 2 * piece - 1) - np.arange(piece)[:, None]
        self.spread = lags[apart].transpose(0, 2, 1, 3).reshape(piece * w, piece * w)
        padded = np.zeros((self.pieces * piece, w))  # nothing enters before the first
        padded[len(padded) - n :] = u
        self.whole = padded.reshape(self.pieces, piece * w)
        ends = recurrence(self.power[-1], self.whole @ self.spread[:, -w:])
        self.whole[1:, :w] -= ends[:-1] @ g
        self.last = ends[-1]

    def smooth(self, after: Array) -> None:
        """Means in the place of `u`, from that of the block after these."""
        n, w = self.u.shape
        if not self.pieces:
            self.u[:] = self.u @ self.p
            for t in range(n - 1, -1, -1):
                self.u[t] -= self.g @ after
                after = self.u[t]
            return
        through = (self.spread.reshape(-1, w) @ self.p).reshape(self.spread.shape) @ self.spread.T
        means = self.whole @ through
        starts = means[::-1, :w].copy()
        starts[0] += self.power[-1] @ after
        recurrence(self.power[-1].T, starts)
        nexts = np.concatenate([after[None], starts[:-1]])[::-1]
        means += nexts @ self.power[:0:-1].transpose(2, 0, 1).reshape(w, -1)
        self.u[:] = means.reshape(-1, w)[-n:]


def recurrence(a: Array, u: Array) -> Array:
    """x_t = x_t-1 a + u_t, (n, w), with x_-1 = 0, in the place of u: sums over 2, 4, 8, ... steps, all side by side,
    until what lies further back is forgotten."""
    step = 1
    while step < len(u) and np.abs(a).max() > VANISHED:
        u[step:] += u[:-step] @ a
        a, step = a @ a, 2 * step
    return u


def matrix_powers(a: Array, most: int) -> Array:
    """a^0 to a^most, (most + 1, w, w): as many again at each step."""
    out = np.empty((most + 1, *a.shape))
    out[0], out[1:2] = np.eye(len(a)), a
    k = 1
    while k < most:
        more = min(k, most - k)
        np.matmul(out[1 : 1 + more], out[k], out=out[k + 1 : k + 1 + more])
        k += more
    return out
