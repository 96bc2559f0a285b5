"""Starting from the posterior of a latent where it is exact: the first M-step is made with what the user gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from emdsl.runtime.data.columns import Array
from emdsl.runtime.data.faults import DataError

LEAST = 1e-300  # of a probability: a chain takes their logarithms


class Division:
    """The probabilities of one discrete latent, in place of a generator of divisions: rows are asked for in order."""

    def __init__(self, name: str, value: Any) -> None:
        if isinstance(value, list | tuple) and value and np.ndim(value[0]) == 2:  # one for each part of a ragged plate
            value = np.concatenate([v for v in value if len(v)])
        try:
            whole = np.asarray(value, float)
        except (TypeError, ValueError):
            raise _refused(name) from None
        if whole.ndim < 1 or not np.isfinite(whole).all() or (whole < 0).any() or not (whole.sum(-1) > 0).all():
            raise _refused(name)
        self.name, self.at, self.done = name, 0, False
        self.whole: Array = np.maximum(np.moveaxis(whole / whole.sum(-1, keepdims=True), -1, 0), LEAST)  # states first
        self.rows = np.moveaxis(self.whole, 1, -1) if self.whole.ndim > 2 else self.whole  # and rows last

    def __call__(self, q: Array, states: int) -> Array:
        if states == 1 and q.shape == self.whole.shape:
            self.done = not self.done
            return self.whole
        taken: Array = self.rows[..., self.at : self.at + q.shape[-1]]
        self.at += q.shape[-1]
        self.done = self.at == self.rows.shape[-1]
        if states != 1 or taken.shape != q.shape:
            raise _refused(self.name)
        return taken


def divided(given: Mapping[str, Any], drawn: bool) -> Division:
    """What a fit starts from where q is not factorised. Raises DataError for more than one latent, and `drawn` ones."""
    if drawn:
        raise _refused(next(iter(given)))
    if len(given) > 1:
        raise DataError(
            f"init: {', '.join(given)} are found together, and only one latent can be started from",
            hint="start from parameters: init = {...}",
            code="D016",
        )
    return Division(*next(iter(given.items())))


def check_read(division: Division) -> None:
    """Refuses probabilities of which the E-step made no use, or not all."""
    if not division.done:
        raise _refused(division.name)


def _refused(name: str) -> DataError:
    return DataError(
        f"init: {name} must hold probabilities as in posterior_, one row for each element, of a discrete latent that "
        "is enumerated or a chain: no other has a start of its own",
        hint="start from parameters: init = {...}",
        code="D016",
    )
