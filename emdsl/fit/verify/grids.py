"""Where the nodes of the oracle's quadratures stand, and what they weigh."""

from __future__ import annotations

import numpy as np
from scipy.special import expit, log_expit

from emdsl.families.scope import Array
from emdsl.fit.verify.cells import Cell


def grid(cell: Cell, s: Array) -> tuple[Array, Array]:
    """Nodes and log weights of the trapezoidal rule, and at the end the values that have mass, each of weight 1."""
    if cell.stick is not None:
        return cell.stick.rule(s)
    nodes, weights = _rule(cell.ends, s)
    if cell.atoms:
        nodes = np.where(np.isin(nodes, cell.atoms), nodes + 1e-12 * (1 + np.abs(nodes)), nodes)
    return np.append(nodes, cell.atoms), np.append(weights, np.zeros(len(cell.atoms)))


def _rule(ends: tuple[float, float], s: Array) -> tuple[Array, Array]:
    """The trapezoidal rule, even in coordinates in which tails fall off doubly fast.

    Positive numbers are exp(s - exp(-s)), those of an interval the logistic function of 2 sinh (Takahasi, Mori 1974).
    """
    low, high = ends
    spacing = np.log(s[1] - s[0])
    if np.isfinite(low) and np.isfinite(high):
        t = 2 * np.sinh((s - 17) / 5)  # from -99 to 99: a Beta of small shapes has mass at 1e-20
        p, slope = expit(t), np.log(0.4 * np.cosh((s - 17) / 5))
        return low + (high - low) * p, spacing + slope + np.log(high - low) + log_expit(t) + log_expit(-t)
    if np.isinf(low) and np.isinf(high):
        t = (s - 17) / 2
        return np.sinh(t), spacing + np.log(np.cosh(t) / 2)
    t = s - np.exp(-s)
    sign, origin = (1, low) if np.isfinite(low) else (-1, high)
    return origin + sign * np.exp(t), spacing + t + np.log1p(np.exp(-s))
