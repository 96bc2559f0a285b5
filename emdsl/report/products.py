"""`E[a] E[b] + cov(a, b)` as a person writes it: `E[a b]`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr, Ix
from emdsl.derive.algebra.made import COV, MEAN, made_of
from emdsl.report.sums import matched, opened
from emdsl.report.writer import Writer


def second_moments(e: Expr, t: Writer) -> Expr:
    """The expression with every such pair of terms as one, of Gaussians that no state of another latent gates."""

    def step(n: Expr) -> Expr | None:
        return _joined(n, t) if isinstance(n, x.Add) else None

    return x.rebuild(e, step)


def _joined(e: x.Add, t: Writer) -> Expr:
    for k, term in enumerate(e.terms):
        c, factors, sums = opened(term)
        for p in factors:
            moments = _moments(p, t)
            if moments is None:
                continue
            product, one, other = moments
            rest = [q for q in factors if q is not p]
            wanted = Counter((*rest, one, other))
            twin = next((n for n, u in enumerate(e.terms) if n != k and _is(u, c, wanted, sums)), None)
            if twin is None:
                continue
            whole: Expr = x.mul(x.Num(c), *rest, x.Fn("E", (product,)))
            whole = x.totals(sums, whole)
            left = [whole if n == min(k, twin) else u for n, u in enumerate(e.terms) if n != max(k, twin)]
            out = x.add(*left)
            return _joined(out, t) if isinstance(out, x.Add) else out
    return x.add(*(second_moments(u, t) for u in e.terms))


def _is(e: Expr, c: Fraction | float, wanted: Counter[Expr], sums: Sequence[Ix]) -> bool:
    """Whether a term is the number times these factors, summed over the like of these indices."""
    d, factors, own = opened(e)
    if c != d or len(own) != len(sums) or len(factors) != wanted.total():
        return False
    return any(Counter(x.substitute(p, same) for p in factors) == wanted for same in matched(own, sums))


def _moments(e: Expr, t: Writer) -> tuple[Expr, El, El] | None:
    """Of a covariance the product that it is of, and the two means."""
    if not isinstance(e, El) or e.var not in COV:
        return None
    first, second, *tie = made_of(e.var)[1]
    block = next((b for b in t.blocks.values() if first in b.latents), None)
    if block is None or block.gates or (tie and block.field is None):
        return None
    a, b = t.axes.get(first, 0), t.axes.get(second, 0)
    place, own = e.idx[: len(e.idx) - a - b], e.idx[len(e.idx) - a - b :]
    at = ((*place, *own[:a]), (*place, *own[a:]))
    if block.field is not None:  # of an element with itself, or of any two of one array
        dims = [i.dim for i in block.field.homes[first]]
        home = len(dims)
        pair = [i.dim for i in place if isinstance(i, Ix)] == [*dims, *dims]
        if first != second or (not pair if tie else len(place) != home):
            return None
        at = ((*place[:home], *own[:a]), (*place[len(place) - home :], *own[a:]))
    product = x.mul(*(El(n, i) for n, i in zip((first, second), at, strict=True)))
    return product, El(MEAN.of(first), at[0]), El(MEAN.of(second), at[1])
