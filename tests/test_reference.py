"""The gallery on real data: the numbers of the literature, and EM by hand step by step from the same start."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gallery import fit, matrix, table
from oracles import continuous, discrete, gaussian
from oracles.paths import Path
from scipy.special import gammaln
from scipy.stats import nbinom

pytestmark = pytest.mark.filterwarnings("ignore::emdsl.runtime.data.faults.ConvergenceWarning")

LSAT = ("i1", "i2", "i3", "i4", "i5")
STACK = ("air_flow", "water_temp", "acid_conc")


def faithful() -> np.ndarray:
    return matrix("faithful", "eruptions", "waiting")


def counts(name: str) -> np.ndarray:
    return table(name)["count"].astype(float)


def close(value: Any, expected: Any, tol: float = 1e-7) -> None:
    np.testing.assert_allclose(value, expected, rtol=tol, atol=tol)


# ------------------------------------------------------------------------------------------ numbers of the literature


def test_old_faithful() -> None:
    est = fit("old_faithful", {"x": faithful()})
    close(est.log_likelihood_, -1130.263960180, 1e-11)
    order = np.argsort(est.params_["weights"])
    close(est.params_["weights"][order], [0.3558728597, 0.6441271403])
    close(est.params_["mean"][order], [[2.0363884609, 54.4785164402], [4.2896619787, 79.9681152411]])
    assert est.converged_ and est.n_parameters_ == 11
    close(est.bic(), 11 * np.log(272) + 2 * 1130.263960180, 1e-9)
    close(est.aic(), 22 + 2 * 1130.263960180, 1e-9)


def test_old_faithful_waiting_alone() -> None:
    est = fit("diagonal_gaussian_mixture", {"x": faithful()[:, 1:]})
    close(est.log_likelihood_, -1034.00174983, 1e-10)
    order = np.argsort(est.params_["mean"][:, 0])
    close(est.params_["mean"][order, 0], [54.61485751, 80.09107027], 2e-6)
    close(est.params_["sd"][order, 0], [5.87122058, 5.86773356], 2e-6)


@pytest.mark.parametrize(("size", "expected"), [(2, -360.36904), (3, -356.84894)])
def test_earthquakes(size: int, expected: float) -> None:
    est = fit("poisson_mixture", {"y": table("earthquakes")["count"]}, K=size, n_init=3)
    assert abs(est.log_likelihood_ - expected) < 6e-6


LSAT_STARTS = {
    2: [[0.3] * 5, [0.7] * 5],
    3: [[0.9, 0.5, 0.2, 0.6, 0.7], [0.5, 0.1, 0.01, 0.5, 0.6], [0.98, 0.8, 0.8, 0.8, 0.9]],
}


@pytest.mark.parametrize(("size", "expected"), [(2, -2467.405524), (3, -2464.650448)])
def test_lsat(size: int, expected: float) -> None:
    start = {"weights": np.ones(size) / size, "yes": np.array(LSAT_STARTS[size])}
    est = fit(
        "latent_classes", {"x": matrix("lsat6_patterns", *LSAT)}, weight=counts("lsat6_patterns"), K=size, init=start
    )
    assert abs(est.log_likelihood_ - expected) < 1e-6


def test_genetic_linkage_digit_by_digit() -> None:
    path = [0.6082474226804123, 0.6243210503692704, 0.6264888790796673, 0.6267773223473097, 0.6268156321100443]
    data, weight = {"phenotype": table("linkage")["phenotype"]}, counts("linkage")
    for steps, expected in enumerate(path, 1):
        est = fit("genetic_linkage", data, weight=weight, init={"t": 0.5}, max_iter=steps, tol=0)
        assert abs(est.params_["t"] - expected) < 2e-15
        assert est.n_iter_ == steps and len(est.history_) == steps + 1
    limit = (15 + np.sqrt(53809)) / 394
    est = fit("genetic_linkage", data, weight=weight)
    assert abs(est.params_["t"] - limit) < 1e-6  # the objective is flat to 1e-13 there
    errors = np.array([0.5, *path]) - limit
    assert abs(errors[4] / errors[3] - 0.1327787) < 1e-4


def test_genetic_linkage_information() -> None:
    """The observed information, 377.5169, is the curvature of `score` at the maximum."""
    data, weight = {"phenotype": table("linkage")["phenotype"]}, counts("linkage")
    top, h = (15 + np.sqrt(53809)) / 394, 1e-4

    def value(t: float) -> float:
        return float(fit("genetic_linkage", data, weight=weight, init={"t": t}, max_iter=0).history_[0])

    assert abs(-(value(top + h) - 2 * value(top) + value(top - h)) / h**2 - 377.5169) < 1e-2


def test_blood_groups() -> None:
    est = fit("blood_groups", {"phenotype": table("abo")["phenotype"]}, weight=counts("abo"))
    close(est.params_["allele"], [0.2135909391, 0.0501453289, 0.736263732])
    n = counts("abo")
    one_draw = est.log_likelihood_ + gammaln(n.sum() + 1) - gammaln(n + 1).sum()
    assert abs(one_draw + 8.372631) < 1e-6
    assert est.n_parameters_ == 2


def test_newcomb() -> None:
    est = fit("student", {"x": table("newcomb")["x"]})
    close([est.params_["mean"], np.sqrt(est.params_["s2"])], [27.486780, 4.509657], 1e-6)
    assert abs(est.log_likelihood_ + 217.191299) < 1e-6


def test_newcomb_with_free_degrees_of_freedom() -> None:
    est = fit("student_free_df", {"x": table("newcomb")["x"]})
    found = [est.params_["df"], est.params_["mean"], np.sqrt(est.params_["s2"])]
    close(found, [2.131133, 27.401752, 3.810366], 1e-5)
    assert abs(est.log_likelihood_ + 215.375904) < 1e-6


def test_npreg() -> None:
    """-642.532014 is the maximum. flexmix prints -642.545166, lower: it divides the sums of squares by N - 3 for N,
    which is not maximum likelihood. At the point where flexmix stops, the log-likelihood is what it prints."""
    x, y = table("npreg")["x"], table("npreg")["yn"]
    est = fit("mixture_of_regressions", {"x": x, "y": y}, n_init=10)
    assert abs(est.log_likelihood_ + 642.53201374) < 1e-6
    design = np.column_stack([np.ones(200), x, x**2])
    flexmix = continuous.mixture_of_regressions(design, y, est.params_, 200, lost=3).params
    there = fit("mixture_of_regressions", {"x": x, "y": y}, init=flexmix, max_iter=0)
    assert abs(there.history_[0] + 642.545166) < 1e-6


def test_accidents() -> None:
    """Greenwood and Yule: the negative binomial, and the zero-inflated Poisson that it beats."""
    data, weight = {"y": table("accidents")["y"]}, counts("accidents")
    est = fit("negative_binomial", data, weight=weight)
    close([est.params_["mean"], est.params_["shape"]], [0.46522411, 0.86511582], 1e-5)
    p = est.params_["shape"] / (est.params_["shape"] + est.params_["mean"])
    close(est.log_likelihood_, weight @ nbinom.logpmf(data["y"], est.params_["shape"], p), 1e-10)
    assert abs(est.log_likelihood_ + 592.26709723) < 1e-7
    est = fit("zero_inflated_poisson", data, weight=weight)
    close([est.params_["zero"], est.params_["rate"]], [0.47253338, 0.88199726], 1e-5)
    assert abs(est.log_likelihood_ + 593.27223445) < 1e-7


def test_stack_loss() -> None:
    """Lange, Little and Taylor 1989, table 1, four degrees of freedom."""
    est = fit("robust_regression", {"X": matrix("stackloss", *STACK), "y": table("stackloss")["loss"]})
    close([est.params_["a"], *est.params_["b"]], [-40.06809269, 0.85709078, 0.74526881, -0.11512483], 1e-5)
    assert abs(est.log_likelihood_ + 51.42333743) < 1e-7


def rated() -> dict[str, np.ndarray]:
    return {name: table("anaesthetists")[name] for name in ("patient", "observer", "label")}


def majority(data: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Dawid and Skene's start, equation 3.1: each patient's shares of labels, and one M-step."""
    share, table_ = np.zeros((45, 4)), np.zeros((5, 4, 4))
    np.add.at(share, (data["patient"], data["label"]), 1.0)
    share /= share.sum(1, keepdims=True)
    np.add.at(table_, (data["observer"], slice(None), data["label"]), share[data["patient"]])
    return {"prevalence": share.mean(0), "confusion": table_ / table_.sum(-1, keepdims=True)}


