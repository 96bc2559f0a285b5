"""Networks by bucket elimination, and the parts of a network that are alike, side by side.

Each element has a table over itself and what it is still tied to when it is eliminated (its separator). Parts that no
clique ties and whose cliques are the same, element for element, share one order; their tables have a last axis.
Dechter (1999), Bucket elimination: a unifying framework for reasoning; Koller and Friedman (2009), chapter 9.
"""

# mypy: disable-error-code="no-any-return"
# (operators on arrays of any dtype, and all of scipy, are Any to mypy)

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy

from emdsl.runtime.data.columns import Array
from emdsl.runtime.data.faults import DataError
from emdsl.runtime.numeric.numerics import LOWEST, WIDEST, log_sum_exp


class Route(NamedTuple):
    """The bucket that takes a table over some elements, its shape there, and the bucket's axes that it has not."""

    bucket: int
    shape: tuple[int, ...]
    lacking: tuple[int, ...]


class Alike(NamedTuple):
    """Parts of a network of one shape: element v of part c is `ids[c, v]`, and its states number `states[v]`.

    `scopes` are the elements in order of elimination, each with its separator; of each clique `rows` (parts, r) are
    the rows that lie in each part, and `local` (r, m) the elements that they hold. `routes` says where what each scope
    leaves is added.
    """

    ids: Array
    states: Array
    scopes: tuple[tuple[int, ...], ...]
    rows: tuple[Array, ...]
    local: tuple[Array, ...]
    routes: tuple[Route, ...]

    def few(self) -> Iterator[Alike]:
        """The same in runs of so many parts that their tables together stay within a few times the largest allowed."""
        size = sum(float(np.prod(self.states[list(s)].astype(float))) for s in self.scopes)
        step = max(1, int(4 * WIDEST / max(size, 1.0)))
        for at in range(0, len(self.ids), step):
            run = slice(at, at + step)
            yield self._replace(ids=self.ids[run], rows=tuple(r[run] for r in self.rows))


