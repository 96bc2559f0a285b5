"""Printing where a fit starts: neutral values, moved to where the data are, then the M-step of a seeded division."""

from __future__ import annotations

import re
from collections.abc import Sequence

from emdsl.derive.algebra import expr as x
from emdsl.derive.joint.centre import Shift
from emdsl.derive.numbering import numbers
from emdsl.derive.plan import Plan
from emdsl.derive.posteriors.draws import own_parameters
from emdsl.derive.updates.rules import Numeric, Update
from emdsl.generate.context import as_given, function
from emdsl.generate.functions.regrouped import initial_by_groups, regrouped_of
from emdsl.generate.lines.expressions import Emitter
from emdsl.generate.lines.limits import bounds
from emdsl.generate.lines.spelling import numbered
from emdsl.generate.printer import Printer
from emdsl.language import model as m


def initial_lines(printer: Printer) -> list[str]:
    """`initial(data, prepared, rng)`: neutral values, then one M-step from a seeded division of the rows."""
    plan = printer.plan
    f = function(plan, printer.helpers, None, printer.rows)
    several = bool(plan.elimination.blocks) and not plan.elimination.parts
    searched = _without_units(plan)
    neutral = _neutral_lines(plan, f.emitter, several and _in_units_of_data(plan), searched)
    some = _some_rows(printer) if several or searched else []
    first = [*some, 'sizes = prepared["the sizes"]', *f.prologue(), *f.emitter.outer]
    if plan.elimination.parts:
        # `twin`: what a climb starts from divides the rows as these parameters were found
        found = [
            'statistics = e_step(params, data, prepared, start(params, data, prepared, twin(rng), {}), sweep="")',
            'return m_step(statistics, params, prepared, "keep")',
        ]
        groups = regrouped_of(printer) if plan.updates else None
        lines = [*first, *neutral, *(found if groups is None else initial_by_groups(printer, groups))]
    elif not plan.elimination.blocks:
        if searched:
            neutral = [*_search(plan, neutral, searched), LIKELIEST]
        lines = [*first, *neutral, "statistics = e_step(params, data, prepared)", *_first_m_step(plan)]
    else:
        lines = [*first, *_best_of_several(printer, neutral, searched)]
    doc = '"""Starting values: neutral ones, then the M-step of a seeded division of the rows among the states."""'
    name = "initial" if plan.draws is None else "initial_given"
    return [f"def {name}(data, prepared, rng):", *("    " + line for line in (doc, *lines))]


def _in_units_of_data(plan: Plan) -> bool:
    """Whether Gaussian latents are summed out, whose scales have the units of data: from 1, where data spread over
    thousands and noise explains all of it, EM would stand still."""
    latents = {n for b in plan.elimination.blocks for n in b.latents} - plan.joint.in_clouds - plan.joint.discrete
    return any(v.domain.kind == "real" for v in plan.joint.model.of_kind("latent") if v.name in latents)


UNITS = {  # of a scale, if it has that power of the data's; of a covariance, which is of squares or their inverse
    "unit": 'prepared["the spread"] ** power',
    "square": 'prepared["the spread"] ** (2.0 * np.sign(power))',
}
LIKELIEST = "params = likeliest([plain(units, rng) for _ in range(4)], likelihood)"


def _climbed_to(u: Update) -> bool:
    """Whether an update is of what the complete data say without error, which starts near 0."""
    return isinstance(u.rule, Numeric) and u.rule.likelihood and not u.rule.mixed


def _without_units(plan: Plan) -> tuple[str, ...]:
    """Parameters of numeric M-steps, whose neutral values must be put in units of the data: no closed form does."""
    if plan.elimination.parts or plan.draws is not None:
        return ()
    numeric = {n for u in plan.updates if isinstance(u.rule, Numeric) and not _climbed_to(u) for n in u.params}
    wide = [
        v.name
        for v in plan.joint.model.of_kind("param")
        if v.domain.kind in ("real", "positive", "ordered", "spd") and bounds(v) == ("None", "None")
    ]
    return tuple(n for n in wide if n in numeric or (numeric and n in _scales_of_clouds(plan)))


def _scales_of_clouds(plan: Plan) -> set[str]:
    """Scales of latents that stand at points beside data on the line: no Gaussian, so that no sum over them is free."""
    on_line = any(v.domain.kind == "real" for v in plan.joint.model.of_kind("observed"))
    read = {n for f in plan.joint.factors if f.about in plan.joint.in_clouds for n in x.variables(f.body)}
    scales = {v.name for v in plan.joint.model.of_kind("param") if v.domain.kind == "positive" and v.name in read}
    return scales if on_line else set()


