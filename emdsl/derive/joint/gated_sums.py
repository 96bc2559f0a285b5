"""Sums over the elements of a discrete latent, opened: each element then stands in a gate of its own.

    (sum_p f(p, z_p))^2  =  sum_pq sum_kl [z_p = k] [z_q = l] f(p, k) f(q, l)

Of a sum each element's state is told by a selector (`scope.selected`). Powers and products of such sums are sums over
pairs of elements, of which two may be one and the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set
from dataclasses import replace

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr
from emdsl.derive.joint.factors import Factor
from emdsl.derive.joint.sides import LATENT
from emdsl.derive.joint.terms import Symmetry, Term, merge, opened_by
from emdsl.errors import ModelError, Problem


class UnderSum(ModelError):
    """Functions of sums over elements of discrete latents that are no polynomials; `sizes` are what is summed over."""

    def __init__(self, problems: list[Problem], source: str | None, sizes: Iterable[str]) -> None:
        super().__init__(problems, source)
        self.sizes = frozenset(sizes)

    @classmethod
    def of(cls, latent: str, f: Factor) -> UnderSum:
        """What is said of a factor that holds one."""
        what = f"the posterior of {latent} is not tractable: a density reads the elements of {latent} under a sum"
        hint = "where they are few, write the sum out, element by element, or give their number: `size K = 3`"
        return cls([Problem("E110", what, f.span, hint)], None, _summed_over(f))


def _summed_over(f: Factor) -> Iterator[str]:
    inside = (s for e in (f.body, *f.masks) for s in x.walk(e) if isinstance(s, x.Sum))
    yield from (s.ix.dim for s in inside if any(isinstance(e, x.Sel) for e in x.walk(s.body)))
    yield from (i.dim for g in f.gates if isinstance(g, x.Sel) for i in x.free(g.of) if i not in f.plates)


def opened_sums(f: Factor, discrete: Set[str]) -> list[Factor] | str:
    """The factor as factors without sums over elements of discrete latents; the name of one where a function of its
    sum is no polynomial, which does not come apart."""
    if not _selected(f.body, discrete):
        return [f]
    side, found = frozenset({LATENT.of(f.about)}), []
    for c, factors, sums in opened_by(f.body, lambda e: side if _selected(e, discrete) else frozenset(), together=True):
        gates = tuple(e for e in factors if isinstance(e, x.Sel) and _selected(e, discrete))
        number, rest = x.split_number(x.mul(x.Num(c), *(e for e in factors if e not in gates)))
        if left := _selected(rest, discrete):
            return left
        found.append(Term(number, gates, tuple(x.factors_of(rest)), sums))
    alike = merge((t for t in found if t.coef != 0), Symmetry(frozenset()))
    return [replace(f, gates=(*f.gates, *t.gates), body=t.body, plates=f.plates + t.ixs) for t in alike]


def _selected(e: Expr, discrete: Set[str]) -> str:
    """A discrete latent whose states selectors in an expression tell; "" where there is none."""
    found = (s.of.var for s in x.walk(e) if isinstance(s, x.Sel) and isinstance(s.of, El))
    return min((n for n in found if n in discrete), default="")
