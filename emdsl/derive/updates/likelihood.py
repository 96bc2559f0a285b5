"""Parameters in which Q has no maximum, or not that of an integral: the likelihood itself is climbed, by Q's slope.

    d log p(y) / d v  =  sum of E[T] d eta / d v

What the complete data say without error: T holds products of multipliers, eta what stands in constraints, so that Q is
linear in v. What moves kinks of a latent at points: between them Q is not the integral's, at the E-step's own v it is.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.made import AT
from emdsl.derive.joint.terms import Term
from emdsl.derive.posteriors.kinks import JUMPING, KINKED
from emdsl.derive.updates.rules import Numeric, Update
from emdsl.derive.updates.statistics import Expected, drop_presence


def climbs_likelihood(u: Update) -> bool:
    return isinstance(u.rule, Numeric) and u.rule.likelihood


def bent(q: Expected, names: Collection[str], followed: Collection[str]) -> tuple[str, ...]:
    """Parameters that move kinks of the density of a latent at points, whose integral `followed` these: Q at the points
    has a kink at each, and its maximum is one of them."""
    inside = (f for mx in q.mixed for e in mx.term.factors for f in x.walk(e)
              if isinstance(f, x.Fn) and f.name in (*KINKED, *JUMPING))  # fmt: skip
    moved = {n for f in inside if not x.variables(f).isdisjoint(map(AT.of, followed)) for n in x.variables(f)}
    return tuple(n for n in names if n in moved)


def of_likelihood(
    names: tuple[str, ...], others: tuple[str, ...], every: Sequence[Term], mixed: Sequence[Term], moved: Sequence[str]
) -> Update:
    """The update of `names`, with all others beside them: one after the other they would crawl along ridges.

    moved : those of them that move kinks between points; `mixed`: terms that need a pass over the data.
    """
    reason = "Q is linear in what has no noise, with no maximum"
    if moved:
        reason = f"with points held Q has a kink in {', '.join(moved)} at each of them, and would be greatest at one"
    reason += "; quasi-Newton on the log-likelihood itself, whose slope is that of Q, each value by an E-step (ECME)"
    if others:
        reason += f", together with {', '.join(others)} from where their own steps end"
    mine = {*names, *others}
    whole = (every, tuple(map(sized, mixed)))
    held, rows = (tuple(t for t in ts if any(mine & x.variables(f) for f in t.factors)) for ts in whole)
    return Update(names, "gradient", Numeric(held, True, rows, likelihood=True, beside=others), reason)


def sized(t: Term) -> Term:
    """A term with the lengths of the indices that nothing carries, without what says which data are there."""
    carried = {i for e in t.factors for i in x.free(e)}
    sizes = tuple(x.extent(i) for i in t.ixs if i not in carried)
    factors, _ = drop_presence((*t.factors, *sizes))
    return Term(t.coef, (), factors, tuple(i for i in t.ixs if i in carried))
