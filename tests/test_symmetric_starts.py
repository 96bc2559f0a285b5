"""Starts that EM cannot leave, because components are alike: broken, and said; starts of lines that cross."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gallery import written
from scipy.stats import bernoulli, norm

import emdsl
from emdsl.runtime.numeric.numerics import Degenerate
from emdsl.runtime.numeric.seeds import in_levels, seeded
from emdsl.runtime.numeric.starts import RACED_HEATS, best_start

RNG = np.random.default_rng(0)
X = np.concatenate([RNG.normal(-3, 1, 50), RNG.normal(3, 1, 50)])
SHARES = np.concatenate([RNG.beta(2, 8, 60), RNG.beta(8, 2, 60)])
MIXTURE = """
    model M
    size K = 2
    param w : simplex[K]
    param m[K] : real
    param s[K] : positive
    for n in N:
        latent z[n] ~ Categorical(w)
        observed x[n] ~ Normal(m[z[n]], s[z[n]])
"""
CHAIN = """
    model H
    param p : simplex[2]
    param A[2] : simplex[2]
    param m[2] : real
    for t in T:
        latent z[t] ~ Categorical(p) if t == 0 else Categorical(A[z[t-1]])
        observed x[t] ~ Normal(m[z[t]], 1)
"""
SHAPES = """
    model B
    param a[2] : positive
    param b[2] : positive
    for n in N:
        latent z[n] ~ Bernoulli(0.5)
        observed x[n] ~ Beta(a[z[n]], b[z[n]])
