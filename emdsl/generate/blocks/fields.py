"""Printing the posterior of Gaussian latents whose elements are tied: pieces of h and J, one call, the moments."""

from __future__ import annotations

from collections.abc import Sequence

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr, Idx, Ix
from emdsl.derive.algebra.made import COV, LOG_NORMALISER, MEAN, UNSEEN, Q
from emdsl.derive.joint.terms import Term
from emdsl.derive.posteriors.block import Block
from emdsl.derive.posteriors.fields import Field
from emdsl.derive.posteriors.roles import Across, Role, linear_in, quadratic_in
from emdsl.generate.blocks.chains import add_up
from emdsl.generate.blocks.gaussian import about_mean, absent_precision
from emdsl.generate.blocks.kinds import by_kind
from emdsl.generate.context import Function, size_expression
from emdsl.generate.lines.arrays import Array, Leaf
from emdsl.generate.lines.kept import DRAWN
from emdsl.generate.lines.spelling import numbered


def emit_field(f: Function, block: Block, field: Field) -> None:
    """The pieces of h and J, and what the posterior leaves: means, covariances beside each piece, the normaliser."""
    em, g, name = f.emitter, block.gaussian, block.name
    assert g is not None
    em.comment(f"linear terms and precision of {', '.join(block.latents)}, piece by piece; then their joint posterior")
    with f.part(block, "linear"):
        linear = ", ".join(
            linear_piece(f, block, linear_in(a), (*block.gates, *field.homes[a], *g.rows[a])) for a in block.latents
        )  # fmt: skip
    homes = ", ".join(str(len(field.homes[a])) for a in block.latents)
    if f.drawing:
        drawn = em.namer.fresh(f"drawn_{name}")
        em.lines.append(f'{drawn} = draw_field(prepared["the field of {name}"], [{linear}], [{homes}], [')
        em.lines += numbered([f"    {p}," for p in _pieces(f, block, field, "")], f.numbers.of(name, "precision"))
        em.lines.append("], rng)")
        f.runtime[DRAWN.of(name)] = Leaf(drawn, (), True)
        return
    means, covariances, log_z = (em.namer.fresh(f"{part}_{name}") for part in ("means", "covariances", "log_z"))
    pieces = _pieces(f, block, field, covariances)
    made = f"gated_field({_lengths(f, block.gates)}, " if block.gates else "gaussian_field("
    with f.part(block, "moments", "normaliser", "forward", "backward"):
        em.lines.append(f"{means}, {covariances}, {log_z} = {'field_apart(' if block.apart else made}")
    linear_terms = f'    prepared["the field of {name}"], [{linear}], [{homes}], ['
    em.lines += numbered([linear_terms], f.numbers.of(name, "linear"))
    em.lines += numbered([f"        {p}," for p in pieces], f.numbers.of(name, "precision"))
    em.lines.append("    ],")
    if block.apart:
        em.lines.append(f"    start={_start(f, name, (*field.homes[name], *g.rows[name]))},")
    if g.seen:
        em.lines.append(f"    seen={data_of_field(f, block, field)},")
    if field.outer:
        em.lines.append(f"    parts={parts_of_field(f, block, field)},")
    em.lines.append(")")
    f.runtime[LOG_NORMALISER.of(name)] = Leaf(log_z, tuple(range(len(block.gates) + len(field.outer))), True)
    for k, a in enumerate(block.latents):
        axes = len(block.gates) + len(field.homes[a]) + len(g.rows[a])
        f.runtime[MEAN.of(a)] = Leaf(f"{means}[{k}]", tuple(range(axes)), True)


def parts_of_field(f: Function, block: Block, field: Field) -> str:
    """Code of which part each element lies in, where a field falls apart."""
    if not field.outer:
        return "None"
    parts = ", ".join(_spread(f, _number(field.inside[n], field.outer), field.homes[n]) for n in block.latents)
    return f"Parts({_lengths(f, field.outer)}, [{parts}])"


