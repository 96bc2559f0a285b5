"""Gallery models with hidden chains and trees: numbers of the literature, EM by hand, every configuration enumerated.

Enumeration needs no formula: each value is the interpreter's log joint at one configuration of the latents.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from gallery import compiled, fit, matrix, table
from oracles import chains
from oracles.paths import Path

import emdsl
from emdsl.fit.verify import certify

pytestmark = pytest.mark.filterwarnings("ignore::emdsl.runtime.data.faults.ConvergenceWarning")

STEPS = 10
COUNTS = table("earthquakes")["count"].astype(float)
ERUPTIONS = matrix("faithful", "eruptions", "waiting")[:80]
STAY = {"first": np.array([0.4, 0.6]), "trans": np.array([[0.7, 0.3], [0.2, 0.8]])}

# ------------------------------------------------------------------------------------------ numbers of the literature


@pytest.mark.parametrize(
    ("rate", "value", "rates"),
    [([10.0, 30.0], -341.8787010, None), ([10.0, 20.0, 30.0], -328.5274834, [13.13376, 19.71316, 29.70972])],
)
def test_earthquakes(rate: list[float], value: float, rates: list[float] | None) -> None:
    """Zucchini and MacDonald (2009), table 3.1, with a free start; theirs is stationary for two states."""
    k = len(rate)
    start = {"first": np.ones(k) / k, "trans": np.full((k, k), 0.1 / (k - 1)) + np.eye(k) * (0.9 - 0.1 / (k - 1))}
    est = fit("poisson_hmm", {"y": COUNTS}, K=k, init={**start, "rate": np.array(rate)})
    assert est.log_likelihood_ == pytest.approx(value, abs=1e-6)
    if rates:
        np.testing.assert_allclose(est.params_["rate"], rates, atol=1e-4)


# ------------------------------------------------------------------------------------------ EM by hand, step by step


def gaussian() -> tuple[Any, Any, Path]:
    start = {**STAY, "mean": np.array([[2.0, 80.0], [4.0, 60.0]]), "sd": np.array([[0.5, 9.0], [0.7, 11.0]])}
    return {"x": ERUPTIONS}, start, chains.gaussian_hmm(ERUPTIONS, start, STEPS)


def counts() -> tuple[Any, Any, Path]:
    start = {**STAY, "rate": np.array([12.0, 25.0])}
    return {"y": COUNTS}, start, chains.poisson_hmm(COUNTS, start, STEPS)


def symbols() -> tuple[Any, Any, Path]:
    """Short, middle and long eruptions in four runs of unequal length."""
    words = np.split(np.digitize(ERUPTIONS[:, 0], [2.5, 4.2]), [1, 30, 61])
    start = {**STAY, "symbol": np.array([[0.5, 0.3, 0.2], [0.2, 0.3, 0.5]])}
    return {"w": words}, start, chains.categorical_hmm(words, start, STEPS)


def regressions() -> tuple[Any, Any, Path]:
    X = np.column_stack([np.ones(80), ERUPTIONS[:, 0]])
    start = {**STAY, "coef": np.array([[30.0, 10.0], [60.0, 5.0]]), "sd": np.array([5.0, 8.0])}
    return {"X": X, "y": ERUPTIONS[:, 1]}, start, chains.switching_regression(X, ERUPTIONS[:, 1], start, STEPS)


def autoregressions() -> tuple[Any, Any, Path]:
    """The waiting times on the ones before them: a regression on a column made of the data, but for the first row."""
    y = ERUPTIONS[:, 1]
    start = {**STAY, "level": np.array([100.0, 60.0]), "slope": np.array([-0.3, 0.2]), "sd": np.array([9.0, 5.0])}
    path = chains.autoregression(y, (70.0, 12.0), start, STEPS)
    return {"y": y, "start": 70.0, "spread": 12.0}, start, path


def mixtures() -> tuple[Any, Any, Path]:
    mean = np.array([[[2.0, 50.0], [2.5, 60.0]], [[4.0, 75.0], [4.6, 85.0]]])
    cov = np.broadcast_to(np.diag([0.3, 60.0]), (2, 2, 2, 2)).copy()
    start = {**STAY, "part": np.array([[0.5, 0.5], [0.4, 0.6]]), "mean": mean, "cov": cov}
    return {"x": ERUPTIONS}, start, chains.gmm_hmm(ERUPTIONS, start, STEPS)


def overdispersed() -> tuple[Any, Any, Path]:
    start = {**STAY, "mean": np.array([12.0, 25.0]), "shape": np.array([5.0, 20.0])}
    return {"y": COUNTS}, start, chains.negative_binomial_hmm(COUNTS, start, STEPS)


PATHS = {
    "gaussian_hmm": gaussian,
    "poisson_hmm": counts,
    "categorical_hmm": symbols,
    "switching_regression": regressions,
    "ar_hmm": autoregressions,
    "gmm_hmm": mixtures,
    "negative_binomial_hmm": overdispersed,
}


@pytest.mark.parametrize("name", PATHS)
def test_em_step_by_step(name: str) -> None:
    """History and parameters after ten iterations are those of Baum-Welch by hand from the same start."""
    data, start, path = PATHS[name]()
    est = fit(name, data, init=start, max_iter=STEPS, tol=0)
    np.testing.assert_allclose(est.history_, path.history, rtol=1e-10)
    for param, expected in path.params.items():
        np.testing.assert_allclose(est.params_[param], expected, rtol=1e-6, atol=1e-8, err_msg=param)


def test_a_tree_that_is_a_path_is_a_chain() -> None:
    """Each element the child of the one before it: two algorithms, one model."""
    start = gaussian()[1]
    own = {"mean": start["mean"][:, 1], "sd": start["sd"][:, 1], "trans": STAY["trans"]}
    x = ERUPTIONS[:, 1:]
    along = chains.gaussian_hmm(x, {**STAY, "mean": own["mean"][:, None], "sd": own["sd"][:, None]}, STEPS)
    tree = {"x": x[:, 0], "parent": np.maximum(np.arange(80) - 1, 0)}
    est = fit("hidden_tree", tree, init={**own, "root": STAY["first"]}, max_iter=STEPS, tol=0)
    np.testing.assert_allclose(est.history_, along.history, rtol=1e-10)
    np.testing.assert_allclose(est.params_["trans"], along.params["trans"], rtol=1e-7)
    np.testing.assert_allclose(est.params_["sd"], along.params["sd"][:, 0], rtol=1e-7)


# ------------------------------------------------------------------------------------------ every configuration

RNG = np.random.default_rng(11)
SIGNAL = RNG.normal(1, 2, 6)
POINTS = RNG.normal(0, 2, (6, 2))
TWO = np.array([[[1.0, 0.3], [0.3, 0.8]], [[0.6, -0.2], [-0.2, 1.1]]])

SMALL: dict[str, tuple[Any, Any, dict[str, int]]] = {
    "factorial_hmm": (
        {"first_a": np.array([0.3, 0.7]), "first_b": np.array([0.6, 0.4]), "trans_a": STAY["trans"],
         "trans_b": STAY["trans"][::-1], "high": np.array([0.0, 3.0]), "low": np.array([-1.0, 1.0]), "sd": 0.8},
        {"x": SIGNAL[:4]}, {"a": 2, "b": 2}),
    "hidden_tree": (
        {"root": STAY["first"], "trans": STAY["trans"], "mean": np.array([-1.0, 2.0]), "sd": np.array([0.7, 1.4])},
        {"x": SIGNAL, "parent": np.array([0, 0, 0, 1, 1, 2])}, {"z": 2}),
    "gmm_hmm": (
        {**STAY, "part": np.array([[0.5, 0.5], [0.3, 0.7]]), "mean": RNG.normal(0, 2, (2, 2, 2)),
         "cov": np.stack([TWO, TWO[::-1]])},
        {"x": POINTS[:4]}, {"z": 2, "c": 2}),
    "semi_supervised": (
        {"weights": STAY["first"], "mean": np.array([[-1.0, 0.0], [1.0, 0.5]]), "cov": TWO},
        {"x": POINTS, "z": np.array([np.nan, 1, np.nan, 0, np.nan, 1])}, {"z": 2}),
}  # fmt: skip


def enumerated(name: str, params: Any, data: Any, latents: dict[str, int]) -> tuple[float, Any, Any]:
    """log p(data), the marginals of each latent, and the most probable configuration."""
    rows = len(data["x"])
    sizes = {"T": rows, "N": rows, **dict.fromkeys("KABMD", 2)}
    free = [(n, t) for n in latents for t in range(rows) if n not in data or np.isnan(data[n][t])]
    logs, configurations = [], []
    for states in product(*(range(latents[n]) for n, _ in free)):
        z = {n: np.array(data[n], float) if n in data else np.zeros(rows) for n in latents}
        for (n, t), state in zip(free, states, strict=True):
            z[n][t] = state
        z = {n: v.astype(int) for n, v in z.items()}
        logs.append(compiled(name).log_joint({**params, **data, **z}, sizes))
        configurations.append(z)
    total = float(np.logaddexp.reduce(logs))
    p = np.exp(np.array(logs) - total)
    marginals = {n: sum(w * np.eye(k)[z[n]] for w, z in zip(p, configurations, strict=True))
                 for n, k in latents.items()}  # fmt: skip
    return total, marginals, configurations[int(np.argmax(logs))]


@pytest.mark.parametrize("name", SMALL)
def test_every_configuration(name: str) -> None:
    """The log-likelihood, before any step and after; marginals; no step falls."""
    params, data, latents = SMALL[name]
    est = fit(name, data, init=params, max_iter=0)
    value, marginals, best = enumerated(name, params, data, latents)
    assert est.log_likelihood_ == pytest.approx(value, rel=1e-11)
    for latent, expected in marginals.items():
        np.testing.assert_allclose(est.posterior_[latent], expected, rtol=1e-9, atol=1e-13)
    if not any(n in data for n in latents):
        path = est.predict(data)
        for latent in latents:
            np.testing.assert_array_equal(path if len(latents) == 1 else path[latent], best[latent])
    if name in PATHS:
        return  # its steps are compared above; four rows are too few for these covariances
    climbed = fit(name, data, init=params, max_iter=4, tol=0)
    assert (np.diff(climbed.history_) > -1e-10).all()
    assert climbed.log_likelihood_ == pytest.approx(enumerated(name, climbed.params_, data, latents)[0], rel=1e-11)


PANEL = """
model Panel
param w      : simplex[2]
param start  : simplex[2]
param b[2, 2] : real[2]
param mu[2]  : real
for s in S:
    latent g[s] ~ Categorical(w)
    for t in T:
        given x[s, t]    : real
        latent z[s, t]   ~ Categorical(start) if t == 0 else Categorical(logits = x[s, t] * b[g[s], z[s, t-1]])
        observed y[s, t] ~ Normal(mu[z[s, t]], 1)
