"""What the Gaussian mixtures share: data around well-placed means, one start, scikit-learn told to do n iterations."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

import emdsl
from benchmarks.timing import MODELS, Line, agreement, by_turns


def clusters(size: int, dims: int, components: int, seed: int = 0) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Data (N, D) and a start: shifted means, unit variances."""
    rng = np.random.default_rng(seed)
    mean = rng.normal(0, 3, (components, dims))
    x = mean[rng.integers(0, components, size)] + rng.normal(size=(size, dims))
    return x, {"weights": np.ones(components) / components, "mean": mean + rng.normal(0, 0.5, mean.shape)}


def scikit(x: np.ndarray, start: dict[str, np.ndarray], kind: str, steps: int) -> float:
    """The log-likelihood before the last of `steps` M-steps, by scikit-learn's GaussianMixture."""
    from sklearn.mixture import GaussianMixture

    components, dims = start["mean"].shape
    ones = np.ones((components, dims))
    model = GaussianMixture(
        components,
        covariance_type=kind,
        max_iter=steps,
        tol=0.0,
        reg_covar=0.0,
        weights_init=start["weights"],
        means_init=start["mean"],
        precisions_init=ones if kind == "diag" else np.stack([np.eye(dims)] * components),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(x)
    return float(model.lower_bound_ * len(x))


def compare(
    work: str, file: str, kind: str, size: int, dims: int, components: int, steps: int, goal: str
) -> list[Line]:
    """One line: milliseconds an iteration, here and there."""
    x, start = clusters(size, dims, components)
    model = emdsl.compile(str(MODELS / file))
    shape: dict[str, Any] = {"sd": np.ones((components, dims))}
    if kind == "full":
        shape = {"cov": np.stack([np.eye(dims)] * components)}
    fitter = model.fitter(K=components, max_iter=steps, tol=0)

    def ours() -> float:
        return float(fitter.fit({"x": x}, init={**start, **shape}).history_[-2])

    mine, other, left, right = by_turns(ours, lambda: scikit(x, start, kind, steps), 3)
    per = 1e3 / steps
    return [Line(work, "scikit-learn", other * per, mine * per, goal, agreement(left, right))]
