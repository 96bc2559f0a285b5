"""Sums of components as products of matrices: `sum_d a[d] M[d, d'] b[d']` is `aᵀ M b`.

    a product of factors, each with at most two open places, joined by summed indices in pairs,
    is a set of paths: from an open row to an open column, between two vectors, or round (a trace)

Only the own axes of vectors and matrices are written so; plates stay sums. None means that an
expression has no such form, and its components are shown instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr, Idx, Ix
from emdsl.report import formula as f
from emdsl.report.conditions import of_rows
from emdsl.report.formula import Formula
from emdsl.report.indices import Names, in_order
from emdsl.report.pieces import GLYPHS
from emdsl.report.structured import paired
from emdsl.report.writer import Writer

T = f.Word("T")
IDENTITY = f.Word("I")
UNIT = f.Word("e")  # a unit vector


LONGEST = 24  # sums of one product: beyond that they are not put in an order


@dataclass(frozen=True)
class Product:
    """`number * prod(factors)` summed over `sums`."""

    number: Fraction | float
    factors: tuple[Expr, ...]
    sums: tuple[Ix, ...]


def flatten(e: Expr) -> Product | None:
    """Nested sums and products as one; None where an index would be bound twice."""
    c, rest = x.split_number(e)
    factors: list[Expr] = []
    sums: list[Ix] = []
    for p in x.factors_of(rest):
        match p:
            case x.Sum(ix, body):
                inner = flatten(body)
                if inner is None or ix in sums or set(inner.sums) & {*sums, ix}:
                    return None
                c = c * inner.number
                factors += inner.factors
                sums += [ix, *inner.sums]
            case x.Pow(base, x.Num(v)) if v == 2 and sums:
                factors += [base, base]
            case x.Num():
                c = c * p.value
            case _:
                factors.append(p)
    squared = [p for p in factors if isinstance(p, x.Pow) and p.exponent == x.num(2) and set(x.free(p)) & set(sums)]
    for p in squared:
        if isinstance(p, x.Pow):
            at = factors.index(p)
            factors[at : at + 1] = [p.base, p.base]
    return Product(c, tuple(factors), tuple(sums))


def tensor(t: Writer, e: Expr, places: tuple[Ix, ...], names: Names) -> Formula | None:
    """The expression as a vector (one open place) or a matrix (two), written without its open indices."""
    match e:
        case El():
            return _element(t, e, places, names)
        case x.MatInv(at=at):
            if len(places) == 2 and set(at) == set(places):
                return f.Raised(t.matrix(e, names), f.Number("-1"))
            return None
        case x.Delta(a, b) if {a, b} == set(places) and len(places) == 2:
            return IDENTITY
        case x.Delta(a, b) if len(places) == 1 and places[0] in (a, b) and (isinstance(a, int) or isinstance(b, int)):
            return f.At(UNIT, (f.Number(str(a if isinstance(a, int) else b)),))
        case x.Add():
            met = t.joined(e)
            return _sum(t, met, places, names) if isinstance(met, x.Add) else tensor(t, met, places, names)
        case x.Fn("E", (inner, *given)):
            whole = tensor(t, inner, places, names)
            return None if whole is None else t.mean(whole, given, names)
        case x.Mul(factors) if (found := _on_diagonal(t, factors, places, names)) is not None:
            return found
        case x.Mul() | x.Sum():
            return chain(t, e, places, names)
        case x.Choose(at, options) if places and at == places[0]:
            return _listed(t, options, places[1:], names)
    return None


def _listed(t: Writer, items: Sequence[Expr], places: tuple[Ix, ...], names: Names) -> Formula | None:
    """A literal vector, or matrix of literal rows, by its entries."""
    if not places:
        return f.Rows(tuple((t.of(e, names),) for e in items))
    rows = [e.options for e in items if isinstance(e, x.Choose) and e.at == places[0]]
    return f.Rows(tuple(tuple(t.of(e, names) for e in row) for row in rows)) if len(rows) == len(items) else None


def _on_diagonal(t: Writer, factors: Sequence[Expr], places: tuple[Ix, ...], names: Names) -> Formula | None:
    """`[q = q'] / v[q]` as `diag(v)⁻¹`, with what holds neither index before it."""
    same = [p for p in factors if isinstance(p, x.Delta) and {p.a, p.b} == {*places}]
    entry = [p for p in factors if p not in same and {*places} & {*x.free(p)}]
    at = {i for p in entry for i in x.free(p) if i in places}
    if len(places) != 2 or len(same) != 1 or len(at) != 1:
        return None
    before = x.mul(*(p for p in factors if p not in same and p not in entry))
    whole = _diagonal(t, x.mul(*entry), at.pop(), names)
    return whole if whole is None or before == x.ONE else f.times(t.of(before, names), whole)


def _diagonal(t: Writer, entry: Expr, at: Ix, names: Names) -> Formula | None:
    """A diagonal matrix by its entries, or its inverse."""
    inverse = isinstance(entry, x.Pow) and entry.exponent == x.num(-1)
    inner = entry.base if isinstance(entry, x.Pow) and inverse else entry
    base = tensor(t, inner, (at,), names)
    if base is None:  # numbers of a plate, which are no vector of the model's: by one of them
        base = t.of(inner, t.letters.extend(names, (at,)))
    matrix = f.Apply(f.Word("diag"), (base,))
    return f.Raised(matrix, f.Number("-1")) if inverse else matrix


def _middle(t: Writer, factors: Sequence[Expr], i: Ix) -> int | None:
    """Which factor of `sum_d A[d, q] v[d] b[d]` is a diagonal matrix: a vector between a matrix and something else."""
    at = [k for k, p in enumerate(factors) if i in x.free(p)]
    if len(at) != 3:
        return None
    inner = {k: p.base if isinstance(p, x.Pow) and p.exponent == x.num(-1) else p for k, p in enumerate(factors)}
    bare = [k for k in at if isinstance(e := inner[k], El) and t.own(e) == 1 and e.idx[-1] == i]
    found = next((k for k in bare if isinstance(factors[k], x.Pow)), bare[0] if bare else None)
    others = [factors[k] for k in at if k != found]
    if found is None or not all(isinstance(e, El | x.Add) and _in_own(t, e, i) for e in others):
        return None
    return found if any(isinstance(e, El) and t.own(e) == 2 for e in others) else None


def _with_diagonals(t: Writer, tensors: Sequence[Expr], joined: Sequence[Ix]) -> tuple[list[Expr], list[Ix]]:
    """The index of a diagonal matrix becomes two."""
    out, indices = list(tensors), list(joined)
    for i in joined:
        k = _middle(t, out, i)
        if k is None:
            continue
        twin = x.fresh(i.dim)
        other = next(n for n in reversed(range(len(out))) if n != k and i in x.free(out[n]))
        out[other] = x.substitute(out[other], {i: twin})
        out[k] = x.Mul((x.Delta(i, twin), out[k]))
        indices.append(twin)
    return out, indices


def _element(t: Writer, e: El, places: tuple[Ix, ...], names: Names) -> Formula | None:
    own = t.own(e)
    own = 1 if own == 2 and len(places) == 1 else own  # a row of a matrix is a vector
    lead, slots = e.idx[: len(e.idx) - own], e.idx[len(e.idx) - own :]
    if any(i in x.free(El("", lead)) for i in places):
        return None
    base = t.named(e, lead, names)
    if tuple(slots) == places:
        return base
    if tuple(reversed(slots)) == places and len(places) == 2:
        return base if e.var in t.known.pairs else f.Raised(base, T)
    return None


def _sum(t: Writer, e: x.Add, places: tuple[Ix, ...], names: Names) -> Formula | None:
    parts: list[tuple[bool, Formula]] = []
    for term in e.terms:
        c, rest = x.split_number(term)
        part = tensor(t, x.mul(x.Num(-c if c < 0 else c), rest), places, names)
        if part is None:
            return None
        parts.append((c < 0, part))
    return t.plus(parts)


def _rows_alone(t: Writer, e: Product) -> Product:
    """A sum over parents and their rows as one over the rows: each knows its parent, or data point at it."""
    for p in e.factors:
        if not isinstance(p, x.Sel) or not isinstance(p.at, Ix) or p.at not in e.sums:
            continue
        if of_rows(p.of) or (isinstance(p.of, El) and p.of.var in t.known.indices):
            own: dict[Ix, Idx] = {p.at: x.as_index(p.of)}
            factors = tuple(x.substitute(q, own) for q in e.factors if q is not p)
            return _rows_alone(t, Product(e.number, factors, tuple(i for i in e.sums if i != p.at)))
    return e


def chain(t: Writer, e: Expr, places: tuple[Ix, ...], names: Names) -> Formula | None:
    """A product as matrices in order; sums over plates stand before it."""
    flat = flatten(e)
    if flat is None or len(flat.sums) > LONGEST:
        return None
    flat = _rows_alone(t, flat)
    diagonal = {i for i in flat.sums if _middle(t, flat.factors, i) is not None}
    apart = [i for i in flat.sums if i not in diagonal]
    plates = tuple(i for i in apart if any(i in x.free(p) and not _in_own(t, p, i) for p in flat.factors))
    joined = tuple(i for i in flat.sums if i not in plates)
    if not joined and not places:
        return None
    plates = tuple(in_order(plates, flat.factors))
    inner = t.letters.extend(names, plates)
    open_ = {*joined, *places}
    tensors = [p for p in flat.factors if open_ & set(x.free(p))]
    scalars = [p for p in flat.factors if not open_ & set(x.free(p))]
    pieces = paths(t, tensors, joined, places, inner)
    if pieces is None:
        return None
    held = [p for p in scalars if set(plates) & set(x.free(p))]
    seen = [p for p in held if t.filters(p, plates)]
    body = beside(t.of(x.mul(*(p for p in held if p not in seen)), inner), pieces)
    seen += paired(t, held, plates)
    outside = t.of(x.mul(x.Num(flat.number), *(p for p in scalars if p not in held)), names)
    return beside(outside, [t.big(plates, seen, body, inner)])


def beside(scalar: Formula, pieces: Sequence[Formula]) -> Formula:
    """A scalar before a product of matrices; what is below the line stays there."""
    match scalar:
        case f.Over(f.Number(above), f.Number(below)):
            if below in map(str, GLYPHS):
                return f.over(scalar, f.times(*pieces))
            return f.Over(f.times(f.Number(above), *pieces), f.Number(below))
        case f.Over(top, bottom):
            return f.Over(f.times(top, *pieces), bottom)
        case f.Plus(((True, positive),)):
            return f.Plus(((True, beside(positive, pieces)),))
    return f.times(scalar, *pieces)


def _in_own(t: Writer, e: Expr, i: Ix) -> bool:
    """Whether an index stands in an expression at the own axes of its elements alone."""
    for n in x.walk(e):
        match n:
            case El(idx=idx):
                own = t.own(n)
                if any(i in x.free(El("", (p,))) for p in idx[: len(idx) - own]):
                    return False
                if any(isinstance(p, x.DataIx) and i in x.free(p.value) for p in idx):
                    return False
            case x.Val() if n.ix == i:
                return False
            case x.Sel() if n.at == i or i in x.free(n.of):
                return False
            case x.Fn("E"):
                continue  # a mean of products: what it holds is looked at by itself
            case x.Fn() | x.Pow() | x.Where() if i in x.free(n):
                return False
    return True


def paths(
    t: Writer, tensors: Sequence[Expr], joined: Sequence[Ix], places: tuple[Ix, ...], names: Names
) -> list[Formula] | None:
    """The factors in order along their shared indices: open paths first, then scalars."""
    tensors, joined = _with_diagonals(t, tensors, joined)
    traces = [p for p in tensors if _traced(t, p, joined, tensors)]
    tensors = [p for p in tensors if p not in traces]
    joined = [i for i in joined if any(i in x.free(p) for p in tensors)]
    open_ = {*joined, *places}
    ends = [[i for i in x.free(p) if i in open_] for p in tensors]
    count = {i: sum(i in own for own in ends) for i in open_}
    if any(len(own) > 2 for own in ends) or any(count[i] != 2 for i in joined) or any(count[i] != 1 for i in places):
        return None
    left = list(range(len(tensors)))
    out: list[Formula] = []
    if places:
        first = _walk(t, tensors, ends, left, places[0], names)
        if first is None:
            return None
        factors, end = first
        if len(places) == 2 and end != places[1]:
            if end is not None:
                return None
            second = _walk(t, tensors, ends, left, places[1], names, back=True)
            if second is None or second[1] is not None:
                return None
            row, *rest = second[0]
            factors = [*factors, f.Raised(row, T), *rest]
        elif len(places) == 1 and end is not None:
            return None
        out += factors
    scalars: list[Formula] = [f.Apply(f.Word("tr"), (_matrix_of(t, p, names),)) for p in traces]
    while left:
        closed = _scalar(t, tensors, ends, left, names)
        if closed is None:
            return None
        scalars.append(closed)
    return [*scalars, *out]


def _traced(t: Writer, p: Expr, joined: Sequence[Ix], tensors: Sequence[Expr]) -> bool:
    """Whether a factor is an element of a matrix's diagonal that nothing else of the sum holds."""
    at = p.at if isinstance(p, x.MatInv) else p.idx[-2:] if isinstance(p, El) and t.own(p) == 2 else ()
    if len(at) != 2 or at[0] != at[1] or at[0] not in joined:
        return False
    return sum(at[0] in x.free(q) for q in tensors) == 1


