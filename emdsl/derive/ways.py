"""Ways out of a refusal: of the methods that a hint could name, those by which the model does have a plan."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from emdsl.derive.joint.ranges import range_of
from emdsl.derive.joint.substituted import functions_of
from emdsl.derive.plan import derive
from emdsl.derive.posteriors import quadrature
from emdsl.derive.posteriors.discrete import WAYS_OUT
from emdsl.errors import ModelError
from emdsl.language import model as m

UNTRIED = (WAYS_OUT, quadrature.WAYS_OUT)
METHODS = {"meanfield": "meanfield", "quadrature": "quadrature", "saem": "saem (or mcmc)"}


def with_ways(refusal: ModelError, model: m.ModelText) -> ModelError:
    """The refusal, each mistake once, with the `infer` lines that take the model in place of methods in general."""
    problems = list(dict.fromkeys(refusal.problems))
    if not any(p.hint in UNTRIED for p in problems):
        return ModelError(problems, refusal.source)
    found = [f"`{line}`" for line in _ways(model)]
    hint = f"what does take it: {', '.join(found)}" if found else _rewritten(model)
    return ModelError([replace(p, hint=hint) if p.hint in UNTRIED else p for p in problems], refusal.source)


def _rewritten(model: m.ModelText) -> str:
    """What to write instead, where no `infer` line helps."""
    counts = [v.name for v in model.of_kind("latent") if v.domain.kind == "count"]
    no_way = "no method takes it as it is written"
    between = [v.name for v in model.of_kind("latent") if v.domain.interval and isinstance(range_of(v), str)]
    if between:
        return f"{no_way}; {between[0]} as a + (b - a) * u with a latent u ~ Uniform(0, 1) has ends that are numbers"
    if not counts:
        return no_way
    return f"{no_way}; counts with an end are enumerated: `{counts[0]} : count(max = 60)`, an end that none is near"


def _ways(model: m.ModelText) -> Iterator[str]:
    """One line of each method with which there is a plan, in place of those that are there."""
    functions = functions_of(model)
    latents = [v for v in model.of_kind("latent") if v.name not in functions]
    lines = [line for line in model.infer if line.method not in ("mcmc", "saem")]
    asked = {of for line in lines for g in line.groups for n in g for of in functions.get(n, (n,))}
    names = [v.name for v in latents if v.name in asked or not asked]
    free = [v.name for v in latents if v.name in names and not v.domain.discrete]
    for method, said in METHODS.items():
        for some, whole in ((names, False), (names, True), (free, False)):
            line = m.Infer(tuple((n,) for n in some), (whole,) * len(some), method, ())
            if not some or (whole and method != "meanfield"):
                continue
            try:
                plan = derive(replace(model, infer=(line,)))
            except ModelError:
                continue
            if plan.joint.clouds and len(plan.elimination.parts) == 1:
                continue  # one factor at points is quadrature, which is named
            yield f"infer {', '.join(f'({n})' if whole else n for n in some)} by {said}"
            break
