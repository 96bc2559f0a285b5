"""Whether Q is concave in some parameters, by the rules of disciplined convex programming (Grant, Boyd and Ye 2006).

Where every factor of the log joint is concave in them, so is Q: its mean under q, whatever q is. What the rules do
not see is not said to be concave.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import reduce
from itertools import product

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr, Ix
from emdsl.derive.algebra.made import CLIQUE, COUNT, FIRST, PAIR, PRESENT, STATISTIC, WEIGHT, Q
from emdsl.derive.plan import Plan
from emdsl.derive.updates.newton import Newton
from emdsl.derive.updates.rules import Update
from emdsl.report.sums import apart

CONVEX = ("exp", "softplus", "lgamma", "log_bessel_i0", "abs", "square")  # of what is linear
CONCAVE = ("log_Phi", "log1mexp", "log_rest", "log_between")
SQUARE = "a square"
SPELT = {
    "lgamma": "log Γ", "log_bessel_i0": "log I₀", "square": SQUARE, "abs": "|.|", "inverse": "1 / .",
    "log_Phi": "-log Φ", "log_between": "-log(Φ(.) - Φ(.))",
    **dict.fromkeys(("log1mexp", "log_rest"), "-log(1 - exp(.))"),
}  # fmt: skip


class Shape(Enum):
    """How a function bends."""

    FLAT, LINEAR, CONVEX, CONCAVE, UNKNOWN = range(5)

    def turned(self) -> Shape:
        return {Shape.CONVEX: Shape.CONCAVE, Shape.CONCAVE: Shape.CONVEX}.get(self, self)

    def plus(self, other: Shape) -> Shape:
        """Of a sum: two that bend alike, or one that does not bend."""
        if self in (Shape.FLAT, Shape.LINEAR):
            return other if other is not Shape.FLAT else self
        return self if other in (Shape.FLAT, Shape.LINEAR, self) else Shape.UNKNOWN


@dataclass
class Bends:
    """What is known of a plan: signs by domains, and which functions made something bend."""

    names: frozenset[str]
    kinds: Mapping[str, str]
    statistics: Mapping[str, Sequence[Expr]]
    by: dict[str, None] = field(default_factory=dict)
    found: dict[Expr, tuple[Shape, dict[str, None]]] = field(default_factory=dict)

    # ------------------------------------------------------------ signs

    def least(self, e: Expr) -> bool:
        """Whether the expression is known to be 0 or more."""
        if x.positive(e):
            return True
        match e:
            case x.Num(v):
                return v >= 0
            case El():
                return self._element(e)
            case x.Mul():
                odd = [p for p, n in Counter(e.factors).items() if n % 2]
                return all(p in _asked(odd) or self.least(p) for p in odd)
            case x.Where():
                return self.least(e.other) and (e.then in _asked(x.factors_of(e.cond)) or self.least(e.then))
            case x.Pow(base, x.Num(v)):
                return v == 2 or self.least(base)
            case x.Sum(_, body):
                return self.least(body)
            case x.Add(terms):
                return all(self.least(t) for t in terms) or self._rest_of_one(terms)
            case x.Fn(name, _):
                return name in (*x.COMPARISONS, "not", "and", "or", "abs")
            case x.Sel() | x.Delta() | x.SizeN() | x.Val():
                return True
        return False

    def _rest_of_one(self, terms: Sequence[Expr]) -> bool:
        """`1 - a` of what is 1 at most, as the number of a state of two is."""
        numbers = [t for t in terms if isinstance(t, x.Num) and t.value >= 1]
        others = [x.neg(t) for t in terms if t not in numbers]
        if not numbers or len(others) != 1:
            return False
        if isinstance(others[0], x.Val):
            return others[0].ix.dim == "2"
        return isinstance(a := others[0], El) and (a.var in Q or self.kinds.get(a.var) in ("unit", "bool", "binary"))

    def _element(self, e: El) -> bool:
        if e.var in STATISTIC:
            return self.least(x.mul(*self.statistics.get(STATISTIC.named(e.var), (x.num(-1),))))
        made = any(e.var in kind for kind in (Q, PAIR, FIRST, CLIQUE, PRESENT, COUNT)) or e.var == WEIGHT
        return made or self.kinds.get(e.var) in ("positive", "unit", "count", "binary", "bool", "category", "index")

    # ------------------------------------------------------------ shapes

    def of(self, e: Expr) -> Shape:
        """How an expression bends in the parameters; of one that stands twice it is asked once."""
        if e not in self.found:
            before, self.by = self.by, {}
            self.found[e] = self._of(e), self.by
            self.by = before
        shape, by = self.found[e]
        self.by |= by
        return shape

    def _of(self, e: Expr) -> Shape:
        if not x.variables(e) & self.names:
            return Shape.FLAT
        match e:
            case El():
                return Shape.LINEAR if not any(x.variables(v) & self.names for v in x.children(e)) else Shape.UNKNOWN
            case x.Add():
                return self._sum(x.Add(tuple(t for p in e.terms for t in self._terms(p))))
            case x.Mul():
                terms = self._terms(e)
                return self._product(e) if len(terms) == 1 else self._sum(x.Add(tuple(terms)))
            case x.Pow(base, exponent):
                return self._power(base, exponent)
            case x.Sum(_, body):
                return self._quadratic(e) or self.of(body)
            case x.Fn("log", (inner,)):
                return self._log(inner)
            case x.Fn(name, (inner,)):
                return self._function(name, self.of(inner))
            case x.Fn("log_between", ends):  # the marginal of what is concave in both ends (Prekopa 1973)
                straight = all(self.of(a) in (Shape.FLAT, Shape.LINEAR) for a in ends)
                return self._function("log_between", Shape.LINEAR) if straight else Shape.UNKNOWN
        return Shape.UNKNOWN

    def _terms(self, e: Expr) -> list[Expr]:
        """The terms of a product of sums; a square stays closed, and so does what bends as it is."""
        before = dict(self.by)
        found = [e] if not isinstance(e, x.Mul) or self._product(e) is not Shape.UNKNOWN else opened(e, self.names)
        self.by = before
        return found

    def _function(self, name: str, inner: Shape) -> Shape:
        shape = Shape.CONVEX if name in CONVEX else Shape.CONCAVE if name in CONCAVE else Shape.UNKNOWN
        grows = name in ("exp", "softplus") and inner is Shape.CONVEX
        if shape is Shape.UNKNOWN or not (inner is Shape.LINEAR or grows):
            return Shape.UNKNOWN
        self.by[SPELT.get(name, name)] = None
        return shape

    def _grows(self, e: Expr) -> bool:
        """Whether an expression is the exponential of what is linear: `exp(x b)`, `t^k` of data t."""
        match e:
            case x.Fn("exp", (inner,)):
                return self.of(inner) is Shape.LINEAR
            case x.Pow(base, exponent):
                known = not x.variables(base) & self.names and self.least(base)
                return known and self.of(exponent) is Shape.LINEAR
        return False

    def _power(self, base: Expr, exponent: Expr) -> Shape:
        if self._grows(x.Pow(base, exponent)):
            return self._function("exp", Shape.LINEAR)
        if self.of(base) is not Shape.LINEAR or not isinstance(exponent, x.Num):
            return Shape.UNKNOWN
        if exponent.value == 2:
            return self._function("square", Shape.LINEAR)
        if not x.positive(base):
            return Shape.UNKNOWN
        if exponent.value < 0:
            self.by[SPELT["inverse"]] = None
            return Shape.CONVEX
        return Shape.CONCAVE if exponent.value < 1 else Shape.CONVEX

    def _log(self, inner: Expr) -> Shape:
        """Of a positive linear number, or of a sum of exponentials of such."""
        before = dict(self.by)
        if self.of(inner) is Shape.LINEAR:
            self.by["-log"] = None
            return Shape.CONCAVE
        terms = x.terms_of(inner)
        held = [t for t in terms if x.variables(t) & self.names]
        if all(self.least(t) for t in terms) and all(self._exponential(t) for t in held):
            self.by = before | {"the log of a sum of exponentials": None}
            return Shape.CONVEX
        return Shape.UNKNOWN

    def _exponential(self, e: Expr) -> bool:
        while isinstance(e, x.Sum):
            e = e.body
        held = [p for p in x.factors_of(e) if x.variables(p) & self.names]
        return len(held) == 1 and isinstance(p := held[0], x.Fn) and p.name == "exp" and self.of(p.args[0]) in (
            Shape.LINEAR, Shape.CONVEX,
        )  # fmt: skip

    def _product(self, e: x.Mul) -> Shape:
        held = [p for p in e.factors if x.variables(p) & self.names]
        rest = x.mul(*(p for p in e.factors if p not in held))
        shape = self.of(held[0]) if len(held) == 1 else Shape.UNKNOWN
        if len(held) == 2 and x.alpha(held[0]) == x.alpha(held[1]):
            shape = self._power(held[0], x.num(2))
        elif len(held) > 1 and all(map(self._grows, held)):
            shape = self._function("exp", Shape.LINEAR)
        elif len(held) == 2 and any(isinstance(p, x.Fn) and p.name == "log" for p in held):
            shape = self._entropy(*held)
        if shape in (Shape.FLAT, Shape.LINEAR, Shape.UNKNOWN):
            return shape
        return shape if self.least(rest) else shape.turned() if self.least(x.neg(rest)) else Shape.UNKNOWN

    def _entropy(self, a: Expr, b: Expr) -> Shape:
        """`a log a`."""
        log, other = (a, b) if isinstance(a, x.Fn) and a.name == "log" else (b, a)
        if not isinstance(log, x.Fn) or log.name != "log" or self.of(other) is not Shape.LINEAR:
            return Shape.UNKNOWN
        return Shape.CONVEX if _alike(log.args[0], other, self.names) else Shape.UNKNOWN

    def _quadratic(self, e: x.Sum) -> Shape | None:
        """`a' M a` of a matrix that is positive definite by its domain."""
        c, factors, sums = apart(e)
        if len(sums) != 2 or c < 0:
            return None
        i, j = sums
        for m in factors:
            of = m.body if isinstance(m, x.MatInv) else m
            places = m.at if isinstance(m, x.MatInv) else of.idx[-2:] if isinstance(of, El) else ()
            spd = isinstance(of, El) and self.kinds.get(of.var) == "spd" and set(places) == {i, j}
            rest = [p for p in factors if p is not m and {*x.free(p)} & {i, j}]
            beside = [p for p in factors if p is not m and p not in rest]
            if spd and not x.variables(m) & self.names and len(rest) == 2 and all(map(self.least, beside)):
                one, other = (x.alpha(x.substitute(p, {i: j})) for p in rest)
                if one == other and self.of(rest[0]) is Shape.LINEAR:
                    return self._function("square", Shape.LINEAR)
        return None

    def _sum(self, e: x.Add) -> Shape:
        terms = _paired(list(e.terms), self)
        start = Shape.FLAT if len(terms) == len(e.terms) else Shape.CONCAVE
        return reduce(Shape.plus, map(self.of, terms), start)


def opened(e: Expr, names: frozenset[str]) -> list[Expr]:
    """The terms of a product of sums, as far as these hold the names."""
    parts = [p.terms if isinstance(p, x.Add) and x.variables(p) & names else (p,) for p in x.factors_of(e)]
    others = sum(bool(x.variables(p) & names) for p in x.factors_of(e))
    return [e] if others < 2 else [x.mul(*chosen) for chosen in product(*parts)]


def _asked(factors: Sequence[Expr]) -> list[Expr]:
    """What conditions among factors say is not negative."""
    return [p.args[0] for p in factors if isinstance(p, x.Fn) and p.name in ("gt", "ge") and p.args[1] == x.ZERO]


def _alike(a: Expr, b: Expr, names: frozenset[str]) -> bool:
    """Whether two are the same but for factors that hold no parameter."""
    one, other = ([p for p in x.factors_of(e) if x.variables(p) & names] for e in (a, b))
    return Counter(one) == Counter(other)


def _paired(terms: list[Expr], bends: Bends) -> list[Expr]:
    """The terms without those that are concave together: `log Γ(a + b) - log Γ(a) - log Γ(b)`, `a log a - log Γ(a)`.

    The first is minus the log of a Dirichlet's normaliser; of the second, 1 / a is less than the trigamma of a.
    """
    found = [(t, *_scaled(t)) for t in terms]
    for t, weight, body, sums in found:
        if not (isinstance(body, x.Fn) and body.name == "lgamma") or sums:
            continue
        total = body.args[0]
        parts = total.terms if isinstance(total, x.Add) else ()
        wanted = [x.mul(x.num(-1), weight, x.fn("lgamma", p)) for p in parts]
        if isinstance(total, x.Sum):
            wanted = [x.mul(x.num(-1), weight, x.total(total.ix, x.fn("lgamma", total.body)))]
        if isinstance(total, x.Mul) and (many := [p for p in total.factors if isinstance(p, x.SizeN)]):  # all alike
            one = x.mul(*(p for p in total.factors if p not in many))
            wanted = [x.mul(x.num(-1), weight, *many, x.fn("lgamma", one))]
        if wanted and bends.least(weight) and all(any(_same(w, o) for o in terms) for w in wanted):
            bends.by["the log of a Dirichlet's normaliser"] = None
            left = [o for o in terms if o is not t and not any(_same(w, o) for w in wanted)]
            return _paired(left, bends)
    for t, weight, body, _ in found:
        if isinstance(body, x.Fn) and body.name == "lgamma" and bends.least(x.neg(weight)):
            entropy = next((o for o in terms if _is_entropy(o, x.neg(weight), body.args[0], bends.names)), None)
            if entropy is not None:
                bends.by["log Γ(a) - a log a"] = None
                return _paired([o for o in terms if o is not t and o is not entropy], bends)
    return terms


def _scaled(t: Expr) -> tuple[Expr, Expr, tuple[Ix, ...]]:
    """A term as what multiplies its last factor, and that factor; of a sum its indices, too."""
    factors = list(x.factors_of(t))
    at = next((n for n, p in enumerate(factors) if isinstance(p, x.Fn) and p.name == "lgamma"), len(factors) - 1)
    body, sums = factors[at], tuple(p.ix for p in factors if isinstance(p, x.Sum))
    return x.mul(*(p for n, p in enumerate(factors) if n != at)), body, sums


def _same(a: Expr, b: Expr) -> bool:
    return Counter(x.factors_of(x.alpha(a))) == Counter(x.factors_of(x.alpha(b)))


def _is_entropy(t: Expr, weight: Expr, inner: Expr, names: frozenset[str]) -> bool:
    """Whether a term is `weight * inner * log(c * inner)`."""
    factors = list(x.factors_of(t))
    log = next((p for p in factors if isinstance(p, x.Fn) and p.name == "log" and x.variables(p) & names), None)
    if log is None or not _alike(log.args[0], inner, names):
        return False
    rest = x.mul(*(p for p in factors if p is not log))
    return Counter(x.factors_of(rest)) == Counter(x.factors_of(x.mul(weight, inner)))


def bends_of(plan: Plan, names: Sequence[str]) -> Bends:
    """What a plan says of signs, and which parameters a function is asked to bend in."""
    kinds = {v.name: v.domain.kind for v in plan.joint.model.variables}
    statistics = {s.name: s.factors for s in plan.expected.statistics}
    return Bends(frozenset(names), kinds, statistics)


def concave_by(plan: Plan, u: Update) -> list[str] | None:
    """The convex functions that Q subtracts, where it is known to be concave in the parameters of an update."""
    bends = bends_of(plan, u.params)
    if isinstance(u.rule, Newton) and u.rule.inside:
        shapes = [bends.of(u.rule.value)]
    else:
        held = [factor for factor in plan.joint.factors if x.variables(factor.body) & bends.names]
        shapes = [bends.of(factor.body) for factor in held]
    return list(bends.by) if reduce(Shape.plus, shapes, Shape.FLAT) is Shape.CONCAVE else None
