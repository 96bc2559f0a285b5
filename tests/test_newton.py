"""Derivatives by sympy, and the Newton steps of single elements that use them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import sympy as sp
from algebra import FUNCTIONS, World
from scipy import optimize, special, stats

import emdsl
from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El
from emdsl.derive.algebra.scalars import slope, solve_score
from emdsl.families.special import ELEMENTARY, OPEN, SPECIAL, TAILS
from emdsl.runtime.numeric.ascent import ascend
from emdsl.runtime.numeric.unconstrained import maximise_elements
from emdsl.runtime.numeric.updates import maximise_scalar

ARITY = {"min": 2, "max": 2, "atan2": 2} | {n: 3 if n.startswith("beta") else 2 for n in TAILS}
INSIDE = {
    "log_between": ([0.2, 1.6], [1.5, 2.5]),
    "logit": (0.1, 0.9),
    "log": (0.2, 3.0),
    "log1mexp": (-2.0, -0.1),
    "log_rest": (-2.0, -0.1),
    "exp_odds": (-2.0, -0.1),
} | {n: (0.2, 0.9) for n in TAILS if n.startswith("beta")}
TIED = ("log_inside",)  # its arguments are what is below values and what is above them
KNOWN = [n for n in ELEMENTARY if n not in TAILS or (TAILS[n].slopes and n not in TIED)]


@pytest.mark.parametrize("name", SPECIAL)
def test_written_derivatives_are_sympys_of_the_definition(name):
    a = sp.Symbol("a", real=True)
    theirs = sp.diff(OPEN[name](a), a)
    for at in (-0.3, -1.7, -4.0) if name in INSIDE else (0.3, 1.7, 4.0):
        ours = ELEMENTARY[name](a).diff(a).subs(a, at)
        assert float(ours.evalf()) == pytest.approx(float(theirs.subs(a, at).evalf()), rel=1e-9)


@pytest.mark.parametrize("name", KNOWN)
def test_slopes_are_differences_of_the_functions(name):
    """Against numeric functions that know nothing of sympy, in the form that modules print."""
    low, high = INSIDE.get(name, (0.2, 2.5))
    arity = ARITY.get(name, 1)
    for seed in range(5):
        at = np.random.default_rng(seed).uniform(low, high, arity)
        for n in range(arity):
            places, found = slope(name, arity, n)
            world = World({}, {p.var: np.array(v) for p, v in zip(places, at, strict=True)})
            step = 1e-5 * np.eye(arity)[n]
            difference = (FUNCTIONS[name](*(at + step)) - FUNCTIONS[name](*(at - step))) / 2e-5
            assert world.value(found, {}) == pytest.approx(difference, rel=1e-6, abs=1e-8)


def test_slopes_do_not_overflow_where_the_functions_do_not():
    for name in ("logistic", "softplus", "log_Phi"):
        places, found = slope(name, 1, 0)
        for at in (-30.0, 30.0):
            assert np.isfinite(World({}, {places[0].var: np.array(at)}).value(found, {})), (name, at)


def gamma_shape(mean_log, log_mean):
    """The profile of a Gamma's shape, per element."""

    def objective(a):
        value = a * np.log(a / np.exp(log_mean)) - special.gammaln(a) + (a - 1) * mean_log - a
        return value, np.log(a) - log_mean + mean_log - special.digamma(a), 1 / a - special.polygamma(1, a)

    return objective


def test_elements_are_found_together_to_the_last_digits():
    true = np.array([[1e-3, 0.2, 1.0], [3.0, 50.0, 1e5]])
    objective = gamma_shape(special.digamma(true) - np.log(true), np.zeros_like(true))
    for start in (1e-6, 1.0, 1e7):
        found = maximise_scalar(objective, np.full(true.shape, start), "positive", 0.0, np.inf)
        assert np.abs(objective(found)[1]).max() < 1e-11 * (1 + 1 / true.min())
        np.testing.assert_allclose(found[true < 100], true[true < 100], rtol=1e-10)


