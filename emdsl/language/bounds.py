"""Bounds that a domain takes from its family: a Binomial ends at its trials, a Uniform at its own ends."""

from __future__ import annotations

from dataclasses import replace

from emdsl.errors import Problem
from emdsl.language.integers import DISCRETE
from emdsl.language.lengths import is_open
from emdsl.language.model import Dim, Dist, Domain, Expr, FamilyCall, Index, Num, Var, Variable
from emdsl.language.scope import Scope
from emdsl.language.transform import as_dim, names_in, substituted


def bounded_counts(variables: list[Variable], scope: Scope) -> None:
    """A count up to m that indexes an axis needs m + 1 places there, where m is a length."""
    known = {v.name: v for v in variables}
    for use in scope.uses:
        base = use.arg.base if isinstance(use.arg, Index) else use.arg
        v = known.get(base.name) if isinstance(base, Var) else None
        if v is None or v.domain.kind != "count":
            continue
        domain = v.domain if v.distribution is None else with_bounds(v.domain, v.distribution, scope)
        upper = None if domain.upper is None else as_dim(domain.upper)
        axis = scope.lengths.known(use.axis)
        if upper is None or not isinstance(axis, Dim):
            continue
        room, places = axis.constant, upper + Dim.of(1)
        if room is not None and (places.constant or room) <= room and not is_open(axis):
            continue
        if not scope.lengths.equate(axis, places, use.arg.span):
            message = f"`{v.name}` takes {places} values, the axis that it indexes has length {axis}"
            scope.problems.append(Problem("E030", message, use.arg.span))


def with_bounds(domain: Domain, dist: Dist, scope: Scope) -> Domain:
    """Bounds of the family that speak of its arguments (`count(max = trials)`), where these hold no unknowns."""
    if not isinstance(dist, FamilyCall):
        return domain
    own = dist.family.x.domain
    lower, upper = _bound(own.lower, dist, scope), _bound(own.upper, dist, scope)
    if upper is not None and lower is None and domain.kind in DISCRETE:
        lower = Num(0)
    return replace(domain, lower=domain.lower or lower, upper=domain.upper or upper)


def _bound(bound: Expr | None, dist: FamilyCall, scope: Scope) -> Expr | None:
    if bound is None:
        return None
    values = dict(dist.args)
    value = substituted(bound, values, dict(dist.sizes))
    return None if _unknowns(value, scope) else value


def _unknowns(e: Expr, scope: Scope) -> bool:
    """True where the value holds a param or a latent, directly or through lets."""
    open_names, seen = list(names_in(e)), set()
    while open_names:
        name = open_names.pop()
        if name in seen:
            continue
        seen.add(name)
        entry = scope.entries.get(name)
        if entry is None or entry.kind in ("param", "latent"):
            return True
        if entry.body is not None:
            open_names += names_in(entry.body)
    return False
