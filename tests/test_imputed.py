"""Missing entries that the likelihood leaves out, of any kind: their mean and variance against enumeration."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise, product
from typing import Any, NamedTuple

import numpy as np
import pytest
from scipy import stats

import emdsl

nan = np.nan


class Case(NamedTuple):
    """A model, its data and parameters, and what enumeration has of `told`: (mean, variance) at the missing entries."""

    name: str
    text: str
    data: dict[str, Any]
    params: dict[str, Any]
    moments: Callable[[], tuple[Any, Any]]
    told: str = "y"


def mixed(log_weights: Any, mean: Any, var: Any) -> tuple[Any, Any]:
    """Mean and variance of a mixture; components along the first axis."""
    p = np.exp(np.asarray(log_weights) - np.max(log_weights))
    p = p / p.sum(0)
    mean, var = np.asarray(mean, float), np.asarray(var, float)
    p = p.reshape(*p.shape, *(1,) * (mean.ndim - p.ndim))
    m = (p * mean).sum(0)
    return m, (p * (var + mean**2)).sum(0) - m**2


FIRST, STEP = np.array([0.6, 0.4]), np.array([[0.8, 0.2], [0.3, 0.7]])


def paths(data: Any, logpdf: Callable[[int, float], float]) -> tuple[Any, Any]:
    """All paths of two states, and the log of their weights given one stream."""
    every = np.array(list(product(range(2), repeat=len(data))))
    log = np.log(FIRST[every[:, 0]]) + np.log(STEP[every[:, :-1], every[:, 1:]]).sum(1)
    for t, y in enumerate(data):
        if not np.isnan(y):
            log += np.array([logpdf(k, y) for k in every[:, t]])
    return every, log


def chain(name: str, params: str, family: str, values: dict[str, Any], y: Any, of: Callable[[int], Any]) -> Case:
    """A chain whose emissions are `of(state)`, a distribution of scipy."""
    text = f"""
        model Chain
        size K = 2
        {params}
        param first : simplex[K]
        param step[K] : simplex[K]
        for t in T:
            latent   z[t] ~ Categorical(first if t == 0 else step[z[t-1]])
            observed y[t] ~ {family}
    """
    discrete = hasattr(of(0).dist, "pmf")
    y = np.array(y)

    def moments() -> tuple[Any, Any]:
        every, log = paths(y, lambda k, v: of(k).logpmf(v) if discrete else of(k).logpdf(v))
        gone = every[:, np.isnan(y)]
        mean, var = (np.array([getattr(of(k), n)() for k in range(2)])[gone] for n in ("mean", "var"))
        return mixed(np.repeat(log[:, None], gone.shape[1], 1), mean, var)

    return Case(name, text, {"y": y}, {"first": FIRST, "step": STEP, **values}, moments)


A, B = np.array([0.7, 3.0]), np.array([2.5, 4.5])
COUNTS, NUMBERS = [1, nan, 6, nan, nan, 2, nan], [0.7, nan, 2.1, nan, nan, 0.2, nan]
POSITIVE, TWO = "param a[K] : positive\n        param b[K] : positive", {"a": A, "b": B}
REAL, SHARE = POSITIVE.replace("a[K] : positive", "a[K] : real"), [0.4, nan, 0.9, nan, nan, 0.2, nan]

CASES = [
    chain("poisson", POSITIVE[:21], "Poisson(a[z[t]])", {"a": A}, COUNTS, lambda k: stats.poisson(A[k])),
    chain("geometric", "param p[K] : unit", "Geometric(p[z[t]])", {"p": A / 4}, COUNTS,
          lambda k: stats.geom(A[k] / 4, loc=-1)),
    chain("negative binomial", POSITIVE, "NegativeBinomial(size = b[z[t]], mean = a[z[t]])", TWO, COUNTS,
          lambda k: stats.nbinom(B[k], B[k] / (B[k] + A[k]))),
    chain("gamma", POSITIVE, "Gamma(a[z[t]], b[z[t]])", TWO, NUMBERS, lambda k: stats.gamma(A[k], scale=1 / B[k])),
    chain("exponential", POSITIVE[:21], "Exponential(a[z[t]])", {"a": A}, NUMBERS, lambda k: stats.expon(0, 1 / A[k])),
    chain("beta", POSITIVE, "Beta(a[z[t]], b[z[t]])", TWO, SHARE, lambda k: stats.beta(A[k], B[k])),
    chain("student", REAL, "StudentT(b[z[t]], a[z[t]], 2)", TWO, NUMBERS, lambda k: stats.t(B[k], A[k], 2)),
    chain("laplace", REAL, "Laplace(a[z[t]], b[z[t]])", TWO, NUMBERS, lambda k: stats.laplace(A[k], B[k])),
    chain("weibull", POSITIVE, "Weibull(a[z[t]], b[z[t]])", TWO, NUMBERS,
          lambda k: stats.weibull_min(A[k], scale=B[k])),
    chain("lognormal", REAL, "LogNormal(a[z[t]], b[z[t]] / 9)", TWO, NUMBERS,
          lambda k: stats.lognorm(B[k] / 9, scale=np.exp(A[k]))),
    chain("inverse gaussian", POSITIVE, "InverseGaussian(a[z[t]], b[z[t]])", TWO, NUMBERS,
          lambda k: stats.invgauss(A[k] / B[k], scale=B[k])),
    chain("inverse gamma", POSITIVE, "InverseGamma(b[z[t]], a[z[t]])", TWO, NUMBERS,
          lambda k: stats.invgamma(B[k], scale=A[k])),
]  # fmt: skip


# ---------------------------------------------------------------- structures

TREE = """
    model Tree
    size K = 2
    param first : simplex[K]
    param step[K] : simplex[K]
    param a[K] : positive
    for i in N:
        given parent[i] : index[N]
        latent   z[i] ~ Categorical(first if i == 0 else step[z[parent[i]]])
        observed y[i] ~ Exponential(a[z[i]])
