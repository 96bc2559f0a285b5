"""Sums over the elements of a discrete latent, on a plate whose length the data tell: subsets of regressors."""

from itertools import product

import numpy as np
import pytest
from gallery import written
from scipy import stats
from scipy.special import digamma, gammaln, logsumexp

from emdsl import load
from emdsl.errors import DataError, ModelError
from emdsl.fit.verify import certify

TEXT = """
model Subset
param s : positive
for p in P:
    latent g[p] ~ Bernoulli(0.3)
    latent b[p] ~ Normal(0, {sd})
for n in N:
    given X[n] : real[P]
    observed y[n] ~ Normal({mean}, s)
{infer}
"""
PRODUCTS = TEXT.replace("{sd}", "1").replace("{mean}", "sum(X[n, p] * g[p] * b[p] for p in P)")
POINTS = TEXT.replace("{sd}", "1) if g[p] else Delta(0").replace("{mean}", "X[n] @ b")


def rows(count=8, others=3):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(count, others))
    return x, x @ np.array([1, 0, -1, *[0] * (others - 3)]) + 0.7 * rng.normal(size=count)


@pytest.mark.parametrize("text", [PRODUCTS, POINTS], ids=["products", "points"])
def test_all_subsets_and_bounds_below_them(text):
    """Exact: the sum over all subsets, with what each regressor's share is; a bound lies below, and climbs."""
    x, y = rows()
    data = {"X": x, "y": y}
    logs = []
    for g in product([0, 1], repeat=3):
        cov = 0.49 * np.eye(8) + (x * g) @ x.T
        logs.append(stats.bernoulli.logpmf(g, 0.3).sum() + stats.multivariate_normal.logpdf(y, np.zeros(8), cov))
    evidence, weights = logsumexp(logs), np.exp(np.array(logs) - logsumexp(logs))
    fit = written(text.replace("{infer}", "")).fitter(max_iter=0).fit(data, init={"s": 0.7})
    assert fit.log_likelihood_ == pytest.approx(evidence, rel=1e-12)
    shares = weights @ np.array(list(product([0, 1], repeat=3)))
    np.testing.assert_allclose(fit.posterior_["g"][:, 1], shares, rtol=1e-9)
    apart = text.replace("{infer}", "infer g, b by meanfield")
    own = written(apart).fitter(seed=0, tol=1e-12, fixed={"s": 0.7}).fit(data)
    spelled = apart.replace("in P:", "in 3:").replace("in P)", "in 3)").replace("[P]", "[3]")
    other = written(spelled).fitter(seed=0, tol=1e-12, fixed={"s": 0.7}).fit(data)
    assert own.objective_ == pytest.approx(other.objective_, rel=1e-9) and own.objective_ < evidence
    assert (np.diff(own.history_) >= -1e-10).all()


def test_subsets_of_many_by_elements():
    """Their states together are too many: each element is a factor of q, with a word of warning."""
    x, y = rows(60, 30)
    with pytest.warns(UserWarning, match="30 configurations of g .* by meanfield"):
        fit = written(PRODUCTS.replace("{infer}", "")).fitter(seed=0).fit({"X": x, "y": y})
    assert set(np.flatnonzero(fit.posterior_["g"][:, 1] > 0.5)) == {0, 2}


PAIRS = """
model Field
given J : real
for i in I:
    latent z[i] ~ Bernoulli(0.4)
    observed x[i] ~ Normal(z[i], 1)
factor J * sum(2 * z[i] - 1 for i in I) ^ 2
"""


def test_a_power_of_a_sum_counts_an_element_with_itself():
    x = np.array([0.3, -1.0, 1.6, 0.2])
    joint = []
    for z in product([0, 1], repeat=4):
        joint.append(
            stats.bernoulli.logpmf(z, 0.4).sum()
            + stats.norm.logpdf(x, z).sum()
            - 0.2 * np.sum(2 * np.array(z) - 1) ** 2
        )
    fit = written(PAIRS).fitter().fit({"x": x, "J": -0.2})
    assert fit.objective_ == pytest.approx(logsumexp(joint), rel=1e-12)


def test_gaps_and_draws_of_subsets():
    """A cell of one value alone had no oracle; draws that a network ties had a density of their priors alone."""
    found = certify(written(POINTS.replace("{infer}", "")), 1, only=("log-likelihood with gaps",))
    assert not found.failures and "passed" in {c.status for c in found.checks if c.name == "log-likelihood with gaps"}
    assert not written(PRODUCTS.replace("{infer}", "infer b by saem")).derived.draws.units


