"""Roots at which Q may be least: where priors and penalties outweigh what some data say.

What data say is the log of a density, of which every closed root is a maximum. What is added without data
(`factor 2 * a^2`) is no such thing where it lifts a power, or takes a log off a probability: the second derivative is
then looked at in each M-step.
"""

from __future__ import annotations

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr
from emdsl.derive.algebra.made import STATISTIC
from emdsl.derive.updates.quadratic import Linear
from emdsl.derive.updates.rules import Closed


def second_derivative(rule: Closed | Linear, kind: str = "real") -> Expr | None:
    """That of Q at a single root of a parameter of some kind, where it may be positive for some data; else None."""
    if isinstance(rule, Linear):
        alone = not rule.second and len(rule.columns) == 1
        curved = x.neg(rule.left[0, 0])
        return curved if alone and _lifted(curved) else None
    if len(rule.root.candidates) > 1 or rule.root.curvature is None:
        return None
    bent = [s for s in rule.functions if not isinstance(s.function, El)]
    if kind == "unit":  # the log of a probability, and of what is left of one
        weights = [x.neg(s.coefficient) for s in bent]
    else:  # over the log of the parameter a log has no bend, and powers bend up
        weights = [s.coefficient for s in bent if not (isinstance(s.function, x.Fn) and s.function.name == "log")]
    return rule.root.curvature if any(map(_lifted, weights)) else None


def _lifted(weight: Expr) -> bool:
    """Whether what a weight holds beside statistics may be above 0."""

    def sign(e: Expr) -> Expr | None:
        if isinstance(e, x.Pow) and isinstance(e.exponent, x.Num) and e.exponent.value % 2 == 0:
            return x.ONE
        return x.ZERO if isinstance(e, El) and e.var in STATISTIC else None

    added = x.rebuild(weight, sign)
    return added != x.ZERO and not x.positive(x.neg(added))
