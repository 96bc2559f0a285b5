"""Bound data as generated code keeps them: rows last and contiguous, in chunks, centred, missing entries marked."""

# mypy: disable-error-code="no-any-return"
# (operators on arrays of any dtype, and all of scipy, are Any to mypy)

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from emdsl.runtime.data.columns import Array, refuse_where
from emdsl.runtime.data.faults import DataError
from emdsl.runtime.numeric.numerics import WIDEST, triangle


def chunks(n: int, size: int) -> list[slice]:
    """Slices of `size` rows that cover n rows."""
    return [slice(a, min(a + size, n)) for a in range(0, n, size)]


def within_reach(latents: str, states: Sequence[int], lag: int = 0, gates: Sequence[int] = ()) -> None:
    """Refuses too large a table over the states of latents that meet, of the `lag` elements before, and of gates."""
    own = math.prod(states)
    entries = own ** (lag + 1) * math.prod(gates)
    if entries > WIDEST:
        text = f"{' x '.join(map(str, states))} = {own}" if len(states) > 1 else str(own)
        behind = f", and as many for {'the one' if lag == 1 else f'each of the {lag}'} before it" if lag else ""
        inside = f", inside {math.prod(gates)} states of others" if gates else ""
        raise DataError(
            f"{latents}: an element has {text} states{behind}{inside}: summing over them exactly takes a table of "
            f"{entries:.3g} entries (at most {WIDEST} are allowed)",
            hint="fewer states, or fewer latents that meet in one density",
            code="D016",
        )


def row_count(rows: slice | Array) -> int:
    """How many rows a slice or an array of row numbers stands for."""
    return rows.stop - rows.start if isinstance(rows, slice) else len(rows)


MOST_ENTRIES = 2**21  # of a table beside rows that a pass over the data makes


