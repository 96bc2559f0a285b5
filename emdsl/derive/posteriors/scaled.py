"""Gaussian vectors whose precision holds a neighbour once: cancellation is conjugacy.

    J = W m,  h = W b    (W a matrix of the neighbour, m a number)      J = u M,  h = u b    (u a number)

Summed out, what is left is linear in the statistics of the neighbour, which its own family takes up:

    1/2 tr(W b b') / m + 1/2 logdet W^-1 ...        1/2 u b' M^-1 b - D/2 log u ...

So a Normal-Wishart, a Normal-inverse-Wishart and a Gamma that scales a covariance need no family of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr, Idx, Ix
from emdsl.derive.algebra.made import FIT, LOCATION, LOG_NORMALISER, VARIANCE
from emdsl.derive.joint.factors import LogJoint
from emdsl.derive.joint.plates import home_of
from emdsl.derive.joint.ranges import EVERYWHERE, range_of
from emdsl.derive.joint.sides import LATENT
from emdsl.derive.joint.terms import Term, symmetry_of
from emdsl.derive.joint.weights import weigh
from emdsl.derive.posteriors.block import Block, Tied, gates_outside, place, touches
from emdsl.derive.posteriors.chains import Neighbours
from emdsl.derive.posteriors.gaussian import gaussian_axes, polynomial_role
from emdsl.derive.posteriors.roles import Monomial, Role, merge_roles, quadratic_in


def scaled_block(
    latents: tuple[str, ...], joint: LogJoint, pool: Sequence[Tied], kinds: Mapping[str, str],
    weighted: str | None,
) -> Block | None:  # fmt: skip
    """The block of one Gaussian vector with such a neighbour; None where it has none, or more than that."""
    name, variable = latents[0], joint.model.variable(latents[0])
    dims = (*variable.array, *variable.domain.dims)
    if (
        name in joint.incomplete
        or len(latents) > 1
        or len(dims) != 1
        or variable.domain.kind != "real"
        or range_of(variable) != EVERYWHERE
    ):
        return None
    home, g = home_of(variable), gaussian_axes({name: [str(d) for d in dims]}, frozenset())
    neighbours: Neighbours = {}
    terms: list[Term] = []
    roles: list[Role] = []
    scales: set[Expr] = set()
    for t, _, _ in pool:
        if not touches(t, latents):
            continue
        placed = place(t, latents, home, (), neighbours, joint.levels)
        role = placed if isinstance(placed, str) else polynomial_role(placed, latents, home, g)
        found = None if isinstance(role, str) else _cut(*role, joint, kinds, g.rows[name][0], g.columns[name][0], home)
        if found is None or isinstance(role, str):
            return None
        scales.add(found[0])
        terms.append(weigh(found[1], weighted, joint, home))
        roles.append(role[0])
    if len(scales) != 1 or quadratic_in(name, name) not in roles:
        return None
    gates = tuple(x.Sel(El(n, idx), k) for (n, idx), k in neighbours.items())
    own = (*g.rows[name], *g.columns[name])
    merged = merge_roles(terms, roles, symmetry_of(joint), (*home, *own, *neighbours.values()))
    return Block(name, latents, home, (), gates, *merged, gaussian=g, own=g.rows[name], scale=scales.pop())


def _cut(
    role: Role, rest: Term, joint: LogJoint, kinds: Mapping[str, str], row: Ix, column: Ix, home: tuple[Ix, ...]
) -> tuple[Expr, Term] | None:
    """The neighbour's factor, its slots named as the block's rows and columns, and the term without it."""
    mine = [f for f in rest.factors if any(kinds.get(n) == LATENT.of(n) for n in x.variables(f))]
    if len(mine) != 1 or not isinstance(mine[0], El | x.MatInv) or not isinstance(role, Monomial):
        return None
    scale = mine[0]
    number: Expr = x.ONE
    leaf: Expr = scale.body if isinstance(scale, x.MatInv) else scale
    if isinstance(scale, x.MatInv) and isinstance(leaf, x.Mul):  # the inverse of a number times a matrix
        c, body = x.split_number(leaf)
        leaf, number = body, x.power(x.num(c), x.num(-1))
        scale = x.MatInv(scale.i, scale.j, leaf, scale.at)
    if not isinstance(leaf, El):
        return None
    rank = len(joint.model.variable(leaf.var).domain.dims)
    lead = leaf.idx[: len(leaf.idx) - rank]
    if rank not in (0, 2) or (rank == 0 and scale is not leaf) or not set(x.free(El("", lead))) <= set(home):
        return None
    c, body = x.split_number(x.mul(number, *(f for f in rest.factors if f is not mine[0])))
    others, rest = tuple(f for f in x.factors_of(body) if f != x.ONE), replace(rest, coef=rest.coef * c)
    if rank == 0:
        return scale, Term(rest.coef, (), others, rest.ixs)
    slots = slots_of_scale(scale)
    carried = {i for f in others for i in x.free(f)}
    if role.quadratic:
        if set(slots) != {row, column} or {row, column} & carried:
            return None
        ixs = tuple(i for i in rest.ixs if i not in (row, column))
        return scale_at(scale, row, column), Term(rest.coef, (), others, ixs)
    other = next((s for s in slots if s != row), None)
    if row not in slots or not isinstance(other, Ix) or other not in rest.ixs or row in carried:
        return None
    renamed = tuple(x.substitute(f, {other: row}) for f in others)
    return scale_at(scale, row, column), Term(rest.coef, (), renamed, tuple(i for i in rest.ixs if i != other))


def slots_of_scale(scale: Expr) -> tuple[Idx, ...]:
    """The two indices of a matrix that scales, () of a number."""
    match scale:
        case x.MatInv():
            return scale.at
        case El():
            return scale.idx[-2:]
    return ()


def scale_at(scale: Expr, a: Idx, b: Idx) -> Expr:
    """An element of the matrix that scales."""
    if isinstance(scale, x.MatInv):
        i, j = Ix("scale_i", scale.i.dim), Ix("scale_j", scale.j.dim)  # one name for its bound indices
        return x.MatInv(i, j, x.substitute(scale.body, {scale.i: i, scale.j: j}), (a, b))
    assert isinstance(scale, El)
    return El(scale.var, (*scale.idx[:-2], a, b), scale.sort)


def inverse_at(scale: Expr, a: Idx, b: Idx, row: Ix, column: Ix) -> Expr:
    """An element of its inverse."""
    if isinstance(scale, x.MatInv):
        return x.substitute(scale.body, {scale.i: a, scale.j: b})
    return x.MatInv(row, column, scale, (a, b))


def is_matrix(block: Block) -> bool:
    """Whether what scales a block's precision is a matrix."""
    return block.gaussian is not None and set(slots_of_scale(block.scale or x.ONE)) == set(_axes(block))


