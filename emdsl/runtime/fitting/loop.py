"""The EM loop: E-step, M-step, and how a climb ended, in words."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from emdsl.runtime.data.faults import DataError
from emdsl.runtime.fitting.climbs import (
    ENOUGH,
    Climb,
    Params,
    Point,
    Progress,
    Setup,
    enough_points,
    evaluate,
    more_points,
    rounding,
    short_of_one,
    within_points,
)
from emdsl.runtime.fitting.endings import (
    BLURRED,
    all_but_singular,
    collapsed,
    far_away,
    flats,
    on_edge,
    scales_on_edge,
    vanishing,
)
from emdsl.runtime.fitting.leaps import ROUNDING, Leaps
from emdsl.runtime.fitting.untouched import Untouched, idle
from emdsl.runtime.numeric.ways import ENDLESS, LIMIT

EARLY = 3  # M-steps after which is looked for the first time whether there are enough points of quadrature
FALL = 1e-9  # an objective may fall by this much of 1 + |objective| before it is called a fall
OTHER_PLACES = 10  # times the range that rounding had at eight places: it may be as much at another
BLUNT = 1e-8  # of 1 + the objective: a fall after leaps that is none
MAY_REMAIN = 20.0  # times `tol`: what may remain to climb at a fit's end, in units of log-likelihood
SAME = 1e-5  # two starts reach the same optimum when they differ by less of 1 + |objective|


def advance(setup: Setup, here: Point, untouched: Untouched | None = None) -> tuple[Params, str | None]:
    """M-step, and what was repaired on the way where the policy allows repairs. What no data touch stays."""
    module, repaired = setup.module, None
    try:
        params = module.m_step(here.statistics, here.params, setup.prepared, "raise")
    except module.Degenerate as fault:
        kept = (untouched or Untouched(setup, here.params)).kept(here)
        if kept is None and setup.policy not in ("keep", "regularise"):
            raise
        repaired = str(fault.message) if kept is None else None
        params = kept or module.m_step(here.statistics, here.params, setup.prepared, setup.policy)
    refine = vars(module).get("refine")  # hasattr would take a microsecond to find out that there is none
    if refine is not None:
        factors = (here.statistics["state"],) if "state" in here.statistics else ()
        params = refine(here.params, params, setup.data, setup.prepared, *factors, statistics=here.statistics)
    params = {name: np.asarray(value, np.float64) for name, value in params.items()}
    return short_of_one(setup, here, params) if "whole_bound" in vars(module) else params, repaired


def climb(setup: Setup, start: Params, state: Any = None) -> Climb:
    """EM from `start` to convergence, `max_iter` M-steps, a fall, a collapse or Ctrl-C.

    Keeps the best parameters seen. A collapse at the start, or data that the start gives zero
    density, comes back as a Climb with its `failure`. Where points of quadrature do not do, the climb begins again with
    more of them: its history is that of one rule.
    """
    if setup.finest == 1 or state is not None:
        return _climb(setup, start, state)
    while True:
        end = _climb(setup, start, state)
        if end.status == "coarse" and end.prepared is not None:
            setup = setup._replace(prepared=end.prepared)
            continue
        if end.status in ("degenerate", "interrupted"):
            return end
        found, told = enough_points(setup, end.params, end.log_likelihood)
        if found is setup:
            return end._replace(prepared=setup.prepared, told=told)
        setup = found


def _climb(setup: Setup, start: Params, state: Any) -> Climb:
    """The same under the points that there are; "coarse" where more are to be taken, which it brings along."""
    degenerate = (setup.module.Degenerate, np.linalg.LinAlgError)
    repairs: dict[str, int] = {}
    with np.errstate(all="ignore"):
        try:
            here = evaluate(setup, start, state)
        except degenerate as fault:
            return Climb(start, (-np.inf,), -np.inf, "degenerate", _words(fault), state, fault)
        if not np.isfinite(here.objective):
            return _bad_start(setup, here, state)
        before = start
        history, status, message, noise = [here.objective], "climbing", "", 0.0
        leaps, untouched = Leaps(setup, state), Untouched(setup, start)
        while status == "climbing" and len(history) <= setup.max_iter:
            try:
                params, repaired = advance(setup, here, untouched)
                there = evaluate(setup, params, here.statistics.get("state"))
                leaps.pace.step(there.objective - here.objective)
                status, message = _verdict(setup, history, there.objective, repaired)
                if status == "converged" and _far_from_over(setup, leaps, there):
                    status = "climbing"
                early = len(history) == EARLY and status == "climbing"
                if setup.finest > 1 and (early or status == "decreased"):
                    more = more_points(setup, (there,) if early else (there, here), ENOUGH if early else FALL)
                    if more is not setup:
                        return Climb(start, tuple(history), here.log_likelihood, "coarse", "", prepared=more.prepared)
                if status == "decreased" and within_points(setup, here, there):
                    status, message = _verdict(setup._replace(sampled=True), history, there.objective, repaired)
                elif status == "decreased" and hasattr(setup.module, "finer"):
                    message = (
                        f"the objective fell from {history[-1]:.10g} to {there.objective:.10g}, by more than twice the "
                        "points explain: ask for more points; the parameters before the fall are kept"
                    )
                if status == "decreased":
                    fall = here.objective - there.objective
                    blunt = BLUNT * (setup.unit + abs(here.objective)) if leaps.taken else 0.0
                    either = rounding(setup, here), rounding(setup, there)
                    noise = max(*either, min(fall, blunt))
                    blurred = max(either) > BLURRED * (setup.unit + abs(there.objective))  # eight places are few then
                    hidden = OTHER_PLACES * max(either) if blurred else sum(either)
                    status = "level" if fall <= max(noise, hidden) else status
                if status == "decreased" and leaps.back is not None:  # where rounding takes more than a step gains
                    here, status = leaps.returned(leaps.back), "climbing"
                    history[-1] = here.objective
                    continue
                if status == "decreased" and (
                    gone := sorted({*scales_on_edge(setup, params)} - {*scales_on_edge(setup, here.params)})
                ):
                    status, message = "degenerate", f"{', '.join(gone)} has collapsed: what is left is rounding"
                if repaired:
                    repairs[repaired] = repairs.get(repaired, 0) + 1
                if status in ("climbing", "converged", "repaired"):
                    before, here = here.params, there
                    if status in ("climbing", "converged"):
                        here = leaps.ahead(setup, here, history)
                        if leaps.gain > _may_remain(setup, here):
                            status, message = "climbing", ""
                    history.append(here.objective)
                    if setup.progress is not None:
                        setup.progress(len(history) - 1, here.objective)
            except degenerate as fault:
                if leaps.back is None:
                    status, message = "degenerate", _words(fault)
                else:  # where EM by itself has not come yet
                    here = leaps.returned(leaps.back)
                    history[-1] = here.objective
            except KeyboardInterrupt:
                status = "interrupted"
    end = Climb(here.params, tuple(history), here.log_likelihood, status, message, here.statistics.get("state"))
    end = _conclude(setup, end, repairs, noise, start)
    still = idle(setup, before, here, untouched) if end.n_iter else ()
    if (endless := [n for n, _, moves in still if moves]) and end.status in ("converged", "boundary"):
        why = f"{', '.join(endless)} stays where it started: its expected counts are below 0, so that none is a maximum"
        end = end._replace(status="boundary", message=f"{end.message}; {why}")
    return end._replace(idle=tuple((n, count) for n, count, moves in still if not moves))


def _words(fault: Exception) -> str:
    return str(getattr(fault, "message", fault)) or "a matrix is singular"


def _verdict(setup: Setup, history: Sequence[float], after: float, repaired: str | None) -> tuple[str, str]:
    """How an iteration went, and why where it was the last: climbing, converged, repaired, degenerate, decreased.

    Under "keep", a fit that stops moving at a repaired estimate has not converged, it is degenerate.
    """
    before, sampled = history[-1], setup.sampled
    if not math.isfinite(after):
        return "degenerate", f"the objective became {after}: a component has collapsed"
    if after - before < -FALL * (setup.unit + abs(before)) and not sampled and not repaired:
        return "decreased", (
            f"the objective fell from {before:.10g} to {after:.10g}, which EM never does: the parameters before "
            "the fall are kept; please report the model and data"
        )
    if abs(after - before) >= setup.tol * (setup.unit + abs(after)) or (
        sampled and not _settled(setup, history, after)
    ):
        return "climbing", ""
    if setup.tol > 0 and not sampled and _gathering(history, after, setup.unit):
        return "climbing", ""
    if repaired and setup.policy == "keep":
        return "repaired", f"settled at a repaired estimate: {repaired}"
    return "converged", ""


def _far_from_over(setup: Setup, leaps: Leaps, there: Point) -> bool:
    """Whether, at the pace of the last steps, more than may remain to climb."""
    noise = ROUNDING * (setup.unit + abs(there.objective))
    return not setup.sampled and leaps.pace.leads_beyond(_may_remain(setup, there), noise)


def _may_remain(setup: Setup, here: Point) -> float:
    """How much of the objective a fit that has converged may leave: a gap of g is sqrt(2 g) standard errors, however
    many the data are, so that a share of a large objective would be far away."""
    return setup.tol * min(setup.unit + abs(here.objective), MAY_REMAIN * setup.unit)


def _gathering(history: Sequence[float], last: float, unit: float) -> bool:
    """Whether steps are small but growing, or too few to tell, far above rounding: EM may be leaving a plateau."""
    steps = np.diff([*history[-3:], last])
    return bool((np.diff(steps) > 0).all() and steps.min() > 1e-12 * (unit + abs(last)))


def _settled(setup: Setup, history: Sequence[float], last: float) -> bool:
    """Whether a sampled objective, which one small step says little about, has made ten of them in a row."""
    recent = np.diff([*history[-10:], last])
    return len(recent) == 10 and bool((np.abs(recent) < setup.tol * (1 + abs(last))).all())


def _bad_start(setup: Setup, here: Point, state: Any) -> Climb:
    """A start whose objective is not finite: the row of zero density where it can be named."""
    message, row, what, odd = "the objective is not a number at the starting parameters", None, "no number for a", None
    elsewhere = "start elsewhere: init= or another seed"
    if here.objective == -np.inf:
        message, what, odd = "the data have zero density at the starting parameters", "zero", -np.inf
        elsewhere += "; what a `Delta` or a bound of the model leaves out has none anywhere"
    try:
        rows = np.asarray(setup.module.log_likelihood_rows(here.params, setup.data, setup.prepared))
        bad = np.flatnonzero(~(rows < np.inf) if odd is None else rows == odd)
    except (NotImplementedError, ValueError, setup.module.Degenerate, np.linalg.LinAlgError):
        bad = np.zeros(0, int)
    if bad.size:
        row = int(bad[0])
        rows_have = f"{bad.size} rows have" if bad.size > 1 else "1 row has"
        first = f", the first is row {row}" if bad.size > 1 else f": row {row}"
        message = f"{rows_have} {what} density at the starting parameters{first}"
        elsewhere += "" if odd else "; a value at the end of what a family takes (a share of 0) may have none"
    largest = max((float(np.abs(v).max(initial=0)) for v in setup.data.values.values()), default=0.0)
    hint = "rescale the data: they reach beyond 1e100" if largest > 1e100 else elsewhere
    fault = DataError(message, hint=hint, code="D015", row=row)
    return Climb(here.params, (here.objective,), here.log_likelihood, "degenerate", message, state, fault)


def remaining(history: Sequence[float]) -> float | None:
    """Aitken's estimate of how far the objective still has to climb, from its last three values."""
    if len(history) < 3:
        return None
    first, second = history[-2] - history[-3], history[-1] - history[-2]
    rate = second / first if first else 0.0
    return second * rate / (1 - rate) if 0 < rate < 1 else None


