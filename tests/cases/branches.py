"""Branches beside which a density has no value: what is not taken is not evaluated."""

from __future__ import annotations

import numpy as np
from scipy.stats import multivariate_normal

from cases import Case, normal

SETTLING = """
    model SettlingSpread
    param a : real
    param half : positive
    for n in N:
        given    x[n] : real
        observed y[n] ~ Normal(a, sqrt(1 - exp(-x[n] / half))) if x[n] > 0 else Normal(a, 2)
"""


def _settling(rng):
    x = np.concatenate([np.zeros(4), -rng.gamma(2, 1, 4), rng.gamma(2, 1, 30)])
    return {"x": x, "y": 1 + _spread(x, 2.0) * rng.normal(size=len(x))}, {"a": 1.0, "half": 2.0}


def _spread(x, half):
    return np.where(x > 0, np.sqrt(-np.expm1(-np.maximum(x, 1e-9) / half)), 2.0)


TIMES = """
    model OrnsteinUhlenbeck
    param m : real
    param v : positive
    param ell : positive
    for t in T:
        given    at[t] : real
        observed y[t] ~ {start} if t == 0 else {step}
"""
STEP = "Normal(m + exp(-abs(at[t] - at[t-1])/ell)*(y[t-1] - m), var = v*(1 - exp(-2*abs(at[t] - at[t-1])/ell)))"
HIDDEN = """
    model HiddenOrnsteinUhlenbeck
    param m : real
    param v : positive
    param ell : positive
    for t in T:
        given    at[t] : real
        latent   f[t] ~ Normal(0, var = v) if t == 0 else {step}
        observed y[t] ~ Normal(m + f[t], 0.5)
"""
HIDDEN_STEP = "Normal(exp(-abs(at[t] - at[t-1])/ell)*f[t-1], var = v*(1 - exp(-2*abs(at[t] - at[t-1])/ell)))"


def _times(noise):
    def make(rng):
        at = np.sort(rng.uniform(0, 12, 24))
        truth = {"m": 1.0, "v": 2.0, "ell": 1.5}
        return {"at": at, "y": rng.multivariate_normal(np.ones(24), _cov(truth, at, noise))}, truth

    return make


def _cov(p, at, noise):
    return p["v"] * np.exp(-np.abs(at[:, None] - at) / p["ell"]) + noise**2 * np.eye(len(at))


def _times_value(noise):
    def value(p, d):
        return float(multivariate_normal.logpdf(d["y"], np.full(len(d["at"]), p["m"]), _cov(p, d["at"], noise)))

    return value


CASES = [
    Case(
        "a spread that settles",
        SETTLING,
        _settling,
        lambda p, d: normal(d["y"], p["a"], _spread(d["x"], p["half"])).sum(),
    ),
    Case(
        "a process at uneven times",
        TIMES.format(start="Normal(m, var = v)", step=STEP),
        _times(0.0),
        _times_value(0.0),
    ),
    Case(
        "a hidden process at uneven times",
        HIDDEN.format(step=HIDDEN_STEP),
        _times(0.5),
        _times_value(0.5),
        plan={"f": "exact:kalman"},
        options={"tol": 1e-9},
    ),
]