def test_q_never_falls_where_it_has_several_maxima():
    """From the flank of the higher of two peaks Newton's step would land on the lower one."""

    def objective(v):
        terms = [(2.0, 0.0, 0.05), (1.0, 3.0, 1.0)]
        parts = [(h * np.exp(-((v - m) ** 2) / (2 * s)), m, s) for h, m, s in terms]
        return (
            sum(p for p, _, _ in parts),
            sum(-p * (v - m) / s for p, m, s in parts),
            sum(p * ((v - m) ** 2 / s**2 - 1 / s) for p, m, s in parts),
        )

    starts = np.linspace(-1.5, 6, 400)
    found = maximise_scalar(objective, starts, "real")
    assert (objective(found)[0] >= objective(starts)[0] * (1 - 1e-12)).all()
    assert np.abs(objective(found)[1]).max() < 1e-9


@pytest.mark.parametrize(("low", "high", "answer"), [(-np.inf, np.inf, 1.0), (2.0, np.inf, 2.0), (-1.0, 0.5, 0.5)])
def test_bounds_hold_the_maximum(low, high, answer):
    found = maximise_scalar(lambda v: (-((v - 1) ** 2), -2 * (v - 1), -2 + 0 * v), np.array([5.0]), "real", low, high)
    assert found == pytest.approx([answer], abs=1e-12)


def beta(log, log1m):
    """The mean log-likelihood of a Beta's arguments, per element, with slopes and the upper Hessian."""

    def objective(a, b):
        total, curve = special.digamma(a + b), special.polygamma(1, a + b)
        return (
            a * log + b * log1m - special.betaln(a, b),
            log + total - special.digamma(a),
            log1m + total - special.digamma(b),
            curve - special.polygamma(1, a),
            curve,
            curve - special.polygamma(1, b),
        )

    return objective


def test_elements_that_meet_are_found_to_the_last_digits():
    a, b = np.array([[0.05, 2.0, 300.0], [1.0, 70.0, 0.4]]), np.array([[3.0, 2.0, 0.2], [1.0, 5000.0, 0.3]])
    total = special.digamma(a + b)
    objective = beta(special.digamma(a) - total, special.digamma(b) - total)
    for start in (0.01, 1.0, 1e4):
        begun = [np.full(a.shape, start), np.full(a.shape, 1.0)]
        found = maximise_elements(objective, begun, ["positive"] * 2, [(None, None)] * 2)
        np.testing.assert_allclose(found, [a, b], rtol=1e-7)
        assert (objective(*found)[0] >= objective(*begun)[0]).all()


def test_a_saddle_is_left_upwards():
    """u v - (u^4 + v^4) / 4 has a saddle at 0 and its maxima at (1, 1) and (-1, -1)."""

    def objective(u, v):
        return u * v - (u**4 + v**4) / 4, v - u**3, u - v**3, -3 * u**2, 1 + 0 * u, -3 * v**2

    grid = np.meshgrid(np.linspace(-2, 2.13, 9), np.linspace(-2.3, 1.97, 9))
    found = maximise_elements(objective, grid, ["real"] * 2, [(None, None)] * 2)
    np.testing.assert_allclose(objective(*found)[0], 0.5, rtol=1e-12)


COUPLED = """
model Shares
size K = 2
param w : simplex[K]
param a[K] : positive
param b[K] : positive
for n in N:
    latent z[n] ~ Categorical(w)
    observed x[n] ~ Beta(a[z[n]], b[z[n]])
"""


@pytest.mark.filterwarnings("ignore:not converged")  # tol = 0 never stops early
def test_coupled_scalars_of_a_model_go_by_newton():
    model = emdsl.compile(text=COUPLED)
    assert {n: u.kind for n, u in model.updates.items()} == {"w": "closed form", "a": "newton", "b": "newton"}
    assert "∂²Q/∂a[k]∂b[k] = " in str(model.derivation)
    rng = np.random.default_rng(0)
    drawn = np.concatenate([rng.beta(2, 9, 300), rng.beta(8, 3, 200)])
    fit = model.fitter(seed=0, tol=0, max_iter=400).fit({"x": drawn})
    assert np.diff(fit.history_).min() > -1e-9

    def loss(p):
        w = special.expit(p[0])
        a, b = np.exp(p[1:3]), np.exp(p[3:])
        return -np.log(w * stats.beta.pdf(drawn, a[0], b[0]) + (1 - w) * stats.beta.pdf(drawn, a[1], b[1])).sum()

    start = [0.3, *np.log([2, 8]), *np.log([9, 3])]
    found = optimize.minimize(loss, start, method="BFGS", options={"gtol": 1e-7})
    assert fit.log_likelihood_ == pytest.approx(-found.fun, abs=1e-6)


