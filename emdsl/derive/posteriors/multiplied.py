"""A joint Gaussian with a multiplier for each of its densities: the form in which noises may be as small as they like.

    N(r; 0, W)  =  1/(2 pi)^d  int exp(i <l, r> - 1/2 l' W l) dl,        r = x - mean

In place of inv(W) the matrix of all numbers, latents y and multipliers l, holds W itself: [[0, C'], [C, -W]] with r =
C y + c. Where some noises are far below others, or 0, the precision C' inv(W) C keeps none of the digits of the others.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import DataIx, El, Expr, Ix
from emdsl.derive.joint.constraints import HALF_LOG_2PI
from emdsl.derive.joint.factors import Factor, LogJoint
from emdsl.derive.joint.plates import home_of
from emdsl.derive.joint.terms import Term, flat
from emdsl.derive.joint.weights import weigh
from emdsl.derive.posteriors.blocks import Elimination, eliminate
from emdsl.errors import ModelError
from emdsl.language import model as m

NORMALISER = x.mul(x.num(-2), HALF_LOG_2PI)  # of the integral over one multiplier


def by_multipliers(joint: LogJoint, plain: Elimination, weighted: str | None) -> tuple[LogJoint, Elimination] | None:
    """All that is eliminated with a multiplier for each density that is Gaussian and linear in latents, under gates and
    beside other latents, too; None where there is no such latent. Terms, whose moments are asked, stay as they are."""
    if joint.multipliers or plain.parts or joint.clouds:
        return None
    latents = {n for b in plain.blocks for n in b.latents if n not in joint.discrete}
    latents = {n for n in latents if joint.model.variable(n).domain.unbounded}
    while True:
        mine = [f for f in joint.factors if x.variables(f.body) & latents]
        made = {id(f): _multiplied(f, joint, latents, NORMALISER, _weight(f, joint, weighted)) for f in mine}
        loose = {n for f in mine if made[id(f)] is None for n in x.variables(f.body)}
        if not loose & latents:
            break
        latents -= loose
    if not latents:
        return None
    names = dict.fromkeys(f.about for f in mine)
    beside = {f.about: min(x.variables(f.body) & latents) for f in mine}
    new = [_variable(joint.model.variable(n)) for n in names]
    whole = replace(
        joint,
        model=replace(joint.model, variables=(*joint.model.variables, *new)),
        factors=tuple(made.get(id(f)) or f for f in joint.factors),
        multipliers={multiplier(n): n if n in latents else beside[n] for n in names},
        asked=tuple(mine),
    )
    try:
        found = eliminate(whole, weighted)
    except ModelError:  # a noise that other latents scale is Gaussian given these alone
        return None
    return whole, replace(found, terms=plain.terms, prior=plain.prior)


def _weight(f: Factor, joint: LogJoint, weighted: str | None) -> Expr:
    """How often each element of a density counts within one part of a field."""
    by = weighted if joint.model.multiplied == "by row" else None
    return x.mul(*weigh(Term(1, (), (), f.plates), by, joint).factors)


def multiplier(name: str) -> str:
    """The name of the multipliers of a variable's densities, one that no user's variable has."""
    return f"multiplier {name}"


def _variable(v: m.Variable) -> m.Variable:
    return m.Variable("latent", multiplier(v.name), v.plates, v.array, m.Domain("real", v.domain.dims), span=v.span)


def _multiplied(
    f: Factor, joint: LogJoint, latents: Collection[str], constant: Expr, weight: Expr = x.ONE
) -> Factor | None:
    """l r + l W l / 2 of a density -r inv(W) r / 2, and `constant` for each multiplier; of a normaliser nothing else is
    left. One to the power w, with which all of its terms will be multiplied, is N(sqrt(w) r; 0, W) but for that."""
    if not f.about:
        return None
    parts = x.terms_of(f.body)
    squares = [t for t in parts if x.variables(t) & set(latents)]
    v = joint.model.variable(f.about)
    if not squares or any(x.variables(t) & {f.about} for t in parts if t not in squares):
        return None
    root = x.power(weight, x.HALF)
    if len(squares) > 1:
        body = _written_out(squares, v, latents, constant, root)
    else:
        body = _in_one(squares[0], v, latents, constant, root)
    if body is None or weight == x.ONE:
        return None if body is None else replace(f, body=body)
    normaliser = x.add(*(t for t in parts if t not in squares))
    once = x.mul(x.power(weight, x.num(-1)), x.add(body, x.neg(normaliser)))
    return replace(f, body=x.add(once, normaliser))


def _in_one(square: Expr, v: m.Variable, latents: Collection[str], constant: Expr, root: Expr) -> Expr | None:
    """root l r + l W l / 2 of one term -r inv(W) r / 2."""
    c, factors, sums = flat(square)
    first, *others = list(_residuals([g for g in factors if x.variables(g) & set(latents)])) or [x.ONE]
    place = _own(first, v)
    if place is None or len(others) != 1 or c >= 0:
        return None
    precision = [x.num(-2 * c), *(g for g in factors if not x.variables(g) & set(latents))]
    return _held(El(multiplier(v.name), place.idx), (first, others[0]), sums, precision, constant, root)


def _written_out(
    squares: Sequence[Expr], v: m.Variable, latents: Collection[str], constant: Expr, root: Expr
) -> Expr | None:
    """The same of a vector whose elements are written one by one: terms -r_i P_ij r_j / 2, P = inv(W)."""
    residuals: dict[El, Expr] = {}
    precision: dict[tuple[El, El], Expr] = {}
    for t in squares:
        for c, factors, sums in map(flat, _opened(t, v, latents)):
            linear = list(_residuals([g for g in factors if x.variables(g) & set(latents)]))
            places = [_own(r, v) for r in linear]
            if sums or len(linear) != 2 or c >= 0:
                return None
            for place, r in zip(places, linear, strict=True):
                if place is None or not isinstance(place.idx[-1], int) or residuals.setdefault(place, r) != r:
                    return None
            one, other = places
            assert one is not None and other is not None
            precision[one, other] = x.mul(x.num(-2 * c), *(g for g in factors if not x.variables(g) & set(latents)))
    noises = {pair: _entry_of_inverse(p, pair, precision) for pair, p in precision.items()}
    tied = {place: El(multiplier(v.name), place.idx) for place in residuals}
    pulled = [x.add(x.mul(root, tied[place], r), constant) for place, r in residuals.items()]
    out = list(pulled)
    for (one, other), noise in noises.items():
        if noise is None:
            return None
        out.append(x.mul(x.HALF, tied[one], tied[other], noise))
    return x.add(*out)


def _opened(t: Expr, v: m.Variable, latents: Collection[str]) -> list[Expr]:
    """A term r_i (P_i0 r_0 + P_i1 r_1 + ...) as its addends."""
    c, factors, sums = flat(t)
    for g in factors:
        if isinstance(g, x.Add) and x.variables(g) & set(latents) and _own(g, v) is None and not sums:
            rest = [f for f in factors if f is not g]
            return [x.mul(x.num(c), *rest, part) for part in g.terms]
    return [t]


def _entry_of_inverse(p: Expr, pair: tuple[El, El], precision: Mapping[tuple[El, El], Expr]) -> Expr | None:
    """What stands at this pair in the inverse of a matrix that is diagonal, or itself an inverse but for a factor."""
    if all(one == other for one, other in precision):
        return x.power(p, x.num(-1))
    _, factors, _ = flat(p)
    found = [g for g in factors if isinstance(g, x.MatInv)]
    if len(found) != 1 or found[0].at != (pair[0].idx[-1], pair[1].idx[-1]):
        return None
    k, n = found[0].i, found[0].j
    scale = [g for g in factors if g is not found[0]]
    return x.mul(
        x.power(x.mul(*scale), x.num(-1)), x.substitute(found[0].body, {k: pair[0].idx[-1], n: pair[1].idx[-1]})
    )


def _held(
    tied: El, residuals: tuple[Expr, Expr], sums: Sequence[Ix], precision: Sequence[Expr], constant: Expr, root: Expr
) -> Expr | None:
    """root l r + l W l / 2, summed over these indices; `precision` are the factors of inv(W)."""
    first, second = residuals
    i = next((s for s in sums if s == tied.idx[-1]), None)
    if len(sums) > 2 or (sums and i is None):
        return None
    if i is None or len(sums) == 1:
        if x.alpha(first) != x.alpha(second):
            return None
        noise = x.mul(x.HALF, x.power(tied, x.num(2)), x.power(x.mul(*precision), x.num(-1)))
        body = x.add(x.mul(root, tied, first), noise, constant)
        return body if i is None else x.total(i, body)
    (j,) = (s for s in sums if s != i)
    matrix = [g for g in precision if {i, j} <= set(x.free(g))]
    scale = [g for g in precision if g not in matrix]
    like = x.alpha(x.substitute(second, {j: i})) == x.alpha(first)
    w = _inverse(matrix[0], i, j) if like and len(matrix) == 1 else None
    if w is None or any({i, j} & set(x.free(g)) for g in scale):
        return None
    noise = x.mul(x.HALF, tied, El(tied.var, (*tied.idx[:-1], j)), x.power(x.mul(*scale), x.num(-1)), w)
    return x.add(x.total(i, x.add(x.mul(root, tied, first), constant)), x.total(i, x.total(j, noise)))


def _residuals(factors: Sequence[Expr]) -> Iterator[Expr]:
    """The linear factors of a product, each as often as it stands there."""
    for g in factors:
        if isinstance(g, x.Pow) and g.exponent == x.num(2):
            yield from (g.base, g.base)
        else:
            yield g


def _own(residual: Expr, v: m.Variable) -> El | None:
    """The element of a variable whose residual this is, as it stands there: others are earlier, or reached from it."""
    parts = x.terms_of(residual)
    axes = len(home_of(v)) + len(v.array) + len(v.domain.dims)
    found = [e for e in parts if isinstance(e, El) and e.var == v.name and len(e.idx) == axes]
    own = [e for e in found if not any(isinstance(i, DataIx) for i in e.idx)]
    return max(own, key=lambda e: [i if isinstance(i, int) else 0 for i in e.idx], default=None)


def _inverse(matrix: Expr, i: Ix, j: Ix) -> Expr | None:
    """Element (i, j) of the inverse of a matrix: of an inverse its body, of an array its inverse."""
    match matrix:
        case x.MatInv(k, n, body, at) if set(at) == {i, j}:
            return x.substitute(body, {k: i, n: j})
        case El(_, (*lead, a, b)) if {a, b} == {i, j} and not {i, j} & set(x.free(El("", tuple(lead)))):
            k, n = x.fresh(i.dim), x.fresh(j.dim)
            return x.MatInv(k, n, x.substitute(matrix, {i: k, j: n}), (i, j))
    return None
