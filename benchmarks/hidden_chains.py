"""Hidden Markov models beside hmmlearn's scaling implementation: one long Gaussian sequence, many of symbols."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

import emdsl
from benchmarks.timing import MODELS, Line, agreement, by_turns

STEPS = 10


def chain(rng: np.random.Generator, lengths: list[int], states: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """A start off the truth, and states (T,) drawn from sequences that stay with probability 0.8."""
    trans = np.full((states, states), 0.2 / (states - 1)) + np.eye(states) * (0.8 - 0.2 / (states - 1))
    total = np.cumsum(trans, axis=1)
    z, at = np.empty(sum(lengths), np.int64), 0
    for n in lengths:
        z[at] = rng.integers(states)
        for t, u in enumerate(rng.random(n - 1), at + 1):
            z[t] = np.searchsorted(total[z[t - 1]], u)
        at += n
    start = {"first": np.full(states, 1 / states), "trans": rng.dirichlet(np.full(states, 5.0), states)}
    return start, np.minimum(z, states - 1)


def climbed(model: Any, x: np.ndarray, lengths: list[int]) -> float:
    """Fits an hmmlearn model that has its start; the log-likelihood before the last M-step."""
    logging.getLogger("hmmlearn").setLevel(logging.ERROR)
    model.fit(x, lengths)
    return float(model.monitor_.history[-1])


def gaussian() -> Line:
    from hmmlearn.hmm import GaussianHMM

    rng, k, n = np.random.default_rng(0), 10, 100_000
    start, z = chain(rng, [n], k)
    mean = np.linspace(-6, 6, k)
    x = rng.normal(mean[z], 1.0)[:, None]
    start |= {"mean": mean[:, None] + rng.normal(0, 0.3, (k, 1)), "sd": np.full((k, 1), 1.5)}
    fitter = emdsl.compile(str(MODELS / "gaussian_hmm.em")).fitter(K=k, max_iter=STEPS, tol=0)

    def theirs() -> float:
        options: dict[str, Any] = {"init_params": "", "implementation": "scaling", "min_covar": 0.0}
        m = GaussianHMM(k, "diag", n_iter=STEPS, tol=-np.inf, covars_prior=0, covars_weight=0, **options)
        m.startprob_, m.transmat_ = start["first"].copy(), start["trans"].copy()
        m.means_, m.covars_ = start["mean"].copy(), start["sd"] ** 2
        return climbed(m, x, [n])

    found = by_turns(lambda: float(fitter.fit({"x": x}, init=start).history_[-2]), theirs, 3)
    return line("Gaussian HMM, one sequence, T=1e5 K=10", found, "2.5x")


def categorical() -> Line:
    from hmmlearn.hmm import CategoricalHMM

    rng, k, v, lengths = np.random.default_rng(1), 8, 50, [100] * 1000
    start, z = chain(rng, lengths, k)
    symbol = rng.dirichlet(np.full(v, 0.3), k)
    w = np.minimum((np.cumsum(symbol, axis=1)[z] < rng.random(len(z))[:, None]).sum(axis=1), v - 1)
    start["symbol"] = 0.5 * symbol + 0.5 * rng.dirichlet(np.full(v, 5.0), k)
    fitter = emdsl.compile(str(MODELS / "categorical_hmm.em")).fitter(K=k, V=v, max_iter=STEPS, tol=0)
    words = np.split(w, np.cumsum(lengths)[:-1])

    def theirs() -> float:
        options: dict[str, Any] = {"init_params": "", "implementation": "scaling"}
        m = CategoricalHMM(k, n_iter=STEPS, tol=-np.inf, **options)
        m.n_features = v
        m.startprob_, m.transmat_ = start["first"].copy(), start["trans"].copy()
        m.emissionprob_ = start["symbol"].copy()
        return climbed(m, w[:, None], lengths)

    found = by_turns(lambda: float(fitter.fit({"w": words}, init=start).history_[-2]), theirs, 3)
    return line("categorical HMM, 1000 x 100, K=8 V=50", found, "4x")


def line(work: str, found: tuple[float, float, Any, Any], goal: str) -> Line:
    mine, other, left, right = found
    per = 1e3 / STEPS
    return Line(work, "hmmlearn, scaling", other * per, mine * per, goal, agreement(left, right))


def run() -> list[Line]:
    return [gaussian(), categorical()]
