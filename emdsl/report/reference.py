"""What data are measured from in the module, and the first step in the coordinates of the model file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Ix
from emdsl.derive.algebra.made import REFERENCE
from emdsl.derive.joint.centre import of_one_number
from emdsl.derive.joint.moving import moving
from emdsl.derive.joint.planes import Plane
from emdsl.derive.joint.plates import home_of
from emdsl.derive.numbering import measured
from emdsl.derive.plan import Plan
from emdsl.derive.posteriors.draws import expanded
from emdsl.derive.posteriors.tails import without
from emdsl.report import formula as f
from emdsl.report.formula import Formula
from emdsl.report.gathered import gathered
from emdsl.report.indices import Names
from emdsl.report.joint import joint_step, told_apart
from emdsl.report.meanings import PLACE, explained
from emdsl.report.page import Say, Show, Step, names_of
from emdsl.report.tidy import tidy
from emdsl.report.typeset import Typeset, typeset
from emdsl.report.updates import equation
from emdsl.report.vectors import IDENTITY, UNIT
from emdsl.report.walking import parts


def as_written(plan: Plan, found: list[Step]) -> Step:
    """The first step in the coordinates of the model file, of a plan whose other equations are in the module's."""
    whole = expanded(plan.joint.as_written.model, sorted(plan.drawn))
    tails = sorted(n for n in plan.joint.tails if n in whole.holding)  # others are gone where what is drawn is data
    shown = replace(plan, joint=without(whole, tails) or whole, shifts={}, centred=())
    step = told_apart(shown, [joint_step(shown, typeset(shown)), *found[1:]])[0]
    measured = names_of(*dict.fromkeys((*plan.centred, *plan.shifts)))
    say = f"From here on {measured} are measured from reference points: each stands for what it is less that point."
    step = explained([step])[0]
    return replace(step, body=(*step.body, Say(say), *_decided(plan)))


def _decided(plan: Plan) -> Iterator[Say | Show]:
    """Where latents are measured from that parameters decide, and what that means for EM."""
    t = typeset(plan)
    if not (found := moving(plan.joint.model, plan.shifts)):
        return
    yield Say("What this point is may hold parameters, as the M-step finds them:")
    for name, shift in found.items():
        names = t.letters.extend({}, shift.axes)
        point = f.Apply(f.Word("point"), (t.of(El(name, shift.axes), names),))
        yield Show(f.Relation("=", point, t.of(gathered(tidy(shift.value, t.known)), names)))
    yield Say(
        "So the complete data are others than those of the log joint, and EM takes another way up the same likelihood: "
        "a shorter one, where covariates lie far from 0 and would tie the parameters beside them to these latents."
    )


def reference_step(plan: Plan, shifted: bool) -> list[Step]:
    """What data are measured from in the module, where there is anything; `shifted`: so are the equations above."""
    names = [*plan.centred, *(p.data for p in plan.planes if p.data not in plan.centred)]
    names += [d.data for d in plan.designs if d.data not in names]
    if not names:
        return []
    moved = f", and {names_of(*plan.shifts)} as what locates them" if plan.shifts else ""
    if shifted:
        say = f"Here, as in the generated module, {names_of(*names)} and what locates them are measured from a "
        say += "reference point."
    else:
        say = f"The generated module takes {names_of(*names)} about a reference point{moved}, so that squares lose no "
        say += "digits: the same equations, shifted. What it returns is in the coordinates of the model."
    facts = {"kind": "reference", "data": names, "code": "reference"}
    shown = tuple(_from_a_point(plan))
    body: tuple[Say | Show, ...] = (Say(say),)
    if shown:
        body = (*body, *_of_points(plan), Say("In place of each stands"), *_of_data(plan), *shown)
    if any(p == UNIT for e in shown for p in parts(e.formula)):
        body = (*body, Say(PLACE))
    return [Step("Reference points", body, facts, measured(plan))]


def _of_points(plan: Plan) -> Iterator[Say]:
    """What the points are."""
    if plan.centred:
        yield Say("A point is the mean of what was seen.")
    for p in plan.planes:
        left = f", and {p.data} is less what they fit" if len(p.slots) > 1 else ""
        yield Say(f"`reference {p.param}` are the least-squares coefficients of {p.data} on {p.design}{left}.")
    for d in plan.designs:
        what = f"holds, in the row of a constant column, what the other columns of {d.data} are measured from"
        yield Say(f"`mixing {d.data}` {what}.")


def _of_data(plan: Plan) -> Iterator[Show]:
    """`y[n] <- y[n] - X[n]ᵀ reference beta`, `X <- X (I + mixing X)`: data of which no equation of the module tells."""
    t = typeset(plan)
    for name in dict.fromkeys(p.data for p in plan.planes if len(p.slots) < 2):
        home = home_of(plan.joint.model.variable(name))
        names = t.letters.extend({}, home)
        left = f.at(f.Name(name), *t.places(home, names))
        fits = [_fit(p, home, names, t) for p in plan.planes if p.data == name]
        yield Show(f.Relation("<-", left, f.Plus(((False, left), *((True, fit) for fit in fits)))))
    for d in plan.designs:
        design, mixing = f.Name(d.data), f.Name(f"mixing {d.data}")
        yield Show(f.Relation("<-", design, f.times(design, f.plus(IDENTITY, mixing))))


def _fit(p: Plane, home: tuple[Ix, ...], names: Names, t: Typeset) -> Formula:
    """What a plane takes from a row."""
    reference, rows = f.Name(f"reference {p.param}"), p.rows or p.column
    design = f.at(f.Name(p.design), *(t.places(home, names) if rows else ()))
    return f.times(f.Raised(design, f.Word("T")) if p.rows and not p.column else design, reference)


def _from_a_point(plan: Plan) -> Iterator[Show]:
    """`mean[k] <- mean[k] - reference x`, of data and of what locates them."""
    t, alike = typeset(plan), of_one_number(plan.shifts)
    for name in measured(plan):
        shift, v = plan.shifts.get(name), plan.joint.model.variable(name)
        dims = tuple(x.fresh(str(d)) for d in v.domain.dims)
        axes = shift.axes if shift is not None else (*home_of(v), *dims)
        point = shift.value if shift is not None else El(REFERENCE.of(name), () if name in alike else dims)
        own = El(name, axes)
        found = equation(own, tidy(x.add(own, x.neg(point)), t.known), t)
        assert isinstance(found, f.Relation)
        yield Show(f.Relation("<-", found.left, found.right), name)
