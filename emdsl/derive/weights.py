"""Sample weights are the measure of their plate."""

from __future__ import annotations

from dataclasses import replace

from emdsl.derive.expr import El, Ix, Sel, free
from emdsl.derive.plates import outermost
from emdsl.derive.terms import Term
from emdsl.language import model as m


def weigh(t: Term, weighted: str | None, model: m.ModelText, home: tuple[Ix, ...] = ()) -> Term:
    """Every sum over the weighted plate, or over rows inside it, carries the weights.

    Inside a block's own plates (`home`) an element is one, whatever it weighs; so is another that it points to.
    """
    if weighted is None:
        return t
    inside = {f.at for f in t.factors if isinstance(f, Sel) and home and set(free(f.of)) <= set(home)}
    direct = [i for i in t.ixs if i.dim == weighted and i not in inside]
    rows = [outermost(i, model) for i in t.ixs if i.dim.endswith("[]") and i not in home and not direct and not inside]
    places = [*(i for i in direct if i not in home), *(i for i in rows if not isinstance(i, Ix))]
    return replace(t, factors=(*t.factors, *(El(":weight", (i,)) for i in places))) if places else t
