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
