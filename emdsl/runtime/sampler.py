"""A chain over the latents that are drawn: groups in turn, each by elimination or by a kernel in free coordinates."""

# mypy: disable-error-code="no-any-return"
# (operators on arrays of any dtype, and all of scipy, are Any to mypy)

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import optimize

from emdsl.runtime.columns import Array
from emdsl.runtime.kernels import Tuner, new_tuner, stop_tuning
from emdsl.runtime.starts import seeded
from emdsl.runtime.unconstrained import from_free, pullback, stretch, to_free

Bounds = tuple[float | None, float | None]


class Coordinates(NamedTuple):
    """A latent that a kernel moves: its domain, and which axes, as it is stored, are numbers of one element."""

    name: str
    domain: str
    bounds: Bounds
    events: tuple[int, ...]


class Group(NamedTuple):
    """Latents drawn together: `draw(params, prepared, rng)` by elimination, or `draw(params, prepared)` giving the log
    density and its gradient for `kernel`. `exact` ones are drawn only for the others to move by."""

    names: str
    draw: Callable[..., Any]
    kernel: Callable[..., Array] | None = None
    coordinates: tuple[Coordinates, ...] = ()
    exact: bool = False


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
    if domain not in ("real", "positive", "unit"):
        return np.sort(spread * rng.normal(size=shape), axis=0) if domain == "ordered" else np.zeros(shape)
    return from_free(spread * rng.normal(size=shape), domain, bounds, shape)


class Target:
    """The log density of a group in free coordinates (d, B), Jacobian included, and its gradient."""

    def __init__(self, group: Group, functions: tuple[Any, Any], values: Mapping[str, Array]) -> None:
        self.coordinates = group.coordinates
        self.log_density, self.slope = functions
        self.shapes = {c.name: np.shape(values[c.name]) for c in self.coordinates}
        self.cuts = [0]
        self.batch = 1
        for c in self.coordinates:
            free = self._free(c, np.asarray(values[c.name], float))
            rows = self._rows(c, free)
            self.batch = rows.shape[1]
            self.cuts.append(self.cuts[-1] + rows.shape[0])

    def _free(self, c: Coordinates, value: Array) -> Array:
        if c.domain != "simplex":
            return to_free(value, c.domain, c.bounds)
        return np.moveaxis(to_free(np.moveaxis(value, 0, -1), c.domain, c.bounds), -1, 0)

    @staticmethod
    def _rows(c: Coordinates, free: Array) -> Array:
        """(numbers of one element, elements)."""
        front = np.moveaxis(free, c.events, range(len(c.events)))
        return front.reshape(int(np.prod(front.shape[: len(c.events)])), -1)

    def _back(self, c: Coordinates, rows: Array) -> Array:
        shape = list(self.shapes[c.name])
        if c.domain == "simplex":
            shape[0] -= 1
        front = [shape[k] for k in c.events] + [s for k, s in enumerate(shape) if k not in c.events]
        return np.moveaxis(rows.reshape(front), range(len(c.events)), c.events)

    def points(self, values: Mapping[str, Array]) -> Array:
        """Values of the latents as points."""
        return np.concatenate(
            [self._rows(c, self._free(c, np.asarray(values[c.name], float))) for c in self.coordinates]
        )

    def values(self, points: Array) -> dict[str, Array]:
        """Points as values of the latents."""
        out = {}
        for k, c in enumerate(self.coordinates):
            free = self._back(c, points[self.cuts[k] : self.cuts[k + 1]])
            shape = self.shapes[c.name]
            if c.domain == "simplex":
                p = from_free(np.moveaxis(free, 0, -1), c.domain, c.bounds, shape)
                out[c.name] = np.ascontiguousarray(np.moveaxis(p, -1, 0))
            else:
                out[c.name] = from_free(free, c.domain, c.bounds, shape)
        return out

    def density(self, points: Array) -> Array:
        """log density of each element, (B,)."""
        values = self.values(points)
        with np.errstate(all="ignore"):
            total = np.reshape(self.log_density(values), -1) + np.zeros(self.batch)
            for c in self.coordinates:
                if c.domain == "simplex":
                    total = total + self._rows(c, np.log(values[c.name])).sum(0)
                elif c.domain != "real" or c.bounds != (None, None):
                    slope, _ = stretch(values[c.name], c.domain, c.bounds)
                    total = total + self._rows(c, np.log(np.abs(slope))).sum(0)
        return total

    def gradient(self, points: Array) -> Array:
        """Its gradient, (d, B)."""
        values = self.values(points)
        out = []
        with np.errstate(all="ignore"):
            slopes = self.slope(values)
            for c in self.coordinates:
                value, g = values[c.name], np.broadcast_to(slopes[c.name], self.shapes[c.name])
                if c.domain == "simplex":
                    last, moved = np.moveaxis(value, 0, -1), np.moveaxis(g, 0, -1)
                    free = pullback(last[..., :-1], moved, c.domain, c.bounds, last)
                    free = np.moveaxis(free + 1 - last.shape[-1] * last[..., :-1], -1, 0)
                elif c.domain == "real" and c.bounds == (None, None):
                    free = g
                else:
                    first, second = stretch(value, c.domain, c.bounds)
                    free = pullback(value, g, c.domain, c.bounds, value) + second / first
                out.append(self._rows(c, free))
        return np.concatenate(out)