ROOTS = {  # Q of one element, with positive coefficients c0, c1, ...; the domain
    "a variance": (lambda v: (x.neg(x.fn("log", v)), x.neg(x.power(v, x.num(-1)))), "positive"),
    "a rate": (lambda v: (x.fn("log", v), x.neg(v)), "positive"),
    "a deviation": (lambda v: (x.neg(x.fn("log", v)), x.neg(x.power(v, x.num(-2)))), "positive"),
    "a probability": (lambda v: (x.fn("log", v), x.fn("log", x.add(x.ONE, x.neg(v)))), "unit"),
    "a log rate": (lambda v: (v, x.neg(x.fn("exp", v))), "real"),
    "a mean": (lambda v: (v, x.neg(x.power(v, x.num(2)))), "real"),
}


def test_roots_inside_one_function_go_together():
    """Log-odds against a category of reference: one after the other they crept to the counts' own."""
    text = "model M\nparam a : real\nparam b : real\nfor n in N:\n    observed y[n] ~ Categorical(logits=[0, a, a + b])"
    fit = emdsl.compile(text=text).fitter(max_iter=1).fit({"y": np.repeat([0, 1, 2], [2, 5, 3])})
    np.testing.assert_allclose([fit.params_["a"], fit.params_["b"]], np.log([5 / 2, 3 / 5]), rtol=1e-12)


@pytest.mark.parametrize("name", ROOTS)
def test_the_curvature_at_a_closed_root(name):
    """Negative, and the second difference of Q there."""
    of, sort = ROOTS[name]
    leaf = El("v", (), sort)
    functions = of(leaf)
    coefficients = tuple(El(f"c{n}", ()) for n in range(len(functions)))
    root = solve_score(leaf, functions, coefficients)
    arrays = {"c0": np.array(1.7), "c1": np.array(2.9)}
    v = World({}, arrays).value(root.value, {})
    q = x.add(*(x.mul(c, g) for c, g in zip(coefficients, functions, strict=True)))

    def value(at):
        return World({}, {**arrays, "v": np.array(at)}).value(q, {})

    h = 1e-4 * abs(v)
    difference = (value(v + h) - 2 * value(v) + value(v - h)) / h**2
    curvature = World({}, arrays).value(root.curvature, {})
    assert curvature < 0
    assert curvature == pytest.approx(difference, rel=1e-5)


WAVE, SLOW = np.sin(1 + 2.3 * np.arange(40)), np.cos(0.7 * np.arange(40))
SCALES: dict[str, tuple[str, Any, int]] = {
    "a covariance": (
        "param m : real[2]\nparam S : spd[2]\nfor n in N:\n    observed v[n] ~ MvStudentT(4, m, S)",
        lambda k: ({"v": k * np.column_stack([WAVE, WAVE**2 + SLOW])}, {"m": np.zeros(2), "S": k * k * np.eye(2)}),
        80,
    ),
    "slopes that jump": (
        """param a : real
param b : real
param s : positive
for n in N:
    given t[n] : real
    observed y[n] ~ Laplace(a + b * t[n], s)""",
        lambda k: ({"y": k * (SLOW + WAVE**3), "t": SLOW}, {"a": 0.0, "b": 0.0, "s": k}),
        40,
    ),
    "columns of a design": (
        "param b : real[3]\nfor n in N:\n    given X[n] : real[3]\n    observed q[n] ~ Bernoulli(logit = X[n] @ b)",
        lambda k: ({"X": np.column_stack([WAVE**0, k * SLOW, WAVE / k]), "q": WAVE + SLOW > 0.3}, {"b": np.zeros(3)}),
        0,
    ),
}