"""
CASES: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "all alike": (MIXTURE, X, {"w": [0.5, 0.5], "m": [0, 0], "s": [1, 1]}),
    "other weights": (MIXTURE, X, {"w": [0.3, 0.7], "m": [0, 0], "s": [1, 1]}),
    "a chain that a swap leaves as it is": (CHAIN, X, {"p": [0.5, 0.5], "A": [[0.9, 0.1], [0.1, 0.9]], "m": [0, 0]}),
    "shapes by passes over the data": (SHAPES, SHARES, {"a": [1, 1], "b": [1, 1]}),
}


@pytest.mark.parametrize("name", CASES)
def test_a_saddle_is_left_and_said(name: str) -> None:
    text, data, start = CASES[name]
    model = emdsl.compile(text=text)
    fitted = model.fitter(seed=0, init=start).fit(data)
    assert fitted.converged_
    assert "components 0 and 1" in fitted.message_
    assert "alike at the start" in fitted.message_
    least = fitted.history_[0] if name.startswith("shapes") else norm.logpdf(X, X.mean(), X.std()).sum()
    assert fitted.objective_ > least + 5
    again = model.fitter(seed=0, init=start).fit(data)
    assert again.history_ == fitted.history_


GAP = np.nan
MURRAY = [[1, 1], [1, -1], [-1, 1], [-1, -1], *[[2, GAP], [-2, GAP], [GAP, 2], [GAP, -2]] * 2]
ONE = RNG.normal(size=(30, 1)) @ [[1.0, 2, 1.5]] + RNG.normal(size=(30, 3))
APART = norm.logpdf(ONE, 0, ONE.std(0)).sum(), bernoulli.logpmf(ONE > 0, (ONE > 0).mean(0)).sum()
ZEROS: dict[str, tuple[str, Any, dict[str, Any] | None, str, float]] = {
    # text, data, start, what is said, the objective (Murray 1977: a correlation of 1/2, either way)
    "loadings": (
        "param L : real[3, 1]\nparam s : positive[3]\nfor n in N:\n    latent f[n] ~ MvNormal(zeros(1), eye(1))\n"
        "    observed y[n] ~ MvNormal(L @ f[n], diag(s))",
        ONE, {"L": np.zeros((3, 1)), "s": np.ones(3)}, "L was 0 at the start", APART[0] + 5),
    "a covariance, from a start of our own": (
        "param m : real[2]\nparam V : spd[2]\nfor n in N:\n    observed y[n] ~ MvNormal(m, V)",
        np.array(MURRAY), None, "V was 0 at the start", -29.97428643),
    "slopes of a latent trait at points": (
        "param a : real[3]\nparam b : real[3]\nfor n in N:\n    latent u[n] ~ Normal(0, 1)\n"
        "    observed y[n] : bool[3] ~ Bernoulli(logit = a * u[n] + b)",
        ONE > 0, {"a": np.zeros(3), "b": np.zeros(3)}, "a was 0 at the start", APART[1] + 3),
}  # fmt: skip


@pytest.mark.parametrize("name", ZEROS)
def test_what_is_0_by_symmetry_is_moved_off(name: str) -> None:
    """They had converged there: EM does not see what looks the same to the left and to the right."""
    text, data, start, said, least = ZEROS[name]
    fit = emdsl.compile(text=f"model M\n{text}").fitter(seed=0, init=start).fit(data)
    assert fit.converged_ and said in fit.message_
    assert fit.objective_ > least - 1e-6


def test_two_of_three_alike() -> None:
    start = {"w": [0.2, 0.3, 0.5], "m": [0, 5, 0], "s": [1, 1, 1]}
    fitted = emdsl.compile(text=MIXTURE).fitter(K=3, seed=0, init=start, on_degenerate="keep").fit(X)
    assert "components 0 and 2 of K were alike" in fitted.message_


def test_other_starts_are_taken_as_they_are() -> None:
    """Equal scales are no saddle; and no step is taken where none is asked for."""
    model = emdsl.compile(text=MIXTURE)
    start = {"w": [0.5, 0.5], "m": [0, 1], "s": [1, 1]}
    assert "alike" not in model.fitter(init=start).fit(X).message_
    start["m"] = [0, 0]
    with pytest.warns(UserWarning, match="max_iter"):
        still = model.fitter(init=start, max_iter=0).fit(X)
    np.testing.assert_array_equal(still.params_["m"], [0, 0])


@pytest.mark.parametrize("domain", ["zero_sum[2]", "ordered[2]", "real[2]"])
def test_levels_of_states_tell_them_apart(domain: str) -> None:
    """Numbers that sum to 0, or rise, were not looked at, and a prior's mode that both states share was a saddle."""
    rows = "for n in N:\n    latent z[n] ~ Bernoulli(0.4)\n    observed x[n] ~ Normal(m + level[z[n]], 1)\n"
    text = f"model M\nparam m : real\nparam level : {domain}\nparam mode[2] : real ~ Normal(0.5, 2)\n{rows}"
    fit = emdsl.compile(text=text).fitter(seed=0, init={"m": 0.0, "level": [-2.0, 2.0], "mode": [0.5, 0.5]}).fit(X)
    assert "alike" not in fit.message_


def test_restarts_leave_a_start_that_collapses() -> None:
    """All parameters given, and a component alone on one far point: ten restarts from the same place helped nobody."""
    start = {"w": [0.5, 0.5], "m": [100, 0], "s": [1e-3, 2]}
    model = emdsl.compile(text=MIXTURE)
    fitted = model.fitter(seed=0, on_degenerate="restart", init=start).fit(np.r_[X, 100.0, 103.0])
    assert fitted.converged_


@pytest.mark.parametrize("declared", ["size K = 2\nparam m[K] : real", "param m : real[2]"])
def test_states_of_a_vector_and_of_a_size_with_a_name(declared: str) -> None:
    """Both ended at the saddle, converged: a state of a bool is no level of K by name, a vector's numbers no copies."""
    rows = "for n in N:\n    latent z[n] ~ Bernoulli(0.5)\n    observed x[n] ~ Normal(m[z[n]], 1)\n"
    x = np.array([-0.3, 0.4, 0.1, 3.8, 4.3, 4.1])
    fit = emdsl.compile(text=f"model M\n{declared}\n{rows}").fitter(seed=0, init={"m": [1, 1]}).fit({"x": x})
    assert "alike at the start" in fit.message_
    np.testing.assert_allclose(np.sort(fit.params_["m"]), [0.07, 4.07], atol=0.05)


