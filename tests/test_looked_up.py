"""Probabilities of rows as products of tables: against every row by itself, and what generated factors hand over."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special, stats

import emdsl
from emdsl.runtime.meanfield.looked_up import (
    codes_of_rows,
    divided_places,
    rows_by_place,
    tables_of_rows,
    weights_of_rows,
)

pytestmark = pytest.mark.filterwarnings("ignore::emdsl.runtime.data.faults.ConvergenceWarning")

CLASSES = """model Classes
size whole = 3
latent sweep ~ Dirichlet(ones(whole))
for own in whole:
    latent factors[own] ~ Dirichlet(ones(V))
for n in N:
    latent   z[n] ~ Categorical(sweep)
    observed w[n] : category[V] ~ Categorical(factors[z[n]])
"""


@pytest.mark.parametrize("kind", ["two, in order", "two, mixed", "two, with gaps", "one", "one, with gaps"])
def test_sums_through_tables_are_those_over_rows(kind: str) -> None:
    """Some rows have logarithms of which no product of exponentials is left: they are made by themselves."""
    rng = np.random.default_rng(2)
    i, j = rng.integers(4, size=30), rng.integers(6, size=30)
    i = np.sort(i) if "order" in kind else i
    there = (rng.random(30) < 0.7) + 0.0
    a, b, c = rng.normal(size=(3, 4)) * 3, rng.normal(size=(3, 6)) * 3, rng.normal(size=3)
    a[:, 1], b[:, 2], b[:, 3] = (0.0, -800.0, -900.0), (-900.0, 0.0, -900.0), (-1e200, 0.3, -1e200)
    if kind.startswith("two"):
        given = [(i, 4, None), (j, 6, there if "gaps" in kind else None)]
        logs = a[:, i] + (b[:, j] * (there if "gaps" in kind else 1.0)) + c[:, None]
    else:
        given, b = [(i, 4, there if "gaps" in kind else None)], None
        logs = a[:, i] * (there if "gaps" in kind else 1.0) + c[:, None]
    tables = [t for t in (a, b) if t is not None]
    weight = rng.random(30)
    codes, norms = codes_of_rows(*given), special.logsumexp(logs, axis=0)
    rows = tables_of_rows(codes, tables, c, weights_of_rows(codes, [weight] * len(given), 3 * weight))
    np.testing.assert_allclose(rows.log_norm, norms, rtol=1e-13)
    assert rows.total_log_norm() == pytest.approx(3 * weight @ norms, rel=1e-13)
    safe = [np.maximum(t, -300) for t in tables]  # no row is lost
    whole = tables_of_rows(codes, safe, c, weights_of_rows(codes, [None] * len(given), None))
    assert not len(whole.lost) and whole.total_log_norm() == pytest.approx(whole.log_norm.sum(), rel=1e-13)
    q = np.exp(logs - special.logsumexp(logs, axis=0))
    np.testing.assert_allclose(rows.probabilities(), q, rtol=1e-10, atol=1e-300)
    for which, (code, size, present) in enumerate(given):
        kept = np.ones(30) if present is None else present
        for other in ((), (2 * weight,)):
            wanted = np.stack([(q * weight * kept)[:, code == g].sum(axis=1) for g in range(size)], axis=1)
            wanted *= 2.0 if other else 1.0
            np.testing.assert_allclose(rows.sums(which, *other), wanted, rtol=1e-10, atol=1e-300)
    np.testing.assert_allclose(rows.totals(), q @ weight, rtol=1e-10)


def test_latent_classes_by_hand() -> None:
    """One code and a constant; codes that are missing say nothing, weights count rows; names are those of the module.

    Where z is not the last factor, its probabilities are still those that the bound is of.
    """
    rng = np.random.default_rng(0)
    w = rng.integers(4, size=25).astype(float)
    w[[3, 17]] = np.nan
    weight, seen = rng.uniform(0.5, 2, 25), ~np.isnan(w)
    start = special.softmax(rng.normal(size=(25, 3)), axis=1)
    for order in ("sweep, factors, z", "z, sweep, factors"):
        model = emdsl.compile(text=f"{CLASSES}infer {order} by meanfield\n")
        est = model.fitter(max_iter=2, tol=0).fit({"w": w}, sample_weight=weight, init={"z": start})
        q = est.posterior_["z"]
        share, p = (est.posterior_[n]["concentration"] for n in ("sweep", "factors"))
        log_share = special.digamma(share) - special.digamma(share.sum())
        log_p = special.digamma(p) - special.digamma(p.sum(1, keepdims=True))
        table = log_share + np.where(seen[:, None], log_p[:, np.where(seen, w, 0).astype(int)].T, 0.0)
        if order.endswith("z"):
            np.testing.assert_allclose(q, special.softmax(table, axis=1), rtol=1e-12)
        else:
            counts = np.stack([(weight * (w == v)) @ q for v in range(4)], axis=1)
            np.testing.assert_allclose(share, 1 + weight @ q, rtol=1e-12)
            np.testing.assert_allclose(p, 1 + counts, rtol=1e-12)
        bound = (weight[:, None] * q * (table - np.log(q))).sum()
        for c, logs in ((share, log_share), *zip(p, log_p, strict=True)):
            norm = special.gammaln(c).sum() - special.gammaln(c.sum())
            bound += special.gammaln(len(c)) + norm - ((c - 1) * logs).sum()
        assert est.objective_ == pytest.approx(bound, rel=1e-12)


def test_rows_that_data_reach_from_elsewhere() -> None:
    """More items than a chunk of rows, each read by its labels: probabilities from the other factors, by hand."""
    text = """model Crowd
