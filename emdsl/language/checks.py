"""What can be told only of a whole model: who may speak of whom, what is never used."""

from __future__ import annotations

from collections.abc import Iterator

from emdsl.errors import Problem, Span
from emdsl.language.dependence import cycle_problems
from emdsl.language.distributions import is_atom
from emdsl.language.inference import POINTWISE
from emdsl.language.integers import DISCRETE
from emdsl.language.model import (
    Branch, Dist, Expr, FamilyCall, If, ModelText, Plate, Potential, Ragged, Size, SumOver, Var, Variable, walk,
)  # fmt: skip
from emdsl.language.ranges import range_problems
from emdsl.language.scope import Scope


def final_problems(model: ModelText, scope: Scope) -> list[Problem]:
    """Problems of indices, cycles, conditions, priors, defaults and factors."""
    out = [*range_problems(scope), *cycle_problems(scope)]
    pointwise = any(line.method in POINTWISE for line in model.infer)
    for v in model.variables:
        out += _plate_conditions(v.plates, model)
        out += _bounds(v, model)
        if v.distribution is not None and v.kind == "param":
            out += _prior(v, v.distribution, model)
        if v.distribution is not None and not pointwise:
            out += _conditions(v.distribution, model)
        if v.default is not None:
            out += _default(v, v.default, model)
    for potential in model.potentials:
        reason = needs_normaliser(model, potential)
        if reason:
            hint = "a factor over parameters alone is a penalty; write the dependence as a distribution"
            out.append(Problem("E056", reason, potential.span, hint))
    return out


# ---------------------------------------------------------------------------- names behind names


def spoken(e: Expr, model: ModelText) -> Iterator[tuple[str, Span]]:
    """The variables that an expression speaks of, directly or through lets, with the place where it does."""
    lets = {x.name: x for x in model.lets}
    for x in walk(e):
        if not isinstance(x, Var):
            continue
        names, seen = [x.name], set()
        while names:
            name = names.pop()
            if name in seen:
                continue
            seen.add(name)
            if name in lets:
                names += [y.name for y in walk(lets[name].body) if isinstance(y, Var)]
            else:
                yield name, x.span


def kinds(model: ModelText) -> dict[str, Variable]:
    return {v.name: v for v in model.variables}


def expressions_of(dist: Dist) -> Iterator[Expr]:
    """Every expression of a distribution: conditions and arguments."""
    if isinstance(dist, Branch):
        yield dist.cond
        yield from expressions_of(dist.then)
        yield from expressions_of(dist.other)
    else:
        yield from (e for _, e in dist.args)


# ---------------------------------------------------------------------------- conditions


def _open(e: Expr, model: ModelText) -> tuple[str, str, Span] | None:
    """A parameter or continuous latent that a condition holds: its name, what it is, where."""
    known = kinds(model)
    for name, span in spoken(e, model):
        v = known.get(name)
        if v is not None and v.kind == "param":
            return name, "a param", span
        if v is not None and v.kind == "latent" and v.domain.kind not in DISCRETE:
            return name, "a continuous latent", span
    return None


def _conditions(dist: Dist, model: ModelText) -> Iterator[Problem]:
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
        found = _open(cond, model)
        if found is not None:
            name, what, span = found
            hint = "conditions hold loop names, sizes, data and discrete latents; for others say `infer ... by mcmc`"
            yield Problem("E053", f"this condition holds {what}, `{name}`", span, hint)


def _plate_conditions(plates: tuple[Plate, ...], model: ModelText) -> Iterator[Problem]:
    known = kinds(model)
    for plate in plates:
        for name, span in spoken(plate.condition, model) if plate.condition is not None else ():
            v = known.get(name)
            if v is not None and v.kind in ("param", "latent"):
                hint = "which elements a plate has is known: loop names, sizes, givens"
                yield Problem("E053", f"the condition of a plate holds the {v.kind} `{name}`", span, hint)


# ---------------------------------------------------------------------------- priors, bounds, defaults, factors


def _prior(v: Variable, dist: Dist, model: ModelText) -> Iterator[Problem]:
    known = kinds(model)
    for e in expressions_of(dist):
        for name, span in spoken(e, model):
            other = known.get(name)
            if other is not None and other.kind in ("latent", "observed"):
                hint = "a prior holds givens, sizes and other params"
                yield Problem("E054", f"the prior of `{v.name}` holds the {other.kind} `{name}`", span, hint)


def _bounds(v: Variable, model: ModelText) -> Iterator[Problem]:
    known = kinds(model)
    for bound in (v.domain.lower, v.domain.upper):
        for name, span in spoken(bound, model) if bound is not None else ():
            other = known.get(name)
            if other is not None and other.kind in ("param", "latent"):
                yield Problem("E027", f"the bound of `{v.name}` holds the {other.kind} `{name}`", span, "bounds hold givens and numbers")


def _default(v: Variable, default: Expr, model: ModelText) -> Iterator[Problem]:
    known = kinds(model)
    for name, span in spoken(default, model):
        other = known.get(name)
        if other is not None and other.kind != "given":
            hint = "a default is an expression of constants, sizes and other givens"
            yield Problem("E055", f"the default of `{v.name}` holds the {other.kind} `{name}`", span, hint)


def needs_normaliser(model: ModelText, potential: Potential) -> str | None:
    """Why the density is not normalised beside this factor, or None where it is (or its constant is constant)."""
    known = kinds(model)
    touched = list(dict.fromkeys(name for name, _ in spoken(potential.expression, model)))
    params = [n for n in touched if n in known and known[n].kind == "param"]
    random = [n for n in touched if n in known and known[n].kind in ("latent", "observed")]
    if not random:
        return None
    if params:
        return f"this factor holds the param `{params[0]}` beside `{random[0]}`: its normaliser depends on `{params[0]}`"
    for name in sorted(random):
        param = _param_behind(name, model)
        if param is not None:
            return f"this factor couples `{name}`, whose distribution depends on the param `{param}`: its normaliser would too"
    return None


def _param_behind(name: str, model: ModelText) -> str | None:
    known = kinds(model)
    names, seen = [name], set()
    while names:
        here = names.pop()
        v = known.get(here)
        if here in seen or v is None:
            continue
        seen.add(here)
        if v.kind == "param":
            return here
        if v.distribution is not None:
            names += [n for e in expressions_of(v.distribution) for n, _ in spoken(e, model)]
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
    for size in model.sizes:
        plate = any(p.size == x for v in model.variables for p in v.plates for x in p_sizes(p, size.name))
        if scope.size_uses.get(size.name, 0) <= 1 and uses.get(size.name, 0) <= 1 and not plate:
            if size.name in equated and size.declared:
                continue
            hint = "is it another size, misspelt?" if not size.declared else None
            out.append(Problem("W001", f"the size `{size.name}` is used once only", size.span, hint))
    return tuple(sorted(out, key=lambda p: (p.span.line, p.span.column)))


def p_sizes(plate: Plate, name: str) -> list[Size]:
    """The plate's own size where it is plainly this name."""
    size = plate.size
    return [size] if not isinstance(size, Ragged) and name in size.names else []


def _size_uses(model: ModelText) -> dict[str, int]:
    """In how many variables and lets each size takes part."""
    out: dict[str, int] = {}
    for v in (*model.variables, *model.lets):
        levels = v.domain.levels if isinstance(v, Variable) else None
        found = {n for size in (*v.shape, *([levels] if levels is not None else [])) for n in getattr(size, "names", ())}
        for n in found:
            out[n] = out.get(n, 0) + 1
    return out


__all__ = ["FamilyCall", "final_problems", "needs_normaliser", "spoken", "warnings"]
