"""Which elements of a joint Gaussian are eliminated before the others, and where their entries of J stand then.

Elements that no tie joins are independent given the rest: pupils given classes, 2000 students given 50 lecturers. They
go first, all at once; what they leave ties the rest, of which such elements are chosen again while that saves time.
What stays is cut into blocks. (Independent sets of least degree: Luby 1986; Liu 1985.)
"""

# mypy: disable-error-code="no-any-return"
# (operators on arrays of any dtype, and all of scipy, are Any to mypy)

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy

from emdsl.runtime.data.columns import Array
from emdsl.runtime.fields.elements import LARGEST, neighbours_in_blocks

FEW_OPERATIONS = 3e6  # operations of blocks that are left as they are
SPARE = 4  # entries of blocks for each of J, from which on another order is looked for
MOST_ROUNDS = 40
DENSE_OPERATION = 0.3  # nanoseconds, of matrix products
LOOSE_OPERATION = 12.0  # of entries by index
CALLS = 3e5  # of some calls of numpy


class Leaves(NamedTuple):
    """Elements of so many numbers each, the first of all at `start`; rows of J of each, its own entries and those
    beside it, begin at `at`. `beside` are the numbers that each is tied to (many, n), or all of them (1, n); `slots`
    where what they leave goes (many, n, n); None: into the one block of the rest."""

    many: int
    width: int
    start: int
    at: int
    beside: Array
    slots: Array | None


class AtOnce(NamedTuple):
    """Elements that go at once: whose are the entries beside them, which elements these are of, how many numbers each
    has beside it."""

    nodes: Array
    whose: Array
    other: Array
    beside: int


class Remaining(NamedTuple):
    """Elements that remain, by number, and which are tied."""

    left: Array
    ties: Any


