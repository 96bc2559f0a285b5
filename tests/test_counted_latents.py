"""Latent counts without an end, summed out: against sums over thousands of counts, written out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import special, stats

import emdsl

pytestmark = pytest.mark.filterwarnings("ignore::emdsl.runtime.data.faults.ConvergenceWarning")

SITES = """
model RepeatedCounts
param rate : positive
param p    : unit
for i in I:
    latent n[i] ~ {prior}
    for t in T:
        observed y[i, t] ~ Binomial(n[i], p)
"""
MODEL = emdsl.compile(text=SITES.format(prior="Poisson(rate)"))
COUNTS = np.arange(6000)


def table(y: Any, p: float, prior: Any) -> Any:
    """log p(y_i, n) for every site and count."""
    return np.array([prior.logpmf(COUNTS) + sum(stats.binom.logpmf(v, COUNTS, p) for v in row) for row in y])


@pytest.mark.parametrize("rate", [0.7, 40.0, 1500.0])
def test_repeated_counts(rate: float) -> None:
    """Animals of a closed population (Royle 2004): few counts, and so many that every so many are taken."""
    rng = np.random.default_rng(3)
    y = rng.binomial(rng.poisson(rate, 5)[:, None], 0.4, (5, 3))
    assert MODEL.plan["n"].method == "quadrature" and MODEL.updates["rate"].kind == "closed form"
    start = {"rate": 1.2 * rate, "p": 0.3}
    log_joint = table(y, 0.3, stats.poisson(1.2 * rate))
    none = MODEL.fitter(max_iter=0, init=start).fit({"y": y})
    np.testing.assert_allclose(none.log_likelihood_, special.logsumexp(log_joint, axis=1).sum(), rtol=1e-9)
    mean = special.softmax(log_joint, axis=1) @ COUNTS
    np.testing.assert_allclose(none.posterior_["n"]["mean"], mean, rtol=1e-9)
    one = MODEL.fitter(max_iter=1, init=start).fit({"y": y}).params_
    np.testing.assert_allclose(one["rate"], mean.mean(), rtol=1e-9)
    np.testing.assert_allclose(one["p"], y.sum() / (3 * mean.sum()), rtol=1e-9)


def test_a_sum_that_begins_high() -> None:
    """A density that is highest at 0 and falls slowly: every so many counts, the first ones by the slope there."""
    model = emdsl.compile(text=SITES.format(prior="Geometric(1 / rate)"))
    y = np.zeros((2, 1))
    fit = model.fitter(max_iter=0, init={"rate": 300.0, "p": 1e-3}).fit({"y": y})
    wanted = special.logsumexp(table(y, 1e-3, stats.geom(1 / 300, loc=-1)), axis=1).sum()
    assert fit.log_likelihood_ == pytest.approx(wanted, abs=0.01)
    assert fit.quadrature_error_ == pytest.approx(wanted - fit.log_likelihood_, rel=0.2)


def test_the_certificate() -> None:
    """The whole of it, by an oracle of its own."""
    found = MODEL.verify(apart=False)
    assert not found.failures, str(found)
    assert {"posterior", "log-likelihood", "Fisher's identity"} <= {
        c.name for c in found.checks if c.status == "passed"
    }
