"""Joint Gaussians with exact linear constraints: blocks of K = [[J, C'], [C, -W]], symmetric but no precision.

    log int exp(<h, y> - 1/2 y' J y) delta(C y - a) dy  =  1/2 <(h, a), inv(K) (h, a)> - 1/2 log |det K| + const

Of inv(K) the part beside J is the covariance of y. What eliminates precisions (`fields`) eliminates K, odd blocks side
by side: a block is regular where its own numbers have noise once the others are held, whatever J and C alone are, and
what is left of C turns into constraints with a noise, W (saddle point systems: Benzi, Golub and Liesen 2005).
"""

# mypy: disable-error-code="no-any-return"
# (operators on arrays of any dtype, and all of scipy, are Any to mypy)

from __future__ import annotations

import numpy as np

from emdsl.runtime.data.columns import Array
from emdsl.runtime.data.faults import DataError
from emdsl.runtime.fields.reduction import tridiagonal_moments

NO_PIVOT = -34.5  # the log of what rounding leaves of a zero, in matrices of entries near 1
ROUNDED = 1e-16  # what is added to the diagonal of a balanced matrix that is singular, where its inverse is a guess
LEAST_AT_ONCE = 1e-8  # of a standard deviation: its square is what rounding leaves of one that is smaller
BALANCES = 4  # rounds of scaling to entries near 1


def constrained_moments(diagonal: Array, below: Array, h: Array) -> tuple[Array, Array, Array, Array]:
    """What `tridiagonal_moments` returns, for K: blocks of its inverse, inv(K) h, shares of log |det K|."""
    return tridiagonal_moments(diagonal, below, h, inverse_with_pivots)


def multiplied_moments(diagonal: Array, below: Array, h: Array) -> tuple[Array, Array, Array, Array]:
    """The same where noises are far apart: each number is measured by the root of its entry in inv(K), a standard
    deviation, which makes what rounding adds to zeros of K as little as what it adds to noises."""
    unit, near = np.ones(h.shape), False
    for left in (3, 2, 1, 0):
        rough = left > 0 and not near
        v, c, mean, log_det = tridiagonal_moments(
            diagonal * (unit[:, :, None] * unit[:, None, :]),
            below * (unit[1:, :, None] * unit[:-1, None, :]),
            h * unit,
            inverse_roughly if rough else inverse_with_pivots,
        )
        if not rough:
            break
        own = np.sqrt(np.abs(v.diagonal(0, 1, 2)))
        own = np.where(np.isfinite(own), np.maximum(own, LEAST_AT_ONCE), 1.0)
        unit, near = unit * own, bool(((own > 0.5) & (own < 2.0)).all())
    v, c = v * (unit[:, :, None] * unit[:, None, :]), c * (unit[1:, :, None] * unit[:-1, None, :])
    return v, c, mean * unit, log_det - 2 * np.log(unit)


def inverse_roughly(k: Array) -> tuple[Array, Array]:
    """Inverses of symmetric matrices whatever their pivots are."""
    unit = balanced(k)
    scaled = k * (unit[:, :, None] * unit[:, None, :])
    try:
        inverse = np.linalg.inv(scaled)
    except np.linalg.LinAlgError:
        inverse = np.linalg.inv(scaled + ROUNDED * np.eye(k.shape[1]))
    return 0.5 * (inverse + inverse.swapaxes(1, 2)) * (unit[:, :, None] * unit[:, None, :]), np.zeros(k.shape[:2])


def balanced(k: Array) -> Array:
    """What numbers are measured by, so that entries are near 1: (m, w)."""
    size, unit = np.abs(k), np.ones(k.shape[:2])
    for _ in range(BALANCES):
        largest = np.sqrt((size * (unit[:, :, None] * unit[:, None, :])).max(2))
        unit = unit / np.where(largest > 0, largest, 1.0)
    return unit


def inverse_with_pivots(k: Array) -> tuple[Array, Array]:
    """Inverses of symmetric matrices (m, w, w), and each number's share of log |det| (m, w).

    Raises `DataError` (D003) where constraints say the same twice, or contradict one another.
    """
    unit = balanced(k)
    scaled = k * (unit[:, :, None] * unit[:, None, :])
    with np.errstate(all="ignore"):
        pivots = log_pivots(scaled)
    if np.isfinite(scaled).all() and not (pivots > NO_PIVOT).all():
        raise DataError(
            "what holds without noise holds more than the latents have numbers: data seen without noise follow from "
            "one another, or contradict",
            hint="leave out what follows from the rest, or give it a small noise",
            code="D003",
        )
    inverse = np.linalg.inv(scaled)
    inverse = 0.5 * (inverse + inverse.swapaxes(1, 2)) * (unit[:, :, None] * unit[:, None, :])
    return inverse, pivots - 2 * np.log(unit)


def log_pivots(a: Array) -> Array:
    """log |pivot| of each column by Gaussian elimination with rows exchanged: numbers that nothing ties share none."""
    a, (m, w, _), rows = a.copy(), a.shape, np.arange(len(a))
    out = np.empty((m, w))
    for k in range(w):
        at = k + np.abs(a[:, k:, k]).argmax(1)
        a[rows, k], a[rows, at] = a[rows, at], a[rows, k].copy()
        pivot = a[:, k, k]
        out[:, k] = np.log(np.abs(pivot))
        a[:, k + 1 :] -= (a[:, k + 1 :, k] / pivot[:, None])[..., None] * a[:, k, None]
    return out
