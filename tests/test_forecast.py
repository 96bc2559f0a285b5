"""Forecasts against what is written down by hand: one dense Gaussian, powers of a transition matrix, mixed moments."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gallery import compiled, fit
from oracles.chains import smoothed
from scipy.stats import multivariate_normal, norm, poisson

import emdsl
from emdsl.errors import DataError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
RNG = np.random.default_rng(8)
STATES = {"first": np.array([0.4, 0.6]), "trans": np.array([[0.7, 0.3], [0.2, 0.8]])}
AHEAD = 3
LEVEL = {"noise": 1.5, "drift": 0.6}
FLOW = {"start": 0.5, "start_s2": 4.0, "flow": RNG.normal(size=7)}


def dense(x: Any, A: Any, C: Any, start: Any, start_cov: Any, drift: Any, noise: Any) -> tuple[Any, Any, Any, Any]:
    """Means and covariances of states and observations ahead, from the joint covariance of everything."""
    t, q, n = len(x), len(A), len(x) + AHEAD
    means, covs = [np.asarray(start, float)], [np.asarray(start_cov, float)]
    for _ in range(n - 1):
        means.append(A @ means[-1])
        covs.append(A @ covs[-1] @ A.T + drift)
    joint = np.zeros((n, q, n, q))
    for i in range(n):
        block = covs[i]
        for j in range(i, n):
            joint[j, :, i], joint[i, :, j] = block, block.T
            block = A @ block
    seen = np.einsum("aq,iqjr,br->iajb", C, joint[:t, :, :t], C)
    seen[np.arange(t), :, np.arange(t)] += noise
    seen = seen.reshape(x.size, x.size)
    cross = np.einsum("iqjr,br->iqjb", joint[t:, :, :t], C).reshape(AHEAD * q, x.size)
    gain = np.linalg.solve(seen, cross.T).T
    mean = np.array(means[t:]) + (gain @ (x - np.array(means[:t]) @ C.T).ravel()).reshape(AHEAD, q)
    cov = joint[t:, :, t:].reshape(AHEAD * q, -1) - gain @ cross.T
    cov = cov.reshape(AHEAD, q, AHEAD, q)[np.arange(AHEAD), :, np.arange(AHEAD)]
    return mean, cov, mean @ C.T, C @ cov @ C.T + noise


def test_local_level() -> None:
    one = np.eye(1)
    wanted = dense(FLOW["flow"][:, None], one, one, [0.5], 4 * one, 0.6 * one, 1.5 * one)
    found = fit("local_level", FLOW, init=LEVEL, max_iter=0).forecast(AHEAD)
    for name, mean, var in (("level", *wanted[:2]), ("flow", *wanted[2:])):
        np.testing.assert_allclose(found[name]["mean"], mean[:, 0], rtol=1e-10)
        np.testing.assert_allclose(found[name]["var"], var[:, 0, 0], rtol=1e-10)


def test_linear_dynamical_system() -> None:
    a, c, start = np.array([[0.8, 0.3], [-0.2, 0.7]]), RNG.normal(size=(3, 2)), np.array([1.0, -1.0])
    params, x = {"A": a, "C": c, "start": start, "noise": np.array([0.5, 0.8, 1.1])}, RNG.normal(size=(5, 3))
    found = fit("linear_dynamical_system", {"x": x}, init=params, max_iter=0).forecast(AHEAD)
    wanted = dense(x, a, c, start, np.eye(2), np.eye(2), np.diag(params["noise"]))
    for name, mean, cov in (("h", *wanted[:2]), ("x", *wanted[2:])):
        np.testing.assert_allclose(found[name]["mean"], mean, rtol=1e-9)
        np.testing.assert_allclose(found[name]["cov"], cov, rtol=1e-9)


def test_ragged_sequences_have_a_forecast_each() -> None:
    """Also one that is empty, whose forecast is the prior."""
    symbol, trans = np.array([[0.5, 0.3, 0.2], [0.2, 0.3, 0.5]]), STATES["trans"]
    words = [np.array([0, 2, 1, 2]), np.zeros(0, int), np.array([2])]
    found = fit("categorical_hmm", {"w": words}, init={**STATES, "symbol": symbol}, max_iter=0).forecast(AHEAD)
    assert found["z"].shape == (3, AHEAD, 2)
    for k, w in enumerate(words):
        p = STATES["first"]
        if len(w):
            p = smoothed(STATES["first"], trans, np.log(symbol[:, w].T))[1][-1] @ trans
        for step in range(AHEAD):
            np.testing.assert_allclose(found["z"][k, step], p, rtol=1e-10)
            np.testing.assert_allclose(found["w"][k, step], p @ symbol, rtol=1e-10)
            p = p @ trans


def test_givens_ahead() -> None:
    """Covariates of the rows ahead: needed, of their shape, and used."""
    X, y = np.column_stack([np.ones(9), RNG.normal(size=9)]), RNG.normal(size=9)
    beta, s2 = np.array([[1.0, 2.0], [-1.0, 0.5]]), np.array([0.5, 1.5])
    params = {**STATES, "coef": beta, "sd": np.sqrt(s2)}
    est = fit("switching_regression", {"X": X, "y": y}, init=params, max_iter=0)
    later = np.column_stack([np.ones(AHEAD), RNG.normal(size=AHEAD)])
    found = est.forecast(AHEAD, givens={"X": later})
    node = norm.logpdf(y[:, None], X @ beta.T, np.sqrt(s2))
    p = smoothed(STATES["first"], STATES["trans"], node)[1][-1]
    for step in range(AHEAD):
        p = p @ STATES["trans"]
        m = beta @ later[step]
        np.testing.assert_allclose(found["z"][step], p, rtol=1e-10)
        assert found["y"]["mean"][step] == pytest.approx(p @ m, rel=1e-9)
        assert found["y"]["var"][step] == pytest.approx(p @ (s2 + m**2) - (p @ m) ** 2, rel=1e-9)
    for givens, said in ((None, "X is a given that the rows ahead need"), ({"X": later[1:]}, "has shape (2, 2)"),
                         ({"X": later * np.nan}, "may not be missing"), ({"W": later}, "W is no given")):  # fmt: skip
        with pytest.raises(DataError) as caught:
            est.forecast(AHEAD, givens=givens)
        assert said in str(caught.value)


def test_counts_by_the_moments_of_each_state() -> None:
    """A Poisson has no finite table of values to sum over: its mean and variance are known in each state."""
    y, rate = RNG.poisson(4.0, size=8), np.array([2.0, 7.0])
    est = fit("poisson_hmm", {"y": y}, K=2, init={**STATES, "rate": rate}, max_iter=0)
    found = est.forecast(AHEAD)
    p = smoothed(STATES["first"], STATES["trans"], poisson.logpmf(y[:, None], rate))[1][-1]
    for step in range(AHEAD):
        p = p @ STATES["trans"]
        m = p @ rate
        assert found["y"]["mean"][step] == pytest.approx(m, rel=1e-10)
        assert found["y"]["var"][step] == pytest.approx(p @ (rate + rate**2) - m**2, rel=1e-10)


def test_the_generated_module_forecasts_latents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled("local_level").write(tmp_path / "level.py")
    spec = importlib.util.spec_from_file_location("level", tmp_path / "level.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "level", module)
    spec.loader.exec_module(module)
    own = module.LocalLevel(max_iter=0).fit(FLOW, init=LEVEL).forecast(AHEAD)
    found = fit("local_level", FLOW, init=LEVEL, max_iter=0).forecast(AHEAD)
    assert set(own) == {"level"}
    for field, value in own["level"].items():
        np.testing.assert_array_equal(value, found["level"][field])


def test_what_cannot_be_forecast_is_refused() -> None:
    level = fit("local_level", FLOW, init=LEVEL, max_iter=0)
    for steps in (0, 1.5, True, 10**9):
        with pytest.raises(DataError, match="steps: must be a whole number"):
            level.forecast(steps)
    with pytest.raises(NotImplementedError, match="no ordered plate"):
        fit(
            "random_intercepts", {"X": np.ones((4, 1)), "subject": [0, 0, 1, 1], "y": [1.0, 2, 3, 5]}, max_iter=1
        ).forecast(2)


LAGGED = """
    model Lagged
    param a : real
    param c : real
    param q : positive
    param r : positive
    for t in T:
        latent x[t] ~ Normal(0, 1) if t == 0 else Normal(a * x[t-1], q)
        observed y[t] ~ Normal(x[t], r) if t == 0 else Normal(x[t] + c * y[t-1], r)
