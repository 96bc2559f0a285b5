"""Chains of discrete latents, alone and with others inside and around them."""

from __future__ import annotations

import numpy as np
from scipy.special import gammaln, log_softmax
from scipy.stats import binom
from scipy.stats import t as student

from structures import Structure, normal, poisson

LOG = np.log


def _simplex(rng, *shape):
    p = rng.dirichlet(np.ones(shape[-1]) * 2, size=shape[:-1] or None)
    return np.asarray(p).reshape(shape)


# ------------------------------------------------------------------ one sequence

POISSON = """
    model Counts
    size K = 2
    param first : simplex[K]
    param trans[K] : simplex[K]
    param rate[K] : positive
    for t in T:
        latent   z[t] ~ Categorical(first) if t == 0 else Categorical(trans[z[t-1]])
        observed x[t] ~ Poisson(rate[z[t]])
"""


def _poisson(rng):
    p = {"first": _simplex(rng, 2), "trans": _simplex(rng, 2, 2), "rate": np.array([2.0, 9.0])}
    return {"x": rng.poisson(5, 7)}, p


def _poisson_joint(p, d, z):
    z, x = z["z"], d["x"]
    out = LOG(p["first"][z[0]]) + sum(LOG(p["trans"][z[t - 1], z[t]]) for t in range(1, len(x)))
    return out + sum(poisson(x[t], p["rate"][z[t]]) for t in range(len(x)))


GAPS = """
    model Streams
    size K = 3
    param first : simplex[K]
    param trans[K] : simplex[K]
    param mean[K] : real
    param sd : positive
    param click[K] : unit
    for hour in H:
        latent   np[hour] ~ Categorical(first) if hour == 0 else Categorical(trans[np[hour-1]])
        observed self[hour] ~ Normal(mean[np[hour]], sd)
        observed on[hour] ~ Bernoulli(click[np[hour]])
"""


def _gaps(rng):
    p = {"first": _simplex(rng, 3), "trans": _simplex(rng, 3, 3), "mean": np.array([-1.0, 0.5, 3.0]), "sd": 1.2,
         "click": np.array([0.2, 0.5, 0.9])}  # fmt: skip
    x, on = rng.normal(1, 2, 6), rng.integers(0, 2, 6).astype(float)
    x[2], on[2], on[4] = np.nan, np.nan, np.nan
    return {"self": x, "on": on}, p


def _gaps_joint(p, d, z):
    z = z["np"]
    out = LOG(p["first"][z[0]]) + sum(LOG(p["trans"][z[t - 1], z[t]]) for t in range(1, len(z)))
    for t, (x, on) in enumerate(zip(d["self"], d["on"], strict=True)):
        if not np.isnan(x):
            out += normal(x, p["mean"][z[t]], p["sd"])
        if not np.isnan(on):
            out += LOG(p["click"][z[t]] if on else 1 - p["click"][z[t]])
    return out


SWITCHING = """
    model Switching
    size K = 2
    given T0 : real = 0
    param stay[K] : unit
    param a[K] : real
    param b[K] : real
    param c : real
    param sd[K] : positive
    for t in T:
        given    u[t] : real
        latent   s[t] ~ Bernoulli(0.5) if t < 1 else Bernoulli(stay[1] if s[t-1] == 1 else 1 - stay[0])
        observed y[t] ~ Normal(T0, 5) if t == 0 else Normal(a[s[t]] * y[t-1] + b[s[t]] * u[t] + c, sd[s[t]])
"""


def _switching(rng):
    p = {"stay": np.array([0.8, 0.7]), "a": np.array([0.3, -0.5]), "b": np.array([1.0, 2.0]), "c": 0.4,
         "sd": np.array([0.7, 1.5])}  # fmt: skip
    return {"u": rng.normal(size=8), "y": rng.normal(0, 2, 8)}, p


def _switching_joint(p, d, z):
    s, y = z["s"], d["y"]
    out = LOG(0.5) + normal(y[0], 0, 5)
    for t in range(1, len(y)):
        up = p["stay"][1] if s[t - 1] else 1 - p["stay"][0]
        out += LOG(up if s[t] else 1 - up)
        mean = p["a"][s[t]] * y[t - 1] + p["b"][s[t]] * d["u"][t] + p["c"]
        out += normal(y[t], mean, p["sd"][s[t]])
    return out


