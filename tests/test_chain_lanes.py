"""Chains from their data to their statistics in lanes: codes, gaps, weights, and rooms that are used again."""

from __future__ import annotations

from functools import partial
from itertools import product
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm
from test_recursion import plain

import emdsl
from emdsl.runtime.discrete import chains as chains_module
from emdsl.runtime.discrete import logchains
from emdsl.runtime.discrete.chains import chain_posterior, chains
from emdsl.runtime.discrete.lanes import Laid, Lanes, lane_codes, lane_lookup, lane_table, out_of_lanes, sequences
from emdsl.runtime.discrete.logchains import LogPairs
from emdsl.runtime.discrete.paths import most_probable_path
from emdsl.runtime.numeric.preparation import log_table

LOWEST = -1e200
TWO_LATENTS = """
    model Pairs
    size A = 2
    size B = 2
    param fa : simplex[A]
    param fb : simplex[B]
    param ta[A] : simplex[A]
    param tb[B] : simplex[B]
    param word[A, B] : simplex[V]
    param rate[B] : positive
    for t in T:
        latent   a[t] ~ Categorical(fa) if t == 0 else Categorical(ta[a[t-1]])
        latent   b[t] ~ Categorical(fb) if t == 0 else Categorical(tb[b[t-1]])
        observed w[t] : category[V] ~ Categorical(word[a[t], b[t]])
        observed y[t] ~ Poisson(rate[b[t]])
"""
LAG_TWO = """
    model Ragged
    size K = 2
    param first : simplex[K]
    param second[K] : simplex[K]
    param trans[K, K] : simplex[K]
    param word[K] : simplex[V]
    param sign[K] : simplex[U]
    param mean[K] : real
    for s in S:
        for t in T[s]:
            latent   z[s, t] ~ (Categorical(first) if t == 0 else Categorical(second[z[s, t-1]]) if t == 1
                                else Categorical(trans[z[s, t-2], z[s, t-1]]))
            observed w[s, t] : category[V] ~ Categorical(word[z[s, t]])
            observed v[s, t] : category[U] ~ Categorical(sign[z[s, t]])
            observed x[s, t] ~ Normal(mean[z[s, t]], 1)
"""


@pytest.mark.parametrize("text", [TWO_LATENTS, LAG_TWO], ids=["two latents", "lag two, two columns of codes"])
def test_codes_beside_numbers(text: str) -> None:
    """Every configuration enumerated by the interpreter of the language, and the slopes of the M-step."""
    model = emdsl.compile(text=text)
    certificate = model.verify(seed=1)
    assert certificate.passed, str(certificate)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_weight_is_the_sequence_so_many_times_in_lanes() -> None:
    """Sequences of different lengths, one of them empty, with gaps in codes and numbers; 0 is absence."""
    rng = np.random.default_rng(2)
    lengths, weight = [5, 2, 0, 9, 1], [2, 1, 3, 0, 2]
    rows = {
        "w": [rng.integers(0, 3, n).astype(float) for n in lengths],
        "v": [rng.integers(0, 2, n).astype(float) for n in lengths],
        "x": [rng.normal(size=n) for n in lengths],
    }
    rows["w"][0][1] = rows["x"][0][2] = rows["v"][1][0] = np.nan
    again = {k: [r for r, n in zip(v, weight, strict=True) for _ in range(n)] for k, v in rows.items()}
    start = {
        "first": [0.6, 0.4], "second": [[0.7, 0.3], [0.2, 0.8]], "trans": rng.dirichlet([2.0, 2.0], (2, 2)),
        "word": rng.dirichlet(np.ones(3), 2), "sign": rng.dirichlet(np.ones(2), 2), "mean": [-1.0, 1.0],
    }  # fmt: skip
    fitter = emdsl.compile(text=LAG_TWO).fitter(max_iter=2, tol=0, V=3, U=2)
    heavy = fitter.fit(rows, sample_weight=weight, init=start)
    found, params = heavy.history_, heavy.params_
    twice = fitter.fit(again, init=start)
    np.testing.assert_allclose(found, twice.history_, rtol=1e-12)
    for name, value in twice.params_.items():
        np.testing.assert_allclose(params[name], value, rtol=1e-11)


