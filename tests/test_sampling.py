"""Sampler and log joint against each other: over all configurations of small discrete models the joint sums to 1,
and draws fall on each configuration as often as it says."""

from __future__ import annotations

import re
import warnings
from inspect import cleandoc
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import emdsl
from emdsl.errors import DataError, ModelError
from emdsl.families import PRELUDE
from emdsl.families.codes import CODES
from emdsl.fit.interpret import evaluate, log_joint
from emdsl.fit.sampling import sample
from emdsl.language import parse_model
from emdsl.language.model import Call, Dim, If, Index, Loop, Num, SumOver, Var

HALF = np.array([[0.8, 0.2], [0.3, 0.7]])

# name: text, params, data, sizes, lengths, levels of what is drawn
DISCRETE = {
    "mixture": (
        """model M
        param w : simplex[K]
        param p[K] : unit
        for n in N:
            latent z[n] ~ Categorical(w)
            observed x[n] ~ Bernoulli(p[z[n]])""",
        {"w": np.array([0.3, 0.7]), "p": np.array([0.2, 0.9])}, {}, {"N": 2}, {}, {"z": 2, "x": 2},
    ),
    "chain": (
        """model M
        param a : simplex[K]
        param t[K] : simplex[K]
        param p[K] : unit
        for i in T:
            latent z[i] ~ Categorical(a) if i == 0 else Categorical(t[z[i-1]])
            observed x[i] ~ Bernoulli(p[z[i]])""",
        {"a": np.array([0.3, 0.7]), "t": HALF, "p": np.array([0.2, 0.9])}, {}, {"T": 3}, {}, {"z": 2, "x": 2},
    ),
    "feedback chain": (  # x feeds the next z: two variables, one component
        """model M
        param a : simplex[2]
        param p[2] : unit
        for i in T:
            latent z[i] ~ Bernoulli(1/3) if i == 0 else Bernoulli(p[x[i-1]])
            observed x[i] ~ Bernoulli(0.9 if z[i] == 1 else 0.25)""",
        {"a": np.array([0.3, 0.7]), "p": np.array([0.2, 0.9])}, {}, {"T": 3}, {}, {"z": 2, "x": 2},
    ),
    "second order": (
        """model M
        param p[2, 2] : unit
        for i in T:
            observed x[i] ~ Bernoulli(1/2) if i < 2 else Bernoulli(p[x[i-1], x[i-2]])""",
        {"p": np.array([[0.1, 0.6], [0.8, 0.3]])}, {}, {"T": 4}, {}, {"x": 2},
    ),
    "grid": (
        """model M
        param p[2] : unit
        for i in A:
            for j in B:
                observed x[i, j] ~ Bernoulli(0.3) if i == 0 or j == 0 else Bernoulli(p[(x[i-1, j] + x[i, j-1]) % 2])""",
        {"p": np.array([0.1, 0.6])}, {}, {"A": 2, "B": 2}, {}, {"x": 2},
    ),
    "ragged": (
        """model M
        param t[2] : simplex[2]
        for s in S:
            latent g[s] ~ Bernoulli(0.4)
            for i in T[s]:
                observed x[s, i] ~ Bernoulli(0.2 + 0.5*g[s]) if i == T[s] - 1 else Categorical(t[g[s]])""",
        {"t": HALF}, {}, {"S": 3}, {"T": [2, 0, 1]}, {"g": 2, "x": 2},
    ),
    "ragged chain": (
        """model M
        param t[2] : unit
        for s in S:
            for i in T[s]:
                observed x[s, i] ~ Bernoulli(0.4) if i == 0 else Bernoulli(t[x[s, i-1]])""",
        {"t": HALF[:, 1]}, {}, {"S": 2}, {"T": [3, 2]}, {"x": 2},
    ),
    "tree": (
        """model M
        param t[2] : unit
        for n in N:
            given parent[n] : index[N]
            observed x[n] ~ Bernoulli(0.4) if parent[n] == n else Bernoulli(t[x[parent[n]]])""",
        {"t": HALF[:, 1]}, {"parent": np.array([3, 3, 0, 3])}, {"N": 4}, {}, {"x": 2},
    ),
    "filtered": (
        """model M
        param link[2, 2] : unit
        for i in N:
            latent z[i] ~ Bernoulli(0.4)
        for i in N:
            for j in N if j < i:
                observed e[i, j] ~ Bernoulli(link[z[i], z[j]])""",
        {"link": HALF}, {}, {"N": 2}, {}, {"z": 2, "e": 2},
    ),
    "branch": (
        """model M
        param r : unit
        for n in N:
            latent z[n] ~ Bernoulli(0.3)
            observed x[n] : count ~ Delta(0) if z[n] == 0 else Binomial(3, r)""",
        {"r": 0.4}, {}, {"N": 2}, {}, {"z": 2, "x": 4},
    ),
    "lets": (
        """model M
        param w : simplex[3]
        let back = [2, 1, 0]
        let total = sum(k * w[k] for k in 3 if k > 0)
        for n in N:
            let u[n] = [w[back[k]] for k in 3]
            latent z[n] ~ Categorical(u[n])
            observed x[n] ~ Bernoulli(total / 3 if z[n] == 0 and n > 0 else 1/2)""",
        {"w": np.array([0.2, 0.5, 0.3])}, {}, {"N": 2}, {}, {"z": 3, "x": 2},
    ),
    "deterministic": (
        """model M
        for n in N:
            latent a[n] ~ Bernoulli(0.3)
            latent b[n] ~ Bernoulli(0.6)
            observed x[n] ~ Delta(a[n] + b[n])""",
        {}, {}, {"N": 1}, {}, {"a": 2, "b": 2, "x": 3},
    ),
}  # fmt: skip


