"""What parses, types and samples, and is refused before anything is derived."""

from __future__ import annotations

from emdsl.derive.algebra import expr as x
from emdsl.derive.joint.factors import LogJoint
from emdsl.derive.joint.substituted import without_functions
from emdsl.derive.posteriors.discrete import WAYS_OUT
from emdsl.errors import ModelError, Problem
from emdsl.language import model as m
from emdsl.language.constants import one_number
from emdsl.language.ends import known_of_each

NAMES = ((("latent",), 200, "latents"), (("param", "latent", "observed"), 600, "parameters and variables"))


MEETING = 60  # latents by names of their own in one density: of each pair there is a product
PAIRS = 20_000  # such pairs in all densities


def may_meet(model: m.ModelText) -> bool:
    """Whether latents by names of their own are so many that `refuse_meeting` has to look."""
    latents = len(model.of_kind("latent"))
    return latents > MEETING or latents * (latents + 1) // 2 * len(model.variables) > PAIRS


def refuse_meeting(joint: LogJoint) -> None:
    """Raises `ModelError` at the density in which more latents meet, by names of their own, than seconds do for."""
    latents, pairs = {v.name for v in joint.model.of_kind("latent")}, 0
    for f in joint.factors:
        met = len(latents & x.variables(f.body))
        pairs += met * (met + 1) // 2
        if met > MEETING or pairs > PAIRS:
            where = f"the density of {f.about}" if f.about else "a factor"
            text = f"{met} latents by names of their own meet in {where}, more than {MEETING}: each pair is a term"
            if met <= MEETING:
                text = f"up to {where} {pairs:,} pairs of latents meet by names of their own, more than {PAIRS:,}"
            problem = Problem("E108", text, f.span, "give those that are alike one name, as an array")
            raise ModelError(problem, joint.model.source)


def _too_many(model: m.ModelText) -> list[Problem]:
    """Names of which each pair is looked at: thousands of them take minutes where an array takes none."""
    found = []
    for kinds, most, what in NAMES:
        mine = [v for v in model.variables if v.kind in kinds]
        if len(mine) > most:
            text = f"{len(mine)} {what} by names of their own, more than {most}: their equations would fill a book"
            found.append(Problem("E108", text, mine[most].span, "give those that are alike one name, as an array"))
    return found[:1]


def suited(model: m.ModelText) -> m.ModelText:
    """The model whose `infer` lines name no functions of latents.

    Raises `ModelError` for names without number, discrete parameters, bounds that do not follow, and for functions of
    latents of which a line wants a distribution.
    """
    problems: list[Problem] = _too_many(model)
    for v in model.of_kind("param"):
        if v.domain.discrete:
            text = f"the parameter {v.name} is discrete ({v.domain.kind}): it has no derivative to estimate it by"
            problems.append(Problem("E104", text, v.span, "declare it latent with a prior, or given"))
        for bound in (v.domain.lower, v.domain.upper):
            if bound is not None and not one_number(bound) and not known_of_each(bound, v, model):
                text = f"a bound of the parameter {v.name} does not follow from givens laid out as it is"
                problems.append(
                    Problem(
                        "E107", text, bound.span, "write bounds with numbers and givens, on plates that drop no element"
                    )
                )
    if problems:
        raise ModelError(problems, model.source)
    return without_functions(model, WAYS_OUT)
