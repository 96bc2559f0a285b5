"""Sums of components as products of matrices: `sum_d a[d] M[d, d'] b[d']` is `aᵀ M b`.

    a product of factors, each with at most two open places, joined by summed indices in pairs,
    is a set of paths: from an open row to an open column, between two vectors, or round (a trace)

Only the own axes of vectors and matrices are written so; plates stay sums. None means that an
expression has no such form, and its components are shown instead.
"""

from __future__ import annotations

from collections.abc import Sequence

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr, Ix
from emdsl.report import formula as f
from emdsl.report.flat import flatten, in_own, middle, rows_alone, with_diagonals, with_own_sums
from emdsl.report.formula import Formula
from emdsl.report.indices import Names, in_order
from emdsl.report.pieces import GLYPHS
from emdsl.report.structured import paired
from emdsl.report.sums import taken_out
from emdsl.report.writer import Writer

T = f.Word("T")
IDENTITY = f.Word("I")
UNIT = f.Word("e")  # a unit vector


LONGEST = 24  # sums of one product: beyond that they are not put in an order


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
            return chain(t, e, places, names) or _scaled(t, e, places, names) or _its_diagonal(t, e, places, names)
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
    return whole if whole is None or before == x.ONE else beside(t.of(before, names), [whole])


def _diagonal(t: Writer, entry: Expr, at: Ix, names: Names) -> Formula | None:
    """A diagonal matrix by its entries, or its inverse."""
    inverse = isinstance(entry, x.Pow) and entry.exponent == x.num(-1)
    inner = entry.base if isinstance(entry, x.Pow) and inverse else entry
    base = tensor(t, inner, (at,), names)
    if base is None:  # numbers of a plate, which are no vector of the model's: by one of them
        base = t.of(inner, t.letters.extend(names, (at,)))
    matrix = f.Apply(f.Word("diag"), (base,))
    return f.Raised(matrix, f.Number("-1")) if inverse else matrix


def _scaled(t: Writer, e: Expr, places: tuple[Ix, ...], names: Names) -> Formula | None:
    """`a[d] M[d, d'] b[d']` as `diag(a) M diag(b)`."""
    flat = flatten(e)
    if flat is None or len(places) != 2:
        return None
    sides = [[p for p in flat.factors if _entry(t, p, i)] for i in places]
    rest = [p for p in flat.factors if p not in sides[0] and p not in sides[1]]
    outside = [p for p in rest if not {*flat.sums, *places} & {*x.free(p)}]
    inner = x.totals(flat.sums, x.mul(*(p for p in rest if p not in outside)))
    if not any(sides) or not {*places} <= {*x.free(inner)}:
        return None
    row, column = ([tensor(t, x.mul(*own), (i,), names)] if own else [] for own, i in zip(sides, places, strict=True))
    parts = [*row, tensor(t, inner, places, names), *column]
    found = [p for p in parts if p is not None]
    if len(found) < len(parts):
        return None
    at = len(row)
    scaled = [p if n == at else f.Apply(f.Word("diag"), (p,)) for n, p in enumerate(found)]
    return beside(t.of(x.mul(x.Num(flat.number), *outside), names), scaled)


def _entry(t: Writer, e: Expr, i: Ix) -> bool:
    """Whether a factor is an entry of a vector at this place."""
    return isinstance(e, El) and t.own(e) == 1 and e.idx[-1] == i


def _its_diagonal(t: Writer, e: Expr, places: tuple[Ix, ...], names: Names) -> Formula | None:
    """A path that ends where it began, `sum_q A[d, q] B[q, d]` with an inverse in it: the diagonal of `A B`."""
    flat = flatten(with_own_sums(e)) if len(places) == 1 else None
    held = [n for n, p in enumerate(flat.factors) if places[0] in x.free(p)] if flat is not None else []
    if flat is None or len(held) != 2 or not any(isinstance(flat.factors[n], x.MatInv) for n in held):
        return None
    twin = x.fresh(places[0].dim)
    factors = [p if n != held[1] else x.substitute(p, {places[0]: twin}) for n, p in enumerate(flat.factors)]
    outside = [p for p in factors if not {*flat.sums, *places, twin} & {*x.free(p)}]
    inner = x.totals(flat.sums, x.mul(*(p for p in factors if p not in outside)))
    whole = tensor(t, inner, (places[0], twin), names)
    if whole is None:
        return None
    return beside(t.of(x.mul(x.Num(flat.number), *outside), names), [f.Apply(f.Word("diag"), (whole,))])


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
    return t.plus(_one_map(t, e.terms, parts, places, names) if len(places) == 1 else parts)


