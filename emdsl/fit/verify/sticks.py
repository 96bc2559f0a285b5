"""Probabilities as numbers on the line: the log odds of the sticks that a stick of length 1 is broken into.

    x_k = v_k prod_{j<k} (1 - v_j),   v = logistic(t),     |dx/dt| = prod_k v_k (1 - v_k)^(K - 1 - k),   k = 0 .. K-2

(Connor and Mosimann 1969). The volume is a product of what each stick says by itself, and in the weights of its nodes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import expit, log_expit, logit

from emdsl.families.scope import Array

SPREAD = 4.03  # of even steps: from 17 to 40 they reach 300, so that two sticks leave more than the least of numbers
WIDEST = 40.0  # log odds of a stick that is 0 or 1 to the last digit


class Stick(NamedTuple):
    """One of them, with so many sticks `beyond` it that are broken from what it leaves."""

    beyond: int

    def rule(self, s: Array) -> tuple[Array, Array]:
        """Nodes and log weights of the trapezoidal rule at even steps s, from -300 to 300: small shapes need these."""
        t, slope = 2 * np.sinh((s - 17) / SPREAD), 2 / SPREAD * np.cosh((s - 17) / SPREAD)
        volume = log_expit(t) + (1 + self.beyond) * log_expit(-t)
        return np.asarray(t), np.asarray(np.log(s[1] - s[0]) + np.log(slope) + volume)


def probabilities(sticks: Array) -> Array:
    """(..., K) log odds -> (..., K) probabilities; the last log odds are not read."""
    t, whole = sticks[..., :-1], np.ones_like(sticks[..., :1])
    left = np.concatenate([whole, np.cumprod(expit(-t), axis=-1)], axis=-1)
    return np.asarray(left * np.concatenate([expit(t), whole], axis=-1))


def sticks(probabilities: Array) -> Array:
    """(..., K) probabilities -> (..., K) log odds, of which the last is 0; the inverse of `probabilities`."""
    here, left = probabilities[..., :-1], np.cumsum(probabilities[..., :0:-1], axis=-1)[..., ::-1]
    share = np.divide(here, here + left, out=np.full(here.shape, 0.5), where=here + left > 0)
    odds = np.clip(logit(share), -WIDEST, WIDEST)
    return np.concatenate([odds, np.zeros_like(probabilities[..., :1])], axis=-1)
