"""Scores of groups of groups: rows in classes in schools, by given indices, against dense Gaussians."""

import numpy as np
from scipy import stats

import emdsl

TEXT = """
model Nested
param m : real
param s : positive
param t : positive
param u : positive
for k in K:
    latent a[k] ~ Normal(0, u)
for g in G:
    given school[g] : index[K]
    latent b[g] ~ Normal(a[school[g]], t)
for n in N:
    given group[n] : index[G]
    observed y[n] ~ Normal(m + b[group[n]], s)
"""


def test_each_outermost_group_has_its_score() -> None:
    rng = np.random.default_rng(0)
    school = np.array([2, 0, 2, 0, 3, 3])
    group = rng.permutation(np.repeat(np.arange(6), 4))
    data = {"school": school, "group": group, "y": rng.normal(size=24)}
    data["y"][3] = np.nan
    fit = emdsl.compile(text=TEXT).fitter(K=4, seed=0, max_iter=3).fit(data)
    scores = fit.score_samples(data)
    p = fit.params_
    expected = []
    for k in range(4):  # school 1 has no rows
        seen = (school[group] == k) & np.isfinite(data["y"])
        same = group[seen][:, None] == group[seen]
        cov = p["u"] ** 2 + p["t"] ** 2 * same + p["s"] ** 2 * np.eye(seen.sum())
        mean = np.full(seen.sum(), p["m"])
        expected.append(stats.multivariate_normal.logpdf(data["y"][seen], mean, cov) if seen.any() else 0.0)
    np.testing.assert_allclose(scores, expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(scores.sum(), fit.log_likelihood_, rtol=1e-10)
