"""Chains in any number of elements behind one: every configuration enumerated, from tables at random.

Lags, gates, edges that differ by row, zeros in every table, sequences shorter than the lag. No model is compiled.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emdsl.derive.algebra import expr as x
from emdsl.derive.posteriors.chains import reach
from emdsl.runtime.discrete import chains as chains_module
from emdsl.runtime.discrete import edges
from emdsl.runtime.discrete.chains import chains
from emdsl.runtime.discrete.lanes import sequences
from emdsl.runtime.discrete.paths import path_given, paths

ZERO = -1e200


def tables(rng: Any, k: int, depth: int, lengths: list[int], gates: int, varies: Any, zeros: float) -> tuple[Any, ...]:
    """node (k, gates, rows), edge, first: log weights, some of them zero."""
    n = sum(lengths)

    def drawn(*shape: int) -> Any:
        values = rng.normal(0, 2, shape)
        return np.where(rng.random(shape) < zeros, ZERO, values)

    g = (gates,) if gates else ()
    node = drawn(k, *g, n)
    edge = drawn(*(k,) * (depth + 1), *(g if varies is not None else ()), *((n,) if varies else ()))
    first = []
    for r in range(depth):
        table = drawn(*(k,) * (r + 1), *g, len(lengths))  # of the states there are
        whole = np.broadcast_to(table, (*(k,) * ((depth - r) * (r > 0)), *table.shape)).copy() if r else table
        first.append(whole)
    return node, edge, first


def enumerated(node: Any, edge: Any, first: Any, lengths: list[int], depth: int, varies: bool) -> tuple[Any, ...]:
    """Of one gate's tables: log-normalisers, q (k, rows), expected counts of each table, best path and its weight."""
    k = len(node)
    q, pair = np.zeros(node.shape), np.zeros((*edge.shape[: depth + 1], node.shape[-1]))
    firsts = [np.zeros(f.shape) for f in first]
    values, weights, paths_, at = [], [], [], 0
    for s, n in enumerate(lengths):
        found = []
        for z in product(range(k), repeat=n):
            total = sum(node[z[t], at + t] for t in range(n))
            for t in range(n):
                if t >= depth:
                    total += edge[z[t - depth : t + 1]][..., at + t] if varies else edge[z[t - depth : t + 1]]
                elif t == 0:
                    total += first[0][z[0], s]
                else:
                    total += first[t][(*(0,) * (depth - t), *z[: t + 1], s)]
            found.append((total, z))
        logs = np.array([max(v, -1e300) for v, _ in found])
        value = np.logaddexp.reduce(logs)
        values.append(value)
        best = int(logs.argmax())
        weights.append(logs[best])
        paths_ += found[best][1]
        for v, z in found:
            p = np.exp(v - value)
            for t in range(n):
                q[z[t], at + t] += p
                if t >= depth:
                    pair[(*z[t - depth : t + 1], at + t)] += p
                elif t == 0:
                    firsts[0][z[0], s] += p
                else:
                    firsts[t][(*(0,) * (depth - t), *z[: t + 1], s)] += p
        at += n
    return np.array(values), q, pair, firsts, np.array(paths_), np.array(weights)


