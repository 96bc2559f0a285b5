"""One array of the user's, of whatever kind, as numbers or text with a mask of what is present."""

from __future__ import annotations

import math
import numbers
import re
from collections.abc import Callable, Sequence, Sized
from typing import Any, NamedTuple

import numpy as np

from emdsl.runtime.data.faults import DataError, first_line

Array = np.ndarray[Any, np.dtype[Any]]


class Column(NamedTuple):
    """`values`: int64, float64, or text as objects, any axes; `missing`: True where nothing was seen, or None."""

    values: Array
    missing: Array | None = None

    @property
    def text(self) -> bool:
        return self.values.dtype.kind == "O"

    @property
    def present(self) -> Array:
        return np.ones(self.values.shape, bool) if self.missing is None else ~self.missing


def place_words(place: Sequence[int]) -> str:
    """A place in an array: "row 3" or "row 3, entry [1]"."""
    return (f"row {place[0]}" + (f", entry {list(place[1:])}" if len(place) > 1 else "")) if place else "its value"


def refuse_where(name: str, bad: Array, values: Array, what: str, hint: str | None = None, code: str = "D005") -> None:
    """Raise DataError where any entry is bad, with the count, the first one and its row (from 0)."""
    if not bad.any():
        return
    flat = int(np.flatnonzero(bad)[0])
    at = tuple(int(i) for i in np.unravel_index(flat, bad.shape))
    value = values.reshape(-1)[flat] if values.shape == bad.shape else values[np.unravel_index(flat, bad.shape)]
    shown = repr(value.item() if isinstance(value, np.generic) else value)
    count = int(bad.sum())
    many = f"{count} values, the first" if count > 1 else "the value"
    told = f"{name}: {what}: " + (f"{many} in {place_words(at)}: " if at else "it is ") + shown[:80]
    raise DataError(told, hint=hint, code=code, row=at[0] if at else None).at(name, at)


def is_missing(value: Any) -> bool:
    """None, NaN, NaT, pandas.NA, Decimal("NaN") and Decimal("sNaN")."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    try:
        return bool(value != value)
    except ArithmeticError:  # Decimal("sNaN") cannot be compared, not even with itself
        return True
    except (TypeError, ValueError):
        return False


def _number(value: Any) -> int | float | None:
    """A real number as int or float, None for anything else."""
    if isinstance(value, (bool, np.bool_)):
        return int(value)
    if isinstance(value, (numbers.Integral, np.integer)):
        return int(value)
    if isinstance(value, (numbers.Real, np.floating)) or type(value).__name__ == "Decimal":
        return _as_float(value)
    return None


def _as_float(value: Any) -> float:
    """The nearest float, infinite beyond the largest one."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _from_objects(name: str, data: Array, mask: Array | None) -> Column:
    """An object array: all text, or all numbers, beside what is missing."""
    flat = data.reshape(-1)
    unseen = (is_missing(v) or (isinstance(v, (str, bytes)) and not v) for v in flat)  # an empty cell, as in a file
    missing = np.fromiter(unseen, bool, flat.size).reshape(data.shape)
    if mask is not None:
        missing |= mask
    hidden = missing.reshape(-1)
    present = [(i, flat[i]) for i in np.flatnonzero(~hidden)]
    gone = missing if missing.any() else None
    texts = [(i, v) for i, v in present if isinstance(v, (str, bytes))]
    if texts and len(texts) == len(present):
        out = np.full(flat.size, "", object)
        for i, v in texts:
            out[i] = v.decode("utf-8", "backslashreplace") if isinstance(v, bytes) else str(v)
        return Column(out.reshape(data.shape), gone)
    known = [(i, v, _number(v)) for i, v in present]
    for i, v, number in known:
        if number is None:
            what = "holds numbers and text" if texts else f"holds a {type(v).__name__}, which is no number"
            bad = np.zeros(flat.size, bool)
            bad[i] = True
            hint = "code it as numbers, or all of it as text" if data.ndim else "pass a list or an array of numbers"
            refuse_where(name, bad.reshape(data.shape), data, what, hint, "D004")
    whole = all(isinstance(n, int) for _, _, n in known)
    if whole and any(abs(n) >= 2**63 for _, _, n in known if n is not None):
        whole = False
    numeric = np.zeros(flat.size, np.int64 if whole and known else np.float64)
    for i, _, number in known:
        numeric[i] = (number if whole else _as_float(number)) if number is not None else 0
    return Column(numeric.reshape(data.shape), gone)


