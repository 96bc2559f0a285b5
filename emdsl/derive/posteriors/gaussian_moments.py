"""Expectations under a joint Gaussian: means, products of means, covariances."""

from __future__ import annotations

from collections.abc import Sequence

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr, Ix
from emdsl.derive.algebra.made import COV, MEAN, PATTERN, Q
from emdsl.derive.joint.terms import Term
from emdsl.derive.posteriors.block import Block, place
from emdsl.derive.posteriors.fields import Field, atoms_of, place_outside, tie_of, without_gates
from emdsl.derive.posteriors.gaussian import polynomial_role
from emdsl.derive.posteriors.roles import Monomial


def under_gaussian(t: Term, block: Block) -> list[Term] | str:
    """y_a -> m_a,  y_a y_b -> m_a m_b + V_ab: the moments of a joint Gaussian, under q of the gates."""
    g = block.gaussian
    assert g is not None
    if block.field is not None:
        return _in_field(t, block, block.field)
    neighbours = {(n.of.var, n.of.idx): n.at for n in block.neighbours if isinstance(n.of, El) and isinstance(n.at, Ix)}
    placed = place(t, block.latents, block.home, (), neighbours)
    assert isinstance(placed, Term), placed
    found = polynomial_role(placed, block.latents, block.home, g)
    if isinstance(found, str):
        return f"no closed expectation under the posterior of {', '.join(block.latents)}: {found}"
    role, rest = found
    held = role.latents if isinstance(role, Monomial) else ()
    own = (*block.gates, *block.home)
    if block.scale is not None:
        return _times_scale(block, held, rest)
    products: list[tuple[Expr, ...]] = [
        tuple(El(MEAN.of(n), (*own, *(g.rows, g.columns)[k][n])) for k, n in enumerate(held))
    ]
    if len(held) == 2:
        first, second = held
        axes = covariance_axes(block)
        cov = El(COV.of(first, second), (*axes, *g.rows[first], *g.columns[second]))
        products.append((cov, *pattern_of(block, axes)))
    gates = (El(Q.of(block.name), own),) if block.gates else ()
    ixs = (*rest.ixs, *block.gates)
    patterns = [[e.at for e in p if isinstance(e, x.Sel) and isinstance(e.at, Ix)] for p in products]
    return [
        Term(rest.coef, (), (*rest.factors, *p, *gates), tuple(dict.fromkeys((*ixs, *more))))
        for p, more in zip(products, patterns, strict=True)
    ]


def _times_scale(block: Block, held: Sequence[str], rest: Term) -> list[Term]:
    """y_a y_b -> m_a m_b + V_ab / scale: terms that the blocks of scale and gates have still to average."""
    g = block.gaussian
    assert g is not None and block.scale is not None
    own = (*block.gates, *block.home)
    parts: list[tuple[Expr, ...]] = [
        tuple(El(MEAN.of(n), (*own, *(g.rows, g.columns)[k][n])) for k, n in enumerate(held))
    ]
    if len(held) == 2:
        axes = covariance_axes(block)
        cov = El(COV.of(held[0], held[1]), (*axes, *g.rows[held[0]], *g.columns[held[1]]))
        parts.append((cov, *pattern_of(block, axes), x.power(block.scale, x.num(-1))))
    out = []
    for p in parts:
        c, body = x.split_number(x.mul(*rest.factors, *p))
        more = (e.at for e in p if isinstance(e, x.Sel) and isinstance(e.at, Ix))
        ixs = tuple(dict.fromkeys((*rest.ixs, *more)))
        out.append(Term(rest.coef * c, block.neighbours, tuple(f for f in x.factors_of(body) if f != x.ONE), ixs))
    return out


def _in_field(t: Term, block: Block, field: Field) -> list[Term] | str:
    """y_a -> m_a,  y_a y_b -> m_a m_b + V_ab at the places where the elements stand."""
    neighbours = {(n.of.var, n.of.idx): n.at for n in block.neighbours if isinstance(n.of, El) and isinstance(n.at, Ix)}
    bare = without_gates(t, block.latents, field, neighbours, {})
    if isinstance(bare, str):
        return f"no closed expectation under the posterior of {', '.join(block.latents)}: {bare}"
    a = atoms_of(bare, block.latents, field.homes)
    held = [e for e in a.rest if set(block.latents) & x.variables(e)]
    if held or len(a.places) > 2:
        return f"no closed expectation under the posterior of {', '.join(block.latents)}"
    gates = block.gates
    means = tuple(El(MEAN.of(n), (*gates, *p, *o)) for n, p, o in zip(a.latents, a.places, a.own, strict=True))
    products: list[tuple[Expr, ...]] = [means]
    if len(a.places) == 2:
        own, place, name = (*a.own[0], *a.own[1]), a.places[0], ":".join(a.latents)
        if a.places[0] != a.places[1]:
            tie, names = tie_of(a)
            name, place = f"{name}:{field.ties.index(tie)}", tuple(names)
        products.append((El(COV.of(name), (*gates, *place, *own)),))
    probability: tuple[Expr, ...] = ()
    if gates:
        (outside,) = place_outside(a, field.homes, field.inside)
        probability = (El(Q.of(block.name), (*gates, *outside.idx)),)
    ixs = tuple(dict.fromkeys((*bare.ixs, *gates)))
    return [Term(bare.coef, (), (*a.rest, *p, *probability), ixs) for p in products]


def covariance_axes(block: Block) -> tuple[Ix, ...]:
    """What the precision, and so the covariance, depends on: all gates or none, all plates or none.

    Elements that a filtered plate leaves out have a precision of their own. Of incomplete data a covariance is that
    of the missing cells given the others: it depends on which are missing, and elements share it by pattern.
    """
    if block.turns:
        return block.home
    held = block.held_by_precision
    gates = block.gates if held & set(block.gates) else ()
    if held & set(block.home) or block.filtered:
        return (*gates, *block.home)
    return (*gates, pattern_index(block)) if block.by_pattern else gates


def pattern_index(block: Block) -> Ix:
    """The patterns of missing cells that the elements of a block have."""
    return Ix("pattern", f"{block.name}[patterns]")


def pattern_of(block: Block, axes: Sequence[Ix]) -> tuple[x.Sel, ...]:
    """What says which pattern an element has, where covariances on these axes are by pattern."""
    at = pattern_index(block)
    return (x.Sel(El(PATTERN.of(block.name), block.home), at),) if at in axes else ()
