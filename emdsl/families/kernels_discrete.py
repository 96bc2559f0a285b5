"""Kernels of the families over counts and categories. Sources: Johnson, Kemp and Kotz (2005)."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import special

from emdsl.families.records import Array, Form, Kernel, Record


def _where_whole(x: Any, low: Any, high: Any, value: Any) -> Array:
    """value where x is a whole number in [low, high], else -inf."""
    with np.errstate(invalid="ignore"):
        inside = (x >= low) & (x <= high) & (np.floor(x) == x)
    return np.where(inside, value, -np.inf)


# ---------------------------------------------------------------- Bernoulli, Binomial


def bernoulli_log_density(x: Any, p: Any) -> Array:
    x, p = np.asarray(x, float), np.asarray(p, float)
    return _where_whole(x, 0, 1, special.xlogy(x, p) + special.xlog1py(1 - x, -p))


def bernoulli_logit_log_density(x: Any, logit: Any) -> Array:
    """x logit - log(1 + exp(logit)), without overflow."""
    x, logit = np.asarray(x, float), np.asarray(logit, float)
    return _where_whole(x, 0, 1, -np.logaddexp(0, np.where(x == 1, -logit, logit)))


def bernoulli_sample(rng: np.random.Generator, shape: tuple[int, ...], p: Any) -> Array:
    return np.asarray((rng.random(shape) < p).astype(np.int64))


def binomial_log_density(x: Any, trials: Any, p: Any) -> Array:
    x, n, p = (np.asarray(v, float) for v in (x, trials, p))
    y = np.clip(x, 0, n)
    choose = special.gammaln(n + 1) - special.gammaln(y + 1) - special.gammaln(n - y + 1)
    return _where_whole(x, 0, n, choose + special.xlogy(y, p) + special.xlog1py(n - y, -p))


def binomial_logit_log_density(x: Any, trials: Any, logit: Any) -> Array:
    x, n, logit = (np.asarray(v, float) for v in (x, trials, logit))
    y = np.clip(x, 0, n)
    choose = special.gammaln(n + 1) - special.gammaln(y + 1) - special.gammaln(n - y + 1)
    return _where_whole(x, 0, n, choose - y * np.logaddexp(0, -logit) - (n - y) * np.logaddexp(0, logit))


def binomial_sample(rng: np.random.Generator, shape: tuple[int, ...], trials: Any, p: Any) -> Array:
    return rng.binomial(np.asarray(trials).astype(np.int64), p, shape)


# ---------------------------------------------------------------- Categorical, Multinomial


def _pick(table: Any, x: Any) -> Array:
    """table[..., x] with batch axes broadcast, -inf outside."""
    table, x = np.asarray(table, float), np.asarray(x)
    batch = np.broadcast_shapes(table.shape[:-1], x.shape)
    table, x = np.broadcast_to(table, (*batch, table.shape[-1])), np.broadcast_to(x, batch)
    inside = (x >= 0) & (x < table.shape[-1]) & (np.floor(x) == x)
    safe = np.where(inside, x, 0).astype(np.int64)
    return np.where(inside, np.take_along_axis(table, safe[..., None], -1)[..., 0], -np.inf)


def categorical_log_density(x: Any, p: Any) -> Array:
    with np.errstate(divide="ignore"):
        return _pick(np.log(np.asarray(p, float)), x)


def categorical_logits_log_density(x: Any, logits: Any) -> Array:
    logits = np.asarray(logits, float)
    return _pick(logits - special.logsumexp(logits, axis=-1, keepdims=True), x)


def categorical_sample(rng: np.random.Generator, shape: tuple[int, ...], p: Any) -> Array:
    """Inverse of the cumulative sums: one uniform a draw."""
    p = np.asarray(p, float)
    heads = np.cumsum(p, -1)
    heads = heads / heads[..., -1:]
    u = rng.random(shape)
    if heads.ndim == 1:
        return np.asarray(np.minimum(np.searchsorted(heads, u, side="right"), p.shape[-1] - 1).astype(np.int64))
    return np.asarray(np.minimum((heads <= u[..., None]).sum(-1), p.shape[-1] - 1).astype(np.int64))


def multinomial_log_density(x: Any, p: Any, trials: Any = None) -> Array:
    x, p = np.asarray(x, float), np.asarray(p, float)
    total = x.sum(-1)
    value = special.gammaln(total + 1) - special.gammaln(x + 1).sum(-1) + special.xlogy(x, p).sum(-1)
    good = ((x >= 0) & (np.floor(x) == x)).all(-1) & (True if trials is None else total == trials)
    return np.where(good, value, -np.inf)


def multinomial_sample(rng: np.random.Generator, shape: tuple[int, ...], p: Any, trials: Any) -> Array:
    p = np.broadcast_to(np.asarray(p, float), (*shape, np.shape(p)[-1]))
    return rng.multinomial(np.broadcast_to(np.asarray(trials).astype(np.int64), shape), p / p.sum(-1, keepdims=True))


def multinomial_mode(p: Any, trials: Any) -> Array:
    """Greedy: each unit goes where the ratio p_k / (x_k + 1) is largest; Finucan (1964)."""
    p, trials = np.asarray(p, float), np.asarray(trials)
    batch = np.broadcast_shapes(p.shape[:-1], trials.shape)
    p, trials = np.broadcast_to(p, (*batch, p.shape[-1])), np.broadcast_to(trials, batch)
    x = np.maximum(np.floor(p * trials[..., None]), 0)
    for _ in range(p.shape[-1]):
        best = np.argmax(p / (x + 1), -1)
        open_ = x.sum(-1) < trials
        x += np.where(open_[..., None], np.arange(p.shape[-1]) == best[..., None], False)
    return np.asarray(x)


# ---------------------------------------------------------------- unbounded counts


def poisson_log_density(x: Any, rate: Any) -> Array:
    x, rate = np.asarray(x, float), np.asarray(rate, float)
    y = np.maximum(x, 0)
    return _where_whole(x, 0, np.inf, special.xlogy(y, rate) - rate - special.gammaln(y + 1))


def poisson_log_log_density(x: Any, log_rate: Any) -> Array:
    x, log_rate = np.asarray(x, float), np.asarray(log_rate, float)
    y = np.maximum(x, 0)
    return _where_whole(x, 0, np.inf, y * log_rate - np.exp(log_rate) - special.gammaln(y + 1))


def poisson_sample(rng: np.random.Generator, shape: tuple[int, ...], rate: Any) -> Array:
    return rng.poisson(rate, shape)


def geometric_log_density(x: Any, p: Any) -> Array:
    x, p = np.asarray(x, float), np.asarray(p, float)
    return _where_whole(x, 0, np.inf, np.log(p) + special.xlog1py(np.maximum(x, 0), -p))


def geometric_sample(rng: np.random.Generator, shape: tuple[int, ...], p: Any) -> Array:
    return rng.geometric(p, shape) - 1


def negative_binomial_log_density(x: Any, size: Any, p: Any) -> Array:
    x, size, p = (np.asarray(v, float) for v in (x, size, p))
    y = np.maximum(x, 0)
    choose = -special.betaln(y + 1, size) - np.log(y + size)
    return _where_whole(x, 0, np.inf, choose + size * np.log(p) + special.xlog1py(y, -p))


def negative_binomial_mean_log_density(x: Any, size: Any, mean: Any) -> Array:
    """Stays right as size grows without bound (towards Poisson(mean)): both logs are log1p."""
    x, size, mean = (np.asarray(v, float) for v in (x, size, mean))
    y = np.maximum(x, 0)
    choose = -special.betaln(y + 1, size) - np.log(y + size)
    value = choose - size * np.log1p(mean / size) - y * np.log1p(size / mean)
    return _where_whole(x, 0, np.inf, value)


def negative_binomial_sample(rng: np.random.Generator, shape: tuple[int, ...], size: Any, p: Any) -> Array:
    """A Poisson whose rate is Gamma(size, p / (1 - p))."""
    p = np.asarray(p, float)
    return np.asarray(rng.poisson(rng.gamma(size, 1.0, shape) * (1 - p) / p))


# ---------------------------------------------------------------- distribution functions


def _count_cdf(x: Any, value: Any) -> Array:
    return np.where(np.asarray(x) < 0, 0.0, value)


def _count_sf(x: Any, value: Any) -> Array:
    return np.where(np.asarray(x) < 0, 1.0, value)


def binomial_sf(x: Any, trials: Any, p: Any) -> Array:
    """P(X > x)."""
    k, n = np.floor(np.asarray(x, float)), np.asarray(trials, float)
    inside = special.betainc(np.clip(k, 0, None) + 1, np.maximum(n - k, 1), p)
    return np.where(k < 0, 1.0, np.where(k >= n, 0.0, inside))


def geometric_sf(x: Any, p: Any) -> Array:
    """P(X > x) = (1 - p)^(floor(x) + 1)."""
    k = np.maximum(np.floor(np.asarray(x, float)) + 1, 0)
    return np.asarray(np.exp(special.xlog1py(k, -np.asarray(p, float))))


def _onehot_variance(p: Any, trials: Any = 1.0) -> Array:
    p = np.asarray(p, float)
    one = p[..., :, None] * np.eye(p.shape[-1]) - p[..., :, None] * p[..., None, :]
    return np.asarray(np.asarray(trials)[..., None, None] * one)


def _category_variance(p: Any) -> Array:
    k = np.arange(np.shape(p)[-1])
    return np.asarray((p * k**2).sum(-1) - (p * k).sum(-1) ** 2)


DISCRETE: tuple[Record, ...] = (
    Record(
        "Bernoulli",
        Kernel(
            ("p",),
            bernoulli_log_density,
            bernoulli_sample,
            mean=lambda p: np.asarray(p, float),
            variance=lambda p: p * (1 - np.asarray(p, float)),
            mode=lambda p: (np.asarray(p) > 0.5).astype(np.int64),
            cdf=lambda x, p: np.where(x < 0, 0.0, np.where(x < 1, 1 - np.asarray(p, float), 1.0)),
            sf=lambda x, p: np.where(x < 0, 1.0, np.where(x < 1, np.asarray(p, float), 0.0)),
        ),
        (Form(("p",)), Form(("logit",), lambda logit: (special.expit(logit),), bernoulli_logit_log_density)),
    ),
    Record(
        "Binomial",
        Kernel(
            ("trials", "p"),
            binomial_log_density,
            binomial_sample,
            mean=lambda n, p: n * np.asarray(p, float),
            variance=lambda n, p: n * p * (1 - np.asarray(p, float)),
            mode=lambda n, p: np.minimum(np.floor((n + 1) * np.asarray(p, float)), n),
            cdf=lambda x, n, p: 1 - binomial_sf(x, n, p),
            sf=binomial_sf,
        ),
        (
            Form(("trials", "p")),
            Form(("trials", "logit"), lambda n, logit: (n, special.expit(logit)), binomial_logit_log_density),
        ),
    ),
    Record(
        "Categorical",
        Kernel(
            ("p",),
            categorical_log_density,
            categorical_sample,
            mean=lambda p: np.asarray((p * np.arange(np.shape(p)[-1])).sum(-1)),
            variance=_category_variance,
            mode=lambda p: np.argmax(p, -1),
        ),
        (
            Form(("p",)),
            Form(("logits",), lambda logits: (special.softmax(logits, axis=-1),), categorical_logits_log_density),
        ),
    ),
    Record(
        "Multinomial",
        Kernel(
            ("p", "trials"),
            multinomial_log_density,
            multinomial_sample,
            mean=lambda p, n: np.asarray(n)[..., None] * np.asarray(p, float),
            variance=_onehot_variance,
            mode=multinomial_mode,
        ),
        (Form(("p",), given=lambda x: np.sum(x, -1)), Form(("p", "trials"))),
        reasons={"sample": "Multinomial without `trials` is the split of a total that only data give"},
    ),
    Record(
        "Poisson",
        Kernel(
            ("rate",),
            poisson_log_density,
            poisson_sample,
            mean=lambda rate: np.asarray(rate, float),
            variance=lambda rate: np.asarray(rate, float),
            mode=lambda rate: np.floor(rate),
            cdf=lambda x, rate: _count_cdf(x, special.gammaincc(np.maximum(np.floor(x), 0) + 1, rate)),
            sf=lambda x, rate: _count_sf(x, special.gammainc(np.maximum(np.floor(x), 0) + 1, rate)),
        ),
        (Form(("rate",)), Form(("log_rate",), lambda v: (np.exp(v),), poisson_log_log_density)),
    ),
    Record(
        "Geometric",
        Kernel(
            ("p",),
            geometric_log_density,
            geometric_sample,
            mean=lambda p: (1 - np.asarray(p, float)) / p,
            variance=lambda p: (1 - np.asarray(p, float)) / np.square(p),
            mode=lambda p: np.zeros(np.shape(p)),
            cdf=lambda x, p: 1 - geometric_sf(x, p),
            sf=geometric_sf,
        ),
        (Form(("p",)),),
    ),
    Record(
        "NegativeBinomial",
        Kernel(
            ("size", "p"),
            negative_binomial_log_density,
            negative_binomial_sample,
            mean=lambda r, p: r * (1 - np.asarray(p, float)) / p,
            variance=lambda r, p: r * (1 - np.asarray(p, float)) / np.square(p),
            mode=lambda r, p: np.maximum(np.floor((np.asarray(r, float) - 1) * (1 - np.asarray(p)) / p), 0),
            cdf=lambda x, r, p: _count_cdf(x, special.betainc(r, np.maximum(np.floor(x), 0) + 1, p)),
            sf=lambda x, r, p: _count_sf(x, special.betainc(np.maximum(np.floor(x), 0) + 1, r, 1 - np.asarray(p))),
        ),
        (
            Form(("size", "p")),
            Form(
                ("size", "mean"), lambda r, m: (r, r / (np.asarray(r, float) + m)), negative_binomial_mean_log_density
            ),
        ),
    ),
)
