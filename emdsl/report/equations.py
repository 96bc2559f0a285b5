"""Updates and statistics as sympy equations, in the user's own coordinates.

closed form    Eq(v[...], its value)               simplex, one root, C / a
linear solve   Eq(H v, g), row by row, v unknown   normal equations
newton         Eq(dQ/dv, 0)
gradient       Eq(dQ/dv, 0)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, assert_never

import sympy as sp

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr, Ix
from emdsl.derive.algebra.made import REFERENCE, STATISTIC
from emdsl.derive.joint.centre import at_reference, of_one_number
from emdsl.derive.joint.coefficients import axes_of
from emdsl.derive.joint.constants import opened
from emdsl.derive.joint.constraints import in_constraints
from emdsl.derive.joint.designs import unmixed
from emdsl.derive.joint.gradient import gradient
from emdsl.derive.joint.joint import expand
from emdsl.derive.joint.moving import moving
from emdsl.derive.plan import Plan, posteriors, with_gaps
from emdsl.derive.posteriors.kinks import followed
from emdsl.derive.posteriors.tails import closed
from emdsl.derive.updates.newton import Newton, Together
from emdsl.derive.updates.quadratic import Linear
from emdsl.derive.updates.rules import Closed, Numeric, Rule, Simplex, Spread, Update
from emdsl.derive.updates.solve import solve
from emdsl.derive.updates.statistics import Statistic, expected
from emdsl.derive.weighted import weighted_plate
from emdsl.language import model as m
from emdsl.report.indices import Letters, Names
from emdsl.report.known import Known, known
from emdsl.report.symbolic import Symbolic, symbolic
from emdsl.report.tidy import tidy

Origin = Callable[[Expr], Expr]


def readable(plan: Plan) -> Plan:
    """The same derivation in the coordinates of the model file: reference points are for computing only.

    Where the statistics differ (a location that only some of the data are measured from), or latents move with
    parameters, so that Q is another, the plan as it is. Statistics that are 0 at the origin are kept, though no term
    holds them: the code has them.
    """
    if not plan.shifts or moving(plan.joint.model, plan.shifts):
        return plan
    shown = _uncentred(plan)
    same = {s.name for s in shown.expected.statistics}
    added = [s for s in plan.expected.statistics if s.name not in same]
    if len(same) + len(added) > len(plan.expected.statistics) or not all(map(_zero_at_origin, added)):
        return plan
    place = {s.name: n for n, s in enumerate(plan.expected.statistics)}  # in the order of the code
    every = sorted((*shown.expected.statistics, *added), key=lambda s: place[s.name])
    return replace(shown, expected=replace(shown.expected, statistics=tuple(every)))


def _zero_at_origin(s: Statistic) -> bool:
    """Whether the reference point is a factor of a statistic."""
    bases = (p.base if isinstance(p, x.Pow) else p for p in s.factors)
    return any(isinstance(p, El) and p.var in REFERENCE for p in bases)


def _uncentred(plan: Plan) -> Plan:
    joint, elimination, q, updates = _derived(plan.joint.as_written.model, tuple(sorted(plan.joint.incomplete)))
    return replace(
        plan,
        joint=joint,
        shifts={},
        centred=(),
        planes=(),
        designs=(),
        elimination=elimination,
        expected=q,
        updates=updates,
    )


@lru_cache(maxsize=128)  # a derivation is asked for update by update
def _derived(model: m.ModelText, incomplete: tuple[str, ...]) -> tuple[Any, Any, Any, Any]:
    joint = with_gaps(closed(expand(model)), incomplete)
    weighted = weighted_plate(model, joint)
    joint, elimination, _ = posteriors(joint, weighted)
    q = expected(joint, elimination, weighted)
    return joint, elimination, q, solve(model, q, in_constraints(joint), followed(joint, bool(elimination.parts)))


def update_equation(update: Update, name: str, plan: Plan) -> sp.Basic:
    """The equation that updates one parameter; statistics are the symbols `S_...` of `statistic_equation`.

    An update of several parameters gives each its own rows of the joint system.
    """
    shown = readable(plan)
    mine = next((u for u in shown.updates if name in u.params), update)
    return equation(mine.rule, name, shown)


def equation(rule: Rule, name: str, plan: Plan) -> sp.Basic:
    symbols = Tidied(symbolic(plan.joint.model), known(plan), _origin(plan))
    match rule:
        case Simplex():
            return _simplex(rule, name, symbols)
        case Spread():
            return _spread(rule, name, symbols)
        case Closed():
            return _closed(rule, name, symbols)
        case Linear():
            return _linear(rule, name, symbols)
        case Newton():
            names = symbols.letters.extend({}, rule.axes)
            return _equal(symbols.of(rule.score, names), sp.Integer(0))
        case Together():
            names = symbols.letters.extend({}, rule.axes)
            slope = next(e for leaf, e in zip(rule.leaves, rule.slopes, strict=True) if leaf.var == name)
            return _equal(symbols.of(slope, names), sp.Integer(0))
        case Numeric():
            return _stationary(rule, name, plan, symbols)
        case _:
            assert_never(rule)


@dataclass(frozen=True)
class Tidied:
    """Expressions as sympy, written as a person would, in the model's own coordinates."""

    symbols: Symbolic
    facts: Known
    origin: Origin

    @property
    def letters(self) -> Letters:
        return self.symbols.letters

    def of(self, e: Expr, names: Names) -> Any:
        return self.symbols.of(tidy(self.origin(e), self.facts), names)


