"""The steps of a derivation that update parameters: the part of Q, the rule, the equation, why it is the maximum."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import assert_never

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr, Idx, Ix
from emdsl.derive.joint.coefficients import about, axes_of
from emdsl.derive.joint.gradient import gradient
from emdsl.derive.joint.terms import Term
from emdsl.derive.numbering import solved_parts
from emdsl.derive.plan import Plan
from emdsl.derive.updates.newton import Newton, Together
from emdsl.derive.updates.quadratic import Column, Linear
from emdsl.derive.updates.rules import Closed, Numeric, Simplex, Spread, Update
from emdsl.errors import InternalError
from emdsl.report import formula as f
from emdsl.report.abbreviated import abbreviated
from emdsl.report.alone import alone
from emdsl.report.concave import concave_by
from emdsl.report.conditions import sides_met
from emdsl.report.draws import each_over_draws, over_draws
from emdsl.report.equations import left_side
from emdsl.report.explicit import READ_TOGETHER, explicit, in_data, joined, normalised
from emdsl.report.formula import Formula
from emdsl.report.gathered import a_square_apart, by_statistic, gathered
from emdsl.report.maxima import second_order, slope_of, why_a_maximum
from emdsl.report.means import data_apart, with_means
from emdsl.report.newton import BY_BRACKET, BY_DIAGONAL, BY_EIGENVALUES, free_coordinates, hessian_of, step_of
from emdsl.report.numerators import as_products
from emdsl.report.page import Say, Show, Step, names_of, sentence
from emdsl.report.pieces import assembled
from emdsl.report.shares import Shares
from emdsl.report.spreads import by_entries, entry_by_entry, in_matrices, value_of
from emdsl.report.sums import apart as parts_of
from emdsl.report.tidy import tidy
from emdsl.report.typeset import Typeset
from emdsl.report.unopened import Unopened
from emdsl.report.vectors import tensor
from emdsl.report.written import SHORT_CASES, compared_with, written_out


def update_steps(
    plan: Plan, named: Callable[[Sequence[str]], Plan], whole_q: Unopened | None, t: Typeset
) -> list[Step]:
    """One step for each update, in the order of the M-step; in `named` vectors without these parameters have names."""
    return [_update(plan, u, _held(plan, u, whole_q, t), explicit(named(u.params), u), t) for u in plan.updates]


def _held(plan: Plan, u: Update, whole_q: Unopened | None, t: Typeset) -> Sequence[Term]:
    """The terms of Q that hold the parameters of an update: opened about these, where they come apart from the data."""
    q, names = plan.expected, frozenset(u.params)
    mixed = u.rule.mixed if isinstance(u.rule, Numeric) else ()
    if not mixed or whole_q is None:
        return about((*q.terms, *mixed, *q.prior), names, q.symmetry)
    priors = about(q.prior, names, q.symmetry)
    return (*about(whole_q.terms, names, q.symmetry), *_met(whole_q.of(names), t), *priors)


def _met(densities: list[Term], t: Typeset) -> list[Term]:
    """Terms of Q, one for several that differ in a condition and its opposite or in a state alone: of what was censored
    and what not, of all states of a latent."""
    met = sides_met([tidy(x.totals(term.ixs, term.body), t.known) for term in densities], t.known.whole)
    met = list(x.terms_of(tidy(x.add(*met), t.known)))
    parts = map(parts_of, met) if len(met) < len(densities) else ()
    return [Term(c, (), tuple(factors), tuple(sums)) for c, factors, sums in parts] or densities


def _update(plan: Plan, u: Update, held: Sequence[Term], found: Sequence[tuple[Expr, Expr]], t: Typeset) -> Step:
    names = names_of(*u.params)
    shown = isinstance(u.rule, Linear) and concave_by(plan, u) is not None  # then it is said below, of what it is
    reason = re.sub("; concave where [^;]*", "", u.reason) if shown else u.reason
    own = taken(plan)
    reason = _in_free_letters(reason, own) if isinstance(u.rule, Spread) else reason
    of_rule = in_matrices(u.rule, u.params[0], t) if isinstance(u.rule, Spread) and not entry_by_entry(u.rule) else None
    body: list[Say | Show] = [Say(f"{names}: {u.kind}. {sentence(reason)}"), *(() if of_rule else _part(u, held, t))]
    body += list(_rule(plan, u, held, found, t))
    if u.conditional_on:
        body.append(Say(f"This maximises Q with {names_of(*u.conditional_on)} held (ECM)."))
    facts = {
        "kind": "update", "parameters": list(u.params), "update": u.kind, "rule": type(u.rule).__name__.lower(),
        "reason": u.reason, "conditional_on": list(u.conditional_on),
        "code": "refine" if isinstance(u.rule, Numeric) and u.rule.data else "m_step",
    }  # fmt: skip
    return Step(f"The update of {names}", abbreviated(with_means(body), own), facts, solved_parts(u))


def taken(plan: Plan) -> set[str]:
    """The names that the model has."""
    model = plan.joint.as_written.model
    return {v.name for v in model.variables} | {v.name for v in model.lets} | {v.name for v in model.sizes}


def _in_free_letters(reason: str, taken: set[str]) -> str:
    """A rule in letters that the model has not."""
    for own, others in (("P", "KLM"), ("C", "DHG"), ("a", "wcs")):
        free = next((c for c in others if c not in taken), own)
        reason = re.sub(rf"\b{own}\b", free, reason) if own in taken else reason
    return reason


def _part(u: Update, held: Sequence[Term], t: Typeset) -> Iterator[Say | Show]:
    """Q as a function of these parameters alone."""
    if not held:
        return
    whole = gathered(tidy(x.add(*(tidy(x.totals(term.ixs, term.body), t.known) for term in held)), t.known))
    total = t.of(each_over_draws(whole, t.known.drawn), {})
    left = f.Apply(f.Word("Q"), tuple(f.Name(n) for n in u.params))
    yield Show(f.Relation("=", left, f.plus(total, f.Word("const"))))


def _rule(
    plan: Plan, u: Update, held: Sequence[Term], found: Sequence[tuple[Expr, Expr]], t: Typeset
) -> Iterator[Say | Show]:
    lines = list(_by_rule(plan, u, held, t))
    yield from lines
    if plan.drawn:
        found = [(over_draws(a, plan.drawn), over_draws(tidy(joined(b), t.known), plan.drawn)) for a, b in found]
    found = [(a, _one_sum_each(tidy(data_apart(tidy(b, t.known)), t.known))) for a, b in found]
    in_terms = list[Show]()
    for name, (left, right) in zip(in_data(plan, u), found, strict=False):
        shown = _equations(left, right, "", t) if isinstance(left, El | x.MatInv) else _solved(left, right, u, t)
        in_terms += (replace(line, of=name) for line in shown)
    if not {line.formula for line in in_terms} <= {line.formula for line in lines if isinstance(line, Show)}:
        seen = ", where none is missing" if any("present:" in repr(f.masks) for f in plan.joint.factors) else ""
        apart = ", each with the others held" if len(found) > 1 else ""
        yield Say(f"In terms of the data{seen}{apart}:")
        yield from in_terms
    if isinstance(u.rule, Closed):
        yield from second_order(plan, u.rule, u.params[0], t)
    elif not isinstance(u.rule, Simplex | Spread):
        yield from why_a_maximum(plan, u)


def _by_rule(plan: Plan, u: Update, held: Sequence[Term], t: Typeset) -> Iterator[Say | Show]:
    """The stationarity condition and the update in statistics."""
    match u.rule:
        case Simplex():
            yield from _stationary_on_simplex(u.rule, u.params[0], t)
            yield from _equations(*normalised(u.params[0], u.rule.axes, u.rule.counts), u.params[0], t)
        case Spread() if entry_by_entry(u.rule):
            yield from by_entries(u.rule, u.params[0], t)
        case Spread() if (lines := in_matrices(u.rule, u.params[0], t)) is not None:
            yield from lines
        case Spread():
            yield Say("Stationary where the derivative by the inverse vanishes.")
            yield from _equations(*value_of(u.rule, u.params[0]), u.params[0], t)
        case Closed():
            yield from _closed(u.rule, u.params[0], t)
            domain = plan.joint.model.variable(u.params[0]).domain
            if domain.lower is not None or domain.upper is not None:
                yield Say("Where Q is larger at an end of the domain, or no root lies in it, that end is taken.")
        case Linear():
            yield from _linear(u.rule, t)
        case Newton():
            yield from _newton(u.rule, t)
            yield from step_of(
                [plan.joint.model.variable(n) for n in u.params], free_coordinates(taken(plan)), BY_BRACKET
            )
        case Together():
            yield from _together(u.rule, t)
            yield from step_of(
                [plan.joint.model.variable(n) for n in u.params], free_coordinates(taken(plan)), BY_EIGENVALUES
            )
        case Numeric():
            shares = Shares(t, taken(plan))
            lines = list(_numeric(plan, u, held, shares, t))
            yield from (*shares.lines(), *lines)
        case _:
            assert_never(u.rule)


def _one_sum_each(e: Expr) -> Expr:
    """`(sum_n a[n] + sum_n b[n]) / c` as `sum_n (a[n] + b[n]) / c`."""
    return x.rebuild(e, lambda n: met if isinstance(n, x.Add) and (met := joined(n)) is not n else None)


def _equations(left: Expr, right: Expr, name: str, t: Typeset) -> Iterator[Show]:
    """`left = right`; element by element where a literal axis is compared with numbers."""
    free = x.free(left)
    for i in free:
        if i.dim.isdigit() and int(i.dim) <= SHORT_CASES and compared_with(i, right):
            for n in range(int(i.dim)):
                if isinstance(left, El) and left.var in t.known.pairs and i == left.idx[-1] and _below(left.idx[-2], n):
                    continue  # of a symmetric matrix each entry once
                yield from _equations(x.substitute(left, {i: n}), x.substitute(right, {i: n}), name, t)
            return
    yield Show(_minus_inside(equation(left, tidy(right, t.known), t)), name)


def _minus_inside(e: Formula) -> Formula:
    """`a = -(b - c) / d` as `a = (c - b) / d`."""
    match e:
        case f.Relation("=", left, f.Plus(((True, f.Over(f.Plus(terms), below)),))) if any(minus for minus, _ in terms):
            turned = sorted(((not minus, term) for minus, term in terms), key=lambda term: term[0])
            return f.Relation("=", left, f.Over(f.Plus(tuple(turned)), below))
    return e


def _below(row: Idx, column: int) -> bool:
    return isinstance(row, int) and row > column


def equation(left: Expr, right: Expr, t: Typeset) -> Formula:
    """`left = right`, between vectors or matrices where both can be written so."""
    leaf = left.body if isinstance(left, x.MatInv) else left
    own = t.own(leaf) if isinstance(leaf, El) else 0
    places = leaf.idx if isinstance(leaf, El) else ()
    places = (*places[:-2], *left.at) if isinstance(left, x.MatInv) else places
    return in_tensors(left, right, tuple(i for i in places if isinstance(i, Ix)), own if own <= len(places) else 0, t)


def in_tensors(left: Expr, right: Expr, places: tuple[Ix, ...], own: int, t: Typeset) -> Formula:
    """`left = right` between matrices, between rows of them, or vectors; else element by element."""
    for count in range(own, 0, -1):
        open_ = places[len(places) - count :]
        names = t.letters.extend({}, (i for i in places if i not in open_))
        sides = tensor(t, left, open_, names), tensor(t, right, open_, names)
        if len(open_) == count and sides[0] is not None and sides[1] is not None:
            return f.Relation("=", sides[0], sides[1])
    names = t.letters.extend({}, places)
    return f.Relation("=", t.of(left, names), t.of(right, names))


def _stationary_on_simplex(rule: Simplex, name: str, t: Typeset) -> Iterator[Say | Show]:
    """The derivative by an element is the multiplier of the sum, the same for all elements that sum to one."""
    leaf, last = El(name, rule.axes, "positive"), rule.axes[-1]
    apart = any(compared_with(i, rule.counts) for i in rule.axes[:-1])
    each = range(int(last.dim)) if last.dim.isdigit() and int(last.dim) <= SHORT_CASES else ()
    written: list[dict[Ix, Idx]] = [{last: n} for n in each] if compared_with(last, rule.counts) else [{}]
    if apart or not written:
        return
    names = t.letters.extend({}, rule.axes)
    score = x.mul(rule.counts, x.power(leaf, x.num(-1)))
    multiplier = f.at(f.Word("lambda"), *t.places(rule.axes[:-1], names))
    yield Say("Stationary, with a multiplier for the sum that is 1, where")
    for at in written:
        one, other = x.substitute(leaf, at), tidy(x.substitute(score, at), t.known)
        slope = f.Slope(f.Word("Q"), t.of(one, names))
        yield Show(f.Relation("=", slope, f.Relation("=", t.of(other, names), multiplier)))


def _closed(rule: Closed, name: str, t: Typeset) -> Iterator[Say | Show]:
    left = El(name, rule.axes)
    score = slope_of(rule, left, 0)
    for at in written_out(rule.axes, score or x.ZERO) if score is not None else ():
        names = t.letters.extend({}, (i for i in rule.axes if i not in at))
        one, other = (x.substitute(e, at) for e in (left, score or x.ZERO))
        rest, c, square = a_square_apart(gathered(tidy(other, t.known)))
        value = t.of(rest, names) if not c else f.plus(t.of(rest, names), assembled(c, [t.of(square, names)], []))
        zero = f.Relation("=", value, f.Number("0"))
        yield Show(f.Relation("=", f.Slope(f.Word("Q"), t.of(one, names)), zero))
    if len(rule.root.candidates) > 1:
        yield Say("The roots of the score; of those in the domain the one with the larger Q is taken:")
    for root in rule.root.candidates:
        yield from _equations(left, root, name, t)


def _linear(rule: Linear, t: Typeset) -> Iterator[Say | Show]:
    if len(rule.columns) == 1 and not rule.second:
        column = rule.columns[0]
        name, slots = column.name, column.slots
        yield Say("Stationary where")
        solved = list(_equations(El(name, slots), x.mul(rule.right[0], x.power(rule.left[0, 0], x.num(-1))), name, t))
        said = [s.formula for s in solved]  # where nothing stands beside the unknown, it is solved already
        yield from (Show(e) for e in _rows_of(column, left_side(rule, 0), rule.right[0], t) if e not in said)
        yield from solved
        return
    yield Say("Stationary where these equations hold; they are linear in what is sought, and solved together:")
    several = sum(c.slots[-1:] != () and c.slots[-1] in rule.centred for c in rule.columns) > 1
    for n, c in enumerate(rule.columns):
        left, right = tidy(left_side(rule, n), t.known), tidy(rule.right[n], t.known)
        if rule.centred.isdisjoint(c.slots):
            yield from (Show(e, c.name) for e in _rows_of(c, left, right, t))
        else:
            yield from (Show(e, c.name) for e in _up_to_a_number(c, left, right, several, t))
    if rule.centred:
        yield Say("Each multiplier is the number for which the elements of its vector sum to 0.")


def _up_to_a_number(c: Column, left: Expr, right: Expr, several: bool, t: Typeset) -> Iterator[Formula]:
    """The equations of vectors that sum to 0, each with the multiplier of its sum; named where there are others."""
    for at in written_out(c.slots, left):
        names = t.letters.extend({}, (i for i in c.slots if i not in at))
        one, other = (t.of(tidy(x.substitute(e, at), t.known), names) for e in (left, right))
        vectors = (*((f.Name(c.name),) if several else ()), *t.places(_at(c.slots[:-1], at), names))
        yield f.Relation("=", one, f.plus(other, f.at(f.Word("lambda"), *vectors)))


def _at(slots: Sequence[Ix], values: dict[Ix, Idx]) -> list[Idx]:
    return [values.get(i, i) for i in slots]


def _rows_of(c: Column, left: Expr, right: Expr, t: Typeset) -> Iterator[Formula]:
    """One equation, or one for each value of the axes that are written out."""
    for at in written_out(c.slots, left):
        one, other = (tidy(x.substitute(e, at), t.known) for e in (left, right))
        yield _row(c, tuple(i for i in c.slots if i not in at), one, other, t)


def _solved(left: Expr, right: Expr, u: Update, t: Typeset) -> Iterator[Show]:
    """`M v = r` as `v = M⁻¹ r`, and `A M = R` as `A = R M⁻¹`; as it is where the left side is neither."""
    column = next(c for c in u.rule.columns if c.name in x.variables(left)) if isinstance(u.rule, Linear) else None
    assert column is not None
    left, right = tidy(left, t.known), tidy(joined(right), t.known)
    written = list(written_out(column.slots, left))
    if written != [{}]:
        yield from (Show(e) for e in _rows_of(column, left, right, t))
        return
    e = _row(column, column.slots, left, right, t)
    assert isinstance(e, f.Relation)
    yield Show(alone(e, column.name))


def _row(c: Column, slots: tuple[Ix, ...], left: Expr, right: Expr, t: Typeset) -> Formula:
    """One tensor's part of the normal equations, or one element's where its axes are written out."""
    return in_tensors(left, right, slots, t.own(El(c.name, c.slots)) if slots == c.slots else 0, t)


def _partial(name: str, axes: Sequence[Ix], names: dict[Ix, str], t: Typeset) -> Formula:
    return f.Slope(f.Word("Q"), t.of(El(name, tuple(axes)), names))


def _newton(rule: Newton, t: Typeset) -> Iterator[Say | Show]:
    names = t.letters.extend({}, rule.axes)
    score = t.of(by_statistic(tidy(rule.score, t.known)), names)
    if rule.inside:
        yield Say(f"With {names_of(*rule.inside)} where Q is greatest for each value (the profile), the score is")
    yield Show(
        f.Relation("=", _partial(rule.leaf.var, rule.axes, names, t), f.Relation("=", score, f.Number("0"))),
        rule.leaf.var,
        part="gradient",
    )
    yield Say("Newton's method to convergence; the second derivative is")
    slope = f.Slope(f.Word("Q"), t.of(El(rule.leaf.var, rule.axes), names), 2)
    yield Show(f.Relation("=", slope, t.of(by_statistic(tidy(rule.curvature, t.known)), names)), part="curvature")


def _together(rule: Together, t: Typeset) -> Iterator[Say | Show]:
    names = t.letters.extend({}, rule.axes)
    leaves = [t.of(leaf, names) for leaf in rule.leaves]
    for leaf, slope, name in zip(leaves, rule.slopes, (e.var for e in rule.leaves), strict=True):
        zero = f.Relation("=", t.of(by_statistic(gathered(tidy(slope, t.known))), names), f.Number("0"))
        yield Show(f.Relation("=", f.Slope(f.Word("Q"), leaf), zero), name, part="gradient")
    yield Say("Newton's method to convergence; the Hessian is")
    for i, row in enumerate(rule.hessian):
        for leaf, entry in zip(leaves[i:], row, strict=True):
            by = f.Slope(f.Word("Q"), leaves[i], 2, None if leaf is leaves[i] else leaf)
            yield Show(f.Relation("=", by, t.of(by_statistic(gathered(tidy(entry, t.known))), names)), part="curvature")


def _numeric(plan: Plan, u: Update, held: Sequence[Term], shares: Shares, t: Typeset) -> Iterator[Say | Show]:
    assert isinstance(u.rule, Numeric)
    how = "quasi-Newton" if u.rule.hessian is None else "Newton"
    if u.rule.medians:
        yield Say("At most half of the weight is below it and at most half above, where the gradient changes sign:")
    elif u.rule.likelihood:
        text = "The log-likelihood itself is raised by quasi-Newton steps in unconstrained coordinates, a value by an "
        yield Say(f"{text}E-step each; at the parameters of the E-step its gradient is that of Q:")
    else:
        within = "" if u.rule.hessian is not None else " in unconstrained coordinates"
        yield Say(f"Raised by {how} steps{within}, with the gradient")
    for name in u.params[:READ_TOGETHER]:
        axes = axes_of(plan.joint.model.variable(name))
        try:
            parts = gradient(held, name, axes)
        except InternalError:
            continue
        slope = x.add(*(x.totals([i for i in ixs if i not in axes], x.mul(c, *fs)) for c, fs, ixs in parts))
        for at in written_out(axes, slope):
            left, places = x.substitute(El(name, axes), at), tuple(i for i in axes if i not in at)
            own = t.own(El(name, axes)) if places == axes else 0
            value = as_products(gathered(tidy(x.substitute(slope, at), t.known)))
            value = shares.named(each_over_draws(value, t.known.drawn))
            found = in_tensors(left, value, places, own, t)
            assert isinstance(found, f.Relation)
            climb = "gradient" if u.rule.hessian is not None else ""
            yield Show(f.Relation("=", f.Slope(f.Word("Q"), found.left), found.right), name, part=climb)
    if len(u.params) > READ_TOGETHER:
        yield Say(f"and {len(u.params) - READ_TOGETHER} more, in the same way.")
    if u.rule.hessian is not None:
        variables = [plan.joint.model.variable(n) for n in u.params]
        xi = free_coordinates(taken(plan))
        yield from hessian_of(held, u.rule.hessian, variables, xi, shares, t)
        yield from step_of(variables, xi, BY_DIAGONAL if u.rule.hessian.low else BY_EIGENVALUES)
