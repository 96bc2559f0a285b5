"""Fits that crawl: leaps along EM's own path end where an independent search of the likelihood does."""

import numpy as np
import pytest
from gallery import written
from scipy.optimize import minimize
from scipy.stats import norm, poisson

LINES = """
model Lines
param b : real[2]
param S : spd[2]
param s : positive
given x[N] : real
for g in G:
    latent u[g] ~ MvNormal(zeros(2), S)
    for n in N:
        observed y[g, n] ~ Normal(b[0] + b[1] * x[n] + u[g, 0] + u[g, 1] * x[n], s)
"""
GROUPS = """
model Groups
param m : real
param t : positive
param s : positive
for g in G:
    latent u[g] ~ Normal(0, t)
    for n in N:
        observed y[g, n] ~ Normal(m + u[g], s)
"""


def lines():
    rng = np.random.default_rng(3)
    x = np.linspace(8, 64, 5)
    u = rng.multivariate_normal([0, 0], [[900, 4], [4, 0.1]], size=7)
    return x, 250 + 0.5 * x + u[:, :1] + u[:, 1:] * x + 4 * rng.normal(size=(7, 5))


def test_lines_of_groups_far_apart_end_at_the_top():
    """Their intercepts crawled: 5000 iterations left 0.2, as lme4's example of rats has it."""
    x, y = lines()
    design = np.c_[np.ones(5), x]

    def loss(p):
        chol = np.array([[np.exp(p[0]), 0], [p[1], np.exp(p[2])]])
        cov = design @ chol @ chol.T @ design.T + np.exp(2 * p[3]) * np.eye(5)
        mean = design @ np.linalg.solve(
            design.T @ np.linalg.solve(cov, design), design.T @ np.linalg.solve(cov, y.mean(0))
        )
        r = y - mean
        return 0.5 * (np.sum(r.T * np.linalg.solve(cov, r.T)) + 7 * (np.linalg.slogdet(cov)[1] + 5 * np.log(2 * np.pi)))

    top = min(minimize(loss, start, method="Nelder-Mead", options={"maxiter": 4000, "xatol": 1e-9, "fatol": 1e-9}).fun
              for start in ([3.4, 0.1, -1.2, 1.4], [2.0, 0.0, 0.0, 0.0]))  # fmt: skip
    fit = written(LINES).fitter(seed=0, tol=1e-9).fit({"x": x, "y": y})
    assert fit.converged_ and fit.log_likelihood_ == pytest.approx(-top, abs=1e-5)
    assert (np.diff(fit.history_) >= 0).all()
    again = written(LINES).fitter(max_iter=0).fit({"x": x, "y": y}, init=fit.params_)
    assert again.log_likelihood_ == pytest.approx(fit.history_[-1], rel=1e-12)


def test_a_variance_that_is_zero_is_reached():
    """Groups that differ less than their rows: EM by itself comes there as 1 / k."""
    y = np.array([[1.0, -1.2, 0.3], [0.9, -1.1, 0.2], [1.1, -1.0, 0.1]])
    with np.errstate(all="raise"):  # what it tries further out warns of nothing
        fit = written(GROUPS).fitter(seed=0, tol=1e-9).fit({"y": y})
    assert fit.status_ == "boundary" and "t lies on the boundary" in fit.message_
    assert fit.log_likelihood_ == pytest.approx(norm(y.mean(), y.std()).logpdf(y).sum(), abs=1e-6)


def test_a_fit_without_a_tolerance_is_steps_of_em_and_no_more():
    x, y = lines()
    fit = written(LINES).fitter(seed=0, tol=0, max_iter=60).fit({"x": x, "y": y})
    half = written(LINES).fitter(seed=0, tol=0, max_iter=30).fit({"x": x, "y": y})
    rest = written(LINES).fitter(tol=0, max_iter=30).fit({"x": x, "y": y}, init=half.params_)  # too few to leap
    np.testing.assert_allclose(fit.history_[30:], rest.history_, rtol=1e-12)


NEAR = """
model Near
param w : simplex[2]
param r[2] : positive
for n in N:
    latent z[n] ~ Categorical(w)
    observed y[n] ~ Poisson(r[z[n]])
"""


@pytest.mark.parametrize("seed", [0, 1])
def test_a_small_step_far_from_the_top_is_not_the_last(seed):
    """Components that all but coincide: steps of less than `tol` had ten times as much before them, and more.

    What is left is no share of the objective, but little of a standard error."""
    rng = np.random.default_rng(seed)
    y = rng.poisson(np.where(rng.random(300) < 0.4, 3.0, 6.0))

    def loss(p):
        rates = np.exp(p[1:])[:, None]
        return -np.logaddexp(
            poisson.logpmf(y, rates[0]) - np.logaddexp(0, p[0]), poisson.logpmf(y, rates[1]) - np.logaddexp(0, -p[0])
        ).sum()

    fit = written(NEAR).fitter(seed=0).fit({"y": y})
    start = [np.log(fit.params_["w"][1] / fit.params_["w"][0]), *np.log(fit.params_["r"])]
    top = -minimize(loss, start, method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-10}).fun
    assert fit.converged_
    assert -1e-8 < top - fit.log_likelihood_ < 1e-4


