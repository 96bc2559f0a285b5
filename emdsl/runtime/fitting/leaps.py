"""Where EM crawls, leaps along its own path: its last steps tell where it leads.

A step of EM from x leads to F(x), and stands still where r = F(x) - x is 0. Of the last few steps

    x' = F(x) - dF g,   g = argmin |r - dR g|,   dF, dR : differences of successive F and r

(Anderson 1965) is where r would vanish were F straight, taken where the objective is higher than at F(x), so that it
never falls: further, in strides of four, while that is higher still, or a fifth of the way where it is not. Where steps
grow, as on the way from a saddle, r vanishes behind: there a leap is several steps at once.
Coordinates are logarithms of what is positive and of the diagonals of Cholesky factors, and roots of probabilities, of
which one that goes to 0 is near it. Where q is a product of factors, the moments that these hand to one another leap as
the parameters do: the sweep that follows makes each factor anew, so that the bound is again one of members of the
families.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from emdsl.runtime.data.columns import Array
from emdsl.runtime.fitting.climbs import ENOUGH, Params, Point, Setup, evaluate, finer_error
from emdsl.runtime.fitting.effects import Effects

PATIENCE = 20  # iterations before the first leap: what converges by itself is left alone
SLOW = 0.5  # of one gain that the next keeps, from which on EM crawls
STEPS = 8  # of EM that one leap looks at
NUMBERS_KEPT = 4e6  # numbers of these that are kept: of much that leaps, fewer steps
CAREFUL, BOLD, LEARNT = 1e-2, 1e-10, 10.0  # the least share of a direction that is gone by, and how fast it changes
WIDER, FARTHEST, BACK = 4.0, 1e6, 0.2  # times a leap that are tried where it is higher, at most, and where it is not
OFTEN = 4  # one leap in so many is tried further though the last one was not higher there
UNTOLD = 1e100  # a step that long has no place among others
ROUNDING = 1e-13  # of 1 + the objective: a leap that gains no more than that goes nowhere
FEW_PACES = 5  # show what is fast alone: half of a gain may be kept by what lies behind
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
        slowest = max(SLOW if len(self.kept) < FEW_PACES else 0.0, *self.kept) if self.kept else 1.0
        return gain > max(SPENT * bar, noise) and (slowest >= 1 or gain * slowest >= bar * (1 - slowest))


class Leaps:
    """The last steps of one climb. `back` is the point before the last leap."""

    def __init__(self, setup: Setup, state: Any) -> None:
        module = setup.module
        self.kinds = {v["name"]: _kind(v) for v in module.SPEC["variables"] if v["kind"] == "param"}
        wanted = setup.tol > 0  # a fit that never stops early is a count of steps of EM, and is to have just these
        at_points = "finer" in vars(module)  # of quadrature; factors of q at points are a state that does not leap
        self.on = wanted and not setup.sampled and not (at_points and state is not None)
        self.path: list[tuple[Array, Array]] = []  # where steps began, and where they led
        self.start: Array | None = None  # of the step that is next
        self.share, self.wait, self.rest = 1e-3, 0, 0
        self.further, self.count = True, 0  # whether the last leap was, and how many there were
        self.back: Point | None = None
        self.taken = False  # whether any leap was
        self.gain = 0.0  # of the last leap; 0 from the second on that was none
        self.pace = Pace()
        self.effects, self.apart, self.tries = Effects(setup), 0, 1  # M-steps until these are asked again, and then

    def ahead(self, setup: Setup, here: Point, history: Sequence[float]) -> Point:
        """A point further up the path of EM than `here`, at the end of a plain step; `here` where there is none."""
        self.back = None
        if not self.on:
            return here
        if len(history) < PATIENCE - STEPS:
            return self._by_effects(setup, here, history) or here
        began, self.start = self.start, _coordinates(here, self.kinds)
        if began is None or began.shape != self.start.shape:
            self.path = []
            return here
        kept = int(np.clip(NUMBERS_KEPT / max(1, began.size), 1, STEPS - 1))
        self.path = [*self.path[-kept:], (began, self.start)]
        there = self._by_effects(setup, here, history)
        if there is not None:
            return there
        self.rest = max(0, self.rest - 1)
        gains = np.diff([*history[-2:], here.objective])
        crawls = len(gains) == 2 and gains[1] > SLOW * gains[0] > 0
        if len(history) < PATIENCE or len(self.path) < 2 or self.rest or not (crawls or self.wait):
            return here
        far = _leap(self.path, self.share) if gains[1] <= gains[0] else WIDER * (self.start - began)
        there = self._along(setup, here, far)
        if there is None:
            self.path, self.gain = self.path[-2:], self.gain if self.wait == 1 else 0.0
            self.share, self.wait = min(CAREFUL, self.share * LEARNT), min(32, 2 * self.wait + 1)
            self.rest = self.wait
            return here
        self.share, self.wait = max(BOLD, self.share / LEARNT), 1
        self._leapt(here, there)
        return there

    def _along(self, setup: Setup, here: Point, far: Array) -> Point | None:
        """The highest of the points that are tried along a leap; None where none is higher than `here`."""
        by = 1.0
        there = _tried(setup, here, self.kinds, far)
        if there is None or not _is_higher(setup, here, there):
            back = _tried(setup, here, self.kinds, BACK * far)
            return back if back is not None and _is_higher(setup, here, back) else None
        self.count += 1
        while by < FARTHEST and (self.further or self.count % OFTEN == 0):
            beyond = _tried(setup, here, self.kinds, WIDER * by * far)
            self.further = beyond is not None and _is_higher(setup, there, beyond)
            if beyond is None or not self.further:
                break
            there, by = beyond, WIDER * by
        self.further = by > 1
        return there

    def _leapt(self, here: Point, there: Point) -> None:
        self.back, self.pace.gains = here, []
        self.gain, self.taken = there.objective - here.objective, True
        self.start = _coordinates(there, self.kinds)

    def _by_effects(self, setup: Setup, here: Point, history: Sequence[float]) -> Point | None:
        """A higher point whose parameters hold what effects of groups have in common; asked for where it may be far."""
        self.apart -= 1
        if self.apart > 0 or len(history) < 2:
            return None
        params = self.effects.moved(setup, here)
        there = None if params is None else _evaluated(setup, params, None)
        worth = here.objective - history[-1]  # no more than a step of EM: the path that leaps are told by goes on
        if there is None or not (there.objective - here.objective > worth and _is_higher(setup, here, there)):
            self.tries = min(81, 3 * self.tries)
            self.apart = self.tries
            return None
        self.tries = 1
        self._leapt(here, there)
        return there

    def returned(self, back: Point) -> Point:
        """Where the last leap began, from which EM goes on by itself."""
        self.back, self.on, self.pace.gains = None, False, []
        return back


def _tried(setup: Setup, here: Point, kinds: Mapping[str, str], far: Array) -> Point | None:
    """The point so far from `here`, None where it has no density."""
    params, state, at = dict(here.params), dict(here.statistics.get("state", {})), 0
    for name, kind, value in _leaping(here, kinds):
        free = _free(value, kind)
        moved = _moved(value, kind, far[at : at + free.size].reshape(free.shape))
        (state if kind == "moments" else params)[name] = moved
        at += free.size
    return _evaluated(setup, params, state or None)


def _evaluated(setup: Setup, params: Params, state: Any) -> Point | None:
    """The point at these parameters, None where it has no density."""
    try:
        there = evaluate(setup, params, state)
    except (setup.module.Degenerate, np.linalg.LinAlgError):
        return None
    return there if np.isfinite(there.objective) else None


def _leaping(here: Point, kinds: Mapping[str, str]) -> list[tuple[str, str, Any]]:
    """What leaps, by name and kind: parameters, and the moments that factors of q hand to one another."""
    params = [(name, kind, here.params[name]) for name, kind in kinds.items() if kind != "still"]
    state = here.statistics.get("state", {})
    return params + [(name, "moments", value) for name, value in state.items() if _can_leap(value)]


def _coordinates(here: Point, kinds: Mapping[str, str]) -> Array:
    return np.concatenate([np.zeros(0), *(np.ravel(_free(v, kind)) for _, kind, v in _leaping(here, kinds))])


def _leap(path: Sequence[tuple[Array, Array]], least: float) -> Array:
    """How far from the last of its points a path leads; directions of less than that share of the largest are none."""
    began, led = (np.array(ends) for ends in zip(*path, strict=True))
    rest, far = led - began, np.zeros(led.shape[1])
    whole = (np.abs(rest) < UNTOLD).all(0)  # a logarithm of 0 leads nowhere
    turns = np.diff(rest[:, whole], axis=0).T
    sizes = np.linalg.norm(turns, axis=0)
    sizes = np.where(sizes > 0, sizes, 1.0)
    weights = np.linalg.lstsq(turns / sizes, rest[-1, whole], rcond=least)[0] / sizes
    far[whole] = -np.diff(led[:, whole], axis=0).T @ weights
    return far


def _can_leap(value: Any) -> bool:
    return isinstance(value, float | np.floating | np.ndarray) and np.asarray(value).dtype == np.float64


def _is_higher(setup: Setup, here: Point, there: Point) -> bool:
    """By more than rounding, and the points of quadrature."""
    least = here.objective + ROUNDING * (setup.unit + abs(here.objective))
    return there.objective > least and _sure(setup, here, there)


def _sure(setup: Setup, here: Point, there: Point) -> bool:
    """Whether what a leap gains is no error of quadrature, as twice the points tell it there."""
    error = finer_error(setup, there.params, there.log_likelihood) if "state" not in there.statistics else None
    gain = there.objective - here.objective
    return error is None or abs(error) <= max(gain, ENOUGH * (1 + abs(there.log_likelihood)))


def _kind(variable: Mapping[str, Any]) -> str:
    """How a parameter's numbers are moved: "log", "simplex", "unit", "spd", "plain", or "still"."""
    bounded = any(variable.get(end) is not None for end in ("lower", "upper")) or "bounded" in variable
    kinds = {
        "positive": "log",
        "real": "plain",
        "simplex": "simplex",
        "unit": "unit",
        "spd": "spd",
        "zero_sum": "plain",
    }
    return "still" if bounded else kinds.get(variable["domain"], "still")


def _free(value: Array, kind: str) -> Array:
    if kind == "log":
        return np.log(np.where(value > 0, value, 1.0))
    if kind in ("simplex", "unit"):
        return np.sqrt(_shares(value, kind))
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
    if kind in ("simplex", "unit"):
        old = _shares(value, kind)
        root = np.sqrt(old)
        new = np.clip(root + far, root / TENFOLD, root * TENFOLD) ** 2
        new = np.where((far == 0).all(-1, keepdims=True), old, new / new.sum(-1, keepdims=True))
        return np.asarray(new if kind == "simplex" else new[..., 0])
    eye = np.eye(value.shape[-1])
    free = _free(value, kind) + np.where(eye > 0, np.clip(far, -SHRINK, SHRINK), far)
    diagonal = np.exp((free * eye).sum(-1))
    factor = (free * (1 - eye) + eye) * diagonal[..., None, :]
    still = (far == 0).all((-2, -1))[..., None, None]
    return np.asarray(np.where(still, value, factor @ np.swapaxes(factor, -1, -2)))


def _shares(value: Array, kind: str) -> Array:
    """Probabilities that add up to 1: of one alone, it and the other."""
    return np.stack([value, 1 - np.asarray(value)], -1) if kind == "unit" else np.asarray(value)
