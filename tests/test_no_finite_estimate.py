"""Likelihoods that rise for ever: `boundary`, which parameter goes where, and no NaN."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import emdsl

ROWS = "model M\nparam b : real\nparam c : real\nfor n in N:\n    given t[n] : real\n    observed y[n] ~ {}"
CASES: dict[str, tuple[str, dict[str, Any], str, float]] = {
    # name: model, data, what is said, the supremum of the log-likelihood
    "no counts under a log rate": (
        "model M\nparam b : real\nfor n in N: observed y[n] ~ Poisson(log_rate = b)",
        {"y": np.zeros(10, int)},
        "b goes to minus infinity",
        0.0,
    ),
    "no counts, with a slope": (
        ROWS.format("Poisson(log_rate = b + c * t[n])"),
        {"y": np.zeros(10, int), "t": np.linspace(-1, 1, 10)},
        "b goes to minus infinity",
        0.0,
    ),
    "groups that a line separates": (
        ROWS.format("Bernoulli(logit = b + c * t[n])"),
        {"y": (np.arange(10) > 5) * 1, "t": np.arange(10.0)},
        "c goes to infinity",
        0.0,
    ),
    "an interval that is filled evenly": (
        "model M\nparam r : positive\nfor n in N: observed y[n] : positive(max = 3) ~ Exponential(r)",
        {"y": np.linspace(1.6, 2.9, 50)},
        "r goes to 0",
        -50 * np.log(3),
    ),
    "one empty group of two": (
        "model M\nparam v[2] : real\nfor n in N:\n    given g[n] : index[2]\n"
        "    observed y[n] ~ Poisson(log_rate = v[g[n]])",
        {"y": [0, 0, 3, 3], "g": [0, 0, 1, 1]},
        "v goes to minus infinity",
        2 * (3 * np.log(3) - 3 - np.log(6)),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_it_ends_on_the_boundary(name: str) -> None:
    text, data, said, best = CASES[name]
    fitted = emdsl.compile(text=text).fitter().fit(data)
    assert fitted.status_ == "boundary"
    assert said in fitted.message_
    assert fitted.objective_ == pytest.approx(best, abs=1e-4)
    assert all(np.isfinite(v).all() for v in fitted.params_.values())


def test_large_estimates_are_no_boundary() -> None:
    """A slope of 30 that the data know."""
    t = np.repeat(np.linspace(-0.1, 0.1, 21), 40)
    y = (np.tile(np.arange(40), 21) < 40 / (1 + np.exp(-30 * t))) * 1
    fitted = emdsl.compile(text=CASES["groups that a line separates"][0]).fitter().fit({"t": t, "y": y})
    assert fitted.status_ == "converged"
    assert float(fitted.params_["c"]) > 20