LAG_TWO = """
    model LagTwo
    size K = 2
    param first : simplex[K]
    param second[K] : simplex[K]
    param trans[K, K] : simplex[K]
    param mean[K] : real
    for t in T:
        latent z[t] ~ (Categorical(first) if t == 0 else Categorical(second[z[t-1]]) if t == 1
                       else Categorical(trans[z[t-2], z[t-1]]))
        observed x[t] ~ Normal(mean[z[t]], 1)
"""


def _lag_two(rng):
    p = {"first": _simplex(rng, 2), "second": _simplex(rng, 2, 2), "trans": _simplex(rng, 2, 2, 2),
         "mean": np.array([-1.0, 1.5])}  # fmt: skip
    return {"x": rng.normal(0, 2, 7)}, p


def _lag_two_joint(p, d, z):
    z, x = z["z"], d["x"]
    out = LOG(p["first"][z[0]]) + (LOG(p["second"][z[0], z[1]]) if len(x) > 1 else 0)
    out += sum(LOG(p["trans"][z[t - 2], z[t - 1], z[t]]) for t in range(2, len(x)))
    return out + normal(x, p["mean"][z], 1).sum()


SKIP = """
    model EverySecond
    size K = 2
    param first : simplex[K]
    param trans[K] : simplex[K]
    param mean[K] : real
    param shift[K] : real
    for t in T:
        latent z[t] ~ Categorical(first) if t <= 1 else Categorical(trans[z[t-2]])
        observed x[t] ~ Normal(mean[z[t]], 1) if t == 0 else Normal(mean[z[t]] + shift[z[t-1]], 1)
"""


def _skip(rng):
    p = {"first": _simplex(rng, 2), "trans": _simplex(rng, 2, 2), "mean": np.array([-1.0, 1.5]),
         "shift": np.array([0.0, 0.7])}  # fmt: skip
    return {"x": rng.normal(0, 2, 6)}, p


def _skip_joint(p, d, z):
    z, x = z["z"], d["x"]
    out = LOG(p["first"][z[:2]]).sum() + sum(LOG(p["trans"][z[t - 2], z[t]]) for t in range(2, len(x)))
    out += normal(x[0], p["mean"][z[0]], 1)
    return out + sum(normal(x[t], p["mean"][z[t]] + p["shift"][z[t - 1]], 1) for t in range(1, len(x)))


COVARIATES = """
    model Driven
    size K = 3
    param first : simplex[K]
    param base[K] : real[K] ~ Normal(0, 2)
    param slope[K] : real[K] ~ Normal(0, 2)
    param mean[K] : real
    for t in T:
        given    w[t] : real
        latent   z[t] ~ Categorical(first) if t == 0 else Categorical(logits = base[z[t-1]] + w[t] * slope[z[t-1]])
        observed x[t] ~ Normal(mean[z[t]], 1)
"""


def _covariates(rng):
    p = {"first": _simplex(rng, 3), "base": rng.normal(size=(3, 3)), "slope": rng.normal(size=(3, 3)),
         "mean": np.array([-2.0, 0.0, 2.0])}  # fmt: skip
    return {"w": rng.normal(size=5), "x": rng.normal(0, 2, 5)}, p


def _covariates_joint(p, d, z):
    z, x = z["z"], d["x"]
    out = LOG(p["first"][z[0]])
    for t in range(1, len(x)):
        out += log_softmax(p["base"][z[t - 1]] + d["w"][t] * p["slope"][z[t - 1]])[z[t]]
    return out + normal(x, p["mean"][z], 1).sum()


# ------------------------------------------------------------------ several latents

INSIDE = """
    model MixtureInsideState
    size K = 2
    size M = 2
    param first : simplex[K]
    param trans[K] : simplex[K]
    param part[K] : simplex[M]
    param mean[K, M] : real
    given sd[K, M] : positive = [[1, 0.8], [1.2, 0.7]]
    for t in T:
        latent   z[t] ~ Categorical(first) if t == 0 else Categorical(trans[z[t-1]])
        latent   c[t] ~ Categorical(part[z[t]])
        observed x[t] ~ Normal(mean[z[t], c[t]], sd[z[t], c[t]])
"""


