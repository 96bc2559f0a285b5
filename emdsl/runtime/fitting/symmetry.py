"""Starts that EM cannot leave: components that are alike stay alike, because every step treats them alike.

The M-step commutes with renaming states, so parameters that a swap of two states leaves as they are keep that
property; so do parameters whose values at two states are equal, whatever the states' probabilities are. It commutes
with changes of sign, too: loadings of 0 stay 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from emdsl.runtime.data.columns import Array
from emdsl.runtime.fitting.climbs import Climb, Setup
from emdsl.runtime.fitting.loop import SAME
from emdsl.runtime.fitting.settings import Seed, variable_axes

PUSH = 0.1  # of the data's scale, of what two variances allow: how far off 0 a start is moved
FEW_ENTRIES = 16  # Python compares so many in less time than it takes to ask numpy
MANY = 50  # states: beyond this only neighbours are compared
SHARES = (0.1, 0.5, 1.0)  # how far towards a seeded division of the rows a start is moved, tried in order


def alike(spec: Mapping[str, Any], params: Mapping[str, Array], sizes: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    """Size of a discrete latent's states -> two of them that the parameters do not tell apart."""
    out: dict[str, tuple[int, int]] = {}
    for size in dict.fromkeys(_equated_number(spec, s) for s in states(spec)):
        held = [(v, _axes(spec, v)) for v in spec["variables"] if v["kind"] == "param" and v["name"] in params]
        held = [(v, axes) for v, axes in held if size in axes]
        repeated = [v["name"] for v, axes in held if size in axes[: _copies(v, axes, size)]]
        if not repeated:
            continue
        held.sort(key=lambda h: h[0]["name"] not in repeated)  # what is repeated for each state tells them apart first
        k = int(size) if size.isdigit() else sizes.get(size, 0)
        pairs = combinations(range(k), 2) if k <= MANY else zip(range(k - 1), range(1, k), strict=True)
        for pair in pairs:
            if all(_same(params[v["name"]], axes, _copies(v, axes, size), size, pair) for v, axes in held):
                out[size] = pair
                break
    return out


def off_zero(
    climbed: Callable[[dict[str, Array], Any], Climb], setup: Setup, start: Mapping[str, Array], end: Climb, seed: Seed
) -> Climb:
    """A climb that ended where loadings or covariances are 0, as at its start; or one from beside that where it is a
    saddle (Murray 1977), which EM does not leave because to the left looks as to the right."""
    if end.state is not None or end.status not in ("converged", "boundary") or not end.n_iter:
        return end
    spread = float(setup.prepared.get("the scale", 1.0))
    still = _left_at_zero(setup.module.SPEC, start, end.params, 1e-12 * min(1.0, spread))
    if not still:
        return end
    found = climbed(_pushed(setup.module.SPEC, end.params, still, spread, seed.generator()), None)
    if found.status == "degenerate" or not found.objective > end.objective + SAME * (1 + abs(end.objective)):
        return end
    said = f"{', '.join(still)} was 0 at the start, which EM cannot leave (objective {end.objective:.10g})"
    return found._replace(message=f"{found.message}; {said}: it was moved off")


def _left_at_zero(
    spec: Mapping[str, Any], start: Mapping[str, Array], end: Mapping[str, Array], least: float
) -> dict[str, Array]:
    """Which numbers of which parameters were 0 and are so still, but for rounding."""
    out = {}
    for v in spec["variables"]:
        if v["domain"] in ("real", "spd", "correlation") and v["kind"] == "param" and v["name"] in end:
            still = np.abs(end[v["name"]]) <= least
            if still.any() and (still := still & (np.asarray(start[v["name"]]) == 0)).any():
                out[v["name"]] = still
    return out


def _pushed(
    spec: Mapping[str, Any], params: Mapping[str, Array], still: Mapping[str, Array], scale: float, rng: Any
) -> dict[str, Array]:
    """The same parameters with what is 0 a little off it, at random."""
    out, domains = dict(params), {v["name"]: v["domain"] for v in spec["variables"]}
    for name, where in still.items():
        off = PUSH * scale * rng.standard_normal(where.shape)
        if domains[name] != "real":
            sd = np.sqrt(out[name].diagonal(0, -2, -1))
            off = PUSH / sd.shape[-1] * np.sign(np.tril(off, -1) + np.tril(off, -1).swapaxes(-1, -2))
            off = off * sd[..., :, None] * sd[..., None, :]
        out[name] = np.where(where, off, out[name])
    return out


def states(spec: Mapping[str, Any]) -> list[str]:
    """The sizes by which discrete latents choose."""
    latents = [v for v in spec["variables"] if v["kind"] == "latent"]
    found = [v["levels"] for v in latents if v["domain"] == "category"] + [
        "2" for v in latents if v["domain"] == "bool"
    ]
    return list(dict.fromkeys(s for s in found if s))


def _axes(spec: Mapping[str, Any], variable: Mapping[str, Any]) -> list[str]:
    """The sizes of all axes of a parameter, those that the model equates with a number as that number."""
    return [_equated_number(spec, axis) for axis in variable_axes(variable)]


def _equated_number(spec: Mapping[str, Any], size: str) -> str:
    """A size, or the number that the model equates it with."""
    for pair in spec.get("equal", ()):
        if size in pair and any(n.isdigit() for n in pair):
            return str(next(n for n in pair if n.isdigit()))
    return size


def _copies(variable: Mapping[str, Any], axes: Sequence[str], size: str) -> int:
    """How many axes a parameter is repeated along, those of an element left out.

    The numbers of a vector (`real[K]`) are told apart as those of an array are, probabilities of states are not.
    """
    around = len(variable["plates"]) + len(variable["array"])
    numbers = ("real", "positive", "unit", "ordered", "zero_sum")
    free = variable["domain"] in numbers and size not in axes[:around]
    return len(axes) if free else around


def _same(value: Array, axes: Sequence[str], copies: int, size: str, pair: tuple[int, int]) -> bool:
    held = [axis for axis, dim in enumerate(axes) if dim == size]
    if all(_close(value.take(pair[0], axis), value.take(pair[1], axis)) for axis in held if axis < copies):
        return True
    if len(held) == 1 and held[0] < copies:
        return False
    order = list(range(max(value.shape)))
    order[pair[0]], order[pair[1]] = pair[1], pair[0]
    swapped = value
    for axis in held:
        swapped = swapped.take(order[: value.shape[axis]], axis)
    return _close(swapped, value)


def _close(a: Array, b: Array) -> bool:
    """Equal but for rounding."""
    if a.size <= FEW_ENTRIES:
        other = b.ravel().tolist()
        top = max(map(abs, other), default=0.0)
        pairs = zip(a.ravel().tolist(), other, strict=True)
        return all(abs(p - q) <= 1e-9 * abs(q) + 1e-12 * top for p, q in pairs)
    size = np.abs(b)
    return bool((np.abs(a - b) <= 1e-9 * size + 1e-12 * size.max(initial=0)).all())


def seeded_step(module: Any, start: dict[str, Array], data: Any, prepared: Any, rng: np.random.Generator) -> Any:
    """The M-step of a seeded division of the rows among the states."""
    with np.errstate(all="ignore"):
        params = module.m_step(module.e_step(start, data, prepared, rng), start, prepared, "keep")
        return module.refine(start, params, data, prepared, rng) if hasattr(module, "refine") else params


def moved(start: Mapping[str, Array], other: Mapping[str, Array], share: float) -> dict[str, Array]:
    """Part of the way from one place to another: every domain is convex."""
    return {n: (1 - share) * value + share * np.asarray(other[n]) for n, value in start.items()}
