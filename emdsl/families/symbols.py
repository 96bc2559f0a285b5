"""Typed scalar expressions as sympy expressions: symbols with their assumptions, functions from a table.

No text is ever handed to sympy: nodes are built from the typed tree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import sympy as sp

from emdsl.families.special import OPEN, log_bessel_i0
from emdsl.language.model import (
    Call,
    Dim,
    Domain,
    Each,
    Expr,
    If,
    Index,
    Loop,
    Num,
    Pi,
    SizeOf,
    Stack,
    SumOver,
    Var,
)

LARGEST_POWER = 4096  # bits of an integer power that is worked out


class NoSymbol(Exception):
    """An expression that has no scalar sympy form; the message says which part."""


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    **OPEN,
    "log_bessel_i0": log_bessel_i0,
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "floordiv": lambda a, b: sp.floor(a / b),
    "mod": sp.Mod,
    "neg": lambda a: -a,
    "eq": sp.Eq,
    "ne": sp.Ne,
    "lt": sp.Lt,
    "le": sp.Le,
    "gt": sp.Gt,
    "ge": sp.Ge,
    "and": sp.And,
    "or": sp.Or,
    "not": sp.Not,
    "sqrt": sp.sqrt,
    "beta_ln": lambda a, b: sp.loggamma(a) + sp.loggamma(b) - sp.loggamma(a + b),
    "lchoose": lambda n, k: sp.loggamma(n + 1) - sp.loggamma(k + 1) - sp.loggamma(n - k + 1),
}
TRUTHS = (sp.Rel, sp.logic.boolalg.BooleanFunction, sp.logic.boolalg.BooleanAtom)  # a Symbol is a Boolean too


def assumptions(domain: Domain) -> dict[str, bool]:
    """What sympy may assume of each number of this domain, apart from its bounds."""
    if domain.discrete:
        return {"integer": True, "nonnegative": True}
    return {"positive": True} if domain.ends[0] >= 0 or domain.kind == "simplex" else {"real": True}


def symbol(name: str, domain: Domain) -> Any:
    """The symbol of a scalar of this domain."""
    lower = domain.lower
    at_least_zero = isinstance(lower, Num) and lower.value >= 0
    return sp.Symbol(name, **({"positive": True} if domain.kind == "real" and at_least_zero else assumptions(domain)))


def to_sympy(e: Expr, names: Mapping[str, Any]) -> Any:
    """The expression over `names`; raises NoSymbol where a vector, a sum or an unknown name stands in it."""
    match e:
        case Num(value):
            return number(value)
        case Pi():
            return sp.pi
        case Var(name):
            if name not in names:
                raise NoSymbol(f"`{name}` is not a number")
            return names[name]
        case SizeOf(size):
            return dimension(size) if isinstance(size, Dim) else sp.Symbol(str(size), integer=True, nonnegative=True)
        case Call("pow", (base, exponent)):
            return power(to_sympy(base, names), to_sympy(exponent, names))
        case Call(fn, args) if fn in FUNCTIONS:
            values = [to_sympy(a, names) for a in args]
            logical = fn in ("and", "or", "not")
            return FUNCTIONS[fn](*(truth(v) if logical else indicator(v) for v in values))
        case Call(fn):
            raise NoSymbol(f"`{fn}` is not about numbers")
        case If(cond, then, other):
            c = truth(to_sympy(cond, names))
            return sp.Piecewise((indicator(to_sympy(then, names)), c), (indicator(to_sympy(other, names)), True))
        case Index() | Each() | SumOver() | Stack() | Loop():
            raise NoSymbol("an array stands in it")


def number(value: int | float | Fraction) -> Any:
    """Exact: a decimal literal is the fraction it shows."""
    return sp.Integer(value) if isinstance(value, int) else sp.Rational(*Fraction(str(value)).as_integer_ratio())


def dimension(size: Dim) -> Any:
    """A length as a polynomial in its sizes."""
    out = sp.Integer(0)
    for names, coefficient in size.terms:
        out += coefficient * sp.prod([sp.Symbol(n, integer=True, positive=True) for n in names])
    return out


def power(base: Any, exponent: Any) -> Any:
    """base^exponent; a power of literals too large to write out stays a decimal."""
    if base.is_Integer and exponent.is_Integer and abs(int(exponent)) * int(base).bit_length() > LARGEST_POWER:
        return sp.Float(base) ** min(int(exponent), 10**6)
    return base**exponent


def truth(value: Any) -> Any:
    return value if isinstance(value, TRUTHS) else sp.Ne(value, 0)


def indicator(value: Any) -> Any:
    """A comparison as 0 or 1."""
    return sp.Piecewise((1, value), (0, True)) if isinstance(value, TRUTHS) else value
