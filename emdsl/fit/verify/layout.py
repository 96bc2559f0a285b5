"""At which values of the latents the rows of the log joint are asked for, so that each row is known at all of its own.

Discrete cells take every level, and cells that neither enumeration nor Gaussian algebra reaches take the nodes of a
quadrature; cells in which the log joint is a polynomial of degree two take a stencil, which determines it. Cells that
no row reads together (one colour) move together, so that the calls do not grow with the data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, pairwise, product
from typing import Any

import numpy as np

from emdsl.families.scope import Array
from emdsl.fit.verify.cells import (
    Cell,
    all_placed,
    cells_of,
    colours,
    drawn_values,
    own_values,
    reads,
    units,
    within_support,
)
from emdsl.fit.verify.world import Unchecked, World

MOST_CALLS = 6400  # twice 40 nodes in two numbers
STRIDES = (1, 1, 4, 16)  # in units: a kink may lie where the latent hardly ever is, and count
Key = tuple[tuple[Any, ...], tuple[int, ...]]  # a level for each colour, a step for each colour


@dataclass(frozen=True)
class RowPlan:
    """The discrete and Gaussian cells of one row, and which calls show it at its own (values, stencil points)."""

    discrete: tuple[int, ...]
    gaussian: tuple[int, ...]
    calls: Array


@dataclass(frozen=True)
class Known:
    """(calls, rows): the rows at every point, at these parameters."""

    params: Mapping[str, Array]
    values: Array


@dataclass(frozen=True)
class Layout:
    world: World
    cells: tuple[Cell, ...]
    gaussian: tuple[bool, ...]
    nodes: tuple[Array, ...]  # per cell the values it takes; none for Gaussian ones
    weights: tuple[Array, ...]  # the logarithms of the quadrature's weights, 0 for levels
    centre: Array  # about which the stencil lies
    unit: Array  # how long its steps are
    rows: tuple[RowPlan, ...]
    points: tuple[Array, ...]  # per call a value for each cell
    spans: tuple[tuple[int, int], ...]  # which rows are each declaration's

    @cached_property
    def opened(self) -> list[Any]:
        """What the last tables of Gaussian cells came to."""
        return []

    @cached_property
    def latents(self) -> Mapping[str, Array]:
        """The arrays of the latents at every point."""
        return all_placed(self.world, self.cells, self.points)

    def known(self, params: Mapping[str, Array], near: Known | None = None) -> Known:
        """The rows at every point; from those at other parameters only what a changed parameter enters is made anew."""
        every = self.world.declarations()
        values = np.full((len(self.points), len(self.rows)), np.nan) if near is None else near.values.copy()
        changed = {n for n, v in params.items() if near is None or not np.array_equal(v, near.params[n])}
        at: dict[int, list[int]] = {}  # a point's declarations
        for n, (d, (start, stop)) in enumerate(zip(every, self.spans, strict=True)):
            if near is None or changed & self.world.reads(d):
                alike = {id(plan.calls): plan.calls for plan in self.rows[start:stop]}
                for p in {p for calls in alike.values() for p in calls.reshape(-1).tolist()}:
                    at.setdefault(p, []).append(n)
        together: dict[tuple[int, ...], list[int]] = {}  # points that ask for the same
        for p, mine in at.items():
            together.setdefault(tuple(mine), []).append(p)
        for some, points in together.items():
            there = {n: a[points] for n, a in self.latents.items()}
            found = self.world.parts_at([every[n] for n in some], params, there)
            for n, rows in zip(some, found, strict=True):
                values[points, slice(*self.spans[n])] = rows
        return Known(params, values)


def find_cells(world: World, params: Mapping[str, Array], rng: np.random.Generator) -> tuple[list[Cell], Array]:
    """Every cell, and (rows, cells) which rows read it."""
    cells = within_support(world, params, cells_of(world))
    return cells, reads(world, params, cells, rng, 3)


def quadratic_cells(
    world: World, params: Mapping[str, Array], cells: Sequence[Cell], rng: np.random.Generator
) -> tuple[bool, ...]:
    """Which cells are such that every row is a polynomial of degree two in all of them together.

    Of a latent that data cut in some rows alone (a limit, where it is seen) those without ends may be.
    """
    kept: set[str] = set()
    names = dict.fromkeys(c.latent for c in cells if c.on_the_line)
    if _quadratic(world, params, cells, set(names), rng):
        kept = set(names)
    else:
        for name in names:
            if _quadratic(world, params, cells, kept | {name}, rng):
                kept.add(name)
    return tuple(c.latent in kept and c.on_the_line for c in cells)


def _quadratic(
    world: World, params: Mapping[str, Array], cells: Sequence[Cell], names: set[str], rng: np.random.Generator
) -> bool:
    """Whether third differences along random directions vanish."""
    if not names:
        return True
    mine, unit = np.array([c.latent in names and c.on_the_line for c in cells]), units(world, cells)
    for wide in STRIDES:
        base, step = drawn_values(world, cells, rng), np.where(mine, wide * unit * rng.normal(size=len(cells)), 0.0)
        there = all_placed(world, cells, [base + k * step for k in (-1, 0, 1, 2)])
        f = np.concatenate(world.parts_at(world.declarations(), params, there), axis=1)
        finite = np.isfinite(f)
        if (finite.any(axis=0) & ~finite.all(axis=0)).any():
            return False  # a density that ends somewhere
        with np.errstate(invalid="ignore"):
            third = np.abs(f[3] - 3 * f[2] + 3 * f[1] - f[0])
        scale = 1 + np.max(np.abs(f), axis=0)
        if (third[np.isfinite(third)] > 1e-9 * scale[np.isfinite(third)]).any():
            return False
    return True


def lay_out(
    world: World,
    cells: Sequence[Cell],
    reading: Array,
    gaussian: Sequence[bool],
    nodes: Sequence[Array],
    weights: Sequence[Array],
    counts: Sequence[int],
) -> Layout:
    """The calls that show every row at every value of its cells; `counts` are the rows of each declaration.

    Raises Unchecked where the calls are too many.
    """
    colour = colours(reading)
    centre, unit = own_values(world, cells), units(world, cells)
    number: dict[Key, int] = {}
    found: dict[Key, Array] = {}  # rows whose cells have the same colours and as many values ask for the same calls
    plans = []
    for r in range(len(reading)):
        mine = [int(k) for k in np.flatnonzero(reading[r])]
        discrete, normal = [k for k in mine if not gaussian[k]], [k for k in mine if gaussian[k]]
        shape = [len(nodes[k]) for k in discrete]
        if np.prod([float(n) for n in shape]) > MOST_CALLS:
            raise Unchecked("a term of the log joint has too many configurations of latents")
        alike = (*zip(colour[discrete].tolist(), shape, strict=True),), tuple(colour[normal].tolist())
        if alike not in found:
            found[alike] = _calls(*alike, int(colour.max(initial=-1)) + 1, number)
        if len(number) > MOST_CALLS:
            raise Unchecked("the terms of the log joint have too many configurations of latents")
        plans.append(RowPlan(tuple(discrete), tuple(normal), found[alike]))
    points = tuple(_point(key, colour, gaussian, nodes, centre, unit) for key in number)
    ends = np.cumsum([0, *counts])
    spans = tuple((int(a), int(b)) for a, b in pairwise(ends))
    kinds = (tuple(cells), tuple(gaussian), tuple(nodes), tuple(weights))
    return Layout(world, *kinds, centre, unit, tuple(plans), points, spans)


def _calls(
    discrete: Sequence[tuple[int, int]], normal: Sequence[int], colours: int, number: dict[Key, int]
) -> Array:  # fmt: skip
    """(values, stencil points): the calls that show a row, whose keys are numbered as they are met.

    discrete : of each of its cells the colour, and how many values it takes; normal : the colours of Gaussian ones.
    """
    level = [0] * colours
    steps = [tuple(p.get(c, 0) for c in range(colours)) for p in stencil(normal)]
    out = []
    for values in product(*(range(n) for _, n in discrete)):
        for (c, _), value in zip(discrete, values, strict=True):
            level[c] = value
        out.append([number.setdefault((tuple(level), step), len(number)) for step in steps])
    return np.array(out)


def stencil(cells: Sequence[int]) -> list[dict[int, int]]:
    """The origin, a step up in each, a step down in each, a step up in each two."""
    return [{}, *({k: 1} for k in cells), *({k: -1} for k in cells), *({i: 1, j: 1} for i, j in combinations(cells, 2))]


def _point(
    key: Key, colour: Array, gaussian: Sequence[bool], nodes: Sequence[Array], centre: Array, unit: Array
) -> Array:  # fmt: skip
    levels, steps = key
    return np.array(
        [
            centre[k] + steps[colour[k]] * unit[k] if gaussian[k] else nodes[k][levels[colour[k]] % len(nodes[k])]
            for k in range(len(centre))
        ]
    )
