"""Rule 4: one scalar. Q = sum_j c_j f_j(v); sympy solves sum_j c_j f_j'(v) = 0 once per set of functions.

The bridge between the indexed algebra and sympy is here: leaves become opaque symbols with the
assumptions of their domain, and come back by the same table. No text passes between the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple

import sympy as sp

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr
from emdsl.errors import InternalError
from emdsl.families.special import ELEMENTARY, logistic


class NoValue(Exception):
    """An expression that is no real number anywhere: the log of a negative number, 1 / 0."""


class Symbols:
    """Opaque symbols for sub-expressions, made in one place, each with its assumptions."""

    def __init__(self) -> None:
        self.symbols: dict[Expr, sp.Symbol] = {}
        self.meaning: dict[sp.Symbol, Expr] = {}
        self.back: dict[sp.Expr, Expr] = {}  # of compound expressions: parts that repeat come back once

    def of(self, e: Expr, name: str | None = None, **assumptions: bool) -> sp.Symbol:
        """The symbol of a sub-expression, made when first asked for."""
        if e not in self.symbols:
            facts = assumptions or ({"positive": True} if x.positive(e) else {"real": True})
            symbol = sp.Symbol(name or f"s{len(self.symbols)}", **facts)
            self.symbols[e] = symbol
            self.meaning[symbol] = e
        return self.symbols[e]

    def to_sympy(self, e: Expr) -> sp.Expr:
        """A scalar expression as sympy; sums, matrices and indicators stay opaque."""
        match e:
            case x.Num(v):
                return sp.Rational(v.numerator, v.denominator) if isinstance(v, Fraction) else sp.Float(v)
            case x.Add():
                return sp.Add(*(self.to_sympy(t) for t in e.terms))
            case x.Mul():
                return sp.Mul(*(self.to_sympy(t) for t in e.factors))
            case x.Pow():
                return self.to_sympy(e.base) ** self.to_sympy(e.exponent)
            case x.Fn("pi", ()):
                return sp.pi
            case x.Fn(name, args) if name in ELEMENTARY:
                return ELEMENTARY[name](*(self.to_sympy(a) for a in args))
        return self.of(e)

    def from_sympy(self, s: sp.Expr) -> Expr:
        """Back again; every symbol must be one of ours. Raises NoValue."""
        if s.is_Atom:
            return self._back(s)
        if s not in self.back:
            self.back[s] = self._back(s)
        return self.back[s]

    def _back(self, s: sp.Expr) -> Expr:
        if isinstance(s, sp.Symbol):
            return self.meaning[s]
        if isinstance(s, sp.Rational):
            return x.Num(Fraction(int(s.p), int(s.q)))
        if isinstance(s, sp.Float):
            return x.num(float(s))
        if isinstance(s, sp.Add):
            return x.add(*(self.from_sympy(a) for a in s.args))
        if isinstance(s, sp.Mul):
            return x.mul(*(self.from_sympy(a) for a in s.args))
        if isinstance(s, sp.Pow):
            return x.power(self.from_sympy(s.base), self.from_sympy(s.exp))
        if s is sp.pi:
            return x.Fn("pi", ())
        if s is sp.E:
            return x.fn("exp", x.ONE)
        if isinstance(s, sp.polygamma) and s.args[0].is_Integer:
            order, inner = int(s.args[0]), self.from_sympy(s.args[1])
            return x.Fn(_POLYGAMMA[order], (inner,)) if order < 2 else x.Fn("polygamma", (x.num(order), inner))
        if isinstance(s, sp.log) and isinstance(s.args[0], sp.gamma):
            return x.fn("lgamma", self.from_sympy(s.args[0].args[0]))
        if isinstance(s, sp.erf):  # of a declared density, opened: 2 Phi(a sqrt 2) - 1
            inner = x.fn("Phi", x.mul(x.power(x.num(2), x.Num(Fraction(1, 2))), self.from_sympy(s.args[0])))
            return x.add(x.mul(x.num(2), inner), x.num(-1))
        if isinstance(s, sp.Heaviside):
            return x.fn("gt", self.from_sympy(s.args[0]), x.ZERO)
        if s in (sp.I, sp.nan, sp.zoo, sp.oo, -sp.oo):
            raise NoValue("the log or a root of a negative number, or a division by 0")
        name = _BACK.get(s.func)
        if name is None:
            raise InternalError("scalars", f"no way back for {s.func.__name__}")
        return x.fn(name, *(self.from_sympy(a) for a in s.args))


_POLYGAMMA = ("digamma", "trigamma")
_BACK: dict[Any, str] = {f: name for name, f in ELEMENTARY.items() if isinstance(f, type)}


@lru_cache(maxsize=256)
def slope(name: str, arity: int, n: int) -> tuple[tuple[El, ...], Expr]:
    """The derivative of a function of numbers by argument n, and the places its arguments stand in."""
    table = Symbols()
    places = tuple(El(f":argument {k}", ()) for k in range(arity))
    arguments = [table.of(place, f"a{k}", real=True) for k, place in enumerate(places)]
    found = sp.diff(ELEMENTARY[name](*arguments), arguments[n])
    flat = found.replace(sp.DiracDelta, lambda *_: sp.Integer(0))  # of a jump: 0 but for one point
    return places, table.from_sympy(flat)


@dataclass(frozen=True)
class Root:
    """A closed root of the score, in its coefficients: `candidates` has all of several, the best to be kept.

    `computed` are the same roots as the module takes them: two of a quadratic without a difference that loses digits.
    `curvature` is the second derivative at a single root; `endless` are the functions that have no value at 0, by their
    numbers: where their coefficients are 0 and no root is a positive number, 0 is the best of a positive parameter.
    """

    value: Expr
    candidates: tuple[Expr, ...]
    evidence: str
    curvature: Expr | None = None
    endless: tuple[int, ...] | None = None
    computed: tuple[Expr, ...] = ()


# the middle coefficient, and the two roots as they lose no digits where it is positive, and where it is not
Turned = tuple[sp.Expr, list[sp.Expr], list[sp.Expr]]


class Solved(NamedTuple):
    """Roots, what is known of them, the score's slope at a single one."""

    roots: list[sp.Expr]
    evidence: str
    slope: sp.Expr | None
    turned: Turned | None
    logged: bool  # the unknown is a log: `turned` is what it is the log of