def model(text):
    return parse_model(cleandoc(text), "<test>", PRELUDE())


@pytest.mark.parametrize("name", DISCRETE)
def test_joint_sums_to_one_and_draws_follow_it(name):
    text, params, data, sizes, lengths, levels = DISCRETE[name]
    m = model(text)
    full = {**sizes, "K": 2}
    drawn = sample(m, params, sizes, 0, data, lengths)
    assert set(drawn) == set(levels)
    kept = {k: ~np.triu(np.ones(v.shape, bool)) if name == "filtered" and v.ndim == 2 else np.ones(v.shape, bool)
            for k, v in drawn.items()}  # fmt: skip
    cells = [(k, i) for k, v in drawn.items() for i in np.ndindex(v.shape) if kept[k][i]]
    probability = {}
    for choice in product(*(range(levels[k]) for k, _ in cells)):
        values = {k: np.zeros(v.shape, np.int64) for k, v in drawn.items()}
        for (k, i), c in zip(cells, choice, strict=True):
            values[k][i] = c
        probability[choice] = np.exp(log_joint(m, {**params, **data, **values}, full, lengths))
    assert sum(probability.values()) == pytest.approx(1, abs=1e-12)
    n = 300
    rng = np.random.default_rng(4)
    counts = dict.fromkeys(probability, 0)
    for _ in range(n):
        draws = sample(m, params, sizes, rng, data, lengths)
        counts[tuple(int(draws[k][i]) for k, i in cells)] += 1
    expected = np.array(list(probability.values())) * n
    seen = np.array(list(counts.values()))
    assert (seen[expected == 0] == 0).all()
    big = expected > 5
    both = [np.append(v[big], v[~big].sum()) for v in (seen, expected)]
    statistic = ((both[0] - both[1]) ** 2 / np.maximum(both[1], 1e-9))[both[1] > 0].sum()
    assert stats.chi2.sf(statistic, max(1, (both[1] > 0).sum() - 1)) > 1e-4


def test_gaussian_state_space_by_hand():
    m = model(
        """model LDS
        param A : real[Q, Q]
        param C : real[D, Q]
        param V : spd[Q]
        param R : spd[D]
        param m0 : real[Q]
        for t in T:
            latent   h[t] ~ MvNormal(m0, V) if t == 0 else MvNormal(A @ h[t-1], V)
            observed x[t] ~ MvNormal(C @ h[t], diag(diag(R)))"""
    )
    rng = np.random.default_rng(0)
    p = {"A": np.array([[0.9, 0.2], [-0.1, 0.8]]), "C": rng.normal(size=(3, 2)), "V": np.diag([0.5, 0.2]),
         "R": np.diag([0.3, 0.2, 0.1]), "m0": np.array([1.0, -1.0])}  # fmt: skip
    drawn = sample(m, p, {"T": 300}, 1)
    h, x = drawn["h"], drawn["x"]
    mean = np.vstack([p["m0"], h[:-1] @ p["A"].T])
    expected = stats.multivariate_normal(np.zeros(2), p["V"]).logpdf(h - mean).sum()
    expected += stats.multivariate_normal(np.zeros(3), p["R"]).logpdf(x - h @ p["C"].T).sum()
    assert log_joint(m, {**p, **drawn}, {"T": 300, "Q": 2, "D": 3}) == pytest.approx(expected, rel=1e-12)
    assert abs(((h - mean)[:, 0] ** 2).mean() / 0.5 - 1) < 0.3


