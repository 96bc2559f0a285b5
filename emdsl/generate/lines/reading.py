"""Reading stored arrays: at the rows of a chunk; along an ordered plate, at rows some steps before."""

from __future__ import annotations

from collections.abc import Sequence

from emdsl.derive.algebra.expr import DataIx, Idx, Ix
from emdsl.derive.posteriors.chains import distance
from emdsl.generate.lines.arrays import Array, Leaf, Lines


def rows_read(em: Lines, leaf: Leaf, positions: Sequence[Idx]) -> tuple[str, bool, str | None]:
    """Code of a stored array, cut to the rows of the chunk where it has them all; whether it stands in the loop.

    Last the code of the array before it was cut, where it was: rows that are picked together with something else
    (`X[n, c[n]]`) are picked of all.
    """
    at = max((n for n, p in enumerate(positions) if isinstance(p, Ix) and p.dim == em.chunk), default=-1)
    if leaf.called:
        first = positions[-leaf.called]
        rows = em.namer.cut if at >= 0 or not isinstance(first, Ix) else f"slice(0, {em.size(first.dim)})"
        return em.name("made", Array(f"{leaf.code}({rows})", (), True)).code, True, None
    if at >= 0 and not leaf.cut and em.chunk in em.rows:
        return f"{leaf.code}[{':, ' * at}{em.namer.cut}]", True, leaf.code
    return leaf.code, leaf.inner, None


def read_at_lags(em: Lines, code: str, inner: bool, positions: Sequence[Idx]) -> tuple[str, Sequence[Idx]]:
    """Code whose rows have been moved where it is read at `t - k` of all t, so that it is read at t."""
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
