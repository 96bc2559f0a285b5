"""What holds for every compiled model, tried on the gallery: sums over rows, weights, order, scores, posteriors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cases import rows
from gallery import compiled, fit, matrix, table
from oracles import gaussian
from scipy import stats
from scipy.stats import norm

import emdsl
from emdsl.errors import EmdslError
from emdsl.runtime.data.faults import DegenerateFit

pytestmark = pytest.mark.filterwarnings("ignore::emdsl.runtime.data.faults.ConvergenceWarning")
RNG = np.random.default_rng(11)
CLOUD = np.concatenate([RNG.normal(0, 1, (25, 2)), RNG.normal(5, 1.5, (35, 2))])
ITEMS = (RNG.random((60, 5)) < np.where(np.arange(60)[:, None] < 25, 0.8, 0.3)).astype(int)
COUNTS = np.concatenate([np.zeros(20, int), RNG.poisson(3, 40)])
LINE = RNG.normal(size=60)

ROWWISE: dict[str, dict[str, Any]] = {
    "old_faithful": {"x": CLOUD},
    "tied_gaussian_mixture": {"x": CLOUD},
    "diagonal_gaussian_mixture": {"x": CLOUD},
    "poisson_mixture": {"y": COUNTS},
    "latent_classes": {"x": ITEMS},
    "genetic_linkage": {"phenotype": np.arange(60) % 4},
    "blood_groups": {"phenotype": np.arange(60) % 4},
    "zero_inflated_poisson": {"y": COUNTS},
    "negative_binomial": {"y": COUNTS},
    "student": {"x": LINE},
    "student_free_df": {"x": LINE},
    "robust_regression": {"X": CLOUD, "y": LINE},
    "mixture_of_regressions": {"x": CLOUD[:, 0], "y": LINE + CLOUD[:, 1]},
    "rayleigh_mixture": {"h": np.abs(CLOUD[:, 0]) + 0.1},
}


def take(data: dict[str, Any], rows: Any) -> dict[str, Any]:
    return {name: value[rows] for name, value in data.items()}


def same(left: Any, right: Any, tol: float = 1e-9) -> None:
    assert left.keys() == right.keys()
    for name in left:
        np.testing.assert_allclose(left[name], right[name], rtol=tol, atol=tol)


@pytest.mark.parametrize("name", ROWWISE)
def test_rows_are_a_sum(name: str) -> None:
    """Order, partition, weights and scores: what follows from the rows being independent."""
    data, model = ROWWISE[name], compiled(name)
    start = fit(name, data, max_iter=3, tol=0).params_
    options: dict[str, Any] = {"init": start, "max_iter": 4, "tol": 0}
    whole = fit(name, data, **options)
    order = np.random.default_rng(0).permutation(60)
    same(fit(name, take(data, order), **options).params_, whole.params_)

    weight = np.random.default_rng(1).integers(0, 3, 60)
    weighted = fit(name, data, weight=weight, **options)
    repeated = fit(name, take(data, np.repeat(np.arange(60), weight)), **options)
    same(weighted.params_, repeated.params_)
    assert weighted.log_likelihood_ == pytest.approx(repeated.log_likelihood_, rel=1e-10)

    rows = whole.score_samples(data)
    assert rows.shape == (60,)
    assert rows.sum() == pytest.approx(whole.log_likelihood_, rel=1e-10)
    assert whole.score(data) == pytest.approx(rows.mean(), rel=1e-12)
    np.testing.assert_allclose(whole.score_samples(take(data, order)), rows[order], rtol=1e-9)

    est = model.fitter()
    full = est.e_step(start, data)
    parts = [est.e_step(start, take(data, part)) for part in (slice(0, 17), slice(17, 60))]
    total = {key: parts[0][key] + parts[1][key] for key in full}
    est.e_step(start, data)
    same(est.m_step(total), est.m_step(full))
    same(est.m_step(full), fit(name, data, init=start, max_iter=1, tol=0).params_)


@pytest.mark.parametrize("name", ROWWISE)
def test_the_generated_module_is_deterministic(name: str) -> None:
    from gallery import MODELS

    assert emdsl.compile(str(MODELS / f"{name}.em")).source == compiled(name).source


def test_a_seed_is_a_fit() -> None:
    first, second = (fit("old_faithful", {"x": CLOUD}, seed=4, n_init=2, max_iter=20) for _ in range(2))
    assert {k: v.tobytes() for k, v in first.params_.items()} == {k: v.tobytes() for k, v in second.params_.items()}


def test_prediction() -> None:
    est = fit("old_faithful", {"x": CLOUD})
    p = est.predict_proba({"x": CLOUD})
    assert p.shape == (60, 2)
    np.testing.assert_allclose(p.sum(1), 1, rtol=1e-12)
    assert (est.predict({"x": CLOUD}) == p.argmax(1)).all()
    np.testing.assert_allclose(est.posterior_["z"], p)
    np.testing.assert_allclose(est.posterior({"x": CLOUD[:7]})["z"], p[:7])
    np.testing.assert_allclose(est.predict_proba(CLOUD), p)


def test_posterior_of_a_gamma() -> None:
    est = fit("student", {"x": table("newcomb")["x"]})
    z2 = (table("newcomb")["x"] - est.params_["mean"]) ** 2 / est.params_["s2"]
    u = est.posterior_["u"]
    np.testing.assert_allclose(u["mean"], 5 / (4 + z2), rtol=1e-9)
    np.testing.assert_allclose(u["shape"], np.full(66, 2.5))
    np.testing.assert_allclose(u["rate"], (4 + z2) / 2, rtol=1e-9)


def test_posterior_of_a_truth() -> None:
    data = {name: table("anaesthetists")[name] for name in ("patient", "observer", "label")}
    est = fit("dawid_skene", data, max_iter=200, tol=1e-8, n_init=3)
    p = est.posterior_["truth"]
    assert p.shape == (45, 4)
    log = np.tile(np.log(est.params_["prevalence"]), (45, 1))
    with np.errstate(divide="ignore"):
        each = np.log(est.params_["confusion"][data["observer"], :, data["label"]])
    np.add.at(log, data["patient"], each)
    expected = np.exp(log - np.logaddexp.reduce(log, axis=1, keepdims=True))
    np.testing.assert_allclose(p, expected, atol=1e-12)


def test_draws_are_recovered() -> None:
    truth = {"weights": np.array([0.3, 0.7]), "rate": np.array([2.0, 15.0])}
    drawn = compiled("poisson_mixture").sample(truth, {"N": 10_000}, 3)
    assert drawn["y"].shape == (10_000,) and drawn["z"].shape == (10_000,)
    est = fit("poisson_mixture", {"y": drawn["y"]}, tol=1e-10)
    order = np.argsort(est.params_["rate"])
    np.testing.assert_allclose(est.params_["rate"][order], truth["rate"], rtol=0.05)
    np.testing.assert_allclose(est.params_["weights"][order], truth["weights"], rtol=0.06)


def test_far_from_the_origin() -> None:
    """A shift of 1e8 moves the means and nothing else."""
    start = {"weights": np.ones(2) / 2, "mean": np.array([[0.0, 0.0], [5.0, 5.0]]), "cov": np.stack([np.eye(2)] * 2)}
    near = fit("old_faithful", {"x": CLOUD}, init=start, max_iter=30, tol=0)
    far = fit("old_faithful", {"x": CLOUD + 1e8}, init={**start, "mean": start["mean"] + 1e8}, max_iter=30, tol=0)
    np.testing.assert_allclose(far.params_["cov"], near.params_["cov"], rtol=1e-6)
    np.testing.assert_allclose(far.params_["mean"] - 1e8, near.params_["mean"], atol=1e-6)
    assert far.log_likelihood_ == pytest.approx(near.log_likelihood_, rel=1e-7)


def test_clusters_far_from_each_other() -> None:
    """Components 1e4 sd apart, so that no one origin suits both: each variance to seven digits.

    Squares are opened about one reference point, which costs (distance / sd)^2 roundings: at 1e7 sd apart
    nothing would be left (docs/decisions/0006).
    """
    low, high = CLOUD[:30], CLOUD[30:] + 1e4
    start = {"weights": np.ones(2) / 2, "mean": np.array([[0.0, 0.0], [1e4, 1e4]]), "cov": np.stack([np.eye(2)] * 2)}
    est = fit("old_faithful", {"x": np.concatenate([low, high])}, init=start, max_iter=5, tol=0)
    for k, part in enumerate((low, high)):
        np.testing.assert_allclose(est.params_["cov"][k], np.cov(part.T, bias=True), rtol=1e-7, atol=1e-8)
        np.testing.assert_allclose(est.params_["mean"][k], part.mean(0), rtol=1e-12, atol=1e-9)


def test_regression_far_from_the_origin() -> None:
    """Covariates at 1e7 with sd 1: the slope to nine digits, where opened squares kept three."""
    text = """
        model Line
        param a : real
        param b : real
        param s2 : positive
        for n in N:
            given x[n] : real
            observed y[n] ~ Normal(a + b * x[n], var = s2)
    """
    x = 1e7 + LINE
    y = 3.0 * LINE + CLOUD[:, 0]
    est = emdsl.compile(text=text).fitter(tol=1e-13).fit({"x": x, "y": y})
    centred = x - x.mean()
    slope = centred @ (y - y.mean()) / (centred @ centred)
    assert est.params_["b"] == pytest.approx(slope, rel=1e-8)
    assert est.params_["s2"] == pytest.approx(np.mean((y - y.mean() - slope * centred) ** 2), rel=1e-8)


SPHERICAL = """
    model Spherical
    size K = 2
    param weights : simplex[K]
    param mean[K] : real[D]
    param s2[K]   : positive
    for n in N:
        latent   z[n] ~ Categorical(weights)
        observed x[n] ~ MvNormal(mean[z[n]], s2[z[n]] * eye(D))
