"""Sample weights beside joint Gaussians: a weight of 2 is the row twice, or a refusal that says why."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from gallery import compiled

import emdsl
from emdsl.errors import DataError

SERIES = """
    model Series
    param noise : positive
    param drift : positive
    for s in S:
        for t in {steps}:
            latent level[s, t] ~ Normal(0, var = 4) if t == 0 else Normal(level[s, t-1], var = drift)
            observed y[s, t] ~ Normal(level[s, t], var = noise)
"""
CLASSES = """
    model Classes
    size K = 2
    param w : simplex[K]
    param mean : real[K]
    param noise : positive
    for s in S:
        latent z[s] ~ Categorical(w)
        for t in T[s]:
            latent level[s, t] ~ Normal(mean[z[s]], var = 4) if t == 0 else Normal(level[s, t-1], var = 0.5)
            observed y[s, t] ~ Normal(level[s, t], var = noise)
"""
PARTNERS = """
    model Partners
    param s2 : positive
    for g in G:
        given partner[g] : index[G]
        latent b[g] ~ Normal(0, var = 1)
        observed y[g] ~ Normal(b[g] + b[partner[g]], var = s2)
"""
TWO_FILES = """
    model TwoFiles
    param a : real[2]
    param w : simplex[2]
    param v : positive
    latent b ~ Normal(0, var = v)
    for s in S:
        for t in T[s]:
            observed x[s, t] ~ Normal(b, var = 1)
    for k in M:
        latent z[k] ~ Categorical(w)
        observed y[k] ~ Normal(a[z[k]], var = v)
"""
OTHERS = """
    model Others
    param b : real
    for n in N:
        given x[n] : real
        observed y[n] ~ Normal(b * sum(x[j] for j in N if x[j] > x[n]), 1)
"""
ROWS = np.random.default_rng(3).normal(size=(3, 4))
REFUSED: dict[str, tuple[str, Any, str]] = {
    "edges": (PARTNERS, {"y": ROWS[:, 0], "partner": [1, 2, 0]}, "rows of G cannot be weighted: the elements of b"),
    "sums over rows": (OTHERS, {"x": [1.0, 2, 3], "y": ROWS[:, 0]}, "an expression runs over all elements of N"),
    "two files": (TWO_FILES, {"x": [ROWS[0], ROWS[1]], "y": ROWS[0]}, "needs weights_over"),
}


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_weight_is_the_row_so_many_times() -> None:
    """Of crossed effects, whose elements do not lie on the weighted plate: two EM steps agree, weight 0 is absence."""
    n, rng = 9, np.random.default_rng(1)
    data = {"row": np.arange(n) % 4, "column": np.arange(n) // 3, "y": rng.normal(size=n)}
    weight = np.array([2, 1, 1, 0, 1, 3, 1, 1, 1])
    again = {k: np.repeat(v, weight) for k, v in data.items()}
    start = {"mean": 0.4, "s2_u": 1.5, "s2_v": 0.7, "s2": 0.5}
    fitter = compiled("crossed_effects").fitter(max_iter=2, tol=0)
    heavy = fitter.fit(data, sample_weight=weight, init=start)
    found, params = heavy.history_, heavy.params_
    plain = fitter.fit(again, init=start)
    np.testing.assert_allclose(found, plain.history_, rtol=1e-12)
    for name, value in plain.params_.items():
        np.testing.assert_allclose(params[name], value, rtol=1e-11)


RAGGED = [ROWS[0], ROWS[1, :2], ROWS[2, :0], ROWS[2, :3]]
ITEMS = """
    model Items
    param w : simplex[2]
    param mean[2] : real
    param noise : positive
    for s in S:
        for t in T[s]:
            latent z[s, t] ~ Categorical(w) if t == 0 else Categorical([0.6, 0.4] if z[s, t-1] == 0 else [0.2, 0.8])
            for k in K[s, t]:
                observed y[s, t, k] ~ Normal(mean[z[s, t]], noise)
