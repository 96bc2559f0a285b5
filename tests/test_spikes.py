"""Continuous latents with a point mass in a branch, against Gaussians and points written out."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

import emdsl

pytestmark = pytest.mark.filterwarnings("ignore::emdsl.runtime.data.faults.ConvergenceWarning")

SPIKES = """
model Spikes
param S : spd[2]
param c : real
param w : simplex[3]
for n in N:
    latent z[n] ~ Categorical(w)
    latent x[n] ~ Delta(zeros(2)) if z[n] == 0 else (MvNormal(zeros(2), S) if z[n] == 1 else Delta([c, 0]))
    observed y[n] ~ MvNormal(x[n], eye(2))
    observed u[n] ~ Normal(2 * x[n, 0], 1)
"""


def test_a_latent_that_is_a_point_in_some_branches() -> None:
    """Moments of a mixture of points and a Gaussian: was left to Monte Carlo, which ended in a KeyError."""
    rng = np.random.default_rng(0)
    data = {"y": rng.normal(size=(7, 2)) * [2, 1], "u": rng.normal(size=7)}
    params = {"S": np.array([[2.0, 0.5], [0.5, 1.0]]), "c": np.array(1.5), "w": np.array([0.3, 0.5, 0.2])}
    fit = emdsl.compile(text=SPIKES).fitter(init=params, max_iter=0).fit(data)
    seen, A = np.column_stack([data["y"], data["u"]]), np.array([[1, 0], [0, 1], [2, 0]])
    point = np.array([1.5, 0.0])
    spread = np.eye(3) + A @ params["S"] @ A.T
    parts = (np.zeros(3), np.eye(3)), (np.zeros(3), spread), (A @ point, np.eye(3))
    joint = np.log(params["w"]) + np.stack([multivariate_normal.logpdf(seen, m, C) for m, C in parts], -1)
    total = np.logaddexp.reduce(joint, axis=1)
    q = np.exp(joint - total[:, None])
    cov = np.linalg.inv(np.linalg.inv(params["S"]) + A.T @ A)
    own = seen @ A @ cov
    mean = q[:, 1:2] * own + q[:, 2:] * point
    second = q[:, 1, None, None] * (cov + own[:, :, None] * own[:, None]) + q[:, 2, None, None] * np.outer(point, point)
    assert fit.log_likelihood_ == pytest.approx(total.sum())
    np.testing.assert_allclose(fit.posterior_["x"]["mean"], mean, atol=1e-12)
    np.testing.assert_allclose(fit.posterior_["x"]["cov"], second - mean[:, :, None] * mean[:, None], atol=1e-12)


def test_the_certificate_says_where_points_that_move_have_no_oracle() -> None:
    found = emdsl.compile(text=SPIKES).verify()
    assert any("a point in some branches" in c.note for c in found.checks)
    assert not [c for c in found.checks if c.status == "failed"]


def test_draws_of_a_latent_with_points_are_refused() -> None:
    """No kernel jumps onto a point: a wrong answer would look like a right one."""
    assert "no kernel moves between them" in str(emdsl.compile(text=SPIKES, infer={"x": "mcmc"}).refusal)


WALK = """
model Walk
param s : positive
for t in T:
    latent b[t] ~ Delta(2) if t == 0 else Normal(b[t-1], s)
    observed y[t] ~ Normal(b[t], 1)
"""


def test_a_walk_from_a_known_point_far_from_zero() -> None:
    """Was drawn by SAEM, to any answer; and a point told in data's coordinates was off by what they are about."""
    y = 1000 + np.random.default_rng(1).normal(size=5)
    fit = emdsl.compile(text=WALK).fitter(init={"s": 1.5}, max_iter=0).fit({"y": y})
    prior = 1.5**2 * np.minimum.outer(np.arange(5), np.arange(5))
    gain = prior @ np.linalg.inv(prior + np.eye(5))
    assert fit.log_likelihood_ == pytest.approx(multivariate_normal.logpdf(y, np.full(5, 2.0), prior + np.eye(5)))
    np.testing.assert_allclose(fit.posterior_["b"]["mean"], 2 + gain @ (y - 2), rtol=1e-10)
    np.testing.assert_allclose(fit.posterior_["b"]["var"], np.diag(prior - gain @ prior), atol=1e-8)


def test_where_data_say_which_elements_are_points() -> None:
    """An effect of the groups that have one; the point may be another latent."""
    text = """
    model Some
    param s : positive
    for g in G:
        given has[g] : bool
        latent a[g] ~ Normal(3, 1)
        latent b[g] ~ Normal(a[g], s) if has[g] else Delta(a[g])
        observed y[g] ~ Normal(b[g], 1)
    """
    has, y = np.array([1.0, 0.0, 1.0, 0.0]), np.array([4.0, 5.0, 1.0, 2.5])
    fit = emdsl.compile(text=text).fitter(init={"s": 2.0}, max_iter=0).fit({"has": has, "y": y})
    own = 1 + 4 * has
    assert fit.log_likelihood_ == pytest.approx(norm.logpdf(y, 3, np.sqrt(1 + own)).sum())
    np.testing.assert_allclose(fit.posterior_["b"]["mean"], 3 + own / (1 + own) * (y - 3))
    np.testing.assert_allclose(fit.posterior_["b"]["var"], own / (1 + own))


def test_equalities_of_continuous_latents_are_refused() -> None:
    """No draw hits a set of no mass: Monte Carlo gave numbers all the same."""
    text = "model M\nparam s : positive\nfor n in N:\n    latent u[n] ~ Normal(0, s)\n    observed y[n] ~ Delta(u[n])"
    assert "no draw hits" in str(emdsl.compile(text=text, infer={"u": "mcmc"}).refusal)


SLABS = """
model Slabs
param t : positive
for j in J:
    latent z[j] ~ Bernoulli(0.3)
    latent b[j] ~ Normal(0, t) if z[j] else Delta(0)
for n in N:
    given X[n, J] : real
    observed y[n] ~ Normal(X[n, 0] * b[0] + X[n, 1] * b[1], 1)
infer z, b by exact
"""


def test_points_under_configurations() -> None:
    """Coefficients that are 0 or not, of one regression: every subset of them, and what is told of each over all."""
    rng = np.random.default_rng(5)
    X = rng.normal(size=(6, 2))
    y = X[:, 1] + rng.normal(size=6)
    fit = emdsl.compile(text=SLABS).fitter(init={"t": 1.5}, max_iter=0).fit({"X": X, "y": y})
    logs, means, seconds = [], [], []
    for z in np.ndindex(2, 2):
        prior = 1.5**2 * np.diag(z)
        spread = X @ prior @ X.T + np.eye(6)
        gain = prior @ X.T @ np.linalg.inv(spread)
        weight = np.log(np.where(z, 0.3, 0.7)).sum()
        logs.append(weight + multivariate_normal.logpdf(y, np.zeros(6), spread))
        means.append(gain @ y)
        seconds.append(np.diag(prior - gain @ X @ prior) + means[-1] ** 2)
    total = np.logaddexp.reduce(logs)
    q = np.exp(np.array(logs) - total)
    assert fit.log_likelihood_ == pytest.approx(total)
    np.testing.assert_allclose(fit.posterior_["b"]["mean"], q @ means, rtol=1e-9)
    np.testing.assert_allclose(fit.posterior_["b"]["var"], q @ seconds - (q @ means) ** 2, rtol=1e-9)
