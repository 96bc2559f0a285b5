"""What can be told only of a whole model: who may speak of whom, what is never used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from emdsl.errors import Problem, Span
from emdsl.language.constants import constant_problems
from emdsl.language.constants import value as constant
from emdsl.language.definite import definite_problems
from emdsl.language.dependence import cycle_problems
from emdsl.language.inference import POINTWISE
from emdsl.language.kinds import KINDS
from emdsl.language.mixed import is_atom
from emdsl.language.model import (
    Branch,
    Dist,
    Expr,
    If,
    Index,
    ModelText,
    Plate,
    Potential,
    Shape,
    SumOver,
    Var,
    Variable,
    walk,
)  # fmt: skip
from emdsl.language.ranges import range_problems
from emdsl.language.scope import MOST_PROBLEMS, Scope
from emdsl.language.transform import expressions_of, names_in

MOST_OPENED = 1_000_000  # parts of a `let` with all others put in


def final_problems(model: ModelText, scope: Scope) -> list[Problem]:
    """Problems of indices, cycles, conditions, priors, defaults and factors."""
    out = [*range_problems(scope), *cycle_problems(scope), *constant_problems(model), *definite_problems(model)]
    out += _opened_lets(model)
    facts = facts_of(model)
    out += _indices(model, facts)
    pointwise = any(line.method in POINTWISE for line in model.infer)
    for v in model.variables:
        out += _plate_conditions(v.plates, facts)
        out += _bounds(v, facts)
        if v.distribution is not None and v.kind == "param":
            out += _prior(v, v.distribution, facts)
        if v.distribution is not None and not pointwise:
            out += _conditions(v.distribution, facts)
        if v.default is not None:
            out += _default(v, v.default, facts)
    for potential in model.potentials:
        reason = needs_normaliser(facts, potential)
        if reason:
            hint = "a factor over parameters alone is a penalty; write the dependence as a distribution"
            out.append(Problem("E056", reason, potential.span, hint))
    return out


# ---------------------------------------------------------------------------- names behind names


@dataclass(frozen=True, slots=True)
class Facts:
    """The variables by name, and what every let speaks of in the end."""

    known: Mapping[str, Variable]
    behind: Mapping[str, tuple[str, ...]]


def _opened_lets(model: ModelText) -> Iterator[Problem]:
    """Lets that name one another twice and twice again: opened they would never end."""
    lets, parts = {let.name: let for let in model.lets}, dict[str, int]()
    reads = {
        name: [e.name for e in walk(let.body) if isinstance(e, Var) and e.name in lets] for name, let in lets.items()
    }
    try:
        order = list(TopologicalSorter(reads).static_order())
    except CycleError:
        return  # told elsewhere
    for name in order:
        parts[name] = sum(1 for _ in walk(lets[name].body)) + sum(parts[n] for n in reads[name])
        if parts[name] > MOST_OPENED:
            text = f"`{name}` has more than {MOST_OPENED:,} parts when all lets in it are put in"
            yield Problem("E008", text, lets[name].span)
            return


def facts_of(model: ModelText) -> Facts:
    lets = {x.name: sorted(names_in(x.body)) for x in model.lets}
    behind: dict[str, tuple[str, ...]] = {}
    work = list(reversed(lets))
    while work:
        name = work[-1]
        waiting = [n for n in lets[name] if n in lets and n not in behind]
        if waiting and name not in behind:
            work += waiting
            continue
        work.pop()
        found = dict.fromkeys(v for n in lets[name] for v in (behind[n] if n in lets else (n,)))
        behind.setdefault(name, tuple(found))
    return Facts({v.name: v for v in model.variables}, behind)


def spoken(e: Expr, facts: Facts) -> Iterator[tuple[str, Span]]:
    """The variables that an expression speaks of, directly or through lets, with the place where it does."""
    for x in walk(e):
        if isinstance(x, Var):
            for name in facts.behind.get(x.name, (x.name,)):
                yield name, x.span


# ---------------------------------------------------------------------------- conditions


def _open(e: Expr, facts: Facts) -> tuple[str, str, Span] | None:
    """A parameter or continuous latent that a condition holds: its name, what it is, where."""
    for name, span in spoken(e, facts):
        v = facts.known.get(name)
        if v is not None and v.kind == "param":
            return name, "a param", span
        if v is not None and v.kind == "latent" and not v.domain.discrete:
            return name, "a continuous latent", span
    return None


def _conditions(dist: Dist, facts: Facts) -> Iterator[Problem]:
    """Conditions outside point masses, where no line asks for a method that evaluates pointwise."""
    conds: list[Expr] = []
    stack: list[Dist] = [dist]
    while stack:
        here = stack.pop()
        if isinstance(here, Branch):
            conds.append(here.cond)
            stack += [here.then, here.other]
        elif not is_atom(here.family):
            conds += [x.cond for _, e in here.args for x in walk(e) if isinstance(x, If)]
            conds += [x.cond for _, e in here.args for x in walk(e) if isinstance(x, SumOver) and x.cond is not None]
    for cond in conds:
        found = _open(cond, facts)
        if found is not None:
            name, what, span = found
            hint = "conditions hold loop names, sizes, data and discrete latents; for others say `infer ... by mcmc`"
            yield Problem("E053", f"this condition holds {what}, `{name}`", span, hint)


def _indices(model: ModelText, facts: Facts) -> Iterator[Problem]:
    """Indices that a parameter moves, by a comparison or `not`: no slope tells where it should go."""
    every = [*(let.body for let in model.lets), *(p.expression for p in model.potentials)]
    every += [e for v in model.variables if v.distribution is not None for e in expressions_of(v.distribution)]
    held = {
        span: name
        for e in every
        for node in walk(e)
        if isinstance(node, Index)
        for at in node.args
        for name, span in spoken(at, facts)
        if name in facts.known and facts.known[name].kind == "param"
    }
    for span, name in held.items():
        hint = "indices hold loop names, sizes, data and latents"
        yield Problem("E053", f"this index holds a param, `{name}`", span, hint)


def _plate_conditions(plates: tuple[Plate, ...], facts: Facts) -> Iterator[Problem]:
    for plate in plates:
        for name, span in spoken(plate.condition, facts) if plate.condition is not None else ():
            v = facts.known.get(name)
            if v is not None and v.kind in ("param", "latent"):
                hint = "which elements a plate has is known: loop names, sizes, givens"
                yield Problem("E053", f"the condition of a plate holds the {v.kind} `{name}`", span, hint)


# ---------------------------------------------------------------------------- priors, bounds, defaults, factors


def _prior(v: Variable, dist: Dist, facts: Facts) -> Iterator[Problem]:
    for e in expressions_of(dist):
        for name, span in spoken(e, facts):
            other = facts.known.get(name)
            if other is not None and other.kind in ("latent", "observed"):
                hint = "a prior holds givens, sizes and other params"
                yield Problem("E054", f"the prior of `{v.name}` holds the {other.kind} `{name}`", span, hint)


def _bounds(v: Variable, facts: Facts) -> Iterator[Problem]:
    low, high = (None if b is None else constant(b) for b in (v.domain.lower, v.domain.upper))
    if low is not None and high is not None and low >= high:
        yield Problem("E027", f"nothing lies between the bounds of `{v.name}`: {low:g} and {high:g}", v.domain.span)
    for bound in (v.domain.lower, v.domain.upper):
        for name, span in spoken(bound, facts) if bound is not None else ():
            other = facts.known.get(name)
            if other is not None and other.kind in ("param", "latent"):
                yield Problem(
                    "E027",
                    f"the bound of `{v.name}` holds the {other.kind} `{name}`",
                    span,
                    "bounds hold givens and numbers",
                )


def _default(v: Variable, default: Expr, facts: Facts) -> Iterator[Problem]:
    number = constant(default)
    if number is not None and not v.domain.structured and not KINDS[v.domain.kind].holds(number):
        yield Problem(
            "E055", f"the default of `{v.name}` is {number:g}, and its domain is {v.domain.kind}", default.span
        )
    for name, span in spoken(default, facts):
        other = facts.known.get(name)
        if other is not None and other.kind != "given":
            hint = "a default is an expression of constants, sizes and other givens"
            yield Problem("E055", f"the default of `{v.name}` holds the {other.kind} `{name}`", span, hint)


def needs_normaliser(facts: Facts, potential: Potential) -> str | None:
    """Why the density is not normalised beside this factor, or None where it is (or its constant is constant)."""
    touched = list(dict.fromkeys(name for name, _ in spoken(potential.expression, facts)))
    params = [n for n in touched if n in facts.known and facts.known[n].kind == "param"]
    random = [n for n in touched if n in facts.known and facts.known[n].kind in ("latent", "observed")]
    if not random:
        return None
    if params:
        return (
            f"this factor holds the param `{params[0]}` beside `{random[0]}`: its normaliser depends on `{params[0]}`"
        )
    for name in sorted(random):
        param = _param_behind(name, facts)
        if param is not None:
            behind = f"whose distribution depends on the param `{param}`"
            return f"this factor couples `{name}`, {behind}: so would a normaliser"
    return None


def _param_behind(name: str, facts: Facts) -> str | None:
    names, seen = [name], set()
    while names:
        here = names.pop()
        v = facts.known.get(here)
        if here in seen or v is None:
            continue
        seen.add(here)
        if v.kind == "param":
            return here
        if v.distribution is not None:
            names += [n for e in expressions_of(v.distribution) for n, _ in spoken(e, facts)]
    return None


# ---------------------------------------------------------------------------- warnings


def warnings(model: ModelText, scope: Scope) -> tuple[Problem, ...]:
    """Names that nothing uses, sizes that stand in one place."""
    used = {r.target for r in scope.references if r.owner != r.target}
    out = []
    for v in model.variables:
        if v.kind != "observed" and v.name not in used:
            code = {"param": "W002", "latent": "W003", "given": "W004"}[v.kind]
            out.append(Problem(code, f"nothing uses the {v.kind} `{v.name}`", v.span))
    out += [Problem("W005", f"nothing uses `{x.name}`", x.span) for x in model.lets if x.name not in used]
    uses = _size_uses(model)
    equated = {n for a, b, _ in model.equal_sizes for x in (a, b) for n in getattr(x, "names", ())}
    plates = {n for v in model.variables for p in v.plates for n in getattr(p.size, "names", ())}
    for size in model.sizes:
        if scope.size_uses.get(size.name, 0) <= 1 and uses.get(size.name, 0) <= 1 and size.name not in plates:
            if size.name in equated and size.declared:
                continue
            hint = "is it another size, misspelt?" if not size.declared else None
            out.append(Problem("W001", f"the size `{size.name}` is used once only", size.span, hint))
    return tuple(sorted(out, key=lambda p: (p.span.line, p.span.column))[:MOST_PROBLEMS])


def _size_uses(model: ModelText) -> dict[str, int]:
    """In how many variables and lets each size takes part."""
    out: dict[str, int] = {}
    shapes: list[Shape] = [x.shape for x in model.lets]
    shapes += [v.shape if v.domain.levels is None else (*v.shape, v.domain.levels) for v in model.variables]
    for shape in shapes:
        for n in {n for size in shape for n in getattr(size, "names", ())}:
            out[n] = out.get(n, 0) + 1
    return out
