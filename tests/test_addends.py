"""Logs of sums under mean-field: bounds by their definition, evidences, other spellings of the same."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy import special, stats

import emdsl

pytestmark = pytest.mark.filterwarnings("ignore::emdsl.runtime.data.faults.ConvergenceWarning")

GAMMAS = """
model Gammas
size K = 2
for u in U:
    for k in K: latent a[u, k] ~ Gamma(0.5, 0.5)
for i in I:
    for k in K: latent b[i, k] ~ Gamma(0.6, 0.7)
"""
PLAIN = (
    GAMMAS
    + """
for u in U:
    for i in I: observed y[u, i] ~ Poisson(a[u] @ b[i])
infer a, b by meanfield
"""
)
BESIDE = (
    GAMMAS
    + """
param m : positive
for u in U:
    latent c[u] ~ Gamma(2, 2)
    for i in I: observed y[u, i] ~ Poisson(m * c[u] + sum(a[u, k] * b[i, k] for k in K))
infer a, b, c by meanfield
"""
)
INFLATED = (
    GAMMAS
    + """
param p : unit
for u in U:
    for i in I:
        latent z[u, i] ~ Bernoulli(p)
        observed y[u, i] ~ Poisson(0.3) if z[u, i] else Poisson(sum(a[u, k] * b[i, k] for k in K))
infer a, b, z by meanfield
"""
)
TWO = """
model Two
latent a ~ Gamma(2, 1)
latent b ~ Gamma(1.5, 0.7)
for n in N: observed y[n] ~ Poisson(a + b)
infer a, b by meanfield
"""
DOCUMENTS = """
model Documents
size K = 2
param topic[K] : simplex[V]
for d in D:
    latent share[d] ~ Dirichlet(0.5 * ones(K))
"""
TOKENS = (
    DOCUMENTS
    + """
    for i in L[d]: observed w[d, i] : category[V] ~ Categorical(share[d] @ topic)
"""
)
TOPICS = (
    DOCUMENTS
    + """
    for i in L[d]:
        latent z[d, i] ~ Categorical(share[d])
        observed w[d, i] : category[V] ~ Categorical(topic[z[d, i]])
infer z, share by meanfield
"""
)
TABLE = (
    DOCUMENTS
    + """
    observed x[d] : count[V] ~ Multinomial(share[d] @ topic)
