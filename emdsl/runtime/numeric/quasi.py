"""Several parameters raised together by quasi-Newton, in coordinates without bounds and in units of their own."""

# mypy: disable-error-code="no-any-return"
# (operators on arrays of any dtype, and all of scipy, are Any to mypy)

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import scipy

from emdsl.runtime.data.columns import Array
from emdsl.runtime.numeric.numerics import Degenerate
from emdsl.runtime.numeric.unconstrained import from_free, pullback, to_free

MOST_KINKS = 1000  # steps across them
LEVEL = 1e-8  # of the slope at the start: at a maximum; rounding may end the search before
STEEP = 1e-5  # of it: at no maximum
BESIDE = 1e-6  # how far from a kink slopes are taken
JUMP = 1e-3  # how far they differ across it at least
MOST_PROBES = 60  # gradients, at most, to find the units of free coordinates by
WIDE = 1e4  # how far one numeric M-step may go at least, in these units
FAINT = -16  # binary exponents of objectives up to which weights are lifted
REACH = 20.0  # how far one numeric M-step may go in unconstrained coordinates, relative to 1 + the start


def maximise(
    objective: Callable[[dict[str, Array]], tuple[float, Mapping[str, Array]]],
    start: Mapping[str, Array],
    domains: Mapping[str, str],
    bounds: Mapping[str, tuple[float | None, float | None]],
    near: float = np.inf,
) -> dict[str, Array]:
    """Quasi-Newton over several parameters in unconstrained coordinates.

    `objective(values)` gives (value, {name: gradient}); `domains` maps names to their domain. Never returns
    a point below the start, nor one where a coordinate x is off by more than `near` (1 + |x|): for objectives that
    are rounding alone far off.
    """
    first, longest, values_at, plain = in_coordinates_of(objective, start, domains, bounds)
    told = _lifted(plain, first)
    units = units_of(lambda step: told(first + step)[1], longest, 1e-4 * (1 + np.abs(first)))
    reach = np.maximum(REACH * (1 + np.abs(first).max(initial=0.0)), WIDE * units)
    reach = np.minimum(reach, near * (1 + np.abs(first)))

    def loss(inside: Array) -> tuple[float, Array]:
        if (units * np.abs(inside) > reach).any():
            return 1e300, np.zeros_like(inside)
        value, slope = told(first + units * inside)
        if not np.isfinite(value) or not np.isfinite(slope).all():
            return 1e300, np.zeros_like(inside)
        return -value / scale, -slope * units / scale

    scale, middle = 1.0, np.zeros_like(first)
    before, slope = loss(middle)
    scale = max(1.0, float(np.abs(slope).max()) if slope.size else 1.0)
    method = "BFGS" if first.size <= 200 else "L-BFGS-B"
    options = {"maxiter": 500, "gtol": LEVEL}
    found = scipy.optimize.minimize(loss, middle, jac=True, method=method, options=options)
    best, value = found.x, float(found.fun)
    steep = not np.abs(found.jac).max(initial=0.0) <= STEEP
    if not found.success and steep and first.size <= 50 and np.isfinite(best).all():  # stopped at a kink
        best, value = along_kinks(loss, *across_kinks(loss, best))
    if not value <= before / scale or not np.isfinite(best).all():
        return {n: start[n] for n in domains}
    return values_at(first + units * best)


def _lifted(told: Callable[[Array], tuple[float, Array]], first: Array) -> Callable[[Array], tuple[float, Array]]:
    """An objective times a power of two, where all weights are so small that its slopes would count as level."""
    size = math.frexp(told(first)[0])[1]
    if size > FAINT or size < -1000:
        return told

    def lifted(flat: Array) -> tuple[float, Array]:
        value, slope = told(flat)
        return value * 2.0**-size, slope * 2.0**-size

    return lifted


def in_coordinates_of(
    objective: Callable[[dict[str, Array]], tuple[float, Mapping[str, Array]]],
    start: Mapping[str, Array],
    domains: Mapping[str, str],
    bounds: Mapping[str, tuple[float | None, float | None]],
) -> tuple[Array, Array, Callable[[Array], dict[str, Array]], Callable[[Array], tuple[float, Array]]]:
    """The start in free coordinates (n,), the longest steps that units are looked for with (n,), what values free
    coordinates stand for, and the objective of them with its slopes: not a number where a matrix has no inverse."""
    names = list(domains)
    shapes = {n: np.shape(to_free(start[n], domains[n], bounds[n])) for n in names}
    cuts = np.cumsum([0] + [int(np.prod(shapes[n])) for n in names])
    first = np.concatenate([np.ravel(to_free(start[n], domains[n], bounds[n])) for n in names])

    def values_at(flat: Array) -> dict[str, Array]:
        return {
            n: from_free(flat[cuts[i] : cuts[i + 1]].reshape(shapes[n]), domains[n], bounds[n], np.shape(start[n]))
            for i, n in enumerate(names)
        }

    def told(flat: Array) -> tuple[float, Array]:
        with np.errstate(all="ignore"):
            values = values_at(flat)
            try:
                value, gradient = objective(values)
            except (Degenerate, np.linalg.LinAlgError):  # a matrix that rounding leaves no inverse
                return np.nan, np.full_like(flat, np.nan)
            parts = [
                pullback(
                    flat[cuts[i] : cuts[i + 1]].reshape(shapes[n]), gradient[n], domains[n], bounds[n], values[n]
                ).ravel()
                for i, n in enumerate(names)
            ]
        return value, np.concatenate(parts)

    longest = np.concatenate([_longest(domains[n], shapes[n]).ravel() for n in names])
    return first, longest, values_at, told


