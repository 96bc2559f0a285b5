"""Printing `most_probable`: the configuration of all discrete latents together that has the largest probability.

    max over z of max over u of p(z, u, x)  =  max over z of (what u leaves for z)

As the E-step, with the largest weight in place of the sum; then backward, the states of each block given its gates'.
Continuous latents are integrated out.
"""

from __future__ import annotations

from emdsl.derive.algebra.expr import El
from emdsl.derive.posteriors.block import Block
from emdsl.generate.blocks.configurations import configured_path
from emdsl.generate.blocks.networks import network_path
from emdsl.generate.context import CHUNKS, Function
from emdsl.generate.lines.arrays import Leaf
from emdsl.generate.lines.kept import CONDITIONAL, STATE
from emdsl.generate.lines.spelling import indent
from emdsl.generate.printer import Printer


def path_lines(printer: Printer) -> list[str]:
    """`most_probable(params, data, prepared)`: states of every discrete latent; printed where some are tied."""
    blocks, parts = printer.plan.elimination.blocks, printer.plan.elimination.parts
    if (
        len(parts) > 1  # one factor of all is the posterior
        or (parts and not all(b.network and not b.apart for b in blocks))
        or printer.plan.joint.clouds
        or not (
            printer.plan.joint.configured
            or any(b.chain or b.network or (b.states and b.gates) or len(b.states) > 1 for b in blocks)
        )
    ):
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
    return ["def most_probable(params, data, prepared):", *indent([doc, sizes, *lines], 1)]


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
        out.append(f'"{latent}": plates_first({found}[{n}], {len(home)}),')
    return out
