"""Numeric helpers that generated modules print into themselves, each only where it is used.

Arrays carry rows last. Log-probabilities of zero are held as `LOWEST`, so that zero counts times
them stay zero; a total at that level is reported as -inf.
"""

# mypy: disable-error-code="no-any-return"
# (operators on arrays of any dtype, and all of scipy, are Any to mypy)

from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy

from emdsl.runtime.data.columns import Array

LOWEST = -1e200
WIDEST = 2**22  # entries of the largest table over the states of elements that meet
HANDFUL = 64  # numbers: Python has added so many up before a reduction of numpy's has begun


class Degenerate(Exception):
    """A component is empty or has collapsed: `names` are the parameters, `message` says what happened."""

    def __init__(self, names: list[str], message: str) -> None:
        super().__init__(names, message)
        self.names, self.message = names, message


def log0(p: Any) -> Array:
    """log p, with log 0 = LOWEST; numpy warns of zeros unless told not to, as the estimator does."""
    return np.maximum(np.log(p), LOWEST)


def at_its_limit(a: Array) -> Array:
    """Log odds and log rates, of which those that stand for infinity are numbers at which exp and logistic have their
    limits: beside 1e200 a sum would hold nothing else."""
    return np.where(np.abs(a) > 1e100, np.copysign(1e3, a), a)


def honest(value: Any) -> Any:
    """A log-probability, -inf where a zero probability took part; no number where one was divided by."""
    if isinstance(value, float):
        return value if -1e100 <= value <= 1e100 or value != value else -math.inf if value < 0 else math.nan
    return np.where(np.abs(value) > 1e100, np.where(np.asarray(value) < 0, -np.inf, np.nan), value)


def finite(a: Array) -> bool:
    """Whether every entry is a number, by their sum."""
    return math.isfinite(sum(a.ravel().tolist()) if a.size <= HANDFUL else np.add.reduce(a, axis=None))


def pairs(x: Array, out: Array) -> None:
    """Products x_i x_j for i <= j, row by row of the upper triangle, into out: (d, n) -> (d (d + 1) / 2, n)."""
    at = 0
    for i in range(x.shape[0]):
        np.multiply(x[i:], x[i], out=out[at : at + len(x) - i])
        at += len(x) - i


def with_numbers(a: Array) -> Array:
    """What is no number as 0, what is infinite as the largest; in most arrays there is neither, which is soon seen."""
    return a if np.isfinite(a).all() else np.nan_to_num(a)


_TRIANGLES: dict[int, tuple[Array, Array, Array]] = {}


def triangle(d: int) -> tuple[Array, Array, Array]:
    """Rows and columns of the upper triangle, and the place in it of every entry; made once for each size."""
    if d not in _TRIANGLES:
        rows, columns = np.triu_indices(d)
        place = np.empty((d, d), int)
        place[rows, columns] = place[columns, rows] = np.arange(len(rows))
        _TRIANGLES[d] = rows, columns, place
    return _TRIANGLES[d]


_FOLDS: dict[tuple[int, float], Array] = {}


