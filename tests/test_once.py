"""Data that enter once: sums before the first iteration, and iterations that read no row (see docs/decisions/0016)."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from gallery import compiled
from scipy.special import logsumexp
from scipy.stats import multivariate_normal, poisson

import emdsl

pytestmark = pytest.mark.filterwarnings("ignore::emdsl.runtime.data.faults.ConvergenceWarning")
RNG = np.random.default_rng(11)
N = 60

LAWNS = """
model Lawns
size Height = 2
param G    : real[Height, P]
param gras : real[D]
param load : real[D, Height]
param s    : positive
for n in N:
    given z[n] : real[P]
    latent tall[n] ~ MvNormal(G @ z[n], eye(Height))
    observed x[n] ~ MvNormal(gras + load @ tall[n], s * eye(D))
"""
BALES = """
model Bales
param m : real[2]
param S : spd[2]
param g[2] : real
param sd : positive
for i in I:
    latent u[i] : real[2] ~ MvNormal(m, S)
    latent v[i] ~ Normal(g[0] * u[i, 0], 1)
    observed w[i] ~ Normal(u[i, 0], 0.5)
    for j in J:
        observed y[i, j] ~ Normal(u[i, 1] + v[i], sd)
"""
SLOPES = """
model Slopes
param b  : real[P]
param s  : positive
param s2 : positive
for g in G:
    latent a[g] ~ Normal(0, var = s2)
for n in N:
    given X[n] : real[P]
    given farm[n] : index[G]
    observed y[n] ~ Normal(X[n] @ b + a[farm[n]], sd = s)
"""
PLAIN = """
model Plain
param m : real[D]
param S : spd[D]
for n in N:
    observed y[n] ~ MvNormal(m, S)
"""


def _lawns() -> tuple[dict[str, Any], dict[str, Any], Any]:
    G, load, gras = RNG.normal(size=(2, 3)), RNG.normal(size=(4, 2)), RNG.normal(size=4)
    z, x = RNG.normal(size=(N, 3)), RNG.normal(size=(N, 4))
    cov = load @ load.T + 0.7 * np.eye(4)
    value = [multivariate_normal(gras + load @ G @ z[n], cov).logpdf(x[n]) for n in range(N)]
    return {"z": z, "x": x}, {"G": G, "gras": gras, "load": load, "s": 0.7}, value


def _bales() -> tuple[dict[str, Any], dict[str, Any], Any]:
    m, S, g, sd = np.array([0.3, -1.0]), np.array([[1.0, 0.4], [0.4, 0.8]]), np.array([0.5, 0.0]), 0.9
    w, y = RNG.normal(size=N), RNG.normal(size=(N, 3))
    step = np.array([[1.0, 0.0], [g[0], 1.0], [g[0], 1.0], [g[0], 1.0]])  # of (u0, u1) to (w, y) by way of v
    cov = step @ S @ step.T + np.diag([0.25, *3 * [sd**2]])
    cov[1:, 1:] += 1.0
    value = multivariate_normal(step @ m, cov).logpdf(np.column_stack([w, y]))
    return {"w": w, "y": y}, {"m": m, "S": S, "g": g, "sd": sd}, value


def _slopes() -> tuple[dict[str, Any], dict[str, Any], Any]:
    X, farm, y, b = RNG.normal(size=(N, 2)), np.arange(N) % 7, RNG.normal(size=N), np.array([0.4, -0.3])
    cov = 0.64 * np.eye(N) + 0.3 * (farm[:, None] == farm)
    return {"X": X, "farm": farm, "y": y}, {"b": b, "s": 0.8, "s2": 0.3}, multivariate_normal(X @ b, cov).logpdf(y)


def _plain() -> tuple[dict[str, Any], dict[str, Any], Any]:
    y, m, S = RNG.normal(size=(N, 2)), np.array([0.3, -0.2]), np.array([[1.3, 0.4], [0.4, 0.9]])
    return {"y": y}, {"m": m, "S": S}, multivariate_normal(m, S).logpdf(y)


CASES = {LAWNS: _lawns(), BALES: _bales(), SLOPES: _slopes(), PLAIN: _plain()}
ROWS = [LAWNS, BALES]  # models with a latent in every row


@cache
def model(text: str) -> Any:
    return emdsl.compile(text=text)


def once(text: str, data: dict[str, Any], params: dict[str, Any], **beside: Any) -> tuple[Any, dict[str, Any], Any]:
    """An E-step's statistics, what was prepared for it, and the generated module."""
    estimator = model(text).fitter()
    statistics = estimator.e_step(params, data, **beside)
    return statistics, estimator._anchor[0], estimator._module


def arrays(params: dict[str, Any]) -> dict[str, np.ndarray]:
    return {n: np.asarray(v, float) for n, v in params.items()}


@pytest.mark.parametrize("text", CASES)
def test_an_iteration_reads_no_row(text: str) -> None:
    data, params, value = CASES[text]
    statistics, prepared, module = once(text, data, params)
    assert statistics["log_likelihood"] == pytest.approx(float(np.sum(value)), rel=1e-12)
    blind = {k: v * np.nan if isinstance(v, np.ndarray) and N in v.shape else v for k, v in prepared.items()}
    blind = {k: v for k, v in blind.items() if k != "farm"}
    again = module.e_step(arrays(params), None, blind)
    assert again["log_likelihood"] == statistics["log_likelihood"]
    module.m_step(again, arrays(params), blind)


@pytest.mark.parametrize("text", ROWS)
def test_moments_give_what_the_rows_give(text: str) -> None:
    data, params, _ = CASES[text]
    weights = RNG.uniform(0.5, 2, N)
    found, prepared, module = once(text, data, params, sample_weight=weights)
    rows = module.e_step(arrays(params), None, {**prepared, "the moments": None})
    assert list(found) == list(rows)
    for name, expected in rows.items():
        np.testing.assert_allclose(found[name], expected, rtol=1e-11, atol=1e-11, err_msg=name)


