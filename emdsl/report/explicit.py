"""An update in terms of data and posteriors, squares left closed: what a textbook prints.

The rule of the plan is applied again to the terms of the joint opened about one parameter alone:
`cov = sum_n q (x - mean)(x - mean)' / sum_n q`. The statistics of the code are the same sums, opened.
"""

from __future__ import annotations

from collections.abc import Sequence

from emdsl.derive import expr as x
from emdsl.derive.averages import expectation
from emdsl.derive.block import place
from emdsl.derive.blocks import classes
from emdsl.derive.coefficients import axes_of, matrix_term, scalar_term, total_of
from emdsl.derive.expr import El, Expr
from emdsl.derive.plan import Plan
from emdsl.derive.quadratic import Linear, quadratic
from emdsl.derive.scalars import solve_score
from emdsl.derive.solve import Closed, Simplex, Spread, Update
from emdsl.derive.statistics import selectors
from emdsl.derive.terms import Term, merge, opened, settle

Found = tuple[Expr, Expr] | None  # left-hand and right-hand side


def closed_terms(plan: Plan, names: frozenset[str]) -> list[Term] | None:
    """The expected terms of the joint that hold these parameters, opened about them and nothing else.

    None where an expectation of a closed term is not a moment: then only the opened form is known.
    """
    joint = plan.joint
    kinds = classes(joint)
    out: list[Term] = []
    for factor in joint.factors:
        if not any(n in names for n in x.variables(factor.body)):
            continue
        for c, factors, sums in opened(factor.body, lambda n: "V" if n in names else "R"):
            if not any(names & x.variables(f) for f in factors):
                continue
            number, rest = x.split_number(x.mul(*factors))
            kept = tuple(f for f in x.factors_of(rest) if f != x.ONE)
            term = settle(Term(c * number, factor.gates, factor.masks + kept, factor.plates + sums))
            averaged = expectation(term, plan.elimination, joint)
            if isinstance(averaged, str):
                kept_whole = _mean(term, plan)
                if kept_whole is None:
                    return None
                out.append(kept_whole)
                continue
            out += [selectors(part, joint, kinds) for part in averaged]
    return merge(out, plan.expected.symmetry)


def _mean(t: Term, plan: Plan) -> Term | None:
    """The term with the mean under q of what holds a latent, unopened: `E[(y - b)^2]`; none beside discrete ones."""
    latents = {n: b for b in plan.elimination.blocks for n in b.latents}
    held = {n for f in (*t.gates, *t.factors) for n in x.variables(f)} & set(latents)
    if t.gates or not held or any(latents[n].states or latents[n].neighbours for n in held):
        return None
    inside = [f for f in t.factors if x.variables(f) & held]
    rest = [f for f in t.factors if f not in inside]
    if any(i in t.ixs and not any(i in x.free(f) for f in (*inside, *rest)) for i in t.ixs):
        return None
    return Term(t.coef, (), (*rest, x.Fn("E", (x.mul(*inside),))), t.ixs)


def explicit(plan: Plan, update: Update) -> Found:
    """The update as an equation in the model's own variables, or None where it is not of a closed kind."""
    if len(update.params) != 1 or not isinstance(update.rule, Simplex | Spread | Closed | Linear):
        return None
    v = plan.joint.model.variable(update.params[0])
    terms = closed_terms(plan, frozenset(update.params))
    if terms is None:
        return None
    match update.rule:
        case Simplex():
            return _simplex(v.name, plan, terms)
        case Spread():
            return _spread(v.name, plan, terms, update.rule)
        case Closed():
            return _closed(v.name, plan, terms)
        case Linear():
            return _linear(v.name, plan, terms)


def _functions(name: str, plan: Plan, terms: Sequence[Term]) -> dict[Expr, Expr] | None:
    """Functions of one element with their coefficients."""
    v = plan.joint.model.variable(name)
    found: dict[Expr, Expr] = {}
    for t in terms:
        s = scalar_term(t, v, axes_of(v))
        if s is None:
            return None
        found[s.function] = x.add(found.get(s.function, x.ZERO), s.coefficient)
    return found


def _simplex(name: str, plan: Plan, terms: Sequence[Term]) -> Found:
    found = _functions(name, plan, terms)
    axes = axes_of(plan.joint.model.variable(name))
    if found is None or len(found) != 1:
        return None
    (counts,) = found.values()
    return normalised(name, axes, counts)


def normalised(name: str, axes: tuple[x.Ix, ...], counts: Expr) -> tuple[Expr, Expr]:
    """p = c / sum c."""
    other = x.fresh(axes[-1].dim)
    whole = x.total(other, x.substitute(counts, {axes[-1]: other}))
    return El(name, axes, "positive"), x.mul(counts, x.power(whole, x.num(-1)))


def _spread(name: str, plan: Plan, terms: Sequence[Term], rule: Spread) -> Found:
    v = plan.joint.model.variable(name)
    axes = axes_of(v)
    weight: list[Expr] = []
    scatter: list[Expr] = []
    for t in terms:
        found = matrix_term(t, v, axes)
        if found is None:
            return None
        (weight if found[0] == "logdet" else scatter).append(found[1])
    value = x.mul(total_of(scatter), x.power(total_of(weight), x.num(-1)))
    if rule.precision:
        return x.MatInv(axes[-2], axes[-1], El(name, axes), (axes[-2], axes[-1])), x.neg(value)
    return El(name, axes), value


def _closed(name: str, plan: Plan, terms: Sequence[Term]) -> Found:
    found = _functions(name, plan, terms)
    if not found:
        return None
    leaf = next(e for g in found for e in x.walk(g) if isinstance(e, El) and e.var == name)
    root = solve_score(leaf, tuple(found), tuple(found.values()))
    if root is None or len(root.candidates) != 1:
        return None
    return leaf, root.value


def _linear(name: str, plan: Plan, terms: Sequence[Term]) -> Found:
    rule = quadratic(terms, (plan.joint.model.variable(name),))
    if rule is None or rule.second:
        return None
    slots = rule.columns[0].slots
    return El(name, slots), x.mul(rule.right[0], x.power(rule.left[0, 0], x.num(-1)))


_ = place
