"""Where the conditions that data put on a latent leave it one interval: the factors that say so, as its two ends.

    observed over[n] ~ Delta(y[n] > c[n])       y[n] lies in (c[n], inf), or in (-inf, c[n])

A density that jumps at the ends is smooth between them, so that an integral over it is one over the interval.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import Expr, Idx, Ix
from emdsl.derive.joint.factors import Factor, LogJoint
from emdsl.derive.joint.plates import home_of
from emdsl.derive.joint.sides import side_in
from emdsl.derive.joint.terms import terms
from emdsl.derive.posteriors.block import place
from emdsl.derive.posteriors.cuts import Cut, bounds_of, cut_of


@dataclass(frozen=True)
class Interval:
    """The ends of a latent's interval on its own plates, and the factors that say nothing else.

    Those of a vector are ends of its elements, under one more index, `cell`.
    """

    lower: Expr
    upper: Expr
    factors: tuple[Factor, ...]
    cell: Ix | None = None

    def ends(self, at: int | None) -> tuple[Expr, Expr]:
        """The lower and the upper end of a number, or of an element of a vector."""
        if self.cell is None or at is None:
            return self.lower, self.upper
        return x.substitute(self.lower, {self.cell: at}), x.substitute(self.upper, {self.cell: at})


def jumps(f: Factor, name: str) -> bool:
    """Whether a factor compares a latent with something: its density jumps there."""
    nodes = (e for whole in (f.body, *f.masks) for e in x.walk(whole))
    return any(isinstance(e, x.Fn) and e.name in x.COMPARISONS and name in x.variables(e) for e in nodes)


def interval_of(joint: LogJoint, name: str, kinds: Mapping[str, str]) -> Interval | None:
    """The interval in which all comparisons leave an element; None where they do anything else, or there is none.

    None for a vector of which an element is seen itself: what is left of it is no interval of its own.
    kinds : what each variable is to the algebra, as `blocks.classes` has it.
    """
    found = tuple(f for f in joint.factors if jumps(f, name))
    others = {v.name for v in joint.model.of_kind("latent")} - joint.discrete - joint.deterministic - {name}
    settled = list(found)
    own = tuple(x.fresh(str(d)) for d in joint.model.variable(name).domain.dims)
    cuts: list[Cut] = []
    for f in found:
        for c in _cuts(f, joint, name, own, kinds):
            if c is None or (own and c.lower == c.upper):
                return None
            if any(others & x.variables(end) for end in (c.lower, c.upper) if end is not None):
                return None  # where it lies depends on where another one does
            if c.apart:  # seen outside of an interval it lies anywhere, and its density jumps twice
                settled = [other for other in settled if other is not f]
                c = _where_inside(c)
            cuts.append(c)
    if not cuts or len(own) > 1:
        return None
    return Interval(*bounds_of(cuts), tuple(settled), *own)


def _where_inside(c: Cut) -> Cut:
    """The interval of what was seen to lie in it, the whole line of what was seen outside."""
    assert c.lower is not None and c.upper is not None
    outside = x.fn("gt", c.lower, c.upper)
    return Cut(c.mask, x.Where(outside, x.Num(-math.inf), c.lower), x.Where(outside, x.Num(math.inf), c.upper))


def _cuts(f: Factor, joint: LogJoint, name: str, own: tuple[Ix, ...], kinds: Mapping[str, str]) -> Iterator[Cut | None]:
    """What each term of a factor says of the latent; None for a term that says more than where it lies."""
    home = (*home_of(joint.model.variable(name)), *own)
    for t in terms(f, side_in(kinds)):
        neighbours: dict[tuple[str, tuple[Idx, ...]], Ix] = {}
        placed = place(t, (name,), home, (), neighbours, joint.levels) if _reads(t.factors, name) else None
        if placed is None or isinstance(placed, str) or neighbours or not set(placed.ixs) <= set(home):
            yield None
        else:
            yield cut_of(placed, name)


def _reads(factors: tuple[Expr, ...], name: str) -> bool:
    return any(name in x.variables(e) for e in factors)
