"""The log-likelihood as the sum of what latents leave where they are summed out, and of what holds none of them."""

from __future__ import annotations

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr
from emdsl.derive.joint.factors import Factor
from emdsl.derive.joint.sides import ASKED, REST
from emdsl.derive.joint.terms import opened
from emdsl.derive.plan import Plan
from emdsl.derive.posteriors.blocks import messages
from emdsl.report.formula import Formula
from emdsl.report.squares import closed_squares
from emdsl.report.supports import Ends, apart, ends_of
from emdsl.report.tidy import tidy
from emdsl.report.typeset import Typeset


def likelihood(plan: Plan, t: Typeset) -> Formula:
    """`sum_n A(z[n]) + ...`, squares closed."""
    blocks = plan.elimination.blocks
    latents = frozenset(n for b in blocks for n in b.latents)
    left = [m for b in blocks for m in messages(b)]
    parts = [x.totals(m.ixs, x.mul(*m.gates, m.body)) for m in left]
    parts = [e for e in parts if not x.variables(e) & latents]
    return t.of(x.add(*(tidy(e, t.known) for e in [*parts, *beside_latents(plan, t)])), {})


def beside_latents(plan: Plan, t: Typeset) -> list[Expr]:
    """What the log joint has without any latent, factor by factor."""
    blocks = plan.elimination.blocks
    latents = frozenset(n for b in blocks for n in b.latents)
    whole = {b.name for b in blocks if b.normalised}
    factors = (factor for factor in plan.joint.factors if factor.role != "param" and factor.about not in whole)
    return [e for factor in factors if (e := _rest(factor, latents, ends_of(plan), t)) != x.ZERO]


def _rest(factor: Factor, latents: frozenset[str], ends: Ends, t: Typeset) -> Expr:
    """What a factor has without any latent."""
    if any(x.variables(g) & latents for g in (*factor.gates, *factor.masks)):
        return x.ZERO
    density = apart(factor, ends)[0]
    own = [x.totals(sums, x.mul(x.Num(c), *held))
           for c, held, sums in opened(density, lambda n: ASKED if n in latents else REST)]  # fmt: skip

    def at_0(e: Expr) -> Expr:
        return x.rebuild(e, lambda n: x.ZERO if isinstance(n, El) and n.var in latents else None)

    bare = [e for e in own if not x.variables(e) & latents]
    if all(at_0(e) == x.ZERO for e in own if e not in bare):  # a polynomial: squares need not be opened
        body = at_0(density)
    else:
        body = closed_squares(tidy(x.add(*bare), t.known))
    return x.totals(factor.plates, x.mul(*factor.gates, *factor.masks, body))
