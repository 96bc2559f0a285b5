"""No latent at all: curves, sums of variances, categories with formulas in them, bounds, seasons."""

from __future__ import annotations

import numpy as np
from scipy.special import logsumexp
from scipy.stats import multinomial, norm, poisson

from cases import Case, normal, pick

SOFTMAX = """
    model Shares
    param eta : real[2]
    for n in N:
        observed y[n] ~ Categorical(softmax(concat(0, eta)))
"""


def _softmax_value(p, d):
    logits = np.concatenate([[0.0], p["eta"]])
    return (logits - logsumexp(logits))[d["y"]].sum()


MARGINAL = """
    model MetaWithoutLatents
    param mu : real
    param tau2 : positive
    for i in I:
        given    se[i] : positive
        observed y[i] ~ Normal(mu, var = tau2 + se[i]^2)
"""


def _marginal(rng):
    se = rng.uniform(0.3, 1.0, 40)
    return {"se": se, "y": rng.normal(1, np.hypot(0.8, se))}, {"mu": 1.0, "tau2": 0.64}


POWER = """
    model PowerLaw
    param a : positive
    param b : real
    param sd : positive
    for n in N:
        given    x[n] : positive
        observed y[n] ~ Normal(a * x[n]^b, sd)
"""


def _power(rng):
    x = rng.uniform(0.5, 5, 60)
    return {"x": x, "y": 2.0 * x**1.5 + rng.normal(0, 0.5, 60)}, {"a": 2.0, "b": 1.5, "sd": 0.5}


DECAY = """
    model Decay
    param a : real
    param k : positive
    param sd : positive
    for n in N:
        given    t[n] : positive
        observed y[n] ~ Normal(a * exp(-k * t[n]), sd)
"""


def _decay(rng):
    t = rng.uniform(0, 5, 60)
    return {"t": t, "y": 4.0 * np.exp(-0.7 * t) + rng.normal(0, 0.2, 60)}, {"a": 4.0, "k": 0.7, "sd": 0.2}


IDENTITY = """
    model CountsWithBackground
    param b : positive
    param s : positive
    for n in N:
        given    x[n] : positive
        observed y[n] ~ Poisson(b + s * x[n])
"""


def _identity(rng):
    x = rng.uniform(0, 5, 60)
    return {"x": x, "y": rng.poisson(2.0 + 3.0 * x)}, {"b": 2.0, "s": 3.0}


ARITHMETIC = """
    model SizesByArithmetic
    size Q = 2
    size P = Q + 1
    param b : real[P]
    param sd : positive
    for n in N:
        given    x[n] : real[Q]
        let      row[n] = concat(1, x[n])
        observed y[n] ~ Normal(row[n] @ b, sd)
"""


def _arithmetic(rng):
    x, b = rng.normal(size=(40, 2)), np.array([1.0, 2.0, -1.0])
    return {"x": x, "y": b[0] + x @ b[1:] + rng.normal(size=40)}, {"b": b, "sd": 1.0}


GENOTYPES = """
    model Genotypes
    param p : unit
    for n in N:
        observed y[n] ~ Multinomial([p^2, 2*p*(1-p), (1-p)^2])
"""


def _genotypes_value(p, d):
    q = [p["p"] ** 2, 2 * p["p"] * (1 - p["p"]), (1 - p["p"]) ** 2]
    return multinomial.logpmf(d["y"], d["y"].sum(1), q).sum()


LINKAGE = """
    model LinkageDirect
    param t : unit
    for n in N:
        observed y[n] ~ Categorical([1/2 + t/4, (1-t)/4, (1-t)/4, t/4])
"""


def _linkage_value(p, d):
    return np.log([0.5 + p["t"] / 4, (1 - p["t"]) / 4, (1 - p["t"]) / 4, p["t"] / 4])[d["y"]].sum()


SEASON = """
    model Season
    param level[4] : real
    param sd : positive
    for t in T:
        observed y[t] ~ Normal(level[t % 4], sd)
"""


def _season(rng):
    level = np.array([1.0, 3.0, 0.0, -2.0])
    return {"y": rng.normal(level[np.arange(40) % 4], 1)}, {"level": level, "sd": 1.0}


BOUNDED = """
    model BoundedParameter
    param m : real(min = 0, max = 10)
    param s : real(min = 0.5)
    for n in N:
        observed x[n] ~ Normal(m, s)
"""


def _bounded(rng):
    return {"x": rng.normal(4, 1.5, 40)}, {"m": 4.0, "s": 1.5}


CASES = [
    Case(
        "softmax of parameters",
        SOFTMAX,
        lambda rng: ({"y": pick(rng, [0.2, 0.3, 0.5], 60)}, {"eta": np.array([0.4, 0.9])}),
        _softmax_value,
    ),
    Case(
        "variances that add",
        MARGINAL,
        _marginal,
        lambda p, d: norm.logpdf(d["y"], p["mu"], np.sqrt(p["tau2"] + d["se"] ** 2)).sum(),
    ),
    Case(
        "a power law",
        POWER,
        _power,
        lambda p, d: normal(d["y"], p["a"] * d["x"] ** p["b"], p["sd"]).sum(),
        options={"max_iter": 20_000},
    ),
    Case(
        "decay",
        DECAY,
        _decay,
        lambda p, d: normal(d["y"], p["a"] * np.exp(-p["k"] * d["t"]), p["sd"]).sum(),
        options={"max_iter": 20_000},
    ),
    Case(
        "signal over background",
        IDENTITY,
        _identity,
        lambda p, d: poisson.logpmf(d["y"], p["b"] + p["s"] * d["x"]).sum(),
        options={"max_iter": 20_000},
    ),
    Case(
        "sizes by arithmetic",
        ARITHMETIC,
        _arithmetic,
        lambda p, d: normal(d["y"], p["b"][0] + d["x"] @ p["b"][1:], p["sd"]).sum(),
    ),
    Case(
        "linkage without a latent",
        LINKAGE,
        lambda rng: ({"y": np.repeat(np.arange(4), [125, 18, 20, 34])}, {"t": 0.6}),
        _linkage_value,
    ),
    Case(
        "genotypes in proportion",
        GENOTYPES,
        lambda rng: ({"y": rng.multinomial(9, [0.09, 0.42, 0.49], 20)}, {"p": 0.3}),
        _genotypes_value,
        updates={"p": "closed form"},
    ),
    Case(
        "seasons",
        SEASON,
        _season,
        lambda p, d: normal(d["y"], np.asarray(p["level"])[np.arange(40) % 4], p["sd"]).sum(),
    ),
    Case("bounded parameters", BOUNDED, _bounded, lambda p, d: normal(d["x"], p["m"], p["s"]).sum()),
]
