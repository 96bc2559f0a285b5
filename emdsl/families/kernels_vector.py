"""Kernels and table of the vector and matrix families. Source: Anderson (2003); Gupta and Nagar (2000)."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import linalg, special

from emdsl.families.records import Array, Form, Kernel, Record

LOG_2PI = float(np.log(2 * np.pi))
Shape = tuple[int, ...]


# ---------------------------------------------------------------- linear algebra, batched


def transpose(a: Any) -> Array:
    return np.swapaxes(np.asarray(a), -1, -2)


def half_logdet(chol: Array) -> Array:
    """log det of A / 2 from A's Cholesky factor."""
    return np.asarray(np.log(np.diagonal(chol, axis1=-2, axis2=-1)).sum(-1))


def whiten(chol: Array, d: Array) -> Array:
    """L^-1 d over the last axis of d; one triangular solve where all rows share L."""
    size = chol.shape[-1]
    if chol.size == size * size:
        flat = linalg.solve_triangular(chol.reshape(size, size), d.reshape(-1, size).T, lower=True)
        return np.asarray(flat.T.reshape(d.shape))
    return np.asarray(np.linalg.solve(chol, d[..., None])[..., 0])


def spd_inverse(a: Any) -> Array:
    """A^-1 by Cholesky, exactly symmetric."""
    chol = np.linalg.cholesky(np.asarray(a, float))
    half = np.linalg.solve(chol, np.broadcast_to(np.eye(chol.shape[-1]), chol.shape))
    return np.asarray(transpose(half) @ half)


def multigammaln(a: Any, d: int) -> Array:
    """log Gamma_d(a), the multivariate gamma function."""
    a = np.asarray(a, float)
    return np.asarray(d * (d - 1) / 4 * np.log(np.pi) + special.gammaln(a[..., None] - np.arange(d) / 2).sum(-1))


def _mean_like(mean: Any, *others: Any) -> Array:
    """mean broadcast over the batch axes of scalars among the other arguments."""
    out = np.asarray(mean, float)
    for other in others:
        out = out + 0 * np.asarray(other, float)[..., None]
    return out


# ---------------------------------------------------------------- singular covariances


def factor(cov: Array) -> Array | None:
    """Cholesky factors (..., D, D); None where one is singular, up to rounding. Raises LinAlgError below that."""
    variances = np.diagonal(cov, axis1=-2, axis2=-1)
    try:
        chol = np.linalg.cholesky(cov)
    except np.linalg.LinAlgError:
        if not np.isfinite(cov).all() or (_eigen(cov)[0] < -1e-9).any():
            raise
        return None
    pivots = np.diagonal(chol, axis1=-2, axis2=-1) ** 2
    return None if (pivots <= 1e-13 * variances).any() else chol


def _eigen(cov: Array) -> tuple[Array, Array, Array]:
    """Eigenvalues and vectors of correlations, and the units that these are in; what has no variance is its own."""
    unit = np.sqrt(np.maximum(np.diagonal(cov, axis1=-2, axis2=-1), 0.0))
    unit = np.where(unit > 0, unit, 1.0)
    values, vectors = np.linalg.eigh(cov / (unit[..., :, None] * unit[..., None, :]))
    return values, vectors, unit


def semidefinite(cov: Array) -> Array:
    """For each matrix: symmetric, finite, and without a negative eigenvalue, up to rounding in units of its own."""
    finite = np.asarray(np.isfinite(cov).all((-1, -2)))
    cov = np.where(finite[..., None, None], cov, np.eye(cov.shape[-1]))
    even = np.isclose(cov, transpose(cov), rtol=1e-8, atol=1e-12).all((-1, -2))
    return np.asarray(
        finite & even & (np.diagonal(cov, axis1=-2, axis2=-1) >= 0).all(-1) & (_eigen(cov)[0] >= -1e-9).all(-1)
    )


def root(cov: Array) -> Array:
    """R with R R' = cov, of any rank."""
    values, vectors, unit = _eigen(cov)
    return np.asarray(unit[..., None] * vectors * np.sqrt(np.where(values > 1e-12, values, 0.0))[..., None, :])


