"""`split`: a factor opened into terms, each a product of atoms that belong to one block alone.

    factor = sum of terms;   term = coef * prod(gates) * prod(factors), summed over its indices

A product, a sum or an integer power is opened only where blocks meet inside it: `(x - W y)^2` stays
whole for whoever owns x, W and y together. What cannot be opened stays as one factor of several
blocks, and the readers of the term refuse it, or evaluate it, with its text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from itertools import permutations, product
from math import factorial, prod

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr, Idx, Ix
from emdsl.derive.algebra.made import COV, MOMENT
from emdsl.derive.joint.factors import Factor, LogJoint, is_of_points
from emdsl.derive.joint.sides import LATENT, opens, side_in

LONGEST = 5000  # terms: a product that would have more stays closed
Block = Callable[[str], str]  # variable name -> the block it belongs to, "" for none
Held = Callable[[Expr], frozenset[str]]  # expression -> the blocks that it touches


@dataclass(frozen=True)
class Term:
    """`coef * prod(gates) * prod(factors)` summed over `ixs` (each of them counts, carried or not)."""

    coef: Fraction | float
    gates: tuple[x.Sel, ...]
    factors: tuple[Expr, ...]
    ixs: tuple[Ix, ...]

    @property
    def body(self) -> Expr:
        return x.mul(x.Num(self.coef), *self.factors)


@lru_cache(maxsize=50_000)
def _names(e: Expr) -> tuple[str, ...]:
    return tuple(sorted(x.variables(e)))


def blocks_of(e: Expr, block: Block) -> frozenset[str]:
    """The blocks an expression touches (its data-valued index positions included)."""
    return frozenset(b for b in (block(n) for n in _names(e)) if b)


def continuous_in(t: Term, kinds: Mapping[str, str]) -> set[str]:
    """The continuous latents that stand in a term's factors."""
    found = (b for f in t.factors for b in blocks_of(f, side_in(kinds)))
    return {LATENT.named(b) for b in found if b in LATENT}


def opened(e: Expr, block: Block) -> list[tuple[Fraction | float, tuple[Expr, ...], tuple[Ix, ...]]]:
    """e = sum of (coef, factors, new summed indices), opened as little as the blocks allow.

    A block that is asked about (`sides.opens`) is opened down to its statistics.
    """
    return opened_by(e, lambda part: blocks_of(part, block))


def opened_by(
    e: Expr, held: Held, together: bool = False
) -> list[tuple[Fraction | float, tuple[Expr, ...], tuple[Ix, ...]]]:
    """The same where `held` tells the blocks of an expression; `together`: of a sum, what is of none stays one."""
    mine = held(e)
    if len(mine) <= 1 and not any(map(opens, mine)):
        return [flat(e)]
    match e:
        case x.Add():
            alone = [t for t in e.terms if together and not held(t)]
            rest = (m for t in e.terms if t not in alone for m in opened_by(t, held, together))
            return [*([flat(x.add(*alone))] if alone else []), *rest]
        case x.Mul():
            parts = [opened_by(f, held, together) for f in e.factors]
            if prod(map(len, parts)) <= LONGEST:
                return _product(parts)
        case x.Pow(base, x.Num(v)) if isinstance(v, Fraction) and v.denominator == 1 and 2 <= v <= 8:
            once = opened_by(base, held, together)  # its sums get names of their own in each factor of the product
            if len(once) ** int(v) <= LONGEST:
                return _product([once] * int(v))
        case x.Sum():
            ix, body = x.refresh(e)
            return [(c, f, (ix, *s)) for c, f, s in opened_by(body, held, together)]
        case x.Fn(name, (x.Add() as a,)) if name in _ADDITION:
            whole = _split_sum(name, a, held)
            if whole is not None:
                return opened_by(whole, held, together)
    return [(Fraction(1), (e,), ())]


def flat(e: Expr) -> tuple[Fraction | float, tuple[Expr, ...], tuple[Ix, ...]]:
    """(coefficient, factors, summed indices) of a product of sums."""
    c, rest = x.split_number(e)
    factors: list[Expr] = []
    sums: list[Ix] = []
    for f in x.factors_of(rest):
        if isinstance(f, x.Sum):
            ix, body = x.refresh(f)
            inner_c, inner, more = flat(body)
            c = c * inner_c
            factors += inner
            sums += [ix, *more]
        elif f != x.ONE:
            factors.append(f)
    return c, tuple(factors), tuple(sums)