def test_dawid_skene() -> None:
    """Table 2 of the paper: prevalences .40, .42, .11, .07, and the first observer's errors."""
    data = rated()
    est = fit("dawid_skene", data, init=majority(data))
    assert abs(est.log_likelihood_ + 192.890881214) < 1e-7
    close(est.params_["prevalence"], [0.39955475, 0.42198339, 0.11179519, 0.06666667], 1e-6)
    close(est.params_["confusion"][0, 1], [0.071, 0.876, 0.053, 0], 1e-3)


def test_word_alignment() -> None:
    """Koehn 2010, figure 4.5: the third iteration gives t(the | das) = .7479, t(house | das) = .1313."""
    words = table("words")
    data = {name: [words[name][words["sentence"] == s] for s in range(3)] for name in ("source", "target")}
    est = fit("word_alignment", data, init={"dictionary": np.ones((4, 4)) / 4}, max_iter=3, tol=0)
    assert est.labels_ == {"E": ["Buch", "Haus", "das", "ein"], "F": ["a", "book", "house", "the"]}
    close(est.params_["dictionary"][2], [0, 0.1208, 0.1313, 0.7479], 5e-5)


# ------------------------------------------------------------------------------------------ EM by hand, step by step

STEPS = 30


def spread(x: np.ndarray, size: int) -> np.ndarray:
    """`size` rows of `x`, far apart, as a start."""
    return x[np.argsort(x[:, 0])[np.linspace(0, len(x) - 1, size + 2).astype(int)[1:-1]]]


