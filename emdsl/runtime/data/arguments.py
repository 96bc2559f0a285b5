"""What is handed over as an argument, checked before it is used: a wrong type is told with what would be right."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from emdsl.runtime.data.faults import DataError

MOST_COUNTED = 2**53  # whole numbers beyond are no numbers of elements or steps, and no floats


def by_name(value: Any, what: str, of: str = "arrays") -> Mapping[str, Any]:
    """A dict, as it is; else DataError."""
    if not isinstance(value, Mapping):
        raise DataError(f"{what} must be a dict of {of} by name, not {type(value).__name__}", code="D016")
    return value


def whole_number(value: Any, what: str, least: int, most: int = MOST_COUNTED) -> int:
    """A whole number in this range; else DataError."""
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or not least <= value <= most:
        raise DataError(f"{what} must be a whole number, {least} or more, not {_told_shortly(value)}", code="D016")
    return int(value)


def seed_number(value: Any) -> int | None:
    """None, or a whole number that seeds a generator; else DataError."""
    return None if value is None else whole_number(value, "seed", 0, 2**128)


def place(value: Any) -> Path:
    """The path of a file; else DataError."""
    if not isinstance(value, (str, os.PathLike)):
        raise DataError(f"the path of a file must be a str or a Path, not {type(value).__name__}", code="D030")
    if os.fspath(value).endswith(os.sep):  # which Path leaves out, and writes over the file of that name
        raise DataError(f"{value}: is no file, as its name ends in {os.sep}", code="D030")
    path = Path(value)
    if "\0" in str(path):
        raise DataError("the path of a file holds a zero character", code="D030")
    try:
        os.fsencode(path)
    except UnicodeEncodeError as error:
        raise DataError(f"the path of a file holds {error.object[error.start]!a}, no character", code="D030") from None
    return path


class Translated:
    """A context in which exceptions of some kinds are raised as what `made` makes of them."""

    def __init__(self, kinds: tuple[type[Exception], ...], made: Callable[[Any], Exception]) -> None:
        self.kinds, self.made = kinds, made

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, self.kinds):
            raise self.made(error) from (None if isinstance(error, DataError) else error)


def as_returned(function: str) -> Translated:
    """Where arithmetic is done on what was handed over, which must be what a function returns: else DataError."""

    def made(error: Exception) -> Exception:
        if isinstance(error, DataError):
            return error
        lacking = f"{error} is lacking" if isinstance(error, KeyError) else str(error)
        text = f"what is handed over must be of this model, in its shapes: {lacking}"
        return DataError(text, hint=f"hand over what {function} returns, or sums of it", code="D003")

    return Translated((KeyError, TypeError, AttributeError, IndexError, ValueError, OverflowError), made)


def _told_shortly(value: Any) -> str:
    if isinstance(value, int) and abs(value) > 10**20:
        return "a number so large"
    text = repr(value)
    return text if len(text) <= 60 else f"{type(value).__name__} {text[:40]}..."
