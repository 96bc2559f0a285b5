"""Priors on parameters: the fit is MAP, the objective holds the priors' full log densities on the declared scale."""

from __future__ import annotations

import numpy as np
from scipy.stats import beta, dirichlet, expon, gamma, invgamma, invwishart, laplace, lognorm, norm, poisson, wishart

from cases import Case, mix, mvn, normal, pick

W, M = np.array([0.4, 0.6]), np.array([-2.0, 3.0])


def _line(rng, n=60):
    z = pick(rng, W, n)
    return {"x": rng.normal(M[z], np.array([1.0, 0.7])[z])}


def _poisson(rng, n=60):
    return {"y": rng.poisson(np.array([2.0, 10.0])[pick(rng, W, n)])}


def _clouds(rng, n=60):
    z = pick(rng, W, n)
    return {"x": rng.normal(size=(n, 2)) + np.array([[0.0, 0.0], [5.0, 4.0]])[z]}


MIXTURE = """
    model Prior
    size K = 2
    param w : simplex[K] ~ {weights}
    param mean[K] : real ~ {mean}
    param {spread}
    for n in N:
        latent   z[n] ~ Categorical(w)
        observed x[n] ~ Normal(mean[z[n]], {by})
"""


def _mixture(name, weights, mean, spread, by, truth, prior, sd):
    text = MIXTURE.format(weights=weights, mean=mean, spread=spread, by=by)
    return Case(
        name,
        text,
        lambda rng: (_line(rng), {"w": W, "mean": M, **truth}),
        lambda p, d: mix(p["w"], normal(d["x"][:, None], p["mean"], sd(p))),
        prior,
        options={"n_init": 4},
    )


SPARSE = """
    model SparseWeights
    size K = 3
    param w : simplex[K] ~ Dirichlet(0.5)
    param rate[K] : positive ~ Gamma(2, 0.1)
    for n in N:
        latent   z[n] ~ Categorical(w)
        observed y[n] ~ Poisson(rate[z[n]])
"""


def _sparse(rng):
    w, rate = np.array([0.3, 0.3, 0.4]), np.array([1.0, 12.0, 40.0])
    return {"y": rng.poisson(rate[pick(rng, w, 90)])}, {"w": w, "rate": rate}


def _sparse_prior(p):
    return dirichlet.logpdf(p["w"] / p["w"].sum(), [0.5] * 3) + gamma.logpdf(p["rate"], 2, scale=10).sum()


CATEGORIES = """
    model BelowOne
    given a : positive[V] = [0.5, 0.7, 0.2]
    param p : simplex[V] ~ Dirichlet(a)
    for n in N:
        observed y[n] ~ Categorical(p)
"""


def _categories(rng):
    return {"y": np.repeat([0, 1, 2], [9, 20, 6])}, {"p": np.array([0.25, 0.6, 0.15])}


MATRIX = """
    model PriorOnMatrix
    size K = 2
    param w : simplex[K]
    param mean[K] : real[D] ~ MvNormal(zeros(D), 25 * eye(D))
    param {name}[K] : spd[D] ~ {prior}
    for n in N:
        latent   z[n] ~ Categorical(w)
        observed x[n] ~ MvNormal(mean[z[n]], {name} = {name}[z[n]])
"""


def _matrix(name, prior, log_prior, cov):
    eye = np.stack([np.eye(2)] * 2)
    truth = {"w": W, "mean": np.array([[0.0, 0.0], [5.0, 4.0]]), name: eye}

    def value(p, d):
        return mix(p["w"], np.stack([mvn(d["x"], m, cov(c)) for m, c in zip(p["mean"], p[name], strict=True)], -1))

    def whole(p):
        return sum(mvn(m[None], np.zeros(2), 25 * np.eye(2)).sum() for m in p["mean"]) + sum(map(log_prior, p[name]))

    text = MATRIX.format(name=name, prior=prior)
    return Case(f"prior on {name}", text, lambda rng: (_clouds(rng), truth), value, whole, options={"n_init": 3})