"""
PARENTS, TIMES = np.array([0, 0, 0, 1, 1, 2]), np.array([1, nan, 3, 2, nan, 0.1])


def tree() -> tuple[Any, Any]:
    z = np.array(list(product(range(2), repeat=6)))
    log = np.log(FIRST[z[:, 0]]) + np.log(STEP[z[:, PARENTS[1:]], z[:, 1:]]).sum(1)
    log = log + np.nansum(stats.expon(0, 1 / A[z]).logpdf(TIMES), 1)
    mean = 1 / A[z[:, np.isnan(TIMES)]]
    return mixed(np.repeat(log[:, None], 2, 1), mean, mean**2)


PAIRS = """
    model Pairs
    size K = 2
    param first : simplex[K]
    param step[K] : simplex[K]
    param m[K, K] : positive
    for t in T:
        latent   z[t] ~ Categorical(first if t == 0 else step[z[t-1]])
        observed y[t] ~ Poisson(m[z[t], z[t]] if t == 0 else m[z[t-1], z[t]])
        observed x[t] ~ Weibull(1 + z[t], 2)
"""
M, X = np.array([[0.5, 2.0], [3.0, 5.0]]), np.array([nan, 1.0, 0.2, nan, 3.0, nan])


def pairs() -> tuple[Any, Any]:
    y = np.array(COUNTS[:6], float)
    z = np.array(list(product(range(2), repeat=6)))
    rate = M[np.concatenate([z[:, :1], z[:, :-1]], 1), z]
    log = np.log(FIRST[z[:, 0]]) + np.log(STEP[z[:, :-1], z[:, 1:]]).sum(1)
    log = log + np.nansum(stats.poisson.logpmf(y, rate), 1) + np.nansum(stats.weibull_min(1 + z, scale=2).logpdf(X), 1)
    mean = rate[:, np.isnan(y)]
    return mixed(np.repeat(log[:, None], 3, 1), mean, mean)


EFFECTS = """
    model Effects
    param a : real
    param c : real
    param s : positive
    for j in J:
        latent u[j] ~ Normal(0, s)
    for n in N:
        given    g[n] : index[J]
        given    x[n] : real
        observed y[n] ~ Poisson(exp(a + c * x[n] + u[g[n]]))
