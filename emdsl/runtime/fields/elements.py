"""Where the elements of a joint Gaussian stand: an order that keeps tied ones close, cut into blocks of neighbours.

Found at the first call, the data's alone, with the places of every piece of the precision in these blocks.
"""

# mypy: disable-error-code="no-any-return"
# (operators on arrays of any dtype, and all of scipy, are Any to mypy)

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy

from emdsl.runtime.data.columns import Array
from emdsl.runtime.data.faults import DataError
from emdsl.runtime.numeric.compiled import Meter

LARGEST = 30_000_000  # entries of the blocks that a posterior may need


class Spot(NamedTuple):
    """Where rows of a piece stand: in the blocks on the diagonal of J or `beside` it; `swapped`: as their transposes.

    `at` are slices where rows have the same places, each in the block after the one before it; else flat places.
    """

    rows: slice | Array
    beside: bool
    swapped: bool
    at: tuple[slice, slice, slice] | Array


def neighbours_in_blocks(width: Array, ties: Sequence[tuple[Array, Array]]) -> tuple[Array, Array]:
    """Elements with so many numbers in blocks of neighbours, such that ties reach the next block at most: the block of
    each, and where in it its numbers begin."""
    n = len(width)
    a = np.concatenate([np.zeros(0, np.int64), *(t[0] for t in ties)])
    b = np.concatenate([np.zeros(0, np.int64), *(t[1] for t in ties)])
    graph = scipy.sparse.csr_array((np.ones(len(a)), (a, b)), shape=(n, n))
    place = np.empty(n, np.int64)
    if n:  # all sequences may be empty
        order = scipy.sparse.csgraph.reverse_cuthill_mckee((graph + graph.T).tocsr(), symmetric_mode=True)
        place[order] = np.arange(n)
    natural = int(np.abs(a - b).max(initial=1))
    apart = max(1, int(np.abs(place[a] - place[b]).max(initial=1)))
    if natural <= apart:
        place, apart = np.arange(n), max(natural, 1)
    largest, total = int(width.max(initial=1)), int(width.sum())
    if 3 * n * (apart * largest) ** 2 * largest > total**3 or apart * 2 >= n:
        apart = max(n, 1)  # one dense block costs no more
    block = place // apart
    order = np.argsort(place)
    ends = np.cumsum(width[order]) - width[order]
    within = np.empty(n, np.int64)
    within[order] = ends - ends[np.searchsorted(block[order], block[order])]
    return block, within


