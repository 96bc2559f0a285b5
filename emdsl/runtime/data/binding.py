"""From the user's data to the arrays a generated module reads, all checked.

A module's `SPEC` says which variables there are, over which plates, in which domains. `bind_data`
gives them as a `Bound`: sizes solved, text coded, values inside their domains, missing entries
masked, ragged plates as one flat axis. Everything wrong is a `DataError` that names the variable,
the first bad value, its row and the count.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from emdsl.runtime.data.columns import UNSEEN, Array, Column, place_words, read_column, refuse_text, refuse_where
from emdsl.runtime.data.domains import Ends, check_limits, check_service, checked_values, outside_domain
from emdsl.runtime.data.faults import DataError, WrittenOut, closest
from emdsl.runtime.data.plates import Ragged, Record, kept_entries, ragged_rows, read_all, read_lengths
from emdsl.runtime.data.sizes import Equation, Levels, SizeValue, ragged_name, size_value, solve_sizes

Spec = Mapping[str, Any]
MANY_LEVELS = 1_000_000  # beside few rows: numbers of customers or patients, and not positions


class Bound(NamedTuple):
    """Data as generated code reads it; `values` are int64 or float64, C-contiguous, 0 where missing."""

    sizes: dict[str, int]
    values: dict[str, Array]
    masks: dict[str, Array | None]
    weights: Array | None
    weighted: str | None
    ragged: dict[str, Ragged]
    labels: dict[str, list[str]]


class BindOptions(NamedTuple):
    """What may stand beside the data: see `bind_data`."""

    sizes: Mapping[str, int] = MappingProxyType({})
    origin: str = "what was passed"
    sample_weight: Any = None
    weights_over: str | None = None
    lengths: Any = None
    labels: Mapping[str, list[str]] = MappingProxyType({})
    fitting: bool = True


Defaults = Callable[[dict[str, int], dict[str, Array]], Mapping[str, Any]]
Limits = Callable[[dict[str, int], dict[str, Array], Mapping[str, Ragged]], Mapping[str, Ends]]
Kept = Callable[[dict[str, int], dict[str, Array], Mapping[str, Ragged]], Mapping[str, Array]]


def bind_data(
    spec: Spec,
    data: Mapping[str, Any],
    options: BindOptions,
    defaults: Defaults | None = None,
    kept: Kept | None = None,
    limits: Limits | None = None,
) -> Bound:
    """The data of a fit as a `Bound`, or a `DataError` that says what is wrong.

    `data` maps names of observed variables and givens to array-likes, of the declared shape; a
    ragged plate's variable is a (nested) list of arrays, or flat with `options.lengths`.
    `options.sizes` are sizes that are settled already and `options.labels` codings to keep.
    `defaults` computes the givens that are left out, `kept` the entries a plate's condition keeps,
    `limits` the ends of domains that givens set.
    """
    variables = {v["name"]: v for v in spec["variables"] if v["kind"] in ("observed", "given")}
    ragged_sizes = _ragged_names(spec)
    data, lengths = _split_names(sorted(ragged_sizes), variables, data, options.lengths)
    columns, equations, counts = read_all(variables, data, lengths)
    for name in sorted(ragged_sizes - set(counts)):
        hint = f"no data lie there: lengths={{{name!r}: [...]}}, a number for each of the rows around"
        raise DataError(f"the lengths of {name} are not known", hint=hint, code="D007")
    columns, labels = _code_text(variables, columns, options.labels, set(data))
    passed = {n: SizeValue(v, options.origin) for n, v in options.sizes.items()}
    equal = [Equation(a, b, f"the model ({a} = {b})") for a, b in spec.get("equal", ())]
    declared = {n: d for n, d in spec["sizes"].items() if n not in ragged_sizes}
    sizes = solve_sizes(
        declared, passed, equations, equal, lambda known: _levels_seen(variables, columns, labels, known)
    )
    if any(sizes[n] != k for n, k in spec.get("written_out", {}).items()):
        raise WrittenOut(spec["written_out"], sizes)
    ragged = {name: ragged_rows(c) for name, c in counts.items()}
    columns = {n: _without_rows(c, variables[n], sizes) for n, c in columns.items()}
    values, masks = _check_all(variables, columns, sizes, ragged, kept, options.fitting)
    if defaults is not None:
        given = defaults(sizes, {n: a for n, a in values.items() if variables[n]["kind"] == "given"})
        values.update({n: _checked_default(variables[n], np.asarray(a)) for n, a in given.items() if n not in values})
    if limits is not None:
        named = {v["name"]: v for v in spec["variables"]}
        for n, ends in limits(sizes, values, ragged).items():
            check_limits(named[n], ends, values.get(n), masks.get(n))
    _refuse_empty(variables, values, {} if options.fitting else sizes)
    weights, over = _weights(spec, variables, options, sizes)
    return Bound(sizes, values, masks, weights, over, ragged, labels)


def _checked_default(variable: Mapping[str, Any], value: Array) -> Array:
    """The default of a given; DataError where it is none of the real numbers, vectors or matrices of its domain."""
    if variable["domain"] in ("simplex", "zero_sum", "ordered", "spd", "correlation", "positive", "unit"):
        bad, what = outside_domain(
            variable["domain"], np.asarray(value, float), len(variable["event"]), variable.get("closed", ())
        )
        if bad.any():
            raise DataError(f"{variable['name']}: its default {what}", code="D005")
    for wanted in variable.get("serves", ()):
        check_service(f"{variable['name']}, by its default", wanted, value, np.ones(value.shape, bool))
    return value


def _ragged_names(spec: Spec) -> set[str]:
    return {name for v in spec["variables"] for p in v["plates"] if (name := ragged_name(p[1])) is not None}


def _split_names(
    ragged: list[str], variables: Mapping[str, Record], data: Mapping[str, Any], lengths: Any
) -> tuple[dict[str, Any], dict[str, Array]]:
    """Data of variables apart from lengths of ragged plates; unknown and absent names refused."""
    seen = {v.get("data_of", n): n for n, v in variables.items()}  # data of a latent have the name that users gave it
    data = {seen.get(n, n): a for n, a in data.items()}
    if lengths is None:
        lengths = {}
    elif not isinstance(lengths, Mapping):
        if len(ragged) != 1:
            raise DataError(
                f"lengths= holds one array, but the model has {len(ragged)} ragged sizes {', '.join(ragged)}".rstrip(),
                hint="pass a dict of arrays by the name of the size" if ragged else "leave it out",
                code="D007",
            )
        lengths = {ragged[0]: lengths}
    lengths = {**lengths, **{n: data[n] for n in ragged if n in data}}
    for name in lengths:
        if name not in ragged:
            raise DataError(f"lengths: the model has no ragged size {name}", hint=closest(name, ragged), code="D007")
    for name in data:
        if name not in variables and name not in ragged:
            raise DataError(
                f"the model has no observed variable or given {name}", hint=closest(name, seen), code="D002"
            )
    absent = [n for n, v in variables.items() if n not in data and not v["default"]]
    if absent:
        what = "observed" if variables[absent[0]]["kind"] == "observed" else "given"
        raise DataError(
            f"the data lack {', '.join(absent)} ({what})", hint=f"data = {{{absent[0]!r}: array, ...}}", code="D002"
        )
    return {n: data[n] for n in variables if n in data}, {n: read_lengths(n, a) for n, a in lengths.items()}


# ------------------------------------------------------------------ text and levels


def _code_text(
    variables: Mapping[str, Record], columns: Mapping[str, Column], kept: Mapping[str, list[str]], given: set[str]
) -> tuple[dict[str, Column], dict[str, list[str]]]:
    """Text labels as positions in sorted order, one coding for each level size; `kept` codings stay.

    A number is the size of whatever has as many levels: where the labels of several variables are more, each has its
    own coding, under its own name.
    """
    groups: dict[str, list[str]] = {}
    for name, column in columns.items():
        variable = variables[name]
        if column.text and (variable["domain"] not in ("category", "index") or not variable.get("levels")):
            refuse_text(name, column)
        elif column.text:
            groups.setdefault(name if name in kept else variable["levels"], []).append(name)
    for size in [s for s, names in groups.items() if s.isdigit() and s not in kept and len(names) > 1]:
        if len(_texts(groups[size], columns)) > int(size):
            groups.update({n: [n] for n in groups.pop(size)})
    labels, out = dict(kept), dict(columns)
    for size, names in groups.items():
        seen = _texts(names, columns)
        by_position = sorted((n for n in given if size in [p[1] for p in variables[n]["plates"]]), key=names.count)
        if by_position and size not in labels:
            raise DataError(
                f"{names[0]}: text labels, but {by_position[0]} is given by position over {size}",
                hint="code the labels as positions; in a table, a column of the loop's name has the rows' own",
                code="D008",
            )
        labels.setdefault(size, seen)
        if size.isdigit() and len(seen) > int(size):
            few = ", ".join(map(repr, seen[:9])) + (", ..." if len(seen) > 9 else "")
            blank = [v for v in seen if v.lower() in UNSEEN]
            hint = f"in a column of text {blank[0]!r} is a label; leave empty what was not seen" if blank else None
            raise DataError(f"{names[0]}: has {len(seen)} labels for {size} levels: {few}", hint=hint, code="D008")
        code = {label: i for i, label in enumerate(labels[size])}
        for n in names:
            unseen = np.array([v not in code for v in columns[n].values.reshape(-1)], bool).reshape(
                columns[n].values.shape
            )
            refuse_where(
                n,
                unseen & columns[n].present,
                columns[n].values,
                "has labels that were not seen in the fit",
                code="D008",
            )
            coded = [code.get(v, 0) for v in columns[n].values.reshape(-1)]
            out[n] = Column(np.array(coded, np.int64).reshape(columns[n].values.shape), columns[n].missing)
    return out, labels


def _texts(names: Sequence[str], columns: Mapping[str, Column]) -> list[str]:
    """All labels of these columns, sorted."""
    return sorted({v for n in names for v in columns[n].values[columns[n].present].tolist()})


def _levels_seen(
    variables: Mapping[str, Record],
    columns: Mapping[str, Column],
    labels: Mapping[str, list[str]],
    known: Mapping[str, int],
) -> list[Levels]:
    """What labels tell of numbers of levels: the largest plus one, or how many texts."""
    out = []
    for name, column in columns.items():
        size = variables[name].get("levels")
        if size is None or ragged_name(size) or column.text or not column.present.any():
            continue
        top = float(np.max(column.values, where=column.present, initial=0))
        if size not in known and size not in labels and top >= max(MANY_LEVELS, 100 * column.values.size):
            hint = f"code them as 0, 1, ..., or as text: {name}.astype(str)"
            wrong = f"{name}: labels are positions, and these reach {top:.0f}: {size} would be as many"
            raise DataError(wrong, hint=hint, code="D008")
        if np.isfinite(top):
            out.append(Levels(size, len(labels[size]) if size in labels else int(top) + 1, f"the labels of {name}"))
    return out


# ------------------------------------------------------------------ checking


def _without_rows(column: Column, variable: Record, sizes: Mapping[str, int]) -> Column:
    """Ragged data of which no row is there tell nothing of what a row has: its axes are the model's."""
    if all(ragged_name(p[1]) is None for p in variable["plates"]) or len(column.values):
        return column
    own = (size_value(d, sizes) for d in (*variable["array"], *variable["event"]))
    return Column(column.values.reshape(0, *own), None)


