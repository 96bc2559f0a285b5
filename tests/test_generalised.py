"""M-steps by Newton over the data: derivatives against differences, optima against likelihoods written by hand."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from gallery import compiled, fit, table
from scipy import optimize, special, stats

import emdsl
from emdsl.runtime.numeric.ascent import FreeTable, ascend, low_step, newton_steps
from emdsl.runtime.numeric.preparation import MOST_ENTRIES, in_pieces, row_count

pytestmark = pytest.mark.filterwarnings("ignore::emdsl.runtime.data.faults.ConvergenceWarning")

N = 60
RNG = np.random.default_rng(11)
X = np.column_stack([np.ones(N), RNG.normal(size=(N, 2))])
U = X[:, :2]
GROUP = RNG.integers(0, 3, N)
SIDE = RNG.random(N) < 0.4
ETA = np.where(SIDE, X @ [0.5, 1.0, -1.0], X @ [2.0, -0.5, 0.3])
COUNTS = RNG.poisson(np.exp(ETA))
POSITIVE = RNG.gamma(2.0, np.exp(ETA) / 2)
SHARES = np.where(SIDE[:, None], RNG.dirichlet([1, 2, 3], N), RNG.dirichlet([8, 2, 1], N))
ANGLES = np.where(SIDE, RNG.vonmises(3.0, 6.0, N), RNG.vonmises(0.5, 3.0, N))  # one mode straddles the cut

ROWS = "model M\n{}\nfor n in N:\n    given X[n] : real[P]\n    given g[n] : index[G]\n    {}"
MIXED = (
    "model M\nsize K = 2\nparam w : simplex[K]\n{}\nfor n in N:\n    given X[n] : real[P]\n"
    "    latent z[n] ~ Categorical(w)\n    {}"
)

# name: (text, data, batch axes of the Hessian, whether it is a diagonal plus rank one)
TEXTS: dict[str, tuple[str, dict[str, Any], tuple[str, ...], bool]] = {
    "a Poisson regression by group": (
        ROWS.format("param b[G] : real[P]", "observed y[n] ~ Poisson(log_rate = X[n] @ b[g[n]])"),
        {"X": X, "g": GROUP, "y": COUNTS}, ("G",), False,
    ),
    "slopes shared, intercepts by group": (
        ROWS.format("param a[G] : real\nparam b : real[P]", "observed y[n] ~ Bernoulli(logit = a[g[n]] + X[n] @ b)"),
        {"X": X[:, 1:], "g": GROUP, "y": SIDE * 1}, (), False,
    ),
    "Gammas with a log link, side by side": (
        MIXED.format(
            "param s[K] : positive\nparam b[K] : real[P]",
            "observed y[n] ~ Gamma(s[z[n]], s[z[n]] / exp(X[n] @ b[z[n]]))",
        ),
        {"X": X, "y": POSITIVE}, ("K",), False,
    ),
    "a negative binomial regression": (
        ROWS.format(
            "param r : positive\nparam b : real[P]",
            "observed y[n] ~ NegativeBinomial(size = r, mean = exp(X[n] @ b))",
        ),
        {"X": X, "g": GROUP, "y": COUNTS}, (), False,
    ),
    "softmax regressions": (
        MIXED.format("param b[K, C] : real[P] ~ Normal(0, 5)", "observed y[n] ~ Categorical(logits = b[z[n]] @ X[n])"),
        {"X": U, "y": GROUP}, ("K",), False,
    ),
    "an exponent between bounds": (
        ROWS.format(
            "param p : unit(min = 0.2, max = 0.9)\nparam b : real[P]", "observed y[n] ~ Normal(exp(X[n] @ b)^p, 2)"
        ),
        {"X": X, "g": GROUP, "y": POSITIVE}, (), False,
    ),
    "thresholds in order, by group": (
        ROWS.format(
            "param c[G] : ordered[2]\nparam b : real[P]",
            "observed y[n] ~ Categorical([logistic(c[g[n], 0] - X[n] @ b), logistic(c[g[n], 1] - X[n] @ b) - "
            "logistic(c[g[n], 0] - X[n] @ b), 1 - logistic(c[g[n], 1] - X[n] @ b)])",
        ),
        {"X": X[:, 1:], "g": GROUP, "y": (ETA > -1) * 1 + (ETA > 1)}, (), False,
    ),
    "effects that sum to 0, side by side": (
        MIXED.format("param b[K] : zero_sum[G]", "observed y[n] ~ Poisson(log_rate = b[z[n], g[n]])").replace(
            "    latent", "    given g[n] : index[G]\n    latent"
        ),
        {"X": X, "g": GROUP, "y": COUNTS}, ("K",), False,
    ),
    "shares of a mean": (
        ROWS.format("param p[G] : simplex[P]\nparam s : positive", "observed y[n] ~ Normal(exp(X[n] @ p[g[n]]), s)"),
        {"X": X, "g": GROUP, "y": POSITIVE}, (), False,
    ),
    "Dirichlets": (
        "model M\nsize K = 2\nparam w : simplex[K]\nparam a[K] : positive[D]\nfor n in N:\n"
        "    latent z[n] ~ Categorical(w)\n    observed y[n] : simplex[D] ~ Dirichlet(a[z[n]])",
        {"y": SHARES}, ("K",), True,
    ),
}  # fmt: skip


@cache
def model(name: str) -> Any:
    return emdsl.compile(text=TEXTS[name][0])


@pytest.mark.parametrize("name", TEXTS)
def test_hessians_are_differences_of_slopes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Near the start of the climb, entry by entry; and the structure is what the algebra shows."""
    _, data, batch, low = TEXTS[name]
    ((names, hessian),) = [
        (u.params, u.rule.hessian) for u in model(name).derived.updates if getattr(u.rule, "hessian", None)
    ]
    assert (tuple(i.dim for i in hessian.batch), hessian.low) == (batch, low)
    est = model(name).fitter(max_iter=1, seed=1)
    checked = []

    def spy(objective: Callable[..., Any], start: dict[str, Any], *rest: Any) -> dict[str, Any]:
        assert tuple(start) == names
        at = {n: np.asarray(v) * 1.05 + 0.01 for n, v in start.items()}
        values, slopes, parts = objective(at)
        dense = dense_of(parts, at, rest[-1], low)
        for n, k, v in [(n, k, v) for n, whole in at.items() for k, v in enumerate(np.ravel(whole))]:
            step = 1e-5 * (1 + abs(v))
            sides = [moved(at, n, k, s * step) for s in (1, -1)]
            up, down = (objective(s) for s in sides)
            assert np.ravel(slopes[n])[k] == pytest.approx((sum(up[0]) - sum(down[0])) / (2 * step), rel=1e-5, abs=1e-4)
            for other in at:
                found = (np.ravel(up[1][other] - np.asarray(down[1][other]))) / (2 * step)
                np.testing.assert_allclose(dense[n, other][k], found, rtol=1e-5, atol=1e-4)
        checked.append(values)
        return start

    monkeypatch.setattr(est._module, "ascend", spy)
    est.fit(data)
    assert checked


