"""Levels that so few draws hardly show: a standard error over these tells nothing of what they do to a mean."""

from __future__ import annotations

import numpy as np

from emdsl.families.scope import Array

SHOWN = 5  # of the draws, at the least, for a standard error to tell of a level


def hardly_shown(probabilities: Array, draws: int) -> Array:
    """Which levels these are, in the shape of their probabilities; none that are impossible."""
    return np.asarray((probabilities > 0) & (probabilities * draws < SHOWN))
