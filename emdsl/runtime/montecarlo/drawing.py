"""Draws from the posteriors that elimination finds: families, discrete tables, chains, joint Gaussians."""

# mypy: disable-error-code="no-any-return"
# (operators on arrays of any dtype, and all of scipy, are Any to mypy)

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy

from emdsl.runtime.data.columns import Array
from emdsl.runtime.data.faults import DataError
from emdsl.runtime.discrete.lanes import Lanes
from emdsl.runtime.discrete.networks import Network, drawn_network
from emdsl.runtime.fields.elements import Field
from emdsl.runtime.fields.fields import assembled, field_pieces
from emdsl.runtime.fields.kinds import every_row
from emdsl.runtime.fields.reduction import halved
from emdsl.runtime.montecarlo.kernels import new_tuner, slice_kernel
from emdsl.runtime.numeric.cut_normals import hardly_normal, two_sides
from emdsl.runtime.numeric.numerics import cholesky

Rng = np.random.Generator


def draw_states(q: Array, states: int, rng: Rng) -> Array:
    """Flat states from probabilities (*states, *plates), by inversion: (*plates)."""
    plates = q.shape[states:]
    up_to = np.cumsum(q.reshape(-1, *plates), axis=0)
    level = rng.uniform(size=plates) * up_to[-1]
    return np.minimum((up_to <= level).sum(0), len(up_to) - 1)


def draw_chains(
    q: Array, edge: Array, to: Array, lanes: tuple[Lanes, Lanes], shape: tuple[int, int], rng: Rng,
    first: Sequence[Array] = (),
) -> Array:  # fmt: skip
    """Flat states of chains (*home), one element after the other, all sequences side by side.

    q : (*states, *home) probabilities. edge, to : whose product is the probability of an element's state after the L
    before it, (*before, *states) and (*before but the oldest, *states, *home). `shape` is the number of axes of states,
    and L. first[r], where L > 1 : joint probabilities of position r < L and of those before it, (*before, *states,
    *outer).
    """
    n, depth = shape
    home = q.shape[n:]
    k = int(np.prod(q.shape[:n]))
    rows, middle = int(np.prod(home)), k ** (depth - 1)
    flat_q, flat_to = q.reshape(k, rows), to.reshape(middle, k, rows)
    flat_edge = edge.reshape(k * middle, k, -1)
    out = np.zeros(rows, np.int64)
    level = rng.uniform(size=rows)
    starts, lengths, sequence = lanes[0].start, lanes[0].length, lanes[0].sequence  # the longest first
    for t in range(int(lengths.max(initial=0))):
        at = starts[: int((lengths > t).sum())] + t
        past = sum((out[at - j] * k ** (j - 1) for j in range(1, min(t, depth) + 1)), np.zeros(len(at), np.int64))
        if t == 0:
            p = flat_q[:, at]
        elif t < depth:  # what lies before a sequence begins is summed over
            p = first[t].reshape(k ** (depth - t), k**t, k, -1).sum(0)[past, :, sequence[: len(at)]].T
        else:
            tie = flat_edge[past, :, at] if flat_edge.shape[2] > 1 else flat_edge[past, :, 0]
            p = (tie * flat_to[past % middle, :, at]).T
        up_to = np.cumsum(p, axis=0)
        out[at] = np.minimum((up_to <= level[at] * up_to[-1]).sum(0), k - 1)
    return out.reshape(home)


def draw_gaussian(means: Sequence[Array], covs: Sequence[Sequence[Array]], own: Sequence[int], rng: Rng) -> list[Array]:
    """Jointly Gaussian latents of each element: means (rows, plates), covariances of pairs (rows, columns, plates)."""
    plates = means[0].shape[own[0] :]
    r = math.prod(plates)
    sizes = [math.prod(m.shape[:n]) for m, n in zip(means, own, strict=True)]
    ends = np.cumsum([0, *sizes])
    whole = np.zeros((r, ends[-1], ends[-1]))
    for i, row in enumerate(covs):
        for j, part in enumerate(row, i):
            block = np.moveaxis(np.reshape(part, (sizes[i], sizes[j], r)), 2, 0)
            whole[:, ends[i] : ends[i + 1], ends[j] : ends[j + 1]] = block
            whole[:, ends[j] : ends[j + 1], ends[i] : ends[i + 1]] = block.swapaxes(1, 2)
    noise = (cholesky(whole) @ rng.normal(size=(r, ends[-1], 1)))[..., 0].T
    return [m + noise[ends[k] : ends[k + 1]].reshape(m.shape) for k, m in enumerate(means)]


