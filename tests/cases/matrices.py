"""Vectors and matrices that belong to classes, stacks of matrices, matrices as data, shared shifts."""

from __future__ import annotations

import numpy as np
from scipy.special import gammaln
from scipy.stats import dirichlet, wishart

from cases import Case, mix, mvn, normal, pick

W = np.array([0.4, 0.6])
C = np.array([[1.0, 0.3], [0.3, 0.8]])

STACK = """
    model ScaledCovariances
    param w : simplex[2]
    param m[2] : real[D]
    param C : spd[D]
    let spread = [C, 4 * C]
    for n in N:
        latent   z[n] ~ Categorical(w)
        observed x[n] ~ MvNormal(m[z[n]], spread[z[n]])
"""
M = np.array([[0.0, 0.0], [4.0, 5.0]])


def _stack(rng):
    z = pick(rng, W, 90)
    x = M[z] + rng.multivariate_normal([0, 0], C, 90) * np.where(z == 0, 1, 2)[:, None]
    return {"x": x}, {"w": W, "m": M, "C": C}


def _stack_value(p, d):
    return mix(p["w"], np.stack([mvn(d["x"], p["m"][0], p["C"]), mvn(d["x"], p["m"][1], 4 * p["C"])], -1))


SHIFT = """
    model SharedShape
    param w : simplex[2]
    param base : real[D]
    param shift : real
    param C : spd[D]
    for n in N:
        latent   z[n] ~ Bernoulli(w[1])
        observed x[n] ~ MvNormal(base + shift * z[n] * ones(D), C)
"""


def _shift(rng):
    z = pick(rng, W, 90)
    x = np.array([1.0, -1.0]) + 5.0 * z[:, None] + rng.multivariate_normal([0, 0], C, 90)
    return {"x": x}, {"w": W, "base": np.array([1.0, -1.0]), "shift": 5.0, "C": C}


def _shift_value(p, d):
    rows = [mvn(d["x"], p["base"] + p["shift"] * k, p["C"]) for k in (0, 1)]
    return mix(p["w"], np.stack(rows, -1))


EXPERTS = """
    model MatrixByClass
    param w : simplex[2]
    param B[2] : real[D, P]
    param C[2] : spd[D]
    for n in N:
        given    X[n] : real[P]
        latent   z[n] ~ Categorical(w)
        observed y[n] ~ MvNormal(B[z[n]] @ X[n], C[z[n]])
"""


def _experts(rng):
    B = np.array([[[5.0, 1.0], [-5.0, 0.5]], [[-5.0, 0.0], [5.0, 2.0]]])
    z, X = pick(rng, W, 120), np.column_stack([np.ones(120), rng.normal(size=120)])
    y = np.einsum("ndp,np->nd", B[z], X) + rng.multivariate_normal([0, 0], C, 120)
    return {"X": X, "y": y}, {"w": W, "B": B, "C": np.stack([C, C])}


def _experts_value(p, d):
    rows = [mvn(d["y"], d["X"] @ np.asarray(b).T, np.asarray(c)) for b, c in zip(p["B"], p["C"], strict=True)]
    return mix(p["w"], np.stack(rows, -1))


PRECISION = """
    model PrecisionByClass
    param w : simplex[2]
    param m[2] : real[D]
    param P[2] : spd[D]
    for n in N:
        latent   z[n] ~ Categorical(w)
        observed x[n] ~ MvNormal(m[z[n]], precision = P[z[n]])
"""


def _precision(rng):
    z = pick(rng, W, 90)
    return {"x": M[z] + rng.multivariate_normal([0, 0], C, 90)}, {"w": W, "m": M, "P": np.stack([np.linalg.inv(C)] * 2)}


def _precision_value(p, d):
    rows = [mvn(d["x"], m, np.linalg.inv(q)) for m, q in zip(p["m"], p["P"], strict=True)]
    return mix(p["w"], np.stack(rows, -1))


