"""Bounds that a domain takes from its family: a Binomial ends at its trials, a Uniform at its own ends."""

from __future__ import annotations

from dataclasses import replace
from math import isfinite

from emdsl.errors import Problem
from emdsl.language.constants import value
from emdsl.language.lengths import Lengths, is_open, rename
from emdsl.language.model import Call, Dim, Dist, Domain, Expr, FamilyCall, Index, Num, Var, Variable
from emdsl.language.scope import Scope
from emdsl.language.transform import as_dim, names_in, substituted

LETS = 20  # that stand in one another inside a bound


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
    lower, upper = (None if b is None or _unknowns(b, scope) else b for b in _ends(dist))
    if upper is None and domain.discrete:
        lower = None
    return replace(domain, lower=domain.lower or lower, upper=domain.upper or upper)


def _ends(dist: Dist) -> tuple[Expr | None, Expr | None]:
    """The ends of a support, of branches where all have the same: a chain of Binomials, all of as many trials."""
    if isinstance(dist, FamilyCall):
        return own_bounds(dist)
    pairs = zip(_ends(dist.then), _ends(dist.other), strict=True)
    lower, upper = (one if one is not None and _same(one, other) else None for one, other in pairs)
    return lower, upper


def of_prior(domain: Domain, dist: Dist, scope: Scope) -> Domain:
    """A parameter's domain without what its prior leaves out: outside a prior's support no estimate has a density."""
    if not isinstance(dist, FamilyCall) or not domain.interval or not dist.family.x.domain.interval:
        return domain
    least, most = (Num(int(e)) if isfinite(e) else None for e in dist.family.x.domain.ends)
    low, high = own_bounds(dist)
    below, above = (not isfinite(e) for e in domain.ends)
    lower = _inner("max", domain.lower, low or (least if below else None), scope)
    upper = _inner("min", domain.upper, high or (most if above else None), scope)
    return replace(domain, lower=lower, upper=upper)


def _inner(which: str, one: Expr | None, other: Expr | None, scope: Scope) -> Expr | None:
    """The bound that leaves less; numbers are compared now."""
    if one is None or other is None or one == other:
        return folded(one or other, scope)
    return folded(Call(which, (one, other), (), other.span), scope)


def folded(bound: Expr | None, scope: Scope) -> Expr | None:
    """The number that a bound of numbers is (`1/3`, a `let` of one); of any other, its lets written out."""
    for _ in range(LETS):
        if bound is None or not (lets := _lets(bound, scope)):
            break
        bound = substituted(bound, lets, {})
    found = None if bound is None else value(bound)
    return bound if bound is None or found is None else Num(found, bound.span)


def _lets(e: Expr, scope: Scope) -> dict[str, Expr]:
    """The scalar lets that an expression names, each with what it stands for."""
    entries = {name: scope.entries.get(name) for name in names_in(e)}
    return {n: e.body for n, e in entries.items() if e is not None and e.body is not None and not e.plates}


def own_bounds(call: FamilyCall) -> tuple[Expr | None, Expr | None]:
    """The ends of the support that the family itself has at these arguments: 0 and `trials`, `low` and `high`."""
    own = call.family.x.domain
    values, sizes = dict(call.args), dict(call.sizes)
    lower = None if own.lower is None else substituted(own.lower, values, sizes)
    upper = None if own.upper is None else substituted(own.upper, values, sizes)
    if lower is None and upper is not None and own.discrete:
        lower = Num(0)
    return lower, upper


def is_cut(domain: Domain, call: FamilyCall) -> bool:
    """True where the variable's domain has a bound that the family's own support does not have."""
    return not all(
        b is None or _same(b, own) for b, own in zip((domain.lower, domain.upper), own_bounds(call), strict=True)
    )


def _same(one: Expr, other: Expr | None) -> bool:
    """Whether two bounds are one expression, or one number."""
    return one == other or (other is not None and value(one) is not None and value(one) == value(other))


def other_values(domain: Domain, call: FamilyCall, lengths: Lengths) -> str | None:
    """Why a bool, category or index has other values than its family; None where they are the same ones."""
    own = call.family.x.domain
    if domain.kind not in ("bool", "category", "index") or not own.discrete:
        return None
    declared = Dim.of(2) if domain.kind == "bool" else domain.levels
    upper = own_bounds(call)[1]
    last = None if upper is None else as_dim(upper)
    levels = None if own.levels is None else rename(own.levels, dict(call.sizes))
    count = Dim.of(2) if own.kind == "bool" else levels if own.kind == "category" else last and last + Dim.of(1)
    if count is None:
        return (
            f"its values are those of a count{'' if upper is None else ' up to what the data say'}, not {domain.kind}"
        )
    if declared is None or lengths.equate(declared, count, call.span):
        return None
    return f"it has {lengths.known(count)} values, the variable is declared with {lengths.known(declared)}"


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
