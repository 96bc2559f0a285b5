"""Rows of a ragged plate that are equal, kept once with their number."""

# mypy: disable-error-code="no-any-return"
# (operators on arrays of any dtype are Any to mypy)

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from emdsl.runtime.data.binding import Bound
from emdsl.runtime.data.columns import Array
from emdsl.runtime.data.plates import Ragged


def distinct_rows(data: Bound, plate: str, names: Sequence[str]) -> tuple[Bound, Array, Array]:
    """The data with equal rows of a ragged plate once; their numbers, and which one each row is.

    Rows are equal that have one parent and equal values (or gaps) of the variables `names`, which lie on the plate.
    """
    rows = data.ragged[plate]
    code = rows.row
    for name in names:
        flat = np.reshape(data.values[name], (len(code), -1))
        mask = data.masks.get(name)
        columns = [*flat.T, *([] if mask is None else np.reshape(mask, (len(code), -1)).T)]
        for column in columns:
            code = _coded(code, column)
    _, first, which, counts = np.unique(code, return_index=True, return_inverse=True, return_counts=True)
    row = rows.row[first]
    lengths = np.bincount(row, minlength=len(rows.lengths))
    start = np.cumsum(lengths) - lengths
    kept = Ragged(lengths, row, np.arange(len(row)) - start[row], start)
    values = {**data.values, **{n: data.values[n][first] for n in names}}
    masks = {n: None if a is None else a[first] if n in names else a for n, a in data.masks.items()}
    ragged = {**data.ragged, plate: kept}
    return data._replace(values=values, masks=masks, ragged=ragged), counts.astype(float), np.ravel(which)


def _coded(code: Array, column: Array) -> Array:
    """One integer for each pair of a code and a value, in the order of codes first."""
    _, values = np.unique(column, return_inverse=True)
    levels = int(values.max(initial=0)) + 1
    if int(code.max(initial=0)) + 1 > 2**62 // levels:
        _, code = np.unique(code, return_inverse=True)
    return np.ravel(code) * levels + np.ravel(values)
