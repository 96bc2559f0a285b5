"""Discrete latents along an ordered plate: `z[t]` beside `z[t-1]`, ..., `z[t-L]`.

    log p(z, x)  =  sum_t [ node_t(z_t)  +  edge_t(z_{t-L}, ..., z_t) ]

A chain is found by where its gates stand, at fixed distances on one plate, and by nothing else. Its terms are
of three roles: functions of one element, functions of an element and those before it (`Edge`), and what holds at
position r < L alone (`Start`), where the chain has no L elements behind it yet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import DataIx, El, Expr, Idx, Ix
from emdsl.derive.algebra.made import POSITION, ROW, START
from emdsl.derive.joint.terms import Term, at_gate
from emdsl.derive.posteriors.roles import Edge, Role, Start

Neighbours = dict[tuple[str, tuple[Idx, ...]], Ix]


@dataclass(frozen=True)
class Chain:
    """`order` is the index that the chain runs along, `outer` those of whole sequences.

    `past[l - 1][n]` is the state of latent n at distance l. `rows` are the outer indices as an element
    of the chain has them: themselves, or read off its row in a ragged plate, whose lengths are `ragged`.
    """

    order: Ix
    outer: tuple[Ix, ...]
    past: tuple[tuple[Ix, ...], ...]
    rows: tuple[Idx, ...] = ()
    ragged: str = ""

    @property
    def depth(self) -> int:
        return len(self.past)

    @property
    def before(self) -> tuple[Ix, ...]:
        """States behind an element, the oldest first."""
        return tuple(i for lag in reversed(self.past) for i in lag)


@dataclass(frozen=True)
class Placed:
    """A term in a chain's own indices, and its role."""

    term: Term
    role: Role


# ------------------------------------------------------------------ distances


def distance(i: Idx) -> tuple[Ix, int] | None:
    """(t, k) of a position `t - k` on an ordered plate; of rows of a ragged plate likewise."""
    match i:
        case Ix():
            return i, 0
        case DataIx(x.Add(terms)):
            shift = [t for t in terms if isinstance(t, x.Num)]
            rest = [t for t in terms if not isinstance(t, x.Num)]
            if len(shift) != 1 or shift[0].value != int(shift[0].value):
                return None
            row = _row(rest)
            return None if row is None else (row, -int(shift[0].value))
    return None


def _row(parts: Sequence[Expr]) -> Ix | None:
    """The index whose own position `start of its sequence + position in it` (or the index alone) these add up to."""
    match parts:
        case [x.Val(i)]:
            return i
        case [El(a, (DataIx(El(r, (Ix() as i,))),)), El(p, (j,))] if i == j:
            name = START.named(a)
            return i if (a, r, p) == (START.of(name), ROW.of(name), POSITION.of(name)) else None
    return None


def references(t: Term, latents: Sequence[str]) -> list[tuple[str, tuple[Idx, ...]]]:
    """The gates of some latents in a term: (latent, place)."""
    return [(g.of.var, g.of.idx) for g in t.gates if isinstance(g.of, El) and g.of.var in latents]


def lags(places: Sequence[tuple[Idx, ...]]) -> tuple[Ix | int, tuple[int, ...]] | None:
    """The element that places are counted from, and each one's distance; None where they are not along one plate."""
    if not places or not all(places) or len({p[:-1] for p in places}) != 1:
        return None
    last = [p[-1] for p in places]
    if all(isinstance(i, int) for i in last):
        top = max(i for i in last if isinstance(i, int))
        return top, tuple(top - i for i in last if isinstance(i, int))
    found = [distance(i) for i in last]
    if any(f is None for f in found):
        return None
    known = [f for f in found if f is not None]
    if len({t for t, _ in known}) != 1 or min(k for _, k in known) < 0:
        return None
    return known[0][0], tuple(k for _, k in known)


def depth(terms: Sequence[Term], latents: Sequence[str]) -> int:
    """The largest distance between an element and one that a term holds with it; 0 where nothing is chained."""
    out = 0
    for t in terms:
        found = lags([p for _, p in references(t, latents)])
        if found is not None:
            out = max(out, *found[1])
    return out


