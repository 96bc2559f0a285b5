"""Comparisons of latents as comparisons of differences with 0, so that reference points cancel in them.

y == min(u, c)        min(u - y, c - y) == 0
u > c                 u - c > 0
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import Expr
from emdsl.derive.joint.factors import LogJoint

NUMERIC = frozenset(("eq", "ne", "lt", "le", "gt", "ge"))
TURNED = {"lt": "gt", "gt": "lt", "le": "ge", "ge": "le"}


def as_differences(joint: LogJoint, incomplete: Collection[str] = ()) -> LogJoint:
    """The joint in which what is compared with a continuous latent is subtracted from it; the same where nothing is.

    incomplete : data of which some are missing, latents like the others.
    """
    latent = {v.name for v in joint.model.of_kind("latent")}.union(incomplete) - joint.discrete
    factors = tuple(
        replace(f, body=_rewritten(f.body, latent)) if latent & x.variables(f.body) else f for f in joint.factors
    )
    return joint if factors == joint.factors else replace(joint, factors=factors)


def limits_of_latents(joint: LogJoint) -> frozenset[str]:
    """What is given, and compared with a continuous latent."""
    latent = {v.name for v in joint.model.of_kind("latent")} - joint.discrete
    given = {v.name for v in joint.model.of_kind("given")}
    nodes = (e for f in joint.factors for e in x.walk(f.body) if isinstance(e, x.Fn) and e.name in NUMERIC)
    return frozenset(n for e in nodes if (held := x.variables(e)) & latent for n in held & given)


def _rewritten(e: Expr, latent: set[str]) -> Expr:
    def step(n: Expr) -> Expr | None:
        if not isinstance(n, x.Fn) or n.name not in NUMERIC:
            return None
        held, limit = n.args
        name = n.name
        if not x.variables(held) & latent:
            held, limit, name = limit, held, TURNED.get(name, name)
        whole = any(isinstance(c, x.Fn) and c.name in x.COMPARISONS for c in x.walk(held))
        if (
            not x.variables(held) & latent
            or x.variables(limit) & latent
            or limit == x.ZERO
            or (whole and not _cases(held))
        ):
            return None
        return x.fn(name, _less(held, limit, latent), x.ZERO)

    return x.rebuild(e, step)


def _cases(e: Expr) -> bool:
    """Whether the conditions that it holds are those of its own cases; else it counts what holds."""
    return isinstance(x.split_number(e)[1], x.Where)


def _less(e: Expr, limit: Expr, latent: set[str]) -> Expr:
    """`e - limit`, taken into the cases of e."""
    number, inner = x.split_number(e)
    if abs(number) == 1 and isinstance(inner, x.Where):
        cases = (_less(x.mul(x.Num(number), part), limit, latent) for part in (inner.then, inner.other))
        return x.Where(_rewritten(inner.cond, latent), *cases)
    match inner:
        case x.Fn("min" | "max" as name, (a, b)) if abs(number) == 1:
            turned = {"min": "max", "max": "min"}[name] if number < 0 else name
            return x.fn(turned, *(_less(x.mul(x.Num(number), part), limit, latent) for part in (a, b)))
    return x.add(e, x.neg(limit))
