"""Continuous latents whose conditional is a known family, alone, by group, and inside a mixture."""

from __future__ import annotations

import numpy as np
from scipy.special import betaln, gammaln
from scipy.stats import betabinom, betanbinom, invgamma, multivariate_t

from cases import Case, mvn, normal, pick

GAMMA_POISSON = """
    model AccidentsByDriver
    param a : positive
    param b : positive
    for g in G:
        latent lam[g] ~ Gamma(a, b)
    for n in N:
        given    driver[n] : index[G]
        given    miles[n] : positive
        observed y[n] ~ Poisson(miles[n] * lam[driver[n]])
"""


def _drivers(rng):
    lam, driver, miles = rng.gamma(2.0, 1 / 1.5, 25), np.arange(100) % 25, rng.uniform(0.5, 3, 100)
    return {"driver": driver, "miles": miles, "y": rng.poisson(miles * lam[driver])}, {"a": 2.0, "b": 1.5}


def _drivers_value(p, d):
    y, e = np.bincount(d["driver"], d["y"]), np.bincount(d["driver"], d["miles"])
    a, b = p["a"], p["b"]
    fixed = (d["y"] * np.log(d["miles"]) - gammaln(d["y"] + 1)).sum()
    return fixed + (gammaln(a + y) - gammaln(a) + a * np.log(b) - (a + y) * np.log(b + e)).sum()


BETA_BINOMIAL = """
    model Batting
    param a : positive
    param b : positive
    for n in N:
        given    at_bats[n] : count
        latent   p[n] ~ Beta(a, b)
        observed hits[n] ~ Binomial(at_bats[n], p[n])
"""


def _batting(rng):
    n = rng.integers(5, 40, 50)
    return {"at_bats": n, "hits": rng.binomial(n, rng.beta(3.0, 6.0, 50))}, {"a": 3.0, "b": 6.0}


DIRICHLET = """
    model WordsOfAuthor
    param alpha : {domain}
    for d in D:
        latent   theta[d] ~ Dirichlet(alpha)
        observed y[d] : count[V] ~ Multinomial(theta[d])
"""


def _authors(alpha):
    def make(rng):
        theta = rng.dirichlet(alpha * np.ones(4), 40)
        return {"y": np.stack([rng.multinomial(m, q) for m, q in zip(rng.integers(5, 30, 40), theta, strict=True)])}, {
            "alpha": alpha
        }

    return make


def _polya(y, alpha):
    a, n = np.sum(alpha), y.sum(1)
    head = gammaln(a) - gammaln(a + n) + gammaln(n + 1) - gammaln(y + 1).sum(1)
    return (head + (gammaln(alpha + y) - gammaln(alpha)).sum(1)).sum()


TOKENS = """
    model Tokens
    size V = 4
    param alpha : positive[V]
    for d in D:
        latent theta[d] ~ Dirichlet(alpha)
        for i in L[d]:
            observed w[d, i] ~ Categorical(theta[d])
"""


def _tokens(rng):
    alpha = np.array([0.5, 1.0, 2.0, 3.0])
    return {"w": [pick(rng, rng.dirichlet(alpha), 5 + k % 9) for k in range(40)]}, {"alpha": alpha}


def _tokens_value(p, d):
    y = np.stack([np.bincount(w, minlength=4) for w in d["w"]])
    n = y.sum(1)
    return _polya(y, p["alpha"]) - (gammaln(n + 1) - gammaln(y + 1).sum(1)).sum()


INTERCEPTS = """
    model RandomIntercepts
    param mean : real
    param slope : real
    param sd : positive
    param sd_b : positive
    for g in G:
        latent b[g] ~ Normal(0, sd_b)
    for n in N:
        given    group[n] : index[G]
        given    t[n] : real
        observed y[n] ~ Normal(mean + slope * t[n] + b[group[n]], sd)
"""


def _intercepts(rng):
    group, t = np.concatenate([np.arange(15), rng.integers(0, 15, 60)]), rng.normal(size=75)
    y = 5 + 0.7 * t + rng.normal(0, 1.5, 15)[group] + rng.normal(size=75)
    return {"group": group, "t": t, "y": y}, {"mean": 5.0, "slope": 0.7, "sd": 1.0, "sd_b": 1.5}


def _intercepts_value(p, d):
    same = d["group"][:, None] == d["group"]
    cov = p["sd"] ** 2 * np.eye(75) + p["sd_b"] ** 2 * same
    return mvn((d["y"] - p["mean"] - p["slope"] * d["t"])[None], np.zeros(75), cov).sum()


