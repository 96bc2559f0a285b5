"""Passes over many rows: two threads make the sums of one, chunk sizes are no matter, and faults come through."""

import os
import threading

import numpy as np
import pytest

import emdsl
from emdsl.runtime.numeric import threads

CHUNKS = [slice(a, a + 10) for a in range(0, 320, 10)]


@pytest.fixture
def two(monkeypatch):
    pytest.importorskip("threadpoolctl")
    monkeypatch.setattr(threads, "blas_threads", lambda: 2)


def total(chunks):
    return sum(float(rows.start) for rows in chunks), np.array([float(len(chunks)), 1.0])


def test_rows_are_covered_once_whatever_the_size_of_chunks(monkeypatch):
    for told in (0, 1, 2):
        monkeypatch.setattr(threads, "blas_threads", lambda told=told: told)
        for n in (0, 1, 9, 10, 319, 320, 321, 5000):
            rows = [i for c in threads.wide_chunks(n, 10) for i in range(n)[c]]
            assert rows == list(range(n))
    assert threads.wide_chunks(5000, 10)[0] == slice(0, 40)
    monkeypatch.setattr(threads, "blas_threads", lambda: 0)  # products of more rows would be split among its threads
    assert threads.wide_chunks(5000, 10)[0] == slice(0, 10)


def test_both_halves_are_added_up_on_threads_of_their_own(two):
    seen = {}

    def added(chunks):
        seen[threading.get_ident()] = [rows.start for rows in chunks], np.geterr()["invalid"]
        return total(chunks)

    with np.errstate(invalid="raise"):
        found = threads.side_by_side(added, CHUNKS, None)
    assert len(seen) == 2 and {kind for _, kind in seen.values()} == {"raise"}
    assert sorted(start for starts, _ in seen.values() for start in starts) == [rows.start for rows in CHUNKS]
    assert found[0] == total(CHUNKS)[0] and found[1].tolist() == [32.0, 2.0]


def test_few_chunks_and_draws_stay_on_one_thread(two):
    def added(chunks):
        assert threading.current_thread() is threading.main_thread()
        return total(chunks)

    for few in (CHUNKS[:15], CHUNKS[:31]):
        assert threads.side_by_side(added, few, None)[0] == total(few)[0]
    assert threads.side_by_side(added, CHUNKS, np.random.default_rng(0))[0] == total(CHUNKS)[0]


@pytest.mark.parametrize("where", [0, 31])
@pytest.mark.parametrize("fault", [ValueError, KeyboardInterrupt])
def test_a_fault_in_either_half_is_raised_when_both_have_ended(two, where, fault):
    before = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    at_work = threading.active_count()

    def added(chunks):
        if CHUNKS[where] in chunks:
            raise fault("here")
        return total(chunks)

    with pytest.raises(fault, match="here"):
        threads.side_by_side(added, CHUNKS, None)
    assert threading.active_count() == at_work
    assert before is None or os.sched_getaffinity(0) == before


def test_a_mixture_has_the_same_statistics_on_two_threads(monkeypatch):
    pytest.importorskip("threadpoolctl")
    text = """
        model Pair
        size added = 2
        param chunks : simplex[added]
        param m[added] : real
        param s : positive
        for n in N:
            latent z[n] ~ Categorical(chunks)
            observed x[n] ~ Normal(m[z[n]], s)
    """
    rng = np.random.default_rng(5)
    x = rng.normal(0, 1, 9000 * 32) + 3 * rng.integers(0, 2, 9000 * 32)
    x[::7] = np.nan
    fitter = emdsl.compile(text=text).fitter(seed=1)
    params = {"chunks": [0.4, 0.6], "m": [0.0, 2.5], "s": 1.2}
    module = fitter._module
    found = {}
    for count in (0, 1, 2):
        monkeypatch.setitem(vars(module), "blas_threads", lambda count=count: count)
        found[count] = fitter.e_step(params, {"x": x}, sample_weight=1.0 + np.arange(len(x)) % 3)
    for name, value in found[0].items():
        np.testing.assert_allclose(found[1][name], value, rtol=1e-12)
        np.testing.assert_array_equal(found[2][name], found[1][name])
