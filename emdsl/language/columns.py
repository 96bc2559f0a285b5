"""Which axes of arrays are those of vectors and matrices: `load[D, Q] : real` is a matrix where no row is a d."""

from __future__ import annotations

from collections.abc import Mapping

from emdsl.language import model as m


def columns(model: m.ModelText) -> Mapping[str, int]:
    """How many of each variable's last axes are such: its domain's own, and those before them that nothing counts."""
    loops = (own.plates for of in (model.variables, model.lets, model.potentials) for own in of)
    counted = {p.size for plates in loops for p in plates}
    counted |= {v.domain.levels for v in model.variables if v.domain.levels is not None}
    return {v.name: _columns(v, counted) for v in model.variables}


def _columns(v: m.Variable, counted: set[m.Size]) -> int:
    own = len(v.domain.dims)
    if not v.domain.interval:
        return own  # a simplex or a matrix for each, or numbers that are no vector
    for size in reversed(v.array):
        if size in counted or own >= 2:
            break
        own += 1
    return own
