"""Markov kernels, many elements side by side: slices of numbers and whole ones, Hamiltonian Monte Carlo, Metropolis.

Points are (d, B): d free coordinates of each of B elements that are independent given the rest, one chain each. A log
density is a function from points to (B,), its gradient one to (d, B). Every kernel leaves each element's density
invariant whatever the tuning; tuning moves only while `tuner.active`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from emdsl.runtime.data.columns import Array

STEPS_OUT = 16  # most widths that a slice is stepped out to, both sides together; while tuning
STEPS_TUNED = 3  # the same once the width is known: three of it hold all but odd slices
SHRINKS = 200  # most points that are tried in a slice while tuning
SHRINKS_TUNED = 10  # the same once the width is known: an element that found none of them stays, as all may
SPANNING = 4.0  # widths in a bracket that other modes may lie in, at least: it spans all elements of a kind, too
LONGEST_PATH = 64  # leapfrog steps
TARGET_ACCEPTANCE = 0.8
TOO_LONG = 0.5  # of the acceptance that a kernel is tuned to: with less, its steps are no longer those that fit
TOO_SHORT = 0.15  # the same of what is refused
TOLD_BY = 20  # updates by which that is told
ALONE = 20  # sweeps in which each element finds its own scale, before a climb begins


class Tuner:
    """What a kernel learns in warm-up: `scale` of each coordinate (d, B), `step` of each element (B,), and sums."""

    def __init__(self, scale: Array, step: Array) -> None:
        self.scale, self.step, self.active = scale, step, True
        self.reach = np.zeros((len(scale), 1))  # from the lowest to the highest element, at most since the start
        self.count = 0  # updates since the scales were last set
        self.sweeps = 0
        self.updates, self.accepted = 0, 0.0  # since warm-up; mean acceptance of all elements
        self.wanted, self.lately = 0.0, 0.0  # acceptance that it is tuned to; what it is of the last updates
        self.sums: dict[str, Array] = {}


def new_tuner(points: Array) -> Tuner:
    """Neutral tuning for points of this shape."""
    d, b = points.shape
    return Tuner(np.ones((d, b)), np.full(b, 0.5 if d == 1 else 0.1))


def learnt(tuner: Tuner) -> Tuner:
    """A fixed one that has learnt the same, for another chain."""
    out = Tuner(tuner.scale.copy(), tuner.step.copy())
    out.reach, out.active, out.wanted, out.lately = tuner.reach, False, tuner.wanted, tuner.wanted
    return out


def stalled(tuner: Tuner) -> bool:
    """Whether a fixed kernel no longer fits what it moves: a spread fell, or rose, and its steps stayed as long."""
    if tuner.active or not tuner.wanted:
        return False
    return tuner.lately < TOO_LONG * tuner.wanted or 1 - tuner.lately < TOO_SHORT * (1 - tuner.wanted)


def stop_tuning(tuner: Tuner) -> None:
    """From here on the kernel is fixed, at dual averaging's mean step (Hoffman and Gelman 2014, equation 6)."""
    if tuner.active and "mean log step" in tuner.sums:
        tuner.step = np.exp(tuner.sums["mean log step"])
    tuner.active, tuner.lately = False, tuner.wanted


