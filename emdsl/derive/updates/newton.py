"""Newton's method for parameters without a closed form: what of Q it needs, differentiated by sympy.

Where Q is a sum over elements of one function of each, every element is a problem of its own: of one
number, or of a few that meet (a Beta's a and b).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr, Ix
from emdsl.derive.algebra.scalars import derivatives, second_order
from emdsl.derive.joint.coefficients import about, axes_of, per_element
from emdsl.derive.joint.terms import Term
from emdsl.derive.updates.statistics import Expected
from emdsl.language import model as m


@dataclass(frozen=True)
class Newton:
    """Newton with step-halving on Q as a function of one element, sympy's first and second derivative.

    `inside` are partners replaced by their closed forms: then all three are of the profile.
    """

    leaf: El
    axes: tuple[Ix, ...]
    value: Expr
    score: Expr
    curvature: Expr
    inside: tuple[str, ...] = ()


@dataclass(frozen=True)
class Together:
    """The same for a few elements that meet: Q there, its slopes and its Hessian (`hessian[i][j]`, j >= i)."""

    leaves: tuple[El, ...]
    axes: tuple[Ix, ...]
    value: Expr
    slopes: tuple[Expr, ...]
    hessian: tuple[tuple[Expr, ...], ...]

    @property
    def parts(self) -> tuple[Expr, ...]:
        """All that is evaluated, in the order in which modules have it."""
        return (self.value, *self.slopes, *(e for row in self.hessian for e in row))


MOST_TOGETHER = 48  # parameters by name whose second derivatives, one for each pair, are written out


def alone(leaf: El, axes: tuple[Ix, ...], value: Expr) -> Newton | None:
    """The rule for one parameter, all others held."""
    found = derivatives(leaf, value)
    return None if found is None else Newton(leaf, axes, found[0], found[1], found[2])


def together(variables: Sequence[m.Variable], q: Expected, every: Sequence[Term]) -> Together | None:
    """The rule for several parameters of one shape; None where their elements do not stand apart."""
    shapes = {tuple(map(str, v.shape)) for v in variables}
    plain = all(v.domain.interval for v in variables)
    if len(variables) > MOST_TOGETHER or len(shapes) != 1 or not plain:
        return None
    axes, names = axes_of(variables[0]), frozenset(v.name for v in variables)
    value = per_element(about(every, names, q.symmetry), names, axes)
    if value is None:
        return None
    found = {e.var: e for e in x.walk(value) if isinstance(e, El) and e.var in names}
    leaves = tuple(found[v.name] for v in variables if v.name in found)
    orders = second_order(leaves, value) if len(leaves) == len(variables) else None
    return None if orders is None else Together(leaves, axes, value, *orders)
