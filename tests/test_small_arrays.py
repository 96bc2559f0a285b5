"""The short ways that small arrays take, against numpy and the long ways; and sums of products in few operations."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from emdsl.derive.algebra import expr as x
from emdsl.generate.lines.arrays import Array, Leaf
from emdsl.generate.lines.expressions import Emitter
from emdsl.generate.lines.names import Namer
from emdsl.generate.lines.spelling import Binding
from emdsl.generate.lines.sums import times
from emdsl.runtime.data import domains, faults
from emdsl.runtime.fitting.settings import Seed
from emdsl.runtime.numeric import numerics, updates

RNG = np.random.default_rng(5)
HALVES = RNG.normal(size=(200, 3, 2, 2)) * 10.0 ** RNG.integers(-6, 7, size=(200, 1, 2, 1))
MATRICES = HALVES @ HALVES.swapaxes(-1, -2)


def test_factors_and_inverses_of_few_matrices() -> None:
    """Against LAPACK, in units of each matrix's own diagonal."""
    for a in MATRICES:
        unit = np.sqrt(np.einsum("kii->ki", a))
        if np.linalg.cond(a / (unit[:, :, None] * unit[:, None, :])).max() > 1e6:
            continue
        low = numerics.factored(a)
        np.testing.assert_allclose(low / unit[..., None], np.linalg.cholesky(a) / unit[..., None], atol=1e-10)
        found = numerics.inverse(low) * unit[:, :, None] * unit[:, None, :]
        wanted = np.linalg.inv(a / (unit[:, :, None] * unit[:, None, :]))
        np.testing.assert_allclose(found, wanted, rtol=1e-8, atol=1e-8)
        np.testing.assert_allclose(numerics.log_determinant(low), np.linalg.slogdet(a)[1], rtol=1e-9, atol=1e-9)


def test_trigamma_of_few_numbers_is_that_of_many() -> None:
    """Few by a zeta function, many by a series; Newton of a shape took 20 to 60 microseconds a step for it."""
    a = 10.0 ** np.linspace(-8, 12, 2 * numerics.FEW_ARGUMENTS)
    a[:2] = 1, 0.5
    few = np.concatenate([numerics.trigamma(part) for part in np.split(a, 2)])
    np.testing.assert_allclose(few, numerics.trigamma(a), rtol=2e-15)
    np.testing.assert_allclose(few[:2], [math.pi**2 / 6, math.pi**2 / 2], rtol=1e-15)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -1.0])
@pytest.mark.parametrize("place", [(0, 0), (1, 1)])
def test_no_factor_of_a_matrix_that_has_none(bad: float, place: tuple[int, int]) -> None:
    a = np.array([[[2.0, 1.0], [1.0, 2.0]]])
    a[0][place] = bad
    with pytest.raises(numerics.Degenerate):
        numerics.cholesky(a)


def settled(monkeypatch: pytest.MonkeyPatch, call: object, *arguments: object) -> tuple[object, object]:
    """What a function gives the short way and the long way: an array, or the message of its refusal."""
    out = []
    for few in (64, 0):
        monkeypatch.setattr(updates, "HANDFUL", few)
        try:
            out.append(call(*arguments))  # type: ignore[operator]
        except numerics.Degenerate as fault:
            out.append(fault.message)
    return out[0], out[1]


