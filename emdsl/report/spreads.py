"""The update of a covariance or of a precision: Q in its inverse, where that is stationary, and the value."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr, Idx, Ix
from emdsl.derive.updates.rules import Spread
from emdsl.report import formula as f
from emdsl.report.factored import content
from emdsl.report.gathered import gathered
from emdsl.report.page import Say, Show
from emdsl.report.pieces import assembled
from emdsl.report.tidy import tidy
from emdsl.report.typeset import Typeset
from emdsl.report.unicode import text
from emdsl.report.vectors import beside, tensor
from emdsl.report.written import SHORT_CASES, compared_with


def in_matrices(rule: Spread, name: str, t: Typeset) -> list[Say | Show] | None:
    """`Q = -n/2 logdet(V) - tr(V⁻¹ R) / 2`, so that `n V - R = 0`; None where R has no form as a matrix."""
    *lead, i, j = rule.axes
    names = t.letters.extend({}, lead)
    own = El(name, rule.axes)
    inverse = x.MatInv(i, j, own, (i, j))
    c, scatter = _number_apart(tidy(_symmetric(rule.scatter, i, j), t.known), {i: j, j: i})
    matrix, by, other = (
        tensor(t, e, (i, j), names) for e in ((scatter, own, inverse) if rule.precision else (scatter, inverse, own))
    )
    if matrix is None or by is None or other is None:
        return None
    volume = x.totals(lead, x.mul(rule.weight, x.LogDet(i, j, own)))
    trace = t.big(lead, [], f.of("tr", f.times(by, matrix)), names)
    q = f.plus(t.of(tidy(volume, t.known), {}), assembled(c, [trace], []), f.Word("const"))
    sign = x.ONE if rule.precision else x.num(-1)
    score = f.plus(beside(t.of(tidy(x.mul(sign, rule.weight), t.known), names), [other]), assembled(c, [matrix], []))
    ratio = x.mul(sign, x.num(-1), x.Num(c), x.power(rule.weight, x.num(-1)))
    value = beside(t.of(tidy(ratio, t.known), names), [matrix])
    zero = f.Relation("=", score, f.Number("0"))
    return [
        Show(f.Relation("=", f.Apply(f.Word("Q"), (f.Name(name),)), q)),
        Show(f.Relation("=", f.Slope(f.Word("Q"), by), zero)),
        Show(f.Relation("=", other, value), name),
    ]


def _symmetric(e: Expr, i: Ix, j: Ix) -> Expr:
    return x.mul(x.HALF, x.add(e, x.substitute(e, {i: j, j: i})))


def _number_apart(e: Expr, turned: dict[Ix, Idx]) -> tuple[Fraction | float, Expr]:
    """The number before a sum, and the sum with each term beside its transpose."""
    if not isinstance(e, x.Add):
        return x.split_number(e)
    c, whole = content(e)
    left, out = list(x.terms_of(whole)), list[Expr]()
    while left:
        out.append(left.pop(0))
        twin = x.alpha(x.substitute(out[-1], turned))
        beside_it = [
            t for t in left if sorted(map(repr, x.factors_of(x.alpha(t)))) == sorted(map(repr, x.factors_of(twin)))
        ]
        left = [t for t in left if t not in beside_it]
        out += beside_it
    return c, x.add(*out)


def value_of(rule: Spread, name: str) -> tuple[Expr, Expr]:
    """The covariance, or the inverse of the precision, and what it is."""
    i, j = rule.axes[-2:]
    value = x.mul(_symmetric(rule.scatter, i, j), x.power(rule.weight, x.num(-1)))
    if rule.precision:
        return x.MatInv(i, j, El(name, rule.axes), (i, j)), x.neg(value)
    return El(name, rule.axes), value


def entry_by_entry(rule: Spread) -> bool:
    """Whether a covariance's sums of squares are of a few vectors by their numbers, and have no form as a matrix."""
    i, j = rule.axes[-2:]
    short = i.dim.isdigit() and int(i.dim) <= SHORT_CASES
    return short and not rule.precision and compared_with(i, rule.scatter) and compared_with(j, rule.scatter)


def by_entries(rule: Spread, name: str, t: Typeset) -> Iterator[Say | Show]:
    """`a V - C / 2 = 0` with C entry by entry, instead of a sum of products of unit vectors."""
    *lead, i, j = rule.axes
    names = t.letters.extend({}, lead)
    places = t.places(lead, names)
    letter = next(c for c in "CDFHMUW" if c not in t.letters.taken)
    scatter, weight = (x.neg(x.add(e, e)) for e in (rule.scatter, rule.weight))
    twice = x.mul(x.HALF, x.add(scatter, x.substitute(scatter, {i: j, j: i})))
    own, other = f.at(f.Name(name), *places), f.at(f.Name(letter), *places)
    first = t.of(x.mul(x.HALF, weight), names)
    score = f.Plus(((False, f.times(first, own)), (True, f.over(t.of(x.HALF, {}), other))))
    by = f.Raised(own, f.Number("-1"))
    yield Show(f.Relation("=", f.Slope(f.Word("Q"), by), f.Relation("=", score, f.Number("0"))))
    yield Say(f"with the entries of {text(other)}, which is symmetric,")
    for a in range(int(i.dim)):
        for b in range(a, int(i.dim)):
            value = t.of(gathered(tidy(x.substitute(twice, {i: a, j: b}), t.known)), names)
            at = (*places, f.Number(str(a)), f.Number(str(b)))
            yield Show(f.Relation("=", f.At(f.Name(letter), at), value))
    yield Say("So")
    yield Show(f.Relation("=", own, f.Over(other, t.of(weight, names))), name)
