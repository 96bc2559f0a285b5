"""Printing `most_probable`: paths of chains, states of other discrete latents."""

from __future__ import annotations

from emdsl.derive.block import Block
from emdsl.derive.expr import El
from emdsl.generate.arrays import Array, Leaf
from emdsl.generate.chains import TABLE, shape_of
from emdsl.generate.context import Function
from emdsl.generate.networks import network_path
from emdsl.generate.printer import Printer, indent


def path_lines(printer: Printer) -> list[str]:
    """`most_probable(params, data, prepared)`: the path of largest weight of each chain; of other discrete latents the
    most probable state, of a chain inside other latents' states the path given those."""
    blocks = [b for b in printer.plan.elimination.blocks if b.states and not printer.plan.elimination.parts]
    if not any(b.chain or b.network for b in blocks):
        return []
    f = printer.reader()
    entries: list[str] = []
    for block in reversed(blocks):
        kind = network_path if block.network else _path if block.chain else _state
        entries += kind(f, block)
    lines = [*printer.opening(f), *f.emitter.lines, "return {", *(f"    {e}" for e in entries), "}"]
    doc = '"""The most probable path of each chain, and state of each other discrete latent."""'
    return ["def most_probable(params, data, prepared):", *indent([doc, *lines], 1)]


def _state(f: Function, block: Block) -> list[str]:
    em = f.emitter
    out = []
    for latent, state in zip(block.latents, block.states, strict=True):
        q = El(f"q:{block.name}", (*block.states, *block.gates, *block.home))
        p = em.contract([q], (state, *block.home))
        code = f"np.argmax({p.code}, axis=0)"
        f.runtime[f"state:{latent}"] = Leaf(em.name(f"state_{latent}", Array(code, block.home, True)).code,
                                            tuple(range(len(block.home))), True, integer=True)  # fmt: skip
        out.append(f'"{latent}": plates_first({f.runtime[f"state:{latent}"].code}, {len(block.home)}),')
    return out


def _path(f: Function, block: Block) -> list[str]:
    em, chain, name = f.emitter, block.chain, block.name
    assert chain is not None
    leaf = f.runtime
    first = ", ".join(leaf[f"{TABLE}{r}:{name}"].code for r in range(chain.depth))
    given = [em.value(El(f"state:{n.of.var}", n.of.idx)).code for n in block.neighbours if isinstance(n.of, El)]
    call = f"paths({leaf[f'node:{name}'].code}, {leaf[f'transition:{name}'].code}, [{first}], "
    call += f'prepared["the sequences of {name}"], ({shape_of(block)}), [{", ".join(given)}])'
    path = em.namer.fresh(f"path_{name}")
    em.lines.append(f"{path} = {call}")
    return [f'"{n}": plates_first({path}[{i}], {len(block.home)}),' for i, n in enumerate(block.latents)]
