"""Whether data have few enough configurations of discrete latents to be enumerated where no `infer` line asks."""

from __future__ import annotations

from math import log2, prod

from emdsl.derive.algebra.expr import El
from emdsl.derive.joint.factors import Configurations
from emdsl.derive.joint.plates import plate_names
from emdsl.derive.plan import Plan
from emdsl.derive.posteriors.configurations import MOST
from emdsl.language import model as m
from emdsl.runtime.data.binding import Bound

MOST_UNASKED = 2**23  # numbers that an iteration makes: at most about a second, and 64 MB in one array


def too_many(plan: Plan, bound: Bound) -> str:
    """What is told where the configurations of these data are too many to be enumerated unasked; "" where they are not.

    Counted are the covariances of what is Gaussian in each configuration, and the states of its elements.
    """
    found, model = plan.joint.configurations, plan.joint.model
    if found is None or any(line.method == "exact" for line in model.infer):
        return ""
    first = model.variable(found.latents[0])
    groups = _rows(first.plates[: found.depth], bound)
    inner = {n: _within(model.variable(n), found.depth, bound) for n in found.latents}
    levels = {n: _levels(model.variable(n), bound) for n in inner}
    bits = sum(log2(max(1, levels[n])) * count for n, count in inner.items())
    numbers = sum(_numbers(model.variable(n), bound) for n in _beside(plan, found)) / max(1, groups)
    if bits + log2(max(1, groups)) + log2(numbers**2 + sum(inner.values()) + 1) <= log2(MOST_UNASKED):
        return ""
    told = " * ".join(f"{levels[n]}^{count}" for n, count in inner.items())
    each = f" in each of {groups} {plate_names(first)[found.depth - 1]}" if found.depth else ""
    names = ", ".join(found.latents)
    asked = f" (infer {names} by exact would)" if bits <= log2(MOST) else ""
    return f"{told} configurations of {names}{each} are more than are enumerated unasked{asked}"


def _beside(plan: Plan, found: Configurations) -> list[str]:
    """The continuous latents that are found in each configuration."""
    gated = [
        b for b in plan.elimination.blocks if any(isinstance(g.of, El) and g.of.var == found.name for g in b.neighbours)
    ]
    return [n for b in gated if not b.states for n in b.latents if n not in plan.joint.multipliers]


def _levels(v: m.Variable, bound: Bound) -> int:
    return v.domain.levels.value(bound.sizes) if isinstance(v.domain.levels, m.Dim) else 2


def _within(v: m.Variable, depth: int, bound: Bound) -> int:
    """How many elements of a latent a configuration has: of ragged ones as many as the longest."""
    plates = v.plates[depth:]
    if depth and plates and isinstance(plates[-1].size, m.Ragged):
        return int(max(bound.ragged[plates[-1].size.name].lengths, default=0))
    return _rows(plates, bound)


def _rows(plates: tuple[m.Plate, ...], bound: Bound) -> int:
    """How many elements there are on these plates."""
    count = 1
    for p in plates:
        if isinstance(p.size, m.Ragged):  # and those outside it
            count = len(bound.ragged[p.size.name].row)
        else:
            count *= p.size.value(bound.sizes)
    return count


def _numbers(v: m.Variable, bound: Bound) -> int:
    own = prod(d.value(bound.sizes) for d in (*v.array, *v.domain.dims) if isinstance(d, m.Dim))
    return own * _rows(v.plates, bound)
