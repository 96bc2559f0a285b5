"""Expressions as a person would write them: the same values, fewer signs and halves.

Numbers are gathered at the front of a product, a sign or a common factor is taken out of a ratio's
sums, floats that stand for roots go back under the root, short literal sums are written out.
"""

from __future__ import annotations

from fractions import Fraction
from math import prod

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr, Ix
from emdsl.derive.algebra.made import FIRST, PRESENT, STATISTIC, WEIGHT
from emdsl.derive.algebra.nodes import is_long
from emdsl.report.alike import statistics_met
from emdsl.report.conditions import (
    compared,
    followed,
    hazard,
    in_one_order,
    moved,
    of_rows,
    pinned,
    placed,
    pointed,
    shares_met,
    sides_met,
    solved,
)
from emdsl.report.each_state import once
from emdsl.report.factored import into_ratios, other_share, out_of_sums, power_of, product_of, without_logs
from emdsl.report.folded import folded
from emdsl.report.known import SHORT, Known, entry_of, exact, is_empty, placed_in_order
from emdsl.report.marginals import counted_out, marginal, summed_out
from emdsl.report.sums import all_states, cancelled, in_every_state
from emdsl.report.together import held_together

NO_MASS = x.Fn("log", (x.ZERO,))  # minus infinity: whatever is added to it
MOST_WRITTEN = 3  # sums within one another: more are too many terms to read


def tidy(e: Expr, facts: Known) -> Expr:
    """The expression, bottom-up."""
    found = Tidying(facts, _short_sums(e) <= MOST_WRITTEN).of(filled(e) if facts.complete else e)
    return folded(held_together(found, facts.together, facts.pairs), facts.meanings)


class Tidying(x.Rebuilding):
    """`written`: sums over few literal places are written out."""

    __slots__ = ("facts", "written")

    def __init__(self, facts: Known, written: bool) -> None:
        super().__init__(lambda _: None, {})
        self.facts, self.written = facts, written

    def of(self, e: Expr) -> Expr:
        if e not in self.made:
            found = self.step(e)
            self.made[e] = self.below(e) if found is None else found
        return self.made[e]

    def step(self, n: Expr) -> Expr | None:
        facts, go = self.facts, self.of
        match n:
            case x.MatInv(i, j, El() as of, at) if facts.pairs.get(of.var) == (len(of.idx) - 2, len(of.idx) - 1):
                return x.MatInv(i, j, of, (at[0], at[1]) if repr(at[0]) <= repr(at[1]) else (at[1], at[0]))
            case x.MatInv(i, j, x.Choose() as of, (int() as a, int() as b)) if a > b and _even(of, i, j):
                return x.MatInv(i, j, of, (b, a))
            case x.MatInv(i, j, x.Mul() as of, (a, b)) if repr(a) > repr(b) and _scaled(of, i, j, facts):
                return x.MatInv(i, j, of, (b, a))
            case x.Num(float() as v):
                return exact(v)
            case x.SizeN(dim) if dim.isdigit():
                return x.num(int(dim))  # beside other numbers it is one with them
            case El() | x.Sel() if (met_ := states_as_places(n)) is not n:
                return go(met_)
            case El() if n.var == WEIGHT and not facts.weighted:
                return x.ONE
            case El() if is_empty(n, facts):
                return x.ZERO
            case El() if n.var in facts.constants:
                return x.num(facts.constants[n.var])
            case El() if (entry := entry_of(n, facts)) is not None:
                return entry
            case El() if n.var in facts.pairs:
                return placed_in_order(n, facts.pairs[n.var])
            case x.Add():
                own = other_share([go(t) for t in n.terms])
                if NO_MASS in own:
                    return NO_MASS
                met = _met(shares_met(own), facts)
                met = all_states(cancelled(met, facts.binary), facts.literal) if facts.complete else met
                if isinstance(met, x.Add):
                    met = x.add(*once(in_every_state(statistics_met(met.terms), facts.literal), facts.literal))
                return x.add(*_number_logs(list(met.terms))) if isinstance(met, x.Add) else met
            case x.Mul():
                held = pointed(followed(n.factors, facts.whole, facts.supports))
                return product_of(into_ratios(out_of_sums([go(f) for f in placed(held)])))
            case x.Pow(base, exponent):
                return power_of(go(base), go(exponent))
            case x.Sum(ix, body):
                return _total(ix, go(body), facts, self.written)
            case x.Fn("not", (a,)):
                return x.fn("not", go(a))
            case x.Fn("exp", (x.Add(),)) if (ratio := hazard(n)) is not None:
                return go(ratio)
            case x.Fn("exp", (x.Add() as of,)) if (product := without_logs(of)) is not None:
                return go(product)
            case x.Fn("lgamma", (x.Num(v),)) if v in (1, 2):
                return x.ZERO
            case x.Fn("abs", (a,)) if all(x.split_number(t)[0] < 0 for t in x.terms_of(go(a))):
                return x.fn("abs", x.neg(go(a)))
            case x.Fn(name, (x.Add() as of, x.Num(v))) | x.Fn(name, (x.Num(v), x.Add() as of)) if (
                v == 0 and any(name == sign for sign in x.COMPARISONS) and x.variables(of)
            ):
                return solved(name, go(of), of is n.args[0])
            case x.Fn(name, (x.Add((x.Val() as at, x.Num(c))) | x.Add((x.Num(c), x.Val() as at)), x.Num(v))):
                return compared(name, at, v - c) if name in x.COMPARISONS else None
        return None


