"""How a climb ended: on a boundary, on its way to infinity, collapsed, or with an objective that is all rounding."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from emdsl.runtime.data.columns import Array
from emdsl.runtime.data.domains import on_boundary, with_ends
from emdsl.runtime.fitting.climbs import Climb, Params, Setup, evaluate, finer_error, objective_at, rounding
from emdsl.runtime.numeric.infinity import unlimited

BLURRED = 1e-4  # an objective known to no more than this of 1 + |objective| says nothing of convergence
DWINDLED = 0.02  # of where it started: a scale that may be going to 0
OUTGROWN = 1e10  # times where it started, from which on a positive number is asked whether it has an end
FLATTENED = 1e-6  # the smallest eigenvalue of a correlation matrix that may be why
RARE = 1e-4  # a probability that may be going to 0


def on_edge(setup: Setup, params: Params) -> list[str]:
    """The parameters that lie on the boundary of their domains, scales beside the data's own."""
    spread = float(setup.prepared.get("the scale", 1.0))
    return [n for n, value in params.items() if on_boundary(_variable(setup, n), value, spread)]


class FlatDirections(NamedTuple):
    """The correlations of a covariance parameter: standard deviations (..., d), eigenvalues (..., d), vectors."""

    spread: Array
    eigen: Array
    vectors: Array

    def squeezed(self, which: Any, by: float) -> Array:
        """The matrix with its least eigenvalue `by` times what it is in the elements `which`."""
        eigen = self.eigen.copy()
        eigen[..., 0] *= np.where(which, by, 1.0)
        out = (self.vectors * eigen[..., None, :]) @ self.vectors.swapaxes(-1, -2)
        return np.asarray(out * (self.spread[..., :, None] * self.spread[..., None, :]))


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


def vanishing(setup: Setup, end: Climb, start: Params, flat: Mapping[str, FlatDirections]) -> list[str]:
    """Parameters on their way to the boundary of their domains: nearer to it by half is as good."""
    if end.state is not None:
        return []
    least = end.history[-1] - 1e-12 * (setup.unit + abs(end.history[-1]))
    nearer = {n: _halved(_variable(setup, n), end.params[n], start[n], flat.get(n)) for n in start}
    return [n for n, v in nearer.items() if v is not None and objective_at(setup, {**end.params, n: v}) >= least]


def _halved(variable: Mapping[str, Any], value: Array, start: Array, flat: FlatDirections | None) -> Array | None:
    """A parameter of which what is next to nothing is half of that; None where there is no such."""
    value, domain = np.asarray(value), variable["domain"]
    if domain == "positive":
        small = value < DWINDLED * np.asarray(start)
    elif domain in ("unit", "simplex") and variable["lower"] is None and variable["upper"] is None:
        small = value < RARE
        if domain == "unit" and (value > 1 - RARE).any():
            return np.where(value > 1 - RARE, (1 + value) / 2, value)
    elif flat is not None and domain == "spd":
        thin = flat.eigen[..., 0] < DWINDLED**2
        return flat.squeezed(thin, 0.5) if thin.any() else None
    else:
        return None
    if not small.any():
        return None
    half = np.where(small, value / 2, value)
    return half / half.sum(-1, keepdims=True) if domain == "simplex" else half


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
    found = ""
    if end.state is None and end.status not in ("interrupted", "degenerate"):
        mine = {n: np.asarray(v) for n, v in start.items() if _variable(setup, n)["domain"] == "positive"}
        found = _outgrown(setup, end, mine) or _dwindled(setup, end, mine) or _flattened(setup, end, start, flat)
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
        climbs = last - below > 0.5 and (not last - at(100.0) > 0.5 or (grown and _noise(setup, end) > 0.1))
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


def _flattened(setup: Setup, end: Climb, start: Params, flat: Mapping[str, FlatDirections]) -> str:
    """Why a covariance that is all but singular, or nothing beside where it started, has collapsed: the objective grows
    as it shrinks, without end. Where data bear on it at the least it would have ended where that is level."""
    for name, f in flat.items():
        before = np.sqrt(np.asarray(start[name]).diagonal(0, -2, -1)) if name in start else f.spread
        thin, small = f.eigen[..., 0] < FLATTENED, (f.spread < FLATTENED**0.5 * before).all(-1)
        if not (thin | small).any():
            continue

        def at(by: float, name: str = name, f: FlatDirections = f, thin: Any = thin, small: Any = small) -> float:
            shrunk = f.squeezed(thin, by) * np.where(small, by, 1.0)[..., None, None]
            return objective_at(setup, {**end.params, name: shrunk})

        last = end.history[-1]
        if last - at(100.0) > 0.5 and not at(0.01) - last < 0.5:
            where = f" {tuple(int(i) for i in np.argwhere(thin | small)[0])}" if thin.ndim else ""
            flattest = np.abs(f.vectors[(*np.argwhere(thin | small)[0],)][:, 0])
            axes = np.flatnonzero(flattest > 0.01)
            together = f" (axes {', '.join(map(str, axes[:6]))} move together)" if thin.any() and len(axes) > 1 else ""
            return f"{name}{where} has collapsed: the objective grows as its matrix becomes singular{together}"
    return ""


def _at(setup: Setup, end: Climb, some: Mapping[str, Any], by: float) -> float:
    """The objective where some elements are so many times what they are."""
    moved = {n: np.where(here, by * end.params[n], end.params[n]) for n, here in some.items()}
    return objective_at(setup, {**end.params, **moved})


def _noise(setup: Setup, end: Climb) -> float:
    with np.errstate(all="ignore"):
        return rounding(setup, evaluate(setup, end.params, None))


def _grows_in_noise(setup: Setup, end: Climb, at: Callable[[float], float]) -> bool:
    """Whether an objective that is rounding at the end grew all the way there, where it had digits; or has none."""
    noise = _noise(setup, end)
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
    noise = _noise(setup, end)
    if end.status != "decreased" and noise <= 1 + abs(end.history[-1]):
        return ""
    return f"{', '.join(collapsed)} has collapsed, with an objective known to {noise:.1e} only"


def _climbed_on(history: Sequence[float], least: float) -> bool:
    """Whether the last steps were large and hardly smaller than before, as where a scale goes to 0."""
    steps = np.diff(history[-4:])
    return len(steps) == 3 and bool(steps.min() > least and steps[-1] > 0.5 * steps[0])


def all_but_singular(setup: Setup, end: Climb, start: Params, flat: Mapping[str, FlatDirections]) -> list[str]:
    """Covariances, and scales that are nothing beside where they started: rounding may hide there whether the
    objective still climbs, so that nothing has converged."""
    found = [n for n, f in flat.items() if (f.eigen[..., 0] < FLATTENED).any()]
    for n in start:
        if n in end.params and _variable(setup, n)["domain"] == "positive":
            if (end.params[n] < FLATTENED * start[n]).any():
                found.append(n)
    return found


def far_away(setup: Setup, end: Climb, noise: float) -> dict[str, str]:
    """Parameters that go to infinity, and which way."""

    def rounded() -> float:
        return max(noise, rounding(setup, evaluate(setup, end.params, None)))

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
