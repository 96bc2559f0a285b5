"""Normal equations of several tensors, of which some are vectors that sum to 0.

H v = g + l, with one number l for all elements of such a vector, the multiplier of its sum.
"""

# mypy: disable-error-code="no-any-return"
# (operators on arrays of any dtype, and all of scipy, are Any to mypy)

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from emdsl.runtime.data.columns import Array
from emdsl.runtime.numeric.numerics import finite
from emdsl.runtime.numeric.updates import nearest, solve_normal


def solve_centred(
    left: Sequence[Sequence[Array]],
    right: Sequence[Array],
    name: str,
    old: Sequence[Array],
    policy: str,
    lengths: Sequence[int],
) -> list[Array]:
    """The unknowns of each tensor: (..., p_i).

    left : blocks (..., p_i, p_j); one that is a diagonal may be that alone, (..., p_i). right, old : (..., p_i).
    lengths : K for each tensor that is vectors of K numbers, one after the other, that sum to 0; else 0.
    """
    levels = [k for k, g in enumerate(right) if left[k][k].ndim == g.ndim]
    if levels:
        found = _without(max(levels, key=lambda k: right[k].shape[-1]), left, right, old, lengths)
        if found is not None:
            return found
    ends = np.cumsum([0, *(g.shape[-1] for g in right)])
    h = np.concatenate([np.concatenate([full(a, right[i]) for a in row], -1) for i, row in enumerate(left)], -2)
    centred = [(ends[i], ends[i + 1], k) for i, k in enumerate(lengths) if k]
    v = solve_normal(_regular(h, centred), less_means(np.concatenate(right, -1), centred), name,
                     np.concatenate(old, -1), policy)  # fmt: skip
    return np.split(less_means(v, centred), ends[1:-1], -1)


def full(block: Array, right: Array) -> Array:
    """A block as a matrix, where it may be a diagonal."""
    return block[..., None] * np.eye(block.shape[-1]) if block.ndim == right.ndim else block


def _without(
    n: int, left: Sequence[Sequence[Array]], right: Sequence[Array], old: Sequence[Array], lengths: Sequence[int]
) -> list[Array] | None:
    """Tensor n, whose block is a diagonal D, is put into the equations of the others. None where nothing is left of it.

    D v + B r = g + l gives v = W (g - B r), where W divides by D and then takes off what the sum is too much.
    """
    weights, k = left[n][n], lengths[n]
    if not finite(weights) or not (weights > 0).any(-1).all():
        return None
    others = [i for i in range(len(right)) if i != n]
    if not others:
        return [_summing(_divided(right[n], weights, k), weights, k, old[n])]
    ends = np.cumsum([0, *(right[i].shape[-1] for i in others)])
    b = np.concatenate([left[n][i] for i in others], -1)
    h = np.concatenate([np.concatenate([full(left[i][j], right[i]) for j in others], -1) for i in others], -2)
    g = np.concatenate([right[i] for i in others], -1)
    across = np.swapaxes(b, -1, -2)
    share = np.swapaxes(_divided(across, weights[..., None, :], k), -1, -2)
    centred = [(ends[at], ends[at + 1], lengths[i]) for at, i in enumerate(others) if lengths[i]]
    whole, rest = _regular(h, centred), _regular(h - across @ share, centred, h)
    moved = less_means(g - (across @ _divided(right[n], weights, k)[..., None])[..., 0], centred)
    diagonal = whole.diagonal(0, -2, -1)
    if not finite(rest) or not (diagonal > 0).all():
        return None
    before = np.concatenate([old[i] for i in others], -1)
    # differences of what the whole measures: what is left of them may be rounding
    r = less_means(nearest(rest, moved, 1 / np.sqrt(diagonal), before, least=1e-9, lost=1e-9), centred)
    out = np.split(r, ends[1:-1], -1)
    v = _divided(right[n] - (b @ r[..., None])[..., 0], weights, k)
    out.insert(n, _summing(v, weights, k, old[n]))
    return out


def _divided(g: Array, weights: Array, k: int) -> Array:
    """The v for which `weights v = g + l`; with k, l is such that vectors of k numbers sum to 0, else it is 0.

    An element without weight is 0 here; it takes up what the others of its vector sum to, whose l is 0.
    """
    seen = weights > 0
    shares = np.where(seen, 1 / np.where(seen, weights, 1.0), 0.0)
    v = g * shares
    if not k:
        return v
    parts = v.reshape(*v.shape[:-1], -1, k)
    shares = np.broadcast_to(shares, v.shape).reshape(parts.shape)
    whole = (shares > 0).all(-1, keepdims=True)
    off = np.where(whole, parts.sum(-1, keepdims=True) / np.where(whole, shares.sum(-1, keepdims=True), 1.0), 0.0)
    return (parts - shares * off).reshape(v.shape)


def _summing(v: Array, weights: Array, k: int, old: Array) -> Array:
    """With elements that have no weight as near to their old values as the sums of vectors of k numbers let them."""
    free = np.broadcast_to(~(weights > 0), v.shape)
    v = np.where(free, old, v)
    if not k:
        return v
    parts, free = v.reshape(*v.shape[:-1], -1, k), free.reshape(*v.shape[:-1], -1, k)
    takes = np.where(free.any(-1, keepdims=True), free, True)
    off = parts.sum(-1, keepdims=True) / takes.sum(-1, keepdims=True)
    return (parts - takes * off).reshape(v.shape)


def _regular(left: Array, centred: Sequence[tuple[int, int, int]], like: Array | None = None) -> Array:
    """P H P, with P that takes means off; the means, which are 0, get equations of their own as large as the others.

    With it P H P v = P g on vectors that sum to 0, and it is as regular as H is there. `like` : what measures the size.
    """
    sizes = (left if like is None else like).diagonal(0, -2, -1)
    left = less_means(less_means(left, centred).swapaxes(-1, -2), centred)
    for first, end, k in centred:
        at = np.arange(first, end).reshape(-1, k)
        left[..., at[:, :, None], at[:, None, :]] += sizes[..., at].mean(-1)[..., None, None] / k
    return left


def less_means(v: Array, centred: Sequence[tuple[int, int, int]]) -> Array:
    """A copy, without the means of the vectors of k numbers that lie from first to end of its last axis."""
    v = np.array(v, float)
    for first, end, k in centred:
        part = v[..., first:end].reshape(*v.shape[:-1], -1, k)
        v[..., first:end] -= np.repeat(part.mean(-1), k, -1)
    return v