def behind(home: tuple[Idx, ...], chain: Chain, lag: int) -> tuple[Idx, ...]:
    """The place `lag` elements before a place of the chain."""
    if not lag:
        return home
    here = x.value_of(home[-1])
    if chain.ragged:
        row = DataIx(El(ROW.of(chain.ragged), (home[-1],)))
        here = x.add(El(START.of(chain.ragged), (row,)), El(POSITION.of(chain.ragged), (home[-1],)))
    return (*home[:-1], DataIx(x.add(here, x.num(-lag))))


# ------------------------------------------------------------------ where a term holds


@dataclass(frozen=True)
class Reach:
    """The positions at which a term counts: from `low` on, or `at` alone; `rest` are its factors without this."""

    low: int
    at: int | None
    rest: tuple[Expr, ...]


def reach(factors: Sequence[Expr], position: Expr) -> Reach:
    """Conditions on the position, read off the masks among factors."""
    low, at = 0, None
    rest: list[Expr] = []
    pending = list(factors)
    moved = True
    while moved:  # `t != 1` says something once `t != 0` has been read
        moved, rest = False, []
        for f in pending:
            kind, c = _bound(f, position, low) or ("", 0)
            if kind == "at" and c >= low and at in (None, c):
                at, moved = c, True
            elif kind == "from" and (at is None or c <= at):
                low, moved = max(low, c), True
            else:  # it says nothing here, or contradicts the others
                rest.append(f)
        pending = rest
    return Reach(low, at, tuple(rest))


_FLIP = {"eq": "eq", "ne": "ne", "lt": "gt", "le": "ge", "gt": "lt", "ge": "le"}
_NOT = {"eq": "ne", "ne": "eq", "lt": "ge", "le": "gt", "gt": "le", "ge": "lt"}


def _bound(f: Expr, position: Expr, low: int) -> tuple[str, int] | None:
    """("at", c) or ("from", c) where a mask compares the position with a number, and says no more than this."""
    negated = isinstance(f, x.Fn) and f.name == "not"
    inner = f.args[0] if isinstance(f, x.Fn) and negated else f
    match inner:
        case x.Delta(Ix() as i, int(c)) | x.Delta(int(c), Ix() as i) if x.Val(i) == position:
            op, value = "eq", Fraction(c)
        case x.Fn(name, (a, x.Num(v))) if name in _FLIP and (by := _beyond(a, position)) is not None:
            op, value = name, Fraction(v) - by
        case x.Fn(name, (x.Num(v), a)) if name in _FLIP and (by := _beyond(a, position)) is not None:
            op, value = _FLIP[name], Fraction(v) - by
        case _:
            return None
    if value.denominator != 1:
        return None
    c = int(value)
    op = _NOT[op] if negated else op
    if op == "eq" or (op == "lt" and c == low + 1) or (op == "le" and c == low):
        return "at", c if op == "eq" else low
    if op == "ge" or op == "gt":
        return "from", c + (op == "gt")
    return ("from", c + 1) if op == "ne" and c == low else None


def _beyond(e: Expr, position: Expr) -> Fraction | None:
    """c where an expression is `position + c`."""
    if e == position:
        return Fraction(0)
    match e:
        case x.Add((x.Num(v), a)) | x.Add((a, x.Num(v))) if a == position:
            return Fraction(v)
    return None


def _looked_at(t: Term, order: Ix) -> bool:
    """Whether conditions say at which elements a term counts, and nothing else in it asks where it is: there what it
    reads must exist, as is checked with the data."""
    asked = {n.cond for f in t.factors for n in x.walk(f) if isinstance(n, x.Where)}
    masked = any(x.is_indicator(f) and order in x.free(f) for f in t.factors)
    return masked and not any(order in x.free(c) for c in asked)


# ------------------------------------------------------------------ placing


