"""Gaussian chains whose precision repeats: what elimination leaves of it converges, and is constant from there on.

    L_t = J_tt - B_t-1 inv(L_t-1) B_t-1',   B_t = J_t+1,t       (block Cholesky: the Riccati recursion in other letters)

On a run of equal blocks L_t comes to the fixed point X = D - B inv(X) B', at a rate that X itself tells. How it comes
there is known in closed form, for all steps at once; from there on nothing is left to compute but means (`filtered`).
"""

# mypy: disable-error-code="no-any-return"
# (operators on arrays of any dtype, and all of scipy, are Any to mypy)

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import scipy

from emdsl.runtime.data.columns import Array
from emdsl.runtime.fields.filtered import chain_means, matrix_powers
from emdsl.runtime.fields.repeats import Blocks, Stretches
from emdsl.runtime.numeric.numerics import cholesky, inverse

SHORTEST = 200  # blocks of a chain, below which nothing is gained
START = 300  # microseconds of this way, whatever is to be done, and for each run that settles
STEP = 8  # and for each step before it has
SLOWEST = 2**13  # steps until it has, at most
SETTLED = 1e-14  # the same of L_t and X, and of one covariance and the next
ROUGH = 1e-6  # how far closed forms may be off before they are mended, at most
MENDED_TO = 1e-12  # how far they may be off before the last time
MENDINGS = 6  # times, at most


class Limit(NamedTuple):
    """The fixed point X of a run, its inverse, G = inv(X) B', and about how many steps L_t needs to be there."""

    x: Array
    p: Array
    g: Array
    steps: int


class Settled(NamedTuple):
    """How a run comes to its limit: L_0, L_1, ..., X (k, w, w); G^0 to G^n, and W_0 to W_n, the sums over k < n of
    G^k inv(X) G'^k."""

    left: Array
    limit: Array
    power: Array
    total: Array


class Part(NamedTuple):
    """Blocks `start` to `stop` - 1: L_t of the first ones, `left` (k, w, w), the last of which is that of all others,
    and what ties each to the next."""

    start: int
    stop: int
    left: Array
    after: Array
    settled: Settled | None = None


def steady_moments(
    diagonal: Blocks, below: Blocks, h: Array, runs: Sequence[tuple[int, int]]
) -> tuple[Blocks, Blocks, Array, Stretches] | None:
    """What `tridiagonal_moments` returns, where most of a long chain repeats; None where it does not.

    runs : of blocks with one J_tt and one J_t+1,t, the last block by itself.
    """
    m, w = h.shape
    runs = runs if m >= SHORTEST else []
    keys = [(int(diagonal.at[a]), int(below.at[min(a, m - 2)])) for a, _ in runs]
    blocks = [(diagonal.values[one], below.values[other]) for one, other in keys]
    limits = _limits_of_runs(runs, keys, blocks)
    single = sum(b - a if x is None else min(b - a, x.steps) for (a, b), x in zip(runs, limits, strict=True))
    settled = sum(x is not None for x in limits)
    if not runs or START * (1 + settled) + STEP * single > reduction_time(m, w):
        return None
    parts = _eliminated(runs, blocks, limits)
    if parts is None:
        return None
    low = cholesky(np.concatenate([part.left for part in parts]))
    ends = np.cumsum([len(part.left) for part in parts])
    p = np.split(inverse(low), ends[:-1])
    g = [p_t @ part.after.T for part, p_t in zip(parts, p, strict=True)]
    both = _covariances(parts, p, g, m)
    counts = np.ones(ends[-1], np.int64)
    counts[ends - 1] = [part.stop - part.start - len(part.left) + 1 for part in parts]
    log_det = Stretches(2 * np.log(low.diagonal(0, 1, 2)), counts)
    return None if both is None else (*both, chain_means([part.stop for part in parts], p, g, h), log_det)


def _limits_of_runs(
    runs: Sequence[tuple[int, int]], keys: Sequence[tuple[int, int]], blocks: Sequence[tuple[Array, Array]]
) -> list[Limit | None]:
    """The limits of runs that are long, of those with the same blocks found once."""
    found: dict[tuple[int, int], Limit | None] = {}
    out: list[Limit | None] = []
    for (a, b), key, given in zip(runs, keys, blocks, strict=True):
        long = b - a > SHORTEST // 4
        if long and key not in found:
            found[key] = fixed_point(*given)
        out.append(found[key] if long else None)
    return out


def reduction_time(m: int, w: int) -> float:
    """About how many microseconds cyclic reduction takes for m blocks of w numbers."""
    return 60 * math.log2(m) + m * w * (0.08 * w + 0.2)


