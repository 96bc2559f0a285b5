"""The cases of an element under several conditions on where it lies, and what is left of it in each.

    [y is seen] y == t,   [over is seen] over == (t > c)

is a density at y where y is seen, and whether y is above c beside it; else, where `over` is seen, the mass above c
or the mass below.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr, Ix
from emdsl.derive.algebra.made import PRESENT
from emdsl.derive.posteriors.cuts import Cut
from emdsl.derive.posteriors.preimages import HIGHEST, LOWEST, extreme

MOST = 64  # cases of an element: which of its conditions are there, and where they leave it


@dataclass(frozen=True)
class Case:
    """Where an element lies under some conditions: above and below several ends, or outside of an interval.

    Where one end is both, it is that number itself.
    """

    masks: tuple[Expr, ...] = ()
    lows: tuple[Expr, ...] = ()
    highs: tuple[Expr, ...] = ()
    outside: bool = False

    @property
    def point(self) -> Expr | None:
        return next((e for e in self.lows if e in self.highs), None)

    def holds(self, value: Expr) -> Expr:
        """log of whether a value lies here, 1 or 0."""
        sides = [x.fn("ge", value, end) for end in self.lows if end != value]
        sides += [x.fn("le", value, end) for end in self.highs if end != value]
        if self.outside:
            sides = [x.fn("or", x.fn("le", value, *self.lows), x.fn("ge", value, *self.highs))]
        return x.add(*(x.fn("log", s) for s in sides))


@dataclass(frozen=True)
class Piece:
    """A part of what is left of a latent: its density at a point, the mass between two ends (or outside of them), or
    what the other conditions say of the point."""

    masks: tuple[Expr, ...]
    point: Expr | None = None
    low: Expr | None = None
    high: Expr | None = None
    outside: bool = False
    says: Expr | None = None

    @property
    def anywhere(self) -> bool:
        """Whether nothing is said of it: all of its mass."""
        return self.point is None and self.low is None and self.high is None and self.says is None

    @property
    def numbers(self) -> tuple[Expr, ...]:
        return tuple(e for e in (self.point, self.low, self.high, self.says) if e is not None)


def pieces_of(cuts: Sequence[Cut]) -> list[Piece] | None:
    """The pieces of an element under all conditions on it; None where they leave no one interval or point."""
    there = [_cases(c) for c in cuts]
    at_points = [k for k, some in enumerate(there) if any(c.point is not None for c in some)]
    points = [[c.masks for c in there[k] if c.point is not None] for k in at_points]
    if any(not _never((*a, *b)) for one, other in combinations(points, 2) for a in one for b in other):
        return None  # what is seen of it twice is one density and a point mass
    out: list[Piece] = []
    for k in at_points:
        others = [c for j, some in enumerate(there) if j != k for c in some]
        for case in there[k]:
            if (p := case.point) is not None:
                out.append(Piece(case.masks, p))
                beside = (c for c in (replace(case, masks=()), *others) if not _never((*case.masks, *c.masks)))
                out += [Piece((*case.masks, *c.masks), says=c.holds(p)) for c in beside]
    ways = [[*_absent(c), *(s for s in some if s.point is None)] for c, some in zip(cuts, there, strict=True)]
    for chosen in product(*ways):
        masks = tuple(dict.fromkeys(c for case in chosen for c in case.masks))
        lows = tuple(dict.fromkeys(e for c in chosen for e in c.lows))
        highs = tuple(dict.fromkeys(e for c in chosen for e in c.highs))
        if _never(masks) or any(_reads(c, _unseen(masks)) for c in chosen):
            continue
        outside = any(c.outside for c in chosen)
        if outside and len(lows) + len(highs) > 2:
            return None
        if HIGHEST in lows or LOWEST in highs or set(lows) & set(highs):  # nothing lies there
            seen = tuple(c for c in masks if isinstance(c, El) and c.var in PRESENT)
            out.append(Piece(seen, says=x.fn("log", x.fn("not", x.mul(*masks)))))
        else:
            out.append(Piece(masks, None, extreme("max", *lows), extreme("min", *highs), outside))
    out = [p for p in out if p.says != x.ZERO]
    return out if len(out) <= MOST else None


def _absent(cut: Cut) -> list[Case]:
    """The cases in which a condition is not there: the first of its masks that fails, one after the other."""
    masks = _masks(cut)
    return [Case((*masks[:k], _opposite(c))) for k, c in enumerate(masks)]


def _masks(cut: Cut) -> list[Expr]:
    return [x.fn("eq", x.Val(e.a), x.value_of(e.b)) if isinstance(e, x.Delta) and isinstance(e.a, Ix) else e
            for e in x.factors_of(cut.mask) if e != x.ONE]  # fmt: skip


def _opposite(mask: Expr) -> Expr:
    return mask.args[0] if isinstance(mask, x.Fn) and mask.name == "not" else x.fn("not", mask)


def _never(masks: Sequence[Expr]) -> bool:
    """Whether conditions exclude one another: one and its opposite, two states of one latent."""
    states: dict[Expr, Expr] = {}
    for mask in masks:
        if _opposite(mask) in masks:
            return True
        if isinstance(mask, x.Fn) and mask.name == "eq" and isinstance(mask.args[1], x.Num):
            if states.setdefault(mask.args[0], mask.args[1]) != mask.args[1]:
                return True
    return False


def _unseen(masks: Sequence[Expr]) -> set[str]:
    """The data that are missing where conditions hold."""
    inner = (c.args[0] for c in masks if isinstance(c, x.Fn) and c.name == "not")
    return {PRESENT.named(e.var) for e in inner if isinstance(e, El) and e.var in PRESENT}


def _reads(case: Case, unseen: set[str]) -> bool:
    """Whether a condition of no data's own reads data that are missing there: it is refused before it is asked."""
    of_data = any(isinstance(c, El) and c.var in PRESENT for c in case.masks)
    return not of_data and any(x.variables(e) & unseen for e in (*case.lows, *case.highs))