def draw_Normal(mean: Any, var: Any, rng: Rng) -> Array:
    return mean + np.sqrt(np.maximum(var, 0.0)) * rng.normal(size=np.shape(mean))


def draw_cut_normal(id: Any, square: Any, lower: Any, upper: Any, rng: Rng) -> Array:
    """exp(id * u + square * u^2) between two bounds, a Normal, by inversion in logarithms; outside of them where they
    are exchanged. Where it hardly changes between them, or grows with u^2, by rejection."""
    apart = np.greater(lower, upper)
    near = hardly_normal(id, square, lower, upper) & ~apart
    var = -0.5 / np.where(near, np.minimum(square, -1.0), square)
    mean, sd, uniform = id * var, np.sqrt(var), rng.uniform(size=np.shape(id))
    low, high = np.where(apart, -np.inf, lower), np.asarray(upper)
    if apart.any():
        below = scipy.special.log_ndtr((upper - mean) / sd)
        beyond = scipy.special.log_ndtr((mean - lower) / sd)
        above = apart & (rng.uniform(size=np.shape(mean)) < scipy.special.expit(beyond - below))
        low, high = np.where(above, lower, low), np.where(above, np.inf, high)
    flipped = low - mean > mean - high  # the tail that holds the interval is turned to the left
    a, b = (low - mean) / sd, (high - mean) / sd
    log_a, log_b = (scipy.special.log_ndtr(t) for t in (np.where(flipped, -b, a), np.where(flipped, -a, b)))
    t = scipy.special.ndtri_exp(log_b + np.log(uniform + (1 - uniform) * np.exp(log_a - log_b)))
    out = np.array(np.clip(mean + np.where(flipped, -1.0, 1.0) * sd * t, low, high))
    if near.any():
        rows = [np.broadcast_to(a, near.shape)[near] for a in (id, square, lower, upper)]
        out[near] = _by_chords(rng, *rows)
    return out


def _by_chords(rng: Rng, id: Array, square: Array, lower: Array, upper: Array) -> Array:
    """Draws between two bounds, (n,): a side at random, from its end inward an Exponential under the chord of the log
    density, above which that is nowhere by more than a quarter of its bend; kept as often as the density is below it.
    What grows with u^2, however steeply, is kept every second time at the least."""
    ends, length, slope = two_sides(id, square, lower, upper)
    chord = slope + square * length  # the slope of the chord
    over = np.maximum(-square, 0.0) * length**2 / 4
    level = id * ends + square * ends**2 + over
    with np.errstate(all="ignore"):  # a side may have no length
        log = level + np.log(length * scipy.special.exprel(chord * length))
    second = scipy.special.expit(log[1] - log[0])
    out, todo = np.zeros(len(id)), np.arange(len(id))
    while todo.size:
        side = (rng.uniform(size=todo.size) < second[todo]).astype(int)
        end, far, tilt, steep = (a[side, todo] for a in (ends, length, chord, slope))
        u = rng.uniform(size=todo.size)
        fallen = tilt * far
        with np.errstate(all="ignore"):
            inward = far * np.where(np.abs(fallen) < 1e-9, u, np.log1p(u * np.expm1(fallen)) / fallen)
        below = (steep - tilt) * inward + square[todo] * inward**2 - over[side, todo]
        kept = np.log(rng.uniform(size=todo.size)) < below
        out[todo[kept]], todo = (end + (1 - 2 * side) * inward)[kept], todo[~kept]
    return out