def _start(f: Function, latent: str, axes: tuple[Ix, ...]) -> str:
    """Code of the means as they were, (plates, own)."""
    kept = Array(f'factors["{MEAN.of(latent)}"]', tuple(f.emitter.order(axes)), True)
    return f.emitter.transposed(kept, axes)


def _pieces(f: Function, block: Block, field: Field, covariances: str) -> list[str]:
    """Code of each piece of J; where the covariances beside it will be stored."""
    g = block.gaussian
    assert g is not None
    out: list[str] = []
    for part in parts_of_precision(block):
        a, b = part if isinstance(part, tuple) else field.ties[part].latents
        home, name = (field.homes[a], COV.of(a, b)) if isinstance(part, tuple) else (
            field.ties[part].ixs, COV.of(a, b, part)
        )  # fmt: skip
        _keep(f, block, name, (covariances, len(out)), (*block.gates, *home, *g.rows[a], *g.columns[b]), home)
        there = block.conditions(a) if part == (a, a) else ()
        own = (*home, *g.rows[a], *g.columns[a])
        more = [absent_precision(there, g.rows[a], g.columns[a], own)] if there else []
        with f.part(block, "precision"):
            out.append(piece_of_precision(f, block, part, more))
    return out


Part = tuple[str, str] | int  # of a precision: of two latents of one element, or of a tie


def parts_of_precision(block: Block) -> list[Part]:
    """Where a precision has entries, in order."""
    order = {n: k for k, n in enumerate(block.latents)}
    beside = block.field.beside if block.field else ()
    pairs = [(a, b) for a in block.latents for b in block.latents[order[a] :]
             if quadratic_in(a, b) in block.roles or (a, b) in beside]  # fmt: skip
    return [*pairs, *range(len(block.field.ties if block.field else ()))]


def piece_of_precision(f: Function, block: Block, part: Part, more: Sequence[Term] = ()) -> str:
    """Code of a piece of J: two latents, their elements, and its values there, 0 where no term is of it."""
    field, g = block.field, block.gaussian
    assert field is not None and g is not None
    order = {n: k for k, n in enumerate(block.latents)}
    if isinstance(part, tuple):
        (a, b), ixs = part, field.homes[part[0]]
        every = f"np.arange({' * '.join(f.emitter.size(i.dim) for i in ixs) or '1'})"
        piece = _piece(f, block, quadratic_in(a, b), (ixs, (*g.rows[a], *g.columns[b])), more)
        return f"({order[a]}, {order[b]}, {every}, {every}, {piece})"
    tie = field.ties[part]
    (a, b), ixs = tie.latents, tie.ixs
    piece = _piece(f, block, Across(part), (ixs, (*g.rows[a], *g.columns[b])))
    at = [_spread(f, _number(place, field.homes[n]), ixs) for n, place in zip(tie.latents, tie.places, strict=True)]
    return f"({order[a]}, {order[b]}, {', '.join(at)}, {piece})"


def _keep(f: Function, block: Block, var: str, at: tuple[str, int], axes: Sequence[Ix], home: Sequence[Ix]) -> None:
    """Where the covariances beside a piece are found; without gates they are made when they are read."""
    covariances, n = at
    f.runtime[var] = Leaf(f"{covariances}[{n}]", tuple(range(len(axes))), True)
    if _may_repeat(block) and home:
        f.covariances[var] = (covariances, n, tuple(i.dim for i in home))


def _may_repeat(block: Block) -> bool:
    """Whether blocks of the precision may repeat: along ordered plates, where nothing gates them."""
    return (
        block.field is not None
        and not (block.gates or block.apart)
        and all(t.lag is not None for t in block.field.ties)
    )


def data_of_field(f: Function, block: Block, field: Field) -> str:
    """Code of the data among the latents of a field: which one, its values, and 1.0 where they are missing, (plates,
    own)."""
    g = block.gaussian
    assert g is not None

    def laid(latent: str, array: str) -> str:
        axes = (*field.homes[latent], *g.rows[latent])
        return f.emitter.broadcast(f.emitter.value(El(array, axes)), axes).code

    seen = (f"({block.latents.index(n)}, {laid(n, n)}, {laid(n, UNSEEN.of(n))})" for n in g.seen)
    return f"[{', '.join(seen)}]"


