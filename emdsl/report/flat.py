"""A product as one list of factors under sums, and which of its factors are diagonal matrices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr, Idx, Ix
from emdsl.report.conditions import of_rows
from emdsl.report.writer import Writer


@dataclass(frozen=True)
class Product:
    """`number * prod(factors)` summed over `sums`."""

    number: Fraction | float
    factors: tuple[Expr, ...]
    sums: tuple[Ix, ...]


def flatten(e: Expr) -> Product | None:
    """Nested sums and products as one; None where an index would be bound twice."""
    c, rest = x.split_number(e)
    factors: list[Expr] = []
    sums: list[Ix] = []
    for p in x.factors_of(rest):
        match p:
            case x.Sum(ix, body):
                inner = flatten(body)
                if inner is None or ix in sums or set(inner.sums) & {*sums, ix}:
                    return None
                c = c * inner.number
                factors += inner.factors
                sums += [ix, *inner.sums]
            case x.Pow(base, x.Num(v)) if v == 2 and sums:
                factors += [base, base]
            case x.Num():
                c = c * p.value
            case _:
                factors.append(p)
    squared = [p for p in factors if isinstance(p, x.Pow) and p.exponent == x.num(2) and set(x.free(p)) & set(sums)]
    for p in squared:
        if isinstance(p, x.Pow):
            at = factors.index(p)
            factors[at : at + 1] = [p.base, p.base]
    return Product(c, tuple(factors), tuple(sums))


def with_own_sums(e: Expr) -> Expr:
    """The expression in which no two sums share an index."""
    return OwnSums(lambda _: None, {}).of(e)


class OwnSums(x.Rebuilding):
    """Each place by itself: a sum that stands in two of them has two indices."""

    __slots__ = ()

    def of(self, e: Expr) -> Expr:
        if not isinstance(e, x.Sum):
            return self.below(e)
        ix, body = x.refresh(e)
        return x.Sum(ix, self.of(body))


def rows_alone(t: Writer, e: Product) -> Product:
    """A sum over parents and their rows as one over the rows: each knows its parent, or data point at it."""
    for p in e.factors:
        if not isinstance(p, x.Sel) or not isinstance(p.at, Ix) or p.at not in e.sums:
            continue
        if of_rows(p.of) or (isinstance(p.of, El) and p.of.var in t.known.indices):
            own: dict[Ix, Idx] = {p.at: x.as_index(p.of)}
            factors = tuple(x.substitute(q, own) for q in e.factors if q is not p)
            return rows_alone(t, Product(e.number, factors, tuple(i for i in e.sums if i != p.at)))
    return e


def in_own(t: Writer, e: Expr, i: Ix) -> bool:
    """Whether an index stands in an expression at the own axes of its elements alone."""
    for n in x.walk(e):
        match n:
            case El(idx=idx):
                own = t.own(n)
                if any(i in x.free(El("", (p,))) for p in idx[: len(idx) - own]):
                    return False
                if any(isinstance(p, x.DataIx) and i in x.free(p.value) for p in idx):
                    return False
            case x.Val() if n.ix == i:
                return False
            case x.Sel() if n.at == i or i in x.free(n.of):
                return False
            case x.Fn("E"):
                continue  # a mean of products: what it holds is looked at by itself
            case x.Fn() | x.Pow() | x.Where() if i in x.free(n):
                return False
    return True


def middle(t: Writer, factors: Sequence[Expr], i: Ix) -> int | None:
    """Which factor of `sum_d A[d, q] v[d] b[d]` is a diagonal matrix: a vector between a matrix and something else."""
    at = [k for k, p in enumerate(factors) if i in x.free(p)]
    if len(at) != 3:
        return None
    inner = {k: p.base if isinstance(p, x.Pow) and p.exponent == x.num(-1) else p for k, p in enumerate(factors)}
    bare = [k for k in at if isinstance(e := inner[k], El) and t.own(e) == 1 and e.idx[-1] == i]
    found = next((k for k in bare if isinstance(factors[k], x.Pow)), bare[0] if bare else None)
    others = [factors[k] for k in at if k != found]
    if found is None or not all(isinstance(e, El | x.Add | x.MatInv) and in_own(t, e, i) for e in others):
        return None
    return found if any(isinstance(e, x.MatInv) or (isinstance(e, El) and t.own(e) == 2) for e in others) else None


def with_diagonals(t: Writer, tensors: Sequence[Expr], joined: Sequence[Ix]) -> tuple[list[Expr], list[Ix]]:
    """The index of a diagonal matrix becomes two."""
    out, indices = list(tensors), list(joined)
    for i in joined:
        k = middle(t, out, i)
        if k is None:
            continue
        twin = x.fresh(i.dim)
        other = next(n for n in reversed(range(len(out))) if n != k and i in x.free(out[n]))
        out[other] = x.substitute(out[other], {i: twin})
        out[k] = x.Mul((x.Delta(i, twin), out[k]))
        indices.append(twin)
    return out, indices
