"""log of the mass that a family puts between two ends, far out in its tails as well."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.polynomial.laguerre import laggauss
from scipy.special import logsumexp

from emdsl.errors import DataError, Problem
from emdsl.families.scope import Array
from emdsl.families.table import form, record
from emdsl.language.model import FamilyCall

LOST = 1e-280  # masses below this are rounded by more than a relative 1e-16, or are 0
NODES, COUNTS = 40, 200  # of the integral of a tail; terms of its sum where values are counts
NUDGE = 1e-6  # the first step by which the rate of a fall is told; the second is one fold of e

Density = Callable[[Array], Array]


def interval_mass(call: FamilyCall, low: Array, high: Array, args: list[Array], rank: int) -> Array:
    """log P(low <= x <= high), from the tail that is smaller; DataError for a family whose tails are not known."""
    known, by = record(call.family), form(call.family, call.signature)
    if known is None or by is None or known.kernel.cdf is None or known.kernel.sf is None:
        raise DataError(Problem("D054", f"the mass of {call.family.name} on a narrower domain is not known", call.span))
    canonical = list(by.canonical(*args)) if by.canonical is not None else args
    whole = call.family.x.domain.discrete
    first, last = (v.reshape(-1, *(1,) * rank) for v in (low, high))
    before = first - 1 if whole else first
    with np.errstate(all="ignore"):
        right = known.kernel.cdf(before, *canonical) >= 0.5
        below = known.kernel.cdf(last, *canonical) - known.kernel.cdf(before, *canonical)
        above = known.kernel.sf(before, *canonical) - known.kernel.sf(last, *canonical)
        mass = np.where(right, above, below)
        if not (lost := mass < LOST).any():
            return np.asarray(np.log(mass))
        near, far, way = np.where(right, first, last), np.where(right, last, first), np.where(right, 1.0, -1.0)
        tail = _counted if whole else _integrated
        there = tail(lambda x: np.asarray(known.kernel.log_density(x, *canonical)), near, far, way)
        return np.asarray(np.where(lost & ~np.isnan(there), there, np.log(mass)))


def _integrated(density: Density, near: Array, far: Array, way: Array) -> Array:
    """log of the integral from one end to the other, downhill; NaN where the density does not fall."""
    here, beyond = _tail(density, near, way), _tail(density, np.where(np.isinf(far), near, far), way)
    return np.where(np.isinf(far), here, here + np.log1p(-np.exp(beyond - here)))


def _tail(density: Density, end: Array, way: Array) -> Array:
    """log of the integral from `end` to infinity by Gauss and Laguerre, in units of one fold of e."""
    top, step = density(end), NUDGE * np.maximum(1, np.abs(end))
    for _ in range(2):
        step = step / (top - density(end + way * step))
    step = np.where(step > 0, step, np.nan)
    terms = [np.log(w) + t + density(end + way * t * step) for t, w in zip(*laggauss(NODES), strict=True)]
    return np.asarray(np.log(step) + logsumexp(np.stack(np.broadcast_arrays(*terms)), axis=0))


def _counted(density: Density, near: Array, far: Array, way: Array) -> Array:
    """log of the sum over the counts from one end to the other."""
    steps = np.arange(COUNTS, dtype=float)
    terms = [np.where(k <= np.abs(far - near), density(near + way * k), -np.inf) for k in steps]
    return np.asarray(logsumexp(np.stack(np.broadcast_arrays(*terms)), axis=0))
