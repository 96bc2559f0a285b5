"""Printing the posterior of a network: its cliques' tables, one call, and the probabilities it leaves."""

from __future__ import annotations

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import Expr, Idx, Ix
from emdsl.derive.algebra.made import CLIQUE, LOG_NORMALISER, Q
from emdsl.derive.joint.plates import home_of, outermost
from emdsl.derive.posteriors.block import Block
from emdsl.derive.posteriors.networks import Clique
from emdsl.generate.blocks.chains import add_up
from emdsl.generate.context import Function, told_row_by_row
from emdsl.generate.lines.arrays import Array, Leaf
from emdsl.generate.lines.kept import CONDITIONAL, DRAWN, STATE


def emit_network(f: Function, block: Block) -> None:
    """The tables of a network's cliques and its posterior: `q` of each latent, and of each clique."""
    em, name = f.emitter, block.name
    then = "the largest" if f.largest else "their posterior and log-normaliser"
    em.comment(f"log weights of {', '.join(block.latents)}, clique by clique; then {then}")
    with f.part(block, "factors"):
        tables = [em.broadcast(add_up(f, c.terms, c.axes), c.axes).code for c in block.network]
    q, log_z, cliques = (em.namer.fresh(f"{part}_{name}") for part in ("q", "log_z", "cliques"))
    weights = em.namer.fresh(f"weights_{name}")
    with f.part(block, "factors"):
        em.lines.append(f"{weights} = [{', '.join(tables)}]")
    if f.largest:
        f.runtime[CONDITIONAL.of(name)] = Leaf(weights, (), True)
        return
    network = f'prepared["the network of {name}"]'
    if f.drawing:
        drawn = em.namer.fresh(f"drawn_{name}")
        em.lines.append(f"{drawn} = draw_network({network}, {weights}, prepared, rng)")
        f.runtime[DRAWN.of(name)] = Leaf(drawn, (), True)
        return
    if block.apart:
        with f.part(block, "posterior"):
            em.lines.append(f'{q}, {log_z}, {cliques} = networks_apart({network}, {weights}, factors["{Q.of(name)}"])')
    else:
        with f.part(block, "forward", "backward"):
            em.lines.append(f"{q}, {log_z}, {cliques} = networks({network}, {weights}, rng)")
    gone = {n: _absent(f, block, n) for n in block.latents if block.conditions(n)}
    if gone and block.within:
        homes = {n: home_of(f.plan.joint.model.variable(n)) for n in gone}
        codes = [f'"{n}": {em.broadcast(em.contract(e, homes[n]), homes[n]).code}' for n, e in gone.items()]
        em.lines.append(f"{log_z} = {log_z} - by_rows({network}, {{{', '.join(codes)}}})")
    elif gone:
        em.lines.append(f"{log_z} = {log_z} - ({em.sum([em.contract(e, ()) for e in gone.values()]).code})")
    f.runtime[LOG_NORMALISER.of(name)] = Leaf(log_z, tuple(range(len(block.within))), True)
    for latent in block.latents:
        axes = len(home_of(f.plan.joint.model.variable(latent)))
        f.runtime[Q.of(latent)] = Leaf(f'{q}["{latent}"]', tuple(range(axes + 1)), True)
    for n, c in enumerate(block.network):
        f.runtime[CLIQUE.at(n).of(name)] = Leaf(f"{cliques}[{n}]", tuple(range(len(c.axes))), True)


def _absent(f: Function, block: Block, latent: str) -> list[Expr]:
    """The log number of states of the elements that a filtered plate leaves out: no clique holds them."""
    levels = x.fn("log", x.SizeN(f.plan.joint.levels[latent]))
    return [levels, x.add(x.ONE, x.neg(x.mul(*block.conditions(latent))))]