def place_in_chain(
    t: Term, latents: tuple[str, ...], home: tuple[Ix, ...], states: tuple[Ix, ...], chain: Chain,
    neighbours: Neighbours, levels: Mapping[str, str] | None = None,
) -> list[Placed] | str | None:  # fmt: skip
    """The term in the chain's indices, once for each role it has; a text that says why not; None where it does not
    lie along the chain (it holds one element, reached in some other way)."""
    refs = references(t, latents)
    found = lags([p for _, p in refs])
    if found is None:
        return None if len({p for _, p in refs}) == 1 else f"one term holds several elements of {refs[0][0]}"
    base, distances = found
    outer = refs[0][1][:-1]
    if any(not isinstance(i, Ix) or i not in t.ixs for i in outer) or len(set(outer)) < len(outer):
        return None if set(distances) == {0} else f"elements of {refs[0][0]} are reached through data"
    if isinstance(base, Ix) and base not in t.ixs:
        return f"one term holds an element of {refs[0][0]} out of the order of its plate"
    to: dict[Ix, Idx] = dict(zip(outer, home[: len(outer)], strict=True))  # type: ignore[arg-type]
    if isinstance(base, Ix):
        to[base] = home[-1]
    clash = {h: x.fresh(h.dim) for h in home if h in t.ixs and h not in to}
    to = {**clash, **to}
    whole = Term(t.coef, t.gates, t.factors, (*(home[-1:] if isinstance(base, int) else ()), *t.ixs))
    table: dict[tuple[str, int], Ix] = {(n, 0): s for n, s in zip(latents, states, strict=True)}
    table |= {(n, k + 1): s for k, lag in enumerate(chain.past) for n, s in zip(latents, lag, strict=True)}
    made = _rewrite(whole, to, refs, distances, table, neighbours, levels or {}, home, chain)
    if isinstance(made, str):
        return made
    return _roles(made, base, max(distances), chain, home)


def _rewrite(
    t: Term, to: Mapping[Ix, Idx], refs: Sequence[tuple[str, tuple[Idx, ...]]], distances: Sequence[int],
    table: Mapping[tuple[str, int], Ix], neighbours: Neighbours, levels: Mapping[str, str],
    home: tuple[Ix, ...], chain: Chain,
) -> Term | str:  # fmt: skip
    """Gates of the chain to its states, gates of others to neighbours of whole sequences."""
    factors = [x.substitute(f, to) for f in t.factors]
    ixs = [j for i in t.ixs if isinstance(j := to.get(i, i), Ix)]
    where = dict(zip(refs, distances, strict=True))
    for g in t.gates:
        assert isinstance(g.of, El)
        own = (g.of.var, g.of.idx)
        if own in where:
            at = table[g.of.var, where[own]]
        else:
            place = x.substitute(g.of, to)
            assert isinstance(place, El)
            if any(i not in home for i in x.free(place)) or not _of_sequence(place, chain):
                return f"it is tied to several elements of {g.of.var}"
            key = (place.var, place.idx)
            if key not in neighbours:
                neighbours[key] = g.at if isinstance(g.at, Ix) else x.fresh(levels[place.var])
            at = neighbours[key]
        factors, ixs = at_gate(g, at, factors, ixs)
    kept = tuple(f for f in factors if f != x.ONE)
    return Term(t.coef, (), kept, tuple(dict.fromkeys((*home, *ixs))))


def _of_sequence(place: El, chain: Chain) -> bool:
    """Whether a place is the same for all elements of a sequence."""
    return all(i in chain.rows or chain.order not in x.free(El("", (i,))) for i in place.idx)


def position_of(chain: Chain) -> Expr:
    """The position in its sequence of the element at the chain's index."""
    return El(POSITION.of(chain.ragged), (chain.order,)) if chain.ragged else x.Val(chain.order)


