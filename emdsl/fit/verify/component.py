"""Cells of an oracle that meet, and the log-normaliser of what reads them: sums by elimination, Gaussians exactly."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from emdsl.families.scope import Array
from emdsl.fit.verify.elimination import MOST_STATES, eliminate
from emdsl.fit.verify.layout import Layout
from emdsl.fit.verify.tables import STEP, Table
from emdsl.fit.verify.world import Unchecked


@dataclass(frozen=True)
class Tilt:
    """A function of one cell, whose expectation is asked for: by level, linear, square; or its product with `other`."""

    cell: int
    levels: Array | None = None
    linear: float = 0.0
    square: float = 0.0
    other: int | None = None


def components_of(reading: Array) -> tuple[tuple[int, ...], ...]:
    """Cells that meet in rows, directly or through others."""
    left, out = set(range(reading.shape[1])), []
    while left:
        mine: set[int] = set()
        edge = {min(left)}
        while edge:
            mine |= edge
            rows = reading[:, sorted(edge)].any(1)
            edge = {int(k) for k in np.flatnonzero(reading[rows].any(0))} - mine
        left -= mine
        out.append(tuple(sorted(mine)))
    return tuple(out)


def refuse_many(components: Sequence[Sequence[int]], layout: Layout) -> None:
    """Raises Unchecked where the components around Gaussian cells have so many configurations together that all that is
    asked of them would take minutes: fewer data do."""
    numbers = 0.0
    for cells in components:
        normal = sum(layout.gaussian[k] for k in cells)
        numbers += normal**2 * math.prod(float(len(layout.nodes[k])) for k in cells if not layout.gaussian[k])
    if numbers > MOST_STATES:
        raise Unchecked(f"{numbers:.0e} numbers around Gaussian latents are too many")


def component_norm(cells: Sequence[int], mine: Sequence[Table], layout: Layout, tilt: Tilt | None = None) -> complex:
    """log Z of the rows that read these cells."""
    factors = [(t.discrete, np.asarray(t.a, complex)) for t in mine]
    factors += [((k,), layout.weights[k].astype(complex)) for k in cells if not layout.gaussian[k]]
    if tilt is not None and tilt.levels is not None:
        factors.append(((tilt.cell,), 1j * STEP * tilt.levels))
    normal = [k for k in cells if layout.gaussian[k]]
    if normal:
        discrete = tuple(k for k in cells if not layout.gaussian[k])
        return eliminate([*factors, (discrete, _gaussian(mine, discrete, normal, layout, tilt))], layout)
    return eliminate(factors, layout)


def _gaussian(
    mine: Sequence[Table], discrete: tuple[int, ...], normal: Sequence[int], layout: Layout, tilt: Tilt | None
) -> Array:
    """log int exp(b h + h' A h / 2) dh in every configuration of the discrete cells."""
    out, alive, b, A = _kept(mine, discrete, normal, layout)
    place = {k: i for i, k in enumerate(normal)}
    if tilt is not None and tilt.levels is None:
        b, A = b.copy(), A.copy()
        i = place[tilt.cell]
        b[:, i] += 1j * STEP * tilt.linear
        A[:, i, i] += 2j * STEP * tilt.square
        if tilt.other is not None:
            j = place[tilt.other]
            A[:, [i, j], [j, i]] += 1j * STEP
    sign, size = np.linalg.slogdet(-A)
    mean = np.linalg.solve(-A, b[..., None])[..., 0]
    out = out.copy()
    out[alive] = (b * mean).sum(1) / 2 - (np.log(sign) + size) / 2 + len(normal) / 2 * np.log(2 * np.pi)
    return out


def _kept(
    mine: Sequence[Table], discrete: tuple[int, ...], normal: Sequence[int], layout: Layout
) -> tuple[Array, Array, Array, Array]:
    """What the last tables of a layout came to, which every moment of the same posterior asks for."""
    last = layout.opened
    if len(last) != 1 or not _same(last[0][0], (*mine, discrete)):
        last[:] = [((*mine, discrete), _opened(mine, discrete, normal, layout))]
    found: tuple[Array, Array, Array, Array] = last[0][1]
    return found


def _same(a: Sequence[object], b: Sequence[object]) -> bool:
    """Whether these are the same tables, of the same cells."""
    return len(a) == len(b) and a[-1] == b[-1] and all(x is y for x, y in zip(a[:-1], b[:-1], strict=True))


def _opened(
    mine: Sequence[Table], discrete: tuple[int, ...], normal: Sequence[int], layout: Layout
) -> tuple[Array, Array, Array, Array]:
    """Of every configuration: log of no integral, whether it has one, and for those that do b and A."""
    shape, m = [len(layout.nodes[k]) for k in discrete], len(normal)
    states = int(np.prod(shape, dtype=float)) if shape else 1
    if states * m * m > MOST_STATES:
        raise Unchecked(f"{states} configurations around {m} Gaussian numbers are too many")
    at = dict(zip(discrete, np.indices(shape).reshape(len(shape), -1), strict=True)) if shape else {}
    place = {k: i for i, k in enumerate(normal)}
    alive = np.ones(states, bool)  # what is impossible, or told not to be, has no integral
    for k in discrete:
        alive &= ~np.isneginf(layout.weights[k])[at[k]]
    for t in mine:
        alive &= ~np.isneginf(t.a.real)[_rows_of(t, at, layout, states)]
    out = np.zeros(states, complex)
    at, states = {k: z[alive] for k, z in at.items()}, int(alive.sum())
    b, A = np.zeros((states, m), complex), np.zeros((states, m, m), complex)
    for t in mine:
        z, own = _rows_of(t, at, layout, states), np.array([place[k] for k in t.gaussian], int)
        b[:, own] += t.b[z]
        A[:, own[:, None], own] += t.A[z]
    if not (np.linalg.eigvalsh(-A.real)[:, 0] > 0).all():
        raise Unchecked("the log joint has no maximum in a Gaussian latent")
    return out, alive, b, A


def _rows_of(t: Table, at: Mapping[int, Array], layout: Layout, states: int) -> Array:
    """Which row of a table each configuration is."""
    own = [len(layout.nodes[d]) for d in t.discrete]
    return np.asarray(np.ravel_multi_index([at[d] for d in t.discrete], own)) if own else np.zeros(states, int)
