"""Entries of a matrix at single places, as products of vectors.

`e[0] e[0]ᵀ + d e[0] e[1]ᵀ + d e[1] e[0]ᵀ + d² e[1] e[1]ᵀ` is `(e[0] + d e[1]) (e[0] + d e[1])ᵀ`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import Expr, Idx, Ix
from emdsl.report.gathered import gathered
from emdsl.report.sums import apart, matched

Number = Fraction | float


@dataclass(frozen=True)
class Entry:
    """A term that stands at one place of a matrix."""

    term: Expr
    at: tuple[int, int]
    number: Number
    factors: tuple[Expr, ...]
    sums: tuple[Ix, ...]


@dataclass(frozen=True)
class Ratio:
    """What an entry holds beside another."""

    number: Number
    factors: Counter[Expr]


def products(e: Expr, row: Ix, column: Ix) -> Expr:
    """A sum of entries with those that are the product of a vector with itself written so."""
    terms = x.terms_of(e)
    entries = [found for t in terms if (found := _entry(t, row, column)) is not None]
    for base in (n for e in entries for n in (e, *_counted(e)) if n.at[0] == n.at[1]):
        vector, used = _vector(base, entries)
        if len(vector) > 1:
            body = x.mul(x.Num(base.number), *base.factors, *(_as_sum(vector, place) for place in (row, column)))
            body = x.totals(base.sums, body)
            return products(x.add(*(t for t in terms if t not in used), body), row, column)
    return e


def _as_sum(vector: Mapping[int, Ratio], place: Ix) -> Expr:
    return x.add(*(x.mul(x.Num(a.number), *a.factors.elements(), x.delta(place, i)) for i, a in vector.items()))


def _entry(t: Expr, row: Ix, column: Ix) -> Entry | None:
    number, factors, sums = apart(t)
    opened: list[Expr] = []
    for p in factors:
        opened += [p.base] * _times(p) if isinstance(p, x.Pow) and _times(p) else [p]
    places = [_place(p, i) for i in (row, column) for p in opened if _place(p, i) is not None]
    if len(places) != 2 or places[0] is None or places[1] is None:
        return None
    rest = tuple(p for p in opened if _place(p, row) is None and _place(p, column) is None)
    return Entry(t, (places[0], places[1]), number, rest, tuple(sums))


def _times(p: x.Pow) -> int:
    """How often a base stands in a power; 0 where that is no small number."""
    v = p.exponent.value if isinstance(p.exponent, x.Num) else 0
    return int(v) if v in range(2, 9) else 0


def _counted(e: Entry) -> Iterator[Entry]:
    """`T a` as the sum over t that it is."""
    for size in (p for p in e.factors if isinstance(p, x.SizeN)):
        rest = list(e.factors)
        rest.remove(size)
        yield Entry(e.term, e.at, e.number, tuple(rest), (*e.sums, x.fresh(size.dim)))


def _place(p: Expr, i: Ix) -> int | None:
    """The number that an index is compared with."""
    if not isinstance(p, x.Delta) or i not in (p.a, p.b):
        return None
    other = p.b if p.a == i else p.a
    return other if isinstance(other, int) else None


def _over(e: Entry, base: Entry) -> Iterator[Ratio]:
    """An entry divided by another, the indices of its sums being those of the other."""
    if base.number == 0 or len(e.sums) != len(base.sums):
        return
    for same in matched(e.sums, base.sums):
        mine, own = Counter(x.substitute(p, same) for p in e.factors), Counter(base.factors)
        if not own - mine:
            yield Ratio(e.number / base.number, mine - own)


def _vector(base: Entry, entries: Sequence[Entry]) -> tuple[dict[int, Ratio], list[Expr]]:
    """The vector whose product with itself the base starts, and the terms that this is."""
    p = base.at[0]
    vector, used = {p: Ratio(Fraction(1), Counter())}, [base.term]
    for e in entries:
        if e.at[0] != p or e.at[1] in vector:
            continue
        for ratio in _over(e, base):
            grown = vector | {e.at[1]: ratio}
            found = _all(grown, base, entries)
            if found is not None:
                vector, used = grown, found
                break
    return dict(sorted(vector.items())), used


def _all(vector: Mapping[int, Ratio], base: Entry, entries: Sequence[Entry]) -> list[Expr] | None:
    """The terms that are the products of all pairs of a vector's entries; None where one lacks."""
    out = []
    for i, a in vector.items():
        for j, b in vector.items():
            wanted = Ratio(a.number * b.number, a.factors + b.factors)
            here = (e for e in entries if e.at == (i, j))
            found = next((e for e in here if any(r == wanted for n in (e, *_counted(e)) for r in _over(n, base))), None)
            if found is None:
                return None
            out.append(found.term)
    return out


def sharing(e: Expr, row: Ix) -> Expr:
    """A vector whose entries at single places share a factor: `a e[0] + a d e[1]` is `a (e[0] + d e[1])`."""
    terms = x.terms_of(e)
    at: dict[int, list[Expr]] = {}
    for t in terms:
        places = [k for p in x.factors_of(t) if (k := _place(p, row)) is not None]
        if len(places) == 1:
            at.setdefault(places[0], []).append(t)
    if len(at) < 2:
        return e
    values = {k: gathered(x.add(*(_without(t, row) for t in own))) for k, own in sorted(at.items())}
    (first, base), *others = values.items()
    shared, vector = Counter(x.factors_of(base)), [x.delta(row, first)]
    for k, value in others:
        left = Counter(x.factors_of(value))
        if shared - left:
            return e
        vector.append(x.mul(*(left - shared).elements(), x.delta(row, k)))
    rest = [t for t in terms if not any(t in own for own in at.values())]
    return x.add(*rest, x.mul(base, x.add(*vector)))


def sharing_in_sums(e: Expr, row: Ix) -> Expr:
    """The same of sums over the same rows: `sum_n a e[0] + sum_n a d e[1]` is `sum_n a (e[0] + d e[1])`."""
    terms = x.terms_of(e)
    every = {t: apart(t) for t in terms}
    placed = {t: own for t, own in every.items() if sum(_place(p, row) is not None for p in own[1]) == 1}
    lengths = [Counter(i.dim for i in sums) for _, _, sums in placed.values()]
    over = [d for d in lengths[0] if all(n[d] == 1 for n in lengths)] if len(lengths) > 1 else []
    if not over:
        return e
    leads = {d: x.fresh(d) for d in over}
    inside = []
    for c, factors, sums in placed.values():
        to: dict[Ix, Idx] = {i: leads[i.dim] for i in sums if i.dim in leads}
        own = [i for i in sums if i.dim not in leads]
        here = [x.substitute(p, to) for p in factors]
        within = x.mul(*(p for p in here if {*own} & {*x.free(p)}))
        within = x.totals(own, within)
        inside.append(x.mul(x.Num(c), *(p for p in here if not {*own} & {*x.free(p)}), within))
    whole = x.add(*inside)
    body = sharing(whole, row)
    if body == whole:
        return e
    body = x.totals(leads.values(), body)
    return x.add(*(t for t in terms if t not in placed), body)


def _without(t: Expr, row: Ix) -> Expr:
    return x.mul(*(p for p in x.factors_of(t) if _place(p, row) is None))