@pytest.mark.parametrize("domain", ["ordered", "zero_sum", "simplex"])
def test_vectors_in_free_coordinates(domain: str) -> None:
    """Slopes and Hessian of x' A x + sum sin x there, beside a number between bounds, side by side in two rows."""
    rng = np.random.default_rng(3)
    a = rng.normal(size=(2, 7, 7)) + 3 * np.eye(7)
    domains, bounds = {"v": domain, "u": "unit"}, {"v": (None, None), "u": (0.2, 0.9)}
    batch = {"v": (1,), "u": (0,)}
    v = {
        "ordered": np.sort(rng.normal(size=(2, 2, 3))),
        "zero_sum": (w := rng.normal(size=(2, 2, 3))) - w.mean(-1, keepdims=True),
        "simplex": rng.dirichlet([1, 2, 3], size=(2, 2)),
    }[domain]
    start = {"v": v, "u": np.array([0.3, 0.6])}

    def objective(at: dict[str, Any]) -> Any:
        x = np.concatenate([np.moveaxis(at["v"], 1, 0).reshape(2, 6), at["u"][:, None]], 1)
        value = np.einsum("ri,rij,rj->", x, a, x) + np.sin(x).sum()
        slope = np.einsum("rij,rj->ri", a + np.swapaxes(a, 1, 2), x) + np.cos(x)
        bend = a + np.swapaxes(a, 1, 2) - np.sin(x)[:, :, None] * np.eye(7)
        parts = {("v", "v"): bend[:, :6, :6], ("v", "u"): bend[:, :6, 6], ("u", "u"): bend[:, 6, 6]}
        return [value], {"v": np.moveaxis(slope[:, :6].reshape(2, 2, 3), 0, 1), "u": slope[:, 6]}, parts

    table = FreeTable(start, domains, bounds, batch)
    t = table.free(start)
    np.testing.assert_allclose(table.values(t)["v"], v, rtol=1e-12)
    _, gradient, hessian, _, _ = table.at(objective, t)
    for r, k in np.ndindex(t.shape):
        step = np.zeros_like(t)
        step[r, k] = 1e-5
        up, down = (table.at(objective, t + s * step) for s in (1, -1))
        assert gradient[r, k] == pytest.approx((up[0] - down[0]) / 2e-5, rel=1e-6, abs=1e-6)
        np.testing.assert_allclose(hessian[r, k], ((up[1] - down[1]) / 2e-5)[r], rtol=1e-6, atol=1e-6)


