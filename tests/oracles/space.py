"""Parameters as one unconstrained vector, by the domains that a model's text declares, and climbing there.

The declared domains are read off the text with a regular expression, so nothing of emdsl takes part.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, logit, softmax

Array = NDArray[np.float64]
Params = Mapping[str, Array]
_DECLARED = re.compile(r"^\s*(?:for .*:\s*)?param\s+(\w+)\s*(?:\[[^]]*\])?\s*:\s*(\w+)(?:\(([^)]*)\))?", re.M)
_TINY = 1e-12


def domains(text: str) -> dict[str, tuple[str, str]]:
    """Name -> (kind, bounds as written) of every param in a model's text."""
    return {name: (kind, bounds or "") for name, kind, bounds in _DECLARED.findall(text)}


@cache
def _limits(bounds: str) -> tuple[float | None, float | None]:
    low, high = (re.search(rf"{side}\s*=\s*([-\d.]+)", bounds) for side in ("min", "max"))
    return low and float(low[1]), high and float(high[1])


def _free(kind: str, bounds: str, value: Array) -> Array:
    low, high = _limits(bounds)
    if kind == "real" and low is not None and high is not None:
        a, b = low, high
        return logit(np.clip((value - a) / (b - a), _TINY, 1 - _TINY))
    if kind == "real" and low is not None:
        return np.log(np.maximum(value - low, _TINY))
    match kind:
        case "real":
            return value
        case "positive":
            return np.log(np.maximum(value, 1e-300))
        case "unit":
            return logit(np.clip(value, _TINY, 1 - _TINY))
        case "simplex":
            logs = np.log(np.maximum(value, _TINY))
            return logs[..., 1:] - logs[..., :1]
        case "ordered":
            return np.concatenate([value[..., :1], np.log(np.diff(value, axis=-1))], -1)
        case "zero_sum":
            return value[..., :-1]
        case "spd":
            lower = np.linalg.cholesky(value)
            size = value.shape[-1]
            i, j = np.tril_indices(size, -1)
            return np.concatenate([np.log(np.diagonal(lower, axis1=-2, axis2=-1)), lower[..., i, j]], -1)
    raise NotImplementedError(kind)


def _constrained(kind: str, bounds: str, free: Array, like: Array) -> Array:
    low, high = _limits(bounds)
    if kind == "real" and low is not None and high is not None:
        a, b = low, high
        return a + (b - a) * expit(free)
    if kind == "real" and low is not None:
        return low + np.exp(free)
    match kind:
        case "real":
            return free
        case "positive":
            return np.exp(free)
        case "unit":
            return expit(free)
        case "simplex":
            return softmax(np.concatenate([np.zeros((*free.shape[:-1], 1)), free], -1), axis=-1)
        case "ordered":
            return np.concatenate([free[..., :1], free[..., :1] + np.cumsum(np.exp(free[..., 1:]), -1)], -1)
        case "zero_sum":
            return np.concatenate([free, -free.sum(-1, keepdims=True)], -1)
        case "spd":
            size = like.shape[-1]
            lower = np.zeros(like.shape)
            lower[..., np.arange(size), np.arange(size)] = np.exp(free[..., :size])
            i, j = np.tril_indices(size, -1)
            lower[..., i, j] = free[..., size:]
            return lower @ np.swapaxes(lower, -1, -2)
    raise NotImplementedError(kind)


class Space:
    """The map between the parameters of a model's text and one unconstrained vector."""

    def __init__(self, text: str, params: Params) -> None:
        self._domains = domains(text)
        self._like = {name: np.asarray(params[name], float) for name in self._domains}
        self._shapes = {n: np.shape(_free(*self._domains[n], like)) for n, like in self._like.items()}

    def vector(self, params: Params) -> Array:
        parts = [_free(*self._domains[n], np.asarray(params[n], float)).ravel() for n in self._domains]
        return np.concatenate(parts) if parts else np.zeros(0)

    def params(self, vector: Array) -> dict[str, Array]:
        out, at = {}, 0
        for name, (kind, bounds) in self._domains.items():
            shape = self._shapes[name]
            size = math.prod(shape)
            out[name] = _constrained(kind, bounds, vector[at : at + size].reshape(shape), self._like[name])
            at += size
        return out


def gradient(f: Callable[[Array], float], x: Array) -> Array:
    """Central differences."""
    out = np.empty_like(x)
    for i in range(len(x)):
        step = np.zeros_like(x)
        step[i] = 5e-6 * max(1.0, abs(x[i]))
        out[i] = (f(x + step) - f(x - step)) / (2 * step[i])
    return out


def curved(f: Callable[[Array], float], x: Array, here: float) -> Array:
    """One over the curvature along each coordinate, where a search starts in its units; 1 where they are far apart."""
    out = np.ones_like(x)
    for i in range(len(x)):
        step = np.zeros_like(x)
        step[i] = 1e-4 * max(1.0, abs(x[i]))
        curve = (f(x + step) + f(x - step) - 2 * here) / step[i] ** 2
        out[i] = 1 / curve if 1e-3 < curve < np.inf else 1.0
    return out if out.max(initial=0) < 1e8 * out.min(initial=1) else np.ones_like(x)


def maximise(text: str, objective: Callable[[Params], float], start: Params) -> tuple[float, dict[str, Array]]:
    """The local maximum of `objective` over the declared domains reached from `start`, and where it is."""
    space = Space(text, start)

    def loss(vector: Array) -> float:
        with np.errstate(all="ignore"):
            value = -objective(space.params(vector))
        return value if np.isfinite(value) else 1e300

    x = space.vector(start)
    best = loss(x)
    options = {"gtol": 2e-6 * (1 + abs(best)), "maxiter": 300}  # what is left of the height goes with its square
    units = {"hess_inv0": np.diag(curved(loss, x, best))} if len(x) else {}
    result = minimize(loss, x, jac=lambda v: gradient(loss, v), method="BFGS", options=options | units)
    if result.fun < best:
        x, best = result.x, float(result.fun)
    return -best, space.params(x)
