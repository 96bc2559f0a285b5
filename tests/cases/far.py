"""Data far from the origin, where squares lose every digit unless locations are measured from a reference point."""

from __future__ import annotations

import numpy as np

from cases import Case, mix, mvn, normal, pick

FAR = 1e7
W = np.array([0.4, 0.6])

PLANE = """
    model Plane
    param beta : real[P]
    param s : positive
    for n in N:
        given X[n] : real[P]
        observed y[n] ~ Normal(X[n] @ beta, s)
"""


def _design(rng, n):
    return np.column_stack([np.ones(n), rng.normal(size=(n, 2))])


def _plane(rng, n=80):
    X, beta = _design(rng, n), np.array([1.0, 2.0, -1.0])
    return {"X": X, "y": FAR + rng.normal(X @ beta, 0.5)}, {"beta": beta + np.array([FAR, 0, 0]), "s": 0.5}


PLANES = """
    model Planes
    param w : simplex[2]
    param beta[2] : real[P]
    param s[2] : positive
    for n in N:
        given X[n] : real[P]
        latent z[n] ~ Categorical(w)
        observed y[n] ~ Normal(X[n] @ beta[z[n]], s[z[n]])
"""


def _planes(rng, n=150):
    X, beta = _design(rng, n), np.array([[-3.0, -2.0, 1.0], [5.0, 2.0, -1.0]])
    y = rng.normal((X * beta[pick(rng, W, n)]).sum(1), 0.5)
    return {"X": X, "y": y + 1e6}, {"w": W, "beta": beta + np.array([1e6, 0, 0]), "s": np.array([0.5, 0.5])}


TWO_WAY = """
    model TwoWay
    param a[G] : real
    param b : zero_sum[H]
    param s : positive
    for n in N:
        given g[n] : category[G]
        given h[n] : category[H]
        observed y[n] ~ Normal(a[g[n]] + b[h[n]], s)
"""


def _two_way(rng, n=100):
    g, h, b = rng.integers(0, 3, n), rng.integers(0, 3, n), np.array([-1.0, 0.0, 1.0])
    y = FAR + rng.normal(2.0 * g + b[h], 0.5)
    return {"g": g, "h": h, "y": y}, {
        "a": FAR + 2.0 * np.arange(3),
        "b": b,
        "s": 0.5,
    }


ORDERED = """
    model FarOrdered
    param w : simplex[2]
    param m : ordered[2]
    param s : positive
    for n in N:
        latent z[n] ~ Categorical(w)
        observed y[n] ~ Normal(m[z[n]], s)
"""


def _ordered(rng, n=150):
    m = FAR + np.array([-3.0, 3.0])
    return {"y": rng.normal(m[pick(rng, W, n)], 1)}, {"w": W, "m": m, "s": 1.0}


RAGGED = """
    model FarIntercepts
    param m : real
    param tau : positive
    param s : positive
    for g in G:
        latent b[g] ~ Normal(m, tau)
        for n in N[g]:
            observed y[g, n] ~ Normal(b[g], s)
"""


def _ragged(rng):
    y = [FAR + rng.normal(rng.normal(0, 2), 1.0, size=rng.integers(1, 6)) for _ in range(40)]
    return {"y": y}, {"m": FAR, "tau": 2.0, "s": 1.0}


def _ragged_value(p, d):
    cov = {n: p["s"] ** 2 * np.eye(n) + p["tau"] ** 2 for n in range(1, 6)}
    return sum(mvn(y[None], np.full(len(y), p["m"]), cov[len(y)])[0] for y in d["y"])


WEIGHTS = """
    model WeightsOfNothing
    param w : simplex[2]
    param m[2] : real
    param s : positive
    for n in N:
        latent z[n] ~ Categorical(w)
        observed x[n] ~ Normal(m[z[n]], s)
"""


def _weights(rng, n=100):
    m = np.array([-3.0, 3.0])
    x = np.append(rng.normal(m[pick(rng, W, n)]), 1e6)
    return {"x": x, "weight": np.append(rng.integers(0, 3, n), 0.0)}, {"w": W, "m": m, "s": 1.0}


def _weights_value(p, d):
    each = np.logaddexp.reduce(np.log(p["w"]) + normal(d["x"][:, None], p["m"], p["s"]), axis=1)
    return float(d["weight"] @ each)


INSTRUMENTS = """
    model TwoInstruments
    param m : real
    param t : positive
    param s[2] : positive
    for n in N:
        latent u[n] ~ Normal(m, t)
        observed a[n] ~ Normal(u[n], s[0])
        observed b[n] ~ Normal(u[n], s[1])
"""


def _instruments(rng, n=60):
    u = FAR + 2 * rng.normal(size=n)
    data = {"a": u + rng.normal(size=n), "b": u + 0.5 * rng.normal(size=n)}
    return data, {"m": FAR, "t": 2.0, "s": np.array([1.0, 0.5])}


def _instruments_value(p, d):
    return mvn(np.column_stack([d["a"], d["b"]]) - p["m"], np.zeros(2), np.diag(p["s"] ** 2) + p["t"] ** 2).sum()


ONE_LEVEL = """
    model OneLevel
    param m : real
    param r : unit
    param s2 : positive
    for n in N:
        observed x[n] ~ MvNormal(m * ones(3), s2 * ((1 - r) * eye(3) + r * ones(3, 3)))
        observed y[n] ~ MvNormal([m, m], 0.5 * eye(2))
"""


def _one_level(rng):
    level = 1e7 + rng.normal(size=(40, 1))
    return {"x": level + rng.normal(size=(40, 3)), "y": 1e7 + rng.normal(size=(40, 2))}, {"m": 1e7, "r": 0.5, "s2": 2.0}


def _one_level_value(p, d):
    cov = p["s2"] * ((1 - p["r"]) * np.eye(3) + p["r"])
    return mvn(d["x"], p["m"], cov).sum() + mvn(d["y"], p["m"], 0.5 * np.eye(2)).sum()


CASES = [
    Case("one level of several entries", ONE_LEVEL, _one_level, _one_level_value),
    Case("two instruments at 1e7", INSTRUMENTS, _instruments, _instruments_value),
    Case("a plane at 1e7", PLANE, _plane, lambda p, d: normal(d["y"], d["X"] @ p["beta"], p["s"]).sum()),
    Case(
        "two planes at 1e6",
        PLANES,
        _planes,
        lambda p, d: mix(p["w"], normal(d["y"][:, None], d["X"] @ p["beta"].T, p["s"])),
        near=True,
    ),
    Case(
        "two ways at 1e7",
        TWO_WAY,
        _two_way,
        lambda p, d: normal(d["y"], p["a"][d["g"]] + p["b"][d["h"]], p["s"]).sum(),
    ),
    Case(
        "ordered means at 1e7",
        ORDERED,
        _ordered,
        lambda p, d: mix(p["w"], normal(d["y"][:, None], p["m"], p["s"])),
        near=True,
    ),
    Case("intercepts of ragged groups at 1e7", RAGGED, _ragged, _ragged_value, options={"max_iter": 20_000}),
    Case("a row of weight 0, far away", WEIGHTS, _weights, _weights_value, weight="weight", options={"n_init": 2}),
]
