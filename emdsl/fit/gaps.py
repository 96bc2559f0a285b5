"""Models in which what is missing of observed variables is latent: rewritten before anything is derived of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from emdsl.derive.joint.elements import apart
from emdsl.derive.posteriors.held import may_be_held
from emdsl.families import PRELUDE
from emdsl.families.table import mixture
from emdsl.language import model as m
from emdsl.language.lengths import rename
from emdsl.language.transform import substituted


def seen(name: str) -> str:
    """The name of the data of a variable that is a latent where they are missing; no user's name has a blank."""
    return f"{name} seen"


def scale_of(name: str) -> str:
    """The name of the latent scale of a variable that is Gaussian given it."""
    return f"{name} scale"


def seen_through_points(resolved: m.ModelText, names: tuple[str, ...]) -> m.ModelText:
    """`observed z` becomes `latent z` with `observed (z seen) ~ Delta(z)`; missing ones leave that factor out."""
    variables: list[m.Variable] = []
    resolved = apart(resolved, names)
    for v in resolved.variables:
        if v.name not in names:
            variables.append(v)
            continue
        point = m.FamilyCall(PRELUDE()["Delta"], 0, (("value", _element(v, v.name)),), (), (), v.span)
        data = replace(v, kind="observed", name=seen(v.name), distribution=point, data_of=v.name)
        variables += [replace(v, kind="latent"), data]
    return replace(resolved, variables=tuple(variables))


def is_one_integer(v: m.Variable) -> bool:
    """Whether each number of a variable has a mass of its own: no vector of counts with a total."""
    return v.domain.discrete and not may_be_held(v)


def is_one_number(v: m.Variable) -> bool:
    """Whether an element of a variable is one continuous number, which an interval can hold."""
    return v.domain.interval and not v.domain.dims and not v.array


def through_scales(resolved: m.ModelText, names: tuple[str, ...]) -> m.ModelText:
    """`y ~ MvStudentT(df, m, S)` becomes `(y scale) ~ Gamma(df/2, df/2)` and `y ~ MvNormal(m, S / (y scale))`.

    Cells of a Gaussian vector can be integrated out one by one; what is left of y's own density is the same.
    """
    variables: list[m.Variable] = []
    for v in resolved.variables:
        call = v.distribution
        parts = mixture(call.family) if isinstance(call, m.FamilyCall) and v.name in names and not v.array else None
        if parts is None or not isinstance(call, m.FamilyCall) or call.event != v.domain.dims:
            variables.append(v)
            continue
        values = {**dict(call.args), "scale": _element(v, scale_of(v.name))}
        scale, own = (_within(p, call, values) for p in parts)
        domain = m.Domain("positive", span=v.span)
        variables += [
            replace(v, kind="latent", name=scale_of(v.name), domain=domain, distribution=scale),
            replace(v, distribution=own),
        ]
    return replace(resolved, variables=tuple(variables))


def _element(v: m.Variable, name: str) -> m.Expr:
    """The element of a variable on the plates of `v`, where it has no axes of its own."""
    shape = tuple(p.size for p in v.plates)
    places = tuple(m.Loop(p.index, p.size) for p in v.plates)
    return m.Index(m.Var(name, shape), places, ()) if places else m.Var(name, ())


def _within(part: m.FamilyCall, call: m.FamilyCall, values: Mapping[str, m.Expr]) -> m.FamilyCall:
    """A call of a mixture in the arguments and lengths of the family's own call."""
    lengths = dict(call.sizes)
    args = tuple((n, substituted(e, values, lengths)) for n, e in part.args)
    bound = tuple((n, rename(s, lengths)) for n, s in part.sizes)
    event = tuple(rename(s, lengths) for s in part.event)
    return replace(part, args=args, event=event, sizes=bound, span=call.span)


def hold(resolved: m.ModelText, names: tuple[str, ...]) -> m.ModelText:
    """Parameters as givens without priors."""
    variables = tuple(
        replace(v, kind="given", distribution=None) if v.kind == "param" and v.name in names else v
        for v in resolved.variables
    )
    return replace(resolved, variables=variables)


def unseen(name: str) -> str:
    """The name of an observed variable's unseen copy; no user's name has a quote."""
    return f"{name}'"


def with_unseen_copy(resolved: m.ModelText, name: str) -> m.ModelText:
    """`latent y'` beside `observed y`, with the same density."""
    copy = replace(resolved.variable(name), kind="latent", name=unseen(name))
    return replace(resolved, variables=(*resolved.variables, copy))
