"""Scores of the complete data along draws that move with the parameters, from slopes that the module has printed.

A draw b, in free coordinates z, is z(t) at parameters t. The score of log p(data, b(t), t) + log |db(t) / db| is

    d log p / dt + sum over numbers of b of dz/dt (d log p / dz + d log |db/dz| / dz) + d log |dz(t) / dz| / dt
"""

# mypy: disable-error-code="no-any-return"
# (operators on arrays of any dtype, and all of scipy, are Any to mypy)

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from emdsl.runtime.data.columns import Array
from emdsl.runtime.fitting.climbs import Setup
from emdsl.runtime.montecarlo.carried import Carried
from emdsl.runtime.montecarlo.flat import FreeParameters
from emdsl.runtime.numeric.unconstrained import pullback, stretch, to_free

SEEN_STEP = 1e-6  # change of the log density over a step by which a score is differenced


def has_slopes(setup: Setup) -> bool:
    """Whether the module has printed the slopes of its log density."""
    return hasattr(setup.module, "slopes")


class Slopes:
    """Scores at parameters `flat` and beside them; `carried` may change between calls."""

    def __init__(self, setup: Setup, free: FreeParameters, params: Mapping[str, Array], flat: Array) -> None:
        self.setup, self.free, self.flat = setup, free, flat
        self.maps = {n: self._map(n, params[n], flat[at].reshape(shape)) for n, (at, shape) in free.places.items()}

    def _map(self, name: str, value: Any, free: Array) -> Array:
        """(numbers in free coordinates, numbers as declared): slopes along these to slopes along those.

        Of numbers that do not meet the diagonal alone, (numbers, 1).
        """
        value = np.asarray(value, float)
        rows = [self._pulled(name, e.reshape(value.shape), free, value) for e in np.eye(value.size)]
        whole = np.array(rows).reshape(value.size, free.size).T
        alone = np.diagonal(whole)
        return alone[:, None] if value.size == free.size and (whole == np.diag(alone)).all() else whole

    def _pulled(self, name: str, slope: Any, free: Array, value: Array) -> Array:
        return np.ravel(pullback(free, slope, self.free.domains[name], self.free.bounds[name], value))

    def whole(self, t: Array, draws: Mapping[str, Any], carried: Carried) -> Array:
        """The score (p,) of all there is at parameters t, the draws moved along."""
        off = t - self.flat
        params, moved = self.free.params(t), carried.at(draws, off)[0]
        by_param, by_latent = self._called("slopes", params, moved)
        parts = []
        for n, (at, shape) in self.free.places.items():
            parts.append(self._pulled(n, by_param[n], t[at].reshape(shape), np.asarray(params[n], float)))
        return np.concatenate(parts) + self._along(draws, moved, by_latent, carried, off, 1)[:, 0]

    def fields(self, t: Array, draws: Mapping[str, Any], carried: Carried) -> Array:
        """The slopes along the fields of `carried` alone, where the draws are."""
        still = np.zeros(carried.fields_held())
        _, by_latent = self._called("slopes", self.free.params(t), draws)
        return self._along(draws, draws, by_latent, carried, still, 1)[:, 0]

    def turned(self, draws: Mapping[str, Any], carried: Carried) -> Array:
        """The slopes along the shift and the stretch that draws have with each coordinate, (2, p): 0 on average."""
        _, by_latent = self._called("slopes", self.free.params(self.flat), draws)
        out, rows = np.zeros((2, len(self.flat))), (len(self.flat), -1)
        for n, (centre, shift, scale) in carried.laws.items():
            value = np.asarray(draws[n], float)
            first, second = stretch(value, carried.domains[n], carried.bounds[n])
            slope = np.broadcast_to(by_latent[n], np.shape(first)) * first + second / first
            wide = to_free(value, carried.domains[n], carried.bounds[n]) - centre
            out[0] += shift.reshape(rows) @ np.ravel(slope)
            out[1] += scale.reshape(rows) @ np.ravel(wide * slope + 1)
        return out

    def apart(self, draws: Mapping[str, Any], carried: Carried) -> Array:
        """The score of each part (p, parts) at `flat`."""
        by_param, by_latent = self._called("slopes_apart", self.free.params(self.flat), draws)
        count = carried.parts
        rows = []
        for n, m in self.maps.items():
            slope = np.reshape(np.broadcast_to(by_param[n], (*self.free.like[n].shape, count)), (-1, count))
            rows.append(m * slope if m.shape[1] == 1 else m @ slope)
        still = np.zeros(len(self.flat))
        return np.concatenate(rows) + self._along(draws, draws, by_latent, carried, still, count)

    def _called(self, name: str, params: Any, draws: Mapping[str, Any]) -> tuple[Any, Any]:
        module = self.setup.module
        found: tuple[Any, Any] = getattr(module, name)(params, module.with_draws(self.setup.prepared, draws))
        return found

    def _along(
        self, draws: Mapping[str, Any], moved: Mapping[str, Any], by_latent: Any, carried: Carried,
        off: Array, parts: int,
    ) -> Array:  # fmt: skip
        """What a score (p, parts) has by draws that move."""
        out = np.zeros((len(off), parts))
        for n, (centre, shift, scale) in carried.laws.items():
            domain, bounds = carried.domains[n], carried.bounds[n]
            wide = np.exp(np.tensordot(off, scale, 1)) * (to_free(draws[n], domain, bounds) - centre)
            first, second = stretch(np.asarray(moved[n], float), domain, bounds)
            slope = np.broadcast_to(by_latent[n], np.shape(first)) * first + second / first
            if parts == 1:
                rows = (len(off), -1)
                out[:, 0] += shift.reshape(rows) @ np.ravel(slope) + scale.reshape(rows) @ np.ravel(wide * slope + 1)
            else:
                out += ((shift + scale * wide) * slope + scale).reshape(len(off), -1, parts).sum(1)
        return out

    def steps(self, draws: Mapping[str, Any], carried: Carried) -> Array:
        """How far to step along each coordinate for a score's slope: there the log density bends by `SEEN_STEP`."""
        out = 1e-4 * (1 + np.abs(self.flat))
        for i, e in enumerate(np.eye(len(self.flat))):
            up, down = (self.whole(self.flat + h * e, draws, carried)[i] for h in (out[i], -out[i]))
            bend = abs(up - down) / 2 * out[i]
            out[i] *= np.clip(np.sqrt(SEEN_STEP / max(bend, 1e-300)), 1e-4, 30.0) if np.isfinite(bend) else 1e-4
        return out
