"""Loops over single numbers, written for numba: as they stand, Python would run them slowly.

The first of each group is the twin of what numpy does elsewhere, called through `compiled.Meter` alone; it may call
others of this file. Arrays are C-contiguous.
"""

from __future__ import annotations

import math

import numpy as np

from emdsl.runtime.data.columns import Array

REPEATED = 1.8e-15  # of its size: how far an entry may be off that is called the same
MARK = 16  # steps that change nothing, after which nothing will
SMALLEST_NORM = 1e-250  # below it a product of two numbers that count may have lost digits


def block_chain_loop(
    diagonal: Array, of: Array, below: Array, beside: Array, h: Array, v: Array, c: Array, at: Array, mean: Array,
    log_det: Array, room: Array
) -> bool:  # fmt: skip
    """Moments of a Gaussian with block tridiagonal precision; False where a block is not positive definite.

    J_tt = diagonal[of[t]] (kinds, w, w), J_t+1,t = below[beside[t]]; h (m, w). On return mean and log_det (m, w), and
    covariances v[at[t]] of block t, c[at[t]] of block t + 1 with t: v, c (m, w, w), at (m,). room : (m + 2, 2, w, w).
    """
    slot = np.empty(len(h), np.int64)
    if not forward_blocks_loop(diagonal, of, below, beside, room, slot, log_det):
        return False
    forward_means_loop(h, room, slot, mean)
    backward_blocks_loop(room, slot, v, c, at, mean)
    return True


def forward_blocks_loop(
    diagonal: Array, of: Array, below: Array, beside: Array, room: Array, slot: Array, log_det: Array
) -> bool:
    """P_t = inv(J_tt - B_t-1 G_t-1) and G_t = P_t B_t', with B_t = J_t+1,t, into room[slot[t]]: block Cholesky.

    On a run of equal blocks where P_t has not changed for `MARK` steps it stays where it is.
    """
    m, w = log_det.shape
    left, low, mark = room[m, 0], room[m, 1], room[m + 1, 0]
    run, since, used = 0, 0, 0  # where the run starts; steps since `mark`, -1 when nothing changes; places in use
    for t in range(m):
        if t == 0 or t == m - 1 or of[t] != of[run] or beside[t] != beside[run]:
            run, since = t, 0
        if since < 0:
            slot[t] = slot[t - 1]
            for i in range(w):
                log_det[t, i] = log_det[t - 1, i]
            continue
        slot[t] = used
        for i in range(w):
            for j in range(i + 1):
                total = diagonal[of[t], i, j]
                if t > 0:
                    for k in range(w):
                        total -= below[beside[t - 1], i, k] * room[slot[t - 1], 1, k, j]
                left[i, j] = total
        if not inverted_loop(left, low, room, used, log_det, t):
            return False
        if t < m - 1:
            for i in range(w):
                for j in range(w):
                    total = 0.0
                    for k in range(w):
                        total += room[used, 0, i, k] * below[beside[t], j, k]
                    room[used, 1, i, j] = total
        since = marked_loop(left, mark, t - run, since)
        used += 1
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


def inverted_loop(left: Array, low: Array, room: Array, used: int, log_det: Array, t: int) -> bool:
    """room[used, 0] = inv(left), of which the lower half is read; logs of its determinant into log_det[t]."""
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
            room[used, 0, i, j] = room[used, 0, j, i] = total
    return True


def forward_means_loop(h: Array, room: Array, slot: Array, mean: Array) -> None:
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
                mean[t, i] -= room[slot[t - 1], 1, k, i] * before


