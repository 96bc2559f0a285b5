"""Printing sums of data that no parameter touches: one function, called by `prepare`; the other functions read them."""

from __future__ import annotations

from collections.abc import Sequence

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr, Ix
from emdsl.derive.joint.terms import Term
from emdsl.derive.posteriors.once import taken_out
from emdsl.derive.updates.statistics import drop_presence
from emdsl.generate.blocks.handed import from_sums
from emdsl.generate.context import Function
from emdsl.generate.lines.arrays import Array
from emdsl.generate.lines.kept import SUM
from emdsl.generate.lines.spelling import numbered
from emdsl.generate.shared import MOMENTS, SUMS, Sums


def summed_once(f: Function, factors: Sequence[Expr], out: Sequence[Ix]) -> list[Expr]:
    """The factors of a product that is summed over all indices but `out`: its sum under a factor of q taken from there,
    its sum of data from `prepared`."""
    factors = from_sums(f, factors, out)
    got = None if f.sums is None else taken_out(factors, out, f.sums.known)
    if got is None:
        return list(factors)
    assert f.sums is not None
    data, axes, rest = got
    return [*rest, El(SUM.of(f.sums.name(data, f.equation)), axes)]


def product_of(f: Function, t: Term, out: Sequence[Ix]) -> list[Expr]:
    """The factors of a term that is summed over all but `out`; of an index that none of them has, its length."""
    factors, _ = drop_presence(t.factors)
    carried = {i for e in factors for i in x.free(e)}
    lengths = [x.extent(i) for i in t.ixs if i not in carried and i not in out]
    return [x.Num(t.coef), *lengths, *summed_once(f, factors, tuple(i for i in out if i in carried))]


def contracted(f: Function, t: Term, out: Sequence[Ix]) -> Array:
    """A term summed over all but `out`; axes that it does not carry are left out."""
    factors = product_of(f, t, out)
    carried = {i for e in factors for i in x.free(e)}
    return f.emitter.contract(factors, tuple(i for i in out if i in carried))


def sums_lines(f: Function, sums: Sums) -> list[str]:
    """`sums_of_data(prepared, rows)`: each sum over these rows."""
    if not sums.found:
        return []
    em, cells = f.emitter, []
    for s, name in sums.found.items():
        factors = [e for e in s.factors if e != x.ONE]
        since, where = em.mark(), [n for n in sums.readers[s] if n]
        cell = f'"{name}": {em.broadcast(em.contract(factors, s.axes), s.axes).code},'
        cells += numbered([cell], *where)
        em.number(since, *where)
    head = f"def {sums.maker}(prepared, rows):" if em.chunk else f"def {sums.maker}(prepared):"
    doc = f'"""{DOC[sums.key]}"""'
    count = [f"{em.namer.rows} = row_count(rows)"] if em.chunk else []
    body = [doc, 'sizes = prepared["the sizes"]', *count, *f.prologue(), *em.outer, *em.lines]
    return [head, *("    " + line for line in (*body, "return {", *("    " + c for c in cells), "}"))]


DOC = {
    SUMS: "Sums of data that no parameter touches: added up once, before the first iteration.",
    MOMENTS: "What all rows enter through where nothing is missing: added up once, before the first iteration.",
}


def made(sums: Sums, chunked: bool, whose: str = "out") -> str:
    """Code that makes the sums."""
    return f"added_up({sums.maker}, {whose})" if chunked else f"{sums.maker}({whose})"