size K = 3
for j in J:
    for k in K:
        latent says[j, k] ~ Dirichlet(ones(K))
for i in I:
    latent truth[i] ~ Categorical(ones(K) / K)
for r in R:
    given item[r] : index[I]
    given who[r]  : index[J]
    observed label[r] : category[K] ~ Categorical(says[who[r], truth[item[r]]])
infer says, truth by meanfield
"""
    rng = np.random.default_rng(4)
    item, who, label = rng.permutation(np.arange(9000)), rng.integers(2, size=9000), rng.integers(3, size=9000)
    est = emdsl.compile(text=text).fitter(max_iter=2, tol=0, seed=0).fit({"item": item, "who": who, "label": label})
    c = est.posterior_["says"]["concentration"]
    logs = special.digamma(c) - special.digamma(c.sum(-1, keepdims=True))
    table = np.empty((9000, 3))
    table[item] = logs[who, :, label]
    np.testing.assert_allclose(est.posterior_["truth"], special.softmax(table, axis=1), rtol=1e-10)
    bound = special.logsumexp(table, axis=1).sum() - 9000 * np.log(3)
    for rows, those in zip(c.reshape(-1, 3), logs.reshape(-1, 3), strict=True):
        bound += (
            special.gammaln(3) + special.gammaln(rows).sum() - special.gammaln(rows.sum()) - ((rows - 1) * those).sum()
        )
    assert est.objective_ == pytest.approx(bound, rel=1e-11)


def test_places_are_divided_by_what_their_rows_have() -> None:
    """Three kinds of places with words of their own, rows in any order; those without a word or a place say nothing."""
    rng = np.random.default_rng(5)
    place, kind = rng.integers(40, size=600), rng.permutation(np.arange(40) % 3)
    word = 4 * kind[place] + rng.integers(4, size=600)
    with_word, with_place = (rng.random(600) < 0.9) + 0.0, (rng.random(600) < 0.9) + 0.0
    word[with_word == 0], place[with_place == 0] = 11, 7
    codes = codes_of_rows((np.where(word < 12, word, 0), 12, with_word), (place, 41, with_place))
    choice = divided_places(codes, 1, 3, rng.integers(1, 4, size=600) + 0.0, rng)
    states = [set(choice[:40][kind == k]) for k in range(3)]
    assert [len(s) for s in states] == [1, 1, 1] and len(set.union(*states)) == 3 and len(choice) == 41
    q = rows_by_place(choice, codes, 1, 3)
    assert (q[:, with_place == 0] == 1 / 3).all()
    np.testing.assert_allclose(q[choice[place], np.arange(600)][with_place == 1], 0.9 + 0.1 / 3)


@pytest.mark.parametrize("topics", ["latent", "param"])
def test_a_fit_starts_from_groups_of_rows(topics: str) -> None:
    """Documents of two of four topics, whose words are no neighbours: at least the bound of the true topics.

    Words taken for numbers, a start would share them out by the alphabet, and stay there.
    """
    rng = np.random.default_rng(1)
    own = rng.permutation(48).reshape(4, 12)
    mixes = [rng.choice(4, 2, replace=False) for _ in range(60)]
    z = [np.where(rng.random(40) < 0.7, *mix) for mix in mixes]
    w = [own[k, rng.integers(12, size=40)] for k in z]
    head = {
        "latent": "for k in K:\n    latent topic[k] ~ Dirichlet(0.1 * ones(V))\n",
        "param": "param topic[K] : simplex[V]\n",
    }
    model = emdsl.compile(
        text=f"model Mixed\nsize K = 4\n{head[topics]}for d in D:\n    latent theta[d] ~ Dirichlet(0.2 * ones(K))\n"
        "    for i in L[d]:\n        latent z[d, i] ~ Categorical(theta[d])\n"
        "        observed w[d, i] : category[V] ~ Categorical(topic[z[d, i]])\n"
        f"infer theta, {'topic, ' if topics == 'latent' else ''}z by meanfield\n"
    )
    params = {"topic": (np.arange(48) == own[..., None]).any(1) / 12.0} if topics == "param" else {}
    truth = {**params, "z": [np.eye(4)[k] for k in z]}
    best = model.fitter(V=48, seed=0).fit({"w": w}, init=truth).objective_
    found = [model.fitter(V=48, seed=seed).fit({"w": w}) for seed in range(3)]
    assert max(f.objective_ for f in found) > best - 1e-4 * abs(best)
    assert all(f.objective_ > best - 0.05 * abs(best) for f in found)
    again = found[0].posterior({"w": w[:5]})["theta"]["mean"]
    np.testing.assert_allclose(again, found[0].posterior_["theta"]["mean"][:5], atol=0.02)


def test_numbers_that_a_label_picks_in_rows_of_any_chunk() -> None:
    """More rows than a chunk: a covariate and a latent number, each picked by a label of the row."""
    rng = np.random.default_rng(6)
    x, label = rng.normal(size=(9000, 3)), rng.integers(3, size=9000)
    picked = x[np.arange(9000), label]
    y = 2 * picked + rng.normal(size=9000)
    text = """model Picked
param slope : real
param sd : positive
for n in N:
    given x[n] : real[3]
    given label[n] : category[3]
    observed y[n] ~ Normal(slope * x[n, label[n]], sd)
"""
    slope = emdsl.compile(text=text).fitter().fit({"x": x, "label": label, "y": y}).params_["slope"]
    assert slope == pytest.approx(picked @ y / (picked @ picked), rel=1e-10)
    text = """model Hidden
param scale : positive[3]
for n in N:
    given label[n] : category[3]
    latent u[n] : real[3] ~ MvNormal(zeros(3), diag(scale))
    observed y[n] ~ Normal(u[n, label[n]], 1)
"""
    scale = np.array([0.5, 1.0, 2.0])
    est = emdsl.compile(text=text).fitter(max_iter=0, init={"scale": scale}).fit({"label": label, "y": y})
    wanted = stats.norm.logpdf(y, 0, np.sqrt(1 + scale[label])).sum()
    assert est.log_likelihood_ == pytest.approx(wanted, rel=1e-10)
