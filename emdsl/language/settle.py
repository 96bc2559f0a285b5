"""Lengths put in: the last step from what was inferred to the typed model."""

from __future__ import annotations

from dataclasses import replace

from emdsl.language import resized
from emdsl.language import syntax as s
from emdsl.language.bounds import folded, of_prior, with_bounds
from emdsl.language.kinds import KINDS
from emdsl.language.model import Branch, Dist, Domain, Let, Potential, Variable
from emdsl.language.scope import Scope


def settled_variable(v: Variable, scope: Scope) -> Variable:
    """The variable with all lengths known, and the bounds of a domain that nobody wrote taken from its family."""
    v = resized.variable(v, scope.lengths.known)
    dist, domain = v.distribution, v.domain
    written = _written(v, scope)
    hidden = v.kind == "latent" and (not written or (dist is not None and _alike(domain, dist)))
    if dist is not None and (hidden or (v.kind == "observed" and not written)):
        domain = with_bounds(domain, dist, scope)
    if v.kind == "param":
        domain = replace(domain, lower=folded(domain.lower, scope), upper=folded(domain.upper, scope))
        domain = domain if dist is None else of_prior(domain, dist, scope)
    return replace(v, domain=domain)


def _alike(domain: Domain, dist: Dist) -> bool:
    """Whether every family has a variate of this kind, of which a written bound leaves out a part."""
    if isinstance(dist, Branch):
        return _alike(domain, dist.then) and _alike(domain, dist.other)
    return KINDS[domain.kind].bounded and dist.family.x.domain.kind == domain.kind


def _written(v: Variable, scope: Scope) -> bool:
    statement = scope.items[v.name].statement
    return isinstance(statement, s.Declaration) and statement.domain is not None


def settled_let(v: Let, scope: Scope) -> Let:
    return resized.let(v, scope.lengths.known)


def settled_potential(v: Potential, scope: Scope) -> Potential:
    return resized.potential(v, scope.lengths.known)
