"""Likelihoods that rise for ever: `boundary`, which parameter goes where, and no NaN."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import emdsl
from emdsl.fit.fitter import DegenerateError
from emdsl.fit.verify.case import find_case
from emdsl.runtime.fitting.endings import all_but_singular
from emdsl.runtime.numeric.numerics import Degenerate
from emdsl.runtime.numeric.updates import positive, spread
from emdsl.runtime.numeric.ways import FlatDirections

ROWS = "model M\nparam b : real\nparam c : real\nfor n in N:\n    given t[n] : real\n    observed y[n] ~ {}"
ORDINAL = (
    "model M\nparam c : ordered[2]\nfor n in N:\n    observed y[n] ~ Categorical([logistic(c[0]), "
    "logistic(c[1]) - logistic(c[0]), 1 - logistic(c[1])])"
)
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
    "log odds of what never failed": (
        "model M\nparam b : real\nfor n in N: observed y[n] ~ Bernoulli(logit = b + 1)",
        {"y": np.ones(10, int)},
        "b goes to infinity",
        0.0,
    ),
    "a positive mean of negative data": (
        "model M\nparam b : positive\nfor n in N: observed y[n] ~ Normal(b, 1)",
        {"y": np.array([-2.0, -1.0])},
        "b lies on the boundary",
        -2.5 - np.log(2 * np.pi),
    ),
    "a log hazard of what never happened, where even 0 log 0 has no number": (
        "model M\nparam b : real\nfor n in N: observed y[n] ~ Bernoulli(1 - exp(-exp(b)))",
        {"y": [0, 0, 0]},
        "b goes to minus infinity",
        0.0,
    ),
    "a level above the last that was seen, of ordered thresholds": (
        ORDINAL,
        {"y": [0, 1, 1, 0, 1]},
        "c goes to infinity",
        2 * np.log(0.4) + 3 * np.log(0.6),
    ),
    "one level alone": (ORDINAL, {"y": [1, 1, 1, 1]}, "c goes to ", 0.0),
    "signs that a line separates, with a closed update": (
        "model M\nparam b : real\nfor n in N:\n    given x[n] : real\n    latent u[n] ~ Normal(b * x[n], 1)\n"
        "    observed y[n] ~ Delta(u[n] > 0)",
        {"x": np.linspace(-1, 1, 10), "y": (np.arange(10) > 4) * 1},
        "b goes to infinity",
        0.0,
    ),
    "a log hazard that is over at 6": (
        "model M\nparam b : real\nfor n in N: observed y[n] ~ Bernoulli(1 - exp(-exp(b)))",
        {"y": [1, 1, 1]},
        "b goes to infinity",
        0.0,
    ),
    "a size and a probability of counts that vary little": (
        "model M\nparam k : positive\nparam p : unit\nfor n in N: observed y[n] ~ NegativeBinomial(k, p)",
        {"y": [3, 3, 4, 3, 4]},
        "k goes to infinity, p goes to 1",
        17 * np.log(3.4) - 17 - 3 * np.log(6) - 2 * np.log(24),
    ),
    "effects that move as one": (
        "model M\nparam V : spd[2]\nfor g in G:\n    latent b[g] ~ MvNormal(zeros(2), V)\n"
        "    observed y[g] ~ MvNormal(b[g], eye(2))",
        {"y": np.array([[1.0, 2], [-2, -4], [3, 6], [0.5, 1]])},
        "V lies on the boundary",
        # along (1, 2): the variance of the data there, and none across
        -4 * np.log(2 * np.pi) - 2 * np.log(5 * 14.25 / 4) - 2,
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


def test_what_rounding_leaves_of_a_line_that_separates_is_no_estimate() -> None:
    """Of the same data with other last digits one in ten ended as converged, or as a scale that collapses: of what is
    known to a few values of rounding, another may lie farther apart, and farther out there is more of it."""
    text, data, said, _ = CASES["signs that a line separates, with a closed update"]
    fitter, rng = emdsl.compile(text=text).fitter(), np.random.default_rng(0)
    for _ in range(40):
        fitted = fitter.fit({**data, "x": data["x"] * (1 + 1e-15 * rng.integers(-3, 4, 10))})
        assert fitted.status_ == "boundary" and said in fitted.message_


def test_groups_that_are_all_or_nothing_spread_without_end() -> None:
    """Their spread goes to infinity, until no points do; that fall was reported as one of EM."""
    text = "model M\nparam b : real\nparam s : positive\nfor n in N:\n    latent v[n] ~ Normal(0, s)\n"
    text += "    observed y[n] ~ Binomial(20, logit = b + v[n])"
    fitted = emdsl.compile(text=text).fitter(seed=3).fit({"y": [20, 0]})
    assert fitted.status_ == "boundary" and "s goes to infinity" in fitted.message_
    assert fitted.log_likelihood_ == pytest.approx(2 * np.log(0.5), abs=3e-3)


def test_a_fall_that_is_rounding_is_no_fall() -> None:
    """Negative binomials of counts that vary less than Poisson: sizes go to infinity, where the log-likelihood is known
    to 1e-3 only; it ended as a fall that EM never makes."""
    text = """
