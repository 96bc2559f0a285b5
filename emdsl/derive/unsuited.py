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
from emdsl.language.transform import expressions_of

NAMES = ((("latent",), 200, "latents"), (("param", "latent", "observed"), 600, "parameters and variables"))


MEETING = 60  # latents by names of their own in one density: of each pair there is a product
PLACES = 600  # elements of parameters that are written one by one
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


def _by_place(model: m.ModelText) -> list[Problem]:
    """Elements of parameters that are written one by one: each is a name, with equations of its own."""
    params, met = {v.name for v in model.of_kind("param")}, set[tuple[object, ...]]()
    written = [e for v in model.variables if v.distribution is not None for e in expressions_of(v.distribution)]
    for e in (*written, *(let.body for let in model.lets), *(p.expression for p in model.potentials)):
        for node in m.walk(e):
            match node:
                case m.Index(base=m.Var(name), args=args) if name in params:
                    places = tuple(a.value for a in args if isinstance(a, m.Num))
                    met |= {(name, *places)} if len(places) == len(args) else set()
                    if len(met) > PLACES:
                        text = f"more than {PLACES} elements of parameters by places of their own, such as {name}"
                        text += f"[{', '.join(map(str, places))}]: their equations would fill a book"
                        hint = f"write what is alike with an index, as in `sum({name})` or `{name} @ x[n]`"
                        return [Problem("E108", text, node.span, hint)]
    return []


def suited(model: m.ModelText) -> m.ModelText:
    """The model whose `infer` lines name no functions of latents.

    Raises `ModelError` for names without number, discrete parameters, bounds that do not follow, and for functions of
    latents of which a line wants a distribution.
    """
    problems: list[Problem] = _too_many(model) or _by_place(model)
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