def _units(neutral: Sequence[str]) -> list[str]:
    """The units that lines of neutral values are in."""
    return [n for n in UNITS if any(re.search(rf" \* {n}\b", line) for line in neutral)]


def _search(plan: Plan, neutral: Sequence[str], searched: Sequence[str]) -> list[str]:
    """Lines that find the units in which neutral values of these parameters make the data likeliest."""
    measured = [
        f'prepared["{v.name}"]'
        for v in plan.joint.model.variables
        if v.kind in ("observed", "given") and v.domain.kind in ("real", "positive", "count")
    ]
    names = ", ".join(f'"{n}"' for n in searched) + ("," if len(searched) == 1 else "")
    unit = "".join(f", {n}=1.0" for n in _units(neutral))
    found = [f'"{n}"' for n in searched if n in _scales_of_clouds(plan)]
    latent = f", [{', '.join(found)}]" if found else ""
    return [
        "", f"def plain(units, rng{unit}):", *("    " + line for line in neutral), "    return params",
        "", "def likelihood(params):",
        '    return e_step(params, data, prepared)["log_likelihood"] + log_prior(params, prepared)', "",
        'with np.errstate(all="ignore"):',
        f"    units = likely_units(plain, likelihood, ({names}), [{', '.join(measured)}], rng{latent})",
    ]  # fmt: skip


def _neutral_lines(plan: Plan, em: Emitter, in_units: bool, searched: Sequence[str]) -> list[str]:
    """Values that say nothing, in the coordinates of the fit: those that a shift moves start where it moves them to."""
    params = plan.joint.model.of_kind("param")
    numeric = {n for u in plan.updates if isinstance(u.rule, Numeric) or u.kind == "newton" for n in u.params}
    certain = {n for u in plan.updates if _climbed_to(u) for n in u.params}
    names = {p.name for p in params}
    read = {n for s in plan.shifts.values() for n in x.variables(s.value) if n != s.param}
    cells, moves, told = list[str](), list[str](), numbers(plan)
    for v in params:
        shift = plan.shifts.get(v.name)
        code = _neutral(v, em, v.name in numeric or (v.domain.kind == "real" and shift is None))
        if v.name in certain and v.domain.kind == "real":
            code = f"0.1 * {code}"  # a noise that grows from row to row has no digits
        low, high = bounds(v)
        if (
            in_units
            and v.name not in numeric
            and (v.domain.kind == "spd" or (v.domain.kind == "positive" and low == high == "None"))
        ):
            code = f"{code} * {'square' if v.domain.kind == 'spd' else 'unit'}"
        if v.name in searched:
            code = f'{code} * units["{v.name}"]'
        if shift is not None and v.name not in read and not x.variables(shift.value) & names:
            moved = f'"{v.name}": {code} + {em.align(em.value(shift.value), shift.axes)},'
            cells += numbered([moved], told.shifted(v.name))
            continue
        cells.append(f'"{v.name}": {code},')
    for shift in _readers_first([plan.shifts[v.name] for v in params if v.name in plan.shifts]):
        own = [n for n in x.variables(shift.value) if n in names]
        if own or shift.param in read:
            before = len(em.outer)
            value = em.value(x.rebuild(shift.value, as_given(own)))
            made = [*em.outer[before:], f'params["{shift.param}"] += {em.align(value, shift.axes)}']
            moves += numbered(made, told.shifted(shift.param))
            del em.outer[before:]
    return ["params = {", *("    " + c for c in cells), "}", *moves]


def _neutral(v: m.Variable, em: Emitter, jitter: bool) -> str:
    """Code of a parameter's neutral value; with `jitter` no two of its elements alike."""
    shape = ", ".join(em.size(str(d)) for d in v.shape)
    comma = "," if len(v.shape) == 1 else ""
    low, high = bounds(v)
    em.namer.of(v.name)
    drawn = "rng" if jitter else "None"
    return f'neutral("{v.domain.kind}", ({shape}{comma}), {len(v.domain.dims)}, {low}, {high}, {drawn})'


