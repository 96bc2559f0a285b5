"""The common harness: both sides by turns, so that a noisy machine disturbs them alike, and medians."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

MODELS = Path(__file__).parents[1] / "models"


@dataclass(frozen=True)
class Line:
    """One row of the report; times in milliseconds, or whatever `unit` says. `goal` is what issue and peers ask for."""

    work: str
    peer: str
    theirs: float | None
    ours: float
    goal: str
    agree: str = ""
    unit: str = "ms"

    @property
    def ratio(self) -> float | None:
        return None if self.theirs is None else self.theirs / self.ours


def seconds(action: Callable[[], Any]) -> tuple[float, Any]:
    """Wall time of one call, and what it returned."""
    gc.collect()
    start = time.perf_counter()
    value = action()
    return time.perf_counter() - start, value


def by_turns(ours: Callable[[], Any], theirs: Callable[[], Any], rounds: int) -> tuple[float, float, Any, Any]:
    """Median seconds of both, called by turns after one warm-up each, and what they last returned.

    What exists by then is frozen: a collection that walked over all of sympy's objects before every call would leave
    both to begin with empty caches, of which a fit of two milliseconds then takes as long again.
    """
    mine, other = [], []
    ours(), theirs()
    gc.freeze()
    for _ in range(rounds):
        a, left = seconds(ours)
        b, right = seconds(theirs)
        mine.append(a)
        other.append(b)
    gc.unfreeze()
    return median(mine), median(other), left, right


@contextmanager
def by_loops(wish: str) -> Iterator[None]:
    """With loops that numba compiles (`on`, from the first iteration) or without (`off`)."""
    before = os.environ.get("EMDSL_NUMBA")
    os.environ["EMDSL_NUMBA"] = wish
    try:
        yield
    finally:
        del os.environ["EMDSL_NUMBA"]
        if before is not None:
            os.environ["EMDSL_NUMBA"] = before


def agreement(ours: float, theirs: float) -> str:
    """Both log-likelihoods as one phrase; a disagreement is an error, for then the times mean nothing."""
    gap = abs(ours - theirs) / (1 + abs(theirs))
    if gap > 1e-8:
        raise AssertionError(f"log-likelihoods differ: {ours!r} against {theirs!r}")
    return f"{ours:.6f} ({gap:.0e})"


def table(lines: list[Line]) -> str:
    """The report as aligned text."""
    rows = [["work", "peer", "theirs", "emdsl", "ratio", "goal", "log-likelihood (relative gap)"]]
    for x in lines:
        theirs = "" if x.theirs is None else f"{x.theirs:.4g} {x.unit}"
        ratio = "" if x.ratio is None else f"{x.ratio:.1f}x"
        rows.append([x.work, x.peer, theirs, f"{x.ours:.4g} {x.unit}", ratio, x.goal, x.agree])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)
