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


def configurations(
    latents: Sequence[tuple[int, tuple[int, ...]]],
    most: int,
    names: str,
    ways: str,
    known: Sequence[tuple[Array, Array | None] | None],
) -> list[Array]:
    """For each latent (its number of states, the shape of its elements) its states in each configuration, one a row.

    known : for each latent what was seen of its elements, and where (None: everywhere); None: nothing. These have one
    state. Raises `DataError` (D022) where there are more than `most`; `names` says whose, `ways` what else to write.
    """
    free = [_unseen(shape, told) for (_, shape), told in zip(latents, known, strict=True)]
    counts = [(levels, int(unseen.sum())) for (levels, _), unseen in zip(latents, free, strict=True)]
    bits = sum(n * math.log2(max(1, levels)) for levels, n in counts)
    if bits > math.log2(most) + 1e-9:
        product = " * ".join(f"{levels}^{n}" for levels, n in counts)
        about = (
            f"{math.prod(levels**n for levels, n in counts)}" if bits < 50 else f"about 10^{bits * math.log10(2):.0f}"
        )
        raise DataError(
            f"the exact posterior of {names} is over all configurations of its elements: {product}, which is "
            f"{about}, and at most {most} are enumerated",
            hint=f"write {ways}",
            code="D022",
        )
    number = np.arange(math.prod(levels**n for levels, n in counts))
    out = []
    for (levels, shape), unseen, told in zip(latents, free, known, strict=True):
        table = np.zeros((len(number), len(unseen)), np.int64)
        if told is not None:
            table[:] = np.asarray(told[0], np.int64).reshape(-1)
        for k in np.flatnonzero(unseen):
            number, table[:, k] = np.divmod(number, levels)
        out.append(table.reshape(len(table), *shape))
    return out


def _unseen(shape: tuple[int, ...], known: tuple[Array, Array | None] | None) -> Array:
    """Which elements of a latent are not known, flat."""
    if known is None:
        return np.ones(math.prod(shape), bool)
    return np.zeros(math.prod(shape), bool) if known[1] is None else ~np.asarray(known[1], bool).reshape(-1)


def positions(of: Array, count: int) -> tuple[Array, Array]:
    """For elements that lie in one of `count` rows each: which of its row's an element is, and how many a row has."""
    of = np.ravel(of)
    order = np.argsort(of, kind="stable")
    lengths = np.bincount(of, minlength=count)
    out = np.empty(len(of), np.int64)
    out[order] = np.arange(len(of)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return out, lengths


def beyond(states: Array, lengths: Array) -> Array:
    """(configurations, rows): log 0 where a configuration (configurations, longest, own) is not 0 past a row's end."""
    states = states.max(axis=tuple(range(2, states.ndim)), initial=0)
    used = ((states > 0) * np.arange(1, states.shape[1] + 1)).max(axis=1, initial=0)
    return np.where(used[:, None] > np.asarray(lengths), LOWEST, 0.0)
