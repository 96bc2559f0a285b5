"""Joint Gaussians of crossed and nested groups: what is tied to little goes first (`leaves`, `fronts`)."""

# mypy: disable-error-code="no-any-return"
# (operators on arrays of any dtype are Any to mypy)

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from emdsl.runtime.data.columns import Array
from emdsl.runtime.fields.elements import Field, Parts, Spot, in_rows, share_of_parts
from emdsl.runtime.fields.fronts import front_moments, through_fronts
from emdsl.runtime.fields.kinds import every_row, shape_of
from emdsl.runtime.fields.leaves import LeafOrder, leaves_first
from emdsl.runtime.fields.repeats import Blocks, Covariances
from emdsl.runtime.numeric.digits import LOOKED, note_rounding


class ByLeaves(NamedTuple):
    """An order of elements; where the pieces of J stand in it, and the numbers of each latent, (elements, numbers)."""

    order: LeafOrder
    spots: list[list[Spot]]
    shapes: list[tuple[int, int, int]]
    where: list[Array]


def may_go_by_leaves(
    field: Field, linear: Sequence[Array], homes: Sequence[int], pieces: Sequence[tuple[int, int, Any, Any, Array]]
) -> bool:
    """Whether elements of a field go before others, which is settled at the first call."""
    if field.by_leaves is None:
        found = None if field.ready or field.moments is not None else places_by_leaves(field, linear, homes, pieces)
        field.by_leaves = found or False
    return bool(field.by_leaves)


def places_by_leaves(
    field: Field, linear: Sequence[Array], homes: Sequence[int], pieces: Sequence[tuple[int, int, Any, Any, Array]]
) -> ByLeaves | None:
    """Where everything stands if some elements go first; None where that takes no less time."""
    nodes = [(field.nodes(a, at_a), field.nodes(b, at_b)) for a, b, at_a, at_b, _ in pieces]
    order = leaves_first(field.width, field.first[:-1].tolist(), nodes)
    if order is None:
        return None
    lengths = [in_rows(h, k).shape for h, k in zip(linear, homes, strict=True)]
    own = [field.at[latent][1] + np.arange(d) for latent, (_, d) in enumerate(lengths)]
    spots = []
    for (a, b, *_), (na, nb) in zip(pieces, nodes, strict=True):
        at = order.slots(na[:, None, None], own[a][:, None], nb[:, None, None], own[b])
        spots.append([Spot(slice(0, len(na)), False, False, at.ravel())])
    where = [order.number[field.nodes(k, np.arange(n))][:, None] + own[k] for k, (n, _) in enumerate(lengths)]
    shapes = [(len(na), len(own[a]), len(own[b])) for (a, b, *_), (na, _) in zip(pieces, nodes, strict=True)]
    return ByLeaves(order, spots, shapes, where)


def field_by_leaves(
    of: ByLeaves, linear: Sequence[Array], homes: Sequence[int], pieces: Sequence[tuple[int, int, Any, Any, Array]],
    parts: Parts | None,
) -> tuple[list[Array], Covariances, Any]:  # fmt: skip
    """What `gaussian_field` returns."""
    order, h = of.order, np.zeros(of.order.total + 1)
    for at, mine, k in zip(of.where, linear, homes, strict=True):
        h[at] = in_rows(mine, k)
    terms = np.zeros(order.length + 1)
    for (spot,), piece in zip(of.spots, pieces, strict=True):
        terms += np.bincount(np.asarray(spot.at), np.ravel(every_row(piece[4])), len(terms))
    cov, mean, log_det = front_moments(order, terms, h)
    h, own, var = h[:-1], -2 * terms[order.diagonal], cov[order.diagonal]
    if LOOKED:
        note_rounding(own * (mean**2 + var), h**2 * var, loose=own * var)
    pulled = 2 * h - through_fronts(order, terms, mean)  # makes the error of <h, mean> one of second order
    share = 0.5 * (pulled * mean - log_det + order.full * math.log(2 * math.pi))
    means = [mean[at].reshape(np.shape(mine)) for at, mine in zip(of.where, linear, strict=True)]
    shapes = [shape_of(p[4]) for p in pieces]
    covariances = Covariances(of.spots, of.shapes, shapes, Blocks.each(cov[None]), Blocks.each(cov[:0]))
    if parts is None:
        return means, covariances, float(share.sum())
    return means, covariances, share_of_parts(parts, of.where, share)
