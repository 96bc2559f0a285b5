"""Parameters on unusual domains: a correlation, ordered means, effects that sum to zero."""

from __future__ import annotations

import numpy as np

from cases import Case, mix, mvn, normal, pick

CORRELATION = """
    model OneCorrelation
    param r : real(min = -1, max = 1)
    let C = [[1, r], [r, 1]]
    for n in N:
        observed x[n] ~ MvNormal(zeros(2), C)
"""


def _correlation(rng):
    return {"x": rng.multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]], 60)}, {"r": 0.6}


ORDERED = """
    model Ordered
    size K = 3
    param w : simplex[K]
    param mean : ordered[K]
    param sd : positive
    for n in N:
        latent   z[n] ~ Categorical(w)
        observed x[n] ~ Normal(mean[z[n]], sd)
"""


def _ordered(rng):
    w, mean = np.array([0.3, 0.3, 0.4]), np.array([-5.0, 0.0, 4.0])
    return {"x": rng.normal(mean[pick(rng, w, 90)], 0.9)}, {"w": w, "mean": mean, "sd": 0.9}


EFFECTS = """
    model Effects
    size G = 4
    param mean : real
    param effect : zero_sum[G]
    param sd : positive
    for n in N:
        given    group[n] : category[G]
        observed y[n] ~ Normal(mean + effect[group[n]], sd)
"""


def _effects(rng):
    effect, group = np.array([1.0, -2.0, 0.5, 0.5]), np.arange(50) % 4
    return {"y": rng.normal(3 + effect[group], 1.0), "group": group}, {"mean": 3.0, "effect": effect, "sd": 1.0}


CASES = [
    Case(
        "one correlation",
        CORRELATION,
        _correlation,
        lambda p, d: mvn(d["x"], 0, np.array([[1, p["r"]], [p["r"], 1]])).sum(),
    ),
    Case(
        "ordered means",
        ORDERED,
        _ordered,
        lambda p, d: mix(p["w"], normal(d["x"][:, None], p["mean"], p["sd"])),
        options={"n_init": 4},
    ),
    Case(
        "effects that sum to zero",
        EFFECTS,
        _effects,
        lambda p, d: normal(d["y"], p["mean"] + np.asarray(p["effect"])[d["group"]], p["sd"]).sum(),
        updates={"mean": "linear solve", "effect": "linear solve", "sd": "closed form"},
    ),
]