def states_as_places(e: Expr) -> Expr:
    """`m[i]` of a state i that is a place of an array of another length: the state itself is the index."""
    match e:
        case El(var, idx, sort):
            to = tuple(state if isinstance(i, x.DataIx) and (state := _state(i.value)) else i for i in idx)
            return e if to == idx else El(var, to, sort)
        case x.Sel(of, at) if (state := _state(of)) is not None:
            return x.delta(state, at)
    return e


def _state(e: Expr) -> Ix | None:
    match e:
        case x.Fn("value", (x.Val(i),)) if i.dim.isdigit():
            return i
    return None


def _even(e: x.Choose, i: Ix, j: Ix) -> bool:
    """Whether a matrix of literal rows is symmetric, entry by entry."""
    rows = [r.options for r in e.options if isinstance(r, x.Choose) and r.at == j] if e.at == i else []
    square = len(rows) == len(e.options) and all(len(row) == len(rows) for row in rows)
    return square and all(rows[a][b] == rows[b][a] for a in range(len(rows)) for b in range(a))


def _scaled(e: x.Mul, i: Ix, j: Ix, facts: Known) -> bool:
    """Whether `a[i] R[i, j] a[j]` is symmetric, as R is."""

    def ordered(n: Expr) -> Expr | None:
        return placed_in_order(n, facts.pairs[n.var]) if isinstance(n, El) and n.var in facts.pairs else None

    one, other = (x.rebuild(p, ordered) for p in (e, x.substitute(e, {i: j, j: i})))
    return sorted(map(repr, x.factors_of(one))) == sorted(map(repr, x.factors_of(other)))


def filled(e: Expr) -> Expr:
    """The expression where nothing is missing: all that is asked whether it is seen is."""

    def step(n: Expr) -> Expr | None:
        if not _asks(n):
            return n
        match n:
            case El() if n.var in PRESENT or n.var == WEIGHT:
                return x.ONE
            case x.Sum(ix, body):
                inner = x.rebuild(body, step)
                return x.Sum(ix, inner) if ix in x.free(inner) else x.total(ix, inner)
        return None

    return x.rebuild(e, step)


def _asks(e: Expr) -> bool:
    """Whether something is asked whether it is seen, or how much it weighs."""
    return any(n in PRESENT or n == WEIGHT for n in x.variables(e))


def _met(terms: list[Expr], facts: Known) -> Expr:
    """A sum whose like terms are one, in whatever order their factors stand."""
    merged: dict[Expr, tuple[Expr, Fraction | float]] = {}
    for t in terms:
        c, rest = x.split_number(t)
        key = _key(rest)
        turned = _turned(rest, facts) if key not in merged else None
        if turned is not None and (other := _key(turned)) in merged:
            key = other
        kept, old = merged.get(key, (rest, Fraction(0)))
        merged[key] = (kept, old + c)
    return x.add(*sides_met(_number_logs([x.mul(x.Num(c), rest) for rest, c in merged.values()]), facts.whole))


def _number_logs(terms: list[Expr]) -> list[Expr]:
    """`log 2 + log(1/2)` is nothing."""
    logs: dict[Fraction | float, list[tuple[int, Fraction]]] = {}
    for n, t in enumerate(terms):
        match x.split_number(t):
            case c, x.Fn("log", (x.Num(v),)) if v > 0 and (isinstance(v, Fraction) or 1 / v == int(1 / v)):
                logs.setdefault(c, []).append((n, v if isinstance(v, Fraction) else 1 / Fraction(int(1 / v))))
    out: list[Expr] = list(terms)
    for c, own in logs.items():
        product = prod((v for _, v in own), start=Fraction(1))
        if len(own) > 1 and not is_long(product):
            for n, _ in own:
                out[n] = x.ZERO
            out[own[0][0]] = x.mul(x.Num(c), x.fn("log", x.num(product))) if product != 1 else x.ZERO
    return [t for t in out if t != x.ZERO]