def fixed_point(d: Array, b: Array) -> Limit | None:
    """X = D - B inv(X) B' (the largest), and in how many steps it is reached; None where that takes too many.

    By doubling (Meini 2002, Mathematics of Computation 71, algorithm 3.1); plain steps then mend its rounding.
    """
    x, q, a, steps, w = d, d, b.T, 1, len(d)
    while True:
        pa = quotient(q, np.concatenate([a, a.T], axis=1))
        if pa is None:
            return None
        down = a.T @ pa[:, :w]
        x, q, a, steps = x - down, q - down - a @ pa[:, w:], a @ pa[:, :w], 2 * steps
        if not np.abs(down).max() > 1e-10 * np.abs(x).max():  # each is the square of the one before
            break
        if steps > SLOWEST:
            return None
    unit = np.sqrt(np.outer(x.diagonal(), x.diagonal()))
    for _ in range(60):
        g = quotient(x, b.T)
        if g is None:
            return None
        last, x = x, d - b @ g
        x = 0.5 * (x + x.T)
        if not np.abs((x - last) / unit).max() > 2e-15:
            break
    both = quotient(x, np.concatenate([np.eye(w), b.T], axis=1))
    return None if both is None else Limit(x, 0.5 * (both[:, :w] + both[:, :w].T), both[:, w:], steps)


def quotient(a: Array, b: Array) -> Array | None:
    """inv(a) b of a positive definite matrix: of a few numbers, where numpy's own checks would take most of the time;
    None where it is not positive definite."""
    found, info = scipy.linalg.lapack.dposv(a, b)[1:]
    return None if info or not math.isfinite(found.sum()) else found


def _eliminated(
    runs: Sequence[tuple[int, int]], blocks: Sequence[tuple[Array, Array]], limits: Sequence[Limit | None]
) -> list[Part] | None:
    """L_t of every step until it has settled on its run; None where it does not when it should."""
    parts: list[Part] = []
    for (a, b), (d, after), limit in zip(runs, blocks, limits, strict=True):
        left = _next(d, parts[-1]) if parts else d
        if left is None:
            return None
        settled = None if limit is None else approach(d, after, left, limit, b - a)
        if settled is not None:
            parts.append(Part(a, b, settled.left, after, settled))
            continue
        if limit is not None and limit.steps < b - a:
            return None
        alone = [left]
        for _ in range(a + 1, b):
            step = quotient(alone[-1], after.T)
            if step is None:
                return None
            here = d - after @ step
            alone.append(0.5 * (here + here.T))
        parts.append(Part(a, b, np.stack(alone), after))
    return parts


def _next(d: Array, last: Part) -> Array | None:
    """L_t of the first block of a run."""
    step = quotient(last.left[-1], last.after.T)
    if step is None:
        return None
    left = d - last.after @ step
    return 0.5 * (left + left.T)


def approach(d: Array, b: Array, first: Array, limit: Limit, most: int) -> Settled | None:
    """L_0 = `first`, L_1, ... X itself, at most so many; None where that is not to be had.

    L_n - X = G'^n E (1 + W_n E)^-1 G^n with E = L_0 - X: its inverse, where there is one, goes by a linear recursion.
    A plain step for all of them at once mends what rounding has done.
    """
    x, p, g, steps = limit
    n, e = min(steps, most - 1), first - x
    power = matrix_powers(g, n)
    turned, total = power.swapaxes(1, 2), np.zeros_like(power)
    np.cumsum(power[:-1] @ p @ turned[:-1], axis=0, out=total[1:])
    size = np.sqrt(np.outer(x.diagonal(), x.diagonal()))  # the unit of each entry: elimination is not to mix these
    own = np.linalg.solve(np.eye(len(e)) + (e / size) @ (total * size), (e / size)[None]) * size
    off = turned @ own @ power
    there = (np.abs(off) <= SETTLED * size).all((1, 2))
    if not there.any():
        return None if n < steps or steps > SLOWEST else approach(d, b, first, limit._replace(steps=4 * steps), most)
    k = int(there.argmax())
    if k < 2:
        return Settled(np.stack([first, x][1 - k :]), x, power, total)

    def stepped(left: Array) -> Array:
        return d - b @ np.linalg.solve(left, b.T[None])

    later = mended_steps(x + off[1:k], first, stepped, size)
    if later is None:
        return None
    left = np.concatenate([first[None], later, x[None]])
    return Settled(left, x, power, total)


