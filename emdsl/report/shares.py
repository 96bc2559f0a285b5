"""Softmaxes with a letter, in slopes and curvatures: `exp(a[k]) / sum_l exp(a[l])` as `P[k]`."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr, Ix
from emdsl.report import formula as f
from emdsl.report.conditions import in_one_order
from emdsl.report.page import Say, Show
from emdsl.report.typeset import Typeset

LETTERS = "PMWVUHGZYX"


class Shares:
    """The softmaxes that the equations of a step have met, each with its letter and as it was met first."""

    def __init__(self, t: Typeset, taken: Collection[str]) -> None:
        self.t = t
        self.free = [c for c in LETTERS if c not in taken]
        self.letters: dict[Expr, str] = {}
        self.met: dict[str, tuple[El, x.Fn, Expr]] = {}

    def named(self, e: Expr) -> Expr:
        """The expression with letters for the softmaxes in it."""
        return x.rebuild(e, self._step)

    def lines(self) -> Iterator[Say | Show]:
        """What the letters stand for."""
        if self.met:
            yield Say("With the softmax")
        for leaf, above, below in self.met.values():
            names = self.t.letters.extend({}, x.free(leaf))
            yield Show(
                f.Relation("=", self.t.of(leaf, names), f.Over(self.t.of(above, names), self.t.of(below, names)))
            )

    def _step(self, e: Expr) -> Expr | None:
        if not isinstance(e, x.Mul):
            return None
        factors, out = list(e.factors), []
        for p in e.factors:
            if isinstance(p, x.Pow) and isinstance(p.base, x.Sum) and p.exponent in (x.num(-1), x.num(-2)):
                if (inward := self._inward(e, p, p.base)) is not None:
                    return self.named(inward)
                above = [(q, leaf) for q in factors if (leaf := self._leaf(q, p.base)) is not None]
                times = 1 if p.exponent == x.num(-1) else 2
                if len(above) == times:
                    factors = [q for q in factors if q is not p and all(q is not a for a, _ in above)]
                    out += sorted(
                        (leaf for _, leaf in above), key=lambda e: [str(getattr(i, "name", i)) for i in e.idx]
                    )
        return x.mul(*map(self.named, factors), *out) if out else None

    def _inward(self, e: x.Mul, p: x.Pow, total: x.Sum) -> Expr | None:
        """`sum_j exp(a[j]) b[j] / sum_l exp(a[l])`, what divides beside what it belongs to; a square once for each."""
        for q in e.factors:
            if isinstance(q, x.Sum) and q is not total and self._holds(q.body, total):
                rest = [o for o in e.factors if o is not q and o is not p]
                once = x.power(total, x.num(-1))
                left = [once] if p.exponent == x.num(-2) else []
                return x.mul(*rest, *left, x.Sum(q.ix, x.mul(q.body, once)))
        return None

    def _holds(self, e: Expr, total: x.Sum) -> bool:
        return any(
            self._holds(p.body, total) if isinstance(p, x.Sum) else self._leaf(p, total) is not None
            for p in x.factors_of(e)
        )

    def _leaf(self, e: Expr, total: x.Sum) -> El | None:
        """The letter of an exponential that is one of a total's."""
        if not isinstance(e, x.Fn) or e.name != "exp":
            return None
        for i in x.free(e):
            if i.dim == total.ix.dim and _alike(x.substitute(total.body, {total.ix: i})) == _alike(e):
                free = sorted(x.free(total), key=lambda j: self.t.letters.rank(j, {}))
                key = x.alpha(in_one_order(x.substitute(total, {j: Ix(f"#{n}", j.dim) for n, j in enumerate(free)})))
                if key not in self.letters and not self.free:
                    return None
                letter = self.letters.setdefault(key, self.free[0] if self.free else "")
                self.free = [c for c in self.free if c != letter]
                leaf = El(letter, (*free, i))
                self.met.setdefault(letter, (leaf, e, total))
                return leaf
        return None


def _alike(e: Expr) -> Expr:
    return x.alpha(in_one_order(e))