CASES = [
    # states, lag, lengths, gates, edges by row, share of zeros
    (3, 1, [4, 1, 0, 3], 0, False, 0.0),
    (3, 1, [4, 1, 3], 2, True, 0.0),
    (2, 2, [6, 1, 2, 0, 3], 0, False, 0.0),
    (2, 2, [5, 2], 3, False, 0.0),
    (3, 1, [4, 1, 0, 3, 4], 4, None, 0.0),  # None: the same for all gates
    (2, 2, [5, 2, 0, 1, 6], 5, None, 0.15),
    (2, 2, [4, 5, 1], 2, True, 0.0),
    (2, 3, [6, 3, 1, 2, 4], 0, False, 0.0),
    (2, 3, [7], 0, True, 0.0),
    (3, 1, [5, 3, 4], 0, False, 0.25),
    (3, 1, [5, 3, 4], 0, True, 0.25),
    (2, 2, [6, 2, 3], 0, False, 0.15),
    (2, 2, [6, 2, 3], 2, True, 0.15),
    (2, 3, [6, 4, 2, 1], 0, False, 0.12),
    (2, 3, [6, 4, 2, 1], 0, True, 0.12),
]


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("far", [0.0, 400.0])
def test_every_configuration(case: Any, far: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Zeros in tables, first positions included, and weights that differ by e^400 lose nothing; nor do tables that are
    made again for every step, or gates that run side by side, some at a time."""
    monkeypatch.setattr(edges, "TABLES", edges.TABLES if far else 1)
    monkeypatch.setattr(edges, "HELD", edges.HELD if far else 0)
    monkeypatch.setattr(chains_module, "IN_LANES", 30 if far else chains_module.IN_LANES)
    k, depth, lengths, gates, varies, zeros = case
    for seed in range(3):
        rng = np.random.default_rng(seed)
        node, edge, first = tables(rng, k, depth, lengths, gates, varies, zeros)
        node += far * rng.integers(0, 2, node.shape)
        compare(node, edge, first, lengths, (1, bool(gates), depth, bool(varies)))


def compare(node: Any, edge: Any, first: Any, lengths: list[int], shape: tuple[int, int, int, bool]) -> None:
    _, gated, depth, varies = shape
    same = gated and edge.ndim == depth + 1
    lanes = sequences(np.concatenate([[0], np.cumsum(lengths)[:-1]]), np.array(lengths))
    with np.errstate(all="ignore"):
        log_z, parts = chains(node.copy(), edge, first, lanes, shape)
    q = parts.q
    best, most = paths(node, edge, first, lanes, shape)
    for g in range(node.shape[1] if gated else 1):

        def of(a: Any, axis: int, g: int = g) -> Any:
            return np.take(a, g, axis=axis) if gated else a

        own = [of(f, -2) for f in first]
        table = edge if same else of(edge, -2 if varies else -1)
        values, p, pair, firsts, path, top = enumerated(of(node, 1), table, own, lengths, depth, varies)
        possible = values > -1e100
        assert (np.isneginf(of(log_z, 0)) == ~possible).all()
        np.testing.assert_allclose(of(log_z, 0)[possible], values[possible], rtol=1e-10, atol=1e-9)
        np.testing.assert_allclose(of(most, 0)[possible], top[possible], rtol=1e-10, atol=1e-9)
        rows = np.repeat(possible, lengths)
        np.testing.assert_allclose(of(q, 1)[:, rows], p[:, rows], rtol=1e-8, atol=1e-11)
        before, after, middle = (
            of(parts.before, depth),
            of(parts.after, depth),
            parts.edge if same else of(parts.edge, -2 if varies else -1),
        )
        found = before[(..., None, slice(None))] * after[None] * (middle if varies else middle[..., None])
        np.testing.assert_allclose(found[..., rows], pair[..., rows], rtol=1e-8, atol=1e-11)
        for r in range(depth):
            wanted = firsts[r][..., possible]
            if r:  # the states that a short past does not have are summed over
                wanted = wanted.sum(tuple(range(depth - r)))
            got = of(parts.first[r], -2)[..., possible]
            np.testing.assert_allclose(got.sum(tuple(range(depth - r))) if r else got, wanted, rtol=1e-8, atol=1e-11)
        if possible.all():
            np.testing.assert_array_equal(of(best[0], 0), path)
            if not varies:
                np.testing.assert_allclose(of(parts.sums(), -1), pair.sum(-1), rtol=1e-8, atol=1e-10)
                weight = np.arange(1.0, 1 + log_z.size).reshape(log_z.shape)
                share = pair * np.repeat(of(weight, 0), lengths)
                np.testing.assert_allclose(of(parts.sums(weight), -1), share.sum(-1), rtol=1e-8, atol=1e-10)


def test_first_positions_that_rule_out_what_looked_likely() -> None:
    """Only 000 and 111 may begin a chain of lag three: 000 looks hopeless, e^-750, until 111 has cost e^-800.

    All later transitions are possible, so that no zero of the edges says that a state may be lost.
    """
    rng = np.random.default_rng(5)
    node, edge, first = tables(rng, 2, 3, [6], 0, False, 0.0)
    node[:, :3] = [[-750, 0, 0], [0, -400, -400]]
    for r in (1, 2):
        first[r][..., 0, 1, :] = first[r][..., 1, 0, :] = ZERO
    compare(node, edge, first, [6], (1, 0, 3, False))


def test_states_that_are_kept_for_ever_are_not_lost() -> None:
    """Two states that never change: the first looks hopeless, e^-750, until the other has cost e^-800."""
    node = np.array([[-750.0, 0, 0, 0], [0, -400, -400, 0]])
    edge = np.array([[0.0, ZERO], [ZERO, 0.0]])
    compare(node, edge, [np.zeros((2, 1))], [4], (1, 0, 1, False))
    compare(node[:, ::-1].copy(), edge, [np.zeros((2, 1))], [4], (1, 0, 1, False))


def test_a_start_is_drawn_as_its_nodes_have_it() -> None:
    rng = np.random.default_rng(4)
    node, edge, first = tables(rng, 3, 1, [5, 2], 0, False, 0.0)
    q = chains(node.copy(), edge, first, sequences(np.array([0, 5]), np.array([5, 2])), (1, 0, 1, False), rng)[1].q
    np.testing.assert_allclose(q, np.exp(node) / np.exp(node).sum(0), rtol=1e-12)


def test_the_path_inside_the_states_of_gates() -> None:
    inside = np.arange(12).reshape(2, 3, 2)
    (found,) = path_given([inside], [np.array([[0, 1], [1, 1], [0, 0]])])
    np.testing.assert_array_equal(found, [[0, 7], [8, 9], [4, 5]])


POSITION = x.Val(x.Ix("t", "T"))
COMPARE = {
    "eq": lambda a, b: a == b, "ne": lambda a, b: a != b, "lt": lambda a, b: a < b, "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b, "ge": lambda a, b: a >= b,
}  # fmt: skip


CONDITION = st.tuples(st.sampled_from(sorted(COMPARE)), st.integers(0, 4), st.booleans(), st.booleans())


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(sorted(COMPARE)), st.integers(0, 4), st.booleans(), st.booleans()), max_size=4)
)
def test_where_a_term_holds(conditions: Any) -> None:
    """What is read off conditions says the same as these, at every position."""
    factors, tests = [], {}
    for name, c, turned, negated in conditions:
        number = x.Num(Fraction(c))
        bare = x.Fn(name, (number, POSITION) if turned else (POSITION, number))
        f = x.Fn("not", (bare,)) if negated else bare
        factors.append(f)
        tests[f] = lambda t, n=name, c=c, u=turned, no=negated: (COMPARE[n](c, t) if u else COMPARE[n](t, c)) != no
    found = reach(factors, POSITION)
    for t in range(7):
        said = t >= found.low and (found.at is None or t == found.at) and all(tests[f](t) for f in found.rest)
        truth = all(test(t) for test in tests.values())
        assert said == truth, (t, found)


@pytest.mark.parametrize("name, c, turned", [("eq", 0, False), ("le", 0, False), ("lt", 1, False), ("ge", 0, True)])
def test_the_first_position_is_known_however_it_is_written(name: str, c: int, turned: bool) -> None:
    number = x.Num(Fraction(c))
    found = reach([x.Fn(name, (number, POSITION) if turned else (POSITION, number))], POSITION)
    assert (found.low, found.at, found.rest) == (0, 0, ())
