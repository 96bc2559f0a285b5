"""Two derivations beside each other: which steps and equations a change of the model changes.

Steps meet by their titles, then by the latents or parameters they speak of; their lines as in any comparison of texts.
Numbers alone are no difference, nor is the order of arguments and terms, the letter that stands for a long sum, or a
name that is another throughout.
"""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import takewhile
from typing import Any

from emdsl.report import formula as f
from emdsl.report.formula import Formula
from emdsl.report.html import as_typed
from emdsl.report.latex import inside
from emdsl.report.page import BESIDE, COLUMNS, SHORT, Say, Show, Step, columns_of_page, labels
from emdsl.report.unicode import lines, text
from emdsl.report.walking import rebuilt

Numbered = tuple[int, Step]


@dataclass(frozen=True)
class Line:
    """A line of one side alone: `-` of the first, `+` of the second; an equation with its number there."""

    sign: str
    line: Say | Show
    number: str


@dataclass(frozen=True)
class Change:
    """A step that is not the same: its number on each side (None where it is not), and the lines that differ."""

    title: str
    numbers: tuple[int | None, int | None]
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Difference:
    """What changes from one derivation to another; `model` are the lines of the models' texts that differ."""

    model: tuple[tuple[str, str], ...]
    changes: tuple[Change, ...]
    same: tuple[str, ...]  # titles of the steps without a change
    names: tuple[tuple[str, str], ...] = ()  # where nothing but names differ: the first's, the second's

    def __str__(self) -> str:
        return self.to_text()

    def to_text(self, columns: int = COLUMNS) -> str:
        """Plain text for a page of so many columns."""
        columns_of_page(columns)
        if not self.changes:
            but = ", ".join(f"{old} is {new}" for old, new in self.names)
            return f"The derivations are the same{f', but for names: {but}' if but else ''}."
        out = ["The model", *(f"  {sign} {line}" for sign, line in self.model), ""] if self.model else []
        for c in self.changes:
            out.append(f"{_number(c.numbers)} {c.title.replace('`', '')}")
            for found in c.lines:
                out += _plain(found, columns - BESIDE)
            out.append("")
        if self.same:
            same = "; ".join(t.replace("`", "") for t in self.same)
            out += textwrap.wrap(f"The same: {same}.", columns - BESIDE + 8)
        return "\n".join(out).rstrip()

    def _repr_html_(self) -> str:
        return as_typed(str(self))

    def to_dict(self) -> dict[str, Any]:
        """The same as data."""
        return {
            "model": [{"sign": sign, "text": line} for sign, line in self.model],
            "changes": [
                {
                    "title": c.title.replace("`", ""),
                    "numbers": list(c.numbers),
                    "lines": [{"sign": found.sign, **_data(found)} for found in c.lines],
                }
                for c in self.changes
            ],
            "same": [t.replace("`", "") for t in self.same],
            "names": [{"old": old, "new": new} for old, new in self.names],
        }


def difference(steps: tuple[Sequence[Step], Sequence[Step]], sources: tuple[str, str]) -> Difference:
    """What changes from the first of two derivations to the second, each its steps and its model's text."""
    names = _renamed(*sources)
    if names:
        return Difference(tuple(_texts(*sources)), (), tuple(s.title for s in steps[1]), names)
    changes, same = [], []
    for one, other in _met(*steps):
        found = tuple(_lines(one, other))
        if one is not None and other is not None and not found:
            same.append(other[1].title)
            continue
        shown = other if other is not None else one
        assert shown is not None
        numbers = (None if one is None else one[0], None if other is None else other[0])
        changes.append(Change(shown[1].title, numbers, found))
    return Difference(tuple(_texts(*sources)), tuple(changes), tuple(same))


def _met(old: Sequence[Step], new: Sequence[Step]) -> list[tuple[Numbered | None, Numbered | None]]:
    """Steps in pairs, in the order of the second; one that the second lacks stands after what it followed."""
    left = dict(enumerate(old, 1))
    pairs: dict[int, int] = {}  # of the second's numbers to the first's
    for alike in (lambda a, b: a.title == b.title, _shares):
        for k, step in enumerate(new, 1):
            found = next((n for n, s in left.items() if n not in pairs.values() and alike(s, step)), None)
            if k not in pairs and found is not None:
                pairs[k] = found
    gone = [n for n in left if n not in pairs.values()]
    out: list[tuple[Numbered | None, Numbered | None]] = []
    for k, step in enumerate(new, 1):
        n = pairs.get(k)
        while gone and n is not None and gone[0] < n:
            out.append(((gone[0], left[gone[0]]), None))
            gone.pop(0)
        out.append((None if n is None else (n, left[n]), (k, step)))
    return out + [((n, left[n]), None) for n in gone]


def _shares(a: Step, b: Step) -> bool:
    """Whether two steps of one kind speak of a latent or parameter that is the same, or of none: there is one."""
    if a.facts.get("kind") == b.facts.get("kind") in ("statistics", "Q"):
        return True
    names = [set(s.facts.get("parameters", ())) | set(s.facts.get("latents", ())) for s in (a, b)]
    return a.facts.get("kind") == b.facts.get("kind") and bool(names[0] & names[1])