ITEMS = """
model Items
param w : unit
param p[2] : unit[J]
for n in N:
    latent z[n] ~ Bernoulli(w)
    for j in J: observed y[n, j] ~ Bernoulli(p[z[n], j])
"""


def test_probabilities_leap_by_all_that_the_last_steps_tell():
    """Two classes of four items: 2225 steps where each parameter leapt by a rate of its own, and units never."""
    rng = np.random.default_rng(0)
    rng.normal(np.where(rng.random(200) < 0.5, 0, 2.0), 1)
    y = (rng.random((200, 4)) < np.where(rng.random(200) < 0.5, 0.35, 0.7)[:, None]).astype(int)

    def loss(t):
        w, p = 1 / (1 + np.exp(-t[0])), 1 / (1 + np.exp(-t[1:].reshape(2, 1, 4)))
        rows = np.where(y, p, 1 - p).prod(-1)
        return -np.log((1 - w) * rows[0] + w * rows[1]).sum()

    fit = written(ITEMS).fitter(seed=0).fit({"y": y})
    ends = np.concatenate([np.ravel(fit.params_[n]) for n in ("w", "p")])
    top = -minimize(loss, np.log(ends) - np.log1p(-ends), options={"gtol": 1e-4}).fun
    assert fit.converged_ and fit.n_iter_ < 80 and (np.diff(fit.history_) >= 0).all()
    assert top - fit.log_likelihood_ < 1e-4


CROSSED = """
model Crossed
latent mu ~ Normal(0, 5)
for i in I: latent a[i] ~ Normal(0, 1)
for j in J: latent b[j] ~ Normal(0, 1)
for i in I:
    for j in J: observed y[i, j] ~ Normal(mu + a[i] + b[j], 0.1)
infer a, b, mu by meanfield
"""


def test_factors_of_one_sum_end_where_the_joint_gaussian_is():
    """A sum leaves its addends alone, so that factors of them crawl: 500 sweeps left the mean 0.18 from its place."""
    rng = np.random.default_rng(0)
    rows, columns = 6, 5
    y = 4 + rng.normal(size=(rows, 1)) + rng.normal(size=columns) + 0.1 * rng.normal(size=(rows, columns))
    design = np.c_[np.ones(rows * columns), np.repeat(np.eye(rows), columns, 0), np.tile(np.eye(columns), (rows, 1))]
    prior = np.diag([1 / 25, *np.ones(rows + columns)])
    want = np.linalg.solve(design.T @ design / 0.01 + prior, design.T @ y.ravel() / 0.01)
    fit = written(CROSSED).fitter(seed=0, tol=1e-10).fit({"y": y})
    got = np.concatenate([np.ravel(fit.posterior_[n]["mean"]) for n in ("mu", "a", "b")])
    assert fit.converged_ and (np.diff(fit.history_) >= -1e-10).all()
    np.testing.assert_allclose(got, want, atol=1e-3)


COUNTS = """
model Counts
param b : real
param t : positive
for g in G:
    latent u[g] ~ Normal(0, t)
    for n in N: observed y[g, n] ~ Poisson(log_rate = b + u[g])
"""


def test_points_of_quadrature_leap_to_a_variance_of_zero():
    """Counts that differ less than a Poisson's: 5000 iterations had left 0.07 of such fits."""
    y = np.array([[3, 3, 4, 2], [3, 4, 3, 3], [2, 3, 3, 4.0]])
    fit = written(COUNTS).fitter(seed=0, tol=1e-9).fit({"y": y})
    assert fit.status_ == "boundary" and (np.diff(fit.history_) >= -1e-10).all()
    assert fit.log_likelihood_ == pytest.approx(poisson.logpmf(y, y.mean()).sum(), abs=1e-5)


BOTH = """
model Both
param b : real[2]
param s : positive
param t : positive
param e : positive
for g in G: latent u[g] ~ Normal(0, s)
for h in H: latent v[h] ~ Normal(0, t)
for n in N:
    given i[n] : index[G]
    given j[n] : index[H]
    given x[n] : real
    observed y[n] ~ Normal(b[0] + b[1] * x[n] + u[i[n]] + v[j[n]], e)
"""


