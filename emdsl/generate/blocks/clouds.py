"""Printing clouds: the points that stand for a latent, and what is known of it under them."""

from __future__ import annotations

import math

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Ix
from emdsl.derive.algebra.made import AT, VOLUME, Q
from emdsl.derive.joint.factors import POINTS as OF_POINTS
from emdsl.derive.joint.factors import Cloud, LogJoint
from emdsl.derive.joint.plates import home_of
from emdsl.derive.joint.ranges import range_of
from emdsl.derive.plan import Plan
from emdsl.derive.posteriors.block import Block
from emdsl.derive.posteriors.quadrature import bounded, counts
from emdsl.derive.posteriors.slopes import components
from emdsl.generate.context import Function
from emdsl.generate.lines.arrays import Array, Leaf
from emdsl.generate.lines.kept import POINTS, TABLE
from emdsl.generate.lines.names import plain


def block_of(plan: Plan, cloud: Cloud) -> Block:
    """The block in which the points of a cloud are summed."""
    return next(b for b in plan.elimination.blocks if cloud.name in b.latents)


def around(block: Block, cloud: Cloud) -> tuple[Ix, ...]:
    """Of a block of points inside another cloud the index of that one's points."""
    of = [g for g in block.gates if g.dim == f"{cloud.outer}{OF_POINTS}"]
    return tuple(of) if cloud.outer else ()


def density_name(plan: Plan, cloud: Cloud) -> str:
    """The name of the function that evaluates a cloud's log density."""
    name = f"log_density_of_{plain(cloud.name)}"
    user = {v.name for v in plan.joint.model.variables} | {s.name for s in plan.joint.model.sizes}
    while name in user:
        name += "_"
    return name


def point_leaves(f: Function, cloud: Cloud, code: str, cut: bool) -> None:
    """An array of points (D, Q, *plates) under the names of the latents."""
    every = components(cloud, f.plan.joint)
    for n in cloud.latents:
        mine = [k for k, c in enumerate(every) if c.latent == n]
        home = len(home_of(f.plan.joint.model.variable(n))) + cloud.lead - 1
        if every[mine[0]].at is None:
            f.runtime[AT.of(n)] = Leaf(f"{code}[{mine[0]}]", tuple(range(home + 1)), True, cut=cut)
        else:
            part = f"{code}[{mine[0]} : {mine[-1] + 1}]"
            f.runtime[AT.of(n)] = Leaf(part, (home + 1, *range(home + 1)), True, cut=cut)


def emit_points(f: Function, cloud: Cloud, density: str, around: str = "") -> None:
    """The points of a cloud and the volumes they stand for, before anything reads them; `around`: code of the points
    that they lie around, of a cloud outside."""
    em, joint = f.emitter, f.plan.joint
    home = home_of(joint.model.variable(cloud.name))
    parts = ("points", "volume", "table", "density")
    points, volume, table, made = (em.namer.fresh(f"{part}_{cloud.name}") for part in parts)
    beside = ", factors" if f.plan.elimination.parts else ""
    em.outer.append(f"{made} = {density}(params, prepared{beside})")
    chunked = em.chunk is not None
    memory = f'prepared["the modes"]["{cloud.name}"]' + (f"[..., {em.namer.cut}]" if chunked else "")
    given = ["rows"] if chunked else []
    if cloud.outer:
        around = around or f.runtime[POINTS.of(cloud.outer)].code
        given.append(around)
        memory = f"for_each({memory}, {around}.shape[1])"
    own = em.namer.fresh("each") if cloud.outer else "at"
    at = f"lambda {own}, slopes=False: {made}({', '.join(given)}, {own}, slopes)" if given else made
    block = block_of(f.plan, cloud)
    with f.part(block, "ends"):
        left = ends(cloud, f) if cloud.ends else limits(cloud, f)
    bounds = ", ".join(f"({', '.join(bound)})" for bound in left)
    rule = f'prepared["the rules"]["{cloud.name}"]'
    cuts = kinks(cloud, f) or bends(cloud, f)
    where = f"points for {', '.join(cloud.latents)}: {rule_of(cloud, joint)} "
    em.comment(where + ("about" if counts(cloud, joint) else "at") + " the mode of each element, with its "
               + ("width" if counts(cloud, joint) else "curvature"))  # fmt: skip
    if cloud.shared:
        rows = em.size(home[0].dim)
        with f.part(block, "points"):
            em.outer.append(f"{points}, {volume} = lattice({made}, {rule}, {rows})")
        f.runtime[AT.of(cloud.name)] = Leaf(f"{points}[0]", (0,))
        f.runtime[VOLUME.of(cloud.name)] = Leaf(volume, (0,))
        return
    way = "at_counts" if counts(cloud, joint) else "piecewise" if cloud.kinks else "adapted"
    way = "between_bends" if cloud.bends else way
    between = f"[{', '.join(cuts)}], " if cuts else ""
    with f.part(block, "points"):
        em.lines.append(f"{points}, {volume}, {table} = {way}({at}, [{bounds}], {between}{rule}, {memory})")
    if cloud.bends:  # how many they are is known with the bends
        count = em.size(cloud.dimension)
        f.unpacked.pop(count, None)
        em.lines.append(f"{count} = {points}.shape[1]")
    point_leaves(f, cloud, points, cut=chunked)
    axes = tuple(range(len(home) + cloud.lead))
    f.runtime[POINTS.of(cloud.name)] = Leaf(points, (0,))
    f.runtime[VOLUME.of(cloud.name)] = Leaf(volume, axes, True, cut=chunked)
    f.runtime[TABLE.of(cloud.name)] = Leaf(table, axes, True, cut=chunked)


