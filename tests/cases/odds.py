"""Odds and ends of the language: latents outside plates, conditions on plates, tables of givens, lags of data."""

from __future__ import annotations

import numpy as np
from scipy.special import logsumexp
from scipy.stats import poisson

from cases import Case, mix, mvn, normal, pick

W = np.array([0.4, 0.6])


GLOBAL = """
    model WhichWorld
    param mean[2] : real
    latent z ~ Categorical([0.3, 0.7])
    for n in N:
        observed x[n] ~ Normal(mean[z], 1)
    for m in M:
        observed y[m] ~ Normal(mean[0], 1)
"""


def _global_value(p, d):
    worlds = np.log([0.3, 0.7]) + normal(d["x"][:, None], p["mean"], 1.0).sum(0)
    return float(logsumexp(worlds) + normal(d["y"], p["mean"][0], 1.0).sum())


SHARED_MEAN = """
    model UnknownMean
    param sd : positive
    latent mu ~ Normal(0, 10)
    for n in N:
        observed x[n] ~ Normal(mu, sd)
"""


def _shared_mean_value(p, d):
    cov = p["sd"] ** 2 * np.eye(25) + 100.0
    return mvn(d["x"][None], np.zeros(25), cov).sum()


PAIRS = """
    model Edges
    param p[G, G] : unit
    for i in N:
        given group[i] : category[G]
    for i in N:
        for j in N if j < i:
            observed edge[i, j] ~ Bernoulli(p[group[i], group[j]])
"""


def _pairs(rng):
    p, g = np.array([[0.7, 0.2], [0.3, 0.8]]), np.arange(16) % 2
    return {"group": g, "edge": (rng.random((16, 16)) < p[g[:, None], g]).astype(int)}, {"p": p}


def _pairs_value(p, d):
    q = np.asarray(p["p"])[d["group"][:, None], d["group"]]
    each = np.where(d["edge"] == 1, np.log(q), np.log1p(-q))
    return each[np.tril_indices(16, -1)].sum()


PRIOR_ROWS = """
    model PriorByRow
    size K = 2
    param mean[K] : real
    param sd : positive
    for n in N:
        given    prior[n] : simplex[K]
        latent   z[n] ~ Categorical(prior[n])
        observed x[n] ~ Normal(mean[z[n]], sd)
"""


def _prior_rows(rng):
    prior = rng.dirichlet([2, 2], 70)
    z = (rng.random(70) < prior[:, 1]).astype(int)
    return {"prior": prior, "x": rng.normal(np.array([-1.0, 2.0])[z], 1)}, {"mean": np.array([-1.0, 2.0]), "sd": 1.0}


PRIOR_TABLE = """
    model PriorTable
    given m0 : real[3] = [-5, 0, 5]
    param w : simplex[3]
    for k in 3:
        param m[k] : real ~ Normal(m0[k], 1)
    for n in N:
        latent   z[n] ~ Categorical(w)
        observed x[n] ~ Normal(m[z[n]], 1)
"""


def _prior_table(rng):
    w, m = np.array([0.3, 0.3, 0.4]), np.array([-4.5, 0.3, 5.5])
    return {"x": rng.normal(m[pick(rng, w, 70)], 1)}, {"w": w, "m": m}


TRANSITIONS = """
    model Transitions
    param P[K] : simplex[K]
    for n in N:
        given    origin[n] : category[K]
        observed goal[n] ~ Categorical(P[origin[n]])
"""


def _transitions(rng):
    P, origin = np.array([[0.8, 0.1, 0.1], [0.3, 0.4, 0.3], [0.2, 0.2, 0.6]]), rng.integers(0, 3, 90)
    return {"origin": origin, "goal": np.array([pick(rng, P[k], 1)[0] for k in origin])}, {"P": P}


TWO_TABLES = """
    model TwoTablesOneClass
    size K = 2
    param w : simplex[K]
    param rate[K] : positive
    param mean[K] : real
    for s in S:
        latent z[s] ~ Categorical(w)
    for n in N:
        given    who[n] : index[S]
        observed y[n] ~ Poisson(rate[z[who[n]]])
    for m in M:
        given    person[m] : index[S]
        observed x[m] ~ Normal(mean[z[person[m]]], 1)
"""


def _two_tables(rng):
    z, who, person = pick(rng, W, 20), rng.permutation(np.arange(50) % 20), rng.permutation(np.arange(40) % 20)
    rate, mean = np.array([2.0, 5.0]), np.array([0.0, 2.0])
    data = {"who": who, "y": rng.poisson(rate[z[who]]), "person": person, "x": rng.normal(mean[z[person]], 1)}
    return data, {"w": W, "rate": rate, "mean": mean}


def _two_tables_value(p, d):
    total = np.zeros((20, 2))
    np.add.at(total, d["who"], poisson.logpmf(d["y"][:, None], p["rate"]))
    np.add.at(total, d["person"], normal(d["x"][:, None], p["mean"], 1.0))
    return mix(p["w"], total)


BY_GROUP = """
    model InflationByGroup
    param zero[G] : unit
    param rate[G] : positive
    for n in N:
        given    g[n] : category[G]
        latent   none[n] ~ Bernoulli(zero[g[n]])
        observed y[n] ~ Poisson(rate[g[n]]) if none[n] == 0 else Delta(0)
"""


