"""Latents of which parts have no noise, against one dense Gaussian: noises carried forward through the model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from gallery import fit, table, written
from scipy.optimize import minimize
from scipy.stats import multivariate_normal, norm

import emdsl
from emdsl.runtime.fields.constrained import constrained_moments

pytestmark = pytest.mark.filterwarnings("ignore::emdsl.runtime.data.faults.ConvergenceWarning")

TREND = np.array([[1.0, 1.0], [0.0, 1.0]])
HEAD = "model M\nparam q : positive\nparam r : positive\n"


@dataclass(frozen=True)
class Linear:
    """c + a e, e standard normal noises."""

    c: Any
    a: Any

    def __add__(self, other: Linear) -> Linear:
        return Linear(self.c + other.c, self.a + other.a)

    def __rmatmul__(self, m: Any) -> Linear:
        return Linear(m @ self.c, m @ self.a)

    def part(self, *i: int) -> Linear:
        return Linear(self.c[list(i)], self.a[list(i)])


class Noises:
    """A new noise for each number that is asked for."""

    __array_priority__ = 1000

    def __init__(self, most: int = 400) -> None:
        self.most, self.used = most, 0

    def normal(self, mean: Any, cov: Any) -> Linear:
        root = np.linalg.svd(np.atleast_2d(cov))
        a = np.zeros((len(root[1]), self.most))
        a[:, self.used : self.used + len(root[1])] = root[0] * np.sqrt(root[1])
        self.used += len(root[1])
        noise = Linear(np.zeros(len(a)), a)
        return mean + noise if isinstance(mean, Linear) else Linear(np.asarray(mean, float) + noise.c, a)


Linear.__array_priority__ = 1000  # type: ignore[attr-defined]


def dense(states: list[Linear], seen: list[Linear], y: Any) -> tuple[float, Any, Any]:
    """Log density of y where it is seen; means and covariances of the states given it."""
    y = np.ravel(y)
    held = ~np.isnan(y)
    c, a = (np.concatenate([getattr(s, k) for s in seen])[held] for k in ("c", "a"))
    cov = a @ a.T
    value = multivariate_normal(c, cov).logpdf(y[held])
    means, covs = [], []
    for s in states:
        gain = np.linalg.solve(cov, a @ s.a.T).T
        left = s.a - gain @ a
        means.append(s.c + gain @ (y[held] - c))
        covs.append(left @ left.T)
    return float(value), np.array(means), np.array(covs)


def chain(n: Noises, first: Linear, step: Callable[[Linear], Linear], rows: int = 9) -> list[Linear]:
    out = [first]
    for _ in range(rows - 1):
        out.append(step(out[-1]))
    return out


def integrated_trend(n: Noises) -> tuple[list[Linear], list[Linear]]:
    first = n.normal([1, 2], 3 * np.eye(2))
    s = chain(n, first, lambda s: n.normal(TREND @ s, np.diag([0, 0.5])))
    return s, [n.normal(u.part(0), [[0.8]]) for u in s]


def constant_slope(n: Noises) -> tuple[list[Linear], list[Linear]]:
    s = chain(n, n.normal([1, 2], np.diag([0, 3])), lambda s: n.normal(TREND @ s, np.diag([0.5, 0])))
    return s, [n.normal(u.part(0), [[0.8]]) for u in s]


def seasons(n: Noises) -> tuple[list[Linear], list[Linear]]:
    turn = np.array([[-1, -1, -1], [1, 0, 0], [0, 1, 0]])
    s = chain(n, n.normal(np.zeros(3), 2 * np.eye(3)), lambda s: n.normal(turn @ s, np.diag([0.5, 0, 0])))
    level = chain(n, n.normal([0.0], [[4.0]]), lambda u: n.normal(u, [[0.5]]))
    return s, [n.normal(u.part(0) + v, [[0.8]]) for u, v in zip(s, level, strict=True)]


def one_shock(n: Noises) -> tuple[list[Linear], list[Linear]]:
    g, f = np.array([1, 0.4]), np.array([[0.5, 1.0], [0.0, 0.0]])
    s = chain(n, n.normal([0, 0], np.eye(2)), lambda s: n.normal(f @ s, 0.5 * np.outer(g, g)))
    return s, [n.normal(u.part(0), [[0.8]]) for u in s]


def two_shocks(n: Noises) -> tuple[list[Linear], list[Linear]]:
    g = np.array([[1, 0], [0.5, 1], [0.2, -1]])
    s = chain(n, n.normal(np.zeros(3), np.eye(3)), lambda s: n.normal(0.9 * np.eye(3) @ s, 0.5 * g @ g.T))
    return s, [n.normal(np.array([[1, 0, 1], [0, 1, 0]]) @ u, 0.8 * np.eye(2)) for u in s]


def rotation(n: Noises) -> tuple[list[Linear], list[Linear]]:
    f = np.array([[0.9, 0.3], [-0.3, 0.9]])
    s = chain(n, n.normal([1, 2], 0.5 * np.eye(2)), lambda s: f @ s)
    return s, [n.normal(np.array([[1, -1]]) @ u, [[0.8]]) for u in s]


def groups(n: Noises) -> tuple[list[Linear], list[Linear]]:
    b = [n.normal([1, 0.5], np.diag([0.5, 0])) for _ in range(3)]
    return b, [n.normal(np.array([[1, k / 4]]) @ b[k % 3], [[0.8]]) for k in range(9)]


def seen_itself(n: Noises) -> tuple[list[Linear], list[Linear]]:
    s = chain(n, n.normal([1, 2], 3 * np.eye(2)), lambda s: n.normal(TREND @ s, np.diag([0.5, 0.8])))
    return s, [u.part(0) for u in s]


def seen_together(n: Noises) -> tuple[list[Linear], list[Linear]]:
    s = chain(n, n.normal([1, 2], 3 * np.eye(2)), lambda s: n.normal(TREND @ s, 0.5 * np.eye(2)))
    return s, [2 * np.eye(1) @ u.part(0) + n.normal([0.0], [[0.8]]) for u in s]


def series(covariance: str, start: str, step: str, seen: str) -> str:
    return (
        f"{HEAD}for t in T:\n    latent   s[t] ~ {start} if t == 0 else MvNormal({step} @ s[t-1], {covariance})\n"
        f"    observed y[t] ~ {seen}\n"
    )


FIRST = "Normal(s[t][0], var = r)"
MODELS: dict[str, tuple[str, Callable[[Noises], tuple[list[Linear], list[Linear]]]]] = {
    "integrated trend": (
        series("diag([0, q])", "MvNormal([1, 2], 3 * eye(2))", "[[1, 1], [0, 1]]", FIRST), integrated_trend),
    "constant slope": (
        series("[[q, 0], [0, 0]]", "MvNormal([1, 2], [[0, 0], [0, 3]])", "[[1, 1], [0, 1]]", FIRST), constant_slope),
    "seasons beside a level": (
        HEAD + "for t in T:\n    latent   l[t] ~ Normal(0, 2) if t == 0 else Normal(l[t-1], var = q)\n"
        "    latent   s[t] ~ MvNormal(zeros(3), 2 * eye(3)) if t == 0"
        " else MvNormal([[-1, -1, -1], [1, 0, 0], [0, 1, 0]] @ s[t-1], diag([q, 0, 0]))\n"
        "    observed y[t] ~ Normal(l[t] + s[t][0], var = r)\n", seasons),
    "one shock": (
        series("q * outer([1, 0.4], [1, 0.4])", "MvNormal([0, 0], eye(2))", "[[0.5, 1], [0, 0]]", FIRST), one_shock),
    "two shocks": (
        HEAD + "let G = [[1, 0], [0.5, 1], [0.2, -1]]\nfor t in T:\n    latent   s[t] ~ MvNormal(zeros(3), eye(3))"
        " if t == 0 else MvNormal(0.9 * s[t-1], G @ diag([q, q]) @ G.T)\n"
        "    observed y[t] : real[2] ~ MvNormal([s[t][0] + s[t][2], s[t][1]], r * eye(2))\n", two_shocks),
    "rotation": (
        HEAD + "for t in T:\n    latent   s[t] ~ MvNormal([1, 2], q * eye(2)) if t == 0"
        " else Delta([[0.9, 0.3], [-0.3, 0.9]] @ s[t-1])\n    observed y[t] ~ Normal(s[t][0] - s[t][1], var = r)\n",
        rotation),
    "seen itself": (
        series("diag([q, r])", "MvNormal([1, 2], 3 * eye(2))", "[[1, 1], [0, 1]]", "Delta(s[t][0])"), seen_itself),
    "seen together": (
        series("q * eye(2)", "MvNormal([1, 2], 3 * eye(2))", "[[1, 1], [0, 1]]", "Delta(2 * s[t][0] + u[t])")
        + "    latent u[t] ~ Normal(0, var = r)\n", seen_together),
    "groups": (
        HEAD + "for j in J:\n    latent s[j] ~ MvNormal([1, 0.5], diag([q, 0]))\nfor n in N:\n"
        "    given g[n] : index[J]\n    given x[n] : real\n"
        "    observed y[n] ~ Normal(s[g[n]][0] + s[g[n]][1] * x[n], var = r)\n", groups),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_parts_without_noise(name: str) -> None:
    """Log-likelihood, means and covariances with gaps; five steps climb, and are true of what is reported."""
    text, truth = MODELS[name]
    n = Noises()
    states, seen = truth(n)
    rng = np.random.default_rng(3)
    noises = rng.normal(size=n.most)
    y = np.array([s.c + s.a @ noises for s in seen])
    y[[2, 5]] = np.nan
    wanted, means, covs = dense(states, seen, y)
    data: dict[str, Any] = {"y": y if y.shape[1] > 1 else y[:, 0]}
    if name == "groups":
        data |= {"g": np.arange(9) % 3, "x": np.arange(9) / 4}
    model = written(text)
    at = model.fitter(init={"q": 0.5, "r": 0.8}, max_iter=0).fit(data)
    assert at.log_likelihood_ == pytest.approx(wanted, abs=1e-9)
    np.testing.assert_allclose(at.posterior_["s"]["mean"], means, atol=1e-9)
    np.testing.assert_allclose(at.posterior_["s"]["cov"], covs, atol=1e-10)
    assert model.plan["s"].method.startswith("exact") and "no noise" in model.plan["s"].reason
    steps = model.fitter(init={"q": 0.5, "r": 0.8}, max_iter=5, tol=0).fit(data)
    assert (np.diff(steps.history_) > -1e-9).all()


SPELT = {
    "diag([q, 0, 0])": (
        "let v = [q, 0, 0]\nlet C = diag(v)\n", "C", "diag([2 * q, 0, 0]) / 2", "q * [[1, 0, 0], [0, 0, 0], [0, 0, 0]]",
        "q / 2 * outer([1, 0, 0], [1, 0, 0]) + diag([q / 2, 0, 0])", "diag([q, 0, 0]) + 0 * eye(3)"),
    "diag([q, r, 0])": (
        "let G = [[1, 0, 0], [0, 1, 0], [0, 0, 1]]\n", "G @ diag([q, r, 0]) @ G.T",
        "q * outer([1, 0, 0], [1, 0, 0]) + r * outer([0, 1, 0], [0, 1, 0])"),
    "q * [[1, 2, 0], [2, 4, 0], [0, 0, 0]]": (  # entries that are not 0 were taken for as many noises
        "let C = [[q, 2*q, 0], [2*q, 4*q, 0], [0, 0, 0]]\n", "C", "q * outer([1, 2, 0], [1, 2, 0])"),
    "zeros(3, 3)": ("", "0 * eye(3)", "outer(zeros(3), zeros(3))"),
}  # fmt: skip


@pytest.mark.parametrize("covariance", SPELT)
def test_parts_without_noise_however_they_are_written(covariance: str) -> None:
    """A noise of 0 times a matrix was refused, in directions that depend on nothing at all.

    By one spelling q has a closed form, by another a search, which ends within 1e-7 of it.
    """
    lets, *others = SPELT[covariance]
    turn, data = "[[1, 1, 0], [0, 1, 0.5], [0, 0.3, 0.6]]", {"y": np.array([0.3, 2.0, np.nan, 4.5, 3.0, 5.0])}
    found = []
    for spelt in (covariance, *others):
        text = series(spelt, "MvNormal([1, 2, 0], 3 * eye(3))", turn, "Normal(s[t][0] + s[t][2], var = r)")
        fitter = written(text.replace("for t", f"{lets}for t", 1)).fitter(init={"q": 0.5, "r": 0.8}, max_iter=2, tol=0)
        found.append(fitter.fit(data).history_)
    np.testing.assert_allclose(found[1:], found[:1] * len(others), rtol=1e-7)


def test_data_without_noise_that_follow_from_one_another() -> None:
    text = "param q : positive\nlatent b ~ Normal(0, q)\nfor n in N:\n    latent u[n] ~ Normal(0, 1)\n"
    text = f"model M\n{text}    observed x[n] ~ Delta(b + u[n])\n    observed y[n] ~ Delta(b + u[n] + 1)\n"
    with pytest.raises(emdsl.DataError, match="follow from one another"):
        written(text).fitter(max_iter=0, init={"q": 0.5}).fit({"x": [1.0, 2.0], "y": [2.0, 3.5]})


SWITCHED = HEAD + (
    "for n in N:\n    latent z[n] ~ Bernoulli(0.4)\n    for t in T[n]:\n"
    "        latent   s[n,t] ~ MvNormal([0, 0], eye(2)) if t == 0 else ("
    "MvNormal([[1, 1], [0, 1]] @ s[n,t-1], diag([0, q])) if z[n] == 0 else MvNormal(s[n,t-1], diag([q, 0])))\n"
    "        observed y[n,t] ~ Normal(s[n,t][0], var = r)\n"
)


def test_a_class_says_which_part_has_no_noise() -> None:
    """Ragged series, of lengths 0 and 1 too, each in one of two classes: all classes enumerated."""
    rng = np.random.default_rng(4)
    y = [rng.normal(size=k).cumsum() for k in (5, 0, 1, 4)]
    y[3][1] = np.nan
    wanted = []
    for series_ in y:
        each = []
        for z, p in enumerate((0.6, 0.4)):
            n = Noises()
            f, noise = (np.eye(2), np.diag([0.5, 0])) if z else (TREND, np.diag([0, 0.5]))
            s = chain(n, n.normal([0, 0], np.eye(2)), lambda u, f=f, c=noise, n=n: n.normal(f @ u, c), len(series_))
            seen = [n.normal(u.part(0), [[0.8]]) for u in s]
            each.append(np.log(p) + (dense([], seen, series_)[0] if len(series_) else 0.0))
        wanted.append(np.logaddexp(*each))
    found = written(SWITCHED).fitter(init={"q": 0.5, "r": 0.8}, max_iter=0).fit({"y": y})
    assert found.log_likelihood_ == pytest.approx(sum(wanted), abs=1e-9)
    np.testing.assert_allclose(found.score_samples({"y": y}), wanted, atol=1e-9)


def test_arma_of_the_nile() -> None:
    """The maximum that statsmodels 0.15 finds by BFGS for the same state space (MLEModel, a start that is known)."""
    start = {"level": 9.0, "phi": [0.12, 0.63], "theta": 1.08, "shock": 0.27, "noise": 1.25}
    flow = table("nile")["flow"].astype(float) / 100
    est = fit("arma", {"y": flow, "spread": 4.0}, init=start, tol=1e-11)
    assert (np.diff(est.history_) > -1e-9).all()
    assert est.log_likelihood_ == pytest.approx(-176.08839361, abs=1e-7)
    np.testing.assert_allclose(est.params_["phi"], [0.1217, 0.6330], atol=2e-4)


def test_long_chains_keep_their_digits() -> None:
    """20,000 steps of a slope that never changes: every covariance is semidefinite, and the last a filter's."""
    rows, q, r = 20_000, 0.1, 0.8
    k, below = np.zeros((rows, 3, 3)), np.zeros((rows - 1, 3, 3))
    k[:, 0, 0] = 1 / r
    k[0, :2, :2] += np.eye(2)
    k[0, 2, 2] = 1.0
    k[1:, 0, 0] += 1 / q
    k[:-1, :2, :2] += np.outer([1, 1], [1, 1]) / q
    k[1:, 1, 2] = k[1:, 2, 1] = 1.0
    below[:, 0, :2], below[:, 2, 1] = -1 / q, -1.0
    v = constrained_moments(k, below, np.zeros((rows, 3)))[0][:, :2, :2]
    unit = np.sqrt(v.diagonal(0, 1, 2))
    assert np.linalg.eigvalsh(v / unit[:, :, None] / unit[:, None, :]).min() > 0
    p = np.eye(2)
    for t in range(rows):
        p = TREND @ p @ TREND.T + np.diag([q, 0]) if t else p
        gain = p[:, 0] / (p[0, 0] + r)
        a = np.eye(2) - np.outer(gain, [1, 0])
        p = a @ p @ a.T + r * np.outer(gain, gain)
    np.testing.assert_allclose(v[-1], p, rtol=1e-9)