def _product(
    parts: list[list[tuple[Fraction | float, tuple[Expr, ...], tuple[Ix, ...]]]],
) -> list[tuple[Fraction | float, tuple[Expr, ...], tuple[Ix, ...]]]:
    out = []
    for combo in product(*parts):
        c: Fraction | float = Fraction(1)
        factors: tuple[Expr, ...] = ()
        sums: tuple[Ix, ...] = ()
        for ci, fi, si in combo:
            renamed = {s: x.fresh(s.dim) for s in si if s in sums}
            if renamed:
                fi = tuple(x.substitute(f, dict(renamed)) for f in fi)
                si = tuple(renamed.get(s, s) for s in si)
            c, factors, sums = c * ci, factors + fi, sums + si
        out.append((c, factors, sums))
    return out


def _split_sum(name: str, a: x.Add, held: Held) -> Expr | None:
    """exp, cos, sin of a sum, by their addition theorems, one block apart from the others."""
    first = held(a.terms[0])
    latent = any(map(opens, first))  # opened down to its statistics: without numbers
    same = [t for t in a.terms if held(t) == first or (not latent and not held(t))]
    rest = [t for t in a.terms if t not in same]
    return _ADDITION[name](x.add(*same), x.add(*rest)) if rest else None


_ADDITION: dict[str, Callable[[Expr, Expr], Expr]] = {
    "exp": lambda a, b: x.mul(x.fn("exp", a), x.fn("exp", b)),
    "cos": lambda a, b: x.add(x.mul(x.fn("cos", a), x.fn("cos", b)), x.neg(x.mul(x.fn("sin", a), x.fn("sin", b)))),
    "sin": lambda a, b: x.add(x.mul(x.fn("sin", a), x.fn("cos", b)), x.mul(x.fn("cos", a), x.fn("sin", b))),
}


def terms(factor: Factor, block: Block) -> list[Term]:
    """The terms of one factor; masks multiply every term."""
    out = []
    for c, factors, sums in opened(factor.body, block):
        merged = x.mul(*factors)
        inner_c, rest = x.split_number(merged)
        body = tuple(f for f in x.factors_of(rest) if f != x.ONE)
        if c * inner_c != 0:
            made = Term(c * inner_c, factor.gates, factor.masks + body, factor.plates + sums)
            out.append(settle(_read(made) if len(factor.gates) > FEW else made))
    return out


def apart(factor: Factor, block: Block) -> list[Term]:
    """The same, but for addends of which no statistic comes: where opening leaves data and parameters inside one
    function (of the square of a distance from a curve, say), the addend stays as it was written."""

    def bare(e: Expr) -> Expr | None:  # data that a parameter is looked up by are told apart by selectors
        return El(e.var, (), e.sort) if isinstance(e, El) else None

    def tied(made: Iterable[Term]) -> bool:
        return any(len(blocks_of(x.rebuild(f, bare), block)) > 1 for t in made for f in t.factors)

    if not tied(whole := terms(factor, block)):
        return whole
    out = []
    for a in factor.body.terms if isinstance(factor.body, x.Add) else (factor.body,):
        alone = replace(factor, body=a)
        made = terms(alone, block)
        closed = len(made) > 1 and tied(made) and not any(map(opens, blocks_of(a, block)))
        out += terms(alone, lambda _: "") if closed else made
    return out


FEW = 2  # gates: with more of them, terms are told apart by those that they read


def by_states(t: Term, owner: Callable[[str], str]) -> list[Term]:
    """The term opened by the states of discrete latents, those of one owner kept together: sums, products, powers.

    A function of many states is a table over all of them; of a sum of terms each reads few.
    """
    at = {g.at: owner(g.of.var) for g in t.gates if isinstance(g.at, Ix) and isinstance(g.of, El)}
    out = []
    for c, factors, sums in opened_by(
        x.mul(*t.factors), lambda e: frozenset(at[i] for i in x.free(e) if i in at), together=True
    ):
        inner, rest = x.split_number(x.mul(*factors))
        body = tuple(f for f in x.factors_of(rest) if f != x.ONE)
        out.append(settle(_read(Term(t.coef * c * inner, t.gates, body, (*t.ixs, *sums)))))
    return [p for p in out if p.coef != 0]


def most_states(t: Term) -> int:
    """The most states of latents that one function in a term reads."""
    at = {g.at for g in t.gates if isinstance(g.at, Ix)}
    return max((len(set(x.free(f)) & at) for f in t.factors), default=0)


def _read(t: Term) -> Term:
    """The term without gates whose state nothing in it reads: over all states, sum_k [z = k] = 1.

    Those of points stay: what is inside a cloud is known with its points, and under no posterior of its own.
    """
    read = {i for f in t.factors for i in x.free(f)} | {i for g in t.gates for i in x.free(g.of)}
    read |= {g.at for g in t.gates if isinstance(g.at, Ix) and is_of_points(g.at)}
    lost = [g for g in t.gates if isinstance(g.at, Ix) and g.at not in read]
    dropped = {g.at for g in lost}
    return Term(
        t.coef, tuple(g for g in t.gates if g not in lost), t.factors, tuple(i for i in t.ixs if i not in dropped)
    )


