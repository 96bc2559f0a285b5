"""Gaussian latents whose elements are tied to one another: along a chain, through what data point at, in a tree.

    log p(y)  =  <h, y> - 1/2 y' J y,     J sparse: an entry for every pair of elements that a term holds

Elements are put in an order that keeps tied ones close, and cut into blocks of neighbours, so that J is block
tridiagonal; odd blocks are eliminated all at once, then the odd ones of what is left (cyclic reduction, Golub and
Van Loan 2013, section 4.5.4). Of the covariance only what stands beside an entry of J is computed.
"""

# mypy: disable-error-code="no-any-return"
# (operators on arrays of any dtype, and all of scipy, are Any to mypy)

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from emdsl.runtime.data.columns import Array
from emdsl.runtime.fields.by_leaves import field_by_leaves, may_go_by_leaves
from emdsl.runtime.fields.elements import Field, Parts, in_rows, share_of_parts
from emdsl.runtime.fields.kinds import ByKind, every_row, shape_of
from emdsl.runtime.fields.reduction import tridiagonal_moments
from emdsl.runtime.fields.repeats import Blocks, Covariances, Stretches, repeats_of
from emdsl.runtime.fields.steady import reduction_time, steady_moments
from emdsl.runtime.numeric.digits import LOOKED, note_rounding
from emdsl.runtime.numeric.loops import block_chain_loop

BLOCK_OF_LOOPS = 24  # numbers in a block, beyond which matrix products are no slower than a compiled loop


def gaussian_field(
    field: Field, linear: Sequence[Array], homes: Sequence[int], pieces: Sequence[tuple[int, int, Any, Any, Array]],
    seen: Sequence[tuple[int, Array, Array]] = (), parts: Parts | None = None,
) -> tuple[list[Array], Covariances, Any]:  # fmt: skip
    """Means of the latents, covariances beside every piece of J, the log-normaliser: of each part where there are some.

    linear : for each latent what multiplies it, (plates, own); `homes` says how many axes are plates.
    pieces : what multiplies products of two elements, (rows, own of a, own of b) with their numbers; or `ByKind`.
    seen : of latents that are data with gaps, their values, 0 where missing, and 1.0 where missing, (plates, own).
    """
    if not seen and may_go_by_leaves(field, linear, homes, pieces):
        return field_by_leaves(field.by_leaves, linear, homes, pieces, parts)
    h, where, shaped = field_pieces(field, linear, homes, pieces)
    w = h.shape[1]
    repeats = field.repeats if not seen else None
    if repeats is None:
        diagonal, below = (Blocks.each(a) for a in assembled(field, [every_row(a) for a in shaped]))
    else:
        diagonal, below = repeats.assembled([a.values for a in shaped])
    fit, free, x = 0.0, field.full, None
    if seen:
        fit, h, x, held = clamped(diagonal.values, below.values, h, where, homes, seen)
        free = free & ~held
    if field.moments is not None:
        diagonal, below = Blocks.each(diagonal.all()), Blocks.each(below.all())
        free = free & ~left_alone(diagonal.values, below.values)
    v, c, mean, log_det = block_moments(field, diagonal, below, h)
    if LOOKED:
        own, var = diagonal.values.diagonal(0, 1, 2)[diagonal.at], v.values.diagonal(0, 1, 2)[v.at]
        note_rounding(own * (mean**2 + var), h**2 * var, loose=own * var)
    pulled = h
    if field.moments is not None:  # makes the error of <h, mean> one of second order
        pulled = 2 * h - through_blocks(diagonal.values, below.values, mean)
    if parts is None:
        count = field.total if free is field.full else free.sum()
        log_z = np.sum(fit) + 0.5 * (np.vdot(pulled, mean) - log_det.sum() + count * math.log(2 * math.pi))
    else:
        share = fit + 0.5 * (
            pulled * mean
            - (log_det.all() if isinstance(log_det, Stretches) else log_det)
            + free * math.log(2 * math.pi)
        )
    if x is not None:
        mean = mean + x
        v = Blocks.each(v.all().copy())
        v.values[:, np.arange(w), np.arange(w)] -= held
    means = [mean[at].reshape(np.shape(linear[k])) for k, at in enumerate(where)]
    covariances = Covariances(field.spots, field.shapes, [shape_of(p[4]) for p in pieces], v, c)
    if parts is None:
        return means, covariances, float(log_z)
    return means, covariances, share_of_parts(parts, where, share)


def field_pieces(
    field: Field, linear: Sequence[Array], homes: Sequence[int], pieces: Sequence[tuple[int, int, Any, Any, Array]]
) -> tuple[Array, list[tuple[Any, Any]], list[Any]]:
    """The linear term by blocks, where each latent's numbers stand among these, and the values of the pieces of J."""
    flat = [in_rows(h, k) for h, k in zip(linear, homes, strict=True)]
    if not field.ready:
        field.place(pieces, [f.shape for f in flat])
        kinds = [p[4].kinds for p in pieces if isinstance(p[4], ByKind)]
        field.repeats = repeats_of(field, kinds) if len(kinds) == len(pieces) else None
    if field.alone:
        h = np.ascontiguousarray(flat[0])
    else:
        h = np.zeros((field.count, field.size))
        for at, f in zip(field.where, flat, strict=True):
            h[at] = f  # each number stands in one place
    return h, field.where, [_piece_of(p[4], shape) for p, shape in zip(pieces, field.shapes, strict=True)]


