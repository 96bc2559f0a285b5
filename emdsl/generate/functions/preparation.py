"""Printing what happens once: reference points, prepared data, a seeded start."""

from __future__ import annotations

from collections.abc import Sequence

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.made import MIXING, RAW, REFERENCE
from emdsl.derive.joint.centre import of_one_number, raw
from emdsl.derive.joint.factors import Cloud
from emdsl.derive.joint.planes import Plane
from emdsl.derive.joint.plates import dimension, home_of
from emdsl.derive.numbering import numbers
from emdsl.derive.plan import Plan
from emdsl.derive.posteriors.quadrature import bounded, counts
from emdsl.derive.posteriors.slopes import components
from emdsl.generate.blocks.chains import reach_lines, sequence_lines, sequences_of
from emdsl.generate.blocks.configurations import configured_lines
from emdsl.generate.blocks.features import fold_lines
from emdsl.generate.blocks.fields import field_line
from emdsl.generate.blocks.incomplete import pattern_lines
from emdsl.generate.blocks.kinds import sums_and_kinds
from emdsl.generate.blocks.lookups import lookup_lines
from emdsl.generate.blocks.networks import network_size
from emdsl.generate.blocks.turns import turns_size
from emdsl.generate.context import flat_axes, size_expression, size_factor
from emdsl.generate.functions.givens import ends_by_element
from emdsl.generate.functions.linear_means import prepare_moments
from emdsl.generate.functions.lookups import checked
from emdsl.generate.functions.row_factors import table_line, weights_key, weights_name
from emdsl.generate.lines.extents import extent
from emdsl.generate.lines.spelling import numbered
from emdsl.generate.printer import Printer
from emdsl.generate.spec import missing_policy
from emdsl.language import model as m


def reference_lines(printer: Printer) -> list[str]:
    """`reference(data)`: the points that data are centred at, the same for every part of the data."""
    doc = '"""Reference points: data are held as differences from these, so that squares lose no digits."""'
    cells, here = [], f"  # ({printer.numbers.reference})"
    for name in printer.plan.centred:
        alike = name in of_one_number(printer.plan.shifts)
        own = 0 if alike else len(printer.plan.joint.model.variable(name).domain.dims)
        cell = f'"{name}": centre(data.values["{name}"], data.masks.get("{name}"), {own}),'
        cells += numbered([cell], printer.numbers.shifted(name))
    cells += [f'"{d.data}": mixing(data.values["{d.data}"]),{here}' for d in printer.plan.designs]
    for data in dict.fromkeys(p.data for p in printer.plan.planes):
        cells.append(_planes_line([p for p in printer.plan.planes if p.data == data]) + here)
    return ["def reference(data):", *("    " + line for line in (doc, "return {", *("    " + c for c in cells), "}"))]


def _planes_line(planes: Sequence[Plane]) -> str:
    """The cell of a plane's reference, or those of several that are fitted together."""
    y, mask = f'data.values["{planes[0].data}"]', f'data.masks.get("{planes[0].data}")'
    designs = [f'data.values["{p.design}"]' for p in planes]
    if len(planes) == 1 and not planes[0].column:
        fitted = f"{y}, {mask}, {designs[0]}" if planes[0].rows else f"centre({y}, {mask}, 1), None, {designs[0]}"
        return f'"{planes[0].param}": plane({fitted}),'
    given = ", ".join(f'"{p.param}": {design}' for p, design in zip(planes, designs, strict=True))
    return f"**planes({y}, {mask}, {{{given}}}),"


def as_index(printer: Printer) -> frozenset[str]:
    """Data that stand in an index position or a selector: kept as integers."""
    out: set[str] = set()
    for t, _ in printer.plan.elimination.terms:
        for e in (*t.factors, *t.gates):
            for node in x.walk(e):
                for i in (*getattr(node, "idx", ()), *((node.at,) if isinstance(node, x.Sel | x.Choose) else ())):
                    if isinstance(i, x.DataIx):
                        out |= x.variables(i.value)
                if isinstance(node, x.Sel):
                    out |= x.variables(node.of)
    numbers = {v.name for v in printer.plan.joint.model.variables if not v.domain.discrete}
    return frozenset(n for n in out if RAW.named(n) not in numbers)  # `m[x[n] > 0.5]`