def settle(t: Term) -> Term:
    """Deltas between summed indices are used up."""
    for f in t.factors:
        if isinstance(f, x.Delta):
            for a, b in ((f.a, f.b), (f.b, f.a)):
                if isinstance(a, Ix) and a in t.ixs and not any(g.at == a for g in t.gates):
                    rest = tuple(g for g in t.factors if g is not f)
                    to: dict[Ix, Idx] = {a: b}
                    body = x.mul(*(x.substitute(g, to) for g in rest))
                    c, body = x.split_number(body)
                    gates = tuple(x.Sel(x.substitute(g.of, to), g.at) for g in t.gates)
                    kept = tuple(g for g in x.factors_of(body) if g != x.ONE)
                    return settle(Term(t.coef * c, gates, kept, tuple(i for i in t.ixs if i != a)))
    return t


# ------------------------------------------------------------------ canonical form


@dataclass(frozen=True)
class Symmetry:
    """Which arrays are symmetric in their last two axes."""

    variables: frozenset[str]

    def sort(self, e: Expr) -> Expr:
        match e:
            case El() if e.var in self.variables and len(e.idx) >= 2:
                *lead, a, b = e.idx
                return El(e.var, (*lead, *sorted((a, b), key=repr)), e.sort)
            case x.MatInv():
                a, b = sorted(e.at, key=repr)
                return x.MatInv(e.i, e.j, e.body, (a, b))
            case x.Pow(x.MatInv() as base, n):
                return x.Pow(self.sort(base), n)
        return e


def spell(factors: Iterable[Expr], rename: dict[Ix, Ix], symmetry: Symmetry) -> tuple[str, ...]:
    to: dict[Ix, Idx] = dict(rename)
    return tuple(sorted(_spelling(symmetry.sort(x.substitute(f, to))) for f in factors))


@lru_cache(maxsize=20_000)
def _spelling(e: Expr) -> str:
    return repr(x.alpha(e))


def canonical_form(
    factors: tuple[Expr, ...], dummies: tuple[Ix, ...], symmetry: Symmetry
) -> tuple[tuple[str, ...], dict[Ix, Ix]]:
    """A product's spelling and its names for summed indices, however it was written: the least spelling wins."""
    groups: dict[str, list[Ix]] = {}
    for d in dummies:
        groups.setdefault(d.dim, []).append(d)
    tries = 1
    for g in groups.values():
        tries *= factorial(len(g))
    choices: list[list[tuple[Ix, ...]]] = []
    for g in groups.values():
        choices.append(list(permutations(g)) if tries <= 720 else [tuple(g)])
    found = []
    for combo in product(*choices):
        rename = {
            old: Ix(f"{'abcdefgh'[n] if n < 8 else 'z'}{n}", old.dim) for order in combo for n, old in enumerate(order)
        }
        found.append((spell(factors, rename, symmetry), rename))
    return min(found, key=lambda form: form[0])


def merge(items: Iterable[Term], symmetry: Symmetry, fixed: tuple[Ix, ...] = ()) -> list[Term]:
    """Coefficients of equal terms added; the first writing of each is kept. `fixed` indices are not summed here."""
    found: dict[tuple[object, ...], Term] = {}
    for t in items:
        parts = (*t.gates, *t.factors)
        dummies = tuple(i for i in t.ixs if i not in fixed)
        carried, _ = canonical_form(parts, dummies, symmetry)
        key = (carried, tuple(sorted(i.dim for i in dummies)), tuple(sorted(map(repr, set(t.ixs) & set(fixed)))))
        old = found.get(key)
        found[key] = t if old is None else replace(old, coef=old.coef + t.coef)
    return [t for t in found.values() if t.coef != 0]


def symmetry_of(joint: LogJoint) -> Symmetry:
    """The symmetric arrays of a model: by their domains, and covariances of a vector with itself."""
    names = [v.name for v in joint.model.variables if v.domain.symmetric]
    vectors = [v.name for v in joint.model.variables if len(v.domain.dims) == 1 and not v.array]
    own = (n for v in names for n in (v, MOMENT.of(v, "id"), MOMENT.of(v, "inv")))
    return Symmetry(frozenset([*own, *(COV.of(v, v) for v in vectors)]))


def at_gate(g: x.Sel, at: Ix, factors: list[Expr], ixs: list[Ix]) -> tuple[list[Expr], list[Ix]]:
    """Factors and indices of a term whose gate is told by the state index `at` of what it selects."""
    if isinstance(g.at, Ix):
        return [x.substitute(f, {g.at: at}) for f in factors], [at if i == g.at else i for i in ixs]
    return [*factors, x.delta(at, g.at)], [*ixs, at]
