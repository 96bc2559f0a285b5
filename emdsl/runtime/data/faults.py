"""What goes wrong with data and fits, as exceptions and warnings that carry their way out."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Mapping
from typing import Any


class DataError(ValueError):
    """The data, the starting values or the options of a fit are wrong.

    `code` is stable ("D004"); `hint` is the way out; `row` is the first offending row, from 0, where there is one.
    `place` is, where that is known, the variable at fault and the place in its array; `of_table`: `row` is a table's.
    """

    place: tuple[str, tuple[int, ...]] | None = None
    of_table = False

    def __init__(self, message: str, hint: str | None = None, code: str = "D001", row: int | None = None) -> None:
        super().__init__(message, hint, code, row)
        self.message, self.hint, self.code, self.row = message, hint, code, row

    def at(self, name: str, place: tuple[int, ...]) -> DataError:
        """This error, of an entry of a variable's array."""
        self.place = (name, place)
        return self

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\n    hint: {self.hint}"


class WrittenOut(DataError):
    """The module is written out for other sizes than the data have; `sizes` are those it would have to be for."""

    def __init__(self, written: Mapping[str, int], sizes: Mapping[str, int]) -> None:
        shown = ", ".join(f"{n} = {k}" for n, k in written.items())
        found = ", ".join(f"{n} = {sizes[n]}" for n in written)
        hint = f"compile the model with `size {found}`" if len(written) == 1 else f"compile the model with {found}"
        super().__init__(f"the module is written out for {shown}, the data have {found}", hint=hint, code="D011")
        self.sizes = {n: sizes[n] for n in written}

    def __reduce__(self) -> tuple[Any, ...]:
        return DataError, (self.message, self.hint, self.code, self.row)


def first_line(error: Exception) -> str:
    """What code that is not ours raised, in one line."""
    return ": ".join([type(error).__name__, *str(error).splitlines()[:1]])


class DegenerateFit(RuntimeError):
    """The likelihood has no maximum here: a component is empty, or collapsed on too few points."""


class ConvergenceWarning(UserWarning):
    """A fit ended without having converged; `status_` and `message_` say how."""


def say(text: str, category: type[Warning] = UserWarning) -> None:
    """Warns at the line from which the package, or the module that this is printed into, was called."""
    own, frame, level = __name__.partition(".")[0], sys._getframe(1), 2
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).partition(".")[0] == own:
        frame, level = frame.f_back, level + 1
    warnings.warn(text, category, stacklevel=level)


def closest(name: str, known: Iterable[str]) -> str | None:
    """A hint with the known name nearest to a misspelt one, or None."""
    import difflib  # here, as most modules are imported without a mistake in any name

    names = sorted(known)
    found = difflib.get_close_matches(str(name), names, n=1, cutoff=0.6)
    if found:
        return f"did you mean {found[0]}?"
    return f"known are {', '.join(names)}" if names else None
