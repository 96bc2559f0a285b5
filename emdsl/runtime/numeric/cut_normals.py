"""Gaussians between bounds: how much of one lies there, and its moments there."""

# mypy: disable-error-code="no-any-return"
# (operators on arrays of any dtype, and all of scipy, are Any to mypy)

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy

from emdsl.runtime.data.columns import Array
from emdsl.runtime.numeric.digits import LOOKED, note_rounding
from emdsl.runtime.numeric.numerics import LOWEST

WITHOUT_DIGITS = 1e12  # a height of a log density that is known to 1e-4 alone
BY_ROUNDINGS = 1e-14  # of it: more than what some dozens of roundings take
HARDLY_STEEP = 3.0  # by how much a log density changes between bounds that are near
NEAR = 12  # points of Gauss and Legendre's rule from each of these inward: right to rounding
GROWING = 64  # of what grows with u^2, however steeply
FALLEN = 40.0  # by how much a log density falls from an end to where it counts no more


def cut_normal_posterior(id: Array, square: Array, lower: Array, upper: Array) -> tuple[Array, dict[str, Any]]:
    """exp(id * u + square * u^2) between two bounds, which may be infinite: log of its integral, and moments of a
    truncated Normal (Johnson, Kotz and Balakrishnan 1994, section 13.10.1), with all ratios taken as differences of
    logarithms. Equal bounds are where it was seen; between bounds that are exchanged there is nothing."""
    return _cut_gaussian(id, square, lower, upper, _exponent)


def cut_normal_density(id: Array, square: Array, lower: Array, upper: Array) -> tuple[Array, dict[str, Any]]:
    """The same of the density of the Normal itself: the log of how much of it lies between the bounds, and where it was
    seen the log density there. Far out it keeps the digits that the squares of what is far from 0 would take."""
    return _cut_gaussian(id, square, lower, upper, _log_density)


def _exponent(id: Array, square: Array, at: Array) -> Array:
    return id * at + square * at**2


def _log_density(id: Array, square: Array, at: Array) -> Array:
    return square * (at + 0.5 * id / square) ** 2 + 0.5 * np.log(-square / np.pi)


def _cut_gaussian(
    id: Array, square: Array, lower: Array, upper: Array, level: Callable[[Array, Array, Array], Array]
) -> tuple[Array, dict[str, Any]]:
    """Log of the integral between two bounds, and moments, of the Gaussian whose log is this `level`."""
    seen, none = lower == upper, lower > upper
    point, ends = np.where(seen, lower, 0.0), {"lower": lower, "upper": upper}
    lower, upper = np.where(seen | none, -np.inf, lower), np.where(seen | none, np.inf, upper)
    narrow = hardly_normal(id, square, lower, upper)
    var = -0.5 / np.where(narrow, np.minimum(square, -1.0), square)
    sd, mean = np.sqrt(var), id * var
    flipped = lower - mean > mean - upper  # the tail that holds the interval is turned to the left
    a, b = (lower - mean) / sd, (upper - mean) / sd
    a, b = np.where(flipped, -b, a), np.where(flipped, -a, b)
    log_mass, at_a = scipy.special.log_ndtr(b), 0.0
    if (both := np.isfinite(a)).any():  # elsewhere one tail is all
        log_mass = log_mass + np.log1p(-np.exp(scipy.special.log_ndtr(a) - log_mass))
        at_a = np.exp(-0.5 * a**2 - 0.5 * np.log(2 * np.pi) - log_mass)
    at_b = np.exp(-0.5 * b**2 - 0.5 * np.log(2 * np.pi) - log_mass)
    slope = at_a - at_b
    curve = np.where(both, a, 0.0) * at_a - np.where(np.isfinite(b), b, 0.0) * at_b
    inside = mean + np.where(flipped, -1.0, 1.0) * sd * slope
    spread = var * np.maximum(1 + curve - slope**2, 0.0)
    whole = 0.0 if level is _log_density else _of_the_line(id, var, mean)
    total = np.where(seen, level(id, square, point), whole + log_mass)
    if narrow.any():
        eta1, eta2, low, high = (np.broadcast_to(a, narrow.shape)[narrow] for a in (id, square, lower, upper))
        inside, spread = np.array(inside), np.array(spread)
        total[narrow], inside[narrow], spread[narrow] = _between_near_bounds(eta1, eta2, low, high, level)
    inside, spread = np.where(seen, point, inside), np.where(seen, 0.0, spread)
    total = np.where(none, LOWEST, total)
    return total, {
        "id": inside,
        "square": inside**2 + spread,
        "var": spread,
        "arguments": {"id": id, "square": square, **ends},
    }