def rule_of(cloud: Cloud, joint: LogJoint) -> str:
    """The name of the rule by which its points are placed."""
    if counts(cloud, joint):
        return "counts"
    if cloud.bends:
        return "Gauss-Legendre panels, cut at kinks,"
    return "the doubly exponential rule" if bounded(cloud, joint) else "Gauss-Hermite"


def cloud_fields(f: Function, block: Block, cloud: Cloud) -> list[tuple[str, str, Array]]:
    """The mean and the variance (of a vector, the covariance) of each latent under the points: name, field, array."""
    em, joint = f.emitter, f.plan.joint
    q = El(Q.of(block.name), (*block.states, *block.gates, *block.home))
    point = (block.states[block.latents.index(cloud.name)], *around(block, cloud))
    home = home_of(joint.model.variable(cloud.name))
    out = []
    for n in cloud.latents:
        own = [x.fresh(str(d)) for d in joint.model.variable(n).domain.dims]
        other = [x.fresh(i.dim) for i in own]
        mean = em.name(f"mean_{n}", em.contract([q, El(AT.of(n), (*point, *home, *own))], (*own, *home)))
        f.runtime[f"mean of {n}"] = Leaf(mean.code, (*range(len(home), len(home) + len(own)), *range(len(home))), True,
                                         cut=em.chunk is not None)  # fmt: skip
        out.append((n, "id", mean))
        apart = [x.add(El(AT.of(n), (*point, *home, *i)), x.neg(El(f"mean of {n}", (*home, *i)))) for i in (own, other)]
        spread = [x.power(apart[0], x.num(2))] if not own else apart
        out.append((n, "cov" if own else "var", em.contract([q, *spread], (*own, *(other if own else ()), *home))))
    return out


def ends(cloud: Cloud, f: Function) -> list[tuple[str, str]]:
    """Code of the ends of the interval that data leave each number of an element: arrays on its plates."""
    em, out = f.emitter, []
    them = "it" if len(cloud.latents) == 1 else "them"
    em.comment(f"the interval that the conditions on {', '.join(cloud.latents)} leave {them}")
    for c, left in zip(components(cloud, f.plan.joint), cloud.ends, strict=True):
        v = f.plan.joint.model.variable(c.latent)
        found = range_of(v)
        assert not isinstance(found, str)
        most = [x.fn(tighter, e, x.Num(own)) for tighter, e, own in zip(("max", "min"), left, found, strict=True)]
        name = v.name if c.at is None else f"{v.name}_{c.at}"
        sides = [em.name(f"{side}_{name}", em.value(e)) for side, e in zip(("lower", "upper"), most, strict=True)]
        low, high = (em.align(a, em.order(home_of(v))) if a.axes else a.code for a in sides)
        out.append((low, high))
    return out


def kinks(cloud: Cloud, f: Function) -> list[str]:
    """Code of the places of kinks: arrays on the plates."""
    if not cloud.kinks:
        return []
    em, v = f.emitter, f.plan.joint.model.variable(cloud.name)
    em.comment(f"where the density of {cloud.name} has kinks")
    found = [em.name(f"kink_{v.name}", em.value(e)) for e in cloud.kinks]
    return [em.align(a, em.order(home_of(v))) if a.axes else a.code for a in found]


def bends(cloud: Cloud, f: Function) -> list[str]:
    """Code of the places of kinks at rows: arrays, the plates last."""
    em, home, out = f.emitter, home_of(f.plan.joint.model.variable(cloud.name)), []
    if cloud.bends:
        em.comment(f"where the density of {cloud.name} has kinks")
    for b in cloud.bends:
        axes = b.over if b.owner is not None else (*b.over, *home)
        own = [em.length(i) for i in home]
        shape = "-1" if b.owner is not None else ", ".join(["-1", *own])
        flat = f"np.reshape({em.broadcast(em.value(b.at), axes).code}, ({shape},))"
        if b.owner is not None:
            flat = f"{flat}, np.ravel({em.broadcast(em.value(b.owner), axes).code}), {own[0]}"
        found = Array(f"bends_of({flat})" if b.owner is not None else flat, axes, True)
        out.append(em.name(f"bend_{cloud.name}", found).code)
    return out


def limits(cloud: Cloud, f: Function) -> list[tuple[str, str]]:
    """Code of the bounds of each dimension."""
    out = []
    for c in components(cloud, f.plan.joint):
        found = range_of(f.plan.joint.model.variable(c.latent))
        assert not isinstance(found, str)
        low, high = found
        out.append(("None" if low == -math.inf else repr(low), "None" if high == math.inf else repr(high)))
    return out
