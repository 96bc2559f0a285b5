"""Q as a textbook has it: the log densities of the joint averaged over q, none of them opened.

Q = sum_n sum_k q(z[n] = k) (log w[k] - (x[n] - m[k])^2 / (2 v)) + const
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import replace

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import Expr
from emdsl.derive.joint.factors import Factor
from emdsl.derive.joint.sides import REST
from emdsl.derive.plan import Plan
from emdsl.language.transform import names_in
from emdsl.report import formula as f
from emdsl.report.draws import each_over_draws, over_draws
from emdsl.report.each_state import once
from emdsl.report.explicit import averaged_terms, joined, without_mass
from emdsl.report.factored import content
from emdsl.report.gathered import gathered
from emdsl.report.joint import with_points
from emdsl.report.lets import read_through
from emdsl.report.page import Say, Show, Step
from emdsl.report.spelled import spelled
from emdsl.report.sums import in_both_states
from emdsl.report.tidy import tidy
from emdsl.report.typeset import Typeset
from emdsl.report.unopened import Unopened


def has_priors(plan: Plan) -> bool:
    """Whether any parameter has a prior."""
    return any(v.distribution is not None for v in plan.joint.model.of_kind("param"))


def has_latents(plan: Plan) -> bool:
    """Whether anything has a posterior: without it Q is the log-likelihood itself."""
    return bool(plan.elimination.blocks) or plan.draws is not None


def expected_step(plan: Plan, named: Plan, whole_q: Unopened | None, t: Typeset) -> Step:
    """Q as a function of all parameters; in `named` vectors have names."""
    latent, priors = has_latents(plan), ", priors included," if has_priors(plan) else ""
    left = f.Apply(f.Word("Q"), tuple(f.Name(v.name) for v in plan.joint.model.of_kind("param")))
    of = "expected log joint" if latent else "log joint"
    held = ", with the statistics held" if plan.expected.statistics else ""
    say = f"The {of}{priors or ','} as a function of the parameters{held}:"
    body: list[Say | Show] = []
    means = averaged(plan, named, t) if latent else None
    total = opened(plan, whole_q, t)
    impossible = t.known.empty or any(without_mass(e) != e for e in (total, means or x.ZERO))
    if means is not None:
        over = "q" if plan.draws is None else "the draws"
        body.append(Say(f"The log joint{priors} averaged over {over}, as a function of the parameters:"))
        body.append(Show(f.Relation("=", left, f.plus(t.of(gathered(without_mass(means)), {}), f.Word("const")))))
        say = f"The same opened{held}:"
    body.append(Say(say))
    body.append(Show(f.Relation("=", left, f.plus(t.of(gathered(without_mass(total)), {}), f.Word("const")))))
    if impossible:
        body.append(Say("What has no mass has none under q either: beside log 0 it is left out."))
    if plan.expected.mixed:
        body.append(Say("Some terms do not come apart from the data: they are evaluated in passes over it."))
    title = "The expected complete-data log-likelihood" if latent else "The log-likelihood"
    return Step(title, tuple(body), {"kind": "Q"})


def opened(plan: Plan, whole_q: Unopened | None, t: Typeset) -> Expr:
    """Q in the statistics, with the densities that do not come apart from the data as they stand."""
    q = plan.expected
    found = whole_q or Unopened(q.terms, tuple(one.term for one in q.mixed))
    parts = [tidy(x.totals(term.ixs, term.body), t.known) for term in (*found.terms, *found.densities, *q.prior)]
    params = _named(plan, t)
    whole = _of_parameters(tidy(x.rebuild(x.add(*parts), lambda n: _number_less(n, params)), t.known), plan, t)
    return each_over_draws(whole, plan.drawn)


def _number_less(e: Expr, params: Set[str]) -> Expr | None:
    """`S (log(1/4) + log a)` as `S log a`: what it leaves out is a constant."""
    if not isinstance(e, x.Mul):
        return None
    held = [p for p in e.factors if x.variables(p) & params]
    if len(held) != 1 or not isinstance(logs := held[0], x.Add):
        return None
    left = [t for t in logs.terms if x.variables(t) or not isinstance(x.split_number(t)[1], x.Fn)]
    return None if len(left) == len(logs.terms) else x.mul(*(p for p in e.factors if p is not logs), x.add(*left))


def _of_parameters(e: Expr, plan: Plan, t: Typeset) -> Expr:
    """The terms that hold parameters: all others are in the constant."""
    named = _named(plan, t)
    terms = x.terms_of(e)
    return x.add(*(term for term in terms if x.variables(term) & named))


def _named(plan: Plan, t: Typeset) -> frozenset[str]:
    """Parameters, and what has a name and holds some."""
    model = plan.joint.as_written.model
    params = frozenset(v.name for v in model.of_kind("param"))
    vectors = (let for let in spelled(model).lets if read_through(names_in(let.body), spelled(model).lets) & params)
    return params | {a.name for a in t.known.meanings if x.variables(a.body) & params} | {let.name for let in vectors}


def averaged(plan: Plan, named: Plan, t: Typeset) -> Expr | None:
    """The sum of these densities, those without parameters left out; None where a mean is no moment."""
    params = _named(plan, t)
    parts: list[Expr] = []
    for factor in named.joint.factors:
        if not params & x.variables(factor.body):
            continue
        found = averaged_terms(_free(factor, params, named), named, params, lambda n: REST)
        if found is None:
            return None
        one = joined(x.add(*(tidy(x.totals(term.ixs, term.body), t.known) for term in found)))
        one = x.rebuild(without_mass(one), lambda n: in_both_states(n, t.known.binary))
        one = x.add(*(over_draws(term, plan.drawn, inside=True) for term in x.terms_of(one))) if plan.drawn else one
        parts.append(tidy(x.rebuild(one, _number_out), t.known))
    return _of_parameters(x.add(*once([e for p in parts for e in x.terms_of(p)], t.known.literal)), plan, t)


def _free(factor: Factor, params: Set[str], plan: Plan) -> Factor:
    """A factor without what multipliers hold at 0, where no parameter stands in it."""
    held = {*plan.joint.multipliers}
    if not held & x.variables(factor.body):
        return factor
    shown = x.terms_of(with_points(factor.body, plan.joint.multipliers))
    points = [t for t in shown if _is_point(t)]
    if any(x.variables(t) & params for t in points):  # Q holds its multiplier
        return factor
    return replace(factor, body=x.add(*(t for t in shown if t not in points)))


def _is_point(e: Expr) -> bool:
    return any(isinstance(n, x.Fn) and n.name == "delta" for n in x.walk(e))


def _number_out(e: Expr) -> Expr | None:
    """`E[-a / 2 - b / 2]` as `-E[a + b] / 2`."""
    if not isinstance(e, x.Fn) or e.name != "E" or not isinstance(e.args[0], x.Add):
        return None
    if any(x.split_number(term)[0] > 0 for term in e.args[0].terms):
        return None
    c, inside = content(e.args[0])
    return x.mul(x.Num(c), x.Fn("E", (inside, *e.args[1:])))
