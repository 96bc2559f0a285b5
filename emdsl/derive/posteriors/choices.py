"""What a plan says of each latent: how its posterior is found, and why that way."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from math import prod

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Ix
from emdsl.derive.algebra.show import show
from emdsl.derive.joint.factors import Cloud, Configurations, LogJoint
from emdsl.derive.joint.plates import plate_names
from emdsl.derive.joint.records import spelt
from emdsl.derive.posteriors.block import Block
from emdsl.derive.posteriors.blocks import Elimination
from emdsl.derive.posteriors.chains import Chain
from emdsl.derive.posteriors.configurations import MOST, asked
from emdsl.derive.posteriors.draws import Sampling
from emdsl.derive.posteriors.fields import Field
from emdsl.derive.posteriors.networks import widest
from emdsl.derive.posteriors.quadrature import bounded, counts, finest
from emdsl.derive.posteriors.refusals import Refused


@dataclass(frozen=True)
class Choice:
    """How the posterior of one latent is found, and why that way."""

    method: str
    reason: str


def _gates(b: Block) -> list[str]:
    """The discrete latents that a block is gated by."""
    return sorted({n.of.var for n in b.neighbours if isinstance(n.of, El)})


def choices(elimination: Elimination, joint: LogJoint, refused: Refused, draws: Sampling | None) -> dict[str, Choice]:
    """How the posterior of each latent is found, with the reason in words; `refused` is why the rungs above were."""
    out: dict[str, Choice] = {}
    for g in draws.groups if draws is not None else ():
        together = f"drawn together with {', '.join(g.latents)}: " if len(g.latents) > 1 else ""
        for n in g.latents:
            out[n] = Choice(f"{draws.method}:{g.kernel}" if draws is not None else "", together + g.reason)
    for b in elimination.blocks:
        found = _block_choice(b, elimination, joint)
        told = [n for n in b.latents if n not in joint.multipliers]
        out.update(dict.fromkeys((n for n in told if b.gaussian is not None or n not in joint.in_clouds), found))
    if joint.configurations is not None:
        del out[joint.configurations.name]
        choice = _configurations_choice(joint, joint.configurations, refused)
        out.update(dict.fromkeys(joint.configurations.latents, choice))
    for cloud in joint.clouds:
        out.update(dict.fromkeys(cloud.latents, _cloud_choice(cloud, joint, refused, bool(elimination.parts))))
    for name in sorted(joint.deterministic):
        tail = "integrated between the ends that the data leave it, by the mass that its family has there"
        substituted = "a function of others: substituted"
        out[name] = Choice(*(("exact:tail", tail) if name in joint.tails else ("exact:conjugate", substituted)))
    for v, elements in joint.model.vectors:
        ways = dict.fromkeys(out[e].method for e in elements)
        each = "; ".join(f"{e}: {out[e].reason}" for e in elements)
        out[v.name] = Choice("quadrature" if "quadrature" in ways else next(iter(ways)), f"element by element: {each}")
    for part in elimination.parts:
        for name in part.latents:
            text = f"a factor of q for {', '.join(part.latents)}, the others averaged: {out[name].reason}"
            text += f"; not exact: {refused.of(name)}" if refused else ""
            out[name] = Choice("meanfield", text)
    for events in joint.events:
        for n in (*events.latents, *sorted(out.keys() & x.variables(events.log))):
            text = f"which addend of {show(events.log)} an event is of is a factor of q, too"
            out[n] = replace(out[n], reason=f"{out[n].reason}; {text}")
    return out


def _block_choice(b: Block, elimination: Elimination, joint: LogJoint) -> Choice:
    """How a block is eliminated; inside which states of others, where it is gated."""
    gates = ", ".join(_gates(b))
    if b.gaussian is not None:
        held = ", ".join(n for n in b.latents if n not in joint.multipliers)
        method, reason = "exact:gaussian", f"every term is linear or quadratic in {held}: one Gaussian for each element"
        reason = f"{reason}, given the others that it is multiplied by, in turn" if b.turns else reason
        if b.field is not None:
            method, reason = _field_choice(held, b.field, b.apart)
            fixed = ", ".join(joint.multipliers[n] for n in b.latents if n in joint.multipliers)
            reason += f"; parts of {fixed} have no noise: they hold exactly" if fixed else ""
    elif b.record is not None:
        method, reason = b.record.plan, f"its {_statistics(b)} it {b.record.name}"
        reason += ", cut to the interval that the data leave it" if b.cuts else ""
        reason += ", an element at a time, given the others that it is multiplied by" if b.turns else ""
    else:
        method, reason = _discrete_choice(b, elimination, joint)
        return Choice(method, f"{reason}, given {gates}" if gates else reason)
    return Choice("exact:hybrid", f"{reason}, given {gates}") if gates else Choice(method, reason)


def _statistics(b: Block) -> str:
    """`statistics log u and u make`: what the log joint is linear in."""
    assert b.record is not None
    names = [spelt(n, b.name) for n in b.record.statistics]
    several = f"statistics {', '.join(names[:-1])} and {names[-1]} make"
    return several if len(names) > 1 else f"statistic {names[0]} makes"


def _discrete_choice(b: Block, elimination: Elimination, joint: LogJoint) -> tuple[str, str]:
    """Enumerated, along a chain, as a network; and what is integrated out inside each state."""
    states = _states(b, joint)
    at = [n for n in b.latents if n in joint.in_clouds]
    method, reason = "exact:enumeration", f"{states} states per element, enumerated"
    reason += f" at each point of {', '.join(at)}" if at else ""
    if b.chain is not None:
        method, reason = "exact:chain", _chain_reason(states, b.chain)
    if b.network:
        method, reason = "exact:tree", _network_reason(states, b)
    inside = [c.name for c in elimination.blocks if (c.record or c.gaussian) and set(_gates(c)) & set(b.latents)]
    return ("exact:hybrid", f"{reason}; {', '.join(inside)} integrated out inside each") if inside else (method, reason)


def _configurations_choice(joint: LogJoint, found: Configurations, refused: Refused) -> Choice:
    """How many configurations there are, in words, and what ties the elements of these latents."""
    counts = []
    for n in found.latents:
        over = " * ".join(plate_names(joint.model.variable(n))[found.inner(n) :])
        counts.append(f"{joint.levels[n]}^({over})" if "*" in over else f"{joint.levels[n]}^{over}")
    names = ", ".join(found.latents)
    each = f" within each {plate_names(joint.model.variable(found.name))[-1]}" if found.plates else ""
    most = f"at most {MOST}" if asked(joint.model) else f"where they are few: infer {names} by exact takes up to {MOST}"
    every = f"{' '.join(counts)} configurations of all elements of {names}{each}"
    return Choice("exact:hybrid", f"{every}, enumerated ({most}): {refused.first}")


def _cloud_choice(cloud: Cloud, joint: LogJoint, refused: Refused, averaged: bool) -> Choice:
    """How a latent that no family closes is integrated out, and what ties it."""
    several = len(cloud.latents) > 1 or any(joint.model.variable(n).domain.dims for n in cloud.latents)
    points = f"{cloud.points} x {cloud.points}" if several else str(cloud.points)
    text = f"adaptive Gauss-Hermite, {points} points at the mode of each element of {', '.join(cloud.latents)}"
    if counts(cloud, joint):
        text = f"a sum over the counts about the mode of each element of {cloud.name}, {4 * cloud.points + 1} of them"
    if bounded(cloud, joint):
        text = (
            f"the doubly exponential rule, {4 * cloud.points + 1} points about the mode of each element of {cloud.name}"
        )
    if cloud.kinks:
        text = (
            f"the doubly exponential rule, {4 * cloud.points + 1} points in each of the {len(cloud.kinks) + 1} pieces "
            f"of {cloud.name} between kinks and steps of its density, at {', '.join(map(show, cloud.kinks))}"
        )
    if cloud.bends:
        text = (
            f"Gauss-Legendre, {8 * cloud.points} points in panels about the mode of each element of {cloud.name}, and "
            f"as many panels more as its density has kinks there, at {', '.join(show(b.at) for b in cloud.bends)}"
        )
    if averaged:
        return Choice("quadrature", text)
    text += ", more where these do not do" if finest(joint) > 1 else ""
    return Choice(
        "quadrature", text + (f"; not exact: {refused.of(cloud.name)}" if refused else "; an infer line asks for it")
    )


def _states(b: Block, joint: LogJoint) -> str:
    """`A x B (4 by default)`, `2 x 3 = 6`: states of an element, and of those before it, in a chain of some lag."""
    depth = b.chain.depth if b.chain is not None else 1
    own = [
        joint.levels[n].removesuffix("[max]").replace("[", " ").removesuffix("]")
        for n in b.latents
        if n not in joint.in_clouds
    ]
    states = (
        " x ".join(k if n == 1 else f"{k}^{n}" for k, n in Counter(own).items()) if len(own) > 4 else " x ".join(own)
    )
    defaults = {s.name: s.default.constant for s in joint.model.sizes if s.default is not None}
    counts = [int(n) if n.isdigit() else defaults.get(n) for n in own]
    known = [n for n in counts if n is not None]
    if b.network or len(own) * depth < 2 or len(known) < len(counts):
        return states
    if depth == 1 and all(n.isdigit() for n in own):
        return f"{states} = {prod(known)}"
    return f"{states} ({prod(known)} by default)" if depth == 1 else f"{states} ({prod(known)}^{depth} by default)"


def _chain_reason(states: str, chain: Chain) -> str:
    lag = "" if chain.depth == 1 else f", each tied to the {chain.depth} before it"
    return f"{states} states per element, a chain along {chain.ragged or chain.order.dim}{lag}: forward and backward"


def _field_choice(held: str, field: Field, apart: bool) -> tuple[str, str]:
    """A chain where each tie is along an ordered plate; else one Gaussian whose precision has the ties' pattern."""
    reason = f"every term is linear or quadratic in {held}"
    if apart:
        return "exact:gaussian", f"{reason}: each element by itself, given the means of those that it is tied to"
    lags = [t.lag for t in field.ties]
    if lags and all(lag is not None for lag in lags):
        furthest = max(lag for lag in lags if lag is not None)
        reach = "the one before it" if furthest == 1 else f"those up to {furthest} before it"
        return "exact:kalman", f"{reason}, an element tied to {reach}: elimination along the plate"
    return "exact:gaussian", f"{reason}: one Gaussian over all elements, with the pattern of their ties"


def _network_reason(states: str, b: Block) -> str:
    if b.apart:
        return f"{states} states per element, each element a factor given the others it is tied to, in turn"
    ties = len([c for c in b.network if len(c.places) > 1])
    tied = f"{states} states per element, tied in {ties} way{'' if ties == 1 else 's'}"
    places = {p for c in b.network for p in c.places}
    if len(places) == len(b.latents) and all(
        isinstance(i, Ix) for _, idx in places for i in idx
    ):  # none to another row
        of = dict(zip(b.latents, b.states, strict=True))
        scopes = [frozenset(of[n] for n, _ in c.places) for c in b.network]
        width = len(widest(scopes, dict.fromkeys(b.states, 2)))
        return f"{tied}: summed out one latent after the other, by tables over at most {width} of the {len(b.latents)}"
    return f"{tied}: summed out one element after the other, in an order chosen when data are bound"
