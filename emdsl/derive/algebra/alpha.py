"""Equality up to bound names: `alpha` spells the bound indices of an expression by their depth."""

from __future__ import annotations

from collections.abc import Mapping

from emdsl.derive.algebra.nodes import (
    Add,
    Choose,
    DataIx,
    Delta,
    El,
    Expr,
    Fn,
    Idx,
    Ix,
    LogDet,
    MatInv,
    Mul,
    Num,
    Pow,
    Sel,
    SizeN,
    Sum,
    Val,
    Where,
    children,
    free,
    kept,
)

Names = tuple[tuple[Ix, Ix], ...]  # of indices that are bound outside


@kept
def alpha(e: Expr) -> Expr:
    """The expression with bound indices named by depth: equal up to bound names means equal here."""
    return _alpha(e, (), 0)


@kept
def _binds(e: Expr) -> bool:
    """Whether an index is bound somewhere in it."""
    return isinstance(e, Sum | MatInv | LogDet) or any(map(_binds, children(e)))


def _alpha(e: Expr, bound: Names, depth: int) -> Expr:
    met = tuple(pair for pair in bound if pair[0] in free(e))
    return _renamed(e, met, depth if _binds(e) else 0) if met or _binds(e) else e


@kept  # one sum may stand in each of hundreds of terms
def _renamed(e: Expr, bound: Names, depth: int) -> Expr:
    names = dict(bound)

    def idx(i: Idx) -> Idx:
        if isinstance(i, DataIx):
            return DataIx(_alpha(i.value, bound, depth))
        return names.get(i, i) if isinstance(i, Ix) else i

    def sub(x: Expr) -> Expr:
        return _alpha(x, bound, depth)

    match e:
        case Num() | SizeN():
            return e
        case Val():
            return Val(names.get(e.ix, e.ix))
        case El():
            return El(e.var, tuple(map(idx, e.idx)), e.sort)
        case Sel():
            return Sel(sub(e.of), idx(e.at))
        case Delta():
            return Delta(idx(e.a), idx(e.b))
        case Fn():
            return Fn(e.name, tuple(map(sub, e.args)))
        case Add():
            return Add(tuple(map(sub, e.terms)))
        case Mul():
            return Mul(tuple(map(sub, e.factors)))
        case Pow():
            return Pow(sub(e.base), sub(e.exponent))
        case Sum():
            new = Ix(f"#{depth}", e.ix.dim)
            return Sum(new, _alpha(e.body, _beside(names, {e.ix: new}), depth + 1))
        case MatInv() | LogDet():
            a, b = Ix(f"#{depth}", e.i.dim), Ix(f"#{depth + 1}", e.j.dim)
            body = _alpha(e.body, _beside(names, {e.i: a, e.j: b}), depth + 2)
            return LogDet(a, b, body) if isinstance(e, LogDet) else MatInv(a, b, body, (idx(e.at[0]), idx(e.at[1])))
        case Where():
            return Where(sub(e.cond), sub(e.then), sub(e.other))
        case Choose():
            return Choose(idx(e.at), tuple(map(sub, e.options)))


def _beside(names: Mapping[Ix, Ix], new: Mapping[Ix, Ix]) -> Names:
    return tuple({**names, **new}.items())
