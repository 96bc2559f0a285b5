"""What rounding may take from a log-likelihood: noted by the posteriors of Gaussian latents while somebody looks."""

from __future__ import annotations

from typing import Any

import numpy as np

LOOKED: list[list[float]] = []  # where errors go; empty but for the one E-step after a fit in which they are looked at
ULP = 2.0**-53


def note_rounding(*squares: Any) -> None:
    """Notes sums of J_ii E[y_i^2] and of h_i^2 V_ii, numbers whose last digit is an error of the log-likelihood: where
    noises are far apart, or data far more exact than what they are of, they are large and cancel."""
    with np.errstate(all="ignore"):
        total = sum(float(np.sum(np.abs(s))) for s in squares)
    LOOKED[-1].append(ULP * total if total < np.inf else np.inf)