def test_missing_entries_leave_their_factor_out():
    m = model(
        """model M
        param mu : real[D]
        param cov : spd[D]
        param sd : positive
        for n in N:
            observed x[n] ~ MvNormal(mu, cov)
            observed y[n] : real[D] ~ Normal(mu, sd)
            observed c[n] ~ Bernoulli(0.3)"""
    )
    p = {"mu": np.array([0.0, 1.0, 2.0]), "cov": np.array([[1, 0.3, 0], [0.3, 2, 0.1], [0, 0.1, 1.5]]), "sd": 0.5}
    nan = np.nan
    x, y = np.array([[1, nan, 2], [nan, nan, nan], [0, 1, 2.0]]), np.array([[nan, 1, 2], [0, 0, 0], [1, nan, nan]])
    data = {"x": x, "y": y, "c": np.array([0, 1, 1])}
    gone = {"c": np.array([False, True, False])}
    keep = [0, 2]
    expected = stats.multivariate_normal(p["mu"][keep], p["cov"][np.ix_(keep, keep)]).logpdf([1, 2])
    expected += stats.multivariate_normal(p["mu"], p["cov"]).logpdf([0, 1, 2])
    expected += np.nansum(stats.norm(p["mu"], 0.5).logpdf(data["y"])) + np.log(0.7) + np.log(0.3)
    assert log_joint(m, {**p, **data}, {"N": 3, "D": 3}, missing=gone) == pytest.approx(expected)


def test_an_atom_takes_the_whole_mass_of_its_value():
    m = model(
        """model Spike
        for n in N:
            latent z[n] ~ Bernoulli(0.25)
            observed x[n] ~ Delta(0) if z[n] == 0 else Normal(0, 1)"""
    )
    values = {"z": np.array([1, 0, 1]), "x": np.array([0.5, 0.0, 2.0])}
    expected = np.log(0.25) * 2 + np.log(0.75) + stats.norm.logpdf([0.5, 2]).sum()
    assert log_joint(m, values, {"N": 3}) == pytest.approx(expected)
    assert log_joint(m, {**values, "z": np.array([1, 1, 1])}, {"N": 3}) == -np.inf
    assert log_joint(m, {**values, "z": np.array([0, 0, 1])}, {"N": 3}) == -np.inf


def test_an_atom_whose_value_exists_in_its_branch_only():
    m = model(
        """model Lookup
        given v[K] : real
        for n in N:
            latent z[n] ~ Categorical([1/2, 1/4, 1/4])
            observed x[n] ~ Delta(v[z[n] - 1]) if z[n] > 0 else Normal(0, 1)"""
    )
    given = {"v": np.array([1.0, 2.0])}
    drawn = sample(m, {}, {"N": 50}, 3, given)
    assert np.isfinite(log_joint(m, {**given, **drawn}, {"N": 50, "K": 2}))
    assert set(drawn["x"][drawn["z"] > 0]) == {1.0, 2.0}


def test_priors_factors_and_truncation():
    m = model(
        """model M
        param a : positive ~ Normal(m0, 2)
        param b : positive ~ Normal(a, 1)
        given m0 : real = 1
        factor -0.5 * (a - b)^2
        for n in N:
            observed x[n] : count(min = 1) ~ Poisson(a)"""
    )
    values = {"a": 1.5, "b": 2.0, "x": np.array([1, 3])}
    expected = stats.norm(1, 2).logpdf(1.5)  # no param in its normaliser: dropped
    expected += stats.norm(1.5, 1).logpdf(2) - stats.norm(1.5, 1).logsf(0) - 0.125
    expected += stats.poisson(1.5).logpmf([1, 3]).sum() - 2 * np.log1p(-np.exp(-1.5))
    assert log_joint(m, values, {"N": 2}) == pytest.approx(expected)
    assert log_joint(m, {**values, "a": -0.5}, {"N": 2}) == -np.inf
    assert log_joint(m, {**values, "x": np.array([0, 3])}, {"N": 2}) == -np.inf
    drawn = sample(m, {"a": 0.4, "b": 1.0}, {"N": 500}, 0)
    assert drawn["x"].min() == 1


