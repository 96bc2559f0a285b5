"""Printing `posterior`: the moments of q at given parameters, in the shapes users expect."""

from __future__ import annotations

from collections.abc import Mapping

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr, Ix
from emdsl.derive.algebra.made import ARGUMENT, MOMENT, REFERENCE, Q
from emdsl.derive.joint.factors import Factor, Told
from emdsl.derive.joint.plates import home_of
from emdsl.derive.joint.records import WHOLE
from emdsl.derive.joint.terms import Term
from emdsl.derive.posteriors.averages import expectation
from emdsl.derive.posteriors.block import Block
from emdsl.derive.posteriors.told import opened_about_latents, told_tails
from emdsl.generate.blocks.clouds import cloud_fields
from emdsl.generate.blocks.configurations import configured_fields
from emdsl.generate.blocks.fields import field_fields
from emdsl.generate.blocks.gaussian import about_mean, gaussian_fields
from emdsl.generate.context import Function, told_row_by_row
from emdsl.generate.functions.parts import part_name
from emdsl.generate.lines.arrays import Array
from emdsl.generate.lines.spelling import numbered
from emdsl.generate.printer import Printer


def posterior_lines(printer: Printer) -> list[str]:
    """`posterior(params, data, prepared)`: probabilities of discrete latents, moments of the others."""
    if printer.plan.draws is not None and not printer.plan.elimination.blocks:
        return []
    f = printer.reader()
    f.handed = ()
    em = f.emitter
    entries: list[tuple[str, str, Array]] = []  # latent, field, array with rows last
    clouds = {c.name: c for c in printer.plan.joint.clouds}
    own = printer.plan.joint.configurations
    for block in printer.plan.elimination.blocks:
        if own is not None and own.name in block.latents:
            with f.printing(printer.numbers.found(block.name)):
                entries += configured_fields(f, block)
        for latent in (n for n in block.latents if n not in printer.plan.joint.unnamed):
            if latent in clouds:
                with f.printing(printer.numbers.found(block.name)):
                    told = {n: t for n, t in printer.plan.joint.told.items() if n in clouds[latent].latents}
                    entries += [e for e in cloud_fields(f, block, clouds[latent]) if e[0] not in told]
                    entries += [(n, field, value) for n, t in told.items() for field, value in _told(f, t)]
                continue
            with f.printing(printer.numbers.found(block.name)):
                entries += [(latent, field, value) for field, value in _fields(f, block, latent)]
    for latent in told_tails(printer.plan.joint, printer.plan.elimination):
        with f.printing(printer.numbers.substituted):
            entries += [(latent, field, value) for field, value in _told(f, printer.plan.joint.told[latent])]
    gather, parts = [], []
    number = _numbers(printer)
    for n, (latent, _, value) in enumerate(entries):
        name = em.namer.fresh(f"part_{n}")
        parts.append(name)
        if printer.chunk:
            gather += numbered([f"{name}.append(np.array({value.code}))"], number[latent])
        else:
            gather += numbered([f"{name} = {value.code}"], number[latent])
    back = {latent: moved(f, latent) for latent, _, _ in entries}
    lines = printer.opening(f)
    if printer.chunk:
        lines += [f"{p} = []" for p in parts]
    lines += printer.loop(f, [*em.lines, *gather]) if entries else []
    lines += ["return {", *_results(printer, entries, parts, back), "}"]
    doc = '"""Posterior of each latent at these parameters: plates first, then its own axes."""'
    if printer.plan.elimination.parts:
        first = ["factors = settle(params, data, prepared, learned) if factors is None else factors"]
        for h in printer.handed:
            seen = f'as_seen(factors, "{h.part.latents[0]}")'
            call = f"{part_name(printer, h.part)}(params, prepared, {seen}, whole=True)"
            again = f'    factors = {{**factors, "{h.q}": {call}["{h.q}"]}}'
            first += [f'if "{h.q}" not in factors:', *numbered([again], printer.numbers.found(h.block.name))]
        lines = [*first, *lines]
        head = "def posterior(params, data, prepared, factors=None, learned=None):"
        return [head, *("    " + line for line in (doc, *lines))]
    name = "posterior_given" if printer.plan.draws is not None else "posterior"
    return [f"def {name}(params, data, prepared):", *("    " + line for line in (doc, *lines))]