model M
param w : simplex[2]
param r[2] : positive
param m[2] : positive
for n in N:
    latent z[n] ~ Categorical(w)
    observed y[n] ~ NegativeBinomial(size = r[z[n]], mean = m[z[n]])
"""
    rng = np.random.default_rng(3)
    y = rng.binomial(20, np.where(rng.random(200) < 0.5, 0.2, 0.8))
    fitted = emdsl.compile(text=text).fitter(seed=0, tol=1e-10).fit({"y": y})
    assert fitted.status_ == "boundary" and "r goes to infinity" in fitted.message_
    assert "decreased" not in fitted.status_ and np.diff(fitted.history_).min(initial=0.0) > -1e-3


YEARS = np.arange(1950.0, 2020.0)


@pytest.mark.parametrize("density", ["Bernoulli(Phi(b + c * t[n]))", "Poisson(exp(b + 100 * c * t[n]))"])
def test_columns_far_out_have_a_start(density: str) -> None:
    """Coefficients of order 1 on years overflow a link, and there is no density to start from: from nearer 0 there is.
    The likelihood is that of the same years counted from 1985."""
    y = (np.sin(np.arange(70) ** 2) + (YEARS - 1985) / 30 > 0) * 1
    model = emdsl.compile(text=ROWS.format(density))
    far, near = (model.fitter(seed=0, tol=1e-10).fit({"y": y, "t": t}) for t in (YEARS, YEARS - 1985))
    assert far.status_ == near.status_ == "converged"
    assert far.objective_ == pytest.approx(near.objective_, abs=1e-6)


def test_large_estimates_are_no_boundary() -> None:
    """A slope of 30 that the data know."""
    t = np.repeat(np.linspace(-0.1, 0.1, 21), 40)
    y = (np.tile(np.arange(40), 21) < 40 / (1 + np.exp(-30 * t))) * 1
    fitted = emdsl.compile(text=CASES["groups that a line separates"][0]).fitter().fit({"t": t, "y": y})
    assert fitted.status_ == "converged"
    assert float(fitted.params_["c"]) > 20


def test_rounding_hides_no_covariance_that_collapses() -> None:
    """Three whole rows lie in a plane, rows with gaps cost nothing there: the likelihood has no bound.

    Near the plane the objective is known to fewer and fewer digits, so that in the end it falls by rounding.
    """
    text = "model Plane\nparam m : real[3]\nparam C : spd[3]\nfor n in N: observed x[n] ~ MvNormal(m, C)\n"
    x = np.array([[0, 0, 1], [1, 2, 0], [3, 1, 1], [2, np.nan, 1], [np.nan, 3, 2], [1, 1, np.nan], [np.nan, 2, np.nan]])
    normal = np.cross(x[1] - x[0], x[2] - x[0]) / np.linalg.norm(np.cross(x[1] - x[0], x[2] - x[0]))
    start = {"m": x[:3].mean(0), "C": 2 * (np.eye(3) - np.outer(normal, normal)) + 4e-7 * np.eye(3)}
    fitter = emdsl.compile(text=text).fitter(tol=0, max_iter=3000)
    with pytest.raises(emdsl.EmdslError, match="C has collapsed"):
        fitter.fit({"x": x}, init=start)


def test_steps_below_rounding_are_no_convergence() -> None:
    """Chains of a few elements beside effects of groups: two scales go to 0 together, where the log-likelihood has no
    bound. Two values that rounding made equal, with eight thousandths to each step, were called convergence."""
    text = """
    model Vanishing
    param a : real
    param q : positive
    param s : positive
    param sb : positive
    param m : real
    for k in G: latent b[k] ~ Normal(m, sb)
    for i in S:
        given g[i] : index[G]
        for t in T[i]:
            latent h[i, t] ~ Normal(0, 1) if t == 0 else Normal(a * h[i, t-1], q)
            observed y[i, t] ~ Normal(h[i, t] + b[g[i]], s)
    """
    rng = np.random.default_rng(sum(map(ord, "chains_with_group_effects_by_index")))
    y = [rng.normal(0, 2, n) for n in (3, 1, 0, 2, 2)]
    y[0][2] = np.nan
    start = {"a": -1.1, "q": 0.8, "s": 0.75, "sb": 0.12, "m": -0.49}
    with pytest.raises(DegenerateError, match="collapse"):
        emdsl.compile(text=text).fitter(max_iter=3000, tol=1e-12).fit({"y": y, "g": [0, 1, 1, 0, 1]}, init=start)


WITHOUT_END = re.compile("goes to infinity|has collapsed|a scale collapses")


def said(fitter: Any, data: Any) -> str:
    """How a fit says that no estimate is best; where that is all rounding, last digits decide whether as a limit or by
    raising."""
    try:
        fit = fitter.fit(data)
    except DegenerateError as told:
        return str(told)
    assert fit.status_ == "boundary", fit.message_
    return fit.message_


@pytest.mark.parametrize(("family", "where"), [("Gamma(a, b)", 2.0), ("Beta(a, b)", 0.5), ("InverseGamma(a, b)", 2.0)])
def test_a_shape_and_a_rate_go_to_infinity_together(family: str, where: float) -> None:
    """Equal data: neither parameter rises alone, and rounding hides the likelihood where both are large."""
    model = emdsl.compile(text=f"model M\nparam a : positive\nparam b : positive\nfor n in N: observed x[n] ~ {family}")
    assert WITHOUT_END.search(said(model.fitter(seed=3), np.full(5, where)))
    assert model.fitter().fit(where + np.arange(5) * 1e-3).status_ == "converged"


def test_a_fall_is_told_beside_what_either_value_is_known_to() -> None:
    """Shares that are equal: it fell by 3.4e-4 where each value is known to 3e-4, and was to be reported as a bug."""
    model = emdsl.compile(text="model M\nparam a : positive[3]\nfor n in N: observed x[n] ~ Dirichlet(a)")
    assert WITHOUT_END.search(said(model.fitter(seed=0), [[0.2, 0.3, 0.5]] * 4))


@pytest.mark.parametrize("seed", [1, 6, 7])
def test_a_scale_that_takes_every_digit_with_it_has_not_converged(seed: int) -> None:
    """As many columns as rows: the residuals are rounding, and so is the objective. It had converged, at the start."""
    rng = np.random.default_rng(seed)
    model = emdsl.compile(
        text="model M\nparam b : real[P]\nparam s : positive\nfor n in N:\n    given X[n] : real[P]\n"
        "    observed y[n] ~ Normal(X[n] @ b, s)"
    )
    with pytest.raises(DegenerateError, match="collapse"):
        model.fitter(seed=seed).fit({"X": rng.normal(size=(3, 5)), "y": [1.0, 2, 3]})


def test_a_likelihood_without_a_maximum_is_no_fall() -> None:
    """A log scale with a slope, of few rows: Q rises along h until residuals are rounding, which
    ended as an objective that fell by 1e18. The certificate draws other data then."""
    text = (
        "model M\nparam a : real\nparam b : real\nparam g : real\nparam h : real\nfor n in N:\n"
        "    given x[n] : real\n    observed y[n] ~ Normal(a + b * x[n], exp(g + h * x[n]))"
    )
    model, x = emdsl.compile(text=text), np.array([-0.38, -0.35, -0.31, -0.14, 0.43, 0.76])
    for seed in (0, 34):  # what is told of residuals that are rounding is for last digits
        data = {"x": x, "y": 3.1 * x - 1.5 + np.array([0.4, -0.3, 0.5, 0, 0, 0])}
        fit = model.fitter(seed=seed, on_degenerate="keep").fit(data)
        assert fit.status_ == "degenerate" or np.diff(fit.history_).min(initial=0.0) > -1e-6, fit.message_
    assert np.isfinite(list(find_case(model, 0).step.values())).all()


FLAT = np.array([[0.2, 0.5], [1.2, -0.3], [-0.7, 0.9], [0.1, -1.2], [0.6, 0.3], [-1.4, 0.2]])
SINGULAR: dict[str, tuple[str, Any, str]] = {  # by steps along slopes, and by none
    "two columns on a line": (
        "MvStudentT(4, m, V)",
        np.c_[FLAT[:, 0], 2 * FLAT[:, 0] + 1],
        r"its matrix becomes singular \(axes 0, 1 move",
    ),
    "fewer rows than columns": ("MvStudentT(3, m, V)", FLAT[:2, [0, 1, 1]] * [1, 1, 2], "its matrix becomes singular"),
    "rows that are alike": ("MvStudentT(3, m, V)", np.ones((6, 2)), "its matrix becomes singular"),
    "a correlation of 1": (
        "MvNormal(m, V)",
        np.c_[FLAT[:, 0], FLAT[:, 0]],
        r"its matrix becomes singular \(axes 0, 1 move",
    ),
}


@pytest.mark.parametrize("name", SINGULAR)
def test_a_covariance_that_steps_make_singular_collapses(name: str) -> None:
    """They were `converged` or `boundary`, with objectives that rise without end; the last one ended in an exception
    of our own."""
    family, y, words = SINGULAR[name]
    domain = "correlation" if name == "a correlation of 1" else "spd"
    text = f"model M\nparam m : real[D]\nparam V : {domain}[D]\nfor n in N:\n    observed y[n] ~ {family}"
    with pytest.raises(DegenerateError, match=f"V has collapsed: (the objective grows as {words}|all but singular)"):
        emdsl.compile(text=text).fitter(seed=0).fit({"y": y})


@pytest.mark.parametrize(("spread", "lost"), [(1e-12, ["V"]), (0.1, [])])
def test_a_matrix_that_is_nothing_beside_where_it_started_may_be_rounding(spread: float, lost: list[str]) -> None:
    """Last digits made the second of these shrink in every direction: "boundary", with an objective known to 1."""
    end: Any = SimpleNamespace(params={})
    flat = {"V": FlatDirections(np.full(2, spread), np.ones(2), np.eye(2))}
    assert all_but_singular(end, end, {"V": np.eye(2)}, flat) == lost


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_what_no_data_bear_on_has_not_collapsed() -> None:
    none, some = np.full((2, 2), 1e-300), np.eye(2)
    with pytest.raises(Degenerate, match=r"nothing is left to estimate S \(1,\)"):
        spread(np.array([some, none]), np.array([2.0, 0.0]), "S", np.array([some, some]), "raise", 1.0)
    with pytest.raises(Degenerate, match=r"S \(1,\) has collapsed"):
        spread(np.array([some, none]), np.array([2.0, 3.0]), "S", np.array([some, some]), "raise", 1.0)
    with pytest.raises(Degenerate, match=r"nothing is left to estimate v \(0,\)"):
        positive(np.array([np.nan, 1.0]), "v", np.ones(2), "raise", 1e-7, np.array([0.0, -2.0]))
    with pytest.raises(Degenerate, match=r"v \(0,\) has collapsed"):  # the root of a sum of squares below 0 by rounding
        positive(np.array([np.nan, 1.0]), "v", np.ones(2), "raise", 1e-7, np.array([-3.0, -2.0]))


def test_shares_whose_counts_are_all_below_0_are_told() -> None:
    """Q has no maximum in them; they stay, which was `converged`, and said to be told nothing by the data."""
    text = "model M\nparam w : simplex[3]\nfactor -2*sum(log(w))\nfor n in N:\n    observed y[n] ~ Categorical(w)"
    fit = emdsl.compile(text=text).fitter(seed=0).fit({"y": np.array([0, 1, 2])})
    assert fit.status_ == "boundary" and "w stays where it started: its expected counts are below 0" in fit.message_


def test_a_probability_that_shrinks_without_end_has_collapsed() -> None:
    """It went to 5e-309, and the end was that EM had `decreased`."""
    text = """
        model M
        param p : unit ~ Beta(1 + exp(d[0]), 2)
        param d : real[2] ~ Normal(0, 2)
        factor log(1 / p)
        for n in N:
            observed y[n] ~ Normal(0, 1)
    """
    with pytest.raises(DegenerateError, match="p has collapsed: the objective grows as it shrinks"):
        emdsl.compile(text=text).fitter(seed=0, tol=1e-13).fit({"y": np.zeros(3)})


def test_the_root_of_a_concentration_goes_to_infinity() -> None:
    """Shares that are alike: it converged at 2.6e7, with an objective of which all is rounding."""
    text = """
        model M
        param m : real
        param w : simplex[3] ~ Dirichlet(2 + m^2)
        for n in N:
            observed y[n] ~ Categorical(w)
    """
    fit = emdsl.compile(text=text).fitter(seed=0).fit({"y": np.array([0, 1, 2, 0, 1, 2, 0])})
    assert fit.status_ == "boundary" and re.search("m goes to (minus )?infinity", fit.message_)


def test_a_level_without_data_of_which_a_prior_falls_from_0() -> None:
    """Where the score has two roots, it had collapsed: logs and inverses of it weigh nothing, so that 0 is the mode."""
    text = """
        model M
        size G = 3
        param u[G] : positive{}
        for n in N:
            observed y[n] ~ MvNormal([0, 0], diag([u[0], u[1]]))
            observed x[n] ~ MvNormal([0, 0], precision = diag([u[0], u[1]]))
    """
    rows = np.random.default_rng(0).normal(size=(2, 9, 2))
    data = {"y": rows[0], "x": rows[1]}
    fit = emdsl.compile(text=text.format(" ~ Exponential(1)")).fitter(seed=0).fit(data)
    assert fit.status_ == "boundary" and fit.params_["u"][2] == 0 < fit.params_["u"][:2].min()
    with pytest.warns(UserWarning, match=r"the data say nothing of u \(2,\)"):
        assert emdsl.compile(text=text.format("")).fitter(seed=0).fit(data).params_["u"][2] == 1


def test_a_scale_of_data_about_no_reference_point_collapses() -> None:
    """One row below the threshold, fitted exactly: 4e-9 was left of its scale by rounding, and had converged."""
    text = """
        model Threshold
        param phi[2] : real
        param s[2]   : positive
        for t in T:
            observed y[t] ~ Normal(0, 1) if t == 0 else Normal((phi[1] if y[t-1] > 0 else phi[0]) * y[t-1],
                                                               (s[1] if y[t-1] > 0 else s[0]))
    """
    fitter = emdsl.compile(text=text).fitter()
    for last in (0.1, 0.11, 0.123):
        with pytest.raises(DegenerateError, match=r"s \(0,\) has collapsed"):
            fitter.fit(np.array([0.31, 0.52, 0.77, -0.3333, 0.217, 0.44, last]))


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("param m : real[2]\nparam S : spd[2]\nfor n in N:\n    observed y[n] ~ MvNormal(m, S)", [2.0**20, 2.0**-20]),
        (
            "param m : real[2]\nparam s : positive\nfor n in N:\n    observed y[n] ~ MvNormal(m, s * eye(2))",
            [2.0**-100] * 2,
        ),
    ],
)
def test_units_of_data_are_no_boundary(text: str, units: list[float]) -> None:
    """Columns in millions beside millionths, and data of 1e-30: estimates as plain as at 1 were called `boundary`."""
    wave = np.sin(1 + 2.3 * np.arange(12))
    fit = emdsl.compile(text=f"model M\n{text}").fitter().fit({"y": np.column_stack([wave, wave**2]) * units})
    assert fit.status_ == "converged"


WAVE = np.round(np.sin(1 + 2.3 * np.arange(12)), 3)
EXACT: dict[str, tuple[str, dict[str, Any]]] = {  # what is held as residuals of a plane; parameters that round; squares
    "a design": (
        "param b : real[3]\nfor n in N:\n    given X[n] : real[3]\n    observed y[n] ~ Normal(X[n] @ b, s)",
        {"X": np.vander(WAVE, 3), "y": np.vander(WAVE, 3) @ [1.0, -1 / 3, 1 / 7]},
    ),
    "far out": (
        ROWS.format("StudentT(4, b + c * t[n], s)").removeprefix("model M\n"),
        {"t": WAVE + 1e8, "y": 1 + 2 * WAVE},
    ),
    "products": (
        "param u[I] : real[2]\nparam v[J] : real[2]\nfor i in I:\n    for j in J:\n"
        "        observed y[i, j] ~ Normal(u[i] @ v[j], s)",
        {"y": 1e7 + np.outer([1.0, 2, 1 / 3, -1], [1, 1 / 7, 0.3, 2, 1])},
    ),
}


@pytest.mark.parametrize("name", EXACT)
def test_a_scale_that_an_exact_fit_leaves_collapses(name: str) -> None:
    """1e-16 was `converged`, a step to 1e-37 a fall of the likelihood, of squares of 1e7 a scale of 0.6 was left."""
    text, data = EXACT[name]
    with pytest.raises(DegenerateError, match="s has collapsed"):
        emdsl.compile(text=f"model Exact\nparam s : positive\n{text}").fitter().fit(data)


COLLAPSED = """model Collapsed
param w : simplex[3]
param a[3] : real
param b[3] : positive
for n in N:
    latent z[n] ~ Categorical(w)
    observed y[n] ~ VonMises(a[z[n]], b[z[n]])
