"""Gaussian latents whose elements are tied to one another: one joint Gaussian over all of them.

    log p  =  <h, y> - 1/2 <J, y y'> + terms without y,     y all elements of all latents of the block

What multiplies an atom adds to h at its element; what multiplies two atoms of one element adds to J's block there;
two atoms of different elements are a tie: of an element with the one before it, with its parent, of two effects
that meet in an observation. Where they stand is all that tells a chain from a tree or from crossed groups.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import DataIx, El, Expr, Idx, Ix
from emdsl.derive.algebra.made import ROW, START, is_made
from emdsl.derive.algebra.show import show
from emdsl.derive.joint.plates import in_terms_of
from emdsl.derive.joint.terms import Term, at_gate
from emdsl.derive.posteriors.chains import distance
from emdsl.derive.posteriors.gaussian import Gaussian, polynomial_role
from emdsl.derive.posteriors.roles import Across, Monomial, Role


@dataclass(frozen=True)
class Tie:
    """Two latents and their elements' places, in indices of its own; J has a block for each value of these."""

    latents: tuple[str, str]
    places: tuple[tuple[Idx, ...], tuple[Idx, ...]]
    ixs: tuple[Ix, ...]

    @property
    def lag(self) -> int | None:
        """How far apart the elements are along an ordered plate, where they are."""
        (*outer, a), (*other, b) = (list(p) or [0] for p in self.places)
        there, back = (distance(i) if isinstance(i, Ix | DataIx) else None for i in (a, b))
        if there is None or back is None or outer != other or there[0] != back[0]:
            return None
        return abs(there[1] - back[1])


@dataclass(frozen=True)
class Field:
    """The plates of each latent, and the ties between elements.

    `outer` are plates that no tie crosses: for each of their elements the field is one of its own, independent of the
    others. `inside` says where in them an element of each latent lies, as a function of its home.
    """

    homes: Mapping[str, tuple[Ix, ...]]
    ties: tuple[Tie, ...]
    outer: tuple[Ix, ...] = ()
    inside: Mapping[str, tuple[Idx, ...]] = field(default_factory=dict)
    beside: tuple[tuple[str, str], ...] = ()  # latents of one element whose covariances are asked, tied there or not
    asked: bool = False  # whether multipliers stand for densities, whose moments are asked all the same
    held: bool = False  # whether some latents are multipliers of constraints: the matrix of all is no precision

    @property
    def families(self) -> tuple[tuple[str, ...], ...]:
        """Latents that lie on the same plates: their numbers at one place stand together."""
        out: dict[tuple[str, ...], list[str]] = {}
        for n, home in self.homes.items():
            out.setdefault(tuple(i.dim for i in home), []).append(n)
        return tuple(map(tuple, out.values()))


@dataclass(frozen=True)
class Atoms:
    """A term taken apart: latents' places, and the term with atoms that have lost them."""

    latents: tuple[str, ...]
    places: tuple[tuple[Idx, ...], ...]
    own: tuple[tuple[Idx, ...], ...]
    bare: Term
    rest: tuple[Expr, ...]


def place_outside(a: Atoms, homes: Mapping[str, tuple[Ix, ...]], inside: Mapping[str, tuple[Idx, ...]]) -> set[El]:
    """Where in the outer plates the elements of a term lie: one place where it stays within one part of the field."""
    out = set()
    for n, place in zip(a.latents, a.places, strict=True):
        home, within = homes[n], inside[n]
        if place and home[-1] not in within and not any(map(_pointed, within)):
            # an element before another lies in the same sequence, but not where data lead both to
            found = distance(place[-1]) if isinstance(place[-1], Ix | DataIx) else None
            place = (*place[:-1], found[0]) if found is not None else place
        moved = x.substitute(El("", within), dict(zip(home, place, strict=True)))
        assert isinstance(moved, El)
        out.add(El("", tuple(map(_of_its_sequence, moved.idx))))
    return out


def _pointed(i: Idx) -> bool:
    """Whether a given of the user's leads there."""
    return isinstance(i, DataIx) and isinstance(i.value, El) and not is_made(i.value.var)


def _of_its_sequence(i: Idx) -> Idx:
    """Where a row of a ragged plate lies that is a position counted from the start of a sequence: there."""
    match i:
        case DataIx(El(row, (DataIx(x.Add(terms)),))) if name := ROW.named(row):
            starts = [t for t in terms if isinstance(t, El) and t.var == START.of(name)]
            if len(starts) == 1:
                return starts[0].idx[0]
    return i