def _check_all(
    variables: Mapping[str, Record],
    columns: Mapping[str, Column],
    sizes: dict[str, int],
    ragged: Mapping[str, Ragged],
    kept: Kept | None,
    fitting: bool,
) -> tuple[dict[str, Array], dict[str, Array | None]]:
    values: dict[str, Array] = {}
    masks: dict[str, Array | None] = {}
    uses: Mapping[str, Array] = {}
    if kept is not None and any(p[2] for v in variables.values() for p in v["plates"] if len(p) > 2):
        uses = kept(sizes, {n: _or_nan(c, variables[n]) for n, c in columns.items() if not c.text}, ragged)
    for name, column in columns.items():
        variable = variables[name]
        tops = _tops(variable, ragged, column.values.ndim)
        use = uses.get(name, kept_entries(variable, column.values.shape))
        if variable.get("elsewhere") and use is not None:
            _refuse_unseen_lags(name, use, column)
            use = None
        values[name] = checked_values(variable, column, sizes, use, tops)
        read = column.present if use is None else column.present | ~use
        whole = column.missing is None or bool(read.all())
        if not whole:
            _refuse_missing(variable, ~read, fitting)
        if variable["kind"] == "observed":
            masks[name] = None if whole else np.ascontiguousarray(column.present)
    return values, masks