class LeafOrder:
    """Levels of leaves, then the rest in blocks: where numbers and entries of J stand, in one flat array of each."""

    def __init__(self, width: Array, levels: Sequence[tuple[Array, Any, Array]], rest: Remaining) -> None:
        """levels : elements, their ties as rows of a matrix, and which elements its columns are."""
        self.width, n = width, len(width)
        self.number, self.at, self.stride = (np.zeros(n, np.int64) for _ in range(3))
        self.first_of_rest, self.keys, self.columns = 0, np.zeros(0, np.int64), np.zeros(0, np.int64)
        where, within = neighbours_in_blocks(width[rest.left], [scipy.sparse.coo_array(rest.ties).coords])
        self.blocks, self.size = shape_in_blocks(where, within, width[rest.left])
        groups = [found for level in levels[:-1] for found in self._groups(*level)]
        groups += self._shared(self._groups(*levels[-1]))
        length, start = 0, 0
        for nodes, *_, beside in groups:
            w = int(width[nodes[0]])
            self.stride[nodes] = w + beside
            self.at[nodes] = length + np.arange(len(nodes)) * w * (w + beside)
            self.number[nodes] = start + np.arange(len(nodes)) * w
            length, start = length + len(nodes) * w * (w + beside), start + len(nodes) * w
        self.first_of_rest, self.rest_at = start, length
        self.number[rest.left] = start + where * self.size + within
        self.total = start + self.blocks * self.size
        self.length = length + (2 * self.blocks - 1) * self.size**2
        self.below_at = length + self.blocks * self.size**2
        numbers = int(width.sum())
        self.node_of, self.own = np.full(self.total + 1, -1), np.zeros(self.total + 1, np.int64)
        of = np.repeat(np.arange(n), width)
        own = np.arange(numbers) - np.repeat(np.cumsum(width) - width, width)
        self.node_of[self.number[of] + own], self.own[self.number[of] + own] = of, own
        self.full = self.node_of[:-1] >= 0
        self.leaves = self._placed(groups)
        self.diagonal = self._slots_of(np.arange(self.total), np.arange(self.total))

    def _groups(self, nodes: Array, ties: Any, columns: Array) -> list[AtOnce]:
        """Elements of one level that are taken at once."""
        count = a_quarter_more(np.bincount(row_of_entries(ties), self.width[columns[ties.indices]], len(nodes)))
        out = []
        for w, n in sorted(set(zip(self.width[nodes].tolist(), count.tolist(), strict=True))):
            mine = np.flatnonzero((self.width[nodes] == w) & (count == n))
            part = ties[mine]
            out.append(AtOnce(nodes[mine], row_of_entries(part), columns[part.indices], n))
        return out

    def _shared(self, groups: list[AtOnce]) -> list[AtOnce]:
        """Those that go last where each is said to be tied to whatever one of them is, if products of whole matrices
        take less time than sums by index."""
        together = np.unique(np.concatenate([g.other for g in groups]))
        every = int(self.width[together].sum())
        apart = sum(len(g.nodes) * g.beside**2 for g in groups) * LOOSE_OPERATION + len(groups) * CALLS
        nodes = np.concatenate([g.nodes for g in groups])
        if self.blocks > 1 or 2 * int(self.width[nodes].sum()) * every**2 * DENSE_OPERATION > apart:
            return groups
        of = self.width[nodes]
        return [AtOnce(nodes[of == w], np.zeros(len(together), np.int64), together, every) for w in np.unique(of)]

    def _placed(self, groups: Sequence[AtOnce]) -> list[Leaves]:
        found, keys, columns = [], [], []
        for nodes, whose, other, n in groups:
            shared = len(nodes) > 1 and not whose.any()
            entries = np.lexsort((self.number[other], whose))
            whose, other = whose[entries], other[entries]
            many = self.width[other]
            ends = np.cumsum(many)
            inside = np.arange(int(many.sum())) - np.repeat(ends - many, many)
            rows = np.repeat(whose, many)
            column = np.arange(len(rows)) - np.searchsorted(rows, rows)
            beside = np.full((1 if shared else len(nodes), n), self.total)
            beside[rows, column] = np.repeat(self.number[other], many) + inside
            first = column[ends - many]
            if shared:
                keys.append((nodes[:, None] * len(self.width) + other).ravel())
                columns.append(np.tile(first, len(nodes)))
            else:
                keys.append(nodes[whose] * len(self.width) + other)
                columns.append(first)
            at = int(self.at[nodes[0]]), int(self.number[nodes[0]])
            found.append(Leaves(len(nodes), int(self.width[nodes[0]]), at[1], at[0], beside, None))
        if keys:
            order = np.argsort(np.concatenate(keys))
            self.keys, self.columns = np.concatenate(keys)[order], np.concatenate(columns)[order]
        return [g._replace(slots=self._left_of(g)) for g in found]

    def _left_of(self, g: Leaves) -> Array | None:
        if self.blocks == 1 and g.beside.min(initial=self.total) >= self.first_of_rest:
            return None
        return self._slots_of(g.beside[:, :, None], g.beside[:, None, :])

    def _slots_of(self, one: Array, other: Array) -> Array:
        """Where an entry of J stands, by two numbers; one that is none stands behind all."""
        first, later = np.broadcast_arrays(np.minimum(one, other), np.maximum(one, other))
        none = (self.node_of[first] < 0) | (self.node_of[later] < 0)
        found = self.slots(self.node_of[first], self.own[first], self.node_of[later], self.own[later])
        return np.where(none, self.length, found)

    def slots(self, a: Array, own_a: Array, b: Array, own_b: Array) -> Array:
        """Where entries of J stand, by two elements and the places of numbers in them."""
        a, own_a, b, own_b = np.broadcast_arrays(a, own_a, b, own_b)
        turned = self.number[a] > self.number[b]
        a, b = np.where(turned, b, a), np.where(turned, a, b)
        own_a, own_b = np.where(turned, own_b, own_a), np.where(turned, own_a, own_b)
        key = np.searchsorted(self.keys, a * len(self.width) + b)
        column = self.columns[np.minimum(key, len(self.keys) - 1)] if len(self.keys) else 0
        leaf = self.at[a] + own_a * self.stride[a] + own_b + np.where(a == b, 0, self.width[a] + column)
        w, x, y = self.size, self.number[a] + own_a - self.first_of_rest, self.number[b] + own_b - self.first_of_rest
        beside = self.below_at + (x // w * w + y % w) * w + x % w
        rest = np.where(x // w == y // w, self.rest_at + x * w + y % w, beside)
        return np.where(self.number[a] < self.first_of_rest, leaf, rest)


def leaves_first(width: Array, families: Sequence[int], ties: Sequence[tuple[Array, Array]]) -> LeafOrder | None:
    """An order in which some elements go first, where blocks alone would take more time; families : where they begin.

    width : how many numbers each element has.
    """
    n, entries, total = len(width), float((width**2).sum()), float(width.sum())
    a, b = (np.concatenate([np.zeros(0, np.int64), *(t[k] for t in ties)]) for k in (0, 1))
    reach = float(np.abs(a - b).max(initial=1) * width.max(initial=1))
    if total * min(total, reach) ** 2 < FEW_OPERATIONS or total * reach < SPARE * entries:
        return None
    m, w = shape_in_blocks(*neighbours_in_blocks(width, ties), width)
    graph = Remaining(np.arange(n), graph_of_pairs(n, a, b))
    entries += float(width[row_of_entries(graph.ties)] @ width[graph.ties.indices])
    least = block_cost(m, w)
    if m * w**3 < FEW_OPERATIONS or m * w**2 < SPARE * entries:
        return None
    spent, levels, best = 0.0, [], None
    for _ in range(MOST_ROUNDS):
        chosen, others = untied_elements(graph, width, families)
        rows = graph.ties[chosen]
        beside = np.bincount(row_of_entries(rows), width[graph.left[rows.indices]], len(chosen))
        loose = float((beside**2).sum())
        if loose > LARGEST:
            break
        spent += loose * LOOSE_OPERATION + CALLS * len(np.unique(a_quarter_more(beside)))
        levels.append((graph.left[chosen], rows, graph.left))
        fill = rows[:, others]
        graph = Remaining(graph.left[others], graph_of_rest(graph.ties[others][:, others], fill))
        left = width[graph.left]
        where, within = neighbours_in_blocks(left, [scipy.sparse.coo_array(graph.ties).coords])
        shape = shape_in_blocks(where, within, left)
        if shape[0] * shape[1] ** 2 <= LARGEST and spent + block_cost(*shape) < least:
            least, best = spent + block_cost(*shape), (len(levels), graph)
        if len(others) < 2 or graph.ties.nnz > 0.5 * len(others) ** 2:
            break
    return None if best is None else LeafOrder(width, levels[: best[0]], best[1])


def block_cost(count: int, size: int) -> float:
    """Nanoseconds that a block tridiagonal precision may take."""
    return DENSE_OPERATION * count * size**3 + CALLS * np.log2(2 * count)


def shape_in_blocks(block: Array, within: Array, width: Array) -> tuple[int, int]:
    """How many blocks, of how many numbers."""
    return int(block.max(initial=0)) + 1, int((within + width).max(initial=1))


def a_quarter_more(count: Array) -> Array:
    """Numbers beside an element, a quarter more at most: elements of equal numbers are taken at once."""
    step = 2 ** np.maximum(np.log2(np.maximum(count, 1)).astype(np.int64) - 2, 0)
    return -(-count.astype(np.int64) // step) * step


def row_of_entries(rows: Any) -> Array:
    """The row of each entry of a sparse matrix."""
    return np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))


def graph_of_pairs(n: int, a: Array, b: Array) -> Any:
    """Which elements are tied: 1.0 for each pair, in either order."""
    apart = a != b
    one, other = np.concatenate([a[apart], b[apart]]), np.concatenate([b[apart], a[apart]])
    graph = scipy.sparse.csr_array((np.ones(len(one)), (one, other)), shape=(n, n))
    graph.data[:] = 1.0
    return graph


def graph_of_rest(ties: Any, fill: Any) -> Any:
    """The same once elements have gone, of which each ties all that it was tied to."""
    found = scipy.sparse.coo_array(ties + fill.T @ fill)
    return graph_of_pairs(ties.shape[0], *found.coords)


def untied_elements(graph: Remaining, width: Array, families: Sequence[int]) -> tuple[Array, Array]:
    """Elements of which no two are tied, and the others: the families with few ties each first, then those with few."""
    n = len(graph.left)
    rows, columns = row_of_entries(graph.ties), graph.ties.indices
    degree = np.bincount(rows, width[graph.left[columns]], n)
    family = np.searchsorted(families, graph.left, "right")
    mean = np.bincount(family, degree) / np.maximum(np.bincount(family), 1)
    rank = np.empty(n, np.int64)
    rank[np.lexsort((np.arange(n) * 2654435761 % 2**32, degree, mean[family]))] = np.arange(n)
    free, chosen = np.ones(n, bool), np.zeros(n, bool)
    while free.any():
        least = np.full(n, n)
        np.minimum.at(least, rows, np.where(free[columns], rank[columns], n))
        now = free & (rank < least)
        chosen |= now
        free &= ~now
        free[columns[now[rows]]] = False
    return np.flatnonzero(chosen), np.flatnonzero(~chosen)
