"""Gaussian latents whose elements are tied to one another: along a chain, through what data point at, in a tree.

    log p(y)  =  <h, y> - 1/2 y' J y,     J sparse: an entry for every pair of elements that a term holds

Elements are put in an order that keeps tied ones close, and cut into blocks of neighbours, so that J is block
tridiagonal; odd blocks are eliminated all at once, then the odd ones of what is left (cyclic reduction, Golub and
Van Loan 2013, section 4.5.4). Of the covariance only what stands beside an entry of J is computed.
"""

# mypy: disable-error-code="no-any-return"
# (operators on arrays of any dtype, and all of scipy, are Any to mypy)

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from emdsl.runtime.columns import Array
from emdsl.runtime.faults import DataError
from emdsl.runtime.numerics import cholesky, inverse

LARGEST = 30_000_000  # entries of the blocks that a posterior may need


class Field:
    """Where the elements of a joint Gaussian stand among the blocks: found at the first call, the data's alone."""

    def __init__(self, families: Sequence[Sequence[tuple[int, int]]], counts: Sequence[int], names: str) -> None:
        """families : for each set of plates, (latent, length of its elements); counts : elements of each."""
        self.names = names
        self.first = np.cumsum([0, *counts])
        widths = [sum(d for _, d in family) for family in families]
        self.width = np.repeat(widths, counts).astype(np.int64)
        self.at: dict[int, tuple[int, int]] = {}  # latent -> (family, its place among the numbers of an element)
        for k, family in enumerate(families):
            start = 0
            for latent, d in family:
                self.at[latent] = (k, start)
                start += d
        self.ready = False

    def nodes(self, latent: int, elements: Any) -> Array:
        """The elements of one latent as numbers among those of all."""
        return np.asarray(elements, np.int64).ravel() + self.first[self.at[latent][0]]

    def settle(self, ties: Sequence[tuple[Array, Array]]) -> None:
        """Order the elements and cut them into blocks."""
        n = len(self.width)
        a = np.concatenate([np.zeros(0, np.int64), *(t[0] for t in ties)])
        b = np.concatenate([np.zeros(0, np.int64), *(t[1] for t in ties)])
        graph = sparse.csr_array((np.ones(len(a)), (a, b)), shape=(n, n))
        place = np.empty(n, np.int64)
        place[sparse.csgraph.reverse_cuthill_mckee((graph + graph.T).tocsr(), symmetric_mode=True)] = np.arange(n)
        natural = int(np.abs(a - b).max(initial=1))
        apart = max(1, int(np.abs(place[a] - place[b]).max(initial=1)))
        if natural <= apart:
            place, apart = np.arange(n), max(natural, 1)
        largest, total = int(self.width.max(initial=1)), int(self.width.sum())
        if 3 * n * (apart * largest) ** 2 * largest > total**3 or apart * 2 >= n:
            apart = n  # one dense block costs no more
        block = place // apart
        order = np.argsort(place)
        ends = np.cumsum(self.width[order]) - self.width[order]
        within = np.empty(n, np.int64)
        within[order] = ends - ends[np.searchsorted(block[order], block[order])]
        self.count = int(block.max(initial=0)) + 1
        self.size = int((within + self.width).max(initial=1))
        if self.count * self.size**2 > LARGEST:
            raise DataError(
                f"{self.names} are jointly Gaussian over {total} numbers, tied so that blocks of {self.size} hang "
                f"together: that is {self.count * self.size**2:.3g} entries (at most {LARGEST} are allowed)",
                hint="fewer elements, or fewer ties between them",
                code="D016",
            )
        # blocks that are not full are filled up with ones on the diagonal
        reach = np.zeros((self.count, self.size + 1), np.int64)
        np.add.at(reach, (block, within), 1)
        np.add.at(reach, (block, within + self.width), -1)
        self.full = np.cumsum(reach, axis=1)[:, : self.size] > 0
        self.block, self.within, self.ready = block, within, True

    def scalars(self, latent: int, nodes: Array, length: int) -> tuple[Array, Array]:
        """Block of each element, and place in it of each of its numbers."""
        inside = self.within[nodes][:, None] + self.at[latent][1] + np.arange(length)
        return self.block[nodes], inside


