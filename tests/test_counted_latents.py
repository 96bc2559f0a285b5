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


BETWEEN = """
model BetweenEnds
param rate : positive
for n in N:
    given lo[n] : real
    given hi[n] : real
    latent c[n] ~ Poisson(rate)
    observed within[n] ~ Delta(lo[n] < c[n] and c[n] <= hi[n])
"""


def test_counts_known_to_lie_between_ends() -> None:
    """Few, one alone, none below a mode; a sum cut off where the density is high, at either end and at both."""
    ends = [(-1, 3), (6, 7), (41.5, 1e9), (-5, 2400), (2300, 2600.5), (390, 1e7)]
    lo, hi = np.transpose(ends)
    model = emdsl.compile(text=BETWEEN)
    for rate, close in ((3.0, 1e-9), (40.0, 1e-5), (400.0, 1e-6), (2500.0, 1e-7)):
        fit = model.fitter(max_iter=0, init={"rate": rate}).fit({"lo": lo, "hi": hi, "within": np.ones(len(ends))})
        log_p = stats.poisson.logpmf(COUNTS, rate)
        wanted = [special.logsumexp(log_p[(low < COUNTS) & (high >= COUNTS)]) for low, high in ends]
        np.testing.assert_allclose(
            fit.score_samples({"lo": lo, "hi": hi, "within": np.ones(len(ends))}), wanted, atol=close
        )


SUMS = """
model ThinnedAndNew
param stay : unit
param rate : positive
for t in T:
    given before[t] : count
    latent kept[t] ~ Binomial(before[t], stay)
    latent new[t] ~ Poisson(rate)
    observed y[t] ~ Delta({times} * kept[t] + new[t])
"""


@pytest.mark.parametrize("times", [1, 3])
def test_sums_of_counts_that_were_seen(times: int) -> None:
    """Counts carried on and new ones (Al-Osh and Alzaid 1987): few values of `new` are possible, and not every one
    between them; of the first and the last row no distance of a power of 2 is."""
    before, y = np.array([0, 7, 2, 40]), np.array([5, 19, 11, 57])
    fit = (
        emdsl.compile(text=SUMS.format(times=times))
        .fitter(max_iter=0, init={"stay": 0.4, "rate": 6.0})
        .fit({"before": before, "y": y})
    )
    wanted = [
        special.logsumexp(stats.binom.logpmf(k := np.arange(b + 1), b, 0.4) + stats.poisson.logpmf(v - times * k, 6.0))
        for b, v in zip(before, y, strict=True)
    ]
    assert fit.log_likelihood_ == pytest.approx(sum(wanted), rel=1e-10)


GAPS = """
model CountsThatOthersRead
param rate : positive
param level : real
param slope : real
param s : positive
param share[3] : unit
for n in N:
    observed c[n] ~ Poisson(rate)
    observed y[n] ~ Normal(level + slope * c[n], s)
    observed k[n] ~ Binomial(2, share[0])
    observed hit[n] ~ Bernoulli(share[k[n]])
"""


def test_missing_counts_that_others_read() -> None:
    """A count without an end, read by a mean, and a bounded one as an index: what is missing is summed out."""
    rng = np.random.default_rng(4)
    c, k = rng.poisson(30.0, 14).astype(float), rng.binomial(2, 0.4, 14).astype(float)
    y, hit = 1 + 0.1 * c + rng.normal(size=14) / 3, rng.integers(0, 2, 14)
    c[::3], k[1::4] = np.nan, np.nan
    start = {"rate": 25.0, "level": 1.0, "slope": 0.12, "s": 0.4, "share": [0.3, 0.5, 0.8]}
    fit = emdsl.compile(text=GAPS).fitter(max_iter=0, init=start).fit({"c": c, "y": y, "k": k, "hit": hit})
    table = stats.poisson.logpmf(COUNTS, 25.0) + stats.norm.logpdf(y[:, None], 1 + 0.12 * COUNTS, 0.4)
    of_c = np.where(np.isnan(c)[:, None] | (c[:, None] == COUNTS), table, -np.inf)
    p = np.array([0.3, 0.5, 0.8])
    of_k = stats.binom.pmf([0, 1, 2], 2, 0.3) * np.where(hit[:, None] == 1, p, 1 - p)
    of_k = np.where(np.isnan(k)[:, None] | (k[:, None] == [0, 1, 2]), of_k, 0)
    wanted = special.logsumexp(of_c, axis=1).sum() + np.log(of_k.sum(axis=1)).sum()
    assert fit.log_likelihood_ == pytest.approx(wanted, abs=1e-7)
    np.testing.assert_allclose(fit.posterior_["c"]["mean"], special.softmax(of_c, axis=1) @ COUNTS, rtol=1e-7)


def test_the_certificate() -> None:
    """The whole of it, by an oracle of its own."""
    found = MODEL.verify(apart=False)
    assert not found.failures, str(found)
    assert {"posterior", "log-likelihood", "Fisher's identity"} <= {
        c.name for c in found.checks if c.status == "passed"
    }
