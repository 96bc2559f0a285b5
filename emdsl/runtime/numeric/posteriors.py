"""Posterior families in natural parameters: log-normaliser and expected statistics.

Each function takes the natural parameters of its statistics, arrays that broadcast, and returns
(A, moments): exp A normalises exp(sum eta_j T_j), moments maps functions of the latent to their
expectations. The gradient of A gives the moments of the T_j (Wainwright and Jordan 2008, section 3).
"""

# mypy: disable-error-code="no-any-return"
# (operators on arrays of any dtype, and all of scipy, are Any to mypy)

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy

from emdsl.runtime.data.columns import Array
from emdsl.runtime.numeric.digits import LOOKED, note_rounding
from emdsl.runtime.numeric.numerics import LOWEST

WITHOUT_DIGITS = 1e12  # a height of a log density that is known to 1e-4 alone
BY_ROUNDINGS = 1e-14  # of it: more than what some dozens of roundings take


def gamma_posterior(log: Array, id: Array) -> tuple[Array, dict[str, Any]]:
    """exp(log * log u + id * u) on u > 0: Gamma(shape = log + 1, rate = -id)."""
    shape, rate = log + 1.0, -id
    a = scipy.special.gammaln(shape) - shape * np.log(rate)
    with np.errstate(all="ignore"):
        recip = np.where(shape > 1, rate / (shape - 1), np.inf)
    return a, {
        "id": shape / rate, "log": scipy.special.digamma(shape) - np.log(rate), "recip": recip,
        "square": shape * (shape + 1) / rate**2, "arguments": {"shape": shape, "rate": rate},
    }  # fmt: skip


def inverse_gamma_posterior(log: Array, recip: Array) -> tuple[Array, dict[str, Any]]:
    """exp(log * log u + recip / u) on u > 0: InverseGamma(shape = -log - 1, scale = -recip)."""
    shape, scale = -log - 1.0, -recip
    a = scipy.special.gammaln(shape) - shape * np.log(scale)
    with np.errstate(all="ignore"):
        mean = np.where(shape > 1, scale / (shape - 1), np.inf)
    return a, {
        "id": mean, "log": np.log(scale) - scipy.special.digamma(shape), "recip": shape / scale,
        "arguments": {"shape": shape, "scale": scale},
    }  # fmt: skip


def beta_posterior(log: Array, log1m: Array) -> tuple[Array, dict[str, Any]]:
    """exp(log * log u + log1m * log(1 - u)) on 0 < u < 1: Beta(log + 1, log1m + 1)."""
    a, b = log + 1.0, log1m + 1.0
    total = scipy.special.digamma(a + b)
    return scipy.special.betaln(a, b), {
        "id": a / (a + b), "log": scipy.special.digamma(a) - total, "log1m": scipy.special.digamma(b) - total,
        "square": a * (a + 1) / ((a + b) * (a + b + 1)), "arguments": {"a": a, "b": b},
    }  # fmt: skip


def normal_posterior(id: Array, square: Array) -> tuple[Array, dict[str, Any]]:
    """exp(id * u + square * u^2) on the line: Normal(mean = -id / (2 square), var = -1 / (2 square))."""
    var = -0.5 / square
    mean = id * var
    a = 0.5 * id * mean + 0.5 * np.log(2 * np.pi * var)
    if LOOKED:
        note_rounding(id * mean)
    return a, {
        "id": mean, "square": mean**2 + var, "exp": np.exp(mean + var / 2),
        "var": var if np.shape(var) == np.shape(mean) else np.broadcast_to(var, np.shape(mean)),
        "arguments": {"mean": mean, "var": var},
    }  # fmt: skip


HARDLY_STEEP = 3.0  # by how much a log density changes between bounds that are near
NEAR = 12  # points of Gauss and Legendre's rule from each of these inward: right to rounding
GROWING = 64  # of what grows with u^2, however steeply
FALLEN = 40.0  # by how much a log density falls from an end to where it counts no more


