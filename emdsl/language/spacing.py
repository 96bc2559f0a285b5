"""Where a space stands between two tokens."""

from __future__ import annotations

from collections.abc import Sequence

from emdsl.language.lexing import RESERVED, STATEMENTS, Lexeme

_WORDS = frozenset({w.upper() for w in (*STATEMENTS, *RESERVED, "by")})
_PRODUCT = frozenset({"STAR", "SLASH", "DOUBLESLASH", "PERCENT", "AT"})
_BINARY = _PRODUCT | {"PLUS", "MINUS"}
_VALUES = frozenset({"NAME", "NUMBER", "RPAR", "RSQB"})


def gaps(tokens: Sequence[Lexeme]) -> list[bool]:
    """For every token, whether a space stands before it on its line."""
    out: list[bool] = []
    tight: list[bool] = []  # for every open bracket: does it hold indices or sizes
    for i, token in enumerate(tokens):
        before = tokens[i - 1] if i else None
        out.append(before is not None and _space(tokens, i, tight))
        if token.type in ("LPAR", "LSQB"):
            index = token.type == "LSQB" and before is not None and before.type in _VALUES
            tight.append(index or (bool(tight) and tight[-1] and token.type == "LPAR" and not _calls(before)))
        elif token.type in ("RPAR", "RSQB") and tight:
            tight.pop()
    return out


def joined(tokens: Sequence[Lexeme], space: Sequence[bool], start: int, end: int) -> str:
    """The tokens from `start` to `end` on one line."""
    return "".join((" " if space[i] and i > start else "") + tokens[i].text for i in range(start, end))


def _calls(before: Lexeme | None) -> bool:
    return before is not None and before.type == "NAME"


def unary(tokens: Sequence[Lexeme], i: int) -> bool:
    """True for a sign: nothing stands before it that it could be subtracted from."""
    return tokens[i].type in ("PLUS", "MINUS") and (i == 0 or tokens[i - 1].type not in _VALUES)


def _space(tokens: Sequence[Lexeme], i: int, tight: Sequence[bool]) -> bool:
    """Whether a space stands before token `i`."""
    before, here = tokens[i - 1], tokens[i]
    close = bool(tight) and tight[-1]
    if before.type in ("LPAR", "LSQB", "DOT", "CARET") or here.type in ("RPAR", "RSQB", "COMMA", "DOT", "CARET"):
        return False
    if before.type in _WORDS or here.type in _WORDS or before.type == "COMMA":
        return True
    if here.type == "COLON":
        return tokens[0].type != "FOR" or not _header_colon(tokens, i)
    if unary(tokens, i - 1):
        return False
    if here.type in ("LPAR", "LSQB"):
        product = before.type in _PRODUCT and _joined(tokens, i - 1)
        return before.type not in _VALUES and not product and not (close and before.type in _BINARY)
    if here.type in _PRODUCT or before.type in _PRODUCT:
        return not close and not _joined(tokens, i if here.type in _PRODUCT else i - 1)
    if here.type in _BINARY or before.type in _BINARY:
        return not close
    return True


def _joined(tokens: Sequence[Lexeme], i: int) -> bool:
    """True where a product is written `a*b`, without a space on either side: it says what binds, and stays."""

    def touch(a: Lexeme, b: Lexeme) -> bool:
        return (a.span.end_line, a.span.end_column) == (b.span.line, b.span.column)

    return 0 < i < len(tokens) - 1 and touch(tokens[i - 1], tokens[i]) and touch(tokens[i], tokens[i + 1])


def _header_colon(tokens: Sequence[Lexeme], i: int) -> bool:
    """The colon of a `for` line: the statement after it is another statement."""
    following = tokens[i + 1].type if i + 1 < len(tokens) else "END"
    return following == "END" or following in _WORDS