def _piece_of(piece: Any, shape: tuple[int, int, int]) -> Any:
    """A piece as (rows, own of a, own of b): of rows or of their kinds."""
    if isinstance(piece, ByKind):
        return ByKind(piece.values.reshape(-1, *shape[1:]), piece.kinds, (shape[0],))
    return np.reshape(piece, shape)


def clamped(
    diagonal: Array, below: Array, h: Array, where: Sequence[tuple[Any, Any]], homes: Sequence[int],
    seen: Sequence[tuple[int, Array, Array]],
) -> tuple[Any, Array, Array, Array]:  # fmt: skip
    """<h, x> - 1/2 x' J x of the numbers that are held at x, each number's share, h of the others given these; x, and
    which are held.

    J loses the rows and columns of what is held, in place: there it is 1 on the diagonal.
    """
    x, held = np.zeros(h.shape), np.zeros(h.shape, bool)
    for latent, values, unseen in seen:
        x[where[latent]] = in_rows(values, homes[latent])
        held[where[latent]] = in_rows(unseen, homes[latent]) == 0
    if not held.any():
        return 0.0, h, x, held
    jx = through_blocks(diagonal, below, x)
    diagonal[held] = 0.0
    diagonal.swapaxes(1, 2)[held] = 0.0
    diagonal[:, np.arange(h.shape[1]), np.arange(h.shape[1])] += held
    below[held[1:]] = 0.0
    below.swapaxes(1, 2)[held[:-1]] = 0.0
    return x * (h - 0.5 * jx), np.where(held, 0.0, h - jx), x, held


def left_alone(diagonal: Array, below: Array) -> Array:
    """Which numbers stand in no term, (m, w): multipliers of what was not seen. They get a 1 on the diagonal."""
    beside = np.pad(below.any(2), ((1, 0), (0, 0))) | np.pad(below.any(1), ((0, 1), (0, 0)))
    idle = ~(diagonal.any(2) | beside)
    diagonal[:, np.arange(idle.shape[1]), np.arange(idle.shape[1])] += idle
    return idle


def through_blocks(diagonal: Array, below: Array, x: Array) -> Array:
    """J x, by blocks: (m, w)."""
    out = (diagonal @ x[..., None])[..., 0]
    out[1:] += (below @ x[:-1, :, None])[..., 0]
    out[:-1] += (below.swapaxes(1, 2) @ x[1:, :, None])[..., 0]
    return out


def assembled(field: Field, values: Sequence[Array]) -> tuple[Array, Array]:
    """The blocks of J on its diagonal (m, w, w), and those below it (m - 1, w, w)."""
    m, w = field.count, field.size
    diagonal, below = np.zeros((m, w, w)), np.zeros((m - 1, w, w))
    for found, value in zip(field.spots, values, strict=True):
        for spot in found:
            part = value[spot.rows]
            part = part.swapaxes(1, 2) if spot.swapped else part
            target = below if spot.beside else diagonal
            if isinstance(spot.at, tuple):
                target[spot.at] -= part
                if not spot.beside:
                    target[spot.at[0], spot.at[2], spot.at[1]] -= part.swapaxes(1, 2)
                continue
            target.reshape(-1)[:] -= np.bincount(spot.at, part.ravel(), target.size)
            if not spot.beside:
                target.reshape(-1)[:] -= np.bincount(_mirrored(spot.at, w), part.ravel(), target.size)
    diagonal[:, np.arange(w), np.arange(w)] += ~field.full
    return diagonal, below


def _mirrored(at: Array, w: int) -> Array:
    """Places of the transposed entries."""
    block, inside = np.divmod(at, w * w)
    return block * w * w + inside % w * w + inside // w


def block_moments(
    field: Field, diagonal: Blocks, below: Blocks, h: Array
) -> tuple[Blocks, Blocks, Array, Array | Stretches]:
    """What `tridiagonal_moments` returns, by the way that takes least time: in a compiled loop where there is one."""
    m, w = h.shape
    if field.moments is not None:
        every_v, every_c, mean, log_det = field.moments(diagonal.all(), below.all(), h)
        return Blocks.each(every_v), Blocks.each(every_c), mean, log_det
    loop = field.meter.twin(block_chain_loop) if 1 < m and w <= BLOCK_OF_LOOPS else None
    if loop is not None:
        v, c, room, at = np.empty((m, w, w)), np.empty((m, w, w)), np.empty((m + 2, 2, w, w)), np.empty(m, np.int64)
        mean, log_det = np.empty((m, w)), np.empty((m, w))
        if loop(*diagonal, *below, np.ascontiguousarray(h), v, c, at, mean, log_det, room):
            return Blocks(v, at), Blocks(c, at[:-1]), mean, log_det
    found = None if field.repeats is None else steady_moments(diagonal, below, h, field.repeats.runs)
    if 1 < m and w <= BLOCK_OF_LOOPS:
        field.meter.spent += 500 + 0.07 * m if found else reduction_time(m, w)
    if found is not None:
        return found
    dense_v, dense_c, mean, log_det = tridiagonal_moments(diagonal.all(), below.all(), h)
    return Blocks.each(dense_v), Blocks.each(dense_c), mean, log_det
