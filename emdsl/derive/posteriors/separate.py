"""Parts of a model that no factor ties: their posteriors are independent, so each has its own way."""

from __future__ import annotations

from dataclasses import replace

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El
from emdsl.derive.joint.factors import Factor, LogJoint
from emdsl.derive.posteriors.blocks import eliminate
from emdsl.errors import ModelError

Names = frozenset[str]


def intractable(joint: LogJoint, weighted: str | None) -> tuple[Names, ...]:
    """The parts, as the names of their latents, that have no exact posterior; of one part alone it is known."""
    parts = separate(joint)
    return parts if len(parts) == 1 else tuple(p for p in parts if not _tractable(alone(joint, p), weighted, p))


def separate(joint: LogJoint) -> tuple[Names, ...]:
    """Latents, and data with missing entries, by what ties them."""
    names = {v.name for v in joint.model.variables if v.kind == "latent" or v.name in joint.incomplete}
    parts = [frozenset({n}) for n in names]
    for f in joint.factors:
        met = [p for p in parts if p & _held(f)]
        if len(met) > 1:
            parts = [p for p in parts if p not in met] + [frozenset().union(*met)]
    return tuple(sorted(parts, key=min))


def alone(joint: LogJoint, part: Names) -> LogJoint:
    """The joint without the factors of other parts."""
    return replace(joint, factors=tuple(f for f in joint.factors if _held(f) & part))


def _held(f: Factor) -> set[str]:
    return {*x.variables(f.body), *(g.of.var for g in f.gates if isinstance(g.of, El))}


def _tractable(joint: LogJoint, weighted: str | None, part: Names) -> bool:
    try:
        eliminate(joint, weighted, part)
    except ModelError:
        return False
    return True
