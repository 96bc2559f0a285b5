"""The M-step against Q by the oracle; where no oracle has it, the end of EM against the likelihood reported."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np

from emdsl.errors import DataError
from emdsl.families.scope import Array
from emdsl.fit.sampling import variable_reads
from emdsl.fit.verify import on_average
from emdsl.fit.verify.blur import OTHERS, ROUNDED, jitter
from emdsl.fit.verify.case import Case
from emdsl.fit.verify.certificate import Check, measured, reason, skipped
from emdsl.fit.verify.checks import (
    APPROXIMATE,
    EXACT,
    SAMPLED,
    SLOPE,
    certain_of,
    direction,
    ends_move,
    log_likelihood_by,
    placed_at,
)
from emdsl.fit.verify.effort import MOST_POINTS, grown, numbers_of, points_of, searched
from emdsl.fit.verify.far import far_out
from emdsl.fit.verify.holes import with_holes
from emdsl.fit.verify.layout import Known
from emdsl.fit.verify.moved import as_measured, as_written, moved, moves
from emdsl.fit.verify.oracle import Oracle
from emdsl.fit.verify.setting import Drawn
from emdsl.fit.verify.space import Space, free
from emdsl.fit.verify.tables import STEP, tables
from emdsl.fit.verify.world import Unchecked, World
from emdsl.language.model import Variable

LEVELS = "EM ends where log p(x) is level"
CURVE = 1e-4
FAR = 1e100  # a number this large stands for infinity
WIDE = 3e-4  # steps of differences, first and second
BENT = 0.2  # of what such steps change: not smooth
MOST_STEPS, LEVEL = 400, 1e-4  # of EM until it ends, and how far from a maximum that may be
RESTING, LAST_DIGITS = 10, 4e-16  # steps before a fit was stopped, by which an objective at rest moves no more
FIRST_STEPS = 10  # of those that may take more points
STEPS_INSIDE = 60  # of those that have integrals inside integrals: a third of a second each
MOST_WORK = 4_000_000  # numbers at which log densities are evaluated, over all steps
WITH_GAPS = (30, 90)  # rows, in turn
SHORT = "steps of EM are too short to tell"
SINGULAR = 1e-3  # an eigenvalue of correlations that is less: where it goes to 0, EM goes there ever more slowly
CLIMBS, PARTS = ("newton", "gradient"), (0.1, 0.3, 0.6)  # of the way to a better point
AROUND = (0.01, 0.1, 0.5, 2.0)  # how far from the M-step's result points are tried


def m_step(case: Case) -> Iterator[Check]:
    """The M-step against Q; where no oracle has it, the end of EM against the likelihood that is reported."""
    try:
        yield from maximises(case)
    except Unchecked as why:
        if not case.exact:
            raise
        yield skipped("M-step", "", str(why))
        yield from _level(case)


def _level(case: Case) -> Iterator[Check]:
    """EM ends where log p(x) has no slope: an M-step of another Q has another fixed point."""
    if why := _too_dear(case):
        yield skipped(LEVELS, "", why)
        return
    yield from _ends_level(case, *on_average.many(case, SAMPLED))


def _too_dear(case: Case) -> str:
    """Why EM is not run to its end with many rows; nothing where it is."""
    if (points := points_of(case.model.derived.joint)) > MOST_POINTS:
        return f"each row has {points} points: fits of many are made at no more than {MOST_POINTS}"
    if names := searched(case.model.derived.updates):
        return f"each step searches for {', '.join(names)} across kinks, in hundreds of passes over the data"
    return ""


def level_with_gaps(case: Case, mine: Sequence[Variable], whole: bool) -> Iterator[Check]:
    """The same where a quarter of these data is missing, of more rows where what is climbed to lies at an end of a
    domain: which latents stand for what is missing is the plan's choice, and this holds for any."""
    found: list[Check] = []
    try:
        if why := _too_dear(case):
            raise Unchecked(why)
        if lagged := [v.name for v in mine if v.name in variable_reads(v, case.world.model)]:
            raise Unchecked(f"rows of {lagged[0]} that gaps tie are a model of their own, run by run")
        for rows in WITH_GAPS:
            drawn, start = on_average.many(case, rows)
            found = list(_ends_level(case, with_holes(mine, drawn, whole, case.rng(19)), start))
            if any(c.status != "not checked" for c in found):
                break
    except (Unchecked, DataError) as refused:
        found = found or [skipped(LEVELS, "", reason(refused))]
    yield from found


