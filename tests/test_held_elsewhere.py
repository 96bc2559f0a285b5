"""Parameters that stand in two places of different kind: where a fit ends, the interpreter's log joint is level."""

from __future__ import annotations

import numpy as np
import pytest

import emdsl
from emdsl.fit.fitter import DegenerateError

PLATES = "for n in N:\n  for k in K:\n    "
MODELS = {  # name of a parameter -> a model
    "a mean of which each class has a covariance": (
        "b",
        f"model Mean\nparam b : real[2]\nparam c[K] : spd[2]\n{PLATES}observed y[n, k] ~ MvNormal(b, c[k])",
    ),
    "a mean of which each class has a precision": (
        "b",
        f"model Mean\nparam b : real[2]\nparam c[K] : spd[2]\n{PLATES}observed y[n, k] ~ MvNormal(b, precision = c[k])",
    ),
    "coefficients of which each class has a covariance": (
        "b",
        f"model Lines\nparam b : real[2, 2]\nparam c[K] : spd[2]\n{PLATES}given x[n, k] : real[2]\n"
        "    observed y[n, k] ~ MvNormal(b @ x[n, k], c[k])",
    ),
    "one variance for all cells in one branch, a matrix in the other": (
        "b",
        f"model Branches\nparam b : positive\nparam c : spd[2]\n{PLATES}given x[n, k] : real[2]\n"
        "    observed y[n, k] ~ MvNormal([1, 2], b * eye(2)) if x[n, k, 0] > 0 else MvNormal([1, 2], c)",
    ),
    "the inverse of a product": (  # its transpose times it was taken for no symmetric matrix, without end: E010
        "b",
        f"model Product\nparam b : real\nfactor -trace(inv([[2, 0], [b, 1]] @ [[1, 3 + b], [0, 1]]))\n{PLATES}"
        "observed y[n, k] ~ MvNormal([b, b], 9 * eye(2))",
    ),
}


@pytest.mark.parametrize(("name", "text"), MODELS.values(), ids=MODELS)
def test_a_fit_ends_where_the_log_joint_is_level(name: str, text: str) -> None:
    """Found by models written by chance. The matrix that joins rows was taken out of equations that hold one for each
    class: b = the mean of all rows. Cells that a branch counted were counted once a row where another had a matrix.
    """
    rng = np.random.default_rng(3)
    data = {"y": rng.normal(size=(30, 2, 2)) * [[[1.0], [4.0]]] + [1, 2]}
    if "given x" in text:
        data["x"] = rng.normal(size=(30, 2, 2))
    model = emdsl.compile(text=text)
    fit = model.fitter(tol=1e-13).fit(data)
    best, sizes = fit.params_, {"N": 30, "K": 2}
    assert model.log_joint({**best, **data}, sizes) == pytest.approx(fit.objective_, abs=1e-8)
    for at in np.ndindex(best[name].shape):
        moved = np.zeros(best[name].shape)
        moved[at] = 1e-4
        up, down = (model.log_joint({**best, **data, name: best[name] + s * moved}, sizes) for s in (1, -1))
        assert (up - down) / 2e-4 == pytest.approx(0, abs=1e-4)


def test_an_entry_of_a_matrix_as_a_mean_beside_one_that_goes_far() -> None:
    """Units of coordinates were looked for with steps of e^60 of others, or where a slope had levelled off: fits told
    that they had converged where W[1, 0, 1] was 1e-4 whatever the data.
    """
    text = """
        model Entries
        param w[2] : spd[2]
        for n in N:
            given c[n] : category[2]
            observed seen[n] ~ Bernoulli(exp(-w[0, 0, 0]))
            observed y[n] ~ Normal(w[c[n], 0, 1], 1)
    """
    y, c = np.array([0.3, 0.5, -0.9, -0.7]), np.array([0, 0, 1, 1])
    fit = emdsl.compile(text=text).fitter(seed=0, tol=1e-13).fit({"y": y, "c": c, "seen": np.array([0, 1, 0, 0])})
    np.testing.assert_allclose(fit.params_["w"][:, 0, 1], [0.4, -0.8], atol=1e-5)


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ("param s : positive ~ Exponential(1)\nfactor log(1 / s)", "s has collapsed"),  # stayed at 1: "converged"
        ("param s : real\nfactor -a^2 * exp(s)", "s goes to minus infinity"),  # E106: "the log joint has no value"
    ],
)
def test_what_priors_and_penalties_alone_drive_out_of_its_domain_is_told(lines: str, told: str) -> None:
    model = emdsl.compile(text=f"model Driven\nparam a : real\n{lines}\nfor n in N:\n    observed y[n] ~ Normal(a, 1)")
    try:
        said = model.fitter(seed=0).fit({"y": np.array([1.0, 2, 3])}).message_
    except emdsl.EmdslError as error:
        said = str(error)
    assert told in said


@pytest.mark.parametrize(
    ("domain", "penalty", "told"),
    [
        ("unit", "0.5 * (a - 0.3)^2", "a lies on the boundary"),
        ("positive(max = 3)", "0.5 * (a - 1)^2", "a lies on the boundary"),
        ("positive", "0.5 * (a - 0.3)^2", "a has collapsed"),
        ("real", "0.5 * (a - 0.3)^2", "became inf"),
    ],
)
def test_a_root_where_the_objective_is_least_is_no_update(domain: str, penalty: str, told: str) -> None:
    """A penalty that grows both ways has its root at its least value, which was taken and told converged."""
    text = f"model M\nparam a : {domain}\nfactor {penalty}\nfor n in N:\n    observed y[n] ~ Normal(0, 1)\n"
    model = emdsl.compile(text=text)
    assert [u.kind for u in model.derived.updates] == ["newton"]
    fit = model.fitter(seed=0, on_degenerate="keep").fit({"y": np.array([0.1, 0.2])})
    assert told in fit.message_, fit.message_


@pytest.mark.parametrize(
    ("param", "penalty", "family"),
    [
        ("a : real", "2 * a^2", "Normal(a, 1)"),
        ("a : positive", "2 * a^2", "Normal(a, 1)"),
        ("a[2] : real", "2 * a[0]^2", "Normal(a[n % 2], 1)"),
        ("a : real[2]", "2 * (a @ a)", "Normal(a[0] + a[1], 1)"),
        ("a : real", "6 * exp(a) - 4 * a", "Poisson(exp(a))"),
        ("a : unit", "-5 * log(a) - 5 * log(1 - a)", "Bernoulli(a)"),
    ],
)
def test_a_penalty_that_outweighs_the_data_leaves_no_best_value(param: str, penalty: str, family: str) -> None:
    """The root is a minimum, or a saddle, for three rows: it had converged there."""
    text = f"model M\nparam {param}\nfactor {penalty}\nfor n in N:\n    observed y[n] ~ {family}\n"
    with pytest.raises(DegenerateError, match="no value of a is best"):
        emdsl.compile(text=text).fitter(seed=0).fit({"y": np.array([0, 1, 1])})