"""


@pytest.mark.parametrize("far", [1.0, 300.0])
def test_a_panel_whose_transitions_depend_on_data(far: float) -> None:
    """A class for each sequence gates transitions that differ from row to row: by all paths, scaled and in logs."""
    rng, model = np.random.default_rng(4), emdsl.compile(text=PANEL)
    x, y = rng.normal(size=(3, 4)), rng.normal(size=(3, 4))
    p = {"w": np.array([0.3, 0.7]), "start": np.array([0.6, 0.4]), "b": far * rng.normal(size=(2, 2, 2)),
         "mu": far * np.array([-1.0, 1.0])}  # fmt: skip
    total, pairs, q = 0.0, np.zeros((2, 2, 2)), np.zeros((3, 4, 2))
    for s in range(3):
        found = []
        for g, *z in product((0, 1), repeat=5):
            log = np.log(p["w"][g] * p["start"][z[0]]) - sum((y[s, t] - p["mu"][z[t]]) ** 2 for t in range(4)) / 2
            for t in range(1, 4):
                logits = x[s, t] * p["b"][g, z[t - 1]]
                log += logits[z[t]] - np.logaddexp(*logits)
            found.append((log - 2 * np.log(2 * np.pi), g, z))
        value = np.logaddexp.reduce([log for log, _, _ in found])
        total += value
        for log, g, z in found:
            for t in range(4):
                q[s, t, z[t]] += np.exp(log - value)
                if t:
                    pairs[g, z[t - 1], z[t]] += x[s, t] * np.exp(log - value)
    data = model.fitter()._bind({"x": x, "y": y})
    prepared = model.module.prepare(data, model.module.reference(data))
    statistics = model.module.e_step(p, data, prepared)
    assert statistics["log_likelihood"] == pytest.approx(total, rel=1e-12)
    np.testing.assert_allclose(model.module.posterior(p, data, prepared)["z"], q, atol=1e-10)
    moved = next(v for n, v in statistics.items() if n.endswith("pair_x"))
    np.testing.assert_allclose(moved, pairs, atol=1e-10)
    assert "edge_of(rows)" in model.source  # by pieces: no table of rows and pairs of states


def test_transitions_that_no_sequence_is_long_enough_for() -> None:
    """Sequences of one element: all else is fitted as a mixture, transitions stay, and that is said."""
    w = [np.array([v]) for v in (0, 0, 1, 2, 2, 2)]
    start = {"first": np.array([0.4, 0.6]), "trans": np.array([[0.7, 0.3], [0.2, 0.8]]),
             "symbol": np.array([[0.5, 0.3, 0.2], [0.2, 0.2, 0.6]])}  # fmt: skip
    with pytest.warns(UserWarning, match="the data say nothing of trans: all expected counts are 0"):
        est = compiled("categorical_hmm").fitter(init=start).fit({"w": w})
    assert est.status_ == "converged"
    np.testing.assert_array_equal(est.params_["trans"], start["trans"])
    assert est.log_likelihood_ == pytest.approx(2 * np.log(1 / 3) + np.log(1 / 6) + 3 * np.log(1 / 2), rel=1e-6)
    assert any(u.params == ("trans",) for u in est.unidentified_)


def test_a_state_that_no_path_reaches_keeps_its_row() -> None:
    """Out of state 1 nothing goes: its row of the table and of the symbols stay, each named; the rest is exact."""
    w = [np.array([0, 2, 0, 1]), np.array([2, 0])]
    start = {"first": np.array([1.0, 0.0]), "trans": np.array([[1.0, 0.0], [0.2, 0.8]]),
             "symbol": np.array([[0.5, 0.3, 0.2], [0.2, 0.2, 0.6]])}  # fmt: skip
    with pytest.warns(UserWarning, match=r"nothing of trans \(1,\), symbol \(1,\): all expected counts are 0"):
        est = compiled("categorical_hmm").fitter(init=start).fit({"w": w})
    np.testing.assert_array_equal(est.params_["trans"], start["trans"])
    np.testing.assert_allclose(est.params_["symbol"], [[0.5, 1 / 6, 1 / 3], start["symbol"][1]], rtol=1e-12)


SWITCHED = """
model Switched
param b[2] : real
for s in S:
    latent k[s] ~ Bernoulli(0.4)
    latent h[s] ~ Bernoulli(0.3 + 0.4 * k[s])
    for t in T:
        given x[s, t]    : real
        latent z[s, t]   ~ Bernoulli(0.3) if t == 0 else Bernoulli(logit = b[h[s]] * x[s, t] + 2 * z[s, t-1])
        observed y[s, t] ~ Normal(z[s, t] - k[s], 1)