def _from_numpy(name: str, data: Array, mask: Array | None) -> Column:
    """A numpy array of any type and byte order."""
    kind = data.dtype.kind
    if kind in "bi" or (kind == "u" and (data.dtype.itemsize < 8 or not data.size or int(data.max()) < 2**63)):
        return Column(np.ascontiguousarray(data, np.int64).reshape(data.shape), mask)
    if kind in "fu":
        values = np.ascontiguousarray(data, np.float64).reshape(data.shape)
        if mask is None and plainly_finite(values):
            return Column(values)
        missing = np.isnan(values)
        if mask is not None:
            missing |= mask
        if not missing.any():
            return Column(values)
        return Column(np.where(missing, 0.0, values), missing)
    if kind in "OUST":
        return _from_objects(name, data.astype(object), mask)
    kinds = {"c": "complex numbers", "M": "dates", "m": "time differences", "V": "records", "S": "bytes"}
    hint = "use numbers: days since the first date, say" if kind in "Mm" else "pass an array of real numbers"
    raise DataError(f"{name}: holds {kinds.get(kind, str(data.dtype))}, which is not a number", hint=hint, code="D004")


def plainly_finite(values: Array) -> bool:
    """Whether the squares have a finite sum, so that every number is finite: one pass, in which numpy warns of nothing.

    False says nothing: squares of finite numbers overflow too.
    """
    return math.isfinite(np.vdot(values, values))


