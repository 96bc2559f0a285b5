"""Sum-product and max-product on small networks of discrete elements, by variable elimination.

Elements are eliminated one after the other, each leaving a table over those it is still tied to (its separator);
trees, where that is one element, go level by level, all elements of a level side by side.
Koller and Friedman (2009), Probabilistic Graphical Models, chapters 9 and 10.
"""

# mypy: disable-error-code="no-any-return"
# (operators on arrays of any dtype, and all of scipy, are Any to mypy)

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import scipy

from emdsl.runtime.data.columns import Array
from emdsl.runtime.discrete.buckets import Buckets, parts_alike
from emdsl.runtime.numeric.numerics import LOWEST


class Network:
    """Elements of some latents and the cliques that tie them, with an order of elimination.

    `levels` gives of each latent how many states and how many elements it has. A clique is a list of (latent, element
    numbers by row) and a mask by row (or None). `kinds` are its parts, those alike together, each with its order.
    `within` tells in which of `within_of` rows each latent's elements lie: no clique holds elements of two rows.
    """

    def __init__(
        self, levels: Mapping[str, tuple[int, int]], cliques: Sequence[tuple[Sequence[Any], Any]],
        ordered: bool = True, within: Mapping[str, Array] | None = None, within_of: int = 1,
    ) -> None:  # fmt: skip
        self.first, self.levels, total = {}, levels, 0
        self.colours: list[Array] | None = None  # where elements are drawn in turn: sets of which no clique ties two
        for name, (_, count) in levels.items():
            self.first[name] = total
            total += count
        self.states = np.concatenate([np.full(n, k) for k, n in levels.values()]).astype(int)
        self.shape, self.count = () if within is None else (within_of,), within_of
        found = [np.zeros(n, int) if within is None else np.ravel(within[name]) for name, (_, n) in levels.items()]
        self.within = np.concatenate(found).astype(int)
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
        """Least degree first, in each part for itself; refuses a table of more than WIDEST entries, with its size."""
        self.kinds = parts_alike(self.states, self.members)
        self.width = max((len(s) - 1 for kind in self.kinds for s in kind.scopes), default=0)
        self.parent, self.rank = np.full(total, -1), np.zeros(total, int)
        for kind in self.kinds:
            rank = np.zeros(kind.ids.shape[1], int)
            for v, *separator in kind.scopes:
                if separator:
                    self.parent[kind.ids[:, v]] = kind.ids[:, separator[0]]
                    rank[separator[0]] = max(rank[separator[0]], rank[v] + 1)
            self.rank[kind.ids] = rank
        self.forest = self.width <= 1 and all(m.shape[1] <= 2 for m in self.members)


def network_posterior(net: Network, tables: Sequence[Array]) -> tuple[dict[str, Array], Array, list[Array]]:
    """Marginals of each latent, (K, elements); the log-normaliser; probabilities of each clique, as its table.

    The log-normaliser is of each row, where parts lie within rows. tables : of each clique the log weights of its
    members' states, (K_1, ..., K_m, rows).
    """
    q, log_z, cliques = (_by_forest if net.forest else _by_buckets)(net, tables)
    own = {name: q[:k, net.first[name] : net.first[name] + n] for name, (k, n) in net.levels.items()}
    return own, log_z.reshape(net.shape), cliques


def most_probable_network(net: Network, tables: Sequence[Array]) -> dict[str, Array]:
    """The joint configuration of largest weight: states of each latent's elements."""
    best = Forest(net, tables, True).best() if net.forest else _back(net, tables, True, lambda log: log.argmax(0))
    return {name: best[net.first[name] : net.first[name] + n] for name, (_, n) in net.levels.items()}


def drawn_network(net: Network, tables: Sequence[Array], rng: np.random.Generator) -> Array:
    """States of all elements from their joint distribution."""
    if net.forest:
        return Forest(net, tables, False).draw(rng)
    return _back(net, tables, False, lambda log: (log + rng.gumbel(size=log.shape)).argmax(0))


def _by_forest(net: Network, tables: Sequence[Array]) -> tuple[Array, Array, list[Array]]:
    done, cliques = Forest(net, tables, False), []
    done.down()
    for table, members, rows in zip(tables, net.members, net.rows, strict=True):
        out = np.zeros(table.shape)
        out[..., rows] = done.clique(members, table.shape[:-1])
        cliques.append(out)
    return done.q, done.log_z, cliques


