"""Elements of one continuous latent, each a factor of q given the others that rows hold beside it, one after the other.

    eta_e  =  static_e  +  sum over the rows that hold e of  table[row] * product of the other elements' moments

Elements that no row holds together are updated side by side: given all others they are independent. (Coordinate
ascent: Bishop 2006, section 10.1.)
"""

# mypy: disable-error-code="no-any-return"
# (operators on arrays of any dtype are Any to mypy)

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from emdsl.runtime.data.columns import Array
from emdsl.runtime.data.faults import DataError
from emdsl.runtime.numeric.numerics import cholesky, inverse, log_determinant

AtPlaces = Sequence[tuple[str, tuple[int, ...]]]  # of each place: which statistic, and its own axes by number


class Turns:
    """Which elements each row holds, and sets of elements of which no row holds two.

    rows : for each kind of rows ([(latent, element numbers by row) for each place], mask by row or None). `members` are
    the elements, (rows, places), of the rows that the mask keeps, and `rows` which these are. Raises DataError where a
    row holds one element twice.
    """

    def __init__(self, name: str, count: int, rows: Sequence[tuple[Sequence[Any], Any]]) -> None:
        self.members: list[Array] = []
        self.rows: list[Array] = []
        for places, mask in rows:
            ids = np.stack([np.ravel(at) for _, at in places], axis=1)
            kept = np.arange(len(ids)) if mask is None else np.flatnonzero(np.ravel(mask))
            self.members.append(ids[kept])
            self.rows.append(kept)
            ordered = np.sort(ids[kept], axis=1)
            twice = np.flatnonzero((ordered[:, 1:] == ordered[:, :-1]).any(1))
            if len(twice):
                raise DataError(
                    f"row {kept[twice[0]]} holds one element of {name} twice; products are of different ones",
                    "leave such rows out", code="D003", row=int(kept[twice[0]]),
                )  # fmt: skip
        colour = colours_of(count, self.members)
        self.sets = [np.flatnonzero(colour == c) for c in range(int(colour.max(initial=-1)) + 1)]
        place = np.zeros(count, int)
        for elements in self.sets:
            place[elements] = np.arange(len(elements))
        self.read = [_rows_by_set(colour, place, m, len(self.sets)) for m in self.members]


def colours_of(count: int, members: Sequence[Array]) -> Array:
    """A number for each element, so that no row holds two of one: the least that is free, one after the other."""
    pairs = [m[:, [a, b]] for m in members for a in range(m.shape[1]) for b in range(m.shape[1]) if a != b]
    ends = np.concatenate(pairs) if pairs else np.zeros((0, 2), int)
    ends = ends[np.argsort(ends[:, 0], kind="stable")]
    first = np.searchsorted(ends[:, 0], np.arange(count + 1)).tolist()
    colour = np.full(count, -1)
    for e in range(count):
        taken = np.unique(colour[ends[first[e] : first[e + 1], 1]])
        taken = taken[taken >= 0]
        gap = np.flatnonzero(taken != np.arange(len(taken)))
        colour[e] = gap[0] if len(gap) else len(taken)
    return colour


def _rows_by_set(colour: Array, place: Array, members: Array, count: int) -> list[list[tuple[Array, Array, Array]]]:
    """For each set and place: the rows whose element there is of the set, where each element's begin, and which."""
    out: list[list[tuple[Array, Array, Array]]] = [[] for _ in range(count)]
    for own in members.T:
        order = np.lexsort((own, colour[own]))
        ends = np.searchsorted(colour[own][order], np.arange(count + 1)).tolist()
        for c in range(count):
            rows = order[ends[c] : ends[c + 1]]
            starts = np.flatnonzero(np.diff(own[rows], prepend=-1))
            out[c].append((rows, starts, place[own[rows[starts]]]))
    return out


def gaussian_in_turn(mean: Array, outer: Array) -> tuple[Array, dict[str, Array]]:
    """exp(mean . y + y . outer y): log-normaliser, mean, covariance, mean square. mean : (d, n); outer : (d, d, n)."""
    low = cholesky(-np.moveaxis(outer + outer.swapaxes(0, 1), -1, 0))
    cov = np.moveaxis(inverse(low), 0, -1)
    m = np.einsum("ijn,jn->in", cov, mean)
    a = 0.5 * ((mean * m).sum(0) + len(m) * math.log(2 * math.pi) - log_determinant(low))
    return a, {"mean": m, "cov": cov, "outer": m[:, None] * m + cov}