"""
GROUP, WHERE, Y6 = np.array([0, 0, 1, 1, 1, 0]), np.arange(6) / 3, np.array([1, nan, 3, 2, nan, 0.0])
U = np.linspace(-8, 8, 4001)


def effects() -> tuple[Any, Any]:
    rate = np.exp(0.5 + 0.3 * WHERE + U[:, None])
    each = np.where(np.isnan(Y6), 0, stats.poisson.logpmf(np.nan_to_num(Y6), rate))
    log = stats.norm.logpdf(U)[:, None] + np.stack([each[:, GROUP == GROUP[n]].sum(1) for n in (1, 4)], 1)
    return mixed(log, rate[:, [1, 4]], rate[:, [1, 4]])


SHARED = """
    model Shared
    param a : positive
    param b : positive
    for g in G:
        latent rate[g] ~ Gamma(a, b)
        for n in N[g]:
            observed y[g, n] ~ Exponential(rate[g])
            observed k[g, n] ~ Poisson(rate[g])
"""


def shared() -> tuple[Any, Any]:
    shape, rate = np.array([2 + 2 + 2, 2 + 1 + 3.0]), np.array([1 + 2.5 + 2, 1 + 0.4 + 1])
    mean = rate / (shape - 1)
    return mean, 2 * rate**2 / (shape - 1) / (shape - 2) - mean**2


CROSSED = """
    model Crossed
    size K = 2
    param w : simplex[K]
    param v : unit
    param b[K] : real
    for n in N:
        given    x[n] : real
        latent   z[n] ~ Categorical(w)
        latent   c[n] ~ Bernoulli(v)
        observed y[n] ~ Delta(0) if c[n] else Poisson(exp(b[z[n]] * x[n]))
        observed k[n] ~ Laplace(2 * z[n] + c[n], 1)
"""
SLOPES, K6 = np.array([0.5, -0.4]), np.array([0.3, 1.0, 2.0, nan, 3.0, 1.0])


def crossed() -> tuple[Any, Any]:
    z, c = np.array([0, 0, 1, 1])[:, None], np.array([0, 1, 0, 1])[:, None]
    log = np.log(FIRST[z] * np.where(c, 0.3, 0.7)) + stats.laplace.logpdf(K6, 2 * z + c)
    rate = np.where(c, 0, np.exp(SLOPES[z] * WHERE))
    return mixed(log[:, [1, 4]], rate[:, [1, 4]], rate[:, [1, 4]])


VECTORS = """
    model Vectors
    size K = 2
    param w : simplex[K]
    for n in N:
        latent   z[n] ~ Categorical(w)
        observed y[n] : real[D] ~ MvStudentT(5, [1.0, 2.0] * z[n], eye(D))
        observed c[n] : count[D] ~ NegativeBinomial(size = 2, mean = 1 + z[n])
        observed m[n] : count[D] ~ Multinomial([0.3, 0.7] if z[n] == 0 else [0.6, 0.4], trials = 4)
        observed d[n] : simplex[D] ~ Dirichlet([1.0, 2.0] + z[n])
