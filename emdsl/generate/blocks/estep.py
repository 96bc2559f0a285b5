"""Printing the E-step: log-normalisers, posterior probabilities and moments, block by block.

Of a discrete block, what is linear in data is one matrix product (`features`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr, Idx, Ix
from emdsl.derive.algebra.made import CLIQUE, LOG_NORMALISER, UNSEEN, Q
from emdsl.derive.joint.records import WHOLE
from emdsl.derive.joint.terms import Term
from emdsl.derive.posteriors.block import Block, gates_outside
from emdsl.derive.posteriors.blocks import messages
from emdsl.derive.posteriors.cuts import bounds_of
from emdsl.derive.posteriors.networks import clique_key, in_clique
from emdsl.generate.blocks.chains import emit_chain, gate_chain
from emdsl.generate.blocks.features import Stacked, emit_stack, features_of, with_numbers
from emdsl.generate.blocks.fields import emit_field
from emdsl.generate.blocks.gaussian import emit_gaussian
from emdsl.generate.blocks.lookups import look_up
from emdsl.generate.blocks.naturals import hand_out_moments, natural
from emdsl.generate.blocks.networks import emit_network
from emdsl.generate.blocks.once import contracted
from emdsl.generate.blocks.scaled import emit_scaled
from emdsl.generate.blocks.turns import emit_in_turn
from emdsl.generate.context import Function
from emdsl.generate.lines.arrays import Array, Leaf
from emdsl.generate.lines.kept import CONDITIONAL, TABLE
from emdsl.generate.lines.spelling import Binding


def emit_block(f: Function, block: Block, stacked: bool = True) -> Stacked | None:
    """The lines of one block: its table or natural parameters, and what elimination leaves.

    `stacked` is whether what it takes from data may be stacked once for all iterations.
    """
    if block.network:
        emit_network(f, block)
        return None
    if block.turns:
        emit_in_turn(f, block)
        return None
    if block.field is not None:
        emit_field(f, block, block.field)
        return None
    if block.gaussian is not None and block.scale is not None and not block.by_pattern:
        _emit_normaliser(f, block, emit_scaled(f, block))
        return None
    if block.gaussian is not None:
        _emit_normaliser(f, block, emit_gaussian(f, block))
        return None
    if block.states:
        return _emit_discrete(f, block, stacked)
    _emit_continuous(f, block)
    return None


def _emit_discrete(f: Function, block: Block, stacked: bool) -> Stacked | None:
    then = "the largest" if f.largest else "its posterior and log-normaliser"
    f.emitter.comment(f"log joint of {', '.join(block.latents)} with its data, for every state; then {then}")
    with f.part(block, "node" if block.chain is not None else "joint"):
        table, stack = _log_joint(f, block, stacked)
    if block.chain is not None:
        emit_chain(f, block, table)
        return stack
    with f.part(block, "joint"):
        _normalise(f, block, table, (*block.states, *block.gates, *block.home))
    return stack


def table_known(f: Function, block: Block) -> Leaf | None:
    """The log joint of a block as it was evaluated where its points were found; none where that is of the points alone,
    what else is eliminated with them summed out."""
    known = f.runtime.get(TABLE.of(block.name))
    alone = known is not None and len(known.order) == len((*block.states, *block.gates, *block.home))
    return known if alone else None


def _log_joint(f: Function, block: Block, stacked: bool) -> tuple[str, Stacked | None]:
    """The table of a discrete block's log joint, (states, gates, home), and what of it was stacked."""
    em, block = f.emitter, with_numbers(block)
    axes = (*block.states, *block.gates, *block.home)
    known = table_known(f, block)
    stack, others = features_of(f, block) if stacked and known is None else (None, block.nodes)
    table = em.namer.fresh(f"log_{block.name}")
    if known is not None:  # evaluated where its points were found
        em.lines.append(f"{table} = {known.code}")
        others = ()
    elif stack is not None:
        product = emit_stack(f, stack)
        em.lines.append(f"{table} = {product.code}")
        laid = block.chain is not None and not f.largest
        if laid:
            others = look_up(f, block, table, others, onto=True)
        if len(block.states) > 1 and not laid:
            shape = ", ".join(em.length(i) for i in axes)
            em.lines.append(f"{table} = {table}.reshape({shape})")
        if laid and (others or absent(block)):
            em.lines.append(f"{table} = {_by_row(f, block, table)}")
    elif block.chain is not None:  # which reads its table, and writes nothing into it
        terms, onto = list(block.nodes), False
        if stacked and not f.largest and len(block.home) == 1 and not block.neighbours:
            terms = look_up(f, block, table, terms, onto=False)
            onto = len(terms) < len(block.nodes)
        terms += absent(block)
        if terms or not onto:
            parts = [contracted(f, t, axes) for t in terms] or [Array("0.0", ())]
            parts += [Array(_by_row(f, block, table), axes, True)] if onto else []
            em.lines.append(f"{table} = {em.broadcast(em.sum(parts), axes).code}")
        return table, stack
    else:
        shape = ", ".join(em.length(i) for i in axes)
        em.lines.append(f"{table} = np.zeros(({shape},))")
    add_terms(f, table, others, axes)
    add_terms(f, table, absent(block), axes)
    return table, stack


