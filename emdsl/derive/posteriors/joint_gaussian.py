"""Blocks of jointly Gaussian latents: which continuous latents belong together, and what makes them Gaussian."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Idx, Ix
from emdsl.derive.joint.factors import LogJoint
from emdsl.derive.joint.plates import home_of, inside_plates, plate_indices, pointed_at
from emdsl.derive.joint.ranges import EVERYWHERE, range_of
from emdsl.derive.joint.sides import classes, side_in
from emdsl.derive.joint.terms import Term, continuous_in, symmetry_of
from emdsl.derive.joint.terms import terms as terms_of
from emdsl.derive.joint.weights import weigh
from emdsl.derive.posteriors.block import Block, Tied, beside, place, touches
from emdsl.derive.posteriors.chains import Neighbours
from emdsl.derive.posteriors.fields import Field, Tie, atoms_of, field_role, place_outside, without_gates
from emdsl.derive.posteriors.gaussian import gaussian_axes, polynomial_role
from emdsl.derive.posteriors.roles import Monomial, Role, merge_roles, quadratic_in
from emdsl.errors import Problem, Span
from emdsl.language import model as m


def gaussian_block(
    left: Mapping[str, tuple[str, ...]], joint: LogJoint, pool: Sequence[Tied],
    kinds: Mapping[str, str], weighted: str | None, ways_out: str,
) -> Block | dict[str, Problem]:  # fmt: skip
    """The first set of continuous latents that is jointly Gaussian on shared plates; why the others are not."""
    reasons: dict[str, Problem] = {}
    seen: set[str] = set()
    for name in left:
        if name in joint.discrete or name in seen:
            continue
        latents = _together(name, joint, pool, kinds)
        seen |= set(latents)
        held = not joint.multipliers.keys().isdisjoint(latents)
        made = None if held else _made(latents, joint, pool, weighted, ways_out)
        if isinstance(made, Block):
            return made
        tied = _tied(latents, joint, pool, weighted, ways_out)
        if isinstance(tied, Block):
            return tied
        scaled = None if held else _scaled(latents, joint, pool, weighted, ways_out)
        if scaled is not None:
            return scaled
        if _meant(latents, joint, pool):
            reasons.update(dict.fromkeys(latents, tied))
    return reasons


def _together(name: str, joint: LogJoint, pool: Sequence[Tied], kinds: Mapping[str, str]) -> tuple[str, ...]:
    """The continuous latents that terms hold together with this one, in order of declaration."""
    found = {name}
    while True:
        terms = [t for t, _, _ in pool if touches(t, tuple(found))]
        more = found.union(*(continuous_in(t, kinds) for t in terms))
        if more == found:
            return tuple(v.name for v in joint.model.variables if v.name in found)
        found = more


def _made(
    latents: tuple[str, ...], joint: LogJoint, pool: Sequence[Tied], weighted: str | None,
    ways_out: str, scale: str | None = None,
) -> Block | Problem:  # fmt: skip
    name, names = latents[0], ", ".join(latents)
    variables = [joint.model.variable(n) for n in latents]
    home = home_of(variables[0])
    for v in variables:
        if [i.dim for i in home_of(v)] != [i.dim for i in home]:
            text = f"the posterior of {names} is not tractable: they lie on different plates and one density ties them"
            return Problem("E110", text, v.span, ways_out)
    g = gaussian_axes({v.name: [str(d) for d in (*v.array, *v.domain.dims)] for v in variables}, joint.incomplete)
    neighbours: Neighbours = {}
    terms: list[Term] = []
    roles: list[Role] = []
    for t, span, _ in pool:
        if not touches(t, latents):
            continue
        placed = place(t, latents, home, (), neighbours, joint.levels)
        if scale is not None and not isinstance(placed, str):
            placed = next((b for n in latents if (b := beside(placed, n, [scale], home)) is not placed), placed)
        role = placed if isinstance(placed, str) else polynomial_role(placed, latents, home, g)
        if isinstance(role, str):
            return Problem("E110", f"the posterior of {names} is not tractable: {role}", span, ways_out)
        roles.append(role[0])
        terms.append(weigh(role[1], weighted, joint, home))
    if loose := _loose(variables, roles, ways_out):
        return loose
    cancelled = None if scale is None else common_scale(terms, roles, {scale}, home)
    if scale is not None and cancelled is None:
        return Problem("E110", f"{scale} does not scale all of {names}", variables[0].span, ways_out)
    by, terms = cancelled or (None, terms)
    gates = tuple(x.Sel(El(n, idx), k) for (n, idx), k in neighbours.items())
    own = tuple(i for axes in (g.rows, g.columns) for n in latents for i in axes[n])
    merged = merge_roles(terms, roles, symmetry_of(joint), (*home, *own, *neighbours.values()))
    return Block(name, latents, home, (), gates, *merged, gaussian=replace(g, by_pattern=bool(g.seen or by)), scale=by)


def _scaled(
    latents: tuple[str, ...], joint: LogJoint, pool: Sequence[Tied], weighted: str | None,
    ways_out: str,
) -> Block | None:  # fmt: skip
    """The latents but one, as a Gaussian whose whole precision that one multiplies: it cancels."""
    for name in latents:
        if joint.model.variable(name).domain.kind == "positive" and len(latents) > 1:
            others = tuple(n for n in latents if n != name)
            made = _made(others, joint, pool, weighted, ways_out, name)
            if isinstance(made, Block):
                return made
    return None


def _meant(latents: tuple[str, ...], joint: LogJoint, pool: Sequence[Tied]) -> bool:
    """Whether a joint Gaussian is the nearest thing: numbers on the line, and elements that one term holds together."""
    variables = [joint.model.variable(n) for n in latents]
    homes = {v.name: home_of(v) for v in variables}
    places = [set(atoms_of(t, latents, homes).places) for t, _, _ in pool if touches(t, latents)]
    apart = len(latents) > 1 or bool(joint.incomplete & set(latents)) or any(len(p) > 1 for p in places)
    return apart and all(v.domain.kind == "real" for v in variables)


def _loose(variables: Sequence[m.Variable], roles: Sequence[Role], ways_out: str) -> Problem | None:
    """A latent that no square keeps near its mean, or that is not free on the line."""
    for v in variables:
        if (ends := range_of(v)) != EVERYWHERE:
            text = ends if isinstance(ends, str) else f"{v.name} has a bound, and a Gaussian has none"
            return Problem("E111", f"the posterior of {v.name} is not a known family: {text}", v.span, ways_out)
        if quadratic_in(v.name, v.name) not in roles or v.domain.kind != "real":
            text = f"the posterior of {v.name} is not a known family: it has no square that keeps it near its mean"
            return Problem("E111", text, v.span, ways_out)
    return None


def _tied(
    latents: tuple[str, ...], joint: LogJoint, pool: Sequence[Tied], weighted: str | None,
    ways_out: str,
) -> Block | Problem:  # fmt: skip
    """All elements of these latents as one Gaussian, whatever ties them."""
    mine = [(t, span) for t, span, _ in pool if touches(t, latents)]
    variables = [joint.model.variable(n) for n in latents]
    first = None
    for apart in _parts(variables, [t for t, _ in mine], joint.model):
        made = over_parts(latents, joint, mine, apart, weighted, ways_out)
        if isinstance(made, Block):
            return made
        first = first or made
    assert first is not None
    return first


def over_parts(
    latents: tuple[str, ...], joint: LogJoint, mine: Sequence[tuple[Term, Span]], apart: Field, weighted: str | None,
    ways_out: str,
) -> Block | Problem:  # fmt: skip
    """All elements of these latents as one Gaussian that falls into these parts, each under gates of its own.

    Ties that `apart` has already come first.
    """
    names = ", ".join(n for n in latents if n not in joint.multipliers)
    variables = [joint.model.variable(n) for n in latents]
    homes = apart.homes
    g = gaussian_axes({v.name: [str(d) for d in (*v.array, *v.domain.dims)] for v in variables}, joint.incomplete)
    held = not joint.multipliers.keys().isdisjoint(latents)
    ties: list[Tie] = list(apart.ties)
    terms: list[Term] = []
    roles: list[Role] = []
    neighbours: Neighbours = {}
    more = [t for f in joint.asked for t in terms_of(f, side_in(classes(joint))) if touches(t, latents)]
    asked = [without_gates(t, latents, apart, neighbours, joint.levels) for t in more]
    told = [field_role(t, latents, homes, g, ties) for t in asked if isinstance(t, Term)]
    pairs = dict.fromkeys(r[0].latents for r in told if isinstance(r[0], Monomial) and r[0].quadratic)
    for t, span in mine:
        bare = without_gates(t, latents, apart, neighbours, joint.levels)
        role = bare if isinstance(bare, str) else field_role(bare, latents, homes, g, ties)
        if isinstance(role, str) and touches(t, tuple(joint.multipliers)):
            role = "a part without noise is not linear in what it follows from"
        if isinstance(role, str):
            return Problem("E110", f"the posterior of {names} is not tractable: {role}", span, ways_out)
        roles.append(role[0])
        whole = weighted in {i.dim for i in apart.outer}  # within an element of the plate it counts once
        terms.append(role[1] if whole else weigh(role[1], weighted, joint))
    known = {*joint.multipliers, *joint.multipliers.values()}  # what they depend on keeps these near
    if loose := _loose([v for v in variables if v.name not in known], roles, ways_out):
        return loose
    own = [i for axes in (g.rows, g.columns) for n in latents for i in axes[n]]
    places = [*(i for home in homes.values() for i in home), *(i for t in ties for i in t.ixs)]
    fixed = tuple(dict.fromkeys([*places, *own, *neighbours.values()]))
    merged = merge_roles(terms, roles, symmetry_of(joint), fixed)
    gates = tuple(x.Sel(El(n, idx), k) for (n, idx), k in neighbours.items())
    field = replace(apart, ties=tuple(ties), held=held, beside=tuple((a, b) for a, b in pairs), asked=bool(more))
    return Block(latents[0], latents, (), (), gates, *merged, gaussian=g, field=field)


def _parts(variables: Sequence[m.Variable], terms: Sequence[Term], model: m.ModelText) -> Iterator[Field]:
    """Plates that no term crosses, filtered and ragged ones left out: the most that all latents have in common; where
    gates are to be met, plates that rows point at, too, in which the elements of all latents lie."""
    homes = {v.name: home_of(v) for v in variables}
    latents = tuple(homes)

    def apart(inside: Mapping[str, tuple[Idx, ...]]) -> bool:
        return all(len(place_outside(atoms_of(t, latents, homes), homes, inside)) < 2 for t in terms)

    common = 0
    for plates in zip(*(v.plates for v in variables), strict=False):
        plain = all(not isinstance(p.size, m.Ragged) and p.condition is None for p in plates)
        if not plain or len({str(p.size) for p in plates}) > 1:
            break
        common += 1
    whole = Field(homes, (), (), dict.fromkeys(homes, ()))
    every = [(plate_indices(variables[0].plates[:depth]), {v.name: inside_plates(v, depth, model) for v in variables})
             for depth in range(common, 0, -1)]  # fmt: skip
    yield next((Field(homes, (), outer, inside) for outer, inside in every if apart(inside)), whole)
    if any(t.gates for t in terms):
        for outer, inside in pointed_at(homes, model):
            if apart(inside):
                yield Field(homes, (), outer, inside)


def common_scale(
    own_terms: Sequence[Term], roles: Sequence[Role], scales: set[str], home: tuple[Ix, ...]
) -> tuple[El, list[Term]] | None:
    """The neighbour that multiplies every quadratic and every linear term once, and the terms without it."""
    out: list[Term] = []
    found: set[El] = set()
    for t, role in zip(own_terms, roles, strict=True):
        mine = [f for f in t.factors if scales & x.variables(f)]
        if not role or len(mine) != 1 or not isinstance(mine[0], El) or not set(x.free(mine[0])) <= set(home):
            return None
        found.add(mine[0])
        out.append(Term(t.coef, t.gates, tuple(f for f in t.factors if f != mine[0]), t.ixs))
    return (next(iter(found)), out) if len(found) == 1 else None
