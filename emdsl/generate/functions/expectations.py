"""Printing `expectations`: posteriors as a function of the rows; a seeded start draws them instead."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import Expr, Sel
from emdsl.derive.algebra.made import is_made
from emdsl.derive.joint.plates import conditions_of, home_of, plate_indices
from emdsl.derive.posteriors.block import Block
from emdsl.derive.posteriors.once import DataSum
from emdsl.generate.context import Function
from emdsl.generate.lines.kept import CHAIN, CONDITIONAL
from emdsl.generate.lines.spelling import indent
from emdsl.generate.printer import Printer
from emdsl.generate.shared import SUMS
from emdsl.language import model as m


def expectations_lines(printer: Printer) -> list[str]:
    """`expectations(params, prepared)`: a function of the rows; none where nothing is latent."""
    f = printer.inference
    if not printer.plan.elimination.blocks or printer.plan.elimination.parts:
        return []
    inner = _seeded(printer, f.emitter.lines)
    body = ['sizes = prepared["the sizes"]', *f.prologue(), *f.emitter.outer]
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
            more = _order(printer, len(block.states)) + _covariates(printer, block)
            own = f"out_of_lanes({table})"  # what a start is drawn from stands in the order of the data
            if len(block.states) > 1:
                axes = (*block.states, *block.gates, *block.home)
                own += f".reshape({', '.join(printer.inference.emitter.length(i) for i in axes)})"
            out += [
                "if rng is not None:",
                f"    {table} = np.log(seeded({own}, {len(block.states)}, {rows}, {_start(printer, block)}{more}))",
            ]
        out.append(line)
        if " = normalise(" in line:
            q = line.split(",")[0].strip()
            states = line.rsplit(", ", 1)[1].rstrip(")")
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
            arguments += _covariates(printer, block) if not points else ""
            out += ["if rng is not None:", f"    {q} = {way}({arguments})"]
    return out


def _start(printer: Printer, block: Block) -> str:
    """Code of what the states of a block are seeded by; blocks of several discrete latents ask by name."""
    apart = printer.plan.joint.discrete - printer.plan.joint.in_clouds
    names = ", ".join(f'"{n}"' for n in block.latents if n not in printer.plan.joint.in_clouds)
    return f"of(rng, {names})" if len(apart) > 1 else "rng"


def _order(printer: Printer, states: int) -> str:
    """The last argument of a seeded start: where a parameter is ordered, its states are so as well."""
    ordered = any(v.domain.kind == "ordered" for v in printer.plan.joint.model.of_kind("param"))
    return ", ordered=True" if ordered and states == 1 else ""


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


def rows_of_data(printer: Printer, f: Function, block: Block) -> str:
    """What rows are told apart by when a start is drawn: the observed arrays on the block's own plates, else what those
    inside add up to."""
    own = _arrays(printer, f, block, printer.plan.joint.model.of_kind("observed"))
    return own if own != "[]" else _sums_within(printer, block)


def _sums_within(printer: Printer, block: Block) -> str:
    """Code of the sums of data for each element of a block, its sufficient statistics; as means, where the number of
    what was seen is among them: groups of many rows are no class of their own."""
    home = [i.dim for i in block.home]
    found = {s: n for s, n in printer.sums.found.items() if home and [i.dim for i in s.axes] == home}
    over = next((f', over="{n}"' for s, n in found.items() if not _data_of(s)), "")
    seen = {v.name for v in printer.plan.joint.model.of_kind("observed")}
    told = ", ".join(f'"{n}"' for s, n in found.items() if seen & _data_of(s))
    return f'inside_each(prepared["{SUMS}"], {told}{over})' if told else "[]"


def _data_of(s: DataSum) -> set[str]:
    """The variables whose values a sum of data holds, not only where they were seen and which element they point at."""
    return {n for e in s.factors if not isinstance(e, Sel) for n in x.variables(e) if not is_made(n)}


def _covariates(printer: Printer, block: Block) -> str:
    """The argument that holds the measurements given on the block's own plates that its density reads, if any."""
    read = {n for t in block.terms for e in t.factors for n in x.variables(e)}
    givens = [v for v in printer.plan.joint.model.of_kind("given") if v.name in read and not v.domain.discrete]
    found = _arrays(printer, printer.inference, block, givens)
    return "" if found == "[]" else f", beside={found}"


def _arrays(printer: Printer, f: Function, block: Block, variables: Iterable[m.Variable]) -> str:
    """Code of a list of those of these that lie on the block's own plates, at its rows."""
    home = [i.dim for i in block.home]
    parts = []
    for v in variables:
        if home and [i.dim for i in plate_indices(v.plates)] == home:
            leaf = f.emitter.leaf(v.name)
            cut = f"[..., {f.emitter.namer.cut}]" if printer.chunk else ""
            parts.append(f"{leaf.code}{cut}")
    return f"[{', '.join(parts)}]"


def seen_of_elements(printer: Printer, f: Function, block: Block) -> str:
    """What tied elements are told apart by: observed arrays that read them, on their plate and on others (links)."""
    home = {i.dim for v in block.latents for i in home_of(printer.plan.joint.model.variable(v))}
    part = next(p for p in printer.plan.elimination.parts if block in p.blocks)
    read = {n for t in part.own for e in t.factors for n in x.variables(e)}
    found = []
    for v in printer.plan.joint.model.of_kind("observed"):
        dims = [i.dim for i in plate_indices(v.plates)]
        if v.name not in read or len(home) != 1 or len(dims) < 2:
            continue
        if dims[0] not in home and len(dims) == 2 and dims[1] in home:  # of a table whose columns these are
            found.append(f"{f.emitter.leaf(v.name).code}.T")
        if dims[0] in home:
            code = f.emitter.leaf(v.name).code
            there = conditions_of(v, printer.plan.joint.model) if len(dims) == 2 and dims[1] in home else ()
            found.append(f"from_both_ends({code}, {_present(f, v, there)})" if there else code)
    return f"[{', '.join(found)}]"


def _present(f: Function, v: m.Variable, conditions: Sequence[Expr]) -> str:
    """Code of which elements of an observed array a filtered plate keeps, as the array is stored; before all else."""
    em, start = f.emitter, len(f.emitter.lines)
    first, second = plate_indices(v.plates)
    code = em.broadcast(em.value(x.mul(*conditions)), (second, first)).code
    em.outer += em.lines[start:]
    del em.lines[start:]
    return code
