"""Discrete latents that tie Gaussians of one field: given each configuration, the data are one dense Gaussian."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from scipy.special import gammaln

from structures import Structure

LOG = np.log

CROSSED = """
    model Crossed
    size K = 2
    param pi : simplex[K]
    param m[K] : real
    param s[K] : positive
    param t : positive
    param sigma : positive
    for i in G:
        latent z[i] ~ Categorical(pi)
        latent u[i] ~ Normal(m[z[i]], s[z[i]])
    for j in H:
        latent v[j] ~ Normal(0, t)
    for r in R:
        given g[r] : index[G]
        given h[r] : index[H]
        observed y[r] ~ Normal(u[g[r]] + v[h[r]], sigma)
"""


def _dense(x, mean, cov):
    """The log density of one Gaussian."""
    off = x - mean
    return -0.5 * (off @ np.linalg.solve(cov, off) + np.linalg.slogdet(2 * np.pi * cov)[1])


def _crossed(rng):
    p = {"pi": np.array([0.3, 0.7]), "m": np.array([-1.0, 2.0]), "s": np.array([0.5, 1.3]), "t": 0.8, "sigma": 0.6}
    g, h = np.array([0, 0, 1, 1, 1, 2, 3, 3, 0]), np.array([0, 1, 1, 2, 0, 2, 0, 1, 2])
    y = rng.normal(1, 2, 9)
    y[4] = np.nan
    return {"y": y, "g": g, "h": h}, p


def effects(p, d, z):
    """Of a configuration: prior mean and covariance of u and v, what reads them in the data seen, and these."""
    seen = ~np.isnan(d["y"])
    reads = np.c_[np.eye(4)[d["g"]], np.eye(3)[d["h"]]][seen]
    prior = np.diag(np.r_[p["s"][z] ** 2, np.full(3, p["t"] ** 2)])
    return np.r_[p["m"][z], np.zeros(3)], prior, reads, d["y"][seen]


def _crossed_joint(p, d, z):
    mean, prior, reads, y = effects(p, d, z["z"])
    noise = p["sigma"] ** 2 * np.eye(len(y))
    return LOG(p["pi"][z["z"]]).sum() + _dense(y, reads @ mean, reads @ prior @ reads.T + noise)


SWITCHING = """
    model Switching
    size K = 2
    param first : simplex[K]
    param trans[K] : simplex[K]
    param a[K] : real
    param q[K] : positive
    param s : positive
    for i in S:
        for t in T[i]:
            latent z[i,t] ~ Categorical(first) if t == 0 else Categorical(trans[z[i,t-1]])
            latent x[i,t] ~ Normal(0, 1) if t == 0 else Normal(a[z[i,t]] * x[i,t-1], q[z[i,t]])
            observed y[i,t] ~ Normal(x[i,t], s)
    infer z, x by exact
"""


def _switching(rng):
    p = {"first": np.array([0.4, 0.6]), "trans": np.array([[0.8, 0.2], [0.3, 0.7]]), "a": np.array([0.9, -0.5]),
         "q": np.array([0.4, 1.2]), "s": 0.5}  # fmt: skip
    return {"y": [rng.normal(0, 1.5, n) for n in (3, 0, 1, 2)]}, p


def _switching_joint(p, d, z):
    out, paths = 0.0, np.split(z["z"], np.cumsum([len(y) for y in d["y"]])[:-1])
    for path, y in ((path, y) for path, y in zip(paths, d["y"], strict=True) if len(y)):
        n = len(y)
        carry, noise = np.eye(n), np.diag(np.r_[1.0, p["q"][path[1:]] ** 2])
        for t in range(1, n):
            carry[t] += p["a"][path[t]] * carry[t - 1]
        out += LOG(p["first"][path[0]]) + sum(LOG(p["trans"][a, b]) for a, b in pairwise(path))
        out += _dense(y, np.zeros(n), carry @ noise @ carry.T + p["s"] ** 2 * np.eye(n))
    return out


# A tree within each group, as long as the group is: what an element hangs on lies in its own group.
TREES = """
    model Trees
    param w : simplex[2]
    param a[2] : real
    param q : positive
    param s : positive
    for g in G:
        latent k[g] ~ Categorical(w)
        for i in I[g]:
            given up[g, i] : index[I]
            latent h[g, i] ~ Normal(1, 1) if i == 0 else Normal(a[k[g]] * h[g, up[g, i]], q)
            observed y[g, i] ~ Normal(h[g, i], s)