SD = np.array([[1.0, 0.8], [1.2, 0.7]])


def _inside(rng):
    p = {"first": _simplex(rng, 2), "trans": _simplex(rng, 2, 2), "part": _simplex(rng, 2, 2),
         "mean": np.array([[-3.0, -1.0], [1.0, 4.0]])}  # fmt: skip
    return {"x": rng.normal(0, 3, 5)}, p


def _inside_joint(p, d, z):
    z, c, x = z["z"], z["c"], d["x"]
    out = LOG(p["first"][z[0]]) + sum(LOG(p["trans"][z[t - 1], z[t]]) for t in range(1, len(x)))
    return out + LOG(p["part"][z, c]).sum() + normal(x, p["mean"][z, c], SD[z, c]).sum()


FACTORIAL = """
    model Factorial
    size A = 2
    size B = 3
    param first_a : simplex[A]
    param first_b : simplex[B]
    param trans_a[A] : simplex[A]
    param trans_b[B] : simplex[B]
    param high[A] : real
    param low[B] : real
    param sd : positive
    for t in T:
        latent   a[t] ~ Categorical(first_a) if t == 0 else Categorical(trans_a[a[t-1]])
        latent   b[t] ~ Categorical(first_b) if t == 0 else Categorical(trans_b[b[t-1]])
        observed x[t] ~ Normal(high[a[t]] + low[b[t]], sd)
"""


def _factorial(rng):
    p = {"first_a": _simplex(rng, 2), "first_b": _simplex(rng, 3), "trans_a": _simplex(rng, 2, 2),
         "trans_b": _simplex(rng, 3, 3), "high": np.array([0.0, 4.0]), "low": np.array([-1.0, 0.3, 1.0]),
         "sd": 0.8}  # fmt: skip
    return {"x": rng.normal(1, 2, 4)}, p


def _factorial_joint(p, d, z):
    a, b, x = z["a"], z["b"], d["x"]
    out = LOG(p["first_a"][a[0]]) + LOG(p["first_b"][b[0]])
    out += LOG(p["trans_a"][a[:-1], a[1:]]).sum() + LOG(p["trans_b"][b[:-1], b[1:]]).sum()
    return out + normal(x, p["high"][a] + p["low"][b], p["sd"]).sum()


COUPLED = """
    model Coupled
    size K = 2
    param go[K, K] : unit
    param turn[K, K] : simplex[K]
    param mean[K] : real
    param rate[K] : positive
    for t in T:
        latent   p[t] ~ Bernoulli(0.3) if t == 0 else Bernoulli(go[p[t-1], q[t-1]])
        latent   q[t] ~ Categorical([0.6, 0.4]) if t == 0 else Categorical(turn[p[t], q[t-1]])
        observed x[t] ~ Normal(mean[p[t]], 1)
        observed y[t] ~ Poisson(rate[q[t]])
"""


def _coupled(rng):
    p = {"go": rng.uniform(0.2, 0.8, (2, 2)), "turn": _simplex(rng, 2, 2, 2), "mean": np.array([-1.0, 2.0]),
         "rate": np.array([1.0, 6.0])}  # fmt: skip
    return {"x": rng.normal(size=5), "y": rng.poisson(3, 5)}, p


def _coupled_joint(p, d, z):
    a, b = z["p"], z["q"]
    out = LOG(0.3 if a[0] else 0.7) + LOG([0.6, 0.4][b[0]])
    for t in range(1, len(a)):
        go = p["go"][a[t - 1], b[t - 1]]
        out += LOG(go if a[t] else 1 - go) + LOG(p["turn"][a[t], b[t - 1], b[t]])
    return out + normal(d["x"], p["mean"][a], 1).sum() + poisson(d["y"], p["rate"][b]).sum()


# ------------------------------------------------------------------ many sequences

