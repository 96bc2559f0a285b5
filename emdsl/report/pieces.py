"""Pieces of formulas: numbers, fractions and sums as they are written, statistics by their names."""

from __future__ import annotations

from fractions import Fraction
from math import isinf, prod

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr, Idx
from emdsl.derive.algebra.made import START
from emdsl.language import model as m
from emdsl.report import formula as f
from emdsl.report.formula import Formula

ONE = f.Number("1")
GLYPHS = (1, 2, 4)  # denominators that stand before a product, as in ½ a
MOST_DIGITS = 40  # of numbers that become one


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


def function(name: str, args: tuple[Formula, ...]) -> Formula:
    """A function as books have it: `log Γ(a)`, `I₁(a) / I₀(a)`."""
    match name:
        case "lgamma":
            return f.Apply(f.Word("log"), (f.Apply(f.Word("Gamma"), args),))
        case "log_mass":
            return f.Apply(f.Word("log"), args)
        case "log1mexp" | "log_rest":
            rest = f.Plus(((False, ONE), (True, f.Apply(f.Word("exp"), args))))
            return f.Apply(f.Word("log"), (rest,))
        case "exp_odds":
            rest = f.Plus(((False, ONE), (True, f.Apply(f.Word("exp"), args))))
            return f.Over(f.Apply(f.Word("exp"), args), rest)
        case "log_Phi":
            return f.Apply(f.Word("log"), (f.Apply(f.Word("Phi"), args),))
        case "log_between" | "log_inside":
            low, high = args[:2] if name == "log_inside" else (f.Apply(f.Word("Phi"), (a,)) for a in args)
            return f.Apply(f.Word("log"), (f.Plus(((False, high), (True, low))),))
        case "log_bessel_i0":
            return f.Apply(f.Word("log"), (f.Apply(f.Word("I0"), args),))
        case "bessel_ratio":
            return f.Over(f.Apply(f.Word("I1"), args), f.Apply(f.Word("I0"), args))
    return f.Apply(f.Word(name), args)


def number(v: Fraction | float) -> Formula:
    if not isinstance(v, Fraction) and isinf(v):
        return f.Plus(((True, f.Word("infinity")),)) if v < 0 else f.Word("infinity")
    if isinstance(v, Fraction):
        top = f.Number(str(abs(v.numerator)))
        value: Formula = top if v.denominator == 1 else f.Over(top, f.Number(str(v.denominator)))
    else:
        value = f.Number(f"{abs(v):.15g}")
    return f.Plus(((True, value),)) if v < 0 else value


def assembled(c: Fraction | float, above: list[Formula], below: list[Formula]) -> Formula:
    size = -c if c < 0 else c
    if isinstance(size, Fraction):
        above = [p for e in above for p in (e.factors if isinstance(e, f.Times) else (e,))]
        whole_numbers = [e for e in above if isinstance(e, f.Number) and e.text.isdigit()]  # `½ (2 a)`
        size = prod((int(e.text) for e in whole_numbers), start=size)
        above = [e for e in above if e not in whole_numbers]
    above, below = _squared(above), _squared(below)
    ratios = [e for e in above if isinstance(e, f.Over) and not isinstance(e.bottom, f.Number)]
    above = [e.top if isinstance(e, f.Over) and e in ratios else e for e in above]
    below = [*(e.bottom for e in ratios), *below]
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


def _squared(factors: list[Formula]) -> list[Formula]:
    """Equal sums side by side as a square: their bound indices have the same letters by now."""
    out: list[Formula] = []
    for e in factors:
        if out and isinstance(e, f.Plus) and out[-1] == e:
            out[-1] = f.Raised(e, f.Number("2"))
        else:
            out.append(e)
    return out


def turn(e: Formula) -> int:
    """Conditions and probabilities stand first in a product, sums last."""
    if isinstance(e, f.Bracket) or (isinstance(e, f.Apply) and e.function == f.Word("q")):
        return 0
    return 2 if isinstance(e, f.Plus) else 3 if isinstance(e, f.Apply) else 1


def in_order_of_kind(factors: list[Formula]) -> list[Formula]:
    """The factors of a product in order; the rest of one to 1 after it: `logistic(a) (1 - logistic(a))`."""
    ordered = sorted(factors, key=turn)
    for one in factors:
        rest = f.Plus(((False, f.Number("1")), (True, one)))
        if rest in ordered and ordered.index(rest) < ordered.index(one):
            ordered.remove(rest)
            ordered.insert(ordered.index(one) + 1, rest)
    return ordered


def signed_sum(terms: list[tuple[bool, Formula]]) -> Formula:
    """A sum that starts with a term that is added, where there is one."""
    if len(terms) == 1 and not terms[0][0]:
        return terms[0][1]
    first = next((n for n, (negative, _) in enumerate(terms) if not negative), 0)
    return f.Plus((terms[first], *terms[:first], *terms[first + 1 :]))


def joined_logs(terms: list[tuple[bool, Formula]]) -> list[tuple[bool, Formula]]:
    """`a log 2 + a log π + a log b` as `a log(2 π b)`: logarithms of numbers join those with the same factors."""
    split = [_as_log(t) for _, t in terms]
    groups: dict[tuple[bool, tuple[Formula, ...]], list[int]] = {}
    for n, (negative, _) in enumerate(terms):
        found = split[n]
        if found is not None:
            groups.setdefault((negative, found[0]), []).append(n)
    out: dict[int, tuple[bool, Formula] | None] = dict(enumerate(terms))
    for (negative, others), members in groups.items():
        inside = [found[1] for n in members if (found := split[n]) is not None]
        if len(members) > 1 and any(_constant(a) for a in inside):
            whole = [a for a in inside if isinstance(a, f.Number) and a.text.isdigit()]
            whole = whole if sum(len(a.text) for a in whole) < MOST_DIGITS else []
            digits = f.Number(str(prod(int(a.text) for a in whole)))
            product = f.times(*sorted([digits, *(a for a in inside if a not in whole)], key=_before))
            out |= dict.fromkeys(members)
            out[members[0]] = (negative, f.times(*others, f.Apply(f.Word("log"), (product,))))
    return [t for t in out.values() if t is not None]


def _as_log(e: Formula) -> tuple[tuple[Formula, ...], Formula] | None:
    """The other factors and the argument of a term that ends in a logarithm."""
    others, last = (e.factors[:-1], e.factors[-1]) if isinstance(e, f.Times) else ((), e)
    if not isinstance(last, f.Apply) or last.function != f.Word("log") or len(last.arguments) != 1:
        return None
    inner = last.arguments[0]
    return None if isinstance(inner, f.Apply | f.Bracket | f.Big) else (others, inner)


def _constant(e: Formula) -> bool:
    return e == f.Word("pi") or _before(e) == 0


def _before(e: Formula) -> int:
    """Numbers, then π, then the rest."""
    ratio = isinstance(e, f.Over) and isinstance(e.top, f.Number) and isinstance(e.bottom, f.Number)
    number = isinstance(e, f.Number) or ratio
    return 0 if number else 1 if e == f.Word("pi") else 2


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
            if isinstance(t, El) and t.var in START:
                return t.idx[0], x.add(*(o for o in e.terms if o is not t))
    return None