def _lines(one: Numbered | None, other: Numbered | None) -> Iterator[Line]:
    """The lines that one side has alone, in order, those of the first before those of the second; what only stands
    elsewhere is of both."""
    a, b = _keyed(one), _keyed(other)
    steps = SequenceMatcher(None, [t for t, _ in a], [t for t, _ in b], autojunk=False).get_opcodes()
    gone = Counter(t for kind, i, j, *_ in steps if kind != "equal" for t, _ in a[i:j])
    come = Counter(t for kind, _, _, k, m in steps if kind != "equal" for t, _ in b[k:m])
    moved = {"-": gone & come, "+": gone & come}  # each as often as it is on both sides

    def alone(sign: str, t: str) -> bool:
        stays = moved[sign][t] > 0
        moved[sign][t] -= stays
        return not stays

    for kind, i, j, k, m in steps:
        if kind != "equal":
            yield from (Line("-", line, label) for t, (line, label) in a[i:j] if alone("-", t))
            yield from (Line("+", line, label) for t, (line, label) in b[k:m] if alone("+", t))


def _keyed(step: Numbered | None) -> list[tuple[str, tuple[Say | Show, str]]]:
    """The lines of a step by what they say, which the numbers have no part in."""
    if step is None:
        return []
    letters = _letters(step[1])

    def said(line: Say | Show) -> str:
        return _in_one_order(line.text) if isinstance(line, Say) else text(_sorted(rebuilt(line.formula, letters.get)))

    return [(said(line), (line, label)) for line, label in zip(step[1].body, labels(*step), strict=True)]


def _letters(step: Step) -> dict[Formula, Formula | None]:
    """What the letters that stand for long sums are called in a comparison: by their order."""
    if SHORT not in step.body:
        return {}
    after = step.body[step.body.index(SHORT) + 1 :]
    meant = (e.formula for e in takewhile(lambda e: isinstance(e, Show), after) if isinstance(e, Show))
    names = (e.left.base if isinstance(e.left, f.At) else e.left for e in meant if isinstance(e, f.Relation))
    return {name: f.Name(f"letter {n}") for n, name in enumerate(names)}


def _sorted(e: Formula) -> Formula:
    """The formula with the terms of sums, and what densities and Q are of, in one order."""

    def step(p: Formula) -> Formula | None:
        match p:
            case f.Plus(terms):
                inner = ((minus, _sorted(t)) for minus, t in terms)
                return f.Plus(tuple(sorted(inner, key=lambda t: (t[0], text(t[1])))))
            case f.Apply(f.Word("p" | "Q") as of, (f.Relation("|", a, b),)):
                return f.Apply(of, (f.Relation("|", _listed(a), _listed(b)),))
            case f.Apply(f.Word("p" | "Q") as of, arguments):
                return f.Apply(of, tuple(sorted(map(_listed, arguments), key=text)))
        return None

    return rebuilt(e, step)


def _listed(e: Formula) -> Formula:
    return f.Listed(tuple(sorted(e.items, key=text))) if isinstance(e, f.Listed) else e


DECLARED = (
    r"\b(?:param|latent|observed|given|let|size|model|family)\s+([^\W\d]\w*'*)",
    r"\bfor\s+([^\W\d]\w*'*)\s+in\b",
    r"\bin\s+([^\W\d]\w*'*)(?!\s*\()",
    r"[\[,]\s*([^\W\d]\w*'*)\s*(?=[\],])",  # a size
)


def _renamed(old: str, new: str) -> tuple[tuple[str, str], ...]:
    """The names that are others in two texts that are the same besides, comments and spaces apart: those that the
    models declare, not families, domains or functions of the language."""
    texts = [re.sub(r"#.*", "", s.strip()) for s in (old, new)]
    sides = [re.findall(r"[^\W\d]\w*'*|\d[\w.]*|\n\s*|[^\w\s]", s) for s in texts]
    if len(sides[0]) != len(sides[1]):
        return ()
    pairs = dict.fromkeys((a, b) for a, b in zip(*sides, strict=True) if a != b)
    own = [{n for pattern in DECLARED for n in re.findall(pattern, s)} for s in texts]
    words = all(a in own[0] and b in own[1] for a, b in pairs)
    known = {t for side in sides for t in side} - {n for pair in pairs for n in pair}
    apart = len({a for a, _ in pairs}) == len({b for _, b in pairs}) == len(pairs)
    moved = all(a not in sides[1] and b not in sides[0] for a, b in pairs)  # each wherever it stands
    return (
        tuple(pairs) if pairs and words and apart and moved and not known & {n for pair in pairs for n in pair} else ()
    )


def _in_one_order(said: str) -> str:
    """The same for sentences in whatever order: signs are explained as they are met."""
    return " ".join(sorted(s.rstrip(".") for s in said.split(". ")))


def _texts(old: str, new: str) -> Iterator[tuple[str, str]]:
    """The lines of two models that differ."""
    a, b = ([line.rstrip() for line in s.strip().splitlines()] for s in (old, new))
    for kind, i, j, k, m in SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        if kind != "equal":
            yield from (("-", line) for line in a[i:j] if line)
            yield from (("+", line) for line in b[k:m] if line)


def _number(numbers: tuple[int | None, int | None]) -> str:
    """`7.` where both sides have it so, else `7 → 8.`; a step that one side lacks has a dash there."""
    old, new = ("–" if n is None else str(n) for n in numbers)
    return f"{new}." if old == new else f"{old} → {new}."


def _plain(found: Line, wide: int) -> list[str]:
    if isinstance(found.line, Say):
        first, later = f"  {found.sign} ", f"  {found.sign} "
        told = found.line.text.replace("`", "")
        return textwrap.wrap(told, wide + 8, initial_indent=first, subsequent_indent=later, break_on_hyphens=False)
    number = f"  ({found.number})" if found.number else ""
    *rows, last = lines(found.line.formula, wide)
    return [f"  {found.sign}     {row}" for row in (*rows, last + number)]


def _data(found: Line) -> dict[str, str]:
    if isinstance(found.line, Say):
        return {"say": found.line.text.replace("`", "")}
    number = {"number": found.number} if found.number else {}
    return {"text": text(found.line.formula), "latex": inside(found.line.formula), **number}