def _matrix_of(t: Writer, p: Expr, names: Names) -> Formula:
    """The matrix that a factor is an element of."""
    if isinstance(p, x.MatInv):
        return f.Raised(t.matrix(p, names), f.Number("-1"))
    assert isinstance(p, El)
    return t.named(p, p.idx[:-2], names)


def _walk(
    t: Writer, tensors: Sequence[Expr], ends: list[list[Ix]], left: list[int], at: Ix, names: Names, back: bool = False
) -> tuple[list[Formula], Ix | None] | None:
    """Factors from an index on, until a vector (end None) or an index that nothing else holds; `back`: as rows, the
    last of them first."""
    out: list[Formula] = []
    here: Ix = at
    while True:
        k = next((n for n in left if here in ends[n]), None)
        if k is None:
            return out, here
        left.remove(k)
        others = [i for i in ends[k] if i != here]
        part = tensor(t, tensors[k], (*others, here) if back else (here, *others), names)
        if part is None:
            return None
        out.insert(0 if back else len(out), part)
        if not others:
            return out, None
        here = others[0]


def _scalar(t: Writer, tensors: Sequence[Expr], ends: list[list[Ix]], left: list[int], names: Names) -> Formula | None:
    """A path between two vectors, `aᵀ M b`, or round, `tr(M N)`."""
    k = next((n for n in left if len(ends[n]) == 1), None)
    if k is not None:
        start = ends[k][0]
        left.remove(k)
        row = tensor(t, tensors[k], (start,), names)
        rest = _walk(t, tensors, ends, left, start, names)
        if row is None or rest is None or rest[1] is not None:
            return None
        return f.times(f.Raised(row, T), *rest[0])
    k = next((n for n in left if isinstance(tensors[n], x.MatInv)), left[0])  # `tr(K A S Aᵀ)`, the precision first
    left.remove(k)
    a, b = ends[k] if len(ends[k]) == 2 else (ends[k][0], ends[k][0])
    matrix = tensor(t, tensors[k], (a, b), names)
    rest = _walk(t, tensors, ends, left, b, names)
    if matrix is None or rest is None or rest[1] != a:
        return None
    return f.Apply(f.Word("tr"), (f.times(matrix, *rest[0]),))