def _normalise(f: Function, block: Block, table: str, axes: tuple[Ix, ...]) -> None:
    """A discrete posterior and its log-normaliser from the table of its log joint; the largest weight, if asked."""
    em = f.emitter
    q, log_z = em.namer.fresh(f"q_{block.name}"), em.namer.fresh(f"log_z_{block.name}")
    if f.largest:
        q = table
        em.lines.append(f"{log_z} = {table}.max(axis={tuple(range(len(block.states)))})")
    else:
        em.lines.append(f"{q}, {log_z} = normalise({table}, {len(block.states)})")
    cut = bool(block.home) and block.home[-1].dim == em.chunk
    f.runtime[CONDITIONAL.of(block.name)] = Leaf(q, tuple(range(len(axes))), True, cut=cut)
    f.runtime[LOG_NORMALISER.of(block.name)] = Leaf(log_z, tuple(range(len(axes) - len(block.states))), True, cut=cut)


def _by_row(f: Function, block: Block, table: str) -> str:
    """Code of a table in lanes as one by row, an axis for each latent."""
    axes = (*block.states, *block.home)
    shape = f".reshape({', '.join(f.emitter.length(i) for i in axes)})" if len(block.states) > 1 else ""
    return f"out_of_lanes({table}){shape}"


def absent(block: Block) -> list[Term]:
    """A latent that a filtered plate leaves out of a block that is there: all of its states alike."""
    out = []
    for latent, state in zip(block.latents, block.states, strict=True):
        alone = [e for e in block.conditions(latent) if e not in block.exists]
        if alone:
            gone = (x.add(x.ONE, x.neg(x.mul(*alone))), x.fn("log", x.SizeN(state.dim)))
            out.append(Term(-1, (), gone, (*block.states, *block.home)))
    return out


def add_terms(f: Function, table: str, terms: Sequence[Term], axes: tuple[Ix, ...]) -> None:
    """Adds contracted terms to a table in place; those without data are summed first, outside the loop."""
    em = f.emitter
    hoisted: list[Array] = []
    for t in terms:
        value = contracted(f, t, axes)
        if value.inner:
            em.lines.append(f"{table} += {em.align(value, axes)}")
        else:
            hoisted.append(value)
    if hoisted:
        total = em.name("constant", em.sum(hoisted))
        em.lines.append(f"{table} += {em.align(total, axes)}")