RAGGED = """
    model Ragged
    size K = 2
    param first : simplex[K]
    param trans[K] : simplex[K]
    param word[K] : simplex[V]
    for s in S:
        for t in T[s]:
            latent   z[s, t] ~ Categorical(first) if t == 0 else Categorical(trans[z[s, t-1]])
            observed w[s, t] : category[V] ~ Categorical(word[z[s, t]])
"""


def _ragged(rng):
    p = {"first": _simplex(rng, 2), "trans": _simplex(rng, 2, 2), "word": _simplex(rng, 2, 3)}
    return {"w": [rng.integers(0, 3, n) for n in (3, 1, 0, 4)]}, p


def _ragged_joint(p, d, z):
    z, out, at = z["z"], 0.0, 0
    for w in d["w"]:
        own = z[at : at + len(w)]
        at += len(w)
        if len(w):
            out += LOG(p["first"][own[0]]) + LOG(p["trans"][own[:-1], own[1:]]).sum() + LOG(p["word"][own, w]).sum()
    return out


CLASSES = """
    model Kinds
    size K = 2
    size G = 2
    param share : simplex[G]
    param first : simplex[K]
    param trans[G, K] : simplex[K]
    param mean[G, K] : real
    for s in S:
        latent g[s] ~ Categorical(share)
        for t in T[s]:
            latent   z[s, t] ~ Categorical(first) if t == 0 else Categorical(trans[g[s], z[s, t-1]])
            observed x[s, t] ~ Normal(mean[g[s], z[s, t]], 1)
"""


def _classes(rng):
    p = {"share": _simplex(rng, 2), "first": _simplex(rng, 2), "trans": _simplex(rng, 2, 2, 2),
         "mean": np.array([[-2.0, 0.0], [1.0, 3.0]])}  # fmt: skip
    return {"x": [rng.normal(0, 2, n) for n in (3, 2, 2)]}, p


def _classes_joint(p, d, z):
    out, at = LOG(p["share"][z["g"]]).sum(), 0
    for s, x in enumerate(d["x"]):
        own, g = z["z"][at : at + len(x)], z["g"][s]
        at += len(x)
        out += LOG(p["first"][own[0]]) + LOG(p["trans"][g, own[:-1], own[1:]]).sum()
        out += normal(x, p["mean"][g, own], 1).sum()
    return out


PANEL = """
    model Panel
    size K = 2
    param trans[K] : simplex[K] ~ Dirichlet([3, 2])
    param first : simplex[K] ~ Dirichlet(2 * ones(K))
    param rate[K] : positive ~ Gamma(2, 0.5)
    for i in I:
        given exposure[i] : positive
        for t in T:
            latent   z[i, t] ~ Categorical(first) if t == 0 else Categorical(trans[z[i, t-1]])
            observed x[i, t] ~ Poisson(exposure[i] * rate[z[i, t]])
"""


def _panel(rng):
    p = {"first": _simplex(rng, 2), "trans": _simplex(rng, 2, 2), "rate": np.array([1.0, 5.0])}
    return {"exposure": rng.uniform(0.5, 2, 3), "x": rng.poisson(3, (3, 4))}, p


def _panel_joint(p, d, z):
    z, x = z["z"], d["x"]
    out = LOG(p["first"][z[:, 0]]).sum() + LOG(p["trans"][z[:, :-1], z[:, 1:]]).sum()
    return out + poisson(x, d["exposure"][:, None] * p["rate"][z]).sum()


# A ragged plate inside another, with a class for each row around: words of sentences of documents.
NESTED = """
    model Nested
    param share    : simplex[2]
    param first    : simplex[2]
    param trans[2] : simplex[2]
    param mean[2]  : real
    for d in D:
        for s in S[d]:
            latent g[d, s] ~ Categorical(share)
            for w in W[d, s]:
                latent   z[d, s, w] ~ (Categorical(first) if w == 0 else
                                       Categorical(trans[z[d, s, w-1]] if g[d, s] == 0 else first))
                observed x[d, s, w] ~ Normal(mean[z[d, s, w]] + s + 0.5 * W[d, s], 1)
"""


def _nested(rng):
    p = {
        "share": _simplex(rng, 2),
        "first": _simplex(rng, 2),
        "trans": _simplex(rng, 2, 2),
        "mean": np.array([-1.0, 2]),
    }
    return {"x": [[rng.normal(0, 2, n) for n in row] for row in ((2, 1), (), (0, 3))]}, p


