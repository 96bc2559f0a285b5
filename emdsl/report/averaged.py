"""The log joint about one factor of q averaged over the others, squares left closed: `E[(y[n] - w)^2]`.

    log q_g(y_g) = E_{others}[log p(x, y)] + const

(Bishop 2006, equation 10.9.) The derivation opens what it averages, into moments; a textbook does not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from fractions import Fraction

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import Expr, Ix
from emdsl.derive.joint.factors import Factor
from emdsl.derive.joint.sides import ASKED, REST
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
