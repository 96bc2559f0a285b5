"""Numbers with bounds as unconstrained coordinates: logs and logits of where they lie between their ends.

Ends are numbers or None, the same for all elements of a plate, or arrays over its elements, infinite where there is
none. An element whose ends are one number is that number, whatever its coordinate; one whose ends are exchanged has
no mass anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy

from emdsl.runtime.data.columns import Array

Coordinate = tuple[Any, Any]  # the bounds of one dimension: a number, an array over elements, or None

LARGEST_EXPONENT = 690.0  # of a coordinate: beyond, a distance overflows, and no mass is counted


def to_values(u: Array, bounds: Sequence[Coordinate]) -> tuple[Array, Array]:
    """Values of unconstrained coordinates (D, ...), and log of the Jacobian's determinant (...).

    Values stay inside their bounds where rounding would put them there: a density may have no limit at a bound, which
    the volume makes up for. The coordinate of a number whose ends are one has, beside others, the density of a standard
    Normal: any would do that integrates to 1.
    """
    if not any(low is not None or high is not None for low, high in bounds):
        return u, np.zeros(u.shape[1:])
    values, log_volume = np.empty_like(u), np.zeros(u.shape[1:])
    for d, (low, high) in enumerate(bounds):
        for here, a, b in _alike(low, high, u[d].shape):
            t = u[d][here]
            if a is None and b is None:
                values[d][here] = t
                continue
            if a is not None and b is not None:
                value = a + (b - a) * np.exp(scipy.special.log_expit(t))  # expit is 0 where exp is not yet
                log_volume[here] += np.log(b - a) + scipy.special.log_expit(t) + scipy.special.log_expit(-t)
            else:
                away = np.exp(np.minimum(t, LARGEST_EXPONENT))
                value = b - away if a is None else a + away
                log_volume[here] += np.where(t > LARGEST_EXPONENT, -np.inf, t)
            if a is not None:
                value = np.maximum(value, np.nextafter(a, np.inf))
            values[d][here] = value if b is None else np.minimum(value, np.nextafter(b, -np.inf))
        seen = no_length([(low, high)])
        if seen is not None:
            somewhere = np.where(np.isfinite(low), low, 0.5)  # in every domain, so that its density is a number
            values[d] = np.where(seen, somewhere, values[d])
            if len(bounds) > 1:
                log_volume += np.where(seen, -0.5 * (u[d] ** 2 + np.log(2 * np.pi)), 0.0)
    return values, log_volume


def to_coordinate(values: Array, low: Any, high: Any) -> Array:
    """The unconstrained coordinate of values of one number; NaN where they lie outside its bounds."""
    if low is None and high is None:
        return values
    a, b = (end if end is not None else side * np.inf for end, side in ((low, -1), (high, 1)))
    with np.errstate(all="ignore"):
        below, above = np.isfinite(a), np.isfinite(b)
        up, down = np.log(values - np.where(below, a, 0.0)), np.log(np.where(above, b, 0.0) - values)
        return np.asarray(np.where(below, np.where(above, up - down, up), np.where(above, down, values)))


def jacobian_slopes(u: Array, bounds: Sequence[Coordinate]) -> tuple[Array, Array, Array, Array]:
    """First and second derivatives of values, and of the log Jacobian, by their own coordinate: (D, ...) each."""
    first, second = np.ones_like(u), np.zeros_like(u)
    log_first, log_second = np.zeros_like(u), np.zeros_like(u)
    for d, (low, high) in enumerate(bounds):
        for here, a, b in _alike(low, high, u[d].shape):
            t = u[d][here]
            if a is not None and b is not None:
                p = np.exp(scipy.special.log_expit(t))
                first[d][here] = (b - a) * p * (1 - p)
                second[d][here] = (b - a) * p * (1 - p) * (1 - 2 * p)
                log_first[d][here], log_second[d][here] = 1 - 2 * p, -2 * p * (1 - p)
            elif a is not None or b is not None:
                away = np.exp(np.minimum(t, LARGEST_EXPONENT)) * (1 if b is None else -1)
                first[d][here] = second[d][here] = away
                log_first[d][here] = 1.0
        seen = no_length([(low, high)])
        if seen is not None:
            first[d] = np.where(seen, 0.0, first[d])
            if len(bounds) > 1:
                log_first[d], log_second[d] = np.where(seen, -u[d], log_first[d]), np.where(seen, -1.0, log_second[d])
    return first, second, log_first, log_second


def exchanged(bounds: Sequence[Coordinate]) -> Array:
    """Elements of which some number's lower end is above its upper one: nothing lies between them."""
    out = np.array(False)
    for low, high in bounds:
        if low is not None and high is not None:
            out = out | np.greater(low, high)
    return out


def no_length(bounds: Sequence[Coordinate]) -> Array | None:
    """Elements of one number with none between its ends; None where there are none, ends being the same for all."""
    ((low, high),) = bounds
    if _for_all(low) and _for_all(high):
        return None
    return np.asarray(np.asarray(low) >= np.asarray(high))


def _alike(low: Any, high: Any, shape: tuple[int, ...]) -> list[tuple[Any, Any, Any]]:
    """Elements whose ends are of one kind, with their lower and upper ends: all of them, or up to four sorts."""
    if _for_all(low) and _for_all(high):
        return [(slice(None), low, high)]
    low, high = np.broadcast_to(low, shape), np.broadcast_to(high, shape)
    below, above, some = np.isfinite(low), np.isfinite(high), low < high
    out = []
    for has_low, has_high in ((False, False), (False, True), (True, False), (True, True)):
        here = (below == has_low) & (above == has_high) & some
        if here.any():
            out.append((here, low[here] if has_low else None, high[here] if has_high else None))
    return out


def _for_all(end: Any) -> bool:
    """Whether an end was written as a number, or there is none: it is the same for all elements."""
    return end is None or type(end) is float
