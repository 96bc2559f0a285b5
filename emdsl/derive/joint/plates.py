"""Where elements lie: the indices of a variable's own plates, and the outer plates of a ragged one's rows."""

from __future__ import annotations

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr, Idx, Ix
from emdsl.derive.algebra.made import ROW
from emdsl.derive.joint.element import Tensors
from emdsl.derive.joint.rows import axes_of
from emdsl.language import model as m


def home_of(v: m.Variable) -> tuple[Ix, ...]:
    """The plate indices of a latent's own elements, under the block's names."""
    return plate_indices(v.plates)


def conditions_of(v: m.Variable, model: m.ModelText) -> tuple[Expr, ...]:
    """The conditions of filtered plates, 0 or 1, in the indices of `home_of`."""
    return Tensors(model).enter(v.plates)[2]


def plate_indices(plates: tuple[m.Plate, ...]) -> tuple[Ix, ...]:
    """Indices over plates; a ragged plate and those outside it are one index of rows."""
    axes: list[Ix] = []
    for p in plates:
        if isinstance(p.size, m.Ragged):
            axes = [Ix(p.index, f"{p.size.name}[]")]
        else:
            axes.append(Ix(p.index, str(p.size)))
    return tuple(axes)


def outside(v: m.Variable) -> tuple[tuple[Ix, ...], tuple[Idx, ...]]:
    """The indices of the plates outside a variable's last one, and the same as an element of it has them."""
    *around, last = v.plates
    outer = plate_indices(tuple(around))
    if not isinstance(last.size, m.Ragged):
        return outer, plate_indices(v.plates)[:-1]
    row = El(ROW.of(last.size.name), plate_indices(v.plates))
    return outer, axes_of(tuple(around), x.as_index(row))


def inside_plates(v: m.Variable, depth: int, model: m.ModelText) -> tuple[Idx, ...]:
    """The indices of a variable's first plates, as an element of it has them."""
    scope, _, _ = Tensors(model).enter(v.plates)
    return tuple(scope.loops[p.index] for p in v.plates[:depth])


def outermost(row: Ix, model: m.ModelText) -> Idx:
    """The outermost plate's index of a row of ragged plates (the index itself of any other)."""
    for v in model.variables:
        sizes = [f"{p.size.name}[]" if isinstance(p.size, m.Ragged) else "" for p in v.plates]
        if row.dim in sizes:
            plates = v.plates[: sizes.index(row.dim) + 1]
            scope, measure, _ = Tensors(model).enter(plates)
            return x.as_index(x.substitute(x.value_of(scope.loops[plates[0].index]), {measure[0]: row}))
    return row


def outermost_plate(row: Ix, model: m.ModelText) -> str:
    """The dimension of the outermost plate in which a row of ragged plates lies."""
    return next((plate_names(v)[0] for v in model.variables if row.dim in plate_names(v)), row.dim)


def plate_names(v: m.Variable) -> list[str]:
    """The dimensions of a variable's plates, from outer to inner."""
    return [_dimension(p.size) for p in v.plates]


def _dimension(size: m.Size) -> str:
    return f"{size.name}[]" if isinstance(size, m.Ragged) else str(size)
