"""A chain over the latents that are drawn: groups in turn, each by elimination or by a kernel in free coordinates."""

# mypy: disable-error-code="no-any-return"
# (operators on arrays of any dtype, and all of scipy, are Any to mypy)

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy

from emdsl.runtime.data.columns import Array
from emdsl.runtime.montecarlo.kernels import Tuner, learnt, new_tuner, stalled, stop_tuning
from emdsl.runtime.numeric.intervals import to_values
from emdsl.runtime.numeric.seeds import seeded
from emdsl.runtime.numeric.unconstrained import (
    from_free,
    ill_conditioned,
    log_volume,
    pullback,
    stretch,
    to_free,
    volume_slope,
)

Bounds = tuple[float | None, float | None]
TUNED_ANEW = 60  # sweeps
APART = 2.0  # standard deviations of first draws, in free coordinates, of a chain that looks for other modes
DOUBLINGS = 20  # doublings of how far off a start without a density looks for one
TRIES = 4  # places at each
STARTS = 4  # wide starts, of which another chain takes the one that is farthest off
AS_HIGH = 20.0  # of log density: modes so much lower than another start's are passed over
OTHER_MODES = 1e6  # of a kernel's scale: elements farther off than this are in other modes, and all the same
DIFFERENCE = 1e-5  # of a point, between which the slope of a density with something summed out is taken
OWN_AXES = {"simplex": 1, "ordered": 1, "spd": 2}  # of an element whose free coordinates hold one another


class Coordinates(NamedTuple):
    """A latent that a kernel moves: its domain, and which axes, as it is stored, are numbers of one element."""

    name: str
    domain: str
    bounds: Bounds
    events: tuple[int, ...]


class Group(NamedTuple):
    """Latents drawn together: `draw(params, prepared, rng)` by elimination, or `draw(params, prepared)` giving the log
    density and its gradient for `kernel`. `exact` ones are drawn only for the others to move by. The density of `cut`
    ones jumps where data compare them with something; it is `kinked` where they stand in an absolute value or a limit.
    """

    names: str
    draw: Callable[..., Any]
    kernel: Callable[..., Array] | None = None
    coordinates: tuple[Coordinates, ...] = ()
    exact: bool = False
    cut: tuple[str, ...] = ()
    kinked: bool = False


def exact_names(groups: Sequence[Group]) -> set[str]:
    """Latents that are drawn only for the others to move by."""
    return {n.strip() for g in groups if g.exact for n in g.names.split(",")}


def first_states(shape: tuple[int, ...], levels: int, data: Sequence[Any], rng: np.random.Generator) -> Array:
    """States to start from: rows near seeded rows share one; without data at random."""
    return seeded(np.empty((levels, *shape)), 1, data, rng).argmax(0)


def first_draw(domain: str, shape: tuple[int, ...], bounds: Bounds, spread: float, rng: np.random.Generator) -> Any:
    """A plain value of a domain, as it is stored: normal in free coordinates, `spread` its standard deviation."""
    if domain == "spd":
        return np.eye(shape[0]).reshape(shape[:2] + (1,) * (len(shape) - 2)) * np.ones(shape)
    if domain == "simplex":
        p = np.exp(spread * rng.normal(size=shape))
        return p / p.sum(0)
    if domain == "count":
        return (bounds[0] or 0.0) + np.floor(np.exp(spread * rng.normal(size=shape)))
    if domain not in ("real", "positive", "unit"):
        return np.sort(spread * rng.normal(size=shape), axis=0) if domain == "ordered" else np.zeros(shape)
    return from_free(spread * rng.normal(size=shape), domain, bounds, shape)


def between_ends(draw: Array, lower: Array, upper: Array) -> Array:
    """Numbers moved into the intervals that data leave them, those that lie there already as they are."""
    inside = to_values(draw[None], [(lower, upper)])[0][0]
    return np.where((draw > lower) & (draw < upper), draw, inside)


def own_last(value: Array, domain: str) -> Array:
    """The axes of one element moved to the end."""
    own = OWN_AXES[domain]
    return np.moveaxis(value, range(own), range(-own, 0))