def _axes(block: Block) -> tuple[Ix, Ix]:
    assert block.gaussian is not None
    return block.gaussian.rows[block.name][0], block.gaussian.columns[block.name][0]


def scaled_messages(block: Block) -> list[Term]:
    """What elimination leaves: linear in the neighbour's statistics, and A."""
    assert block.scale is not None
    row, column = _axes(block)
    axes, ixs, gates = (*block.gates, *block.outside), (*block.outside, *block.gates), gates_outside(block)
    half, there = x.HALF.value, block.exists
    rest = Term(1, gates, (El(LOG_NORMALISER.of(block.name), axes), *there), ixs)
    if not is_matrix(block):
        size = x.extent(row)
        number, body = x.split_number(x.mul(size, x.fn("log", block.scale)))
        fit = El(FIT.of(block.name), axes)
        logs = tuple(f for f in x.factors_of(body) if f != x.ONE)
        return [
            Term(half, gates, (block.scale, fit, *there), ixs),
            Term(-half * number, gates, (*logs, *there), ixs),
            rest,
        ]
    fit = El(FIT.of(block.name), (*axes, row, column))
    if isinstance(block.scale, x.MatInv):
        log, sign = x.LogDet(block.scale.i, block.scale.j, block.scale.body), 1
    else:
        log, sign = x.LogDet(row, column, block.scale), -1
    return [
        Term(half, gates, (block.scale, fit, *there), (*ixs, row, column)),
        Term(sign * half, gates, (log, *there), ixs),
        rest,
    ]


def under_scaled(placed: Term, block: Block) -> list[Term] | str:
    """E given the neighbour: y_a -> m_a,  y_a y_b -> m_a m_b + covariance, which holds the inverse of what scales."""
    assert block.scale is not None
    name, held = block.name, (*block.gates, *block.home)
    atoms: list[El] = []
    rest: list[Expr] = []
    for f in placed.factors:
        match f:
            case El() if f.var == name:
                atoms.append(f)
            case x.Pow(El() as e, x.Num(v)) if e.var == name and v == 2:
                atoms += [e, e]
            case _:
                if name in x.variables(f):
                    return f"no closed expectation under the posterior of {name}"
                rest.append(f)
    if not 1 <= len(atoms) <= 2:
        return f"no closed expectation under the posterior of {name}"
    slots = [e.idx[-1] for e in atoms]
    means = tuple(El(LOCATION.of(name), (*held, s)) for s in slots)
    out = [Term(placed.coef, (), (*rest, *means), placed.ixs)]
    if len(atoms) == 2:
        out.append(_covariance(placed, rest, slots[0], slots[1], block))
    return out


def _covariance(placed: Term, rest: Sequence[Expr], a: Idx, b: Idx, block: Block) -> Term:
    assert block.scale is not None
    name, held = block.name, (*block.gates, *block.home)
    if not is_matrix(block):
        variance = El(VARIANCE.of(name), (*held, a, b))
        return Term(placed.coef, (), (*rest, variance, x.power(block.scale, x.num(-1))), placed.ixs)
    variance = El(VARIANCE.of(name), held)
    for f in rest:
        slots = slots_of_scale(f) if isinstance(f, El | x.MatInv) else ()
        same = slots and scale_at(f, *_axes(block)) == block.scale if len(slots) == 2 else False
        pairs = [(k, n) for k, s in enumerate(slots) for n, y in enumerate((a, b)) if s == y and s in placed.ixs]
        if same and pairs:  # W_ca (1/W)_ab summed over a is 1 where c = b
            k, n = pairs[0]
            left = tuple(g for g in rest if g is not f)
            ixs = tuple(i for i in placed.ixs if i != slots[k])
            return Term(placed.coef, (), (*left, x.delta(slots[1 - k], (a, b)[1 - n]), variance), ixs)
    row, column = _axes(block)
    return Term(placed.coef, (), (*rest, inverse_at(block.scale, a, b, row, column), variance), placed.ixs)
