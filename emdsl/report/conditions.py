"""Conditions on indices: that meet their opposite, that follow from others, that stand under the sign of a sum."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import DataIx, El, Expr, Idx, Ix
from emdsl.derive.algebra.made import LENGTH, POSITION, PRESENT, ROW, START
from emdsl.derive.algebra.nodes import kept
from emdsl.report.bounds import Whole, bounded, place
from emdsl.report.sums import apart, matched
from emdsl.report.supports import Support, implied

Parts = tuple[Fraction | float, list[Expr], list[Ix]]  # a number, factors, indices that are summed over
PLACES = (ROW, POSITION, LENGTH)  # what says where a row of a ragged plate is


def sides_met(terms: list[Expr], whole: Whole) -> list[Expr]:
    """`[t = 0] a + [t > 0] a` is a, under sums too."""
    parts = [apart(t) for t in terms]
    asked = [
        any(isinstance(p, x.Fn) and (p.name in x.COMPARISONS or p.name == "not") for p in own) for _, own, _ in parts
    ]
    if not any(asked):
        return list(terms)
    out: list[Expr] = []
    left: list[int] = []  # of each that is kept, its number; of none that has met another
    seen: dict[tuple[str, Expr], list[int]] = {}  # of what would meet a condition: places of kept terms that have it
    for n, t in enumerate(terms):
        has, meets = _conditions(parts[n])
        for at in sorted({at for key in meets for at in seen.get(key, ())}):
            k = left[at]
            if k >= 0 and (asked[n] or asked[k]) and (both := _without_sides(parts[n], parts[k], whole)) is not None:
                out[at], left[at] = both, -1
                break
        else:
            for key in has:
                seen.setdefault(key, []).append(len(out))
            out.append(t)
            left.append(n)
    return sides_met(out, whole) if -1 in left else out


def _conditions(parts: Parts) -> tuple[set[tuple[str, Expr]], set[tuple[str, Expr]]]:
    """What a term has that may meet its opposite, and what it could meet, whatever its summed indices are named."""
    _, factors, sums = parts
    names: dict[Ix, Idx] = {i: Ix("_", i.dim) for i in sums}
    has, meets = set(), set()
    for p in (x.substitute(p, names) for p in factors):
        match p:
            case x.Fn("not", (a,)):
                has.add(("not", a))
                meets.add(("is", a))
            case x.Fn("eq", (El() as a, x.Num())):  # of two levels, perhaps
                has.add(("level", a))
                meets.add(("level", a))
            case x.Delta(Ix() as at, int() as place) | x.Delta(int() as place, Ix() as at):
                has.add(("is", x.fn("eq", x.Val(at), x.num(place))))
                meets.add(("not", x.fn("eq", x.Val(at), x.num(place))))
        has.add(("is", p))
        meets.add(("not", p))
    return has, meets


def hazard(e: x.Fn) -> Expr | None:
    """`exp(-a² / 2 - log Φ(a))` is `√(2 π) φ(a) / Φ(a)`: the slope of a log probability, that between two ends too.

    Its square is so written, of which curvatures are made.
    """
    terms = e.args[0].terms if isinstance(e.args[0], x.Add) else ()
    for t in terms:
        c, mass = x.split_number(t)
        if c not in (-1, -2) or not isinstance(mass, x.Fn) or mass.name not in ("log_Phi", "log_between"):
            continue
        low, *high = (x.fn("Phi", a) for a in mass.args)
        below = x.add(*high, x.neg(low)) if high else low
        for end in mass.args:
            wanted = in_one_order(x.mul(x.Num(-c), _halved_square(end)))
            square = next((p for p in terms if in_one_order(p) == wanted), None)
            if square is not None:
                rest = x.fn("exp", x.add(*(p for p in terms if p is not t and p is not square)))
                root = x.mul(x.power(x.num(2), x.HALF), x.power(x.Fn("pi", ()), x.HALF))
                return x.mul(x.power(x.mul(root, x.fn("phi", end), x.power(below, x.num(-1))), x.Num(-c)), rest)
    return None


def _halved_square(a: Expr) -> Expr:
    """`-a² / 2`, each factor squared."""
    return x.mul(x.Num(Fraction(-1, 2)), *(x.power(p, x.num(2)) for p in x.factors_of(a)))


def shares_met(terms: list[Expr]) -> list[Expr]:
    """`a b + (1 - a) b` is b."""
    for t in terms:
        for p in x.factors_of(t):
            if not isinstance(p, x.Add) or len(p.terms) != 2:
                continue
            rest = x.mul(*(q for q in x.factors_of(t) if q is not p))
            if (whole := _without_number(p, rest, t, terms)) is not None:
                return shares_met(whole)
            if x.ONE not in p.terms:
                continue
            share = x.neg(next(e for e in p.terms if e != x.ONE))
            for other in terms:
                if other is not t and in_one_order(other) == in_one_order(x.mul(share, rest)):
                    return shares_met([rest, *(e for e in terms if e is not t and e is not other)])
    return terms


def _without_number(p: x.Add, rest: Expr, t: Expr, terms: Sequence[Expr]) -> list[Expr] | None:
    """`(k - 1) b + b` as `k b`; None where no other term is the number's."""
    numbers = [e for e in p.terms if isinstance(e, x.Num)]
    wanted = in_one_order(x.alpha(x.mul(x.neg(numbers[0]), rest))) if len(numbers) == 1 else None
    other = next((o for o in terms if o is not t and wanted == in_one_order(x.alpha(o))), None)
    if wanted is None or other is None:
        return None
    left = x.mul(*(e for e in p.terms if e not in numbers), rest)
    return [left, *(e for e in terms if e is not t and e is not other)]