class Chain:
    """One chain of draws at parameters that may change between sweeps."""

    def __init__(self, module: Any, prepared: Mapping[str, Any], draws: Mapping[str, Any], rng: np.random.Generator):
        self.module, self.prepared, self.rng = module, prepared, rng
        self.groups: Sequence[Group] = module.groups()
        self.draws: dict[str, Any] = dict(draws)
        self.tuners: dict[str, Tuner] = {}

    def settle(self, params: Mapping[str, Array]) -> None:
        """Groups that a kernel moves to the mode of their density given the others: a start that chains leave soon."""
        for group in self.groups:
            if group.kernel is None:
                continue
            with np.errstate(all="ignore"):
                target = Target(group, group.draw(params, {**self.prepared, **self.draws}), self.draws)
                start = target.points(self.draws)

                def loss(flat: Array, target: Target = target, shape: Any = start.shape) -> tuple[float, Array]:
                    points = flat.reshape(shape)
                    value, slope = float(target.density(points).sum()), target.gradient(points).ravel()
                    if not np.isfinite(value) or not np.isfinite(slope).all():
                        return 1e300, np.zeros_like(flat)
                    return -value, -slope

                found = optimize.minimize(loss, start.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": 200})
                if np.isfinite(found.x).all() and found.fun < 1e299:
                    self.draws |= target.values(found.x.reshape(start.shape))

    def sweep(self, params: Mapping[str, Array], repeats: int = 1) -> None:
        """Every group once, given the last draws of the others; `repeats` trajectories of those that a kernel moves."""
        for group in self.groups:
            data = {**self.prepared, **self.draws}
            with np.errstate(all="ignore"):
                if group.kernel is None:
                    self.draws |= group.draw(params, data, self.rng)
                    continue
                target = Target(group, group.draw(params, data), self.draws)
                points = target.points(self.draws)
                tuner = self.tuners.setdefault(group.names, new_tuner(points))
                for _ in range(repeats):
                    points = group.kernel(target.density, target.gradient, points, tuner, self.rng)
                self.draws |= target.values(points)

    def stop_tuning(self) -> None:
        for tuner in self.tuners.values():
            stop_tuning(tuner)

    def here(self) -> Mapping[str, Any]:
        """The prepared data with the draws of this moment."""
        return self.module.with_draws(self.prepared, self.draws)

    def acceptance(self) -> dict[str, float]:
        return {n: t.accepted for n, t in self.tuners.items() if t.updates}