def converted(name: str, convert: Callable[..., Any], *arguments: Any) -> Any:
    """`convert(*arguments)`, which runs code of whatever object was handed over: DataError for whatever that raises.

    Errors of numpy's own about the values pass.
    """
    try:
        return convert(*arguments)
    except (ValueError, TypeError, OverflowError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001  (of code that is not ours)
        raise _no_array(name, arguments[0], error) from None


def _no_array(name: str, data: Any, error: Exception) -> DataError:
    return DataError(f"{name}: is a {type(data).__name__}, which makes no array: {first_line(error)}", code="D004")


def _uneven(name: str, rows: Any) -> DataError:
    """The fault of rows of uneven lengths, with the first that differs, where that is no deeper inside."""
    counts = [len(row) if isinstance(row, Sized) and np.iterable(row) else None for row in rows]
    row = next((i for i, count in enumerate(counts) if count != counts[0]), None)
    message, hint = f"{name}: its rows have uneven lengths", "what has a length of its own lies on a ragged plate"
    if row is not None:
        here, first = ("one number" if n is None else f"{n} of them" for n in (counts[row], counts[0]))
        message += f": row {row} holds {here}, row 0 {first}"
    return DataError(message, hint=hint, code="D003", row=row)


def _plain(data: Any) -> Any:
    """A column of a foreign library as a numpy array; numpy arrays and sequences as they are."""
    if isinstance(data, np.ndarray):
        return data
    if hasattr(data, "column_names") and hasattr(data, "columns"):  # a pyarrow table
        return np.stack([_objects(c.to_pylist()) for c in data.columns], -1)
    if hasattr(data, "to_pylist"):  # a pyarrow array
        whole = data.null_count == 0 and str(data.type) in ("int64", "int32", "int16", "int8")
        primitive = whole or str(data.type) in ("double", "float")  # whose missing entries come as NaN
        return (
            data.to_numpy(zero_copy_only=False) if primitive and hasattr(data, "chunks") else _objects(data.to_pylist())
        )
    if hasattr(data, "to_numpy"):  # pandas and polars, series or frame
        kinds = [str(k) for k in ([data.dtype] if hasattr(data, "dtype") else data.dtypes)]
        plain = all(k.lower().rstrip("0123456789") in ("float", "int", "uint") and k.islower() for k in kinds)
        return data.to_numpy() if plain or not hasattr(data, "iloc") else data.to_numpy(dtype=object)
    return data


def _objects(items: Sequence[Any]) -> Array:
    out = np.empty(len(items), object)
    out[:] = items
    return out


def read_column(name: str, data: Any) -> Column:
    """Any array-like as a Column, its axes kept.

    Takes numbers, numpy arrays of any real type and order, masked arrays, nested lists, and the
    columns of pandas, polars and pyarrow. NaN, None and NA are missing. Raises DataError for
    sparse matrices, dates, complex numbers, a mix of numbers and text, and lists of uneven length.
    """
    try:
        return _read_column(name, data)
    except (DataError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001  (of code that is not ours: reading an object runs its methods)
        raise _no_array(name, data, error) from None


def _read_column(name: str, data: Any) -> Column:
    if hasattr(data, "toarray") and hasattr(data, "nnz"):
        raise DataError(f"{name}: is a sparse matrix", hint=f"pass {name}.toarray()", code="D003")
    if isinstance(data, np.ma.MaskedArray):
        mask = np.ma.getmaskarray(data)
        return _from_numpy(name, np.asarray(data.data), mask if mask.any() else None)
    data = _plain(data)
    if not isinstance(data, np.ndarray):
        try:
            array = np.asarray(data)
        except (OverflowError, TypeError):  # numbers beyond the largest float
            if not isinstance(data, (list, tuple)):
                raise
            array = np.asarray(data, dtype=object)
        except ValueError as error:
            if "inhomogeneous" in str(error) and isinstance(data, (list, tuple)):
                raise _uneven(name, data) from None
            raise
        data = np.asarray(data, dtype=object) if array.dtype.kind in "UST" and array.ndim else array
    return _from_numpy(name, data, None)


def stack_columns(name: str, columns: Sequence[Column]) -> Column:
    """Columns one below the other; text wherever one of them is text and the others hold nothing."""
    if len(columns) == 1:
        return columns[0]
    values = [c.values for c in columns]
    if any(c.text for c in columns):
        values = [v if v.dtype.kind == "O" else np.full(v.shape, "", object) for v in values]
        for column in columns:
            if not column.text and bool(column.present.any()):
                hint = "code it as numbers, or all of it as text"
                raise DataError(f"{name}: holds numbers and text", hint=hint, code="D004")
    missing = None if all(c.missing is None for c in columns) else np.concatenate([~c.present for c in columns])
    return Column(np.concatenate(values), missing)


def whole_numbers(name: str, column: Column, what: str) -> Array:
    """The values as int64, 0 where missing; DataError where one is no whole number."""
    if column.values.dtype.kind == "i":
        return column.values if column.missing is None else np.where(column.missing, 0, column.values)
    values = np.where(column.present, column.values, 0.0)
    finite = np.isfinite(values)
    refuse_where(name, finite & (values != np.floor(values)), values, f"must be {what}, but is not whole")
    refuse_where(name, finite & (np.abs(values) >= 2.0**63), values, f"must be {what}, but is too large for one")
    refuse_where(name, ~finite, values, "must be finite", code="D006")
    return np.asarray(values, np.int64)


OPEN_END = (  # of a given, which may not be missing
    "the end of an interval that has none: pass a number far beyond all others, or say so in the model, "
    "Delta(t > lo if open else lo < t <= hi)"
)


def real_numbers(name: str, column: Column, given: bool = False) -> Array:
    """The values as float64, 0 where missing; DataError where one is infinite."""
    values = np.asarray(column.values, np.float64)
    if column.missing is not None:
        values = np.where(column.missing, 0.0, values)
    elif plainly_finite(values):
        return values
    hint = OPEN_END if given else "leave out, or mark as missing, what was not seen"
    refuse_where(name, np.isinf(values), values, "must be finite", hint, "D006")
    return np.ascontiguousarray(values).reshape(column.values.shape)


UNSEEN = frozenset(("", "na", "n/a", "nan", "null"))  # words for what was not seen, where cells are numbers


def refuse_text(name: str, column: Column) -> None:
    """Raise DataError for text where numbers are needed: the cells that are no numbers, or all where each is one.

    Words for what was not seen (`NA`) are at fault only where nothing else is.
    """
    flat = column.values.reshape(-1)
    bad = np.fromiter((not is_numeral(v) for v in flat), bool, flat.size).reshape(column.values.shape) & column.present
    absent = np.fromiter((str(v).strip().lower() in UNSEEN for v in flat), bool, flat.size).reshape(bad.shape)
    bad = bad & ~absent if (bad & ~absent).any() else bad
    if not bad.any():
        convert = f"convert it: {name}.astype(float)"
        refuse_where(name, column.present, column.values, "holds numbers written as text", convert, "D004")
        raise DataError(f"{name}: every value is missing", code="D009")
    texts = [str(v) for v in flat[bad.reshape(-1)]]
    hint = _as_number(texts[0]) or (_way_to_code(sorted(set(texts))) if len(texts) == column.present.sum() else None)
    hint = hint or "leave the cell empty where nothing was seen"
    refuse_where(name, bad, column.values, "must be numbers, but holds text", hint, "D004")


def _as_number(text: str) -> str | None:
    """How to write what a text may mean, where that is a number."""
    if 0 <= text.rfind(".") < text.find(","):  # 1.234,5, of which the comma is the decimal point
        text = text.replace(".", "").replace(",", ".", 1)
    plain = text.strip(" %$€£").translate({ord(c): None for c in ",' _\u00a0\u2009\u202f"})
    if re.fullmatch(r"-?[0-9]{1,3},[0-9]{3}", text):
        return f"a comma is no part of a number: write {plain}, or {text.replace(',', '.')}"
    if "," in text and text.replace(",", "", 1).lstrip("-").isdigit():
        return "decimal commas: write 1.5, not 1,5"
    return f"write {plain}, digits alone" if is_numeral(plain) else None


def _way_to_code(labels: Sequence[str]) -> str:
    """How to make numbers of a column of text alone."""
    if all(re.match(r"[0-9]{4}-[0-9]{2}", label) for label in labels):
        return "use numbers: days since the first date, say"
    if len(labels) == 2:
        return f"code it as numbers: 0 for {labels[0]!r}, 1 for {labels[1]!r}"
    return "code it as numbers; labels are for a `category[K]` or an `index[G]`"


def holds_numbers(column: Column) -> bool:
    """Whether text is a column of numbers spoilt by some cells: some are numerals, perhaps with decimal commas."""
    cells = [str(v) for v in column.values[column.present]]
    spoilt = not all(is_numeral(c) for c in cells)
    return spoilt and any(is_numeral(c.replace(",", ".", 1)) and any(map(str.isdigit, c)) for c in cells)


def is_numeral(text: str) -> bool:
    """Whether a text is a decimal number; Python's own forms (1_000) are none."""
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text