def gaussian_case(oracle: Any, **shape: Any) -> tuple[dict[str, Any], np.ndarray | None, dict[str, Any], Path]:
    x = faithful()
    start = {"weights": np.array([0.3, 0.3, 0.4]), "mean": spread(x, 3), **shape}
    return {"x": x}, None, start, oracle(x, start, STEPS)


def weighted_gaussians() -> tuple[dict[str, Any], np.ndarray, dict[str, Any], Path]:
    x = faithful()[:60]
    weight = np.random.default_rng(5).integers(0, 4, 60) / 2.0
    start = {"weights": np.ones(2) / 2, "mean": spread(x, 2), "cov": np.stack([np.diag([0.5, 90.0])] * 2)}
    return {"x": x}, weight, start, gaussian.full(x, start, STEPS, weight)


def far_gaussians() -> tuple[dict[str, Any], None, dict[str, Any], Path]:
    x = faithful() + 1e7
    start = {"weights": np.ones(2) / 2, "mean": spread(x, 2), "cov": np.stack([np.diag([0.5, 90.0])] * 2)}
    return {"x": x}, None, start, gaussian.full(x, start, STEPS)


def earthquakes_case() -> tuple[dict[str, Any], None, dict[str, Any], Path]:
    y = table("earthquakes")["count"].astype(float)
    start = {"weights": np.array([0.2, 0.3, 0.5]), "rate": np.array([10.0, 20.0, 25.0])}
    return {"y": y}, None, start, discrete.poisson_mixture(y, start, STEPS)


def lsat_case() -> tuple[dict[str, Any], np.ndarray, dict[str, Any], Path]:
    x, weight = matrix("lsat6_patterns", *LSAT), counts("lsat6_patterns")
    start = {"weights": np.array([0.2, 0.3, 0.5]), "yes": np.array(LSAT_STARTS[3])}
    return {"x": x}, weight, start, discrete.latent_classes(x, start, STEPS, weight)


def linkage_case() -> tuple[dict[str, Any], np.ndarray, dict[str, Any], Path]:
    start = {"t": np.array(0.1)}
    path = discrete.genetic_linkage(counts("linkage"), start, STEPS)
    return {"phenotype": table("linkage")["phenotype"]}, counts("linkage"), start, path


def blood_case() -> tuple[dict[str, Any], np.ndarray, dict[str, Any], Path]:
    start = {"allele": np.array([0.5, 0.2, 0.3])}
    path = discrete.blood_groups(counts("abo"), start, STEPS)
    return {"phenotype": table("abo")["phenotype"]}, counts("abo"), start, path


def zero_case() -> tuple[dict[str, Any], np.ndarray, dict[str, Any], Path]:
    y, weight, start = table("accidents")["y"], counts("accidents"), {"zero": np.array(0.2), "rate": np.array(3.0)}
    return {"y": y}, weight, start, discrete.zero_inflated_poisson(y, start, STEPS, weight)


def student_case() -> tuple[dict[str, Any], None, dict[str, Any], Path]:
    x, start = table("newcomb")["x"].astype(float), {"mean": np.array(20.0), "s2": np.array(100.0)}
    return {"x": x}, None, start, continuous.student(x, start, STEPS, 4.0)


def stack_case() -> tuple[dict[str, Any], None, dict[str, Any], Path]:
    X, y = matrix("stackloss", *STACK), table("stackloss")["loss"].astype(float)
    start = {"a": np.array(-30.0), "b": np.array([0.5, 0.5, 0.5]), "s2": np.array(30.0)}
    return {"X": X, "y": y}, None, start, continuous.robust_regression(X, y, 4.0, start, STEPS)


