"""Baum-Welch by hand: plain recursions in logs, one element after the other (Rabiner 1989, equations 19 to 40)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.optimize import brentq
from scipy.special import digamma
from scipy.stats import multivariate_normal, nbinom, norm, poisson

from oracles.paths import Array, Params, Path, climb


def logsumexp(a: Array, axis: int) -> Array:
    """Of finite numbers; scipy's own is slow in a loop."""
    top = a.max(axis, keepdims=True)
    return np.asarray(np.log(np.exp(a - top).sum(axis)) + top.squeeze(axis))


def smoothed(first: Array, trans: Array, node: Array) -> tuple[float, Array, Array]:
    """Log-likelihood, (T, K) marginals and (K, K) summed pairs of one sequence; `node` (T, K) are log densities."""
    with np.errstate(divide="ignore"):
        step = np.maximum(np.log(trans), -1e30)
        alpha, beta = [np.maximum(np.log(first), -1e30) + node[0]], [np.zeros(len(first))]
    for at in node[1:]:
        alpha.append(logsumexp(alpha[-1][:, None] + step, 0) + at)
    for at in node[:0:-1]:
        beta.insert(0, logsumexp(step + at + beta[0], 1))
    total = float(logsumexp(alpha[-1], 0))
    pairs = np.zeros(trans.shape)
    for t in range(1, len(node)):
        pairs += np.exp(alpha[t - 1][:, None] + step + (node[t] + beta[t])[None] - total)
    return total, np.exp(np.array(alpha) + np.array(beta) - total), pairs


def baum_welch(
    log_density: Callable[[Params], Array], m_step: Callable[[Array, Params], Params], start: Params, steps: int,
    cuts: Sequence[int] = (),
) -> Path:  # fmt: skip
    """first (K,), trans (K, K) and what `m_step(marginals, params)` finds; sequences end at `cuts`."""

    def expect(p: Params) -> tuple[float, object]:
        found = [smoothed(p["first"], p["trans"], node) for node in np.split(log_density(p), cuts)]
        q = np.concatenate([m for _, m, _ in found])
        begin = np.stack([m[0] for _, m, _ in found]).sum(0)
        return sum(v for v, _, _ in found), (begin, sum(pairs for _, _, pairs in found), q, p)

    def maximise(expected: object) -> Params:
        assert isinstance(expected, tuple)
        begin, pairs, q, p = expected
        return {"first": begin / begin.sum(), "trans": pairs / pairs.sum(1, keepdims=True), **m_step(q, p)}

    return climb(expect, maximise, start, steps)


def gaussian_hmm(x: Array, start: Params, steps: int) -> Path:
    """mean (K, D), sd (K, D); `x` (T, D)."""

    def m_step(q: Array, _: Params) -> Params:
        mean = q.T @ x / q.sum(0)[:, None]
        square = np.einsum("tk,tkd->kd", q, (x[:, None] - mean) ** 2)
        return {"mean": mean, "sd": np.sqrt(square / q.sum(0)[:, None])}

    return baum_welch(lambda p: norm.logpdf(x[:, None], p["mean"], p["sd"]).sum(-1), m_step, start, steps)


def poisson_hmm(y: Array, start: Params, steps: int) -> Path:
    """rate (K,)."""
    return baum_welch(
        lambda p: poisson.logpmf(y[:, None], p["rate"]), lambda q, _: {"rate": q.T @ y / q.sum(0)}, start, steps
    )


def categorical_hmm(words: Sequence[Array], start: Params, steps: int) -> Path:
    """symbol (K, V); `words` are sequences of numbers below V."""
    w, v = np.concatenate(words), start["symbol"].shape[1]

    def m_step(q: Array, _: Params) -> Params:
        table = q.T @ np.eye(v)[w]
        return {"symbol": table / table.sum(1, keepdims=True)}

    cuts = np.cumsum([len(s) for s in words])[:-1]
    return baum_welch(lambda p: np.log(p["symbol"]).T[w], m_step, start, steps, list(cuts))


def switching_regression(X: Array, y: Array, start: Params, steps: int) -> Path:
    """coef (K, P), sd (K,)."""
    return baum_welch(
        lambda p: norm.logpdf(y[:, None], X @ p["coef"].T, p["sd"]), lambda q, _: regressed(X, y, q), start, steps
    )


def regressed(X: Array, y: Array, q: Array) -> dict[str, Array]:
    """Weighted least squares under each column of `q`."""
    coef = np.stack([np.linalg.solve((X.T * r) @ X, (X.T * r) @ y) for r in q.T])
    return {"coef": coef, "sd": np.sqrt((q * (y[:, None] - X @ coef.T) ** 2).sum(0) / q.sum(0))}


def autoregression(y: Array, first: tuple[float, float], start: Params, steps: int) -> Path:
    """level (K,), slope (K,), sd (K,); y[0] is normal with mean and sd `first` whatever the state."""

    def density(p: Params) -> Array:
        later = norm.logpdf(y[1:, None], p["level"] + np.outer(y[:-1], p["slope"]), p["sd"])
        return np.concatenate([np.full((1, later.shape[1]), norm.logpdf(y[0], *first)), later])

    def m_step(q: Array, _: Params) -> Params:
        found = regressed(np.column_stack([np.ones(len(y) - 1), y[:-1]]), y[1:], q[1:])
        return {"level": found["coef"][:, 0], "slope": found["coef"][:, 1], "sd": found["sd"]}

    return baum_welch(density, m_step, start, steps)


def gmm_hmm(x: Array, start: Params, steps: int) -> Path:
    """part (K, M), mean (K, M, D), cov (K, M, D, D): a mixture inside each state."""
    k, m = start["part"].shape

    def inside(p: Params) -> Array:
        at = [[multivariate_normal(p["mean"][i, j], p["cov"][i, j]).logpdf(x) for j in range(m)] for i in range(k)]
        return np.log(p["part"])[..., None] + np.array(at)

    def m_step(q: Array, p: Params) -> Params:
        logs = inside(p)
        r = np.exp(logs - logsumexp(logs, 1)[:, None]) * q.T[:, None]
        count = r.sum(-1)
        mean = np.einsum("kmt,td->kmd", r, x) / count[..., None]
        away = x - mean[:, :, None]
        cov = np.einsum("kmt,kmtd,kmte->kmde", r, away, away) / count[..., None, None]
        return {"part": count / count.sum(1, keepdims=True), "mean": mean, "cov": cov}

    return baum_welch(lambda p: logsumexp(inside(p), 1).T, m_step, start, steps)


def negative_binomial_hmm(y: Array, start: Params, steps: int) -> Path:
    """mean (K,), shape (K,): a Gamma rate inside each state, so that both have expectations to be maximised over."""

    def m_step(q: Array, p: Params) -> Params:
        a, m = p["shape"], p["mean"]
        rate = (a + y[:, None]) / (a / m + 1)
        log_rate = digamma(a + y[:, None]) - np.log(a / m + 1)
        mean = (q * rate).sum(0) / q.sum(0)
        gap = np.log(mean) - (q * log_rate).sum(0) / q.sum(0)
        shape = [brentq(lambda s, g=g: np.log(s) - digamma(s) - g, 1e-3, 1e7, xtol=1e-13, rtol=1e-14) for g in gap]
        return {"mean": mean, "shape": np.array(shape)}

    def density(p: Params) -> Array:
        return np.asarray(nbinom.logpmf(y[:, None], p["shape"], p["shape"] / (p["shape"] + p["mean"])))

    return baum_welch(density, m_step, start, steps)
