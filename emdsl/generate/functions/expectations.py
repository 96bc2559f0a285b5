"""Printing `expectations`: posteriors as a function of the rows; a seeded start draws them instead."""

from __future__ import annotations

from collections.abc import Sequence

from emdsl.derive.posteriors.block import Block
from emdsl.generate.functions.divisions import (
    covariates,
    element_alone,
    labels_of_rows,
    links_between,
    rows_of_data,
)
from emdsl.generate.lines.kept import CHAIN, CONDITIONAL
from emdsl.generate.lines.spelling import A_START, indent
from emdsl.generate.printer import Printer


def expectations_lines(printer: Printer) -> list[str]:
    """`expectations(params, prepared)`: a function of the rows; none where nothing is latent."""
    f = printer.inference
    if not printer.plan.elimination.blocks or printer.plan.elimination.parts:
        return []
    outer, inner = printer.placed(f, _seeded(printer, f.emitter.lines))
    body = ['sizes = prepared["the sizes"]', *f.prologue(), *outer]
    result = f"return {', '.join(printer.results())}"
    body += ["", "def on(rows, rng=None):"] if printer.chunk else ["", "def on(rng=None):"]
    if printer.chunk:
        body.append(f"    {f.emitter.namer.rows} = row_count(rows)")
    body += indent([*inner, result], 1)
    body.append("return on")
    doc = '"""Posteriors at these parameters: what lacks the rows once, then a function of the rows."""'
    return ["def expectations(params, prepared):", *indent([doc, *body], 1)]


def _seeded(printer: Printer, lines: Sequence[str]) -> list[str]:
    """Where a seeded start is asked for, posteriors of discrete blocks are drawn, not computed."""
    out = []
    for line in lines:
        if " = chains(" in line:
            table, block = line.split("chains(")[1].split(",")[0], _chained(printer, line)
            rows = rows_of_data(printer, printer.inference, block)
            more = _order(printer, len(block.states)) + covariates(printer, block)
            own = f"out_of_lanes({table})"  # what a start is drawn from stands in the order of the data
            if len(block.states) > 1:
                axes = (*block.states, *block.gates, *block.home)
                own += f".reshape({', '.join(printer.inference.emitter.length(i) for i in axes)})"
            more += _gates_and_labels(printer, block)
            out += [
                f"if rng is not None:{A_START}",
                f"    {table} = np.log(seeded({own}, {len(block.states)}, {rows}, {_start(printer, block)}{more}))",
            ]
        if " = networks(" in line:
            out += _of_network(printer, line)
            continue
        out.append(line)
        if " = normalise(" in line:
            q = line.split(",")[0].strip()
            states = line.partition("  # (")[0].rsplit(", ", 1)[1].rstrip(")")
            block = next(
                b
                for b in printer.plan.elimination.blocks
                if b.states and printer.inference.runtime[CONDITIONAL.of(b.name)].code == q
            )
            points = tuple(k for k, n in enumerate(block.latents) if n in printer.plan.joint.in_clouds)
            if len(points) == len(block.latents):
                continue  # the points of a cloud are no components to be told apart
            rows = rows_of_data(printer, printer.inference, block)
            own, way = (
                (states, "seeded") if not points else (f"{points}, {len(block.states) - len(points)}", "seeded_beside")
            )
            arguments = f"{q}, {own}, {rows}, {_start(printer, block)}{_weights_of_rows(printer, block)}"
            arguments += _order(printer, len(block.states) - len(points))
            arguments += covariates(printer, block) + _gates_and_labels(printer, block) if not points else ""
            out += [f"if rng is not None:{A_START}", f"    {q} = {way}({arguments})"]
    return out


def _of_network(printer: Printer, line: str) -> list[str]:
    """The line that eliminates a network, begun from a division of each latent's elements by what tells these apart."""
    f, blocks = printer.inference, printer.plan.elimination.blocks
    block = next(b for b in blocks if b.network and f'"the network of {b.name}"' in line)
    divisions = []
    for n in block.latents:
        own = element_alone(block, n, printer.plan.joint.model)
        shape = ", ".join(f.emitter.size(d) for d in (printer.plan.joint.levels[n], *(i.dim for i in own.home)))
        shape += "," * (not own.home)
        rng = f'of(rng, "{n}")'
        if (links := links_between(printer, f, own)) != "[]":
            divisions.append(f'"{n}": seeded_by_links(np.empty(({shape})), {links}, {rng}),')
            continue
        rows = rows_of_data(printer, f, own)
        more = _weights_of_rows(printer, own) + _order(printer, 1) + covariates(printer, own)
        more += _gates_and_labels(printer, own)
        divisions.append(f'"{n}": seeded(np.empty(({shape})), 1, {rows}, {rng}{more}),')
    name = f.emitter.namer.fresh(f"start_{block.name}")
    return [
        f"{name} = None",
        f"if rng is not None:{A_START}",
        f"    {name} = {{",
        *(f"        {d}" for d in divisions),
        "    }",
        line.replace(", rng)", f", {name})"),
    ]


def _start(printer: Printer, block: Block) -> str:
    """Code of what the states of a block are seeded by; blocks of several discrete latents ask by name."""
    apart = printer.plan.joint.discrete - printer.plan.joint.in_clouds
    names = ", ".join(f'"{n}"' for n in block.latents if n not in printer.plan.joint.in_clouds)
    return f"of(rng, {names})" if len(apart) > 1 else "rng"


def _order(printer: Printer, states: int) -> str:
    """The last argument of a seeded start: where a parameter is ordered, its states are so as well."""
    ordered = any(v.domain.kind == "ordered" for v in printer.plan.joint.model.of_kind("param"))
    return ", ordered=True" if ordered and states == 1 else ""


def _gates_and_labels(printer: Printer, block: Block) -> str:
    """The arguments that hold how many latents a block stands under, and what of its own was seen."""
    labels = labels_of_rows(printer, printer.inference, block)
    return (f", gates={len(block.gates)}" if block.gates else "") + (f", known={labels}" if labels else "")


def _chained(printer: Printer, line: str) -> Block:
    """The block whose recursion a line calls."""
    made, blocks = line.split(" = ")[0].split(", ")[1].strip(), printer.plan.elimination.blocks
    return next(b for b in blocks if b.chain and printer.inference.runtime[CHAIN.of(b.name)].code == made)


def _weights_of_rows(printer: Printer, block: Block) -> str:
    """The argument that holds sample weights, where they are weights of this block's elements."""
    over = printer.plan.weighted
    if over is None or [i.dim for i in block.home] != [over] or printer.chunk not in (None, over):
        return ""
    return f', prepared["the weight"]{"[rows]" if printer.chunk else ""}'