def draw_LogNormal(mean: Any, var: Any, rng: Rng) -> Array:
    return np.exp(draw_Normal(mean, var, rng))


def draw_Gamma(shape: Any, rate: Any, rng: Rng) -> Array:
    return np.maximum(rng.gamma(shape) / rate, 1e-300)


def draw_InverseGamma(shape: Any, scale: Any, rng: Rng) -> Array:
    return scale / np.maximum(rng.gamma(shape), 1e-300)


def draw_Beta(a: Any, b: Any, rng: Rng) -> Array:
    return np.clip(rng.beta(a, b), 1e-300, 1 - 1e-16)


def draw_Dirichlet(concentration: Array, rng: Rng) -> Array:
    """Probabilities along the first axis. In logs, so that small concentrations leave no row of zeros."""
    log = np.log(rng.gamma(concentration + 1.0)) + np.log(rng.uniform(size=concentration.shape)) / concentration
    p = np.exp(log - log.max(0))
    return np.maximum(p / p.sum(0), 1e-300)


def draw_VonMises(mean: Any, concentration: Any, rng: Rng) -> Array:
    return rng.vonmises(mean, concentration)


def draw_InverseGaussian(p: Any, a: Any, b: Any, rng: Rng) -> Array:
    """Generalised inverse Gaussian, density x^(p-1) exp(-(a x + b / x) / 2): by slices in log x from its mode.

    A slice from the mode is no independent draw; repeated, it is one to within what a sampler's thinning leaves.
    """
    p, a, b = np.broadcast_arrays(p, a, b)
    flat = [np.ravel(v)[None] for v in (p, a, b)]

    def density(t: Array) -> Array:
        return (flat[0] * t - 0.5 * (flat[1] * np.exp(t) + flat[2] * np.exp(-t)))[0]

    t = np.log((flat[0] - 1 + np.sqrt((flat[0] - 1) ** 2 + flat[1] * flat[2])) / flat[1])
    tuner = new_tuner(t)
    for _ in range(12):
        t = slice_kernel(density, None, t, tuner, rng)
    return np.exp(t).reshape(p.shape)


def draw_Wishart(df: Array, scale: Array, rng: Rng) -> Array:
    """Bartlett's decomposition: scale (d, d, *plates), df (*plates)."""
    d, plates = scale.shape[0], scale.shape[2:]
    low = cholesky(np.moveaxis(scale.reshape(d, d, -1), 2, 0))
    a = np.tril(rng.normal(size=low.shape), -1)
    degrees = np.reshape(np.broadcast_to(df, plates), (-1, 1)) - np.arange(d)
    a[:, np.arange(d), np.arange(d)] = np.sqrt(rng.chisquare(degrees))
    root = low @ a
    return np.moveaxis(root @ root.swapaxes(1, 2), 0, 2).reshape(scale.shape)


def draw_InverseWishart(df: Array, scale: Array, rng: Rng) -> Array:
    """The inverse of a Wishart draw whose scale is the inverse of this one."""
    d = scale.shape[0]
    flat = np.moveaxis(scale.reshape(d, d, -1), 2, 0)
    inverse = np.moveaxis(np.linalg.inv(flat), 0, 2).reshape(scale.shape)
    drawn = np.moveaxis(draw_Wishart(df, inverse, rng).reshape(d, d, -1), 2, 0)
    return np.moveaxis(np.linalg.inv(drawn), 0, 2).reshape(scale.shape)


def draw_field(
    field: Field, linear: Sequence[Array], homes: Sequence[int], pieces: Sequence[tuple[int, int, Any, Any, Array]],
    rng: Rng,
) -> list[Array]:  # fmt: skip
    """Jointly Gaussian latents whose elements are tied, given as `gaussian_field` takes them: each (plates, own)."""
    h, where, values = field_pieces(field, linear, homes, pieces)
    diagonal, below = assembled(field, [every_row(a) for a in values])
    drawn = tridiagonal_draw(diagonal, below, h, rng)
    return [drawn[at].reshape(np.shape(linear[k])) for k, at in enumerate(where)]