"""


def test_pairs_that_only_a_numeric_step_reads_are_those_under_the_gates() -> None:
    """No statistic holds pairs of this chain row by row; what Newton climbs does, and each class has its share."""
    found = certify(emdsl.compile(text=SWITCHED), apart=False, only=("log-likelihood", "Fisher's identity", "M-step"))
    assert found.passed, str(found)


SPELT = """
model Spelt
param w : simplex[3]
param A[3] : simplex[3]
param m[3] : real
for t in T:
    latent z[t] ~ {}
    observed y[t] ~ {}
"""
BETWEEN = ("Categorical(w) if t == 0 else Categorical(A[z[t-1]])", "Normal(m[z[t]], 1)")
LAGGED = "Normal(m[z[t]] + 0.5, 1) if t == 0 else Normal(m[z[t]] + 0.5 * m[z[t-1]], 1)"


@pytest.mark.parametrize(
    ("between", "inside"),
    [
        (BETWEEN, ("Categorical(w if t == 0 else A[z[t-1]])", BETWEEN[1])),
        ((BETWEEN[0], LAGGED), (BETWEEN[0], "Normal(m[z[t]] + (0.5 if t == 0 else 0.5 * m[z[t-1]]), 1)")),
    ],
)
def test_a_condition_on_positions_within_an_argument(between: tuple[str, str], inside: tuple[str, str]) -> None:
    """`A[z[t-1]]` after `else` inside an argument made the first row tie too: a network, 200 times slower."""
    said = []
    for spelling in (between, inside):
        lines = emdsl.compile(text=SPELT.format(*spelling)).source.split("\n")
        said.append([line for line in lines if "latent z[t] ~" not in line and "observed y[t] ~" not in line])
    assert said[0] == said[1]
    assert any("chain_z" in line for line in said[0])


def test_a_condition_on_positions_within_a_let() -> None:
    """`let p[t] = w if t == 0 else A[z[t-1]]` is what it stands for."""
    plain = SPELT.format(*BETWEEN)
    named = plain.replace("for t in T:\n", "for t in T:\n    let p[t] = w if t == 0 else A[z[t-1]]\n")
    named = named.replace(BETWEEN[0], "Categorical(p[t])")
    start = {"w": [0.5, 0.3, 0.2], "A": [[0.7, 0.2, 0.1], [0.0, 0.6, 0.4], [0.3, 0.3, 0.4]], "m": [-1.0, 0.0, 2.0]}
    models = [emdsl.compile(text=text) for text in (plain, named)]
    one, other = (m.fitter(max_iter=1, init=start).fit({"y": [0.3, -1.2, 2.2, 0.1]}) for m in models)
    assert all("chain_z" in m.source for m in models)
    np.testing.assert_allclose(other.history_, one.history_, rtol=1e-13)


@pytest.mark.parametrize(
    ("lets", "mean"),
    [
        ("let level[t] = m[z[t]]", "level[t] + (0 if t == 0 else c*(y[t-1] - level[t-1]))"),
        ("let level[t] = m[z[t]]; let off[t] = y[t] - level[t]", "level[t] + (c*off[t-1] if t > 0 else 0)"),
        ("let level[t] = m[z[t]]; let before[t] = 0 if t == 0 else c*(y[t-1] - level[t-1])", "level[t] + before[t]"),
        ("let level[t] = m[z[t]] if t == 0 else m[z[t]] - c*m[z[t-1]]", "level[t] + (0 if t == 0 else c*y[t-1])"),
    ],
)
def test_a_condition_on_positions_beside_lets_that_read_states(lets: str, mean: str) -> None:
    """Hamilton's switching autoregression, its level by name: a network of pairs, not the chain that it is."""
    plain = SPELT.replace("for t", "param c : real\nfor t").format(
        BETWEEN[0], "Normal(m[z[t]], 1) if t == 0 else Normal(m[z[t]] + c*(y[t-1] - m[z[t-1]]), 1)"
    )
    lines = "".join(f"    {line}\n" for line in lets.split("; "))
    text = plain.split("    observed")[0] + lines + f"    observed y[t] ~ Normal({mean}, 1)\n"
    start = {"w": [0.5, 0.3, 0.2], "A": [[0.7, 0.2, 0.1], [0.0, 0.6, 0.4], [0.3, 0.3, 0.4]], "m": [-1.0, 0.0, 2.0]}
    models = [emdsl.compile(text=t) for t in (plain, text)]
    assert [m.plan["z"].method for m in models] == ["exact:chain"] * 2
    data = {"y": [0.3, -1.2, 2.2, 0.1]}
    one, other = (m.fitter(max_iter=1, init={**start, "c": 0.4}).fit(data) for m in models)
    np.testing.assert_allclose(other.history_, one.history_, rtol=1e-12)