def parts_alike(states: Array, members: Sequence[Array]) -> list[Alike]:
    """The parts of a network, grouped by shape, each shape with its order. Raises `DataError` (D022) for one whose
    order needs a table of more than WIDEST entries, with its size."""
    total = len(states)
    part = _parts(total, members)
    elements = np.argsort(part, kind="stable")
    first = np.searchsorted(part[elements], np.arange(part.max(initial=-1) + 1))
    within = np.empty(total, int)
    within[elements] = np.arange(total) - first[part[elements]]
    rows, ends, keys = [], [], [[states[e].tobytes()] for e in np.split(elements, first[1:])] if total else []
    for m in members:
        order = np.lexsort((*within[m].T[::-1], part[m[:, 0]]))
        cut = np.searchsorted(part[m[order, 0]], np.arange(len(first) + 1))
        local = within[m[order]]
        for key, a, b in zip(keys, cut[:-1].tolist(), cut[1:].tolist(), strict=True):
            key.append(local[a:b].tobytes())
        rows.append(order)
        ends.append(cut)
    shapes: dict[tuple[bytes, ...], list[int]] = {}
    for p, key in enumerate(keys):
        shapes.setdefault(tuple(key), []).append(p)
    out = []
    for same in shapes.values():
        ids = elements[first[same][:, None] + np.arange(len(keys[same[0]][0]) // states.itemsize)]
        at: tuple[Array, ...] = tuple(
            order[c[same][:, None] + np.arange(c[same[0] + 1] - c[same[0]])]
            for order, c in zip(rows, ends, strict=True)
        )
        inside: tuple[Array, ...] = tuple(within[m[r[0]]] for m, r in zip(members, at, strict=True))
        scopes = in_order(states[ids[0]], inside)
        out.append(Alike(ids, states[ids[0]], scopes, at, inside, _routes(states[ids[0]], scopes)))
    return out


def _routes(states: Array, scopes: Sequence[tuple[int, ...]]) -> tuple[Route, ...]:
    """Of each scope that of its separator, whose elements are in the order of their elimination, as all scopes are."""
    place = {s[0]: n for n, s in enumerate(scopes)}
    out = []
    for _, *left in scopes:
        bucket = place[left[0]] if left else -1
        held = scopes[bucket] if left else ()
        shape = tuple(int(states[v]) if v in left else 1 for v in held)
        out.append(Route(bucket, shape, tuple(k for k, v in enumerate(held) if v not in left)))
    return tuple(out)


def _parts(total: int, members: Sequence[Array]) -> Array:
    """For each element the number of the part that it lies in."""
    pairs = [np.stack([m[:, 0], m[:, i]]) for m in members for i in range(1, m.shape[1])]
    a, b = np.concatenate(pairs, axis=1) if pairs else np.zeros((2, 0), int)
    graph = scipy.sparse.coo_array((np.ones(len(a)), (a, b)), shape=(total, total))
    return scipy.sparse.csgraph.connected_components(graph, directed=False)[1] if total else np.zeros(0, int)


def in_order(states: Array, members: Sequence[Array]) -> tuple[tuple[int, ...], ...]:
    """Scopes, each an element and its separator in the order of elimination: the element of least degree first."""
    total = len(states)
    tied: list[set[int]] = [set() for _ in range(total)]
    for rows in members:
        for row in rows.tolist():
            for v in row:
                tied[v].update(row)
    waiting: list[list[int]] = []
    for v in range(total):
        tied[v].discard(v)
        _wait(waiting, len(tied[v]), v)
    place = np.full(total, -1)
    scopes: list[tuple[int, ...]] = []
    while len(scopes) < total:
        degree = next(d for d, vs in enumerate(waiting) if vs)
        v = waiting[degree].pop()
        if place[v] >= 0 or len(tied[v]) != degree:
            continue
        size = float(np.prod(states[[v, *tied[v]]].astype(float)))
        if size > WIDEST:
            raise DataError(
                f"the elements are tied too closely to sum over exactly: eliminating one would need a table over "
                f"{len(tied[v]) + 1} of them with {size:.3g} entries (at most {WIDEST} are allowed)",
                hint="fewer states, or fewer ties; one element after the other by `infer z by meanfield`, z the latent",
                code="D022",
            )
        place[v] = len(scopes)
        scopes.append((v, *tied[v]))
        for u in tied[v]:
            tied[u].update(tied[v])
            tied[u] -= {u, v}
            _wait(waiting, len(tied[u]), u)
    return tuple((s[0], *sorted(s[1:], key=lambda u: place[u])) for s in scopes)


def _wait(waiting: list[list[int]], degree: int, v: int) -> None:
    while len(waiting) <= degree:
        waiting.append([])
    waiting[degree].append(v)


class Buckets:
    """The tables of some parts that are alike, with a last axis over the parts."""

    def __init__(self, these: Alike, tables: Sequence[Array], members_at: Sequence[Array], largest: bool) -> None:
        """tables : of each clique log weights (K_1, ..., K_m, all rows); members_at : which of these rows count."""
        self.these = these
        self.place = np.argsort([s[0] for s in these.scopes])
        self.pots = [np.zeros((*these.states[list(s)], len(these.ids))) for s in these.scopes]
        for table, rows, local, counted in zip(tables, these.rows, these.local, members_at, strict=True):
            for n, row in enumerate(local.tolist()):
                self._put(table[..., counted[rows[:, n]]], row)
        self.log_z, self.sent = np.zeros(len(these.ids)), []  # of each part
        for pot, route in zip(self.pots, these.routes, strict=True):
            sent = np.maximum(pot.max(0) if largest else log_sum_exp(pot, 0), LOWEST)
            self.sent.append(sent)
            if route.bucket < 0:
                self.log_z += sent
            else:
                self.pots[route.bucket] += sent.reshape(*route.shape, -1)

    def _put(self, table: Array, row: list[int]) -> None:
        """Adds a table over some elements to the first of them that is eliminated."""
        kept = sorted(set(row), key=lambda v: self.place[v])
        table = _along(table, row, kept)
        bucket = int(self.place[kept[0]])
        shape = [self.these.states[v] if v in kept else 1 for v in self.these.scopes[bucket]]
        self.pots[bucket] += table.reshape(*shape, -1)

    def down(self) -> None:
        """The joint probabilities of each bucket, the last to be eliminated first."""
        self.belief: list[Array] = [np.zeros(0)] * len(self.pots)
        for n in range(len(self.pots) - 1, -1, -1):
            bucket, _, lacking = self.these.routes[n]
            given = np.exp(np.maximum(self.pots[n] - self.sent[n], LOWEST))
            if bucket >= 0:
                given = given * (self.belief[bucket].sum(lacking) if lacking else self.belief[bucket])
            self.belief[n] = given

    def marginal(self, row: list[int]) -> Array:
        """The joint probabilities of elements that stand in one bucket, in the order given, (..., parts)."""
        bucket = int(min(self.place[v] for v in row))
        return _along(self.belief[bucket], self.these.scopes[bucket], row)

    def clique(self, row: list[int]) -> Array:
        """`marginal` of a row that may hold an element more than once: only where its states agree is there mass."""
        kept = list(dict.fromkeys(row))
        p = self.marginal(kept)
        if len(kept) == len(row):
            return p
        out = np.zeros((*self.these.states[row], p.shape[-1]))
        for state in np.ndindex(*p.shape[:-1]):
            out[tuple(state[kept.index(v)] for v in row)] = p[state]
        return out

    def back(self, choose: Callable[[Array], Any]) -> Array:
        """A state of each element, (parts, n), the last to be eliminated first, chosen from log weights (K, parts)."""
        parts = np.arange(len(self.these.ids))
        state = np.zeros(self.these.ids.shape, int)
        for pot, scope in zip(reversed(self.pots), reversed(self.these.scopes), strict=True):
            at: tuple[Any, ...] = (slice(None), *(state[:, u] for u in scope[1:]), parts)
            state[:, scope[0]] = choose(pot[at])
        return state


def _along(table: Array, held: Sequence[int], asked: Sequence[int]) -> Array:
    """A table over the elements `held` (..., parts) over some of these: the others summed out, of one that is held
    twice the diagonal. einsum has 52 letters, so elements are numbered anew."""
    if (
        len(held) == len(asked)
        and all(a == b for a, b in zip(held, asked, strict=True))
        and len(set(held)) == len(held)
    ):
        return table
    number = {v: n for n, v in enumerate(dict.fromkeys(held))}
    return np.einsum(table, [*(number[v] for v in held), len(number)], [*(number[v] for v in asked), len(number)])
