"""Data far from the origin, measured from reference points: the same joint in coordinates near zero, exactly.

What stands far from zero is known to few digits once it is squared and subtracted. Each kind of reference has a file of
its own in `joint`; here they follow one another, each told which data and parameters those before it moved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from emdsl.derive.joint.balance import recentre
from emdsl.derive.joint.centre import Shift, added
from emdsl.derive.joint.designs import Design, design_shifts, designs
from emdsl.derive.joint.factors import LogJoint
from emdsl.derive.joint.planes import Plane, plane_shifts, planes
from emdsl.derive.joint.polynomials import polynomials
from emdsl.derive.posteriors.cuts import refuse_cuts_at_parameters
from emdsl.language import model as m


class Near(NamedTuple):
    """The joint in coordinates near zero: by what parameters are shifted for it, and which data are centred."""

    joint: LogJoint
    shifts: Mapping[str, Shift]
    centred: tuple[str, ...]
    planes: tuple[Plane, ...]
    designs: tuple[Design, ...]
    more: Mapping[str, Shift]  # of planes, designs and polynomials, which no draw moves
    covariates: tuple[str, ...]


def near_zero(whole: LogJoint, model: m.ModelText, drawn: Sequence[str], incomplete: tuple[str, ...]) -> Near:
    """Reference points for data far from the origin; the joint is the same in other coordinates, exactly."""
    joint, shifts, centred = recentre(replace(whole, model=model), incomplete)  # drawn latents are no data to centre
    joint = replace(joint, model=whole.model)
    refuse_cuts_at_parameters(joint)
    flat = planes(joint, (*centred, *shifts, *incomplete), bool(drawn))
    more = {name: shift for p in flat for name, shift in plane_shifts(p, joint).items()}
    mixed = () if drawn else designs(joint, (*centred, *shifts, *incomplete))
    for shift in (s for d in mixed for s in design_shifts(d, joint)):
        more[shift.param] = added(more.get(shift.param), shift)
    curves, covariates = polynomials(joint, shifts, (*centred, *more, *(p.data for p in flat), *incomplete))
    return Near(joint, shifts, centred, flat, mixed, {**more, **curves}, tuple(covariates))