def solve_score(leaf: El, functions: tuple[Expr, ...], coefficients: tuple[Expr, ...]) -> Root | None:
    """The maximum of sum_j c_j f_j(v), in closed form where the score is linear or quadratic in v, 1/v, exp(v).

    Coefficients are plain symbols while solving. None where there is no such form, and where v stands in a matrix, too.
    """
    if len(functions) > MOST_FUNCTIONS:
        return None
    table = Symbols()
    facts: dict[str, bool] = {"positive": True} if leaf.sort in ("positive", "unit") else {"real": True}
    v = table.of(leaf, "v", **facts)
    cs = [sp.Symbol(f"c{n}", real=True) for n in range(len(functions))]
    for c, e in zip(cs, coefficients, strict=True):
        table.meaning[c] = e
    held: dict[El, Expr] = {}
    fs = [table.to_sympy(x.rebuild(f, lambda n: _held_apart(n, leaf, held))) for f in functions]
    found = None if _hides(table, (leaf,)) else _solved(tuple(fs), tuple(cs), v, leaf.sort)
    if found is None:
        return None
    solved, endless = found
    table.meaning |= {table.of(name): whole for name, whole in held.items()}

    def read(expressions: list[sp.Expr]) -> tuple[Expr, ...]:
        return tuple(x.rebuild(table.from_sympy(e), _turned) for e in expressions)

    values = read(solved.roots)
    slope = None if solved.slope is None else table.from_sympy(solved.slope)
    computed = values
    if solved.turned is not None:
        sign, above, below = solved.turned
        cond = x.fn("gt", table.from_sympy(sign), x.ZERO)
        computed = tuple(x.Where(cond, a, b) for a, b in zip(read(above), read(below), strict=True))
        if solved.logged:
            computed = tuple(x.Fn("log", (c,)) for c in computed)
    return Root(values[0], values, solved.evidence, slope, endless, computed)


@lru_cache(maxsize=1024)
def _solved(
    fs: tuple[sp.Expr, ...], cs: tuple[sp.Symbol, ...], v: sp.Symbol, sort: str
) -> tuple[Solved, tuple[int, ...]] | None:
    """The roots, and which functions have no value at 0: the same for all scores that differ in names alone."""
    found = _polynomial_root(sp.diff(sp.Add(*(c * f for c, f in zip(cs, fs, strict=True))), v), v, sort)
    return None if found is None else (found, tuple(n for n, f in enumerate(fs) if not f.subs(v, 0).is_finite))


