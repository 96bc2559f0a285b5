"""Elements that a filtered plate leaves out, and elements that share what they are sloped by."""

from __future__ import annotations

from zlib import crc32

import numpy as np
import pytest
from cases import Case, normal
from scipy.stats import binom, gamma, norm
from test_unusual import climbs_to_the_top, one_step

import emdsl

FILTERED = """
    model LatentsOfPairs
    param q[2] : unit
    param b : unit
    for i in N:
        for j in N if i < j:
            latent   z[i, j] ~ Bernoulli(b)
            observed y[i, j] ~ Binomial(5, q[z[i, j]])
"""


def _filtered(rng, n=12):
    q, b = np.array([0.1, 0.8]), 0.4
    return {"y": rng.binomial(5, q[(rng.random((n, n)) < b).astype(int)])}, {"q": q, "b": b}


def _filtered_value(p, d):
    y = d["y"][np.triu_indices(12, 1)]
    off, on = (np.log(w) + binom.logpmf(y, 5, q) for w, q in zip((1 - p["b"], p["b"]), p["q"], strict=True))
    return float(np.logaddexp(off, on).sum())


CUT = """
    model CutTogether
    param s : positive
    param c : positive ~ Gamma(2, 1)
    param m[3] : real(min = 0) ~ Normal(1, c)
    for n in N:
        given    g[n] : category[3]
        observed x[n] ~ Normal(m[g[n]], s)
"""


def _cut(rng, n=60):
    g, m = rng.integers(0, 3, n), np.array([0.5, 1.0, 3.0])
    return {"g": g, "x": rng.normal(m[g], 0.5)}, {"s": 0.5, "c": 1.0, "m": m}


def _cut_prior(p):
    return gamma.logpdf(p["c"], 2) + (normal(p["m"], 1, p["c"]) - norm.logcdf(1 / p["c"])).sum()


CASES = [
    Case("latents of a filtered plate", FILTERED, _filtered, _filtered_value, near=True),
    Case(
        "three cut priors of one spread",
        CUT,
        _cut,
        lambda p, d: normal(d["x"], p["m"][d["g"]], p["s"]).sum(),
        _cut_prior,
        near=True,  # with all m at 1 and no spread the density has no end
    ),
]


@pytest.mark.filterwarnings("ignore::emdsl.runtime.data.faults.ConvergenceWarning")
@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_left_out(case: Case) -> None:
    data, truth = case.make(np.random.default_rng(crc32(case.name.encode())))
    model = emdsl.compile(text=case.text)
    one_step(case, model, data, data, None, truth)
    climbs_to_the_top(case, model, data, data, None, truth)


LAGGED = """
    model Lagged
    param a : real
    param b : real
    param d : real
    param s : positive
    for n in N if n > 0:
        given    t[n] : real
        observed y[n] ~ Normal(a + b * y[n-1] + d * t[n], s)
"""


@pytest.mark.parametrize("far", [0.0, 1e8])
def test_the_row_that_a_plate_leaves_out_is_the_second_rows_lag(far: float) -> None:
    rng = np.random.default_rng(1)
    y, t = np.round(rng.normal(size=(2, 20)) * 2**12) / 2**12
    model = emdsl.compile(text=LAGGED)
    fit = model.fitter().fit({"y": y + far, "t": t - 3 * far})
    design = np.stack([np.ones(19), y[:-1], t[1:]], axis=1)
    slopes, (squares,), *_ = np.linalg.lstsq(design, y[1:], rcond=None)
    assert np.isclose(fit.log_likelihood_, norm.logpdf(0, 0, np.sqrt(squares / 19)) * 19 - 9.5, rtol=1e-10)
    np.testing.assert_allclose([fit.params_["b"], fit.params_["d"]], slopes[1:], rtol=1e-7)
    with pytest.raises(emdsl.DataError, match="row 0 is missing"):
        model.fitter().fit({"y": np.where(np.arange(20) == 0, np.nan, y), "t": t})
