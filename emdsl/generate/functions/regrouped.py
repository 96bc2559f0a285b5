"""Printing where a mean-field fit starts whose rows are told apart by two tables: by groups of rows, not row by row.

    log q(z_n = k) = A[k, group of n] + B[k, word of n] + const

One row's word says nothing of its state; all words of a group do. So the groups are divided, and a few times what the
rows of a group share (A) is found anew from its plain member, given all else (B): an A that has settled before B has
would hold both where they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from emdsl.derive.algebra import expr as x
from emdsl.derive.posteriors.block import Block
from emdsl.derive.posteriors.blocks import Part
from emdsl.derive.posteriors.meanfield import moments_of
from emdsl.generate.blocks.handed import tables_key
from emdsl.generate.context import counted_plate
from emdsl.generate.functions.parts import is_shared, part_name
from emdsl.generate.lines.expressions import Emitter
from emdsl.generate.lines.spelling import indent
from emdsl.generate.printer import Printer
from emdsl.generate.shared import Handed

ROUNDS, SWEEPS = 5, 3
GROUP = "state_of_group"  # the variable that holds the state of each group


@dataclass(frozen=True)
class Regrouped:
    """The factors of rows, each with which of its codes is the group; what groups have of their own; all the rest."""

    rows: tuple[tuple[Handed, int], ...]
    own: tuple[Part, ...]
    others: tuple[Part, ...]


def regrouped_of(printer: Printer) -> Regrouped | None:
    """The rows that are divided by groups; None where no factor's rows are."""
    for h in printer.handed:
        if h.tables is None or len(h.tables.codes) != 2:
            continue
        read = [_read(printer, h, n) for n in (0, 1)]
        able = [n for n in (0, 1) if read[n]]
        local = [n for n in able if not any(is_shared(printer, p) for p in read[n])]
        if not able or set(map(id, read[0])) & set(map(id, read[1])):
            continue
        which = (local or able)[0]
        own, dim, states = read[which], h.tables.codes[which].dim, h.block.states[0].dim
        rows = [(h, which)]
        for o in printer.handed:
            if o is not h and o.tables is not None and len(o.tables.codes) == 2 and o.block.states[0].dim == states:
                rows += [(o, n) for n in (0, 1) if o.tables.codes[n].dim == dim and _read(printer, o, n) == own]
        parts = [o.part for o, _ in rows]
        rest = [p for p in printer.plan.elimination.parts if not any(p is q for q in (*parts, *own))]
        return Regrouped(tuple(rows), tuple(own), tuple(rest))
    return None


def _read(printer: Printer, h: Handed, which: int) -> list[Part]:
    """The factors whose moments stand in one table of a factor of rows."""
    assert h.tables is not None
    names = {n for e, _ in h.tables.tables[which] for n in x.variables(e)}
    return [p for p in printer.plan.elimination.parts if names & set(_keys(printer, p)) and p is not h.part]


def _keys(printer: Printer, part: Part) -> list[str]:
    return [k for b in part.blocks for k in moments_of(b, printer.plan.joint.model) if k in printer.plan.moments]


def division_lines(em: Emitter, printer: Printer, r: Regrouped) -> list[str]:
    """The line that divides the groups among the states."""
    h, which = r.rows[0]
    plate = counted_plate(printer.plan, h.block.latents[0])
    weight = f'prepared["count {plate}"]' if plate else "None"
    made = f'divided_places(prepared["{tables_key(h)}"], {which}, {em.size(h.block.states[0].dim)}, {weight}, rng)'
    return [f"{GROUP} = {made}"]


def divided_rows(printer: Printer, block: Block, states: str) -> str:
    """The code of the probabilities of rows that hold to their group's state; "" where groups are not divided."""
    r = regrouped_of(printer)
    for h, which in r.rows if r is not None else ():
        if h.block is block:
            return f'rows_by_place({GROUP}, prepared["{tables_key(h)}"], {which}, {states})'
    return ""


def _update(printer: Printer, parts: Sequence[Part]) -> list[str]:
    return [f"factors.update({part_name(printer, p)}(params, prepared, factors))" for p in parts]


def _plain_line(printer: Printer, r: Regrouped) -> str:
    keys = ", ".join(f'"{k}"' for p in r.own for k in _keys(printer, p))
    return f"plain = {{k: factors[k] for k in ({keys},)}}"


def functions_of_groups(printer: Printer) -> list[list[str]]:
    """`regrouped(params, prepared, factors)` and `start(params, data, prepared, rng, given)`."""
    r = regrouped_of(printer)
    if r is None:
        return []
    rows = _update(printer, [h.part for h, _ in r.rows])
    doc = '"""What the rows of a group share, and its rows, found a few times in turn, all else as it is."""'
    body = ["factors = dict(factors)", f"for _ in range({SWEEPS}):"]
    body += [*indent([*rows, *_update(printer, r.own)], 1), *rows, "return factors"]
    again = ["def regrouped(params, prepared, factors):", *indent([doc, *body], 1)]
    doc = '"""Factors of q to sweep from: groups of rows are divided; what they share is found anew, then all else."""'
    others = _update(printer, r.others)
    steps = [*others, "factors = regrouped(params, prepared, {**factors, **plain})"]
    steps = [f"for _ in range({ROUNDS}):", *indent(steps, 1)] if others else steps
    body = ["told = bool(given)", "factors = division(params, data, prepared, rng, given)", "if told:",
            "    return factors", _plain_line(printer, r), *steps, "return factors"]  # fmt: skip
    return [again, ["def start(params, data, prepared, rng, given):", *indent([doc, *body], 1)]]


def initial_by_groups(printer: Printer, r: Regrouped) -> list[str]:
    """The lines of `initial` after neutral values: the M-step takes its turn."""
    steps = ['statistics = e_step(params, data, prepared, factors, sweep="")',
             'params = m_step(statistics, params, prepared, "keep")', *_update(printer, r.others),
             "factors = regrouped(params, prepared, {**factors, **plain})"]  # fmt: skip
    return ["factors = division(params, data, prepared, twin(rng), {})", _plain_line(printer, r),
            f"for _ in range({ROUNDS}):", *indent(steps, 1), "return params"]  # fmt: skip
