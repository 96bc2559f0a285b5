"""Loops that numba compiles, where it is installed and a fit has been long enough for that to be repaid."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache
from typing import Any

REPAID = 2e6  # microseconds: between importing numba with what it has kept (0.5 s) and compiling a loop (5 s)


class Meter:
    """How much of one fit numpy has done where a compiled loop is waiting: when it is `REPAID`, the loop takes over.

    `spent` are microseconds by rules of thumb, added by who does the work: they follow from the sizes of the data and
    not from a clock, so that the same fit takes the same way, to the last digit, whenever it is run. `share` is how
    much of `REPAID` is enough, where the loop that waits compiles faster than others.
    """

    def __init__(self, share: float = 1.0) -> None:
        self.spent, self.share = 0.0, share

    def twin(self, kernel: Callable[..., Any]) -> Callable[..., Any] | None:
        """A function of `loops` compiled, or None: numpy is to do what it does.

        In the environment, EMDSL_NUMBA=off is None always, EMDSL_NUMBA=on never waits.
        """
        wish = os.environ.get("EMDSL_NUMBA", "")
        if wish == "off" or (wish != "on" and self.spent < self.share * REPAID):
            return None
        return compiled(kernel)


@lru_cache(maxsize=None)  # noqa: UP033  (what modules import)
def compiled(kernel: Any) -> Callable[..., Any] | None:
    """A function of `loops`, compiled with those that it calls; None where numba is not installed.

    What is compiled is kept beside the file of the function or, where nothing can be written there, in numba's folder.
    """
    try:
        import numba
    except (ImportError, OSError):  # not there, or not with this numpy
        return None
    code, known = kernel.__code__, kernel.__globals__
    plain = type(kernel)
    inner = {name: compiled(known[name]) for name in code.co_names if isinstance(known.get(name), plain)}
    copy = plain(code, {**known, **inner}, kernel.__name__)
    options: dict[str, Any] = {"error_model": "numpy", "fastmath": {"contract"}, "nogil": True}
    try:
        made: Callable[..., Any] = numba.njit(cache=True, **options)(copy)
    except RuntimeError:  # there is no file, or nowhere to write
        made = numba.njit(**options)(copy)
    return made
