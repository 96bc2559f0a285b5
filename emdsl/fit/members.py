"""What a compiled model tells of itself, as records: declarations, plan, updates, statistics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sympy as sp


@dataclass(frozen=True)
class Plan:
    """How the posterior of a latent is found."""

    method: str
    reason: str


@dataclass(frozen=True)
class Update:
    """How a parameter is updated; `equation` is a sympy object, `latex()` the same as the derivation has it."""

    kind: str
    equation: sp.Basic
    reason: str
    conditional_on: tuple[str, ...] = ()
    latex: Callable[[], str] = field(default=str, compare=False, repr=False)

    def _repr_latex_(self) -> str:
        return in_latex(self.latex(), self.equation)


@dataclass(frozen=True)
class Statistic:
    """An expected sufficient statistic: its symbolic definition and the names of its axes' sizes; `latex()` is the
    definition as the derivation has it."""

    name: str
    definition: sp.Basic
    shape: tuple[str, ...]
    latex: Callable[[], str] = field(default=str, compare=False, repr=False)

    def _repr_latex_(self) -> str:
        return in_latex(self.latex(), self.definition)


@dataclass(frozen=True)
class Declared:
    """A declared variable: its domain and shape as the file spells them."""

    name: str
    kind: str
    domain: str
    shape: tuple[str, ...]


def in_latex(shown: str, equation: sp.Basic) -> str:
    """As a notebook shows it: what the derivation shows, else, of many that it tells of together, the equation."""
    from sympy import latex

    return rf"$\displaystyle {shown or latex(equation)}$"
