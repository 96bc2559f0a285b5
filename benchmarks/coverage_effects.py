"""More models with drawn latents for `benchmarks.coverage`, and the kernels that each can be drawn by."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import special, stats

from benchmarks.coverage_models import (
    CASES,
    INTERCEPTS,
    Case,
    Data,
    Values,
    by_group,
    integrated,
    logistic,
    poisson,
)

LATE = 1.4  # times beyond this one are known to be so
COUNTED = np.arange(60)
KERNELS = {  # of the language; "" for the one that the plan takes: of chains it filters forwards, samples backwards
    "gaussian effects": ("gibbs", "slice", "hmc", "metropolis"),
    "sparse counts": ("slice", "hmc", "metropolis"),
    "ordinal": ("slice", "hmc", "metropolis"),
    "cut at a limit": ("gibbs", "slice", "metropolis"),
    "signs of sums": ("gibbs", "slice"),
    "rows of two kinds": ("slice", "hmc", "metropolis"),
    "gamma rates": ("gibbs", "slice", "hmc", "metropolis"),
    "beta shares": ("gibbs", "slice", "hmc", "metropolis"),
    "laplace effects": ("slice", "hmc", "metropolis"),
    "crossed": ("slice", "hmc", "metropolis"),
    "logistic regression": ("slice", "hmc", "metropolis"),
    "chain": ("",),
    "local level": ("", "hmc"),
    "repeated counts": ("slice",),
}


def _groups(rng: np.random.Generator, mean: float, spread: float, groups: int, rows: int) -> tuple[Any, Any]:
    group = np.repeat(np.arange(groups), rows)
    return group, rng.normal(mean, spread, groups)[group]


def _gaussian(rng: np.random.Generator) -> Data:
    group, b = _groups(rng, 1.0, 0.8, 30, 4)
    return {"group": group, "y": rng.normal(b, 0.7)}


def _of_gaussian(d: Data, p: Values) -> float:
    y, t, s = d["y"].reshape(30, 4), float(p["tau"]), float(p["s"])
    return float(stats.multivariate_normal.logpdf(y, np.full(4, p["mu"]), t**2 + s**2 * np.eye(4)).sum())


def _sparse(rng: np.random.Generator) -> Data:
    group, b = _groups(rng, -1.0, 1.0, 80, 2)
    return {"group": group, "y": rng.poisson(np.exp(b))}


def _ordinal(rng: np.random.Generator) -> Data:
    group, b = _groups(rng, 0.0, 0.9, 40, 5)
    level = b + rng.logistic(size=len(b))
    return {"group": group, "y": (level > -1).astype(int) + (level > 0.8)}


def _of_ordinal(d: Data, p: Values) -> float:
    y = d["y"][:, None]

    def rows(b: Any) -> Any:
        low, high = (special.expit(c - b) for c in p["c"])
        return np.log(np.maximum(np.where(y == 0, low, np.where(y == 1, high - low, 1 - high)), 1e-300))

    return integrated(d["group"], rows, 0.0, float(p["tau"]))


def _limited(rng: np.random.Generator) -> Data:
    group, b = _groups(rng, 1.0, 0.8, 30, 4)
    return {"group": group, "y": np.minimum(rng.normal(b, 0.7), 1.6), "c": np.full(len(b), 1.6)}


def _of_limited(d: Data, p: Values) -> float:
    y, c, s = d["y"][:, None], d["c"][:, None], float(p["s"])

    def rows(b: Any) -> Any:
        return np.where(y == c, stats.norm.logsf(y, b, s), stats.norm.logpdf(y, b, s))

    return integrated(d["group"], rows, float(p["mu"]), float(p["tau"]))


def _signs(rng: np.random.Generator) -> Data:
    group, b = _groups(rng, 1.0, 0.8, 30, 4)
    return {"group": group, "late": (rng.normal(b, 1.0) > LATE).astype(int)}


def _of_signs(d: Data, p: Values) -> float:
    side = 2 * d["late"][:, None] - 1
    return integrated(d["group"], lambda b: stats.norm.logcdf(side * (b - LATE)), float(p["mu"]), float(p["tau"]))


def _repeated(rng: np.random.Generator) -> Data:
    return {"y": rng.binomial(rng.poisson(4, 60)[:, None], 0.6, (60, 4))}


def _of_repeated(d: Data, p: Values) -> float:
    seen = stats.binom.logpmf(d["y"][:, :, None], COUNTED, float(p["q"])).sum(1)
    return float(special.logsumexp(seen + stats.poisson.logpmf(COUNTED, float(p["rate"])), axis=1).sum())


def _laplace(rng: np.random.Generator) -> Data:
    group = np.repeat(np.arange(50), 3)
    return {"group": group, "y": rng.poisson(np.exp(rng.laplace(0.2, 0.6, 50))[group])}


def _of_laplace(d: Data, p: Values) -> float:
    """By trapezes, of which the kink is an end."""
    mu, tau, off = float(p["mu"]), float(p["tau"]), np.linspace(-9, 9, 3601)
    rows = np.bincount(d["group"], d["y"])[:, None] * off + poisson(0, mu + off) * 3 + mu * d["y"].sum() / 50
    return float((special.logsumexp(rows - np.abs(off) / tau, axis=1) - np.log(2 * tau)).sum())


def _crossed(rng: np.random.Generator) -> Data:
    who, item = np.indices((24, 2, 2)).reshape(3, -1)[:2]
    logit = 0.3 + rng.normal(0, 0.9, 24)[who] + rng.normal(0, 0.8, 2)[item]
    return {"who": who, "item": item, "y": (rng.random(96) < special.expit(logit)).astype(int)}


def _of_crossed(d: Data, p: Values) -> float:
    """On a grid of both items' effects, and for each of these on one of each person's."""
    z, scores = np.linspace(-7, 7, 71), by_group(2 * d["who"] + d["item"], d["y"][:, None])[:, 0].reshape(24, 2)
    logit = p["m"] + p["s"] * z[:, None] + p["t"] * z
    each = [k * logistic(1, logit) + (2 - k) * logistic(0, logit) for k in range(3)]
    weight = stats.norm.logpdf(z) + np.log(z[1] - z[0])
    total = weight[:, None] + weight
    for (a, b), people in zip(*np.unique(scores, axis=0, return_counts=True), strict=True):
        joint = np.exp(each[int(a)] + weight[:, None]).T @ np.exp(each[int(b)])
        total = total + people * np.log(joint)
    return float(special.logsumexp(total))


MORE: dict[str, Case] = {
    "gaussian effects": Case(
        """
