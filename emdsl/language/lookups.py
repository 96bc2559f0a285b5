"""Indices that only data can decide: what is left to check when they are bound."""

from __future__ import annotations

from emdsl.language.checks import Facts, facts_of, spoken
from emdsl.language.model import Dim, Expr, Index, Lookup, Loop, ModelText, Ragged, Size, Var, Variable
from emdsl.language.ranges import may_leave
from emdsl.language.scope import IndexUse, Scope
from emdsl.language.transform import loops_in, mapped


def lookups(model: ModelText, scope: Scope) -> tuple[Lookup, ...]:
    """The indices of data, classes and loop names that no domain keeps on their axis.

    Left out are those in a `let`, which does not know where it is read; and where an unknown decides what is reached.
    """
    facts = facts_of(model)
    found = dict.fromkeys(f for use in scope.uses if (f := _open(use, facts, scope)) is not None)
    return tuple(found)


def _open(use: IndexUse, facts: Facts, scope: Scope) -> Lookup | None:
    known, target = scope.lengths.known, facts.known.get(use.target or "")
    if target is None or use.owner not in {"", *facts.known}:
        return None
    axis = known(use.axis)
    many = isinstance(axis, Dim) and any(isinstance(size, Ragged) for n, size in use.loops if n in loops_in(use.arg))
    many = many or (isinstance(use.arg, Loop) and isinstance(axis, Ragged) and axis.by == "?")  # of another row
    if (isinstance(use.arg, Loop) and not many) or _kept(use.arg, axis, facts, scope):
        return None
    conds = [c for c, _ in use.guards]
    said = [facts.known.get(n) for e in (use.arg, *use.before, *conds) for n, _ in spoken(e, facts)]
    if not all(v is not None and _decided(v) for v in said):
        return None
    alone = isinstance(axis, Dim) and not any(True for _ in spoken(use.arg, facts))
    if not many and (not said or (alone and not may_leave(use, scope))):
        return None  # loop names alone
    guards = tuple((mapped(c, known), holds) for c, holds in use.guards)
    loops = tuple((n, known(size)) for n, size in use.loops)
    before = tuple(mapped(e, known) for e in use.before)
    return Lookup(mapped(use.arg, known), axis, guards, loops, target.name, before, use.arg.span)


def _decided(v: Variable) -> bool:
    """Whether the values that a variable may have are known once data are: its own, or the states of a class."""
    d = v.domain
    states = d.kind in ("bool", "category", "index") or (d.kind == "count" and d.upper is not None)
    return v.kind in ("given", "observed") or (v.kind == "latent" and states)


def _kept(arg: Expr, axis: Size, facts: Facts, scope: Scope) -> bool:
    """Whether the domain of a variable that stands alone keeps it on an axis; a condition around may have to."""
    base = arg.base if isinstance(arg, Index) else arg
    v = facts.known.get(base.name) if isinstance(base, Var) else None
    if v is None or isinstance(axis, Ragged):
        return v is not None and isinstance(v.domain.levels, Ragged) and v.domain.levels.name == axis.name
    levels = None if v.domain.levels is None else scope.lengths.known(v.domain.levels)
    if isinstance(axis, Dim) and isinstance(levels, Dim):
        beyond = (levels - axis).constant
        if beyond is None or beyond > 0:
            return False
    return v.domain.kind in ("bool", "category", "index") or (v.domain.kind == "count" and v.domain.upper is not None)