def _ends_level(case: Case, drawn: Drawn, start: Mapping[str, Array]) -> Iterator[Check]:
    """The same for these data. Raises Unchecked."""
    end = _end(case, drawn, start)
    if (ended := _no_end(end)) is not None:
        yield ended
        return
    if end.log_likelihood_ is None:
        yield skipped(LEVELS, "", "so many rows go by mean-field, whose bound has slopes of its own")
        return
    params, rng = {n: np.asarray(v, float) for n, v in end.params_.items()}, case.rng(11)
    if far_out(case.model, drawn, params, every=True):
        yield skipped(LEVELS, "", f"a parameter went far: beside a scale that collapses {SHORT}")
        return
    top = case.fit(params, 0, drawn).history_[0]
    space = Space.of(case.world.model.of_kind("param"), World.of(case.world.model, drawn).scope, start)
    for param in params:
        try:
            step = space.direction(param, rng)
        except (NotImplementedError, np.linalg.LinAlgError) as why:
            yield skipped(LEVELS, param, str(why))
            continue
        if space.domains[param][0] == "spd" and _correlated(params[param]):
            yield skipped(LEVELS, param, f"all but singular where the fit ended, where {SHORT}")
            continue
        slope, _ = rises(lambda h: case.fit(space.at(params, {param: h * step}), 0, drawn).history_[0] - top)  # noqa: B023
        if slope > LEVEL and slope <= (lost := OTHERS * jitter(case, drawn, params) / WIDE):
            yield skipped(LEVELS, param, f"other last digits of the parameters move the slope by {lost / OTHERS:.0e}")
            continue
        yield measured(LEVELS, param, slope, LEVEL)


