"""Latents that are functions of others, `latent twice[n] ~ Delta(2 * h[n])`: substituted where they are read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from emdsl.derive.joint.spikes import is_point_mass
from emdsl.errors import ModelError, Problem
from emdsl.language import model as m


def functions_of(model: m.ModelText) -> dict[str, tuple[str, ...]]:
    """The latents that are substituted, each with those that are not and that it is a function of."""
    latents = {v.name: v for v in model.of_kind("latent")}
    values = {
        n: _value(v) for n, v in latents.items()
        if isinstance(v.distribution, m.FamilyCall) and is_point_mass(v.distribution.family)
    }  # fmt: skip
    lets = {let.name: let.body for let in model.lets}

    def sources(e: m.Expr, on_the_way: tuple[str, ...]) -> Iterator[str]:
        for name in dict.fromkeys(part.name for part in m.walk(e) if isinstance(part, m.Var)):
            through = lets.get(name, values.get(name))
            if through is not None and name not in on_the_way:
                yield from sources(through, (*on_the_way, name))
            elif name in latents and through is None:
                yield name

    return {n: tuple(dict.fromkeys(sources(e, (n,)))) for n, e in values.items()}


def without_functions(model: m.ModelText, hint: str) -> m.ModelText:
    """The model whose `infer` lines leave out what follows from latents that they name beside it.

    Raises `ModelError` where a line wants a distribution of such a latent by itself: it has none.
    """
    functions, lines, problems = functions_of(model), [], []
    for line in model.infer:
        if line.method == "exact":
            lines.append(line)
            continue
        kept = []
        for group, whole in zip(line.groups, line.grouped, strict=True):
            if rest := tuple(n for n in group if n not in functions):
                kept.append((rest, whole))
                continue
            of = ", ".join(functions[group[0]]) or "data and parameters alone"
            text = f"{group[0]} is a function of {of}: it has no distribution of its own to find by {line.method}"
            problems.append(Problem("E120", text, line.span, hint))
        if kept:
            groups, grouped = zip(*kept, strict=True)
            lines.append(replace(line, groups=groups, grouped=grouped))
    if problems:
        raise ModelError(problems, model.source)
    return replace(model, infer=tuple(lines))


def as_lets(model: m.ModelText) -> m.ModelText:
    """The model in which these latents are names of their expressions, of which nobody needs a value."""
    names = [n for n in functions_of(model) if _is_plain(model.variable(n))]
    lets = [m.Let(n, model.variable(n).plates, _value(model.variable(n)), model.variable(n).span) for n in names]
    return replace(model, variables=tuple(v for v in model.variables if v.name not in names), lets=(*model.lets, *lets))


def _is_plain(v: m.Variable) -> bool:
    """Whether the expression has the shape of an element, and reads no other element of its own."""
    e = _value(v)
    return e.shape == v.array + v.domain.dims and not any(isinstance(p, m.Var) and p.name == v.name for p in m.walk(e))


def _value(v: m.Variable) -> m.Expr:
    assert isinstance(v.distribution, m.FamilyCall)
    return v.distribution.args[0][1]
