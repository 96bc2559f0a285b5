"""Means that are linear in parameters: vectors, matrices, several outputs, covariates of the spread, simple GLMs."""

from __future__ import annotations

import numpy as np
from scipy.stats import binom, gamma, poisson

from cases import Case, mix, mvn, normal, pick

OUTPUTS = """
    model SeveralOutputs
    param B : real[D, P]
    param a : real[D]
    param C : spd[D]
    for n in N:
        given    X[n] : real[P]
        observed y[n] ~ MvNormal(B @ X[n] + a, C)
"""


def _outputs(rng):
    B, a, C = np.array([[1.0, 0.5, -1.0], [0.0, 2.0, 0.3]]), np.array([3.0, -1.0]), np.array([[1.0, 0.3], [0.3, 0.5]])
    X = rng.normal(size=(50, 3))
    return {"X": X, "y": X @ B.T + a + rng.multivariate_normal([0, 0], C, 50)}, {"B": B, "a": a, "C": C}


SCALED = """
    model KnownSpread
    param b : real[P]
    param s : positive
    for n in N:
        given    X[n] : real[P]
        given    w[n] : positive
        observed y[n] ~ Normal(X[n] @ b, sd = s * w[n])
"""


def _scaled(rng):
    X, w, b = rng.normal(size=(50, 3)), rng.uniform(0.3, 3, 50), np.array([1.0, -1.0, 0.5])
    return {"X": X, "w": w, "y": X @ b + 0.7 * w * rng.normal(size=50)}, {"b": b, "s": 0.7}


EXPERTS = """
    model LinesWithSharedSlope
    size K = 2
    param w : simplex[K]
    param a[K] : real
    param b : real[P]
    param s2[K] : positive
    for n in N:
        given    X[n] : real[P]
        latent   z[n] ~ Categorical(w)
        observed y[n] ~ Normal(a[z[n]] + X[n] @ b, var = s2[z[n]])
"""


def _experts(rng):
    w, a, b, s2 = np.array([0.4, 0.6]), np.array([-4.0, 4.0]), np.array([1.0, -1.0]), np.array([0.5, 2.0])
    X, z = rng.normal(size=(100, 2)), pick(rng, w, 100)
    y = a[z] + X @ b + np.sqrt(s2[z]) * rng.normal(size=100)
    return {"X": X, "y": y}, {"w": w, "a": a, "b": b, "s2": s2}


def _experts_value(p, d):
    return mix(p["w"], normal(d["y"][:, None], p["a"] + (d["X"] @ p["b"])[:, None], np.sqrt(p["s2"])))


ANOVA = """
    model TwoWay
    param m[G, H] : real
    param sd : positive
    for n in N:
        given    g[n] : category[G]
        given    h[n] : category[H]
        observed y[n] ~ Normal(m[g[n], h[n]], sd)
"""


def _anova(rng):
    m, g, h = np.array([[1.0, 2.0, 3.0], [0.0, -1.0, 5.0]]), np.arange(60) % 2, np.arange(60) % 3
    return {"g": g, "h": h, "y": rng.normal(m[g, h], 1.0)}, {"m": m, "sd": 1.0}


ADDITIVE = """
    model RowsAndColumns
    let    eff = concat(0, b)
    param a[G] : real
    param b : real[2]
    param sd : positive
    for n in N:
        given    g[n] : category[G]
        given    h[n] : category[3]
        observed y[n] ~ Normal(a[g[n]] + eff[h[n]], sd)
"""


def _rows_columns(rng):
    a, b, g, h = np.array([1.0, 3.0]), np.array([-1.0, 2.0]), rng.integers(0, 2, 60), np.arange(60) % 3
    y = rng.normal(a[g] + np.concatenate([[0], b])[h], 1.0)
    return {"g": g, "h": h, "y": y}, {"a": a, "b": b, "sd": 1.0}


def _rows_columns_value(p, d):
    return normal(d["y"], p["a"][d["g"]] + np.concatenate([[0.0], p["b"]])[d["h"]], p["sd"]).sum()


LAST_SCALE = """
    model ScalesWhoseProductIsOne
    param m[G] : real[4]
    param s : positive
    param q[G] : positive[3]
    for n in N:
        given    g[n] : index[G]
        observed x[n] ~ MvNormal(m[g[n]], s * diag(concat(q[g[n]], 1 / (q[g[n], 0] * q[g[n], 1] * q[g[n], 2]))))
"""


def _scales(q):
    return np.concatenate([q, 1 / q.prod(-1, keepdims=True)], -1)


def _last_scale(rng):
    m, q, g = np.array([[0.0, 1, 2, 3], [3, 2, 1, 0]]), np.array([[0.5, 1, 3], [2, 0.3, 1]]), np.arange(60) % 2
    return {"g": g, "x": m[g] + np.sqrt(1.5 * _scales(q)[g]) * rng.normal(size=(60, 4))}, {"m": m, "s": 1.5, "q": q}


