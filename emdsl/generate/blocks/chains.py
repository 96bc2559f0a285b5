"""Printing the posterior of a chain: its tables, one call of the recursion, and the probabilities it leaves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr, Idx, Ix
from emdsl.derive.algebra.made import FACTS, FIRST, LOG_NORMALISER, PAIR, WEIGHT, among
from emdsl.derive.joint.terms import Term
from emdsl.derive.plan import Plan
from emdsl.derive.posteriors.block import Block
from emdsl.derive.posteriors.chains import Chain
from emdsl.derive.posteriors.roles import Edge, Start
from emdsl.derive.updates.rules import Numeric
from emdsl.generate.blocks.once import contracted
from emdsl.generate.context import Function, size_expression
from emdsl.generate.lines.arrays import Array, Leaf
from emdsl.generate.lines.kept import CHAIN, CONDITIONAL, EDGE_TABLE, FROM, PAIRS, PLACE, SHARE, TO

ENTRIES = 2**16  # of a table over the states of neighbours, in one piece of its rows


def add_up(f: Function, terms: Sequence[Term], axes: tuple[Ix, ...]) -> Array:
    """The sum of placed terms, over those of the axes that one of them carries."""
    if not terms:
        return Array("0.0", ())
    return f.emitter.sum([contracted(f, t, axes) for t in terms])


def tables(f: Function, block: Block, chain: Chain) -> tuple[Array, list[Array]]:
    """The edge table (states before, states, and rows where it differs by row), and those of the first positions."""
    em = f.emitter
    pairs = (*chain.before, *block.states)
    own = (*block.gates, *block.home)
    terms = [t for t, r in zip(block.terms, block.roles, strict=True) if r == Edge()]
    with f.part(block, "edge"):
        if not f.drawing and in_pieces(f.plan, block):  # drawn elements read the edges of all rows at once
            edge = Array(_edges_of_rows(f, block, terms), (*pairs, *own), True)
        else:
            edge = add_up(f, terms, (*pairs, *own))
            gates = block.gates if varies(block) or any(i in edge.axes for i in block.gates) else ()
            axes = (*pairs, *gates, *(block.home if varies(block) else ()))
            edge = em.name(f"log_edge_{block.name}", em.broadcast(edge, axes))
    first = []
    for position in range(chain.depth):
        mine = [t for t, r in zip(block.terms, block.roles, strict=True) if r == Start(position)]
        at = (*(chain.before if position else ()), *block.states, *block.gates, *chain.outer)
        with f.part(block, "start"):
            first.append(em.name(f"log_first_{block.name}", em.broadcast(add_up(f, mine, at), at)))
    return edge, first


def in_pieces(plan: Plan, block: Block) -> bool:
    """Whether edges that differ from row to row are made for some rows at a time, so that no table of all rows and
    pairs of states is held: where they hold nothing but parameters and data."""
    if block.chain is None or plan.elimination.parts or not varies(block):
        return False
    kinds = {v.name: v.kind for v in plan.joint.model.variables}
    terms = [t for t, r in zip(block.terms, block.roles, strict=True) if r == Edge()]
    read = {n for t in terms for e in t.factors for n in x.variables(e)}
    known = {n for n, kind in kinds.items() if kind != "latent"} | set(plan.joint.tables)
    plain = all(among(n, FACTS) or n in known for n in read)
    return plain and all(one_row(i.dim, t.factors) for i in block.home for t in terms)


def one_row(dim: str, factors: Sequence[Expr]) -> bool:
    """Whether a product holds one row of a plate, and no sum over its rows: it is one term of a sum over them."""
    inside = {n.ix.dim for e in factors for n in x.walk(e) if isinstance(n, x.Sum)}
    return dim not in inside and len({i for e in factors for i in x.free(e) if i.dim == dim}) < 2


def row_pieces(f: Function, block: Block) -> str:
    """Code of pieces of the rows of a chain in which tables over neighbours stay small."""
    assert block.chain is not None
    em, pair = f.emitter, (*block.chain.before, *block.states, *block.gates, *block.home[1:])
    return f"chunks({em.size(block.home[0].dim)}, max(1, {ENTRIES} // ({' * '.join(em.size(i.dim) for i in pair)})))"


def _edges_of_rows(f: Function, block: Block, terms: Sequence[Term]) -> str:
    """Code of the function of rows that makes their edges: it calls one that is printed beside `expectations`."""
    assert block.chain is not None
    name = f.emitter.namer.of(f"edges_of:{block.name}")
    places: list[str] = []
    if len(block.home) == 1:
        (row,) = block.home
        g = f.another(row.dim)
    else:  # rows are numbered through all plates, the last of which runs fastest
        row = x.fresh(f"{block.name}[rows]")
        g = f.another(row.dim)
        g.emitter.rows |= {row.dim}
        terms, places = _by_number(g, block, terms, row)
    gates = block.gates if any(i in x.free(e) for t in terms for e in t.factors for i in block.gates) else ()
    em, axes = g.emitter, (*block.chain.before, *block.states, *gates, row)
    em.once = True
    with g.printing(f.equation):
        em.lines.append(f"edges = {em.broadcast(add_up(g, terms, axes), axes).code}")
    counted = ['sizes = prepared["the sizes"]', f"{em.namer.rows} = row_count(rows)"]
    body = [*counted, *places, *g.prologue(), *em.outer, *em.lines]
    doc = '"""Log weights of elements given those before them, of these rows."""'
    f.edges[name] = [f"def {name}(params, prepared, rows):", *("    " + line for line in (doc, *body))]
    f.edges[name].append("    return edges")
    return f"lambda rows: {name}(params, prepared, rows)"


def _by_number(g: Function, block: Block, terms: Sequence[Term], row: Ix) -> tuple[list[Term], list[str]]:
    """Terms in the number of a row for its places on the plates, and the line that takes that number apart."""
    names, to = [], {}
    for i in block.home:
        names.append(g.emitter.namer.fresh(f"place_{i.name}"))
        g.runtime[PLACE.of(names[-1])] = Leaf(names[-1], (0,), True, integer=True, cut=True)
        to[i] = x.DataIx(El(PLACE.of(names[-1]), (row,)))
    moved = [
        replace(t, factors=tuple(x.substitute(e, to) for e in t.factors), ixs=(*(i for i in t.ixs if i not in to), row))
        for t in terms
    ]
    shape = ", ".join(size_expression(i.dim) for i in block.home)
    return moved, [f"{', '.join(names)} = np.unravel_index(row_numbers(rows), ({shape}))"]


def reach_lines(block: Block) -> list[str]:
    """The line of `prepare` that refuses a product of states too large to sum over; none where there is no product."""
    lag = block.chain.depth if block.chain is not None else 0
    if not block.states or block.network or (len(block.states) + len(block.gates)) * (lag + 1) < 2:
        return []
    states, gates = (", ".join(size_expression(i.dim) for i in axes) for axes in (block.states, block.gates))
    rest = f", {lag}, [{gates}]" if gates else f", {lag}" if lag else ""
    return [f'within_reach("{", ".join(block.latents)}", [{states}]{rest})']


def sequence_lines(block: Block) -> list[str]:
    """The line of `prepare` that says where the sequences of a chain lie among its rows."""
    chain = block.chain
    if chain is None:
        return []
    target = f'out["the sequences of {block.name}"]'
    if chain.ragged:
        return [f'{target} = sequences(data.ragged["{chain.ragged}"].start, data.ragged["{chain.ragged}"].lengths)']
    length = size_expression(chain.order.dim)
    count = " * ".join(f"({size_expression(i.dim)})" for i in chain.outer) or "1"
    return [f"{target} = sequences(np.arange({count}) * ({length}), np.full({count}, {length}))"]


def sequences_of(block: Block) -> str:
    """Code of where the sequences of a chain lie."""
    return f'prepared["the sequences of {block.name}"]'


def varies(block: Block) -> bool:
    """Whether what ties an element to those before it differs from row to row."""
    edges = [t for t, role in zip(block.terms, block.roles, strict=True) if role == Edge()]
    return any(i in block.home for t in edges for e in t.factors for i in x.free(e))


def shape_of(block: Block) -> str:
    """What the recursion must know of its tables' axes, as code."""
    assert block.chain is not None
    return f"{len(block.states)}, {len(block.gates)}, {block.chain.depth}, {varies(block)}"


