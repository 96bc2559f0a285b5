"""Where the density of a latent has kinks: a density that is smooth between them is integrated piece by piece.

y[n] ~ Normal(a + abs(u[n] - c), s)       a kink at c: the points of u lie on (-inf, c) and on (c, inf)
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import DataIx, El, Expr, Idx, Ix
from emdsl.derive.algebra.scalars import derivatives
from emdsl.derive.joint.factors import Bend, Factor, LogJoint
from emdsl.derive.joint.plates import home_of
from emdsl.derive.joint.sides import side_in
from emdsl.derive.joint.terms import Term, terms
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


def bends_of(joint: LogJoint, name: str, kinds: Mapping[str, str]) -> tuple[Bend, ...]:
    """All kinks of a latent number where some are of rows that hold it; none where one of them is not found."""
    v = joint.model.variable(name)
    if v.domain.dims or v.domain.kind == "count" or _has_mass(joint, name):
        return ()
    home, kinked, found = home_of(v), (*KINKED, *JUMPING), dict[Bend, None]()
    others = {o.name for o in joint.model.of_kind("latent") if o.name not in joint.discrete} - {name}
    for t in _terms_with(joint, name, kinds, kinked):
        for e, apart in _bending(t, name, kinked):
            for k in (_root(branch, name) for branch in _branches(apart, name)):
                bend = None if k is None or others & x.variables(k) else _of_element(k, e, name, home)
                if bend is None:
                    return ()
                found[bend] = None
    alone = {*kinks_of(joint, name, kinds), *jumps_of(joint, name, kinds)}
    return tuple(found) if any(b.at not in alone for b in found) else ()


def followed(joint: LogJoint, by_factors: bool) -> tuple[str, ...]:
    """Latents at points that lie between the kinks of their densities, where the log-likelihood is the integral's."""
    return () if by_factors else tuple(c.name for c in joint.clouds if c.kinks or c.bends)


def _of_element(at: Expr, e: Expr, name: str, home: tuple[Ix, ...]) -> Bend | None:
    """A kink of the element that a function holds: of that at home, or of one on a single plate that data tell."""
    held = {leaf.idx for leaf in x.walk(e) if isinstance(leaf, El) and leaf.var == name}
    own = held.pop()[: len(home)]
    if held:
        return None
    if len(own) == 1 and isinstance(own[0], DataIx):
        whose = x.value_of(own[0])
        return Bend(at, tuple(dict.fromkeys((*x.free(at), *x.free(whose)))), whose)
    if len(set(own)) < len(own) or not all(isinstance(i, Ix) for i in own):
        return None
    to: dict[Ix, Idx] = {h: x.fresh(h.dim) for h in home if h not in own}
    to |= {i: h for i, h in zip(own, home, strict=True) if isinstance(i, Ix)}
    at = x.substitute(at, to)
    return Bend(at, tuple(i for i in x.free(at) if i not in home))


def _terms_with(joint: LogJoint, name: str, kinds: Mapping[str, str], kinked: Collection[str]) -> Iterator[Term]:
    """The terms with a latent of the factors in which it stands inside what has a kink."""
    for f in joint.factors:
        if is_kinked((f,), name, kinked):
            yield from (t for t in terms(f, side_in(kinds)) if any(name in x.variables(e) for e in t.factors))


def _bending(placed: Term, name: str, kinked: Collection[str]) -> Iterator[tuple[Expr, Expr]]:
    """Functions with a kink, each with what is 0 there."""
    for e in (e for whole in placed.factors for e in x.walk(whole)):
        if isinstance(e, x.Fn) and e.name in kinked and name in x.variables(e):
            yield e, e.args[0] if e.name == "abs" else x.add(e.args[0], x.neg(e.args[1]))


def _kinks(joint: LogJoint, name: str, kinds: Mapping[str, str], kinked: Collection[str]) -> Iterator[Expr | None]:
    """The places at which such functions change; None for one that is not found."""
    home = home_of(joint.model.variable(name))
    for t in _terms_with(joint, name, kinds, kinked):
        neighbours: dict[tuple[str, tuple[Idx, ...]], Ix] = {}
        placed = place(t, (name,), home, (), neighbours, joint.levels)
        if isinstance(placed, str) or neighbours or not set(placed.ixs) <= set(home):
            yield None
            continue
        for _, apart in _bending(placed, name, kinked):
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
