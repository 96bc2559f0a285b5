"""Printing a discrete factor of q whose rows are independent: what it leaves are sums over its rows.

In chunks of rows, each with one matrix product for the log weights of its states and one for the sums; or, where log
weights are looked up in one or two tables, through the tables (`tables_of_rows` of the runtime).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr
from emdsl.derive.algebra.made import LOG_NORMALISER, WEIGHT, is_made, made_of, stored
from emdsl.derive.joint.terms import Term
from emdsl.derive.posteriors.once import DataSum
from emdsl.derive.updates.handed import LookedUp
from emdsl.derive.updates.statistics import Statistic, drop_presence
from emdsl.generate.blocks.estep import emit_joint_probabilities
from emdsl.generate.blocks.features import Stacked, fold_of
from emdsl.generate.blocks.handed import from_sums, tables_key
from emdsl.generate.blocks.once import contracted
from emdsl.generate.context import Function, size_expression
from emdsl.generate.functions.slices import slice_of, weighted_q
from emdsl.generate.lines.arrays import Leaf
from emdsl.generate.lines.kept import UNDER
from emdsl.generate.lines.names import plain
from emdsl.generate.lines.spelling import indent, numbered
from emdsl.generate.printer import Printer
from emdsl.generate.shared import Handed


@dataclass
class Lines:
    """Lines of sums over rows: before the loop over chunks, in it, and after it; the code of each sum at the end."""

    before: list[str] = field(default_factory=list)
    inside: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)
    codes: dict[str, str] = field(default_factory=dict)
    read: Mapping[str, str] = field(default_factory=dict)  # what is read of other factors: code of each


def row_factor_lines(printer: Printer, h: Handed, last: bool) -> list[str]:
    """The body of the factor's function; `last` is whether it closes every sweep, whose bound needs its normaliser."""
    made = _through_tables(printer, h, h.tables) if h.tables is not None else _in_chunks(printer, h)
    name = h.part.latents[0]
    cells = [line for n in h.found.values()
             for line in numbered([f'"sum {n}": {made.codes[n]},'], *_read_in(printer, h, n))]  # fmt: skip
    cells += [f'"normaliser {name}": float(normaliser),'] if last else []
    cells += [f'"entropy {name}": float(entropy),']
    if not h.whole and h.part is not printer.plan.elimination.parts[-1]:  # the others move on: rows are made from these
        cells += [f'"{name} saw {key}": {code},' for key, code in made.read.items()]
    return [*made.before, *made.inside, *made.after, "out = {", *indent(cells, 1), "}",
            *made.codes[h.q].splitlines(), "return out"]  # fmt: skip


def _in_chunks(printer: Printer, h: Handed) -> Lines:
    """Probabilities a chunk of rows at a time."""
    f = printer.function().another(h.row.dim)
    f.handed = tuple(o for o in printer.handed if o is not h)
    em = f.emitter
    stack = printer.stacked(f, h)
    emit_joint_probabilities(f, h.part.blocks)
    by_row, own = _apart(printer, f, h)
    sums = sum_lines(printer, f, h, stack)
    before = len(em.lines)  # what follows may read what these sums have made
    objective = printer.numbers.objective
    with f.printing(objective):
        log_norm = [contracted(f, t, ()) for t in h.part.log_norm]
        inner = [contracted(f, t, ()) for t in by_row]
    kept, q = em.namer.fresh(f"all_{h.block.name}"), f.runtime[h.q]
    axes = (*h.block.states, h.row)
    em.chunk = None
    shape = ", ".join(em.size(i.dim) for i in axes)
    em.chunk = h.row.dim
    fixed = " + ".join(v.wrapped for v in log_norm if not v.inner) or "0.0"
    inside = [f"{em.namer.rows} = row_count(rows)", *em.lines[:before], *sums.inside, *em.lines[before:]]
    inside += ["if whole:", f"    {kept}[..., rows] = {q.code}"]
    inside += numbered([f"normaliser += {' + '.join(v.wrapped for v in log_norm if v.inner) or '0.0'}"], objective)
    inside += numbered([f"own += {v.code}" for v in inner], objective)
    rows = printer.chunks_of(h)
    loop = [f"{kept} = np.empty(({shape})) if whole else None", f"normaliser = {fixed}"]
    loop += ["own = 0.0"] if inner else []
    loop += [*sums.before, f"for rows in {rows}:", *indent(inside, 1)]
    outer = em.outer
    after = [*sums.after, *_entropy(printer, f, h, own, sums.codes, "own" if inner else "")]
    keep = f'if whole:\n    out["{h.q}"] = {kept}'
    head = ['sizes = prepared["the sizes"]', *f.prologue(), *outer, *loop]
    return Lines(head, [], after, {**sums.codes, h.q: keep}, _read(f))


