"""What each rule of the grammar makes: one function per rule, from its children to a node.

Lark calls them bottom-up while it parses, so no tree is ever walked recursively. Children are
nodes and tokens in reading order; every token is kept, which is where spans come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from lark import Token

from emdsl.errors import Problem, Span
from emdsl.language import syntax as s

MOST_INDICES = 50


class Misuse(Exception):
    """A text that the grammar allows and the language does not."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.problem = problem


def span_of(item: Any) -> Span:
    span: Span = item.lexeme_span if isinstance(item, Leaf) else item.span
    return span


class Leaf(Token):
    """A token that knows its place."""

    lexeme_span: Span


def cover(children: Sequence[Any]) -> Span:
    """From the first child's start to the last one's end."""
    first, last = span_of(children[0]), span_of(children[-1])
    return Span(first.file, first.line, first.column, last.end_line, last.end_column)


def is_token(item: Any, *types: str) -> bool:
    return isinstance(item, Leaf) and (not types or item.type in types)


def nodes(children: Sequence[Any]) -> list[Any]:
    return [c for c in children if not isinstance(c, Leaf)]


def text(item: Any) -> str:
    return str(item)


def after(children: Sequence[Any], *types: str) -> Any | None:
    """The child that follows the first token of one of these types."""
    for here, following in pairwise(children):
        if is_token(here, *types):
            return following
    return None


# ---------------------------------------------------------------------------- expressions


def number(c: list[Any]) -> s.Number:
    written = text(c[0])
    return s.Number(int(written) if written.isdigit() else float(written), cover(c))


def name(c: list[Any]) -> s.Name:
    return s.Name(text(c[0]), cover(c))


def parenthesis(c: list[Any]) -> Any:
    return c[1]


def subscript(c: list[Any]) -> s.Subscript:
    """Nested brackets are merged: `m[k][d]` is `m[k, d]`."""
    args = tuple(nodes(c[1:]))
    if isinstance(c[0], s.Subscript):
        if len(c[0].args) > MOST_INDICES:
            raise Misuse(Problem("E031", f"more than {MOST_INDICES} indices", cover(c)))
        return s.Subscript(c[0].base, c[0].args + args, cover(c))
    return s.Subscript(c[0], args, cover(c))


def attribute(c: list[Any]) -> s.Attribute:
    return s.Attribute(c[0], text(c[2]), cover(c))


def keyword(c: list[Any]) -> s.Keyword:
    return s.Keyword(text(c[0]), c[2], cover(c))


def clause(c: list[Any]) -> s.Clause:
    return s.Clause(text(c[1]), c[3], c[5] if len(c) > 4 else None, cover(c))


def apply(c: list[Any]) -> s.Apply:
    inner = nodes(c)
    args = tuple(a for a in inner if not isinstance(a, s.Keyword))
    keywords = tuple(a for a in inner if isinstance(a, s.Keyword))
    for position, item in enumerate(inner):
        if isinstance(item, s.Keyword) and any(not isinstance(a, s.Keyword) for a in inner[position:]):
            raise Misuse(Problem("E016", "keyword arguments come last", item.span))
    return s.Apply(text(c[0]), args, keywords, (), cover(c), span_of(c[0]))


def apply_each(c: list[Any]) -> s.Apply:
    body, *clauses = nodes(c)
    return s.Apply(text(c[0]), (body,), (), tuple(clauses), cover(c), span_of(c[0]))


def list_(c: list[Any]) -> s.ListOf:
    return s.ListOf(tuple(nodes(c)), (), cover(c))


def list_each(c: list[Any]) -> s.ListOf:
    body, *clauses = nodes(c)
    return s.ListOf((body,), tuple(clauses), cover(c))


def _pairs(c: list[Any]) -> tuple[tuple[str, Any], ...]:
    return tuple((text(c[i]), c[i + 1]) for i in range(1, len(c), 2))


def chain(c: list[Any]) -> s.Chain:
    return s.Chain(c[0], _pairs(c), cover(c))


def comparison(c: list[Any]) -> s.Comparison:
    return s.Comparison(c[0], _pairs(c), cover(c))


