"""A name's type, found when it is first asked for: declarations may stand in any order."""

from __future__ import annotations

from emdsl.errors import Span
from emdsl.language.scope import Entry, Scope, Stop, wrong


class Circular(Stop):
    """The type of a name depends on itself."""


def entry_of(name: str, scope: Scope, span: Span) -> Entry:
    """The entry of a declared variable or let.

    Raises Stop: without a problem where the declaration is wrong (it is told once, there), with one
    where its type depends on itself.
    """
    if name in scope.entries:
        entry = scope.entries[name]
        if entry is None:
            raise Stop()
        return entry
    if name in scope.busy:
        chain = " -> ".join([*scope.busy[scope.busy.index(name) :], name])
        hint = "declare its domain: `name : real[D]`" if len(scope.busy) == 1 else None
        raise Circular(wrong("E050", f"`{name}` depends on itself: {chain}", span, hint).problem)
    scope.busy.append(name)
    try:
        entry = scope.typing(name, scope)
    except Stop as stop:
        scope.entries[name] = None
        with scope.catching():
            raise
        raise Stop() from stop
    finally:
        scope.busy.pop()
    scope.entries[name] = entry
    return entry
