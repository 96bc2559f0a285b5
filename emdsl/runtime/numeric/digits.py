"""What rounding may take from a fit: noted by the posteriors of Gaussian latents while somebody looks."""

from __future__ import annotations

from typing import Any

import numpy as np

LOOKED: list[list[tuple[float, float]]] = []  # where errors go; empty but for the one E-step that is looked at
ULP = 2.0**-53


def note_rounding(*squares: Any, loose: Any = 0.0) -> None:
    """Notes sums of J_ii E[y_i^2] and of h_i^2 V_ii, numbers whose last digit is an error of the log-likelihood: where
    noises are far apart, or data far more exact than what they are of, they are large and cancel.

    loose : V_ii J_ii, by which rounding is multiplied in V_ii and its neighbours, where they add up to it: numbers are
    tied to one another by far more than anything says of them all.
    """
    with np.errstate(all="ignore"):
        total = ULP * sum(float(np.sum(np.abs(s))) for s in squares)
        most = ULP * float(np.max(np.abs(loose), initial=0.0))
    LOOKED[-1].append((total if total < np.inf else np.inf, most if most < np.inf else np.inf))
