"""Printing the posterior of a chain: its tables, one call of the recursion, and the probabilities it leaves."""

from __future__ import annotations

from collections.abc import Sequence

from emdsl.derive import expr as x
from emdsl.derive.block import Block
from emdsl.derive.chains import EDGE, FIRST, Chain
from emdsl.derive.expr import Ix
from emdsl.derive.terms import Term
from emdsl.generate.arrays import Array, Leaf
from emdsl.generate.context import Function, size_expression


def add_up(f: Function, terms: Sequence[Term], axes: tuple[Ix, ...]) -> Array:
    """The sum of placed terms, over those of the axes that one of them carries."""
    from emdsl.generate.estep import _contracted

    if not terms:
        return Array("0.0", ())
    return f.emitter.sum([_contracted(f, t, axes) for t in terms])


def tables(f: Function, block: Block, chain: Chain) -> tuple[Array, list[Array]]:
    """The edge table (states before, states, and rows where it differs by row), and those of the first positions."""
    em = f.emitter
    pairs = (*chain.before, *block.states)
    own = (*block.gates, *block.home)
    edge = add_up(f, [t for t, r in zip(block.terms, block.roles, strict=True) if r == EDGE], (*pairs, *own))
    gates = block.gates if any(i in edge.axes for i in block.gates) else ()
    axes = (*pairs, *gates, *(block.home if varies(block) else ()))
    edge = em.name(f"log_edge_{block.name}", em.broadcast(edge, axes))
    first = []
    for position in range(chain.depth):
        mine = [t for t, r in zip(block.terms, block.roles, strict=True) if r == f"{FIRST}{position}"]
        at = (*(chain.before if position else ()), *block.states, *block.gates, *chain.outer)
        first.append(em.name(f"log_first_{block.name}", em.broadcast(add_up(f, mine, at), at)))
    return edge, first


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


def varies(block: Block) -> bool:
    """Whether what ties an element to those before it differs from row to row."""
    edges = [t for t, role in zip(block.terms, block.roles, strict=True) if role == EDGE]
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
    q, log_z, parts = (em.namer.fresh(f"{part}_{name}") for part in ("q", "log_z", "chain"))
    arguments = f"{table}, {edge.code}, [{', '.join(a.code for a in first)}]"
    arguments += f', prepared["the sequences of {name}"], ({shape_of(block)})'
    if f.largest:
        path = em.namer.fresh(f"paths_{name}")
        em.lines.append(f"{path}, {log_z} = paths({arguments})")
        f.runtime[f"c:{name}"] = Leaf(path, (), True)
        f.runtime[f"A:{name}"] = Leaf(log_z, tuple(range(len(block.gates) + len(chain.outer))), True)
        return
    em.lines.append(f"{q}, {log_z}, {parts} = chains({arguments}, rng)")
    own, outer = (*block.states, *block.gates, *block.home), (*block.gates, *chain.outer)
    pair = (*chain.before, *own)

    def stored(at: Sequence[Ix], within: Sequence[Ix]) -> tuple[int, ...]:
        return tuple(within.index(i) for i in at)

    def keep(kind: str, code: str, axes: Sequence[Ix]) -> None:
        f.runtime[f"{kind}:{name}"] = Leaf(code, tuple(range(len(axes))), True)

    rest = (*block.gates, *block.home)
    after = (*pair[len(block.states) : len(chain.before)], *own)
    keep("c", q, own)
    keep("A", log_z, outer)
    keep("from", f'{parts}["from"]', (*chain.before, *rest))
    keep("edge", f'{parts}["edge"]', edge.axes)
    keep("to", f'{parts}["to"]', after)
    for position, a in enumerate(first):
        keep(f"{FIRST}{position}", f'{parts}["first"][{position}]', a.axes)
    f.runtime[f"pair:{name}"] = Leaf("", (), True, parts=(
        (f"from:{name}", stored((*chain.before, *rest), pair)),
        (f"edge:{name}", stored(edge.axes, pair)),
        (f"to:{name}", stored(after, pair)),
    ))  # fmt: skip


def gate_chain(f: Function, block: Block, rows: Array, whole: Array) -> None:
    """A chain together with its gates, whose q is `rows` by element and `whole` by sequence."""
    em, chain, name = f.emitter, block.chain, block.name
    assert chain is not None
    pair = (*chain.before, *block.states)
    after = (*pair[len(block.states) :], *block.gates, *block.home)
    made = em.namer.fresh(f"to_{name}")
    em.lines.append(f"{made} = {f.runtime[f'to:{name}'].code} * {em.align(rows, after)}")
    f.runtime[f"to:{name}"] = Leaf(made, tuple(range(len(after))), True)
    for position in range(chain.depth):
        axes = (*(pair if position else block.states), *block.gates, *chain.outer)
        key = f"{FIRST}{position}:{name}"
        made = em.namer.fresh(f"first_{name}")
        em.lines.append(f"{made} = {f.runtime[key].code} * {em.align(whole, axes)}")
        f.runtime[key] = Leaf(made, tuple(range(len(axes))), True)
