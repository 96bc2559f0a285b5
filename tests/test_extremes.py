"""The least or the largest of two latents, seen: against the density of either and the tail of the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gallery import written
from scipy.optimize import minimize
from scipy.stats import expon, norm, weibull_min

pytestmark = pytest.mark.filterwarnings("ignore::emdsl.runtime.data.faults.ConvergenceWarning")

TIMES = ("Exponential(a)", "Weibull(1.5, b)", lambda a, b: (expon(scale=1 / a), weibull_min(1.5, scale=b)))
NUMBERS = ("Normal(0, a)", "Normal(1, b)", lambda a, b: (norm(0, a), norm(1, b)))


@pytest.mark.parametrize("which", ["min", "max"])
@pytest.mark.parametrize("kinds", [TIMES, NUMBERS], ids=["times", "numbers"])
def test_which_of_two_it_was(which: str, kinds: Any) -> None:
    """They were refused (E112). What is told of which of them it was is Bayes' rule."""
    first, second, families = kinds
    model = written(f"""
        model OfTwo
        param a : positive
        param b : positive
        for n in N:
            latent u[n] ~ {first}
            latent v[n] ~ {second}
            observed y[n] ~ Delta({which}(u[n], v[n]))
    """)

    def parts(a: float, b: float) -> Any:
        one, two = families(a, b)
        beyond = "sf" if which == "min" else "cdf"
        return np.array([one.pdf(y) * getattr(two, beyond)(y), two.pdf(y) * getattr(one, beyond)(y)])

    rng = np.random.default_rng(2)
    y = np.abs(rng.normal(1, 0.7, size=40))
    start = model.fitter(init={"a": 0.8, "b": 1.7}, max_iter=0).fit({"y": y})
    assert start.log_likelihood_ == pytest.approx(np.log(parts(0.8, 1.7).sum(0)).sum(), rel=1e-11)
    shares = parts(0.8, 1.7) / parts(0.8, 1.7).sum(0)
    np.testing.assert_allclose(start.posterior_["y_is_u"][:, 1], shares[0], rtol=1e-9)
    found = model.fitter(init={"a": 0.8, "b": 1.7}, max_iter=5000, tol=1e-11).fit({"y": y})
    best = minimize(lambda p: -np.log(parts(*np.exp(p)).sum(0)).sum(), np.log([0.8, 1.7]), method="BFGS").fun
    assert found.log_likelihood_ == pytest.approx(-best, abs=1e-6)


CAUSES = """
    model Causes
    param a : positive
    param b : positive
    for n in N:
        latent u[n] ~ Exponential(a)
        latent v[n] ~ Weibull(1.5, b)
"""
THIRD = "        latent x[n] ~ Weibull(3, b)\n"
LEAST = "        observed y[n] ~ Delta(min(u[n], v[n]))\n        observed f[n] ~ Delta(u[n] < v[n])\n"
LARGEST = "        observed f[n] ~ Delta(v[n] >= u[n])\n        observed y[n] ~ Delta(max(u[n], v[n]))\n"
OF_THREE = (
    "        observed y[n] ~ Delta(min(u[n], min(v[n], x[n])))\n        observed f[n] ~ Delta(min(x[n], u[n]) < v[n])\n"
)


@pytest.mark.parametrize(
    "lines, beyond, were", [(LEAST, "sf", [0]), (LARGEST, "cdf", [1]), (THIRD + OF_THREE, "sf", [0, 2])]
)
def test_which_of_them_it_was_may_be_seen(lines: str, beyond: str, were: list[int]) -> None:
    """Competing risks, their cause told by what was less than what: refused, and so was the least of three."""
    y = np.array([0.5, 1.2, 0.3, 2.0])
    fit = written(CAUSES + lines).fitter(init={"a": 0.8, "b": 1.7}, max_iter=0).fit({"y": y, "f": [1, 0, np.nan, 1]})
    families = [expon(scale=1 / 0.8), weibull_min(1.5, scale=1.7), weibull_min(3, scale=1.7)][: 2 + (len(were) == 2)]
    each = np.array([getattr(d, beyond)(y) for d in families])
    each = np.array([d.pdf(y) * each.prod(0) / e for d, e in zip(families, each, strict=True)])
    yes = each[were].sum(0)
    value = np.log([yes[0], (each.sum(0) - yes)[1], each.sum(0)[2], yes[3]]).sum()
    assert fit.log_likelihood_ == pytest.approx(value, rel=1e-12)
    told = next(p for n, p in fit.posterior_.items() if "y_is" in n)
    np.testing.assert_allclose(told[2] if len(were) == 2 else told[2, ::-1], each[:, 2] / each[:, 2].sum(), rtol=1e-10)