def _refuse_unseen_lags(name: str, use: Array, column: Column) -> None:
    """Entries that the plate leaves out have no density, so that none that is read elsewhere may be missing."""
    lost = ~use & ~column.present
    if lost.any():
        row = int(np.argwhere(lost)[0][0])
        what = f"{name}: the value in row {row} is missing: its plate leaves it out, and others read it"
        raise DataError(what, code="D009", row=row)


def _or_nan(column: Column, variable: Record) -> Array:
    """What is observed of a variable, as conditions read it."""
    if column.missing is None or variable["kind"] != "observed":
        return column.values
    return np.where(column.missing, np.nan, column.values)


def _tops(variable: Record, ragged: Mapping[str, Ragged], ndim: int) -> Array | None:
    """For an index into its own ragged plate: the number of positions, for each entry."""
    levels = variable.get("levels") or ""
    name = ragged_name(levels) or levels
    plates = [ragged_name(p[1]) for p in variable["plates"]]
    if name not in ragged or name not in plates:
        return None
    rows = ragged[name]
    for inner in plates[plates.index(name) + 1 :]:
        if inner is not None:
            return None
    return rows.lengths[rows.row].reshape(-1, *[1] * (ndim - 1))


def _refuse_missing(variable: Record, missing: Array, fitting: bool) -> None:
    """Missing values where the model cannot leave them out."""
    name, count = variable["name"], int(missing.sum())
    at = tuple(int(i) for i in np.argwhere(missing)[0])
    row, place = at[0] if at else 0, place_words(at)
    many = f"{count} values are missing, the first" if count > 1 else "a value is missing,"
    if variable["kind"] == "given":
        told = f"{name}: {many} in {place}; a given may not be missing"
        hint = f"drop these rows, or give it a distribution (`observed {name}... ~ ...`): then gaps are integrated out"
        raise DataError(told, hint, code="D009", row=row).at(name, at)
    if variable.get("missing") == "refuse":
        raise DataError(
            f"{name}: {many} in {place}; this model cannot leave out missing values of {name}",
            hint="drop these rows",
            code="D009",
            row=row,
        ).at(name, at)
    if not fitting:
        return
    axes = tuple(range(missing.ndim - len(variable["event"])))
    if missing.all():
        raise DataError(
            f"{name}: every value is missing",
            hint=f"what is never seen is a latent: `latent {name}...`" if variable["plates"] else None,
            code="D009",
        )
    if axes and missing.ndim > len(axes) and missing.all(axis=axes).any():
        column = int(np.flatnonzero(missing.all(axis=axes))[0])
        raise DataError(f"{name}: every value of its column {column} is missing", code="D009")


