"""Loops for numba: the same as numpy to 1e-12, as Python runs them and, where numba is installed, compiled."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from gallery import compiled
from test_steady import SEEN, TURN, by_kind, chain, changed, turned

from emdsl.runtime.fields.elements import Field
from emdsl.runtime.fields.fields import block_moments
from emdsl.runtime.fields.reduction import tridiagonal_moments
from emdsl.runtime.meanfield.looked_up import codes_of_rows, tables_of_rows, weights_of_rows
from emdsl.runtime.numeric import loops
from emdsl.runtime.numeric.compiled import REPAID, Meter
from emdsl.runtime.numeric.compiled import compiled as by_numba

Kernel = Callable[..., Any]


@pytest.fixture(params=["as it stands", "compiled"])
def run(request: pytest.FixtureRequest) -> Callable[[Kernel], Kernel]:
    """How a loop is run: by Python, or compiled."""
    if request.param == "as it stands":
        return lambda kernel: kernel
    pytest.importorskip("numba", reason="the extra `compiled` is not installed: loops are run by Python alone")

    def made(kernel: Kernel) -> Kernel:
        found = by_numba(kernel)
        assert found is not None and found is not kernel
        return found

    return made


class Given(Meter):
    """A meter that hands out loops as they are."""

    def __init__(self, run: Callable[[Kernel], Kernel]) -> None:
        super().__init__()
        self.run, self.asked = run, 0

    def twin(self, kernel: Kernel) -> Kernel | None:
        self.asked += 1
        return self.run(kernel)


def field_of(meter: Meter) -> Field:
    field = Field([], [], "h")
    field.meter = meter
    return field


def wild(m: int, w: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A chain in which no block is like another, of numbers on scales from 1e-3 to 1e3."""
    rng = np.random.default_rng(m)
    scale = 10.0 ** rng.uniform(-3, 3, (m, w))
    half = rng.normal(size=(m, w, 2 * w))
    diagonal = half @ half.swapaxes(1, 2) + np.eye(w)
    below = 0.3 * rng.normal(size=(m - 1, w, w))
    reach = np.abs(below).sum(2).max() + np.abs(below).sum(1).max()
    diagonal += reach * np.eye(w)
    below *= scale[1:, :, None] * scale[:-1, None, :]
    return diagonal * scale[:, :, None] * scale[:, None, :], below, rng.normal(size=(m, w)) * scale


CASES = {
    "slow": chain(500, 0.99 * TURN[:2, :2] / 0.9, np.diag([0.01, 0.01])),  # what settles here settles late
    "changed": changed(20, 21, 70, 220),
    "turned": turned(),
    "two": chain(2, TURN, SEEN),
    "wild": wild(40, 3),
    "single": wild(40, 1),
}


@pytest.mark.parametrize("case", CASES)
def test_chains_of_blocks(case: str, run: Callable[[Kernel], Kernel]) -> None:
    diagonal, below, h = CASES[case]
    meter = Given(run)
    v, c, *rest = block_moments(field_of(meter), by_kind(diagonal), by_kind(below), h)
    found, expected = (v.all(), c.all(), *rest), tridiagonal_moments(diagonal, below, h)
    assert meter.asked == 1 and meter.spent == 0
    size = np.sqrt(expected[0].diagonal(0, 1, 2))  # the standard deviation of each number: its unit
    units = (
        size[:, :, None] * size[:, None, :],
        size[1:, :, None] * size[:-1, None, :],
        np.maximum(size, np.abs(expected[2])),
        np.maximum(1.0, np.abs(expected[3])),
    )
    assert all(
        (np.abs(a - b) <= 1e-12 * unit).all() for a, b, unit in zip(found[:3], expected[:3], units, strict=False)
    )
    assert found[3].sum() == pytest.approx(expected[3].sum(), rel=1e-12)


def test_what_is_not_positive_definite_is_left_to_numpy() -> None:
    diagonal, below, h = chain(40, TURN, SEEN)
    diagonal[17, 1, 1] = -1.0
    with pytest.raises(Exception, match="rounding leaves nothing of the precision"):
        block_moments(field_of(Given(lambda kernel: kernel)), by_kind(diagonal), by_kind(below), h)


