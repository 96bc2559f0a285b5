"""Printing `most_probable`: the configuration of all discrete latents together that has the largest probability.

    max over z of max over u of p(z, u, x)  =  max over z of (what u leaves for z)

As the E-step, with the largest weight in place of the sum; then backward, the states of each block given its gates'.
Continuous latents are integrated out. Under q = q(a) q(b) ... the largest is that of each factor by itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from emdsl.derive.algebra.expr import El
from emdsl.derive.posteriors.block import Block
from emdsl.derive.posteriors.blocks import Part
from emdsl.generate.blocks.configurations import configured_path
from emdsl.generate.blocks.networks import network_path
from emdsl.generate.context import CHUNKS, Function, told_row_by_row
from emdsl.generate.functions.parts import part_name
from emdsl.generate.lines.arrays import Leaf
from emdsl.generate.lines.kept import CONDITIONAL, STATE
from emdsl.generate.lines.spelling import indent, numbered
from emdsl.generate.printer import Printer


def path_lines(printer: Printer) -> list[str]:
    """`most_probable(params, data, prepared)`: states of every discrete latent; printed where some are tied."""
    blocks, parts = printer.plan.elimination.blocks, printer.plan.elimination.parts
    if parts and (len(parts) > 1 or not all(b.network and not b.apart for b in blocks)):
        return _lines_by_factors(printer, [p for p in parts if _tied(printer, p.blocks)])
    if printer.plan.joint.clouds or not (printer.plan.joint.configured or _tied(printer, blocks)):
        return []
    f = printer.function()
    f.largest = True
    for block in blocks:
        printer.block(f, block)
    entries: list[str] = []
    for block in reversed([b for b in blocks if b.states]):
        entries += network_path(f, block) if block.network else _states(f, block)
    doc = '"""The most probable configuration of all discrete latents together; continuous ones are integrated out."""'
    lines = [*f.prologue(), *f.emitter.outer]
    if printer.chunk:  # then every block has the rows for its home, and nothing else
        inside = [
            f"{f.emitter.namer.rows} = row_count(rows)",
            *f.emitter.lines,
            f"told.append({{{' '.join(entries)}}})",
        ]
        names = ", ".join(f'"{n}"' for b in blocks if b.states for n in b.latents)
        gathered = "np.concatenate([np.zeros(0, int), *(part[n] for part in told)])"
        lines += ["told = []", f"for rows in {CHUNKS}:", *indent(inside, 1)]
        lines += [f"return {{n: {gathered} for n in ({names},)}}"]
    else:
        lines += [*f.emitter.lines, "return {", *(f"    {e}" for e in entries), "}"]
    sizes = 'sizes = prepared["the sizes"]'
    learned = ", factors=None, learned=None" if parts else ""
    return [f"def most_probable(params, data, prepared{learned}):", *indent([doc, sizes, *lines], 1)]


def _tied(printer: Printer, blocks: Sequence[Block]) -> bool:
    """Whether states are to be told together: of neighbours, or of several latents of an element."""
    some = any(b.chain or (b.network and not b.apart) or (b.states and (b.gates or len(b.states) > 1)) for b in blocks)
    return some and not any(set(b.latents) & printer.plan.joint.in_clouds for b in blocks)


def _lines_by_factors(printer: Printer, tied: Sequence[Part]) -> list[str]:
    """The same under factors of q: of those whose states are tied each by its own function, others by probabilities."""
    if not tied:
        return []
    out, calls = [], []
    for part in tied:
        f = printer.function()
        f.largest = True
        for block in part.blocks:
            printer.block(f, block, stacked=False)
        entries = [e for b in reversed([b for b in part.blocks if b.states])
                   for e in (network_path(f, b) if b.network else _states(f, b))]  # fmt: skip
        lines = ['sizes = prepared["the sizes"]', *f.prologue(), *f.emitter.outer, *f.emitter.lines]
        doc = f'"""The states of {", ".join(part.latents)} that are the most probable together under their factor."""'
        name = part_name(printer, part).replace("factor", "path", 1)
        out += [f"def {name}(params, prepared, factors):",
                *indent([doc, *lines, "return {", *indent(entries, 1), "}"], 1), "", ""]  # fmt: skip
        calls.append(f"**{name}(params, prepared, factors),")
    doc = '"""The most probable configuration of all discrete latents under q: of each factor by itself."""'
    body = ["factors = settle(params, data, prepared, learned) if factors is None else factors"]
    alone = [b.name for p in printer.plan.elimination.parts if p not in tied for b in p.blocks if b.states]
    if alone:
        calls.insert(0, "**likeliest_each(posterior(params, data, prepared, factors)),")
    body += numbered([f"return {{{' '.join(calls)[:-1]}}}"], *map(printer.numbers.found, alone))
    return [*out, "def most_probable(params, data, prepared, factors=None, learned=None):", *indent([doc, *body], 1)]


def _states(f: Function, block: Block) -> list[str]:
    """The states of a block, or its path, given the states of its gates."""
    em, home = f.emitter, block.home
    given = [em.broadcast(em.value(El(STATE.of(n.of.var), n.of.idx)), home).code
             for n in block.neighbours if isinstance(n.of, El)]  # fmt: skip
    found = em.namer.fresh(f"best_{block.name}")
    table = f.runtime[CONDITIONAL.of(block.name)].code
    kind = f"path_given({table}" if block.chain else f"states_given({table}, {len(block.states)}"
    with f.printing(f.numbers.of(block.name, "forward" if block.chain else "joint")):
        em.lines.append(f"{found} = {kind}, [{', '.join(given)}])")
    out, configured = [], f.plan.joint.configurations
    for n, latent in enumerate(block.latents):
        f.runtime[STATE.of(latent)] = Leaf(f"{found}[{n}]", tuple(range(len(home))), True, integer=True)
        if configured is not None and latent == configured.name:
            out += configured_path(f)
            continue
        states = told_row_by_row(f.plan, latent, f"{found}[{n}]")
        out.append(f'"{latent}": plates_first({states}, {len(home)}),')
    return out
