"""Families cut by their variables' domains, against scipy's distributions and its optimum."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from oracles.space import gradient
from scipy import optimize, special, stats

import emdsl
from emdsl.runtime.numeric import tails

RNG = np.random.default_rng(3)
N = 80
Cut = tuple[str, str, str, float, float, tuple[float, ...], Callable[..., Any]]


def between(d, low: float, high: float) -> np.ndarray:
    """Draws of a scipy distribution between two values."""
    u = RNG.uniform(d.cdf(low), d.cdf(high), N)
    return np.asarray(d.ppf(u))


# name: (domain, family with its parameters p0, p1 of these kinds, limits, truth, scipy's distribution)
INF = np.inf
CUT: dict[str, Cut] = {
    "gamma": ("positive(min = 0.5)", "Gamma(p0, p1)", "++", 0.5, INF, (2, 1.5), lambda a, b: stats.gamma(a, 0, 1 / b)),
    "scaled": (
        "real(min = -1, max = 3)", "Gamma(p0, scale = p1)", "++", -1, 3, (2, 1), lambda a, b: stats.gamma(a, 0, b),
    ),
    "exponential": ("unit(min = 0.2)", "Exponential(p0)", "+", 0.2, 1, (1.5,), lambda a: stats.expon(0, 1 / a)),
    "laplace": ("positive", "Laplace(1, p0)", "+", 0, INF, (0.8,), lambda b: stats.laplace(1, b)),
    "student": ("real(max = 2)", "StudentT(4, p0, p1)", "r+", -INF, 2, (1, 0.8), lambda a, b: stats.t(4, a, b)),
    "lognormal": (
        "positive(max = 5)", "LogNormal(p0, p1)", "r+", 0, 5, (1, 0.8), lambda a, b: stats.lognorm(b, 0, np.exp(a)),
    ),
    "weibull": ("positive(max = 2)", "Weibull(p0, p1)", "++", 0, 2, (2, 1.5), lambda a, b: stats.weibull_min(a, 0, b)),
    "beta": ("unit(min = 0.3)", "Beta(p0, p1)", "++", 0.3, 1, (2, 3), stats.beta),
    "invgauss": (
        "positive(max = 3)", "InverseGaussian(p0, p1)", "++", 0, 3, (1.5, 2), lambda a, b: stats.invgauss(a / b, 0, b),
    ),
    "invgamma": (
        "positive(min = 0.4)", "InverseGamma(p0, p1)", "++", 0.4, INF, (3, 2), lambda a, b: stats.invgamma(a, 0, b),
    ),
}  # fmt: skip


def model_of() -> str:
    lines = ["model Cut"]
    for name, (_, _, kinds, *_) in CUT.items():
        lines += [f"param {name}{k} : {'positive' if c == '+' else 'real'}" for k, c in enumerate(kinds)]
    lines.append("for n in N:")
    for name, (domain, family, *_) in CUT.items():
        lines.append(
            f"    observed y_{name}[n] : {domain} ~ {family.replace('p0', name + '0').replace('p1', name + '1')}"
        )
    return "\n".join(lines)


def test_cut_families_reach_scipys_optimum() -> None:
    data, best, at_truth, start = {}, 0.0, 0.0, {}
    for name, (_, _, kinds, low, high, truth, dist) in CUT.items():
        y = data[f"y_{name}"] = between(dist(*truth), low, high)

        def value(u, y=y, low=low, high=high, dist=dist, kinds=kinds):
            d = dist(*(np.exp(v) if c == "+" else v for v, c in zip(u, kinds, strict=True)))
            return -(d.logpdf(y).sum() - len(y) * np.log(d.cdf(high) - d.cdf(low)))

        u = np.array([np.log(t) if c == "+" else t for t, c in zip(truth, kinds, strict=True)])
        at_truth -= value(u)
        slope = partial(gradient, value)
        best -= optimize.minimize(value, u, jac=slope, method="BFGS", options={"gtol": 1e-4}).fun
        start |= {f"{name}{k}": t for k, t in enumerate(truth)}
    model = emdsl.compile(text=model_of())
    assert model.fitter().e_step(start, data)["log_likelihood"] == pytest.approx(at_truth, rel=1e-10)
    fitted = model.fitter(tol=1e-10).fit(data)
    assert fitted.converged_
    assert fitted.log_likelihood_ == pytest.approx(best, abs=1e-6)


def test_counts_cut_where_the_data_say() -> None:
    """`min` a given: no sum that could be written out."""
    low = np.arange(60) % 3
    y = np.array([stats.poisson(2.5).ppf(RNG.uniform(stats.poisson(2.5).cdf(k - 1), 1)) for k in low])
    text = "model Cut\nparam r : positive\nfor n in N:\n    given low[n] : count\n"
    model = emdsl.compile(text=text + "    observed y[n] : count(min = low[n]) ~ Poisson(r)")

    def value(r):
        return -(stats.poisson.logpmf(y, r) - np.log(stats.poisson.sf(low - 1, r))).sum()

    found = optimize.minimize_scalar(value, bounds=(0.5, 6), method="bounded", options={"xatol": 1e-9})
    fitted = model.fitter(tol=1e-10).fit({"y": y, "low": low})
    assert fitted.log_likelihood_ == pytest.approx(-found.fun, rel=1e-9)
    assert float(fitted.params_["r"]) == pytest.approx(found.x, rel=1e-5)


@pytest.mark.parametrize(
    ("family", "at", "mirrored", "mirror_at"),
    [
        ("Normal(p, q)", (-4.0, 0.3), "Normal(p, q)", (4.3, 0.3)),  # the mass that is cut off lies below, then above
        ("Normal(p, q)", (-15.0, 0.1), "Normal(p, q)", (15.3, 0.1)),
        ("StudentT(3, p, q)", (-40.0, 1e-6), "StudentT(3, p, q)", (40.3, 1e-6)),
        ("Laplace(p, q)", (-3.0, 0.05), "Laplace(p, q)", (3.3, 0.05)),
        ("Beta(p, q)", (2.0, 90.0), "Beta(q, p)", (2.0, 90.0)),
    ],
)
def test_what_is_cut_off_below_has_the_digits_of_what_is_above(
    family: str, at: tuple[float, float], mirrored: str, mirror_at: tuple[float, float]
) -> None:
    """The same data from the left and from the right: 1 - F is 0 to the last digit on one side."""
    y, width = np.array([0.11, 0.13, 0.19]), 1.0 if "Beta" in family else 0.3
    found = []
    for f, (p, q), data, low in ((family, at, y, 0.1), (mirrored, mirror_at, width - y, width - 0.2)):
        text = "model M\nparam p : real(min = -50)\nparam q : positive\nfor n in N:\n    observed y[n] : "
        model = emdsl.compile(text=f"{text}real(min = {low}, max = {low + 0.1}) ~ {f}")
        found.append(model.fitter().e_step({"p": p, "q": q}, {"y": data})["log_likelihood"])
    assert np.isfinite(found[0]) and found[0] == pytest.approx(found[1], rel=1e-9)


def test_a_normal_cut_at_both_ends_may_pile_up_at_either() -> None:
    """At the upper end the likelihood was infinite: 1 - 1 is what lies between two values far below the mean."""
    y = RNG.exponential(0.12, 60)
    text = "model M\nparam m : real\nparam s : positive\nfor n in N: observed y[n] : unit ~ Normal(m, s)"
    model = emdsl.compile(text=text)
    low, high = (model.fitter(seed=0, tol=1e-9).fit({"y": v[(v > 0) & (v < 1)]}) for v in (y, 1 - y))
    assert high.log_likelihood_ == pytest.approx(low.log_likelihood_, abs=1e-3)


SHAPES = {  # helper: the function whose slope it is, by which argument
    "gamma_cdf_a": (special.gammainc, 0),
    "gamma_cdf_a2": (tails.gamma_cdf_a, 0),
    "beta_cdf_a": (special.betainc, 0),
    "beta_cdf_a2": (tails.beta_cdf_a, 0),
    "beta_cdf_ab": (tails.beta_cdf_a, 1),
    "student_cdf_df": (special.stdtr, 0),
    "student_cdf_df2": (tails.student_cdf_df, 0),
}


@pytest.mark.parametrize("name", SHAPES)
def test_slopes_by_a_shape(name: str) -> None:
    """Against differences of another step, at small and large shapes."""
    f, k = SHAPES[name]
    for shape in (0.3, 2.0, 40.0, 3000.0):
        at = [shape, 1.3 * shape, 0.4] if "beta" in name else [shape, 0.9 * shape if "gamma" in name else 1.2]
        step = 1e-3 * min(at[k], at[k] ** 0.5)
        up, down = (f(*(v + s * (j == k) for j, v in enumerate(at))) for s in (step, -step))
        assert getattr(tails, name)(*at) == pytest.approx((up - down) / (2 * step), rel=1e-4, abs=1e-13)
