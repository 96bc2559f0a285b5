"""Sums over the same indices as one: `sum_d a[d] x[d] - sum_d a[d] b[d]` is `sum_d a[d] (x[d] - b[d])`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import combinations, permutations
from math import prod

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import DataIx, El, Expr, Idx, Ix
from emdsl.derive.algebra.made import PAIR, Q
from emdsl.report.marginals import summed_out

Binary = Mapping[str, tuple[bool, ...]]

ANY_OF_TWO = DataIx(x.Fn("any", (x.SizeN("2"),)))  # a state that is summed out
MOST_ALIKE = 48  # sums of one shape whose pairs are looked through
MOST = 3  # indices of one length that are matched in every order


def closed(e: Expr) -> Expr:
    """Sums with a factor in common that no number divides by, joined before a difference."""
    return _pairwise(e, {}, False)


def cancelled(e: Expr, binary: Binary) -> Expr:
    """Sums that are shorter together: `sum q a + sum q (1 - a)` is `sum q`.

    `binary` says of probabilities which of their states are of two: those of both sum to that of the others, or to one.
    """
    return _pairwise(e, binary, True)


def all_states(e: Expr, literal: Mapping[str, int]) -> Expr:
    """`sum_n q(z[n] = 0) + sum_n q(z[n] = 1) + ...` over all states is N; `literal` says how many states there are.

    The same of `q(z[n] = 0) a + (q(z[n] = 1) + ...) a`.
    """
    terms = list(e.terms) if isinstance(e, x.Add) else []
    for t in terms:
        c, factors, sums = apart(t)
        for p in factors:
            if (last := _but_one(p, literal)) is not None:
                beside = x.mul(x.Num(c), *(q for q in factors if q is not p))
                wanted = _key(x.totals(sums, x.mul(last, beside)))
                other = next((o for o in terms if o is not t and _key(o) == wanted), None)
                if other is not None:
                    met = [x.totals(sums, beside) if o is t else o for o in terms if o is not other]
                    return all_states(x.add(*met), literal)
            count = literal.get(p.var, 0) if isinstance(p, El) else 0
            if not isinstance(p, El) or not 2 < count <= len(terms) or p.idx[0] != 0:
                continue
            rest = [q for q in factors if q is not p]
            every = [x.totals(sums, x.mul(x.Num(c), El(p.var, (k, *p.idx[1:]), p.sort), *rest)) for k in range(count)]
            keys = [x.alpha(s) for s in every]
            left = [s for s in terms if x.alpha(s) not in keys]
            if len(left) == len(terms) - count:
                return all_states(x.add(*left, x.totals(sums, x.mul(x.Num(c), *rest))), literal)
    return e


def _but_one(e: Expr, literal: Mapping[str, int]) -> El | None:
    """The state that is left out of `q(z[n] = 0) + q(z[n] = 1)`, a sum over all states but one."""
    own = [t for t in x.terms_of(e) if isinstance(t, El) and t.idx]
    if len(own) < 2 or len(own) < len(x.terms_of(e)):
        return None
    first, count = own[0], literal.get(own[0].var, 0)
    every = [El(first.var, (k, *first.idx[1:]), first.sort) for k in range(count)]
    left = [p for p in every if p not in own]
    return left[0] if len(left) == 1 and len(own) == count - 1 and {*own} <= {*every} else None


def _key(e: Expr) -> Expr:
    """The same for terms that differ in the order of factors and the names of bound indices alone."""
    c, factors, sums = apart(e)
    return x.alpha(x.totals(sums, x.Mul((x.Num(c), *sorted(factors, key=repr)))))


def in_every_state(terms: Sequence[Expr], literal: Mapping[str, int]) -> list[Expr]:
    """`[z = 0] a + [z = 1] a` of two states is a; `literal` says how many there are."""
    out = list(terms)
    for t in terms:
        factors = x.factors_of(t)
        for p in factors:
            match p:
                case x.Sel(El(var), 0):
                    count = literal.get(Q.of(var), 0)
                    each: list[Expr] = [x.Sel(p.of, k) for k in range(count)]
                case x.Delta(x.Ix() as i, 0) if i.dim.isdigit():
                    each = [x.Delta(i, k) for k in range(int(i.dim))]
                case _:
                    continue
            rest = [q for q in factors if q is not p]
            every = [{*rest, one} for one in each]
            met = [o for o in out if {*x.factors_of(o)} in every]
            if each and len(met) == len(every):
                return in_every_state([*(o for o in out if o not in met), x.mul(*rest)], literal)
    return out


Parts = tuple[Fraction | float, list[Expr], list[Ix]]


def _pairwise(e: Expr, binary: Binary, shorter: bool) -> Expr:
    """The sum, pairs of its terms that are sums over the same lengths joined where they can be."""
    if not isinstance(e, x.Add):
        return e
    out = list(e.terms)
    if sum(any(isinstance(p, x.Sum) for p in x.factors_of(t)) for t in out) < 2:
        return e
    parts = [apart(t) for t in out]
    alike: dict[tuple[str, ...], list[int]] = {}
    for n, (_, _, sums) in enumerate(parts):
        if sums:
            alike.setdefault(tuple(sorted(i.dim for i in sums)), []).append(n)
    pairs = (pair for own in alike.values() if len(own) <= MOST_ALIKE for pair in combinations(own, 2))
    for n, k in sorted(pairs):
        both = _one_sum(parts[n], parts[k], binary, shorter)
        if both is not None:
            return _pairwise(x.add(*out[:n], both, *out[n + 1 : k], *out[k + 1 :]), binary, shorter)
    return e


def _one_sum(one: Parts, other: Parts, binary: Binary, shorter: bool) -> Expr | None:
    (c, mine, sums), (d, theirs, beside) = one, other
    for same in matched(beside, sums):
        moved = [x.substitute(p, same) for p in theirs]
        held = [p for p in mine if p in moved and not isinstance(p, x.Pow) and set(x.free(p)) & set(sums)]
        left = taken_out([x.mul(x.Num(c), *mine), x.mul(x.Num(d), *moved)]) if held else None
        if shorter and left is not None and _terms(left) >= _terms(x.mul(*mine)) + _terms(x.mul(*moved)):
            left = None
        if shorter and c == d:
            left = _both_states(mine, moved, c, binary) or left
        if left is not None:
            return x.totals(sums, left)
    return None


def _terms(e: Expr) -> int:
    """How many terms a product of sums has, all opened."""
    if isinstance(e, x.Add):
        return sum(map(_terms, e.terms))
    return prod(_terms(p) for p in x.factors_of(e) if isinstance(p, x.Add))


def _both_states(mine: Sequence[Expr], theirs: Sequence[Expr], c: Fraction | float, binary: Binary) -> Expr | None:
    """`q(z = 0) a + q(z = 1) a` is a, and `q(y = 1, z = 0) a + q(y = 1, z = 1) a` is `q(y = 1) a`."""
    held = [(p, k) for p in mine if isinstance(p, El) for k, two in enumerate(binary.get(p.var, ())) if two]
    for p, k in held:
        others = [i for n, i in enumerate(p.idx[: len(binary[p.var])]) if n != k]
        if not isinstance(i := p.idx[k], int) or (p.var in PAIR and not isinstance(others[0], int)):
            continue
        twin = replace(p, idx=(*p.idx[:k], 1 - i, *p.idx[k + 1 :]))
        rest, beside = [q for q in mine if q is not p], [q for q in theirs if q != twin]
        if twin in theirs and x.mul(*rest) == x.mul(*beside):
            alone = all(map(summed_out, others))  # nothing is left to be said of
            left = [] if alone else [replace(p, idx=(*p.idx[:k], ANY_OF_TWO, *p.idx[k + 1 :]))]
            return x.mul(x.Num(c), *rest, *left)
    return None


def in_both_states(e: Expr, binary: Binary) -> Expr | None:
    """`q(z = 1) (a - b) - q(z = 0) b` is `q(z = 1) a - b`; None where no addend stands in both states."""
    terms = e.terms if isinstance(e, x.Add) else ()
    for one, other in combinations(terms, 2):
        for p in x.factors_of(one):
            if not isinstance(p, El) or len(binary.get(p.var, ())) != 1 or not isinstance(p.idx[0], int):
                continue
            twin = El(p.var, (1 - p.idx[0], *p.idx[1:]), p.sort)
            if twin not in x.factors_of(other):
                continue
            mine, theirs = _addends(one, p), _addends(other, twin)
            shared = [a for a in mine if a in theirs]
            if shared:
                left = (x.mul(q, x.add(*(a for a in own if a not in shared))) for q, own in ((p, mine), (twin, theirs)))
                met = x.add(*(t for t in terms if t not in (one, other)), *left, *shared)
                return in_both_states(met, binary) or met
    return None


def _addends(e: Expr, without: Expr) -> list[Expr]:
    """The terms of a product less one of its factors, its one sum opened."""
    c, rest = x.split_number(e)
    factors = [p for p in x.factors_of(rest) if p != without]
    sums = [p for p in factors if isinstance(p, x.Add)][:1]
    held = [p for p in factors if p not in sums]
    return [x.mul(x.Num(c), *held, t) for t in (x.terms_of(sums[0]) if sums else (x.ONE,))]


def matched(these: Sequence[Ix], those: Sequence[Ix]) -> Iterator[dict[Ix, Idx]]:
    """Ways in which indices can stand for others of the same length."""
    dims = Counter(i.dim for i in those)
    if Counter(i.dim for i in these) != dims or any(n > MOST for n in dims.values()):
        return
    ways: list[dict[Ix, Idx]] = [{}]
    for d in dims:
        mine, others = [i for i in these if i.dim == d], [i for i in those if i.dim == d]
        ways = [w | dict(zip(mine, order, strict=True)) for w in ways for order in permutations(others)]
    yield from ways


def apart(e: Expr) -> tuple[Fraction | float, list[Expr], list[Ix]]:
    """The number, the factors and the indices of a product that may end in nested sums."""
    c, rest = x.split_number(e)
    factors: list[Expr] = []
    sums: list[Ix] = []
    for p in x.factors_of(rest):
        if isinstance(p, x.Sum):
            inner, own, more = apart(p.body)
            c = c * inner
            factors += own
            sums += [p.ix, *more]
        else:
            factors.append(p)
    return c, [p for p in factors if p != x.ONE], sums


def opened(e: Expr) -> tuple[Fraction | float, list[Expr], list[Ix]]:
    """The number, the factors with squares as two, and the indices of a term."""
    c, factors, sums = apart(e)
    out: list[Expr] = []
    for p in factors:
        out += [p.base, p.base] if isinstance(p, x.Pow) and p.exponent == x.num(2) else [p]
    return c, out, sums


def taken_out(bodies: Sequence[Expr]) -> Expr:
    """A sum of products, with the factors that all hold before it."""
    split = [x.split_number(b) for b in bodies]
    factors = [list(x.factors_of(rest)) for _, rest in split]
    common = [p for p in factors[0] if len(bodies) > 1 and p != x.ONE and all(p in own for own in factors[1:])]
    for own in factors:
        for p in common:
            own.remove(p)
    return x.mul(*common, x.add(*(x.mul(x.Num(c), *own) for (c, _), own in zip(split, factors, strict=True))))
