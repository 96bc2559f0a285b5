"""Posterior families in natural parameters: log-normaliser and expected statistics.

Each function takes the natural parameters of its statistics, arrays that broadcast, and returns
(A, moments): exp A normalises exp(sum eta_j T_j), moments maps functions of the latent to their
expectations. The gradient of A gives the moments of the T_j (Wainwright and Jordan 2008, section 3).
"""

import numpy as np
from scipy import special


def gamma_posterior(log, id):
    """exp(log * log u + id * u) on u > 0: Gamma(shape = log + 1, rate = -id)."""
    shape, rate = log + 1.0, -id
    a = special.gammaln(shape) - shape * np.log(rate)
    with np.errstate(all="ignore"):
        recip = np.where(shape > 1, rate / (shape - 1), np.inf)
    return a, {
        "id": shape / rate, "log": special.digamma(shape) - np.log(rate), "recip": recip,
        "square": shape * (shape + 1) / rate**2, "arguments": {"shape": shape, "rate": rate},
    }  # fmt: skip


def inverse_gamma_posterior(log, recip):
    """exp(log * log u + recip / u) on u > 0: InverseGamma(shape = -log - 1, scale = -recip)."""
    shape, scale = -log - 1.0, -recip
    a = special.gammaln(shape) - shape * np.log(scale)
    with np.errstate(all="ignore"):
        mean = np.where(shape > 1, scale / (shape - 1), np.inf)
    return a, {
        "id": mean, "log": np.log(scale) - special.digamma(shape), "recip": shape / scale,
        "arguments": {"shape": shape, "scale": scale},
    }  # fmt: skip


def beta_posterior(log, log1m):
    """exp(log * log u + log1m * log(1 - u)) on 0 < u < 1: Beta(log + 1, log1m + 1)."""
    a, b = log + 1.0, log1m + 1.0
    total = special.digamma(a + b)
    return special.betaln(a, b), {
        "id": a / (a + b), "log": special.digamma(a) - total, "log1m": special.digamma(b) - total,
        "square": a * (a + 1) / ((a + b) * (a + b + 1)), "arguments": {"a": a, "b": b},
    }  # fmt: skip


def normal_posterior(id, square):
    """exp(id * u + square * u^2) on the line: Normal(mean = -id / (2 square), var = -1 / (2 square))."""
    var = -0.5 / square
    mean = id * var
    a = 0.5 * id * mean + 0.5 * np.log(2 * np.pi * var)
    return a, {
        "id": mean, "square": mean**2 + var, "exp": np.exp(mean + var / 2),
        "arguments": {"mean": mean, "var": var},
    }  # fmt: skip


def log_normal_posterior(log, log2):
    """exp(log * log u + log2 * (log u)^2) on u > 0: LogNormal, whose log is Normal after the Jacobian."""
    var = -0.5 / log2
    mean = (log + 1.0) * var
    a = 0.5 * (log + 1.0) * mean + 0.5 * np.log(2 * np.pi * var)
    return a, {
        "log": mean, "log^2": mean**2 + var, "id": np.exp(mean + var / 2), "recip": np.exp(-mean + var / 2),
        "square": np.exp(2 * mean + 2 * var), "arguments": {"mean": mean, "var": var},
    }  # fmt: skip


def von_mises_posterior(cos, sin):
    """exp(cos * cos u + sin * sin u) on the circle: VonMises."""
    k = np.hypot(cos, sin)
    mean = np.arctan2(sin, cos)
    ratio = special.i1e(k) / special.i0e(k)
    return np.log(special.i0e(k)) + k + np.log(2 * np.pi), {
        "cos": ratio * np.cos(mean), "sin": ratio * np.sin(mean), "id": mean,
        "arguments": {"mean": mean, "concentration": k},
    }  # fmt: skip


def generalised_inverse_gaussian_posterior(log, id, recip):
    """exp(log * log u + id * u + recip / u) on u > 0, by Bessel K (Jorgensen 1982)."""
    p, a, b = np.broadcast_arrays(log + 1.0, -2.0 * id, -2.0 * recip)
    root = np.sqrt(a * b)
    log_k = np.log(special.kve(p, root)) - root
    norm = np.log(2.0) + log_k - 0.5 * p * (np.log(a) - np.log(b))
    ratio = np.exp(np.log(special.kve(p + 1, root)) - root - log_k)
    step = 1e-5
    dlog = (np.log(special.kve(p + step, root)) - np.log(special.kve(p - step, root))) / (2 * step)
    mean = np.sqrt(b / a) * ratio
    return norm, {
        "id": mean, "recip": np.sqrt(a / b) * ratio - 2 * p / b, "log": dlog + 0.5 * np.log(b / a),
        "arguments": {"p": p, "a": a, "b": b},
    }  # fmt: skip


def dirichlet_posterior(log, axis=-1):
    """exp(sum_k log_k log u_k) on the simplex along `axis`: Dirichlet(log + 1)."""
    c = log + 1.0
    total = c.sum(axis, keepdims=True)
    a = special.gammaln(c).sum(axis) - special.gammaln(total.squeeze(axis))
    return a, {
        "id": c / total, "log": special.digamma(c) - special.digamma(total), "arguments": {"concentration": c},
    }  # fmt: skip
