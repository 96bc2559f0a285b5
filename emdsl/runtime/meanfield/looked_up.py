"""Discrete latents of independent rows whose log weights are entries of one or two tables.

    q(z_n = k) = A[k, i_n] B[k, j_n] / norm_n,     A and B exp of the tables, the largest of each place taken out

K numbers for each row are never kept: norms are made a chunk of rows at a time, and sums over rows are products of the
tables with a sparse matrix (places of one code by places of the other) that holds weight / norm. Where numba is there,
one loop over the rows makes norms and sums together.
"""

# mypy: disable-error-code="no-any-return"
# (operators on arrays of any dtype, and all of scipy, are Any to mypy)

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy

from emdsl.runtime.data.columns import Array
from emdsl.runtime.numeric.compiled import Meter
from emdsl.runtime.numeric.loops import SMALLEST_NORM, table_rows_loop
from emdsl.runtime.numeric.numerics import LOWEST, normalise

QUICK = 0.25  # the loop over rows compiles in one second, where chains of blocks take five


class Codes(NamedTuple):
    """The places of each row in one or two tables: as they come, and in the order of the first."""

    codes: tuple[Array, ...]
    sizes: tuple[int, ...]
    gaps: tuple[bool, ...]  # whether some rows have no place: they stand at one more place, behind the others
    order: Array | None  # rows in the order of the first code; None where they are
    first: Array | None  # where the rows of each place of the first code begin
    second: Array | None  # the second code in that order
    meter: Meter


def codes_of_rows(*given: tuple[Array, int, Array | None]) -> Codes:
    """(codes, number of places, 1 where there is one, 0 where there is none) for each table."""
    codes, sizes, gaps = [], [], []
    for code, size, present in given:
        missing = np.zeros(len(code), bool) if present is None else np.asarray(present) == 0
        gaps.append(bool(missing.any()))
        codes.append(np.where(missing, size, code).astype(np.intp))
        sizes.append(size + gaps[-1])
    if len(codes) == 1:
        return Codes((codes[0],), (sizes[0],), (gaps[0],), None, None, None, Meter(QUICK))
    sorted_ = bool((np.diff(codes[0]) >= 0).all())
    order = None if sorted_ else np.argsort(codes[0], kind="stable")
    first = np.concatenate([[0], np.cumsum(np.bincount(codes[0], minlength=sizes[0]))])
    second = codes[1] if order is None else codes[1][order]
    return Codes(tuple(codes), tuple(sizes), tuple(gaps), order, first, second, Meter(QUICK))


class Weights(NamedTuple):
    """What rows weigh, which no iteration changes: in sums by each code, and in the sum of all log norms.

    `places` are the sums of the last by each code.
    """

    by_code: tuple[Array | None, ...]  # None where all are ones
    total: Array | None
    places: tuple[Array, ...]


def weights_of_rows(codes: Codes, by_code: Sequence[Array | None], total: Array | None) -> Weights:
    """Weights of rows (rows,), None for ones: in sums by each code, and in the sum of all log norms."""
    places = [np.bincount(c, total, n).astype(float) for c, n in zip(codes.codes, codes.sizes, strict=True)]
    return Weights(tuple(by_code), total, tuple(places))


