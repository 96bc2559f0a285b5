"""How what chains, networks and joint Gaussians leave to the M-step is written: probabilities and moments."""

from __future__ import annotations

from collections.abc import Sequence

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import DataIx, El, Expr, Idx, Ix
from emdsl.derive.algebra.made import CLIQUE, COV, FIRST, MEAN, PAIR, POSITION, made_of
from emdsl.derive.posteriors.block import Block, gates_outside
from emdsl.derive.posteriors.chains import behind
from emdsl.derive.posteriors.fields import Field
from emdsl.derive.posteriors.gaussian_moments import covariance_axes, pattern_index
from emdsl.report import formula as f
from emdsl.report.formula import Formula
from emdsl.report.indices import Names
from emdsl.report.marginals import summed_out
from emdsl.report.writer import Writer


def structured(t: Writer, e: El, names: Names) -> Formula | None:
    """The writing of an element that such a block leaves; None for any other."""
    if e.var in PAIR:
        return _neighbours(t, t.blocks[PAIR.named(e.var)], e.idx, names)
    if e.var in MEAN:
        return _gaussian_mean(t, MEAN.named(e.var), e.idx, names)
    if e.var in COV:
        return _gaussian_covariance(t, made_of(e.var)[1], e.idx, names)
    if e.var in CLIQUE:
        return _clique(t, t.blocks[CLIQUE.named(e.var)], CLIQUE.number(e.var), e.idx, names)
    if e.var in FIRST:
        return _at_start(t, t.blocks[FIRST.named(e.var)], FIRST.number(e.var), e.idx, names)
    return None


def paired(t: Writer, factors: Sequence[Expr], ixs: Sequence[Ix]) -> list[Expr]:
    """`t > 0` of a sum over t of probabilities of neighbours: at the start there are none."""
    out: list[Expr] = []
    for p in factors:
        if isinstance(p, x.Add):  # what all its terms hold
            shared, *more = (paired(t, x.factors_of(term), ixs) for term in p.terms)
            out += [c for c in shared if all(c in own for own in more)]
        if not isinstance(p, El) or p.var not in PAIR:
            continue
        chain, at = t.blocks[PAIR.named(p.var)].chain, p.idx[-1]
        if chain is None or not isinstance(at, Ix) or at not in ixs:
            continue
        place: Expr = El(POSITION.of(chain.ragged), (at,)) if chain.ragged else x.Val(at)
        first = x.fn("eq", place, x.ZERO)
        out.append(x.fn("not", first) if chain.depth == 1 else x.fn("ge", place, x.num(chain.depth)))
    return out


def _neighbours(t: Writer, block: Block, idx: Sequence[Idx], names: Names) -> Formula:
    """q of the states behind an element and its own."""
    chain = block.chain
    assert chain is not None
    at = dict(zip((*chain.before, *block.states, *block.gates, *block.home), idx, strict=True))
    home = tuple(at[h] for h in block.home)
    out: list[Formula] = []
    for lag in range(chain.depth, 0, -1):
        for latent, s in zip(block.latents, chain.past[lag - 1], strict=True):
            if summed_out(at[s]):
                continue
            place = t.named_at(latent, behind(home, chain, lag), names)
            out.append(f.Relation("=", place, t.index(at[s], names)[-1]))
    return f.Apply(f.Word("q"), (*out, *t.states(block, at, names)))


def _clique(t: Writer, block: Block, number: int, idx: Sequence[Idx], names: Names) -> Formula:
    """q of the states at the places that a clique holds."""
    clique = block.network[number]
    at = dict(zip(clique.axes, idx, strict=True))
    out: list[Formula] = []
    for (latent, place), s in zip(clique.places, clique.states, strict=True):
        if summed_out(at[s]):
            continue
        moved = x.substitute(El(latent, place), at)
        assert isinstance(moved, El)
        out.append(f.Relation("=", t.named_at(latent, moved.idx, names), t.index(at[s], names)[-1]))
    return f.Apply(f.Word("q"), tuple(out))


