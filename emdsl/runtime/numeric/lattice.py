"""Points that all elements of a latent share, spread evenly over where their densities lie."""

from __future__ import annotations

from typing import Any

import numpy as np

from emdsl.runtime.data.columns import Array
from emdsl.runtime.numeric.clouds import LogJoint, find_modes, positive_part
from emdsl.runtime.numeric.points import Rule

SEEN = 256  # elements whose modes tell where the lattice lies


def lattice_size(points: int) -> int:
    """Points of a lattice for the points that one element would have."""
    return max(32, 4 * points)


def lattice(log_joint: LogJoint, rule: Rule, rows: int) -> tuple[Array, Array]:
    """Evenly spaced points (1, Q) that all rows share, and the log of the distance for each (Q,).

    The trapezoidal rule is exact to exp(-2 (pi sd / distance)^2) for a density of this width (Trefethen and Weideman
    2014, SIAM Review 56, 385-458). They span the modes of some rows, by eight of their widths and a quarter more.
    """
    some = np.unique(np.linspace(0, rows - 1, min(rows, SEEN)).astype(np.int64))

    def density(u: Array, slopes: bool = False) -> Any:
        return log_joint(some, u, slopes=slopes)

    u, curvature = find_modes(density, np.zeros((1, 1, len(some))))
    width = 8 / np.sqrt(positive_part(curvature[:, :, 0])[0, 0])
    low, high = float((u[0, 0] - width).min()), float((u[0, 0] + width).max())
    count = lattice_size(len(rule.log_volume))
    points = np.linspace(low - (high - low) / 8, high + (high - low) / 8, count)
    return points[None], np.full(count, np.log(points[1] - points[0]))
