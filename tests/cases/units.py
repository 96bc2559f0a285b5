"""Numeric M-steps in any units: data in millions, covariates in thousands, and places where Q is flat."""

from __future__ import annotations

import numpy as np
from scipy.special import log_ndtr, log_softmax, ndtr, softmax
from scipy.stats import gengamma, poisson, weibull_min

from cases import Case, mix, normal, pick

BIG = 1e7


def family(declared: str, call: str) -> str:
    names = ("m : real", "s : positive", "a : real")[: call.count(",") + 1]
    params = "\n".join(f"param {n}" for n in names)
    return f"model M\nfamily {declared}\n{params}\nfor n in N:\n    observed x[n] ~ {call}\n"


GUMBEL = family(
    "Gumbel(x : real | m : real, s : positive) = -log(s) - (x - m)/s - exp(-(x - m)/s)",
    "Gumbel(m, s)",
)
SKEW = family(
    "Skew(x : real | m : real, s : positive, a : real) = "
    "log(2) - log(s) - log(2*pi)/2 - (x - m)^2/(2*s^2) + log(Phi(a*(x - m)/s))",
    "Skew(m, s, a)",
)
LOMAX = """
    model M
    family Lomax(x : positive | s : positive, a : positive) = log(a) - log(s) - (a + 1)*log1p(x/s)
    param s : positive
    param a : positive
    for n in N:
        observed x[n] ~ Lomax(s, a)
"""
STEEP = """
    model M
    param a : positive
    param s : positive
    for n in N:
        observed x[n] ~ Weibull(a, s)
"""
STACY = """
    model M
    family Stacy(x : positive | a : positive, d : positive, p : positive) =
        log(p) - d*log(a) + (d - 1)*log(x) - (x/a)^p - lgamma(d/p)
    param a : positive
    param d : positive
    param p : positive
    for n in N:
        observed x[n] ~ Stacy(a, d, p)
"""
LOGITS = """
    model M
    param B : real[2, P]
    for n in N:
        given X[n] : real[P]
        observed y[n] ~ Categorical(logits = concat(B @ X[n], 0))
"""
THRESHOLDS = """
    model M
    param c : ordered[2]
    param s : positive
    for n in N:
        given u[n] : real
        observed y[n] ~ Categorical([Phi((c[0] - u[n])/s), Phi((c[1] - u[n])/s) - Phi((c[0] - u[n])/s),
                                     1 - Phi((c[1] - u[n])/s)])
"""
RISING = """
    model M
    param w : simplex[3]
    param c : ordered[3]
    for n in N:
        latent z[n] ~ Categorical(w)
        observed y[n] ~ Poisson(exp(c[z[n]]))
"""
RATES = np.array([1.0, 10.0, 50.0])


def _thresholds(rng):
    u = 1e4 + 300 * rng.normal(size=150)
    c = np.array([9800.0, 10100.0])
    return {"u": u, "y": np.searchsorted(c, u + 100 * rng.normal(size=150))}, {"c": c, "s": 100.0}


def _thresholds_value(p, d):
    below = ndtr((p["c"] - d["u"][:, None]) / p["s"])
    shares = np.diff(np.column_stack([np.zeros(len(below)), below, np.ones(len(below))]))
    return np.log(np.maximum(shares[np.arange(len(below)), d["y"]], 1e-300)).sum()


def _rising(rng):
    w = np.array([0.3, 0.3, 0.4])
    return {"y": rng.poisson(RATES[pick(rng, w, 120)])}, {"w": w, "c": np.log(RATES)}


def _gumbel_value(p, d):
    z = (d["x"] - p["m"]) / p["s"]
    return (-np.log(p["s"]) - z - np.exp(-z)).sum()


def _skew(rng):
    slant = 3 / np.sqrt(10)
    z = slant * np.abs(rng.normal(size=150)) + np.sqrt(1 - slant**2) * rng.normal(size=150)
    return {"x": BIG * z}, {"m": 0.0, "s": BIG, "a": 3.0}


def _skew_value(p, d):
    z = (d["x"] - p["m"]) / p["s"]
    return (np.log(2) + normal(d["x"], p["m"], p["s"]) + log_ndtr(p["a"] * z)).sum()


def _logits(rng):
    x = np.column_stack([np.ones(120), rng.normal(2000, 1000, 120)])
    b = np.array([[1.0, -0.003], [-1.5, 0.002]])
    shares = softmax(np.column_stack([x @ b.T, np.zeros(120)]), axis=1)
    return {"X": x, "y": np.array([pick(rng, s, 1)[0] for s in shares])}, {"B": b}


def _logits_value(p, d):
    logs = log_softmax(np.column_stack([d["X"] @ p["B"].T, np.zeros(len(d["y"]))]), axis=1)
    return logs[np.arange(len(d["y"])), d["y"]].sum()


CASES = [
    Case(
        "a Gumbel in millions",
        GUMBEL,
        lambda rng: ({"x": rng.gumbel(0, BIG, 60)}, {"m": 0.0, "s": BIG}),
        _gumbel_value,
    ),
    Case("a skew normal in millions", SKEW, _skew, _skew_value),  # slant 0 is an inflection of every likelihood
    Case(
        "a Lomax",
        LOMAX,
        lambda rng: ({"x": 2 * rng.pareto(3, 200)}, {"s": 2.0, "a": 3.0}),
        lambda p, d: (np.log(p["a"]) - np.log(p["s"]) - (p["a"] + 1) * np.log1p(d["x"] / p["s"])).sum(),
    ),
    Case(  # x^a and s^a alone are beyond the largest number
        "a steep Weibull in hundred thousands",
        STEEP,
        lambda rng: ({"x": 3e5 * rng.weibull(200.0, 80)}, {"a": 200.0, "s": 3e5}),
        lambda p, d: weibull_min.logpdf(d["x"], p["a"], scale=p["s"]).sum(),
    ),
    Case(  # d alone has finite statistics; one after the other they crawl along a ridge
        "a generalised gamma",
        STACY,
        lambda rng: ({"x": 3e5 * rng.gamma(2, 1, 200) ** 0.25}, {"a": 3e5, "d": 8.0, "p": 4.0}),
        lambda p, d: gengamma.logpdf(d["x"], p["d"] / p["p"], p["p"], scale=p["a"]).sum(),
        options={"max_iter": 5},
    ),
    Case("a softmax of covariates in thousands", LOGITS, _logits, _logits_value),
    Case("thresholds at ten thousand", THRESHOLDS, _thresholds, _thresholds_value),
    Case(
        "logarithms of rates that rise",
        RISING,
        _rising,
        lambda p, d: mix(p["w"], poisson.logpmf(d["y"][:, None], np.exp(p["c"]))),
        options={"n_init": 3, "seed": 3},  # most others crawl for 1500 steps first, to a lower top
    ),
]
