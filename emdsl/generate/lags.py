"""Reading along an ordered plate: what every row reads some steps before it is moved by so many rows, once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from emdsl.derive.chains import distance
from emdsl.derive.expr import DataIx, Idx

if TYPE_CHECKING:
    from emdsl.generate.arrays import Emitter


def read_at_lags(em: Emitter, code: str, inner: bool, positions: Sequence[Idx]) -> tuple[str, Sequence[Idx]]:
    """Code whose rows have been moved where it is read at `t - k` of all t, so that it is read at t."""
    from emdsl.generate.arrays import Array

    for n, p in enumerate(positions):
        found = distance(p) if isinstance(p, DataIx) else None
        if found is None or found[0] in positions or found[0].dim == em.chunk:
            continue
        moved = f"displaced({code}, {-found[1]}, {em.size(found[0].dim)}, {n})"
        code, positions = (
            em.name("before", Array(moved, (), inner)).code,
            [*positions[:n], found[0], *positions[n + 1 :]],
        )
    return code, positions
