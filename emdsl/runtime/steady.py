"""Gaussian chains whose precision repeats: what elimination leaves of it converges, and is constant from there on.

    L_t = J_tt - B_t-1 inv(L_t-1) B_t-1',   B_t = J_t+1,t       (block Cholesky: the Riccati recursion in other letters)

On a run of equal blocks L_t comes to the fixed point X = D - B inv(X) B', at a rate that X itself tells. Steps are
taken one by one until then; from there on nothing is left to compute but means, whose recursion has constant
coefficients and is taken many steps at a time.
"""

# mypy: disable-error-code="no-any-return"
# (operators on arrays of any dtype, and all of scipy, are Any to mypy)

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from emdsl.runtime.columns import Array
from emdsl.runtime.numerics import cholesky, inverse

SHORTEST = 200  # blocks of a chain, below which nothing is gained
MOST_RUNS = 12  # runs, at most
EQUAL = 8 * float(np.finfo(float).eps)  # of its size: how far an entry may be off that is called the same
START = 1000  # microseconds of this way, whatever is to be done
STEP = 60  # and for each step that is taken alone
NEAR = 1e-14  # the same of L_t and X, and of one covariance and the next


class Part(NamedTuple):
    """Blocks `start` to `stop` - 1 with one L_t and one B_t; `steps` is how many covariances take to settle there."""

    start: int
    stop: int
    steps: int = 0


