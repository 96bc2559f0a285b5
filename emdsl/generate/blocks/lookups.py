"""Tables that the rows of a chain are looked up in, by an integer column: read and counted in lanes.

log p(w | z)  =  table[z, w]          sum over rows of q(z) [w = v]  =  counts[z, v]
"""

from __future__ import annotations

from collections.abc import Sequence

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import DataIx, El, Ix
from emdsl.derive.algebra.made import PRESENT, WEIGHT, Q
from emdsl.derive.joint.plates import read_at
from emdsl.derive.joint.terms import Term
from emdsl.derive.posteriors.block import Block
from emdsl.derive.updates.statistics import Statistic
from emdsl.generate.blocks.chains import by_sequence, sequence_weight, sequences_of, weighted_sequences
from emdsl.generate.context import Function
from emdsl.generate.lines.arrays import Array
from emdsl.generate.lines.kept import CHAIN


def look_up(f: Function, block: Block, table: str, terms: Sequence[Term], onto: bool) -> list[Term]:
    """Prints log weights of a chain that are looked up in tables of parameters, in lanes; returns the other terms.

    `onto` is whether `table` has some already.
    """
    rest = []
    for t in terms:
        found = _looked_up(f, block, t)
        if found is None:
            rest.append(t)
            continue
        column, value = found
        f.lookups[column, block.name] = block
        more = f", {table}" if onto else ""
        f.emitter.lines.append(f"{table} = lane_lookup({value.code}, {_codes(column, block)}{more})")
        onto = True
    return rest


def _looked_up(f: Function, block: Block, t: Term) -> tuple[str, Array] | None:
    """(column, table over states and its codes), where a term reads a table of parameters at one column of the rows."""
    row, em = block.home[0], f.emitter
    if set(t.ixs) - {row, *block.states}:
        return None
    held = [e for e in t.factors if row in x.free(e)]
    reads = [e for e in held if not (isinstance(e, El) and e.var in PRESENT)]
    columns = {i.value for e in reads for n in x.walk(e) if isinstance(n, El) for i in n.idx if isinstance(i, DataIx)}
    if len(reads) != 1 or len(columns) != 1:
        return None
    (column,) = columns
    if not isinstance(column, El) or column.idx != (row,) or not _is_data(f, column.var):
        return None
    if any(e.var != PRESENT.of(column.var) or e.idx != (row,) for e in held if isinstance(e, El) and e not in reads):
        return None
    code = Ix("code", "codes")
    bare = read_at(reads[0], DataIx(column), code)
    if row in x.free(bare):
        return None
    axes = (*block.states, code)
    value = em.contract([x.Num(t.coef), *(e for e in t.factors if e not in held), bare], axes)
    if set(value.axes) != set(axes):
        return None
    flat = Array(em.transposed(value, axes), axes, value.inner)
    if len(block.states) > 1:
        count = " * ".join(em.size(i.dim) for i in block.states)
        flat = Array(f"({flat.code}).reshape({count}, -1)", axes, value.inner)
    return column.var, flat


def _is_data(f: Function, name: str) -> bool:
    return any(v.name == name and v.kind in ("observed", "given") for v in f.plan.joint.model.variables)


def _codes(column: str, block: Block) -> str:
    return f'prepared["{column} in the lanes of {block.name}"]'


def lookup_lines(f: Function) -> list[str]:
    """The lines of `prepare` that lay columns of codes in lanes."""
    return [
        f'{_codes(column, block).replace("prepared", "out", 1)} = lane_codes(out["{column}"], '
        f'data.masks.get("{column}"), {sequences_of(block).replace("prepared", "out", 1)})'
        for (column, _), block in f.lookups.items()
    ]


def counted(f: Function, s: Statistic) -> Array | None:
    """A statistic that counts the codes of a column by state; None where it is anything else."""
    for (column, name), block in f.lookups.items():
        q = next((e for e in s.factors if isinstance(e, El) and e.var == Q.of(name)), None)
        at = next((e for e in s.factors if isinstance(e, x.Sel)), None)
        if q is not None and at is not None and _counts(f, s, block, q, at, column):
            return _count(f, s, block, q, at, column)
    return None


def _counts(f: Function, s: Statistic, block: Block, q: El, at: x.Sel, column: str) -> bool:
    """Whether a statistic is q times a selector of the column, for all states and codes, and masks and weights."""
    states, row, of = q.idx[:-1], q.idx[-1:], at.of
    if not isinstance(of, El) or (of.var, of.idx) != (column, row) or len(set(states)) < len(states):
        return False
    if set(s.axes) != {*states, at.at}:
        return False
    weights = [e for e in s.factors if isinstance(e, El) and e.var == WEIGHT]
    masks = [e for e in s.factors if isinstance(e, El) and (e.var, e.idx) == (PRESENT.of(column), row)]
    if len(s.factors) != 2 + len(weights) + len(masks) or bool(weights) != weighted_sequences(f, block):
        return False
    return all(by_sequence(w, block, row) is not None for w in weights)


def _count(f: Function, s: Statistic, block: Block, q: El, at: x.Sel, column: str) -> Array:
    em, share = f.emitter, sequence_weight(f, block)
    axes = tuple(i for i in (*q.idx[:-1], at.at) if isinstance(i, Ix))
    arguments = f"{_codes(column, block)}, {em.size(axes[-1].dim)}{share and f', {share}'}"
    code = f"{f.runtime[CHAIN.of(block.name)].code}.counts({arguments})"
    if len(axes) > 2:
        code += f".reshape({', '.join(em.size(i.dim) for i in axes)})"
    return Array(em.transposed(Array(code, axes, True), tuple(s.axes)), tuple(s.axes), True)