def _through_tables(printer: Printer, h: Handed, tables: LookedUp) -> Lines:
    """Probabilities as products of entries of tables."""
    f = printer.function()
    f.handed = tuple(o for o in printer.handed if o is not h)
    by_row, own = _apart(printer, f, h)
    em, number = f.emitter, printer.numbers.posterior[h.block.name]
    (state,) = h.block.states
    names = []
    em.comment(f"({number}) log weights of {h.block.name}, looked up by {' and '.join(_spelt(tables))}", inner=False)
    with f.printing(number, behind=False):
        for terms in tables.tables:
            places = [place for _, place in terms if place is not None]
            one = dict.fromkeys(places, places[0])
            values = [em.value(x.substitute(e, one)) for e, place in terms if place is not None]
            names.append(em.broadcast(em.sum(values), (state, places[0])).code)
        constant = [em.value(e) for terms in tables.tables for e, place in terms if place is None]
        more = em.broadcast(em.sum(constant), (state,)).code if constant else "None"
    rows = em.namer.fresh(f"rows_of_{h.block.name}")
    where = f'prepared["{tables_key(h)}"], [{", ".join(names)}], {more}, prepared["{weights_key(h)}"]'
    em.outer.append(f"{rows} = tables_of_rows({where})")
    first, codes = _first_sums(tables, h), {}
    for s, name in h.found.items():
        weight = _of_rows(h, s)
        other = "" if weight == _of_rows(h, first[_which(tables, s)]) else _weight(f, h, weight)
        codes[name] = em.namer.fresh(f"sum_{name}")
        made = [f"{codes[name]} = {_sum(rows, tables, s, other, h.q)}"]
        em.outer += numbered(made, *_read_in(printer, h, name))
    before = [*em.outer, *em.lines, *numbered(_normaliser(f, h, rows), printer.numbers.objective)]
    code = em.namer.fresh(h.q)
    if by_row:
        before.append(f"{code} = {rows}.probabilities()")
        f.runtime[h.q] = Leaf(code, (0, 1))
        own = [*by_row, *own]
    after = _entropy(printer, f, h, own, codes, "")
    keep = f'if whole:\n    out["{h.q}"] = {rows}.probabilities()'
    return Lines(['sizes = prepared["the sizes"]', *f.prologue(), *before], [], after, {**codes, h.q: keep}, _read(f))


def _normaliser(f: Function, h: Handed, rows: str) -> list[str]:
    """The lines of log of the normaliser, where it is the sum of the log norms of rows and where it is more."""
    if _total(h) is not None:
        return [f"normaliser = {rows}.total_log_norm()"]
    em = f.emitter
    code = em.namer.fresh(f"log_z_{h.block.name}")
    f.runtime[LOG_NORMALISER.of(h.block.name)] = Leaf(code, (0,))
    start = len(em.lines)
    log_norm = [contracted(f, t, ()) for t in h.part.log_norm]
    lines = [f"{code} = {rows}.log_norm", *em.outer[start:], *em.lines[start:]]
    return [*lines, f"normaliser = {em.sum(log_norm).code if log_norm else '0.0'}"]


def _total(h: Handed) -> tuple[Expr, ...] | None:
    """What each row's log norm is multiplied by in the sum that is log of the normaliser, if data alone."""
    if len(h.part.log_norm) != 1:
        return None
    (t,) = h.part.log_norm
    rest = tuple(e for e in t.factors if e != El(LOG_NORMALISER.of(h.block.name), (h.row,)))
    one = t.coef == 1 and not t.gates and t.ixs == (h.row,) and len(rest) == len(t.factors) - 1
    return rest if one and all(h.known.holds(e) for e in rest) else None


