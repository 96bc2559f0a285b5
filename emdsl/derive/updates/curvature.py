"""The Hessian of Q in the elements of several parameters, and the structure that its indices show.

d2 Q / d v[I] d w[J] = sum of products of factors; where one index of I is always one of J, the Hessian
is zero off the diagonal along it. Axes on which this holds for every pair are a batch: elements there
are problems side by side (the components of a mixture of generalised linear models, each with its own X'WX).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import DataIx, Delta, Expr, Idx, Ix
from emdsl.derive.joint.coefficients import _to_axes, axes_of
from emdsl.derive.joint.gradient import partials, place
from emdsl.derive.joint.terms import Term
from emdsl.errors import InternalError
from emdsl.language import model as m

# Of no second derivative somewhere, and of none that helps elsewhere: also branches that a parameter decides.
KINKED = ("abs", "min", "max", *x.COMPARISONS)
LONGEST = 400  # products: a Hessian of more is left to gradients


@dataclass(frozen=True)
class Product:
    """One product of a second derivative, on the axes of both elements; `rows` are the indices it is summed over."""

    coef: Expr
    factors: tuple[Expr, ...]
    ixs: tuple[Ix, ...]


@dataclass(frozen=True)
class Part:
    """d2 Q / d left d right, over `batch`, then the other axes of either; `ties` pair what must be equal of these."""

    left: str
    right: str
    axes: tuple[Ix, ...]
    products: tuple[Product, ...]


@dataclass(frozen=True)
class Curvature:
    """The upper triangle of the Hessian in parts; for each parameter the positions of its axes that are batch.

    With `low`, the Hessian is a diagonal plus a number times 1 1' (of one parameter, `parts` are these two).
    """

    batch: tuple[Ix, ...]
    places: tuple[tuple[str, tuple[int, ...]], ...]
    parts: tuple[Part, ...]
    low: bool = False


@dataclass(frozen=True)
class _Raw:
    coef: Expr
    factors: tuple[Expr, ...]
    ixs: tuple[Ix, ...]
    ties: frozenset[tuple[int, int]]


def curvature(terms: Sequence[Term], variables: Sequence[m.Variable]) -> Curvature | None:
    """The Hessian of a sum of terms; None where a domain or a function stands in the way, or it is very long."""
    names = {v.name for v in variables}
    if any(v.domain.symmetric or v.domain.discrete for v in variables) or kinked(terms, names):
        return None
    if _meeting(terms, names) > LONGEST:
        return None
    raw: dict[tuple[int, int], list[_Raw]] = {}
    try:
        for a, v in enumerate(variables):
            for b, w in enumerate(variables[a:], a):
                raw[a, b] = _second(terms, v, w, LONGEST - sum(map(len, raw.values())))
                if sum(map(len, raw.values())) > LONGEST:
                    return None
    except InternalError:  # a function that has no second derivative here
        return None
    places = _batch(raw, variables)
    batch = tuple(Ix(f"batch_{n}", str(variables[0].shape[d])) for n, d in enumerate(places[0]))
    named = tuple((v.name, p) for v, p in zip(variables, places, strict=True))
    if len(variables) == 1 and variables[0].domain.interval and len(variables[0].shape) == len(batch) + 1:
        low = _low(raw[0, 0], variables[0], places[0], batch)
        if low is not None:
            return Curvature(batch, named, low, True)
    parts = [_part(raw[a, b], variables[a], variables[b], places[a], places[b], batch) for a, b in raw if raw[a, b]]
    return Curvature(batch, named, tuple(parts))


def _meeting(terms: Sequence[Term], names: set[str]) -> int:
    """How many pairs of parameters stand in one term: each leaves a product at least, but where it is linear."""
    met = {n: set[str]() for n in names}
    for t in terms:
        held = names & {n for f in t.factors if not isinstance(f, x.El) for n in x.variables(f)}
        for n in held:
            met[n] |= held
    return (sum(map(len, met.values())) + len(names)) // 2


def kinked(terms: Sequence[Term], names: Collection[str]) -> bool:
    """Whether some of these parameters stand inside what has a kink."""
    inside = (f for t in terms for e in t.factors for f in x.walk(e) if isinstance(f, x.Fn) and f.name in KINKED)
    return any(not x.variables(f).isdisjoint(names) for f in inside)


def _right_axes(w: m.Variable) -> tuple[Ix, ...]:
    return tuple(Ix(f"{w.name}_{n}'", str(d)) for n, d in enumerate(w.shape))


def _second(terms: Sequence[Term], v: m.Variable, w: m.Variable, most: int) -> list[_Raw]:
    """The products of one second derivative; no more are made when there are more than `most`."""
    out: list[_Raw] = []
    left, right = axes_of(v), _right_axes(w)
    for t in terms:
        if not any(v.name in x.variables(f) for f in t.factors) or not any(w.name in x.variables(f) for f in t.factors):
            continue
        for one, first, sums in _slopes(t.factors, v.name):
            for two, both, more in _slopes(first, w.name):
                c, factors = x.split_number(x.mul(x.Num(t.coef), *both))
                if len(out) > most:
                    return out
                if c != 0:
                    out.append(_placed(x.Num(c), factors, (one, two), (left, right), (*t.ixs, *sums, *more)))
    return out


def _slopes(factors: Sequence[Expr], name: str) -> list[tuple[tuple[Idx, ...], tuple[Expr, ...], tuple[Ix, ...]]]:
    """The product rule: for each occurrence its index, the other factors with the cofactor, the new sums."""
    out = []
    for i, f in enumerate(factors):
        for leaf, p, sums in partials(f, name):
            if p != x.ZERO:
                rest = [g for j, g in enumerate(factors) if j != i]
                out.append((leaf.idx, tuple(g for g in (*x.factors_of(p), *rest) if g != x.ONE), sums))
    return out


def _placed(
    c: Expr, body: Expr, idx: tuple[tuple[Idx, ...], tuple[Idx, ...]],
    axes: tuple[tuple[Ix, ...], tuple[Ix, ...]], ixs: tuple[Ix, ...],
) -> _Raw:  # fmt: skip
    """The product on the axes of both elements: positions that are one index, or one value of data, are tied."""
    first, second = idx
    ties = {(d, e) for e, j in enumerate(second) for d, i in enumerate(first) if i == j and not isinstance(i, int)}
    by_data = {e: d for d, e in sorted(ties, reverse=True) if isinstance(second[e], DataIx)}
    free = [e for e in range(len(second)) if e not in by_data]
    to, extra = _to_axes((*first, *(second[e] for e in free)), (*axes[0], *(axes[1][e] for e in free)))
    tied = [x.delta(axes[0][d], axes[1][e]) for e, d in by_data.items()]
    factors = tuple(x.substitute(g, to) for g in x.factors_of(body) if g != x.ONE)
    return _Raw(
        c,
        (*factors, *(x.substitute(place(e), to) for e in extra), *tied),
        tuple(i for i in ixs if i not in to),
        frozenset(ties),
    )


def _batch(raw: dict[tuple[int, int], list[_Raw]], variables: Sequence[m.Variable]) -> list[tuple[int, ...]]:
    """For each parameter the positions of its batch axes, in one order: those tied in every product of every pair."""
    shapes = [tuple(map(str, v.shape)) for v in variables]
    shapes = [
        s[: len(s) - len(v.domain.dims)] if v.domain.structured else s for s, v in zip(shapes, variables, strict=True)
    ]
    places: list[tuple[int, ...]] = [() for _ in variables]
    for d, dim in enumerate(shapes[0]):
        chosen: list[int] = []
        for w, shape in enumerate(shapes):
            fits = (
                e for e in range(len(shape))
                if shape[e] == dim and e not in places[w] and all(
                    all((c, e) in r.ties for r in raw[u, w]) for u, c in enumerate([*chosen, e])
                )
            )  # fmt: skip
            found = d if w == 0 and all((d, d) in r.ties for r in raw[0, 0]) else next(fits, None) if w else None
            if found is None:
                break
            chosen.append(found)
        else:
            places = [(*p, c) for p, c in zip(places, chosen, strict=True)]
    return places


def _part(
    raw: Sequence[_Raw], v: m.Variable, w: m.Variable, at: tuple[int, ...], to: tuple[int, ...], batch: tuple[Ix, ...]
) -> Part:
    left, right = axes_of(v), _right_axes(w)
    renamed: dict[Ix, Idx] = dict(zip((left[d] for d in at), batch, strict=True))
    renamed |= dict(zip((right[e] for e in to), batch, strict=True))
    axes = (*batch, *(i for i in left if i not in renamed), *(j for j in right if j not in renamed))
    products = []
    for r in raw:
        factors = tuple(f for f in (x.substitute(g, renamed) for g in r.factors) if f != x.ONE)
        products.append(Product(r.coef, factors, r.ixs))
    return Part(v.name, w.name, axes, tuple(products))


def _low(raw: Sequence[_Raw], v: m.Variable, at: tuple[int, ...], batch: tuple[Ix, ...]) -> tuple[Part, ...] | None:
    """A diagonal, and what is the same for all pairs of elements; None where a product is neither."""
    (own,) = (d for d in range(len(v.shape)) if d not in at)
    tied = [r for r in raw if (own, own) in r.ties]
    whole = _part([r for r in raw if r not in tied], v, v, at, at, batch)
    pair = whole.axes[len(batch) :]
    if any(i in x.free(f) for p in whole.products for f in p.factors for i in pair):
        return None
    diagonal = _part(tied, v, v, at, at, batch)
    products = tuple(
        replace(p, factors=tuple(f for f in p.factors if not (isinstance(f, Delta) and {f.a, f.b} == set(pair))))
        for p in diagonal.products
    )
    merged = tuple(replace(p, factors=tuple(x.substitute(f, {pair[1]: pair[0]}) for f in p.factors)) for p in products)
    return Part(v.name, v.name, (*batch, pair[0]), merged), Part(v.name, v.name, batch, whole.products)
