"""Sample weights are the measure of their plate."""

from __future__ import annotations

from dataclasses import replace

from emdsl.derive.expr import El, Ix
from emdsl.derive.plates import outermost
from emdsl.derive.terms import Term
from emdsl.language import model as m


def weigh(t: Term, weighted: str | None, model: m.ModelText, home: tuple[Ix, ...] = ()) -> Term:
    """Every sum over the weighted plate, or over rows inside it, carries the weights.

    Inside a block's own plates (`home`) an element is one, whatever it weighs.
    """
    if weighted is None:
        return t
    direct = [i for i in t.ixs if i.dim == weighted]
    rows = [outermost(i, model) for i in t.ixs if i.dim.endswith("[]") and i not in home and not direct]
    places = [*(i for i in direct if i not in home), *(i for i in rows if not isinstance(i, Ix))]
    return replace(t, factors=(*t.factors, *(El(":weight", (i,)) for i in places))) if places else t
