"""Gaussian latents whose elements are tied, each a factor of q for itself: one after the other, given the others.

    q(u_e) = N(m_e, inv(J_ee)),     m_e = inv(J_ee) (h_e - sum over the others J_ef m_f)

(Coordinate ascent; the means are Gauss and Seidel's, Golub and Van Loan 2013, section 11.2.) Right after a sweep the
expected terms and the entropies add up to <h, m> - 1/2 m' J m + 1/2 sum log det (2 pi inv(J_ee)).
"""

# mypy: disable-error-code="no-any-return"
# (operators on arrays of any dtype are Any to mypy)

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from emdsl.runtime.data.columns import Array
from emdsl.runtime.fields.elements import Field, Parts, in_rows
from emdsl.runtime.fields.fields import assembled, field_pieces, through_blocks
from emdsl.runtime.fields.kinds import every_row, shape_of
from emdsl.runtime.fields.repeats import Blocks, Covariances
from emdsl.runtime.numeric.numerics import cholesky, inverse


def field_apart(
    field: Field, linear: Sequence[Array], homes: Sequence[int], pieces: Sequence[tuple[int, int, Any, Any, Array]],
    start: Array, parts: Parts | None = None,
) -> tuple[list[Array], Covariances, Any]:  # fmt: skip
    """What `gaussian_field` returns of one latent, after one sweep over its elements from the means `start`.

    The log-normaliser is what expected terms and entropies add up to. start : (plates, own).
    """
    h, (where,), shaped = field_pieces(field, linear, homes, pieces)
    diagonal, below = assembled(field, [every_row(a) for a in shaped])
    mean = np.zeros(h.shape)
    mean[where] = in_rows(start, homes[0])
    own = _own_entries(field)
    low = cholesky(np.where(own, diagonal, 0.0))
    v = np.where(own, inverse(low), 0.0)
    _sweep(field, diagonal, below, v, h, mean)
    log_det = 2 * np.log(low.diagonal(0, 1, 2))
    share = mean * (h - 0.5 * through_blocks(diagonal, below, mean)) + 0.5 * (
        field.full * math.log(2 * math.pi) - log_det
    )
    shapes = [shape_of(p[4]) for p in pieces]
    covariances = Covariances(field.spots, field.shapes, shapes, Blocks.each(v), Blocks.each(np.zeros(below.shape)))
    means = [mean[where].reshape(np.shape(linear[0]))]
    if parts is None:
        return means, covariances, float(share.sum())
    log_z = np.bincount(np.ravel(parts.of[0]), share[where].sum(1), math.prod(parts.shape))
    return means, covariances, log_z.reshape(parts.shape)


def _own_entries(field: Field) -> Array:
    """Which entries of the blocks on the diagonal are of one element, or of a number that fills up: (blocks, w, w)."""
    number = np.full((field.count, field.size), -1)
    for e, (block, first, width) in enumerate(zip(field.block, field.within, field.width, strict=True)):
        number[block, first : first + width] = e
    same = number[:, :, None] == number[:, None, :]
    filled = (number == -1)[:, :, None] & ~np.eye(field.size, dtype=bool)
    return same & ~filled


def _sweep(field: Field, diagonal: Array, below: Array, v: Array, h: Array, mean: Array) -> None:
    """Means of all elements, each given those of the others, in place."""
    order = np.lexsort((field.within, field.block)).tolist()
    block, within, width = field.block.tolist(), field.within.tolist(), field.width.tolist()
    for e in order:
        t, at = block[e], slice(within[e], within[e] + width[e])
        rest = h[t, at] - diagonal[t, at] @ mean[t] + diagonal[t, at, at] @ mean[t, at]
        if t > 0:
            rest -= below[t - 1, at] @ mean[t - 1]
        if t < len(below):
            rest -= mean[t + 1] @ below[t, :, at]
        mean[t, at] = v[t, at, at] @ rest