@pytest.mark.parametrize("name", SCALES)
@pytest.mark.parametrize("k", [2.0**24, 2.0**-24])
def test_numeric_steps_have_no_scale_of_their_own(name: str, k: float) -> None:
    """One M-step may go as far as the data are wide: at 2^24 fits ended 350 and 70 below their optimum, `converged`."""
    text, at, units = SCALES[name]
    model = emdsl.compile(text=f"model Scaled\n{text}")
    ends = []
    for scale in (1.0, k):
        data, start = at(scale)
        fit = model.fitter(init=start, max_iter=2, tol=0).fit(data)
        ends.append(fit.log_likelihood_ + units * np.log(scale))
    assert ends[1] == pytest.approx(ends[0], rel=1e-6)


def test_a_score_that_vanishes_at_the_point_where_its_degree_is_seen():
    """A correlation out of a literal matrix: compiling it raised TypeError."""
    text = """
        model Literal
        param s : positive
        param r : positive(max = 3)
        param mu : real
        let S = [[s^2, s^2*r/4], [s^2*r/4, s^2]]
        for n in N:
            observed v[n] : real[2] ~ MvNormal([mu, 2*mu], S)
    """
    assert {u.kind for u in emdsl.compile(text=text).updates.values()} <= {"gradient", "newton", "closed form"}


def test_either_answer_has_its_digits_far_out_under_a_probit():
    """log(1 - Phi(a)) is log Phi(-a): from 8 on the difference is 0, and its slopes were no numbers."""
    text = "model M\nparam b : real\nfor n in N:\n    given x[n] : real\n    observed y[n] ~ Bernoulli(Phi(b * x[n]))\n"
    data = {"x": np.array([12.0, -12.0, 1.0, 2.0, -1.0]), "y": np.array([0, 1, 1, 0, 1])}
    with pytest.warns(UserWarning, match="max_iter"):
        found = emdsl.compile(text=text).fitter(max_iter=0, init={"b": 1.0}).fit(data)
    wanted = special.log_ndtr(np.where(data["y"] == 1, 1, -1) * data["x"]).sum()
    assert found.log_likelihood_ == pytest.approx(wanted, rel=1e-12)


def test_a_parameter_that_is_refined_and_that_another_is_measured_by() -> None:
    """Found by random models: a line about the other had the name that is tried inside the climb, a NameError."""
    text = """
        model Shared
        param c : real[2]
        param m[2] : real
        for n in N:
            given v[n] : real[2]
            latent z[n] ~ Categorical(softmax(concat(0, c[0] * v[n][0])))
            observed y[n] ~ Normal(c @ v[n] + m[z[n]], 1)
    """
    rng = np.random.default_rng(0)
    v = rng.normal(3, 1, (40, 2))
    fit = (
        emdsl.compile(text=text)
        .fitter(seed=0, max_iter=20, tol=0)
        .fit({"v": v, "y": v @ [1.0, -1] + rng.normal(size=40)})
    )
    assert fit.status_ != "decreased" and np.diff(fit.history_).min() > -1e-9


COLLAPSED = """
    model Collapsed
    param p : simplex[2]
    param m[2] : real
    param s[2] : positive
    param nu[2] : positive
    for n in N:
        latent   z[n] ~ Categorical(p)
        observed y[n] ~ StudentT(nu[z[n]], m[z[n]], s[z[n]])
"""


@pytest.mark.filterwarnings("ignore:not converged")
def test_numbers_in_order_step_straight_where_one_of_them_goes_far() -> None:
    """Found by chance: by logs of distances the ridge is bent, and Newton went from side to side along it."""
    asked = []

    def objective(values: Mapping[str, np.ndarray]) -> Any:
        low, high = values["level"]
        asked.append(high)
        p = special.expit(-high)
        slopes = np.array([-10 * (low - 0.3), p])
        return (-5 * (low - 0.3) ** 2, -np.log1p(np.exp(-high))), {"level": slopes}, {
            ("level", "level"): np.diag([-10.0, -p * (1 - p)])
        }  # fmt: skip

    found = ascend(
        objective, {"level": np.array([-1.0, 0.5])}, {"level": "ordered"}, {"level": (None, None)}, {"level": ()}
    )
    assert found["level"][0] == pytest.approx(0.3, abs=1e-9) and found["level"][1] > 20
    assert len(asked) < 60  # each step is one further, where the slope is exp(-level)


