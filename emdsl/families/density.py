"""log p(x | arguments) of any family, by its kernel where it has one, else by its declared expression.

`x` is rows + event, where the event may have more axes than the family's own variate: the family
is then independent over the leading ones. Arguments are rows (or 1) + their own axes, with or
without these leading axes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from emdsl.families.evaluate import rows_of
from emdsl.families.kernels_vector import is_spd
from emdsl.families.scope import Array, Scope, lift, own_shape
from emdsl.families.table import form, record
from emdsl.language.model import Domain, Family


def arrange(family: Family, signature: int, args: Mapping[str, tuple[Array, int]], event_rank: int) -> list[Array]:
    """The arguments in the signature's order, each rows + (leading event axes) + own axes; one left out is absent.

    `args` gives each argument's rows and how many axes it has beyond them.
    """
    extra = event_rank - len(family.x.domain.dims)
    out = []
    for argument in family.signatures[signature].arguments:
        if argument.name in args:
            value, rank = args[argument.name]
            own = len(argument.domain.dims)
            leading = value.shape[1 : 1 + rank - own]
            shape = (value.shape[0], *(1,) * (extra - len(leading)), *leading, *value.shape[1 + rank - own :])
            out.append(value.reshape(shape))
    return out


def local_sizes(family: Family, signature: int, x: Array, args: list[Array]) -> dict[str, int]:
    """The family's own sizes, read off the trailing axes of x and of the arguments."""
    sizes: dict[str, int] = {}
    pairs = [(family.x.domain, x), *zip((a.domain for a in family.signatures[signature].arguments), args, strict=False)]
    for domain, value in pairs:
        for dim, n in zip(domain.dims, value.shape[value.ndim - len(domain.dims) :], strict=True):
            name = dim.name if hasattr(dim, "name") else None
            if name is not None:
                sizes.setdefault(name, n)
    return sizes


def log_density(
    family: Family, signature: int, x: Any, args: list[Array], *, sizes: Mapping[str, int] | None = None
) -> Array:
    """rows + leading event axes; `args` as `arrange` returns them. -inf outside the support."""
    x = np.asarray(x)
    by = form(family, signature)
    known = record(family)
    if by is None or known is None:
        return expression_log_density(family, signature, x, args, sizes=sizes)
    with np.errstate(all="ignore"):
        if by.log_density is not None:
            return np.asarray(by.log_density(x, *args))
        own = len(family.x.domain.dims)
        event = x.shape[x.ndim - own :]
        if by.canonical is not None:
            args = list(by.canonical(*args, event) if by.event else by.canonical(*args))
        return np.asarray(known.kernel.log_density(x, *args))


def expression_log_density(
    family: Family, signature: int, x: Any, args: list[Array], *, sizes: Mapping[str, int] | None = None
) -> Array:
    """The declared expression at x, and -inf outside the declared domain."""
    x = np.asarray(x)
    scope, batch = density_scope(family, signature, x, args, sizes)
    body = family.signatures[signature].log_density
    inside = np.broadcast_to(contains(family.x.domain, scope.local[family.x.name], scope), (scope.count,))
    rows = np.flatnonzero(inside)
    out = np.full(scope.count, -np.inf)
    if len(rows):
        out[rows] = rows_of(body, scope.take(rows))
    return out.reshape(batch)


def density_scope(
    family: Family, signature: int, x: Array, args: list[Array], sizes: Mapping[str, int] | None = None
) -> tuple[Scope, tuple[int, ...]]:
    """A scope with x and the arguments per flattened row, and the batch shape to go back to."""
    domains = [family.x.domain, *(a.domain for a in family.signatures[signature].arguments)]
    names = [family.x.name, *(a.name for a in family.signatures[signature].arguments)]
    arrays = [x, *args]
    ranks = [len(d.dims) for d in domains]
    batches = [v.shape[: v.ndim - r] for v, r in zip(arrays, ranks, strict=False)]
    batch = np.broadcast_shapes(*batches)
    local = {}
    for name, value, rank in zip(names, arrays, ranks, strict=False):
        own = value.shape[value.ndim - rank :]
        local[name] = np.broadcast_to(value, (*batch, *own)).reshape(-1, *own)
    numbers = dict(sizes or {}) | local_sizes(family, signature, x, args)
    return Scope(sizes=numbers, local=local, count=int(np.prod(batch, dtype=int))), batch


def limits(domain: Domain, s: Scope) -> tuple[Array, Array]:
    """The ends of a scalar domain, per row."""
    low, high = (np.array([v]) for v in domain.ends)
    if domain.lower is not None:
        low = np.maximum(low, rows_of(domain.lower, s))
    if domain.upper is not None:
        high = np.minimum(high, rows_of(domain.upper, s))
    if domain.levels is not None:
        high = np.minimum(high, own_shape((domain.levels,), s)[0] - 1)
    return low, high


def contains(domain: Domain, x: Array, s: Scope) -> Array:
    """Whether each row of x (rows + the domain's own axes) is in the domain; ends of intervals belong to it."""
    own = tuple(range(1, x.ndim))
    if not domain.structured:
        low, high = (lift(v, 0, x.ndim - 1) for v in limits(domain, s))
        good = (x >= low) & (x <= high)
        if domain.discrete:
            good &= np.floor(x) == x
        return np.asarray(good.all(own) if own else good)
    return np.asarray(CONSTRAINTS[domain.kind](x.astype(float)))


# On rows + own axes.
CONSTRAINTS: Mapping[str, Callable[[Array], Any]] = {
    "simplex": lambda x: (x >= 0).all(-1) & (np.abs(x.sum(-1) - 1) < 1e-6),
    "spd": is_spd,
    "correlation": lambda x: is_spd(x) & (np.abs(np.diagonal(x, axis1=-2, axis2=-1) - 1) < 1e-9).all(-1),
    "ordered": lambda x: (np.diff(x, axis=-1) > 0).all(-1),
    "zero_sum": lambda x: np.abs(x.sum(-1)) < 1e-9 * (1 + np.abs(x).sum(-1)),
}