def tridiagonal_draw(diagonal: Array, below: Array, h: Array, rng: Rng) -> Array:
    """A draw from the Gaussian of `tridiagonal_moments`: the even blocks, then each odd one given its neighbours."""
    alone = len(diagonal) == 1
    low = cholesky(diagonal[0 if alone else 1 :: 2])
    root = np.linalg.inv(low)
    up = root.swapaxes(1, 2)
    if alone:
        return (up @ (root @ h[..., None] + rng.normal(size=(*h.shape, 1))))[..., 0]
    half = halved(diagonal, below, h, up @ root)
    out = np.empty_like(h)
    out[0::2] = even = tridiagonal_draw(half.diagonal, half.below, half.h, rng)
    out[1::2] = half.odd(even) + (up @ rng.normal(size=(*half.ph.shape, 1)))[..., 0]
    return out


EXACT_WIDTH = 6  # of a network that is drawn jointly, beside forests
EXACT_ELEMENTS = 400


def draw_network(
    network: tuple[Network, Mapping[str, tuple[int, ...]]], tables: Sequence[Array], now: Mapping[str, Array], rng: Rng
) -> dict[str, Array]:
    """States of the latents of a network, (*home): jointly by elimination; where it ties too much, each element in
    turn given the others, elements that no clique ties side by side (Gonzalez et al. 2011)."""
    net, shapes = network
    flat = [t.reshape(*t.shape[: m.shape[1]], -1) for t, m in zip(tables, net.members, strict=True)]
    if not hasattr(net, "kinds") and net.colours is None:
        net.colours = _colours(net)
    if net.colours is None:
        state = drawn_network(net, flat, rng)
    else:
        state = np.concatenate([np.ravel(now[n]) for n in net.levels])
        state = _sweep_of_colours(net, flat, state, rng)
    return {n: state[net.first[n] : net.first[n] + c].reshape(shapes[n]) for n, (_, c) in net.levels.items()}


def _colours(net: Network) -> list[Array] | None:
    """Sets of elements of which no clique ties two; None where all can be drawn jointly."""
    n = len(net.states)
    try:
        if n <= EXACT_ELEMENTS or all(m.shape[1] <= 2 for m in net.members):
            net._order(n)
            if net.forest or (n <= EXACT_ELEMENTS and net.width <= EXACT_WIDTH):
                return None
    except DataError:
        pass
    tied: list[set[int]] = [set() for _ in range(n)]
    for members in net.members:
        for row in members.tolist():
            for v in row:
                tied[v].update(row)
    colour = np.full(n, -1)
    for v in range(n):
        taken = {int(colour[u]) for u in tied[v] if u != v}
        colour[v] = next(c for c in range(len(taken) + 1) if c not in taken)
    return [np.flatnonzero(colour == c) for c in range(int(colour.max(initial=-1)) + 1)]


def _sweep_of_colours(net: Network, tables: Sequence[Array], state: Array, rng: Rng) -> Array:
    state, k = state.copy(), int(net.states.max(initial=1))
    for elements in net.colours or ():
        mine = np.zeros(len(state), bool)
        mine[elements] = True
        log = np.where(np.arange(k)[:, None] < net.states, 0.0, -np.inf)
        for table, members, rows in zip(tables, net.members, net.rows, strict=True):
            for place in range(members.shape[1]):
                at = np.flatnonzero(mine[members[:, place]])
                if place:  # an element in two places of a row counts once
                    at = at[(members[at, :place] != members[at, place : place + 1]).all(1)]
                v = members[at, place]
                for own in range(table.shape[place]):
                    index = [
                        np.where(members[at, q] == v, min(own, table.shape[q] - 1), state[members[at, q]])
                        for q in range(members.shape[1])
                    ]
                    np.add.at(log[own], v, table[(*index, rows[at])])
        own_log = log[:, elements]
        p = np.exp(own_log - own_log.max(0))
        state[elements] = draw_states(p, 1, rng)
    return state