"""


def test_spherical_step_by_step() -> None:
    x = matrix("faithful", "eruptions", "waiting")[:80] + np.array([1e7, -1e7])
    start = {"weights": np.array([0.4, 0.6]), "mean": x[[0, 1]], "s2": np.array([30.0, 50.0])}
    path = gaussian.spherical(x, start, 25)
    est = emdsl.compile(text=SPHERICAL).fitter(max_iter=25, tol=0).fit({"x": x}, init=start)
    np.testing.assert_allclose(est.history_, path.history, rtol=1e-7)
    np.testing.assert_allclose(est.params_["s2"], path.params["s2"], rtol=1e-6)


# ------------------------------------------------------------------------------------------ collapse, by policy

SPIKE = {"x": np.concatenate([np.zeros(15), np.linspace(8, 12, 25)])[:, None]}
TO_THE_SPIKE = {"weights": np.ones(2) / 2, "mean": np.array([[0.0], [10.0]]), "sd": np.ones((2, 1))}


def collapsed(policy: str, **options: Any) -> Any:
    return fit("diagonal_gaussian_mixture", SPIKE, on_degenerate=policy, max_iter=200, tol=1e-8, **options)


def test_collapse_raises_and_says_what() -> None:
    with pytest.raises(DegenerateFit, match="sd"):
        collapsed("raise", init=TO_THE_SPIKE)


@pytest.mark.parametrize("policy", ["keep", "regularise"])
def test_collapse_is_repaired_and_told(policy: str) -> None:
    est = collapsed(policy, init=TO_THE_SPIKE)
    assert all(np.isfinite(value).all() for value in est.params_.values())
    assert np.isfinite(est.objective_) and policy in est.message_
    assert (est.params_["sd"] > 0).all()


def test_collapse_restarts_elsewhere() -> None:
    x = np.concatenate([np.linspace(0, 1, 20), np.linspace(8, 12, 25), [50.0]])[:, None]
    est = fit("diagonal_gaussian_mixture", {"x": x}, on_degenerate="restart", max_iter=200, tol=1e-8, seed=3)
    assert est.status_ in ("converged", "boundary", "degenerate")


def test_one_row_cannot_have_a_spread() -> None:
    with pytest.raises(DegenerateFit, match="cov"):
        fit("old_faithful", {"x": np.array([[1.0, 2.0]])}, K=1)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("declared", ["positive ~ Poisson", "unit ~ Bernoulli"])
def test_no_accidents_at_all(declared: str) -> None:
    """All counts zero: the rate is on the boundary, the likelihood 1, and the status says so; the data do tell it."""
    domain, family = declared.split(" ~ ")
    text = f"model M\nparam rate : {domain}\nfor n in N:\n    observed y[n] ~ {family}(rate)\n"
    est = emdsl.compile(text=text).fitter().fit({"y": np.zeros(9, int)})
    assert est.n_parameters_ == 1
    assert est.params_["rate"] == pytest.approx(0.0, abs=1e-12)
    assert est.log_likelihood_ == pytest.approx(0.0, abs=1e-9)
    assert est.status_ == "boundary"


CATEGORIES = """
    model Categories
    param w : simplex[2]
    param p[2] : simplex[3]
    for n in N:
        latent   z[n] ~ Categorical(w)
        observed y[n] ~ Categorical(p[z[n]])
