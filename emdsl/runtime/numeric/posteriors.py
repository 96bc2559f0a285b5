"""Posterior families in natural parameters: log-normaliser and expected statistics.

Each function takes the natural parameters of its statistics, arrays that broadcast, and returns
(A, moments): exp A normalises exp(sum eta_j T_j), moments maps functions of the latent to their
expectations. The gradient of A gives the moments of the T_j (Wainwright and Jordan 2008, section 3).
"""

# mypy: disable-error-code="no-any-return"
# (operators on arrays of any dtype, and all of scipy, are Any to mypy)

from __future__ import annotations

from typing import Any

import numpy as np
import scipy

from emdsl.runtime.data.columns import Array
from emdsl.runtime.numeric.digits import LOOKED, note_rounding
from emdsl.runtime.numeric.numerics import LOWEST


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
