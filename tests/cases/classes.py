"""Tied Gaussian latents inside classes: a class for each group or series, whose effects or states are one Gaussian.

Each value function sums over the classes of one group, of each a dense covariance.
"""

from __future__ import annotations

import numpy as np

from cases import Case, mix, mvn

NESTED = """
    model EffectsInClasses
    size K = 2
    param w : simplex[K]
    param mu : real[K]
    param sb : positive
    param s : positive
    for g in G:
        latent z[g] ~ Categorical(w)
        latent b[g] ~ Normal(mu[z[g]], sb)
        for h in H:
            latent c[g, h] ~ Normal(b[g], 0.6)
            for n in N:
                observed y[g, h, n] ~ Normal(c[g, h], s)
"""


def _nested(rng):
    z = rng.integers(2, size=12)
    b = np.array([-2.0, 3.0])[z] + rng.normal(size=12) * 0.9
    c = b[:, None] + rng.normal(size=(12, 3)) * 0.6
    p = {"w": np.array([0.5, 0.5]), "mu": np.array([-2.0, 3.0]), "sb": 0.9, "s": 0.7}
    return {"y": c[..., None] + rng.normal(size=(12, 3, 2)) * 0.7}, p


def _nested_value(p, d):
    y = d["y"].reshape(12, 6)
    same = np.arange(6)[:, None] // 2 == np.arange(6) // 2
    cov = p["sb"] ** 2 + 0.36 * same + p["s"] ** 2 * np.eye(6)
    return mix(p["w"], np.stack([mvn(y, np.full(6, m), cov) for m in p["mu"]], 1))


SERIES = """
    model SeriesInClasses
    size K = 2
    param w : simplex[K]
    param phi : real[K]
    param q : positive[K]
    for i in I:
        latent kind[i] ~ Categorical(w)
        for t in T[i]:
            latent a[i, t] ~ Normal(0, 1) if t == 0 else Normal(phi[kind[i]] * a[i, t-1], q[kind[i]])
            observed y[i, t] ~ Normal(a[i, t], 0.4)
"""


def _series(rng):
    p = {"w": np.array([0.4, 0.6]), "phi": np.array([0.9, -0.8]), "q": np.array([0.5, 1.0])}
    rows = []
    for n in (7, 5, 1, 6, 7, 0, 6, 7, 5, 6):
        k, a = rng.integers(2), rng.normal()
        rows.append([])
        for t in range(n):
            a = p["phi"][k] * a + rng.normal() * p["q"][k] if t else a
            rows[-1].append(a + rng.normal() * 0.4)
    return {"y": [np.array(r) for r in rows]}, p


def _series_value(p, d):
    table = np.zeros((len(d["y"]), 2))
    for i, y in enumerate(d["y"]):
        for k in range(2):
            make = np.eye(len(y)) * p["q"][k]
            make[:1] /= p["q"][k]
            for t in range(1, len(y)):
                make[t] += p["phi"][k] * make[t - 1]
            if len(y):
                table[i, k] = mvn(y[None], np.zeros(len(y)), make @ make.T + 0.16 * np.eye(len(y)))[0]
    return mix(p["w"], table)


TWO = """
    model TwoClasses
    size K = 2
    param w : simplex[K]
    param v : simplex[3]
    param mu : real[K]
    for i in I:
        latent kind[i] ~ Categorical(w)
        latent noise[i] ~ Categorical(v)
        for t in T:
            latent a[i, t] ~ Normal(mu[kind[i]], 1) if t == 0 else Normal(a[i, t-1], 0.5)
            observed y[i, t] ~ Normal(a[i, t], [0.2, 1.0, 4.0][noise[i]])
"""
SPREADS = np.array([0.2, 1.0, 4.0])


def _two(rng):
    p = {"w": np.array([0.4, 0.6]), "v": np.array([0.2, 0.3, 0.5]), "mu": np.array([-3.0, 3.0])}
    start = p["mu"][rng.integers(2, size=24)] + rng.normal(size=24)
    a = start[:, None] + np.cumsum(np.c_[np.zeros(24), rng.normal(size=(24, 4)) * 0.5], 1)
    return {"y": a + rng.normal(size=(24, 5)) * SPREADS[rng.integers(3, size=24)][:, None]}, p


def _two_value(p, d):
    steps = np.tril(np.ones((5, 5))) * np.array([1.0, 0.5, 0.5, 0.5, 0.5])
    covs = [steps @ steps.T + s**2 * np.eye(5) for s in SPREADS]
    table = np.stack([mvn(d["y"], np.full(5, m), cov) for m in p["mu"] for cov in covs], 1)
    return mix(np.outer(p["w"], p["v"]).ravel(), table)


HYBRID = "exact:hybrid"
CASES = [
    Case("nested effects in classes", NESTED, _nested, _nested_value, plan=dict.fromkeys("zbc", HYBRID), near=True),
    Case("ragged series in classes", SERIES, _series, _series_value, plan={"kind": HYBRID, "a": HYBRID}, near=True),
    Case(
        "a series under two gates", TWO, _two, _two_value, plan=dict.fromkeys(("kind", "noise", "a"), HYBRID), near=True
    ),
]
