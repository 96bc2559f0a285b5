"""Code of what the elements of a discrete block are told apart by, where a start divides them among its states."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import replace

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr, Ix, Sel
from emdsl.derive.algebra.made import PRESENT, is_made
from emdsl.derive.joint.plates import conditions_of, home_of, inside_plates, plate_indices
from emdsl.derive.posteriors.block import Block
from emdsl.derive.posteriors.once import DataSum
from emdsl.generate.context import Function
from emdsl.generate.printer import Printer
from emdsl.generate.shared import SUMS
from emdsl.language import model as m


def element_alone(block: Block, latent: str, model: m.ModelText) -> Block:
    """One latent of a network as a block of its own, to ask what its elements are told apart by."""
    home = home_of(model.variable(latent))
    return replace(block, name=latent, latents=(latent,), home=home, terms=block.all_terms, network=())


def links_between(printer: Printer, f: Function, block: Block) -> str:
    """Code of the observed arrays both of whose ends are elements of a latent of a network, where nothing was seen of
    these elements by themselves."""
    home = {i.dim for i in block.home}
    links = [v for v in printer.plan.joint.model.of_kind("observed") if len(v.plates) == 2]
    if own_data(printer, f, block) != "[]" or not any({i.dim for i in plate_indices(v.plates)} == home for v in links):
        return "[]"
    return seen_of_elements(printer, f, block)


def rows_of_data(printer: Printer, f: Function, block: Block) -> str:
    """What rows are told apart by when a start is drawn: what was observed of each of them, else what the data inside
    them add up to."""
    own = own_data(printer, f, block)
    return own if own != "[]" else _moments_within(printer, f, block)


def own_data(printer: Printer, f: Function, block: Block) -> str:
    """The observed arrays on the block's own plates, else sums of data inside its elements."""
    own = _arrays(printer, f, block, [v for v in printer.plan.joint.model.of_kind("observed") if not v.data_of])
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


def _moments_within(printer: Printer, f: Function, block: Block) -> str:
    """Code of what was seen inside elements whose own data are none: of items that parameters tell apart themselves, of
    other rows their moments. A class of sequences is told by where, how widely and how steadily they go."""
    model, em, parts, n = printer.plan.joint.model, f.emitter, [], len(block.home)
    items = {str(size) for v in model.of_kind("param") for size in v.shape}
    for v in model.of_kind("observed"):
        idx = plate_indices(v.plates)
        event = _event(v)
        if not block.home or v.data_of:
            continue
        value = em.value(El(v.name, (*idx, *event)))
        if [i.dim for i in idx[:n]] == [i.dim for i in block.home]:
            own, inner = idx[:n], idx[n:]
            if {i.dim for i in inner} <= items:
                parts.append(_in_levels(f, v, em.broadcast(value, (*event, *inner, *own)).code))
            else:
                groups = " * ".join(em.length(i) for i in own)
                code = _in_levels(f, v, em.broadcast(value, (*event, *own, *inner)).code)
                parts.append(f"*moments_inside({code}, {groups}, {len(inner)})")
        elif (at := _leads_to(block.home, v, model)) is not None and not printer.chunk:
            code = _in_levels(f, v, em.broadcast(value, (*event, *idx)).code)
            parts.append(f"*moments_inside({code}, {em.length(block.home[0])}, at={em.value(at).code})")
    return f"[{', '.join(parts)}]"


def _leads_to(home: Sequence[Ix], v: m.Variable, model: m.ModelText) -> Expr | None:
    """Which element of the only plate of a block a row of data belongs to; None where that is not told."""
    idx = plate_indices(v.plates)
    if len(home) != 1 or len(idx) != 1:
        return None
    if isinstance(v.plates[-1].size, m.Ragged):
        return x.value_of(inside_plates(v, 1, model)[0]) if str(v.plates[0].size) == home[0].dim else None
    pointers = [g for g in model.of_kind("given") if g.domain.kind == "index" and len(g.shape) == 1 == len(g.plates)]
    own = [g for g in pointers if g.plates == v.plates and str(g.domain.levels) == home[0].dim]
    return El(own[0].name, idx) if len(own) == 1 else None