def cut_normal_posterior(id: Array, square: Array, lower: Array, upper: Array) -> tuple[Array, dict[str, Any]]:
    """The same between two bounds, which may be infinite: moments of a truncated Normal (Johnson, Kotz and Balakrishnan
    1994, section 13.10.1), with all ratios taken as differences of logarithms. Equal bounds are where it was seen;
    between bounds that are exchanged there is nothing."""
    return _cut_gaussian(id, square, lower, upper, _exponent)


def cut_normal_density(id: Array, square: Array, lower: Array, upper: Array) -> tuple[Array, dict[str, Any]]:
    """The same of the density of the Normal itself: the log of how much of it lies between the bounds, and where it was
    seen the log density there. Far out it keeps the digits that the squares of what is far from 0 would take."""
    return _cut_gaussian(id, square, lower, upper, _log_density)


def _exponent(id: Array, square: Array, at: Array) -> Array:
    return id * at + square * at**2


def _log_density(id: Array, square: Array, at: Array) -> Array:
    return square * (at + 0.5 * id / square) ** 2 + 0.5 * np.log(-square / np.pi)


def _cut_gaussian(
    id: Array, square: Array, lower: Array, upper: Array, level: Callable[[Array, Array, Array], Array]
) -> tuple[Array, dict[str, Any]]:
    """Log of the integral between two bounds, and moments, of the Gaussian whose log is this `level`."""
    seen, none = lower == upper, lower > upper
    point, ends = np.where(seen, lower, 0.0), {"lower": lower, "upper": upper}
    lower, upper = np.where(seen | none, -np.inf, lower), np.where(seen | none, np.inf, upper)
    narrow = hardly_normal(id, square, lower, upper)
    var = -0.5 / np.where(narrow, np.minimum(square, -1.0), square)
    sd, mean = np.sqrt(var), id * var
    flipped = lower - mean > mean - upper  # the tail that holds the interval is turned to the left
    a, b = (lower - mean) / sd, (upper - mean) / sd
    a, b = np.where(flipped, -b, a), np.where(flipped, -a, b)
    log_mass, at_a = scipy.special.log_ndtr(b), 0.0
    if (both := np.isfinite(a)).any():  # elsewhere one tail is all
        log_mass = log_mass + np.log1p(-np.exp(scipy.special.log_ndtr(a) - log_mass))
        at_a = np.exp(-0.5 * a**2 - 0.5 * np.log(2 * np.pi) - log_mass)
    at_b = np.exp(-0.5 * b**2 - 0.5 * np.log(2 * np.pi) - log_mass)
    slope = at_a - at_b
    curve = np.where(both, a, 0.0) * at_a - np.where(np.isfinite(b), b, 0.0) * at_b
    inside = mean + np.where(flipped, -1.0, 1.0) * sd * slope
    spread = var * np.maximum(1 + curve - slope**2, 0.0)
    whole = 0.0 if level is _log_density else _of_the_line(id, var, mean)
    total = np.where(seen, level(id, square, point), whole + log_mass)
    if narrow.any():
        eta1, eta2, low, high = (np.broadcast_to(a, narrow.shape)[narrow] for a in (id, square, lower, upper))
        inside, spread = np.array(inside), np.array(spread)
        total[narrow], inside[narrow], spread[narrow] = _between_near_bounds(eta1, eta2, low, high, level)
    inside, spread = np.where(seen, point, inside), np.where(seen, 0.0, spread)
    total = np.where(none, LOWEST, total)
    return total, {
        "id": inside,
        "square": inside**2 + spread,
        "var": spread,
        "arguments": {"id": id, "square": square, **ends},
    }


def _of_the_line(id: Array, var: Array, mean: Array) -> Array:
    """The log-normaliser without bounds. Far out what it is added to takes its height away again: where that leaves no
    digits, the lower end of what it is."""
    height = 0.5 * id * mean
    if LOOKED:
        note_rounding(id * mean)
    return np.where(height > WITHOUT_DIGITS, height - BY_ROUNDINGS * height, height) + 0.5 * np.log(2 * np.pi * var)


