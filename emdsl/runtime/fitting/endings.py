"""How a climb ended: on a boundary, on its way to infinity, collapsed, or with an objective that is all rounding."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from emdsl.runtime.data.domains import on_boundary, with_ends
from emdsl.runtime.fitting.climbs import Climb, Params, Setup, evaluate, finer_error, rounding
from emdsl.runtime.numeric.infinity import unlimited

BLURRED = 1e-4  # an objective known to no more than this of 1 + |objective| says nothing of convergence
DWINDLED = 0.02  # of where it started: a scale that may be going to 0
OUTGROWN = 1e10  # times where it started, from which on a positive number is asked whether it has an end
FLATTENED = 1e-6  # the smallest eigenvalue of a correlation matrix that may be why


def on_edge(setup: Setup, params: Params) -> list[str]:
    """The parameters that lie on the boundary of their domains, scales beside the data's own."""
    spread = float(setup.prepared.get("the scale", 1.0))
    return [n for n, value in params.items() if on_boundary(_variable(setup, n), value, spread)]


def vanishing(setup: Setup, end: Climb, start: Params) -> list[str]:
    """Scales that are little beside where they started, and half of which is as good: they are on their way to 0."""
    if end.state is not None:
        return []
    found, least = [], end.history[-1] - 1e-12 * (setup.unit + abs(end.history[-1]))
    for n in (n for n in start if _variable(setup, n)["domain"] == "positive"):
        small = np.asarray(end.params[n]) < DWINDLED * np.asarray(start[n])
        half = {**end.params, n: np.where(small, end.params[n] / 2, end.params[n])}
        try:
            with np.errstate(all="ignore"):
                found += [n] if small.any() and evaluate(setup, half, None).objective >= least else []
        except (setup.module.Degenerate, np.linalg.LinAlgError):
            continue
    return found


def scales_on_edge(setup: Setup, params: Params) -> list[str]:
    return [n for n in on_edge(setup, params) if _variable(setup, n)["domain"] == "positive"]


def collapsed(setup: Setup, end: Climb, start: Params, edge: Sequence[str], noise: float) -> str:
    """Why there is no estimate where a climb ended; nothing where there is one.

    A positive number is out of all measure with where it began and the objective grows on along it, or the objective is
    all rounding. `edge` are the parameters on the boundary of their domains; `noise` is how well the climb knew it.
    """
    found = ""
    if end.state is None and end.status not in ("interrupted", "degenerate"):
        mine = {n: np.asarray(v) for n, v in start.items() if _variable(setup, n)["domain"] == "positive"}
        found = _outgrown(setup, end, mine) or _dwindled(setup, end, mine)
    return found or _without_digits(setup, end, edge, noise)


def _outgrown(setup: Setup, end: Climb, mine: Params) -> str:
    """Why a numeric estimate that is out of all measure has collapsed: the objective grows with it, without end.

    Of points that are alike a shape or a concentration has no maximum. On the way to a limit (of a NegativeBinomial
    to a Poisson) the objective is all but level; where it began as large, a larger one must be as good.
    """
    grown = end.status == "decreased" or any((np.asarray(end.params[n]) > OUTGROWN * v).any() for n, v in mine.items())
    for least in (lambda v: OUTGROWN * v, lambda v: OUTGROWN):
        large = {n: np.asarray(end.params[n]) > least(v) for n, v in mine.items()}
        if not any(here.any() for here in large.values()):
            continue

        at = partial(_at, setup, end, large)
        below, last = at(0.01), end.history[-1]
        several = any(here.size > 1 for here in large.values())  # components; of all data it is a limit, told as one
        climbs = last - below > 0.5 and (grown or not last - at(100.0) > 0.5)
        if climbs or (several and _grows_in_noise(setup, end, at)):
            names = ", ".join(n for n, here in large.items() if here.any())
            return f"{names} has collapsed: the objective grows with it, without end"
    return ""


