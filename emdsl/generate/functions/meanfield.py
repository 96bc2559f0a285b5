"""Printing mean-field: one function for each factor of q, their starts, and the sweep that an E-step is.

Between sweeps the factors are a dict of arrays: `q:z` the probabilities of z, `E:theta:log` the expectation of
log theta, `entropy theta` the entropy of that factor.
"""

from __future__ import annotations

from collections.abc import Sequence

from emdsl.derive.algebra.expr import El, Ix
from emdsl.derive.algebra.made import (
    AT,
    MEAN,
    MOMENT,
    PAIR,
    Q,
    made_of,
)
from emdsl.derive.joint.factors import POINTS
from emdsl.derive.posteriors.blocks import Part
from emdsl.derive.posteriors.meanfield import moments_of
from emdsl.generate.blocks.clouds import density_name, emit_points
from emdsl.generate.blocks.estep import emit_joint_probabilities
from emdsl.generate.blocks.once import contracted
from emdsl.generate.context import Function
from emdsl.generate.functions.divisions import own_data
from emdsl.generate.functions.first_factors import first_entries
from emdsl.generate.functions.given_factors import given_lines
from emdsl.generate.functions.parts import is_shared, part_name
from emdsl.generate.functions.regrouped import division_lines, functions_of_groups, regrouped_of
from emdsl.generate.functions.row_factors import row_factor_lines, sums_name, sums_of_start_lines, weights_lines
from emdsl.generate.lines.spelling import indent, numbered
from emdsl.generate.printer import Printer
from emdsl.generate.shared import Handed


def part_lines(printer: Printer, part: Part) -> list[str]:
    """A factor of q, given the others: its moments, and its entropy as log-normaliser less what that normalises."""
    names = ", ".join(part.latents)
    doc = f'"""q({names}): exp of the expected log joint under the other factors; its moments and entropy."""'
    head = f"def {part_name(printer, part)}(params, prepared, factors, rng=None):"
    h = handed_of(printer, part)
    if h is not None:
        head = head.replace("rng=None", f"rng=None, whole={h.whole}")
        return [head, *indent([doc, *row_factor_lines(printer, h, part is settled_last(printer))], 1)]
    f = printer.function()
    em = f.emitter
    for cloud in printer.plan.joint.clouds:
        if any(cloud.name in b.latents for b in part.blocks):
            emit_points(f, cloud, density_name(printer.plan, cloud))
    for block in part.blocks:
        printer.block(f, block, stacked=False)
    emit_joint_probabilities(f, part.blocks)
    cells = []
    for key, axes in _kept(printer, part):
        stored = em.order(axes)
        with f.printing(_numbers(printer, part, key)[0]):
            code = em.broadcast(em.contract([El(key, axes)], stored), stored).code
        cells += numbered([f'"{key}": np.array({code}),'], *_numbers(printer, part, key))
    with f.printing(printer.numbers.objective):
        shares = [[contracted(f, t, ()) for t in terms] for terms in (part.log_norm, part.own)]
    log_norm, own = (em.sum(s).code if s else "0.0" for s in shares)
    outer, inner = printer.placed(f, em.lines)
    body = [*inner, *numbered([f"normaliser = {log_norm}"], printer.numbers.objective)]
    body += numbered([f"entropy = normaliser - ({own})"], printer.numbers.objective)
    lines = ['sizes = prepared["the sizes"]', *f.prologue(), *outer, *body]
    lines += ["return {", *indent(cells, 1)]
    if part is settled_last(printer):
        lines.append(f'    "normaliser {part.latents[0]}": float(normaliser),')
    lines += [f'    "entropy {part.latents[0]}": float(entropy),', "}"]
    return [head, *indent([doc, *lines], 1)]


def _numbers(printer: Printer, part: Part, key: str) -> list[str]:
    """The numbers of what says how an array of a factor is found."""
    if key in PAIR:
        return [printer.numbers.of(PAIR.named(key), "pairs")]
    mine = [b.name for b in part.blocks if key.split(":")[1] in b.latents]
    return [printer.numbers.found(n) for n in mine or [b.name for b in part.blocks]]


def handed_of(printer: Printer, part: Part) -> Handed | None:
    """What is read of a factor as sums over its rows; None where its rows are not independent."""
    return next((h for h in printer.handed if h.part is part), None)


def settled_last(printer: Printer) -> Part | None:
    """The last factor of a sweep, where every sweep makes it anew."""
    last = printer.plan.elimination.parts[-1]
    return None if is_shared(printer, last) else last


def _kept(printer: Printer, part: Part) -> list[tuple[str, tuple[Ix, ...]]]:
    """The arrays of a factor that anyone reads, and their axes."""
    wanted, h = printer.plan.moments, handed_of(printer, part)
    return [
        (key, axes)
        for b in part.blocks
        for key, axes in moments_of(b, printer.plan.joint.model).items()
        if key in wanted and (h is None or h.whole or key != h.q)
    ]