def _of_the_line(id: Array, var: Array, mean: Array) -> Array:
    """The log-normaliser without bounds. Far out what it is added to takes its height away again: where that leaves no
    digits, the lower end of what it is."""
    height = 0.5 * id * mean
    if LOOKED:
        note_rounding(id * mean)
    return np.where(height > WITHOUT_DIGITS, height - BY_ROUNDINGS * height, height) + 0.5 * np.log(2 * np.pi * var)


def hardly_normal(id: Array, square: Array, lower: Array, upper: Array) -> Array:
    """Where exp(id * u + square * u^2) hardly changes between two bounds, or grows with u^2: no Normal's tails tell of
    what is between."""
    middle, half = _middle(lower, upper)
    if not np.isfinite(half).any():
        return np.zeros(np.broadcast_shapes(*map(np.shape, (id, square, half))), bool)
    length = np.where(np.isfinite(half), half, 0.0)
    steep = np.abs(id + 2 * square * middle) * length + np.abs(square) * length**2
    return np.isfinite(half) & ((steep < HARDLY_STEEP) | np.greater(square, 0.0))


def _middle(lower: Array, upper: Array) -> tuple[Array, Array]:
    """The middle and half the length of an interval; without an end 0, and infinite."""
    both = np.isfinite(lower) & np.isfinite(upper)
    low, high = np.where(both, lower, 0.0), np.where(both, upper, 0.0)
    return 0.5 * (low + high), np.where(both, 0.5 * (high - low), np.inf)


def two_sides(id: Array, square: Array, lower: Array, upper: Array) -> tuple[Array, Array, Array]:
    """Of an interval, cut where exp(id * u + square * u^2) is least, or in its middle: (2, ...) both ends, how far it
    is inward from them to the cut, and the slope of the log density there, inward."""
    low, high, bend = np.broadcast_arrays(lower, upper, square)
    with np.errstate(all="ignore"):
        least = np.where(bend > 0, np.clip(-0.5 * id / bend, low, high), 0.5 * (low + high))
    ends, inward = np.array([low, high]), np.reshape([1.0, -1.0], (2, *[1] * low.ndim))
    return ends, np.abs(least - ends), inward * (id + 2 * bend * ends)


def _between_near_bounds(
    id: Array, square: Array, lower: Array, upper: Array, level: Callable[[Array, Array, Array], Array]
) -> tuple[Array, Array, Array]:
    """Log of the integral, the mean and the variance, by Gauss and Legendre's rule from each end: differences of tails
    would leave no digits where a density hardly changes (no data at all: a Uniform)."""
    ends, length, slope = two_sides(id, square, lower, upper)
    with np.errstate(all="ignore"):  # what grows with u^2 falls by half its slope at an end, at least, all the way in
        length = np.minimum(length, np.where(square > 0, 2 * FALLEN / np.maximum(-slope, 0.0), np.inf))
    nodes, weights = np.polynomial.legendre.leggauss(GROWING if np.any(square > 0) else NEAR)
    inward = 0.5 * length[..., None] * (nodes + 1)
    height = level(id, square, ends)
    top = height.max(0)
    log = (height - top)[..., None] + slope[..., None] * inward + square[..., None] * inward**2
    mass = 0.5 * length[..., None] * weights * np.exp(log)
    total = mass.sum((0, -1))
    off = np.array([inward[0], (ends[1] - ends[0])[..., None] - inward[1]])  # from the lower end
    mean = (mass * off).sum((0, -1)) / total
    spread = (mass * (off - mean[..., None]) ** 2).sum((0, -1)) / total
    return top + np.log(total), ends[0] + mean, spread


def parted_normal_posterior(id: Array, square: Array, lower: Array, upper: Array) -> tuple[Array, dict[str, Any]]:
    """The same below the upper or above the lower bound where they are exchanged, and between them elsewhere."""
    return _parted(id, square, lower, upper, _exponent)


def parted_normal_density(id: Array, square: Array, lower: Array, upper: Array) -> tuple[Array, dict[str, Any]]:
    """The same of the density of the Normal itself."""
    return _parted(id, square, lower, upper, _log_density)


def _parted(
    id: Array, square: Array, lower: Array, upper: Array, level: Callable[[Array, Array, Array], Array]
) -> tuple[Array, dict[str, Any]]:
    apart = lower > upper
    below, at_below = _cut_gaussian(id, square, np.where(apart, -np.inf, lower), upper, level)
    above, at_above = _cut_gaussian(id, square, lower, np.where(apart, np.inf, upper), level)
    total = np.where(apart, np.logaddexp(below, above), below)
    share = np.where(apart, np.exp(below - total), 1.0)
    moments = {k: share * at_below[k] + (1 - share) * at_above[k] for k in ("id", "square")}
    return total, {**moments, "arguments": {**at_below["arguments"], "lower": lower, "upper": upper}}
