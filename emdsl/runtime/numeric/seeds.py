"""Seeded divisions: which state of a discrete latent each of its elements starts in."""

# mypy: disable-error-code="no-any-return"
# (operators on arrays of any dtype are Any to mypy)

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import scipy

from emdsl.runtime.data.columns import Array

MOST_LEVELS = 16  # of a category that is told apart level by level
CENTRINGS = 3  # of means of the elements of each division, after seeds


def seeded(
    q: Array,
    states: int,
    data: Sequence[Any],
    rng: np.random.Generator | Callable[[Array, int], Array],
    weight: Array | None = None,
    ordered: bool = False,
    beside: Sequence[Any] = (),
    gates: int = 0,
    known: Sequence[tuple[int, Array, Array]] = (),
) -> Array:
    """A start for the posterior of a discrete block: rows near seeded rows belong together.

    Seeds are drawn as in k-means++ (Arthur and Vassilvitskii 2007) on standardised data, a list of arrays
    with rows last; without data each element gets a state at random. Every state keeps a tenth of each element.
    A row of `weight` 0 is as good as absent: no seed, and no part of what data are standardised by. `ordered` says
    that states have an order, which that of the seeds then follows: mostly up, at times down. `beside` are covariates,
    which every other division reads too: lines that cross are near one another where they cross, and apart elsewhere.
    Under `gates`, axes behind those of the states, every other start has a division for each of their states. `known`
    are labels of some rows: which axis of states, the labels, where there are some; seeds are then among these rows.
    What the user starts from stands in place of the generator: it is asked for the probabilities of these elements.
    """
    if callable(rng):
        return rng(q, states)
    k, under = int(np.prod(q.shape[:states])), int(np.prod(q.shape[states : states + gates]))
    n = q.size // max(k * under, 1)
    if k == 1 or n == 0:
        return np.ones_like(q)
    first = rng.integers(k, size=n)
    if beside and rng.random() < 0.5:
        data = [*data, *beside]
    counted = np.ones(n, bool) if weight is None or not weight.any() else weight > 0
    z = _standardised([np.asarray(a, float).reshape(-1, n) for a in data if a.size % n == 0], counted)
    allowed = _allowed(q.shape[:states], n, known)
    soft = np.full((k, under, n), 0.1 / k)
    each = range(under) if under > 1 and rng.random() < 0.5 else [slice(None)]
    for gate in each:
        choice = first.copy() if z is None else _nearest(z, k, first.copy(), counted, rng, allowed)
        if z is not None and states > 1 and not known and rng.random() < 0.5:
            choice = _centred(z, choice, counted)
        if z is not None and ordered:
            rank = _ranks(z[0], choice, k)
            choice = rank[choice] if rng.random() < 0.75 else k - 1 - rank[choice]
        elif z is not None and states > 1 and not known and rng.random() < 0.5:
            choice = _as_a_grid(z, choice, q.shape[:states], rng)
        chosen = np.zeros((k, n))
        chosen[choice, np.arange(n)] = 0.9
        soft[:, gate] += chosen[:, None] if isinstance(gate, slice) else chosen
    if allowed is not None:
        soft *= allowed[:, None]
        soft /= soft.sum(0)
    return soft.reshape(q.shape)


def _standardised(parts: Sequence[Array], counted: Array) -> Array | None:
    """What rows are told apart by, in its own units; None where there is nothing, or all are alike."""
    z = np.concatenate([np.zeros((0, len(counted))), *parts])
    sd = z[:, counted].std(axis=1)
    if not (sd > 0).any():
        return None
    return (z[sd > 0] - z[sd > 0][:, counted].mean(axis=1, keepdims=True)) / sd[sd > 0, None]


def _allowed(shape: tuple[int, ...], n: int, known: Sequence[tuple[int, Array, Array]]) -> Array | None:
    """Which states each row may be in, by what was seen of it; None where nothing is seen of any."""
    if not known:
        return None
    out = np.ones((int(np.prod(shape)), n), bool)
    for axis, labels, there in known:
        level = np.indices(shape)[axis].reshape(-1, 1)
        out &= (np.asarray(labels).reshape(1, n) == level) | (np.asarray(there).reshape(1, n) == 0)
    out[:, ~out.any(0)] = True
    return out


