"""A continuous latent inside a discrete one: mixtures of Student t's, of negative binomials, of groups."""

from __future__ import annotations

import numpy as np
from scipy.special import gammaln
from scipy.stats import multivariate_t, nbinom, t

from cases import Case, mix, pick

STUDENT = """
    model StudentMixture
    size K = 2
    given nu : positive = 5
    param w : simplex[K]
    param mean[K] : real
    param scale[K] : positive
    for n in N:
        latent   z[n] ~ Categorical(w)
        latent   u[n] ~ Gamma(nu / 2, nu / 2)
        observed x[n] ~ Normal(mean[z[n]], sd = scale[z[n]] / sqrt(u[n]))
"""


def _students(rng):
    w, mean, scale = np.array([0.4, 0.6]), np.array([-5.0, 4.0]), np.array([1.0, 0.7])
    z = pick(rng, w, 100)
    return {"x": mean[z] + scale[z] * rng.standard_t(5, 100)}, {"w": w, "mean": mean, "scale": scale}


CLOUDS = """
    model StudentClouds
    size K = 2
    param w : simplex[K]
    param mean[K] : real[D]
    param cov[K] : spd[D]
    for n in N:
        latent   z[n] ~ Categorical(w)
        latent   u[n] ~ Gamma(2.5, 2.5)
        observed x[n] ~ MvNormal(mean[z[n]], cov[z[n]] / u[n])
"""


def _student_clouds(rng):
    w, mean = np.array([0.4, 0.6]), np.array([[-4.0, 0.0], [4.0, 3.0]])
    z, u = pick(rng, w, 100), rng.gamma(2.5, 1 / 2.5, 100)
    x = mean[z] + rng.normal(size=(100, 2)) / np.sqrt(u)[:, None]
    return {"x": x}, {"w": w, "mean": mean, "cov": np.stack([np.eye(2)] * 2)}


def _student_clouds_value(p, d):
    rows = [multivariate_t.logpdf(d["x"], m, c, 5) for m, c in zip(p["mean"], p["cov"], strict=True)]
    return mix(p["w"], np.stack(rows, -1))


NEGATIVE_BINOMIALS = """
    model NegativeBinomialMixture
    size K = 2
    param w : simplex[K]
    param shape : positive
    param mean[K] : positive
    for n in N:
        latent   z[n] ~ Categorical(w)
        latent   rate[n] ~ Gamma(shape, shape / mean[z[n]])
        observed y[n] ~ Poisson(rate[n])
"""


def _negative_binomials(rng):
    w, mean = np.array([0.4, 0.6]), np.array([2.0, 25.0])
    rate = rng.gamma(4.0, mean[pick(rng, w, 120)] / 4.0)
    return {"y": rng.poisson(rate)}, {"w": w, "shape": 4.0, "mean": mean}


def _negative_binomials_value(p, d):
    return mix(p["w"], nbinom.logpmf(d["y"][:, None], p["shape"], p["shape"] / (p["shape"] + p["mean"])))


MIXED_GROUPS = """
    model GroupsOfTwoKinds
    size K = 2
    param w : simplex[K]
    param a[K] : positive
    param b[K] : positive
    for g in G:
        latent z[g] ~ Categorical(w)
        latent lam[g] ~ Gamma(a[z[g]], b[z[g]])
        for i in I:
            observed y[g, i] ~ Poisson(lam[g])
"""


def _mixed_groups(rng):
    w, a, b = np.array([0.4, 0.6]), np.array([6.0, 20.0]), np.array([3.0, 1.0])
    z = pick(rng, w, 60)
    return {"y": rng.poisson(rng.gamma(a[z], 1 / b[z])[:, None], (60, 4))}, {"w": w, "a": a, "b": b}


def _mixed_groups_value(p, d):
    y, a, b = d["y"].sum(1)[:, None], p["a"], p["b"]
    each = gammaln(a + y) - gammaln(a) + a * np.log(b) - (a + y) * np.log(b + 4)
    return mix(p["w"], each) - gammaln(d["y"] + 1).sum()


CASES = [
    Case(
        "mixture of student t's",
        STUDENT,
        _students,
        lambda p, d: mix(p["w"], t.logpdf(d["x"][:, None], 5, p["mean"], p["scale"])),
        options={"n_init": 3},
    ),
    Case("mixture of multivariate t's", CLOUDS, _student_clouds, _student_clouds_value, options={"n_init": 3}),
    Case(
        "mixture of negative binomials by rates",
        NEGATIVE_BINOMIALS,
        _negative_binomials,
        _negative_binomials_value,
        options={"n_init": 3},
    ),
    Case("gamma-poisson groups of two kinds", MIXED_GROUPS, _mixed_groups, _mixed_groups_value, options={"n_init": 2}),
]