def singular_log_density(x: Array, mean: Array, cov: Array) -> Array:
    """The density on mean + range(cov), with pseudo-inverse and pseudo-determinant; -inf elsewhere (Rao 1973, 8a.4)."""
    values, vectors, unit = _eigen(cov)
    values, vectors = np.flip(values, -1), np.flip(vectors, -1)  # the largest first
    kept = values > 1e-12
    own = np.where(kept, values, 1.0)
    z = (((x - mean) / unit)[..., None, :] @ vectors)[..., 0, :]
    size = ((np.abs(x) + np.abs(mean)) / unit).max(-1, initial=0.0)
    sides = np.abs(np.diagonal(np.linalg.qr(unit[..., :, None] * vectors)[1], axis1=-2, axis2=-1))
    volume = np.log(np.where(kept, sides, 1.0)).sum(-1)
    value = -0.5 * (np.where(kept, z**2 / own + np.log(own) + LOG_2PI, 0.0).sum(-1)) - volume
    return np.where(np.abs(np.where(kept, 0.0, z)).max(-1, initial=0.0) <= 1e-9 * size, value, -np.inf)


# ---------------------------------------------------------------- Dirichlet


def dirichlet_log_density(x: Any, concentration: Any) -> Array:
    x, a = np.asarray(x, float), np.asarray(concentration, float)
    inside = (x >= 0).all(-1) & (np.abs(x.sum(-1) - 1) < 1e-6)
    value = special.gammaln(a.sum(-1)) - special.gammaln(a).sum(-1) + special.xlogy(a - 1, np.maximum(x, 0)).sum(-1)
    return np.where(inside, value, -np.inf)


def dirichlet_sample(rng: np.random.Generator, shape: Shape, concentration: Any) -> Array:
    """Normalised Gamma draws, taken on the log scale: small concentrations do not underflow."""
    a = np.broadcast_to(np.asarray(concentration, float), (*shape, np.shape(concentration)[-1]))
    logs = np.log(rng.standard_gamma(a + 1)) + np.log1p(-rng.random(a.shape)) / a
    return np.asarray(special.softmax(logs, axis=-1))


def dirichlet_variance(concentration: Any) -> Array:
    a = np.asarray(concentration, float)
    total = a.sum(-1)[..., None, None]
    m = a / a.sum(-1, keepdims=True)
    return np.asarray((m[..., :, None] * np.eye(a.shape[-1]) - m[..., :, None] * m[..., None, :]) / (total + 1))


def dirichlet_mode(concentration: Any) -> Array:
    """(a - 1) / (sum a - K) where every a >= 1; NaN where some a < 1, for the density is unbounded there."""
    a = np.asarray(concentration, float)
    bounded = (a >= 1).all(-1, keepdims=True)
    excess = np.where(bounded, a - 1, 0).sum(-1, keepdims=True)
    inside = np.where(excess > 0, (a - 1) / np.where(excess > 0, excess, 1.0), 1 / a.shape[-1])
    return np.where(bounded, inside, np.nan)


def symmetric(concentration: Any, event: Shape) -> tuple[Array]:
    """A scalar concentration as the vector of its uses' length."""
    return (np.asarray(concentration, float)[..., None] * np.ones(event[-1]),)


# ---------------------------------------------------------------- MvNormal, MvStudentT


def mvnormal_log_density(x: Any, mean: Any, cov: Any) -> Array:
    chol = factor(np.asarray(cov, float))
    if chol is None:
        return singular_log_density(np.asarray(x, float), np.asarray(mean, float), np.asarray(cov, float))
    z = whiten(chol, np.asarray(x, float) - mean)
    return np.asarray(-half_logdet(chol) - z.shape[-1] * LOG_2PI / 2 - (z**2).sum(-1) / 2)


def mvnormal_precision_log_density(x: Any, mean: Any, precision: Any) -> Array:
    chol = np.linalg.cholesky(np.asarray(precision, float))
    z = ((np.asarray(x, float) - mean)[..., None, :] @ chol)[..., 0, :]
    return np.asarray(half_logdet(chol) - z.shape[-1] * LOG_2PI / 2 - (z**2).sum(-1) / 2)


def mvnormal_sample(rng: np.random.Generator, shape: Shape, mean: Any, cov: Any) -> Array:
    whole = factor(np.asarray(cov, float))
    chol = root(np.asarray(cov, float)) if whole is None else whole
    z = rng.standard_normal((*shape, chol.shape[-1]))
    if chol.size == chol.shape[-1] ** 2:  # one covariance for every row
        return np.asarray(mean + z @ chol.reshape(chol.shape[-2:]).T)
    return np.asarray(mean + (chol @ z[..., None])[..., 0])


