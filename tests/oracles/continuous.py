"""EM by hand with continuous latents or covariates: Student t, its regression, Gamma-Poisson, mixtures of regressions
and of Rayleighs."""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq
from scipy.special import digamma
from scipy.stats import nbinom, norm, rayleigh, t

from oracles.paths import Array, Params, Path, climb, mixture


def student(x: Array, start: Params, steps: int, df: float | None = None) -> Path:
    """mean (), s2 (), and df () where it is not given: Lange, Little and Taylor 1989, section 3."""

    def nu(p: Params) -> float:
        return float(p["df"]) if df is None else df

    def expect(p: Params) -> tuple[float, object]:
        v, z2 = nu(p), (x - p["mean"]) ** 2 / p["s2"]
        u = (v + 1) / (v + z2)
        log_u = digamma((v + 1) / 2) - np.log((v + z2) / 2)
        return float(t.logpdf(x, v, p["mean"], np.sqrt(p["s2"])).sum()), (u, log_u)

    def maximise(expected: object) -> Params:
        u, log_u = expected  # type: ignore[misc]
        mean = u @ x / u.sum()
        out = {"mean": mean, "s2": u @ (x - mean) ** 2 / len(x)}
        if df is None:
            slope = np.mean(log_u - u) + 1
            out["df"] = 2 * brentq(lambda a: np.log(a) - digamma(a) + slope, 1e-6, 1e6, xtol=1e-15)
        return out

    return climb(expect, maximise, start, steps)


def robust_regression(X: Array, y: Array, df: float, start: Params, steps: int) -> Path:
    """a (), b (P,), s2 (); intercept and slopes in one weighted least squares."""
    design = np.column_stack([np.ones(len(y)), X])

    def residual(p: Params) -> Array:
        return y - p["a"] - X @ p["b"]

    def expect(p: Params) -> tuple[float, object]:
        e = residual(p)
        u = (df + 1) / (df + e**2 / p["s2"])
        return float(t.logpdf(e, df, 0, np.sqrt(p["s2"])).sum()), u

    def maximise(u: object) -> Params:
        assert isinstance(u, np.ndarray)
        root = np.sqrt(u)
        coef = np.linalg.lstsq(design * root[:, None], y * root, rcond=None)[0]
        return {"a": coef[0], "b": coef[1:], "s2": u @ (y - design @ coef) ** 2 / len(y)}

    return climb(expect, maximise, start, steps)


def negative_binomial(y: Array, start: Params, steps: int, weight: Array) -> Path:
    """mean (), shape (): a Gamma rate for each count; the shape's M-step by a root finder."""

    def expect(p: Params) -> tuple[float, object]:
        a, b = p["shape"] + y, p["shape"] / p["mean"] + 1
        value = weight @ nbinom.logpmf(y, p["shape"], p["shape"] / (p["shape"] + p["mean"]))
        return float(value), (weight @ (a / b) / weight.sum(), weight @ (digamma(a) - np.log(b)) / weight.sum())

    def maximise(expected: object) -> Params:
        rate, log_rate = expected  # type: ignore[misc]
        gap = np.log(rate) - log_rate
        return {"mean": rate, "shape": brentq(lambda a: np.log(a) - digamma(a) - gap, 1e-6, 1e6, xtol=1e-15)}

    return climb(expect, maximise, start, steps)


def mixture_of_regressions(X: Array, y: Array, start: Params, steps: int, lost: int = 0) -> Path:
    """weights (K,), coef (K, P), sd (K,). flexmix divides by N - `lost` where maximum likelihood divides by N."""

    def log_density(p: Params) -> Array:
        return norm.logpdf(y[:, None], X @ p["coef"].T, p["sd"])

    def m_step(r: Array) -> Params:
        root = np.sqrt(r)
        coef = np.stack([np.linalg.lstsq(X * w[:, None], y * w, rcond=None)[0] for w in root.T])
        variance = (r * (y[:, None] - X @ coef.T) ** 2).sum(0) / r.sum(0)
        return {"coef": coef, "sd": np.sqrt(variance * len(y) / (len(y) - lost))}

    return mixture(log_density, m_step, start, steps, np.ones(len(y)))


def rayleigh_mixture(h: Array, start: Params, steps: int) -> Path:
    """weights (K,), scale (K,)."""

    def m_step(r: Array) -> Params:
        return {"scale": np.sqrt(r.T @ h**2 / (2 * r.sum(0)))}

    return mixture(lambda p: rayleigh.logpdf(h[:, None], 0, p["scale"]), m_step, start, steps, np.ones(len(h)))