"""


def _trees(rng):
    p = {"w": np.array([0.4, 0.6]), "a": np.array([0.9, -0.5]), "q": 0.6, "s": 0.5}
    up = [np.array(parents, int) for parents in ([0, 0, 0, 1], [], [0], [0, 0, 1])]
    return {"up": up, "y": [rng.normal(0, 1.5, len(u)) for u in up]}, p


def _trees_joint(p, d, z):
    out = LOG(p["w"][z["k"]]).sum()
    for k, parents, y in zip(z["k"], d["up"], d["y"], strict=True):
        n = len(y)
        carry, noise = np.eye(n), np.diag(np.r_[1.0, np.full(n, p["q"] ** 2)][:n])
        for i in range(1, n):
            carry[i] += p["a"][k] * carry[parents[i]]
        if n:
            out += _dense(y, carry[:, 0], carry @ noise @ carry.T + p["s"] ** 2 * np.eye(n))
    return out


# Pupils lie in schools and these in regions through givens: a region's class and a school's are met school by school.
NESTED = """
    model Nested
    param w : simplex[2]
    param a[2] : simplex[2]
    param m[2] : real
    param t[2] : positive
    param v : positive
    param s : positive
    for k in K:
        latent r[k] ~ Categorical(w)
    for g in G:
        given region[g] : index[K]
        latent c[g] ~ Categorical(a[r[region[g]]])
        latent u[g] ~ Normal(m[c[g]], t[r[region[g]]])
    for p in P:
        given school[p] : index[G]
        latent b[p] ~ Normal(0, v)
    for n in N:
        given pupil[n] : index[P]
        observed y[n] ~ Normal(u[school[pupil[n]]] + b[pupil[n]], s)
"""


def _nested(rng):
    p = {"w": np.array([0.4, 0.6]), "a": np.array([[0.7, 0.3], [0.2, 0.8]]), "m": np.array([-1.0, 1.5]),
         "t": np.array([0.4, 0.9]), "v": 0.7, "s": 0.5}  # fmt: skip
    data = {"region": [1, 0, 1], "school": [0, 2, 1, 0, 2], "pupil": [3, 0, 0, 1, 2, 4, 4, 2]}
    return {**{n: np.array(v) for n, v in data.items()}, "y": rng.normal(0, 1.5, 8)}, p


def _nested_joint(p, d, z):
    region, school, pupil = d["region"], d["school"], d["pupil"]
    reads = np.c_[np.eye(3)[school[pupil]], np.eye(5)[pupil]]
    prior = np.diag(np.r_[p["t"][z["r"][region]] ** 2, np.full(5, p["v"] ** 2)])
    out = LOG(p["w"][z["r"]]).sum() + LOG(p["a"][z["r"][region], z["c"]]).sum()
    cov = reads @ prior @ reads.T + p["s"] ** 2 * np.eye(8)
    return out + _dense(d["y"], reads[:, :3] @ p["m"][z["c"]], cov)


# A class for each pupil, one for each school, effects of both: the classes of a school's pupils are configurations.
PUPILS = """
    model Pupils
    param w : simplex[2]
    param a[2] : simplex[2]
    param m[2, 2] : real
    param t[2] : positive
    param v[2] : positive
    param s : positive
    for g in G:
        latent c[g] ~ Categorical(w)
        latent u[g] ~ Normal(0, t[c[g]])
    for p in P:
        given school[p] : index[G]
        latent z[p] ~ Categorical(a[c[school[p]]])
        latent b[p] ~ Normal(0, v[z[p]])
    for n in N:
        given pupil[n] : index[P]
        observed y[n] ~ Normal(m[c[school[pupil[n]]], z[pupil[n]]] + u[school[pupil[n]]] + b[pupil[n]], s)
"""


def _pupils(rng):
    p = {"w": np.array([0.4, 0.6]), "a": np.array([[0.7, 0.3], [0.2, 0.8]]), "m": np.array([[-1.0, 1.5], [0.5, 3.0]]),
         "t": np.array([0.4, 0.9]), "v": np.array([0.7, 0.2]), "s": 0.5}  # fmt: skip
    data = {"school": [0, 2, 0, 0], "pupil": [3, 0, 0, 1, 2, 1, 2]}
    return {**{n: np.array(v) for n, v in data.items()}, "y": rng.normal(0, 1.5, 7)}, p


def _pupils_joint(p, d, z):
    school, pupil = d["school"], d["pupil"]
    reads = np.c_[np.eye(3)[school[pupil]], np.eye(4)[pupil]]
    prior = np.diag(np.r_[p["t"][z["c"]], p["v"][z["z"]]] ** 2)
    out = LOG(p["w"][z["c"]]).sum() + LOG(p["a"][z["c"][school], z["z"]]).sum()
    mean = p["m"][z["c"][school[pupil]], z["z"][pupil]]
    return out + _dense(d["y"], mean, reads @ prior @ reads.T + p["s"] ** 2 * np.eye(7))


# A chain whose steps have the class of the block that they lie in: blocks are tied where one ends.
BLOCKS = """
    model Blocks
    param w : simplex[2]
    param q[2] : positive
    param s : positive
    for b in B:
        latent c[b] ~ Categorical(w)
    for t in T:
        given block[t] : index[B]
        latent h[t] ~ Normal(0, 1) if t == 0 else Normal(h[t-1], q[c[block[t]]])
        observed y[t] ~ Normal(h[t], s)
