"""Vectors with missing cells under full covariances: each likelihood the density of what was seen, written directly."""

from __future__ import annotations

import numpy as np
from scipy.special import gammaln
from scipy.stats import invwishart, multivariate_normal

from cases import Case, mvn, pick, seen

COV = np.array([[1.0, 0.6, -0.3], [0.6, 1.5, 0.2], [-0.3, 0.2, 0.8]])
SMALL = COV[:2, :2]


def draw(rng, n, cov=COV):
    return rng.multivariate_normal(np.zeros(len(cov)), cov, n)


def gaps(rng, x, share=0.25):
    """Cells left out at random, one element wholly, of another all but one cell."""
    x = np.array(x)
    x[rng.random(x.shape) < share] = np.nan
    flat = x.reshape(-1, x.shape[-1])
    flat[3], flat[5, 1:] = np.nan, np.nan
    return x


def mixed(p, columns):
    """The log-likelihood of a mixture. Not `mix`: what is missing is latent beside the class, so Q is not of that."""
    return np.logaddexp.reduce(np.log(np.asarray(p)) + np.column_stack(columns), axis=1).sum()


MIXTURE = """
    model IncompleteMixture
    param p : simplex[K]
    param mean[K] : real[D]
    param cov[K] : spd[D]
    for n in N:
        latent   z[n] ~ Categorical(p)
        observed x[n] ~ MvNormal(mean[z[n]], cov[z[n]])
"""


def _mixture(rng):
    mean, cov = np.array([[0.0, 0], [4.0, -3]]), np.stack([SMALL, 0.5 * np.eye(2) + 0.3])
    z = pick(rng, [0.4, 0.6], 100)
    x = mean[z] + np.where(z[:, None] == 0, draw(rng, 100, SMALL), draw(rng, 100, cov[1]))
    return {"x": gaps(rng, x + 100)}, {"p": [0.4, 0.6], "mean": mean + 100, "cov": cov}


def _mixture_value(p, d):
    return mixed(p["p"], [seen(d["x"], m, c) for m, c in zip(p["mean"], p["cov"], strict=True)])


REGRESSION = """
    model IncompleteResponses
    param B : real[D, P]
    param a : real[D]
    param cov : spd[D]
    for n in N:
        given    u[n] : real[P]
        observed x[n] ~ MvNormal(a + B @ u[n], cov)
"""


def _regression(rng):
    b, a, u = np.array([[1.0, 0], [0.5, -1], [0, 2]]), np.array([1.0, 2, 3]), rng.normal(size=(90, 2))
    x = gaps(rng, a + u @ b.T + draw(rng, 90))
    return {"u": u, "x": x, "w": rng.integers(0, 3, 90).astype(float)}, {"B": b, "a": a, "cov": COV}


def _regression_value(p, d):
    return (d["w"] * seen(d["x"], p["a"] + d["u"] @ p["B"].T, p["cov"])).sum()


PRIORS = """
    model IncompleteWithPriors
    param p : simplex[2]
    param mean[2] : real[D] ~ MvNormal(zeros(D), 4 * eye(D))
    param cov : spd[D] ~ InverseWishart(6, eye(D))
    for n in N:
        latent   z[n] ~ Categorical(p)
        observed x[n] ~ MvNormal(mean[z[n]], cov)
"""


def _priors(rng):
    mean, z = np.array([[-2.0, 0], [2.0, 1]]), pick(rng, [0.5, 0.5], 70)
    return {"x": gaps(rng, mean[z] + draw(rng, 70, SMALL))}, {"p": [0.5, 0.5], "mean": mean, "cov": SMALL}


def _priors_value(p, d):
    return mixed(p["p"], [seen(d["x"], m, p["cov"]) for m in p["mean"]])


def _priors_prior(p):
    inside = sum(multivariate_normal.logpdf(m, np.zeros(2), 4 * np.eye(2)) for m in p["mean"])
    return inside + invwishart.logpdf(p["cov"], 6, np.eye(2))


CHAIN = """
    model IncompleteEmissions
    param start : simplex[2]
    param trans[2] : simplex[2]
    param mean[2] : real[D]
    param cov[2] : spd[D]
    for t in T:
        latent   z[t] ~ Categorical(start) if t == 0 else Categorical(trans[z[t-1]])
        observed x[t] ~ MvNormal(mean[z[t]], cov[z[t]])
"""


def _chain(rng):
    trans, mean = np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([[0.0, 0], [3.0, -2]])
    z = [0]
    for _ in range(49):
        z.append(rng.choice(2, p=trans[z[-1]]))
    x = gaps(rng, mean[np.array(z)] + draw(rng, 50, SMALL))
    return {"x": x}, {"start": [0.7, 0.3], "trans": trans, "mean": mean, "cov": np.stack([SMALL, SMALL])}