def mvstudent_log_density(x: Any, df: Any, mean: Any, scale_matrix: Any) -> Array:
    chol, df = np.linalg.cholesky(np.asarray(scale_matrix, float)), np.asarray(df, float)
    z = whiten(chol, np.asarray(x, float) - mean)
    d = z.shape[-1]
    constant = special.gammaln((df + d) / 2) - special.gammaln(df / 2) - d / 2 * np.log(df * np.pi)
    return np.asarray(constant - half_logdet(chol) - (df + d) / 2 * np.log1p((z**2).sum(-1) / df))


def mvstudent_sample(rng: np.random.Generator, shape: Shape, df: Any, mean: Any, scale_matrix: Any) -> Array:
    z = mvnormal_sample(rng, shape, np.zeros(np.shape(mean)[-1]), scale_matrix)
    return np.asarray(mean + z * np.sqrt(df / rng.chisquare(df, shape))[..., None])


def mvstudent_variance(df: Any, mean: Any, scale_matrix: Any) -> Array:
    df = np.asarray(df, float)
    factor = np.where(df > 2, df / np.where(df > 2, df - 2, 1.0), np.where(df > 1, np.inf, np.nan))
    return np.asarray(factor[..., None, None] * np.asarray(scale_matrix, float))


def keep_mean_cov(keep: Array, mean: Any, cov: Any) -> tuple[Array, Array]:
    """The marginal of the entries kept."""
    return np.asarray(mean)[..., keep], np.asarray(cov)[..., keep, :][..., :, keep]


# ---------------------------------------------------------------- Wishart, InverseWishart


def wishart_log_density(x: Any, df: Any, scale: Any) -> Array:
    """-inf where x is not positive definite."""
    x, df = np.asarray(x, float), np.asarray(df, float)
    d = x.shape[-1]
    scale_chol = np.linalg.cholesky(np.asarray(scale, float))
    value = (df - d - 1) * _half_logdet_or_inf(x) - np.einsum("...ij,...ji->...", spd_inverse(scale), x) / 2
    constant = -df * half_logdet(scale_chol) - df * d / 2 * np.log(2) - multigammaln(df / 2, d)
    return np.where(is_spd(x), value + constant, -np.inf)


def inverse_wishart_log_density(x: Any, df: Any, scale: Any) -> Array:
    x, df = np.asarray(x, float), np.asarray(df, float)
    d = x.shape[-1]
    good = is_spd(x)
    safe = np.where(good[..., None, None], x, np.eye(d))
    scale_chol = np.linalg.cholesky(np.asarray(scale, float))
    value = (
        -(df + d + 1) * _half_logdet_or_inf(safe)
        - np.einsum("...ij,...ji->...", np.asarray(scale), spd_inverse(safe)) / 2
    )
    constant = df * half_logdet(scale_chol) - df * d / 2 * np.log(2) - multigammaln(df / 2, d)
    return np.where(good, value + constant, -np.inf)


def is_spd(x: Array) -> Array:
    finite = np.asarray(np.isfinite(x).all((-1, -2)))
    x = np.where(finite[..., None, None], x, np.eye(x.shape[-1]))
    even = np.isclose(x, np.swapaxes(x, -1, -2), rtol=1e-8, atol=1e-12).all((-1, -2))
    return np.asarray(finite & even & (np.linalg.eigvalsh(x)[..., 0] > 0))


def _half_logdet_or_inf(x: Array) -> Array:
    return np.asarray(np.linalg.slogdet(x)[1] / 2)


def _bartlett(rng: np.random.Generator, shape: Shape, df: Any, d: int) -> Array:
    """Lower triangular A with A A' a Wishart(df, I)."""
    a = np.tril(rng.standard_normal((*shape, d, d)), -1)
    df = np.broadcast_to(np.asarray(df, float), shape)
    a[..., np.arange(d), np.arange(d)] = np.sqrt(rng.chisquare(df[..., None] - np.arange(d)))
    return a


def wishart_sample(rng: np.random.Generator, shape: Shape, df: Any, scale: Any) -> Array:
    """(L A)(L A)' with scale = L L'; Bartlett (1933)."""
    chol = np.linalg.cholesky(np.asarray(scale, float))
    root = chol @ _bartlett(rng, shape, df, chol.shape[-1])
    return np.asarray(root @ transpose(root))


