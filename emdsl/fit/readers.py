"""Tables on disk: CSV and Parquet, as columns of numbers or text.

In a column whose other cells are all numbers, an empty cell, NA, N/A, NaN and null are missing. In a
column of text only an empty cell is: the labels "NA" and "None" are labels.
"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from emdsl.errors import DataError, Problem, Span
from emdsl.runtime.data.columns import UNSEEN
from emdsl.runtime.data.frames import Table

DELIMITERS = (",", ";", "\t", "|")
BOOLEANS = {"true": 1, "false": 0}


@dataclass(frozen=True)
class FileTable(Table):
    """A table with where it came from; `lines[i]` is the line of row i in the file, where that has lines."""

    columns: Mapping[str, Any]
    path: str = ""
    lines: Sequence[int] = ()


def fault(code: str, path: str, line: int | None, message: str, hint: str | None = None) -> DataError:
    """A data error at a line of a file."""
    return DataError(Problem(code, message, Span(path, line or 1, 1, line or 1, 2), hint))


def read_table_file(path: str) -> FileTable:
    """A CSV (or TSV) or Parquet file as a table; "-" reads CSV from standard input.

    Raises DataError with the file and line where it cannot be read, is empty, is not UTF-8, or has
    rows of uneven length, repeated or empty column names.
    """
    if path.lower().endswith((".parquet", ".pq")):
        return _read_parquet(path)
    return parse_csv(_read_bytes(path), path)


def _read_bytes(path: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as error:
        raise DataError(Problem("D030", f"{path}: cannot be read: {error.strerror or error}")) from None


def _read_parquet(path: str) -> FileTable:
    try:
        import pyarrow.parquet as parquet
    except ImportError:
        raise DataError(
            Problem("D031", f"{path}: reading Parquet needs pyarrow", hint="pip install 'emdsl[frames]', or use CSV")
        ) from None
    try:
        with Path(path).open("rb") as file:
            table = parquet.read_table(file)
    except (OSError, ValueError, KeyError) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise DataError(Problem("D032", f"{path}: cannot be read as Parquet: {reason}")) from None
    return FileTable(columns={str(n): table.column(i) for i, n in enumerate(table.column_names)}, path=path)


def parse_csv(content: bytes, path: str) -> FileTable:
    """The text of a CSV file as a table; see `read_table_file`."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"is not UTF-8: byte 0x{content[error.start]:02x} at offset {error.start}"
        raise fault("D033", path, content[: error.start].count(b"\n") + 1, message, "save it as UTF-8") from None
    if "\0" in text:
        raise fault("D033", path, text[: text.index("\0")].count("\n") + 1, "holds a NUL byte: is it a text file?")
    rows = list(_rows(text, path, _delimiter(text)))
    if not rows:
        raise fault("D034", path, None, "the file is empty")
    names = [cell.strip() for cell in rows[0][1]]
    _check_header(names, path)
    if len(rows) == 1:
        raise fault("D034", path, None, "there is a header but no rows")
    for line, cells in rows[1:]:
        if len(cells) != len(names):
            raise fault("D035", path, line, f"the row has {len(cells)} cells, but the header has {len(names)}")
    by_column = zip(*(r for _, r in rows[1:]), strict=True)
    columns = {name: parse_cells(column) for name, column in zip(names, by_column, strict=True)}
    return FileTable(columns=columns, path=path, lines=[line for line, _ in rows[1:]])


def _delimiter(text: str) -> str:
    """The delimiter that splits the header into most cells; a comma where none does."""
    header = next((line for line in text.splitlines() if line.strip()), "")
    counts = {d: header.count(d) for d in DELIMITERS}
    return max(DELIMITERS, key=lambda d: counts[d])


def _rows(text: str, path: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Each row with the line it ends on; blank lines are skipped."""
    csv.field_size_limit(1 << 30)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True)
    try:
        for cells in reader:
            if cells and not (len(cells) == 1 and not cells[0].strip()):
                yield reader.line_num, cells
    except csv.Error as error:
        raise fault("D035", path, reader.line_num, f"cannot be split into cells: {error}") from None


def _check_header(names: Sequence[str], path: str) -> None:
    if all(_number(n) is not None for n in names):
        raise fault("D036", path, 1, "the first line holds numbers, not names of columns", "add a header line")
    twice = sorted({n for n in names if names.count(n) > 1 and n})
    if twice:
        raise fault("D036", path, 1, f"two columns are named {', '.join(twice)}")
    if len(names) > 1 and "" in names[1:]:
        raise fault("D036", path, 1, f"column {names.index('', 1) + 1} has no name")


def _number(text: str) -> float | None:
    """A decimal number as a float; Python's own forms (1_000, infinity words aside) are not numbers."""
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None


def parse_cells(cells: Sequence[str]) -> np.ndarray[Any, np.dtype[Any]]:
    """One column: numbers (NaN where missing) where every other cell is one, else text (None where empty)."""
    stripped = [c.strip() for c in cells]
    seen = [c for c in stripped if c.lower() not in UNSEEN]
    if seen and all(c.lower() in BOOLEANS for c in seen):
        coded = [float(BOOLEANS[c.lower()]) if c.lower() in BOOLEANS else np.nan for c in stripped]
        return np.asarray(coded)
    numbers = [_number(c) for c in seen]
    if any(n is None for n in numbers):
        text = np.empty(len(stripped), object)
        text[:] = [c or None for c in stripped]
        return text
    if len(seen) == len(stripped) and all(c.lstrip("+-").isdigit() and len(c) < 19 for c in seen):
        return np.array([int(c) for c in seen], np.int64)
    return np.array([np.nan if c.lower() in UNSEEN else float(c) for c in stripped], np.float64)
