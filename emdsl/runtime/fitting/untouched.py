"""Elements of parameters that statistics say nothing of, and those that no data touch whatever the parameters are.

What no data touch (the effect of a level that no row has, of a time that nothing is seen at) is no component that has
lost its rows: it stays where it is, and the fit says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np

from emdsl.runtime.data.columns import Array
from emdsl.runtime.fitting.climbs import Params, Point, Setup, evaluate

UNMOVED = 1e-12  # of a number that an M-step leaves where it is
PLACED = 1e-15  # of a place that numbers are measured from, and told with: rounding, twice


class Untouched:
    """Of the data of a fit; `masks` are found when they are first asked for, near `start` where the fit has one: to
    look for another may take longer than the fit."""

    def __init__(self, setup: Setup, start: Params | None = None) -> None:
        self.setup, self.start = setup, start
        self.met = False  # whether an M-step has had none but these to refuse

    @cached_property
    def masks(self) -> dict[str, Array]:
        """Name -> which of its elements no data touch: under parameters whose elements are all alike every state is
        possible, so that what has no statistic there has none anywhere. Empty where that cannot be found out."""
        module, prepared = self.setup.module, self.setup.prepared
        try:
            here, state = self._alike()
            level = here.params
            found = module.m_step(here.statistics, level, prepared, "keep")
            still = unmoved(self.setup, found, level)
            masks = silent(self.setup, here.statistics, level, still, "keep")
            params = _params(module.SPEC, level)
            return {n: masks[n] for n, v, _ in params if n in masks and self.says_nothing(here, v, masks[n], state)}
        except (module.Degenerate, np.linalg.LinAlgError):
            return {}

    def _alike(self) -> tuple[Point, Any]:
        """Parameters whose elements are all alike, where the data have a density, with their statistics and factors."""
        module, rng = self.setup.module, np.random.default_rng(0)
        if self.start is not None:
            try:
                near = self._level(self.start, rng)
            except (module.Degenerate, np.linalg.LinAlgError):
                near = None
            if near is not None and np.isfinite(near[0].objective):
                return near
        return self._level(module.initial(self.setup.data, self.setup.prepared, rng), rng)

    def _level(self, params: Params, rng: np.random.Generator) -> tuple[Point, Any]:
        module, beside = self.setup.module, (self.setup.data, self.setup.prepared)
        level = {n: _level(v, p) for n, v, p in _params(module.SPEC, params)}
        state = module.start(level, *beside, rng, {}) if "start" in vars(module) else None
        return evaluate(self.setup, level, state), state

    def says_nothing(self, here: Point, variable: Mapping[str, Any], mask: Array, state: Any) -> bool:
        """Whether the objective does not move with these elements: what has collapsed stays in an M-step, too, as does
        what priors and penalties alone drive out of its domain."""
        now = here.params[variable["name"]]
        other = _elsewhere(variable, now)
        moved = now if other is None else np.where(mask, other, now)
        try:
            with np.errstate(all="ignore"):
                there = evaluate(self.setup, {**here.params, variable["name"]: moved}, state).objective
        except (self.setup.module.Degenerate, np.linalg.LinAlgError):
            return False
        return bool(mask.any()) and abs(there - here.objective) <= 1e-12 * (1 + abs(here.objective))

    def kept(self, here: Point) -> Params | None:
        """The M-step where some elements have no statistic; None where data touch one of these."""
        masks = self.masks
        if not masks:
            return None
        found: Params = self.setup.module.m_step(here.statistics, here.params, self.setup.prepared, "keep")
        still = unmoved(self.setup, found, here.params)
        if not self._within(still):
            still = silent(self.setup, here.statistics, here.params, still, "keep")
        self.met = self._within(still)
        return found if self.met else None

    def _within(self, still: Mapping[str, Array]) -> bool:
        return not any((mask & ~self.masks.get(n, np.zeros(mask.shape, bool))).any() for n, mask in still.items())


def silent(
    setup: Setup, statistics: Mapping[str, Any], params: Params, still: Mapping[str, Array], policy: str
) -> dict[str, Array]:
    """Name -> which elements the M-step leaves where they are, wherever that is, of those which it leaves where they
    are now, `still`. Of a kind of domain whose elements cannot be moved one by one, none."""
    out = {}
    for name, v, now in _params(setup.module.SPEC, params):
        other = _elsewhere(v, now)
        if other is None or name not in still:
            continue
        around = len(v["plates"]) + len(v["array"])
        own = tuple(range(around, now.ndim)) if v["domain"] in ("simplex", "spd") else ()
        alone = _as_one(still[name], own)
        out[name] = alone & _as_one(_stays(setup, statistics, params, name, np.where(alone, other, now), policy), own)
    return out


def _as_one(mask: Array, axes: tuple[int, ...]) -> Array:
    """Of elements that are one thing along some axes, those of which all stay: one of three shares may by chance."""
    return np.broadcast_to(mask.all(axes, keepdims=True), mask.shape) if axes else mask


def _stays(setup: Setup, statistics: Mapping[str, Any], params: Params, name: str, at: Array, policy: str) -> Array:
    """Which elements of a parameter the M-step leaves at these values."""
    try:
        with np.errstate(all="ignore"):
            found = setup.module.m_step(statistics, {**params, name: at}, setup.prepared, policy)[name]
    except (setup.module.Degenerate, np.linalg.LinAlgError):
        return np.zeros(at.shape, bool)
    return unmoved(setup, {name: found}, {name: at})[name]


def unmoved(setup: Setup, found: Params, params: Params) -> dict[str, Array]:
    """Name -> which elements are where they were, but for the digits that places lose which are measured from the
    data's own, and told from 0."""
    places = (np.abs(v).max(initial=0.0) for n, v in setup.prepared.items() if n.startswith("reference "))
    lost = PLACED * float(max(places, default=0.0))
    return {n: np.isclose(found[n], p, rtol=UNMOVED, atol=lost) for n, p in params.items() if n in found}


