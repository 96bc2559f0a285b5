"""Discrete latents of rows: several at once, through each other, choosing between families, with many kinds of data."""

from __future__ import annotations

from itertools import product

import numpy as np
from scipy.special import logsumexp
from scipy.stats import binom, expon, gamma, lognorm, multinomial, poisson

from cases import Case, mix, normal, pick

W = np.array([0.4, 0.6])

ADDITIVE = """
    model TwoTraits
    size K = 2
    size L = 3
    param w : simplex[K]
    param v : simplex[L]
    param a[K] : real
    param b[L] : real
    param sd : positive
    for n in N:
        latent   z[n] ~ Categorical(w)
        latent   u[n] ~ Categorical(v)
        observed x[n] ~ Normal(a[z[n]] + b[u[n]], sd)
"""


def _additive(rng):
    v, a, b = np.array([0.2, 0.3, 0.5]), np.array([-10.0, 10.0]), np.array([-3.0, 0.0, 4.0])
    x = a[pick(rng, W, 150)] + b[pick(rng, v, 150)] + 0.7 * rng.normal(size=150)
    return {"x": x}, {"w": W, "v": v, "a": a, "b": b, "sd": 0.7}


def _additive_value(p, d):
    mean, weights = np.add.outer(p["a"], p["b"]).ravel(), np.outer(p["w"], p["v"]).ravel()
    return mix(weights, normal(d["x"][:, None], mean, p["sd"]))


OUTLIERS = """
    model Outliers
    param w : simplex[2]
    param good : unit
    param mean[2] : real
    param sd : positive
    for n in N:
        latent   z[n] ~ Categorical(w)
        latent   clean[n] ~ Bernoulli(good)
        observed x[n] ~ Normal(mean[z[n]], sd if clean[n] == 1 else 10)
"""


def _outliers(rng):
    mean, clean = np.array([-3.0, 3.0]), rng.random(120) < 0.8
    x = rng.normal(mean[pick(rng, W, 120)], np.where(clean, 0.7, 10))
    return {"x": x}, {"w": W, "good": 0.8, "mean": mean, "sd": 0.7}


def _outliers_value(p, d):
    both = [normal(d["x"][:, None], p["mean"], s) for s in (p["sd"], 10.0)]
    return mix(np.outer([p["good"], 1 - p["good"]], p["w"]).ravel(), np.concatenate(both, 1))


CHAIN = """
    model LatentThroughLatent
    param top : simplex[2]
    param down[2] : simplex[3]
    param mean[3] : real
    param rate[2] : positive
    for n in N:
        latent   z[n] ~ Categorical(top)
        latent   w[n] ~ Categorical(down[z[n]])
        observed x[n] ~ Normal(mean[w[n]], 1)
        observed y[n] ~ Poisson(rate[z[n]])
"""


def _chain(rng):
    down, mean, rate = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]]), np.array([-5.0, 0.0, 5.0]), np.array([1.0, 9.0])
    z = pick(rng, W, 120)
    w = np.array([pick(rng, down[k], 1)[0] for k in z])
    data = {"x": rng.normal(mean[w], 1), "y": rng.poisson(rate[z])}
    return data, {"top": W, "down": down, "mean": mean, "rate": rate}


def _chain_value(p, d):
    x, y = normal(d["x"][:, None], p["mean"], 1.0), poisson.logpmf(d["y"][:, None], p["rate"])
    inner = logsumexp(np.log(p["down"]) + x[:, None], axis=-1)
    return mix(p["top"], inner + y)


PARENTS = """
    model BloodGroupsByParents
    param allele : simplex[3]
    let group = [[0, 1, 0], [1, 2, 2], [0, 2, 3]]
    for n in N:
        latent   mother[n] ~ Categorical(allele)
        latent   father[n] ~ Categorical(allele)
        observed seen[n] : category[4] ~ Delta(group[mother[n]][father[n]])
"""


def _parents(rng):
    p = np.array([0.25, 0.15, 0.6])
    table = np.array([[0, 1, 0], [1, 2, 2], [0, 2, 3]])
    return {"seen": table[pick(rng, p, 100), pick(rng, p, 100)]}, {"allele": p}


def _parents_value(p, d):
    a, b, o = p["allele"]
    return np.log(np.array([a * a + 2 * a * o, 2 * a * b, b * b + 2 * b * o, o * o]))[d["seen"]].sum()


