"""Discrete latents that tie what elimination would have to keep apart: all their configurations, one by one.

    p(y) = sum over c of p(z = z_c) p(y | z = z_c),       q(c) proportional to its addend

Classes of groups beside effects that cross the groups, or a chain of classes that switches a Gaussian chain: given
all classes together the rest is one field. So which configuration it is is one discrete latent, whose states are the
vectors z_c, and `z[g] = k` is data under it: `sel(z_c[g], k)`. What follows (the fields gated by it, their
normalisers, statistics, mixed moments) is what a class that gates a field has anyway. The number of configurations
is K^G for G elements of K states: exact while that is small, and refused with the number where it is not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from types import MappingProxyType

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import DataIx, El, Idx, Ix
from emdsl.derive.algebra.made import BEYOND, CONFIGURED, POSITION
from emdsl.derive.joint.element import Tensors
from emdsl.derive.joint.factors import Configurations, Factor, LogJoint
from emdsl.derive.joint.plates import conditions_of, home_of, plate_indices, pointed_at
from emdsl.derive.posteriors.blocks import Elimination, eliminate
from emdsl.derive.posteriors.chains import distance
from emdsl.derive.posteriors.separate import intractable
from emdsl.errors import ModelError
from emdsl.language import model as m

MOST = 65_536  # configurations
MOST_UNASKED = 6_000_000  # numbers that an iteration makes of them: about half a second, and 48 MB in one array
TOGETHER = 4  # latents of which every set is tried
NOTHING: Mapping[str, Idx] = MappingProxyType({})


def asked(model: m.ModelText) -> bool:
    """Whether an `infer` line asks for configurations, however many there are."""
    return any(line.method == "exact" for line in model.infer)


def with_configurations(
    joint: LogJoint, latents: Sequence[str], plates: tuple[m.Plate, ...], pointed: Mapping[str, Idx] = NOTHING
) -> LogJoint:
    """The joint in which these latents are functions of one: which configuration they are in, on these plates."""
    first = joint.model.variable(latents[0])
    taken = {v.name for v in joint.model.variables} | {s.name for s in joint.model.sizes}
    name = f"configuration_{first.name}"
    while name in taken:
        name += "_"
    dimension = f"{first.name}[configurations]"
    found = Configurations(name, tuple(latents), dimension, plates, joint, pointed)
    one = replace(first, name=name, plates=plates, distribution=None, domain=m.Domain("index", span=first.span))
    model = replace(joint.model, variables=(*joint.model.variables, one))
    factors = [_configured(f, found, joint.model) for f in joint.factors]
    told = {
        n: replace(t, mean=tuple(_configured(f, found, joint.model) for f in t.mean),
                   second=tuple(_configured(f, found, joint.model) for f in t.second))
        for n, t in joint.told.items()
    }  # fmt: skip
    factors += [f for n in latents for f in (*_where_absent(n, found, joint), *_too_long(n, found, joint))]
    return replace(
        joint, model=model, factors=tuple(factors), levels={**joint.levels, name: dimension},
        discrete=joint.discrete | {name}, configurations=found, told=told,
    )  # fmt: skip


def place_in(
    v: m.Variable, idx: tuple[Idx, ...], found: Configurations, model: m.ModelText
) -> tuple[tuple[Idx, ...], ...]:
    """An element's place on the plates of the configurations, and within them: of a ragged plate, and of one that lies
    there through givens, its position there."""
    depth = len(found.plates)
    if v.name in found.pointed:
        there = x.substitute(El("", (found.pointed[v.name],)), dict(zip(home_of(v), idx, strict=False)))
        assert isinstance(there, El)
        return there.idx, (DataIx(El(POSITION.of(v.name), idx[:1])), *idx[1:])
    if not depth or not _ragged(v):
        return idx[:depth], idx[depth:]
    scope, (row,), _ = Tensors(model).enter(v.plates)
    known = distance(idx[0]) if isinstance(idx[0], Ix | DataIx) else None
    here, lag = known or (idx[0], 0)  # an element before another lies in the same sequence
    moved = x.substitute(El("", tuple(scope.loops[p.index] for p in v.plates)), {row: here})
    assert isinstance(moved, El)
    position = x.as_index(x.add(x.value_of(moved.idx[-1]), x.num(-lag)))
    return moved.idx[:depth], (*moved.idx[depth:-1], position)


def uneven(found: Configurations, model: m.ModelText) -> list[str]:
    """The latents of which not every place has as many elements."""
    return [n for n in found.latents if n in found.pointed or (found.plates and _ragged(model.variable(n)))]


def _ragged(v: m.Variable) -> bool:
    return any(isinstance(p.size, m.Ragged) for p in v.plates)


def _configured(f: Factor, found: Configurations, model: m.ModelText) -> Factor:
    """The factor under the configuration of the elements that it reads; `z[g] = k` is a selector of data there."""
    chosen: dict[tuple[Idx, ...], Ix] = {}
    gates, masks = [], []
    for g in f.gates:
        assert isinstance(g.of, El)
        if g.of.var not in found.latents:
            gates.append(g)
            continue
        place, rest = place_in(model.variable(g.of.var), g.of.idx, found, model)
        at = chosen.setdefault(place, x.fresh(found.dimension))
        masks.append(x.sel(El(CONFIGURED.of(g.of.var), (at, *rest)), g.at))
    gates += [x.Sel(El(found.name, place), at) for place, at in chosen.items()]
    return replace(f, gates=tuple(gates), masks=(*f.masks, *masks), plates=(*f.plates, *chosen.values()))


def _where_absent(name: str, found: Configurations, joint: LogJoint) -> tuple[Factor, ...]:
    """Elements that a filtered plate leaves out have all of their states alike: they count as one."""
    v = joint.model.variable(name)
    conditions = conditions_of(v, joint.model)
    if not conditions:
        return ()
    home, at = home_of(v), x.fresh(found.dimension)
    gone = x.add(x.ONE, x.neg(x.mul(*conditions)))
    body = x.neg(x.fn("log", x.SizeN(joint.levels[name])))
    gate = x.Sel(El(found.name, place_in(v, home, found, joint.model)[0]), at)
    return (Factor(name, "latent", (gate,), (gone,), body, (*home, at), v.span),)


def _too_long(name: str, found: Configurations, joint: LogJoint) -> tuple[Factor, ...]:
    """Where there are fewer elements than in the longest those configurations alone count that are 0 beyond them."""
    v = joint.model.variable(name)
    if name not in uneven(found, joint.model):
        return ()
    outer, at = plate_indices(found.plates), x.fresh(found.dimension)
    gate = x.Sel(El(found.name, outer), at)
    return (Factor(name, "latent", (gate,), (), El(BEYOND.of(name), (at, *outer)), (*outer, at), v.span),)


def by_configurations(joint: LogJoint, weighted: str | None) -> tuple[LogJoint, Elimination] | None:
    """As few latents by configurations as let the rest be exact, within as many plates as may be; None: none do."""
    parts = intractable(joint, weighted)
    for latents in (c for c in _choices(joint) if all(p.intersection(c) for p in parts)):
        for plates, pointed in _within(latents, joint.model):
            made = with_configurations(joint, latents, plates, pointed)
            try:
                found = eliminate(made, weighted)
            except ModelError:
                continue
            networks = {n for b in found.blocks if b.network for n in b.latents}
            if made.configurations is not None and made.configurations.name not in networks:
                return made, found
    return None


def _within(latents: Sequence[str], model: m.ModelText) -> Iterator[tuple[tuple[m.Plate, ...], Mapping[str, Idx]]]:
    """Plates in which these latents lie, the most first: their own, those that rows point at, none."""
    variables = [model.variable(n) for n in latents]
    for depth in range(_common(latents, model), 0, -1):
        if not any(_ragged(v) and (depth > 1 or len(v.plates) > 2) for v in variables):
            yield variables[0].plates[:depth], {}
    plain = all(v.plates and not _ragged(v) and v.plates[0].condition is None for v in variables)
    of = {str(p.size): p for v in model.variables for p in v.plates[:1] if p.condition is None}
    for (outer,), inside in pointed_at({v.name: home_of(v) for v in variables}, model) if plain else ():
        pointed = {n: at for n, (at,) in inside.items() if not isinstance(at, Ix)}
        if pointed and outer.dim in of:
            yield (of[outer.dim],), pointed
    yield (), {}


def _choices(joint: LogJoint) -> Iterator[tuple[str, ...]]:
    """One discrete latent, then two, ...; all at once where they are many."""
    free = [v.name for v in joint.model.of_kind("latent")
            if v.name in joint.discrete and v.name not in joint.deterministic and not v.array]  # fmt: skip
    counts = range(1, len(free) + 1) if len(free) <= TOGETHER else (1, len(free))
    for count in counts:
        yield from combinations(free, count)


def _common(latents: Sequence[str], model: m.ModelText) -> int:
    """How many first plates these latents share, ragged and filtered ones left out: all but the last of one."""
    plates = [model.variable(n).plates for n in latents]
    common = 0
    for level in zip(*plates, strict=False):
        plain = all(not isinstance(p.size, m.Ragged) and p.condition is None for p in level)
        if not plain or len({str(p.size) for p in level}) > 1:
            break
        common += 1
    return min(common, max(len(p) for p in plates) - 1) if common else 0
