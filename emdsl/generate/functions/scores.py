"""Printing slopes of the complete data's log density: by the parameters and by the drawn latents, and part by part.

What Louis's information needs of each draw (`runtime/montecarlo/scores.py`): one pass, however many parameters.
"""

from __future__ import annotations

from collections.abc import Sequence

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Ix
from emdsl.derive.joint.coefficients import axes_of
from emdsl.derive.joint.gradient import gradient
from emdsl.derive.joint.terms import Term
from emdsl.derive.numbering import drawn_parts
from emdsl.errors import InternalError
from emdsl.generate.blocks.once import contracted
from emdsl.generate.context import Function, stored_order
from emdsl.generate.functions.draws import own_axes
from emdsl.generate.lines.arrays import Leaf
from emdsl.generate.lines.spelling import indent, numbered
from emdsl.generate.printer import Printer
from emdsl.language import model as m

SLOPE = "slope:"  # by a parameter less its reference, before what others are measured from is taken into account


def slopes_lines(printer: Printer) -> list[list[str]]:
    """`slopes(params, prepared)` and `slopes_apart(params, prepared)`; nothing where something has no slope.

    With exact latents beside the drawn ones, or a parameter that is measured from itself, slopes are by differences.
    """
    plan, draws = printer.plan, printer.plan.draws
    if draws is None or draws.rest or plan.elimination.blocks or plan.joint.clouds:
        return []
    if any(n in x.variables(s.value) for n, s in plan.shifts.items()):
        return []
    everything = (*plan.elimination.free, *plan.elimination.prior)
    try:
        made = [_lines(printer, "slopes", everything, (), "log p(data, draws, params)")]
        units = draws.units
        if units:
            doc = "log p part by part, the parts last, without what holds no latent"
            made.append(_lines(printer, "slopes_apart", draws.apart, units, doc))
    except InternalError:
        return []
    number = printer.numbers.drawn("score" if "score" in drawn_parts(plan) else "conditional")
    return [[*lines[:2], *numbered(lines[2:], number)] for lines in made]


def _lines(printer: Printer, name: str, terms: Sequence[Term], units: tuple[Ix, ...], what: str) -> list[str]:
    f = printer.function()
    em, model = f.emitter, printer.plan.joint.model
    f.sums, em.chunk = None, None
    assert printer.plan.draws is not None
    hidden = [model.variable(n) for n in printer.plan.draws.latents]
    params = list(model.of_kind("param"))
    cells = {v.name: _by_parameter(f, v, terms, units) for v in params}
    _measured(f, params, cells, units)
    by_param = [f'"{n}": {code},' for n, (code, _) in cells.items()]
    by_latent = [f'"{v.name}": {_by_latent(f, v, terms)},' for v in hidden if v.domain.interval]
    lines = ['sizes = prepared["the sizes"]', *f.prologue(), *em.outer, *em.lines]
    lines += ["by_param = {", *indent(by_param, 1), "}", "by_latent = {", *indent(by_latent, 1), "}"]
    doc = f'"""Slopes of {what}: by each parameter, and by each latent as it is stored."""'
    return [f"def {name}(params, prepared):", *indent([doc, *lines, "return by_param, by_latent"], 1)]


def _by_parameter(
    f: Function, v: m.Variable, terms: Sequence[Term], units: tuple[Ix, ...]
) -> tuple[str, tuple[Ix, ...]]:
    """A name for the slope by a parameter as it is held, and its axes: its own, then the parts."""
    em = f.emitter
    axes = axes_of(v)
    kept = (*axes, *units)
    parts = []
    for c, factors, summed in gradient(terms, v.name, axes):
        lost = [u for u in units if u not in summed]  # the parameter is one of each part
        ties = [x.delta(a, u) for u in lost for a in axes if a.dim == u.dim]
        if len(ties) != len(lost):
            raise InternalError("scores", f"no part is told of a slope by {v.name}")
        parts.append(contracted(f, Term(1, (), (c, *factors, *ties), (*kept, *summed)), kept))
    name = em.namer.fresh(f"slope_{v.name}")
    code = em.broadcast(em.sum(parts), kept).code if parts else f"np.zeros(({_lengths(f, kept)}))"
    em.lines.append(f"{name} = {code}")
    return name, kept


def _lengths(f: Function, axes: tuple[Ix, ...]) -> str:
    return "".join(f"{f.emitter.length(i)}, " for i in axes)


def _measured(
    f: Function, params: Sequence[m.Variable], cells: dict[str, tuple[str, tuple[Ix, ...]]], units: tuple[Ix, ...]
) -> None:
    """A parameter from which another is measured moves that, too: d (v - s(w)) / dw = -ds / dw."""
    shifts = {n: s for n, s in f.plan.shifts.items() if n in cells}
    names = {v.name for v in params}
    held = {n: x.variables(s.value) & names for n, s in shifts.items()}
    left = [n for n in shifts if held[n]]
    while left:
        first = next((n for n in left if not any(n in held[o] for o in left if o != n)), None)
        if first is None:
            raise InternalError("scores", "parameters are measured from one another")
        left.remove(first)
        code, kept = cells[first]
        shift = shifts[first]
        slope = SLOPE + first
        f.runtime[slope] = Leaf(code, tuple(range(len(kept))), True)
        for v in params:
            if v.name not in held[first]:
                continue
            axes = axes_of(v)
            whole = (Term(-1, (), (El(slope, (*shift.axes, *units)), shift.value), (*shift.axes, *units)),)
            out = (*axes, *units)
            parts = [
                contracted(f, Term(1, (), (c, *factors), (*out, *summed)), out)
                for c, factors, summed in gradient(whole, v.name, axes)
            ]
            mine, _ = cells[v.name]
            f.emitter.lines.append(f"{mine} = {mine} + {f.emitter.broadcast(f.emitter.sum(parts), out).code}")
            f.emitter.known.clear()


def _by_latent(f: Function, v: m.Variable, terms: Sequence[Term]) -> str:
    axes = own_axes(v)
    kept = tuple(axes[p] for p in stored_order(v))
    parts = [
        contracted(f, Term(1, (), (c, *factors), (*axes, *summed)), kept)
        for c, factors, summed in gradient(terms, v.name, axes)
    ]
    return f.emitter.broadcast(f.emitter.sum(parts), kept).code if parts else f"np.zeros(({_lengths(f, kept)}))"
