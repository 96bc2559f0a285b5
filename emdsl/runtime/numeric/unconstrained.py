"""Several parameters raised together, by Newton in coordinates without bounds, and these coordinates."""

# mypy: disable-error-code="no-any-return"
# (operators on arrays of any dtype, and all of scipy, are Any to mypy)

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import scipy

from emdsl.runtime.data.columns import Array
from emdsl.runtime.numeric.numerics import triangle, with_numbers


def maximise_elements(
    objective: Callable[..., tuple[Array, ...]],
    start: Sequence[Array],
    domains: Sequence[str],
    bounds: Sequence[tuple[float | None, float | None]],
) -> list[Array]:
    """Elementwise maxima over a few numbers that meet in Q, by Newton with its Hessian and step-halving.

    `objective(*values)` gives Q, its slopes and the upper triangle of its Hessian, row by row. Where the Hessian is
    not negative definite its eigenvalues are turned, so that every step leads upwards.
    """
    shape = np.shape(start[0])

    def values_at(t: Array) -> list[Array]:
        return [from_free(t[..., k], domains[k], bounds[k], shape) for k in range(len(start))]

    t = np.stack([to_free(*z) for z in zip(start, domains, bounds, strict=True)], -1)
    value, gradient, hessian = curved(objective, values_at(t), domains, bounds)
    for _ in range(200):
        new = t + uphill(gradient, hessian, 4.0 * (1 + np.abs(t).max(-1, keepdims=True)))
        # what Q gains is below its rounding: nothing to be seen in its value
        fine = np.abs((gradient * (new - t)).sum(-1)) <= 1e-9 * (1 + np.abs(value))
        for _ in range(60):
            there, gradient, hessian = curved(objective, values_at(new), domains, bounds)
            fell = ~fine & ((there < value) | (np.isnan(there) & ~np.isnan(value))) & (new != t).any(-1)
            if not fell.any():
                break
            new = np.where(fell[..., None], (t + new) / 2, new)
        still = np.abs(new - t) <= 1e-13 * (1 + np.abs(t))
        t, value = new, there
        if still.all():
            break
    return values_at(t)


def uphill(gradient: Array, hessian: Array, reach: Array, flat: float = 0.0) -> Array:
    """Newton's step, eigenvalues turned negative, at most `reach` long; none where `flat` beside the largest."""
    spectrum, vectors = np.linalg.eigh(hessian)
    largest = np.abs(spectrum).max(-1, keepdims=True)
    steep = np.maximum(np.abs(spectrum), 1e-12 * largest + 1e-300)
    along = (np.swapaxes(vectors, -1, -2) @ gradient[..., None])[..., 0]
    along = np.where(np.abs(spectrum) < flat * largest, 0.0, along)
    step = (vectors @ (along / steep)[..., None])[..., 0]
    return step * np.minimum(1.0, reach / np.maximum(np.abs(step).max(-1, keepdims=True), 1e-300))


