"""A block of latents, and its terms in its own indices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import DataIx, El, Expr, Idx, Ix
from emdsl.derive.joint.plates import in_terms_of
from emdsl.derive.joint.records import Posterior
from emdsl.derive.joint.terms import Term, at_gate
from emdsl.derive.posteriors.chains import Chain
from emdsl.derive.posteriors.cuts import DENSITIES, Cut
from emdsl.derive.posteriors.fields import Field
from emdsl.derive.posteriors.gaussian import Gaussian
from emdsl.derive.posteriors.networks import Clique
from emdsl.derive.posteriors.products import Turn
from emdsl.derive.posteriors.roles import Monomial, Role
from emdsl.errors import Span

Tied = tuple[Term, Span, str]  # a term, the place of its factor, and whose density that is
MOST_TOGETHER = 16  # latents of one element that are enumerated together: each is an axis of a table
TRIED = 40  # choices of latents that are tried where no line says which
WALKED = 4000  # pairs of latents, for all these choices together: each of them holds every latent against the others


@dataclass(frozen=True)
class Block:
    """Latents handled exactly together, on the plates they live on.

    `states` are the one-hot indices of a discrete block, per latent. `neighbours` are gates of other
    latents that stay in its factors, as functions of its own plates. `terms` are written in the
    block's own indices; for a continuous block each carries the statistic it multiplies in `roles`.
    """

    name: str
    latents: tuple[str, ...]
    home: tuple[Ix, ...]
    states: tuple[Ix, ...]
    neighbours: tuple[x.Sel, ...]
    terms: tuple[Term, ...]
    roles: tuple[Role, ...] = ()
    record: Posterior | None = None
    own: tuple[Ix, ...] = ()  # own axes of a vector-valued latent
    total: Expr | None = None  # of counts of which some were seen: what all of them add up to
    cuts: tuple[Cut, ...] = ()  # of a Gaussian: the intervals that it is known to lie in
    scale: Expr | None = None  # a neighbouring latent that scales the whole precision of a Gaussian, and cancels
    chain: Chain | None = None  # of a discrete block: how its elements follow one another
    gaussian: Gaussian | None = None  # of latents that are jointly Gaussian: the axes of their precision
    field: Field | None = None  # of these, where elements are tied to one another: how
    network: tuple[Clique, ...] = ()  # of discrete latents that are tied in any other way: what ties them
    within: tuple[Ix, ...] = ()  # of a network: the outermost plate, where each of its parts lies in one row of that
    apart: bool = False  # of elements that are tied: whether each is a factor of q for itself
    turns: tuple[Turn, ...] = ()  # of a continuous latent: rows that hold several elements as a product
    filters: tuple[tuple[Expr, ...], ...] = ()  # for each latent, the conditions of filtered plates, 0 or 1

    @property
    def normalised(self) -> bool:
        """Whether it is a latent's own density, cut, whose constants are in what it leaves."""
        return self.record in DENSITIES.values()

    @property
    def all_terms(self) -> tuple[Term, ...]:
        return (*self.terms, *(t for c in self.network for t in c.terms))

    @cached_property
    def held_by_precision(self) -> frozenset[Ix]:
        """The indices that the terms in two latents speak of."""
        squares = (t for t, r in zip(self.terms, self.roles, strict=True) if isinstance(r, Monomial) and r.quadratic)
        return frozenset(i for t in squares for factor in t.factors for i in x.free(factor))

    @property
    def gates(self) -> tuple[Ix, ...]:
        return tuple(n.at for n in self.neighbours if isinstance(n.at, Ix))

    @property
    def averaged(self) -> tuple[tuple[Role, Term], ...]:
        """(statistic, rest) of each element given the expectations of those that rows hold beside it."""
        return (*zip(self.roles, self.terms, strict=False), *(share for t in self.turns for share in t.shares))

    @property
    def by_pattern(self) -> bool:
        """Whether it is jointly Gaussian with covariances by pattern of missing cells (all free: one pattern)."""
        return self.gaussian is not None and self.gaussian.by_pattern

    @property
    def too_many(self) -> bool:
        """Whether the states of one element, with those before it that it is tied to, are too many to be enumerated."""
        return not self.network and self.at_once > MOST_TOGETHER

    @property
    def at_once(self) -> int:
        """How many latents one element of a table is about."""
        return len(self.states) * (1 if self.chain is None or self.chain.depth < 2 else 1 + self.chain.depth)

    @property
    def filtered(self) -> bool:
        return any(self.filters)

    def conditions(self, latent: str) -> tuple[Expr, ...]:
        return self.filters[self.latents.index(latent)] if self.filters else ()

    @property
    def exists(self) -> tuple[Expr, ...]:
        """Conditions, 0 or 1, without which no latent of the block has anything here, in the plates outside."""
        first, *others = self.filters or ((),)
        return tuple(e for e in first if set(x.free(e)) <= set(self.outside) and all(e in c for c in others))

    @property
    def nodes(self) -> tuple[Term, ...]:
        """The terms of a discrete block that are functions of one element's states."""
        return tuple(t for t, role in zip(self.terms, self.roles or ("",) * len(self.terms), strict=True) if not role)

    @property
    def outside(self) -> tuple[Ix, ...]:
        """The plates that are left when the block has been eliminated: of a chain those of whole sequences, of a
        field those that no tie crosses, of a network the one in whose rows its parts lie."""
        if self.field is not None:
            return self.field.outer
        if self.network:
            return self.within
        if self.turns:
            return ()
        return self.home if self.chain is None else self.chain.outer