def _emit_continuous(f: Function, block: Block) -> None:
    em, record = f.emitter, block.record
    assert record is not None
    name = block.name
    em.comment(f"natural parameters of the posterior of {name} ({record.name}); its moments and log-normaliser")
    with f.part(block, "naturals"):
        arguments = [natural(f, block, record, s, n) for s, n in zip(record.statistics, record.neutral, strict=True)]
    with f.part(block, "ends"):
        beside = {side: em.name(f"{side}_{name}", em.value(e)) for side, e in _beside(f, block)}
    limits = list(beside.values())
    union = em.order([i for a in (*arguments, *limits) for i in a.axes])
    batch = tuple(i for i in union if i not in block.own)
    axes_of = [batch if s in WHOLE else union for s in record.statistics]
    aligned = [em.align(a, axes) if a.axes else a.code for a, axes in zip(arguments, axes_of, strict=True)]
    if record.rank:
        places = [union.index(i) for i in block.own]
        aligned.append(f"axis={places[0]}" if record.rank == 1 else f"axes={tuple(places)}")
    aligned += [f"{side}={em.align(a, union) if a.axes else a.code}" for side, a in beside.items()]
    inner = any(a.inner for a in (*arguments, *limits))
    if block.scale is not None:
        _emit_scaled(f, block, arguments, union)
        return
    log_z, moments = em.namer.fresh(f"log_z_{name}"), em.namer.fresh(f"moments_{name}")
    plain = all(a.code.startswith("eta_") for a in arguments)  # else the call holds what multiplies a statistic
    with f.part(block, *(("posterior",) if plain else ("naturals", "posterior"))):
        (em.lines if inner else em.outer).append(f"{log_z}, {moments} = {record.kernel}({', '.join(aligned)})")
    hand_out_moments(f, block, record, moments, arguments, union, inner)
    _emit_normaliser(f, block, Array(log_z, batch, inner))


def _beside(f: Function, block: Block) -> list[tuple[str, Expr]]:
    """What a kernel takes beside natural parameters: the bounds of a Gaussian that is known to lie in an interval; of
    a vector with missing cells the cells, which of them are missing, and what all add up to."""
    if block.cuts:
        return list(zip(("lower", "upper"), bounds_of(block.cuts), strict=True))
    if block.name not in f.plan.joint.incomplete:
        return []
    at = (*block.home, *block.own)
    cells: list[tuple[str, Expr]] = [("seen", El(block.name, at)), ("missing", El(UNSEEN.of(block.name), at))]
    return [*cells, ("total", block.total)] if block.total is not None else cells


def _emit_scaled(f: Function, block: Block, arguments: Sequence[Array], union: tuple[Ix, ...]) -> None:
    """A Gaussian whose precision is tau M and linear term tau b: location b / M, and what tau takes up."""
    em, name = f.emitter, block.name
    linear = em.align(arguments[0], union) if arguments[0].axes else arguments[0].code
    square, inner = arguments[1], any(a.inner for a in arguments)
    own = tuple(i for i in union if i in square.axes)  # states that move the location alone have one variance
    order = (*block.gates, *block.home)
    cut = em.chunk is not None and any(i.dim == em.chunk for i in union)
    code = em.align(square, own) if own else square.code
    variance = em.name(f"variance_{name}", Array(f"-0.5 / {code}", own, inner, binds=Binding.PRODUCT))
    wide = em.align(variance, union) if own else variance.code
    location = em.name(f"location_{name}", Array(f"{linear} * {wide}", union, inner, binds=Binding.PRODUCT))
    fit = em.name(f"fit_{name}", Array(f"{linear} * {location.code}", union, inner, binds=Binding.PRODUCT))
    log_norm = em.name(f"log_norm_{name}", Array(f"0.5 * np.log(2 * np.pi * {variance.code})", own, inner))
    for kind, value in (("variance", variance), ("location", location), ("fit", fit)):
        stored = tuple(order.index(i) for i in value.axes)
        f.runtime[f"{kind}:{name}"] = Leaf(value.code, stored, inner, cut=cut)
    full = em.name(f"log_norm_{name}", em.broadcast(log_norm, order))
    f.runtime[LOG_NORMALISER.of(name)] = Leaf(full.code, tuple(range(len(order))), full.inner, cut=cut)


def _emit_normaliser(f: Function, block: Block, log_z: Array) -> None:
    """A = the family's log-normaliser plus the block's terms without the latent."""
    with f.part(block, "normaliser" if block.gaussian is not None else "posterior"):
        _leave_normaliser(f, block, log_z)


