"""Sums of products in few operations: `a b + a c` is `a (b + c)`, and a number that terms share stands once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import Expr
from emdsl.generate.lines.arrays import Array, Lines
from emdsl.generate.lines.spelling import Binding, number


def expression_sum(em: Lines, e: x.Add, hint: str) -> Array:
    """`sum_k c a_k + rest = c (sum_k a_k) + rest`, for numbers c, up to sign, that two or more terms share."""
    alike: dict[Fraction | float, list[tuple[bool, Array]]] = {}
    for t in _factored(e.terms):
        scale, rest = (Fraction(1), t) if isinstance(t, x.Num) else x.split_number(t)
        value = em.product(rest) if isinstance(rest, x.Mul) else em.value(rest, hint)
        alike.setdefault(scale if scale > 0 else -scale, []).append((scale < 0, value))
    parts = [times(-1, value) if negative else value for negative, value in alike.pop(1, [])]
    for c, values in alike.items():
        sign = -1 if all(negative for negative, _ in values) else 1
        signed = [times(sign * (-1 if negative else 1), value) for negative, value in values]
        parts.append(times(sign * c, em.sum(signed) if len(signed) > 1 else signed[0]))
    return em.sum(parts) if len(parts) > 1 else parts[0]


def factors_to_multiply(e: Expr) -> tuple[Expr, ...]:
    """The factors of a product, its number moved into a sum among them, whose terms have numbers of their own."""
    scale, rest = x.split_number(e)
    factors = x.factors_of(rest)
    sums = [f for f in factors if isinstance(f, x.Add)]
    if scale == 1 or not sums:
        return x.factors_of(e)
    return tuple(x.mul(x.Num(scale), f) if f is sums[0] else f for f in factors)


def _factored(terms: Sequence[Expr]) -> list[Expr]:
    """The terms, those that share an array as one, until none do."""
    out = list(terms)
    while True:
        shared = Counter(f for t in out for f in _arrays(t))
        best = max(shared, key=lambda f: shared[f], default=x.ONE)
        if shared[best] < 2:
            return out
        having = [t for t in out if best in _arrays(t)]
        inner = x.add(*(x.mul(*(f for f in x.factors_of(t) if f != best)) for t in having))
        out = [x.mul(best, inner) if t is having[0] else t for t in out if t is having[0] or t not in having]


def _arrays(t: Expr) -> list[Expr]:
    """The factors of a product that are arrays; no two of them are equal, for then there is a power."""
    return [f for f in x.factors_of(t) if isinstance(f, x.El | x.Fn | x.MatInv) and x.free(f)]


def times(c: Fraction | float, value: Array) -> Array:
    """A number times an array, in as few signs and parentheses as will do."""
    if c == 1:
        return value
    code = value.code if value.binds else value.wrapped
    minus = "-" if (c < 0) != code.startswith("-") else ""
    if c not in (1, -1):
        size = number(c if c > 0 else -c)
        size, code = f"({size})" if " " in size else size, code.removeprefix("-")
        code = f"{size} / {code[4:]}" if code.startswith("1 / ") else f"{size} * {code}"
    return replace(value, code=minus + code.removeprefix("-"), binds=Binding.PRODUCT)