SCALED = """
    model NormalGamma
    param tau : positive ~ Gamma(3, 2)
    param mu  : real ~ Normal(1, precision = 0.5 * tau)
    for n in N:
        observed x[n] ~ Normal(mu, precision = tau)
"""
SEPARATE = SCALED.replace("precision = 0.5 * tau", "0.5").replace("NormalGamma", "Separate")
BETA = """
    model Items
    size K = 2
    param w : simplex[K]
    param yes[K] : unit[I] ~ Beta(2, 3)
    for n in N:
        latent   z[n] ~ Categorical(w)
        observed x[n] : bool[I] ~ Bernoulli(yes[z[n]])
"""


def _items(rng):
    yes = np.array([[0.9, 0.8, 0.7, 0.9, 0.2], [0.2, 0.1, 0.3, 0.2, 0.8]])
    return {"x": (rng.random((80, 5)) < yes[pick(rng, W, 80)]).astype(int)}, {"w": W, "yes": yes}


def _items_value(p, d):
    x = d["x"][:, None]
    return mix(p["w"], np.where(x == 1, np.log(p["yes"]), np.log1p(-p["yes"])).sum(-1))


RIDGE = """
    model Ridge
    given lam : positive = 3.0
    param a : real
    param b[P] : real ~ Normal(0, var = s2 / lam)
    param s2 : positive ~ InverseGamma(2, 1)
    for n in N:
        given    X[n] : real[P]
        observed y[n] ~ Normal(a + X[n] @ b, var = s2)
"""


def _ridge(rng):
    X, b = rng.normal(size=(40, 3)), np.array([1.0, -1.0, 0.3])
    return {"X": X, "y": 2 + X @ b + rng.normal(size=40)}, {"a": 2.0, "b": b, "s2": 1.0}


LASSO = """
    model Penalised
    given lam : positive = 2.0
    param b : real[P]
    param s2 : positive
    factor -lam * sum(b[j]^2 for j in P) - 1 / s2
    for n in N:
        given    X[n] : real[P]
        observed y[n] ~ Normal(X[n] @ b, var = s2)
"""


def _lasso(rng):
    X, b = rng.normal(size=(40, 2)), np.array([1.0, -1.0])
    return {"X": X, "y": X @ b + rng.normal(size=40)}, {"b": b, "s2": 1.0}


HYPER = """
    model PriorWithParameters
    param centre : real
    for g in G:
        param m[g] : real ~ Normal(centre, 0.5)
    param sd : positive ~ LogNormal(0, 1)
    for g in G:
        for i in I:
            observed x[g, i] ~ Normal(m[g], sd)
"""


def _hyper(rng):
    m = rng.normal(2, 0.5, 6)
    return {"x": rng.normal(m[:, None], 1.0, (6, 8))}, {"centre": 2.0, "m": m, "sd": 1.0}


TRUNCATED = """
    model TruncatedPrior
    param m : real(min = 0) ~ Normal(1, 2)
    for n in N:
        observed x[n] ~ Normal(m, 1)
"""

