"""Structured posteriors (`structures/`): every configuration enumerated, at parameters that no M-step made."""

from __future__ import annotations

import re
import warnings
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pytest
from gallery import written
from scipy.special import logsumexp
from scipy.stats import multivariate_normal, norm
from structures import Structure, chains, classes, enumerate_all, networks

from emdsl import EmdslError, load

CASES = [*chains.CASES, *classes.CASES, *networks.CASES]
pytestmark = pytest.mark.filterwarnings("ignore::emdsl.runtime.data.faults.ConvergenceWarning")


def flat(value: Any) -> Any:
    """Lists of ragged sequences one after the other."""
    if not isinstance(value, list):
        return np.asarray(value)
    return np.concatenate([flat(v) for v in value if len(v)])


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_exact(case: Structure) -> None:
    """Log-likelihood, marginals, path; then EM: each value is that of its parameters, and none is below the last."""
    rng = np.random.default_rng(crc32(case.name.encode()))
    data, truth = case.make(rng)
    model = written(case.text)
    assert {n: model.plan[n].method for n in case.plan} == dict(case.plan)
    fit = model.fitter(max_iter=0, **case.options).fit(data, init=truth)
    value, marginals, best = enumerate_all(case, truth, data)
    assert fit.log_likelihood_ == pytest.approx(value, rel=1e-11)
    for name, p in marginals.items():
        np.testing.assert_allclose(flat(fit.posterior_[name]), p, rtol=1e-9, atol=1e-12)
    path = fit.predict(data)
    for name in marginals:
        np.testing.assert_array_equal(flat(path if len(marginals) == 1 else path[name]), best[name])
    fisher(case, model, truth, data)
    climbed = model.fitter(max_iter=4, tol=0, **case.options).fit(data, init=truth)
    assert (np.diff(climbed.history_) > -1e-9).all()
    assert climbed.log_likelihood_ == pytest.approx(enumerate_all(case, climbed.params_, data)[0], rel=1e-9)


@pytest.mark.parametrize("name", ["classes of sequences", "mixture inside"])
def test_the_most_probable_configuration_is_joint(name: str) -> None:
    """Also where no latent's own most probable state is in it: of twenty draws some are such."""
    case = next(c for c in CASES if c.name == name)
    model, apart = written(case.text), 0
    for seed in range(20):
        data, params = case.make(np.random.default_rng(seed))
        data = {
            n: [a[:k] for a, k in zip(v, (3, 2), strict=False)] if isinstance(v, list) else v[:3]
            for n, v in data.items()
        }
        fit = model.fitter(max_iter=0).fit(data, init=params)
        latents = {"z": ((5,), 2), "g": ((2,), 2)} if "g" in fit.posterior_ else {"z": ((3,), 2), "c": ((3,), 2)}
        small = replace(case, latents=lambda d, found=latents: found)
        best, found = enumerate_all(small, params, data)[2], fit.predict(data)
        for latent in latents:
            np.testing.assert_array_equal(flat(found[latent]), best[latent])
        alone = {n: flat(fit.posterior_[n]).argmax(-1) for n in latents}
        apart += any((alone[n] != best[n]).any() for n in latents)
    assert apart


def fisher(case: Structure, model: Any, params: Any, data: Any) -> None:
    """A small step of the M-step's way raises the log-likelihood at first order by as much as it raises Q (Fisher)."""
    step = model.fitter(max_iter=1, tol=0, **case.options).fit(data, init=params).params_
    posterior = weights(case, params, data)

    def q(at: Any) -> float:
        return float(sum(w * case.log_joint(at, data, z) for w, z in posterior if w > 1e-13))

    def between(s: float) -> Any:
        return {n: np.asarray(v) + s * (np.asarray(step[n]) - np.asarray(v)) for n, v in params.items()}

    h = 1e-4
    slope = (enumerate_all(case, between(h), data)[0] - enumerate_all(case, between(-h), data)[0]) / (2 * h)
    assert (q(between(h)) - q(between(-h))) / (2 * h) == pytest.approx(slope, rel=1e-5, abs=1e-6)
    hybrid = any(p.method == "exact:hybrid" for p in model.plan.values())  # Q is then of more than these latents
    ecm = any(u.conditional_on for u in model.updates.values())
    if not (hybrid or ecm or any("~" in line for line in case.text.splitlines() if line.strip().startswith("param"))):
        top = (q(between(1 + 1e-6)) - q(between(1 - 1e-6))) / 2e-6  # the M-step's result is a stationary point of Q
        assert abs(top) < 1e-5 * (1 + abs(slope))


