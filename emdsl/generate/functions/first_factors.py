"""Printing where the factors of q of a block start: seeded probabilities, plain members of families, points about 0."""

from __future__ import annotations

from collections.abc import Sequence

from emdsl.derive.algebra.expr import El, Ix
from emdsl.derive.algebra.made import (
    ARGUMENT,
    AT,
    CLIQUE,
    COV,
    FIRST,
    LOCATION,
    MEAN,
    MOMENT,
    PAIR,
    VARIANCE,
    Q,
    among,
    made_of,
)
from emdsl.derive.joint.factors import POINTS, Cloud
from emdsl.derive.joint.records import Posterior
from emdsl.derive.posteriors.block import Block
from emdsl.derive.posteriors.meanfield import moments_of
from emdsl.derive.posteriors.slopes import components
from emdsl.generate.blocks.clouds import limits
from emdsl.generate.context import Function
from emdsl.generate.functions.divisions import ends_of, own_data, seen_of, seen_of_elements
from emdsl.generate.functions.regrouped import divided_rows
from emdsl.generate.printer import Printer


def first_entries(printer: Printer, f: Function, block: Block, before: list[str], after: list[str]) -> list[str]:
    """Entries of one block.

    `before` takes the lines that make points, `after` those that need the probabilities of single elements.
    """
    model = printer.plan.joint.model
    clouds = [c for c in printer.plan.joint.clouds if c.name in block.latents]
    if clouds and len(block.latents) == 1 and not block.gates:
        return [f"**{_points_to_start(printer, f, block, clouds[0])},"]
    points = {c.name: f.emitter.namer.fresh(f"first_{c.name}") for c in clouds}
    before += [f"{points[c.name]} = {_points_to_start(printer, f, block, c)}" for c in clouds]
    out = []
    for key, axes in moments_of(block, model).items():
        if key not in printer.plan.moments:
            continue
        if clouds and key in Q:
            out.append(f'"{key}": {_among_points(printer, f, block, points, axes)},')
            continue
        stored = f.emitter.order(axes)
        if key in CLIQUE:
            network, order = f'prepared["the network of {block.name}"]', [axes.index(i) for i in stored]
            turned = f".transpose({order})" if order != sorted(order) else ""
            products = f"products({network}, {CLIQUE.number(key)}, factors, {_shape(f, axes)})"
            after.append(f'factors["{key}"] = {products}{turned}')
        elif code := _first_value(printer, f, block, key, axes):
            out.append(f'"{key}": {code},')
    if block.record is not None and block.scale is None:
        out.append(_first_member(printer, f, block, block.record))
    return [*out, *(f"**{code}," for code in points.values())]


def _first_value(printer: Printer, f: Function, block: Block, key: str, axes: tuple[Ix, ...]) -> str:
    """Code of what a factor of q has at the start under this name; nothing where its family has it."""
    stored, g = f.emitter.order(axes), block.gaussian
    shape, (_, of) = _shape(f, stored), made_of(key)
    if key in Q:
        return _first_probabilities(printer, f, block, shape, len(block.states) + len(block.gates))
    if among(key, (PAIR, FIRST)):
        chained = len([i for i in axes if i in (*block.states, *block.gates, *_before(block))])
        return f"shares_of_ones({shape}, {chained})"
    if key in COV:
        a, b, *tie = of
        assert g is not None
        if a != b or tie:
            return f"np.zeros({shape})"
        return f"unit_covariance({shape}, {[stored.index(i) for i in (*g.rows[a], *g.columns[b])]})"
    if key in MEAN and g is not None and of[0] in g.seen:
        value = f.emitter.value(El(of[0], tuple(axes[len(block.gates) :])))
        return f"np.array({f.emitter.broadcast(value, stored).code})"
    if among(key, (MEAN, LOCATION)):
        return f"rng.normal(size={shape})"
    if key in VARIANCE:
        own = axes[len(block.gates) + len(block.home) :]
        return f"unit_covariance({shape}, {[stored.index(i) for i in own]})"
    return ""


def _first_probabilities(printer: Printer, f: Function, block: Block, shape: str, states: int) -> str:
    """Code of seeded probabilities over so many states: elements seen are what they are, others differ a little."""
    if block.network:
        return _by_links(shape, seen_of_elements(printer, f, block))
    if block.states and (divided := divided_rows(printer, block, f.emitter.size(block.states[0].dim))):
        return divided
    rows = own_data(printer, f, block)
    if (ends := ends_of(printer, block)) and not block.gates:
        return _by_ends(printer, f, block, shape, ends, rows)
    if rows == "[]" and len(block.home) == 1 and not block.chain:  # rows or columns of a table
        rows = seen_of_elements(printer, f, block)
        if states == 1:
            return _by_links(shape, rows)
    return f"seeded(np.empty({shape}), {states}, {rows}, rng)"


