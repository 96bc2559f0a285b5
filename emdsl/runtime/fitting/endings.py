"""How a climb ended: on a boundary, on its way to infinity, collapsed, or with an objective that is all rounding."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from emdsl.runtime.data.columns import Array
from emdsl.runtime.data.domains import on_boundary, with_ends
from emdsl.runtime.fitting.climbs import Climb, Params, Setup, evaluate, finer_error, objective_at, rounding
from emdsl.runtime.numeric.infinity import unlimited
from emdsl.runtime.numeric.ways import (
    GROWN,
    LIMIT,
    RISE,
    SHRUNK,
    SINGULAR,
    SPREAD,
    Ending,
    FlatDirections,
    Going,
    Together,
    further,
    going,
    rises,
)

BLURRED = 1e-4  # an objective known to no more than this of 1 + |objective| says nothing of convergence
DWINDLED = 0.02  # of where it started: a scale that may be going to 0
OUTGROWN = 1e10  # times where it started, from which on a positive number is asked whether it has an end
FLATTENED = 1e-6  # the smallest eigenvalue of a correlation matrix that may be why
SCALES = {"positive", "spd", "correlation"}  # what may collapse
RARE = 1e-4  # a probability that may be going to 0


def on_edge(setup: Setup, params: Params) -> list[str]:
    """The parameters that lie on the boundary of their domains, scales beside the data's own."""
    spread = float(setup.prepared.get("the scale", 1.0))
    return [n for n, value in params.items() if on_boundary(_variable(setup, n), value, spread)]


def flats(setup: Setup, params: Params) -> dict[str, FlatDirections]:
    """Of each covariance among the parameters, which of its directions is how flat."""
    found = {}
    for v in setup.module.SPEC["variables"]:
        if v["domain"] in ("spd", "correlation") and v["name"] in params and np.size(params[v["name"]]):
            value = params[v["name"]]
            spread = np.sqrt(value.diagonal(0, -2, -1))
            correlation = value / (spread[..., :, None] * spread[..., None, :])
            if np.isfinite(correlation).all():
                found[v["name"]] = FlatDirections(spread, *np.linalg.eigh(correlation))
    return found


def vanishing(setup: Setup, end: Climb, start: Params, flat: Mapping[str, FlatDirections], noise: float) -> list[str]:
    """Parameters on their way to the boundary of their domains: nearer to it by half is as good, as far as the
    objective is known there."""
    if end.state is not None:
        return []
    asked = LIMIT._replace(ahead=-max(1e-12 * (setup.unit + abs(end.history[-1])), SPREAD * noise))
    ways = (_to_boundary(_variable(setup, n), end.params[n], start[n], flat.get(n)) for n in start)
    return [p.name for p in ways if p and rises(partial(_objective_along, setup, end, [p]), end.history[-1], asked)]


def _to_boundary(variable: Mapping[str, Any], value: Array, start: Array, flat: FlatDirections | None) -> Going | None:
    """What of a parameter is next to nothing, on its way there; None where there is no such."""
    name, domain = variable["name"], variable["domain"]
    if domain == "positive":
        near = value < DWINDLED * np.asarray(start)
    elif domain in ("unit", "simplex") and variable["lower"] is None and variable["upper"] is None:
        near = value < RARE
        if domain == "unit":
            near |= value > 1 - RARE
    elif flat is not None and domain == "spd":
        thin = flat.eigen[..., 0] < DWINDLED**2
        return flat.going(name, thin) if thin.any() else None
    else:
        return None
    return going(name, domain, value, near, inward=True) if near.any() else None


def scales_on_edge(setup: Setup, params: Params) -> list[str]:
    return [n for n in on_edge(setup, params) if _variable(setup, n)["domain"] == "positive"]


def collapsed(
    setup: Setup, end: Climb, start: Params, edge: Sequence[str], noise: float, flat: Mapping[str, FlatDirections]
) -> str:
    """Why there is no estimate where a climb ended; nothing where there is one.

    A positive number is out of all measure with where it began, or a matrix all but singular, and the objective grows
    on along it; or the objective is all rounding. `edge` are the parameters on the boundary of their domains; `noise`
    is how well the climb knew it.
    """
    if end.state is None and end.status not in ("interrupted", "degenerate"):
        shrinks = ("positive", "unit")
        mine = {n: np.asarray(v) for n, v in start.items() if _variable(setup, n)["domain"] in shrinks}
        for asked, way in (*_out_of_measure(setup, end, mine), *_all_but_flat(start, flat)):
            at = partial(_objective_along, setup, end, way)
            if rises(at, end.history[-1], asked) or (asked is GROWN and _grows_in_noise(setup, end, mine, at)):
                return asked.told([g.name + g.cell for g in way], way[0].to)
    return _without_digits(setup, end, edge, noise)


def _out_of_measure(setup: Setup, end: Climb, mine: Params) -> Iterator[tuple[Ending, Together]]:
    """Positive numbers that are out of all measure, those beside where they began first, then those of any start.

    Of points that are alike a shape or a concentration has no maximum, the scale of a component on points that are
    equal no minimum. On the way to a limit (of a NegativeBinomial to a Poisson, of a scale to 0) the objective is all
    but level; where it began as large, a larger one must be as good.
    """
    spread = float(setup.prepared.get("the scale", 1.0))  # starts are raced, and may have collapsed themselves
    now = {n: end.params[n] for n in mine}
    for asked, inward, there in (
        (GROWN, False, {n: now[n] / OUTGROWN > v for n, v in mine.items()}),
        (GROWN, False, {n: now[n] > OUTGROWN for n in mine}),
        (SHRUNK, True, {n: now[n] < np.maximum(v, spread) / OUTGROWN for n, v in mine.items()}),
    ):
        if way := [going(n, "positive", now[n], here, inward) for n, here in there.items() if here.any()]:
            yield asked, way


