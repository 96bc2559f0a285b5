"""What a declared family is as an exponential family, in the indexed algebra.

    log p(x | a) = sum_j < T_j(x), eta_j(a) > - A(a) + log h(x)

Two ways lead here, and a test holds them against each other. Densities of numbers are taken apart by
sympy (`families.split`), and its answer is carried over. Densities of vectors, matrices and
categories are opened by the same rules as a model's log joint (`indexed`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import sympy as sp

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr, Idx, Ix
from emdsl.derive.algebra.scalars import Symbols
from emdsl.derive.joint.element import Tensors, sort_of
from emdsl.derive.joint.scope import Closure, Scope
from emdsl.derive.joint.sides import ASKED, PARAMETER
from emdsl.derive.joint.terms import Symmetry, Term, canonical_form, merge, opened, settle
from emdsl.errors import InternalError, ModelError
from emdsl.families import split as sympy_split
from emdsl.families.symbols import symbol
from emdsl.language import model as m


@dataclass(frozen=True)
class Pair:
    """A statistic and its natural parameter; their product is summed over `ixs`, which both carry."""

    statistic: Expr
    natural: Expr
    ixs: tuple[Ix, ...] = ()


@dataclass(frozen=True)
class Exponential:
    """log p = sum of the pairs' products - log_partition + log_base, with the arguments in `fixed` known."""

    pairs: tuple[Pair, ...]
    log_partition: Expr
    log_base: Expr
    fixed: tuple[str, ...] = ()


@dataclass(frozen=True)
class NotExponential:
    """Why there are no finite statistics, the term that says so, and what is left where some arguments are known."""

    reason: str
    tie: Expr | None = None
    given: Exponential | None = None


@lru_cache(maxsize=256)
def exponential(family: m.Family, signature: int) -> Exponential | NotExponential:
    """One parameterisation of a family, numbers by sympy and everything else by its indices."""
    try:
        found = _exponential(family, signature)
        body, _ = _density(family, signature)
    except ModelError as e:  # what can be taken apart only in a model, where lengths are known
        return NotExponential(e.problems[0].message)
    if isinstance(found, Exponential):
        return _as_declared(found, body)
    return found if found.given is None else replace(found, given=_as_declared(found.given, body))


def _as_declared(parts: Exponential, body: Expr) -> Exponential:
    """What the declaration multiplies a statistic by, numbers too: `(shape - 1) log x`, whose -1 was the base's."""
    written = [_product(t) for t in x.terms_of(body)]
    pairs, base = [], parts.log_base
    for p in parts.pairs:
        for by, ixs, rest in written:
            if len(ixs) == len(p.ixs):
                to = dict(zip(ixs, p.ixs, strict=True))
                number = x.add(x.substitute(by, to), x.neg(p.natural))
                left = x.add(base, x.neg(x.totals(p.ixs, x.mul(number, p.statistic))))
                moved = x.alpha(x.substitute(rest, to)) == x.alpha(p.statistic) and _shorter_sum(left, base)
                p, base = (replace(p, natural=x.add(p.natural, number)), left) if moved else (p, base)
        pairs.append(p)
    return replace(parts, pairs=tuple(pairs), log_base=base)


def _product(t: Expr) -> tuple[Expr, tuple[Ix, ...], Expr]:
    """A sum in a term of a density, by itself; the indices over which the term is summed; and its other factors."""
    c, rest = x.split_number(t)
    ixs: tuple[Ix, ...] = ()
    while isinstance(rest, x.Sum):
        ixs, (more, rest) = (*ixs, rest.ix), x.split_number(rest.body)
        c = c * more
    by = next((f for f in x.factors_of(rest) if isinstance(f, x.Add)), x.ONE)
    return x.mul(x.Num(c), by), ixs, x.mul(*(f for f in x.factors_of(rest) if f is not by))


