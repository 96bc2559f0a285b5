"""Latents that no family closes, held as clouds: weighted points, of which one is the latent's value.

    integral over b of f(b) db  =  sum over q of volume_q f(b_q),      E[t(b)] = sum over q of w_q t(b_q)

So the latent is data (`at:b[q, g]`) under one more index, and which point it is is a discrete latent. Everything that
enumeration does holds: what is exact given the latent is summed out inside, statistics are those of a discrete
latent, and the normaliser over the points is the integral. Where the points lie is decided at each E-step: by
quadrature (Pinheiro and Bates 1995; Liu and Pierce 1994), or by draws.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr, Idx, Ix
from emdsl.derive.algebra.made import AT, VOLUME, among
from emdsl.derive.joint.element import Tensors
from emdsl.derive.joint.factors import Cloud, Factor, LogJoint
from emdsl.derive.joint.plates import home_of
from emdsl.errors import ModelError, Problem
from emdsl.language import model as m


def with_clouds(joint: LogJoint, clouds: Sequence[Cloud], settled: Sequence[Factor] = ()) -> LogJoint:
    """The joint in which these latents stand at one of their points. Raises `ModelError` for a sum over elements.

    settled : factors that say nothing but between which ends the points of a cloud lie.
    """
    owners = {n: c for c in clouds for n in c.latents}
    levels = {**joint.levels, **{c.name: c.dimension for c in clouds}}
    by_name = {c.name: c for c in clouds}
    factors = tuple(_at_points(f, owners, by_name, joint) for f in joint.factors if f not in settled)
    volumes = tuple(_volume(c, by_name, joint) for c in clouds)

    def placed(some: tuple[Factor, ...]) -> tuple[Factor, ...]:
        return tuple(_at_points(f, owners, by_name, joint) for f in some)

    told = {n: replace(t, mean=placed(t.mean), second=placed(t.second)) for n, t in joint.told.items()}
    return replace(
        joint, factors=(*factors, *volumes), levels=levels, told=told,
        discrete=joint.discrete | {c.name for c in clouds}, clouds=tuple(clouds), settled=tuple(settled),
    )  # fmt: skip


def _at_points(f: Factor, owners: Mapping[str, Cloud], by_name: Mapping[str, Cloud], joint: LogJoint) -> Factor:
    """The factor with a point of the cloud for each element that it reads, and that element's choice as a gate."""
    gates: dict[tuple[str, tuple[Idx, ...]], Ix] = {}
    home = {n: len(home_of(joint.model.variable(n))) for n in owners}

    def point(e: Expr) -> Expr | None:
        if not isinstance(e, El) or e.var not in owners:
            return None
        cloud = owners[e.var]
        place = e.idx[: home[e.var]]
        where = e.idx[home[e.var] :] if cloud.shared else e.idx
        around = () if not cloud.outer else (chosen_at(by_name[cloud.outer], _outer_place(cloud, place, joint)),)
        return El(AT.of(e.var), (chosen_at(cloud, place), *around, *where), e.sort)

    def chosen_at(cloud: Cloud, place: tuple[Idx, ...]) -> Ix:
        if (cloud.name, place) not in gates:
            gates[cloud.name, place] = x.fresh(cloud.dimension)
        return gates[cloud.name, place]

    body, masks = x.rebuild(f.body, point), tuple(x.rebuild(c, point) for c in f.masks)
    for name, place in gates:
        if not set(x.free(El("", place))) <= set(f.plates):
            text = f"a density reads the elements of {name} under a sum: they are integrated out one by one"
            raise ModelError(Problem("E110", text, f.span, "write the sum out, element by element"), joint.model.source)
    chosen = tuple(x.Sel(El(name, place), q) for (name, place), q in gates.items())
    return replace(f, gates=(*f.gates, *chosen), masks=masks, body=body, plates=(*f.plates, *gates.values()))


def _outer_place(cloud: Cloud, place: tuple[Idx, ...], joint: LogJoint) -> tuple[Idx, ...]:
    """The element of the cloud around, for an element of this one."""
    own = home_of(joint.model.variable(cloud.name))
    return tuple(_moved(i, dict(zip(own, place, strict=True))) for i in cloud.place)


def _moved(i: Idx, to: Mapping[Ix, Idx]) -> Idx:
    found = x.substitute(El("", (i,)), to)
    assert isinstance(found, El)
    return found.idx[0]


def _volume(cloud: Cloud, by_name: Mapping[str, Cloud], joint: LogJoint) -> Factor:
    """log of the volume that each point stands for."""
    v = joint.model.variable(cloud.name)
    _, plates, masks = Tensors(joint.model).enter(v.plates)
    q = x.fresh(cloud.dimension)
    gates, lead = [x.Sel(El(cloud.name, plates), q)], [q]
    if cloud.outer:
        lead.append(x.fresh(by_name[cloud.outer].dimension))
        gates.append(x.Sel(El(cloud.outer, _outer_place(cloud, plates, joint)), lead[1]))
    volume = El(VOLUME.of(cloud.name), (*lead, *(() if cloud.shared else plates)))
    return Factor(cloud.name, "latent", tuple(gates), masks, volume, (*plates, *lead), v.span)


def without_clouds(joint: LogJoint) -> LogJoint:
    """The joint in the latents themselves, as the model says it."""
    gone = {c.name for c in joint.clouds}
    lead = {n: c.lead for c in joint.clouds for n in c.latents}

    def itself(e: Expr) -> Expr | None:
        if not (isinstance(e, El) and e.var in AT):
            return None
        name = AT.named(e.var)
        return El(name, e.idx[lead[name] :], e.sort)

    factors = []
    for f in joint.factors:
        if any(n in VOLUME for n in x.variables(f.body)):
            continue
        points = {g.at for g in f.gates if isinstance(g.of, El) and g.of.var in gone}
        factors.append(
            replace(
                f, gates=tuple(g for g in f.gates if g.at not in points), body=x.rebuild(f.body, itself),
                masks=tuple(x.rebuild(c, itself) for c in f.masks),
                plates=tuple(i for i in f.plates if i not in points),
            )
        )  # fmt: skip
    levels = {n: d for n, d in joint.levels.items() if n not in gone}
    return replace(joint, factors=tuple(factors), levels=levels, discrete=joint.discrete - gone, clouds=())


def holds_points(f: Factor) -> bool:
    """Whether a factor reads a cloud."""
    return any(among(n, (AT, VOLUME)) for e in (f.body, *f.masks) for n in x.variables(e))


def dimensions(v: m.Variable, model: m.ModelText) -> int | None:
    """How many numbers one element of a latent is, sizes at their defaults; None where a length has none."""
    defaults = {s.name: s.default.constant for s in model.sizes if s.default is not None}
    out = 1
    for d in v.shape[len(v.plates) :]:
        length = None if isinstance(d, m.Ragged) else d.constant
        if length is None and not isinstance(d, m.Ragged):
            length = defaults.get(str(d))
        if length is None:
            return None
        out *= length
    return out