def every_path(node: Any, edge: Any, first: Any, starts: Any, lengths: Any) -> tuple[Any, ...]:
    """A chain of lag two by all its paths: log-normalisers, q, pairs by row (a, m, c, rows), and at position 1."""
    k, rows = node.shape
    q, pairs = np.zeros((k, rows)), np.zeros((k, k, k, rows))
    values, second = np.zeros(len(starts)), np.zeros((k, k, len(starts)))
    table = np.broadcast_to(edge.reshape(k, k, k, -1), (k, k, k, rows))
    for s, (a, n) in enumerate(zip(starts, lengths, strict=True)):
        z = np.array(list(product(range(k), repeat=n)), int).reshape(k**n, n)
        logs = sum((node[z[:, t], a + t] for t in range(n)), np.zeros(len(z)))
        logs += first[0][z[:, 0], s] if n else 0.0
        logs += first[1].reshape(k, k, k, -1)[0, z[:, 0], z[:, 1], s] if n > 1 else 0.0  # before the start stands 0
        logs += sum((table[z[:, t - 2], z[:, t - 1], z[:, t], a + t] for t in range(2, n)), np.zeros(len(z)))
        values[s] = np.logaddexp.reduce(logs)
        for p, path in zip(np.exp(logs - values[s]), z, strict=True):
            q[path, a + np.arange(n)] += p
            if n > 1:
                second[path[0], path[1], s] += p
            pairs[path[:-2], path[1:-1], path[2:], a + np.arange(2, n)] += p
    return values, q, pairs, second


def speaking_late(node: Any, edge: Any) -> tuple[Any, Any]:
    """Tables in which later rows speak for a state that the earlier ones have given up: they are summed in logs."""
    node, late = node.copy(), np.arange(node.shape[1]) % 6 > 2
    node[0, ~late] += 400.0
    node[1, late] += 400.0
    stays = np.eye(len(node))[np.arange(len(edge)) % len(node)] > 0  # from the element before, the last of those behind
    return node, edge - 300.0 * ~stays.reshape(*stays.shape, *(1,) * (edge.ndim - 2))


