"""A numpy interpreter of typed expressions: the meaning of the language, with no algebra in it.

Rows are evaluated side by side. Every value carries a leading batch axis of length 1 or the
number of rows, then its own axes. Only the branch taken is evaluated: `if`, `and` and `or` split
the rows. Nothing is shared with `emdsl.derive`; tests hold the two against each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, assert_never

import numpy as np

from emdsl.families.functions import ELEMENTWISE, VECTOR_FUNCTIONS, multiply, power
from emdsl.families.scope import Array, Lengths, Scope, Uneven, fail, length, lift, own_shape, scatter, split_rows
from emdsl.language.model import (
    Call,
    Dim,
    Each,
    Expr,
    If,
    Index,
    Let,
    Loop,
    Num,
    Pi,
    Ragged,
    SizeOf,
    Stack,
    SumOver,
    Var,
)

BIG = 2**62  # no bound: a ragged axis is checked where its rows are known


# ---------------------------------------------------------------- expressions


def rows_of(e: Expr, s: Scope) -> Array:
    """The value per row: shape (1 or count, *own axes). Splits the rows where ragged lengths differ."""
    with np.errstate(all="ignore"):
        return _grouped(e, s)


def _grouped(e: Expr, s: Scope) -> Array:
    try:
        return _rows(e, s)
    except Uneven as uneven:
        n = np.broadcast_to(length(uneven.size, s), (s.count,))
        if e.shape:
            raise
        groups = [np.flatnonzero(n == v) for v in np.unique(n)]
        return scatter(groups, [_grouped(e, s.take(g)) for g in groups], s.count)


def evaluate(
    expr: Expr,
    values: Mapping[str, Any],
    sizes: Mapping[str, int] | None = None,
    *,
    loops: Mapping[str, int] | None = None,
    lets: Mapping[str, Let] | None = None,
    lengths: Mapping[str, Any] | None = None,
) -> Array:
    """One value of a typed expression.

    `values` are arrays as declared, `loops` the positions of the loop names it speaks of, `lengths`
    per ragged size the length of each parent row. Raises DataError where an index is out of range.
    """
    at = {k: np.array([v]) for k, v in (loops or {}).items()}
    ragged = {k: Lengths.of(v) for k, v in (lengths or {}).items()}
    stack = tuple((k, Dim.of(1)) for k in at)
    arrays = {k: np.asarray(v) for k, v in values.items()}
    return np.asarray(rows_of(expr, Scope(arrays, sizes or {}, lets or {}, ragged, at, {}, stack))[0])


def _rows(e: Expr, s: Scope) -> Array:
    match e:
        case Num(number):
            return np.array([number if isinstance(number, int) else float(number)])
        case Pi():
            return np.array([np.pi])
        case Var():
            return _variable(e, s)
        case Loop(name):
            return s.loops[name]
        case SizeOf(size):
            return length(size, s)
        case Index():
            return _index(e, s)
        case Call():
            return _call(e, s)
        case If():
            return _if(e, s)
        case Stack(items):
            parts = [_rows(i, s) for i in items]
            n = max(p.shape[0] for p in parts)
            return np.stack([np.broadcast_to(p, (n, *p.shape[1:])) for p in parts], 1)
        case Each(name, size, body):
            inner, _ = s.enter(name, size)
            value = _rows(body, inner)
            k = own_shape((size,), s)[0]
            return np.broadcast_to(value, (s.count * k, *value.shape[1:])).reshape(s.count, k, *value.shape[1:])
        case SumOver():
            return _sum_over(e, s)
        case _:
            assert_never(e)


def _variable(e: Var, s: Scope) -> Array:
    if e.name in s.local:
        return s.local[e.name]
    if e.name in s.lets:
        return _let(s.lets[e.name], (), s)
    _watch(e.name, (), s)
    point = s.points(e.name)
    return s.values[e.name][None] if point is None else s.values[e.name][point]


def _let(let: Let, index: tuple[Array, ...], s: Scope) -> Array:
    """The let's body with its loops at `index`; whole axes for the loops that are left."""
    names = [p.index for p in let.plates]
    loops = dict(zip(names, (np.broadcast_to(i, (s.count,)) for i in index), strict=False))
    stack = tuple((p.index, p.size) for p in let.plates[: len(index)])
    inner = replace(s, loops=loops, stack=stack, local={})
    shape: list[int] = []
    for plate in let.plates[len(index) :]:
        shape.extend(own_shape((plate.size,), inner))
        inner, _ = inner.enter(plate.index, plate.size)
    value = _grouped(let.body, inner)
    if not shape:
        return value
    rows = s.count * int(np.prod(shape))
    return np.broadcast_to(value, (rows, *value.shape[1:])).reshape(s.count, *shape, *value.shape[1:])


