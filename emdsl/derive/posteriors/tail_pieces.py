"""The pieces of a density that are left where its latent is integrated out by its tails, in one branch of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr, Idx, Ix
from emdsl.derive.algebra.made import PRESENT
from emdsl.derive.joint.element import Tensors
from emdsl.derive.joint.ends import guarded
from emdsl.derive.joint.factors import Factor
from emdsl.derive.joint.joint import lifted
from emdsl.derive.joint.scope import Closure, Scope
from emdsl.derive.joint.spikes import Conditions
from emdsl.derive.joint.truncation import Tails, limits, log_mass, refusal
from emdsl.derive.posteriors.cases import Piece
from emdsl.derive.posteriors.tail_moments import Moments, moments
from emdsl.errors import ModelError
from emdsl.families.tails import tails
from emdsl.language import model as m

Neighbours = dict[tuple[str, tuple[Idx, ...]], Ix]


@dataclass(frozen=True)
class Branch:
    """One branch of a latent's distribution; `neighbours` are the discrete latents that choose among conditions."""

    v: m.Variable
    call: m.FamilyCall
    conditions: Conditions
    tensors: Tensors
    neighbours: Neighbours

    @property
    def plates(self) -> tuple[Ix, ...]:
        return self.tensors.enter(self.v.plates)[1]

    def factors(self, piece: Piece, body: Callable[[], Expr] | None = None) -> list[Factor]:
        """A piece of the log density, or something else of it, case by case. Raises ModelError."""
        scope, plates, masks = self.tensors.enter(self.v.plates)
        used = {i for e in (*piece.masks, *piece.numbers) for i in x.free(e)}
        self.tensors.begin()
        self.tensors.gates.update({key: i for key, i in self.neighbours.items() if i in used})
        branch = tuple(self.tensors.condition(c, positive, scope) for c, positive in self.conditions)
        value = self.log_density(piece) if body is None else body()
        base = Factor(self.v.name, "observed", (), (*masks, *branch, *piece.masks), value, plates, self.call.span)
        own = self.call.family.x.domain
        start = self._ends()[0] if own.lower is not None else x.ZERO
        assert start is not None
        cases = lifted(base, self.tensors, () if body is None else plates)  # what is told is told of each element
        return [guarded(_guarded(g, piece, own, start, self.tensors), self.tensors) for g in cases]

    def known(self, piece: Piece) -> Expr:
        """What data say of whether a piece counts, 1 or 0."""
        masks = (*self.tensors.enter(self.v.plates)[2], *piece.masks)
        return x.mul(*(c for c in masks if _of_data(c, self.tensors)))

    def never(self, piece: Piece) -> Factor:
        """What says of a piece that it does not count anywhere."""
        there = tuple(c for c in piece.masks if isinstance(c, El) and c.var in PRESENT)
        body = x.fn("log", x.fn("not", self.known(piece)))
        return Factor(self.v.name, "observed", (), there, body, self.plates, self.call.span)

    def moments(self, piece: Piece) -> Moments:
        """The mean and the second moment of a piece. Raises ModelError where its tails are not known."""
        known = self._tails()
        if known is None:
            raise ModelError(refusal(self.call))
        start, stop = self._ends()
        return moments(_within(piece, start, stop), known, start)

    def log_density(self, piece: Piece) -> Expr:
        """The log of the density at a point, or of the mass; what is said of it. Raises ModelError."""
        if piece.says is not None:
            return piece.says
        own, signature = self.call.family.x.domain, self.call.family.signatures[self.call.signature]
        density = self._at(signature.log_density)
        start, stop = self._ends()
        if piece.point is not None:
            cut = [x.fn(op, piece.point, end) for op, end in (("gt", start), ("lt", stop)) if end is not None]
            here = (*piece.masks, x.fn("gt", piece.point, x.ZERO)) if x.positive(piece.point) else piece.masks
            return x.add(density(piece.point), *(x.fn("log", c) for c in cut if c not in here))
        piece = _within(piece, start if own.lower else None, stop if own.upper else None)
        return log_mass(density, self._tails(), own, piece.low, piece.high, self.call, piece.outside)

    def _tails(self) -> Tails | None:
        known = tails(self.call.family, self.call.signature)
        return known and (self._at(known[0]), self._at(known[1]))

    def _ends(self) -> tuple[Expr | None, Expr | None]:
        """Where the family's own support starts and ends."""
        inner = self._inner()
        return limits(self.call.family.x.domain, lambda e: self.tensors.element(e, (), inner))

    def _inner(self) -> Scope:
        scope, plates, _ = self.tensors.enter(self.v.plates)
        return self.tensors.family_scope(self.v, plates, (), self.call, scope)

    def _at(self, body: m.Expr) -> Callable[[Expr], Expr]:
        """An expression of the family as a function of its variate."""
        inner, name = self._inner(), self.call.family.x.name

        def element(value: Expr) -> Expr:
            bound = {**inner.bindings, name: Closure(None, None, ready=value)}
            return self.tensors.element(
                body, (), Scope(inner.loops, bound, inner.sizes, inner.around, gates=inner.gates)
            )

        return element