def _nested_joint(p, d, z):
    out, at, row = 0.0, 0, 0
    for document in d["x"]:
        for s, x in enumerate(document):
            g, states = z["g"][row], z["z"][at : at + len(x)]
            row, at = row + 1, at + len(x)
            out += LOG(p["share"][g])
            for w, k in enumerate(states):
                out += LOG((p["first"] if w == 0 or g else p["trans"][states[w - 1]])[k])
                out += normal(x[w], p["mean"][k] + s + 0.5 * len(x), 1)
    return out


# A chain along an even plate inside a ragged one, whose covariate is another sequence's.
WITHIN = """
    model Within
    param first    : simplex[2]
    param trans[2] : simplex[2]
    param mean[2]  : real
    for s in S:
        given twin[s] : index[S]
        for t in T[s]:
            given u[s, t] : real
            for k in K:
                latent   z[s, t, k] ~ Categorical(first) if k == 0 else Categorical(trans[z[s, t, k-1]])
                observed x[s, t, k] ~ Normal(mean[z[s, t, k]] + u[twin[s], t] + k, 1)
"""


def _within(rng):
    p = {"first": _simplex(rng, 2), "trans": _simplex(rng, 2, 2), "mean": np.array([-1.0, 2])}
    d = {"twin": np.array([2, 1, 0]), "u": [rng.normal(size=n) for n in (1, 0, 1)]}
    return {**d, "x": [rng.normal(0, 2, (n, 3)) for n in (1, 0, 1)]}, p


def _within_joint(p, d, z):
    out = 0.0
    for s, states in zip((0, 2), z["z"], strict=True):
        out += LOG(p["first"][states[0]]) + sum(LOG(p["trans"][states[k - 1], states[k]]) for k in (1, 2))
        out += normal(d["x"][s][0], p["mean"][states] + d["u"][d["twin"][s]][0] + np.arange(3), 1).sum()
    return out


# Words of some states alone: the others share one table, and an index need only exist where its branch is taken.
PROFILE = """
    model Profile
    size K = 4
    size L = 2
    param trans[K] : simplex[K]
    param word[L] : simplex[3]
    param rest : simplex[3]
    for s in S:
        for t in T[s]:
            latent   z[s, t] ~ Categorical(trans[0]) if t == 0 else Categorical(trans[z[s, t-1]])
            observed w[s, t] ~ Categorical(word[z[s, t]]) if z[s, t] < L else Categorical(rest)
"""


def _profile(rng):
    p = {"trans": _simplex(rng, 4, 4), "word": _simplex(rng, 2, 3), "rest": _simplex(rng, 3)}
    return {"w": [np.array(w, int) for w in ([2, 0, 1], [], [1])]}, p


def _profile_joint(p, d, z):
    z, out, at = z["z"], 0.0, 0
    words = np.concatenate([p["word"], p["rest"][None], p["rest"][None]])
    for w in d["w"]:
        own = z[at : at + len(w)]
        at += len(w)
        before = np.concatenate([[0], own[:-1]])[: len(w)]
        out += LOG(p["trans"][before, own]).sum() + LOG(words[own, w]).sum()
    return out


# ------------------------------------------------------------------ conjugate latents inside

STUDENTS = """
    model Students
    size K = 2
    param first : simplex[K]
    param trans[K] : simplex[K]
    param mean[K] : real
    param sd[K] : positive
    for t in T:
        latent   z[t] ~ Categorical(first) if t == 0 else Categorical(trans[z[t-1]])
        latent   u[t] ~ Gamma(2, 2)
        observed x[t] ~ Normal(mean[z[t]], sd[z[t]] / sqrt(u[t]))
"""


def _students(rng):
    p = {"first": _simplex(rng, 2), "trans": _simplex(rng, 2, 2), "mean": np.array([-2.0, 2.0]),
         "sd": np.array([0.8, 1.3])}  # fmt: skip
    return {"x": rng.normal(0, 3, 6)}, p


