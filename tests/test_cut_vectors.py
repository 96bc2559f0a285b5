"""Gaussian vectors of which data compare elements with something, against scipy's normal distributions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

import emdsl

pytestmark = pytest.mark.filterwarnings("ignore::emdsl.runtime.data.faults.ConvergenceWarning")

PROBIT = """
model P
param m : real[{D}]
param R : correlation[{D}]
for n in N:
    latent u[n] ~ MvNormal(m, R)
"""
MEAN, R = np.array([0.4, -0.3]), np.array([[1.0, 0.6], [0.6, 1.0]])
SIGNS = np.array([[1, 0], [0, 0], [1, 1], [0, 1], [1, 1]], float)
GAPS = np.array([[1, np.nan], [0, 0], [np.nan, 1], [np.nan, np.nan], [0, 1]])


def below(signs: np.ndarray, mean: np.ndarray = MEAN, cov: np.ndarray = R) -> float:
    """The log probability of the signs of one Gaussian vector."""
    seen = ~np.isnan(signs)
    if not seen.any():
        return 0.0
    s = 2 * signs[seen] - 1
    law = stats.multivariate_normal(np.zeros(len(s)), np.outer(s, s) * cov[np.ix_(seen, seen)], abseps=1e-11)
    return float(np.log(law.cdf(s * mean[seen])))


@pytest.mark.parametrize(
    ("length", "seen", "signs"),
    [
        ("2", "    for j in 2:\n        observed y[n, j] ~ Delta(u[n, j] > 0)\n", SIGNS),
        ("2", "    for j in J:\n        observed y[n, j] ~ Delta(not u[n, j] <= 0)\n", GAPS),
        ("D", "    for j in D:\n        observed y[n, j] ~ Delta(u[n, j] > 0)\n", SIGNS),
        ("2", "    observed y[n] ~ Delta(u[n] > zeros(2))\n", GAPS),
        ("2", "    observed y[n] : bool[2] ~ Delta([u[n, 0] >= 0, not (u[n][1] < 0)])\n", SIGNS),
    ],
)
def test_signs_of_two(length: str, seen: str, signs: np.ndarray) -> None:
    """A probit of two, however it is spelt: the last element is a Normal in an interval given the other's points."""
    model = emdsl.compile(text=PROBIT.format(D=length) + seen)
    assert model.plan.keys() == {"u"} and model.plan["u"].method == "quadrature"
    fit = model.fitter(max_iter=0, on_degenerate="keep").fit({"y": signs}, init={"m": MEAN, "R": R})
    assert fit.log_likelihood_ == pytest.approx(sum(map(below, signs)), abs=1e-7)
    assert fit.posterior_["u"]["mean"].shape == (5, 2)
    if signs is SIGNS:  # of both above zero, by Stein's equation: E[u] = m + R g, g the slope of the log probability
        step = 1e-5 * np.eye(2)
        slope = [(below(signs[2], MEAN + e) - below(signs[2], MEAN - e)) / 2e-5 for e in step]
        np.testing.assert_allclose(fit.posterior_["u"]["mean"][2], MEAN + R @ slope, atol=1e-5)


def test_two_that_are_censored() -> None:
    """A tobit of two: each is seen where it is above zero. It was integrated over the points of no interval."""
    text = "model T\nparam m : real[2]\nparam S : spd[2]\nfor n in N:\n    latent u[n] ~ MvNormal(m, S)\n"
    model = emdsl.compile(text=text + "    for j in 2:\n        observed y[n, j] ~ Delta(max(u[n, j], 0))\n")
    S, y = np.array([[1.0, 0.6], [0.6, 2.0]]), np.array([[0.4, 0.0], [0.0, 1.2], [0.7, 0.3], [0.0, 0.0]])
    fit = model.fitter(max_iter=0, on_degenerate="keep").fit({"y": y}, init={"m": MEAN, "S": S})

    def given(i: int, value: float) -> float:  # the density of one, and the probability of the other below zero
        j, slope = 1 - i, S[0, 1] / S[i, i]
        rest = stats.norm(MEAN[j] + slope * (value - MEAN[i]), np.sqrt(S[j, j] - slope * S[0, 1]))
        return float(stats.norm(MEAN[i], np.sqrt(S[i, i])).logpdf(value) + rest.logcdf(0))

    both = stats.multivariate_normal(MEAN, S)
    want = given(0, 0.4) + given(1, 1.2) + both.logpdf(y[2]) + np.log(both.cdf([0, 0]))
    assert fit.log_likelihood_ == pytest.approx(float(want), abs=1e-7)


def test_longer_vectors_are_drawn_where_data_leave_them() -> None:
    """Of five the plan for the number that data have is one by draws, which begin inside."""
    signs = np.array([[1, 0, 1, 1, 0], [0, 0, 1, 0, 0], [1, 1, 1, 1, 1], [0, 1, 0, 1, 1]], float)
    text = PROBIT.format(D="D") + "    for j in D:\n        observed y[n, j] ~ Delta(u[n, j] > 0)\n"
    init: dict[str, Any] = {"m": np.zeros(5), "R": 0.5 * np.eye(5) + 0.5}
    fit = emdsl.compile(text=text).fitter(max_iter=0).fit({"y": signs}, init=init)
    assert np.array_equal(fit.posterior_["u"]["mean"] > 0, signs == 1)


def test_one_above_two_others() -> None:
    """`and` of two comparisons, one to the other side where it does not hold: the probability of a cone."""
    text = "model C\nparam m : real\nfor n in N:\n    latent a[n] ~ Normal(m, 1)\n    latent b[n] ~ Normal(0, 1)\n"
    text += "    latent c[n] ~ Normal(0, 1)\n    observed y[n] ~ Delta(a[n] > b[n] and a[n] > c[n])\n"
    fit = emdsl.compile(text=text).fitter(max_iter=0, on_degenerate="keep").fit({"y": [1, 0, 0]}, init={"m": 0.5})
    above = below(np.ones(2), np.full(2, 0.5) / np.sqrt(2), np.array([[1.0, 0.5], [0.5, 1.0]]))
    want = above + 2 * np.log1p(-np.exp(above))
    assert fit.log_likelihood_ == pytest.approx(want, abs=2 * abs(fit.quadrature_error_) + 1e-9)
