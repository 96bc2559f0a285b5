"""Printing a latent of which rows hold several elements as a product: each element is a factor of q, in turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from emdsl.derive.algebra.expr import Ix
from emdsl.derive.algebra.made import COV, LOG_NORMALISER, MEAN, MOMENT
from emdsl.derive.joint.records import WHOLE
from emdsl.derive.posteriors.block import Block
from emdsl.derive.posteriors.products import Pattern, Turn
from emdsl.derive.posteriors.roles import linear_in, quadratic_in
from emdsl.derive.posteriors.turns import LINEAR, SQUARE
from emdsl.generate.blocks.chains import add_up
from emdsl.generate.blocks.gaussian import absent_precision
from emdsl.generate.blocks.naturals import hand_out_moments, natural
from emdsl.generate.blocks.networks import members
from emdsl.generate.context import Function
from emdsl.generate.lines.arrays import Array, Leaf


def emit_in_turn(f: Function, block: Block) -> None:
    """Natural parameters of single elements, tables of rows that hold several, one sweep, and the moments it leaves."""
    em, name = f.emitter, block.name
    em.comment(f"{name}: what single elements add; rows that hold several; then each element given the others, in turn")
    with f.part(block, "precision", "linear"):
        static = _vector(f, block) if block.gaussian is not None else _family(f, block)
        patterns = [_pattern(f, k, turn, p) for k, turn in enumerate(block.turns) for p in turn.patterns]
    record = block.record
    kernel = "gaussian_in_turn" if record is None else record.kernel
    moments, log_z = em.namer.fresh(f"moments_{name}"), em.namer.fresh(f"log_z_{name}")
    axis = "" if record is None or not record.rank else ", axis=0" if record.rank == 1 else ", axes=(0, 1)"
    with f.part(block, "moments", "normaliser"):
        em.lines.append(f'{moments}, {log_z} = elements_in_turn(prepared["the rows of {name}"], [')
    with f.part(block, "precision", "linear"):
        em.lines += [f"    {p}," for p in patterns]
        em.lines.append(f"], {{{_cells(static)}}}, {kernel}, {{{_cells(_start(f, block))}}}, {len(block.home)}{axis})")
    f.runtime[LOG_NORMALISER.of(name)] = Leaf(log_z, (), True)
    if record is not None:
        own, union = (*block.own, *block.home), (*block.own, *block.home)
        held = [Array("", own) for _ in record.statistics]
        hand_out_moments(f, block, record, moments, held, union, True)
        return
    g = block.gaussian
    assert g is not None
    idx, row, column = block.home, g.rows[name], g.columns[name]
    mean, pair = (*idx, *row), (*idx, *row, *column)
    f.runtime[MEAN.of(name)] = Leaf(f'{moments}["mean"]', tuple(mean.index(i) for i in (*row, *idx)), True)
    f.runtime[COV.of(name, name)] = Leaf(f'{moments}["cov"]', tuple(pair.index(i) for i in (*row, *column, *idx)), True)


def _cells(some: Mapping[str, str]) -> str:
    return ", ".join(f'"{k}": {v}' for k, v in some.items())


def _family(f: Function, block: Block) -> dict[str, str]:
    """Code of what multiplies each statistic in terms of one element, (own, home)."""
    record, out = block.record, {}
    assert record is not None
    for s, n in zip(record.statistics, record.neutral, strict=True):
        axes = block.home if s in WHOLE else (*block.own, *block.home)
        out[s] = f.emitter.broadcast(natural(f, block, record, s, n), axes).code
    return out


def _vector(f: Function, block: Block) -> dict[str, str]:
    """The same of a Gaussian vector: of its entries and of their products."""
    g, name = block.gaussian, block.name
    assert g is not None
    row, column = g.rows[name], g.columns[name]
    out = {}
    for kind, role, axes in (
        (LINEAR, linear_in(name), (*row, *block.home)),
        (SQUARE, quadratic_in(name, name), (*row, *column, *block.home)),
    ):
        mine = [t for t, r in zip(block.terms, block.roles, strict=True) if r == role]
        there = block.conditions(name) if kind == SQUARE else ()
        mine += [absent_precision(there, row, column, axes)] if there else []
        out[kind] = f.emitter.broadcast(add_up(f, mine, axes), axes).code
    return out


def _start(f: Function, block: Block) -> dict[str, str]:
    """Code of the moments as they were, (own, home)."""
    g, name = block.gaussian, block.name
    if g is None:
        kinds = dict.fromkeys(k for t in block.turns for p in t.patterns for k in p.kinds)
        shapes = {k: block.home if k in WHOLE else (*block.own, *block.home) for k in kinds}
        return {k: _kept(f, MOMENT.of(name, k), axes, block) for k, axes in shapes.items()}
    row, column = g.rows[name], g.columns[name]
    return {
        "mean": _kept(f, MEAN.of(name), (*row, *block.home), block),
        "cov": _kept(f, COV.of(name, name), (*row, *column, *block.home), block),
    }


def _kept(f: Function, key: str, axes: tuple[Ix, ...], block: Block) -> str:
    own = tuple(i for i in axes if i not in block.home)
    stored = Array(f'factors["{key}"]', f.emitter.order((*block.home, *own)), True)
    return f.emitter.transposed(stored, axes)


def _pattern(f: Function, turn: int, of: Turn, p: Pattern) -> str:
    """Code of one pattern: its rows, its table and the axes of that, and the statistic at each place."""
    em, plates = f.emitter, of.clique.plates
    table = add_up(f, p.terms, (*p.axes, *plates))
    held = [i for own in p.slots for i in set(own)]
    alone = {i for i in p.axes if held.count(i) == 1}  # no other place tells how long this axis is
    own = tuple(i for i in p.axes if i in table.axes or i in alone)
    rows = plates if any(i in table.axes for i in plates) else ()
    code = em.broadcast(table, (*own, *rows)).code
    atoms = ", ".join(f'("{k}", {_numbers(p, s)})' for k, s in zip(p.kinds, p.slots, strict=True))
    return f"({turn}, {code}, {_numbers(p, own)}, {bool(rows)}, ({atoms}))"


def _numbers(p: Pattern, axes: Sequence[Ix]) -> str:
    return "(" + "".join(f"{p.axes.index(i)}, " for i in axes).rstrip() + ")"


def turns_lines(f: Function, block: Block, equation: int) -> list[str]:
    """The generated function that finds which elements each row holds."""
    g = f.another(None)
    em = g.emitter
    count = " * ".join(em.size(i.dim) for i in block.home)
    rows = [f"({members(g, t.clique)[1:-1]})" for t in block.turns]
    told = f"# ({equation}) the rows that hold several elements of {block.name}"
    body = ['sizes = prepared["the sizes"]', *g.prologue(), told, *em.outer, *em.lines, "rows = ["]
    body += [*(f"    {r}," for r in rows), "]", f'return Turns("{block.name}", {count}, rows)  # ({equation})']
    doc = f'"""Which elements of {block.name} each row holds, and which elements no row holds together."""'
    return [f"def rows_of_{block.name}(prepared):", *("    " + line for line in (doc, *body))]


def turns_size(block: Block) -> str:
    """The line of `prepare` that keeps them."""
    return f'out["the rows of {block.name}"] = rows_of_{block.name}(out)'