def test_a_flat_place_of_one_block_beside_others_is_left() -> None:
    """v^3 - v^4 hardly bends at 0, as a skew normal at slant 0: blocks side by side had been left there."""

    def objective(at: dict[str, Any]) -> Any:
        v, u = at["v"], at["u"]
        bend = {("v", "v"): (6 * v - 12 * v**2 + 1e-6)[:, None], ("u", "u"): np.full((3, 1), -2.0)}
        slope = {"v": 3 * v**2 - 4 * v**3 + 1e-6 * v, "u": -2 * (u - 1)}
        return [(v**3 - v**4 + 5e-7 * v**2).sum(), -((u - 1) ** 2).sum()], slope, bend

    plain = {"v": "real", "u": "real"}, {"v": (None, None), "u": (None, None)}, {"v": (0,), "u": (0,)}
    for start in ([0.0, 0.7, 0.7], [0.7, 0.0, 0.0]):
        found = ascend(objective, {"v": np.array(start), "u": np.zeros(3)}, *plain)
        np.testing.assert_allclose(found["v"], 0.75, rtol=1e-5)


def moved(at: dict[str, Any], name: str, k: int, step: float) -> dict[str, Any]:
    flat = np.array(at[name], float).ravel()
    flat[k] += step
    return {**at, name: flat.reshape(np.shape(at[name]))}


def dense_of(parts: Any, at: dict[str, Any], batch: dict[str, tuple[int, ...]], low: bool) -> dict[Any, Any]:
    """The whole matrix between any two parameters, (entries of one, entries of the other), from its parts."""
    out = {(a, b): np.zeros((np.size(at[a]), np.size(at[b]))) for a in at for b in at}
    if low:
        ((name, value),) = at.items()
        diagonal, constant = np.broadcast_to(parts[0], value.shape), np.broadcast_to(parts[1], value.shape[:1])
        parts = {(name, name): np.stack([np.diag(d) + c for d, c in zip(diagonal, constant, strict=True)])}
    places = {n: np.arange(np.size(v)).reshape(np.shape(v)) for n, v in at.items()}
    places = {n: np.moveaxis(v, batch[n], range(len(batch[n]))) for n, v in places.items()}
    for (a, b), block in parts.items():
        depth = len(batch[a])
        for where in np.ndindex(places[a].shape[:depth]):
            rows, columns = np.ravel(places[a][where]), np.ravel(places[b][where])
            entries = np.reshape(np.asarray(block)[where], (rows.size, columns.size))
            out[a, b][np.ix_(rows, columns)] = entries
            out[b, a][np.ix_(columns, rows)] = entries.T
    return out


def test_a_step_is_the_solution_of_newtons_equation() -> None:
    rng = np.random.default_rng(0)
    u, c, d = rng.random((4, 5)), rng.random(4), -5 - rng.random((4, 5))
    gradient = rng.normal(size=(4, 5))
    full = np.stack([np.diag(a) + w * np.outer(v, v) for a, w, v in zip(d, c, u, strict=True)])
    expected = -np.linalg.solve(full, gradient[..., None])[..., 0]
    far = np.full((4, 1), 1e9)
    np.testing.assert_allclose(low_step(gradient, (d, u, c), far), expected, rtol=1e-10)
    np.testing.assert_allclose(newton_steps(gradient, full, far), expected, rtol=1e-10)
    wrong = newton_steps(gradient, -full, far), low_step(gradient, (-d, u, c), far)
    assert all(((gradient * step).sum(-1) > 0).all() for step in wrong)  # upwards where Q is not concave
    saddle = np.array([[[-461.0, 282.0], [282.0, -171.5]]])  # a Lomax sample's: both numbers go further than 4
    short = newton_steps(np.array([[-161.0, 119.0]]), saddle, np.full((1, 1), 4.0))
    assert (short * [-161, 119]).sum() > 0 and np.abs(short).max() == 4  # cut as a whole, its direction kept


