"""The last step of a derivation: what becomes of data that may come with gaps that are no whole elements."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from emdsl.derive.plan import Plan, derive
from emdsl.errors import ModelError
from emdsl.generate.spec import missing_policy
from emdsl.language.model import ModelText
from emdsl.report.equations import readable
from emdsl.report.incomplete import conditional
from emdsl.report.page import Say, Show, Step, names_of
from emdsl.report.steps import steps


def _possible(model: ModelText, name: str, configured: bool) -> bool:
    """Whether the model has a plan for data of which cells of this variable are missing, no more of a mixture than
    without."""
    try:
        return derive(model, (name,)).joint.configurations is None or configured
    except ModelError:
        return False


def _told(names: Sequence[str]) -> Iterator[Say | Show]:
    """The same for any model."""
    yield Say("With -J the second derivatives of the log joint in the cells and h its slope at 0:")
    yield from conditional(names, ())
    yield Say(
        "In the statistics this mean stands for a missing cell, and for a product of two the product of their means "
        "plus their covariance."
    )


def _derived(model: ModelText, names: Sequence[str], written: Sequence[Step]) -> Iterator[Say | Show]:
    """The posterior of the cells, and the updates that read it, of the plan for data with such gaps."""
    try:
        every = steps(readable(derive(model, tuple(names))))
    except ModelError:  # each alone has a plan, all of them have none
        every = ()
    found = [step for step in every if step.facts["kind"] == "posterior" and {*names} & {*step.facts["latents"]}]
    if not found:
        yield from _told(names)
        return
    for step in found:
        yield from step.body[1:]
    known = [line.formula for step in written for line in step.body if isinstance(line, Show)]
    updates = (line for step in every for line in step.body if isinstance(line, Show) and line.of)
    if changed := [line for line in updates if line.formula not in known]:
        yield Say("In terms of the data, E of a product the product of the means plus the covariance:")
        yield from changed


def missing_step(plan: Plan, written: Sequence[Step]) -> list[Step]:
    """What is said of a model whose data may come with gaps that are no whole elements: what becomes of them."""
    found = plan.joint.configurations
    model = found.written.model if found else plan.joint.model
    policies = {v.name: missing_policy(v, plan) for v in model.of_kind("observed")}
    names = [n for n, policy in policies.items() if policy in ("cells", "complete")]
    names = [n for n in names if model.variable(n).domain.kind == "real" and _possible(model, n, found is not None)]
    others = tuple(n for n, policy in policies.items() if policy == "complete" and n not in names)
    body: list[Say | Show] = []
    if names:
        body += [Say(f"Cells of {names_of(*names)} may be missing: they are latent then, and integrated out.")]
        body += _derived(model, names, written) if found is None else _told(names)
        body.append(Say(f"The model's `complete({tuple(names)!r})` derives all of it."))
    if others:
        body.append(
            Say(
                f"What is missing of {names_of(*others)} is read elsewhere, so that it is latent then, and known as "
                f"far as others tell of it: the model's `complete({others!r})` derives that, or says why it cannot."
            )
        )
    return [Step("Missing cells", tuple(body), {"kind": "missing", "data": [*names, *others]})] if body else []