def tries(latents: int) -> int:
    """How many choices among so many latents are tried, in order of declaration."""
    return min(TRIED, max(1, WALKED // max(1, latents) ** 2))


def gates_outside(block: Block) -> tuple[x.Sel, ...]:
    """The gates of a block as the plates outside it see them."""
    if block.chain is None:
        return block.neighbours
    seen = dict(zip(block.chain.rows, block.chain.outer, strict=True))
    out = []
    for n in block.neighbours:
        assert isinstance(n.of, El)
        out.append(x.Sel(El(n.of.var, tuple(seen.get(i, i) for i in n.of.idx), n.of.sort), n.at))
    return tuple(out)


def latents_in(t: Term) -> dict[str, list[tuple[Idx, ...]]]:
    """Latent -> the places at which a term holds it."""
    out: dict[str, list[tuple[Idx, ...]]] = {}
    for g in t.gates:
        assert isinstance(g.of, El)
        out.setdefault(g.of.var, []).append(g.of.idx)
    return out


def touches(t: Term, latents: Sequence[str]) -> bool:
    """Whether a term holds one of these latents."""
    if any(isinstance(g.of, El) and g.of.var in latents for g in t.gates):
        return True
    return any(n in latents for f in t.factors for n in x.variables(f))


def place(
    t: Term, latents: tuple[str, ...], home: tuple[Ix, ...], states: tuple[Ix, ...],
    neighbours: dict[tuple[str, tuple[Idx, ...]], Ix], levels: Mapping[str, str] | None = None,
) -> Term | str:  # fmt: skip
    """The term in the block's own indices, or why it does not fit.

    Own selectors become the state's index, other gates become neighbours; a place reached through
    data (`truth[item[r]]`) becomes a selector `item[r] == home`. `levels` are the dimensions of gates that
    are met for the first time.
    """
    if several_of(latents, t, home):
        return f"one term holds two elements of {latents[0]}"
    ref = _references(t, latents)[0][: len(home)]
    to: dict[Ix, Idx] = {}
    elsewhere: list[tuple[Ix, Idx]] = []
    for h, i in zip(home, ref, strict=True):
        if isinstance(i, Ix) and i not in to and i in t.ixs:
            to[i] = h
        else:
            elsewhere.append((h, i))
    clash = {h: x.fresh(h.dim) for h in home if h in t.ixs and h not in to}
    to.update({old: new for old, new in clash.items() if old not in to})
    renamed = rename(t, to)
    ixs = [i for i in renamed.ixs if i not in home]
    inner = frozenset(ixs)  # a state of the block's own among them: an element that it chooses is any of several
    factors = list(renamed.factors)
    for h, i in elsewhere:  # the term's own indices are renamed, the block's stand
        at_data = isinstance(i, DataIx)
        value = x.substitute(x.value_of(i), to)
        factors.append(x.sel(value, h) if at_data else x.delta(h, x.as_index(value)))
    reached: dict[Idx, Ix] = {
        DataIx(x.substitute(i.value, to)): h for h, i in zip(home, ref, strict=True) if isinstance(i, DataIx)
    }
    for gate in renamed.gates:
        g = _at_home(gate, latents, reached)
        assert isinstance(g.of, El)
        at: Ix
        if g.of.var in latents:
            at = states[latents.index(g.of.var)]
        else:
            if any(i in inner for i in x.free(g.of)):
                return f"it is tied to several elements of {g.of.var}"
            key = (g.of.var, g.of.idx)
            if key not in neighbours:
                neighbours[key] = g.at if isinstance(g.at, Ix) else x.fresh((levels or {})[g.of.var])
            at = neighbours[key]
        factors, ixs = at_gate(g, at, factors, ixs)
    return Term(t.coef, (), tuple(f for f in factors if f != x.ONE), (*home, *dict.fromkeys(ixs)))


def _at_home(g: x.Sel, latents: tuple[str, ...], reached: Mapping[Idx, Ix]) -> x.Sel:
    """Where item[r] == home, another latent's element at item[r] is the one at home; at f[item[r]], that at f[home]."""
    if not isinstance(g.of, El) or g.of.var in latents:
        return g
    return x.Sel(El(g.of.var, tuple(in_terms_of(i, reached) for i in g.of.idx)), g.at)


def beside(placed: Term, name: str, others: Sequence[str], home: tuple[Ix, ...]) -> Term:
    """A placed term in which other latents at the place of this one, which data tell, are those at home, too."""
    own = next(
        (e.idx[: len(home)] for f in placed.factors for e in x.walk(f) if isinstance(e, El) and e.var == name), ()
    )
    reached: dict[Idx, Ix] = {i: h for h, i in zip(home, own, strict=False) if isinstance(i, DataIx)}
    if not reached or not others:
        return placed

    def moved(e: Expr) -> Expr | None:
        if not isinstance(e, El) or e.var not in others:
            return None
        return El(e.var, tuple(in_terms_of(i, reached) for i in e.idx), e.sort)

    return replace(placed, factors=tuple(x.rebuild(f, moved) for f in placed.factors))


def several_of(latents: tuple[str, ...], t: Term, home: tuple[Ix, ...]) -> bool:
    """Whether a term holds these latents at more than one place of their plates."""
    return len({ref[: len(home)] for ref in _references(t, latents)}) != 1


def _references(t: Term, latents: tuple[str, ...]) -> list[tuple[Idx, ...]]:
    refs = [g.of.idx for g in t.gates if isinstance(g.of, El) and g.of.var in latents]
    for f in t.factors:
        refs += [e.idx for e in x.walk(f) if isinstance(e, El) and e.var in latents]
    return refs


def rename(t: Term, to: Mapping[Ix, Idx]) -> Term:
    """The term under other indices."""
    gates = tuple(x.Sel(x.substitute(g.of, to), to.get(g.at, g.at) if isinstance(g.at, Ix) else g.at) for g in t.gates)
    factors = tuple(x.substitute(f, to) for f in t.factors)
    ixs = tuple(dict.fromkeys(j for i in t.ixs if isinstance(j := to.get(i, i), Ix)))
    return Term(t.coef, gates, factors, ixs)
