"""Where elements lie: the indices of a variable's own plates, and the outer plates of a ragged one's rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import DataIx, El, Expr, Idx, Ix
from emdsl.derive.algebra.made import POSITION, ROW
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


def in_plates(e: Expr, model: m.ModelText) -> Expr:
    """An expression with elements of ragged plates as its user wrote them, for messages: `u[g]` and `y[g, n]` where the
    algebra has one index over all rows; and `mu[z[n]]` where it has an index for the state of z."""
    around = {
        f"{p.size.name}[]": tuple(Ix(q.index, str(q.size)) for q in v.plates[:k])
        for v in model.variables
        for k, p in enumerate(v.plates)
        if isinstance(p.size, m.Ragged)
    }

    states = {
        v.name: El(v.name, plate_indices(v.plates)) for v in model.of_kind("latent") if v.domain.levels is not None
    }

    def outer(i: Idx) -> tuple[Idx, ...]:
        match i:
            case Ix(name, _) if name in states:
                return (DataIx(x.rebuild(states[name], written)),)
            case Ix(_, dim):
                return (*around.get(dim, ()), i)
            case DataIx(El(var, (Ix(_, dim),))) if var in ROW and len(around.get(dim, ())) == 1:
                return around[dim]
            case DataIx(El(var, (row,))) if var in POSITION:
                return (row,)
        return (i,)

    def written(g: Expr) -> Expr | None:
        return El(g.var, tuple(o for i in g.idx for o in outer(i)), g.sort) if isinstance(g, El) else None

    return x.rebuild(e, written) if around or states else e


def pointed_at(
    homes: Mapping[str, tuple[Ix, ...]], model: m.ModelText
) -> Iterator[tuple[tuple[Ix, ...], dict[str, tuple[Idx, ...]]]]:
    """Plates in which all of these elements lie, as what they lie on or through given indices: for each an index, and
    where in it an element is, as a function of its home. A pupil lies in a school through `school[p]`."""
    pointers = [
        v for v in model.of_kind("given") if v.domain.kind == "index" and v.plates and not v.shape[len(v.plates) :]
    ]
    for dim in dict.fromkeys(str(v.domain.levels) for v in pointers):
        ways = {n: _ways(home, dim, pointers) for n, home in homes.items()}
        own = next((p.index for v in model.variables for p in v.plates if str(p.size) == dim), dim.lower())
        for found in product(*ways.values()):
            yield (Ix(own, dim),), dict(zip(ways, found, strict=True))


def _ways(home: tuple[Ix, ...], dim: str, pointers: Sequence[m.Variable], left: int = 3) -> list[tuple[Idx, ...]]:
    """The places on a plate of this dimension to which an element of `home` belongs, through at most so many givens."""
    out: list[tuple[Idx, ...]] = [(i,) for i in home[:1] if i.dim == dim]
    for v in pointers if left else ():
        own = plate_indices(v.plates)
        if [i.dim for i in own] != [i.dim for i in home[: len(own)]]:
            continue
        at = DataIx(El(v.name, home[: len(own)]))
        if str(v.domain.levels) == dim:
            out.append((at,))
            continue
        step = Ix("step", str(v.domain.levels))
        for found in _ways((step,), dim, pointers, left - 1):
            moved = x.substitute(El("", found), {step: at})
            assert isinstance(moved, El)
            out.append(moved.idx)
    return out


def in_terms_of(i: Idx, to: Mapping[Idx, Ix]) -> Idx:
    """An index in which positions that another element has are written as that element's plates."""
    if i in to:
        return to[i]
    if not isinstance(i, DataIx):
        return i

    def inside(e: Expr) -> Expr | None:
        return El(e.var, tuple(in_terms_of(k, to) for k in e.idx), e.sort) if isinstance(e, El) else None

    return DataIx(x.rebuild(i.value, inside))


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
    return [dimension(p.size) for p in v.plates]


def dimension(size: m.Size) -> str:
    """The dimension of a plate: of a ragged one, its rows."""
    return f"{size.name}[]" if isinstance(size, m.Ragged) else str(size)


def read_at(e: Expr, at: Idx, place: Ix) -> Expr:
    """The expression with one place read wherever its elements were read at another, such as a code of the data."""

    def there(some: Expr) -> Expr | None:
        if isinstance(some, El) and at in some.idx:
            return El(some.var, tuple(place if i == at else i for i in some.idx), some.sort)
        return None

    return x.rebuild(e, there)