def _chain_value(p, d):
    emit = np.column_stack([seen(d["x"], m, c) for m, c in zip(p["mean"], p["cov"], strict=True)])
    with np.errstate(divide="ignore"):
        a, step = np.log(p["start"]) + emit[0], np.log(p["trans"])
    for e in emit[1:]:
        a = np.logaddexp.reduce(a[:, None] + step, axis=0) + e
    return np.logaddexp.reduce(a)


CORRELATED = """
    model FactorsInCorrelatedNoise
    let L = [[1.0], [0.5], [-1.0]]
    param mean[2] : real[3]
    param p : simplex[2]
    param noise : spd[3]
    for n in N:
        latent   z[n] ~ Categorical(p)
        latent   y[n] ~ MvNormal(zeros(1), eye(1))
        observed x[n] ~ MvNormal(mean[z[n]] + L @ y[n], noise)
"""
LOAD = np.array([[1.0], [0.5], [-1.0]])


def _correlated(rng):
    mean, z = np.array([[-3.0, 0, 3], [3.0, 1, 0]]), pick(rng, [0.5, 0.5], 120)
    x = mean[z] + rng.normal(size=(120, 1)) @ LOAD.T + draw(rng, 120)
    return {"x": gaps(rng, x)}, {"mean": mean, "p": [0.5, 0.5], "noise": COV}


def _correlated_value(p, d):
    cov = LOAD @ LOAD.T + p["noise"]
    return mixed(p["p"], [seen(d["x"], m, cov) for m in p["mean"]])


SCALED = """
    model IncompleteOfKnownScale
    param mean : real[D]
    param cov : spd[D]
    for n in N:
        given    w[n] : positive
        observed x[n] ~ MvNormal(mean, w[n] * cov)
"""


def _scaled(rng):
    w = rng.uniform(0.5, 3, 80)
    return {"w": w, "x": gaps(rng, 5 + np.sqrt(w)[:, None] * draw(rng, 80))}, {"mean": np.full(3, 5.0), "cov": COV}


def _scaled_value(p, d):
    return seen(d["x"], p["mean"], d["w"][:, None, None] * p["cov"]).sum()


PLATES = """
    model IncompleteInPlates
    param mean[J] : real[D]
    param prec : spd[D]
    for i in I:
        for j in J:
            observed x[i, j] ~ MvNormal(mean[j], precision = prec)
"""


def _plates(rng):
    mean = np.array([[0.0, 1, 2], [5.0, 5, 5]])
    return {"x": gaps(rng, mean + draw(rng, 80).reshape(40, 2, 3))}, {"mean": mean, "prec": np.linalg.inv(COV)}


def _plates_value(p, d):
    cov = np.linalg.inv(p["prec"])
    return sum(seen(d["x"][:, j], m, cov).sum() for j, m in enumerate(p["mean"]))


def dense(y, mean, cov):
    """Log density of what is there of one long vector."""
    y, mean = np.ravel(y), np.ravel(mean)
    there = ~np.isnan(y)
    return float(mvn(y[there], mean[there], cov[np.ix_(there, there)])[0])


LOADS = np.array([[1.0], [-0.7], [0.4]])
STATES = """
    model IncompleteSeries
    let   C = [[1.0], [-0.7], [0.4]]
    param a : real
    param R : spd[3]
    for t in T:
        latent   h[t] ~ MvNormal(zeros(1), eye(1)) if t == 0 else MvNormal(a * h[t-1], eye(1))
        observed x[t] ~ MvNormal(C @ h[t], R)
"""


def _states(rng):
    h = [rng.normal()]
    for _ in range(35):
        h.append(0.8 * h[-1] + rng.normal())
    return {"x": gaps(rng, np.array(h)[:, None] @ LOADS.T + draw(rng, 36), 0.15)}, {"a": 0.8, "R": COV}


def _states_value(p, d):
    n = len(d["x"])
    back = np.linalg.inv(np.eye(n) - np.diag(np.full(n - 1, float(p["a"])), -1))
    return dense(d["x"], np.zeros(n * 3), np.kron(back @ back.T, LOADS @ LOADS.T) + np.kron(np.eye(n), p["R"]))


LAGGED = """
    model GapsInALag
    param a : real
    param c : real
    param s : positive
    for t in T:
        observed y[t] ~ Normal(0, 1) if t == 0 else Normal(c + a * y[t-1], s)
"""


