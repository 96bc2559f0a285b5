"""What a derivation is written with: sentences and equations, gathered into steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import Expr, Ix
from emdsl.report.formula import Formula

WIDTH = 105  # of an equation in text


@dataclass(frozen=True)
class Say:
    """A sentence. Names in backticks are the user's."""

    text: str


@dataclass(frozen=True)
class Show:
    """An equation on its own line, with what it is called in the code."""

    formula: Formula
    name: str = ""


@dataclass(frozen=True)
class Step:
    """One step: its title, what is said and shown, and the same as data."""

    title: str
    body: tuple[Say | Show, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)


# Steps whose equations all have numbers; elsewhere those that the code computes have, which are called by a name.
NUMBERED = ("joint", "draws", "bound", "posterior", "statistics", "Q", "objective")


def labels(k: int, step: Step) -> list[str]:
    """The number of each line of a step, empty for those without: `4`, or `4.1`, `4.2` where there are several."""
    every = step.facts.get("kind") in NUMBERED
    chosen = [isinstance(line, Show) and (every or bool(line.name)) for line in step.body]
    out, n = [], 0
    for one in chosen:
        n += one
        out.append("" if not one else str(k) if sum(chosen) == 1 else f"{k}.{n}")
    return out


def whole(ixs: Sequence[Ix], body: Expr) -> Expr:
    """The sum of a body over indices."""
    for i in reversed(ixs):
        body = x.total(i, body)
    return body


def names_of(*names: str) -> str:
    return ", ".join(f"`{n}`" for n in names)
