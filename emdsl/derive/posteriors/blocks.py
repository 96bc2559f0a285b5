"""LogJoint -> blocks of latents, in the order in which they are eliminated.

    sum over u of exp(sum_j <T_j(u), eta_j(rest)>)  =  exp A(eta(rest))

Eliminating a block leaves one new factor, its log-normaliser as a function of the neighbours it is
gated by; the neighbours take it up like any other factor. A discrete block is the family whose
statistics are one-hots; a continuous one is found in the table of posteriors by its statistics.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El
from emdsl.derive.algebra.made import AT, FIT, FREE, LOG_NORMALISER
from emdsl.derive.joint.factors import Factor, LogJoint
from emdsl.derive.joint.plates import conditions_of
from emdsl.derive.joint.sides import LATENT, PARAMETER, classes, side_in
from emdsl.derive.joint.spikes import leaves
from emdsl.derive.joint.terms import Term, apart, merge, symmetry_of, terms
from emdsl.derive.joint.weights import of_all, weigh
from emdsl.derive.posteriors.block import MOST_TOGETHER, Block, Tied, gates_outside, touches
from emdsl.derive.posteriors.chains import from_their_start
from emdsl.derive.posteriors.clouds import holds_points
from emdsl.derive.posteriors.conjugate import conjugate_block
from emdsl.derive.posteriors.cuts import DENSITIES, cut_of
from emdsl.derive.posteriors.discrete import WAYS_OUT, discrete_block, elements_apart, groups, network_block, scopes_of
from emdsl.derive.posteriors.joint_gaussian import gaussian_block
from emdsl.derive.posteriors.networks import widest
from emdsl.derive.posteriors.outward import outward
from emdsl.derive.posteriors.refusals import Intractable
from emdsl.derive.posteriors.scaled import scaled_block, scaled_messages
from emdsl.derive.posteriors.turns import block_in_turn
from emdsl.errors import ModelError, Problem
from emdsl.language import model as m


@dataclass(frozen=True)
class Part:
    """One factor of q: its blocks, solved exactly given the others' expectations, and its share of the bound.

    `log_norm` are the terms whose sum is log of the normaliser, `own` the expectations of what it normalises: the
    entropy of this factor is their difference.
    """

    latents: tuple[str, ...]
    blocks: tuple[Block, ...]
    log_norm: tuple[Term, ...]
    own: tuple[Term, ...]


@dataclass(frozen=True)
class Elimination:
    """Blocks in the order of elimination, the terms of the joint, and what no latent is left in."""

    blocks: tuple[Block, ...]
    free: tuple[Term, ...]  # terms without any latent: the log-likelihood is their sum
    prior: tuple[Term, ...]  # terms in parameters alone
    terms: tuple[tuple[Term, Factor], ...]  # every term of the joint, with the factor it came from
    parts: tuple[Part, ...] = ()  # of mean-field: the factors of q, in the order of their updates
    others: tuple[Term, ...] = ()  # of these the terms of the bound that the last factor does not touch


def eliminate(joint: LogJoint, weighted: str | None, only: AbstractSet[str] | None = None) -> Elimination:
    """All blocks in order, or those of `only` some latents. Raises `ModelError` naming the factor that ties a posterior
    that is not tractable."""
    kinds = classes(joint)
    everything = [(t, f) for f in joint.factors for t in apart(f, side_in(kinds))]
    prior = tuple(t for t, f in everything if is_prior(t, f, joint))
    whole = (p for f in joint.factors if holds_points(f) for p in _closed(f, kinds, joint))
    pool = [(t, f.span, f.about) for t, f in everything if not is_prior(t, f, joint) and not holds_points(f)]
    left = {n: g for n, g in groups(joint, everything).items() if only is None or not only.isdisjoint(g)}
    blocks, rest = eliminated(joint, left, [*pool, *whole], kinds, weighted, whole=True)
    free = tuple(merge((weigh(t, weighted, joint) for t in rest), symmetry_of(joint)))
    return Elimination(blocks, free, tuple(merge(prior, symmetry_of(joint))), tuple(everything))


def _closed(f: Factor, kinds: Mapping[str, str], joint: LogJoint) -> list[Tied]:
    """A factor at the points of a cloud: opened only where a continuous latent stands in it, evaluated as it is.

    Points that all elements share are opened as parameters are: data come apart from them, and enter once.
    """
    if any(c.shared for c in joint.clouds):
        return [(t, f.span, f.about) for t in terms(f, lambda n: PARAMETER if n in AT else side_in(kinds)(n))]
    latent = {n: k for n, k in kinds.items() if k in LATENT}
    return [(t, f.span, f.about) for t in terms(f, side_in(latent))]


def eliminated(
    joint: LogJoint, left: Mapping[str, tuple[str, ...]], pool: Sequence[Tied],
    kinds: Mapping[str, str], weighted: str | None, apart: str | None = None, whole: bool = False,
) -> tuple[tuple[Block, ...], list[Term]]:  # fmt: skip
    """The blocks of these latents in order of elimination, and the terms that are left. Raises `ModelError`.

    `apart` is a latent whose single elements are factors of q, where terms hold two of them. `whole`: what is cut
    and is a density of its own takes its constants along.
    """
    pool = list(pool)
    blocks: list[Block] = []
    while left:
        single = elements_apart(apart, joint, pool) if apart is not None and apart in left else None
        made = single or _next_or_in_turn(left, joint, pool, kinds, weighted, apart)
        if (
            made.latents == (apart,)
            and made.field is not None
            and made.field.ties
            and not (made.gates or made.field.held)
        ):
            made = replace(made, apart=True)
        filters = tuple(conditions_of(joint.model.variable(n), joint.model) for n in made.latents)
        made = replace(made, filters=filters)
        density = DENSITIES.get(made.record) if whole and made.record else None
        if density and is_own_density(made, joint, pool):
            made = replace(made, record=density)
            pool = [p for p in pool if p[2] != made.name or touches(p[0], made.latents)]
        blocks.append(made)
        left = {n: latents for n, latents in left.items() if not set(latents) & set(made.latents)}
        span = joint.model.variable(made.latents[0]).span
        pool = [p for p in pool if not touches(p[0], made.latents)]
        told = [t for message in messages(made) for t in from_their_start(message, made.terms)]
        pool += [(of_all(t, made.name, joint), span, made.name) for t in told]
    return tuple(blocks), [t for t, _, _ in pool]


def is_own_density(block: Block, joint: LogJoint, pool: Sequence[Tied]) -> bool:
    """Whether all that says where a cut Gaussian lies, but for its cuts, is its own density, on the whole line.

    Then what it leaves is the mass between its ends. With the constants apart it would be a small difference of
    squares, where its mean is many standard deviations from 0.
    """
    variable = joint.model.variable(block.name)
    if not variable.domain.unbounded or block.scale is not None:
        return False
    told = (t for t, _, about in pool if about != block.name and touches(t, block.latents))
    normal = all(c.family.name == "Normal" for _, c in leaves(variable.distribution))
    return normal and all(cut_of(t, block.name) is not None for t in told)


def _next_or_in_turn(
    left: Mapping[str, tuple[str, ...]], joint: LogJoint, pool: Sequence[Tied], kinds: Mapping[str, str],
    weighted: str | None, apart: str | None,
) -> Block:  # fmt: skip
    """The next block; where there is none, the elements of the latent that are factors for themselves, in turn."""
    try:
        return _next_block(left, joint, pool, kinds, weighted)
    except ModelError:
        alone = apart is not None and left.get(apart) == (apart,) and apart not in joint.discrete
        found = block_in_turn(apart, joint, pool, weighted) if alone and apart is not None else None
        if found is None:
            raise
        return found


def _next_block(
    left: Mapping[str, tuple[str, ...]], joint: LogJoint, pool: Sequence[Tied],
    kinds: Mapping[str, str], weighted: str | None,
) -> Block:  # fmt: skip
    """The first block that can be eliminated now. Raises `ModelError` with each one's reason where none can."""
    reasons: dict[str, Problem] = {}
    around = {c.outer for c in joint.clouds}
    for name, latents in sorted(left.items(), key=lambda kv: (kv[0] in joint.discrete, kv[0] in around)):
        make = discrete_block if name in joint.discrete else conjugate_block
        made = make(name, latents, joint, pool, kinds, weighted)
        if isinstance(made, Block):
            return made
        reasons[name] = made
    for name, latents in left.items():
        scaled = scaled_block(latents, joint, pool, kinds, weighted) if name not in joint.discrete else None
        if scaled is not None:
            return scaled
    found = gaussian_block(left, joint, pool, kinds, weighted, WAYS_OUT)
    if isinstance(found, Block):
        return found
    network = network_block(left, joint, pool, kinds, weighted)
    if network is not None:
        return network
    reasons = outward(reasons, joint, pool, kinds) | {n: p for n, p in found.items() if n in reasons}
    raise Intractable({n: reasons[leader] for leader, group in left.items() for n in group}, joint.model.source)


