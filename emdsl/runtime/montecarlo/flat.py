"""All parameters of a model as one vector without bounds, and slopes along its coordinates by differences."""

# mypy: disable-error-code="no-any-return"
# (operators on arrays of any dtype, and all of scipy, are Any to mypy)

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from emdsl.runtime.data.columns import Array
from emdsl.runtime.fitting.climbs import Setup
from emdsl.runtime.numeric.unconstrained import from_free, to_free

SEEN_CURVE = 1e-3  # second difference of the log density at which slopes are taken: far above its rounding


def flat_vector(values: Any, domains: Mapping[str, str], bounds: Any) -> Array:
    return np.concatenate([np.ravel(to_free(values[n], d, bounds[n])) for n, d in domains.items()])


def from_flat(flat: Array, like: Any, domains: Mapping[str, str], bounds: Any) -> dict[str, Array]:
    out, at = {}, 0
    for n, d in domains.items():
        shape = np.shape(to_free(like[n], d, bounds[n]))
        size = int(np.prod(shape))
        out[n] = from_free(flat[at : at + size].reshape(shape), d, bounds[n], np.shape(like[n]))
        at += size
    return out


def steps_of(f: Callable[[Array], float], at: Array) -> Array:
    """How far to step along each coordinate for its slope: there the log density's second difference is `SEEN_CURVE`.

    A step of fixed length would be lost in rounding, or leave the density, where a parameter's unit is odd.
    """
    here, out = f(at), 1e-4 * (1 + np.abs(at))
    for i, e in enumerate(np.eye(len(at))):
        h = out[i]
        for _ in range(12):
            curve = abs(f(at + h * e) - 2 * here + f(at - h * e))
            if SEEN_CURVE / 10 < curve < SEEN_CURVE * 10:
                out[i] = h
                break
            h *= (
                float(np.clip(np.sqrt(SEEN_CURVE / curve), 0.01, 100.0))
                if 0 < curve < np.inf
                else 0.01 + 100 * (curve == 0)
            )
    return out


def slope_of(f: Callable[[Array], Any], at: Array, h: Array) -> Array:
    """Central differences, (p, ...) of a function with values (...)."""
    return np.array([(f(at + h[i] * e) - f(at - h[i] * e)) / (2 * h[i]) for i, e in enumerate(np.eye(len(at)))])


def hessian_of(slope: Callable[[Array], Array], at: Array, h: Array) -> Array:
    """Central differences of a gradient, made symmetric."""
    rows = [(slope(at + h[i] * e) - slope(at - h[i] * e)) / (2 * h[i]) for i, e in enumerate(np.eye(len(at)))]
    return 0.5 * (np.array(rows) + np.array(rows).T)


class FreeParameters:
    """All parameters of a model as one vector without bounds."""

    def __init__(self, setup: Setup, params: Any) -> None:
        entries = {v["name"]: v for v in setup.module.SPEC["variables"] if v["name"] in params}
        self.domains = {n: v["domain"] for n, v in entries.items()}
        self.bounds = {n: (v["lower"], v["upper"]) for n, v in entries.items()}
        self.like = {n: np.asarray(v, float) for n, v in params.items()}
        shapes = {n: np.shape(to_free(self.like[n], d, self.bounds[n])) for n, d in self.domains.items()}
        ends = np.cumsum([0, *(int(np.prod(s)) for s in shapes.values())])
        self.places = {n: (slice(ends[k], ends[k + 1]), shape) for k, (n, shape) in enumerate(shapes.items())}
        ended = [n for n, d in self.domains.items() if d in ("positive", "unit", "simplex") or any(self._limits(n))]
        self.ends = np.zeros(ends[-1], bool)  # coordinates in which an end of the domain is at infinity
        self.logits = np.zeros(ends[-1], bool)  # of these, whose ends are at both infinities
        for n in ended:
            self.ends[self.places[n][0]] = True
            self.logits[self.places[n][0]] = self.domains[n] in ("unit", "simplex")

    def _limits(self, name: str) -> tuple[bool, ...]:
        return tuple(b is not None for b in self.bounds[name])

    def vector(self, params: Any) -> Array:
        return flat_vector(params, self.domains, self.bounds) if self.domains else np.zeros(0)

    def params(self, flat: Array) -> dict[str, Array]:
        return {
            n: from_free(flat[at].reshape(shape), self.domains[n], self.bounds[n], self.like[n].shape)
            for n, (at, shape) in self.places.items()
        }

    def spread(self, flat: Array, covariance: Array) -> dict[str, Array]:
        """Standard errors on the declared scale, by the delta method."""
        h = 1e-5 * (1 + np.abs(flat))
        steps = []
        for i, e in enumerate(np.eye(len(flat))):
            up, down = self.params(flat + h[i] * e), self.params(flat - h[i] * e)
            steps.append({n: (up[n] - down[n]) / (2 * h[i]) for n in up})
        out = {}
        for n, v in self.like.items():
            slopes = np.array([np.ravel(s[n]) for s in steps]) if steps else np.zeros((0, v.size))
            variance = np.einsum("ik,ij,jk->k", slopes, covariance, slopes)
            out[n] = np.sqrt(np.maximum(variance, 0.0)).reshape(v.shape)
        return out