LAG_2 = "Categorical(w) if t == 0 else Categorical(A[z[t-1]]) if t == 1 else Categorical(B[z[t-1], z[t-2]])"
AFTER_0 = "Categorical(w) if t == 0 else Categorical(w) if z[t-1] == 0 else Categorical(A[z[t-1]])"
SAME = {
    "Categorical(A[z[max(t-1, 0)]] if t > 0 else w)": BETWEEN[0],
    "Categorical(w) if t - 1 < 0 else Categorical(A[z[abs(t-1)]])": BETWEEN[0],
    "Categorical([w, A[z[max(0, t-1)]]][t >= 1])": BETWEEN[0],
    "Categorical(A[z[p[t]]]) if t > 0 else Categorical(w)": BETWEEN[0],
    "Categorical(B[z[max(t-1, 0)], z[max(t-2, 0)]] if t > 0 else w)": "Categorical(w) if t == 0 else "
    "Categorical(B[z[t-1], z[t-1]]) if t == 1 else Categorical(B[z[t-1], z[t-2]])",
    "Categorical((B[z[t-1], z[t-2]] if t >= 2 else A[z[t-1]]) if t else w)": LAG_2,
    "Categorical(w) if t == 0 or new[t] else Categorical(A[z[t-1]])": "Categorical(w) if t == 0 else "
    "Categorical(w) if new[t] else Categorical(A[z[t-1]])",
    "Categorical(A[z[max(t-1, 0)]] if t > 0 and not new[t] else w)": "Categorical(w) if new[t] else "
    "Categorical(A[z[t-1]])",
    # the next two had no density in the first row
    "Categorical(w) if t == 0 or z[t-1] == 0 else Categorical(A[z[t-1]])": AFTER_0,
    "Categorical(A[z[t-1]] if not (t == 0 or z[t-1] == 0) else w)": AFTER_0,
}


