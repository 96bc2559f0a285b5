"""Printing what draws need: each group's log conditional with its gradient, draws by elimination, starts, the climb."""

from __future__ import annotations

from dataclasses import replace

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import Ix
from emdsl.derive.joint.gradient import gradient
from emdsl.derive.joint.plates import home_of
from emdsl.derive.joint.terms import Term
from emdsl.derive.plan import Plan
from emdsl.derive.posteriors.blocks import Elimination
from emdsl.derive.posteriors.draws import KERNELS, Drawn, Sampling, own_parameters
from emdsl.derive.posteriors.intervals import Interval, jumps
from emdsl.derive.posteriors.kinks import is_kinked
from emdsl.generate.blocks.estep import emit_block
from emdsl.generate.blocks.networks import network_lines
from emdsl.generate.blocks.once import contracted
from emdsl.generate.context import Function, function, size_expression, size_factor, stored_order
from emdsl.generate.functions.drawing import drawing_lines
from emdsl.generate.functions.numeric import forget
from emdsl.generate.functions.posterior import moved
from emdsl.generate.lines.arrays import Leaf
from emdsl.generate.lines.limits import bounds
from emdsl.generate.lines.names import plain
from emdsl.generate.lines.spelling import indent, numbered
from emdsl.generate.printer import Printer
from emdsl.language import model as m


def functions_of_draws(printer: Printer) -> list[list[str]]:
    """The functions that only a model with drawn latents has."""
    draws = printer.plan.draws
    if draws is None:
        return []
    plan, number = printer.plan, printer.numbers.drawn("conditional")
    groups = [_numbered(_group_lines(printer, g), number) for g in draws.groups if not g.collapsed]
    rest = [drawing_lines(printer, "rest", draws.rest, plan.joint, plan.elimination)] if draws.moved else []
    rest = [_numbered(lines, number) for lines in rest]
    networks = [
        network_lines(_function(printer, g), replace(b, apart=True), number)
        for g in draws.groups if g.elimination is not None for b in g.elimination.blocks if b.network
    ]  # fmt: skip
    before = [first_lines(printer), with_draws_lines(printer), _numbered(units_lines(printer), number)]
    after = [
        _numbered(lines(printer), str(printer.numbers.draws)) for lines in (sweep_lines, climb_lines, stored_lines)
    ]
    means = [
        _numbered(lines(printer), printer.numbers.drawn("mean")) for lines in (statistics_lines, drawn_posterior_lines)
    ]
    return [*networks, *before, *groups, *rest, *after, *means]


def _numbered(lines: list[str], number: str) -> list[str]:
    """The lines of a function under the number of what is told of draws: all but its head and docstring."""
    return [*lines[:2], *numbered(lines[2:], number)]


def _within(printer: Printer, g: Drawn) -> Plan:
    """The plan as a group sees it: all else known."""
    elimination = g.elimination or Elimination((), (), (), ())
    return replace(printer.plan, joint=g.joint, elimination=elimination, moments={}, draws=None)


def _function(printer: Printer, g: Drawn) -> Function:
    """An empty function in which all latents but a group are known."""
    return function(_within(printer, g), printer.helpers, None, printer.rows, printer.numbers)


def group_name(g: Drawn) -> str:
    """The name of the function that prints a group's conditional."""
    names = "_".join(plain(n) for n in g.latents)
    return f"draw_of_{names}" if g.elimination is not None else f"conditional_of_{names}"


def _group_lines(printer: Printer, g: Drawn) -> list[str]:
    if g.elimination is not None:
        name = group_name(g).removeprefix("draw_of_")
        return drawing_lines(printer, name, g.latents, g.joint, g.elimination)
    return conditional_lines(printer, g)


def own_axes(v: m.Variable) -> tuple[Ix, ...]:
    """Indices of a latent's element, plates and then its own axes: not those of any term."""
    return tuple(x.fresh(d) for d in (*(i.dim for i in home_of(v)), *map(str, (*v.array, *v.domain.dims))))