def _lagged(rng):
    y = [0.0]
    for _ in range(59):
        y.append(1 + 0.7 * y[-1] + 0.5 * rng.normal())
    y = np.array(y)
    y[[0, 4, 5, 6, 20, 40, 59]] = np.nan
    return {"y": y}, {"a": 0.7, "c": 1.0, "s": 0.5}


def _lagged_value(p, d):
    n, (a, c, s) = len(d["y"]), (float(p[k]) for k in "acs")
    step = np.eye(n) - np.diag(np.full(n - 1, a), -1)
    back = np.linalg.inv(step)
    return dense(d["y"], back @ np.r_[0, np.full(n - 1, c)], back @ np.diag(np.r_[1, np.full(n - 1, s * s)]) @ back.T)


COVARIATES = """
    model GapsInCovariates
    param m : real[P]
    param S : spd[P]
    param b : real[P]
    param c : real
    param s : positive
    for n in N:
        observed X[n] ~ MvNormal(m, S)
        observed y[n] ~ Normal(c + X[n] @ b, s)
"""


def _covariates(rng):
    m, b = np.array([10.0, 20]), np.array([1.0, -1])
    x = m + draw(rng, 120, SMALL)
    y = 2 + x @ b + 0.7 * rng.normal(size=120)
    y[rng.random(120) < 0.1] = np.nan
    return {"X": gaps(rng, x), "y": y}, {"m": m, "S": SMALL, "b": b, "c": 2.0, "s": 0.7}


def _covariates_value(p, d):
    b, s = p["b"], float(p["s"])
    cov = np.block([[p["S"], (p["S"] @ b)[:, None]], [(b @ p["S"])[None], np.array([[b @ p["S"] @ b + s * s]])]])
    return seen(np.column_stack([d["X"], d["y"]]), np.r_[p["m"], p["c"] + p["m"] @ b], cov).sum()


STAGES = """
    model TwoStagesWithGaps
    param A : real[2, 2]
    param m : real[2]
    param k : real[2]
    param S : spd[2]
    param R : spd[2]
    for n in N:
        observed x[n] ~ MvNormal(m, S)
        observed w[n] ~ MvNormal(k + A @ x[n], R)
"""


def _stages(rng):
    a, r = np.array([[1.0, -1], [0.5, 0.5]]), np.array([[0.5, 0.2], [0.2, 0.4]])
    x = draw(rng, 110, SMALL) + 1
    w = x @ a.T + draw(rng, 110, r)
    return {"x": gaps(rng, x), "w": gaps(rng, w)}, {"A": a, "m": np.ones(2), "k": np.zeros(2), "S": SMALL, "R": r}


def _stages_value(p, d):
    a, s = p["A"], p["S"]
    cov = np.block([[s, s @ a.T], [a @ s, a @ s @ a.T + p["R"]]])
    return seen(np.column_stack([d["x"], d["w"]]), np.r_[p["m"], p["k"] + a @ p["m"]], cov).sum()


GROUPS = """
    model IncompleteInGroups
    param mean : real[D]
    param between : positive
    param within : spd[D]
    for g in G:
        latent b[g] ~ MvNormal(zeros(D), between * eye(D))
    for n in N:
        given    group[n] : index[G]
        observed x[n] ~ MvNormal(mean + b[group[n]], within)
"""


def _groups(rng):
    group = np.arange(24) % 4
    x = 2 + rng.normal(size=(4, 2))[group] + draw(rng, 24, SMALL)
    return {"group": group, "x": gaps(rng, x)}, {"mean": np.full(2, 2.0), "between": 1.0, "within": SMALL}


def _groups_value(p, d):
    same = (d["group"][:, None] == d["group"]).astype(float)
    cov = np.kron(same, p["between"] * np.eye(2)) + np.kron(np.eye(24), p["within"])
    return dense(d["x"], np.tile(p["mean"], 24), cov)


STUDENT = """
    model IncompleteStudentMixture
    param p : simplex[2]
    param mean[2] : real[D]
    param cov[2] : spd[D]
    for n in N:
        latent   z[n] ~ Categorical(p)
        latent   u[n] ~ Gamma(2, 2)
        observed x[n] ~ MvNormal(mean[z[n]], cov[z[n]] / u[n])
"""


def _student(rng):
    mean, z = np.array([[-4.0, 0], [4.0, 1]]), pick(rng, [0.5, 0.5], 80)
    x = mean[z] + draw(rng, 80, SMALL) / np.sqrt(rng.gamma(2, 0.5, 80))[:, None]
    return {"x": gaps(rng, x)}, {"p": [0.5, 0.5], "mean": mean, "cov": np.stack([SMALL, SMALL])}


