"""One continuous latent behind several data: families side by side, many measurements, loads, scaled matrices."""

from __future__ import annotations

import numpy as np
from scipy.special import gammaln
from scipy.stats import betanbinom, geom, multivariate_t

from cases import Case, mix, mvn, pick

W = np.array([0.4, 0.6])

COUNTS_AND_WAITS = """
    model CountsAndWaits
    param a : positive
    param b : positive
    for g in G:
        latent   rate[g] ~ Gamma(a, b)
        observed y[g] ~ Poisson(rate[g])
        observed wait[g] ~ Exponential(2 * rate[g])
"""


def _counts(rng):
    rate = rng.gamma(4.0, 1 / 2.0, 60)
    return {"y": rng.poisson(rate), "wait": rng.exponential(0.5 / rate)}, {"a": 4.0, "b": 2.0}


def _counts_value(p, d):
    a, b, n = p["a"], p["b"], p["a"] + d["y"] + 1
    each = a * np.log(b) - gammaln(a) + gammaln(n) - n * np.log(b + 1 + 2 * d["wait"])
    return (each + np.log(2) - gammaln(d["y"] + 1)).sum()


EXPONENTIAL = """
    model ExponentialRates
    param b : positive
    for n in N:
        latent   rate[n] ~ Exponential(b)
        observed y[n] ~ Poisson(rate[n])
"""

UNIFORM = """
    model FlatCoins
    param q : unit
    for g in G:
        latent   p[g] ~ Uniform(0, 1)
        observed y[g] ~ Binomial(5, p[g])
        observed w[g] ~ Bernoulli(q)
"""

TESTS = """
    model TrueScore
    param load[J] : real
    param easy[J] : real
    param sd[J] : positive
    for i in I:
        latent score[i] ~ Normal(0, 1)
    for r in R:
        given    person[r] : index[I]
        given    test[r] : category[J]
        observed y[r] ~ Normal(easy[test[r]] + load[test[r]] * score[person[r]], sd[test[r]])
"""


def _tests(rng):
    load, easy, sd = np.array([1.0, -2.0, 0.5]), np.array([0.0, 3.0, -1.0]), np.array([0.5, 0.8, 0.4])
    person, test = np.repeat(np.arange(40), 3), np.tile(np.arange(3), 40)
    y = easy[test] + load[test] * rng.normal(size=40)[person] + sd[test] * rng.normal(size=120)
    return {"person": person, "test": test, "y": y}, {"load": load, "easy": easy, "sd": sd}


def _tests_value(p, d):
    cov = np.outer(p["load"], p["load"]) + np.diag(np.asarray(p["sd"]) ** 2)
    return mvn(d["y"].reshape(40, 3), np.asarray(p["easy"]), cov).sum()


LOGNORMAL = """
    model Incomes
    param m : real
    param t : positive
    param s : positive
    for g in G:
        latent town[g] ~ Normal(m, t)
        for i in I:
            observed x[g, i] ~ LogNormal(town[g], s)
"""


def _lognormal(rng):
    return {"x": np.exp(rng.normal(rng.normal(2, 0.7, 30)[:, None], 0.5, (30, 4)))}, {"m": 2.0, "t": 0.7, "s": 0.5}


def _lognormal_value(p, d):
    cov = p["s"] ** 2 * np.eye(4) + p["t"] ** 2
    return mvn(np.log(d["x"]), p["m"] * np.ones(4), cov).sum() - np.log(d["x"]).sum()


SCALED = """
    model ScaledClouds
    param a : positive
    param C : spd[D]
    for n in N:
        latent   v[n] ~ InverseGamma(a, a)
        observed x[n] ~ MvNormal(zeros(D), v[n] * C)
"""


def _scaled(rng):
    C = np.array([[1.0, 0.4], [0.4, 0.7]])
    x = rng.multivariate_normal([0, 0], C, 100) / np.sqrt(rng.gamma(2.0, 1 / 2.0, 100))[:, None]
    return {"x": x}, {"a": 2.0, "C": C}


BETA_NEGATIVE = """
    model BetaNegativeBinomial
    param a : positive
    param b : positive
    for n in N:
        latent   p[n] ~ Beta(a, b)
        observed y[n] ~ NegativeBinomial(3, p[n])
"""

KINDS = """
    model KindsOfAuthors
    param w : simplex[2]
    param alpha[2] : positive[V]
    for d in D:
        latent   z[d] ~ Categorical(w)
        latent   theta[d] ~ Dirichlet(alpha[z[d]])
        observed y[d] ~ Multinomial(theta[d])
"""


def _kinds(rng):
    alpha = np.array([[6.0, 3.0, 1.0], [1.0, 2.0, 7.0]])
    return {"y": np.stack([rng.multinomial(15, rng.dirichlet(alpha[k])) for k in pick(rng, W, 60)])}, {
        "w": W,
        "alpha": alpha,
    }


def _kinds_value(p, d):
    y, alpha = d["y"][:, None], np.asarray(p["alpha"])
    a, n = alpha.sum(-1), 15
    each = gammaln(a) - gammaln(a + n) + (gammaln(alpha + y) - gammaln(alpha)).sum(-1)
    return mix(p["w"], each) + (gammaln(n + 1) - gammaln(d["y"] + 1).sum(1)).sum()


