"""Of which latents that are integrated out by their tails the posterior can tell moments."""

from __future__ import annotations

from emdsl.derive.joint.factors import Factor, LogJoint
from emdsl.derive.joint.sides import LATENT, classes, side_in
from emdsl.derive.joint.terms import Term, terms
from emdsl.derive.posteriors.averages import expectation
from emdsl.derive.posteriors.blocks import Elimination


def told_tails(joint: LogJoint, elimination: Elimination) -> tuple[str, ...]:
    """Those whose moments are functions that the posteriors of all else have expectations of."""
    out = []
    for name in sorted(joint.tails):
        told = joint.told[name]
        found = (t for factor in (*told.mean, *told.second) for t in opened_about_latents(factor, joint))
        if not any(isinstance(expectation(t, elimination, joint), str) for t in found):
            out.append(name)
    return tuple(out)


def opened_about_latents(factor: Factor, joint: LogJoint) -> list[Term]:
    """The terms of a factor that is opened only where a continuous latent stands in it."""
    return terms(factor, side_in({n: k for n, k in classes(joint).items() if k in LATENT}))