def _leave_normaliser(f: Function, block: Block, log_z: Array) -> None:
    em = f.emitter
    axes = (*block.gates, *block.home)
    rest = [contracted(f, t, axes) for t, r in zip(block.terms, block.roles, strict=True) if not r]
    parts = [log_z, *rest]
    total = em.name(f"log_norm_{block.name}", em.sum(parts))
    cut = em.chunk is not None and any(i.dim == em.chunk for i in total.axes)
    if cut or total.axes == axes:
        full = em.name(f"log_norm_{block.name}", em.broadcast(total, axes))
        f.runtime[LOG_NORMALISER.of(block.name)] = Leaf(full.code, tuple(range(len(axes))), full.inner, cut=cut)
        return
    full = em.broadcast(total, axes)
    named = em.name(f"log_norm_{block.name}", full)
    whole = em.chunk is not None and any(i.dim == em.chunk for i in axes)
    f.runtime[LOG_NORMALISER.of(block.name)] = Leaf(
        named.code, tuple(range(len(axes))), named.inner or whole, cut=whole
    )


def emit_joint_probabilities(f: Function, blocks: Sequence[Block]) -> None:
    """Backward: each block's posterior together with its neighbours', `q(block, gates) = q(block | gates) q(gates)`."""
    em = f.emitter
    done: list[Block] = []
    for block in reversed(blocks):
        if block.network:
            done.append(block)
            continue
        home = block.home if block.field is None else block.outside
        axes = (*block.states, *block.gates, *home)
        outside = _neighbour_probability(f, block, done, block.neighbours, home)
        cut = bool(block.home) and block.home[-1].dim == em.chunk
        if block.states:
            own = f.runtime[CONDITIONAL.of(block.name)]
            if outside is None:
                f.runtime[Q.of(block.name)] = own
            else:
                joint = em.namer.fresh(f"q_{block.name}_joint")
                em.lines.append(f"{joint} = {own.code} * {em.align(outside, axes)}")
                f.runtime[Q.of(block.name)] = Leaf(joint, tuple(range(len(axes))), True, cut=cut)
                if block.chain is not None:
                    whole = _neighbour_probability(f, block, done, gates_outside(block), block.chain.outer)
                    assert whole is not None
                    gate_chain(f, block, outside, whole)
        elif outside is not None:
            named = em.name(f"q_gates_{block.name}", em.broadcast(outside, axes))
            f.runtime[Q.of(block.name)] = Leaf(named.code, tuple(range(len(axes))), named.inner, cut=cut)
        done.append(block)


def _neighbour_probability(
    f: Function, block: Block, done: Sequence[Block], gates: Sequence[x.Sel], home: tuple[Ix, ...]
) -> Array | None:
    """q of a block's gates, on the block's own plates, from the block that eliminated them first."""
    if not gates:
        return None
    names = {n.of.var for n in gates if isinstance(n.of, El)}
    owner = next(b for b in reversed(done) if names & set(b.latents))
    if owner.network:
        return _clique_probability(f, block, owner, (*block.gates, *home))
    idx: dict[Ix, Idx] = {}
    for n in gates:
        assert isinstance(n.of, El) and isinstance(n.at, Ix)
        if n.of.var in owner.latents:
            idx[owner.states[owner.latents.index(n.of.var)]] = n.at
            idx.update(dict(zip(owner.home, n.of.idx, strict=True)))
    for n in gates:
        assert isinstance(n.of, El) and isinstance(n.at, Ix)
        for other in owner.neighbours:
            if isinstance(other.of, El) and other.of.var == n.of.var:
                idx[other.at] = n.at  # type: ignore[index]
    places = tuple(idx.get(i, i) for i in (*owner.states, *owner.gates, *owner.home))
    axes = (*block.gates, *home)
    return f.emitter.contract(
        [El(Q.of(owner.name), places)], tuple(i for i in axes if i in {*block.gates, *x.free(El("", places))})
    )


def _clique_probability(f: Function, block: Block, owner: Block, axes: tuple[Ix, ...]) -> Array:
    """The same from a network: what the block left is a term of a clique, whose elements are the block's gates."""
    left = messages(block)[-1]
    held = in_clique(replace(left, factors=block.exists), owner.latents, f.plan.joint.levels)
    assert not isinstance(held, str), held
    number = next(n for n, c in enumerate(owner.network) if clique_key(c) == clique_key(held))
    states = {(g.of.var, g.of.idx): g.at for g in left.gates if isinstance(g.of, El) and isinstance(g.at, Ix)}
    q = El(CLIQUE.at(number).of(owner.name), (*(states[p] for p in held.places), *held.plates))
    return f.emitter.contract([q], tuple(i for i in axes if i in q.idx))
