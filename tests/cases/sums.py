"""Effects that sum to zero, whose normal equations are solved on such vectors."""

from __future__ import annotations

import numpy as np

from cases import Case, mix, mvn, normal, pick

FAR = 1e7

TWO_WAY = """
    model TwoWayEffects
    param mu : real
    param a : zero_sum[I]
    param b[I] : zero_sum[J]
    param s : positive
    for n in N:
        given i[n] : category[I]
        given j[n] : category[J]
        observed y[n] ~ Normal(mu + a[i[n]] + b[i[n], j[n]], s)
"""


def _two_way(rng, n=90):
    """Rows with weights, some of them not seen, far from 0."""
    i, j = np.arange(n) % 3, np.arange(n) // 3 % 2
    a, b = np.array([-2.0, 0.5, 1.5]), np.array([[1.0, -1.0], [0.0, 0.0], [-0.5, 0.5]])
    y = FAR + rng.normal(a[i] + b[i, j], 1.0)
    y[rng.choice(n, 9, replace=False)] = np.nan
    data = {"i": i, "j": j, "y": y, "weight": rng.uniform(0.5, 2.0, n)}
    return data, {"mu": FAR, "a": a, "b": b, "s": 1.0}


def _two_way_value(p, d):
    i, j = d["i"], d["j"]
    return np.nansum(d["weight"] * normal(d["y"], p["mu"] + np.asarray(p["a"])[i] + np.asarray(p["b"])[i, j], p["s"]))


SHRUNK = """
    model ShrunkEffects
    param a : zero_sum[I] ~ Normal(0, 1)
    param b : real ~ Normal(0, 3)
    param s : positive
    for n in N:
        given i[n] : category[I]
        given x[n] : real
        observed y[n] ~ Normal(a[i[n]] - a[0] + b * x[n], s)
"""


def _shrunk(rng, n=40):
    i, x, a = rng.integers(0, 4, n), rng.normal(size=n), np.array([1.0, -1.5, 0.0, 0.5])
    return {"i": i, "x": x, "y": rng.normal(a[i] - a[0] + 2 * x, 0.5)}, {"a": a, "b": 2.0, "s": 0.5}


def _shrunk_value(p, d):
    a = np.asarray(p["a"])
    return normal(d["y"], a[d["i"]] - a[0] + p["b"] * d["x"], p["s"]).sum()


CLASSES = """
    model ClassesOfEffects
    param w : simplex[2]
    param mu[2] : real
    param a[2] : zero_sum[I]
    param s : positive
    for n in N:
        given i[n] : category[I]
        latent z[n] ~ Categorical(w)
        observed y[n] ~ Normal(mu[z[n]] + a[z[n], i[n]], s)
"""


def _classes(rng, n=120):
    w, mu, a = np.array([0.4, 0.6]), np.array([-3.0, 3.0]), np.array([[1.0, -1.0, 0.0], [-0.5, 0.0, 0.5]])
    z, i = pick(rng, w, n), np.arange(n) % 3
    return {"i": i, "y": rng.normal(mu[z] + a[z, i], 0.6)}, {"w": w, "mu": mu, "a": a, "s": 0.6}


def _classes_value(p, d):
    means = np.asarray(p["mu"]) + np.asarray(p["a"])[:, d["i"]].T
    return mix(p["w"], normal(d["y"][:, None], means, p["s"]))


CONTRAST = """
    model MeanContrast
    size D = 3
    param a : zero_sum[D]
    param V : spd[D]
    for n in N:
        observed y[n] ~ MvNormal(a, V)
"""


def _contrast(rng):
    a, V = np.array([1.0, -0.5, -0.5]), np.array([[1.0, 0.4, 0.0], [0.4, 2.0, 0.3], [0.0, 0.3, 0.5]])
    return {"y": rng.multivariate_normal(a, V, 60)}, {"a": a, "V": V}


BLOCKS = """
    model Blocks
    param mu : real
    param a : zero_sum[I]
    param t : positive
    param s : positive
    for j in J:
        latent u[j] ~ Normal(0, t)
        for i in I:
            observed y[j, i] ~ Normal(mu + a[i] + u[j], s)
"""


def _blocks(rng):
    a = np.array([-1.0, 0.2, 0.8])
    y = 5 + a + rng.normal(0, 1.5, (15, 1)) + rng.normal(0, 0.7, (15, 3))
    return {"y": y}, {"mu": 5.0, "a": a, "t": 1.5, "s": 0.7}


def _blocks_value(p, d):
    return mvn(d["y"], p["mu"] + np.asarray(p["a"]), p["s"] ** 2 * np.eye(3) + p["t"] ** 2).sum()


def _case(name, text, make, value, *params, **more):
    return Case(name, text, make, value, updates=dict.fromkeys(params, "linear solve"), **more)


CASES = [
    _case("effects within effects, far off", TWO_WAY, _two_way, _two_way_value, "mu", "a", "b", weight="weight"),
    _case("shrunk effects", SHRUNK, _shrunk, _shrunk_value, "a", "b",
          prior=lambda p: normal(np.asarray(p["a"]), 0, 1).sum() + normal(p["b"], 0, 3)),
    _case("classes of effects", CLASSES, _classes, _classes_value, "mu", "a"),
    _case("a mean that sums to zero", CONTRAST, _contrast, lambda p, d: mvn(d["y"], p["a"], p["V"]).sum(), "a"),
    _case("effects beside random intercepts", BLOCKS, _blocks, _blocks_value, "mu", "a"),
]  # fmt: skip
