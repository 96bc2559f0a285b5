"""Pieces of formulas: numbers, fractions and sums as they are written, statistics by their names."""

from __future__ import annotations

from fractions import Fraction

from emdsl.derive import expr as x
from emdsl.derive.expr import El, Expr, Idx
from emdsl.language import model as m
from emdsl.report import formula as f
from emdsl.report.formula import Formula

ONE = f.Number("1")
GLYPHS = (1, 2, 4)  # denominators that stand before a product, as in ½ a


def statistic(kind: str, latent: Formula) -> Formula:
    """A function of a latent by the name it has in the table of posteriors."""
    match kind:
        case "id" | "":
            return latent
        case "square":
            return f.Raised(latent, f.Number("2"))
        case "recip":
            return f.Over(ONE, latent)
        case "log1m":
            return f.Apply(f.Word("log"), (f.Plus(((False, ONE), (True, latent))),))
        case "log^2":
            return f.Raised(f.Apply(f.Word("log"), (latent,)), f.Number("2"))
    return f.Apply(f.Word(kind), (latent,))


def number(v: Fraction | float) -> Formula:
    if isinstance(v, Fraction):
        top = f.Number(str(abs(v.numerator)))
        value: Formula = top if v.denominator == 1 else f.Over(top, f.Number(str(v.denominator)))
    else:
        value = f.Number(f"{abs(v):.15g}")
    return f.Plus(((True, value),)) if v < 0 else value


def assembled(c: Fraction | float, above: list[Formula], below: list[Formula]) -> Formula:
    size = -c if c < 0 else c
    front = [] if size == 1 else [number(size)]
    if above and not below and isinstance(size, Fraction) and size.denominator not in GLYPHS:
        whole: Formula = f.Over(
            f.times(*([] if size.numerator == 1 else [number(Fraction(size.numerator))]), *above),
            number(Fraction(size.denominator)),
        )
    elif len(above) == 1 and not below and front:
        whole = f.over(front[0], above[0])
    elif below:
        top, bottom = list(above), list(below)
        if isinstance(size, Fraction):
            top = ([f.Number(str(size.numerator))] if size.numerator != 1 else []) + top
            bottom = ([f.Number(str(size.denominator))] if size.denominator != 1 else []) + bottom
        else:
            top = front + top
        whole = f.Over(f.times(*top), f.times(*bottom))
    else:
        whole = f.times(*front, *above)
    return f.Plus(((True, whole),)) if c < 0 else whole


def turn(e: Formula) -> int:
    """Conditions and probabilities stand first in a product, sums last."""
    if isinstance(e, f.Bracket) or (isinstance(e, f.Apply) and e.function == f.Word("q")):
        return 0
    return 2 if isinstance(e, f.Plus) else 3 if isinstance(e, f.Apply) else 1


def signed_sum(terms: list[tuple[bool, Formula]]) -> Formula:
    """A sum that starts with a term that is added, where there is one."""
    first = next((n for n, (negative, _) in enumerate(terms) if not negative), 0)
    return f.Plus((terms[first], *terms[:first], *terms[first + 1 :]))


def literal(e: m.Expr) -> object:
    """The numbers of a literal list, nested as it is; None for anything else."""
    match e:
        case m.Num(value=v):
            return float(v)
        case m.Stack(items=items):
            return tuple(literal(i) for i in items)
    return None


def started(e: Expr) -> tuple[Idx, Expr] | None:
    """`start:T[parent] + position`: the parent's index and the position."""
    if isinstance(e, x.Add):
        for t in e.terms:
            if isinstance(t, El) and t.var.startswith("start:"):
                return t.idx[0], x.add(*(o for o in e.terms if o is not t))
    return None
