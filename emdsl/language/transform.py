"""Typed expressions rebuilt: lengths settled, names replaced."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, assert_never, cast

from emdsl.language.lengths import rename
from emdsl.language.model import (
    Branch,
    Call,
    Dim,
    Dist,
    Each,
    Expr,
    If,
    Index,
    Loop,
    Num,
    Pi,
    Size,
    SizeOf,
    Stack,
    SumOver,
    Var,
    walk,
)  # fmt: skip

Change = Callable[[Expr], Expr | None]


def mapped(e: Expr, size: Callable[[Size], Size], leaf: Callable[[Expr], Expr] = lambda e: e) -> Expr:
    """The expression with `size` applied to every length, and `leaf` to every Var after that."""

    def again(inner: Expr) -> Expr:
        return mapped(inner, size, leaf)

    shape = tuple(size(x) for x in e.shape)
    match e:
        case Num() | Pi():
            return e
        case Var():
            return leaf(replace(e, shape=shape))
        case Loop() | SizeOf():
            return replace(e, size=size(e.size))
        case Index():
            base, args = again(e.base), tuple(map(again, e.args))
            if isinstance(base, Index) and isinstance(e.base, Var):  # brackets stay merged
                return replace(e, base=base.base, args=(*base.args, *args), shape=shape)
            return replace(e, base=base, args=args, shape=shape)
        case Call():
            return replace(e, args=tuple(map(again, e.args)), shape=shape)
        case If():
            return replace(e, cond=again(e.cond), then=again(e.then), other=again(e.other), shape=shape)
        case Stack():
            return replace(e, items=tuple(map(again, e.items)), shape=shape)
        case Each():
            return replace(e, size=size(e.size), body=again(e.body), shape=shape)
        case SumOver():
            cond = None if e.cond is None else again(e.cond)
            return replace(e, size=size(e.size), cond=cond, body=again(e.body), shape=shape)
        case _:
            assert_never(e)


def substituted(e: Expr, values: Mapping[str, Expr], sizes: Mapping[str, Size]) -> Expr:
    """A family's expression with its arguments and sizes put in."""

    def size(x: Size) -> Size:
        return rename(x, dict(sizes))

    def leaf(v: Expr) -> Expr:
        return values.get(v.name, v) if isinstance(v, Var) else v

    return mapped(e, size, leaf)


def names_in(e: Expr) -> set[str]:
    """The variables, lets and arguments that an expression speaks of."""
    return {x.name for x in walk(e) if isinstance(x, Var)}


def loops_in(e: Expr) -> set[str]:
    return {x.name for x in walk(e) if isinstance(x, Loop)}


def expressions_of(dist: Dist) -> Iterator[Expr]:
    """Every expression of a distribution: conditions and arguments."""
    if isinstance(dist, Branch):
        yield dist.cond
        yield from expressions_of(dist.then)
        yield from expressions_of(dist.other)
    else:
        yield from (e for _, e in dist.args)


def as_dim(e: Expr) -> Dim | None:
    """An integer expression of literals and sizes as a length."""
    match e:
        case Num(value) if isinstance(value, int):
            return Dim.of(value)
        case SizeOf(size) if isinstance(size, Dim):
            return size
        case Call("add" | "sub" | "mul" as fn, (a, b)):
            x, y = as_dim(a), as_dim(b)
            if x is None or y is None:
                return None
            return x + y if fn == "add" else x - y if fn == "sub" else x * y
        case _:
            return None


def in_leaves(dist: Dist, change: Change) -> Dist:
    """A distribution with its expressions changed."""
    if isinstance(dist, Branch):
        then, other = in_leaves(dist.then, change), in_leaves(dist.other, change)
        return replace(dist, cond=changed(dist.cond, change), then=then, other=other)
    return replace(dist, args=tuple((n, changed(e, change)) for n, e in dist.args))


def changed(e: Expr, change: Change) -> Expr:
    """An expression in which `change` replaces what it has something for, the outermost first."""
    found = change(e)
    if found is not None:
        return found
    own = {f.name: _part(getattr(e, f.name), change) for f in fields(e) if f.name not in ("shape", "span", "size")}
    return replace(e, **own)


def _part(value: Any, change: Change) -> Any:
    if isinstance(value, tuple):
        return tuple(_part(v, change) for v in value)
    return changed(cast(Expr, value), change) if is_dataclass(value) else value
