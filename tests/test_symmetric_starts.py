"""Starts that EM cannot leave, because components are alike: broken, and said; starts of lines that cross."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gallery import written
from scipy.stats import norm

import emdsl

RNG = np.random.default_rng(0)
X = np.concatenate([RNG.normal(-3, 1, 50), RNG.normal(3, 1, 50)])
SHARES = np.concatenate([RNG.beta(2, 8, 60), RNG.beta(8, 2, 60)])
MIXTURE = """
    model M
    size K = 2
    param w : simplex[K]
    param m[K] : real
    param s[K] : positive
    for n in N:
        latent z[n] ~ Categorical(w)
        observed x[n] ~ Normal(m[z[n]], s[z[n]])
"""
CHAIN = """
    model H
    param p : simplex[2]
    param A[2] : simplex[2]
    param m[2] : real
    for t in T:
        latent z[t] ~ Categorical(p) if t == 0 else Categorical(A[z[t-1]])
        observed x[t] ~ Normal(m[z[t]], 1)
"""
SHAPES = """
    model B
    param a[2] : positive
    param b[2] : positive
    for n in N:
        latent z[n] ~ Bernoulli(0.5)
        observed x[n] ~ Beta(a[z[n]], b[z[n]])
"""
CASES: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "all alike": (MIXTURE, X, {"w": [0.5, 0.5], "m": [0, 0], "s": [1, 1]}),
    "other weights": (MIXTURE, X, {"w": [0.3, 0.7], "m": [0, 0], "s": [1, 1]}),
    "a chain that a swap leaves as it is": (CHAIN, X, {"p": [0.5, 0.5], "A": [[0.9, 0.1], [0.1, 0.9]], "m": [0, 0]}),
    "shapes by passes over the data": (SHAPES, SHARES, {"a": [1, 1], "b": [1, 1]}),
}


@pytest.mark.parametrize("name", CASES)
def test_a_saddle_is_left_and_said(name: str) -> None:
    text, data, start = CASES[name]
    model = emdsl.compile(text=text)
    fitted = model.fitter(seed=0, init=start).fit(data)
    assert fitted.converged_
    assert "components 0 and 1" in fitted.message_
    assert "alike at the start" in fitted.message_
    least = fitted.history_[0] if name.startswith("shapes") else norm.logpdf(X, X.mean(), X.std()).sum()
    assert fitted.objective_ > least + 5
    again = model.fitter(seed=0, init=start).fit(data)
    assert again.history_ == fitted.history_


def test_two_of_three_alike() -> None:
    start = {"w": [0.2, 0.3, 0.5], "m": [0, 5, 0], "s": [1, 1, 1]}
    fitted = emdsl.compile(text=MIXTURE).fitter(K=3, seed=0, init=start).fit(X)
    assert "components 0 and 2 of K were alike" in fitted.message_


def test_other_starts_are_taken_as_they_are() -> None:
    """Equal scales are no saddle; and no step is taken where none is asked for."""
    model = emdsl.compile(text=MIXTURE)
    start = {"w": [0.5, 0.5], "m": [0, 1], "s": [1, 1]}
    assert "alike" not in model.fitter(init=start).fit(X).message_
    start["m"] = [0, 0]
    with pytest.warns(UserWarning, match="max_iter"):
        still = model.fitter(init=start, max_iter=0).fit(X)
    np.testing.assert_array_equal(still.params_["m"], [0, 0])


def test_restarts_leave_a_start_that_collapses() -> None:
    """All parameters given, and a component alone on one far point: ten restarts from the same place helped nobody."""
    start = {"w": [0.5, 0.5], "m": [100, 0], "s": [1e-3, 2]}
    model = emdsl.compile(text=MIXTURE)
    fitted = model.fitter(seed=0, on_degenerate="restart", init=start).fit(np.r_[X, 100.0, 103.0])
    assert fitted.converged_


@pytest.mark.parametrize("declared", ["size K = 2\nparam m[K] : real", "param m : real[2]"])
def test_states_of_a_vector_and_of_a_size_with_a_name(declared: str) -> None:
    """Both ended at the saddle, converged: a state of a bool is no level of K by name, a vector's numbers no copies."""
    rows = "for n in N:\n    latent z[n] ~ Bernoulli(0.5)\n    observed x[n] ~ Normal(m[z[n]], 1)\n"
    x = np.array([-0.3, 0.4, 0.1, 3.8, 4.3, 4.1])
    fit = emdsl.compile(text=f"model M\n{declared}\n{rows}").fitter(seed=0, init={"m": [1, 1]}).fit({"x": x})
    assert "alike at the start" in fit.message_
    np.testing.assert_allclose(np.sort(fit.params_["m"]), [0.07, 4.07], atol=0.05)


