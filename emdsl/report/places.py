"""Where a module computes which equation: read off the numbers in its comments.

A comment that begins with numbers, `# (4) log joint of z`, stands for the lines below it, down to the next such
comment, an empty line, or the end of its block; numbers behind a line, `S_z = S_z + part  # (5.2)`, for that line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from html import escape

NUMBER = r"\(\d+(?:\.\d+)?\)"
NUMBERS = rf"{NUMBER}(?:(?:,| to) {NUMBER})*"
RANGE = re.compile(r"\((\d+)\.(\d+)\) to \(\d+\.(\d+)\)")
ABOVE = re.compile(rf"( *)# ({NUMBERS}) ")
BEHIND = re.compile(rf"  # ({NUMBERS})$")
NONE = "  # no equation"  # behind a line: neither that nor what is indented below it computes one
FUNCTION = re.compile(r"def (\w+)\(")
END = "# -------------------- numeric helpers"  # what follows is the same in every module


@dataclass(frozen=True)
class Place:
    """Lines of a function of the module, first and last, counted from 1."""

    function: str
    first: int
    last: int

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


def own_lines(source: str) -> Iterator[tuple[int, str]]:
    """The lines of a module's own functions, numbered; not of what every module has."""
    inside = False
    for n, line in enumerate(source.splitlines(), 1):
        if line == END:
            return
        inside = inside or line.startswith("def ")
        if inside:
            yield n, line


def told_lines(source: str) -> Iterator[tuple[int, str]]:
    """The same without those of which the module says that they are no equation."""
    beside: int | None = None
    for n, line in own_lines(source):
        indent = len(line) - len(line.lstrip())
        beside = None if beside is not None and indent <= beside else beside
        beside = indent if beside is None and NONE in line else beside
        if beside is None:
            yield n, line


@lru_cache(maxsize=64)
def places(source: str) -> dict[str, tuple[Place, ...]]:
    """Number of an equation -> the places that compute it, in the order of the module."""
    found: dict[str, list[Place]] = {}
    function, above, depth = "", "", 0
    for n, line in told_lines(source):
        if head := FUNCTION.match(line):
            function, above = head[1], ""
        indent = len(line) - len(line.lstrip())
        if not line.strip() or indent < depth or (indent == depth and line.startswith("return", indent)):
            above, depth = "", 0
        if comment := ABOVE.match(line):
            depth, above = len(comment[1]), comment[2]
        behind = BEHIND.search(line)
        for number in _each(behind[1] if behind else above):
            mine = found.setdefault(number, [])
            if mine and mine[-1].function == function and mine[-1].last == n - 1:
                mine[-1] = Place(function, mine[-1].first, n)
            else:
                mine.append(Place(function, n, n))
    return {number: tuple(mine) for number, mine in found.items()}


def _each(numbers: str) -> list[str]:
    """The numbers of a comment one by one: `(4.2) to (4.4)` names three."""

    def between(match: re.Match[str]) -> str:
        step, first, last = match.groups()
        return ", ".join(f"({step}.{n})" for n in range(int(first), int(last) + 1))

    return re.findall(r"\(([\d.]+)\)", RANGE.sub(between, numbers))


def anchor(label: str) -> str:
    """Where a page shows an equation; of several lines under one number the first, which the code names without a
    letter."""
    return label.removesuffix("a")


def whole(label: str) -> str:
    """The number of an equation that the code prints: without the letter of one of its lines."""
    return label.rstrip("abcdefghijklmnopqrstuvwxyz")


def by_function(found: tuple[Place, ...]) -> dict[str, list[Place]]:
    """Places gathered by the function that they lie in."""
    out: dict[str, list[Place]] = {}
    for p in found:
        out.setdefault(p.function, []).append(p)
    return out


def listing(source: str, known: set[str]) -> str:
    """The module's own functions as HTML: every line an anchor, every number a link to its equation or step."""

    def link(match: re.Match[str]) -> str:
        number = match[1]
        target = f"eq-{number}" if number in known else f"step-{number}"
        return f'<a href="#{target}">({number})</a>'

    out = []
    for n, line in own_lines(source):
        above, behind = ABOVE.match(line), BEHIND.search(line)
        cut = behind.start() if behind else above.end() if above else 0
        code, comment = (line[:cut], line[cut:]) if behind else ("", line[:cut])
        rest = "" if behind else line[cut:]
        linked = re.sub(r"\(([\d.]+)\)", link, escape(comment))
        out.append(f'<span id="line-{n}">{n:>4}  {escape(code)}{linked}{escape(rest)}</span>')
    return "\n".join(out).rstrip()
