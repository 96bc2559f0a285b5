"""Gaussian latents: factor analysis beside scikit-learn, a linear system beside dynamax and statsmodels, random
intercepts beside statsmodels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import emdsl
from benchmarks.timing import MODELS, Line, agreement, by_loops, by_turns

STEPS = 10


def fitter(name: str, **options: Any) -> Any:
    """The estimator of one model of the gallery."""
    return emdsl.compile(str(MODELS / f"{name}.em")).fitter(**options)


def factor_analysis() -> Line:
    """An iteration each, what is done once taken off: the time of many less that of few.

    Theirs solves for the loadings exactly, so likelihoods are compared at their last point.
    """
    from sklearn.decomposition import FactorAnalysis

    rng, n, d, k = np.random.default_rng(0), 50_000, 50, 5
    load = rng.normal(size=(d, k))
    x = rng.normal(size=(n, k)) @ load.T + rng.normal(size=(n, d)) * rng.uniform(0.5, 1.5, d) + rng.normal(size=d)
    start = {"mean": x.mean(0), "load": load + rng.normal(0, 0.3, load.shape), "noise": np.ones(d)}
    few, many = (fitter("factor_analysis", Q=k, max_iter=steps, tol=0) for steps in (STEPS, 20 * STEPS))

    def theirs(steps: int) -> Any:
        return FactorAnalysis(k, tol=0, max_iter=steps, svd_method="lapack", noise_variance_init=np.ones(d)).fit(x)

    once, other_once, _, _ = by_turns(lambda: few.fit({"x": x}, init=start), lambda: theirs(1), 3)
    whole, other, _, right = by_turns(lambda: many.fit({"x": x}, init=start), lambda: theirs(4), 3)
    there = {"mean": right.mean_, "load": right.components_.T, "noise": right.noise_variance_}
    same = fitter("factor_analysis", Q=k, max_iter=0).fit({"x": x}, init=there).log_likelihood_
    agree = agreement(same, float(right.score(x)) * n)
    work = "factor analysis, N=5e4 D=50 K=5, an iteration"
    each, other_each = (whole - once) / (19 * STEPS), (other - other_once) / 3
    return Line(work, "scikit-learn, lapack", other_each * 1e3, each * 1e3, "100x", agree)


def linear_systems() -> list[Line]:
    """A whole iteration here, with and without compiled loops; dynamax's E-step and statsmodels' smoother alone there.

    The likelihoods are those of the start. dynamax is compiled before it is timed, and runs in double precision.
    """
    rng, n, d, k = np.random.default_rng(1), 5000, 8, 4
    turn = np.linalg.qr(rng.normal(size=(k, k)))[0] * 0.9
    load, noise = rng.normal(size=(d, k)), rng.uniform(0.5, 1.5, d)
    h = rng.normal(size=(n, k))
    for t in range(1, n):
        h[t] += turn @ h[t - 1]
    x = h @ load.T + rng.normal(size=(n, d)) * np.sqrt(noise)
    start = {"A": turn, "C": load, "start": np.zeros(k), "noise": noise}
    few, many = (fitter("linear_dynamical_system", Q=k, max_iter=steps, tol=0) for steps in (STEPS, 6 * STEPS))
    work = "linear system, T=5000, 4 states, 8 outputs, an iteration"
    lines = []
    for peer, theirs in (
        ("dynamax, E-step", in_dynamax(x, start)),
        ("statsmodels, smoother", in_statsmodels(x, start)),
    ):
        for wish in ("off", "on"):
            with by_loops(wish):
                once = by_turns(lambda: few.fit({"x": x}, init=start).history_[0], lambda: 0.0, 3)[0]
                mine, other, left, right = by_turns(
                    lambda: many.fit({"x": x}, init=start).history_[0], theirs, 3
                )  # what is done once is taken off
            name = work + (" (numba)" if wish == "on" else "")
            each = (mine - once) / (5 * STEPS)
            lines.append(Line(name, peer, other * 1e3, each * 1e3, "20x dynamax", agreement(left, right)))
    return lines


def in_dynamax(x: np.ndarray, start: dict[str, np.ndarray]) -> Callable[[], float]:
    """Its compiled E-step at these parameters: the log-likelihood."""
    import jax

    jax.config.update("jax_enable_x64", True)
    from dynamax.linear_gaussian_ssm import LinearGaussianSSM

    (d, k), one = start["C"].shape, np.eye(start["C"].shape[1])
    model = LinearGaussianSSM(k, d, has_dynamics_bias=False, has_emissions_bias=False)
    known: dict[str, Any] = {"dynamics_weights": start["A"], "dynamics_covariance": one}
    known |= {"emission_weights": start["C"], "emission_covariance": np.diag(start["noise"])}
    params, _ = model.initialize(initial_mean=start["start"], initial_covariance=one, **known)
    step = jax.jit(model.e_step)
    return lambda: float(jax.block_until_ready(step(params, x))[1])


def in_statsmodels(x: np.ndarray, start: dict[str, np.ndarray]) -> Callable[[], float]:
    """Its smoother at these parameters: the log-likelihood."""
    from statsmodels.tsa.statespace.kalman_smoother import KalmanSmoother

    (d, k), one = start["C"].shape, np.eye(start["C"].shape[1])
    known: dict[str, Any] = {"design": start["C"], "obs_cov": np.diag(start["noise"]), "transition": start["A"]}

    def smoothed() -> float:
        s = KalmanSmoother(d, k, k, selection=one, state_cov=one, tolerance=0.0, **known)
        s.bind(x.copy())
        s.initialize_known(start["start"], one)
        return float(s.smooth().llf_obs.sum())

    return smoothed


def random_intercepts() -> Line:
    """The whole fit by maximum likelihood, from each side's own start."""
    from statsmodels.regression.mixed_linear_model import MixedLM

    rng, n, groups = np.random.default_rng(2), 20_000, 1000
    subject = rng.integers(0, groups, n)
    X = np.column_stack([np.ones(n), rng.normal(size=(n, 2))])
    y = X @ [1.0, -0.5, 2.0] + rng.normal(size=groups)[subject] * 1.2 + rng.normal(size=n)
    climber = fitter("random_intercepts", max_iter=2000, tol=1e-11, seed=0)

    def ours() -> float:
        return float(climber.fit({"X": X, "subject": subject, "y": y}).log_likelihood_)

    found = by_turns(ours, lambda: float(MixedLM(y, X, subject).fit(reml=False).llf), 3)
    mine, other, left, right = found
    work = "random intercepts, N=2e4, 1000 groups, whole fit"
    return Line(work, "statsmodels, MixedLM", other * 1e3, mine * 1e3, "40x", agreement(left, right))


def run() -> list[Line]:
    return [factor_analysis(), *linear_systems(), random_intercepts()]