def test_far_from_the_origin() -> None:
    """What steps do to data at 1e7, they do to data at 0: all that the likelihood sees are differences."""
    data, params, _ = CASES[LAWNS]
    far = {**data, "x": data["x"] + 1e7}
    here, there = (model(LAWNS).fitter(max_iter=3, tol=0) for _ in range(2))
    at_zero, at_far = here.fit(data, init=params), there.fit(far, init={**params, "gras": params["gras"] + 1e7})
    np.testing.assert_allclose(at_far.history_, at_zero.history_, rtol=1e-9)
    np.testing.assert_allclose(at_far.params_["load"], at_zero.params_["load"], rtol=1e-6)


def test_rows_stay_where_they_are_fewer_or_gappy() -> None:
    data, params, _ = CASES[LAWNS]
    gappy = {**data, "x": np.where(np.arange(4 * N).reshape(N, 4) == 5, np.nan, data["x"])}
    assert once(LAWNS, gappy, params)[1]["the moments"] is None
    few = {n: v[:7] for n, v in data.items()}  # eight features: three of z, four of x, and 1
    statistics, prepared, _ = once(LAWNS, few, params)
    assert prepared["the moments"] is None
    assert statistics["log_likelihood"] == pytest.approx(float(np.sum(CASES[LAWNS][2][:7])), rel=1e-12)


CROSSED = """
model Crossed
param s : positive
for g in G:
    latent a[g] ~ Normal(0, 1)
for k in K:
    latent c[k] ~ Normal(0, 1)
for n in N:
    given farm[n] : index[G]
    given year[n] : index[K]
    observed y[n] ~ Normal(a[farm[n]] + c[year[n]], sd = s)
"""


def test_a_mean_that_is_no_multiple_of_data_keeps_the_rows() -> None:
    """A normal latent of which only the sign is seen has a mean by way of the normal distribution function."""
    assert "e_step_once" not in compiled("probit_regression").source


def test_no_table_of_pairs_of_elements() -> None:
    """Two crossed groups meet in few of their pairs: what holds both stays a sum over the rows."""
    data = CASES[SLOPES][0]
    _, prepared, _ = once(CROSSED, {"y": data["y"], "farm": data["farm"], "year": np.arange(N) % 11}, {"s": 0.5})
    shapes = {np.shape(v) for v in prepared["the sums"].values()}
    assert {(7,), (11,)} <= shapes and not any({7, 11} <= set(shape) for shape in shapes)


def test_parameters_may_be_called_as_facts_of_data_are() -> None:
    """`start` of a ragged plate is known before the fit; a parameter of that name is not."""
    text = """
        model Facts
        param start : simplex[2]
        param row[2] : simplex[2]
        param length[2] : positive
        for s in S:
            for t in T[s]:
                observed present[s, t] ~ Categorical(start) if t == 0 else Categorical(row[present[s, t-1]])
                observed count[s, t] ~ Poisson(length[present[s, t]])
    """
    data = {"present": [np.array([0, 1]), np.array([1])], "count": [np.array([2, 3]), np.array([1])]}
    params = {"start": [0.25, 0.75], "row": [[0.5, 0.5], [0.1, 0.9]], "length": [1.0, 2.0]}
    fit = emdsl.compile(text=text).fitter(max_iter=0).fit(data, init=params)
    chances = np.log([0.25 * 0.5, 0.75]).sum() + poisson.logpmf([2, 3, 1], [1.0, 2.0, 2.0]).sum()
    assert fit.log_likelihood_ == pytest.approx(chances, rel=1e-12)


RANKED = """
model PlackettLuce
param worth[2] : zero_sum[J]
for n in N:
    for k in J:
        given place[n, k] : index[J]
    factor sum(worth[1, place[n, k]] - logsumexp([worth[1, place[n, l]] for l in J if l >= k]) for k in J)
    factor -0.1 * (worth[0, place[n, 0]] + logsumexp([worth[0, place[n, l]] for l in J]))^2
"""


def test_a_place_that_moves_with_an_inner_sum_stays_inside() -> None:
    """Rankings (Plackett 1975): log sum_l exp(worth[place[n, l]]) had become log J + worth[j], summed over places."""
    rng = np.random.default_rng(5)
    place = np.array([rng.permutation(4) for _ in range(7)])
    worth = np.array([[0.9, -0.2, 0.1, -0.8], [0.4, 0.3, -0.5, -0.2]])
    fit = (
        emdsl.compile(text=RANKED.replace(" if l >= k", ""))
        .fitter(J=4, max_iter=0)
        .fit({"place": place}, init={"worth": worth})
    )
    here = worth[:, place]
    wanted = (here[1] - logsumexp(here[1], axis=1, keepdims=True)).sum()
    wanted -= 0.1 * ((here[0, :, 0] + logsumexp(here[0], axis=1)) ** 2).sum()
    assert fit.objective_ == pytest.approx(wanted, rel=1e-12)
    later = RANKED.replace("logsumexp([worth[1, place[n, l]] for l in J if l >= k])",
                           "log(sum(exp(worth[1, place[n, l]]) for l in J if l >= k))")  # fmt: skip
    fit = emdsl.compile(text=later).fitter(J=4, max_iter=0).fit({"place": place}, init={"worth": worth})
    wanted += sum((logsumexp(here[1], axis=1) - logsumexp(here[1, :, k:], axis=1)).sum() for k in range(4))
    assert fit.objective_ == pytest.approx(wanted, rel=1e-12)
