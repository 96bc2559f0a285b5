"""Weights and rates that depend on covariates: softmax gates, multinomial logits, regressions with whole vectors."""

from __future__ import annotations

import numpy as np
from scipy.special import expit, log_softmax
from scipy.stats import laplace, poisson

from cases import Case, mix, mvn, normal, pick

W = np.array([0.4, 0.6])

LOGITS = """
    model MultinomialLogit
    param B : real[2, P]
    for n in N:
        given    X[n] : real[P]
        observed y[n] : category[3] ~ Categorical(logits = concat(0, B @ X[n]))
"""


def _logits(rng):
    X, B = rng.normal(size=(90, 2)), np.array([[1.0, -0.5], [0.3, 1.0]])
    eta = np.column_stack([np.zeros(90), X @ B.T])
    return {"X": X, "y": np.array([pick(rng, np.exp(row), 1)[0] for row in eta])}, {"B": B}


def _logits_value(p, d):
    eta = np.column_stack([np.zeros(90), d["X"] @ np.asarray(p["B"]).T])
    return log_softmax(eta, axis=1)[np.arange(90), d["y"]].sum()


RATES = """
    model CountRegression
    param a : real
    param b : real[P]
    for n in N:
        given    X[n] : real[P]
        given    time[n] : positive
        observed y[n] ~ Poisson(time[n] * exp(a + X[n] @ b))
"""


def _rates(rng):
    X, time, b = rng.normal(size=(60, 3)), rng.uniform(0.5, 4, 60), np.array([0.5, -0.3, 0.2])
    return {"X": X, "time": time, "y": rng.poisson(time * np.exp(0.3 + X @ b))}, {"a": 0.3, "b": b}


INFLATED = """
    model InflationByCovariate
    param a : real
    param b : real
    param rate : positive
    for n in N:
        given    x[n] : real
        latent   none[n] ~ Bernoulli(logit = a + b * x[n])
        observed y[n] ~ Delta(0) if none[n] else Poisson(rate)
"""


def _inflated(rng):
    x = rng.normal(size=120)
    return {"x": x, "y": np.where(rng.random(120) < expit(-0.5 + x), 0, rng.poisson(4.0, 120))}, {
        "a": -0.5,
        "b": 1.0,
        "rate": 4.0,
    }


def _inflated_value(p, d):
    q = expit(p["a"] + p["b"] * d["x"])
    with np.errstate(divide="ignore"):
        atom = np.where(d["y"] == 0, 0.0, -np.inf)
    return mix(np.stack([1 - q, q], -1), np.stack([poisson.logpmf(d["y"], p["rate"]), atom], -1))


GATE = """
    model MixtureOfExperts
    param gate : real[P]
    param coef[2] : real[P]
    param sd[2] : positive
    for n in N:
        given    X[n] : real[P]
        latent   z[n] ~ Categorical(softmax([0, X[n] @ gate]))
        observed y[n] ~ Normal(X[n] @ coef[z[n]], sd[z[n]])
"""


def _gate(rng):
    X, gate = np.column_stack([np.ones(120), rng.normal(size=120)]), np.array([0.3, 2.0])
    coef, sd = np.array([[-4.0, 1.0], [3.0, -1.0]]), np.array([0.7, 1.2])
    z = (rng.random(120) < expit(X @ gate)).astype(int)
    return {"X": X, "y": rng.normal((X * coef[z]).sum(1), sd[z])}, {"gate": gate, "coef": coef, "sd": sd}


def _gate_value(p, d):
    q = expit(d["X"] @ p["gate"])
    return mix(np.stack([1 - q, q], -1), normal(d["y"][:, None], d["X"] @ np.asarray(p["coef"]).T, p["sd"]))


GATES = """
    model ThreeGates
    param g[2] : real[P]
    param m[3] : real
    for n in N:
        given    X[n] : real[P]
        latent   z[n] ~ Categorical(logits = concat(0, [X[n] @ g[0], X[n] @ g[1]]))
        observed y[n] ~ Normal(m[z[n]], 1)
"""


def _gates(rng):
    X, g, m = (
        np.column_stack([np.ones(120), rng.normal(size=120)]),
        np.array([[0.0, 1.0], [0.5, -1.0]]),
        np.array([-5.0, 0.0, 5.0]),
    )
    eta = np.column_stack([np.zeros(120), X @ g.T])
    z = np.array([pick(rng, np.exp(row), 1)[0] for row in eta])
    return {"X": X, "y": rng.normal(m[z], 1)}, {"g": g, "m": m}


def _gates_value(p, d):
    eta = np.column_stack([np.zeros(120), d["X"] @ np.asarray(p["g"]).T])
    return mix(np.exp(log_softmax(eta, axis=1)), normal(d["y"][:, None], p["m"], 1.0))


LAPLACES = """
    model MixtureOfLaplaces
    param w : simplex[2]
    param m[2] : real
    param s[2] : positive
    for n in N:
        latent   z[n] ~ Categorical(w)
        observed x[n] ~ Laplace(m[z[n]], s[z[n]])
"""


