"""Ties, fixed entries, structured means and covariances: everything that `let` and expressions make of parameters."""

from __future__ import annotations

import numpy as np
from scipy.stats import poisson

from cases import Case, mix, mvn, normal, pick

MEANS = np.array([[0.0, 0.0], [4.0, 3.0]])
HALF = np.array([0.5, 0.5])


def _cloud(cov, params, n=80):
    """Two Gaussian clouds; `cov` (2, 2, 2); `params` the rest of the truth."""

    def make(rng):
        z = pick(rng, [0.4, 0.6], n)
        x = MEANS[z] + np.einsum("nij,nj->ni", np.linalg.cholesky(cov)[z], rng.normal(size=(n, 2)))
        return {"x": x}, {"w": np.array([0.4, 0.6]), "mean": MEANS, **params}

    return make


def _clouds(p, d, cov):
    return mix(p["w"], np.stack([mvn(d["x"], m, c) for m, c in zip(p["mean"], cov(p), strict=True)], -1))


def _line(rng, n=80, **truth):
    """Two components on a line at -2 and 2, sd 0.8."""
    z = pick(rng, [0.3, 0.7], n)
    return {"x": rng.normal(np.array([-2.0, 2.0])[z], 0.8)}, truth


CLOUD = """
    model Clouds
    size K = 2
    {params}
    param w : simplex[K]
    param mean[K] : real[D]
    for n in N:
        latent   z[n] ~ Categorical(w)
        observed x[n] ~ MvNormal(mean[z[n]], {cov})
"""


def _cloudy(name, params, cov, truth, matrices):
    text = CLOUD.format(params=params, cov=cov)
    full = np.stack(matrices(truth))
    return Case(name, text, _cloud(full, truth), lambda p, d: _clouds(p, d, matrices), options={"n_init": 3})


EYE, SKEW = np.eye(2), np.array([[2.0, 0.5], [0.5, 1.0]])
LINE = """
    model Line
    {params}
    for n in N:
        latent   z[n] ~ Categorical({weights})
        observed x[n] ~ Normal({mean}, {sd})
"""


def _linear(name, params, weights, mean, sd, truth, value, **kwargs):
    text = LINE.format(params="\n    ".join(params), weights=weights, mean=mean, sd=sd)
    return Case(name, text, lambda rng: _line(rng, **truth), value, options={"n_init": 4}, **kwargs)


def _two(w, means, sd):
    return lambda p, d: mix(w(p), normal(d["x"][:, None], np.stack(np.broadcast_arrays(*means(p))), sd(p)))


ONE_MEAN = {"m": 2.0, "sd": 0.8, "w": np.array([0.3, 0.7])}

EXPOSURE = """
    model Exposure
    size K = 2
    param w : simplex[K]
    param rate[K] : positive
    for n in N:
        given    time[n] : positive
        latent   z[n] ~ Categorical(w)
        observed y[n] ~ Poisson(time[n] * rate[z[n]])
"""


def _exposure(rng):
    w, rate, time = np.array([0.5, 0.5]), np.array([1.0, 6.0]), rng.uniform(0.5, 4, 80)
    return {"y": rng.poisson(time * rate[pick(rng, w, 80)]), "time": time}, {"w": w, "rate": rate}


TABLE = """
    model SharedSpread
    let kind = [0, 0, 1]
    param w : simplex[3]
    param mean[3] : real
    param sd[2] : positive
    for n in N:
        latent   z[n] ~ Categorical(w)
        observed x[n] ~ Normal(mean[z[n]], sd[kind[z[n]]])
"""


def _table(rng):
    w, mean, sd = np.array([0.3, 0.3, 0.4]), np.array([-6.0, 0.0, 9.0]), np.array([0.7, 2.0])
    z = pick(rng, w, 120)
    return {"x": rng.normal(mean[z], sd[[0, 0, 1]][z])}, {"w": w, "mean": mean, "sd": sd}


FACTORS = """
    model SharedMean
    param mean : real
    param sd[2] : positive
    for n in N:
        observed x[n] ~ Normal(mean, sd[0])
    for m in M:
        observed y[m] ~ Normal(mean, sd[1])
"""


def _factors(rng):
    return {"x": rng.normal(3, 1, 40), "y": rng.normal(3, 3, 30)}, {"mean": 3.0, "sd": np.array([1.0, 3.0])}


CLOCK = """
    model CountsAndWaits
    param rate : positive
    for n in N:
        observed y[n] ~ Poisson(rate)
    for m in M:
        observed wait[m] ~ Exponential(rate)
"""


def _clock(rng):
    return {"y": rng.poisson(2.0, 30), "wait": rng.exponential(0.5, 40)}, {"rate": 2.0}


HARDY = """
    model HardyWeinberg
    param p : unit
    param mean[3] : real
    param sd : positive
    for n in N:
        latent   g[n] ~ Categorical([(1-p)^2, 2*p*(1-p), p^2])
        observed x[n] ~ Normal(mean[g[n]], sd)
"""


def _hardy(rng):
    p, mean = 0.4, np.array([-4.0, 0.0, 5.0])
    return {"x": rng.normal(mean[rng.binomial(2, p, 120)], 1.0)}, {"p": p, "mean": mean, "sd": 1.0}


