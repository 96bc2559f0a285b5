"""CSV files by blocks: no more of a file is held as text than a block of its rows.

A column is numbers as long as every cell that was seen is one; what is read of it so far stands in an array. Where a
later cell shows that it is text, the earlier cells are needed as they were written ("1.50" is a label, 1.5 is none),
so that the file is read a second time.
"""

from __future__ import annotations

import array
import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import BinaryIO

import numpy as np

from emdsl.errors import DataError, Problem, Span
from emdsl.runtime.data.columns import UNSEEN, Array, is_numeral

DELIMITERS = (",", ";", "\t", "|")
BOOLEANS = {"true": 1.0, "false": 0.0}
BYTES = 1 << 18  # read at once
CELLS = 1 << 16  # converted at once
LABELS = 1 << 16  # of a column, kept to meet again; beyond, cells hardly repeat
DIGITS = 18  # of a whole number that surely is an int64


def fault(code: str, path: str, line: int | None, message: str, hint: str | None = None) -> DataError:
    """A data error at a line of a file."""
    return DataError(Problem(code, message, Span(path, line or 1, 1, line or 1, 2), hint))


def read_csv(file: BinaryIO, path: str) -> tuple[dict[str, Array], Sequence[int]]:
    """The columns of a CSV file that can be read twice, by name, and the line that each row ends on.

    Raises DataError with the line of the first fault: bytes that are not UTF-8, a row of another length, a header
    without names.
    """
    as_text: set[int] = set()
    start = file.tell()
    while True:
        file.seek(start)
        names, columns, lines = _read_once(file, path, as_text)
        late = {i for i, column in enumerate(columns) if column.late}
        if not late:
            break
        as_text |= late
    return {name: column.whole() for name, column in zip(names, columns, strict=True)}, lines


