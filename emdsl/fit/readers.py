"""Tables on disk: CSV, Parquet and JSON, as columns of numbers or text; JSON also as arrays by variable.

In a column whose other cells are all numbers, an empty cell, NA, N/A, NaN and null are missing. In a
column of text only an empty cell is: the labels "NA" and "None" are labels.
"""

from __future__ import annotations

import codecs
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from emdsl.errors import DataError, Problem
from emdsl.fit.csvfile import read_csv
from emdsl.runtime.data.frames import Table, as_table
from emdsl.runtime.fitting.storage import blocks_of, by_unique_names, content_of, why_no_json

LAID_ASIDE = 1 << 24  # bytes of a pipe that are held in memory; more go to disk
BINARY = {
    b"PK\x03\x04": "a zip archive, as .npz and .xlsx files are", b"\x93NUMPY": "an array that numpy saved",
    b"\x1f\x8b": "compressed by gzip", b"PAR1": "Parquet without .parquet at the end of its name",
}  # fmt: skip


@dataclass(frozen=True)
class FileTable(Table):
    """A table with where it came from; `lines[i]` is the line of row i in the file, where that has lines.

    `arrays`: it is a JSON object, whose entries may be arrays of whatever shape, by variable.
    """

    columns: Mapping[str, Any]
    path: str = ""
    lines: Sequence[int] = ()
    arrays: bool = False


def read_table_file(path: str) -> FileTable:
    """A CSV (or TSV), Parquet or JSON file as a table; "-" reads CSV from standard input.

    JSON is an object of columns, whose entries may be lists, or a list of rows, each an object. Raises DataError with
    the file and line where it cannot be read, is empty, is not UTF-8, or has rows of uneven length, repeated or empty
    column names.
    """
    if path.lower().endswith((".parquet", ".pq")):
        return _read_parquet(path)
    if path.lower().endswith(".json"):
        return _read_json(path)
    try:
        if path == "-":
            return _twice_readable(standard_input(), path)
        with Path(path).open("rb") as file:
            return _twice_readable(file, path)
    except OSError as error:
        raise DataError(Problem("D030", f"{path}: cannot be read: {error.strerror or error}")) from None


def standard_input() -> BinaryIO:
    """Its bytes. Raises DataError where it is closed."""
    if sys.stdin is None:
        raise DataError(Problem("D030", "standard input: cannot be read: it is closed"))
    return sys.stdin.buffer


def _twice_readable(file: BinaryIO, path: str) -> FileTable:
    """The table of a file; what comes through a pipe, which cannot be read twice, is laid aside in a temporary file."""
    if file.seekable():
        return parse_csv(file, path)
    with tempfile.SpooledTemporaryFile(max_size=LAID_ASIDE) as copy:
        try:
            for block in blocks_of(file):
                copy.write(block)
                if b"\0" in block:  # which the copy's reader says
                    break
        except ValueError as error:
            text = f"{path}: cannot be read through a pipe: {error}"
            raise DataError(Problem("D030", text, hint="save it in a file, which is read by blocks")) from None
        copy.seek(0)
        return parse_csv(cast(BinaryIO, copy), path)


def parse_csv(file: BinaryIO, path: str) -> FileTable:
    """The text of a CSV file that can be read twice as a table; see `read_table_file`."""
    start, head = file.tell(), file.read(8)
    file.seek(start)
    _refuse_binary(path, head)
    columns, lines = read_csv(file, path)
    return FileTable(columns=columns, path=path, lines=lines)


def _refuse_binary(path: str, head: bytes) -> None:
    """Raise DataError where the first bytes of a file are those of a format that is no text."""
    if kind := next((k for begins, k in BINARY.items() if head.startswith(begins)), None):
        hint = "write arrays as JSON, a table as CSV; in Python, fit takes them as they are"
        hint = "unpack it first" if "gzip" in kind else hint
        raise DataError(Problem("D032", f"{path}: is no text, but {kind}", hint=hint))


def arrays_by_variable(table: FileTable, names: Mapping[str, bool]) -> dict[str, Any] | None:
    """A JSON object as the data that Python takes: where it has all the variables that must be there (True), by name.

    What else it holds is left out, as other columns of a table are: draws from a model hold latents.
    """
    if not table.arrays or not all(n in table.columns for n, must in names.items() if must):
        return None
    return {n: c for n, c in table.columns.items() if n in names}


def _read_json(path: str) -> FileTable:
    try:
        content = json.loads(content_of(path).removeprefix(codecs.BOM_UTF8), object_pairs_hook=by_unique_names)
    except OSError as error:
        raise DataError(Problem("D030", f"{path}: cannot be read: {error.strerror or error}")) from None
    except (ValueError, RecursionError) as error:
        if isinstance(error, UnicodeDecodeError):
            _refuse_binary(path, error.object[:8])
        raise DataError(Problem("D032", f"{path}: cannot be read as JSON: {why_no_json(error)}")) from None
    rows = as_table(content) if isinstance(content, list) else None
    if rows is not None:
        return FileTable(rows.columns, path)
    if isinstance(content, dict) and content:
        return FileTable(content, path, arrays=True)
    form = 'an object of arrays, {"y": [1, null]}, or a list of rows, [{"y": 1}, {}]'
    raise DataError(Problem("D032", f"{path}: holds no table", hint=f"write {form}"))


def _read_parquet(path: str) -> FileTable:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise DataError(
            Problem("D031", f"{path}: reading Parquet needs pyarrow", hint="pip install 'emdsl[frames]', or use CSV")
        ) from None
    try:
        with Path(path).open("rb") as file:
            table = parquet.read_table(file, page_checksum_verification=True)
    except (OSError, ValueError, LookupError, ArrowException) as error:
        reason = getattr(error, "strerror", None) or [*str(error).splitlines(), type(error).__name__][0]
        raise DataError(Problem("D032", f"{path}: cannot be read as Parquet: {reason}")) from None
    return FileTable(columns={str(n): table.column(i) for i, n in enumerate(table.column_names)}, path=path)