SPIKE = """
    model SomeGroupsDiffer
    param odd : unit
    param t : positive
    param s : positive
    for g in G:
        latent z[g] ~ Bernoulli(odd)
        latent b[g] ~ Normal(0, t)
        for i in I:
            observed x[g, i] ~ Normal(b[g] if z[g] == 1 else 0, s)
"""


def _spike(rng):
    b = np.where(rng.random(40) < 0.4, rng.normal(0, 3, 40), 0.0)
    return {"x": rng.normal(b[:, None], 1.0, (40, 3))}, {"odd": 0.4, "t": 3.0, "s": 1.0}


def _spike_value(p, d):
    flat, cov = p["s"] ** 2 * np.eye(3), p["s"] ** 2 * np.eye(3) + p["t"] ** 2
    return mix([1 - p["odd"], p["odd"]], np.stack([mvn(d["x"], 0.0, c) for c in (flat, cov)], -1))


SPIKE_BRANCH = SPIKE.replace("Normal(0, t)", "Normal(0, t) if z[g] else Delta(0)").replace(
    "b[g] if z[g] == 1 else 0", "b[g]"
)

TWO_LEVELS = """
    model TwoInstruments
    param m : real
    param t : positive
    param s[2] : positive
    for g in G:
        latent   truth[g] ~ Normal(m, t)
        observed x[g] ~ Normal(truth[g], s[0])
        observed y[g] ~ Normal(1 + 2 * truth[g], s[1])
"""


def _two_levels(rng):
    truth = rng.normal(1, 2, 60)
    data = {"x": rng.normal(truth, 0.5), "y": rng.normal(1 + 2 * truth, 0.8)}
    return data, {"m": 1.0, "t": 2.0, "s": np.array([0.5, 0.8])}


def _two_levels_value(p, d):
    load = np.array([1.0, 2.0])
    cov = p["t"] ** 2 * np.outer(load, load) + np.diag(np.asarray(p["s"]) ** 2)
    return mvn(np.column_stack([d["x"], d["y"]]), np.array([p["m"], 1 + 2 * p["m"]]), cov).sum()


PRECISIONS = """
    model NormalGammaKnownMean
    param a : positive
    param b : positive
    param m : real
    for g in G:
        latent tau[g] ~ Gamma(a, b)
        for i in I:
            observed x[g, i] ~ Normal(m, precision = tau[g])
"""


def _precisions(rng):
    tau = rng.gamma(3.0, 1 / 2.0, 40)
    return {"x": rng.normal(1.0, tau[:, None] ** -0.5, (40, 5))}, {"a": 3.0, "b": 2.0, "m": 1.0}


CASES = [
    Case("counts and waits of one rate", COUNTS_AND_WAITS, _counts, _counts_value, options={"max_iter": 20_000}),
    Case(
        "exponential rates",
        EXPONENTIAL,
        lambda rng: ({"y": rng.poisson(rng.exponential(3.0, 60))}, {"b": 1 / 3}),
        lambda p, d: geom.logpmf(d["y"] + 1, p["b"] / (1 + p["b"])).sum(),
    ),
    Case(
        "flat coins",
        UNIFORM,
        lambda rng: ({"y": rng.binomial(5, rng.random(40)), "w": rng.binomial(1, 0.3, 40)}, {"q": 0.3}),
        lambda p, d: -40 * np.log(6.0) + d["w"].sum() * np.log(p["q"]) + (1 - d["w"]).sum() * np.log1p(-p["q"]),
    ),
    Case("true scores behind tests", TESTS, _tests, _tests_value, options={"max_iter": 20_000}),
    Case("lognormal incomes by town", LOGNORMAL, _lognormal, _lognormal_value),
    Case(
        "scaled clouds",
        SCALED,
        _scaled,
        lambda p, d: multivariate_t.logpdf(d["x"], np.zeros(2), p["C"], 2 * p["a"]).sum(),
    ),
    Case(
        "beta-negative-binomial",
        BETA_NEGATIVE,
        lambda rng: ({"y": rng.negative_binomial(3, rng.beta(5.0, 3.0, 80))}, {"a": 5.0, "b": 3.0}),
        lambda p, d: betanbinom.logpmf(d["y"], 3, p["a"], p["b"]).sum(),
        options={"max_iter": 20_000},
    ),
    Case("kinds of authors", KINDS, _kinds, _kinds_value, options={"n_init": 2}),
    Case("some groups differ", SPIKE, _spike, _spike_value),
    Case("an effect or none", SPIKE_BRANCH, _spike, _spike_value, plan={"b": "exact:hybrid", "z": "exact:hybrid"}),
    Case("two instruments", TWO_LEVELS, _two_levels, _two_levels_value, options={"max_iter": 20_000}),
    Case(
        "precisions around one mean",
        PRECISIONS,
        _precisions,
        lambda p, d: multivariate_t.logpdf(d["x"], p["m"] * np.ones(5), np.eye(5) * p["b"] / p["a"], 2 * p["a"]).sum(),
    ),
]