def conditional_lines(printer: Printer, g: Drawn) -> list[str]:
    """`conditional_of_b(params, prepared)`: log p(b | all else) up to a constant, and its gradient, functions of b."""
    f = _function(printer, g)
    em = f.emitter
    em.chunk = None
    model = g.joint.model
    values = em.namer.fresh("values")
    for n in g.latents:
        em.namer.of(n)
    original = em.leaf
    codes = {n: em.namer.of(n) for n in g.latents}

    def leaf(name: str) -> Leaf:
        return Leaf(codes[name], stored_order(model.variable(name)), True) if name in codes else original(name)

    em.leaf = leaf
    unpack = [f'{codes[n]} = {values}["{n}"]' for n in g.latents]
    stored = stored_order(model.variable(g.latents[0]))
    batch = tuple(g.batch[p] for p in stored if p < len(g.batch))  # as elements lie in what is stored
    total = em.sum([contracted(f, t, batch) for t in g.terms])
    density = [*em.lines, f"return {em.broadcast(total, batch).code}"]
    if any(model.variable(n).domain.kind == "count" for n in g.latents):  # no slope by a whole number
        return _conditional(f, g, values, [*unpack, *density], None)
    slopes, em.lines = [], []
    forget(f, ())
    for e in [e for e, a in em.known.items() if a.inner]:
        del em.known[e]
    for n in g.latents:
        v = model.variable(n)
        axes = own_axes(v)
        kept = tuple(axes[p] for p in stored_order(v))
        parts = [
            contracted(f, Term(1, (), (c, *factors), (*axes, *summed)), kept)
            for c, factors, summed in gradient(g.whole, n, axes)
        ]
        slopes.append(f'"{n}": {em.broadcast(em.sum(parts), kept).code if parts else f"np.zeros_like({codes[n]})"},')
    sloped = [*em.lines, "return {", *indent(slopes, 1), "}"]
    return _conditional(f, g, values, [*unpack, *density], [*unpack, *sloped])


def _conditional(f: Function, g: Drawn, values: str, density: list[str], sloped: list[str] | None) -> list[str]:
    """The function that gives a log density and its gradient, where it has one."""
    body = ['sizes = prepared["the sizes"]', *f.prologue(), *f.emitter.outer]
    body += ["", f"def log_density({values}):", *indent(density, 1)]
    if sloped is not None:
        body += ["", f"def gradient({values}):", *indent(sloped, 1)]
    slope = "None" if sloped is None else "gradient"
    doc = f'"""log p({", ".join(g.latents)} | all else) up to a constant, element by element; and its gradient."""'
    return [
        f"def {group_name(g)}(params, prepared):",
        *indent([doc, *body, "", f"return log_density, {slope}"], 1),
    ]


def _shape(v: m.Variable) -> str:
    """Code of a latent's shape as it is stored."""
    dims = [i.dim for i in own_axes(v)]
    lengths = [size_factor(dims[p]) for p in stored_order(v)]
    return f"({', '.join(lengths)}{',' if len(lengths) == 1 else ''})"


def _hidden(printer: Printer) -> list[m.Variable]:
    draws = printer.plan.draws
    assert draws is not None
    return [printer.plan.joint.model.variable(n) for n in (*draws.latents, *draws.moved)]


def first_lines(printer: Printer) -> list[str]:
    """`first_draws(prepared, rng)`: where the chains start."""
    cells, before = [], []
    ends = {n: (g, i) for g in printer.plan.draws.groups for n, i in g.ends} if printer.plan.draws else {}
    for v in _hidden(printer):
        low, high = bounds(v)
        shape, count = _shape(v), _levels(printer, v)
        if count != "None":
            home = [i.dim for i in home_of(v)]
            model = printer.plan.joint.model
            seen = [o.name for o in model.of_kind("observed") if o.name not in printer.plan.drawn]
            seen = [n for n in seen if home and [i.dim for i in home_of(model.variable(n))] == home]
            data = ", ".join(f'prepared["{n}"]' for n in seen)
            cells.append(f'"{v.name}": first_states({shape}, {count}, [{data}], rng),')
            continue
        draw = f'first_draw("{v.domain.kind}", {shape}, ({low}, {high}), spread, rng)'
        if v.name in ends:
            lines, draw = _between_ends(printer, v, *ends[v.name], draw)
            before += lines
        cells.append(f'"{v.name}": {draw},')
    doc = '"""Values that the chains start from, plain ones of each domain."""'
    lines = ['sizes = prepared["the sizes"]', *before, "return {", *indent(cells, 1), "}"]
    return ["def first_draws(prepared, rng, spread=1.0):", *indent([doc, *lines], 1)]


def _between_ends(printer: Printer, v: m.Variable, g: Drawn, interval: Interval, draw: str) -> tuple[list[str], str]:
    """Lines that make the ends between which data cut a latent, and code of a draw moved between them."""
    f = _function(printer, g)
    em = f.emitter
    em.chunk = None
    home, own = home_of(v), () if interval.cell is None else (interval.cell,)
    axes = (*home, *own)
    kept = tuple(axes[p] for p in stored_order(v))
    sides = [
        em.broadcast(em.name(f"{side}_{v.name}", em.value(e)), kept).code
        for side, e in (("lower", interval.lower), ("upper", interval.upper))
    ]
    return [*f.prologue(), *em.outer, *em.lines], f"between_ends({draw}, {', '.join(sides)})"