def test_a_distance_next_to_none_holds_no_other_number_back() -> None:
    """Its log has next to no curvature, and would go 5e14 far: shortened with it, all others stood still, told as
    converged (two numbers in order that both tend to 0)."""
    bend = np.array([[[-2.0, -1e-16], [-1e-16, -1e-31]]])
    np.testing.assert_allclose(newton_steps(np.array([[1.0, 0.0]]), bend, np.array([[4.0]])), [[0.5, -4.0]])


def test_flat_directions_carry_nothing_away() -> None:
    """Softmax weights are known up to a shift."""
    y = np.array([0, 1, 1, 2])

    def objective(values: dict[str, Any]) -> Any:
        p = special.softmax(values["a"])
        return (
            (values["a"][y].sum(), -4 * special.logsumexp(values["a"])), {"a": np.bincount(y) - 4 * p},
            {("a", "a"): -4 * (np.diag(p) - np.outer(p, p))},
        )  # fmt: skip

    found = ascend(objective, {"a": np.array([3.0, 4.0, 5.0])}, {"a": "real"}, {"a": (None, None)}, {"a": ()})["a"]
    np.testing.assert_allclose(special.softmax(found), [0.25, 0.5, 0.25], rtol=1e-9)
    assert abs(found.mean() - 4.0) < 1


# ---------------------------------------------------------------------- optima: log-likelihoods written from the models


def mixture(weights: Any, log_densities: Any) -> float:
    return float(special.logsumexp(np.log(weights) + log_densities, axis=-1).sum())


def chain(p: dict[str, Any], u: Any, y: Any) -> float:
    trans = special.softmax(np.einsum("jkp,tp->tjk", p["change"], u), axis=-1)
    density = stats.poisson.pmf(y[:, None], p["rate"])
    alpha, total = p["first"] * density[0], 0.0
    for t in range(1, len(y)):
        total += np.log(alpha.sum())
        alpha = (alpha / alpha.sum()) @ trans[t] * density[t]
    return float(total + np.log(alpha.sum()) + stats.norm.logpdf(p["change"], 0, 3).sum())


def experts(p: dict[str, Any], X: Any, y: Any) -> float:
    gate = special.log_softmax(X @ p["gate"].T, axis=1)
    density = stats.norm.logpdf(y[:, None], X @ p["coef"].T, p["sd"])
    return float(special.logsumexp(gate + density, axis=1).sum() + stats.norm.logpdf(p["gate"], 0, 10).sum())


def cases() -> dict[str, tuple[dict[str, Any], dict[str, Any], Callable[[dict[str, Any]], float]]]:
    waiting = table("faithful")["waiting"].astype(float)
    solar = table("airquality")["solar"].astype(float)
    sun = solar[solar > 0] / 340
    npreg, quakes = table("npreg"), table("earthquakes")["count"]
    line = np.column_stack([np.ones(200), npreg["x"]])
    year = np.column_stack([np.ones(107), np.linspace(-1, 1, 107)])
    return {
        "gamma_mixture": (
            {"x": waiting}, {},
            lambda p: mixture(p["weights"], stats.gamma.logpdf(waiting[:, None], p["shape"], scale=1 / p["rate"])),
        ),
        "beta_mixture": (
            {"x": sun}, {}, lambda p: mixture(p["weights"], stats.beta.logpdf(sun[:, None], p["a"], p["b"]))
        ),
        "von_mises_mixture": (
            {"x": ANGLES}, {},
            lambda p: mixture(p["weights"], stats.vonmises.logpdf(ANGLES[:, None], p["concentration"], p["mean"])),
        ),
        "mixture_of_glms": (
            {"X": line, "y": npreg["yp"]}, {"n_init": 3},
            lambda p: mixture(p["weights"], stats.poisson.logpmf(npreg["yp"][:, None], np.exp(line @ p["coef"].T))),
        ),
        "mixture_of_experts": (
            {"X": line, "y": npreg["yn"]}, {}, lambda p: experts(p, line, npreg["yn"]),
        ),
        "input_output_hmm": ({"u": year, "y": quakes}, {}, lambda p: chain(p, year, quakes)),
    }  # fmt: skip


@cache
def fitted(name: str) -> Any:
    data, options, _ = cases()[name]
    return fit(name, data, **{"tol": 1e-10, "seed": 2, **options})