FRAILTY = """
    model FrailtiesOfGroups
    param b : real[2]
    param k : positive
    param th : positive
    for g in G:
        latent u[g] ~ Gamma(th, th)
    for n in N:
        given    group[n] : index[G]
        given    x[n] : real
        observed y[n] ~ Weibull(k, (u[group[n]] * exp(b[0] + b[1] * x[n]))^(-1 / k))
"""


def _frailty(rng):
    group, x, u = np.arange(80) % 20, rng.normal(size=80), rng.gamma(2, 0.5, 20)
    y = (rng.exponential(size=80) / (u[group] * np.exp(0.3 + 0.5 * x))) ** (1 / 1.5)
    return {"group": group, "x": x, "y": y}, {"b": np.array([0.3, 0.5]), "k": 1.5, "th": 2.0}


def _frailty_value(p, d):
    k, th, eta = p["k"], p["th"], p["b"][0] + p["b"][1] * d["x"]
    hazard = np.bincount(d["group"], np.exp(eta) * d["y"] ** k)
    groups = gammaln(4 + th) - gammaln(th) + th * np.log(th) - (4 + th) * np.log(th + hazard)
    return (np.log(k) + (k - 1) * np.log(d["y"]) + eta).sum() + groups.sum()


META = """
    model MetaAnalysis
    param mu : real
    param tau : positive
    for i in I:
        given    se[i] : positive
        latent   theta[i] ~ Normal(mu, tau)
        observed y[i] ~ Normal(theta[i], se[i])
"""


def _meta(rng):
    se = rng.uniform(0.3, 1.0, 40)
    return {"se": se, "y": rng.normal(rng.normal(1, 0.8, 40), se)}, {"mu": 1.0, "tau": 0.8}


NORMAL_GAMMA = """
    model NormalGamma
    param m : real
    param k : positive
    param a : positive
    param b : positive
    for g in G:
        latent tau[g] ~ Gamma(a, b)
        latent mu[g]  ~ Normal(m, precision = k * tau[g])
        for i in I:
            observed x[g, i] ~ Normal(mu[g], precision = tau[g])
"""


def _normal_gamma(rng):
    tau = rng.gamma(3.0, 1 / 2.0, 40)
    mu = rng.normal(1.0, (0.2 * tau) ** -0.5)
    return {"x": rng.normal(mu[:, None], tau[:, None] ** -0.5, (40, 5))}, {"m": 1.0, "k": 0.2, "a": 3.0, "b": 2.0}


def _normal_gamma_value(p, d):
    shape = (np.eye(5) + np.ones((5, 5)) / p["k"]) * p["b"] / p["a"]
    return multivariate_t.logpdf(d["x"], p["m"] * np.ones(5), shape, 2 * p["a"]).sum()


LOMAX = """
    model Lomax
    param a : positive
    param b : positive
    for n in N:
        latent   rate[n] ~ Gamma(a, b)
        observed wait[n] ~ Exponential(rate[n])
"""


def _lomax_value(p, d):
    return (np.log(p["a"]) + p["a"] * np.log(p["b"]) - (p["a"] + 1) * np.log(p["b"] + d["wait"])).sum()


VARIANCES = """
    model VarianceByDay
    param a : positive
    param b : positive
    for g in G:
        latent v[g] ~ InverseGamma(a, b)
        for i in I:
            observed x[g, i] ~ Normal(0, var = v[g])
"""


def _variances(rng):
    v = invgamma.rvs(3.0, scale=2.0, size=60, random_state=rng)
    return {"x": rng.normal(0, np.sqrt(v)[:, None], (60, 4))}, {"a": 3.0, "b": 2.0}


def _variances_value(p, d):
    s, a, b = (d["x"] ** 2).sum(1) / 2, p["a"], p["b"]
    return (a * np.log(b) - gammaln(a) + gammaln(a + 2) - (a + 2) * np.log(b + s) - 2 * np.log(2 * np.pi)).sum()


GAMMAS = """
    model GammaByMachine
    param a : positive
    param b : positive
    for g in G:
        latent rate[g] ~ Gamma(a, b)
        for i in I:
            observed x[g, i] ~ Gamma(2, rate[g])
"""


def _gammas(rng):
    rate = rng.gamma(3.0, 1 / 2.0, 50)
    return {"x": rng.gamma(2.0, 1 / rate[:, None], (50, 3))}, {"a": 3.0, "b": 2.0}


