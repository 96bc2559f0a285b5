"""Max-product along chains: most probable paths."""

# mypy: disable-error-code="no-any-return"
# (operators on arrays of any dtype, and all of scipy, are Any to mypy)

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from emdsl.runtime.data.columns import Array
from emdsl.runtime.discrete.edges import RowEdges, Stepped, inside_gates
from emdsl.runtime.discrete.lanes import Lanes
from emdsl.runtime.numeric.numerics import LOWEST


def most_probable_path(
    node: Array, edge: Array | RowEdges, first: Sequence[Array], lanes: tuple[Lanes, Lanes]
) -> tuple[Array, Array]:
    """The path of largest weight through each sequence, (rows,), and the log of its weight, (sequences,).

    Viterbi (1967); arguments as of `chain_posterior`. An empty sequence has the log weight 0.
    """
    if not isinstance(edge, RowEdges) and edge.ndim == 3:
        edge = RowEdges.of(edge)
    whole = lanes[0]
    k, states = node.shape[0], node.shape[0] ** len(first)
    middle, n = states // k, len(whole.start)
    shape = (k, middle, k, -1)
    logs, rows = whole.gather(node), Stepped(edge, whole, scaled=False) if isinstance(edge, RowEdges) else edge
    best = np.full((states, n), LOWEST)
    back, ends = [np.zeros((states, n), np.int32)], np.zeros((states, n))
    for step, here in enumerate(logs.steps):
        m = here.shape[1]
        if step == 0:
            best[:k] = here + first[0][:, whole.sequence]
        else:
            if step < len(first):
                table = first[step][..., whole.sequence[:m]]
            else:
                table = rows.at(step) if isinstance(rows, Stepped) else rows
            score = best[:, :m].reshape(k, middle, 1, m) + table.reshape(shape)
            back.append(score.argmax(axis=0).reshape(states, m).astype(np.int32))
            best = (score.max(axis=0) + here).reshape(states, m)
        done = whole.length[:m] == step + 1
        ends[:, :m][:, done] = best[:, done]
    path = np.zeros(node.shape[-1], np.int64)
    state = ends.argmax(axis=0)
    for step in range(whole.steps - 1, -1, -1):
        m = whole.active[step]
        here = state[:m]
        path[whole.order[whole.cuts[step] : whole.cuts[step + 1]]] = here % k
        state[:m] = back[step][here, np.arange(m)] * middle + here // k
    weight = np.zeros(first[0].shape[-1])
    weight[whole.sequence] = np.maximum(ends.max(axis=0, initial=LOWEST), LOWEST)
    return path, weight


def paths(
    node: Array, edge: Any, first: Sequence[Array], lanes: tuple[Lanes, Lanes], shape: tuple[int, int, int, bool]
) -> tuple[list[Array], Array]:
    """The most probable path of each latent of a chain inside each state of its gates, (*gates, *home), and the logs of
    the paths' weights, (*gates, *outer); arguments as of `chains`."""
    n, gates, depth, varies = shape
    states, kept, own = node.shape[:n], node.shape[n : n + gates], node.shape[n + gates :]
    k, g = int(np.prod(states)), int(np.prod(kept))
    edges = inside_gates(edge, n * (depth + 1), varies * len(own), (k**depth, k, g))
    nodes = node.reshape(k, g, -1)
    begins = [a.reshape(*((k**depth,) if r else ()), k, g, -1) for r, a in enumerate(first)]
    found = [
        most_probable_path(nodes[:, j], edges[j % len(edges)], [b[..., j, :] for b in begins], lanes) for j in range(g)
    ]
    path = np.unravel_index(np.stack([p for p, _ in found]), states)
    weight = np.stack([w for _, w in found]).reshape((*kept, *first[0].shape[n + gates :]))
    return [p.reshape((*kept, *own)) for p in path], weight


def path_given(paths: Sequence[Array], given: Sequence[Array]) -> list[Array]:
    """Of paths (*gates, *home), one for each latent, those inside the gates' states, each (*home,)."""
    if not given:
        return list(paths)
    return [p[(*given, *np.indices(given[0].shape, sparse=True))] for p in paths]


def states_given(table: Array, states: int, given: Sequence[Array]) -> list[Array]:
    """The states of largest weight: table (*states, *gates, *home), the gates' states (*home,) each."""
    flat = table.reshape(-1, *table.shape[states:])
    if given:
        flat = np.moveaxis(flat, 0, -1)[(*given, *np.indices(given[0].shape, sparse=True))]
        return list(np.unravel_index(flat.argmax(axis=-1), table.shape[:states]))
    return list(np.unravel_index(flat.argmax(axis=0), table.shape[:states]))
