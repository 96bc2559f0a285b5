"""Gaussian latents: of rows, of groups, inside discrete ones; each likelihood a dense Gaussian written directly."""

from __future__ import annotations

import numpy as np

from cases import Case, mix, mvn, pick, seen

FACTORS = """
    model Factors
    size Q = 2
    param mean : real[D]
    param load : real[D, Q]
    param noise : positive[D]
    for n in N:
        latent   y[n] ~ MvNormal(zeros(Q), eye(Q))
        observed x[n] ~ MvNormal(mean + load @ y[n], diag(noise))
"""


def _factors(rng):
    load = np.array([[1.0, 0], [0.8, 0.3], [-0.5, 1.0], [0.2, -0.9], [0.5, 0.5]])
    x = rng.normal(size=(120, 2)) @ load.T + rng.normal(size=(120, 5)) * 0.6 + 3
    return {"x": x}, {"mean": np.full(5, 3.0), "load": load, "noise": np.full(5, 0.36)}


def _factors_value(p, d):
    cov = p["load"] @ p["load"].T + np.diag(p["noise"])
    return seen(d["x"], p["mean"], cov).sum()


def _gaps(rng):
    data, params = _factors(rng)
    data["x"][rng.random(data["x"].shape) < 0.15] = np.nan
    data["x"][7] = np.nan
    return data, params


PPCA = """
    model Isotropic
    size lambda = 1
    param np : real[self]
    param W : real[self, lambda]
    param s2 : positive
    for n in N:
        latent   y[n] ~ MvNormal(zeros(lambda), eye(lambda))
        observed x[n] ~ MvNormal(np + W @ y[n], s2 * eye(self))
"""


def _ppca(rng):
    w = np.array([[1.0], [0.5], [-1.0]])
    x = rng.normal(size=(90, 1)) @ w.T + rng.normal(size=(90, 3)) * 0.5
    return {"x": x}, {"np": np.zeros(3), "W": w, "s2": 0.25}


def _ppca_value(p, d):
    return mvn(d["x"], p["np"], p["W"] @ p["W"].T + p["s2"] * np.eye(3)).sum()


ANALYSERS = """
    model Analysers
    size K = 2
    size Q = 1
    param w : simplex[K]
    param mean[K] : real[D]
    param load[K] : real[D, Q]
    param noise : positive[D]
    for n in N:
        latent   z[n] ~ Categorical(w)
        latent   y[n] ~ MvNormal(zeros(Q), eye(Q))
        observed x[n] ~ MvNormal(mean[z[n]] + load[z[n]] @ y[n], diag(noise))
"""


def _analysers(rng):
    w, mean = np.array([0.4, 0.6]), np.array([[-4.0, 0, 0], [4.0, 1, 0]])
    load = np.array([[[1.0], [0.5], [0.2]], [[0.3], [-1.0], [0.6]]])
    z, y = pick(rng, w, 150), rng.normal(size=(150, 1))
    x = mean[z] + np.einsum("ndq,nq->nd", load[z], y) + rng.normal(size=(150, 3)) * 0.5
    return {"x": x}, {"w": w, "mean": mean, "load": load, "noise": np.full(3, 0.25)}


def _analysers_value(p, d):
    covs = [w @ w.T + np.diag(p["noise"]) for w in p["load"]]
    return mix(p["w"], np.stack([mvn(d["x"], m, c) for m, c in zip(p["mean"], covs, strict=True)], -1))


SLOPES = """
    model Slopes
    param beta : real[P]
    param S : spd[P]
    param sd : positive
    for g in G:
        latent b[g] ~ MvNormal(zeros(P), S)
    for n in N:
        given    X[n] : real[P]
        given    group[n] : index[G]
        observed y[n] ~ Normal(X[n] @ (beta + b[group[n]]), sd)
"""

