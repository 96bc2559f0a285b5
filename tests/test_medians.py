"""Weighted medians: locations that stand only in distances from data."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from gallery import written
from scipy import integrate
from scipy.optimize import linprog

import emdsl
from emdsl.fit.verify.case import find_case
from emdsl.fit.verify.m_step import m_step
from emdsl.runtime.numeric.updates import weighted_median

RNG = np.random.default_rng(5)
MIXTURE = """model M
param w : simplex[2]
param m[2] : real
param s : positive
for n in N:
    latent z[n] ~ Categorical(w)
    observed x[n] ~ Laplace(m[z[n]], s)
"""

SPREAD = """latent w[n] ~ Exponential(0.5)
            observed y[n] ~ Normal(X[n] @ b, var = s^2 * w[n])"""


def test_no_place_is_better_than_the_weighted_median() -> None:
    """Ties, weights of 0 and weight that halves exactly; without weight the old value stays."""
    for n in (1, 2, 5, 8):
        x, w = RNG.integers(0, 6, (40, n)) / 2, RNG.integers(0, 3, (40, n)) / 4
        found = weighted_median(x, w, np.full(40, 9.0))
        rows = w.sum(-1) > 0
        cost = (w[..., None] * np.abs(x[..., None] - x[:, None, :])).sum(1)  # at every place of data
        mine = (w * np.abs(x - found[:, None])).sum(-1)
        np.testing.assert_allclose(mine[rows], cost.min(-1)[rows], atol=1e-12)
        assert (found[~rows] == 9.0).all()
    assert weighted_median(np.array([0.0, 1.0, 5.0]), np.array([0.5, 0.0, 0.5]), np.array(0.0)) == 2.5


def test_branches_of_many_chunks() -> None:
    """Found by chance: which rows a branch has was read in the last chunk of the medians by the passes after them."""
    text = "model M\nparam m : real\nparam s : positive\nparam m_2 : real\nparam s_2 : positive\nfor n in N:\n"
    text += "    given x[n] : real\n    observed y[n] ~ Laplace(m, s) if x[n] < 0.2 else Laplace(m_2, s_2)\n"
    x = RNG.normal(size=60_001)
    low, y = x < 0.2, RNG.laplace(np.where(x < 0.2, 1.0, -2.0), np.where(x < 0.2, 0.5, 3.0))
    fit = written(text).fitter().fit({"x": x, "y": y})
    for m, s, rows in (("m", "s", low), ("m_2", "s_2", ~low)):
        middle = np.median(y[rows])
        assert fit.params_[m] == pytest.approx(middle, abs=1e-9)
        assert fit.params_[s] == pytest.approx(np.abs(y[rows] - middle).mean(), rel=1e-6)


def test_em_of_a_mixture_of_laplaces() -> None:
    """Two steps by hand, at 1e7: memberships, medians by them, then the mean distance."""
    model = written(MIXTURE)
    assert {n: u.kind for n, u in model.updates.items()} == {"w": "closed form", "m": "closed form", "s": "newton"}
    x = np.concatenate([RNG.laplace(0, 1, 31), RNG.laplace(5, 1, 24)])
    w, m, s = np.array([0.5, 0.5]), np.array([0.0, 4.0]), 2.0
    start = {"w": w, "m": m + 1e7, "s": s}
    for _ in range(2):
        r = w * np.exp(-np.abs(x[:, None] - m) / s)
        r /= r.sum(1, keepdims=True)
        order = np.sort(x)
        m = np.array([order[np.argmax(np.cumsum(c[np.argsort(x)]) >= c.sum() / 2)] for c in r.T])
        w, s = r.mean(0), (r * np.abs(x[:, None] - m)).sum() / len(x)
    fit = model.fitter(max_iter=2, tol=0)
    with pytest.warns(match="max_iter"):
        fit.fit(x + 1e7, init=start)
    np.testing.assert_allclose(fit.params_["w"], w, rtol=1e-6)
    np.testing.assert_allclose(fit.params_["m"] - 1e7, m, atol=1e-7)
    np.testing.assert_allclose(fit.params_["s"], s, rtol=1e-6)


@pytest.mark.parametrize(
    ("gate", "branches"),
    [
        ("latent z[n] ~ Bernoulli(0.3)", "Laplace(m, 2) if z[n] else Normal(0, 1)"),
        ("latent z[n] ~ Bernoulli(0.3)", "Normal(0, 1) if z[n] else Laplace(m, 2)"),
        ("given z[n] : bool", "Laplace(m, 2) if z[n] else Laplace(m, 1)"),
        ("given z[n] : real", "Laplace(m, 2) if 0 < z[n] and z[n] < 2 else Laplace(m, 1)"),
    ],
)
def test_branches_weigh_distances(gate: str, branches: str) -> None:
    """A condition is never negative: such locations went by quasi-Newton, which stops at kinks."""
    model = written(f"model M\nparam m : real\nfor n in N:\n    {gate}\n    observed x[n] ~ {branches}")
    assert model.updates["m"].kind == "closed form"
    assert model.verify(apart=False).passed


def test_the_certificate_knows_kinks() -> None:
    """At a median Q has no slope, but what rises on one side is refused."""
    from emdsl.fit.verify.m_step import rises

    assert rises(lambda h: 0.3 * h - abs(h))[0] == 0.0
    assert rises(lambda h: 1.3 * h - abs(h))[0] == pytest.approx(0.3)
    assert rises(lambda h: 1e-3 * h - h * h / 2)[0] == pytest.approx(5e-4)
    assert rises(lambda h: -max(h - 1e-4, 0.0))[0] == 0.0  # level up to a kink beside it
    assert rises(lambda h: 1e-4 - abs(h - 1e-4))[0] > 0.1


def test_distances_from_a_plane_end_at_the_linear_programme() -> None:
    """Least absolute deviations: the maximum is a corner, where slopes jump in every direction."""
    rng = np.random.default_rng(3)
    x, n = np.column_stack([np.ones(15), rng.normal(size=(15, 4))]), 15
    y = x @ rng.normal(size=5) + rng.laplace(size=n)
    costs, sides = np.r_[np.zeros(5), np.ones(2 * n)], np.column_stack([x, np.eye(n), -np.eye(n)])
    corner = linprog(costs, A_eq=sides, b_eq=y, bounds=[(None, None)] * 5 + [(0, None)] * 2 * n)
    text = """
        model LeastDistances
        param b : real[P]
        param s : positive
        for n in N:
            given    X[n] : real[P]
            observed y[n] ~ Laplace(X[n] @ b, s)
    """
    highest = -n * np.log(2 * corner.fun / n) - n
    fit = written(text).fitter().fit({"X": x, "y": y})
    np.testing.assert_allclose(fit.params_["b"], corner.x[:5], atol=1e-6)
    assert fit.objective_ == pytest.approx(highest, rel=1e-9)
    mixed = text.replace("observed y[n] ~ Laplace(X[n] @ b, s)", SPREAD)  # rows on the plane weigh 1 / 0
    fit = written(mixed).fitter(tol=1e-9, max_iter=2000).fit({"X": x, "y": y})
    assert fit.converged_ and fit.objective_ == pytest.approx(highest, abs=1e-6)


def test_a_family_with_a_kink_of_its_own_ends_at_the_quantile() -> None:
    """A branch that a parameter decides has no second derivative at the kink: Newton's steps stopped beside it."""
    text = """
        model Quantile
        family Tilted(x : real | m : real, s : positive) =
            log(0.21) - log(s) - (0.3*(x - m) if x > m else 0.7*(m - x))/s
        param m : real
        param s : positive
        for n in N: observed y[n] ~ Tilted(m, s)
    """
    y = np.random.default_rng(4).laplace(2, 1, 31)
    off = y[:, None] - y
    loss = np.where(off > 0, 0.3 * off, -0.7 * off).mean(0).min()  # the best place is one of the data
    fit = written(text).fitter(seed=0, tol=1e-10).fit({"y": y})
    assert fit.log_likelihood_ == pytest.approx(31 * (np.log(0.21 / loss) - 1), rel=1e-7)
    assert float(fit.params_["s"]) == pytest.approx(loss, rel=1e-5)


