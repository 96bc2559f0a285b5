"""Expressions of the typed model. Every one knows its shape; spans never take part in comparison."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction

from emdsl.errors import NOWHERE, Span
from emdsl.language.dims import Shape, Size


@dataclass(frozen=True, slots=True)
class Num:
    """A literal; decimal literals are floats, integer literals ints. Shape ()."""

    value: int | float | Fraction
    span: Span = field(default=NOWHERE, compare=False, repr=False)
    shape: Shape = ()


@dataclass(frozen=True, slots=True)
class Pi:
    span: Span = field(default=NOWHERE, compare=False, repr=False)
    shape: Shape = ()


@dataclass(frozen=True, slots=True)
class Var:
    """A whole variable, `let` or family argument; `Index` selects from it."""

    name: str
    shape: Shape
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Loop:
    """The value of a loop name, an integer from 0. `size` is the plate's (or comprehension's) length."""

    name: str
    size: Size
    span: Span = field(default=NOWHERE, compare=False, repr=False)
    shape: Shape = ()


@dataclass(frozen=True, slots=True)
class SizeOf:
    """A size as a number (`K`, `T[s]`)."""

    size: Size
    span: Span = field(default=NOWHERE, compare=False, repr=False)
    shape: Shape = ()


@dataclass(frozen=True, slots=True)
class Index:
    """`base[a, b]`: the first axes of `base` fixed at integer expressions, the rest kept.

    Nested brackets are merged: `m[k][d]` is `Index(Var m, (k, d))`.
    """

    base: Expr
    args: tuple[Expr, ...]
    shape: Shape
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Call:
    """An operator or a function of the language, by its fixed name.

    Operators: add sub mul div floordiv mod pow neg matmul transpose, eq ne lt le gt ge, and or not.
    Functions: exp log log1p sqrt abs min max logistic logit softmax logsumexp tanh sin cos Phi
    lgamma digamma beta_ln lchoose sum cumsum outer diag eye zeros ones logdet inv trace quad concat.
    `a + b` is elementwise on equal shapes or with a scalar. `eye/zeros/ones` take no argument
    here: their lengths are their `shape`. `min`/`max`/`sum` of one vector reduce it. A chained
    comparison is an `and` of comparisons.
    """

    fn: str
    args: tuple[Expr, ...]
    shape: Shape
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class If:
    """`then if cond else other`; only the branch taken is evaluated."""

    cond: Expr
    then: Expr
    other: Expr
    shape: Shape
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Stack:
    """`[a, b]`: stacked along a new first axis."""

    items: tuple[Expr, ...]
    shape: Shape
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Each:
    """`[body for index in size]`: shape (size, *body.shape)."""

    index: str
    size: Size
    body: Expr
    shape: Shape
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class SumOver:
    """`sum(body for index in size if cond)`: shape of body."""

    index: str
    size: Size
    cond: Expr | None
    body: Expr
    shape: Shape
    span: Span = field(default=NOWHERE, compare=False, repr=False)


Expr = Num | Pi | Var | Loop | SizeOf | Index | Call | If | Stack | Each | SumOver


def children(e: Expr) -> tuple[Expr, ...]:
    """The direct sub-expressions, in reading order."""
    match e:
        case Num() | Pi() | Var() | Loop() | SizeOf():
            return ()
        case Index():
            return (e.base, *e.args)
        case Call():
            return e.args
        case If():
            return (e.cond, e.then, e.other)
        case Stack():
            return e.items
        case Each():
            return (e.body,)
        case SumOver():
            return (e.body,) if e.cond is None else (e.cond, e.body)


def walk(e: Expr) -> Iterator[Expr]:
    """The expression and all below it, parents first, without recursion."""
    stack = [e]
    while stack:
        node = stack.pop()
        yield node
        stack.extend(reversed(children(node)))