def _finite(density: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """A density that is not a number is none."""

    def value(points: Array) -> Array:
        out = np.asarray(density(points), float)
        return out if np.isfinite(out).all() else np.where(out < np.inf, out, -np.inf)

    return value


def slice_kernel(
    density: Callable[[Array], Array],
    gradient: Callable[[Array], Array] | None,
    points: Array,
    tuner: Tuner,
    rng: np.random.Generator,
) -> Array:
    """One sweep of univariate slice sampling over the coordinates (Neal 2003, figures 3 and 5).

    All elements wait for the last: so no more than so many points are tried, after which an element stays. The way
    back from a move tries as many, so that detailed balance holds whatever the limit.
    """
    f, (d, b) = _finite(density), points.shape
    most, tries = (STEPS_OUT, SHRINKS) if tuner.active else (STEPS_TUNED, SHRINKS_TUNED)
    points = points.copy()
    here = f(points)
    for i in range(d):

        def along(at: Array, i: int = i) -> Array:
            if d == 1:
                return f(at[None])
            moved = points.copy()
            moved[i] = at
            return f(moved)

        old, width = points[i].copy(), tuner.scale[i]
        level = here - rng.exponential(size=b)
        low = old - width * rng.uniform(size=b)
        high = low + width
        left = np.floor(most * rng.uniform(size=b))
        low = _stepped_out(along, low, -width, level, left)
        high = _stepped_out(along, high, width, level, most - 1 - left)
        new, open_ = old.copy(), np.ones(b, bool)
        value = here.copy()
        for _ in range(tries):
            at = np.where(open_, low + (high - low) * rng.uniform(size=b), new)
            there = along(at)
            inside = open_ & (there >= level)
            new, value = np.where(inside, at, new), np.where(inside, there, value)
            open_ &= ~inside
            low, high = np.where(open_ & (at < old), at, low), np.where(open_ & (at >= old), at, high)
            if not open_.any():
                break
        points[i], here = new, value
        if tuner.active:  # a mean move of one standard deviation, three of which span a slice
            tuner.scale[i] += (3.0 * np.abs(new - old) - width) / (tuner.count + 3.0)
            tuner.scale[i] = np.maximum(tuner.scale[i], 1e-8 * (1 + np.abs(new)))
    tuner.count += int(tuner.active)
    _counted(tuner, 1.0)
    return points


def modes_kernel(
    density: Callable[[Array], Array],
    gradient: Callable[[Array], Array] | None,
    points: Array,
    tuner: Tuner,
    rng: np.random.Generator,
) -> Array:
    """Slice sampling for densities of several modes, as sums over classes have: every other sweep begins with brackets
    so wide that other modes lie in them. A narrow slice alone stayed 11 standard deviations from the mass."""
    return slice_kernel(density, gradient, _widely(density, points, tuner, tuner.scale, rng), tuner, rng)


def counts_kernel(
    density: Callable[[Array], Array],
    gradient: Callable[[Array], Array] | None,
    points: Array,
    tuner: Tuner,
    rng: np.random.Generator,
) -> Array:
    """Slice sampling of whole numbers: k + u, u uniform on (0, 1), has a density that is constant between them."""
    inside = points + rng.uniform(size=points.shape)
    return np.floor(slice_kernel(lambda at: density(np.floor(at)), gradient, inside, tuner, rng))


def _stepped_out(along: Callable[[Array], Array], at: Array, by: Array, level: Array, most: Array) -> Array:
    """An end of the slice moved outwards while it is inside, at most `most` times."""
    left = most.copy()
    while (left > 0).any():
        out = (along(at) > level) & (left > 0)
        if not out.any():
            break
        at, left = np.where(out, at + by, at), np.where(out, left - 1, 0)
    return at


def hmc_kernel(
    density: Callable[[Array], Array],
    gradient: Callable[[Array], Array],
    points: Array,
    tuner: Tuner,
    rng: np.random.Generator,
) -> Array:
    """One trajectory of Hamiltonian Monte Carlo (Neal 2011), step sizes by dual averaging (Hoffman and Gelman 2014).

    The metric is diagonal, from the variances seen in warm-up; a trajectory is about a quarter turn in its units. Once
    that is known all elements follow their mean acceptance: steps that follow one's own narrow what is drawn.
    """
    f, (_, b) = _finite(density), points.shape
    if tuner.active and not tuner.sums:
        _start_averaging(tuner)
    step = tuner.step * rng.uniform(0.8, 1.2)  # one jitter for all: periods are not met twice
    length = int(np.clip(np.ceil(1.6 / np.median(step)), 1, LONGEST_PATH))
    momentum = rng.normal(size=points.shape)
    before = f(points) - 0.5 * np.square(momentum).sum(0)
    new, slope = points, np.nan_to_num(gradient(points))
    speed = step * tuner.scale
    for _ in range(length):
        momentum = momentum + 0.5 * speed * slope
        new = new + speed * momentum
        slope = np.nan_to_num(gradient(new))
        momentum = momentum + 0.5 * speed * slope
    energy = f(new) - 0.5 * np.square(momentum).sum(0)
    ratio = np.where(np.isneginf(before), np.where(np.isneginf(energy), 0.0, 1.0), energy - before)
    chance = np.exp(np.minimum(0.0, np.nan_to_num(ratio, nan=-np.inf)))
    points = np.where(rng.uniform(size=b) < chance, new, points)
    tuner.wanted = TARGET_ACCEPTANCE
    if tuner.active:
        _averaged_step(tuner, chance if "window" not in tuner.sums else np.full(b, chance.mean()))
        _seen(tuner, points)
    _counted(tuner, float(chance.mean()))
    return points


def _start_averaging(tuner: Tuner) -> None:
    zero = np.zeros_like(tuner.step)
    tuner.sums |= {"centre": np.log(10 * tuner.step), "shortfall": zero, "mean log step": np.log(tuner.step)}
    tuner.sums["since"] = np.zeros(())


def _averaged_step(tuner: Tuner, chance: Array) -> None:
    """Nesterov's dual averaging: equation 6 of Hoffman and Gelman, with their constants."""
    sums = tuner.sums
    sums["since"] = sums["since"] + 1
    m = float(sums["since"])
    sums["shortfall"] = sums["shortfall"] + (TARGET_ACCEPTANCE - chance - sums["shortfall"]) / (m + 10)
    log_step = sums["centre"] - np.sqrt(m) / 0.05 * sums["shortfall"]
    sums["mean log step"] = sums["mean log step"] + (log_step - sums["mean log step"]) * m**-0.75
    tuner.step = np.exp(np.clip(log_step, -20, 5))


def _seen(tuner: Tuner, points: Array) -> None:
    """Variances since the last change of metric; it changes after 20, 40, 80, ... updates, with new step sizes."""
    sums = tuner.sums
    if "mean" not in sums:
        sums["mean"], sums["square"] = np.zeros_like(points), np.zeros_like(points)
    tuner.count += 1
    off = points - sums["mean"]
    sums["mean"] = sums["mean"] + off / tuner.count
    sums["square"] = sums["square"] + off * (points - sums["mean"])
    window = int(sums.get("window", np.array(ALONE)))
    if tuner.count < window:
        return
    variance = sums["square"] / (tuner.count - 1)
    pooled = variance.mean(1, keepdims=True)  # few draws each: towards what all elements have
    few = 10.0 / (tuner.count + 10.0)
    scale = np.sqrt((1 - few) * variance + few * pooled)
    step = np.exp(sums["mean log step"]) * tuner.scale.mean(0) / np.maximum(scale.mean(0), 1e-300)
    tuner.scale, tuner.step, tuner.count = np.maximum(scale, 1e-12), np.clip(step, 1e-3, 2.0), 0
    tuner.sums = {"window": np.array(2 * window)}
    _start_averaging(tuner)


def metropolis_kernel(
    density: Callable[[Array], Array],
    gradient: Callable[[Array], Array] | None,
    points: Array,
    tuner: Tuner,
    rng: np.random.Generator,
) -> Array:
    """One step of random-walk Metropolis, its scale moved towards the acceptance that is best (Roberts et al. 1997)."""
    f, (d, b) = _finite(density), points.shape
    new = points + tuner.scale * rng.normal(size=points.shape)
    ratio = f(new) - f(points)
    chance = np.exp(np.minimum(0.0, np.nan_to_num(ratio, nan=0.0)))
    points = np.where(rng.uniform(size=b) < chance, new, points)
    tuner.wanted = 0.44 if d == 1 else 0.234
    if tuner.active:
        tuner.count += 1
        tuner.scale = tuner.scale * np.exp((chance - tuner.wanted) * min(1.0, 4.0 / tuner.count**0.6))
    _counted(tuner, float(chance.mean()))
    return points


def roaming_hmc_kernel(
    density: Callable[[Array], Array],
    gradient: Callable[[Array], Array],
    points: Array,
    tuner: Tuner,
    rng: np.random.Generator,
) -> Array:
    """A wide slice (`_widely`) before a trajectory: a coordinate's scale is its standard deviation, of which three span
    a slice."""
    return hmc_kernel(density, gradient, _widely(density, points, tuner, 3.0 * tuner.scale, rng), tuner, rng)


def roaming_metropolis_kernel(
    density: Callable[[Array], Array],
    gradient: Callable[[Array], Array] | None,
    points: Array,
    tuner: Tuner,
    rng: np.random.Generator,
) -> Array:
    """A wide slice (`_widely`) before a step: of rows of two kinds a group stayed at its lesser mode, the spread 71
    errors off."""
    return metropolis_kernel(density, gradient, _widely(density, points, tuner, tuner.scale, rng), tuner, rng)


def _widely(density: Callable[[Array], Array], points: Array, tuner: Tuner, width: Array, rng: Any) -> Array:
    """Every other sweep a slice from brackets so wide that other modes lie in them, of which nothing is learnt.

    Modes may be as far apart as elements of a kind are: one whose modes are narrow stayed 25 standard deviations from
    its mass, and an estimate 76 stated errors off.
    """
    if tuner.active:
        tuner.reach = np.maximum(tuner.reach, np.ptp(points, axis=1, keepdims=True))
    tuner.sweeps += 1
    if not tuner.sweeps % 2:
        return points
    wide = Tuner(np.maximum(SPANNING * width, tuner.reach), tuner.step)
    wide.active = False
    return slice_kernel(density, None, points, wide, rng)


def _counted(tuner: Tuner, chance: float) -> None:
    """Acceptance since warm-up."""
    if not tuner.active:
        tuner.updates += 1
        tuner.accepted += (chance - tuner.accepted) / tuner.updates
        tuner.lately += (chance - tuner.lately) / TOLD_BY