"""
V2 = np.array([[1.0, 2.0], [nan, nan], [nan, nan]])


def vectors(name: str) -> Callable[[], tuple[Any, Any]]:
    def moments() -> tuple[Any, Any]:
        log = np.log(FIRST)[:, None] + np.stack(
            [
                stats.nbinom.logpmf([[0, 4], [1, 5]], 2, 2 / (3 + k)).sum(1)
                + stats.multinomial.logpmf([[3, 1], [2, 2]], 4, [[0.3, 0.7], [0.6, 0.4]][k])
                for k in range(2)
            ]
        )
        cov = np.array([[1.0, -1], [-1, 1]])
        if name == "y":
            mean, var = [[0, 0], [1, 2]], [np.eye(2) * 5 / 3] * 2
        else:
            mean, var = [[1 / 3, 2 / 3], [0.4, 0.6]], [cov * 2 / 9 / 4, cov * 0.24 / 6]
        mean = np.repeat(np.array(mean, float)[:, None], 2, 1)
        p = np.exp(log - log.max(0))
        p = (p / p.sum(0))[..., None]
        m = (p * mean).sum(0)
        square = np.array(var)[:, None] + mean[..., :, None] * mean[..., None, :]
        return m, (p[..., None] * square).sum(0) - m[..., :, None] * m[..., None, :]

    return moments


SHARES = {"w": FIRST}
VECTOR_DATA = {
    "y": V2,
    "d": np.where(np.isnan(V2), nan, [[0.2, 0.8]]),
    "c": np.array([[1, 2], [0, 4], [1, 5]]),
    "m": np.array([[2, 2], [3, 1], [2, 2]]),
}
CUT = """
    model Cut
    size K = 2
    param w : simplex[K]
    for n in N:
        latent   z[n] ~ Categorical(w)
        observed y[n] : real(min = 0) ~ Normal(3 * z[n] - 1, 1)
"""


def cut() -> tuple[Any, Any]:
    of = [stats.truncnorm(-m, np.inf, m) for m in (-1, 2)]
    mean, var = mixed(np.log(FIRST), [d.mean() for d in of], [d.var() for d in of])
    return [mean], [var]


READ = """
    model Read
    for n in N:
        observed x[n] ~ Gamma(2, 1)
        observed y[n] ~ Normal(x[n], 1)
"""
LINE = np.linspace(1e-5, 30, 300_001)[:, None]


def read() -> tuple[Any, Any]:
    x = np.repeat(LINE, 2, 1)
    return mixed(stats.gamma(2).logpdf(x) + stats.norm.logpdf([2, -1], x), x, 0 * x)


CASES += [
    Case("numbers that others read", READ, {"x": np.array([1, nan, nan]), "y": np.array([1.0, 2, -1])}, {}, read, "x"),
    Case("tree", TREE, {"y": TIMES, "parent": PARENTS}, {"first": FIRST, "step": STEP, "a": A}, tree),
    Case("pairs of states, two streams", PAIRS, {"y": np.array(COUNTS[:6]), "x": X},
         {"first": FIRST, "step": STEP, "m": M}, pairs),
    Case("lognormal effects", EFFECTS, {"y": Y6, "g": GROUP, "x": WHERE}, {"a": 0.5, "c": 0.3, "s": 1.0}, effects),
    Case("a shared rate of two streams, ragged", SHARED,
         {"y": [np.array([0.5, 2, nan]), np.array([nan, 0.4])], "k": [np.array([2, nan, 0]), np.array([3, nan])]},
         {"a": 2.0, "b": 1.0}, shared),
    Case("two latents and an atom", CROSSED, {"y": Y6, "k": K6, "x": WHERE}, {"w": FIRST, "v": 0.3, "b": SLOPES},
         crossed),
    Case("vectors of t", VECTORS, VECTOR_DATA, SHARES, vectors("y")),
    Case("vectors of shares", VECTORS, VECTOR_DATA, SHARES, vectors("d"), "d"),
    Case("a cut domain", CUT, {"y": np.array([1, nan, 3])}, SHARES, cut),
]  # fmt: skip


def flat(rows: Any) -> Any:
    return np.concatenate(rows) if isinstance(rows, list) else np.asarray(rows)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_moments_of_missing_entries(case: Case) -> None:
    fit = emdsl.compile(text=case.text).fitter(max_iter=0, init=case.params, seed=0).fit(case.data)
    found = {n: flat(a) for n, a in fit.posterior_[case.told].items()}
    y = flat(case.data[case.told])
    seen = ~np.isnan(y)
    np.testing.assert_array_equal(found["mean"][seen], y[seen])
    mean, spread = case.moments()
    np.testing.assert_allclose(found["mean"][~seen], np.ravel(mean), rtol=1e-8)
    told = found["cov" if y.ndim == 2 else "var"]
    row = seen.all(-1) if y.ndim == 2 else seen
    np.testing.assert_allclose(told[~row], spread, rtol=1e-8)
    assert not told[row].any()


HEAVY = """
    model Heavy
    param df[2] : positive
    for n in N:
        latent   z[n] ~ Bernoulli(0.4)
        observed y[n] ~ StudentT(df[z[n]], z[n], 1)