def _conclude(
    setup: Setup,
    end: Climb,
    repairs: Mapping[str, int],
    noise: float = 0.0,
    start: Params | None = None,
) -> Climb:
    """The climb with its last word: boundary estimates, repairs, and what may remain to climb."""
    status = {"climbing": "max_iter", "repaired": "degenerate", "level": "converged"}.get(end.status, end.status)
    message = end.message
    edge = on_edge(setup, end.params)
    flat = flats(setup, end.params) if end.state is None else {}
    thin = all_but_singular(setup, end, start or {}, flat) if status == "converged" and end.state is None else []
    if thin and end.status != "level":  # steps below rounding look like convergence
        with np.errstate(all="ignore"):
            noise = rounding(setup, evaluate(setup, end.params, None))
    if lost := collapsed(setup, end, start or {}, edge, noise, flat):
        status, message = "degenerate", lost
    elif thin and noise > BLURRED * (1 + abs(end.history[-1])):
        status = "degenerate"
        message = f"{', '.join(thin)} has collapsed: all but singular, with an objective known to {noise:.1e} only"
    gap = remaining(end.history)
    about = f"; about {gap:.1e} may remain to climb (Aitken)" if gap is not None and gap > 0 else ""
    iterations = f"{end.n_iter} iteration" + ("" if end.n_iter == 1 else "s")
    converged = status == "converged"
    if converged:
        message = (
            f"converged after {iterations}: the objective moves by less than {setup.tol:g} (1 + |objective|){about}"
        )
        if end.status == "level":
            message = (
                f"converged after {iterations}: the objective is known to {noise:.1e} only, parameters are so large"
            )
        edge += [n for n in vanishing(setup, end, start or {}, flat, noise) if n not in edge]
        if edge:
            status, message = "boundary", f"{message}; {LIMIT.told(edge)}"
    elif status == "max_iter":
        message = f"not converged: stopped after max_iter = {setup.max_iter} iterations{about}"
    elif status == "interrupted":
        message = f"interrupted after {iterations}: the best parameters so far are kept"
    elif status == "degenerate":
        message = f"degenerate after {iterations}: {message}"
    moved = end.n_iter > 0  # who asks for no step asks for the likelihood alone
    stopped = ("decreased",) if setup.hurried else ("max_iter", "decreased")  # EM climbs until points do not do
    climbs = moved and hasattr(setup.module, "finer") and status in stopped
    far = far_away(setup, end, noise) if end.state is None and (converged or climbs) else {}
    if far:
        message = f"stopped after {iterations}{about}" if climbs else message
        goes = ", ".join(ENDLESS.told([n], where) for n, where in far.items())
        status, message = "boundary", f"{message}; no finite estimate is best: {goes}"
    for what, count in repairs.items():
        message += f"; repaired ({setup.policy}) in {count} of {iterations}: {what}"
    return end._replace(status=status, message=message)


def best_climb(climbs: Sequence[Climb]) -> Climb:
    """The climb with the highest objective; one that collapsed wins only where all did.

    With several starts the message counts how many reached the best.
    """
    sound = [c for c in climbs if c.status != "degenerate"] or [c for c in climbs if c.failure is None] or list(climbs)
    best = max(sound, key=lambda c: c.objective)
    if len(climbs) == 1:
        return best
    hits = sum(abs(c.objective - best.objective) <= SAME * (1 + abs(best.objective)) for c in sound)
    lost = len(climbs) - sum(c.status != "degenerate" for c in climbs)
    message = f"{best.message}; best objective reached by {hits} of {len(climbs)} starts"
    return best._replace(message=message + (f", {lost} of them degenerate" if lost else ""))


def print_progress(every: float = 0.5) -> Progress:
    """A progress callback that prints to standard error, at most every half second."""
    last = [-every]

    def show(iteration: int, objective: float) -> None:
        now = time.monotonic()
        if iteration == 1 or now - last[0] >= every:
            last[0] = now
            print(f"iteration {iteration:6d}  objective {objective:.8f}", file=sys.stderr)

    return show
