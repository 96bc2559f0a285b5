"""Printing `m_step`, from the statistics, and `refine`, by passes over the data."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from emdsl.derive.algebra import expr as x
from emdsl.derive.updates.rules import Numeric, Update
from emdsl.generate.context import Function
from emdsl.generate.functions.mstep import emit_update
from emdsl.generate.functions.numeric import emit_numeric, forget, pieces_of, slopes_of
from emdsl.generate.lines.expressions import Emitter
from emdsl.generate.lines.limits import bounds
from emdsl.generate.lines.spelling import indent, numbered, references
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
            emit_update(f, u)
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
        with f.printing(printer.numbers.shifted(v.name)):
            value = f.emitter.value(shift.value)
        cell = f'"{v.name}": {code} + {f.emitter.align(value, shift.axes)},'
        out += numbered([cell], printer.numbers.shifted(v.name))
    return out


def _slopes(printer: Printer, u: Update, rule: Numeric, names: Sequence[str]) -> list[str]:
    """`slopes(params, statistics, prepared)`: those of the log-likelihood, by what is expected at these parameters."""
    f = _over_rows(printer, [rule]) if rule.mixed else printer.function()
    em = f.emitter
    em.chunk = em.chunk if rule.mixed else None
    with f.printing(printer.numbers.update[u.params[0]], behind=False):
        codes, lines = slopes_of(f, rule, names)
    em.chunk, posteriors, counted = None, list[str](), printer.counted(f)
    if rule.mixed:
        rows = f"slice(0, {em.size(printer.chunk)})" if printer.chunk else ""
        posteriors = [f"{', '.join(printer.results())} = expectations(params, prepared)({rows})", *counted.values()]
    prologue = [line for n, line in f.unpacked.items() if n not in counted]
    doc = '"""Slopes of the log-likelihood and its priors in the parameters, by the statistics at these."""'
    found = [f'"{n}": {code},' for n, code in zip(names, codes, strict=True)]
    body = [doc, 'sizes = prepared["the sizes"]', *[p for p in prologue if '= sizes["' in p], *posteriors,
            *[p for p in prologue if '= sizes["' not in p],
            f"# ({printer.numbers.update[u.params[0]]}) slopes in {', '.join(names)}", *em.outer, *lines,
            "return {", *indent(found, 1), "}"]  # fmt: skip
    return ["def slopes(params, statistics, prepared):", *indent(body, 1), "", ""]


def _over_rows(printer: Printer, rules: Sequence[Numeric]) -> Function:
    """A function that reads the posteriors of all rows, and passes over these in pieces."""
    f = printer.reader()
    found = pieces_of(f, rules) if f.emitter.chunk is None else None
    if found is not None:
        f.emitter.chunk, f.pieces = found
    cut = f.emitter.chunk is None
    f.runtime = {k: replace(v, inner=False, cut=cut) for k, v in f.runtime.items()}
    return f


def _by_likelihood(printer: Printer, u: Update, rule: Numeric, passes: Sequence[str]) -> list[str]:
    """`slopes(params, statistics, prepared)`, those of the log-likelihood at its own statistics; a climb by them."""
    model, number, names = printer.plan.joint.model, printer.numbers.update[u.params[0]], (*u.params, *rule.beside)
    f = printer.function()
    em = f.emitter
    em.chunk = None
    codes = {n: em.leaf(n).code for n in names}
    moved = [v for v in model.of_kind("param") if changed_with(printer, v.name, set(names))]
    for v in moved:
        em.leaf(v.name)
    returned = _returned(printer, f, moved)
    inner = [*(f'{code} = values["{n}"]' for n, code in codes.items()), *em.outer]
    inner += ["return {", "    **params,", *indent(returned, 1), "}"]
    start = ", ".join(f'"{n}": {codes[n]}' for n in names)
    domains = ", ".join(f'"{n}": "{model.variable(n).domain.kind}"' for n in names)
    limits = ", ".join(f'"{n}": ({", ".join(bounds(model.variable(n)))})' for n in names)
    near = "" if rule.mixed else ", near=2.0"  # coefficients without noise, of which those far off have no digits
    body = [
        'sizes = prepared["the sizes"]', *f.prologue(),
        f"# ({number}) {', '.join(u.params)}: {u.kind}; {u.reason}",
        "def placed(values):", *indent(inner, 1),
        "def risen(values):",
        "    there = placed(values)",
        "    try:",
        "        statistics = e_step(there, data, prepared)",
        "    except DataError:  # too far off for the digits that there are",
        "        return np.nan, {n: np.nan * v for n, v in values.items()}",
        '    value = statistics["log_likelihood"] + log_prior(there, prepared)',
        "    return value, slopes(there, statistics, prepared)",
        f"highest = maximise(risen, {{{start}}}, {{{domains}}}, {{{limits}}}{near})",
        "return placed(highest)",
    ]  # fmt: skip
    about = '"""Raises the log-likelihood, in what no M-step does."""'
    head = "def refine(before, params, data, prepared, rng=None, statistics=None):"
    first = ["params = passed(before, params, data, prepared, rng, statistics)"] if passes else []
    passes = [re.sub(r"^def refine\(", "def passed(", line) for line in (*passes, "", "")] if passes else []
    return [
        *passes, *_slopes(printer, u, rule, names), head, *indent([about, *first, *body], 1),
    ]  # fmt: skip


def changed_with(printer: Printer, name: str, refined: set[str]) -> bool:
    """Whether a parameter is refined, or measured from what is: then it moves in the user's coordinates."""
    shifts = printer.plan.shifts
    return name in refined or (name in shifts and bool(x.variables(shifts[name].value) & refined))


def refine_lines(printer: Printer) -> list[str]:
    """Parameters that do not come apart from the data: numeric, with passes over the data."""
    updates = [u for u in printer.plan.updates if isinstance(u.rule, Numeric) and u.rule.data]
    if not updates:
        return []
    *some, last = updates
    if isinstance(last.rule, Numeric) and last.rule.likelihood:
        return _by_likelihood(printer, last, last.rule, _by_passes(printer, some) if some else [])
    return _by_passes(printer, updates)


def _by_passes(printer: Printer, updates: Sequence[Update]) -> list[str]:
    """`refine`, which raises Q with posteriors held."""
    f = _over_rows(printer, [u.rule for u in updates if isinstance(u.rule, Numeric)])
    em = f.emitter
    refined = {n for u in updates for n in u.params}
    moved = [v for v in printer.plan.joint.model.of_kind("param") if changed_with(printer, v.name, refined)]
    for v in moved:
        if v.name not in refined:  # before what it is measured from has the name of what is tried
            em.leaf(v.name)
    for u in updates:
        assert isinstance(u.rule, Numeric)
        number = printer.numbers.update[u.params[0]]
        em.comment(f"{references(printer.numbers.solved(u))} {', '.join(u.params)}: {u.kind}; {u.reason}", inner=False)
        with f.printing(number, behind=False):
            emit_numeric(f, u.params, u.rule)
        forget(f, u.params)
    em.chunk = None
    returned = _returned(printer, f, moved)
    needs = any(line.startswith(tuple(f"{c} = statistics" for c in f.unpacked)) for line in f.prologue())
    if printer.plan.draws is not None:
        em.outer[:] = [re.sub(r" = (maximise|ascend)\(", r" = (raised_by or \1)(", line) for line in em.outer]
    parts = printer.plan.elimination.parts
    counted = printer.counted(f)
    statistics = [*_at_before(printer, em, needs), *counted.values()]
    f.unpacked = {n: line for n, line in f.unpacked.items() if n not in counted}
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