def test_data_far_from_the_origin() -> None:
    """A trend by `F @ s[t-1]` about 1e6: the likelihood of the same data about 0, to digits that nothing cancels."""
    text = MODELS["integrated trend"][0].replace("param r", "param m : real\nparam r").replace("[1, 2]", "[m, 2]")
    y = np.random.default_rng(5).normal(size=12).cumsum()
    near, far = (
        written(text).fitter(init={"q": 0.5, "r": 0.8, "m": c}, max_iter=3, tol=0).fit({"y": y + c}) for c in (0.0, 1e6)
    )
    np.testing.assert_allclose(far.history_, near.history_, atol=1e-8)
    assert far.params_["m"] - 1e6 == pytest.approx(float(near.params_["m"]), abs=1e-8)


HARVEY = """
param mu : real
param phi : real
param theta : real
param q : positive
for t in T:
    latent s[t] ~ MvNormal([0, 0], eye(2)) if t == 0 else MvNormal([[phi, 1], [0, 0]] @ s[t-1], MIDDLE)
    observed y[t] ~ Delta(mu + s[t][0])
"""
MOVING = """
param mu : real
param phi : real
param theta : real
param q : positive
for t in T:
    latent e[t] ~ Normal(0, var = q)
    observed y[t] ~ Delta(mu + e[t] if t == 0 else mu + e[t] + phi * e[t-1] if t == 1
        else mu + e[t] + phi * e[t-1] + theta * e[t-2])
"""


