"""Tables in and out: a fit to a table read from a file, and draws from a model as a table."""

from __future__ import annotations

import csv
import io
import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np

from emdsl.errors import DataError, Problem
from emdsl.fit.asked import of_a_sample
from emdsl.fit.fitter import Fitter
from emdsl.fit.ragged import by_parent
from emdsl.fit.readers import FileTable, arrays_by_variable, read_table_file
from emdsl.fit.sampling import sample_in_scope
from emdsl.fit.variants import CompiledModel
from emdsl.runtime.data import faults
from emdsl.runtime.data.frames import Table
from emdsl.runtime.data.sizes import ragged_name
from emdsl.runtime.data.table import read_data
from emdsl.runtime.fitting.sealing import DIGEST, plain_value
from emdsl.runtime.fitting.settings import sizes_of_parameters, starting_values
from emdsl.runtime.fitting.storage import by_unique_names, content_of, numbers_of, read_document

BLOCK = 1 << 12  # rows that are written before Ctrl-C is heeded
Array = np.ndarray[Any, np.dtype[Any]]
Record = Mapping[str, Any]


def fit_table(
    fitter: Fitter, table: FileTable, columns: Mapping[str, list[str]], index: Mapping[str, str], weights: str | None
) -> None:
    """Fit a table read from a file; the row of a fault is told as a line of that file. Does not warn: see `status_`."""
    more: dict[str, Any] = {}
    if weights is not None:
        if weights not in table.columns:
            raise DataError(Problem("D018", f"--weights: {table.path} has no column {weights}"))
        more["sample_weight"] = table.columns[weights]
    used: Any = None if columns or index else arrays_by_variable(table, _asked(fitter.model.module.SPEC))
    if used is None:
        used = Table({n: c for n, c in table.columns.items() if n != weights})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", faults.ConvergenceWarning)
        try:
            fitter.fit(used, columns=columns or None, index=index or None, **more)
        except DataError as error:
            if error.problems[0].code == "D018" and len(used.columns) == 1 and {*" :^~"} & set(*used.columns):
                hint = "what tells columns apart is a comma, a semicolon, a tab or |"
                raise DataError([replace(p, hint=hint) for p in error.problems]) from None
            row = getattr(error, "row", None)
            known = getattr(error, "of_table", False) or (not index and _in_order(fitter.model.module.SPEC))
            if row is None or row >= len(table.lines) or not known:
                raise
            place = f" (row {row} is line {table.lines[row]} of {table.path})"
            told = [Problem(p.code, p.message + place, p.span, p.hint) for p in error.problems]
            raise DataError(told) from None


def _asked(spec: Mapping[str, Any]) -> dict[str, bool]:
    """What data may hold, by name, and whether it must be there."""
    variables = [v for v in spec["variables"] if v["kind"] in ("observed", "given")]
    lengths = {ragged_name(p[1]) for v in spec["variables"] for p in v["plates"]} - {None}
    return {**{v["name"]: not v["default"] for v in variables}, **dict.fromkeys(sorted(map(str, lengths)), False)}


def _in_order(spec: Mapping[str, Any]) -> bool:
    """Whether a table's rows are the elements of one plate, so that the place of a fault is its row."""
    plates = {tuple(p[1] for p in v["plates"]) for v in spec["variables"] if v["kind"] in ("observed", "given")} - {()}
    return len(plates) == 1 and all(len(p) == 1 for p in plates)