def _cases(cut: Cut) -> list[Case]:
    """The cases of a condition that is there, each with ends in which nothing is left to be chosen."""
    ends = LOWEST if cut.lower is None else cut.lower, HIGHEST if cut.upper is None else cut.upper
    work: list[tuple[tuple[Expr, ...], Expr, Expr, bool | None]] = [(tuple(_masks(cut)), *ends, None)]
    out: list[Case] = []
    while work:
        masks, low, high, apart = work.pop(0)
        choice = next((e for end in (low, high) for e in x.walk(end) if isinstance(e, x.Where)), None)
        if choice is None:
            out.append(
                _outside(masks, high, low) if apart else Case(masks, _several("max", low), _several("min", high))
            )
            continue
        for holds in (True, False):
            mask = choice.cond if holds else _opposite(choice.cond)
            ends = _where(low, choice.cond, holds), _where(high, choice.cond, holds)
            work.append(
                ((*masks, mask), *ends, cut.apart and not holds if apart is None else apart)
            )  # the first says it
    return out


def _outside(masks: tuple[Expr, ...], low: Expr, high: Expr) -> Case:
    """The case of what lies outside of an interval: of none it lies anywhere, of a half-line on the other one."""
    lows, highs = _several("max", low), _several("min", high)
    if HIGHEST in lows or LOWEST in highs:
        return Case(masks)
    below, above = extreme("max", *lows), extreme("min", *highs)
    if below is None or above is None:
        return Case(
            masks, (HIGHEST if above is None else above,) if below is None else (), () if below is None else (below,)
        )
    return Case(masks, (below,), (above,), True)


def _where(e: Expr, condition: Expr, holds: bool) -> Expr:
    """An expression where a condition holds, or does not."""

    def chosen(n: Expr) -> Expr | None:
        return (n.then if holds else n.other) if isinstance(n, x.Where) and n.cond == condition else None

    return x.rebuild(e, chosen)


def _several(name: str, e: Expr) -> tuple[Expr, ...]:
    """The ends of which one is the largest, or the least; none where there is no end."""
    match e:
        case x.Fn(fn, (a, b)) if fn == name:
            return (*_several(name, a), *_several(name, b))
    return () if e in (LOWEST, HIGHEST) and (e == LOWEST) == (name == "max") else (e,)
