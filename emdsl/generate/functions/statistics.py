"""Printing `e_step`: expected sufficient statistics, most of them slices of one product."""

from __future__ import annotations

from collections.abc import Sequence

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr
from emdsl.derive.algebra.made import AT, PAIR, STATISTIC, WEIGHT, Q
from emdsl.derive.joint.terms import Term
from emdsl.derive.posteriors.block import Block
from emdsl.derive.updates.statistics import Statistic, drop_presence
from emdsl.generate.blocks.chains import in_pieces, one_row, pair_sums, row_pieces, sequence_weight
from emdsl.generate.blocks.features import fold_of
from emdsl.generate.blocks.kinds import covariances_summed, moments_summed
from emdsl.generate.blocks.lookups import counted
from emdsl.generate.blocks.once import contracted, summed_once
from emdsl.generate.context import Function
from emdsl.generate.functions.meanfield import after_sweep_lines, bound_lines, settled_last, sweep_lines
from emdsl.generate.functions.slices import slice_of, weighted_q
from emdsl.generate.lines.arrays import Array
from emdsl.generate.lines.kept import CHAIN
from emdsl.generate.lines.spelling import indent, numbered
from emdsl.generate.printer import Printer
from emdsl.generate.shared import MOMENTS


def e_step_lines(printer: Printer) -> list[str]:
    """`e_step(params, data, prepared, rng)`: statistics and log-likelihood, summed over the chunks."""
    f = printer.reader()
    em = f.emitter
    totals: list[str] = []
    inner, outside, slices = _stack_lines(printer, f, totals)
    value_lines: list[str] = []
    pieces, looped = _in_pieces(printer, f)
    entries = [
        _added_up(printer, f, s, looped.get(s.name, slices.get(s.name)), outside, totals)
        for s in printer.plan.expected.statistics
    ]
    parts = printer.plan.elimination.parts
    last = settled_last(printer) if parts else None
    free = printer.plan.elimination.free if last is None else printer.plan.elimination.others
    outside_ll = _log_likelihood(printer, f, value_lines, free)
    body = _headed(f"# ({printer.numbers.statistics}) expected statistics, added up", [*em.lines, *inner, *pieces])
    body += _headed(f"# ({printer.numbers.objective}) the log-likelihood, added up", value_lines)
    call = "rng" if printer.plan.elimination.blocks and not parts else ""
    lines = [*printer.opening(f, call), *_summed(printer, f, body, [*totals, "log_likelihood"], call)]
    lines += _headed(f"# ({printer.numbers.statistics}) expected statistics that lack the rows", outside)
    own = bound_lines(printer) if parts else []
    if last is not None:
        own = after_sweep_lines(printer, last)
        own += ["if not sweep:", "    log_likelihood = whole_bound(params, prepared, factors)"]
    lines += _headed(f"# ({printer.numbers.objective}) the log-likelihood's terms that lack the rows", outside_ll)
    lines += _headed(f"# ({printer.numbers.objective}) the bound's own terms", own)
    entries += ['"state": factors,'] if parts else []
    entries += [f'"points of {c.name}": {f.runtime[AT.of(c.name)].code.split("[")[0]},'
                for c in printer.plan.joint.clouds if c.shared]  # fmt: skip
    said = f'    "log_likelihood": float(honest(log_likelihood)),  # ({printer.numbers.objective})'
    lines += ["return {", said, *indent(entries, 1), "}"]
    if parts:
        doc = (
            '"""One sweep over the factors of q; expected sufficient statistics and the bound, at these parameters."""'
        )
        head = 'def e_step(params, data, prepared, factors=None, rng=None, sweep="all"):'
        return [head, *indent([doc, *sweep_lines(printer), *lines], 1)]
    doc = '"""Expected sufficient statistics (additive over data) and the log-likelihood, at these parameters."""'
    if printer.once is not None:
        lines = [f'if prepared["{MOMENTS}"] is not None:', "    return e_step_once(params, prepared)", *lines]
    return ["def e_step(params, data, prepared, rng=None):", *indent([doc, *lines], 1)]