"""


@pytest.mark.parametrize("df, mean, told", [([3, 1.5], 0.4, "no finite variance"), ([3, 0.9], nan, "no mean")])
def test_moments_that_do_not_exist_are_told(df: Any, mean: float, told: str) -> None:
    fit = emdsl.compile(text=HEAVY).fitter(max_iter=0, init={"df": np.array(df)}).fit({"y": [1.0, nan]})
    with pytest.warns(UserWarning, match=f"y: 1 missing entries, the first in row 1, have {told}"):
        found = fit.posterior_["y"]
    np.testing.assert_allclose(found["mean"], [1, mean])
    assert found["var"][0] == 0 and not np.isfinite(found["var"][1])


PRODUCTS = """
    model Products
    for i in I:
        latent a[i] ~ Gamma(2, 1)
    for j in J:
        latent b[j] ~ Gamma(2, 1)
    for i in I:
        for j in J:
            observed y[i, j] ~ Poisson(a[i] * b[j])
"""


def test_moments_under_q_are_drawn_with_their_error() -> None:
    y = np.array([[1, nan, 3], [2, 2, 0]])
    fit = emdsl.compile(text=PRODUCTS).fitter().fit({"y": y})
    found, a, b = (fit.posterior_[n] for n in ("y", "a", "b"))
    mean = a["mean"][0] * b["mean"][1]
    square = (a["var"][0] + a["mean"][0] ** 2) * (b["var"][1] + b["mean"][1] ** 2)
    assert abs(found["mean"][0, 1] - mean) < 4 * found["se"][0, 1] < mean
    assert found["var"][0, 1] == pytest.approx(mean + square - mean**2, rel=0.2)
    assert (found["se"][y == y] == 0).all()


DRAWN = """
    model Drawn
    param s : positive
    for i in I:
        latent u[i] ~ Normal(0, 1)
        observed y[i] ~ Poisson(s * exp(u[i]))
        observed k[i] ~ Bernoulli(logit = u[i])
    infer u by mcmc
"""


def test_moments_beside_draws_are_those_of_quadrature() -> None:
    data, init = {"y": [4, nan, 0], "k": [nan, 1, 0]}, {"s": 1.0}
    drawn, exact = (
        emdsl.compile(text=text).fitter(max_iter=0, init=init, seed=0).fit(data).posterior_
        for text in (DRAWN, DRAWN.replace("infer u by mcmc", ""))
    )
    assert abs(drawn["y"]["mean"][1] - exact["y"]["mean"][1]) < 4 * drawn["y"]["se"][1] < 1
    np.testing.assert_allclose(drawn["k"], exact["k"], atol=0.05)
    assert "se" not in exact["y"]


BESIDE_GAPS = """
    model BesideGaps
    size K = 2
    param step[K] : simplex[K]
    for t in T:
        latent   z[t] ~ Categorical([0.6, 0.4] if t == 0 else step[z[t-1]])
        observed y[t] ~ Normal(3 * z[t] if t == 0 else 3 * z[t] + 0.5 * y[t-1], 1)
        observed k[t] ~ Poisson(1 + z[t])
