"""Gaussian latents that share their plates: one joint Gaussian for each element of these.

    log p  =  sum over elements [ <h, y> - 1/2 <J, y y'> ] + terms without y,     y all latents of the block, stacked

A block is Gaussian where every term holds at most two of its atoms, each to the first power; what multiplies an
atom adds to h, what multiplies a pair of them to -J/2. Which family the latents were declared with does not matter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr, Idx, Ix
from emdsl.derive.algebra.show import show
from emdsl.derive.joint.terms import Term
from emdsl.derive.posteriors.roles import Monomial, Role


@dataclass(frozen=True)
class Gaussian:
    """The own axes of each latent of a block, twice: an entry of J stands on `rows` of one and `columns` of another."""

    rows: Mapping[str, tuple[Ix, ...]]
    columns: Mapping[str, tuple[Ix, ...]]
    seen: tuple[str, ...] = ()  # data with missing cells: held at what was seen, the other cells are latent
    by_pattern: bool = False  # covariances are by pattern of missing cells


def gaussian_axes(dims: Mapping[str, Sequence[str]], incomplete: frozenset[str]) -> Gaussian:
    """Axes for latents whose elements have these dimensions; some of them may be incomplete data."""
    rows = {n: tuple(Ix(f"{n}_{k}", d) for k, d in enumerate(own)) for n, own in dims.items()}
    columns = {n: tuple(Ix(f"{n}_{k}'", d) for k, d in enumerate(own)) for n, own in dims.items()}
    return Gaussian(rows, columns, tuple(n for n in dims if n in incomplete))


def polynomial_role(
    t: Term, latents: Sequence[str], home: tuple[Ix, ...], g: Gaussian, shared: Set[Ix] = frozenset()
) -> tuple[Role, Term] | str:
    """(role, rest) of a placed term: of which atoms it is a multiple; a text where it is of no degree up to two.

    `shared` are indices that something outside the term reads, too: a row that picks one of a vector's own entries and
    another latent's element.
    """
    atoms: list[El] = []
    rest: list[Expr] = []
    for f in t.factors:
        if not set(latents) & x.variables(f):
            rest.append(f)
            continue
        match f:
            case El():
                atoms.append(f)
            case x.Pow(El() as e, x.Num(v)) if v == 2:
                atoms += [e, e]
            case _:
                return f"{show(f)} is not linear or quadratic in {', '.join(latents)}"
    if len(atoms) > 2:
        return f"{show(x.mul(*atoms))} is of degree {len(atoms)}"
    order = {n: k for k, n in enumerate(latents)}
    atoms.sort(key=lambda e: order[e.var])
    factors, ixs = rest, list(t.ixs)
    for k in range(len(atoms)):
        axes = (g.rows if k == 0 else g.columns)[atoms[k].var]
        for slot, axis in zip(range(len(home), len(atoms[k].idx)), axes, strict=True):
            at = atoms[k].idx[slot]
            if isinstance(at, Ix) and at in ixs and at not in (*home, *shared, *_all(g)):
                to: dict[Ix, Idx] = {at: axis}
                factors = [x.substitute(f, to) for f in factors]
                atoms = [x.substitute(e, to) for e in atoms]  # type: ignore[misc]
                ixs = [axis if i == at else i for i in ixs]
            else:
                factors.append(x.sel(at.value, axis) if isinstance(at, x.DataIx) else x.delta(at, axis))
                ixs.append(axis)
    role: Role = Monomial(tuple(e.var for e in atoms)) if atoms else ""
    kept = tuple(f for f in factors if f != x.ONE)
    return role, Term(t.coef, (), kept, tuple(dict.fromkeys(ixs)))


def _all(g: Gaussian) -> set[Ix]:
    return {i for table in (g.rows, g.columns) for axes in table.values() for i in axes}
