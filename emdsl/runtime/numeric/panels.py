"""Points for a latent whose density bends at every row that holds it: Gauss and Legendre's, between bends.

y[n] ~ Laplace(a + u[g[n]], s)       u[g] bends at each y[n] - a of its group; between two of these it is smooth

Pieces are many and most of them short, so few points in each are enough; where no bend lies near, even edges cut.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from emdsl.runtime.data.columns import Array
from emdsl.runtime.numeric.clouds import (
    FURTHEST,
    NOTHING_BESIDE,
    OF_SQUARES,
    LogJoint,
    in_coordinates,
    positive_part,
    root_of,
    where_mass_is,
)
from emdsl.runtime.numeric.intervals import Coordinate, to_coordinate, to_values
from emdsl.runtime.numeric.numerics import LOWEST
from emdsl.runtime.numeric.points import Rule

PANEL_NODES = 10  # in each panel, where bends are few: halves of panels divide the error by 2^20
FEW_BENDS = 12  # at most, of one element
GRID_POINTS = 61  # points by which is found where the density is
SEEN_POINTS = 20  # of them where it is, at least
NARROWINGS = 8  # of grids
TABLE_AT_ONCE = 2**22  # numbers of a table of points beside rows
MOST_BETWEEN_BENDS = 2**28  # of all of them: beyond, so many bends are each next to nothing, and even edges cut alone


def panels(points: int) -> Rule:
    """Gauss and Legendre's points on even panels of (0, 1): eight times as many, as the tails of logs need."""
    at, volume = in_panels(np.linspace(0.0, 1.0, max(1, 8 * points // PANEL_NODES) + 1), PANEL_NODES)
    return Rule(at[None], np.log(volume), False)


def in_panels(edges: Array, nodes: int) -> tuple[Array, Array]:
    """Points and their volumes between edges (edges, ...) that follow one another."""
    x, w = (a.reshape(-1, *[1] * (edges.ndim - 1)) for a in np.polynomial.legendre.leggauss(nodes))
    half = np.diff(edges, axis=0)[:, None] / 2
    flat = (-1, *edges.shape[1:])
    return (edges[:-1, None] + half * (1 + x)).reshape(flat), (half * w).reshape(flat)


def bends_of(places: Array, owner: Array | None = None, elements: int = 0) -> Array:
    """Places (any, elements) of bends; those (rows) of which `owner` says whose they are, one below the other, infinite
    where an element has no more."""
    if owner is None:
        return places
    order = np.argsort(owner, kind="stable")
    own, first = owner[order], np.searchsorted(owner[order], np.arange(elements))
    nth = np.arange(len(own)) - first[own]
    out = np.full((int(nth.max(initial=-1)) + 1, elements), np.inf)
    out[nth, own] = places[order]
    return out


def between_bends(
    log_joint: LogJoint, bounds: Sequence[Coordinate], bends: Sequence[Array], rule: Rule, start: Array
) -> tuple[Array, Array, Array]:
    """As `adapted`, for one number whose log density bends at these places, each (any, *plates).

    Panels are even in v, u = start + sqrt(2) L sinh v as in `sinh_grid`, with L by the curvature there, from end to end
    of where the density is, and are cut again at each bend. So how many points there are is known when bends are. Where
    these are many, panels are short, and half as many nodes are enough in each.
    """
    density, plates = in_coordinates(log_joint, bounds), (1,) * (start.ndim - 1)
    u, width = start[:, None].copy(), np.ones((1, *start.shape[1:]))
    if all(end is None for end in bounds[0]):  # else u is a log or a logit, whose own unit is one
        width = np.sqrt(2) * root_of(positive_part(density(u, slopes=True)[2][:, :, 0]))[0]
    low, high = _where_it_is(density, bounds, u, width, start)
    every = np.concatenate([b + np.zeros((1, *start.shape[1:])) for b in bends])
    with np.errstate(invalid="ignore"):
        at = np.arcsinh((to_coordinate(every, *bounds[0]) - u[0]) / width)
    inside = (at > low) & (at < high)
    most, rows, count = int(inside.sum(axis=0).max(initial=0)), int(np.isfinite(every).sum()), rule.at.shape[1]
    nodes = PANEL_NODES if most <= FEW_BENDS else PANEL_NODES // 2
    most = most if (count + most * nodes) * rows <= MOST_BETWEEN_BENDS else 0
    at = np.sort(np.where(inside, at, high), axis=0)[:most]
    even = low + (high - low) * np.linspace(0.0, 1.0, max(1, count // nodes) + 1).reshape(-1, *plates)
    v, share = in_panels(np.sort(np.concatenate([even, at]), axis=0), nodes)
    with np.errstate(divide="ignore"):
        volume = np.maximum(np.log(share), LOWEST)
    points = u + width * np.sinh(v)
    volume = volume + np.log(np.cosh(v)) + np.log(width)
    step = max(1, TABLE_AT_ONCE // max(1, rows))
    table = np.concatenate([density(points[:, k : k + step]) for k in range(0, len(v), step)])
    values, log_volume = to_values(points, bounds)
    return where_mass_is(values, volume + log_volume, table + volume)


def _where_it_is(
    density: LogJoint, bounds: Sequence[Coordinate], u: Array, width: Array, start: Array
) -> tuple[Array, Array]:
    """The ends (1, *plates), in v, of where something is left of the density or of a variance.

    Grids are narrowed to where that is, until as many of their points lie there as are needed to see it; `start`
    becomes the highest of them, about which the next grids are dense.
    """
    shape = (-1, *[1] * (u.ndim - 2))
    low, high = (np.full((1, *u.shape[2:]), end) for end in (-FURTHEST, FURTHEST))
    for _ in range(NARROWINGS):
        v = low + (high - low) * np.linspace(0.0, 1.0, GRID_POINTS).reshape(shape)
        points = u + width * np.sinh(v)
        share = density(points) + np.log(np.cosh(v))
        values = np.abs(to_values(points, bounds)[0][0])
        squares = share + np.log1p(np.minimum(values, 1e150) ** 2)
        some = (share > share.max(axis=0) - NOTHING_BESIDE) | (squares > squares.max(axis=0) - OF_SQUARES)
        first = np.maximum(np.argmax(some, axis=0) - 1, 0)
        final = np.minimum(GRID_POINTS - np.argmax(some[::-1], axis=0), GRID_POINTS - 1)
        low, high = (np.take_along_axis(v, n[None], 0) for n in (first, final))
        if (final - first >= SEEN_POINTS).all():
            break
    best = np.take_along_axis(points[0], np.argmax(share, axis=0)[None], 0)
    start[...] = np.where(np.isfinite(best), best, 0.0)
    return low, high
