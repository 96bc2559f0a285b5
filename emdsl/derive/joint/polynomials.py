"""Polynomials in covariates far from the origin: `m + b x + c x^2` is written `m' + b' (x - r) + c (x - r)^2`.

    c_k  =  sum over j >= k of binomial(j, k) (-r)^(j - k) c'_j

So are products of several, `m + b x + c w + d x w`, where k, j and r have a number for each covariate and binomials are
products. The identity is exact for every r. The form of every factor stays: only what is stored as x, and what is held
as the coefficients below others, is measured from elsewhere. About its mean a covariate and its powers are no longer
almost proportional, so that normal equations keep their digits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import comb, prod

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr
from emdsl.derive.algebra.nodes import kept
from emdsl.derive.joint.centre import Shift, added, moved_by, over_axes, reference
from emdsl.derive.joint.factors import LogJoint
from emdsl.language import model as m

MOST_ADDENDS = 1000  # of a sum whose products are opened: of sixty factors of two addends there are 10^18
Variables = Mapping[str, m.Variable]
Powers = tuple[tuple[str, int], ...]  # of a monomial: covariates in the order of their names, and their powers
Free = tuple[Fraction | float, El]  # a number times a parameter's element


@dataclass(frozen=True)
class Polynomial:
    """A sum by its monomials: what multiplies each, and where that is one free element of a parameter, that."""

    node: x.Add
    coefficients: Mapping[Powers, Expr]
    free: Mapping[Powers, Free]

    def __hash__(self) -> int:
        return hash(self.node)

    def holds(self, name: str) -> list[Powers]:
        """The monomials with a covariate."""
        return [p for p in self.coefficients if name in dict(p)]

    def lowered(self, moved: Iterable[str]) -> set[Powers]:
        """The monomials that stand below others where these covariates move."""
        return {low for name in moved for p in self.holds(name) for low in [_less(p, name)]}


def polynomials(
    joint: LogJoint, shifts: Mapping[str, Shift], taken: Iterable[str]
) -> tuple[Mapping[str, Shift], tuple[str, ...]]:
    """The shifts of coefficients beside those that are there, and the covariates that are measured from a reference.

    A covariate moves where all that reads it is polynomials, one of them of degree two or more, in which all that
    stands below it has free coefficients that stand nowhere else. Covariates in `taken` have moved already.
    """
    variables = {v.name: v for v in joint.model.variables}
    everywhere: Counter[str] = Counter()
    found: Counter[Polynomial] = Counter()
    for f in joint.factors:
        for e in (f.body, *f.gates, *f.masks):
            for node in x.walk(e):
                if isinstance(node, El):
                    everywhere[node.var] += 1
                if isinstance(node, x.Add) and f.role == "observed":
                    found.update(_polynomial(node, variables))
    moved = list(dict.fromkeys(n for p in found for powers in p.coefficients for n, _ in powers))
    moved = [n for n in moved if n not in {*taken}]
    while moved:
        kept = [n for n in moved if _moves(n, moved, found, everywhere)]
        if len(kept) == len(moved):
            break
        moved = kept
    out: dict[str, Shift] = {}
    for p in found:
        made = _shifts(p, moved, variables)
        if made is None:
            return {}, ()
        for s in made:
            out[s.param] = added(out.get(s.param), s)
    return _after(shifts, out), tuple(moved)


def _after(first: Mapping[str, Shift], then: Mapping[str, Shift]) -> dict[str, Shift]:
    """Shifts of parameters that had others already: what these were written in has moved since."""

    def moved(e: Expr) -> Expr | None:
        return x.add(e, moved_by(then[e.var], e)) if isinstance(e, El) and e.var in then else None

    out = {name: replace(s, value=x.rebuild(s.value, moved)) for name, s in first.items()}
    out |= {name: added(out.get(name), s) for name, s in then.items()}
    return {name: s for name, s in out.items() if name in then or s != first[name]}


def _moves(name: str, moved: Sequence[str], found: Mapping[Polynomial, int], everywhere: Mapping[str, int]) -> bool:
    """Whether a covariate may be measured from elsewhere, beside others that are to be."""
    mine = [p for p in found if p.holds(name)]
    if not any(sum(k for _, k in powers) > 1 for p in mine for powers in p.holds(name)):
        return False
    if any(_less(powers, name) not in p.free for p in mine for powers in p.holds(name)):
        return False
    lower = [e for p in mine for powers in sorted(p.lowered(moved)) if powers in p.free for _, e in [p.free[powers]]]
    names = {name, *(e.var for e in lower)}
    inside = Counter(n.var for p in mine for _ in range(found[p]) for n in x.walk(p.node) if isinstance(n, El))
    alone = all(inside[n] == everywhere[n] for n in names)
    return alone and max(Counter(lower).values()) == 1 and all(_apart(p, moved) for p in mine)


def _polynomial(node: x.Add, variables: Variables) -> Iterator[Polynomial]:
    """A sum as a polynomial in the covariates of which it holds one element each; none where it has none of them."""
    elements = {e for e in x.walk(node) if isinstance(e, El) and _is_covariate(e, variables)}
    names = Counter(e.var for e in elements)
    covariates = {e for e in elements if names[e.var] == 1}
    parts: dict[Powers, list[Expr]] = {}
    read = frozenset(e.var for e in covariates)
    if sum(_addends(t, read) for t in node.terms) > MOST_ADDENDS:
        return
    for t in (opened for whole in node.terms for opened in _opened(whole, read)):
        powers, rest = _monomial(t, covariates)
        parts.setdefault(powers, []).append(rest)
    spoilt = {n for some in parts.values() for e in some for n in x.variables(e)}
    if any({n for n, _ in powers} - spoilt for powers in parts):
        free = {p: found for p, some in parts.items() if (found := _coefficient(some, p, variables)) is not None}
        kept = {p: x.add(*some) for p, some in parts.items() if not {n for n, _ in p} & spoilt}
        if any(kept):
            yield Polynomial(node, kept, {p: e for p, e in free.items() if p in kept})


@kept
def _addends(t: Expr, covariates: frozenset[str]) -> int:
    """How many products `_opened` makes of one."""
    held = (f for f in x.factors_of(t) if isinstance(f, x.Add) and x.variables(f) & covariates)
    return prod(sum(_addends(term, covariates) for term in f.terms) for f in held)


def _opened(t: Expr, covariates: frozenset[str]) -> Iterator[Expr]:
    """A product of sums that hold covariates, `(c + d x) w`, as a sum of products."""
    factors = x.factors_of(t)
    held = next((f for f in factors if isinstance(f, x.Add) and x.variables(f) & covariates), None)
    if held is None:
        yield t
        return
    rest = [f for f in factors if f is not held]
    for term in held.terms:
        yield from _opened(x.mul(*rest, term), covariates)


def _monomial(t: Expr, covariates: set[El]) -> tuple[Powers, Expr]:
    """The powers of the covariates in a term, and what multiplies them."""
    powers: Counter[str] = Counter()
    rest: list[Expr] = []
    for f in x.factors_of(t):
        match f:
            case El() if f in covariates:
                powers[f.var] += 1
            case x.Pow(El() as base, x.Num(v)) if base in covariates and v == int(v) and v > 0:
                powers[base.var] += int(v)
            case _:
                rest.append(f)
    return tuple(sorted(powers.items())), x.mul(*rest) if rest else x.ONE


def _less(powers: Powers, name: str) -> Powers:
    """A monomial with one power less of a covariate."""
    return tuple((n, k - (n == name)) for n, k in powers if k > (n == name))


def _apart(p: Polynomial, moved: Sequence[str]) -> bool:
    """Whether the elements that move, and those of the same arrays above them, differ in a literal position."""
    below = [p.free[powers][1] for powers in sorted(p.lowered(moved)) if powers in p.free]
    names = {e.var for e in below}
    above = [
        e for powers, rest in p.coefficients.items() if powers not in p.lowered(moved) and powers
        for e in x.walk(rest) if isinstance(e, El) and e.var in names
    ]  # fmt: skip
    places = [*above, *below]
    return all(a.var != b.var or _differ(a, b) for n, a in enumerate(places) for b in places[:n])


def _differ(a: El, b: El) -> bool:
    pairs = zip(a.idx, b.idx, strict=True)
    return any(isinstance(i, int) and isinstance(j, int) and i != j for i, j in pairs)


def _is_covariate(e: El, variables: Variables) -> bool:
    v = variables.get(e.var)
    return v is not None and v.kind == "given" and v.domain.interval and not v.domain.dims and bool(v.plates)


def _coefficient(terms: Sequence[Expr], powers: Powers, variables: Variables) -> Free | None:
    """The free element on the line, without a prior, that multiplies a monomial; beside what is no parameter for 1."""
    found = []
    for t in terms:
        number, rest = x.split_number(t)
        v = variables.get(rest.var) if isinstance(rest, El) else None
        if v is not None and isinstance(rest, El) and v.kind == "param":
            free = v.domain.unbounded
            if free and v.distribution is None and len(rest.idx) == len(v.shape):
                found.append((number, rest))
    return found[0] if len(found) == 1 and (len(terms) == 1 or not powers) else None


def _shifts(p: Polynomial, moved: Sequence[str], variables: Variables) -> Sequence[Shift] | None:
    """What each lower coefficient is measured from, in terms of those above it; None where their axes forbid it."""
    out = []
    for low in sorted(p.lowered(moved)):
        number, e = p.free[low]
        parts = [x.mul(by, rest) for powers, rest in p.coefficients.items() if (by := _taken(powers, low, moved))]
        made = over_axes(e, x.mul(x.Num(1 / number), x.add(*parts)), variables[e.var])
        if made is None:
            return None
        out.append(made)
    return out


def _taken(powers: Powers, low: Powers, moved: Sequence[str]) -> Expr | None:
    """prod of binomial(j, k) (-r)^(j - k) over covariates, of a monomial j above another one k; None elsewhere."""
    above, below = dict(powers), dict(low)
    more = {n: k - below.get(n, 0) for n, k in above.items()}
    if powers == low or any(n not in above for n in below) or min(more.values()) < 0:
        return None
    if any(k and n not in moved for n, k in more.items()):
        return None
    number = prod(comb(k, below.get(n, 0)) for n, k in above.items())
    return x.mul(x.num(number), *(x.power(x.neg(El(reference(n), ())), x.num(k)) for n, k in more.items() if k))
