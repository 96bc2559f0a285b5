"""Draws from any family: by the kernel of its record, else from a table of its density."""

from __future__ import annotations

import numpy as np

from emdsl.families.numeric import sample_by_table
from emdsl.families.scope import Array
from emdsl.families.table import form, record
from emdsl.language.model import Family


def draw(
    family: Family,
    signature: int,
    rng: np.random.Generator,
    shape: tuple[int, ...],
    args: list[Array],
    event: tuple[int, ...],
) -> Array:
    """Draws of shape + event, event being the family's own; `args` as `arrange` returns them, broadcast to shape."""
    by, known = form(family, signature), record(family)
    if by is None or known is None:
        return sample_by_table(family, signature, rng, shape, args)
    if by.canonical is not None:
        args = list(by.canonical(*args, event) if by.event else by.canonical(*args))
    return np.asarray(known.kernel.sample(rng, shape, *args))
