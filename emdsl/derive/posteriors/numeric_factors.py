"""Factors of q that no family closes: each element is held at points, given the expectations of the other factors.

    log q(b_g)  =  E_{q of the others}[ log p(data, b_g, others) ] + const,    on the points of a quadrature

What stands at points is a discrete latent, so that mean-field is what it is without: its table is averaged over the
others, they read its points and their probabilities, and the entropy is that of the points and of their volumes.
"""

from __future__ import annotations

from collections.abc import Sequence

from emdsl.derive.joint.counted import counting
from emdsl.derive.joint.factors import Cloud, LogJoint
from emdsl.derive.posteriors.blocks import Elimination
from emdsl.derive.posteriors.meanfield import as_sums_or_addends, factorised, without_family
from emdsl.derive.posteriors.quadrature import counts, fit_for_points, placed, refuse_tied
from emdsl.errors import ModelError, Problem


def by_factors(
    joint: LogJoint, weighted: str | None, wanted: Sequence[tuple[str, ...]], clouds: Sequence[Cloud]
) -> tuple[LogJoint, Elimination]:
    """The joint and the factors of q, those without a family at points. Raises `ModelError`.

    clouds : what `infer` lines ask quadrature for. Beside these, whatever a factor has no family for is tried.
    """
    written, last = as_sums_or_addends(joint), None
    for one in written:
        try:
            return _at_points(one, weighted, wanted, clouds)
        except ModelError as refusal:
            last = last or refusal
    for one in written:
        found = _more_at_points(one, weighted, wanted, clouds)
        if found is not None:
            return found
    assert last is not None
    raise last


def _more_at_points(
    joint: LogJoint, weighted: str | None, wanted: Sequence[tuple[str, ...]], clouds: Sequence[Cloud]
) -> tuple[LogJoint, Elimination] | None:
    """With points for what has no family, or for all numbers; None where that is no way either."""
    tried: tuple[Cloud, ...] = tuple(clouds)
    for everyone in (False, True):
        groups = without_family(placed(joint, clouds) if clouds else joint, weighted, wanted, everyone)
        found = [fit_for_points(g, joint, clouds) for g in groups]
        more = tuple(c for some in found for c in some)
        if not all(found) or not more or (*clouds, *more) == tried:
            continue
        tried = (*clouds, *more)
        try:
            return _at_points(joint, weighted, wanted, tried)
        except ModelError:
            continue
    return None


def _at_points(
    joint: LogJoint, weighted: str | None, wanted: Sequence[tuple[str, ...]], clouds: Sequence[Cloud]
) -> tuple[LogJoint, Elimination]:
    if not clouds:
        joint = counting(joint)
        return joint, factorised(joint, weighted, wanted)
    whole = next((c for c in clouds if counts(c, joint)), None)
    if whole is not None:
        text = (
            f"{whole.name} is a count without an end: it is summed out beside exact posteriors, not beside mean-field"
        )
        raise ModelError(Problem("E120", text, joint.model.variable(whole.name).span), joint.model.source)
    for c in clouds:
        apart = [g for g in wanted if set(g) & set(c.latents)]
        if len(apart) > 1:
            text = f"{', '.join(c.latents)} are integrated together, and an infer line has them in factors of their own"
            raise ModelError(Problem("E120", text, joint.model.variable(c.name).span), joint.model.source)
    at_points = placed(joint, clouds)
    found = factorised(at_points, weighted, wanted)
    refuse_tied(joint, clouds, found.blocks)
    return at_points, found