def test_curves_that_cross_are_told_apart_where_they_are_apart() -> None:
    """A line and a parabola (after flexmix's NPreg): by the response alone all starts led to the same lower optimum."""
    x, side = RNG.uniform(0, 10, 100), np.arange(100) % 2
    curves = np.stack([5 * x, 40 - (x - 5) ** 2])
    y = curves[side, np.arange(100)] + 3 * RNG.normal(size=100)
    model = emdsl.compile(
        text="""
        model Curves
        size K = 2
        param w : simplex[K]
        param b[K] : real[P]
        param s[K] : positive
        for n in N:
            given    X[n] : real[P]
            latent   z[n] ~ Categorical(w)
            observed y[n] ~ Normal(X[n] @ b[z[n]], s[z[n]])
        """
    )
    found = model.fitter(seed=0, n_init=6).fit({"X": np.stack([x**0, x, x**2], 1), "y": y}).log_likelihood_
    assert found > np.log(np.exp(norm.logpdf(y, curves, 3)).mean(0)).sum()


CLASSES_OF_ROWS = """
model Rows
param w : simplex[K]
param m[K] : real
param t : positive
param e : positive
for g in G:
    latent b[g] ~ Normal(0, t)
for n in N:
    given i[n] : index[G]
    latent c[n] ~ Categorical(w)
    observed y[n] ~ Normal(m[c[n]] + b[i[n]], e)
"""


@pytest.mark.parametrize("seed", range(3))
def test_classes_that_are_enumerated_together_start_as_divisions_of_rows(seed: int) -> None:
    """Configurations drawn whatever the data left all means alike: 320 below the maximum for 800 rows, "converged"."""
    rng = np.random.default_rng(0)
    i = np.repeat(np.arange(30), 4)
    y = np.array([-1, 2])[rng.integers(0, 2, 120)] + rng.normal(0, 1, 30)[i] + rng.normal(0, 0.4, 120)
    data = {"y": y, "i": i}
    near = {"w": [0.5, 0.5], "m": [-1, 2], "t": 1, "e": 0.4}
    best = written(CLASSES_OF_ROWS).fitter(sizes={"K": 2}).fit(data, init=near)
    fit = written(CLASSES_OF_ROWS).fitter(sizes={"K": 2}, seed=seed).fit(data)
    assert fit.log_likelihood_ == pytest.approx(best.log_likelihood_, abs=0.05)


COUNTS = """
model Counts
param w : simplex[K]
param a[K] : positive
param b[K] : positive
for i in I:
    latent c[i] ~ Categorical(w)
    latent rate[i] ~ Gamma(a[c[i]], b[c[i]])
    for t in T:
        observed y[i, t] ~ Poisson(rate[i])
"""


def test_classes_of_groups_are_told_apart_by_what_lies_within() -> None:
    """Groups that no datum of their own tells apart got classes at random, and EM stayed there: 64 below."""
    rng = np.random.default_rng(0)
    rate = np.where(rng.random(120) < 0.5, rng.gamma(2, 0.5, 120), rng.gamma(20, 0.5, 120))
    y = rng.poisson(rate[:, None], (120, 5))
    near = {"w": [0.5, 0.5], "a": [2, 20], "b": [2, 2]}
    best = written(COUNTS).fitter(sizes={"K": 2}).fit({"y": y}, init=near)
    fit = written(COUNTS).fitter(sizes={"K": 2}, seed=0).fit({"y": y})
    assert fit.log_likelihood_ == pytest.approx(best.log_likelihood_, abs=0.01)
