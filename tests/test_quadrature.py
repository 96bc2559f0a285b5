"""Quadrature against integrals on grids, exact posteriors, and numbers that other programs publish."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gallery import compiled, fit, matrix, table
from scipy import integrate, special, stats

import emdsl
from emdsl.errors import ModelError
from emdsl.runtime.fitting import climbs
from emdsl.runtime.numeric.clouds import adapted, find_modes, where_mass_is
from emdsl.runtime.numeric.numerics import LOWEST
from emdsl.runtime.numeric.points import gaussian_tails

GROUPED = """
model M
param m : real
param tau : positive
{extra}
for g in G:
    latent b[g] : {domain} ~ {prior}
for n in N:
    given group[n] : index[G]
    given x[n] : real
    {middle}observed y[n] ~ {density}
infer b by quadrature{points}
"""


@cache
def grouped(density: str, prior: str = "Normal(0, tau)", points: str = "", **parts: str) -> Any:
    """A model of rows in groups; a group's latent is b, by quadrature."""
    filled = {"extra": "", "domain": "real", "middle": "", **parts}
    return emdsl.compile(text=GROUPED.format(density=density, prior=prior, points=points, **filled))


def value(model: Any, params: dict[str, Any], data: dict[str, Any], **sizes: int) -> float:
    """The log-likelihood at these parameters."""
    return float(model.fitter(sizes=sizes).e_step(params, data)["log_likelihood"])


def log_integral(f: Callable[[Any], Any], low: float, high: float, points: int = 40001) -> float:
    """log of an integral on a grid: spectrally exact for what is smooth and has died at the ends."""
    t = np.linspace(low, high, points)
    return float(special.logsumexp(f(t)) + math.log(t[1] - t[0]))


def poisson(y: Any, log_rate: Any) -> Any:
    return y * log_rate - np.exp(log_rate) - special.gammaln(y + 1)


def logistic(y: Any, logit: Any) -> Any:
    return y * logit - np.logaddexp(0, logit)


def normal(t: Any, m: float, sd: float) -> Any:
    return -0.5 * ((t - m) / sd) ** 2 - math.log(sd) - 0.5 * math.log(2 * math.pi)


RNG = np.random.default_rng(5)
GROUP = RNG.integers(0, 5, 24)  # of 6 groups: the last has no rows
X = RNG.normal(size=24)
COUNTS = RNG.poisson(2.0, 24)
SIGNS = RNG.integers(0, 2, 24)
DATA = {"group": GROUP, "x": X}


# ------------------------------------------------------------------ published numbers


def test_item_response() -> None:
    """LSAT 6 under two parameters an item: Bock and Aitkin's likelihood, as R's ltm has it with 61 points."""
    data = {"y": matrix("lsat6_patterns", "i1", "i2", "i3", "i4", "i5")}
    start = {"slope": [0.8, 0.7, 0.9, 0.7, 0.7], "easy": [2.77, 0.99, 0.25, 1.28, 2.05]}
    weight = table("lsat6_patterns")["count"].astype(float)
    found = fit("item_response", data, weight=weight, tol=1e-9, init=start)
    assert 0 <= -2466.653377 - found.log_likelihood_ + 1e-6 < 3e-5
    np.testing.assert_allclose(found.params_["slope"], [0.82566, 0.72274, 0.89087, 0.68837, 0.65686], atol=2e-3)
    assert abs(found.quadrature_error_) < 1e-8 and "twice the points" in found.message_


def test_cattle() -> None:
    """Pleuropneumonia in herds: lme4 has these estimates with nAGQ > 1; the value by one integral a herd."""
    herds = table("cattle")
    design = np.column_stack([np.ones(56), *(herds["period"] == p for p in (1, 2, 3))]).astype(float)
    data = {"X": design, "group": herds["herd"], "size": herds["size"], "cases": herds["cases"]}
    found = fit("logistic_random_effects", data, tol=1e-10)
    np.testing.assert_allclose(found.params_["beta"], [-1.3992, -0.9914, -1.1278, -1.5795], atol=2e-4)
    assert abs(found.params_["tau"] - 0.6475) < 2e-4
    eta = design @ found.params_["beta"]
    total = 0.0
    for h in range(15):
        mine = herds["herd"] == h

        def density(b: float, mine: Any = mine) -> float:
            p = special.expit(eta[mine] + b)
            one = stats.binom.logpmf(herds["cases"][mine], herds["size"][mine], p).sum()
            return float(np.exp(one + stats.norm.logpdf(b, 0, found.params_["tau"])))

        total += math.log(integrate.quad(density, -5, 5, epsabs=0, epsrel=1e-11)[0])
    assert abs(found.log_likelihood_ - total) < 1e-7


def test_epilepsy() -> None:
    """Breslow and Clayton's second model of seizures: gllamm has -665.29 and these coefficients."""
    rows = table("epilepsy")
    base, age = (np.log(rows[c] / d) for c, d in (("base", 4), ("age", 1)))
    base, age, drug = base - base.mean(), age - age.mean(), rows["drug"]
    design = np.column_stack([np.ones(len(drug)), base, drug, base * drug, age, rows["period"] == 3]).astype(float)
    data = {"X": design, "group": rows["person"], "y": rows["seizures"]}
    start = {"beta": [1.8, 0.9, -0.3, 0.3, 0.5, -0.2], "tau": 0.5}
    found = fit("poisson_random_effects", data, tol=1e-9, init=start)
    assert abs(found.log_likelihood_ + 665.29074) < 1e-4
    np.testing.assert_allclose(found.params_["beta"][1:], [0.8844, -0.335, 0.3383, 0.4842, -0.1611], atol=2e-3)
    assert abs(found.params_["tau"] - 0.5028) < 1e-3


def test_poisson_lognormal() -> None:
    """A positive latent: the value at the maximum is that of integrals over the logarithm."""
    rows = table("accidents")
    found = fit("poisson_lognormal", {"count": rows["y"]}, weight=rows["count"].astype(float), tol=1e-9)
    m, s = float(found.params_["mean"]), float(found.params_["spread"])
    each = [log_integral(lambda t, y=y: poisson(y, t) + normal(t, m, s), -20, 10) for y in rows["y"]]
    assert abs(found.log_likelihood_ - float(np.dot(each, rows["count"]))) < 10 * abs(found.quadrature_error_) + 1e-9
    assert abs(found.log_likelihood_ + 594.1076) < 1e-3


# ------------------------------------------------------------------ exact posteriors