def _origin(plan: Plan) -> Origin:
    """What is measured from a reference point, written out: `x - reference(x)`."""
    variables = {v.name: v for v in plan.joint.model.variables}
    alike = of_one_number(plan.shifts)

    def apart(e: Expr) -> Expr | None:
        """Elements that a design's U reads, which are measured from no others."""
        if not isinstance(e, El) or e.var not in plan.shifts:
            return None
        shift = plan.shifts[e.var]
        value = unmixed(x.substitute(shift.value, dict(zip(shift.axes, e.idx, strict=True))))
        return x.add(e, x.neg(value))

    def moved(e: Expr) -> Expr | None:
        if isinstance(e, El) and e.var in plan.shifts:
            shift = plan.shifts[e.var]
            value = x.substitute(shift.value, dict(zip(shift.axes, e.idx, strict=True)))
            return x.add(
                e, x.neg(x.rebuild(value, moved if unmixed(value) == value else apart))
            )  # what it is written in may be shifted, too
        if isinstance(e, El) and e.var in plan.centred:
            return x.add(e, x.neg(at_reference(e, variables, alike)))
        return None

    return (lambda e: x.rebuild(opened(e), moved)) if plan.shifts else (lambda e: e)


def _equal(left: Any, right: Any) -> sp.Basic:
    return sp.Eq(left, right, evaluate=False)


def _simplex(rule: Simplex, name: str, symbols: Tidied) -> sp.Basic:
    names = symbols.letters.extend({}, rule.axes)
    last = rule.axes[-1]
    other = x.fresh(last.dim)
    whole = x.total(other, x.substitute(rule.counts, {last: other}))
    left = symbols.of(El(name, rule.axes, "positive"), names)
    return _equal(left, symbols.of(rule.counts, names) / symbols.of(whole, names))


def _spread(rule: Spread, name: str, symbols: Tidied) -> sp.Basic:
    names = symbols.letters.extend({}, rule.axes)
    *_, i, j = rule.axes
    scatter = x.mul(x.HALF, x.add(rule.scatter, x.substitute(rule.scatter, {i: j, j: i})))
    half = x.mul(scatter, x.power(rule.weight, x.num(-1)))
    if not rule.precision:
        return _equal(symbols.of(El(name, rule.axes), names), symbols.of(half, names))
    inverse = x.MatInv(i, j, El(name, rule.axes), (i, j))
    return _equal(symbols.of(inverse, names), symbols.of(x.neg(half), names))


def _closed(rule: Closed, name: str, symbols: Tidied) -> sp.Basic:
    names = symbols.letters.extend({}, rule.axes)
    left = symbols.of(El(name, rule.axes), names)
    roots = [_equal(left, symbols.of(c, names)) for c in rule.root.candidates]
    return roots[0] if len(roots) == 1 else sp.Or(*roots, evaluate=False)


def _linear(rule: Linear, name: str, symbols: Tidied) -> sp.Basic:
    at = next(n for n, c in enumerate(rule.columns) if c.name == name)
    row = rule.columns[at]
    names = symbols.letters.extend({}, row.slots)
    if len(rule.columns) == 1 and not rule.second:
        ratio = x.mul(rule.right[at], x.power(rule.left[at, at], x.num(-1)))
        return _equal(symbols.of(El(name, row.slots), names), symbols.of(ratio, names))
    left, right = (less_mean(e, row.slots, rule) for e in (left_side(rule, at), rule.right[at]))
    return _equal(symbols.of(left, names), symbols.of(right, names))


def less_mean(e: Expr, slots: Sequence[Ix], rule: Linear) -> Expr:
    """A side of equations that hold up to one number for all elements of a vector that sums to 0: without its mean."""
    if not set(slots) & rule.centred:
        return e
    last = slots[-1]
    other = x.fresh(last.dim)
    mean = x.mul(x.power(x.extent(last), x.num(-1)), x.total(other, x.substitute(e, {last: other})))
    return x.add(e, x.neg(mean))


def left_side(rule: Linear, at: int) -> Expr:
    """Row `at` of `H v`: the unknowns summed against their coefficients."""
    parts = []
    for n, c in enumerate(rule.columns):
        coefficient = rule.left.get((at, n))
        if coefficient is None:
            continue
        slots = tuple(rule.second.get(s, s) for s in c.slots)
        body = x.mul(coefficient, El(c.name, slots))
        for s in reversed(slots):
            if s in rule.second.values():
                body = x.total(s, body)
        parts.append(body)
    return x.add(*parts)


def _stationary(rule: Numeric, name: str, plan: Plan, symbols: Tidied) -> sp.Basic:
    axes = axes_of(plan.joint.model.variable(name))
    parts = []
    for c, factors, ixs in gradient(rule.whole, name, axes):
        parts.append(x.totals([i for i in ixs if i not in axes], x.mul(c, *factors)))
    names = symbols.letters.extend({}, axes)
    return _equal(symbols.of(x.add(*parts), names), sp.Integer(0))


def statistic_equation(statistic: Statistic, plan: Plan) -> sp.Basic:
    """`S_name[axes] = sum of q times data`: the definition of an expected sufficient statistic."""
    plan = readable(plan)
    symbols = Tidied(symbolic(plan.joint.model), known(plan), _origin(plan))
    names = symbols.letters.extend({}, statistic.axes)
    inner = [i for i in statistic.ixs if i not in statistic.axes]
    value = symbols.of(x.totals(inner, x.mul(*statistic.factors)), names)
    return _equal(symbols.of(El(STATISTIC.of(statistic.name), statistic.axes), names), value)