def _shorter_sum(left: Expr, base: Expr) -> bool:
    return base != x.ZERO and (left == x.ZERO or len(x.terms_of(left)) < len(x.terms_of(base)))


def _exponential(family: m.Family, signature: int) -> Exponential | NotExponential:
    if family.x.domain.dims or family.x.domain.kind == "category":
        return indexed(family, signature)
    found = sympy_split.split(family, signature)
    if isinstance(found, sympy_split.Exponential):
        return _carried(found, family, signature) or indexed(family, signature)
    known = (sympy_split.split(family, signature, fixed) for fixed in found.fixed[:1])
    given = next((_carried(k, family, signature) for k in known if isinstance(k, sympy_split.Exponential)), None)
    mine = indexed(family, signature)
    if not isinstance(mine, NotExponential):
        return NotExponential(found.reason, given=given)
    return replace(mine, tie=_shorter(found.term, mine.tie, family, signature), given=given)


def _shorter(term: Any, tie: Expr | None, family: m.Family, signature: int) -> Expr | None:
    """Of the two terms that cannot be divided, sympy's and ours, the one that says it in fewer words."""
    if term is None:
        return tie
    try:
        other = _symbols(family, signature).from_sympy(term)
    except InternalError:
        return tie
    return tie if tie is not None and len(list(x.walk(tie))) <= len(list(x.walk(other))) else other


def _symbols(family: m.Family, signature: int) -> Symbols:
    """The symbols that sympy's answer is written in."""
    table = Symbols()
    for a in (family.x, *family.signatures[signature].arguments):
        if not a.domain.dims:
            table.meaning[symbol(a.name, a.domain)] = El(a.name, (), sort_of(a.domain))
    for name in family.sizes:
        table.meaning[sp.Symbol(name, integer=True, positive=True)] = x.SizeN(name)
    return table


def _carried(found: sympy_split.Exponential, family: m.Family, signature: int) -> Exponential | None:
    """sympy's parts as expressions in the family's own names; None where one is of cases, which stay in the formula."""
    table = _symbols(family, signature)
    if any(part.has(sp.Piecewise) for part in (*found.statistics, *found.natural, found.log_partition, found.log_base)):
        return None
    pairs = [
        Pair(table.from_sympy(t), table.from_sympy(eta)) for t, eta in zip(found.statistics, found.natural, strict=True)
    ]
    partition, base = table.from_sympy(found.log_partition), table.from_sympy(found.log_base)
    return Exponential(tuple(pairs), partition, base, found.fixed)


# ------------------------------------------------------------------ by indices


@lru_cache(maxsize=256)
def indexed(family: m.Family, signature: int, fixed: tuple[str, ...] = ()) -> Exponential | NotExponential:
    """The density opened where x and the arguments meet, like any factor of a log joint."""
    arguments = family.signatures[signature].arguments
    free = frozenset(a.name for a in arguments if a.name not in fixed)
    moving = sorted(free & sympy_split.bound_names(family))
    if moving:
        return NotExponential(f"the support of {family.x.name} moves with `{moving[0]}`")
    body, variate = _density(family, signature)
    found: dict[Expr, tuple[Expr, tuple[Ix, ...], list[Expr]]] = {}
    partition: list[Expr] = []
    base: list[Expr] = []
    symmetry = Symmetry(frozenset(a.name for a in (family.x, *arguments) if a.domain.symmetric))
    for t in _terms(body, variate, free, symmetry):
        mine = [f for f in t.factors if variate & x.variables(f)]
        ties = next((f for f in mine if free & x.variables(f)), None)
        if ties is not None:
            names = ", ".join(f"`{n}`" for n in sorted(free & x.variables(ties)))
            return NotExponential(f"{names} and {family.x.name} do not come apart", ties)
        if free.isdisjoint(n for f in t.factors for n in x.variables(f)):
            base.append(x.totals(t.ixs, t.body))
        elif not mine:
            partition.append(x.neg(x.totals(t.ixs, t.body)))
        else:
            _put(t, mine, found, symmetry)
    pairs = tuple(Pair(t, x.add(*etas), ixs) for t, ixs, etas in found.values())
    return _with_selector(Exponential(pairs, x.add(*partition), x.add(*base), fixed), family)