APART = """
    model SlopesApart
    param a : real
    param c : real
    param s0 : positive
    param s1 : positive
    param sd : positive
    for g in G:
        latent b0[g] ~ Normal(0, s0)
        latent b1[g] ~ Normal(0, s1)
    for n in N:
        given    t[n] : real
        given    group[n] : index[G]
        observed y[n] ~ Normal(a + b0[group[n]] + (c + b1[group[n]]) * t[n], sd)
"""


def _groups(rng, n=240, groups=40):
    group = np.concatenate([np.arange(groups), rng.integers(0, groups, n - groups)])
    t = rng.normal(size=n)
    b = rng.normal(size=(groups, 2)) * np.array([1.5, 0.7])
    return group, t, 2 + b[group, 0] + (1 + b[group, 1]) * t + rng.normal(size=n) * 0.8


def _slopes(rng):
    group, t, y = _groups(rng)
    data = {"X": np.stack([np.ones(len(t)), t], 1), "group": group, "y": y}
    return data, {"beta": np.array([2.0, 1.0]), "S": np.diag([2.25, 0.49]), "sd": 0.8}


def _dense(y, mean, z, s, sd):
    """Log density of y = mean + sum_g z_g b_g + noise; rows of z are designs, cut by group."""
    return mvn(y[None], mean, z @ s @ z.T + sd**2 * np.eye(len(y)))[0]


def _slopes_value(p, d):
    out = 0.0
    for g in np.unique(d["group"]):
        at = d["group"] == g
        out += _dense(d["y"][at], d["X"][at] @ p["beta"], d["X"][at], p["S"], p["sd"])
    return out


def _apart(rng):
    group, t, y = _groups(rng)
    return {"t": t, "group": group, "y": y}, {"a": 2.0, "c": 1.0, "s0": 1.5, "s1": 0.7, "sd": 0.8}


def _apart_value(p, d):
    out, s = 0.0, np.diag([p["s0"] ** 2, p["s1"] ** 2])
    for g in np.unique(d["group"]):
        t, y = d["t"][d["group"] == g], d["y"][d["group"] == g]
        out += _dense(y, p["a"] + p["c"] * t, np.stack([np.ones(len(t)), t], 1), s, p["sd"])
    return out


GROWTH = """
    model GrowthClasses
    size K = 2
    param w : simplex[K]
    param mean[K] : real[2]
    param S : spd[2]
    param sd : positive
    for i in I:
        latent z[i] ~ Categorical(w)
        latent b[i] ~ MvNormal(mean[z[i]], S)
        for t in T:
            given age[i, t] : real
            observed y[i, t] ~ Normal(b[i, 0] + b[i, 1] * age[i, t], sd)
"""


def _growth(rng):
    w, mean = np.array([0.5, 0.5]), np.array([[0.0, -2.0], [3.0, 2.0]])
    z = pick(rng, w, 60)
    b = mean[z] + rng.normal(size=(60, 2)) * 0.5
    age = rng.uniform(-1, 1, (60, 5))
    y = b[:, :1] + b[:, 1:] * age + rng.normal(size=(60, 5)) * 0.4
    y[rng.random(y.shape) < 0.1] = np.nan
    return {"age": age, "y": y}, {"w": w, "mean": mean, "S": 0.25 * np.eye(2), "sd": 0.4}


def _growth_value(p, d):
    x = np.stack([np.ones_like(d["age"]), d["age"]], -1)
    cov = x @ p["S"] @ np.swapaxes(x, -1, -2) + p["sd"] ** 2 * np.eye(x.shape[1])
    return mix(p["w"], np.stack([seen(d["y"], x @ m, cov) for m in p["mean"]], -1))


ERRORS = """
    model ErrorsInVariables
    param m : real
    param tau : positive
    param a : real
    param b : real
    param sx : positive
    param sy : positive
    for n in N:
        latent   xi[n] ~ Normal(m, tau)
        for r in R:
            observed x[n, r] ~ Normal(xi[n], sx)
        observed y[n] ~ Normal(a + b * xi[n], sy)
"""


