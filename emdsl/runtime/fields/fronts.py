"""A joint Gaussian of which leaves are eliminated first (`leaves`): what they leave to the rest, and back again.

    y_s | y_N ~ N(P (h_s - B y_N), P),  P = inv(D);   D, B rows of J of a leaf: what it leaves is -B' P B and -B' P h_s

Going back, the covariances beside its row are -P B V_NN and P + P B V_NN B' P: of inv(J) what stands beside an entry,
and no more (Takahashi, Fagan and Chin 1973; many side by side, as in Duff and Reid 1983).
"""

# mypy: disable-error-code="no-any-return"
# (operators on arrays of any dtype are Any to mypy)

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from emdsl.runtime.data.columns import Array
from emdsl.runtime.fields.leaves import LeafOrder, Leaves
from emdsl.runtime.fields.reduction import LOST_TO_ROUNDING, tridiagonal_moments
from emdsl.runtime.numeric.numerics import Degenerate, cholesky, inverse

AT_A_TIME = 2**21  # entries of what leaves leave


def front_moments(order: LeafOrder, pieces: Array, h: Array) -> tuple[Array, Array, Array]:
    """Covariances at the places of J, means, and each number's share of log det.

    pieces : terms of J, -1/2 of it for both orders of two numbers of one place: (length + 1,); h : (total + 1,).
    """
    work, h, log_det = pieces.copy(), h.copy(), np.empty(order.total)
    left = np.zeros((order.size + 1) ** 2 if order.blocks == 1 else 0)
    known = [without_leaves(order, g, work, (left, h, log_det)) for g in order.leaves]
    if len(left):
        blocks_of_rest(order, work)[0][0] += left.reshape(order.size + 1, -1)[:-1, :-1]
    cov, first = work, order.first_of_rest
    shape = (order.blocks, order.size)
    diagonal, below = blocks_of_rest(order, work)
    diagonal, below = -(diagonal + diagonal.swapaxes(1, 2)), -below
    diagonal[:, np.arange(order.size), np.arange(order.size)] += ~order.full[first:].reshape(shape)
    v, c, mean, shares = tridiagonal_moments(diagonal, below, h[first:-1].reshape(shape))
    log_det[first:] = shares.ravel()
    cov[-1], h[first:-1] = 0.0, mean.ravel()
    for there, found in zip(blocks_of_rest(order, cov), (v, c), strict=True):
        there[:] = found
    rest = np.pad(v[0], (0, 1)).ravel() if order.blocks == 1 else v
    for g, ph in zip(reversed(order.leaves), reversed(known), strict=True):
        leaves_given_rest(order, g, (cov, rest), h, ph)
    return cov, h[:-1], log_det


def blocks_of_rest(order: LeafOrder, flat: Array) -> tuple[Array, Array]:
    """The blocks of the rest in an array of all entries: those on the diagonal, those below."""
    m, w = order.blocks, order.size
    return (flat[order.rest_at : order.below_at].reshape(m, w, w), flat[order.below_at : -1].reshape(m - 1, w, w))


def rows_of_leaves(g: Leaves, flat: Array, some: slice) -> tuple[Array, Array]:
    """Rows of leaves in an array of all entries: their own, and those beside."""
    w, n = g.width, g.beside.shape[1]
    rows = flat[g.at : g.at + g.many * w * (w + n)].reshape(g.many, w, w + n)[some]
    return rows[:, :, :w], rows[:, :, w:]