@pytest.mark.parametrize("name", cases())
def test_fits_are_optima_of_the_likelihood(name: str) -> None:
    """The same value by hand at the estimates, and no way up: the parabola through each number's neighbours."""
    by_hand = cases()[name][2]
    est = fitted(name)
    assert est.converged_ and min(np.diff(est.history_)) > -1e-9
    assert est.objective_ == pytest.approx(by_hand(est.params_), rel=1e-10)
    for step in 1e-3 * np.eye(sum(np.size(v) for v in est.params_.values())):
        up, down = (by_hand(turned(est.params_, s)) - est.objective_ for s in (step, -step))
        assert up + down <= 1e-9 and (up - down) ** 2 <= 1e-4 * max(-(up + down), 1e-9), step


@pytest.mark.filterwarnings("ignore::UserWarning")  # one iteration does not converge
def test_rows_of_a_chain_come_in_pieces_of_any_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where transitions depend on data: expected statistics, one iteration and paths, tables whole and cut small."""
    name, (data, _, by_hand) = "input_output_hmm", cases()["input_output_hmm"]
    module, start, found = compiled(name).load_module(), fitted(name).params_, []
    start = turned(start, np.linspace(-0.5, 0.5, sum(map(np.size, start.values()))))
    cut = lambda n, _: [slice(a, min(a + 50, n)) for a in range(0, n, 50)]  # noqa: E731
    for small in ({}, {"TABLES": 1, "HELD": 0, "chunks": cut}):
        for n, value in small.items():
            monkeypatch.setitem(module.__dict__, n, value)
        once = module.__dict__[compiled(name).name](init=start, max_iter=1, tol=0).fit(data)
        found.append(once.e_step(start, data) | once.params_ | {"path": once.predict(data), "value": once.history_[0]})
    assert found[0]["value"] == pytest.approx(by_hand(start), rel=1e-10)
    for n, value in found[0].items():
        np.testing.assert_allclose(found[1][n], value, rtol=1e-10, atol=1e-12, err_msg=n)


def turned(params: dict[str, Any], t: Any) -> dict[str, Any]:
    """Parameters moved by free numbers: simplexes by softmax, positive ones by exp, others added to."""
    out, at = {}, 0
    for n, v in params.items():
        step = np.reshape(t[at : at + np.size(v)], np.shape(v))
        at += np.size(v)
        positive = n in ("weights", "first", "shape", "rate", "a", "b", "concentration", "sd")
        out[n] = v * np.exp(step) if positive else v + step
        if n in ("weights", "first"):
            out[n] = out[n] / out[n].sum(-1, keepdims=True)
    return out


def test_tables_beside_rows_stay_small() -> None:
    """Of softmax regressions there are P * P numbers for each row: 8192 rows of 80 covariates took 800 MB."""
    chunks = [slice(0, 5), slice(5, 9), np.array([3, 1, 7])]
    wide = MOST_ENTRIES // 2
    assert in_pieces(chunks, 7) is chunks
    cut = in_pieces(chunks, 7, wide)
    rows = np.concatenate([np.arange(c.start, c.stop) if isinstance(c, slice) else c for c in cut])
    assert rows.tolist() == [*range(9), 3, 1, 7] and all(row_count(c) <= 2 for c in cut)
    source = model("softmax regressions").source
    assert 'in_pieces(prepared["the chunks"], P * P, K * C * C)' in source


def test_flexmix() -> None:
    """flexmix(yp ~ x, k = 2, FLXMRglm(family = "poisson")) on NPreg prints -440.6424 and stops early (Leisch 2004)."""
    assert fitted("mixture_of_glms").log_likelihood_ == pytest.approx(-440.64029, abs=1e-5)
    assert compiled("mixture_of_glms").updates["coef"].kind == "newton"


TRUNCATED = """
model M
size K = 2
family Truncated(x : count(min = 1) | l : positive) = x * log(l) - l - lgamma(x + 1) - log(1 - exp(-l))
param w : simplex[K]
param b[K] : real[P]
for n in N:
    given X[n] : real[P]
    latent z[n] ~ Categorical(w)
    observed y[n] ~ Truncated(exp(X[n] @ b[z[n]]))