def test_curves_that_cross_are_told_apart_where_they_are_apart() -> None:
    """A line and a parabola (after flexmix's NPreg): by the response alone all starts led to the same lower optimum."""
    x, side = RNG.uniform(0, 10, 100), np.arange(100) % 2
    curves = np.stack([5 * x, 40 - (x - 5) ** 2])
    y = curves[side, np.arange(100)] + 3 * RNG.normal(size=100)
    model = emdsl.compile(
        text="""
        model Curves
        size K = 2
        param w : simplex[K]
        param b[K] : real[P]
        param s[K] : positive
        for n in N:
            given    X[n] : real[P]
            latent   z[n] ~ Categorical(w)
            observed y[n] ~ Normal(X[n] @ b[z[n]], s[z[n]])
        """
    )
    found = model.fitter(seed=0, n_init=6).fit({"X": np.stack([x**0, x, x**2], 1), "y": y}).log_likelihood_
    assert found > np.log(np.exp(norm.logpdf(y, curves, 3)).mean(0)).sum()


CLASSES_OF_ROWS = """
model Rows
param w : simplex[K]
param m[K] : real
param t : positive
param e : positive
for g in G:
    latent b[g] ~ Normal(0, t)
for n in N:
    given i[n] : index[G]
    latent c[n] ~ Categorical(w)
    observed y[n] ~ Normal(m[c[n]] + b[i[n]], e)
"""


@pytest.mark.parametrize("seed", range(3))
def test_classes_that_are_enumerated_together_start_as_divisions_of_rows(seed: int) -> None:
    """Configurations drawn whatever the data left all means alike: 320 below the maximum for 800 rows, "converged"."""
    rng = np.random.default_rng(0)
    i = np.repeat(np.arange(30), 4)
    y = np.array([-1, 2])[rng.integers(0, 2, 120)] + rng.normal(0, 1, 30)[i] + rng.normal(0, 0.4, 120)
    data = {"y": y, "i": i}
    near = {"w": [0.5, 0.5], "m": [-1, 2], "t": 1, "e": 0.4}
    best = written(CLASSES_OF_ROWS).fitter(sizes={"K": 2}).fit(data, init=near)
    fit = written(CLASSES_OF_ROWS).fitter(sizes={"K": 2}, seed=seed).fit(data)
    assert fit.log_likelihood_ == pytest.approx(best.log_likelihood_, abs=0.05)


COUNTS = """
model Counts
param w : simplex[K]
param a[K] : positive
param b[K] : positive
for i in I:
    latent c[i] ~ Categorical(w)
    latent rate[i] ~ Gamma(a[c[i]], b[c[i]])
    for t in T:
        observed y[i, t] ~ Poisson(rate[i])
"""


def test_classes_of_groups_are_told_apart_by_what_lies_within() -> None:
    """Groups that no datum of their own tells apart got classes at random, and EM stayed there: 64 below."""
    rng = np.random.default_rng(0)
    rate = np.where(rng.random(120) < 0.5, rng.gamma(2, 0.5, 120), rng.gamma(20, 0.5, 120))
    y = rng.poisson(rate[:, None], (120, 5))
    near = {"w": [0.5, 0.5], "a": [2, 20], "b": [2, 2]}
    best = written(COUNTS).fitter(sizes={"K": 2}).fit({"y": y}, init=near)
    fit = written(COUNTS).fitter(sizes={"K": 2}, seed=0).fit({"y": y})
    assert fit.log_likelihood_ == pytest.approx(best.log_likelihood_, abs=0.01)


SEQUENCES = """
model Sequences
param w : simplex[2]
param p[2] : simplex[2]
param A[2, 2] : simplex[2]
param m[2, 2] : real
param e : positive
for s in S:
    latent c[s] ~ Categorical(w)
    for t in T:
        latent z[s, t] ~ Categorical(p[c[s]] if t == 0 else A[c[s], z[s, t-1]])
        observed y[s, t] ~ Normal(m[c[s], z[s, t]], e)
"""
COUNTED = """
model Counted
param A[2] : simplex[2]
param rate[2] : positive
for s in S:
    for t in T:
        latent z[s, t] ~ Categorical([0.5, 0.5] if t == 0 else A[z[s, t-1]])
        observed y[s, t] ~ Poisson(rate[z[s, t]])
"""
LABELLED = """
model Labelled
param w : simplex[3]
param m[3] : real[2]
param s[3] : positive
for n in N:
    observed z[n] : category[3] ~ Categorical(w)
    observed x[n] ~ MvNormal(m[z[n]], s[z[n]] * eye(2))
"""


