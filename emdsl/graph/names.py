"""Names as mathematics: Greek by its letter, one letter slanted, a word upright, indices lowered; and their widths.

A viewer's fonts are not known, so widths are a little more than those of Times.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from emdsl.graph.parts import Node

GREEK = dict(zip(
    ("alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi chi psi "
     "omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega").split(),
    "αβγδεζηθικλμνξπρστυφχψωΓΔΘΛΞΠΣΥΦΨΩ", strict=True,
))  # fmt: skip
SIZE, SMALL = 17.0, 12.0  # of letters and of what is lowered, in the units of the picture
BACK = 6.5  # from the end of an exponent of one digit to its beginning
LINE = 20.0
LONGEST, LINES = 18, 3  # letters in a line, lines in a label
WHOLE = 30  # letters of an index or a size that stands whole
LISTED, ROWS = 18.0, 4  # the width of a list of names in letters, and its rows
NARROW, WIDE = frozenset("iljtfrI.,:;'|!()[] "), frozenset("mwMW—…")


@dataclass(frozen=True)
class Span:
    """A run of letters in one style."""

    text: str
    slanted: bool = False
    low: bool = False
    high: bool = False


Line = tuple[Span, ...]
Label = tuple[Line, ...]


def label(name: str, at: Sequence[str] = (), squared: bool = False) -> Label:
    """A variable's name with its indices, in one line or, where it is long, a few. `squared`: a first 2 is raised."""
    head, below = parts(name)
    raised = (Span("2", high=True),) if squared else ()
    below = below[1:] if squared else below
    pieces = broken(head)
    first = tuple((Span(p, slanted(head)),) for p in pieces)
    return (*first[:-1], (*first[-1], *raised, *lowered([*below, *at])))


def said(node: Node) -> Label:
    """The label of a node: its name, or those of all that are drawn as one, in a few lines."""
    if not node.names:
        return label(node.name, node.at, node.squared) if node.name else ()
    every = [label(n, node.at)[-1] if len(n) <= LONGEST else (Span(short(n)), *lowered(node.at)) for n in node.names]
    rows: list[Line] = [every[0]]
    for n, one in enumerate(every[1:], 1):
        if width(rows[-1]) + width(one) > LISTED * SIZE:
            rows[-1] = (*rows[-1], Span(","))
            rows.append(())
        rows[-1] = (*rows[-1], *((Span(", "),) if rows[-1] else ()), *one)
        if len(rows) == ROWS and len(every) - n > 2:
            rows[-1] = (*rows[-1], Span(", …, "), *every[-1])
            break
    return tuple(rows)


def short(word: str) -> str:
    """A word without its middle, where it is long."""
    return word if len(word) <= WHOLE else f"{word[: WHOLE // 2 - 2]}…{word[2 - WHOLE // 2 :]}"


def parts(name: str) -> tuple[str, tuple[str, ...]]:
    """A letter and what is lowered after it: `sigma_b` -> σ, b; `m0` -> m, 0. A word stays as it is."""
    found = re.fullmatch(r"([^\W\d_]+)(\d*)((?:_[^\W_]+)*)('*)", name)
    if found is None:
        return name, ()
    head, digits, rest, _ = found.groups()
    letter = GREEK.get(head, head)
    if len(letter) != 1:
        return name, ()
    lowered = tuple(GREEK.get(w, w) for w in (digits, *rest.split("_")) if w)
    return letter, lowered


def lowered(indices: Sequence[str]) -> Line:
    """Indices below the line, with commas; of `s0` the letter is slanted, and no index has one of its own."""
    out: list[Span] = []
    for n, text in enumerate(indices):
        head, digits = parts(short(text))
        out += [Span(",", low=True)] if n else []
        out.append(Span(head, slanted(head), True))
        out += [Span("".join(digits), low=True)] if digits else []
    return tuple(out)


def slanted(text: str) -> bool:
    """A single letter is slanted, except a Greek capital, and except where its script has no such habit."""
    letter = text.rstrip("'′")
    if len(letter) != 1 or not letter.isalpha():
        return False
    script = unicodedata.name(letter, "").split(" ")[0]
    return script == "LATIN" or (script == "GREEK" and letter.islower())


def broken(word: str) -> tuple[str, ...]:
    """A word in lines of bearable length, broken after `_` where there is one; the longest lose their middle."""
    if len(word) <= LONGEST:
        return (word,)
    lines = [""]
    for piece in re.findall(r"[^_]*_+|[^_]+", word):
        while piece:
            if len(lines[-1]) + len(piece) > LONGEST and lines[-1]:
                lines.append("")
            room = LONGEST - len(lines[-1])
            lines[-1] += piece[:room]
            piece = piece[room:]
    if len(lines) > LINES:
        lines = [lines[0], "…", lines[-1]]
    return tuple(lines)


def plain(text: str) -> Line:
    """Words of an index or a condition, `t−1` or `j < i`, with single letters slanted."""
    out: list[Span] = []
    for piece in re.findall(r"[^\W\d_]\w*(?:\[[^\[\]]*\])?|[^\w]+|\w+", text):
        name, _, places = piece.rstrip("]").partition("[") if piece[0].isalpha() else (piece, "", "")
        head, low = parts(short(name)) if piece[0].isalpha() else (name, ())
        out.append(Span(head, slanted(head)))
        out += lowered((*low, *places.replace(" ", "").split(",")) if places else low)
    return tuple(out)


def width(line: Line) -> float:
    """How wide a line is, at most."""
    wide = sum(_advance(c) * (SMALL if s.low or s.high else SIZE) for s in line for c in s.text)
    return wide - BACK * sum(above(*two) for two in pairwise(line))


def above(s: Span, after: Span) -> bool:
    """Whether an exponent stands above the index that follows it, as in print."""
    return s.high and after.low


def _advance(c: str) -> float:
    if unicodedata.combining(c):
        return 0.0
    if unicodedata.east_asian_width(c) in "WF":
        return 1.0
    if c in NARROW:
        return 0.36
    if c in WIDE:
        return 0.9
    return 0.76 if c.isupper() else 0.56


def extent(text: Label) -> tuple[float, float]:
    """Width and height of a label."""
    return max(width(line) for line in text), LINE * len(text)
