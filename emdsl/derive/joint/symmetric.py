"""inv and logdet of matrices that need not be symmetric, said by those of symmetric ones.

inv(A) = inv(A' A) A' and log |det A| = logdet(A' A) / 2. Everything behind this takes a matrix to be symmetric and
factors it by Cholesky, which of any other matrix reads one half and says nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from emdsl.language import model as m


@dataclass(frozen=True, slots=True)
class Known:
    """What names mean: `spd` tells of a variable, or of a family's argument, that its domain is symmetric."""

    lets: Mapping[str, m.Let]
    spd: Callable[[str], bool]


def by_symmetric(e: m.Call, known: Known) -> m.Call:
    """inv(A) or logdet(A), written with A' A where A is not symmetric by what is written."""
    (a,) = e.args
    if symmetric(a, known):
        return e
    turned = m.Call("transpose", (a,), a.shape[::-1], a.span)
    inner = m.Call(e.fn, (m.Call("matmul", (turned, a), a.shape, a.span),), e.shape, e.span)
    if e.fn == "inv":
        return m.Call("matmul", (inner, turned), e.shape, e.span)
    return m.Call("mul", (m.Num(0.5, e.span), inner), (), e.span)


def symmetric(e: m.Expr, known: Known) -> bool:
    """Whether a matrix equals its transpose, whatever the numbers in it are."""
    match e:
        case m.Var(name) | m.Index(base=m.Var(name)):
            return known.spd(name) or (name in known.lets and symmetric(known.lets[name].body, known))
        case m.If(_, then, other):
            return symmetric(then, known) and symmetric(other, known)
        case m.SumOver(body=body):
            return symmetric(body, known)
        case m.Stack(items) if all(isinstance(i, m.Stack) for i in items):
            rows = [i.items for i in items if isinstance(i, m.Stack)]
            square = all(len(r) == len(rows) for r in rows)
            return square and all(rows[i][j] == rows[j][i] for i in range(len(rows)) for j in range(i))
        case m.Call("matmul", (a, b)):
            return _around(a, b, known)
        case m.Call("outer", (a, b)):
            return a == b
        case m.Call("diag" | "eye" | "zeros" | "ones"):
            return True
        case m.Call("pow", (base, exponent)):
            return symmetric(base, known) and not exponent.shape
        case m.Call("transpose" | "inv" | "neg" | "add" | "sub" | "mul" | "div" | "exp" | "abs", args):
            return all(not a.shape or symmetric(a, known) for a in args)
    return False


def _around(a: m.Expr, b: m.Expr, known: Known) -> bool:
    """A B with B = A', or X S X' with a symmetric S, however it is put in brackets."""
    factors = [*_factors(a), *_factors(b)]
    while len(factors) > 1:
        first, last = factors[0], factors[-1]
        if _turned(first) != last and not (first == last and symmetric(first, known)):
            return False
        factors = factors[1:-1]
    return not factors or symmetric(factors[0], known)


def _factors(e: m.Expr) -> list[m.Expr]:
    match e:
        case m.Call("matmul", (a, b)) if len(a.shape) == len(b.shape) == 2:
            return [*_factors(a), *_factors(b)]
        case m.Call("transpose", (m.Call("matmul", (a, b)),)) if len(a.shape) == len(b.shape) == 2:
            return [*_factors(_turned(b)), *_factors(_turned(a))]  # (A B)' = B' A'
    return [e]


def _turned(e: m.Expr) -> m.Expr:
    match e:
        case m.Call("transpose", (a,)):
            return a
    return m.Call("transpose", (e,), e.shape[::-1], e.span)
