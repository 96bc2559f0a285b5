"""Kernels of the posteriors that no family of the language is: generalised inverse Gaussian, truncated normal."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import special

from emdsl.families.records import Array

LOG_2PI = float(np.log(2 * np.pi))
GIG_NODES = 257


# ---------------------------------------------------------------- generalised inverse Gaussian


def _below_top(t: Array, p: Array, omega: Array, peak: Array) -> Array:
    """How far p s - omega cosh s at s = peak + t lies below its top: a product, so that no digits cancel."""
    half = np.clip(t / 2, -300, 300)
    return np.asarray(2 * omega * np.sinh(half) * np.sinh(np.clip(peak + half, -300, 300)) - p * t)


def _reach(side: float, drop: float, p: Array, omega: Array, peak: Array) -> Array:
    """How far from the peak, on one side, the log integrand has fallen by `drop`."""
    far = np.full(np.shape(peak), 1e-8)
    for _ in range(48):
        far = np.where(_below_top(side * far, p, omega, peak) < drop, far * 2, far)
    near = far / 2
    for _ in range(12):
        middle = (near + far) / 2
        inside = _below_top(side * middle, p, omega, peak) < drop
        near, far = np.where(inside, middle, near), np.where(inside, far, middle)
    return far


def _gig_tilt(p: Array, omega: Array, power: float) -> tuple[Array, Array, Array]:
    """log 2 K_p(omega), its d/dp, and K_{p+power} / K_p, by the trapezoid rule on int exp(p t - omega cosh t) dt.

    The integrand is analytic and falls doubly exponentially, so that the rule is right to rounding,
    also where Bessel functions overflow (order 200, argument 1).
    """
    peak = np.arcsinh(p / omega)
    low, high = (side * _reach(side, 110.0, p, omega, peak) for side in (-1.0, 1.0))
    step = (high - low) / (GIG_NODES - 1)
    t = low[..., None] + step[..., None] * np.arange(GIG_NODES)
    w = np.exp(-_below_top(t, p[..., None], omega[..., None], peak[..., None]))
    total = w.sum(-1)
    tilt = (w * np.exp(power * t)).sum(-1) / total * np.exp(power * peak)
    return np.log(total * step) + p * peak - omega * np.cosh(peak), (w * t).sum(-1) / total + peak, tilt


def gig_log_bessel(p: Any, omega: Any, power: float = 0.0) -> tuple[Array, Array, Array]:
    """What `_gig_tilt` gives, in chunks of rows."""
    p, omega = np.broadcast_arrays(np.asarray(p, float), np.asarray(omega, float))
    flat_p, flat_w = p.ravel(), np.maximum(omega.ravel(), 1e-150)
    out = np.empty((3, p.size))
    for i in range(0, p.size, 16384):
        rows = slice(i, i + 16384)
        out[:, rows] = _gig_tilt(flat_p[rows], flat_w[rows], power)
    value, slope, tilt = out.reshape(3, *p.shape)
    return value, slope, tilt


def gig_parts(p: Any, a: Any, b: Any) -> tuple[Array, Array]:
    """sqrt(a b) and sqrt(b / a)."""
    a, b = np.asarray(a, float), np.maximum(np.asarray(b, float), 1e-300)
    return np.sqrt(a) * np.sqrt(b), np.sqrt(b) / np.sqrt(a)


def gig_log_normaliser(p: Any, a: Any, b: Any) -> Array:
    """log int x^(p-1) exp(-(a x + b/x)/2) dx = log 2 K_p(sqrt(ab)) + p log(b/a)/2; Jorgensen (1982), 2.1."""
    omega, scale = gig_parts(p, a, b)
    return np.asarray(gig_log_bessel(p, omega)[0] + p * np.log(scale))


def gig_power(s: float, p: Any, a: Any, b: Any) -> Array:
    """E[x^s]."""
    omega, scale = gig_parts(p, a, b)
    return np.asarray(gig_log_bessel(p, omega, s)[2] * scale**s)


def gig_log_density(x: Any, p: Any, a: Any, b: Any) -> Array:
    x = np.asarray(x, float)
    y = np.where(x > 0, x, 1.0)
    value = (np.asarray(p) - 1) * np.log(y) - (a * y + b / y) / 2 - gig_log_normaliser(p, a, b)
    return np.where(x > 0, value, -np.inf)


def gig_mode(p: Any, a: Any, b: Any) -> Array:
    q = np.asarray(p, float) - 1
    root = np.sqrt(q**2 + np.asarray(a) * b)
    return np.asarray(np.where(q > 0, (q + root) / a, b / (root - np.minimum(q, 0))))


def gig_sample(rng: np.random.Generator, shape: tuple[int, ...], p: Any, a: Any, b: Any) -> Array:
    """Devroye (2014): rejection for t = log x, whose density is log-concave; vectorised over the rows."""
    omega, scale = gig_parts(p, a, b)
    p, omega, scale = (np.broadcast_to(v, shape).ravel() for v in (np.asarray(p, float), omega, scale))
    peak = np.arcsinh(p / omega)

    def fall(t: Array, rows: Any) -> Array:
        return _below_top(t, p[rows], omega[rows], peak[rows])

    every = np.arange(p.size)
    cut = {side: _reach(side, 1.0, p, omega, peak) for side in (-1.0, 1.0)}
    # the tangents at the cuts bound both tails from above
    slope = {s: np.abs(omega * np.sinh(peak + s * cut[s]) - p) for s in cut}
    height = {s: fall(s * cut[s], every) for s in cut}
    tail = {s: np.exp(-height[s]) / slope[s] for s in cut}
    out, left = np.empty(p.size), every
    while left.size:
        middle = cut[1.0][left] + cut[-1.0][left]
        u = rng.random(left.size) * (middle + tail[1.0][left] + tail[-1.0][left])
        e = rng.standard_exponential(left.size)
        t = u - cut[-1.0][left]
        bound = np.zeros(left.size)
        right, lower = u > middle, u > middle + tail[1.0][left]
        for side, where in ((1.0, right & ~lower), (-1.0, lower)):
            rows = left[where]
            t[where] = side * (cut[side][rows] + e[where] / slope[side][rows])
            bound[where] = height[side][rows] + e[where]
        good = rng.standard_exponential(left.size) >= fall(t, left) - bound
        out[left[good]] = t[good]
        left = left[~good]
    return np.asarray((scale * np.exp(peak + out)).reshape(shape))


# ---------------------------------------------------------------- truncated normal


def standard_truncated(low: Any, high: Any) -> tuple[Array, Array, Array]:
    """log mass, mean and variance of a standard normal on [low, high], right in far tails and narrow intervals."""
    low, high = np.broadcast_arrays(np.asarray(low, float), np.asarray(high, float))
    with np.errstate(invalid="ignore"):
        flip = low + high < 0
    a, b = np.where(flip, -high, low), np.where(flip, -low, high)
    tilted = (a > 2) | (b - a < 5)
    log_mass, mean, variance = (np.where(tilted, t, u) for t, u in zip(_by_tilt(a, b), _by_tails(a, b), strict=True))
    return log_mass, np.where(flip, -mean, mean), variance


def _by_tails(a: Array, b: Array) -> tuple[Array, Array, Array]:
    """From densities at the ends: right where the interval is wide and holds the middle."""
    top = special.log_ndtr(b)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_mass = top + np.log1p(-np.exp(np.minimum(special.log_ndtr(a) - top, 0)))
        at_a, at_b = (np.exp(-np.square(v) / 2 - LOG_2PI / 2 - log_mass) for v in (a, b))
        mean = at_a - at_b
        variance = 1 + np.where(at_a > 0, a, 0) * at_a - np.where(at_b > 0, b, 0) * at_b - mean**2
    return log_mass, mean, variance


def _by_tilt(a: Array, b: Array) -> tuple[Array, Array, Array]:
    """With z = a + w, by Gauss-Legendre on exp(-a w - w^2 / 2): every term is positive, nothing cancels."""
    with np.errstate(invalid="ignore"):
        reach = np.minimum(b - a, 90 / (np.maximum(a, 0) + np.sqrt(np.square(np.maximum(a, 0)) + 90)))
    t, weight = np.polynomial.legendre.leggauss(48)
    w = reach[..., None] * (t + 1) / 2
    with np.errstate(invalid="ignore", over="ignore"):
        f = weight * np.exp(-a[..., None] * w - w**2 / 2)
        total = f.sum(-1)
        first = (f * w).sum(-1) / total
        spread = (f * (w - first[..., None]) ** 2).sum(-1) / total
        return np.log(total * reach / 2) - np.square(a) / 2 - LOG_2PI / 2, a + first, spread


def log_normal_mass(low: Any, high: Any) -> Array:
    """log(Phi(high) - Phi(low))."""
    return standard_truncated(low, high)[0]


def truncated_normal_log_density(x: Any, mean: Any, sd: Any, low: Any, high: Any) -> Array:
    x = np.asarray(x, float)
    z, a, b = ((np.asarray(v, float) - mean) / sd for v in (x, low, high))
    value = -np.square(z) / 2 - LOG_2PI / 2 - np.log(sd) - log_normal_mass(a, b)
    return np.where((x >= low) & (x <= high), value, -np.inf)


def truncated_normal_mean(mean: Any, sd: Any, low: Any, high: Any) -> Array:
    a, b = ((np.asarray(v, float) - mean) / sd for v in (low, high))
    return np.asarray(np.clip(mean + sd * standard_truncated(a, b)[1], low, high))


def truncated_normal_variance(mean: Any, sd: Any, low: Any, high: Any) -> Array:
    a, b = ((np.asarray(v, float) - mean) / sd for v in (low, high))
    return np.asarray(np.square(sd) * standard_truncated(a, b)[2])


def truncated_normal_sample(
    rng: np.random.Generator, shape: tuple[int, ...], mean: Any, sd: Any, low: Any, high: Any
) -> Array:
    """Inverse distribution function, in logs and from the nearer tail."""
    a, b = np.broadcast_arrays(*((np.asarray(v, float) - mean) / sd for v in (low, high)))
    flip = a > 0
    lower, upper = np.where(flip, -b, a), np.where(flip, -a, b)
    u = rng.random(shape)
    with np.errstate(divide="ignore"):
        log_u = np.logaddexp(special.log_ndtr(lower), np.log(u) + log_normal_mass(lower, upper))
    z = special.ndtri_exp(np.minimum(log_u, special.log_ndtr(upper)))
    return np.asarray(np.clip(mean + sd * np.where(flip, -z, z), low, high))