@pytest.mark.parametrize("spelling", SAME)
def test_where_a_chain_starts_is_said_in_many_ways(spelling: str) -> None:
    """Each but the plain one was a network."""
    text = SPELT.replace("[3]", "[2]").replace("for t in T:\n", "param B[2, 2] : simplex[2]\nfor t in T:\n{}")
    beside = "    given new[t] : bool\n" * ("new" in spelling) + "    let p[t] = max(t-1, 0)\n" * ("p[t]" in spelling)
    start = {"w": [0.6, 0.4], "A": [[0.7, 0.3], [0.2, 0.8]], "m": [-1.0, 2.0]}
    start["B"] = [[[0.9, 0.1], [0.5, 0.5]], [[0.3, 0.7], [0.1, 0.9]]]
    data = {"y": [0.3, -1.2, 2.2, 0.1, 1.0, -0.6], "new": [1, 0, 0, 1, 0, 0]}
    fits = []
    for z in (spelling, SAME[spelling]):
        model = emdsl.compile(text=text.format(beside, z, "Normal(m[z[t]], 1)"))
        assert model.plan["z"].method == "exact:chain"
        used = {k: v for k, v in data.items() if k == "y" or k in z}
        fits.append(model.fitter(max_iter=2, tol=0, init=start).fit(used).history_)
    np.testing.assert_allclose(fits[0], fits[1], rtol=1e-13)