param mu : real
param tau : positive
param s : positive
for g in G:
    latent b[g] ~ Normal(mu, tau)
for n in N:
    given group[n] : index[G]
    observed y[n] ~ Normal(b[group[n]], s)
""",
        "b",
        _gaussian,
        _of_gaussian,
    ),
    "sparse counts": Case(
        INTERCEPTS.format(family="Poisson(log_rate = b[group[n]])"),
        "b",
        _sparse,
        lambda d, p: integrated(d["group"], lambda b: poisson(d["y"][:, None], b), p["mu"], p["tau"]),
    ),
    "ordinal": Case(
        """
param c : ordered[2]
param tau : positive
for g in G:
    latent b[g] ~ Normal(0, tau)
for n in N:
    given group[n] : index[G]
    let low[n] = logistic(c[0] - b[group[n]])
    let high[n] = logistic(c[1] - b[group[n]])
    observed y[n] ~ Categorical([low[n], high[n] - low[n], 1 - high[n]])
""",
        "b",
        _ordinal,
        _of_ordinal,
    ),
    "cut at a limit": Case(
        """
param mu : real
param tau : positive
param s : positive
for g in G:
    latent b[g] ~ Normal(mu, tau)
for n in N:
    given group[n] : index[G]
    given c[n] : real
    latent x[n] ~ Normal(b[group[n]], s)
    observed y[n] ~ Delta(min(x[n], c[n]))
""",
        "b",
        _limited,
        _of_limited,
    ),
    "signs of sums": Case(
        f"""
param mu : real
param tau : positive
for g in G:
    latent b[g] ~ Normal(mu, tau)
for n in N:
    given group[n] : index[G]
    latent x[n] ~ Normal(b[group[n]], 1)
    observed late[n] ~ Delta(x[n] > {LATE})
""",
        "b, x",
        _signs,
        _of_signs,
    ),
    "laplace effects": Case(
        INTERCEPTS.format(family="Poisson(log_rate = b[group[n]])").replace("Normal(mu, tau)", "Laplace(mu, tau)"),
        "b",
        _laplace,
        _of_laplace,
    ),
    "crossed": Case(
        """
param m : real
param s : positive
param t : positive
for a in I:
    latent u[a] ~ Normal(0, s)
for b in J:
    latent v[b] ~ Normal(0, t)
for n in N:
    given who[n] : index[I]
    given item[n] : index[J]
    observed y[n] ~ Bernoulli(logit = m + u[who[n]] + v[item[n]])
""",
        "u, v",
        _crossed,
        _of_crossed,
    ),
    "repeated counts": Case(
        """
param rate : positive
param q : unit
for n in N:
    latent k[n] ~ Poisson(rate)
    for r in 4:
        observed y[n,r] ~ Binomial(k[n], q)
""",
        "k",
        _repeated,
        _of_repeated,
    ),
}
CASES.update(MORE)
