"""The density of data and draws, and its scores, against the interpreter's log joint.

Fits of `saem` and `mcmc` end with Newton steps to where the mean of these scores over draws is 0, and the objective
that they tell is the mean of that density: neither the M-step nor a kernel reads them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from emdsl.families.scope import Array
from emdsl.fit.verify.case import by_themselves
from emdsl.fit.verify.certificate import Check, largest, measured
from emdsl.fit.verify.checks import SLOPE, SMALL, direction
from emdsl.fit.verify.setting import draw
from emdsl.fit.verify.site import Site, Values
from emdsl.fit.verify.space import Space
from emdsl.runtime.numeric.numerics import honest

BESIDE = 0.1  # of the unit of a coordinate: other parameters


@dataclass(frozen=True)
class Point:
    """Parameters and latents: what the module says there, and the interpreter."""

    site: Site
    values: Values
    held: Sequence[str]  # latents that are drawn

    def log_joint(self) -> float:
        return self.site.log_joint(self.held, self.values)

    def density(self) -> float:
        s = self.site
        found = s.module.density_with_draws(s.params, s.bound, s.with_draws(self.values))
        return float(honest(found + s.module.log_prior(s.params, s.prepared)))

    def units(self) -> float | None:
        """Of independent parts, what holds a latent; None where there are none."""
        found = self.site.module.log_density_units(self.site.params, self.site.with_draws(self.values))
        return None if found is None else float(honest(np.sum(found)))

    def slopes(self, name: str, n: str, change: Array, latent: bool) -> float:
        """What the printed slopes say of a change of one variable, all parts together."""
        found = getattr(self.site.module, name)(self.site.params, self.site.with_draws(self.values))[latent][n]
        slope = np.asarray(found, float)
        if not latent and name == "slopes_apart":  # the parts last
            parts = len(self.site.module.log_density_units(self.site.params, self.site.with_draws(self.values)))
            slope = np.broadcast_to(slope, (*change.shape, parts)).sum(-1)
        return float((np.broadcast_to(slope, change.shape) * change).sum())


def scores(name: str, site: Site, drawn: Sequence[str], seed: int, plates: int, same: float) -> Iterator[Check]:
    """Checks of this name, at two draws and at parameters beside. Raises Unchecked."""
    by_themselves(site.world.model)
    held = [n for n in site.world.latents if n in drawn]
    other = draw(site.world.model, 7000 + seed, plates).latents
    draws = (site.world.latents, {**site.world.latents, **{n: other[n] for n in held}})
    moved = [v for v in site.world.model.variables if v.kind == "param" or (v.name in held and v.domain.interval)]
    rng = np.random.default_rng([seed, 44])
    space = Space.of(moved, site.world.scope, {**site.params, **site.world.latents})
    ways = {v.name: direction(space, v.name, rng) for v in moved}
    beside = space.at(site.params, {n: BESIDE * ways[n] for n in site.params})
    there = [[Point(site.at(p), v, held) for v in draws] for p in (site.params, beside)]
    yield measured(name, "density of data and draws", largest(*(_densities(*pair) for pair in there)), same)
    if not hasattr(site.module, "slopes"):
        return  # scores are differences of that density
    for v in moved:

        def along(h: float, values: Values, n: str = v.name, param: bool = v.kind == "param") -> Point:
            if not param:
                return Point(site, {**values, n: space.at(values, {n: h * ways[n]})[n]}, held)
            there, stored = site.at(space.at(site.params, {n: h * ways[n]})), site.stored(values)
            return Point(there, there.shown(stored), held)

        yield measured(name, f"score of {v.name}", _slopes(v.name, v.kind != "param", draws, along), SLOPE)


def _densities(first: Point, second: Point) -> float:
    """At two draws; of the parts, which lack what holds no latent, the difference."""
    found, wanted = [first.density(), second.density()], [first.log_joint(), second.log_joint()]
    far = largest(*map(_off, found, wanted))
    parts = [first.units(), second.units()]
    if None not in parts and np.isfinite(wanted).all():
        far = largest(far, _off(parts[1] - parts[0], wanted[1] - wanted[0]))  # type: ignore[operator]
    return far


def _off(found: float, wanted: float) -> float:
    return abs(found - wanted) / (1 + abs(wanted)) if found != wanted else 0.0  # both may be -inf


def _slopes(n: str, latent: bool, draws: Sequence[Values], along: Callable[[float, Values], Point]) -> float:
    """Of the whole at each draw; of the parts, which lack what holds no latent, the difference between two."""
    far, rises, parts = 0.0, [], []
    for values in draws:
        rise = _rise(lambda h: along(h, values).log_joint())  # noqa: B023
        if not np.isfinite(rise):
            continue  # where data rule a draw out, or a step from it
        change = _rise(lambda h: _number(along(h, values), n, latent))  # noqa: B023
        here = along(0.0, values)
        far = largest(far, _off(here.slopes("slopes", n, change, latent), rise))
        if hasattr(here.site.module, "slopes_apart"):
            parts.append(here.slopes("slopes_apart", n, change, latent))
            rises.append(rise)
    if latent:
        return largest(far, *map(_off, parts, rises))
    return largest(far, _off(parts[1] - parts[0], rises[1] - rises[0])) if len(parts) > 1 else far


def _number(there: Point, n: str, latent: bool) -> Array:
    """A parameter, or a latent as it is stored."""
    return np.asarray(there.site.stored(there.values)[n] if latent else there.site.params[n], float)


def _rise(f: Callable[[float], Any]) -> Any:
    """The slope that differences of two steps tend to (Richardson)."""
    near, wide = ((f(h) - f(-h)) / (2 * h) for h in (SMALL, 2 * SMALL))
    return (4 * near - wide) / 3
