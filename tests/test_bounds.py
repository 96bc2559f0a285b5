"""Bounds of parameters, written or their prior's: no estimate leaves them."""

from __future__ import annotations

import numpy as np
import pytest
from gallery import written

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
