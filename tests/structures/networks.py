"""Discrete latents tied by data or by a grid: trees, small graphs, all to all."""

from __future__ import annotations

import numpy as np

from structures import Structure, normal, poisson
from structures.chains import LOG, _simplex

TREE = """
    model Tree
    size K = 2
    param root : simplex[K]
    param trans[K] : simplex[K]
    param mean[K] : real
    for i in N:
        given    parent[i] : index[N]
        latent   z[i] ~ Categorical(root) if i == 0 else Categorical(trans[z[parent[i]]])
        observed x[i] ~ Normal(mean[z[i]], 1)
"""


def _tree(rng):
    p = {"root": _simplex(rng, 2), "trans": _simplex(rng, 2, 2), "mean": np.array([-1.0, 2.0])}
    return {"parent": np.array([0, 0, 0, 1, 1, 2, 3]), "x": rng.normal(0, 2, 7)}, p


def _tree_joint(p, d, z):
    z = z["z"]
    out = LOG(p["root"][z[0]]) + sum(LOG(p["trans"][z[d["parent"][i]], z[i]]) for i in range(1, len(z)))
    return out + normal(d["x"], p["mean"][z], 1).sum()


FOREST = """
    model Forest
    size K = 3
    param trans[K] : simplex[K] ~ Dirichlet(1.5 * ones(K))
    param first : simplex[K] ~ Dirichlet(1.5 * ones(K))
    param rate[K] : positive ~ Gamma(2, 0.3)
    for i in N:
        given    up[i] : real
        given    mother[i] : index[N]
        latent   z[i] ~ Categorical(first) if up[i] == 0 else Categorical(trans[z[mother[i]]])
        observed x[i] ~ Poisson(rate[z[i]])
"""


def _forest(rng):
    p = {"first": _simplex(rng, 3), "trans": _simplex(rng, 3, 3), "rate": np.array([1.0, 4.0, 9.0])}
    up, mother = np.array([1.0, 0, 1, 1, 0, 1]), np.array([1, 0, 1, 2, 0, 4])
    return {"up": up, "mother": mother, "x": rng.poisson(4, 6).astype(float)}, p


def _forest_joint(p, d, z):
    z = z["z"]
    out = sum(LOG(p["trans"][z[m], z[i]] if u else p["first"][z[i]])
              for i, (u, m) in enumerate(zip(d["up"], d["mother"], strict=True)))  # fmt: skip
    return out + poisson(d["x"], p["rate"][z]).sum()


GRID = """
    model Grid
    param edge : unit
    param across[2, 2] : unit
    param mean[2] : real
    param sd : positive
    for i in I:
        for j in J:
            latent   s[i, j] ~ (Bernoulli(edge) if i == 0 or j == 0 else Bernoulli(across[s[i-1, j], s[i, j-1]]))
            observed y[i, j] ~ Normal(mean[s[i, j]], sd)
"""


def _grid(rng):
    p = {"edge": 0.4, "across": rng.uniform(0.2, 0.8, (2, 2)), "mean": np.array([-1.0, 1.0]), "sd": 1.1}
    return {"y": rng.normal(0, 1.5, (3, 3))}, p


def _grid_joint(p, d, z):
    s, out = z["s"], 0.0
    for i in range(3):
        for j in range(3):
            on = p["edge"] if i == 0 or j == 0 else p["across"][s[i - 1, j], s[i, j - 1]]
            out += LOG(on if s[i, j] else 1 - on)
    return out + normal(d["y"], p["mean"][s], p["sd"]).sum()


LINKS = """
    model Links
    size K = 2
    param share : simplex[K]
    param link[K, K] : unit
    for i in N:
        latent z[i] ~ Categorical(share)
    for i in N:
        for j in N if j != i:
            observed tie[i, j] ~ Bernoulli(link[z[i], z[j]])
"""


def _links(rng):
    p = {"share": _simplex(rng, 2), "link": rng.uniform(0.1, 0.9, (2, 2))}
    return {"tie": rng.integers(0, 2, (5, 5)).astype(float)}, p


def _links_joint(p, d, z):
    z = z["z"]
    out = LOG(p["share"][z]).sum()
    for i in range(5):
        for j in range(5):
            if i != j:
                out += LOG(p["link"][z[i], z[j]] if d["tie"][i, j] else 1 - p["link"][z[i], z[j]])
    return out


PINNED = """
    model TwoKinds
    param root : unit
    param go[2] : unit
    param rate : positive
    param mean : real
    for i in N:
        given    parent[i] : index[N]
        latent   z[i] ~ Bernoulli(root) if i == 0 else Bernoulli(go[z[parent[i]]])
        observed x[i] ~ Exponential(rate) if z[i] == 0 else Normal(mean, 1)
"""


def _pinned(rng):
    p = {"root": 0.4, "go": np.array([0.3, 0.8]), "rate": 0.7, "mean": 2.0}
    return {"parent": np.array([0, 0, 0, 1, 2]), "x": rng.exponential(2, 5)}, p


def _pinned_joint(p, d, z):
    z, out = z["z"], 0.0
    for i, x in enumerate(d["x"]):
        on = p["go"][z[d["parent"][i]]] if i else p["root"]
        out += LOG(on if z[i] else 1 - on)
        out += normal(x, p["mean"], 1) if z[i] else LOG(p["rate"]) - p["rate"] * x
    return out


