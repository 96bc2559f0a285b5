"""Loops over single numbers, written for numba: as they stand, Python would run them slowly.

The first of each group is the twin of what numpy does elsewhere, called through `compiled.Meter` alone; it may call
others of this file. Arrays are C-contiguous.
"""

from __future__ import annotations

import math

from emdsl.runtime.columns import Array

REPEATED = 1.8e-15  # of its size: how far an entry may be off that is called the same
MARK = 16  # steps that change nothing, after which nothing will


def block_chain_loop(
    diagonal: Array, below: Array, h: Array, v: Array, c: Array, mean: Array, log_det: Array, room: Array, same: Array
) -> bool:
    """What `tridiagonal_moments` returns, into v, c, mean and log_det; False where a block is not positive definite.

    room : (6, w, w). same : (m,), whether a step is as the one before it.
    """
    if not forward_blocks_loop(diagonal, below, v, c, log_det, room, same):
        return False
    forward_means_loop(h, c, mean)
    backward_blocks_loop(v, c, mean, room, same)
    return True


def forward_blocks_loop(
    diagonal: Array, below: Array, v: Array, c: Array, log_det: Array, room: Array, same: Array
) -> bool:
    """P_t = inv(J_tt - B_t-1 G_t-1) into v, G_t = P_t B_t' into c, with B_t = J_t+1,t: block Cholesky.

    On a run of equal blocks where P_t has not changed for `MARK` steps it is copied.
    """
    m, w = len(diagonal), diagonal.shape[1]
    left, low, mark = room[0], room[1], room[2]
    run, since = 0, 0  # where the run starts; steps since `mark` was taken, -1 when nothing changes any more
    for t in range(m):
        if t == 0 or t == m - 1 or not (alike_loop(diagonal, t, run, diagonal) and alike_loop(below, t, run, diagonal)):
            run, since = t, 0
        same[t] = since < 0
        if since < 0:
            for i in range(w):
                log_det[t, i] = log_det[t - 1, i]
                for j in range(w):
                    v[t, i, j], c[t, i, j] = v[t - 1, i, j], c[t - 1, i, j]
            continue
        for i in range(w):
            for j in range(i + 1):
                total = diagonal[t, i, j]
                if t > 0:
                    for k in range(w):
                        total -= below[t - 1, i, k] * c[t - 1, k, j]
                left[i, j] = total
        if not inverted_loop(left, low, v, log_det, t):
            return False
        if t < m - 1:
            for i in range(w):
                for j in range(w):
                    total = 0.0
                    for k in range(w):
                        total += v[t, i, k] * below[t, j, k]
                    c[t, i, j] = total
        since = marked_loop(left, mark, t - run, since)
    return True


def alike_loop(blocks: Array, t: int, run: int, diagonal: Array) -> bool:
    """Whether a block is as the one at the start of its run, as well as rounding tells."""
    w = blocks.shape[1]
    for i in range(w):
        for j in range(w):
            off = abs(blocks[t, i, j] - blocks[run, i, j])
            if off != 0.0 and not off <= REPEATED * math.sqrt(abs(diagonal[run, i, i] * diagonal[run, j, j])):
                return False
    return True


def marked_loop(here: Array, mark: Array, steps: int, since: int) -> int:
    """Steps since `mark`, after one more; after `MARK` of them -1 if it is `here` (lower half), else it is renewed."""
    w = len(here)
    since = since + 1 if steps else MARK
    if since < MARK:
        return since
    still = steps > 0
    for i in range(w):
        for j in range(i + 1):
            off = abs(here[i, j] - mark[i, j])
            still = still and off <= REPEATED * math.sqrt(abs(here[i, i] * here[j, j]))
            mark[i, j] = here[i, j]
    return -1 if still else 0


def inverted_loop(left: Array, low: Array, v: Array, log_det: Array, t: int) -> bool:
    """v[t] = inv(left), of which the lower half is read; its inverse Cholesky factor is left in `low`."""
    w = len(left)
    for j in range(w):
        pivot = left[j, j]
        for k in range(j):
            pivot -= low[j, k] * low[j, k]
        if not 0.0 < pivot < math.inf:
            return False
        log_det[t, j] = math.log(pivot)
        low[j, j] = math.sqrt(pivot)
        for i in range(j + 1, w):
            total = left[i, j]
            for k in range(j):
                total -= low[i, k] * low[j, k]
            low[i, j] = total / low[j, j]
    for j in range(w):  # the inverse of a triangle, in its place
        low[j, j] = 1.0 / low[j, j]
        for i in range(j + 1, w):
            total = 0.0
            for k in range(j, i):
                total -= low[i, k] * low[k, j]
            low[i, j] = total / low[i, i]
    for i in range(w):
        for j in range(i + 1):
            total = 0.0
            for k in range(i, w):
                total += low[k, i] * low[k, j]
            v[t, i, j] = v[t, j, i] = total
    return True


def forward_means_loop(h: Array, c: Array, mean: Array) -> None:
    """f_t = h_t - G_t-1' f_t-1, into `mean`."""
    m, w = h.shape
    for i in range(w):
        mean[0, i] = h[0, i]
    for t in range(1, m):
        for i in range(w):
            mean[t, i] = h[t, i]
        for k in range(w):
            before = mean[t - 1, k]
            for i in range(w):
                mean[t, i] -= c[t - 1, k, i] * before


def backward_blocks_loop(v: Array, c: Array, mean: Array, room: Array, same: Array) -> None:
    """C_t = - V_t+1 G_t', V_t = P_t - G_t C_t, m_t = P_t f_t - G_t m_t+1, each in the place of what it is made of."""
    m, w = mean.shape
    p, g, mark, row = room[3], room[4], room[2], room[5, 0]
    since, steps = 0, 0
    for t in range(m - 1, -1, -1):
        last = t == m - 1
        if last or t == m - 2 or not same[t + 1]:
            since, steps = 0, 0
            for i in range(w):
                for j in range(w):
                    p[i, j] = v[t, i, j]
                    if not last:
                        g[i, j] = c[t, i, j]
        for i in range(w):
            total = 0.0
            for k in range(w):
                total += p[i, k] * mean[t, k]
                if not last:
                    total -= g[i, k] * mean[t + 1, k]
            row[i] = total
        for i in range(w):
            mean[t, i] = row[i]
        if last:
            continue
        if since < 0:
            for i in range(w):
                for j in range(w):
                    v[t, i, j], c[t, i, j] = v[t + 1, i, j], c[t + 1, i, j]
            continue
        beside_loop(v, c, p, g, t)
        since = marked_loop(v[t], mark, steps, since)
        steps += 1


def beside_loop(v: Array, c: Array, p: Array, g: Array, t: int) -> None:
    """C_t = - V_t+1 G_t' and V_t = P_t - G_t C_t."""
    w = len(p)
    for i in range(w):
        for j in range(w):
            total = 0.0
            for k in range(w):
                total -= v[t + 1, i, k] * g[j, k]
            c[t, i, j] = total
    for i in range(w):
        for j in range(i + 1):
            one, other = p[i, j], p[j, i]
            for k in range(w):
                one -= g[i, k] * c[t, k, j]
                other -= g[j, k] * c[t, k, i]
            v[t, i, j] = v[t, j, i] = 0.5 * (one + other)
