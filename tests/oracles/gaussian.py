"""Mixtures of Gaussians by hand: full, tied, diagonal and spherical covariances (McLachlan and Peel 2000, ch. 3)."""

from __future__ import annotations

import numpy as np
from scipy.stats import multivariate_normal, norm

from oracles.paths import Array, Params, Path, mixture


def _densities(x: Array, mean: Array, cov: Array) -> Array:
    """(N, K) log densities; `cov` is (K, D, D)."""
    centred = [x - m for m in mean]
    return np.column_stack(
        [multivariate_normal(np.zeros(x.shape[1]), c).logpdf(d) for d, c in zip(centred, cov, strict=True)]
    )


def _scatter(x: Array, r: Array) -> tuple[Array, Array, Array]:
    """Counts (K,), means (K, D) and centred scatter (K, D, D)."""
    count = r.sum(0)
    mean = (r.T @ (x - x[0])) / count[:, None] + x[0]
    scatter = np.stack([((x - m).T * r[:, k]) @ (x - m) for k, m in enumerate(mean)])
    return count, mean, scatter


def full(x: Array, start: Params, steps: int, weight: Array | None = None) -> Path:
    """weights (K,), mean (K, D), cov (K, D, D)."""

    def m_step(r: Array) -> Params:
        count, mean, scatter = _scatter(x, r)
        return {"mean": mean, "cov": scatter / count[:, None, None]}

    w = np.ones(len(x)) if weight is None else weight
    return mixture(lambda p: _densities(x, p["mean"], p["cov"]), m_step, start, steps, w)


def tied(x: Array, start: Params, steps: int, weight: Array | None = None) -> Path:
    """weights (K,), mean (K, D), cov (D, D), one for all components."""

    def log_density(p: Params) -> Array:
        return _densities(x, p["mean"], np.stack([p["cov"]] * len(p["mean"])))

    def m_step(r: Array) -> Params:
        count, mean, scatter = _scatter(x, r)
        return {"mean": mean, "cov": scatter.sum(0) / count.sum()}

    w = np.ones(len(x)) if weight is None else weight
    return mixture(log_density, m_step, start, steps, w)


def diagonal(x: Array, start: Params, steps: int, weight: Array | None = None) -> Path:
    """weights (K,), mean (K, D), sd (K, D)."""

    def log_density(p: Params) -> Array:
        return norm.logpdf(x[:, None], p["mean"], p["sd"]).sum(-1)

    def m_step(r: Array) -> Params:
        count, mean, scatter = _scatter(x, r)
        return {"mean": mean, "sd": np.sqrt(np.einsum("kii->ki", scatter) / count[:, None])}

    w = np.ones(len(x)) if weight is None else weight
    return mixture(log_density, m_step, start, steps, w)


def spherical(x: Array, start: Params, steps: int, weight: Array | None = None) -> Path:
    """weights (K,), mean (K, D), s2 (K,): a variance each, the same for all coordinates."""
    size = x.shape[1]

    def log_density(p: Params) -> Array:
        return _densities(x, p["mean"], p["s2"][:, None, None] * np.eye(size))

    def m_step(r: Array) -> Params:
        count, mean, scatter = _scatter(x, r)
        return {"mean": mean, "s2": np.einsum("kii->k", scatter) / (count * size)}

    w = np.ones(len(x)) if weight is None else weight
    return mixture(log_density, m_step, start, steps, w)
