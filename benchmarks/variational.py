"""A variational mixture of Gaussians: one sweep over all factors of q with its bound, beside scikit-learn."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

import emdsl
from benchmarks.timing import MODELS, Line

ROWS, AXES, COMPONENTS, STEPS = 100_000, 5, 10, 25


def run() -> list[Line]:
    """Milliseconds between one iteration and the next, the median of each side: starts are left out."""
    from sklearn.mixture import BayesianGaussianMixture

    rng = np.random.default_rng(0)
    centres = rng.normal(scale=4, size=(COMPONENTS, AXES))
    x = centres[rng.integers(COMPONENTS, size=ROWS)] + rng.normal(size=(ROWS, AXES))
    mine: list[float] = []
    other: list[float] = []

    class Timed(BayesianGaussianMixture):
        def _e_step(self, *arguments: Any, **options: Any) -> Any:
            other.append(time.perf_counter())
            return super()._e_step(*arguments, **options)

    model = emdsl.compile(str(MODELS / "bayesian_gaussian_mixture.em"))
    fitter = model.fitter(
        K=COMPONENTS, max_iter=STEPS, tol=0, seed=0, progress=lambda *_: mine.append(time.perf_counter())
    )
    prior = {"weight_concentration_prior_type": "dirichlet_distribution", "weight_concentration_prior": 1.0}
    prior |= {"mean_precision_prior": 0.1, "degrees_of_freedom_prior": AXES + 2, "covariance_prior": np.eye(AXES)}
    theirs = Timed(
        n_components=COMPONENTS, max_iter=STEPS, tol=0, init_params="random", random_state=0,
        mean_prior=np.zeros(AXES), **prior
    )  # fmt: skip
    for _ in range(2):
        fitter.fit({"x": x})
        theirs.fit(x)
    ours, peer = (float(np.median(np.diff(times))) * 1e3 for times in (mine, other))
    work = f"variational Gaussian mixture, N={ROWS} D={AXES} K={COMPONENTS}, an iteration"
    return [Line(work, "scikit-learn", peer, ours, "8")]