def _nearest(
    z: Array, k: int, choice: Array, counted: Array, rng: np.random.Generator, allowed: Array | None = None
) -> Array:
    """The nearest of k seeds for each row, among the states that it may be in; the seed of a state that is known of
    some rows is the mean of about half of these."""
    n = z.shape[1]
    pick, shortest = int(rng.choice(np.flatnonzero(counted))), np.full(n, np.inf)
    may = np.ones((k, n), bool) if allowed is None else allowed
    own = [np.zeros(n, bool) if allowed is None else counted & row & (may.sum(0) == 1) for row in may]
    for state in sorted(range(k), key=lambda s: not own[s].any()):
        some = own[state] & (rng.random(n) < 0.5) if own[state].any() else own[state]
        centre = z[:, some if some.any() else own[state]].mean(1, keepdims=True) if own[state].any() else z[:, [pick]]
        distance = ((z - centre) ** 2).sum(0) + 1e-9 * rng.random(n)
        closer = (distance < shortest) & may[state]
        choice[closer] = state
        shortest[closer] = distance[closer]
        nearest = np.where(np.isfinite(shortest), shortest, 0.0) * counted
        pick = int(rng.choice(n, p=nearest / nearest.sum() if nearest.any() else counted / counted.sum()))
    return choice


def _centred(z: Array, choice: Array, counted: Array) -> Array:
    """The nearest of the means of the parts of a division, a few times over. Where parts are to be named as states of
    several latents, one that lies across two places takes the name of neither."""
    for _ in range(CENTRINGS):
        parts = np.unique(choice[counted])
        centres = np.array([z[:, (choice == s) & counted].mean(1) for s in parts])
        choice = parts[((z - centres[:, :, None]) ** 2).sum(1).argmin(0)]
    return choice


def _ranks(values: Array, choice: Array, k: int) -> Array:
    """The place of each part of a division among all, by its mean."""
    centres = [values[choice == state].mean() if (choice == state).any() else 0.0 for state in range(k)]
    return np.argsort(np.argsort(centres))