def packed(a: Array, scale: float = 1.0) -> Array:
    """Coefficients of `pairs`: of scale a (..., d, d) the sums of entries (i, j) and (j, i), the diagonal's once."""
    d = a.shape[-1]
    if d > 16:
        rows, columns, _ = triangle(d)
        return scale * (a[..., rows, columns] + a[..., columns, rows] * (rows != columns))
    adding = _FOLDS.get((d, scale))
    if adding is None:  # for small matrices one product takes less time than two indexed reads
        adding = _FOLDS[d, scale] = scale * np.eye(d * (d + 1) // 2)[triangle(d)[2].ravel()]
    return np.dot(a.reshape(*a.shape[:-2], d * d), adding)  # of few numbers, in half the time that matmul takes


def unpacked(s: Array, d: int) -> Array:
    """Sums over `pairs` as symmetric matrices: (..., d (d + 1) / 2) -> (..., d, d)."""
    return s.take(triangle(d)[2], -1)


def normalise(table: Array, states: int) -> tuple[Array, Array]:
    """Posterior probabilities over the leading axes of a log table, and its log-sum (rows last).

    table : (*states, ...) unnormalised log probabilities, overwritten. `states` counts the leading axes.
    Returns (probabilities of the same shape, log-sum over the leading axes).
    """
    flat = table.reshape(-1, *table.shape[states:])
    few = 0 < flat.size <= 4096
    if few:  # where the least stands is sooner found than the least: a third of the time for a few hundred rows
        low, high = flat.item(flat.argmin()), flat.item(flat.argmax())
    else:
        low, high = np.minimum.reduce(flat, axis=None, initial=0.0), np.maximum.reduce(flat, axis=None, initial=0.0)
    top = None
    if not (low > -300.0 and high < 300.0):  # else exp loses nothing, and rows need not be shifted
        top = np.maximum.reduce(flat)
        flat -= top
        np.maximum(flat, -700.0, out=flat)  # exp of less is slow, and nothing
    np.exp(flat, out=flat)
    if low - high < -700.0:
        flat[flat < 1e-303] = 0.0
    mass = np.add.reduce(flat)
    if few:
        flat /= mass
    else:
        flat *= 1 / mass
    log_mass = np.log(mass)
    return flat.reshape(table.shape), log_mass if top is None else log_mass + top


def segment_sum(values: Array, codes: Array, size: int) -> Array:
    """Sums of the last axis by integer code: (..., n), (n,) -> (..., size)."""
    if values.ndim == 1:
        return np.bincount(codes, weights=values, minlength=size)
    flat = np.broadcast_to(values, (*values.shape[:-1], len(codes))).reshape(math.prod(values.shape[:-1]), len(codes))
    if len(codes) < len(flat):  # a short axis under many rows: the fewer steps in Python, the better
        out = np.zeros((len(flat), size))
        for k, code in enumerate(codes):
            out[:, code] += flat[:, k]
    else:
        out = np.empty((len(flat), size))
        for k, row in enumerate(flat):
            out[k] = np.bincount(codes, weights=row, minlength=size)
    return out.reshape(*values.shape[:-1], size)


def segment_sum_nd(values: Array, codes: Array, size: int, axes: int) -> Array:
    """As `segment_sum`, over the last `axes` axes; codes broadcast against them."""
    shape = values.shape[values.ndim - axes :]
    codes = np.broadcast_to(codes, shape).reshape(-1)
    return segment_sum(values.reshape(*values.shape[: values.ndim - axes], -1), codes, size)


def inverse(low: Array) -> Array:
    """Inverse of symmetric positive definite matrices, from their Cholesky factors."""
    if low.shape[-1] == 2 and low.size <= HANDFUL:
        return _inverse_of_two(low)
    half = np.linalg.inv(low)  # of the triangular factor, whose condition is the root of the matrix's own
    return half.swapaxes(-1, -2) @ half


def log_determinant(low: Array) -> Array:
    """log det of symmetric positive definite matrices, from their Cholesky factors."""
    pivots = low.diagonal(0, -2, -1)
    if low.ndim == 3 and low.size <= HANDFUL:
        return np.array([2 * sum(map(math.log, row)) for row in pivots.tolist()])
    return 2 * np.add.reduce(np.log(pivots), -1)


_FACTORS: dict[tuple[tuple[int, ...], bytes] | None, Array] = {}


def factored(a: Array) -> Array:
    """Lower Cholesky factors, those of small matrices remembered; LinAlgError where one is not positive definite.

    The E-step wants the factors of what the M-step has just checked, and for a few small matrices the call costs
    as much as a pass over hundreds of rows. They are found by content, so nobody can make them stale.
    """
    key = (a.shape, a.tobytes()) if a.size <= 128 else None
    known = _FACTORS.get(key)
    if known is not None:
        return known
    if a.shape[-1] == 2 and a.size <= HANDFUL:
        low = _factored_of_two(a)
    elif not finite(low := np.linalg.cholesky(a)):  # numpy hands not-a-number through without a word
        raise np.linalg.LinAlgError
    if key is not None:
        remember(key, low)
    return low


def remember(key: tuple[tuple[int, ...], bytes], low: Array) -> None:
    """These factors are those of the matrices of this shape and content."""
    low.flags.writeable = False
    if len(_FACTORS) >= 8:
        _FACTORS.clear()
    _FACTORS[key] = low


def _factored_of_two(a: Array) -> Array:
    """Cholesky factors of a few 2 x 2 matrices, in less time than LAPACK is called in."""
    numbers: list[float] = a.ravel().tolist()
    out: list[float] = []
    for first, across, second in zip(numbers[::4], numbers[2::4], numbers[3::4], strict=True):
        root = math.sqrt(first) if 0 < first < math.inf else math.nan
        below = across / root
        rest = second - below * below
        if not 0 < rest < math.inf:
            raise np.linalg.LinAlgError
        out += (root, 0.0, below, math.sqrt(rest))
    return np.array(out).reshape(a.shape)


def _inverse_of_two(low: Array) -> Array:
    """`inverse` of a few 2 x 2 matrices."""
    numbers: list[float] = low.ravel().tolist()
    out: list[float] = []
    for first, below, second in zip(numbers[::4], numbers[2::4], numbers[3::4], strict=True):
        x, z = 1 / first, 1 / second
        y = -below * x * z
        out += (x * x + y * y, y * z, y * z, z * z)
    return np.array(out).reshape(low.shape)


def cholesky(a: Array, what: str = "a covariance matrix is not positive definite") -> Array:
    """Lower Cholesky factors; Degenerate, and told `what`, where a matrix is not positive definite."""
    try:
        return factored(a)
    except np.linalg.LinAlgError:
        raise Degenerate([], what) from None


def softplus(a: Any) -> Array:
    """log(1 + exp(a)); of many numbers numpy's own takes three times as long."""
    if np.size(a) < 256:
        return np.logaddexp(0.0, a)
    out = np.exp(-np.abs(a))
    np.log1p(out, out=out)
    out += np.maximum(a, 0.0)
    return out


def reciprocal(a: Array) -> Array:
    """1 / a, elementwise, and 0 where a is 0."""
    zero = a == 0
    return np.where(zero, 0.0, 1 / np.where(zero, 1.0, a))


def log_sum_exp(a: Array, axis: int | tuple[int, ...]) -> Array:
    """log sum exp(a) over these axes, about the largest term; LOWEST where every term is exp(-inf)."""
    top = np.max(a, axis=axis, keepdims=True)
    top = np.where(np.isfinite(top), top, 0.0)
    return np.squeeze(top, axis) + np.maximum(np.log(np.exp(a - top).sum(axis)), LOWEST)


def log1mexp(a: Any) -> Array:
    """log(1 - exp(a)) for a < 0 (Maechler 2012)."""
    near = np.asarray(a) > -0.6931471805599453
    return np.where(near, np.log(-np.expm1(np.where(near, a, -1.0))), np.log1p(-np.exp(np.where(near, -1.0, a))))


def log_rest(a: Any) -> Array:
    """The same, LOWEST where nothing is left: a table of pairs holds those that no row has."""
    left = np.asarray(a) < 0
    return np.where(left, log1mexp(np.where(left, a, -1.0)), LOWEST)


def exp_odds(a: Any) -> Array:
    """exp(a) / (1 - exp(a)) for a < 0, and 0 where nothing is left: the slope of `log_rest`, turned."""
    left = np.asarray(a) < 0
    return np.where(left, 1 / np.expm1(np.where(left, -np.asarray(a), 1.0)), 0.0)


def log_between(a: Any, b: Any) -> Array:
    """log(Phi(b) - Phi(a)) for a < b, on the side where both are small."""
    above = np.asarray(a) + b > 0
    low, high = np.where(above, -np.asarray(b), a), np.where(above, -np.asarray(a), b)
    top = scipy.special.log_ndtr(high)
    return top + log1mexp(scipy.special.log_ndtr(low) - top)


def log_inside(below_low: Any, below_high: Any, above_low: Any, above_high: Any) -> Array:
    """log P(low < x <= high), on the side where the masses are small."""
    upper = np.asarray(above_low) < 0.5
    return log_mass(np.where(upper, above_low, below_high) - np.where(upper, above_high, below_low))


def log_mass(p: Any) -> Array:
    """log p where p > 0; not a number where p has underflowed."""
    return np.log(np.where(np.asarray(p) > 0, p, np.nan))


FEW_ARGUMENTS = 128  # up to which one call of scipy is faster than many of numpy


def trigamma(a: Any) -> Array:
    """The second derivative of log Gamma: eight steps of its recurrence, then the series in 1 / (a + 8).

    Abramowitz and Stegun 6.4.6, 6.4.12; of many numbers eight times as fast as a zeta function, which of few takes a
    microsecond where the fifty operations of the series take twenty.
    """
    a = np.asarray(a, float)
    if a.size <= FEW_ARGUMENTS or not np.all(a > 0):
        return scipy.special.zeta(2.0, a)
    w = 1 / (a + 8)
    v = w * w
    tail = v * (1 / 6 - v * (1 / 30 - v * (1 / 42 - v * (1 / 30 - v * (5 / 66 - v * (691 / 2730 - v * (7 / 6)))))))
    out = w * (1 + 0.5 * w + tail)
    for k in range(8):
        out += 1 / (a + k) ** 2
    return out


def log_bessel_i0(k: Any) -> Array:
    """log I0(k), stable for large k."""
    return np.log(scipy.special.i0e(k)) + np.abs(k)


def bessel_ratio(k: Any) -> Array:
    """I1(k) / I0(k), the derivative of log I0."""
    return scipy.special.i1e(k) / scipy.special.i0e(k)


def normal_density(a: Array) -> Array:
    """The standard normal density, elementwise."""
    return np.exp(-(a**2) / 2) / np.sqrt(2 * np.pi)