@pytest.mark.parametrize("shuffled", [False, True])
def test_rows_of_tables(shuffled: bool, run: Callable[[Kernel], Kernel]) -> None:
    """Norms and sums, of rows in the order of the first code or not; some rows have no place, some no product."""
    rng = np.random.default_rng(3)
    i, j, there = rng.integers(7, size=60), rng.integers(5, size=60), (rng.random(60) < 0.8) + 0.0
    given = codes_of_rows((i if shuffled else np.sort(i), 9, None), (j, 5, there))
    tables = [3 * rng.normal(size=(4, 9)), 3 * rng.normal(size=(4, 5))]
    tables[0][:, 2], tables[1][:, 1] = (0.0, -700.0, -900.0, -1e200), (-900.0, -700.0, 0.0, -1e200)
    row_weights, constant = [None, rng.random(60)], rng.normal(size=4)
    weights = weights_of_rows(given, row_weights, None)
    expected = tables_of_rows(given, tables, constant, weights)
    meter = Given(run)
    found = tables_of_rows(given._replace(meter=meter), tables, constant, weights)
    assert meter.asked == 1 and meter.spent == 0 and len(found.lost) > 0
    np.testing.assert_allclose(found.log_norm, expected.log_norm, rtol=1e-13, atol=1e-13)
    for which in (0, 1):
        np.testing.assert_allclose(found.sums(which), expected.sums(which), rtol=1e-12, atol=1e-300)
    np.testing.assert_allclose(found.totals(), expected.totals(), rtol=1e-12)
    np.testing.assert_allclose(found.sums(0, row_weights[1]), expected.sums(0, row_weights[1]), rtol=1e-12, atol=1e-300)


def words(rng: np.random.Generator) -> list[np.ndarray]:
    return [rng.integers(1 + d % 3, 4 + d % 5, size=12) for d in range(8)]


@pytest.mark.filterwarnings("ignore::UserWarning")  # eight iterations do not converge
@pytest.mark.parametrize(
    ("name", "data", "loop", "some"),
    [
        ("linear_dynamical_system", lambda rng: {"x": rng.normal(size=(60, 3)).cumsum(0)}, "block_chain_loop", 3000.0),
        ("latent_dirichlet_allocation", lambda rng: {"w": words(rng)}, "table_rows_loop", 10.0),
    ],
)
def test_a_fit_takes_the_loop_when_it_has_been_long_enough(
    name: str, data: Callable[[np.random.Generator], Any], loop: str, some: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole fit in numpy, the whole fit by the loop, and one that changes over on the way: the same history."""
    model, given = compiled(name), data(np.random.default_rng(0))
    module = model.load_module()
    estimator = module.__dict__[model.name]
    asked: list[str] = []

    def numba_is_there(kernel: Kernel) -> Kernel:
        asked.append(kernel.__name__)
        return kernel

    def history(wish: str, enough: float = REPAID) -> list[float]:
        monkeypatch.setitem(module.__dict__, "compiled", numba_is_there)
        monkeypatch.setitem(module.__dict__, "REPAID", enough)
        monkeypatch.setenv("EMDSL_NUMBA", wish)
        asked.clear()
        return list(estimator(max_iter=8, tol=0, seed=1).fit(given).history_)

    plain = history("off")
    assert not asked and history("") == plain and not asked
    assert history("", some) == pytest.approx(plain, rel=1e-12) and 0 < len(asked)
    late = len(asked)
    assert history("", some) == history("", some)  # by counts, not by a clock
    assert history("on") == pytest.approx(plain, rel=1e-12) and len(asked) > late
    assert set(asked) == {loop}


def test_modules_in_memory_share_what_is_compiled() -> None:
    module = compiled("linear_dynamical_system").load_module()
    assert module.__dict__["block_chain_loop"] is loops.block_chain_loop
    assert module.__dict__["compiled"] is by_numba


def test_nothing_is_compiled_where_numba_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    assert by_numba.__wrapped__(loops.block_chain_loop) is None  # type: ignore[attr-defined]