def start_lines(printer: Printer) -> list[str]:
    """`start(params, data, prepared, rng, given)`: factors to sweep from, seeded; those of `given` as they are."""
    f = printer.function()
    before: list[str] = []
    after: list[str] = []
    parts = printer.plan.elimination.parts
    groups = regrouped_of(printer)
    cells = [line for part in parts for b in part.blocks for line in first_entries(printer, f, b, before, after)]
    cells += [f'"entropy {part.latents[0]}": 0.0,' for part in printer.plan.elimination.parts]
    cells += [f'"normaliser {p.latents[0]}": 0.0,' for p in [settled_last(printer)] if p is not None]
    made = [] if groups else _from_seeds(printer)
    given = [*(["named = set(given)"] if made else []), *given_lines(printer, f)]
    lines = ['sizes = prepared["the sizes"]', *f.prologue(), *f.emitter.outer]
    lines += division_lines(f.emitter, printer, groups) if groups else []
    lines += [*before, "factors = {", *indent(cells, 1), "}"]
    told = _told_apart(printer, f)
    lines += [*(after if told else ()), *told, *given, "refuse_factors(given)", *after]
    for h in printer.handed:
        lines += [f'factors.update({sums_name(h)}(prepared, factors["{h.q}"]))'] if h.found else []
        lines += [] if h.whole else [f'del factors["{h.q}"]']
    lines += made
    lines.append("return factors")
    doc = '"""Factors of q to sweep from: seeded divisions of discrete latents, plain members of families near 1."""'
    return [f"def {'division' if groups else 'start'}(params, data, prepared, rng, given):", *indent([doc, *lines], 1)]


def _from_seeds(printer: Printer) -> list[str]:
    """Factors that a sweep makes after those of discrete latents follow from where these start, which is lost else.

    Not from addends, whose start says nothing; nor those that the user gives.
    """
    unnamed, seeded, lines = printer.plan.joint.unnamed, False, []
    for part in printer.plan.elimination.parts:
        discrete = any(b.states for b in part.blocks)
        if discrete or not seeded:
            seeded |= discrete and not unnamed & set(part.latents)
            continue
        lines.append(f"if named.isdisjoint({part.latents}):")
        lines.append(f"    factors.update({part_name(printer, part)}(params, prepared, factors))")
    return lines


def _told_apart(printer: Printer, f: Function) -> list[str]:
    """Elements without data of their own are divided by what the data say of a Gaussian latent that lies on them.

    A division at random leaves the states alike in a large sample, which is where EM stays.
    """
    seeds: list[str] = []
    found: dict[str, None] = {}
    for part in printer.plan.elimination.parts:
        for b in part.blocks:
            home = [i.dim for i in b.home]
            single = b.states and len(b.latents) == 1 and home and not (b.chain or b.network or b.gates)
            single = single and not set(b.latents) & printer.plan.joint.in_clouds
            own = Q.of(b.name)
            if not single or own not in printer.plan.moments or own_data(printer, f, b) != "[]":
                continue
            near = [(p, k) for p in printer.plan.elimination.parts if p is not part for k in _means(printer, p, home)]
            found.update(dict.fromkeys(part_name(printer, p) for p, _ in near))
            data = ", ".join(k for _, k in near)
            seeds += [f'factors["{own}"] = seeded(factors["{own}"], 1, [{data}], rng)'] if near else []
    sums = [f'factors.update({sums_name(h)}(prepared, factors["{h.q}"]))' for h in printer.handed if h.found and seeds]
    return [*sums, *(f"factors.update({name}(params, prepared, factors))" for name in found), *seeds]


def _means(printer: Printer, part: Part, home: list[str]) -> list[str]:
    """Code of the moments of a factor that are means of the elements of these plates."""
    blocks = [b for b in part.blocks if not b.gates and not b.states]
    kept = [(k, axes) for b in blocks for k, axes in moments_of(b, printer.plan.joint.model).items()]
    plain = [(k, axes) for k, axes in kept if k in MEAN or (k in MOMENT and made_of(k)[1][1] == "id")]
    found = [k for k, axes in plain if k in printer.plan.moments and [i.dim for i in axes[: len(home)]] == home]
    points = [AT.of(c.name) for c in printer.plan.joint.clouds if (c.name,) in [b.latents for b in part.blocks]]
    own = [k for k in points if [i.dim for i in printer.plan.moments.get(k, ())[1:]] == home]
    return [
        *(f'factors["{k}"]' for k in found),
        *(f'(factors["{Q.of(AT.named(k))}"] * factors["{k}"]).sum(0)' for k in own),
    ]


