"""Maximisers of one parameter from its statistics, each refusing what the data cannot settle.

`old` are the values before the M-step, `policy` what is done about a component that is empty or has
collapsed: "raise" Degenerate, "keep" the old values, or "regularise".
"""

# mypy: disable-error-code="no-any-return"
# (operators on arrays of any dtype, and all of scipy, are Any to mypy)

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy

from emdsl.runtime.data.columns import Array
from emdsl.runtime.numeric.numerics import HANDFUL, Degenerate, factored, finite, remember, with_numbers

# How a scalar of each domain is written without bounds: v -> t, t -> v, and (dv/dt, d2v/dt2) at v.
_COORDINATES: dict[str, tuple[Callable[..., Array], Callable[..., Array], Callable[..., tuple[Any, Any]]]] = {
    "real": (lambda v: v, lambda t: t, lambda v: (1.0, 0.0)),
    "positive": (np.log, np.exp, lambda v: (v, v)),
    "unit": (
        lambda v: scipy.special.logit(v),
        lambda t: scipy.special.expit(t),
        lambda v: (v * (1 - v), v * (1 - v) * (1 - 2 * v)),
    ),
}
_LIMITS = {"real": (-1e300, 1e300), "positive": (-230.0, 230.0), "unit": (-36.0, 36.0)}
INDEFINITE = 1e-6  # how far below 0 an eigenvalue is no rounding, of a matrix with a diagonal of 1
NO_BEST = "no value of {} is best: the objective grows without end, and is not greatest where its slope is 0"


def shares(counts: Array, name: str, old: Array, policy: str) -> Array:
    """p = c / sum c over the last axis: the maximum of sum c log p on a simplex.

    A negative count (a prior below 1 on an empty level) has its maximum on the boundary, at 0. Where all counts of an
    element are 0 (transitions out of a state that no path reaches), Q does not hold it: each value is a maximum, and
    it stays as it is; the fit says so.
    """
    if counts.ndim == 1 and counts.size <= HANDFUL:
        found = counts.tolist()
        total = sum(found)
        if min(found) >= 0.0 and 0.0 < total < math.inf:
            return counts / total
    counts = np.maximum(counts, 0.0)
    mass = np.add.reduce(counts, -1, keepdims=True)
    if np.minimum.reduce(mass, axis=None, initial=np.inf) > 0:
        return counts / mass
    empty = ~(mass > 0)
    if np.isnan(mass).any() and policy == "raise":
        raise Degenerate([name], f"nothing is left to estimate {name} from: an expected count is not a number")
    return np.where(empty, old, counts / np.where(empty, 1.0, mass))


def solve_normal(left: Array, right: Array, name: str, old: Array, policy: str) -> Array:
    """Solves H v = g for positive semidefinite H over leading batch axes: (..., p, p), (..., p) -> (..., p).

    Where H is singular (what is only identified together), the solution nearest to the old values is taken.
    """
    if left.shape[:-2] != right.shape[:-1]:
        left = np.broadcast_to(left, (*right.shape, right.shape[-1]))
    diagonal = left.diagonal(0, -2, -1)
    empty = np.asarray(~(diagonal > 0).any(-1))
    if empty.any() or not finite(left) or not finite(right):
        if policy != "keep" and (diagonal < 0).any():
            raise Degenerate([name], NO_BEST.format(name))
        if policy != "keep":
            raise Degenerate([name], f"nothing is left to estimate {name} from: its expected counts are 0")
        left = np.where(empty[..., None, None], np.eye(left.shape[-1]), np.nan_to_num(left))
        right = np.where(empty[..., None], old, np.nan_to_num(right))
        diagonal = left.diagonal(0, -2, -1)
    scale = 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    return nearest(left, right, scale, old, 1e-12, refused=name if policy != "keep" else "")


