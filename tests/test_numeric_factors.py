"""Factors of q without a family, held at points: against sweeps on dense grids, evidence, and quadrature itself."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special, stats

import emdsl
from emdsl.errors import ModelError

pytestmark = pytest.mark.filterwarnings("ignore::emdsl.runtime.data.faults.ConvergenceWarning")

CROSSED = """
model Crossed
param c  : real
param s1 : positive
param s2 : positive
for i in I: latent a[i] ~ Normal(0, s1)
for j in J: latent b[j] ~ Normal(0, s2)
for i in I:
    for j in J: observed y[i, j] ~ Bernoulli(logit = c + a[i] + b[j])
infer a, b by meanfield
"""
SHAPE = """
model Shape
latent shape ~ Gamma(2, 1)
latent rate  ~ Gamma(2, 1)
for n in N: observed y[n] ~ Gamma(shape, rate)
infer shape, rate by meanfield
"""
PAIR = """
model Pair
latent a ~ Normal(0, 2)
latent b ~ Normal(0, 2)
for n in N:
    given x[n] : real
    observed y[n] ~ Bernoulli(logit = a + b * x[n])
"""


def test_crossed_effects_of_a_logistic_regression() -> None:
    """Two factors on grids of 150 values, by hand; the bound with every constant, and its error told."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, (3, 2))
    grid = np.linspace(-6, 6, 150)
    width = grid[1] - grid[0]
    table = [-np.logaddexp(0, -(2 * k - 1) * (0.3 + grid[:, None] + grid)) for k in (0, 1)]
    log_a, log_b = stats.norm(0, 1).logpdf(grid), stats.norm(0, 0.5).logpdf(grid)
    q_b = np.full((2, 150), 1 / 150)
    for _ in range(30):
        q_a = np.array([special.softmax(log_a + sum(table[y[i, j]] @ q_b[j] for j in range(2))) for i in range(3)])
        q_b = np.array([special.softmax(log_b + sum(q_a[i] @ table[y[i, j]] for i in range(3))) for j in range(2)])
    bound = sum(q_a[i] @ table[y[i, j]] @ q_b[j] for i in range(3) for j in range(2))
    bound += (q_a @ log_a - special.xlogy(q_a, q_a / width).sum(1)).sum()
    bound += (q_b @ log_b - special.xlogy(q_b, q_b / width).sum(1)).sum()
    fixed = {"c": 0.3, "s1": 1.0, "s2": 0.5}
    model = emdsl.compile(text=CROSSED)
    est = model.fitter(max_iter=100, tol=1e-13, seed=0, fixed=fixed).fit({"y": y})
    assert est.objective_ == pytest.approx(bound, abs=1e-7)
    assert abs(est.quadrature_error_) < 1e-6
    np.testing.assert_allclose(est.posterior_["a"]["mean"], q_a @ grid, atol=1e-5)
    np.testing.assert_allclose(est.posterior_["b"]["mean"], q_b @ grid, atol=1e-5)
    assert "not known" not in model.plan["a"].reason and "a factor of q for a" in model.plan["a"].reason
    free = model.fitter(max_iter=4, tol=0, seed=0).fit({"y": y})
    assert np.diff(free.history_).min() > -1e-9


def test_a_shape_beside_its_rate() -> None:
    """log Gamma(shape) is no statistic of a family: one factor at points beside a Gamma; below the evidence."""
    y = np.random.default_rng(1).gamma(3, 0.5, 20)
    est = emdsl.compile(text=SHAPE).fitter(max_iter=200, tol=1e-14, seed=0).fit({"y": y})
    s = np.exp(np.linspace(-4, 4, 4001))
    width, log_rate = np.gradient(s), 0.0
    prior = stats.gamma(2).logpdf(s)
    for _ in range(200):
        q = special.softmax(prior + s * (20 * log_rate + np.log(y).sum()) - 20 * special.gammaln(s) + np.log(width))
        shape, rate = 2 + 20 * (q @ s), 1 + y.sum()
        log_rate = special.digamma(shape) - np.log(rate)
    mean = q @ s
    bound = q @ prior + log_rate - shape / rate + 20 * (mean * log_rate - q @ special.gammaln(s))
    bound += (mean - 1) * np.log(y).sum() - shape / rate * y.sum() - special.xlogy(q, q / width).sum()
    bound += stats.gamma(shape, scale=1 / rate).entropy()
    assert est.objective_ == pytest.approx(bound, abs=1e-5)
    assert est.posterior_["shape"]["mean"] == pytest.approx(mean, abs=1e-4)
    evidence = prior + special.gammaln(2 + 20 * s) - (2 + 20 * s) * np.log(1 + y.sum())
    evidence += (s - 1) * np.log(y).sum() - 20 * special.gammaln(s) + np.log(width)
    assert est.objective_ < special.logsumexp(evidence) - 0.01


def test_one_factor_of_all_is_quadrature() -> None:
    rng = np.random.default_rng(2)
    data = {"x": rng.normal(size=12), "y": rng.integers(0, 2, 12)}
    one = emdsl.compile(text=PAIR + "infer (a, b) by meanfield\n").fitter(max_iter=3, seed=0).fit(data)
    exact = emdsl.compile(text=PAIR + "infer a, b by quadrature\n").fitter(max_iter=3, seed=0).fit(data)
    assert one.objective_ == pytest.approx(exact.objective_, rel=1e-10)
    apart = emdsl.compile(text=PAIR + "infer a, b by meanfield\n").fitter(max_iter=30, seed=0).fit(data)
    assert apart.objective_ < exact.objective_ - 1e-3


def test_what_is_integrated_together_is_one_factor() -> None:
    line = "infer a by meanfield\ninfer (a, b) by quadrature\n"
    with pytest.raises(ModelError):
        emdsl.compile(text=PAIR + line).source  # noqa: B018
    with pytest.raises(ModelError, match="not beside mean-field"):
        text = """
        model Counts
        latent m ~ Gamma(2, 1)
        for i in I:
            latent n[i] ~ Poisson(m)
            for t in T: observed y[i, t] ~ Binomial(n[i], 0.4)
        infer m by meanfield
        infer n by quadrature
        """
        emdsl.compile(text=text).source  # noqa: B018


def test_a_number_that_data_tell_beside_one_at_points() -> None:
    """A limit of what is seen: where it is not reached, the latent is the number seen, and its coordinate has no share.

    At a = 0 the factors of q are the posterior, and the bound is the log-likelihood.
    """
    model = emdsl.compile(
        text="""
model M
param a : real
param s : positive
for n in N:
    latent z[n] ~ Bernoulli(0.5)
    latent beside[n] ~ Normal(a * z[n], 1)
    latent time[n] ~ Normal(beside[n], s)
    given e[n] : positive
    observed y[n] ~ Delta(min(time[n], e[n]))
infer z by meanfield
"""
    )
    assert model.plan["time"].method == "meanfield"
    e, y = np.array([1.7, 3.0, 2.4, 0.9]), np.array([1.7, -3.2, 0.4, 0.3])
    bound = model.fitter(max_iter=3, tol=0, init={"a": 0.0, "s": 2.0}, fixed={"a": 0.0, "s": 2.0}).fit({"e": e, "y": y})
    spread = np.sqrt(5.0)
    wanted = np.where(y == e, stats.norm.logsf(e, 0, spread), stats.norm.logpdf(y, 0, spread)).sum()
    assert abs(bound.history_[-1] - wanted) < 1e-5  # 31 points in each of two dimensions