def prepare_lines(printer: Printer) -> list[str]:
    """`prepare(data, reference)`: sizes, centred data with rows last, presence, weights, chunks."""
    plan = printer.plan
    model = plan.joint.model
    indices = as_index(printer)
    lines = ["sizes = dict(data.sizes)", 'out = {"the sizes": sizes}', *_counted_lines(plan)]
    for v in model.variables:
        if v.kind in ("observed", "given") and v.name not in plan.drawn:
            lines += _data_lines(plan, v, v.name in indices)
    lines += [f'out["reference {p.param}"] = reference["{p.param}"]' for p in plan.planes]
    if any(ends_by_element(v) for v in model.of_kind("param")):
        lines.append('out["the ends"] = limits(sizes, data.values, data.ragged)')
    lines += _ragged_lines(model)
    lines += rule_lines(printer)
    lines += _level_lines(printer)
    lines += ["indices_inside(out)"] if checked(printer) else []
    lines += configured_lines(plan)
    blocks = (*plan.elimination.blocks, *(plan.draws.blocks if plan.draws is not None else ()))
    lines += [line for b in blocks for line in (*reach_lines(b), *sequence_lines(b))]
    lines += lookup_lines(printer.inference)
    lines += [network_size(b) for b in blocks if b.network]
    lines += [turns_size(b) for b in blocks if b.turns]
    lines += [field_line(b, b.field) for b in blocks if b.field]
    lines += [line for b in blocks for line in pattern_lines(b)]
    if plan.weighted is not None:
        lines.append(f"n = {size_expression(plan.weighted)}")
        lines.append('out["the weights are even"] = data.weights is None')
        lines.append('out["the weight"] = np.ones(n) if data.weights is None else np.asarray(data.weights, float)')
    if printer.chunk:
        lines.append(f'out["the chunks"] = wide_chunks({size_factor(printer.chunk)}, {_chunk_size(printer)})')
    looked_up = [h for h in printer.handed if h.tables is not None]
    lines += [table_line(h) for h in looked_up]
    if printer.row_stacks:
        (stack,) = printer.row_stacks.values()
        lines.append(f'out["the chunks"] = chunks({size_factor(stack.row.dim)}, {_chunk_size(printer)})')
    if printer.stacks or printer.row_stacks:
        if not (printer.chunk or printer.row_stacks):
            lines.append(f'out["the chunks"] = [slice(0, {size_factor(printer.stacks[0].row.dim)})]')
        lines.append('out["the features"] = {}')
    for stack in (*printer.stacks, *printer.row_stacks.values()):
        lines += fold_lines(stack, size_factor)
        name = stack.function[0].split("(")[0].removeprefix("def ")
        numbers = f"({_height(printer)}) * {size_factor(stack.row.dim)}"
        kept = f"cached_features(out, {name}, {numbers})"
        if stack.block.chain is not None:
            kept = f"kept_in_lanes(out, {sequences_of(stack.block).replace('prepared', 'out', 1)}, {name}, {numbers})"
        lines.append(f'out["the features"] |= {kept}')
    lines += sums_and_kinds(printer.sums, printer.kinds, bool(printer.chunk))
    lines += [f'out["{weights_key(h)}"] = {weights_name(h)}(out)' for h in looked_up]
    lines += prepare_moments(printer)
    cells = ", ".join([f'out["{n}"]' for n in plan.centred] + _unexplained(plan))
    lines += [f'out["the scale"] = out["the spread"] = data_scale([{cells}])', "return out"]
    doc = '"""What is computed once: centred data with rows last, masks, weights, and the chunks of rows."""'
    return ["def prepare(data, reference):", *("    " + line for line in (doc, *lines))]


def _counted_lines(plan: Plan) -> list[str]:
    """Equal rows of counted plates once; their numbers, and which is which."""
    lines = []
    for dim in sorted(plan.joint.counted):
        plate = dim.removesuffix("[]")
        on = [
            v.name
            for v in plan.joint.model.variables
            if v.kind in ("observed", "given") and dim in [dimension(p.size) for p in v.plates]
        ]
        names = "".join(f'"{n}", ' for n in on)
        lines += [f'data, out["count {plate}"], out["which {plate}"] = distinct_rows(data, "{plate}", ({names}))']
    return lines


def rule_lines(printer: Printer) -> list[str]:
    """The quadrature rules, and where the modes of each latent are remembered: Newton starts from the last ones."""
    clouds = printer.plan.joint.clouds
    if not clouds:
        return []
    lines = ['out["the rules"], out["the modes"] = {}, {}']
    for c in clouds:
        size = len(components(c, printer.plan.joint))
        home = [i.dim for i in home_of(printer.plan.joint.model.variable(c.name))]
        shape = ", ".join([str(size * _pieces(c)), *map(size_factor, home)])
        lines += _lengths_as_compiled(c, printer)
        length = _count_of(c, f'out["the rules"]["{c.name}"]')
        lines += [
            f'out["the rules"]["{c.name}"] = {_rule(c, printer)}',
            f'sizes["{c.dimension}"] = {f"lattice_size({c.points})" if c.shared else length}',
            f'out["the modes"]["{c.name}"] = np.zeros(({shape},))',
        ]
    return lines