def nearest(
    left: Array, right: Array, scale: Array, old: Array, least: float, lost: float = 0.0, refused: str = ""
) -> Array:
    """The solution of H v = g; the nearest one to the old values where a square of a pivot is below `least`.

    v is measured by `scale`, H by one over its squares. There eigenvalues up to `lost` are rounding. An H that is not
    positive semidefinite, by more than rounding takes, is `refused` under that name: Q has no maximum.
    """
    scaled = left * scale[..., :, None] * scale[..., None, :]
    try:
        singular = np.linalg.cholesky(scaled).diagonal(0, -2, -1).min() ** 2 < least
    except np.linalg.LinAlgError:
        singular = True
    if not singular:
        return np.linalg.solve(scaled, (right * scale)[..., None])[..., 0] * scale
    residual = (right - (left @ old[..., None])[..., 0]) * scale
    values, vectors = np.linalg.eigh(scaled)
    if refused and values.min() < -INDEFINITE:
        raise Degenerate([refused], NO_BEST.format(refused))
    kept = values > np.maximum(1e-11 * values[..., -1:], lost)
    inverse = np.where(kept, 1 / np.where(kept, values, 1.0), 0.0)
    step = vectors @ (inverse[..., None] * (np.swapaxes(vectors, -1, -2) @ residual[..., None]))
    return old + step[..., 0] * scale


def spread(scatter: Array, weight: Any, name: str, old: Array, policy: str, scale: Any) -> Array:
    """C / a as covariance matrices, checked: (..., d, d), (...) -> (..., d, d)."""
    least = 1e-14 * scale * scale
    if scatter.shape[-1] == 2 and scatter.size <= HANDFUL and isinstance(least, float):
        few = _spread_of_two(scatter, np.asarray(weight).ravel().tolist(), least)
        if few is not None:
            return few
    out = scatter / np.asarray(weight)[..., None, None]
    out = (out + out.swapaxes(-1, -2)) * 0.5
    variances = out.diagonal(0, -2, -1)
    if _well_conditioned(out, variances, least):
        return out
    d, small = out.shape[-1], ~(variances > least)
    diagonal = np.sqrt(np.abs(variances))
    correlation = out / (diagonal[..., :, None] * diagonal[..., None, :])
    usable = np.isfinite(correlation).all((-1, -2))
    smallest = np.full(usable.shape, -1.0)
    if usable.any():
        smallest[usable] = np.linalg.eigvalsh(correlation[usable])[..., 0]
    bad = ~usable | (smallest < 1e-12 * d) | small.any(-1)
    if bad.any():
        where = f" {tuple(int(i) for i in np.argwhere(bad)[0])}" if bad.ndim else ""
        if policy == "regularise":
            ridge = 1e-6 * np.mean(np.asarray(scale) ** 2)
            return np.where(bad[..., None, None], np.nan_to_num(out) + ridge * np.eye(d), out)
        if policy != "keep":
            first = np.flatnonzero(bad.ravel())[0]
            if np.broadcast_to(weight, bad.shape).ravel()[first] == 0:
                raise Degenerate([name], f"nothing is left to estimate {name}{where} from: its expected count is 0")
            flat = flat_axes(correlation.reshape(-1, d, d)[first], small.reshape(-1, d)[first])
            raise Degenerate([name], f"{name}{where} has collapsed: its matrix is singular{flat}")
        out = np.where(bad[..., None, None], old, out)
    return out


def flat_axes(correlation: Array, small: Array) -> str:
    """Which axes of a singular covariance are to blame: those that do not vary, or that move together."""
    still = np.flatnonzero(small)
    if still.size:
        return f" (no spread along axis {still[0]})"
    if not np.isfinite(correlation).all():
        return ""
    values, vectors = np.linalg.eigh(correlation)
    together = np.flatnonzero(np.abs(vectors[:, values < 1e-9]).max(1, initial=0) > 0.01)
    few = ", ".join(map(str, together[:6])) + (", ..." if len(together) > 6 else "")
    return f" (axes {few} move together)" if len(together) > 1 else ""


def _spread_of_two(scatter: Array, weights: list[float], least: float) -> Array | None:
    """C / a of a few 2 x 2 matrices in Python's own numbers; None where one is not well conditioned."""
    numbers: list[float] = scatter.ravel().tolist()
    if len(numbers) != 4 * len(weights):
        return None
    out: list[float] = []
    factors: list[float] = []  # the E-step asks for them next
    entry = iter(numbers)
    for weight, first, above, below, second in zip(weights, entry, entry, entry, entry, strict=False):
        if not weight > 0:
            return None
        a, b, c = first / weight, 0.5 * (above + below) / weight, second / weight
        if not (least < a < math.inf and least < c < math.inf):
            return None
        root = math.sqrt(a)
        across = b / root
        rest = c - across * across
        if not rest > 1e-8 * c:
            return None
        out += (a, b, b, c)
        factors += (root, 0.0, across, math.sqrt(rest))
    found = np.array(out).reshape(scatter.shape)
    remember((found.shape, found.tobytes()), np.array(factors).reshape(found.shape))
    return found


