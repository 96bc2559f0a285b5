"""Effects of groups move to parameters: the step of a model with one number more (Liu, Rubin and Wu 1998).

    eta_n = x_n b + d_n v[g_n]   is also   x_n (b + c) + d_n (v[g_n] - h[g_n] a)   where   x_n c = d_n h[g_n] a

In the larger model v_j ~ Normal(h_j a, s) the M-step has a closed form, a = argmin sum_j (E v_j - h_j a)^2, and the
likelihood rises where b + c takes the place of b and a is 0 again. Where data say much of each group, b alone moves by
next to nothing in an M-step, as q holds b + v.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from emdsl.runtime.data.columns import Array
from emdsl.runtime.fitting.climbs import Params, Point, Setup

EXACT = 1e-9  # of a column's size: what it may differ by from a combination that is one number in each group
MOST_ROOM = 2e7  # numbers in the columns of a predictor


class Effects:
    """What moves from the effects of groups to parameters; columns are looked at when they are first asked for."""

    def __init__(self, setup: Setup) -> None:
        self.predictors = () if setup.sampled else setup.module.SPEC.get("predictors", ())
        self.ways: list[Way] | None = None

    def moved(self, setup: Setup, here: Point) -> Params | None:
        """Parameters that have taken up what effects have in common; None where nothing moves."""
        if not self.predictors or "state" in here.statistics:
            return None
        found = setup.module.posterior(here.params, setup.data, setup.prepared)
        if self.ways is None:
            self.ways = [way for p in self.predictors for way in _ways(setup, p, here.params, found)]
        params = {n: np.array(v) for n, v in here.params.items()}
        for way in self.ways:
            way.move(params, np.asarray(found[way.leaf]["mean"]))
        self.predictors = self.predictors if self.ways else ()
        return params if self.ways else None


class Way(NamedTuple):
    """How means of an effect, those `at` a place of its own axes, move to `cells` of parameters.

    basis : combinations of columns that are the effect's own times one number in each group, (cells, combinations);
    inverse : of these numbers, (combinations, groups).
    """

    leaf: str
    at: tuple[Any, ...]
    cells: list[tuple[str, Any]]
    basis: Array
    inverse: Array

    def move(self, params: Params, mean: Array) -> None:
        """Adds to the parameters what of these means lies in the span."""
        steps = self.basis @ (self.inverse @ mean[self.at].ravel())
        for (name, where), step in zip(self.cells, steps, strict=True):
            params[name][where] += step


def _ways(setup: Setup, predictor: Mapping[str, Any], params: Params, found: Mapping[str, Any]) -> list[Way]:
    """The ways that a predictor has; none where its columns would take too much room."""
    sizes = [setup.data.sizes[p] for p in predictor["plates"]]
    grid = np.ix_(*(np.arange(n) for n in sizes))
    cells: list[tuple[str, Any]] = []
    columns: list[Array] = []
    for part in predictor["params"]:
        column = _column(setup, part, grid, sizes)
        if (len(columns) + column.shape[-1]) * int(np.prod(sizes)) > MOST_ROOM:
            return []
        for k in range(column.shape[-1]):
            cells.append((part["leaf"], _place_of(part, k) if np.ndim(params[part["leaf"]]) else ()))
            columns.append(column[..., k].ravel())
    out = []
    for part in predictor["latents"]:
        lengths = np.shape(found[part["leaf"]]["mean"])
        groups, count = _groups_of(setup, part, grid, sizes, lengths)
        column = _column(setup, part, grid, sizes)
        for k in range(column.shape[-1]):
            spans = _spans(np.stack(columns, -1), column[..., k].ravel(), groups, count)
            out += [] if spans is None else [Way(part["leaf"], _place_of(part, k), cells, *spans)]
    return out


def _spans(design: Array, own: Array, groups: Array, count: int) -> tuple[Array, Array] | None:
    """The `basis` and `inverse` of a way; None where no combination of columns is one."""
    weight = np.bincount(groups, own**2, count)
    sizes = np.linalg.norm(design, axis=0)
    if not (sizes > 0).all():
        return None
    scaled = design / sizes
    sums = np.stack([np.bincount(groups, own * c, count) for c in scaled.T], -1)
    of_groups = sums / np.where(weight > 0, weight, 1.0)[:, None]
    rest = scaled - own[:, None] * of_groups[groups]
    spectrum, vectors = np.linalg.svd(rest, full_matrices=len(rest) < rest.shape[1])[1:]
    short = np.concatenate([spectrum, np.zeros(len(vectors) - len(spectrum))])
    basis = vectors[short <= EXACT].T
    return (basis / sizes[:, None], np.linalg.pinv(of_groups @ basis)) if basis.size else None


def _place_of(part: Mapping[str, Any], k: int) -> tuple[Any, ...]:
    """Which numbers of a parameter or an effect a column belongs to: all that rows read side by side."""
    return tuple(at if kind == "number" else k if kind == "each" else slice(None) for kind, at in part["places"])


def _column(setup: Setup, part: Mapping[str, Any], grid: Any, sizes: Sequence[int]) -> Array:
    """What an effect or a parameter is multiplied by in each row: (*plates, 1); of a vector (*plates, its length)."""
    out = np.full((*sizes, 1), part["number"])
    for name, axes in part["givens"]:
        out = out * _given(setup, name, axes, grid)
    return out


def _given(setup: Setup, name: str, axes: Sequence[Any], grid: Any) -> Array:
    """A given at each row, its own axis last."""
    value = np.asarray(setup.data.values[name])
    vector = "each" in axes
    if vector:
        value = np.moveaxis(value, list(axes).index("each"), -1)
    found: Array = value[tuple(grid[a] for a in axes if a != "each")]
    return found if vector else found[..., None]


def _groups_of(
    setup: Setup, part: Mapping[str, Any], grid: Any, sizes: Sequence[int], lengths: Sequence[int]
) -> tuple[Array, int]:
    """Which element of an effect each row reads, as they follow one another, and how many there are."""
    group, count = np.zeros(sizes, np.int64), 1
    for (kind, where), n in zip(part["places"], lengths, strict=True):
        if kind in ("plate", "given"):
            index = grid[where] if kind == "plate" else _given(setup, where[0], where[1], grid)[..., 0]
            group, count = group * n + index, count * n
    return group.ravel(), count
