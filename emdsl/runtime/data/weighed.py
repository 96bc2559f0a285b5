"""Weights of rows: rows that weigh nothing, and what an objective is measured in."""

from __future__ import annotations

from typing import Any

import numpy as np

from emdsl.runtime.data.binding import Bound
from emdsl.runtime.data.columns import Array
from emdsl.runtime.data.sizes import ragged_name


def unit_of(weights: Array | None) -> float:
    """What one row adds to an objective, at most 1: what no step changes by much is measured against it."""
    return 1.0 if weights is None else min(1.0, float(np.max(weights)))


def without_idle_rows(module: Any, bound: Bound) -> Bound:
    """The data of a fit with the first row that counts in the place of each that weighs nothing.

    Nothing of these is in any sum, but reference points are means of columns and scales are beside their spread.
    Factors of q that a fit keeps for its rows are of the rows themselves.
    """
    if bound.weights is None or (bound.weights > 0).all() or hasattr(module, "start"):
        return bound
    first, idle = int(np.argmax(bound.weights > 0)), bound.weights == 0
    mine = [v for v in module.SPEC["variables"] if v["plates"] and v["plates"][0][1] == bound.weighted]
    if any(ragged_name(p[1]) or p[2:] not in ([], [None]) for v in mine for p in v["plates"]):
        return bound
    values, masks = dict(bound.values), dict(bound.masks)
    for name in (v["name"] for v in mine if v["name"] in values):
        values[name] = _replaced(values[name], idle, first)
        if (mask := masks.get(name)) is not None:
            masks[name] = _replaced(mask, idle, first)
    return bound._replace(values=values, masks=masks)


def _replaced(rows: Array, idle: Array, first: int) -> Array:
    return np.ascontiguousarray(np.where(idle.reshape(-1, *[1] * (rows.ndim - 1)), rows[first], rows))