def weights_lines(printer: Printer, h: Handed) -> list[str]:
    """`weights_of_z(prepared)`: what rows weigh in the sums by each code and in the sum of their log norms."""
    if h.tables is None:
        return []
    f = printer.function()
    em, number = f.emitter, printer.numbers.posterior[h.block.name]
    first = _first_sums(h.tables, h)
    with f.printing(number):
        by_code = [_weight(f, h, _of_rows(h, first[n])) if n in first else "None" for n in range(len(h.tables.codes))]
        total = _weight(f, h, _total(h) or ())
    doc = '"""What rows weigh in sums by each code, and in the sum of their log norms: it does not change."""'
    lines = ['sizes = prepared["the sizes"]', *f.prologue(), *em.outer, *em.lines]
    made = f'weights_of_rows(prepared["{tables_key(h)}"], [{", ".join(by_code)}], {total})'
    return [f"def {weights_name(h)}(prepared):", *indent([doc, *lines, *numbered([f"return {made}"], number)], 1)]


def weights_name(h: Handed) -> str:
    """The name of the function that makes the weights of rows."""
    return f"weights_under_{plain(h.block.name)}"


def weights_key(h: Handed) -> str:
    """The key in `prepared` of what it makes."""
    return f"the weights of {h.block.name}"


def _of_rows(h: Handed, s: DataSum) -> tuple[Expr, ...]:
    """What the weight of a row is made of in a sum over rows."""
    (row,) = {i for e in s.factors for i in x.free(e) if i.dim == h.row.dim and i not in s.axes}
    rest = (e for e in s.factors if not isinstance(e, x.Sel) and not (isinstance(e, El) and e.var == h.q))
    return tuple(x.substitute(e, {row: h.row}) for e in rest)


def _weight(f: Function, h: Handed, rest: Sequence[Expr]) -> str:
    """The weights of rows: (rows,), "None" where they are ones."""
    em, axes = f.emitter, (h.row,)
    return em.broadcast(em.contract(rest, axes), axes).code if rest else "None"


def _first_sums(tables: LookedUp, h: Handed) -> dict[int, DataSum]:
    """The first sum by each code: a loop makes those beside the norms."""
    first: dict[int, DataSum] = {}
    for s in h.found:
        first.setdefault(_which(tables, s), s)
    return first


def _which(tables: LookedUp, s: DataSum) -> int:
    """The code by which a sum is made; the first for one over all rows."""
    chosen = [e for e in s.factors if isinstance(e, x.Sel)]
    return [c.value.var for c in tables.codes].index(_code_of(chosen[0])) if chosen else 0


def _read(f: Function) -> Mapping[str, str]:
    """What a function unpacks of other factors."""
    return {line.split('"')[1]: code for code, line in f.unpacked.items() if line.startswith(f'{code} = factors["')}


def table_line(h: Handed) -> str:
    """The line of `prepare` that keeps the places at which rows of a factor of q are looked up."""
    assert h.tables is not None
    codes = []
    for c in h.tables.codes:
        masks = [f'out["{stored(m.var)}"]' for m in c.masks]
        codes.append(f'(out["{stored(c.value.var)}"], {size_expression(c.dim)}, {masks[0] if masks else None})')
    return f'out["{tables_key(h)}"] = codes_of_rows({", ".join(codes)})'


def _sum(rows: str, tables: LookedUp, s: DataSum, weight: str, q: str) -> str:
    """A sum over rows through the tables: (states, places), or (states,) over all."""
    which = _which(tables, s)
    other = [weight] if weight else []
    if not any(isinstance(e, x.Sel) for e in s.factors):
        return f"{rows}.totals({', '.join(other)})"
    mine = next(e for e in s.factors if isinstance(e, El) and e.var == q)
    code = f"{rows}.sums({', '.join([str(which), *other])})"
    return code if s.axes[0] == mine.idx[0] else f"{code}.T"


def _code_of(s: x.Sel) -> str:
    assert isinstance(s.of, El)
    return s.of.var


def _spelt(tables: LookedUp) -> list[str]:
    return [made_of(c.value.var)[1][0] if is_made(c.value.var) else c.value.var for c in tables.codes]


def _apart(printer: Printer, f: Function, h: Handed) -> tuple[list[Term], list[Term]]:
    """Of the terms that the factor normalises: those that need its rows one by one, and those that sums do for."""
    before, f.handed = f.handed, printer.handed
    by_row: list[Term] = []
    own: list[Term] = []
    for t in h.part.own:
        factors, _ = drop_presence(t.factors)
        rest = from_sums(f, factors, ())
        (by_row if any(h.q in x.variables(e) for e in rest) else own).append(t)
    f.handed = before
    return by_row, own


