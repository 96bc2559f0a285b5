"""What data can do to a model: weights, missing entries, far origins, empty categories, one component."""

from __future__ import annotations

import numpy as np
from scipy.stats import norm, poisson

from cases import Case, mix, mvn, normal, pick

W = np.array([0.4, 0.6])
NORMALS = """
    model Normals
    size K = 2
    param w : simplex[K]
    param mean[K] : real
    param sd[K] : positive
    for n in N:
        latent   z[n] ~ Categorical(w)
        observed x[n] ~ Normal(mean[z[n]], sd[z[n]])
"""


def _normals(rng, n=80):
    mean, sd = np.array([-2.0, 3.0]), np.array([1.0, 0.7])
    z = pick(rng, W, n)
    return rng.normal(mean[z], sd[z]), {"w": W, "mean": mean, "sd": sd}


def _weighted(rng):
    x, truth = _normals(rng, 50)
    return {"x": x, "weight": rng.integers(0, 4, 50)}, truth


def _weighted_value(p, d):
    return mix(p["w"], normal(np.repeat(d["x"], d["weight"])[:, None], p["mean"], p["sd"]))


def _far(rng):
    x, truth = _normals(rng)
    return {"x": x + 1e7}, {**truth, "mean": truth["mean"] + 1e7}


DIAGONAL = """
    model Diagonal
    size K = 2
    param w : simplex[K]
    param mean[K] : real[D]
    param sd[K] : positive[D]
    for n in N:
        latent   z[n] ~ Categorical(w)
        observed x[n] : real[D] ~ Normal(mean[z[n]], sd[z[n]])
"""
BY_DIAG = DIAGONAL.replace(
    "x[n] : real[D] ~ Normal(mean[z[n]], sd[z[n]])", "x[n] ~ MvNormal(mean[z[n]], diag([sd[z[n], j]^2 for j in D]))"
)


def _holes(rng):
    mean, sd = np.array([[0.0, 0.0, 0.0], [4.0, 3.0, -3.0]]), np.array([[1.0, 1.0, 0.5], [0.7, 1.2, 1.0]])
    z = pick(rng, W, 80)
    x = rng.normal(mean[z], sd[z])
    x[rng.random((80, 3)) < 0.2] = np.nan
    x[7] = np.nan
    return {"x": x}, {"w": W, "mean": mean, "sd": sd}


def _holes_value(p, d):
    each = normal(d["x"][:, None], p["mean"], p["sd"])
    return mix(p["w"], np.where(np.isnan(each), 0.0, each).sum(-1))


ITEMS = """
    model ItemsWithHoles
    size K = 2
    param w : simplex[K]
    param yes[K] : unit[I]
    for n in N:
        latent z[n] ~ Categorical(w)
        for i in I:
            observed x[n, i] ~ Bernoulli(yes[z[n], i])
"""


def _items(rng):
    yes = np.array([[0.9, 0.8, 0.7, 0.9], [0.2, 0.1, 0.3, 0.2]])
    x = (rng.random((100, 4)) < yes[pick(rng, W, 100)]).astype(float)
    x[rng.random((100, 4)) < 0.2] = np.nan
    return {"x": x}, {"w": W, "yes": yes}


def _items_value(p, d):
    x, yes = d["x"][:, None], np.asarray(p["yes"])
    each = np.where(x == 1, np.log(yes), np.log1p(-yes))
    return mix(p["w"], np.where(np.isnan(x), 0.0, each).sum(-1))


LABELS = """
    model SomeLabels
    size K = 2
    param w : simplex[K]
    param mean[K] : real
    param sd[K] : positive
    for n in N:
        observed z[n] : category[K] ~ Categorical(w)
        observed x[n] ~ Normal(mean[z[n]], sd[z[n]])
"""


def _labels(rng):
    mean, sd, z = np.array([-1.0, 1.5]), np.array([1.0, 0.7]), pick(rng, W, 80)
    seen = np.where(rng.random(80) < 0.4, z, np.nan)
    return {"z": seen, "x": rng.normal(mean[z], sd[z])}, {"w": W, "mean": mean, "sd": sd}


def _labels_value(p, d):
    each = np.log(p["w"]) + normal(d["x"][:, None], p["mean"], p["sd"])
    known = ~np.isnan(d["z"])
    return each[known, d["z"][known].astype(int)].sum() + np.logaddexp(*each[~known].T).sum()


REGRESSION = """
    model FarRegression
    param a : real
    param b : real
    param s2 : positive
    for n in N:
        given    x[n] : real
        observed y[n] ~ Normal(a + b * x[n], var = s2)
"""


def _far_regression(rng):
    x = 1e7 + rng.normal(0, 10, 60)
    return {"x": x, "y": 5e6 + 2.0 * (x - 1e7) + rng.normal(size=60)}, {"a": 5e6 - 2e7, "b": 2.0, "s2": 1.0}


SUM_OF_COUNTS = """
    model Counts
    size K = 2
    param w : simplex[K]
    param p[K] : simplex[V]
    param rate[K] : positive
    for n in N:
        latent   z[n] ~ Categorical(w)
        observed c[n] : category[V] ~ Categorical(p[z[n]])
        observed y[n] ~ Poisson(rate[z[n]])
"""


