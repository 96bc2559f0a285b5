"""The numbers of a derivation's steps: the report prints them, and the generated module names them in its comments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from emdsl.derive.joint.joint import calls
from emdsl.derive.joint.spikes import is_point_mass
from emdsl.derive.plan import Plan
from emdsl.language import model as m


@dataclass(frozen=True)
class Numbers:
    """Step by step: `posterior` by block, `update` by parameter, the statistics one after the other within theirs.

    `reference` is the step that says what data are measured from; None where they are taken as they are.
    """

    posterior: Mapping[str, int]
    statistics: int
    statistic: Mapping[str, str]
    update: Mapping[str, int]
    objective: int
    reference: int | None
    draws: int | None = None
    substituted: int = 0


def numbers(plan: Plan) -> Numbers:
    """The numbers of a plan, in the order of a textbook: joint, families, bound, posteriors, statistics, Q, updates."""
    model, blocks, statistics = plan.joint.model, plan.elimination.blocks, plan.expected.statistics
    k = 2 if any(not is_point_mass(c.family) for v in model.variables for c in calls(v)) else 1
    k += 1 if plan.draws is not None else 0
    drawn = k if plan.draws is not None else None
    k += 1 if blocks else 0  # the bound
    posterior = {b.name: k + n for n, b in enumerate(blocks, 1)}
    substituted = k + len(blocks) + 1
    k += len(blocks) + (1 if plan.joint.deterministic else 0) + (1 if statistics else 0)
    statistic = {s.name: f"{k}.{n}" if len(statistics) > 1 else str(k) for n, s in enumerate(statistics, 1)}
    of_statistics = k
    k += 1 if plan.updates else 0  # Q
    update = {name: k + n for n, u in enumerate(plan.updates, 1) for name in u.params}
    last = k + len(plan.updates) + 1
    reference = last + 1 if plan.centred or plan.planes or plan.designs else None
    return Numbers(posterior, of_statistics, statistic, update, last, reference, drawn, substituted)


def families_called(model: m.ModelText) -> list[tuple[m.Family, int]]:
    """Families with the parameterisation called, once each; a point mass is no density."""
    found = {(c.family, c.signature): None for v in model.variables for c in calls(v)}
    return [(family, k) for family, k in found if not is_point_mass(family)]
