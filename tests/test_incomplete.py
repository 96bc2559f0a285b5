"""Missing cells of vectors: against the density of what was seen, an EM row by row, and dense conditional Gaussians."""

from __future__ import annotations

import math
import re
import sys
import types
import warnings
from fractions import Fraction
from functools import cache
from itertools import product
from zlib import crc32

import numpy as np
import pytest
from cases import held, incomplete, seen
from gallery import MODELS, compiled, fit
from scipy.special import logsumexp
from scipy.stats import multivariate_normal, multivariate_t, norm
from test_unusual import climbs_to_the_top, one_step

import emdsl
from emdsl.errors import DataError
from emdsl.runtime.fields.incomplete import clamped_covariance, clamped_mean

pytestmark = pytest.mark.filterwarnings("ignore::emdsl.runtime.data.faults.ConvergenceWarning")

AIR = np.genfromtxt(MODELS / "data" / "airquality.csv", delimiter=",", skip_header=1)
CASES = {case.name: case for case in (*incomplete.CASES, *held.CASES)}


@cache
def model_of(name):
    return emdsl.compile(text=CASES[name].text)


def made(name):
    """A case, its model, its data with weights and without, the parameters that made them."""
    case = CASES[name]
    data, truth = case.make(np.random.default_rng(crc32(name.encode())))
    return case, model_of(name), data, {k: v for k, v in data.items() if k != case.weight}, truth


@pytest.mark.parametrize("name", CASES)
def test_incomplete(name: str) -> None:
    case, model, data, given, truth = made(name)
    weight = data[case.weight] if case.weight else None
    one_step(case, model, data, given, weight, truth)
    climbs_to_the_top(case, model, data, given, weight, truth)


# ------------------------------------------------------------------------------------------ one Gaussian


def conditional(x, mean, cov):
    """The mean and covariance of one row given the cells that were seen, (D,) and (D, D)."""
    o = ~np.isnan(x)
    value, spread = np.array(x), np.zeros_like(cov)
    slope = cov[np.ix_(~o, o)] @ np.linalg.inv(cov[np.ix_(o, o)])
    value[~o] = mean[~o] + slope @ (x[o] - mean[o])
    spread[np.ix_(~o, ~o)] = cov[np.ix_(~o, ~o)] - slope @ cov[np.ix_(o, ~o)]
    return value, spread


def em(x, r, mean, cov):
    """One step, row by row (Little and Rubin 2019, section 11.2); `r` (N,) are weights."""
    rows = [conditional(row, mean, cov) for row in x]
    total = r.sum()
    new = sum(w * m for w, (m, _) in zip(r, rows, strict=True)) / total
    return new, sum(w * (np.outer(m - new, m - new) + v) for w, (m, v) in zip(r, rows, strict=True)) / total