def _entropy(
    printer: Printer, f: Function, h: Handed, own: Sequence[Term], codes: dict[str, str], more: str
) -> list[str]:
    """The lines after the loop: the entropy, from the sums."""
    em = f.emitter
    em.lines, em.outer, em.chunk = [], [], None
    em.known = {e: a for e, a in em.known.items() if not a.inner}
    for s, name in h.found.items():
        f.runtime[UNDER.of(name)] = Leaf(codes[name], tuple(range(len(s.axes))))
    f.handed = printer.handed
    with f.printing(printer.numbers.objective):
        values = [contracted(f, t, ()) for t in own]
    total = " + ".join([*([more] if more else []), *(v.wrapped for v in values)]) or "0.0"
    return [*em.outer, *em.lines, *numbered([f"entropy = normaliser - ({total})"], printer.numbers.objective)]


def sum_lines(printer: Printer, f: Function, h: Handed, stack: Stacked | None) -> Lines:
    """The lines that add up the sums of a factor over chunks: slices of one product where they are sums of features."""
    out, em = Lines(), f.emitter
    total = em.namer.fresh(f"sums_{h.block.name}")
    sliced = {}
    for s, name in h.found.items():
        code = None if stack is None else slice_of(printer, f, stack, _statistic(s), total)
        if code is not None:
            sliced[name] = code
    start = em.mark()
    every = sorted({n for name in sliced for n in _read_in(printer, h, name)}, key=_in_order)
    if stack is not None and sliced:
        q: Expr = El(h.q, (*h.block.states, h.row))
        if printer.plan.weighted == h.row.dim:
            (q,) = weighted_q(printer, f, [q, El(WEIGHT, (h.row,))])
        assert isinstance(q, El)
        code = f.runtime[q.var].code
        flat = code if len(h.block.states) == 1 else f"{code}.reshape(-1, {em.length(h.row)})"
        out.before.append(f"{total} = 0.0")
        em.lines.append(f"{total} = {total} + {flat} @ {stack.code}.T")
        em.number(start, *every)
        if stack.gapless is not None:
            out.after += numbered([f"{total} = unfolded({total}, {fold_of(stack)})"], *every)
    for s, name in h.found.items():
        code = em.namer.fresh(f"sum_{name}")
        here, since = _read_in(printer, h, name), em.mark()
        if name in sliced:
            out.after += numbered([f"{code} = {sliced[name]}"], *here)
        else:
            factors, _ = drop_presence(s.factors)
            value = em.broadcast(em.contract(factors, s.axes), s.axes)
            out.before.append(f"{code} = 0.0")
            em.lines.append(f"{code} = {code} + {value.code}")
            em.number(since, *here)
        out.codes[name] = code
    out.inside = em.lines[start[0] :]
    del em.lines[start[0] :]
    return out


def _read_in(printer: Printer, h: Handed, name: str) -> list[str]:
    """The numbers of the equations that a sum over the rows of a factor stands in."""
    found = {str(n) for n in h.readers.get(name, ()) if n} or {str(printer.numbers.posterior[h.block.name])}
    return sorted(found, key=_in_order)


def _in_order(number: str) -> list[int]:
    return [int(n) for n in number.split(".")]


def _statistic(s: DataSum) -> Statistic:
    return Statistic("", s.axes, s.factors, ())


def sums_of_start_lines(printer: Printer, h: Handed) -> list[str]:
    """`sums_of_z(prepared, q)`: the same sums under any probabilities of the rows: of a start."""
    f = printer.function().another(h.row.dim)
    em = f.emitter
    code = em.namer.fresh(h.q)
    axes = (*h.block.states, h.row)
    f.runtime[h.q] = Leaf(code, tuple(range(len(axes))), True, cut=True)
    sums = sum_lines(printer, f, h, None)
    inside = [f"{em.namer.rows} = row_count(rows)", f"{code} = q[..., rows]", *em.lines]
    inside += sums.inside
    cells = [f'"sum {n}": {sums.codes[n]},' for n in h.found.values()]
    loop = [*sums.before, f"for rows in chunks({em.size(h.row.dim)}, 8192):", *indent(inside, 1)]
    body = ['sizes = prepared["the sizes"]', *f.prologue(), *em.outer, *loop, *sums.after]
    doc = '"""Sums over rows under these probabilities of their states: (*states, rows)."""'
    head = f"def {sums_name(h)}(prepared, q):"
    return [head, *indent([doc, *body, "return {", *indent(cells, 1), "}"], 1)] if h.found else []


def sums_name(h: Handed) -> str:
    """The name of the function that makes the sums of a start."""
    return f"sums_under_{plain(h.block.name)}"