def logic(c: list[Any]) -> s.Logic:
    return s.Logic(text(c[1]), tuple(nodes(c)), cover(c))


def unary(c: list[Any]) -> s.Node:
    return s.Unary(text(c[0]), c[1], cover(c))


def power(c: list[Any]) -> s.Power:
    return s.Power(c[0], c[2], cover(c))


def conditional(c: list[Any]) -> s.Conditional:
    return s.Conditional(c[2], c[0], c[4], cover(c))


# ---------------------------------------------------------------------------- statements


def target(c: list[Any]) -> s.Target:
    return s.Target(text(c[0]), tuple(nodes(c)) if len(c) > 1 else None, cover(c))


def domain(c: list[Any]) -> s.DomainText:
    inner = nodes(c)
    bounds = tuple(n for n in inner if isinstance(n, s.Keyword))
    dims = tuple(n for n in inner if not isinstance(n, s.Keyword))
    brackets = any(is_token(t, "LSQB") for t in c)
    return s.DomainText(text(c[0]), dims if brackets else None, bounds, cover(c))


def argument(c: list[Any]) -> s.ArgumentText:
    return s.ArgumentText(text(c[0]), c[2], c[4] if len(c) > 3 else None, cover(c))


def model(c: list[Any]) -> s.ModelLine:
    return s.ModelLine(text(c[1]), cover(c))


def size(c: list[Any]) -> s.SizeLine:
    return s.SizeLine(text(c[1]), c[3] if len(c) > 2 else None, cover(c), span_of(c[1]))


def declaration(c: list[Any]) -> s.Declaration:
    written = next((n for n in c if isinstance(n, s.DomainText)), None)
    return s.Declaration(text(c[0]), c[1], written, after(c, "TILDE", "ASSIGN"), cover(c))


def let(c: list[Any]) -> s.LetLine:
    return s.LetLine(c[1], c[3], cover(c))


def factor(c: list[Any]) -> s.FactorLine:
    return s.FactorLine(c[1], cover(c))


def family(c: list[Any]) -> s.FamilyLine:
    x, *arguments = [n for n in c if isinstance(n, s.ArgumentText)]
    return s.FamilyLine(text(c[1]), x, tuple(arguments), c[-1], cover(c), span_of(c[1]))


def group(c: list[Any]) -> s.Group:
    names = [t for t in c if is_token(t, "NAME")]
    return s.Group(tuple(text(t) for t in names), len(c) > 1, tuple(span_of(t) for t in names))


def option(c: list[Any]) -> s.Option:
    written = text(c[2])
    value = written if is_token(c[2], "NAME") else int(written) if written.isdigit() else float(written)
    return s.Option(text(c[0]), value, cover(c))


def infer(c: list[Any]) -> s.InferLine:
    groups = tuple(g for g in c if isinstance(g, s.Group))
    options = tuple(o for o in c if isinstance(o, s.Option))
    method = after(c, "BY")
    return s.InferLine(groups, text(method), options, cover(c), span_of(method))


def loop(c: list[Any]) -> s.ForBlock:
    body = (c[-1],) if not is_token(c[-1]) else ()
    return s.ForBlock(text(c[1]), c[3], after(c, "IF"), body, cover(c), span_of(c[1]))


def start(c: list[Any]) -> Any:
    return c[0]


RULES = {
    "number": number, "name": name, "parenthesis": parenthesis, "subscript": subscript, "attribute": attribute,
    "keyword": keyword, "clause": clause, "apply": apply, "apply_each": apply_each, "list": list_,
    "list_each": list_each, "arith": chain, "term": chain, "comparison": comparison, "disjunction": logic,
    "conjunction": logic, "not_": unary, "sign": unary, "power": power, "conditional": conditional,
    "target": target, "domain": domain, "argument": argument, "model": model, "size": size, "param": declaration,
    "given": declaration, "latent": declaration, "observed": declaration, "let": let, "factor": factor,
    "family": family, "group": group, "option": option, "infer": infer, "loop": loop, "start": start,
}  # fmt: skip
