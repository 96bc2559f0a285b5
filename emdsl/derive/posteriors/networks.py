"""Discrete latents tied to one another in any other way: a tree through `parent[i]`, a grid, a few that all meet.

    log p(z, x)  =  sum over cliques c, sum over the rows of c's plates, f_c(z at the places that c holds)

A clique is a set of places that some term holds together, as functions of its own plates and of data. Which elements
these are is known when data are bound; then an order of elimination is chosen, and its width is told.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr, Idx, Ix
from emdsl.derive.joint.terms import Term

Place = tuple[str, tuple[Idx, ...]]


@dataclass(frozen=True)
class Clique:
    """The places that a term holds, one state index for each, on the term's plates, where all masks are 1."""

    places: tuple[Place, ...]
    states: tuple[Ix, ...]
    plates: tuple[Ix, ...]
    masks: tuple[Expr, ...]
    terms: tuple[Term, ...]

    @property
    def axes(self) -> tuple[Ix, ...]:
        return (*self.states, *self.plates)


def cliques_of(terms: Sequence[Term], latents: tuple[str, ...], levels: Mapping[str, str]) -> tuple[Clique, ...] | str:
    """Terms by the places that they hold; a text that says why one does not fit."""
    found: dict[tuple[object, ...], Clique] = {}
    for t in terms:
        made = in_clique(t, latents, levels)
        if isinstance(made, str):
            return made
        key = clique_key(made)
        old = found.get(key)
        if old is not None:
            to: dict[Ix, Idx] = dict(zip(made.states, old.states, strict=True))
            own = made.terms[0]
            summed = own.ixs[len(made.axes) :]  # what no factor carries of these counts
            moved = Term(own.coef, (), tuple(x.substitute(f, to) for f in own.factors), (*old.axes, *summed))
            found[key] = Clique(old.places, old.states, old.plates, old.masks, (*old.terms, moved))
        else:
            found[key] = made
    return tuple(found.values())


def clique_key(c: Clique) -> tuple[object, ...]:
    """What terms of one clique have in common."""
    return c.places, c.plates, c.masks


def in_clique(t: Term, latents: tuple[str, ...], levels: Mapping[str, str]) -> Clique | str:
    """A term as a clique of its own: gates become state indices, conditions on data its masks."""
    places: dict[Place, Ix] = {}
    factors, ixs = _at_states(t)
    for g in t.gates:
        assert isinstance(g.of, El)
        if g.of.var not in latents:
            return f"it is tied to several elements of {g.of.var}"
        place = (g.of.var, g.of.idx)
        if place not in places:
            places[place] = Ix(f"{g.of.var}_{len(places)}", levels[g.of.var])
        state = places[place]
        if isinstance(g.at, Ix):
            factors = [x.substitute(f, {g.at: state}) for f in factors]
            ixs = [i for i in ixs if i != g.at]
        else:
            factors.append(x.delta(state, g.at))
    states = tuple(places.values())
    held = dict.fromkeys(i for _, idx in places for part in idx for i in sorted(x.free(El("", (part,))), key=repr))
    masks = tuple(f for f in factors if _is_mask(f, levels, held) and not set(x.free(f)) & set(states))
    rest = tuple(f for f in factors if f not in masks and f != x.ONE)
    held |= dict.fromkeys(i for i in ixs if any(i in x.free(e) for e in masks))
    plates = tuple(i for i in held if i in ixs)  # as places name them: terms averaged in other orders have one clique
    summed = tuple(i for i in ixs if i not in plates)
    return Clique(tuple(places), states, plates, masks, (Term(t.coef, (), rest, (*states, *plates, *summed)),))


def _at_states(t: Term) -> tuple[list[Expr], list[Ix]]:
    """Factors and indices, a state of another factor of q that is one number at this number: it is no plate."""
    held = {i for g in t.gates for i in x.free(g)}
    factors, ixs = list(t.factors), list(t.ixs)
    for f in t.factors:
        if isinstance(f, x.Delta) and isinstance(f.a, Ix) and isinstance(f.b, int) and f.a in set(ixs) - held:
            ixs.remove(f.a)
            factors = [x.substitute(e, {f.a: f.b}) for e in factors if e != f]
    return factors, ixs


def _is_mask(f: Expr, levels: Mapping[str, str], held: Collection[Ix]) -> bool:
    """A condition: 0 or 1 whatever the data are. The selector of a latent of another factor of q is none, nor one that
    looks up at which index something else is read."""
    if isinstance(f, x.Sel) and isinstance(f.of, El) and f.of.var in levels:
        return False
    if isinstance(f, x.Sel) and isinstance(f.at, Ix) and f.at not in held:
        return False
    return isinstance(f, x.Sel | x.Delta) or (isinstance(f, x.Fn) and f.name in x.COMPARISONS)


def widest(scopes: Iterable[frozenset[Ix]], states: Mapping[Ix, int]) -> tuple[Ix, ...]:
    """Of one element's latents, eliminated by least degree, those of the largest table, given which ones terms hold
    together and how many states each has. (Exact for trees; the least width of all orders is NP-hard to find.)"""
    tied: dict[Ix, set[Ix]] = {i: {i} for i in states}
    for scope in scopes:
        for i in scope:
            tied[i] |= scope
    largest: tuple[Ix, ...] = ()
    while tied:
        first = min(tied, key=lambda i: len(tied[i]))
        table = tuple(sorted(tied.pop(first), key=list(states).index))
        if prod(states[i] for i in table) >= prod(states[i] for i in largest):
            largest = table
        for i in table:
            if i != first:
                tied[i] = (tied[i] | set(table)) - {first}
    return largest
