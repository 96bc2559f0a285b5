"""A fit's own `posterior_` as the start of another: what is left to climb is nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gallery import written

import emdsl

pytestmark = pytest.mark.filterwarnings("ignore::emdsl.runtime.data.faults.ConvergenceWarning")

RNG = np.random.default_rng(4)
X = np.concatenate([RNG.normal(-2, 1, 14), RNG.normal(2, 1, 14)])
PAIRS = X[:, None] + RNG.normal(size=(28, 2))
ROWS = "for n in N:\n    latent z[n] ~ Categorical(w)\n    observed "
MIXED = (
    "for k in 2:\n    latent prec[k] ~ Wishart(4, eye(2))\n"
    "    latent mean[k] ~ MvNormal(zeros(2), precision = 0.1 * prec[k])\n"
)
FACTORS: dict[str, tuple[str, dict[str, Any]]] = {
    "wishart": (
        f"latent w ~ Dirichlet(ones(2))\n{MIXED}{ROWS}x[n] ~ MvNormal(mean[z[n]], precision = prec[z[n]])\n"
        "infer z, w, (mean, prec) by meanfield", {"x": PAIRS},
    ),
    "gamma": (
        f"latent w ~ Dirichlet(ones(2))\nfor k in 2:\n    latent p[k] ~ Gamma(2, 1)\n    latent m[k] ~ Normal(0, 5)\n"
        f"{ROWS}x[n] ~ Normal(m[z[n]], precision = p[z[n]])\ninfer z, w, m, p by meanfield", {"x": X + 100},
    ),
    "vectors": (
        "for i in I:\n    latent u[i] ~ MvNormal(zeros(2), eye(2))\n"
        "for j in J:\n    latent v[j] ~ MvNormal(zeros(2), eye(2))\nfor i in I:\n    for j in J:\n"
        "        observed x[i, j] ~ Normal(u[i] @ v[j], 1)\ninfer u, v by meanfield",
        {"x": RNG.normal(size=(5, 6))},
    ),
    "chain": (
        "for n in N:\n    latent h[n] ~ Normal(0, 5) if n == 0 else Normal(h[n-1], 1)\n    latent u[n] ~ Gamma(2, 2)\n"
        "    observed x[n] ~ Normal(h[n], var = 1 / u[n])\ninfer u, (h) by meanfield", {"x": X},
    ),
    "points": (
        "for g in 4:\n    latent u[g] ~ Normal(0, 1)\n    latent k[g] ~ Gamma(2, 1)\n    for n in N:\n"
        "        observed x[g, n] ~ Poisson(k[g] * exp(u[g]))\ninfer k, u by meanfield", {"x": RNG.poisson(3, (4, 5))},
    ),
    "together": (
        "param w : unit\nlatent b ~ Normal(0, 1)\nfor n in N:\n    latent z[n] ~ Bernoulli(w)\n"
        "    latent v[n] ~ Bernoulli(0.4)\n    observed x[n] ~ Normal(4 * z[n] + v[n] + b, 1)\n"
        "infer b, (z, v) by meanfield", {"x": X},
    ),
    "words": (
        "param topic[2] : simplex[V]\nfor d in D:\n    latent theta[d] ~ Dirichlet([1, 1])\n    for i in L:\n"
        "        latent z[d, i] ~ Categorical(theta[d])\n"
        "        observed x[d, i] : category[V] ~ Categorical(topic[z[d, i]])\n"
        "infer theta, z by meanfield", {"x": RNG.integers(0, 4, (3, 5))},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FACTORS)
def test_the_factors_of_a_fit_are_where_another_stands(name: str) -> None:
    text, data = FACTORS[name]
    model = written(f"model M\n{text}\n")
    fit = model.fitter(seed=1, tol=1e-10, max_iter=400).fit(data)
    again = model.fitter(seed=5, max_iter=0, init={**fit.params_, **fit.posterior_}).fit(data)
    assert again.objective_ == pytest.approx(fit.objective_, abs=3e-5)


PARTED: dict[str, tuple[str, dict[str, Any]]] = {
    "two chains": (
        "param a[4] : unit\nparam m[2] : real\nfor t in T:\n"
        "    latent z[t] ~ Bernoulli(0.5) if t == 0 else Bernoulli(a[z[t-1] + 2 * v[t-1]])\n"
        "    latent v[t] ~ Bernoulli(0.4) if t == 0 else Bernoulli(0.2 + 0.6 * v[t-1])\n"
        "    observed x[t] ~ Normal(m[z[t]] + 6 * v[t], 1)", {"x": X},
    ),
    "classes of classes": (
        "param m[2, 2] : real\nparam p[2] : unit\nfor g in G:\n    latent c[g] ~ Bernoulli(0.3)\n    for n in N:\n"
        "        latent z[g, n] ~ Bernoulli(p[c[g]])\n        observed x[g, n] ~ Normal(m[c[g], z[g, n]], 1)",
        {"x": X.reshape(4, 7) + 3 * np.arange(4)[:, None]},
    ),
    "apart": (
        "param m[2] : real\nparam k[2] : real\nfor n in N:\n    latent z[n] ~ Bernoulli(0.4)\n"
        "    observed x[n] ~ Normal(m[z[n]], 1)\nfor j in J:\n    latent c[j] ~ Bernoulli(0.6)\n"
        "    observed y[j] ~ Normal(k[c[j]], 1)", {"x": X, "y": X[::2] + 1},
    ),
    "a tree": (
        "param m[2] : real\nfor n in N:\n    given above[n] : index[N]\n"
        "    latent z[n] ~ Bernoulli(0.5) if n == 0 else Bernoulli(0.1 + 0.8 * z[above[n]])\n"
        "    observed x[n] ~ Normal(m[z[n]], 1)", {"x": X, "above": np.maximum(0, (np.arange(28) - 1) // 2)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PARTED)
def test_several_discrete_latents_start_from_their_probabilities(name: str) -> None:
    """How those that are found together depend is no part of `posterior_`: the first step is near, not there."""
    text, data = PARTED[name]
    model = written(f"model M\n{text}\n")
    fit = model.fitter(seed=1, tol=1e-10, max_iter=400).fit(data)
    again = model.fitter(seed=5, max_iter=1, init=fit.posterior_).fit(data)
    assert again.objective_ == pytest.approx(fit.objective_, abs=0.02)
    whole = model.fitter(seed=5, max_iter=0, init={**fit.params_, **fit.posterior_}).fit(data)
    assert whole.objective_ == pytest.approx(fit.objective_, abs=1e-9)


def test_what_is_no_start_is_named() -> None:
    text, data = PARTED["two chains"]
    model = written(f"model M\n{text}\n")
    with pytest.raises(emdsl.DataError, match="z, v are found together, and v has no start"):
        model.fitter(init={"z": np.full((28, 2), 0.5)}).fit(data)
    exact = written(
        "model M\nparam s : positive\nfor n in N:\n    latent u[n] ~ Normal(0, s)\n    observed x[n] ~ Normal(u[n], 1)"
    )
    with pytest.raises(emdsl.DataError, match="u follows from the parameters"):
        exact.fitter(init={"u": {"mean": X, "var": 1 + 0 * X}}).fit({"x": X})
    text, data = FACTORS["gamma"]
    with pytest.raises(emdsl.DataError, match="p must be a dict of arrays as in posterior_, with shape and rate"):
        written(f"model M\n{text}\n").fitter(init={"p": {"mean": [1, 1]}}).fit(data)


def test_missing_cells_of_data_are_handed_back() -> None:
    model = written("model M\nparam m : real[2]\nparam S : spd[2]\nfor n in N:\n    observed x[n] ~ MvNormal(m, S)\n")
    data = {"x": np.where(np.arange(56).reshape(28, 2) % 9 == 0, np.nan, PAIRS)}
    fit = model.fitter(tol=1e-12).fit(data)
    again = model.fitter(max_iter=0, init={**fit.params_, **fit.posterior_}).fit(data)
    assert "x" in fit.posterior_ and again.objective_ == pytest.approx(fit.objective_, abs=1e-9)