class Field:
    """Where the elements of a joint Gaussian stand among the blocks: found at the first call, the data's alone."""

    def __init__(
        self, families: Sequence[Sequence[tuple[int, int]]], counts: Sequence[int], names: str,
        moments: Callable[[Array, Array, Array], tuple[Array, Array, Array, Array]] | None = None,
    ) -> None:  # fmt: skip
        """families : for each set of plates, (latent, length of its elements); counts : elements of each.

        moments : what inverts blocks that are no precision, where some latents are multipliers of constraints.
        """
        self.names, self.moments = names, moments
        self.first = np.cumsum([0, *counts])
        widths = [sum(d for _, d in family) for family in families]
        self.width = np.repeat(widths, counts).astype(np.int64)
        self.at: dict[int, tuple[int, int]] = {}  # latent -> (family, its place among the numbers of an element)
        for k, family in enumerate(families):
            start = 0
            for latent, d in family:
                self.at[latent] = (k, start)
                start += d
        self.ready, self.total, self.alone = False, 0, False  # numbers; whether one latent is all, block by block
        self.by_leaves: Any = None  # where elements stand if some go before the others; False: none do
        self.refused: DataError | None = None  # why blocks were, where they were too large
        self.meter = Meter()
        self.copies: dict[int, Field] = {}  # of this one, by how many
        self.repeats: Any = None  # how blocks repeat, where they do
        self.spots: list[list[Spot]] = []  # of each piece of J
        self.shapes: list[tuple[int, int, int]] = []  # of the same
        self.where: list[tuple[Any, Any]] = []  # of each latent: the block of an element, the places of its numbers

    def nodes(self, latent: int, elements: Any) -> Array:
        """The elements of one latent as numbers among those of all."""
        return np.asarray(elements, np.int64).ravel() + self.first[self.at[latent][0]]

    def settle(self, ties: Sequence[tuple[Array, Array]]) -> None:
        """Order the elements and cut them into blocks."""
        block, within = neighbours_in_blocks(self.width, ties)
        total = int(self.width.sum())
        self.count = int(block.max(initial=0)) + 1
        self.size = int((within + self.width).max(initial=1))
        if self.count * self.size**2 > LARGEST:
            self.refused = DataError(
                f"{self.names} are jointly Gaussian over {total} numbers, tied so that blocks of {self.size} hang "
                f"together: that is {self.count * self.size**2:.3g} entries (at most {LARGEST} are allowed)",
                hint="fewer elements, or fewer ties between them",
                code="D016",
            )
            raise self.refused
        # blocks that are not full are filled up with ones on the diagonal
        reach = np.zeros((self.count, self.size + 1), np.int64)
        np.add.at(reach, (block, within), 1)
        np.add.at(reach, (block, within + self.width), -1)
        self.full = np.cumsum(reach, axis=1)[:, : self.size] > 0
        self.block, self.within, self.total, self.ready = block, within, total, True

    def scalars(self, latent: int, nodes: Array, length: int) -> tuple[Array, Array]:
        """Block of each element, and place in it of each of its numbers."""
        inside = self.within[nodes][:, None] + self.at[latent][1] + np.arange(length)
        return self.block[nodes], inside

    def place(self, pieces: Sequence[tuple[int, int, Any, Any, Array]], shapes: Sequence[tuple[int, int]]) -> None:
        """Settles the elements, and finds the places of pieces of J and of latents of these (elements, numbers)."""
        if self.refused is not None:
            raise self.refused
        nodes = [(self.nodes(a, at_a), self.nodes(b, at_b)) for a, b, at_a, at_b, _ in pieces]
        self.settle(nodes)
        self.shapes = [(len(na), shapes[a][1], shapes[b][1]) for (a, b, *_), (na, _) in zip(pieces, nodes, strict=True)]
        for (a, b, *_), (na, nb) in zip(pieces, nodes, strict=True):
            self.spots.append(spots(self, (a, na, shapes[a][1]), (b, nb, shapes[b][1])))
        for latent, (count, length) in enumerate(shapes):
            block, inside = self.scalars(latent, self.nodes(latent, np.arange(count)), length)
            even = count > 0 and _in_order(block) and (inside == inside[0]).all() and _in_order(inside[0])
            self.where.append((_run(block), _run(inside[0])) if even else (block[:, None], inside))
        whole = (slice(0, self.count), slice(0, self.size))
        self.alone = len(shapes) == 1 and isinstance(self.where[0][0], slice) and self.where[0] == whole


def spots(field: Field, a: tuple[int, Array, int], b: tuple[int, Array, int]) -> list[Spot]:
    """Where the rows of a piece of J stand, those that stand alike together: latents, their elements, their lengths."""
    (ba, ia), (bb, ib) = field.scalars(*a), field.scalars(*b)
    w, out = field.size, []
    for same, beside, swapped in ((ba == bb, False, False), (ba == bb + 1, True, False), (bb == ba + 1, True, True)):
        rows = np.flatnonzero(same)
        if len(rows) == 0:
            continue
        block = (ba if swapped else bb)[rows]
        first, second = (ib[rows], ia[rows]) if swapped else (ia[rows], ib[rows])
        even = (first == first[0]).all() and (second == second[0]).all() and _in_order(rows) and _in_order(block)
        if even:
            at = slice(block[0], block[-1] + 1), _run(first[0]), _run(second[0])
            out.append(Spot(_run(rows), beside, swapped, at))
        else:
            flat = (block[:, None, None] * w + first[:, :, None]) * w + second[:, None, :]
            out.append(Spot(rows, beside, swapped, flat.ravel()))
    return out


def _in_order(numbers: Array) -> bool:
    """Whether they are one after the other."""
    return bool((np.diff(numbers) == 1).all())


def _run(numbers: Array) -> slice:
    return slice(int(numbers[0]), int(numbers[-1]) + 1)


class Parts(NamedTuple):
    """A field that falls apart: how many parts, by outer plates, and which one each element of a latent lies in."""

    shape: tuple[int, ...]
    of: Sequence[Array]


def in_rows(a: Array, plates: int) -> Array:
    """(plates, own) as (elements, numbers)."""
    shape = np.shape(a)
    return np.reshape(a, (math.prod(shape[:plates]), math.prod(shape[plates:])))


def share_of_parts(parts: Parts, where: Sequence[Any], share: Array) -> Array:
    """What numbers add to a log-normaliser, for each part; where : of each latent (elements, numbers)."""
    out = np.zeros(math.prod(parts.shape))
    for at, of in zip(where, parts.of, strict=False):
        out += np.bincount(np.ravel(of), share[at].sum(1), len(out))
    return out.reshape(parts.shape)