def harvey(p: Any, rows: int) -> Any:
    """The covariance of an ARMA(1, 1) in Harvey's form: F V F' + q R R' carried on."""
    _, phi, theta, log_q = p
    f, v, out = np.array([[phi, 1], [0, 0]]), np.eye(2), np.zeros((rows, rows))
    for t in range(rows):
        lagged = v
        for u in range(t, rows):
            out[t, u] = out[u, t] = lagged[0, 0]
            lagged = f @ lagged
        v = f @ v @ f.T + np.exp(log_q) * np.outer([1, theta], [1, theta])
    return out


def moving(p: Any, rows: int) -> Any:
    _, phi, theta, log_q = p
    loads = np.eye(rows) + phi * np.eye(rows, k=-1) + theta * np.eye(rows, k=-2)
    return np.exp(log_q) * loads @ loads.T


@pytest.mark.parametrize(("text", "covariance"), [
    (HARVEY.replace("MIDDLE", "q * outer([1, theta], [1, theta])"), harvey),
    (HARVEY.replace("MIDDLE", "outer([2, 2 * theta], [2, 2 * theta]) * (q / 4)"), harvey),
    (MOVING, moving),
])  # fmt: skip
def test_parameters_where_there_is_no_noise(text: str, covariance: Callable[[Any, int], Any]) -> None:
    """No Q has a maximum in them; the likelihood has, and a search of the dense one finds no better."""
    rng = np.random.default_rng(4)
    y = 1e4 + np.convolve(rng.normal(size=41), [1.0, 0.5])[1:-1]
    y[[7, 8, 20]] = np.nan
    seen = ~np.isnan(y)

    def likelihood(p: Any) -> float:
        off, cov = (y - p[0])[seen], covariance(p, len(y))[np.ix_(seen, seen)]
        return float(-0.5 * (off @ np.linalg.solve(cov, off) + np.linalg.slogdet(2 * np.pi * cov)[1]))

    model = written("model M" + text)
    start = {"mu": 9999.0, "phi": 0.1, "theta": 0.2, "q": 1.5}
    assert {model.updates[n].kind for n in ("phi", "theta")} == {"gradient"}
    at_start = model.fitter(init=start, max_iter=0).fit({"y": y}).log_likelihood_
    assert at_start == pytest.approx(likelihood([9999.0, 0.1, 0.2, np.log(1.5)]), rel=1e-11)
    found = model.fitter(init=start).fit({"y": y})
    p = np.array([found.params_["mu"], found.params_["phi"], found.params_["theta"], np.log(found.params_["q"])])
    assert found.log_likelihood_ == pytest.approx(likelihood(p), rel=1e-10)
    best = minimize(lambda by: -likelihood(p + by), np.zeros(4), method="BFGS").fun
    assert found.log_likelihood_ == pytest.approx(-best, abs=1e-7)