def without_gates(
    t: Term, latents: Sequence[str], of: Field, neighbours: dict[tuple[str, tuple[Idx, ...]], Ix],
    levels: Mapping[str, str],
) -> Term | str:  # fmt: skip
    """A term of a field's part with the gates on that part's own plates as states of neighbours; or why not."""
    if not t.gates:
        return t
    outside = place_outside(atoms_of(t, latents, of.homes), of.homes, of.inside)
    here: dict[Idx, Ix] = dict(zip(next(iter(outside)).idx, of.outer, strict=True)) if len(outside) == 1 else {}
    factors, ixs = list(t.factors), list(t.ixs)
    for g in t.gates:
        assert isinstance(g.of, El)
        part = El(g.of.var, tuple(in_terms_of(i, here) for i in g.of.idx), g.of.sort)
        if not set(x.free(part)) <= set(of.outer):
            return f"it is tied to the discrete latent {g.of.var}"
        key = (g.of.var, part.idx)
        if key not in neighbours:
            neighbours[key] = g.at if isinstance(g.at, Ix) else x.fresh(levels[g.of.var])
        at = neighbours[key]
        factors, ixs = at_gate(g, at, factors, ixs)
    return Term(t.coef, (), tuple(f for f in factors if f != x.ONE), tuple(dict.fromkeys(ixs)))


def atoms_of(t: Term, latents: Sequence[str], homes: Mapping[str, tuple[Ix, ...]]) -> Atoms:
    """The atoms of a term in order: by latent, then the later along a plate first."""
    found: list[El] = []
    others: list[Expr] = []
    for f in t.factors:
        match f:
            case El(var) if var in latents:
                found.append(f)
            case x.Pow(El(var) as e, x.Num(v)) if var in latents and v == 2:
                found += [e, e]
            case _:
                others.append(f)
    order = {n: k for k, n in enumerate(latents)}
    found.sort(key=lambda e: (order[e.var], sum(isinstance(i, DataIx) for i in e.idx), repr(e.idx)))
    cut = [len(homes[e.var]) for e in found]
    own = tuple(e.idx[k:] for e, k in zip(found, cut, strict=True))
    stripped = tuple(El(e.var, o, e.sort) for e, o in zip(found, own, strict=True))
    bare = Term(t.coef, (), (*others, *stripped), t.ixs)
    places = tuple(e.idx[:k] for e, k in zip(found, cut, strict=True))
    return Atoms(tuple(e.var for e in found), places, own, bare, tuple(others))


def tie_of(a: Atoms) -> tuple[Tie, dict[Ix, Idx]]:
    """The tie of a term of two elements, and the names of its indices there."""
    free = dict.fromkeys(i for p in a.places for i in x.free(El("", p)))
    names: dict[Ix, Idx] = {i: Ix(f"tie_{k}", i.dim) for k, i in enumerate(free)}
    first, second = (x.substitute(El("", p), names) for p in a.places)
    assert isinstance(first, El) and isinstance(second, El)
    ixs = tuple(i for i in names.values() if isinstance(i, Ix))
    return Tie((a.latents[0], a.latents[1]), (first.idx, second.idx), ixs), names


def field_role(
    t: Term, latents: Sequence[str], homes: Mapping[str, tuple[Ix, ...]], g: Gaussian, ties: list[Tie]
) -> tuple[Role, Term] | str:
    """(role, rest) of a term: rest over the plates of its element, or over the indices of its tie; or why not."""
    a = atoms_of(t, latents, homes)
    placing = frozenset(i for p in a.places for i in x.free(El("", p)))
    found = polynomial_role(a.bare, latents, (), g, placing)
    if isinstance(found, str):
        whole = x.mul(*(f for f in t.factors if set(latents) & x.variables(f)))
        return f"{show(whole)} is of degree {len(a.places)}" if len(a.places) > 2 else found
    if not a.places:
        return found
    rest = found[1]
    if len(set(a.places)) == 1:
        return Monomial(tuple(a.latents)), _at_home(rest, a.places[0], homes[a.latents[0]])
    tie, names = tie_of(a)
    if tie not in ties:
        ties.append(tie)
    moved = tuple(x.substitute(f, names) for f in rest.factors)
    ixs = tuple(j for i in rest.ixs if isinstance(j := names.get(i, i), Ix))
    return Across(ties.index(tie)), Term(rest.coef, (), moved, tuple(dict.fromkeys((*tie.ixs, *ixs))))


def _at_home(t: Term, place: tuple[Idx, ...], home: tuple[Ix, ...]) -> Term:
    """A term of one element, over the element's own plates: a place reached through data becomes a selector."""
    to: dict[Ix, Idx] = {}
    later: list[tuple[Idx, Ix]] = []
    for i, h in zip(place, home, strict=True):
        if isinstance(i, Ix) and i not in to and i in t.ixs:
            to[i] = h
        else:
            later.append((i, h))
    to = {**{h: x.fresh(h.dim) for h in home if h in t.ixs and h not in to}, **to}
    extra: list[Expr] = []
    for i, h in later:
        there = x.substitute(x.value_of(i), to)
        extra.append(x.delta(h, i) if isinstance(i, int) else x.sel(there, h))
    factors = (*(x.substitute(f, to) for f in t.factors), *extra)
    ixs = tuple(j for i in t.ixs if isinstance(j := to.get(i, i), Ix))
    return Term(t.coef, (), factors, tuple(dict.fromkeys((*home, *ixs))))