"""


def test_counts_beside_gaps_that_tie_rows() -> None:
    data = {"y": [1, nan, 3, 2, nan, 0], "k": [1, nan, 3, nan, nan, 0]}
    found = emdsl.compile(text=BESIDE_GAPS).fitter(max_iter=0, init={"step": STEP}).fit(data).posterior_
    mean, gone = 1 + found["z"][:, 1], np.isnan(data["k"])
    np.testing.assert_allclose(found["k"]["mean"][gone], mean[gone], rtol=1e-12)
    np.testing.assert_allclose(found["k"]["var"][gone], (mean + (mean - 1) * (2 - mean))[gone], rtol=1e-12)


CELLS = """
    model Cells
    size K = 2
    param p[K] : simplex[D]
    param c[K] : positive[D]
    for n in N:
        latent   z[n] ~ Categorical([0.6, 0.4])
        observed m[n] ~ Multinomial(p[z[n]], trials = 5)
        observed d[n] ~ Dirichlet(c[z[n]])
"""


def test_cells_of_counts_and_shares_have_a_variance() -> None:
    data = {"m": [[nan, 2, nan], [1, 1, 3]], "d": [[0.2, 0.3, 0.5], [nan, 0.6, nan]]}
    p, c = np.array([[0.3, 0.2, 0.5], [0.6, 0.1, 0.3]]), np.array([[1, 2, 3.0], [3, 1, 1]])
    found = emdsl.compile(text=CELLS).fitter(max_iter=0, init={"p": p, "c": c}).fit(data).posterior_
    a = np.array([[d.logpdf(data["d"][0]), 0] for d in map(stats.dirichlet, c)])[:, 0]
    cell = stats.binom(3, p[:, 0] / (p[:, 0] + p[:, 2]))
    mean, var = mixed(np.log(FIRST) + stats.binom.logpmf(2, 5, p[:, 1]) + a, cell.mean(), cell.var())
    np.testing.assert_allclose([found["m"]["mean"][0, 0], found["m"]["var"][0, 0]], [mean, var], rtol=1e-12)
    counts = np.array([stats.multinomial.logpmf(data["m"][1], 5, q) for q in p])
    share = stats.beta(c[:, 0], c[:, 2])
    log = np.log(FIRST) + counts + stats.beta(c[:, 1], c[:, 0] + c[:, 2]).logpdf(0.6)
    mean, var = mixed(log, 0.4 * share.mean(), 0.16 * share.var())
    np.testing.assert_allclose([found["d"]["mean"][1, 2], found["d"]["var"][1, 2]], [0.4 - mean, var], rtol=1e-12)
    assert (found["m"]["var"][1] == 0).all() and found["d"]["var"][1, 1] == 0


LAGGED = """
    model Lagged
    size K = 2
    param first : simplex[K]
    param step[K] : simplex[K]
    param a[K] : positive
    param b : unit
    for t in T:
        latent   z[t] ~ Categorical(first if t == 0 else step[z[t-1]])
        observed y[t] ~ Poisson(a[z[t]] if t == 0 else a[z[t]] + b * y[t-1])
