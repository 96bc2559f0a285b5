"""Text to logical lines of tokens.

A logical line ends with its physical line unless a bracket is open, or it ends in `=` or `~` and
the next line is indented further. Words are keywords only where the grammar wants them to be:
statement words at the start of a statement, `by` in an `infer` line.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field

from emdsl.errors import Problem, Span

DEEPEST = 100  # nesting of brackets, and of expressions
MOST_TOKENS = 80_000
MOST_PROBLEMS = 50
MOST_UNCLOSED = 3  # each one costs a second reading of what follows

STATEMENTS = ("model", "size", "param", "given", "let", "latent", "observed", "factor", "family", "infer", "for")
RESERVED = ("for", "in", "if", "else", "and", "or", "not")
SYMBOLS = {
    "==": "EQ", "!=": "NE", "<=": "LE", ">=": "GE", "<": "LT", ">": "GT", "=": "ASSIGN", "~": "TILDE", "|": "BAR",
    ":": "COLON", ",": "COMMA", ".": "DOT", "+": "PLUS", "-": "MINUS", "*": "STAR", "/": "SLASH",
    "//": "DOUBLESLASH", "%": "PERCENT", "@": "AT", "^": "CARET", "(": "LPAR", ")": "RPAR", "[": "LSQB", "]": "RSQB",
}  # fmt: skip
HABITS = {
    "**": "a power is written `^`",
    "&&": "write `and`",
    "||": "write `or`",
    "!": "write `not`",
    "&": "write `and`",
    ":=": "a definition is written `let name = ...`",
    "->": "write `name ~ Family(...)`",
    ";": "one declaration per line",
    "{": "blocks are indented; there are no braces",
    "}": "blocks are indented; there are no braces",
    "\\": "inside brackets a line may be broken anywhere; there is no backslash",
    '"': "there are no strings in a model",
    "'": "there are no strings in a model; a transpose is written `.T`",
    "$": None,
    "?": None,
}
SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹"
CLOSING = {")": "(", "]": "["}

_NUMBER = re.compile(r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_TOKEN = re.compile(
    r"(?P<space>[ \t]+)|(?P<comment>#.*)"
    rf"|(?P<number>{_NUMBER.pattern})"
    r"|(?P<word>\w+)"
    r"|(?P<habit>\*\*|&&|\|\||:=|->|[!;{}\\\"'$?&](?!=))"
    r"|(?P<symbol>==|!=|<=|>=|//|[-+*/%@^()\[\],:=<>~.|])"
)


@dataclass(frozen=True, slots=True)
class Lexeme:
    """A token: `type` is a terminal of the grammar."""

    type: str
    text: str
    span: Span


@dataclass(frozen=True, slots=True)
class Comment:
    text: str
    line: int
    column: int
    alone: bool  # nothing else on its line


@dataclass(frozen=True, slots=True)
class Line:
    """A logical line; `broken` where a token of it was wrong."""

    indent: int
    tokens: tuple[Lexeme, ...]
    broken: bool = False


@dataclass(slots=True)
class Lexed:
    lines: list[Line] = field(default_factory=list)
    comments: list[Comment] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


class _Recover(Exception):
    """The rest of this logical line cannot be read; carries the physical line to go on with."""

    def __init__(self, resume: int) -> None:
        self.resume = resume


def lex(text: str, file: str) -> Lexed:
    """All logical lines, comments and lexical problems of a clean text (see `read_text`)."""
    out = Lexed()
    rows = text.split("\n")
    at, total, unclosed = 0, 0, 0
    while at < len(rows) and len(out.problems) < MOST_PROBLEMS and unclosed < MOST_UNCLOSED:
        line: list[Lexeme] = []
        start = at
        known = len(out.problems)
        try:
            at = _logical(rows, at, file, line, out)
        except _Recover as recovery:
            at = max(recovery.resume, start + 1)
            out.comments = [c for c in out.comments if c.line <= at]
            unclosed += out.problems[-1].code == "E009" and at < len(rows)
        total += len(line)
        if total > MOST_TOKENS:
            span = line[-1].span
            out.problems.append(Problem("E008", f"the model has more than {MOST_TOKENS:,} tokens", span))
            at, line = len(rows), line[:1]  # a line is there, so that no block is told to lack one
        if line:
            first = line[0].span
            lead = rows[first.line - 1][: first.column - 1]
            out.lines.append(Line(len(lead), tuple(_keywords(line)), len(out.problems) > known))
    _check_indents(out, rows, file)
    return out


def _logical(rows: list[str], at: int, file: str, line: list[Lexeme], out: Lexed) -> int:
    """Reads one logical line into `line`; returns the number of the next physical line (from 0)."""
    open_brackets: list[Lexeme] = []
    while True:
        _physical(rows[at], at + 1, file, line, open_brackets, out)
        at += 1
        if at >= len(rows):
            if open_brackets:
                first = open_brackets[0]
                message = f"`{first.text}` is never closed"
                out.problems.append(Problem("E009", message, first.span, "add the missing closing bracket"))
                line[:] = [t for t in line if t.span.line <= first.span.line]
                raise _Recover(first.span.line)
            return at
        commented = bool(out.comments) and out.comments[-1].line == at
        if not open_brackets and not _goes_on(rows, at, line, commented):
            return at


def _goes_on(rows: list[str], at: int, line: list[Lexeme], commented: bool) -> bool:
    """True where a line ends in `=` or `~` and its right side stands, indented further, on the next."""
    if not commented and rows[at - 1].rstrip().endswith("\\"):
        return True  # told already, where it stands
    if not line or line[-1].text not in ("=", "~"):
        return False
    row = rows[at]
    lead = len(row) - len(row.lstrip(" \t"))
    return bool(row.strip()) and lead >= line[0].span.column and row.strip().split()[0] not in STATEMENTS


def _physical(row: str, number: int, file: str, line: list[Lexeme], stack: list[Lexeme], out: Lexed) -> None:
    at, known = 0, len(out.problems)
    while at < len(row):
        found = _TOKEN.match(row, at)
        end = found.end() if found else at + 1
        kind, text = (found.lastgroup, found.group()) if found else ("unknown", row[at])
        span = Span(file, number, at + 1, number, end + 1)
        at = end
        if kind == "space":
            continue
        if kind == "comment":
            out.comments.append(Comment(text, number, span.column, not row[: span.column - 1].strip()))
            continue
        if kind == "number" and at < len(row) and (row[at].isalnum() or row[at] == "_"):
            at = re.compile(r"\w+").match(row, at).end()  # type: ignore[union-attr]
            text, span = row[span.column - 1 : at], Span(file, number, span.column, number, at + 1)
        token = Lexeme(_terminal(kind, text), text, span)
        problem = _wrong(kind, token)
        if problem is not None:
            if len(out.problems) == known:  # one a line: the rest would be echoes
                out.problems.append(problem)
            continue
        line.append(token)
        if kind == "symbol" and text in "()[]":
            _bracket(token, stack, out)


def _terminal(kind: str | None, text: str) -> str:
    match kind:
        case "number":
            return "NUMBER"
        case "word":
            return text.upper() if text in RESERVED else "NAME"
        case _:
            return SYMBOLS.get(text, "UNKNOWN")


def _bracket(token: Lexeme, stack: list[Lexeme], out: Lexed) -> None:
    if token.text in "([":
        stack.append(token)
        if len(stack) > DEEPEST:
            out.problems.append(Problem("E010", f"brackets nest deeper than {DEEPEST}", token.span))
            raise _Recover(token.span.line)
    elif stack and stack[-1].text == CLOSING[token.text]:
        stack.pop()
    elif stack:
        opened = stack[-1].span
        message = f"`{token.text}` closes `{stack[-1].text}` of line {opened.line}, column {opened.column}"
        out.problems.append(Problem("E009", message, token.span, "brackets close in the order they open"))
        raise _Recover(token.span.line)
    else:
        out.problems.append(
            Problem("E009", f"`{token.text}` closes nothing", token.span, "an opening bracket is missing")
        )
        raise _Recover(token.span.line)


def _wrong(kind: str | None, token: Lexeme) -> Problem | None:
    """What is wrong with a token in itself."""
    text, span = token.text, token.span
    match kind:
        case "number":
            return _wrong_number(token)
        case "habit":
            hint = HABITS[text]
            return Problem("E005", f"`{text}` is not part of the language", span, hint)
        case "symbol":
            return None
    folded = unicodedata.normalize("NFKC", text)
    if folded != text:
        power = next((i for i, c in enumerate(text) if c in SUPERSCRIPTS), None)
        hint = f"write `{folded}`" if power is None else f"write `{text[:power]}^{folded[power:]}`"
        return Problem("E004", f"`{text}` holds a character that stands for another", span, hint)
    if kind == "word":
        return _wrong_name(token)
    return Problem("E005", f"`{text}` is not part of the language", span)


def _wrong_name(token: Lexeme) -> Problem | None:
    text = token.text
    if text.isascii() and text[0].isalpha():
        return None
    if text[0] == "_":
        return Problem("E013", f"`{text}` is not a name: a name begins with a letter", token.span)
    for c in text:
        latin = c == "_" or unicodedata.name(c, "").startswith(("LATIN ", "GREEK "))
        if not latin and not (c.isascii() and c.isdigit()):
            return Problem(
                "E013", f"`{c}` in `{text}`: names are of Latin and Greek letters, digits and `_`", token.span
            )
    return None


def _wrong_number(token: Lexeme) -> Problem | None:
    text, span = token.text, token.span
    if not _NUMBER.fullmatch(text):
        hint = f"write `{text.replace('_', '')}`" if re.fullmatch(r"[0-9_.]+", text) else "a name begins with a letter"
        return Problem("E006", f"`{text[:40]}` is not a number", span, hint)
    if len(text) > 400:
        return Problem("E007", f"a number of {len(text)} characters", span)
    if text.isdigit():
        return Problem("E007", f"`{text[:40]}` is too large for an integer", span) if len(text) > 18 else None
    value = float(text)
    if value == float("inf"):
        return Problem("E007", f"`{text[:40]}` overflows", span, "the largest number is about 1.8e308")
    if value == 0 and re.search(r"[1-9]", text.lower().split("e")[0]):
        return Problem("E007", f"`{text[:40]}` underflows to 0", span, "the smallest number is about 5e-324")
    return None


def _keywords(line: list[Lexeme]) -> list[Lexeme]:
    """The line with its statement words, and the `by` of an `infer`, marked as such."""
    out: list[Lexeme] = []
    fresh, header, infer, depth = True, False, False, 0
    for token in line:
        if fresh and token.type == "NAME" and token.text in STATEMENTS:
            token = Lexeme(token.text.upper(), token.text, token.span)
            infer = token.type == "INFER"
        elif infer and token.text == "by" and depth == 0 and out[-1].type not in ("INFER", "COMMA"):
            token = Lexeme("BY", token.text, token.span)
        header = header or (fresh and token.type == "FOR")
        depth += (token.text in "([") - (token.text in ")]") if token.type in ("LPAR", "RPAR", "LSQB", "RSQB") else 0
        fresh = header and token.type == "COLON" and depth == 0
        header = header and not fresh
        out.append(token)
    return out


def _check_indents(out: Lexed, rows: list[str], file: str) -> None:
    """Spaces or tabs, not both, in one file's indents."""
    seen: dict[str, int] = {}
    for line in out.lines:
        first = line.tokens[0].span
        for c in rows[first.line - 1][: first.column - 1]:
            seen.setdefault(c, first.line)
            if len(seen) == 2:
                span = Span(file, first.line, 1, first.line, first.column)
                other = min(seen.values())
                message = "a tab and a space in one indent" if other == first.line else (
                    f"tabs and spaces in one file's indents: line {other} and line {first.line}"
                )  # fmt: skip
                out.problems.append(Problem("E012", message, span, "indent with spaces"))
                return