def emit_chain(f: Function, block: Block, table: str) -> None:
    """The recursion over one block: `table` names the array of its nodes, (states, gates, home)."""
    em, chain, name = f.emitter, block.chain, block.name
    assert chain is not None
    edge, first = tables(f, block, chain)
    log_z, parts = (em.namer.fresh(f"{part}_{name}") for part in ("log_z", "chain"))
    arguments = f"{table}, {edge.code}, [{', '.join(a.code for a in first)}]"
    arguments += f", {sequences_of(block)}, ({shape_of(block)})"
    if f.largest:
        path = em.namer.fresh(f"paths_{name}")
        with f.part(block, "forward"):
            em.lines.append(f"{path}, {log_z} = paths({arguments})")
        f.runtime[CONDITIONAL.of(name)] = Leaf(path, (), True)
        f.runtime[LOG_NORMALISER.of(name)] = Leaf(log_z, tuple(range(len(block.gates) + len(chain.outer))), True)
        return
    seeded = "" if f.drawing else ", rng"
    with f.part(block, "forward", "backward", "posterior", "pairs", "normaliser"):
        em.lines.append(f"{log_z}, {parts} = chains({arguments}{seeded})")
    own, outer = (*block.states, *block.gates, *block.home), (*block.gates, *chain.outer)
    pair = (*chain.before, *own)

    def stored(at: Sequence[Ix], within: Sequence[Ix]) -> tuple[int, ...]:
        return tuple(within.index(i) for i in at)

    def keep(kind: str, code: str, axes: Sequence[Ix]) -> None:
        f.runtime[f"{kind}:{name}"] = Leaf(code, tuple(range(len(axes))), True)

    rest = (*block.gates, *block.home)
    after = (*pair[len(block.states) : len(chain.before)], *own)
    keep("c", f"{parts}.q", own)
    keep("A", log_z, outer)
    keep("from", f"{parts}.before", (*chain.before, *rest))
    if not f.drawing and in_pieces(f.plan, block):
        f.runtime[EDGE_TABLE.of(name)] = Leaf(
            f"{parts}.edge_of", tuple(range(len(edge.axes))), True, called=len(block.home)
        )
    else:
        keep("edge", f"{parts}.edge", edge.axes)
    keep("to", f"{parts}.after", after)
    for position, a in enumerate(first):
        keep(FIRST.at(position).word, f"{parts}.first[{position}]", a.axes)
    keep("chain", parts, ())
    f.runtime[PAIR.of(name)] = Leaf("", (), True, parts=(
        (FROM.of(name), stored((*chain.before, *rest), pair)),
        (EDGE_TABLE.of(name), stored(edge.axes, pair)),
        (TO.of(name), stored(after, pair)),
    ))  # fmt: skip