def hardly_normal(id: Array, square: Array, lower: Array, upper: Array) -> Array:
    """Where exp(id * u + square * u^2) hardly changes between two bounds, or grows with u^2: no Normal's tails tell of
    what is between."""
    middle, half = _middle(lower, upper)
    if not np.isfinite(half).any():
        return np.zeros(np.broadcast_shapes(*map(np.shape, (id, square, half))), bool)
    length = np.where(np.isfinite(half), half, 0.0)
    steep = np.abs(id + 2 * square * middle) * length + np.abs(square) * length**2
    return np.isfinite(half) & ((steep < HARDLY_STEEP) | np.greater(square, 0.0))


def _middle(lower: Array, upper: Array) -> tuple[Array, Array]:
    """The middle and half the length of an interval; without an end 0, and infinite."""
    both = np.isfinite(lower) & np.isfinite(upper)
    low, high = np.where(both, lower, 0.0), np.where(both, upper, 0.0)
    return 0.5 * (low + high), np.where(both, 0.5 * (high - low), np.inf)


def two_sides(id: Array, square: Array, lower: Array, upper: Array) -> tuple[Array, Array, Array]:
    """Of an interval, cut where exp(id * u + square * u^2) is least, or in its middle: (2, ...) both ends, how far it
    is inward from them to the cut, and the slope of the log density there, inward."""
    low, high, bend = np.broadcast_arrays(lower, upper, square)
    with np.errstate(all="ignore"):
        least = np.where(bend > 0, np.clip(-0.5 * id / bend, low, high), 0.5 * (low + high))
    ends, inward = np.array([low, high]), np.reshape([1.0, -1.0], (2, *[1] * low.ndim))
    return ends, np.abs(least - ends), inward * (id + 2 * bend * ends)


def _between_near_bounds(
    id: Array, square: Array, lower: Array, upper: Array, level: Callable[[Array, Array, Array], Array]
) -> tuple[Array, Array, Array]:
    """Log of the integral, the mean and the variance, by Gauss and Legendre's rule from each end: differences of tails
    would leave no digits where a density hardly changes (no data at all: a Uniform)."""
    ends, length, slope = two_sides(id, square, lower, upper)
    with np.errstate(all="ignore"):  # what grows with u^2 falls by half its slope at an end, at least, all the way in
        length = np.minimum(length, np.where(square > 0, 2 * FALLEN / np.maximum(-slope, 0.0), np.inf))
    nodes, weights = np.polynomial.legendre.leggauss(GROWING if np.any(square > 0) else NEAR)
    inward = 0.5 * length[..., None] * (nodes + 1)
    height = level(id, square, ends)
    top = height.max(0)
    log = (height - top)[..., None] + slope[..., None] * inward + square[..., None] * inward**2
    mass = 0.5 * length[..., None] * weights * np.exp(log)
    total = mass.sum((0, -1))
    off = np.array([inward[0], (ends[1] - ends[0])[..., None] - inward[1]])  # from the lower end
    mean = (mass * off).sum((0, -1)) / total
    spread = (mass * (off - mean[..., None]) ** 2).sum((0, -1)) / total
    return top + np.log(total), ends[0] + mean, spread


def parted_normal_posterior(id: Array, square: Array, lower: Array, upper: Array) -> tuple[Array, dict[str, Any]]:
    """The same below the upper or above the lower bound where they are exchanged, and between them elsewhere."""
    return _parted(id, square, lower, upper, _exponent)


def parted_normal_density(id: Array, square: Array, lower: Array, upper: Array) -> tuple[Array, dict[str, Any]]:
    """The same of the density of the Normal itself."""
    return _parted(id, square, lower, upper, _log_density)


def _parted(
    id: Array, square: Array, lower: Array, upper: Array, level: Callable[[Array, Array, Array], Array]
) -> tuple[Array, dict[str, Any]]:
    apart = lower > upper
    below, at_below = _cut_gaussian(id, square, np.where(apart, -np.inf, lower), upper, level)
    above, at_above = _cut_gaussian(id, square, lower, np.where(apart, np.inf, upper), level)
    total = np.where(apart, np.logaddexp(below, above), below)
    share = np.where(apart, np.exp(below - total), 1.0)
    moments = {k: share * at_below[k] + (1 - share) * at_above[k] for k in ("id", "square")}
    return total, {**moments, "arguments": {**at_below["arguments"], "lower": lower, "upper": upper}}


