"""Joint Gaussian posteriors in information form: precision J, linear term h; many elements side by side."""

# mypy: disable-error-code="no-any-return"
# (operators on arrays of any dtype, and all of scipy, are Any to mypy)

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from emdsl.runtime.data.columns import Array
from emdsl.runtime.numeric.digits import LOOKED, note_rounding
from emdsl.runtime.numeric.numerics import cholesky, inverse, log_determinant

Shape = tuple[int, Sequence[int], int]  # how many axes: of gates, of each latent's own, of plates


def _sizes(a: Array, gates: int, own: Sequence[int]) -> tuple[int, ...]:
    """The lengths of an array's gates, of each run of own axes and of its plates, each multiplied up."""
    ends = np.cumsum([0, gates, *own])
    runs = [a.shape[ends[i] : ends[i + 1]] for i in range(len(ends) - 1)]
    return tuple(math.prod(r) for r in (*runs, a.shape[ends[-1] :]))


def gaussian_covariance(quadratic: Sequence[Sequence[Any]], shape: Shape) -> tuple[list[list[Array]], Array]:
    """Covariances of the latents of a block and log det of its precision.

    quadratic[i][j - i] : what multiplies the products of latents i <= j, (gates, rows, columns, plates), so that
    J = -(A + A'); 0.0 where nothing does. Returns covariances likewise, and log det J of (gates, plates), of one
    plate where it is the same for all.
    """
    j, lead, axes = joint_precision(quadratic, shape)
    r = j.shape[1]
    if r > 1 and (j == j[:, :1]).all():  # nothing is missing: one precision for all
        j = j[:, :1]
    low = cholesky(j)
    inverses = np.moveaxis(inverse(low), 1, 3)
    if LOOKED:
        loose = j.diagonal(0, 2, 3).swapaxes(1, 2) * inverses.diagonal(0, 1, 2).swapaxes(1, 2)
        note_rounding(r / j.shape[1] * loose, loose=loose)
    whole = np.broadcast_to(inverses, (*inverses.shape[:3], r))
    first = np.asarray(quadratic[0][0])
    return cut_apart(whole, lead, axes, first.shape[shape[0] + 2 * shape[1][0] :]), log_determinant(low)


def joint_precision(
    quadratic: Sequence[Sequence[Any]], shape: Shape
) -> tuple[Array, tuple[int, ...], list[tuple[int, ...]]]:
    """J = -(A + A') of all numbers of a block, (gates, plates, numbers, numbers); lengths of gates and of own axes."""
    gates, own, _ = shape
    diagonal = [np.asarray(row[0]) for row in quadratic]
    parts = [_sizes(a, gates, (n, n)) for a, n in zip(diagonal, own, strict=True)]
    (g, _, _, r), sizes = parts[0], [p[1] for p in parts]
    ends = np.cumsum([0, *sizes])
    a = np.zeros((g, r, ends[-1], ends[-1]))
    for i, row in enumerate(quadratic):
        for j, part in enumerate(row, i):
            if np.ndim(part) or part:  # of single numbers without plates it is one, too
                block = np.moveaxis(np.reshape(part, (g, sizes[i], sizes[j], r)), 3, 1)
                a[:, :, ends[i] : ends[i + 1], ends[j] : ends[j + 1]] = block
    axes = [d.shape[gates : gates + n] for d, n in zip(diagonal, own, strict=True)]
    return -(a + a.swapaxes(-1, -2)), diagonal[0].shape[:gates], axes


def cut_apart(
    whole: Array, lead: tuple[int, ...], axes: Sequence[tuple[int, ...]], plates: tuple[int, ...]
) -> list[list[Array]]:
    """A matrix of all numbers, (gates, numbers, numbers, plates), as that of each pair i <= j of latents."""
    ends = np.cumsum([0, *map(math.prod, axes)])
    return [
        [
            whole[:, ends[i] : ends[i + 1], ends[j] : ends[j + 1]].reshape((*lead, *axes[i], *axes[j], *plates))
            for j in range(i, len(axes))
        ]
        for i in range(len(axes))
    ]


def gaussian_mean(
    cov: Sequence[Sequence[Array]], log_det: Array, linear: Sequence[Array], shape: Shape
) -> tuple[list[Array], Array]:
    """Means of the latents, (gates, rows, plates), and the log-normaliser, (gates, plates).

    linear : what multiplies each latent's atoms, (gates, rows, plates). `cov` may lack gates or plates.
    A = h' V h / 2 + (d log 2 pi - log det J) / 2.
    """
    gates, own, _ = shape
    linear = [np.asarray(a) for a in linear]
    lead, plates = linear[0].shape[:gates], linear[0].shape[gates + own[0] :]
    g, r = math.prod(lead), math.prod(plates)
    sizes = [_sizes(h, gates, (n,))[1] for h, n in zip(linear, own, strict=True)]
    h = np.concatenate([np.reshape(a, (g, n, r)) for a, n in zip(linear, sizes, strict=True)], axis=1)
    held = log_det.shape
    blocks = [[np.reshape(c, (held[0], sizes[i], sizes[i + k], -1))[..., : held[1]] for k, c in enumerate(row)]
              for i, row in enumerate(cov)]  # fmt: skip
    whole = [
        [blocks[i][j - i] if j >= i else blocks[j][i - j].swapaxes(1, 2) for j in range(len(own))]
        for i in range(len(own))
    ]
    v = np.concatenate([np.concatenate(row, axis=2) for row in whole], axis=1)
    mean = v[..., 0] @ h if held[1] == 1 else np.einsum("gijr,gjr->gir", v, h)
    if LOOKED:
        note_rounding(h**2 * v.diagonal(0, 1, 2).swapaxes(1, 2))
    log_z = 0.5 * ((h * mean).sum(1) + sum(sizes) * math.log(2 * math.pi) - log_det)
    ends = np.cumsum([0, *sizes])
    means = [mean[:, ends[i] : ends[i + 1]].reshape(a.shape) for i, a in enumerate(linear)]
    return means, log_z.reshape((*lead, *plates))


def less_outer(second: Array, mean: Array) -> Array:
    """E[y y'] - m m': plates first, (..., d, d) and (..., d)."""
    return second - mean[..., :, None] * mean[..., None, :]