def first_statistics(model: Any, data: dict[str, Any], seed: int) -> dict[str, Any]:
    """The sums that a seeded division of these data has, before any step."""
    fitter = model.fitter(seed=seed, max_iter=0).fit(data)
    bound, prepared = fitter._training[:2]
    with np.errstate(all="ignore"):
        return dict(model.module.e_step(fitter.params_, bound, prepared, np.random.default_rng(seed)))


def test_classes_of_sequences_start_as_divisions_by_how_these_go() -> None:
    """A chain stays in three quarters of the sequences, and alternates in others. Classes were drawn at random."""
    rng = np.random.default_rng(1)
    stays = np.arange(40) % 4 > 0
    first = rng.random((40, 1)) < 0.5
    states = np.where(stays[:, None], first, first ^ (np.arange(12) % 2 == 1))
    y = np.where(states, 2.0, -2.0) + rng.normal(0, 0.5, (40, 12))
    for seed in range(3):
        found = first_statistics(written(SEQUENCES), {"y": y}, seed)
        assert sorted(found["c"]) == pytest.approx([11, 29], abs=2)


def test_a_chain_of_several_sequences_starts_as_a_division_of_its_own_rows() -> None:
    """What was seen lay with its plates in another order than the probabilities: rows got one another's states."""
    y = np.where(np.arange(5)[:, None] < 3, 2.0, 40.0) * np.ones((5, 7))
    found = first_statistics(written(COUNTED), {"y": y}, 0)
    assert sorted(found["z_y"] / found["z_n_y"]) == pytest.approx([2, 40], abs=6)


def test_rows_with_labels_say_which_class_is_which() -> None:
    """Nine rows of ten have no label. What they started in had nothing to do with the labels of the others."""
    rng = np.random.default_rng(2)
    z = rng.integers(3, size=150)
    x = np.array([[0, 0], [9, 0], [0, 9]])[z] + rng.normal(size=(150, 2))
    seen = np.where(rng.random(150) < 0.1, z, np.nan)
    for seed in range(3):
        found = first_statistics(written(LABELLED).complete(("z",)), {"z": seen, "x": x}, seed)
        assert (found["z_x"] / found["z"][:, None]).argmax(0).tolist() == [1, 2]


def test_each_state_of_an_outer_latent_is_divided_by_all_of_the_data() -> None:
    """Data of two columns under two outer states were read as one column for each."""
    x = np.array([np.repeat([0.0, 9.0], 10), np.tile([0.0, 9.0], 10)])
    for seed in range(6):
        q = seeded(np.empty((4, 2, 20)), 1, [x], np.random.default_rng(seed), gates=1)
        for gate in range(2):
            choice = q[:, gate].argmax(0)
            assert all(len(set(choice[(x == x[:, [n]]).all(0)])) == 1 for n in range(20))


def test_a_level_goes_to_one_state_as_a_whole_whatever_its_number() -> None:
    codes = np.random.default_rng(0).integers(6, size=200)
    found = set()
    for seed in range(10):
        q = seeded(np.empty((2, 200)), 1, [in_levels(codes, 6)], np.random.default_rng(seed))
        state = [set(q.argmax(0)[codes == level]) for level in range(6)]
        assert all(len(s) == 1 for s in state)
        found.add(tuple(next(iter(s)) for s in state))
    assert any(sorted(f) != list(f) and sorted(f) != list(f)[::-1] for f in found)