def _laplaces(rng):
    m, s, z = np.array([-3.0, 4.0]), np.array([1.0, 0.5]), pick(rng, W, 81)
    return {"x": rng.laplace(m[z], s[z])}, {"w": W, "m": m, "s": s}


FACTOR = """
    model FactorCovariance
    param b : real[D]
    param psi : positive[D]
    for n in N:
        observed x[n] ~ MvNormal(zeros(D), outer(b, b) + diag(psi))
"""


def _factor(rng):
    b, psi = np.array([1.0, 1.5, -0.8]), np.array([0.5, 1.0, 0.7])
    return {"x": np.outer(rng.normal(size=70), b) + rng.normal(size=(70, 3)) * np.sqrt(psi)}, {"b": b, "psi": psi}


def _factor_value(p, d):
    return mvn(d["x"], 0.0, np.outer(p["b"], p["b"]) + np.diag(p["psi"])).sum()


NUMBERS = """
    model ConditionsThatAreNumbers
    param a : real
    param b : positive
    param w : simplex[3]
    for n in N:
        given    k[n] : count
        latent   z[n] ~ Categorical(w)
        observed y[n] ~ Normal(a, 1) if z[n] and k[n] else Normal(a + sum(j for j in 4 if j % 3), b)
    for i in N if i % 3:
        given    x[i] : real
        observed u[i] ~ Normal(a * x[i], 1)
"""


def _numbers(rng):
    w, k = np.array([0.3, 0.3, 0.4]), np.arange(60) % 4
    one = (pick(rng, w, 60) > 0) & (k > 0)
    x = rng.normal(size=60)
    y, u = rng.normal(np.where(one, 1, 4), np.where(one, 1, 0.5)), rng.normal(x)
    return {"k": k, "y": y, "x": x, "u": u}, {"a": 1.0, "b": 0.5, "w": w}


def _numbers_value(p, d):
    w, holds, rows = p["w"], d["k"] > 0, np.arange(60) % 3 > 0
    other = normal(d["y"], p["a"] + 3, p["b"])
    one = np.where(holds, normal(d["y"], p["a"], 1.0), other)
    return mix(w, np.column_stack([other, one, one])) + normal(d["u"], p["a"] * d["x"], 1.0)[rows].sum()


STRUCTURAL = """
    model StructuralEquations
    param a : real
    param s : positive[2]
    param m : real[2]
    let B = [[0, 0], [a, 0]]
    let T = inv(eye(2) - B)
    for n in N:
        observed y[n] ~ MvNormal(T @ m, T @ diag(s) @ T.T)
"""


def _structural(rng):
    y = rng.normal(size=(40, 2)) @ np.array([[1, 0.7], [0, 0.8]]) + [1, 2]
    return {"y": y}, {"a": 0.5, "s": np.ones(2), "m": np.array([1.0, 1.0])}


def _structural_value(p, d):
    t = np.linalg.inv(np.eye(2) - [[0, 0], [p["a"], 0]])
    return mvn(d["y"], t @ p["m"], t @ np.diag(p["s"]) @ t.T).sum()


PLACES = """
    model PlacesByComparison
    param s : real[2]
    param t : real[3] ~ Normal(0, 2)
    for n in N:
        given    x[n] : real
        given    b[n] : bool
        observed y[n] ~ Normal(s[x[n] > 0.3] + t[n if n < 3 else 2] + x[n] * t[b[n] + (x[n] > 0.3)], 1)
"""


def _places(rng):
    x, b = rng.normal(size=40), rng.integers(0, 2, 40)
    return {"x": x, "b": b, "y": rng.normal(x)}, {"s": np.array([0.1, 0.5]), "t": np.array([0.3, -0.2, 0.4])}


def _places_value(p, d):
    above, s, t = (d["x"] > 0.3).astype(int), np.asarray(p["s"]), np.asarray(p["t"])
    return normal(d["y"], s[above] + t[np.minimum(np.arange(40), 2)] + d["x"] * t[d["b"] + above], 1.0).sum()


CASES = [
    Case(
        "places by comparison",
        PLACES,
        _places,
        _places_value,
        prior=lambda p: normal(np.asarray(p["t"]), 0.0, 2.0).sum(),
    ),
    Case("conditions that are numbers", NUMBERS, _numbers, _numbers_value),
    Case("structural equations", STRUCTURAL, _structural, _structural_value),
    Case("multinomial logit", LOGITS, _logits, _logits_value),
    Case(
        "count regression",
        RATES,
        _rates,
        lambda p, d: poisson.logpmf(d["y"], d["time"] * np.exp(p["a"] + d["X"] @ p["b"])).sum(),
    ),
    Case("inflation by a covariate", INFLATED, _inflated, _inflated_value),
    Case("a gate and two lines", GATE, _gate, _gate_value, options={"n_init": 6}),
    Case("a gate of three", GATES, _gates, _gates_value, options={"n_init": 4}),
    Case(
        "mixture of laplaces",
        LAPLACES,
        _laplaces,
        lambda p, d: mix(p["w"], laplace.logpdf(d["x"][:, None], p["m"], p["s"])),
        updates={"m": "closed form"},
        options={"n_init": 1},
    ),
    Case("a factor's covariance", FACTOR, _factor, _factor_value),
]