class RowsOfTables:
    """Probabilities of the states of all rows, as products of tables.

    Rows are divided by `norm` (rows,) times the exponentials of `tops` at their places. A compiled loop makes the sums
    of `weights` by code beside the norms.
    """

    def __init__(self, codes: Codes, logs: Sequence[Array], tops: Sequence[Array], weights: Weights) -> None:
        self.codes, self.logs, self.tops, self.weights = codes, logs, tops, weights
        self.tables = [np.exp(a - top).T.copy() for a, top in zip(logs, tops, strict=True)]  # (places, states)
        self.made: list[Array] | None = None
        self.norm = self._norms()
        lost = np.flatnonzero(~(self.norm > SMALLEST_NORM))
        self.lost, self.lost_q, self.lost_log = lost, np.zeros((len(logs[0]), 0)), np.zeros(0)
        if len(lost):  # in logarithms
            self.lost_q, self.lost_log = normalise(self._log_weights(lost), 1)
            self.norm[lost] = np.inf

    @property
    def log_norm(self) -> Array:
        """The logarithms of what rows were divided by: (rows,)."""
        out = np.log(self.norm)
        for top, code in zip(self.tops, self.codes.codes, strict=True):
            out += top[code]
        out[self.lost] = self.lost_log
        return out

    def total_log_norm(self) -> float:
        """Their sum over all rows, each as often as it counts."""
        _, total, places = self.weights
        if len(self.lost):
            return float(self.log_norm.sum() if total is None else total @ self.log_norm)
        out = sum(float(top @ at) for top, at in zip(self.tops, places, strict=True))
        for start in range(0, len(self.norm), 8192):  # as many as a cache holds
            logs = np.log(self.norm[start : start + 8192])
            out += float(logs.sum() if total is None else total[start : start + 8192] @ logs)
        return out

    def _norms(self) -> Array:
        """The norms of all rows; with them the sums by each code, where a loop makes both."""
        c, (places, states) = self.codes, self.tables[0].shape
        if len(c.codes) == 1:
            return self.tables[0].sum(axis=1)[c.codes[0]]
        rows = len(c.codes[0])
        loop = c.meter.twin(table_rows_loop)
        if loop is None:
            c.meter.spent += rows * (0.02 + 0.0025 * states)
            return norms_of_rows(self.tables, c.codes)
        beside = np.zeros((len(self.tables[1]), 2 * states))  # entries of the second table, and what they are to add up
        beside[:, :states] = self.tables[1]
        norm, out = np.empty(rows), np.empty((places, states))
        share = [np.ones(rows) if w is None else np.ascontiguousarray(w, float) for w in self.weights.by_code]
        order = np.empty(0, np.intp) if c.order is None else c.order
        loop(self.tables[0], beside, c.first, c.second, order, *share, norm, out)
        self.made = [out, beside[:, :states] * beside[:, states:]]
        if c.order is not None:
            norm[c.order] = norm.copy()
        return norm

    def _log_weights(self, rows: Any) -> Array:
        return sum((a[:, c[rows]] for a, c in zip(self.logs, self.codes.codes, strict=True)), np.zeros(()))

    def sums(self, which: int, *other: Array | None) -> Array:
        """Sums over rows of weight times probability by one of the codes: (states, places).

        The weight is the code's own, or another.
        """
        return self._by_place(which, other)[: self.codes.sizes[which] - self.codes.gaps[which]].T

    def totals(self, *other: Array | None) -> Array:
        """Sums over all rows of weight (that of sums by the first code, or another) times probability: (states,)."""
        return self._by_place(0, other).sum(axis=0)

    def _by_place(self, which: int, other: Sequence[Array | None]) -> Array:
        weight = other[0] if other else self.weights.by_code[which]
        if self.made is not None and not other:
            return self._with_lost(which, weight, self.made[which].copy())
        share = 1 / self.norm if weight is None else weight / self.norm
        c, own = self.codes, self.tables[which]
        if len(c.codes) == 1:
            out = own * np.bincount(c.codes[0], weights=share, minlength=c.sizes[0])[:, None]
        else:
            data = share if c.order is None else share[c.order]
            kind, shape = (scipy.sparse.csr_array, c.sizes) if which == 0 else (scipy.sparse.csc_array, c.sizes[::-1])
            out = own * (kind((data, c.second, c.first), shape=shape) @ self.tables[1 - which])
        return self._with_lost(which, weight, out)

    def _with_lost(self, which: int, weight: Array | None, out: Array) -> Array:
        """Sums by place, with those rows added in whose product of exponentials nothing was left."""
        if len(self.lost):
            more = self.lost_q.T if weight is None else self.lost_q.T * weight[self.lost, None]
            np.add.at(out, self.codes.codes[which][self.lost], more)
        return out

    def probabilities(self) -> Array:
        """(states, rows)."""
        out = np.ones((self.tables[0].shape[1], len(self.norm)))
        for table, code in zip(self.tables, self.codes.codes, strict=True):
            out *= table.T[:, code]
        out /= self.norm
        out[:, self.lost] = self.lost_q
        return out


