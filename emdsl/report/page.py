"""What a derivation is written with: sentences and equations, gathered into steps."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import Any

from emdsl.errors import DataError, Problem
from emdsl.report.formula import Formula, Name
from emdsl.report.html import in_a_cell, step_html
from emdsl.report.latex import inside
from emdsl.report.mathml import mathml
from emdsl.report.walking import distinct

NARROWEST = 40  # columns of a page of text
COLUMNS = 100  # of a page of text, where nothing says how wide it is
SENTENCE = 105  # columns of a sentence at most, its margin among them
BESIDE = 15  # columns that an equation leaves: the margin before it and its number after it
FUNCTIONS = ("log", "exp", "sqrt")  # no word at the start of a sentence


def columns_of_page(columns: Any) -> int:
    """How wide a page is asked to be; else DataError."""
    if not isinstance(columns, int) or not NARROWEST <= columns <= sys.maxsize:
        told = columns if isinstance(columns, int) and abs(columns) < NARROWEST else type(columns).__name__
        raise DataError(Problem("D016", f"columns must be a whole number, {NARROWEST} or more, not {told}"))
    return columns


@dataclass(frozen=True)
class Say:
    """A sentence. Names in backticks are the user's; of a reason of the plan's, all letters are."""

    text: str
    reason: bool = False


@dataclass(frozen=True)
class Show:
    """An equation on its own line, with what it is called in the code; `of` a parameter, in terms of the data.

    `part` is which of the parts of its step it belongs to, where these have numbers that the code prints too.
    """

    formula: Formula
    name: str = ""
    of: str = ""
    part: str = ""

    def _repr_html_(self) -> str:
        return mathml(self.formula)

    def _repr_latex_(self) -> str:
        return rf"$\displaystyle {inside(self.formula)}$"


@dataclass(frozen=True)
class Step:
    """One step: its title, what is said and shown, and the same as data."""

    title: str
    body: tuple[Say | Show, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)
    parts: tuple[str, ...] = ()  # that have a number each, in order

    def html(
        self, k: int = 0, where: str = "", linked: bool = False, names: Collection[str] | None = None
    ) -> Iterator[str]:
        """Its lines in HTML, numbered where it has a number itself; `names` are the model's, else those it shows."""
        numbers = labels(k, self) if k else [""] * len(self.body)
        both = zip(self.body, numbers, strict=True)
        lines = ((e.text, "", "") if isinstance(e, Say) else (e.formula, e.name, n) for e, n in both)
        return step_html(
            self.title,
            self.facts.get("code", ""),
            lines,
            k,
            where,
            linked,
            shown_names([self]) if names is None else names,
        )

    def _repr_html_(self) -> str:
        return in_a_cell(self.html())


def shown_names(steps: Iterable[Step]) -> frozenset[str]:
    """The names that stand in the equations of steps."""
    shown = tuple(e.formula for step in steps for e in step.body if isinstance(e, Show))
    return frozenset(p.text for p in distinct(shown) if isinstance(p, Name))


def in_part(part: str, lines: Iterable[Say | Show]) -> Iterator[Say | Show]:
    """Lines of which each equation belongs to a part, where none of its own is told."""
    return (replace(e, part=e.part or part) if isinstance(e, Show) else e for e in lines)


# Steps whose equations all have numbers; elsewhere those that the code computes have, which are called by a name.
NUMBERED = ("joint", "draws", "bound", "posterior", "Q", "objective", "missing")


def labels(k: int, step: Step) -> list[str]:
    """The number of each line of a step, empty for those without: `4`, or `4.1`, `4.2` where there are several.

    Of a step in parts each part has a number, and its lines letters where there are several: `4.2a`, `4.2b`.
    """
    every = step.facts.get("kind") in NUMBERED
    chosen = [line for line in step.body if isinstance(line, Show) and (every or line.name or line.part)]
    if len(step.parts) < 2:
        found = [str(k)] if len(chosen) == 1 else [f"{k}.{n}" for n in range(1, len(chosen) + 1)]
    else:
        found = _by_part(k, step.parts, [line.part or line.name for line in chosen])
    numbers = iter(found)
    return [next(numbers) if isinstance(line, Show) and (every or line.name or line.part) else "" for line in step.body]


def _by_part(k: int, parts: Sequence[str], lines: Sequence[str]) -> list[str]:
    order = [*parts, *dict.fromkeys(p for p in lines if p not in parts)]
    out = []
    for n, part in enumerate(lines):
        letter = _letter(lines[:n].count(part)) if lines.count(part) > 1 else ""
        out.append(f"{k}.{1 + order.index(part)}{letter}")
    return out


def _letter(n: int) -> str:
    """`a` to `z`, then `aa`."""
    return chr(ord("a") + n) if n < 26 else _letter(n // 26 - 1) + _letter(n % 26)


SHORT = Say("For short, let")
THEN = Say("Then")


def shown_of(step: Step, name: str) -> list[Formula]:
    """The equations of a name alone: in terms of the data where they are, else those of the code, with the letters that
    stand for long sums."""
    shown = [e for e in step.body if isinstance(e, Show)]
    if own := [e.formula for e in shown if e.of == name]:
        return own
    found = [e.formula for e in shown if e.name == name]
    if not found or SHORT not in step.body:
        return found
    letters = takewhile(lambda e: isinstance(e, Show), step.body[step.body.index(SHORT) + 1 :])
    return [*(e.formula for e in letters if isinstance(e, Show)), *found]


CODED = (
    ("log Gamma(", "log Γ("),
    ("log I0(", "log I₀("),
    ("log Phi(", "log Φ("),
    (">=", "≥"),
    ("<=", "≤"),
    ("^2", "²"),
)


def worded(text: str) -> str:
    """A reason as a sentence has it: the signs of mathematics for the letters that stand for them."""
    for code, sign in CODED:
        text = text.replace(code, sign)
    text = re.sub(r"\[\((\w+ [-+] \d+)\)\]", r"[\1]", text)  # `y[t - 1]`
    text = re.sub(r"\blog\((\w+(\[[\w, ]*\])?)\)(?=[,.;]|$)", r"log \1", text)
    text = re.sub(r"\binv\((\w+(?:\[[^()]*\])?)\)", r"\1⁻¹", text)
    text = re.sub(r"\blogdet\((\w+)\[[^],]+, [^],]+\]\)", r"logdet(\1)", text)  # by its element, of a matrix
    text = re.sub(r"(?<![\w./])1/([24]) (?=\w)", lambda m: {"2": "½ ", "4": "¼ "}[m[1]], text)
    return re.sub(r"\bsum_(\w+'*) ", r"Σ_\1 ", text)


def sentence(text: str) -> str:
    """The same with a capital letter, but for a sentence that starts with mathematics, and a full stop."""
    text = worded(text)
    first = text.split(" ")[0]
    plain = first.isalpha() and first not in FUNCTIONS
    return (text[:1].upper() + text[1:] if plain else text) + ("" if text.endswith(".") else ".")


def names_of(*names: str) -> str:
    return ", ".join(f"`{n}`" for n in names)