"""
)


@cache
def model_of(text: str):
    return emdsl.compile(text=text)


def fit(text: str, data, iterations: int = 300, **options):
    est = model_of(text).fitter(max_iter=iterations, tol=1e-13, seed=1).fit(data, **options)
    assert np.diff(est.history_).min(initial=0.0) > -1e-9
    return est


def gamma(told, shape: float, rate: float) -> tuple[np.ndarray, np.ndarray, float]:
    """E[x], E[log x], and the expected log prior with the entropy."""
    a, b = told["shape"], told["rate"]
    mean, log = a / b, special.digamma(a) - np.log(b)
    own = shape * np.log(rate) - special.gammaln(shape) + (shape - 1) * log - rate * mean
    return mean, log, float((own + a - np.log(b) + special.gammaln(a) + (1 - a) * special.digamma(a)).sum())


def counts(rows: int = 5, columns: int = 4) -> np.ndarray:
    return np.random.default_rng(3).poisson(2.5, (rows, columns)).astype(float)


def orders_of(x: np.ndarray) -> float:
    """Log of the number of orders in which tokens have these counts."""
    return float((special.gammaln(x.sum(1) + 1) - special.gammaln(x + 1).sum(1)).sum())


def test_sums_of_products_of_rates() -> None:
    """The bound by its definition; one more sweep of a plain loop moves nothing; no name is made for the user."""
    y = counts()
    est = fit(PLAIN, {"y": y}, 1500)
    (ma, la, more), (mb, lb, again) = gamma(est.posterior_["a"], 0.5, 0.5), gamma(est.posterior_["b"], 0.6, 0.7)
    logs = la[:, None] + lb
    bound = (y * special.logsumexp(logs, -1) - ma @ mb.T - special.gammaln(y + 1)).sum() + more + again
    assert est.objective_ == pytest.approx(bound, abs=1e-9)
    events = y[..., None] * special.softmax(logs, -1)
    np.testing.assert_allclose(est.posterior_["a"]["shape"], 0.5 + events.sum(1), rtol=1e-4)
    np.testing.assert_allclose(est.posterior_["a"]["rate"], 0.5 + np.broadcast_to(mb.sum(0), ma.shape), rtol=1e-4)
    assert set(est.posterior_) == set(model_of(PLAIN).plan) == {"a", "b"}
    assert "which addend of log(a[u] @ b[i]) an event is of" in model_of(PLAIN).plan["a"].reason


def test_a_sum_of_sums_and_numbers_with_a_gap_and_a_parameter() -> None:
    y = counts()
    y[0, 1] = np.nan
    est = fit(BESIDE, {"y": y}, 1500)
    told = est.posterior_
    (ma, la, one), (mb, lb, two) = gamma(told["a"], 0.5, 0.5), gamma(told["b"], 0.6, 0.7)
    mc, lc, three = gamma(told["c"], 2, 2)

    def bound(m: float) -> float:
        logs = np.concatenate([la[:, None] + lb, np.broadcast_to((np.log(m) + lc)[:, None, None], (*y.shape, 1))], -1)
        rows = y * special.logsumexp(logs, -1) - m * mc[:, None] - ma @ mb.T - special.gammaln(y + 1)
        return float(np.nansum(rows)) + one + two + three

    m = est.params_["m"]
    assert est.objective_ == pytest.approx(bound(m), abs=1e-9)
    assert bound(m) > max(bound(0.97 * m), bound(1.03 * m))


def test_a_sum_that_one_class_alone_has() -> None:
    """Where the class is another one all addends are alike: their probabilities still add up to one."""
    y = counts()
    est = fit(INFLATED, {"y": y})
    z, p = est.posterior_["z"][..., 1], est.params_["p"]
    (ma, la, more), (mb, lb, again) = gamma(est.posterior_["a"], 0.5, 0.5), gamma(est.posterior_["b"], 0.6, 0.7)
    logs = la[:, None] + lb + np.log(2)
    q = special.softmax((1 - z)[..., None] * logs, -1)
    rate = y * (q * logs).sum(-1) - ma @ mb.T - special.gammaln(y + 1)
    rows = (1 - z) * rate + z * stats.poisson.logpmf(y, 0.3) + y * (stats.entropy(q, axis=-1) - np.log(2))
    rows += z * np.log(p / z) + (1 - z) * np.log((1 - p) / (1 - z))
    assert est.objective_ == pytest.approx(rows.sum() + more + again, abs=1e-9)


def test_two_rates_lie_below_their_evidence_and_rows_weigh() -> None:
    y = np.array([3.0, 1.0, 4.0])

    a, b = np.linspace(0, 25, 1001)[1:], np.linspace(0, 25, 1001)[1:, None]
    density = stats.gamma.pdf(a, 2) * stats.gamma.pdf(b, 1.5, scale=1 / 0.7)
    density = density * np.prod([stats.poisson.pmf(n, a + b) for n in y], axis=0)
    evidence = np.log(density.sum() * 0.025**2)
    est = fit(TWO, {"y": y})
    assert evidence - 1.2 < est.objective_ < evidence
    twice = fit(TWO, {"y": np.append(y, y[2])})
    weighed = fit(TWO, {"y": y}, sample_weight=[1, 1, 2])
    assert weighed.objective_ == pytest.approx(twice.objective_, abs=1e-9)


def test_mixed_words_as_topics_of_tokens_and_as_counts() -> None:
    """Three spellings of topics, from one start: the same bound but for how tokens are ordered, and new documents."""
    rng = np.random.default_rng(2)
    tokens = [np.array(d) for d in ([0, 0, 1, 4], [3, 3, 2, 2, 2], [1, 0, 0], [3, 2, 4, 4, 3, 3])]
    x = np.array([np.bincount(d, minlength=5) for d in tokens], float)
    start = {"topic": rng.dirichlet(np.ones(5), 2), "share": {"concentration": rng.gamma(2, 1, (4, 2))}}
    said = [fit(TOKENS, {"w": tokens}, 6, init=start), fit(TABLE, {"x": x}, 6, init=start)]
    one = fit(TOPICS, {"w": tokens}, 6, init=start)
    np.testing.assert_allclose(said[1].params_["topic"], said[0].params_["topic"], rtol=1e-9)
    np.testing.assert_allclose(np.array(said[1].history_) - orders_of(x), said[0].history_, rtol=1e-12)
    np.testing.assert_allclose(one.history_, said[0].history_, rtol=1e-12)
    one_document = said[1].score({"x": x[:1]})
    assert one_document == pytest.approx(said[0].score({"w": tokens[:1]}) + orders_of(x[:1]), abs=1e-6)


SITES = """
model Sites
size K = 2
for k in K:
    for l in L: latent f[k, l] ~ Beta(1, 2)
