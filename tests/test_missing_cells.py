"""Missing entries by the user's names: what a table of them says against all paths enumerated."""

from __future__ import annotations

import csv
import json
import pickle
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import emdsl
from emdsl import cli

STATES = """
model States
size K = 2
param start : simplex[K]
param step[K] : simplex[K]
param mean[K] : real
param sd : positive
for s in S:
    for t in T[s]:
        observed z[s, t] : category[K] ~ Categorical(start) if t == 0 else Categorical(step[z[s, t-1]])
        observed y[s, t] ~ Normal(mean[z[s, t]], sd)
"""
AT: dict[str, Any] = {"start": [0.4, 0.6], "step": [[0.7, 0.3], [0.2, 0.8]], "mean": [-1.0, 2.0], "sd": 1.3}
NAMES = ("calm", "storm")
ROWS = [("bob", 2002, None, 3.0), ("ann", 2001, "calm", None), ("bob", 2000, "storm", 1.0), ("bob", 2001, None, None),
        ("ann", 2000, None, -1.0), ("cid", 1999, None, 0.5), ("ann", 2002, None, None)]  # fmt: skip


def enumerated(who: str) -> dict[tuple[str, str, int], tuple[float, ...]]:
    """Of one sequence: probabilities of each missing state, mean and standard deviation of each missing number."""
    rows = sorted((r for r in ROWS if r[0] == who), key=lambda r: r[1])
    every = list(product(range(2), repeat=len(rows)))
    paths = [p for p in every if all(r[2] in (None, NAMES[k]) for r, k in zip(rows, p, strict=True))]
    weights = []
    for path in paths:
        seen = [
            stats.norm.pdf(r[3], AT["mean"][k], AT["sd"]) for r, k in zip(rows, path, strict=True) if r[3] is not None
        ]
        weights.append(AT["start"][path[0]] * np.prod([AT["step"][a][b] for a, b in pairwise(path)]) * np.prod(seen))
    states, chances = np.array(paths), np.array(weights) / np.sum(weights)
    out: dict[tuple[str, str, int], tuple[float, ...]] = {}
    for t, (_, year, label, value) in enumerate(rows):
        p = [float(chances[states[:, t] == k].sum()) for k in range(2)]
        if label is None:
            out["z", who, year] = tuple(p)
        if value is None:
            mean = float(np.dot(p, AT["mean"]))
            out["y", who, year] = (mean, float(np.sqrt(AT["sd"] ** 2 + np.dot(p, np.square(AT["mean"])) - mean**2)))
    return out


