"""Which axes are those of a vector or a matrix: the others are plates, and stay indices."""

from __future__ import annotations

from collections.abc import Mapping

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Ix
from emdsl.derive.algebra.made import (
    COV,
    LOCATION,
    MEAN,
    MIXING,
    MOMENT,
    REFERENCE,
    STATISTIC,
    VARIANCE,
    among,
    made_of,
)  # fmt: skip
from emdsl.derive.joint.centre import of_one_number
from emdsl.derive.plan import Plan
from emdsl.language.columns import columns


def _moments_axes(plan: Plan, own: Mapping[str, int]) -> dict[str, int]:
    """Those of the means and covariances that a joint Gaussian leaves."""
    out = {}
    for block in plan.elimination.blocks:
        if block.gaussian is None:
            continue
        ties = len(block.field.ties) if block.field is not None else 0
        for a in block.latents:
            out[MEAN.of(a)] = own[a]
            for b in block.latents:
                out |= {COV.of(a, b, *tie): own[a] + own[b] for tie in ((), *((k,) for k in range(ties)))}
    return out


def own_axes(plan: Plan) -> dict[str, int]:
    """The own axes of vectors and matrices, and those of statistics that come from them, where they stand last."""
    out = dict(columns(plan.joint.model))
    out |= _moments_axes(plan, out)
    out |= {MIXING.of(design.data): 2 for design in plan.designs}
    alike = of_one_number(plan.shifts)
    measured = (*plan.centred, *(p.param for p in plan.planes))
    out |= {REFERENCE.of(n): out[n] for n in measured if n in out and n not in alike}
    blocks = {b.name: len(b.own) for b in plan.elimination.blocks}
    homes = {b.name: len(b.gates) + len(b.home) for b in plan.elimination.blocks}
    for s in plan.expected.statistics:
        inside: set[Ix] = set()
        outside: set[Ix] = set()
        for e in (n for p in s.factors for n in x.walk(p)):
            if isinstance(e, El):
                scaled = among(e.var, (MOMENT, LOCATION, VARIANCE))
                count = out.get(e.var, blocks.get(made_of(e.var)[1][0], 0) if scaled else 0)
                count = len(e.idx) - homes[made_of(e.var)[1][0]] if e.var in VARIANCE else count
                inside |= set(x.free(El("", e.idx[len(e.idx) - count :])))
                outside |= set(x.free(El("", e.idx[: len(e.idx) - count])))
            elif isinstance(e, x.Sel | x.Val | x.Pow):
                outside |= set(x.free(e))
        count = 0
        while count < len(s.axes) and s.axes[-1 - count] in inside - outside:
            count += 1
        out[STATISTIC.of(s.name)] = count
    return out