def log_normal_posterior(log: Array, log2: Array) -> tuple[Array, dict[str, Any]]:
    """exp(log * log u + log2 * (log u)^2) on u > 0: LogNormal, whose log is Normal after the Jacobian."""
    var = -0.5 / log2
    mean = (log + 1.0) * var
    a = 0.5 * (log + 1.0) * mean + 0.5 * np.log(2 * np.pi * var)
    return a, {
        "log": mean, "log^2": mean**2 + var, "id": np.exp(mean + var / 2), "recip": np.exp(-mean + var / 2),
        "square": np.exp(2 * mean + 2 * var), "arguments": {"mean": mean, "var": var},
    }  # fmt: skip


def von_mises_posterior(cos: Array, sin: Array) -> tuple[Array, dict[str, Any]]:
    """exp(cos * cos u + sin * sin u) on the circle: VonMises."""
    k = np.hypot(cos, sin)
    mean = np.arctan2(sin, cos)
    ratio = scipy.special.i1e(k) / scipy.special.i0e(k)
    return np.log(scipy.special.i0e(k)) + k + np.log(2 * np.pi), {
        "cos": ratio * np.cos(mean), "sin": ratio * np.sin(mean), "id": mean,
        "arguments": {"mean": mean, "concentration": k},
    }  # fmt: skip


LEAST_PRODUCT = 1e-120  # of the two rates of a generalised inverse Gaussian: the square of what its moments depend on
LEAST_RESIDUAL = (
    1e-14  # of it, where the mean of 1 / u is what a row weighs: of sums with larger weights nothing is left
)


def generalised_inverse_gaussian_posterior(log: Array, id: Array, recip: Array) -> tuple[Array, dict[str, Any]]:
    """exp(log * log u + id * u + recip / u) on u > 0 (Jorgensen 1982), with p = log + 1, a = -2 id, b = -2 recip.

    With u = sqrt(b/a) e^t the normaliser is int exp(p t - omega cosh t) dt = 2 K_p(omega), omega = sqrt(ab). The
    integrand is analytic and falls doubly exponentially, on one side exponentially for long where omega is small (a
    residual of 0): with t = width sinh v the trapezoid rule is right to rounding there as well (Takahasi and Mori
    1974), also where Bessel functions overflow (order 200, argument 1).
    """
    p, a, b = np.broadcast_arrays(log + 1.0, -2.0 * id, -2.0 * recip)
    seen, steep = b, (p >= 0.5) & (p < 1)  # as a Laplace's weights at its centre
    b = np.maximum(b, np.where(steep, LEAST_RESIDUAL, LEAST_PRODUCT) / np.maximum(a, 1e-100))  # a Gamma at last
    a = np.maximum(a, LEAST_PRODUCT / b)
    omega, log_scale = np.sqrt(a) * np.sqrt(b), 0.5 * (np.log(b) - np.log(a))
    peak = np.arcsinh(p / omega)

    def below_top(t: Array, p: Array, omega: Array, peak: Array) -> Array:
        half = np.clip(t / 2, -300, 300)
        return 2 * omega * np.sinh(half) * np.sinh(np.clip(peak + half, -300, 300)) - p * t

    ends = []
    for side in (-1.0, 1.0):
        far = np.full(np.shape(peak), 1e-8)
        for _ in range(48):
            far = np.where(below_top(side * far, p, omega, peak) < 110.0, 2 * far, far)
        ends.append(side * far)
    span = ends[1] - ends[0]
    width = np.where(span < 64, 16 * span, 1 / np.sqrt(np.hypot(p, omega)))  # (nearly) even points, or the top
    first, last = (np.arcsinh(end / width) for end in ends)
    step = (last - first) / 256
    v = first[..., None] + step[..., None] * np.arange(257)
    t = width[..., None] * np.sinh(v)
    weight = np.exp(-below_top(t, p[..., None], omega[..., None], peak[..., None])) * np.cosh(v)
    total, centre = weight.sum(-1), peak + log_scale
    recip = np.exp(-centre) * (weight * np.exp(-t)).sum(-1) / total
    along = np.where(steep, 0.5 * recip * (b - seen), 0.0)  # below the least residual the normaliser is its tangent
    return np.log(total * step * width) + p * centre - omega * np.cosh(peak) + along, {
        "id": np.exp(centre) * (weight * np.exp(t)).sum(-1) / total,
        "recip": recip,
        "log": centre + (weight * t).sum(-1) / total,
        "arguments": {"p": p, "a": a, "b": b},
    }