def inverse_wishart_sample(rng: np.random.Generator, shape: Shape, df: Any, scale: Any) -> Array:
    """The inverse of a Wishart(df, scale^-1), by its triangular root: no product is inverted."""
    chol = np.linalg.cholesky(spd_inverse(scale))
    root = chol @ _bartlett(rng, shape, df, chol.shape[-1])
    half = np.linalg.inv(root)
    return np.asarray(transpose(half) @ half)


def _matrix(v: Any) -> Array:
    return np.asarray(v, float)[..., None, None]


def _diagonals(s: Array) -> Array:
    """s_ii s_jj."""
    diagonal = np.diagonal(s, axis1=-2, axis2=-1)
    return np.asarray(diagonal[..., :, None] * diagonal[..., None, :])


def wishart_variance(df: Any, scale: Any) -> Array:
    s = np.asarray(scale, float)
    return np.asarray(_matrix(df) * (s**2 + _diagonals(s)))


def inverse_wishart_mean(df: Any, scale: Any) -> Array:
    s = np.asarray(scale, float)
    excess = _matrix(df) - s.shape[-1] - 1
    return np.where(excess > 0, s / np.where(excess > 0, excess, 1.0), np.nan)


def inverse_wishart_variance(df: Any, scale: Any) -> Array:
    s, n = np.asarray(scale, float), _matrix(df)
    d = s.shape[-1]
    safe = np.where(n > d + 3, n, d + 4.0)
    value = (safe - d + 1) * s**2 + (safe - d - 1) * _diagonals(s)
    return np.where(n > d + 3, value / ((safe - d) * (safe - d - 1) ** 2 * (safe - d - 3)), np.inf)


def wishart_mode(df: Any, scale: Any) -> Array:
    s = np.asarray(scale, float)
    excess = _matrix(df) - s.shape[-1] - 1
    return np.where(excess > 0, excess * s, np.nan)


VECTOR: tuple[Record, ...] = (
    Record(
        "Dirichlet",
        Kernel(
            ("concentration",),
            dirichlet_log_density,
            dirichlet_sample,
            mean=lambda a: a / np.asarray(a, float).sum(-1, keepdims=True),
            variance=dirichlet_variance,
            mode=dirichlet_mode,
        ),
        (Form(("concentration",)), Form(("concentration",), symmetric, event=True)),
    ),
    Record(
        "MvNormal",
        Kernel(
            ("mean", "cov"),
            mvnormal_log_density,
            mvnormal_sample,
            mean=lambda m, c: _mean_like(m) + 0 * np.asarray(c, float)[..., 0],
            variance=lambda m, c: np.asarray(c, float) + 0 * np.asarray(m, float)[..., None],
            mode=lambda m, c: _mean_like(m) + 0 * np.asarray(c, float)[..., 0],
            marginal=keep_mean_cov,
        ),
        (
            Form(("mean", "cov")),
            Form(("mean", "precision"), lambda m, p: (m, spd_inverse(p)), mvnormal_precision_log_density),
        ),
        singular="cov",
    ),
    Record(
        "MvStudentT",
        Kernel(
            ("df", "mean", "scale_matrix"),
            mvstudent_log_density,
            mvstudent_sample,
            mean=lambda df, m, s: np.where(np.asarray(df)[..., None] > 1, _mean_like(m, df), np.nan),
            variance=mvstudent_variance,
            mode=lambda df, m, s: _mean_like(m, df),
            marginal=lambda keep, df, m, s: (df, *keep_mean_cov(keep, m, s)),
        ),
        (Form(("df", "mean", "scale_matrix")),),
        mixture="""
            model ScaleMixture
            given df : positive
            given mean : real[D]
            given scale_matrix : spd[D]
            latent scale ~ Gamma(df / 2, df / 2)
            observed x : real[D] ~ MvNormal(mean, scale_matrix / scale)
        """,
    ),
    Record(
        "Wishart",
        Kernel(
            ("df", "scale"),
            wishart_log_density,
            wishart_sample,
            mean=lambda df, s: _matrix(df) * np.asarray(s, float),
            variance=wishart_variance,
            mode=wishart_mode,
        ),
        (Form(("df", "scale")),),
    ),
    Record(
        "InverseWishart",
        Kernel(
            ("df", "scale"),
            inverse_wishart_log_density,
            inverse_wishart_sample,
            mean=inverse_wishart_mean,
            variance=inverse_wishart_variance,
            mode=lambda df, s: s / (_matrix(df) + np.shape(s)[-1] + 1),
        ),
        (Form(("df", "scale")),),
    ),
)