def draw_rows(
    model: CompiledModel, fit_path: str, sizes: Mapping[str, int], seed: int | None, givens: str | None, output: str
) -> str:
    """Draws from a model at saved parameters: CSV text, or JSON where `output` ends so."""
    spec = model.module.SPEC
    params, saved = read_parameters(fit_path, spec)
    data = {}
    try:
        if givens is not None:
            inputs = [v for v in spec["variables"] if v["kind"] == "given"]
            asked, table = {**spec, "variables": inputs}, read_table_file(givens)
            data = read_data(asked, arrays_by_variable(table, _asked(asked)) or table, None, None).values
    except faults.DataError as error:
        raise DataError(Problem(error.code, error.message, hint=error.hint)) from None
    tied = _tied(spec)
    all_sizes = {**{n: v for n, v in saved.items() if n in tied or not data}, **sizes}
    givens_read = {n: np.asarray(v) for n, v in data.items()}
    drawn, scope = sample_in_scope(model.resolved, *of_a_sample(params, all_sizes, seed, givens_read or None))
    lengths, rows = {n: r.lengths for n, r in scope.ragged.items()}, {**givens_read, **drawn}
    if output.lower().endswith(".json"):
        return json.dumps(plain_value(by_parent(model.resolved, rows, scope.sizes, lengths)), allow_nan=False) + "\n"
    return rows_text(spec, rows, {**scope.sizes, **lengths})


def start_of(path: str | None) -> Any:
    """What `--init` names, as a fitter takes it: the path of a saved fit, or what JSON has by name."""
    if path is None:
        return None
    held, content = _held(path)
    if isinstance(content, dict) and "format" not in content and "params" not in content:
        return content
    return _saved(path, held)


def size_names(model: CompiledModel) -> set[str]:
    """The names that a size may be given for: those of the model, and of ragged lengths."""
    spec = model.module.SPEC
    lengths = {ragged_name(p[1]) for v in spec["variables"] for p in v["plates"]}
    return {*spec["sizes"], *(n for n in lengths if n is not None)}


def _tied(spec: Mapping[str, Any]) -> set[str]:
    """Sizes in shapes of parameters."""
    params = [v for v in spec["variables"] if v["kind"] == "param"]
    return {d for v in params for d in [*(p[1] for p in v["plates"]), *v["array"], *v["event"]]}


def read_parameters(path: str, spec: Mapping[str, Any]) -> tuple[dict[str, Array], dict[str, int]]:
    """Parameters and sizes from a saved fit, or from JSON that maps names of parameters to numbers."""
    held, content = _held(path)
    if isinstance(content, dict) and not {"format", DIGEST} & set(content):
        params = content.get("params", content)
        sizes = content.get("sizes", {})
        if not isinstance(params, dict):
            raise DataError(Problem("D020", f"{path}: its params must be numbers by name"))
    else:
        document = _saved(path, held)
        params, sizes = document["params"], document["sizes"]
        if document["model"] != spec["model"]:
            raise DataError(Problem("D020", f"{path}: is a fit of {document['model']}, not of {spec['model']}"))
    absent = [v["name"] for v in spec["variables"] if v["kind"] == "param" and v["name"] not in params]
    if absent:
        raise DataError(Problem("D020", f"{path}: lacks the parameters {', '.join(absent)}"))
    return _checked(path, params, spec), _whole(path, sizes)


def _held(path: str) -> tuple[bytes | None, Any]:
    """The bytes of a file and what they say as JSON; None each where that fails, which who reads a saved fit tells.

    They are read once: a pipe (`--params <(...)`) is empty, or waits for ever, the second time.
    """
    try:
        held = content_of(path)
    except (OSError, ValueError):
        return None, None
    try:
        return held, json.loads(held, object_pairs_hook=by_unique_names)
    except (ValueError, RecursionError):
        return held, None


def _saved(path: str, held: bytes | None) -> dict[str, Any]:
    try:
        return read_document(path, held)
    except faults.DataError as error:
        raise DataError(Problem(error.code, error.message, hint=error.hint)) from None


def _checked(path: str, params: Mapping[str, Any], spec: Mapping[str, Any]) -> dict[str, Array]:
    """The model's parameters as arrays of the declared shapes, inside their domains; else DataError."""
    arrays: dict[str, Array] = {}
    for name in (v["name"] for v in spec["variables"] if v["kind"] == "param"):
        found = numbers_of(params[name], gaps=True)
        if found is None:
            raise DataError(Problem("D020", f"{path}: the parameter {name} is no array of numbers"))
        arrays[name] = found
    try:
        starting_values(spec, arrays, sizes_of_parameters(spec, arrays), {})
    except faults.DataError as error:
        raise DataError(Problem(error.code, f"{path}: {error.message}", hint=error.hint)) from None
    return arrays


