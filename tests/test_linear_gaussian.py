"""Gallery models with Gaussian latents against the interpreter's log joint: it is quadratic in the latents, so that

    log p(x)  =  log p(x, v) at its maximum in v  +  (d log 2 pi - log det J) / 2

is exact. J and the maximum come from values of the log joint alone; classes are summed over one by one.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from gallery import compiled, fit, matrix, table
from scipy.linalg import solve_discrete_are
from scipy.special import logsumexp

import emdsl
from emdsl.fit.sizes import complete_sizes
from emdsl.runtime.fields.gaussian import gaussian_covariance, gaussian_mean

CLASSES = {"mixture_of_factor_analysers": ("z", 2), "growth_mixture": ("z", 2)}
RNG = np.random.default_rng(20)
GROUPS = {"G": "subject", "I": "row", "J": "column"}
Q = np.linalg.qr(RNG.normal(size=(3, 3)))[0]


def integrated(name: str, params: Any, data: Any, latents: dict[str, tuple[int, ...]], fixed: Any) -> Any:
    """log p(data) and the posterior mean, with these values of the classes."""
    ends = np.cumsum([0, *(int(np.prod(s)) for s in latents.values())])

    sizes = complete_sizes(
        compiled(name).resolved,
        {**params, **data},
        {n: int(np.max(data[k])) + 1 for n, k in GROUPS.items() if k in data},
    )

    def value(v: np.ndarray) -> float:
        parts = {n: v[a:b].reshape(s) for (n, s), a, b in zip(latents.items(), ends[:-1], ends[1:], strict=True)}
        return float(compiled(name).log_joint({**params, **data, **fixed, **parts}, sizes))

    d = int(ends[-1])
    zero, one = value(np.zeros(d)), np.eye(d)
    up, down = (np.array([value(s * e) for e in one]) for s in (1.0, -1.0))
    h, j = (up - down) / 2, np.diag(2 * zero - up - down)
    for a, b in product(range(d), range(d)):
        if a < b:
            j[a, b] = j[b, a] = up[a] + up[b] - zero - value(one[a] + one[b])
    mean = np.linalg.solve(j, h)
    return zero + h @ mean / 2 + (d * np.log(2 * np.pi) - np.linalg.slogdet(j)[1]) / 2, mean


def simulated(name: str) -> tuple[Any, Any, dict[str, tuple[int, ...]]]:
    """Parameters away from any M-step, data with gaps where the model has rows to lose, shapes of the latents."""
    rng = np.random.default_rng(9)
    x = rng.normal(size=(5, 3))
    plane = {"mean": rng.normal(size=3), "load": rng.normal(size=(3, 2))}
    y = rng.normal(size=9) * 3
    sets: dict[str, Any] = {
        "factor_analysis": ({**plane, "noise": np.array([0.5, 1.0, 2.0])}, {"x": x}, {"y": (5, 2)}),
        "probabilistic_pca": ({**plane, "load": plane["load"][:, :1], "s2": 0.7}, {"x": x}, {"y": (5, 1)}),
        "measurement_error": (
            {"mean": 0.5, "s2": 2.0, "a": 1.0, "b": -0.7, "s2_x": 0.4, "s2_y": 0.9},
            {"x": rng.normal(size=(6, 2)), "y": rng.normal(size=6)}, {"truth": (6,)}),
        "random_intercepts": (
            {"beta": np.array([1.0, -0.5]), "s2_b": 1.3, "s2": 0.6},
            {"X": rng.normal(size=(9, 2)), "subject": np.arange(9) % 4, "y": y}, {"b": (4,)}),
        "random_slopes": (
            {"beta": np.array([1.0, -0.5]), "cov": np.array([[1.3, 0.4], [0.4, 0.8]]), "s2": 0.6},
            {"day": np.arange(9.0), "subject": np.arange(9) % 4, "y": y}, {"b": (4, 2)}),
        "crossed_effects": (
            {"mean": 0.4, "s2_u": 1.5, "s2_v": 0.7, "s2": 0.5},
            {"row": np.arange(9) % 4, "column": np.arange(9) // 3, "y": y}, {"u": (4,), "v": (3,)}),
        "local_level": (
            {"noise": 1.5, "drift": 0.6}, {"start": 0.5, "start_s2": 4.0, "flow": y}, {"level": (9,)}),
        "structural_series": (
            {"noise": 0.7, "drift": 0.5, "bend": 0.1, "turn": 0.2}, {"start": 0.5, "spread": 3.0, "y": y},
            {"level": (9,), "slope": (9,), "season": (9,)}),
        "linear_dynamical_system": (
            {"A": np.array([[0.8, 0.3], [-0.2, 0.7]]), "C": rng.normal(size=(3, 2)), "start": np.array([1.0, -1.0]),
             "noise": np.array([0.5, 0.8, 1.1])}, {"x": x}, {"h": (5, 2)}),
        "dynamic_factors": (
            {**plane, "A": np.array([[0.8, 0.3], [-0.2, 0.7]]), "noise": np.array([0.5, 0.8, 1.1])},
            {"x": x}, {"f": (5, 2)}),
        "mixture_of_factor_analysers": (
            {"weights": np.array([0.3, 0.7]), "mean": rng.normal(size=(2, 3)), "load": rng.normal(size=(2, 3, 1)),
             "noise": np.array([0.5, 1.0, 2.0])}, {"x": x[:3]}, {"y": (3, 1)}),
        "growth_mixture": (
            {"weights": np.array([0.3, 0.7]), "mean": rng.normal(size=(2, 2)),
             "cov": np.array([[1.3, 0.4], [0.4, 0.8]]), "s2": 0.5},
            {"day": rng.normal(size=(3, 4)), "y": rng.normal(size=(3, 4))}, {"b": (3, 2)}),
    }  # fmt: skip
    return sets[name]


NAMES = (
    "factor_analysis", "probabilistic_pca", "measurement_error", "random_intercepts", "random_slopes",
    "crossed_effects", "local_level", "structural_series", "linear_dynamical_system", "dynamic_factors",
    "mixture_of_factor_analysers", "growth_mixture",
)  # fmt: skip


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", NAMES)
def test_log_likelihood_and_means(name: str) -> None:
    params, data, latents = simulated(name)
    est = fit(name, data, init=params, max_iter=0)
    if name not in CLASSES:
        value, mean = integrated(name, params, data, latents, {})
    else:
        z, levels = CLASSES[name]
        rows = next(iter(latents.values()))[0]
        each = [integrated(name, params, data, latents, {z: np.array(c)}) for c in product(range(levels), repeat=rows)]
        value = logsumexp([v for v, _ in each])
        mean = sum(np.exp(v - value) * at for v, at in each)
    assert est.log_likelihood_ == pytest.approx(value, rel=1e-10)
    found = np.concatenate([np.ravel(est.posterior_[n]["mean"]) for n in latents])
    np.testing.assert_allclose(found, mean, rtol=1e-8, atol=1e-9)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", NAMES)
def test_no_step_falls(name: str) -> None:
    """Four steps of EM: none falls, and what is reported is true of the parameters that are reported."""
    params, data, _ = simulated(name)
    steps = fit(name, data, init=params, max_iter=4, tol=0)
    assert (np.diff(steps.history_) > -1e-9).all()
    again = fit(name, data, init=steps.params_, max_iter=0)
    assert steps.log_likelihood_ == pytest.approx(again.log_likelihood_, rel=1e-11)


@pytest.mark.parametrize("alike", [True, False])
@pytest.mark.parametrize("plates", [(6,), (2, 3)])
def test_one_precision_for_all_rows_or_one_for_each(alike: bool, plates: tuple[int, ...]) -> None:
    rng = np.random.default_rng(2)
    half = rng.normal(size=(2, 2, *(np.ones_like(plates) if alike else plates))) * 0.2
    a = np.broadcast_to(half - 2 * np.eye(2).reshape(2, 2, *np.ones_like(plates)), (2, 2, *plates))
    h = rng.normal(size=(2, *plates))
    cov, log_det = gaussian_covariance([[a]], (0, [1], len(plates)))
    (mean,), log_z = gaussian_mean(cov, log_det, [h], (0, [1], len(plates)))
    for at in np.ndindex(plates):
        j = -(a[:, :, *at] + a[:, :, *at].T)
        v = np.linalg.inv(j)
        np.testing.assert_allclose(cov[0][0][:, :, *at], v, rtol=1e-12)
        np.testing.assert_allclose(mean[:, *at], v @ h[:, *at], rtol=1e-12)
        value = (h[:, *at] @ v @ h[:, *at] + 2 * np.log(2 * np.pi) - np.linalg.slogdet(j)[1]) / 2
        assert log_z[at] == pytest.approx(value, rel=1e-12)


# ------------------------------------------------------------------------------------------ numbers of others


def test_sleep_study() -> None:
    """lme4's maximum likelihood for reaction times on days, intercept and slope by subject."""
    sleep = table("sleepstudy")
    subject = np.unique(sleep["Subject"], return_inverse=True)[1]
    est = fit("random_slopes", {"y": sleep["Reaction"], "day": sleep["Days"], "subject": subject})
    assert est.log_likelihood_ == pytest.approx(-875.9696722, abs=1e-6)
    np.testing.assert_allclose(est.params_["beta"], [251.4051048, 10.4672860], rtol=1e-8)
    np.testing.assert_allclose(est.params_["cov"], [[565.5, 11.06], [11.06, 32.68]], rtol=2e-3)
    assert est.params_["s2"] == pytest.approx(654.94, abs=0.01)