def _last_scale_value(p, d):
    return normal(d["x"], p["m"][d["g"]], np.sqrt(p["s"] * _scales(p["q"])[d["g"]])).sum()


WAVE = """
    model Wave
    param c : real
    param u : real
    param v : real
    param sd : positive
    for n in N:
        given    t[n] : real
        observed y[n] ~ Normal(c + u*sin(2*pi*t[n]) + v*cos(2*pi*t[n]), sd)
"""


def _wave(rng):
    t = rng.uniform(0, 3, 60)
    y = 1 + 2 * np.sin(2 * np.pi * t) - np.cos(2 * np.pi * t) + 0.5 * rng.normal(size=60)
    return {"t": t, "y": y}, {"c": 1.0, "u": 2.0, "v": -1.0, "sd": 0.5}


def _wave_value(p, d):
    angle = 2 * np.pi * d["t"]
    return normal(d["y"], p["c"] + p["u"] * np.sin(angle) + p["v"] * np.cos(angle), p["sd"]).sum()


COUNTS = """
    model CountsOnALine
    param a : real
    param b : real
    for n in N:
        given    t[n] : real
        observed y[n] ~ Poisson(log_rate = a + b * t[n])
"""


def _counts(rng):
    t = rng.normal(size=60)
    return {"t": t, "y": rng.poisson(np.exp(0.5 + 0.8 * t))}, {"a": 0.5, "b": 0.8}


BEETLES = """
    model Dose
    param a : real
    param b : real
    for n in N:
        given    dose[n] : real
        given    tried[n] : count
        observed died[n] ~ Binomial(tried[n], logit = a + b * dose[n])
"""


def _beetles(rng):
    dose, tried = np.linspace(-2, 2, 12), np.full(12, 20)
    return {"dose": dose, "tried": tried, "died": rng.binomial(tried, 1 / (1 + np.exp(-1 - 2 * dose)))}, {
        "a": 1.0,
        "b": 2.0,
    }


MULTIPLICATIVE = """
    model RowTimesColumn
    param r : positive[G]
    param c : simplex[H]
    for g in G:
        for h in H:
            observed y[g, h] ~ Poisson(r[g] * c[h])
"""


def _table(rng):
    r, c = np.array([20.0, 50.0, 10.0]), np.array([0.1, 0.2, 0.3, 0.4])
    return {"y": rng.poisson(np.outer(r, c))}, {"r": r, "c": c}


GAMMA_MEAN = """
    model GammaByMean
    param mean[G] : positive
    param shape : positive
    for n in N:
        given    g[n] : category[G]
        observed y[n] ~ Gamma(shape, shape / mean[g[n]])
"""


def _gamma_mean(rng):
    mean, g = np.array([1.0, 4.0, 9.0]), np.arange(60) % 3
    return {"g": g, "y": rng.gamma(3.0, mean[g] / 3.0)}, {"mean": mean, "shape": 3.0}


CASES = [
    Case(
        "several outputs",
        OUTPUTS,
        _outputs,
        lambda p, d: mvn(d["y"], d["X"] @ np.asarray(p["B"]).T + p["a"], np.asarray(p["C"])).sum(),
    ),
    Case(
        "spread known up to a scale",
        SCALED,
        _scaled,
        lambda p, d: normal(d["y"], d["X"] @ p["b"], p["s"] * d["w"]).sum(),
    ),
    Case("lines with one slope", EXPERTS, _experts, _experts_value, options={"n_init": 4}),
    Case("two-way cells", ANOVA, _anova, lambda p, d: normal(d["y"], p["m"][d["g"], d["h"]], p["sd"]).sum()),
    Case("rows and columns", ADDITIVE, _rows_columns, _rows_columns_value),
    Case("a wave", WAVE, _wave, _wave_value),
    Case(
        "counts on a line",
        COUNTS,
        _counts,
        lambda p, d: poisson.logpmf(d["y"], np.exp(p["a"] + p["b"] * d["t"])).sum(),
        options={"max_iter": 20_000},
    ),
    Case(
        "logistic dose",
        BEETLES,
        _beetles,
        lambda p, d: binom.logpmf(d["died"], d["tried"], 1 / (1 + np.exp(-p["a"] - p["b"] * d["dose"]))).sum(),
        options={"max_iter": 20_000},
    ),
    Case(
        "rows times columns",
        MULTIPLICATIVE,
        _table,
        lambda p, d: poisson.logpmf(d["y"], np.outer(p["r"], p["c"])).sum(),
    ),
    Case("the last scale follows", LAST_SCALE, _last_scale, _last_scale_value),
    Case(
        "gamma by mean",
        GAMMA_MEAN,
        _gamma_mean,
        lambda p, d: gamma.logpdf(d["y"], p["shape"], scale=np.asarray(p["mean"])[d["g"]] / p["shape"]).sum(),
    ),
]
