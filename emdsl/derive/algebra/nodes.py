"""The nodes of the algebra: frozen values, what stands below them, and their free indices.

Equal nodes are one object (hash-consing: Filliatre and Conchon 2006, "Type-safe modular hash-consing"), so that
comparing and looking up, of which a derivation consists, never open an expression.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields
from fractions import Fraction
from functools import lru_cache
from itertools import count
from typing import Any, Literal, TypeVar, dataclass_transform

T = TypeVar("T")

LONGEST = 4000  # bits of a fraction that is kept exactly
kept = lru_cache(maxsize=50_000)  # of five questions about nodes four have been asked before


class Kept(weakref.ref[Any]):
    """A node that stands as long as somebody holds it, and what it is looked up by."""

    __slots__ = ("key",)
    key: tuple[Any, ...]


@dataclass_transform(frozen_default=True)
def node(cls: type[T]) -> type[T]:
    """A frozen value with slots, of which there is one for the same fields: it is equal to itself alone."""
    made: Any = dataclass(frozen=True, slots=True, eq=False, init=False, repr=False, weakref_slot=True)(cls)
    table: dict[tuple[Any, ...], Kept] = {}
    names = tuple(f.name for f in fields(made))
    defaults = tuple(f.default for f in fields(made))
    setters = tuple(getattr(made, n).__set__ for n in names)

    def forget(gone: Kept) -> None:
        if table.get(gone.key) is gone:
            del table[gone.key]

    def completed(values: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, ...]:
        beside = (named.pop(n, d) for n, d in zip(names[len(values) :], defaults[len(values) :], strict=True))
        values = (*values, *beside)
        if named or MISSING in values or len(values) > len(names):
            raise TypeError(f"{cls.__name__} takes {', '.join(names)}")
        return values

    def new(made: type[T], *values: Any, **named: Any) -> T:
        if named or len(values) != len(names):
            values = completed(values, named)
        if made is Num:
            values = (shortened(values[0]),)
        key = values if made is not Num else _number_key(*values)
        kept = table.get(key)
        found = kept() if kept is not None else None
        if found is None:
            found = object.__new__(made)
            for put, value in zip(setters, values, strict=True):
                put(found, value)
            kept = Kept(found, forget)
            kept.key = key
            found = first_of(table, kept, found)
        return found  # type: ignore[no-any-return]

    def spelled(self: Any) -> str:  # no node is within itself, which the repr of dataclasses would look after
        return f"{cls.__qualname__}({', '.join([f'{n}={getattr(self, n)!r}' for n in names])})"

    made.__new__, made.__repr__ = new, spelled
    made.__reduce__ = lambda self: (made, tuple(getattr(self, n) for n in names))
    return made  # type: ignore[no-any-return]


def first_of(table: dict[tuple[Any, ...], Kept], kept: Kept, made: Any) -> Any:
    """The node just made, or the one that another thread put there since it was looked for."""
    other = table.setdefault(kept.key, kept)()
    if other is None:  # one that is gone, and is about to be forgotten
        table[kept.key] = kept
        return made
    return other


def shortened(value: Fraction | float) -> Fraction | float:
    """A fraction as it is, or as a float where it is too long for digits that anyone reads: infinite, perhaps."""
    if not isinstance(value, Fraction) or not is_long(value):
        return value
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def is_long(value: Fraction) -> bool:
    return value.numerator.bit_length() > LONGEST or value.denominator.bit_length() > LONGEST


def _number_key(value: Fraction | float) -> tuple[Any, ...]:
    """What is exact stays apart from what is not, though they be equal."""
    if isinstance(value, Fraction):
        return value.numerator, value.denominator
    return type(value), repr(value)


@node
class Ix:
    """A dummy index, typed by the dimension it runs over.

    Dimensions are spelled as sizes are: `"N"`, `"3"`, `"Q + 1"`; `"T[]"` are the rows of a ragged plate.
    """

    name: str
    dim: str


@node
class DataIx:
    """An index position whose integer value is read off data: `b[group[n]]`."""

    value: Expr


Idx = Ix | int | DataIx
Sort = Literal["real", "positive", "unit", "spd", "ordered"]


@node
class Num:
    """A number, exact where it is a fraction."""

    value: Fraction | float


@node
class El:
    """One element of a variable, a statistic or a constant table. `sort` is what its domain says of its sign, or of its
    order: of a vector that increases."""

    var: str
    idx: tuple[Idx, ...]
    sort: Sort = "real"


@node
class Val:
    """The value of an index as a number."""

    ix: Ix


@node
class SizeN:
    """A size as a number, by the spelling of its dimension."""

    dim: str


@node
class Sel:
    """One-hot: 1 where the integer `of` equals `at`."""

    of: Expr
    at: Idx


@node
class Delta:
    """1 where two index positions are equal."""

    a: Idx
    b: Idx


@node
class Fn:
    """An elementwise function; comparisons give 0 or 1; `pi` takes no argument."""

    name: str
    args: tuple[Expr, ...]


@node
class Add:
    """A sum of at least two terms."""

    terms: tuple[Expr, ...]


@node
class Mul:
    """A product of at least two factors, its number first."""

    factors: tuple[Expr, ...]


@node
class Pow:
    """`base ** exponent`."""

    base: Expr
    exponent: Expr


@node
class Sum:
    """The sum of `body` over all values of `ix`."""

    ix: Ix
    body: Expr


@node
class MatInv:
    """Element `at` of the inverse of the symmetric matrix whose element (i, j) is `body`."""

    i: Ix
    j: Ix
    body: Expr
    at: tuple[Idx, Idx]


@node
class LogDet:
    """The log-determinant of the symmetric matrix whose element (i, j) is `body`."""

    i: Ix
    j: Ix
    body: Expr


@node
class Where:
    """`then` where the condition holds, else `other`; only the branch taken is evaluated."""

    cond: Expr
    then: Expr
    other: Expr


@node
class Choose:
    """Item number `at` of a literal list."""

    at: Idx
    options: tuple[Expr, ...]


Expr = Num | El | Val | SizeN | Sel | Delta | Fn | Add | Mul | Pow | Sum | MatInv | LogDet | Where | Choose


ZERO, ONE, HALF = Num(Fraction(0)), Num(Fraction(1)), Num(Fraction(1, 2))


_fresh = count()


def fresh(dim: str) -> Ix:
    """A dummy that no other expression holds. Names are canonical only after `terms.canonical`; until then they are in
    the order in which they were made, as text too: what is sorted by names has no order of the process's own."""
    return Ix(f"_{next(_fresh):09}", dim)


