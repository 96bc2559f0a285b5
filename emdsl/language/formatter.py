"""The canonical layout of a model: spaces, indents, columns and blank lines; never a token more or less.

Works on tokens, so what a text means cannot change; that it does not is checked before it is returned.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from emdsl.errors import InternalError, ModelError
from emdsl.language.lexing import Comment, Lexeme, Line, lex
from emdsl.language.parser import parse_text
from emdsl.language.reading import printable, read_text
from emdsl.language.spacing import gaps, joined

INDENT = 4
_ALIGNED = ("param", "given", "latent", "observed", "let")


@dataclass(frozen=True, slots=True)
class Row:
    """One line to be printed. `head` and `rest` are what stands before and after the first `:`, `~` or `=`."""

    depth: int
    text: str
    comment: str = ""
    word: str = ""  # the statement word, where the columns of neighbours are aligned
    target: str = ""
    rest: str = ""
    blank: bool = False  # a blank line before
    tail: tuple[str, ...] = ()  # the further physical lines, indented relative to this row's start


def format_text(text: str | bytes, file: str) -> str:
    """The text in canonical layout: idempotent, of equal syntax, with every comment.

    Raises ModelError where the text does not parse.
    """
    clean = read_text(text, file)
    parsed = parse_text(clean, file)
    if parsed.problems:
        raise ModelError(parsed.problems, printable(clean))
    lexed = lex(clean, file)
    rows = _with_columns(_rows(lexed.lines, lexed.comments, clean.split("\n")))
    out = _printed(rows)
    again = parse_text(out, file)
    if again.problems or again.statements != parsed.statements:
        raise InternalError("format", "the layout would change the model")
    return out


def says_the_same(one: str, other: str) -> bool:
    """Whether two texts are one model but for their layout and comments."""
    if one == other:
        return True
    try:
        parsed = [parse_text(read_text(text, "<text>"), "<text>") for text in (one, other)]
    except ModelError:
        return False
    return not any(p.problems for p in parsed) and parsed[0].statements == parsed[1].statements


# ---------------------------------------------------------------------------- rows


def _rows(lines: list[Line], comments: list[Comment], source: list[str]) -> list[Row]:
    """Statements and comments of their own line, in order, with their depths."""
    inside: dict[int, list[Comment]] = {}
    spans = [(line.tokens[0].span.line, line.tokens[-1].span.end_line) for line in lines]
    own: list[Comment] = []
    at = 0
    for comment in comments:
        while at < len(spans) and spans[at][1] < comment.line:
            at += 1
        if at < len(spans) and spans[at][0] <= comment.line:
            inside.setdefault(at, []).append(comment)
        else:
            own.append(comment)
    depths, stacks = _depths(lines)
    out: list[tuple[int, Row]] = []
    for index, line in enumerate(lines):
        out.append((spans[index][0], _statement(line, depths[index], inside.get(index, []))))
    for comment in own:
        out.append((comment.line, Row(_comment_depth(comment, spans, stacks), comment.text.rstrip())))
    out.sort(key=lambda pair: pair[0])
    return [replace(row, blank=_blank_before(number, source)) for number, row in out]


def _blank_before(number: int, source: list[str]) -> bool:
    return number > 1 and not source[number - 2].strip()


def _depths(lines: list[Line]) -> tuple[list[int], list[tuple[int, ...]]]:
    """The depth of every line, and the indents of the blocks open at it."""
    stack: list[int] = []
    depths, stacks = [], []
    for line in lines:
        while stack and line.indent < stack[-1]:
            stack.pop()
        if not stack or line.indent > stack[-1]:
            stack.append(line.indent)
        depths.append(len(stack) - 1)
        stacks.append(tuple(stack))
    return depths, stacks


def _comment_depth(comment: Comment, spans: list[tuple[int, int]], stacks: list[tuple[int, ...]]) -> int:
    """The block that a comment's column puts it in, between those of its neighbours."""
    after = next((i for i, (first, _) in enumerate(spans) if first > comment.line), len(spans))
    before = stacks[after - 1] if after > 0 else (0,)
    following = stacks[after] if after < len(stacks) else before[:1]
    deeper = max(before, following, key=len)
    level = sum(indent < comment.column for indent in deeper) - 1
    return min(max(level, min(len(before), len(following)) - 1), len(deeper) - 1)


def _statement(line: Line, depth: int, comments: list[Comment]) -> Row:
    last = line.tokens[-1].span.end_line
    trailing = next((c.text.rstrip() for c in comments if c.line == last), "")
    inner = [c for c in comments if c.line != last]
    tokens, space = line.tokens, gaps(line.tokens)
    if line.tokens[0].span.line == last:
        word, target, rest = _columns(tokens, space)
        return Row(depth, joined(tokens, space, 0, len(tokens)), trailing, word, target, rest)
    first, *tail = _broken(tokens, space, inner, trailing)
    return Row(depth, first, "", tail=tuple(tail))


