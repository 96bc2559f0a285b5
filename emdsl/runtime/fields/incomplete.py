"""Data with missing cells: Gaussian vectors held at the cells that were seen, their other cells integrated out.

    log p  =  <h, y> - 1/2 y' J y,   y_o = x_o:   y_m | x_o ~ N(V (h_m - J_mo x_o), V),  V = inv(J_mm)

What is inverted depends on which cells are missing alone, and is computed once for each pattern of these.
"""

# mypy: disable-error-code="no-any-return"
# (operators on arrays of any dtype, and all of scipy, are Any to mypy)

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from emdsl.runtime.data.columns import Array
from emdsl.runtime.data.faults import DataError
from emdsl.runtime.fields.gaussian import Shape, cut_apart, joint_precision
from emdsl.runtime.numeric.numerics import cholesky, inverse, log_determinant

MOST = 100_000_000  # entries that the covariances of all patterns may have


def unseen(mask: Array | None, shape: tuple[int, ...], plates: int) -> Array:
    """1.0 where a cell is missing, plates last as the data are stored."""
    order = (*range(plates, len(shape)), *range(1, plates), *range(min(plates, 1)))
    if mask is None:
        return np.zeros(tuple(shape[i] for i in order))
    return np.array(np.transpose(~mask, order), dtype=float, order="C")


def cell_patterns(cells: Sequence[Any], shape: Sequence[int]) -> tuple[Array, Array]:
    """Which numbers of an element are free, by pattern, (patterns, numbers); the pattern of each element.

    cells : for each latent of a block 1.0 where a cell is free, (own, plates), or how many numbers it has, all free.
    shape : of the plates.
    """
    count = math.prod(shape)
    parts = [np.reshape(c, (-1, count)) if np.ndim(c) else np.ones((int(c), count)) for c in cells]
    free = np.concatenate(parts).T > 0
    if not count:
        return free, np.zeros(tuple(shape), np.int64)
    packed = np.ascontiguousarray(np.packbits(free, axis=1))
    keys = packed.view(np.dtype((np.void, packed.shape[1]))).ravel()
    _, first, which = np.unique(keys, return_index=True, return_inverse=True)
    return free[first], np.reshape(which, tuple(shape))


def clamped_covariance(
    quadratic: Sequence[Sequence[Any]], shape: Shape, free: Array
) -> tuple[list[list[Array]], Array, Array]:
    """Covariances of the free numbers given the others, log det of their precision, and the whole precision.

    quadratic : as of `gaussian_covariance`. free : (patterns, numbers). The covariances, (gates, rows, columns,
    patterns), are 0 at what is held; where the precision differs by plate, `free` has a row for each element.
    """
    j, lead, axes = joint_precision(quadratic, shape)
    if j.shape[0] * free.shape[0] * j.shape[-1] ** 2 > MOST:
        raise DataError(
            f"there are {free.shape[0]} patterns of missing cells in vectors of {j.shape[-1]} numbers: their "
            f"covariances are more than {MOST} numbers",
            hint="fewer patterns, or fewer columns",
            code="D016",
        )
    both = free[:, :, None] & free[:, None, :]
    held = np.einsum("pi,ij->pij", ~free, np.eye(j.shape[-1]))
    low = cholesky(np.where(both, j, 0.0) + held)
    v = np.moveaxis(inverse(low) - held, 1, 3)
    first = np.shape(quadratic[0][0])
    plates = first[len(first) - shape[2] :] if shape[2] else (v.shape[-1],)
    return cut_apart(v, lead, axes, plates), log_determinant(low), j


def clamped_mean(
    cov: Sequence[Sequence[Array]], log_det: Array, j: Array, linear: Sequence[Array], values: Sequence[Array | None],
    free: Array, which: Array, shape: Shape,
) -> tuple[list[Array], Array, Array]:  # fmt: skip
    """Means of a block's latents, (gates, rows, plates), held numbers at their values; F and B of the log-normaliser.

    A = F / 2 + B, with F what a scale of J and h multiplies and B = (d log 2 pi - log det J) / 2 of d free numbers.

    values : for each latent its data, 0 where missing, (rows, plates); None where it has none. which : the pattern of
    each element, (plates).
    """
    gates, own, _ = shape
    lead, plates = linear[0].shape[:gates], linear[0].shape[gates + own[0] :]
    g, r = math.prod(lead), math.prod(plates)
    sizes = [math.prod(h.shape[gates : gates + n]) for h, n in zip(linear, own, strict=True)]
    h = np.concatenate([np.reshape(a, (g, n, r)) for a, n in zip(linear, sizes, strict=True)], axis=1)
    x = np.concatenate(
        [np.zeros((n, r)) if a is None else np.reshape(a, (n, r)) for a, n in zip(values, sizes, strict=True)]
    )
    jx = j[:, 0] @ x if j.shape[1] == 1 else np.einsum("grij,jr->gir", j, x)
    v = put_together(cov, sizes, len(j))
    left = h - jx
    if j.shape[1] > 1:
        step, det = np.einsum("gijr,gjr->gir", v, left), log_det
        count = free.sum(1)
    else:
        at = np.ravel(which)
        step, det, count = by_pattern(v, left, free, at), log_det[:, at], free.sum(1)[at]
    mean = x + step
    fit = (x * (2 * h - jx) + left * step).sum(1)
    norm = np.broadcast_to(0.5 * (count * math.log(2 * math.pi) - det), (g, r))
    ends = np.cumsum([0, *sizes])
    means = [mean[:, ends[i] : ends[i + 1]].reshape(a.shape) for i, a in enumerate(linear)]
    return means, fit.reshape((*lead, *plates)), norm.reshape((*lead, *plates))


def by_pattern(v: Array, left: Array, free: Array, which: Array) -> Array:
    """V of its pattern times a vector of each element: (gates, numbers, elements), one product for each pattern."""
    out = np.zeros(np.broadcast_shapes(left.shape, (v.shape[0], 1, 1)))
    order = np.argsort(which, kind="stable")
    ends = np.searchsorted(which[order], np.arange(len(free) + 1))
    for p in np.flatnonzero((np.diff(ends) > 0) & free.any(1)):
        rows = order[ends[p] : ends[p + 1]]
        out[:, :, rows] = v[..., p] @ left[:, :, rows]
    return out


def put_together(cov: Sequence[Sequence[Array]], sizes: Sequence[int], gates: int) -> Array:
    """The covariance of all numbers, (gates, numbers, numbers, patterns), from that of each pair of latents."""
    blocks = [
        [np.reshape(c, (gates, sizes[i], sizes[i + k], -1)) for k, c in enumerate(row)] for i, row in enumerate(cov)
    ]
    whole = [
        [blocks[i][j - i] if j >= i else blocks[j][i - j].swapaxes(1, 2) for j in range(len(sizes))]
        for i in range(len(sizes))
    ]
    return np.concatenate([np.concatenate(row, axis=2) for row in whole], axis=1)