def _within(piece: Piece, start: Expr | None, stop: Expr | None) -> Piece:
    """A piece of which the ends lie in a support."""

    def moved(e: Expr | None) -> Expr | None:
        if e is not None and start is not None and not (start == x.ZERO and x.positive(e)):
            e = x.fn("max", e, start)
        return e if e is None or stop is None else x.fn("min", e, stop)

    return replace(piece, low=moved(piece.low), high=moved(piece.high))


def by_support(piece: Piece, own: m.Domain, tensors: Tensors) -> list[Piece]:
    """A piece by where its ends lie, as data tell: in order or not, inside a support that starts at 0 or not."""
    low, high = piece.low, piece.high
    if piece.says is not None:
        return [piece]
    if piece.outside and low is not None and _may_be_outside(low, own, tensors):
        here = x.fn("gt", low, x.ZERO)
        beyond = Piece((*piece.masks, x.fn("not", here)), low=high)
        return [replace(piece, masks=(*piece.masks, here)), *by_support(beyond, own, tensors)]
    if piece.outside:
        return [piece]
    least: list[tuple[Expr, Expr]] = [
        (e, x.ZERO) for e in (piece.point, high) if e is not None and _may_be_outside(e, own, tensors)
    ]
    if low is not None and high is not None and _may_be_exchanged(low, high, tensors):
        least.append((high, low))
    within = replace(piece, masks=(*piece.masks, *(x.fn("gt", *pair) for pair in least)))
    nothing = [Piece(piece.masks, says=x.fn("log", x.fn("gt", *pair))) for pair in least]
    if low is None or not _may_be_outside(low, own, tensors):
        return [within, *nothing]
    here = x.fn("gt", low, x.ZERO)
    beside = replace(within, low=None, masks=(*within.masks, x.fn("not", here)))  # all of it, where there is no end
    return [replace(within, masks=(*within.masks, here)), beside, *nothing]


def _of_data(e: Expr, tensors: Tensors) -> bool:
    """Whether data alone decide, or whether they are there."""
    return bool(x.variables(e)) and all(n in PRESENT or tensors.is_data(n) for n in x.variables(e))


def _may_be_exchanged(low: Expr, high: Expr, tensors: Tensors) -> bool:
    return not x.positive(x.add(high, x.neg(low))) and _of_data(low, tensors) and _of_data(high, tensors)


def _may_be_outside(e: Expr, own: m.Domain, tensors: Tensors) -> bool:
    return own.kind in ("positive", "unit") and _of_data(e, tensors) and not x.positive(e)


def _guarded(f: Factor, piece: Piece, own: m.Domain, start: Expr, tensors: Tensors) -> Factor:
    """The factor in which ends are others, inside of the support and in order, where it does not count: the log of no
    mass, and slopes at the end of a support, are no numbers."""
    if piece.says is not None:
        return f
    here = x.mul(*(c for c in f.masks if _of_data(c, tensors)))
    low, high = piece.low, piece.high
    both = low is not None and high is not None and _may_be_exchanged(low, high, tensors)
    instead: dict[Expr, Expr] = {}
    for k, e in enumerate((low, piece.point, high), 2):
        ended = own.lower is not None or both
        if e is not None and (_may_be_outside(e, own, tensors) or (ended and _of_data(e, tensors))):
            there = x.Where(here, e, x.add(start, x.num(Fraction(k, 6))))
            instead |= {e: there, x.fn("max", e, x.ZERO): there}
    return replace(f, body=x.rebuild(f.body, instead.get)) if instead else f
