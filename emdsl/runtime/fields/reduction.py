"""Gaussians whose precision is block tridiagonal, by cyclic reduction (Golub and Van Loan 2013, section 4.5.4)."""

# mypy: disable-error-code="no-any-return"
# (operators on arrays of any dtype, and all of scipy, are Any to mypy)

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy

from emdsl.runtime.data.columns import Array
from emdsl.runtime.numeric.numerics import cholesky, inverse

ONE_BY_ONE = 128  # numbers in a block, from which on LAPACK is called for each
LOST_TO_ROUNDING = (  # each covariance is one, or its own factor would have said so
    "rounding leaves nothing of the precision of latents that are tied: a noise of theirs is nearly singular, or tiny "
    "beside another; as a latent of its own, `latent e[t] ~ MvNormal(m, Q)`, `x[t] ~ Delta(A @ x[t-1] + e[t])`, it may"
)


def inverse_of_precision(diagonal: Array) -> tuple[Array, Array]:
    """Inverses of positive definite matrices (m, w, w), and each number's share of log det (m, w)."""
    low = cholesky(diagonal, LOST_TO_ROUNDING)
    found = inverse(low) if diagonal.shape[1] < ONE_BY_ONE else np.stack([inverse_of_wide(one) for one in low])
    return found, 2 * np.log(low.diagonal(0, 1, 2))


def inverse_of_wide(low: Array) -> Array:
    """The inverse of one matrix from its Cholesky factor, in a sixth of the operations of a general one."""
    half = np.tril(scipy.linalg.lapack.dpotri(low, lower=1)[0])
    return half + np.tril(half, -1).T


class Halved(NamedTuple):
    """Every second block of a Gaussian with block tridiagonal precision, as `diagonal`, `below` and `h` of one again.

    The odd blocks, between them, are independent given these: y_i | y_l, y_r ~ N(ph - to_left y_l - to_right y_r, P),
    P = inv(J_ii), ph = P h.
    """

    to_left: Array
    to_right: Array
    ph: Array
    diagonal: Array
    below: Array
    h: Array

    def odd(self, even: Array) -> Array:
        """The means of the odd blocks where the even ones are these: (k, w)."""
        k, n = len(self.to_left), len(self.to_right)
        mean = self.ph - (self.to_left @ even[:k, :, None])[..., 0]
        mean[:n] -= (self.to_right @ even[1 : 1 + n, :, None])[..., 0]
        return mean


def halved(diagonal: Array, below: Array, h: Array, p: Array) -> Halved:
    """One step of the reduction, `p` the inverses of the odd blocks of the diagonal."""
    left, right, k = below[0::2], below[1::2], len(p)
    n = len(right)  # odd blocks that have one after them
    to_left, to_right = p @ left, p[:n] @ right.swapaxes(1, 2)
    ph = (p @ h[1::2, :, None])[..., 0]
    rest, rest_h = diagonal[0::2].copy(), h[0::2].copy()
    rest[:k] -= left.swapaxes(1, 2) @ to_left
    rest[1 : 1 + n] -= right @ to_right
    rest_h[:k] -= (left.swapaxes(1, 2) @ ph[..., None])[..., 0]
    rest_h[1 : 1 + n] -= (right @ ph[:n, :, None])[..., 0]
    return Halved(to_left, to_right, ph, 0.5 * (rest + rest.swapaxes(1, 2)), -(right @ to_left[:n]), rest_h)


def tridiagonal_moments(
    diagonal: Array, below: Array, h: Array, inverse_of: Callable[[Array], tuple[Array, Array]] = inverse_of_precision
) -> tuple[Array, Array, Array, Array]:
    """Of a Gaussian with block tridiagonal precision: covariances of each block (m, w, w), of each with the one
    before it (m - 1, w, w), means (m, w), and each number's share of log det of the precision (m, w)."""
    if not below.any():  # one block, or untied ones
        v, log_det = inverse_of(diagonal)
        mean = v @ h[..., None]
        mean += v @ (h[..., None] - diagonal @ mean)  # <h, mean> takes up an error of the mean times h, which is large
        return v, below, mean[..., 0], log_det
    p, odd = inverse_of(diagonal[1::2])
    half = halved(diagonal, below, h, p)
    ve, ce, me, even = tridiagonal_moments(half.diagonal, half.below, half.h, inverse_of)
    to_left, to_right, k, n = half.to_left, half.to_right, len(p), len(half.to_right)
    vl, vr = ve[:k], ve[1 : 1 + n]
    with_left = -(to_left @ vl)
    with_left[:n] -= to_right @ ce
    own = p + to_left @ vl @ to_left.swapaxes(1, 2)
    cross = to_right @ ce @ to_left[:n].swapaxes(1, 2)
    own[:n] += to_right @ vr @ to_right.swapaxes(1, 2) + cross + cross.swapaxes(1, 2)
    v, c, m, log_det = np.empty_like(diagonal), np.empty_like(below), np.empty_like(h), np.empty_like(h)
    v[0::2], v[1::2], m[0::2], m[1::2] = ve, 0.5 * (own + own.swapaxes(1, 2)), me, half.odd(me)
    c[0::2] = with_left
    c[1::2] = -(vr @ to_right.swapaxes(1, 2) + ce @ to_left[:n].swapaxes(1, 2))
    log_det[0::2], log_det[1::2] = even, odd
    return v, c, m, log_det
