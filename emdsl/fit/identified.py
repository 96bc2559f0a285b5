"""Parameters that the data do not settle: directions along which the objective stays as it is.

One step of EM changes a small step v from its fixed point into D v, with I - D = I_c^-1 I_obs: the information of the
complete data, and of what was observed (Dempster, Laird and Rubin 1977, section 4; Meng and Rubin 1991). So what
I_obs does not see is what a step of EM leaves in place, D v = v. This holds whatever the model is: sums that enter
only together, loadings up to a rotation, columns of the data that are collinear. D is found by differences, two steps
of EM for each free number; each direction found is then walked along, and has to be flat.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from emdsl.fit.unsettled import Coordinates, Unidentified, interchangeable, told
from emdsl.runtime.data.columns import Array
from emdsl.runtime.data.sizes import size_value
from emdsl.runtime.fitting.climbs import Point, Setup, evaluate
from emdsl.runtime.fitting.loop import advance

MOST = 200  # free numbers
WORK = 1e9  # numbers that all steps of EM may touch, about two seconds: counted, so that each machine says the same
CALL = 500  # numbers touched in the time of one call
POINTS = 40  # of a quadrature, for each number of data
FALL = 1e-4  # what a small step from the maximum costs: little beside one, much beside rounding
KEPT = 1e-3  # I - D of a direction that may be flat
DOUBTFUL = 0.03  # ... and where the fit stopped beside its maximum
ROUNDS = 8  # of Newton's to the maximum
NEAR = 1e-3  # small steps: near enough
FAR = 100.0  # small steps walked along a direction: along one that its own coordinate settles they cost about 1
FLAT = 1e-6  # a fall by less is none
FOURTH = 8.0  # a flat curve left along a straight line falls by 2^4 as much twice as far, a maximum by 2^2


class Differences(NamedTuple):
    """Small steps along each coordinate, and what the parameters' numbers show of them, in units of `unit`.

    `moved` (numbers, free) at their ends, `kept` after EM's step from there; a number of which `unit` is 0, like a
    probability of 0, stays where it is and is left out of both.
    """

    steps: Array
    moved: Array
    kept: Array
    unit: Array


def unidentified(setup: Setup, params: Mapping[str, Array]) -> tuple[Unidentified, ...] | str:
    """What the data of a fit do not settle at `params`; where that is not looked at, why not."""
    at = Coordinates(setup.module.SPEC, params)

    def objective(values: Mapping[str, Array]) -> float:
        return evaluate(setup, dict(values), None).objective

    try:
        with np.errstate(all="ignore"):
            if not at.free.size:  # a simplex of one level
                return ()
            if at.free.size > MOST:
                return f"it has {at.free.size} free numbers, of at most {MOST}"
            rounds = int(WORK / max(2 * at.free.size * _work(setup, at), 1.0))
            if not rounds:
                return "two steps of EM for each free number would take long"
            steps, flat = _flat(setup, at, objective, min(rounds, ROUNDS))
            return (*told(at, steps, flat), *interchangeable(setup.module.SPEC, params, objective))
    except (setup.module.Degenerate, np.linalg.LinAlgError):
        return "a step of EM beside the estimates collapses"


def _work(setup: Setup, at: Coordinates) -> float:
    """Numbers that one step of EM touches: its calls are counted, its arrays by the data, states and points."""

    def step() -> None:
        advance(setup, evaluate(setup, at.values(at.free), None))

    step()  # whatever is made once and kept
    calls, before = 0, sys.getprofile()

    def count(_: Any, event: str, __: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        step()
    finally:
        sys.setprofile(before)
    numbers = sum(v.size for v in setup.prepared.values() if isinstance(v, np.ndarray))
    levels = [v["levels"] for v in setup.module.SPEC["variables"] if v["kind"] == "latent" and v["levels"]]
    longest = {f"{n}[": int(r.lengths.max(initial=1)) for n, r in setup.data.ragged.items()}  # words of a sentence
    states = max([1, *(longest.get(n[: n.find("[") + 1]) or size_value(n, setup.data.sizes) for n in levels)])
    return float(CALL * calls + numbers * states * (POINTS if "the modes" in setup.prepared else 1))


def _flat(setup: Setup, at: Coordinates, objective: Callable[..., float], rounds: int) -> tuple[Array, Array]:
    """The size of a small step along each coordinate, and flat directions (free, directions) in such steps.

    A fit stops beside its maximum: where a direction may be flat, Newton's steps with I - D go there first.
    """
    for left in range(rounds - 1, -1, -1):
        d = _differences(setup, at, objective(at.values(at.free)))
        solved = np.linalg.svd(np.linalg.lstsq(d.moved, d.moved - d.kept, rcond=None)[0])
        if not left or solved[1].min(initial=1.0) > DOUBTFUL or _climbed(setup, at, d, solved) < NEAR:
            break
    candidates = solved[2][solved[1] < KEPT].T
    return d.steps, candidates[:, [_is_flat(at, objective, d.steps * v) for v in candidates.T]]


def _differences(setup: Setup, at: Coordinates, here: float) -> Differences:
    steps, before, after = np.zeros(at.free.size), [], []
    for k in range(at.free.size):
        steps[k], ends = _step(setup, at, here, k)
        before.append(np.subtract(*(at.numbers(p.params) for p in ends)) / 2)
        after.append(np.subtract(*(at.numbers(advance(setup, p)[0]) for p in ends)) / 2)
    moved, kept = np.array(before).T, np.array(after).T
    unit = np.abs(moved).max(1, initial=0.0)
    seen = unit > 0
    return Differences(steps, moved[seen] / unit[seen, None], kept[seen] / unit[seen, None], unit)


def _step(setup: Setup, at: Coordinates, here: float, k: int) -> tuple[float, list[Point]]:
    """A step along one coordinate that costs about FALL, where any does, and its ends both ways."""
    size = 1e-4 * at.scale[k]
    for _ in range(20):
        axis = size * np.eye(at.free.size)[k]
        ends = [evaluate(setup, at.values(at.free + s * axis), None) for s in (1, -1)]
        fall = here - (ends[0].objective + ends[1].objective) / 2
        if not fall <= 10 * FALL:
            size *= max(float(np.sqrt(FALL / fall)), 1e-3) if np.isfinite(fall) else 1e-3
        elif fall < FALL / 100 and size < 1e-3 * max(at.scale[k], 1.0):
            size *= 10
        else:
            break
    return size, ends


def _climbed(setup: Setup, at: Coordinates, d: Differences, solved: tuple[Array, Array, Array]) -> float:
    """The way gone, in small steps, by (I - D) x = M(theta) - theta with one D, until it is short or leads down."""
    left, sizes, along = solved
    held, gone, seen = sizes >= KEPT, 0.0, d.unit > 0
    for _ in range(ROUNDS):
        here = evaluate(setup, at.values(at.free), None)
        gained = (at.numbers(advance(setup, here)[0]) - at.numbers(here.params))[seen] / d.unit[seen]
        ahead = np.linalg.lstsq(d.moved, gained, rcond=None)[0]
        onward = along[held].T @ ((left.T @ ahead)[held] / sizes[held])
        length = float(np.abs(onward).max(initial=0.0))
        share = _share(setup, at, onward * d.steps, here.objective) if length >= NEAR else 1.0
        at.free = at.free + share * onward * d.steps
        gone = max(gone, share * length)
        if length < NEAR or not share:
            break
    return gone


def _share(setup: Setup, at: Coordinates, onward: Array, here: float) -> float:
    """How much of the way to go: all of it, or a part where all of it leads down, or nothing."""
    for share in (1.0, 0.5, 0.25, 0.1, 0.01):
        if np.abs(share * onward).max() < 10 and (
            evaluate(setup, at.values(at.free + share * onward), None).objective > here
        ):
            return share
    return 0.0


def _is_flat(at: Coordinates, objective: Callable[..., float], along: Array) -> bool:
    """Whether the objective does not fall, or as a straight line leaves a curve: by the fourth power of its length."""
    here = objective(at.values(at.free))

    def fall(far: float) -> float:
        return here - sum(objective(at.values(at.free + s * far * along)) for s in (1, -1)) / 2

    whole, rounding = fall(FAR), max(FLAT, 1e-12 * abs(here))
    return bool(abs(whole) <= rounding or whole > max(rounding, FOURTH * fall(FAR / 2)))
