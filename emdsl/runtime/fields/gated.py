"""Joint Gaussians of one layout under every state of what gates them: copies side by side, as parts of one.

Copies are not tied to one another, so that what eliminates odd blocks all at once eliminates those of all copies.
"""

# mypy: disable-error-code="no-any-return"
# (operators on arrays of any dtype, and all of scipy, are Any to mypy)

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from emdsl.runtime.data.columns import Array
from emdsl.runtime.fields.by_leaves import may_go_by_leaves
from emdsl.runtime.fields.elements import Field, Parts, Spot
from emdsl.runtime.fields.fields import assembled, field_pieces, gaussian_field
from emdsl.runtime.fields.repeats import Blocks, Covariances
from emdsl.runtime.numeric.digits import LOOKED, note_rounding
from emdsl.runtime.numeric.numerics import cholesky, inverse

FEW_STATES = 16  # of what gates a field, which may be solved by leaves one after the other
AT_ONCE = 2**19  # entries of the precisions of copies that are solved together


def gated_field(
    gates: tuple[int, ...], field: Field, linear: Sequence[Array], homes: Sequence[int],
    pieces: Sequence[tuple[int, int, Any, Any, Array]], seen: Sequence[tuple[int, Array, Array]] = (),
    parts: Parts | None = None,
) -> tuple[list[Array], list[Array], Array]:  # fmt: skip
    """`gaussian_field` for every state of the gates: the leading axes of what it takes and returns."""
    total, lead = math.prod(gates), len(gates)
    flat = [np.reshape(h, (total, *h.shape[lead:])) for h in linear]
    values = [np.reshape(p[4], (total, *p[4].shape[lead:])) for p in pieces]
    one = [(a, b, at_a, at_b, v[0]) for (a, b, at_a, at_b, _), v in zip(pieces, values, strict=True)]
    step, alike = 1, None
    if seen or total > FEW_STATES or not may_go_by_leaves(field, [h[0] for h in flat], homes, one):
        if not field.ready:
            field_pieces(field, [h[0] for h in flat], homes, one)
        step = max(1, min(total, AT_ONCE // max(1, field.count * field.size**2)))
        alike = None if seen or parts is not None else ungated(field, flat, homes, pieces, values)
    found: list[tuple[list[Array], Sequence[Array], Array]] = []
    for start in range(0, total, step):
        now = slice(start, min(start + step, total))
        given = [(a, b, at_a, at_b, v[now]) for (a, b, at_a, at_b, _), v in zip(pieces, values, strict=True)]
        some = [h[now] for h in flat]
        if alike is not None:
            found.append(_around(alike, now.stop - start, field, some, homes, given))
            continue
        found.append(_together(now.stop - start, field, some, homes, given, seen, parts))

    def joined(arrays: Sequence[Array]) -> Array:
        whole = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
        return whole.reshape(*gates, *whole.shape[1:])

    means, covariances = ([joined(a) for a in zip(*(f[n] for f in found), strict=True)] for n in (0, 1))
    return means, covariances, joined([f[2] for f in found])


def _together(
    count: int, field: Field, linear: Sequence[Array], homes: Sequence[int],
    pieces: Sequence[tuple[int, int, Any, Any, Array]], seen: Sequence[tuple[int, Array, Array]], parts: Parts | None,
) -> tuple[list[Array], Sequence[Array], Array]:  # fmt: skip
    """Of `count` states, the first axis of linear terms and pieces."""
    if count == 1:
        one = [(a, b, at_a, at_b, v[0]) for a, b, at_a, at_b, v in pieces]
        means, covariances, log_z = gaussian_field(field, [h[0] for h in linear], homes, one, seen, parts)
        return [a[None] for a in means], [covariances[k][None] for k in range(len(pieces))], np.asarray(log_z)[None]
    if parts is None:
        parts = Parts((), [np.zeros(h.shape[1 : 1 + k], int) for h, k in zip(linear, homes, strict=True)])
    inner = np.arange(count)[:, None] * math.prod(parts.shape)
    mine = Parts((count, *parts.shape), [(inner + np.ravel(p)).ravel() for p in parts.of])
    each = [(k, np.broadcast_to(x, (count, *x.shape)), np.broadcast_to(g, (count, *g.shape))) for k, x, g in seen]
    means, found, log_z = gaussian_field(copies(field, count), linear, [k + 1 for k in homes], pieces, each, mine)
    return means, [found[k] for k in range(len(pieces))], log_z


def copies(field: Field, count: int) -> Field:
    """So many untied copies of a settled field as one."""
    if count in field.copies:
        return field.copies[count]
    made = Field.__new__(Field)
    made.__dict__.update(field.__dict__)
    block = np.arange(count) * field.count
    made.by_leaves = False
    made.full = np.tile(field.full, (count, 1))
    made.where = []
    for at, inside in map(places_in, field.where):
        if isinstance(at, slice):
            at, inside = np.arange(field.count)[at], np.arange(field.size)[inside][None]
        places = np.broadcast_to(inside, (at.size, inside.shape[1]))
        made.where.append(((block[:, None] + at.ravel()).reshape(-1, 1), np.tile(places, (count, 1))))
    made.shapes = [(count * rows, a, b) for rows, a, b in field.shapes]
    made.spots = [[_copied(s, field, rows, count) for s in found]
                  for found, (rows, *_) in zip(field.spots, field.shapes, strict=True)]  # fmt: skip
    made.count, made.total, made.alone = count * field.count, count * field.total, False
    field.copies[count] = made
    return made


def places_in(where: tuple[Any, Any]) -> tuple[Array, Array]:
    """The block of each element (elements, 1), and the places of its numbers (elements, numbers)."""
    block, inside = where
    if not isinstance(block, slice):
        return block, inside
    at = np.arange(block.start, block.stop)
    return at[:, None], np.tile(np.arange(inside.start, inside.stop), (len(at), 1))


def _copied(s: Spot, field: Field, rows: int, count: int) -> Spot:
    """Where rows of a piece stand in every copy, as flat places."""
    w = field.size
    own = np.arange(rows)[s.rows]
    if isinstance(s.at, tuple):
        block, first, second = (np.arange(field.count * w)[a] for a in s.at)
        at = ((block[:, None, None] * w + first[:, None]) * w + second).ravel()
    else:
        at = s.at
    each = np.arange(count)[:, None]
    return Spot((each * rows + own).ravel(), s.beside, s.swapped, (each * (field.count * w * w) + at).ravel())


class Ungated(NamedTuple):
    """One dense block of which some numbers are gated and the others alike in all states: those are eliminated once.

    `own` are the gated ones, `varying` the pieces of J that differ. `inside` is inv(J) of the others, `to` what of them
    goes with the gated, inv(J_oo) J_og; `rest` and `free` are J and what is taken from h of the gated given that.
    """

    own: Array
    others: Array
    varying: tuple[int, ...]
    inside: Array
    to: Array
    rest: Array
    h: Array
    log_z: float


def ungated(
    field: Field, linear: Sequence[Array], homes: Sequence[int], pieces: Sequence[tuple[int, int, Any, Any, Array]],
    values: Sequence[Array],
) -> Ungated | None:  # fmt: skip
    """What no gate touches of a field in one block, eliminated; None where that is nothing, or too little."""
    varying = tuple(n for n, v in enumerate(values) if v.strides[0])
    gated = {k for k, h in enumerate(linear) if h.strides[0]} | {k for n in varying for k in pieces[n][:2]}
    own = np.concatenate([np.zeros(0, int), *(places_in(field.where[k])[1].ravel() for k in sorted(gated))])
    if field.moments is not None or field.count > 1 or 4 * len(own) > 3 * field.size or not field.full.all():
        return None
    others = np.setdiff1d(np.arange(field.size), own)
    same = [(a, b, at_a, at_b, v[0] * (n not in varying)) for n, ((a, b, at_a, at_b, _), v) in
            enumerate(zip(pieces, values, strict=True))]  # fmt: skip
    h, _, shaped = field_pieces(field, [x[0] for x in linear], homes, same)
    j = assembled(field, shaped)[0][0]
    low = cholesky(j[np.ix_(others, others)])
    inside = inverse(low)
    to, known = inside @ j[np.ix_(others, own)], h[0][others]
    rest = j[np.ix_(own, own)] - j[np.ix_(own, others)] @ to
    log_z = 0.5 * (known @ inside @ known + field.size * math.log(2 * math.pi)) - np.log(low.diagonal()).sum()
    return Ungated(own, others, varying, inside, to, rest, known, float(log_z))


def _around(
    u: Ungated, count: int, field: Field, linear: Sequence[Array], homes: Sequence[int],
    pieces: Sequence[tuple[int, int, Any, Any, Array]],
) -> tuple[list[Array], list[Array], Array]:  # fmt: skip
    """Of `count` states: the gated numbers given what the others left of them, then the others given these."""
    many, w = copies(field, count), field.size
    h, where, shaped = field_pieces(many, linear, [k + 1 for k in homes], pieces)
    place = np.full(w, -1)
    place[u.own] = np.arange(len(u.own))
    j = np.tile(u.rest, (count, 1, 1))
    for n in u.varying:
        for spot in many.spots[n]:
            part = shaped[n][spot.rows]
            part = (part.swapaxes(1, 2) if spot.swapped else part).ravel()
            state, at = np.divmod(np.asarray(spot.at), w * w)
            a, b = place[at // w], place[at % w]
            for one, other in ((a, b), (b, a)):
                j.reshape(-1)[:] -= np.bincount((state * len(u.own) + one) * len(u.own) + other, part, j.size)
    low = cholesky(j)
    cov = np.empty((count, w, w))
    own = inverse(low)
    cross = -(u.to @ own)
    cov[:, u.own[:, None], u.own] = own
    cov[:, u.others[:, None], u.own], cov[:, u.own[:, None], u.others] = cross, cross.swapaxes(1, 2)
    cov[:, u.others[:, None], u.others] = u.inside - cross @ u.to.T
    left = h[:, u.own] - u.h @ u.to
    mean = np.empty((count, w))
    mean[:, u.own] = (own @ left[..., None])[..., 0]
    mean[:, u.others] = u.h @ u.inside - mean[:, u.own] @ u.to.T
    if LOOKED:
        note_rounding(h**2 * cov.diagonal(0, 1, 2), np.outer(u.rest.diagonal(), own.diagonal(0, 1, 2)))
    log_z = u.log_z + 0.5 * (left * mean[:, u.own]).sum(1) - np.log(low.diagonal(0, 1, 2)).sum(1)
    means = [mean[at].reshape(linear[k].shape) for k, at in enumerate(where)]
    none = np.zeros((count - 1, w, w))
    shapes = [np.shape(p[4]) for p in pieces]
    beside = Covariances(many.spots, many.shapes, shapes, Blocks.each(cov), Blocks.each(none))
    return means, [beside[n] for n in range(len(pieces))], log_z
