"""Where densities end: data at the end of a support, outside one branch's support, at a threshold."""

import numpy as np
import pytest
from scipy import stats

import emdsl
from emdsl.errors import DataError


def fitted(text: str, data, **options):
    return emdsl.compile(text=text).fitter(seed=0, **options).fit(data)


@pytest.mark.parametrize(
    ("family", "data", "estimate"),
    [
        ("Exponential(a)", [0.0, 1, 2, 3], 4 / 6),
        ("Gamma(1, scale=a)", [0.0, 1, 2, 3], 6 / 4),
        ("Beta(1, a)", [0.0, 0.5], 2 / np.log(2)),
        ("Half(a)", [0.0, 3, 4], np.sqrt(25 / 3)),
    ],
)
def test_a_density_that_is_finite_at_the_end_of_its_support_takes_data_there(family, data, estimate):
    half = "family Half(x : positive | s : positive) = log(2)/2 - log(s) - log(pi)/2 - x^2/(2*s^2)\n"
    head = "model M\n" + (half if "Half" in family else "")
    fit = fitted(f"{head}param a : positive\nfor n in N: observed x[n] ~ {family}", np.array(data))
    np.testing.assert_allclose(fit.params_["a"], estimate, rtol=1e-6)


@pytest.mark.parametrize("family", ["Gamma(a, 1)", "Gamma(2, a)", "Gamma(2, a) if z[n] == 0 else LogNormal(a, 1)"])
def test_where_a_density_is_not_finite_at_the_end_data_are_refused_there(family):
    text = f"model M\nparam a : positive\nfor n in N:\n    latent z[n] ~ Bernoulli(0.5)\n    observed x[n] ~ {family}\n"
    with pytest.raises(DataError, match="must be positive"):
        fitted(text, np.array([0.0, 1.0]))


@pytest.mark.parametrize("wide", ["Normal(0, 2)", "Poisson(7)", "Exponential(0.4)"])
def test_data_outside_one_branch_have_the_others_density(wide):
    """Counts past a Binomial's trials, what is negative or an exact 0 beside a LogNormal: no statistic of that branch
    counts them."""
    rng = np.random.default_rng(1)
    whole = wide.startswith("Poisson")
    narrow = "Binomial(5, w)" if whole else "LogNormal(w, 0.5)"
    x = np.r_[rng.poisson(7, 9), 0, 2, 1] if whole else np.r_[rng.normal(0, 2, 9), 0.0, 1.5, 2]
    x = np.abs(x) if wide.startswith("Exponential") else x
    text = "model M\nparam w : unit\nparam p : unit\nfor n in N:\n    latent z[n] ~ Bernoulli(p)\n"
    fit = fitted(text + f"    observed x[n] ~ {narrow} if z[n] == 0 else {wide}", x, init={"w": 0.4, "p": 0.5})
    w, p = fit.params_["w"], fit.params_["p"]
    one = stats.binom.pmf(x, 5, w) if whole else stats.lognorm.pdf(x, 0.5, scale=np.exp(w))
    known = {
        "Normal": stats.norm.pdf(x, 0, 2),
        "Poisson": stats.poisson.pmf(x, 7),
        "Exponential": 0.4 * np.exp(-0.4 * x),
    }
    other = known[wide.split("(")[0]]
    np.testing.assert_allclose(fit.log_likelihood_, np.log((1 - p) * one + p * other).sum(), rtol=1e-10)
    np.testing.assert_allclose(fit.posterior_["z"][:, 1], p * other / ((1 - p) * one + p * other), atol=1e-10)


def test_a_threshold_is_compared_with_the_data_as_they_came():
    """Data are centred for squares; a condition on them is not moved, and is decided by their last digit."""
    x = np.array([2.1, 2.7, 3.1, 3.3, 3.3, 3.9, 4.6, 5.0]) + 1e6
    y = np.where(x >= 1000003.3, 1 + 2 * (x - 1e6), 5 - (x - 1e6)) + np.array([1, -1, 0.5, 0, 1, -1, 2, -1]) / 10
    text = (
        "model M\nparam a : real[2]\nparam b : real[2]\nparam s : positive\nfor n in N:\n    given x[n] : real\n"
        "    observed y[n] ~ Normal(a[0] + b[0]*x[n], s) if x[n] >= 1000003.3 else Normal(a[1] + b[1]*x[n], s)\n"
    )
    fit = fitted(text, {"x": x, "y": y})
    slopes = [np.polyfit(x[part] - 1e6, y[part], 1)[0] for part in (x >= 1000003.3, x < 1000003.3)]
    np.testing.assert_allclose(fit.params_["b"], slopes, rtol=1e-6)


def test_functions_of_data_are_of_the_data_as_they_came():
    """Numbers near 0 beside a reference point that is not: log((x - c) + c) has lost x, and had no density at all."""
    x = np.array([1e-20, 1e-9, 0.1, 2, 5, 9])
    y = np.array([1.0, 2, 3, 5, 12, 18])
    text = (
        "model M\nparam a : real\nparam b : real\nparam s : positive\nparam m : real\nparam q : positive\nfor n in N:\n"
        "    observed x[n] : positive ~ LogNormal(m, q)\n    observed y[n] ~ Normal(a + b*x[n], s)\n"
    )
    fit = fitted(text, {"x": x, "y": y})
    slope, intercept = np.polyfit(x, y, 1)
    expected = stats.lognorm.logpdf(x, np.log(x).std(), scale=np.exp(np.log(x).mean()))
    noise = y - intercept - slope * x
    expected = expected + stats.norm.logpdf(noise, 0, np.sqrt(np.mean(noise**2)))
    np.testing.assert_allclose(fit.log_likelihood_, expected.sum(), rtol=1e-9)


def test_a_factor_that_is_linear_in_a_bounded_parameter() -> None:
    """Its slope and curvature are numbers, no arrays: one by 0 was a ZeroDivisionError. The maximum is the bound."""
    params = "param b : real(min = 0.5, max = 2)\nparam m : real\nfactor -b"
    fit = (
        emdsl.compile(text=f"model M\n{params}\nfor n in N:\n    observed y[n] ~ Normal(m, 1)")
        .fitter()
        .fit(np.arange(4.0))
    )
    assert fit.params_["b"] == 0.5 and fit.status_ == "boundary"
