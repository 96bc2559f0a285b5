"""Parameters that the complete data say without error: the likelihood itself is climbed, by the slope of Q.

    d log p(y) / d v  =  sum of E[T] d eta / d v

T holds products of multipliers, eta what stands in constraints: Q is linear in v, and has no maximum.
"""

from __future__ import annotations

from collections.abc import Sequence

from emdsl.derive.algebra import expr as x
from emdsl.derive.joint.terms import Term
from emdsl.derive.updates.rules import Numeric, Update
from emdsl.errors import ModelError, Problem
from emdsl.language import model as m


def climbs_likelihood(u: Update) -> bool:
    return isinstance(u.rule, Numeric) and u.rule.likelihood


def of_likelihood(names: tuple[str, ...], others: tuple[str, ...], every: Sequence[Term]) -> Update:
    """The update of `names`, with all others beside them: one after the other they would crawl along ridges."""
    reason = (
        "Q is linear in what has no noise, with no maximum; quasi-Newton on the log-likelihood itself, whose slope "
    )
    reason += "is that of Q, each value by an E-step (ECME)"
    if others:
        reason += f", together with {', '.join(others)} from where their own steps end"
    mine = {*names, *others}
    held = tuple(t for t in every if any(mine & x.variables(f) for f in t.factors))
    return Update(names, "gradient", Numeric(held, True, likelihood=True, beside=others), reason)


def both(v: m.Variable, model: m.ModelText) -> ModelError:
    """What is said where others need passes over the data."""
    text = f"{v.name} stands where there is no noise, beside parameters whose M-step passes over the data"
    hint = "make it given, or give that part a noise (`diag([q, r])`, `Normal(value, sd)`)"
    return ModelError(Problem("E113", text, v.span, hint), model.source)
