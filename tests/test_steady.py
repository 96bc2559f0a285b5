"""Chains whose precision repeats, against the inverse of the whole precision; and what is left to cyclic reduction."""

from __future__ import annotations

import numpy as np
import pytest
from gallery import compiled

from emdsl.runtime.fields import steady
from emdsl.runtime.fields.filtered import recurrence
from emdsl.runtime.fields.reduction import tridiagonal_moments
from emdsl.runtime.fields.repeats import Blocks, block_runs
from emdsl.runtime.fields.steady import steady_moments


def chain(m: int, turn: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The precision of y_t ~ N(turn y_t-1, 1), each y seen with precision `seen`; linear terms."""
    w = len(turn)
    diagonal = np.repeat((np.eye(w) + seen + turn.T @ turn)[None], m, axis=0)
    diagonal[0] -= 0.5 * np.eye(w)
    diagonal[-1] -= turn.T @ turn
    return diagonal, np.repeat(-turn[None], m - 1, axis=0), np.random.default_rng(5).normal(size=(m, w))


def by_kind(blocks: np.ndarray) -> Blocks:
    """The same blocks, equal ones once."""
    values, at = np.unique(blocks.reshape(len(blocks), -1), axis=0, return_inverse=True)
    return Blocks(values.reshape(-1, *blocks.shape[1:]), at.reshape(-1))


def moments(diagonal: np.ndarray, below: np.ndarray, h: np.ndarray) -> tuple[np.ndarray, ...] | None:
    blocks = by_kind(diagonal), by_kind(below)
    found = steady_moments(*blocks, h, block_runs(blocks[0].at, blocks[1].at))
    return None if found is None else (found[0].all(), found[1].all(), found[2], found[3].all())


TURN = 0.9 * np.array([[0.6, -0.8, 0.1], [0.8, 0.6, 0.0], [0.0, 0.2, 0.5]])
SEEN = np.diag([1.0, 2.0, 0.5])


def dense(diagonal: np.ndarray, below: np.ndarray) -> np.ndarray:
    m, w, _ = diagonal.shape
    whole = np.zeros((m, w, m, w))
    for t in range(m):
        whole[t, :, t] = diagonal[t]
    for t in range(m - 1):
        whole[t + 1, :, t], whole[t, :, t + 1] = below[t], below[t].T
    return whole.reshape(m * w, m * w)


def changed(*where: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A chain with steps that nobody saw, and from the middle on another way of moving."""
    diagonal, below, h = chain(300, TURN, SEEN)
    diagonal[list(where)] -= SEEN
    half = 0.5 * TURN
    diagonal[150:-1] += half.T @ half - TURN.T @ TURN
    below[150:] = -half
    return diagonal, below, h


def turned() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A chain that goes the other way from the middle on: only what ties a step to the next is changed."""
    diagonal, below, h = chain(260, TURN, SEEN)
    below[130:] *= -1
    return diagonal, below, h


def begun() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A chain that begins where it is known well, as everywhere, and hardly at all: one number each."""
    diagonal, below, h = chain(260, TURN, SEEN)
    diagonal[0] += np.diag([1e4, 0.0, -0.4999])
    return diagonal, below, h


CASES = {"turned": turned(), "changed": changed(20, 21, 70, 220), "begun": begun()}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_against_the_inverse(case: tuple[np.ndarray, np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steady, "START", 0)  # however short the chain is
    monkeypatch.setattr(steady, "STEP", 0)
    diagonal, below, h = case
    found = moments(diagonal, below, h)
    assert found is not None
    v, c, mean, log_det = found
    precision, (m, w) = dense(diagonal, below), h.shape
    cov = np.linalg.inv(precision).reshape(m, w, m, w)
    np.testing.assert_allclose(v, cov[np.arange(m), :, np.arange(m)], rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(c, cov[np.arange(1, m), :, np.arange(m - 1)], rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(mean.ravel(), cov.reshape(m * w, m * w) @ h.ravel(), rtol=1e-12, atol=1e-13)
    assert log_det.sum() == pytest.approx(np.linalg.slogdet(precision)[1], rel=1e-12)


def regimes(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A chain with a few regimes at random: numbers in units 1e8 apart, some hardly seen, some that grow."""
    rng = np.random.default_rng(seed)
    w, m, count = (int(rng.integers(*ends)) for ends in ((1, 6), (40, 700), (1, 5)))
    at = np.searchsorted(np.sort(rng.choice(np.arange(1, m), count - 1, replace=False)), np.arange(m), side="right")
    found = []
    for _ in range(count):
        turn = rng.normal(size=(w, w))
        turn *= rng.choice([0.3, 0.8, 0.95, 1.0, 1.2]) / np.abs(np.linalg.eigvals(turn)).max()
        load = rng.normal(size=(w, int(rng.integers(0 if count > 1 else 1, w + 2))))
        found.append((turn, load @ load.T * 10.0 ** rng.uniform(-2, 2), np.diag(10.0 ** rng.uniform(-2, 2, w))))
    unit = 10.0 ** rng.uniform(-4, 4, w)
    diagonal, below = np.stack([found[r][1] for r in at]), np.zeros((m - 1, w, w))
    diagonal[0] += np.eye(w) * 10.0 ** rng.uniform(-5, 5)
    for t in range(1, m):
        turn, _, noise = found[at[t]]
        below[t - 1] = -noise @ turn
        diagonal[t] += noise
        diagonal[t - 1] += turn.T @ noise @ turn
    scale = unit[:, None] * unit
    return 0.5 * (diagonal + diagonal.swapaxes(1, 2)) * scale, below * scale, rng.normal(size=(m, w)) * unit


@pytest.mark.parametrize("seed", [82, 204, 244, 355])
def test_what_closed_forms_lose_is_mended(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"START": 0, "STEP": 0, "SHORTEST": 40}.items():
        monkeypatch.setattr(steady, name, value)
    case = regimes(seed)
    found, expected = moments(*case), tridiagonal_moments(*case)
    assert found is not None
    size = np.sqrt(expected[0].diagonal(0, 1, 2))
    units = size[:, :, None] * size[:, None], size[1:, :, None] * size[:-1, None]
    for a, b, unit in zip(found[:2], expected[:2], units, strict=True):
        np.testing.assert_allclose(a / unit, b / unit, rtol=0, atol=5e-12)


def test_what_does_not_repeat_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steady, "START", 0)
    diagonal, below, h = chain(300, TURN, SEEN)
    drifting = diagonal * np.linspace(1, 1.1, 300)[:, None, None]
    assert moments(drifting, below, h) is None
    assert moments(*chain(450, np.eye(3), 1e-8 * SEEN)) is None  # it would take 1e5 steps
    assert moments(*chain(150, TURN, SEEN)) is None


def test_a_hundred_thousand_steps_stay_positive_definite() -> None:
    diagonal, below, h = chain(100_000, np.array([[1.0, 1.0], [0.0, 1.0]]), np.diag([1e-3, 0.0]))
    found, expected = moments(diagonal, below, h), tridiagonal_moments(diagonal, below, h)
    assert found is not None
    v, c, _, _ = found
    pairs = np.block([[v[1:], c], [c.swapaxes(1, 2), v[:-1]]])
    assert np.array_equal(v, v.swapaxes(1, 2)) and np.linalg.eigvalsh(pairs[::97]).min() > 0
    for a, b in zip(found[:3], expected[:3], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9 * float(np.abs(b).max()))
    assert found[3].sum() == pytest.approx(expected[3].sum(), rel=1e-11)


@pytest.mark.parametrize("n", [1, 5, 300])
def test_recurrence(n: int) -> None:
    u, x = np.random.default_rng(0).normal(size=(n, 3)), np.zeros(3)
    found = recurrence(TURN, u.copy())
    for t in range(n):
        x = x @ TURN + u[t]
        np.testing.assert_allclose(found[t], x, atol=1e-14)


@pytest.mark.filterwarnings("ignore::UserWarning")  # one iteration does not converge
@pytest.mark.parametrize("gaps", [False, True], ids=["whole", "gaps"])
def test_rows_of_one_kind_are_each_of_them(gaps: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Expected statistics with every row a kind of its own, from kinds of rows, and from these by the loop."""
    model, rng = compiled("linear_dynamical_system"), np.random.default_rng(3)
    x = rng.normal(size=(60, 3)).cumsum(0)
    if gaps:
        x[[4, 33, 34]], x[40:43, 1] = np.nan, np.nan
    start = {"A": 0.5 * np.eye(2), "C": rng.normal(size=(3, 2)), "start": np.ones(2), "noise": np.array([0.5, 1, 2])}
    module, found, used = model.load_module(), [], []
    ask, settle = module.__dict__["repeats_of"], module.__dict__["steady_moments"]
    shortest = {"SHORTEST": 2, "START": 0, "STEP": 0}
    given = ({"REPEATING": 1e9}, {"REPEATING": 4, **shortest}, {"compiled": lambda kernel: kernel})
    for changed_names in given:
        for name, value in changed_names.items():
            monkeypatch.setitem(module.__dict__, name, value)
        if "compiled" in changed_names:
            monkeypatch.setenv("EMDSL_NUMBA", "on")
        used.append([])
        monkeypatch.setitem(module.__dict__, "repeats_of", lambda *a: used[-1].append(ask(*a)) or used[-1][-1])
        monkeypatch.setitem(module.__dict__, "steady_moments", lambda *a: used[-1].append(settle(*a)) or used[-1][-1])
        once = module.__dict__[model.name](init=start, max_iter=1, tol=0).fit({"x": x})
        found.append(once.e_step(start, {"x": x}) | once.params_ | {"cov": once.posterior_["h"]["cov"]})
    assert [{type(u).__name__ for u in each} for each in used] == [{"NoneType"}, {"Repeats", "tuple"}, {"Repeats"}]
    for name, value in found[0].items():
        for other in found[1:]:
            np.testing.assert_allclose(other[name], value, rtol=1e-11, atol=1e-11, err_msg=name)