def _read_once(file: BinaryIO, path: str, as_text: set[int]) -> tuple[list[str], list[ColumnCells], Sequence[int]]:
    """Header, columns and lines of rows in one pass; `as_text` are columns known to be text."""
    rows = _rows(_lines(file, path), path)
    header = next(rows, None)
    if header is None:
        raise fault("D034", path, None, "the file is empty")
    names = [cell.strip() for cell in header[1]]
    _check_header(names, path)
    columns = [ColumnCells(i in as_text) for i in range(len(names))]
    lines = array.array("q")
    at_once = max(1, CELLS // len(names))
    while block := list(islice(rows, at_once)):
        for line, cells in block:
            if len(cells) != len(names):
                hint = "take out lines of comments" if names[0].startswith(("#", "%", "//")) else None
                if len(cells) > len(names) and all(c.strip().lstrip("-").replace(".", "").isdigit() for c in cells):
                    hint = "commas inside numbers? Write 1234.5, not 1.234,5 or 1,234.5"
                    if len(cells) == len(names) + 1:
                        hint += "; or a column of row names, which the header has no name for"
                message = f"the row has {len(cells)} cells, but the header has {len(names)}"
                raise fault("D035", path, line, message, hint)
            lines.append(line)
        for column, down in zip(columns, zip(*(cells for _, cells in block), strict=True), strict=True):
            column.add([c.strip() for c in down])
    if not lines:
        raise fault("D034", path, None, "there is a header but no rows")
    regular = lines[-1] - lines[0] == len(lines) - 1
    return names, columns, range(lines[0], lines[-1] + 1) if regular else lines


# ------------------------------------------------------------------ bytes to rows


def _lines(file: BinaryIO, path: str) -> Iterator[str]:
    """Lines with their ends (LF, CR LF, CR), decoded block by block; DataError where the bytes are no text."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    held: list[str] = []  # a line whose end has not come; a CR may yet be followed by LF
    offset = newlines = 0
    while True:
        block = file.read(BYTES)
        offset += len(block)
        try:
            text = decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            line = newlines + error.object[: error.start].count(b"\n") + 1
            place = offset - len(error.object) + error.start
            message = f"is not UTF-8: byte 0x{error.object[error.start]:02x} at offset {place}"
            raise fault("D033", path, line, message, "save it as UTF-8") from None
        if "\0" in text:
            line = newlines + text[: text.index("\0")].count("\n") + 1
            raise fault("D033", path, line, "holds a NUL byte: is it a text file?")
        newlines += text.count("\n")
        ends = "\n" in text or "\r" in text or (held and held[-1].endswith("\r"))
        if text:
            held.append(text)
        if ends or not block:
            *lines, last = [*io.StringIO("".join(held), newline=""), ""]
            if lines and not lines[-1].endswith("\n") and block:
                last = lines.pop()
            held = [last] if last else []
            yield from lines
        if not block:
            return


def _rows(lines: Iterator[str], path: str) -> Iterator[tuple[int, list[str]]]:
    """Each row with the line it ends on. What splits the first line splits all.

    Blank lines are skipped, as in pandas and R; one of an empty cell in quotes, as pandas writes what is missing from a
    single column, is a row.
    """
    blank: list[str] = []
    for line in lines:
        blank.append(line)
        if line.strip():
            break
    delimiter = _delimiter(blank[-1] if blank else "")
    csv.field_size_limit(1 << 30)
    last = [""]
    reader = csv.reader(_chain(blank, lines, last), delimiter=delimiter, skipinitialspace=True, strict=True)
    first = 1  # line of the row that is read
    try:
        for cells in reader:
            first = reader.line_num + 1
            if last[0].strip():
                yield reader.line_num, cells
    except csv.Error as error:
        if "end of data" in str(error):
            raise fault("D035", path, first, "a quote opens in this row, and is not closed") from None
        hint = 'a quote inside quotes is written twice: "so ""called"" cells"'
        raise fault("D035", path, reader.line_num, f"cannot be split into cells: {error}", hint) from None


def _chain(first: list[str], rest: Iterator[str], last: list[str]) -> Iterator[str]:
    """All lines; `last` holds the one that was handed on last."""
    for line in chain(first, rest):
        last[0] = line
        yield line


def _delimiter(header: str) -> str:
    """The delimiter that splits the header into most cells; a comma where none does."""
    bare = re.sub('"(""|[^"])*"', "", header)  # of names in quotes, which may hold any
    counts = {d: bare.count(d) for d in DELIMITERS}
    return max(DELIMITERS, key=lambda d: counts[d])


def _check_header(names: Sequence[str], path: str) -> None:
    if all(is_numeral(n) for n in names):
        raise fault("D036", path, 1, "the first line holds numbers, not names of columns", "add a header line")
    twice = sorted(n for n, count in Counter(names).items() if count > 1 and n)
    if twice:
        raise fault("D036", path, 1, f"two columns are named {', '.join(twice)}")
    if len(names) > 1 and "" in names[1:]:
        hint = "name it, or take out the delimiters at the ends of lines" if not names[-1] else "name it"
        raise fault("D036", path, 1, f"column {names.index('', 1) + 1} has no name", hint)


# ------------------------------------------------------------------ cells to columns


class ColumnCells:
    """One column as its cells come, stripped of blanks: numbers until a cell is none, then text.

    Cells that are all `true` or `false` are 1 or 0. `late` says that the column is text, but that some of its cells
    were taken for numbers before that showed: then it is worth nothing, and is read again as text.
    """

    __slots__ = ("blocks", "kind", "labels", "late")

    def __init__(self, text: bool) -> None:
        self.blocks: list[Array] = []
        self.kind = "text" if text else ""
        self.labels: dict[str, str | None] = {"": None}
        self.late = False

    def add(self, cells: Sequence[str]) -> None:
        """The next cells; of a column that is `late` they are not kept."""
        if self.late:
            return
        if self.kind != "text":
            kind, values = _numbers(cells)
            apart = kind and self.kind and kind != self.kind
            self.kind = "text" if apart else self.kind or kind
            if self.kind != "text":
                self.blocks.append(values)
                return
            self.late = bool(self.blocks)
        if not self.late:
            self.blocks.append(self._texts(cells))

    def _texts(self, cells: Sequence[str]) -> Array:
        """Cells as text, None where empty; equal ones are one object, as long as few differ."""
        labels = self.labels
        out = np.empty(len(cells), object)
        if len(labels) < LABELS:
            out[:] = [labels.setdefault(c, c) for c in cells]
        else:
            out[:] = [labels.get(c, c) for c in cells]
        return out

    def whole(self) -> Array:
        """int64 where all cells are whole numbers; float64, NaN where nothing was seen; else text, None where empty."""
        blocks, self.blocks = self.blocks, []
        return np.concatenate(blocks) if len(blocks) > 1 else blocks[0]


def _numbers(cells: Sequence[str]) -> tuple[str, Array]:
    """What cells are ("number", "truth", "text", "" where all are missing), and their numbers, unless they are text."""
    try:
        return "number", _plain_numbers(cells)
    except ValueError:
        pass
    lower = [c.lower() for c in cells]
    seen = [c for c in lower if c not in UNSEEN]
    if seen and all(c in BOOLEANS for c in seen):
        return "truth", np.array([BOOLEANS.get(c, np.nan) for c in lower])
    if not all(is_numeral(c) for c in seen):
        return "text", np.empty(0)
    values = np.array([np.nan if c in UNSEEN else float(c) for c in lower], np.float64)
    return "number" if seen else "", values


def _plain_numbers(cells: Sequence[str]) -> Array:
    """Cells that are all decimal numbers; ValueError where one is not, or is missing."""
    if any("_" in c or c.lower() == "nan" for c in cells):
        raise ValueError
    if max(map(len, cells)) <= DIGITS:
        try:
            return np.array([int(c) for c in cells], np.int64)
        except ValueError:
            pass
    return np.array([float(c) for c in cells], np.float64)