def own_first(value: Array, domain: str) -> Array:
    """And back."""
    own = OWN_AXES[domain]
    return np.moveaxis(value, range(-own, 0), range(own))


def on_units(log_density_units: Callable[[Any, Any], Array]) -> Callable[..., Any]:
    """The log density of each independent part as a group's: a function of its values, without a gradient."""

    def of(params: Mapping[str, Array], prepared: Mapping[str, Any]) -> tuple[Any, None]:
        return (lambda values: log_density_units(params, {**prepared, **values})), None

    return of


class Target:
    """The log density of a group in free coordinates (d, B), Jacobian included, and its gradient.

    Made once for a chain; `log_density` and `slope`, functions of the values, are set before each use.
    """

    log_density: Callable[[Mapping[str, Array]], Array]
    slope: Callable[[Mapping[str, Array]], Mapping[str, Array]] | None

    def __init__(self, group: Group, values: Mapping[str, Array]) -> None:
        self.coordinates = group.coordinates
        self.shapes = {c.name: np.shape(values[c.name]) for c in self.coordinates}
        self.plain = {
            c.name: c.domain == "count" or (c.domain == "real" and c.bounds == (None, None)) for c in self.coordinates
        }
        self.cuts, self.batch, self.front, self.order = [0], 1, {}, {}
        for c in self.coordinates:
            free, own = self._free(c, np.asarray(values[c.name], float)).shape, OWN_AXES.get(c.domain, 1)
            events = sorted({max(0, k - own + 1) for k in c.events})  # a matrix has one axis of free coordinates
            order = (*events, *(k for k in range(len(free)) if k not in events))
            self.order[c.name] = None if order == tuple(range(len(free))) else (order, tuple(np.argsort(order)))
            self.front[c.name] = [free[k] for k in order]
            numbers = math.prod(free[k] for k in events)
            self.batch = math.prod(free) // max(1, numbers)
            self.cuts.append(self.cuts[-1] + numbers)

    def _free(self, c: Coordinates, value: Array) -> Array:
        if c.domain not in OWN_AXES:
            return value if self.plain[c.name] else to_free(value, c.domain, c.bounds)
        return np.moveaxis(to_free(own_last(value, c.domain), c.domain, c.bounds), -1, 0)

    def _rows(self, c: Coordinates, free: Array) -> Array:
        """(numbers of one element, elements)."""
        order = self.order[c.name]
        return (free if order is None else free.transpose(order[0])).reshape(-1, self.batch)

    def points(self, values: Mapping[str, Array]) -> Array:
        """Values of the latents as points."""
        return np.concatenate(
            [self._rows(c, self._free(c, np.asarray(values[c.name], float))) for c in self.coordinates]
        )

    def values(self, points: Array) -> dict[str, Array]:
        """Points as values of the latents."""
        out = {}
        for k, c in enumerate(self.coordinates):
            free = self._unrowed(k, points)
            if c.domain in OWN_AXES:
                free, length = np.moveaxis(free, 0, -1), self.shapes[c.name][0]
                made = from_free(free, c.domain, c.bounds, (length,))
                if c.domain == "spd":
                    made = np.where(ill_conditioned(free, length)[..., None, None], np.eye(length), made)
                out[c.name] = np.ascontiguousarray(own_first(made, c.domain))
            else:
                out[c.name] = free if self.plain[c.name] else from_free(free, c.domain, c.bounds, free.shape)
        return out

    def _unrowed(self, k: int, points: Array) -> Array:
        """The free coordinates of the latent of this number, as they are stored."""
        name = self.coordinates[k].name
        free, order = points[self.cuts[k] : self.cuts[k + 1]].reshape(self.front[name]), self.order[name]
        return free if order is None else free.transpose(order[1])

    def density(self, points: Array) -> Array:
        """log density of each element, (B,)."""
        values = self.values(points)
        with np.errstate(all="ignore"):
            total = np.reshape(self.log_density(values), -1) + np.zeros(self.batch)
            for k, c in enumerate(self.coordinates):
                if c.domain in OWN_AXES:
                    free = np.moveaxis(self._unrowed(k, points), 0, -1)
                    volume = log_volume(free, c.domain, own_last(values[c.name], c.domain))
                    if c.domain == "spd":  # no matrix in the numbers of a machine: the density there is not known
                        lost = ill_conditioned(free, self.shapes[c.name][0])
                        volume = np.where(lost[..., None], -np.inf, volume)
                    total = total + self._rows(c, np.moveaxis(volume, -1, 0)).sum(0)
                elif c.domain == "count":
                    low, high = (limit if b is None else b for b, limit in zip(c.bounds, (0.0, np.inf), strict=True))
                    beyond = (values[c.name] < low) | (values[c.name] > high)
                    total = np.where(self._rows(c, beyond).any(0), -np.inf, total)
                elif not self.plain[c.name]:
                    slope, _ = stretch(values[c.name], c.domain, c.bounds)
                    total = total + self._rows(c, np.log(np.abs(slope))).sum(0)
        return total

    def reached(self, points: Array, rng: np.random.Generator) -> Array:
        """Elements without a density moved to places that have one, found at random ever farther off."""
        whole = any(c.domain == "count" for c in self.coordinates)
        lost = ~np.isfinite(self.density(points))
        for reach in np.repeat(2.0 ** np.arange(DOUBLINGS), TRIES):
            if not lost.any():
                break
            tried = points + reach * rng.normal(size=points.shape)
            tried = np.where(lost, np.floor(tried) if whole else tried, points)
            found = lost & np.isfinite(self.density(tried))
            points, lost = np.where(found, tried, points), lost & ~found
        return points

    def gradient(self, points: Array) -> Array:
        """Its gradient, (d, B)."""
        if self.slope is None:
            return self._differences(points)
        values = self.values(points)
        out = []
        with np.errstate(all="ignore"):
            slopes = self.slope(values)
            for k, c in enumerate(self.coordinates):
                value, g = values[c.name], np.broadcast_to(slopes[c.name], self.shapes[c.name])
                if c.domain in OWN_AXES:
                    free, last = np.moveaxis(self._unrowed(k, points), 0, -1), own_last(value, c.domain)
                    back = pullback(free, own_last(g, c.domain), c.domain, c.bounds, last)
                    free = np.moveaxis(back + volume_slope(free, c.domain, last), -1, 0)
                elif self.plain[c.name]:
                    free = g
                else:
                    first, second = stretch(value, c.domain, c.bounds)
                    free = pullback(value, g, c.domain, c.bounds, value) + second / first
                out.append(self._rows(c, free))
        return np.concatenate(out)

    def _differences(self, points: Array) -> Array:
        """The same where no slopes are printed. Steps along any function of the points leave a density as it is."""
        out = np.empty(points.shape)
        for i in range(len(points)):
            step = np.zeros(points.shape)
            step[i] = DIFFERENCE * (1 + np.abs(points[i]))
            out[i] = (self.density(points + step) - self.density(points - step)) / (2 * step[i])
        return out