def steady_moments(diagonal: Array, below: Array, h: Array) -> tuple[Array, Array, Array, Array] | None:
    """What `tridiagonal_moments` returns, where most of a long chain repeats; None where it does not."""
    m = len(diagonal)
    runs = repeated(diagonal, below) if m >= SHORTEST else []
    limits = [fixed_point(diagonal[a], below[a]) if b - a > SHORTEST // 4 else None for a, b in runs]
    single = sum(b - a if x is None else min(b - a, x[1]) for (a, b), x in zip(runs, limits, strict=True))
    if not runs or START + STEP * single > m * (0.3 + 0.25 * h.shape[1] ** 2):  # the time of cyclic reduction
        return None
    left, parts = np.empty_like(diagonal), []
    for (a, b), limit in zip(runs, limits, strict=True):
        settled = _eliminate(left, diagonal, below, (a, b), limit)
        if settled is None:
            return None
        parts += [Part(t, t + 1) for t in range(a, settled)]
        if limit is not None and settled < b:
            parts.append(Part(settled, b, limit[1]))
    low = cholesky(left[[p.start for p in parts]])
    log_det = np.repeat(2 * np.log(low.diagonal(0, 1, 2)), [p.stop - p.start for p in parts], axis=0)
    p = inverse(low)
    g = p[:-1] @ below[[p.start for p in parts[:-1]]].swapaxes(1, 2)
    v, c = _covariances(parts, p, g, m)
    return v, c, _means(parts, p, g, h), log_det


def repeated(diagonal: Array, below: Array) -> list[tuple[int, int]]:
    """The runs of blocks with one J_tt and one J_t+1,t, the last block a run of its own; none where they are many."""
    m, start = len(diagonal), 0
    out: list[tuple[int, int]] = []
    tries = (k * m // 5 for k in range(1, 5))
    if not any(
        _alike(diagonal[t : t + 2], diagonal[t]) + _alike(below[t : t + 2], below[t], diagonal[t]) == 4 for t in tries
    ):
        return []
    while start < m - 1:
        if len(out) == MOST_RUNS:
            return []
        a = _alike(diagonal[start : m - 1], diagonal[start])
        out.append((start, start + min(a, _alike(below[start : start + a], below[start], diagonal[start]))))
        start = out[-1][1]
    return [*out, (m - 1, m)]


def _alike(blocks: Array, first: Array, scale: Array | None = None) -> int:
    """How many blocks there are before one that is not as `first`, as well as rounding tells."""
    size = np.sqrt(np.abs((first if scale is None else scale).diagonal()))
    off = np.abs(blocks - first) > EQUAL * size[:, None] * size
    return int(off.argmax()) // first.size if off.any() else len(blocks)


def fixed_point(d: Array, b: Array) -> tuple[Array, int] | None:
    """X = D - B inv(X) B' (the largest), and in how many steps it is reached; None where that takes too many.

    By doubling (Meini 2002, Mathematics of Computation 71, algorithm 3.1); plain steps then mend its rounding.
    """
    x, q, a = d, d, b.T
    for _ in range(40):
        try:
            pa = np.linalg.solve(q, np.concatenate([a, a.T], axis=1))
        except np.linalg.LinAlgError:
            return None
        w = len(d)
        down = a.T @ pa[:, :w]
        x, q, a = x - down, q - down - a @ pa[:, w:], a @ pa[:, :w]
        if not np.abs(down).max() > 1e-17 * np.abs(x).max():
            break
    for _ in range(3):
        x = d - b @ np.linalg.solve(x, b.T)
        x = 0.5 * (x + x.T)
    rate = float(np.abs(np.linalg.eigvals(np.linalg.solve(x, b.T))).max())
    if not rate < 0.999 or not np.isfinite(x).all():
        return None
    return x, 4 + math.ceil(19 / -math.log(max(rate, 1e-8)))  # rate ** (2 steps) is 3e-17


def _eliminate(
    left: Array, diagonal: Array, below: Array, run: tuple[int, int], limit: tuple[Array, int] | None
) -> int | None:
    """Fills L_t on a run; where it has settled (the run's end: nowhere), None where it does not when it should."""
    a, b = run
    size = None if limit is None else NEAR * np.sqrt(np.outer(limit[0].diagonal(), limit[0].diagonal()))
    for t in range(a, b):
        left[t] = diagonal[t]
        if t:
            left[t] -= below[t - 1] @ np.linalg.solve(left[t - 1], below[t - 1].T)
            left[t] = 0.5 * (left[t] + left[t].T)
        if limit is not None and t > a and (np.abs(left[t] - limit[0]) <= size).all():
            left[t:b] = limit[0]
            return t
        if limit is not None and t - a > 2 * limit[1] + 20:
            return None
    return b


def _covariances(parts: Sequence[Part], p: Array, g: Array, m: int) -> tuple[Array, Array]:
    """V_t = inv(L_t) + G_t V_t+1 G_t', and of each block with the one before it, C_t = - V_t+1 G_t'."""
    w = p.shape[1]
    v, c = np.empty((m, w, w)), np.empty((m - 1, w, w))
    v[m - 1] = here = p[-1]
    for part, p_t, g_t in zip(parts[-2::-1], p[-2::-1], g[::-1], strict=True):
        for t in range(part.stop - 1, part.start - 1, -1):
            after, c[t] = here, -(here @ g_t.T)
            here = p_t - g_t @ c[t]
            v[t] = here = 0.5 * (here + here.T)
            if part.stop - t > part.steps > 0:
                size = np.sqrt(np.outer(here.diagonal(), here.diagonal()))
                if (np.abs(here - after) <= NEAR * size).all():
                    v[part.start : t], c[part.start : t] = here, -(here @ g_t.T)
                    break
    return v, c


def _means(parts: Sequence[Part], p: Array, g: Array, h: Array) -> Array:
    """f_t+1 = h_t+1 - G_t' f_t forward, then m_t = inv(L_t) f_t - G_t m_t+1 backward."""
    f, out = h.copy(), np.empty_like(h)
    for part, g_t in zip(parts[:-1], g, strict=True):
        a, b = part.start, part.stop
        f[a + 1 : b + 1] = recurrence(-g_t.T, h[a + 1 : b + 1], f[a])
    for part, p_t in zip(parts, p, strict=True):
        out[part.start : part.stop] = f[part.start : part.stop] @ p_t
    for part, g_t in zip(parts[-2::-1], g[::-1], strict=True):
        a, b = part.start, part.stop
        out[a:b] = recurrence(-g_t, out[a:b][::-1], out[b])[::-1]
    return out


def recurrence(a: Array, u: Array, start: Array) -> Array:
    """x_t = a x_t-1 + u_t, (n, w), with x_-1 = start: pieces of a few steps side by side, then their ends likewise."""
    n, w = u.shape
    piece = max(4, min(16, 256 // w))
    if n <= piece:
        out = np.empty((n, w))
        for t in range(n):
            out[t] = start = a @ start + u[t]
        return out
    powers = np.zeros((piece + 2, w, w))  # of a, transposed; the last stays 0
    powers[0] = np.eye(w)
    for k in range(piece):
        powers[k + 1] = powers[k] @ a.T
    later = np.arange(piece) - np.arange(piece)[:, None]
    spread = powers[np.where(later < 0, piece + 1, later)].transpose(0, 2, 1, 3)  # of u in a piece, by step, to x in it
    count = -(-n // piece)
    padded = np.zeros((count * piece, w))
    padded[:n] = u
    own = padded.reshape(count, piece * w) @ spread.reshape(piece * w, piece * w)
    ends = recurrence(powers[piece].T, own[:, -w:], start)
    before = np.concatenate([start[None], ends[:-1]])
    own += before @ powers[1 : piece + 1].transpose(1, 0, 2).reshape(w, piece * w)
    return own.reshape(count * piece, w)[:n]
