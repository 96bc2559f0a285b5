"""Reading Q as a function of chosen parameters: which functions of them, with which coefficients."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import DataIx, El, Expr, Idx, Ix
from emdsl.derive.joint.sides import ASKED, REST
from emdsl.derive.joint.terms import Symmetry, Term, merge, opened
from emdsl.language import model as m

FEW_STATES = 12  # values of an index that are written out where a function reads its number
MOST_STATES = 256  # of all such indices of a term together


def axes_of(v: m.Variable) -> tuple[Ix, ...]:
    """A parameter's own axes, as the free indices of its update."""
    return tuple(Ix(f"{v.name}_{n}", str(d)) for n, d in enumerate(v.shape))


def about(terms: Sequence[Term], names: frozenset[str], symmetry: Symmetry) -> list[Term]:
    """The terms that hold these parameters, opened wherever these meet others inside a factor."""
    held = (t for t in terms if any(names & x.variables(f) for f in t.factors))
    out = [p for t in held for part in _opened(t, names) for p in _by_state(part, names)]
    return merge(out, symmetry)


def _opened(t: Term, names: frozenset[str]) -> list[Term]:
    """A term opened wherever the parameters meet others inside a factor; what holds none of them left out."""
    out = []
    for c, factors, sums in opened(x.mul(*t.factors), lambda n: ASKED if n in names else REST):
        inner, rest = x.split_number(x.mul(*factors))
        kept = tuple(f for f in x.factors_of(rest) if f != x.ONE)
        if any(names & x.variables(f) for f in kept):
            out.append(Term(t.coef * c * inner, (), kept, (*t.ixs, *sums)))
    return out


def _by_state(t: Term, names: frozenset[str]) -> list[Term]:
    """The term for each value of an index of few values whose number stands beside the parameters in a function.

    `sum_j S[j] log(1 - j p)` is `S[1] log(1 - p)`: what is a function of its own in each state has one coefficient.
    """
    read = {e.ix: None for f in t.factors if names & x.variables(f) for e in x.walk(f) if isinstance(e, x.Val)}
    few = [i for i in read if i in t.ixs and i.dim.isdigit() and int(i.dim) <= FEW_STATES]
    if not few or prod(int(i.dim) for i in few) > MOST_STATES:
        return [t]
    ix = few[0]
    out: list[Term] = []
    for v in range(int(ix.dim)):
        c, rest = x.split_number(x.mul(*(x.substitute(f, {ix: v}) for f in t.factors)))
        kept = tuple(f for f in x.factors_of(rest) if f != x.ONE)
        made = Term(t.coef * c, (), kept, tuple(i for i in t.ixs if i != ix))
        if made.coef != 0 and any(names & x.variables(f) for f in kept):
            out += [p for part in _opened(made, names) for p in _by_state(part, names)]
    return out


Powers = dict[str, Counter[int]]


def powers(terms: Sequence[Term]) -> Powers:
    """In which terms each parameter stands as a plain factor, and to which power."""
    out: Powers = {}
    for at, t in enumerate(terms):
        for f in t.factors:
            base, power = (f.base, 2) if isinstance(f, x.Pow) and f.exponent == x.num(2) else (f, 1)
            if isinstance(base, El):
                out.setdefault(base.var, Counter())[at] += power
    return out


def meet_above_two(found: Powers, these: Sequence[str], those: Sequence[str]) -> bool:
    """Whether a term holds both to a degree above two: told without opening Q for each of many pairs."""
    one, other = (sum((found.get(n, Counter()) for n in names), Counter[int]()) for names in (these, those))
    return any(one[t] + other[t] > 2 for t in one.keys() & other.keys())


def split(t: Term, names: frozenset[str]) -> tuple[tuple[Expr, ...], tuple[Expr, ...]]:
    """(factors that hold the parameters, the rest)."""
    mine = tuple(f for f in t.factors if names & x.variables(f))
    return mine, tuple(f for f in t.factors if f not in mine)


@dataclass(frozen=True)
class Scalar:
    """A term `coefficient * function(leaf)` of one element of one parameter, on that parameter's axes."""

    function: Expr  # in terms of El(v, axes)
    coefficient: Expr