def _hardy_value(p, d):
    weights = [(1 - p["p"]) ** 2, 2 * p["p"] * (1 - p["p"]), p["p"] ** 2]
    return mix(weights, normal(d["x"][:, None], p["mean"], p["sd"]))


DOSE = """
    model AlleleDose
    param p : unit
    param a : real
    param b : real
    param sd : positive
    for n in N:
        latent   g[n] ~ Binomial(2, p)
        observed x[n] ~ Normal(a + b * g[n], sd)
"""


def _dose(rng):
    return {"x": rng.normal(1 + 4.0 * rng.binomial(2, 0.4, 120), 1.0)}, {"p": 0.4, "a": 1.0, "b": 4.0, "sd": 1.0}


def _dose_value(p, d):
    weights = [(1 - p["p"]) ** 2, 2 * p["p"] * (1 - p["p"]), p["p"] ** 2]
    return mix(weights, normal(d["x"][:, None], p["a"] + p["b"] * np.arange(3), p["sd"]))


CASES = [
    _cloudy(
        "spherical, one variance", "param s2 : positive", "s2 * eye(D)", {"s2": 1.2}, lambda p: [p["s2"] * EYE] * 2
    ),
    _cloudy(
        "spherical, a variance each",
        "param s2[K] : positive",
        "s2[z[n]] * eye(D)",
        {"s2": np.array([0.5, 2.0])},
        lambda p: p["s2"][:, None, None] * EYE,
    ),
    _cloudy(
        "diagonal by diag",
        "param v[K] : positive[D]",
        "diag(v[z[n]])",
        {"v": np.array([[0.5, 1.0], [2.0, 0.3]])},
        lambda p: [np.diag(v) for v in p["v"]],
    ),
    _cloudy(
        "one diagonal for all",
        "param v : positive[D]",
        "diag(v)",
        {"v": np.array([0.5, 1.5])},
        lambda p: [np.diag(p["v"])] * 2,
    ),
    _cloudy(
        "a scale times a literal matrix",
        "param s : positive\n    let C = [[2, 0.5], [0.5, 1]]",
        "s * C",
        {"s": 0.7},
        lambda p: [p["s"] * SKEW] * 2,
    ),
    _linear(
        "equal sd",
        ["param w : simplex[2]", "param mean[2] : real", "param sd : positive"],
        "w",
        "mean[z[n]]",
        "sd",
        {"w": np.array([0.3, 0.7]), "mean": np.array([-2.0, 2.0]), "sd": 0.8},
        _two(lambda p: p["w"], lambda p: p["mean"], lambda p: p["sd"]),
        updates={"w": "closed form", "mean": "closed form", "sd": "closed form"},
    ),
    _linear(
        "means mirrored",
        ["param w : simplex[2]", "param m : real", "param sd : positive"],
        "w",
        "[-m, m][z[n]]",
        "sd",
        ONE_MEAN,
        _two(lambda p: p["w"], lambda p: [-p["m"], p["m"]], lambda p: p["sd"]),
    ),
    _linear(
        "means a step apart",
        ["param m : real", "param step : real", "param sd : positive"],
        "[0.3, 0.7]",
        "m + step * z[n]",
        "sd",
        {"m": -2.0, "step": 4.0, "sd": 0.8},
        _two(lambda p: [0.3, 0.7], lambda p: [p["m"], p["m"] + p["step"]], lambda p: p["sd"]),
    ),
    _linear(
        "weights of one parameter, one mean fixed",
        ["param q : unit", "param m : real", "param sd : positive"],
        "[1 - q, q]",
        "[-2, m][z[n]]",
        "sd",
        {"q": 0.7, "m": 2.0, "sd": 0.8},
        _two(lambda p: [1 - p["q"], p["q"]], lambda p: [-2.0, p["m"]], lambda p: p["sd"]),
    ),
    _linear(
        "sds in a ratio",
        ["param m[2] : real", "param s : positive"],
        "[0.3, 0.7]",
        "m[z[n]]",
        "[s, 2*s][z[n]]",
        {"m": np.array([-2.0, 2.0]), "s": 0.6},
        _two(lambda p: [0.3, 0.7], lambda p: p["m"], lambda p: p["s"] * np.array([1, 2])),
    ),
    Case(
        "poisson mixture with exposure",
        EXPOSURE,
        _exposure,
        lambda p, d: mix(p["w"], poisson.logpmf(d["y"][:, None], d["time"][:, None] * p["rate"])),
    ),
    Case(
        "spread shared through a table of integers",
        TABLE,
        _table,
        lambda p, d: mix(p["w"], normal(d["x"][:, None], p["mean"], p["sd"][[0, 0, 1]])),
        options={"n_init": 6},
    ),
    Case(
        "one mean in two samples",
        FACTORS,
        _factors,
        lambda p, d: normal(d["x"], p["mean"], p["sd"][0]).sum() + normal(d["y"], p["mean"], p["sd"][1]).sum(),
    ),
    Case(
        "one rate for counts and waits",
        CLOCK,
        _clock,
        lambda p, d: poisson.logpmf(d["y"], p["rate"]).sum() + (np.log(p["rate"]) - p["rate"] * d["wait"]).sum(),
        updates={"rate": "closed form"},
    ),
    Case("hardy-weinberg", HARDY, _hardy, _hardy_value, options={"n_init": 6}),
    Case("a latent binomial as a number", DOSE, _dose, _dose_value, options={"n_init": 6}),
]
