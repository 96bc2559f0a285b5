"""Lags of what is missing under hidden states: against every path of states, each with one dense Gaussian."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest
from gallery import compiled

import emdsl
from emdsl.derive.plan import derive
from emdsl.errors import ModelError
from emdsl.fit.fitter import Fitter

pytestmark = pytest.mark.filterwarnings("ignore::emdsl.runtime.data.faults.ConvergenceWarning")

HEAD = """
model Tied
param trans[2] : simplex[2]
param level[2] : real
param slope : real
param sd[2] : positive
"""
RAGGED = """
for i in S:
    for t in T[i]:
        latent z[i, t] ~ Bernoulli(0.3) if t == 0 else Categorical(trans[z[i, t-1]])
        let about[i, t] = 0 if t < 2 else level[z[i, t]] + slope * y[i, t-1] - 0.2 * y[i, t-2]
        observed y[i, t] ~ Normal(0, 1) if t < 2 else Normal(about[i, t], sd[z[i, t]])
        observed x[i, t] ~ Normal(slope * y[i, t], 1)
"""
VECTORS = """
param cov[2] : spd[2]
for i in S:
    for t in T:
        latent z[i, t] ~ Bernoulli(0.3) if t == 0 else Categorical(trans[z[i, t-1]])
        observed y[i, t] ~ MvNormal(zeros(2), eye(2)) if t == 0 else MvNormal(slope * y[i, t-1] + level, cov[z[i, t]])
"""
SERIES = """
for i in S:
    for t in T:
        latent z[i, t] ~ Bernoulli(0.3) if t == 0 else Categorical(trans[z[i, t-1]])
        observed y[i, t] ~ Normal(0, 1) if t == 0 else Normal(level[z[i, t]] + slope * x[i, t-1], sd[z[i, t]])
        observed x[i, t] ~ Normal(0, 1) if t == 0 else Normal(0.5 * y[i, t-1], 1)
"""
PARAMS: dict[str, Any] = {
    "trans": np.array([[0.8, 0.2], [0.4, 0.6]]), "level": np.array([1.0, -1.5]), "slope": 0.6,
    "sd": np.array([0.7, 1.2]), "cov": np.array([[[1.0, 0.3], [0.3, 0.5]], [[2.0, -0.5], [-0.5, 1.0]]]),
}  # fmt: skip
LEVEL, SLOPE, SD = PARAMS["level"], PARAMS["slope"], PARAMS["sd"]
Row = Callable[[int, int], tuple[Any, dict[int, Any], Any]]  # (t, state) -> constant, matrix by lag, covariance


def ragged_row(t: int, k: int) -> tuple[Any, dict[int, Any], Any]:
    """y and x of a row: x reads the y of its own row (lag 0)."""
    lags = {0: np.array([[0, 0], [SLOPE, 0]])}
    if t < 2:
        return np.zeros(2), lags, np.eye(2)
    own = {1: np.diag([SLOPE, 0.0]), 2: np.diag([-0.2, 0.0])}
    return np.array([LEVEL[k], 0]), lags | own, np.diag([SD[k] ** 2, 1])


def vector_row(t: int, k: int) -> tuple[Any, dict[int, Any], Any]:
    return (LEVEL, {1: SLOPE * np.eye(2)}, PARAMS["cov"][k]) if t else (np.zeros(2), {}, np.eye(2))


def series_row(t: int, k: int) -> tuple[Any, dict[int, Any], Any]:
    cross = {1: np.array([[0, SLOPE], [0.5, 0]])}
    return (np.array([LEVEL[k], 0]), cross, np.diag([SD[k] ** 2, 1])) if t else (np.zeros(2), {}, np.eye(2))


def by_paths(rows: Any, row: Row) -> tuple[float, Any, Any, Any]:
    """The log-likelihood of one sequence (T, 2), probabilities of states, means and variances of all numbers."""
    told = list(_each(rows, row))
    log = np.array([w for w, *_ in told])
    total = np.logaddexp.reduce(log)
    p = np.exp(log - total)
    mean = np.einsum("c,ci->i", p, [m for *_, m, _ in told])
    var = np.einsum("c,ci->i", p, [v + m**2 for *_, m, v in told]) - mean**2
    states = np.einsum("c,ctk->tk", p, [np.eye(2)[list(z)] for _, z, *_ in told])
    return float(total), states, mean.reshape(rows.shape), var.reshape(rows.shape)


def _each(rows: Any, row: Row) -> Iterator[tuple[float, Any, Any, Any]]:
    n, x = len(rows), rows.ravel()
    seen = ~np.isnan(x)
    for z in product(range(2), repeat=n):
        coefficient, constant, noise = np.zeros((2 * n, 2 * n)), np.zeros(2 * n), np.zeros((2 * n, 2 * n))
        for t, k in enumerate(z):
            constant[2 * t : 2 * t + 2], lags, noise[2 * t : 2 * t + 2, 2 * t : 2 * t + 2] = row(t, k)
            for lag, matrix in lags.items():
                coefficient[2 * t : 2 * t + 2, 2 * (t - lag) : 2 * (t - lag) + 2] = matrix
        solve = np.linalg.inv(np.eye(2 * n) - coefficient)
        mean, cov = solve @ constant, solve @ noise @ solve.T
        off = (x - mean)[seen]
        gain = cov[:, seen] @ np.linalg.inv(cov[np.ix_(seen, seen)])
        log = -0.5 * (
            off @ np.linalg.solve(cov[np.ix_(seen, seen)], off)
            + np.linalg.slogdet(2 * np.pi * cov[np.ix_(seen, seen)])[1]
        )
        log += np.log([0.7, 0.3][z[0]]) + sum(np.log(PARAMS["trans"][a, b]) for a, b in pairwise(z))
        yield log, z, mean + gain @ off, np.diagonal(cov - gain @ cov[seen])


def with_gaps(shape: tuple[int, ...], gone: list[tuple[int, ...]], seed: int) -> Any:
    out = np.random.default_rng(seed).normal(size=shape)
    for at in gone:
        out[at] = np.nan
    return out


LENGTHS = (7, 1, 5)
Y, X = with_gaps((3, 7), [(0, 1), (0, 4), (0, 5), (2, 0), (2, 3)], 1), with_gaps((3, 7), [(0, 4), (0, 6), (2, 2)], 2)
CELLS = with_gaps((2, 6, 2), [(0, 2), (0, 3, 1), (1, 0, 0), (1, 5)], 3)
PAIRS = with_gaps((2, 6, 2), [(0, 2, 0), (0, 3, 1), (1, 0, 0), (1, 0, 1), (1, 5, 0)], 4)
CASES: dict[str, tuple[str, Row, list[Any], dict[str, Any]]] = {
    "a lag of two in ragged rows, read by another": (
        RAGGED, ragged_row, [np.stack([y[:n], x[:n]], 1) for y, x, n in zip(Y, X, LENGTHS, strict=True)],
        {"y": [y[:n] for y, n in zip(Y, LENGTHS, strict=True)], "x": [x[:n] for x, n in zip(X, LENGTHS, strict=True)]},
    ),
    "vectors with missing cells": (VECTORS, vector_row, list(CELLS), {"y": CELLS}),
    "two series that read one another": (SERIES, series_row, list(PAIRS), {"y": PAIRS[..., 0], "x": PAIRS[..., 1]}),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_rows_that_gaps_tie(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Likelihood and posterior by paths; a step of EM is that of the model in which all configurations are summed."""
    text, row, sequences, data = CASES[name]
    model = emdsl.compile(text=HEAD + text)
    params = {n: PARAMS[n] for n in model.params}
    at_start = model.fitter(init=params, max_iter=0).fit(data)
    wanted = [by_paths(rows, row) for rows in sequences]
    states, mean, var = (np.concatenate([w[n] for w in wanted]) for n in (1, 2, 3))
    assert at_start.log_likelihood_ == pytest.approx(sum(w[0] for w in wanted), rel=1e-12)
    found, z = at_start.posterior_["y"], at_start.posterior_["z"]
    np.testing.assert_allclose(np.concatenate(z), states, atol=1e-12)
    if "cov" in found:
        np.testing.assert_allclose(np.concatenate(found["mean"]), mean, atol=1e-12)
        np.testing.assert_allclose(np.diagonal(np.concatenate(found["cov"]), 0, -2, -1), var, atol=1e-12)
    else:
        np.testing.assert_allclose(np.concatenate(found["mean"]), mean[:, 0], atol=1e-12)
        np.testing.assert_allclose(np.concatenate(found["var"]), var[:, 0], atol=1e-12)
    step = model.fitter(init=params, max_iter=1).fit(data)
    monkeypatch.setattr(Fitter, "_by_runs", lambda self, bound: bound)
    every = model.fitter(init=params, max_iter=1).fit(data)
    assert step.history_ == pytest.approx(every.history_, rel=1e-12)
    for n, value in every.params_.items():
        np.testing.assert_allclose(step.params_[n], value, rtol=1e-10)