def _covariances(parts: Sequence[Part], p: Sequence[Array], g: Sequence[Array], m: int) -> tuple[Blocks, Blocks] | None:
    """V_t = inv(L_t) + G_t V_t+1 G_t', and of each block with the one before it, C_t = - V_t+1 G_t'; None where what is
    known in closed form is too far off. The last block's come first."""
    v, c, at, count = [p[-1][-1:]], [np.zeros_like(p[-1][-1:])], np.zeros(m, np.int64), 1
    for part, p_t, g_t in zip(parts[-2::-1], p[-2::-1], g[-2::-1], strict=True):
        n, last, same, gains = part.stop - part.start, v[-1][-1], 0, g_t[::-1]
        if part.settled is None:
            own = _alone(p_t, g_t, last)
        else:
            found = _both(part, p_t, g_t, settling(p_t[-1], g_t[-1], last, part.settled, n))
            if found is None:
                return None
            same, own = found
            gains = np.concatenate([np.repeat(g_t[-1:], same, axis=0), gains[1:]])
        v.append(own)
        c.append(-(np.concatenate([last[None], own[:-1]]) @ gains.swapaxes(1, 2)))
        single = len(own) - same
        at[part.start : part.stop] = count + same - 1
        at[part.start : part.start + single] += np.arange(single, 0, -1)
        at[max(part.stop - same, part.start) : part.stop] -= np.arange(same)
        count += len(own)
    return Blocks(np.concatenate(v), at), Blocks(np.concatenate(c), at[:-1])


def _alone(p: Array, g: Array, last: Array) -> Array:
    """V_t of blocks of which each has its own L_t, the last one first; `last` is of the block after them."""
    out = np.empty_like(p)
    for n, (p_t, g_t) in enumerate(zip(p[::-1], g[::-1], strict=True)):
        here = p_t + g_t @ last @ g_t.T
        out[n] = last = 0.5 * (here + here.T)
    return out


def _both(part: Part, p: Array, g: Array, without: Array) -> tuple[int, Array] | None:
    """V_t where L_t has settled, and how many they are, and before it has, the last one first: from what they were if
    L_t were X all along, V.

    inv(V_t) = inv(V) + L_t - X. A plain step for all of them at once mends what rounding has done.
    """
    n, k = part.stop - part.start, len(part.left)
    rest = without[: n - k + 1]
    if k == 1:
        return len(rest), rest
    v, off = without[np.minimum(np.arange(n - k + 1, n), len(without) - 1)], part.left[-2::-1] - part.left[-1]
    unit = np.sqrt(np.outer(v[0].diagonal(), v[0].diagonal()))
    rough = np.linalg.solve(np.eye(off.shape[1]) + (v / unit) @ (off * unit), v / unit) * unit
    turned = g[-2::-1].swapaxes(1, 2)

    def stepped(after: Array) -> Array:
        return p[-2::-1] + g[-2::-1] @ after @ turned

    before = mended_steps(rough, rest[-1], stepped, unit)
    return None if before is None else (len(rest), np.concatenate([rest, before]))


def mended_steps(rough: Array, start: Array, stepped: Callable[[Array], Array], unit: Array) -> Array | None:
    """x_1, x_2, ... of x_n = step(x_n-1) from x_0 = `start`, once they are known up to rounding: plain steps, which
    contract it, for all n at once, until one makes no difference; None where they were far off, or stay so."""
    off = math.inf
    for n in range(MENDINGS):
        new = stepped(np.concatenate([start[None], rough[:-1]]))
        new = 0.5 * (new + new.swapaxes(1, 2))
        off = float((np.abs(new - rough) / unit).max())
        rough = new
        if off < MENDED_TO or not (off < ROUGH or n):
            break
    return rough if off < ROUGH else None


def settling(p: Array, g: Array, last: Array, settled: Settled, most: int) -> Array:
    """V_1, V_2, ... of V_n = P + G V_n-1 G' from V_0 = `last`, until they are their limit: that, which is the sum of
    G^k P G'^k, and G^n (V_0 - limit) G^n'; at most so many."""
    limit, a = settled.total[-1], settled.power[-1]
    if len(settled.power) < 2:
        limit, a = p, g
    while True:
        step = a @ limit @ a.T
        limit, a = limit + step, a @ a
        if not np.abs(step).max() > 1e-17 * np.abs(limit).max():
            break
    power, size = settled.power[1:], SETTLED * np.sqrt(np.outer(limit.diagonal(), limit.diagonal()))
    while True:
        off = power @ (last - limit) @ power.swapaxes(1, 2)
        there = (np.abs(off) <= size).all((1, 2))
        if len(power) >= most or there[:-1].any():
            break
        power = matrix_powers(g, min(2 * len(power) + 2, most))[1:]
    out = limit + off[: int(there.argmax()) + 2 if there.any() else most]
    return 0.5 * (out + out.swapaxes(1, 2))
