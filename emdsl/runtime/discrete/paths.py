"""Max-product along chains: most probable paths."""

# mypy: disable-error-code="no-any-return"
# (operators on arrays of any dtype, and all of scipy, are Any to mypy)

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from emdsl.runtime.data.columns import Array
from emdsl.runtime.discrete.edges import RowEdges, gates_alone, inside_gates
from emdsl.runtime.discrete.lanes import Lanes
from emdsl.runtime.discrete.logchains import LogRecursion, lanes_in_logs
from emdsl.runtime.numeric.numerics import LOWEST


def most_probable_path(
    node: Array, edge: Array | RowEdges, first: Sequence[Array], lanes: tuple[Lanes, Lanes]
) -> tuple[Array, Array]:
    """The path of largest weight through each sequence, (rows,), and the log of its weight, (sequences,).

    Viterbi (1967); arguments as of `chain_posterior`. An empty sequence has the log weight 0. What led to a state is
    found again on the way back, from what stood before it; through pieces first from every state that one may end in.
    """
    if not isinstance(edge, RowEdges) and edge.ndim == 3:
        edge = RowEdges.of(edge)
    k, states = node.shape[0], node.shape[0] ** len(first)
    used = lanes_in_logs(lanes, states, k)
    r = LogRecursion(node, edge, first, used, largest=True)
    state = np.zeros(len(used.start), np.int64)
    for step in np.unique(used.length) - 1 if len(state) else ():
        over = np.flatnonzero(used.length == step + 1)
        state[over] = r.alpha.steps[step][:, over].argmax(axis=0)
    if used.later.size:
        came = np.repeat(np.arange(states)[:, None], len(used.start), axis=1)
        for step in range(used.steps - 1, -1, -1):
            n = used.active[step]
            came[:, :n] = _before(r, step, came[:, :n])
        for lane in sorted(used.later.tolist(), key=lambda j: -int(used.start[j])):
            state[used.before[lane]] = came[state[lane], lane]
    path = np.zeros(node.shape[-1], np.int64)
    for step in range(used.steps - 1, -1, -1):
        n = used.active[step]
        path[used.order[used.cuts[step] : used.cuts[step + 1]]] = state[:n] % k
        if step:
            state[:n] = _before(r, step, state[None, :n])[0]
    weight = np.zeros(first[0].shape[-1])
    weight[used.sequence] = np.maximum(r.total, LOWEST)
    return path, weight


def _before(r: LogRecursion, step: int, state: Array) -> Array:
    """The best states before those at a step, (any, lanes)."""
    n, there = state.shape[1], r.early(step)
    older, own, lane = state // r.k, state % r.k, np.arange(n)
    before = r.before(step, n).reshape(r.k, r.middle, n)[:, older, lane]
    logs = r.table(step, n).logs
    score = before + logs[:, older, own, lane if logs.shape[3] > 1 else 0]
    if step and there.size:
        early = r.begin_table(step).logs[:, older[:, there], own[:, there], np.arange(there.size)]
        score[..., there] = before[..., there] + early
    return score.argmax(axis=0) * r.middle + older


def paths(
    node: Array, edge: Any, first: Sequence[Array], lanes: tuple[Lanes, Lanes], shape: tuple[int, int, int, bool]
) -> tuple[list[Array], Array]:
    """The most probable path of each latent of a chain inside each state of its gates, (*gates, *home), and the logs of
    the paths' weights, (*gates, *outer); arguments as of `chains`."""
    n, gates, depth, varies = shape
    states, kept, own = node.shape[:n], node.shape[n : n + gates], node.shape[n + gates :]
    k, g = int(np.prod(states)), int(np.prod(kept))
    edges = inside_gates(edge, n * (depth + 1), varies * len(own), (k**depth, k, g), gates_alone(g))
    nodes = node.reshape(k, g, -1)
    begins = [a.reshape(*((k**depth,) if r else ()), k, g, -1) for r, a in enumerate(first)]
    found = [most_probable_path(nodes[:, j], edges[j], [b[..., j, :] for b in begins], lanes) for j in range(g)]
    path = np.unravel_index(np.stack([p for p, _ in found]), states)
    weight = np.stack([w for _, w in found]).reshape((*kept, *first[0].shape[n + gates :]))
    return [p.reshape((*kept, *own)) for p in path], weight


def path_given(paths: Sequence[Array], given: Sequence[Array]) -> list[Array]:
    """Of paths (*gates, *home), one for each latent, those inside the gates' states, each (*home,)."""
    if not given:
        return list(paths)
    return [p[(*given, *np.indices(given[0].shape, sparse=True))] for p in paths]


def likeliest_each(posterior: Mapping[str, Any]) -> dict[str, Array]:
    """The state of each element that is the most probable by itself, of each latent that has probabilities."""
    return {n: np.argmax(p, axis=-1) for n, p in posterior.items() if not isinstance(p, Mapping)}


def states_given(table: Array, states: int, given: Sequence[Array]) -> list[Array]:
    """The states of largest weight: table (*states, *gates, *home), the gates' states (*home,) each."""
    flat = table.reshape(-1, *table.shape[states:])
    if given:
        flat = np.moveaxis(flat, 0, -1)[(*given, *np.indices(given[0].shape, sparse=True))]
        return list(np.unravel_index(flat.argmax(axis=-1), table.shape[:states]))
    return list(np.unravel_index(flat.argmax(axis=0), table.shape[:states]))