BY_CLASS = """
model ByClass
param theta[2] : real
param q : positive
for i in S:
    latent c[i] ~ Bernoulli(0.4)
    for t in T:
        latent e[i, t] ~ Normal(0, var = q)
        observed y[i, t] ~ Delta(e[i, t]) if t == 0 else Delta(e[i, t] + theta[c[i]] * e[i, t-1])
"""


def test_a_moving_average_for_each_class() -> None:
    """Far off, where rounding alone is left, the likelihood looked like 1e34: steps stay near where they start."""
    rng = np.random.default_rng(3)
    y = rng.normal(size=(12, 8))
    y[:, 1:] += np.repeat([[0.8], [-0.5]], 6, axis=0) * y[:, :-1]

    def loss(p: Any) -> float:
        loads = [np.eye(8) + theta * np.eye(8, k=-1) for theta in p[:2]]
        rows = [multivariate_normal(np.zeros(8), np.exp(p[2]) * a @ a.T).logpdf(y) for a in loads]
        return float(-np.logaddexp(np.log(0.6) + rows[0], np.log(0.4) + rows[1]).sum())

    found = written(BY_CLASS).fitter(init={"theta": [0.3, -0.3], "q": 1.0}).fit({"y": y})
    assert found.log_likelihood_ == pytest.approx(-loss([*found.params_["theta"], np.log(found.params_["q"])]))
    best = minimize(loss, [*found.params_["theta"], np.log(found.params_["q"])], method="BFGS").fun
    assert found.log_likelihood_ == pytest.approx(-best, abs=1e-7)