_LEVEL = ":level"  # the index that stands for a category's value


def _density(family: m.Family, signature: int) -> tuple[Expr, frozenset[str]]:
    """The declared density in elements, and the names that x goes by in it."""
    declared = family.signatures[signature]
    variables = tuple(m.Variable("given", a.name, (), (), a.domain) for a in (family.x, *declared.arguments))
    tensors = Tensors(m.ModelText(family.name, (), variables, (), (), (family,), ()))
    if family.x.domain.kind != "category":
        return tensors.element(declared.log_density, (), Scope()), frozenset((family.x.name,))
    level = Ix(_LEVEL, str(family.x.domain.levels))
    scope = Scope(bindings={family.x.name: Closure(None, None, ready=x.Val(level))})
    return tensors.element(declared.log_density, (), scope), frozenset()


def _terms(body: Expr, variate: frozenset[str], free: frozenset[str], symmetry: Symmetry) -> list[Term]:
    def block(name: str) -> str:
        return ASKED if name in variate else PARAMETER if name in free else ""

    out = []
    for c, factors, sums in opened(body, block):
        inner, rest = x.split_number(x.mul(*factors))
        kept = tuple(f for f in x.factors_of(rest) if f != x.ONE)
        out.append(settle(Term(c * inner, (), kept, sums)))
    return merge(out, symmetry)


def _put(
    t: Term, mine: Sequence[Expr], found: dict[Expr, tuple[Expr, tuple[Ix, ...], list[Expr]]], symmetry: Symmetry
) -> None:
    """One term under its statistic: indices that only one side carries are summed there."""
    rest = [f for f in t.factors if f not in mine]
    inside = {i for f in mine for i in x.free(f)}
    outside = {i for f in rest for i in x.free(f)}
    shared = tuple(i for i in t.ixs if i in inside and i in outside)
    statistic = x.totals([i for i in t.ixs if i in inside and i not in outside], x.mul(*mine))
    natural = x.totals([i for i in t.ixs if i not in inside], x.mul(x.Num(t.coef), *rest))
    to: dict[Ix, Idx] = dict(canonical_form((statistic,), shared, symmetry)[1])
    statistic = x.substitute(statistic, to)
    ixs = tuple(i for i in (to[j] for j in shared) if isinstance(i, Ix))
    found.setdefault(x.alpha(statistic), (statistic, ixs, []))[2].append(x.substitute(natural, to))


def _with_selector(parts: Exponential, family: m.Family) -> Exponential:
    """Of a category: what carries its value k is the natural parameter of [x = k]."""
    levels = family.x.domain.levels
    if family.x.domain.kind != "category" or parts.pairs:
        return parts
    level = Ix(_LEVEL, str(levels))
    carried: list[Expr] = []
    constant: list[Expr] = []
    for t in x.terms_of(x.neg(parts.log_partition)):
        (carried if level in x.free(t) else constant).append(t)
    pair = Pair(x.Sel(El(family.x.name, ()), level), x.add(*carried), (level,))
    return Exponential((pair,), x.neg(x.add(*constant)), parts.log_base, parts.fixed)


# ------------------------------------------------------------------ names of statistics


def functions_in(parts: Exponential) -> tuple[Expr, ...]:
    """Every function of x in a density: its statistics, and the terms of its base measure."""
    base = [x.split_number(t)[1] for t in x.terms_of(parts.log_base)]
    return (*(p.statistic for p in parts.pairs), *(t for t in base if x.variables(t)))


def only(found: Exponential | NotExponential) -> Exponential:
    """The parts of a family that must have them."""
    if isinstance(found, NotExponential):
        raise InternalError("exponential", found.reason)
    return found
