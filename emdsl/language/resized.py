"""Declarations with every length replaced: by what it was found to be, or by a number."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

from emdsl.language.lengths import rename
from emdsl.language.model import (
    Branch,
    Dim,
    Dist,
    Domain,
    Expr,
    Let,
    Lookup,
    ModelText,
    Plate,
    Potential,
    Size,
    Variable,
)
from emdsl.language.transform import mapped

Resize = Callable[[Size], Size]


MOST = 12  # elements that a plate is written out as
UNTOLD = 3  # elements of a plan, where only data tell how many there are


def few(model: ModelText, names: Collection[str]) -> tuple[tuple[str, int], ...]:
    """Those of these sizes that may be written out, with their defaults; none of a text that is written out."""
    defaults = {s.name: UNTOLD if s.default is None else s.default.constant for s in model.sizes if s.name in names}
    return () if model.written_out else tuple((n, k) for n, k in defaults.items() if k is not None and k <= MOST)


def written_out(model: ModelText, numbers: tuple[tuple[str, int], ...]) -> ModelText:
    """The model in which these sizes are numbers, so that plates and sums over them are as many elements and terms."""
    if not numbers:
        return model
    lengths: dict[str, Size] = {name: Dim.of(value) for name, value in numbers}

    def size(s: Size) -> Size:
        return rename(s, lengths)

    return replace(
        model,
        variables=tuple(variable(v, size) for v in model.variables),
        lets=tuple(let(v, size) for v in model.lets),
        potentials=tuple(potential(v, size) for v in model.potentials),
        lookups=tuple(lookup(v, size) for v in model.lookups),
        written_out=numbers,
        by_name=model.variables,
    )


def expression(e: Expr | None, size: Resize) -> Expr | None:
    return None if e is None else mapped(e, size)


def plates(some: tuple[Plate, ...], size: Resize) -> tuple[Plate, ...]:
    return tuple(replace(p, size=size(p.size), condition=expression(p.condition, size)) for p in some)


def distribution(dist: Dist, size: Resize) -> Dist:
    if isinstance(dist, Branch):
        then, other = (distribution(d, size) for d in (dist.then, dist.other))
        return replace(dist, cond=mapped(dist.cond, size), then=then, other=other)
    return replace(
        dist,
        args=tuple((n, mapped(v, size)) for n, v in dist.args),
        event=tuple(map(size, dist.event)),
        sizes=tuple((n, size(s)) for n, s in dist.sizes),
    )


def domain(d: Domain, size: Resize) -> Domain:
    levels = None if d.levels is None else size(d.levels)
    lower, upper = (expression(e, size) for e in (d.lower, d.upper))
    return replace(d, dims=tuple(map(size, d.dims)), levels=levels, lower=lower, upper=upper)


def variable(v: Variable, size: Resize) -> Variable:
    dist = None if v.distribution is None else distribution(v.distribution, size)
    return replace(
        v,
        plates=plates(v.plates, size),
        array=tuple(map(size, v.array)),
        domain=domain(v.domain, size),
        distribution=dist,
        default=expression(v.default, size),
    )


def let(v: Let, size: Resize) -> Let:
    return replace(v, plates=plates(v.plates, size), body=mapped(v.body, size))


def potential(v: Potential, size: Resize) -> Potential:
    return replace(v, plates=plates(v.plates, size), expression=mapped(v.expression, size))


def lookup(v: Lookup, size: Resize) -> Lookup:
    return replace(
        v,
        index=mapped(v.index, size),
        axis=size(v.axis),
        guards=tuple((mapped(c, size), holds) for c, holds in v.guards),
        loops=tuple((n, size(s)) for n, s in v.loops),
        before=tuple(mapped(e, size) for e in v.before),
    )
