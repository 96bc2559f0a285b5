"""Joint Gaussians with exact linear constraints: blocks of K = [[J, C'], [C, -W]], symmetric but no precision.

    log int exp(<h, y> - 1/2 y' J y) delta(C y - a) dy  =  1/2 <(h, a), inv(K) (h, a)> - 1/2 log |det K| + const

Of inv(K) the part beside J is the covariance of y. What eliminates precisions (`fields`) eliminates K, odd blocks side
by side: a block is regular where its own numbers have noise once the others are held, whatever J and C alone are, and
what is left of C turns into constraints with a noise, W (saddle point systems: Benzi, Golub and Liesen 2005).
"""

# mypy: disable-error-code="no-any-return"
# (operators on arrays of any dtype, and all of scipy, are Any to mypy)

from __future__ import annotations

import numpy as np

from emdsl.runtime.data.columns import Array

BALANCES = 4  # rounds of scaling to entries near 1


def constrained_moments(diagonal: Array, below: Array, h: Array) -> tuple[Array, Array, Array, Array]:
    """What `tridiagonal_moments` returns, for K: blocks of its inverse, inv(K) h, shares of log |det K|."""
    if not below.any():  # one block, or untied ones
        p, log_det = inverse_of(diagonal)
        return p, below, (p @ h[..., None])[..., 0], log_det
    p, odd = inverse_of(diagonal[1::2])
    left, right, k = below[0::2], below[1::2], len(p)
    n = len(right)  # odd blocks that have one after them
    to_left, to_right = p @ left, p[:n] @ right.swapaxes(1, 2)
    ph = (p @ h[1::2, :, None])[..., 0]
    rest, rest_h = diagonal[0::2].copy(), h[0::2].copy()
    rest[:k] -= left.swapaxes(1, 2) @ to_left
    rest[1 : 1 + n] -= right @ to_right
    rest_h[:k] -= (left.swapaxes(1, 2) @ ph[..., None])[..., 0]
    rest_h[1 : 1 + n] -= (right @ ph[:n, :, None])[..., 0]
    rest = 0.5 * (rest + rest.swapaxes(1, 2))
    ve, ce, me, even = constrained_moments(rest, -(right @ to_left[:n]), rest_h)
    vl, vr = ve[:k], ve[1 : 1 + n]
    with_left = -(to_left @ vl)
    with_left[:n] -= to_right @ ce
    own = p + to_left @ vl @ to_left.swapaxes(1, 2)
    cross = to_right @ ce @ to_left[:n].swapaxes(1, 2)
    own[:n] += to_right @ vr @ to_right.swapaxes(1, 2) + cross + cross.swapaxes(1, 2)
    mean = ph - (to_left @ me[:k, :, None])[..., 0]
    mean[:n] -= (to_right @ me[1 : 1 + n, :, None])[..., 0]
    v, c, m, log_det = np.empty_like(diagonal), np.empty_like(below), np.empty_like(h), np.empty_like(h)
    v[0::2], v[1::2], m[0::2], m[1::2] = ve, 0.5 * (own + own.swapaxes(1, 2)), me, mean
    c[0::2] = with_left
    c[1::2] = -(vr @ to_right.swapaxes(1, 2) + ce @ to_left[:n].swapaxes(1, 2))
    log_det[0::2], log_det[1::2] = even, odd
    return v, c, m, log_det


def inverse_of(k: Array) -> tuple[Array, Array]:
    """Inverses of symmetric matrices (m, w, w), and each number's share of log |det| (m, w)."""
    size = np.abs(k)
    unit = np.ones(k.shape[:2])
    for _ in range(BALANCES):
        largest = np.sqrt((size * unit[:, :, None] * unit[:, None, :]).max(2))
        unit = unit / np.where(largest > 0, largest, 1.0)
    scaled = k * unit[:, :, None] * unit[:, None, :]
    inverse = np.linalg.inv(scaled)
    inverse = 0.5 * (inverse + inverse.swapaxes(1, 2)) * unit[:, :, None] * unit[:, None, :]
    return inverse, log_pivots(scaled) - 2 * np.log(unit)


def log_pivots(a: Array) -> Array:
    """log |pivot| of each column by Gaussian elimination with rows exchanged: numbers that nothing ties share none."""
    a, (m, w, _), rows = a.copy(), a.shape, np.arange(len(a))
    out = np.empty((m, w))
    for k in range(w):
        at = k + np.abs(a[:, k:, k]).argmax(1)
        a[rows, k], a[rows, at] = a[rows, at], a[rows, k].copy()
        pivot = a[:, k, k]
        out[:, k] = np.log(np.abs(pivot))
        a[:, k + 1 :] -= (a[:, k + 1 :, k] / pivot[:, None])[..., None] * a[:, k, None]
    return out