"""


def test_a_component_on_points_that_are_alike_never_wins() -> None:
    """Found by random starts: a concentration of 1e99 had an objective of 1e83, and was not called degenerate."""
    rng = np.random.default_rng(0)
    y = np.concatenate([rng.beta(2, 6, 12), rng.beta(9, 2, 12), [0.3, 0.3]])
    model = emdsl.compile(text=COLLAPSED)
    start = {"w": [0.4, 0.4, 0.2], "a": [0.2, 0.8, 0.3], "b": [5.0, 5.0, 1e7]}
    fit = model.fitter(max_iter=5, init=start, on_degenerate="keep").fit(y)
    assert WITHOUT_END.search(fit.message_) and (fit.status_ == "degenerate" or fit.objective_ < 100), fit.message_
    assert model.fitter(max_iter=40, seed=1, n_init=3).fit(y).params_["b"].max() < 1e5


def test_a_shape_whose_objective_is_rounding_has_collapsed() -> None:
    """At 3e14 a hundred times as much seemed worse, by rounding: it was "boundary", converged, and won among starts."""
    rng = np.random.default_rng(0)
    y = np.concatenate([rng.gamma(2, 1, 30), np.full(4, 50.0)])
    text = COLLAPSED.replace("VonMises", "Gamma").replace("real", "positive").replace("[3]", "[2]")
    fit = emdsl.compile(text=text).fitter(seed=0, n_init=6, on_degenerate="keep").fit(y)
    assert fit.status_ == "degenerate", fit.message_


@pytest.mark.parametrize("top", [1e14, 1e99])
def test_components_that_have_all_collapsed_have_found_no_limit(top: float) -> None:
    """Two kinds of equal points, a component on each, from starts that had collapsed: "boundary", converged, with an
    objective of 3e86."""
    text = COLLAPSED.replace("VonMises", "Gamma").replace("real", "positive").replace("[3]", "[2]")
    shape = np.array([1e13, top])
    start = {"w": [0.5, 0.5], "a": shape, "b": shape / [2.0, 3.0]}
    with pytest.raises(DegenerateError, match=r"a, b has collapsed|nothing is left to estimate"):
        emdsl.compile(text=text).fitter(init=start).fit({"y": [2.0, 2, 2, 3, 3, 3]})


ON_ZEROS = """
    model OnZeros
    param p : simplex[2]
    param m[2] : real
    param s[2] : positive
    for n in N:
        latent   z[n] ~ Categorical(p)
        observed y[n] ~ Laplace(m[z[n]], s[z[n]])