@pytest.mark.parametrize("by_row", [False, True])
@pytest.mark.parametrize("lengths", [[9, 6, 3, 1, 0], [6, 6, 3, 2, 2]])
@pytest.mark.parametrize("kind", ["scaled", "late", "in logs"])
def test_lag_two_in_pieces_with_rows_of_no_sequence(
    kind: str, lengths: list[int], by_row: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Early rows, whole and cut sequences, out of order; in logs, too, pieces are stitched."""
    monkeypatch.setattr(logchains, "A_STEP", 1e3)
    if kind == "in logs":
        monkeypatch.setattr(chains_module, "LEAST", np.inf)
    rng, starts = np.random.default_rng(7), np.array([10, 1, 20, 7, 24])
    node, edge = rng.normal(size=(2, 26)), rng.normal(size=(4, 2, 26) if by_row else (4, 2))
    node, edge = speaking_late(node, edge) if kind == "late" else (node, edge)
    first = [rng.normal(size=(2, 5)), rng.normal(size=(4, 2, 5))]
    values, q, pairs, second = every_path(node, edge, first, starts, lengths)
    used = Lanes(starts, np.array(lengths), 9), Lanes(starts, np.array(lengths), 2)
    log_z, parts = chain_posterior(node, edge, first, used)
    assert isinstance(parts, LogPairs) == (kind != "scaled") and parts.lanes is used[1]
    path, weight = most_probable_path(node, edge, first, used)
    whole, most = most_probable_path(node, edge, first, (used[0], used[0]))
    np.testing.assert_array_equal(path, whole)
    np.testing.assert_allclose(weight, most, rtol=1e-12)
    close = partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-12)
    close(log_z, values)
    close(parts.lanes.scatter(parts.q, 26), q)
    close(parts.first[1].reshape(2, 2, 2, 5)[0], second)
    before, after = (f.reshape(2, 2, -1) for f in parts.factors())
    close(before[:, :, None] * parts.edge.reshape(2, 2, 2, -1) * after[None], pairs)
    if not by_row:
        weight = rng.random(5) + 0.5
        share = sum(
            w * np.isin(np.arange(26), a + np.arange(n)) for w, a, n in zip(weight, starts, lengths, strict=True)
        )
        close(parts.sums().reshape(2, 2, 2), pairs.sum(-1))
        close(parts.sums(weight).reshape(2, 2, 2), (pairs * share).sum(-1))


@pytest.mark.parametrize("lengths", [[4, 4, 4], [6, 2, 0, 5, 5], [300]])
def test_codes_are_looked_up_and_counted(lengths: list[int]) -> None:
    rng = np.random.default_rng(0)
    n = sum(lengths)
    lanes = sequences(np.cumsum(lengths) - lengths, np.array(lengths))
    table, codes, mask = rng.normal(size=(3, 4)), rng.integers(0, 4, n), rng.random(n) < 0.8
    laid = lane_codes(codes, mask, lanes)
    expected = np.where(mask, table[:, codes], 0.0)
    found = lane_lookup(table, laid)
    np.testing.assert_array_equal(out_of_lanes(found), expected)
    np.testing.assert_array_equal(out_of_lanes(lane_lookup(table, laid, found)), 2 * expected)
    weight = rng.random(len(lengths)) + 0.5
    edge, first = np.log(rng.dirichlet(np.ones(3), 3)), [np.log(rng.dirichlet(np.ones(3), len(lengths))).T]
    for times in (1, 2, 3, 900):  # tables that are looked up, and that are added to these: probabilities of tables
        later = times // 2 if times < 900 else 0
        looked = lane_lookup(table * (times - later), laid)
        looked = lane_lookup(table * later, laid, looked) if later else looked
        log_z, parts = chains(looked, edge, first, lanes, (1, 0, 1, False))
        known, plain = chains(expected * times, edge, first, lanes, (1, 0, 1, False))
        np.testing.assert_allclose(log_z, known, rtol=1e-12)
        np.testing.assert_allclose(parts.sums(), plain.sums(), rtol=1e-9, atol=1e-12)
    for node, table in ((expected, edge), speaking_late(expected, edge)):  # the second in logs, in lanes of its own
        _, parts = chains(node, table, first, lanes, (1, 0, 1, False))
        share = parts.q * np.repeat(weight, lengths)
        wanted = [[share[k, mask & (codes == v)].sum() for v in range(4)] for k in range(3)]
        np.testing.assert_allclose(parts.counts(laid, 4, weight), wanted, rtol=1e-12, atol=1e-13)
        even = [[parts.q[k, mask & (codes == v)].sum() for v in range(4)] for k in range(3)]
        np.testing.assert_allclose(parts.counts(laid, 4), even, rtol=1e-12, atol=1e-13)
        features = lanes[1].gather(node[:2])
        np.testing.assert_allclose(parts.along(features, weight), share @ node[:2].T, rtol=1e-10, atol=1e-9)


def test_logs_of_zero_in_lanes() -> None:
    """Coefficients that are logs of zero cancel between all features of a row, as they do by row."""
    lanes, rng = sequences(np.array([0, 3]), np.array([3, 2])), np.random.default_rng(0)
    matrix, features = np.array([[1.0, 0.0], [1.0, -1.0]]), np.array([[1.0] * 5, [0.0, 1, 0, 1, 1]])
    for low in (LOWEST, -3.0):
        coefficients = np.array([[low, rng.normal()], [0.5, low]])
        found = lane_table(coefficients, lanes[1].gather(features), matrix)
        np.testing.assert_allclose(out_of_lanes(found), log_table(coefficients, features, matrix), rtol=1e-15)


def test_rooms_are_used_again() -> None:
    """Two sets of tables in turn, one of them in logs: each answer is the one that fresh lanes give."""
    rng, lengths = np.random.default_rng(1), [40, 7, 300]
    starts = np.cumsum(lengths) - lengths
    used = sequences(starts, np.array(lengths))
    cases = [rng.normal(0, spread, (3, sum(lengths))) for spread in (1.0, 400.0, 2.0)]
    edge, first = np.log(rng.dirichlet(np.ones(3), 3)), [np.log(rng.dirichlet(np.ones(3), 3)).T]
    for node in cases:
        one, parts = chain_posterior(node, edge, first, used)
        other, fresh = chain_posterior(node, edge, first, sequences(starts, np.array(lengths)))
        np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(parts.sums(), fresh.sums())
        np.testing.assert_array_equal(out_of_lanes(parts.q), out_of_lanes(fresh.q))


def test_pairs_that_no_scale_can_hold_together() -> None:
    """Two pairs of states that never meet, equally probable in the end, but e^4000 apart half way: summed in logs."""
    rng = np.random.default_rng(3)
    edge = np.where(np.kron(np.eye(2), np.ones((2, 2))) > 0, 0.0, LOWEST)
    node, starts, lengths = rng.normal(size=(4, 12)), np.array([0, 8]), np.array([8, 4])
    early = np.array([1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 0, 0], bool)
    node[:2, early] += 1000.0
    node[2:, ~early] += 1000.0
    first = [np.zeros((4, 2))]
    log_z, parts = chain_posterior(node, edge, first, sequences(starts, lengths))
    expected = plain(node, edge, first, starts, lengths)
    np.testing.assert_allclose(log_z, expected[1], rtol=1e-12)
    np.testing.assert_allclose(parts.sums()[..., 0], expected[2], rtol=1e-9, atol=1e-10)
    alone = [plain(node, edge, first, [a], [n])[2] for a, n in zip(starts, lengths, strict=True)]
    weighted = parts.sums(np.array([2.0, 0.5]))[..., 0]
    np.testing.assert_allclose(weighted, 2 * alone[0] + 0.5 * alone[1], rtol=1e-9, atol=1e-10)


def test_what_is_lost_before_the_data_speak_for_it() -> None:
    """Two states that never change. What the first has left, e^-780, is lost before its own datum makes it e^-481, and
    what later data say for it then, e^481, is a number like others."""
    node = np.array([[0.0, 0, 299, 299, 299, 299, 264], [290, 150, 0, 0, 0, 0, 0]])
    edge, first = np.array([[-170.0, LOWEST], [LOWEST, 0.0]]), [np.zeros((2, 1))]
    q, values, pairs = plain(node, edge, first, [0], [7])
    log_z, parts = chain_posterior(node, edge, first, sequences(np.array([0]), np.array([7])))
    np.testing.assert_allclose(log_z, values, rtol=1e-13)
    np.testing.assert_allclose(out_of_lanes(parts.q), q, rtol=1e-10)
    np.testing.assert_allclose(parts.sums()[..., 0], pairs, rtol=1e-10, atol=1e-13)


def test_a_step_that_leaves_hardly_anything() -> None:
    """The only way on weighs e^-420, and its datum e^-299: together fewer digits than a float has so near to zero."""
    edge, first = np.array([[LOWEST, -420.0], [LOWEST, 0.0]]), [np.array([[0.0], [LOWEST]])]
    node = np.array([[0.0, -299, 0.1], [0, -299, 0.2]])
    log_z, _ = chain_posterior(node, edge, first, sequences(np.array([0]), np.array([3])))
    np.testing.assert_allclose(log_z, [-718.8], rtol=1e-14)


def test_short_lanes_are_not_padded() -> None:
    """Of 200 sequences of one element and one of 100, as many numbers are held as there are rows."""
    lengths = np.array([1] * 200 + [100])
    lanes = Lanes(np.cumsum(lengths) - lengths, lengths, 100)
    laid: Any = Laid(lanes, 3)
    assert laid.all.size == 3 * 300 and [len(s[0]) for s in laid.steps[:3]] == [201, 1, 1]


BESIDE_DRAWS = """
model BesideDraws
param first : simplex[2]
param trans[2] : simplex[2]
param mean[2] : real
param spread : positive
for s in S:
    latent b[s] ~ Normal(0, spread)
    for t in T[s]:
        latent z[s, t] ~ Categorical(first) if t == 0 else Categorical(trans[z[s, t-1]])
        observed x[s, t] ~ Normal(mean[z[s, t]] + b[s], 1)
infer b by saem
"""


def test_a_density_takes_no_recursion_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chain beside a drawn effect, at one draw, against the sum over all paths: statistics alone go back."""
    model: Any = emdsl.compile(text=BESIDE_DRAWS)
    first, trans, mean = np.array([0.3, 0.7]), np.array([[0.9, 0.1], [0.4, 0.6]]), np.array([-1.0, 2.0])
    params = {"first": first, "trans": trans, "mean": mean, "spread": np.array(0.7)}
    rows, b = [np.array([0.2, 1.0, -0.4]), np.array([1.5, 2.0])], np.array([0.5, -0.3])
    fitter = model.fitter()
    bound = fitter._bind({"x": rows})
    prepared = model.module.with_draws(fitter._prepare(bound), {"b": b})
    wanted = norm.logpdf(b, 0, 0.7).sum()
    for x, effect in zip(rows, b, strict=True):
        paths = product(range(2), repeat=len(x))
        logs = [
            np.log(first[z[0]]) + np.log(trans[list(z[:-1]), list(z[1:])]).sum()
            + norm.logpdf(x, mean[list(z)] + effect).sum() for z in paths
        ]  # fmt: skip
        wanted += np.logaddexp.reduce(logs)
    told = model.module.e_step(params, bound, prepared)["log_likelihood"]
    monkeypatch.setattr(model.module, "backward", None)
    found = model.module.density_with_draws(params, bound, prepared)
    np.testing.assert_allclose([found, told], wanted, rtol=1e-13)
