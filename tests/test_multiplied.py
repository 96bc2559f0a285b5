"""Linear Gaussian models whose noises are far apart, or 0: solved with a multiplier for each density."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import multivariate_normal

import emdsl
from emdsl.fit import rounded
from emdsl.runtime.fitting import rounding

pytestmark = pytest.mark.filterwarnings("ignore::emdsl.runtime.data.faults.ConvergenceWarning")

SYSTEM = """
model System
param A : real[2, 2]
param C : real[D, 2]
param Q : spd[2]
param R : spd[D]
for t in T:
    latent h[t] ~ MvNormal(zeros(2), eye(2)) if t == 0 else MvNormal(A @ h[t-1], Q)
    observed x[t] ~ MvNormal(C @ h[t], R)
"""


def filtered(x: Any, A: Any, C: Any, Q: Any, R: Any) -> tuple[float, Any, Any]:
    """log p(x), and the last state given all of x: the Kalman filter in covariances (Joseph's form)."""
    m, P, total = np.zeros(2), np.eye(2), 0.0
    for t, row in enumerate(x):
        m, P = (m, P) if t == 0 else (A @ m, A @ P @ A.T + Q)
        at = np.flatnonzero(~np.isnan(row))
        if len(at):
            c, r = C[at], R[np.ix_(at, at)]
            S = c @ P @ c.T + r
            total += multivariate_normal.logpdf(row[at], c @ m, S, allow_singular=True)
            K = np.linalg.solve(S, c @ P).T
            off = np.eye(2) - K @ c
            m, P = m + K @ (row[at] - c @ m), off @ P @ off.T + K @ r @ K.T
    return total, m, P


@pytest.mark.parametrize(
    ("q", "r"),
    [((1e-2, 1e-12), 1.0), ((1e-12, 1e-2), 1.0), ((1e-12, 1e-2), 1e-6), ((1e-16, 1e2), 1.0), ((1e-12, 1e-12), 1.0),
     ((1.0, 1.0), 1e-12), ((1e-2, 1e-2), 1e-16), ((1e-16, 1e-4), 1e-8), ((1e-14, 1e-14), 1.0)],
)  # fmt: skip
def test_noises_far_apart(q: tuple[float, float], r: float) -> None:
    """(1e-2, 1e-2, 1e-16) had a log-likelihood of 5120 for 1464 over 2000 rows."""
    rng, steps = np.random.default_rng(4), 250
    A, C = np.array([[0.9, 0.3], [0.0, 0.95]]), np.array([[1.0, 0.0]])
    h, x = np.zeros(2), np.empty((steps, 1))
    for row in x:
        h = A @ h + np.sqrt(q) * rng.normal(size=2)
        row[:] = C @ h + np.sqrt(r) * rng.normal(size=1)
    start = {"A": A, "C": C, "Q": np.diag(q), "R": np.array([[r]])}
    found = MODELS["system"].fitter(max_iter=0, init=start).fit({"x": x})
    value, mean, cov = filtered(x, **start)
    assert found.log_likelihood_ == pytest.approx(value, rel=1e-8)
    sd, posterior = np.sqrt(cov.diagonal()), found.posterior_["h"]
    np.testing.assert_allclose(posterior["mean"][-1] / sd, mean / sd, rtol=1e-6, atol=1e-6)
    if r > 1e-10:
        np.testing.assert_allclose(posterior["cov"][-1] / np.outer(sd, sd), cov / np.outer(sd, sd), atol=1e-9)
    unit = np.sqrt(np.einsum("tii->ti", posterior["cov"]))
    assert np.linalg.eigvalsh(posterior["cov"] / (unit[:, :, None] * unit[:, None])).min() > -1e-12


def test_noises_far_apart_beside_missing_cells() -> None:
    rng, steps = np.random.default_rng(6), 100
    A, C = np.array([[0.9, 0.3], [0.0, 0.95]]), np.array([[1.0, 0.0], [0.5, 1.0]])
    x = np.where(rng.uniform(size=(steps, 2)) < 0.2, np.nan, rng.normal(size=(steps, 2)))
    start = {"A": A, "C": C, "Q": np.diag([1e-12, 1e-2]), "R": np.array([[1.0, 0.3], [0.3, 1.0]])}
    found = MODELS["system"].fitter(max_iter=1, init=start).fit({"x": x})
    assert found.history_[0] == pytest.approx(filtered(x, **start)[0], rel=1e-9)
    assert found.log_likelihood_ == pytest.approx(filtered(x, **found.params_)[0], rel=1e-9)


PANEL = """
model Panel
param q : positive
param m : real
for i in I:
    for t in T{}:
        latent a[i, t] ~ Normal(m, 1) if t == 0 else Normal(0.9 * a[i, t-1], sd = q)
        observed y[i, t] ~ Normal(a[i, t], 0.5)
"""
OTHERS = {
    "panel": PANEL.format(""),
    "ragged": PANEL.format("[i]"),
    "trend": """
model Trend
param s : positive
param C : real[2, 1]
for t in T:
    latent l[t] ~ Normal(0, 10) if t == 0 else Normal(l[t-1] + b[t-1], var = s)
    latent b[t] ~ Normal(0, 1) if t < 2 else Normal(0.5 * b[t-1] + 0.2 * b[t-2], var = 0.2)
    observed y[t] ~ MvNormal(C @ [l[t]], precision = 2 * eye(2))
""",
    "tree": """
model Tree
param s : positive
param q : positive[2]
for i in I:
    given parent[i] : index[I]
    latent a[i] : real[2] ~ MvNormal([0, 0], eye(2)) if i == 0 else MvNormal(a[parent[i]], diag(q))
    observed y[i] ~ Normal(a[i, 0] - a[i, 1], s)
""",
    "crossed": """
model Crossed
param s : positive
param u : positive
param m : real
for i in I:
    latent a[i] ~ Normal(0, u)
for j in J:
    latent b[j] ~ Normal(m, 1)
for n in N:
    given g[n] : index[I]
    given h[n] : index[J]
    observed y[n] ~ Normal(a[g[n]] + b[h[n]], s)
""",
}
MODELS = {name: emdsl.compile(text=text) for name, text in {"system": SYSTEM, **OTHERS}.items()}
NUMBERS = np.random.default_rng(5).normal(size=24)
DATA: dict[str, dict[str, Any]] = {
    "system": {"x": np.where(np.arange(24) % 5 == 3, np.nan, NUMBERS).reshape(12, 2)},
    "panel": {"y": np.where(np.arange(24) % 5 == 3, np.nan, NUMBERS).reshape(4, 6)},
    "ragged": {"y": [NUMBERS[:3], NUMBERS[:0], NUMBERS[3:4], NUMBERS[4:9]]},
    "trend": {"y": NUMBERS.reshape(12, 2)},
    "tree": {"y": NUMBERS[:8], "parent": [0, 0, 0, 1, 1, 3, 2, 5]},
    "crossed": {"y": NUMBERS[:9], "g": [0, 1, 2, 0, 1, 2, 0, 1, 2], "h": [0, 0, 1, 1, 1, 0, 0, 1, 0]},
}


@pytest.mark.parametrize("name", DATA)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_either_form_takes_the_same_steps(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gaps leave multipliers idle; parts, pieces and statistics are those of the plain field."""
    plain, other = (MODELS[name].fitter(max_iter=2, tol=0, seed=1) for _ in range(2))
    plain.as_printed = True
    if name == "system":
        DATA[name]["x"][3] = np.nan
    plain.fit(DATA[name])
    for module in (rounding, rounded):
        monkeypatch.setattr(module, "DOUBTFUL", -1.0)
    other.fit(DATA[name])
    assert other._variant.multiplied and not plain._variant.multiplied
    np.testing.assert_allclose(other.history_, plain.history_, rtol=1e-11)
    if name in ("panel", "ragged"):
        np.testing.assert_allclose(other.score_samples(DATA[name]), plain.score_samples(DATA[name]), atol=1e-11)


def test_variances_that_are_given_as_0() -> None:
    text = """
    model Held
    param s : positive
    for t in T:
        given v[t] : real(min = 0)
        latent a[t] ~ Normal(0, 1) if t == 0 else Normal(a[t-1], var = v[t])
        observed y[t] ~ Normal(a[t], s)
    """
    y, v = NUMBERS[:8], np.array([1, 0, 0.5, 0, 0, 1e-14, 2, 0.1])
    known = np.cumsum([1, *v[1:]])
    found = emdsl.compile(text=text).fitter(max_iter=3, tol=0, init={"s": 0.7}).fit({"y": y, "v": v})
    cov = np.minimum.outer(known, known)
    for s, value in ((0.7, found.history_[0]), (found.params_["s"], found.log_likelihood_)):
        assert value == pytest.approx(multivariate_normal.logpdf(y, np.zeros(8), cov + s**2 * np.eye(8)), abs=1e-12)
    assert found.posterior_["a"]["mean"][4] == pytest.approx(found.posterior_["a"]["mean"][3], rel=1e-12)


def test_crossed_effects_in_one_wide_block_stay_as_they_are() -> None:
    """Pivots in a block of all rows took 4000 times as long, for digits that nobody misses."""
    rng = np.random.default_rng(7)
    g, h = rng.integers(0, 30, 300), rng.integers(0, 20, 300)
    y = rng.normal(size=30)[g] + rng.normal(size=20)[h] + 0.01 * rng.normal(size=300)
    fit = MODELS["crossed"].fitter(max_iter=0, init={"s": 0.01, "u": 1.0, "m": 0.0})
    fit.fit({"y": y, "g": g, "h": h})
    assert not fit._variant.multiplied
    cov = (g[:, None] == g) * 1.0 + (h[:, None] == h) + 1e-4 * np.eye(300)
    assert fit.log_likelihood_ == pytest.approx(multivariate_normal.logpdf(y, np.zeros(300), cov), rel=1e-8)


META = """
model Meta
param m : real
param t2 : positive
for n in N:
    given se[n] : real(min = 0)
    latent b[n] ~ Normal(m, var = t2)
    observed y[n] ~ Normal(b[n], se[n])
"""
FACTORS = """
model Factors
size K = 2
size Q = 2
param pi : simplex[K]
param load : real[K, D, Q]
param noise : positive[D]
for n in N:
    latent z[n] ~ Categorical(pi)
    latent f[n] : real[Q] ~ MvNormal(zeros(Q), eye(Q))
    observed x[n] ~ MvNormal(load[z[n]] @ f[n], diag(noise))
"""
CLASSES = """
model Classes
size K = 2
param pi : simplex[K]
param q : positive[K]
param r : positive
for i in I:
    latent z[i] ~ Categorical(pi)
    for t in T:
        latent a[i, t] ~ Normal(0, 1) if t == 0 else Normal(a[i, t-1], var = q[z[i]])
        observed y[i, t] ~ Normal(a[i, t], var = r)
"""
REPEATED = """
model Repeated
param t2 : positive
param s2 : positive
for j in G:
    latent b[j] ~ Normal(0, var = t2)
for n in N:
    given g[n] : index[G]
    observed y[n] ~ Normal(b[g[n]], var = s2)
"""


def log_normal(x: Any, cov: Any) -> float:
    return float(multivariate_normal.logpdf(x, np.zeros(len(x)), cov))


def walk(q: float, steps: int) -> Any:
    return 1 + q * np.minimum.outer(np.arange(steps), np.arange(steps))


@pytest.mark.parametrize("se", [1e-9, 1e-12, 0.0, 1e-160])
def test_data_far_more_exact_than_what_they_are_of(se: float, tmp_path: Any) -> None:
    """se = 1e-9 had a log-likelihood of 500 for -13, and a variance of 1e-16 for 1e-18; with 0 nothing was a number."""
    known = np.where(np.arange(8) % 3 == 0, se, 0.5)
    data, start = {"y": NUMBERS[:8] + 2, "se": known}, {"m": 2.0, "t2": 1.5}
    with pytest.warns(UserWarning, match="max_iter"):
        found = emdsl.compile(text=META).fitter(max_iter=0, init=start).fit(data)
    var = 1.5 + known**2
    assert found.log_likelihood_ == pytest.approx(log_normal(NUMBERS[:8], np.diag(var)), rel=1e-13)
    np.testing.assert_allclose(found.posterior_["b"]["var"], 1.5 * known**2 / var, rtol=1e-13, atol=1e-300)
    found.save(tmp_path / "fit.json")
    assert emdsl.load(tmp_path / "fit.json").score_samples(data).sum() == pytest.approx(
        found.log_likelihood_, rel=1e-13
    )


@pytest.mark.parametrize("noise", [1e-8, 1e-12, 1e-16])
def test_a_tiny_noise_of_factors_under_classes(noise: float) -> None:
    """2e5 times the log-likelihood at 1e-12."""
    rng = np.random.default_rng(3)
    load, psi = rng.normal(size=(2, 4, 2)), np.array([noise, 0.5, 1.0, 2.0])
    start = {"pi": np.array([0.4, 0.6]), "load": load, "noise": psi}
    x = rng.normal(size=(5, 4))
    found = emdsl.compile(text=FACTORS).fitter(max_iter=0, init=start).fit({"x": x})
    each = [[np.log(p) + log_normal(row, a @ a.T + np.diag(psi)) for p, a in zip((0.4, 0.6), load, strict=True)]
            for row in x]  # fmt: skip
    assert found.log_likelihood_ == pytest.approx(np.logaddexp.reduce(each, 1).sum(), rel=1e-12)


@pytest.mark.parametrize("q", [1e-12, 1e-20])
def test_a_tiny_drift_of_one_class(q: float) -> None:
    """2e-6 off at 1e-12; with 1e-20 no fit began."""
    y, start = NUMBERS.reshape(3, 8), {"pi": np.array([0.4, 0.6]), "q": np.array([q, 1.0]), "r": 1.0}
    found = emdsl.compile(text=CLASSES).fitter(max_iter=0, init=start).fit({"y": y})
    each = [[np.log(p) + log_normal(row, walk(s, 8) + np.eye(8)) for p, s in ((0.4, q), (0.6, 1.0))] for row in y]
    assert found.log_likelihood_ == pytest.approx(np.logaddexp.reduce(each, 1).sum(), rel=1e-12)


def test_a_tiny_drift_of_rows_with_weights() -> None:
    """1e-5 off: with weights there was no second form."""
    y, weights = NUMBERS.reshape(3, 8), np.array([1.0, 3.0, 1e-12])
    text = CLASSES.replace("size K = 2\n", "").replace("param pi : simplex[K]\n", "").replace("positive[K]", "positive")
    text = text.replace("    latent z[i] ~ Categorical(pi)\n", "").replace("q[z[i]]", "q")
    found = (
        emdsl.compile(text=text).fitter(max_iter=0, init={"q": 1e-14, "r": 1.0}).fit({"y": y}, sample_weight=weights)
    )
    value = weights @ [log_normal(row, walk(1e-14, 8) + np.eye(8)) for row in y]
    assert found.log_likelihood_ == pytest.approx(value, rel=1e-12)


def test_a_variance_of_almost_0_is_told_exactly_and_its_next_step_is_in_doubt() -> None:
    data = {"y": NUMBERS[:12], "g": np.arange(12) % 3}
    found = emdsl.compile(text=REPEATED).fitter(max_iter=0, init={"t2": 1e-30, "s2": 1.0}).fit(data)
    assert found.log_likelihood_ == pytest.approx(log_normal(NUMBERS[:12], np.eye(12)), rel=1e-13)
    np.testing.assert_allclose(found.posterior_["b"]["var"], 1e-30, rtol=1e-12)
    for s, doubt in ((1e-14, True), (1.0, False)):
        trend = MODELS["trend"].fitter(max_iter=0, init={"s": s, "C": np.ones((2, 1))}).fit(DATA["trend"])
        assert ("rounding: the next step of a tiny scale" in trend.message_) == doubt


@pytest.mark.parametrize("s2", [1e-12, 1e-6])
def test_rows_with_weights_inside_a_part(s2: float) -> None:
    """A density to the power w is N(r; 0, s2 / w) but for what lacks r: 2e-6 off at 1e-12."""
    g, w = np.arange(6) % 2, np.array([1.0, 2.0, 0.5, 1e-3, 4.0, 3.0])
    y = np.array([0.7, -1.1])[g] + np.sqrt(s2) * NUMBERS[:6]
    found = emdsl.compile(text=REPEATED).fitter(max_iter=0, init={"t2": 1.0, "s2": s2})
    found.fit({"y": y, "g": g}, sample_weight=w)
    value = -(w - 1).sum() / 2 * np.log(2 * np.pi * s2) - np.log(w).sum() / 2
    for j in (0, 1):  # about the weighted mean of a group, whose own variance is left
        own, at = w[g == j], y[g == j]
        mean, v = own @ at / own.sum(), 1.0 + s2 / own.sum()
        value += -0.5 * (own @ (at - mean) ** 2 / s2 + len(at) * np.log(2 * np.pi * s2) - np.log(own).sum())
        value += 0.5 * np.log(2 * np.pi * s2 / own.sum()) - 0.5 * (mean**2 / v + np.log(2 * np.pi * v))
    assert found.log_likelihood_ == pytest.approx(value, rel=1e-8)


def test_a_column_that_is_all_rounding_is_told() -> None:
    """b was 1e15, and the fit converged without a word."""
    text = """
    model Rounding
    param m : real
    param b : real
    param s : positive
    for n in N:
        given u[n] : real
        given v[n] : real
        observed y[n] ~ Normal(m + b * (u[n] + v[n]), s)
    """
    u = np.random.default_rng(0).normal(size=16)
    with pytest.warns(UserWarning, match="b moves by more than"):
        emdsl.compile(text=text).fitter(seed=0).fit({"y": NUMBERS[:16], "u": u, "v": (1 - u) - 1})


def test_a_polynomial_of_what_lies_far_off_is_told() -> None:
    """The last digit of a is 0.01 there: a log-likelihood was 0.008 off without a word."""
    text = """
    model Parabola
    param a : real
    param b : real
    param c : real
    param s : positive
    for n in N:
        given x[n] : real
        observed y[n] ~ Normal(a + b * x[n] + c * x[n]^2, s)
    """
    fit = emdsl.compile(text=text).fitter(seed=0)
    with pytest.warns(UserWarning, match="for the last digit of a"):
        fit.fit({"y": NUMBERS[:12] ** 2 + 0.1 * NUMBERS[12:], "x": 1e7 + NUMBERS[:12]})


def test_a_noise_that_another_latent_scales_keeps_its_form() -> None:
    """Where no form with multipliers is exact a fit has none to turn to: it ended in a refusal of the model."""
    text = """
    model Scaled
    param c : spd[2]
    for n in N:
        latent u[n] ~ Gamma(2, 2)
        observed x[n] ~ MvNormal(zeros(2), c / u[n])
    """
    x = np.where(np.arange(16) % 5 == 0, np.nan, NUMBERS[:16]).reshape(8, 2)
    assert np.isfinite(emdsl.compile(text=text).fitter(seed=0, max_iter=2).fit({"x": x}).log_likelihood_)


SLOPES = """
model Slopes
param m : real
param V : spd[2]
param s2 : positive
for k in G:
    latent b[k] ~ MvNormal([m, 0], V)
for n in N:
    given g[n] : index[G]
    given x[n] : real
    observed y[n] ~ Normal(b[g[n]][0] + b[g[n]][1] * x[n], var = s2)
"""


@pytest.mark.parametrize("off", [0.0, 300.0])
def test_effects_that_are_almost_one_whose_mean_is_written_out(off: float) -> None:
    """A log-likelihood was off by its own size at 1 - 1e-10: elements written one by one had no multipliers. What these
    leave of small variances beside large covariates is told."""
    g, x, rho = np.arange(12) % 3, off + NUMBERS[:12], 1 - 1e-10
    y, V = NUMBERS[12:] + 0.5 * x * NUMBERS[12:15][g], np.array([[1.0, 0.5 * rho], [0.5 * rho, 0.25]])
    fit = emdsl.compile(text=SLOPES).fitter(max_iter=0, init={"m": 3.0, "V": V, "s2": 1.0})
    fit.fit({"y": y, "g": g, "x": x})
    value, sizes = 0.0, []
    for k in range(3):
        at = g == k
        z = np.stack([np.ones(4), x[at]], 1)
        half = np.linalg.qr(np.concatenate([z @ np.linalg.cholesky(V), np.eye(2)]))[1]  # digits of small variances
        root = np.linalg.cholesky(V) @ np.linalg.inv(half)
        value += float(multivariate_normal.logpdf(y[at], np.full(4, 3.0), z @ V @ z.T + np.eye(4)))
        sizes.append((root**2).sum(1))
    assert fit.log_likelihood_ == pytest.approx(value, rel=1e-9)
    right = np.allclose(np.einsum("kii->ki", fit.posterior_["b"]["cov"]), sizes, rtol=1e-8)
    assert right or "variances of the posterior are known to" in fit.message_
