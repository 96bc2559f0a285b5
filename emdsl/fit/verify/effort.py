"""How dear an E-step is of a model with latents at points, known before anything is fitted."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from emdsl.derive.algebra.expr import variables
from emdsl.derive.joint.factors import Cloud, Configurations, LogJoint
from emdsl.derive.posteriors.clouds import dimensions
from emdsl.derive.posteriors.quadrature import count_of
from emdsl.derive.posteriors.slopes import components
from emdsl.derive.posteriors.tail_moments import POINTS
from emdsl.derive.updates.curvature import kinked
from emdsl.derive.updates.rules import Numeric, Update
from emdsl.families.scope import Array
from emdsl.fit.few import too_many
from emdsl.fit.verify.world import Unchecked
from emdsl.runtime.fitting.climbs import is_sampled

MOST_POINTS = 1000  # of an element, with which fits of many rows are made: 31 in each of two dimensions, not 61 in 61
MOST_NUMBERS = 250_000  # at which log densities are evaluated: an iteration of EM takes a fifth of a second there


def points_of(joint: LogJoint) -> int:
    """The points asked for of an element of the model, in all pieces: those inside others once for each of these."""
    found = _inside(joint, lambda c: int(c.points ** len(components(c, joint))) * (len(c.kinks) + 1))
    return max(found.values(), default=1)


def numbers_of(joint: LogJoint, latents: Mapping[str, Array]) -> int:
    """At how many numbers an E-step evaluates a log density: all elements of these latents at all their points, or in
    all configurations, of two states each at least."""
    most = _configured(joint.configurations, latents) if joint.configurations else 0
    for name, points in _inside(joint, lambda c: count_of(c, joint)).items():
        each = dimensions(joint.model.variable(name), joint.model) or 1
        most = max(most, points * math.prod(np.shape(latents.get(name, 0.0))) // each)
        most = max(most, points * _within(joint, name, latents))
    return most


def _within(joint: LogJoint, name: str, latents: Mapping[str, Array]) -> int:
    """Elements of discrete latents that factors hold beside those of a cloud, in all states of these factors: each is
    summed over anew at each of its points."""
    found = next(c.latents for c in joint.clouds if c.name == name)
    most = 0
    for f in (f for n in found for f in joint.holding.get(n, ())):
        read = {n for e in (f.body, *f.masks, *f.gates) for n in variables(e)}
        states = (joint.discrete - joint.in_clouds) & read & latents.keys()
        rows = max((int(np.size(latents[n])) for n in states), default=0)
        most = max(most, rows * 2 ** len(states))
    return most


def _configured(found: Configurations, latents: Mapping[str, Array]) -> int:
    """All elements of discrete latents in each of their configurations; of those counted by place nothing is said."""
    shapes = [(np.shape(latents.get(n, 0.0)), found.inner(n)) for n in found.latents if n not in found.pointed]
    groups = max((math.prod(shape[:inner]) for shape, inner in shapes), default=1)
    each = sum(math.prod(shape[inner:]) for shape, inner in shapes)
    return int(groups * each * 2 ** min(each, 60))


def told_at(joint: LogJoint) -> int:
    """At how many numbers moments are evaluated for each at which a log density is: those of what is integrated out by
    its tails are integrals, at each point of others."""
    return POINTS if joint.tails and joint.clouds else 1


def searched(updates: Sequence[Update]) -> tuple[str, ...]:
    """Parameters that each M-step searches for across kinks, by hundreds of passes over the data."""
    rules = [(u, u.rule) for u in updates if isinstance(u.rule, Numeric)]
    dear = (
        u
        for u, rule in rules
        if rule.data and not rule.likelihood and u.kind == "gradient" and kinked(rule.whole, u.params)
    )
    return tuple(n for u in dear for n in u.params)


def refuse_dear_gaps(estimator: Any, arrays: Mapping[str, Array], data: Mapping[str, Any]) -> None:
    """Raises Unchecked where gaps of data make latents that are drawn, of a model whose own are not: what a fit tells
    then has the digits of a sample, at a price above that of all other checks. So have their configurations, where
    they are more than are enumerated unasked of latents (gaps never turn an exact fit into a bound).

    arrays : the data as they are drawn. data : as an estimator takes them."""
    if not any(a.dtype.kind == "f" and np.isnan(a).any() for a in map(np.asarray, arrays.values())):
        return
    with estimator._told():
        bound = estimator._bind(data)
    variant = getattr(estimator, "_variant", None)  # a printed module has none
    if variant is not None and variant.tied is None and (why := too_many(variant.current.derived, bound)):
        raise Unchecked(why)
    if is_sampled(estimator._module):
        raise Unchecked("where entries are missing latents are drawn, and what is told is that of a sample")


def grown(joint: LogJoint, times: int) -> int:
    """How many times as many points an element has where a fit has taken so many times as many in each dimension."""
    return int(max(_inside(joint, lambda c: times ** len(components(c, joint))).values(), default=1))


def _inside(joint: LogJoint, own: Callable[[Cloud], int]) -> dict[str, int]:
    """Of each cloud its own points, times those of the cloud around it."""
    found = {c.name: own(c) for c in joint.clouds}
    return {c.name: found[c.name] * (found[c.outer] if c.outer else 1) for c in joint.clouds}
