"""Sum-product and max-product on small networks of discrete elements, by variable elimination.

Elements are eliminated one after the other, each leaving a table over those it is still tied to (its separator);
trees, where that is one element, go level by level, all elements of a level side by side.
Koller and Friedman (2009), Probabilistic Graphical Models, chapters 9 and 10.
"""

# mypy: disable-error-code="no-any-return"
# (operators on arrays of any dtype, and all of scipy, are Any to mypy)

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy

from emdsl.runtime.data.columns import Array
from emdsl.runtime.data.faults import DataError
from emdsl.runtime.numeric.numerics import LOWEST, WIDEST


class Network:
    """Elements of some latents and the cliques that tie them, with an order of elimination.

    `levels` gives of each latent how many states and how many elements it has. A clique is a list of (latent, element
    numbers by row) and a mask by row (or None). `scopes[v]` are an element and its separator, in order of elimination.
    """

    def __init__(
        self, levels: Mapping[str, tuple[int, int]], cliques: Sequence[tuple[Sequence[Any], Any]], ordered: bool = True
    ) -> None:
        self.first, self.levels, total = {}, levels, 0
        self.colours: list[Array] | None = None  # where elements are drawn in turn: sets of which no clique ties two
        for name, (_, count) in levels.items():
            self.first[name] = total
            total += count
        self.states = np.concatenate([np.full(n, k) for k, n in levels.values()]).astype(int)
        self.members: list[Array] = []
        self.rows: list[Array] = []
        for places, mask in cliques:
            ids = np.stack([self.first[name] + np.ravel(at) for name, at in places], axis=1)
            rows = np.arange(len(ids)) if mask is None else np.flatnonzero(np.ravel(mask))
            self.members.append(ids[rows])
            self.rows.append(rows)
        if ordered:  # not where elements are factors for themselves: nothing is eliminated
            self._order(total)

    def _order(self, total: int) -> None:
        """Least degree first; refuses a table of more than WIDEST entries, with its size."""
        tied: list[set[int]] = [set() for _ in range(total)]
        for members in self.members:
            for row in members.tolist():
                for v in row:
                    tied[v].update(row)
        for v in range(total):
            tied[v].discard(v)
        waiting: list[list[int]] = []
        for v in range(total):
            self._wait(waiting, len(tied[v]), v)
        done, self.place = np.zeros(total, bool), np.zeros(total, int)
        self.scopes: list[tuple[int, ...]] = []
        self.width = 0
        while len(self.scopes) < total:
            degree = next(d for d, vs in enumerate(waiting) if vs)
            v = waiting[degree].pop()
            if done[v] or len(tied[v]) != degree:
                continue
            separator = sorted(tied[v])
            size = float(np.prod(self.states[[v, *separator]].astype(float)))
            self.width = max(self.width, len(separator))
            if size > WIDEST:
                raise DataError(
                    f"the elements are tied too closely to sum over exactly: eliminating one would need a table over "
                    f"{len(separator) + 1} of them with {size:.3g} entries (at most {WIDEST} are allowed)",
                    hint="fewer states, or fewer ties",
                    code="D016",
                )
            done[v], self.place[v] = True, len(self.scopes)
            self.scopes.append((v, *separator))
            for u in separator:
                tied[u].update(separator)
                tied[u] -= {u, v}
                self._wait(waiting, len(tied[u]), u)
        order = [scope[0] for scope in self.scopes]
        self.scopes = [(s[0], *sorted(s[1:], key=lambda u: self.place[u])) for s in self.scopes]
        self.parent = np.full(total, -1)
        for scope in self.scopes:
            self.parent[scope[0]] = scope[1] if len(scope) > 1 else -1
        self.rank = np.zeros(total, int)
        for v in order:
            if self.parent[v] >= 0:
                self.rank[self.parent[v]] = max(self.rank[self.parent[v]], self.rank[v] + 1)
        self.forest = self.width <= 1 and all(m.shape[1] <= 2 for m in self.members)

    @staticmethod
    def _wait(waiting: list[list[int]], degree: int, v: int) -> None:
        while len(waiting) <= degree:
            waiting.append([])
        waiting[degree].append(v)


def network_posterior(net: Network, tables: Sequence[Array]) -> tuple[dict[str, Array], float, list[Array]]:
    """Marginals of each latent, (K, elements); the log-normaliser; probabilities of each clique, as its table.

    tables : of each clique the log weights of its members' states, (K_1, ..., K_m, rows).
    """
    solve = _Forest if net.forest else _Buckets
    done = solve(net, tables, False)
    q = {}
    for name, (k, n) in net.levels.items():
        q[name] = done.marginals(np.arange(net.first[name], net.first[name] + n), k)
    cliques = []
    for table, members, rows in zip(tables, net.members, net.rows, strict=True):
        out = np.zeros(table.shape)
        out[..., rows] = done.clique(members, table.shape[:-1])
        cliques.append(out)
    return q, done.log_z, cliques


