"""Why what an update finds is a maximum: Q is concave, or bends down there; or that this is not known."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr
from emdsl.derive.algebra.scalars import derivatives
from emdsl.derive.plan import Plan
from emdsl.derive.updates.newton import Newton, Together
from emdsl.derive.updates.rules import Closed, Numeric, Update
from emdsl.errors import InternalError
from emdsl.report import formula as f
from emdsl.report.concave import SQUARE, Bends, bends_of, concave_by
from emdsl.report.gathered import divides, gathered
from emdsl.report.page import Say, Show, names_of
from emdsl.report.tidy import tidy
from emdsl.report.typeset import Typeset
from emdsl.report.written import written_out


def why_a_maximum(plan: Plan, u: Update) -> Iterator[Say]:
    """Why what is found is the maximum, or that this is not known."""
    by, names = concave_by(plan, u), names_of(*u.params)
    if isinstance(u.rule, Numeric) and u.rule.likelihood:
        yield Say(
            "No step lowers the log-likelihood, nor have the M-steps before these; all else is held as they left it."
        )
        yield Say(f"It ends where the log-likelihood is level in {names}: a stationary point at which it is no lower.")
        return
    if by == [SQUARE]:
        yield Say(f"Q subtracts squares of what is linear in {names}: it is concave, and this is its maximum.")
    elif by:
        said = f"{', '.join(by[:-1])} and {by[-1]} are" if len(by) > 1 else f"{by[0]} is"
        yield Say(f"Q is concave in {names}, because {said} convex, and subtracted: this is its maximum.")
    elif by is None and isinstance(u.rule, Newton | Together | Numeric) and not _medians(u.rule):
        yield Say(f"Q is not known to be concave in {names}: this is a stationary point at which it is no lower.")


def how_it_climbs(plan: Plan, latent: bool) -> str:
    """What an M-step does to Q: its maximum, that of some parameters in turn, or a rise."""
    likelihood = {id(u) for u in plan.updates if isinstance(u.rule, Numeric) and u.rule.likelihood}
    ecm = [u for u in plan.updates if u.conditional_on and id(u) not in likelihood]
    numeric = [u for u in plan.updates if u.kind not in ("closed form", "linear solve") and id(u) not in likelihood]
    own = [n for u in ecm if u not in numeric for n in u.params]
    said = []
    if own:
        said.append(f"{names_of(*own)} maximise{'s' * (len(own) == 1)} Q in turn, the others held (ECM).")
    if numeric and (own or likelihood):
        names = [n for u in numeric for n in u.params]
        said.append(f"Q is raised in {names_of(*names)} (generalised EM).")
    elif numeric:
        said.append("Each M-step raises Q (generalised EM)." if latent else "Each step raises it.")
    if likelihood:
        names = [n for u in plan.updates if id(u) in likelihood for n in u.params]
        said.append(f"The log-likelihood itself is raised in {names_of(*names)} (ECME).")
    if not said:
        said.append(
            "Each M-step is the maximum of Q." if latent else "The M-step is the maximum itself: one is enough."
        )
    return " ".join(said)


def _medians(rule: Newton | Together | Numeric) -> bool:
    return isinstance(rule, Numeric) and bool(rule.medians)


def second_order(plan: Plan, rule: Closed, name: str, t: Typeset) -> Iterator[Say | Show]:
    """The second-order condition."""
    left = El(name, rule.axes)
    curvature = slope_of(rule, left, 1)
    if curvature is None:
        return
    yield Say("The second derivative:")
    cases = list(written_out(rule.axes, curvature))
    for at in cases:
        names = t.letters.extend({}, (i for i in rule.axes if i not in at))
        slope = f.Slope(f.Word("Q"), t.of(x.substitute(left, at), names), 2)
        yield Show(f.Relation("=", slope, t.of(gathered(tidy(x.substitute(curvature, at), t.known)), names)))
    bends, names_ = bends_of(plan, ()), names_of(name)
    if bends.least(x.neg(tidy(curvature, t.known))):
        yield Say(f"It is nowhere positive: Q is concave in {names_}, and this is its maximum.")
        return
    if rule.root.curvature is None:
        return
    found = tidy(_at_root(rule, left, curvature), t.known)
    sign = " not positive:" if bends.least(x.neg(found)) else ""
    if not sign and (needed := _needed(rule, left, bends)):
        yield Say(f"Q is concave in {names_}, and this is its maximum, where")
        for at in cases:
            names = t.letters.extend({}, (i for i in rule.axes if i not in at))
            shown = (t.of(gathered(tidy(x.substitute(e, at), t.known)), names) for e in needed)
            yield from (Show(f.Relation(">=", e, f.Number("0"))) for e in dict.fromkeys(shown))
        return
    yield Say(f"At the root it is{sign}" if len(cases) == 1 else f"At the roots they are{sign}")
    for at in cases:
        names = t.letters.extend({}, (i for i in rule.axes if i not in at))
        yield Show(t.of(tidy(x.substitute(found, at), t.known), names))


def _needed(rule: Closed, leaf: El, bends: Bends) -> list[Expr]:
    """What must not be negative for Q to be concave: the coefficients, not known to be so, of functions that bend down;
    none where some function does not."""
    out = []
    for s in rule.functions:
        own = _slopes(s.function, leaf)
        if not own:
            return []
        downwards, upwards = bends.least(x.neg(own[1])), bends.least(own[1])
        if not downwards and not upwards:
            return []
        coefficient = s.coefficient if downwards else x.neg(s.coefficient)
        out += [] if own[1] == x.ZERO or bends.least(coefficient) else [coefficient]
    return out


def _at_root(rule: Closed, leaf: El, curvature: Expr) -> Expr:
    """The second derivative at a single root `leaf = a / b`: with `b leaf` for `a`, where that is shorter."""
    assert rule.root.curvature is not None
    factors, power = _unrooted(rule.root.value)
    tops = [p for p in factors if not isinstance(p, x.Num) and not divides(p)]
    scale = x.mul(*(x.power(p, x.num(-1)) for p in factors if p not in tops))
    if len(tops) != 1:
        return rule.root.curvature
    leaf = next((n for n in x.walk(curvature) if isinstance(n, El) and n.var == leaf.var), leaf)  # with its sort
    held = x.mul(scale, x.power(leaf, x.num(power)))
    found = _gathered(x.put(curvature, tops[0], held), leaf)
    gone = found != curvature and not any(n == tops[0] for n in x.walk(found))
    return found if gone and len(repr(found)) <= len(repr(rule.root.curvature)) else rule.root.curvature


def _unrooted(value: Expr) -> tuple[list[Expr], int]:
    """The factors of a value; of its square, with 2, where it is a square root."""
    factors = list(x.factors_of(value))
    if not all(isinstance(p, x.Pow) and p.exponent == x.HALF for p in factors):
        return factors, 1
    return [q for p in factors if isinstance(p, x.Pow) for q in x.factors_of(p.base)], 2


def _gathered(e: Expr, leaf: El) -> Expr:
    """`leaf leaf^-3` as `leaf^-2`, in every product, so that like terms meet."""

    def step(n: Expr) -> Expr | None:
        if not isinstance(n, x.Mul):
            return None
        exponents, rest = Fraction(0), []
        for p in x.factors_of(n):
            base, exponent = (p.base, p.exponent) if isinstance(p, x.Pow) else (p, x.ONE)
            if base == leaf and isinstance(exponent, x.Num) and isinstance(exponent.value, Fraction):
                exponents += exponent.value
            else:
                rest.append(p)
        return x.mul(*rest, x.power(leaf, x.Num(exponents)))

    return x.rebuild(e, step)


def slope_of(rule: Closed, leaf: El, n: int) -> Expr | None:
    """The first (0) or second (1) derivative of Q by one element; None where it is not known."""
    slopes = [_slopes(s.function, leaf) for s in rule.functions]
    if not all(slopes):
        return None
    return x.add(*(x.mul(s.coefficient, own[n]) for s, own in zip(rule.functions, slopes, strict=True)))


def _slopes(function: Expr, leaf: El) -> list[Expr]:
    """The first two derivatives of a function of one element by that element; nothing where they are not known."""
    own = next((e for e in x.walk(function) if isinstance(e, El) and e.var == leaf.var), None)
    try:
        found = derivatives(own, function) if own is not None else None
    except InternalError:  # a function without a derivative in the algebra: the equation is shown without its score
        return []
    return found[1:] if found is not None else []
