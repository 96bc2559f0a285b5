"""Lengths put in: the last step from what was inferred to the typed model."""

from __future__ import annotations

from dataclasses import replace

from emdsl.language import syntax as s
from emdsl.language.bounds import folded, of_prior, with_bounds
from emdsl.language.kinds import KINDS
from emdsl.language.model import (
    Branch,
    Dist,
    Domain,
    Expr,
    Let,
    Plate,
    Potential,
    Shape,
    Size,
    Variable,
)  # fmt: skip
from emdsl.language.scope import Scope
from emdsl.language.transform import mapped


def _expr(e: Expr | None, scope: Scope) -> Expr | None:
    return None if e is None else mapped(e, scope.lengths.known)


def _sure(e: Expr, scope: Scope) -> Expr:
    return mapped(e, scope.lengths.known)


def _plates(plates: tuple[Plate, ...], scope: Scope) -> tuple[Plate, ...]:
    return tuple(replace(p, size=scope.lengths.known(p.size), condition=_expr(p.condition, scope)) for p in plates)


def _dist(dist: Dist, scope: Scope) -> Dist:
    if isinstance(dist, Branch):
        return replace(dist, cond=_sure(dist.cond, scope), then=_dist(dist.then, scope), other=_dist(dist.other, scope))
    known = scope.lengths.known
    return replace(
        dist,
        args=tuple((n, _sure(v, scope)) for n, v in dist.args),
        event=tuple(known(x) for x in dist.event),
        sizes=tuple((n, known(x)) for n, x in dist.sizes),
    )


def _domain(domain: Domain, scope: Scope) -> Domain:
    known = scope.lengths.known
    dims: Shape = tuple(known(x) for x in domain.dims)
    levels: Size | None = None if domain.levels is None else known(domain.levels)
    return replace(domain, dims=dims, levels=levels, lower=_expr(domain.lower, scope), upper=_expr(domain.upper, scope))


def settled_variable(v: Variable, scope: Scope) -> Variable:
    """The variable with all lengths known, and the bounds of a domain that nobody wrote taken from its family."""
    dist = None if v.distribution is None else _dist(v.distribution, scope)
    domain = _domain(v.domain, scope)
    written = _written(v, scope)
    hidden = v.kind == "latent" and (not written or (dist is not None and _alike(domain, dist)))
    if dist is not None and (hidden or (v.kind == "observed" and not written)):
        domain = with_bounds(domain, dist, scope)
    if v.kind == "param":
        domain = replace(domain, lower=folded(domain.lower, scope), upper=folded(domain.upper, scope))
        domain = domain if dist is None else of_prior(domain, dist, scope)
    return replace(v, plates=_plates(v.plates, scope), array=tuple(map(scope.lengths.known, v.array)), domain=domain,
                   distribution=dist, default=_expr(v.default, scope))  # fmt: skip


def _alike(domain: Domain, dist: Dist) -> bool:
    """Whether every family has a variate of this kind, of which a written bound leaves out a part."""
    if isinstance(dist, Branch):
        return _alike(domain, dist.then) and _alike(domain, dist.other)
    return KINDS[domain.kind].bounded and dist.family.x.domain.kind == domain.kind


def _written(v: Variable, scope: Scope) -> bool:
    statement = scope.items[v.name].statement
    return isinstance(statement, s.Declaration) and statement.domain is not None


def settled_let(v: Let, scope: Scope) -> Let:
    return replace(v, plates=_plates(v.plates, scope), body=_sure(v.body, scope))


def settled_potential(v: Potential, scope: Scope) -> Potential:
    return replace(v, plates=_plates(v.plates, scope), expression=_sure(v.expression, scope))