def test_elements_of_one_array_are_told_apart_by_their_numbers() -> None:
    """`life[n, 0]` and `life[n, 1]` were refused (E112) where `u[n]` and `v[n]` were not."""
    text = """
        model Risks
        size K = 2
        param rate[K] : positive
        for n in N:
            for k in K: latent life[n, k] ~ Exponential(rate[k])
            observed y[n] ~ Delta(min(life[n, 0], life[n, 1]))
            observed f[n] ~ Delta(life[n, 0] < life[n, 1])
    """
    y = np.array([0.5, 1.2, 0.3, 2.0])
    fit = written(text).fitter(init={"rate": [0.8, 1.7]}, max_iter=0).fit({"y": y, "f": [1, 0, np.nan, 1]})
    value = np.log([0.8, 1.7, 2.5, 0.8]) - 2.5 * y
    assert fit.log_likelihood_ == pytest.approx(value.sum(), rel=1e-12)
    first, second = fit.posterior_["life"]["mean"].T  # of what goes on after y: an Exponential from there
    np.testing.assert_allclose(first[[0, 1, 3]], y[[0, 1, 3]] + [0, 1 / 0.8, 0], rtol=1e-8)
    np.testing.assert_allclose(second[[0, 1, 3]], y[[0, 1, 3]] + [1 / 1.7, 0, 1 / 1.7], rtol=1e-8)


def test_what_is_told_of_an_element_is_told_of_it_alone() -> None:
    """The moments of the element that is seen were added to those of all beside it."""
    text = """
        model OneOfTwo
        param rate[2] : positive
        for n in N:
            for k in 2: latent life[n, k] ~ Exponential(rate[k])
            given c[n] : positive
            observed y[n] ~ Delta(min(life[n, 0], c[n]))
    """
    data = {"c": np.array([1.0, 2, 3]), "y": np.array([0.5, 2, 3])}
    fit = written(text).fitter(init={"rate": [1.0, 4.0]}, max_iter=0).fit(data)
    np.testing.assert_allclose(fit.posterior_["life"]["mean"], [[0.5, 0.25], [3, 0.25], [4, 0.25]], rtol=1e-8)


@pytest.mark.parametrize(
    "seen, told",
    [
        ("", [np.nan] * 5),
        ("Delta(u[n] < min(v[n], c[n]))", [1, 0, np.nan, 0, 0]),
        ("Delta(min(v[n], u[n]) < c[n])", []),
    ],
)
def test_a_limit_beside_them_censors_all(seen: str, told: list[float]) -> None:
    """Competing risks with times at which one looks no more: refused (E112), whichever way the least was written."""
    y, c = np.array([0.5, 1.2, 0.3, 2.0, 1.0]), np.array([3, 3, 3, 2.0, 1.0])
    event = f"        observed f[n] ~ {seen}\n" if seen else ""
    lines = f"        given c[n] : positive\n        observed y[n] ~ Delta(min(min(u[n], v[n]), c[n]))\n{event}"
    data = {"y": y, "c": c} | ({"f": np.array(told or (y < c))} if seen else {})
    fit = written(CAUSES + lines).fitter(init={"a": 0.8, "b": 1.7}, max_iter=0).fit(data)
    u, v = expon(scale=1 / 0.8), weibull_min(1.5, scale=1.7)
    either = u.pdf(y) * v.sf(y), v.pdf(y) * u.sf(y)
    which = np.array(told) if "u[n] <" in seen else np.full(5, np.nan)
    density = np.where(np.isnan(which), sum(either), np.where(which == 1, *either))
    value = np.log(np.where(y < c, density, u.sf(y) * v.sf(y))).sum()
    assert fit.log_likelihood_ == pytest.approx(value, rel=1e-12)
    np.testing.assert_allclose(fit.posterior_["which_y_is"][3:], [[0, 0, 1]] * 2)
