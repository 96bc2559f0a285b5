"""Latent classes, N=1e5, 20 binary items, K=5, beside StepMix: time of an iteration."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

import emdsl
from benchmarks.timing import MODELS, Line, agreement, by_turns

STEPS, SIZE, ITEMS, CLASSES = 20, 100_000, 20, 5


def data() -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Answers (N, I) of 0 and 1, and a start off the truth."""
    rng = np.random.default_rng(1)
    yes = rng.uniform(0.1, 0.9, (CLASSES, ITEMS))
    x = (rng.random((SIZE, ITEMS)) < yes[rng.integers(0, CLASSES, SIZE)]).astype(np.int64)
    return x, {"weights": np.ones(CLASSES) / CLASSES, "yes": 0.5 * yes + 0.5 * rng.uniform(0.2, 0.8, yes.shape)}


def stepmix(x: np.ndarray, start: dict[str, np.ndarray]) -> float:
    """The log-likelihood before the last M-step, by StepMix started where we start."""
    from stepmix.stepmix import StepMix

    class Started(StepMix):  # type: ignore[misc]
        def _initialize_parameters(self, X: Any, random_state: Any) -> None:
            super()._initialize_parameters(X, random_state)
            self.weights_ = start["weights"].copy()
            self._mm.parameters["pis"] = start["yes"].copy()

    options: dict[str, Any] = {"n_components": CLASSES, "measurement": "binary", "max_iter": STEPS}
    model = Started(**options, abs_tol=0.0, rel_tol=0.0, progress_bar=0, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(x)
    return float(model.lower_bound_ * len(x))


def run() -> list[Line]:
    x, start = data()
    fitter = emdsl.compile(str(MODELS / "latent_classes.em")).fitter(K=CLASSES, max_iter=STEPS, tol=0)

    def ours() -> float:
        return float(fitter.fit({"x": x}, init=start).history_[-2])

    mine, other, left, right = by_turns(ours, lambda: stepmix(x, start), 3)
    per, work = 1e3 / STEPS, "latent classes, N=1e5, 20 items, K=5"
    return [Line(work, "StepMix", other * per, mine * per, "5x", agreement(left, right))]