def scalar_term(t: Term, v: m.Variable, axes: tuple[Ix, ...]) -> Scalar | None:
    """The term as a function of one element of `v`, or None where it holds several."""
    mine, rest = split(t, frozenset((v.name,)))
    leaves = {e for f in mine for e in x.walk(f) if isinstance(e, El) and e.var == v.name}
    if len(leaves) != 1:
        return None
    (leaf,) = leaves
    if any(isinstance(i, DataIx) for i in leaf.idx) or bound_inside(x.mul(*mine), leaf):
        return None
    target = El(v.name, axes, leaf.sort)
    whole = x.put(x.mul(*mine), leaf, target)
    stray = set(x.free(whole)) - set(axes)
    to, extra = _to_axes(leaf.idx, axes)
    if stray - set(to):
        return None
    c = x.mul(x.Num(t.coef), *(x.substitute(f, to) for f in rest), *extra)
    for i in t.ixs:
        if i not in to:
            c = _over_states(i, c)
    return Scalar(x.substitute(whole, to), c)


def _over_states(i: Ix, e: Expr) -> Expr:
    """`sum_i i f[i]` of two states is `f[1]`, `sum_i (1 - i) f[i]` is `f[0]`; any other sum as it is."""
    factors = x.factors_of(e) if i.dim == "2" else ()
    for state, one in ((1, x.Val(i)), (0, x.add(x.ONE, x.neg(x.Val(i))))):
        if one in factors:
            to: dict[Ix, Idx] = {i: state}
            return x.substitute(x.mul(*(p for p in factors if p != one)), to)
    return x.total(i, e)


def per_element(terms: Sequence[Term], names: frozenset[str], axes: tuple[Ix, ...]) -> Expr | None:
    """f, where Q is a sum over the elements of `axes` of one function f of these parameters' elements there.

    None where elements meet, or stand at places read from data.
    """
    out: list[Expr] = []
    for t in terms:
        mine, rest = split(t, names)
        whole = x.mul(*mine)
        leaves = {e for e in x.walk(whole) if isinstance(e, El) and e.var in names}
        places = {leaf.idx for leaf in leaves}
        if len(places) != 1 or any(bound_inside(whole, leaf) for leaf in leaves):
            return None
        (idx,) = places
        if len(idx) != len(axes) or any(isinstance(i, DataIx) for i in idx):
            return None
        to, extra = _to_axes(idx, axes)
        on_axes = x.rebuild(whole, lambda e: El(e.var, axes, e.sort) if e in leaves else None)  # noqa: B023
        if set(x.free(on_axes)) - set(axes) - set(to):
            return None
        c = x.mul(x.Num(t.coef), x.substitute(on_axes, to), *(x.substitute(f, to) for f in rest), *extra)
        for i in t.ixs:
            if i not in to:
                c = x.total(i, c)
        out.append(c)
    return x.add(*out)


def bound_inside(whole: Expr, leaf: El) -> bool:
    """Whether an index of the element is a dummy of a sum inside the expression: then it stands for many."""
    return any(isinstance(i, Ix) and i not in x.free(whole) for i in leaf.idx)


def _to_axes(idx: tuple[Idx, ...], axes: tuple[Ix, ...]) -> tuple[dict[Ix, Idx], list[Expr]]:
    to: dict[Ix, Idx] = {}
    extra: list[Expr] = []
    for i, a in zip(idx, axes, strict=True):
        if isinstance(i, Ix) and i not in to:
            to[i] = a
        else:
            extra.append(x.delta(a, to.get(i, i) if isinstance(i, Ix) else i))
    return to, extra


def matrix_term(t: Term, v: m.Variable, axes: tuple[Ix, ...]) -> tuple[str, Expr] | None:
    """("logdet" | "inverse" | "matrix", coefficient on the parameter's axes) for a term linear in one of these."""
    mine, rest = split(t, frozenset((v.name,)))
    if len(mine) != 1:
        return None
    lead = axes[:-2]
    match mine[0]:
        case x.LogDet(i=i, j=j, body=El(idx=idx)) if idx[-2:] in ((i, j), (j, i)):
            kind, places = "logdet", idx[:-2]
        case x.MatInv(i=i, j=j, body=El(idx=idx), at=at) if idx[-2:] in ((i, j), (j, i)):
            kind, places = "inverse", (*idx[:-2], *at)
        case El(idx=idx):
            kind, places = "matrix", idx
        case _:
            return None
    target = lead if kind == "logdet" else axes
    if any(isinstance(p, DataIx) for p in places):
        return None
    to, extra = _to_axes(places, target)
    c = x.mul(x.Num(t.coef), *(x.substitute(f, to) for f in rest), *extra)
    for i in t.ixs:
        if i not in to:
            c = x.total(i, c)
    return kind, c


def total_of(parts: Sequence[Expr]) -> Expr:
    return x.add(*parts) if parts else x.ZERO
