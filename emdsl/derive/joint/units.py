"""What a log-likelihood is a sum over: groups that rows reach through a given index.

    sum_n log p(y_n | u[g_n])   with u[g] summed out   =   sum_g log p(y_n for all n of group g)

Each row lies in one group, each group perhaps in one of groups of groups; where nothing else ties them, these are the
units that are independent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import DataIx, El, Expr, Idx, Ix
from emdsl.derive.joint.factors import Factor, LogJoint
from emdsl.derive.joint.plates import home_of


@dataclass(frozen=True)
class Units:
    """The plate of the units, and for each plate below it the plate that its elements lie in: (index, place in it)."""

    dim: str
    up: Mapping[str, tuple[str, Ix, Expr]]

    def place(self, ix: Ix) -> Idx | None:
        """The unit that an element of a plate lies in; None where nothing tells, or an element reaches its own plate,
        as along a chain."""
        dim, at = ix.dim, x.value_of(ix)
        met: set[str] = set()
        while dim != self.dim:
            if dim not in self.up or dim in met:
                return None
            met.add(dim)
            dim, own, value = self.up[dim]
            at = x.substitute(value, {own: x.as_index(at)})
        return x.as_index(at)


def units(joint: LogJoint) -> Units | None:
    """The units of rows that reach latents through given indices; None where a row reaches several groups."""
    up: dict[str, tuple[str, Ix, Expr]] = {}
    for f in joint.factors:
        for dim, value in _reached(joint, f):
            own = f.plates[0]
            known = up.get(own.dim)
            at = value if known is None else x.substitute(value, {own: known[1]})
            if known is not None and known[0::2] != (dim, at):
                return None
            up.setdefault(own.dim, (dim, own, value))
    ends = {dim for dim, *_ in up.values()} - set(up)
    return Units(ends.pop(), up) if len(ends) == 1 else None


def _reached(joint: LogJoint, f: Factor) -> list[tuple[str, Expr]]:
    """(plate, which element of it) for the latents that a factor reaches from its first plate through data."""
    latents = {v.name: home_of(v) for v in joint.model.of_kind("latent")}
    out: dict[tuple[str, Expr], None] = {}
    for e in (n for part in (f.body, *f.masks, *f.gates) for n in x.walk(part)):
        home = latents.get(e.var, ()) if isinstance(e, El) else ()
        if home and isinstance(e, El) and isinstance(e.idx[0], DataIx) and f.plates:
            out[home[0].dim, e.idx[0].value] = None
    return list(out)
