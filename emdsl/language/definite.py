"""Arguments in which no number can stand, told of a whole model, where it is known what `let`s hold: numbers and
probabilities outside their domain; literal matrices, or diagonals with a number, not positive definite.

Covariances of a latent Gaussian may be singular: what has no noise follows from what it depends on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from emdsl.errors import Problem
from emdsl.language.constants import numbers_of_lets, value
from emdsl.language.model import Call, Dist, Domain, Expr, FamilyCall, If, Index, Let, ModelText, Stack, Var

WORDS = {"positive": "positive", "unit": "between 0 and 1", "count": "a whole number"}
HINT = "what has no noise is no density: write it as an expression of what it depends on, or give it a small variance"
ROUNDING = 1e-12  # of a diagonal entry: what is left of a pivot that is 0


def definite_problems(model: ModelText) -> Iterator[Problem]:
    """Problems of arguments that are outside their domains whatever the parameters are."""
    lets = {let.name: let for let in model.lets if not let.plates}
    known = numbers_of_lets(model)
    for v in model.variables:
        for call in _calls(v.distribution):
            wanted = {a.name: a.domain for a in call.family.signatures[call.signature].arguments}
            for name, e in call.args:
                domain, argument = wanted.get(name), f"{call.family.name}'s `{name}`"
                if domain is None or domain.kind != "spd":
                    wrong = None if domain is None else _not_in(domain, e, lets, known)
                    if wrong is not None:
                        yield Problem("E041", f"{argument} {wrong}", e.span)
                    continue
                flat = v.kind == "latent" and _is_gaussian_in(call, name)
                wrong = _wrong(e, lets, flat)
                if wrong is not None:
                    wants = "has no negative eigenvalue" if flat else "is positive definite"
                    yield Problem("E041", f"{argument} {wants}, but here {wrong}", e.span, HINT)


def not_a_number_of(wanted: Domain, number: float) -> str | None:
    """`is positive, not -1` of a number outside the domain of an argument that is one number."""
    outside = {
        "positive": number <= 0,
        "unit": not 0 <= number <= 1,
        "count": number < 0 or number != int(number),
    }.get(wanted.kind, False)
    return f"is {WORDS[wanted.kind]}, not {number:g}" if outside and not wanted.dims else None


def not_probabilities(numbers: Sequence[float], where: str = "") -> str | None:
    """Why some numbers are no probabilities."""
    if min(numbers) < 0 and not where:
        return f"holds probabilities, not {min(numbers):g}"
    return f"holds probabilities; these add up to {sum(numbers):g}{where}" if abs(sum(numbers) - 1) > 1e-9 else None


def _not_in(domain: Domain, e: Expr, lets: Mapping[str, Let], known: Mapping[str, float]) -> str | None:
    """Why what `let`s hold is none of a domain. Numbers that stand in the line were seen when it was typed."""
    if domain.kind != "simplex":
        number = value(e, known) if domain.kind in WORDS and value(e) is None else None
        return None if number is None else not_a_number_of(domain, number)
    base, depth = (e.base, len(e.args)) if isinstance(e, Index) else (e, 0)
    if not isinstance(base, Var) or base.name not in lets:
        return None
    rows: list[Expr] = [lets[base.name].body]
    for _ in range(depth):
        rows = [item for row in rows if isinstance(row, Stack) for item in row.items]
    for row in rows:
        items = row.items if isinstance(row, Stack) else ()
        numbers = [n for n in (value(i, known) for i in items) if n is not None]
        if numbers and len(numbers) == len(items) and (any(numbers) or not depth):  # a row of zeros: none reads it
            if (wrong := not_probabilities(numbers)) is not None:
                return wrong
    return None


def _calls(dist: Dist | None) -> Iterator[FamilyCall]:
    stack = [dist] if dist is not None else []
    while stack:
        d = stack.pop()
        if isinstance(d, FamilyCall):
            yield d
        else:
            stack += [d.other, d.then]


def _is_gaussian_in(call: FamilyCall, name: str) -> bool:
    """Whether a log density is a sum with `quad(inv(name), ...)` under no further function: a Gaussian's."""
    stack: list[Expr] = [call.family.signatures[call.signature].log_density]
    while stack:
        match stack.pop():
            case Call("add" | "sub" | "mul" | "div" | "neg", args):
                stack += args
            case Call("quad", (Call("inv", (Var(held),)), _)) if held == name:
                return True
    return False


def _wrong(e: Expr, lets: Mapping[str, Let], flat: bool) -> str | None:
    """Why a matrix is not positive definite (`flat`: semidefinite) at any values of what it holds."""
    match e:
        case Var(name) if name in lets:
            return _wrong(lets[name].body, lets, flat)
        case If():
            return _wrong(e.then, lets, flat) or _wrong(e.other, lets, flat)
        case Call("diag", (entries,)):
            while isinstance(entries, Var) and entries.name in lets:
                entries = lets[entries.name].body
            found = [value(i) for i in entries.items] if isinstance(entries, Stack) else []
            bad = next((n for n in found if n is not None and (n < 0 or (n == 0 and not flat))), None)
            return None if bad is None else f"{bad:g} stands on its diagonal"
        case Call("mul" | "div", args):
            return next((why for a in args if (why := _wrong(a, lets, flat)) is not None), None)
        case Stack(rows) if all(isinstance(row, Stack) for row in rows):
            numbers = [[value(i) for i in row.items] for row in rows if isinstance(row, Stack)]
            known = [[n for n in row if n is not None] for row in numbers]
            if any(len(row) != len(rows) for row in known):
                return None
            if any(abs(known[i][j] - known[j][i]) > ROUNDING for i in range(len(known)) for j in range(i)):
                return "the matrix is not symmetric"
            least = _least_pivot(known)
            if flat:
                return None if least >= 0 else "the matrix has a negative eigenvalue"
            return None if least > 0 else "the matrix is singular or has a negative eigenvalue"
        case _:
            return None


def _least_pivot(a: Sequence[Sequence[float]]) -> float:
    """1, 0 or -1: a matrix has a Cholesky factor, has one with columns of zeros, or has none."""
    n, unit, out = len(a), [abs(row[i]) ** 0.5 or 1.0 for i, row in enumerate(a)], 1.0
    left = [[a[i][j] / (unit[i] * unit[j]) for j in range(n)] for i in range(n)]
    for k in range(n):
        pivot = left[k][k]
        if pivot <= ROUNDING:
            if pivot < -ROUNDING or any(abs(left[i][k]) > ROUNDING**0.5 for i in range(k + 1, n)):
                return -1.0
            out = 0.0
            continue
        for i in range(k + 1, n):
            for j in range(k + 1, n):
                left[i][j] -= left[i][k] * left[k][j] / pivot
    return out
