"""Rows that are alike: what is made of them is made once for each kind."""

# mypy: disable-error-code="no-any-return"
# (operators on arrays of any dtype, and all of scipy, are Any to mypy)

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from emdsl.runtime.data.columns import Array

MOST_KINDS = 32  # kinds of rows, and stretches of them, that are taken one by one
PIECE = 2048  # rows at a time, else
REPEATING = 4  # rows of each kind, on average, from which on kinds are worth their while


class Kinds:
    """Which rows are alike: `code` (rows,) numbers their kinds, `first` says where one of each stands on each plate."""

    def __init__(self, code: Array, shape: tuple[int, ...]) -> None:
        """code : (rows,), the plates of `shape` flattened."""
        at, self.code = np.unique(code, return_index=True, return_inverse=True)[1:]
        self.shape, self.first = shape, np.unravel_index(at, shape)
        self.rows = self._in_slices(len(at))

    def _in_slices(self, count: int) -> list[tuple[int, slice]] | None:
        """Each kind and where rows of it stand, one stretch after the other; None where these are many."""
        if count > MOST_KINDS:
            return None
        new = np.flatnonzero(self.code[1:] != self.code[:-1]) + 1
        if len(new) > MOST_KINDS:
            return None
        ends = [0, *new.tolist(), len(self.code)]
        return [(int(self.code[a]), slice(a, ends[n])) for n, a in enumerate(ends[:-1], 1)] if len(self.code) else []


class ByKind:
    """Numbers of rows, each its kind's: `values` (kinds, own), the rows being those of `shape`, their plates."""

    def __init__(self, values: Array, kinds: Kinds, shape: tuple[int, ...] | None = None) -> None:
        self.values, self.kinds, self.shape = values, kinds, kinds.shape if shape is None else shape


def moments_by_kind(a: Array, b: Array, weights: Array, kinds: Kinds) -> Array:
    """sum over rows t of weights[..., kind of t] a[..., t] b[..., t]: (lead, own of a, own of b).

    weights : (lead, kinds). Of rows that are alike one product of matrices; else rows are gone through in pieces.
    """
    lead, own, n = weights.shape[:-1], (*a.shape[:-1], *b.shape[:-1]), a.shape[-1]
    flat_a, flat_b, w = a.reshape(-1, n), b.reshape(-1, n), weights.reshape(-1, weights.shape[-1])
    if kinds.rows is not None:
        found = np.zeros((w.shape[1], len(flat_a), len(flat_b)))
        for k, rows in kinds.rows:
            if w[:, k].any():
                found[k] += flat_a[:, rows] @ flat_b[:, rows].T
        return (w @ found.reshape(len(found), -1)).reshape((*lead, *own))
    whole = np.zeros((len(w), len(flat_a), len(flat_b)))
    for start in range(0, n, PIECE):
        rows = slice(start, start + PIECE)
        here = w[:, kinds.code[rows]]
        if len(w) == 1:
            whole[0] += (here * flat_a[:, rows]) @ flat_b[:, rows].T
        else:
            pairs = flat_a[:, None, rows] * flat_b[None, :, rows]
            whole += (here @ pairs.reshape(-1, pairs.shape[2]).T).reshape(whole.shape)
    return whole.reshape((*lead, *own))


def displaced(a: Array, by: int, count: int, axis: int) -> Array:
    """a at 0 + by, 1 + by, ..., `count` places of one axis; where that is outside it, at its end."""
    if a.shape[axis] != count or abs(by) >= count:
        return a.take(np.clip(np.arange(count) + by, 0, a.shape[axis] - 1), axis)
    before = (slice(None),) * axis
    if by < 0:
        return np.concatenate([*[a[(*before, slice(0, 1))]] * -by, a[(*before, slice(0, by))]], axis)
    return np.concatenate([a[(*before, slice(by, None))], *[a[(*before, slice(-1, None))]] * by], axis)


def kinds_of(columns: Sequence[Array], shape: tuple[int, ...]) -> Kinds:
    """Rows that have the same numbers in all columns, (own, plates), are of one kind."""
    rows = int(np.prod(shape))
    code = np.zeros(rows, np.int64)
    for column in columns if rows else ():
        for numbers in np.asarray(column).reshape(-1, rows):
            code = joined(code, numbers)
            if code.max(initial=0) * REPEATING > rows:
                return Kinds(np.arange(rows), shape)  # hardly two are alike
    return Kinds(code, shape)


def joined(code: Array, numbers: Array) -> Array:
    """Codes that tell apart what either of two tells apart."""
    different, at = np.unique(numbers, return_inverse=True)
    if len(different) < 2:
        return code
    return np.unique(code * len(different) + at, return_inverse=True)[1].astype(np.int64)


def every_row(piece: Any) -> Array:
    """A piece as an array, (plates, own)."""
    return piece.values[piece.kinds.code].reshape(shape_of(piece)) if isinstance(piece, ByKind) else piece


def shape_of(piece: Any) -> tuple[int, ...]:
    """The shape of this array."""
    return (*piece.shape, *piece.values.shape[1:]) if isinstance(piece, ByKind) else np.shape(piece)
