"""Places in a source, users' mistakes as data, and the one printer of the caret.

A user's mistake (`EmdslError`) and a bug of ours (`InternalError`) are different types: the
first is printed with its place and ends with status 1, the second asks to be reported.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Span:
    """A half-open region of a source text; lines and columns count from 1, in characters."""

    file: str
    line: int
    column: int
    end_line: int
    end_column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


NOWHERE = Span("<built in>", 1, 1, 1, 1)
LONGEST_NAME = 100  # characters of one name in a message
LONGEST_MESSAGE = 2000  # of a sentence that lists names
COMMANDS = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def harmless(text: str, lines: bool = True) -> str:
    """Text that a terminal shows and does not obey: of what could move it, colour it or turn it round, the spelling.

    Names of files, columns and levels may hold anything. Without `lines` it stays on one line.
    """
    shown = COMMANDS.sub(lambda c: c[0].encode("unicode_escape", "surrogatepass").decode(), text)
    return shown if lines else shown.replace("\n", "\\n")


def _sentence(text: str) -> str:
    """A sentence on one line, in which no name goes on for pages, nor a list of names."""
    short = re.sub(rf"\w{{{LONGEST_NAME},}}", lambda name: f"{name[0][: LONGEST_NAME - 20]}...{name[0][-17:]}", text)
    if len(short) > LONGEST_MESSAGE:
        short = f"{short[: LONGEST_MESSAGE - 200]} ... {short[-190:]}"
    return harmless(short, lines=False)


@lru_cache(maxsize=2)
def _lines_of(source: str) -> tuple[str, ...]:
    """Split once, of however many problems are told."""
    return tuple(source.splitlines())


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake, or one warning, before it is printed.

    `code` is "E0xx" (error) or "W0xx" (warning); `message` is one sentence; `hint` is the way
    out (what was expected, the nearest name, what to write instead).
    """

    code: str
    message: str
    span: Span = NOWHERE
    hint: str | None = None

    def render(self, source: str | None) -> str:
        """The problem with its source line and a caret under the place."""
        kind = "warning" if self.code.startswith("W") else "error"
        place = "" if self.span is NOWHERE else harmless(f"{self.span}: ", lines=False)
        out = [f"{place}{kind} {self.code}: {_sentence(self.message)}"]
        lines = _lines_of(source) if source is not None else ()
        if self.span is not NOWHERE and 1 <= self.span.line <= len(lines):
            text = lines[self.span.line - 1].replace("\t", " ")
            width = self.span.end_column - self.span.column if self.span.end_line == self.span.line else 1
            start, shown = self.span.column - 1, text
            if len(text) > 160:  # a window around the caret
                left = max(0, start - 60)
                shown, start = text[left : left + 120], start - left
            out += [f"    {harmless(shown)}", "    " + " " * start + "^" * max(1, min(width, len(shown) - start))]
        if self.hint:
            out.append(f"    hint: {_sentence(self.hint)}")
        return "\n".join(out)


class EmdslError(Exception):
    """A user's mistake: a wrong model, wrong data, a plan that cannot be. Carries every `Problem` found."""

    def __init__(self, problems: Problem | Iterable[Problem], source: str | None = None) -> None:
        self.problems: tuple[Problem, ...] = (problems,) if isinstance(problems, Problem) else tuple(problems)
        self.source = source
        super().__init__(problems, source)

    def __str__(self) -> str:
        return "\n".join(p.render(self.source) for p in self.problems)


class ModelError(EmdslError):
    """The text of a model is wrong (syntax, names, shapes, families, plan)."""


class DataError(EmdslError, ValueError):
    """The data, starting values or options given to a fit are wrong."""


class ArgumentError(DataError, TypeError):
    """An argument of `emdsl.compile` is of a wrong type."""


class ModelWarning(UserWarning):
    """What stands in a model and does nothing there, as `check` tells it: a name that nothing uses."""


class InternalError(Exception):
    """A bug in emdsl: names the stage, asks to be reported."""

    def __init__(self, stage: str, message: str) -> None:
        super().__init__(f"internal error in {stage}: {message}. Please report this with the model that caused it.")


def nearest(name: str, known: Sequence[str]) -> str | None:
    """The known name that is closest to a misspelt one, if any is close."""
    import difflib

    found = difflib.get_close_matches(str(name), known, n=1, cutoff=0.6)
    return found[0] if found else None
