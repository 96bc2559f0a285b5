"""What a climb is made of: what stays fixed, the points on the way up, and the objective at them.

`Module` is a generated module as seen from here; it is only ever called, never changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from emdsl.runtime.data.binding import Bound
from emdsl.runtime.data.columns import Array

Params = dict[str, Array]
Progress = Callable[[int, float], Any]

ENOUGH = 1e-7  # of 1 + |log-likelihood|: an error of quadrature for which no more points are taken
HELPED = 3.0  # by which twice the points divide the error at least every other time, or they are in vain (kinks)
MIXED = 1.01  # R-hat below which chains have mixed (Vehtari et al. 2021): a sample that is cheap grows until then
ROOM = 2e7  # numbers in a table of states and points for all rows


class Setup(NamedTuple):
    """What stays fixed during a fit."""

    module: Any
    data: Bound
    prepared: Mapping[str, Any]
    max_iter: int
    tol: float
    policy: str
    progress: Progress | None = None
    sampled: bool = False
    unit: float = 1.0  # what the objective is measured in: a row's weight, where all are less than 1
    finest: int = 1  # times the points of quadrature that may be taken where those that there are do not do
    untouched: Any = None  # what no data touch, given draws
    hurried: bool = False  # whether a fit that is stopped is not asked where it was going


class Climb(NamedTuple):
    """One climb from one start. `history[-1]` is the objective at `params`.

    `status` is one of converged, max_iter, boundary, degenerate, decreased, interrupted;
    `log_likelihood` excludes the priors; `state` is the E-step's own memory (variational factors, draws).
    """

    params: Params
    history: tuple[float, ...]
    log_likelihood: float
    status: str
    message: str
    state: Any = None
    failure: Exception | None = None
    report: Mapping[str, Any] | None = None  # of draws: errors of the estimates, how the chains mixed
    idle: tuple[tuple[str, int], ...] = ()  # distributions that the data say nothing of
    prepared: Mapping[str, Any] | None = None  # data under the points that were taken, where these may be more
    told: float | None = None  # what twice these points add to the log-likelihood

    @property
    def objective(self) -> float:
        return self.history[-1]

    @property
    def n_iter(self) -> int:
        return len(self.history) - 1


class Point(NamedTuple):
    """A place on the way up: parameters and what the E-step there gave."""

    params: Params
    statistics: Mapping[str, Any]
    log_likelihood: float
    objective: float


def is_sampled(module: Any) -> bool:
    """Whether the E-step draws, so that the objective moves up and down by chance."""
    return any(method.startswith(("mcmc", "saem")) for method, *_ in module.SPEC.get("plan", {}).values())


def is_exact(module: Any) -> bool:
    """Whether the E-step's total is the log-likelihood itself (or its quadrature), not a bound or a draw."""
    return not is_sampled(module) and not any(m == "meanfield" for m, *_ in module.SPEC.get("plan", {}).values())


def evaluate(setup: Setup, params: Params, state: Any) -> Point:
    """E-step at `params`: log-likelihood (or bound), and with the priors' log densities the objective."""
    extra = () if state is None else (state,)
    statistics = setup.module.e_step(params, setup.data, setup.prepared, *extra)
    value = float(statistics["log_likelihood"])
    return Point(params, statistics, value, value + float(setup.module.log_prior(params, setup.prepared)))


def finer_error(setup: Setup, params: Params, log_likelihood: float, state: Any = None) -> float | None:
    """What twice the points of each quadrature add to the log-likelihood, or to the bound by a sweep from the factors
    `state`; None where there is no quadrature."""
    module = setup.module
    if "finer" not in vars(module):
        return None
    with np.errstate(all="ignore"):
        found = module.e_step(params, setup.data, module.finer(setup.prepared), *(() if state is None else (state,)))
    return float(found["log_likelihood"]) - log_likelihood


def enough_points(setup: Setup, params: Params, value: float, bar: float = ENOUGH) -> tuple[Setup, float | None]:
    """The fit under as many points as leave the log-likelihood `value` at `params` an error below `bar`, and that error
    as twice these points tell it; as it is where no more may be taken, or where more do not help."""
    told = finer_error(setup, params, value)
    found, error, idle = setup, told, 0
    while error is not None and abs(error) > bar * (1 + abs(value)):
        more = setup.module.finer(found.prepared)
        if more["times"] > setup.finest or _largest(setup, setup.module.finer(more)) > ROOM:
            return found, error
        before, value, found = error, value + error, found._replace(prepared=more)
        error = finer_error(found, params, value)
        idle = 0 if error is not None and abs(error) * HELPED < abs(before) else idle + 1
        if idle == 2:
            return setup, told
    return found, error


