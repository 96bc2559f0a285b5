"""What the data do not settle is told, with its directions; what they do settle is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gallery import compiled, written

from emdsl.fit import identified

HEAD = "model Told\nparam s : positive\n"
SUM = HEAD + "param a : real\nparam b : real{prior}\nfor n in N:\n    observed y[n] ~ Normal(a + b, s)\n"
SLOPES = (
    HEAD
    + """param a : real
param b : real[2]
for n in N:
    given x[n] : real[2]
    observed y[n] ~ Normal(a + b @ x[n], s)
"""
)
VARIANCES = """model Told
param a : positive
param b : positive
for n in N:
    latent h[n] ~ Normal(0, var=a)
    observed y[n] ~ Normal(h[n], var=b)
"""
LOADINGS = """model Told
param W : real[6, 2]
param S : spd[2]
param v : positive[6]
for n in N:
    latent h[n] ~ MvNormal(zeros(2), S)
    observed x[n] ~ MvNormal(W @ h[n], diag(v))
"""
ONE_LEVEL = "model Told\nparam p : simplex[L]\nfor n in N:\n    observed c[n] ~ Categorical(p)\n"
RNG = np.random.default_rng(0)
Y = RNG.normal(1e6, 1, 60)
TWO = RNG.normal(size=(60, 2))
FACTORS = RNG.normal(size=(200, 2)) @ RNG.normal(size=(2, 6)) + RNG.normal(size=(200, 6))


def told(text: str, data: dict[str, Any]) -> list[tuple[tuple[str, ...], int]]:
    fit = written(text).fitter(seed=0).fit(data)
    return [(found.params, found.directions) for found in fit.unidentified_]


@pytest.mark.parametrize(
    ("text", "data", "expected"),
    [
        (SUM.format(prior=""), {"y": Y}, [(("a", "b"), 1)]),
        (SUM.format(prior=" ~ Normal(0, 1)"), {"y": Y}, []),
        (SLOPES, {"y": Y, "x": TWO}, []),
        (SLOPES, {"y": Y, "x": TWO[:, [0, 0]]}, [(("b",), 1)]),
        (VARIANCES, {"y": Y - 1e6}, [(("a", "b"), 1)]),
        (LOADINGS, {"x": FACTORS}, [(("W", "S"), 4)]),  # W and S turn into W A and A^-1 S A^-T, for any 2 by 2 A
        (ONE_LEVEL, {"c": ["u"]}, []),
    ],
)
def test_directions_that_leave_the_fit_as_good(text: str, data: dict[str, Any], expected: Any) -> None:
    assert told(text, data) == expected


def test_it_is_said_in_the_summary(capsys: pytest.CaptureFixture[str], tmp_path: Any) -> None:
    from emdsl.cli import run

    (tmp_path / "sum.em").write_text(SUM.format(prior=""))
    (tmp_path / "y.csv").write_text("y\n" + "\n".join(map(str, Y)))
    assert run(["fit", str(tmp_path / "sum.em"), str(tmp_path / "y.csv")]) == 0
    assert "a and b are not identified: the fit is as good where a by 1 and b by -1 more" in capsys.readouterr().out


def test_rotations_and_labels_of_the_gallery() -> None:
    analysed = compiled("factor_analysis").fitter(seed=0).fit({"x": FACTORS})
    assert [(u.params, u.directions) for u in analysed.unidentified_] == [(("load",), 1)]
    mixed = compiled("poisson_mixture").fitter(K=2, seed=0).fit({"y": np.r_[RNG.poisson(2, 50), RNG.poisson(20, 50)]})
    (order,) = mixed.unidentified_
    assert order.directions == 0 and "the order of the states that K counts" in str(order)


def test_states_that_are_the_elements_of_a_ragged_plate() -> None:
    """Found by a fuzzer: their number is no size, and asking raised an error of data."""
    words = {"source": [[0, 1], [2], [1, 2, 0]], "target": [[0], [1, 2], [2, 0]]}
    assert compiled("word_alignment").fitter(seed=0, max_iter=5, tol=1).fit(words).unidentified_ is not None


def test_what_is_not_looked_at(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    fit = written(SUM.format(prior="")).fitter().fit({"y": Y})
    fit.save(tmp_path / "fit.json")
    loaded = written(SUM.format(prior="")).fitter().restore(tmp_path / "fit.json")
    assert loaded.unidentified_ is None and "loaded" in loaded.unidentified_note_
    setup = identified.Setup(fit._module, *fit._training[:2], 1, 0.0, "raise")
    work = {identified._work(setup, identified.Coordinates(fit._module.SPEC, fit.params_)) for _ in range(3)}
    assert len(work) == 1  # counted, not timed
    monkeypatch.setattr(identified, "WORK", 0.0)
    assert fit.unidentified_ is None and "long" in fit.unidentified_note_
