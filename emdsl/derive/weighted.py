"""Which plate of a model carries sample weights, and why others do not."""

from __future__ import annotations

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Idx
from emdsl.derive.joint.factors import LogJoint
from emdsl.derive.joint.plates import plate_names
from emdsl.derive.posteriors.chains import distance
from emdsl.language import model as m
from emdsl.language.left_out import run_over


def weighted_plate(model: m.ModelText, joint: LogJoint) -> str | None:
    """The outermost plate of the observed data, where there is one alone, or one was chosen, and no latent is chained
    along it."""
    outer = {plate_names(v)[0] for v in model.of_kind("observed") if v.plates}
    if model.weights_over in outer:
        outer = {model.weights_over}
    return next(iter(outer)) if len(outer) == 1 and not outer & chained_plates(joint) else None


def chained_plates(joint: LogJoint) -> set[str]:
    """The plates whose elements some density ties to one another: it holds a discrete latent at two of them."""
    out: set[str] = set()
    for f in joint.factors:
        places: dict[str, list[tuple[Idx, ...]]] = {}
        for g in f.gates:
            if isinstance(g.of, El):
                places.setdefault(g.of.var, []).append(g.of.idx)
        for found in places.values():
            for at in zip(*found, strict=True):
                if len(set(at)) > 1 or ((found_lag := distance(at[0])) is not None and found_lag[1] > 0):
                    out |= {i.dim for i in x.free(El("", at))}
    return out


def unweighted(model: m.ModelText, weighted: str | None, bound_up: set[str]) -> dict[str, str]:
    """The outermost plates of observed data that cannot carry sample weights, each with the reason."""
    outer = dict.fromkeys(plate_names(v)[0] for v in model.of_kind("observed") if v.plates)
    tied = ", ".join(v.name for v in model.variables if v.name in bound_up)
    reason = "the observed data lie on several plates"
    if tied:
        reason = f"the elements of {tied} are eliminated together, where each counts once"
    found = {p: reason for p in outer if p != weighted}
    return {**found, **{p: f"an expression runs over all elements of {p}" for p in outer if p in run_over(model)}}