"""


def test_observations_that_later_ones_read(tmp_path: Path) -> None:
    """They are latents of the rows ahead: against one dense Gaussian, after loading too, and in a completed module."""
    y, given = RNG.normal(size=5), {"a": 0.7, "c": 0.3, "q": 0.5, "r": 1.1}
    n = len(y) + AHEAD
    reads, noise = np.zeros((2 * n, 2 * n)), np.r_[1.0, np.full(n - 1, 0.5**2), np.full(n, 1.1**2)]
    for t in range(n):
        reads[n + t, t] = 1.0
        if t:
            reads[t, t - 1], reads[n + t, n + t - 1] = 0.7, 0.3
    spread = np.linalg.inv(np.eye(2 * n) - reads)
    cov = spread @ np.diag(noise) @ spread.T
    seen, rest = np.r_[n : n + len(y)], np.r_[len(y) : n, n + len(y) : 2 * n]
    gain = cov[np.ix_(rest, seen)] @ np.linalg.inv(cov[np.ix_(seen, seen)])
    mean, var = gain @ y, np.diag(cov[np.ix_(rest, rest)] - gain @ cov[np.ix_(seen, rest)])
    model = emdsl.compile(text=LAGGED)
    est = model.fitter(max_iter=0).fit({"y": y}, init=given)
    est.save(tmp_path / "fit.json")
    loaded = emdsl.load(tmp_path / "fit.json")
    with pytest.raises(AttributeError, match=r"forecast\(steps, data=...\)"):
        loaded.forecast(AHEAD)
    alone = model.complete(("y",)).load_module().Lagged(max_iter=0).fit({"y": y}, init=given)
    for found in (est.forecast(AHEAD), loaded.forecast(AHEAD, data={"y": y}), alone.forecast(AHEAD)):
        for name, at in (("x", slice(0, AHEAD)), ("y", slice(AHEAD, None))):
            np.testing.assert_allclose(found[name]["mean"], mean[at], rtol=1e-9, atol=1e-12)
            np.testing.assert_allclose(found[name]["var"], var[at], rtol=1e-9)


def test_classes_by_configuration_go_on_along_their_chain() -> None:
    """Classes and an effect of their sequence, all configurations at once: rows ahead by every path enumerated."""
    text = """
        model Effects
        param start : simplex[2]
        param trans[2] : simplex[2]
        param m[2] : real
        for s in S:
            latent b[s] ~ Normal(0, 2)
            for t in T:
                latent z[s, t] ~ Categorical(start) if t == 0 else Categorical(trans[z[s, t-1]])
                observed y[s, t] ~ Normal(m[z[s, t]] + b[s], 1)
        infer z by exact
    """
    start, trans, m = np.array([0.3, 0.7]), np.array([[0.9, 0.1], [0.4, 0.6]]), np.array([-1.0, 2.0])
    y = np.array([[1.5, -0.5], [3.0, 2.0]])
    fit = emdsl.compile(text=text).fitter(max_iter=0).fit({"y": y}, init={"start": start, "trans": trans, "m": m})
    ahead = fit.forecast(1)
    for s, row in enumerate(y):
        weights = np.array([
            [start[i] * trans[i, j] * multivariate_normal(m[[i, j]], 4 + np.eye(2)).pdf(row) for j in (0, 1)]
            for i in (0, 1)
        ])  # fmt: skip
        state = weights.sum(0) / weights.sum() @ trans
        effect = (weights * (row.sum() - m[:, None] - m) * 4 / 9).sum() / weights.sum()
        np.testing.assert_allclose(ahead["z"][s, 0], state, rtol=1e-9)
        np.testing.assert_allclose(ahead["y"]["mean"][s, 0], state @ m + effect, rtol=1e-9)


def test_a_chain_in_nested_ragged_plates() -> None:
    """States ahead of each innermost row, by powers of the transitions."""
    text = """
    model Nested
    param c[2] : simplex[2]
    for i in S:
        for j in J[i]:
            for t in T[i, j]:
                latent   z[i, j, t] ~ Categorical(c[0]) if t == 0 else Categorical(c[z[i, j, t-1]])
                observed y[i, j, t] ~ Normal(3 * z[i, j, t], 1)
    """
    c, y = np.array([[0.8, 0.2], [0.4, 0.6]]), [[[0.3, 2.0], [1.0]], [], [[0.1, 3.0, 2.0]]]
    fit = emdsl.compile(text=text).fitter(max_iter=0).fit({"y": y}, init={"c": c})
    last = [row[-1] for part in fit.posterior_["z"] for row in part]
    wanted = [[p @ c, p @ c @ c] for p in last]
    found = fit.forecast(2)
    np.testing.assert_allclose(found["z"], wanted, rtol=1e-12)
    np.testing.assert_allclose(found["y"]["mean"], 3 * np.array(wanted)[..., 1], rtol=1e-12)


def test_rows_ahead_of_what_reads_a_series_with_gaps() -> None:
    """Unseen copies were of the model in which that series is data: its gaps were refused."""
    text = """
        model Driven
        for t in T:
            observed x[t] ~ Normal(0, 1) if t == 0 else Normal(0.5 * x[t-1], 1)
            latent   h[t] ~ Normal(0, 1) if t == 0 else Normal(h[t-1], 1)
            observed y[t] ~ Normal(h[t] + x[t], 1)
    """
    fit = emdsl.compile(text=text).fitter().fit({"x": [0.4, np.nan, 1.0], "y": [0.1, -0.3, np.nan]})
    found = fit.forecast(2)
    np.testing.assert_allclose(found["x"]["mean"], [0.5, 0.25])
    np.testing.assert_allclose(found["y"]["mean"], found["h"]["mean"] + found["x"]["mean"])
    np.testing.assert_allclose(found["y"]["var"], found["h"]["var"] + found["x"]["var"] + 1)