def _dwindled(setup: Setup, end: Climb, mine: Params) -> str:
    """Why a numeric estimate that is nothing beside where it began has collapsed: the objective grows as it shrinks,
    without end (the scale of a component on points that are equal). On its way to a limit at 0 it would be level."""
    spread = float(setup.prepared.get("the scale", 1.0))  # starts are raced, and may have collapsed themselves
    small = {n: np.asarray(end.params[n]) < np.maximum(v, spread) / OUTGROWN for n, v in mine.items()}
    small = {n: here for n, here in small.items() if here.any()}
    last, at = end.history[-1], partial(_at, setup, end, small)
    if not small or not (last - at(100.0) > 0.5 and at(0.01) - last > 0.5):
        return ""
    return f"{', '.join(small)} has collapsed: the objective grows as it shrinks, without end"


def _at(setup: Setup, end: Climb, some: Mapping[str, Any], by: float) -> float:
    """The objective where some elements are so many times what they are."""
    moved = {n: np.where(here, by * end.params[n], end.params[n]) for n, here in some.items()}
    with np.errstate(all="ignore"):
        return float(evaluate(setup, {**end.params, **moved}, None).objective)


def _grows_in_noise(setup: Setup, end: Climb, at: Callable[[float], float]) -> bool:
    """Whether an objective that is rounding at the end grew all the way there, where it had digits; or has none."""
    with np.errstate(all="ignore"):
        noise = rounding(setup, evaluate(setup, end.params, None))
    if not noise > 0.1:
        return False
    if noise > 1 + BLURRED * abs(end.history[-1]):
        return True
    steps = np.diff([at(by) for by in (1e-8, 1e-6, 1e-4)])
    return bool((steps > 0.5).all())


def _without_digits(setup: Setup, end: Climb, edge: Sequence[str], noise: float) -> str:
    """Why an objective of which rounding leaves no digit has not converged; nothing where it has some.

    A scale that goes to 0 (a regression with as many columns as rows) takes residuals that are all rounding with it.
    """
    size = 1 + abs(end.history[-1])
    steady = _climbed_on(end.history, BLURRED * size) and noise > BLURRED * size
    if end.status == "level" and (steady or noise > size):
        return f"the next step has an objective that is known to {noise:.1e} only: a scale collapses"
    collapsed = [n for n in edge if _variable(setup, n)["domain"] == "positive"]
    if not collapsed or end.status not in ("level", "converged", "decreased") or end.state is not None:
        return ""
    with np.errstate(all="ignore"):
        noise = rounding(setup, evaluate(setup, end.params, None))
    if end.status != "decreased" and noise <= 1 + abs(end.history[-1]):
        return ""
    return f"{', '.join(collapsed)} has collapsed, with an objective known to {noise:.1e} only"


def _climbed_on(history: Sequence[float], least: float) -> bool:
    """Whether the last steps were large and hardly smaller than before, as where a scale goes to 0."""
    steps = np.diff(history[-4:])
    return len(steps) == 3 and bool(steps.min() > least and steps[-1] > 0.5 * steps[0])


def all_but_singular(setup: Setup, end: Climb, start: Params) -> list[str]:
    """Covariances, and scales that are nothing beside where they started: rounding may hide there whether the
    objective still climbs, so that nothing has converged."""
    found = []
    for v in setup.module.SPEC["variables"]:
        if v["domain"] in ("spd", "correlation") and v["name"] in end.params:
            value = end.params[v["name"]]
            spread = np.sqrt(value.diagonal(0, -2, -1))
            eigen = np.linalg.eigvalsh(value / (spread[..., :, None] * spread[..., None, :]))
            if (eigen[..., 0] < FLATTENED).any():
                found.append(v["name"])
        elif v["domain"] == "positive" and v["name"] in start and v["name"] in end.params:
            if (end.params[v["name"]] < FLATTENED * start[v["name"]]).any():
                found.append(v["name"])
    return found


def far_away(setup: Setup, end: Climb, noise: float) -> dict[str, str]:
    def rounded() -> float:
        return max(noise, rounding(setup, evaluate(setup, end.params, None)))

    def objective(params: Params) -> float:
        return evaluate(setup, params, None).objective

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
