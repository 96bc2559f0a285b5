"""The estimator: what it promises of history, starts, statuses, sizes, weights and additivity."""

from __future__ import annotations

import ast
import copy
import pickle
import subprocess
import sys
import types
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pytest
from fixtures import hand_gmm, hand_poisson
from fixtures.hand_gmm import GaussianMixture
from fixtures.hand_poisson import RaggedPoisson

import emdsl
from emdsl.runtime.bundle import BUNDLED, bundle
from emdsl.runtime.data.faults import ConvergenceWarning, DataError, DegenerateFit
from emdsl.runtime.data.frames import Table
from emdsl.runtime.fitting.climbs import Climb
from emdsl.runtime.fitting.estimator import Estimator
from emdsl.runtime.fitting.loop import best_climb, remaining

RNG = np.random.default_rng(7)
X = np.concatenate([RNG.normal(0, 1, (60, 2)), RNG.normal(4, 1, (90, 2))])
START = {"weights": [0.5, 0.5], "mean": [[0.0, 0.0], [3.0, 3.0]], "cov": np.repeat(np.eye(2)[None], 2, 0)}


def quiet(estimator: Estimator, *args: Any, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return estimator.fit(*args, **options)


# ---------------------------------------------------------------- history


def test_history_is_the_objective_before_each_m_step() -> None:
    fit = quiet(GaussianMixture(max_iter=3, tol=0, init=START), X)
    params: dict[str, Any] = {n: np.asarray(v, float) for n, v in START.items()}
    by_hand = []
    for _ in range(4):
        statistics = fit.e_step(params, X)
        by_hand.append(statistics["log_likelihood"])
        last, params = params, fit.m_step(statistics, params)
    np.testing.assert_allclose(fit.history_, by_hand, rtol=1e-12)
    np.testing.assert_allclose(fit.params_["mean"], last["mean"], rtol=1e-12)
    assert fit.n_iter_ == 3 and fit.objective_ == fit.history_[-1] == fit.log_likelihood_
    assert np.all(np.diff(fit.history_) > 0)


def test_max_iter_zero_evaluates_the_start() -> None:
    fit = quiet(GaussianMixture(max_iter=0, init=START), X)
    assert len(fit.history_) == 1 and fit.n_iter_ == 0 and fit.status_ == "max_iter" and not fit.converged_
    np.testing.assert_array_equal(fit.params_["mean"], START["mean"])


def test_tol_is_absolute_change_over_one_plus_objective() -> None:
    fit = GaussianMixture(tol=1e-7, init=START).fit(X)
    change = np.abs(np.diff(fit.history_)) / (1 + np.abs(fit.history_[1:]))
    assert (change[:-2] >= 1e-7).all() and change[-1] < 1e-7  # one more where paces of so few steps rise
    assert fit.converged_ and fit.status_ == "converged" and "converged after" in fit.message_


def test_tol_zero_never_stops_early() -> None:
    fit = quiet(GaussianMixture(tol=0, max_iter=200, init=START), X)
    assert fit.n_iter_ == 200 and fit.status_ == "max_iter"


def test_not_converging_is_said() -> None:
    with pytest.warns(ConvergenceWarning, match="max_iter = 2"):
        fit = GaussianMixture(max_iter=2, init=START).fit(X)
    assert "Aitken" in fit.message_


def test_aitken_on_a_geometric_series() -> None:
    history = [-(0.9**i) for i in range(10)]
    assert remaining(history) == pytest.approx(-history[-1])
    assert remaining([0.0, 1.0]) is None


def test_priors_count_in_the_objective_only() -> None:
    y = [[1, 2, 0], [7, 9], [8]]
    flat, prior = RaggedPoisson(seed=1).fit(y), RaggedPoisson(seed=1).fit({"y": y, "a0": 2.0})
    assert flat.objective_ == flat.log_likelihood_
    log_prior = (np.log(prior.params_["rate"]) - prior.params_["rate"]).sum()
    assert prior.objective_ == pytest.approx(prior.log_likelihood_ + log_prior)
    assert prior.history_[-1] == prior.objective_


# ---------------------------------------------------------------- starts


def test_same_seed_same_bytes() -> None:
    one, two = (GaussianMixture(seed=3, n_init=2).fit(X) for _ in range(2))
    assert one.params_["mean"].tobytes() == two.params_["mean"].tobytes() and one.seed_ == 3
    other = GaussianMixture(seed=4, n_init=2).fit(X)
    assert other.history_[0] != one.history_[0]


def test_no_seed_is_kept_to_repeat_the_fit() -> None:
    one = GaussianMixture().fit(X)
    assert GaussianMixture(seed=one.seed_).fit(X).history_ == one.history_


def test_best_of_starts_and_hit_count() -> None:
    fit = GaussianMixture(K=3, seed=0, n_init=5, max_iter=2000).fit(X)
    single = [quiet(GaussianMixture(K=3, seed=0, n_init=1, max_iter=2000), X).objective_]
    assert fit.objective_ >= single[0] and "of 5 starts" in fit.message_


def test_partial_init_and_one_fit_starts_another() -> None:
    fit = quiet(GaussianMixture(max_iter=0, seed=0), X, init={"mean": START["mean"]})
    np.testing.assert_array_equal(fit.params_["mean"], START["mean"])
    again = GaussianMixture().fit(X, init=GaussianMixture(seed=0).fit(X).params_)
    assert again.n_iter_ <= 3  # as many as tell that steps are shrinking


@pytest.mark.parametrize(
    ("init", "words"),
    [
        ({"men": [0]}, "did you mean mean"),
        ({"mean": [0.0]}, "shape (1,), but is declared with shape (2, 2)"),
        ({"weights": [0.5, 0.6]}, "sum to 1"),
        ({"cov": np.zeros((2, 2, 2))}, "positive definite"),
        ({"mean": np.full((2, 2), np.nan)}, "finite"),
        ({"mean": [["a", "b"], ["c", "d"]]}, "must be real numbers"),
        ({"mean": [["1", "2"], ["3", "4"]]}, "must be real numbers"),  # of which numpy makes them
        (3, "dict of arrays"),
    ],
)
def test_wrong_init_is_refused(init: Any, words: str) -> None:
    with pytest.raises(DataError) as info:
        GaussianMixture().fit(X, init=init)
    assert words in str(info.value)


# ---------------------------------------------------------------- statuses


def changed(**functions: Any) -> type[Estimator]:
    """The hand-written mixture with some functions replaced."""
    names = {n: getattr(hand_gmm, n) for n in dir(hand_gmm) if not n.startswith("__")}
    module = types.SimpleNamespace(**{**names, **functions})
    return type("Changed", (Estimator,), {"_module": module})


def test_a_fall_stops_and_keeps_the_best() -> None:
    calls = []

    def m_step(statistics: Any, params: Any, prepared: Any, policy: str) -> Any:
        calls.append(1)
        good = hand_gmm.m_step(statistics, params, prepared, policy)
        return good if len(calls) < 3 else {**good, "mean": good["mean"] + 3}

    fit = quiet(changed(m_step=m_step)(init=START), X)
    assert fit.status_ == "decreased" and not fit.converged_ and fit.n_iter_ == 2 and "fell" in fit.message_
    assert fit.objective_ == max(fit.history_)
    assert fit.score(X) * len(X) == pytest.approx(fit.objective_)


def test_nan_is_never_converged() -> None:
    bad = changed(m_step=lambda s, p, prepared, policy: {**p, "mean": p["mean"] * np.nan})
    with pytest.raises(DegenerateFit):
        bad(init=START).fit(X)
    fit = quiet(bad(init=START, on_degenerate="keep"), X)
    assert fit.status_ == "degenerate" and np.isfinite(fit.objective_) and np.isfinite(fit.params_["mean"]).all()


def test_collapse_raises_unless_told_otherwise() -> None:
    spike = np.concatenate([X, np.full((30, 2), 50.0)])
    start = {**START, "mean": [[2.0, 2.0], [50.0, 50.0]]}
    with pytest.raises(DegenerateFit, match="collapsed"):
        GaussianMixture(init=start).fit(spike)
    kept = quiet(GaussianMixture(init=start, on_degenerate="keep"), spike)
    assert "repaired (keep)" in kept.message_
    mended = quiet(GaussianMixture(init=start, on_degenerate="regularise"), spike)
    assert mended.status_ == "converged" and "repaired (regularise)" in mended.message_


def test_a_degenerate_start_never_wins() -> None:
    seen = []

    def initial(data: Any, prepared: Any, rng: Any) -> Any:
        seen.append(1)
        good = hand_gmm.initial(data, prepared, rng)
        return {**good, "cov": good["cov"] * 0} if len(seen) % 2 else good

    fit = changed(initial=initial)(n_init=4, seed=0).fit(X)
    assert fit.status_ == "converged" and "2 of them degenerate" in fit.message_
    ends = [Climb({}, (top,), top, status, "") for top, status in ((1.0, "converged"), (9.0, "degenerate"))]
    assert best_climb(ends).objective == 1.0  # however high it came
    seen.clear()
    again = changed(initial=initial)(seed=0, on_degenerate="restart").fit(X)
    assert again.status_ == "converged" and len(seen) == 2


def test_interrupt_keeps_the_best_so_far() -> None:
    calls = []

    def m_step(*args: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return hand_gmm.m_step(*args)

    fit = changed(m_step=m_step)(init=START).fit(X)
    assert fit.status_ == "interrupted" and fit.n_iter_ == 2 and not fit.converged_


def test_interrupt_between_starts_keeps_the_best() -> None:
    calls = []

    def initial(data: Any, prepared: Any, rng: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return hand_gmm.initial(data, prepared, rng)

    fit = changed(initial=initial)(n_init=5, seed=0).fit(X)
    assert fit.status_ == "interrupted" and "of 2 starts" in fit.message_ and np.isfinite(fit.objective_)


def test_a_sampled_objective_needs_more_than_one_small_step() -> None:
    spec = {**hand_gmm.SPEC, "plan": {"z": ["mcmc:gibbs", ""]}}
    exact = GaussianMixture(init=START, tol=1e-6).fit(X)
    sampled = changed(SPEC=spec)(init=START, tol=1e-6).fit(X)
    assert sampled.n_iter_ == exact.n_iter_ + 9 and sampled.log_likelihood_ is None


def test_zero_density_names_the_row() -> None:
    def rows(params: Any, data: Any, prepared: Any) -> Any:
        return np.where(np.arange(len(X)) == 17, -np.inf, 0.0)

    none = changed(e_step=lambda *a: {"log_likelihood": -np.inf}, log_likelihood_rows=rows)
    with pytest.raises(DataError, match=r"1 row has zero density .*: row 17"):
        none(init=START).fit(X)


def test_boundary_is_said() -> None:
    stuck = changed(m_step=lambda *a: {**hand_gmm.m_step(*a), "weights": np.array([1.0, 0.0])}, e_step=_without_weights)
    fit = stuck(init=START).fit(X)
    assert fit.status_ == "boundary" and fit.converged_ and "weights" in fit.message_


def _without_weights(params: Any, data: Any, prepared: Any) -> Any:
    return hand_gmm.e_step({**params, "weights": np.array([0.5, 0.5])}, data, prepared)


# ---------------------------------------------------------------- options and sizes


def test_sizes_by_name_and_in_a_dict() -> None:
    assert GaussianMixture(K=3, seed=0).fit(X).params_["mean"].shape == (3, 2)
    assert GaussianMixture(sizes={"K": 1}).fit(X).params_["mean"].shape == (1, 2)
    with pytest.raises(TypeError, match="did you mean n_init"):
        GaussianMixture(n_int=3)
    with pytest.raises(DataError, match="positive whole number"):
        GaussianMixture(K=0).fit(X)
    with pytest.raises(DataError, match="D is 3"):
        GaussianMixture(D=3).fit(X)


@pytest.mark.parametrize(
    "wrong", [{"tol": -1}, {"tol": float("nan")}, {"max_iter": -1}, {"n_init": 0}, {"on_degenerate": "x"}, {"seed": -1}]
)
def test_wrong_options(wrong: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=next(iter(wrong))):
        GaussianMixture(**wrong).fit(X)


def test_fixed_needs_the_compiler() -> None:
    with pytest.raises(NotImplementedError, match="emdsl"):
        GaussianMixture(fixed={"mean": START["mean"]}).fit(X)


def test_before_fit_it_says_so() -> None:
    with pytest.raises(AttributeError, match="call fit first"):
        _ = GaussianMixture().params_
    with pytest.raises(ValueError, match="call fit first"):
        GaussianMixture().predict(X)
    assert not hasattr(GaussianMixture(), "posterior_")


def test_scikit_learn_conventions() -> None:
    base = pytest.importorskip("sklearn.base")
    selection = pytest.importorskip("sklearn.model_selection")
    fit = GaussianMixture(K=3, seed=2, tol=1e-5)
    twin = base.clone(fit)
    assert twin.get_params() == fit.get_params() and "K=3" in repr(twin)
    assert twin.set_params(K=2).get_params()["K"] == 2
    search = selection.GridSearchCV(GaussianMixture(seed=0), {"K": [1, 2]}, cv=3).fit(RNG.permutation(X))
    assert search.best_params_ == {"K": 2}


def test_pickle_and_copy() -> None:
    fit = GaussianMixture(seed=0).fit(X)
    for twin in (pickle.loads(pickle.dumps(fit)), copy.deepcopy(fit)):  # noqa: S301
        assert twin.score(X) == fit.score(X)
        np.testing.assert_array_equal(twin.posterior_["z"], fit.posterior_["z"])
    assert pickle.loads(pickle.dumps(GaussianMixture(K=4))).get_params()["K"] == 4  # noqa: S301


def test_results_of_an_earlier_fit_do_not_linger() -> None:
    fit = GaussianMixture(seed=0).fit(X)
    _ = fit.posterior_
    fit.fit(X[:20])
    assert fit.posterior_["z"].shape == (20, 2) and fit.sizes_["N"] == 20


def test_two_fits_at_once_are_as_each_alone() -> None:
    """Of one module, each in a thread, one step of the one between two of the other."""
    turns = Barrier(2, timeout=60)

    def fitted(seed: int, wait: bool) -> Any:
        progress = (lambda step, objective: turns.wait()) if wait else None
        return quiet(GaussianMixture(seed=seed, max_iter=6, tol=0, progress=progress), X[: 40 + 60 * seed])

    with ThreadPoolExecutor(2) as threads:
        together = list(threads.map(lambda seed: fitted(seed, True), (0, 1)))
    for seed, fit in enumerate(together):
        alone = fitted(seed, False)
        assert fit.history_ == alone.history_ and fit.sizes_ == alone.sizes_
        assert all(np.array_equal(v, alone.params_[n]) for n, v in fit.params_.items())


# ---------------------------------------------------------------- answers


def test_posteriors_predictions_scores() -> None:
    fit = GaussianMixture(seed=0, tol=1e-10).fit(X)
    r = fit.posterior_["z"]
    np.testing.assert_allclose(r.sum(1), 1)
    np.testing.assert_array_equal(fit.posterior(X)["z"], r)
    np.testing.assert_array_equal(fit.predict_proba(X), r)
    np.testing.assert_array_equal(fit.predict(X), r.argmax(1))
    assert fit.score(X) == pytest.approx(fit.log_likelihood_ / len(X)) and fit.score_samples(X).shape == (len(X),)
    assert fit.n_parameters_ == 1 + 4 + 6
    assert fit.aic() == pytest.approx(2 * 11 - 2 * fit.log_likelihood_)
    assert fit.bic() == pytest.approx(11 * np.log(len(X)) - 2 * fit.log_likelihood_)
    with pytest.raises(DataError, match="the parameters"):
        fit.predict(X[:, :1])


def test_columns_of_the_fit_serve_later_frames() -> None:
    table = Table({"u": X[:, 0], "v": X[:, 1], "w": X[:, 0]})
    fit = GaussianMixture(seed=0).fit(table, columns={"x": ["u", "v"]})
    np.testing.assert_array_equal(fit.predict(table), fit.predict(X))


def test_ragged_answers_are_lists() -> None:
    y = [[1, 2, 0], [], [17, None]]
    fit = RaggedPoisson(seed=0).fit(y)
    assert [p.shape for p in fit.predict(y)] == [(3,), (0,), (2,)]
    assert [p.shape for p in fit.posterior_["z"]] == [(3, 2), (0, 2), (2, 2)]
    np.testing.assert_allclose(fit.posterior_["z"][2][1], fit.params_["weights"])
    assert fit.score_samples(y).shape == (3,)


def test_weights_equal_repeated_rows() -> None:
    twice = GaussianMixture(init=START, tol=1e-12).fit(np.repeat(X, 2, axis=0))
    weighted = GaussianMixture(init=START, tol=1e-12).fit(X, np.full(len(X), 2.0))
    np.testing.assert_allclose(weighted.params_["cov"], twice.params_["cov"], rtol=1e-9)
    assert weighted.log_likelihood_ == pytest.approx(twice.log_likelihood_) and weighted.bic() == pytest.approx(
        twice.bic()
    )
    weights = np.ones(len(X))
    weights[:5] = 0
    some, fewer = GaussianMixture(init=START).fit(X, weights), GaussianMixture(init=START).fit(X[5:])
    np.testing.assert_allclose(some.params_["mean"], fewer.params_["mean"], rtol=1e-9)


def test_statistics_add_up_over_partitions() -> None:
    one = GaussianMixture()
    params = {n: np.asarray(v, float) for n, v in START.items()}
    whole = one.e_step(params, X)
    parts = [one.e_step(params, X[:40]), one.e_step(params, X[40:])]
    for name, value in whole.items():
        np.testing.assert_allclose(parts[0][name] + parts[1][name], value, rtol=1e-11, atol=1e-9)
    total = {n: parts[0][n] + parts[1][n] for n in whole}
    np.testing.assert_allclose(one.m_step(total)["cov"], one.m_step(whole)["cov"], rtol=1e-10)


def test_progress_is_called() -> None:
    seen: list[tuple[int, float]] = []
    fit = GaussianMixture(init=START, progress=lambda i, v: seen.append((i, v))).fit(X)
    assert [i for i, _ in seen] == list(range(1, fit.n_iter_ + 1)) and seen[-1][1] == fit.objective_


def test_bounds_are_not_log_likelihoods() -> None:
    spec = {**hand_gmm.SPEC, "plan": {"z": ["meanfield", ""]}}
    fit = changed(SPEC=spec)(init=START).fit(X)
    assert fit.log_likelihood_ is None and np.isfinite(fit.objective_)
    with pytest.raises(ValueError, match="no log-likelihood"):
        fit.aic()


# ---------------------------------------------------------------- alone


def test_the_bundle_runs_without_emdsl(tmp_path: Path) -> None:
    imports, body = bundle()
    assert "emdsl" not in "\n".join(imports)
    fixture = (
        Path(hand_poisson.__file__).read_text().replace("from emdsl.runtime.fitting.estimator import Estimator\n", "")
    )
    head = "\n".join(["from __future__ import annotations", *imports])
    (tmp_path / "alone.py").write_text(f"{head}\n\n{body}\n\n{fixture}")
    code = (
        "import sys; sys.modules['emdsl'] = None\n"
        "import alone, pickle\n"
        "f = alone.RaggedPoisson(seed=0).fit([[1, 2], [9]])\n"
        "f.save('fit.json'); g = alone.RaggedPoisson().restore('fit.json')\n"
        "assert g.score([[1], [9]]) == f.score([[1], [9]]) == pickle.loads(pickle.dumps(f)).score([[1], [9]])\n"
        "print(f.status_)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "converged", done.stderr


def module_names(text: str) -> list[str]:
    """What a module defines, in its order."""
    names = []
    for node in ast.parse(text).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.append(node.name)
        else:
            targets = getattr(node, "targets", [getattr(node, "target", node)])
            names += [n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)]
    return names


def test_the_bundle_defines_each_name_once() -> None:
    names = module_names(bundle()[1])
    assert sorted({n for n in names if names.count(n) > 1}) == []


def test_the_bundle_and_what_is_printed_beside_it_share_no_name() -> None:
    """A helper of that name would take the place of the bundle's own."""
    mine, runtime = {*module_names(bundle()[1])}, Path(emdsl.__file__).parent / "runtime"
    beside = [p for p in runtime.rglob("*.py") if p.relative_to(runtime).with_suffix("").as_posix() not in BUNDLED]
    shared = {p.name: mine & {*module_names(p.read_text(encoding="utf-8"))} for p in beside}
    assert shared and {n: names for n, names in shared.items() if names} == {}


STARTED = {
    "rows": "for n in N:\n    latent z[n] ~ Categorical(w)\n    observed x[n] ~ Normal(mu[z[n]], 1)\n",
    "a chain": "for t in N:\n    latent z[t] ~ Categorical(w) if t == 0 else Categorical(T[z[t-1]])\n"
    "    observed x[t] ~ Normal(mu[z[t]], 1)\nparam T[2] : simplex[2]\n",
    "two plates": "for g in G:\n    for n in N:\n        latent z[g, n] ~ Categorical(w)\n"
    "        observed x[g, n] ~ Normal(mu[z[g, n]], 1)\n",
    "ragged": "for g in G:\n    for n in T[g]:\n        latent z[g, n] ~ Categorical(w)\n"
    "        observed x[g, n] ~ Normal(mu[z[g, n]], 1)\n",
}


@pytest.mark.parametrize("name", STARTED)
def test_the_posterior_of_an_enumerated_latent_starts_a_fit(name: str) -> None:
    """The first M-step is made with it: states change places with its columns."""
    model = emdsl.compile(text="model M\nparam w : simplex[2]\nparam mu[2] : real\n" + STARTED[name])
    rng = np.random.default_rng(0)
    flat = np.concatenate([rng.normal(0, 1, 12), rng.normal(6, 1, 8)])
    x: Any = {"two plates": flat.reshape(5, 4), "ragged": [flat[:3], flat[3:3], flat[3:]]}.get(name, flat)
    fit = model.fitter(seed=0).fit({"x": x})
    q = fit.posterior_["z"]
    turned = [p[:, ::-1] for p in q] if name == "ragged" else q[..., ::-1]
    other = model.fitter(init={"z": turned}, max_iter=1, tol=0)
    with pytest.warns(ConvergenceWarning):
        other.fit({"x": x})
    np.testing.assert_allclose(other.params_["mu"], fit.params_["mu"][::-1], rtol=1e-4, atol=1e-4)
    with pytest.raises(emdsl.DataError, match="init: z must hold probabilities"):
        model.fitter(init={"z": q[:2]}).fit({"x": x})