"""
NESTED = [[[0.3, 1.2], [], [-0.4]], [[2.0]], [], [[-1.0, 0.1], [0.7, 1.9]]]
SEQUENCES = {
    "items of steps": (ITEMS, NESTED, {"w": [0.3, 0.7], "mean": [-1.0, 1.0], "noise": 0.7}),
    "of one length": (SERIES.format(steps="T"), ROWS, {"noise": 0.7, "drift": 0.4}),
    "ragged": (SERIES.format(steps="T[s]"), RAGGED, {"noise": 0.7, "drift": 0.4}),
    "in classes": (CLASSES, RAGGED, {"w": [0.3, 0.7], "mean": [-1.0, 1.0], "noise": 0.7}),
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", SEQUENCES)
def test_a_weight_is_the_whole_sequence_so_many_times(name: str) -> None:
    text, rows, start = SEQUENCES[name]
    weight = [2, 0, 1, 3][: len(rows)]
    fitter = emdsl.compile(text=text).fitter(max_iter=2, tol=0)
    found = fitter.fit({"y": rows}, sample_weight=weight, init=start).history_
    again = [row for row, n in zip(rows, weight, strict=True) for _ in range(n)]
    plain = fitter.fit({"y": np.array(again) if name == "of one length" else again}, init=start)
    np.testing.assert_allclose(found, plain.history_, rtol=1e-12)
    scores = fitter.score_samples({"y": again} if name != "of one length" else {"y": np.array(again)})
    assert scores.shape == (sum(weight),)
    assert scores.sum() == pytest.approx(plain.history_[-1], rel=1e-12)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("over", ["S", "M"])
def test_of_several_plates_one_is_weighed(over: str) -> None:
    weight, start = np.array([2, 0, 3, 1]), {"a": [-1.0, 0.5], "w": [0.4, 0.6], "v": 0.7}
    data = {"x": RAGGED, "y": ROWS[0]}
    fitter = emdsl.compile(text=TWO_FILES).fitter(max_iter=2, tol=0)
    heavy = fitter.fit(data, sample_weight=weight, weights_over=over, init=start)
    found, score = heavy.history_, pickle.loads(pickle.dumps(heavy)).score(data)  # noqa: S301
    name = {"S": "x", "M": "y"}[over]
    again = [row for row, n in zip(data[name], weight, strict=True) for _ in range(n)]
    plain = fitter.fit({**data, name: again}, init=start)
    np.testing.assert_allclose(found, plain.history_, rtol=1e-12)
    assert score == pytest.approx(plain.score(data), rel=1e-12)


@pytest.mark.parametrize("name", REFUSED)
def test_weights_that_would_mean_nothing_are_refused(name: str) -> None:
    text, data, reason = REFUSED[name]
    with pytest.raises(DataError, match="D014") as caught:
        emdsl.compile(text=text).fitter(max_iter=1, seed=0).fit(data, sample_weight=[2.0, 1.0, 1.0])
    assert reason in str(caught.value)


def test_an_outermost_plate_whose_length_is_a_number() -> None:
    text = """
        model Three
        param m : real
        for j in 3:
            latent b[j] ~ Normal(m, 1)
            for t in T:
                observed y[j, t] ~ Normal(b[j], 2)
    """
    fitter = emdsl.compile(text=text).fitter(max_iter=500, tol=1e-14)
    y = np.array([[1.0, 1.0], [2.0, 2.0], [4.0, 4.0]])
    assert fitter.fit({"y": y}).params_["m"] == pytest.approx(7 / 3, rel=1e-6)
    assert fitter.fit({"y": y}, sample_weight=[1, 2, 0]).params_["m"] == pytest.approx(5 / 3, rel=1e-6)


TWO_WAYS = """
    model TwoWays
    param p : unit
    param link[2, 2] : unit
    for a in A: latent u[a] ~ Bernoulli(p)
    for b in B: latent v[b] ~ Bernoulli(p)
    for n in N:
        given i[n] : index[A]
        given j[n] : index[B]
        observed y[n] ~ Bernoulli(link[u[i[n]], v[j[n]]])
"""
IMAGES = """
    model Images
    param p[2, 2] : unit
    for n in N:
        for i in R:
            for j in C:
                latent z[n, i, j] ~ Bernoulli(p[z[n, i-1, j] if i > 0 else 0, z[n, i, j-1] if j > 0 else 0])
                observed x[n, i, j] ~ Normal(2 * z[n, i, j], 1)
