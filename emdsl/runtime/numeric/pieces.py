"""Points for a latent whose density has kinks: those of the rule on every piece between them, one after another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from emdsl.runtime.data.columns import Array
from emdsl.runtime.numeric.clouds import LogJoint, adapted, where_mass_is
from emdsl.runtime.numeric.intervals import Coordinate
from emdsl.runtime.numeric.points import Rule


def piecewise(
    log_joint: LogJoint, bounds: Sequence[Coordinate], kinks: Sequence[Array], rule: Rule, start: Array
) -> tuple[Array, Array, Array]:  # fmt: skip
    """As `adapted`, on the pieces into which kinks (*plates) cut the line or the interval of one number.

    start : (pieces, *plates), where Newton starts in each piece, overwritten by the modes found.
    """
    (low, high), plates = bounds[0], start.shape[1:]
    ends = [
        np.broadcast_to(-np.inf if low is None else low, plates),
        np.broadcast_to(np.inf if high is None else high, plates),
    ]
    known = [np.where(np.isnan(k), np.inf, k) + np.zeros(plates) for k in kinks]
    cuts = np.clip(np.sort(np.stack(known), axis=0), *ends)
    edges = [ends[0], *cuts, ends[1]]
    made = []
    for k in range(len(start)):
        a, b = edges[k], edges[k + 1]
        empty = a >= b
        piece = [(np.where(empty, 1.0, a), np.where(empty, 0.0, b))]  # exchanged: nothing lies there
        made.append(adapted(log_joint, piece, rule, start[k : k + 1]))
    points, volume, table = (
        np.concatenate(parts, axis) for parts, axis in zip(zip(*made, strict=True), (1, 0, 0), strict=True)
    )
    return where_mass_is(points, volume, table)