CASES = [
    _mixture(
        "dirichlet, normal, inverse gamma",
        "Dirichlet([2, 3])",
        "Normal(0, 5)",
        "v[K] : positive ~ InverseGamma(2, 1)",
        "var = v[z[n]]",
        {"v": np.array([1.0, 0.5])},
        lambda p: (
            dirichlet.logpdf(p["w"], [2, 3]) + norm.logpdf(p["mean"], 0, 5).sum() + invgamma.logpdf(p["v"], 2).sum()
        ),
        lambda p: np.sqrt(p["v"]),
    ),
    _mixture(
        "symmetric dirichlet, gamma precision",
        "Dirichlet(3 * ones(K))",
        "Normal(1, precision = 0.2)",
        "tau[K] : positive ~ Gamma(2, rate = 3)",
        "precision = tau[z[n]]",
        {"tau": np.array([1.0, 2.0])},
        lambda p: (
            dirichlet.logpdf(p["w"], [3, 3])
            + norm.logpdf(p["mean"], 1, 0.2**-0.5).sum()
            + gamma.logpdf(p["tau"], 2, scale=1 / 3).sum()
        ),
        lambda p: p["tau"] ** -0.5,
    ),
    _mixture(
        "gamma prior on an sd",
        "Dirichlet(2)",
        "Normal(0, var = 9)",
        "sd : positive ~ Gamma(2, scale = 0.5)",
        "sd",
        {"sd": 0.9},
        lambda p: (
            dirichlet.logpdf(p["w"], [2, 2]) + norm.logpdf(p["mean"], 0, 3).sum() + gamma.logpdf(p["sd"], 2, scale=0.5)
        ),
        lambda p: p["sd"],
    ),
    Case(
        "dirichlet below one, all counts large",
        SPARSE,
        _sparse,
        lambda p, d: mix(p["w"], poisson.logpmf(d["y"][:, None], p["rate"])),
        _sparse_prior,
        options={"n_init": 8},
    ),
    Case(
        "dirichlet below one, no latent",
        CATEGORIES,
        _categories,
        lambda p, d: np.log(p["p"])[d["y"]].sum(),
        lambda p: dirichlet.logpdf(p["p"] / np.sum(p["p"]), [0.5, 0.7, 0.2]),
        updates={"p": "closed form"},
    ),
    _matrix("precision", "Wishart(5, eye(D) / 4)", lambda c: wishart.logpdf(c, 5, np.eye(2) / 4), np.linalg.inv),
    _matrix("cov", "InverseWishart(6, 2 * eye(D))", lambda c: invwishart.logpdf(c, 6, 2 * np.eye(2)), lambda c: c),
    Case(
        "normal-gamma prior",
        SCALED,
        lambda rng: ({"x": rng.normal(2, 0.7, 30)}, {"mu": 2.0, "tau": 2.0}),
        lambda p, d: normal(d["x"], p["mu"], p["tau"] ** -0.5).sum(),
        lambda p: gamma.logpdf(p["tau"], 3, scale=0.5) + normal(p["mu"], 1, (0.5 * p["tau"]) ** -0.5),
        updates={"mu": "closed form", "tau": "closed form"},
    ),
    Case(
        "independent priors on mean and precision",
        SEPARATE,
        lambda rng: ({"x": rng.normal(2, 0.7, 30)}, {"mu": 2.0, "tau": 2.0}),
        lambda p, d: normal(d["x"], p["mu"], p["tau"] ** -0.5).sum(),
        lambda p: gamma.logpdf(p["tau"], 3, scale=0.5) + normal(p["mu"], 1, 0.5),
    ),
    Case(
        "beta on items",
        BETA,
        _items,
        _items_value,
        lambda p: beta.logpdf(p["yes"], 2, 3).sum(),
        updates={"yes": "closed form"},
    ),
    Case(
        "ridge that scales with the noise",
        RIDGE,
        _ridge,
        lambda p, d: normal(d["y"], p["a"] + d["X"] @ p["b"], np.sqrt(p["s2"])).sum(),
        lambda p: normal(p["b"], 0, np.sqrt(p["s2"] / 3)).sum() + invgamma.logpdf(p["s2"], 2),
    ),
    Case(
        "penalties by factor",
        LASSO,
        _lasso,
        lambda p, d: normal(d["y"], d["X"] @ p["b"], np.sqrt(p["s2"])).sum(),
        lambda p: -2.0 * (np.asarray(p["b"]) ** 2).sum() - 1 / p["s2"],
    ),
    Case(
        "a prior that holds a parameter",
        HYPER,
        _hyper,
        lambda p, d: normal(d["x"], np.asarray(p["m"])[:, None], p["sd"]).sum(),
        lambda p: normal(p["m"], p["centre"], 0.5).sum() + lognorm.logpdf(p["sd"], 1),
    ),
    Case(
        "a prior cut by the domain",
        TRUNCATED,
        lambda rng: ({"x": rng.normal(1.2, 1, 20)}, {"m": 1.2}),
        lambda p, d: normal(d["x"], p["m"], 1.0).sum(),
        lambda p: normal(p["m"], 1.0, 2.0),
    ),
    Case(
        "exponential and laplace priors",
        """
        model Sharp
        param m : real ~ Laplace(0, 5)
        param sd : positive ~ Exponential(0.5)
        for n in N:
            observed x[n] ~ Normal(m, sd)
        """,
        lambda rng: ({"x": rng.normal(3, 1, 25)}, {"m": 3.0, "sd": 1.0}),
        lambda p, d: normal(d["x"], p["m"], p["sd"]).sum(),
        lambda p: laplace.logpdf(p["m"], 0, 5) + expon.logpdf(p["sd"], scale=2),
    ),
]