def _as_a_grid(z: Array, choice: Array, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Parts of a division named as states of several latents by where they lie along the direction in which they
    differ most: one latent tells far parts apart, the next what is near. At random, few names would fit effects that
    add up, and EM does not rename."""
    k = int(np.prod(shape))
    centres = np.array([z[:, choice == s].mean(1) if (choice == s).any() else z.mean(1) for s in range(k)])
    along = np.linalg.svd(centres - centres.mean(0), full_matrices=False)[2][0] @ z
    outer = rng.permutation(len(shape))
    place = np.arange(k).reshape([shape[a] for a in outer]).transpose(np.argsort(outer)).ravel()  # of each state
    return np.argsort(place)[_ranks(along, choice, k)[choice]]


def inside_each(sums: Mapping[str, Array], *names: str, over: str = "") -> list[Array]:
    """What groups are told apart by: sums of the data inside each, as means where `over` names how many there are."""
    rows = np.maximum(sums[over], 1) if over else 1
    return [sums[n] / rows for n in names]


def in_levels(codes: Array, levels: int) -> Array:
    """A category as numbers, one axis in front, in which levels have no order: nearly as far from one another as they
    can be, so that a level goes to one state as a whole. As it is where levels are many."""
    if levels > MOST_LEVELS:
        return codes
    apart = np.eye(levels) + 0.2 * np.random.default_rng(levels).normal(size=(levels, levels))
    return apart[:, np.asarray(codes, int)]


def moments_inside(values: Array, groups: int, inner: int = 0, at: Array | None = None) -> list[Array]:
    """What groups are told apart by where no sums of data are made: means, standard deviations, and products of what
    follows one another, of the rows inside each. These are the last `inner` axes, or rows that say which group they
    are of."""
    if at is None:
        v = np.asarray(values, float).reshape(-1, groups, int(np.prod(values.shape[values.ndim - inner :])))
        if v.shape[-1] < 2:
            return [v.mean(-1)] if v.shape[-1] else []
        c = v - v.mean(-1, keepdims=True)
        return [v.mean(-1), c.std(-1), (c[..., 1:] * c[..., :-1]).mean(-1)]
    flat = np.asarray(values, float).reshape(-1, len(at))
    same = at[1:] == at[:-1]

    def mean(rows: Array, of: Array) -> Array:
        count = np.maximum(np.bincount(of, minlength=groups), 1)
        return np.array([np.bincount(of, row, groups) for row in rows]) / count

    off = flat - mean(flat, at)[:, at]
    return [mean(flat, at), np.sqrt(mean(off**2, at)), mean((off[:, 1:] * off[:, :-1])[:, same], at[1:][same])]


def seeded_beside(
    q: Array,
    points: tuple[int, ...],
    states: int,
    data: Sequence[Any],
    rng: np.random.Generator | Callable[[Array, int], Array],
    weight: Array | None = None,
    ordered: bool = False,
) -> Array:
    """`seeded` for states that stand beside points of an integral, axes `points`: these keep their shares in each."""
    own = q.sum(axis=points, keepdims=True)
    within = q / np.where(own > 0, own, 1.0)
    division = seeded(np.squeeze(own, points), states, data, rng, weight, ordered)
    return np.expand_dims(division, points) * within


def seeded_by_links(q: Array, data: Sequence[Any], rng: np.random.Generator | Callable[[Array, int], Array]) -> Array:
    """A start for elements that links tie: (states, elements), from arrays with elements last.

    One division in three is by seeds among the rows of links as they are. The others are by what these have in common,
    their leading singular vectors, or by its direction alone, which how many links an element has does not change (Qin
    and Rohe 2013).
    """
    if callable(rng):  # what the user starts from
        return rng(q, 1)
    k, n = len(q), q.size // max(len(q), 1)
    parts = [np.asarray(a, float).reshape(-1, n) for a in data if n and np.size(a) % n == 0]
    way = int(rng.integers(3)) if parts and 1 < k <= n else 0
    if not way:
        return seeded(q, 1, data, rng)
    links = np.concatenate(parts)
    size, common = scipy.linalg.eigh(links.T @ links, subset_by_index=[n - k, n - 1])
    place = common * np.sqrt(np.maximum(size, 0.0))
    if way == 2:
        length = np.linalg.norm(place, axis=1, keepdims=True)
        place /= np.where(length > 0, length, 1.0)
    centres, pick, shortest = place[:0], int(rng.integers(n)), np.full(n, np.inf)
    for _ in range(k):
        centres = np.concatenate([centres, place[[pick]]])
        shortest = np.minimum(shortest, ((place - place[pick]) ** 2).sum(1) + 1e-12)
        pick = int(rng.choice(n, p=shortest / shortest.sum()))
    for _ in range(CENTRINGS):
        choice = ((place[:, None] - centres) ** 2).sum(2).argmin(1)
        centres = np.array([place[choice == s].mean(0) if (choice == s).any() else centres[s] for s in range(k)])
    soft = np.full((k, n), 0.1 / k)
    soft[((place[:, None] - centres) ** 2).sum(2).argmin(1), np.arange(n)] += 0.9
    return soft.reshape(q.shape)


def by_ends(
    q: Array, ends: Sequence[tuple[int, int]], tables: Sequence[Sequence[Any]], cells: Sequence[Any],
    rng: np.random.Generator,
) -> Array:  # fmt: skip
    """A start for the cells of a table: each latent of a cell holds to the state of the cell's row or of its column.

    ends : for each latent the axis of q that it holds to, and which of the `tables` tell the elements of that apart.
    Every other division is by the cells' own data; all are by rows and columns where these are none, or 0 and 1.
    """
    told = [a for a in cells if not np.isin(np.asarray(a), (0, 1)).all()]
    if told and rng.random() < 0.5:
        return seeded(q, len(ends), told, rng)
    shapes = {which: (q.shape[s], q.shape[axis]) for s, (axis, which) in enumerate(ends)}
    found = {which: seeded_by_links(np.empty(shapes[which]), tables[which], rng) for which in sorted(shapes)}
    out = np.ones(q.shape)
    for s, (axis, which) in enumerate(ends):
        out *= found[which].reshape([len(found[which]) if a == s else n if a == axis else 1
                                     for a, n in enumerate(q.shape)])  # fmt: skip
    return out
