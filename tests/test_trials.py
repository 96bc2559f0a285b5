"""Counts among a number of trials that more than a column of the data tells, against scipy's sums."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from gallery import written
from scipy import stats

pytestmark = pytest.mark.filterwarnings("ignore::emdsl.runtime.data.faults.ConvergenceWarning")

M, C, SEEN = np.array([2, 3, 0, 5, 1]), np.array([0, 1, 0, 1, 1]), np.array([1, 2, 1, 4, 0])


@pytest.mark.parametrize(
    ("trials", "most"),
    [
        ("m[n] + 2", M + 2),
        ("2 * m[n] - min(m[n], 1)", 2 * M - np.minimum(M, 1)),
        ("abs(m[n] - 3) // 2", abs(M - 3) // 2),
        ("4 if c[n] == 1 else m[n]", np.where(C == 1, 4, M)),
        ("[m[n], 2][c[n]]", np.where(C == 1, 2, M)),
        ("0 if n == 0 else x[n-1]", np.r_[0, SEEN[:-1]]),
    ],
)
def test_trials_that_are_more_than_a_column(trials: str, most: Any) -> None:
    """An assertion failed where modules are printed; beyond it, infinity times 0 for values that some rows lack."""
    model = written(f"""
        model Trials
        param a : unit
        param r : positive
        for n in N:
            given m[n] : count
            given c[n] : category[2]
            latent s[n] ~ Binomial({trials}, a)
            observed x[n] ~ Poisson(r + s[n])
    """)
    fit = model.fitter(init={"a": 0.4, "r": 1.5}, max_iter=0).fit({"m": M, "c": C, "x": SEEN})
    rows = [sum(stats.binom.pmf(k, n, 0.4) * stats.poisson.pmf(x, 1.5 + k) for k in range(n + 1))
            for n, x in zip(most, SEEN, strict=True)]  # fmt: skip
    assert fit.log_likelihood_ == pytest.approx(np.log(rows).sum(), rel=1e-12)


def test_an_integer_autoregression() -> None:
    """INAR(1) (Al-Osh and Alzaid 1987). The rate of its first row had a name that the module does not have."""
    model = written("""
        model Inar
        param a : unit
        param r : positive
        for t in T:
            latent s[t] ~ Binomial(0 if t == 0 else y[t-1], a)
            latent e[t] ~ Poisson(r / (1 - a) if t == 0 else r)
            observed y[t] ~ Delta(s[t] + e[t])
    """)
    y = np.array([3, 2, 4, 1, 0, 2])
    fit = model.fitter(init={"a": 0.4, "r": 1.5}, max_iter=0).fit({"y": y})
    rows = [stats.poisson.logpmf(3, 2.5)]
    for n, x in pairwise(y):
        rows.append(np.log(np.convolve(stats.binom.pmf(range(n + 1), n, 0.4), stats.poisson.pmf(range(x + 1), 1.5))[x]))
    assert fit.log_likelihood_ == pytest.approx(sum(rows), rel=1e-12)