def _in_levels(f: Function, v: m.Variable, code: str) -> str:
    """Code of an array, a category as one number for each of its levels: these have no order."""
    return f"in_levels({code}, {f.emitter.size(str(v.domain.levels))})" if v.domain.kind == "category" else code


def labels_of_rows(printer: Printer, f: Function, block: Block) -> str:
    """Code of what was seen of the block's own latents: which axis of states, the labels, and where there are some."""
    model, em, parts = printer.plan.joint.model, f.emitter, []
    for v in model.of_kind("observed"):
        idx = plate_indices(v.plates)
        if (
            v.data_of in block.latents
            and [i.dim for i in idx] == [i.dim for i in block.home]
            and len(idx) == len(v.shape)
        ):
            codes, there = (em.broadcast(em.value(El(n, idx)), idx).code for n in (v.name, PRESENT.of(v.name)))
            parts.append(f"({block.latents.index(v.data_of)}, {codes}, {there})")
    return f"[{', '.join(parts)}]" if parts else ""


def _data_of(s: DataSum) -> set[str]:
    """The variables whose values a sum of data holds, not only where they were seen and which element they point at."""
    return {n for e in s.factors if not isinstance(e, Sel) for n in x.variables(e) if not is_made(n)}


def covariates(printer: Printer, block: Block) -> str:
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
        idx = plate_indices(v.plates)
        if not home or [i.dim for i in idx] != home:
            continue
        cut = f"[..., {f.emitter.namer.cut}]" if printer.chunk else ""
        code = f"{f.emitter.leaf(v.name).code}{cut}"
        if len(home) > 1:  # stored with the plates in another order, it may be
            axes = (*_event(v), *idx)
            code = f.emitter.broadcast(f.emitter.value(El(v.name, (*idx, *_event(v)))), axes).code
        parts.append(_in_levels(f, v, code))
    return f"[{', '.join(parts)}]"


def _event(v: m.Variable) -> tuple[Ix, ...]:
    """Indices over the axes of one element."""
    return tuple(Ix(f"axis {k}", str(size)) for k, size in enumerate(v.shape[len(v.plates) :]))


def seen_of_elements(printer: Printer, f: Function, block: Block) -> str:
    """What tied elements are told apart by: observed arrays that read them, on their plate and on others (links)."""
    homes = [home_of(printer.plan.joint.model.variable(v)) for v in block.latents]
    return seen_of(printer, f, block, {i.dim for home in homes for i in home})


def seen_of(printer: Printer, f: Function, block: Block, home: Set[str]) -> str:
    """The same of the elements of a plate: tables whose rows or columns they are."""
    parts = [p for p in printer.plan.elimination.parts if block in p.blocks]
    read = {n for p in parts for t in p.own for e in t.factors for n in x.variables(e)}
    if not parts:  # whose density is in terms of these latents
        own = set(block.latents)
        read = {d.about for d in printer.plan.joint.factors if any(own & x.variables(e) for e in d.gates)}
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


def ends_of(printer: Printer, block: Block) -> tuple[Ix, ...]:
    """Where each latent of a block on the cells of a table has the one row or column that its own density reads of
    other latents; () where one reads both, or neither, or where cells hold labels, which are no numbers."""
    joint, out = printer.plan.joint, list[Ix]()
    hidden = {v.name for v in joint.model.of_kind("latent")}
    seen = [v for v in joint.model.of_kind("observed") if [i.dim for i in home_of(v)] == [i.dim for i in block.home]]
    if len(block.home) != 2 or block.chain is not None or any(v.domain.kind == "category" for v in seen):
        return ()
    for n in block.latents:
        own = [f for f in joint.factors if f.about == n]
        read = {i for f in own for e in (f.body, *(g.of for g in f.gates)) for part in x.walk(e) for i in x.free(part)
                if isinstance(part, El) and part.var != n and part.var in hidden}  # fmt: skip
        found = [i for i in block.home if i in read]
        if len(found) != 1:
            return ()
        out.append(found[0])
    return tuple(out)