def _lengths_as_compiled(c: Cloud, printer: Printer) -> list[str]:
    """A named length of a latent's elements is fixed when the model is compiled: a line that says where it is not."""
    model = printer.plan.joint.model
    defaults = {s.name: s.default.constant for s in model.sizes if s.default is not None}
    dims = [str(d) for n in c.latents for d in model.variable(n).domain.dims]
    out = []
    for dim in dict.fromkeys(d for d in dims if d in defaults):
        text = f"quadrature over {', '.join(c.latents)} is printed for {dim} = {defaults[dim]}: change it in the model"
        out += [f"if {size_factor(dim)} != {defaults[dim]}:", f'    raise DataError("{text}", code="D021")']
    return out


def _rule(c: Cloud, printer: Printer, times: str = "") -> str:
    """Code that makes a rule of its points, or of `times` as many."""
    size, points = len(components(c, printer.plan.joint)), f"{times}{c.points}"
    if counts(c, printer.plan.joint):
        return f"consecutive({points})"
    if c.bends:
        return f"panels({points})"
    if bounded(c, printer.plan.joint):
        return f"doubly_exponential({points})" if size == 1 else f"doubly_exponential({points}, {size})"
    return f"{'gaussian_tails' if times else 'hermite'}({points}, {size})"


def _pieces(c: Cloud) -> int:
    """Into how many pieces kinks cut the line: each has the points of the rule."""
    return len(c.kinks) + 1


def _count_of(c: Cloud, rule: str) -> str:
    """Code of how many points a cloud has."""
    return (f"{_pieces(c)} * " if c.kinks else "") + f"len({rule}.log_volume)"


def finer_lines(printer: Printer) -> list[str]:
    """`finer(prepared)`: the same data under twice the points: how the error of quadrature is told."""
    clouds = [c for c in printer.plan.joint.clouds if c.method == "quadrature" and not c.shared]
    if not clouds:
        return []
    doc = '"""The same data under rules of twice the points."""'
    rules = ", ".join(f'"{c.name}": {_rule(c, printer, "times * ")}' for c in clouds)
    sizes = ", ".join(f'"{c.dimension}": ' + _count_of(c, f'rules["{c.name}"]') for c in clouds)
    lines = [doc, 'times = 2 * prepared.get("times", 1)', f"rules = {{{rules}}}",
             f'sizes = {{**prepared["the sizes"], {sizes}}}',
             f"largest = {_largest_at_points(printer, clouds)}",
             'return {**prepared, "times": times, "the rules": rules, "the sizes": sizes, "largest": largest}',
             ]  # fmt: skip
    return ["def finer(prepared):", *("    " + line for line in lines)]


def _unexplained(plan: Plan) -> list[str]:
    """Data that are held as residuals, about their means: beside these a scale that collapses is rounding."""
    out = []
    for name in dict.fromkeys(p.data for p in plan.planes):
        v = plan.joint.model.variable(name)
        plates, own = flat_axes(v)
        values, mask = f'data.values["{name}"]', f'data.masks.get("{name}")'
        out.append(f"stored({values}, {mask}, float, {plates}, centre({values}, {mask}, {own}))")
    return out


def _data_lines(plan: Plan, v: m.Variable, index: bool) -> list[str]:
    """One array of data: centred, 0 where missing, rows last; integers where it stands in an `index` position."""
    plates, _ = flat_axes(v)
    integer = v.domain.kind in ("category", "index") or index
    kind = "np.int64" if integer else "float"
    values, mask = f'data.values["{v.name}"]', f'data.masks.get("{v.name}")'
    reference = f'reference["{v.name}"]' if v.name in plan.centred else "None"
    if v.name in plan.shifts:  # it moves as the data do that it locates
        reference = f'reference["{REFERENCE.named(next(iter(x.variables(plan.shifts[v.name].value))))}"]'
    stored = values
    for p in plan.planes:
        if p.data == v.name:
            stored += f' - data.values["{p.design}"] {"*" if p.column else "@"} reference["{p.param}"]'
    if any(d.data == v.name for d in plan.designs):
        stored = f'mixed({values}, reference["{v.name}"])'
    gap = ", 1e-60" if v.domain.kind in ("positive", "unit", "spd") and v.kind == "observed" else ""
    if v.domain.kind == "spd" and gap:
        gap += f" * np.eye({values}.shape[-1])[..., {', '.join(['None'] * plates)}]"
    lines = [f'out["{v.name}"] = stored({stored}, {mask}, {kind}, {plates}, {reference}{gap})']
    if reference != "None" or stored != values:
        lines = numbered(lines, numbers(plan).shifted(v.name))
    if any(d.data == v.name for d in plan.designs):
        lines.append(f'out["{MIXING.word} {v.name}"] = reference["{v.name}"]')
    if v.name in plan.centred:
        lines.append(f'out["reference {v.name}"] = {reference}')
    if raw(v.name) in plan.joint.holding:
        lines.append(f'out["{RAW.word} {v.name}"] = stored({values}, {mask}, {kind}, {plates}, None{gap})')
    if missing_policy(v, plan) == "complete":
        lines.insert(0, f'without_gaps({mask}, "{v.name}")')
    if v.name in plan.joint.incomplete:
        lines.append(f'out["unseen {v.name}"] = unseen({mask}, {values}.shape, {plates})')
    elif v.kind == "observed":
        axes = plan.presence_axes(v)
        arguments = f'{mask}, {values}.shape, {plates}, {plates + axes}, "{v.name}"'
        if plates + axes < sum(flat_axes(v)):
            arguments += f", {v.span.line}"
        lines.append(f'out["present {v.name}"] = presence({arguments})')
    return lines


