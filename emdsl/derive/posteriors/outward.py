"""What stands in the way of a Gaussian: ties to latents that it cannot take in, not those between its own numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from emdsl.derive.joint.factors import LogJoint
from emdsl.derive.joint.terms import continuous_in
from emdsl.derive.posteriors.block import Tied, latents_in, touches
from emdsl.derive.posteriors.discrete import WAYS_OUT
from emdsl.derive.posteriors.fields import atoms_of
from emdsl.derive.posteriors.refusals import Within
from emdsl.errors import Problem


def outward(
    reasons: Mapping[str, Problem], joint: LogJoint, pool: Sequence[Tied], kinds: Mapping[str, str]
) -> dict[str, Problem]:
    """The reasons in which a tie between numbers that may be one Gaussian yields to one that leads out of it."""
    out = dict(reasons)
    lines = _lines(joint, pool, kinds) if any(isinstance(p, Within) for p in reasons.values()) else {}
    for name, problem in reasons.items():
        if isinstance(problem, Within):
            line = lines.get(name, frozenset())
            out[name] = (_way_out(name, line, pool, kinds) if problem.partner in line else None) or problem
    return out


def _lines(joint: LogJoint, pool: Sequence[Tied], kinds: Mapping[str, str]) -> dict[str, frozenset[str]]:
    """For each real number those that terms hold together with it, itself among them, as far as that leads."""
    found = {v.name: frozenset([v.name]) for v in joint.model.variables if v.domain.kind == "real"}
    for t, _, _ in pool:
        met = {found[n] for n in continuous_in(t, kinds) | latents_in(t).keys() if n in found}
        if len(met) > 1:
            whole = frozenset().union(*met)
            found |= dict.fromkeys(whole, whole)
    return found


def _way_out(name: str, line: frozenset[str], pool: Sequence[Tied], kinds: Mapping[str, str]) -> Problem | None:
    """The first tie of a latent that no Gaussian has: a product of more than two numbers, or a latent off the line."""
    mine = [p for p in pool if touches(p[0], (name,))]
    for inside in (True, False):
        for t, span, about in mine:
            atoms = atoms_of(t, tuple(line), dict.fromkeys(line, ())).latents
            others = set(atoms) - {name} if len(atoms) > 2 else set()
            if not inside:
                others = continuous_in(t, kinds) - line or set(latents_in(t))
            if others:
                kind = "discrete" if min(others) in latents_in(t) else "continuous"
                text = f"{name} is tied to the {kind} latent {min(others)} in the density of {about or 'a factor'}"
                return Problem("E110", f"the posterior of {name} is not tractable: {text}", span, WAYS_OUT)
    return None
