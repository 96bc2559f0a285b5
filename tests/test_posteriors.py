"""The posteriors that generated modules carry, against the table of natural parameters: no code is shared."""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest

from emdsl.derive.records import POSTERIORS
from emdsl.families import NATURALS
from emdsl.families.kernels_natural import gig_log_mean, gig_log_normaliser, gig_power, standard_truncated
from emdsl.families.normalised import random_arguments
from emdsl.families.table import PRELUDE, RECORDS
from emdsl.runtime import posteriors

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # overflow to infinity is a right answer here

SAME = {"log^2": "log_square"}
ROWS = 8


def arguments(row):
    """Canonical arguments: of the declared family, or positive numbers where no family is declared."""
    rng = np.random.default_rng(3)
    if row.family not in PRELUDE():
        return [rng.gamma(3, 0.7, ROWS) for _ in RECORDS[row.family].kernel.arguments]
    family = PRELUDE()[row.family]
    signature = next(
        k for k, f in enumerate(RECORDS[row.family].forms) if f.arguments == RECORDS[row.family].kernel.arguments
    )
    return list(random_arguments(family, signature, dict.fromkeys(family.sizes, 3), rng, ROWS).values())


def match(record):
    """The row over the same statistics, and the record's statistics in the row's order."""
    names = [SAME.get(s, s) for s in record.statistics]
    found = [r for r in NATURALS if set(r.statistics) == set(names) and r.axes[0] == record.rank and r.base is None]
    return next(r for r in found if r.support in (*record.support, "angle")), names


@pytest.mark.parametrize("record", POSTERIORS, ids=lambda r: r.name)
def test_same_log_normaliser_and_moments(record):
    row, names = match(record)
    eta = dict(zip(row.statistics, row.natural(*arguments(row)), strict=True))
    value, said = getattr(posteriors, record.kernel)(*(eta[n] for n in names))
    ours = [eta[n] for n in row.statistics]
    np.testing.assert_allclose(value, row.log_normaliser(*ours), rtol=1e-9, atol=1e-9)
    expected = dict(zip(row.statistics, row.moments(*ours), strict=True)) | {k: f(*ours) for k, f in row.extra.items()}
    assert set(record.moments) <= set(said)
    for name in record.moments:
        known = expected.get(SAME.get(name, name))
        if known is not None:
            np.testing.assert_allclose(said[name], known, rtol=1e-7, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("record", POSTERIORS, ids=lambda r: r.name)
def test_wide_range_of_natural_parameters(record):
    """No NaN and no infinity between a nearly flat posterior and a very sharp one."""
    row, names = match(record)
    for scale in (1e-2, 1.0, 1e4):
        eta = dict(zip(row.statistics, (scale * e for e in row.natural(*arguments(row))), strict=True))
        ours = [eta[n] for n in row.statistics]
        proper = row.valid(*ours)
        value, said = getattr(posteriors, record.kernel)(*(eta[n] for n in names))
        assert np.isfinite(value)[proper].all()
        for name in record.statistics:
            assert np.isfinite(said[name])[proper].all(), (name, scale)
        np.testing.assert_allclose(np.asarray(value)[proper], row.log_normaliser(*ours)[proper], rtol=1e-8)


@pytest.mark.parametrize(
    ("low", "high"),
    [(0, np.inf), (30, np.inf), (1e4, np.inf), (-np.inf, -8), (1, 1.0000001), (20, 20.01), (-30, 2), (-1, 1)],
)
def test_a_cut_normal_keeps_its_digits(low: float, high: float) -> None:
    """Against sixty digits: where the ends' densities cancel, and where the mass is below the smallest double."""
    with mp.workdps(60):
        mass = mp.ncdf(-low) - mp.ncdf(-high) if low > 0 else mp.ncdf(high) - mp.ncdf(low)
        at = [mp.npdf(v) if np.isfinite(v) else mp.mpf(0) for v in (low, high)]
        mean = (at[0] - at[1]) / mass
        ends = [mp.mpf(v) if np.isfinite(v) else mp.mpf(0) for v in (low, high)]
        variance = 1 + (ends[0] * at[0] - ends[1] * at[1]) / mass - mean**2
        expected = [float(v) for v in (mp.log(mass), mean, variance)]
    np.testing.assert_allclose([float(v) for v in standard_truncated(low, high)], expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("p", "a", "b"), [(0.5, 1, 1e-12), (200, 1, 1), (-300, 2, 1), (3, 1e-6, 1e-6), (2.5, 1e6, 1e6)]
)
def test_bessel_functions_beyond_their_range(p: float, a: float, b: float) -> None:
    with mp.workdps(40):
        omega, scale, h = mp.sqrt(mp.mpf(a) * b), mp.sqrt(mp.mpf(b) / a), mp.mpf(10) ** -12
        bessel = mp.besselk(p, omega)
        slope = (mp.log(mp.besselk(p + h, omega)) - mp.log(mp.besselk(p - h, omega))) / (2 * h)
        ratio = mp.besselk(p + 1, omega) / bessel
        expected = [mp.log(2 * bessel) + p * mp.log(scale), scale * ratio, slope + mp.log(scale)]
        expected = [float(v) for v in expected]
    found = gig_log_normaliser(p, a, b), gig_power(1, p, a, b), gig_log_mean(p, a, b)
    np.testing.assert_allclose(np.array(found, float), expected, rtol=1e-11)