def _by_group(rng):
    zero, rate, g = np.array([0.2, 0.6]), np.array([3.0, 8.0]), np.arange(100) % 2
    return {"g": g, "y": np.where(rng.random(100) < zero[g], 0, rng.poisson(rate[g]))}, {"zero": zero, "rate": rate}


def _by_group_value(p, d):
    zero, rate = np.asarray(p["zero"])[d["g"]], np.asarray(p["rate"])[d["g"]]
    with np.errstate(divide="ignore"):
        atom = np.where(d["y"] == 0, 0.0, -np.inf)
    return mix(np.stack([1 - zero, zero], -1), np.stack([poisson.logpmf(d["y"], rate), atom], -1))


SAME_ROWS = """
    model TwoColumnsOneClass
    param w : simplex[2]
    param a[2] : real
    param s : positive
    for n in N:
        latent z[n] ~ Categorical(w)
        for j in 3:
            observed x[n, j] ~ Normal(a[z[n]] * (j + 1), s)
"""


def _same_rows(rng):
    a, z = np.array([-1.0, 1.5]), pick(rng, W, 50)
    return {"x": rng.normal(a[z][:, None] * np.array([1, 2, 3]), 1.0)}, {"w": W, "a": a, "s": 1.0}


def _same_rows_value(p, d):
    return mix(p["w"], normal(d["x"][:, None], p["a"][:, None] * np.array([1, 2, 3]), p["s"]).sum(-1))


MVN_WALK = """
    model Differences
    param drift : real
    param sd : positive
    for t in T:
        observed y[t] ~ Normal(0, 5) if t == 0 else Normal(y[t-1] + drift, sd)
"""


def _walk(rng):
    return {"y": np.cumsum(rng.normal(0.5, 1.0, 50))}, {"drift": 0.5, "sd": 1.0}


def _walk_value(p, d):
    return normal(d["y"][0], 0, 5.0) + normal(np.diff(d["y"]), p["drift"], p["sd"]).sum()


SURVIVAL = """
    model CaptureRecapture
    param survive[2] : unit
    param catch : unit
    for i in N:
        for t in T:
            latent   alive[i, t] ~ Bernoulli(1) if t == 0 else Bernoulli(alive[i, t-1] * survive[(t - 1) % 2])
            observed y[i, t] ~ Bernoulli(1) if t == 0 else Bernoulli(alive[i, t] * catch)
"""


def _survival(rng):
    s, catch = np.array([0.8, 0.6]), 0.5
    alive = np.cumprod(np.column_stack([np.ones(30), rng.random((30, 4)) < s[np.arange(4) % 2]]), axis=1)
    return {"y": alive * np.column_stack([np.ones(30), rng.random((30, 4)) < catch])}, {"survive": s, "catch": catch}


def _survival_value(p, d):
    """Over the last occasion at which each was alive."""
    stay, out = p["survive"][np.arange(4) % 2], []
    for last in range(5):
        seen = d["y"][:, 1 : last + 1]
        lived = np.log(np.append(stay[:last], 1 - stay[last] if last < 4 else 1.0)).sum()
        caught = np.log(np.where(seen == 1, p["catch"], 1 - p["catch"])).sum(1)
        out.append(np.where(d["y"][:, last + 1 :].any(1), -np.inf, lived + caught))
    return logsumexp(out, axis=0).sum()


CASES = [
    Case(
        "survival as a product",
        SURVIVAL,
        _survival,
        _survival_value,
        plan={"alive": "exact:chain"},
        updates={"survive": "closed form", "catch": "closed form"},
    ),
    Case(
        "a prior by row",
        PRIOR_ROWS,
        _prior_rows,
        lambda p, d: mix(d["prior"], normal(d["x"][:, None], p["mean"], p["sd"])),
        options={"n_init": 2},
    ),
    Case(
        "transitions seen",
        TRANSITIONS,
        _transitions,
        lambda p, d: np.log(p["P"])[d["origin"], d["goal"]].sum(),
        updates={"P": "closed form"},
    ),
    Case("a walk that is seen", MVN_WALK, _walk, _walk_value),
    Case(
        "one latent for all rows",
        GLOBAL,
        lambda rng: ({"x": rng.normal(3, 1, 20), "y": rng.normal(0, 1, 20)}, {"mean": np.array([0.0, 3.0])}),
        _global_value,
        options={"n_init": 5},
    ),
    Case(
        "one continuous latent for all rows",
        SHARED_MEAN,
        lambda rng: ({"x": rng.normal(4, 2, 25)}, {"sd": 2.0}),
        _shared_mean_value,
    ),
    Case("pairs of a plate, half of them", PAIRS, _pairs, _pairs_value),
    Case(
        "a prior from a table",
        PRIOR_TABLE,
        _prior_table,
        lambda p, d: mix(p["w"], normal(d["x"][:, None], p["m"], 1.0)),
        lambda p: normal(p["m"], np.array([-5.0, 0.0, 5.0]), 1.0).sum(),
        options={"n_init": 20},
    ),
    Case("two tables, one class", TWO_TABLES, _two_tables, _two_tables_value, options={"n_init": 4}),
    Case("inflation by group", BY_GROUP, _by_group, _by_group_value),
    Case("means in proportion", SAME_ROWS, _same_rows, _same_rows_value, options={"n_init": 3}),
]
