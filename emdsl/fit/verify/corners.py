"""Whether the region in which numbers have a density is a box: where one ends must not depend on another."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from emdsl.families.scope import Array

Ends = tuple[float, float]
MOST = 8  # numbers, each of which is moved with each other
NEAR = np.array([-2.0, -0.3, 0.4, 1.7])  # sizes from where one was drawn


def apart(
    there: Callable[[Sequence[Mapping[int, float]]], list[bool]], values: Array, cells: Mapping[int, tuple[Ends, Ends]]
) -> bool:
    """Whether any two numbers, each between its ends, have a density together, and none beyond an end that was found.

    there : whether the density is above 0 where some numbers are moved. cells : the ends found, those of the domain.
    """
    size = {k: 1 + abs(float(values[k])) for k in cells}
    inner = {k: np.clip(values[k] + size[k] * NEAR, *_inside(found, size[k])) for k, (found, _) in cells.items()}
    outer = {
        k: [e + sign * 0.1 * size[k] for e, own, sign in zip(found, domain, (-1, 1), strict=True) if e != own]
        for k, (found, domain) in cells.items()
    }
    some = list(cells)[:MOST]
    for n, k in enumerate(some):
        inside = there([{k: float(v), j: float(w)} for j in some[:n] for v in inner[k] for w in inner[j]])
        beyond = there([{k: float(v), j: float(w)} for j in some if j != k for v in outer[k] for w in inner[j]])
        if not all(inside) or any(beyond):
            return False
    return True


def _inside(ends: Ends, size: float) -> Ends:
    """The ends, and a little away from those that are finite."""
    low, high = ends
    return (low + 1e-6 * size if np.isfinite(low) else low), (high - 1e-6 * size if np.isfinite(high) else high)
