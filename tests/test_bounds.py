"""Bounds of parameters, written or their prior's: no estimate leaves them."""

from __future__ import annotations

import numpy as np
import pytest
from gallery import written

import emdsl
from emdsl.fit.verify import certify

X = np.linspace(-4.0, 2.0, 12)  # its mean is -1
LINE = "for n in N:\n    observed x[n] ~ Normal({}, 3)"
GIVEN = "given lo : real\ngiven a : real\nlet third = 1/3"


@pytest.mark.parametrize(
    ("declared", "mean", "expected"),
    [
        ("param m : real ~ Uniform(0, 5)", "m", 0.0),
        ("param m : real ~ Uniform(-0.5, a)", "m", -0.5),
        ("param m : real ~ Exponential(1)", "m", 0.0),
        ("param m : real(min = lo)", "m", 0.25),
        ("param m : real(min = third, max = 2*a)", "m", 1 / 3),
        ("param m : real(max = -a - lo) ~ Uniform(-9, 9)", "m", -1.25),
        ("param m : positive ~ Beta(2, 1)", "-m", 1.0),
        ("param m : real ~ Uniform(0, 5)", "exp(m)", 0.0),  # a numeric step
        ("param m : real(min = lo)", "exp(m)", 0.25),
    ],
)
def test_no_estimate_leaves_its_bounds(declared: str, mean: str, expected: float) -> None:
    model = written(f"model M\n{GIVEN}\n{declared}\n{LINE.format(mean)}")
    fit = model.fitter(seed=0).fit({"x": X, "lo": 0.25, "a": 1.0})
    np.testing.assert_allclose(fit.params_["m"], expected, atol=1e-6)


EACH = (
    "given hi[K] : real\ngiven g[N] : index[K]\nfor k in K:\n    param a[k] : {}\nfor n in N:\n    observed y[n] ~ {}"
)


@pytest.mark.parametrize(
    ("domain", "density", "expected"),
    [
        ("real(max = hi[k])", "Normal(a[g[n]], 1)", [0.5, 1.0, 6.0]),
        ("real(max = hi[k])", "Normal(exp(a[g[n]]), 1)", [0.5, 1.0, np.log(6.0)]),  # a numeric step
        ("real ~ Uniform(hi[k] - 1, hi[k])", "Normal(a[g[n]], 1)", [0.5, 1.0, 7.0]),
        ("positive(min = hi[k])", "Exponential(a[g[n]])", [0.5, 1.0, 8.0]),
        ("unit(min = hi[k] / 10)", "Geometric(a[g[n]])", [0.25, 0.2, 0.8]),
    ],
)
def test_each_element_has_bounds_of_its_own(domain: str, density: str, expected: list[float]) -> None:
    """The means by group are 3, 4 and 6."""
    y, g, hi = np.array([2, 4, 3, 5, 6, 6]), np.array([0, 0, 1, 1, 2, 2]), np.array([0.5, 1.0, 8.0])
    model = written(f"model M\n{EACH.format(domain, density)}")
    fit = model.fitter(seed=0).fit({"y": y, "g": g, "hi": hi})
    np.testing.assert_allclose(fit.params_["a"], expected, atol=1e-6)
    assert fit.status_ == "boundary"
    with pytest.raises(emdsl.DataError, match="a: its value"):
        model.fitter(init={"a": [0.1, 0.05, 9.0]}, max_iter=0).fit({"y": y, "g": g, "hi": hi})


@pytest.mark.parametrize("end", ["[0.5, 2, 3][n]", "lo[n]"])
def test_bounds_by_row_are_of_as_many_rows_as_there_are(end: str) -> None:
    """The certificate's sampler draws more rows than its other data have; a literal table was not made at all."""
    given = "given lo[N] : real\n" if "lo" in end else ""
    model = written(
        f"model M\n{given}for n in N:\n    param a[n] : real(min = {end})\n    observed y[n] ~ Normal(a[n], 1)"
    )
    data = {"y": np.array([1.0, 1.0, 4.0]), **({"lo": np.array([0.5, 2.0, 3.0])} if given else {})}
    np.testing.assert_allclose(model.fitter(seed=0).fit(data).params_["a"], [1.0, 2.0, 4.0], atol=1e-6)
    name = "draws have the density's moments"
    assert [c.status for c in certify(model, only=(name,)).checks] == ["passed"]


@pytest.mark.parametrize(
    ("declared", "mean", "expected"),
    [
        ("param c : ordered[3]", "c[g[n]]", [3.0, 5.0, 5.0]),  # two of one value
        ("param c : ordered[3]", "c[g[n]] / 1000", [3000.0, 5000.0, 5000.0]),
        ("param c : simplex[3]", "c[1] + c[2] - 1", [0.0, None, None]),  # two of its numbers are no estimates
        ("param c : simplex[3]", "20 * c[0] + 30 * c[1] + 5 * c[1]^2 - 60", [0.0, 1.0, 0.0]),
        ("param c : simplex[3]", "-c[1] - 2 * c[2]", [1.0, 0.0, 0.0]),
    ],
)
def test_an_estimate_where_its_domain_ends_says_so(declared: str, mean: str, expected: list[float | None]) -> None:
    y, g = np.array([2, 4, 5, 7, 4, 4]), np.array([0, 0, 1, 1, 2, 2])
    model = written(f"model M\n{declared}\ngiven g[N] : index[3]\nfor n in N:\n    observed y[n] ~ Normal({mean}, 1)")
    fit = model.fitter(seed=0).fit({"y": y, "g": g})
    for found, wanted in zip(fit.params_["c"], expected, strict=True):
        assert wanted is None or found == pytest.approx(wanted, rel=1e-5, abs=1e-5)
    assert fit.status_ == "boundary" and "c lies on the boundary of its domain" in fit.message_
    again = model.fitter(init=fit.params_, max_iter=3).fit({"y": y, "g": g})
    assert again.objective_ == pytest.approx(fit.objective_, rel=1e-9)


@pytest.mark.parametrize(
    ("low", "high", "penalty", "best"),
    [
        (0, 3, "a^3 - 3*a - 0.5*a^2", 3),  # the root inside is a minimum: told as converged there
        (-2, 1.5, "0.5*(a - 1)^2", -2),  # so is the only one
        (0.5, 1, "-3*log(a) - 4/a + 0.1/a^2", 1),  # no root inside: the lower end was taken, the upper one not asked
        (2, 9, "-3*log(a) - 4/a + 0.1/a^2", 2),
        (-2, 3, "-0.5*(a - 1)^2", 1),
    ],
)
def test_an_end_of_the_domain_may_be_better_than_a_root(low: float, high: float, penalty: str, best: float) -> None:
    declared = f"param m : real\nparam a : real(min = {low}, max = {high})\nfactor {penalty}"
    model = written(f"model M\n{declared}\n{LINE.format('m')}")
    assert model.updates["a"].kind == "closed form"
    assert model.fitter(seed=0).fit({"x": X}).params_["a"] == pytest.approx(best, abs=1e-9)
