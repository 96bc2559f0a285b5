"""Between which two numbers a latent lies: its own bounds, and those of the families that it may come from.

Bounds that givens decide are no numbers here: they are conditions that hold of each element (`joint.within_bounds`),
as if data had said so, and the range goes on beyond them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from emdsl.derive.joint.spikes import is_point_mass, leaves
from emdsl.language import model as m
from emdsl.language.bounds import own_bounds

Range = tuple[float, float]
EVERYWHERE: Range = (-math.inf, math.inf)


def range_of(v: m.Variable) -> Range | str:
    """The ends of where a variable has a density; or why they are not two numbers.

    `Uniform(a, b)` ends where its arguments say, `positive(max = 3)` where the domain does, whichever is narrower.
    """
    decided = decided_by_givens(v)
    own = domain_range(_without(v.domain, decided))
    assert own is not None
    found = set()
    for _, c in leaves(v.distribution) if v.distribution is not None else ():
        if is_point_mass(c.family):
            continue
        low, high = own_bounds(c)
        ends = domain_range(_without(replace(c.family.x.domain, lower=low, upper=high), decided))
        if ends is None:
            return f"the bounds of {v.name} ({c.family.name}) are neither numbers nor what givens say in all branches"
        found.add((max(own[0], ends[0]), min(own[1], ends[1])))
    if len(found) > 1:
        return f"{v.name} lies between other numbers in one branch than in another"
    return next(iter(found), own)


def narrowed(v: m.Variable) -> tuple[float | None, float | None]:
    """The ends of a variable that its kind of domain does not have by itself; None for those that it has."""
    found, own = range_of(v), domain_range(m.Domain(v.domain.kind))
    if isinstance(found, str) or own is None:
        return None, None
    return (None if found[0] == own[0] else found[0]), (None if found[1] == own[1] else found[1])


def decided_by_givens(v: m.Variable) -> dict[str, m.Expr]:
    """The bounds of a latent that are no numbers but what givens say, "lower" before "upper"."""
    bounds = {"lower": v.domain.lower, "upper": v.domain.upper}
    return {side: b for side, b in bounds.items() if b is not None and _number(b) is None}


def _without(d: m.Domain, bounds: Mapping[str, m.Expr]) -> m.Domain:
    """A domain without these bounds, where it has the same ones."""
    lower, upper = (None if b == bounds.get(s) else b for s, b in (("lower", d.lower), ("upper", d.upper)))
    return replace(d, lower=lower, upper=upper)


def domain_range(d: m.Domain) -> Range | None:
    """The ends of a domain; None where its bounds are no numbers."""
    low, high = d.ends
    for side, bound in enumerate((d.lower, d.upper)):
        if bound is None:
            continue
        number = _number(bound)
        if number is None:
            return None
        low, high = (max(low, number), high) if side == 0 else (low, min(high, number))
    return low, high


def _number(e: m.Expr) -> float | None:
    match e:
        case m.Num(value=v):
            return float(v)
        case m.Pi():
            return math.pi
        case m.Call(fn="neg", args=(a,)):
            found = _number(a)
            return None if found is None else -found
    return None
