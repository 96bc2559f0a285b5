"""Index positions as numbers, numbers as index positions, and whether two of them meet."""

from __future__ import annotations

from emdsl.derive.algebra.nodes import ONE, ZERO, Add, DataIx, Delta, Expr, Idx, Ix, Num, Sel, Val, num


def delta(a: Idx, b: Idx) -> Expr:
    """1 where two index positions are equal; decided where both are literal."""
    if a == b:
        return ONE
    if isinstance(a, int) and isinstance(b, int):
        return ZERO
    return Delta(a, b)


def sel(of: Expr, at: Idx) -> Expr:
    """1 where the integer `of` equals `at`: a delta where `of` is an index or a number; y - 1 is at i where y is at
    i + 1, so that two places of one variable meet."""
    if isinstance(of, Val):
        return delta(of.ix, at)
    if isinstance(of, Num) and isinstance(at, int):
        return ONE if of.value == at else ZERO
    if isinstance(of, Num) and isinstance(at, Ix):
        return delta(int(of.value), at)
    if isinstance(of, Add) and isinstance(at, int) and len(of.terms) == 2:
        number, rest = sorted(of.terms, key=lambda t: not isinstance(t, Num))
        if isinstance(number, Num) and number.value == int(number.value):
            return sel(rest, at - int(number.value))
    return Sel(of, at)


def value_of(i: Idx) -> Expr:
    """An index position as a number; the inverse of `as_index`."""
    match i:
        case Ix():
            return Val(i)
        case int():
            return num(i)
        case DataIx():
            return i.value


def as_index(e: Expr) -> Idx:
    """An integer expression as an index position."""
    match e:
        case Val():
            return e.ix
        case Num(v) if v == int(v):
            return int(v)
    return DataIx(e)