def test_one_factor_of_tied_elements_tells_their_most_probable_states_together():
    """It is the posterior: each element's own most probable state was told instead."""
    alone, whole = (written(PAIRS + line) for line in ("", "infer (z) by meanfield\n"))
    data = {"x": np.array([0.55, 0.45, 0.76, 0.54]), "J": -0.6}
    exact, factor = alone.fitter().fit(data), whole.fitter().fit(data)
    np.testing.assert_array_equal(exact.predict(data), factor.predict(data))
    assert (factor.predict(data) != factor.posterior_["z"].argmax(1)).any()


DINA = """
model Dina
param mastery[K] : unit
param slip[J] : unit
param guess[J] : unit
for j in J:
    for k in K:
        given q[j, k] : bool
for n in N:
    for k in K:
        latent skill[n, k] ~ Bernoulli(mastery[k])
    for j in J:
        let able[n, j] = min([1 if q[j, k] == 0 else skill[n, k] for k in K])
        observed y[n, j] ~ Bernoulli(1 - slip[j] if able[n, j] == 1 else guess[j])
"""
NOISY_OR = """
model NoisyOr
size K = 2
param leak[J] : unit
param spared[J, K] : unit
for n in N:
    for k in K:
        latent cause[n, k] ~ Bernoulli(0.3)
    for j in J:
        observed y[n, j] ~ Bernoulli(1 - (1 - leak[j]) * exp(sum(cause[n, k] * log(spared[j, k]) for k in K)))
"""


def dina(k):
    q = np.array([s for s in product([0, 1], repeat=k) if any(s)])[-5:]
    start = {"mastery": np.linspace(0.3, 0.6, k), "slip": np.linspace(0.1, 0.3, 5), "guess": np.linspace(0.4, 0.2, 5)}

    def chance(p, c):
        return np.where((c[:, None] >= q).all(-1), 1 - p["slip"], p["guess"])

    return DINA, {"q": q}, start, chance, lambda p, c: np.where(c, p["mastery"], 1 - p["mastery"]).prod(1)


def noisy_or(k):
    start = {"leak": np.linspace(0.1, 0.3, 5), "spared": np.linspace(0.2, 0.8, 5 * k).reshape(5, k)}

    def chance(p, c):
        return 1 - (1 - p["leak"]) * np.prod(np.where(c[:, None], p["spared"], 1), -1)

    return NOISY_OR, {}, start, chance, lambda p, c: np.where(c, 0.3, 0.7).prod(1)


@pytest.mark.filterwarnings("ignore::emdsl.runtime.data.faults.ConvergenceWarning")
@pytest.mark.parametrize(("make", "k"), [(dina, 3), (dina, 4), (noisy_or, 2), (noisy_or, 3)])
def test_other_functions_of_sums_are_written_out(make, k, tmp_path):
    """Where the plate has a few elements, whatever number of them data or the user tell; a saved fit keeps to it."""
    text, given, start, chance, prior = make(k)
    y = np.random.default_rng(k).integers(0, 2, (7, 5)).astype(float)
    y[2, 1] = np.nan
    c = np.array(list(product([0, 1], repeat=k)))

    def value(p):
        rate = chance(p, c)
        each = np.where(np.isnan(y)[:, None], 1, np.where(y[:, None] == 1, rate, 1 - rate)).prod(-1)
        return np.log(each @ prior(p, c)).sum()

    model = written(text)
    data = {"y": y, **given}
    sizes = {} if given else {"K": k}
    at = model.fitter(max_iter=0, **sizes).fit(data, init=start)
    assert at.log_likelihood_ == pytest.approx(value(start), rel=1e-12)
    fit = model.fitter(max_iter=4, **sizes).fit(data, init=start)
    assert fit.log_likelihood_ == pytest.approx(value(fit.params_), rel=1e-10)
    fit.save(tmp_path / "fit.json")
    assert load(tmp_path / "fit.json").score(data) == pytest.approx(fit.score(data), rel=1e-12)


def test_certificate_of_what_is_written_out():
    """Its data have as many elements as the plan is written out for, where only data would tell."""
    found = certify(written(DINA), apart=False, only=("log-likelihood", "posterior", "M-step"))
    assert found.passed, str(found)


POOLED = """
model Pooled
size K = 3
param p : simplex[K]
param hit : unit
for g in G:
    for i in I[g]:
        given risk[g, i] : real
        latent ill[g, i] ~ Categorical(p)
        observed sign[g, i] ~ Normal(ill[g, i], 1)
    let worst[g] = sum(ill[g, i] for i in I[g] if risk[g, i] > 0) >= 3
    observed found[g] ~ Bernoulli(hit if worst[g] else 0.3 if 0 < sum(ill[g, i] == 1 for i in I[g]) else 0.05)
"""


