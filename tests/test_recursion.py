"""The recursion along chains against a plain one in logs: cut sequences, slow chains, zeros, extreme weights."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from scipy.special import logsumexp

from emdsl.runtime.discrete.chains import Pairs, chain_posterior
from emdsl.runtime.discrete.lanes import Lanes, sequences
from emdsl.runtime.discrete.paths import most_probable_path


def plain(node: Any, edge: Any, first: Any, starts: Any, lengths: Any) -> tuple[Any, Any, Any]:
    """q, log-normalisers and summed pair probabilities, element by element."""
    q, pairs, values = np.zeros(node.shape), np.zeros(edge.shape[:2]), []
    for s, (a, n) in enumerate(zip(starts, lengths, strict=True)):
        if n == 0:
            values.append(0.0)
            continue
        table = [edge if edge.ndim == 2 else edge[:, :, a + t] for t in range(n)]
        alpha, beta = [first[0][:, s] + node[:, a]], [np.zeros(len(node))]
        with np.errstate(divide="ignore"):
            for t in range(1, n):
                alpha.append(logsumexp(alpha[-1][:, None] + table[t], axis=0) + node[:, a + t])
            for t in range(n - 1, 0, -1):
                beta.insert(0, logsumexp(table[t] + node[:, a + t] + beta[0], axis=1))
            total = logsumexp(alpha[-1])
            for t in range(n):
                q[:, a + t] = np.exp(alpha[t] + beta[t] - total)
            for t in range(1, n):
                pairs += np.exp(alpha[t - 1][:, None] + table[t] + (node[:, a + t] + beta[t])[None] - total)
        values.append(total)
    return q, np.array(values), pairs


def chain(rng: Any, k: int, lengths: Any, stay: float = 0.5, spread: float = 2.0) -> tuple[Any, ...]:
    n = int(np.sum(lengths))
    a = rng.dirichlet(np.ones(k), k) * (1 - stay) + np.eye(k) * stay
    first = np.log(rng.dirichlet(np.ones(k), len(lengths))).T
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    return rng.normal(0, spread, (k, n)), np.log(a), [first], starts, np.asarray(lengths)


def agree(node: Any, edge: Any, first: Any, starts: Any, lengths: Any, rtol: float = 1e-9) -> Any:
    log_z, parts = chain_posterior(node, edge, first, sequences(starts, lengths))
    q = parts.lanes.scatter(parts.q)
    expected, values, pairs = plain(node, edge, first, starts, lengths)
    np.testing.assert_allclose(log_z, values, rtol=1e-11, atol=1e-9)
    np.testing.assert_allclose(q, expected, rtol=rtol, atol=1e-11)
    before, after = parts.factors()
    table = parts.edge[:, :, 0] if edge.ndim == 3 else parts.edge[:, :, None]
    found = (before[:, None] * table * after[None]).sum(-1)
    if edge.ndim == 2:
        np.testing.assert_allclose(parts.sums()[..., 0], found, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(found, pairs, rtol=1e-8, atol=1e-9)
    return parts


@pytest.mark.parametrize("lengths", [[7], [1], [3, 0, 1, 5], [2000], [700, 3, 0, 1200, 1], [128, 129, 257, 300]])
def test_lengths(lengths: list[int]) -> None:
    agree(*chain(np.random.default_rng(1), 3, lengths))


def test_a_chain_that_does_not_forget_is_stitched_exactly() -> None:
    """Self-transitions of 0.9999 and data that say little: a short run over a piece's end does not find its entry."""
    rng = np.random.default_rng(2)
    node, _, first, starts, lengths = chain(rng, 3, [3000, 900], spread=0.01)
    agree(node, np.log(np.full((3, 3), 5e-5) + np.eye(3) * (0.9999 - 5e-5)), first, starts, lengths, rtol=1e-7)


def test_a_deterministic_chain() -> None:
    """Zeros in the transitions: three states in turn, the last one kept."""
    rng = np.random.default_rng(3)
    node, _, first, starts, lengths = chain(rng, 3, [40, 5, 700])
    with np.errstate(divide="ignore"):
        agree(
            node,
            np.maximum(np.log(np.array([[0.9, 0.1, 0], [0, 0.95, 0.05], [0, 0, 1.0]])), -1e200),
            first,
            starts,
            lengths,
        )


def test_weights_beyond_the_range_of_floats() -> None:
    """A state that looks hopeless for three steps, exp(-1500) of the other, is the only one left afterwards."""
    rng = np.random.default_rng(4)
    node, _, first, starts, lengths = chain(rng, 2, [8])
    node[0, 1:4] -= 1500
    node[1, 4:7] -= 3000
    agree(node, np.array([[0.0, -1e200], [-1e200, 0.0]]), first, starts, lengths)


