"""Arrays over plates: axes against declared sizes, and ragged plates as one flat axis."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from emdsl.runtime.data.columns import Array, Column, read_column, refuse_where, stack_columns
from emdsl.runtime.data.faults import DataError
from emdsl.runtime.data.sizes import Equation, ragged_name, size_value

Record = Mapping[str, Any]  # one variable of a SPEC


class Ragged(NamedTuple):
    """The rows of a ragged plate `T[s]`, one flat axis over all its parents.

    `lengths` and `start` (first flat row) per parent row; `row` (parent) and `position` (t) per flat row.
    """

    lengths: Array
    row: Array
    position: Array
    start: Array


def read_lengths(name: str, data: Any) -> Array:
    column = read_column(f"lengths of {name}", data)
    if (
        column.text
        or column.missing is not None
        or column.values.ndim != 1
        or (column.values < 0).any()
        or (column.values % 1 != 0).any()
    ):
        raise DataError(f"the lengths of {name} must be whole numbers, 0 or more, one for each parent", code="D007")
    return column.values.astype(np.int64)


def read_all(
    variables: Mapping[str, Record], data: Mapping[str, Any], lengths: Mapping[str, Array]
) -> tuple[dict[str, Column], list[Equation], dict[str, Array]]:
    """Every variable as a column of its flat shape, what its axes say of sizes, and lengths per parent row."""
    columns: dict[str, Column] = {}
    equations: list[Equation] = []
    counts: dict[str, tuple[Array, str]] = {n: (a, "lengths") for n, a in lengths.items()}
    for name, value in data.items():
        plates = [p[1] for p in variables[name]["plates"]]
        depth = max((i + 1 for i, size in enumerate(plates) if ragged_name(size)), default=0)
        if depth == 0:
            column, axes = read_column(name, value), [*plates, *variables[name]["array"], *variables[name]["event"]]
        else:
            if hasattr(value, "tocsr") and len(plates) == depth == 2 and variables[name].get("levels"):
                levels, width = variables[name]["levels"], str(value.shape[1])
                value = _tokens(name, value.tocsr())
                if levels != width:
                    equations.append(Equation(levels, width, f"the columns of {name}"))
            column, seen = unnest(name, value, plates[:depth], lengths)
            axes = ["", *plates[depth:], *variables[name]["array"], *variables[name]["event"]]
            for size, count in seen:
                _agree(name, size, count, counts, equations)
            if column.values.size == 0 and column.values.ndim < len(axes):
                column = Column(column.values.reshape(len(column.values), *[0] * (len(axes) - 1)))
                axes = [""]
        if column.values.ndim != len(axes) and axes != [""]:
            raise _wrong_rank(
                name, column.values.shape, [*plates, *variables[name]["array"], *variables[name]["event"]]
            )
        columns[name] = column
        equations += [
            Equation(axis, str(column.values.shape[i]), f"axis {i} of {name}")
            for i, axis in enumerate(axes)
            if axis and axis != str(column.values.shape[i])
        ]
    found = {n: c for n, (c, _) in counts.items()}
    for variable in variables.values():
        _refuse_unlike([n for p in variable["plates"] if (n := ragged_name(p[1]))], found)
    return columns, equations, found


def _refuse_unlike(nested: Sequence[str], lengths: Mapping[str, Array]) -> None:
    """Raise DataError where a ragged plate inside another has no length for each of its rows."""
    for k, inner in enumerate(nested[1:]):
        if inner not in lengths or nested[k] not in lengths:
            continue
        rows, count = int(lengths[nested[k]].sum()), len(lengths[inner])
        if count % rows if rows else count:
            raise DataError(f"the lengths of {inner} are {count}, but {nested[k]} has {rows} rows", code="D007")


def _tokens(name: str, counts: Any) -> list[Array]:
    """A sparse table of counts, a row for each parent and a column for each level, as lists of levels."""
    number = np.asarray(counts.data, float)
    if (number < 0).any() or (number % 1 != 0).any():  # not-a-number too
        raise DataError(f"{name}: a sparse table must hold counts, whole numbers of 0 or more", code="D003")
    levels = np.repeat(counts.indices.astype(np.int64), number.astype(np.int64))
    row = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
    size = np.bincount(row, weights=number, minlength=counts.shape[0]).astype(np.int64)
    return np.split(levels, np.cumsum(size)[:-1])


def _wrong_rank(name: str, shape: tuple[int, ...], declared: Sequence[str]) -> DataError:
    wanted = "(" + ", ".join(declared) + ("," if len(declared) == 1 else "") + ")"
    hint = None
    if not shape:
        hint = f"pass a list or an array, with one entry for each of {declared[0]}"
    elif len(shape) + 1 == len(declared):
        hint = f"a column of its own: {name}[..., None]"
    elif len(shape) == len(declared) + 1 and shape[-1] == 1:
        hint = f"drop the last axis: {name}[..., 0]"
    return DataError(f"{name}: has shape {shape}, but is declared with shape {wanted}", hint=hint, code="D003")


def _agree(name: str, size: str, count: Array, counts: dict[str, tuple[Array, str]], equations: list[Equation]) -> None:
    """All variables of one plate agree in lengths: one entry per parent row for a ragged plate."""
    ragged = ragged_name(size)
    if ragged is None:
        if len(set(count.tolist())) > 1:
            raise DataError(
                f"{name}: its lists have lengths {sorted(set(count.tolist()))[:5]} where all must be {size}",
                code="D003",
            )
        if len(count):
            equations.append(Equation(size, str(int(count[0])), f"a list of {name}"))
        return
    before, source = counts.setdefault(ragged, (count, name))
    if before.shape != count.shape:
        raise DataError(f"{ragged}: {name} has {len(count)} parts, but {source} has {len(before)}", code="D007")
    refuse_where(f"{ragged}: lengths of {name}", before != count, count, f"differ from those of {source}", code="D007")


def unnest(
    name: str, value: Any, plates: Sequence[str], lengths: Mapping[str, Array]
) -> tuple[Column, list[tuple[str, Array]]]:
    """A nested list as one flat axis, with the number of children per parent at each level."""
    last = ragged_name(plates[-1]) or ""
    if last in lengths:
        column = read_column(name, value)
        total = int(lengths[last].sum())
        if column.values.ndim == 0 or len(column.values) != total:
            raise DataError(
                f"{name}: has {len(np.atleast_1d(column.values))} rows, but the lengths of {last} sum to {total}",
                code="D007",
            )
        ragged = [(size, lengths[n]) for size in plates if (n := ragged_name(size)) is not None and n in lengths]
        dense = [size for size in plates[: plates.index(ragged[0][0])] if ragged_name(size) is None]
        return column, [("*".join(dense), np.array([len(ragged[0][1])])), *ragged]
    nodes: list[Any] = [value]
    levels: list[tuple[str, Array]] = []
    for i, size in enumerate(plates):
        for node in nodes:
            if isinstance(node, (str, bytes)) or not hasattr(node, "__len__") or getattr(node, "ndim", 1) == 0:
                raise DataError(
                    f"{name}: is ragged over {size}: pass a list of arrays, or flat with lengths=", code="D003"
                )
        levels.append((size, np.array([len(n) for n in nodes], np.int64)))
        if i + 1 < len(plates):
            nodes = [child for node in nodes for child in node]
    parts = [read_column(name, node) for node in nodes if len(node)]
    ranks = {p.values.shape[1:] for p in parts}
    if len(ranks) > 1:
        raise DataError(
            f"{name}: its parts have shapes {sorted(ranks)[:3]} after the first axis, where all must be equal",
            code="D003",
        )
    return (stack_columns(name, parts) if parts else Column(np.zeros(0))), levels


def ragged_rows(lengths: Array) -> Ragged:
    total = int(lengths.sum())
    start = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64) if len(lengths) else np.zeros(0, np.int64)
    row = np.repeat(np.arange(len(lengths)), lengths)
    return Ragged(lengths, row, np.arange(total) - start[row] if total else np.zeros(0, np.int64), start)


_COMPARISON = re.compile(r"^\s*(\w+)\s*(<=|>=|==|!=|<|>)\s*(\w+)\s*$")
_COMPARE = {
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
    "==": np.equal,
    "!=": np.not_equal,
}


def kept_entries(variable: Record, shape: Sequence[int]) -> Array | None:
    """The entries that plates' conditions keep, where each compares two loop names of dense plates; else None."""
    plates = variable["plates"]
    names = [p[0] for p in plates]
    conditions = [p[2] for p in plates if len(p) > 2 and p[2]]
    if not conditions or any(ragged_name(p[1]) for p in plates):
        return None
    place = np.indices(tuple(shape[: len(plates)]), sparse=True)
    keep = np.ones(tuple(shape[: len(plates)]), bool)
    for condition in conditions:
        found = _COMPARISON.match(condition)
        if found is None or found[1] not in names or found[3] not in names:
            return None
        keep &= _COMPARE[found[2]](place[names.index(found[1])], place[names.index(found[3])])
    return np.broadcast_to(keep.reshape(*keep.shape, *[1] * (len(shape) - len(plates))), tuple(shape))


def nest_rows(values: Array, plates: Sequence[str], ragged: Mapping[str, Ragged], sizes: Mapping[str, int]) -> Any:
    """A flat axis back as nested lists, one array per parent of the innermost ragged plate; others unchanged."""
    depth = max((i + 1 for i, size in enumerate(plates) if ragged_name(size)), default=0)
    if depth == 0:
        return values
    rows: Any = values
    for size in reversed(plates[1:depth]):
        name = ragged_name(size)
        if name is None:
            count = size_value(size, sizes)
            rows = [rows[i : i + count] for i in range(0, len(rows), count)] if count else []
        else:
            record = ragged[name]
            rows = [rows[a : a + n] for a, n in zip(record.start.tolist(), record.lengths.tolist(), strict=True)]
    return rows