def test_few_steps_show_the_fast_paces_alone():
    """From far too small a noise the fourth step gained little, as noise and effects were in place: lines were not."""
    rng = np.random.default_rng(200)
    i, j = rng.integers(0, 200, 5000), rng.integers(0, 50, 5000)
    x = rng.normal(size=5000) + i / 200
    y = 1 + x / 2 + 1.2 * rng.normal(size=200)[i] + 0.4 * rng.normal(size=50)[j] + 0.9 * rng.normal(size=5000)
    data, start = {"i": i, "j": j, "x": x, "y": y}, {"b": [1.0, 0.5], "s": 1.0, "t": 1.0, "e": 0.01}
    fit = written(BOTH).fitter().fit(data, init=start)
    further = written(BOTH).fitter(tol=1e-11).fit(data, init=fit.params_)
    assert fit.converged_ and further.log_likelihood_ - fit.log_likelihood_ < 1e-4


NORMALS = """
model Normals
size K = 3
param w : simplex[K]
param m[K] : real
param s[K] : positive
for n in N:
    latent z[n] ~ Categorical(w)
    observed y[n] ~ Normal(m[z[n]], s[z[n]])
"""


def test_ridges_are_climbed_by_strides():
    """Components 1.5 of their standard deviations apart: leaps led the right way, and by a thousandth of it each."""
    rng = np.random.default_rng(1)
    y = np.array([0, 1.5, 3])[rng.choice(3, 2000)] + rng.normal(size=2000)
    fits = [written(NORMALS).fitter(seed=seed).fit({"y": y}) for seed in (0, 1)]
    assert all(fit.converged_ for fit in fits)  # in 171 and 122 steps, for more than 2000 and 1775
    assert fits[0].log_likelihood_ == pytest.approx(fits[1].log_likelihood_, abs=1e-3)


BESIDE = """
model Beside
param s : positive
param e : positive
param b : real[3]
given x[N] : real[3]
given g[N] : index[G]
for j in G: latent v[j] ~ Normal(0, s)
for n in N: observed y[n] ~ Normal(x[n] @ b + v[g[n]], e)
"""


@pytest.mark.parametrize("mixed", [False, True])
def test_effects_of_groups_move_to_parameters(mixed):
    """Noise far below the effects: an M-step of b by itself moves by nothing, and fits "converged" up to 40 lower.

    Balanced groups have closed forms, whatever of b is the same in all rows of a group, by one column or by two."""
    rng = np.random.default_rng(2)
    g, w = np.repeat(np.arange(8), 4), rng.normal(size=8)
    between = np.c_[np.ones(8), w]
    within = np.tile([-1.5, -0.5, 0.5, 1.5], 8)
    y = (between @ [3, 0.8] + rng.normal(size=8))[g] + 0.5 * within + 1e-3 * rng.normal(size=32)
    x = np.c_[between[g], within]
    means = y.reshape(8, 4).mean(1)
    rest = y - means[g]
    rest -= within * (within @ rest) / (within @ within)
    apart = means - between @ np.linalg.lstsq(between, means, rcond=None)[0]
    noise, spread = rest @ rest / 24, apart @ apart / 8
    top = -0.5 * (32 * np.log(2 * np.pi) + 24 * np.log(noise) + 8 * np.log(4 * spread) + 32)
    if mixed:  # what is the same in a group is the sum of two columns that are not
        x[:, 0] -= within
    for seed in (0, 1):
        fit = written(BESIDE).fitter(seed=seed).fit({"x": x, "y": y, "g": g})
        assert fit.converged_ and fit.log_likelihood_ == pytest.approx(top, abs=1e-5)


MILLIONS = """
model Counts
param b : real
param c : real
param s : positive
param t : positive
given d[G, N] : real
for g in G:
    latent v[g] ~ Normal({m}, s)
    latent u[g] ~ Normal({k}, t)
    for n in N: observed y[g, n] ~ Poisson(log_rate={b} + v[g] + d[g, n] * ({c} + u[g]))
"""


def test_effects_seen_through_counts_move_to_parameters():
    """A million in each cell: intercept and slope of effects, whichever of two places they are written at."""
    rng = np.random.default_rng(4)
    d = rng.normal(size=(6, 3))
    y = rng.poisson(np.exp(12 + rng.normal(size=(6, 1)) + d * (0.4 + 0.3 * rng.normal(size=(6, 1)))))
    ends = [written(MILLIONS.format(**at)).fitter(seed=1).fit({"d": d, "y": y}) for at in (
        {"m": "0", "k": "0", "b": "b", "c": "c"}, {"m": "b", "k": "c", "b": "0", "c": "0"})]  # fmt: skip
    assert all(fit.converged_ for fit in ends)
    assert ends[0].log_likelihood_ == pytest.approx(ends[1].log_likelihood_, abs=1e-5)
