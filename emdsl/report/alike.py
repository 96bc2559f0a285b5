"""Terms that differ in one statistic alone as one: `tr(K S) + tr(K C)` is `tr(K (S + C))`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby, islice, permutations, product

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr, Idx, Ix
from emdsl.derive.algebra.made import STATISTIC

PLACE = "a statistic"  # what stands in its place while terms are compared
MOST = 24  # orders of factors that are alike

Key = tuple[str, ...]


def statistics_met(terms: Sequence[Expr]) -> list[Expr]:
    """The terms, those joined that hold the same number times the same, beside different statistics."""
    places: dict[Key, tuple[int, El]] = {}  # the first of those that are alike: which term it is, its statistic
    beside: dict[int, list[Expr]] = {}  # what joins it; nothing is left of a term that has joined another
    for n, term in enumerate(terms):
        c, rest = x.split_number(term)
        if (held := _statistic(rest)) is None:
            continue
        for key, idx in _keys(rest, held):
            at, first = places.get(key, (n, held))
            d, _ = x.split_number(terms[at])
            if at != n and abs(c) == abs(d) and first.var != held.var:
                own = first.idx if idx == held.idx else _turned(first.idx)
                beside.setdefault(at, [first]).append(x.mul(x.num(1 if c == d else -1), El(held.var, own)))
                beside[n] = []
                break
        else:
            places.setdefault(next(_keys(rest, held))[0], (n, held))
    return [_with(t, beside[n]) if n in beside else t for n, t in enumerate(terms) if beside.get(n) != []]


def _with(term: Expr, statistics: Sequence[Expr]) -> Expr:
    """The term with a sum of statistics in place of the first of them."""
    return x.put(term, statistics[0], x.add(*statistics))


def _statistic(e: Expr) -> El | None:
    """The one statistic of a product with others above the line."""
    if not any(n in STATISTIC for n in x.variables(e)):  # a sum of thousands may stand in each of as many terms
        return None
    _, factors = _flat(e)
    found = [p for p in factors if isinstance(p, El) and p.var in STATISTIC]
    every = sum(isinstance(n, El) and n.var in STATISTIC for p in factors for n in x.walk(p))
    above = [
        p for p in factors if not (isinstance(p, x.Pow) and isinstance(p.exponent, x.Num) and p.exponent.value < 0)
    ]
    return found[0] if len(found) == 1 == every and len(above) > 1 else None


def _keys(e: Expr, held: El) -> Iterator[tuple[Key, tuple[Idx, ...]]]:
    """What is the same for terms that differ in the statistic alone: as it stands, and with its matrix turned."""
    ixs, factors = _flat(e)
    rest = [p for p in factors if p is not held]
    yield _key(ixs, [*rest, El(PLACE, held.idx)]), held.idx
    if len(held.idx) > 1 and held.idx[-1] != held.idx[-2]:
        yield _key(ixs, [*rest, El(PLACE, _turned(held.idx))]), _turned(held.idx)


def _turned(idx: tuple[Idx, ...]) -> tuple[Idx, ...]:
    return (*idx[:-2], idx[-1], idx[-2])


def _key(ixs: Sequence[Ix], factors: Sequence[Expr]) -> Key:
    """The factors in one order, their bound indices numbered as they are met."""
    factors = [x.alpha(p) for p in factors]
    blank: dict[Ix, Idx] = {i: Ix("", i.dim) for i in ixs}
    looks = sorted(((repr(x.substitute(p, blank)), p) for p in factors), key=lambda look: look[0])
    orders = product(*(permutations([p for _, p in own]) for _, own in groupby(looks, lambda look: look[0])))
    return min(_numbered(ixs, [p for own in order for p in own]) for order in islice(orders, MOST))


def _numbered(ixs: Sequence[Ix], factors: Sequence[Expr]) -> Key:
    met = dict.fromkeys(i for p in factors for i in x.free(p) if i in ixs)
    names: dict[Ix, Idx] = {i: Ix(f"#{n}", i.dim) for n, i in enumerate(met)}
    return tuple(repr(x.rebuild(x.substitute(p, names), _even)) for p in factors)


def _even(e: Expr) -> Expr | None:
    """The inverse of a symmetric matrix, its places in one order."""
    if not isinstance(e, x.MatInv):
        return None
    a, b = sorted(e.at, key=repr)
    return x.MatInv(e.i, e.j, e.body, (a, b))


def _flat(e: Expr) -> tuple[list[Ix], list[Expr]]:
    """What sums, one within the other, run over, and the factors of what they add up."""
    ixs: list[Ix] = []
    factors: list[Expr] = []
    for p in x.factors_of(e):
        if isinstance(p, x.Sum):
            inner, more = _flat(p.body)
            ixs += [p.ix, *inner]
            factors += more
        else:
            factors.append(p)
    return ixs, factors
