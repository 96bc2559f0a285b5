"""The log joint about one factor of q averaged over the others, squares left closed: `E[(y[n] - w)^2]`.

    log q_g(y_g) = E_{others}[log p(x, y)] + const

(Bishop 2006, equation 10.9.) The derivation opens what it averages, into moments; a textbook does not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from fractions import Fraction

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr, Ix
from emdsl.derive.algebra.made import MEAN
from emdsl.derive.joint.factors import Factor
from emdsl.derive.joint.sides import ASKED, REST, classes, side_in
from emdsl.derive.joint.terms import Term, merge, opened, settle
from emdsl.derive.plan import Plan
from emdsl.derive.posteriors.averages import in_turn
from emdsl.derive.posteriors.block import Block, touches
from emdsl.report.explicit import is_covariance, mean_of


def averaged_over_others(plan: Plan, block: Block, factors: Sequence[Factor]) -> list[Term] | None:
    """The terms that hold a block, in its own latents and in means of what others hold; None where a mean is none of
    moments, and where the block is no factor by itself."""
    parts = plan.elimination.parts
    own = next((part for part in parts if part.blocks == (block,)), None)
    if own is None or block.gaussian is not None:
        return None
    others, out = [part for part in parts if part is not own], list[Term]()
    if any(b.scale is not None for part in others for b in part.blocks):  # squares close in its location
        return None
    for factor in factors:
        for c, body, sums in _opened(factor.body, block, {n for part in others for n in part.latents}):
            number, rest = x.split_number(x.mul(*body))
            kept = tuple(e for e in x.factors_of(rest) if e != x.ONE)
            term = settle(Term(c * number, factor.gates, factor.masks + kept, factor.plates + sums))
            if not touches(term, block.latents):
                continue
            found = in_turn(term, [part.blocks for part in others], plan.joint)
            if isinstance(found, str) or len(found) > 1 or any(is_covariance(e) for e in found[0].factors):
                found = mean_of(term, plan, others)
            if not found:
                return None
            out += found
    return merge(out, plan.expected.symmetry)


def _opened(
    body: Expr, block: Block, others: Set[str]
) -> Iterator[tuple[Fraction | float, tuple[Expr, ...], tuple[Ix, ...]]]:
    """A log density opened about a block and nothing else, each addend with latents of others by itself."""
    apart = [t for t in x.terms_of(body) if x.variables(t) & others]
    for term in (x.add(*(t for t in x.terms_of(body) if t not in apart)), *apart):
        yield from opened(term, lambda n: ASKED if n in block.latents else REST)


def squares_opened(e: Expr, plan: Plan, block: Block) -> list[tuple[Expr, Expr]]:
    """Means of squares in an expression, each with the square of the mean and the variance that it is made of.

    `E[(y - x'w)^2] = (y - x'E[w])^2 + x'cov(w, w) x`, of Gaussian latents.
    """
    sides = side_in(classes(plan.joint))
    others = [part.blocks for part in plan.elimination.parts if block not in part.blocks]
    gaussian = {n for blocks in others for b in blocks if b.gaussian is not None and not b.gates for n in b.latents}
    hidden = {n for blocks in others for b in blocks for n in b.latents}
    out: dict[Expr, tuple[Expr, Expr]] = {}
    for n in x.walk(e):
        match n:
            case x.Fn("E", (x.Pow(base, x.Num(v)),)) if v == 2 and x.variables(base) & hidden <= gaussian:
                terms = [settle(Term(c, (), fs, ixs)) for c, fs, ixs in opened(n.args[0], sides)]
                found = [in_turn(t, others, plan.joint) for t in terms]
                parts = [p for own in found if not isinstance(own, str) for p in own]
                spread = [p for p in parts if any(is_covariance(q) for q in p.factors)]
                mean = x.rebuild(base, lambda q: _mean_of(q, gaussian))
                rest = (x.totals([i for i in p.ixs if i not in x.free(n)], p.body) for p in spread)
                if isinstance(base, x.Add) and spread and not any(isinstance(own, str) for own in found):
                    out[x.alpha(n)] = n, x.add(x.power(mean, x.num(2)), *rest)
    return list(out.values())


def _mean_of(e: Expr, latents: Set[str]) -> Expr | None:
    return El(MEAN.of(e.var), e.idx) if isinstance(e, El) and e.var in latents else None
