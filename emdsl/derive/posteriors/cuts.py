"""A latent that is seen by its sign, an interval, how many thresholds it passes, or itself: a truncated posterior.

Something seen itself (in some rows: the uncensored ones) is an interval of no length, at which it has its density.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr
from emdsl.derive.joint.factors import LogJoint
from emdsl.derive.joint.gated_sums import UnderSum
from emdsl.derive.joint.records import Posterior
from emdsl.derive.joint.terms import Term
from emdsl.derive.posteriors.preimages import Interval, bounded, chosen, extreme, interval
from emdsl.errors import Problem

CUT_NORMAL = Posterior("Normal", "cut_normal_posterior", ("id", "square", "var"), (0.0, -1.0))
CUT_FIELDS = ("id", "square", "lower", "upper")  # what a cut Gaussian is drawn by
LIMITED = frozenset(("gt", "ge", "lt", "le", "min", "max"))
PARTED_NORMAL = Posterior("Normal", "parted_normal_posterior", ("id", "square"), (0.0, -1.0))
DENSITIES = {
    CUT_NORMAL: replace(CUT_NORMAL, kernel="cut_normal_density"),
    PARTED_NORMAL: replace(PARTED_NORMAL, kernel="parted_normal_density"),
}  # where the Gaussian is the latent's own density alone, its constants with it


@dataclass(frozen=True)
class Cut:
    """Where a latent is known to lie: above `lower` and below `upper` wherever `mask` is not 0. None is no bound.

    `apart`: where the lower one is the larger, it lies above that or below the other (an interval that it was seen
    to be outside of).
    """

    mask: Expr
    lower: Expr | None
    upper: Expr | None
    apart: bool = False


def cut_of(t: Term, name: str) -> Cut | None:
    """The interval that a placed term `mask log([...])` leaves to a latent, where it is one."""
    mine = [f for f in t.factors if name in x.variables(f)]
    if len(mine) != 1 or not isinstance(mine[0], x.Fn) or mine[0].name != "log":
        return None
    leaves = {e for e in x.walk(mine[0]) if isinstance(e, El) and e.var == name}
    if len(leaves) != 1:
        return None
    leaf = leaves.pop()
    rest = x.mul(*(f for f in t.factors if f is not mine[0]))
    found = interval(mine[0].args[0], leaf)
    if found is None:
        found = _outside(mine[0].args[0], leaf)
        return None if found is None else Cut(rest, *found, apart=True)
    return Cut(rest, *found)


def _outside(e: Expr, leaf: El) -> Interval | None:
    """`seen == (a < u and u < b)`: between a and b, or, the ends exchanged, above b or below a."""
    match e:
        case x.Fn("eq", (a, b)):
            seen, condition = (a, b) if leaf.var not in x.variables(a) else (b, a)
            inside = interval(condition, leaf)
            if inside is not None and leaf.var not in x.variables(seen):
                low, high = inside
                if low is not None and high is not None:
                    return chosen(x.fn("ne", seen, x.ZERO), inside, (high, low))
    return None


def bounds_of(cuts: Sequence[Cut]) -> tuple[Expr, Expr]:
    """The largest lower and the least upper bound of several cuts, infinite where there is none."""
    lower = [_where_seen(c, c.lower, -math.inf) for c in cuts if c.lower is not None]
    upper = [_where_seen(c, c.upper, math.inf) for c in cuts if c.upper is not None]
    return bounded((extreme("max", *lower), extreme("min", *upper)))


def _where_seen(c: Cut, end: Expr, none: float) -> Expr:
    return x.Where(x.fn("gt", c.mask, x.ZERO), end, x.Num(none))


def refuse_cuts_at_parameters(joint: LogJoint) -> None:
    """Raises `UnderSum` where a parameter decides which values of a latent are seen as what: Q has no slope in it."""
    params = {v.name for v in joint.model.of_kind("param")}
    latent = {v.name for v in joint.model.of_kind("latent")} - joint.discrete
    for f in joint.factors:
        for e in x.walk(f.body):
            if not isinstance(e, x.Fn) or e.name != "log":
                continue
            for c in x.walk(e):
                held = x.variables(c) if isinstance(c, x.Fn) and c.name in LIMITED else frozenset()
                if held & params and held & latent:
                    p, u = min(held & params), min(held & latent)
                    text = f"the parameter {p} decides where {u} is cut: given {u}, the likelihood has no slope in it"
                    hint = f"compare {u} with a number, and give {u} a mean that holds {p}"
                    over = {s.ix.dim for s in x.walk(e) if isinstance(s, x.Sum) and c in x.walk(s.body)}
                    raise UnderSum([Problem("E105", text, f.span, hint)], joint.model.source, over)