def test_params_are_drawn_from_priors_where_none_are_given():
    m = model(
        """model M
        given m0 : real
        param mu[K] : real ~ Normal(m0, 0.1)
        param w : simplex[K] ~ Dirichlet(5)
        for n in N:
            latent z[n] ~ Categorical(w)
            observed x[n] ~ Normal(mu[z[n]], 0.01)"""
    )
    drawn = sample(m, None, {"N": 50, "K": 3}, 2, {"m0": 7.0})
    assert drawn["mu"].shape == drawn["w"].shape == (3,)
    assert drawn["w"].sum() == pytest.approx(1)
    assert np.abs(drawn["x"] - drawn["mu"][drawn["z"]]).max() < 0.1
    assert np.abs(drawn["mu"] - 7).max() < 1
    with pytest.raises(DataError, match="w"):
        sample(m, {"mu": np.zeros(3)}, {"N": 50, "K": 3}, 2, {"m0": 7.0})
    with pytest.raises(DataError, match="m0"):
        sample(m, None, {"N": 50, "K": 3}, 2)


def test_refusals_say_why():
    m = model(
        """model M
        for n in N:
            latent z[n] ~ Bernoulli(0.5)
        for n in N if n > 0:
            factor z[n] * z[n-1]"""
    )
    with pytest.raises(ModelError, match="factor"):
        sample(m, {}, {"N": 3}, 0)
    cycle = model(
        """model M
        for n in N:
            given parent[n] : index[N]
            observed x[n] ~ Normal(0, 1) if parent[n] == n else Normal(x[parent[n]], 1)"""
    )
    with pytest.raises(DataError, match="cycle"):
        sample(cycle, {}, {"N": 3}, 0, {"parent": np.array([1, 0, 2])})
    with pytest.raises(DataError, match=r"outside 0\.\.2"):
        log_joint(cycle, {"parent": np.array([1, 5, 2]), "x": np.zeros(3)}, {"N": 3})


def test_a_split_needs_its_totals():
    m = model(
        """model M
        param p : simplex[K]
        for n in N:
            observed x[n] ~ Multinomial(p)"""
    )
    p = {"p": np.array([0.2, 0.3, 0.5])}
    with pytest.raises(DataError, match="trials"):
        sample(m, p, {"N": 2}, 0)
    drawn = sample(m, p, {"N": 2}, 0, {"x": np.array([[1, 2, 3], [0, 4, 0]])})
    assert drawn["x"].sum(1).tolist() == [6, 4]


def test_givens_of_ragged_rows_come_as_they_do_in_a_fit():
    """A list of arrays, which has the lengths, too: was a ValueError of numpy."""
    m = model(
        """model M
        for s in S:
            for t in T[s]:
                given    d[s, t] : real[2]
                observed x[s, t] ~ Normal(d[s, t, 1], 1e-9)"""
    )
    rows = [np.ones((2, 2)), np.zeros((0, 2)), np.full((1, 2), 3.0)]
    np.testing.assert_allclose(sample(m, {}, {}, 0, {"d": rows})["x"], [1, 1, 3], atol=1e-6)
    with pytest.raises(DataError, match="ragged over"):
        sample(m, {}, {}, 0, {"d": [np.ones((2, 2)), 1.0]})


def test_only_the_branch_taken_is_evaluated():
    v = Var("v", (Dim.of(3),))
    safe = If(Call("lt", (Loop("i", Dim.of(5)), Num(3)), ()), Index(v, (Loop("i", Dim.of(5)),), ()), Num(-1), ())
    total = SumOver("i", Dim.of(5), None, safe, ())
    assert evaluate(total, {"v": np.array([1.0, 2.0, 4.0])}) == 5
    with pytest.raises(DataError, match=r"index 3 is outside 0\.\.2"):
        evaluate(Index(v, (Num(3),), ()), {"v": np.zeros(3)})
    nothing = Call("mul", (Num(0), Call("log", (Num(0),), ())), ())
    assert evaluate(nothing, {}) == 0


def test_codes_are_those_in_the_table():
    text = "".join(
        p.read_text(encoding="utf-8") for d in ("families", "fit") for p in Path(emdsl.__path__[0], d).glob("*.py")
    )
    assert set(re.findall(r'"((?:E09|D05)\d)"', text)) == set(CODES)


def test_what_numpy_cannot_draw_is_said() -> None:
    """Counts that grow without end: a rate above 9e18 has no count of 64 bits, which was a raw ValueError."""
    text = "model M\nparam b : positive\nfor t in T:\n"
    text += "    observed y[t] ~ Poisson(1) if t == 0 else Poisson(1 + b * y[t-1])"
    with pytest.raises(DataError, match="`y` cannot be drawn from Poisson with these parameters"):
        emdsl.compile(text=text).sample({"b": 1e3}, {"T": 40}, 0)