def test_a_search_across_kinks_ends_where_it_is_level_along_them() -> None:
    """Found by chance: classes of a lagged number whose residuals are absolute values. Quasi-Newton that learns kinks
    ended with slopes of 1e-4 along those on which it stood, of numbers that stand in no kink."""
    text = """
        model Composed
        param s0 : simplex[2]
        param s1 : simplex[2] ~ Dirichlet([2, 3])
        param r2[2] : real
        param p3 : positive
        param r4 : real ~ Normal(0.5, 2)
        param p5[2] : positive
        for n in N:
            latent sub[n] ~ Categorical(s0)
            observed half[n] : category[2] ~ Categorical(s1)
            observed past[n] ~ Normal(0, 1) if n == 0 else Normal(r4 * past[n-1], p3)
            observed y0[n] ~ Laplace(r2[sub[n]] - r4 * past[n], p5[sub[n]])
    """
    model = emdsl.compile(text=text)
    assert {c.status for c in m_step(find_case(model, 0))} == {"passed"}


NESTED = "for g in G:\n latent b[g] ~ {effect}\n for n in N: observed y[g, n] ~ {noise}"
POINTED = "for g in G: latent b[g] ~ {effect}\nfor n in N:\n given of[n] : index[G]\n observed y[n] ~ {noise}"