def _by_links(shape: str, links: str) -> str:
    if links == "[]":
        return f"seeded(np.empty({shape}), 1, [], rng)"
    return f"seeded_by_links(np.empty({shape}), {links}, rng)"


def _by_ends(printer: Printer, f: Function, block: Block, shape: str, ends: tuple[Ix, ...], cells: str) -> str:
    """Code of probabilities that hold to a division of the rows and columns of a table."""
    stored = f.emitter.order((*block.states, *block.home))
    dims = list(dict.fromkeys(i.dim for i in ends))
    tables = ", ".join(seen_of(printer, f, block, {d}) for d in dims)
    where = ", ".join(f"({stored.index(i)}, {dims.index(i.dim)})" for i in ends)
    return f"by_ends(np.empty({shape}), [{where}], [{tables}], {cells}, rng)"


def _first_member(printer: Printer, f: Function, block: Block, record: Posterior) -> str:
    """Code of the moments of a plain member of the block's family."""
    found = moments_of(block, printer.plan.joint.model)
    wanted = [k for k in found if k in printer.plan.moments and among(k, (MOMENT, ARGUMENT))]
    stored = f.emitter.order((*block.gates, *block.home, *block.own))
    at = tuple(stored.index(i) for i in block.own)
    axis = "" if not at else f", axis={at[0]}" if len(at) == 1 else f", axes={at}"
    names = ", ".join(f'"{k}": ("{made_of(k)[0]}", "{made_of(k)[1][1]}")' for k in wanted)
    natural = ", ".join(map(str, record.neutral))
    kernel = "normal_posterior" if block.cuts else record.kernel  # one without ends: any start will do
    return f"**plain_member({kernel}, ({natural},), {_shape(f, stored)}, {{{names}}}, rng{axis}),"


def _shape(f: Function, axes: Sequence[Ix]) -> str:
    """Code of a tuple of lengths."""
    return f"({', '.join(f.emitter.size(i.dim) for i in axes)}{',' if len(axes) == 1 else ''})"


def _points_to_start(printer: Printer, f: Function, block: Block, cloud: Cloud) -> str:
    """Points about 0 in free coordinates, of a standard Gaussian's probabilities: each element a little off."""
    em, joint = f.emitter, printer.plan.joint
    shape = _shape(f, block.home)
    places: dict[str, list[int]] = {}
    for k, c in enumerate(components(cloud, joint)):
        places.setdefault(c.latent, []).append(k)
    cells = []
    for n, mine in places.items():
        axes = moments_of(block, joint.model)[AT.of(n)]
        order = tuple(axes.index(i) for i in em.order(axes)) if joint.model.variable(n).domain.dims else ()
        cells.append(f'"{n}": ({mine}, {order})')
    bounds = ", ".join(f"({', '.join(b)})" for b in limits(cloud, f))
    rule = f'prepared["the rules"]["{cloud.name}"]'
    return f'points_to_start("{cloud.name}", {rule}, [{bounds}], {shape}, {{{", ".join(cells)}}}, rng)'


def _among_points(printer: Printer, f: Function, block: Block, points: dict[str, str], axes: Sequence[Ix]) -> str:
    """Code of probabilities of states and points together, as if they were independent: those of states are seeded."""
    stored = f.emitter.order(axes)
    own = {n: next(i for i in block.states if i.dim == f"{n}{POINTS}") for n in points}
    rest = [i for i in stored if i not in own.values()]
    states = len([i for i in rest if i not in block.home])
    seeds = _first_probabilities(printer, f, block, _shape(f, rest), states) if states else ""
    weights = [f'{c}.pop("{Q.of(n)}")[{_stretched(stored, (own[n], *block.home))}]' for n, c in points.items()]
    return " * ".join([*([f"{seeds}[{_stretched(stored, rest)}]"] if states else []), *weights])


def _stretched(stored: Sequence[Ix], own: Sequence[Ix]) -> str:
    """Code of an index that gives an array over some of the axes all of them."""
    return ", ".join(":" if i in own else "None" for i in stored)


def _before(block: Block) -> tuple[Ix, ...]:
    return block.chain.before if block.chain is not None else ()