def test_air_quality() -> None:
    est = fit("incomplete_gaussian", {"x": AIR})
    assert est.log_likelihood_ == pytest.approx(-2326.69738280, abs=1e-7)
    np.testing.assert_allclose(est.params_["mean"], [41.87117, 184.84681, 9.95752, 77.88235], atol=6e-6)
    moments = [conditional(row, est.params_["mean"], est.params_["cov"]) for row in AIR]
    np.testing.assert_allclose(est.posterior_["x"]["mean"], [m for m, _ in moments], rtol=1e-9)
    np.testing.assert_allclose(est.posterior_["x"]["cov"], [v for _, v in moments], rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(est.posterior_["x"]["mean"][~np.isnan(AIR)], AIR[~np.isnan(AIR)], rtol=1e-15)


def test_every_step_of_one_gaussian() -> None:
    mean, cov = np.nanmean(AIR, 0), np.diag(np.nanvar(AIR, 0))
    est = fit("incomplete_gaussian", {"x": AIR}, init={"mean": mean, "cov": cov}, max_iter=6, tol=0)
    for value in est.history_:
        assert value == pytest.approx(seen(AIR, mean, cov).sum(), rel=1e-11)
        last, (mean, cov) = (mean, cov), em(AIR, np.ones(len(AIR)), mean, cov)
    np.testing.assert_allclose(est.params_["mean"], last[0], rtol=1e-10)
    np.testing.assert_allclose(est.params_["cov"], last[1], rtol=1e-9)


def test_every_step_of_a_mixture() -> None:
    """Ghahramani and Jordan (1994): classes weigh the rows, and each completes them its own way."""
    _, model, data, _, truth = made("mixture with gaps")
    x, p, mean, cov = data["x"], *(np.array(truth[n]) for n in ("p", "mean", "cov"))
    est = model.fitter(K=2, max_iter=4, tol=0).fit(data, init=truth)
    for value in est.history_:
        table = np.log(p) + np.column_stack([seen(x, m, c) for m, c in zip(mean, cov, strict=True)])
        total = np.logaddexp.reduce(table, axis=1)
        assert value == pytest.approx(total.sum(), rel=1e-11)
        last, r = (p, mean, cov), np.exp(table - total[:, None])
        steps = [em(x, r[:, k], mean[k], cov[k]) for k in range(2)]
        p, mean, cov = r.mean(0), *(np.array(part) for part in zip(*steps, strict=True))
    for name, value in zip(("p", "mean", "cov"), last, strict=True):
        np.testing.assert_allclose(est.params_[name], value, rtol=1e-9)
    moments = [[conditional(row, m, c) for m, c in zip(*last[1:], strict=True)] for row in x]
    np.testing.assert_allclose(est.posterior_["z"], r, rtol=1e-8, atol=1e-12)
    first = np.array([[m for m, _ in row] for row in moments])
    mixed = np.einsum("nk,nki->ni", r, first)
    second = np.array([[np.outer(m, m) + v for m, v in row] for row in moments])
    spread = np.einsum("nk,nkij->nij", r, second) - mixed[:, :, None] * mixed[:, None]
    np.testing.assert_allclose(est.posterior_["x"]["mean"], mixed, rtol=1e-9)
    np.testing.assert_allclose(est.posterior_["x"]["cov"], spread, atol=1e-8)


# ------------------------------------------------------------------------------------------ dense posteriors


def dense_moments(y, mean, cov, of):
    """Mean and variance of the numbers `of` of one long Gaussian vector, given those of it that are there."""
    there = ~np.isnan(y)
    slope = cov[np.ix_(of, there)] @ np.linalg.inv(cov[np.ix_(there, there)])
    inside = cov[np.ix_(of, of)] - slope @ cov[np.ix_(there, of)]
    return mean[of] + slope @ (y[there] - mean[there]), np.diag(inside)


def test_a_series_and_its_missing_cells() -> None:
    """The latent states and the cells that were not seen, of one dense Gaussian over all."""
    _, model, data, _, truth = made("series with gaps in correlated noise")
    est = model.fitter(max_iter=0).fit(data, init=truth)
    n, load = len(data["x"]), incomplete.LOADS
    back = np.linalg.inv(np.eye(n) - np.diag(np.full(n - 1, truth["a"]), -1))
    prior = back @ back.T
    cov = np.block([
        [prior, np.kron(prior, load.T)],
        [np.kron(prior, load), np.kron(prior, load @ load.T) + np.kron(np.eye(n), truth["R"])],
    ])  # fmt: skip
    y = np.r_[np.full(n, np.nan), data["x"].ravel()]
    mean, var = dense_moments(y, np.zeros(4 * n), cov, np.arange(4 * n))
    np.testing.assert_allclose(est.posterior_["h"]["mean"].ravel(), mean[:n], atol=1e-9)
    np.testing.assert_allclose(est.posterior_["h"]["cov"].ravel(), var[:n], atol=1e-9)
    np.testing.assert_allclose(est.posterior_["x"]["mean"].ravel(), mean[n:], atol=1e-9)
    found = np.diagonal(est.posterior_["x"]["cov"], axis1=1, axis2=2).ravel()
    np.testing.assert_allclose(found, var[n:], atol=1e-9)


def test_missing_covariates_and_responses() -> None:
    """What others read and was not seen is given what those others were: means and variances, under their names."""
    _, model, data, _, p = made("gaps in covariates")
    est = model.fitter(max_iter=0).fit(data, init=p)
    b, s = p["b"], p["S"]
    cov = np.block([[s, (s @ b)[:, None]], [(b @ s)[None], np.array([[b @ s @ b + p["s"] ** 2]])]])
    whole, mean = np.column_stack([data["X"], data["y"]]), np.r_[p["m"], p["c"] + p["m"] @ b]
    moments = [conditional(row, mean, cov) for row in whole]
    np.testing.assert_allclose(est.posterior_["X"]["mean"], [m[:2] for m, _ in moments], rtol=1e-9)
    np.testing.assert_allclose(est.posterior_["X"]["cov"], [v[:2, :2] for _, v in moments], atol=1e-9)
    assert np.isnan(data["y"]).any()


# ------------------------------------------------------------------------------------------ invariants


def test_a_noise_next_to_nothing_costs_its_own_digits_alone() -> None:
    """y = 3 x + noise of variance 1e-10, both missing, from h that says so: V r multiplied out lost all digits."""
    v, slope = Fraction(1, 10**10), Fraction(3)
    j = [[1 + slope * slope / v, -slope / v], [-slope / v, 1 / v]]
    h = [Fraction(1, 2) - slope * 7 / v, Fraction(7) / v]
    det = j[0][0] * j[1][1] - j[0][1] ** 2
    mean = [(j[1][1] * h[0] - j[0][1] * h[1]) / det, (j[0][0] * h[1] - j[0][1] * h[0]) / det]
    fit = float(sum(m * a for m, a in zip(mean, h, strict=True)))
    whole = np.array([[float(a) for a in row] for row in j])
    free, shape = np.ones((1, 2), bool), (0, [1], 0)
    _, root, j_all = clamped_covariance([[-0.5 * whole]], shape, free)
    linear = np.array([[float(a)] for a in h])
    shape = (0, [1], 1)
    (found,), found_fit, _ = clamped_mean(root, j_all, [linear], [None], free, np.zeros(1, int), shape)
    np.testing.assert_allclose(found[:, 0], [float(m) for m in mean], rtol=1e-4)
    assert found_fit[0] == pytest.approx(fit, rel=1e-14)


def test_parts_add_up_and_weights_repeat_rows() -> None:
    model, start = compiled("incomplete_gaussian"), {"mean": np.nanmean(AIR, 0), "cov": np.diag(np.nanvar(AIR, 0))}
    fitter = model.fitter()
    whole = fitter.e_step(start, {"x": AIR})
    parts = [
        fitter.e_step(start, {"x": part}) for part in (AIR[:4], AIR[4:60], AIR[60:])
    ]  # of the first, none is missing
    for name, value in whole.items():
        np.testing.assert_allclose(sum(p[name] for p in parts), value, rtol=1e-10, atol=1e-8)
    twice = fitter.e_step(start, {"x": np.vstack([AIR, AIR[:50]])})
    weighted = fitter.e_step(start, {"x": AIR}, sample_weight=np.r_[np.full(50, 2.0), np.ones(103)])
    assert weighted["log_likelihood"] == pytest.approx(twice["log_likelihood"], rel=1e-12)
    np.testing.assert_allclose(weighted["cov_x"], twice["cov_x"], rtol=1e-10)


def test_two_to_the_ten_patterns() -> None:
    rng = np.random.default_rng(0)
    cov = np.cov(rng.normal(size=(10, 40)))
    x = 3 + rng.multivariate_normal(np.zeros(10), cov, 4096)
    x[(np.arange(4096)[:, None] >> np.arange(10)) & 1 == 1] = np.nan
    est = compiled("incomplete_gaussian").fitter(max_iter=0).fit({"x": x}, init={"mean": np.full(10, 3.0), "cov": cov})
    np.testing.assert_allclose(est.score_samples({"x": x}), seen(x, np.full(10, 3.0), cov), rtol=1e-9, atol=1e-9)
    assert est.score_samples({"x": x})[1023] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("cov", ["r * eye(2)", "diag(r * ones(2))", "r * eye(D)"])
def test_cells_of_one_variance_are_left_out(cov: str) -> None:
    """Of a length that the text says, too: its log-determinant is `2 log r` there, no sum over cells. Cells that
    nothing depends on had been latents, and r's steps slower for it."""
    declared = "model M\nparam m : real\nparam r : positive\nsize D = 2\n"
    text = f"{declared}for n in N: observed x[n] : real[2] ~ MvNormal([m, m], {cov})"
    x = np.array([[1.0, np.nan], [2.0, 4.0], [np.nan, np.nan], [np.nan, 5.0]])
    fit = emdsl.compile(text=text).fitter(max_iter=1, tol=0).fit({"x": x}, init={"m": 0.0, "r": 9.0})
    np.testing.assert_allclose(fit.posterior_["x"]["mean"][2], np.repeat(fit.params_["m"], 2))
    assert float(fit.params_["r"]) == pytest.approx(np.nanvar(x), rel=1e-12)


def test_missing_cells_of_a_vector_of_classes() -> None:
    """Each is a class of its own, against all sixteen configurations; they were refused."""
    text = "model M\nparam p : unit[2]\nparam w : real[2]\nfor n in N:\n    observed z[n] : bool[2] ~ Bernoulli(p)\n"
    model = emdsl.compile(text=f"{text}    observed y[n] ~ Normal(z[n] @ w, 1)")
    data = {"z": np.array([[1, np.nan], [np.nan, 0], [np.nan, np.nan]]), "y": np.array([0.5, 2.0, -1.0])}
    p, w = np.array([0.3, 0.6]), np.array([1.0, -2.0])
    fit = model.fitter(max_iter=0).fit(data, init={"p": p, "w": w})
    states = np.array(list(product((0, 1), repeat=2)))
    log = np.log(np.where(states, p, 1 - p)).sum(1) + norm.logpdf(data["y"][:, None], states @ w, 1)
    fits = np.isnan(data["z"])[:, None] | (data["z"][:, None] == states)
    log = np.where(fits.all(-1), log, -np.inf)
    assert fit.log_likelihood_ == pytest.approx(logsumexp(log, axis=1).sum(), rel=1e-12)
    share = np.exp(log - logsumexp(log, axis=1, keepdims=True))
    np.testing.assert_allclose(fit.posterior_["z"][..., 1], share @ states, rtol=1e-12)


def test_nothing_missing_is_the_plain_model() -> None:
    """The completed model, given all cells, takes the steps of the plain one."""
    _, model, data, _, truth = made("mixture with gaps")
    x = np.where(np.isnan(data["x"]), 100.0, data["x"])
    plain = model.fitter(K=2, max_iter=3, tol=0).fit({"x": x}, init=truth)
    full = model.complete(("x",)).fitter(K=2, max_iter=3, tol=0).fit({"x": x}, init=truth)
    np.testing.assert_allclose(full.history_, plain.history_, rtol=1e-11)
    np.testing.assert_allclose(full.params_["cov"], plain.params_["cov"], rtol=1e-8)


def test_far_from_the_origin() -> None:
    """Cells missing of data near 1e7: the steps are those of the data near 0."""
    near = fit(
        "incomplete_gaussian", {"x": AIR}, max_iter=3, tol=0, init={"mean": np.full(4, 50.0), "cov": 900 * np.eye(4)}
    )
    far = fit(
        "incomplete_gaussian", {"x": AIR + 1e7}, max_iter=3, tol=0,
        init={"mean": np.full(4, 50.0) + 1e7, "cov": 900 * np.eye(4)},
    )  # fmt: skip
    np.testing.assert_allclose(far.history_, near.history_, rtol=1e-8)
    np.testing.assert_allclose(far.params_["cov"], near.params_["cov"], rtol=1e-6)


def test_the_log_joint_of_what_was_seen() -> None:
    model, params = compiled("incomplete_gaussian"), {"mean": np.nanmean(AIR, 0), "cov": np.diag(np.nanvar(AIR, 0)) + 5}
    est = model.fitter(max_iter=0).fit({"x": AIR}, init=params)
    assert model.log_joint({"x": AIR, **params}, {"N": 153, "D": 4}) == pytest.approx(est.log_likelihood_, rel=1e-12)


# ------------------------------------------------------------------------------------------ the estimator around it


def test_saved_loaded_and_alone(tmp_path) -> None:
    model = compiled("incomplete_gaussian")
    est = model.fitter(max_iter=3, tol=0).fit({"x": AIR})
    est.save(tmp_path / "fit.json")
    again = emdsl.load(tmp_path / "fit.json")
    np.testing.assert_array_equal(again.score_samples({"x": AIR}), est.score_samples({"x": AIR}))
    text = model.complete(("x",)).source
    assert "import emdsl" not in text and "from emdsl" not in text
    alone = types.ModuleType("alone_incomplete")
    sys.modules[alone.__name__] = alone
    exec(compile(text, "<alone>", "exec"), alone.__dict__)  # noqa: S102
    with warnings.catch_warnings():  # its class is the module's own: no other process knows it
        warnings.simplefilter("ignore")
        other = alone.IncompleteGaussian(max_iter=3, tol=0).fit({"x": AIR}, init=est.params_)
    assert other.history_[0] == pytest.approx(est.log_likelihood_, rel=1e-12)


def test_a_completed_module_takes_labels_by_their_name_and_leaves_out_what_nothing_reads() -> None:
    model = emdsl.compile(
        text="""
        model PartlyLabelled
        param p : unit
        param rate[2] : positive
        for n in N:
            observed z[n] ~ Bernoulli(p)
            observed y[n] ~ Poisson(rate[z[n]])
    """
    )
    data = {"z": [0, 1, np.nan, np.nan], "y": [1, 4, 2, np.nan]}
    wanted = model.fitter(max_iter=3, tol=0, seed=0).fit(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        alone = model.complete(("z", "y")).load_module().PartlyLabelled(max_iter=3, tol=0, seed=0).fit(data)
    np.testing.assert_array_equal(alone.history_, wanted.history_)
    np.testing.assert_array_equal(alone.posterior_["z"], wanted.posterior_["z"])


def test_the_derivation_tells_what_becomes_of_gaps() -> None:
    plain, whole = (
        " ".join(str(m.derivation).split())
        for m in (compiled("incomplete_gaussian"), compiled("incomplete_gaussian").complete(("x",)))
    )
    for text in (plain, whole):
        assert "E[x[missing] | x[seen]] = J[missing, missing]⁻¹ (h[missing] - J[missing, seen] x[seen])" in text
        assert "cov(x[missing] | x[seen]) = J[missing, missing]⁻¹" in text
    assert "S_cov_x = Σ_n cov(x[n], x[n])" in whole


SWITCHED = """
model Switched
param f : real[2]
for t in T:
    latent z[t] ~ Bernoulli(0.3)
    observed x[t] ~ Normal(0, 1) if t == 0 else Normal(f[z[t]] * x[t-1], 1)
"""


@pytest.mark.filterwarnings("ignore::UserWarning")  # two iterations do not converge
def test_gaps_that_tie_states_take_all_their_configurations() -> None:
    """Without an `infer` line while these are few; beyond, the refusal names a line that fits."""
    data, model = {"x": [0.5, np.nan, np.nan, 1.2]}, emdsl.compile(text=SWITCHED)
    fit = model.fitter(init={"f": [0.5, -2.0]}, max_iter=0).fit(data)
    assert {p.method for p in model.complete(("x",)).plan.values()} == {"exact:hybrid"}
    long = {"x": [0.5, *[np.nan] * 17, *np.linspace(-1, 1, 20)]}
    with pytest.raises(DataError, match="17 missing from row 1 on tie the states of 18 rows: 2\\^18 conf") as caught:
        model.fitter().fit(long)
    line = re.search(r"write (infer .*)", str(caught.value))
    assert line is not None
    bound = emdsl.compile(text=SWITCHED + line[1]).fitter(max_iter=2, seed=0).fit(long)
    assert bound.history_[-1] >= bound.history_[0]
    likelihood = 0.0
    for f, weight in ((0.5, 0.7), (-2.0, 0.3)):
        for g, w in ((0.5, 0.7), (-2.0, 0.3)):
            for h, v in ((0.5, 0.7), (-2.0, 0.3)):
                var = 1 + h**2 * (1 + g**2)
                likelihood += weight * w * v * math.exp(-((1.2 - f * g * h * 0.5) ** 2) / 2 / var) / math.sqrt(var)
    assert fit.log_likelihood_ == pytest.approx(math.log(likelihood / (2 * math.pi)) - 0.5**2 / 2)


REFUSED = {
    "which nothing tells where cells are missing": (
        "model Counts\nparam p : simplex[3]\nfor n in N:\n    observed x[n] ~ Multinomial(p)",
        {"x": [[1, 2, 0], [1, 0, np.nan], [3, 2, 1]]},
        "line 4",
    ),
    r"exp\(x\[n, 0\]\) is not linear or quadratic": (
        "model Read\nparam m : real[2]\nparam s : spd[2]\nfor n in N:\n    observed x[n] ~ MvNormal(m, s)\n"
        "    observed y[n] ~ Poisson(exp(x[n, 0]))",
        {"x": [[0.1, 0.2], [0.3, np.nan], [0.1, 1.0]], "y": [1, 0, 2]},
        "line 6",
    ),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_cannot_be_integrated_out_is_refused_in_its_place(reason: str) -> None:
    text, data, line = REFUSED[reason]
    with pytest.raises(DataError, match=rf"D001: x: .*row 1.*{reason}|x: .*row 1.*{line}.*{reason}") as caught:
        emdsl.compile(text=text).fitter().fit(data)
    assert line in str(caught.value)


def test_a_multivariate_t_is_gaussian_given_its_scale() -> None:
    """Classes of t's with gaps, against scipy's density of the cells that were seen; lengths have others' names."""
    text = """
        model Heavy
        size D = 2
        size P = 3
        param p : simplex[D]
        param m[D] : real[P]
        param S[D] : spd[P]
        param nu[D] : positive
        for n in N:
            latent z[n] ~ Categorical(p)
            observed y[n] : real[P] ~ MvStudentT(nu[z[n]], m[z[n]], S[z[n]])
    """
    rng = np.random.default_rng(2)
    y, root = incomplete.gaps(rng, rng.normal(size=(12, 3))), rng.normal(size=(2, 3, 3))
    init = {"p": np.array([0.3, 0.7]), "m": rng.normal(size=(2, 3)), "nu": np.array([3.0, 8.0]),
            "S": root @ root.transpose(0, 2, 1) + np.eye(3)}  # fmt: skip
    seen_cells = ~np.isnan(y)
    logs = np.array([
        [multivariate_t(init["m"][k][o], init["S"][k][np.ix_(o, o)], df=init["nu"][k]).logpdf(row[o]) if o.any() else 0
         for row, o in zip(y, seen_cells, strict=True)] for k in range(2)
    ])  # fmt: skip
    wanted = logsumexp(logs + np.log(init["p"])[:, None], axis=0).sum()
    model = emdsl.compile(text=text)
    assert (~seen_cells).any()
    assert model.fitter(max_iter=0).fit({"y": y}, init=init).log_likelihood_ == pytest.approx(wanted, rel=1e-12)
    climbed = model.fitter(max_iter=5, tol=0, on_degenerate="keep").fit({"y": y}, init=init)
    assert np.diff(climbed.history_).min() > 0


def test_labels_that_are_missing_beside_effects_of_groups() -> None:
    """Over the configurations of what was not seen, whatever the rows are; such a gap had made a bound of the fit."""
    text = """
    model Labels
    param p : unit
    param c : real[2]
    param t : positive
    param s : positive
    for g in G: latent u[g] ~ Normal(0, t)
    for n in N:
        given group[n] : index[G]
        observed b[n] ~ Bernoulli(p)
        observed y[n] ~ Normal(c[b[n]] + u[group[n]], s)
    """
    rng, n = np.random.default_rng(2), 40
    group, y, b = rng.integers(0, 6, n), rng.normal(size=n), rng.integers(0, 2, n).astype(float)
    gone = [3, 17, 30]
    b[gone] = np.nan
    params = {"p": 0.4, "c": np.array([0.2, 0.9]), "t": 0.6, "s": 0.5}
    fit = emdsl.compile(text=text).fitter(max_iter=0).fit({"b": b, "group": group, "y": y}, init=params)
    cov = 0.36 * (group[:, None] == group) + 0.25 * np.eye(n)
    states, logs = list(product((0, 1), repeat=3)), []
    for state in states:
        full = np.where(np.isnan(b), 0, b).astype(int)
        full[gone] = state
        log = np.where(full, np.log(0.4), np.log(0.6)).sum()
        logs.append(log + multivariate_normal(params["c"][full], cov).logpdf(y))
    assert fit.log_likelihood_ == pytest.approx(logsumexp(logs), rel=1e-12)
    share = np.exp(np.array(logs) - logsumexp(logs)) @ np.array(states)
    np.testing.assert_allclose(fit.posterior_["b"][gone, 1], share, rtol=1e-9)


# ------------------------------------------------------------------------------------------ what is left out


def test_entries_that_the_likelihood_leaves_out_are_known_by_all_others() -> None:
    """`posterior_` lacked them: a scalar of a group, a cell of independent errors, a label on which nothing depends."""
    text = """
    model Left
    param t : positive
    param s : positive
    param p : unit[2]
    for g in G: latent u[g] ~ Normal(0, t)
    for n in N:
        given group[n] : index[G]
        latent f[n] ~ Normal(0, 1)
        observed y[n] ~ Normal(u[group[n]], s)
        observed x[n] : real[3] ~ Normal([1, 2, -1] * f[n], s)
        observed b[n] ~ Bernoulli(p[0])
    """
    data = {
        "group": [0, 0, 1], "y": [1.0, np.nan, np.nan], "b": [1, np.nan, 0],
        "x": [[0.5, np.nan, 1.0], [np.nan] * 3, [1.0, 2.0, 3.0]],
    }  # fmt: skip
    found = emdsl.compile(text=text).fitter(max_iter=0).fit(data, init={"t": 2.0, "s": 1.0, "p": [0.3, 0.5]})
    y, x, b = (found.posterior_[n] for n in "yxb")
    np.testing.assert_allclose(y["mean"], [1, 0.8, 0])
    np.testing.assert_allclose(y["var"], [0, 1 + 4 - 16 / 5, 5])
    load = np.array([1.0, 2, -1])
    cov = np.outer(load, load) + np.eye(3)
    gain = cov[1, [0, 2]] @ np.linalg.inv(cov[np.ix_([0, 2], [0, 2])])
    np.testing.assert_allclose(x["mean"], [[0.5, gain @ [0.5, 1], 1], [0, 0, 0], [1, 2, 3]], atol=1e-12)
    np.testing.assert_allclose(x["cov"][0], np.diag([0, 5 - gain @ cov[[0, 2], 1], 0]), atol=1e-12)
    np.testing.assert_allclose(x["cov"][1], cov)
    np.testing.assert_allclose(b, [[0, 1], [0.7, 0.3], [1, 0]])


# ------------------------------------------------------------------------------------------ under mean-field


def test_one_factor_is_exact() -> None:
    """Classes and the cells missing under them in one factor: the bound is the log-likelihood, q the posterior."""
    case, model, data, _, truth = made("mixture with gaps")
    exact = model.fitter(K=2, max_iter=3, tol=0).fit(data, init=truth)
    factor = emdsl.compile(text=case.text, infer={"z": "meanfield"})
    bound = factor.fitter(K=2, max_iter=3, tol=0).fit(data, init=truth)
    np.testing.assert_allclose(bound.history_, exact.history_, rtol=1e-9)
    np.testing.assert_allclose(bound.posterior_["x"]["mean"], exact.posterior_["x"]["mean"], rtol=1e-6)


def test_a_bound_below_the_log_likelihood() -> None:
    """A random mean apart from the cells that are missing: below the evidence, and not far."""
    text = (
        "model Mean\nparam c : spd[D]\nlatent m ~ MvNormal(zeros(D), 10 * eye(D))\nfor n in N:\n"
        "    observed x[n] ~ MvNormal(m, c)\n"
    )
    rng = np.random.default_rng(4)
    x = incomplete.gaps(rng, incomplete.draw(rng, 30))
    c = {"c": incomplete.COV}
    exact, bound = (
        emdsl.compile(text=text, infer=infer).fitter(max_iter=0).fit({"x": x}, init=c)
        for infer in (None, {"m": "meanfield"})
    )
    whole = np.kron(np.ones((30, 30)), 10 * np.eye(3)) + np.kron(np.eye(30), incomplete.COV)
    assert exact.log_likelihood_ == pytest.approx(incomplete.dense(x, np.zeros(90), whole), rel=1e-10)
    assert exact.log_likelihood_ - 1 < bound.objective_ < exact.log_likelihood_
