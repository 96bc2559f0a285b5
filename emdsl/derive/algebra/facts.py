"""What an expression shows without being opened: its number, its factors, its sign, the value of a comparison."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from fractions import Fraction

from emdsl.derive.algebra.nodes import (
    LONGEST,
    ONE,
    ZERO,
    Add,
    Choose,
    El,
    Expr,
    Fn,
    Mul,
    Num,
    Pow,
    SizeN,
    Sum,
    Where,
    kept,
    num,
    variables,
)

UNIT = Fraction(1)  # one object, so that what is no number in front is seen without arithmetic
COMPARISONS = frozenset({"eq", "ne", "lt", "le", "gt", "ge", "and", "or", "not"})
MASSES = frozenset({"log_mass", "log_inside"})  # logarithms of masses that underflow far out
DECIDED = COMPARISONS | {"min", "max"}

_DECIDE: dict[str, Callable[[float | Fraction, float | Fraction], bool]] = {
    "eq": lambda a, b: a == b, "ne": lambda a, b: a != b, "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b, "gt": lambda a, b: a > b, "ge": lambda a, b: a >= b,
    "and": lambda a, b: bool(a) and bool(b), "or": lambda a, b: bool(a) or bool(b),
}  # fmt: skip


def decided(name: str, args: tuple[Expr, ...]) -> Expr | None:
    """A comparison, a connective, the smaller or larger of two, known from literal arguments or their order."""
    if name == "not":
        return num(int(args[0].value == 0)) if isinstance(args[0], Num) else None
    if name in ("min", "max"):
        less = [rising(*args), rising(*args[::-1])] if len(args) == 2 else []
        return args[less[0] == (name == "max")] if any(less) else None
    a, b = args
    if isinstance(a, Num) and isinstance(b, Num):
        return num(int(_DECIDE[name](a.value, b.value)))
    if name not in ("and", "or") and (rising(a, b) or rising(b, a)):
        return num(int(_DECIDE[name](*((0, 1) if rising(a, b) else (1, 0)))))
    for x, y in ((a, b), (b, a)):
        if isinstance(x, Num) and name in ("and", "or"):
            if (x.value != 0) != (name == "and"):
                return num(int(x.value != 0))
            return y if is_indicator(y) else Fn("ne", (y, ZERO))
    return a if name == "ne" and b == ZERO and is_indicator(a) else None


def rising(a: Expr, b: Expr) -> bool:
    """Whether one number is known to be less than another: an earlier entry of a vector that increases."""
    match a, b:
        case El(v, (*at, int(i)), "ordered"), El(w, (*there, int(j)), "ordered"):
            return v == w and at == there and i < j
    return False


def is_indicator(e: Expr) -> bool:
    """Whether an expression is 0 or 1 by what it says."""
    return isinstance(e, Fn) and e.name in COMPARISONS


@kept
def split_number(e: Expr) -> tuple[Fraction | float, Expr]:
    """`c * rest` with the number taken out."""
    if isinstance(e, Num):
        return e.value, ONE
    if isinstance(e, Mul) and isinstance(e.factors[0], Num):
        rest = e.factors[1:]
        return e.factors[0].value, rest[0] if len(rest) == 1 else Mul(rest)
    return UNIT, e


def factors_of(e: Expr) -> tuple[Expr, ...]:
    """The factors of a product; anything else is its own."""
    return e.factors if isinstance(e, Mul) else (e,)


def terms_of(e: Expr) -> tuple[Expr, ...]:
    """The terms of a sum; anything else is its own."""
    return e.terms if isinstance(e, Add) else (e,)


def over_mass(factors: Mapping[Expr, object]) -> tuple[Fn, ...]:
    """The exponentials of a product that are one: 1 / a mass beside a density in it, both 0 where the mass underflows.

    Only what holds all that the mass does: one that data decide stays apart from what a parameter does.
    """
    es = [f for f in factors if isinstance(f, Fn) and f.name == "exp"] if len(factors) > 1 else []
    for e in es if len(es) > 1 else []:
        for c, log in map(split_number, terms_of(e.args[0])):
            if c < 0 and isinstance(log, Fn) and log.name in MASSES:
                beside = [f for f in es if f != e and variables(f) >= variables(log)]
                return (e, *beside) if beside else ()
    return ()


def short(base: Fraction | float, exponent: Fraction | float) -> bool:
    """Whether a power has so few digits that it is worth keeping exactly."""
    size = exponent if exponent > 0 else -exponent
    if not isinstance(base, Fraction):
        return size < 1000
    return max(base.numerator.bit_length(), base.denominator.bit_length()) * size < LONGEST


def float_power(base: Fraction | float, exponent: Fraction | float) -> float:
    try:
        return float(float(base) ** float(exponent))
    except OverflowError:
        return math.inf if base > 0 or exponent % 2 == 0 else -math.inf


def positive(e: Expr) -> bool:
    """Whether the expression is known to be positive, from domains alone."""
    match e:
        case Num(v):
            return v > 0
        case El():
            return e.sort in ("positive", "unit")
        case SizeN() | Fn("exp" | "logistic" | "softplus" | "pi" | "Phi", _):
            return True
        case Mul():
            return all(positive(f) for f in e.factors)
        case Pow():
            return positive(e.base)
        case Sum():
            return positive(e.body)
        case Add((Num(one), t)) | Add((t, Num(one))) if one == 1 and _is_unit_minus(t):
            return True
        case Add():
            return all(positive(t) for t in e.terms)
        case Where():
            return positive(e.then) and positive(e.other)
        case Choose():
            return all(positive(o) for o in e.options)
    return False


def beside_a_share(e: Add) -> tuple[Expr, tuple[Expr, ...]] | None:
    """(a, factors of q) where the sum is `a + a q`, as 1 - c - (1 - c) p: p next to 1 would leave no digits of it."""
    for k, t in enumerate(e.terms):
        others = (*e.terms[:k], *e.terms[k + 1 :])
        rest = others[0] if len(others) == 1 else Add(others)
        c, body = split_number(t)
        held = factors_of(body)
        if rest in held and len(held) > 1:
            at = held.index(rest)
            return rest, (Num(c), *held[:at], *held[at + 1 :])
    return None


def _is_unit_minus(t: Expr) -> bool:
    c, rest = split_number(t)
    if isinstance(rest, Pow) and isinstance(rest.exponent, Num) and rest.exponent.value > 0:
        rest = rest.base
    if isinstance(rest, Fn) and rest.name == "tanh":
        return abs(c) == 1
    return c == -1 and (
        (isinstance(rest, El) and rest.sort == "unit") or (isinstance(rest, Fn) and rest.name == "logistic")
    )
