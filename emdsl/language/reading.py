"""Bytes or text to clean text: encoding, size, line ends, characters that have no business in a model."""

from __future__ import annotations

import unicodedata

from emdsl.errors import ModelError, Problem, Span

LONGEST_TEXT = 1_000_000  # characters
ENOUGH = 4 * LONGEST_TEXT + 1  # bytes of a file by which it shows to be too long: more are not read
_LINE_SEPARATORS = "\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"  # str.splitlines() knows them, an editor need not


def fail(code: str, message: str, span: Span, hint: str | None = None, source: str | None = None) -> ModelError:
    """One problem as an exception."""
    return ModelError(Problem(code, message, span, hint), source)


def read_text(data: str | bytes, file: str) -> str:
    """The text with LF line ends and without a byte order mark.

    Raises ModelError where it is not UTF-8, is too long, or holds control or invisible characters.
    """
    start = Span(file, 1, 1, 1, 2)
    if len(data) > (ENOUGH - 1 if isinstance(data, bytes) else LONGEST_TEXT):
        raise fail("E008", f"the file is larger than a model may be ({LONGEST_TEXT:,} characters)", start)
    text = data if isinstance(data, str) else _decode(data, file)
    if len(text) > LONGEST_TEXT:
        raise fail("E008", f"the file is larger than a model may be ({LONGEST_TEXT:,} characters)", start)
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    problem = _strange_character(text, file)
    if problem is not None:
        raise ModelError(problem, printable(text))
    return text


def _decode(data: bytes, file: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        good = data[: error.start].decode("utf-8")
        line, column = good.count("\n") + 1, len(good) - (good.rfind("\n") + 1) + 1
        span = Span(file, line, column, line, column + 1)
        message = f"not UTF-8: byte 0x{data[error.start]:02x} at offset {error.start}"
        raise fail("E001", message, span, "save the file as UTF-8") from None


def _strange_character(text: str, file: str) -> Problem | None:
    if text.isascii() and text.replace("\n", "").replace("\t", "").isprintable():
        return None
    for number, line in enumerate(text.split("\n"), 1):
        if line.isascii() and line.replace("\t", "").isprintable():
            continue
        for column, c in enumerate(line, 1):
            span = Span(file, number, column, number, column + 1)
            category = unicodedata.category(c)
            if category == "Cf":
                name = unicodedata.name(c, "format character")
                return Problem("E003", f"an invisible character (U+{ord(c):04X}, {name})", span, "delete it")
            if (category == "Cc" and c != "\t") or c in _LINE_SEPARATORS or category in ("Cs", "Co", "Cn"):
                hint = "save the file as UTF-8" if 3 * text.count("\0") > len(text) else "delete it"  # UTF-16, mostly
                return Problem("E002", f"a character that no text holds (U+{ord(c):04X})", span, hint)
    return None


def printable(text: str) -> str:
    """The text with every control character shown as a blank, so that lines and columns stay as they are."""
    return "".join(c if c in "\n\t" or c.isprintable() else " " for c in text)
