"""Sums over cells: factors, each a table of its own cells, of which one cell after the other is summed out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import prod

import numpy as np

from emdsl.families.scope import Array
from emdsl.fit.verify.layout import Layout
from emdsl.fit.verify.world import Unchecked

MOST_STATES = 2_000_000
ORDERS = 64  # of elimination that are kept: those of the few layouts that one certificate goes on asking
Factor = tuple[tuple[int, ...], Array]  # cells, and a value for each of their configurations


def eliminate(factors: Sequence[Factor], layout: Layout) -> complex:
    """log of the sum over all discrete cells of exp of the sum of the factors."""
    every = frozenset(k for cells, _ in factors for k in cells)
    return complex(sum(complex(value) for _, value in eliminated(factors, layout, every)))


def eliminated(factors: Sequence[Factor], layout: Layout, gone: frozenset[int]) -> list[Factor]:
    """The factors when these cells are summed out, cell after cell. Raises Unchecked."""
    n = {k: len(layout.nodes[k]) for cells, _ in factors for k in cells}
    scopes = tuple(dict.fromkeys(cells for cells, _ in factors))
    order = _order(scopes, tuple(n.items()), gone.intersection(n))
    pool = {i: (cells, value.reshape([n[k] for k in cells])) for i, (cells, value) in enumerate(factors)}
    holding: dict[int, set[int]] = {k: set() for k in n}  # the factors that each cell is in
    for i, (cells, _) in pool.items():
        for k in cells:
            holding[k].add(i)
    for new, (k, axes) in enumerate(order, start=len(pool)):
        mine = {i: pool.pop(i) for i in sorted(holding.pop(k))}
        total = sum(_aligned(cells, value, axes) for cells, value in mine.values())
        rest = tuple(a for a in axes if a != k)
        pool[new] = rest, _log_sum(np.asarray(total), axes.index(k))
        for a in rest:
            holding[a].difference_update(mine)
            holding[a].add(new)
    return list(pool.values())


@lru_cache(ORDERS)
def _order(
    scopes: tuple[tuple[int, ...], ...], sizes: tuple[tuple[int, int], ...], gone: frozenset[int]
) -> tuple[tuple[int, tuple[int, ...]], ...]:
    """Which cell goes next, and all cells of the table that it is summed out of: the smallest table first.

    Raises Unchecked where even that is too large.
    """
    n, around = dict(sizes), {k: {k} for k, _ in sizes}
    for cells in scopes:
        for k in cells:
            around[k].update(cells)
    cost = {k: prod(n[i] for i in around[k]) for k in gone}
    out = []
    while cost:
        k = min(cost, key=cost.__getitem__)
        if cost.pop(k) > MOST_STATES:
            raise Unchecked("the configurations of the discrete latents are too many")
        others = around.pop(k) - {k}
        for i in others:
            around[i] = (around[i] | others) - {k}
            if i in cost:
                cost[i] = prod(n[j] for j in around[i])
        out.append((k, tuple(sorted({k, *others}))))
    return tuple(out)


def _aligned(cells: tuple[int, ...], value: Array, axes: tuple[int, ...]) -> Array:
    if cells == axes:
        return value
    order = np.argsort(cells)
    shape = [value.shape[cells.index(a)] if a in cells else 1 for a in axes]
    return np.transpose(value, order).reshape(shape)


def _log_sum(value: Array, axis: int) -> Array:
    """log sum exp along an axis, of numbers whose imaginary parts are tiny."""
    top = value.real.max(axis, keepdims=True)
    top = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.log(np.exp(value - top).sum(axis)) + top.squeeze(axis))
