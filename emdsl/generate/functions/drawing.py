"""Printing draws by elimination: every block forward, then each drawn given those that it is gated by, backward.

Of a chain that is filtering and sampling (Fruehwirth-Schnatter 1994), here with the smoothed probabilities at hand:
p(z_t | z_{t-1}, data) is proportional to edge[z_{t-1}, z_t] * to[z_t, t].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import DataIx, El, Expr, Idx, Ix
from emdsl.derive.algebra.made import ARGUMENT, COV, FIRST, LOCATION, MEAN, MOMENT, PAIR, VARIANCE
from emdsl.derive.joint.factors import LogJoint, Told
from emdsl.derive.joint.plates import home_of
from emdsl.derive.joint.records import WHOLE
from emdsl.derive.posteriors.block import Block
from emdsl.derive.posteriors.blocks import Elimination
from emdsl.derive.posteriors.chains import Chain
from emdsl.derive.posteriors.cuts import CUT_FIELDS
from emdsl.derive.posteriors.gaussian_moments import covariance_axes
from emdsl.derive.posteriors.scaled import inverse_at, is_matrix
from emdsl.derive.posteriors.told import opened_about_latents
from emdsl.generate.blocks.chains import sequences_of
from emdsl.generate.blocks.estep import emit_block
from emdsl.generate.context import Function, function, stored_order
from emdsl.generate.lines.arrays import Array, Leaf
from emdsl.generate.lines.kept import CONDITIONAL, DRAWN, EDGE_TABLE, TO
from emdsl.generate.lines.spelling import indent
from emdsl.generate.printer import Printer
from emdsl.language import model as m


def drawing_lines(
    printer: Printer, name: str, latents: Sequence[str], joint: LogJoint, elimination: Elimination
) -> list[str]:
    """`draw_of_z(params, prepared, rng)`: these latents drawn together, given all else that is in `prepared`."""
    plan = replace(printer.plan, joint=joint, elimination=elimination, moments={}, draws=None)
    f = function(plan, printer.helpers, None, printer.rows, printer.numbers)
    f.drawing = True
    em = f.emitter
    for block in elimination.blocks:
        emit_block(f, block, stacked=False)
    cells = []
    for block in reversed(elimination.blocks):
        em.comment(f"{', '.join(block.latents)}: drawn" + (" given its gates" if block.gates else ""))
        _draw(f, block)
        for n in block.latents:
            v = joint.model.variable(n)
            axes = _axes(block, n, f)
            kept = tuple(axes[p] for p in stored_order(v))
            whole = "np.ascontiguousarray" if kept else "np.asarray"  # which keeps one number that
            value = em.broadcast(em.value(El(n, axes)), kept)
            if n in joint.told:
                value = _with_points(f, v, joint.told[n])
            cells.append(f'"{n}": {whole}({value.code}),')
    lines = ['sizes = prepared["the sizes"]', *f.prologue(), *em.outer, *em.lines, "return {", *indent(cells, 1), "}"]
    doc = f'"""{", ".join(latents)} from the posterior given all else."""'
    return [f"def draw_of_{name}(params, prepared, rng):", *indent([doc, *lines], 1)]


def _with_points(f: Function, v: m.Variable, told: Told) -> Array:
    """What a latent is that is a point in some branches, from what was drawn in the place of the others."""
    em, axes = f.emitter, (*told.plates, *told.row)
    parts = []
    for t in (t for factor in told.mean for t in opened_about_latents(factor, f.plan.joint)):
        factors = [*t.gates, *t.factors]
        carried = tuple(i for i in axes if any(i in em.value(e).axes for e in factors))
        parts.append(em.contract([x.Num(t.coef), *factors], carried))
    return em.broadcast(em.sum(parts), tuple(axes[p] for p in stored_order(v)))


def _axes(block: Block, latent: str, f: Function) -> tuple[Ix, ...]:
    """The indices of a drawn latent: plates, then its own."""
    if block.gaussian is not None:
        return (*_home(block, latent, f), *block.gaussian.rows[latent])
    return (*_home(block, latent, f), *block.own)


def _home(block: Block, latent: str, f: Function) -> tuple[Ix, ...]:
    if block.field is not None:
        return block.field.homes[latent]
    return block.home if not block.network else home_of(f.plan.joint.model.variable(latent))


def _put(f: Function, latent: str, code: str, axes: Sequence[Ix], idx: Sequence[Ix], integer: bool = False) -> None:
    """Where a drawn latent is: an array with `axes`, of an element with indices `idx`."""
    f.runtime[latent] = Leaf(code, tuple(idx.index(i) for i in axes), True, integer=integer)
    for e in [e for e in f.emitter.known if latent in x.variables(e)]:
        del f.emitter.known[e]


def _gated(block: Block) -> dict[Ix, Idx]:
    """The gates of a block at what was drawn of them."""
    return {n.at: DataIx(n.of) for n in block.neighbours if isinstance(n.at, Ix)}


def _at_gates(f: Function, block: Block, name: str, idx: Sequence[Ix], axes: Sequence[Ix]) -> Array:
    """An array of the posterior, its gates at their draws, with exactly these axes."""
    gates = _gated(block)
    value = f.emitter.value(El(name, tuple(gates.get(i, i) for i in idx)))
    return f.emitter.broadcast(value, tuple(axes))


def _draw(f: Function, block: Block) -> None:
    em = f.emitter
    if block.network:
        drawn = f.runtime[DRAWN.of(block.name)].code
        for n in block.latents:
            home = _home(block, n, f)
            _put(f, n, f'{drawn}["{n}"]', home, home, integer=True)
        return
    if block.field is not None and block.gaussian is not None:
        drawn = f.runtime[DRAWN.of(block.name)].code
        for k, n in enumerate(block.latents):
            axes = (*block.field.homes[n], *block.gaussian.rows[n])
            _put(f, n, f"{drawn}[{k}]", axes, axes)
        return
    target = em.namer.fresh(f"drawn_{block.name}")
    if block.states:
        _draw_states(f, block, target)
    elif block.gaussian is not None:
        _draw_gaussian(f, block, target)
    else:
        _draw_record(f, block, target)


def _draw_states(f: Function, block: Block, target: str) -> None:
    em = f.emitter
    shape = ", ".join(em.length(i) for i in block.states)
    if block.chain is not None:
        q, edge, to, *first = _chain_tables(f, block, block.chain)
        depth, begun = block.chain.depth, f", [{', '.join(first)}]" if first else ""
        em.lines.append(
            f"{target} = draw_chains({q}, {edge}, {to}, {sequences_of(block)}, "
            f"({len(block.states)}, {depth}), rng{begun})"
        )
    else:
        q_array = _at_gates(f, block, CONDITIONAL.of(block.name), (*block.states, *block.gates, *block.home),
                            (*block.states, *block.home))  # fmt: skip
        em.lines.append(f"{target} = draw_states({q_array.code}, {len(block.states)}, rng)")
    if len(block.latents) == 1:
        _put(f, block.latents[0], target, block.home, block.home, integer=True)
        return
    for k, n in enumerate(block.latents):
        one = em.namer.fresh(f"drawn_{n}")
        em.lines.append(f"{one} = np.unravel_index({target}, ({shape}))[{k}]")
        _put(f, n, one, block.home, block.home, integer=True)


def _chain_tables(f: Function, block: Block, chain: Chain) -> list[str]:
    """What the recursion left of a chain, at the draws of its gates: q, edges, what they are multiplied by, and the
    first elements."""
    name, own = block.name, (*block.states, *block.gates, *block.home)
    pair = (*chain.before, *own)
    after = pair[len(block.states) :]
    edge = tuple(pair[p] for p in dict(f.runtime[PAIR.of(name)].parts)[EDGE_TABLE.of(name)])
    rows = block.home if any(i in edge for i in (*block.gates, *block.home)) else ()
    held = {
        CONDITIONAL.of(name): (own, (*block.states, *block.home)),
        EDGE_TABLE.of(name): (edge, (*chain.before, *block.states, *rows)),
        TO.of(name): (after, tuple(i for i in after if i not in block.gates)),
    }
    for position in range(chain.depth if chain.depth > 1 else 0):
        states = (*chain.before, *block.states) if position else block.states
        held[FIRST.at(position).of(name)] = ((*states, *block.gates, *chain.outer), (*states, *chain.outer))
    if not block.gates:
        return [f.runtime[n].code for n in held]
    return [_at_gates(f, block, n, idx, axes).code for n, (idx, axes) in held.items()]


def _draw_gaussian(f: Function, block: Block, target: str) -> None:
    g, em = block.gaussian, f.emitter
    assert g is not None
    if block.scale is not None:
        _draw_scaled(f, block, block.scale, target)
        return
    held = covariance_axes(block)
    means, covs = [], []
    for k, a in enumerate(block.latents):
        means.append(_at_gates(f, block, MEAN.of(a), (*block.gates, *block.home, *g.rows[a]),
                               (*g.rows[a], *block.home)).code)  # fmt: skip
        row = [
            _at_gates(f, block, COV.of(a, b), (*held, *g.rows[a], *g.columns[b]),
                      (*g.rows[a], *g.columns[b], *block.home)).code
            for b in block.latents[k:]
        ]  # fmt: skip
        covs.append(f"[{', '.join(row)}]")
    own = ", ".join(str(len(g.rows[a])) for a in block.latents)
    em.lines.append(f"{target} = draw_gaussian([{', '.join(means)}], [{', '.join(covs)}], [{own}], rng)")
    for k, a in enumerate(block.latents):
        _put(f, a, f"{target}[{k}]", (*g.rows[a], *block.home), (*block.home, *g.rows[a]))


def _draw_scaled(f: Function, block: Block, scale: Expr, target: str) -> None:
    """A Gaussian vector given the draw of what scales its precision."""
    g, em, name = block.gaussian, f.emitter, block.name
    assert g is not None
    (row,), (column,), held = g.rows[name], g.columns[name], (*block.gates, *block.home)
    mean = _at_gates(f, block, LOCATION.of(name), (*held, row), (row, *block.home)).code
    if is_matrix(block):
        inverse = inverse_at(scale, row, column, row, column)
        cov = x.mul(inverse, El(VARIANCE.of(name), held))
    else:
        cov = x.mul(El(VARIANCE.of(name), (*held, row, column)), x.power(scale, x.num(-1)))
    gates = _gated(block)
    at = em.broadcast(em.value(x.substitute(cov, dict(gates))), (row, column, *block.home)).code
    em.lines.append(f"{target} = draw_gaussian([{mean}], [[{at}]], [1], rng)[0]")
    _put(f, name, target, (row, *block.home), (*block.home, row))


def _draw_record(f: Function, block: Block, target: str) -> None:
    em, record, name = f.emitter, block.record, block.name
    assert record is not None
    outer = (*block.own, *block.home)
    idx = (*block.gates, *block.home, *block.own)
    if block.cuts:
        codes = [_at_gates(f, block, ARGUMENT.of(name, a), idx, outer).code for a in CUT_FIELDS]
        em.lines.append(f"{target} = draw_cut_normal({', '.join(codes)}, rng)")
    elif block.scale is not None or record.gaussian:
        if block.scale is not None:
            read = (LOCATION.of(name), VARIANCE.of(name))
        else:
            read = (MOMENT.of(name, "id"), MOMENT.of(name, "square"))
        first, second = (_at_gates(f, block, n, idx, outer).code for n in read)
        if block.scale is not None:
            scale = em.broadcast(em.value(block.scale), outer)
            second = f"{second} / {scale.wrapped}"
        else:
            second = f"{second} - ({first}) ** 2"
        em.lines.append(f"{target} = draw_Normal({first}, {second}, rng)")
    else:
        codes = []
        for a in record.fields:
            whole = a in WHOLE
            found = _at_gates(f, block, ARGUMENT.of(name, a), idx if not whole else (*block.gates, *block.home),
                              outer if not whole else block.home)  # fmt: skip
            codes.append(found.code)
        em.lines.append(f"{target} = draw_{record.name}({', '.join(codes)}, rng)")
    _put(f, name, target, outer, (*block.home, *block.own))
