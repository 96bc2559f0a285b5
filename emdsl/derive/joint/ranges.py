"""Between which two numbers a latent lies: its own bounds, and those of the families that it may come from."""

from __future__ import annotations

import math
from collections.abc import Mapping

from emdsl.derive.joint.spikes import is_point_mass, leaves
from emdsl.language import model as m

Range = tuple[float, float]
EVERYWHERE: Range = (-math.inf, math.inf)


def range_of(v: m.Variable) -> Range | str:
    """The ends of where a variable has a density; or why they are not two numbers.

    `Uniform(a, b)` ends where its arguments say, `positive(max = 3)` where the domain does, whichever is narrower.
    """
    own = domain_range(v.domain, {})
    if own is None:
        return f"the bounds of {v.name} are no literal numbers"
    found = set()
    for _, c in leaves(v.distribution) if v.distribution is not None else ():
        if is_point_mass(c.family):
            continue
        ends = domain_range(c.family.x.domain, dict(c.args))
        if ends is None:
            return f"the bounds of {v.name} ({c.family.name}) are no literal numbers"
        found.add((max(own[0], ends[0]), min(own[1], ends[1])))
    if len(found) > 1:
        return f"{v.name} lies between other numbers in one branch than in another"
    return next(iter(found), own)


def narrowed(v: m.Variable) -> tuple[float | None, float | None]:
    """The ends of a variable that its kind of domain does not have by itself; None for those that it has."""
    found, own = range_of(v), domain_range(m.Domain(v.domain.kind), {})
    if isinstance(found, str) or own is None:
        return None, None
    return (None if found[0] == own[0] else found[0]), (None if found[1] == own[1] else found[1])


def domain_range(d: m.Domain, given: Mapping[str, m.Expr]) -> Range | None:
    """The ends of a domain, its bounds in terms of a family's arguments; None where these are no numbers."""
    low, high = d.ends
    for side, bound in enumerate((d.lower, d.upper)):
        if bound is None:
            continue
        number = _number(given.get(bound.name, bound) if isinstance(bound, m.Var) else bound)
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