"""


@pytest.mark.parametrize("at", [0.0, 3.0])
def test_a_component_on_equal_points_is_no_boundary(at: float) -> None:
    """At 0 nothing was rounded: a scale of 1e-154 and an objective of 2116 were "converged", at a boundary."""
    y = at + np.array([0, 0, 0, 0, 0, 0, 1, 2.0])
    with pytest.raises(DegenerateError, match="s has collapsed"):
        emdsl.compile(text=ON_ZEROS).fitter(seed=0).fit({"y": y})


def test_a_fall_where_an_objective_has_no_digits_is_a_collapse() -> None:
    """A scale whose prior lets it go to 0 on one row: an objective known to 9 at eight places fell by 18, and a fit
    told its user to report it."""
    near = "Normal(m[z[n]] + b[of[n]] * x[n] + nest[of[n]] + l[g[n]], v[kind[of[n]]] * e[n])"
    text = f"""model M
param u : unit ~ Beta(2, 3)
param slope : real
param s : simplex[2]
param b0 : positive
param t0 : positive ~ Gamma(2, 1)
param n0 : positive ~ Gamma(2, 1)
param m[2] : real
param l : ordered[3]
param v[2] : positive
param r[2] : real
param p[2] : positive ~ Gamma(2, 1)
observed top ~ Normal(0, t0)
for a in G:
    latent kind[a] ~ Categorical(s)
    latent b[a] ~ Normal(0, b0)
    latent nest[a] ~ Normal(top, n0)
