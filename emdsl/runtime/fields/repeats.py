"""Blocks of a joint Gaussian that repeat: assembled, and summed over, once for each kind of them."""

# mypy: disable-error-code="no-any-return"
# (operators on arrays of any dtype, and all of scipy, are Any to mypy)

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from emdsl.runtime.data.columns import Array
from emdsl.runtime.fields.elements import Field, Spot
from emdsl.runtime.fields.kinds import REPEATING, Kinds, joined

MOST_RUNS = 12  # runs of equal blocks, at most


class Blocks(NamedTuple):
    """Blocks of a matrix one after the other: block t is values[at[t]]."""

    values: Array
    at: Array

    @classmethod
    def each(cls, values: Array) -> Blocks:
        """Blocks of which none is said to be like another."""
        return cls(values, np.arange(len(values)))

    def all(self) -> Array:
        """(m, w, w)."""
        plain = len(self.values) == len(self.at) and (self.at == np.arange(len(self.at))).all()
        return self.values if plain else self.values[self.at]


class Stretches(NamedTuple):
    """Rows one after the other, each so many times: values (k, w), counts (k,)."""

    values: Array
    counts: Array

    def sum(self) -> float:
        """Of all entries."""
        return float(self.counts @ self.values.sum(1))

    def all(self) -> Array:
        """(m, w)."""
        return np.repeat(self.values, self.counts, axis=0)


class Move(NamedTuple):
    """The rows of a piece in the blocks: of kinds `rows` into blocks of kinds `to`, at these places."""

    piece: int
    rows: Array
    to: Array
    spot: Spot


class Repeats(NamedTuple):
    """Which blocks on the diagonal are alike (m,), which below it (m - 1,), and what they are made of; `full` (kinds,
    w) where a diagonal block holds numbers. `runs` are stretches of blocks with one J_tt and one J_t+1,t; `counts` say
    how many different ones there are, `whole` whether all are full of numbers."""

    diagonal: Array
    below: Array
    moves: tuple[Move, ...]
    full: Array
    runs: list[tuple[int, int]]
    counts: tuple[int, int]
    whole: bool

    def assembled(self, values: Sequence[Array]) -> tuple[Blocks, Blocks]:
        """J from pieces by kind, (kinds, own of a, own of b)."""
        w = self.full.shape[1]
        diagonal, below = (np.zeros((count, w, w)) for count in self.counts)
        for move in self.moves:
            part, (_, one, other) = values[move.piece][move.rows], move.spot.at
            part = part.swapaxes(1, 2) if move.spot.swapped else part
            target = below if move.spot.beside else diagonal
            target[move.to, one, other] -= part
            if not move.spot.beside:
                target[move.to, other, one] -= part.swapaxes(1, 2)
        if not self.whole:
            diagonal[:, np.arange(w), np.arange(w)] += ~self.full
        return Blocks(diagonal, self.diagonal), Blocks(below, self.below)


def repeats_of(field: Field, kinds: Sequence[Kinds]) -> Repeats | None:
    """How blocks repeat where the rows of pieces do; None where they do not, or lie in no order."""
    spots = [(n, spot, k) for n, (found, k) in enumerate(zip(field.spots, kinds, strict=True)) for spot in found]
    if any(not isinstance(spot.at, tuple) for _, spot, _ in spots):
        return None
    codes = [np.unique(field.full, axis=0, return_inverse=True)[1].reshape(-1), np.zeros(field.count - 1, np.int64)]
    for _, spot, k in spots:
        own = np.full(len(codes[spot.beside]), -1)
        own[spot.at[0]] = k.code[spot.rows]
        codes[spot.beside] = joined(codes[spot.beside], own)
    made = [np.unique(code, return_index=True, return_inverse=True)[1:] for code in codes]
    if any(len(first) * REPEATING > field.count for first, _ in made):
        return None
    moves = []
    for n, spot, k in spots:
        first, start = made[spot.beside][0], spot.at[0].start
        to = np.flatnonzero((first >= start) & (first < spot.at[0].stop))
        moves.append(Move(n, k.code[spot.rows][first[to] - start], to, spot))
    (first, diagonal), (others, below) = made
    runs, counts, full = block_runs(diagonal, below), (len(first), len(others)), field.full[first]
    return Repeats(diagonal, below, tuple(moves), full, runs, counts, bool(full.all()))


def block_runs(diagonal: Array, below: Array) -> list[tuple[int, int]]:
    """The runs of blocks with one J_tt and one J_t+1,t, the last block a run of its own; none where they are many."""
    new = (diagonal[1:-1] != diagonal[:-2]) | (below[1:] != below[:-1])
    starts, m = [0, *(np.flatnonzero(new) + 1).tolist()], len(diagonal)
    return list(zip([*starts, m - 1], [*starts[1:], m - 1, m], strict=True)) if len(starts) < MOST_RUNS else []


class Covariances:
    """Covariances beside every piece of J, in order: each (plates, own of a, own of b), made when it is read."""

    def __init__(
        self, spots: Sequence[Sequence[Spot]], rows: Sequence[tuple[int, int, int]], shapes: Sequence[tuple[int, ...]],
        v: Blocks, c: Blocks,
    ) -> None:  # fmt: skip
        """v, c : covariances of blocks, and of each with the one before it; shapes : of pieces as they were given."""
        self.spots, self.rows, self.shapes, self.v, self.c = spots, rows, shapes, v, c
        self.known: dict[int, Array] = {}

    def __getitem__(self, n: int) -> Array:
        if n not in self.known:
            self.known[n] = self._between(n).reshape(self.shapes[n])
        return self.known[n]

    def _between(self, n: int) -> Array:
        out, shape = np.zeros(self.rows[n]), self.rows[n]
        for spot in self.spots[n]:
            source = (self.c if spot.beside else self.v).all()
            if isinstance(spot.at, tuple):
                part = source[spot.at]
                out[spot.rows] = part.swapaxes(1, 2) if spot.swapped else part
            else:
                own = (shape[2], shape[1]) if spot.swapped else shape[1:]
                part = source.reshape(-1)[spot.at].reshape(-1, *own)
                out[spot.rows] = part.swapaxes(1, 2) if spot.swapped else part
        return out

    def summed(self, n: int, weights: Array, kinds: Kinds) -> Array:
        """sum over rows of weights (lead, kinds of rows) times the covariances of a piece: (lead, own of a, own of b).

        Weights are added up before they meet covariances that repeat.
        """
        rows, lead = self.rows[n], weights.shape[:-1]
        own, flat = self.shapes[n][len(kinds.shape) :], weights.reshape(-1, weights.shape[-1])
        if not all(isinstance(spot.at, tuple) for spot in self.spots[n]):
            return np.tensordot(flat[:, kinds.code], self[n].reshape(rows), 1).reshape((*lead, *own))
        whole = np.zeros((len(flat), *rows[1:]))
        for spot in self.spots[n]:
            values, at = self.c if spot.beside else self.v
            blocks, one, other = spot.at
            at, code = at[blocks], kinds.code[spot.rows]
            new = np.flatnonzero((at[1:] != at[:-1]) | (code[1:] != code[:-1])) + 1
            ends = np.concatenate([[0], new, [len(at)]])
            start, count = ends[:-1], ends[1:] - ends[:-1]
            part = values[at[start]][:, one, other]
            part = part.swapaxes(1, 2) if spot.swapped else part
            whole += (flat[:, code[start]] * count @ part.reshape(len(part), -1)).reshape(whole.shape)
        return whole.reshape((*lead, *own))
