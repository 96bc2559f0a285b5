"""Squares that stand open, closed again: `-½ a² + a b - ½ b²` is `-½ (a - b)²`, and so with `aᵀ M a` under sums."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr, Idx, Ix
from emdsl.report.sums import apart, matched, opened

MOST = 40  # terms that are looked through


@dataclass(frozen=True)
class Square:
    """`weight * base * turned(base)`, summed: turned is the base itself, or the base at the other index of a matrix."""

    base: Expr
    turn: tuple[tuple[Ix, Ix], ...]
    weight: tuple[Expr, ...]

    def turned(self, e: Expr) -> Expr:
        to: dict[Ix, Idx] = {a: b for i, j in self.turn for a, b in ((i, j), (j, i))}
        return x.substitute(e, to)


def closed_squares(e: Expr) -> Expr:
    """A sum whose terms make up squares, with these closed; anything else as it is."""
    if not isinstance(e, x.Add) or len(e.terms) > MOST:
        return e
    terms = [(t, *opened(t)) for t in e.terms]
    for n, (one, c, factors, sums) in enumerate(terms):
        for square in _squares(factors, sums):
            for other, d, theirs, beside in terms[n + 1 :]:
                found = None if c != d or len(sums) != len(beside) else _joined(square, theirs, beside, sums, terms, c)
                if found is not None:
                    cross, base = found
                    body = x.mul(x.Num(c), *square.weight, _twice(square, base))
                    body = x.totals(sums, body)
                    left = [t for t in e.terms if t not in (one, other, cross)]
                    return closed_squares(x.add(*left, body))
    return e


def closed_in_rows(e: Expr) -> Expr:
    """Sums over the rows of one group as one sum, where a square closes in it.

    `e² sum_n [g[n] = c] + 2 e sum_n [g[n] = c] a[n] + sum_n [g[n] = c] a[n]²` is `sum_n [g[n] = c] (a[n] + e)²`.
    """
    groups: dict[Expr, list[tuple[Expr, Expr]]] = {}
    leads: dict[str, Ix] = {}
    for t in x.terms_of(e):
        c, factors, sums = apart(t)
        own = [p for p in factors if isinstance(p, x.Sel) and sums and sums[0] in x.free(p.of) and p.at not in sums]
        if len(own) == 1:
            row: dict[Ix, Idx] = {sums[0]: leads.setdefault(sums[0].dim, sums[0])}
            body = x.totals(sums[1:], x.mul(x.Num(c), *(p for p in factors if p is not own[0])))
            groups.setdefault(x.substitute(own[0], row), []).append((t, x.substitute(body, row)))
    out = list(x.terms_of(e))
    for rows, found in groups.items():
        atoms: dict[Expr, Expr] = {}
        body = closed_squares(x.add(*(_in_atoms(b, atoms) for _, b in found)))
        if len(x.terms_of(body)) < len(found):
            names = {atom: whole for whole, atom in atoms.items()}
            lead = next(i for i in leads.values() if i in x.free(rows))
            at, gone = out.index(found[0][0]), [t for t, _ in found]
            out[at] = x.Sum(lead, x.mul(rows, x.rebuild(body, names.get)))
            out = [t for t in out if t not in gone]
    return x.add(*out)


def _in_atoms(e: Expr, atoms: dict[Expr, Expr]) -> Expr:
    """A product of sums with a name for each of these, so that `sum_pq w[p] b[p] w[q] b[q]` is seen to be a square."""
    c, factors, sums = apart(e)
    out = [x.Num(c), *(p for p in factors if not {*sums} & {*x.free(p)})]
    left = list(sums)
    while left:
        mine, held = [left[0]], list[Expr]()
        while more := [p for p in factors if p not in held and {*mine} & {*x.free(p)}]:
            held += more
            mine += [i for i in left if i not in mine and any(i in x.free(p) for p in more)]
        whole = x.alpha(x.totals(mine, x.mul(*held)))
        out.append(atoms.setdefault(whole, El(f"sum {len(atoms)}", ())))
        left = [i for i in left if i not in mine]
    return x.mul(*out)


def _twice(square: Square, base: Expr) -> Expr:
    return x.mul(base, square.turned(base)) if square.turn else x.power(base, x.num(2))


def _squares(factors: Sequence[Expr], sums: Sequence[Ix]) -> Iterator[Square]:
    """The ways in which a product is a square with something beside it."""
    counts = Counter(factors)
    twice = [p for p, n in counts.items() if n == 2 and not isinstance(p, x.Num | x.Sel)]
    if len(twice) > 1:
        yield Square(x.mul(*twice), (), tuple(p for p in factors if p not in twice))
    turns: list[tuple[tuple[Ix, Ix], ...]] = [()]
    turns += [((i, j),) for n, i in enumerate(sums) for j in sums[n + 1 :] if i.dim == j.dim]
    for turn in turns:
        for n, f in enumerate(factors):
            if turn and not {*x.free(f)} & {*turn[0]}:
                continue
            square = Square(f, turn, ())
            twin = next((k for k in range(n + 1, len(factors)) if factors[k] == square.turned(f)), None)
            if twin is not None and not isinstance(f, x.Num | x.Sel):
                yield Square(f, turn, tuple(p for k, p in enumerate(factors) if k not in (n, twin)))


def _joined(
    square: Square, theirs: Sequence[Expr], beside: Sequence[Ix], sums: Sequence[Ix],
    terms: Sequence[tuple[Expr, float | Fraction, list[Expr], list[Ix]]], c: float | Fraction,
) -> tuple[Expr, Expr] | None:  # fmt: skip
    """The term that is twice the product of two bases, and what is squared: their sum or difference."""
    for same in matched(beside, sums):
        moved = [x.substitute(p, same) for p in theirs]
        for other in _squares(moved, sums):
            if other.turn != square.turn or Counter(other.weight) != Counter(square.weight):
                continue
            a, b = square.base, other.base
            for term, d, factors, own in terms:
                sign = 1 if d == 2 * c else -1 if d == -2 * c else 0
                if sign and len(own) == len(sums) and _is_cross(square, a, b, factors, own, sums):
                    return term, x.add(a, x.mul(x.num(sign), b))
    return None


def _is_cross(square: Square, a: Expr, b: Expr, factors: Sequence[Expr], own: Sequence[Ix], sums: Sequence[Ix]) -> bool:
    """Whether a product is `weight * a * turned(b)`, or the other way round."""
    pairs = ((a, square.turned(b)), (b, square.turned(a)))
    wanted = [Counter((*square.weight, *(p for e in pair for p in x.factors_of(e)))) for pair in pairs]
    return any(Counter(x.substitute(p, same) for p in factors) in wanted for same in matched(own, sums))
