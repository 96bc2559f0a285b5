"""What is read of a discrete factor of q: sums over its rows, which are made where its rows are at hand.

    sum over n of  q(z_n = k) prod(data)  prod(the rest)  =  prod(the rest) * S[k],     the rest lacks n

The other factors, the statistics and the bound then need K numbers, not K for each row. Where the log weights of a row
are themselves numbers looked up in tables, q is a product of entries of two tables over its sum, and so are the sums:

    q(z_n = k) = A[k, i_n] B[k, j_n] / norm_n,     sum over n with i_n = i of w_n q = A[k, i] * ( (W / norm) B' )[i, k]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import DataIx, El, Expr, Idx, Ix
from emdsl.derive.algebra.made import PRESENT, ROW, Q
from emdsl.derive.joint.plates import read_at
from emdsl.derive.posteriors.block import Block
from emdsl.derive.posteriors.once import DataSum, Known, known_data, taken_out
from emdsl.derive.updates.statistics import drop_presence
from emdsl.language import model as m

MOST = 2  # codes by which a row is looked up


def known_beside(model: m.ModelText, hidden: Sequence[str], tables: Sequence[str], block: Block) -> Known:
    """What sums under a block's q may hold: data, q itself, and the rows that ragged plates lie in."""
    known = known_data(model, hidden, tables, None)
    parents = {}
    for v in model.variables:
        for outer, p in zip(v.plates, v.plates[1:], strict=False):
            if isinstance(p.size, m.Ragged) and p is v.plates[1]:
                parents[ROW.of(p.size.name)] = str(outer.size)
    rows = known.rows - {s.dim for s in block.states}  # a state's index is kept, be it that of a plate too
    return replace(known, data=known.data | {Q.of(block.name)}, rows=rows, levels={**known.levels, **parents})


def handed_over(
    factors: Sequence[Expr], out: Sequence[Ix], q: str, known: Known
) -> tuple[DataSum, tuple[Ix, ...], list[Expr]] | None:
    """(the sum under q in its own indices, its axes as the product has them, the other factors); None if none.

    `out` are the indices of the product that are not summed.
    """
    (mine, *more) = [f for f in factors if q in x.variables(f)] or [x.ONE]
    if more or not isinstance(mine, El) or not all(isinstance(i, Ix) for i in mine.idx) or mine.idx[-1] in out:
        return None
    chosen: dict[Expr, Ix] = {f.of: f.at for f in factors if isinstance(f, x.Sel) and isinstance(f.at, Ix)}
    given, kept = set(chosen), (*out, *(i for i in mine.idx[:-1] if isinstance(i, Ix)))

    def moved(e: Expr, outside: frozenset[Ix]) -> Expr | None:
        if not isinstance(e, El) or not any(isinstance(i, DataIx) for i in e.idx):
            return None
        pure = known.holds(e)
        idx: list[Idx] = []
        for i in e.idx:
            at = i.value if isinstance(i, DataIx) and outside.issuperset(x.free(i.value)) else None
            if isinstance(at, El) and at.var in known.levels and (at in chosen or not pure):
                idx.append(chosen.setdefault(at, x.fresh(known.levels[at.var])))
            else:
                idx.append(i)
        return El(e.var, tuple(idx), e.sort)

    def without_pointers(f: Expr) -> Expr:
        return x.rebuild(f, partial(moved, outside=frozenset(x.free(f))))

    first = [f if known.holds(f) else without_pointers(f) for f in factors]
    then = [f if isinstance(f, x.Sel) or f == mine else without_pointers(f) for f in first]
    got = taken_out([*then, *(x.sel(of, at) for of, at in chosen.items() if of not in given)], kept, known)
    if got is None or not any(isinstance(f, El) and f.var == q for f in got[0].factors):
        return None
    s, axes, rest = got
    rows = {i for f in s.factors for i in x.free(f) if i.dim in known.rows and i not in s.axes}
    if len(rows) != 1:
        return None
    pairs = sorted(zip(axes, s.axes, strict=True), key=lambda p: p[0] not in mine.idx)  # states first
    return DataSum(s.factors, tuple(own for _, own in pairs)), tuple(there for there, _ in pairs), rest


@dataclass(frozen=True)
class Code:
    """Integers of a row by which it is looked up in a table of `dim` places; `masks` are 0 where there is none."""

    value: El
    dim: str
    masks: tuple[El, ...]


@dataclass(frozen=True)
class LookedUp:
    """The log weights of a row as entries of tables: of each code, the sum of the terms that it chooses from."""

    codes: tuple[Code, ...]
    tables: tuple[tuple[tuple[Expr, Ix | None], ...], ...]  # terms, and the index that runs over the code's places


def looked_up(block: Block, known: Known) -> LookedUp | None:
    """The tables of a discrete block of independent rows whose terms read nothing of a row but one or two codes."""
    if len(block.states) != 1 or len(block.home) != 1 or not block.terms:
        return None
    row = block.home[0]
    tables: dict[Code, list[tuple[Expr, Ix | None]]] = {}
    constant: list[tuple[Expr, Ix | None]] = []
    for t in block.nodes:
        factors, _ = drop_presence(t.factors)
        masks = tuple(f for f in factors if isinstance(f, El) and f.var in PRESENT and row in x.free(f))
        chosen = {
            f.at: x.as_index(f.of) for f in factors if isinstance(f, x.Sel) and isinstance(f.at, Ix) and f.at in t.ixs
        }
        if any(i in (row, *block.states) for i in chosen):
            return None
        apart = [f for f in factors if f not in masks and not (isinstance(f, x.Sel) and f.at in chosen)]
        body = x.mul(x.Num(t.coef), *(x.substitute(f, chosen) for f in apart))
        for i in t.ixs:
            if i not in (row, *block.states, *chosen):
                body = x.total(i, body)
        if row not in x.free(body) and not masks:
            constant.append((body, None))
            continue
        found = _one_code(body, row, known.levels)
        if found is None or any(m.var != PRESENT.of(found[0].var) for m in masks):
            return None
        value, dim, table, place = found
        tables.setdefault(Code(value, dim, masks), []).append((table, place))
    if not 1 <= len(tables) <= MOST or len({c.value for c in tables}) < len(tables):
        return None
    first, *rest = tables.values()
    return LookedUp(tuple(tables), ((*first, *constant), *(tuple(r) for r in rest)))


def _one_code(body: Expr, row: Ix, levels: Mapping[str, str]) -> tuple[El, str, Expr, Ix] | None:
    """(code, dimension, the same with an index in its place, the index), where the row is read through one code."""
    values = {
        i.value for e in x.walk(body) for i in getattr(e, "idx", ()) if isinstance(i, DataIx) and row in x.free(i.value)
    }
    if len(values) != 1:
        return None
    (value,) = values
    if not isinstance(value, El) or value.idx != (row,) or value.var not in levels:
        return None
    place = x.fresh(levels[value.var])
    table = read_at(body, DataIx(value), place)
    return None if row in x.free(table) else (value, place.dim, table, place)
