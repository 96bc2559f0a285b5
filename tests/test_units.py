"""Scores of groups that rows reach through an index: those of the same model in nested plates."""

from __future__ import annotations

import numpy as np
import pytest
from gallery import written
from scipy.special import logsumexp
from scipy.stats import norm, poisson

HEAD = "model M\nparam a : positive\nparam b : positive\nfor g in G:\n    latent u[g] ~ Gamma(a, b)\n"
NESTED = f"{HEAD}    for i in I:\n        observed c[g, i] ~ Poisson(u[g])\n"
INDEXED = f"{HEAD}for n in N:\n    given k[n] : index[G]\n    observed c[n] ~ Poisson(u[k[n]])\n"
TWO = """
model M
param w : simplex[2]
param r[2] : positive
param m[2] : real
for g in G:
    latent z[g] ~ Categorical(w)
for n in N:
    given k[n] : index[G]
    observed c[n] ~ Poisson(r[z[k[n]]])
for q in Q:
    given h[q] : index[G]
    observed x[q] ~ Normal(m[z[h[q]]], 1)
"""
COUNTS = np.random.default_rng(0).poisson(3, (5, 4))
ORDER = np.random.default_rng(1).permutation(20)
ROWS = {"c": COUNTS.ravel()[ORDER], "k": np.repeat(np.arange(5), 4)[ORDER]}


def test_a_group_scores_as_its_plate_does() -> None:
    nested = written(NESTED).fitter(seed=0).fit({"c": COUNTS})
    indexed = written(INDEXED).fitter(max_iter=0).fit(ROWS, init=nested.params_)
    np.testing.assert_allclose(indexed.score_samples(ROWS), nested.score_samples({"c": COUNTS}), rtol=1e-10)
    assert indexed.score(ROWS) == pytest.approx(nested.score({"c": COUNTS}) / 4, rel=1e-10)  # a mean over rows


def test_rows_of_two_plates_meet_in_their_groups() -> None:
    h, x = np.array([0, 4, 4, 1]), np.array([0.3, -1.0, 2.0, 0.1])
    p = {"w": np.array([0.3, 0.7]), "r": np.array([1.0, 4.0]), "m": np.array([0.0, 1.0])}
    data = {**ROWS, "h": h, "x": x}
    logs = np.log(p["w"]) + np.zeros((5, 2))
    np.add.at(logs, ROWS["k"], poisson.logpmf(ROWS["c"][:, None], p["r"]))
    np.add.at(logs, h, norm.logpdf(x[:, None], p["m"]))
    found = written(TWO).fitter(max_iter=0).fit(data, init=p).score_samples(data)
    np.testing.assert_allclose(found, logsumexp(logs, axis=1), rtol=1e-10)