def dirichlet_posterior(log: Array, axis: int = -1) -> tuple[Array, dict[str, Any]]:
    """exp(sum_k log_k log u_k) on the simplex along `axis`: Dirichlet(log + 1)."""
    c = log + 1.0
    total = c.sum(axis, keepdims=True)
    a = scipy.special.gammaln(c).sum(axis) - scipy.special.gammaln(total.squeeze(axis))
    return a, {
        "id": c / total, "log": scipy.special.digamma(c) - scipy.special.digamma(total),
        "arguments": {"concentration": c},
    }  # fmt: skip


def wishart_posterior(logdet: Array, id: Array, axes: tuple[int, int] = (-2, -1)) -> tuple[Array, dict[str, Any]]:
    """exp(logdet * log det W + sum_ij id_ij W_ij): Wishart(df = 2 logdet + D + 1, scale = inverse of -2 id).

    `axes` are those of the matrices; `logdet` and all else that is one number for each matrix lack them.
    """
    a, df, low, lower = _wishart(logdet, id, axes)
    scale = lower.swapaxes(-1, -2) @ lower
    mean, inv = df[..., None, None] * scale, _mean_inverse(df, low)
    return a, {
        "id": np.moveaxis(mean, (-2, -1), axes), "inv": np.moveaxis(inv, (-2, -1), axes),
        "logdet": _mean_logdet(df, low),
        "arguments": {"df": df, "scale": np.moveaxis(scale, (-2, -1), axes)},
    }  # fmt: skip


def inverse_wishart_posterior(
    logdet: Array, inv: Array, axes: tuple[int, int] = (-2, -1)
) -> tuple[Array, dict[str, Any]]:
    """exp(logdet * log det S + sum_ij inv_ij (1/S)_ij): InverseWishart(df = -2 logdet - D - 1, scale = -2 inv)."""
    a, df, low, lower = _wishart(-logdet - (np.shape(inv)[axes[0]] + 1.0), inv, axes)
    scale = low @ low.swapaxes(-1, -2)
    precision, mean = df[..., None, None] * (lower.swapaxes(-1, -2) @ lower), _mean_inverse(df, low)
    return a, {
        "inv": np.moveaxis(precision, (-2, -1), axes), "id": np.moveaxis(mean, (-2, -1), axes),
        "logdet": -_mean_logdet(df, low),
        "arguments": {"df": df, "scale": np.moveaxis(scale, (-2, -1), axes)},
    }  # fmt: skip


def _wishart(logdet: Array, id: Array, axes: tuple[int, int]) -> tuple[Array, Array, Array, Array]:
    """Log-normaliser, degrees of freedom, the Cholesky factor of the inverse scale, and that factor's inverse."""
    half = np.moveaxis(-np.asarray(id), axes, (-2, -1))
    df = np.broadcast_to(
        2 * np.asarray(logdet) + half.shape[-1] + 1, np.broadcast_shapes(np.shape(logdet), half.shape[:-2])
    )
    low = np.linalg.cholesky(half + half.swapaxes(-1, -2))
    d, i = low.shape[-1], np.arange(low.shape[-1])
    gammas = scipy.special.gammaln((df[..., None] - i) / 2).sum(-1) + d * (d - 1) / 4 * np.log(np.pi)
    log_det = 2 * np.log(low.diagonal(0, -2, -1)).sum(-1)
    return df * d / 2 * np.log(2) + gammas - df / 2 * log_det, df, low, np.linalg.inv(low)


