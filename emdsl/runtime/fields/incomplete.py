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
from emdsl.runtime.numeric.digits import LOOKED, note_rounding
from emdsl.runtime.numeric.numerics import cholesky

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
    """Covariances of the free numbers given the others, a root of each, and the whole precision.

    quadratic : as of `gaussian_covariance`. free : (patterns, numbers). The covariances, (gates, rows, columns,
    patterns), are 0 at what is held; where the precision differs by plate, `free` has a row for each element. The
    root W, of V = W' W, is the inverse of J's Cholesky factor, with ones at what is held.
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
    root = np.linalg.inv(low)  # of a triangular matrix, whose condition is the root of J's own
    v = np.moveaxis(root.swapaxes(-1, -2) @ root - held, 1, 3)
    first = np.shape(quadratic[0][0])
    plates = first[len(first) - shape[2] :] if shape[2] else (v.shape[-1],)
    return cut_apart(v, lead, axes, plates), root, j


def clamped_mean(
    root: Array,
    j: Array,
    linear: Sequence[Array],
    values: Sequence[Array | None],
    free: Array,
    which: Array | None,
    shape: Shape,
) -> tuple[list[Array], Array, Array]:
    """Means of a block's latents, (gates, rows, plates), held numbers at their values; F and B of the log-normaliser.

    A = F / 2 + B, with F what a scale of J and h multiplies and B = (d log 2 pi - log det J) / 2 of d free numbers.
    What is seen pulls by W r first, r = h_m - J_mo x_o, and the mean is x + W' (W r): V r with V multiplied out would
    lose as many digits as J's condition has, and twice as many where r is large in the directions that J hardly holds.

    values : for each latent its data, 0 where missing, (rows, plates); None where it has none. which : the pattern of
    each element, (plates); None where `free`, the root and J have a row for each element.
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
    at = np.arange(r) if which is None else np.ravel(which)
    left = np.where(free[at].T, h - jx, 0.0)
    if which is None:
        pulled = np.einsum("grij,gjr->gir", root, left)
        step = np.einsum("grij,gir->gjr", root, pulled)
    else:
        pulled, step = by_pattern(root, left, free, at)
    fit = (x * (2 * h - jx) + pulled * pulled).sum(1)
    if LOOKED:
        note_rounding(x * jx, left * step)
    log_det = -2 * np.log(root.diagonal(0, -2, -1)).sum(-1)
    norm = np.broadcast_to(0.5 * (free.sum(1) * math.log(2 * math.pi) - log_det)[:, at], (g, r))
    mean = x + step
    ends = np.cumsum([0, *sizes])
    means = [mean[:, ends[i] : ends[i + 1]].reshape(a.shape) for i, a in enumerate(linear)]
    return means, fit.reshape((*lead, *plates)), norm.reshape((*lead, *plates))


def by_pattern(root: Array, left: Array, free: Array, which: Array) -> tuple[Array, Array]:
    """W r and W' W r of each element, W of its pattern: (gates, numbers, elements), two products for each pattern."""
    pulled = np.zeros(np.broadcast_shapes(left.shape, (len(root), 1, 1)))
    out = np.zeros(pulled.shape)
    order = np.argsort(which, kind="stable")
    ends = np.searchsorted(which[order], np.arange(len(free) + 1))
    for p in np.flatnonzero((np.diff(ends) > 0) & free.any(1)):
        rows = order[ends[p] : ends[p + 1]]
        some = root[:, p] @ left[:, :, rows]
        pulled[:, :, rows] = some
        out[:, :, rows] = root[:, p].swapaxes(-1, -2) @ some
    return pulled, out