def _all_but_flat(start: Params, flat: Mapping[str, FlatDirections]) -> Iterator[tuple[Ending, Together]]:
    """Covariances that are all but singular, or nothing beside where they started. Where data bear on one at the least
    it would have ended where the objective is level."""
    for name, f in flat.items():
        thin, small = _flattened(f, start.get(name))
        if (thin | small).any():
            yield SINGULAR, [f.going(name, thin, small)]


def _flattened(f: FlatDirections, start: Array | None) -> tuple[Array, Array]:
    """Which matrices are all but singular, and which nothing beside where they started."""
    before = f.spread if start is None else np.sqrt(np.asarray(start).diagonal(0, -2, -1))
    return f.eigen[..., 0] < FLATTENED, (f.spread < FLATTENED**0.5 * before).all(-1)


def _objective_along(setup: Setup, end: Climb, way: Together, far: float) -> float:
    """The objective where what is on its way is so many times as far."""
    return objective_at(setup, further(end.params, way, far))


def _noise(setup: Setup, end: Climb) -> float:
    with np.errstate(all="ignore"):
        return rounding(setup, evaluate(setup, end.params, None))


def _grows_in_noise(setup: Setup, end: Climb, mine: Params, at: Callable[[float], float]) -> bool:
    """Whether an objective that is rounding at the end grew all the way there, where it had digits; or has none.

    One that grew past where it began has, whatever it seems to be further on. Of a number of all data it is a limit,
    told as one; components have collapsed.
    """
    noise = _noise(setup, end)
    if not noise > 0.1:
        return False
    grown = end.status == "decreased" or any((end.params[n] / OUTGROWN > v).any() for n, v in mine.items())
    if grown and rises(at, end.history[-1], GROWN._replace(ahead=-np.inf)):
        return True
    if all(np.size(v) == 1 for v in mine.values()):
        return False
    steps = np.diff([at(far) for far in (1e-8, 1e-6, 1e-4)])
    return noise > 1 + BLURRED * abs(end.history[-1]) or bool((steps > RISE).all())


def _without_digits(setup: Setup, end: Climb, edge: Sequence[str], noise: float) -> str:
    """Why an objective of which rounding leaves no digit has not converged; nothing where it has some.

    A scale that goes to 0 (a regression with as many columns as rows) takes residuals that are all rounding with it.
    """
    size, scales = 1 + abs(end.history[-1]), {_variable(setup, n)["domain"] for n in end.params} & SCALES
    steady = _climbed_on(end.history, BLURRED * size) and noise > BLURRED * size
    if end.status == "level" and (noise > size or (scales and steady)):
        what = "a scale collapses" if scales else "what is left is rounding"
        return f"the next step has an objective that is known to {noise:.1e} only: {what}"
    collapsed = [n for n in edge if _variable(setup, n)["domain"] == "positive"]
    if not collapsed or end.status not in ("level", "converged", "decreased") or end.state is not None:
        return ""
    noise = _noise(setup, end)
    if end.status != "decreased" and noise <= 1 + abs(end.history[-1]):
        return ""
    return f"{', '.join(collapsed)} has collapsed, with an objective known to {noise:.1e} only"


def _climbed_on(history: Sequence[float], least: float) -> bool:
    """Whether the last steps were large and hardly smaller than before, as where a scale goes to 0."""
    steps = np.diff(history[-4:])
    return len(steps) == 3 and bool(steps.min() > least and steps[-1] > 0.5 * steps[0])


def all_but_singular(setup: Setup, end: Climb, start: Params, flat: Mapping[str, FlatDirections]) -> list[str]:
    """Covariances, and what is nothing beside where it started: rounding may hide there whether the objective still
    climbs, so that nothing has converged."""
    found = [n for n, f in flat.items() if np.any(_flattened(f, start.get(n)))]
    for n in start:
        if n in end.params and _variable(setup, n)["domain"] == "positive":
            if (end.params[n] < FLATTENED * start[n]).any():
                found.append(n)
    return found


def far_away(setup: Setup, end: Climb, noise: float) -> dict[str, str]:
    """Parameters that go to infinity, and which way."""

    def rounded(params: Params) -> float:
        return max(noise, rounding(setup, evaluate(setup, params, None)))

    def objective(params: Params) -> float:
        return objective_at(setup, params)

    def told(params: Params) -> float:
        return abs(finer_error(setup, params, evaluate(setup, params, None).log_likelihood) or 0.0)

    at_points = hasattr(setup.module, "finer")
    try:
        with np.errstate(all="ignore"):
            return unlimited(setup.module.SPEC, end.params, objective, rounded, told if at_points else None)
    except (setup.module.Degenerate, np.linalg.LinAlgError):
        return {}


def _variable(setup: Setup, name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = next(v for v in setup.module.SPEC["variables"] if v["name"] == name)
    if "bounded" not in found:
        return found
    data = setup.data
    return with_ends(found, setup.module.limits(data.sizes, data.values, data.ragged))
