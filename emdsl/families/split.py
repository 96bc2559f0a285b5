"""Exponential-family structure of a scalar family, read off its log density by sympy.

    log p(x | a) = sum_j eta_j(a) T_j(x) - A(a) + log h(x)

Every term of the opened log density is a product; what of it holds x is a statistic, what of it does
not is its natural parameter. A term in which x stands inside one function with an argument
cannot be divided, and is the reason given.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from math import prod
from typing import Any

import sympy as sp

from emdsl.families.symbols import NoSymbol, symbol, to_sympy
from emdsl.language.model import Family, Var, walk

LONGEST = 2000  # terms: a density that would have more is not multiplied out


@dataclass(frozen=True, slots=True)
class Exponential:
    """log p = sum eta_j T_j - log_partition + log_base; `fixed` are the arguments that must be known for it to hold."""

    x: Any
    statistics: tuple[Any, ...]
    natural: tuple[Any, ...]
    log_partition: Any
    log_base: Any
    fixed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NotExponential:
    """Why there is no finite-dimensional statistic, the term that says so, and what would mend it if it were fixed."""

    reason: str
    term: Any = None
    fixed: tuple[tuple[str, ...], ...] = ()


@lru_cache(maxsize=256)
def split(family: Family, signature: int = 0, fixed: tuple[str, ...] = ()) -> Exponential | NotExponential:
    """The decomposition of one parameterisation, arguments in `fixed` taken as known; else the reason.

    A category's statistics are its indicators: one symbolic KroneckerDelta(x, k) stands for all.
    """
    free = [a.name for a in family.signatures[signature].arguments if a.name not in fixed]
    if family.x.domain.dims:
        return NotExponential("its variate is not a number, and this splits densities of numbers")
    moving = sorted(set(free) & bound_names(family))
    if moving:
        return NotExponential(f"the support of x moves with `{moving[0]}`", fixed=mends(family, signature, fixed))
    if family.x.domain.kind == "category":
        return _category(family, signature, fixed)
    try:
        x, arguments, body = density(family, signature)
    except NoSymbol as no:
        return NotExponential(f"no scalar expression: {no}")
    parts = divide(opened(body), x, {arguments[n] for n in free})
    if not isinstance(parts, Exponential):
        moved = NotExponential(parts.reason, parts.term, mends(family, signature, fixed))
        return moved
    return Exponential(x, parts.statistics, parts.natural, parts.log_partition, parts.log_base, fixed)


def density(family: Family, signature: int) -> tuple[Any, dict[str, Any], Any]:
    """x, the arguments by name and the log density, as sympy; raises NoSymbol for vectors."""
    declared = family.signatures[signature]
    x = symbol(family.x.name, family.x.domain)
    scalars = {a.name: symbol(a.name, a.domain) for a in declared.arguments if not a.domain.dims}
    return x, scalars, to_sympy(declared.log_density, {family.x.name: x, **scalars})


def bound_names(family: Family) -> set[str]:
    """Names in the bounds of x's own domain."""
    bounds = [b for b in (family.x.domain.lower, family.x.domain.upper) if b is not None]
    return {node.name for b in bounds for node in walk(b) if isinstance(node, Var)}


def mends(family: Family, signature: int, fixed: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """The smallest sets of further arguments that, if fixed, leave an exponential family."""
    free = [a.name for a in family.signatures[signature].arguments if a.name not in fixed]
    for size in range(1, len(free)):
        tried = (tuple(sorted((*fixed, *more))) for more in combinations(free, size))
        found = [t for t in tried if _holds(family, signature, t)]
        if found:
            return tuple(found)
    return ()


def _holds(family: Family, signature: int, fixed: tuple[str, ...]) -> bool:
    """`split` would succeed; asked without looking for mends in turn."""
    free = {a.name for a in family.signatures[signature].arguments if a.name not in fixed}
    if free & bound_names(family):
        return False
    try:
        x, arguments, body = density(family, signature)
    except NoSymbol:
        return False
    return isinstance(divide(opened(body), x, {arguments[n] for n in free}), Exponential)


def opened(body: Any) -> Any:
    """Products of sums, logs of products, cosines of differences opened; what sympy cannot prove is tried."""
    if length(body) > LONGEST:
        return body
    loose = sp.expand(sp.expand_log(sp.expand(body, trig=True), force=True), trig=True)
    return loose if same_value(body, loose) else sp.expand(sp.expand_log(body))


def length(e: Any) -> int:
    """At most how many terms an expression has when its products are multiplied out."""
    if e.is_Add:
        return sum(map(length, e.args))
    inside = [length(a) for a in e.args]
    if e.is_Pow and e.exp.is_Integer and e.exp > 1:
        return int(min(inside[0] ** min(int(e.exp), 64), 10**9))
    return int(min(prod(inside), 10**9))


def same_value(a: Any, b: Any) -> bool:
    """a = b at a few points inside every domain."""
    names = sorted(a.free_symbols | b.free_symbols, key=str)
    for points in ((0.31, 0.23, 0.17, 0.43, 0.29), (0.71, 0.52, 0.64, 0.37, 0.83)):
        at = {s: sp.Integer(1) if s.is_integer else sp.Float(points[i % 5]) for i, s in enumerate(names)}
        gap = (a - b).xreplace(at).evalf()
        if not gap.is_number or not gap.is_finite or not abs(sp.N(gap)) < 1e-9:
            return False
    return True


def divide(body: Any, x: Any, free: Iterable[Any]) -> Exponential | NotExponential:
    """Terms into eta(a) T(x), gathered by T; x-free terms into -A, argument-free ones into log h."""
    free = set(free)
    gathered: dict[Any, Any] = {}
    partition = base = sp.Integer(0)
    for term in sp.Add.make_args(body):
        outside, inside = term.as_independent(x, as_Add=False)
        if inside.free_symbols & free:
            return NotExponential(_why(inside, x, free), inside)
        holds = bool(outside.free_symbols & free)
        if inside == 1 and holds:
            partition = partition - outside
        elif holds:
            known, eta = outside.as_independent(*free, as_Add=False)
            sign, known = known.as_coeff_Mul()
            gathered[known * inside] = gathered.get(known * inside, sp.Integer(0)) + sign * eta
        else:
            base = base + term
    pairs = [(t, eta) for t, eta in gathered.items() if eta != 0]
    pairs.sort(key=lambda pair: (sp.count_ops(pair[0]), sp.default_sort_key(pair[0])))
    return Exponential(x, tuple(t for t, _ in pairs), tuple(eta for _, eta in pairs), partition, base)


def _why(inside: Any, x: Any, free: set[Any]) -> str:
    """The smallest function in which x and an argument meet."""
    found = inside
    while True:
        deeper = [a for a in found.args if x in a.free_symbols and a.free_symbols & free]
        if not deeper or isinstance(found, sp.Pow | sp.Function):
            break
        found = deeper[0]
    names = ", ".join(f"`{s}`" for s in sorted(found.free_symbols & free, key=str))
    return f"{sp.sstr(found)} ties {names} to {x}"


def _category(family: Family, signature: int, fixed: tuple[str, ...]) -> Exponential:
    """T_k = [x = k], eta_k = log p(k): any family over finitely many values."""
    k = sp.Symbol("k", integer=True, nonnegative=True)
    x = symbol(family.x.name, family.x.domain)
    return Exponential(x, (sp.KroneckerDelta(x, k),), (sp.Function("log_p")(k),), sp.Integer(0), sp.Integer(0), fixed)
