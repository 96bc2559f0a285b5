"""Gaussian latents whose elements are tied: chains, crossed and nested groups, trees; likelihoods from dense matrices.

Each value function writes the latents as a linear map of independent noise, element by element, and the data's
mean and covariance from that map: no precision, no recursion, no elimination.
"""

from __future__ import annotations

import numpy as np

from cases import Case, mvn


def _marginal(y, mean, make, noise):
    """Log density of y = mean + make @ e + noise, e standard normal, at the entries of y that are there."""
    o = ~np.isnan(y)
    cov = make @ make.T + np.diag(np.broadcast_to(noise, y.shape))
    return mvn(y[None, o], mean[o], cov[np.ix_(o, o)])[0] if o.any() else 0.0


LEVEL = """
    model Level
    param s2 : positive
    param q2 : positive
    for t in T:
        latent   h[t] ~ Normal(10, var = 4) if t == 0 else Normal(h[t-1], var = q2)
        observed y[t] ~ Normal(h[t], var = s2)
"""


def _level(rng):
    y = 10 + np.cumsum(rng.normal(size=70)) * 0.7 + rng.normal(size=70)
    y[rng.random(70) < 0.1] = np.nan
    return {"y": y}, {"s2": 1.0, "q2": 0.5}


def _level_value(p, d):
    n = len(d["y"])
    make = np.tril(np.ones((n, n))) * np.sqrt(p["q2"])
    make[:, 0] = 2.0
    return _marginal(d["y"], np.full(n, 10.0), make, p["s2"])


SYSTEM = """
    model System
    size Q = 2
    param A : real[Q, Q]
    param C : real[D, Q]
    param R : positive[D]
    param m0 : real[Q]
    for t in T:
        latent   h[t] ~ MvNormal(m0, eye(Q)) if t == 0 else MvNormal(A @ h[t-1], eye(Q))
        observed x[t] ~ MvNormal(C @ h[t], diag(R))
"""


def _system(rng, n=30):
    p = {"A": np.array([[0.9, 0.2], [-0.2, 0.8]]), "C": rng.normal(size=(3, 2)), "R": np.full(3, 0.3),
         "m0": np.array([1.0, -1.0])}  # fmt: skip
    h, x = p["m0"] + rng.normal(size=2), []
    for _ in range(n):
        x.append(p["C"] @ h + rng.normal(size=3) * np.sqrt(0.3))
        h = p["A"] @ h + rng.normal(size=2)
    return {"x": np.array(x)}, p


def _system_value(p, d):
    n, q = len(d["x"]), p["C"].shape[1]
    state, mean = np.zeros((n, q, n * q)), [p["m0"]]
    for t in range(n):
        state[t] = p["A"] @ state[t - 1] if t else 0.0
        state[t, :, t * q : (t + 1) * q] += np.eye(q)
        mean.append(p["A"] @ mean[-1])
    make = np.concatenate([p["C"] @ s for s in state])
    return _marginal(d["x"].ravel(), np.concatenate([p["C"] @ m for m in mean[:n]]), make, np.tile(p["R"], n))


STRUCTURAL = """
    model TrendAndSeason
    param s2 : positive
    param level2 : positive
    param slope2 : positive
    param season2 : positive
    for t in T:
        latent level[t] ~ Normal(5, 1) if t == 0 else Normal(level[t-1] + slope[t-1], var = level2)
        latent slope[t] ~ Normal(0, 1) if t == 0 else Normal(slope[t-1], var = slope2)
        latent season[t] ~ Normal(0, 1) if t < 2 else Normal(-season[t-1] - season[t-2], var = season2)
        observed y[t] ~ Normal(level[t] + season[t], var = s2)
"""


def _structural(rng):
    t = np.arange(60)
    y = 5 + 0.2 * t + np.cumsum(rng.normal(size=60)) * 0.4 + np.tile([1.0, -0.4, -0.6], 20) + rng.normal(size=60) * 0.5
    return {"y": y}, {"s2": 0.25, "level2": 0.15, "slope2": 0.02, "season2": 0.05}


def _structural_value(p, d):
    n = len(d["y"])
    level, slope, season = (np.zeros((n, 3 * n)) for _ in range(3))
    sd = [np.sqrt(p[k]) for k in ("level2", "slope2", "season2")]
    for t in range(n):
        if t:
            level[t], slope[t] = level[t - 1] + slope[t - 1], slope[t - 1]
        if t > 1:
            season[t] = -season[t - 1] - season[t - 2]
        level[t, t] += sd[0] if t else 1
        slope[t, n + t] += sd[1] if t else 1
        season[t, 2 * n + t] += sd[2] if t > 1 else 1
    return _marginal(d["y"], np.full(n, 5.0), level + season, p["s2"])


