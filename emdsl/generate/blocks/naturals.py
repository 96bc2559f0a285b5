"""Natural parameters of continuous blocks as code, and where later lines find what their posteriors hand out."""

from __future__ import annotations

from collections.abc import Sequence

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import Expr, Ix
from emdsl.derive.algebra.made import ARGUMENT, MOMENT
from emdsl.derive.joint.records import WHOLE, Posterior
from emdsl.derive.posteriors.block import Block
from emdsl.derive.posteriors.cuts import CUT_FIELDS
from emdsl.generate.blocks.once import contracted
from emdsl.generate.context import Function, size_factor
from emdsl.generate.lines.arrays import Array, Leaf
from emdsl.generate.lines.kept import MOMENTS


def where_there(f: Function, exists: Sequence[Expr], value: Array, otherwise: float) -> Array:
    """A value where an element is there; where a filtered plate leaves it out, one that nothing depends on."""
    if not exists:
        return value
    em = f.emitter
    there = em.name("there", em.value(x.mul(*exists)))
    axes = em.order((*dict.fromkeys([*value.axes, *there.axes]),))
    code = f"np.where({em.align(there, axes)}, {em.align(value, axes) if value.axes else value.code}, {otherwise})"
    return Array(code, axes, value.inner or there.inner)


def natural(f: Function, block: Block, record: Posterior, statistic: str, neutral: float) -> Array:
    """What multiplies one statistic in the terms of a block, by name; `neutral` where an element is left out."""
    em = f.emitter
    axes = em.order((*block.gates, *block.own, *block.home))
    parts = [contracted(f, t, axes) for t, r in zip(block.terms, block.roles, strict=True) if r == statistic]
    value = em.sum(parts) if parts else Array("0.0", ())
    if record.rank < 2 or statistic in WHOLE:
        value = where_there(f, block.exists, value, neutral)
    elif block.exists:  # a multiple of the identity where an element is not there
        gone = x.add(x.ONE, x.neg(x.mul(*block.exists)))
        value = em.sum([value, em.contract([x.num(neutral), gone, x.delta(*block.own)], axes)])
    if record.rank and statistic not in WHOLE:
        value = em.broadcast(value, em.order((*[i for i in axes if i in value.axes or i in block.own],)))
    value = em.name(f"eta_{statistic.replace('^', '')}_{block.name}", value)
    return value if value.axes else Array(value.code, (), value.inner)


def hand_out_moments(
    f: Function, block: Block, record: Posterior, moments: str, arguments: Sequence[Array], union: tuple[Ix, ...],
    inner: bool,
) -> None:  # fmt: skip
    """Where later lines find the moments and the arguments of a posterior, whose arrays are on `union`."""
    em, name = f.emitter, block.name
    cut = em.chunk is not None and any(i.dim == em.chunk for i in union)
    order = (*block.gates, *block.home, *block.own)
    stored = tuple(order.index(i) for i in union)
    arguments_of = CUT_FIELDS if block.cuts and f.drawing else record.fields
    places_of = dict.fromkeys((*record.moments, *arguments_of), stored)
    places_of |= {k: tuple(order.index(i) for i in union if i not in block.own) for k in WHOLE if k in places_of}
    for kind in record.moments:
        f.runtime[MOMENT.of(name, kind)] = Leaf(f'{moments}["{kind}"]', places_of[kind], inner, cut=cut)
    for argument in arguments_of:
        code = f'{moments}["arguments"]["{argument}"]'
        if (
            union and not record.rank and (block.cuts or any(a.axes != union for a in arguments))
        ):  # one may be the same along a plate
            shape = ", ".join(em.length(i) if i.dim == em.chunk else size_factor(i.dim) for i in union)
            code = f"np.broadcast_to({code}, ({shape},))"
        f.runtime[ARGUMENT.of(name, argument)] = Leaf(code, places_of[argument], inner, cut=cut)
    f.runtime[MOMENTS.of(name)] = Leaf(moments, stored, inner, cut=cut)