def _held_apart(n: Expr, leaf: El, held: dict[El, Expr]) -> Expr | None:
    """`a + (the sum of the others)` of a long sum: what does not hold the leaf is one symbol while solving."""
    if not isinstance(n, x.Add) or len(n.terms) < LONG:
        return None
    inside = [t for t in n.terms if any(e == leaf for e in x.walk(t))]
    others = x.add(*(t for t in n.terms if t not in inside))
    if not isinstance(others, x.Add) or len(others.terms) < LONG:
        return None
    name = next((e for e, whole in held.items() if whole == others), None)
    if name is None:
        name = El(f"others {len(held)}", (), "positive" if x.positive(others) else "real")
        held[name] = others
    return x.add(*(x.rebuild(t, lambda e: _held_apart(e, leaf, held)) for t in inside), name)


def direction(leaf: El, functions: tuple[Expr, ...], coefficients: tuple[Expr, ...]) -> Root | None:
    """The maximum of `c cos v + s sin v` over the whole line, where nothing else holds v: the angle of (c, s).

    Mardia and Jupp 2000, section 5.3.1. Positive factors that c and s have in common turn nothing.
    """
    found = dict(zip(functions, coefficients, strict=True))
    cos, sin = (found.pop(x.Fn(name, (leaf,)), x.ZERO) for name in ("cos", "sin"))
    if found or x.ZERO in (cos, sin):
        return None
    shared = [p for p in x.factors_of(cos) if x.positive(p) and p in x.factors_of(sin)]
    above, beside = (x.mul(*(p for p in x.factors_of(c) if p not in shared)) for c in (sin, cos))
    length = x.power(x.add(x.power(cos, x.num(2)), x.power(sin, x.num(2))), x.HALF)
    angle = x.Fn("atan2", (above, beside))
    evidence = "Q is a cosine of it: greatest at the angle of the sums of cosines and sines"
    return Root(angle, (angle,), evidence, x.neg(length))


def _turned(e: Expr) -> Expr | None:
    """log(-a / (a - n)) as log(a / (n - a)): at a = n that is infinity, and no log of a negative number."""
    if not (isinstance(e, x.Fn) and e.name == "log" and x.split_number(e.args[0])[0] < 0):
        return None
    factors = x.factors_of(e.args[0])
    below = next((f for f in factors if isinstance(f, x.Pow) and f.exponent == x.num(-1)), None)
    if below is None or not isinstance(below.base, x.Add):
        return None
    turned = x.power(x.add(*(x.neg(t) for t in below.base.terms)), x.num(-1))
    return x.fn("log", x.neg(x.mul(*(turned if f is below else f for f in factors))))


MOST_FUNCTIONS = 40  # of the unknown; those of scores with closed roots are a few powers, logs and exponentials
LONG = 12  # terms beside an unknown from which on they are one symbol
STEEPEST = 100  # powers beyond this have no roots that are written, and polynomials as long as they are high


def _polynomial_root(score: sp.Expr, v: sp.Symbol, sort: str) -> Solved | None:
    w = sp.Symbol("w", positive=True)
    opened = sp.expand_power_exp(score.replace(logistic, logistic.definition))
    for transformed, unknown, back in (
        (score, v, lambda r: r),
        (opened.subs(sp.exp(v), w).subs(sp.exp(-v), 1 / w), w, sp.log),
    ):
        if unknown is w and transformed.has(v):
            continue
        numerator, denominator = sp.fraction(sp.together(transformed))
        if not numerator.is_polynomial(unknown) or _degree(numerator, unknown) > STEEPEST:
            continue
        if _degree_at_a_point(numerator, unknown) > 2:  # seen at once; multiplied out it may have 1e5 terms
            continue
        poly = sp.Poly(numerator, unknown)
        found = _root(poly, sort if unknown is v else "positive")
        if found is not None and not (unknown is w and 0 in found[0]):  # exp(v) = 0: Q rises for ever
            roots, evidence, turned = found
            # where the numerator vanishes, the slope of a ratio is the numerator's over the denominator
            slope = poly.diff().as_expr() / denominator * (unknown if unknown is w else 1)
            at = sp.factor(slope.subs(unknown, roots[0])) if len(roots) == 1 else None
            return Solved([back(r) for r in roots], evidence, at, turned, unknown is w)
    return None


def _degree(s: sp.Expr, v: sp.Symbol) -> int:
    """At least the degree of a polynomial that is not multiplied out, nor shall be before this is known."""
    if s == v or not s.has(v):
        return int(s == v)
    parts = [_degree(a, v) for a in s.args]
    if isinstance(s, sp.Pow):
        return parts[0] * int(s.exp) if s.exp.is_Integer else STEEPEST + 1
    return max(parts) if isinstance(s, sp.Add) else sum(parts)


