"""Latents that lie between ends of their own, told by givens: against scipy's integrals and sums, row by row."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from gallery import written
from scipy import integrate, stats

import emdsl
from emdsl.fit.interpret import log_joint
from emdsl.fit.verify import certify

pytestmark = pytest.mark.filterwarnings("ignore::emdsl.runtime.data.faults.ConvergenceWarning")

LO, HI = np.array([-0.7, 0.2, 1.1, -2.0]), np.array([0.4, 1.5, 3.0, 0.5])
X = np.array([0.3, 0.9, 1.7, -0.2])
LINES = """model Bounded
param a : positive
param s : positive
given top : count = 3
for n in N:
    given lo[n] : real
    given hi[n] : real
    given most[n] : count
    latent y[n] {} ~ {}
    observed x[n] ~ Normal(y[n], s)
"""
DATA = {"lo": LO, "hi": HI, "most": [3, 1, 4, 2], "x": X}
START = {"a": 1.3, "s": 0.6}
NONE = np.full(4, np.inf)
NORMAL, GAMMA, EVEN = stats.norm(1.3, 1), stats.gamma(2, scale=1 / 1.3), stats.uniform(0, 1)


@pytest.mark.parametrize(
    ("domain", "family", "prior", "low", "high", "method"),
    [
        (": real(min = lo[n], max = hi[n])", "Normal(a, 1)", NORMAL, LO, HI, "exact:conjugate"),
        (": real(max = 2*hi[n] - top)", "Normal(a, 1)", NORMAL, -NONE, 2 * HI - 3, "exact:conjugate"),
        (": real(max = top)", "Normal(a, 1)", NORMAL, -NONE, 0 * HI + 3, "exact:conjugate"),
        (": positive(min = lo[n])", "Normal(a, 1)", NORMAL, np.maximum(LO, 0), NONE, "exact:conjugate"),
        (": positive", "Normal(a, 1)", NORMAL, 0 * HI, NONE, "exact:conjugate"),
        (": unit", "Normal(a, 1)", NORMAL, 0 * HI, 0 * HI + 1, "exact:conjugate"),
        (": positive(max = hi[n])", "Gamma(2, a)", GAMMA, 0 * HI, HI, "quadrature"),
        ("", "Uniform(lo[n], hi[n])", stats.uniform(LO, HI - LO), LO, HI, "exact:conjugate"),
        (": real(max = hi[n])", "Uniform(0, 1)", EVEN, 0 * HI, np.minimum(HI, 1), "exact:conjugate"),
    ],
)
def test_what_a_row_leaves(domain: str, family: str, prior: Any, low: Any, high: Any, method: str) -> None:
    model = written(LINES.format(domain, family))
    assert model.plan["y"].method == method
    found = model.fitter(max_iter=0, init=START).fit(DATA)
    within = np.broadcast_to(np.log(prior.cdf(high) - prior.cdf(low)), 4)

    def mass(n: int, power: int = 0) -> float:
        def f(u: float) -> float:
            return float(np.broadcast_to(prior.pdf(u), 4)[n] * stats.norm.pdf(X[n], u, 0.6) * u**power)

        return integrate.quad(f, max(low[n], -12), min(high[n], 14), epsabs=1e-13)[0]

    wanted = sum(math.log(mass(n)) - within[n] for n in range(4))
    assert found.log_likelihood_ == pytest.approx(wanted, abs=1e-9)
    means = [mass(n, 1) / mass(n) for n in range(4)]
    np.testing.assert_allclose(found.posterior_["y"]["mean"], means, atol=1e-7)


@pytest.mark.parametrize(
    ("domain", "family", "prior", "low", "high"),
    [
        (": count(min = most[n])", "Poisson(a)", stats.poisson(1.3), [3, 1, 4, 2], [99] * 4),
        (": count(min = 1, max = most[n])", "Poisson(a)", stats.poisson(1.3), [1] * 4, [3, 1, 4, 2]),
        (": count(min = 1)", "Binomial(4, a/2)", stats.binom(4, 0.65), [1] * 4, [4] * 4),
        (": count(min = 1, max = 3)", "Binomial(4, a/2)", stats.binom(4, 0.65), [1] * 4, [3] * 4),
    ],
)
def test_counts_between_ends(domain: str, family: str, prior: Any, low: Any, high: Any) -> None:
    model = written(LINES.format(domain, family))
    wanted = 0.0
    for n in range(4):
        k = np.arange(low[n], high[n] + 1)
        p = prior.pmf(k)
        wanted += math.log((p * stats.norm.pdf(X[n], k, 0.6)).sum() / p.sum())
    found = model.fitter(max_iter=0, init=START).fit(DATA)
    assert found.log_likelihood_ == pytest.approx(wanted, abs=1e-9)


def test_the_interpreter_cuts_a_binomial() -> None:
    """A family with ends of its own has less mass on a narrower domain, too: it was taken as whole."""
    text = "model M\nfor n in N:\n    observed y[n] : count(min = 1, max = 3) ~ Binomial(4, 0.3)\n"
    prior = stats.binom(4, 0.3)
    wanted = prior.logpmf([1, 3]).sum() - 2 * math.log(prior.pmf([1, 2, 3]).sum())
    assert log_joint(written(text).resolved, {"y": np.array([1, 3])}, {"N": 2}, {}) == pytest.approx(wanted)


def test_draws_stay_between_ends() -> None:
    """A Student's tails leave no closed conditional: the kernel moves between the ends of each row."""
    text = LINES.format(": real(min = lo[n], max = hi[n])", "Normal(a, 1)").replace(
        "Normal(y[n], s)", "StudentT(4, y[n], s)"
    )
    sampled, exact = (
        written(f"{text}infer y by {method}\n").fitter(max_iter=0, init=START, seed=0).fit(DATA).posterior_["y"]["mean"]
        for method in ("mcmc(sweeps = 2000)", "quadrature")
    )
    np.testing.assert_allclose(sampled, exact, atol=0.06)


