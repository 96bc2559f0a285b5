"""Derivatives of distribution functions by their shapes, which have no closed form: central differences.

Seven points, a fiftieth of the shape (or of its root, where a distribution of that shape is narrower) apart: the
error is of the order of the step to the sixth.
"""

# mypy: disable-error-code="no-any-return"
# (operators on arrays of any dtype, and all of scipy, are Any to mypy)

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy

from emdsl.runtime.data.columns import Array

FIRST = ((1, 3 / 4), (2, -3 / 20), (3, 1 / 60))
SECOND = ((1, 3 / 2), (2, -3 / 20), (3, 1 / 90))


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