def gaussian_field(
    field: Field, linear: Sequence[Array], homes: Sequence[int], pieces: Sequence[tuple[int, int, Any, Any, Array]],
    seen: Sequence[tuple[int, Array, Array]] = (), parts: Parts | None = None,
) -> tuple[list[Array], list[Array], Any]:  # fmt: skip
    """Means of the latents, covariances beside every piece of J, the log-normaliser: of each part where there are some.

    linear : for each latent what multiplies it, (plates, own); `homes` says how many axes are plates.
    pieces : what multiplies products of two elements, (rows, own of a, own of b) with their numbers.
    seen : of latents that are data with gaps, their values, 0 where missing, and 1.0 where missing, (plates, own).
    """
    h, where, placed = field_pieces(field, linear, homes, pieces)
    m, w = h.shape
    diagonal, below = _assembled(field, placed)
    x, held = np.zeros((m, w)), np.zeros((m, w), bool)
    for latent, values, free in seen:
        block, inside = where[latent]
        x[block[:, None], inside] = in_rows(values, homes[latent])
        held[block[:, None], inside] = in_rows(free, homes[latent]) == 0
    fit, h = _clamped(diagonal, below, h, x, held)
    v, c, mean, log_det = tridiagonal_moments(diagonal, below, h)
    share = fit + 0.5 * (h * mean - log_det + (field.full & ~held) * math.log(2 * math.pi))
    mean = mean + x
    v[:, np.arange(w), np.arange(w)] -= held
    means = [mean[b[:, None], i].reshape(linear[k].shape) for k, (b, i) in enumerate(where)]
    covariances = [_between(field, v, c, p).reshape(np.shape(q[4])) for p, q in zip(placed, pieces, strict=True)]
    if parts is None:
        return means, covariances, float(share.sum())
    log_z = np.zeros(math.prod(parts.shape))
    for (block, inside), of in zip(where, parts.of, strict=True):
        log_z += np.bincount(np.ravel(of), share[block[:, None], inside].sum(1), len(log_z))
    return means, covariances, log_z.reshape(parts.shape)


class Parts(NamedTuple):
    """A field that falls apart: how many parts, by outer plates, and which one each element of a latent lies in."""

    shape: tuple[int, ...]
    of: Sequence[Array]


def gated_field(
    gates: tuple[int, ...], field: Field, linear: Sequence[Array], homes: Sequence[int],
    pieces: Sequence[tuple[int, int, Any, Any, Array]], seen: Sequence[tuple[int, Array, Array]] = (),
    parts: Parts | None = None,
) -> tuple[list[Array], list[Array], Array]:  # fmt: skip
    """`gaussian_field` for every state of the gates: the leading axes of what it takes and returns."""
    found = []
    for at in np.ndindex(*gates):
        given = [(a, b, at_a, at_b, value[at]) for a, b, at_a, at_b, value in pieces]
        found.append(gaussian_field(field, [h[at] for h in linear], homes, given, seen, parts))

    def stacked(arrays: Sequence[Any]) -> Array:
        return np.reshape(np.stack(arrays), (*gates, *np.shape(arrays[0])))

    means, covariances = ([stacked(a) for a in zip(*(f[n] for f in found), strict=True)] for n in (0, 1))
    return means, covariances, stacked([f[2] for f in found])


def field_pieces(
    field: Field, linear: Sequence[Array], homes: Sequence[int], pieces: Sequence[tuple[int, int, Any, Any, Array]]
) -> tuple[Array, list[tuple[Array, Array]], list[tuple[int, int, Array, Array, Array]]]:
    """The linear term by blocks, where each latent's numbers stand among these, and the pieces of J."""
    flat = [in_rows(h, k) for h, k in zip(linear, homes, strict=True)]
    placed = []
    for a, b, at_a, at_b, value in pieces:
        na, nb = field.nodes(a, at_a), field.nodes(b, at_b)
        placed.append((a, b, na, nb, np.reshape(value, (len(na), flat[a].shape[1], flat[b].shape[1]))))
    if not field.ready:
        field.settle([(na, nb) for _, _, na, nb, _ in placed])
    h = np.zeros((field.count, field.size))
    where = []
    for latent, f in enumerate(flat):
        nodes = field.nodes(latent, np.arange(len(f)))
        block, inside = field.scalars(latent, nodes, f.shape[1])
        where.append((block, inside))
        np.add.at(h, (block[:, None], inside), f)
    return h, where, placed


def _clamped(diagonal: Array, below: Array, h: Array, x: Array, held: Array) -> tuple[Any, Array]:
    """<h, x> - 1/2 x' J x of the numbers that are held at x, each number's share, and h of the others given these.

    J loses the rows and columns of what is held, in place: there it is 1 on the diagonal.
    """
    if not held.any():
        return 0.0, h
    jx = (diagonal @ x[..., None])[..., 0]
    jx[1:] += (below @ x[:-1, :, None])[..., 0]
    jx[:-1] += (below.swapaxes(1, 2) @ x[1:, :, None])[..., 0]
    diagonal[held] = 0.0
    diagonal.swapaxes(1, 2)[held] = 0.0
    diagonal[:, np.arange(h.shape[1]), np.arange(h.shape[1])] += held
    below[held[1:]] = 0.0
    below.swapaxes(1, 2)[held[:-1]] = 0.0
    return x * (h - 0.5 * jx), np.where(held, 0.0, h - jx)


def in_rows(a: Array, plates: int) -> Array:
    """(plates, own) as (elements, numbers)."""
    return np.reshape(a, (math.prod(a.shape[:plates]), math.prod(a.shape[plates:])))


