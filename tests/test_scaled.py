"""Gaussian vectors scaled by another latent, integrated out: against evidences in closed form and Student t's."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import special, stats

import emdsl

pytestmark = pytest.mark.filterwarnings("ignore::emdsl.runtime.data.faults.ConvergenceWarning")

NORMAL_WISHART = """
model M
latent W ~ Wishart(D + 2, eye(D))
latent m ~ MvNormal(ones(D), precision = 0.5 * W)
for n in N:
    observed x[n] ~ MvNormal(m, precision = W)
"""

NORMAL_INVERSE_WISHART = """
model M
latent C ~ InverseWishart(D + 2, eye(D))
latent m ~ MvNormal(ones(D), 2 * C)
for n in N:
    observed x[n] ~ MvNormal(m, C)
"""

SCALED = """
model M
param R : spd[D]
param mu : real[D]
for n in N:
    latent u[n] ~ Gamma(2, 2)
    latent y[n] ~ MvNormal(mu, R / u[n])
    observed x[n] ~ MvNormal(y[n], eye(D) / u[n])
"""

MIXED = """
model M
size K = 2
latent w ~ Dirichlet(ones(K))
for k in K:
    latent prec[k] ~ Wishart(D + 2, eye(D))
    latent mean[k] ~ MvNormal(zeros(D), precision = 0.1 * prec[k])
for n in N:
    latent   z[n] ~ Categorical(w)
    observed x[n] ~ MvNormal(mean[z[n]], precision = prec[z[n]])
infer w, (mean, prec), z by meanfield
"""


def evidence(x, m0, k0, df0, inverse_scale):
    """log p(x) of Normal data under a Normal-Wishart (Murphy 2007, equation 266), and the posterior's m, k, df, 1/W."""
    (n, d), centre = x.shape, x.mean(0)
    k, df, gap = k0 + n, df0 + n, x.mean(0) - m0
    after = inverse_scale + (x - centre).T @ (x - centre) + k0 * n / k * np.outer(gap, gap)
    log_det = [np.linalg.slogdet(a)[1] for a in (inverse_scale, after)]
    value = special.multigammaln(df / 2, d) - special.multigammaln(df0 / 2, d) - n * d / 2 * np.log(np.pi)
    value += df0 / 2 * log_det[0] - df / 2 * log_det[1] + d / 2 * np.log(k0 / k)
    return value, (k0 * m0 + n * centre) / k, k, df, after


@pytest.mark.parametrize(
    ("text", "name"), [(NORMAL_WISHART, "W"), (NORMAL_INVERSE_WISHART, "C")], ids=["wishart", "inverse wishart"]
)
def test_evidence_and_posterior(text: str, name: str) -> None:
    x = np.random.default_rng(0).normal(size=(9, 3)) + 1
    value, mean, k, df, after = evidence(x, np.ones(3), 0.5, 5, np.eye(3))
    model = emdsl.compile(text=text)
    assert {n: p.method for n, p in model.plan.items()} == {name: "exact:conjugate", "m": "exact:gaussian"}
    est = model.fitter().fit(x)
    assert est.log_likelihood_ == pytest.approx(value, rel=1e-12)
    np.testing.assert_allclose(est.posterior_["m"]["mean"], mean, rtol=1e-12)
    np.testing.assert_allclose(est.posterior_["m"]["cov"], after / (df - 4) / k, rtol=1e-11)
    assert est.posterior_[name]["df"] == pytest.approx(df)
    expected = df * np.linalg.inv(after) if name == "W" else after / (df - 4)
    np.testing.assert_allclose(est.posterior_[name]["mean"], expected, rtol=1e-11)


def test_a_number_that_scales_a_vector() -> None:
    """x = y + e, both with covariances over u: a multivariate t; the posterior of y by its own conditional."""
    rng = np.random.default_rng(1)
    x, r = rng.normal(size=(30, 2)) * 2, np.array([[1.0, 0.3], [0.3, 2.0]])
    start = {"R": r, "mu": np.ones(2)}
    model = emdsl.compile(text=SCALED)
    est = model.fitter(max_iter=0).fit(x, init=start)
    whole = r + np.eye(2)
    assert est.log_likelihood_ == pytest.approx(stats.multivariate_t(np.ones(2), whole, 4).logpdf(x).sum(), rel=1e-12)
    gain = r @ np.linalg.inv(whole)
    mean = 1 + (x - 1) @ gain.T
    shape, rate = 2 + 1.0, 2 + 0.5 * ((x - 1) @ np.linalg.inv(whole) * (x - 1)).sum(1)
    np.testing.assert_allclose(est.posterior_["y"]["mean"], mean, rtol=1e-10)
    cov = (r - gain @ r) * (rate / (shape - 1))[:, None, None]
    np.testing.assert_allclose(est.posterior_["y"]["cov"], cov, rtol=1e-9)
    climbed = model.fitter(max_iter=60, tol=0).fit(x, init=start)
    assert np.diff(climbed.history_).min() > -1e-10
    p = climbed.params_
    total = stats.multivariate_t(p["mu"], p["R"] + np.eye(2), 4).logpdf(x).sum()
    assert climbed.log_likelihood_ == pytest.approx(total, rel=1e-11)


