"""Constants beside reference points: `m + r - 3`, of m measured from r, is `m + whole(r - 3)`.

What stands in the brackets is a number that nothing opens: squares are products of it and of what else is near zero.
Opened, `(m + r - 3)^2` would have r^2 and 9 in it, which cancel in their first digits only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import Expr
from emdsl.derive.algebra.made import REFERENCE
from emdsl.language import model as m


def is_constant(e: Expr, variables: Mapping[str, m.Variable]) -> bool:
    """Whether it is made of numbers, reference points, and of what is given once and not for each row."""
    return all(
        n in REFERENCE or (n in variables and variables[n].kind == "given" and not variables[n].plates)
        for n in x.variables(e)
    )


def by_rest(terms: Sequence[Expr], variables: Mapping[str, m.Variable]) -> dict[Expr, list[Expr]]:
    """The constants in the terms of a sum by what they multiply, which may be one."""
    out: dict[Expr, list[Expr]] = {}
    for t in terms:
        constants = [f for f in x.factors_of(t) if is_constant(f, variables)]
        rest = [f for f in x.factors_of(t) if not is_constant(f, variables)]
        out.setdefault(x.mul(*rest), []).append(x.mul(*constants))
    return out


def gathered(e: Expr, variables: Mapping[str, m.Variable]) -> Expr:
    """The same where constants that reference points stand beside are whole."""

    def step(node: Expr) -> Expr | None:
        if not isinstance(node, x.Add) or is_constant(node, variables):
            return None
        terms = [x.rebuild(t, step) for t in node.terms]
        return x.add(*_terms(by_rest(terms, variables)))

    return x.rebuild(e, step) if any(n in REFERENCE for n in x.variables(e)) else e


def _terms(parts: Mapping[Expr, Sequence[Expr]]) -> Iterator[Expr]:
    for rest, constants in parts.items():
        together = len(constants) > 1 and any(n in REFERENCE for c in constants for n in x.variables(c))
        whole = [x.fn("whole", x.add(*constants))] if together else constants
        yield from (x.mul(rest, c) for c in whole)


def opened(e: Expr) -> Expr:
    """The same without brackets."""
    return x.rebuild(e, lambda n: opened(n.args[0]) if isinstance(n, x.Fn) and n.name == "whole" else None)