def seen_t(x, mean, scale, df=4.0):
    """Log density of what is there of rows of a multivariate t; of the Gaussian of the same scale, squares remain."""
    d = (~np.isnan(x)).sum(1)
    at_mean = seen(np.where(np.isnan(x), np.nan, mean), mean, scale)
    square = 2 * (at_mean - seen(x, mean, scale))
    constant = gammaln((df + d) / 2) - gammaln(df / 2) - d / 2 * np.log(df / 2)
    return constant + at_mean - (df + d) / 2 * np.log1p(square / df)


def _student_value(p, d):
    return mixed(p["p"], [seen_t(d["x"], m, c) for m, c in zip(p["mean"], p["cov"], strict=True)])


ROBUST_FACTORS = """
    model RobustFactors
    let L = [[1.0], [0.5], [-1.0]]
    param mean : real[3]
    param noise : spd[3]
    for n in N:
        latent   u[n] ~ Gamma(2, 2)
        latent   y[n] ~ MvNormal(zeros(1), eye(1) / u[n])
        observed x[n] ~ MvNormal(mean + L @ y[n], noise / u[n])
"""


def _robust(rng):
    u = rng.gamma(2, 0.5, 90)[:, None]
    x = 1 + (rng.normal(size=(90, 1)) @ LOAD.T + draw(rng, 90)) / np.sqrt(u)
    return {"x": x}, {"mean": np.ones(3), "noise": COV}


def _robust_gaps(rng):
    data, params = _robust(rng)
    return {"x": gaps(rng, data["x"])}, params


def _robust_value(p, d):
    return seen_t(d["x"], p["mean"], LOAD @ LOAD.T + p["noise"]).sum()


PAIRS = """
    model IncompletePairs
    param m : real[2]
    param c : spd[2]
    for i in N:
        for j in N if j < i:
            observed x[i, j] ~ MvNormal(m, c)
"""


def _pairs(rng):
    x = gaps(rng, draw(rng, 64, SMALL).reshape(8, 8, 2))
    return {"x": x}, {"m": np.zeros(2), "c": SMALL}


def _pairs_value(p, d):
    return seen(d["x"][np.tril_indices(8, -1)], p["m"], p["c"]).sum()


VISITS = """
    model IncompleteVisits
    param p : simplex[2]
    param mean[2] : real[2]
    param cov : spd[2]
    for s in S:
        latent z[s] ~ Categorical(p)
        for t in T[s]:
            observed x[s, t] ~ MvNormal(mean[z[s]], cov)
"""


def _visits(rng):
    mean, lengths = np.array([[0.0, 0], [4.0, 3]]), [3, 0, 5, 2, 1, 4, 6, 2, 3, 4]
    x = [gaps(rng, mean[s % 2] + draw(rng, max(k, 6), SMALL))[:k] for s, k in enumerate(lengths)]
    return {"x": x}, {"p": [0.5, 0.5], "mean": mean, "cov": SMALL}


def _visits_value(p, d):
    return sum(
        np.logaddexp.reduce([np.log(w) + seen(x, m, p["cov"]).sum() for w, m in zip(p["p"], p["mean"], strict=True)])
        for x in d["x"]
    )


CASES = [
    Case("gaps in filtered pairs", PAIRS, _pairs, _pairs_value),
    Case("gaps in visits", VISITS, _visits, _visits_value, near=True),
    Case("Student mixture with gaps", STUDENT, _student, _student_value, near=True),
    Case("robust factors", ROBUST_FACTORS, _robust, _robust_value, near=True),
    Case(
        "robust factors with gaps",
        ROBUST_FACTORS.replace("Robust", "RobustGaps"),
        _robust_gaps,
        _robust_value,
        near=True,
    ),
    Case("mixture with gaps", MIXTURE, _mixture, _mixture_value, options={"K": 2, "n_init": 3}),
    Case("responses with gaps, weighted", REGRESSION, _regression, _regression_value, weight="w"),
    Case("tied mixture with gaps and priors", PRIORS, _priors, _priors_value, _priors_prior, near=True),
    Case("chain with gaps", CHAIN, _chain, _chain_value, near=True),
    Case("factors in correlated noise with gaps", CORRELATED, _correlated, _correlated_value, near=True),
    Case("gaps under known scales", SCALED, _scaled, _scaled_value),
    Case("gaps in two plates", PLATES, _plates, _plates_value),
    Case("series with gaps in correlated noise", STATES, _states, _states_value, near=True),
    Case("gaps in a lag", LAGGED, _lagged, _lagged_value),
    Case("gaps in covariates", COVARIATES, _covariates, _covariates_value),
    Case("gaps in two stages", STAGES, _stages, _stages_value),
    Case("gaps in groups", GROUPS, _groups, _groups_value, near=True),
]
