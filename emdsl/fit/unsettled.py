"""What is not settled, in words: parameters as one vector, directions of it, and states that may change places."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from emdsl.runtime.data.columns import Array
from emdsl.runtime.fitting.settings import variable_axes
from emdsl.runtime.fitting.symmetry import states
from emdsl.runtime.numeric.unconstrained import from_free, to_free

TOUCHED = 1e-3  # of a direction's length: less in a parameter is none
PROBABLE = 1e-6  # a probability that moves by less stays where it is
SHOWN = 4  # numbers of a direction that are told one by one


@dataclass(frozen=True)
class Unidentified:
    """Parameters of which `directions` directions leave the objective as it is, in words when printed.

    0 directions: states whose order says nothing, so that other places are as good and none beside this one.
    """

    params: tuple[str, ...]
    directions: int
    words: str

    def __str__(self) -> str:
        return self.words


class Coordinates:
    """Parameters as a vector `free` without bounds, and as all of their own numbers."""

    def __init__(self, spec: Mapping[str, Any], params: Mapping[str, Array]) -> None:
        held = {v["name"]: v for v in spec["variables"] if v["kind"] == "param" and np.size(params.get(v["name"], ()))}
        self.params = {n: np.asarray(params[n], float) for n in held}
        self.domains = {n: v["domain"] for n, v in held.items()}
        self.bounds = {n: (v["lower"], v["upper"]) for n, v in held.items()}
        free = {n: np.asarray(to_free(self.params[n], self.domains[n], self.bounds[n])) for n in held}
        self.shapes = {n: f.shape for n, f in free.items()}
        self.owner = np.array([n for n, f in free.items() for _ in range(f.size)])
        self.free = np.concatenate([np.zeros(0), *map(np.ravel, free.values())])
        size = {n: max(np.abs(f).max(initial=0.0), 1e-3) if self.domains[n] == "real" else 1.0 for n, f in free.items()}
        self.scale = np.array([size[n] for n in self.owner])

    def values(self, free: Array) -> dict[str, Array]:
        """The parameters at another point."""
        out, start = {}, 0
        for n, shape in self.shapes.items():
            part = free[start : start + int(np.prod(shape))].reshape(shape)
            start += part.size
            out[n] = np.asarray(from_free(part, self.domains[n], self.bounds[n], np.shape(self.params[n])), float)
        return out

    def numbers(self, values: Mapping[str, Array]) -> Array:
        """All numbers of the parameters, one after the other."""
        return np.concatenate([np.zeros(0), *(np.ravel(values[n]) for n in self.params)])

    def change(self, names: Sequence[str], by: Array) -> Array:
        """How these parameters' numbers move along a way."""
        ends = [self.values(self.free + s * by) for s in (0.5, -0.5)]
        return np.concatenate([np.ravel(ends[0][n] - ends[1][n]) for n in names])


def told(at: Coordinates, steps: Array, flat: Array) -> list[Unidentified]:
    """Flat directions (free, directions), in small steps, as groups of parameters that no direction joins."""
    onto = np.abs(flat @ flat.T)
    of = {n: at.owner == n for n in at.params}
    groups: list[set[str]] = []
    for n in at.params:
        if onto[of[n]].max(initial=0.0) > TOUCHED and _moves(at, n, steps, flat):
            joined = [g for g in groups if any(onto[np.ix_(of[n], of[o])].max() > TOUCHED for o in g)]
            groups = [g for g in groups if g not in joined] + [{n}.union(*joined)]
    members = [tuple(n for n in at.params if n in group) for group in groups]
    return [_words(at, steps, names, flat * np.isin(at.owner, names)[:, None]) for names in members]


def _moves(at: Coordinates, name: str, steps: Array, flat: Array) -> bool:
    """Whether probabilities move at all: those near 0 take long ways in their coordinates, and stay where they are."""
    if at.domains[name] not in ("simplex", "unit"):
        return True
    return any(np.abs(at.change([name], steps * v)).max() > PROBABLE for v in flat.T)


def _words(at: Coordinates, steps: Array, names: tuple[str, ...], flat: Array) -> Unidentified:
    several = len(names) > 1
    listed = f"{', '.join(names[:-1])} and {names[-1]}" if several else names[0]
    said = f"{listed} {'are' if several else 'is'} not identified"
    along, sizes, _ = np.linalg.svd(flat)
    count = int((sizes > TOUCHED).sum())
    change = at.change(names, along[:, 0] * steps)
    moving = np.flatnonzero(np.abs(change) > TOUCHED * np.abs(change).max())
    if count == 1 and moving.size <= SHOWN:
        called = [n + (f"{list(i)}" if i else "") for n in names for i in np.ndindex(at.params[n].shape)]
        by = [f"{called[i]} by {change[i] / change[moving[0]]:.4g}" for i in moving]
        return Unidentified(names, 1, f"{said}: the fit is as good where {' and '.join(by)} more")
    whose = "their" if several else "its"
    total = sum(at.params[n].size for n in names)
    what = "one direction leaves" if count == 1 else f"{count} directions leave"
    return Unidentified(names, count, f"{said}: of {whose} {total} numbers {what} the fit as good")


def interchangeable(
    spec: Mapping[str, Any], params: Mapping[str, Array], objective: Callable[[Mapping[str, Array]], float]
) -> list[Unidentified]:
    """Sizes of states whose order says nothing: two of them swapped, the objective is the same."""
    axes = {v["name"]: variable_axes(v) for v in spec["variables"] if v["kind"] == "param" and v["name"] in params}
    out: list[Unidentified] = []
    for size in states(spec):
        swapped = {n: _swapped(params[n], [k for k, d in enumerate(dims) if d == size]) for n, dims in axes.items()}
        moved = tuple(n for n, value in swapped.items() if (value != params[n]).any())
        if not moved:
            continue
        here = objective(params)
        if abs(objective({**params, **swapped}) - here) <= 1e-9 * (1 + abs(here)):
            called = f"the {size} states" if size.isdigit() else f"the states that {size} counts"
            out.append(Unidentified(moved, 0, f"the order of {called} is that of the start: any other fits as well"))
    return out


def _swapped(value: Array, axes: Sequence[int]) -> Array:
    for axis in axes:
        if value.shape[axis] > 1:
            value = value.take([1, 0, *range(2, value.shape[axis])], axis)
    return value