def elements_in_turn(
    turns: Turns, patterns: Sequence[tuple[int, Any, tuple[int, ...], bool, AtPlaces]], static: Mapping[str, Array],
    kernel: Callable[..., tuple[Array, dict[str, Any]]], start: Mapping[str, Array], plates: int, **axis: Any,
) -> tuple[dict[str, Any], float]:  # fmt: skip
    """One sweep: the moments of all elements, (own, plates), and what expected terms and entropies add up to.

    patterns : (which rows, table, axes of the table, whether it has rows, statistics by place); static : what
    multiplies each statistic in terms of one element, (own, plates); start : moments to begin from.
    """
    shape = np.shape(next(iter(static.values())))
    shape = shape[len(shape) - plates :]
    flat = {k: _by_element(v, plates) for k, v in static.items()}
    now = {k: _by_element(v, plates).copy() for k, v in start.items()}
    if "cov" in now:
        now["outer"] = now["mean"][:, None] * now["mean"] + now.pop("cov")
    made = [
        (
            k,
            _by_element(table, np.ndim(table) - len(axes))[..., turns.rows[k]] if by_row else np.asarray(table),
            axes,
            by_row,
            atoms,
        )
        for k, table, axes, by_row, atoms in patterns
    ]
    out: dict[str, Array] = {}
    log_norm = 0.0
    for c, elements in enumerate(turns.sets):
        eta = {k: v[..., elements].copy() for k, v in flat.items()}
        for k, table, axes, by_row, atoms in made:
            for at, (rows, starts, where) in enumerate(turns.read[k][c]):
                if len(rows):
                    kind, own = atoms[at]
                    share = _row_shares((k, table, axes, by_row, atoms), at, rows, own, turns.members, now)
                    eta[kind][..., where] += np.add.reduceat(share, starts, axis=-1)
        a, found = kernel(*eta.values(), **axis)
        log_norm += float(np.sum(a))
        for kind, value in eta.items():
            log_norm -= float(np.sum((value - flat[kind][..., elements]) * found[kind]))
        for kind in now:
            now[kind][..., elements] = found[kind]
        _keep_moments(out, {**found, **found.get("arguments", {})}, elements, shape)
    for k, table, axes, by_row, atoms in made:
        every = np.arange(len(turns.members[k]))
        share = _row_shares((k, table, axes, by_row, atoms), None, every, (), turns.members, now)
        log_norm += float(np.sum(share))
    names = {kind: v.reshape(*v.shape[:-1], *shape) for kind, v in out.items()}
    return {**names, "arguments": names}, log_norm


def _by_element(a: Any, plates: int) -> Array:
    """An array whose last axes, so many, are one."""
    a = np.asarray(a, float)
    lead = a.shape[: a.ndim - plates]
    return a.reshape(*lead, math.prod(a.shape[a.ndim - plates :]))


def _row_shares(
    pattern: tuple[int, Array, tuple[int, ...], bool, AtPlaces], at: int | None, rows: Array, own: tuple[int, ...],
    members: Sequence[Array], now: Mapping[str, Array],
) -> Array:  # fmt: skip
    """The table of some rows times the moments of all places but `at`, (own, rows)."""
    k, table, axes, by_row, atoms = pattern
    row = 50  # an axis that no latent's own has
    args: list[Any] = [table[..., rows], [*axes, row]] if by_row else [table, [*axes]]
    for place, (kind, slots) in enumerate(atoms):
        if place != at:
            args += [now[kind][..., members[k][rows, place]], [*slots, row]]
    return np.einsum(*args, [*own, row], optimize=len(args) > 4)


def _keep_moments(out: dict[str, Array], found: Mapping[str, Any], elements: Array, shape: tuple[int, ...]) -> None:
    """The moments of some elements, kept among those of all."""
    for k, value in found.items():
        if k == "arguments":
            continue
        value = np.asarray(value)
        if k not in out:
            out[k] = np.zeros((*value.shape[:-1], math.prod(shape)))
        out[k][..., elements] = value
