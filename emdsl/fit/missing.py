"""What is missing of data: which of it is latent, under which names, and what is said where it cannot be."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from emdsl.derive.posteriors.held import KNOWN_TOTAL
from emdsl.errors import ModelError
from emdsl.runtime.data import faults
from emdsl.runtime.data.binding import Bound
from emdsl.runtime.fitting.forecast import only_last


def renamed(bound: Bound, completed: Collection[str], spec: Mapping[str, Any]) -> Bound:
    """The data of a completed model: of a discrete variable what was seen of it has a name of its own."""
    named = {v["data_of"]: v["name"] for v in spec["variables"] if v.get("data_of") in completed}
    values = {named.get(n, n): a for n, a in bound.values.items()}
    return bound._replace(values=values, masks={named.get(n, n): a for n, a in bound.masks.items()})


def read_ahead(spec: Mapping[str, Any]) -> tuple[str, ...]:
    """Observed variables on ordered plates that other densities read: their rows ahead are latent."""
    plates = set(spec.get("steps", {}))
    needed = [v for v in spec["variables"] if v["kind"] == "observed" and v["missing"] == "complete"]
    return tuple(v["name"] for v in needed if plates & {p[1].split("[")[0] for p in v["plates"]})


def has_gaps(variable: Mapping[str, Any], mask: Any) -> bool:
    """Whether missing entries of a variable are to be integrated out, and not its elements left out."""
    if mask is None or variable.get("missing") not in ("complete", "cells"):
        return False
    own = tuple(range(mask.ndim - len(variable["array"]) - len(variable["event"]), mask.ndim))
    return variable["missing"] == "complete" or bool((mask.any(own) != mask.all(own)).any())


LAST = "what is missing are the last of their sequences: leave these rows out, and forecast(steps)"


def are_last(variable: Mapping[str, Any], bound: Bound, spec: Mapping[str, Any]) -> bool:
    """Whether what is missing of a variable stands at the ends of its sequences."""
    return only_last(variable, np.asarray(bound.masks[variable["name"]]), bound, spec.get("steps", {}))


def located(error: ModelError, found: Mapping[str, Any], bound: Bound, spec: Mapping[str, Any]) -> faults.DataError:
    """Which data are missing, and what in the model keeps them from being integrated out."""
    name = next(iter(found))
    mask = np.asarray(bound.masks[name])
    row, count = int(np.argwhere(~mask)[0][0]), int((~mask).sum())
    many = f"{count} cells are missing, the first" if count > 1 else "a cell is missing,"
    problem = error.problems[0]
    line = "" if problem.span is None else f" (line {problem.span.line} of the model)"
    hint = "drop these rows, or write the density as a Gaussian given latents (a scale, a class) of the row"
    if any(name in names for names in spec.get("steps", {}).values()):  # without a row its neighbours would be others
        hint = hint.replace("drop these rows", "begin a new sequence after them (a plate of sequences around)")
    if any(p.hint == KNOWN_TOTAL for p in error.problems):
        hint = KNOWN_TOTAL
    if are_last(found[name], bound, spec):
        hint = LAST
    return faults.DataError(
        f"{name}: {many} in row {row}; they cannot be integrated out: {problem.message}{line}",
        hint=hint,
        code="D001",
        row=row,
    )
