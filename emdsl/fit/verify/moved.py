"""Q of a model whose latents are measured from places that parameters decide: the oracle's points move with these.

    Q(theta) = E[log p(y, u' + s(theta) | theta)],   u = u' + s(theta),   under the posterior at the start

Which s is the plan's choice, and any would make a right EM; that its M-step is the maximum of this Q is tried as ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod

import numpy as np

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr, Ix
from emdsl.derive.algebra.made import REFERENCE
from emdsl.derive.joint.moving import moving
from emdsl.families.scope import Array
from emdsl.fit.verify.case import Case
from emdsl.fit.verify.cells import Unchecked
from emdsl.fit.verify.layout import Layout

MOVED = "latents are measured from places that parameters decide, by means of data: other data take another path"


def moves(case: Case) -> bool:
    """Whether any latent's reference point holds a parameter."""
    return bool(moving(case.model.derived.joint.model, case.model.derived.shifts))


def moved(case: Case, layout: Layout, params: Mapping[str, Array]) -> Layout:
    """The oracle's points where the complete data have them at these parameters."""
    shifts = moving(case.model.derived.joint.model, case.model.derived.shifts)
    if not shifts:
        return layout
    points = {REFERENCE.of(n): np.asarray(v) for n, v in (case.begun._reference or {}).items()}
    off = np.zeros(len(layout.cells))
    for k, cell in enumerate(layout.cells):
        if cell.latent in shifts:
            shift = shifts[cell.latent]
            shape = layout.world.latents[cell.latent].shape
            at = dict(zip(shift.axes, np.unravel_index(cell.at, shape), strict=True))
            there = {i: int(v) for i, v in at.items()}
            now, then = (_value(shift.value, {**p, **points}, there, case) for p in (params, case.start))
            off[k] = now - then
    return replace(layout, points=tuple(p + off for p in layout.points))


def _value(e: Expr, known: Mapping[str, Array], at: Mapping[Ix, int], case: Case) -> float:
    """An expression in parameters and reference points."""
    match e:
        case x.Num(v):
            return float(v)
        case El(var, idx) if var in known and all(isinstance(i, int) or i in at for i in idx):
            place = tuple(i if isinstance(i, int) else at[i] for i in idx if isinstance(i, int | Ix))
            return float(np.asarray(known[var])[place])
        case x.Add(terms):
            return sum(_value(t, known, at, case) for t in terms)
        case x.Mul(factors):
            return prod(_value(f, known, at, case) for f in factors)
        case x.Sum(ix, body):
            size = int(ix.dim) if ix.dim.isdigit() else case.drawn.setting.sizes[ix.dim]
            return sum(_value(body, known, {**at, ix: n}, case) for n in range(size))
    raise Unchecked("where its latents are measured from holds more than sums of products")