def _whole(path: str, sizes: Any) -> dict[str, int]:
    """Saved sizes, each a whole number."""
    if not isinstance(sizes, dict) or not all(type(v) is int and v >= 0 for v in sizes.values()):
        raise DataError(Problem("D020", f"{path}: its sizes must be whole numbers by name"))
    return sizes


def imputed_text(fitter: Fitter, output: str) -> str:
    """What a fit tells of missing entries: CSV text, or JSON where `output` ends so."""
    columns = fitter.imputed_
    if output.lower().endswith(".json"):
        return json.dumps(plain_value(columns), allow_nan=False) + "\n"
    return _csv_text(columns)


def _csv_text(columns: Mapping[str, Sequence[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    rows = zip(*columns.values(), strict=True)
    while block := list(islice(rows, BLOCK)):
        writer.writerows(block)
    return text.getvalue()


def rows_text(spec: Mapping[str, Any], drawn: Mapping[str, Any], sizes: Mapping[str, Any]) -> str:
    """One row per element of the innermost plate of the observed variables; index columns where plates nest."""
    variables = [v for v in spec["variables"] if v["name"] in drawn and v["plates"]]
    observed = [v for v in variables if v["kind"] == "observed"]
    if not observed:
        raise DataError(Problem("D041", "nothing observed lies on a plate, so there are no rows", hint="-o DRAWS.json"))
    deepest = max(observed, key=lambda v: len(v["plates"]))
    plates = [p[1] for p in deepest["plates"]]
    apart = [v["name"] for v in observed if [p[1] for p in v["plates"]] != plates[: len(v["plates"])]]
    if apart:
        message = f"{apart[0]} and {deepest['name']} lie over different plates, which one table cannot hold"
        raise DataError(Problem("D041", message, hint="-o DRAWS.json"))
    places = _places(plates, np.asarray(drawn[deepest["name"]]).shape, sizes)
    columns: dict[str, Array] = {}
    if len(plates) > 1:
        columns = {loop[0]: place for loop, place in zip(deepest["plates"], places, strict=True)}
    for v in variables:
        depth = len(v["plates"])
        if [p[1] for p in v["plates"]] == plates[:depth]:
            columns |= _spread(v["name"], _at(np.asarray(drawn[v["name"]]), plates[:depth], places))
    return _csv_text({n: c.tolist() for n, c in columns.items()})


def _places(plates: Sequence[str], shape: tuple[int, ...], sizes: Mapping[str, Any]) -> list[Array]:
    """For each row of the table, its position on each plate."""
    ragged = ragged_name(plates[-1])
    if ragged is None:
        return [i.reshape(-1) for i in np.indices(shape[: len(plates)])]
    if any(ragged_name(p) for p in plates[:-1]):
        raise DataError(Problem("D041", "a table holds one ragged plate, the innermost", hint="-o DRAWS.json"))
    parents = [int(sizes[p]) for p in plates[:-1]]
    lengths = np.broadcast_to(np.asarray(sizes[ragged]), (int(np.prod(parents)),))
    rows = np.repeat(np.arange(len(lengths)), lengths)
    inner = np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return [*np.unravel_index(rows, parents), inner]


def _at(value: Array, plates: Sequence[str], places: Sequence[Array]) -> Array:
    """A variable's element for each row."""
    if plates and ragged_name(plates[-1]) is not None:
        return value
    return np.asarray(value[tuple(places[: len(plates)])])


def _spread(name: str, value: Array) -> dict[str, Array]:
    """One column for a scalar, numbered columns for a vector (x1, x2) or a matrix (x1_1, x1_2)."""
    if value.ndim == 1:
        return {name: value}
    return {
        name + "_".join(str(i + 1) for i in index): value[(slice(None), *index)]
        for index in np.ndindex(*value.shape[1:])
    }