"""


@pytest.mark.filterwarnings("ignore::emdsl.runtime.data.faults.ConvergenceWarning")
def test_rows_that_networks_tie_count_by_their_weights() -> None:
    data = {"i": [0, 1, 0, 1, 0], "j": [0, 1, 1, 0, 0], "y": [1, 0, 0, 1, 0]}
    start = {"p": 0.3, "link": [[0.1, 0.7], [0.5, 0.8]]}
    fitter = emdsl.compile(text=TWO_WAYS).fitter(max_iter=2, tol=0)
    once = fitter.fit(data, init=start, sample_weight=[2, 1, 1, 1, 1]).history_
    twice = fitter.fit({n: [v[0], *v] for n, v in data.items()}, init=start).history_
    np.testing.assert_allclose(once, twice, rtol=1e-12)
    images, x = emdsl.compile(text=IMAGES).fitter(max_iter=2, tol=0, init={"p": [[0.3, 0.6], [0.7, 0.4]]}), np.eye(8)
    x = x[:3].reshape(3, 2, 4)  # whole networks lie in a row each
    once, twice = images.fit({"x": x}, sample_weight=[2, 1, 0]).history_, images.fit({"x": x[[0, 0, 1]]}).history_
    np.testing.assert_allclose(once, twice, rtol=1e-12)


@pytest.mark.parametrize("far", [1.0, 1e12])
def test_rows_of_no_weight_are_absent_wherever_they_lie(far: float) -> None:
    """At 1e12 a row of no weight moved the reference point, beside which the others' spread had collapsed."""
    x, y = np.sin(1 + 2.3 * np.arange(12)), np.cos(np.arange(12.0) ** 2)
    text = "model M\nparam a : real\nparam b : real\nparam s : positive\nfor n in N:\n    given x[n] : real\n"
    model = emdsl.compile(text=text + "    observed y[n] ~ Normal(a + b * x[n], s)")
    plain = model.fitter().fit({"x": x[1:], "y": y[1:]})
    idle = (np.arange(12) > 0) * 1e-12
    fit = model.fitter(tol=1e-12).fit({"x": [far, *x[1:]], "y": [-far, *y[1:]]}, sample_weight=idle)
    assert np.isclose(fit.log_likelihood_ * 1e12, plain.log_likelihood_, rtol=1e-9)
    np.testing.assert_allclose([*fit.params_.values()], [*plain.params_.values()], rtol=1e-9)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_converges_is_measured_in_weights() -> None:
    """Of weights of 1e-12, one EM step moved the likelihood by less than any tolerance."""
    text = (
        "model M\nsize K = 2\nparam p : simplex[K]\nparam m : real[K]\nfor n in N:\n    latent z[n] ~ Categorical(p)\n"
    )
    model = emdsl.compile(text=text + "    observed y[n] ~ Normal(m[z[n]], 1)")
    y, start = 2 * np.sin(1 + 2.3 * np.arange(20)), {"p": [0.5, 0.5], "m": [-0.5, 1.0]}
    plain, light = (
        model.fitter(tol=1e-10, max_iter=500).fit(y, init=start, sample_weight=np.full(20, w)) for w in (1, 2.0**-40)
    )
    assert plain.n_iter_ == light.n_iter_ > 5
    np.testing.assert_allclose(light.params_["m"], plain.params_["m"], rtol=1e-12)


def test_numeric_m_steps_of_small_weights_end_where_those_of_1_do() -> None:
    """Slopes of 1e-12 counted as level: 0.2 of the log-likelihood was left to climb."""
    model = emdsl.compile(
        text="model M\nparam m : real[2]\nparam S : spd[2]\nfor n in N:\n    observed y[n] ~ MvStudentT(4, m, S)"
    )
    y = np.column_stack([np.sin(1 + 2.3 * np.arange(12)), np.cos(np.arange(12.0) ** 2)])
    plain, light = (model.fitter().fit(y, sample_weight=np.full(12, w)) for w in (1, 2.0**-40))
    np.testing.assert_allclose(light.params_["S"], plain.params_["S"], rtol=1e-6)