SERIES = """
    model ManySeries
    param a : real
    param q : positive
    param s : positive
    param b : real
    for i in I:
        for t in T[i]:
            given    u[i, t] : real
            latent   h[i, t] ~ Normal(0, 1) if t == 0 else Normal(a * h[i, t-1] + b * u[i, t], q)
            observed y[i, t] ~ Normal(h[i, t], s)
"""


def _series(rng):
    us, ys = [], []
    for n in (12, 1, 7, 20, 3, 15):
        u = rng.normal(size=n)
        h = [rng.normal()]
        for v in u[1:]:
            h.append(0.7 * h[-1] + 0.5 * v + rng.normal() * 0.6)
        us.append(u)
        ys.append(np.array(h) + rng.normal(size=n) * 0.5)
    return {"u": us, "y": ys}, {"a": 0.7, "q": 0.6, "s": 0.5, "b": 0.5}


def _series_value(p, d):
    out = 0.0
    for u, y in zip(d["u"], d["y"], strict=True):
        n = len(y)
        make, mean = np.zeros((n, n)), np.zeros(n)
        for t in range(n):
            make[t] = p["a"] * make[t - 1] if t else 0
            mean[t] = p["a"] * mean[t - 1] + p["b"] * u[t] if t else 0
            make[t, t] += p["q"] if t else 1
        out += _marginal(y, mean, make, p["s"] ** 2)
    return out


CROSSED = """
    model Crossed
    param m : real
    param su : positive
    param sv : positive
    param s : positive
    for i in I:
        latent u[i] ~ Normal(0, su)
    for j in J:
        latent v[j] ~ Normal(0, sv)
    for n in N:
        given    a[n] : index[I]
        given    b[n] : index[J]
        observed y[n] ~ Normal(m + u[a[n]] + v[b[n]], s)
"""


def _crossed(rng):
    a = np.concatenate([np.arange(12), rng.integers(0, 12, 100)])
    b = np.concatenate([np.arange(8), rng.integers(0, 8, 104)])
    y = 2 + rng.normal(size=12)[a] * 1.2 + rng.normal(size=8)[b] * 0.8 + rng.normal(size=112) * 0.6
    return {"a": a, "b": b, "y": y}, {"m": 2.0, "su": 1.2, "sv": 0.8, "s": 0.6}


def _crossed_value(p, d):
    make = np.concatenate([np.eye(12)[d["a"]] * p["su"], np.eye(8)[d["b"]] * p["sv"]], 1)
    return _marginal(d["y"], np.full(len(d["y"]), p["m"]), make, p["s"] ** 2)


NESTED = """
    model Nested
    param m : real
    param sc : positive
    param sp : positive
    param load : real[2]
    param s : positive[2]
    for c in C:
        latent school[c] ~ Normal(m, sc)
    for p in P:
        given    where[p] : index[C]
        latent   pupil[p] ~ Normal(school[where[p]], sp)
        observed x[p] ~ MvNormal(load * pupil[p], diag(s))
"""


def _nested(rng):
    where = np.concatenate([np.arange(10), rng.integers(0, 10, 70)])
    pupil = 3 + rng.normal(size=10)[where] + rng.normal(size=80) * 0.7
    x = pupil[:, None] * np.array([1.0, -0.5]) + rng.normal(size=(80, 2)) * 0.5
    return {"where": where, "x": x}, {"m": 3.0, "sc": 1.0, "sp": 0.7, "load": np.array([1.0, -0.5]),
                                      "s": np.array([0.25, 0.25])}  # fmt: skip


def _nested_value(p, d):
    make = np.concatenate([np.eye(10)[d["where"]] * p["sc"], np.eye(80) * p["sp"]], 1)
    make, mean = np.kron(make, p["load"][:, None]), np.tile(p["load"] * p["m"], 80)
    return _marginal(d["x"].ravel(), mean, make, np.tile(p["s"], 80))


TREE = """
    model Traits
    param m : real
    param q : positive
    param s : positive
    for i in N:
        given    parent[i] : index[N]
        latent   h[i] ~ Normal(m, 2) if i == 0 else Normal(h[parent[i]], q)
        observed y[i] ~ Normal(h[i], s)
"""


