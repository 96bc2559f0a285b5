"""What a derivation says of missing cells: the Gaussian of those given the ones that were seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from emdsl.derive.plan import Plan, derive
from emdsl.errors import ModelError
from emdsl.generate.spec import missing_policy
from emdsl.language.model import ModelText
from emdsl.report import formula as f
from emdsl.report.formula import Formula
from emdsl.report.page import Say, Show, Step, names_of

SEEN, MISSING = f.Word("seen"), f.Word("missing")


def part(name: str, which: Formula) -> Formula:
    """`x[seen]` or `x[missing]`."""
    return f.At(f.Name(name), (which,))


def conditional(names: Sequence[str], latents: Sequence[str]) -> Iterator[Say | Show]:
    """The moments of what is missing given what was seen, from J and h; `latents` are missing altogether."""
    hidden = f.listed([*(f.Name(n) for n in latents), *(part(n, MISSING) for n in names)])
    given = f.listed([part(n, SEEN) for n in names])
    inverse = f.Raised(_block("J", MISSING, MISSING), f.Number("-1"))
    left = f.Plus(((False, _block("h", MISSING)), (True, f.Times((_block("J", MISSING, SEEN), given)))))
    what = names_of(*names)
    where = f"`missing` stands for the cells of {what} that are missing, `seen` for the others"
    if latents:
        where = where.replace("missing,", f"missing and for {names_of(*latents)},", 1)
    yield Say(f"What was seen of {what} is held at its value ({where}). Given that, the rest is Gaussian with")
    yield Show(f.Relation("=", f.Mean(hidden, given), f.Times((inverse, left))))
    yield Show(f.Relation("=", f.Apply(f.Word("cov"), (f.Relation("|", hidden, given),)), inverse))


def grouped() -> Say:
    return Say(
        "Elements are grouped by which cells are missing, and J[missing, missing] is inverted once for each group. "
        "The mean of a cell that was seen is its value, its covariance with any other 0."
    )


def _block(letter: str, *which: Formula) -> Formula:
    return f.At(f.Name(letter), which)


def _possible(model: ModelText, name: str, configured: bool) -> bool:
    """Whether the model has a plan for data of which cells of this variable are missing, no more of a mixture than
    without."""
    try:
        return derive(model, (name,)).joint.configurations is None or configured
    except ModelError:
        return False


def missing_step(plan: Plan) -> list[Step]:
    """What is said of a model whose data may come with gaps that are no whole elements: what becomes of them."""
    found = plan.joint.configurations
    model = found.written.model if found else plan.joint.model
    policies = {v.name: missing_policy(v, plan) for v in model.of_kind("observed")}
    names = [n for n, policy in policies.items() if policy in ("cells", "complete")]
    names = [n for n in names if model.variable(n).domain.kind == "real" and _possible(model, n, found is not None)]
    others = tuple(n for n, policy in policies.items() if policy == "complete" and n not in names)
    body: list[Say | Show] = []
    if names:
        body += [
            Say(
                f"Cells of {names_of(*names)} may be missing: they are latent then, and integrated out, with -J the "
                "second derivatives of the log joint in the cells and h its slope at 0."
            ),
            *conditional(names, ()),
            Say(
                "In the statistics this mean stands for a missing cell, and for a product of two the product of their "
                f"means plus their covariance. The model's `complete({tuple(names)!r})` derives all of it."
            ),
        ]
    if others:
        body.append(
            Say(
                f"What is missing of {names_of(*others)} is read elsewhere, so that it is latent then, and known as "
                f"far as others tell of it: the model's `complete({others!r})` derives that, or says why it cannot."
            )
        )
    return [Step("Missing cells", tuple(body), {"kind": "missing", "data": [*names, *others]})] if body else []