@pytest.mark.parametrize("policy", ["raise", "keep", "regularise"])
def test_covariances_and_shares_take_either_way(policy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = np.array([[[3.0, 1.0], [1.2, 2.0]], [[5.0, -2.0], [-2.0, 4.0]]])
    old = np.stack([np.eye(2)] * 2)
    for place, value in [((0, 0, 0), 3.0), ((0, 0, 0), 1e-30), ((1, 1, 1), math.nan), ((1, 1, 1), 0.8 + 1e-13)]:
        scatter = sound.copy()
        scatter[place] = value
        for weight in (np.array([2.0, 7.0]), np.array([0.0, 7.0]), np.array(2.0)):
            with np.errstate(all="ignore"):
                short, long = settled(monkeypatch, updates.spread, scatter, weight, "cov", old, policy, 1.0)
            assert isinstance(short, str) == isinstance(long, str)
            np.testing.assert_array_equal(short, long) if isinstance(short, str) else np.testing.assert_allclose(
                short, long, rtol=1e-14
            )
    for counts in ([1.0, 2.0, 3.0], [0.0, 0.0, 0.0], [-1.0, 2.0, 2.0], [math.nan, 1.0, 1.0], [0.0, 1e-320, 0.0]):
        with np.errstate(all="ignore"):
            short, long = settled(monkeypatch, updates.shares, np.array(counts), "p", np.full(3, 1 / 3), policy)
        np.testing.assert_array_equal(short, long)


def test_definite_matrices_either_way(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for few in (64, 0):
        monkeypatch.setattr(domains, "FEW_NUMBERS", few)
        bent = MATRICES[:50, 0] + np.array([[0.0, 1e-3], [0.0, 0.0]])
        cases = [*MATRICES[:50, 0], *bent, -MATRICES[0, 0], np.zeros((2, 2)), np.diag([1.0, math.nan])]
        found.append([bool(domains.positive_definite(m[None])[0]) for m in cases])
    assert found[0] == found[1]
    assert {True, False} == set(found[0])


@pytest.mark.parametrize(
    ("domain", "values"),
    [
        ("positive", [[1.0, 2.0], [0.0, 3.0], [-1.0, 2.0]]),
        ("unit", [[0.5, 0.1], [0.0, 1.0], [1.5, 0.5], [-0.1, 0.5]]),
        ("simplex", [[0.5, 0.5], [1.0, 0.0], [0.5, 0.6], [-0.5, 1.5]]),
    ],
)
def test_starts_are_judged_either_way(domain: str, values: list[list[float]], monkeypatch: pytest.MonkeyPatch) -> None:
    event = ["D"] if domain == "simplex" else []
    variable = {"name": "p", "domain": domain, "event": event, "lower": None, "upper": None}
    found = []
    for few in (64, 0):
        monkeypatch.setattr(domains, "FEW_NUMBERS", few)
        found.append([isinstance(settled_start(variable, v), np.ndarray) for v in values])
    assert found[0] == found[1] and {True, False} == set(found[0])


def settled_start(variable: dict[str, object], value: list[float]) -> object:
    try:
        return domains.check_parameter(variable, value, (2,))
    except faults.DataError as error:
        return error


def test_what_the_m_step_remembers_are_the_factors_of_what_it_returns() -> None:
    numerics._FACTORS.clear()
    cov = updates.spread(MATRICES[0] * 3.0, np.full(len(MATRICES[0]), 3.0), "cov", MATRICES[0], "raise", 1e-3)
    kept = dict(numerics._FACTORS)
    numerics._FACTORS.clear()
    assert kept and np.array_equal(kept[(cov.shape, cov.tobytes())], numerics.factored(cov))


def test_normalised_tables_of_few_rows_and_of_many() -> None:
    rng = np.random.default_rng(0)
    for far in (0.0, -1000.0, 1000.0):
        table = rng.normal(0, 200.0, (3, 2000)) + far
        whole, total = numerics.normalise(table.copy(), 1)
        parts = [numerics.normalise(table[:, a : a + 50].copy(), 1) for a in range(0, 2000, 50)]
        np.testing.assert_allclose(np.concatenate([p for p, _ in parts], 1), whole, rtol=1e-12, atol=1e-300)
        np.testing.assert_allclose(np.concatenate([t for _, t in parts]), total, rtol=1e-13)


def test_seeds_that_are_made_late_are_numpys() -> None:
    numpys = np.random.SeedSequence(7).spawn(2)[1].spawn(3)[2]
    mine = Seed(7).spawn(2)[1].spawn(3)[2]
    assert mine.generator().integers(2**40) == np.random.default_rng(numpys).integers(2**40)


# ------------------------------------------------------------------ sums of products


def emitted(e: x.Expr, values: dict[str, np.ndarray]) -> tuple[str, object]:
    """The printed lines of an expression, and what they come to."""
    em = Emitter(lambda n: Leaf(n, tuple(range(values[n].ndim))), Namer(tuple(values), frozenset()), frozenset())
    result = em.value(e)
    lines = "\n".join([*em.outer, *em.lines, f"result = {result.code}"])
    scope: dict[str, object] = {"np": np, **values}
    exec(compile(lines, "<printed>", "exec"), scope)  # noqa: S102
    return lines, scope["result"]


def test_shared_factors_and_numbers_stand_once() -> None:
    i, j = x.Ix("i", "K"), x.Ix("j", "D")
    a, b, c = x.El("a", (i,)), x.El("b", (i, j)), x.El("c", (j,))
    values = {"a": RNG.normal(size=3), "b": RNG.normal(size=(3, 2)), "c": RNG.normal(size=2)}
    half = x.Num(Fraction(-1, 2))
    e = x.add(x.mul(half, a, b), x.mul(half, a, c), x.mul(half, c, b), x.Num(Fraction(1, 3)), x.neg(b))
    lines, found = emitted(e, values)
    A, B, C = values["a"][:, None], values["b"], values["c"]
    np.testing.assert_allclose(found, -0.5 * (A * B + A * C + C * B) + 1 / 3 - B, rtol=1e-13)
    assert lines.count("*") < 5, lines


def test_numbers_times_code() -> None:
    i = x.Ix("i", "K")
    sums, products = ("p + q", "-p + q", "p - q", "p % q"), ("-p", "p / q", "1 / p", "p @ q", "p ** 2", "f(p + q) * q")
    for code in ("p", *sums, *products):
        binds = Binding.SUM if code in sums else Binding.PRODUCT if code in products else Binding.ATOM
        for c in (Fraction(1), -1, Fraction(-1, 2), Fraction(1, 3), 2.5):
            scope: dict[str, object] = {"p": np.array([3.0, -2.0]), "q": np.array([0.5, 7.0]), "f": np.abs}
            made = times(c, Array(code, (i,), binds=binds))
            exec(f"wanted = {float(c)} * ({code})\nfound = {made.code}", scope)  # noqa: S102
            np.testing.assert_allclose(scope["found"], scope["wanted"], rtol=1e-14, err_msg=made.code)
