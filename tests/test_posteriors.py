"""The posteriors that generated modules carry, against the table of natural parameters: no code is shared."""

from __future__ import annotations

import numpy as np
import pytest

from emdsl.derive.records import POSTERIORS
from emdsl.families import NATURALS
from emdsl.families.normalised import random_arguments
from emdsl.families.table import PRELUDE, RECORDS
from emdsl.runtime import posteriors

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


OVERFLOWS = {"generalised_inverse_gaussian_posterior": "scipy's kve overflows (order 200, argument 1)"}
WIDE = [
    pytest.param(p, marks=pytest.mark.xfail(reason=OVERFLOWS[p.kernel], strict=True) if p.kernel in OVERFLOWS else ())
    for p in POSTERIORS
]


@pytest.mark.parametrize("record", WIDE, ids=lambda r: r.name)
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
