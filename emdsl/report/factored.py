"""Factors of a product as a person would put them, its numbers gathered: signs, common factors, roots."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import gcd, isfinite, isqrt, lcm

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr
from emdsl.derive.algebra.made import PROBABILITIES, among
from emdsl.derive.algebra.nodes import is_long, kept
from emdsl.report.conditions import shares_met
from emdsl.report.powers import one_power

LARGE = 8  # a number that no common factor is worth


def negative(e: Expr) -> bool:
    return isinstance(e, x.Num) and e.value < 0


def one_exponential(factors: list[Expr]) -> list[Expr]:
    """`exp(a) exp(b) exp(c)` is `exp(a + b + c)`; of two, where their exponents share what they are multiples of."""
    powers = [p.args[0] for p in factors if isinstance(p, x.Fn) and p.name == "exp"]
    if len(powers) < 3 and not (len(powers) == 2 and _multiple(*powers)):
        return factors
    total = x.add(*shares_met([t for p in powers for t in x.terms_of(p)]))
    whole = without_logs(total) if isinstance(total, x.Add) else None
    rest = [p for p in factors if not (isinstance(p, x.Fn) and p.name == "exp")]
    return [*rest, *x.factors_of(x.fn("exp", total) if whole is None else whole)]


def _multiple(a: Expr, b: Expr) -> bool:
    """Whether one exponent is a multiple of the other: `-(k - 1) b` and `-b`."""
    one, other = ({x.alpha(p) for p in x.factors_of(x.split_number(e)[1])} for e in (a, b))
    return one <= other or other <= one


def out_of_sums(factors: list[Expr]) -> list[Expr]:
    """`s (a / s - b / s)` as `a - b`: what divides every term of a sum, before it, where it meets what stands there."""
    out = list(factors)
    for n, f in enumerate(factors):
        if not isinstance(f, x.Add):
            continue
        first, *more = f.terms
        shared = [p for p in x.factors_of(first) if isinstance(p, x.Pow) and negative(p.exponent) and p.base in out]
        shared = [p for p in shared if all(p in x.factors_of(t) for t in more)]
        for p in shared:
            out[out.index(p.base)] = x.power(p.base, x.add(p.exponent, x.ONE))
        out[n] = x.add(*(x.mul(*(p for p in x.factors_of(t) if p not in shared)) for t in f.terms)) if shared else f
    return out


def into_ratios(factors: list[Expr]) -> list[Expr]:
    """`a / (s (b / s + c))` as `a / (b + c s)`: what divides beside a sum that divides, and in some of its terms."""
    for k, p in enumerate(factors):
        if not isinstance(p, x.Pow) or not negative(p.exponent) or isinstance(p.base, x.Add):
            continue
        for s in dict.fromkeys((x.power(p, x.num(-1)), p.base)):
            for n, q in enumerate(factors):
                below = None if n == k else _times_below(q, s)
                if below is not None:
                    rest = [below if m == n else r for m, r in enumerate(factors) if m != k]
                    return into_ratios([*rest, x.mul(p, s)])
    return factors


def _times_below(e: Expr, s: Expr) -> Expr | None:
    """`a / (b / s + c)` as `a / (b + c s)`, its s-th part; under a sum, too. None where s divides nothing."""
    match e:
        case x.Pow(x.Add(terms), x.Num(v)) if v == -1:
            one = x.power(s, x.num(-1))
            held = [one in x.factors_of(t) for t in terms]
            each = [x.mul(*(r for r in x.factors_of(t) if r != one), *(() if has else (s,)))
                    for t, has in zip(terms, held, strict=True)]  # fmt: skip
            each.sort(key=lambda t: t != s)  # `nu + d`, not `d + nu`
            return power_of(x.add(*each), x.num(-1)) if any(held) else None
        case x.Sum(ix, body) if ix not in x.free(s):
            factors = x.factors_of(body)
            found = ((n, m) for n, p in enumerate(factors) if (m := _times_below(p, s)) is not None)
            at, below = next(found, (0, None))
            return (
                None if below is None else x.Sum(ix, x.mul(*(below if n == at else p for n, p in enumerate(factors))))
            )
    return None


def other_share(terms: list[Expr]) -> list[Expr]:
    """`1 - a / (a + b)` as `b / (a + b)`."""
    for one in (t for t in terms if isinstance(t, x.Num)):
        for t in terms:
            c, rest = x.split_number(t)
            for p in x.factors_of(rest):
                above = x.mul(*(q for q in x.factors_of(rest) if q is not p))
                whole = (
                    p.base.terms
                    if isinstance(p, x.Pow) and p.exponent == x.num(-1) and isinstance(p.base, x.Add)
                    else ()
                )
                if c == -one.value and above in whole:
                    left = x.mul(one, x.add(*(q for q in whole if q != above)), p)
                    return other_share([*(q for q in terms if q not in (one, t)), left])
    return terms


def without_logs(exponent: x.Add) -> Expr | None:
    """`exp(a + log b - 2 log c)` as `b exp(a) / c²`."""
    split = [(t, *x.split_number(t)) for t in exponent.terms]
    logs = [(t, c, of) for t, c, e in split if float(c).is_integer() and (of := _logged(e)) is not None]
    if not logs:
        return None
    gone = [t for t, _, _ in logs]
    rest = x.fn("exp", x.add(*(t for t in exponent.terms if t not in gone)))
    return x.mul(*(x.power(of, x.Num(c)) for _, c, of in logs), rest)


def _logged(e: Expr) -> Expr | None:
    """What an expression is the logarithm of."""
    match e:
        case x.Fn("log", (of,)):
            return of
        case x.Fn("log1mexp", (of,)):
            return x.add(x.ONE, x.neg(x.fn("exp", of)))
    return None


def ordered(factors: list[Expr]) -> list[Expr]:
    """Elements of one array beside each other in the order of their places, so that like products meet."""
    out = list(factors)
    places: dict[str, list[int]] = {}
    for n, f in enumerate(factors):
        if isinstance(f, El):
            places.setdefault(f.var, []).append(n)
    for at in places.values():
        for n, f in zip(at, sorted((factors[k] for k in at), key=repr), strict=True):
            out[n] = f
    return out


@kept
def content(e: x.Add) -> tuple[Fraction, Expr]:
    """`c * rest`: the rest has integer coefficients without a common divisor; it is positive, or its first one is."""
    numbers = [_exact(x.split_number(t)[0]) for t in e.terms]
    exact = [n for n in numbers if isinstance(n, Fraction)]
    if len(exact) < len(numbers):
        return (Fraction(-1), x.neg(e)) if all(n < 0 for n in numbers) else (Fraction(1), e)
    size = Fraction(gcd(*(n.numerator for n in exact)), lcm(*(n.denominator for n in exact)))
    if is_long(1 / size):
        return Fraction(1), e
    from_number = any(isinstance(t, x.Num) and t.value > 0 for t in e.terms)  # `1 - a`, not `-(a - 1)`
    c = -size if exact[0] < 0 and not from_number and not x.positive(e) else size
    return c, x.add(*(x.mul(x.num(1 / c), t) for t in e.terms))


def one_log(e: Expr) -> Expr:
    """`log c + log(a / 2 + 1)` of a number c as the log of one product, its sum of whole numbers: for paper alone."""
    terms = x.terms_of(e)
    logs = [t for t in terms if isinstance(t, x.Fn) and t.name == "log"]
    numbers = [v for t in logs if isinstance(n := t.args[0], x.Num) and isinstance(v := n.value, Fraction)]
    sums = [t for t in logs if isinstance(t.args[0], x.Add)]
    states = [t for t in logs if isinstance(t.args[0], x.Val)]
    if states and len(logs) == len(terms) > len(states) and not numbers:  # `log p + log j` of a state j
        return x.Fn("log", (x.Mul(tuple(t.args[0] for t in (*(t for t in logs if t not in states), *states))),))
    if len(numbers) != 1 or len(sums) != 1 or len(logs) != 2:
        return e
    of = sums[0].args[0]
    c, whole = content(of) if isinstance(of, x.Add) else (Fraction(1), of)
    if c <= 0 or c.denominator == 1:
        return e
    met = x.Fn("log", (x.Mul((x.num(numbers[0] * c), whole)) if numbers[0] * c != 1 else whole,))
    left = [t for t in terms if t not in logs]
    return x.Add((*left, met)) if left else met


def _exact(v: Fraction | float) -> Fraction | float:
    """A half that sympy gave as a float."""
    near = Fraction(v) if isfinite(v) else Fraction(0)
    return near if 0 < near.denominator <= LARGE and near == v else v


def product_of(factors: list[Expr]) -> Expr:
    factors = one_power(one_exponential([p for f in factors for p in x.factors_of(f)]))
    ratio = any(isinstance(f, x.Pow) and negative(f.exponent) for f in factors)
    c: Fraction | float = Fraction(1)
    rest: list[Expr] = []
    for f in factors:
        match f:
            case x.Num(v):
                c = c * v
            case x.Add() if x.positive(x.neg(f)):  # `t - 1` of a t below 1
                c = -c
                rest.append(x.neg(f))
            case x.Add() if ratio or (len(factors) > 1 and (_all_negative(f) or _multiples(f))):
                inner, whole = content(f)
                if not ratio and any(float(x.split_number(t)[0]) > LARGE for t in x.terms_of(whole)):
                    inner, whole = Fraction(-1), x.neg(f)  # `-(log 10 + a² / 200)`, not `-(200 log 10 + a²) / 200`
                c = c * inner
                rest.append(whole)
            case _:
                inner_c, whole = x.split_number(f)
                c = c * inner_c
                rest.append(whole)
    if c < 0:  # `a / (1 - b)`, not `-a / (b - 1)`
        turned = next((p for p in rest if _is_one_over_a_difference(p)), None)
        if isinstance(turned, x.Pow):
            c, rest = -c, [x.power(x.neg(turned.base), x.num(-1)) if p is turned else p for p in rest]
    return _roots(c, x.mul(*ordered(rest)))


def _is_one_over_a_difference(e: Expr) -> bool:
    """Whether a factor is one over `b - 1`, `a - b`, but over no `1 - p`, which is positive as it is."""
    if not isinstance(e, x.Pow) or e.exponent != x.num(-1) or not isinstance(e.base, x.Add):
        return False
    return not x.positive(e.base) and any(x.split_number(t)[0] < 0 for t in e.base.terms)


def _multiples(e: x.Add) -> bool:
    """Whether all terms are a multiple of a number: `2 a - 2 b`; of lengths and numbers, or elements, of a half too."""
    c, _ = content(e)
    bare = [x.split_number(t)[1] for t in e.terms]
    counts = any(all(isinstance(t, kinds) for t in bare) for kinds in (x.SizeN | x.Num, El | x.SizeN))
    return abs(c) != 1 and abs(c.numerator) <= LARGE and (c.denominator == 1 or counts)


def halved(e: Expr) -> Expr:
    """`a / 2 + b / 2` as `(a + b) / 2`."""
    if not isinstance(e, x.Add) or not _multiples(e):
        return e
    c, whole = content(e)
    return x.Mul((x.Num(c), whole)) if c.denominator > 1 else e


def _roots(c: Fraction | float, rest: Expr) -> Expr:
    """`1.414 sqrt(a)` is `sqrt(2 a)`."""
    roots = [f for f in x.factors_of(rest) if isinstance(f, x.Pow) and f.exponent == x.HALF]
    square = _rational(float(c) ** 2) if 1e-150 < abs(Fraction(c)) < 1e150 else None
    if square is None or (isinstance(c, Fraction) and len(roots) < 2) or not roots:
        return x.mul(x.Num(c), rest)
    others = [f for f in x.factors_of(rest) if f not in roots]
    inside = [x.Num(square), *(p for f in roots if isinstance(f, x.Pow) for p in x.factors_of(f.base))]
    for below in [p for p in others if isinstance(p, x.Pow) and p.exponent == x.Num(Fraction(-1, 2))]:
        if below.base in inside:  # `√(4 π) / √π` is 2
            inside.remove(below.base)
            others.remove(below)
    root = power_of(product_of(inside), x.HALF)
    return x.mul(x.num(1 if c > 0 else -1), *others, root)


def _rational(v: float) -> Fraction | None:
    near = Fraction(v).limit_denominator(1000)
    return near if near and abs(float(near) - v) <= 1e-14 * abs(v) else None


def _all_negative(e: x.Add) -> bool:
    return all(x.split_number(t)[0] < 0 for t in e.terms)


def power_of(base: Expr, exponent: Expr) -> Expr:
    if isinstance(base, x.Add) and isinstance(exponent, x.Num) and x.positive(x.neg(base)):
        if isinstance(exponent.value, Fraction) and exponent.value.denominator == 1:
            return x.mul(x.num((-1) ** int(exponent.value)), power_of(x.neg(base), exponent))
    if isinstance(base, x.Add) and isinstance(exponent, x.Num) and exponent.value in (-1, -2, 2):
        c, whole = content(base)
        whole_number = c > 1 and c.denominator == 1  # `4 (y - m)²`, not `(2 y - 2 m)²`
        if c < 0 or whole_number or (exponent.value < 0 and c.denominator <= LARGE):  # not `100 / (100 a + 1)`
            return x.mul(x.num(c ** int(exponent.value)), x.power(whole, exponent))
    if isinstance(base, x.Mul) and not isinstance(exponent, x.Num):  # `(a exp(b))^k` is `a^k exp(k b)`
        grown = [p for p in base.factors if isinstance(p, x.Fn) and p.name == "exp"]
        if grown and len(grown) < len(base.factors):
            rest = x.mul(*(p for p in base.factors if p not in grown))
            return x.mul(power_of(rest, exponent), *(x.fn("exp", x.mul(exponent, *p.args)) for p in grown))
    if exponent == x.HALF:
        if isinstance(base, x.Num) and isinstance(base.value, Fraction) and base.value > 0:
            up, down = isqrt(base.value.numerator), isqrt(base.value.denominator)
            if Fraction(up * up, down * down) == base.value:
                return x.num(Fraction(up, down))
        return x.Pow(base, exponent) if not isinstance(base, x.Num) else x.power(base, exponent)
    return x.power(base, exponent)


def numbers_first(terms: Sequence[Expr]) -> Sequence[Expr]:
    """`D + 2 + sum_n q[n]`, not `sum_n q[n] + D + 2`."""
    bare = [x.split_number(t)[1] for t in terms]
    plain = [t for t, e in zip(terms, bare, strict=True) if isinstance(e, x.SizeN) or e == x.ONE]
    sums = [t for t, e in zip(terms, bare, strict=True) if any(isinstance(p, x.Sum) for p in x.factors_of(e))]
    over_q = any(isinstance(n, El) and among(n.var, PROBABILITIES) for t in sums for n in x.walk(t))
    if len(terms) == 2 and len(sums) == 1 and isinstance(bare[0], x.Sum) and over_q:  # c is no part of the sum
        plain = [t for t in terms if t not in sums]
    added = all(x.split_number(t)[0] > 0 for t in plain)
    return (*plain, *sums) if sums and added and len(plain) + len(sums) == len(terms) else terms


def sizes_in_order(factors: Sequence[Expr], order: list[str]) -> list[Expr]:
    """`I J`, as the model declares its plates, not `J I`."""
    out = list(factors)
    sizes = [p for p in factors if isinstance(s := p.base if isinstance(p, x.Pow) else p, x.SizeN) and s.dim in order]
    places = [n for n, p in enumerate(factors) if p in sizes]
    sizes.sort(key=lambda p: order.index(str(next(e.dim for e in x.walk(p) if isinstance(e, x.SizeN)))))
    for n, p in zip(places, sizes, strict=True):
        out[n] = p
    return out
