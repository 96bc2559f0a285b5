"""Posteriors of chains: probabilities of single elements and of neighbours, log-normalisers."""

# mypy: disable-error-code="no-any-return"
# (operators on arrays of any dtype, and all of scipy, are Any to mypy)

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import special

from emdsl.runtime.columns import Array
from emdsl.runtime.lanes import Lanes
from emdsl.runtime.numerics import LOWEST, honest
from emdsl.runtime.recursion import Recursion, backward, forward

TINY = 1e-250  # what may have been lost to underflow
CERTAIN = 1e-80  # transitions above this forget everything smaller than rounding


def chain_posterior(
    node: Array, edge: Array, first: Sequence[Array], lanes: tuple[Lanes, Lanes]
) -> tuple[Array, Array, dict[str, Any]]:
    """Posterior of every chain of a block.

    node : (K, rows) log weights of single elements. edge : (K^L, K) or (K^L, K, rows) log weights of an element
    given the L before it, the oldest first. first : first[0] (K, sequences), first[r] (K^L, K, sequences) for the
    positions r < L. Returns q (K, rows); the log-normaliser of each sequence; and `from` (K^L, rows),
    `edge`, `to` (K^L, rows), whose product is the joint probability of L + 1 elements, and `first`.
    """
    rows, count = node.shape[-1], first[0].shape[-1]
    r = Recursion(node, edge, first, lanes[1])
    alpha, beta = forward(r, node), backward(r)
    if _lost(r, node, alpha, beta):
        r = Recursion(node, edge, first, lanes[0])
        belief, alpha, after = _in_logs(r, node, edge)
    else:
        belief = alpha * beta
        mass = belief.sum(axis=1)
        belief /= np.where(mass > 0, mass, 1.0)[:, None]
        mass *= r.mass
        after = (beta.reshape(r.lanes.steps, r.middle, r.k, -1) * r.e[:, None]).reshape(beta.shape)
        after /= np.where(mass > 0, mass, 1.0)[:, None]
    q = belief if r.middle == 1 else belief.reshape(r.lanes.steps, r.middle, r.k, -1).sum(axis=1)
    scale = np.where(r.lanes.valid, r.scale, 0.0).sum(axis=0)
    log_z = np.bincount(r.lanes.sequence, weights=scale, minlength=count) + _node_tops(r, count)
    parts = {"edge": r.w if r.fixed else np.exp(edge - r.offset), "first": _first_positions(r, alpha, after, q, count)}
    parts["from"], parts["to"] = _pair_factors(r, alpha, after, rows)
    return r.lanes.scatter(q, rows), honest(np.where(np.isnan(log_z), -np.inf, log_z)), parts


def chains(
    node: Array, edge: Array, first: Sequence[Array], lanes: tuple[Lanes, Lanes], shape: tuple[int, int, int, bool],
    rng: Any = None,
) -> tuple[Array, Array, dict[str, Any]]:  # fmt: skip
    """`chain_posterior` for arrays with an axis for each latent, gate and plate.

    node : (*states, *gates, *home), edge : (*before, *states), with gates and home behind them where it differs by
    these, first[r] : (*before if r, *states, *gates, *outer). `shape` is the number of axes of states and gates, the
    elements that an edge looks back, and whether edges differ by row. With `rng`, a start is drawn: every
    element's states are taken as its node has them.
    """
    n, gates, depth, varies = shape
    states, kept, own = node.shape[:n], node.shape[n : n + gates], node.shape[n + gates :]
    k, g = int(np.prod(states)), int(np.prod(kept))
    gated = edge.ndim - n * (depth + 1) - varies * len(own) > 0
    flat = edge.reshape(k**depth, k, g if gated else 1, *((-1,) if varies else ()))
    if rng is not None:
        flat, first = np.zeros_like(flat), [np.zeros_like(a) for a in first]
    nodes = node.reshape(k, g, -1)
    begins = [a.reshape(*((k**depth,) if r else ()), k, g, -1) for r, a in enumerate(first)]
    made = [
        chain_posterior(nodes[:, j], flat[:, :, j if gated else 0], [b[..., j, :] for b in begins], lanes)
        for j in range(g)
    ]
    behind, before, outer = states * (depth - 1), states * depth, first[0].shape[n + gates :]
    q, log_z = np.stack([q for q, _, _ in made], axis=1), np.stack([a for _, a, _ in made])
    several = range(g if gated else 1)
    return q.reshape(node.shape), log_z.reshape((*kept, *outer)), {
        "from": np.stack([p["from"] for _, _, p in made], axis=1).reshape((*before, *kept, *own)),
        "to": np.stack([p["to"] for _, _, p in made], axis=1).reshape((*behind, *states, *kept, *own)),
        "edge": np.stack([made[j][2]["edge"] for j in several], axis=2).reshape(edge.shape),
        "first": [np.stack([p["first"][r] for _, _, p in made], axis=-2).reshape(a.shape) for r, a in enumerate(first)],
    }  # fmt: skip


def _node_tops(r: Recursion, count: int) -> Array:
    """The sum of what was taken out of the nodes, by sequence."""
    tops = np.where(r.lanes.valid, r.top[r.lanes.rows], 0.0).sum(axis=0)
    return np.bincount(r.lanes.sequence, weights=tops, minlength=count)


def _pair_factors(r: Recursion, alpha: Array, after: Array, rows: int) -> tuple[Array, Array]:
    """`from` and `to` by row; `from` is 0 where an element has fewer than L behind it, and so is their product."""
    lanes = r.lanes
    inside = np.zeros_like(alpha)
    if lanes.steps:
        inside[1:] = alpha[:-1]
        inside[0][:, lanes.later] = alpha[-1][:, lanes.before[lanes.later]]
    for step in range(min(len(r.first), lanes.steps)):
        inside[step][:, lanes.first] = 0.0
    return lanes.scatter(inside, rows), lanes.scatter(after, rows)