def test_a_mixture_by_hand() -> None:
    """Bishop (2006), equations 10.57 to 10.66, once round from probabilities of z."""
    rng = np.random.default_rng(2)
    x = np.concatenate([rng.normal(-2, 1, (10, 2)), rng.normal(2, 1, (12, 2))])
    q = rng.dirichlet(np.ones(2), 22)
    est = emdsl.compile(text=MIXED).fitter(max_iter=0).fit(x, init={"z": q})
    counts, log_rho = q.sum(0), []
    alpha = 1 + counts
    for k in range(2):
        centre = q[:, k] @ x / counts[k]
        scatter = (q[:, k, None] * (x - centre)).T @ (x - centre)
        beta, df = 0.1 + counts[k], 4 + counts[k]
        mean = counts[k] * centre / beta
        after = np.eye(2) + scatter + 0.1 * counts[k] / beta * np.outer(centre, centre)
        scale = np.linalg.inv(after)
        np.testing.assert_allclose(est.posterior_["mean"]["mean"][k], mean, rtol=1e-10)
        np.testing.assert_allclose(est.posterior_["prec"]["scale"][k], scale, rtol=1e-9)
        log_det = special.digamma((df - np.arange(2)) / 2).sum() + 2 * np.log(2) + np.linalg.slogdet(scale)[1]
        square = 2 / beta + df * ((x - mean) @ scale * (x - mean)).sum(1)
        log_rho.append(special.digamma(alpha[k]) - special.digamma(alpha.sum()) + log_det / 2 - square / 2)
    np.testing.assert_allclose(est.posterior_["z"], special.softmax(np.array(log_rho).T, axis=1), rtol=1e-8)


GROUPS = """
model Groups
param m : real
param k : positive
param a : positive
param b : positive
for g in G:
    latent tau[g] ~ Gamma(a, b)
    latent mu[g] ~ Normal(m, precision = k * tau[g])
    {rows}
"""
BY_LENGTH = "for i in I[g]:\n        observed x[g, i] ~ Normal(mu[g], precision = tau[g])"
BY_INDEX = "\nfor n in N:\n    given of[n] : index[G]\n    observed x[n] ~ Normal(mu[of[n]], precision = tau[of[n]])"


@pytest.mark.parametrize("rows", [BY_LENGTH, BY_INDEX])
def test_a_mean_and_a_precision_of_groups_of_any_length(rows: str) -> None:
    """Normal and Gamma together (DeGroot 1970, 9.6), reached through data: fell to mean-field."""
    x = [np.array([0.3, 2.0, -1.0]), np.array([1.5]), np.array([4.0, 3.5])]
    p = {"m": 0.5, "k": 0.7, "a": 2.0, "b": 1.5}
    data: dict[str, Any] = {"x": x} if rows is BY_LENGTH else {"x": np.concatenate(x), "of": [0, 0, 0, 1, 2, 2]}
    model = emdsl.compile(text=GROUPS.format(rows=rows))
    assert "meanfield" not in {c.method for c in model.plan.values()}
    total = 0.0
    for v in x:
        n, k, a = len(v), p["k"] + len(v), p["a"] + len(v) / 2
        b = p["b"] + 0.5 * ((v - v.mean()) ** 2).sum() + p["k"] * n * (v.mean() - p["m"]) ** 2 / (2 * k)
        total += math.lgamma(a) - math.lgamma(p["a"]) + p["a"] * math.log(p["b"]) - a * math.log(b)
        total += 0.5 * math.log(p["k"] / k) - n / 2 * math.log(2 * math.pi)
    found = model.fitter().e_step({n: np.array(v) for n, v in p.items()}, data)["log_likelihood"]
    assert found == pytest.approx(total, rel=1e-12)
