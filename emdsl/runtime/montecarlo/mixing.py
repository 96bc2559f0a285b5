"""How chains mixed: R-hat, effective sample sizes, and the variance of a chain's mean."""

# mypy: disable-error-code="no-any-return"
# (operators on arrays of any dtype, and all of scipy, are Any to mypy)

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy

from emdsl.runtime.data.columns import Array
from emdsl.runtime.montecarlo.sampler import Chain, exact_names

UNMIXED = 1.1  # R-hat above which chains have not mixed, whatever the errors are
STUCK = 1.5  # the same of the worst of all elements, of which there may be thousands
MOST_TRACED = 64  # elements of a latent whose draws are looked at


def long_run_variance(chains: Sequence[Any]) -> float:
    """n times the variance of a chain's mean, by batches of about sqrt(n) (Jones et al. 2006), over all chains."""
    return float(np.atleast_2d(long_run_covariance([np.asarray(c, float)[:, None] for c in chains]))[0, 0])


def long_run_covariance(chains: Sequence[Array]) -> Array:
    """The same of vectors, chains of (n, p)."""
    out, weight = np.zeros((chains[0].shape[1],) * 2), 0
    mean = np.concatenate(chains).mean(0)
    for c in chains:
        b = max(1, int(np.sqrt(len(c))))
        k = len(c) // b
        batches = c[: k * b].reshape(k, b, -1).mean(1) - mean
        out += b * batches.T @ batches
        weight += k
    return out / max(1, weight - 1)


class Traces:
    """Draws of some elements of each latent, spread over all, and of all elements their sums in each chain."""

    def __init__(self, chains: int) -> None:
        self.count = [0] * chains
        self.runs: list[dict[str, list[Array]]] = [{} for _ in range(chains)]
        self.about: dict[str, Array] = {}
        self.sums: list[dict[str, Array]] = [{} for _ in range(chains)]  # (2, elements): of values, of their squares

    def see(self, chain: Chain, which: int) -> None:
        """A draw of the chain of this number."""
        exact = exact_names(chain.groups)
        self.count[which] += 1
        for name, value in chain.draws.items():
            flat = np.ravel(np.asarray(value, float))
            if name in exact or not len(flat):
                continue
            some = np.linspace(0, len(flat) - 1, min(MOST_TRACED, len(flat))).astype(int)
            self.runs[which].setdefault(name, []).append(flat[some])
            off = flat - self.about.setdefault(name, flat)
            self.sums[which][name] = self.sums[which].get(name, 0.0) + np.array([off, off**2])

    def mixing(self) -> dict[str, Any]:
        """The worst R-hat and the least effective sample size of each latent, over the elements that were traced; R-hat
        over all of which the chains tell quite different things."""
        rhat, ess = {}, {}
        for name in self.about:
            draws: Array = np.array([runs[name] for runs in self.runs])  # (chains, n, elements)
            moving = np.flatnonzero(draws.std(axis=(0, 1)) > 0)
            apart = self._apart(name)
            if not len(moving) and apart <= STUCK:
                continue
            each = [split_rhat(draws[:, :, e]) for e in moving]
            rhat[name] = float(max(*each, apart if apart > STUCK else 0.0, 0.0))
            ess[name] = float(min((effective_size(draws[:, :, e]) for e in moving), default=len(self.runs)))
        return {"rhat": rhat, "ess": ess}

    def _apart(self, name: str) -> float:
        """The largest R-hat of an element between chains, by its sums."""
        if len(self.runs) == 1:
            return 1.0
        means = np.array([s[name] / n for s, n in zip(self.sums, self.count, strict=True)])
        within = np.maximum(means[:, 1] - means[:, 0] ** 2, 0.0).mean(0)
        between = means[:, 0].var(0, ddof=1)
        told = between > 1e-16 * np.maximum(means[:, 1].mean(0), 1e-300)
        with np.errstate(divide="ignore", invalid="ignore"):
            return float(np.sqrt(1 + np.where(told, between / within, 0.0)).max())


def worst_rhat(report: Mapping[str, Any]) -> float:
    """The largest R-hat of a report, 1 where nothing moved."""
    return max([r for r in report["rhat"].values() if not np.isnan(r)], default=1.0)


def _halves(draws: Array) -> Array:
    n = draws.shape[1] // 2
    return np.concatenate([draws[:, :n], draws[:, -n:]])


def _ranked(draws: Array) -> Array:
    """Normal scores of ranks (Vehtari et al. 2021)."""
    flat = draws.ravel()
    _, back, counts = np.unique(flat, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    order = (ends - (counts - 1) / 2.0)[back]
    return scipy.special.ndtri((order - 0.375) / (draws.size + 0.25)).reshape(draws.shape)


def _rhat(draws: Array) -> float:
    n = draws.shape[1]
    within = draws.var(axis=1, ddof=1).mean()
    between = n * draws.mean(axis=1).var(ddof=1)
    return float(np.sqrt((between / within + n - 1) / n)) if within > 0 else 1.0


def split_rhat(draws: Array) -> float:
    """Rank-normalised split R-hat of (chains, n), the larger of that of the values and of their distance from the
    median (Vehtari et al. 2021)."""
    split = _halves(draws)
    return max(_rhat(_ranked(split)), _rhat(_ranked(np.abs(split - np.median(split)))))


def effective_size(draws: Array) -> float:
    """Bulk effective sample size of (chains, n): Geyer's monotone sequence of split, rank-normalised chains.

    As ArviZ has it (Vehtari et al. 2021, section 3.2), to its last digit.
    """
    split = _ranked(_halves(draws))
    m, n = split.shape
    centred = split - split.mean(axis=1, keepdims=True)
    size = 2 ** int(np.ceil(np.log2(2 * n)))
    spectrum = np.fft.rfft(centred, size, axis=1)
    acov = np.fft.irfft(spectrum * np.conj(spectrum), size, axis=1)[:, :n] / n
    within = (acov[:, 0] * n / (n - 1)).mean()
    total = within * (n - 1) / n + (split.mean(axis=1).var(ddof=1) if m > 1 else 0.0)
    if total <= 0:
        return float(m * n)
    rho = 1 - (within - acov.mean(axis=0)) / total
    rho[0] = 1.0
    last = n - 3 + n % 2  # pairs of lags (0, 1), (2, 3), ...: as many as ArviZ looks at
    pairs = rho[:last:2] + rho[1 : last + 1 : 2]
    end = int(np.argmax(pairs < 0)) if (pairs < 0).any() else len(pairs) - 1
    kept = np.minimum.accumulate(pairs[:end])
    tau = max(-1 + 2 * float(kept.sum()) + max(0.0, float(rho[2 * end])), 1 / np.log10(m * n))
    return float(m * n / tau)
