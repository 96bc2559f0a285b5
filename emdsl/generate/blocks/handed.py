"""Printing what is read of a discrete factor of q: sums over its rows, made in its own function where rows are at hand.

Its rows are independent. So probabilities need not be kept between sweeps: they are made a chunk at a time, or, where
log weights are looked up in two tables, not at all.
"""

from __future__ import annotations

from collections.abc import Sequence

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr, Ix
from emdsl.derive.algebra.made import AT, Q
from emdsl.derive.joint.terms import Term
from emdsl.derive.plan import Plan
from emdsl.derive.posteriors.blocks import Part
from emdsl.derive.updates.handed import handed_over, known_beside, looked_up
from emdsl.derive.updates.statistics import readable_name
from emdsl.generate.context import Function
from emdsl.generate.lines.kept import UNDER
from emdsl.generate.shared import Handed


def handed_parts(plan: Plan, rows: frozenset[str]) -> tuple[Handed, ...]:
    """The factors of q of which sums over rows are read: one discrete block of independent rows each."""
    out = []
    model = plan.joint.model
    hidden = [*(n for b in plan.elimination.blocks for n in b.latents), *plan.drawn]
    for part in plan.elimination.parts:
        row = _row_of(part, rows)
        if row is None:
            continue
        (block,) = part.blocks
        if _reached(part, Q.of(block.name)):
            continue
        known = known_beside(model, hidden, tuple(plan.joint.tables), block)
        tables = None if block.filtered else looked_up(block, known)
        out.append(Handed(part, block, row, known, tables))
    return tuple(out)


def _row_of(part: Part, rows: frozenset[str]) -> Ix | None:
    """The plate whose elements are independent in this factor."""
    if len(part.blocks) != 1:
        return None
    (b,) = part.blocks
    tied = b.chain or b.network or b.gates or b.field or b.neighbours or b.gaussian is not None
    tied = tied or any(n in AT for t in b.terms for f in t.factors for n in x.variables(f))
    if not b.states or tied or len(b.home) != 1 or b.home[0].dim in {s.dim for s in b.states}:
        return None
    dim = b.home[0].dim
    if any(_other_row(t, dim) for t in (*b.terms, *part.own)):
        return None
    return b.home[0] if dim in rows else None


def _other_row(t: Term, dim: str) -> bool:
    """Whether a term holds two rows of a plate, or a sum over its rows: of these a chunk has not all."""
    inside = (n.ix for f in t.factors for n in x.walk(f) if isinstance(n, x.Sum))
    held = {i for i in (*t.ixs, *(i for f in t.factors for i in x.free(f))) if i.dim == dim}
    return len(held) > 1 or any(i.dim == dim for i in inside)


def _reached(part: Part, q: str) -> bool:
    """Whether its rows are read through data (`truth[item[r]]`): then no chunk has all that reads a row."""
    for t in part.own:
        read = [e for f in t.factors for e in x.walk(f) if isinstance(e, El) and e.var == q]
        chosen = {f.at for f in t.factors if isinstance(f, x.Sel)}
        if any(not isinstance(i, Ix) for e in read for i in e.idx) or chosen & {e.idx[-1] for e in read}:
            return True
    return False


def from_sums(f: Function, factors: Sequence[Expr], out: Sequence[Ix]) -> list[Expr]:
    """The factors of a product that is summed over all indices but `out`, its sum under a factor of q by name."""
    for h in f.handed:
        got = handed_over(factors, out, h.q, h.known)
        if got is None or not h.takes(got[0]):
            continue
        s, axes, rest = got
        if s not in h.found:
            used = {n for other in f.handed for n in other.found.values()}
            h.found[s] = readable_name(s.factors, used)
        h.readers.setdefault(h.found[s], {})[f.equation] = None
        return [*rest, El(UNDER.of(h.found[s]), axes)]
    return list(factors)


def tables_key(h: Handed) -> str:
    """The key in `prepared` of the places at which rows are looked up."""
    return f"the tables of {h.block.name}"
