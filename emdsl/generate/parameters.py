"""Printing `m_step`, from the statistics, and `refine`, by passes over the data."""

from __future__ import annotations

from dataclasses import replace

from emdsl.derive import expr as x
from emdsl.derive.solve import Numeric
from emdsl.derive.statistics import drop_presence
from emdsl.derive.terms import Term
from emdsl.generate.mstep import emit_numeric, emit_update, forget
from emdsl.generate.printer import Printer, indent
from emdsl.generate.spelling import numbered


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
    returned = []
    for v in params:
        code = em.leaf(v.name).code
        shift = printer.plan.shifts.get(v.name)
        if shift is not None:
            forget(f, [p.name for p in params])
            with f.printing(printer.numbers.reference):
                value = em.value(shift.value)
            code = f"{code} + {em.align(value, shift.axes)}"
        cell = f'"{v.name}": {code},'
        returned += [cell] if shift is None else numbered([cell], printer.numbers.reference)
    lines = ['sizes = prepared["the sizes"]', *f.prologue(), *em.outer, "return {", *indent(returned, 1), "}"]
    doc = '"""The parameters that maximise the expected log joint with these statistics. Raises Degenerate."""'
    return ['def m_step(statistics, params, prepared, policy="raise"):', *indent([doc, *lines], 1)]


def refine_lines(printer: Printer) -> list[str]:
    """Parameters that do not come apart from the data: numeric, with passes over the data."""
    updates = [u for u in printer.plan.updates if isinstance(u.rule, Numeric) and u.rule.data]
    if not updates:
        return []
    f = printer.reader()
    em = f.emitter
    em.chunk = None
    f.runtime = {k: replace(v, inner=False, cut=True) for k, v in f.runtime.items()}
    (update,) = updates
    rule = update.rule
    assert isinstance(rule, Numeric)
    number = printer.numbers.update[update.params[0]]
    em.comment(f"({number}) {', '.join(update.params)}: {update.kind}. {update.reason}", inner=False)
    mixed = tuple(_sized(mx.term) for mx in printer.plan.expected.mixed)
    with f.printing(number, behind=False):
        emit_numeric(f, update.params, (*rule.terms, *mixed))
    model = printer.plan.joint.model
    returned = []
    for v in model.of_kind("param"):
        if v.name in update.params:
            code = em.leaf(v.name).code
            shift = printer.plan.shifts.get(v.name)
            if shift is not None:
                forget(f, [p.name for p in model.of_kind("param")])
                with f.printing(printer.numbers.reference):
                    code = f"{code} + {em.align(em.value(shift.value), shift.axes)}"
            cell = f'"{v.name}": {code},'
            returned += [cell] if shift is None else numbered([cell], printer.numbers.reference)
    needs = any(line.startswith(tuple(f"{c} = statistics" for c in f.unpacked)) for line in f.prologue())
    parts = printer.plan.elimination.parts
    call = 'factors, sweep=""' if parts else "rng"
    statistics = [f"statistics = e_step(before, data, prepared, {call})"] if needs else []
    names = ", ".join(printer.results())
    if names:
        rows = f"slice(0, {em.size(printer.chunk)}), rng" if printer.chunk else "rng"
        statistics.append(f"{names} = expectations(before, prepared)({rows})")
    lines = ['sizes = prepared["the sizes"]', *[p for p in f.prologue() if '= sizes["' in p], *statistics]
    lines += [p for p in f.prologue() if '= sizes["' not in p]
    lines += [*em.outer, "return {", "    **params,", *indent(returned, 1), "}"]
    doc = '"""Raises the expected log joint in what the data do not come apart from, posteriors held at `before`."""'
    if parts:
        lines = ["factors = settle(before, data, prepared) if factors is None else factors", *lines]
        return ["def refine(before, params, data, prepared, factors=None, rng=None):", *indent([doc, *lines], 1)]
    return ["def refine(before, params, data, prepared, rng=None):", *indent([doc, *lines], 1)]


def _sized(t: Term) -> Term:
    carried = {i for e in t.factors for i in x.free(e)}
    sizes = tuple(x.SizeN(i.dim) for i in t.ixs if i not in carried)
    factors, _ = drop_presence((*t.factors, *sizes))
    return Term(t.coef, (), factors, t.ixs)
