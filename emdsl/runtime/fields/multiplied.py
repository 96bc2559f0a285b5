"""Joint Gaussians of which rounding would take digits: again, with a multiplier for each density (`constrained`).

In the precision noises q and r are 1/q and 1/r. Where latents vary far more than q tells, or far more than r, what
counts is what 1/q and 1/r leave of digits. With multipliers q and r stand as they are.
"""

# mypy: disable-error-code="no-any-return"
# (operators on arrays of any dtype, and all of scipy, are Any to mypy)

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from emdsl.runtime.data.columns import Array
from emdsl.runtime.data.faults import DataError
from emdsl.runtime.fields.elements import Field, Parts
from emdsl.runtime.fields.fields import (
    assembled,
    clamped,
    field_pieces,
    gaussian_field,
    left_alone,
    through_blocks,
)
from emdsl.runtime.fields.kinds import every_row, shape_of
from emdsl.runtime.fields.repeats import Blocks, Covariances
from emdsl.runtime.numeric.numerics import Degenerate

LOOSE = 1e3  # a variance times its precision: from here on squares of it are more than 1e-10 of what rounding leaves
WIDE_BLOCK = 100  # numbers in a block that is solved with pivots, at most: crossed effects in one block are not
EXACT = 1e6  # squares of what is known by squares of what is not, for each number


def field_by_either(
    field: Field, linear: Sequence[Array], homes: Sequence[int], pieces: Sequence[tuple[int, int, Any, Any, Array]],
    multiplied: Callable[[], tuple[Any, ...]] | None, seen: Sequence[tuple[int, Array, Array]] = (),
    parts: Parts | None = None,
) -> tuple[list[Array], Covariances, Any]:  # fmt: skip
    """What `gaussian_field` returns; where that has lost digits, what `multiplied` leads to: the same latents first."""
    lost = None
    try:
        plain = gaussian_field(field, linear, homes, pieces, seen, parts)
        loose, exact = (False, False) if multiplied is None else _loses_digits(plain[1])
        if multiplied is None or not (loose or exact):
            return plain
    except Degenerate as error:
        if multiplied is None:
            raise
        lost = error
    try:  # where blocks are wide, the plain form is all there is
        means, covariances = field_with_multipliers(len(linear), *multiplied())
    except (DataError, np.linalg.LinAlgError):
        if lost is not None:
            raise lost from None
        return plain
    if lost is None and not loose:  # what is known to far less than it varies is so in the precision, too
        plain[1].whole = covariances.whole
        return plain
    return means, covariances, plain[2] if lost is None else covariances.whole


def _loses_digits(covariances: Covariances) -> tuple[bool, bool]:
    """Whether variances are far above what their precisions alone say; whether data vary far more than their noise."""
    v, j = covariances.v, covariances.precision
    if j is None:
        return not covariances.loose < LOOSE, not abs(covariances.fit) < EXACT * (
            100 + sum(r[0] for r in covariances.rows)
        )
    variance, precision = v.values[: int(v.at.max(initial=0)) + 1].diagonal(0, 1, 2), j.values.diagonal(0, 1, 2)
    if len(precision) == len(variance) == len(v.at):
        loose = variance[v.at] * precision[j.at]
    else:
        loose = variance.max(0) * precision.max(0)  # of blocks that repeat
    return not loose.max(initial=0.0) < LOOSE, not abs(covariances.fit) < EXACT * (100 + len(v.at))


def field_with_multipliers(
    count: int, field: Field, linear: Sequence[Array], homes: Sequence[int],
    pieces: Sequence[tuple[int, int, Any, Any, Array]], told: int, parts: Parts | None,
    seen: Sequence[tuple[int, Array, Array]] = (),
) -> tuple[list[Array], Covariances]:  # fmt: skip
    """Means of the first `count` latents and covariances beside the first `told` pieces; of these `whole` is the
    log-likelihood, its constants included: -log 2 pi for each multiplier. One that stands in no density is left out.

    parts : of all, multipliers included; `whole` is the log-likelihood of each.
    """
    h, where, shaped = field_pieces(field, linear, homes, pieces)
    if field.size > WIDE_BLOCK:
        raise DataError(f"blocks of {field.size} numbers", code="D016")
    diagonal, below = assembled(field, [every_row(a) for a in shaped])
    share, h, x, held = clamped(diagonal, below, h, where, homes, seen)
    idle = left_alone(diagonal, below)
    assert field.moments is not None
    v, c, mean, log_det = field.moments(diagonal, below, h)
    off = h - through_blocks(diagonal, below, mean)  # makes the error of <h, mean> one of second order
    sign = np.zeros(h.shape)
    for k, at in enumerate(where):
        sign[at] = 1.0 if k < count else -1.0
    sign[idle | held] = 0.0
    share = share + 0.5 * (mean * (h + off) - log_det + sign * math.log(2 * math.pi))
    whole = np.asarray(share.sum()) if parts is None else np.zeros(math.prod(parts.shape))
    for at, of in zip(where, parts.of, strict=True) if parts is not None else ():
        whole += np.bincount(np.ravel(of), share[at].sum(1), len(whole))
    mean = mean + x
    v[:, np.arange(field.size), np.arange(field.size)] -= held
    means = [mean[at].reshape(np.shape(h_k)) for at, h_k in zip(where[:count], linear, strict=False)]
    shapes = [shape_of(p[4]) for p in pieces[:told]]
    covariances = Covariances(field.spots[:told], field.shapes[:told], shapes, Blocks.each(v), Blocks.each(c))
    covariances.whole = whole if parts is None else whole.reshape(parts.shape)
    return means, covariances