def leaves_at_a_time(g: Leaves) -> Iterator[slice]:
    """Leaves in pieces, unless they share what they are tied to."""
    step = g.many if len(g.beside) < g.many else max(1, AT_A_TIME // max(1, g.beside.shape[1] ** 2))
    return (slice(i, min(i + step, g.many)) for i in range(0, g.many, step))


def slots_of_leaves(order: LeafOrder, g: Leaves, some: slice) -> Array:
    """Where what leaves leave goes: entries of all, or of the one block of the rest with a row for what is none."""
    shared = len(g.beside) < g.many
    if g.slots is not None:
        return g.slots if shared else g.slots[some]
    beside = (g.beside if shared else g.beside[some]) - order.first_of_rest
    return beside[:, :, None] * (order.size + 1) + beside[:, None, :]


def without_leaves(order: LeafOrder, g: Leaves, work: Array, others: tuple[Array, Array, Array]) -> Array:
    """Takes leaves out of J and h, in place: P and P B stand where their rows were. P h of them, (many, width).

    others : what leaves leave to the one block of the rest, h, and log det.
    """
    of_rest, h, log_det = others
    numbers = slice(g.start, g.start + g.many * g.width)
    own_h, out = h[numbers].reshape(g.many, g.width), np.empty((g.many, g.width))
    shares = log_det[numbers].reshape(g.many, g.width)
    left_h = np.zeros(len(h))
    for some in leaves_at_a_time(g):
        d, b = rows_of_leaves(g, work, some)
        p, shares[some] = inverse_of_leaves(-(d + d.swapaxes(1, 2)))
        beside = -b
        b[:] = p @ beside
        d[:] = p
        out[some] = (p @ own_h[some, :, None])[..., 0]
        if len(g.beside) < g.many:
            n = g.beside.shape[1]
            left = (b.reshape(g.many * g.width, n).T @ beside.reshape(g.many * g.width, n))[None]
            left_h[g.beside[0]] += b.reshape(g.many * g.width, n).T @ own_h[some].ravel()
        else:
            left = b.swapaxes(1, 2) @ beside
            left_h += np.bincount(g.beside[some].ravel(), (own_h[some, None, :] @ b)[:, 0].ravel(), len(h))
        to = of_rest if g.slots is None else work
        np.add.at(to, slots_of_leaves(order, g, some).ravel(), 0.5 * left.ravel())
    h[:-1] -= left_h[:-1]
    return out


def inverse_of_leaves(d: Array) -> tuple[Array, Array]:
    """Inverses of precisions (many, w, w), and each number's share of log det."""
    if d.shape[1] == 1:
        if not (d > 0).all():
            raise Degenerate([], LOST_TO_ROUNDING)
        return 1 / d, np.log(d[:, 0])
    low = cholesky(d, LOST_TO_ROUNDING)
    return inverse(low), 2 * np.log(low.diagonal(0, 1, 2))


def leaves_given_rest(order: LeafOrder, g: Leaves, known: tuple[Array, Array], mean: Array, ph: Array) -> None:
    """Puts means of leaves where h was, and covariances where P and P B were, given those of what goes later."""
    numbers = slice(g.start, g.start + g.many * g.width)
    own_mean = mean[numbers].reshape(g.many, g.width)
    (cov, rest), mean[-1] = known, 0.0
    for some in leaves_at_a_time(g):
        p, b = rows_of_leaves(g, cov, some)
        around = (rest if g.slots is None else cov)[slots_of_leaves(order, g, some)]
        if len(g.beside) < g.many:
            n = g.beside.shape[1]
            own_mean[some] = ph[some] - b @ mean[g.beside[0]]
            with_rest = (b.reshape(g.many * g.width, n) @ around[0]).reshape(b.shape)
        else:
            own_mean[some] = ph[some] - (b @ mean[g.beside[some]][..., None])[..., 0]
            with_rest = b @ around
        found = p + with_rest @ b.swapaxes(1, 2)
        p[:] = 0.5 * (found + found.swapaxes(1, 2))
        b[:] = -with_rest


def through_fronts(order: LeafOrder, pieces: Array, x: Array) -> Array:
    """J x, by the terms of J as `front_moments` takes them: (total,)."""
    x, out = np.append(x, 0.0), np.zeros(order.total + 1)
    for g in order.leaves:
        numbers, every = slice(g.start, g.start + g.many * g.width), slice(0, g.many)
        d, b = rows_of_leaves(g, pieces, every)
        own = x[numbers].reshape(g.many, g.width, 1)
        beside = x[np.broadcast_to(g.beside, (g.many, g.beside.shape[1]))][..., None]
        out[numbers] -= (d @ own + d.swapaxes(1, 2) @ own + b @ beside).ravel()
        given = (own.swapaxes(1, 2) @ b)[:, 0]
        if len(g.beside) < g.many:
            out[g.beside[0]] -= given.sum(0)
        else:
            out -= np.bincount(g.beside.ravel(), given.ravel(), len(out))
    diagonal, below = blocks_of_rest(order, pieces)
    shape = (order.blocks, order.size, 1)
    rest = x[order.first_of_rest : -1].reshape(shape)
    found = -(diagonal @ rest + diagonal.swapaxes(1, 2) @ rest)
    found[1:] -= below @ rest[:-1]
    found[:-1] -= below.swapaxes(1, 2) @ rest[1:]
    out[order.first_of_rest : -1] += (
        found[..., 0] + ~order.full[order.first_of_rest :].reshape(shape[:2]) * rest[..., 0]
    ).ravel()
    return out[:-1]
