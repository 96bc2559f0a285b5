"""One continuous latent, an element at a time, whose family is found by its statistics.

    log joint  =  sum_j T_j(u) eta_j(rest)  +  what does not hold u

Each term gives what multiplies one statistic; conditions that only say where the latent lies cut it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr, Idx, Ix
from emdsl.derive.joint.factors import LogJoint
from emdsl.derive.joint.plates import home_of
from emdsl.derive.joint.ranges import range_of
from emdsl.derive.joint.records import Multiple, Posterior, recognise, statistic_of
from emdsl.derive.joint.spikes import is_point_mass, leaves
from emdsl.derive.joint.terms import continuous_in, symmetry_of
from emdsl.derive.joint.weights import weigh
from emdsl.derive.posteriors.block import Block, Tied, beside, place, several_of, touches
from emdsl.derive.posteriors.cuts import CUT_NORMAL, PARTED_NORMAL, Cut, cut_of
from emdsl.derive.posteriors.discrete import WAYS_OUT
from emdsl.derive.posteriors.held import KNOWN_TOTAL, held_record, may_be_held, total_of, total_unknown
from emdsl.derive.posteriors.joint_gaussian import common_scale
from emdsl.derive.posteriors.refusals import Within
from emdsl.derive.posteriors.roles import merge_roles
from emdsl.errors import Problem, Span
from emdsl.language import model as m


@dataclass(frozen=True)
class _Told:
    """What one term is to the latent (a multiple of a statistic, a cut, a total), and other latents that it holds."""

    what: Multiple | Cut | Expr
    others: tuple[str, ...] = ()


def conjugate_block(
    name: str, latents: tuple[str, ...], joint: LogJoint,
    pool: Sequence[Tied], kinds: Mapping[str, str], weighted: str | None,
) -> Block | Problem:  # fmt: skip
    """The block of a latent whose terms are those of a family in the table of posteriors; or why it is none."""
    variable = joint.model.variable(name)
    if name in joint.incomplete and not may_be_held(variable):
        text = f"missing cells of {name} are integrated out where it is jointly Gaussian with what it meets"
        return Problem("E110", text, variable.span, WAYS_OUT)
    home = home_of(variable)
    own = tuple(Ix(f"{name}_{i}", str(d)) for i, d in enumerate(variable.domain.dims))
    mine = [p for p in pool if touches(p[0], latents)]
    neighbours: dict[tuple[str, tuple[Idx, ...]], Ix] = {}
    told: list[_Told] = []
    for tied in mine:
        one = _told(tied, variable, home, own, neighbours, joint, kinds, weighted)
        if isinstance(one, Problem):
            return one
        told.append(one)
    multiples = [t.what for t in told if isinstance(t.what, Multiple)]
    cuts = [t.what for t in told if isinstance(t.what, Cut)]
    totals = [t.what for t in told if not isinstance(t.what, Multiple | Cut)]
    scales = {n for t in told for n in t.others}
    record = _family(variable, own, joint, multiples, totals)
    if isinstance(record, Problem):
        return record
    ends = range_of(variable)
    if isinstance(ends, str):
        return _refused(name, ends, variable.span)
    if ends != record.ends:  # the posterior ends where the latent does
        low, high = (None if math.isinf(end) else x.num(end) for end in ends)
        cuts.append(Cut(x.ONE, low, high))
    if cuts and (not record.gaussian or scales):
        return _cut(name, record, scales, mine)
    parted = any(c.apart for c in cuts)
    if parted and len(cuts) > 1:
        return _refused(name, "it is cut more than once, and may be seen outside of an interval", mine[0][1])
    record = PARTED_NORMAL if parted else CUT_NORMAL if cuts else record
    terms, roles = [t.rest for t in multiples], [t.name for t in multiples]
    scaled = common_scale(terms, roles, scales, home) if scales else (None, terms)
    if scaled is None or (scales and not record.gaussian):
        (_, span, about), other = next((p, min(t.others)) for p, t in zip(mine, told, strict=True) if t.others)
        text = f"{name} is tied to the continuous latent {other} in the density of {about or 'a factor'}"
        text = f"{text}, and {other} does not scale all of it" if record.gaussian else text
        return _refused(name, text, span, partner=other)
    gates = tuple(x.Sel(El(n, idx), k) for (n, idx), k in neighbours.items())
    merged = merge_roles(scaled[1], roles, symmetry_of(joint), (*home, *own, *neighbours.values()))
    found = Block(name, latents, home, (), gates, *merged, own=own, record=record, scale=scaled[0])
    return replace(found, cuts=tuple(cuts), total=totals[0] if totals else None)


def _told(
    tied: Tied, variable: m.Variable, home: tuple[Ix, ...], own: tuple[Ix, ...],
    neighbours: dict[tuple[str, tuple[Idx, ...]], Ix], joint: LogJoint, kinds: Mapping[str, str], weighted: str | None,
) -> _Told | Problem:  # fmt: skip
    """What a term tells of the latent, and the latents that gate it among the `neighbours`; or why it tells nothing."""
    (t, span, about), name = tied, variable.name
    held = name in joint.incomplete
    placed = place(t, (name,), home, (), neighbours, joint.levels)
    if isinstance(placed, str):
        return _refused(name, placed, span, partner=name if several_of((name,), t, home) else "")
    others = tuple(sorted(continuous_in(placed, kinds) - {name}))
    if others and (len(others) > 1 or own):
        text = f"{name} is tied to the continuous latent {others[0]} in the density of {about or 'a factor'}"
        return _refused(name, text, span, partner=others[0])
    placed = beside(placed, name, others, home)
    cut = cut_of(placed, name) if not own else None
    if cut is not None and set(placed.ixs) <= {*home, *neighbours.values()}:
        return _Told(cut, others)
    if held and (total := total_of(placed, name, own)) is not None:
        return _Told(total, others)
    found = statistic_of(weigh(placed, weighted, joint, home), name, home, own)
    if isinstance(found, str) and held:
        return _refused(name, total_unknown(found, placed, name), span, KNOWN_TOTAL)
    return _refused(name, found, span) if isinstance(found, str) else _Told(found, others)


def _family(
    variable: m.Variable, own: tuple[Ix, ...], joint: LogJoint, multiples: Sequence[Multiple], totals: Sequence[Expr]
) -> Posterior | Problem:
    """The family that has these statistics; of data with missing cells, the one that is held at what was seen."""
    name, terms, words = variable.name, [t.rest for t in multiples], [t.name for t in multiples]
    statistics = frozenset(w for w in words if w)
    if name in joint.incomplete:
        held = held_record(variable, statistics, terms, words, totals)
        return _refused(name, held, variable.span, KNOWN_TOTAL) if isinstance(held, str) else held
    found = recognise(statistics, len(own), variable)
    if isinstance(found, str) and variable.domain.interval and _whole_line(variable):  # `positive ~ Normal`: one cut
        line = recognise(statistics, len(own), replace(variable, domain=m.Domain("real")))
        found = found if isinstance(line, str) else line
    if isinstance(found, str):
        return Problem("E111", f"the posterior of {name} is not a known family: {found}", variable.span, WAYS_OUT)
    return found


def _whole_line(variable: m.Variable) -> bool:
    """Whether each family of a latent has a density on the whole line, of which its domain leaves a part."""
    calls = [c for _, c in leaves(variable.distribution)] if variable.distribution is not None else []
    return bool(calls) and all(c.family.x.domain.unbounded and not is_point_mass(c.family) for c in calls)


def _cut(name: str, record: Posterior, scales: set[str], mine: Sequence[Tied]) -> Problem:
    """Why no interval of a family is integrated: it is no Gaussian's, or other latents stand in its density."""
    why = f"its mean or its spread holds {', '.join(sorted(scales))}" if scales else f"no {record.name} is closed there"
    return _refused(name, f"it is cut to an interval, and {why}", mine[0][1])


def _refused(name: str, why: str, span: Span, hint: str = WAYS_OUT, partner: str = "") -> Problem:
    text = f"the posterior of {name} is not tractable: {why}"
    return Within("E110", text, span, hint, partner) if partner else Problem("E110", text, span, hint)