def test_a_ridge_of_positive_numbers_is_straight() -> None:
    """Counts at levels 0, 0 and 2 of a monotone effect have no maximum: r falls and l rises without end, and what they
    add up to is 0. By logs of l that ridge is bent: 150 evaluations from side to side ended 1e-7 below the top, off it
    by 1e-4 (night 11010, model 61)."""
    asked = []

    def objective(values: Mapping[str, np.ndarray]) -> Any:
        asked.append(values["r"])
        low, high = 2 * np.exp(values["r"]), np.exp(values["r"] + values["l"].sum())
        slopes = {"r": 1 - low - high, "l": np.full(2, 1 - high)}
        bends = {("r", "r"): -low - high, ("r", "l"): np.full(2, -high), ("l", "l"): np.full((2, 2), -high)}
        return (values["r"] + values["l"].sum(), -low, -high), slopes, bends

    start, free = {"r": np.array(-1.6), "l": np.array([1.2, 0.6])}, {"r": (None, None), "l": (None, None)}
    found = ascend(objective, start, {"r": "real", "l": "positive"}, free, {"r": (), "l": ()})
    assert found["r"] < -20 and found["r"] + found["l"].sum() == pytest.approx(0.0, abs=1e-9)
    assert len(asked) < 80


def test_a_step_that_halves_to_nothing_is_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """A component on one point, where Q is a wall: 3901 evaluations in one M-step, for 1e-7 of Q in all."""
    y = np.array([60.05, 1.28, -9.14, 0.2, 4.78, 1.1, 2.88, 1.89, 1.35, 0.39, -1.14, -0.31])
    model, asked = emdsl.compile(text=COLLAPSED), 0
    plain = model.module.FreeTable.at

    def counted(*arguments: object, **beside: object) -> object:
        nonlocal asked
        asked += 1
        return plain(*arguments, **beside)

    monkeypatch.setattr(model.module.FreeTable, "at", counted)
    start = {"p": [11 / 12, 1 / 12], "m": [0.95, 60.05], "s": [1.12, 7.5e-110], "nu": [1.41, 0.018]}
    model.fitter(max_iter=1, tol=0, on_degenerate="keep").fit({"y": y}, init=start)
    assert asked < 400


FREE = """
model Free
param m : real[2]
param v : positive[2]
param c : real
for n in N:
    observed y[n] : real[2] ~ MvNormal(m, [[v[0], c], [c, v[1]]])
"""
FREE_INSIDE = """
model FreeInside
param m[2] : real[3]
param c : real[3]
for n in N:
    latent z[n] ~ Bernoulli(1/2)
    observed y[n] : real[3] ~ MvNormal(m[z[n]], [[1, c[0], c[1]], [c[0], 1, c[2]], [c[1], c[2], 1]])
infer z by meanfield
"""


def test_entries_of_a_covariance_that_are_free() -> None:
    """A step of Newton's to where it is no covariance is halved: it had ended the fit. The maximum is that of data."""
    y = np.random.default_rng(0).multivariate_normal([1, 2], [[2, 1.5], [1.5, 2]], 60)
    model = emdsl.compile(text=FREE)
    for seed in range(3):
        found = model.fitter(seed=seed).fit(y).params_
        s = np.cov(y.T, bias=True)
        np.testing.assert_allclose([*found["v"], found["c"]], [s[0, 0], s[1, 1], s[0, 1]], rtol=1e-6)


def test_a_start_at_which_a_matrix_is_no_covariance_moves_nearer_to_0() -> None:
    """Nine of ten triples of standard normal numbers are no correlations of three variables."""
    y = np.random.default_rng(0).multivariate_normal(np.zeros(3), 0.5 + 0.5 * np.eye(3), 30)
    model = emdsl.compile(text=FREE_INSIDE)
    for seed in range(3):
        assert np.isfinite(model.fitter(seed=seed, max_iter=2, tol=0).fit(y).objective_)