def test_sleep_study_with_intercepts_alone() -> None:
    """A balanced table's maximum is in closed form: mean squares between and within (Searle 1992, ch. 4)."""
    sleep = table("sleepstudy")
    y, day = sleep["Reaction"].reshape(18, 10), sleep["Days"].reshape(18, 10)
    X = np.stack([np.ones(180), day.ravel()], 1)
    subject = np.repeat(np.arange(18), 10)
    est = fit("random_intercepts", {"y": y.ravel(), "X": X, "subject": subject})
    beta = np.linalg.lstsq(X, y.ravel(), rcond=None)[0]
    error = (y.ravel() - X @ beta).reshape(18, 10)
    within = ((error - error.mean(1, keepdims=True)) ** 2).sum() / (180 - 18)
    between = (error.mean(1) ** 2).mean() - within / 10
    np.testing.assert_allclose(est.params_["beta"], beta, rtol=1e-9)
    np.testing.assert_allclose([est.params_["s2"], est.params_["s2_b"]], [within, between], rtol=1e-6)
    assert est.log_likelihood_ == pytest.approx(-897.0393, abs=1e-4)


def test_nile() -> None:
    """A level from N(1120, 1e4). What a fit reports is the density of all hundred years, -638.242660 at the published
    variances; less that of the first year it is the published -632.25370. The maximum of the former is elsewhere."""
    flow = table("nile")["flow"].astype(float)
    given = {"flow": flow, "start": 1120.0, "start_s2": 1e4}
    at = fit("local_level", given, init={"noise": 15337.42, "drift": 1372.38}, max_iter=0)
    first = -0.5 * np.log(2 * np.pi * (1e4 + 15337.42))
    assert at.log_likelihood_ == pytest.approx(-638.242660, abs=1e-6)
    assert at.log_likelihood_ - first == pytest.approx(-632.25370, abs=2e-5)
    est = fit("local_level", given)
    assert est.log_likelihood_ == pytest.approx(-638.24071, abs=1e-5)
    assert [float(est.params_[n]) for n in ("noise", "drift")] == pytest.approx([15139.96, 1419.06], rel=1e-4)
    t = np.arange(100)

    def dense(noise: float, drift: float) -> float:
        cov = 1e4 + drift * np.minimum.outer(t, t) + noise * np.eye(100)
        e = flow - 1120
        return float(-0.5 * (100 * np.log(2 * np.pi) + np.linalg.slogdet(cov)[1] + e @ np.linalg.solve(cov, e)))

    noise, drift = (float(est.params_[n]) for n in ("noise", "drift"))
    assert est.log_likelihood_ == pytest.approx(dense(noise, drift), rel=1e-12)
    for s, r in product((0.98, 1.0, 1.02), repeat=2):
        assert dense(noise * s, drift * r) <= est.log_likelihood_ + 1e-9


