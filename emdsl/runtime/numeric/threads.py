"""Passes over many rows on two threads: numpy leaves the interpreter to the other one while it computes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from typing import Any

import numpy as np

LONG_PASS = 16  # chunks, from which on they are longer and BLAS is held to one thread
FOR_TWO = 32  # chunks at least in a pass on two threads: fewer are over too soon to be worth a second one
IN_ONE = 4  # times the rows in a chunk of a long pass: after every operation a thread waits for the interpreter


@lru_cache(maxsize=None)  # noqa: UP033  (what modules import)
def blas() -> Any | None:
    """What tells and sets the number of threads of numpy's BLAS: threadpoolctl's, None where that is not installed."""
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:
        return None
    return ThreadpoolController().select(user_api="blas")


def blas_threads() -> int:
    """How many threads BLAS may use now; 0 where nobody can say."""
    found = blas()
    return min((library.num_threads for library in found.lib_controllers), default=0) if found is not None else 0


def wide_chunks(n: int, size: int) -> list[slice]:
    """Slices of at least `size` rows that cover n rows: of more where there are many and BLAS does not split products.

    A product of more rows is split between threads of BLAS, which costs more than it wins: left to itself it gets
    `size` rows at a time, held to one thread it may have more.
    """
    if n >= 2 * LONG_PASS * size and blas_threads():
        size = max(size, min(8192, size * min(IN_ONE, n // (LONG_PASS * size))))
    return [slice(a, min(a + size, n)) for a in range(0, n, size)]


def one_by_one(chunks: Sequence[slice]) -> Iterator[slice]:
    """Chunks of rows in their order; where there are many, BLAS has one thread until the last one is done."""
    found = blas() if len(chunks) >= LONG_PASS and blas_threads() > 1 else None
    if found is None:
        yield from chunks
        return
    with found.limit(limits=1):
        yield from chunks


def on_half(which: int, work: Callable[[], Any]) -> Any:
    """What `work` returns, done on the first or second half of the processors that this thread may use.

    Two threads that hand the interpreter to one another wake on one processor, and stay there, if they may.
    """
    allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_setaffinity") else []
    half = len(allowed) // 2
    if not half:
        return work()
    os.sched_setaffinity(0, allowed[half:] if which else allowed[:half])
    try:
        return work()
    finally:
        os.sched_setaffinity(0, allowed)


def side_by_side(
    added: Callable[[Sequence[slice]], tuple[Any, ...]], chunks: Sequence[slice], rng: Any
) -> tuple[Any, ...]:
    """Sums over chunks of rows, as `added` makes them: where there are very many, of either half on a
    thread of its own if there are two, and added up alike if there is one.

    BLAS has one thread meanwhile. What is drawn with `rng` is drawn row after row.
    """
    half = len(chunks) // 2
    if rng is not None or len(chunks) < LONG_PASS:
        return added(chunks)
    found = blas() if blas_threads() > 1 else None
    parts = [chunks] if len(chunks) < FOR_TWO else [chunks[:half], chunks[half:]]
    if found is None:
        sums = [added(part) for part in parts]
    else:
        with found.limit(limits=1):
            sums = [added(chunks)] if len(parts) == 1 else _at_once(*(partial(added, part) for part in parts))
    return sums[0] if len(sums) == 1 else tuple(a + b for a, b in zip(*sums, strict=True))


def _at_once(one: Callable[[], Any], two: Callable[[], Any]) -> list[Any]:
    """What both return, the second on a thread of its own."""
    from threading import Thread  # here: few passes are long

    settings = np.geterr()
    told: list[tuple[Any, BaseException | None]] = []

    def second() -> None:
        try:
            with np.errstate(**settings):
                told.append((on_half(1, two), None))
        except BaseException as fault:  # noqa: BLE001  (raised again below)
            told.append(((), fault))

    other = Thread(target=second)
    other.start()
    try:
        first = on_half(0, one)
    finally:
        other.join()
    found, fault = told[0]
    if fault is not None:
        raise fault
    return [first, found]