def _best_of_several(printer: Printer, neutral: list[str], searched: Sequence[str]) -> list[str]:
    """Several seeded divisions of some of the rows, climbed for a few steps: the best of them."""
    plan = printer.plan
    states = any(b.states and not set(b.latents) & plan.joint.in_clouds for b in plan.elimination.blocks)
    by_passes = [isinstance(u.rule, Numeric) and u.rule.data and not u.rule.likelihood for u in plan.updates]
    passes = any(by_passes)
    if not (passes or plan.joint.clouds or plan.joint.configurations):  # of which a step takes long
        tries = "**many_starts(data.values)" if states else "**some_starts(data.values)"
    else:
        tries = "5, 6" if states or not plan.joint.clouds else "**starts_at_points(data.values)"  # no components
    if not states and _in_units_of_data(plan):
        tries += ", margin=5.0"
    units = _units(neutral)
    first, twice, after = list[str](), list[str](), "    return params"
    moved = ["    return m_step(statistics, params, prepared, policy), value"]
    if passes:
        first.append(
            'few = max(prepared["the sizes"].values(), default=0) <= 20000  # else numeric starts cost too much'
        )
        twice = ["    again = twin(rng)  # one division for all parameters"]
        after = "    return refine(params, params, data, prepared, again) if few else params"
        if states or all(by_passes):  # else starts would be compared by what passes over the data had not moved
            raised = "    return refine(params, new, data, prepared) if few else new, value"
            moved = ["    new = m_step(statistics, params, prepared, policy)", raised]
    elif states and any(isinstance(u.rule, Numeric) and u.rule.likelihood and u.rule.mixed for u in plan.updates):
        first.append('few = max(prepared["the sizes"].values(), default=0) <= 20000  # else starts cost too much')
        raised = "    return refine(params, new, data, prepared) if few else new, value"  # else no class moves
        moved = ["    new = m_step(statistics, params, prepared, policy)", raised]
    if searched:
        first += _search(plan, neutral, searched)
        neutral = [f"params = plain(units, rng{''.join(f', {n}' for n in units)})"]
    unit = [f"    {n} = {UNITS[n]}" for n in units]
    by = "power"
    if plan.joint.clouds and not states:
        neutral = [re.sub(r"\brng\b", "noise", line) for line in neutral]
        tries, by = f"{tries}, noise=Turned(rng)", "power, noise"
    draw = ["", f"def draw({by}):", *unit, *("    " + b for b in neutral), *twice,
            "    statistics = e_step(params, data, prepared, rng)",
            '    params = m_step(statistics, params, prepared, "keep")', after]  # fmt: skip
    step = ["", "def step(params, policy):", "    statistics = e_step(params, data, prepared)",
            '    value = statistics["log_likelihood"] + log_prior(params, prepared)',
            *moved, ""]  # fmt: skip
    return [*first, *draw, *step, 'with np.errstate(all="ignore"):', f"    return best_start(draw, step, {tries})"]


def _some_rows(printer: Printer) -> list[str]:
    """The line that takes a sample of the rows, where they are many and nothing else lies on their plate."""
    if not printer.chunk:
        return []
    plan = printer.plan
    seen = [v for v in plan.joint.model.variables if v.kind in ("given", "observed") or v.name in plan.drawn]
    names = ", ".join(f'"{v.name}"' for v in seen if v.plates and str(v.plates[0].size) == printer.chunk)
    again = "lambda some: prepare(some, reference(some))"
    return [f'data, prepared = some_rows(data, prepared, "{printer.chunk}", [{names}], rng, {again})']


def _readers_first(shifts: Sequence[Shift]) -> list[Shift]:
    """Shifts in an order in which each is made before those that it is written in."""
    out, waiting = [], list(shifts)
    while waiting:
        read = [(o, x.variables(o.value)) for o in waiting]
        free = next(s for s in waiting if not any(s.param in names for o, names in read if o is not s))
        out.append(free)
        waiting.remove(free)
    return out


def _first_m_step(plan: Plan) -> list[str]:
    """The M-step of a start without latents; of draws about 0 with its passes over the data, which EM is slow to make
    up for. Where drawn latents have a location of their own, draws about 0 say nothing of where the data are."""
    first = 'm_step(statistics, params, prepared, "keep")'
    located = any(v.domain.kind == "real" for v in own_parameters(plan.joint, plan.drawn))
    passes = any(isinstance(u.rule, Numeric) and u.rule.data for u in plan.updates)
    if plan.draws is None or located or not passes:
        return [f"return {first}"]
    return [f"return refine(params, {first}, data, prepared)"]
