"""Means, moments and log-normalisers of posteriors as functions of natural parameters.

Sources: Bishop (2006), appendix B; Gupta and Nagar (2000) for the Wisharts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import special

from emdsl.families import kernels_natural as gig
from emdsl.families.kernels_continuous import bessel_ratio
from emdsl.families.kernels_vector import multigammaln, spd_inverse, transpose
from emdsl.families.records import Array

LOG_2PI = float(np.log(2 * np.pi))


def real(x: Any) -> Array:
    return np.asarray(x, float)


def above(value: Any, least: float, then: Callable[[Array], Any], otherwise: float) -> Array:
    """then(value) where value > least (elsewhere a harmless stand-in is computed), else `otherwise`."""
    value = real(value)
    return np.where(value > least, then(np.where(value > least, value, least + 1)), otherwise)


# ---------------------------------------------------------------- normal


def normal(h: Any, q: Any) -> tuple[Array, Array]:
    """mean and variance of exp(h x + q x^2)."""
    v = -0.5 / real(q)
    return v * h, v


def normal_moments(h: Any, q: Any) -> tuple[Array, Array]:
    m, v = normal(h, q)
    return m, m**2 + v


def normal_cube(h: Any, q: Any) -> Array:
    m, v = normal(h, q)
    return np.asarray(m**3 + 3 * m * v)


def normal_fourth(h: Any, q: Any) -> Array:
    m, v = normal(h, q)
    return np.asarray(m**4 + 6 * m**2 * v + 3 * v**2)


def normal_exp(sign: float) -> Callable[[Any, Any], Array]:
    def moment(h: Any, q: Any) -> Array:
        m, v = normal(h, q)
        return np.asarray(np.exp(sign * m + v / 2))

    return moment


def normal_log_normaliser(h: Any, q: Any) -> Array:
    m, v = normal(h, q)
    return np.asarray(m * h / 2 + (np.log(v) + LOG_2PI) / 2)


# ---------------------------------------------------------------- several variables


def mvnormal(h: Any, q: Any) -> tuple[Array, Array]:
    """mean and covariance of exp(h'x + x'q x), q = -precision / 2."""
    v = spd_inverse(-(real(q) + transpose(q)))
    return (v @ real(h)[..., None])[..., 0], v


def mvnormal_moments(h: Any, q: Any) -> tuple[Array, Array]:
    m, v = mvnormal(h, q)
    return m, v + m[..., :, None] * m[..., None, :]


def mvnormal_log_normaliser(h: Any, q: Any) -> Array:
    m, v = mvnormal(h, q)
    return np.asarray(((m * h).sum(-1) + np.linalg.slogdet(v)[1] + m.shape[-1] * LOG_2PI) / 2)


def is_spd(a: Any) -> Array:
    a = real(a)
    return np.asarray(np.linalg.eigvalsh((a + transpose(a)) / 2)[..., 0] > 0)


def dirichlet_log_normaliser(eta: Any) -> Array:
    a = real(eta) + 1
    return np.asarray(special.gammaln(a).sum(-1) - special.gammaln(a.sum(-1)))


def dirichlet_moments(eta: Any) -> tuple[Array]:
    a = real(eta) + 1
    return (np.asarray(special.digamma(a) - special.digamma(a.sum(-1, keepdims=True))),)


def dirichlet_mean(eta: Any) -> Array:
    a = real(eta) + 1
    return np.asarray(a / a.sum(-1, keepdims=True))


def dirichlet_outer(eta: Any) -> Array:
    a = real(eta) + 1
    total = a.sum(-1)[..., None, None]
    return np.asarray((a[..., :, None] * (a[..., None, :] + np.eye(a.shape[-1]))) / (total * (total + 1)))


def multidigamma(a: Any, d: int) -> Array:
    return np.asarray(special.digamma(real(a)[..., None] - np.arange(d) / 2).sum(-1))


def wishart(minus_half: Any, n: Any) -> tuple[Array, Array]:
    """df and the inverse of the scale."""
    inverse = -(real(minus_half) + transpose(minus_half))
    return 2 * real(n) + inverse.shape[-1] + 1, inverse


def wishart_log_normaliser(minus_half: Any, n: Any) -> Array:
    df, inverse = wishart(minus_half, n)
    d = inverse.shape[-1]
    return np.asarray(df / 2 * (d * np.log(2) - np.linalg.slogdet(inverse)[1]) + multigammaln(df / 2, d))


def wishart_moments(minus_half: Any, n: Any) -> tuple[Array, Array]:
    df, inverse = wishart(minus_half, n)
    d = inverse.shape[-1]
    logdet = multidigamma(df / 2, d) + d * np.log(2) - np.linalg.slogdet(inverse)[1]
    return df[..., None, None] * spd_inverse(inverse), logdet


def wishart_other(minus_half: Any, df: Any, inverse: Array) -> Array:
    """E of the inverse of a Wishart: scale^-1 / (df - D - 1)."""
    return np.asarray(above(df - inverse.shape[-1] - 1, 0.0, lambda e: 1 / e, np.inf)[..., None, None] * inverse)


def inverse_wishart(minus_half: Any, n: Any) -> tuple[Array, Array]:
    """df and scale."""
    scale = -(real(minus_half) + transpose(minus_half))
    return -2 * real(n) - scale.shape[-1] - 1, scale


def inverse_wishart_eta(minus_half: Any, n: Any) -> tuple[Any, Array]:
    """The eta of the Wishart that the inverse follows."""
    scale = -2 * real(minus_half)
    return minus_half, -real(n) - scale.shape[-1] - 1


def inverse_wishart_moments(minus_half: Any, n: Any) -> tuple[Array, Array]:
    inverse, logdet = wishart_moments(*inverse_wishart_eta(minus_half, n))
    return inverse, -logdet


# ---------------------------------------------------------------- positive, unit, angle, counts


def gamma_extra(power: int) -> Callable[[Any, Any], Array]:
    """E[x^-power] of Gamma(n + 1, -r)."""

    def moment(n: Any, r: Any) -> Array:
        shape, ratio = real(n) + 1, real(1.0)
        for i in range(1, power + 1):
            ratio = ratio * -real(r) / np.where(shape > power, shape - i, 1.0)
        return np.where(shape > power, ratio, np.inf)

    return moment


def lognormal_power(s: float) -> Callable[[Any, Any], Array]:
    def moment(n: Any, q: Any) -> Array:
        m, v = normal(real(n) + 1, q)
        return np.asarray(np.exp(s * m + s**2 * v / 2))

    return moment


def vonmises(c: Any, s: Any) -> tuple[Array, Array]:
    return np.asarray(np.arctan2(s, c)), np.hypot(c, s)


def vonmises_moments(c: Any, s: Any) -> tuple[Array, Array]:
    k = np.hypot(c, s)
    ratio = np.where(k > 0, bessel_ratio(k) / np.where(k > 0, k, 1.0), 0.5)
    return ratio * c, ratio * s


def gig_moments(n: Any, r: Any, q: Any) -> tuple[Array, Array, Array]:
    p, a, b = gig_arguments(n, r, q)
    omega, scale = gig.gig_parts(p, a, b)
    return gig.gig_log_bessel(p, omega)[1] + np.log(scale), gig.gig_power(1, p, a, b), gig.gig_power(-1, p, a, b)


def gig_arguments(n: Any, r: Any, q: Any) -> tuple[Array, Array, Array]:
    return real(n) + 1, -2 * real(r), -2 * real(q)