def _refuse_empty(variables: Mapping[str, Record], values: Mapping[str, Array], sizes: Mapping[str, int]) -> None:
    """Data without rows; once a fit is made (`sizes`), groups and sequences may be empty where there are some."""
    for name, variable in variables.items():
        if variable["kind"] == "observed" and name in values and values[name].size == 0:
            plates = [p[1] for p in variable["plates"]]
            grouped = len(plates) > 1 and ragged_name(plates[-1]) is not None and 0 not in values[name].shape[1:]
            if grouped and sizes.get(plates[0], 0):
                continue
            what = "no columns" if values[name].ndim and len(values[name]) else "no rows"
            raise DataError(f"{name}: there are {what}", code="D013")


def outer_plates(spec: Spec) -> list[str]:
    """The sizes of the outermost plates of the observed variables, in order of declaration."""
    return list(dict.fromkeys(v["plates"][0][1] for v in spec["variables"] if v["kind"] == "observed" and v["plates"]))


def refuse_weights(spec: Spec, over: str) -> None:
    """Raises DataError where elements of a plate have no weights by the module of this specification."""
    ordered = spec.get("ordered", False)
    if ordered is True or (ordered and over in ordered):
        text = f"sample_weight: {over} is an ordered plate, whose elements are not exchangeable"
        raise DataError(text, hint="leave it out", code="D014")
    if reason := spec.get("unweighted", {}).get(over):
        text = f"sample_weight: rows of {over} cannot be weighted: {reason}"
        hint = "leave it out; where rows are independent of one another, repeat them in the data"
        raise DataError(text, hint=hint, code="D014")


def _weights(
    spec: Spec, variables: Mapping[str, Record], options: BindOptions, sizes: Mapping[str, int]
) -> tuple[Array | None, str | None]:
    """Sample weights over the outermost plate of the observed data, checked."""
    if options.sample_weight is None:
        return None, None
    plates = outer_plates(spec)
    if not isinstance(options.weights_over, (str, type(None))):
        raise DataError("weights_over must be the name of a plate", code="D016")
    over = options.weights_over or (plates[0] if len(plates) == 1 else None)
    if over is None or over not in plates:
        what = f"weights_over = {over!r} is no" if over else "sample_weight needs weights_over: the name of an"
        raise DataError(
            f"{what} outermost plate of the observed data",
            hint=f"one of {', '.join(plates)}" if plates else None,
            code="D014",
        )
    refuse_weights(spec, over)
    column = read_column("sample_weight", options.sample_weight)
    length = size_value(over, sizes)
    if column.text:
        refuse_text("sample_weight", column)
    if column.values.shape != (length,):
        raise DataError(
            f"sample_weight: has shape {column.values.shape}, but needs one number for each of {over} = {length}",
            code="D014",
        )
    weights = np.asarray(column.values, np.float64)
    missing = np.where(column.present, weights, np.nan)
    refuse_where("sample_weight", ~column.present, missing, "may not be missing", code="D014")
    refuse_where("sample_weight", ~np.isfinite(weights), weights, "must be finite", code="D014")
    refuse_where("sample_weight", weights < 0, weights, "must be 0 or more", code="D014")
    if not (weights > 0).any():
        raise DataError("sample_weight: all weights are 0", code="D014")
    return weights, over
