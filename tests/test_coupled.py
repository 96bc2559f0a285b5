"""Gallery models whose latents a `factor` ties, by mean-field: against sweeps and sums written for them alone."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from gallery import compiled
from scipy import special

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