def _students_joint(p, d, z):
    z = z["z"]
    out = LOG(p["first"][z[0]]) + LOG(p["trans"][z[:-1], z[1:]]).sum()
    return out + student.logpdf(d["x"], 4, p["mean"][z], p["sd"][z]).sum()


OVERDISPERSED = """
    model Overdispersed
    size K = 2
    param first : simplex[K]
    param trans[K] : simplex[K]
    param mean[K] : positive
    given shape : positive = 3
    for s in S:
        for t in T[s]:
            latent   z[s, t] ~ Categorical(first) if t == 0 else Categorical(trans[z[s, t-1]])
            latent   rate[s, t] ~ Gamma(shape, shape / mean[z[s, t]])
            observed y[s, t] ~ Poisson(rate[s, t])
"""


def _overdispersed(rng):
    p = {"first": _simplex(rng, 2), "trans": _simplex(rng, 2, 2), "mean": np.array([2.0, 11.0])}
    return {"y": [rng.poisson(6, n) for n in (4, 3)]}, p


def _overdispersed_joint(p, d, z):
    out, at = 0.0, 0
    for y in d["y"]:
        own = z["z"][at : at + len(y)]
        at += len(y)
        out += LOG(p["first"][own[0]]) + LOG(p["trans"][own[:-1], own[1:]]).sum()
        r, m = 3.0, p["mean"][own]
        out += (gammaln(r + y) - gammaln(r) - gammaln(y + 1) + r * LOG(r / (r + m)) + y * LOG(m / (r + m))).sum()
    return out


def _one(name, k):
    return lambda d: {name: ((len(next(v for v in d.values() if np.ndim(v))),), k)}


# A chain of counts, each of as many trials: their bound is that of the branches.
THINNED = """
    model Thinned
    param first : unit
    param stay : unit
    param born : unit
    for t in T:
        latent   n[t] ~ Binomial(3, first) if t == 0 else Binomial(3, (stay * n[t-1] + born * (3 - n[t-1])) / 3)
        observed y[t] ~ Binomial(n[t], 0.6)
"""


def _thinned(rng):
    return {"y": np.array([1.0, np.nan, 0.0])}, {"first": 0.4, "stay": 0.7, "born": 0.2}


def _thinned_joint(p, d, z):
    n, y = z["n"], d["y"]
    up = (p["stay"] * n[:-1] + p["born"] * (3 - n[:-1])) / 3
    seen = ~np.isnan(y)
    return binom.logpmf(n[0], 3, p["first"]) + binom.logpmf(n[1:], 3, up).sum() + binom.logpmf(y, n, 0.6)[seen].sum()


DRIVEN = """
    model Driven
    param up[2] : simplex[2]
    param move[2, 2] : simplex[2]
    param seen[2] : simplex[3]
    for t in T:
        latent   u[t] ~ Categorical([0.5, 0.5] if t == 0 else up[u[t-1]])
        latent   z[t] ~ Categorical([0.5, 0.5] if t == 0 else move[u[t], z[t-1]])
        observed x[t] ~ Categorical(seen[z[t]])
"""


def _driven(rng):
    p = {"up": _simplex(rng, 2, 2), "move": _simplex(rng, 2, 2, 2), "seen": _simplex(rng, 2, 3)}
    return {"x": rng.integers(0, 3, 5)}, p


def _driven_joint(p, d, z):
    u, z = z["u"], z["z"]
    moves = LOG(p["up"][u[:-1], u[1:]]) + LOG(p["move"][u[1:], z[:-1], z[1:]])
    return 2 * LOG(0.5) + moves.sum() + LOG(p["seen"][z, d["x"]]).sum()


DWELLING = """
    model Dwelling
    param stay[2] : simplex[3]
    param mean[2] : real
    param sd[2] : positive
    for t in T:
        latent   z[t] ~ Bernoulli(0.5 if t == 0 else ((1 - z[t-1]) if n[t-1] == 0 else z[t-1]))
        latent   n[t] ~ Categorical(stay[z[t]] if t == 0 or n[t-1] == 0 else ([1, 0, 0] if n[t-1] == 1 else [0, 1, 0]))
        observed x[t] ~ Normal(mean[z[t]], sd[z[t]])
"""