def _empty(rng):
    """No row has category 2 of 4: its probability is 0, and 0 log 0 is 0."""
    p, rate, z = np.array([[0.7, 0.2, 0.0, 0.1], [0.1, 0.3, 0.0, 0.6]]), np.array([2.0, 12.0]), pick(rng, W, 80)
    c = np.array([pick(rng, p[k], 1)[0] for k in z])
    return {"c": c, "y": rng.poisson(rate[z])}, {"w": W, "p": p, "rate": rate}


def _empty_value(p, d):
    with np.errstate(divide="ignore"):
        return mix(p["w"], np.log(p["p"]).T[d["c"]] + poisson.logpmf(d["y"][:, None], p["rate"]))


FULL = """
    model Full
    size K = 2
    param w : simplex[K]
    param mean[K] : real[D]
    param cov[K] : spd[D]
    for n in N:
        latent   z[n] ~ Categorical(w)
        observed x[n] ~ MvNormal(mean[z[n]], cov[z[n]])
"""


def _one(rng):
    x = rng.multivariate_normal([1, 2], [[2, 0.5], [0.5, 1]], 40)
    return {"x": x}, {"w": np.ones(1), "mean": x.mean(0)[None], "cov": np.cov(x.T, bias=True)[None]}


def _one_value(p, d):
    return mvn(d["x"], np.asarray(p["mean"])[0], np.asarray(p["cov"])[0]).sum()


def _rows_missing(rng):
    z = pick(rng, W, 80)
    x = rng.normal(size=(80, 2)) + np.array([[0.0, 0.0], [5.0, 4.0]])[z]
    x[[3, 50]] = np.nan
    return {"x": x}, {"w": W, "mean": np.array([[0.0, 0.0], [5.0, 4.0]]), "cov": np.stack([np.eye(2)] * 2)}


def _rows_missing_value(p, d):
    rows = [mvn(d["x"], m, c) for m, c in zip(p["mean"], p["cov"], strict=True)]
    return mix(p["w"], np.nan_to_num(np.stack(rows, -1)))


SUPERVISED = """
    model Supervised
    param w : simplex[K]
    param mean[K] : real
    param sd : positive
    for n in N:
        observed z[n] ~ Categorical(w)
        observed x[n] ~ Normal(mean[z[n]], sd)
"""


def _supervised(rng):
    w, mean, z = np.array([0.2, 0.3, 0.5]), np.array([0.0, 2.0, 5.0]), np.repeat([0, 1, 2], [10, 15, 25])
    return {"z": z, "x": rng.normal(mean[z], 1)}, {"w": w, "mean": mean, "sd": 1.0}


DIFFERENT_UNITS = """
    model Units
    param mean : real[D]
    param cov : spd[D]
    for n in N:
        observed x[n] ~ MvNormal(mean, cov)
"""


def _units(rng):
    x = rng.normal(size=(50, 2)) @ np.array([[1.0, 0.3], [0.0, 1.0]]) * [1e-4, 1e4] + [1e-4, 1e8]
    return {"x": x}, {"mean": x.mean(0), "cov": np.cov(x.T, bias=True)}


CASES = [
    Case("weights are repeated rows", NORMALS, _weighted, _weighted_value, weight="weight", options={"n_init": 3}),
    Case(
        "mixture at 1e7",
        NORMALS,
        _far,
        lambda p, d: mix(p["w"], normal(d["x"][:, None], p["mean"], p["sd"])),
        options={"n_init": 3},
    ),
    Case("cells missing, independent coordinates", DIAGONAL, _holes, _holes_value, options={"n_init": 3}),
    Case("cells missing, diagonal covariance", BY_DIAG, _holes, _holes_value, options={"n_init": 3}),
    Case("items missing", ITEMS, _items, _items_value, options={"n_init": 3}),
    Case("labels missing: semi-supervised", LABELS, _labels, _labels_value),
    Case(
        "regression at 1e7",
        REGRESSION,
        _far_regression,
        lambda p, d: norm.logpdf(d["y"], p["a"] + p["b"] * d["x"], np.sqrt(p["s2"])).sum(),
    ),
    Case("an empty category", SUM_OF_COUNTS, _empty, _empty_value, options={"n_init": 4, "V": 4}),
    Case("one component", FULL, _one, _one_value, options={"K": 1}),
    Case("rows missing", FULL, _rows_missing, _rows_missing_value, options={"n_init": 3}),
    Case(
        "everything observed",
        SUPERVISED,
        _supervised,
        lambda p, d: (np.log(p["w"])[d["z"]] + normal(d["x"], np.asarray(p["mean"])[d["z"]], p["sd"])).sum(),
    ),
    Case(
        "units 1e8 apart",
        DIFFERENT_UNITS,
        _units,
        lambda p, d: mvn(d["x"], np.asarray(p["mean"]), np.asarray(p["cov"])).sum(),
    ),
]