def _roles(t: Term, base: Ix | int, furthest: int, chain: Chain, home: tuple[Ix, ...]) -> list[Placed] | str:
    """The roles of a placed term. Conditions that a role implies are dropped from it."""
    position = position_of(chain)
    found = reach(t.factors, position) if not isinstance(base, int) else Reach(base, base, t.factors)
    if found.at is not None:
        if found.at < furthest:
            return f"position {found.at} has no element {furthest} before it"
        if found.at < chain.depth:
            return [at_start(replace(t, factors=found.rest), found.at, chain, home)]
        condition = x.fn("eq", position, x.num(found.at))
        return [Placed(replace(t, factors=(*found.rest, condition)), Edge() if furthest else "")]
    if not furthest:
        return [Placed(t, "")]
    if found.low < furthest and _looked_at(t, chain.order):
        found = replace(found, low=furthest)
    if found.low < furthest:
        return f"the first {furthest} elements have no element {furthest} before them"
    if found.low > chain.depth:
        later = x.fn("ge", position, x.num(found.low))
        return [Placed(replace(t, factors=(*found.rest, later)), Edge())]
    bare = replace(t, factors=found.rest)
    return [Placed(bare, Edge()), *(at_start(bare, r, chain, home) for r in range(found.low, chain.depth))]


def from_their_start(message: Term, read: Sequence[Term]) -> list[Term]:
    """What a block leaves as a function of elements before its own, position by position until all of these exist.

    read : the block's terms. Where conditions leave out each that reads a gate, it is the same for all its states.
    """
    found: dict[Ix, tuple[Expr, int]] = {}
    for g in message.gates:
        place = g.of.idx[-1] if isinstance(g.of, El) and g.of.idx else 0
        there = distance(place) if isinstance(place, Ix | DataIx) else None
        if there is not None and isinstance(g.at, Ix):
            of_row = [e for e in x.walk(El("", (place,))) if isinstance(e, El) and e.var in POSITION]
            found[g.at] = (of_row[0] if of_row else x.Val(there[0]), there[1])
    lags = {k: lag for k, (_, lag) in found.items() if lag}
    positions = {position for k, (position, _) in found.items() if k in lags}
    if len(positions) != 1 or len(set(lags.values())) > 1:
        return [message]
    (position,), end = positions, next(iter(lags.values()))
    rows = {i for p in positions for i in x.free(p)}
    if any(k not in lags and rows & set(x.free(at)) for k, (at, _) in found.items()):
        return [message]  # of elements at two places there are no probabilities before both exist
    for t in read:
        known = reach(t.factors, position)
        if max(known.low, known.at or 0) < end and any(k in x.free(f) for k in lags for f in t.factors):
            return [message]
    out = [replace(message, factors=(*message.factors, x.fn("ge", position, x.num(end))))]
    for r in range(end):
        gone: dict[Ix, Idx] = dict.fromkeys(lags, 0)
        gates = tuple(g for g in message.gates if g.at not in gone)
        factors = tuple(x.substitute(f, gone) for f in message.factors)
        ixs = tuple(i for i in message.ixs if i not in gone)
        out.append(Term(message.coef, gates, (*factors, x.fn("eq", position, x.num(r))), ixs))
    return out


def at_start(t: Term, position: int, chain: Chain, home: tuple[Ix, ...]) -> Placed:
    """The part of a term at one of the first positions: in the indices of whole sequences."""
    outer = dict(zip(chain.rows, chain.outer, strict=True))

    def known(e: Expr) -> Expr | None:
        if e == position_of(chain):
            return x.num(position)
        found = next((o for i, o in outer.items() if x.value_of(i) == e), None)
        return None if found is None else x.Val(found)

    first: Idx = position
    if chain.ragged:
        start = El(START.of(chain.ragged), tuple(chain.outer[-1:]))
        first = DataIx(x.add(start, x.num(position)))
    factors = tuple(x.substitute(x.rebuild(f, known), {chain.order: first}) for f in t.factors)
    ixs = (*chain.outer, *(i for i in t.ixs if i not in home))
    return Placed(replace(t, factors=tuple(f for f in factors if f != x.ONE), ixs=ixs), Start(position))
