"""Draws of which what is exact given them knows nothing: their density, all else summed out, on each independent part.

    log p(b, y) = sum over u of log sum over z of p(b, z, y in part u)

What elimination leaves are terms of the draws alone. Where each lies on one element of a plate that parts the latents,
a kernel moves the draws of every part on their sum, side by side, and the exact latents are never drawn: Gibbs steps
between a latent and the class that it tells are slow, or stand still (Liu 1994, "The collapsed Gibbs sampler").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import DataIx, El, Idx, Ix
from emdsl.derive.algebra.made import FIT, FREE, LOG_NORMALISER, WEIGHT, among, made_of
from emdsl.derive.joint.factors import LogJoint
from emdsl.derive.joint.plates import home_of, in_terms_of
from emdsl.derive.joint.terms import Term
from emdsl.derive.posteriors.block import Block
from emdsl.derive.posteriors.blocks import Elimination, eliminate, enumerable
from emdsl.derive.posteriors.draws import KERNELS, Drawn, Sampling, drawable
from emdsl.errors import ModelError
from emdsl.language import model as m

LEFT = (LOG_NORMALISER, FIT, FREE)  # what an eliminated block leaves


def collapsed(draws: Sampling, elimination: Elimination, model: m.ModelText) -> Sampling:
    """The same draws, their kernels on the density in which the rest is summed out, where its terms come apart."""
    first = {home_of(model.variable(n))[:1] for n in draws.latents}
    outer = {i.dim for home in first for i in home}
    if not draws.rest or len(outer) != 1 or () in first:
        return draws
    unit = Ix(*next((i.name, i.dim) for home in first for i in home))
    seen: dict[str, Idx | None] = {}
    for block in elimination.blocks:
        limits = [e for c in block.cuts for e in (c.mask, c.lower, c.upper) if e is not None]
        reads = [*(t.factors for t in block.all_terms), limits]
        found = {_outside(block, i) for read in reads for i in _places(read, draws, seen, elimination)}
        found |= {i for i in block.outside if i.dim == unit.dim and found}
        if len(found) > 1 or not all(set(x.free(El("", (i,)))) <= set(block.outside) for i in found):
            return draws
        seen[block.name] = next(iter(found), None)
    apart = []
    for t in elimination.free:
        places = _places(t.factors, draws, seen, elimination)
        if len(places) > 1:
            return draws
        apart += [_on_unit(t, i, unit) for i in places]
    if not apart or any(a is None for a in apart):
        return draws
    groups = tuple(_moved_by_kernel(g, unit, set(draws.rest)) for g in draws.groups)
    groups = (*(g for g in groups if g.collapsed), *(g for g in groups if not g.collapsed))
    return replace(draws, groups=groups, units=(unit,), apart=tuple(a for a in apart if a is not None))


def why_undrawn(joint: LogJoint, weighted: str | None) -> ModelError | None:
    """Why what is exact given the draws cannot be drawn, to move them."""
    try:
        enumerable(drawable(eliminate(joint, weighted), joint.model).blocks, joint.model)
    except ModelError as why:
        return why
    return None


def _moved_by_kernel(g: Drawn, unit: Ix, summed: set[str]) -> Drawn:
    """A group that no conditional closes for: by the kernel asked for, else by one that needs no gradient. What is
    summed out cuts it nowhere."""
    if g.elimination is not None:
        return g
    kernel = "slice" if KERNELS[g.kernel].sloped and not g.asked else g.kernel
    ends = tuple((n, i) for n, i in g.ends if not (x.variables(i.lower) | x.variables(i.upper)) & summed)
    return replace(g, kernel=kernel, batch=(unit,), collapsed=True, ends=ends)


def _places(
    factors: Sequence[x.Expr], draws: Sampling, seen: Mapping[str, Idx | None], elimination: Elimination
) -> set[Idx]:
    """The elements of the plate that parts the latents which the factors of a term read, themselves or through what was
    summed out."""
    blocks = {b.name: b for b in elimination.blocks}
    out: set[Idx] = set()
    told: dict[Idx, Ix] = {
        DataIx(f.of): f.at for f in factors if isinstance(f, x.Sel) and isinstance(f.at, Ix)
    }  # where group[n] == g, the element at group[n] is the one at g
    for e in (e for f in factors for e in x.walk(f) if isinstance(e, El)):
        if e.var in draws.latents:
            out.add(in_terms_of(e.idx[0], told))
        elif among(e.var, LEFT) and (name := made_of(e.var)[1][0]) in blocks and seen.get(name) is not None:
            block = blocks[name]
            axes = block.home if e.var in FREE else (*block.gates, *block.outside)
            place = x.substitute(El("", (seen[name],)), dict(zip(axes, e.idx, strict=False)))  # type: ignore[arg-type]
            assert isinstance(place, El)
            out.add(in_terms_of(place.idx[0], told))
    return out


def _outside(block: Block, i: Idx) -> Idx:
    """An index of a block's own element as the plates outside it see it: of a chain, whole sequences."""
    if block.chain is None:
        return i
    seen: dict[Ix, Idx] = {r: o for r, o in zip(block.chain.rows, block.chain.outer, strict=True) if isinstance(r, Ix)}
    place = x.substitute(El("", (i,)), seen)
    assert isinstance(place, El)
    return place.idx[0]


def _on_unit(t: Term, place: Idx, unit: Ix) -> Term | None:
    """A term of the log-likelihood on the element of the plate that it lies on; None where it is a sum over these."""
    bare = tuple(e for e in t.factors if not (isinstance(e, El) and e.var == WEIGHT))
    if isinstance(place, DataIx):
        return replace(t, factors=(*bare, x.sel(x.value_of(place), unit)), ixs=(*t.ixs, unit))
    if not isinstance(place, Ix) or place not in t.ixs:
        return None
    clash = {unit: x.fresh(unit.dim)} if unit in t.ixs and unit != place else {}
    to: dict[Ix, Idx] = {**clash, place: unit}
    return Term(t.coef, t.gates, tuple(x.substitute(f, to) for f in bare), tuple(_renamed(i, to) for i in t.ixs))


def _renamed(i: Ix, to: Mapping[Ix, Idx]) -> Ix:
    new = to.get(i, i)
    assert isinstance(new, Ix)
    return new