def _told(f: Function, told: Told) -> list[tuple[str, Array]]:
    """The mean and the second moment of a latent that is a point in some branches."""
    em = f.emitter

    def mean(factors: tuple[Factor, ...], axes: tuple[Ix, ...]) -> Array:
        parts = []
        for t in (t for factor in factors for t in opened_about_latents(factor, f.plan.joint)):
            found = expectation(t, f.plan.elimination, f.plan.joint)
            assert not isinstance(found, str), found
            for one in found:
                carried = tuple(i for i in axes if any(i in em.value(e).axes for e in one.factors))
                parts.append(em.contract([x.Num(one.coef), *one.factors], carried))
        return em.broadcast(em.sum(parts), axes)

    first = (*told.row, *told.plates)
    if not told.row:
        return [("id", mean(told.mean, first)), ("square", mean(told.second, first))]
    return [("id", mean(told.mean, first)), ("outer", mean(told.second, (*told.row, *told.column, *told.plates)))]


def _fields(f: Function, block: Block, latent: str) -> list[tuple[str, Array]]:
    em = f.emitter
    if latent in f.plan.joint.told:
        return _told(f, f.plan.joint.told[latent])
    if block.network:
        home = home_of(f.plan.joint.model.variable(latent))
        state = block.states[block.latents.index(latent)]
        return [("", em.contract([El(Q.of(latent), (state, *home))], (state, *home)))]
    if block.field is not None:
        return field_fields(f, block, block.field, latent)
    if block.gaussian is not None and block.scale is not None and not block.by_pattern:
        (row,), (column,) = block.gaussian.rows[latent], block.gaussian.columns[latent]
        one, other = El(latent, (*block.home, row)), El(latent, (*block.home, column))
        mean = _averaged(f, (one,), (row, *block.home))
        return [("id", mean), ("outer", _averaged(f, (one, other), (row, column, *block.home)))]
    if block.gaussian is not None:
        return gaussian_fields(f, block, latent)
    if block.states:
        state = block.states[block.latents.index(latent)]
        q = El(Q.of(block.name), (*block.states, *block.gates, *block.home))
        return [("", em.contract([q], (state, *block.home)))]
    record = block.record
    assert record is not None
    out = []
    second = "var" if "var" in record.moments and block.scale is None else "square"
    for kind in dict.fromkeys(("id", second, *record.statistics)):
        if kind not in record.moments or kind in WHOLE or {kind, second} == {"square", "var"}:
            continue
        axes = (*block.own, *block.home)
        if block.scale is not None:
            leaf = El(block.name, block.home)
            out.append((kind, _averaged(f, (leaf if kind == "id" else x.power(leaf, x.num(2)),), axes)))
            continue
        factors: list[El] = [El(MOMENT.of(latent, kind), (*block.gates, *block.home, *block.own))]
        if block.gates:
            factors.append(El(Q.of(block.name), (*block.gates, *block.home)))
        value = em.contract(factors, tuple(i for i in axes if _carried(f, factors, i)))
        if kind == "var" and block.gates:
            at = El(MOMENT.of(latent, "id"), factors[0].idx)
            value = em.sum([about_mean(f, at, at, factors[1:], out[0][1], (block.gates, (), (), axes)), value])
        out.append((kind, em.broadcast(value, axes)))
    if not block.gates and block.scale is None:
        for field in record.fields:
            own = () if field in WHOLE else block.own
            value = em.value(El(ARGUMENT.of(latent, field), (*block.home, *own)))
            axes = (*(i for i in block.own if i in value.axes), *block.home)
            of_log = (
                "log " if "log" in record.statistics and field in ("mean", "var") else ""
            )  # beside the latent's own
            out.append((f"argument {of_log}{field}", em.broadcast(value, axes)))
    return out


def _averaged(f: Function, values: tuple[Expr, ...], axes: tuple[Ix, ...]) -> Array:
    """The mean of a product that needs another block's moments too."""
    em = f.emitter
    found = expectation(Term(1, (), values, axes), f.plan.elimination, f.plan.joint)
    assert not isinstance(found, str), found
    parts = [em.contract([x.Num(t.coef), *t.factors], axes) for t in found]
    return em.broadcast(em.sum(parts), axes)


