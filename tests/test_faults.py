"""Faults of models, data and fits that stand in no other test, by their numbers in docs/faults.md; and that page."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import emdsl
from emdsl.errors import EmdslError
from emdsl.fit.model import Model
from emdsl.runtime.data.faults import ConvergenceWarning

ROOT = Path(__file__).parents[1]
MIXTURE = """
size K = 2
param w : simplex[K]
param m[K] : real
param s : positive
for n in N:
    latent   z[n] ~ Categorical(w)
    observed x[n] ~ Normal(m[z[n]], s)
"""
OWN_SD = MIXTURE.replace("param s ", "param s[K] ").replace("], s)", "], s[z[n]])")
NORMAL = "param m : real\nparam s : positive\nfor n in N:\n    observed x[n] ~ Normal(m, s)\n"
LEVELS = "param p : simplex[5]\nfor n in N:\n    observed y[n] ~ Categorical(p)\n"
SPREAD = "param m : real[D]\nparam V : spd[D]\nfor n in N:\n    observed x[n] ~ MvNormal(m, V)\n"
COINS = """
param w : simplex[2]
param p[2] : unit
for n in N:
    latent   z[n] ~ Categorical(w)
    observed x[n] ~ Bernoulli(p[z[n]])
"""


@cache
def model(text: str) -> Model:
    return emdsl.compile(text=f"model M\n{text}")


def one(body: str, head: str = "param a : positive\nparam b : positive\n") -> str:
    return f"{head}for n in N:\n    observed y[n] ~ {body}\n"


def refused(text: str) -> str:
    with pytest.raises(EmdslError) as caught:
        assert model(text).updates
    return str(caught.value)


def test_two_counts_without_bound() -> None:
    """36: no closed form, and no sum at points over two at once: they are drawn."""
    text = "param r : positive\nfor n in N:\n    latent k[n] ~ Poisson(r)\n    latent j[n] ~ Poisson(r)\n"
    plan = model(f"{text}    observed x[n] ~ Normal(k[n]^3 + j[n], 1)\n").plan
    assert {p.method for p in plan.values()} == {"saem:slice"}


REFUSED_MODELS = {
    "12 numbers that overflow where they meet": (
        one("Normal(1e200 * a * 1e200, b)"),
        r"^<text>:\d:\d+: error E007: numbers of the model are out of range where they meet.*1e200.*\^{5}",
    ),
    "12 a reciprocal that overflows": (one("Normal(a / 1e-320, b)"), r"E007: numbers of the model are out of range"),
    "12 whatever is divided by zero": (one("Normal(a / 0, b)"), r"E035: this constant is a division by zero"),
    "37 the support is the parameter": (one("Uniform(0, a)"), r"support of this family depends on a parameter"),
    "34 a positive number as a probability": (one("Bernoulli(a)"), r"Bernoulli's `p` is unit, `a` is positive"),
    "37 a formula that ends at the parameter": (
        "family Late(x : real | t : real, r : positive) = log(r) - r * (x - t) if x > t else log(0)\n"
        + one("Late(c, a)", "param c : real\nparam a : positive\n"),
        r"support of this family depends on a parameter.*write `given c : real`",
    ),
    "37 the log of a condition": (
        "family Pareto(x : real | low : positive, k : positive) ="
        " log(k) + k*log(low) - (k + 1)*log(x) + log((x > low) * (x > 0))\n" + one("Pareto(a, b)"),
        r"support of this family depends on a parameter",
    ),
    "41 a family that integrates to something else": (
        "family Odd(x : real | m : real) = -(x - m)^2\nparam a : real\nfor n in N:\n    observed y[n] ~ Odd(a)\n",
        r"integrates to 1\.77",
    ),
    "41 a density without end at 0": (
        "family Odd(x : positive | m : positive) = log(m) - 2*log(x)\nparam a : positive\nfor n in N:\n"
        "    observed x[n] ~ Odd(a)\n",
        r"integrates to infinity",
    ),
    "41 a sum without end": (
        "family Odd(k : count | p : unit) = log(1 - p)\nparam a : unit\nfor n in N:\n    observed x[n] ~ Odd(a)\n",
        r"sums to infinity",
    ),
    "43 twenty elements that a sum ties": (
        "param p : unit\nparam w : real[20]\nfor n in N:\n    for k in 20:\n        latent z[n, k] ~ Bernoulli(p)\n"
        "    observed y[n] ~ Normal(sum(w[k] * z[n, k] for k in 20), 1)\ninfer z by exact\n",
        r"20 elements meet in a term, at least 2\^20 states together",
    ),
    "45 a number outside, behind its name": (
        f"let s = t - 3\nlet t = 1\n{one('Normal(a, s)')}",
        r"`sd` is positive, not -2",
    ),
    "45 probabilities behind their name": (
        "let p = [[1/2, 1/2], [0.5, 0.6]]\nfor n in N:\n    given c[n] : bool\n"
        "    observed y[n] ~ Categorical(p[c[n]])\n",
        r"holds probabilities; these add up to 1\.1",
    ),
    "46 a prior on what is known": ("given g : real ~ Normal(0, 1)\n", r"a `given` has no distribution"),
    "52 too deep": (one("Normal(" + "sin(" * 329 + "a" + ")" * 329 + ", 1)"), r"brackets nest deeper than 100"),
}


@pytest.mark.parametrize("name", REFUSED_MODELS)
def test_a_model_that_is_refused(name: str) -> None:
    text, words = REFUSED_MODELS[name]
    assert re.search(words, refused(text), re.DOTALL)


REFUSED_DATA: dict[str, tuple[str, Any, dict[str, Any], str]] = {
    "44 no component": (MIXTURE, [1.0, 2.0], {"K": 0}, "K must be a positive whole number, not 0"),
    "44 fewer than none": (MIXTURE, [1.0, 2.0], {"K": -1}, "not -1"),
    "29 a parent that is its own descendant": (
        "param a : real\nfor n in N:\n    given up[n] : index[N]\n    given root[n] : bool\n"
        "    observed y[n] ~ Normal(0, 1) if root[n] else Normal(a * y[up[n]], 1)\n",
        {"up": [2, 2, 1, 0], "root": [1, 0, 0, 0], "y": [1.0, 2.0, 3.0, 4.0]}, {},
        r"y\[1\] depends on itself: .* a cycle of 2",
    ),
    "44 more components than rows": (MIXTURE, [1.0, 2.0, 3.0], {"K": 7}, "s has collapsed to its boundary"),
    "45 fixed outside its domain": (MIXTURE, [1.0, 2.0], {"fixed": {"s": -1}}, "s: must be positive"),
    "47 a plate without rows": (NORMAL, [], {}, "x: there are no rows"),
    "51 a number divided by 0": (
        one("Normal(a, var = b * (0 * a)^2)"), [1.0, 2.0], {}, "the model cannot be evaluated: division by zero"),
    "51 a count of zero": (
        MIXTURE, [1.0, 1.2, 9.0], {"init": {"w": [1, 0], "m": [1, 5.0], "s": 1.0}}, "its expected counts are 0"),
    "58 text among numbers": (NORMAL, ["1", "a"], {}, "must be numbers, but holds text"),
    "60 nothing but gaps": (NORMAL, [np.nan] * 3, {}, "every value is missing"),
    "60 a column of gaps": (
        SPREAD, [[1.0, np.nan], [2.0, np.nan], [3.0, np.nan]], {}, "every value of its column 1 is missing"),
    "61 infinity": (NORMAL, [1.0, np.inf], {}, "must be finite: the value in row 1: inf"),
    "63 a negative count": (one("Poisson(a)"), [1, -1], {}, "must be 0 or more: the value in row 1: -1"),
    "63 half a count": (one("Poisson(a)"), [1.5, 2], {}, "is not whole: the value in row 0: 1.5"),
    "64 Gamma at 0": (one("Gamma(a, b)"), [0.0, 1.0], {}, "must be positive: the value in row 0"),
    "64 Beta at 1": (one("Beta(a, b)"), [0.2, 1.0], {}, "must lie strictly between 0 and 1: the value in row 1"),
    "64 a seventh level of five": (LEVELS, [0, 7], {}, "must be below 5: the value in row 1: 7"),
    "64 a share of 0": (
        "param a : positive[3]\nfor n in N:\n    observed y[n] ~ Dirichlet(a)\n",
        [[0.2, 0.3, 0.5], [0, 0.5, 0.5]], {}, "1 row has no number for a density .*: row 1"),
    "65 levels from 1": (LEVELS, [1, 2, 3, 4, 5], {}, "counted from 1: pass y - 1"),
    "67 complex numbers": (NORMAL, [1 + 1j, 2], {}, "holds complex numbers"),
    "67 dates": (NORMAL, np.array(["2020-01-01"] * 2, "datetime64[D]"), {}, "days since the first date"),
    "69 a number alone": (NORMAL, np.float64(3), {}, r"has shape \(\), but is declared with shape \(N,\)"),
    "69 a column": (NORMAL, [[1.0], [2.0]], {}, r"drop the last axis: x\[..., 0\]"),
    "69 a cube": (NORMAL, np.zeros((2, 2, 2)), {}, r"has shape \(2, 2, 2\)"),
    "71 one row": (NORMAL, [1.0], {}, "s has collapsed"),
    "71 all rows alike": (NORMAL, [2.0] * 3, {}, "s has collapsed"),
    "30 a count past the axis that it indexes": (
        "param m[K] : real\nparam p : unit\nfor n in N:\n    given t[n] : count\n    latent z[n] ~ Binomial(t[n], p)\n"
        "    observed y[n] ~ Normal(m[z[n]], 1)\n",
        {"t": [1, 2], "y": [1.0, 2.0]}, {"K": 2}, "z takes 3 values, since t is 2 somewhere, but m has length 2"),
    "64 below a bound of its row": (
        "param a : real\nfor n in N:\n    given lo[n] : real\n"
        "    observed y[n] : real(min = lo[n]) ~ Normal(a, 1)\n",
        {"lo": [0, 3.0], "y": [1.0, 2.0]}, {}, "y: lies below its lower bound: the value in row 1: 2"),
    "35 bounds that cross": (
        "given lo : real\nparam a : real(min = lo, max = 2)\nfor n in N:\n    observed y[n] ~ Normal(a, 1)\n",
        {"lo": 3.0, "y": [1.0, 2.0]}, {}, r"a: its bounds leave nothing between them \(min = 3, max = 2\)"),
    "64 given probabilities": (
        "given p : real[2]\nparam a : real\nfor n in N:\n    latent z[n] ~ Categorical(p)\n"
        "    observed y[n] ~ Normal(a + z[n], 1)\n",
        {"p": [1.0, 1.0], "y": [1.0, 2.0]}, {}, "p: each element must be probabilities that sum to 1"),
    "84 a given that is no covariance": (
        "given V : real[2, 2]\nparam a : real[2]\nfor n in N:\n    observed y[n] ~ MvNormal(a, V)\n",
        {"V": [[2.0, 1], [0, 2]], "y": np.eye(2)}, {}, "V: each element must be a symmetric positive definite matrix"),
    "64 a given shape below 0": (
        "param a : positive\nfor n in N:\n    given k[n] : real\n    observed y[n] ~ Gamma(k[n], a)\n",
        {"k": [1, -0.2], "y": [1.0, 2.0]}, {}, "k: must not be negative: the value in row 1"),
    "64 a default below 0": (f"given s : real = -2\n{one('VonMises(0, s)')}", [0.3, 0.4], {},
                             "s, by its default: must not be negative: it is -2"),
    "64 half a trial": (
        "param a : unit\nfor n in N:\n    given k[n] : real\n    observed y[n] ~ Binomial(k[n], a)\n",
        {"k": [1.5, 2], "y": [1, 2]}, {}, "k: must be whole, 0 or more: the value in row 0"),
    "72 fewer rows than dimensions": (
        SPREAD, np.eye(3)[:2], {}, r"V has collapsed: its matrix is singular \(no spread along axis 2\)"),
    "84 a column that is another's double": (
        SPREAD, [[0.0, 1, 0], [1, 3, 2], [2, 2, 4], [3, 0, 6]], {}, r"is singular \(axes 0, 2 move together\)"),
    "75 a negative weight": (NORMAL, [1.0, 2, 3], {"sample_weight": [1, -1, 1]}, "0 or more: the value in row 1: -1"),
    "75 a missing weight": (NORMAL, [1.0, 2, 3], {"sample_weight": [1, np.nan, 1]}, "missing: the value in row 1: nan"),
    "75 no weight": (NORMAL, [1.0, 2, 3], {"sample_weight": [0, 0, 0]}, "all weights are 0"),
    "75 too few weights": (NORMAL, [1.0, 2, 3], {"sample_weight": [1, 1]}, "one number for each of N = 3"),
    "76 out of reach": (NORMAL, [1e300, -1e300, 1e299], {}, "rescale the data"),
    "80 no component can": (
        COINS, [1, 0, 1], {"init": {"w": [0.5, 0.5], "p": [1.0, 1.0]}}, "1 row has zero density .*: row 1"),
    "82 an empty component": (
        MIXTURE, [1.0, 1.1, 0.9, 1.2], {"init": {"w": [0.5, 0.5], "m": [1, 1e6], "s": 0.1}}, "expected counts are 0"),
    "83 a spike on one row": (
        OWN_SD, [1.0, 2, 3, 50.0], {"init": {"w": [0.5, 0.5], "m": [2, 50.0], "s": [1, 0.1]}},
        r"s \(1,\) has collapsed"),
    "89 tol below 0": (NORMAL, [1.0, 2.0], {"tol": -1}, "tol must be a finite number"),
    "89 tol is no number": (NORMAL, [1.0, 2.0], {"tol": np.nan}, "tol must be a finite number"),
    "89 half an iteration": (NORMAL, [1.0, 2.0], {"max_iter": 2.5}, "max_iter must be a whole number"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED_DATA)
def test_data_and_options_that_are_refused(name: str) -> None:
    text, data, options, words = REFUSED_DATA[name]
    with pytest.raises(EmdslError, match=words):
        fitted(text, data, options)


def fitted(text: str, data: Any, options: dict[str, Any]) -> Any:
    own = {k: v for k, v in options.items() if k != "sample_weight"}
    return model(text).fitter(seed=0, **own).fit(data, sample_weight=options.get("sample_weight"))


ACCEPTED: dict[str, tuple[str, Any, dict[str, Any], Callable[[Any], bool]]] = {
    "39 only a sum is identified": (
        one("Normal(a + b, 1)", "param a : real\nparam b : real\n"), [1.0, 2.0, 3.0], {},
        lambda f: f.params_["a"] + f.params_["b"] == pytest.approx(2)),
    "41 a density of two pieces that a location parts": (
        "family Quantile(x : real | m : real, s : positive, p : unit) ="
        " log(p) + log(1 - p) - log(s) - (x - m)/s * (p if x > m else p - 1)\n"
        + one("Quantile(c, a, 0.3)", "param c : real\nparam a : positive\n"), [1.0, 2, 3, 1.5, 7, 2], {},
        lambda f: f.params_["c"] == pytest.approx(1.5) and "do not come apart" in str(f.model.derivation)),
    "44 one component": (MIXTURE, [1.0, 2, 3], {"K": 1}, lambda f: f.params_["m"][0] == pytest.approx(2)),
    "45 a prior on what is fixed": (
        "param m : real ~ Normal(0, 1)\nfor n in N:\n    observed x[n] ~ Normal(m, 1)\n", [1.0, 2.0],
        {"fixed": {"m": 0.5}}, lambda f: f.params_["m"] == 0.5 and f.n_parameters_ == 0),
    "48 no root to be had": (
        one("Normal(a^5 + exp(a) + sin(a), 1)", "param a : positive\n"), [3.0, 4.0], {},
        lambda f: f.params_["a"] ** 5 + np.exp(f.params_["a"]) + np.sin(f.params_["a"]) == pytest.approx(3.5)),
    "50 the mean outside its bounds": (
        one("Normal(a, 1)", "param a : real(min = 0, max = 1)\n"), [3.0, 4.0], {},
        lambda f: 0.99 < f.params_["a"] <= 1),
    "59 a gap": (NORMAL, [1.0, np.nan, 3.0], {}, lambda f: f.params_["m"] == 2),
    "62 a masked entry": (NORMAL, np.ma.array([1.0, 9, 3], mask=[0, 1, 0]), {}, lambda f: f.params_["m"] == 2),
    "67 Decimal": (NORMAL, [Decimal("1.5"), 2], {}, lambda f: f.params_["m"] == 1.75),
    "68 sums past an int8": (
        NORMAL, np.array([100, 100, 100, -100], np.int8), {}, lambda f: f.params_["m"] == pytest.approx(50)),
    "70 another byte order": (NORMAL, np.array([1.0, 2, 6], ">f8"), {}, lambda f: f.params_["m"] == pytest.approx(3)),
    "70 every third": (NORMAL, np.arange(10.0)[::3], {}, lambda f: f.params_["m"] == pytest.approx(4.5)),
    "81 rates that no row can have": (
        COINS.replace("unit", "positive").replace("Bernoulli", "Poisson"), [0, 30, 1, 40],
        {"init": {"w": [0.5, 0.5], "p": [1e-12, 1e-10]}}, lambda f: f.params_["p"].sum() == pytest.approx(35.5)),
    "85 at a bound that is given": (
        "given lo : real\nparam a : real(min = lo)\nfor n in N:\n    observed y[n] ~ Normal(a, 1)\n",
        {"lo": 3.0, "y": [1.0, 2.0]}, {}, lambda f: f.status_ == "boundary"),
    "34 a given that a branch leaves out": (
        "param a : real\nfor n in N:\n    given s[n] : real\n"
        "    observed y[n] ~ Normal(a, s[n]) if s[n] > 0 else Normal(a, 1)\n",
        {"s": [2.0, -1.0], "y": [1.0, 2.0]}, {}, lambda f: f.params_["a"] == pytest.approx(1.8)),
    "30 an axis longer than a count in these data": (
        "param m[5] : real ~ Normal(0, 1)\nparam p : unit\nfor n in N:\n    given t[n] : count\n"
        "    latent z[n] ~ Binomial(t[n], p)\n    observed y[n] ~ Normal(m[z[n]], 1)\n",
        {"t": [1, 2], "y": [1.0, 2.0]}, {}, lambda f: f.posterior_["z"].shape == (2, 5) and f.params_["m"][4] == 0),
    "82 kept": (
        MIXTURE, [1.0, 1.1, 0.9, 1.2], {"init": {"w": [0.5, 0.5], "m": [1, 1e6], "s": 0.1}, "on_degenerate": "keep"},
        lambda f: f.status_ == "degenerate" and not f.converged_),
    "83 never the best": (
        OWN_SD, [1.0, 2, 3, 4, 5, 50.0], {"n_init": 4, "on_degenerate": "restart"},
        lambda f: f.status_ == "degenerate" or min(f.params_["s"]) > 0.1),
    "71 rows that are alike, of two chains": (
        (ROOT / "models/factorial_hmm.em").read_text(encoding="utf-8").partition("HMM\n")[2], [1.0] * 3,
        {"on_degenerate": "keep"}, lambda f: f.status_ == "degenerate"),
    "92 as many chains as draws": (
        "param m : real\nlatent b ~ Normal(m, 1)\nobserved y ~ Poisson(exp(b))\n"
        "infer b by mcmc(kernel = metropolis, sweeps = 1, chains = 200, burn_in = 0)\n", {"y": 4}, {"max_iter": 1},
        lambda f: not f.converged_ and "the chains have not mixed" in f.message_),
    "89 no iteration": (NORMAL, [1.0, 2.0], {"max_iter": 0}, lambda f: f.n_iter_ == 0 and not f.converged_),
}  # fmt: skip


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_is_accepted_is_right(name: str) -> None:
    text, data, options, right = ACCEPTED[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        assert right(fitted(text, data, options))


def test_91_too_many_states_are_told_before_they_are_made() -> None:
    chain = emdsl.compile(ROOT / "models" / "gaussian_hmm.em")
    with pytest.raises(EmdslError, match=r"need 80 GB"):
        chain.fitter(K=100_000, seed=0).fit(np.zeros((10, 1)))
    with pytest.raises(EmdslError, match=r"need 802 GB.*the posterior of z has shape \(1000, 100000000\)"):
        model(MIXTURE).fitter(K=10**8, seed=0).fit(np.arange(1000.0))


def test_91_memory_that_there_is_not_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    fitter = model(NORMAL).fitter()
    monkeypatch.setattr(fitter, "_setup", lambda bound: np.empty(2**50))
    with pytest.raises(EmdslError, match="there is not memory enough: Unable to allocate"):
        fitter.fit([1.0, 2.0])


TABLES: dict[str, Any] = {
    "test_a_model_that_is_refused": REFUSED_MODELS,
    "test_data_and_options_that_are_refused": REFUSED_DATA,
    "test_what_is_accepted_is_right": ACCEPTED,
}


def test_the_page_names_every_case_and_tests_that_exist() -> None:
    page = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \|(.*)\|$", page, re.MULTILINE)
    assert [int(n) for n, _ in rows] == [n for n in range(1, 99) if n != 25]
    for number, row in rows:
        tests = re.findall(r"`(\w+\.py)(?:::(\w+))?`|`((?:bad|refused)/\w+)`", row.rpartition("|")[2])
        assert tests or "**no**" in row, number
        for _, name, _ in tests:  # of those with many cases, one has this number
            assert any(k.startswith(f"{number} ") for k in TABLES.get(name, [f"{number} "])), (number, name)
        for file, name, bad in tests:
            if bad:
                assert (ROOT / "tests" / f"{bad}.em").exists(), bad
            else:
                text = (ROOT / "tests" / file).read_text(encoding="utf-8")
                assert not name or f"def {name}(" in text, f"{file}::{name}"
