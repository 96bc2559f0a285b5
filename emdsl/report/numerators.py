"""A sum above a line as a product, where it is one: `(2 p³ - p⁴ - p²) / s` is `-p² (1 - p)² / s`."""

from __future__ import annotations

from fractions import Fraction

import sympy as sp

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import Expr
from emdsl.report.conditions import in_one_order
from emdsl.report.factored import product_of
from emdsl.report.gathered import divides

MOST, LETTERS, HIGHEST = 12, 6, 6  # terms of a sum that is looked at, what they are made of, and its powers


def as_products(e: Expr) -> Expr:
    """The expression, each sum beside what divides it as a product of its factors."""

    def step(n: Expr) -> Expr | None:
        factors = x.factors_of(n) if isinstance(n, x.Mul) else ()
        if not any(map(divides, factors)):
            return None
        met = [_product(whole) if isinstance(whole := _counted(p), x.Add) else whole for p in factors]
        return product_of([x.rebuild(p, step) for p in met]) if met != list(factors) else None

    return x.rebuild(e, step)


def _counted(e: Expr) -> Expr:
    """`(k - 1) a + 2 a` as `(k + 1) a`."""
    parts = [x.split_number(t) for t in x.terms_of(e)]
    keys = [x.alpha(in_one_order(rest)) for _, rest in parts]
    for n, (c, rest) in enumerate(parts):
        for p in (p for p in x.factors_of(rest) if isinstance(p, x.Add) and any(isinstance(t, x.Num) for t in p.terms)):
            beside = x.mul(*(q for q in x.factors_of(rest) if q is not p))
            key = x.alpha(in_one_order(beside))
            if key in keys:
                other = keys.index(key)
                whole = x.mul(x.Num(c), x.add(p, x.Num(parts[other][0] / c)), beside)
                return _counted(x.add(*(whole if m == n else t for m, t in enumerate(x.terms_of(e)) if m != other)))
    return e


def _product(e: x.Add) -> Expr:
    """The sum as a product of powers, of which one at least is a sum; as it is where it has no such factors.

    What is no sum, product or power of a whole number, and a sum within a term, is a letter of the polynomial.
    """
    letters: dict[Expr, sp.Symbol] = {}
    terms = [_monomial(t, letters) for t in e.terms] if len(e.terms) <= MOST else [None]
    known = [t for t in terms if t is not None]
    if len(known) < len(terms) or not 0 < len(letters) <= LETTERS:
        return e
    number, factors = sp.factor_list(sp.Add(*known), *letters.values())
    if len(factors) == 1 and factors[0][1] == 1 and abs(number) == 1:
        return e
    back = {symbol: of for of, symbol in letters.items()}
    sums = [(_sum(poly, back), n) for poly, n in factors]
    c = Fraction(int(number.p), int(number.q))
    for at, (of, n) in enumerate(sums):
        rest_of_one = isinstance(of, x.Add) and len(of.terms) == 2 and x.num(-1) in of.terms  # `1 - p`, not `p - 1`
        if rest_of_one or (c < 0 and n % 2 and any(x.split_number(t)[0] < 0 for t in x.terms_of(of))):
            c, sums[at] = c * (-1) ** n, (_added_first(x.neg(of)), n)
    return x.mul(x.num(c), *(x.power(of, x.num(n)) for of, n in sums))


def _added_first(e: Expr) -> Expr:
    """`b - a`, not `-a + b`."""
    return x.add(*sorted(x.terms_of(e), key=lambda t: x.split_number(t)[0] < 0))


def _monomial(e: Expr, letters: dict[Expr, sp.Symbol]) -> sp.Expr | None:
    c, rest = x.split_number(e)
    if not isinstance(c, Fraction):
        return None
    out: sp.Expr = sp.Rational(c.numerator, c.denominator)
    for p in x.factors_of(rest):
        base, n = _power(p)
        if n not in range(1, HIGHEST + 1):
            return None
        if base != x.ONE:
            out *= letters.setdefault(base, sp.Symbol(f"letter{len(letters)}")) ** int(n)
    return out


def _power(e: Expr) -> tuple[Expr, Fraction | float]:
    """A factor as a base and the number that it is raised to: `exp(2 a)` is the square of `exp(a)`."""
    if isinstance(e, x.Pow) and isinstance(e.exponent, x.Num):
        return e.base, x.split_number(e.exponent)[0]
    if isinstance(e, x.Fn) and e.name == "exp":
        c, rest = x.split_number(e.args[0])
        return x.fn("exp", x.mul(x.num(1 if c > 0 else -1), rest)), c if c > 0 else -c
    return e, Fraction(1)


def _sum(e: sp.Expr, back: dict[sp.Symbol, Expr]) -> Expr:
    """A polynomial in the letters' own expressions, its terms in the order in which they are met."""
    own = sp.Poly(e, *back)
    terms = []
    for powers, c in own.terms():
        each = (x.power(of, x.num(int(n))) for of, n in zip(back.values(), powers, strict=True) if n)
        terms.append(x.mul(x.num(Fraction(int(c.p), int(c.q))), *each))
    return x.add(*terms)
