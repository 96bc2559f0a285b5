"""Parameters behind a link: regressions of counts, shares, times and angles; densities cut by their domain."""

from __future__ import annotations

import numpy as np
from scipy.special import expit, log_ndtr, ndtr
from scipy.stats import beta, binom, gamma, laplace, nbinom, norm, poisson, t, vonmises

from cases import Case, mix, normal, pick

W = np.array([0.4, 0.6])
SLOW = {"max_iter": 20_000}


def _regression(name, params, family, draw, truth, log_density, given="given x[n] : real", **kwargs):
    """60 rows with a covariate x; `draw(rng, x)`, `log_density(y, x, p)`."""
    lines = "\n    ".join(f"param {line}" for line in params)
    text = f"\n    model M\n    {lines}\n    for n in N:\n        {given}\n        observed y[n] ~ {family}\n"

    def make(rng):
        x = rng.normal(size=60)
        return {"x": x, "y": draw(rng, x)}, truth

    return Case(name, text, make, lambda p, d: float(np.sum(log_density(d["y"], d["x"], p))), options=SLOW, **kwargs)


BLISS = """
    model Beetles
    param a : real
    param b : real
    for i in I:
        given    dose[i] : real
        given    tried[i] : count
        observed killed[i] ~ Binomial(tried[i], Phi(a + b * dose[i]))
"""


def _bliss(rng):
    dose = np.array([1.6907, 1.7242, 1.7552, 1.7842, 1.8113, 1.8369, 1.8610, 1.8839])
    tried, killed = np.array([59, 60, 62, 56, 63, 59, 62, 60]), np.array([6, 13, 18, 28, 52, 53, 61, 60])
    return {"dose": dose, "tried": tried, "killed": killed}, {"a": -34.935259, "b": 19.727934}


CLASSES = """
    model ClassesOfLogistics
    param w : simplex[2]
    param a[2] : real
    param b[2] : real
    for g in G:
        latent z[g] ~ Categorical(w)
        for i in I:
            given    x[g, i] : real
            observed y[g, i] ~ Bernoulli(logit = a[z[g]] + b[z[g]] * x[g, i])
"""


def _classes(rng):
    z, x, a, b = pick(rng, W, 30), rng.normal(size=(30, 12)), np.array([-2.0, 1.5]), np.array([1.0, -1.0])
    y = rng.random((30, 12)) < expit(a[z][:, None] + b[z][:, None] * x)
    return {"x": x, "y": y.astype(int)}, {"w": W, "a": a, "b": b}


def _classes_value(p, d):
    eta = p["a"][:, None] + p["b"][:, None] * d["x"][:, None]
    return mix(p["w"], np.where(d["y"][:, None] == 1, -np.logaddexp(0, -eta), -np.logaddexp(0, eta)).sum(-1))


TRUNCATED = """
    model Truncated
    param m : real
    param s : positive
    for n in N:
        observed x[n] : real(min = 0) ~ Normal(m, s)
"""


def _truncated_value(p, d):
    return (normal(d["x"], p["m"], p["s"]) - log_ndtr(p["m"] / p["s"])).sum()


POSITIVE = """
    model SeenAtLeastOnce
    param r : positive
    for n in N:
        observed y[n] : count(min = 1) ~ Poisson(r)
"""

BY_GIVEN = """
    model TwoKinds
    param a : real
    param rate : positive
    param s : positive
    for n in N:
        given    kind[n] : bool
        observed y[n] ~ Normal(a, s) if kind[n] == 0 else Exponential(rate)
"""


def _by_given(rng):
    kind = np.arange(60) % 2
    return {"kind": kind, "y": np.where(kind == 0, rng.normal(2, 1, 60), rng.exponential(0.5, 60))}, {
        "a": 2.0,
        "rate": 2.0,
        "s": 1.0,
    }


def _by_given_value(p, d):
    other = np.log(p["rate"]) - p["rate"] * d["y"]
    return np.where(d["kind"] == 0, normal(d["y"], p["a"], p["s"]), other).sum()


STEP = """
    model Change
    param before : real
    param after : real
    param sd : positive
    for n in N:
        given    x[n] : real
        observed y[n] ~ Normal(before if x[n] < 0 else after, sd)
"""

ZINB = """
    model ZeroInflatedNegativeBinomial
    param zero : unit
    param size : positive
    param mean : positive
    for n in N:
        latent   z[n] ~ Bernoulli(zero)
        observed y[n] ~ Delta(0) if z[n] else NegativeBinomial(size, mean = mean)
"""


def _zinb(rng):
    y = np.where(rng.random(200) < 0.3, 0, rng.negative_binomial(3, 3 / (3 + 8.0), 200))
    return {"y": y}, {"zero": 0.3, "size": 3.0, "mean": 8.0}


def _zinb_value(p, d):
    with np.errstate(divide="ignore"):
        atom = np.where(d["y"] == 0, 0.0, -np.inf)
    count = nbinom.logpmf(d["y"], p["size"], p["size"] / (p["size"] + p["mean"]))
    return mix([1 - p["zero"], p["zero"]], np.stack([count, atom], -1))


