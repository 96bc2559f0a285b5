"""The syntax tree: what a text says, before names, shapes and families are known.

All values are frozen; spans never take part in comparison, so equal trees mean equal texts up to layout.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from emdsl.errors import NOWHERE, Span

# ---------------------------------------------------------------------------- expressions


@dataclass(frozen=True, slots=True)
class Number:
    value: int | float
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Name:
    name: str
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Subscript:
    base: Node
    args: tuple[Node, ...]
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Attribute:
    base: Node
    name: str
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Keyword:
    name: str
    value: Node
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Clause:
    """`for index in size if cond` of a sum or a list."""

    index: str
    size: Node
    cond: Node | None
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Apply:
    """`f(a, b, k = c)`; `f(body for ...)` has its clauses and one argument."""

    name: str
    args: tuple[Node, ...]
    keywords: tuple[Keyword, ...] = ()
    clauses: tuple[Clause, ...] = ()
    span: Span = field(default=NOWHERE, compare=False, repr=False)
    name_span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Chain:
    """`a + b - c`: operators of one precedence, left to right, kept flat. `rest` holds (operator, operand)."""

    first: Node
    rest: tuple[tuple[str, Node], ...]
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Comparison:
    """`a < b <= c`."""

    first: Node
    rest: tuple[tuple[str, Node], ...]
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Logic:
    """`a and b and c`, or the same with `or`."""

    operator: str
    items: tuple[Node, ...]
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Unary:
    """`-a`, `+a`, `not a`."""

    operator: str
    operand: Node
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Power:
    base: Node
    exponent: Node
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Conditional:
    cond: Node
    then: Node
    other: Node
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class ListOf:
    """`[a, b]`, or `[a for ...]` with its clauses and one item."""

    items: tuple[Node, ...]
    clauses: tuple[Clause, ...] = ()
    span: Span = field(default=NOWHERE, compare=False, repr=False)


Node = (
    Number | Name | Subscript | Attribute | Keyword | Clause | Apply | Chain | Comparison | Logic | Unary | Power
    | Conditional | ListOf
)  # fmt: skip


def parts(node: Node) -> tuple[Node, ...]:
    """The direct sub-nodes, in reading order."""
    match node:
        case Number() | Name():
            return ()
        case Subscript(base, args):
            return (base, *args)
        case Attribute(base):
            return (base,)
        case Keyword(_, value):
            return (value,)
        case Clause(_, size, cond):
            return (size,) if cond is None else (size, cond)
        case Apply(_, args, keywords, clauses):
            return (*args, *keywords, *clauses)
        case Chain(first, rest) | Comparison(first, rest):
            return (first, *(operand for _, operand in rest))
        case Logic(_, items):
            return items
        case Unary(_, operand):
            return (operand,)
        case Power(base, exponent):
            return (base, exponent)
        case Conditional(cond, then, other):
            return (cond, then, other)
        case ListOf(items, clauses):
            return (*items, *clauses)


def descend(node: Node) -> Iterator[tuple[Node, int]]:
    """The node and all below it with their depths, parents first, without recursion."""
    stack = [(node, 1)]
    while stack:
        here, depth = stack.pop()
        yield here, depth
        stack.extend((part, depth + 1) for part in reversed(parts(here)))


# ---------------------------------------------------------------------------- statements


@dataclass(frozen=True, slots=True)
class DomainText:
    """`real[D](min = 0)`; `dims` is None where no brackets stand."""

    name: str
    dims: tuple[Node, ...] | None
    bounds: tuple[Keyword, ...] = ()
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Target:
    """The declared name with what stands in its brackets; `indices` is None where there are none."""

    name: str
    indices: tuple[Node, ...] | None
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class ModelLine:
    name: str
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class SizeLine:
    name: str
    default: Node | None
    span: Span = field(default=NOWHERE, compare=False, repr=False)
    name_span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Declaration:
    """`param`, `given`, `latent` and `observed` lines. `value` follows `~`, or the `=` of a given."""

    kind: str
    target: Target
    domain: DomainText | None
    value: Node | None
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class LetLine:
    target: Target
    body: Node
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class FactorLine:
    expression: Node
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class ArgumentText:
    name: str
    domain: DomainText
    default: Node | None
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class FamilyLine:
    name: str
    x: ArgumentText
    arguments: tuple[ArgumentText, ...]
    body: Node
    span: Span = field(default=NOWHERE, compare=False, repr=False)
    name_span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Group:
    names: tuple[str, ...]
    grouped: bool
    spans: tuple[Span, ...] = field(default=(), compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Option:
    name: str
    value: str | int | float
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class InferLine:
    groups: tuple[Group, ...]
    method: str
    options: tuple[Option, ...]
    span: Span = field(default=NOWHERE, compare=False, repr=False)
    method_span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class ForBlock:
    """`for index in size if cond:` with the statements of its block."""

    index: str
    size: Node
    cond: Node | None
    body: tuple[Statement, ...]
    span: Span = field(default=NOWHERE, compare=False, repr=False)
    index_span: Span = field(default=NOWHERE, compare=False, repr=False)


Statement = ModelLine | SizeLine | Declaration | LetLine | FactorLine | FamilyLine | InferLine | ForBlock


def expressions(statement: Statement) -> tuple[Node, ...]:
    """Every expression that stands in a statement's own line."""

    def of_domain(domain: DomainText | None) -> tuple[Node, ...]:
        return () if domain is None else (*(domain.dims or ()), *domain.bounds)

    def some(*nodes: Node | None) -> tuple[Node, ...]:
        return tuple(n for n in nodes if n is not None)

    match statement:
        case ModelLine() | InferLine():
            return ()
        case SizeLine(_, default):
            return some(default)
        case Declaration(_, target, domain, value):
            return (*(target.indices or ()), *of_domain(domain), *some(value))
        case LetLine(target, body):
            return (*(target.indices or ()), body)
        case FactorLine(expression):
            return (expression,)
        case FamilyLine(_, x, arguments, body):
            return (*(n for a in (x, *arguments) for n in (*of_domain(a.domain), *some(a.default))), body)
        case ForBlock(_, size, cond):
            return some(size, cond)
