"""Forecasts of rows that read observations: exact moments against every path enumerated, paths against plain numpy."""

from __future__ import annotations

from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest
from gallery import fit, written
from scipy.stats import norm, poisson

from emdsl.errors import DataError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
RNG = np.random.default_rng(5)
FIRST, TRANS = np.array([0.3, 0.7]), np.array([[0.8, 0.2], [0.35, 0.65]])
AHEAD = 3


def enumerated(
    y: np.ndarray, first: np.ndarray, trans: np.ndarray, density: Any, step: Any, gain: float = 0.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """P(state), mean and variance of each row ahead: a sum over all paths of past and future states.

    density(t, k) : log p(y_t | its own past, state k). step(t, k) : (c, lags, s2) of y_t = c + lags . (y_t-1, ...) + e
    with variance s2, to which `gain` times the mean is added (a count).
    """
    total, n = 0.0, len(y)
    states, one, two = np.zeros((AHEAD, 2)), np.zeros(AHEAD), np.zeros(AHEAD)
    for path in product(range(2), repeat=n + AHEAD):
        w = first[path[0]] * np.prod([trans[i, j] for i, j in pairwise(path)])
        w *= np.exp(sum(density(t, path[t]) for t in range(n)))
        mean, cov = np.concatenate([y, np.zeros(AHEAD)]), np.zeros((n + AHEAD, n + AHEAD))
        for t in range(n, n + AHEAD):
            c, lags, s2 = step(t, path[t])
            back = np.arange(t - 1, t - 1 - len(lags), -1)
            mean[t] = c + np.dot(lags, mean[back])
            cov[t, :t] = cov[:t, t] = lags @ cov[back, :t]
            cov[t, t] = lags @ cov[np.ix_(back, back)] @ lags + s2 + gain * mean[t]
        total += w
        states[np.arange(AHEAD), path[n:]] += w
        one += w * mean[n:]
        two += w * (np.diagonal(cov)[n:] + mean[n:] ** 2)
    return states / total, one / total, two / total - (one / total) ** 2


def close(found: dict[str, Any], wanted: tuple[np.ndarray, ...], at: Any = ...) -> None:
    np.testing.assert_allclose(found["z"][at], wanted[0], rtol=1e-9)
    np.testing.assert_allclose(found["y"]["mean"][at], wanted[1], rtol=1e-9)
    np.testing.assert_allclose(found["y"]["var"][at], wanted[2], rtol=1e-8)
    assert "se" not in found["y"]


LEVEL, SLOPE, SD = np.array([1.0, -1.0]), np.array([0.5, -0.6]), np.array([0.7, 1.2])


@pytest.mark.parametrize("shift", [0.0, 1e6])
def test_a_switching_autoregression(shift: float) -> None:
    """Also where the data lie far from the origin; and quantiles of paths beside the exact moments."""
    y = RNG.normal(size=5)
    moved = LEVEL + shift * (1 - SLOPE)  # the same series, counted from elsewhere
    params = {"first": FIRST, "trans": TRANS, "level": moved, "slope": SLOPE, "sd": SD}
    est = fit("ar_hmm", {"y": y + shift, "start": shift, "spread": 1.0}, init=params, max_iter=0)

    def density(t: int, k: int) -> float:
        return float(norm.logpdf(y[t], LEVEL[k] + SLOPE[k] * y[t - 1], SD[k]) if t else norm.logpdf(y[0]))

    wanted = enumerated(y, FIRST, TRANS, density, lambda t, k: (LEVEL[k], SLOPE[[k]], SD[k] ** 2))
    found = est.forecast(AHEAD, quantiles=[0.1, 0.9], paths=4000, seed=3)
    np.testing.assert_allclose(found["z"], wanted[0], rtol=1e-8)
    np.testing.assert_allclose(found["y"]["mean"] - shift, wanted[1], rtol=1e-8, atol=1e-9 * shift)
    np.testing.assert_allclose(found["y"]["var"], wanted[2], rtol=1e-8)
    grid = np.linspace(-10, 10, 20001)
    mass = (wanted[0][0] * norm.cdf(grid[:, None], LEVEL + SLOPE * y[-1], SD)).sum(1)
    assert found["y"]["quantiles"][0] - shift == pytest.approx(grid[np.searchsorted(mass, [0.1, 0.9])], abs=0.15)
    with pytest.raises(DataError, match="quantiles: must be levels"):
        est.forecast(AHEAD, quantiles=[5, 95])
    with pytest.raises(DataError, match="paths: must be a whole number"):
        est.forecast(AHEAD, paths=0)


RAGGED = """
    model LagsOfTwo
    size K = 2
    param first : simplex[K]
    param trans[K] : simplex[K]
    param a[K] : real
    param b[K] : real
    param d : real
    param s : positive
    for i in S:
        for t in T[i]:
            latent z[i, t] ~ Categorical(first) if t == 0 else Categorical(trans[z[i, t-1]])
            let m[i, t] = a[z[i, t]]
            observed y[i, t] ~ Normal(m[i, t], s) if t < 2 else Normal(m[i, t] + b[z[i, t]]*y[i, t-1] + d*y[i, t-2], s)
"""


def test_two_lags_in_ragged_sequences() -> None:
    """One sequence is empty and one has less rows than lags."""
    ys = [RNG.normal(size=5), RNG.normal(size=1), np.zeros(0), RNG.normal(size=3)]
    a, b, d, s = np.array([1.0, -2.0]), np.array([0.4, -0.3]), 0.25, 0.8
    params = {"first": FIRST, "trans": TRANS, "a": a, "b": b, "d": d, "s": s}
    found = written(RAGGED).fitter(init=params, max_iter=0).fit({"y": ys}).forecast(AHEAD)
    for i, y in enumerate(ys):

        def step(t: int, k: int) -> tuple[float, np.ndarray, float]:
            return a[k], np.array([b[k], d]) if t >= 2 else np.zeros(0), s**2

        def density(t: int, k: int, y: Any = y) -> float:
            c, lags, _ = step(t, k)
            return float(norm.logpdf(y[t], c + sum(w * y[t - 1 - j] for j, w in enumerate(lags)), s))

        close(found, enumerated(y, FIRST, TRANS, density, step), i)


COUNTS = """
    model CountsOfCounts
    size K = 2
    param first : simplex[K]
    param trans[K] : simplex[K]
    param a[K] : positive
    param b : positive
    for t in T:
        latent z[t] ~ Categorical(first) if t == 0 else Categorical(trans[z[t-1]])
        observed y[t] ~ Poisson(a[z[t]]) if t == 0 else Poisson(a[z[t]] + b * {lag})
"""


def test_counts_whose_variance_moves_too() -> None:
    y, a, b = RNG.poisson(3.0, size=5), np.array([1.0, 4.0]), 0.4
    params = {"first": FIRST, "trans": TRANS, "a": a, "b": b}
    est = written(COUNTS.format(lag="y[t-1]")).fitter(init=params, max_iter=0).fit({"y": y})

    def density(t: int, k: int) -> float:
        return float(poisson.logpmf(y[t], a[k] + (b * y[t - 1] if t else 0)))

    wanted = enumerated(y, FIRST, TRANS, density, lambda t, k: (a[k], np.array([b]), 0.0), gain=1.0)
    close(est.forecast(AHEAD), wanted)


def test_paths_where_no_moments_recur() -> None:
    """Against paths drawn in plain numpy from the enumerated posterior of the last state."""
    y, a, b = RNG.poisson(3.0, size=5), np.array([1.0, 4.0]), 0.9
    params = {"first": FIRST, "trans": TRANS, "a": a, "b": b}
    est = written(COUNTS.format(lag="log1p(y[t-1])")).fitter(init=params, max_iter=0).fit({"y": y})

    def rate(k: Any, before: Any) -> Any:
        return a[k] + b * np.log1p(before)

    weight = np.zeros(2)
    for path in product(range(2), repeat=len(y)):
        w = FIRST[path[0]] * np.prod([TRANS[i, j] for i, j in pairwise(path)])
        rates = [a[path[0]], *(rate(k, x) for k, x in zip(path[1:], y, strict=False))]
        weight[path[-1]] += w * np.prod(poisson.pmf(y, rates))
    z, last = (RNG.random(60_000) < weight[1] / weight.sum()).astype(int), np.full(60_000, y[-1])
    found, exact = est.forecast(AHEAD, paths=8000, seed=1), weight / weight.sum()
    for step in range(AHEAD):
        z = (RNG.random(len(z)) < TRANS[z, 1]).astype(int)
        last, exact = RNG.poisson(rate(z, last)), exact @ TRANS
        mean, sd = last.mean(), last.std()
        assert abs(found["y"]["mean"][step] - mean) < 5 * np.hypot(found["y"]["se"][step], sd / np.sqrt(len(last)))
        assert found["y"]["se"][step] == pytest.approx(sd / np.sqrt(8000), rel=0.1)
        assert found["y"]["var"][step] == pytest.approx(sd**2, rel=0.1)
        assert np.abs(found["y"]["quantiles"][step] - np.quantile(last, [0.05, 0.5, 0.95])).max() <= 1
        np.testing.assert_allclose(found["z"][step], exact, rtol=1e-9)  # states read no counts: theirs are exact
    again, other = est.forecast(AHEAD, paths=8000, seed=1), est.forecast(AHEAD, paths=8000, seed=2)
    np.testing.assert_array_equal(found["y"]["mean"], again["y"]["mean"])
    assert (found["y"]["mean"] != other["y"]["mean"]).any()


CLASSES = """
    model ClassesBesideChains
    size K = 2
    param w : simplex[2]
    param first : simplex[K]
    param trans[K] : simplex[K]
    param a[K] : real
    param b[2] : real
    for i in S:
        latent c[i] ~ Categorical(w)
        for t in T:
            latent z[i, t] ~ Categorical(first) if t == 0 else Categorical(trans[z[i, t-1]])
            observed y[i, t] ~ Normal(a[z[i, t]], 1) if t == 0 else Normal(a[z[i, t]] + b[c[i]] * y[i, t-1], 1)
"""


def test_a_class_of_the_sequence_and_its_last_state_jointly() -> None:
    """Rows ahead read both, which are not independent given the data."""
    y, w, a, b = RNG.normal(size=(2, 4)), np.array([0.4, 0.6]), np.array([1.0, -1.5]), np.array([0.9, -0.8])
    params = {"w": w, "first": FIRST, "trans": TRANS, "a": a, "b": b}
    found = written(CLASSES).fitter(init=params, max_iter=0).fit({"y": y}).forecast(AHEAD)
    for i in range(2):
        parts, mass = [], []
        for c in range(2):

            def density(t: int, k: int, c: int = c, y: Any = y[i]) -> float:
                return float(norm.logpdf(y[t], a[k] + (b[c] * y[t - 1] if t else 0)))

            parts.append(enumerated(y[i], FIRST, TRANS, density, lambda t, k, c=c: (a[k], b[[c]], 1.0)))
            paths = product(range(2), repeat=4)
            mass.append(w[c] * sum(FIRST[p[0]] * np.prod([TRANS[j] for j in pairwise(p)])
                                   * np.exp(sum(density(t, p[t]) for t in range(4))) for p in paths))  # fmt: skip
        q = np.array(mass) / sum(mass)
        mean = q @ np.array([p[1] for p in parts])
        second = q @ np.array([p[2] + p[1] ** 2 for p in parts])
        close(found, (np.tensordot(q, [p[0] for p in parts], 1), mean, second - mean**2), i)


DRAWN = """
    model DrawnLevel
    for t in T:
        latent x[t] ~ Normal(0, 1) if t == 0 else Normal(x[t-1], 0.5)
        observed y[t] ~ Normal(x[t], 0.7)
    infer {method}
"""


@pytest.mark.parametrize("method", ["x by mcmc", "(x) by meanfield"])
def test_latents_that_are_drawn_or_factorised(method: str) -> None:
    """From draws of the latents, or from q: here both are the exact posterior, a small Kalman filter's."""
    y, q, r = np.array([0.3, 1.1, 0.8, 2.0]), 0.5, 0.7
    mean, var = 0.0, 1.0
    for k, value in enumerate(y):
        var = var + q**2 if k else 1.0
        gain = var / (var + r**2)
        mean, var = mean + gain * (value - mean), (1 - gain) * var
    est = written(DRAWN.format(method=method)).fitter(max_iter=0, seed=1).fit({"y": y})
    found = est.forecast(AHEAD, seed=2)
    for step in range(AHEAD):
        var += q**2
        for name, more in (("x", 0.0), ("y", r**2)):
            assert abs(found[name]["mean"][step] - mean) < 5 * found[name]["se"][step]
            assert found[name]["var"][step] == pytest.approx(var + more, rel=0.15)
            assert found[name]["se"][step] < 0.1


SHARED = """
    model SharedLevel
    for t in T:
        latent x[t] ~ Normal(0, 1) if t == 0 else Normal(0.5 * x[t-1], 0.6)
        observed y[t, D] ~ Normal(m + x[t], 0.8) if t == 0 else Normal(m + x[t] + 0.3*y[t-1], 0.8)
    latent m ~ Normal(0, 2)
"""


def test_a_latent_of_all_rows_beside_the_last_of_a_chain() -> None:
    """Both are drawn together; the exact moments are a dense Gaussian's. y is an array with lags of its own."""
    y, n, d = RNG.normal(size=(3, 2)) + 1.0, 3 + AHEAD, 2
    reads = np.zeros((1 + n + n * d, 1 + n + n * d))  # m, x, y
    noise = np.r_[4.0, 1.0, np.full(n - 1, 0.36), np.full(n * d, 0.64)]
    for t in range(n):
        reads[1 + t, t] = 0.5 if t else 0.0
        for k in range(d):
            row = 1 + n + t * d + k
            reads[row, 0] = reads[row, 1 + t] = 1.0
            reads[row, row - d] = 0.3 if t else 0.0
    spread = np.linalg.inv(np.eye(len(reads)) - reads)
    cov = spread @ np.diag(noise) @ spread.T
    seen, rest = np.arange(1 + n, 1 + n + 3 * d), np.r_[4 : 1 + n, 1 + n + 3 * d : len(reads)]
    gain = cov[np.ix_(rest, seen)] @ np.linalg.inv(cov[np.ix_(seen, seen)])
    mean, left = gain @ y.ravel(), cov[np.ix_(rest, rest)] - gain @ cov[np.ix_(seen, rest)]
    est = written(SHARED).fitter(max_iter=0).fit({"y": y})
    found = est.forecast(AHEAD, quantiles=[0.025, 0.975], paths=2000)
    wide = np.sqrt(np.diagonal(left)).reshape(-1)
    np.testing.assert_allclose(found["x"]["mean"], mean[:AHEAD], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found["y"]["mean"], mean[AHEAD:].reshape(AHEAD, d), rtol=1e-9)
    for step in range(AHEAD):
        at = slice(AHEAD + step * d, AHEAD + (step + 1) * d)
        np.testing.assert_allclose(found["y"]["cov"][step], left[at, at], rtol=1e-9)
        low, high = found["y"]["quantiles"][step].T
        np.testing.assert_allclose(low, mean[at] - 1.96 * wide[at], atol=0.3 * wide[-1])
        np.testing.assert_allclose(high, mean[at] + 1.96 * wide[at], atol=0.3 * wide[-1])


NESTED = """
    model ClassesInClasses
    param w : simplex[2]
    param v[2] : simplex[2]
    param mean[2, 2] : real
    for n in N:
        latent c[n] ~ Categorical(w)
        for j in J:
            latent u[n, j] ~ Categorical(v[c[n]])
            observed y[n, j] ~ Normal(mean[c[n], u[n, j]], 1)
"""


def test_a_class_and_the_classes_inside_it_are_predicted_together() -> None:
    """Each by itself the most probable would be (1, 1) here; together it is (0, 0)."""
    w, v, mean = np.array([0.45, 0.55]), np.array([[1.0, 0.0], [0.5, 0.5]]), np.zeros((2, 2))
    est = written(NESTED).fitter(init={"w": w, "v": v, "mean": mean}, max_iter=0).fit({"y": np.zeros((1, 1))})
    assert est.posterior_["c"].argmax() == 1
    found = est.predict({"y": np.zeros((1, 1))})
    assert (found["c"].item(), found["u"].item()) == (0, 0)


TWO_CLASSES = """
    model TwoClasses
    param w : simplex[2]
    param v[2] : simplex[2]
    for n in N:
        latent c[n] ~ Categorical(w)
        latent u[n] ~ Categorical(v[c[n]])
        observed y[n] ~ Normal(0 * u[n], 1)
"""


def test_two_classes_of_a_row_are_predicted_together() -> None:
    """Found by a random model: each was told by itself, (1, 1) here, where (0, 0) is the most probable pair."""
    init = {"w": np.array([0.45, 0.55]), "v": np.array([[1.0, 0.0], [0.45, 0.55]])}
    found = written(TWO_CLASSES).fitter(init=init, max_iter=0).fit({"y": np.zeros(1)}).predict({"y": np.zeros(1)})
    assert (found["c"].item(), found["u"].item()) == (0, 0)


def test_rows_at_the_end_without_observations() -> None:
    """What cannot be integrated out need not be where no row comes after it: the error says so. A short series can."""
    for y, at_the_end in (([0.1, 0.3] * 3 + [np.nan] * 17, True), ([0.1, *[np.nan] * 17, 0.3], False)):
        with pytest.raises(DataError, match=r"17 missing from row \d on tie the states of 1[78] rows") as caught:
            fit("ar_hmm", {"y": y, "start": 0.0, "spread": 1.0}, max_iter=1)
        assert ("leave these rows out" in str(caught.value)) == at_the_end


ARCH = """
    model VarianceOfSurprise
    given g : real
    for t in T:
        observed y[t] ~ Normal(0, 1) if t < 2 else Normal(g * y[t-1], var = 0.5 + 0.6 * (y[t-1] - g * y[t-2])^2)
"""


def test_a_variance_that_is_a_quadratic_of_two_lags() -> None:
    """E y_t^2 = 0.5 + 0.6 E(y_t-1 - g y_t-2)^2 + g^2 E y_t-1^2; the surprise before has its own variance."""
    y, g = np.array([0.4, -1.0, 0.7, 2.0, 2.5]), 0.3
    found = written(ARCH).fitter(max_iter=0).fit({"y": y, "g": g}).forecast(AHEAD)["y"]
    mean, square, surprise = y[-1], y[-1] ** 2, (y[-1] - g * y[-2]) ** 2
    for step in range(AHEAD):
        surprise = 0.5 + 0.6 * surprise
        mean, square = g * mean, surprise + g**2 * square
        assert found["mean"][step] == pytest.approx(mean, rel=1e-9)
        assert found["var"][step] == pytest.approx(square - mean**2, rel=1e-9)


def test_what_has_no_order_to_be_drawn_in() -> None:
    """A factor between states: exact rows are told, and quantiles of paths refused, with its line."""
    text = """
        model Coupled
        for t in T:
            latent z[t] ~ Bernoulli(0.5)
            observed y[t] ~ Normal(z[t], 1)
        for t in T:
            factor 0 if t == 0 else 0.7 * (z[t] == z[t-1])
    """
    est = written(text).fitter(max_iter=0).fit({"y": np.array([2.0, 1.5])})
    stay = np.exp(0.7) / (1 + np.exp(0.7))
    first = norm.pdf(2.0, [0, 1])
    last = norm.pdf(1.5, [0, 1]) * (np.array([[stay, 1 - stay], [1 - stay, stay]]) @ first)
    wanted = np.array([[stay, 1 - stay], [1 - stay, stay]]) @ last / last.sum()
    np.testing.assert_allclose(est.forecast(1)["z"][0], wanted, rtol=1e-9)
    with pytest.raises(NotImplementedError, match="line 7"):
        est.forecast(1, quantiles=[0.5])


BESIDE = """
    model ChainBesideDrawn
    latent b ~ Normal(0, 1)
    for t in T:
        latent z[t] ~ Categorical([0.3, 0.7]) if t == 0 else Categorical([[0.8, 0.2], [0.35, 0.65]][z[t-1]])
        observed y[t] ~ Poisson(log_rate = b + 2 * z[t])
    infer b by mcmc(kernel = slice)
"""


def test_states_that_are_exact_given_what_is_drawn() -> None:
    """They are drawn with it where rows ahead read both: against sums over paths and a grid of b."""
    y, b = np.array([1, 6, 5]), np.linspace(-5, 5, 2001)
    p = norm.pdf(b)[:, None] * FIRST * poisson.pmf(y[0], np.exp(b[:, None] + [0, 2]))
    for value in y[1:]:
        p = (p @ TRANS) * poisson.pmf(value, np.exp(b[:, None] + [0, 2]))
    p = (p / p.sum()) @ TRANS
    found = written(BESIDE).fitter(max_iter=0, seed=1).fit({"y": y}).forecast(1, seed=4)
    assert abs(found["y"]["mean"][0] - (p * np.exp(b[:, None] + [0, 2])).sum()) < 5 * found["y"]["se"][0]
    np.testing.assert_allclose(found["z"][0], p.sum(0), atol=0.07)
