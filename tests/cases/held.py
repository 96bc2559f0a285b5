"""Counts and shares with missing cells: each likelihood a sum over every completion, or a density of fewer shares."""

from __future__ import annotations

import itertools

import numpy as np
from scipy.special import gammaln, xlogy

from cases import Case, pick

COUNTS = """
    model MixedCountsWithGaps
    param p : simplex[K]
    param share[K] : simplex[D]
    for n in N:
        given    m[n] : count
        latent   z[n] ~ Categorical(p)
        observed x[n] : count[D] ~ Multinomial(share[z[n]], trials = m[n])
"""


def _counts(rng):
    share = np.array([[0.1, 0.2, 0.7], [0.5, 0.4, 0.1]])
    m = rng.integers(0, 5, 12)
    m[4] = 0
    x = np.array([rng.multinomial(n, s) for n, s in zip(m, share[pick(rng, [0.4, 0.6], 12)], strict=True)], float)
    x[rng.random(x.shape) < 0.3] = np.nan
    x[2], x[4] = np.nan, [np.nan, 0, np.nan]
    return {"x": x, "m": m}, {"p": [0.4, 0.6], "share": share}


def completions(d):
    """Every way to fill the missing cells so that all add up to the total: the row, its counts, log n! / prod x!."""
    for row, (cells, n) in enumerate(zip(d["x"], d["m"], strict=True)):
        ranges = [range(n + 1) if np.isnan(v) else (int(v),) for v in cells]
        for x in itertools.product(*ranges):
            if sum(x) == n:
                yield row, x, gammaln(n + 1) - gammaln(np.array(x) + 1).sum()


def _counts_value(p, d):
    if "ways" not in d:
        d["ways"] = [np.array(part) for part in zip(*completions(d), strict=True)]
    row, x, logs = d["ways"]
    value = logs + xlogy(x, np.asarray(p["share"])[:, None]).sum(2) + np.log(p["p"])[:, None]
    return np.log(np.bincount(row, weights=np.exp(value).sum(0))).sum()


SHARES = """
    model SharesWithGaps
    param c : positive[D]
    for n in N:
        observed x[n] : simplex[D] ~ Dirichlet(c)
"""


def _shares(rng):
    x = rng.dirichlet([1.0, 2.0, 3.0, 2.0], 12)
    x[rng.random(x.shape) < 0.3] = np.nan
    x[2] = np.nan
    return {"x": x}, {"c": np.array([1.0, 2.0, 3.0, 2.0])}


def _shares_value(p, d):
    """Shares that are added up are Dirichlet with the concentrations added up."""
    total = 0.0
    for row in d["x"]:
        gone = np.isnan(row)
        x, c = row[~gone], p["c"][~gone]
        if gone.any():
            x, c = np.r_[x, 1 - x.sum()], np.r_[c, p["c"][gone].sum()]
        total += gammaln(c.sum()) - gammaln(c).sum() + ((c - 1) * np.log(x)).sum()
    return total


CASES = [
    Case("counts with gaps", COUNTS, _counts, _counts_value, options={"K": 2}, near=True),
    Case("shares with gaps", SHARES, _shares, _shares_value),
]