for n in N:
    given x[n] : real
    latent z[n] ~ Categorical(softmax([0, slope * x[n]]))
    given of[n] : index[G]
    given g[n] : index[3]
    given e[n] : positive
    observed y[n] ~ {near} if x[n] < 0.2 else Normal(r[kind[of[n]]], p[kind[of[n]]] * e[n])
"""
    start = {
        "u": 0.8081721518013689,
        "slope": 0.4526920973412928,
        "s": [0.780800545327915, 0.21919945467208496],
        "b0": 1.2927526628989996,
        "t0": 0.7657871852884968,
        "n0": 1.2725694165725134,
        "m": [0.06683811922861803, 0.02491036593884],
        "l": [-0.3544041608200203, 0.4156236502500759, 0.6238168679976298],
        "v": [1.6364168151875969, 0.8261836972398124],
        "r": [0.5121565986498086, -0.3510080129269366],
        "p": [2.287584302345393, 0.7095868000444435],
    }
    data = {
        "x": [-0.3, 0.2419089344453502, 0.3124622006548079, 0.2, 0.6337491066711823, 0.2],
        "of": [0, 2, 5, 0, 2, 2],
        "g": [2, 0, 1, 0, 0, 2],
        "e": [
            1.14412283085269,
            2.934210108088523,
            2.469546644813211,
            0.26535214465457474,
            0.4345657824986216,
            1.2154771852704405,
        ],
        "top": 0.4084355652911117,
        "y": [
            -2.741240490905299,
            -0.09518965394349954,
            12.511877361621336,
            1.507619977923803,
            1.6837718028827764,
            4.799368942862484,
        ],
    }
    model = emdsl.compile(text=text)
    fit = model.fitter(max_iter=50, seed=0, sizes={"G": 6}, on_degenerate="keep").fit(data, init=start)
    assert fit.status_ == "degenerate" and "collapse" in fit.message_, fit.message_


def test_a_point_fitted_exactly_leaves_newton_no_digits_to_climb_by() -> None:
    """Its slope is 0 there, while the last digit of its place moves Q without end: 6e-54 was an M-step, after
    which the place, told from 0 again, was another (night 9601, model 79)."""
    text = "model M\nparam m[2] : real\nparam p[2] : positive\nfor n in N:\n    given g[n] : index[2]\n"
    model, w = emdsl.compile(text=text + "    observed y[n] ~ StudentT(4, m[g[n]], p[g[n]])\n"), np.array
    y = np.concatenate([np.full(9, 0.12573022), w([-0.13, 0.64, 0.10, -0.54, 0.36, 1.30, 0.95])])
    start = {"m": w([-0.7, -1.27]), "p": np.ones(2)}
    with pytest.raises(DegenerateError, match=r"p goes to where .* rounding alone: a scale collapses"):
        model.fitter(max_iter=1, init=start).fit({"y": y, "g": np.repeat([0, 1], [10, 6])})