def test_one_dynamic_factor() -> None:
    """The maximum that statsmodels 0.15 finds by BFGS (DynamicFactor, one factor that starts at N(0, 1)); and the dense
    Gaussian likelihood at our parameters."""
    rng = np.random.default_rng(12)
    factor = rng.normal(size=50)
    for t in range(1, 50):
        factor[t] += 0.6 * factor[t - 1]
    x = np.round(np.array([1, -2, 3]) + np.outer(factor, [1.2, -0.8, 1.0]) + rng.normal(size=(50, 3)), 2)
    est = fit("dynamic_factors", {"x": x}, Q=1, tol=1e-11, max_iter=1000)
    assert est.log_likelihood_ == pytest.approx(-239.7996998, abs=1e-6)
    p = est.params_
    a = float(p["A"][0, 0])
    assert a == pytest.approx(0.6977, abs=1e-4)
    np.testing.assert_allclose(p["load"][:, 0] * np.sign(p["load"][0, 0]), [1.1528, -0.6081, 0.6465], atol=2e-4)
    np.testing.assert_allclose(p["noise"], [0.3814, 1.3262, 1.0466], atol=2e-4)
    steps = np.linalg.inv(np.eye(50) - a * np.eye(50, k=-1))
    cov = np.kron(steps @ steps.T, p["load"] @ p["load"].T) + np.kron(np.eye(50), np.diag(p["noise"]))
    e = (x - p["mean"]).ravel()
    value = -0.5 * (150 * np.log(2 * np.pi) + np.linalg.slogdet(cov)[1] + e @ np.linalg.solve(cov, e))
    assert est.log_likelihood_ == pytest.approx(value, rel=1e-12)


