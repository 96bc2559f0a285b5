"""Sample weights are the measure of their plate; so are counts, of rows that stand for several."""

from __future__ import annotations

from dataclasses import replace

from emdsl.derive.algebra.expr import El, Ix, Sel, free
from emdsl.derive.algebra.made import WEIGHT
from emdsl.derive.joint.counted import count_of
from emdsl.derive.joint.factors import LogJoint
from emdsl.derive.joint.plates import outermost, outermost_plate
from emdsl.derive.joint.terms import Term


def weigh(t: Term, weighted: str | None, joint: LogJoint, home: tuple[Ix, ...] = ()) -> Term:
    """Every sum over the weighted plate, or over rows inside it, carries the weights; one over counted rows the counts.

    Inside a block's own plates (`home`) an element is one, whatever it weighs; so is another that it points to.
    """
    counts = (count_of(i) for i in t.ixs if i.dim in joint.counted and i not in home)
    extra: list[El] = [c for c in counts if c not in t.factors]
    if weighted is not None:
        inside = {f.at for f in t.factors if isinstance(f, Sel) and home and set(free(f.of)) <= set(home)}
        direct = [i for i in t.ixs if i.dim == weighted and i not in inside]
        rows = [i for i in t.ixs if i.dim.endswith("[]") and outermost_plate(i, joint.model) == weighted]
        held = direct or inside or not set(rows).isdisjoint(home)  # rows of a row of the block lie in one element
        rows = [] if held else rows[:1]  # so do several: it counts once
        places = [*(i for i in direct if i not in home), *(outermost(i, joint.model) for i in rows)]
        extra += [El(WEIGHT, (i,)) for i in places if i in direct or not isinstance(i, Ix)]
    return replace(t, factors=(*t.factors, *extra)) if extra else t


def of_one(t: Term, latent: str, joint: LogJoint) -> Term:
    """A placed term of a latent as one of the events that its element stands for has it."""
    found = joint.events_of(latent)
    if found is None:
        return t
    left = list(t.factors)
    for e in found.number:
        left.remove(e)
    return replace(t, coef=t.coef / found.coef, factors=tuple(left))


def of_all(t: Term, latent: str, joint: LogJoint) -> Term:
    """What is left of an element, once for each of its events."""
    found = joint.events_of(latent)
    if found is None:
        return t
    more = (e for e in (*found.number, *found.there) if e not in t.factors)
    return replace(t, coef=t.coef * found.coef, factors=(*t.factors, *more))