def npreg_case() -> tuple[dict[str, Any], None, dict[str, Any], Path]:
    x, y = table("npreg")["x"], table("npreg")["yn"]
    X = np.column_stack([np.ones(200), x, x**2])
    coef = np.array([[10.0, 5.0, -0.5], [1.0, 3.0, 0.1]])
    start = {"weights": np.array([0.4, 0.6]), "coef": coef, "sd": np.array([8.0, 6.0])}
    return {"x": x, "y": y}, None, start, continuous.mixture_of_regressions(X, y, start, STEPS)


def skene_case() -> tuple[dict[str, Any], None, dict[str, Any], Path]:
    data, rng = rated(), np.random.default_rng(3)
    start = {"prevalence": rng.dirichlet(np.ones(4)), "confusion": rng.dirichlet(np.ones(4), (5, 4))}
    return data, None, start, discrete.dawid_skene(data["patient"], data["observer"], data["label"], start, STEPS)


def words_case() -> tuple[dict[str, Any], None, dict[str, Any], Path]:
    rng = np.random.default_rng(7)
    pairs = [([0, 1, 2], [0, 4]), ([2], [3, 4, 1]), ([1, 1, 3], [2, 2, 0, 3]), ([0, 3], [1]), ([3, 2], [4, 0])]
    data = {"source": [np.array(s) for s, _ in pairs], "target": [np.array(t) for _, t in pairs]}
    start = {"dictionary": rng.dirichlet(np.ones(5), 4)}
    return data, None, start, discrete.word_alignment(pairs, start, STEPS)


def rayleigh_case() -> tuple[dict[str, Any], None, dict[str, Any], Path]:
    rng = np.random.default_rng(2)
    h = np.concatenate([rng.rayleigh(1.0, 60), rng.rayleigh(5.0, 40)])
    start = {"weights": np.array([0.5, 0.5]), "scale": np.array([2.0, 3.0])}
    return {"h": h}, None, start, continuous.rayleigh_mixture(h, start, STEPS)


COV = np.diag([0.5, 90.0])
PATHS = {
    "old_faithful": lambda: gaussian_case(gaussian.full, cov=np.stack([COV] * 3)),
    "old_faithful, weights": weighted_gaussians,
    "old_faithful, at 1e7": far_gaussians,
    "tied_gaussian_mixture": lambda: gaussian_case(gaussian.tied, cov=COV),
    "diagonal_gaussian_mixture": lambda: gaussian_case(gaussian.diagonal, sd=np.array([[0.5, 9.0]] * 3)),
    "poisson_mixture": earthquakes_case,
    "latent_classes": lsat_case,
    "genetic_linkage": linkage_case,
    "blood_groups": blood_case,
    "zero_inflated_poisson": zero_case,
    "student": student_case,
    "robust_regression": stack_case,
    "mixture_of_regressions": npreg_case,
    "dawid_skene": skene_case,
    "word_alignment": words_case,
    "rayleigh_mixture": rayleigh_case,
}


@pytest.mark.parametrize("name", PATHS)
def test_em_step_by_step(name: str) -> None:
    """History and parameters after 30 iterations are those of EM written by hand from the same start."""
    data, weight, start, path = PATHS[name]()
    model = name.split(",")[0]
    sizes = {"K": len(start["weights"])} if "weights" in start else {}
    est = fit(model, data, weight=weight, init=start, max_iter=STEPS, tol=0, **sizes)
    np.testing.assert_allclose(est.history_, path.history, rtol=1e-9)
    for param, expected in path.params.items():
        np.testing.assert_allclose(est.params_[param], expected, rtol=1e-6, atol=1e-9)


def test_beetles() -> None:
    """A probit by a latent normal: the maximum of the binomial likelihood, constants counted."""
    rows = table("beetles")
    design = np.repeat(np.column_stack([np.ones(8), rows["dose"] - 1.8]), 2, 0)  # about a dose amid the others
    died = np.column_stack([rows["killed"], rows["n"] - rows["killed"]])
    data = {"X": design, "y": np.tile([1, 0], 8)}
    found = fit("probit_regression", data, weight=died.ravel().astype(float), tol=1e-14)
    slope = found.params_["beta"][1]
    np.testing.assert_allclose([found.params_["beta"][0] - 1.8 * slope, slope], [-34.935259, 19.727934], atol=1e-4)
    ways = gammaln(rows["n"] + 1) - gammaln(died + 1).sum(1)
    assert abs(found.log_likelihood_ + ways.sum() + 18.158898) < 1e-6