def _levels(printer: Printer, v: m.Variable) -> str:
    """Code of a discrete latent's number of states; None of any other."""
    assert printer.plan.draws is not None
    dim = {**printer.plan.joint.levels, **printer.plan.draws.levels}.get(v.name)
    return "None" if dim is None else size_expression(dim)


def with_draws_lines(printer: Printer) -> list[str]:
    """`with_draws(prepared, draws)`: the prepared data in which these are the latents' values."""
    lines = ["out = {**prepared, **draws}"]
    if printer.stacks:
        lines.append('out["the features"] = {}  # made anew: they hold the draws')
    doc = '"""The prepared data, drawn latents at these values."""'
    return ["def with_draws(prepared, draws):", *indent([doc, *lines, "return out"], 1)]


def units_lines(printer: Printer) -> list[str]:
    """`log_density_units(params, prepared)`: what holds drawn latents, for each element of the plates that part them.

    Their scores are independent given the data, so that covariances of the whole are sums of theirs.
    """
    draws = printer.plan.draws
    assert draws is not None
    head = "def log_density_units(params, prepared):"
    if not draws.units:
        return [head, *indent(['"""The latents are tied: no sum over independent parts."""', "return None"], 1)]
    f = _summed_out(printer) if draws.rest else _function(printer, draws.groups[0])
    em = f.emitter
    units = em.order(draws.units)
    total = em.sum([contracted(f, t, units) for t in draws.apart])
    doc = '"""log p(data, draws) of each independent part, without what holds no latent."""'
    seed = ["rng = None  # what is summed out is not seeded"] if any(", rng)" in n for n in em.lines) else []
    lines = ['sizes = prepared["the sizes"]', *f.prologue(), *em.outer, *seed, *em.lines]
    return [head, *indent([doc, *lines, f"return {em.broadcast(total, units).code}"], 1)]


def _summed_out(printer: Printer) -> Function:
    """A function in which what is exact given the draws has been eliminated."""
    plan = replace(printer.plan, moments={}, draws=None)
    f = function(plan, printer.helpers, None, printer.rows, printer.numbers)
    for block in plan.elimination.blocks:
        emit_block(f, block, stacked=False)
    return f


def sweep_lines(printer: Printer) -> list[str]:
    """`groups(params)`: how each group is drawn, in the order of a sweep."""
    draws = printer.plan.draws
    assert draws is not None
    cells = []
    rest = f'Group("{", ".join(draws.rest)}", draw_of_rest, exact=True),'
    for g in draws.groups:
        if draws.moved and not g.collapsed and rest not in cells and draws.groups[0].collapsed:
            cells.append(rest)  # at once: what moved without it leaves it behind
        name = "on_units(log_density_units)" if g.collapsed else group_name(g)
        others = printer.plan.joint.factors  # where its own density ends, free coordinates do
        cut = tuple(n for n in g.latents if any(jumps(f, n) for f in others if f.about != n))
        told = (f", cut={cut}" if cut else "") + (
            ", kinked=True" if any(is_kinked(others, n) for n in g.latents) else ""
        )
        if g.elimination is not None:
            cells.append(f'Group("{", ".join(g.latents)}", {name}{told}),')
            continue
        parts = []
        for n in g.latents:
            v = g.joint.model.variable(n)
            low, high = bounds(v)
            events = tuple(k for k, p in enumerate(stored_order(v)) if p >= len(g.batch))
            parts.append(f'Coordinates("{n}", "{v.domain.kind}", ({low}, {high}), {events})')
        known = KERNELS[g.kernel]
        whole = known.whole if all(g.joint.model.variable(n).domain.kind == "count" for n in g.latents) else ""
        kernel = whole or (known.several if g.collapsed or g.waves else "") or known.function
        listed = f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"
        cells.append(f'Group("{", ".join(g.latents)}", {name}, {kernel}, {listed}{told}),')
    if draws.moved and rest not in cells:
        cells.append(rest)
    doc = '"""The groups of latents in the order of a sweep, each with how it is drawn given all else."""'
    return ["def groups():", *indent([doc, "return (", *indent(cells, 1), ")"], 1)]


