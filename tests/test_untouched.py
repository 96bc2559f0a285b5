"""What no data touch stays where it is, and is told; a component that has lost its rows is another thing."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import emdsl

LEVELS = np.array([0, 1, 0, 1, 0, 3, 3, 1, 0, 3])  # none of 2
HITS = np.array([0, 1, 1, 0, 1, 1, 0, 1, 0, 1.0])
LENGTHS = 2.0 + HITS + 0.1 * np.arange(10)


def levels(declared: str, density: str) -> emdsl.Model:
    return emdsl.compile(
        text=f"""
model Levels
param m[G] : {declared}
param s : positive
for n in N:
    given g[n] : index[G]
    observed y[n] ~ {density}
observed extra ~ Normal(0, s)
"""
    )


def of_hits(k: int) -> float:
    return float(HITS[LEVELS == k].mean())


@pytest.mark.parametrize(
    ("declared", "density", "y", "expected"),
    [
        ("real", "Normal(m[g[n]], 1)", LENGTHS, lambda k: LENGTHS[LEVELS == k].mean()),
        ("positive", "Normal(3, m[g[n]])", LENGTHS, lambda k: np.sqrt(((LENGTHS[LEVELS == k] - 3) ** 2).mean())),
        ("unit", "Bernoulli(m[g[n]])", HITS, of_hits),
        ("positive", "Poisson(m[g[n]])", HITS, of_hits),
        ("real", "Bernoulli(logit = m[g[n]])", HITS, lambda k: np.log(of_hits(k) / (1 - of_hits(k)))),
        ("simplex[2]", "Categorical(m[g[n]])", HITS, lambda k: [1 - of_hits(k), of_hits(k)]),
    ],
    ids=["means", "scales", "shares", "rates", "log odds", "simplexes"],
)
def test_a_level_that_no_row_has_stays(declared: str, density: str, y: np.ndarray, expected) -> None:
    fitter = levels(declared, density).fitter(seed=0, sizes={"G": 4}, tol=1e-12)
    with pytest.warns(UserWarning, match=r"the data say nothing of m \(2,\)") as told:
        fit = fitter.fit({"g": LEVELS, "y": y, "extra": 1.5})
    assert fit.status_ == "converged" and fit.n_parameters_ == 4, "the level that no row has is no free number"
    assert told[0].filename == __file__
    for k in (0, 1, 3):
        np.testing.assert_allclose(fit.params_["m"][k], expected(k), atol=1e-6)
    assert np.isfinite(fit.params_["m"][2]).all()


def test_one_share_that_stays_by_chance_is_touched() -> None:
    """Out of a state whose shares are all alike: one of them stays where the rest of its row moves."""
    text = "param P[K] : simplex[K]\nfor t in T:\n    observed x[t] ~ Categorical("
    text += "ones(K) / K) if t == 0 else Categorical(P[x[t-1]])\n"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit = emdsl.compile(text=f"model M\n{text}").fitter(seed=1).fit({"x": [0, 1, 0, 0, 2, 1, 2, 0]})
    assert fit.n_parameters_ == 6
    np.testing.assert_allclose(fit.params_["P"], [[1 / 3] * 3, [1 / 2, 0, 1 / 2], [1 / 2, 1 / 2, 0]], atol=1e-12)


RECAPTURE = """
model Recapture
param phi : unit
param p[T] : unit
for i in I:
    given first[i] : index[T]
    for t in T if t >= first[i]:
        latent alive[i, t] ~ Bernoulli(1 if t == first[i] else phi * alive[i, t-1])
        observed seen[i, t] ~ Bernoulli(1 if t == first[i] else p[t] * alive[i, t])