def backward_blocks_loop(room: Array, slot: Array, v: Array, c: Array, at: Array, mean: Array) -> None:
    """C_t = - V_t+1 G_t', V_t = P_t - G_t C_t into v, c[at[t]]; m_t = P_t f_t - G_t m_t+1 in the place of f_t."""
    m, w = mean.shape
    mark, row = room[m + 1, 0], room[m, 0, 0]
    since, steps = 0, 0
    for t in range(m - 1, -1, -1):
        s, last = slot[t], t == m - 1
        for i in range(w):
            total = 0.0
            for k in range(w):
                total += room[s, 0, i, k] * mean[t, k]
                if not last:
                    total -= room[s, 1, i, k] * mean[t + 1, k]
            row[i] = total
        for i in range(w):
            mean[t, i] = row[i]
        if last:
            at[t] = 0
            for i in range(w):
                for j in range(w):
                    v[0, i, j] = room[s, 0, i, j]
                    c[0, i, j] = 0.0
            continue
        if t == m - 2 or s != slot[t + 1]:
            since, steps = 0, 0
        at[t] = at[t + 1] if since < 0 else at[t + 1] + 1
        if since >= 0:
            beside_loop(v, c, at[t], room, s)
            since = marked_loop(v[at[t]], mark, steps, since)
            steps += 1


def beside_loop(v: Array, c: Array, n: int, room: Array, s: int) -> None:
    """C_t = - V_t+1 G_t' and V_t = P_t - G_t C_t, at n; V_t+1 is at n - 1."""
    w = v.shape[1]
    for i in range(w):
        for j in range(w):
            total = 0.0
            for k in range(w):
                total -= v[n - 1, i, k] * room[s, 1, j, k]
            c[n, i, j] = total
    for i in range(w):
        for j in range(i + 1):
            one, other = room[s, 0, i, j], room[s, 0, j, i]
            for k in range(w):
                one -= room[s, 1, i, k] * c[n, k, j]
                other -= room[s, 1, j, k] * c[n, k, i]
            v[n, i, j] = v[n, j, i] = 0.5 * (one + other)


def table_rows_loop(
    own: Array, beside: Array, first: Array, second: Array, order: Array, w: Array, v: Array, norm: Array, out: Array
) -> None:
    """Norms n_r = sum_k own[i, k] beside[j, k] of rows r at places (i, j), and sums of the two products over rows.

    own : (places, k); beside : (places, 2 k), its second half zeros. Rows first[i] to first[i + 1] - 1 stand at i, at
    second[r] of the other table, and have number order[r] (r itself where `order` is empty) in w and v (rows,).
    On return norm[r] = n_r (rows,), out[i] = sum of w own[i] beside[j] / n, and the second half of beside[j] = sum of
    v own[i] / n: without rows whose norm is not above `SMALLEST_NORM`.
    """
    k = own.shape[1]
    here, total = np.empty(k), np.empty(k)
    for i in range(len(own)):
        for s in range(k):
            here[s] = own[i, s]
            total[s] = 0.0
        products_loop(here, beside, second[first[i] : first[i + 1]], norm[first[i] : first[i + 1]])
        for r in range(first[i], first[i + 1]):
            j, n, size = second[r], order[r] if len(order) else r, norm[r]
            if not size > SMALLEST_NORM:
                continue
            a, b = w[n] / size, v[n] / size
            for s in range(k):
                total[s] += a * beside[j, s]
            for s in range(k):
                beside[j, k + s] += b * here[s]
        for s in range(k):
            out[i, s] = total[s] * here[s]


def products_loop(here: Array, beside: Array, second: Array, norm: Array) -> None:
    """norm[r] = sum_k here[k] beside[second[r], k], four rows side by side: a sum waits for itself, not for others."""
    k, m = len(here), len(norm)
    for r in range(0, m - 3, 4):
        j0, j1, j2, j3 = second[r], second[r + 1], second[r + 2], second[r + 3]
        n0, n1, n2, n3 = 0.0, 0.0, 0.0, 0.0
        for s in range(k):
            n0 += here[s] * beside[j0, s]
            n1 += here[s] * beside[j1, s]
            n2 += here[s] * beside[j2, s]
            n3 += here[s] * beside[j3, s]
        norm[r], norm[r + 1], norm[r + 2], norm[r + 3] = n0, n1, n2, n3
    for r in range(m - m % 4, m):
        size = 0.0
        for s in range(k):
            size += here[s] * beside[second[r], s]
        norm[r] = size