def curved(
    objective: Callable[..., tuple[Array, ...]],
    values: Sequence[Array],
    domains: Sequence[str],
    bounds: Sequence[tuple[float | None, float | None]],
) -> tuple[Array, Array, Array]:
    """Q, its gradient and its Hessian in unconstrained coordinates: (...), (..., n), (..., n, n)."""
    n, shape = len(values), np.shape(values[0])
    parts = np.empty((1 + n + n * (n + 1) // 2, *shape))
    first, second = np.empty((2, n, *shape))
    with np.errstate(all="ignore"):
        for k, part in enumerate(objective(*values)):
            parts[k] = part  # of constants, too
        for k, z in enumerate(zip(values, domains, bounds, strict=True)):
            first[k], second[k] = stretch(*z)
        slopes, hessian = parts[1 : 1 + n], parts[1 + n :][triangle(n)[2]]
        hessian *= first[:, None]
        hessian *= first
        for k in range(n):
            hessian[k, k] += slopes[k] * second[k]
        slopes = slopes * first
    axes = range(1, 1 + len(shape))
    hessian = hessian.transpose((*(1 + a for a in axes), 0, 1))
    return parts[0], with_numbers(slopes.transpose((*axes, 0))), with_numbers(hessian)


def bounded_exp(free: Array) -> Array:
    """exp, neither 0 nor infinity; `np.clip` takes five times as long to begin with few numbers."""
    return np.exp(np.minimum(np.maximum(free, -690.0), 690.0))


def stretch(value: Array, domain: str, bounds: tuple[float | None, float | None]) -> tuple[Array, Array]:
    """The first two derivatives of a number by its free coordinate, at the number."""
    low, high = _ends(domain, bounds)
    if low is not None and high is not None:
        slope = (value - low) * (high - value) / (high - low)
        return slope, slope * (low + high - 2 * value) / (high - low)
    if low is not None:
        return value - low, value - low
    if high is not None:
        return value - high, value - high
    return np.ones_like(value), np.zeros_like(value)


def _ends(domain: str, bounds: tuple[float | None, float | None]) -> tuple[float | None, float | None]:
    low, high = bounds
    low = 0.0 if domain != "real" and low is None else low
    return low, 1.0 if domain == "unit" and high is None else high


def to_free(value: Any, domain: str, bounds: tuple[float | None, float | None]) -> Array:
    """A parameter in unconstrained coordinates."""
    value, (low, high) = np.asarray(value, float), bounds
    if domain in ("positive", "unit", "real"):
        low, high = _ends(domain, bounds)
        if low is not None and high is not None:
            return scipy.special.logit(np.clip((value - low) / (high - low), 1e-12, 1 - 1e-12))
        if low is not None:
            return np.log(np.maximum(value - low, 1e-300))
        return value if high is None else np.log(np.maximum(high - value, 1e-300))
    if domain == "simplex":
        log = np.log(np.maximum(value, 1e-300))
        return log[..., :-1] - log[..., -1:]
    if domain == "ordered":
        middle = value[..., [value.shape[-1] // 2]]
        return np.concatenate([middle, np.log(np.maximum(np.diff(value), 1e-300))], axis=-1)
    if domain == "zero_sum":
        return value[..., :-1]
    factor = np.linalg.cholesky(value)
    i, j = under_diagonal(value.shape[-1])
    if domain == "correlation":
        return np.stack([factor[..., a, b] / factor[..., a, a] for a, b in zip(i, j, strict=True)], axis=-1)
    diagonal = np.diagonal(factor, axis1=-2, axis2=-1)  # what stands beside it in a row is measured by it
    return np.concatenate([np.log(diagonal), factor[..., i, j] / diagonal[..., i]], axis=-1)


def from_free(free: Array, domain: str, bounds: tuple[float | None, float | None], shape: tuple[int, ...]) -> Array:
    """The inverse of `to_free`."""
    low, high = bounds
    if domain in ("positive", "unit", "real"):
        low, high = _ends(domain, bounds)
        if low is not None and high is not None:
            return low + (high - low) * scipy.special.expit(free)
        if low is not None:
            return low + bounded_exp(free)
        return free if high is None else high - bounded_exp(free)
    if domain == "simplex":
        return scipy.special.softmax(np.concatenate([free, np.zeros((*free.shape[:-1], 1))], axis=-1), axis=-1)
    if domain == "ordered":
        return from_middle(free[..., :1], bounded_exp(free[..., 1:]))
    if domain == "zero_sum":
        return np.concatenate([free, -free.sum(-1, keepdims=True)], axis=-1)
    factor = _factor(free, domain, shape[-1])
    return factor @ np.swapaxes(factor, -1, -2)


def from_middle(middle: Array, gaps: Array) -> Array:
    """Numbers in order, from that in the middle, (..., 1), and the distances between neighbours.

    Either end may go to infinity while all others stay: by its distance alone.
    """
    at = (gaps.shape[-1] + 1) // 2
    below = middle - np.cumsum(gaps[..., :at][..., ::-1], axis=-1)[..., ::-1]
    return np.concatenate([below, middle, middle + np.cumsum(gaps[..., at:], axis=-1)], axis=-1)


@lru_cache
def under_diagonal(d: int) -> tuple[Array, Array]:
    """Rows and columns below the diagonal; made once for each size."""
    return np.tril_indices(d, -1)


def _factor(free: Array, domain: str, d: int) -> Array:
    """The Cholesky factor that free coordinates stand for."""
    i, j = under_diagonal(d)
    factor = np.zeros((*free.shape[:-1], d, d))
    if domain == "correlation":
        factor[..., np.arange(d), np.arange(d)] = 1.0
        factor[..., i, j] = free
        return factor / np.linalg.norm(factor, axis=-1, keepdims=True)
    diagonal = np.exp(np.clip(free[..., :d], -340, 340))
    factor[..., np.arange(d), np.arange(d)] = diagonal
    factor[..., i, j] = free[..., d:] * diagonal[..., i]
    return factor


def pullback(free: Array, gradient: Any, domain: str, bounds: tuple[float | None, float | None], value: Array) -> Array:
    """Gradient in unconstrained coordinates from the gradient in the parameter."""
    low, high = bounds
    gradient = np.broadcast_to(gradient, np.shape(value))
    if domain in ("positive", "unit", "real"):
        low, high = _ends(domain, bounds)
        if low is not None and high is not None:
            return gradient * (value - low) * (high - value) / (high - low)
        if low is not None:
            return gradient * (value - low)
        return gradient if high is None else -gradient * (high - value)
    if domain == "simplex":
        full = value * (gradient - (gradient * value).sum(-1, keepdims=True))
        return full[..., :-1]
    if domain == "ordered":
        return (np.swapaxes(tangent(value, domain), -1, -2) @ gradient[..., None])[..., 0]
    if domain == "zero_sum":
        return gradient[..., :-1] - gradient[..., -1:]
    d = np.shape(value)[-1]
    factor = _factor(free, domain, d)
    by_factor = (gradient + np.swapaxes(gradient, -1, -2)) @ factor
    i, j = under_diagonal(d)
    if domain == "correlation":
        raw = np.zeros((*free.shape[:-1], d, d))
        raw[..., np.arange(d), np.arange(d)] = 1.0
        raw[..., i, j] = free
        norm = np.linalg.norm(raw, axis=-1, keepdims=True)
        by_raw = (by_factor - factor * (by_factor * factor).sum(-1, keepdims=True)) / norm
        return by_raw[..., i, j]
    by_rows = (np.tril(by_factor) * factor).sum(-1)
    beside = by_factor[..., i, j] * np.diagonal(factor, axis1=-2, axis2=-1)[..., i]
    return np.concatenate([by_rows, beside], axis=-1)


def tangent(value: Array, domain: str) -> Array:
    """d value / d free of vectors in order, that sum to 0, or of a simplex: (..., numbers, free coordinates)."""
    n = value.shape[-1]
    if domain == "ordered":
        k, gap, middle = np.arange(n)[:, None], np.arange(n - 1), n // 2
        sides = ((gap >= middle) & (gap < k)) - 1.0 * ((gap < middle) & (gap >= k))
        return np.concatenate([np.ones_like(value)[..., None], sides * np.diff(value)[..., None, :]], axis=-1)
    if domain == "zero_sum":
        return np.broadcast_to(np.concatenate([np.eye(n - 1), -np.ones((1, n - 1))]), (*value.shape, n - 1))
    return value[..., :, None] * (np.eye(n)[:, :-1] - value[..., None, :-1])


def bent(value: Array, back: Array, domain: str) -> Array:
    """The sum of gradient_k d2 value_k / d free d free of these, by the gradient in free coordinates (`pullback`)."""
    out = back[..., None] * np.eye(back.shape[-1])
    if domain == "ordered":
        out[..., 0, 0] = 0.0
        return out
    if domain == "zero_sum":
        return np.zeros_like(out)
    along = value[..., :-1, None] * back[..., None, :]
    return out - along - np.swapaxes(along, -1, -2)


def log_volume(free: Array, domain: str, value: Array) -> Array:
    """The log of what a small volume of free coordinates is worth, as parts of these coordinates that add up to it.

    Of a simplex that of its numbers but the last, of a matrix that of its lower triangle: with S = L L', L_ii of row i
    (from 0, of D) is D - i times in |dS / dL|, once more in the derivative of exp, and i times in what it measures.
    """
    if domain == "simplex":
        return np.log(value[..., :-1]) + np.log(value[..., -1:]) / max(1, free.shape[-1])
    return free * _once_in_volume(free.shape[-1], domain)


def volume_slope(free: Array, domain: str, value: Array) -> Array:
    """Its gradient."""
    if domain == "simplex":
        return 1 - value.shape[-1] * value[..., :-1]
    return np.broadcast_to(_once_in_volume(free.shape[-1], domain), free.shape)


def _once_in_volume(numbers: int, domain: str) -> Array:
    """How often each free coordinate, a logarithm, is in the log volume: of numbers in order and of matrices."""
    often = np.zeros(numbers)
    if domain == "ordered":
        often[1:] = 1
        return often
    d = math.isqrt(2 * numbers)
    often[:d] = d + 1.0
    return often


def ill_conditioned(free: Array, d: int) -> Array:
    """Where the matrix that free coordinates stand for is, in the numbers of a machine, not positive definite.

    The determinant of its correlations is the product of what each row leaves of a variance: left over whole.
    """
    factor = _factor(free, "spd", d)
    left, whole = np.diagonal(factor, axis1=-2, axis2=-1) ** 2, (factor**2).sum(-1)
    within = ((left > 1e-150) & (whole < 1e150)).all(-1)
    return ~within | ~((left / whole).prod(-1) > 1e-11)