def _first_positions(r: Recursion, alpha: Array, after: Array, q: Array, count: int) -> list[Array]:
    """Probabilities at the first L positions of each sequence: (K, sequences), then (K^L, K, sequences)."""
    lanes = r.lanes
    out = [np.zeros((r.k, count)), *(np.zeros((r.states, r.k, count)) for _ in r.first[1:])]
    if not lanes.steps:
        return out
    out[0][:, lanes.sequence[lanes.first]] = q[0][:, lanes.first]
    for step in range(1, min(len(r.first), lanes.steps)):
        there = lanes.first[lanes.length[lanes.first] > step]
        w, _ = r.start_table(step, there)
        pair = w.reshape(r.k, r.middle, r.k, -1) * after[step][:, there].reshape(r.middle, r.k, -1)
        pair = pair.reshape(r.states, r.k, -1) * alpha[step - 1][:, None, there]
        out[step][..., lanes.sequence[there]] = pair / pair.sum(axis=(0, 1))
    return out


def _lost(r: Recursion, node: Array, alpha: Array, beta: Array) -> bool:
    """Whether underflow may have lost a state that matters.

    A path through a state that is left with nearly nothing can leave the likeliest state instead and come back to
    itself after L transitions. Where these are above CERTAIN together, it was no loss: at the first positions by their
    own tables, of which zeros must be asked as of the others. Else zeros must be the structure's own.
    """
    if not np.isfinite(r.scale[r.lanes.valid]).all():
        return True
    early = [np.exp((t - t.max(axis=(0, 1))).min(initial=0.0)) for t in r.first[1:]]
    if min(r.w.min(initial=1.0), *early, 1.0) ** len(r.first) >= CERTAIN:
        return False
    possible = r.lanes.gather((node - r.top > LOWEST / 2).astype(float))
    for values, step_of in ((alpha, 1), (beta, -1)):
        small = (values < TINY) & r.lanes.valid[:, None]
        if not small.any():
            continue
        if not _structural(r, small, possible, step_of):
            return True
    return False


def _structural(r: Recursion, small: Array, possible: Array, step_of: int) -> bool:
    """Whether all small entries are states that no path of nonzero weight reaches (exactly, by their pattern)."""
    if r.middle > 1 or not r.fixed or r.lanes.later.size:
        return False
    allowed = (r.w > 0).astype(float)
    steps = range(r.lanes.steps) if step_of > 0 else range(r.lanes.steps - 1, -1, -1)
    reached = np.ones((r.states, len(r.lanes.start)))
    for step in steps:
        if step_of > 0:
            if step:
                reached = ((allowed.T @ reached) > 0).astype(float)
            else:
                reached[:, r.lanes.first] = r.first[0][:, r.lanes.sequence[r.lanes.first]] > LOWEST / 2
            reached = reached * possible[step]
            if (small[step] & (reached > 0)).any():
                return False
        else:
            ends = r.lanes.length == step + 1
            reached[:, ends] = 1.0
            if (small[step] & (reached > 0)).any():
                return False
            reached = ((allowed @ (reached * possible[step])) > 0).astype(float)
    return True


def _in_logs(r: Recursion, node: Array, edge: Array) -> tuple[Array, Array, Array]:
    """The posterior, `from` and `to` by recursions in logs, where probabilities span more than a float holds.

    `from` and `to` are scaled by the most probable state before, so that their product loses nothing that counts.
    """
    lanes, n = r.lanes, len(r.lanes.start)
    logs = lanes.gather(np.maximum(node, LOWEST))
    table = edge[:, :, None] if edge.ndim == 2 else None
    rows = None if table is not None else lanes.gather(edge)
    alpha = np.full((lanes.steps, r.states, n), LOWEST)
    beta = np.zeros((lanes.steps, r.states, n))
    shape = (r.k, r.middle, r.k, -1)

    def at(step: int, early: bool) -> Array:
        if early:
            return r.first[step][..., lanes.sequence].reshape(shape)
        return (table if rows is None else rows[step]).reshape(shape)  # type: ignore[union-attr]

    for step in range(lanes.steps):
        if step == 0:
            alpha[0, : r.k] = logs[0] + r.first[0][:, lanes.sequence]
            continue
        before = alpha[step - 1].reshape(r.k, r.middle, 1, n)
        ahead = special.logsumexp(before + at(step, step < len(r.first)), axis=0)
        alpha[step] = np.maximum(ahead + logs[step], LOWEST).reshape(r.states, n)
    for step in range(lanes.steps - 1, 0, -1):
        after = beta[step].reshape(1, r.middle, r.k, n) + logs[step]
        back = special.logsumexp(at(step, step < len(r.first)) + after, axis=2)
        beta[step - 1] = np.where(lanes.valid[step], np.maximum(back.reshape(r.states, n), LOWEST), 0.0)
    last = lanes.length - 1
    total = special.logsumexp(alpha[last, :, np.arange(n)], axis=1)
    r.scale = np.zeros((lanes.steps, n))
    r.scale[0] = honest(total) - np.where(lanes.valid, r.top[lanes.rows], 0.0).sum(axis=0)
    belief = alpha + beta - total[None, None]
    top = np.take_along_axis(alpha, belief.argmax(axis=1)[:, None], axis=1)
    after = (beta.reshape(lanes.steps, r.middle, r.k, n) + logs[:, None]).reshape(beta.shape) - total + r.offset
    after[1:] += top[:-1]
    return tuple(np.exp(np.minimum(a, 700.0)) for a in (belief, alpha - top, after))
