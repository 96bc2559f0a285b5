"""Clouds inside others: points of one latent that are placed anew for each point of another one.

integral over a, b of f(a) g(a, b)  =  sum over p of volume_p f(a_p) (sum over q of volume_pq g(a_p, b_pq))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Idx
from emdsl.derive.joint.factors import Cloud, LogJoint
from emdsl.derive.joint.plates import home_of, in_terms_of
from emdsl.derive.posteriors.clouds import dimensions


def about_one(cloud: Cloud, joint: LogJoint) -> tuple[Cloud, ...]:
    """Latents of one plate of which each meets only one and the same other (a gap of three rows: its middle) as clouds
    inside that one's; () where there is none, or they are no single numbers."""
    names, model = set(cloud.latents), joint.model
    alike = len({model.variable(n).plates for n in names}) == 1
    if not alike or any(dimensions(model.variable(n), model) != 1 for n in names):
        return ()
    met = [names & {n for e in (f.body, *f.masks) for n in x.variables(e)} for f in joint.factors]
    one = next((n for n in cloud.latents if all(len(m - {n}) <= 1 for m in met)), None)
    if one is None:
        return ()
    home = home_of(model.variable(one))
    others = (replace(cloud, latents=(n,), outer=one, place=home) for n in cloud.latents if n != one)
    return (replace(cloud, latents=(one,)), *others)


def nested(joint: LogJoint, clouds: Sequence[Cloud]) -> tuple[Cloud, ...]:
    """Clouds of which some lie inside others: an element of one meets one element of the other, on fewer plates."""
    out = list(clouds)
    for n, inner in enumerate(clouds):
        for outer in clouds:
            place = _around(joint, inner, outer)
            free = not out[n].outer and not any(c.outer for c in out if c.name == outer.name)
            if place is not None and free and all(c.outer != inner.name for c in out):
                out[n] = replace(inner, outer=outer.name, place=place)
    return tuple(sorted(out, key=lambda c: bool(c.outer)))


def _around(joint: LogJoint, inner: Cloud, outer: Cloud) -> tuple[Idx, ...] | None:
    """The one element of a cloud that each element of another one meets, in terms of the plates of the latter."""
    own = home_of(joint.model.variable(inner.name))
    depth = len(home_of(joint.model.variable(outer.name)))
    found: set[tuple[Idx, ...]] = set()
    for f in joint.factors:
        mine = {e.idx[: len(own)] for e in x.walk(f.body) if isinstance(e, El) and e.var in inner.latents}
        theirs = {e.idx[:depth] for e in x.walk(f.body) if isinstance(e, El) and e.var in outer.latents}
        found |= {tuple(in_terms_of(i, dict(zip(a, own, strict=True))) for i in b) for a in mine for b in theirs}
    if len(found) != 1 or inner is outer:
        return None
    (place,) = found
    return place if set(x.free(El("", place))) <= set(own) and place != own else None
