"""Expr -> sympy: the indexed algebra as sympy objects, for equations that are shown or computed with.

Elements become `Indexed`, sums `Sum` from 0 to size - 1, one-hots `KroneckerDelta`; inverses and
log-determinants are opaque functions of a `Lambda`. Symbols are made here alone, from names as they
stand, with the assumptions of their domains; no text is parsed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, assert_never

import sympy as sp

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import DataIx, Expr, Idx, Ix
from emdsl.derive.algebra.made import made_of
from emdsl.families.special import OPEN
from emdsl.families.symbols import assumptions
from emdsl.language import model as m
from emdsl.report.indices import Letters, Names, letters

_FUNCTIONS: dict[str, Callable[..., Any]] = {
    **OPEN, "polygamma": sp.polygamma, "pi": lambda: sp.pi,
    "value": lambda a: a, "whole": lambda a: a, "floordiv": lambda a, b: sp.floor(a / b), "mod": sp.Mod,
}  # fmt: skip
_FACTORIALS = {"lgamma", "beta_ln", "lchoose", "digamma", "polygamma", "trigamma"}
LARGE = 1000
_RELATIONS: dict[str, Callable[..., Any]] = {
    "eq": sp.Eq, "ne": sp.Ne, "lt": sp.Lt, "le": sp.Le, "gt": sp.Gt, "ge": sp.Ge,
}  # fmt: skip


@dataclass(frozen=True)
class Symbolic:
    """The symbols of one model."""

    letters: Letters
    facts: dict[str, dict[str, bool]]
    dims: dict[str, m.Dim]

    # ------------------------------------------------------------ symbols

    def size(self, dim: str) -> Any:
        """A length as sympy: a number, a symbol, or a polynomial of symbols."""
        if dim.isdigit():
            return sp.Integer(int(dim))
        if dim not in self.dims:
            return sp.Symbol(dim, integer=True, positive=True)
        parts = []
        for names, c in self.dims[dim].terms:
            parts.append(sp.Mul(sp.Integer(c), *(sp.Symbol(n, integer=True, positive=True) for n in names)))
        return sp.Add(*parts)

    def element(self, name: str, idx: Sequence[Any]) -> Any:
        """`name[idx]`, or the symbol itself where nothing indexes it."""
        facts = self.facts.get(name, {"real": True})
        label = sp.Symbol(spelt(name), **facts)
        return sp.Indexed(sp.IndexedBase(label), *idx) if idx else label

    def index(self, i: Idx, names: Names) -> Any:
        match i:
            case Ix():
                return sp.Symbol(names.get(i, i.name), integer=True, nonnegative=True)
            case int():
                return sp.Integer(i)
            case DataIx():
                return self.of(i.value, names)
            case _:
                assert_never(i)

    # ------------------------------------------------------------ expressions

    def of(self, e: Expr, names: Names) -> Any:
        """The expression as sympy; `names` are those of its free indices."""
        match e:
            case x.Num(v):
                return sp.Rational(v.numerator, v.denominator) if isinstance(v, Fraction) else sp.Float(v)
            case x.El():
                return self.element(e.var, [self.index(i, names) for i in e.idx])
            case x.Val():
                return self.index(e.ix, names)
            case x.SizeN():
                return self.size(e.dim)
            case x.Sel():
                return sp.KroneckerDelta(self.of(e.of, names), self.index(e.at, names))
            case x.Delta():
                return sp.KroneckerDelta(self.index(e.a, names), self.index(e.b, names))
            case x.Fn():
                return self._function(e, names)
            case x.Add():
                return sp.Add(*(self.of(t, names) for t in e.terms))
            case x.Mul():
                return sp.Mul(*(self.of(f, names) for f in e.factors))
            case x.Pow():
                return self.of(e.base, names) ** self.of(e.exponent, names)
            case x.Sum():
                return self.total((e.ix,), e.body, names)
            case x.MatInv() | x.LogDet():
                return self._matrix(e, names)
            case x.Where():
                yes, no = self.of(e.then, names), self.of(e.other, names)
                return sp.Piecewise((yes, self.condition(e.cond, names)), (no, True), evaluate=False)
            case x.Choose():
                at = self.index(e.at, names)
                cases = [(self.of(o, names), sp.Eq(at, n, evaluate=False)) for n, o in enumerate(e.options)]
                return sp.Piecewise(*cases, evaluate=False)
            case _:
                assert_never(e)

    def total(self, ixs: Sequence[Ix], body: Expr, names: Names) -> Any:
        """The sum of an expression over indices, the first outermost."""
        inner = self.letters.extend({i: n for i, n in names.items() if i not in ixs}, ixs)
        limits = [(self.index(i, inner), sp.Integer(0), self.size(i.dim) - 1) for i in reversed(ixs)]
        value = self.of(body, inner)
        return sp.Sum(value, *limits) if limits else value

    def _matrix(self, e: x.MatInv | x.LogDet, names: Names) -> Any:
        inner = self.letters.extend({i: n for i, n in names.items() if i not in (e.i, e.j)}, (e.i, e.j))
        body = sp.Lambda((self.index(e.i, inner), self.index(e.j, inner)), self.of(e.body, inner))
        if isinstance(e, x.LogDet):
            return sp.Function("logdet", real=True)(body)
        return sp.Function("inv", real=True)(body, *(self.index(i, names) for i in e.at))

    def _function(self, e: x.Fn, names: Names) -> Any:
        if e.name in x.COMPARISONS:
            return sp.Piecewise((sp.Integer(1), self.condition(e, names)), (sp.Integer(0), True), evaluate=False)
        args = [self.of(a, names) for a in e.args]
        if e.name in ("min", "max"):
            return (sp.Min if e.name == "min" else sp.Max)(*args, evaluate=False)
        known = _FUNCTIONS.get(e.name)
        if e.name in _FACTORIALS and any(a.is_number and abs(a) > LARGE for a in args):
            known = None  # sympy would write the factorial of 10^15 out
        return known(*args) if known is not None else sp.Function(e.name, real=True)(*args)

    def condition(self, e: Expr, names: Names) -> Any:
        """A 0/1 expression as a sympy condition."""
        match e:
            case x.Fn(name, (a, b)) if name in _RELATIONS:
                return _RELATIONS[name](self.of(a, names), self.of(b, names), evaluate=False)
            case x.Fn("and" | "or" as name, args):
                parts = [self.condition(a, names) for a in args]
                return (sp.And if name == "and" else sp.Or)(*parts, evaluate=False)
            case x.Fn("not", (a,)):
                return sp.Not(self.condition(a, names), evaluate=False)
        return sp.Ne(self.of(e, names), 0, evaluate=False)


def spelt(name: str) -> str:
    """Names of the algebra as they are shown: `S:z_x` is the statistic `S_z_x`; users' names stay as they are."""
    head, of = made_of(name)
    if not of:
        return name
    match head:
        case "":
            return f"sample {of[0]}"
        case "S":
            return f"S_{of[0]}"
        case "q":
            return f"q({of[0]})"
        case "E":
            latent, kind = of
            return f"E[{latent}]" if kind == "id" else f"E[{kind} {latent}]"
    return f"{head}({':'.join(of)})"


def symbolic(model: m.ModelText) -> Symbolic:
    """The symbols of a model, with what its domains say of them."""
    facts = {v.name: assumptions(v.domain) for v in model.variables}
    dims: dict[str, m.Dim] = {}
    for shape in (*(v.shape for v in model.variables), *(v.shape for v in model.lets)):
        dims.update({str(d): d for d in shape if isinstance(d, m.Dim)})
    return Symbolic(letters(model), facts, dims)