def pointed(factors: Sequence[Expr]) -> list[Expr]:
    """`[g[n] = k] b[g[n]]` is `[g[n] = k] b[k]`; `[y[n] = 3] [y[n] - 1 = i]` is `[y[n] = 3] [i = 2]`."""
    levels = {p.args[0]: p.args[1] for p in factors if isinstance(p, x.Fn) and _is_level(p)}
    to: dict[Expr, Expr] = {p.of: x.value_of(p.at) for p in factors if isinstance(p, x.Sel)} | levels

    def place(i: Idx) -> Idx:
        held = isinstance(i, DataIx) and any(n in to for n in x.walk(i.value))
        return x.as_index(x.rebuild(i.value, to.get)) if isinstance(i, DataIx) and held else i

    def step(n: Expr) -> Expr | None:
        found = tuple(map(place, n.idx)) if isinstance(n, El) else ()
        return El(n.var, found, n.sort) if isinstance(n, El) and found != n.idx else None

    def at_level(p: Expr) -> Expr:
        if isinstance(p, x.Sel):
            held = any(n in levels for n in x.walk(p.of))
            return x.delta(p.at, x.as_index(x.rebuild(p.of, levels.get))) if held else p
        return p if _is_level(p) else x.rebuild(p, step)

    return list(map(at_level, factors)) if to else list(factors)


def _is_level(p: Expr) -> bool:
    """Whether a factor says that data are at a level: `[y[n] = 2]`."""
    match p:
        case x.Fn("eq", (El(), x.Num(v))):
            return v == int(v)
    return False


def _without_sides(one: Parts, other: Parts, whole: Whole) -> Expr | None:
    """What two terms have in common, where all that they differ in is a condition and its opposite.

    What follows from the one may stand beside the other: of a j below K `[k >= K] a + [k < K] [j < k] a` is
    `[j < k] a`.
    """
    (c, mine, sums), (d, unlike, beside) = one, other
    for same in matched(beside, sums) if c == d and abs(len(mine) - len(unlike)) < 2 else ():
        theirs = [x.substitute(q, same) for q in unlike]
        for p in mine:
            opposite = next((q for q in theirs if _opposite(p, q, whole) or _opposite(q, p, whole)), None)
            if opposite is None:
                continue
            one_side = [q for q in _where_equal(p, mine) if q != p]
            other_side = [q for q in _where_equal(opposite, theirs) if q != opposite]
            rest, others = (Counter(x.alpha(in_one_order(q)) for q in side) for side in (one_side, other_side))
            more, less = others - rest, rest - others
            if all(_implies(p, q) for q in more) and all(_implies(opposite, q) for q in less) and not (more and less):
                return x.totals(sums, x.mul(x.Num(c), *(other_side if more else one_side)))
    return None


def _where_equal(p: Expr, factors: list[Expr]) -> list[Expr]:
    """What stands beside `[a = b]`, of two that data tell: in a alone."""
    match p:
        case x.Fn("eq", (El() as a, El() as b)):
            return [q if q == p else x.rebuild(q, lambda n: a if n == b else None) for q in factors]
    return factors


def _implies(p: Expr, q: Expr) -> bool:
    """Whether `not a < K` says `j < a`: of an index j below K."""
    match p, q:
        case x.Fn("not", (x.Fn("lt", (a, x.SizeN(dim))),)), x.Fn("lt", (x.Val(j), b)):
            return a == b and j.dim == dim
    return False


def pinned(ix: Ix, body: Expr) -> Expr | None:
    """`sum_a [a < K] [a = k] f(a)` of a k below K is f(k)."""
    factors = x.factors_of(body)
    for p in factors:
        match p:
            case x.Sel(x.Val(a) | x.Fn("value", (x.Val(a),)), Ix() as k) if a == ix and k.dim != ix.dim:
                below = x.fn("lt", x.Val(ix), x.SizeN(k.dim))
                if below in factors:
                    return x.substitute(x.mul(*(q for q in factors if q not in (p, below))), {ix: k})
    return None