"""


def truncated_rows() -> tuple[Any, Any]:
    rng = np.random.default_rng(4)
    x = np.column_stack([np.ones(120), rng.normal(size=120)])
    rate = np.exp(np.where(rng.random(120) < 0.4, x @ [0.5, 1.0], x @ [1.5, -0.7]))
    return x, stats.poisson.ppf(stats.poisson.cdf(0, rate) + rng.random(120) * stats.poisson.sf(0, rate), rate)


def truncated(x: Any, y: Any, b: Any) -> Any:
    rate = np.exp(x @ b)
    return stats.poisson.logpmf(y, rate) - np.log(-np.expm1(-rate))


def test_lines_that_cross_are_found_from_every_seed() -> None:
    """Starts had been compared before passes over the data moved their slopes: from no seed was it less than 40 short.

    And each of them had its shares from one division of the rows, its slopes from another.
    """
    x, y = truncated_rows()
    model = emdsl.compile(text=TRUNCATED)
    true = model.fitter(init={"w": [0.4, 0.6], "b": [[0.5, 1.0], [1.5, -0.7]]}).fit({"X": x, "y": y})
    found = [model.fitter(seed=seed).fit({"X": x, "y": y}).objective_ for seed in range(4)]
    assert sorted(found)[1] > true.objective_ - 1e-3, (found, true.objective_)


@pytest.mark.parametrize("infer", ["", "infer (z), (s) by meanfield"])
def test_a_first_m_step_from_given_classes_has_its_passes(infer: str) -> None:
    """Weighted by what the user starts from, whatever the seed; parameters of passes had stayed where they were."""
    x, y = truncated_rows()
    text = TRUNCATED + "    latent s[n] ~ Bernoulli(0.5)\n    observed v[n] ~ Normal(s[n] - z[n], 1)\n" * bool(infer)
    q = np.where((x[:, 1] * (y - y.mean()) > 0)[:, None], [0.95, 0.05], [0.05, 0.95])
    given = {"z": q, "s": q} if infer else {"z": q}
    data = {"X": x, "y": y, **({"v": x[:, 1]} if infer else {})}
    est = emdsl.compile(text=text + infer).fitter(init=given, max_iter=0).fit(data)
    for k in range(2):
        loss = lambda b, k=k: -q[:, k] @ truncated(x, y, b)  # noqa: E731
        np.testing.assert_allclose(est.params_["b"][k], optimize.minimize(loss, [1.0, 0.0]).x, atol=1e-4)


def test_a_slope_that_is_rounding_ends_the_climb():
    """Of log(1 - p), p next to 1, the slope is rounding: each step was halved to nothing, a hundred times over."""
    calls = []

    def objective(values):
        a = float(values["a"])
        calls.append(a)
        return [-1 - 1e-9 * abs(a)], {"a": np.array(1e-8)}, {("a", "a"): np.array([[-1e-8]])}

    found = ascend(objective, {"a": np.array(0.0)}, {"a": "real"}, {"a": (None, None)}, {"a": ()})
    assert abs(found["a"]) < 1e-6 and len(calls) < 100


def test_a_curvature_that_is_rounding_leads_nowhere():
    """A class whose rows a plane separates has slopes and a curvature of 1e-15 and 1e-20, and Newton's step from there
    is 6e4 long: it was taken without a look, and fits ended as "decreased" 0.3 below where they had been."""

    def objective(values):
        b = float(values["b"])
        return [-93 - 1e-3 * max(b - 1e3, 0.0)], {"b": np.array(6e-16)}, {("b", "b"): np.array(-1e-20)}

    assert ascend(objective, {"b": np.array(500.0)}, {"b": "real"}, {"b": (None, None)}, {"b": ()})["b"] == 500


DISPERSED = """
model Dispersed
param b : real[2]
param g : real[2]
given x[N] : real[2]
for n in N: observed y[n] ~ NegativeBinomial(size=exp(x[n] @ g), mean=exp(x[n] @ b))
"""


def test_a_likelihood_that_is_rounding_is_no_start() -> None:
    """A size of 1e80 left 3.5e72 of terms that cancel, and won: fits from 3 of 5 seeds began there, and ended there."""
    rng = np.random.default_rng(0)
    x = np.c_[np.ones(60), rng.normal(size=60)]
    size, mean = np.exp(x @ [0.5, -0.7]), np.exp(x @ [1.0, 0.5])
    y = rng.negative_binomial(size, size / (size + mean))

    def loss(p: Any) -> float:
        size, mean = np.exp(x @ p[2:]), np.exp(x @ p[:2])
        return -float(stats.nbinom.logpmf(y, size, size / (size + mean)).sum())

    top = -optimize.minimize(loss, [1.0, 0.5, 0.5, -0.7]).fun
    for seed in range(6):
        fit = emdsl.compile(text=DISPERSED).fitter(seed=seed).fit({"x": x, "y": y})
        assert fit.converged_ and fit.log_likelihood_ == pytest.approx(top, abs=1e-6)
