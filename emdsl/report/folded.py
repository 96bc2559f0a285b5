"""What `let`s stand for under their names again: `y[n] - x[n]ᵀ beta` is `y[n] - mean[n]`.

The derivation opens them. Here an expression, or a part of a sum or a product, that is the body of one at some place
of its plates is that element of it; what has been taken apart beyond that stays so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import DataIx, El, Expr, Idx, Ix

MOST = 12  # parts of a body that are looked for in every order

At = Mapping[Ix, Idx]  # which place is meant


@dataclass(frozen=True)
class Meaning:
    """The number that a `let` stands for at a place of its plates."""

    name: str
    home: tuple[Ix, ...]
    body: Expr
    mean: bool = False  # under q
    when: Expr | None = None  # in which branch of it


def folded(e: Expr, meanings: Sequence[Meaning]) -> Expr:
    """The expression with the names of what it holds."""
    return Folding(meanings).of(e) if meanings else e


class Folding(x.Rebuilding):
    """From outside to inside, at each place the first that fits."""

    __slots__ = ("held", "meanings")

    def __init__(self, meanings: Sequence[Meaning]) -> None:
        super().__init__(lambda _: None, {})
        self.meanings = meanings
        self.held: tuple[Expr, ...] = ()  # what is so where an expression counts

    def of(self, e: Expr) -> Expr:
        for m in self.meanings:
            found = _found(m, e, self.held)
            if found is not None:
                return self.of(found)
        before = self.held
        if isinstance(e, x.Mul):
            self.held = (*before, *(p for p in e.factors if isinstance(p, x.Fn)))
        out = self.below(e)
        self.held = before
        return out


def _found(m: Meaning, e: Expr, held: Sequence[Expr]) -> Expr | None:
    """The expression with the name in place of the body; None where the body is no part of it."""
    number, body = x.split_number(m.body)
    if isinstance(m.body, x.Add):
        if isinstance(e, x.Add) and len(m.body.terms) <= min(len(e.terms), MOST):
            for sign in (x.ONE, x.num(-1)):
                terms = [x.mul(sign, t) for t in m.body.terms]
                for at, rest in _some(terms, e.terms, {}):
                    if (own := _element(m, at, held)) is not None:
                        return x.add(*rest, x.mul(sign, own))
        return None
    if isinstance(body, x.Mul):
        c, whole = x.split_number(e)
        if isinstance(whole, x.Mul) and len(body.factors) <= min(len(whole.factors), MOST):
            for at, rest in _some(body.factors, whole.factors, {}):
                if (own := _element(m, at, held)) is not None:
                    return x.mul(x.Num(c / number), own, *rest)
        return None
    if isinstance(m.body, x.Fn) and m.body.name == "exp" and isinstance(e, x.Fn) and e.name in ("exp", "softplus"):
        for power in (1, -1, 2, -2):
            for at in _fits(x.mul(x.num(power), m.body.args[0]), e.args[0], {}):
                if (own := _element(m, at, held)) is not None:
                    raised = x.power(own, x.num(power))
                    return raised if e.name == "exp" else x.fn("log", x.add(x.ONE, raised))
        return None
    places = (_element(m, at, held) for at in _fits(m.body, e, {}))
    return next((own for own in places if own is not None), None)


def _element(m: Meaning, at: At, held: Sequence[Expr]) -> Expr | None:
    if any(i not in at for i in m.home) or (m.when is not None and x.substitute(m.when, dict(at)) not in held):
        return None
    whole = El(m.name, tuple(at[i] for i in m.home))
    return x.Fn("E", (whole,)) if m.mean else whole


def _some(wanted: Sequence[Expr], parts: Sequence[Expr], at: At) -> Iterator[tuple[At, list[Expr]]]:
    """Ways to find all that is wanted among the parts: the place, and the parts that are left."""
    if not wanted:
        yield at, list(parts)
        return
    for n, part in enumerate(parts):
        for more in _fits(wanted[0], part, at):
            yield from _some(wanted[1:], [*parts[:n], *parts[n + 1 :]], more)


def _fits(p: Expr, e: Expr, at: At) -> Iterator[At]:
    """The places at which one expression is the other."""
    match p, e:
        case El(a, idx, _), El(b, other, _) if a == b and len(idx) == len(other):
            yield from _all_there(idx, other, at)
        case x.Val(i), x.Val(j):
            yield from _all_there((i,), (j,), at)
        case x.Sel(of, i), x.Sel(other_of, j):
            for more in _fits(of, other_of, at):
                yield from _all_there((i,), (j,), more)
        case x.Sum(i, body), x.Sum(j, other_body) if i.dim == j.dim:
            yield from _fits(body, other_body, {**at, i: j})
        case x.Pow(base, exponent), x.Pow(other_base, other_exponent):
            for more in _fits(base, other_base, at):
                yield from _fits(exponent, other_exponent, more)
        case x.Fn(a, args), x.Fn(b, others) if a == b and len(args) == len(others):
            yield from _each(args, others, at)
        case (x.Mul(parts), x.Mul(others)) | (x.Add(parts), x.Add(others)) if len(parts) == len(others) <= MOST:
            yield from (found for found, _ in _some(parts, others, at))
        case _:
            if type(p) is type(e) and (p == e or x.substitute(p, dict(at)) == e):
                yield at


def _each(ps: Sequence[Expr], es: Sequence[Expr], at: At) -> Iterator[At]:
    if not ps:
        yield at
        return
    for more in _fits(ps[0], es[0], at):
        yield from _each(ps[1:], es[1:], more)


def _all_there(wanted: Sequence[Idx], found: Sequence[Idx], at: At) -> Iterator[At]:
    """The places at which indices are others."""
    if not wanted:
        yield at
        return
    i, j = wanted[0], found[0]
    match i:
        case Ix():
            if (i in at and at[i] == j) or (i not in at and (not isinstance(j, Ix) or j.dim == i.dim)):
                yield from _all_there(wanted[1:], found[1:], {**at, i: j})
        case DataIx(value):
            if isinstance(j, DataIx):
                for more in _fits(value, j.value, at):
                    yield from _all_there(wanted[1:], found[1:], more)
        case _:
            if i == j:
                yield from _all_there(wanted[1:], found[1:], at)