@lru_cache(maxsize=50_000, typed=True)  # 1/2 is exact, 0.5 is not
def num(value: int | float | Fraction) -> Num:
    """A number; integers and fractions are exact."""
    return Num(value if isinstance(value, float) and not value.is_integer() else Fraction(value))


@kept
def children(e: Expr) -> tuple[Expr, ...]:
    """Direct sub-expressions, those inside data-valued index positions included."""
    match e:
        case Num() | Val() | SizeN():
            return ()
        case El():
            return _inside(e.idx)
        case Sel():
            return (e.of, *_inside((e.at,)))
        case Delta():
            return _inside((e.a, e.b))
        case Fn():
            return e.args
        case Add():
            return e.terms
        case Mul():
            return e.factors
        case Pow():
            return (e.base, e.exponent)
        case Sum() | LogDet():
            return (e.body,)
        case MatInv():
            return (e.body, *_inside(e.at))
        case Where():
            return (e.cond, e.then, e.other)
        case Choose():
            return (*_inside((e.at,)), *e.options)


def _inside(idx: tuple[Idx, ...]) -> tuple[Expr, ...]:
    return tuple(i.value for i in idx if isinstance(i, DataIx))


def count_parts(e: Expr, known: dict[int, tuple[Expr, int]]) -> int:
    """How many nodes an expression has when what it shares is written out; `known` keeps what has been counted."""
    stack = [e]
    while stack:
        node = stack[-1]
        waiting = [c for c in children(node) if id(c) not in known]
        if id(node) in known or not waiting:
            known[id(node)] = node, 1 + sum(known[id(c)][1] for c in children(node))
            stack.pop()
        stack += [] if id(node) in known else waiting
    return known[id(e)][1]


def walk(e: Expr) -> Iterator[Expr]:
    """The expression and everything below it, parents first."""
    stack = [e]
    while stack:
        node = stack.pop()
        yield node
        stack.extend(reversed(children(node)))


@kept
def free(e: Expr) -> tuple[Ix, ...]:
    """Free indices, in order of first appearance."""
    out: dict[Ix, None] = {}
    match e:
        case El():
            _positions(e.idx, out)
        case Val():
            out[e.ix] = None
        case Sel():
            out.update(dict.fromkeys(free(e.of)))
            _positions((e.at,), out)
        case Delta():
            _positions((e.a, e.b), out)
        case Choose():
            _positions((e.at,), out)
            for o in e.options:
                out.update(dict.fromkeys(free(o)))
        case Sum():
            out.update(dict.fromkeys(i for i in free(e.body) if i != e.ix))
        case MatInv() | LogDet():
            out.update(dict.fromkeys(i for i in free(e.body) if i not in (e.i, e.j)))
            if isinstance(e, MatInv):
                _positions(e.at, out)
        case _:
            for c in children(e):
                out.update(dict.fromkeys(free(c)))
    return tuple(out)


def _positions(idx: tuple[Idx, ...], out: dict[Ix, None]) -> None:
    for i in idx:
        if isinstance(i, Ix):
            out[i] = None
        elif isinstance(i, DataIx):
            out.update(dict.fromkeys(free(i.value)))


@kept
def variables(e: Expr) -> frozenset[str]:
    """Names of all variables below, data-valued index positions included."""
    own = frozenset((e.var,)) if isinstance(e, El) else frozenset[str]()
    return own.union(*(variables(c) for c in children(e)))