"""


def _blocks(rng):
    p = {"w": np.array([0.4, 0.6]), "q": np.array([0.3, 1.5]), "s": 0.5}
    return {"block": np.array([0, 0, 1, 1, 1, 2]), "y": rng.normal(0, 1.5, 6)}, p


def _blocks_joint(p, d, z):
    steps = np.r_[1.0, p["q"][z["c"][d["block"][1:]]]]
    sums = np.tri(6)
    cov = sums @ np.diag(steps**2) @ sums.T + p["s"] ** 2 * np.eye(6)
    return LOG(p["w"][z["c"]]).sum() + _dense(d["y"], np.zeros(6), cov)


# A Normal-Gamma of which a class moves the mean, and classes of the rows what is seen: the variance has neither.
MOVED = """
    model Moved
    param a : simplex[2]
    param b[2] : simplex[2]
    param l[2] : real
    param m[2] : real
    param k : positive
    param r : positive
    for g in G:
        latent c[g] ~ Categorical(a)
        latent w[g] ~ Gamma(r, r)
        latent e[g] ~ Normal(l[c[g]], var = 1 / (k * w[g]))
        for t in T:
            latent z[g, t] ~ Categorical(b[c[g]])
            observed y[g, t] ~ Normal(m[z[g, t]] + e[g], var = 1 / w[g])
"""


def _moved(rng):
    p = {"a": np.array([0.4, 0.6]), "b": np.array([[0.7, 0.3], [0.2, 0.8]]), "l": np.array([-1.0, 1.5])}
    return {"y": rng.normal(0, 1.5, (2, 2))}, {**p, "m": np.array([0.0, 2.0]), "k": 0.5, "r": 1.7}


def _moved_joint(p, d, z):
    r, k, y = p["r"], p["k"], d["y"] - p["m"][z["z"]]
    off = ((y - y.mean(1, keepdims=True)) ** 2).sum(1) + 2 * k / (k + 2) * (y.mean(1) - p["l"][z["c"]]) ** 2
    out = LOG(p["a"][z["c"]]) + LOG(p["b"][z["c"][:, None], z["z"]]).sum(1) + 0.5 * LOG(k / (k + 2)) - LOG(2 * np.pi)
    return (out + r * LOG(r) + gammaln(r + 1) - gammaln(r) - (r + 1) * LOG(r + off / 2)).sum()


CASES = (
    Structure("classes beside crossed effects", CROSSED, _crossed, lambda d: {"z": ((4,), 2)}, _crossed_joint,
              {"z": "exact:hybrid", "u": "exact:hybrid", "v": "exact:hybrid"}),
    Structure("a chain that switches a Gaussian chain", SWITCHING, _switching, lambda d: {"z": ((6,), 2)},
              _switching_joint, {"z": "exact:hybrid", "x": "exact:hybrid"}),
    Structure("classes of nested groups", NESTED, _nested, lambda d: {"r": ((2,), 2), "c": ((3,), 2)}, _nested_joint,
              {"r": "exact:hybrid", "c": "exact:hybrid", "u": "exact:hybrid", "b": "exact:hybrid"}),
    Structure("classes at two levels", PUPILS, _pupils, lambda d: {"c": ((3,), 2), "z": ((4,), 2)}, _pupils_joint,
              {"c": "exact:hybrid", "z": "exact:hybrid", "u": "exact:hybrid", "b": "exact:hybrid"}, {"G": 3}),
    Structure("classes beside a Normal-Gamma", MOVED, _moved, lambda d: {"c": ((2,), 2), "z": ((2, 2), 2)},
              _moved_joint, dict.fromkeys("czew", "exact:hybrid")),
    Structure("classes of blocks of a chain", BLOCKS, _blocks, lambda d: {"c": ((3,), 2)}, _blocks_joint,
              {"c": "exact:hybrid", "h": "exact:hybrid"}),
    Structure("classes of ragged trees", TREES, _trees, lambda d: {"k": ((4,), 2)}, _trees_joint,
              {"k": "exact:hybrid", "h": "exact:hybrid"}),
)  # fmt: skip