FAMILIES = """
    model TwoFamilies
    param slow : unit
    param rate : positive
    param m : real
    param s : positive
    for n in N:
        latent   z[n] ~ Bernoulli(slow)
        observed x[n] ~ Exponential(rate) if z[n] == 0 else LogNormal(m, s)
"""


def _families(rng):
    slow = rng.random(120) < 0.5
    x = np.where(slow, rng.lognormal(3, 0.3, 120), rng.exponential(1 / 2.0, 120))
    return {"x": x}, {"slow": 0.5, "rate": 2.0, "m": 3.0, "s": 0.3}


def _families_value(p, d):
    both = [expon.logpdf(d["x"], scale=1 / p["rate"]), lognorm.logpdf(d["x"], p["s"], scale=np.exp(p["m"]))]
    return mix([1 - p["slow"], p["slow"]], np.stack(both, -1))


UNIFORM = """
    model Background
    param noise : unit
    param m : real
    param sd : positive
    for n in N:
        latent   z[n] ~ Bernoulli(noise)
        observed x[n] ~ Uniform(-10, 10) if z[n] else Normal(m, sd)
"""


def _uniform(rng):
    noise = rng.random(100) < 0.3
    return {"x": np.where(noise, rng.uniform(-10, 10, 100), rng.normal(2, 0.5, 100))}, {
        "noise": 0.3,
        "m": 2.0,
        "sd": 0.5,
    }


def _uniform_value(p, d):
    flat = np.full(len(d["x"]), -np.log(20.0))
    return mix([1 - p["noise"], p["noise"]], np.stack([normal(d["x"], p["m"], p["sd"]), flat], -1))


HURDLE = """
    model RainyDays
    param dry : unit
    param shape : positive
    param rate : positive
    for n in N:
        latent   z[n] ~ Bernoulli(dry)
        observed rain[n] ~ Delta(0) if z[n] == 1 else Gamma(shape, rate)
"""


def _hurdle(rng):
    rain = np.where(rng.random(80) < 0.4, 0.0, rng.gamma(2.0, 1 / 0.5, 80))
    return {"rain": rain}, {"dry": 0.4, "shape": 2.0, "rate": 0.5}


def _hurdle_value(p, d):
    wet = d["rain"][d["rain"] > 0]
    zeros = len(d["rain"]) - len(wet)
    return (
        zeros * np.log(p["dry"])
        + len(wet) * np.log1p(-p["dry"])
        + gamma.logpdf(wet, p["shape"], scale=1 / p["rate"]).sum()
    )


INFLATED = """
    model ThreeWays
    param w : simplex[3]
    param rate[2] : positive
    for n in N:
        latent   z[n] ~ Categorical(w)
        observed y[n] ~ Delta(0) if z[n] == 0 else Poisson(rate[z[n] - 1])
"""


def _inflated(rng):
    w, rate = np.array([0.3, 0.3, 0.4]), np.array([3.0, 15.0])
    z = pick(rng, w, 150)
    return {"y": np.where(z == 0, 0, rng.poisson(rate[np.maximum(z - 1, 0)]))}, {"w": w, "rate": rate}


def _inflated_value(p, d):
    with np.errstate(divide="ignore"):
        zero = np.where(d["y"] == 0, 0.0, -np.inf)
    return mix(p["w"], np.column_stack([zero, poisson.logpmf(d["y"][:, None], p["rate"])]))


OCCUPANCY = """
    model Occupancy
    param there : unit
    param seen : unit
    for i in I:
        latent z[i] ~ Bernoulli(there)
        for j in J:
            observed y[i, j] : bool ~ Bernoulli(seen) if z[i] == 1 else Delta(0)
"""


def _occupancy(rng):
    z = rng.random(60) < 0.6
    return {"y": (z[:, None] & (rng.random((60, 4)) < 0.4)).astype(int)}, {"there": 0.6, "seen": 0.4}


def _occupancy_value(p, d):
    k = d["y"].sum(1)
    with np.errstate(divide="ignore"):
        absent = np.where(k == 0, 0.0, -np.inf)
    present = k * np.log(p["seen"]) + (4 - k) * np.log1p(-p["seen"])
    return mix([1 - p["there"], p["there"]], np.stack([absent, present], -1))


