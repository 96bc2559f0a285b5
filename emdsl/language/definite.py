"""Covariances that no number can stand in: literal matrices, or diagonals with a number, not positive definite."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from emdsl.errors import Problem
from emdsl.language.constants import value
from emdsl.language.model import Call, Dist, Expr, FamilyCall, If, Let, ModelText, Stack, Var

HINT = "what has no noise is no density: write it as an expression of what it depends on, or give it a small variance"
ROUNDING = 1e-12  # of the largest diagonal entry: what is left of a pivot that is 0


def definite_problems(model: ModelText) -> Iterator[Problem]:
    """Problems of `spd` arguments that are singular, or worse, whatever the parameters are."""
    lets = {let.name: let for let in model.lets if not let.plates}
    for v in model.variables:
        for call in _calls(v.distribution):
            wanted = {a.name: a.domain.kind for a in call.family.signatures[call.signature].arguments}
            for name, e in call.args:
                wrong = _singular(e, lets) if wanted.get(name) == "spd" else None
                if wrong is not None:
                    message = f"{call.family.name}'s `{name}` is positive definite, but here {wrong}"
                    yield Problem("E041", message, e.span, HINT)


def _calls(dist: Dist | None) -> Iterator[FamilyCall]:
    stack = [dist] if dist is not None else []
    while stack:
        d = stack.pop()
        if isinstance(d, FamilyCall):
            yield d
        else:
            stack += [d.other, d.then]


def _singular(e: Expr, lets: Mapping[str, Let]) -> str | None:
    """Why a matrix is not positive definite at any values of what it holds; None where it may be."""
    match e:
        case Var(name) if name in lets:
            return _singular(lets[name].body, lets)
        case If():
            return _singular(e.then, lets) or _singular(e.other, lets)
        case Call("diag", (entries,)):
            while isinstance(entries, Var) and entries.name in lets:
                entries = lets[entries.name].body
            found = [value(i) for i in entries.items] if isinstance(entries, Stack) else []
            bad = next((n for n in found if n is not None and n <= 0), None)
            return None if bad is None else f"{bad:g} stands on its diagonal"
        case Call("mul" | "div", args):
            return next((why for a in args if (why := _singular(a, lets)) is not None), None)
        case Stack(rows) if all(isinstance(row, Stack) for row in rows):
            numbers = [[value(i) for i in row.items] for row in rows if isinstance(row, Stack)]
            known = [[n for n in row if n is not None] for row in numbers]
            if any(len(row) != len(rows) for row in known):
                return None
            if any(abs(known[i][j] - known[j][i]) > ROUNDING for i in range(len(known)) for j in range(i)):
                return "the matrix is not symmetric"
            return None if _has_cholesky(known) else "the matrix is singular or has a negative eigenvalue"
        case _:
            return None


def _has_cholesky(a: Sequence[Sequence[float]]) -> bool:
    """Whether every pivot of the Cholesky factor is above rounding."""
    n, least = len(a), ROUNDING * max(abs(a[i][i]) for i in range(len(a)))
    lower = [[0.0] * n for _ in range(n)]
    for i in range(n):
        for j in range(i + 1):
            left = a[i][j] - sum(lower[i][k] * lower[j][k] for k in range(j))
            if i == j and left <= least:
                return False
            lower[i][j] = left**0.5 if i == j else left / lower[j][j]
    return True