def test_a_row_before_the_first_is_told() -> None:
    """Data say that the first row follows another one: it was read as if it were the first of an axis that wraps."""
    text = SPELT.format("Categorical(w) if new[t] else Categorical(A[z[t-1]])", "Normal(m[z[t]], 1)")
    model = emdsl.compile(text=text.replace("for t in T:\n", "for t in T:\n    given new[t] : bool\n"))
    with pytest.raises(emdsl.DataError, match="below 0: the value in row 0: -1"):
        model.fitter(max_iter=0).fit({"y": [0.3, 1.0], "new": [0, 1]})


MEALY = SPELT.replace(
    "    observed", "    latent k[t] ~ Categorical(w) if t == 0 else Categorical(B[z[t-1]])\n    observed"
)


def test_a_mixture_whose_weights_are_those_of_the_state_before() -> None:
    """In the first row no state is before it, and what the mixture leaves is no function of one: it was a network."""
    text = MEALY.replace("for t in T:", "param B[3] : simplex[3]\nfor t in T:", 1)
    model = emdsl.compile(text=text.format(BETWEEN[0], "Normal(m[k[t]], 1)"))
    assert model.plan["z"].method == "exact:chain"
    start = {"w": [0.5, 0.3, 0.2], "A": np.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.3, 0.3, 0.4]])}
    start |= {"B": np.array([[0.1, 0.6, 0.3], [0.3, 0.3, 0.4], [0.7, 0.2, 0.1]]), "m": np.array([-1.0, 0.0, 2.0])}
    y = np.array([0.3, -1.2, 2.2, 0.1])
    paths = [
        (np.log(np.r_[start["w"]][[z[0], k[0]]]).sum() + np.log([start["A"][z[t - 1], z[t]] for t in (1, 2, 3)]).sum()
         + np.log([start["B"][z[t - 1], k[t]] for t in (1, 2, 3)]).sum()
         - 0.5 * ((y - start["m"][list(k)]) ** 2 + np.log(2 * np.pi)).sum(), z, k)
        for z in product(range(3), repeat=4) for k in product(range(3), repeat=4)
    ]  # fmt: skip
    weights = np.exp([p for p, *_ in paths])
    found = model.fitter(max_iter=0, init=start).fit({"y": y})
    assert found.log_likelihood_ == pytest.approx(np.log(weights.sum()), rel=1e-12)
    for name, at in (("z", 1), ("k", 2)):
        for t in range(4):
            wanted = [weights[[p[at][t] == j for p in paths]].sum() for j in range(3)] / weights.sum()
            np.testing.assert_allclose(found.posterior_[name][t], wanted, rtol=1e-10)


