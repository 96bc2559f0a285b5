"""All joint configurations of discrete latents, as rows of tables."""

# mypy: disable-error-code="no-any-return"
# (operators on arrays of any dtype, and all of scipy, are Any to mypy)

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from emdsl.runtime.data.columns import Array
from emdsl.runtime.data.faults import DataError
from emdsl.runtime.numeric.numerics import LOWEST


def configurations(latents: Sequence[tuple[int, tuple[int, ...]]], most: int, names: str, ways: str) -> list[Array]:
    """For each latent (its number of states, the shape of its elements) its states in each configuration, one a row.

    Raises `DataError` (D022) where there are more than `most`; `names` says whose, `ways` what else to write.
    """
    counts = [(levels, math.prod(shape)) for levels, shape in latents]
    bits = sum(n * math.log2(max(1, levels)) for levels, n in counts)
    if bits > math.log2(most) + 1e-9:
        told = " * ".join(f"{levels}^{n}" for levels, n in counts)
        about = (
            f"{math.prod(levels**n for levels, n in counts)}" if bits < 50 else f"about 10^{bits * math.log10(2):.0f}"
        )
        raise DataError(
            f"the exact posterior of {names} is over all configurations of its elements: {told}, which is "
            f"{about}, and at most {most} are enumerated",
            hint=f"write {ways}",
            code="D022",
        )
    number = np.arange(math.prod(levels**n for levels, n in counts))
    out = []
    for (levels, shape), (_, n) in zip(latents, counts, strict=True):
        table = np.empty((len(number), n), np.int64)
        for k in range(n):
            number, table[:, k] = np.divmod(number, levels)
        out.append(table.reshape(len(table), *shape))
    return out


def beyond(states: Array, lengths: Array) -> Array:
    """(configurations, rows): log 0 where a configuration (configurations, longest) is not 0 beyond a row's end."""
    used = ((states > 0) * np.arange(1, states.shape[1] + 1)).max(axis=1, initial=0)
    return np.where(used[:, None] > np.asarray(lengths), LOWEST, 0.0)