@pytest.mark.parametrize("cov", [
    "s2 * ((1 - r) * eye(3) + r * ones(3, 3))",  # numbers drawn for r outside its bounds would make it singular
    "[[s2, 2 * a, 0], [2 * a, s2, 2 * a], [0, 2 * a, s2]]",  # no covariance at most values of a
])  # fmt: skip
def test_a_covariance_is_tried_where_it_is_one(cov: str) -> None:
    text = f"""
        model Equicorrelated
        param r : real(min = 0, max = 1)
        param a : real
        param s2 : positive(max = 9)
        for n in N:
            observed w[n] ~ Normal(a + r, 1)
            observed x[n] ~ MvNormal(zeros(3), {cov})
    """
    estimator = written(text).fitter(max_iter=0, init={"r": 0.4, "a": 0.2, "s2": 1.5})
    x, c = np.random.default_rng(0).normal(size=(4, 3)), np.full((3, 3), 0.6) + 0.9 * np.eye(3)
    if cov.startswith("["):
        c = np.array([[1.5, 0.4, 0], [0.4, 1.5, 0.4], [0, 0.4, 1.5]])
    value = multivariate_normal.logpdf(x, np.zeros(3), c) + norm.logpdf(0.0, 0.6)
    data = {"w": np.zeros(4), "x": x}
    np.testing.assert_allclose(estimator.fit(data).score_samples(data), value)