class Chain:
    """One chain of draws at parameters that may change between sweeps."""

    def __init__(self, module: Any, prepared: Mapping[str, Any], draws: Mapping[str, Any], rng: np.random.Generator):
        self.module, self.prepared, self.rng = module, prepared, rng
        self.groups: Sequence[Group] = module.groups()
        self.draws: dict[str, Any] = dict(draws)
        self.tuners: dict[str, Tuner] = {}
        self.targets: dict[str, Target] = {}

    def target(self, group: Group, params: Mapping[str, Array]) -> Target:
        """The density of a group that a kernel moves, given the last draws of the others."""
        if group.names not in self.targets:
            self.targets[group.names] = Target(group, self.draws)
        target = self.targets[group.names]
        target.log_density, target.slope = group.draw(params, {**self.prepared, **self.draws})
        return target

    def settle(self, params: Mapping[str, Array]) -> None:
        """Groups that a kernel moves to the mode of their density given the others: a start that chains leave soon.

        Where there is no slope to follow, to where there is a density at all.
        """
        for group in self.groups:
            if group.kernel is None:
                continue
            with np.errstate(all="ignore"):
                target = self.target(group, params)
                start = target.reached(target.points(self.draws), self.rng)
                if target.slope is None:
                    self.draws |= target.values(start)
                    continue

                def loss(flat: Array, target: Target = target, shape: Any = start.shape) -> tuple[float, Array]:
                    points = flat.reshape(shape)
                    value, slope = float(target.density(points).sum()), target.gradient(points).ravel()
                    if not np.isfinite(value) or not np.isfinite(slope).all():
                        return 1e300, np.zeros_like(flat)
                    return -value, -slope

                found = scipy.optimize.minimize(
                    loss, start.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": 200}
                )
                if np.isfinite(found.x).all() and found.fun < 1e299:
                    self.draws |= target.values(found.x.reshape(start.shape))

    def sweep(self, params: Mapping[str, Array], repeats: int = 1) -> None:
        """Every group once, given the last draws of the others; `repeats` trajectories of those that a kernel moves."""
        for group in self.groups:
            with np.errstate(all="ignore"):
                if group.kernel is None:
                    self.draws |= group.draw(params, {**self.prepared, **self.draws}, self.rng)
                    continue
                target = self.target(group, params)
                points = target.points(self.draws)
                tuner = self.tuners.setdefault(group.names, new_tuner(points))
                for _ in range(repeats):
                    points = group.kernel(target.density, target.gradient, points, tuner, self.rng)
                self.draws |= target.values(points)

    def tune_anew(self, params: Mapping[str, Array]) -> None:
        """Kernels from neutral steps to those that fit here, and the draws along."""
        self.tuners = {}
        for _ in range(TUNED_ANEW):
            self.sweep(params)
        self.stop_tuning()

    def keep_tuned(self, params: Mapping[str, Array]) -> None:
        """The same where some kernel has come to move little."""
        if any(stalled(t) for t in self.tuners.values()):
            self.tune_anew(params)

    def stop_tuning(self) -> None:
        for tuner in self.tuners.values():
            stop_tuning(tuner)

    @property
    def independent(self) -> bool:
        """Whether each sweep draws everything together by elimination: nothing is left of the last."""
        return len(self.groups) == 1 and self.groups[0].kernel is None

    def apart(self, params: Mapping[str, Array]) -> Chain:
        """Another chain by the same kernels, from a wide start of its own: what may stay elsewhere shows.

        Of some starts, each led to its mode, the farthest: of sixteen modes two chains took the same one in sixteen.
        """
        found = []
        for child in self.rng.spawn(STARTS if self._moved() else 1):
            out = Chain(self.module, self.prepared, self.module.first_draws(self.prepared, child, APART), child)
            out.settle(params)
            found.append((out, *self._off(out, params)))
        highest = max(height for _, height, _ in found)
        out = max(found, key=lambda f: (f[1] >= highest - AS_HIGH, f[2]))[0]
        out.tuners = {n: learnt(t) for n, t in self.tuners.items()}
        for _ in range(TUNED_ANEW):
            out.sweep(params)
        return out

    def _moved(self) -> list[Group]:
        """Groups that kernels move."""
        return [g for g in self.groups if g.kernel is not None]

    def _off(self, other: Chain, params: Mapping[str, Array]) -> tuple[float, float]:
        """Log densities of another chain's draws, group by group, and how far they are from these."""
        height, far = 0.0, 0.0
        for group in self._moved():
            target = other.target(group, params)
            points = target.points(other.draws)
            off = np.abs(points - self.target(group, params).points(self.draws)) / self.tuners[group.names].scale
            height += float(np.sum(np.maximum(target.density(points), -1e300)))
            far += float(np.minimum(off, OTHER_MODES).sum())
        return height, far

    def here(self) -> Mapping[str, Any]:
        """The prepared data with the draws of this moment."""
        return self.module.with_draws(self.prepared, self.draws)

    def acceptance(self) -> dict[str, float]:
        return {n: t.accepted for n, t in self.tuners.items() if t.updates}