def _largest(setup: Setup, prepared: Mapping[str, Any]) -> float:
    """How many numbers the largest table at these points has: of states, or of rows that their densities sum over."""
    points = max(len(rule.log_volume) for rule in prepared["the rules"].values())
    return float(max(prepared["largest"], points * max(setup.data.sizes.values())))


def under_points(setup: Setup, best: Climb) -> Setup:
    """The fit under the points that a climb took."""
    return setup if best.prepared is None else setup._replace(prepared=best.prepared)


def error_told(setup: Setup, best: Climb) -> float | None:
    """What twice the points that a climb took change of its log-likelihood; None where there is no quadrature."""
    if best.told is not None:
        return best.told
    return finer_error(setup, best.params, best.log_likelihood, best.state)


def points_told(setup: Setup, error: float | None) -> str:
    """How many points were taken, and what twice as many change, in words."""
    if error is None:
        return ""
    times = setup.prepared.get("times", 1)
    taken = f"; {times} times the points were taken that it began with" if times > 1 else ""
    return f"{taken}; twice the points change the log-likelihood by {error:.1e}"


def more_points(setup: Setup, places: Sequence[Point], bar: float) -> Setup:
    """The fit under enough points of quadrature at these places; as it is where there are."""
    for p in places:
        found, _ = enough_points(setup, p.params, p.log_likelihood, bar)
        if found is not setup:
            return found
    return setup


def short_of_one(setup: Setup, here: Point, params: Params) -> Params:
    """The parameters of an M-step, probabilities that rounded to 1 at the last number before it where q needs that.

    q has mass s on what a probability p leaves: s log(1 - p) is next to nothing where 1 - p = s, and without a value
    where p is 1 because s was less than what can be told from 1.
    """
    ones = {n: v == 1 for n, v in params.items() if (v == 1).any()}
    risen = {n: there & (here.params[n] < 1) for n, there in ones.items() if _is_probability(setup, n)}
    if not any(there.any() for there in risen.values()):
        return params
    state = here.statistics["state"]
    found = setup.module.e_step(params, setup.data, setup.prepared, state, sweep="")
    if found["log_likelihood"] >= here.log_likelihood:
        return params
    below = {n: np.where(there, np.nextafter(1.0, 0.0), params[n]) for n, there in risen.items()}
    return {**params, **below}


def _is_probability(setup: Setup, name: str) -> bool:
    return any(v["name"] == name and v["domain"] == "unit" for v in setup.module.SPEC["variables"])


def within_points(setup: Setup, here: Point, there: Point) -> bool:
    """Whether a fall is no larger than the error that twice the points tell: the points moved, EM did not fall."""
    errors = [finer_error(setup, p.params, p.log_likelihood, p.statistics.get("state")) for p in (here, there)]
    return here.objective - there.objective <= sum(abs(e) for e in errors if e is not None)


def rounding(setup: Setup, here: Point) -> float:
    """By how much the objective changes where parameters are rounded otherwise: it is known no better.

    Densities of large parameters are small differences of large terms: of a negative binomial's size near infinity.
    All move alike, then neighbours move apart: of an intercept and a slope that move alike, far data see nothing.
    A bound is compared with itself, each time a sweep after the factors of q that led here.
    """
    state = here.statistics.get("state")
    moved = [{n: v * (1 + k * 2.0**-51) for n, v in here.params.items()} for k in (-2, -1, 1, 2)]
    moved += [
        {n: v * (1 + k * 2.0**-51 * _turns(n, v, here.params)) for n, v in here.params.items()} for k in (-2, -1, 1, 2)
    ]
    try:
        first = here if state is None else evaluate(setup, here.params, state)
        values = [first.objective, *(evaluate(setup, params, state).objective for params in moved)]
    except (setup.module.Degenerate, np.linalg.LinAlgError):  # a matrix that is singular but for rounding
        return np.inf
    return max(values) - min(values)


def objective_at(setup: Setup, params: Params) -> float:
    """The objective where a climb may never have been; NaN where there is none."""
    try:
        with np.errstate(all="ignore"):
            return evaluate(setup, params, None).objective
    except (setup.module.Degenerate, np.linalg.LinAlgError):
        return np.nan


def _turns(name: str, value: Array, params: Params) -> Array:
    """1 and -1 by turns for the numbers of a parameter, going on where the one before it ended."""
    before = sum(np.size(v) for n, v in list(params.items())[: list(params).index(name)])
    return np.reshape(1.0 - 2.0 * ((before + np.arange(np.size(value))) % 2), np.shape(value))