def idle(setup: Setup, before: Params, here: Point, untouched: Untouched) -> tuple[tuple[str, int, bool], ...]:
    """Parameters that the data say nothing of, and elements of them (transitions where every sequence has one element,
    or out of a state that no path reaches): Q does not hold them, so that the M-step leaves them where they are. Each
    with how many numbers of it could move, and whether the objective moves with it: it leaves probabilities of which
    every expected count is below 0, as it has no maximum there."""
    still = unmoved(setup, before, here.params)
    still = {n: mask for n, mask in still.items() if mask.any()}
    if not still:
        return ()
    if untouched.met:  # what has collapsed stays, too, where the M-step is to keep it
        found = silent(setup, here.statistics, here.params, still, "keep")
        found = {n: mask & untouched.masks[n] for n, mask in found.items() if n in untouched.masks}
    else:
        found = silent(setup, here.statistics, here.params, still, "raise")
    told = [(v, found[n]) for n, v, _ in _params(setup.module.SPEC, here.params) if n in found and found[n].any()]
    state = here.statistics.get("state")
    moves = [not (untouched.met or untouched.says_nothing(here, v, mask, state)) for v, mask in told]
    return tuple(  # a numeric M-step may stay where it cannot climb from
        (*named(v, mask), moved) for (v, mask), moved in zip(told, moves, strict=True)
        if v["domain"] == "simplex" or not moved
    )  # fmt: skip


def named(variable: Mapping[str, Any], mask: Array) -> tuple[str, int]:
    """A parameter, or those of its elements that are meant (whole vectors and matrices by their place), and how many
    free numbers they are."""
    count = _free_numbers(variable, mask)
    if mask.all():
        return str(variable["name"]), count
    around = len(variable["plates"]) + len(variable["array"])
    whole = mask.all(tuple(range(around, mask.ndim)))
    places = np.argwhere(whole) if whole.any() else np.argwhere(mask)
    rows = [str(tuple(int(i) for i in at)) for at in places]
    return f"{variable['name']} {', '.join(rows[:3])}{' and others' if len(rows) > 3 else ''}", count


def _free_numbers(variable: Mapping[str, Any], mask: Array) -> int:
    """How many free numbers these elements are."""
    k = mask.shape[-1] if mask.ndim else 1
    each = {"simplex": (k - 1) / k, "spd": (k + 1) / (2 * k)}
    return round(int(mask.sum()) * each.get(variable["domain"], 1.0))


def _params(spec: Mapping[str, Any], params: Params) -> Iterator[tuple[str, Mapping[str, Any], Array]]:
    for v in spec["variables"]:
        if v["kind"] == "param" and v["name"] in params:
            yield v["name"], v, np.asarray(params[v["name"]], np.float64)


def _level(variable: Mapping[str, Any], value: Array) -> Array:
    """All elements alike: their mean, which every kind of domain has among its values."""
    around = tuple(range(len(variable["plates"]) + len(variable["array"])))
    mean = value.mean(around, keepdims=True) if value.size else value
    if variable["domain"] == "simplex":
        mean = np.full(mean.shape, 1 / max(mean.shape[-1], 1))
    return np.broadcast_to(mean, value.shape).copy()


def _elsewhere(variable: Mapping[str, Any], value: Array) -> Array | None:
    """Other values of a parameter, of one that has come to 0 too; None where they cannot be had one by one."""
    bounded = variable["lower"] is not None or variable["upper"] is not None
    match variable["domain"]:
        case "simplex" if value.shape[-1] > 1:  # of one level is nothing to say
            other: Array = value * np.arange(1, value.shape[-1] + 1) + 1.0
            other /= other.sum(-1, keepdims=True)
            return other
        case "real" if not bounded:
            return value + 1.0 + np.abs(value)
        case "positive" if not bounded:
            return np.where(value > 0, 1.5 * value, 1.0)
        case "spd" if not bounded:
            return np.asarray(1.5 * value + np.eye(value.shape[-1]) * (value == 0))
        case "unit" if not bounded:
            return np.where(value > 0, 0.5 * value, 0.5)
    return None
