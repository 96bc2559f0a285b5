"""Products under sums: selectors to gathers and segment sums, then pairwise, cheapest first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from string import ascii_letters

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import Expr, Ix
from emdsl.generate.lines.arrays import Array, Lines
from emdsl.generate.lines.spelling import Binding

MANY = 8  # operands: beyond this, those on the same axes are multiplied before an order is looked for
ROWS, LEVELS = 100_000, 10  # typical lengths, by class: they only rank the orders of a contraction


def contract(em: Lines, factors: list[Expr], out: tuple[Ix, ...]) -> Array:
    """prod(factors) summed over all indices outside `out`.

    A selector `sel[n, g]` of data whose g is summed turns g into `data[n]` in the other factors (a
    gather); one whose g is wanted turns the sum over n into a sum by segments.
    """
    kept: list[Expr] = []
    scatter: list[tuple[Expr, Ix]] = []
    work = [p for f in factors for p in em.parts(f)]
    while work:
        f = work.pop(0)
        if isinstance(f, x.Sel | x.Delta):
            of = f.of if isinstance(f, x.Sel) else x.value_of(f.a)
            at = f.at if isinstance(f, x.Sel) else f.b
            if isinstance(f, x.Delta) and isinstance(f.a, Ix) and f.a not in out:
                of, at = x.value_of(f.b), f.a
            summed = at not in out and not any(i in out for i in x.free(of))
            shared = summed and isinstance(at, Ix) and at.dim.endswith("[patterns]")  # few: rows are added up by them
            one_row = isinstance(at, Ix) and at.dim == em.chunk and not x.free(of)  # a chunk has it or has it not
            if isinstance(at, Ix) and at not in out and at not in x.free(of) and not shared and not one_row:
                place = x.as_index(of)
                work = [x.substitute(g, {at: place}) for g in work]
                kept = [x.substitute(g, {at: place}) for g in kept]
                scatter = [(x.substitute(o, {at: place}), s) for o, s in scatter]
                if not any(_carries(g, of) for g in (*work, *kept)) and x.free(of):
                    kept.append(x.fn("eq", of, of)) if not isinstance(of, x.Val) else None
                continue
            if isinstance(at, Ix) and isinstance(f, x.Sel) and not any(i in out for i in x.free(of)) and x.free(of):
                if not any(s == at for _, s in scatter):
                    scatter.append((of, at))
                    continue
        kept.append(f)
    # a delta met later may have led a code to an index that is wanted: then it is no sum over it
    kept += [x.sel(of, at) for of, at in scatter if any(i in out for i in x.free(of))]
    scatter = [(of, at) for of, at in scatter if not any(i in out for i in x.free(of))]
    kept, scatter = _gathered(kept, scatter, out)
    if scatter:
        return _scattered(em, kept, scatter, out)
    return _pairwise(em, [em.value(f) for f in kept], out)


def _gathered(
    factors: list[Expr], scatter: list[tuple[Expr, Ix]], out: tuple[Ix, ...]
) -> tuple[list[Expr], list[tuple[Expr, Ix]]]:
    """Factors in which a segment's index stands beside rows of the segments, read at its code: `[code[n] = p] f[p, n]`
    is that of `f[code[n], n]`. A segment that is summed, and that no factor carries any more, is none."""
    rows = {i for of, _ in scatter for i in x.free(of)}
    for of, at in scatter:
        place = x.as_index(of)
        factors = [x.substitute(g, {at: place}) if at in x.free(g) and rows & {*x.free(g)} else g for g in factors]
    left = [(of, at) for of, at in scatter if at in out or any(at in x.free(g) for g in factors)]
    for of, at in scatter:
        if (of, at) not in left and not any(_carries(g, of) for g in factors):
            factors.append(x.fn("eq", of, of))
    return factors, left


def _carries(g: Expr, of: Expr) -> bool:
    return all(i in x.free(g) for i in x.free(of))


def _scattered(em: Lines, factors: list[Expr], scatter: list[tuple[Expr, Ix]], out: tuple[Ix, ...]) -> Array:
    """Sums by segments: rows with equal codes are added into the place of the code."""
    targets = tuple(s for _, s in scatter)
    codes = [_code(em, of, s) for of, s in scatter]
    rows = em.order([i for c in codes for i in c.axes])
    rest = tuple(i for i in out if i not in targets)
    free_factors = [f for f in factors if not any(i in x.free(f) for i in rows)]
    row_factors = [f for f in factors if f not in free_factors]
    shared = {i for f in free_factors for i in x.free(f)}
    inner_out = (
        *(
            i
            for i in em.order([j for f in row_factors for j in x.free(f)])
            if (i in rest or i in shared) and i not in rows
        ),
        *rows,
    )
    if row_factors:
        values = em.broadcast(_pairwise(em, [em.value(f) for f in row_factors], inner_out), inner_out)
    else:
        shape = ", ".join(em.length(i) for i in rows)
        values = Array(f"np.ones(({shape},))", inner_out)
    code = em.align(codes[0], rows) if len(codes) == 1 else ""
    size = em.size(targets[0].dim)
    if len(codes) > 1:
        code = em.align(codes[0], rows)
        for c, t in zip(codes[1:], targets[1:], strict=True):
            code = f"({code}) * {em.size(t.dim)} + {em.align(c, rows)}"
            size = f"{size} * {em.size(t.dim)}"
    lead = inner_out[: len(inner_out) - len(rows)]
    if len(rows) > 1:
        text = f"segment_sum_nd({values.code}, {code}, {size}, {len(rows)})"
    else:
        text = f"segment_sum({values.code}, {code}, {size})"
    if len(targets) > 1:
        shape = ", ".join(em.size(t.dim) for t in targets)
        text += f".reshape(*{_shape_of(em, lead)}{shape})" if lead else f".reshape({shape})"
    inner = values.inner or any(c.inner for c in codes)
    summed = em.name("sums", Array(text, (*lead, *targets), inner))
    if not inner and any(t.dim == em.chunk for t in targets):  # of all rows the chunk's own
        cut = ", ".join(em.namer.cut if i.dim == em.chunk else ":" for i in summed.axes)
        summed = Array(f"{summed.code}[{cut}]", summed.axes, True)
    return _pairwise(em, [summed, *(em.value(f) for f in free_factors)], out)


def _code(em: Lines, of: Expr, target: Ix) -> Array:
    """The integer codes of a segment sum; computed ones are kept in range (a branch not taken may leave it)."""
    value = em.value(of)
    if isinstance(of, x.El):
        return value
    return em.name(
        "codes", Array(f"np.clip({value.code}, 0, {em.size(target.dim)} - 1).astype(np.int64)", value.axes, value.inner)
    )


def _shape_of(em: Lines, lead: tuple[Ix, ...]) -> str:
    return "(" + ", ".join(em.length(i) for i in lead) + ",), " if lead else ""


def _pairwise(em: Lines, arrays: Sequence[Array], out: tuple[Ix, ...]) -> Array:
    """Operands multiplied two at a time; an index is summed as soon as nobody else carries it."""
    scalars = [a for a in arrays if not a.axes]
    work = [a for a in arrays if a.axes]
    if len(work) > MANY:
        work = _folded(em, work)
    while True:
        work = [_sum_alone(em, a, [*work[:n], *work[n + 1 :]], out) for n, a in enumerate(work)]
        scalars += [a for a in work if not a.axes]
        work = [a for a in work if a.axes]
        if len(work) < 2:
            break
        carried = Counter(i for a in work for i in set(a.axes))
        i, j = min(_candidates(work), key=lambda p: _cost(em, work, p, out, carried))
        pair = _pair(em, work[i], work[j], _needed(work, (i, j), out))
        rest = [a for n, a in enumerate(work) if n not in (i, j)]
        if not pair.inner and any(a.inner for a in rest):
            pair = em.name("part", pair)  # once, outside the loop
        work = [*rest, pair]
    result = _times(scalars, work[0] if work else None)
    missing = [i for i in out if i not in result.axes]
    wanted = tuple(i for i in out if i not in missing)
    if result.axes != wanted:
        result = Array(em.transposed(result, wanted), wanted, result.inner)
    return result


def _folded(em: Lines, work: Sequence[Array]) -> list[Array]:
    """Operands on the same axes multiplied first: with many of them, no order is worth looking for."""
    out: dict[tuple[Ix, ...], Array] = {}
    for a in work:
        out[a.axes] = _pair(em, out[a.axes], a, set(a.axes)) if a.axes in out else a
    return list(out.values())


def _candidates(work: Sequence[Array]) -> list[tuple[int, int]]:
    """The pairs of which one is multiplied next; with very many operands those that share an axis, if any do."""
    if len(work) <= MANY:
        return list(combinations(range(len(work)), 2))
    carriers: dict[Ix, list[int]] = {}
    for n, a in enumerate(work):
        for i in a.axes:
            carriers.setdefault(i, []).append(n)
    few = (ns for ns in carriers.values() if len(ns) <= MANY)
    found = sorted({p for ns in few for p in combinations(ns, 2) if p[0] != p[1]})
    return found or list(combinations(range(len(work)), 2))


def _needed(work: Sequence[Array], pair: tuple[int, int], out: tuple[Ix, ...]) -> set[Ix]:
    return set(out).union(*(set(a.axes) for n, a in enumerate(work) if n not in pair))


def _sum_alone(em: Lines, a: Array, others: Sequence[Array], out: tuple[Ix, ...]) -> Array:
    shared = set(out).union(*(set(b.axes) for b in others))
    return em.reduce(a, [i for i in a.axes if i not in shared])


def _cost(
    em: Lines, work: Sequence[Array], pair: tuple[int, int], out: tuple[Ix, ...], carried: Counter[Ix]
) -> tuple[float, float, bool, bool, int]:
    """The size of the result, then of what is touched; of equals, what can be hoisted out of the loop goes first, then
    the square of a vector in every row: its rows stay next to each other."""
    a, b = work[pair[0]], work[pair[1]]
    union = set(a.axes) | set(b.axes)
    needed = {i for i in union if i in out or carried[i] > (i in a.axes) + (i in b.axes)}
    result, touched = 1.0, 1.0
    for i in union:
        size = ROWS if i.dim in em.rows else LEVELS
        touched *= size
        result *= size if i in needed else 1
    square = a.code == b.code and a.axes != b.axes
    return (result, touched, a.inner or b.inner, not square, pair[0])


def _pair(em: Lines, a: Array, b: Array, needed: set[Ix]) -> Array:
    gone = [i for i in a.axes if i in b.axes and i not in needed]
    batch = [i for i in a.axes if i in b.axes and i in needed]
    inner = a.inner or b.inner
    if not gone:
        axes = em.order([*a.axes, *b.axes])
        if len(axes) > max(len(a.axes), len(b.axes)) and len(b.axes) < len(a.axes):
            pass
        code = f"{em.align(a, axes)} * {em.align(b, axes)}"
        return em.name("part", Array(code, axes, inner, binds=Binding.PRODUCT))
    if not batch:
        left = tuple(i for i in a.axes if i not in gone)
        right = tuple(i for i in b.axes if i not in gone)
        if len(gone) == 1 and len(left) <= 1 and len(right) <= 1:
            return Array(
                f"{_last(em, a, gone[0])} @ {_first(em, b, gone[0])}", (*left, *right), inner, binds=Binding.PRODUCT
            )
        if not left and not right:
            return Array(f"np.vdot({a.code}, {em.transposed(b, a.axes)})", (), inner)
        pairs = f"({[a.axes.index(i) for i in gone]}, {[b.axes.index(i) for i in gone]})"
        made = Array(f"np.tensordot({a.code}, {b.code}, {pairs})", (*left, *right), inner)
        return em.name("part", made) if em.once and any(i.dim in em.rows for i in made.axes) else made
    matrix, vector = _turned(a, gone), b
    if vector.symmetric or not matrix.axes[-1:] == tuple(gone):
        matrix, vector = _turned(b, gone), a
    axes = em.order([i for i in (*a.axes, *b.axes) if i not in gone])
    if len(gone) == 1 and matrix.axes == (*axes, *gone) and vector.axes == (*axes[:-1], *gone):
        return Array(f"({matrix.wrapped} @ {vector.wrapped}[..., None])[..., 0]", axes, inner)
    if a.axes == b.axes and not inner:  # few numbers, for which einsum takes longer to begin
        places = ", ".join(str(a.axes.index(i)) for i in gone)
        where = places if len(gone) == 1 else f"({places})"
        return Array(f"({a.wrapped} * {b.wrapped}).sum(axis={where})", tuple(i for i in a.axes if i in axes), inner)
    letters = {i: ascii_letters[n] for n, i in enumerate(dict.fromkeys((*a.axes, *b.axes)))}
    spec = ",".join("".join(letters[i] for i in v.axes) for v in (a, b)) + "->" + "".join(letters[i] for i in axes)
    return Array(f'np.einsum("{spec}", {a.code}, {b.code})', axes, inner)


def _turned(a: Array, gone: Sequence[Ix]) -> Array:
    """A matrix with the axis that is summed last, where it can be had: a symmetric one is read either way."""
    if a.symmetric and list(a.axes[-2:-1]) == gone:
        return replace(a, axes=(*a.axes[:-2], a.axes[-1], a.axes[-2]))
    return a


def _last(em: Lines, a: Array, ix: Ix) -> str:
    return em.transposed(a, (*(i for i in a.axes if i != ix), ix))


def _first(em: Lines, a: Array, ix: Ix) -> str:
    return em.transposed(a, (ix, *(i for i in a.axes if i != ix)))


def _times(scalars: Sequence[Array], value: Array | None) -> Array:
    parts = [s for s in scalars if s.code != "1"]
    inner = any(s.inner for s in scalars)
    if value is None:
        if not parts:
            return Array("1.0", ())
        if len(parts) == 1:
            return parts[0]
        return Array(_join(parts), (), inner, binds=Binding.PRODUCT)
    if not parts:
        return value
    return Array(_join([*parts, value]), value.axes, inner or value.inner, binds=Binding.PRODUCT)


def _join(parts: Sequence[Array]) -> str:
    """a * b / c, with a leading minus in front of all."""
    if parts[0].code == "-1":
        return "-" + _join(parts[1:])
    text = parts[0].wrapped if " " in parts[0].code else parts[0].code  # a negative number, too
    for p in parts[1:]:
        below = p.code.startswith("1 / ") and p.binds is Binding.PRODUCT  # a sum may begin with a reciprocal, too
        text += f" / {p.code[4:]}" if below else f" * {p.wrapped}"
    return text
