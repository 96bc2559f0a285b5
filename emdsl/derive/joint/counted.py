"""Ragged plates whose equal rows are one element that counts: tokens of a document that are the same word.

The elements of a factor of q whose terms read the same things have the same posterior. On the rows of a ragged
plate these are the parent's index and the data of the row; so rows that are equal in both are kept once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import DataIx, El, Expr, Ix
from emdsl.derive.algebra.made import COUNT
from emdsl.derive.joint.factors import Factor, LogJoint
from emdsl.language import model as m


def counting(joint: LogJoint) -> LogJoint:
    """The joint whose ragged plates are counted wherever nothing tells equal rows apart."""
    innermost = [v.plates[-1].size for v in joint.model.of_kind("latent") if v.plates]
    names = dict.fromkeys(s.name for s in innermost if isinstance(s, m.Ragged))
    return replace(joint, counted=frozenset(f"{n}[]" for n in names if _exchangeable(n, joint)))


def _exchangeable(plate: str, joint: LogJoint) -> bool:
    """Whether a row is known by its parent and its data alone: no position, no neighbour, no row that data name."""
    dim = f"{plate}[]"
    lies = {v.name for v in joint.model.variables if any(_is(p, plate) for p in v.plates)}
    if any(not _is(v.plates[-1], plate) or v.name in joint.incomplete for v in joint.model.variables if v.name in lies):
        return False
    return all(_alike(f, plate, dim, lies) for f in joint.factors)


def _is(p: m.Plate, plate: str) -> bool:
    return isinstance(p.size, m.Ragged) and p.size.name == plate


def _alike(f: Factor, plate: str, dim: str, lies: set[str]) -> bool:
    told = {f"{kind}:{plate}" for kind in ("position", "start", "length")}
    rows: set[Ix] = {i for i in f.plates if i.dim == dim}
    for e in _parts(f):
        match e:
            case El(var, idx):
                if var in told or (var in lies and idx and not isinstance(idx[0], Ix)):
                    return False
                rows |= {i for i in idx if isinstance(i, Ix) and i.dim == dim}
            case x.Val(ix) if ix.dim == dim:
                return False
            case x.SizeN(name) if name == dim:
                return False
    return len(rows) <= 1


def _parts(f: Factor) -> Iterator[Expr]:
    for e in (*f.gates, *f.masks, f.body):
        yield from _walk(e)


def _walk(e: Expr) -> Iterator[Expr]:
    """Every node of an expression, those inside index positions too."""
    for part in x.walk(e):
        yield part
        if isinstance(part, El):
            for i in part.idx:
                if isinstance(i, DataIx):
                    yield from _walk(i.value)


def count_of(i: Ix) -> El:
    """How many rows an element of a counted plate stands for."""
    return El(COUNT.of(i.dim.removesuffix("[]")), (i,))