"""


def test_a_count_that_the_next_one_reads(tmp_path: Any) -> None:
    model = emdsl.compile(text=LAGGED)
    data = {"y": [1, nan, 6, 2]}
    fit = model.fitter(max_iter=0, init={"first": FIRST, "step": STEP, "a": A, "b": 0.4}).fit(data)
    z, y = np.array(list(product(range(2), repeat=4)))[:, None], np.tile([1, 0, 6, 2], (60, 1))
    y[:, 1] = np.arange(60)
    rate = A[z] + 0.4 * np.concatenate([np.zeros((60, 1)), y[:, :-1]], 1)
    log = (
        np.log(FIRST[z[..., 0]]) + np.log(STEP[z[..., :-1], z[..., 1:]]).sum(-1) + stats.poisson.logpmf(y, rate).sum(-1)
    )
    assert fit.log_likelihood_ == pytest.approx(np.logaddexp.reduce(log.ravel()), rel=1e-12)
    mean, var = mixed(log.ravel(), np.tile(y[:, 1], 16), np.zeros(960))
    fit.save(tmp_path / "fit.json")
    for found in (fit.posterior_["y"], emdsl.load(tmp_path / "fit.json").posterior(data)["y"]):
        np.testing.assert_allclose(found["mean"], [1, mean, 6, 2], rtol=1e-10)
        np.testing.assert_allclose(found["var"], [0, var, 0, 0], rtol=1e-9)


def test_counts_beside_one_another_that_the_next_ones_read() -> None:
    """Against forward and backward sums over states and counts; of numbers without a family likewise, on a line."""
    seen = np.array([1.0, nan, nan, nan, 6, 2])
    counts, line = np.arange(60.0), np.sinh(np.linspace(-9, 9, 801))
    width = np.cosh(np.linspace(-9, 9, 801)) * 18 / 800
    for text, density, states, volume, digits in (
        (LAGGED, stats.poisson.pmf, counts, np.ones(60), 1e-11),
        (LAGGED.replace("Poisson(", "StudentT(4, ").replace("* y[t-1])", "* y[t-1], 1)"), t_density, line, width, 1e-5),
    ):
        model = emdsl.compile(text=text)
        fit = model.fitter(max_iter=0, init={"first": FIRST, "step": STEP, "a": A, "b": 0.4}).fit({"y": seen})
        places = [(states, volume) if np.isnan(v) else (np.array([v]), np.ones(1)) for v in seen]
        joint = [FIRST[:, None] * density(places[0][0], A[:, None])]
        for (before, _), (here, w) in pairwise(places):
            rows = [STEP[:, k] @ (joint[-1] @ density(here, A[k] + 0.4 * before[:, None])) * w for k in range(2)]
            joint.append(np.array(rows))
        assert fit.log_likelihood_ == pytest.approx(np.log(joint[-1].sum()), abs=digits)


def t_density(y: Any, mean: Any) -> Any:
    return stats.t.pdf(y, 4, mean)


def test_a_number_without_a_family_that_the_next_one_reads(tmp_path: Any) -> None:
    text = """
        model Robust
        param b : real
        for t in T:
            observed y[t] ~ StudentT(4, 0 if t == 0 else b * y[t-1], 1)
            observed k[t] ~ Poisson(2)
    """
    model, data = emdsl.compile(text=text), {"y": [1, nan, 2, nan, nan, 1.0], "k": [1, 2, nan, 0, 0, 1]}
    fit = model.fitter(max_iter=0, init={"b": 0.5}).fit(data)
    line, t = np.linspace(-60, 60, 1201), stats.t(4)
    one = t.pdf(line - 0.5) * t.pdf(2 - 0.5 * line)
    two = t.pdf(line - 1)[:, None] * t.pdf(line - 0.5 * line[:, None]) * t.pdf(1 - 0.5 * line)
    value = np.log(one.sum() * two.sum() * 0.1**3 * t.pdf(1)) + stats.poisson.logpmf([1, 2, 0, 0, 1], 2).sum()
    assert fit.log_likelihood_ == pytest.approx(value, rel=1e-6)
    mean = [(one @ line) / one.sum(), (two.sum(1) @ line) / two.sum(), (two.sum(0) @ line) / two.sum()]
    fit.save(tmp_path / "fit.json")
    for found in (fit.posterior_, emdsl.load(tmp_path / "fit.json").posterior(data)):
        np.testing.assert_allclose(found["y"]["mean"][[1, 3, 4]], mean, rtol=1e-4)
        np.testing.assert_allclose(found["k"]["mean"][2], 2)
        assert found["y"]["mean"][2] == 2 and found["y"]["var"][2] == 0 < found["y"]["var"][1]
    assert np.abs(fit.forecast(1)["y"]["mean"] - 0.5) < 0.2
