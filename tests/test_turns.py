"""Products of elements of one latent under mean-field: against coordinate updates and bounds written by hand."""

from __future__ import annotations

from functools import cache
from itertools import combinations

import numpy as np
import pytest
from scipy import special, stats

import emdsl
from emdsl.errors import DataError, ModelError

pytestmark = pytest.mark.filterwarnings("ignore::emdsl.runtime.data.faults.ConvergenceWarning")

RATES = """
model Rates
for i in I: latent f[i] ~ Gamma(2, 1.5)
for i in I:
    for j in I if j < i: observed a[i, j] ~ Poisson(f[i] * f[j])
infer f by meanfield
"""
EDGES = """
model Edges
for i in I: latent f[i] ~ Gamma(2, 1.5)
for e in E:
    given from[e] : index[I]
    given to[e]   : index[I]
    observed a[e] ~ Poisson(f[from[e]] * f[to[e]])
infer f by meanfield
"""
SCORES = """
model Scores
size Q = 2
param s : positive
param c : real
for i in I: latent u[i] ~ MvNormal(zeros(Q), eye(Q))
for i in I:
    for j in I if j != i: observed y[i, j] ~ Normal(c + u[i] @ u[j], s)
infer u by meanfield
"""
ANGLES = """
model Angles
for t in T: latent f[t] ~ VonMises(0.3, 0.5)
for t in T if t > 0: observed y[t] ~ VonMises(f[t] - f[t-1], 3)
infer f by meanfield
"""
THREE = """
model Three
for i in I: latent f[i] ~ Gamma(2, 2)
for i in I:
    for j in I if j < i:
        for k in I if k < j: observed y[i, j, k] ~ Gamma(2, rate = f[i] * f[j] * f[k])
infer f by meanfield
"""


@cache
def model_of(text: str):
    return emdsl.compile(text=text)


def fit(text: str, data, iterations: int = 400, **options):
    est = model_of(text).fitter(max_iter=iterations, tol=1e-13, seed=1, **options).fit(data)
    assert np.diff(est.history_).min() > -1e-8
    return est


def test_rates_that_are_products() -> None:
    """Gamma factors by a plain loop; the bound by its definition; pairs as plates are the same pairs as rows."""
    rng = np.random.default_rng(0)
    a = rng.poisson(np.outer(*[rng.gamma(2, 0.6, 7)] * 2))
    lower, upper = np.tril_indices(7, -1)
    counts = np.tril(a, -1) + np.tril(a, -1).T
    est, mean = fit(RATES, {"a": a}), np.ones(7)
    for _ in range(500):
        for i in range(7):
            mean[i] = (2 + counts[i].sum()) / (1.5 + mean.sum() - mean[i])
    np.testing.assert_allclose(est.posterior_["f"]["mean"], mean, rtol=1e-6)
    shape = 2 + counts.sum(1)
    np.testing.assert_allclose(est.posterior_["f"]["shape"], shape, rtol=1e-12)
    log = special.digamma(shape) - np.log(shape / mean)
    seen = a[lower, upper]
    bound = (seen * (log[lower] + log[upper]) - mean[lower] * mean[upper] - special.gammaln(seen + 1)).sum()
    bound += (2 * np.log(1.5) + log - 1.5 * mean + stats.gamma(shape, scale=mean / shape).entropy()).sum()
    assert est.objective_ == pytest.approx(bound, abs=1e-8)
    rows = fit(EDGES, {"from": lower, "to": upper, "a": seen})
    assert rows.objective_ == pytest.approx(bound, abs=1e-8)
    np.testing.assert_allclose(rows.posterior_["f"]["mean"], mean, rtol=1e-6)


def test_a_row_that_holds_one_element_twice_is_refused() -> None:
    with pytest.raises(DataError, match="row 1 holds one element of f twice"):
        fit(EDGES, {"from": [0, 1], "to": [1, 1], "a": [2, 3]})
    with pytest.raises(ModelError, match="may hold one element of f twice"):
        emdsl.compile(text=RATES.replace(" if j < i", "")).source  # noqa: B018
    emdsl.compile(text=RATES.replace("j < i", "i < j and j < 5")).source  # noqa: B018


@pytest.mark.parametrize("far", [0.0, 1e6])
def test_inner_products_of_vectors(far: float) -> None:
    """One more sweep by hand stays where the fit ended; the bound and both parameters, wherever the data lie."""
    rng = np.random.default_rng(1)
    n = 5
    u = rng.normal(size=(n, 2))
    y = u @ u.T + 0.3 * rng.normal(size=(n, n)) + far
    est = fit(SCORES, {"y": y}, 3000)
    mean, cov = est.posterior_["u"]["mean"].copy(), est.posterior_["u"]["cov"].copy()
    c, s2 = est.params_["c"], est.params_["s"] ** 2
    off, before = ~np.eye(n, dtype=bool), mean.copy()
    z = np.where(off, y - c, 0.0)
    for i in range(n):
        second = mean[:, :, None] * mean[:, None] + cov
        cov[i] = np.linalg.inv(np.eye(2) + 2 * (second.sum(0) - second[i]) / s2)
        mean[i] = cov[i] @ ((z + z.T)[i] @ mean) / s2
    np.testing.assert_allclose(mean, before, atol=1e-4)
    second = mean[:, :, None] * mean[:, None] + cov
    squares = z**2 - 2 * z * (mean @ mean.T) + np.einsum("iab,jab->ij", second, second)
    assert s2 == pytest.approx(squares[off].mean(), rel=1e-4)
    assert c - far == pytest.approx((y - far - mean @ mean.T)[off].mean(), abs=1e-4)
    bound = -0.5 * (np.log(2 * np.pi * s2) + squares[off] / s2).sum() - 0.5 * np.trace(second.sum(0))
    bound += 0.5 * (np.linalg.slogdet(cov)[1] + 2).sum()  # entropies, less log 2 pi of the prior
    assert est.objective_ == pytest.approx(bound, abs=1e-5)


def test_angles_one_after_the_other() -> None:
    """cos(f[t] - f[t-1]) is opened by the theorem of addition: each angle is von Mises given those beside it."""
    y = np.random.default_rng(2).vonmises(0.5, 2, 9)
    found = fit(ANGLES, {"y": y}).posterior_["f"]
    eta = found["concentration"] * np.exp(1j * found["mean"])
    e = special.ive(1, abs(eta)) / special.ive(0, abs(eta)) * eta / abs(eta)
    for t in range(9):
        want = 0.5 * np.exp(0.3j)
        want += 3 * e[t - 1] * np.exp(1j * y[t]) if t > 0 else 0
        want += 3 * e[t + 1] * np.exp(-1j * y[t + 1]) if t < 8 else 0
        assert eta[t] == pytest.approx(want, rel=1e-4)


def test_three_in_one_row() -> None:
    """Conditions one after the other keep all three apart: k < j < i."""
    y = np.random.default_rng(3).gamma(2, 1, (4, 4, 4))
    found = fit(THREE, {"y": y}).posterior_["f"]
    mean, rate = found["mean"], np.full(4, 2.0)
    for k, j, i in combinations(range(4), 3):
        for own, a, b in ((i, j, k), (j, i, k), (k, i, j)):
            rate[own] += y[i, j, k] * mean[a] * mean[b]
    np.testing.assert_allclose(found["rate"], rate, rtol=1e-5)
    np.testing.assert_allclose(found["shape"], 2 + 2 * 3, rtol=1e-12)
