"""Where densities are not 0: said in a sentence, instead of `log([x ≥ 0])` among the terms of a log joint.

Only what every state of the latents says alike: the support of one branch tells which branch holds, and stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr, Idx, Ix
from emdsl.derive.algebra.made import PRESENT
from emdsl.derive.joint.factors import Factor
from emdsl.derive.joint.terms import Term
from emdsl.derive.plan import Plan

ENDS = ("ge", "gt", "le", "lt")


@dataclass(frozen=True)
class Support:
    """Where data are `given` (conditions that hold), one more condition holds: elsewhere their density is 0."""

    given: frozenset[Expr]
    holds: Expr


def supports(plan: Plan) -> tuple[Support, ...]:
    """What log joint terms `[given] log([holds])` say of data, whatever the latents are."""
    free = unknown(plan)
    out: dict[Support, None] = {}
    for factor in plan.joint.factors:
        given = frozenset(e for e in factor.masks if not x.variables(e) <= {n for n in x.variables(e) if n in PRESENT})
        for t in x.terms_of(factor.body):
            while isinstance(t, x.Where) and {*x.factors_of(t.cond)} <= {*factor.masks}:
                t = t.then
            condition = said(t, factor.gates, free)
            if condition is not None and not any(x.variables(e) & free for e in given):
                out[Support(given, condition)] = None
    return tuple(out)


def implied(held: Sequence[Expr], known: Sequence[Support]) -> set[Expr]:
    """What holds wherever data have any density and the conditions `held` do: beside `[a ≠ b]`, say, `[a > 0]`."""
    out: set[Expr] = set()
    for one, p in product(known, held):
        mine, theirs = x.free(one.holds), x.free(p)
        if [i.dim for i in mine] == [i.dim for i in theirs]:
            to: dict[Ix, Idx] = dict(zip(mine, theirs, strict=True))
            if {x.substitute(e, to) for e in one.given} <= {*held}:
                out.add(x.substitute(one.holds, to))
    return out


def said(e: Expr, gates: Sequence[x.Sel], free: frozenset[str]) -> Expr | None:
    """The condition of a term `log([x ≥ 0])` that holds for every state of its gates; None for any other term.

    `free` are the names that a fit or a posterior is about: what is compared with these is no mere support.
    """
    match e:
        case x.Fn("log", (x.Fn(name) as condition,)) if name in ENDS:
            everywhere = all(isinstance(g.at, Ix) for g in gates)
            return condition if everywhere and not x.variables(condition) & free else None
    return None


def unknown(plan: Plan) -> frozenset[str]:
    """What a support must not hold, to be a matter of data alone."""
    model = plan.joint.model
    return frozenset(v.name for v in model.variables if v.kind in ("latent", "param"))


def apart(factor: Factor, free: frozenset[str]) -> tuple[Expr, list[Expr]]:
    """A factor's log density without its ends, and these: of a latent's states as conditions on the latent."""
    terms = x.terms_of(factor.body)
    conditions = [said(t, factor.gates, free) for t in terms]
    body = x.add(*(t for t, c in zip(terms, conditions, strict=True) if c is None))
    states = {g.at: g.of for g in factor.gates if isinstance(g.at, Ix)}
    return body, [_of_latents(c, states) for c in conditions if c is not None]


def left_out(t: Term, free: frozenset[str]) -> bool:
    """Whether a term of an opened log joint is a support, whatever else is asked whether it is seen."""
    own = [f for f in t.factors if not (isinstance(f, El) and f.var in PRESENT)]
    return len(own) == 1 and said(own[0], t.gates, free) is not None


def _of_latents(condition: Expr, states: dict[Ix, Expr]) -> Expr:
    """`k < L` of the state k of a latent, said of the latent."""
    used: dict[Ix, Idx] = {i: x.DataIx(of) for i, of in states.items() if isinstance(of, El)}
    return x.substitute(condition, used)