@pytest.mark.parametrize("low", [-35.0, 0.0, 35.0])
def test_sampling_between_ends_that_draws_hardly_ever_meet(low: float) -> None:
    """They were drawn again and again until one fell inside; where none did, nothing was drawn."""
    text = """model M
for n in N:
    given lo[n] : real
    latent y[n] : real(min = lo[n], max = lo[n] + 0.001) ~ Normal(0, 1)
    latent k[n] : count(min = 9, max = 11) ~ Poisson(0.5)
    observed x[n] ~ Normal(y[n] + k[n], 1)
"""
    model = written(text)
    drawn = model.sample({}, {"N": 800}, 0, {"lo": np.full(800, low)})
    known = stats.truncnorm(low, low + 0.001)
    assert stats.kstest(drawn["y"], known.cdf).pvalue > 1e-3 and np.ptp(drawn["y"]) > 9e-4
    p = stats.poisson.pmf([9, 10, 11], 0.5)
    np.testing.assert_allclose(np.bincount(drawn["k"].astype(int))[9:12] / 800, p / p.sum(), atol=0.03)


def test_ends_that_leave_nothing_are_named() -> None:
    model = written(LINES.format(": real(min = lo[n], max = hi[n])", "Normal(a, 1)"))
    for high in (-0.7, -2.0):
        with pytest.raises(
            emdsl.DataError, match=rf"y: its bounds leave nothing .*\(min = -0.7, max = {high:g}, in row 0\)"
        ):
            model.fitter().fit({**DATA, "hi": np.where(np.arange(4) == 0, high, HI)})


@pytest.mark.parametrize("seed", [0, 4])
def test_a_mean_that_no_row_tells_of_holds_back_no_scale(seed: int) -> None:
    """Below all intervals the mean of a Laplace is level but for rounding: steps of 1e7 in it had no numbers, the scale
    was measured in 1e-12, and the fit had converged where it began."""
    model = written("""model M
param s : positive
param m : real
for n in N:
    given c[n] : real
    latent u[n] : real(min = c[n], max = c[n] + 2) ~ Laplace(m, s)
    observed y[n] ~ Normal(u[n], 1)
""")
    assert certify(model, seed, apart=False, only=("M-step", "two steps are one, twice")).passed


@pytest.mark.parametrize(
    ("kind", "low", "told"),
    [
        ("latent   x[s, t] : real(min = lo[s, t], max = hi[s])", [0.0, 0.0, 0.0, 1.5], r"min = 1.5, max = 1, in row 3"),
        ("observed x[s, t] : real(min = lo[s, t] - 1, max = 9)", [0.0, 0.0, 3.5, 0.0], r"x: lies below .* row 2: 2"),
    ],
)
def test_ends_of_ragged_rows_are_looked_at(kind: str, low: list[float], told: str) -> None:
    """What lay beyond its end was fitted as if it did not; ends that cross were an overflow."""
    model = written(f"""model M
param a : real
for s in S:
    given hi[s] : real
    for t in T[s]:
        given lo[s, t] : real
        {kind} ~ Normal(a + 0 * hi[s], 1)
        observed y[s, t] ~ Normal({"x[s, t]" if "latent" in kind else "a"}, 1)
""")
    data = {n: [np.array(v[:2]), np.array(v[2:])] for n, v in (("lo", low), ("y", X), ("x", [1.0, 2.0, 2.0, 0.0]))}
    data |= {"hi": np.array([2.0, 1.0])}  # type: ignore[dict-item]
    used = {n: v for n, v in data.items() if n != "x" or "observed x" in kind}
    with pytest.raises(emdsl.DataError, match=told):
        model.fitter(seed=0).fit(used)
    used["lo"] = [np.zeros(2), np.zeros(2)]
    assert np.isfinite(model.fitter(seed=0, max_iter=1).fit(used).objective_)
