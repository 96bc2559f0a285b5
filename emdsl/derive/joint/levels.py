"""What one condition says of the others beside it."""

from __future__ import annotations

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import Expr


def where_it_is(masks: tuple[Expr, ...]) -> tuple[Expr, ...]:
    """Conditions with the values that others tell: [y = 0] [y >= 1] is nowhere, [k = 1] [k != 0] is [k = 1]."""
    at = {c.of: x.num(c.at) for c in masks if isinstance(c, x.Sel) and isinstance(c.at, int)}
    levels = {of: (c, value) for c in masks for of, value in _level(c) if of not in at}
    told = at | {of: value for of, (_, value) in levels.items()}
    if not told:
        return masks
    telling = {c for c, _ in levels.values()}
    return tuple(x.rebuild(c, told.get) if x.is_indicator(c) and c not in telling else c for c in masks)


def _level(c: Expr) -> tuple[tuple[Expr, Expr], ...]:
    """What a condition says the value of, and that value."""
    match c:
        case x.Fn("eq", (of, x.Num() as value)) | x.Fn("eq", (x.Num() as value, of)):
            return ((of, value),)
    return ()