def _index(e: Index, s: Scope) -> Array:
    args = [_integers(a, s) for a in e.args]
    if isinstance(e.base, Var) and e.base.name in s.lets and e.base.name not in s.local:
        let = s.lets[e.base.name]
        k = min(len(args), len(let.plates))
        for a, arg, plate in zip(args, e.args, let.plates, strict=False):
            _in_range(a, plate.size.value(s.sizes) if isinstance(plate.size, Dim) else BIG, e, arg)
        base = _let(let, tuple(args[:k]), s)
        return _gather(base, args[k:], e, s)
    if isinstance(e.base, Var) and e.base.name not in s.local:
        axes = e.base.shape
        last = max((i for i, a in enumerate(axes) if isinstance(a, Ragged)), default=-1)
        if last >= 0:
            return _index_ragged(e, e.base, args, last, s)
        _watch(e.base.name, tuple(args), s)
        return _gather_named(e.base.name, args, e, s)
    return _gather(_rows(e.base, s), args, e, s)


def _index_ragged(e: Index, base: Var, args: list[Array], last: int, s: Scope) -> Array:
    axes, array = base.shape, s.values[base.name]
    row: Array = np.zeros(1, np.int64)
    for k, (axis, i) in enumerate(zip(axes[: last + 1], args, strict=False)):
        if isinstance(axis, Dim):
            _in_range(i, axis.value(s.sizes), e, e.args[k])
            row = row * axis.value(s.sizes) + i
        else:
            table = s.ragged[axis.name]
            _in_range(i, table.lengths[row], e, e.args[k])
            row = table.start[row] + i
    if len(args) > last:
        _watch(base.name, (row, *args[last + 1 :]), s)
        return _gather_named(base.name, [row, *args[last + 1 :]], e, s)
    if len(args) < last:
        raise fail(f"`{base.name}` needs {last} indices or more, for its last plate is ragged", e.span)
    ragged = e.shape[0]  # by the loop that stands here, not by that of the declaration
    assert isinstance(ragged, Ragged)
    table = s.ragged[ragged.name]
    n = np.unique(table.lengths[row])
    if len(n) > 1:
        raise Uneven(ragged)
    rows = table.start[row][:, None] + np.arange(int(n[0]) if len(n) else 0)
    _watch(base.name, (rows,), s)
    point = s.points(base.name)
    return np.asarray(array[rows] if point is None else array[point[:, None], rows])


def _watch(name: str, index: tuple[Array, ...], s: Scope) -> None:
    """Tells who watches that these rows read these elements."""
    if s.watch is not None and name in s.watch.known and s.row is not None:
        s.watch.mark(name, index, s)


def _integers(a: Expr, s: Scope) -> Array:
    value = _rows(a, s)
    if value.dtype.kind not in "iu":
        whole = np.where(np.isfinite(value), value, -1).astype(np.int64)
        if np.any(whole != value):
            raise fail("an index must be an integer", a.span)
        value = whole
    return value


def _in_range(i: Array, n: Any, e: Index, arg: Expr) -> None:
    bad = (i < 0) | (i >= n)
    if bad.any():
        at = int(np.flatnonzero(np.broadcast_to(bad, np.broadcast_shapes(np.shape(bad), (1,))))[0])
        value = int(np.broadcast_to(i, np.shape(bad) or (1,))[at])
        most = int(np.broadcast_to(n, np.shape(bad) or (1,))[at])
        raise fail(f"index {value} is outside 0..{most - 1}", arg.span, "indices start at 0 and never wrap")


def _gather_named(name: str, args: list[Array], e: Index, s: Scope) -> Array:
    """The same of an array among the values, which may have one value at each point."""
    base, point = s.values[name], s.points(name)
    if point is None:
        return _gather(base[None], args, e, s)
    for k, i in enumerate(args):
        _in_range(i, base.shape[1 + k], e, e.args[k] if k < len(e.args) else e)
    rank = max((i.ndim for i in args), default=1)
    at = (i.reshape(-1, *(1,) * (rank - 1)) if i.ndim == 1 else i for i in (point, *args))
    return np.asarray(base[tuple(at)])


