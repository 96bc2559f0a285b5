"""Forecasts by simulation: paths drawn from the model itself, each from a draw of what stands before the rows ahead.

    h_b, x_b ~ p(rows ahead | elements that they read, drawn from their posterior),   b = 1..B;  moments over paths

Where starts are independent the standard error of a mean is sd / sqrt(B). Where they come from a Markov chain it is
that of the means of about sqrt(B) batches (Jones et al. 2006).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from emdsl.families.scope import Array, Scope
from emdsl.fit.ahead.future import Future, Read
from emdsl.fit.sampling import NO_DRAWS, Sampler, components
from emdsl.language.model import ModelText, Variable

PATHS = 4000  # drawn where nobody says how many
MOST_NUMBERS = 2**22  # held of rows before at a time, and of rows ahead of one variable in all, roughly
QUANTILES = (0.05, 0.5, 0.95)


class Starts(NamedTuple):
    """Draws of the elements that rows ahead read: (paths, *plates without the ordered one, *own) for each.

    again : paths that share one draw, in runs. together : paths in a row whose draws may be alike, as a chain's are.
    """

    values: Mapping[Read, Array]
    again: int = 1
    together: int = 1


def simulate(future: Future, starts: Starts, paths: int, rng: np.random.Generator) -> dict[str, Array]:
    """Paths of every latent and observed variable of the rows ahead, (paths, *plates with steps, *own)."""
    many = future.many()
    rows = sum(a.size for a in future.data.values.values()) + 1
    at_once = max(1, min(paths, MOST_NUMBERS // rows))
    found: dict[str, list[Array]] = {}
    for first in range(0, paths, at_once):
        here = range(first, min(paths, first + at_once))
        for name, value in _some(future, many, starts, here, rng).items():
            found.setdefault(name, []).append(value)
    return {n: np.concatenate(parts) for n, parts in found.items()}


def _some(future: Future, many: ModelText, starts: Starts, here: range, rng: np.random.Generator) -> dict[str, Array]:
    scope, known = future.scope(many, len(here))
    sampler = Sampler(many, rng, {})
    for read, values in starts.values.items():
        put(future, many.variable(read.name), -read.lag or None, values[np.asarray(here) // starts.again], scope, known)
    drawn = future.on_plate(many)
    for component in components(drawn, many):
        places = {v.name: future.rows(v, scope, range(future.steps)) for v in component}
        sampler.settle(component, places, known, scope)
    return {v.name: future.ahead(v, scope, sampler) for v in drawn}


def put(
    future: Future,
    v: Variable,
    offset: int | None,
    values: Array,
    scope: Scope,
    known: Mapping[str, Array] | None = None,
) -> None:
    """Values of v's elements so many rows after the last one seen (None: of all its elements), known from now on.

    values : (copies, *plates without the ordered one, *own).
    """
    if offset is None:
        index: Any = ...
        here = values.reshape(scope.values[v.name].shape)
    else:
        whole = future.rows(v, scope, [offset])
        index = Sampler(future.model, NO_DRAWS, {}).position(v, whole, scope)
        here = values[future.around(v, whole)]
    scope.values[v.name][index] = here
    if known is not None:
        known[v.name][index] = True


def summary(v: Variable, paths: Array, together: int, quantiles: Sequence[float], levels: int | None) -> Any:
    """Probabilities of a category or a bool; of numbers mean, var or cov, quantiles, and the mean's standard error."""
    if levels is not None:
        return np.stack([(paths == k).mean(0) for k in range(levels)], -1)
    own = len(v.array) + len(v.domain.dims)
    mean = paths.mean(0)
    off = paths - mean
    runs = paths[: len(paths) // together * together].reshape(-1, together, *mean.shape).mean(1)
    out = {"mean": mean}
    if own == 1:
        out["cov"] = np.einsum("b...i,b...j->...ij", off, off) / max(1, len(paths) - 1)
    else:
        out["var"] = (off**2).sum(0) / max(1, len(paths) - 1)
    out["se"] = runs.std(0, ddof=1) / np.sqrt(len(runs)) if len(runs) > 1 else np.full(mean.shape, np.nan)
    return out | {"quantiles": quantiles_of(paths, quantiles)}


def quantiles_of(paths: Array, quantiles: Sequence[float]) -> Array:
    """(*plates with steps, *own, quantiles)."""
    return np.moveaxis(np.quantile(paths, np.asarray(quantiles, float), axis=0), 0, -1)
