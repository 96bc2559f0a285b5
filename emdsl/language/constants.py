"""Expressions of numbers alone: their value, and those that have none (`1/0`, `9^9^9^9`)."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Mapping

from emdsl.errors import NOWHERE, Problem, Span
from emdsl.language.model import Call, Expr, ModelText, Num, Pi, Var, children
from emdsl.language.transform import expressions_of
from emdsl.language.tree import walk

_OPERATORS: Mapping[str, Callable[[float, float], float]] = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "div": operator.truediv, "pow": operator.pow,
    "floordiv": operator.floordiv, "mod": operator.mod, "min": min, "max": max,
}  # fmt: skip
_FUNCTIONS: Mapping[str, Callable[[float], float]] = {
    "neg": operator.neg, "abs": abs, "exp": math.exp, "log": math.log, "log1p": math.log1p, "sqrt": math.sqrt,
    "tanh": math.tanh, "lgamma": math.lgamma, "sin": math.sin, "cos": math.cos,
}  # fmt: skip


def value(e: Expr, known: Mapping[str, float] | None = None) -> float | None:
    """The number that an expression of literals (and of lets in `known`) is; None where it is more, or no number."""
    match e:
        case Num(number):
            return float(number)
        case Pi():
            return math.pi
        case Var(name) if known is not None:
            return known.get(name)
        case Call(fn, args) if fn in (_OPERATORS if len(args) == 2 else _FUNCTIONS):
            held = [n for n in (value(a, known) for a in args) if n is not None]
            found = _applied(fn, held) if len(held) == len(args) else None
            return found if isinstance(found, float) else None
        case _:
            return None


def one_number(e: Expr) -> bool:
    """Whether an expression is one number, of literals and scalar givens, by operators that modules print."""
    match e:
        case Num() | Pi():
            return True
        case Var(shape=shape):
            return shape == ()
        case Call(fn, args):
            known = ("add", "sub", "mul", "div", "pow", "neg", "exp", "log", "sqrt", "abs", "min", "max")
            return fn in known and all(map(one_number, args))
        case _:
            return False


def _applied(fn: str, numbers: list[float]) -> float | str:
    """The value, or why there is none. `log(0)` is the logarithm of a zero density, no mistake."""
    if fn == "log" and numbers[0] == 0:
        return -math.inf
    try:
        found = _OPERATORS[fn](*numbers) if len(numbers) == 2 else _FUNCTIONS[fn](*numbers)
    except OverflowError:
        return "too large"
    except ZeroDivisionError:
        return "a division by zero"
    except ValueError:
        return "not defined"
    if isinstance(found, complex):
        return "not a real number"
    return float(found) if math.isfinite(found) or not all(map(math.isfinite, numbers)) else "too large"


def numbers_of_lets(model: ModelText) -> dict[str, float]:
    """The `let`s that are numbers, whatever their order."""
    known: dict[str, float] = {}
    waiting, before = [let for let in model.lets if not let.body.shape and not let.plates], -1
    while len(waiting) != before:
        before = len(waiting)
        known.update({let.name: n for let in waiting if (n := value(let.body, known)) is not None})
        waiting = [let for let in waiting if let.name not in known]
    return known


def constant_problems(model: ModelText) -> Iterator[Problem]:
    """Constants that are no numbers, the innermost part that is none."""
    known = numbers_of_lets(model)
    for e in _expressions(model):
        yield from _wrong(e, known)


def _wrong(e: Expr, known: Mapping[str, float]) -> Iterator[Problem]:
    stack = [e]
    while stack:
        node = stack.pop()
        stack += children(node)
        if not isinstance(node, Call) or node.fn not in (_OPERATORS if len(node.args) == 2 else _FUNCTIONS):
            continue
        values = [value(a, known) for a in node.args]
        held = [n for n in values if n is not None]
        found = _applied(node.fn, held) if len(held) == len(node.args) else 0.0
        if node.fn in ("div", "floordiv", "mod") and values[1] == 0:  # whatever is divided
            found = "a division by zero"
        if isinstance(found, str):
            code = "E007" if found == "too large" else "E035"
            hint = "the largest number is about 1.8e308" if code == "E007" else None
            yield Problem(code, f"this constant is {found}", node.span, hint)


def longest(model: ModelText) -> Span:
    """Where the longest expression is."""
    return max((e.span for e in _expressions(model)), key=_length, default=NOWHERE)


def _length(span: Span) -> tuple[int, int]:
    return span.end_line - span.line, span.end_column - span.column


def farthest(model: ModelText) -> Span:
    """Where the number is whose size is farthest from 1; the longest expression, where there are none."""
    found = [(n.value, n.span) for e in _expressions(model) for n in walk(e) if isinstance(n, Num) and n.value]
    return max(found, key=lambda n: abs(math.log(abs(float(n[0])))))[1] if found else longest(model)


def _expressions(model: ModelText) -> Iterator[Expr]:
    """Every expression of a model, and every branch condition."""
    for v in model.variables:
        for plate in v.plates:
            if plate.condition is not None:
                yield plate.condition
        yield from (b for b in (v.domain.lower, v.domain.upper, v.default) if b is not None)
        if v.distribution is not None:
            yield from expressions_of(v.distribution)
    yield from (let.body for let in model.lets)
    yield from (p.expression for p in model.potentials)
    yield from (s.log_density for f in model.families for s in f.signatures)