def _one_map(
    t: Writer, terms: Sequence[Expr], parts: list[tuple[bool, Formula]], places: tuple[Ix, ...], names: Names
) -> list[tuple[bool, Formula]]:
    """`Cᵀ R⁻¹ y - Cᵀ R⁻¹ D u` as `Cᵀ R⁻¹ (y - D u)`: what the same matrices are applied to, together."""
    every = [_applied(t, term, places, names) for term in terms]
    for n, first in enumerate(every):
        same = [m for m, other in enumerate(every) if len(first) > 1 and other[:1] == first[:1] and len(other) > 1]
        if len(same) > 1 and n == same[0]:
            held = [every[m] for m in same]
            shared = next(
                k
                for k in range(1, len(first) + 1)
                if any(len(p) == k + 1 or p[: k + 1] != first[: k + 1] for p in held)
            )
            inside = tuple((parts[m][0] != parts[n][0], f.times(*every[m][shared:])) for m in same)
            whole = parts[n][0], f.times(*first[:shared], f.Plus(inside))
            return [whole if m == n else p for m, p in enumerate(parts) if m == n or m not in same]
    return parts


def _applied(t: Writer, term: Expr, places: tuple[Ix, ...], names: Names) -> list[Formula]:
    """The matrices and the vector of a product that is nothing else; of any other term nothing."""
    c, rest = x.split_number(term)
    flat = flatten(rest) if abs(c) == 1 else None
    if flat is None or len(flat.sums) > LONGEST:
        return []
    flat = rows_alone(t, flat)
    if any(not {*flat.sums, *places} & {*x.free(p)} for p in flat.factors):
        return []
    pieces = paths(t, list(flat.factors), flat.sums, places, names)
    return pieces if pieces is not None and len(pieces) == len(flat.factors) else []  # else some close to a number


def chain(t: Writer, e: Expr, places: tuple[Ix, ...], names: Names) -> Formula | None:
    """A product as matrices in order; sums over plates stand before it."""
    flat = flatten(e)
    if flat is None or len(flat.sums) > LONGEST:
        return None
    flat = rows_alone(t, flat)
    diagonal = {i for i in flat.sums if middle(t, flat.factors, i) is not None}
    apart = [i for i in flat.sums if i not in diagonal]
    plates = tuple(i for i in apart if any(i in x.free(p) and not in_own(t, p, i) for p in flat.factors))
    joined = tuple(i for i in flat.sums if i not in plates)
    if not joined and not places:
        return None
    plates = tuple(in_order(plates, flat.factors))
    inner = t.letters.extend(names, plates)
    open_ = {*joined, *places}
    tensors = [p for p in flat.factors if open_ & set(x.free(p))]
    alone = [p for p in flat.factors if not open_ & set(x.free(p))]
    scalars = [q for p in alone for q in (x.factors_of(taken_out(p.terms)) if isinstance(p, x.Add) else (p,))]
    pieces = paths(t, tensors, joined, places, inner)
    if pieces is None:
        return None
    held = [p for p in scalars if set(plates) & set(x.free(p))]
    seen = [p for p in held if t.filters(p, plates)]
    body = beside(t.of(x.mul(*(p for p in held if p not in seen)), inner), pieces)
    seen += paired(t, held, plates)
    rest = [p for p in scalars if p not in held]
    whole = x.Mul((x.Num(flat.number), *rest)) if len(rest) == 1 and flat.number != 1 else None  # `½ (a + b)` stays so
    outside = t.of(x.mul(x.Num(flat.number), *rest) if whole is None else whole, names)
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


def paths(
    t: Writer, tensors: Sequence[Expr], joined: Sequence[Ix], places: tuple[Ix, ...], names: Names
) -> list[Formula] | None:
    """The factors in order along their shared indices: open paths first, then scalars."""
    tensors, joined = with_diagonals(t, tensors, joined)
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
    counts = {s: scalars.count(s) for s in scalars}  # `aᵀ b aᵀ b` is a square
    return [*(s if n == 1 else f.Raised(s, f.Number(str(n))) for s, n in counts.items()), *out]


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
        *between, last = rest[0]
        turned = [m.base for m in reversed(between) if isinstance(m, f.Raised) and m.exponent == T]
        if between and len(turned) == len(between):  # `bᵀ M a`, not `aᵀ Mᵀ b`
            return f.times(f.Raised(last, T), *turned, row)
        return f.times(f.Raised(row, T), *rest[0])
    k = next((n for n in left if isinstance(tensors[n], x.MatInv)), left[0])  # `tr(K A S Aᵀ)`, the precision first
    left.remove(k)
    a, b = ends[k] if len(ends[k]) == 2 else (ends[k][0], ends[k][0])
    matrix = tensor(t, tensors[k], (a, b), names)
    rest = _walk(t, tensors, ends, left, b, names)
    if matrix is None or rest is None or rest[1] != a:
        return None
    return f.Apply(f.Word("tr"), (f.times(matrix, *rest[0]),))
