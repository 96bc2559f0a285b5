"""Starting from posteriors of discrete latents where they are exact: the first M-step is made with what is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from emdsl.runtime.data.columns import Array
from emdsl.runtime.data.faults import DataError
from emdsl.runtime.fitting.climbs import Setup

LEAST_SHARE = 1e-300  # of a probability: a chain takes their logarithms


class Division:
    """The probabilities of one discrete latent, in place of a generator of divisions: rows are asked for in order."""

    def __init__(self, name: str, value: Any) -> None:
        if isinstance(value, Mapping):
            raise DataError(f"init: {name} follows from the parameters and the data: it is no start of its own",
                            hint="leave it out, or give all parameters beside it", code="D016")  # fmt: skip
        if isinstance(value, list | tuple) and value and np.ndim(value[0]) == 2:  # one for each part of a ragged plate
            value = np.concatenate([v for v in value if len(v)])
        try:
            whole = np.asarray(value, float)
        except (TypeError, ValueError):
            raise _not_as_probabilities(name) from None
        if whole.ndim < 1 or not np.isfinite(whole).all() or (whole < 0).any() or not (whole.sum(-1) > 0).all():
            raise _not_as_probabilities(name)
        self.name, self.at, self.done = name, 0, False
        self.whole: Array = np.maximum(
            np.moveaxis(whole / whole.sum(-1, keepdims=True), -1, 0), LEAST_SHARE
        )  # states first
        self.rows = np.moveaxis(self.whole, 1, -1) if self.whole.ndim > 2 else self.whole  # and rows last

    def __call__(self, q: Array, states: int) -> Array:
        if states == 1 and q.shape == self.whole.shape:
            self.done = not self.done
            return self.whole
        taken: Array = self.rows[..., self.at : self.at + q.shape[-1]]
        self.at += q.shape[-1]
        self.done = self.at == self.rows.shape[-1]
        if states != 1 or taken.shape != q.shape:
            raise _not_as_probabilities(self.name)
        return taken


class Divisions:
    """The probabilities of several discrete latents, in place of a generator: each block asks for its own."""

    def __init__(self, given: Mapping[str, Any], rng: Any) -> None:
        self.each, self.rng = {n: Division(n, v) for n, v in given.items()}, rng

    def __call__(self, q: Array, states: int) -> Array:
        (only,) = self.each.values()
        return only(q, states)

    def of(self, names: tuple[str, ...]) -> Any:
        """What stands in place of the generator for the block of these latents: the generator where none is given."""
        own = [self.each.get(n) for n in names]
        if not any(own):
            return self.rng
        if missing := [n for n, d in zip(names, own, strict=True) if d is None]:
            raise _given_together(names, missing)

        def product(q: Array, states: int) -> Array:
            out = np.ones_like(q)
            for k, d in enumerate(own):
                assert d is not None
                gates = states + max(0, q.ndim - states - (d.whole.ndim - 1))  # states of others around: alike in all
                found = d(np.empty((q.shape[k], *q.shape[gates:])), 1)
                lead = (n if i == k else 1 for i, n in enumerate(q.shape[:gates]))
                out *= found.reshape(*lead, *q.shape[gates:])
            return out

        return product

    def element(self, name: str, at: int) -> Array | None:
        """The probabilities of one element of a latent in a network; None where it is not given."""
        division = self.each.get(name)
        if division is None:
            return None
        flat = division.whole.reshape(len(division.whole), -1)
        division.done = True
        if at >= flat.shape[1]:
            raise _not_as_probabilities(name)
        return flat[:, at]


def divided(given: Mapping[str, Any], drawn: bool, rng: Any) -> Divisions:
    """What a fit starts from where q is not factorised. Raises DataError where latents are drawn."""
    if drawn:
        raise _not_as_probabilities(next(iter(given)))
    return Divisions(given, rng)


def check_read(divisions: Divisions) -> None:
    """Refuses probabilities of which the E-step made no use, or not all."""
    for division in divisions.each.values():
        if not division.done:
            raise _not_as_probabilities(division.name)


def first_step(
    ask: Callable[..., Any], setup: Setup, given: Mapping[str, Array], params: Mapping[str, Array], statistics: Any,
    *beside: Any,
) -> dict[str, Any]:  # fmt: skip
    """The first M-step from what these statistics stand for, with its passes over the data; what is given stays."""
    found = ask("m_step", statistics, params, setup.prepared, "keep")
    if "refine" in vars(setup.module):
        found = ask("refine", params, found, setup.data, setup.prepared, *beside, statistics)
    return {n: given.get(n, np.asarray(found[n], np.float64)) for n in params}


def _given_together(names: tuple[str, ...], missing: list[str]) -> DataError:
    return DataError(
        f"init: {', '.join(names)} are found together, and {', '.join(missing)} has no start",
        hint="start from all of them, or from parameters: init = {...}",
        code="D016",
    )


def _not_as_probabilities(name: str) -> DataError:
    return DataError(
        f"init: {name} must hold probabilities as in posterior_, one row for each element, of a discrete latent that "
        "is enumerated or a chain: no other has a start of its own",
        hint="start from parameters: init = {...}",
        code="D016",
    )
