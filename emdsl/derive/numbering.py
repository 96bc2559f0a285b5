"""The numbers of a derivation's steps: the report prints them, and the generated module names them in its comments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import Expr
from emdsl.derive.algebra.made import MIXING, REFERENCE, is_made
from emdsl.derive.joint.factors import LogJoint
from emdsl.derive.joint.joint import calls
from emdsl.derive.joint.spikes import is_point_mass
from emdsl.derive.plan import Plan
from emdsl.derive.posteriors.block import Block
from emdsl.derive.posteriors.cuts import bounds_of
from emdsl.derive.posteriors.fields import Field
from emdsl.derive.posteriors.gaussian import Gaussian
from emdsl.derive.posteriors.quadrature import counts
from emdsl.derive.updates.newton import Newton, Together
from emdsl.derive.updates.quadratic import Linear
from emdsl.derive.updates.rules import Numeric, Update
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
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # of the posterior of each block
    moved: tuple[str, ...] = ()  # what is measured from a point, each by an equation

    def of(self, block: str, part: str) -> str:
        """The number of a part of a posterior: `4.2`, or `4` of all that is told where it is no part of its own."""
        if block not in self.posterior:
            return self.drawn("conditional")
        number, parts = self.posterior[block], self.parts[block]
        part = part if part in parts else OF_A_FAMILY.get(part, part)
        return f"{number}.{1 + parts.index(part)}" if part in parts and len(parts) > 1 else str(number)

    def drawn(self, part: str) -> str:
        """The number of what is told of draws: how each latent is given all else, means over them, slopes from them."""
        return f"{self.draws}.{1 + DRAWN.index(part)}"

    def shifted(self, name: str) -> str:
        """The number of what says from where a variable is measured."""
        several = name in self.moved and len(self.moved) > 1
        return f"{self.reference}.{1 + self.moved.index(name)}" if several else str(self.reference)

    def found(self, block: str) -> str:
        """The number of what says which probabilities or moments a posterior has."""
        return self.of(block, next((p for p in ("posterior", "moments", "joint") if p in self.parts[block]), ""))

    def climb(self, parameter: str, part: str) -> list[str]:
        """The number of the gradient, the curvature or the step of a climb by Newton's method."""
        return [f"{self.update[parameter]}.{1 + CLIMB.index(part)}"]

    def solved(self, u: Update) -> list[str]:
        """The numbers of the equations of an update, of those in parts one for each."""
        number, parts = self.update[u.params[0]], solved_parts(u)
        return [f"{number}.{n}" for n in range(1, len(parts) + 1)] if len(parts) > 1 else [str(number)]


DRAWN = ("conditional", "mean", "score")


def drawn_parts(plan: Plan) -> tuple[str, ...]:
    """What is told of draws in equations: slopes where all latents are drawn and there are parameters."""
    assert plan.draws is not None
    exact = plan.draws.rest or plan.elimination.blocks or plan.joint.clouds
    return DRAWN[:2] if exact or not plan.joint.model.of_kind("param") else DRAWN


# What is told of a Gaussian apart, and of a member of another family, or of a Gaussian of one number, together.
OF_A_FAMILY = {"precision": "naturals", "linear": "naturals", "moments": "posterior", "normaliser": "posterior",
               "ends": "posterior"}  # fmt: skip


CLIMB = ("gradient", "curvature", "step")


def solved_parts(u: Update) -> tuple[str, ...]:
    """What has equations of its own in an update, in order: parameters that are solved for together; of a climb by
    Newton's method the gradient, the curvature and the step."""
    match u.rule:
        case Linear():
            return tuple(c.name for c in u.rule.columns)
        case Newton() | Together():
            return CLIMB
        case Numeric() if u.rule.hessian is not None:
            return CLIMB
    return u.params[:1]


def posterior_parts(block: Block, joint: LogJoint) -> tuple[str, ...]:
    """What is told of a posterior in equations, in order: each part has a number, or several lines under one."""
    if block.network:
        return ("factors", "posterior") if block.apart else ("factors", "forward", "backward")
    if block.chain is not None:
        return ("node", "edge", "start", "forward", "backward", "posterior", "pairs", "normaliser")
    if block.states:
        lines = [c for c in joint.clouds if c.name in block.latents and not counts(c, joint)]
        ends = ("ends",) if any(c.ends for c in lines) else ()
        lines = [c for c in lines if c.method == "quadrature"]
        return (*(("points",) if lines else ()), *ends, "joint")
    if block.gaussian is not None:
        return _of_gaussian(block.gaussian, block.field, block.apart)
    ends = ("ends",) if interval(block) is not None else ()
    return ("naturals", *ends, "posterior") if has_arguments(block) else ("naturals",)


def _of_gaussian(g: Gaussian, tied: Field | None, apart: bool) -> tuple[str, ...]:
    found = ("precision", "linear", "moments")
    if g.seen:
        return found
    if tied is None or tied.held or apart:
        return (*found, "normaliser")
    return (*found, "normaliser", "forward", "backward")


def has_arguments(block: Block) -> bool:
    """Whether a posterior of a known family is told by the arguments of that family."""
    record = block.record
    if record is None or block.scale is not None:
        return False
    if block.cuts:
        return interval(block) is not None or bool(record.arguments)
    if record.arguments:
        return True
    return record.name == "Wishart" and {r for r in block.roles if r} <= {"logdet", "id"}


def interval(block: Block) -> tuple[Expr, Expr] | None:
    """The two ends between which a Gaussian is cut; where the lower one is the larger, it lies outside of them."""
    if not block.cuts or block.scale is not None or sum(c.apart for c in block.cuts) not in (0, len(block.cuts)):
        return None
    return bounds_of(block.cuts)


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
    parts = {b.name: posterior_parts(b, plan.joint) for b in blocks}
    moved = measured(plan)
    return Numbers(posterior, of_statistics, statistic, update, last, reference, drawn, substituted, parts, moved)


def measured(plan: Plan) -> tuple[str, ...]:
    """Data and what locates them that are measured from a point which an equation can name."""
    plain = [
        n
        for n, s in plan.shifts.items()
        if all(not is_made(v) or v in REFERENCE or v in MIXING for v in x.variables(s.value))
    ]
    return (*plan.centred, *plain)


def families_called(model: m.ModelText) -> list[tuple[m.Family, int]]:
    """Families with the parameterisation called, once each; a point mass is no density."""
    found = {(c.family, c.signature): None for v in model.variables for c in calls(v)}
    return [(family, k) for family, k in found if not is_point_mass(family)]