def _dwelling(rng):
    p = {"stay": _simplex(rng, 2, 3), "mean": np.array([-1.0, 2.0]), "sd": np.array([0.7, 1.5])}
    return {"x": rng.normal(0, 2, 5)}, p


def _dwelling_joint(p, d, z):
    z, left = z["z"], z["n"]
    out = LOG(0.5) + LOG(p["stay"][z[0], left[0]]) + normal(d["x"], p["mean"][z], p["sd"][z]).sum()
    for t in range(1, len(z)):
        ends = left[t - 1] == 0
        if (z[t] != z[t - 1]) != ends or not (ends or left[t] == left[t - 1] - 1):
            return -np.inf
        out += LOG(p["stay"][z[t], left[t]]) if ends else 0.0
    return out


CASES = [
    Structure("counts", THINNED, _thinned, _one("n", 4), _thinned_joint, {"n": "exact:chain"}),
    Structure("poisson", POISSON, _poisson, _one("z", 2), _poisson_joint, {"z": "exact:chain"}),
    Structure("gaps and streams", GAPS, _gaps, _one("np", 3), _gaps_joint, {"np": "exact:chain"}),
    Structure("switching", SWITCHING, _switching, _one("s", 2), _switching_joint, {"s": "exact:chain"}),
    Structure("lag two", LAG_TWO, _lag_two, _one("z", 2), _lag_two_joint, {"z": "exact:chain"}),
    Structure("lag two alone", SKIP, _skip, _one("z", 2), _skip_joint, {"z": "exact:chain"}),
    Structure("covariates", COVARIATES, _covariates, _one("z", 3), _covariates_joint, {"z": "exact:chain"}),
    Structure("mixture inside", INSIDE, _inside, lambda d: {"z": ((5,), 2), "c": ((5,), 2)}, _inside_joint,
              {"z": "exact:chain", "c": "exact:enumeration"}),
    Structure("factorial", FACTORIAL, _factorial, lambda d: {"a": ((4,), 2), "b": ((4,), 3)}, _factorial_joint,
              {"a": "exact:chain", "b": "exact:chain"}),
    Structure("coupled", COUPLED, _coupled, lambda d: {"p": ((5,), 2), "q": ((5,), 2)}, _coupled_joint,
              {"p": "exact:chain", "q": "exact:chain"}),
    Structure("a chain drives a chain", DRIVEN, _driven, lambda d: {"u": ((5,), 2), "z": ((5,), 2)}, _driven_joint,
              {"u": "exact:chain", "z": "exact:chain"}),
    Structure("dwelling", DWELLING, _dwelling, lambda d: {"z": ((5,), 2), "n": ((5,), 3)}, _dwelling_joint,
              {"z": "exact:chain", "n": "exact:chain"}),
    Structure("ragged", RAGGED, _ragged, lambda d: {"z": ((8,), 2)}, _ragged_joint, {"z": "exact:chain"},
              {"V": 3}),
    Structure("some states have words", PROFILE, _profile, lambda d: {"z": ((4,), 4)}, _profile_joint,
              {"z": "exact:chain"}),
    Structure("classes of sequences", CLASSES, _classes, lambda d: {"z": ((7,), 2), "g": ((3,), 2)},
              _classes_joint, {"z": "exact:chain", "g": "exact:enumeration"}),
    Structure("ragged in ragged", NESTED, _nested, lambda d: {"z": ((6,), 2), "g": ((4,), 2)}, _nested_joint,
              {"z": "exact:chain", "g": "exact:enumeration"}),
    Structure("even in ragged", WITHIN, _within, lambda d: {"z": ((2, 3), 2)}, _within_joint, {"z": "exact:chain"}),
    Structure("panel", PANEL, _panel, lambda d: {"z": ((3, 4), 2)}, _panel_joint, {"z": "exact:chain"}),
    Structure("student emissions", STUDENTS, _students, _one("z", 2), _students_joint, {"z": "exact:hybrid"}),
    Structure("overdispersed", OVERDISPERSED, _overdispersed, lambda d: {"z": ((7,), 2)}, _overdispersed_joint,
              {"z": "exact:hybrid"}),
]  # fmt: skip
