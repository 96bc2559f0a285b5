"""Where EM crawls, leaps along its own path: three points of a slow climb tell where it leads.

    t' = t0 + 2 a r + a^2 v,   r = t1 - t0,   v = (t2 - t1) - r,   a = |r| / |v|

(Varadhan and Roland 2008) for each parameter, taken where the objective is higher there than at t2, so that it never
falls. Coordinates are logarithms of what is positive, of probabilities up to a factor, and of the diagonals of Cholesky
factors. Where q is a product of factors, the moments that these hand to one another leap as the parameters do: the
sweep that follows makes each factor anew, so that the bound is again one of members of the families.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from emdsl.runtime.data.columns import Array
from emdsl.runtime.fitting.climbs import ENOUGH, Point, Setup, evaluate, finer_error

PATIENCE = 30  # iterations before the first leap: what converges by itself is left alone
SLOW = 0.9  # of one gain that the next keeps, from which on EM crawls
FIRST_REACH, WIDER = 4.0, 4.0  # how many steps one leap may stand for at first, and by how much that grows
FARTHEST = 1e6
ROUNDING = 1e-13  # of 1 + the objective: a leap that gains no more than that goes nowhere
LATELY = 20  # steps that a climb's pace is that of
SPENT = 1e-4  # of what may remain to climb: a step that gains no more is the last, whatever its pace
TENFOLD = 10.0  # by how much one leap may move what is positive
SHRINK = np.log(TENFOLD)


class Pace:
    """The gains of the steps of EM since the last leap, and what each kept of the one before it, lately."""

    def __init__(self) -> None:
        self.gains: list[float] = []
        self.kept: list[float] = []

    def step(self, gain: float) -> None:
        """The first of them, after a start or a leap, has no pace: it makes up for what was out of step."""
        self.gains = [*self.gains[-2:], gain]
        if len(self.gains) == 3 and self.gains[1] > 0:
            self.kept = [*self.kept[1 - LATELY :], gain / self.gains[1]]

    def leads_beyond(self, bar: float, noise: float) -> bool:
        """Whether more than `bar` remains (Boehning et al. 1994): the steps of a crawl are far smaller than what lies
        ahead of them. It is the slowest pace of late that counts, as what is fast ends first."""
        gain = self.gains[-1]
        slowest = max(self.kept, default=1.0)
        return gain > max(SPENT * bar, noise) and (slowest >= 1 or gain * slowest >= bar * (1 - slowest))


class Leaps:
    """The last points of one climb, and how far leaps have carried. `back` is the point before the last leap."""

    def __init__(self, setup: Setup, state: Any) -> None:
        module = setup.module
        self.kinds = {v["name"]: _kind(v) for v in module.SPEC["variables"] if v["kind"] == "param"}
        wanted = setup.tol > 0  # a fit that never stops early is a count of steps of EM, and is to have just these
        at_points = "finer" in vars(module)  # of quadrature; factors of q at points are a state that does not leap
        self.on = wanted and not setup.sampled and not (at_points and state is not None)
        self.path: list[Point] = []
        self.reach, self.wait, self.rest = FIRST_REACH, 0, 0
        self.back: Point | None = None
        self.taken = False  # whether any leap was
        self.gain = 0.0  # of the last leap; 0 where it was none
        self.pace = Pace()

    def ahead(self, setup: Setup, here: Point, history: Sequence[float]) -> Point:
        """A point further up the path of EM than `here`, at the end of a plain step; `here` where there is none."""
        self.back = None
        if not self.on or len(history) < PATIENCE:
            return here
        self.path = [*self.path[-2:], here]
        self.rest = max(0, self.rest - 1)
        gains = np.diff([*history[-2:], here.objective])
        crawls = len(gains) == 2 and gains[1] > SLOW * gains[0] > 0
        if len(self.path) < 3 or self.rest or not (crawls or self.wait):
            return here
        there, steps = _tried(setup, self.path, self.kinds, self.reach)
        least = here.objective + ROUNDING * (setup.unit + abs(here.objective))
        if there is None or not there.objective > least or not _sure(setup, here, there):
            self.path, self.gain = [here], 0.0
            self.reach, self.wait = FIRST_REACH, min(32, 2 * self.wait + 1)
            self.rest = self.wait + 2
            return here
        self.reach = min(FARTHEST, self.reach * WIDER) if steps >= self.reach else self.reach
        self.path, self.wait, self.back, self.pace.gains = [there], 1, here, []
        self.gain, self.taken = there.objective - here.objective, True
        return there

    def returned(self, back: Point) -> Point:
        """Where the last leap began, from which EM goes on by itself."""
        self.back, self.on, self.pace.gains = None, False, []
        return back


def _tried(setup: Setup, path: Sequence[Point], kinds: Mapping[str, str], reach: float) -> tuple[Point | None, float]:
    """The point where a path leads, None where it has no density, and how many steps that is."""
    states = [p.statistics.get("state", {}) for p in path]
    moments = {n: "moments" for n, v in states[-1].items() if _can_leap(v)}
    try:
        params, most = _leap([p.params for p in path], kinds, reach)
        state, far = _leap(states, moments, reach)
        there = evaluate(setup, params, state or None) if most or far else None
    except (setup.module.Degenerate, np.linalg.LinAlgError):
        return None, 0.0
    return (there if there is not None and np.isfinite(there.objective) else None), max(most, far)


def _can_leap(value: Any) -> bool:
    return isinstance(value, float | np.floating | np.ndarray) and np.asarray(value).dtype == np.float64


def _sure(setup: Setup, here: Point, there: Point) -> bool:
    """Whether what a leap gains is no error of quadrature, as twice the points tell it there."""
    error = finer_error(setup, there.params, there.log_likelihood) if "state" not in there.statistics else None
    gain = there.objective - here.objective
    return error is None or abs(error) <= max(gain, ENOUGH * (1 + abs(there.log_likelihood)))


def _kind(variable: Mapping[str, Any]) -> str:
    """How a parameter's numbers are moved: "log", "simplex", "spd", "plain", or "still"."""
    bounded = any(variable.get(end) is not None for end in ("lower", "upper")) or "bounded" in variable
    kinds = {"positive": "log", "real": "plain", "simplex": "simplex", "spd": "spd", "zero_sum": "plain"}
    return "still" if bounded else kinds.get(variable["domain"], "still")