def _longest(domain: str, shape: tuple[int, ...]) -> Array:
    """The longest steps with which units are looked for: 1, but of what has the data's scale."""
    out = np.full(shape, np.inf if domain in ("real", "zero_sum") else 1.0)
    if domain == "ordered":
        out[..., 0] = np.inf
    return out


def units_of(slope: Callable[[Array], Array], longest: Array, shortest: Array) -> Array:
    """What each free coordinate is measured by: a step u from 0 over which its slope changes by about 1 / u.

    So numbers as small or large as the data are stand beside logarithms. All are tried together, from steps over which
    Q changes by next to nothing; where one was too long for the others, these are found the next time. Slopes that
    jump are tried over several jumps. What is level as far as there are numbers is measured by 1: its own slope is
    rounding, and what it does far off to those of the others tells nothing of them.

    Steps are `shortest` at first, and never longer than `longest`: where the log of an entry of a matrix went as far as
    its own curvature says, the others' slopes were those of e^60. Both are (n,), as is what is returned.
    """
    here = slope(np.zeros_like(longest))
    with np.errstate(all="ignore"):
        unit = np.minimum(np.where(here != 0, 1e-4 / np.abs(here), longest), shortest)
    away = np.zeros(unit.size, bool)
    level, near, turned = away, unit, np.full(unit.size, np.inf)  # the last steps with numbers, and what bent there
    for k in range(MOST_PROBES):
        step = np.minimum(unit, longest)
        bend = np.abs(slope(step) - here)
        if np.isfinite(bend).all():
            longest = np.where((step > near) & (bend < turned), near, longest)  # it levels off there
            near, turned = step, bend
        elif (beyond := (step > near) & (near * turned < 1e-6) & ~level).any():
            level = level | beyond
            unit = np.where(level, np.minimum(longest, 1.0), near)
            continue
        away = bend <= 1e-14 * np.abs(here)  # nothing happens as far as that
        with np.errstate(all="ignore"):
            new = np.where(away, 32 * unit, np.clip(np.sqrt(step / bend), unit / 1e6, unit * 1e6))
        new = np.where(level, unit, np.where(np.isfinite(bend), new, unit / 1e3))
        still = np.abs(np.log(new / unit)) < 1.5
        if (still | (away & (k > 12))).all():
            break
        unit = new
    return np.where(away | level | ~np.isfinite(unit), 1.0, unit)


def across_kinks(loss: Callable[[Array], tuple[float, Array]], at: Array) -> tuple[Array, float]:
    """The least value near a point where slopes jump: quasi-Newton whose steps need not end where it is flat.

    A step has to go down, and to where it goes down less steeply (weak Wolfe conditions, by bisection): then the
    inverse Hessian learns the kinks, and values fall linearly. Lewis and Overton (2013), Nonsmooth optimization via
    quasi-Newton methods, algorithms 2.1 and 2.6.
    """
    first, at = at, at + 1e-3 * (1 + np.abs(at)) * np.cos(1.0 + np.arange(at.size))  # on a kink slopes tell nothing
    value, slope = loss(at)
    inverse, idle = np.eye(at.size), 0
    for k in range(MOST_KINKS):
        way = -inverse @ slope
        down = float(slope @ way)
        found = down_along(loss, at, value, way, down) if down < 0 else None
        if found is None:
            if k == 0 or (inverse == np.eye(at.size)).all():
                break
            inverse, idle = np.eye(at.size), 0  # what was learned leads nowhere: once more from the slope
            continue
        new, there, turned = found
        idle = idle + 1 if value - there <= 1e-14 * (1 + abs(value)) else 0
        moved, bend = new - at, turned - slope
        at, value, slope = new, there, turned
        if idle > 5:
            break
        if (along := float(moved @ bend)) > 0:
            inverse = inverse * (along / (bend @ bend)) if k == 0 else inverse
            across = np.eye(at.size) - np.outer(moved, bend) / along
            inverse = across @ inverse @ across.T + np.outer(moved, moved) / along
    before = loss(first)[0]
    return (at, value) if value < before else (first, before)


def along_kinks(loss: Callable[[Array], tuple[float, Array]], at: Array, value: float) -> tuple[Array, float]:
    """The least value along the kinks that meet where a search across them ended, and that value.

    Slopes around it differ by what jumps at these kinks; in all directions across which nothing jumps the loss is
    smooth, and there a search that learns kinks is a slow one. Mifflin and Sagastizabal (2005), A VU-algorithm for
    convex minimization.
    """
    rng = np.random.default_rng(0)
    slopes = np.array([loss(at + BESIDE * rng.normal(size=at.size))[1] for _ in range(3 * at.size)])
    _, jumps, ways = np.linalg.svd(slopes - slopes.mean(axis=0))
    smooth = ways[int((jumps > JUMP * max(1.0, jumps[0])).sum()) :]
    if not len(smooth):
        return at, value

    def inside(by: Array) -> tuple[float, Array]:
        there, slope = loss(at + by @ smooth)
        return there, smooth @ slope

    found = scipy.optimize.minimize(inside, np.zeros(len(smooth)), jac=True, method="BFGS", options={"gtol": LEVEL})
    return (at + found.x @ smooth, float(found.fun)) if found.fun < value else (at, value)


def down_along(
    loss: Callable[[Array], tuple[float, Array]], at: Array, value: float, way: Array, down: float
) -> tuple[Array, float, Array] | None:
    """A point on a line, its value and slope, that meets the weak Wolfe conditions; None where bisection finds none."""
    low, high, step = 0.0, math.inf, 1.0
    for _ in range(60):
        new = at + step * way
        there, slope = loss(new)
        if not there < value + 1e-4 * step * down:
            high = step
        elif slope @ way < 0.9 * down:
            low = step
        else:
            return new, there, slope
        step = (low + high) / 2 if high < math.inf else 2 * step
    return (new, there, slope) if there < value else None
