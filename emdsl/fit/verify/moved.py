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
from emdsl.derive.joint.centre import Shift
from emdsl.derive.joint.moving import moving
from emdsl.families.scope import Array
from emdsl.fit.verify.case import Case
from emdsl.fit.verify.layout import Layout
from emdsl.fit.verify.world import Unchecked

MOVED = "what is measured from means of data takes another path with other data: as it begins alone"


def moves(case: Case) -> bool:
    """Whether any latent's reference point holds a parameter."""
    return bool(moving(case.derived.joint.model, case.derived.shifts))


def another_path(case: Case) -> bool:
    """Whether EM goes another way where means of data are others: latents, or parameters one given another (ECM)."""
    return moves(case) or bool(_tied(case) and any(u.conditional_on for u in case.derived.updates))


def _tied(case: Case) -> dict[str, Shift]:
    """The parameters that are measured from places which other parameters decide, with these."""
    names = set(case.start)
    return {n: s for n, s in case.derived.shifts.items() if n in names and (names - {n}) & x.variables(s.value)}


def as_measured(case: Case, params: Mapping[str, Array]) -> dict[str, Array]:
    """Parameters as M-steps have them: `m` less a reference point that holds `g` stays where it is as g moves."""
    return _shifted(case, params, params, -1)


def as_written(case: Case, params: Mapping[str, Array]) -> dict[str, Array]:
    """The inverse of `as_measured`."""
    out = {n: np.asarray(v) for n, v in params.items()}
    for _ in _tied(case):  # a place may hold a parameter that is itself measured from one
        out = _shifted(case, params, out, 1)
    return out


def _shifted(case: Case, params: Mapping[str, Array], by: Mapping[str, Array], sign: int) -> dict[str, Array]:
    out = {n: np.asarray(v) for n, v in params.items()}
    for name, shift in _tied(case).items():
        known = {**by, **_points(case)}
        out[name] = out[name] + sign * np.reshape(
            [
                _value(shift.value, known, dict(zip(shift.axes, at, strict=True)), case)
                for at in np.ndindex(out[name].shape)
            ],
            out[name].shape,
        )
    return out


def _points(case: Case) -> dict[str, Array]:
    """The reference points of the fit."""
    return {REFERENCE.of(n): np.asarray(v) for n, v in (case.begun._reference or {}).items()}


def moved(case: Case, layout: Layout, params: Mapping[str, Array]) -> Layout:
    """The oracle's points where the complete data have them at these parameters."""
    shifts = moving(case.derived.joint.model, case.derived.shifts)
    if not shifts:
        return layout
    points = _points(case)
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
