"""Printing `m_step`, from the statistics, and `refine`, by passes over the data."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from emdsl.derive.algebra import expr as x
from emdsl.derive.updates.rules import Numeric
from emdsl.generate.context import Function
from emdsl.generate.functions.mstep import emit_update
from emdsl.generate.functions.numeric import emit_numeric, forget, pieces_of
from emdsl.generate.lines.expressions import Emitter
from emdsl.generate.lines.spelling import indent, numbered
from emdsl.generate.printer import Printer
from emdsl.language import model as m


def _at_before(printer: Printer, em: Emitter, needs: bool) -> list[str]:
    """Lines that make statistics, where they are needed, and posteriors of all rows at the parameters `before`."""
    # where a start divides the rows at random, statistics and posteriors must be of one division
    call = 'factors, sweep=""' if printer.plan.elimination.parts else "twin(rng)"
    lines = []
    if needs:
        made = f"    statistics = e_step(before, data, prepared, {call})  # ({printer.numbers.statistics})"
        lines = ["if statistics is None:", made]
    names = ", ".join(printer.results())
    if names:
        rows = f"slice(0, {em.size(printer.chunk)})" if printer.chunk else ""
        if rows:
            whole = f'    prepared = {{**prepared, "the chunks": [{rows}]}}'
            lines = ["if rng is not None:", whole, *lines]
        lines.append(f"{names} = expectations(before, prepared)({', '.join(filter(None, [rows, 'rng']))})")
    return lines


def m_step_lines(printer: Printer) -> list[str]:
    """`m_step(statistics, params, prepared, policy)`: the updates in the order of the plan."""
    f = printer.function()
    em = f.emitter
    em.chunk = None
    params = [v for v in printer.plan.joint.model.variables if v.kind == "param"]
    for v in params:
        em.leaf(v.name)
    for u in printer.plan.updates:
        with f.printing(printer.numbers.update[u.params[0]], behind=False):
            emit_update(f, u, printer.numbers.update[u.params[0]])
    returned = _returned(printer, f, params)
    lines = ['sizes = prepared["the sizes"]', *f.prologue(), *em.outer, "return {", *indent(returned, 1), "}"]
    doc = '"""The parameters that maximise the expected log joint with these statistics. Raises Degenerate."""'
    return ['def m_step(statistics, params, prepared, policy="raise"):', *indent([doc, *lines], 1)]


def _returned(printer: Printer, f: Function, params: Sequence[m.Variable]) -> list[str]:
    """The cells of the parameters that are returned: in the data's own coordinates, not those of the reference."""
    out = []
    for v in params:
        code, shift = f.emitter.leaf(v.name).code, printer.plan.shifts.get(v.name)
        if shift is None:
            out.append(f'"{v.name}": {code},')
            continue
        forget(f, [p.name for p in printer.plan.joint.model.of_kind("param")])
        with f.printing(printer.numbers.reference):
            value = f.emitter.value(shift.value)
        cell = f'"{v.name}": {code} + {f.emitter.align(value, shift.axes)},'
        out += numbered([cell], printer.numbers.reference)
    return out


def refine_lines(printer: Printer) -> list[str]:
    """Parameters that do not come apart from the data: numeric, with passes over the data."""
    updates = [u for u in printer.plan.updates if isinstance(u.rule, Numeric) and u.rule.data]
    if not updates:
        return []
    f = printer.reader()
    em = f.emitter
    found = pieces_of(f, [u.rule for u in updates if isinstance(u.rule, Numeric)]) if em.chunk is None else None
    if found is not None:
        em.chunk, f.pieces = found
    chunk = em.chunk
    f.runtime = {k: replace(v, inner=False, cut=chunk is None) for k, v in f.runtime.items()}
    for u in updates:
        assert isinstance(u.rule, Numeric)
        number = printer.numbers.update[u.params[0]]
        em.comment(f"({number}) {', '.join(u.params)}: {u.kind}. {u.reason}", inner=False)
        with f.printing(number, behind=False):
            emit_numeric(f, u.params, u.rule)
        forget(f, u.params)
    em.chunk = None
    refined = {n for u in updates for n in u.params}
    shifts = printer.plan.shifts

    def changes(name: str) -> bool:  # what is measured from others moves in the user's coordinates when these do
        return name in refined or (name in shifts and bool(x.variables(shifts[name].value) & refined))

    returned = _returned(printer, f, [v for v in printer.plan.joint.model.of_kind("param") if changes(v.name)])
    needs = any(line.startswith(tuple(f"{c} = statistics" for c in f.unpacked)) for line in f.prologue())
    if printer.plan.draws is not None:
        em.outer[:] = [re.sub(r" = (maximise|ascend)\(", r" = (raised_by or \1)(", line) for line in em.outer]
    parts = printer.plan.elimination.parts
    statistics = _at_before(printer, em, needs)
    lines = ['sizes = prepared["the sizes"]', *[p for p in f.prologue() if '= sizes["' in p], *statistics]
    lines += [p for p in f.prologue() if '= sizes["' not in p]
    lines += [*em.outer, "return {", "    **params,", *indent(returned, 1), "}"]
    doc = '"""Raises the expected log joint in what the data do not come apart from, posteriors held at `before`."""'
    if parts:
        lines = ["factors = settle(before, data, prepared) if factors is None else factors", *lines]
        return [
            "def refine(before, params, data, prepared, factors=None, rng=None, statistics=None):",
            *indent([doc, *lines], 1),
        ]
    raised = ", raised_by=None" if printer.plan.draws is not None else ""
    head = f"def refine(before, params, data, prepared, rng=None, statistics=None{raised}):"
    return [head, *indent([doc, *lines], 1)]