NEARLY = """
model Nearly
param Q : spd[2]
for t in T:
    {}
    observed y[t] ~ Normal(x[t, 0], 0.5)
"""
OWN = """latent e[t] : real[2] ~ MvNormal([0, 0], eye(2) if t == 0 else Q)
    latent x[t] : real[2] ~ Delta(e[t]) if t == 0 else Delta([[1, 0.1], [0, 0.9]] @ x[t-1] + e[t])"""
INSIDE = (
    "latent x[t] : real[2] ~ MvNormal([0, 0] if t == 0 else [[1, 0.1], [0, 0.9]] @ x[t-1], eye(2) if t == 0 else Q)"
)


def test_noise_that_is_nearly_singular() -> None:
    """Its precision drowns that of the data; with a multiplier for each density it is not inverted."""
    noise, move, steps = 1e-4 * np.array([[1.0, 1 - 1e-9], [1 - 1e-9, 1.0]]), np.array([[1.0, 0.1], [0.0, 0.9]]), 30
    y = np.random.default_rng(3).normal(size=steps)
    at = [np.linalg.matrix_power(move, k)[0] for k in range(steps)]
    ties = 0.25 * np.eye(steps)
    for i in range(steps):
        for j in range(steps):
            ties[i, j] += at[i] @ at[j] + sum(at[i - k] @ noise @ at[j - k] for k in range(1, min(i, j) + 1))
    wanted = multivariate_normal.logpdf(y, np.zeros(steps), ties)
    own, inside = (
        emdsl.compile(text=NEARLY.format(part)).fitter(max_iter=0, init={"Q": noise}) for part in (OWN, INSIDE)
    )
    assert own.fit({"y": y}).log_likelihood_ == pytest.approx(wanted, abs=1e-5)
    assert inside.fit({"y": y}).log_likelihood_ == pytest.approx(wanted, abs=1e-10)