def climbing(pace: dict[float, float], tops: dict[float, float], seen: list[float]) -> tuple[Any, Any]:
    """Starts that climb hills of their own, each with its pace and its top: what `best_start` is asked with."""
    names = iter([*pace, *[next(iter(pace))] * 20])

    def draw(power: int) -> dict[str, Any]:
        seen.append(next(names))
        return {"hill": seen[-1], "at": 0.0}

    def step(params: dict[str, Any], policy: str) -> tuple[dict[str, Any], float]:
        hill = params["hill"]
        value = tops[hill] * (1 - pace[hill] ** (params["at"] + 1))
        if hill == 3.0 and params["at"] > 8 and policy == "raise":
            raise Degenerate(["s"], "collapsed")
        return {"hill": hill, "at": params["at"] + 1}, value

    return draw, step


def test_a_start_that_shows_late_how_high_it_goes_wins_and_one_that_collapses_does_not() -> None:
    seen: list[float] = []
    draw, step = climbing({1.0: 0.5, 2.0: 0.9, 3.0: 0.9}, {1.0: 50.0, 2.0: 90.0, 3.0: 99.0}, seen)
    kept = best_start(draw, step, 10, 6, heats=RACED_HEATS)
    assert kept["hill"] == 2.0 and len(seen) == 10
    few = best_start(*climbing({1.0: 0.5, 2.0: 0.9}, {1.0: 50.0, 2.0: 90.0}, []), 5, 6)
    assert few["hill"] == 1.0


def test_starts_that_have_met_are_enough() -> None:
    seen: list[float] = []
    best_start(*climbing({1.0: 0.05}, {1.0: 50.0}, seen), 10, 6, heats=RACED_HEATS)
    assert len(seen) == 5


def test_many_rows_start_as_a_sample_of_them_would(monkeypatch: pytest.MonkeyPatch) -> None:
    """From 20,001 rows on starts were compared without passes over data: from most seeds all components of a negative
    binomial mixture stayed alike, 2137 of 138,798 below the optimum for 40,000 rows."""
    text = """model M
size K = 2
param w : simplex[K]
param m[K] : positive
param k[K] : positive
for n in N:
    given e[n] : positive
    latent z[n] ~ Categorical(w)
    observed y[n] ~ NegativeBinomial(size = k[z[n]], mean = e[n] * m[z[n]])"""
    rng, module = np.random.default_rng(3), written(text).module
    data = {"y": rng.poisson(np.where(rng.random(90) < 0.4, 2, 9)).astype(float), "e": rng.uniform(1, 2, 90)}
    data["y"][5] = np.nan
    weight = np.where(np.arange(90) % 9, rng.uniform(0.5, 2, 90), 0.0)
    rows = np.sort(np.random.default_rng(7).choice(np.flatnonzero(weight), 50, replace=False))

    def start(some: Any, rng: np.random.Generator) -> dict[str, Any]:
        bound = module.M()._bind({n: v[some] for n, v in data.items()}, sample_weight=weight[some])
        return module.initial(bound, module.prepare(bound, module.reference(bound)), rng)

    monkeypatch.setattr(module, "SAMPLED", 50)
    many = start(np.arange(90), np.random.default_rng(7))
    again = np.random.default_rng(7)
    again.choice(80, 50, replace=False)
    few = start(rows, again)
    assert all(np.array_equal(many[n], few[n]) for n in ("w", "m", "k"))
    assert abs(np.log(many["k"])).max() > 1e-3


SKEW = """
model Skew
param m : real
param w : real
for n in N:
    latent h[n] : positive ~ Normal(0, 1)
"""


@pytest.mark.parametrize("density", ["Normal(m + w * h[n], 0.5)", "Poisson(log_rate = m + w * h[n])"])
def test_slopes_that_are_flat_at_zero_are_begun_on_both_sides(density: str) -> None:
    """Begun on the wrong side, a skew fit ends at 0 or on a lower hill: where all draws of a start agreed, or two steps
    said nothing of where they lead."""
    rng = np.random.default_rng(5)
    h, e = abs(rng.normal(size=150)), rng.normal(size=150)
    y = 1 + 1.5 * h + 0.5 * e if density[0] == "N" else rng.poisson(np.exp(0.5 + 0.8 * h))
    model = emdsl.compile(text=f"{SKEW}    observed y[n] ~ {density}")
    ends = [model.fitter(seed=s).fit({"y": y}).log_likelihood_ for s in (0, 2, 3)]
    assert np.ptp(ends) < 1e-4