def _columns(tokens: tuple[Lexeme, ...], space: list[bool]) -> tuple[str, str, str]:
    """`latent`, `z[n]`, `~ Categorical(w)` of a declaration; empty where columns are not aligned."""
    if tokens[0].text not in _ALIGNED or tokens[0].type == "NAME":
        return "", "", ""
    depth = 0
    for i, token in enumerate(tokens):
        depth += (token.text in "([") - (token.text in ")]") if len(token.text) == 1 else 0
        if depth == 0 and token.type in ("COLON", "TILDE", "ASSIGN"):
            return tokens[0].text, joined(tokens, space, 1, i), joined(tokens, space, i, len(tokens))
    return "", "", ""


# ---------------------------------------------------------------------------- statements of several lines


def _broken(tokens: tuple[Lexeme, ...], space: list[bool], comments: list[Comment], trailing: str) -> list[str]:
    """The physical lines of a long statement, broken where they were, each under the bracket it stands in."""
    groups: dict[int, list[Lexeme]] = {}
    for token in tokens:
        groups.setdefault(token.span.line, []).append(token)
    notes = {c.line: c.text.rstrip() for c in comments}
    last = tokens[-1].span.line
    out: list[str] = []
    open_at: list[int] = []  # for every open bracket, the column where its content is aligned
    done = 0
    for number in sorted({*groups, *notes}):
        here = groups.get(number, [])
        column = 0 if not done else (open_at[-1] if open_at else INDENT)
        closing = bool(here) and here[0].text in (")", "]")
        if closing and open_at and done:
            column = max(0, open_at[-1] - 1)
        text = joined(tokens, space, done, done + len(here))
        note = notes.get(number, trailing if number == last else "")
        out.append(" " * column + text + (("  " if text else "") + note if note else ""))
        _follow(tokens, space, done, done + len(here), column, open_at)
        done += len(here)
    return _comment_columns(out)


def _follow(
    tokens: tuple[Lexeme, ...], space: list[bool], start: int, end: int, column: int, open_at: list[int]
) -> None:
    """Opens and closes the brackets of one physical line."""
    for i in range(start, end):
        column += len(tokens[i].text) + (space[i] and i > start)
        if tokens[i].type in ("LPAR", "LSQB"):
            open_at.append(column)
        elif tokens[i].type in ("RPAR", "RSQB"):
            open_at.pop()


def _comment_columns(lines: list[str]) -> list[str]:
    """Trailing comments of neighbouring lines in one column. No token of the language holds a `#`."""
    out: list[str] = []
    run: list[tuple[str, str]] = []

    def flush() -> None:
        width = max((len(code) for code, _ in run), default=0)
        out.extend(f"{code.ljust(width)}  {note}" for code, note in run)
        run.clear()

    for line in lines:
        cut = line.find("#")
        code = line[:cut].rstrip() if cut >= 0 else ""
        if code:
            run.append((code, line[cut:]))
        else:
            flush()
            out.append(line.rstrip())
    flush()
    return out


# ---------------------------------------------------------------------------- columns


def _with_columns(rows: list[Row]) -> list[Row]:
    """Neighbouring declarations with their names, and their first `:` or `~`, in columns."""
    out: list[Row] = []
    run: list[Row] = []
    for row in rows:
        joins = bool(row.word) and (not run or (row.depth == run[-1].depth and not row.blank))
        if not joins:
            out += _columned(run)
            run = []
        if row.word:
            run.append(row)
        else:
            out.append(row)
    return out + _columned(run)


def _columned(run: list[Row]) -> list[Row]:
    words = max((len(r.word) for r in run), default=0)
    targets: dict[bool, int] = {}  # definitions have a column of their own
    for row in run:
        lets = row.rest[0] == "="
        targets[lets] = max(targets.get(lets, 0), len(row.target))
    return [replace(r, text=f"{r.word.ljust(words)} {r.target.ljust(targets[r.rest[0] == '='])} {r.rest}") for r in run]


def _printed(rows: list[Row]) -> str:
    lines: list[str] = []
    block: list[str] = []
    for row in rows:
        if row.blank and (lines or block):
            lines += [*_comment_columns(block), ""]
            block = []
        pad = " " * (INDENT * row.depth)
        block.append(pad + row.text + (f"  {row.comment}" if row.comment else ""))
        if row.tail:
            lines += [*_comment_columns(block[:-1]), block[-1], *(pad + t if t else "" for t in row.tail)]
            block = []
    lines += _comment_columns(block)
    return "\n".join(lines).strip("\n") + "\n" if lines else ""
