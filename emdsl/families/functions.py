"""What the language's functions compute, on arrays with a leading batch axis."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import special

from emdsl.families.kernels_continuous import log_bessel_i0
from emdsl.families.records import Array, Function


def multiply(*factors: Any) -> Array:
    """A product in which 0 times anything is 0 (0 log 0 = 0)."""
    out = np.asarray(factors[0])
    for f in factors[1:]:
        product = out * f
        wild = ~np.isfinite(product)
        out = np.where(wild & ((out == 0) | (np.asarray(f) == 0)), 0, product) if np.any(wild) else product
    return out


def power(base: Any, exponent: Any) -> Array:
    """Real powers; integers stay integers where they can."""
    base, exponent = np.asarray(base), np.asarray(exponent)
    value = np.power(base.astype(float), exponent.astype(float))
    whole = np.issubdtype(base.dtype, np.integer) and np.issubdtype(exponent.dtype, np.integer)
    if whole and np.all(exponent >= 0) and np.all(np.abs(value) < 2**53):
        return np.asarray(value.astype(np.int64))
    return np.asarray(value)


def _compare(fn: Function) -> Function:
    return lambda a, b: fn(a, b).astype(np.int64)


def _lchoose(n: Any, k: Any) -> Array:
    return np.asarray(special.gammaln(n + 1.0) - special.gammaln(k + 1.0) - special.gammaln(n - k + 1.0))


# Elementwise on operands already of equal rank.
ELEMENTWISE: Mapping[str, Function] = {
    "add": np.add,
    "sub": np.subtract,
    "div": np.true_divide,
    "floordiv": np.floor_divide,
    "mod": np.mod,
    "neg": np.negative,
    "eq": _compare(np.equal),
    "ne": _compare(np.not_equal),
    "lt": _compare(np.less),
    "le": _compare(np.less_equal),
    "gt": _compare(np.greater),
    "ge": _compare(np.greater_equal),
    "not": lambda a: (np.asarray(a) == 0).astype(np.int64),
    "exp": np.exp,
    "log": lambda a: np.log(np.asarray(a, float)),
    "log1p": lambda a: np.log1p(np.asarray(a, float)),
    "sqrt": np.sqrt,
    "abs": np.abs,
    "min": np.minimum,
    "max": np.maximum,
    "logistic": special.expit,
    "logit": special.logit,
    "tanh": np.tanh,
    "sin": np.sin,
    "cos": np.cos,
    "Phi": special.ndtr,
    "lgamma": lambda a: special.gammaln(np.asarray(a, float)),
    "digamma": special.digamma,
    "beta_ln": special.betaln,
    "lchoose": _lchoose,
    "log_bessel_i0": log_bessel_i0,
    "sign": np.sign,
    "gamma_cdf": special.gammainc,
    "gamma_sf": special.gammaincc,
    "beta_cdf": special.betainc,
    "student_cdf": special.stdtr,
}


def _matmul(a: Array, b: Array, rank_a: int, rank_b: int) -> Array:
    """numpy's `@` for ranks 1 and 2, behind the batch axis."""
    left = a[:, None, :] if rank_a == 1 else a
    right = b[:, :, None] if rank_b == 1 else b
    out = left @ right
    out = out[..., 0] if rank_b == 1 else out
    return np.asarray(out[:, 0] if rank_a == 1 else out)


def _diag(a: Array, rank: int) -> Array:
    return a[..., None] * np.eye(a.shape[-1], dtype=a.dtype) if rank == 1 else np.diagonal(a, axis1=-2, axis2=-1)


def _logdet(a: Array, rank: int) -> Array:
    """log |det|; of a symmetric matrix that is not positive definite, which is no covariance, NaN."""
    value = np.linalg.slogdet(a)[1]
    turned = np.swapaxes(a, -1, -2)
    size = np.abs(a).max((-1, -2), initial=0.0)
    symmetric = np.isfinite(size) & (np.abs(a - turned).max((-1, -2), initial=0.0) <= 1e-12 * size)
    lowest = np.linalg.eigvalsh(np.where(symmetric[..., None, None], a, np.eye(a.shape[-1]))).min(-1, initial=np.inf)
    return np.where(symmetric & (lowest <= 0), np.nan, value)


def inv(a: Array, rank: int) -> Array:
    """NaN where a matrix is singular, so that one row does not spoil the others."""
    try:
        return np.asarray(np.linalg.inv(a))
    except np.linalg.LinAlgError:
        good = np.abs(np.linalg.slogdet(a)[0]) > 0
        out = np.full(a.shape, np.nan)
        out[good] = np.linalg.inv(a[good])
        return out


def _concat(*parts_and_ranks: Any) -> Array:
    half = len(parts_and_ranks) // 2
    parts = [p[:, None] if r == 0 else p for p, r in zip(parts_and_ranks[:half], parts_and_ranks[half:], strict=True)]
    n = max(p.shape[0] for p in parts)
    return np.concatenate([np.broadcast_to(p, (n, *p.shape[1:])) for p in parts], 1)


def _quad(a: Array, v: Array, *ranks: int) -> Array:
    return np.asarray(((a @ v[..., None])[..., 0] * v).sum(-1))


# Take their operands, then the operands' own ranks.
VECTOR_FUNCTIONS: Mapping[str, Function] = {
    "matmul": _matmul,
    "transpose": lambda a, rank: np.swapaxes(a, -1, -2),
    "sum": lambda a, rank: a.sum(tuple(range(1, a.ndim))),
    "cumsum": lambda a, rank: np.cumsum(a, 1),
    "softmax": lambda a, rank: special.softmax(a, axis=-1),
    "logsumexp": lambda a, rank: special.logsumexp(a, axis=-1),
    "outer": lambda a, b, *ranks: a[:, :, None] * b[:, None, :],
    "diag": _diag,
    "logdet": _logdet,
    "inv": inv,
    "trace": lambda a, rank: np.trace(a, axis1=-2, axis2=-1),
    "quad": _quad,
    "concat": _concat,
}