def _well_conditioned(a: Array, diagonal: Array, least: Any) -> bool:
    """Whether the diagonal is above `least` and Cholesky sees no small pivot, each against its own entry of it."""
    try:
        pivots = factored(a).diagonal(0, -2, -1)
    except np.linalg.LinAlgError:
        return False
    return bool(np.logical_and.reduce((pivots * pivots > 1e-8 * diagonal) & (diagonal > least), axis=None))


def checked(value: Any, name: str, old: Any, policy: str, low: Any, high: Any, bend: Any = None) -> Array:
    """A closed root inside its domain: not a number is a collapse, a value outside is put on the boundary.

    An infinite one (the log odds of what never failed) becomes as large as the log of 0 is. `bend`, the second
    derivative of Q, is given where it may be positive, so that a root inside is no maximum.
    """
    value = np.asarray(value, float)
    if bend is not None:
        value = highest(value, name, old, policy, (bend > 0) & (value > low) & (value < high))
    if not finite(value):
        bad = np.isnan(value)
        value = np.clip(value, -1e200, 1e200)
        if bad.any() and policy != "keep":
            raise Degenerate([name], f"nothing is left to estimate {name} from: its expected counts are 0")
        value = np.where(bad, old, value)
    unbounded = isinstance(low, float) and isinstance(high, float) and math.isinf(low) and math.isinf(high)
    return value if unbounded else np.minimum(np.maximum(value, low), high)


def highest(value: Array, name: str, old: Any, policy: str, least: Any) -> Array:
    """Roots but for those at which Q is `least`: a penalty outweighs the data, and Q grows on either side."""
    if np.any(least) and policy != "keep":
        raise Degenerate([name], NO_BEST.format(name))
    return np.where(least, old, value)


def positive(
    value: Any, name: str, old: Any, policy: str, floor: Any, endless: Any, ceiling: float = math.inf, bend: Any = None
) -> Array:
    """A root that must be positive; `bend` as in `checked`, of a score whose other roots, if any, are no numbers.

    At 0, or short of it, it is a boundary estimate where Q has a value there (`endless`, what logs and such weigh in
    it, is 0: all counts are zero); else Q is unbounded there and the parameter has collapsed. Below `floor`, and from
    `ceiling` on, is rounding, and so is the root of a negative sum of squares.
    """
    value = np.asarray(value, float)
    if bend is not None:
        value = highest(value, name, old, policy, bend > 0)
    if value.size and not (np.all(floor < value) and value.max() < ceiling):
        bounded = (value <= 0) & (np.asarray(endless) == 0)
        value = np.where(bounded, 0.0, value)
        bad = ~((value > floor) | bounded) | ~(value < ceiling)
        if not bad.any():
            return value
        where = f" {tuple(int(i) for i in np.argwhere(bad)[0])}" if bad.ndim else ""
        if policy == "regularise":
            return np.where(bad, np.maximum(1e3 * floor, 1e-6) if math.isinf(ceiling) else 1e-6 * ceiling, value)
        if policy != "keep":
            if np.isnan(value[bad][0]) and not np.broadcast_to(endless, value.shape)[bad][0]:  # 0 / 0
                raise Degenerate([name], f"nothing is left to estimate {name}{where} from: its expected counts are 0")
            raise Degenerate([name], f"{name}{where} has collapsed to its boundary")
        value = np.where(bad, old, value)
    return value


def weighted_median(values: Array, weights: Array, old: Array) -> Array:
    """The maximum of -sum w |x - v| over the last axis, the middle of it where it is an interval.

    values, weights : (..., n), weights 0 or more. old : (...), kept where no weight is left.
    """
    order = np.argsort(values, axis=-1, kind="stable")
    x = np.take_along_axis(values, order, -1)
    below = np.cumsum(np.take_along_axis(np.broadcast_to(weights, values.shape), order, -1), -1)
    total = below[..., -1:]
    slack = 1e-14 * total  # weights that add up to half are half, whatever they lost in rounding
    first = np.argmax(below >= total / 2 - slack, -1)[..., None]
    last = np.argmax(below > total / 2 + slack, -1)[..., None]
    found = (np.take_along_axis(x, first, -1) + np.take_along_axis(x, last, -1))[..., 0] / 2
    return np.where(total[..., 0] > 0, found, old)