"""


def test_a_time_that_nothing_is_seen_at_stays() -> None:
    """Nobody is seen again at time 0, under hidden states; the rest is at a maximum: its neighbours are no better."""
    model, rng = emdsl.compile(text=RECAPTURE), np.random.default_rng(0)
    first = rng.integers(0, 3, 60)
    truth = {"phi": 0.7, "p": np.array([0.4, 0.5, 0.6, 0.5])}
    data = {"first": first, "seen": model.sample(truth, {"I": 60, "T": 4}, seed=1, data={"first": first})["seen"]}
    with pytest.warns(UserWarning, match=r"the data say nothing of p \(0,\)"):
        fit = model.fitter(seed=0, tol=1e-10).fit(data)
    assert fit.converged_

    def likelihood(phi: float, p: np.ndarray) -> float:
        total = 0.0
        for start, row in zip(first, np.asarray(data["seen"]), strict=True):
            alive = np.array([0.0, 1.0])  # dead, alive
            for t in range(start + 1, 4):
                alive = np.array([alive[0] + (1 - phi) * alive[1], phi * alive[1]])
                alive = alive * ([0.0, p[t]] if row[t] else [1.0, 1 - p[t]])
            total += np.log(alive.sum())
        return total

    best = likelihood(fit.params_["phi"], fit.params_["p"])
    assert fit.log_likelihood_ == pytest.approx(best, rel=1e-10)
    for step in (1e-3, -1e-3):
        assert likelihood(fit.params_["phi"] + step, fit.params_["p"]) < best
        for t in (1, 2, 3):
            assert likelihood(fit.params_["phi"], fit.params_["p"] + step * np.eye(4)[t]) < best


def test_a_component_that_has_lost_its_rows_is_degenerate_all_the_same() -> None:
    """Beside a level that no row has, from a start at which all rows are the other's."""
    model = emdsl.compile(
        text="""
model Both
param w : simplex[2]
param m[2] : real
param rate[G] : positive
for n in N:
    given g[n] : index[G]
    latent z[n] ~ Categorical(w)
    observed y[n] ~ Normal(m[z[n]], 0.5)
    observed count[n] ~ Poisson(rate[g[n]])
"""
    )
    data = {"g": LEVELS, "y": LENGTHS, "count": 1 + HITS}
    for far, refused in ((4.0, False), (1e6, True)):
        fitter = model.fitter(init={"w": [0.5, 0.5], "m": [2.0, far], "rate": np.ones(4)})
        if refused:
            with pytest.raises(emdsl.EmdslError, match="D020"):
                fitter.fit(data)
        else:
            with pytest.warns(UserWarning, match=r"the data say nothing of rate \(2,\)"):
                fitter.fit(data)


@pytest.mark.parametrize("method", ["saem", "mcmc"])
def test_a_level_that_no_draws_touch_stays(method: str) -> None:
    """Fits by draws ended as degenerate, and would not have converged: exact ones of the same data did."""
    model = emdsl.compile(
        text=f"""
model Levels
param m[3] : real
param s[3] : positive
param tau : positive
for g in G:
    latent b[g] ~ Normal(0, tau)
for n in N:
    given group[n] : index[G]
    given level[n] : index[3]
    observed y[n] ~ Normal(b[group[n]] + m[level[n]], s[level[n]])
infer b by {method}
"""
    )
    rng = np.random.default_rng(0)
    group, level = np.repeat(np.arange(12), 4), np.arange(48) % 2
    y = rng.normal(size=12)[group] + level + 0.5 * rng.normal(size=48)
    with pytest.warns(UserWarning, match=r"the data say nothing of m \(2,\), s \(2,\)"):
        fit = model.fitter(seed=0).fit({"group": group, "level": level, "y": y})
    assert fit.converged_ and np.isfinite(fit.params_["m"]).all()
    errors = fit.monte_carlo_["standard_errors"]
    assert (np.isnan(errors["m"]) == [False, False, True]).all() and (
        np.isnan(errors["s"]) == [False, False, True]
    ).all()


def test_a_level_that_no_row_has_stays_wherever_it_began() -> None:
    """A mean is measured from the data's own: told from 0 again its last digit may be another, and about half of such
    fits were refused as if a component had lost its rows."""
    text = (
        "model M\nparam m[2] : real\nfor n in N:\n    given g[n] : index[2]\n    observed y[n] ~ Normal(m[g[n]], 1)\n"
    )
    model, rng = emdsl.compile(text=text), np.random.default_rng(0)
    for far in np.repeat([0.0, 1.0, 1e6], 8):
        y, m = far + rng.normal(size=5), rng.normal(size=2)
        with pytest.warns(UserWarning, match=r"the data say nothing of m \(1,\)"):
            fit = model.fitter(init={"m": m}).fit({"g": np.zeros(5, int), "y": y})
        np.testing.assert_allclose(fit.params_["m"], [y.mean(), m[1]], rtol=1e-8)
