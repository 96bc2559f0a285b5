"""What a compiled model tells of itself, as records: declarations, plan, updates, statistics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import sympy as sp

    from emdsl.derive.plan import Plan as Derived
    from emdsl.report.derivation import Derivation
    from emdsl.report.formula import Formula


@dataclass(frozen=True)
class Plan:
    """How the posterior of a latent is found."""

    method: str
    reason: str

    def cells(self) -> dict[str, str]:
        """What a table of such records has in its columns, after the name; for a notebook."""
        return {"found by": self.method, "because": self.reason}


@dataclass(frozen=True)
class Update:
    """How a parameter is updated; `equation` is a sympy object, `latex()` the same as the derivation has it."""

    kind: str
    equation: sp.Basic
    reason: str
    conditional_on: tuple[str, ...] = ()
    shown: Callable[[], Sequence[Formula]] = field(default=tuple, compare=False, repr=False)

    def latex(self) -> str:
        from emdsl.report.latex import together

        return together(self.shown())

    def cells(self) -> dict[str, str | Sequence[Formula]]:
        return {"updated by": self.kind, "": self.shown(), "because": self.reason}

    def _repr_latex_(self) -> str:
        return in_latex(self.latex(), self.equation)


@dataclass(frozen=True)
class Statistic:
    """An expected sufficient statistic: its symbolic definition and the names of its axes' sizes; `latex()` is the
    definition as the derivation has it."""

    name: str
    definition: sp.Basic
    shape: tuple[str, ...]
    shown: Callable[[], Sequence[Formula]] = field(default=tuple, compare=False, repr=False)

    def latex(self) -> str:
        from emdsl.report.latex import together

        return together(self.shown())

    def cells(self) -> dict[str, str | Sequence[Formula]]:
        return {"": self.shown(), "axes": ", ".join(self.shape)}

    def _repr_latex_(self) -> str:
        return in_latex(self.latex(), self.definition)


R = TypeVar("R", Plan, Update, Statistic)


class Records(dict[str, R]):
    """Records by name; a notebook shows them as a table."""

    def _repr_html_(self) -> str:
        from emdsl.report.notebook import records

        return records({name: record.cells() for name, record in self.items()})


@dataclass(frozen=True)
class Declared:
    """A declared variable: its domain and shape as the file spells them."""

    name: str
    kind: str
    domain: str
    shape: tuple[str, ...]


def updates_of(plan: Derived, told: Callable[[], Derivation]) -> dict[str, Update]:
    """How each parameter is updated, in the order in which they are declared; `told` makes the derivation."""
    from emdsl.report.equations import update_equation

    out = {}
    for u in plan.updates:
        for name in u.params:
            shown = partial(_shown, told, "update", name)
            out[name] = Update(u.kind, update_equation(u, name, plan), u.reason, u.conditional_on, shown)
    return Records({n: out[n] for n in (v.name for v in plan.joint.as_written.model.of_kind("param")) if n in out})


def statistics_of(plan: Derived, told: Callable[[], Derivation]) -> dict[str, Statistic]:
    """What the E-step hands over, by name."""
    from emdsl.report.equations import statistic_equation

    out = {}
    for s in plan.expected.statistics:
        shown = partial(_shown, told, "statistics", s.name)
        out[s.name] = Statistic(s.name, statistic_equation(s, plan), tuple(i.dim for i in s.axes), shown)
    return Records(out)


def _shown(told: Callable[[], Derivation], kind: str, name: str) -> list[Formula]:
    """The equations of one name in the derivation's steps of one kind."""
    from emdsl.report.page import shown_of

    steps = (step for step in told().steps if step.facts.get("kind") == kind)
    return [found for step in steps for found in shown_of(step, name)]


def in_latex(shown: str, equation: sp.Basic) -> str:
    """As a notebook shows it: what the derivation shows, else, of many that it tells of together, the equation."""
    from sympy import latex

    return rf"$\displaystyle {shown or latex(equation)}$"