def sweep_lines(printer: Printer) -> list[str]:
    """The lines at the head of `e_step`: each factor in turn."""
    lines = ["factors = dict(settle(params, data, prepared) if factors is None else factors)"]
    at_points = [
        f'("{key}", {k}, prepared["the sizes"]["{axis.dim}"])'
        for p in printer.plan.elimination.parts
        for key, axes in _kept(printer, p)
        for k, axis in enumerate(printer.inference.emitter.order(axes))
        if axis.dim.endswith(POINTS)
    ]
    if at_points:
        lines.append(f"factors = with_points(factors, [{', '.join(at_points)}])")
    for p in printer.plan.elimination.parts:
        when = 'if sweep == "all":' if is_shared(printer, p) else "if sweep:"
        if when not in lines[-2:]:
            lines.append(when)
        lines.append(f"    factors.update({part_name(printer, p)}(params, prepared, factors, rng))")
    return lines


def settle_lines(printer: Printer) -> list[str]:
    """`settle(params, data, prepared, learned)`: the factors of these data at these parameters."""
    doc = (
        '"""Factors of q: sweeps until the bound stays; those of the population as they were `learned`, where given."""'
    )
    shared = [k for p in printer.plan.elimination.parts if is_shared(printer, p) for k, _ in _kept(printer, p)]
    shared += [f"sum {n}" for h in printer.handed if is_shared(printer, h.part) for n in h.found.values()]
    shared += [f"entropy {p.latents[0]}" for p in printer.plan.elimination.parts if is_shared(printer, p)]
    names = ", ".join(f'"{k}"' for k in shared)
    groups = regrouped_of(printer)
    lines = ["factors = start(params, data, prepared, np.random.default_rng(0), {})"]
    if shared:
        lines += ["if learned is not None:", f"    factors.update({{k: learned[k] for k in ({names},)}})"]
    if groups and not any(is_shared(printer, p) for p in groups.own):
        made = "division(params, data, prepared, np.random.default_rng(0), {})"
        made = f"{{**{made}, **{{k: learned[k] for k in ({names},)}}}}" if shared else made
        lines = ["if learned is None:", "    factors = start(params, data, prepared, np.random.default_rng(0), {})",
                 "else:", f"    factors = regrouped(params, prepared, {made})"]  # fmt: skip
    lines += [
        'sweep = "all" if learned is None else "rows"',
        "return settled(lambda here: e_step(params, data, prepared, here, sweep=sweep), factors)",
    ]
    return ["def settle(params, data, prepared, learned=None):", *indent([doc, *lines], 1)]


def bound_lines(printer: Printer) -> list[str]:
    """The entropies, which with the expected log joint are the bound."""
    return [f'log_likelihood += factors["entropy {p.latents[0]}"]' for p in printer.plan.elimination.parts]


def after_sweep_lines(printer: Printer, last: Part) -> list[str]:
    """The same after a sweep: what the last factor's normaliser holds is not added up again."""
    before = printer.plan.elimination.parts[:-1]
    out = [f'log_likelihood += factors["entropy {p.latents[0]}"]' for p in before]
    return [*out, f'log_likelihood += factors["normaliser {last.latents[0]}"]']


def whole_bound_lines(printer: Printer) -> list[str]:
    """`whole_bound(params, prepared, factors)`: the bound of any factors, term by term."""
    if settled_last(printer) is None:
        return []
    f = printer.reader()
    em = f.emitter
    body = []
    for t in printer.plan.elimination.free:
        with f.printing(printer.numbers.objective):
            value = contracted(f, t, ())
        body.append(f"log_likelihood += {value.code}")
    number = printer.numbers.objective
    lines = ['sizes = prepared["the sizes"]', *f.prologue(), *em.outer, *em.lines, "log_likelihood = 0.0"]
    lines += numbered([*body, *bound_lines(printer)], number)
    doc = '"""The bound at these parameters under any factors of q: the expected log joint and the entropies."""'
    return ["def whole_bound(params, prepared, factors):", *indent([doc, *lines, "return log_likelihood"], 1)]


def functions_of_meanfield(printer: Printer) -> Sequence[list[str]]:
    """The functions that only mean-field has."""
    if not printer.plan.elimination.parts:
        return []
    parts = printer.plan.elimination.parts
    made = {p.latents: part_lines(printer, p) for p in sorted(parts, key=lambda p: handed_of(printer, p) is not None)}
    return [  # the sums that others read are made last, under the numbers of the equations they stand in
        *(made[p.latents] for p in parts),
        *(sums_of_start_lines(printer, h) for h in printer.handed),
        *(weights_lines(printer, h) for h in printer.handed),
        whole_bound_lines(printer),
        start_lines(printer),
        *functions_of_groups(printer),
        settle_lines(printer),
    ]
