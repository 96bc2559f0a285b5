"""Printing what is checked of indices when data are bound: `indices_inside(prepared)`."""

from __future__ import annotations

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr
from emdsl.derive.algebra.made import LENGTH
from emdsl.derive.joint.element import Tensors
from emdsl.derive.joint.rows import row_around
from emdsl.derive.joint.scope import size_number
from emdsl.generate.context import function
from emdsl.generate.printer import Printer
from emdsl.language import model as m
from emdsl.language.model import Lookup


def checked(printer: Printer) -> list[Lookup]:
    """The lookups whose data the module has as they came."""
    plan = printer.plan
    kept = {v.name for v in plan.joint.model.variables if v.kind in ("given", "observed")} - {*plan.drawn}
    mixed = {*(p.data for p in plan.planes), *(d.data for d in plan.designs)}
    moved = {*plan.centred, *plan.shifts, *plan.joint.incomplete, *mixed}
    tensors = _tensors(printer)
    out = []
    for use in plan.joint.model.lookups:
        tensors.begin()
        read = set().union(*(x.variables(e) for e in _elements(use, tensors)))
        if read & (tensors.tables.keys() - plan.joint.tables.keys()):
            continue  # a literal's own entry, which no density reads: it is known already
        if all(n in kept and n not in moved for n in read if n in tensors.variables):
            out += [use] if not {n for n, _ in tensors.gates} & plan.drawn else []
    return out


def _tensors(printer: Printer) -> Tensors:
    """Elements of the model, its literal tables under the names that the module has."""
    tensors = Tensors(printer.plan.joint.model)
    tensors.tables.update(printer.plan.joint.tables)
    return tensors


def _elements(use: Lookup, tensors: Tensors) -> list[Expr]:
    """The index, the length of its axis, and the guards, 1 where they hold, in the indices of the loops around and of
    the states of classes."""
    scope, _, _ = tensors.enter(tuple(m.Plate(n, size, None, use.span) for n, size in use.loops))
    index = tensors.element(use.index, (), scope)
    if isinstance(use.axis, m.Ragged):
        v = tensors.variables[use.target]
        before = tuple(x.as_index(tensors.element(e, (), scope)) for e in use.before)
        row = row_around(v.shape[: len(before)], v.plates[: len(before)], before)
        length: Expr = El(LENGTH.of(use.axis.name), (x.as_index(row),))
    else:
        length = size_number(use.axis, scope)
    return [index, length, *(tensors.condition(c, holds, scope) for c, holds in use.guards)]


def lookup_check_lines(printer: Printer) -> list[str]:
    """`indices_inside(prepared)`: refuses data that lead an index off its axis."""
    uses = checked(printer)
    if not uses:
        return []
    plan = printer.plan
    tensors = _tensors(printer)
    f = function(plan, printer.helpers, None, printer.rows)
    em, calls = f.emitter, []
    for use in uses:
        tensors.begin()
        index, length, *conds = _elements(use, tensors)
        _, axes, _ = tensors.enter(tuple(m.Plate(n, size, None, use.span) for n, size in use.loops))
        read = set().union(*(x.free(e) for e in (index, length, *conds)))
        axes = tuple(i for i in (*axes, *tensors.gates.values()) if i in read)
        code = [em.broadcast(em.value(e), axes).code for e in (index, length, x.mul(*conds))]
        calls.append(f'inside("an index of {use.target} in line {use.span.line}", {", ".join(code)})')
    doc = '"""Refuses data that lead an index off its axis."""'
    body = [doc, 'sizes = prepared["the sizes"]', *f.prologue(), *em.outer, *em.lines, *calls]
    return ["def indices_inside(prepared):", *("    " + line for line in body)]
