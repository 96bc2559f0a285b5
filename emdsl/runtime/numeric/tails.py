"""Distribution functions: their derivatives by shapes, which have no closed form, and their logarithms far out.

The derivatives are central differences of seven points, a fiftieth of the shape (or of its root, where a distribution
of that shape is narrower) apart: the error is of the order of the step to the sixth.
"""

# mypy: disable-error-code="no-any-return"
# (operators on arrays of any dtype, and all of scipy, are Any to mypy)

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy

from emdsl.runtime.data.columns import Array
from emdsl.runtime.numeric.numerics import log_mass

FIRST = ((1, 3 / 4), (2, -3 / 20), (3, 1 / 60))
SECOND = ((1, 3 / 2), (2, -3 / 20), (3, 1 / 90))
UNDERFLOWN = 1e-290  # a probability that is taken by its logarithm
MOST_TERMS = 3000


def shape_slope(f: Callable[[Array], Array], a: Any) -> Array:
    """f'(a) for a > 0."""
    h = 0.02 * np.minimum(a, np.sqrt(a))
    return sum(c * (f(a + k * h) - f(a - k * h)) for k, c in FIRST) / h


def shape_curvature(f: Callable[[Array], Array], a: Any) -> Array:
    """f''(a) for a > 0."""
    h, middle = 0.05 * np.minimum(a, np.sqrt(a)), f(np.asarray(a, float))
    return sum(c * (f(a + k * h) + f(a - k * h) - 2 * middle) for k, c in SECOND) / h**2


def gamma_cdf_a(a: Any, z: Any) -> Array:
    """d gammainc(a, z) / da."""
    return shape_slope(lambda s: scipy.special.gammainc(s, z), a)


def gamma_cdf_a2(a: Any, z: Any) -> Array:
    """The second derivative of gammainc(a, z) by a."""
    return shape_curvature(lambda s: scipy.special.gammainc(s, z), a)


def beta_cdf_a(a: Any, b: Any, z: Any) -> Array:
    """d betainc(a, b, z) / da."""
    return shape_slope(lambda s: scipy.special.betainc(s, b, z), a)


def beta_cdf_a2(a: Any, b: Any, z: Any) -> Array:
    """The second derivative of betainc(a, b, z) by a."""
    return shape_curvature(lambda s: scipy.special.betainc(s, b, z), a)


def beta_cdf_ab(a: Any, b: Any, z: Any) -> Array:
    """The derivative of betainc(a, b, z) by a and b."""
    return shape_slope(lambda s: beta_cdf_a(a, s, z), b)


def student_cdf_df(v: Any, t: Any) -> Array:
    """d stdtr(v, t) / dv."""
    return shape_slope(lambda s: scipy.special.stdtr(s, t), v)


def student_cdf_df2(v: Any, t: Any) -> Array:
    """The second derivative of stdtr(v, t) by v."""
    return shape_curvature(lambda s: scipy.special.stdtr(s, t), v)


def log_gamma_sf(a: Any, z: Any) -> Array:
    """log gammaincc(a, z); where that underflows by its continued fraction (Abramowitz and Stegun 6.5.31)."""
    mass = np.asarray(scipy.special.gammaincc(a, z))
    far = mass < UNDERFLOWN
    if not far.any():
        return np.log(mass)
    shape, at = (np.broadcast_to(v, mass.shape)[far] for v in (a, np.minimum(z, 1e300)))
    b = at + 1 - shape
    d = 1 / b
    c, total = np.full_like(b, 1e300), d
    for k in range(1, MOST_TERMS):  # Lentz's way (Press et al. 1992, 6.2)
        b = b + 2
        d, c = 1 / (k * (shape - k) * d + b), b + k * (shape - k) / c
        total = total * (c * d)
        if np.abs(c * d - 1).max() < 1e-15:
            break
    return _with(mass, far, shape * np.log(at) - at - scipy.special.gammaln(shape) + np.log(total))


def log_gamma_cdf(a: Any, z: Any) -> Array:
    """log gammainc(a, z) for z > 0; where that underflows by its series (Abramowitz and Stegun 6.5.29)."""
    mass = np.asarray(scipy.special.gammainc(a, z))
    far = (mass < UNDERFLOWN) & (np.asarray(z) > 0)
    if not far.any():
        return log_mass(mass)
    shape, at = (np.broadcast_to(v, mass.shape)[far] for v in (a, z))
    term = total = np.ones_like(at)
    for k in range(1, MOST_TERMS):
        term = term * (at / (shape + k))
        total = total + term
        if (term < 1e-16 * total).all():
            break
    return _with(mass, far, shape * np.log(at) - at - scipy.special.gammaln(shape + 1) + np.log(total))


def _with(mass: Array, far: Array, logs: Array) -> Array:
    """log of a mass, these where it underflows."""
    out = np.array(log_mass(np.where(far, 1.0, mass)))
    out[far] = logs
    return out
