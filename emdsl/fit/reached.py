"""Which cases of latents that are known to lie somewhere some row of the data has: those of no row need not be planned.

A censored time whose condition was never seen to fail has no lower tail, which no family would take up.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce

import numpy as np

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr, Ix
from emdsl.derive.algebra.made import PRESENT
from emdsl.families.scope import Array
from emdsl.runtime.data.binding import Bound

Cases = Mapping[tuple[str, int], Expr]
_COMPARED = {
    "eq": np.equal, "ne": np.not_equal, "gt": np.greater, "ge": np.greater_equal, "lt": np.less, "le": np.less_equal,
    "and": np.logical_and, "or": np.logical_or, "min": np.minimum, "max": np.maximum,
}  # fmt: skip


def of_no_row(cases: Cases, bound: Bound) -> tuple[tuple[str, int], ...]:
    """The cases of which the condition, 1 or 0 in data, holds nowhere; one that is not understood may hold."""
    return tuple(case for case, condition in cases.items() if not _holds_somewhere(condition, bound))


def _holds_somewhere(condition: Expr, bound: Bound) -> bool:
    axes = sorted(x.free(condition), key=str)
    try:
        return bool(np.any(_value(condition, axes, bound)))
    except (KeyError, NotImplementedError, ValueError):
        return True


def _value(e: Expr, axes: list[Ix], bound: Bound) -> Array:
    """The value at every element, an axis for each index. Raises NotImplementedError for other ones."""

    def value(e: Expr) -> Array:
        return _value(e, axes, bound)

    match e:
        case x.Num(v):
            return np.asarray(float(v))
        case El(name, idx) if all(isinstance(i, Ix) for i in idx):
            return _placed(_array(name, bound), idx, axes)
        case x.Add(parts):
            return reduce(np.add, map(value, parts))
        case x.Mul(parts):
            return reduce(np.multiply, map(value, parts))
        case x.Fn("not", (a,)):
            return np.logical_not(value(a))
        case x.Fn(fn, (a, b)) if fn in _COMPARED:
            found: Array = _COMPARED[fn](value(a), value(b))
            return found
        case x.Where(condition, then, other):
            return np.where(value(condition), value(then), value(other))
    raise NotImplementedError


def _array(name: str, bound: Bound) -> Array:
    if name not in PRESENT:
        return bound.values[name]
    mask = bound.masks[PRESENT.named(name)]
    return np.ones(bound.values[PRESENT.named(name)].shape, bool) if mask is None else np.asarray(mask)


def _placed(a: Array, idx: tuple[object, ...], axes: list[Ix]) -> Array:
    """An array whose axes are these indices, each where it stands among all."""
    places = [axes.index(i) for i in idx if isinstance(i, Ix)]
    if a.ndim != len(places) or len(set(places)) < len(places):
        raise NotImplementedError
    ordered = np.transpose(a, np.argsort(places))
    return ordered.reshape([ordered.shape[sorted(places).index(k)] if k in places else 1 for k in range(len(axes))])