MIXED = """
    model ManyKinds
    size K = 3
    param w : simplex[K]
    param mean[K] : real
    param rate[K] : positive
    param p[K] : simplex[V]
    param yes[K] : unit
    for n in N:
        latent   z[n] ~ Categorical(w)
        observed a[n] ~ Normal(mean[z[n]], 1)
        observed b[n] ~ Poisson(rate[z[n]])
        observed c[n] ~ Categorical(p[z[n]])
        observed d[n] ~ Binomial(5, yes[z[n]])
"""


def _mixed(rng):
    w, mean, rate = np.array([0.3, 0.3, 0.4]), np.array([-3.0, 0.0, 3.0]), np.array([1.0, 6.0, 15.0])
    p, yes = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]]), np.array([0.2, 0.5, 0.8])
    z = pick(rng, w, 90)
    c = np.array([pick(rng, p[k], 1)[0] for k in z])
    data = {"a": rng.normal(mean[z], 1), "b": rng.poisson(rate[z]), "c": c, "d": rng.binomial(5, yes[z])}
    return data, {"w": w, "mean": mean, "rate": rate, "p": p, "yes": yes}


def _mixed_value(p, d):
    each = normal(d["a"][:, None], p["mean"], 1.0) + poisson.logpmf(d["b"][:, None], p["rate"])
    return mix(p["w"], each + np.log(p["p"]).T[d["c"]] + binom.logpmf(d["d"][:, None], 5, p["yes"]))


COUNTS = """
    model Topics
    size K = 2
    param w : simplex[K]
    param p[K] : simplex[V]
    for n in N:
        latent   z[n] ~ Categorical(w)
        observed y[n] ~ Multinomial(p[z[n]])
"""


def _counts(rng):
    p = np.array([[0.6, 0.2, 0.1, 0.1], [0.1, 0.2, 0.3, 0.4]])
    y = np.stack([rng.multinomial(n, p[k]) for k, n in zip(pick(rng, W, 60), rng.integers(3, 9, 60), strict=True)])
    return {"y": y}, {"w": W, "p": p}


def _counts_value(p, d):
    n = d["y"].sum(1)
    rows = [multinomial.logpmf(d["y"], n, q / q.sum()) for q in p["p"]]
    return mix(p["w"], np.stack(rows, -1))


SWITCH = """
    model PairOfBits
    param p : unit
    param q[2] : unit
    param mean[2, 2] : real
    param sd : positive
    for n in N:
        latent   a[n] ~ Bernoulli(p)
        latent   b[n] ~ Bernoulli(q[a[n]])
        observed x[n] ~ Normal(mean[a[n], b[n]], sd)
"""


def _switch(rng):
    q, mean = np.array([0.3, 0.7]), np.array([[-9.0, -3.0], [3.0, 8.0]])
    a = (rng.random(100) < 0.5).astype(int)
    b = (rng.random(100) < q[a]).astype(int)
    return {"x": rng.normal(mean[a, b], 1)}, {"p": 0.5, "q": q, "mean": mean, "sd": 1.0}


def _switch_value(p, d):
    total = []
    for a, b in product((0, 1), (0, 1)):
        weight = (p["p"] if a else 1 - p["p"]) * (p["q"][a] if b else 1 - p["q"][a])
        total.append(np.log(weight) + normal(d["x"], p["mean"][a, b], p["sd"]))
    return float(logsumexp(total, axis=0).sum())


CASES = [
    Case("two latents add up", ADDITIVE, _additive, _additive_value, near=True),
    Case("outliers", OUTLIERS, _outliers, _outliers_value, options={"n_init": 4}),
    Case("a latent's latent", CHAIN, _chain, _chain_value, options={"n_init": 10}),
    Case("parents' alleles", PARENTS, _parents, _parents_value),
    Case("exponential or lognormal", FAMILIES, _families, _families_value, options={"n_init": 4}),
    Case("normal in a uniform background", UNIFORM, _uniform, _uniform_value, options={"n_init": 4}),
    Case("zero or gamma", HURDLE, _hurdle, _hurdle_value),
    Case("zero or two poissons", INFLATED, _inflated, _inflated_value, options={"n_init": 4}),
    Case("occupancy", OCCUPANCY, _occupancy, _occupancy_value),
    Case("four kinds of data", MIXED, _mixed, _mixed_value, options={"n_init": 6}),
    Case("multinomial mixture", COUNTS, _counts, _counts_value, options={"n_init": 4}),
    Case("two bits index a matrix", SWITCH, _switch, _switch_value, options={"n_init": 15}),
]