def placed(factors: Sequence[Expr]) -> list[Expr]:
    """`[a < K] sum_k [a = k] f(k)` over all k below K is `[a < K] f(a)`."""
    return [_placed(p, factors) if isinstance(p, x.Sum) else p for p in factors]


def _placed(e: x.Sum, beside: Sequence[Expr]) -> Expr:
    for p in x.factors_of(e.body):
        match p:
            case x.Sel(x.Val(a) | x.Fn("value", (x.Val(a),)), k) if k == e.ix:
                if x.fn("lt", x.Val(a), x.SizeN(e.ix.dim)) in beside:
                    return x.substitute(x.mul(*(q for q in x.factors_of(e.body) if q is not p)), {e.ix: a})
    return e


def _opposite(p: Expr, q: Expr, whole: Whole) -> bool:
    """Whether q says that the condition p does not hold."""
    match p, q:
        case x.Fn("eq", (El() as a, x.Num(v))), x.Fn("eq", (b, x.Num(w))) if a == b and v != w:
            return whole.get(a.var) == 2  # one of two levels, and the other
    if not isinstance(q, x.Fn) or q.name != "not":
        return False
    if isinstance(p, x.Delta) and isinstance(p.a, Ix) != isinstance(p.b, Ix):  # `[t = 0]` of an index, as a selector
        at, place = (p.a, p.b) if isinstance(p.a, Ix) else (p.b, p.a)
        return isinstance(at, Ix) and isinstance(place, int) and q.args[0] == x.fn("eq", x.Val(at), x.num(place))
    return q.args[0] == p


@lru_cache(maxsize=5000)  # a sum of hundreds is spelled once, though as many terms hold it
def _look(p: Expr) -> tuple[str, str]:
    return type(p).__name__, repr(p)


@kept  # one sum may stand in each of hundreds of terms
def in_one_order(e: Expr) -> Expr:
    """The expression with the factors of each product, and what a delta ties, in one order."""

    def step(n: Expr) -> Expr | None:
        match n:
            case x.Delta():
                return x.Delta(*sorted((n.a, n.b), key=repr))
            case x.Mul():
                return x.Mul(tuple(sorted(map(in_one_order, n.factors), key=_look)))
            case x.Add() if n is not e:
                return in_one_order(n)
        return None

    return x.rebuild(e, step)


def compared(name: str, at: Expr, v: Fraction | float) -> Expr:
    """`t + 2 >= 3` as `t >= 1`; an index is no less than 0."""
    if v < 0 or (v == 0 and name in ("ge", "lt")):
        return x.ONE if name in ("ge", "gt", "ne") else x.ZERO
    return x.fn(name, at, x.Num(v))


def solved(name: str, of: Expr, left: bool) -> Expr:
    """`u - c > 0` as `u > c`, and `-s - r = 0` as `s = -r`: what is subtracted on the other side."""
    added = [t for t in x.terms_of(of) if x.split_number(t)[0] > 0]
    taken = [x.neg(t) for t in x.terms_of(of) if t not in added]
    if not added or not taken:  # of an equality the first by itself, of an order all of them
        first, *rest = added or taken
        side = x.neg(x.add(*rest)) if name in ("eq", "ne") else x.ZERO
        one, other = first if name in ("eq", "ne") else x.add(first, *rest), side
        one, other = (one, other) if added or name in ("eq", "ne") else (other, one)
    else:
        one, other = x.add(*added), x.add(*taken)
    return x.fn(name, one, other) if left or name in ("eq", "ne") else x.fn(name, other, one)


def of_rows(e: Expr) -> bool:
    """Whether a number is the parent of a ragged row, and nothing else."""
    held = x.variables(e)
    return bool(held) and all(n in ROW for n in held)


def moved(ix: Ix, body: Expr) -> Expr:
    """`sum_s [s - 1 = t] f(s)` is `[t < T - 1] f(t + 1)`: the body without the index, or as it was.

    Not under matrices and other sums that bind the index themselves.
    """
    factors = x.factors_of(body)
    for p in factors:
        back = _back(p, ix)
        if back is None:
            continue
        at, lag = back
        ahead = [_ahead(_there(o, ix, at, lag)) if ix in x.free(o) else o for o in factors if o is not p]
        return x.mul(_inside(at, lag), *ahead)
    return body