def _key(e: Expr) -> Expr:
    """The same for all terms that are alike but for the order of factors and the names of bound indices."""
    return x.alpha(in_one_order(_summed(*_flat(x.alpha(e)))))


def _turned(e: Expr, facts: Known) -> Expr | None:
    """`sum_pq b[p] S[p, q] a[q]` as `sum_pq a[p] S[p, q] b[q]`, the same where S is symmetric; None of other terms."""
    ixs, factors = _flat(e)
    for p in factors:
        match p:
            case El() if p.var in facts.pairs:
                a, b = (p.idx[at] for at in facts.pairs[p.var])
                if a in ixs and b in ixs and isinstance(a, Ix) and isinstance(b, Ix) and a.dim == b.dim:
                    return _summed(ixs, [o if o is p else x.substitute(o, {a: b, b: a}) for o in factors])
    return None


def _flat(e: Expr) -> tuple[list[Ix], list[Expr]]:
    """What sums, one within the other, run over, and the factors of what they add up."""
    ixs: list[Ix] = []
    factors = list(x.factors_of(e))
    while len(inner := [p for p in factors if isinstance(p, x.Sum)]) == 1 and inner[0].ix not in ixs:
        ixs.append(inner[0].ix)
        factors = [o for p in factors for o in (x.factors_of(p.body) if isinstance(p, x.Sum) else (p,))]
    return ixs, factors


def _summed(ixs: list[Ix], factors: list[Expr]) -> Expr:
    """The sums of a product, none of them drawn together."""
    out = x.mul(*factors)
    for i in reversed(ixs):
        out = x.Sum(i, out)
    return out


def _short_sums(e: Expr) -> int:
    """How many sums over few literal values stand within one another, directly or in a product."""
    known: dict[Expr, int] = {}

    def depth(n: Expr) -> int:
        if n not in known:
            inside = max(map(depth, x.children(n)), default=0)
            known[n] = inside + (isinstance(n, x.Sum) and n.ix.dim.isdigit() and int(n.ix.dim) <= SHORT)
        return known[n]

    return depth(e)


def _total(ix: Ix, body: Expr, facts: Known, written: bool) -> Expr:
    """A sum; over few literal values of an index that stands as a number, or is compared, `written` out."""
    for p in x.factors_of(body):  # `sum_i q[i] [i = k]` of few states i, k of as many as an array has
        other = (p.b if p.a == ix else p.a) if isinstance(p, x.Delta) and ix in (p.a, p.b) else 0
        if ix.dim.isdigit() and isinstance(other, Ix) and not other.dim.isdigit():
            return x.substitute(x.mul(*(q for q in x.factors_of(body) if q is not p)), {ix: other})
    numbers = [p for p in x.factors_of(body) if not x.free(p) and not x.variables(p)]
    if numbers and ix in x.free(body):
        return x.mul(*numbers, _total(ix, x.mul(*(p for p in x.factors_of(body) if p not in numbers)), facts, written))
    if written and ix.dim.isdigit() and int(ix.dim) <= SHORT and _counted(ix, body, facts):
        each = (x.substitute(body, {ix: n}) for n in range(int(ix.dim)))
        return x.add(*(x.rebuild(e, lambda n: _in_order(n, facts)) for e in each))
    pattern = next((e for e in x.factors_of(body) if isinstance(e, x.Sel) and e.at == ix), None)
    if pattern is not None and (ix.dim.endswith("[patterns]") or of_rows(pattern.of) or _given(pattern.of, facts)):
        # of an element its own pattern, of a row its own parent, of an index in the data what it points at
        rest = x.mul(*(e for e in x.factors_of(body) if e is not pattern))
        return x.substitute(rest, {ix: x.as_index(pattern.of)})
    if (there := pinned(ix, body)) is not None:
        return there
    inner = [p for p in x.factors_of(body) if isinstance(p, x.Sum)]
    if len(inner) == 1 and _pointed_at(ix, inner[0].body, facts):  # `sum_g b[g] sum_n [group[n] = g] a[n]`
        beside = (p for p in x.factors_of(body) if p is not inner[0])
        return x.total(inner[0].ix, _total(ix, x.mul(*beside, inner[0].body), facts, written))
    if (turned := _in_order_of_statistic(ix, body)) is not None:
        return turned
    ahead = moved(ix, body)
    if ahead is not body and ix not in x.free(ahead):
        return ahead
    found = _summed_out(ix, ahead, facts)
    return counted_out(ix, ahead) if found is None else found


