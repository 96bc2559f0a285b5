"""Sizes that arrays determine: what the sampler needs where the user names only some of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from emdsl.errors import DataError, Problem
from emdsl.families.scope import Array
from emdsl.language.model import Dim, ModelText, Size, SizeDecl, Variable


def complete_sizes(model: ModelText, arrays: Mapping[str, Array], sizes: Mapping[str, int]) -> dict[str, int]:
    """All sizes: those given, then the axes of `arrays`, lengths equated by use, defaults (or the levels seen,
    where these are more), and levels seen.

    Raises DataError for a size that nothing determines and for an array whose axis disagrees.
    """
    known = dict(sizes)
    axes = list(axes_by_variable(model, arrays))
    facts = [(dim, n) for _, dim, n in axes]
    equal = [(a, b) for a, b, _ in model.equal_sizes if isinstance(a, Dim) and isinstance(b, Dim)]
    names = [s.name for s in model.sizes]
    levels = list(level_facts(model, arrays))
    while True:
        found = next((f for f in ((solve(d, n, known)) for d, n in facts) if f), None)
        found = found or next((f for a, b in equal if (f := equate(a, b, known))), None)
        found = found or next((f for d in model.sizes if (f := _default(d, levels, known))), None)
        found = found or next((f for d, n in levels if (f := solve(d, n, known))), None)
        if found is None:
            break
        known[found[0]] = found[1]
    ragged = {s.name for v in model.variables for s in v.shape if not isinstance(s, Dim)}
    lost = [n for n in names if n not in known and n not in ragged]
    if lost:
        span = next(s.span for s in model.sizes if s.name == lost[0])
        raise DataError(Problem("D052", f"the size {lost[0]} is not determined", span, f"give {lost[0]} in `sizes`"))
    for v, dim, n in axes:
        if set(dim.names) <= set(known) and dim.value(known) != n:
            message = f"`{v.name}`: an axis of length {dim} is {n} long, not {dim.value(known)}"
            hint = f"give `{v.name}` of that length in `data`" if v.kind == "given" else None
            raise DataError(Problem("D052", message, v.span, hint))
    return known


def _default(size: SizeDecl, levels: Sequence[tuple[Dim, int]], known: Mapping[str, int]) -> tuple[str, int] | None:
    """A size as its default has it, or as many as the levels seen, where these are more."""
    if size.name in known or size.default is None or not set(size.default.names) <= set(known):
        return None
    seen = (f[1] for dim, n in levels if (f := solve(dim, n, known)) and f[0] == size.name)
    return size.name, max([size.default.value(known), *seen])


def axes_by_variable(model: ModelText, arrays: Mapping[str, Array]) -> Iterator[tuple[Variable, Dim, int]]:
    """Each axis of an array: its variable, the length that the model gives it, its length."""
    for v in model.variables:
        if v.name in arrays:
            last = max((i for i, s in enumerate(v.shape) if not isinstance(s, Dim)), default=-1)
            axes: tuple[Size, ...] = v.shape[last + 1 :]
            shape = np.shape(arrays[v.name])
            if len(shape) != len(axes) + (last >= 0):
                raise DataError(
                    Problem("D052", f"`{v.name}` needs {len(axes) + (last >= 0)} axes, not {len(shape)}", v.span)
                )
            for axis, n in zip(axes, shape[last >= 0 :] if last >= 0 else shape, strict=True):
                if isinstance(axis, Dim):
                    yield v, axis, n


def level_facts(model: ModelText, arrays: Mapping[str, Array]) -> Iterator[tuple[Dim, int]]:
    """The least number of levels of each coded array; asked last, for it is a lower bound only."""
    for v in model.variables:
        if v.name in arrays and isinstance(v.domain.levels, Dim) and np.size(arrays[v.name]):
            yield v.domain.levels, int(np.nanmax(arrays[v.name])) + 1


def solve(dim: Dim, n: int, known: Mapping[str, int]) -> tuple[str, int] | None:
    """The one unknown size of `dim = n`, where there is exactly one and it stands alone in its terms."""
    unknown = [name for name in dim.names if name not in known]
    if len(unknown) != 1:
        return None
    name, total, factor = unknown[0], n, 0
    for names, coefficient in dim.terms:
        for other in names:
            coefficient *= known.get(other, 1)
        if names.count(name) > 1:
            return None
        factor, total = (factor + coefficient, total) if name in names else (factor, total - coefficient)
    return (name, total // factor) if factor and total % factor == 0 else None


def equate(a: Dim, b: Dim, known: Mapping[str, int]) -> tuple[str, int] | None:
    for this, other in ((a, b), (b, a)):
        if set(other.names) <= set(known):
            found = solve(this, other.value(known), known)
            if found:
                return found
    return None
