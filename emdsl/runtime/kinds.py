"""Rows that are alike: what is made of them is made once for each kind."""

# mypy: disable-error-code="no-any-return"
# (operators on arrays of any dtype, and all of scipy, are Any to mypy)

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from emdsl.runtime.columns import Array

REPEATING = 4  # rows of each kind, on average, from which on kinds are worth their while


class Kinds:
    """Which rows are alike: `code` (rows,) numbers their kinds, `first` says where one of each stands on each plate."""

    def __init__(self, code: Array, shape: tuple[int, ...]) -> None:
        """code : (rows,), the plates of `shape` flattened."""
        at, self.code = np.unique(code, return_index=True, return_inverse=True)[1:]
        self.shape, self.first = shape, np.unravel_index(at, shape)


class ByKind:
    """Numbers of rows, each its kind's: `values` (kinds, own), the rows being those of `shape`, their plates."""

    def __init__(self, values: Array, kinds: Kinds, shape: tuple[int, ...] | None = None) -> None:
        self.values, self.kinds, self.shape = values, kinds, kinds.shape if shape is None else shape


def kinds_of(columns: Sequence[Array], shape: tuple[int, ...]) -> Kinds:
    """Rows that have the same numbers in all columns, (own, plates), are of one kind."""
    rows = int(np.prod(shape))
    code = np.zeros(rows, np.int64)
    for column in columns:
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