@pytest.mark.parametrize(
    ("body", "effect", "noise"),
    [
        (NESTED, "Normal(0, t)", "Laplace(a + b[g], s)"),
        (POINTED, "Gamma(2, t)", "Laplace(a - b[of[n]], s)"),
        (POINTED.replace("b[g]", "b[g] : positive"), "Normal(0, t)", "Laplace(a + b[of[n]], s)"),
        (POINTED, "Laplace(a, t)", "Laplace(b[of[n]], s)"),
        (NESTED, "Normal(0, t)", "Normal(max(b[g], a), s)"),
    ],
)
def test_what_moves_kinks_of_an_effect_ends_where_the_likelihood_is_level(body: str, effect: str, noise: str) -> None:
    """Found by chance (night 10002): the median of points is one of them. A location was 8e-4 off, its slope 0.04."""
    head = "model M\nparam a : real\nparam s : positive\nparam t : positive\n"
    rng, of = np.random.default_rng(1), np.repeat(np.arange(20), 4)
    model = written(head + body.format(effect=effect, noise=noise))
    b = rng.normal(0, 1, 20)
    b = np.abs(b) if "positive" in body or "Gamma" in effect else b
    b = np.maximum(b, 0.2) if "max" in noise else -b if "a - b" in noise else b
    drawn = b[of] + rng.laplace(0, 0.7, 80)
    data = {"y": drawn.reshape(20, 4)} if body == NESTED else {"y": drawn, "of": of}
    fit = model.fitter(tol=1e-12).fit(data)
    end = {n: float(v) for n, v in fit.params_.items()}

    def likelihood(a: float, s: float, t: float) -> float:
        return sum(_integral(y, effect, noise, a, s, t, "positive" in body) for y in drawn.reshape(20, 4))

    assert fit.log_likelihood_ == pytest.approx(likelihood(**end), abs=1e-8)
    for n, v in end.items():
        up, down = (likelihood(**{**end, n: v * (1 + h)}) for h in (1e-4, -1e-4))
        assert abs(up - down) / 2e-4 < 1e-5


def _integral(y: np.ndarray, effect: str, noise: str, a: float, s: float, t: float, cut: bool) -> float:
    """log of the integral over an effect, adaptively between the places where it bends."""
    sign, at = (-1.0 if "a - b" in noise else 1.0), 0.0 if effect.startswith("Laplace") else a
    rows, normal = [float(v) for v in y], 0.5 * math.log(2 * math.pi)
    prior: dict[str, Callable[[float], float]] = {
        "N": lambda b: math.log(2) * cut - b * b / (2 * t * t) - math.log(t) - normal,
        "G": lambda b: 2 * math.log(t) + math.log(b) - t * b,
        "L": lambda b: -abs(b - a) / t - math.log(2 * t),
    }

    def density(b: float) -> float:
        if "max" in noise:
            off, each = sum((v - max(b, a)) ** 2 for v in rows) / (2 * s * s), math.log(s) + normal
        else:
            off, each = sum(abs(v - at - sign * b) for v in rows) / s, math.log(2 * s)
        return math.exp(prior[effect[0]](b) - off - len(rows) * each)

    low = 0.0 if cut or effect[0] == "G" else -20.0
    edges = np.unique(np.clip([low, a, *(sign * (y - at)), 20.0], low, 20.0))
    parts = (integrate.quad(density, *ends, epsrel=1e-10, epsabs=0)[0] for ends in pairwise(edges))
    return math.log(sum(parts))


def test_passes_over_the_data_stand_beside_a_climb_of_the_likelihood() -> None:
    """Two parts that do not meet: a median by passes over one, a climb over the other; chunks, gaps and weights."""
    text = "model M\nparam a : real\nparam m : real\nfor g in G:\n latent b[g] ~ Normal(0, 1)\n"
    text += " observed x[g] ~ Laplace(m, 1)\n for n in N: observed y[g, n] ~ Laplace(a + b[g], 1)"
    model, rng = written(text), np.random.default_rng(2)
    assert {n: u.kind for n, u in model.updates.items()} == {"a": "gradient", "m": "closed form"}
    x, y = rng.laplace(3, 1, 31), rng.laplace(1, 1, (31, 3))
    y[2, 1] = np.nan
    fit = model.fitter(tol=1e-12).fit({"x": x, "y": y}, sample_weight=np.r_[2.0, np.ones(30)])
    twice = model.fitter(tol=1e-12).fit({"x": np.r_[x[0], x], "y": np.vstack([y[:1], y])})
    assert fit.params_["a"] == pytest.approx(float(twice.params_["a"]), abs=1e-6)
    assert np.mean(np.r_[x[0], x] <= fit.params_["m"] + 1e-9) >= 0.5
    assert np.mean(np.r_[x[0], x] >= fit.params_["m"] - 1e-9) >= 0.5
