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
    np.testing.assert_allclose(start.posterior_["y is u"][:, 1], shares[0], rtol=1e-9)
    found = model.fitter(init={"a": 0.8, "b": 1.7}, max_iter=5000, tol=1e-11).fit({"y": y})
    best = minimize(lambda p: -np.log(parts(*np.exp(p)).sum(0)).sum(), np.log([0.8, 1.7]), method="BFGS").fun
    assert found.log_likelihood_ == pytest.approx(-best, abs=1e-6)
