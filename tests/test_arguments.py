"""Each argument of the public methods, handed over wrong: an error of emdsl, never one of Python's or numpy's own."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import emdsl
from emdsl.errors import EmdslError

TEXT = """model M
param st : simplex[2]
param tr[2] : simplex[2]
param m[2] : real
for t in T:
    given    x[t] : real
    latent   z[t] ~ Categorical(st) if t == 0 else Categorical(tr[z[t-1]])
    observed y[t] ~ Normal(m[z[t]] + x[t], 1)
"""
MODEL = emdsl.compile(text=TEXT)
WEIGHED = emdsl.compile(text="model W\nparam m : real\nfor n in N: observed y[n] ~ Normal(m, 1)")
DATA = {"x": np.arange(6.0), "y": np.array([0.0, 3, 2, 7, 4, 8])}
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    FIT = MODEL.fitter(seed=0, max_iter=1).fit(DATA)
STATISTICS = FIT.e_step(FIT.params_, DATA)
WRONG = (
    "a", b"a", float("nan"), -1, 2.5, 10**400, 1j, [], ["a", None], {"zz": 3}, {1: 2}, "\0", np.zeros((2, 3, 4)),
    np.array([None, 1], object), object(), np.zeros(0), np.array("a"), [[1], [1, 2]], "\ud800",
)  # fmt: skip
CALLS: dict[str, Callable[[Any], Any]] = {
    "path": lambda b: emdsl.compile(b),
    "infer": lambda b: emdsl.compile(text=TEXT, infer=b),
    **{f"option {o}": lambda b, o=o: MODEL.fitter(**{"max_iter": 0, o: b}).fit(DATA)
       for o in ("max_iter", "tol", "n_init", "seed", "init", "fixed", "progress", "on_degenerate", "sizes", "T")},
    "data": lambda b: MODEL.fitter(max_iter=0).fit(b),
    "columns": lambda b: MODEL.fitter(max_iter=0).fit(DATA, columns=b),
    "weights": lambda b: MODEL.fitter(max_iter=0).fit(DATA, sample_weight=b),
    "init of m": lambda b: MODEL.fitter(max_iter=0, init={"m": b}).fit(DATA),
    "posterior": lambda b: FIT.posterior(b),
    "number": lambda b: FIT.sample(b, data={"x": DATA["x"]}),
    "seed of a fit": lambda b: FIT.sample(6, seed=b),
    "steps": lambda b: FIT.forecast(b, givens={"x": [1.0]}),
    "givens": lambda b: FIT.forecast(1, givens=b),
    "save": lambda b: FIT.save(b),
    "load": lambda b: emdsl.load(b),
    "write": lambda b: MODEL.write(b),
    "params": lambda b: FIT.e_step(b, DATA),
    "statistics": lambda b: FIT.m_step(b),
    "one statistic": lambda b: FIT.m_step({**STATISTICS, max(STATISTICS): b}),
    "sizes": lambda b: MODEL.sample(FIT.params_, b, 0, {"x": DATA["x"]}),
    "seed": lambda b: MODEL.sample(FIT.params_, {"T": 6}, b, {"x": DATA["x"]}),
    "givens of draws": lambda b: MODEL.sample(FIT.params_, {"T": 6}, 0, b),
    "a size": lambda b: MODEL.sample(FIT.params_, {"T": b}, 0, {"x": DATA["x"]}),
    "a parameter of draws": lambda b: MODEL.sample({**FIT.params_, "m": b}, {"T": 6}, 0, {"x": DATA["x"]}),
    "values": lambda b: MODEL.log_joint(b, {"T": 6}),
    "a value": lambda b: MODEL.log_joint({**FIT.params_, **DATA, "z": np.zeros(6, int), "m": b}, {}),
    "columns of text": lambda b: MODEL.derivation.to_text(b),
    "columns of a difference": lambda b: MODEL.derivation.difference(MODEL.derivation).to_text(b),
    "format": lambda b: emdsl.load({"format": b}),
    "weighed plate": lambda b: WEIGHED.fitter().fit({"y": [1.0, 2.0]}, sample_weight=[1.0, 1.0], weights_over=b),
    "names": lambda b: MODEL.fix(b),
    "names of data": lambda b: MODEL.complete(b),
}  # fmt: skip


@pytest.mark.parametrize("argument", CALLS)
@pytest.mark.filterwarnings("ignore")
def test_a_wrong_argument_is_told(argument: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # some of these are paths of files, after all
    refused = 0
    for value in WRONG:
        try:
            CALLS[argument](value)
        except EmdslError as error:
            refused += 1
            assert str(error)
    assert refused >= 6


class Unreadable:
    """Of which no array is made."""

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError("no")


@pytest.mark.parametrize("argument", ["data", "init of m", "a size", "a parameter of draws", "a value", "statistics"])
def test_what_makes_no_array_is_told(argument: str) -> None:
    with pytest.raises(EmdslError):
        CALLS[argument](Unreadable())


def test_labels_that_count_from_one_are_pointed_out() -> None:
    text = "model C\nparam p : simplex[K]\nfor n in N: observed y[n] ~ Categorical(p)"
    with pytest.warns(UserWarning, match="y - 1 that is meant"):
        emdsl.compile(text=text).fitter().fit(np.array([1, 2, 3, 3, 1]))
    with pytest.raises(emdsl.DataError, match="other codes of no and yes: pass y - 1"):
        emdsl.compile(text="model B\nparam p : unit\nfor n in N: observed y[n] ~ Bernoulli(p)").fitter().fit([1, 2, 2])


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_cells_of_lists_are_what_lies_inside_a_row(library: str) -> None:
    """A ragged plate as data frames hold it, one list in each cell, beside numbers of the outer plate."""
    frames = pytest.importorskip(library)
    make = frames.table if library == "pyarrow" else frames.DataFrame
    rows = {"y": [[1.0, 2.0, 3.0], [4.0], [6.0, 7.0]], "w": [0.5, 1.0, 2.0]}
    text = "model R\nparam a : real\nfor g in G:\n    given w[g] : real\n    for i in L[g]:\n"
    model = emdsl.compile(text=f"{text}        observed y[g, i] ~ Normal(a * w[g], 1)")
    x, y = np.repeat(rows["w"], [3, 1, 2]), np.concatenate([np.array(r) for r in rows["y"]])
    assert float(model.fitter().fit(make(rows)).params_["a"]) == pytest.approx((x @ y) / (x @ x))
