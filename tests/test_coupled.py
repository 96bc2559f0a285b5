"""Gallery models whose latents a `factor` ties, by mean-field: against sweeps and sums written for them alone."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest
from gallery import compiled
from scipy import special

import emdsl
from emdsl.errors import ModelError

pytestmark = pytest.mark.filterwarnings("ignore::emdsl.runtime.data.faults.ConvergenceWarning")


def test_poisson_factorisation_by_hand() -> None:
    """Coordinate ascent on counts (Cemgil 2009, algorithm 1), which stays where the fit of events has ended."""
    rng = np.random.default_rng(0)
    y = rng.poisson(rng.gamma(0.5, 2, (6, 2)) @ rng.gamma(0.5, 2, (5, 2)).T)
    events = [np.repeat(np.arange(5), row) for row in y]
    est = compiled("poisson_factorisation").fitter(K=2, I=5, seed=0, max_iter=2000, tol=1e-14).fit({"item": events})
    assert np.diff(est.history_).min() > -1e-10
    prior = 0.3
    mine = [np.array([est.posterior_[n][p] for p in ("shape", "rate")]) for n in ("theta", "beta")]
    log = [special.digamma(shape) - np.log(rate) for shape, rate in mine]
    table = log[0][:, None] + log[1]
    parts = y[..., None] * special.softmax(table, axis=2)
    means = [shape / rate for shape, rate in mine]
    for at, (shape, rate) in enumerate(mine):
        np.testing.assert_allclose(shape, prior + parts.sum(1 - at), rtol=1e-6)
        np.testing.assert_allclose(rate, np.broadcast_to(prior + means[1 - at].sum(0), rate.shape), rtol=1e-6)
    bound = (y * special.logsumexp(table, axis=2)).sum() - (means[0].sum(0) * means[1].sum(0)).sum()
    for (shape, rate), mean, logs in zip(mine, means, log, strict=True):
        bound += (prior * np.log(prior) - special.gammaln(prior) + (prior - 1) * logs - prior * mean).sum()
        bound += (shape - np.log(rate) + special.gammaln(shape) + (1 - shape) * special.digamma(shape)).sum()
    assert est.objective_ == pytest.approx(bound, abs=1e-8)


def test_ising_denoising_by_all_pictures() -> None:
    """The bound of a picture of 3 x 3 from q alone; each spot is the best given the others; the evidence lies above."""
    seen = np.array([[1, 1, 0], [1, 0, 0], [1, 1, 1]])
    est = (
        compiled("ising_denoising").fitter(max_iter=0, seed=0).fit({"seen": seen, "likeness": 0.6}, init={"noise": 0.2})
    )
    pictures = np.array(list(product((0, 1), repeat=9))).reshape(-1, 3, 3)
    alike = (pictures[:, 1:] == pictures[:, :-1]).sum((1, 2)) + (pictures[..., 1:] == pictures[..., :-1]).sum((1, 2))
    log_p = 0.6 * alike + np.where(pictures == seen, np.log(0.8), np.log(0.2)).sum((1, 2)) + 9 * np.log(0.5)
    q = est.posterior_["spot"]
    q = q[..., 1] if np.ndim(q) == 3 else q
    each = np.where(pictures == 1, q, 1 - q)
    log_q = np.log(each).sum((1, 2))
    assert est.objective_ == pytest.approx((np.exp(log_q) * (log_p - log_q)).sum(), rel=1e-12)
    assert est.objective_ < special.logsumexp(log_p)
    settled = compiled("ising_denoising").fitter(max_iter=300, tol=1e-15, seed=0).fit({"seen": seen, "likeness": 0.6})
    noise, q = settled.params_["noise"], settled.posterior_["spot"]
    q = q[..., 1] if np.ndim(q) == 3 else q
    padded = np.pad(2 * q - 1, 1)
    near = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]
    odds = 0.6 * near + np.where(seen == 1, 1, -1) * (np.log1p(-noise) - np.log(noise))
    np.testing.assert_allclose(q, special.expit(odds), atol=1e-6)


def binaries(count: int, more: str) -> str:
    return "model Coupled\n" + "".join(f"latent b{i} ~ Bernoulli(0.4)\n" for i in range(count)) + more


def test_a_function_of_many_states_is_opened_and_not_tabulated() -> None:
    """exp and the square of a sum of ten binaries, each a factor of q: the bound from q alone, over all 2^10 states."""
    size = 10
    rate = " + ".join(f"0.{i + 1} * b{i}" for i in range(size))
    total = " + ".join(f"b{i}" for i in range(size))
    lines = f"factor -0.3 * ({total} - 3)^2\nfor n in N: observed c[n] ~ Poisson(log_rate = {rate})\n"
    infer = f"infer {', '.join(f'b{i}' for i in range(size))} by meanfield\n"
    c = np.array([3, 0, 7])
    est = emdsl.compile(text=binaries(size, lines + infer)).fitter(max_iter=5, tol=0, seed=0).fit({"c": c})
    q = np.array([est.posterior_[f"b{i}"] for i in range(size)]).reshape(size, 2)
    states = np.array(list(product((0, 1), repeat=size)))
    log_rate = states @ [float(f"0.{i + 1}") for i in range(size)]
    log_p = (c * log_rate[:, None] - np.exp(log_rate)[:, None] - special.gammaln(c + 1)).sum(1)
    log_p += np.log([0.6, 0.4])[states].sum(1) - 0.3 * (states.sum(1) - 3) ** 2
    log_q = np.log(q)[np.arange(size), states].sum(1)
    assert est.objective_ == pytest.approx((np.exp(log_q) * (log_p - log_q)).sum(), rel=1e-12)
    assert est.objective_ < special.logsumexp(log_p)


def test_latents_that_are_too_many_to_be_enumerated() -> None:
    """All pairs of eighteen: each is a factor of its own. Where one function reads them all it is drawn, or refused."""
    pairs = "".join(f"factor 0.1 * b{i} * b{j}\n" for i, j in combinations(range(18), 2))
    plan = emdsl.compile(text=binaries(18, pairs)).plan["b3"]
    assert plan.method == "meanfield" and "over 18 of them" in plan.reason
    one = f"factor log1p(exp({' + '.join(f'b{i}' for i in range(18))}))\n"
    plan = emdsl.compile(text=binaries(18, one)).plan["b3"]
    assert plan.method == "saem:gibbs" and "reads the states of 17 latents together" in plan.reason
    with pytest.raises(ModelError, match="reads the states of 17 latents together, at least 2\\^17 of them"):
        emdsl.compile(text=binaries(18, f"{one}infer {', '.join(f'b{i}' for i in range(18))} by meanfield\n")).plan[
            "b0"
        ]
    with pytest.raises(ModelError, match="a table over 18 of them, at least 2"):
        emdsl.compile(text=binaries(18, f"{pairs}infer ({', '.join(f'b{i}' for i in range(18))}) by meanfield\n")).plan[
            "b0"
        ]