WISHARTS = """
    model MixtureOfWisharts
    param w : simplex[2]
    param S[2] : spd[D]
    for n in N:
        latent   z[n] ~ Categorical(w)
        observed x[n] ~ Wishart(6, S[z[n]])
"""


def _wisharts(rng):
    z, S = pick(rng, W, 50), np.stack([C, 9 * C])
    return {"x": np.stack([wishart.rvs(6, S[k], random_state=rng) for k in z])}, {"w": W, "S": S}


def _wisharts_value(p, d):
    x, (_, logdet) = d["x"], np.linalg.slogdet(d["x"])
    rows = []
    for S in p["S"]:
        constant = 6 * np.log(2) + 3 * np.linalg.slogdet(S)[1] + 0.5 * np.log(np.pi) + gammaln(3) + gammaln(2.5)
        rows.append(1.5 * logdet - 0.5 * np.trace(np.linalg.solve(S, x), axis1=1, axis2=2) - constant)
    return mix(p["w"], np.stack(rows, -1))


DIRICHLETS = """
    model MixtureOfDirichlets
    param w : simplex[2]
    param a[2] : positive[V]
    for n in N:
        latent   z[n] ~ Categorical(w)
        observed q[n] ~ Dirichlet(a[z[n]])
"""


def _dirichlets(rng):
    a = np.array([[8.0, 3.0, 1.5], [1.0, 4.0, 9.0]])
    return {"q": np.stack([rng.dirichlet(a[k]) for k in pick(rng, W, 80)])}, {"w": W, "a": a}


def _dirichlets_value(p, d):
    return mix(p["w"], np.stack([dirichlet.logpdf(d["q"].T, a) for a in p["a"]], -1))


KNOWN = """
    model KnownMatrix
    param m : real[2]
    param s : positive
    let P = [[2, -1], [-1, 2]]
    for n in N:
        observed x[n] ~ MvNormal(m, precision = s * P)
"""


def _known(rng):
    cov = np.linalg.inv(1.5 * np.array([[2.0, -1.0], [-1.0, 2.0]]))
    return {"x": rng.multivariate_normal([1, 2], cov, 40)}, {"m": np.array([1.0, 2.0]), "s": 1.5}


def _known_value(p, d):
    return mvn(d["x"], p["m"], np.linalg.inv(p["s"] * np.array([[2.0, -1.0], [-1.0, 2.0]]))).sum()


TENSOR = """
    model CellMeansOfVectors
    param m[G] : real[D]
    param v : positive[D]
    for n in N:
        given    g[n] : category[G]
        observed x[n] ~ MvNormal(m[g[n]], diag(v))
"""


def _tensor(rng):
    m, g = np.array([[1.0, 2.0], [3.0, -1.0], [0.0, 0.0]]), np.arange(60) % 3
    return {"g": g, "x": m[g] + rng.normal(size=(60, 2)) * [1.0, 0.5]}, {"m": m, "v": np.array([1.0, 0.25])}


def _tensor_value(p, d):
    return normal(d["x"], np.asarray(p["m"])[d["g"]], np.sqrt(p["v"])).sum()


CASES = [
    Case("covariances in a ratio", STACK, _stack, _stack_value, options={"n_init": 1}),
    Case("one shift for all coordinates", SHIFT, _shift, _shift_value, options={"n_init": 3}),
    Case("matrices by class", EXPERTS, _experts, _experts_value, options={"n_init": 3}),
    Case("precisions by class", PRECISION, _precision, _precision_value, options={"n_init": 3}),
    Case("mixture of wisharts", WISHARTS, _wisharts, _wisharts_value, options={"n_init": 2}),
    Case("mixture of dirichlets", DIRICHLETS, _dirichlets, _dirichlets_value, options={"n_init": 3}),
    Case("a known matrix", KNOWN, _known, _known_value),
    Case("means of vectors by cell", TENSOR, _tensor, _tensor_value),
]
