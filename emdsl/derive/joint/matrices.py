"""Inverse and log-determinant of a symmetric matrix given by its element, with its structure used.

Structure is substituted, never projected afterwards: `inv(s * eye(D))` is `delta_ij / s`, and the
D of its log-determinant comes from the sum over the diagonal.
"""

from __future__ import annotations

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import Delta, Expr, Idx, Ix


def inverse(i: Ix, j: Ix, body: Expr, at: tuple[Idx, Idx]) -> Expr:
    """Element `at` of the inverse of the matrix with element (i, j) = body."""
    diagonal = _diagonal(i, j, body)
    if diagonal is not None:
        return x.mul(x.delta(*at), x.power(x.substitute(diagonal, {i: at[0]}), x.num(-1)))
    scale, rest = _scaled(i, j, body)
    if scale != x.ONE:
        return x.mul(x.power(scale, x.num(-1)), inverse(i, j, rest, at))
    if isinstance(rest, x.MatInv) and rest.at in ((i, j), (j, i)):
        return x.substitute(rest.body, {rest.i: at[0], rest.j: at[1]})
    return x.MatInv(i, j, rest, at)


def determinant(i: Ix, j: Ix, body: Expr) -> Expr:
    """log det of the matrix with element (i, j) = body."""
    diagonal = _diagonal(i, j, body)
    if diagonal is not None:
        return x.total(i, x.fn("log", diagonal))
    scale, rest = _scaled(i, j, body)
    if scale != x.ONE:
        n = x.total(i, x.ONE)
        return x.add(x.mul(n, x.fn("log", scale)), determinant(i, j, rest))
    if isinstance(rest, x.MatInv) and rest.at in ((i, j), (j, i)):
        return x.neg(determinant(rest.i, rest.j, rest.body))
    return x.LogDet(i, j, rest)


def _diagonal(i: Ix, j: Ix, body: Expr) -> Expr | None:
    """d_i where body = delta_ij d_i (a sum of such terms too)."""
    parts: list[Expr] = []
    for t in x.terms_of(body):
        factors = x.factors_of(t)
        found = [f for f in factors if isinstance(f, Delta) and {f.a, f.b} == {i, j}]
        if not found:
            return None
        parts.append(x.substitute(x.mul(*(f for f in factors if f is not found[0])), {j: i}))
    return x.add(*parts)


def _scaled(i: Ix, j: Ix, body: Expr) -> tuple[Expr, Expr]:
    """body = scale * rest, with nothing in the scale that carries a matrix index."""
    outside = [f for f in x.factors_of(body) if i not in x.free(f) and j not in x.free(f)]
    inside = [f for f in x.factors_of(body) if i in x.free(f) or j in x.free(f)]
    return x.mul(*outside), x.mul(*inside)
