"""Models that are in no gallery, as a table: a text, data drawn from it, and its log-likelihood written directly.

A case needs no EM oracle. `test_unusual.py` fits it and asks that the log-likelihood reported is the one written here,
and that scipy, climbing from where the fit stopped and from the parameters that made the data, gets no higher.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Values = Mapping[str, Any]
Maker = Callable[[np.random.Generator], tuple[dict[str, Any], dict[str, Any]]]


@dataclass(frozen=True)
class Case:
    """`make(rng)` gives data and the parameters that made them; `value(params, data)` is the log-likelihood."""

    name: str
    text: str
    make: Maker
    value: Callable[[Values, Values], float]
    prior: Callable[[Values], float] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)  # of the fitter
    plan: Mapping[str, str] = field(default_factory=dict)  # latent -> method, where a case insists on it
    updates: Mapping[str, str] = field(default_factory=dict)  # param -> kind, where a case insists on it
    weight: str | None = None  # the entry of the data that holds sample weights
    near: bool = False  # climb from the parameters that made the data: too many local optima for seeded starts

    def options_sizes(self) -> dict[str, Any]:
        """The options that are sizes of the model."""
        return {name: value for name, value in self.options.items() if name not in ("n_init", "max_iter")}


_TRACED: list[Array] = []


def mix(weights: Any, log_density: Any) -> float:
    """sum_n log sum_k w_k exp(log_density[n, k]); `weights` (K,) or (N, K)."""
    with np.errstate(divide="ignore"):
        joint = np.log(weights) + log_density
    _TRACED.append(joint)
    top = np.maximum(joint.max(-1, keepdims=True), -1e300)  # scipy's logsumexp takes ten times as long
    return float((np.log(np.exp(joint - top).sum(-1)) + top[..., 0]).sum())


def joint(case: Case, params: Values, data: Values) -> Array | None:
    """log p(x_n, z_n = k), (N, K), where the case's likelihood is one call of `mix`; else None."""
    _TRACED.clear()
    case.value(params, data)
    return _TRACED[0] if len(_TRACED) == 1 else None


def normal(x: Any, mean: Any, sd: Any) -> Any:
    """The log density, elementwise; scipy's own is slow in a loop."""
    return -0.5 * ((x - mean) / sd) ** 2 - np.log(sd) - 0.5 * np.log(2 * np.pi)


def mvn(x: Array, mean: Array, cov: Array) -> Any:
    """Log density of the rows of `x`; `mean` (D,) or (N, D), `cov` (D, D)."""
    lower = np.linalg.cholesky(cov)
    z = np.linalg.solve(lower, np.swapaxes(np.atleast_2d(x - mean), -1, -2))
    return -0.5 * (z**2).sum(0) - np.log(np.diag(lower)).sum() - 0.5 * len(cov) * np.log(2 * np.pi)


def seen(x: Array, mean: Array, cov: Array) -> Any:
    """Log density of what is there of each row: x (N, D) with nan for gaps, mean (D,) or (N, D), cov (..., D, D)."""
    there = ~np.isnan(x)
    both = there[:, :, None] & there[:, None, :]
    lower = np.linalg.cholesky(np.where(both, cov, np.eye(x.shape[1])))  # a gap: standard normal, at its mean
    z = np.linalg.solve(lower, np.where(there, x - mean, 0.0)[..., None])[..., 0]
    logs = np.log(np.diagonal(lower, axis1=-2, axis2=-1)).sum(-1)
    return -0.5 * (z**2).sum(-1) - logs - 0.5 * there.sum(-1) * np.log(2 * np.pi)


def pick(rng: np.random.Generator, weights: Any, n: int) -> NDArray[np.int64]:
    """`n` draws of a category."""
    return rng.choice(len(weights), n, p=np.asarray(weights) / np.sum(weights))