def _tree(rng):
    parent = np.array([0, *(rng.integers(max(0, i - 6), i) for i in range(1, 60))])
    h = [rng.normal() * 2]
    for i in range(1, 60):
        h.append(h[parent[i]] + rng.normal() * 0.8)
    return {"parent": parent, "y": np.array(h) + rng.normal(size=60) * 0.5}, {"m": 0.0, "q": 0.8, "s": 0.5}


def _tree_value(p, d):
    make = np.zeros((60, 60))
    for i in range(60):
        make[i] = make[d["parent"][i]] if i else 0
        make[i, i] = p["q"] if i else 2
    return _marginal(d["y"], np.full(60, p["m"]), make, p["s"] ** 2)


COEFFICIENTS = """
    model DriftingCoefficients
    param q : positive[2]
    param s : positive
    param m : real[2]
    for t in T:
        given    x[t] : real[2]
        latent   beta[t] ~ MvNormal(m, eye(2)) if t == 0 else MvNormal(beta[t-1], diag(q))
        observed y[t] ~ Normal(x[t] @ beta[t], s)
"""


def _drift(rng):
    x = np.stack([np.ones(80), rng.normal(size=80)], 1)
    beta = np.array([1.0, -1.0]) + np.cumsum(rng.normal(size=(80, 2)) * np.sqrt([0.1, 0.05]), 0)
    y = (x * beta).sum(1) + rng.normal(size=80) * 0.5
    return {"x": x, "y": y}, {"q": np.array([0.1, 0.05]), "s": 0.5, "m": np.array([1.0, -1.0])}


def _drift_value(p, d):
    make = np.zeros((80, 160))
    for k in range(2):
        walk = np.tril(np.ones((80, 80))) * np.sqrt(p["q"][k])
        walk[:, 0] = 1.0
        make[:, 80 * k : 80 * (k + 1)] = d["x"][:, [k]] * walk
    return _marginal(d["y"], d["x"] @ p["m"], make, p["s"] ** 2)


KALMAN, JOINT = "exact:kalman", "exact:gaussian"
# A vector over all rows beside effects of groups: a row reads its own entry of one, its group's element of the other.
KINSHIP = """
    model Kinship
    param m : real
    param va : positive
    param vc : positive
    param ve : positive
    given K : spd[N]
    latent a ~ MvNormal(zeros(N), va * K)
    for f in F:
        latent c[f] ~ Normal(0, var = vc)
    for n in N:
        given    fam[n] : index[F]
        observed y[n] ~ Normal(m + a[n] + c[fam[n]], var = ve)
"""


def _kinship(rng):
    fam = np.repeat(np.arange(15), 4)
    one = np.array([[1, 0, 0.5, 0.5], [0, 1, 0.5, 0.5], [0.5, 0.5, 1, 0.5], [0.5, 0.5, 0.5, 1]])
    K = np.kron(np.eye(15), one)
    y = 1 + np.linalg.cholesky(K) @ rng.normal(size=60) + rng.normal(size=15)[fam] + rng.normal(size=60) * 0.7
    return {"K": K, "fam": fam, "y": y}, {"m": 1.0, "va": 1.0, "vc": 1.0, "ve": 0.5}


def _kinship_value(p, d):
    make = np.concatenate([np.linalg.cholesky(p["va"] * d["K"]), np.sqrt(p["vc"]) * np.eye(15)[d["fam"]]], 1)
    return _marginal(d["y"], np.full(60, p["m"]), make, p["ve"])


CASES = [
    Case("kinship beside families", KINSHIP, _kinship, _kinship_value, plan={"a": JOINT, "c": JOINT}, near=True),
    Case("local level with gaps", LEVEL, _level, _level_value, plan={"h": KALMAN}),
    Case("linear system", SYSTEM, _system, _system_value, plan={"h": KALMAN}, near=True),
    Case("trend and season", STRUCTURAL, _structural, _structural_value,
         plan={"level": KALMAN, "slope": KALMAN, "season": KALMAN}, near=True),
    Case("many driven series", SERIES, _series, _series_value, plan={"h": KALMAN}),
    Case("crossed effects", CROSSED, _crossed, _crossed_value, plan={"u": JOINT, "v": JOINT}),
    Case("nested effects of vectors", NESTED, _nested, _nested_value,
         plan={"school": JOINT, "pupil": JOINT}, near=True),
    Case("traits on a tree", TREE, _tree, _tree_value, options={"N": 60}, plan={"h": JOINT}),
    Case("drifting coefficients", COEFFICIENTS, _drift, _drift_value, plan={"beta": KALMAN}),
]  # fmt: skip