def _leap(path: Sequence[Mapping[str, Any]], kinds: Mapping[str, str], reach: float) -> tuple[dict[str, Any], float]:
    """The arrays where three points lead, and the most steps that is of one; 0 where they lead no further.

    Each by its own rate: what is fast would be thrown far by the rate of what is slow.
    """
    params, most = dict(path[-1]), 0.0
    for name, kind in kinds.items():
        if kind == "still" or not all(name in p and np.shape(p[name]) == np.shape(params[name]) for p in path):
            continue
        a, b, c = (_free(p[name], kind) for p in path)
        r, v = b - a, (c - b) - (b - a)
        long, bent = float(np.linalg.norm(r)), float(np.linalg.norm(v))
        steps = min(long / bent, reach) if bent > 0 else 0.0
        if steps > 1:
            params[name] = _moved(params[name], kind, a + 2 * steps * r + steps**2 * v - c)
            most = max(most, steps)
    return params, most


def _free(value: Array, kind: str) -> Array:
    if kind in ("log", "simplex"):
        return np.log(np.where(value > 0, value, 1.0))
    if kind == "spd":
        factor = np.linalg.cholesky(value)
        diagonal = factor.diagonal(0, -2, -1)
        return np.tril(factor / diagonal[..., None, :], -1) + np.log(diagonal)[..., None] * np.eye(value.shape[-1])
    return np.asarray(value, float)


def _moved(value: Array, kind: str, far: Array) -> Array:
    """A parameter moved by that much of its coordinates; what does not move stays as it is, to the last digit."""
    if kind == "plain":
        return np.asarray(value + far)
    if kind == "moments":  # what adds up to 1 still does; what is positive stays so
        near = np.clip(value + far, value / TENFOLD, value * TENFOLD)
        return np.asarray(near if np.min(value, initial=0.0) >= 0 else value + far)
    if kind == "log":
        return np.asarray(value * np.exp(np.clip(far, -SHRINK, SHRINK)))
    if kind == "simplex":
        new = value * np.exp(np.clip(far, -SHRINK, SHRINK))
        still = (far == 0).all(-1, keepdims=True)
        return np.asarray(np.where(still, value, new / new.sum(-1, keepdims=True)))
    eye = np.eye(value.shape[-1])
    free = _free(value, kind) + np.where(eye > 0, np.clip(far, -SHRINK, SHRINK), far)
    diagonal = np.exp((free * eye).sum(-1))
    factor = (free * (1 - eye) + eye) * diagonal[..., None, :]
    still = (far == 0).all((-2, -1))[..., None, None]
    return np.asarray(np.where(still, value, factor @ np.swapaxes(factor, -1, -2)))