def weights(case: Structure, params: Any, data: Any) -> list[tuple[float, Any]]:
    """Every configuration with its posterior probability."""
    found: list[tuple[float, Any]] = []

    def seen(p: Any, d: Any, z: Any) -> float:
        value = case.log_joint(p, d, z)
        found.append((value, {n: v.copy() for n, v in z.items()}))
        return value

    total = enumerate_all(Structure(case.name, case.text, case.make, case.latents, seen), params, data)[0]
    return [(float(np.exp(v - total)), z) for v, z in found]


def test_effects_are_mixtures_over_configurations() -> None:
    """Moments of crossed effects beside classes, from the dense posterior under every configuration of the classes."""
    case = classes.CASES[0]
    data, params = case.make(np.random.default_rng(3))
    posterior = written(case.text).fitter(max_iter=0).fit(data, init=params).posterior_
    first, second = np.zeros(7), np.zeros((7, 7))
    for weight, z in weights(case, params, data):
        mean, prior, reads, y = classes.effects(params, data, z["z"])
        gain = prior @ reads.T @ np.linalg.inv(reads @ prior @ reads.T + params["sigma"] ** 2 * np.eye(len(y)))
        mean = mean + gain @ (y - reads @ mean)
        first += weight * mean
        second += weight * (prior - gain @ reads @ prior + np.outer(mean, mean))
    variances = (second - np.outer(first, first)).diagonal()
    for name, at in (("u", slice(0, 4)), ("v", slice(4, 7))):
        np.testing.assert_allclose(posterior[name]["mean"], first[at], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(posterior[name]["var"], variances[at], rtol=1e-9)


def test_too_many_configurations_are_told_with_their_number(tmp_path: Path) -> None:
    """Refused where a line asks for them; unasked, a bound is fitted that says so, also when it is loaded."""
    model = written(f"{classes.CROSSED}    infer z by exact\n")
    data = {"y": np.arange(40.0), "g": np.arange(40), "h": np.arange(40) % 3}
    with pytest.raises(ValueError, match=r"2\^40, which is 1099511627776, and at most 65536") as caught:
        model.fitter().fit(data)
    line = re.search(r"write (infer .*? by meanfield)", str(caught.value))
    assert line is not None
    bound = written(f"{classes.CROSSED}\n    {line[1]}\n").plan
    assert {p.method for p in bound.values()} == {"meanfield"}
    with pytest.warns(UserWarning, match=r"2\^40 configurations of z are more than .* by meanfield instead"):
        fit = written(classes.CROSSED).fitter(max_iter=2, seed=0).fit(data)
    assert fit.log_likelihood_ is None and set(fit.posterior_) == {"z", "u", "v"}
    fit.save(tmp_path / "fit.json")
    assert load(tmp_path / "fit.json").score(data) == pytest.approx(fit.score(data))
    few = {n: x[:4] for n, x in data.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert fit.score(few) == pytest.approx(fit.score(few))  # by the same module, whatever the data
    assert written(classes.CROSSED).fitter(max_iter=1, seed=0).fit(few).log_likelihood_ is not None


def test_classes_of_groups_are_configurations_within_each() -> None:
    """Pupils of a school through a given: of each school's own; all of all schools were taken, and its derivation, in
    which sums over pupils and over classes met, raised ValueError."""
    model = written(classes.PUPILS)
    assert "2^P configurations of all elements of z within each G" in model.plan["z"].reason
    assert "beyond z leaves those that are 0" in " ".join(str(model.derivation).split())


def test_a_variance_of_zero_under_classes_is_said() -> None:
    """A given that makes steps of no variance is taken; under gates the exception of a generated module came out."""
    text = """
    model Steps
    param q[2] : positive
    for i in I:
        latent z[i] ~ Bernoulli(0.5)
        for t in T:
            given dt[i, t] : real
            latent h[i, t] ~ Normal(0, 1) if t == 0 else Normal(h[i, t-1], var = q[z[i]] * dt[i, t])
            observed y[i, t] ~ Normal(h[i, t], 1)
    """
    with pytest.raises(EmdslError, match="a given or a number of the model makes a variance 0"):
        written(text).fitter(seed=0).fit({"dt": [[1.0, 0.0, 1.0]], "y": [[0.3, 1.0, 2.0]]})


def test_a_derivation_of_vectors_under_configurations() -> None:
    """What is said of missing cells is of the model as written: its configurations have no levels of their own."""
    text = """
    model Vectors
    param m[2] : real[2]
    param R : spd[2]
    for s in S:
        latent b[s] ~ MvNormal(zeros(2), eye(2))
        for t in T:
            latent z[s, t] ~ Categorical([0.5, 0.5])
            observed y[s, t] ~ MvNormal(m[z[s, t]] + b[s], R)
    infer z, b by exact
    """
    assert "Cells of y may be missing" in str(written(text).derivation)


BAGS = """
model Bags
param b : real
param c[5] : real
for s in S:
    for i in T[s]:
        given x[s, i] : real
    let score[s] = [b * x[s, i] + c[i] for i in T[s]]
    observed y[s] ~ Normal(sum(b * x[s, i] for i in T[s] if i > 0) + ones(T[s]) @ score[s], 1)
    observed k[s] ~ Categorical(softmax(score[s]))
    for t in T[s]:
        observed u[s, t] ~ Normal((cumsum(score[s])[t] + logsumexp(score[s])) / T[s], 1)
"""


def test_sums_over_ragged_rows_end_with_the_row() -> None:
    """Were over all rows of the data, whichever they belong to."""
    rng = np.random.default_rng(2)
    lengths, b, c = (3, 1, 0, 2), 0.7, rng.normal(size=5)
    x, u = ([rng.normal(size=n) for n in lengths] for _ in range(2))
    y, k = rng.normal(size=4), np.array([2, 0, np.nan, 1])
    expected = 0.0
    for s, n in enumerate(lengths):
        score = b * x[s] + c[:n]
        expected += norm.logpdf(y[s], b * x[s][1:].sum() + score.sum())
        if n:
            expected += score[int(k[s])] - logsumexp(score)
            expected += norm.logpdf(u[s], (np.cumsum(score) + logsumexp(score)) / n).sum()
    fit = written(BAGS).fitter(max_iter=0).fit({"x": x, "y": y, "k": k, "u": u}, init={"b": b, "c": c})
    assert fit.log_likelihood_ == pytest.approx(expected)


@pytest.mark.parametrize(
    ("sum_over", "of"),
    [
        ("sum(T[k] * w[k] for k in S)", lambda x, w: sum(len(a) * b for a, b in zip(x, w, strict=True))),
        ("sum(w[k] * sum(x[k, j] for j in T[k]) for k in S)",
         lambda x, w: sum(a.sum() * b for a, b in zip(x, w, strict=True))),
    ],
    ids=["lengths", "sums"],
)  # fmt: skip
def test_rows_of_a_sum_have_lengths_of_their_own(sum_over: str, of: Any) -> None:
    """Within a row every `T[k]` was the length of that row, whichever k was."""
    text = f"""
    model Others
    param c : real
    for s in S:
        given w[s] : real
        for t in T[s]:
            given x[s, t] : real
            observed y[s, t] ~ Normal(c * {sum_over}, 1)
    """
    rng = np.random.default_rng(3)
    x, y = ([rng.normal(size=n) for n in (3, 1, 0, 2)] for _ in range(2))
    w = rng.normal(size=4)
    fit = written(text).fitter(max_iter=0).fit({"x": x, "y": y, "w": w}, init={"c": 0.3})
    expected = norm.logpdf(np.concatenate(y), 0.3 * of(x, w)).sum()
    assert fit.log_likelihood_ == pytest.approx(expected, rel=1e-12)


ALIGNED = """
model Aligned
param j : real[5]
param table[3] : simplex[3]
for s in S:
    for i in I[s]:
        given word[s, i] : category[3]
    for t in L[s]:
        let jump[s, t] = ones(I[s]) / I[s] if t == 0 else softmax([j[k - a[s, t-1] + 2] for k in I[s]])
        latent a[s, t] ~ Categorical(jump[s, t])
        observed x[s, t] : category[3] ~ Categorical(table[word[s, a[s, t]]])
"""


def test_a_chain_of_alignments_of_any_length() -> None:
    """Jumps between the words of one sentence, every path: they were normalised over the words of all sentences."""
    rng = np.random.default_rng(4)
    words, seen = [[0, 2, 1], [1], [2, 0]], [[1, 1, 2], [0, 2], []]
    j, table = rng.normal(size=5), rng.dirichlet(np.ones(3), 3)
    expected = 0.0
    for word, x in zip(words, seen, strict=True):
        total = 0.0
        for path in product(range(len(word)), repeat=len(x)):
            p = 1 / len(word) if x else 1.0
            for t, at in enumerate(path):
                jumps = np.exp([j[k - path[t - 1] + 2] for k in range(len(word))])
                p *= table[word[at], x[t]] * (jumps[at] / jumps.sum() if t else 1)
            total += p
        expected += np.log(total)
    data = {"word": [np.array(w) for w in words], "x": [np.array(v, int) for v in seen]}
    fit = written(ALIGNED).fitter(max_iter=0).fit(data, init={"j": j, "table": table})
    assert fit.log_likelihood_ == pytest.approx(expected)


NESTED = """
model Nested
param b : real
for g in G:
    for s in S:
        for t in T[s]:
            given x[g, s, t] : real
            observed u[g, s, t] ~ Normal(b * x[g, s, t] * (t == T[s]-1), 1)
        observed y[g, s] ~ Normal(b * sum(x[g, s, t] for t in T[s]), 1)
"""


VISITS = """
model Visits
param a : unit
param b : unit
for s in S:
    latent n[s] ~ Binomial(3, a)
    for j in J[s]:
        observed y[s, j] ~ Binomial(n[s], b)
"""


@pytest.mark.parametrize("name", ["classes of sequences", "classes of ragged trees", "visits"])
def test_an_empty_sequence_alone_is_scored(name: str) -> None:
    """Beside others it counted 0; alone it was refused for having no rows, which fits alone need."""
    text, data, params = VISITS, {"y": [[1.0, 2.0], []]}, {"a": 0.3, "b": 0.6}
    if name != "visits":
        case = next(c for c in CASES if c.name == name)
        text, (data, params) = case.text, case.make(np.random.default_rng(1))
    fit = written(text).fitter(max_iter=0).fit(data, init=params)
    alone = {n: [rows[0][:0]] for n, rows in data.items()}
    assert fit.score_samples(alone) == pytest.approx(0.0, abs=1e-12)
    fit.predict(alone)
    with pytest.raises(EmdslError, match="there are no rows"):
        written(text).fitter(max_iter=0).fit(alone, init=params)


def test_lengths_that_differ_by_two_plates() -> None:
    """The length of a row is that of its own place on both: it was looked up by the inner one alone."""
    rng = np.random.default_rng(6)
    x, u = ([[rng.normal(size=n) for n in row] for row in ((3, 1, 2), (2, 0, 4))] for _ in range(2))
    y, b, expected = rng.normal(size=(2, 3)), 0.6, 0.0
    for g, s in np.ndindex(2, 3):
        last = np.arange(len(x[g][s])) == len(x[g][s]) - 1
        expected += norm.logpdf(u[g][s], b * x[g][s] * last).sum() + norm.logpdf(y[g, s], b * x[g][s].sum())
    fit = written(NESTED).fitter(max_iter=0).fit({"x": x, "u": u, "y": y}, init={"b": b})
    assert fit.log_likelihood_ == pytest.approx(expected)


REVERTING = """
model Reverting
param k : positive
param v : positive
param e : positive
for t in T:
    given dt[t] : positive
    let a[t] = exp(-k * dt[t])
    latent h[t] ~ Normal(0, var = v) if t == 0 else Normal(a[t] * h[t-1], var = v * (1 - a[t]^2))
    observed y[t] ~ Normal(h[t], var = e)
"""


def test_unequal_steps_start_in_units_of_the_data() -> None:
    """Numeric parameters beside one in closed form: the start of the latter read a name that was not there."""
    rng = np.random.default_rng(8)
    dt, y = rng.uniform(0.2, 2, size=6), rng.normal(size=6)
    fit = written(REVERTING).fitter(max_iter=2, seed=0).fit({"dt": dt, "y": y})
    p, at = fit.params_, np.cumsum(dt)
    cov = p["v"] * np.exp(-p["k"] * abs(at[:, None] - at)) + p["e"] * np.eye(6)
    assert fit.log_likelihood_ == pytest.approx(multivariate_normal.logpdf(y, np.zeros(6), cov))


def test_rows_of_configurations_are_weighted_by_the_next_way() -> None:
    """Rows whose classes are met together count once each there; by mean-field they have weights, as they had."""
    text = """
    model Rows
    param p : simplex[2]
    param m[2] : real
    param t : positive
    for g in G:
        latent b[g] ~ Normal(0, t)
    for n in N:
        given of[n] : index[G]
        latent z[n] ~ Categorical(p)
        observed y[n] ~ Normal(m[z[n]] + b[of[n]], 1)
    """
    data = {"of": [0, 1, 0], "y": [0.5, 2.0, -1.0]}
    start = {"p": [0.4, 0.6], "m": [0.0, 1.0], "t": 0.7}
    with pytest.warns(UserWarning, match="rows of N cannot be weighted.* by meanfield instead"):
        weighted = written(text).fitter(max_iter=0, seed=0).fit(data, init=start, sample_weight=[2, 2, 2])
    bound = written(f"{text}infer b, z by meanfield\n").fitter(max_iter=0, seed=0)
    bound = bound.fit(data, init=start, sample_weight=[2, 2, 2])
    assert weighted.log_likelihood_ is None and weighted.objective_ == pytest.approx(bound.objective_)
    assert written(text).fitter(max_iter=0).fit(data, init=start).log_likelihood_ is not None