CASES = [
    Case(
        "probit: Bliss's beetles",
        BLISS,
        _bliss,
        lambda p, d: binom.logpmf(d["killed"], d["tried"], ndtr(p["a"] + p["b"] * d["dose"])).sum(),
        options=SLOW,
    ),
    _regression(
        "logistic of a sum",
        ["a : real", "b : real"],
        "Bernoulli(logistic(a + b * x[n]))",
        lambda rng, x: (rng.random(60) < expit(0.5 + x)).astype(int),
        {"a": 0.5, "b": 1.0},
        lambda y, x, p: np.where(y == 1, np.log(expit(p["a"] + p["b"] * x)), np.log(expit(-p["a"] - p["b"] * x))),
    ),
    _regression(
        "poisson by exp",
        ["a : real", "b : real"],
        "Poisson(exp(a + b * x[n]))",
        lambda rng, x: rng.poisson(np.exp(0.5 + 0.7 * x)),
        {"a": 0.5, "b": 0.7},
        lambda y, x, p: poisson.logpmf(y, np.exp(p["a"] + p["b"] * x)),
    ),
    _regression(
        "gamma by exp",
        ["a : real", "b : real", "k : positive"],
        "Gamma(k, k / exp(a + b * x[n]))",
        lambda rng, x: rng.gamma(3.0, np.exp(0.5 + 0.7 * x) / 3.0),
        {"a": 0.5, "b": 0.7, "k": 3.0},
        lambda y, x, p: gamma.logpdf(y, p["k"], scale=np.exp(p["a"] + p["b"] * x) / p["k"]),
    ),
    _regression(
        "beta by mean and precision",
        ["m : unit", "phi : positive"],
        "Beta(m * phi, (1 - m) * phi)",
        lambda rng, x: rng.beta(0.3 * 8, 0.7 * 8, 60),
        {"m": 0.3, "phi": 8.0},
        lambda y, x, p: beta.logpdf(y, p["m"] * p["phi"], (1 - p["m"]) * p["phi"]),
    ),
    _regression(
        "angles by a covariate",
        ["a : real", "b : real", "k : positive"],
        "VonMises(a + b * x[n], k)",
        lambda rng, x: rng.vonmises(0.5 + 0.4 * x, 4.0),
        {"a": 0.5, "b": 0.4, "k": 4.0},
        lambda y, x, p: vonmises.logpdf(y, p["k"], p["a"] + p["b"] * x),
    ),
    _regression(
        "student regression, the family",
        ["a : real", "b : real", "s : positive"],
        "StudentT(5, a + b * x[n], s)",
        lambda rng, x: 1 + 2 * x + rng.standard_t(5, 60),
        {"a": 1.0, "b": 2.0, "s": 1.0},
        lambda y, x, p: t.logpdf(y, 5, p["a"] + p["b"] * x, p["s"]),
    ),
    _regression(
        "cauchy",
        ["m : real", "s : positive"],
        "StudentT(1, m, s)",
        lambda rng, x: 1 + 0.5 * rng.standard_cauchy(60),
        {"m": 1.0, "s": 0.5},
        lambda y, x, p: t.logpdf(y, 1, p["m"], p["s"]),
    ),
    _regression(
        "laplace, mean free",
        ["m : real", "s : positive"],
        "Laplace(m, s)",
        lambda rng, x: rng.laplace(1.0, 2.0, 60),
        {"m": 1.0, "s": 2.0},
        lambda y, x, p: laplace.logpdf(y, p["m"], p["s"]),
    ),
    _regression(
        "spread by a covariate",
        ["a : real", "c : real", "d : real"],
        "Normal(a, sd = exp(c + d * x[n]))",
        lambda rng, x: rng.normal(1.0, np.exp(0.2 + 0.5 * x)),
        {"a": 1.0, "c": 0.2, "d": 0.5},
        lambda y, x, p: norm.logpdf(y, p["a"], np.exp(p["c"] + p["d"] * x)),
    ),
    Case("classes of logistics", CLASSES, _classes, _classes_value, options={"n_init": 4}),
    Case(
        "normal cut at zero",
        TRUNCATED,
        lambda rng: ({"x": np.abs(rng.normal(2, 1, 60))}, {"m": 2.0, "s": 1.0}),
        _truncated_value,
        options=SLOW,
    ),
    Case(
        "poisson seen at least once",
        POSITIVE,
        lambda rng: ({"y": np.maximum(1, rng.poisson(2.0, 60))}, {"r": 2.0}),
        lambda p, d: (poisson.logpmf(d["y"], p["r"]) - np.log(-np.expm1(-p["r"]))).sum(),
    ),
    Case("a family chosen by a given", BY_GIVEN, _by_given, _by_given_value),
    Case(
        "a mean chosen by a given",
        STEP,
        lambda rng: (
            {"x": (x := rng.normal(size=60)), "y": rng.normal(np.where(x < 0, 1, 3), 1)},
            {"before": 1.0, "after": 3.0, "sd": 1.0},
        ),
        lambda p, d: normal(d["y"], np.where(d["x"] < 0, p["before"], p["after"]), p["sd"]).sum(),
    ),
    Case("zero-inflated negative binomial", ZINB, _zinb, _zinb_value, options={"max_iter": 20_000}),
]