def test_covariances_over_a_hundred_thousand_steps() -> None:
    """Symmetric positive definite at every step; far from both ends, what two Riccati equations settle at say it is."""
    a, c = np.array([[0.95, 0.3], [-0.2, 0.9]]), np.array([[1.0, 0.5]])
    params = {"A": a, "C": c, "start": np.zeros(2), "noise": np.array([0.5])}
    x = np.random.default_rng(0).normal(size=(100_000, 1))
    cov = fit("linear_dynamical_system", {"x": x}, init=params, max_iter=0).posterior_["h"]["cov"]
    np.testing.assert_allclose(cov, cov.swapaxes(1, 2), rtol=1e-12)
    assert (cov[:, 0, 0] > 0).all() and (np.linalg.det(cov) > 0).all()
    predicted = solve_discrete_are(a.T, c.T, np.eye(2), np.array([[0.5]]))  # given what came before
    seen = c.T @ c / 0.5
    filtered = np.linalg.inv(np.linalg.inv(predicted) + seen)
    later = np.zeros((2, 2))  # the precision that what comes after brings
    for _ in range(500):
        later = a.T @ np.linalg.solve(np.eye(2) + later + seen, later + seen) @ a
    middle = np.linalg.inv(np.linalg.inv(filtered) + later)
    np.testing.assert_allclose(cov[1000:-1000], np.broadcast_to(middle, (98_000, 2, 2)), rtol=1e-10)


def test_principal_components_in_closed_form() -> None:
    """Tipping and Bishop (1999), equations 7 and 8: the noise is the mean of the eigenvalues left out."""
    x = matrix("stackloss", "air_flow", "water_temp", "loss")
    est = fit("probabilistic_pca", {"x": x})
    n, d = x.shape
    values = np.linalg.eigvalsh(np.cov(x.T, bias=True))[::-1]
    s2 = values[1:].mean()
    value = -n / 2 * (d * np.log(2 * np.pi) + np.log(values[0]) + (d - 1) * np.log(s2) + d)
    assert est.log_likelihood_ == pytest.approx(value, abs=1e-7)
    assert est.params_["s2"] == pytest.approx(s2, rel=1e-5)