def gate_chain(f: Function, block: Block, rows: Array, whole: Array) -> None:
    """A chain together with its gates, whose q is `rows` by element and `whole` by sequence, or one for all of them."""
    em, chain, name = f.emitter, block.chain, block.name
    assert chain is not None
    own = (*block.gates, *chain.outer)
    whole = whole if set(own) <= set(whole.axes) else em.broadcast(whole, own)
    pair = (*chain.before, *block.states)
    after = (*pair[len(block.states) :], *block.gates, *block.home)
    whole = em.name(f"share_{name}", whole)
    f.runtime[SHARE.of(name)] = Leaf(whole.code, tuple(map(whole.axes.index, own)), True)
    if _by_row(f.plan, block):
        made = em.namer.fresh(f"to_{name}")
        em.lines.append(f"{made} = {f.runtime[TO.of(name)].code} * {em.align(rows, after)}")
        f.runtime[TO.of(name)] = Leaf(made, tuple(range(len(after))), True)
    for position in range(chain.depth):
        axes = (*(pair if position else block.states), *block.gates, *chain.outer)
        key = FIRST.at(position).of(name)
        made = em.namer.fresh(f"first_{name}")
        em.lines.append(f"{made} = {f.runtime[key].code} * {em.align(whole, axes)}")
        f.runtime[key] = Leaf(made, tuple(range(len(axes))), True)


# ------------------------------------------------------------------ pairs that are only summed