def test_edges_that_differ_by_row() -> None:
    rng = np.random.default_rng(5)
    node, edge, first, starts, lengths = chain(rng, 3, [600, 20, 1])
    agree(node, edge[:, :, None] + rng.normal(size=(3, 3, node.shape[1])), first, starts, lengths)


@pytest.mark.parametrize("shift", [-290.0, 250.0])
def test_weights_that_several_steps_together_would_lose(shift: float) -> None:
    """A step scaled by itself stays in range, four steps do not; nothing of it needs logs."""
    node, edge, first, starts, lengths = chain(np.random.default_rng(7), 3, [300, 21, 2])
    node[:, 4:14] += shift
    assert isinstance(agree(node, edge, first, starts, lengths), Pairs)


def test_an_impossible_sequence_has_probability_zero_and_no_nan() -> None:
    node, edge, first, starts, lengths = chain(np.random.default_rng(6), 2, [4, 3])
    node[:, 2] = -1e200
    log_z, parts = chain_posterior(node, edge, first, sequences(starts, lengths))
    q = parts.lanes.scatter(parts.q)
    assert np.isneginf(log_z[0]) and np.isfinite(log_z[1]) and np.isfinite(q).all()


def test_a_hundred_thousand_steps_do_not_underflow() -> None:
    """With equal weights at each step the log-normaliser is known: sum_t log sum_k exp(node_k)."""
    n, k = 10**5, 3
    edge = np.log(np.full((k, k), 1 / k))
    node = np.random.default_rng(7).normal(0, 30, (k, n))
    lanes = sequences(np.array([0]), np.array([n]))
    log_z, parts = chain_posterior(node, edge, [np.full((k, 1), -np.log(k))], lanes)
    q = parts.lanes.scatter(parts.q)
    top = node.max(0)
    logs = top + np.log(np.exp(node - top).sum(0))
    assert log_z[0] == pytest.approx((logs - np.log(k)).sum(), rel=1e-12)
    np.testing.assert_allclose(q, np.exp(node - logs), atol=1e-12)


def test_memory_is_of_states_by_steps() -> None:
    """Not of pairs of states by steps: twelve arrays of K x T at the most, with twenty states."""
    n, k = 6000, 20
    node, edge, first, starts, lengths = chain(np.random.default_rng(9), k, [n])
    lanes = sequences(starts, lengths)
    tracemalloc.start()
    chain_posterior(node, edge, first, lanes)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12 * n * k * 8


def test_most_probable_path_of_cut_and_short_sequences() -> None:
    node, edge, first, starts, lengths = chain(np.random.default_rng(8), 3, [300, 0, 1, 4])
    path, weight = most_probable_path(node, edge, first, sequences(starts, lengths))
    for s, (a, n) in enumerate(zip(starts, lengths, strict=True)):
        best, back = first[0][:, s] + node[:, min(a, node.shape[1] - 1)], []
        for t in range(1, n):
            score = best[:, None] + edge
            back.append(score.argmax(0))
            best = score.max(0) + node[:, a + t]
        if n:
            states = [int(best.argmax())]
            for step in reversed(back):
                states.insert(0, int(step[states[0]]))
            np.testing.assert_array_equal(path[a : a + n], states)
        assert weight[s] == pytest.approx(best.max() if n else 0.0, rel=1e-12)


@pytest.mark.parametrize("lengths", [[4, 4, 4], [4, 4, 2, 4], [2, 4, 0, 4, 4], [3], [0], []])
def test_rows_go_into_lanes_and_back(lengths: list[int]) -> None:
    """Whether lanes lie one after the other in the rows or not, beside rows that are in no sequence."""
    sizes = np.array(lengths, int)
    lanes = Lanes(np.cumsum(sizes) - sizes + 1, sizes, 4)
    values = np.arange(2.0 * (sizes.sum() + 3)).reshape(2, -1) + 1
    inside = np.arange(values.shape[1])
    inside = (inside >= 1) & (inside <= sizes.sum())
    gathered = lanes.gather(values)
    for lane, (start, n) in enumerate(zip(lanes.start, lanes.length, strict=True)):
        np.testing.assert_array_equal([step[:, lane] for step in gathered.steps[:n]], values[:, start : start + n].T)
    np.testing.assert_array_equal(lanes.scatter(gathered, values.shape[1]), values * inside)