def _at_start(t: Writer, block: Block, position: int, idx: Sequence[Idx], names: Names) -> Formula:
    """q of the states from a sequence's start to a position."""
    chain = block.chain
    assert chain is not None
    axes = (*(chain.before if position else ()), *block.states, *block.gates, *chain.outer)
    at = dict(zip(axes, idx, strict=True))
    outer = tuple(at[h] for h in chain.outer)
    out: list[Formula] = []
    for lag in range(position, -1, -1):
        for latent, s in zip(block.latents, chain.past[lag - 1] if lag else block.states, strict=True):
            if summed_out(at[s]):
                continue
            place = t.named_at(latent, (*outer, position - lag), names)
            out.append(f.Relation("=", place, t.index(at[s], names)[-1]))
    given = dict(zip(chain.rows, chain.outer, strict=True))
    gates = [x.Sel(x.substitute(g.of, at), g.at) for g in gates_outside(block)] if given or block.gates else []
    for g in gates:
        level = at.get(g.at, g.at) if isinstance(g.at, Ix) else g.at
        out.append(f.Relation("=", t.of(g.of, names), t.index(level, names)[-1]))
    return f.Apply(f.Word("q"), tuple(out))


def _joint(t: Writer, latent: str) -> Block:
    """The Gaussian block of a latent."""
    return next(b for b in t.blocks.values() if latent in b.latents)


def _gaussian_mean(t: Writer, latent: str, idx: Sequence[Idx], names: Names) -> Formula:
    block = _joint(t, latent)
    at = dict(zip((*block.gates, *block.home), idx, strict=False))
    if block.field is not None:
        at = _of_part(block, block.field, latent, idx)
    given = tuple(t.gates(block, at, names))
    return f.Mean(t.named_at(latent, idx[len(block.gates) :], names), f.Listed(given) if given else None)


def _of_part(block: Block, field: Field, latent: str, idx: Sequence[Idx]) -> dict[Ix, Idx]:
    """The states of a field's gates, and the part in which an element lies whose place follows them."""
    gates = dict(zip(block.gates, idx, strict=False))
    to = dict(zip(field.homes[latent], idx[len(gates) :], strict=False))
    inside = x.substitute(El("", field.inside[latent]), to)
    assert isinstance(inside, El)
    return gates | dict(zip(field.outer, inside.idx, strict=True))


def _gaussian_covariance(t: Writer, pair: tuple[str, ...], idx: Sequence[Idx], names: Names) -> Formula:
    first, second, *tie = pair
    block = _joint(t, first)
    assert block.gaussian is not None
    if block.field is not None:
        return _field_covariance(t, block, block.field, (first, second), int(tie[0]) if tie else None, idx, names)
    held = covariance_axes(block)
    at = dict(zip(held, idx, strict=False))
    pattern = at.get(pattern_index(block))
    if isinstance(pattern, DataIx) and isinstance(pattern.value, El):
        at.update(zip(block.home, pattern.value.idx, strict=True))
    places = tuple(at.get(h, h) for h in block.home)
    own, k = idx[len(held) :], len(block.gaussian.rows[first])
    items = (t.named_at(first, (*places, *own[:k]), names), t.named_at(second, (*places, *own[k:]), names))
    given = tuple(t.gates(block, at, names))
    if not set(block.gates) <= set(held):  # the same for every state, and still that of the latent given the state
        given = tuple(g.left if isinstance(g, f.Relation) else g for g in given)
    inside = f.Listed(items)
    word = "cov" if block.scale is None else "variance"  # without the factor of its precision
    return f.Apply(f.Word(word), (f.Relation("|", inside, f.Listed(given)) if given else inside,))


def _field_covariance(
    t: Writer, block: Block, field: Field, pair: tuple[str, str], tie: int | None, idx: Sequence[Idx], names: Names
) -> Formula:
    """Of two elements that a tie holds, or of one with itself."""
    assert block.gaussian is not None
    places: tuple[tuple[Idx, ...], ...] = (field.homes[pair[0]], field.homes[pair[1]])
    ixs = field.homes[pair[0]]
    if tie is not None:
        places, ixs = field.ties[tie].places, field.ties[tie].ixs
    states, idx = idx[: len(block.gates)], idx[len(block.gates) :]
    to = dict(zip(ixs, idx, strict=False))
    own, k = idx[len(ixs) :], len(block.gaussian.rows[pair[0]])
    items = []
    for n, place, rest in zip(pair, places, (own[:k], own[k:]), strict=True):
        moved = x.substitute(El(n, place), to)
        assert isinstance(moved, El)
        items.append(t.named_at(n, (*moved.idx, *rest), names))
    first = x.substitute(El(pair[0], places[0]), to)
    assert isinstance(first, El)
    at = _of_part(block, field, pair[0], (*states, *first.idx))
    given, inside = tuple(t.gates(block, at, names)), f.Listed(tuple(items))
    return f.Apply(f.Word("cov"), (f.Relation("|", inside, f.Listed(given)) if given else inside,))