"""


def test_zero_density_is_honest() -> None:
    """A row that no component can have made: an error that names the row, not a NaN."""
    start = {"w": np.ones(2) / 2, "p": np.array([[0.5, 0.5, 0.0], [0.2, 0.8, 0.0]])}
    with pytest.raises(EmdslError, match="row 2"):
        emdsl.compile(text=CATEGORIES).fitter().fit({"y": np.array([0, 1, 2, 1])}, init=start)


def test_a_fit_on_the_boundary_starts_another() -> None:
    """Items that everyone answers: the probability is 1, and `init=params_` takes it."""
    x = ITEMS.copy()
    x[:, 2] = 1
    est = fit("latent_classes", {"x": x}, tol=1e-10)
    np.testing.assert_allclose(est.params_["yes"][:, 2], 1.0, rtol=1e-12)
    again = fit("latent_classes", {"x": x}, init=est.params_, max_iter=0)
    assert again.history_[0] == pytest.approx(est.log_likelihood_, rel=1e-9)


def test_mixture_of_identical_starts_is_left() -> None:
    """A symmetric start is a saddle: the seeded starts must not be one, for every family with a default start."""
    for family, rate in (("Exponential", 1.0), ("Poisson", 5.0), ("Geometric", 0.3)):
        rng = np.random.default_rng(8)
        draw = {"Exponential": rng.exponential, "Poisson": rng.poisson, "Geometric": rng.geometric}[family]
        low, high = np.array([0.05, 0.9]) if family == "Geometric" else np.array([0.5, 12.0]) * rate
        y = np.concatenate([draw(low, 60), draw(high, 60)])
        domain = "unit" if family == "Geometric" else "positive"
        text = (
            f"model M\nparam w : simplex[2]\nparam a[2] : {domain}\nfor n in N:\n"
            f"    latent z[n] ~ Categorical(w)\n    observed y[n] ~ {family}(a[z[n]])\n"
        )
        est = emdsl.compile(text=text).fitter(seed=0, tol=1e-10, max_iter=5000).fit({"y": y})
        one = (
            emdsl.compile(text=text)
            .fitter(max_iter=0)
            .fit({"y": y}, init={"w": np.ones(2) / 2, "a": np.full(2, est.params_["w"] @ est.params_["a"])})
        )
        assert est.log_likelihood_ > one.log_likelihood_ + 5


def test_weights_are_checked() -> None:
    for weight in (-np.ones(60), np.full(60, np.nan), np.zeros(60), np.ones(59)):
        with pytest.raises(EmdslError):
            fit("poisson_mixture", {"y": COUNTS}, weight=weight)


def test_normal_and_its_numbers() -> None:
    """Maximum likelihood without a latent, in closed form: one iteration, textbook numbers."""
    text = "model M\nparam m : real\nparam s : positive\nfor n in N:\n    observed x[n] ~ Normal(m, s)\n"
    est = emdsl.compile(text=text).fitter().fit({"x": LINE})
    np.testing.assert_allclose([est.params_["m"], est.params_["s"]], [LINE.mean(), LINE.std()], rtol=1e-12)
    assert est.log_likelihood_ == pytest.approx(norm.logpdf(LINE, LINE.mean(), LINE.std()).sum(), rel=1e-12)
    assert est.n_parameters_ == 2 and est.converged_ and est.n_iter_ <= 2


def test_missing_labels_are_latents_of_their_rows() -> None:
    """A missing category that other data are indexed by has a posterior; without emdsl its module refuses it."""
    data, _ = rows._labels(np.random.default_rng(0))
    model = emdsl.compile(text=rows.LABELS)
    est = model.fitter(seed=0).fit(data)
    known = ~np.isnan(data["z"])
    assert est.posterior_["z"].shape == (len(known), 2)
    np.testing.assert_array_equal(est.posterior_["z"][known].argmax(1), data["z"][known])
    np.testing.assert_array_equal(est.posterior_["z"][known].max(1), 1.0)
    assert est.fit({**data, "z": np.where(known, data["z"], 0)}).posterior_ == {}  # all seen: no latent is left
    alone = next(c for n, c in vars(model.module).items() if n == "SomeLabels")
    with pytest.raises(ValueError, match=r"z: .* entries are missing"):
        alone(seed=0).fit(data)


def test_a_row_s_own_number_in_a_function_of_parameters() -> None:
    """One statistic for each row: from the second chunk of rows on they were added up in one another's places."""
    line = "observed y[t] ~ Poisson(a * exp(g * (t // 7) / 1000))"
    model = emdsl.compile(text=f"model Trend\nparam a : positive\nparam g : real\nfor t in T:\n    {line}")
    y = np.random.default_rng(2).poisson(3.0, 9000)
    rate = 2.5 * np.exp(0.3 * (np.arange(9000) // 7) / 1000)
    fit = model.fitter(max_iter=0, init={"a": 2.5, "g": 0.3}).fit(y)
    assert fit.log_likelihood_ == pytest.approx(stats.poisson.logpmf(y, rate).sum(), rel=1e-12)
