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
from emdsl.runtime.repeats import Blocks

SHORTEST = 200  # blocks of a chain, below which nothing is gained
MOST_RUNS = 12  # runs, at most
START = 1000  # microseconds of this way, whatever is to be done
STEP = 60  # and for each step that is taken alone
SETTLED = 1e-14  # the same of L_t and X, and of one covariance and the next


class Part(NamedTuple):
    """Blocks `start` to `stop` - 1 with one L_t, `left`, and one B_t, `after`; in `steps` covariances settle there."""

    start: int
    stop: int
    left: Array
    after: Array
    steps: int = 0


def steady_moments(diagonal: Blocks, below: Blocks, h: Array) -> tuple[Blocks, Blocks, Array, Array] | None:
    """What `tridiagonal_moments` returns, where most of a long chain repeats; None where it does not."""
    m = len(h)
    runs = repeated(diagonal.at, below.at) if m >= SHORTEST else []
    blocks = [(diagonal.values[diagonal.at[a]], below.values[below.at[min(a, m - 2)]]) for a, _ in runs]
    limits = [
        fixed_point(*given) if b - a > SHORTEST // 4 else None for (a, b), given in zip(runs, blocks, strict=True)
    ]
    single = sum(b - a if x is None else min(b - a, x[1]) for (a, b), x in zip(runs, limits, strict=True))
    if not runs or START + STEP * single > m * (0.3 + 0.25 * h.shape[1] ** 2):  # the time of cyclic reduction
        return None
    parts = _eliminated(runs, blocks, limits)
    if parts is None:
        return None
    low = cholesky(np.stack([part.left for part in parts]))
    log_det = np.repeat(2 * np.log(low.diagonal(0, 1, 2)), [part.stop - part.start for part in parts], axis=0)
    p = inverse(low)
    g = p[:-1] @ np.stack([part.after for part in parts[:-1]]).swapaxes(1, 2)
    v, c = _covariances(parts, p, g, m)
    return v, c, _means(parts, p, g, h), log_det


def repeated(diagonal: Array, below: Array) -> list[tuple[int, int]]:
    """The runs of blocks with one J_tt and one J_t+1,t, the last block a run of its own; none where they are many."""
    new = (diagonal[1:-1] != diagonal[:-2]) | (below[1:] != below[:-1])
    starts, m = [0, *(np.flatnonzero(new) + 1).tolist()], len(diagonal)
    return list(zip([*starts, m - 1], [*starts[1:], m - 1, m], strict=True)) if len(starts) < MOST_RUNS else []


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
        if not np.abs(down).max() > 1e-10 * np.abs(x).max():  # each is the square of the one before
            break
    for _ in range(3):
        x = d - b @ np.linalg.solve(x, b.T)
        x = 0.5 * (x + x.T)
    rate = float(np.abs(np.linalg.eigvals(np.linalg.solve(x, b.T))).max())
    if not rate < 0.999 or not np.isfinite(x).all():
        return None
    return x, 4 + math.ceil(19 / -math.log(max(rate, 1e-8)))  # rate ** (2 steps) is 3e-17


def _eliminated(
    runs: Sequence[tuple[int, int]], blocks: Sequence[tuple[Array, Array]], limits: Sequence[tuple[Array, int] | None]
) -> list[Part] | None:
    """L_t of every step until it has settled on its run; None where it does not when it should."""
    parts: list[Part] = []
    for (a, b), (d, after), limit in zip(runs, blocks, limits, strict=True):
        size = None if limit is None else SETTLED * np.sqrt(np.outer(limit[0].diagonal(), limit[0].diagonal()))
        for t in range(a, b):
            left = d
            if parts:
                last = parts[-1]
                left = d - last.after @ np.linalg.solve(last.left, last.after.T)
                left = 0.5 * (left + left.T)
            if limit is not None and t - a > limit[1] // 2 and (np.abs(left - limit[0]) <= size).all():
                parts.append(Part(t, b, limit[0], after, limit[1]))
                break
            if limit is not None and t - a > 2 * limit[1] + 20:
                return None
            parts.append(Part(t, t + 1, left, after))
    return parts


def _covariances(parts: Sequence[Part], p: Array, g: Array, m: int) -> tuple[Blocks, Blocks]:
    """V_t = inv(L_t) + G_t V_t+1 G_t', and of each block with the one before it, C_t = - V_t+1 G_t'."""
    v, at, count = [p[-1:]], np.zeros(m, np.int64), 1
    after = [np.zeros_like(p[-1:])]  # V_t+1 and G_t of each
    for part, p_t, g_t in zip(parts[-2::-1], p[-2::-1], g[::-1], strict=True):
        n = part.stop - part.start
        if n > 1:
            own = _settling(p_t, g_t, v[-1][-1], part)
        else:
            here = p_t + g_t @ v[-1][-1] @ g_t.T
            own = (0.5 * (here + here.T))[None]
        after.append(-(np.concatenate([v[-1][-1:], own[:-1]]) @ g_t.T))
        v.append(own)
        at[part.start : part.stop] = count + np.minimum(np.arange(n)[::-1], len(own) - 1)
        count += len(own)
    return Blocks(np.concatenate(v), at), Blocks(np.concatenate(after), at[:-1])


def _settling(p: Array, g: Array, last: Array, part: Part) -> Array:
    """V_1, V_2, ... of V_n = P + G V_n-1 G' from V_0 = `last`, until they are their limit: the limit and
    G^n (V_0 - limit) G^n', whose powers are made by doubling."""
    limit, a = p, g
    for _ in range(40):
        step = a @ limit @ a.T
        limit, a = limit + step, a @ a
        if not np.abs(step).max() > 1e-17 * np.abs(limit).max():
            break
    n, most = max(part.steps, 2), part.stop - part.start
    size = SETTLED * np.sqrt(np.outer(limit.diagonal(), limit.diagonal()))
    while True:
        power = powers(g, min(n, most))[1:]
        off = power @ (last - limit) @ power.swapaxes(1, 2)
        if n >= most or (np.abs(off[-1]) <= size).all():
            break
        n *= 2
    out = limit + off
    return 0.5 * (out + out.swapaxes(1, 2))


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
    piece = max(4, min(12, 192 // w))
    if n <= piece:
        out = np.empty((n, w))
        for t in range(n):
            out[t] = start = a @ start + u[t]
        return out
    power = powers(a.T, piece)
    spread = np.zeros((piece, w, piece, w))  # of u in a piece, by step, to x in it
    for step in range(piece):
        spread[step, :, step:] = power[: piece - step].transpose(1, 0, 2)
    count = -(-n // piece)
    padded = np.zeros((count * piece, w))
    padded[:n] = u
    own = padded.reshape(count, piece * w) @ spread.reshape(piece * w, piece * w)
    ends = recurrence(power[piece].T, own[:, -w:], start)
    before = np.concatenate([start[None], ends[:-1]])
    own += before @ power[1:].transpose(1, 0, 2).reshape(w, piece * w)
    return own.reshape(count * piece, w)[:n]


def powers(a: Array, most: int) -> Array:
    """a^0 to a^most, (most + 1, w, w): as many again at each step."""
    out = np.empty((most + 1, *a.shape))
    out[0], out[1:2] = np.eye(len(a)), a
    k = 1
    while k < most:
        more = min(k, most - k)
        np.matmul(out[1 : 1 + more], out[k], out=out[k + 1 : k + 1 + more])
        k += more
    return out