@pytest.mark.parametrize(
    ("drawn", "words"),
    [
        ("y[n] ~ Normal(0, var = 1 + g[n])", "Normal's `var` must be 0 or more; it is -2 in row 1"),
        ("y[n] : positive ~ Normal(g[n], g[n] - 1)", "`sd` must be 0 or more; it is -1 in row 0, the first of 3"),
        ("y[n] ~ Uniform(1, g[n])", "Uniform's `high` must be 1 or more; it is 0 in row 0"),
        ("y[n] ~ Binomial(3, p = g[n])", "Binomial's `p` must lie between 0 and 1; it is -3 in row 1"),
        ("y[n] ~ Categorical([g[n], 1 - g[n]])", "`p` must be probabilities that sum to 1; it is [-3.  4.] in row 1"),
        ("y[n] ~ MvNormal([0, 1], [[1, g[n]], [g[n], 1]])", "`cov` must be a symmetric positive semidefinite matrix"),
        ("y[n] : real[2] ~ Normal(0, [1, g[n]])", "Normal's `sd` must be 0 or more; it is -3 in row 1"),
        ("y[n] ~ Exponential(g[n] + 3)", "a draw of Exponential with these arguments is not finite in row 1"),
        ("y[n] ~ Normal(exp(1000*g[n]), 1)", "a draw of Normal with these arguments is not finite in row 3"),
    ],
)  # fmt: skip
def test_an_argument_outside_its_domain_is_told_with_its_row(drawn: str, words: str) -> None:
    """NaN was drawn, with a warning of numpy's and status 0."""
    text = f"model M\nfor n in N:\n    given g[n] : real\n    observed {drawn}"
    with warnings.catch_warnings(), pytest.raises(DataError, match=re.escape(words)) as caught:
        warnings.simplefilter("error")
        emdsl.compile(text=text).sample({}, data={"g": np.array([0.0, -3, -1, 2])})
    assert "D055: `y`" in str(caught.value)


def test_arguments_at_the_ends_of_their_domains_are_drawn_with() -> None:
    """Estimates lie there: a variance of 0, a singular covariance; and a sum of shares is above 1 by rounding."""
    text = """model M
        param p : simplex[3]
        param s : spd[2]
        for n in N:
            observed a[n] ~ Bernoulli(p[0] + p[1] + p[2])
            observed b[n] ~ MvNormal([0, 1], s)
            observed c[n] ~ Normal(2, sd = a[n] - 1)
            observed d[n] ~ Binomial(4, p = p[0] + p[1] + p[2])"""
    p = np.array([0.1, 0.2, 0.7000000000000002])
    assert p.sum() > 1
    got = sample(model(text), {"p": p, "s": np.ones((2, 2))}, {"N": 5}, 0)
    assert (got["a"] == 1).all() and (got["c"] == 2).all() and (got["d"] == 4).all()
    assert got["b"][:, 1] - got["b"][:, 0] == pytest.approx(1)


def test_what_waits_for_another_element_is_not_drawn_with_its_blank() -> None:
    """Of a tree whose rows stand in any order: a row was drawn, and thrown away, with a scale of a parent not there."""
    text = """model M
        for n in N:
            given p[n] : index[N]
            observed y[n] ~ Normal(5, 1) if p[n] == n else Normal(y[p[n]], y[p[n]] - 1)"""
    got = sample(model(text), {}, {}, 0, {"p": np.array([1, 2, 3, 3])})["y"]
    assert np.isfinite(got).all() and got[3] > 1


def test_draws_on_ragged_plates_are_what_a_fit_takes():
    """Lists of arrays, one for each parent, whatever plates are around: were one flat array, which no fit took."""
    text = cleandoc("""model M
    param r : positive
    for s in S:
        for j in 2:
            for t in T[s, j]:
                observed y[s, j, t] ~ Poisson(r)""")
    model = emdsl.compile(text=text)
    drawn = model.sample({"r": 3.0}, {"S": 3, "T": [2, 0, 1, 3, 0, 1]}, 0)["y"]
    assert [[len(a) for a in row] for row in drawn] == [[2, 0], [1, 3], [0, 1]]
    wanted = stats.poisson.logpmf(np.concatenate([a for row in drawn for a in row]), 3.0).sum()
    assert model.log_joint({"r": 3.0, "y": drawn}, {}) == pytest.approx(wanted, rel=1e-12)
    fit = model.fitter().fit({"y": drawn})
    assert fit.params_["r"] == pytest.approx(np.concatenate([a for row in drawn for a in row]).mean())
    assert [[len(a) for a in row] for row in fit.sample(3, seed=1)["y"]] and model.verify().passed
