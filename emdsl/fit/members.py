"""What a compiled model tells of itself, as records: declarations, plan, updates, statistics."""

from __future__ import annotations

from dataclasses import dataclass
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
    """How a parameter is updated; `equation` is a sympy object."""

    kind: str
    equation: sp.Basic
    reason: str
    conditional_on: tuple[str, ...] = ()

    def _repr_latex_(self) -> str:
        return in_latex(self.equation)


@dataclass(frozen=True)
class Statistic:
    """An expected sufficient statistic: its symbolic definition and the names of its axes' sizes."""

    name: str
    definition: sp.Basic
    shape: tuple[str, ...]

    def _repr_latex_(self) -> str:
        return in_latex(self.definition)


@dataclass(frozen=True)
class Declared:
    """A declared variable: its domain and shape as the file spells them."""

    name: str
    kind: str
    domain: str
    shape: tuple[str, ...]


def in_latex(equation: sp.Basic) -> str:
    """As a notebook shows it."""
    from sympy import IndexedBase, Symbol, latex

    from emdsl.report.latex import named

    symbols = {*equation.atoms(Symbol), *(b.label for b in equation.atoms(IndexedBase))}
    return rf"$\displaystyle {latex(equation, symbol_names={s: named(s.name) for s in symbols})}$"
