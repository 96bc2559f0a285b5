"""Points for latent counts without an end: consecutive ones about the mode, or every so many where those are too few.

    sum over n >= 0 of f(n)  ~  s [f(0) + f(s) + f(2 s) + ...] - (s - 1) / 2 f(0)
                                + (sum over j) B_2j / (2 j)! (s^2j - 1) d^(2j-1) f / dn^(2j-1) (0)

With s = 1 it is the sum itself. Sums over every s-th count of a smooth f are exact to exp(-2 (pi sd / s)^2) (Poisson's
summation; Trefethen and Weideman 2014, SIAM Review 56, 385-458); at an end where f does not vanish four terms of Euler
and Maclaurin's formula are taken, the derivatives by differences of seven points (Gregory's rule).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from emdsl.runtime.data.columns import Array
from emdsl.runtime.numeric.clouds import LogJoint
from emdsl.runtime.numeric.numerics import LOWEST
from emdsl.runtime.numeric.points import Rule

OCTAVES = 50  # of distances at which a mode is looked for
FEW_OCTAVES = 10  # those that are tried before the others
FALLEN_OFF = 40.0  # by which a log density is below its top where a sum is cut off
WIDEST_GAP = 64  # of possible counts
MOST_TRIED = 2048  # counts, where none of the distances is possible
NEAR_AN_END = (0.0, 1 / 6, 0.0, -1 / 30, 0.0, 1 / 42, 0.0)  # B_2j at 2 j - 1, of as many counts at an end
SIDES = 12  # counts between two neighbours among which the top is looked for, each time


def consecutive(points: int) -> Rule:
    """Four times as many and one, as the doubly exponential rule has: the numbers of the counts from the first on."""
    return Rule(np.arange(4.0 * points + 1)[None], np.zeros(4 * points + 1), False)


def at_counts(log_joint: LogJoint, bounds: Sequence[Any], rule: Rule, start: Array) -> tuple[Array, Array, Array]:
    """Counts (1, Q, *plates), the logs of how many each stands for (Q, *plates), and the log density there with that.

    log_joint : counts (1, Q, *plates) -> log density (Q, *plates). bounds : the least and the largest count, arrays
    of them by element, None where there is none. start : is overwritten by the modes, (1, *plates).
    """
    (least, most), shape = bounds[0], start.shape[1:]
    low = np.ceil(0.0 if least is None else least)
    high = np.floor(np.inf if most is None else most)

    def density(n: Array) -> Array:
        with np.errstate(all="ignore"):
            table = np.asarray(log_joint(np.clip(n, low, high)[None]))
        return np.where((n >= low) & (n <= high) & ~np.isnan(table), table, -np.inf)

    if np.ndim(low):  # ends that data leave are of the interval or beside it
        low = low + (density(low[None])[0] <= LOWEST)
        high = high - (np.isfinite(high) & (density(np.minimum(high, 2.0**OCTAVES)[None])[0] <= LOWEST))
    for octaves in (FEW_OCTAVES, OCTAVES):
        away = 2.0 ** np.arange(octaves)
        steps = np.concatenate([-away[::-1], [0.0], away]).reshape(-1, *[1] * len(shape))
        grid = np.clip(start[0], low, high) + steps
        table = density(grid)
        lost = np.max(table, axis=0) <= LOWEST
        if not (lost | (np.argmax(table, axis=0) % (2 * octaves) == 0)).any():
            break
    if lost.any():  # few counts are possible (the rest of a sum that was seen), and none of these
        first_ones = low + np.arange(MOST_TRIED).reshape(-1, *[1] * len(shape)) + np.zeros((1, *shape))
        grid = np.where(lost, low + np.argmax(density(first_ones), axis=0) + steps, grid)
        table = density(grid)
    mode, top = _top(density, grid, table)
    start[...] = mode
    first = np.floor(np.maximum(mode - _reach(density, mode, top, -1.0), low))
    last = np.minimum(mode + _reach(density, mode, top, 1.0), high)
    count = rule.at.shape[1]
    stride = np.maximum(1.0, np.ceil((last - first + 1) / count))
    stride = np.where((last == high) & (stride > 1), (last - first) / (count - 1), stride)  # to end there, too
    counts = first + stride * rule.at[0].reshape(-1, *[1] * len(shape))
    volume = stride + np.zeros_like(counts)
    if np.any(stride > 1):
        for k, part in enumerate(_at_an_end(stride)):
            volume[k] += np.where(first == low, part, 0.0)
            volume[-1 - k] += np.where(last == high, part, 0.0)
    volume = np.log(volume)
    table = density(counts)
    return np.clip(counts, low, high)[None], volume, table + volume


def _at_an_end(stride: Array) -> list[Array]:
    """What the counts next to an end stand for, beyond the stride."""
    powers = np.arange(len(NEAR_AN_END))
    differences = np.linalg.inv(powers[:, None] ** powers)  # row d: the d-th derivative over d!, by these points
    parts = [np.zeros_like(stride) for _ in powers]
    parts[0] -= (stride - 1) / 2
    for d, bernoulli in enumerate(NEAR_AN_END):
        for part, weight in zip(parts, differences[d], strict=True):
            part += bernoulli / (d + 1) * (stride - stride**-d) * weight
    return parts


def _top(density: Any, grid: Array, table: Array) -> tuple[Array, Array]:
    """Where the density of each element is highest, and how high: among counts of a grid, then between neighbours."""
    while True:
        best = np.argmax(table, axis=0)[None]
        mode = np.take_along_axis(grid, best, 0)[0]
        below = np.take_along_axis(grid, np.maximum(best - 1, 0), 0)[0]
        above = np.take_along_axis(grid, np.minimum(best + 1, len(grid) - 1), 0)[0]
        if np.all((above - mode <= 1) & (mode - below <= 1)):
            return mode, np.take_along_axis(table, best, 0)[0]
        share = np.linspace(0, 1, SIDES + 1).reshape(-1, *[1] * mode.ndim)
        down, up = below + np.floor((mode - below) * share), mode + np.floor((above - mode) * share)
        grid = np.concatenate([down[:-1], up])
        table = density(grid)


def _reach(density: Any, mode: Array, top: Array, side: float) -> Array:
    """How far from the mode a density is to be summed on one side: to where it has fallen off, of unimodal ones.

    Where the count beside the mode is impossible, so may be all but every so many: distances are multiples of those.
    """

    def fallen(distance: Array) -> Any:
        return density(mode + side * distance) < top - FALLEN_OFF

    each: Array = np.ones(mode.shape)
    alone = density((mode + side)[None])[0] <= LOWEST
    if alone.any():
        possible = ~fallen(np.arange(1.0, WIDEST_GAP + 1).reshape(-1, *[1] * mode.ndim))
        each = np.where(alone & possible.any(axis=0), 1.0 + np.argmax(possible, axis=0), 1.0)
    for octaves in (FEW_OCTAVES, OCTAVES):
        powers = 2.0 ** np.arange(octaves).reshape(-1, *[1] * mode.ndim)
        gone = fallen(each * powers)
        if gone.any(axis=0).all():
            break
    first = np.asarray(np.argmax(gone, axis=0))
    far = np.where(gone.any(axis=0), 2.0**first, powers[-1, ...].ravel()[0])
    near = np.where(first > 0, far / 2, 0.0)
    for _ in range(4):  # a sixteenth of the way between two octaves
        middle = np.ceil((near + far) / 2)
        gone = fallen((each * middle)[None])[0]
        near, far = np.where(gone, near, middle), np.where(gone, middle, far)
    return np.asarray(each * far)
