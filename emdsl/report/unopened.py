"""Q with what does not come apart from the data as the model writes it: `(y - f)² / v`, not `y² / v - 2 y f / v + ...`.

The code adds up what data alone say of such a density, too, and calls it a statistic. A reader sees the density.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr
from emdsl.derive.algebra.made import STATISTIC
from emdsl.derive.joint.factors import Factor
from emdsl.derive.joint.sides import REST, classes, side_in
from emdsl.derive.joint.terms import Term, opened, settle, terms
from emdsl.derive.plan import Plan
from emdsl.derive.posteriors.averages import expectation
from emdsl.derive.updates.statistics import Expected, expected, selectors


@dataclass(frozen=True)
class Unopened:
    """The terms of Q: those in statistics, of densities that come apart, and those of the others as they stand."""

    terms: tuple[Term, ...]
    densities: tuple[Term, ...]

    def of(self, names: frozenset[str]) -> list[Term]:
        """What of the densities holds these parameters."""
        return [t for t in self.densities if any(names & x.variables(f) for f in t.factors)]


def unopened(plan: Plan) -> Unopened | None:
    """Q so; None where every density comes apart, or where the mean of one is no moment."""
    tied = {id(one.factor) for one in plan.expected.mixed}
    if not tied:
        return None
    apart: list[tuple[Term, Factor]] = []
    densities: list[Term] = []
    for factor in plan.joint.factors:
        if id(factor) not in tied:
            apart += [(t, f) for t, f in plan.elimination.terms if f is factor]
            continue
        for addend in x.terms_of(factor.body):
            piece = replace(factor, body=addend)
            own = [(t, piece) for t in terms(piece, side_in(classes(plan.joint)))]
            if not _expected(plan, own).mixed:
                apart += own
                continue
            found = _density(piece, plan)
            if found is None:
                return None
            densities += found
    named = _named(_expected(plan, apart), plan.expected)
    return None if named is None else Unopened(named, tuple(densities))


def _expected(plan: Plan, found: Sequence[tuple[Term, Factor]]) -> Expected:
    return expected(plan.joint, replace(plan.elimination, terms=tuple(found)), plan.weighted)


def _density(factor: Factor, plan: Plan) -> list[Term] | None:
    """The expected addends of a log density that hold parameters, not opened."""
    params = {v.name for v in plan.joint.model.of_kind("param")}
    kinds = classes(plan.joint)
    out: list[Term] = []
    for c, factors, sums in opened(_without_constants(factor.body, params), lambda n: REST):
        if not any(params & x.variables(f) for f in factors):
            continue
        number, rest = x.split_number(x.mul(*factors))
        kept = tuple(f for f in x.factors_of(rest) if f != x.ONE)
        term = settle(Term(c * number, factor.gates, factor.masks + kept, factor.plates + sums))
        averaged = expectation(term, plan.elimination, plan.joint)
        if isinstance(averaged, str):
            return None
        out += [selectors(part, plan.joint, kinds) for part in averaged]
    return out


def _without_constants(addend: Expr, params: set[str]) -> Expr:
    """`log(2 π v)` as `log v`: what holds no parameter is in the constant."""
    c, rest = x.split_number(addend)
    match rest:
        case x.Fn("log", (x.Mul(factors),)):
            held = [f for f in factors if params & x.variables(f)]
            return x.mul(x.Num(c), x.fn("log", x.mul(*held))) if held else addend
    return addend


def _named(q: Expected, named: Expected) -> tuple[Term, ...] | None:
    """The terms of a part of Q, its statistics under the names that they have in the whole."""
    names = {(s.axes, s.factors, s.ixs): s.name for s in named.statistics}
    found = {STATISTIC.of(s.name): names.get((s.axes, s.factors, s.ixs)) for s in q.statistics}
    if q.mixed or None in found.values():
        return None

    def step(e: Expr) -> Expr | None:
        own = found.get(e.var) if isinstance(e, El) else None
        return replace(e, var=STATISTIC.of(own)) if isinstance(e, El) and own is not None else None

    return tuple(replace(t, factors=tuple(x.rebuild(f, step) for f in t.factors)) for t in q.terms)