def _carried(f: Function, factors: list[El], i: Ix) -> bool:
    return any(i in f.emitter.value(e).axes for e in factors)


def moved(f: Function, latent: str) -> str:
    """What takes a centred latent back to the user's origin: code over its plates and its own axes, or ""."""
    plan = f.plan
    if latent in plan.centred:
        return f'prepared["reference {latent}"]' if latent in plan.joint.incomplete else ""
    shift = plan.shifts.get(latent)
    if shift is None:
        return ""
    if isinstance(shift.value, El) and shift.value.idx == shift.axes[len(shift.axes) - len(shift.value.idx) :]:
        return f'prepared["reference {REFERENCE.named(shift.value.var)}"]'
    return f.emitter.align(f.emitter.value(shift.value), shift.axes)


def _numbers(printer: Printer) -> dict[str, object]:
    """The number of each latent's posterior; latents of one cloud share it."""
    found: dict[str, object] = {
        n: printer.numbers.found(b.name) for b in printer.plan.elimination.blocks for n in b.latents
    }
    own = printer.plan.joint.configurations
    found |= dict.fromkeys(own.latents, found[own.name]) if own is not None else {}
    found |= dict.fromkeys(told_tails(printer.plan.joint, printer.plan.elimination), printer.numbers.substituted)
    return found | {n: found[c.name] for c in printer.plan.joint.clouds if c.name in found for n in c.latents}


def _mean_and_variance(codes: Mapping[str, str], origin: str) -> tuple[str, str]:
    """The moments of a latent of one number."""
    mean = codes["id"] + (f" + {origin}" if origin else "")
    return mean, codes["var"] if "var" in codes else f"{codes['square']} - {codes['id']} ** 2"


def _results(
    printer: Printer, entries: list[tuple[str, str, Array]], parts: list[str], back: Mapping[str, str]
) -> list[str]:
    out: list[str] = []
    by_latent: dict[str, list[tuple[str, str]]] = {}
    for (latent, field, _), part in zip(entries, parts, strict=True):
        home = len(home_of(printer.plan.joint.model.variable(latent)))
        code = f"np.concatenate({part}, axis=-1)" if printer.chunk else f"np.asarray({part})"
        code = told_row_by_row(printer.plan, latent, code)
        by_latent.setdefault(latent, []).append((field, f"plates_first({code}, {home})"))
    number: dict[str, list[object]] = {n: [k] for n, k in _numbers(printer).items()}
    for latent in (n for n in number if back.get(n)):
        number[latent].append(printer.numbers.shifted(latent))
    for vector, elements in printer.plan.joint.model.vectors:
        moments = [_mean_and_variance(dict(by_latent.pop(e)), back[e]) for e in elements]
        stacked = (f"np.stack([{', '.join(each)}], axis=-1)" for each in zip(*moments, strict=True))
        shown = ", ".join(f'"{what}": {code}' for what, code in zip(("mean", "var"), stacked, strict=True))
        out += numbered([f'    "{vector.name}": {{{shown}}},'], *number[elements[-1]])
    for latent, fields in by_latent.items():
        if fields[0][0] == "":
            out += numbered([f'    "{latent}": {fields[0][1]},'], *number[latent])
            continue
        codes = dict(fields)
        origin = f" + {back[latent]}" if back[latent] else ""
        cells = [f'"mean": {codes["id"]}{origin}'] if "id" in codes else []
        if "cov" in codes:
            cells.append(f'"cov": {codes["cov"]}')
            out += numbered([f'    "{latent}": {{{", ".join(cells)}}},'], *number[latent])
            continue
        if "outer" in codes:
            cells.append(f'"cov": less_outer({codes["outer"]}, {codes["id"]})')
            out += numbered([f'    "{latent}": {{{", ".join(cells)}}},'], *number[latent])
            continue
        if "var" in codes:
            cells.append(f'"var": {codes["var"]}')
        elif "square" in codes and "id" in codes:
            cells.append(f'"var": {codes["square"]} - {codes["id"]} ** 2')
        own = [f'"{k[9:]}": {c}' for k, c in codes.items() if k.startswith("argument ")]
        cells += own or [f'"E[{k}]": {c}' for k, c in codes.items() if k not in ("id", "square", "var")]
        out += numbered([f'    "{latent}": {{{", ".join(cells)}}},'], *number[latent])
    return out