def _gammas_value(p, d):
    s, a, b = d["x"].sum(1), p["a"], p["b"]
    each = a * np.log(b) - gammaln(a) + gammaln(a + 6) - (a + 6) * np.log(b + s) + np.log(d["x"]).sum(1)
    return each.sum()


BETA_GEOMETRIC = """
    model Cycles
    param a : positive
    param b : positive
    for n in N:
        latent   p[n] ~ Beta(a, b)
        observed y[n] ~ Geometric(p[n])
"""

BETA_BERNOULLI = """
    model Coins
    param mean : unit
    param strength : positive
    for g in G:
        latent p[g] ~ Beta(mean * strength, (1 - mean) * strength)
        for i in I:
            observed y[g, i] ~ Bernoulli(p[g])
"""


def _coins(rng):
    p = rng.beta(0.3 * 4, 0.7 * 4, 60)
    return {"y": (rng.random((60, 6)) < p[:, None]).astype(int)}, {"mean": 0.3, "strength": 4.0}


def _coins_value(p, d):
    a, b, k = p["mean"] * p["strength"], (1 - p["mean"]) * p["strength"], d["y"].sum(1)
    return (betaln(a + k, b + 6 - k) - betaln(a, b)).sum()


FACTOR = """
    model OneFactor
    param load : real[D]
    param noise : positive[D]
    for n in N:
        latent   f[n] ~ Normal(0, 1)
        for j in D:
            observed x[n, j] ~ Normal(load[j] * f[n], sd = noise[j])
"""


def _factor(rng):
    load, noise = np.array([1.0, -2.0, 0.5, 1.5]), np.array([0.5, 0.8, 1.0, 0.6])
    x = np.outer(rng.normal(size=80), load) + noise * rng.normal(size=(80, 4))
    return {"x": x}, {"load": load, "noise": noise}


def _factor_value(p, d):
    return mvn(d["x"], 0.0, np.outer(p["load"], p["load"]) + np.diag(p["noise"] ** 2)).sum()


CASES = [
    Case("Weibull times with frailties", FRAILTY, _frailty, _frailty_value, plan={"u": "exact:conjugate"}),
    Case("gamma-poisson by group, exposure", GAMMA_POISSON, _drivers, _drivers_value, plan={"lam": "exact:conjugate"}),
    Case(
        "beta-binomial",
        BETA_BINOMIAL,
        _batting,
        lambda p, d: betabinom.logpmf(d["hits"], d["at_bats"], p["a"], p["b"]).sum(),
        plan={"p": "exact:conjugate"},
    ),
    Case(
        "dirichlet-multinomial, vector",
        DIRICHLET.format(domain="positive[V]"),
        _authors(np.array([0.5, 1.0, 2.0, 3.0])),
        lambda p, d: _polya(d["y"], p["alpha"]),
    ),
    Case(
        "dirichlet-multinomial, symmetric",
        DIRICHLET.format(domain="positive"),
        _authors(1.5),
        lambda p, d: _polya(d["y"], p["alpha"] * np.ones(4)),
    ),
    Case("dirichlet-categorical, ragged", TOKENS, _tokens, _tokens_value),
    Case("random intercepts", INTERCEPTS, _intercepts, _intercepts_value),
    Case("meta-analysis", META, _meta, lambda p, d: normal(d["y"], p["mu"], np.hypot(p["tau"], d["se"])).sum()),
    Case("normal-gamma by group", NORMAL_GAMMA, _normal_gamma, _normal_gamma_value),
    Case(
        "gamma-exponential",
        LOMAX,
        lambda rng: ({"wait": rng.exponential(1 / rng.gamma(3.0, 1 / 2.0, 100))}, {"a": 3.0, "b": 2.0}),
        _lomax_value,
        options={"max_iter": 20_000},
    ),
    Case("inverse gamma variances", VARIANCES, _variances, _variances_value, plan={"v": "exact:conjugate"}),
    Case("gamma-gamma", GAMMAS, _gammas, _gammas_value),
    Case(
        "beta-geometric",
        BETA_GEOMETRIC,
        lambda rng: ({"y": rng.geometric(rng.beta(4.0, 3.0, 80)) - 1}, {"a": 4.0, "b": 3.0}),
        lambda p, d: betanbinom.logpmf(d["y"], 1, p["a"], p["b"]).sum(),
        options={"max_iter": 20_000},
    ),
    Case("beta-bernoulli by mean and strength", BETA_BERNOULLI, _coins, _coins_value),
    Case("one factor", FACTOR, _factor, _factor_value),
]
