"""Whether data have few enough configurations of discrete latents to be enumerated where no `infer` line asks."""

from __future__ import annotations

from math import log2, prod

import numpy as np

from emdsl.derive.algebra.expr import DataIx, El, Idx, Ix
from emdsl.derive.joint.factors import Configurations
from emdsl.derive.joint.plates import plate_names
from emdsl.derive.plan import Plan
from emdsl.derive.posteriors.configurations import MOST, MOST_UNASKED, asked
from emdsl.language import model as m
from emdsl.runtime.data.binding import Bound
from emdsl.runtime.data.columns import Array


def too_many(plan: Plan, bound: Bound) -> str:
    """What is told where the configurations of these data are too many to be enumerated unasked; "" where they are not.

    Counted are the covariances of what is Gaussian in each configuration, the states of its elements, and rows that
    find theirs through givens; the weights are those of the time that they take.
    """
    found, model = plan.joint.configurations, plan.joint.model
    if found is None or asked(model):
        return ""
    groups = _rows(found.plates, bound)
    inner = {n: _within(model.variable(n), found, bound) - _seen(n, found, bound) for n in found.latents}
    levels = {n: _levels(model.variable(n), bound) for n in inner}
    bits = sum(log2(max(1, levels[n])) * count for n, count in inner.items())
    bits += sum(log2(max(1, _levels(model.variable(n), bound))) for n in _states_beside(plan, found))
    numbers = sum(_numbers(model.variable(n), bound) for n in _beside(plan, found)) / max(1, groups)
    work = groups * (numbers**2 + sum(inner.values()) / 4) + 3 * _apart(found, bound)
    if bits + log2(max(1, work)) <= log2(MOST_UNASKED):
        return ""
    told = " * ".join(f"{levels[n]}^{count}" for n, count in inner.items())
    each = f" in each of {groups} {plate_names(model.variable(found.name))[-1]}" if found.plates else ""
    names = ", ".join(found.latents)
    could = bits <= log2(MOST) and bits + log2(max(1, work)) <= log2(16 * MOST_UNASKED)
    text = f"{told} configurations of {names}{each} are more than are enumerated unasked"
    return text + (f" (infer {names} by exact would)" if could else "")


def _beside(plan: Plan, found: Configurations) -> list[str]:
    """The continuous latents that are found in each configuration."""
    gated = [
        b for b in plan.elimination.blocks if any(isinstance(g.of, El) and g.of.var == found.name for g in b.neighbours)
    ]
    return [n for b in gated if not b.states for n in b.latents if n not in plan.joint.multipliers]


def _apart(found: Configurations, bound: Bound) -> int:
    """How many rows of data meet each configuration by themselves: those that do not lie on its plates."""
    seen = [v.plates for v in found.written.model.of_kind("observed") if v.plates[: len(found.plates)] != found.plates]
    return max((_rows(plates, bound) for plates in seen), default=0) if found.pointed else 0


def _states_beside(plan: Plan, found: Configurations) -> list[str]:
    """The discrete latents of which each state is met with each configuration."""
    return [n for b in plan.elimination.blocks if found.name in b.latents for n in b.latents if n != found.name]


def _levels(v: m.Variable, bound: Bound) -> int:
    return v.domain.levels.value(bound.sizes) if isinstance(v.domain.levels, m.Dim) else 2


def _within(v: m.Variable, found: Configurations, bound: Bound) -> int:
    """How many elements of a latent a configuration has: where groups differ as many as the longest."""
    plates = v.plates[found.inner(v.name) :]
    if v.name in found.pointed:
        counts = np.bincount(_places(found.pointed[v.name], bound))
        return int(counts.max(initial=0)) * _rows(plates[1:], bound)
    if found.plates and plates and isinstance(plates[-1].size, m.Ragged):
        return int(max(bound.ragged[plates[-1].size.name].lengths, default=0))
    return _rows(plates, bound)


def _seen(latent: str, found: Configurations, bound: Bound) -> int:
    """How many elements of a latent that is data in part have one state, where one configuration holds all of it."""
    data = next((v.name for v in found.written.model.variables if v.data_of == latent), None)
    mask = None if data is None or found.plates else bound.masks.get(data)
    return 0 if mask is None else int(np.sum(mask))


def _places(at: Idx, bound: Bound) -> Array:
    """Where givens lead the elements of a plate."""
    assert isinstance(at, DataIx) and isinstance(at.value, El)
    values, inner = bound.values[at.value.var], at.value.idx[0]
    return values if isinstance(inner, Ix) else values[_places(inner, bound)]


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
