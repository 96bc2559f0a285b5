"""The rules for parameters as records: what an M-step evaluates, and how it is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import Expr, Ix
from emdsl.derive.algebra.scalars import Root
from emdsl.derive.joint.coefficients import Scalar
from emdsl.derive.joint.terms import Term
from emdsl.derive.updates.components import components
from emdsl.derive.updates.curvature import Curvature
from emdsl.derive.updates.medians import Distances
from emdsl.derive.updates.newton import Newton, Together
from emdsl.derive.updates.quadratic import Linear


@dataclass(frozen=True)
class Simplex:
    """p = c / sum c, for Q = sum c_k log p_k (Lagrange)."""

    counts: Expr
    axes: tuple[Ix, ...]


@dataclass(frozen=True)
class Spread:
    """Q = a logdet V + <C, inv V> (or <C, V> where the parameter is a precision): V = C / a, or inv(-C / a)."""

    weight: Expr
    scatter: Expr
    axes: tuple[Ix, ...]
    precision: bool


@dataclass(frozen=True)
class Closed:
    """The root(s) of the score of one scalar, elementwise over the axes."""

    root: Root
    axes: tuple[Ix, ...]
    functions: tuple[Scalar, ...]


@dataclass(frozen=True)
class Numeric:
    """Raised in unconstrained coordinates: Newton where the Hessian is known, else quasi-Newton by the gradient."""

    terms: tuple[Term, ...]
    data: bool = False  # some terms need a pass over the data
    mixed: tuple[Term, ...] = ()  # these
    medians: tuple[Distances, ...] = ()  # not climbed: these terms are distances, and their weighted median is found
    hessian: Curvature | None = None
    likelihood: bool = False  # not Q, whose slope is the likelihood's: each value takes an E-step
    beside: tuple[str, ...] = ()  # parameters with M-steps of their own, that climb the likelihood with these

    @property
    def whole(self) -> tuple[Term, ...]:
        """All terms that hold the parameters."""
        return (*self.terms, *self.mixed)


Rule = Simplex | Spread | Closed | Newton | Together | Numeric | Linear


@dataclass(frozen=True)
class Update:
    """How some parameters are updated together. `kind` is INTERFACE's word for it."""

    params: tuple[str, ...]
    kind: str
    rule: Rule
    reason: str
    conditional_on: tuple[str, ...] = ()

    @property
    def depends(self) -> frozenset[str]:
        return _parameters_in(self.rule)


def _parameters_in(rule: Rule) -> frozenset[str]:
    match rule:
        case Simplex():
            parts: Sequence[Expr] = (rule.counts,)
        case Spread():
            parts = (rule.weight, rule.scatter)
        case Closed():
            parts = rule.root.candidates
        case Newton():
            parts = (rule.value, rule.score, rule.curvature)
        case Together():
            parts = rule.parts
        case Linear():
            return rule.parameters()
        case Numeric():
            parts = tuple(f for t in rule.whole for f in t.factors)
        case _:
            assert_never(rule)
    return frozenset(n for e in parts for n in x.variables(e))


def need_each_other(a: Update, b: Update) -> bool:
    return bool(a.depends & set(b.params) and b.depends & set(a.params))


def tied(groups: Sequence[Update]) -> list[list[Update]]:
    """Groups that need each other, directly or through others; those that need nobody left out."""
    reads = [u.depends for u in groups]
    own = {n: k for k, u in enumerate(groups) for n in u.params}
    needs = [
        sorted({k for n in mine if (k := own.get(n, at)) != at and reads[k] & set(groups[at].params)})
        for at, mine in enumerate(reads)
    ]
    return [[groups[k] for k in members] for members in components(needs) if len(members) > 1]
