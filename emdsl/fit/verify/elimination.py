"""Sums over cells: factors, each a table of its own cells, of which one cell after the other is summed out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from emdsl.families.scope import Array
from emdsl.fit.verify.layout import Layout
from emdsl.fit.verify.world import Unchecked

MOST_STATES = 2_000_000
Factor = tuple[tuple[int, ...], Array]  # cells, and a value for each of their configurations


def eliminate(factors: Sequence[Factor], layout: Layout) -> complex:
    """log of the sum over all discrete cells of exp of the sum of the factors."""
    every = frozenset(k for cells, _ in factors for k in cells)
    return complex(sum(complex(value) for _, value in eliminated(factors, layout, every)))


def eliminated(factors: Sequence[Factor], layout: Layout, gone: frozenset[int]) -> list[Factor]:
    """The factors when these cells are summed out, cell after cell."""
    n = {k: len(layout.nodes[k]) for cells, _ in factors for k in cells}
    pool = [(cells, value.reshape([n[k] for k in cells])) for cells, value in factors]
    left = {k for k in n if k in gone}
    while left:
        around = {k: {j for cells, _ in pool if k in cells for j in cells} for k in left}
        k = min(left, key=lambda j: float(np.prod([float(n[i]) for i in around[j]])))
        axes = sorted(around[k])
        if np.prod([float(n[i]) for i in axes]) > MOST_STATES:
            raise Unchecked("the configurations of the discrete latents are too many")
        total = sum(_aligned(cells, value, axes) for cells, value in pool if k in cells)
        pool = [(cells, value) for cells, value in pool if k not in cells]
        pool.append((tuple(a for a in axes if a != k), _log_sum(np.asarray(total), axes.index(k))))
        left.remove(k)
    return pool


def _aligned(cells: tuple[int, ...], value: Array, axes: Sequence[int]) -> Array:
    order = np.argsort(cells)
    shape = [value.shape[cells.index(a)] if a in cells else 1 for a in axes]
    return np.transpose(value, order).reshape(shape)


def _log_sum(value: Array, axis: int) -> Array:
    """log sum exp along an axis, of numbers whose imaginary parts are tiny."""
    top = value.real.max(axis, keepdims=True)
    top = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.log(np.exp(value - top).sum(axis)) + top.squeeze(axis))
