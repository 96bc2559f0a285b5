"""Slopes and curvature of a block's log density by the value of a cloud: symbolic, one component at a time.

What is summed out inside leaves A, whose derivatives are those of a log-normaliser over states:
    A' = sum_k p_k t_k',     A'' = sum_k p_k (t_k'' + t_k' t_k'') - A' A'       (Louis 1982)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import DataIx, El, Expr, Idx, Ix
from emdsl.derive.algebra.made import AT, VOLUME
from emdsl.derive.joint.factors import Cloud, LogJoint
from emdsl.derive.joint.gradient import partials
from emdsl.derive.joint.plates import home_of
from emdsl.derive.joint.terms import Term
from emdsl.derive.posteriors.clouds import dimensions


@dataclass(frozen=True)
class Component:
    """One number of a cloud's element: of a vector, which."""

    latent: str
    at: int | None


def components(cloud: Cloud, joint: LogJoint) -> tuple[Component, ...]:
    """The dimensions of a cloud, in the order in which arrays of points have them."""
    out: list[Component] = []
    for n in cloud.latents:
        v = joint.model.variable(n)
        out += (
            [Component(n, k) for k in range(dimensions(v, joint.model) or 1)] if v.domain.dims else [Component(n, None)]
        )
    return tuple(out)


def slope_terms(
    terms: Sequence[Term], c: Component, joint: LogJoint, inner: Mapping[tuple[str, Component], str]
) -> list[Term]:
    """d terms / d (one component at the point), where `inner` names the slopes of what was summed out inside."""
    out: list[Term] = []
    own = len(home_of(joint.model.variable(c.latent)))
    own += next((cloud.lead for cloud in joint.clouds if c.latent in cloud.latents), 1)
    for t in terms:
        for i, f in enumerate(t.factors):
            rest = [g for j, g in enumerate(t.factors) if j != i]
            if isinstance(f, El) and (f.var, c) in inner:
                out.append(_settled(t, [El(inner[f.var, c], f.idx), *rest], ()))
                continue
            for leaf, p, sums in partials(f, AT.of(c.latent)):
                placed = _placed(t, leaf, own, c, [p, *rest], sums)
                if placed is not None:
                    out.append(placed)
    return out


def _placed(t: Term, leaf: El, own: int, c: Component, factors: Sequence[Expr], sums: tuple[Ix, ...]) -> Term | None:
    """The term in which an occurrence is the component asked for."""
    if c.at is None:
        return _settled(t, factors, sums)
    (slot,) = leaf.idx[own:]
    if isinstance(slot, Ix) and slot in (*t.ixs, *sums):
        to: dict[Ix, Idx] = {slot: c.at}
        made = _settled(t, [x.substitute(f, to) for f in factors], sums)
        return replace(made, ixs=tuple(i for i in made.ixs if i != slot))
    at = x.sel(slot.value, c.at) if isinstance(slot, DataIx) else x.delta(slot, c.at)
    return None if at == x.ZERO else _settled(t, [at, *factors], sums)


def _settled(t: Term, factors: Sequence[Expr], sums: tuple[Ix, ...]) -> Term:
    number, rest = x.split_number(x.mul(*factors))
    return Term(t.coef * number, (), tuple(f for f in x.factors_of(rest) if f != x.ONE), (*t.ixs, *sums))


def without_volume(terms: Sequence[Term]) -> tuple[Term, ...]:
    """The log density itself, without the volumes that points stand for."""
    return tuple(t for t in terms if not any(n in VOLUME for f in t.factors for n in x.variables(f)))
