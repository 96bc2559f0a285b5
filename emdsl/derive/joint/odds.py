"""Probabilities of a yes and of a no that are a logistic and the rest to 1: the logs of both by that of their odds.

    -z softplus(-a) - (1 - z) softplus(a)  =  z a - softplus(a)

So `Bernoulli(logistic(a))` is `Bernoulli(logit = a)` to all that follows: with a statistic, and one softplus.
"""

from __future__ import annotations

from itertools import permutations

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import Expr


def by_odds(e: Expr) -> Expr:
    """A sum with softplus(-a) = softplus(a) - a, where the factors of the two add up to one that is shorter."""
    held = {t: of for t in x.terms_of(e) if (of := _softplus(t)) is not None}
    for t, u in permutations(sorted(held, key=lambda t: len(x.terms_of(held[t][1]))), 2):
        (a, of_a), (b, of_b) = held[t], held[u]
        if x.alpha(a) != x.alpha(x.neg(b)):
            continue
        both = x.add(of_a, of_b)
        if len(x.terms_of(both)) >= len(x.terms_of(of_a)) + len(x.terms_of(of_b)):
            continue
        new = {t: x.mul(x.neg(of_a), b), u: x.mul(both, x.Fn("softplus", (b,)))}
        return x.add(*(new.get(v, v) for v in x.terms_of(e)))
    return e


def _softplus(t: Expr) -> tuple[Expr, Expr] | None:
    """(a, c) of c softplus(a)."""
    for f in x.factors_of(t):
        if isinstance(f, x.Fn) and f.name == "softplus":
            return f.args[0], x.mul(*(g for g in x.factors_of(t) if g is not f))
    return None
