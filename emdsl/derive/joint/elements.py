"""Vectors and arrays of discrete latents: their own axes are plates, so that each element is a latent of its own.

    latent z[n] : bool[3] ~ Bernoulli(p)     is     for k in 3: latent z[n, k] ~ Bernoulli(p[k])

Their array has the same axes either way, so nothing that reads it changes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from emdsl.language import model as m
from emdsl.language.transform import expressions_of

LETTERS = "kjhlnmrqpcbdefgiotuvwxyzas"


def apart(model: m.ModelText, observed: Iterable[str] = ()) -> m.ModelText:
    """The model in which discrete latents, and these observed variables, are numbers; itself where all are."""
    whole = {v.name for v in model.variables if has_elements(v) and (v.kind == "latent" or v.name in observed)}
    if not whole:
        return model
    names = _names(model)
    return replace(model, variables=tuple(_split(v, names) if v.name in whole else v for v in model.variables))


def has_elements(v: m.Variable) -> bool:
    """Whether a variable has axes of its own, over which its families are independent."""
    d = v.domain
    discrete = d.kind in ("bool", "category", "index") or (d.kind == "count" and d.upper is not None)
    return discrete and bool(v.array + d.dims) and not any(c.family.x.domain.dims for c in _calls(v.distribution))


def _calls(dist: m.Dist | None) -> list[m.FamilyCall]:
    if isinstance(dist, m.Branch):
        return _calls(dist.then) + _calls(dist.other)
    return [] if dist is None else [dist]


def _names(model: m.ModelText) -> list[str]:
    """Loop names that nothing in the model is called by."""
    taken = {v.name for v in model.variables} | {s.name for s in model.sizes} | {let.name for let in model.lets}
    plates = [*(v.plates for v in model.variables), *(e.plates for e in model.lets)]
    taken |= {p.index for some in (*plates, *(f.plates for f in model.potentials)) for p in some}
    for v in model.variables:
        read = () if v.distribution is None else expressions_of(v.distribution)
        taken |= {part.index for e in read for part in m.walk(e) if isinstance(part, m.Each | m.SumOver)}
    free = [c for c in LETTERS if c not in taken]
    return [*free, *(f"{c}{n}" for n in range(9) for c in LETTERS if f"{c}{n}" not in taken)]


def _split(v: m.Variable, names: list[str]) -> m.Variable:
    axes = (*v.array, *v.domain.dims)
    loops = tuple(m.Loop(n, size) for n, size in zip(names, axes, strict=False))
    plates = tuple(m.Plate(i.name, i.size, None, v.span) for i in loops)
    dist = None if v.distribution is None else _element(v.distribution, loops)
    domain = replace(v.domain, dims=())
    return replace(v, plates=(*v.plates, *plates), array=(), domain=domain, distribution=dist)


def _element(dist: m.Dist, loops: tuple[m.Loop, ...]) -> m.Dist:
    """The distribution of one element: arguments that have the axes of the whole are those of the element."""
    if isinstance(dist, m.Branch):
        return replace(dist, then=_element(dist.then, loops), other=_element(dist.other, loops))
    here = loops[len(loops) - len(dist.event) :]  # where no argument has the array's axes, the family is not about them
    own = {a.name: len(a.domain.dims) for a in dist.family.signatures[dist.signature].arguments}
    args = tuple((n, _at(e, here) if here and len(e.shape) > own[n] else e) for n, e in dist.args)
    return replace(dist, args=args, event=())


def _at(e: m.Expr, loops: tuple[m.Loop, ...]) -> m.Expr:
    base, before = (e.base, e.args) if isinstance(e, m.Index) else (e, ())
    return m.Index(base, (*before, *loops), e.shape[len(loops) :], e.span)
