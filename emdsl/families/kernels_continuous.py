"""Kernels of the scalar continuous families. Sources: Johnson, Kotz and Balakrishnan (1994, 1995)."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import special

from emdsl.families.records import Array

LOG_2PI = float(np.log(2 * np.pi))
Shape = tuple[int, ...]


def _where(inside: Any, value: Any) -> Array:
    return np.where(inside, value, -np.inf)


def _positive(x: Any) -> tuple[Array, Array]:
    """x where it is positive (else 1), and where it is."""
    x = np.asarray(x, float)
    inside = x > 0
    return np.where(inside, x, 1.0), inside


# ---------------------------------------------------------------- the real line


def normal_log_density(x: Any, mean: Any, sd: Any) -> Array:
    return np.asarray(-np.log(sd) - LOG_2PI / 2 - ((np.asarray(x, float) - mean) / sd) ** 2 / 2)


def normal_var_log_density(x: Any, mean: Any, var: Any) -> Array:
    return np.asarray(-np.log(var) / 2 - LOG_2PI / 2 - (np.asarray(x, float) - mean) ** 2 / (2 * np.asarray(var)))


def normal_precision_log_density(x: Any, mean: Any, precision: Any) -> Array:
    return np.asarray(np.log(precision) / 2 - LOG_2PI / 2 - precision * (np.asarray(x, float) - mean) ** 2 / 2)


def normal_sample(rng: np.random.Generator, shape: Shape, mean: Any, sd: Any) -> Array:
    return np.asarray(mean + sd * rng.standard_normal(shape))


def laplace_log_density(x: Any, mean: Any, scale: Any) -> Array:
    return np.asarray(-np.log(2) - np.log(scale) - np.abs(np.asarray(x, float) - mean) / scale)


def laplace_sf(x: Any, mean: Any, scale: Any) -> Array:
    z = (np.asarray(x, float) - mean) / scale
    tail = np.exp(-np.abs(z)) / 2
    return np.asarray(np.where(z > 0, tail, 1 - tail))


def laplace_sample(rng: np.random.Generator, shape: Shape, mean: Any, scale: Any) -> Array:
    return rng.laplace(mean, scale, shape)


def student_log_density(x: Any, df: Any, mean: Any, scale: Any) -> Array:
    z, df = (np.asarray(x, float) - mean) / scale, np.asarray(df, float)
    # the gammas as a beta function keep their digits for large df
    return np.asarray(
        -special.betaln(0.5, df / 2) - np.log(df) / 2 - np.log(scale) - (df + 1) / 2 * np.log1p(z**2 / df)
    )


def student_sample(rng: np.random.Generator, shape: Shape, df: Any, mean: Any, scale: Any) -> Array:
    return np.asarray(mean + scale * rng.standard_t(df, shape))


def student_variance(df: Any, mean: Any, scale: Any) -> Array:
    df = np.asarray(df, float)
    safe = np.where(df > 2, df, 3.0)
    return np.asarray(
        np.where(df > 2, safe / (safe - 2), np.where(df > 1, np.inf, np.nan)) * np.square(scale) + 0 * mean
    )


def log_bessel_i0(x: Any) -> Array:
    """log I0(x), without overflow."""
    x = np.abs(np.asarray(x, float))
    return np.asarray(np.log(special.i0e(x)) + x)


def bessel_ratio(x: Any) -> Array:
    """I1(x) / I0(x), the mean resultant length of a von Mises."""
    return np.asarray(special.i1e(x) / special.i0e(x))


def vonmises_log_density(x: Any, mean: Any, concentration: Any) -> Array:
    x = np.asarray(x, float)
    # kappa (cos - 1) = -2 kappa sin^2(./2) stays exact near the mode
    value = -2 * concentration * np.sin((x - mean) / 2) ** 2 - LOG_2PI - np.log(special.i0e(concentration))
    return _where((x >= -np.pi) & (x <= np.pi), value)


def vonmises_sample(rng: np.random.Generator, shape: Shape, mean: Any, concentration: Any) -> Array:
    return wrap(rng.vonmises(0.0, concentration, shape) + mean)


def wrap(angle: Any) -> Array:
    """The angle in [-pi, pi)."""
    return np.asarray(np.mod(np.asarray(angle, float) + np.pi, 2 * np.pi) - np.pi)


def _vonmises_nodes(mean: Any, concentration: Any) -> tuple[Array, Array]:
    """Gauss-Legendre nodes on [-pi, pi] split at 16 panels, and the normalised weights times density."""
    t, w = np.polynomial.legendre.leggauss(20)
    edges = np.linspace(-np.pi, np.pi, 65)
    half = np.diff(edges) / 2
    x = ((edges[:-1] + half)[:, None] + half[:, None] * t).ravel()
    d = np.exp(vonmises_log_density(x, np.asarray(mean, float)[..., None], np.asarray(concentration, float)[..., None]))
    return x, d * np.outer(half, w).ravel()


def vonmises_mean(mean: Any, concentration: Any) -> Array:
    """E[x] on the line [-pi, pi] (not the mean direction), by quadrature."""
    x, w = _vonmises_nodes(mean, concentration)
    return np.asarray((w * x).sum(-1))


def vonmises_variance(mean: Any, concentration: Any) -> Array:
    x, w = _vonmises_nodes(mean, concentration)
    return np.asarray((w * x**2).sum(-1) - (w * x).sum(-1) ** 2)


def uniform_log_density(x: Any, low: Any, high: Any) -> Array:
    x = np.asarray(x, float)
    return _where((x >= low) & (x <= high), -np.log(np.asarray(high, float) - low))


def uniform_sample(rng: np.random.Generator, shape: Shape, low: Any, high: Any) -> Array:
    return rng.uniform(low, high, shape)


def delta_log_density(x: Any, value: Any) -> Array:
    return _where(np.asarray(x) == value, 0.0)


def delta_sample(rng: np.random.Generator, shape: Shape, value: Any) -> Array:
    return np.broadcast_to(np.asarray(value), shape).copy()


# ---------------------------------------------------------------- the positive half line


def lognormal_log_density(x: Any, mean: Any, sd: Any) -> Array:
    y, inside = _positive(x)
    return _where(inside, normal_log_density(np.log(y), mean, sd) - np.log(y))


def lognormal_var_log_density(x: Any, mean: Any, var: Any) -> Array:
    y, inside = _positive(x)
    return _where(inside, normal_var_log_density(np.log(y), mean, var) - np.log(y))


def lognormal_sample(rng: np.random.Generator, shape: Shape, mean: Any, sd: Any) -> Array:
    return rng.lognormal(mean, sd, shape)


def exponential_log_density(x: Any, rate: Any) -> Array:
    x = np.asarray(x, float)
    return _where(x >= 0, np.log(rate) - rate * x)


def exponential_sample(rng: np.random.Generator, shape: Shape, rate: Any) -> Array:
    return np.asarray(rng.standard_exponential(shape) / rate)


def gamma_log_density(x: Any, shape: Any, rate: Any) -> Array:
    """At x = 0 the limit: finite for shape 1 alone, where it is the exponential."""
    x, shape = np.asarray(x, float), np.asarray(shape, float)
    y = np.maximum(x, 0)
    return _where(x >= 0, special.xlogy(shape, rate) - special.gammaln(shape) + special.xlogy(shape - 1, y) - rate * y)


def gamma_scale_log_density(x: Any, shape: Any, scale: Any) -> Array:
    return gamma_log_density(x, shape, 1 / np.asarray(scale, float))


def gamma_sample(rng: np.random.Generator, shape: Shape, a: Any, rate: Any) -> Array:
    return np.asarray(rng.standard_gamma(a, shape) / rate)


def inverse_gamma_log_density(x: Any, shape: Any, rate: Any) -> Array:
    y, inside = _positive(x)
    shape = np.asarray(shape, float)
    return _where(inside, shape * np.log(rate) - special.gammaln(shape) - (shape + 1) * np.log(y) - rate / y)


def inverse_gamma_sample(rng: np.random.Generator, shape: Shape, a: Any, rate: Any) -> Array:
    return np.asarray(rate / rng.standard_gamma(a, shape))


def inverse_gamma_mean(a: Any, rate: Any) -> Array:
    a = np.asarray(a, float)
    return np.where(a > 1, rate / np.where(a > 1, a - 1, 1.0), np.inf)


def inverse_gamma_variance(a: Any, rate: Any) -> Array:
    a = np.asarray(a, float)
    safe = np.where(a > 2, a, 3.0)
    return np.where(a > 2, np.square(rate) / ((safe - 1) ** 2 * (safe - 2)), np.inf)


def weibull_log_density(x: Any, shape: Any, scale: Any) -> Array:
    x, shape = np.asarray(x, float), np.asarray(shape, float)
    z = np.maximum(x, 0) / scale
    return _where(x >= 0, np.log(shape) - np.log(scale) + special.xlogy(shape - 1, z) - z**shape)


def weibull_sample(rng: np.random.Generator, shape: Shape, a: Any, scale: Any) -> Array:
    return np.asarray(scale * rng.weibull(a, shape))


def weibull_variance(a: Any, scale: Any) -> Array:
    a = np.asarray(a, float)
    return np.asarray(np.square(scale) * (special.gamma(1 + 2 / a) - special.gamma(1 + 1 / a) ** 2))


def inverse_gaussian_log_density(x: Any, mean: Any, shape: Any) -> Array:
    y, inside = _positive(x)
    quadratic = shape * ((y - mean) / mean) ** 2 / (2 * y)
    return _where(inside, np.log(shape) / 2 - LOG_2PI / 2 - 1.5 * np.log(y) - quadratic)


def inverse_gaussian_sample(rng: np.random.Generator, shape: Shape, mean: Any, a: Any) -> Array:
    return rng.wald(mean, a, shape)


def inverse_gaussian_mode(mean: Any, shape: Any) -> Array:
    r = 1.5 * np.asarray(mean, float) / shape
    return np.asarray(mean / (np.sqrt(1 + r**2) + r))


def inverse_gaussian_cdf(x: Any, mean: Any, shape: Any) -> Array:
    y, inside = _positive(x)
    r = np.sqrt(shape / y)
    late = np.exp(2 * np.asarray(shape) / mean + special.log_ndtr(-r * (y / mean + 1)))
    return np.where(inside, special.ndtr(r * (y / mean - 1)) + late, 0.0)


def inverse_gaussian_sf(x: Any, mean: Any, shape: Any) -> Array:
    y, inside = _positive(x)
    r = np.sqrt(shape / y)
    late = np.exp(2 * np.asarray(shape) / mean + special.log_ndtr(-r * (y / mean + 1)))
    return np.where(inside, np.maximum(special.ndtr(-r * (y / mean - 1)) - late, 0), 1.0)


# ---------------------------------------------------------------- the unit interval


def beta_log_density(x: Any, a: Any, b: Any) -> Array:
    x, a, b = (np.asarray(v, float) for v in (x, a, b))
    y = np.clip(x, 0, 1)
    value = special.xlogy(a - 1, y) + special.xlog1py(b - 1, -y) - special.betaln(a, b)
    return _where((x >= 0) & (x <= 1), value)


def beta_sample(rng: np.random.Generator, shape: Shape, a: Any, b: Any) -> Array:
    return rng.beta(a, b, shape)


def beta_variance(a: Any, b: Any) -> Array:
    total = np.asarray(a, float) + b
    return np.asarray(a * b / (total**2 * (total + 1)))


def beta_mode(a: Any, b: Any) -> Array:
    """Inside where a, b > 1; else the end with more mass."""
    a, b = np.broadcast_arrays(np.asarray(a, float), np.asarray(b, float))
    total = np.where((a > 1) & (b > 1), a + b - 2, 1.0)
    return np.where((a > 1) & (b > 1), (a - 1) / total, np.where(a >= b, 1.0, 0.0))