def in_pieces(chunks: Sequence[slice | Array], *tables: int) -> Sequence[slice | Array]:
    """Chunks of rows, cut where tables of so many numbers for each row were large."""
    most = max(1, MOST_ENTRIES // max(tables))
    if all(row_count(rows) <= most for rows in chunks):
        return chunks
    out: list[slice | Array] = []
    for rows in chunks:
        starts = range(0, row_count(rows), most)
        whole = range(rows.start, rows.stop) if isinstance(rows, slice) else rows
        parts = [whole[a : a + most] for a in starts]
        out += [slice(p.start, p.stop) if isinstance(p, range) else p for p in parts]
    return out


def row_numbers(rows: slice | Array) -> Array:
    """The numbers of the rows that a slice or an array of them stands for."""
    return np.arange(rows.start, rows.stop) if isinstance(rows, slice) else rows


def added_up(make: Callable[[Mapping[str, Any], slice], dict[str, Any]], prepared: Mapping[str, Any]) -> dict[str, Any]:
    """Sums over the rows of every chunk, together."""
    first, *others = [make(prepared, rows) for rows in prepared["the chunks"]] or [make(prepared, slice(0, 0))]
    for more in others:
        first = {name: first[name] + value for name, value in more.items()}
    return first


def cached_features(
    prepared: Mapping[str, Any], make: Callable[[Mapping[str, Any], slice], Array], numbers: int
) -> dict[Any, Array]:
    """Features of every chunk, where all of them together are small (64 MB); else none: they are made each time."""
    if numbers * 8 > 64e6:
        return {}
    return {(make.__name__, rows.start, rows.stop): make(prepared, rows) for rows in prepared["the chunks"]}


def fold(
    masks: Sequence[Array | None], heights: Sequence[int], kept: Sequence[int], parts: Sequence[Any]
) -> Array | None:
    """M with features = M @ fewer features, where nothing is missing; None with gaps.

    Feature i has heights[i] rows; parts[i] are (number, j) for each feature j left, of kept[j] rows, whose multiples
    add up to it: row by row, one row for all, or the pairs i <= j for all pairs.
    """
    if any(m is not None for m in masks):
        return None
    out = np.zeros((sum(heights), sum(kept)))
    rows, columns = np.cumsum([0, *heights]), np.cumsum([0, *kept])
    for i, found in enumerate(parts):
        for number, j in found:
            if kept[j] in (1, heights[i]):
                block = np.eye(heights[i]) if kept[j] == heights[i] else np.ones((heights[i], 1))
            else:
                block = np.eye(kept[j])[triangle(math.isqrt(heights[i]))[2].ravel()]
            out[rows[i] : rows[i + 1], columns[j] : columns[j + 1]] += number * block
    return out


def log_table(coefficients: Array, features: Array, matrix: Array | None) -> Array:
    """coefficients @ all features, which are matrix @ features: (states, rows).

    Logs of zero cancel between all features of a row, not between sums of their coefficients.
    """
    if matrix is None:
        return coefficients @ features
    if np.abs(coefficients).max(initial=0.0) < 1e100:
        return (coefficients @ matrix) @ features
    return coefficients @ (matrix @ features)


def unfolded(sums: Array, matrix: Array | None) -> Array:
    """Sums over all features, from those over the ones that are left."""
    return sums if matrix is None else sums @ matrix.T


def row_features(
    prepared: Mapping[str, Any], rows: slice | Array, make: Callable[[Mapping[str, Any], slice | Array], Array]
) -> Array:
    """The features of some rows: those kept at preparation, or made now."""
    kept = prepared["the features"].get((make.__name__, rows.start, rows.stop)) if isinstance(rows, slice) else None
    return make(prepared, rows) if kept is None else kept


def rows_last(values: Array, plates: int) -> Array:
    """An array with its leading plate axes moved to the end, the outermost last, contiguous."""
    order = (*range(plates, values.ndim), *range(1, plates), *range(min(plates, 1)))
    return np.array(np.transpose(values, order), order="C")


def plates_first(values: Array, plates: int) -> Array:
    """An array with its trailing plate axes moved to the front."""
    return np.moveaxis(values, range(-plates, 0), range(plates))


def stored(
    values: Array, mask: Array | None, kind: type, plates: int, reference: Array | None, gap: Any = 0.0
) -> Array:
    """Data as they are computed with: of one type, plates last, less their reference point, `gap` where missing.

    A gap adds 0 to sums of powers. Numbers above 0 have one so near 0 that it adds nothing, and logarithms and
    inverses of it, which are masked, are finite; so have matrices, a multiple of the identity.
    """
    order = (*range(plates, values.ndim), *range(1, plates), *range(min(plates, 1)))
    out: Array = np.array(values.transpose(order), dtype=kind, order="C")
    if reference is not None:
        out -= np.asarray(reference).reshape((*np.shape(reference), *(1,) * plates))
    if mask is not None:
        hidden = ~mask.transpose(order)
        out[hidden] = np.broadcast_to(gap, out.shape)[hidden] if np.ndim(gap) else gap
    return out


def inside(what: str, index: Array, length: Array, reached: Array) -> None:
    """Refuse data that lead an index off its axis where it is reached: indices start at 0 and never wrap."""
    index, length, reached = np.broadcast_arrays(index, length, reached)
    for bad, why in ((index < 0, "is below 0"), (index >= length, "is past the end")):
        hint = "indices start at 0 and never wrap; reach one only where it exists: `... if ... else ...`"
        refuse_where(what, bad & (reached != 0), index, why, hint=hint)


def without_gaps(mask: Array | None, name: str) -> None:
    """Refuses missing entries of data that other densities read: they would have to be latents of their rows."""
    if mask is not None:
        raise DataError(
            f"{name}: {int((~mask).sum())} entries are missing, but other densities read them",
            hint=f"write the module by model.complete(({name!r},)).write(path), or fit with emdsl: latents then",
            code="D009",
        )


def levels_within(name: str, bound: str, most: Array, axes: Mapping[str, int]) -> int:
    """How many values a bounded count takes where its bound differs by row: as many as the axis that it indexes has.

    Raises DataError where that is too short for the largest bound.
    """
    top = int(np.max(most, initial=0))
    for of, length in axes.items():
        if length <= top:
            text = (
                f"{name} takes {top + 1} values, since {bound} is {top} somewhere, but {of} has length {length} there"
            )
            raise DataError(text, code="D011")
    return max(axes.values(), default=top + 1)


def presence(
    mask: Array | None, shape: tuple[int, ...], plates: int, axes: int, name: str, line: int | None = None
) -> Array:
    """1.0 where present, over the first `axes` axes, plates last. The other axes are present together or not at all.

    line : where the density stands in the model.
    """
    if mask is None:
        order = (*range(plates, axes), *range(1, plates), *range(min(plates, 1)))
        one = np.ones(1)
        one.flags.writeable = False
        return np.ndarray([shape[i] for i in order], float, one, strides=[0 for _ in order])
    if mask.ndim > axes:
        own = tuple(range(axes, mask.ndim))
        some, every = np.asarray(mask.any(own)), np.asarray(mask.all(own))
        if (some != every).any():
            count, row = int((some != every).sum()), int(np.argwhere(some != every)[0][0])
            many = f"{count} elements are partly missing, the first" if count > 1 else "an element is partly missing,"
            raise DataError(
                f"{name}: {many} in row {row}; its density (line {line} of the model) is no sum over its cells",
                hint="of a Gaussian, shares, or counts of a known total, model.complete of emdsl integrates these out; "
                "drop other rows",
                row=row,
            )
        mask = every
    return rows_last(mask.astype(float), plates)


def centre(values: Array, mask: Array | None, own: int) -> Array:
    """The mean over all but the last `own` axes, missing entries left out; 0 where nothing is left."""
    axes = tuple(range(values.ndim - own))
    if mask is None:
        rows = math.prod(values.shape[: values.ndim - own])
        if own == 1 and 0 < rows <= 4096:  # numpy adds up an outer axis a row at a time
            return np.full(rows, 1 / rows).dot(values.reshape(rows, -1))
        return np.add.reduce(values, axes) / max(rows, 1)
    count = mask.sum(axes)
    return np.where(mask, values, 0.0).sum(axes) / np.maximum(count, 1)


def plane(values: Array, mask: Array | None, design: Array) -> Array:
    """The least-squares coefficients of data on a design, missing entries left out; any others would do too.

    values : (*plates), or of vectors (*plates, D). design : (*plates, P). Returns (P,), or (P, D).
    """
    vectors = values.ndim == design.ndim
    x = np.reshape(design, (-1, design.shape[-1]))
    y = np.reshape(values, (len(x), -1 if len(x) else math.prod(values.shape[values.ndim - vectors :])))
    kept = np.isfinite(y) if mask is None else np.reshape(mask, y.shape)
    out = np.zeros((x.shape[1], y.shape[1]))
    for d in range(y.shape[1]):
        some = kept[:, d]
        if x.shape[1] and some.any():
            out[:, d] = np.linalg.lstsq(x[some], y[some, d], rcond=None)[0]
    return out if vectors else out[:, 0]


def planes(values: Array, mask: Array | None, designs: Mapping[str, Array]) -> dict[str, Array]:
    """The same on several designs together, each (*plates) for one coefficient or (*plates, P) for P of them."""
    columns = [d[..., None] if d.ndim == values.ndim else d for d in designs.values()]
    found = plane(values, mask, np.concatenate(columns, axis=-1))
    out, start = {}, 0
    for (name, design), some in zip(designs.items(), columns, strict=True):
        end = start + some.shape[-1]
        out[name] = found[start:end] if design.ndim > values.ndim else found[start]
        start = end
    return out


def mixing(design: Array) -> Array:
    """U of T = I + U: what each column of a design (*plates, P) is measured from, in the rows of others; U U = 0.

    Beside a column of ones every other one is measured from its mean; beside indicators of groups, which add up to
    one, from its mean in each. Without either U is 0.
    """
    x = np.reshape(design, (-1, design.shape[-1]))
    out = np.zeros((x.shape[1], x.shape[1]))
    if not len(x):
        return out
    alike = (x == x[0]).all(axis=0)
    ones = np.flatnonzero(alike & (x[0] != 0))
    if len(ones):
        out[ones[0]] = np.where(alike, 0.0, -np.add.reduce(x, 0) / len(x) / x[0, ones[0]])
        return out
    groups = ((x == 0) | (x == 1)).all(axis=0) & ~alike
    if groups.any() and (x[:, groups].sum(axis=1) == 1).all():
        counts = x[:, groups].sum(axis=0)
        out[np.ix_(groups, ~groups & ~alike)] = -(x[:, groups].T @ x[:, ~groups & ~alike]) / counts[:, None]
    return out


def mixed(design: Array, held: Array) -> Array:
    """A design X + X U, as it is where U is 0; what U does not read of it keeps all its digits."""
    read = held.any(axis=1)
    return design + design[..., read] @ held[read] if read.any() else design


def data_scale(arrays: Sequence[Array]) -> float:
    """The smallest standard deviation of centred data, 1 where there is none: what rounding is measured against."""
    squares = [s / a.shape[-1] for a in arrays if a.size for s in np.add.reduce(a * a, -1).ravel().tolist()]
    return math.sqrt(min((s for s in squares if s > 0), default=1.0))