# A sum over a number of elements that data point to is taken apart; under one gate it gave another posterior.
TEAMS = """
    model Teams
    param q : unit
    param skill[2] : real
    for i in I:
        latent z[i] ~ Bernoulli(q)
    for n in N:
        for h in 2:
            given who[n, h] : index[I]
        observed x[n] ~ Normal(sum(skill[z[who[n, h]]] for h in 2), 1)
"""


def _teams(rng):
    return {"who": np.array([[0, 1], [1, 2], [2, 2]]), "x": rng.normal(size=3)}, {
        "q": 0.3,
        "skill": np.array([-1.0, 2]),
    }


def _teams_joint(p, d, z):
    z = z["z"]
    return LOG(np.where(z, p["q"], 1 - p["q"])).sum() + normal(d["x"], p["skill"][z[d["who"]]].sum(1), 1).sum()


# Elements under sums of three kinds, one in a branch of another latent.
DICE = """
    model Dice
    param p : unit
    param r : positive
    for n in N:
        for j in 3:
            latent a[n, j] ~ Categorical([0.2, 0.8])
        latent c[n] ~ Bernoulli(p)
        observed y[n] ~ Poisson(r * (1 + sum(a[n, j] for j in 3)) if c[n] == 1 else r)
        observed v[n] ~ Normal([1, 2, -1] @ a[n], 1)
        observed u[n] ~ Bernoulli(logit = sum([a[n, j] for j in 3]))
"""


def _dice(rng):
    return {"y": np.array([1.0, 6.0]), "v": np.array([0.6, 3.0]), "u": np.array([0, 1])}, {"p": 0.4, "r": 1.3}


def _dice_joint(p, d, z):
    rate = p["r"] * np.where(z["c"], 1 + z["a"].sum(1), 1)
    own = LOG(np.where(z["c"], p["p"], 1 - p["p"])).sum() + LOG(np.where(z["a"], 0.8, 0.2)).sum()
    up = 1 / (1 + np.exp(-z["a"].sum(1)))
    own += normal(d["v"], z["a"] @ [1, 2, -1], 1).sum() + LOG(np.where(d["u"], up, 1 - up)).sum()
    return own + poisson(d["y"], rate).sum()


# Families of 0 and 1 and of levels in one latent that is an index: its domain is the wider one's.
MIXED = """
    model Mixed
    param p : unit
    param w : simplex[2]
    param m[2] : real
    for n in N:
        given old[n] : bool
        latent z[n] ~ Bernoulli(p) if old[n] else Categorical(w)
        observed x[n] ~ Normal(m[z[n]], 1)
"""


def _mixed(rng):
    return {"old": np.array([1, 0, 1, 0]), "x": rng.normal(size=4)}, {
        "p": 0.3,
        "w": np.array([0.6, 0.4]),
        "m": np.array([-1.0, 2]),
    }


def _mixed_joint(p, d, z):
    z = z["z"]
    share = np.where(d["old"] == 1, p["p"], p["w"][1])
    return LOG(np.where(z, share, 1 - share)).sum() + normal(d["x"], p["m"][z], 1).sum()


# Latents with axes of their own, of the domain or of the brackets: each element is one. The second was read as one.
VECTORS = """
    model Vectors
    param p : unit[2]
    param w : real[2]
    param share : simplex[2]
    param m[2] : real
    for n in N:
        latent   a[n] : bool[2] ~ Bernoulli(p)
        latent   c[n, 2] ~ Categorical(share)
        observed x[n] ~ Normal(a[n] @ w, 1)
        observed y[n] ~ Normal(sum((j + 1) * m[c[n, j]] for j in 2), 1)
"""


def _vectors(rng):
    p = {"p": np.array([0.2, 0.6]), "w": np.array([1.0, -2]), "share": np.array([0.3, 0.7])}
    return {"x": rng.normal(0, 2, 2), "y": rng.normal(0, 2, 2)}, {**p, "m": np.array([-1.0, 2])}


def _vectors_joint(p, d, z):
    a, c = z["a"], z["c"]
    out = LOG(np.where(a, p["p"], 1 - p["p"])).sum() + LOG(p["share"][c]).sum()
    return out + normal(d["x"], a @ p["w"], 1).sum() + normal(d["y"], p["m"][c] @ [1, 2], 1).sum()


CASES = [
    Structure(
        "vectors",
        VECTORS,
        _vectors,
        lambda d: {"a": ((2, 2), 2), "c": ((2, 2), 2)},
        _vectors_joint,
        {"a": "exact:chain"},
    ),
    Structure("mixed", MIXED, _mixed, lambda d: {"z": ((4,), 2)}, _mixed_joint, {"z": "exact:enumeration"}),
    Structure("teams", TEAMS, _teams, lambda d: {"z": ((3,), 2)}, _teams_joint, {"z": "exact:tree"}),
    Structure(
        "dice", DICE, _dice, lambda d: {"a": ((2, 3), 2), "c": ((2,), 2)}, _dice_joint, {"c": "exact:enumeration"}
    ),
    Structure("tree", TREE, _tree, lambda d: {"z": ((7,), 2)}, _tree_joint, {"z": "exact:tree"}),
    Structure("forest", FOREST, _forest, lambda d: {"z": ((6,), 3)}, _forest_joint, {"z": "exact:tree"}),
    Structure("two kinds on a tree", PINNED, _pinned, lambda d: {"z": ((5,), 2)}, _pinned_joint, {"z": "exact:tree"}),
    Structure("grid", GRID, _grid, lambda d: {"s": ((3, 3), 2)}, _grid_joint, {"s": "exact:tree"}),
    Structure("links", LINKS, _links, lambda d: {"z": ((5,), 2)}, _links_joint, {"z": "exact:tree"}),
]