def enumerable(blocks: Sequence[Block], model: m.ModelText) -> None:
    """Raises ModelError where the states of one element are too many to be enumerated."""
    for b in blocks:
        if b.too_many:
            v = model.variable(b.latents[0])
            at_once = max(len(s) for s in scopes_of(b))
            wide = len(widest(scopes_of(b), dict.fromkeys(b.states, 2)))
            count = f"{len(b.states)} latents meet in a term, at least 2^{len(b.states)} states for each element"
            if b.at_once > len(b.states):
                count = f"{b.at_once} elements meet in a term, at least 2^{b.at_once} states together"
            elif at_once < wide:
                count = (
                    f"{len(b.states)} latents are tied, and summing them out one after the other needs a table over "
                )
                count += f"{wide} of them, at least 2^{wide} entries for each element"
            hint = f"at most {MOST_TOGETHER} can be enumerated together; write fewer, or infer ... by meanfield"
            text = f"the posterior of {b.latents[0]} is not tractable: {count}"
            raise ModelError(Problem("E110", text, v.span, hint), model.source)


def is_prior(t: Term, f: Factor, joint: LogJoint) -> bool:
    """Whether a term is about parameters and hyperparameters alone: a prior or a penalty."""
    if f.role == "param":
        return True
    names = {n for e in t.factors for n in x.variables(e)}
    data = {v.name for v in joint.model.variables if v.kind in ("latent", "observed")}
    return f.role == "potential" and not t.gates and not names & data


def messages(block: Block) -> list[Term]:
    """What elimination leaves: the log-normaliser as a function of the gates.

    For a Gaussian with precision tau M and linear term tau b it is linear in the statistics of tau,
    `tau b^2 / (2 M) - 1/2 log tau - 1/2 log M + const`: cancellation is conjugacy. (A vector has log tau once for
    each of its free numbers.) An element that a filtered plate leaves out has none.
    """
    there = block.exists
    axes = (*block.gates, *block.outside)
    ixs = (*block.outside, *block.gates)
    if block.scale is not None and block.gaussian is not None and not block.by_pattern:
        return scaled_messages(block)
    if block.scale is None:
        return [Term(1, gates_outside(block), (El(LOG_NORMALISER.of(block.name), axes), *there), ixs)]
    half = x.HALF.value
    rank = (El(FREE.of(block.name), block.home),) if block.gaussian is not None else ()
    return [
        Term(half, block.neighbours, (block.scale, El(FIT.of(block.name), axes), *there), ixs),
        Term(-half, block.neighbours, (x.fn("log", block.scale), *rank, *there), ixs),
        Term(1, block.neighbours, (El(LOG_NORMALISER.of(block.name), axes), *there), ixs),
    ]