def _assembled(field: Field, placed: Sequence[tuple[int, int, Array, Array, Array]]) -> tuple[Array, Array]:
    """The blocks of J on its diagonal (m, w, w), and those below it (m - 1, w, w)."""
    m, w = field.count, field.size
    diagonal, below = np.zeros(m * w * w), np.zeros((m - 1) * w * w)
    for a, b, na, nb, value in placed:
        ba, ia = field.scalars(a, na, value.shape[1])
        bb, ib = field.scalars(b, nb, value.shape[2])
        for same, target, block, swap in (
            (ba == bb, diagonal, ba, False), (ba == bb, diagonal, ba, True),
            (ba == bb + 1, below, bb, False), (bb == ba + 1, below, ba, True),
        ):  # fmt: skip
            if not same.any():
                continue
            rows, columns = (ib, ia) if swap else (ia, ib)
            part = value[same].swapaxes(1, 2) if swap else value[same]
            at = (block[same][:, None, None] * w + rows[same][:, :, None]) * w + columns[same][:, None, :]
            target -= np.bincount(at.ravel(), part.ravel(), len(target))
    blocks = diagonal.reshape(m, w, w)
    blocks[:, np.arange(w), np.arange(w)] += ~field.full
    return blocks, below.reshape(m - 1, w, w)


def _between(field: Field, v: Array, c: Array, p: tuple[int, int, Array, Array, Array]) -> Array:
    """Covariances of the pairs of a piece."""
    a, b, na, nb, value = p
    ba, ia = field.scalars(a, na, value.shape[1])
    bb, ib = field.scalars(b, nb, value.shape[2])
    out = np.zeros(value.shape)
    for same, source, block, swap in (
        (ba == bb, v, ba, False), (ba == bb + 1, c, bb, False), (bb == ba + 1, c, ba, True),
    ):  # fmt: skip
        if same.any():
            rows, columns = (ib, ia) if swap else (ia, ib)
            found = source[block[same][:, None, None], rows[same][:, :, None], columns[same][:, None, :]]
            out[same] = found.swapaxes(1, 2) if swap else found
    return out


def tridiagonal_moments(diagonal: Array, below: Array, h: Array) -> tuple[Array, Array, Array, Array]:
    """Of a Gaussian with block tridiagonal precision: covariances of each block (m, w, w), of each with the one
    before it (m - 1, w, w), means (m, w), and each number's share of log det of the precision (m, w).

    Odd blocks given their neighbours are independent: y_i | y_l, y_r ~ N(P (h - L y_l - R y_r), P), P = inv(J_ii).
    """
    if len(diagonal) == 1:
        low = cholesky(diagonal)
        v = inverse(low)
        return v, below, (v @ h[..., None])[..., 0], 2 * np.log(low.diagonal(0, 1, 2))
    low = cholesky(diagonal[1::2])
    p, k = inverse(low), len(low)
    left, right = below[0::2], below[1::2]
    n = len(right)  # odd blocks that have one after them
    to_left, to_right = p @ left, p[:n] @ right.swapaxes(1, 2)
    ph = (p @ h[1::2, :, None])[..., 0]
    rest, rest_h = diagonal[0::2].copy(), h[0::2].copy()
    rest[:k] -= left.swapaxes(1, 2) @ to_left
    rest[1 : 1 + n] -= right @ to_right
    rest_h[:k] -= (left.swapaxes(1, 2) @ ph[..., None])[..., 0]
    rest_h[1 : 1 + n] -= (right @ ph[:n, :, None])[..., 0]
    rest = 0.5 * (rest + rest.swapaxes(1, 2))
    ve, ce, me, log_det_even = tridiagonal_moments(rest, -(right @ to_left[:n]), rest_h)
    vl, vr = ve[:k], ve[1 : 1 + n]
    with_left = -(to_left @ vl)
    with_left[:n] -= to_right @ ce
    own = p + to_left @ vl @ to_left.swapaxes(1, 2)
    cross = to_right @ ce @ to_left[:n].swapaxes(1, 2)
    own[:n] += to_right @ vr @ to_right.swapaxes(1, 2) + cross + cross.swapaxes(1, 2)
    mean = ph - (to_left @ me[:k, :, None])[..., 0]
    mean[:n] -= (to_right @ me[1 : 1 + n, :, None])[..., 0]
    v, c, m = np.empty_like(diagonal), np.empty_like(below), np.empty_like(h)
    v[0::2], v[1::2], m[0::2], m[1::2] = ve, 0.5 * (own + own.swapaxes(1, 2)), me, mean
    c[0::2] = with_left
    c[1::2] = -(vr @ to_right.swapaxes(1, 2) + ce @ to_left[:n].swapaxes(1, 2))
    log_det = np.empty_like(h)
    log_det[0::2], log_det[1::2] = log_det_even, 2 * np.log(low.diagonal(0, 1, 2))
    return v, c, m, log_det