def _inside(at: Ix, lag: int) -> Expr:
    """Whether there is an element so many steps ahead."""
    if not at.dim.endswith("[]"):
        return x.fn("lt", x.Val(at), x.add(x.SizeN(at.dim), x.num(-lag)))
    size = at.dim.removesuffix("[]")
    length = El(LENGTH.of(size), (x.as_index(El(ROW.of(size), (at,))),))
    return x.fn("lt", El(POSITION.of(size), (at,)), x.add(length, x.num(-lag)))


def _there(e: Expr, ix: Ix, at: Ix, lag: int) -> Expr:
    """What is said of an index, of the element so many steps ahead of another; it is of the same row of a ragged
    plate, so many places on."""
    if not at.dim.endswith("[]"):
        return x.substitute(e, {ix: x.DataIx(x.add(x.Val(at), x.num(lag)))})
    size = at.dim.removesuffix("[]")
    row, place = El(ROW.of(size), (at,)), El(POSITION.of(size), (at,))
    there = x.add(El(START.of(size), (x.as_index(row),)), place, x.num(lag))

    def step(n: Expr) -> Expr | None:
        if not isinstance(n, El) or n.idx != (ix,):
            return None
        return row if n.var == row.var else x.add(place, x.num(lag)) if n.var == place.var else None

    return x.substitute(x.rebuild(e, step), {ix: x.as_index(there)})


def _back(p: Expr, ix: Ix) -> tuple[Ix, int] | None:
    """The other index and the lag of `[s - lag = t]`."""
    if not isinstance(p, x.Sel) or not isinstance(p.at, Ix) or p.at == ix or p.at.dim != ix.dim:
        return None
    if ix.dim.endswith("[]"):
        size, terms = ix.dim.removesuffix("[]"), {*(p.of.terms if isinstance(p.of, x.Add) else ())}
        start = El(START.of(size), (x.as_index(El(ROW.of(size), (ix,))),))
        left = terms - {start, El(POSITION.of(size), (ix,))}
        lags = [-int(t.value) for t in left if isinstance(t, x.Num) and t.value < 0 and t.value == int(t.value)]
        return (p.at, lags[0]) if len(terms) == 3 and len(left) == 1 and lags else None
    if ix.dim.endswith("]"):
        return None
    match p.of:
        case x.Add((x.Val(i), x.Num(v))) | x.Add((x.Num(v), x.Val(i))) if i == ix and v < 0 and v == int(v):
            return p.at, -int(v)
    return None


def _ahead(e: Expr) -> Expr:
    """A condition on an index ahead of another, as one on the other: `t + 1 >= 2` is `t > 0`."""
    match e:
        case x.Fn("not", (x.Fn("eq", (x.Add((at, x.Num(v))) | x.Add((x.Num(v), at)), x.Num(w))),)) if place(at):
            return x.ONE if w < v else x.fn("not", compared("eq", at, w - v))
        case x.Fn("not", (a,)):
            return x.fn("not", _ahead(a))
        case x.Fn(name, (x.Add((at, x.Num(v))) | x.Add((x.Num(v), at)), x.Num(w))) if place(at):
            return compared(name, at, w - v) if name in x.COMPARISONS else e
    return e


@kept
def _branches(e: Expr) -> bool:
    return isinstance(e, x.Where) or any(map(_branches, x.children(e)))


def followed(factors: Sequence[Expr], whole: Whole, known: Sequence[Support] = ()) -> list[Expr]:
    """The factors without what their conditions decide: a bound beside a closer one, a choice by what holds, what is
    `known` to hold wherever data have any density."""
    held = [p for p in factors if isinstance(p, x.Fn) and (p.name in x.COMPARISONS or p.name == "not")]
    if not held:
        return list(factors)
    certain = implied(held, known)
    true = {*held, *certain, *(p for p in factors if isinstance(p, El) and p.var in PRESENT)}
    factors = [p for p in factors if p not in certain]

    def step(n: Expr) -> Expr | None:
        if not isinstance(n, x.Where):
            return None
        asked = x.rebuild(n.cond, step)  # of what stands for data where they are not seen
        return x.rebuild(n.then, step) if {*x.factors_of(asked)} <= true else None

    return bounded([p if p in held or not _branches(p) else x.rebuild(p, step) for p in factors], whole)


def filters(e: Expr, ixs: Sequence[Ix]) -> bool:
    """Whether a factor says which elements of a sum over these indices count: what is seen, a condition on indices."""
    if isinstance(e, x.Sel):
        return isinstance(e.at, Ix) and e.at not in ixs and of_rows(e.of) and bool({*x.free(e.of)} & {*ixs})
    if isinstance(e, El):
        return bool(ixs) and e.var in PRESENT
    alone = isinstance(e, x.Fn) and (e.name in x.COMPARISONS or e.name == "not")
    placed = all(any(n in kind for kind in PLACES) for n in x.variables(e))
    return alone and placed and bool(x.free(e)) and set(x.free(e)) <= set(ixs)
