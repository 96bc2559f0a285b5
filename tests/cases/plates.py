"""Discrete latents of groups: nested and ragged plates, latents within latents, reached through given indices."""

from __future__ import annotations

import numpy as np
from scipy.special import logsumexp
from scipy.stats import poisson

from cases import Case, mix, normal, pick

W = np.array([0.4, 0.6])

GROUPS = """
    model ClassOfGroup
    size K = 2
    param w : simplex[K]
    param mean[K] : real
    param sd[K] : positive
    for g in G:
        latent z[g] ~ Categorical(w)
        for i in I:
            observed x[g, i] ~ Normal(mean[z[g]], sd[z[g]])
"""


def _groups(rng):
    mean, sd = np.array([-1.0, 1.0]), np.array([0.8, 1.2])
    z = pick(rng, W, 40)
    return {"x": rng.normal(mean[z][:, None], sd[z][:, None], (40, 6))}, {"w": W, "mean": mean, "sd": sd}


def _groups_value(p, d):
    return mix(p["w"], normal(d["x"][:, None], p["mean"][:, None], p["sd"][:, None]).sum(-1))


RAGGED = """
    model RaggedGroups
    size K = 2
    param w : simplex[K]
    param rate[K] : positive
    for s in S:
        latent z[s] ~ Categorical(w)
        for t in T[s]:
            observed y[s, t] ~ Poisson(rate[z[s]])
"""


def _ragged(rng):
    rate = np.array([2.0, 5.0])
    return {"y": [rng.poisson(rate[k], n) for k, n in zip(pick(rng, W, 40), np.arange(40) % 6, strict=True)]}, {
        "w": W,
        "rate": rate,
    }


def _ragged_value(p, d):
    return mix(p["w"], np.stack([poisson.logpmf(y[:, None], p["rate"]).sum(0) for y in d["y"]]))


TREE = """
    model ClassesOfClasses
    param top : simplex[2]
    param down[2] : simplex[3]
    param mean[3] : real
    param sd : positive
    for g in G:
        latent z[g] ~ Categorical(top)
        for i in I:
            latent   w[g, i] ~ Categorical(down[z[g]])
            observed x[g, i] ~ Normal(mean[w[g, i]], sd)
"""


def _tree(rng):
    down, mean = np.array([[0.7, 0.2, 0.1], [0.1, 0.2, 0.7]]), np.array([-4.0, 0.0, 4.0])
    w = np.stack([pick(rng, down[k], 5) for k in pick(rng, W, 40)])
    return {"x": rng.normal(mean[w], 0.8)}, {"top": W, "down": down, "mean": mean, "sd": 0.8}


def _tree_value(p, d):
    inner = normal(d["x"][..., None], p["mean"], p["sd"])[:, :, None] + np.log(p["down"])
    return mix(p["top"], logsumexp(inner, axis=-1).sum(1))


INDEXED = """
    model ThroughAnIndex
    size K = 2
    param w : simplex[K]
    param mean[K] : real
    param slope : real
    param sd : positive
    for g in G:
        latent z[g] ~ Categorical(w)
    for n in N:
        given    group[n] : index[G]
        given    t[n] : real
        observed x[n] ~ Normal(mean[z[group[n]]] + slope * t[n], sd)
"""


def _indexed(rng):
    mean, z = np.array([-1.0, 2.0]), pick(rng, W, 15)
    group, t = np.concatenate([np.arange(15), rng.integers(0, 15, 75)]), rng.normal(size=90)
    data = {"group": group, "t": t, "x": rng.normal(mean[z[group]] + 0.5 * t, 1.0)}
    return data, {"w": W, "mean": mean, "slope": 0.5, "sd": 1.0}


def _indexed_value(p, d):
    each = normal(d["x"][:, None], p["mean"] + p["slope"] * d["t"][:, None], p["sd"])
    total = np.zeros((15, 2))
    np.add.at(total, d["group"], each)
    return mix(p["w"], total)


RATERS = """
    model SickOrNot
    param ill : unit
    param sensitivity[J] : unit
    param specificity[J] : unit
    for i in I:
        latent truth[i] ~ Bernoulli(ill)
    for r in R:
        given    patient[r] : index[I]
        given    test[r] : category[J]
        observed positive[r] ~ Bernoulli(sensitivity[test[r]] if truth[patient[r]] == 1 else 1 - specificity[test[r]])
"""


def _raters(rng):
    sick, yes, no = rng.random(60) < 0.4, np.array([0.9, 0.8, 0.85]), np.array([0.9, 0.95, 0.7])
    patient, test = np.repeat(np.arange(60), 3), np.tile(np.arange(3), 60)
    seen = rng.random(180) < np.where(sick[patient], yes[test], 1 - no[test])
    data = {"patient": patient, "test": test, "positive": seen.astype(int)}
    return data, {"ill": 0.4, "sensitivity": yes, "specificity": no}


def _raters_value(p, d):
    yes, no = np.asarray(p["sensitivity"])[d["test"]], np.asarray(p["specificity"])[d["test"]]
    y = d["positive"]
    each = np.stack([np.log(np.where(y, 1 - no, no)), np.log(np.where(y, yes, 1 - yes))], -1)
    total = np.zeros((60, 2))
    np.add.at(total, d["patient"], each)
    return mix([1 - p["ill"], p["ill"]], total)


SHIFTED = """
    model Copying
    param keep : simplex[3]
    param table[3] : simplex[3]
    for n in N:
        given    source[n] : category[3]
        latent   move[n] ~ Categorical(keep)
        observed seen[n] ~ Categorical(table[(source[n] + move[n]) % 3])
"""


def _shifted(rng):
    keep, table = np.array([0.7, 0.2, 0.1]), np.array([[0.9, 0.05, 0.05], [0.1, 0.8, 0.1], [0.2, 0.1, 0.7]])
    source, move = rng.integers(0, 3, 100), pick(rng, keep, 100)
    seen = np.array([pick(rng, table[(s + m) % 3], 1)[0] for s, m in zip(source, move, strict=True)])
    return {"source": source, "seen": seen}, {"keep": keep, "table": table}


def _shifted_value(p, d):
    rows = np.asarray(p["table"])[(d["source"][:, None] + np.arange(3)) % 3]
    return np.log((rows[np.arange(100), :, d["seen"]] * p["keep"]).sum(1)).sum()


CASES = [
    Case("class of a group", GROUPS, _groups, _groups_value, options={"n_init": 3}, plan={"z": "exact:enumeration"}),
    Case("class of a ragged group, some empty", RAGGED, _ragged, _ragged_value, options={"n_init": 3}),
    Case("classes within classes", TREE, _tree, _tree_value, options={"n_init": 10}),
    Case("class through a given index", INDEXED, _indexed, _indexed_value, options={"n_init": 4}),
    Case("binary raters", RATERS, _raters, _raters_value, options={"n_init": 4}),
    Case("index by arithmetic", SHIFTED, _shifted, _shifted_value, options={"n_init": 10}),
]
