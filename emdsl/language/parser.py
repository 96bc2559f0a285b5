"""Logical lines to syntax: every line on its own, to find all mistakes of a file at once; blocks by indents."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from lark import Lark, Token, UnexpectedToken

from emdsl.errors import Problem, Span
from emdsl.language import builders
from emdsl.language import syntax as s
from emdsl.language.lexing import DEEPEST, Comment, Lexeme, Line, lex
from emdsl.language.mistakes import explain

MOST_LOOPS = 60  # in one logical line
DEEPEST_PLATES = 20


@dataclass(frozen=True, slots=True)
class Parsed:
    """A file's statements in order, its comments and syntactic problems.

    `unread` holds every name on a line that could not be read: nothing is said of those again.
    """

    statements: tuple[s.Statement, ...]
    comments: tuple[Comment, ...]
    problems: tuple[Problem, ...]
    unread: frozenset[str] = frozenset()


@dataclass(slots=True)
class _Node:
    """A line's statement, or None where it could not be read, with the lines of its block."""

    line: Line
    statement: s.Statement | None
    body: list[_Node] = field(default_factory=list)


@lru_cache(maxsize=1)
def grammar() -> Lark:
    """The parser of one logical line. The grammar is a file of the package; of the repository, in a checkout."""
    shipped = files("emdsl").joinpath("grammar", "em.lark")
    path = shipped if shipped.is_file() else Path(__file__).parents[2] / "grammar" / "em.lark"
    text = path.read_text(encoding="utf-8")
    actions: Any = SimpleNamespace(**builders.RULES)
    return Lark(text, parser="lalr", lexer="basic", transformer=actions, keep_all_tokens=True, maybe_placeholders=False)


def parse_text(text: str, file: str) -> Parsed:
    """The syntax of a clean text (see `reading.read_text`)."""
    lexed = lex(text, file)
    problems = list(lexed.problems)
    roots = _blocks(lexed.lines, problems)
    statements = tuple(_close(node, problems) for node in roots)
    unread = frozenset(
        t.text for node in _all(roots) if node.statement is None for t in node.line.tokens if t.type == "NAME"
    )
    kept = tuple(item for item in statements if item is not None)
    return Parsed(kept, tuple(lexed.comments), tuple(problems), unread)


def parse_line(tokens: tuple[Lexeme, ...]) -> s.Statement | Problem:
    """One logical line, or what is wrong with it."""
    loops = [t for t in tokens if t.type == "FOR"]
    if len(loops) > MOST_LOOPS:
        return Problem("E010", f"more than {MOST_LOOPS} loops in one line", loops[MOST_LOOPS].span)
    state = grammar().parse_interactive()
    last: Lexeme | None = None
    try:
        for token in tokens:
            leaf = builders.Leaf(token.type, token.text)
            leaf.lexeme_span = token.span
            state.feed_token(leaf)
            last = token
        statement: s.Statement = state.feed_token(Token("$END", ""))
    except UnexpectedToken as error:
        position = len(tokens) if error.token.type == "$END" else tokens.index(last) + 1 if last else 0
        return explain(tokens, position, frozenset(_accepted(state)))
    except builders.Misuse as error:
        return error.problem
    return _too_deep(statement) or statement


def _accepted(state: Any) -> set[str]:
    """The terminals that could stand where the parser stopped."""
    found: set[str] = state.accepts()
    return found


def _too_deep(statement: s.Statement) -> Problem | None:
    """Nesting beyond `DEEPEST`, of which brackets are only one kind (`- - - x`, `a ^ b ^ c`, `if else if else`)."""
    while isinstance(statement, s.ForBlock) and statement.body:
        statement = statement.body[0]
    for expression in s.expressions(statement):
        for node, depth in s.descend(expression):
            if depth > DEEPEST:
                return Problem(
                    "E010", f"an expression nests deeper than {DEEPEST}", node.span, "name a part with `let`"
                )
    return None