def drawn_density_lines(printer: Printer) -> list[str]:
    """`density_with_draws(params, data, prepared)`: the log-likelihood of the E-step without its statistics, which
    moves of parameters and Monte Carlo errors ask for at every draw; nothing where nothing is drawn."""
    if printer.plan.draws is None:
        return []
    f = printer.reader()
    inner: list[str] = []
    outside = _log_likelihood(printer, f, inner, printer.plan.elimination.free)
    call = "rng" if printer.plan.elimination.blocks else ""
    lines = [*printer.opening(f, call), *_summed(printer, f, inner, ["log_likelihood"], call), *outside]
    if printer.once is not None:
        known = '    return e_step_once(params, prepared)["log_likelihood"]'
        lines = [f'if prepared["{MOMENTS}"] is not None:', known, *lines]
    lines = numbered([*lines, "return float(honest(log_likelihood))"], printer.numbers.objective)
    doc = '"""log p(data, draws | params), what is exact given the draws summed out."""'
    return ["def density_with_draws(params, data, prepared, rng=None):", *indent([doc, *lines], 1)]


def _summed(printer: Printer, f: Function, body: Sequence[str], totals: Sequence[str], call: str) -> list[str]:
    """The sums over all rows: in chunks, as a function of some of them, which two threads may call side by side."""
    zeros = [f"{name} = 0.0" for name in totals]
    if not body:
        return zeros
    if not printer.chunk or any(c.shared for c in printer.plan.joint.clouds):  # points of all rows are handed on, too
        return [*zeros, *printer.loop(f, body, call)]
    added, names = f.emitter.namer.fresh("added"), ", ".join(totals) + ("," if len(totals) == 1 else "")
    inside = [*zeros, *printer.loop(f, body, call, "chunks"), f"return {names}"]
    made = f'{names} = side_by_side({added}, prepared["the chunks"], rng)'
    return ["", f"def {added}(chunks):", *indent(inside, 1), "", made]


def _added_up(
    printer: Printer, f: Function, s: Statistic, slice_of: str | None, outside: list[str], totals: list[str]
) -> str:
    """The cell of a statistic in what is returned, and the lines that add it up, or make it `outside` the loop."""
    em, number = f.emitter, printer.numbers.statistic[s.name]
    if slice_of is not None:
        return f'"{s.name}": {slice_of},  # ({number})'
    target = em.namer.of(STATISTIC.of(s.name))
    with f.printing(number):
        value = _statistic_value(printer, f, s)
        assert value is not None
        if value.inner:
            em.lines.append(f"{target} = {f'{target} + ' if printer.chunk else ''}{value.code}")
    if value.inner:
        totals += [target] if printer.chunk else []
    else:
        outside += numbered([f"{target} = {value.code}"], number)
    return f'"{s.name}": {target},  # ({number})'


def _headed(comment: str, lines: Sequence[str]) -> list[str]:
    """The lines under a comment, if there are any."""
    return [comment, *lines] if lines else []


def _log_likelihood(printer: Printer, f: Function, inner: list[str], free: Sequence[Term]) -> list[str]:
    em = f.emitter
    outside = []
    for t in free:
        before = len(em.lines)
        with f.printing(printer.numbers.objective):
            value = contracted(f, t, ())
        made = [line.rpartition("  # (")[0] for line in em.lines[before:]]  # a comment above them names the number
        del em.lines[before:]
        if value.inner:
            inner += [*made, f"log_likelihood += {value.code}"]
        else:
            outside.append(f"log_likelihood += {value.code}")
    return outside


def _statistic_value(printer: Printer, f: Function, s: Statistic) -> Array | None:
    """A statistic as a contraction; None where it is a slice of the stacked product."""
    found = counted(f, s)
    if found is not None:
        return found
    factors, _ = drop_presence(s.factors)
    carried, sizes = {i for e in factors for i in x.free(e)}, _lengths(s, factors)
    factors = tuple(covariances_summed(f, pair_sums(f, factors, s.axes), s.axes))
    factors = tuple(summed_once(f, factors, tuple(i for i in s.axes if i in carried)))
    factors = tuple(moments_summed(f, weighted_q(printer, f, factors), s.axes))
    value = f.emitter.contract([*sizes, *factors], tuple(s.axes))
    return f.emitter.broadcast(value, tuple(s.axes))


