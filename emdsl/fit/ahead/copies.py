"""A model many times side by side: copies share parameters and givens, and each has latents and data of its own.

p(x, h | theta)  ->  prod_c p(x_c, h_c | theta),      one plate more around all that is drawn
"""

from __future__ import annotations

from dataclasses import replace

from emdsl.fit.interpret import read_names
from emdsl.language.model import (
    Branch,
    Dim,
    Dist,
    Expr,
    FamilyCall,
    Index,
    Let,
    Loop,
    ModelText,
    Plate,
    Size,
    Var,
    Variable,
)
from emdsl.language.transform import mapped

COPIES = "copies of"  # no user's name has a blank
SIZE = Dim.of(COPIES)
OUTER = Plate(COPIES, SIZE)


def side_by_side(model: ModelText) -> ModelText:
    """The model with an outermost plate COPIES around latents, observed variables and the lets that read them.

    They stand first, so that lengths of ragged plates are repeated for each copy.
    """
    names = {v.name for v in model.variables if v.kind in ("latent", "observed")}
    names |= {let.name for let in model.lets if names & read_names(let.body, model)}

    def whole(e: Expr) -> Expr:
        return lifted(e, names)

    variables = [_within(v, names) if v.name in names else v for v in model.variables]
    variables.sort(key=lambda v: v.name not in names)
    inside = tuple(
        Let(let.name, (OUTER, *let.plates), whole(let.body), let.span) if let.name in names else let
        for let in model.lets
    )
    return replace(model, variables=tuple(variables), lets=inside)


def _within(v: Variable, names: set[str]) -> Variable:
    plates = tuple(p if p.condition is None else replace(p, condition=lifted(p.condition, names)) for p in v.plates)
    dist = None if v.distribution is None else _distribution(v.distribution, names)
    return replace(v, plates=(OUTER, *plates), distribution=dist)


def _distribution(dist: Dist, names: set[str]) -> Dist:
    if isinstance(dist, FamilyCall):
        return replace(dist, args=tuple((n, lifted(e, names)) for n, e in dist.args))
    then, other = (_distribution(d, names) for d in (dist.then, dist.other))
    return Branch(lifted(dist.cond, names), then, other, dist.span)


def lifted(e: Expr, names: set[str]) -> Expr:
    """The expression in which these names are those of the copy at hand."""

    def same(size: Size) -> Size:
        return size

    def leaf(v: Expr) -> Expr:
        if not isinstance(v, Var) or v.name not in names:
            return v
        return Index(Var(v.name, (SIZE, *v.shape), v.span), (Loop(COPIES, SIZE),), v.shape, v.span)

    return mapped(e, same, leaf)
