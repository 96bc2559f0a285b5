"""Where the density of a latent has kinks: a density that is smooth between them is integrated piece by piece.

y[n] ~ Normal(a + abs(u[n] - c), s)       a kink at c: the points of u lie on (-inf, c) and on (c, inf)
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr, Idx, Ix
from emdsl.derive.algebra.scalars import derivatives
from emdsl.derive.joint.factors import Factor, LogJoint
from emdsl.derive.joint.plates import home_of
from emdsl.derive.joint.sides import side_in
from emdsl.derive.joint.terms import terms
from emdsl.derive.posteriors.block import place

KINKED = ("abs", "min", "max")
JUMPING = ("lt", "le", "gt", "ge")
EQUAL = ("eq", "ne")
MOST = 4  # kinks of one latent: beyond, pieces are many and each kink is small


def is_kinked(factors: Iterable[Factor], name: str, kinked: Collection[str] = KINKED) -> bool:
    """Whether a latent stands inside what has a kink."""
    held = (e for f in factors for part in (f.body, *f.masks) for e in x.walk(part))
    inside = (e for e in held if isinstance(e, x.Fn) and e.name in kinked)
    return any(name in x.variables(e) for e in inside)


def kinks_of(joint: LogJoint, name: str, kinds: Mapping[str, str]) -> tuple[Expr, ...]:
    """The kinks of a latent number on its own plates; none where other latents decide where they lie, or many are."""
    v = joint.model.variable(name)
    if v.domain.dims or v.domain.kind == "count":
        return ()
    others = {o.name for o in joint.model.of_kind("latent")} - {name}
    places = _kinks(joint, name, kinds, KINKED)
    found = dict.fromkeys(k for k in places if k is not None and not others & x.variables(k))
    return tuple(found) if len(found) <= MOST else ()


def jumps_of(joint: LogJoint, name: str, kinds: Mapping[str, str]) -> tuple[Expr, ...]:
    """Where densities of a latent number jump, if data and numbers alone say where; else none."""
    v = joint.model.variable(name)
    if v.domain.dims or v.domain.kind == "count" or _has_mass(joint, name):
        return ()
    moving = {o.name for o in joint.model.variables if o.kind in ("latent", "param")}
    found = dict.fromkeys(_kinks(joint, name, kinds, JUMPING))
    known = tuple(k for k in found if k is not None and not moving & x.variables(k))
    return known if len(known) == len(found) <= MOST else ()


def _has_mass(joint: LogJoint, name: str) -> bool:
    """Whether a density asks if a latent equals a number: it has a mass there, which no points between jumps meet."""
    held = (e for f in joint.factors for part in (f.body, *f.masks) for e in x.walk(part))
    sides = (a for e in held if isinstance(e, x.Fn) and e.name in EQUAL for a in e.args)
    return any(name in x.variables(x.rebuild(a, lambda e: x.ONE if _compares(e) else None)) for a in sides)


def _compares(e: Expr) -> bool:
    return isinstance(e, x.Fn) and e.name in x.COMPARISONS


def _kinks(joint: LogJoint, name: str, kinds: Mapping[str, str], kinked: Collection[str]) -> Iterator[Expr | None]:
    """The places at which such functions change; None for one that is not found."""
    home = home_of(joint.model.variable(name))
    for f in joint.factors:
        if not is_kinked((f,), name, kinked):
            continue
        for t in terms(f, side_in(kinds)):
            if not any(name in x.variables(e) for e in t.factors):
                continue
            neighbours: dict[tuple[str, tuple[Idx, ...]], Ix] = {}
            placed = place(t, (name,), home, (), neighbours, joint.levels)
            if isinstance(placed, str) or neighbours or not set(placed.ixs) <= set(home):
                yield None
                continue
            for e in (e for whole in placed.factors for e in x.walk(whole)):
                if isinstance(e, x.Fn) and e.name in kinked and name in x.variables(e):
                    apart = e.args[0] if e.name == "abs" else x.add(e.args[0], x.neg(e.args[1]))
                    yield from (_root(branch, name) for branch in _branches(apart, name))


def _branches(e: Expr, name: str) -> list[Expr]:
    """An expression under either argument of each `min` and `max` inside, and either sign of each `abs`."""
    inner = next((k for k in x.walk(e) if isinstance(k, x.Fn) and k.name in KINKED and name in x.variables(k)), None)
    if inner is None:
        return [e]
    ways = (inner.args[0], x.neg(inner.args[0])) if inner.name == "abs" else inner.args
    made = [x.put(e, inner, way) for way in ways]
    return [b for m in made if name in x.variables(m) for b in _branches(m, name)]


def _root(e: Expr, name: str) -> Expr | None:
    """Where an expression that is linear in one element is 0."""
    leaves = {leaf for leaf in x.walk(e) if isinstance(leaf, El) and leaf.var == name}
    if len(leaves) != 1:
        return None
    (leaf,) = leaves
    slopes = derivatives(leaf, e)
    if slopes is None or slopes[2] != x.ZERO:
        return None
    return x.mul(x.num(-1), x.put(e, leaf, x.ZERO), x.power(slopes[1], x.num(-1)))
