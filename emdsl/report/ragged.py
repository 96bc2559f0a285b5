"""Ragged plates on paper: how many rows they have in all, and the parents of a row by their loop names."""

from __future__ import annotations

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr
from emdsl.derive.algebra.made import ROW
from emdsl.report import formula as f
from emdsl.report.formula import Formula
from emdsl.report.indices import Names
from emdsl.report.writer import Writer


def length(t: Writer, dim: str) -> Formula:
    """A size; of a ragged plate how many rows there are in all, `Σ_g T[g]`."""
    if not dim.endswith("[]"):
        return f.Number(dim) if dim.isdigit() else f.Name(dim)
    *outer, (_, size) = ranges(t, f.Name(""), dim.removesuffix("[]"))
    return f.Big(tuple(outer), None, size) if outer else size


def ranges(t: Writer, index: Formula, size: str) -> tuple[tuple[Formula, Formula], ...]:
    """The indices of what encloses the rows of a ragged plate with their lengths, then that of a row."""
    parents = tuple(map(f.Name, t.parents.get(size, ())))
    return *zip(parents, t.around.get(size, ()), strict=True), (index, f.at(f.Name(size), *parents))


def parents_at(t: Writer, e: Expr) -> tuple[str, ...]:
    """The loop names of plates that are one axis, where an index is its row that a ragged row lies in; else none."""
    steps = 0
    while isinstance(e, x.Fn) and e.name == "floordiv":
        e, steps = e.args[0], steps + 1
    if not isinstance(e, El) or e.var not in ROW:
        return ()
    parents, together = t.parents.get(ROW.named(e.var), ()), t.together.get(ROW.named(e.var), 1)
    if not steps:
        return parents
    return parents[:together] if len(parents) - steps == together > 1 else ()


def quotient(t: Writer, e: x.Fn, names: Names) -> Formula:
    """A parent of a ragged row is written by its loop name."""
    steps, inner = 0, e.args[0]
    while isinstance(inner, x.Fn) and inner.name == "floordiv":
        steps, inner = steps + 1, inner.args[0]
    if isinstance(inner, El) and inner.var in ROW:
        parents = t.parents.get(inner.var[4:], ())
        at = len(parents) - 1 - steps - (e.name == "floordiv")
        if 0 <= at < len(parents):
            return f.Name(parents[at])
    return f.Apply(f.Word(e.name), tuple(t.of(a, names) for a in e.args))
