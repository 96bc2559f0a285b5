"""Data of which a quarter is missing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from emdsl.families.scope import Array
from emdsl.fit.verify.setting import Drawn
from emdsl.language.model import Variable

GONE = 0.25


def with_holes(mine: Sequence[Variable], drawn: Drawn, whole: bool, rng: np.random.Generator) -> Drawn:
    """These data, NaN where entries of these variables are missing, or `whole` vectors."""
    holes = {v.name: _holes(v, drawn.data[v.name].shape, whole, rng) for v in mine}
    data = {n: np.where(holes[n], np.nan, a) if n in holes else a for n, a in drawn.data.items()}
    return drawn._replace(data=data)


def _holes(v: Variable, shape: tuple[int, ...], whole: bool, rng: np.random.Generator) -> Array:
    """A quarter of the entries, or of the elements: one at least, and not all, where there are two."""
    own = len(v.domain.dims) if whole else 0
    outer = shape[: len(shape) - own]
    gone = np.asarray(rng.random(outer) < GONE)
    if gone.size > 1 and gone.all() == gone.any():
        at = np.unravel_index(rng.integers(gone.size), outer)
        gone[at] = not gone[at]
    return np.broadcast_to(np.reshape(gone, (*outer, *(1,) * own)), shape)