def _summed_out(ix: Ix, body: Expr, facts: Known) -> Expr | None:
    """The sum where probabilities leave one, or another probability, term by term where all terms do; None elsewhere"""
    for found in (_certain(ix, body, facts), _one_level(ix, body, facts), marginal(ix, body, facts.places)):
        if found is not None:
            return found
    sums, inner = list[Ix](), body
    while isinstance(inner, x.Sum):
        sums.append(inner.ix)
        inner = inner.body
    if not isinstance(inner, x.Add):
        return None
    each = [_summed_out(ix, x.totals(sums, t), facts) for t in inner.terms]
    known_ = [e for e in each if e is not None]
    return x.add(*known_) if len(known_) == len(each) else None


def _in_order_of_statistic(ix: Ix, body: Expr) -> Expr | None:
    """`sum_j b[j] sum_i a[i] S[i, j]` as `sum_i a[i] sum_j b[j] S[i, j]`, so that the two are seen to be one."""
    for inner in (p for p in x.factors_of(body) if isinstance(p, x.Sum)):
        held = (n.idx for n in x.walk(inner.body) if isinstance(n, El) and n.var in STATISTIC)
        if any(ix in idx and inner.ix in idx and idx.index(inner.ix) < idx.index(ix) for idx in held):
            rest = (p for p in x.factors_of(body) if p is not inner)
            return x.total(inner.ix, x.total(ix, x.mul(*rest, inner.body)))
    return None


def _one_level(ix: Ix, body: Expr, facts: Known) -> Expr | None:
    """`sum_v [w = v] f` is f: data are at one level, where nothing is missing."""
    ixs: list[Ix] = []
    while isinstance(body, x.Sum):
        ixs.append(body.ix)
        body = body.body
    held = [p for p in x.factors_of(body) if ix in x.free(p)]
    if not facts.complete or len(held) != 1 or not isinstance(sel := held[0], x.Sel) or sel.at != ix:
        return None
    if not isinstance(sel.of, El) or sel.of.var not in facts.levels or ix in x.free(sel.of):
        return None
    out = x.mul(*(p for p in x.factors_of(body) if p is not sel))
    return x.totals(ixs, out)


def _pointed_at(ix: Ix, body: Expr, facts: Known) -> bool:
    """Whether data say, somewhere under sums, which value of an index counts."""
    while isinstance(body, x.Sum):
        body = body.body
    said = [e for e in x.factors_of(body) if isinstance(e, x.Sel) and e.at == ix]
    return any(_given(e.of, facts) or of_rows(e.of) for e in said)


def _given(e: Expr, facts: Known) -> bool:
    return isinstance(e, El) and e.var in facts.indices


def _certain(ix: Ix, body: Expr, facts: Known) -> Expr | None:
    """The sum over all states of a posterior, where nothing else holds the states: 1; None where there is none."""
    ixs = [ix]
    while isinstance(body, x.Sum):
        ixs.append(body.ix)
        body = body.body
    factors = x.factors_of(body)
    for p in factors:
        count = facts.states.get(p.var, 0) if isinstance(p, El) else 0
        if not isinstance(p, El) or not count or (p.var in FIRST.at(0) and len(p.idx) > count):
            continue  # a sequence of no elements has no start
        others = [o for o in factors if o is not p]
        over = {i for i in p.idx[:count] if i in ixs}
        left = sum(not summed_out(i) for i in p.idx[:count])  # the others are summed over already
        held = {i for e in (*others, El("", p.idx[count:])) for i in x.free(e)}
        if ix in over and len(over) == left and not over & held:
            found = x.mul(*others)
            return x.totals([i for i in ixs if i not in over], found)
    return None


def _in_order(n: Expr, facts: Known) -> Expr | None:
    if isinstance(n, El) and is_empty(n, facts):
        return x.ZERO
    return placed_in_order(n, facts.pairs[n.var]) if isinstance(n, El) and n.var in facts.pairs else None


def _counted(ix: Ix, body: Expr, facts: Known) -> bool:
    """Whether the index stands as a number, or beside a fixed one, or some of its values have no mass."""
    for n in x.walk(body):
        match n:
            case El() if ix in n.idx and any(n.var == e.var and isinstance(e.idx[n.idx.index(ix)], int)
                                             for e in facts.empty):  # fmt: skip
                return True
            case x.Val(i) if i == ix:
                return True
            case x.Delta(a, b) if ix in (a, b) and (isinstance(a, int) or isinstance(b, int)):
                return True
            case x.Sel(_, i) if i == ix and any(isinstance(m, x.Val) for m in x.walk(body)):
                return True
    return False
