"""The numbers of one latent at which a condition on it holds, as an interval whose ends hold no latent.

    u + d > c             (c - d, inf)
    y == min(u, c)        u == y where y < c, u >= c where y == c, nothing where y > c

A condition that holds at several intervals is none of these, but where data tell in which of them it held.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from functools import cmp_to_key, reduce
from itertools import pairwise

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr

Interval = tuple[Expr | None, Expr | None]
LOWEST, HIGHEST = x.Num(-math.inf), x.Num(math.inf)
ALL: Interval = (None, None)
NOTHING: Interval = (HIGHEST, LOWEST)


def interval(e: Expr, leaf: El, holds: bool = True) -> Interval | None:
    """(lower, upper) of the numbers at which a condition on one element holds, or at which it does not."""
    if leaf.var not in x.variables(e):
        return chosen(e, *((ALL, NOTHING) if holds else (NOTHING, ALL)))
    match e:
        case x.Fn("gt" | "ge" | "lt" | "le" as op, (a, b)):
            above = (op in ("gt", "ge")) == holds
            if leaf.var in x.variables(a):
                return _half_line(a, b, above, leaf)
            return _half_line(b, a, not above, leaf)
        case x.Fn("and" | "or" as op, (a, b)):
            return _of_two(a, b, (op == "and") == holds, leaf, holds)
        case x.Fn("not", (a,)):
            return interval(a, leaf, not holds)
        case x.Add((x.Num(one), t)) | x.Add((t, x.Num(one))) if one == 1 and x.split_number(t)[0] == -1:
            return interval(x.split_number(t)[1], leaf, not holds)
        case x.Fn("eq" | "ne" as op, (a, b)):
            seen, condition = (a, b) if leaf.var not in x.variables(a) else (b, a)
            if leaf.var in x.variables(seen):
                return None
            if (op == "eq") == holds:
                return _seen(seen, condition, leaf)
            two = all(isinstance(side, x.Fn) and side.name in x.COMPARISONS for side in (seen, condition))
            return _seen(x.fn("not", seen), condition, leaf) if two else _opposite(_seen(seen, condition, leaf))
    return None


def _of_two(a: Expr, b: Expr, both: bool, leaf: El, hold: bool) -> Interval | None:
    """The numbers at which both of two conditions hold (or do not), or one does; None where these lie apart."""
    one, two = interval(a, leaf, hold), interval(b, leaf, hold)
    for side, other in ((a, two), (b, one)):
        if leaf.var not in x.variables(side) and other is not None:
            met, unmet = (other, NOTHING) if both else (ALL, other)
            return chosen(side, *((met, unmet) if hold else (unmet, met)))
    if one is None or two is None:
        return None
    return _both(one, two) if both else _either(one, two)


def _seen(seen: Expr, condition: Expr, leaf: El) -> Interval | None:
    """The numbers that lead to what was seen: a value, a number of thresholds passed, or whether a condition holds."""
    there = _at_value(seen, condition, leaf)
    if there is not None:
        return there
    if isinstance(condition, x.Add | x.Sum) or x.split_number(condition)[0] != 1:
        return _counted(seen, _opened(condition), leaf)
    inside, outside = (interval(condition, leaf, holds) for holds in (True, False))
    if inside is None or outside is None:
        return None
    return chosen(x.fn("ne", seen, x.ZERO), inside, outside)


def _half_line(held: Expr, limit: Expr, above: bool, leaf: El) -> Interval | None:
    """The numbers at which `c u + d`, c a number, is above (or below) a limit; `abs(c u + d) < b` is an interval."""
    size, beside, sign = _alone(held, limit, leaf)
    if isinstance(size, x.Fn) and size.name == "abs" and (sign > 0) != above:
        ends = (_solved(size.args[0], x.neg(beside), leaf), _solved(size.args[0], beside, leaf))
        if None in ends:
            return None
        (low, number), (high, _) = ends  # type: ignore[misc]
        return (low, high) if number > 0 else (high, low)
    found = _solved(held, limit, leaf)
    if found is None:
        return _half_line_of_least(held, limit, above, leaf)
    bound, number = found
    return (bound, None) if above == (number > 0) else (None, bound)


def _half_line_of_least(held: Expr, limit: Expr, above: bool, leaf: El) -> Interval | None:
    """`min(u, a) > c` is u > c where a > c, and nothing elsewhere; `min(u, a) < c` is u < c, or all where a < c."""
    held, limit, sign = _alone(held, limit, leaf)
    above = above == (sign > 0)
    apart = _least_or_most(held, leaf)
    if apart is None or sign == 0:
        return None
    name, inner, end = apart
    found = _half_line(inner, limit, above, leaf)
    if found is None:
        return None
    passed = x.fn("gt" if above else "lt", end, limit)
    if above == (name == "min"):
        return chosen(passed, found, NOTHING)
    return chosen(passed, ALL, found)


def _at_value(seen: Expr, held: Expr, leaf: El) -> Interval | None:
    """The numbers at which something is what was seen: one, where it is the latent, else all that lead to it.

    A limit is reached by an interval of numbers: it has their mass, and any other value the density at one number.
    """
    itself = _solved(held, seen, leaf)
    if itself is not None:  # another number than 1 or -1 would stretch the density of what is seen
        return (itself[0], itself[0]) if abs(itself[1]) == 1 else None
    held, seen, sign = _alone(held, seen, leaf)
    if abs(sign) != 1:
        return None
    if isinstance(held, x.Where):
        return (_of_steps if _numbers_alone(held) else _in_branches)(seen, held, leaf)
    apart = _least_or_most(held, leaf)
    if apart is None:
        return None
    name, inner, limit = apart
    inside = _at_value(seen, inner, leaf)
    beyond, short = (_half_line(inner, limit, above, leaf) for above in (name == "min", name == "max"))
    if inside is None or beyond is None or short is None:
        return None
    return chosen(x.fn("eq", seen, limit), beyond, _both(inside, short))


def _numbers_alone(e: Expr) -> bool:
    return _numbers_alone(e.then) and _numbers_alone(e.other) if isinstance(e, x.Where) else isinstance(e, x.Num)


def _fixed_leaves(e: Expr, leaf: El) -> int:
    """Of the values of nested branches those that hold no latent."""
    if isinstance(e, x.Where):
        return _fixed_leaves(e.then, leaf) + _fixed_leaves(e.other, leaf)
    return int(leaf.var not in x.variables(e))


def _of_steps(seen: Expr, held: x.Where, leaf: El) -> Interval | None:
    """`0 if u < a else 1 if u < b else 2`: each number is reached from one interval; None where one is from two."""
    found: dict[Expr, Interval] = {}
    work: list[tuple[Expr, Interval]] = [(held, ALL)]
    while work:
        e, domain = work.pop()
        if isinstance(e, x.Where):
            here, there = (interval(e.cond, leaf, holds) for holds in (True, False))
            if here is None or there is None:
                return None
            work += [(e.then, _both(domain, here)), (e.other, _both(domain, there))]
        elif e in found:
            return None
        else:
            found[e] = domain
    out = NOTHING
    for value, domain in found.items():
        out = chosen(x.fn("eq", seen, value), domain, out)
    return out


def _in_branches(seen: Expr, held: x.Where, leaf: El) -> Interval | None:
    """`then if u < c else other`: of the numbers that lead to what was seen in either branch those of more mass.

    Where both have mass, they meet at c: all of them. Of three values that data may make equal that is not so.
    """
    if _fixed_leaves(held, leaf) > 2:
        return None
    here, there = (interval(held.cond, leaf, holds) for holds in (True, False))
    if here is None or there is None:
        return None
    found = []
    for branch, domain in ((held.then, here), (held.other, there)):
        if leaf.var in x.variables(branch):
            own = _at_value(seen, branch, leaf)
            if own is None:
                return None
        else:
            own = chosen(x.fn("eq", seen, branch), ALL, NOTHING)
        found.append(_both(own, domain))
    first, second = (bounded(f) for f in found)
    point = x.fn("and", x.fn("eq", *first), x.fn("ge", *second))
    one = chosen(x.fn("or", x.fn("lt", *first), point), first, second)
    together = x.fn("min", first[0], second[0]), x.fn("max", first[1], second[1])
    return chosen(x.fn("and", x.fn("lt", *first), x.fn("lt", *second)), together, one)


def _alone(held: Expr, limit: Expr, leaf: El) -> tuple[Expr, Expr, Fraction | float]:
    """`d + c f(u)` beside a limit as f(u) beside another one, and c; 0 where several terms hold u."""
    parts = x.terms_of(held)
    own = [t for t in parts if leaf.var in x.variables(t)]
    if len(own) != 1:
        return held, limit, 0
    number, rest = x.split_number(own[0])
    if isinstance(rest, x.Mul):  # `u * (u > 0) * (v > 0)`
        gates: list[Expr] = [f for f in rest.factors if isinstance(f, x.Fn) and f.name in x.COMPARISONS]
        value = x.mul(*(f for f in rest.factors if f not in gates))
        if gates:
            rest = x.Where(reduce(lambda a, b: x.fn("and", a, b), gates), value, x.ZERO)
    other = x.add(limit, *(x.neg(t) for t in parts if t is not own[0]))
    return rest, other if number == 1 else x.mul(x.Num(1 / number), other), number


def _least_or_most(e: Expr, leaf: El) -> tuple[str, Expr, Expr] | None:
    """(min or max, what holds the latent, the other) of the smaller or the larger of two."""
    match e:
        case x.Fn("min" | "max" as name, (a, b)):
            held = [leaf.var in x.variables(side) for side in (a, b)]
            if sum(held) == 1:
                return (name, a, b) if held[0] else (name, b, a)
    return None


def bounded(found: Interval) -> tuple[Expr, Expr]:
    """The two ends as numbers, infinite where there is none."""
    low, high = found
    return (LOWEST if low is None else low), (HIGHEST if high is None else high)


def chosen(condition: Expr, then: Interval, other: Interval) -> Interval:
    """One interval where a condition on data holds, another elsewhere; an end that both lack is none."""
    if isinstance(condition, x.Num):
        return then if condition.value != 0 else other
    ends = zip(bounded(then), bounded(other), strict=True)
    low, high = (a if a == b else x.Where(condition, a, b) for a, b in ends)
    return None if low == LOWEST else low, None if high == HIGHEST else high


def _solved(held: Expr, limit: Expr, leaf: El) -> tuple[Expr, Fraction | float] | None:
    """The u at which `c u + d`, c a number, is a limit, and c."""
    if leaf.var in x.variables(limit):
        return None
    parts = x.terms_of(held)
    own = [t for t in parts if leaf.var in x.variables(t)]
    if len(own) != 1:
        return None
    number, rest = x.split_number(own[0])
    if rest != leaf:
        return None
    other = x.add(limit, *(x.neg(t) for t in parts if t is not own[0]))
    return other if number == 1 else x.mul(x.Num(1 / number), other), number


def _opened(e: Expr) -> tuple[Expr, ...]:
    """The terms of a sum, those of a sum over a number among them."""
    out: list[Expr] = []
    for t in x.terms_of(e):
        match t:
            case x.Sum(ix, body) if ix.dim.isdigit():
                out += (x.substitute(body, {ix: k}) for k in range(int(ix.dim)))
            case _:
                out.append(t)
    return tuple(out)


def _counted(seen: Expr, terms: Sequence[Expr], leaf: El) -> Interval | None:
    """`seen == (u > a) + (u > b) + d`: how many thresholds are passed tells between which two of them u lies."""
    lows: list[Expr] = []
    sizes: set[Fraction | float] = set()
    for t in terms:
        size, condition = x.split_number(t)
        found = interval(condition, leaf) if leaf.var in x.variables(t) else ALL
        match found:
            case (None, None):
                seen = x.add(seen, x.neg(t))
            case (low, None) if low is not None:
                lows.append(low)
                sizes.add(size)
            case (None, high) if high is not None:  # 1 less whether it is passed
                lows.append(high)
                sizes.add(-size)
                seen = x.add(seen, x.Num(-size))
            case _:
                return None
    ordered = _ordered(lows)
    if len(sizes) != 1 or ordered is None:
        return None
    (size,) = sizes
    steps: list[Expr] = [x.Num(-math.inf), *ordered, x.Num(math.inf)]
    lower, upper = steps[-2], steps[-1]
    for k in reversed(range(len(ordered))):
        here = x.fn("eq", seen, x.Num(k * size))
        lower, upper = x.Where(here, steps[k], lower), x.Where(here, steps[k + 1], upper)
    return lower, upper


def _ordered(lows: Sequence[Expr]) -> list[Expr] | None:
    """Thresholds as they rise; None where that is not known."""
    numbers = {float(c.value): c for c in lows if isinstance(c, x.Num)}
    if len(numbers) == len(lows):
        return [numbers[v] for v in sorted(numbers)]
    if len(lows) == 2:
        return [x.fn("min", *lows), x.fn("max", *lows)]
    ordered = sorted(lows, key=cmp_to_key(_compared))
    return ordered if all(x.rising(a, b) for a, b in pairwise(ordered)) else None


def _compared(a: Expr, b: Expr) -> int:
    return int(x.rising(b, a)) - int(x.rising(a, b))


def _opposite(found: Interval | None) -> Interval | None:
    """The complement of a half-line."""
    match found:
        case (low, None):
            return None, low
        case (None, high):
            return high, None
    return None


def _both(one: Interval, two: Interval) -> Interval:
    """What lies in two intervals; where nothing does, the lower end is the larger one."""
    return extreme("max", one[0], two[0]), extreme("min", one[1], two[1])


def _either(one: Interval, two: Interval) -> Interval | None:
    """The numbers in one interval or the other, where both reach as far to one side: all but what lies in neither."""
    if ALL in (one, two):
        return ALL
    first, second = _opposite(one), _opposite(two)
    return None if first is None or second is None else _opposite(_both(first, second))


def extreme(name: str, *ends: Expr | None) -> Expr | None:
    """The least or the largest of some ends, of those that are there."""
    there = [e for e in ends if e is not None]
    return reduce(lambda a, b: x.fn(name, a, b), there) if there else None