def _in_pieces(printer: Printer, f: Function) -> tuple[list[str], dict[str, str]]:
    """The loops over pieces of rows that add up what pairs of neighbours are in, where their edges are made so; the
    code of each such statistic."""
    lines: list[str] = []
    found: dict[str, str] = {}
    for block in f.plan.elimination.blocks:
        if not in_pieces(f.plan, block):
            continue
        mine = [s for s in printer.plan.expected.statistics if _sum_over_rows(block, s)]
        em, dim = f.emitter, block.home[0].dim
        kept = em.lines, em.known, em.named, em.chunk
        em.lines, em.known, em.named, em.chunk = [], {}, {}, dim
        added = []
        for s in mine:
            found[s.name] = em.namer.of(STATISTIC.of(s.name))
            with f.printing(printer.numbers.statistic[s.name]):
                factors, _ = drop_presence(s.factors)
                value = em.broadcast(em.contract([*_lengths(s, factors), *factors], tuple(s.axes)), tuple(s.axes))
                em.lines.append(f"{found[s.name]} = {found[s.name]} + {value.code}")
            added.append(f"{found[s.name]} = 0.0")
        inside = [f"{em.namer.rows} = row_count(rows)", *em.lines]
        em.lines, em.known, em.named, em.chunk = kept
        em.outer += added
        if mine:
            lines += [f"for rows in {row_pieces(f, block)}:", *indent(inside, 1)]
    return lines, found


def _sum_over_rows(block: Block, s: Statistic) -> bool:
    """Whether a statistic is a sum over the rows of a chain of what holds its pairs."""
    row = block.home[0].dim
    holds = any(isinstance(e, El) and e.var == PAIR.of(block.name) for e in s.factors)
    return holds and one_row(row, s.factors) and all(i.dim != row for i in s.axes)


def _lengths(s: Statistic, factors: Sequence[Expr]) -> list[Expr]:
    """What an index that no factor carries counts."""
    carried = {i for e in factors for i in x.free(e)}
    return [x.SizeN(i.dim) for i in s.ixs if i not in carried and i not in s.axes]


def _stack_lines(printer: Printer, f: Function, totals: list[str]) -> tuple[list[str], list[str], dict[str, str]]:
    """The one product behind all statistics that are sums of features, in the loop and after it; each one's slice."""
    lines: list[str] = []
    after: list[str] = []
    slices: dict[str, str] = {}
    em = f.emitter
    for stack in printer.stacks:
        total, since = em.namer.fresh(f"sums_{stack.block.name}"), em.mark()
        found = {
            s.name: c
            for s in printer.plan.expected.statistics
            if (c := slice_of(printer, f, stack, s, total)) is not None
        }
        if not found:
            continue
        numbers = [printer.numbers.statistic[n] for n in found]
        for dim in dict.fromkeys(i.dim for feature in stack.features for i in feature.axes):
            em.size(dim)  # the cuts of the stack are written with these lengths
        if stack.block.chain is not None:
            counts = sequence_weight(f, stack.block)
            made = f"{f.runtime[CHAIN.of(stack.block.name)].code}.along({stack.code}{counts and f', {counts}'})"
            lines += numbered([f"{total} = {total} + {made}"], *numbers)
            totals.append(total)
            if stack.gapless is not None:
                after += numbered([f"{total} = unfolded({total}, {fold_of(stack)})"], *numbers)
            slices.update(found)
            continue
        q: Expr = El(Q.of(stack.block.name), (*stack.block.states, stack.row))
        if printer.plan.weighted == stack.row.dim:
            (q,) = weighted_q(printer, f, [q, El(WEIGHT, (stack.row,))])
        em.number(since, *numbers)
        assert isinstance(q, El)
        code = f.runtime[q.var].code
        flat = code if len(stack.block.states) == 1 else f"{code}.reshape(-1, {em.length(stack.row)})"
        product = f"{flat} @ {stack.code}.T"
        lines += numbered([f"{total} = {total} + {product}"], *numbers)
        totals.append(total)
        if stack.gapless is not None:
            after += numbered([f"{total} = unfolded({total}, {fold_of(stack)})"], *numbers)
        slices.update(found)
    return lines, after, slices