def _mean_inverse(df: Array, low: Array) -> Array:
    """E of the inverse of a Wishart, infinite where it has none."""
    rest = df - low.shape[-1] - 1
    with np.errstate(all="ignore"):
        factor = np.where(rest > 0, 1 / rest, np.inf)
    return factor[..., None, None] * (low @ low.swapaxes(-1, -2))


def _mean_logdet(df: Array, low: Array) -> Array:
    """E log det W of a Wishart whose inverse scale has this Cholesky factor."""
    d = low.shape[-1]
    digammas = scipy.special.digamma((df[..., None] - np.arange(d)) / 2).sum(-1)
    return digammas + d * np.log(2) - 2 * np.log(low.diagonal(0, -2, -1)).sum(-1)


def held_multinomial_posterior(
    id: Array, factorial: Array, seen: Array, missing: Array, total: Array, axis: int = -1
) -> tuple[Array, dict[str, Any]]:
    """sum over counts x of exp(sum_k id_k x_k - log x_k!) that add up to `total`, where `seen` are known: those of the
    cells that are missing (1, else 0) are Multinomial of what is left (Johnson, Kotz and Balakrishnan 1997, chapter
    35).
    """
    id, seen, missing, total = np.broadcast_arrays(id, seen, missing, total)
    lacks = missing > 0
    rest = total.take(0, axis) - seen.sum(axis)
    eta = np.where(lacks, id, -np.inf)
    top = np.maximum(eta.max(axis, keepdims=True), LOWEST)
    share = np.exp(eta - top)
    whole = share.sum(axis, keepdims=True)
    with np.errstate(all="ignore"):
        weight = np.where(rest == 0, 0.0, rest * (top + np.log(whole)).squeeze(axis))
        known = np.where(lacks | (seen == 0), 0.0, id * seen) - scipy.special.gammaln(seen + 1.0)
        a = np.where(rest < 0, -np.inf, known.sum(axis) + weight - scipy.special.gammaln(rest + 1.0))
        share = share / np.where(whole > 0, whole, 1.0)
        mean = np.expand_dims(rest, axis) * share
    first, spread = np.where(lacks, mean, seen), np.where(lacks, mean * (1.0 - share), 0.0)
    return a, {"id": first, "square": first**2 + spread}


def held_dirichlet_posterior(log: Array, seen: Array, missing: Array, axis: int = -1) -> tuple[Array, dict[str, Any]]:
    """The integral of exp(sum_k log_k log u_k) over shares u that add up to one, where `seen` are known: those that are
    missing (1, else 0) are what is left of one, times a Dirichlet(log + 1) of their own (Ng, Tian and Tang 2011,
    chapter 2).
    """
    log, seen, missing = np.broadcast_arrays(log, seen, missing)
    lacks, c = missing > 0, log + 1.0
    there = np.where(lacks, 1.0, seen)
    rest = 1.0 - np.where(lacks, 0.0, seen).sum(axis, keepdims=True)
    own = np.where(lacks, c, 0.0)
    total = own.sum(axis, keepdims=True)
    some = total > 0
    with np.errstate(all="ignore"):
        left = np.where(some, (total - 1.0) * np.log(rest) - scipy.special.gammaln(total), 0.0)
        a = (np.where(lacks, scipy.special.gammaln(c), log * np.log(there))).sum(axis) + left.squeeze(axis)
        mean = np.log(rest) + scipy.special.digamma(c) - scipy.special.digamma(np.where(some, total, 1.0))
        share = c / np.where(some, total, 1.0)
    first = np.where(lacks, rest * share, seen)
    spread = np.where(lacks, rest**2 * share * (1.0 - share) / (total + 1.0), 0.0)
    return a, {"log": np.where(lacks, mean, np.log(there)), "id": first, "square": first**2 + spread}