for i in I:
    latent q[i] ~ Dirichlet(ones(K))
    for l in L:
        {}
infer q, f{} by meanfield
"""
MIXED = SITES.format("observed y[i, l] ~ Bernoulli(q[i] @ [f[k, l] for k in K])", "")
OF_ONE = "latent z[i, l] ~ Categorical(q[i])\n        observed y[i, l] ~ Bernoulli(f[z[i, l], l])"


def test_mixed_chances_of_yes_and_no() -> None:
    """1 - sum_k q_k f_k is a sum of q_k (1 - f_k), as the q_k add up to 1: the bound is that of cells which say
    of which they are, and lies below the evidence of two rows by a grid."""
    y = np.array([[1, 0, 0], [0, 0, 1], [1, 1, 0.0]])
    spelled = (MIXED, SITES.format(OF_ONE, ", z"))
    ends = [emdsl.compile(text=t).fitter(seed=0, tol=1e-11).fit({"y": y}).objective_ for t in spelled]
    assert ends[0] == pytest.approx(ends[1], rel=1e-7)
    grid = (np.arange(40) + 0.5) / 40
    q, f, g = np.meshgrid(grid, grid, grid, indexing="ij")
    weight = stats.beta.pdf(f[0], 1, 2) * stats.beta.pdf(g[0], 1, 2) / 1600
    chance = (q * f + (1 - q) * g).mean(0)  # each row's own share integrated out
    evidence = np.log((weight * chance * (1 - chance)).sum())
    two = emdsl.compile(text=MIXED).fitter(seed=0, tol=1e-11).fit({"y": np.array([[1.0], [0.0]])})
    assert evidence - 1.2 < two.objective_ < evidence


def test_trials_of_which_each_is_of_one_addend() -> None:
    """Admixture: both the successes of a Binomial and what they leave of its trials are events; it was refused."""
    text = """model Admixture
size K = 2
param f[L, K] : unit
for n in N:
    latent q[n] ~ Dirichlet([0.8, 1.5])
    for l in L:
        given t[n, l] : count
        observed x[n, l] ~ Binomial(t[n, l], q[n] @ f[l])
infer q by meanfield"""
    rng = np.random.default_rng(2)
    t = rng.integers(1, 4, (6, 8))
    x = rng.binomial(t, rng.dirichlet([0.8, 1.5], 6) @ rng.random((2, 8)))
    est = fit(text, {"x": x, "t": t}, 500)
    f, found, prior = est.params_["f"], est.posterior_["q"]["concentration"], np.array([0.8, 1.5])
    logs = special.digamma(found) - special.digamma(found.sum(1, keepdims=True))
    kept = [special.logsumexp(logs[:, None] + np.log(np.maximum(g, 1e-300)), -1) for g in (f, 1 - f)]
    bound = (x * kept[0] + (t - x) * kept[1] + np.log(special.comb(t, x))).sum() + ((prior - found) * logs).sum()
    bound += 6 * special.gammaln(prior.sum()) - 6 * special.gammaln(prior).sum()
    bound += special.gammaln(found).sum() - special.gammaln(found.sum(1)).sum()
    assert est.objective_ == pytest.approx(bound, abs=1e-9)
    u, w = special.roots_jacobi(60, 0.5, -0.2)  # of the first share: (1 - u)^0.5 (1 + u)^-0.2
    p = (1 + u)[:, None] / 2 * f[:, 0] + (1 - u)[:, None] / 2 * f[:, 1]
    rows = np.exp(stats.binom.logpmf(x[:, None], t[:, None], p).sum(-1)) @ w
    assert bound < np.log(rows / w.sum()).sum() < bound + 6
