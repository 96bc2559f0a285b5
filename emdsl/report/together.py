"""The mean of a product as one statistic: `sum E[b] E[b]ᵀ + sum cov(b, b)` is `sum E[b bᵀ]`.

The code adds the two up apart, so that a small variance loses no digits beside a large mean; the equations of a step
hold them together, under one name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr, Idx, Ix
from emdsl.derive.algebra.made import COV, MEAN, STATISTIC, made_of
from emdsl.derive.plan import Plan
from emdsl.derive.posteriors.block import Block
from emdsl.derive.updates.statistics import Statistic


@dataclass(frozen=True)
class Together:
    """`whole` is `first + second`, all on the same axes; `mean` is the sum that this is."""

    whole: El
    first: El
    second: El
    mean: Expr


def means_of_products(plan: Plan) -> tuple[Together, ...]:
    """The statistics of a plan that are two parts of one mean."""
    blocks = {n: b for b in plan.elimination.blocks for n in b.latents}
    taken = {s.name for s in plan.expected.statistics}
    own = {v.name: len(v.domain.dims) for v in plan.joint.model.variables}
    found = (_pair(a, b, blocks, own) for a, b in pairwise(plan.expected.statistics))
    return tuple(t for t in found if t is not None and STATISTIC.named(t.whole.var) not in taken)


def _pair(a: Statistic, b: Statistic, blocks: Mapping[str, Block], axes: Mapping[str, int]) -> Together | None:
    means = [m for p in a.factors for m in _elements(p) if m.var in MEAN]
    covs = [p for p in b.factors if isinstance(p, El) and p.var in COV]
    if len(means) != 2 or len(covs) != 1 or len(a.axes) != len(b.axes):
        return None
    rest = [p for p in a.factors if not any(m.var in MEAN for m in _elements(p))]
    if rest != [p for p in b.factors if p is not covs[0]]:
        return None
    one, other, *_ = made_of(covs[0].var)[1]
    if any(blocks[u].field is not None and blocks[u].gates for u in (one, other)):
        return None
    n = len(covs[0].idx) - axes[one] - axes[other]

    def parts(m: El) -> tuple[tuple[Idx, ...], tuple[Idx, ...]]:
        """Which element of the latent it is of, and its own indices."""
        end = len(m.idx) - axes[MEAN.named(m.var)]
        return m.idx[len(blocks[MEAN.named(m.var)].gates) : end], m.idx[end:]

    def later(m: El) -> tuple[bool, bool]:
        place, _ = parts(m)
        return m.var != MEAN.of(one), place != covs[0].idx[n - len(place) : n]

    means.sort(key=later)
    if [m.var for m in means] != [MEAN.of(one), MEAN.of(other)]:
        return None
    own = [i for m in means for i in parts(m)[1]]
    at = {i: j for i, j in zip(covs[0].idx[n:], own, strict=True) if isinstance(i, Ix)}
    first, second = El(STATISTIC.of(a.name), a.axes), _at(El(STATISTIC.of(b.name), b.axes), at)
    if {*second.idx} != {*first.idx}:
        return None
    return Together(El(STATISTIC.of(f"E_{a.name}"), a.axes), first, second, _mean(a, rest, means, blocks))


def _elements(p: Expr) -> Iterator[El]:
    """The element that a factor is, twice of a square."""
    match p:
        case El():
            yield p
        case x.Pow(El() as e, x.Num(v)) if v == 2:
            yield from (e, e)


def _mean(a: Statistic, rest: Sequence[Expr], means: Sequence[El], blocks: Mapping[str, Block]) -> Expr:
    of, given = list[Expr](), list[Expr]()
    for m in means:
        block = blocks[MEAN.named(m.var)]
        of.append(El(MEAN.named(m.var), m.idx[len(block.gates) :]))
        places: dict[Ix, Idx] = dict(zip((*block.gates, *block.home), m.idx, strict=False))
        given += [g for gate in block.neighbours if (g := x.substitute(gate, places)) not in given]
    return x.totals([i for i in a.ixs if i not in a.axes], x.mul(*rest, x.Fn("E", (x.mul(*of), *given))))


def held_together(e: Expr, every: Mapping[str, Together], symmetric: Collection[str]) -> Expr:
    """The expression with one name for both parts, wherever they stand beside the same; the first has them."""
    return x.rebuild(e, lambda n: _joined(n, every, symmetric) if isinstance(n, x.Add) else None) if every else e


def _joined(e: x.Add, every: Mapping[str, Together], symmetric: Collection[str]) -> Expr | None:
    """Terms that differ in the two parts alone become one, again and again: a product of two pairs is four terms."""
    terms = dict(enumerate(e.terms))
    found, moved = {x.alpha(t): k for k, t in terms.items()}, True
    while moved:
        moved = False
        for k in list(terms):
            partner = _partner(terms[k], k, found, every, symmetric) if k in terms else None
            if partner is not None:
                whole, other = partner
                del found[x.alpha(terms[k])], found[x.alpha(terms.pop(other))]
                terms[k], found[x.alpha(whole)], moved = whole, k, True
    return x.add(*terms.values()) if len(terms) < len(e.terms) else None


def _partner(
    term: Expr, k: int, found: Mapping[Expr, int], every: Mapping[str, Together], symmetric: Collection[str]
) -> tuple[Expr, int] | None:
    """The term with the name of a whole in the place of its first part, and where the term with its second part is."""
    for held in (n for n in _outside_sums(term) if isinstance(n, El) and n.var in every):
        pair = every[held.var]
        at: dict[Ix, Idx] = dict(zip((i for i in pair.first.idx if isinstance(i, Ix)), held.idx, strict=True))
        second = _at(pair.second, at)
        for own in (second, _swapped(second)) if second.var in symmetric else (second,):
            other = found.get(x.alpha(x.put(term, held, own)), k)
            if other != k:
                return x.put(term, held, _at(pair.whole, at)), other
    return None


def _outside_sums(term: Expr) -> Iterator[Expr]:
    """What a term is made of, apart from sums within it: their terms are joined among themselves."""
    pending = [term]
    while pending:
        e = pending.pop()
        if not isinstance(e, x.Add):
            yield e
            pending += x.children(e)


def _at(e: El, at: Mapping[Ix, Idx]) -> El:
    return El(e.var, tuple(at.get(i, i) if isinstance(i, Ix) else i for i in e.idx))


def _swapped(e: El) -> El:
    return El(e.var, (*e.idx[:-2], e.idx[-1], e.idx[-2]))