def _degree_at_a_point(s: sp.Expr, v: sp.Symbol) -> int:
    """The degree of a polynomial with primes for its coefficients' symbols, at most its own; 0 where these stand in
    functions."""
    others = sorted(s.free_symbols - {v}, key=str)
    if not s.is_rational_function(*others):
        return 0
    there = sp.Poly(s.xreplace({o: sp.prime(n + 2) for n, o in enumerate(others)}), v)
    return 0 if there.is_zero else int(there.degree())


def _root(poly: sp.Poly, sort: str) -> tuple[list[sp.Expr], str, Turned | None] | None:
    """The roots of a polynomial of degree 1 or 2 that can lie in the domain; two of them as `Solved` has them, too."""
    if poly.degree() == 1:
        a, b = poly.all_coeffs()
        a, b = (-a, -b) if a.could_extract_minus_sign() else (a, b)  # `c / (c + d)`, not `-c / (-c - d)`
        return [-b / a], "the score has one root", None
    if poly.degree() != 2:
        return None
    a, b, c = poly.all_coeffs()
    if b == 0:
        return ([sp.sqrt(-c / a)], "the score has one positive root", None) if sort in ("positive", "unit") else None
    disc = sp.sqrt(b * b - 4 * a * c)
    one, other = (-b + disc) / (2 * a), (-b - disc) / (2 * a)
    turned = b, [-2 * c / (b + disc), other], [one, 2 * c / (disc - b)]
    return [one, other], "of the two roots of the score the feasible one with the larger Q is kept", turned


def derivatives(leaf: El, value: Expr, order: int = 2) -> list[Expr] | None:
    """value, d/dleaf, ... as expressions; None where the element stands where sympy cannot see it."""
    table = Symbols()
    seen = _seen((leaf,), value, table)
    if seen is None:
        return None
    s, (v,) = seen
    slopes = _slopes(s, v, order)
    return None if slopes is None else [value, *map(table.from_sympy, slopes)]


@lru_cache(maxsize=256)
def _slopes(s: sp.Expr, v: sp.Symbol, order: int) -> tuple[sp.Expr, ...] | None:
    out = []
    for n in range(order):
        s = sp.diff(s, v)
        if n < order - 1 and nodes(s) > LONGEST:
            return None
        if s.has(sp.Derivative) or s.has(sp.DiracDelta):
            return None
        out.append(s)
    return tuple(out)


LONGEST = 2000  # nodes of a slope, of which another is taken: its own would have many times as many


def nodes(s: sp.Expr) -> int:
    """How large an expression is, written out, counted a little beyond LONGEST."""
    return sum(1 for _ in islice(sp.preorder_traversal(s), LONGEST + 1))


def second_order(leaves: tuple[El, ...], value: Expr) -> tuple[tuple[Expr, ...], tuple[tuple[Expr, ...], ...]] | None:
    """The slopes by several elements, and the upper triangle of the Hessian row by row; None as above."""
    table = Symbols()
    seen = _seen(leaves, value, table)
    if seen is None:
        return None
    found = _hessian(seen[0], tuple(seen[1]))
    if found is None:
        return None
    slopes, hessian = found
    rows = tuple(tuple(map(table.from_sympy, row)) for row in hessian)
    return tuple(map(table.from_sympy, slopes)), rows


@lru_cache(maxsize=256)
def _hessian(s: sp.Expr, vs: tuple[sp.Symbol, ...]) -> tuple[list[sp.Expr], list[list[sp.Expr]]] | None:
    slopes = [sp.diff(s, v) for v in vs]
    if any(nodes(slope) > LONGEST for slope in slopes):
        return None
    hessian = [[sp.diff(slope, w) for w in vs[i:]] for i, slope in enumerate(slopes)]
    if any(e.has(sp.Derivative, sp.DiracDelta) for row in (slopes, *hessian) for e in row):
        return None
    return slopes, hessian


def _seen(leaves: tuple[El, ...], value: Expr, table: Symbols) -> tuple[sp.Expr, list[sp.Symbol]] | None:
    """The expression as sympy and the symbols of its elements; None where one hides in something opaque, or where its
    slopes would be too large: sympy takes seconds to find that out."""
    if x.count_parts(value, {}) > LONGEST:
        return None
    vs = []
    for n, leaf in enumerate(leaves):
        facts: dict[str, bool] = {"positive": True} if leaf.sort in ("positive", "unit") else {"real": True}
        vs.append(table.of(leaf, f"v{n}", **facts))
    s = table.to_sympy(value)
    return None if _hides(table, leaves) else (s, vs)


def _hides(table: Symbols, leaves: tuple[El, ...]) -> bool:
    """Whether something opaque (a matrix, a sum) holds one of the elements, or others of its array."""
    names = {leaf.var for leaf in leaves}
    return any(e not in leaves and names & x.variables(e) for e in table.symbols)