def linear_piece(f: Function, block: Block, role: Role, axes: tuple[Ix, ...]) -> str:
    """Code of the terms of one role, over all its axes."""
    mine = [t for t, r in zip(block.terms, block.roles, strict=True) if r == role]
    return f.emitter.broadcast(add_up(f, mine, axes), axes).code


def _piece(
    f: Function, block: Block, role: Role, axes: tuple[tuple[Ix, ...], tuple[Ix, ...]], more: Sequence[Term] = ()
) -> str:
    """Code of a piece of J over the gates, its plates and its own axes; of kinds of its rows where these are data's."""
    mine = [*(t for t, r in zip(block.terms, block.roles, strict=True) if r == role), *more]
    found = by_kind(f, mine, *axes, block.name) if _may_repeat(block) else None
    if found is not None:
        return found
    every = (*block.gates, *axes[0], *axes[1])
    return f.emitter.broadcast(add_up(f, mine, every), every).code


def _lengths(f: Function, axes: Sequence[Ix]) -> str:
    return f"({', '.join(f.emitter.size(i.dim) for i in axes)},)"


def _spread(f: Function, number: Expr, ixs: tuple[Ix, ...]) -> str:
    value = f.emitter.value(number)
    return f.emitter.broadcast(value, ixs).code if ixs else f"np.array([{value.code}])"


def _number(place: tuple[Idx, ...], home: tuple[Ix, ...]) -> Expr:
    """An element's number among all of its plates, kept in range: a branch not taken may leave it."""
    number: Expr = x.ZERO
    for i, h in zip(place, home, strict=True):
        inside = x.Fn("min", (x.Fn("max", (x.value_of(i), x.ZERO)), x.add(x.SizeN(h.dim), x.num(-1))))
        number = x.add(x.mul(number, x.SizeN(h.dim)), x.value_of(i) if isinstance(i, Ix | int) else inside)
    return number


def field_line(block: Block, field: Field) -> str:
    """The line of `prepare` that keeps where the elements stand; it is settled at the first call."""
    g = block.gaussian
    assert g is not None
    order = {n: k for k, n in enumerate(block.latents)}
    families, counts = [], []
    for family in field.families:
        widths = (" * ".join(f"({size_expression(i.dim)})" for i in g.rows[n]) or "1" for n in family)
        families.append("[" + ", ".join(f"({order[n]}, {w})" for n, w in zip(family, widths, strict=True)) + "]")
        counts.append(" * ".join(f"({size_expression(i.dim)})" for i in field.homes[family[0]]) or "1")
    names = ", ".join(block.latents)
    held = (", multiplied_moments" if field.asked else ", constrained_moments") if field.held else ""
    return f'out["the field of {block.name}"] = Field([{", ".join(families)}], [{", ".join(counts)}], "{names}"{held})'


def field_fields(f: Function, block: Block, field: Field, latent: str) -> list[tuple[str, Array]]:
    """Mean and covariance (of a number its mean square) of each element of a latent."""
    em, g = f.emitter, block.gaussian
    assert g is not None
    rows, columns, home = g.rows[latent], g.columns[latent], field.homes[latent]
    gates = block.gates
    mean, other = (El(MEAN.of(latent), (*gates, *home, *axes)) for axes in (rows, columns))
    cov = El(COV.of(latent, latent), (*gates, *home, *rows, *columns))
    q = [El(Q.of(block.name), (*gates, *field.inside[latent]))] if gates else []
    found = em.contract([mean, *q], (*rows, *home))
    axes = (*rows, *columns, *home)
    kind = "cov" if rows else "var"
    if not gates:
        return [("id", found), (kind, em.contract([cov], axes))]
    between = about_mean(f, mean, other, q, found, (gates, rows, columns, home))
    return [("id", found), (kind, em.sum([between, em.contract([cov, *q], axes)]))]