def _end(case: Case, drawn: Drawn, start: Mapping[str, Array]) -> Any:
    """A fit to its end, or of as many steps as may be: few first, where it may take more points for what it needs.
    Raises Unchecked."""
    joint = case.derived.joint
    dear, most = max(1, numbers_of(joint, drawn.latents)), STEPS_INSIDE
    if not any(c.outer for c in joint.clouds):
        most = max(STEPS_INSIDE, min(MOST_STEPS, MOST_WORK // dear))
    steps = min(FIRST_STEPS, most) if joint.clouds else most
    while True:
        try:
            end = case.fit(start, steps, drawn, policy="keep", tol=1e-12)
        except DataError as refused:  # so many elements of a network are too many
            raise Unchecked(refused.problems[0].message) from None
        if steps == most or end.status_ != "max_iter":
            return end
        more = grown(joint, end._times)
        steps = most if more == 1 else min(2 * steps, most)
        if steps * more * dear > MOST_WORK and more > 1:
            raise Unchecked(f"each step evaluates log densities at {more * dear} numbers, and {steps} are too many")


def _no_end(end: Any) -> Check | None:
    """What is said of a fit that ended nowhere: that it fell is a fault, unless its points are too few to tell. At an
    end of a domain nothing has a slope in logarithms, of shares or of distances from there."""
    if abs(told := end.quadrature_error_ or 0.0) > LEVEL * LEVEL:
        return skipped(LEVELS, "", f"twice the points tell of an error of {told:.0e} there")
    if end.status_ == "decreased":
        return Check(LEVELS, f"step {len(end.history_)}", "failed", note=end.message_)
    if end.converged_ or _rests(end):
        return None
    return skipped(LEVELS, "", f"the fit ended as {end.status_}: {end.message_}")


def _rests(end: Any) -> bool:
    """Whether a fit that was stopped moved the objective in its last digits alone: steps that are wrong end, too."""
    last = np.asarray(end.history_[-RESTING:])
    return len(last) == RESTING and float(np.ptp(last)) <= LAST_DIGITS * (1 + abs(float(last[-1])))


def _correlated(matrix: Array) -> bool:
    scale = np.sqrt(np.diagonal(matrix, axis1=-2, axis2=-1))
    return bool((np.linalg.eigvalsh(matrix / scale[..., None] / scale[..., None, :]) < SINGULAR).any())


def maximises(case: Case) -> Iterator[Check]:
    """At the M-step's result Q has no slope and no upward curve in any parameter, and no point around is better."""
    oracle, rng = case.need(), case.rng(3)
    if not case.exact:
        raise Unchecked(APPROXIMATE)
    case.settled()
    if certain := certain_of(case):
        raise Unchecked(f"the likelihood itself is raised, in {', '.join(certain)}")
    if ROUNDED in case.fit(case.start, 1).message_:
        raise Unchecked("a fit of one step says that rounding has taken digits of the objective there")
    q = _q(case, oracle)
    middle: dict[tuple[str, ...], tuple[Known, float]] = {}
    curves = []
    for param in case.step:
        here, old = held(case, param)
        if old not in middle:
            near = oracle.layout.known(here)
            middle[old] = near, q(here, near)
        near, centre = middle[old]
        step, measured_here = direction(case.space, param, rng), as_measured(case, here)

        def along(h: float, param: str = param, step: Array = step, at: Mapping[str, Array] = measured_here) -> Any:
            return as_written(case, case.space.at(at, {param: h * step}))

        slope, curve = rises(lambda h: q(along(h), near) - centre)  # noqa: B023
        if slope > SLOPE and _to_an_end(case, param, lambda at: q(at, near) - centre):  # noqa: B023
            why = "it went towards an end of its domain, where Q still rises, by less the nearer that is"
            yield skipped("M-step: Q is stationary", param, why)
            continue
        yield measured("M-step: Q is stationary", param, slope, SLOPE)
        curves.append(measured("M-step: Q curves down", param, curve / (1 + abs(curve)), CURVE))
    yield from curves
    top, before = q(case.step), q(case.start)
    scale = 1 + abs(before)
    endless = [n for n, v in case.step.items() if (np.abs(v) > FAR).any()]
    if endless and top < before:  # a mean exp(-1e200) is 0 as written, and counts of mean 0 have no density
        yield skipped("M-step: Q rises", "", f"{endless[0]} goes to infinity, where densities as written have no value")
        return
    yield measured("M-step: Q rises", "", (before - top) / scale, EXACT)
    if any(u.conditional_on for u in case.derived.updates):
        yield skipped("M-step: nothing around is better", "", "parameters are updated one given another (ECM)")
        return
    yield _around(case, oracle, q, top, scale, rng)


def _to_an_end(case: Case, param: str, rises: Callable[[Mapping[str, Array]], float]) -> bool:
    """Whether a climb took a parameter far towards an end of its domain, and there is less to gain than one unit of its
    logarithm away from there: Q has its maximum at the end, where nothing is stationary."""
    kind, ends = case.space.domains[param]
    if not far_out(case.model, case.drawn, {**case.start, param: case.step[param]}):
        return False
    went = np.sign(free(kind, ends, case.step[param]) - free(kind, ends, case.start[param]))
    gains = [rises(case.space.at(case.step, {param: size * went})) for size in (1.0, 2.0)]
    return 0 <= gains[0] <= gains[1] <= 2 * gains[0]


def _around(
    case: Case, oracle: Oracle, q: Callable[..., float], top: float, scale: float, rng: np.random.Generator
) -> Check:
    """No point around is better; a climb, which may end below a hill elsewhere, has a dale before any that is."""
    name = "M-step: nothing around is better"
    ways = [{n: size * direction(case.space, n, rng) for n in case.step} for size in AROUND]
    ways += _back(case)

    def higher(way: Mapping[str, Array], part: float = 1.0) -> float:
        with suppress(np.linalg.LinAlgError):  # a matrix of it is no covariance there
            return (q(case.space.at(case.step, {n: part * step for n, step in way.items()})) - top) / scale
        return -np.inf

    rises = [higher(way) for way in ways]
    if max(rises) > 0 and case.derived.joint.tails:
        q = _q(case, oracle, anew=True)  # the nodes at the M-step's result may miss the mass of points far from there
        top, scale = q(case.step), 1 + abs(q(case.start))
        rises = [higher(way) for way in ways]
    better = [way for way, rise in zip(ways, rises, strict=True) if rise > EXACT]
    climbed = {n for u in case.derived.updates if u.kind in CLIMBS for n in u.params}
    solved = [{n: step for n, step in way.items() if n not in climbed} for way in better]
    if better and max(map(higher, solved)) <= EXACT:
        if all(min(higher(way, part) for part in PARTS) < -EXACT for way in better):
            return skipped(name, "", "a climb ends at a maximum, and a higher one is across a dale")
    return measured(name, "", max(0.0, *rises), EXACT)


def _back(case: Case) -> list[dict[str, Array]]:
    """From the M-step's result to where one number after the other began: around one that went far Q may be level."""
    out = []
    for n, ended in case.step.items():
        if case.world.model.variable(n).domain.interval:
            back = free(*case.space.domains[n], case.start[n]) - free(*case.space.domains[n], ended)
            out += [{n: back}] if np.isfinite(back).all() else []
    return out


def _q(case: Case, oracle: Oracle, anew: bool = False) -> Callable[..., float]:
    """Q at the start's posterior, of the latents that no tail integrates out.

    Nodes stand where the M-step went, or `anew` for each point: slopes are of one function, and far from there its
    nodes may miss the mass. Where tails are all, Q is the log-likelihood.
    """
    tails = case.derived.joint.tails
    if tails and tails >= {v.name for v in case.world.model.of_kind("latent")}:
        total = log_likelihood_by(case, placed_at(case, case.step), anew)
        return lambda params, near=None: total(params)
    if tails:
        gone = frozenset(k for k, c in enumerate(oracle.layout.cells) if c.latent in tails)
        grids = any(c.levels is None for k, c in enumerate(oracle.layout.cells) if k not in gone)
        again = (anew and not grids) or ends_move(case, oracle)
        if grids and again:
            raise Unchecked(f"where {', '.join(sorted(tails))} may lie moves with parameters, beside other numbers")
        rest, before = oracle.without(case.found, gone)
        placed = placed_at(case, case.step)
        if grids and abs(oracle.total(case.step) - placed.total(case.step)) > EXACT:
            raise Unchecked("the nodes of the quadrature do not reach where the M-step went")
        fixed = oracle if grids else placed

        def without_tails(params: Mapping[str, Array], near: Known | None = None) -> float:
            there = placed_at(case, params) if again else fixed
            _, after = there.without(tables(there.layout, params), gone)
            return float(rest.log_norm(before, after).imag / STEP)

        return without_tails

    def q(params: Mapping[str, Array], near: Known | None = None) -> float:
        if moves(case):
            there = replace(oracle, layout=moved(case, oracle.layout, params))
            return there.expectation(case.found, params)
        return oracle.expectation(case.found, params, near)

    return q


def rises(along: Callable[[float], float]) -> tuple[float, float]:
    """The slope of a function that is 0 at 0, relative to its curve, and that.

    At a kink (a median's), or beside one, where half of the step is not half of what is odd in it and a quarter of what
    is even, the slope by which it rises on either side.
    """
    up, down = along(WIDE), along(-WIDE)
    slope, curve = (up - down) / (2 * WIDE), (up + down) / WIDE**2
    found = abs(slope) / (1 + abs(curve))
    if found > SLOPE:
        near, back = along(WIDE / 2), along(-WIDE / 2)
        bent = abs(up - down - 2 * (near - back)) + abs(up + down - 4 * (near + back))
        if bent > BENT * (abs(up) + abs(down)):
            found = max(up, down, near, back, 0.0) / WIDE
    return found, curve


def held(case: Case, param: str) -> tuple[Mapping[str, Array], tuple[str, ...]]:
    """Where a parameter was updated: those that it is conditional on and that came after it had their old values.

    So had those by which one of them is measured, near zero.
    """
    updates = case.derived.updates
    mine = next((i for i, u in enumerate(updates) if param in u.params), len(updates))
    later = {n for u in updates[mine + 1 :] for n in u.params}
    old = later.intersection(*(u.conditional_on for u in updates[mine : mine + 1])) if mine < len(updates) else set()
    start, step = as_measured(case, case.start), as_measured(case, case.step)
    return as_written(case, {n: start[n] if n in old else v for n, v in step.items()}), tuple(sorted(old))