@pytest.mark.parametrize("mean", ["a[max(t-1, 0)] if t > 0 else 0", "[0, a[max(t-1, 0)]][t > 0]"])
def test_a_level_whose_start_is_said_in_other_ways(mean: str) -> None:
    text = "model Level\nparam q : positive\nfor t in T:\n"
    text += "    latent a[t] ~ Normal({}, q)\n    observed y[t] ~ Normal(a[t], 1)"
    fits = [
        emdsl.compile(text=text.format(m)).fitter(max_iter=2, tol=0, init={"q": 0.5}).fit({"y": [0.3, -1.2, 2.2]})
        for m in (mean, "0 if t == 0 else a[t-1]")
    ]
    np.testing.assert_allclose(fits[0].history_, fits[1].history_, rtol=1e-13)
    assert emdsl.compile(text=text.format(mean)).plan["a"].method == "exact:kalman"


LEVELS = """latent a[i, t] : real[2] ~ MvNormal([0, 0], eye(2)) if t == 0 else MvNormal(a[i, t-1], 2 * eye(2))
        observed y[i, t] ~ MvNormal(a[i, t] + m, eye(2))"""


@pytest.mark.parametrize("line", ["observed y[i, t] ~ MvNormal(m, eye(2))", LEVELS])
def test_no_sequence_has_a_row(line: str) -> None:
    """Of vectors it was `no rows` (D013), and a chain of Gaussians raised the ValueError of its module."""
    text = f"model Empty\nparam m : real[2]\nfor i in I:\n    for t in T[i]:\n        {line}"
    fit = emdsl.compile(text=text).fitter(max_iter=1).fit({"y": [np.ones((3, 2)), np.zeros((0, 2))]})
    assert fit.score({"y": [[]]}) == 0.0
    np.testing.assert_array_equal(fit.score_samples({"y": [[], np.zeros((0, 2))]}), [0.0, 0.0])
    assert all(len(rows) == 0 for moments in fit.posterior({"y": [[]]}).values() for rows in moments["mean"])


def test_the_last_sequence_is_empty() -> None:
    """Night 12102, model 176: what stands at the first element of each sequence was looked up behind the end."""
    text = """
        model M
        param p : simplex[2]
        param m : real[2]
        for s in S:
            for n in N[s]:
                latent z[s, n] ~ Categorical(p) if n == 0 else Categorical([0.7, 0.3] if z[s, n-1] == 0 else [0.2, 0.8])
                given x[s, n] : real
                observed y[s, n] ~ Poisson(exp(m[z[s, n]] - (x[s, n] if n == 0 else x[s, n-1])))
    """
    model, none = emdsl.compile(text=text), np.zeros(0)
    x, y = [np.array([0.0, 1.0]), np.array([0.3])], [np.array([1, 0]), np.array([2])]
    fits = [
        model.fitter(max_iter=1, tol=0).fit({"x": given, "y": seen}, init={"p": [0.5, 0.5], "m": [0.0, 1.0]})
        for given, seen in ((x, y), ([x[0], none, x[1], none], [y[0], none, y[1], none]))
    ]
    np.testing.assert_allclose(fits[1].history_, fits[0].history_, rtol=1e-14)