def test_a_fit_of_rows_that_gaps_tie_goes_on() -> None:
    """Far more rows than configurations of all could have; pickled, saved, asked about other gaps, forecast, drawn."""
    y = np.random.default_rng(0).normal(size=80)
    y[[10, 11, 30]] = np.nan
    data = {"y": y, "start": 0.0, "spread": 1.0}
    fit = compiled("ar_hmm").fitter(seed=1, max_iter=3).fit(data)
    assert fit.history_[-1] > fit.history_[0]
    told, ahead = fit.posterior_["y"], fit.forecast(2)["y"]
    assert np.flatnonzero(told["var"]).tolist() == [10, 11, 30]
    other = fit.posterior({**data, "y": np.r_[y[:40], np.nan, np.nan, y[42:]]})
    assert np.flatnonzero(other["y"]["var"]).tolist() == [10, 11, 30, 40, 41]
    np.testing.assert_array_equal(fit.forecast(2)["y"]["mean"], ahead["mean"])
    again = pickle.loads(pickle.dumps(fit))  # noqa: S301
    np.testing.assert_array_equal(again.posterior_["y"]["mean"], told["mean"])
    assert again.sample(4, seed=0, data={"start": 0.0, "spread": 1.0})["y"].shape == (4,)
    assert set(fit.document()["sizes"]) == {"T", "K"}
    assert Fitter(compiled("ar_hmm")).restore(fit.document()).score(data) == pytest.approx(fit.score(data))


def test_runs_that_leave_no_one_posterior_are_refused_before_draws_are_prepared() -> None:
    """Found by chance: 94 densities of runs were prepared to be drawn, where draws were not wanted."""
    text = """
        model Drawn
        param r : real
        for n in N:
            latent walk[n] ~ Normal(0, 1) if n == 0 else Normal(walk[n-1], 1)
            observed y[n] ~ StudentT(5, r + walk[n], 1)
    """
    model = emdsl.compile(text=text)
    assert model.derived.drawn
    with pytest.raises(ModelError, match="walk"):
        derive(replace(model.resolved, together=True))
