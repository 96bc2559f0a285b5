"""Sizes, givens and parameters of moderate size for any model: something to evaluate and to sample it at."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from emdsl.families.normalised import random_element
from emdsl.families.scope import Scope
from emdsl.fit.interpret import ragged_axes
from emdsl.language.model import Dim, ModelText, Ragged, Variable

LENGTHS = [2, 3, 1, 2]  # of a ragged plate, for the four elements around it


class Setting(NamedTuple):
    sizes: dict[str, int]
    lengths: dict[str, list[int]]
    params: dict[str, Any]
    givens: dict[str, Any]  # those without a default


def plausible(model: ModelText, seed: int = 0) -> Setting:
    """Every size without a default is 4; values are drawn from their domains."""
    rng = np.random.default_rng(seed)
    lengths = dict.fromkeys(ragged_axes(model), LENGTHS)
    sizes: dict[str, int] = {}
    for size in model.sizes:
        if size.name not in lengths:
            sizes[size.name] = 4 if size.default is None else size.default.value(sizes)
    values: dict[str, Any] = {}
    for variable in (*model.of_kind("given"), *model.of_kind("param")):
        values[variable.name] = _values(variable, sizes, lengths, values, rng)
    params = {v.name: values[v.name] for v in model.of_kind("param")}
    givens = {v.name: values[v.name] for v in model.of_kind("given") if v.default is None}
    return Setting(sizes, lengths, params, givens)


def _values(
    v: Variable, sizes: dict[str, int], lengths: dict[str, list[int]], known: dict[str, Any], rng: np.random.Generator
) -> np.ndarray:
    shape: tuple[int, ...] = ()
    for size in (*(plate.size for plate in v.plates), *v.array):
        # a ragged plate and what encloses it are one axis of rows
        shape = (sum(lengths[size.name]),) if isinstance(size, Ragged) else (*shape, size.value(sizes))
    rows = math.prod(shape)
    if isinstance(v.domain.levels, Dim):
        drawn = rng.integers(0, v.domain.levels.value(sizes), rows)
    else:
        drawn = np.asarray(random_element(v.domain, Scope(sizes=sizes, count=rows, values=known), rng))
    return drawn.reshape((*shape, *drawn.shape[1:]))