def test_sums_over_ragged_plates_that_are_compared_with_numbers():
    """Against all states of each group, one of which is empty: two sums, one over some of the elements alone."""
    p, signs, found = np.array([0.5, 0.3, 0.2]), [[0.1, 2.2, 1.4], [], [1.9], [0.3, 1.1, 0.8, 2.5]], [1, 0, 0, 1]
    risk = [[1.0, -1.0, 1.0], [], [2.0], [1.0, 1.0, 0.5, -2.0]]
    logs, shares = [], []
    for g, sign in enumerate(signs):
        states = np.array(list(product(range(3), repeat=len(sign))), int).reshape(3 ** len(sign), -1)
        above = (states * (np.array(risk[g]) > 0)).sum(1) >= 3
        hit = np.where(above, 0.8, np.where((states == 1).any(1), 0.3, 0.05))
        log = np.log(hit if found[g] else 1 - hit) + (np.log(p[states]) + stats.norm.logpdf(sign, states)).sum(1)
        logs.append(logsumexp(log))
        shares.append(np.array([(np.exp(log - logs[-1]) @ (states == k)) for k in range(3)]).T)
    model = written(POOLED)
    fit = model.fitter(max_iter=0).fit({"risk": risk, "sign": signs, "found": found}, init={"p": p, "hit": 0.8})
    assert fit.log_likelihood_ == pytest.approx(sum(logs), rel=1e-12)
    assert set(fit.posterior_) == set(model.plan) == {"ill"}
    for own, other in zip(fit.posterior_["ill"], shares, strict=True):
        np.testing.assert_allclose(own, other, atol=1e-12)
    with pytest.raises(ModelError, match="reads the elements of ill under a sum"):
        written(POOLED.replace("] == 1 for i in I[g])", "] for i in I[g]) / 9")).module  # noqa: B018


def test_too_many_to_write_out():
    model = written(NOISY_OR)
    with pytest.raises(DataError, match="written out for K = 2, the data have K = 20: too many"):
        model.fitter(K=20).fit({"y": np.ones((3, 2))})
    with pytest.raises(ValueError, match="written out for K = 2, the data have K = 3"):  # nor can a module by itself
        model.module.NoisyOr(K=3).fit({"y": np.ones((3, 2))})


RAGGED = """
model Documents
param c[K] : real
size K = 2
for d in D:
    latent share[d] ~ Dirichlet(ones(K))
    for i in L[d]:
        latent z[d, i] ~ Categorical({of})
        observed w[d, i] ~ Categorical([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]][z[d, i]])
    observed y[d] ~ Normal(sum(c[z[d, i]] for i in L[d]), 0.8)
"""
WORDS, SCORES = [[0, 2, 2], [], [1, 0], [2]], np.array([3.0, -0.2, 0.4, 1.9])


def test_sums_over_rows_of_their_own_number():
    """Refused, where plates of one length were not; a bound of the same (supervised topics) by its definition."""
    of = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]])
    data, c = {"w": WORDS, "y": SCORES}, np.array([-0.5, 1.2])
    alone = RAGGED.replace("{of}", "[0.4, 0.6]").replace("    latent share[d] ~ Dirichlet(ones(K))\n", "")
    total = 0.0
    for w, y in zip(WORDS, SCORES, strict=True):
        every = (np.array(z, dtype=int) for z in product([0, 1], repeat=len(w)))
        total += logsumexp([
            np.log(np.array([0.4, 0.6])[z] * of[z, w]).sum() + stats.norm.logpdf(y, c[z].sum(), 0.8) for z in every
        ])  # fmt: skip
    fit = written(alone).fitter(max_iter=0).fit(data, init={"c": c})
    assert fit.log_likelihood_ == pytest.approx(total, rel=1e-12)
    fit = written(RAGGED.replace("{of}", "share[d]") + "infer share, z by meanfield\n").fitter(max_iter=30, seed=0)
    c, bound = fit.fit(data, init={"c": c}).params_["c"], 0.0
    assert (np.diff(fit.history_) >= -1e-10).all()
    for w, y, g, q in zip(WORDS, SCORES, fit.posterior_["share"]["concentration"], fit.posterior_["z"], strict=True):
        q, logs = q[: len(w)], digamma(g) - digamma(g.sum())
        bound += (q * (logs + np.log(of[:, w]).T - np.log(q))).sum() + ((1 - g) * logs).sum()
        bound += gammaln(g).sum() - gammaln(g.sum())
        bound += stats.norm.logpdf(y, (q @ c).sum(), 0.8) - (q @ c**2 - (q @ c) ** 2).sum() / 2 / 0.64
    assert fit.objective_ == pytest.approx(bound, rel=1e-10)