def _blocks(lines: list[Line], problems: list[Problem]) -> list[_Node]:
    """Parses the lines and hangs each under the `for` whose block its indent puts it in."""
    roots: list[_Node] = []
    base = min((line.indent for line in lines), default=0)
    open_blocks: list[tuple[int, list[_Node]]] = [(base, roots)]
    for line in lines:
        node = _Node(line, _read(line, problems))
        while line.indent < open_blocks[-1][0]:
            open_blocks.pop()
        indent, block = open_blocks[-1]
        if line.indent > indent:
            header = block[-1] if block else None
            if header is not None and not header.body and _takes_block(header):
                open_blocks.append((line.indent, header.body))
                block = header.body
            else:
                problems.append(_indent_problem(line, header))
                if header is not None and header.body:
                    block = header.body  # most likely meant so
                open_blocks.append((line.indent, block))  # nothing more is said of lines that begin there too
        block.append(node)
    return roots


def _read(line: Line, problems: list[Problem]) -> s.Statement | None:
    if line.broken:
        return None
    found = parse_line(line.tokens)
    if isinstance(found, Problem):
        problems.append(found)
        return None
    return found


def _takes_block(header: _Node) -> bool:
    if header.statement is None:
        return header.line.tokens[0].type == "FOR"
    return isinstance(header.statement, s.ForBlock) and not _innermost(header.statement).body


def _headers(block: s.ForBlock) -> list[s.ForBlock]:
    """`for a in A: for b in B:` on one line: both, outermost first. The block belongs to the last."""
    out = [block]
    while out[-1].body and isinstance(out[-1].body[0], s.ForBlock):
        out.append(out[-1].body[0])
    return out


def _innermost(block: s.ForBlock) -> s.ForBlock:
    return _headers(block)[-1]


def _indent_problem(line: Line, header: _Node | None) -> Problem:
    span = line.tokens[0].span
    place = Span(span.file, span.line, 1, span.line, span.column)
    if header is None or not header.body:
        what = "this line is indented, and nothing above it opens a block"
        return Problem("E011", what, place, "a block is opened by `for i in SIZE:`")
    before = header.body[-1].line.tokens[0].span
    message = (
        f"inconsistent indents: line {before.line} begins at column {before.column}, line {span.line} at {span.column}"
    )
    return Problem("E011", message, place, "the lines of a block begin at the same column")


def _close(node: _Node, problems: list[Problem]) -> s.Statement | None:
    """The statement with its block inside. Nesting is bounded by the depth of plates, checked here."""
    return _close_at(node, problems, 1)


def _close_at(node: _Node, problems: list[Problem], depth: int) -> s.Statement | None:
    first = node.line.tokens[0]
    if isinstance(node.statement, s.ForBlock):
        depth += len(_headers(node.statement)) - 1
    if depth > DEEPEST_PLATES:
        problems.append(Problem("E010", f"plates nest deeper than {DEEPEST_PLATES}", first.span))
        return None
    body = tuple(b for b in (_close_at(inner, problems, depth + 1) for inner in node.body) if b is not None)
    if node.statement is None or not isinstance(node.statement, s.ForBlock):
        return node.statement
    if not node.body and not _has_statement(node.statement):
        problems.append(Problem("E018", "this `for` has no block", first.span, "indent the lines that belong to it"))
    return _with_body(node.statement, body)


def _has_statement(block: s.ForBlock) -> bool:
    return bool(_innermost(block).body)


def _with_body(block: s.ForBlock, body: tuple[s.Statement, ...]) -> s.ForBlock:
    headers = _headers(block)
    out = replace(headers[-1], body=headers[-1].body + body)
    for header in reversed(headers[:-1]):
        out = replace(header, body=(out,))
    return out


def _all(roots: list[_Node]) -> list[_Node]:
    out, stack = [], list(roots)
    while stack:
        node = stack.pop()
        out.append(node)
        stack.extend(node.body)
    return out
