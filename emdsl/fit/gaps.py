"""Models in which what is missing of observed variables is latent: rewritten before anything is derived of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from emdsl.derive.joint.elements import apart
from emdsl.derive.posteriors.held import may_be_held
from emdsl.errors import ModelError, Problem
from emdsl.families import PRELUDE
from emdsl.families.moments import Moments, moments
from emdsl.families.table import mixture, record
from emdsl.fit.branches import leaves
from emdsl.language import model as m
from emdsl.language.bounds import is_cut
from emdsl.language.left_out import deciding
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


def refuse_deciding(resolved: m.ModelText, names: tuple[str, ...]) -> None:
    """Raises ModelError for variables that say which elements a plate has: what is missing of one is no latent."""
    for name in (n for n in names if n in deciding(resolved)):
        text = f"which elements a plate has is what {name} says: no entry of it may be missing"
        raise ModelError(Problem("E053", text, resolved.variable(name).span), resolved.source)


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


# ---------------------------------------------------------------- unseen copies by their moments


def no_mean(name: str) -> str:
    """The name of a copy whose mean is how probable it is that a variable has none."""
    return f"{name}' has no mean"


def no_variance(name: str) -> str:
    """The same of a variance."""
    return f"{name}' has no variance"


def may_stand_still(domain: m.Domain) -> bool:
    """Whether a number of this kind may have no spread, so that its copy by moments has a variance of 1 more."""
    return domain.discrete or domain.kind == "simplex"


def with_moments(resolved: m.ModelText, name: str) -> m.ModelText | None:
    """`latent y'` beside `observed y`, Gaussian with its mean and variance; None where one density's are not known.

    Of families that lack a mean or a variance for some arguments, two more copies say how probable these are.
    """
    v = resolved.variable(name)
    assert v.distribution is not None
    if v.array or not all(has_moments(call, v) for call in leaves(v.distribution)):
        return None
    real = m.Domain("real", v.domain.dims, span=v.span)
    copies = [replace(v, kind="latent", name=unseen(name), domain=real, distribution=_each(v.distribution, v, _copy))]
    if any(_known(call).variance_finite is not None for call in leaves(v.distribution)):
        for called, leaf in ((no_mean(name), _lacks_mean), (no_variance(name), _lacks_variance)):
            own = len(next(iter(leaves(v.distribution))).family.x.domain.dims)
            dims = v.domain.dims[: len(v.domain.dims) - own]
            flag = replace(v, kind="latent", name=called, domain=m.Domain("real", dims, span=v.span))
            copies.append(replace(flag, distribution=_each(v.distribution, flag, leaf)))
    return replace(resolved, variables=(*resolved.variables, *copies))


def has_moments(call: m.FamilyCall, v: m.Variable) -> bool:
    """Whether a variable under a family is all that the family says of it: known moments, no domain cut."""
    found, own, domain = record(call.family), call.family.x.domain, v.domain
    if found is None or moments(call.family, call.signature) is None:
        return False
    if len(own.dims) not in (0, len(call.event)):
        return False  # several vectors in one
    if found.atom:
        return True
    return own.kind == domain.kind and not is_cut(domain, call)


def _known(call: m.FamilyCall) -> Moments:
    found = moments(call.family, call.signature)
    assert found is not None
    return found


def _each(dist: m.Dist, v: m.Variable, leaf: Callable[[m.FamilyCall, m.Variable], m.FamilyCall]) -> m.Dist:
    if isinstance(dist, m.FamilyCall):
        return leaf(dist, v)
    return replace(dist, then=_each(dist.then, v, leaf), other=_each(dist.other, v, leaf))


def _copy(call: m.FamilyCall, v: m.Variable) -> m.FamilyCall:
    found, told = record(call.family), _known(call).gaussian
    if found is not None and found.atom and v.name and may_stand_still(v.domain):
        told = _normal(dict(told.args)["value"], ())
    args = tuple((n, _spread(e, call)) for n, e in told.args)
    sizes = tuple((n, rename(s, dict(call.sizes))) for n, s in told.sizes)
    return replace(told, args=args, sizes=sizes, event=call.event, span=call.span)


def _lacks_mean(call: m.FamilyCall, flag: m.Variable) -> m.FamilyCall:
    return _lacks(_known(call).mean_exists, call, flag)


def _lacks_variance(call: m.FamilyCall, flag: m.Variable) -> m.FamilyCall:
    return _lacks(_known(call).variance_finite, call, flag)


def _lacks(condition: m.Expr | None, call: m.FamilyCall, flag: m.Variable) -> m.FamilyCall:
    lacks = m.Num(0) if condition is None else _spread(m.Call("not", (condition,), ()), call)
    return replace(_normal(lacks, flag.domain.dims), span=call.span)


def _normal(mean: m.Expr, event: m.Shape) -> m.FamilyCall:
    """Normal(mean, var = 1)."""
    return m.FamilyCall(PRELUDE()["Normal"], 1, (("mean", mean), ("var", m.Num(1))), event)


def _spread(e: m.Expr, call: m.FamilyCall) -> m.Expr:
    """An expression of a family's arguments in those of a call; of a family of numbers, over the axes of a vector."""
    if call.family.x.domain.dims:
        return substituted(e, dict(call.args), dict(call.sizes))
    if isinstance(e, m.Var):
        return dict(call.args).get(e.name, e)
    if not isinstance(e, m.Call):
        return e
    args = tuple(_spread(a, call) for a in e.args)
    return replace(e, args=args, shape=max((a.shape for a in args), key=len, default=()))