def best_root(
    candidates: Sequence[Array], objective: Callable[[Array], Array], low: Any, high: Any, endless: Any = None
) -> Array:
    """Of several roots, elementwise, the feasible one with the largest value of `objective`.

    An end of the domain at which the objective is a number is one more: a feasible root may be a minimum. So is 0 where
    `endless`, the weight of all that has no value there, is 0, if the objective does not rise from there.
    """
    best, value = np.asarray(np.nan), np.asarray(-np.inf)
    ends = [np.asarray(end) for end in (low, high) if np.all(np.isfinite(end))]
    for c in (*candidates, *ends):
        with np.errstate(all="ignore"):
            q = np.where(np.isfinite(c) & (c >= low) & (c <= high), objective(np.clip(c, low, high)), -np.inf)
        at_end = (c == low) | (c == high)  # there log 0 is a number only by convention
        q = np.where(np.isnan(q) | (at_end & (np.abs(q) > 1e100)), -np.inf, q)
        best, value = np.where(q > value, c, best), np.maximum(q, value)
    if endless is not None:
        with np.errstate(all="ignore"):
            q = np.where(np.asarray(endless) == 0, objective(np.full(value.shape, 1e-150)), -np.inf)
            falls = q > np.fmax(value, objective(np.full(value.shape, np.minimum(1.0, high))))
        best, value = np.where(falls, 0.0, best), np.where(falls, q, value)
    return np.where(np.isfinite(value), best, np.nan)


def maximise_scalar(
    objective: Callable[[Array], tuple[Array, Array, Array]],
    start: Any,
    domain: str,
    low: Any = -np.inf,
    high: Any = np.inf,
) -> Array:
    """Elementwise maximum by Newton with step-halving, kept inside a bracket of the score's sign.

    `objective(v)` gives Q, its first and its second derivative. Steps are taken in unconstrained coordinates (log
    of a positive, logit of a unit). One that leaves the bracket goes to its middle; one that lowers Q is halved.
    """
    to, back, slope = _COORDINATES[domain]
    with np.errstate(all="ignore"):
        bounds = (np.maximum(low, 0.0) if domain != "real" else low, high)
        least, most = (np.clip(to(np.asarray(end)), *_LIMITS[domain]) for end in bounds)
        t = np.clip(to(np.array(start, float)), least, most)
        value, first, second = objective(back(t))
    reach = 4.0 * (1 + np.abs(t)) if domain == "real" else 4.0
    lower, upper = np.full(t.shape, -np.inf), np.full(t.shape, np.inf)
    for step in range(200):
        with np.errstate(all="ignore"):
            d1, d2 = slope(back(t))
            gradient, curvature = np.asarray(first * d1), np.asarray(second * d1**2 + first * d2)  # of constants, too
            lower, upper = np.where(gradient > 0, t, lower), np.where(gradient < 0, t, upper)
            move = np.where(curvature < 0, -gradient / curvature, np.sign(gradient) * reach * 2.0 ** min(step - 2, 2))
        new = t + np.clip(with_numbers(move), -reach, reach)
        inside = (new > lower) & (new < upper)
        both = np.isfinite(lower) & np.isfinite(upper)
        middle = np.where(both, (np.where(both, lower, 0.0) + np.where(both, upper, 0.0)) / 2, new)
        new = np.clip(np.where(inside | (gradient == 0), new, middle), least, most)
        # what Q gains is below its rounding: nothing to be seen in its value
        fine = np.abs(gradient * (new - t)) <= 1e-9 * (1 + np.abs(value))
        for _ in range(60):
            with np.errstate(all="ignore"):
                there, first, second = objective(back(new))
                fell = ~fine & ((there < value) | (np.isnan(there) & ~np.isnan(value))) & (new != t)
            if not fell.any():
                break
            new = np.where(fell, (t + new) / 2, new)
        value, still = there, np.abs(new - t) <= 1e-13 * (1 + np.abs(t))
        t = new
        if np.all(still):
            break
    return np.clip(back(t), low, high)