def _holds(block: Block, factors: Sequence[Expr]) -> bool:
    return any(isinstance(e, El) and e.var == PAIR.of(block.name) for e in factors)


def _by_row(plan: Plan, block: Block) -> bool:
    """Whether pairs are read row by row: by a statistic, by what a numeric M-step climbs, or as a part of a factor of
    q, which keeps them for the others."""
    if plan.elimination.parts:
        return True
    sums = [(s.factors, s.axes) for s in plan.expected.statistics if _holds(block, s.factors)]
    climbed = [t for u in plan.updates if isinstance(u.rule, Numeric) for t in u.rule.mixed]
    return any(_sum_of(block, *s) is None for s in sums) or any(_holds(block, t.factors) for t in climbed)


def _sum_of(block: Block, factors: Sequence[Expr], axes: Sequence[Ix]) -> tuple[El, El | None] | None:
    """The pair and the weight of its sequence (or None), where a statistic holds rows in nothing else and no edge
    differs by row: then the recursion adds the pairs up, and they are never laid out by row."""
    chain = block.chain
    assert chain is not None
    pair = next(e for e in factors if isinstance(e, El) and e.var == PAIR.of(block.name))
    home = pair.idx[-len(block.home) :]
    if varies(block) or any(not isinstance(i, Ix) or i in axes for i in home) or len(set(home)) < len(home):
        return None
    if any(i in pair.idx[: -len(home)] for i in home):
        return None
    weight = next((e for e in factors if isinstance(e, El) and e.var == WEIGHT), None)
    if any(i in x.free(e) for e in factors if e is not pair and e is not weight for i in home):
        return None
    if weight is None:
        return pair, None
    found = by_sequence(weight, block, home)
    return None if found is None else (pair, found)


def by_sequence(weight: El, block: Block, home: Sequence[Idx]) -> El | None:
    """The weight of an element at `home` as one of its sequence; None where it is none."""
    chain = block.chain
    assert chain is not None
    own = x.substitute(weight, {i: j for i, j in zip(home, block.home, strict=True) if isinstance(i, Ix)})
    if not isinstance(own, El) or any(i not in chain.rows for i in own.idx):
        return None
    return El(WEIGHT, tuple(chain.outer[chain.rows.index(i)] for i in own.idx))


def weighted_sequences(f: Function, block: Block) -> bool:
    """Whether sample weights are weights of this chain's sequences."""
    return block.chain is not None and f.plan.weighted in [i.dim for i in block.chain.outer]


def sequence_weight(f: Function, block: Block) -> str:
    """Code of how often each sequence of a chain counts; "" where all count once."""
    if block.chain is None or not weighted_sequences(f, block):
        return ""
    em, outer = f.emitter, block.chain.outer
    own = next(i for i in outer if i.dim == f.plan.weighted)
    return em.broadcast(em.value(El(WEIGHT, (own,))), outer).code


def pair_sums(f: Function, factors: Sequence[Expr], axes: Sequence[Ix]) -> list[Expr]:
    """The factors of a statistic, pairs that are only summed over rows replaced by their sum."""
    for block in f.plan.elimination.blocks:
        if block.chain is None or CHAIN.of(block.name) not in f.runtime or not _holds(block, factors):
            continue
        found = _sum_of(block, factors, axes)
        if found is None:
            continue
        pair, weight = found
        key = PAIRS.of(block.name)
        em, outer = f.emitter, (*block.gates, *block.chain.outer)
        if key not in f.runtime:
            counts: list[Expr] = [] if weight is None else [weight]
            if SHARE.of(block.name) in f.runtime:
                counts.append(El(SHARE.of(block.name), outer))
            code = em.broadcast(em.contract(counts, outer), outer).code if counts else ""
            name = em.namer.fresh(f"pairs_{block.name}")
            em.lines.append(f"{name} = {f.runtime[CHAIN.of(block.name)].code}.sums({code})")
            f.runtime[key] = Leaf(name, tuple(range(len(pair.idx) - len(block.home))), True)
        summed = El(key, pair.idx[: -len(block.home)])
        return [summed if e is pair else e for e in factors if not (weight and isinstance(e, El) and e.var == WEIGHT)]
    return list(factors)
