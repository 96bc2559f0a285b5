"""Rows of ragged plates in their two forms: lists of arrays, one for each parent, and one flat axis with lengths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from emdsl.errors import DataError, Problem
from emdsl.families.scope import Array
from emdsl.language.model import ModelText, Ragged
from emdsl.runtime.data import faults
from emdsl.runtime.data.plates import nest_rows, ragged_rows, unnest
from emdsl.runtime.data.sizes import ragged_name


def flat_rows(model: ModelText, data: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Lists of arrays on ragged plates as flat rows, and the sizes and lengths that they have."""
    flat, found = dict(data), dict[str, Any]()
    for v in model.variables:
        plates = [str(p.size) for p in v.plates]
        depth = max((i + 1 for i, p in enumerate(v.plates) if isinstance(p.size, Ragged)), default=0)
        value = data.get(v.name)
        if not depth or not isinstance(value, list | tuple) or not any(hasattr(part, "__len__") for part in value):
            continue
        try:
            column, levels = unnest(v.name, value, plates[:depth], {})
        except faults.DataError as error:
            raise DataError(Problem(error.code, error.message, v.span, error.hint)) from None
        flat[v.name] = column.values
        for size, counts in levels:
            name = ragged_name(size)
            found[name or size] = counts if name else int(counts[0])
    return flat, found


def arrays_of(model: ModelText, values: Mapping[str, Any]) -> dict[str, Array]:
    """Values of variables as arrays; DataError for one that is none, or not of numbers."""
    arrays: dict[str, Array] = {}
    for name, value in values.items():
        try:
            arrays[name] = np.asarray(value)
            number = arrays[name].dtype.kind in "biuf"
        except Exception:  # noqa: BLE001  (of code that is not ours, or of rows of uneven lengths)
            number = False
        if not number:
            message = f"`{name}` must be numbers in rows of one length, of labels those that the fit has"
            raise DataError(Problem("D004", message, model.variable(name).span))
    return arrays


def by_parent(
    model: ModelText, values: Mapping[str, Array], sizes: Mapping[str, int], lengths: Mapping[str, Array]
) -> dict[str, Any]:
    """Flat rows of ragged plates as a fit takes them: lists of arrays, one for each parent; others as they are."""
    ragged = {n: ragged_rows(counts) for n, counts in lengths.items()}
    plates = {v.name: [str(p.size) for p in v.plates] for v in model.variables}
    return {n: nest_rows(a, plates.get(n, []), ragged, sizes) for n, a in values.items()}
