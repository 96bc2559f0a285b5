"""Draws of a family between two ends where hardly any of its own draws fall."""

from __future__ import annotations

import numpy as np

from emdsl.families.scope import Array
from emdsl.families.table import form, record
from emdsl.language.model import FamilyCall

BISECTIONS = 100


def between(call: FamilyCall, args: list[Array], low: Array, high: Array, rng: np.random.Generator) -> Array:
    """Draws of a family cut at two ends, by bisection of its distribution; NaN where that is not known, or 0 there."""
    known, by = record(call.family), form(call.family, call.signature)
    if known is None or by is None or known.kernel.cdf is None or known.kernel.sf is None or call.family.x.domain.dims:
        return np.full(low.shape, np.nan)
    canonical, whole = list(by.canonical(*args)) if by.canonical is not None else args, call.family.x.domain.discrete
    cdf, sf = known.kernel.cdf, known.kernel.sf
    with np.errstate(all="ignore"):
        far = cdf(low, *canonical) > 0.5  # from the tail that is smaller, where the digits are

        def mass(x: Array) -> Array:
            return np.asarray(np.where(far, -sf(x, *canonical), cdf(x, *canonical)))

        first, last = mass(low - 1 if whole else low), mass(high)
        target = first + rng.random(low.shape) * (last - first)
        a, b = (np.arcsinh(np.clip(end, -1e300, 1e300)) for end in (low - 1 if whole else low, high))
        for _ in range(BISECTIONS):
            middle = (a + b) / 2
            x = np.floor(np.sinh(middle)) if whole else np.sinh(middle)
            short = mass(x) < target
            a, b = np.where(short, middle, a), np.where(short, b, middle)
        x = np.floor(np.sinh(b)) if whole else np.sinh(b)
        return np.asarray(np.where(last > first, np.clip(x, low, high), np.nan))