def test_a_gaussian_by_quadrature_is_the_exact_one() -> None:
    """Rows at 1e3: likelihood, moments, and the fit that follows."""
    params = {"m": 1000.5, "tau": 1.3, "s": 0.7}
    data = {**DATA, "y": 1000.0 + RNG.normal(size=24)}
    by_points = grouped("Normal(b[group[n]] + 0.1 * x[n], s)", "Normal(m, tau)", extra="param s : positive")
    exact = emdsl.compile(text=by_points.text, infer={"b": "exact"})
    assert exact.plan["b"].method == "exact:gaussian" and by_points.plan["b"].method == "quadrature"
    assert abs(value(by_points, params, data, G=6) - value(exact, params, data, G=6)) < 1e-8
    fits = [m.fitter(max_iter=4, tol=0, sizes={"G": 6}, init=params) for m in (by_points, exact)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        one, other = (f.fit(data) for f in fits)
    np.testing.assert_allclose(one.history_, other.history_, rtol=1e-12)
    np.testing.assert_allclose(one.posterior_["b"]["mean"], other.posterior_["b"]["mean"], rtol=1e-10)
    np.testing.assert_allclose(one.posterior_["b"]["var"], other.posterior_["b"]["var"], rtol=1e-7)


def test_a_gamma_rate_by_quadrature_is_the_negative_binomial() -> None:
    text = (Path(__file__).parents[1] / "models" / "negative_binomial.em").read_text(encoding="utf-8")
    model = emdsl.compile(text=text, infer={"rate": "quadrature(points = 121)"})
    params, y = {"mean": 2.4, "shape": 1.7}, np.arange(9)
    wanted = stats.nbinom.logpmf(y, 1.7, 1.7 / (1.7 + 2.4)).sum()
    assert abs(value(model, params, {"y": y}) - wanted) < 1e-8


# ------------------------------------------------------------------ grids


def by_group(params: dict[str, float], density: Callable[[int, Any], Any], low: float = -14, high: float = 14) -> float:
    """The sum of log integrals over groups 0 to 5 of a normal b and what `density` has of each row."""

    def one(g: int) -> Callable[[Any], Any]:
        rows = np.flatnonzero(GROUP == g)
        return lambda t: normal(t, 0, params["tau"]) + sum((density(n, t) for n in rows), np.zeros_like(t))

    return sum(log_integral(one(g), low, high) for g in range(6))  # fmt: skip


def test_counts_in_groups_one_of_them_empty() -> None:
    model = grouped("Poisson(log_rate = m + 0.3 * x[n] + b[group[n]])")
    params = {"m": 0.4, "tau": 0.8}
    wanted = by_group(params, lambda n, t: poisson(COUNTS[n], 0.4 + 0.3 * X[n] + t))
    assert abs(value(model, params, {**DATA, "y": COUNTS}, G=6) - wanted) < 1e-7


def test_classes_inside_a_random_effect() -> None:
    """z[n] is summed out inside b[group[n]]: the integrand is a product of mixtures, not concave."""
    parts = {"extra": "param w : simplex[2]\nparam r[2] : real", "middle": "latent z[n] ~ Categorical(w)\n    "}
    model = grouped("Poisson(log_rate = r[z[n]] + b[group[n]])", points="(points = 41)", **parts)
    assert model.plan["z"].method == "exact:enumeration"
    params: dict[str, Any] = {"m": 0.0, "tau": 1.1, "w": [0.3, 0.7], "r": [-1.0, 1.4]}

    def row(n: int, t: Any) -> Any:
        parts = (math.log(w) + poisson(COUNTS[n], r + t) for w, r in zip(params["w"], params["r"], strict=True))
        return np.logaddexp(*parts)

    assert abs(value(model, params, {**DATA, "y": COUNTS}, G=6) - by_group(params, row)) < 1e-7


def test_a_random_effect_inside_a_class() -> None:
    text = """
    model M
    param w : simplex[2]
    param m[2] : real
    param tau : positive
    for g in G:
        latent z[g] ~ Categorical(w)
        latent b[g] ~ Normal(m[z[g]], tau)
        for j in J:
            observed y[g, j] ~ Bernoulli(logit = b[g])
    infer b by quadrature(points = 61)
    """
    model = emdsl.compile(text=text)
    assert (model.plan["b"].method, model.plan["z"].method) == ("quadrature", "exact:enumeration")
    y = SIGNS.reshape(6, 4)

    def one(g: int) -> Callable[[Any], Any]:
        classes = (lambda t: math.log(0.4) + normal(t, -1.5, 0.6), lambda t: math.log(0.6) + normal(t, 1.0, 0.6))
        return lambda t: np.logaddexp(classes[0](t), classes[1](t)) + sum(logistic(v, t) for v in y[g])

    wanted = sum(log_integral(one(g), -14, 14) for g in range(6))
    found = value(model, {"w": [0.4, 0.6], "m": [-1.5, 1.0], "tau": 0.6}, {"y": y})
    assert abs(found - wanted) < 1e-6  # two modes under one rule


def test_a_chain_inside_a_random_effect() -> None:
    """A hidden chain whose rates a sequence shifts as a whole: forward sums at every value of the shift."""
    text = """
    model M
    param start : simplex[2]
    param trans[2] : simplex[2]
    param r[2] : real
    param tau : positive
    for s in S:
        latent b[s] ~ Normal(0, tau)
        for k in T[s]:
            latent z[s, k] ~ Categorical(start) if k == 0 else Categorical(trans[z[s, k-1]])
            observed y[s, k] ~ Poisson(exp(r[z[s, k]] + b[s]))
    """
    model = emdsl.compile(text=text)
    assert (model.plan["z"].method, model.plan["b"].method) == ("exact:chain", "quadrature")
    start, trans, r = np.array([0.3, 0.7]), np.array([[0.8, 0.2], [0.4, 0.6]]), np.array([0.1, 1.6])
    y = [np.array([0, 1, 4, 7]), np.array([3]), np.array([2, 2, 0])]
    params = {"start": start, "trans": trans, "r": r, "tau": 0.5}
    wanted = 0.0
    for row in y:

        def f(t: Any, row: Any = row) -> Any:
            alpha = np.log(start)[:, None] + poisson(row[0], r[:, None] + t)
            for v in row[1:]:
                moved = special.logsumexp(alpha[:, None] + np.log(trans)[:, :, None], axis=0)
                alpha = moved + poisson(v, r[:, None] + t)
            return special.logsumexp(alpha, axis=0) + normal(t, 0, 0.5)

        wanted += log_integral(f, -5, 5, 4001)
    assert abs(value(model, params, {"y": y}) - wanted) < 1e-6


def test_two_dimensions_intercept_and_slope() -> None:
    """A vector of two under one covariance, against a square grid in coordinates that whiten it."""
    model = grouped(
        "Bernoulli(logit = m + b[group[n], 0] + b[group[n], 1] * x[n])", "MvNormal(zeros(2), S)",
        domain="real[2]", extra="param S : spd[2]",
    )  # fmt: skip
    covariance = np.array([[1.2, -0.4], [-0.4, 0.6]])
    t = np.linspace(-9, 9, 181)
    z = np.stack([g.ravel() for g in np.meshgrid(t, t)])
    b = np.linalg.cholesky(covariance) @ z
    wanted = 0.0
    for g in range(6):
        log_f = -0.5 * (z**2).sum(0) - math.log(2 * math.pi)
        log_f = log_f + sum(logistic(SIGNS[n], 0.2 + b[0] + b[1] * X[n]) for n in np.flatnonzero(GROUP == g))
        wanted += float(special.logsumexp(log_f)) + 2 * math.log(t[1] - t[0])
    fitter = model.fitter(sizes={"G": 6}, max_iter=0, init={"m": 0.2, "tau": 1.0, "S": covariance})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = fitter.fit({**DATA, "y": SIGNS})
    assert abs(found.log_likelihood_ - wanted) < 1e-7
    post = found.posterior_["b"]
    np.testing.assert_allclose(post["mean"][5], [0, 0], atol=1e-10)
    np.testing.assert_allclose(post["cov"][5], covariance, atol=1e-7)


def test_two_numbers_of_one_plate_are_integrated_together() -> None:
    """An intercept and a slope of their own: one cloud without parentheses, each with a posterior."""
    text = """
    model M
    param tau : positive
    param s : positive
    for g in G:
        latent b[g] ~ Normal(0, tau)
        latent c[g] ~ Normal(0.2, s)
    for n in N:
        given group[n] : index[G]
        given x[n] : real
        observed y[n] ~ Poisson(log_rate = b[group[n]] + c[group[n]] * x[n])
    infer b, c by quadrature
    """
    model = emdsl.compile(text=text)
    assert {p.method for p in model.plan.values()} == {"quadrature"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = model.fitter(sizes={"G": 6}, max_iter=0, init={"tau": 0.7, "s": 0.4}).fit({**DATA, "y": COUNTS})
    t = np.linspace(-9, 9, 181)
    b, c = (g.ravel() for g in np.meshgrid(0.7 * t, 0.2 + 0.4 * t))
    wanted = 0.0
    for g in range(6):
        log_f = normal(b, 0, 0.7) + normal(c, 0.2, 0.4)
        log_f = log_f + sum(poisson(COUNTS[n], b + c * X[n]) for n in np.flatnonzero(GROUP == g))
        wanted += float(special.logsumexp(log_f)) + math.log(0.7 * 0.4 * (t[1] - t[0]) ** 2)
        w = np.exp(log_f - special.logsumexp(log_f))
        np.testing.assert_allclose(found.posterior_["c"]["mean"][g], w @ c, atol=1e-6)
        np.testing.assert_allclose(found.posterior_["b"]["var"][g], w @ (b - w @ b) ** 2, atol=1e-6)
    assert abs(found.log_likelihood_ - wanted) < 1e-6


@pytest.mark.parametrize(
    ("params", "y"),
    [({"m": 0.0, "tau": 1e-4}, COUNTS), ({"m": 0.0, "tau": 40.0}, COUNTS), ({"m": 17.0, "tau": 2.0}, COUNTS + 10**9)],
    ids=["small", "wide", "huge counts"],
)
def test_extreme_numbers(params: dict[str, float], y: Any) -> None:
    """Each group's integral in a window about its own mode."""
    model = grouped("Poisson(log_rate = m + 0.3 * x[n] + b[group[n]])", points="(points = 31)")
    found = value(model, params, {**DATA, "y": y}, G=6)
    wanted = 0.0
    for g in range(6):
        rows = GROUP == g

        def f(t: Any, rows: Any = rows) -> Any:
            one = poisson(y[rows][:, None], params["m"] + 0.3 * X[rows][:, None] + t)
            return normal(t, 0, params["tau"]) + one.sum(0)

        span = 60 * params["tau"]
        low, high = (-span, min(span, 30.0)) if rows.any() else (-span, span)
        for _ in range(4):  # into where the integrand is
            t = np.linspace(low, high, 20001)
            heights = f(t)
            near = t[heights > heights.max() - 60]
            low, high = near[0] - (t[1] - t[0]), near[-1] + (t[1] - t[0])
        wanted += log_integral(f, low, high)
    assert abs(found - wanted) < 1e-9 * abs(wanted) + (2e-3 if params["tau"] > 10 else 1e-6)


def test_separated_groups_have_finite_effects() -> None:
    """A group of ones alone: its mode is held by the prior."""
    model = grouped("Bernoulli(logit = m + b[group[n]])")
    params = {"m": 0.5, "tau": 3.0}
    y = (GROUP > 1).astype(int)
    wanted = by_group(params, lambda n, t: logistic(y[n], 0.5 + t), -40, 40)
    assert abs(value(model, params, {**DATA, "y": y}, G=6) - wanted) < 1e-4


# ------------------------------------------------------------------ what a fit can be asked


def test_gaps_weights_scores_and_files(tmp_path: Path) -> None:
    model = compiled("item_response")
    y = matrix("lsat6_patterns", "i1", "i2", "i3", "i4", "i5")
    weight = np.resize([2.0, 1.0, 3.0, 1.0, 1.0], len(y))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = model.fitter(max_iter=3, seed=0).fit({"y": y}, sample_weight=weight)
        again = model.fitter(max_iter=3, seed=0, init=found.params_).fit({"y": np.repeat(y, weight.astype(int), 0)})
        start = model.fitter(max_iter=3, seed=0, init=found.params_).fit({"y": y}, sample_weight=weight)
    np.testing.assert_allclose(again.history_, start.history_, rtol=1e-9)
    assert abs(found.score({"y": y}, sample_weight=weight) * weight.sum() - found.log_likelihood_) < 1e-9
    gaps = y.copy()
    gaps[0], gaps[1, 2:] = np.nan, np.nan
    rows = found.score_samples({"y": gaps})
    assert abs(rows[0]) < 1e-12  # a person with no answers
    params = found.params_
    seen = [(gaps[1, j], params["slope"][j], params["easy"][j]) for j in (0, 1)]
    one = log_integral(lambda t: normal(t, 0, 1) + sum(logistic(v, a * t + c) for v, a, c in seen), -12, 12)
    assert abs(rows[1] - one) < 1e-9
    found.save(tmp_path / "fit.json")
    loaded = emdsl.load(tmp_path / "fit.json")
    assert loaded.quadrature_error_ == found.quadrature_error_
    np.testing.assert_array_equal(loaded.score_samples({"y": gaps}), rows)
    with pytest.raises(NotImplementedError, match="no discrete latent"):
        found.predict({"y": y})


def test_twice_the_points_tell_the_error() -> None:
    """With few points the likelihood is off by what doubling them says; and a fall within that is no failure."""
    model = grouped("Poisson(b[group[n]])", "Gamma(tau, tau)", domain="positive", points="(points = 5)")
    data = {**DATA, "y": COUNTS}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = model.fitter(sizes={"G": 6}, seed=0, tol=1e-8, init={"m": 0.0, "tau": 0.8}).fit(data)
    tau, wanted = float(found.params_["tau"]), 0.0
    for g in range(6):
        y = COUNTS[GROUP == g]
        a, b = tau + y.sum(), tau + len(y)
        wanted += tau * math.log(tau) - special.gammaln(tau) + special.gammaln(a) - a * math.log(b)
        wanted -= special.gammaln(y + 1).sum()
    off = wanted - found.log_likelihood_
    assert abs(off) > 1e-6 and abs(found.quadrature_error_ / off - 1) < 0.5
    assert found.status_ != "decreased"


SCHOOLS = """
model Schools
param m : real
param s : positive[2]
for i in I:
    latent a[i] ~ Normal(0, s[0])
    for j in J[i]:
        latent b[i, j] ~ Normal(a[i], s[1])
        for k in K:
            observed y[i, j, k] ~ Bernoulli(logit = m + b[i, j])
"""
RATES = """
model Rates
param s : positive
latent m ~ Normal(0, 1)
for i in I:
    latent b[i] ~ Normal(0, s)
    observed y[i] ~ Poisson(exp(m + b[i]))
infer m, b by quadrature(points = 31)
"""


def around(groups: Any, sd: tuple[float, float], density: Callable[[Any, Any], Any]) -> float:
    """Two integrals, one inside the other, on grids: for each group the elements at every value of its own."""
    t = np.linspace(-8, 8, 161)
    log_step, outer, inner = math.log(t[1] - t[0]), sd[0] * t, sd[1] * t
    total = 0.0
    for group in groups:
        each = normal(t, 0, 1) + log_step
        for y in group:
            inside = sum(density(k, outer[:, None] + inner) for k in y) + normal(t, 0, 1) + log_step
            each = each + special.logsumexp(inside, axis=1)
        total += float(special.logsumexp(each))
    return total


def test_a_level_inside_a_level() -> None:
    """Points of a class for each point of its school: were left to Monte Carlo."""
    y = [RNG.integers(0, 2, (j, 4)) for j in (3, 1, 2)]
    model = emdsl.compile(text=SCHOOLS)
    assert {c.method for c in model.plan.values()} == {"quadrature"}
    fit = model.fitter(max_iter=3, tol=0, seed=0).fit({"y": [list(group) for group in y]})
    p = fit.params_
    mine = around(y, p["s"], lambda k, t: logistic(k, p["m"] + t))
    assert fit.log_likelihood_ == pytest.approx(mine, abs=1e-7)
    assert fit.score_samples({"y": [list(y[0])]})[0] == pytest.approx(
        around(y[:1], p["s"], lambda k, t: logistic(k, p["m"] + t)), abs=1e-7
    )
    assert np.all(np.diff(fit.history_) > 0)


def test_levels_joined_by_given_indices() -> None:
    """`school[c]` of a class, `c[n]` of a row: the same numbers as in plates."""
    text = """
model Index
param m : real
param s : positive[2]
for i in I:
    latent a[i] ~ Normal(0, s[0])
for c in C:
    given school[c] : index[I]
    latent b[c] ~ Normal(0, s[1])
for n in N:
    given of[n] : index[C]
    observed y[n] ~ Bernoulli(logit = m + a[school[of[n]]] + b[of[n]])
"""
    school, of, y = np.array([2, 0, 1, 0]), np.array([0, 3, 1, 1, 2, 3, 0]), np.array([0, 1, 1, 0, 1, 1, 0])
    params = {"m": np.array(0.3), "s": np.array([0.8, 0.6])}
    model = emdsl.compile(text=text)
    assert {c.method for c in model.plan.values()} == {"quadrature"}
    groups = [[y[of == c] for c in np.flatnonzero(school == i)] for i in range(3)]
    mine = around(groups, (0.8, 0.6), lambda k, t: logistic(k, 0.3 + t))
    assert value(model, params, {"school": school, "of": of, "y": y}) == pytest.approx(mine, abs=1e-7)


def test_effects_around_one_of_all() -> None:
    model, y = emdsl.compile(text=RATES), np.array([2, 0, 5])
    for s in (0.3, 1.5):
        assert value(model, {"s": s}, {"y": y}) == pytest.approx(around([y[:, None]], (1.0, s), poisson), abs=1e-6)


LATENT_TRAIT = """
model M
param a[J] : positive
param c[J] : real
for n in N:
    latent b[n] ~ Normal(0, 1)
    for j in J:
        observed y[n, j] ~ {density}
infer b by quadrature
"""


@pytest.mark.parametrize(
    ("density", "far"),
    [("Bernoulli(logit = a[j] * b[n] + c[j])", 0), ("Poisson(log_rate = a[j] * b[n] + c[j])", 4000)],
    ids=["alike", "one far off"],
)
def test_shared_points_are_taken_where_they_do(density: str, far: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows under one lattice end where each row's own points do; one row with a narrow density does not fit it."""
    rng = np.random.default_rng(2)
    y = rng.integers(0, 2, (60, 3))
    y[0] += far
    model = emdsl.compile(text=LATENT_TRAIT.format(density=density))
    assert model.quick is not None
    start = {"a": np.array([0.7, 1.0, 1.3]), "c": np.array([0.1, -0.2, 0.0])}
    found = []
    for least in (10, 10**9):
        monkeypatch.setattr("emdsl.fit.fitter.QUICK", least)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fit_ = model.fitter(max_iter=6, tol=0, seed=0, init=start).fit({"y": y}, sample_weight=np.arange(1.0, 61.0))
        found.append(fit_)
    np.testing.assert_allclose(found[0].history_, found[1].history_, rtol=1e-6)
    np.testing.assert_allclose(found[0].params_["a"], found[1].params_["a"], rtol=1e-3)
    assert found[0].log_likelihood_ == pytest.approx(found[1].log_likelihood_, rel=1e-6)


def test_points_are_shared_where_rows_meet_the_latent_through_the_same_functions() -> None:
    assert compiled("item_response").quick is not None
    assert compiled("logistic_random_effects").quick is None  # X[n] @ beta + b: each row has a function of its own
    assert compiled("poisson_lognormal").quick is None  # a latent with bounds


# ------------------------------------------------------------------ the ladder


def test_the_reason_tells_what_ties_the_latent() -> None:
    plan = compiled("logistic_random_effects").plan["b"]
    assert "log(1 + exp(" in plan.reason and "ties b to cases: no family" in plan.reason
    assert "15 points" in plan.reason
    assert "an infer line asks for it" in compiled("item_response").plan["ability"].reason
    text = """
    model Hazards
    param a : real
    for g in G:
        latent u[g] ~ Normal(0, 1)
        for t in T: observed y[g, t] ~ Bernoulli(1 - exp(-exp(a + u[g])))
    """
    hazards = emdsl.compile(text=text)
    for reason in (hazards.plan["u"].reason, hazards.updates["a"].reason):
        assert "log(1 - exp(-exp(a + u[g]))) ties" in reason  # log1mexp(...) is no function of the user's


LADDER = {  # nothing asked for -> the method of each latent
    """
        latent mu ~ Normal(0, 10)
        latent tau ~ Gamma(2, 1)
        for n in N:
            observed x[n] ~ Normal(mu, precision = tau)""": {"mu": "quadrature", "tau": "exact:hybrid"},
    """
        latent mu ~ Normal(0, 10)
        latent tau ~ Gamma(2, 1)
        for n in N:
            latent   z[n] ~ Bernoulli(0.4)
            observed x[n] ~ Normal(mu if z[n] else 0, precision = tau)""": dict.fromkeys(
        ["mu", "tau", "z"], "meanfield"
    ),
}


@pytest.mark.parametrize("text", LADDER)
def test_the_ladder(text: str) -> None:
    """Quadrature, which tells its error, is before mean-field, but where a mixture may have several modes."""
    model = emdsl.compile(text="model M\n" + "\n".join(line[8:] for line in text.splitlines()))
    assert {n: choice.method for n, choice in model.plan.items()} == LADDER[text]
    for choice in model.plan.values():
        assert ("not quadrature: a discrete latent leaves a mixture" in choice.reason) == (choice.method == "meanfield")


REFUSED = {
    "at most 2 dimensions, and an element of (b) has 3": """
        param S : spd[3]
        for g in G:
            latent b[g] : real[3] ~ MvNormal(zeros(3), S)
            observed y[g] ~ Poisson(exp(b[g, 0] + b[g, 1] + b[g, 2]))
        infer b by quadrature""",
    "tied to one another": """
        param s : positive
        for t in T:
            latent b[t] ~ Normal(0, s) if t == 0 else Normal(b[t-1], s)
            observed y[t] ~ Normal(0, exp(b[t]))
        infer b by quadrature""",
    "the integral is over": """
        param s : positive
        for i in I:
            latent b[i] ~ Normal(0, s)
        for j in J:
            latent c[j] ~ Normal(0, s)
        for n in N:
            given k[n] : index[I]
            given l[n] : index[J]
            observed y[n] ~ Bernoulli(logit = b[k[n]] + c[l[n]])
        infer b, c by quadrature""",
    "c is tied to b": """
        param s : positive
        for i in I:
            latent a[i] ~ Normal(0, s)
            for j in J:
                latent b[i, j] ~ Normal(0, 1)
                for k in K:
                    latent c[i, j, k] ~ Normal(a[i], 1)
                    observed y[i, j, k] ~ Poisson(exp(b[i, j] + c[i, j, k]))
        infer a, b, c by quadrature""",
    "the elements of mu are tied to one another": """
        size K = 2
        for k in K:
            latent mu[k] ~ Normal(0, 10)
        for n in N:
            latent   z[n] ~ Bernoulli(0.4)
            observed x[n] ~ Normal(mu[z[n]], 1)
        infer mu by quadrature""",
    "its states are summed out exactly": """
        param w : simplex[2]
        for i in I:
            latent b[i] ~ Categorical(w)
            observed y[i] ~ Normal(b[i], 1)
        infer b by quadrature""",
    "it jumps there": """
        param m : real
        for i in I:
            latent b[i] ~ Normal(m, 1)
            observed y[i] ~ Normal(0, 1 + (b[i]^2 > 2))
        infer b by quadrature""",
}


@pytest.mark.parametrize("said", REFUSED)
def test_what_has_no_quadrature_says_why(said: str) -> None:
    refusal = emdsl.compile(text="model M\n" + "\n".join(line[8:] for line in REFUSED[said].splitlines())).refusal
    assert isinstance(refusal, ModelError)
    assert said in str(refusal)


LEVEL = special.beta(0.3, 0.5)


@pytest.mark.parametrize(
    ("prior", "log_prior", "least"),
    [
        ("Gamma(0.1, 0.2)", lambda u: 0.1 * (u + np.log(0.2)) - 0.2 * np.exp(u) - special.gammaln(0.1), -400.0),
        (
            "Beta(0.3, 0.5)",
            lambda u: special.log_expit(u) * 0.3 + special.log_expit(-u) * 0.5 - math.log(LEVEL),
            -150.0,
        ),
    ],
)
def test_tails_of_latents_with_a_bound(prior: str, log_prior: Callable[[Any], Any], least: float) -> None:
    """Their log or logit falls off exponentially: Gauss-Hermite of 15 points was off by tenths and did not know."""
    text = f"model M\nparam s : positive\nfor n in N:\n    latent g[n] ~ {prior}\n    observed x[n] ~ Normal(g[n], s)\n"
    x = np.array([0.05, 0.4, 0.9])
    fit = emdsl.compile(text=text + "infer g by quadrature\n").fitter(max_iter=0).fit({"x": x}, init={"s": 0.3})
    u = np.linspace(least, 100.0, 400_001)[:, None]
    value = np.exp(np.minimum(u, 5.0)) if "Gamma" in prior else special.expit(u)
    log = log_prior(u) - 0.5 * ((x - value) / 0.3) ** 2 - np.log(0.3 * np.sqrt(2 * np.pi))
    expected = np.log(integrate.trapezoid(np.exp(log), u, axis=0)).sum()
    assert fit.log_likelihood_ == pytest.approx(expected, abs=5e-4)
    assert abs(fit.log_likelihood_ - expected) < 3 * abs(fit.quadrature_error_) + 1e-6


@pytest.mark.parametrize("prior", ["StudentT(3, 0.5, 0.8)", "Gumbel(0.5, 0.8)"])
def test_tails_that_are_no_gaussians(prior: str) -> None:
    """Where data tell little a posterior falls as its prior does: Gauss-Hermite was off by 1e-3 and more."""
    text = "model M\nfamily Gumbel(x : real | m : real, s : positive) = -log(s) - (x - m)/s - exp(-(x - m)/s)\n"
    text += (
        f"param a : real\nfor n in N:\n    latent b[n] ~ {prior}\n    observed y[n] ~ Poisson(log_rate = a + b[n])\n"
    )
    model, y = emdsl.compile(text=text), np.array([0, 1, 8])
    found = model.fitter(max_iter=0, init={"a": 0.3}).fit({"y": y})
    law = stats.t(3, 0.5, 0.8) if "Student" in prior else stats.gumbel_r(0.5, 0.8)
    b = np.sinh(np.linspace(-14.0, 3.0, 40_001))[:, None]
    log = law.logpdf(b) + stats.poisson.logpmf(y, np.exp(0.3 + b))
    wanted = np.log(integrate.simpson(np.exp(log), x=b[:, 0], axis=0)).sum()
    assert abs(found.log_likelihood_ - wanted) < 1e-8
    assert "doubly exponential" in model.plan["b"].reason


def test_points_without_a_share_hold_no_infinite_functions() -> None:
    """The second element has no mass anywhere: nothing of it moves."""
    points = np.array([[[1.0, 1.0], [1e200, 2.0], [3.0, 3.0]]])
    table = np.array([[0.0, LOWEST], [-800.0, LOWEST], [np.nan, LOWEST]])
    at, volume, log = where_mass_is(points, np.zeros((3, 2)), table)
    np.testing.assert_array_equal(at, [[[1.0, 1.0], [1.0, 2.0], [1.0, 3.0]]])
    np.testing.assert_array_equal(volume, [[0.0, 0.0], [LOWEST, 0.0], [LOWEST, 0.0]])
    assert np.isfinite(log).all() and (np.exp(log[:, 0]).sum() == 1.0) and (log[:, 1] == LOWEST).all()
    with np.errstate(over="ignore"):
        assert (np.exp(log + volume)[:, 0] * at[0, :, 0] ** 2).sum() == 1.0


KINKED: dict[str, tuple[str, Callable[..., Any]]] = {
    "a folded mean": (
        "latent u[n] ~ Normal(0, b)\n    observed y[n] ~ Normal(a + abs(u[n]), s)",
        lambda u, x, y: stats.norm.logpdf(u, 0, 0.9) + stats.norm.logpdf(y, 0.7 + abs(u), 0.25),
    ),
    "folded by row": (
        "latent u[n] ~ Normal(0, b)\n    observed y[n] ~ StudentT(4, a + abs(2*u[n] - x[n]), s)",
        lambda u, x, y: stats.norm.logpdf(u, 0, 0.9) + stats.t.logpdf(y, 4, 0.7 + abs(2 * u - x), 0.25),
    ),
    "two limits": (
        "latent u[n] ~ Gamma(2, b)\n    observed y[n] ~ Normal(a + min(max(u[n], x[n]), 1.5), s)",
        lambda u, x, y: stats.gamma.logpdf(u, 2, scale=1 / 0.9) + stats.norm.logpdf(y, 0.7 + np.clip(u, x, 1.5), 0.25),
    ),
    "a step": (
        "latent u[n] ~ Normal(0, b)\n    observed y[n] ~ Normal(a + u[n], s + (u[n] > x[n]))",
        lambda u, x, y: stats.norm.logpdf(u, 0, 0.9) + stats.norm.logpdf(y, 0.7 + u, 0.25 + (u > x)),
    ),
}
AT = {"a": 0.7, "b": 0.9, "s": 0.25}


@pytest.mark.parametrize("name", KINKED)
def test_kinks_cut_the_line(name: str) -> None:
    """Densities with a mode on each side of a kink, against adaptive integration from kink to kink."""
    lines, log_density = KINKED[name]
    x, y = np.array([-0.4, 0.0, 0.3, 1.1]), np.array([0.8, 1.6, 2.4, 2.1])
    model = emdsl.compile(text=PARAMS + "for n in N:\n    given x[n] : real\n    " + lines)
    fit = model.fitter(max_iter=0, init=AT).fit({"x": x, "y": y})
    wanted, low = [], 0.0 if "Gamma" in lines else -9.0
    for row in zip(x, y, strict=True):
        ends = sorted({low, 12.0, 60.0, *(k for k in (-1.5, 0.0, row[0] / 2, row[0], 1.5) if k > low)})
        parts = [
            integrate.quad(lambda u, row=row: np.exp(log_density(u, *row)), p, q, epsabs=0, epsrel=1e-11, limit=200)[0]
            for p, q in itertools.pairwise(ends)
        ]
        wanted.append(np.log(sum(parts)))
    np.testing.assert_allclose(fit.score_samples({"x": x, "y": y}), wanted, atol=2e-7)
    assert abs(fit.quadrature_error_) < 1e-6 and "kinks" in model.plan["u"].reason


PARAMS = "model M\nparam a : real\nparam b : positive\nparam s : positive\n"


def test_groups_of_data_in_thousands() -> None:
    """From effects that spread by 1 under data of thousands, noise explained all: `converged` 16 below the optimum."""
    text = """model Groups
param a : real
param r : positive
param s : positive
for j in G:
    latent u[j] ~ Normal(a, r)
    for i in I:
        observed y[j, i] ~ StudentT(4, u[j], s)
infer u by quadrature"""
    y = np.add.outer(2 * np.cos(3 * np.arange(6)), np.sin(1 + 2.3 * np.arange(8)))
    ends = [emdsl.compile(text=text).fitter().fit({"y": k * y}).log_likelihood_ + y.size * np.log(k) for k in (1, 4096)]
    assert ends[1] == pytest.approx(ends[0], rel=1e-5)


def test_more_points_than_numpy_has_weights_for() -> None:
    """From some 370 points on numpy's weights overflow: twice 301 points were none at all."""
    text = "model M\nparam m : real\nfor n in N:\n    latent u[n] ~ Normal(m, 1)\n    observed x[n] ~ Normal(u[n], 1)\n"
    fit = emdsl.compile(text=f"{text}infer u by quadrature(points = 301)").fitter(max_iter=0, init={"m": 0.0})
    fitted = fit.fit({"x": [1.0, -2.0]})
    assert fitted.log_likelihood_ == pytest.approx(-5 / 4 - np.log(4 * np.pi), rel=1e-12)
    assert abs(fitted.quadrature_error_) < 1e-12


STEEP = """
model Steep
param a[J] : positive
param c[J] : real
for i in I:
    latent u[i] ~ {prior}
    for j in J:
        observed y[i, j] ~ Bernoulli(logit = a[j] * {read} + c[j])
"""


@pytest.mark.parametrize("two", [False, True], ids=["one number", "two"])
def test_points_are_as_many_as_the_log_likelihood_needs(two: bool, tmp_path: Path) -> None:
    """Steep items make a posterior of steps, which few points do not see: more are taken, where no line says how many,
    for the whole climb, for what is asked of the fit later, and after it was saved."""
    rng = np.random.default_rng(1)
    u, slopes = rng.normal(size=(14, 2)), np.array([8.0, 3.0, 12.0])
    level = (u[:, [0]] + np.array([0.0, 0.5, 1.0]) * u[:, [1]]) if two else u[:, [0]]
    data = {"y": (rng.random((14, 3)) < special.expit(slopes * level)).astype(int)}
    start = {"a": slopes, "c": np.array([0.5, 0.0, -2.0])}
    t = np.linspace(-7, 7, 501 if two else 4001)
    grid = np.meshgrid(t, t) if two else [t]
    weight = -0.5 * sum(g**2 for g in grid) + len(grid) * math.log((t[1] - t[0]) / math.sqrt(2 * math.pi))
    each = {}
    for code in {tuple(row) for row in data["y"]}:
        at = [slopes[j] * (grid[0] + 0.5 * j * two * grid[-1]) + start["c"][j] for j in range(3)]
        each[code] = special.logsumexp(weight - sum(np.logaddexp(0, (1 - 2 * v) * e) for v, e in zip(code, at)))  # noqa: B905
    wanted = np.array([each[tuple(row)] for row in data["y"]])
    prior, read = ("MvNormal(zeros(2), eye(2))", "(u[i, 0] + 0.5 * j * u[i, 1])") if two else ("Normal(0, 1)", "u[i]")
    model = emdsl.compile(text=STEEP.format(prior=prior, read=read))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        few = emdsl.compile(text=model.text, infer={"u": "quadrature(points = 15)"}).fitter(max_iter=0, init=start)
        few, found = few.fit(data), model.fitter(max_iter=0, init=start).fit(data)
        climbed = model.fitter(max_iter=4, init={"a": slopes / 3, "c": np.zeros(3)}).fit(data)
    assert abs(few.log_likelihood_ - wanted.sum()) > 1e-3 and "times the points" not in few.message_
    assert abs(found.log_likelihood_ - wanted.sum()) < 3e-7 * abs(wanted.sum())
    assert abs(found.quadrature_error_) < 1e-7 * (1 + abs(wanted.sum())) and "times the points" in found.message_
    np.testing.assert_allclose(found.score_samples(data), wanted, atol=1e-5)
    found.save(tmp_path / "fit.json")
    np.testing.assert_array_equal(emdsl.load(tmp_path / "fit.json").score_samples(data), found.score_samples(data))
    assert np.diff(climbed.history_).min() > 0 and len(climbed.history_) == 5


def test_curves_of_a_compartment_against_a_grid() -> None:
    """Absorption and clearance differ by subject, inside exponentials (as in nlme's Theophylline, where the accurate
    maximum is -177.7399: nlme's -177.0214 is of a linearised model, Laplace's approximation there -177.8709)."""
    text = """
    model Compartment
    param k : real
    param m : real[2]
    param s : positive[3]
    for n in N:
        given t[n] : real
    for g in G:
        latent a[g] ~ Normal(m[0], s[0])
        latent c[g] ~ Normal(m[1], s[1])
        for n in N:
            observed y[g, n] ~ Normal(exp(k - c[g]) * (exp(-exp(k) * t[n]) - exp(-exp(a[g]) * t[n])), s[2])
    """
    t, params = np.array([0.3, 1.0, 2.0, 5.0]), {"k": -1.0, "m": [0.5, -1.2], "s": [0.6, 0.3, 0.15]}
    y = np.array([[0.4, 0.9, 0.8, 0.2], [0.2, 0.6, 0.9, 0.5], [0.7, 0.9, 0.7, 0.3]])
    a, c = np.meshgrid(np.linspace(-4, 5, 301), np.linspace(-4, 2, 301), indexing="ij")
    curve = np.exp(-1.0 - c)[..., None] * (np.exp(-np.exp(-1.0) * t) - np.exp(-np.exp(a)[..., None] * t))
    prior = stats.norm.logpdf(a, 0.5, 0.6) + stats.norm.logpdf(c, -1.2, 0.3) + math.log(9 / 300 * 6 / 300)
    wanted = sum(special.logsumexp(prior + stats.norm.logpdf(row, curve, 0.15).sum(-1)) for row in y)
    model: Any = emdsl.compile(text=text)
    assert abs(value(model, params, {"t": t, "y": y}, G=3, N=4) - wanted) < 1e-5 * abs(wanted)
    assert len(model.derived.expected.mixed) == 1  # no statistic comes of the square: it is not opened


@pytest.mark.filterwarnings("ignore::UserWarning")  # one iteration does not converge
def test_slopes_at_points_are_added_up_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows beside the points of their groups: one M-step whole, and in pieces of three rows."""
    text = """
    model M
    param k : real
    param s : positive
    for g in G:
        latent b[g] ~ Normal(0, 1)
    for n in N:
        given group[n] : index[G]
        given t[n] : real
        observed y[n] ~ Normal(exp(-k * t[n] * exp(b[group[n]])), s)
    """
    rng, called, found = np.random.default_rng(0), [], []
    data = {"group": np.repeat(np.arange(5), 4), "t": rng.uniform(0, 3, 20), "y": rng.normal(1, 0.5, 20)}
    module: Any = emdsl.compile(text=text).load_module()
    for most in (20, 3):

        def cut(n: int, _: int, most: int = most) -> list[slice]:
            called.append(n)
            return [slice(a, min(a + most, n)) for a in range(0, n, most)]

        monkeypatch.setitem(module.__dict__, "chunks", cut)
        found.append(module.M(init={"k": 0.4, "s": 0.7}, max_iter=1, tol=0).fit(data).params_)
    assert {*called} == {20}
    for n, value in found[0].items():
        np.testing.assert_allclose(found[1][n], value, rtol=1e-10)


def test_a_softmax_beyond_what_exponentials_reach() -> None:
    """A log-normal number in a softmax, whose denominator is 1 + exp(a) + exp(-a): one of 400 lies beyond a = 710."""
    model = emdsl.compile(
        text="model M\nparam s : positive\nparam r : real\nfor n in N:\n    latent b[n] ~ LogNormal(0, s)\n"
        "    observed y[n] ~ Categorical(softmax([0, r + b[n], -(r + b[n])]))"
    )
    y = np.array([0, 1, 2])
    fit = model.fitter(max_iter=0, init={"s": 2.34, "r": -3.0}).fit({"y": y})
    u = np.linspace(-40, 40, 400_001)
    a = np.exp(u) - 3
    log_p = special.log_softmax(np.stack([np.zeros_like(a), a, -a]), axis=0) + stats.norm.logpdf(u, 0, 2.34)
    wanted = np.log(np.trapezoid(np.exp(log_p), u, axis=1))[y]
    np.testing.assert_allclose(fit.score_samples({"y": y}), wanted, atol=1e-8)
    assert abs(fit.quadrature_error_) < 1e-7


@pytest.mark.parametrize(
    ("prior", "variance"), [("StudentT(3, 0, s)", 12.0), ("InverseGamma(2.2, s)", 4 / (1.2**2 * 0.2))]
)
def test_variances_of_long_tails(prior: str, variance: float) -> None:
    """Of a group of which nothing is seen, that of its prior: points reached as far as the mass did, and 2e-3 of it and
    6e-3 were lost, of which twice the points told nothing."""
    found = grouped(
        "Normal(m + b[group[n]], 1)", prior.replace("s)", "tau)"), domain="real" if "T" in prior else "positive"
    )
    fit = found.fitter(max_iter=0, init={"m": 0.0, "tau": 2.0}).fit({"group": [1, 1], "x": [0, 0], "y": [0.3, 1.5]})
    np.testing.assert_allclose(fit.posterior_["b"]["var"][0], variance, rtol=1e-8)


def test_rounding_far_out_is_no_mass() -> None:
    """Found by chance: a cut Normal summed out left terms that cancel at 1e104: three signs were e^950 likely."""
    text = """
        model FarOut
        param p : positive
        param r : real
        for n in N:
            latent other[n] ~ Laplace(0, p)
            given e[n] : real
            latent time[n] ~ Normal(r + other[n], var = 2)
            observed y[n] ~ Delta(time[n] > e[n])
    """
    data = {"e": np.array([0.5, 0.2, 0.3]), "y": np.array([1, 0, 1])}
    fit = emdsl.compile(text=text).fitter(max_iter=0).fit(data, init={"p": 1.0, "r": 0.2})
    total = 0.0
    for e, y in zip(data["e"], data["y"], strict=True):
        beyond = stats.norm.sf if y else stats.norm.cdf
        total += np.log(
            integrate.quad(lambda o: stats.laplace.pdf(o) * beyond(e - 0.2 - o, scale=2**0.5), -40, 40, points=[0])[0]  # noqa: B023
        )
    assert fit.log_likelihood_ == pytest.approx(total, abs=1e-7)


def test_a_vector_of_which_nothing_is_seen_falls_as_its_own_density() -> None:
    """Two numbers of a Student distribution: its tails were left to Gauss and Hermite's points, off by 0.003."""
    model = emdsl.compile(
        text="model M\nparam s : positive\nparam r : real\nfor n in N:\n"
        "    latent own[n] ~ MvStudentT(5, zeros(2), s * eye(2))\n"
        "    observed c[n] ~ MvNormal(own[n], eye(2))\n    observed y[n] ~ Normal(r, 1)\n"
    )
    gone = np.full(2, np.nan)
    seen = {"c": np.array([[0.8, 0.6], [-2.6, -1.7]]), "y": np.zeros(2)}
    fit = model.fitter(max_iter=0, init={"s": 2.0, "r": 0.0}).fit(seen)
    rows = fit.score_samples({"c": np.stack([gone, seen["c"][0]]), "y": np.array([np.nan, 0.0])})
    assert abs(rows[0]) < 1e-5
    fit = model.fitter(max_iter=0, init={"s": 2.0, "r": 0.0}).fit({"c": np.stack([gone, seen["c"][0]]), "y": seen["y"]})
    np.testing.assert_allclose(fit.posterior_["own"]["cov"][0], 2.0 * np.eye(2) * 5 / 3, rtol=1e-7, atol=1e-7)


def test_a_state_has_no_mass_where_another_follows_its_tail() -> None:
    """Of h under z = 0 nothing is seen, and its points go as far as a t does, where exp(h) under z = 1 is infinite."""
    text = """model M
param a : real
param w : simplex[2]
param c : real
for n in N:
    latent z[n] ~ Categorical(w)
    latent h[n] ~ StudentT(4, a, 1)
    observed y[n] ~ Poisson(exp(c + z[n] * h[n]))
"""
    y = np.random.default_rng(0).poisson(2, 40)
    fit = emdsl.compile(text=text).fitter(max_iter=5, seed=0).fit({"y": y})
    assert len(fit.history_) == 6 and all(np.diff(fit.history_) > -1e-9), fit.history_


@pytest.mark.parametrize("off", [1e-5, 3e-4, 0.05])
def test_a_mode_is_found_where_slopes_are_not_quite_those_of_values(off: float) -> None:
    """Found by chance: slopes that hold the points of an integral inside still led 1e-3 of a width beside the top, and
    the mode was looked for by 819 integrals, at each E-step."""
    asked = []

    def density(u: np.ndarray, slopes: bool = False):
        asked.append(0)
        value = -0.5 * u[0] ** 2 + np.zeros(u.shape[1:])
        return (value, off - u, -np.ones((1, *u.shape))) if slopes else value

    u, curvature = find_modes(density, np.array([[[2.0, -1.0]]]))
    assert len(asked) < 40 and np.abs(u).max() < 2 * off and (curvature == -1).all()


def test_a_group_of_which_all_is_missing_moves_no_estimate() -> None:
    """Found by chance: a missing positive number stood as 1e-60 beside a mean of exp(2 u), which has no end where no
    data hold u: a went from 1.4 to 132."""
    text = """model M
param a : real
param p : positive
for g in G:
    latent u[g] ~ Gamma(2, 0.9)
    for n in N[g]:
        observed y[g, n] ~ InverseGaussian(exp(a - u[g]), p)
"""
    rng, model = np.random.default_rng(0), emdsl.compile(text=text)
    y = [rng.gamma(2, 1, 3) for _ in range(5)]
    ends = [
        model.fitter(max_iter=3, tol=0).fit({"y": data}, init={"a": 0.5, "p": 1.5}).params_
        for data in (y, [*y, np.array([np.nan])])
    ]
    assert all(ends[1][n] == pytest.approx(v, rel=1e-9) for n, v in ends[0].items())


def test_an_exponential_that_overflows_beside_no_data_leaves_a_density() -> None:
    """0 times infinity at the ends of twice the points: all points of such a group stood on its mode, at no width."""

    def density(at: np.ndarray, slopes: bool = False):
        with np.errstate(all="ignore"):
            value = -0.5 * at[0] ** 2 - 0.0 * np.exp(60 * at[0])
        return (value, -at, -np.ones((1, *at.shape))) if slopes else value

    for points in (15, 30, 60):
        found = adapted(density, [(None, None)], gaussian_tails(points, 1), np.zeros((1, 3)))[2]
        assert special.logsumexp(found, axis=0) == pytest.approx(np.log(2 * np.pi) / 2, abs=1e-9)


def test_points_grow_while_there_is_room_for_all_that_is_made_at_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table of a chain inside points has the states of each element at each point, of the finest that are tried."""
    text = """
        model ChainInside
        param mean[3] : real
        for g in G:
            latent u[g] ~ Normal(0, 2)
            for t in T[g]:
                latent z[g, t] ~ Categorical([0.2, 0.3, 0.5]) if t == 0 else Categorical([0.2, 0.3, 0.5])
                factor 0 if t == 0 else 0.7 * (z[g, t] == z[g, t-1])
                observed y[g, t] ~ Normal(mean[z[g, t]] + u[g], 0.1)
        infer u by quadrature
    """
    model: Any = emdsl.compile(text=text)
    rng = np.random.default_rng(0)
    data = {"y": [rng.normal(size=4) for _ in range(5)]}
    start, times = {"mean": [-1.0, 0.0, 1.0]}, {}
    for room in (1e9, 3 * 60 * 20, 3 * 60 * 20 - 1):
        monkeypatch.setattr(climbs, "ROOM", room)
        fit = model.fitter(max_iter=0).fit(data, init=start)
        times[room] = fit._training[1].get("times", 1)
    assert [*times.values()] == [8, 2, 1], times


def test_a_chain_inside_points_whose_number_is_known_with_them() -> None:
    """Laplace noise bends at every row, and panels are cut there: tables of a chain's first states, which hold no row,
    were made for the points of the rule."""
    text = """
        model ChainInsidePanels
        param mean[2] : real
        for g in G:
            latent u[g] ~ Normal(0, 2)
            for t in T[g]:
                latent z[g, t] ~ Categorical([0.3, 0.7])
                factor 0 if t == 0 else 0.7 * (z[g, t] == z[g, t-1])
                observed y[g, t] ~ Laplace(mean[z[g, t]] + u[g], 0.2)
        infer u by quadrature
    """
    rows, mean, share = [np.array([0.3, 1.4, -0.2]), np.array([-1.0, 0.1])], np.array([-0.6, 0.7]), np.array([0.3, 0.7])
    fit = emdsl.compile(text=text).fitter(max_iter=0).fit({"y": rows}, init={"mean": mean})
    wanted = 0.0
    for y in rows:
        paths = [np.array(z) for z in itertools.product((0, 1), repeat=len(y))]
        weights = [share[z].prod() * np.exp(0.7 * (z[1:] == z[:-1]).sum()) for z in paths]

        def density(u: float, y: Any = y, paths: Any = paths, weights: Any = weights) -> float:
            each = [w * stats.laplace.pdf(y, mean[z] + u, 0.2).prod() for z, w in zip(paths, weights, strict=True)]
            return float(stats.norm.pdf(u, 0, 2) * sum(each))

        bends = np.sort(np.subtract.outer(y, mean).ravel())
        ends = [-12.0, *bends, 12.0]
        wanted += np.log(
            sum(integrate.quad(density, *e, epsabs=1e-14, epsrel=1e-12)[0] for e in itertools.pairwise(ends))
        )
    assert fit.log_likelihood_ == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize("share", ["logistic({})", "(1 + tanh({} / 2)) / 2", "1 - 1 / (1 + exp({}))"])
def test_probabilities_that_round_to_one_far_out_stop_no_step(share: str) -> None:
    """Guessed answers (Birnbaum's third parameter): at points of hardly any mass 1 - p was 0, a wall at which Newton
    stood in half of all data."""
    item = f"c + (1 - c) * ({share.format('(a[j] * (u[i] - b[j]))')})"
    text = f"""
        model Guessing
        param a[J] : positive
        param b[J] : real
        param c : unit
        for i in I:
            latent u[i] ~ Normal(0, 1)
            for j in J: observed y[i, j] ~ Bernoulli({item})
        infer u by quadrature(points = 80)
    """
    y = np.random.default_rng(11).integers(2, size=(12, 3))
    start = {"a": np.array([4.0, 2.3, 1.7]), "b": np.array([-0.4, 0.0, 0.4]), "c": 0.3}
    step = emdsl.compile(text=text).fitter(max_iter=1).fit({"y": y}, init=start).params_
    u = np.linspace(-9, 9, 4001)

    def chance(v: Any) -> Any:
        return v["c"] + (1 - v["c"]) * special.expit(v["a"][:, None] * (u - v["b"][:, None]))

    p = chance(start)
    q = np.exp(y @ np.log(p) + (1 - y) @ np.log1p(-np.minimum(p, 1 - 1e-16)) - u**2 / 2)
    q /= q.sum(1, keepdims=True)

    def expected(**moved: Any) -> float:
        p = chance({**step, **moved})
        return float((y.T @ q * np.log(p) + (1 - y).T @ q * np.log1p(-np.minimum(p, 1 - 1e-16))).sum())

    for name in "abc":
        for k in range(np.size(step[name])):
            off = np.zeros(np.shape(step[name]))
            off.flat[k] = 1e-4 * np.reshape(step[name], -1)[k]
            ahead, back = (expected(**{name: step[name] + sign * off}) for sign in (1, -1))
            assert abs(ahead - back) < 1e-8