def most_probable_network(net: Network, tables: Sequence[Array]) -> dict[str, Array]:
    """The joint configuration of largest weight: states of each latent's elements."""
    solve = _Forest if net.forest else _Buckets
    best = solve(net, tables, True).best()
    return {name: best[net.first[name] : net.first[name] + n] for name, (_, n) in net.levels.items()}


class _Forest:
    """Trees: every element has at most one neighbour left when it is eliminated."""

    def __init__(self, net: Network, tables: Sequence[Array], largest: bool) -> None:
        self.net, total, k = net, len(net.states), int(net.states.max(initial=1))
        self.node = np.where(np.arange(k)[:, None] < net.states, 0.0, LOWEST)
        self.edge = np.zeros((k, k, total))  # (own state, parent's state, element)
        for table, members, rows in zip(tables, net.members, net.rows, strict=True):
            own = table[..., rows]
            if members.shape[1] == 1:
                np.add.at(self.node, (np.arange(len(own))[:, None], members[:, 0]), own)
                continue
            same = members[:, 0] == members[:, 1]
            up = (net.parent[members[:, 0]] == members[:, 1]) & ~same
            down = ~up & ~same
            a, b = np.arange(own.shape[0])[:, None, None], np.arange(own.shape[1])[None, :, None]
            np.add.at(self.edge, (a, b, members[up, 0]), own[..., up])
            np.add.at(self.edge, (b, a, members[down, 1]), own[..., down])
            diagonal = np.arange(min(own.shape[:2]))  # two latents may have different numbers of states
            np.add.at(self.node, (diagonal[:, None], members[same, 0]), own[diagonal, diagonal][:, same])
        self.levels = [np.flatnonzero(net.rank == r) for r in range(int(net.rank.max(initial=0)) + 1)]
        self._up(largest)
        if not largest:
            self._down()

    def _up(self, largest: bool) -> None:
        self.weight = self.node.copy()
        self.log_z = 0.0
        for level in self.levels:
            roots = level[self.net.parent[level] < 0]
            own = self.weight[:, roots]
            self.log_z += float((own.max(0) if largest else scipy.special.logsumexp(own, axis=0)).sum())
            inner = level[self.net.parent[level] >= 0]
            both = self.weight[:, None, inner] + self.edge[..., inner]
            sent = both.max(0) if largest else scipy.special.logsumexp(both, axis=0)
            np.add.at(self.weight.T, self.net.parent[inner], np.maximum(sent, LOWEST).T)

    def _down(self) -> None:
        self.q = np.zeros(self.node.shape)
        self.pair = np.zeros(self.edge.shape)
        for level in reversed(self.levels):
            roots = level[self.net.parent[level] < 0]
            self.q[:, roots] = scipy.special.softmax(self.weight[:, roots], axis=0)
            inner = level[self.net.parent[level] >= 0]
            given = scipy.special.softmax(self.weight[:, None, inner] + self.edge[..., inner], axis=0)
            self.pair[..., inner] = given * self.q[:, self.net.parent[inner]]
            self.q[:, inner] = self.pair[..., inner].sum(1)

    def best(self) -> Array:
        state = np.zeros(len(self.net.states), int)
        for level in reversed(self.levels):
            roots = level[self.net.parent[level] < 0]
            state[roots] = self.weight[:, roots].argmax(0)
            inner = level[self.net.parent[level] >= 0]
            above = state[self.net.parent[inner]]
            state[inner] = (self.weight[:, inner] + self.edge[:, above, inner]).argmax(0)
        return state

    def draw(self, rng: np.random.Generator) -> Array:
        """States of all elements from their joint distribution, roots first."""
        state = np.zeros(len(self.net.states), int)
        for level in reversed(self.levels):
            above = state[np.maximum(self.net.parent[level], 0)]
            log = self.weight[:, level] + np.where(self.net.parent[level] < 0, 0.0, self.edge[:, above, level])
            state[level] = (log + rng.gumbel(size=log.shape)).argmax(0)
        return state

    def marginals(self, elements: Array, k: int) -> Array:
        return self.q[:k, elements]

    def clique(self, members: Array, shape: tuple[int, ...]) -> Array:
        if members.shape[1] == 1:
            return self.q[: shape[0], members[:, 0]]
        a, b = members.T
        up = self.net.parent[a] == b
        found = np.where(up, self.pair[: shape[0], : shape[1], a], self.pair[: shape[1], : shape[0], b].swapaxes(0, 1))
        same = a == b
        if same.any():
            found[..., same] = self.q[: shape[0], a[same]] * np.eye(shape[0])[..., None]
        return found


