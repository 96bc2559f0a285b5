"""Printing the log density of a latent that stands at points: a function of its value, with slopes on request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Ix
from emdsl.derive.algebra.made import AT, LOG_NORMALISER, VOLUME, among, is_made, subject
from emdsl.derive.joint.factors import Cloud, LogJoint
from emdsl.derive.joint.plates import home_of
from emdsl.derive.joint.terms import Term
from emdsl.derive.posteriors.block import Block
from emdsl.derive.posteriors.slopes import Component, components, slope_terms, without_volume
from emdsl.generate.blocks.clouds import around as around_it
from emdsl.generate.blocks.clouds import block_of, density_name, emit_points, point_leaves
from emdsl.generate.blocks.estep import add_terms, table_known
from emdsl.generate.blocks.once import contracted
from emdsl.generate.context import Function
from emdsl.generate.lines.arrays import Array, Leaf
from emdsl.generate.lines.kept import CONDITIONAL
from emdsl.generate.lines.spelling import Binding, apart_by, indent
from emdsl.generate.printer import Printer


def inside(printer: Printer, block: Block, told: Sequence[str] = ()) -> list[Block]:
    """The blocks that leave something in a block's terms, directly or through others, in order of elimination; not
    through those whose log joint is `told`, with all that is inside them."""
    found: list[Block] = []
    parts = printer.plan.elimination.parts
    every = next((p.blocks for p in parts if block in p.blocks), printer.plan.elimination.blocks)
    wanted = [block]
    while wanted:
        b = wanted.pop()
        names = {n for t in b.terms * (b.name not in told) for f in t.factors for n in x.variables(f) if is_made(n)}
        read = {subject(n) for n in names if not among(n, (AT, VOLUME))}
        more = [b for b in every if b.name in read and b not in found and b is not block]
        found += more
        wanted += more
    return [b for b in every if b in found]


def density_lines(printer: Printer, cloud: Cloud) -> list[str]:
    """`log_density_of_b(params, prepared)`: log p(b, what is known of it) as a function of b, all elements at once."""
    f = printer.function()
    f.emitter.far = frozenset()  # where a density is 0 its log may be minus infinity
    em, block = f.emitter, block_of(printer.plan, cloud)
    home = home_of(printer.plan.joint.model.variable(cloud.name))
    within = inside(printer, block)
    block = _each_its_own(block) if cloud.shared else block
    at = em.namer.fresh("at")
    point_leaves(f, cloud, at, cut=printer.chunk is not None)
    outer = next((c for c in printer.plan.joint.clouds if c.name == cloud.outer), None)
    around = [em.namer.fresh("around")] if outer else []
    counts = {em.size(cloud.dimension): at}
    if outer is not None:
        point_leaves(f, outer, around[0], cut=printer.chunk is not None)
        counts[em.size(outer.dimension)] = around[0]
    here = {n for b in within for n in b.latents}
    for nested in (c for c in printer.plan.joint.clouds if c.name in here):  # what is inside these reads them
        emit_points(f, nested, density_name(printer.plan, nested), at)
    every = within
    if not _differentiable(cloud, printer.plan.joint, within):
        within = inside(printer, block, [b.name for b in within if table_known(f, b) is not None])
    left_out = [b for b in every if b not in within]
    for b in within:
        printer.block(f, b, stacked=False)
    points = Ix(cloud.name, cloud.dimension)
    for count in counts:
        f.unpacked.pop(count, None)
    number = printer.numbers.of(block.name, "joint")
    em.comment(f"({number}) log joint of {', '.join(cloud.latents)} with all that holds it")
    _, hoisted = em.mark()
    with f.printing(number, behind=False):
        kept = (points, *around_it(block, cloud), *home)
        table, log_joint = _table(f, block, kept)
        lines, em.lines = em.lines, []
        moves = any(_reads(b, cloud) for b in left_out)
        written = "" if moves else _slopes(f, cloud, block, within, table, kept)
    em.number((len(em.lines), hoisted), number)
    for count in counts:
        f.unpacked.pop(count, None)
    outside, within_points = apart_by(em.outer, (*counts, *around))
    body = [*within_points, *_density(lines, em.lines, log_joint, at, written)]
    given = "".join(f"{name}, " for name in ([*(["rows"] if printer.chunk else []), *around]))
    start = [f"{em.namer.rows} = row_count(rows)"] if printer.chunk else []
    start += [f"{count} = {code}.shape[1]" for count, code in counts.items()]
    if any(", rng)" in line for line in body):
        start.append("rng = None  # a chain inside is summed out, not seeded")
    head = f"def on({given}{at}, slopes=False):"
    inner = ['sizes = prepared["the sizes"]', *f.prologue(), *outside, "", head, *indent([*start, *body], 1)]
    names = ", ".join(cloud.latents)
    doc = f'"""log p({names}, data | params) at values (D, Q, *plates): (Q, *plates), on request with its slopes."""'
    beside = ", factors" if printer.plan.elimination.parts else ""
    head = f"def {density_name(printer.plan, cloud)}(params, prepared{beside}):"
    return [head, *indent([doc, *inner, "return on"], 1)]


def _each_its_own(block: Block) -> Block:
    """A block under shared points with points of its own for each element."""

    def own(e: x.Expr) -> x.Expr | None:
        return El(e.var, (*e.idx, *block.home), e.sort) if isinstance(e, El) and e.var in AT else None

    return replace(block, terms=tuple(replace(t, factors=tuple(x.rebuild(f, own) for f in t.factors))
                                      for t in block.terms))  # fmt: skip


def _density(lines: Sequence[str], slopes: Sequence[str], value: str, at: str, written: str) -> list[str]:
    """The body: the value; its slopes and curvature, symbolic or by differences."""
    if written:
        return [*lines, "if not slopes:", f"    return {value}", *slopes, f"return {value}, {written}"]
    return ["", "def density(values):", *indent([f"{at} = values", *lines, f"return {value}"], 1), "",
            f"return differences(density, {at}) if slopes else density({at})"]  # fmt: skip


def _table(f: Function, block: Block, kept: tuple[Ix, ...]) -> tuple[Array, str]:
    """The log joint for every state of the block, and its sum over all but the points, and those of a cloud around."""
    em = f.emitter
    axes = (*block.states, *block.gates, *block.home)
    table = em.namer.fresh(f"log_{block.name}")
    em.lines.append(f"{table} = np.zeros(({', '.join(em.length(i) for i in axes)},))")
    add_terms(f, table, without_volume(block.terms), axes)
    others = tuple(n for n, i in enumerate(axes) if i not in kept)
    if not others:
        return Array(table, axes, True), table
    total = em.namer.fresh(f"log_sum_{block.name}")
    em.lines.append(f"{total} = log_sum({table}, {others})")
    return Array(table, axes, True), total


def _reads(block: Block, cloud: Cloud) -> bool:
    """Whether what is inside a block depends on the values at which a latent stands."""
    names = {n for t in block.terms for f in t.factors for n in x.variables(f) if is_made(n) and among(n, (AT,))}
    return any(subject(n) in (cloud.name, *cloud.latents) for n in names)


def _differentiable(cloud: Cloud, joint: LogJoint, within: Sequence[Block]) -> bool:
    """Whether the slopes of a density are written: few numbers, and inside it nothing but enumerated states."""
    few = len(components(cloud, joint)) * len(within) <= 8
    return not within or (few and all(b.states and b.chain is None and not b.network for b in within))


def _slopes(
    f: Function, cloud: Cloud, block: Block, within: Sequence[Block], table: Array, kept: tuple[Ix, ...]
) -> str:
    """Code of the gradient and the Hessian, "" where what is inside has no written slopes."""
    em, joint = f.emitter, f.plan.joint
    every = components(cloud, joint)
    known: dict[tuple[str, Component], str] = {}
    if not _differentiable(cloud, joint, within):
        return ""
    for b in within:
        own = f.runtime[CONDITIONAL.of(b.name)]
        axes = (*b.states, *b.gates, *b.home)
        summed = tuple(i for i in axes if i not in b.states)
        first, second = _moments(f, b.terms, every, known, axes, Array(own.code, axes, True), summed, f"A_{b.name}")
        for k, c in enumerate(every):
            known[LOG_NORMALISER.of(b.name), c] = f"A.{k}:{b.name}"
            f.runtime[f"A.{k}:{b.name}"] = Leaf(first[k].code, tuple(range(len(summed))), True, cut=own.cut)
            for m, d in enumerate(every):
                known[f"A.{k}:{b.name}", d] = f"A.{k}.{m}:{b.name}"
                code = second[min(k, m), max(k, m)].code
                f.runtime[f"A.{k}.{m}:{b.name}"] = Leaf(code, tuple(range(len(summed))), True, cut=own.cut)
    axes = table.axes
    weights = None
    if set(axes) != set(kept):
        weights = em.namer.fresh(f"given_{block.name}")
        others = tuple(n for n, i in enumerate(axes) if i not in kept)
        em.lines.append(f"{weights} = softmax_over({table.code}, {others})")
    p = None if weights is None else Array(weights, axes, True)
    first, second = _moments(f, without_volume(block.terms), every, known, axes, p, kept, cloud.name)
    size = range(len(every))
    rows = [f"[{', '.join(second[min(k, m), max(k, m)].code for m in size)}]" for k in size]
    return f"np.array([{', '.join(first[k].code for k in size)}]), np.array([{', '.join(rows)}])"


def _moments(
    f: Function, terms: Sequence[Term], every: Sequence[Component], known: dict[tuple[str, Component], str],
    axes: tuple[Ix, ...], p: Array | None, kept: tuple[Ix, ...], hint: str,
) -> tuple[list[Array], dict[tuple[int, int], Array]]:  # fmt: skip
    """First and second derivatives of log sum_k exp(terms) over the axes that are kept, by Louis's identity."""
    em, joint = f.emitter, f.plan.joint
    bare = [slope_terms(terms, c, joint, known) for c in every]
    tables = [em.name(f"slope_{hint}", _summed(f, ts, axes)) for ts in bare]
    first = [em.name(f"slope_{hint}", _averaged(t, p, kept)) for t in tables]
    second: dict[tuple[int, int], Array] = {}
    for k in range(len(every)):
        for m in range(k, len(every)):
            curve = em.name(f"curve_{hint}", _summed(f, slope_terms(bare[k], every[m], joint, known), axes))
            if p is not None:
                product = f"{curve.code} + {tables[k].code} * {tables[m].code}"
                both = em.name(f"curve_{hint}", Array(product, axes, True, binds=Binding.SUM))
                mean = _averaged(both, p, kept)
                curve = Array(f"{mean.code} - {first[k].code} * {first[m].code}", kept, True, binds=Binding.SUM)
                curve = em.name(f"curve_{hint}", curve)
            second[k, m] = curve
    return first, second


def _summed(f: Function, terms: Sequence[Term], axes: tuple[Ix, ...]) -> Array:
    """Terms added up on exactly these axes."""
    em = f.emitter
    parts = [contracted(f, t, axes) for t in terms]
    total = em.broadcast(em.sum(parts), axes) if parts else Array("0.0", ())
    if not parts:
        total = Array(f"np.zeros(({', '.join(em.length(i) for i in axes)},))", axes, True)
    return Array(total.code, axes, True, total.binds)


def _averaged(value: Array, p: Array | None, kept: tuple[Ix, ...]) -> Array:
    if p is None:
        return value
    gone = tuple(n for n, i in enumerate(value.axes) if i not in kept)
    return Array(f"np.sum({p.code} * {value.wrapped}, axis={gone})", kept, True)
