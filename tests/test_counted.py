"""Equal rows of a ragged plate are one element that counts: the same fits as with every row by itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gallery import compiled
from lda.datasets import load_reuters
from scipy import sparse, special

import emdsl
from emdsl.derive import plan
from emdsl.derive.posteriors import numeric_factors

pytestmark = pytest.mark.filterwarnings("ignore::emdsl.runtime.data.faults.ConvergenceWarning")

TOPICS = """model Topics
size K = 3
param topic[K] : simplex[V]
param alpha : positive[K]
for d in D:
    latent theta[d] ~ Dirichlet(alpha)
    for i in L[d]:
        latent   z[d, i] ~ Categorical(theta[d])
        observed w[d, i] ~ Categorical(topic[z[d, i]])
infer theta, z by meanfield
"""
CLASSES = """model Classes
size K = 2
param rate[K, 2] : positive
param share : simplex[2]
for d in D:
    latent mix[d] ~ Beta(2, 2)
    for i in L[d]:
        given    g[d, i] : bool
        latent   z[d, i] ~ Bernoulli(mix[d])
        observed y[d, i] : count ~ Poisson(rate[z[d, i], g[d, i]])
infer mix, z by meanfield
"""
RNG = np.random.default_rng(3)
LENGTHS = [7, 0, 30, 1, 12]
WORDS = [RNG.integers(0, 5, n) for n in LENGTHS]
HOLES = [np.where(RNG.random(n) < 0.2, np.nan, RNG.poisson(2.0, n)) for n in LENGTHS]
SIDES = [RNG.integers(0, 2, n) for n in LENGTHS]
CASES: dict[str, tuple[str, dict[str, Any], list[Any]]] = {
    "words": (TOPICS, {"w": WORDS}, [WORDS]),
    "counts with gaps and a covariate": (CLASSES, {"y": HOLES, "g": SIDES}, [HOLES, SIDES]),
}


@pytest.mark.parametrize("name", CASES)
def test_counting_changes_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a start that is the same for equal rows: history, parameters, posteriors, weights and scores."""
    text, data, columns = CASES[name]
    counted = emdsl.compile(text=text)
    assert counted.derived.joint.counted == {"L[]"}
    for module in (plan, numeric_factors):
        monkeypatch.setattr(module, "counting", lambda joint: joint)
    apart = emdsl.compile(text=text.replace("model ", "model Apart"))
    assert not apart.derived.joint.counted
    levels = np.shape(counted.fitter(max_iter=1, seed=0).fit(data).posterior_["z"][2])[-1]
    start = [started(d, [c[d] for c in columns], levels) for d in range(len(LENGTHS))]
    weight = [1.0, 2.0, 0.5, 3.0, 1.0]
    params = counted.fitter(max_iter=1, seed=1).fit(data).params_
    one, other = (
        m.fitter(max_iter=6, tol=0).fit(data, sample_weight=weight, init={**params, "z": start})
        for m in (counted, apart)
    )
    np.testing.assert_allclose(one.history_, other.history_, rtol=1e-10)
    for n, v in one.params_.items():
        np.testing.assert_allclose(v, other.params_[n], rtol=1e-8)
    for a, b in zip(one.posterior_["z"], other.posterior_["z"], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-12)
    assert [len(a) for a in one.posterior_["z"]] == LENGTHS
    assert one.score(data) == pytest.approx(other.score(data), rel=1e-7)


def started(d: int, columns: list[Any], levels: int) -> Any:
    """Probabilities that are a function of the document and the row's data."""
    seed = 1 + d + sum((k + 2) * np.nan_to_num(np.asarray(c, float), nan=17.0) for k, c in enumerate(columns))
    p = 1 + np.abs(np.sin(np.outer(seed, np.arange(1, levels + 1))))
    return p / p.sum(-1, keepdims=True)


@pytest.mark.parametrize(
    "line",
    [
        "observed w[d, i] ~ Categorical(topic[z[d, i]] if i > 0 else topic[0])",  # a row is known by its position
        "observed w[d, i] ~ Categorical(topic[z[d, i]] if i == 0 or w[d, i-1] == 0 else topic[0])",  # by a neighbour
        "observed w[d, i] ~ Categorical(topic[z[d, i]] if L[d] > 3 else topic[0])",  # its parent's length
    ],
)
def test_rows_that_are_told_apart_are_not_counted(line: str) -> None:
    text = TOPICS.replace("observed w[d, i] ~ Categorical(topic[z[d, i]])", line)
    assert not emdsl.compile(text=text).derived.joint.counted


def test_memory_is_in_distinct_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """One number for each pair, none for each of its states; three documents of 2000 tokens have 12 pairs."""
    est = emdsl.compile(text=TOPICS).fitter(max_iter=1, seed=0)
    norms, shapes = est._module.norms_of_rows, []

    def spy(*arguments: Any) -> Any:
        shapes.append(norms(*arguments).shape)
        return norms(*arguments)

    monkeypatch.setattr(est._module, "norms_of_rows", spy)
    est.fit({"w": [np.tile(np.arange(4), 500)] * 3})
    assert set(shapes) == {(12,)}
    assert max(np.size(v) for v in est.factors_.values()) == 12


def test_a_sparse_table_is_its_tokens() -> None:
    """Rows documents, columns words, in any order of entries; the number of words is that of columns."""
    at = np.repeat(np.arange(len(WORDS)), LENGTHS)
    table = sparse.coo_array((np.ones(len(at)), (at, np.concatenate(WORDS))), shape=(len(WORDS), 7))
    model = emdsl.compile(text=TOPICS)
    one, other = (model.fitter(max_iter=3, tol=0, seed=2, V=7).fit({"w": w}) for w in (table, WORDS))
    assert one.params_["topic"].shape == (3, 7)
    np.testing.assert_allclose(one.history_, other.history_, rtol=1e-10)
    for bad in (table * 0.5, -table):
        with pytest.raises(emdsl.DataError, match="counts"):
            model.fitter().fit({"w": bad})


def test_reuters() -> None:
    """395 news of Reuters (PyPI's `lda`): the bound by its formula, from topics and the posterior of theta alone."""
    counts = load_reuters()
    rows, words = np.nonzero(counts)
    tokens = [np.repeat(words[rows == d], counts[d, words[rows == d]]) for d in range(len(counts))]
    est = compiled("latent_dirichlet_allocation").fitter(K=5, V=counts.shape[1], max_iter=3, tol=0, seed=0)
    est.fit({"w": tokens})
    assert est.status_ == "max_iter" and min(np.diff(est.history_)) > 0
    assert len(est._training[1]["count L"]) == np.count_nonzero(counts) and counts.sum() == 84010
    alpha, gamma = est.params_["alpha"], est.posterior_["theta"]["concentration"]
    log_theta = special.digamma(gamma) - special.digamma(gamma.sum(1, keepdims=True))
    bound = ((alpha - gamma) * log_theta).sum() + len(gamma) * (
        special.gammaln(alpha.sum()) - special.gammaln(alpha).sum()
    )
    bound += special.gammaln(gamma).sum() - special.gammaln(gamma.sum(1)).sum()
    with np.errstate(divide="ignore"):
        seen = np.log(np.einsum("nk,kn->n", np.exp(log_theta)[rows], est.params_["topic"][:, words]))
    assert est.objective_ == pytest.approx(bound + counts[rows, words] @ seen, rel=1e-10)