def network_lines(f: Function, block: Block, equation: object) -> list[str]:
    """The generated function that finds which elements each clique ties, and the line of `prepare` that keeps it."""
    g = f.another(None)
    em, model = g.emitter, f.plan.joint.model
    levels, shapes = [], []
    for latent in block.latents:
        home = home_of(model.variable(latent))
        count = " * ".join(em.size(i.dim) for i in home) or "1"
        levels.append(f'"{latent}": ({em.size(f.plan.joint.levels[latent])}, {count})')
        shapes.append(f'"{latent}": ({"".join(em.size(i.dim) + ", " for i in home)})')
    cliques = [members(g, c) for c in block.network]
    more = ", False" if block.apart else ""
    for row in block.within:
        rows = [f'"{n}": {_row(g, home_of(model.variable(n)))}' for n in block.latents]
        more = f", True, {{{', '.join(rows)}}}, {em.size(row.dim)}"
    told = f"# ({equation}) the cliques of {', '.join(block.latents)}"
    body = ['sizes = prepared["the sizes"]', *g.prologue(), told, *em.outer, *em.lines]
    body += [f"levels = {{{', '.join(levels)}}}", "cliques = ["]
    body += [
        *(f"    {c}," for c in cliques),
        "]",
        f"return Network(levels, cliques{more}), {{{', '.join(shapes)}}}  # ({equation})",
    ]
    doc = '"""Which elements each clique ties, and an order of elimination; the shapes of the latents."""'
    return [f"def network_of_{block.name}(prepared):", *("    " + line for line in (doc, *body))]


def _row(g: Function, home: tuple[Ix, ...]) -> str:
    """Code of the row of the outermost plate in which each element of a latent lies."""
    return _spread(g, g.emitter.value(x.value_of(outermost(home[0], g.plan.joint.model))), home)


def members(g: Function, c: Clique) -> str:
    """Code of one clique: (latent, element numbers) for each place, and the mask."""
    em = g.emitter
    places = []
    for latent, idx in c.places:
        number = em.value(_number(g, latent, idx))
        places.append(f'("{latent}", {_spread(g, number, c.plates)})')
    mask = "None"
    if c.masks:
        mask = _spread(g, em.contract(list(c.masks), c.plates), c.plates)
    return f"([{', '.join(places)}], {mask})"


def _spread(g: Function, value: Array, plates: tuple[Ix, ...]) -> str:
    """A value of every row of a clique's plates."""
    if not plates:
        return f"np.array([{value.code}])"
    return g.emitter.broadcast(value, plates).code


def _number(g: Function, latent: str, idx: tuple[Idx, ...]) -> Expr:
    """An element's number among all of its latent, kept in range: a branch not taken may leave it."""
    home = home_of(g.plan.joint.model.variable(latent))
    number: Expr = x.ZERO
    for i, h in zip(idx, home, strict=True):
        inside = x.Fn("min", (x.Fn("max", (x.value_of(i), x.ZERO)), x.add(x.SizeN(h.dim), x.num(-1))))
        number = x.add(x.mul(number, x.SizeN(h.dim)), x.value_of(i) if isinstance(i, Ix) else inside)
    return number


def network_path(f: Function, block: Block) -> list[str]:
    """The most probable configuration of a network, an entry for each latent."""
    found = f.emitter.namer.fresh(f"best_{block.name}")
    weights = f.runtime[CONDITIONAL.of(block.name)].code
    with f.part(block, "forward"):
        f.emitter.lines.append(f'{found} = best_network(prepared["the network of {block.name}"], {weights})')
    out = []
    for latent in block.latents:
        axes = len(home_of(f.plan.joint.model.variable(latent)))
        f.runtime[STATE.of(latent)] = Leaf(f'{found}["{latent}"]', tuple(range(axes)), True, integer=True)
        states = told_row_by_row(f.plan, latent, f'{found}["{latent}"]')
        out.append(f'"{latent}": plates_first({states}, {axes}),')
    return out


def network_size(block: Block) -> str:
    """The line of `prepare` that keeps a network."""
    return f'out["the network of {block.name}"] = network_of_{block.name}(out)'
