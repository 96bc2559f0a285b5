"""What names, sizes and positions mean where an expression stands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import DataIx, El, Expr, Idx, Ix
from emdsl.derive.algebra.made import LENGTH, POSITION, ROW
from emdsl.errors import InternalError, ModelError, Problem, Span
from emdsl.language import model as m


@dataclass(frozen=True)
class Closure:
    """An argument of a family: an expression with the scope it was written in, or a ready element."""

    expression: m.Expr | None
    scope: Scope | None
    prefix: tuple[Idx, ...] = ()  # leading event axes already fixed
    variable: str | None = None
    ready: Expr | None = None


@dataclass(frozen=True)
class Scope:
    """What names mean where an expression stands."""

    loops: Mapping[str, Idx] = field(default_factory=dict)
    bindings: Mapping[str, Closure] = field(default_factory=dict)
    sizes: Mapping[str, m.Size] = field(default_factory=dict)
    around: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # of ragged plates those that they lie in
    under: list[Ix] | None = None  # where the indices of sums are noted
    written_out: bool = False  # sums over a number of terms stand term by term
    gates: Gates | None = None  # the discrete latents met so far

    def dim(self, size: m.Size) -> str:
        """The spelling of a size as the dimension of an index: the longest, of a ragged one."""
        if isinstance(size, m.Ragged):
            return f"{size.name}[max]"
        if any(n in self.sizes for n in size.names):
            total = m.Dim.of(0)
            for names, c in size.terms:
                part = m.Dim.of(c)
                for n in names:
                    bound = self.sizes.get(n, m.Dim.of(n))
                    if isinstance(bound, m.Ragged):
                        return f"{bound.name}[max]"
                    part = part * bound
                total = total + part
            return str(total)
        return str(size)


Gates = dict[tuple[str, tuple[Idx, ...]], Ix]  # the state index of each element of a discrete latent
Element = Callable[[m.Expr, tuple[Idx, ...], Scope], Expr]  # the element of an expression at index positions


def size_number(size: m.Size, scope: Scope) -> Expr:
    """A length as a number: of a ragged plate, data; else a constant or a named size."""
    if isinstance(size, m.Ragged):
        return El(LENGTH.of(size.name), (_row_of(size, scope),))
    if size.constant is not None:
        return x.num(size.constant)
    if len(size.names) == 1 and isinstance(scope.sizes.get(size.names[0]), m.Ragged):
        raise InternalError("element", "a ragged length inside a family")
    return x.SizeN(scope.dim(size))


def _row_of(size: m.Ragged, scope: Scope) -> Idx:
    """The row of the plates around a ragged one, all in one, at which its length stands."""
    around, loops, by = scope.around.get(size.name, ()), list(scope.loops.items()), scope.loops.get(size.by)
    if len(around) < 2 and by is not None:
        return by
    for i in scope.loops.values():
        match i:
            case DataIx(El(var=v, idx=(Ix() as row,))) if v == POSITION.of(size.name) and row.dim == f"{size.name}[]":
                if by is None or row in x.free(El("", (by,))):  # a loop of a sum is another row's
                    return DataIx(El(ROW.of(size.name), (row,)))
    first = loops[: len(around)]
    here = zip((i for _, i in first), around, strict=False)
    fits = all(isinstance(i, DataIx) or (isinstance(i, Ix) and i.dim == d) for i, d in here)
    if len(first) < len(around) or not fits or size.by not in dict(first):
        text = f"the lengths {size.name} differ by {' and '.join(around)}, which do not all stand around this line"
        raise ModelError(Problem("E102", text))
    flat = x.value_of(first[0][1])
    for (_, i), d in zip(first[1:], around[1:], strict=True):
        flat = _row_among(i) or x.add(x.mul(flat, x.SizeN(d)), x.value_of(i))
    return x.as_index(flat)


def _row_among(i: Idx) -> Expr | None:
    """The row of a ragged plate of which an index is the position; None of an index over an even one."""
    match i:
        case DataIx(El(var=v, idx=(Ix() as row,))) if v in POSITION:
            return x.Val(row)
    return None


def summed(size: m.Size, scope: Scope, span: Span, body: Callable[[Idx], Expr]) -> Expr:
    """`sum_k body(k)` over an axis; of a ragged one, k below the length that it has here."""
    if scope.written_out and isinstance(size, m.Dim) and size.constant is not None:
        return x.add(*(body(i) for i in range(size.constant)))
    k = x.fresh(scope.dim(size))
    if scope.under is not None:
        scope.under.append(k)
    if not k.dim.endswith("[max]"):
        return x.total(k, selected(k, body(k), scope))
    if not isinstance(size, m.Ragged) or size.by not in scope.loops:
        text = "a family or function sums over a vector whose length differs by row, which is not known there"
        raise ModelError(Problem("E102", text, span))
    return x.total(k, selected(k, x.mul(x.fn("lt", x.Val(k), size_number(size, scope)), body(k)), scope))


def selected(i: Ix, term: Expr, scope: Scope) -> Expr:
    """`sum_k [z_i = k] f(i, k)` for what a sum over i reads of discrete latents that lie there: no gates of the whole.

    Sums of a number of terms are written out instead.
    """
    own = [] if scope.gates is None or i.dim.isdigit() else [p for p in scope.gates if i in x.free(El("", p[1]))]
    for place in own:
        assert scope.gates is not None
        k = scope.gates.pop(place)
        term = x.total(k, x.mul(x.Sel(El(*place), k), term))
    return term


def operand(e: m.Expr, idx: tuple[Idx, ...]) -> tuple[Idx, ...]:
    """Index positions for an operand: a scalar operand takes none."""
    return idx if e.shape else ()
