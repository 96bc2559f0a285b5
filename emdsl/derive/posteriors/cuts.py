"""A latent that is seen by its sign, an interval, how many thresholds it passes, or itself: a truncated posterior.

Something seen itself (in some rows: the uncensored ones) is an interval of no length, at which it has its density.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr
from emdsl.derive.joint.factors import LogJoint
from emdsl.derive.joint.records import Posterior
from emdsl.derive.joint.terms import Term
from emdsl.errors import ModelError, Problem

CUT_NORMAL = Posterior("Normal", "cut_normal_posterior", ("id", "square"), (0.0, -1.0))
CUT_FIELDS = ("mean", "var", "lower", "upper")  # what a cut Gaussian is drawn by
PARTED_NORMAL = Posterior("Normal", "parted_normal_posterior", ("id", "square"), (0.0, -1.0))


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
    found = _interval(mine[0].args[0], leaf)
    if found is None:
        found = _outside(mine[0].args[0], leaf)
        return None if found is None else Cut(rest, *found, apart=True)
    return Cut(rest, *found)


def _outside(e: Expr, leaf: El) -> Interval | None:
    """`seen == (a < u and u < b)`: between a and b, or, the ends exchanged, above b or below a."""
    match e:
        case x.Fn("eq", (a, b)):
            seen, condition = (a, b) if leaf.var not in x.variables(a) else (b, a)
            inside = _interval(condition, leaf)
            if inside is not None and leaf.var not in x.variables(seen):
                low, high = inside
                if low is not None and high is not None:
                    return _either(seen, low, high, -math.inf), _either(seen, high, low, math.inf)
    return None


Interval = tuple[Expr | None, Expr | None]


def _interval(e: Expr, leaf: El) -> Interval | None:
    """(lower, upper) of the numbers at which a condition on one element holds."""
    match e:
        case x.Fn("gt" | "ge" | "lt" | "le" as op, (a, b)):
            above = op in ("gt", "ge")
            if leaf.var in x.variables(a):
                return _half_line(a, b, above, leaf)
            return _half_line(b, a, not above, leaf)
        case x.Fn("and", (a, b)):
            one, two = _interval(a, leaf), _interval(b, leaf)
            if one is not None and two is not None:
                (low, high), (other, least) = one, two
                return _extreme("max", low, other), _extreme("min", high, least)
        case x.Fn("not", (a,)):
            return _opposite(_interval(a, leaf))
        case x.Add((x.Num(one), t)) | x.Add((t, x.Num(one))) if one == 1 and x.split_number(t)[0] == -1:
            return _opposite(_interval(x.split_number(t)[1], leaf))
        case x.Fn("eq", (a, b)):
            seen, condition = (a, b) if leaf.var not in x.variables(a) else (b, a)
            itself = _solved(condition, seen, leaf)
            if itself is not None and abs(itself[1]) == 1:  # another number would stretch the density of what is seen
                return itself[0], itself[0]
            if isinstance(condition, x.Add):
                return _counted(seen, condition, leaf) if leaf.var not in x.variables(seen) else None
            inside = _interval(condition, leaf)
            outside = _opposite(inside)
            if inside is not None and outside is not None and leaf.var not in x.variables(seen):
                low, high = inside
                other, least = outside
                return _either(seen, low, other, -math.inf), _either(seen, high, least, math.inf)
    return None


def _half_line(held: Expr, limit: Expr, above: bool, leaf: El) -> Interval | None:
    """The numbers at which `c u + d`, c a number, is above (or below) a limit; `abs(u) < b` is an interval."""
    if isinstance(held, x.Fn) and held.name == "abs" and held.args[0] == leaf and not above:
        return (x.neg(limit), limit) if leaf.var not in x.variables(limit) else None
    found = _solved(held, limit, leaf)
    if found is None:
        return None
    bound, number = found
    return (bound, None) if above == (number > 0) else (None, bound)


def _solved(held: Expr, limit: Expr, leaf: El) -> tuple[Expr, Fraction | float] | None:
    """The u at which `c u + d`, c a number, is a limit, and c."""
    if leaf.var in x.variables(limit):
        return None
    parts = held.terms if isinstance(held, x.Add) else (held,)
    own = [t for t in parts if leaf.var in x.variables(t)]
    if len(own) != 1:
        return None
    number, rest = x.split_number(own[0])
    if rest != leaf:
        return None
    other = x.add(limit, *(x.neg(t) for t in parts if t is not own[0]))
    return other if number == 1 else x.mul(x.Num(1 / number), other), number


def _counted(seen: Expr, e: x.Add, leaf: El) -> Interval | None:
    """`seen == (u > a) + (u > b)`: how many thresholds are passed tells between which two of them u lies."""
    found = [_interval(t, leaf) for t in e.terms]
    lows = [f[0] for f in found if f is not None and f[0] is not None and f[1] is None]
    if len(lows) < len(e.terms):
        return None
    numbers = {float(c.value): c for c in lows if isinstance(c, x.Num)}
    if len(numbers) == len(lows):
        ordered: list[Expr] = [numbers[v] for v in sorted(numbers)]
    elif len(lows) == 2:
        ordered = [x.fn("min", *lows), x.fn("max", *lows)]
    else:
        return None
    steps: list[Expr] = [x.Num(-math.inf), *ordered, x.Num(math.inf)]
    lower, upper = steps[-2], steps[-1]
    for k in reversed(range(len(ordered))):
        here = x.fn("eq", seen, x.num(k))
        lower, upper = x.Where(here, steps[k], lower), x.Where(here, steps[k + 1], upper)
    return lower, upper


def _opposite(found: Interval | None) -> Interval | None:
    """The complement of a half-line."""
    match found:
        case (low, None):
            return None, low
        case (None, high):
            return high, None
    return None


def _extreme(name: str, a: Expr | None, b: Expr | None) -> Expr | None:
    return x.fn(name, a, b) if a is not None and b is not None else a if a is not None else b


def _either(seen: Expr, then: Expr | None, other: Expr | None, none: float) -> Expr:
    """One bound where the condition was seen to hold, another where it was not."""
    first, second = (x.Num(none) if e is None else e for e in (then, other))
    return x.Where(x.fn("ne", seen, x.ZERO), first, second)


def bounds_of(cuts: Sequence[Cut]) -> tuple[Expr, Expr]:
    """The largest lower and the least upper bound of several cuts, infinite where there is none."""
    lower: Expr = x.Num(-math.inf)
    upper: Expr = x.Num(math.inf)
    for c in cuts:
        if c.lower is not None:
            lower = x.fn("max", lower, x.Where(x.fn("gt", c.mask, x.ZERO), c.lower, x.Num(-math.inf)))
        if c.upper is not None:
            upper = x.fn("min", upper, x.Where(x.fn("gt", c.mask, x.ZERO), c.upper, x.Num(math.inf)))
    return lower, upper


def refuse_cuts_at_parameters(joint: LogJoint) -> None:
    """Raises `ModelError` where a parameter decides which values of a latent are seen as what: Q has no slope in it."""
    params = {v.name for v in joint.model.of_kind("param")}
    latent = {v.name for v in joint.model.of_kind("latent")} - joint.discrete
    for f in joint.factors:
        for e in x.walk(f.body):
            if not isinstance(e, x.Fn) or e.name != "log":
                continue
            for c in x.walk(e):
                held = x.variables(c) if isinstance(c, x.Fn) and c.name in ("gt", "ge", "lt", "le") else frozenset()
                if held & params and held & latent:
                    p, u = min(held & params), min(held & latent)
                    text = f"the parameter {p} decides where {u} is cut: given {u}, the likelihood has no slope in it"
                    hint = f"compare {u} with a number, and give {u} a mean that holds {p}"
                    raise ModelError(Problem("E105", text, f.span, hint), joint.model.source)
