"""An unknown matrix or vector alone on its side: `M v = r` is `v = M⁻¹ r`, and `A M = R` is `A = R M⁻¹`."""

from __future__ import annotations

from collections.abc import Callable

from emdsl.report import formula as f
from emdsl.report.formula import Formula


def _called(e: Formula, name: str) -> bool:
    return (e.base if isinstance(e, f.At) else e) == f.Name(name)


def _scalars_last(factors: tuple[Formula, ...], name: str) -> tuple[Formula, ...]:
    """`q M B` of an unknown matrix M as `M q B`: probabilities before it are numbers."""
    at = next((k for k, p in enumerate(factors) if _called(p, name)), 0)
    if not all(isinstance(p, f.Apply) and p.function == f.Word("q") for p in factors[:at]):
        return factors
    return (*factors[at : at + 1], *factors[:at], *factors[at + 1 :])


def _turned(factors: tuple[Formula, ...], name: str) -> tuple[Formula, ...]:
    """`c aᵀ v b` of an unknown vector v is `c b aᵀ v`."""
    for k, p in enumerate(factors[:-1]):
        before = factors[k - 1] if k else None
        if _called(p, name) and isinstance(before, f.Raised) and before.exponent == f.Word("T"):
            return (*factors[: k - 1], *factors[k + 1 :], before, p)
    return factors


def alone(e: f.Relation, name: str) -> f.Relation:
    """What stands beside an unknown matrix or vector, on the other side; also out of a sum that it is no part of."""
    over: Callable[[Formula], Formula] = lambda m: m  # noqa: E731
    product = e.left
    if isinstance(product, f.Big) and isinstance(product.body, f.Times):
        outer, product = product, product.body
        over = lambda m: f.Big(outer.indices, outer.where, m)  # noqa: E731
    summed = [i for i, _ in e.left.indices] if isinstance(e.left, f.Big) else []
    factors = product.factors if isinstance(product, f.Times) else ()
    factors = _turned(_scalars_last(factors, name), name)
    unknown = [p for p in factors if _called(p, name)]
    if len(unknown) != 1 or unknown[0] not in (factors[0], factors[-1]) or any(f.holds(unknown[0], i) for i in summed):
        return e
    rest = [p for p in factors if p is not unknown[0]]
    inverse = f.Raised(over(f.times(*rest)), f.Number("-1"))
    right = f.times(e.right, inverse) if factors[0] is unknown[0] else f.times(inverse, e.right)
    return f.Relation("=", unknown[0], right)