def _by_buckets(net: Network, tables: Sequence[Array]) -> tuple[Array, Array, list[Array]]:
    q, log_z = np.zeros((int(net.states.max(initial=1)), len(net.states))), np.zeros(net.count)
    cliques = [np.zeros(t.shape) for t in tables]
    for these in (run for kind in net.kinds for run in kind.few()):
        done = Buckets(these, tables, net.rows, False)
        done.down()
        log_z += np.bincount(net.within[these.ids[:, 0]], done.log_z, net.count)
        for v, k in enumerate(these.states):
            q[:k, these.ids[:, v]] = done.marginal([v])
        for out, counted, rows, local in zip(cliques, net.rows, these.rows, these.local, strict=True):
            for n, row in enumerate(local.tolist()):
                out[..., counted[rows[:, n]]] = done.clique(row)
    return q, log_z, cliques


def _back(net: Network, tables: Sequence[Array], largest: bool, choose: Callable[[Array], Any]) -> Array:
    state = np.zeros(len(net.states), int)
    for these in (run for kind in net.kinds for run in kind.few()):
        state[these.ids] = Buckets(these, tables, net.rows, largest).back(choose)
    return state


class Forest:
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

    def _up(self, largest: bool) -> None:
        self.weight = self.node.copy()
        self.log_z = np.zeros(self.net.count)
        for level in self.levels:
            roots = level[self.net.parent[level] < 0]
            own = self.weight[:, roots]
            left = own.max(0) if largest else scipy.special.logsumexp(own, axis=0)
            self.log_z += np.bincount(self.net.within[roots], left, self.net.count)
            inner = level[self.net.parent[level] >= 0]
            both = self.weight[:, None, inner] + self.edge[..., inner]
            sent = both.max(0) if largest else scipy.special.logsumexp(both, axis=0)
            np.add.at(self.weight.T, self.net.parent[inner], np.maximum(sent, LOWEST).T)

    def down(self) -> None:
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


def networks(
    network: tuple[Network, Mapping[str, tuple[int, ...]]], tables: Sequence[Array],
    start: Mapping[str, Array] | None = None,
) -> tuple[dict[str, Array], Array, list[Array]]:  # fmt: skip
    """`network_posterior` for tables (*states, *plates); marginals as (states, *home), or those of a `start`.

    `network` has the shapes of the latents beside it.
    """
    net, shapes = network
    flat = _flat(net, tables)
    q, log_z, cliques = network_posterior(net, flat) if start is None else _started(net, flat, start)
    shaped = [c.reshape(t.shape) for c, t in zip(cliques, tables, strict=True)]
    return {n: p.reshape(len(p), *shapes[n]) for n, p in q.items()}, log_z, shaped


def by_rows(network: tuple[Network, Any], values: Mapping[str, Array]) -> Array:
    """What stands beside each element of latents, (*home), added up by the rows in which these lie."""
    net, _ = network
    at = {n: net.within[net.first[n] : net.first[n] + net.levels[n][1]] for n in values}
    return np.sum([np.bincount(at[n], np.ravel(v), net.count) for n, v in values.items()], axis=0)


def best_network(network: tuple[Network, Mapping[str, tuple[int, ...]]], tables: Sequence[Array]) -> dict[str, Array]:
    """`most_probable_network` for tables (*states, *plates); states as (*home,)."""
    net, shapes = network
    return {n: s.reshape(shapes[n]) for n, s in most_probable_network(net, _flat(net, tables)).items()}


def _flat(net: Network, tables: Sequence[Array]) -> list[Array]:
    return [t.reshape(*t.shape[: m.shape[1]], -1) for t, m in zip(tables, net.members, strict=True)]


def _started(
    net: Network, tables: Sequence[Array], start: Mapping[str, Array]
) -> tuple[dict[str, Array], Array, list[Array]]:
    """Probabilities of each latent's elements, and of cliques as if these were independent."""
    own = {name: start[name].reshape(k, n) for name, (k, n) in net.levels.items()}
    soft = np.zeros((int(net.states.max(initial=1)), len(net.states)))
    for name, (k, n) in net.levels.items():
        soft[:k, net.first[name] : net.first[name] + n] = own[name]
    cliques = []
    for table, members, rows in zip(tables, net.members, net.rows, strict=True):
        out, here = np.zeros(table.shape), np.ones(len(rows))
        for k, at in zip(table.shape, members.T, strict=False):
            here = here[..., None, :] * soft[:k, at]
        out[..., rows] = here
        cliques.append(out)
    return own, np.zeros(net.shape), cliques