def norms_of_rows(tables: Sequence[Array], codes: Sequence[Array]) -> Array:
    """sum over k of the product of both tables' entries at a row's places: (rows,). tables : (places, states)."""
    out = np.empty(len(codes[0]))
    for at in range(0, len(out), 1024):
        rows = slice(at, at + 1024)
        np.einsum("nk,nk->n", tables[0].take(codes[0][rows], 0), tables[1].take(codes[1][rows], 0), out=out[rows])
    return out


def divided_places(codes: Codes, which: int, states: int, weight: Array | None, rng: np.random.Generator) -> Array:
    """A division of one code's places among states, by what their rows have of the other code: (places,).

    Each goes to the nearest of seeds in relative entropy, half of a seed's own distribution being that of all rows;
    seeds are drawn as in k-means++ (Arthur and Vassilvitskii 2007), the best of a few each time, its distance any
    divergence of Bregman's (Banerjee, Merugu, Dhillon and Ghosh 2005). A row without a place says nothing.
    """
    shape = [size - gap for size, gap in zip(codes.sizes, codes.gaps, strict=True)]
    there = (codes.codes[0] < shape[0]) & (codes.codes[1] < shape[1])
    number = np.ones(len(there)) if weight is None else weight
    seen = np.flatnonzero(there & (number > 0))
    table = scipy.sparse.csr_array((number[seen], (codes.codes[which][seen], codes.codes[1 - which][seen])),
                             shape=(shape[which], shape[1 - which]))  # fmt: skip
    total, even = table.sum(axis=1), table.sum(axis=0) / max(float(number[seen].sum()), 1e-300)
    place = np.repeat(np.arange(shape[which]), np.diff(table.indptr))
    own = np.bincount(place, table.data * np.log(table.data / total[place]), minlength=shape[which])
    choice, best = rng.integers(states, size=shape[which]), np.full(shape[which], -np.inf)
    left = total
    for state in range(states if len(seen) else 0):
        seeds = rng.choice(len(left), 2 + int(math.log(states)), p=left / left.sum() if left.any() else None)
        share = 0.5 * (table[seeds].toarray() / np.maximum(total[seeds, None], 1e-300) + even)
        values = table @ np.log(np.maximum(share, 1e-300)).T
        value = values[:, np.maximum(values, best[:, None]).sum(axis=0).argmax()]
        choice[(value > best) & (total > 0)] = state
        best = np.maximum(best, value)
        left = np.maximum(own - best, 0.0) * (own - best > 1e-9 * total)
    return choice


def rows_by_place(choice: Array, codes: Codes, which: int, states: int) -> Array:
    """Probabilities of rows that hold to the state of their place, all but a tenth: (states, rows).

    choice : (places,) the state of each place of the code; a row without a place is of all states alike.
    """
    code = codes.codes[which]
    out = np.full((states, len(code)), 1.0 / states)
    rows = np.flatnonzero(code < len(choice))
    out[:, rows] = 0.1 / states
    out[choice[code[rows]], rows] += 0.9
    return out


def tables_of_rows(codes: Codes, tables: Sequence[Array], constant: Array | None, weights: Weights) -> RowsOfTables:
    """Probabilities of states that are proportional to exp of the sum of the tables' entries and of `constant`.

    tables : (states, places) logarithms, one for each code; constant : (states,).
    """
    logs = []
    for table, gap in zip(tables, codes.gaps, strict=True):
        logs.append(np.concatenate([table, np.zeros((len(table), 1))], axis=1) if gap else np.asarray(table))
    if constant is not None:
        logs[0] = logs[0] + constant[:, None]
    logs = [np.maximum(a, LOWEST) for a in logs]
    return RowsOfTables(codes, logs, [a.max(axis=0) for a in logs], weights)