def _errors(rng):
    xi = rng.normal(1, 2, 80)
    x = xi[:, None] + rng.normal(size=(80, 3)) * 0.7
    p = {"m": 1.0, "tau": 2.0, "a": 0.5, "b": -1.5, "sx": 0.7, "sy": 0.6}
    return {"x": x, "y": 0.5 - 1.5 * xi + rng.normal(size=80) * 0.6}, p


def _errors_value(p, d):
    u = np.array([1, 1, 1, p["b"]])
    cov = p["tau"] ** 2 * np.outer(u, u) + np.diag([p["sx"] ** 2] * 3 + [p["sy"] ** 2])
    mean = np.array([p["m"]] * 3 + [p["a"] + p["b"] * p["m"]])
    return mvn(np.column_stack([d["x"], d["y"]]), mean, cov).sum()


TWO = """
    model TwoTraits
    param m : real[2]
    param S : spd[2]
    param g[2] : real
    param sd : positive
    for n in N:
        latent   u[n] : real[2] ~ MvNormal(m, S)
        latent   v[n] ~ Normal(g[0] * u[n, 0], 1)
        observed x[n] ~ Normal(u[n, 0], 0.5)
        observed y[n] ~ Normal(u[n, 1] + v[n], sd)
        observed w[n] ~ Normal(v[n] + g[1] * u[n, 1], sd)
"""


def _two(rng):
    p = {"m": np.array([1.0, -1.0]), "S": np.array([[1.0, 0.3], [0.3, 0.8]]), "g": np.array([0.5, -0.4]), "sd": 0.7}
    u = rng.multivariate_normal(p["m"], p["S"], 150)
    v = 0.5 * u[:, 0] + rng.normal(size=150)
    x, y = u[:, 0] + rng.normal(size=150) * 0.5, u[:, 1] + v + rng.normal(size=150) * 0.7
    return {"x": x, "y": y, "w": v - 0.4 * u[:, 1] + rng.normal(size=150) * 0.7}, p


def _two_value(p, d):
    g, h = p["g"]
    make = np.array([[1, 0, 0], [g, 1, 1], [g, h, 1]])  # x, y, w of u0, u1 and the noise of v
    prior = np.zeros((3, 3))
    prior[:2, :2], prior[2, 2] = p["S"], 1
    cov = make @ prior @ make.T + np.diag([0.25, p["sd"] ** 2, p["sd"] ** 2])
    return mvn(np.column_stack([d["x"], d["y"], d["w"]]), make @ np.array([*p["m"], 0]), cov).sum()


GAUSSIAN = "exact:gaussian"
CASES = [
    Case("factor analysis", FACTORS, _factors, _factors_value, plan={"y": GAUSSIAN}, near=True),
    Case("factor analysis with gaps", FACTORS, _gaps, _factors_value, plan={"y": GAUSSIAN}, near=True),
    Case("probabilistic components", PPCA, _ppca, _ppca_value, plan={"y": GAUSSIAN}),
    Case("mixture of factor analysers", ANALYSERS, _analysers, _analysers_value,
         plan={"z": "exact:hybrid", "y": "exact:hybrid"}, near=True),
    Case("random slopes", SLOPES, _slopes, _slopes_value, plan={"b": GAUSSIAN}),
    Case("random slopes apart", APART, _apart, _apart_value, plan={"b0": GAUSSIAN, "b1": GAUSSIAN}),
    Case("growth classes", GROWTH, _growth, _growth_value, plan={"z": "exact:hybrid", "b": "exact:hybrid"}, near=True),
    Case("errors in variables", ERRORS, _errors, _errors_value, plan={"xi": GAUSSIAN}),
    Case("vectors and numbers together", TWO, _two, _two_value, plan={"u": GAUSSIAN, "v": GAUSSIAN}, near=True),
]  # fmt: skip