def climb_lines(printer: Printer) -> list[str]:
    """`climb_by_draws(setup, start, rng)`: the whole fit."""
    draws = printer.plan.draws
    assert draws is not None
    options = schedule_of(draws)
    what = "Stochastic approximation EM" if draws.method == "saem" else "Monte Carlo EM"
    return [
        "def climb_by_draws(setup, start, rng):",
        f'    """{what} from these parameters."""',
        f"    return climb_by_{draws.method}(setup, start, rng, {options})",
    ]


def initial_by_draws(printer: Printer) -> list[str]:
    """`initial(data, prepared, rng)`: what densities of drawn latents alone hold from wide draws, the rest near.

    So scales start large, from where EM shrinks them in a few steps, and locations where the data are. A probability
    that one draw shows nothing of is not 0, which none would lead away from.
    """
    if printer.plan.draws is None:
        return []
    own = [v.name for v in own_parameters(printer.plan.joint, printer.plan.drawn)]
    lines = ["near = with_draws(prepared, first_draws(prepared, rng, 0.1))", "params = initial_given(data, near, rng)"]
    if own:
        lines += [f"wide = initial_given(data, with_draws(prepared, first_draws(prepared, rng{_wide(printer)})), rng)"]
        lines += [f'params["{n}"] = wide["{n}"]' for n in own]
    shares = [v.name for v in printer.plan.joint.model.of_kind("param") if v.domain.kind == "simplex"]
    lines += [f'params["{n}"] = 0.9 * params["{n}"] + 0.1 / params["{n}"].shape[-1]' for n in shares]
    doc = '"""Starting values: locations from draws near the middle, scales of drawn latents from wide ones."""'
    return ["def initial(data, prepared, rng):", *indent([doc, *lines, "return params"], 1)]


def _wide(printer: Printer) -> str:
    """Code of how wide first draws are: as the data, where Gaussian latents have their units; 1 elsewhere."""
    draws, model = printer.plan.draws, printer.plan.joint.model
    assert draws is not None
    hidden = [model.variable(n) for n in draws.latents]
    seen = [o.name for o in model.of_kind("observed") if o.name not in draws.latents and o.domain.kind == "real"]
    if not seen or any(g.elimination is None for g in draws.groups) or any(v.domain.kind != "real" for v in hidden):
        return ""
    spreads = ", ".join(f'float(np.std(prepared["{n}"]))' for n in seen)
    return f", max(1.0, {spreads})"


def schedule_of(draws: Sampling) -> str:
    """Code of the counts of the `infer` line."""
    return f"Schedule({draws.sweeps}, {draws.burn_in}, {draws.chains}, {draws.warm})"


def stored_lines(printer: Printer) -> list[str]:
    """`stored_draws(params, prepared)`: how draws are stored, and where they are counted from."""
    draws = printer.plan.draws
    assert draws is not None
    cells, f = [], printer.function()
    f.emitter.chunk = None
    for n in dict.fromkeys((*draws.latents, *draws.rest)):
        v = printer.plan.joint.model.variable(n)
        shift = moved(f, n)
        own = len(v.array) + len(v.domain.dims)
        arguments = f"{stored_order(v)}, {own}, {_levels(printer, v)}" + (f", {shift}" if shift else "")
        cells.append(f'"{n}": StoredDraw({arguments}),')
    doc = '"""How each latent that is drawn is stored."""'
    opening = ['sizes = prepared["the sizes"]', *f.prologue(), *f.emitter.outer]
    lines = [doc, *opening, "return {", *indent(cells, 1), "}"]
    return ["def stored_draws(params, prepared):", *indent(lines, 1)]


def drawn_posterior_lines(printer: Printer) -> list[str]:
    """`posterior(params, data, prepared)`: moments over draws."""
    draws = printer.plan.draws
    assert draws is not None
    doc = '"""Moments of the latents over draws at these parameters, plates first; exact ones averaged."""'
    names = "" if not draws.rest else f", {draws.latents!r}"
    call = f"posterior_by_draws(sys.modules[__name__], params, data, prepared, factors, {schedule_of(draws)}{names})"
    return ["def posterior(params, data, prepared, factors=None, learned=None):", *indent([doc, f"return {call}"], 1)]


def statistics_lines(printer: Printer) -> list[str]:
    """`drawn_statistics(params, data, prepared, rng)`: one E-step by itself."""
    assert printer.plan.draws is not None
    call = f"statistics_by_draws(sys.modules[__name__], params, data, prepared, rng, {schedule_of(printer.plan.draws)})"
    doc = '"""Statistics averaged over draws at these parameters, and the mean log density of data and draws."""'
    return ["def drawn_statistics(params, data, prepared, rng):", *indent([doc, f"return {call}"], 1)]