class _Buckets:
    """Any network: one table for each element over it and its separator."""

    def __init__(self, net: Network, tables: Sequence[Array], largest: bool) -> None:
        self.net = net
        self.pots = [np.zeros(net.states[list(s)]) for s in net.scopes]
        for table, members, rows in zip(tables, net.members, net.rows, strict=True):
            for row, at in zip(members.tolist(), rows, strict=True):
                self._put(np.asarray(table[..., at]), row)
        self.log_z, self.sent = 0.0, []
        for pot, scope in zip(self.pots, net.scopes, strict=True):
            sent = np.maximum(pot.max(0) if largest else scipy.special.logsumexp(pot, axis=0), LOWEST)
            self.sent.append(sent)
            if len(scope) == 1:
                self.log_z += float(sent)
            else:
                self._put(sent, list(scope[1:]))
        if not largest:
            self._down()

    def _put(self, table: Array, row: list[int]) -> None:
        """Adds a table over some elements to the first of them that is eliminated."""
        kept = sorted(set(row), key=lambda v: self.net.place[v])
        letters = {v: i for i, v in enumerate(kept)}
        table = np.einsum(table, [letters[v] for v in row], [letters[v] for v in kept])
        bucket = int(self.net.place[kept[0]])
        scope = self.net.scopes[bucket]
        self.pots[bucket] += table.reshape([self.net.states[v] if v in letters else 1 for v in scope])

    def _down(self) -> None:
        self.belief: list[Array] = [np.zeros(0)] * len(self.pots)
        for n in range(len(self.pots) - 1, -1, -1):
            scope = self.net.scopes[n]
            given = np.exp(np.maximum(self.pots[n] - self.sent[n], LOWEST))
            self.belief[n] = given if len(scope) == 1 else given * self._marginal(list(scope[1:]))

    def _marginal(self, row: list[int]) -> Array:
        """The joint probabilities of elements that stand in one bucket, in the order given."""
        bucket = int(min(self.net.place[v] for v in row))
        scope = self.net.scopes[bucket]
        return np.einsum(self.belief[bucket], list(range(len(scope))), [scope.index(v) for v in row])

    def best(self) -> Array:
        state = np.zeros(len(self.net.states), int)
        for pot, scope in zip(reversed(self.pots), reversed(self.net.scopes), strict=True):
            state[scope[0]] = pot[(slice(None), *state[list(scope[1:])])].argmax()
        return state

    def draw(self, rng: np.random.Generator) -> Array:
        """States of all elements from their joint distribution, the last to be eliminated first."""
        state = np.zeros(len(self.net.states), int)
        for pot, scope in zip(reversed(self.pots), reversed(self.net.scopes), strict=True):
            log = pot[(slice(None), *state[list(scope[1:])])]
            state[scope[0]] = (log + rng.gumbel(size=log.shape)).argmax()
        return state

    def marginals(self, elements: Array, k: int) -> Array:
        return np.stack([self._marginal([v]) for v in elements.tolist()], axis=1) if len(elements) else np.zeros((k, 0))

    def clique(self, members: Array, shape: tuple[int, ...]) -> Array:
        out = np.zeros((*shape, len(members)))
        for n, row in enumerate(members.tolist()):
            kept = list(dict.fromkeys(row))
            p = self._marginal(kept)
            if len(kept) == len(row):
                out[..., n] = p
                continue
            for state in np.ndindex(*p.shape):
                out[(*(state[kept.index(v)] for v in row), n)] = p[state]
        return out


def networks(
    network: tuple[Network, Mapping[str, tuple[int, ...]]], tables: Sequence[Array], rng: Any = None
) -> tuple[dict[str, Array], float, list[Array]]:
    """`network_posterior` for tables (*states, *plates); marginals as (states, *home). With `rng`, a start is drawn.

    `network` has the shapes of the latents beside it.
    """
    net, shapes = network
    flat = _flat(net, tables)
    q, log_z, cliques = network_posterior(net, flat) if rng is None else _drawn(net, flat, rng)
    shaped = [c.reshape(t.shape) for c, t in zip(cliques, tables, strict=True)]
    return {n: p.reshape(len(p), *shapes[n]) for n, p in q.items()}, log_z, shaped


def best_network(network: tuple[Network, Mapping[str, tuple[int, ...]]], tables: Sequence[Array]) -> dict[str, Array]:
    """`most_probable_network` for tables (*states, *plates); states as (*home,)."""
    net, shapes = network
    return {n: s.reshape(shapes[n]) for n, s in most_probable_network(net, _flat(net, tables)).items()}


def _flat(net: Network, tables: Sequence[Array]) -> list[Array]:
    return [t.reshape(*t.shape[: m.shape[1]], -1) for t, m in zip(tables, net.members, strict=True)]


def _drawn(
    net: Network, tables: Sequence[Array], rng: np.random.Generator
) -> tuple[dict[str, Array], float, list[Array]]:
    """States at random, softened, each element for itself."""
    soft = []
    for k in net.states:
        p = np.full(k, 0.2 / k)
        p[rng.integers(k)] += 0.8
        soft.append(p)
    q = {}
    for name, (k, n) in net.levels.items():
        at = net.first[name]
        q[name] = np.stack(soft[at : at + n], axis=1) if n else np.zeros((k, 0))
    cliques = []
    for table, members, rows in zip(tables, net.members, net.rows, strict=True):
        out = np.zeros(table.shape)
        for row, at in zip(members.tolist(), rows, strict=True):
            p = soft[row[0]]
            for v in row[1:]:
                p = np.multiply.outer(p, soft[v])
            out[..., at] = p
        cliques.append(out)
    return q, 0.0, cliques