def _gather(base: Array, args: list[Array], e: Index, s: Scope) -> Array:
    """base[b, args[b]...] per row b."""
    for k, i in enumerate(args):
        _in_range(i, base.shape[1 + k], e, e.args[k] if k < len(e.args) else e)
    if not args:
        return base
    if all(i.ndim == 1 for i in args):  # numpy stretches single numbers by itself
        return np.asarray(base[0][tuple(args)] if base.shape[0] == 1 else base[(np.arange(base.shape[0]), *args)])
    if base.shape[0] == 1:
        n = max(len(i) for i in args)
        return np.asarray(base[0][tuple(np.broadcast_to(i, (n,)) if i.ndim == 1 else i for i in args)])
    rows = np.arange(base.shape[0])
    return np.asarray(base[(rows, *(np.broadcast_to(i, rows.shape) for i in args))])


def _if(e: If, s: Scope) -> Array:
    cond = _rows(e.cond, s)
    if cond.ndim > 1:
        return np.where(cond != 0, _rows(e.then, s), _rows(e.other, s))
    return split_rows(cond, s, lambda inner: _grouped(e.then, inner), lambda inner: _grouped(e.other, inner))


def _sum_over(e: SumOver, s: Scope) -> Array:
    inner, old = s.enter(e.index, e.size)
    if e.cond is not None:
        keep = np.flatnonzero(np.broadcast_to(_rows(e.cond, inner) != 0, (inner.count,)))
        inner, old = inner.take(keep), old[keep]
    shape = own_shape(e.shape, s)
    if not inner.count:
        return np.zeros((s.count, *shape))
    value = _grouped(e.body, inner)
    value = np.broadcast_to(value, (inner.count, *value.shape[1:]))
    out = np.zeros((s.count, *value.shape[1:]), value.dtype)
    np.add.at(out, old, value)
    return out


# ---------------------------------------------------------------- operators and functions


def _call(e: Call, s: Scope) -> Array:
    if e.fn in ("and", "or"):
        return _connective(e, s)
    if e.fn in ("eye", "zeros", "ones"):
        shape = own_shape(e.shape, s)
        return np.eye(shape[0])[None] if e.fn == "eye" else np.full((1, *shape), 1.0 if e.fn == "ones" else 0.0)
    if e.fn == "log1p" and isinstance(e.args[0], Call) and e.args[0].fn == "exp":
        return np.logaddexp(0, _rows(e.args[0].args[0], s))  # log(1 + exp(v)) without overflow
    ranks = [len(a.shape) for a in e.args]
    values = [_rows(a, s) for a in e.args]
    if e.fn in ("min", "max") and len(values) == 1:
        axes = tuple(range(1, values[0].ndim))
        return np.asarray(values[0].min(axes) if e.fn == "min" else values[0].max(axes))
    if e.fn in VECTOR_FUNCTIONS:
        return np.asarray(VECTOR_FUNCTIONS[e.fn](*values, *ranks))
    rank = max(ranks, default=0)
    values = [lift(v, r, rank) for v, r in zip(values, ranks, strict=True)]
    if e.fn == "mul":
        return multiply(*values)
    if e.fn == "pow":
        return power(*values)
    out = ELEMENTWISE[e.fn](*values[:2])
    for v in values[2:]:  # add, mul, min and max of more than two
        out = ELEMENTWISE[e.fn](out, v)
    return np.asarray(out)


def _connective(e: Call, s: Scope) -> Array:
    """Left to right, and no further than the answer needs."""
    stop = e.fn == "or"
    if e.shape:
        decide = np.logical_or if stop else np.logical_and
        first, *others = (_rows(a, s) for a in e.args)
        rank = len(e.shape)
        for other in others:
            first, other = (v.reshape(*v.shape, *[1] * (rank + 1 - v.ndim)) for v in (first, other))
            first = decide(first, other)
        return first.astype(np.int64)
    out = _rows(e.args[0], s) != 0
    for arg in e.args[1:]:
        done = np.broadcast_to(out == stop, (s.count,))
        if done.all():
            break
        rest = np.flatnonzero(~done)
        full = done & stop
        full[rest] = _rows(arg, s.take(rest)) != 0
        out = full
    return np.asarray(out).astype(np.int64)
