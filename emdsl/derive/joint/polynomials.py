"""Polynomials in a covariate far from the origin: `m + b x + c x^2` is written `m' + b' (x - r) + c (x - r)^2`.

    c_k  =  sum over j >= k of binomial(j, k) (-r)^(j - k) c'_j

The identity is exact for every r. The form of every factor stays: only what is stored as x, and what is held as the
coefficients below the highest, is measured from elsewhere. About its mean a covariate and its powers are no longer
almost proportional, so that normal equations keep their digits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import comb

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr
from emdsl.derive.joint.centre import Shift, added, over_axes, reference
from emdsl.derive.joint.factors import LogJoint
from emdsl.language import model as m

Variables = Mapping[str, m.Variable]


@dataclass(frozen=True)
class Polynomial:
    """The coefficients of the powers of one covariate in a sum: (number, parameter's element) below the highest."""

    data: El
    lower: tuple[tuple[Fraction | float, El], ...]
    highest: Expr

    @property
    def degree(self) -> int:
        return len(self.lower)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(e.var for _, e in self.lower)


def polynomials(
    joint: LogJoint, shifts: Mapping[str, Shift], taken: Iterable[str]
) -> tuple[Mapping[str, Shift], tuple[str, ...]]:
    """The shifts of coefficients beside those that are there, and the covariates that are measured from a reference.

    A covariate moves where all that reads it is polynomials whose lower coefficients are free and stand nowhere else.
    """
    variables = {v.name: v for v in joint.model.variables}
    everywhere: Counter[str] = Counter()
    found: dict[Polynomial, Counter[str]] = {}
    for f in joint.factors:
        for e in (f.body, *f.gates, *f.masks):
            for node in x.walk(e):
                if isinstance(node, El):
                    everywhere[node.var] += 1
                p = _polynomial(node, variables) if isinstance(node, x.Add) and f.role == "observed" else None
                if p is not None:
                    inside = Counter(n.var for n in x.walk(node) if isinstance(n, El))
                    found.setdefault(p, Counter()).update({n: inside[n] for n in (p.data.var, *p.names)})
    out: dict[str, Shift] = {}
    moved: list[str] = []
    for name in dict.fromkeys(p.data.var for p in found):
        mine = [p for p in found if p.data.var == name]
        counts = sum((found[p] for p in mine), Counter())
        alone = all(counts[n] == everywhere[n] for n in counts) and not set(counts) & {*taken, *out}
        once = Counter(e for p in mine for _, e in p.lower)
        made = [_shifts(p, variables) for p in mine]
        if alone and max(once.values()) == 1 and None not in made:
            for s in (s for some in made for s in some or ()):
                out[s.param] = added(out.get(s.param) or shifts.get(s.param), s)
            moved.append(name)
    return out, tuple(moved)


def _polynomial(node: x.Add, variables: Variables) -> Polynomial | None:
    """The powers of one covariate in a sum, from the location up, none of them left out; of degree two or more."""
    powers: dict[int, list[Expr]] = {}
    place: El | None = None
    for t in node.terms:
        for e in x.walk(t):
            if isinstance(e, El) and _is_covariate(e, variables) and _power(t, e):
                place = place or e
    if place is None:
        return None
    for t in node.terms:
        if place.var not in x.variables(t):
            continue
        k = _power(t, place)
        if not k:
            return None
        powers.setdefault(k, []).append(_without(t, place))
    degree = max(powers)
    if degree < 2 or len(powers) < degree or any(len(p) > 1 for p in powers.values()):
        return None
    ends = [_coefficient(t, variables) for t in node.terms if isinstance(x.split_number(t)[1], El)]
    locations = [e for e in ends if e is not None]
    lower = [
        locations[0] if len(locations) == 1 else None,
        *(_coefficient(powers[k][0], variables) for k in range(1, degree)),
    ]
    kept = tuple(e for e in lower if e is not None)
    highest = powers[degree][0]
    at = [e for e in x.walk(highest) if isinstance(e, El) and e.var in {e.var for _, e in kept}]
    if len(kept) < degree or not _apart([*at, *(e for _, e in kept)]):
        return None
    return Polynomial(place, kept, highest)


def _apart(places: Sequence[El]) -> bool:
    """Whether elements of one array differ in a literal position, whatever the others are."""
    return all(a.var != b.var or _differ(a, b) for n, a in enumerate(places) for b in places[:n])


def _differ(a: El, b: El) -> bool:
    pairs = zip(a.idx, b.idx, strict=True)
    return any(isinstance(i, int) and isinstance(j, int) and i != j for i, j in pairs)


def _is_covariate(e: El, variables: Variables) -> bool:
    v = variables.get(e.var)
    return (
        v is not None
        and v.kind == "given"
        and v.domain.kind in ("real", "positive", "unit")
        and not v.domain.dims
        and bool(v.plates)
    )


def _power(t: Expr, data: El) -> int:
    """k where a term is a coefficient free of data times `data^k`; 0 where it is not."""
    out = 0
    for f in x.factors_of(t):
        match f:
            case El() if f == data:
                out += 1
            case x.Pow(El() as base, x.Num(v)) if base == data and v == int(v) and v > 0:
                out += int(v)
            case _ if data.var in x.variables(f):
                return 0
    return out


def _without(t: Expr, data: El) -> Expr:
    kept = [f for f in x.factors_of(t) if data.var not in x.variables(f)]
    return x.mul(*kept) if kept else x.ONE


def _coefficient(e: Expr, variables: Variables) -> tuple[Fraction | float, El] | None:
    """(number, element) of a parameter that is free on the line and has no prior."""
    number, rest = x.split_number(e)
    v = variables.get(rest.var) if isinstance(rest, El) else None
    if v is None or not isinstance(rest, El) or v.kind != "param" or v.distribution is not None:
        return None
    free = v.domain.kind == "real" and v.domain.lower is None and v.domain.upper is None
    return (number, rest) if free and len(rest.idx) == len(v.shape) else None


def _shifts(p: Polynomial, variables: Variables) -> Sequence[Shift] | None:
    """What each lower coefficient is measured from, in terms of those above it; None where their axes forbid it."""
    away = x.neg(El(reference(p.data.var), ()))
    above = [*(x.mul(x.Num(c), e) for c, e in p.lower), p.highest]
    out = []
    for k, (number, e) in enumerate(p.lower):
        parts = [x.mul(x.num(comb(j, k)), x.power(away, x.num(j - k)), above[j]) for j in range(k + 1, len(above))]
        made = over_axes(e, x.mul(x.Num(1 / number), x.add(*parts)), variables[e.var])
        if made is None:
            return None
        out.append(made)
    return out