def test_one_factor_of_three_coordinates_is_any_covariance() -> None:
    rng = np.random.default_rng(4)
    x = rng.normal(size=(200, 1)) @ [[1.0, 0.8, 1.2]] + rng.normal(size=(200, 3)) @ np.diag([0.7, 0.9, 0.8]) @ Q * 0.4
    x += rng.normal(size=(200, 3))
    est = fit("factor_analysis", {"x": x}, Q=1)
    s = np.cov(x.T, bias=True)
    value = -100 * (3 * np.log(2 * np.pi) + np.linalg.slogdet(s)[1] + 3)
    assert est.log_likelihood_ == pytest.approx(value, abs=1e-6)
    implied = est.params_["load"] @ est.params_["load"].T + np.diag(est.params_["noise"])
    np.testing.assert_allclose(implied, s, rtol=1e-3)


def test_a_start_in_the_data_s_units() -> None:
    """Noise that is known to be large explains everything from a scale of 1, where EM would stand still."""
    text = """
    model M
    param mu : real
    param tau : positive
    for g in G:
        latent b[g] ~ Normal(mu, tau)
    for n in N:
        given group[n] : index[G]
        observed y[n] ~ Normal(b[group[n]], 800)
    """
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(40), 5)
    y = rng.normal(rng.normal(0, 1000, 40)[group], 800)
    model = emdsl.compile(text=text)
    est = model.fitter().fit({"group": group, "y": y})
    between = y.reshape(40, 5).mean(1).var()  # balanced: the maximum is in closed form (Searle 1992, ch. 4)
    assert est.params_["tau"] == pytest.approx(np.sqrt(between - 800**2 / 5), rel=1e-3)
    with pytest.warns(Warning, match="not converged"):  # steps of 1e-5 that grow are no convergence
        still = model.fitter(max_iter=15, init={"mu": 0.0, "tau": 1.0}).fit({"group": group, "y": y})
    assert still.params_["tau"] < 2 and np.diff(still.history_).max() < 1e-4


def test_little_noise_beside_crossed_effects() -> None:
    """Of the means the log-likelihood took up an error times their linear term: at a noise of 1e-4 it was off by 8."""
    row, column = np.arange(12) % 4, np.arange(12) // 4
    rng, noise = np.random.default_rng(5), 1e-4
    y = rng.normal(size=4)[row] + rng.normal(size=3)[column] + noise * rng.normal(size=12)
    text = """
        model Crossed
        param s : positive
        for i in I:
            latent u[i] ~ Normal(0, 1)
        for j in J:
            latent v[j] ~ Normal(0, 1)
        for n in N:
            given a[n] : index[I]
            given b[n] : index[J]
            observed y[n] ~ Normal(u[a[n]] + v[b[n]], s)
    """
    found = emdsl.compile(text=text).fitter(max_iter=0).fit({"y": y, "a": row, "b": column}, init={"s": noise})
    read = np.concatenate([np.eye(4)[row], np.eye(3)[column]], 1)
    basis, length, _ = np.linalg.svd(read)  # of 12 directions 6 hold effects, the others noise alone
    spread = np.full(12, noise**2)
    spread[:6] += length[:6] ** 2
    expected = -0.5 * ((basis.T @ y) ** 2 / spread + np.log(2 * np.pi * spread)).sum()
    assert found.log_likelihood_ == pytest.approx(expected, abs=1e-5)


def test_starts_of_a_tree_go_on_while_they_may_overtake() -> None:
    """Six steps from each start do not tell: a tree that grows (a > 1) was kept, 3 and 4 below one that does not."""
    model = emdsl.compile(
        text="""
        model Tree
        param a : real
        param q : positive
        param m : real
        param e : positive
        for i in I:
            given parent[i] : index[I]
            latent h[i] ~ Normal(m, 2*q) if i == 0 else Normal(m + a * (h[parent[i]] - m), q)
            observed y[i] ~ Normal(h[i], e)
    """
    )
    truth = {"a": 0.8, "q": 0.7, "m": 1.0, "e": 0.5}
    for count, seed in ((120, 6), (200, 2)):
        parent = np.array([0, *((i - 1) // 3 for i in range(1, count))])
        drawn = model.sample(truth, {"I": count}, seed, {"parent": parent})
        data = {"parent": parent, "y": drawn["y"]}
        best = model.fitter().fit(data, init=truth).log_likelihood_
        assert model.fitter(seed=0).fit(data).log_likelihood_ > best - 1e-3