def _ragged_lines(model: m.ModelText) -> list[str]:
    """Sizes and tables of ragged plates: the parent, position, start and length of their rows."""
    lines: list[str] = []
    for name in _ragged(model):
        lines += [
            f'sizes["{name}[]"] = len(data.ragged["{name}"].row)',
            f'sizes["{name}[max]"] = int(max(data.ragged["{name}"].lengths, default=0))',
        ]
        for field, source in (("row", "row"), ("position", "position"), ("start", "start"), ("length", "lengths")):
            lines.append(f'out["{field} {name}"] = data.ragged["{name}"].{source}')
    return lines


def _chunk_size(printer: Printer) -> str:
    """Rows per chunk: features and table stay in cache, and a product stays too small to be split among threads."""
    width = _height(printer)
    states = [
        " * ".join(size_factor(i.dim) for i in b.states) for b in printer.plan.elimination.blocks if b.states
    ] or ["1"]
    count = " * ".join(dict.fromkeys(states))
    total = f"max(10 * ({width} + 2 * {count}), ({width}) * {count})"
    return f"max(512, min(8192, 2**20 // {total}))"


def _height(printer: Printer) -> str:
    """Code of the number of features."""
    return (
        " + ".join(f.width(size_factor) for s in (*printer.stacks, *printer.row_stacks.values()) for f in s.features)
        or "8"
    )


def _ragged(model: m.ModelText) -> list[str]:
    names: dict[str, None] = {}
    for v in model.variables:
        for p in v.plates:
            if isinstance(p.size, m.Ragged):
                names[p.size.name] = None
    return list(names)


def _axes_of(printer: Printer, dim: str) -> dict[str, str]:
    """The arrays of which a one-hot's index selects an entry, with the lengths of the axes."""
    model = printer.plan.joint.model
    shapes = {v.name: v.shape for v in model.variables}
    found: dict[str, str] = {}
    for f in printer.plan.joint.factors:
        for node in (n for e in (f.body, *f.masks, *f.gates) for n in x.walk(e)):
            if isinstance(node, x.El) and len(node.idx) == len(shapes.get(node.var, ())) > 0:
                for i, size in zip(node.idx, shapes[node.var], strict=True):
                    if isinstance(i, x.Ix) and i.dim == dim and isinstance(size, m.Dim):
                        found[node.var] = str(size)
    return found


def _length(size: m.Size) -> str:
    return size_factor(f"{size.name}[max]" if isinstance(size, m.Ragged) else str(size))


def _level_lines(printer: Printer) -> list[str]:
    """Sizes of one-hots whose length the data decide: one more than the largest bound."""
    model = printer.plan.joint.model
    out = []
    draws = printer.plan.draws
    for name, dim in {**printer.plan.joint.levels, **(draws.levels if draws is not None else {})}.items():
        if dim == f"{name}[levels]":
            v = model.variable(name)
            bound = v.domain.upper
            base = bound.base if isinstance(bound, m.Index) else bound
            axes = ", ".join(f'"{n}": {size_factor(size)}' for n, size in _axes_of(printer, dim).items())
            if isinstance(base, m.Var):
                of, most = base.name, f'data.values["{base.name}"]'
            else:
                assert bound is not None
                of, most = "its bound", extent(bound, _length)[1]
            out.append(f'sizes["{dim}"] = levels_within("{name}", "{of}", {most}, {{{axes}}})')
    return out


def _largest_at_points(printer: Printer, clouds: Sequence[Cloud]) -> str:
    """Code of how many numbers the largest table of log joints has that is made at points, for all rows."""
    dims = {c.dimension for c in clouds}
    axes = [(*b.states, *b.gates, *b.home) for b in printer.plan.elimination.blocks]
    made = [" * ".join(size_factor(i.dim) for i in a) for a in axes if any(i.dim in dims for i in a)]
    made = list(dict.fromkeys(made))
    return made[0] if len(made) == 1 else f"max({', '.join(made)})"
