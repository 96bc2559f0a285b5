"""What names mean at one place in a model, for many rows at once: values, sizes, loops, ragged lengths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, assert_never

import numpy as np
from numpy.typing import NDArray

from emdsl.errors import DataError, Problem, Span
from emdsl.language.model import Dim, Let, Ragged, Shape, Size

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Lengths:
    """A ragged plate's lengths per parent row, and the first flat row of each parent."""

    lengths: Array
    start: Array
    parents: tuple[Size, ...]

    @staticmethod
    def of(lengths: Any, parents: tuple[Size, ...] = ()) -> Lengths:
        n = np.asarray(lengths).ravel().astype(np.int64)
        return Lengths(n, np.concatenate([[0], np.cumsum(n)[:-1]]).astype(np.int64), parents)


@dataclass(slots=True)
class Watch:
    """Which elements of which arrays are known so far; rows that read an unknown one are marked."""

    known: Mapping[str, Array]
    blocked: Array

    def mark(self, name: str, index: tuple[Array, ...], s: Scope) -> None:
        """Marks the rows that read an element not known yet."""
        known = self.known[name]
        inside = tuple(np.clip(i, 0, n - 1) for i, n in zip(index, known.shape, strict=False))
        seen = known[inside] if index else known[None]
        seen = seen.reshape(seen.shape[0], -1).all(1)
        assert s.row is not None
        self.blocked[s.row[np.flatnonzero(~np.broadcast_to(seen, (s.count,)))]] = True


@dataclass(slots=True)  # to make a frozen one takes four times as long, and hardly anything is made more often
class Scope:
    """What names mean at one place, for `count` rows at once. It stays as it was made.

    `values` are whole arrays; `local` are per row (leading axis 1 or count); `loops` are integers
    per row; `stack` are the enclosing loops, outermost first; `row` numbers the rows for `watch`.
    The arrays of the names in `several` have a leading axis of points, and `point` says at which of them each row is.
    """

    values: Mapping[str, Array] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
    lets: Mapping[str, Let] = field(default_factory=dict)
    ragged: Mapping[str, Lengths] = field(default_factory=dict)
    loops: Mapping[str, Array] = field(default_factory=dict)
    local: Mapping[str, Array] = field(default_factory=dict)
    stack: tuple[tuple[str, Size], ...] = ()
    count: int = 1
    row: Array | None = None
    watch: Watch | None = None
    several: frozenset[str] = frozenset()
    point: Array | None = None

    def take(
        self, rows: Array, inner: Mapping[str, Array] | None = None, stack: tuple[tuple[str, Size], ...] = ()
    ) -> Scope:
        """The scope of some of the rows (integers); inside further loops, which have their positions in `inner`."""
        loops = {k: v[rows] for k, v in self.loops.items()} | dict(inner or {})
        local = {k: v if v.shape[0] == 1 else v[rows] for k, v in self.local.items()}
        row = None if self.row is None else self.row[rows]
        point = None if self.point is None else self.point[rows]
        # by place: `replace` would read all fields off the class
        return Scope(
            self.values, self.sizes, self.lets, self.ragged, loops, local, (*self.stack, *stack), len(rows), row,
            self.watch, self.several, point,
        )  # fmt: skip

    def points(self, name: str) -> Array | None:
        """The point of each row, where the array of this name has one value at each."""
        return self.point if name in self.several else None

    def enter(self, name: str, size: Size) -> tuple[Scope, Array]:
        """The scope inside a loop, rows times elements; and each new row's old row."""
        if isinstance(size, Dim):
            each = size.value(self.sizes)
            old = np.arange(self.count).repeat(each)
            position = np.arange(self.count * each) - each * old
        else:
            n = np.broadcast_to(length(size, self), (self.count,))
            old = np.repeat(np.arange(self.count), n)
            position = np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n)
        return self.take(old, {name: position.astype(np.int64)}, ((name, size),)), old


def fail(message: str, span: Span, hint: str | None = None) -> DataError:
    """A mistake that only data show. D050: an index or a value outside its range."""
    return DataError(Problem("D050", message, span, hint))


# ---------------------------------------------------------------- lengths and rows


def length(size: Size, s: Scope) -> Array:
    """A length per row: leading axis 1, or the rows for a ragged one."""
    match size:
        case Dim():
            return np.array([size.value(s.sizes)])
        case Ragged(name, by):
            table = s.ragged[name]
            at = max(i for i, (loop, _) in enumerate(s.stack) if loop == by)
            row = flat_row(table.parents or (s.stack[at][1],), _ancestors(table, s, at), s)
            return np.asarray(table.lengths[row])
        case _:
            assert_never(size)


def _ancestors(table: Lengths, s: Scope, at: int) -> list[Array]:
    depth = max(1, len(table.parents))
    return [s.loops[loop] for loop, _ in s.stack[at + 1 - depth : at + 1]]


def flat_row(axes: Shape, index: list[Array], s: Scope) -> Array:
    """The flat row of nested positions: row * n + i on a regular axis, start[row] + i on a ragged one."""
    row: Array = np.zeros(1, np.int64)
    for axis, i in zip(axes, index, strict=True):
        row = row * axis.value(s.sizes) + i if isinstance(axis, Dim) else s.ragged[axis.name].start[row] + i
    return row


def own_shape(shape: Shape, s: Scope) -> tuple[int, ...]:
    """The numbers of a shape; ragged lengths must agree between the rows."""
    out = []
    for size in shape:
        if isinstance(size, Dim):
            out.append(size.value(s.sizes))
            continue
        n = np.unique(length(size, s))
        if len(n) > 1:
            raise Uneven(size)
        out.append(int(n[0]) if len(n) else 0)
    return tuple(out)


class Uneven(Exception):
    """Rows have different lengths where one array is asked for: evaluate them in groups of equal length."""

    def __init__(self, size: Size) -> None:
        self.size = size


def stretched(value: Array, count: int) -> Array:
    """One row for all as so many rows, a view; what has a row each already as it is."""
    return value if value.shape[0] == count else np.broadcast_to(value, (count, *value.shape[1:]))


def lift(value: Array, own: int, rank: int) -> Array:
    """Axes of length 1 after the batch axis, so that `own` axes become `rank`."""
    return value.reshape(value.shape[0], *((1,) * (rank - own)), *value.shape[1:]) if own < rank else value


def split_rows(cond: Array, s: Scope, then: Any, other: Any) -> Array:
    """then(rows where cond) and other(the rest), put back in order; neither is called on no rows."""
    yes = np.broadcast_to(cond != 0, (s.count,))
    if yes.all():
        return np.asarray(then(s))
    if not yes.any():
        return np.asarray(other(s))
    rows = [np.flatnonzero(yes), np.flatnonzero(~yes)]
    return scatter(rows, [then(s.take(rows[0])), other(s.take(rows[1]))], s.count)


def scatter(rows: list[Array], parts: list[Array], count: int) -> Array:
    if not parts:
        return np.zeros(0)
    out = np.empty((count, *parts[0].shape[1:]), np.result_type(*parts))
    for r, part in zip(rows, parts, strict=True):
        out[r] = part
    return out