@pytest.mark.filterwarnings("ignore::UserWarning")  # nothing is climbed
def test_missing_entries_are_told_by_the_names_of_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In Python, in the file of `--imputed`, and some of them in what `fit` prints; rows are in no order."""
    model = emdsl.compile(text=STATES)
    frame = pd.DataFrame(ROWS, columns=["who", "year", "z", "y"])
    fit = model.fitter(init=AT, max_iter=0).fit(frame, index={"s": "who", "t": "year"})
    wanted = {n: v for who in ("ann", "bob", "cid") for n, v in enumerated(who).items()}
    table = pd.DataFrame(fit.imputed_)
    assert list(table.columns) == ["variable", "who", "year", "level", "probability", "mean", "sd"]
    found: dict[Any, tuple[float, ...]] = {}
    for name, who, year, level, probability, mean, sd in table.itertuples(index=False):
        assert name == "y" or level == NAMES[len(found.get((name, who, year), ()))]
        found[name, who, year] = (*found.get((name, who, year), ()), probability) if name == "z" else (mean, sd)
    assert found.keys() == wanted.keys()
    for n, v in wanted.items():
        assert found[n] == pytest.approx(v, abs=1e-12)

    monkeypatch.setattr(cli, "compiled", lambda path, infer=(): model)
    frame.to_csv(tmp_path / "d.csv", index=False)
    (tmp_path / "start.json").write_text(json.dumps(AT))
    told = ("--index", "s=who", "--index", "t=year", "--imputed", str(tmp_path / "told.csv"))
    start = ("--init", str(tmp_path / "start.json"), "--max-iter", "0")
    assert cli.run(["fit", "m.em", str(tmp_path / "d.csv"), *told, *start]) == 0
    with (tmp_path / "told.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(r["probability"] or r["mean"]) for r in rows] == [*table["probability"].fillna(table["mean"])]
    printed = capsys.readouterr().out
    assert "y, who = ann, year = 2001  {:.7g} (sd {:.7g})".format(*wanted["y", "ann", 2001]) in printed
    assert "1 more: --imputed" in printed


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_missing_cells_have_the_names_of_columns_and_places() -> None:
    """Of vectors those of columns; where there is no table, positions; what a plate leaves out is no cell."""
    x = [[1, np.nan, 2], [np.nan, 2, np.nan]]
    vectors = emdsl.compile(
        text="model V\nparam m : real[3]\nparam s : positive[3]\nfor n in N: observed x[n] : real[3] ~ Normal(m, s)\n"
    )
    for data, names in ((pd.DataFrame(x, columns=["u", "v", "w"]), ["v", "u", "w"]), (x, ["x[1]", "x[0]", "x[2]"])):
        fit = vectors.fitter(init={"m": [0.0, 1, 2], "s": [1.0, 2, 3]}, max_iter=0).fit({"x": x} if data is x else data)
        assert fit.imputed_ == {"variable": names, "n": [0, 1, 1], "mean": [1.0, 0.0, 2.0], "sd": [2.0, 1.0, 3.0]}
    with pytest.raises(emdsl.DataError, match="a fit that was read has no data"):
        pickle.loads(pickle.dumps(fit)).imputed_  # noqa: B018, S301
    pairs = emdsl.compile(
        text="model P\nparam p : unit\nfor i in N:\n    for j in N if j < i: observed e[i, j] ~ Bernoulli(p)\n"
    )
    found = pairs.fitter(init={"p": 0.25}, max_iter=0).fit({"e": [[np.nan] * 3, [1, np.nan, np.nan], [np.nan, 0, 1]]})
    assert found.imputed_["i"] == [2, 2] and found.imputed_["j"] == [0, 0]
    assert found.imputed_["probability"] == pytest.approx([0.75, 0.25])


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_matrix_that_is_missing_adds_nothing() -> None:
    model = emdsl.compile(text="model W\nparam S : spd[2]\nfor n in N: observed W[n] : spd[2] ~ Wishart(5, S)\n")
    seen, scale = [np.array([[2, 0.3], [0.3, 1]]), np.array([[1.0, 0], [0, 2]])], np.array([[0.4, 0.1], [0.1, 0.3]])
    fit = model.fitter(init={"S": scale}, max_iter=0).fit({"W": [seen[0], np.full((2, 2), np.nan), seen[1]]})
    assert fit.log_likelihood_ == pytest.approx(sum(stats.wishart.logpdf(w, 5, scale) for w in seen), abs=1e-10)
    told = fit.posterior_["W"]
    assert (np.abs(told["mean"][1] - 5 * scale) < 6 * told["se"][1]).all() and told["var"].shape == (3, 2, 2)


def test_what_is_drawn_of_data_without_gaps_is_nothing() -> None:
    """`infer` may name what is observed; where its gaps are not to be had, rows are not to be dropped from a chain."""
    text = """
        model T
        param m : real
        for t in T:
            observed y[t] ~ Normal(m, 1) if t == 0 else StudentT(4, m + y[t-1] / 2, 1)
        infer y by mcmc
    """
    y = [1.0, 2, 0.5, 1.5, None, None, None, 1, 2]
    fit = emdsl.compile(text=text).fitter(seed=0, max_iter=0).fit({"y": [1.0, 2, None, 0.5]})
    told = fit.posterior_["y"]
    assert (told["mean"][:2] == [1, 2]).all() and ((told["var"] > 0) == [0, 0, 1, 0]).all()
    model = emdsl.compile(text=text.replace("/ 2", "/ 2 + y[max(t - 2, 0)] / 9"))
    with pytest.raises(emdsl.DataError, match="begin a new sequence after them"):
        model.fitter(seed=0, max_iter=1).fit({"y": y})


def test_counts_with_gaps_under_weights_of_a_condition() -> None:
    """Branches are refused with the way out, a table; which has the sum over its rows."""
    text = "model M\nlet w = [[0.2, 0.3, 0.5], [0.1, 0.1, 0.8]]\nfor n in N:\n    latent z[n] ~ Bernoulli(0.3)\n    "
    data = {"y": [[1, 2, 3], [2, np.nan, np.nan], [np.nan] * 3]}
    branches = text + "observed y[n] ~ Multinomial(w[1], trials = 6) if z[n] == 1 else Multinomial(w[0], trials = 6)"
    with pytest.raises(emdsl.DataError, match="weights are one table"):
        emdsl.compile(text=branches).fitter(max_iter=0).fit(data)
    found = emdsl.compile(text=text + "observed y[n] ~ Multinomial(w[z[n]], trials = 6)").fitter(max_iter=0).fit(data)
    p, w = [0.7, 0.3], np.array([[0.2, 0.3, 0.5], [0.1, 0.1, 0.8]])
    whole = np.log(p @ stats.multinomial.pmf([1, 2, 3], 6, w)) + np.log(p @ stats.binom.pmf(2, 6, w[:, 0]))
    assert found.log_likelihood_ == pytest.approx(whole, rel=1e-12)
