"""What any declared density gives without a kernel: draws and moments of a scalar family, from a table of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from emdsl.errors import ModelError, Problem
from emdsl.families.density import density_scope, limits, log_density
from emdsl.families.scope import Array
from emdsl.language.model import Family

COUNT_LIMIT = 1 << 20
ROWS = 512  # tables made at a time
QUANTILES = 400


@dataclass(frozen=True, slots=True)
class Table:
    """Per row the points of x and the probability of each cell; a cell of a density ends at the next point."""

    x: Array
    mass: Array
    whole: bool


def sample_by_table(
    family: Family, signature: int, rng: np.random.Generator, shape: tuple[int, ...], args: list[Array]
) -> Array:
    """Draws by inverting the distribution function of the declared density, tabulated once per distinct row."""
    if family.x.domain.dims:
        hint = "draw from it by Monte Carlo, or write it with families of the language"
        raise ModelError(Problem("E091", f"{family.name} has no sampler: its variate is no number", family.span, hint))
    ranks = [len(a.domain.dims) for a in family.signatures[signature].arguments]
    owns = [a.shape[a.ndim - r :] for a, r in zip(args, ranks, strict=True)]
    flat = [
        np.broadcast_to(a, (*shape, *own)).reshape(int(np.prod(shape, dtype=int)), -1)
        for a, own in zip(args, owns, strict=True)
    ]
    keys = np.hstack([f.astype(float) for f in flat]) if flat else np.zeros((int(np.prod(shape, dtype=int)), 1))
    distinct, which = np.unique(keys, axis=0, return_inverse=True)
    which = np.asarray(which).ravel()
    first = np.zeros(len(distinct), int)
    first[which[::-1]] = np.arange(len(which))[::-1]
    out = np.empty(len(which))
    for start in range(0, len(distinct), ROWS):
        rows = first[start : start + ROWS]
        part = [f[rows].reshape(len(rows), *own) for f, own in zip(flat, owns, strict=True)]
        table = tabulate(family, signature, part, len(rows))
        mine = np.flatnonzero((which >= start) & (which < start + ROWS))
        out[mine] = quantile(table, which[mine] - start, rng.random(len(mine)))
    whole = family.x.domain.discrete
    return out.reshape(shape).astype(np.int64) if whole else out.reshape(shape)


def quantile(table: Table, rows: Array, u: Array) -> Array:
    """Where the distribution function of each of the table's `rows` reaches u."""
    heads = np.cumsum(table.mass, 1)
    heads = heads / heads[:, -1:]
    k = heads.shape[1]
    every = (heads + np.arange(len(heads))[:, None]).ravel()
    cell = np.clip(np.searchsorted(every, u + rows, "right") - rows * k, 0, k - 1)
    if table.whole:
        return np.asarray(table.x[rows, cell])
    before = np.where(cell > 0, heads[rows, cell - 1], 0.0)
    share = (u - before) / np.maximum(heads[rows, cell] - before, 1e-300)
    low, high = table.x[rows, cell], table.x[rows, cell + 1]
    return np.asarray(low + np.clip(share, 0, 1) * (high - low))


def tabulate(family: Family, signature: int, args: list[Array], rows: int) -> Table:
    """The table of `rows` rows of arguments, each rows + own axes."""
    scope, _ = density_scope(family, signature, np.zeros(rows), args, None)
    low, high = (np.broadcast_to(v, (rows,)).astype(float) for v in limits(family.x.domain, scope))

    def density(x: Array) -> Array:
        wide = [a[:, None] for a in args]
        with np.errstate(all="ignore"):
            return np.asarray(np.nan_to_num(np.exp(log_density(family, signature, x, wide)), nan=0.0, posinf=0.0))

    if family.x.domain.discrete:
        return _whole_table(density, low, high, rows)
    coarse = multiscale(low, high)
    peak = coarse[np.arange(rows), np.argmax(density(coarse), 1)][:, None]
    for _ in range(4):  # the peak, to within the finest scale
        near = np.clip(around(peak, 60), low[:, None], high[:, None])
        peak = near[np.arange(rows), np.argmax(density(near), 1)][:, None]
    x = np.sort(np.concatenate([coarse, np.clip(around(peak, 200), low[:, None], high[:, None])], 1), 1)
    rough = trapezoids(x, density(x))
    every = np.arange(rows).repeat(QUANTILES)
    share = np.tile((np.arange(QUANTILES) + 0.5) / QUANTILES, rows)
    x = np.sort(np.concatenate([x, quantile(rough, every, share).reshape(rows, -1)], 1), 1)
    return trapezoids(x, density(x))


def trapezoids(x: Array, f: Array) -> Table:
    return Table(x, (f[:, 1:] + f[:, :-1]) / 2 * np.diff(x, axis=1), whole=False)


def _whole_table(density: object, low: Array, high: Array, rows: int) -> Table:
    assert callable(density)
    n = 64
    while True:
        x = np.broadcast_to(low.min() + np.arange(n), (rows, n))
        mass = density(x)
        done = mass.sum(1) > 1 - 1e-10
        if done.all() or low.min() + n > high.max() or n >= COUNT_LIMIT // max(1, rows):
            return Table(x, mass, whole=True)
        n *= 2


def around(centre: Array, points: int) -> Array:
    """Points about `centre` (rows, 1) at every scale."""
    steps = np.exp(np.linspace(-16, 6, points)) * np.maximum(np.abs(centre), 1.0)
    return np.concatenate([centre - steps, centre, centre + steps], 1)


def multiscale(low: Array, high: Array) -> Array:
    """Points from end to end, dense near zero and near finite ends; rows + points."""
    steps = np.exp(np.linspace(-40, 40, 150))
    both = np.concatenate([-steps[::-1], [0.0], steps])
    rows = []
    for a, b in zip(low, high, strict=True):
        if np.isfinite(a) and np.isfinite(b):
            share = 1 / (1 + np.exp(-np.linspace(-36, 36, len(both))))
            rows.append(a + (b - a) * share)
        elif np.isfinite(a):
            rows.append(a + np.exp(np.linspace(-60, 40, len(both))))
        elif np.isfinite(b):
            rows.append(b - np.exp(np.linspace(40, -60, len(both))))
        else:
            rows.append(both)
    return np.array(rows)
