"""What holds on average over data drawn from the model, where no oracle reaches the likelihood of any one of them.

    E[ d log p(x | theta) / d theta ] = 0,    E[ z - E[z | x] ] = 0,    E[ (z - E[z | x])^2 - Var[z | x] ] = 0

at the parameters that the data are drawn with. The sampler is the oracle: it shares no code with the derivation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from emdsl.errors import DataError
from emdsl.families.scope import Array
from emdsl.fit.verify.case import Case, fitted
from emdsl.fit.verify.certificate import Check, measured, skipped
from emdsl.fit.verify.effort import grown, numbers_of, told_at
from emdsl.fit.verify.setting import Drawn, again, as_data, draw, flat
from emdsl.fit.verify.space import Space
from emdsl.fit.verify.world import Unchecked, World

NAME, OF_LATENTS = "log-likelihood, over data drawn", "posterior, over data drawn"
ROWS, AT_POINTS, PLATE = 3000, 300, 4  # rows of a plate without parameters of its own, elements of any other
STEP, FALSE_ALARM = 1e-4, 5.0
ROUNDING = 1e-9  # where a latent is known but for that
INSIDE = 1_000_000  # numbers at which an E-step evaluates log densities
TOLD = 4  # times as many at which moments are, which are asked for once
AGAIN = 200  # draws that are compared with their own mean where a latent's are far from the told one
LEAST = 20  # rows that a mean is taken over


def scores(case: Case) -> Iterator[Check]:
    """Slopes of the log-likelihood, row by row, add up to nothing, in standard errors."""
    drawn, fit = by_rows(case)
    start = {n: np.asarray(v, float) for n, v in fit.params_.items()}
    space = Space.of(case.world.model.of_kind("param"), World.of(case.world.model, drawn).scope, start)
    rng = case.rng(10)
    for param in start:
        step = space.direction(param, rng)
        up, down = (_rows(case, fit, drawn, space.at(start, {param: h * step})) for h in (STEP, -STEP))
        yield _mean_of_nothing(NAME, param, (up - down) / (2 * STEP))


def by_rows(case: Case, most: int = ROWS, each: float = 1.0) -> tuple[Drawn, Any]:
    """Many rows, where each has a log-likelihood of its own, and the fit at the parameters that they were drawn with:
    fewer where so many go by mean-field, or take more points, or are asked for what is told at so many numbers `each`.
    Raises Unchecked."""
    if (most, each) not in case.by_rows:
        case.by_rows[most, each] = _by_rows(case, most, each)
    return case.by_rows[most, each]


def _by_rows(case: Case, most: int, each: float) -> tuple[Drawn, Any]:
    _rows(case, case.begun, case.drawn)
    joint = case.model.derived.joint
    for rows in (most, AT_POINTS):
        drawn, fit = _fitted(case, rows, each)
        if fit is not None and (taken := each * grown(joint, fit._times)) * numbers_of(joint, drawn.latents) > INSIDE:
            drawn, fit = _fitted(case, rows, taken)
        if fit is not None:
            return drawn, fit
    raise Unchecked(f"{AT_POINTS} rows have no log-likelihood each")


def _fitted(case: Case, rows: int, each: float) -> tuple[Drawn, Any]:
    """These rows and their fit, None where that has no log-likelihood for each. Raises Unchecked."""
    drawn, start = many(case, rows, each)
    try:
        fit = fitted(case.model.fitter, case.model, drawn, start, 0)
        _rows(case, fit, drawn)
    except (Unchecked, DataError):
        fit = None
    return drawn, fit


def _rows(case: Case, fit: Any, drawn: Drawn, params: Mapping[str, Array] | None = None) -> Array:
    """The log-likelihood row by row, at other parameters under the points that the fit took: a slope is of one function
    of them. Raises Unchecked where it is no sum over rows."""
    own = fit.params_
    try:
        fit.params_ = own if params is None else dict(params)
        return np.asarray(fit.score_samples(as_data(case.model.resolved, drawn)))
    except DataError as refused:
        raise Unchecked(refused.problems[0].message) from None
    finally:
        fit.params_ = own


def latents(case: Case) -> Iterator[Check]:
    """The latents that were drawn lie about the means told of them, as widely as is told, element by element."""
    drawn, fit = by_rows(case, each=told_at(case.model.derived.joint) / TOLD)  # what is tied has means that are, too
    shown = fit.posterior_
    for v in case.world.model.of_kind("latent"):
        told, value = shown.get(v.name), np.asarray(drawn.latents[v.name], float)
        if told is None or any(p.condition is not None for p in v.plates):
            yield skipped(
                OF_LATENTS, v.name, "it is told of nowhere" if told is None else "some elements are not there"
            )
            continue
        moments = list(_off(flat(told), value))
        if not moments:
            yield skipped(OF_LATENTS, v.name, "its moments are not told element by element")
        for what, off in moments:
            rows = _units(off)
            found = _mean_of_nothing(OF_LATENTS, f"{v.name}{what}", rows)
            if found.status == "failed" and isinstance(told, Mapping):
                found = _beside_chance(found, _errors(rows), _by_chance(case, drawn, v.name, what))
            yield found


def _beside_chance(found: Check, errors: float, chance: list[float]) -> Check:
    """A mean that failed tells nothing where draws are as far, to that side, from what they are drawn about."""
    if not min(chance) <= errors <= max(chance):
        return found
    far = max(map(abs, chance))
    return skipped(found.name, found.subject, f"means of its draws lie up to {far:.0f} standard errors from their own")


def _by_chance(case: Case, drawn: Drawn, name: str, what: str) -> list[float]:
    """How many standard errors all elements of a latent are off its mean, or its variance, in each of `AGAIN` draws:
    these are taken from all of the draws together, and no data are looked at. At most about 3 where tails are light."""
    rng = case.rng(37)
    values = np.stack([np.asarray(again(case.world.model, drawn, rng).latents[name], float) for _ in range(AGAIN)])
    own = {"mean": 0 * values[0] + values.mean((0, 1)), "var": 0 * values[0] + values.var((0, 1))}
    return [_errors(_units(dict(_off(own, value))[what])) for value in values]


def _units(off: Array) -> Array:
    """Row by row."""
    return off.reshape(len(off), -1).sum(1) if off.ndim else off.reshape(1)


def _off(told: Any, value: Array) -> Iterator[tuple[str, Array]]:
    """What has mean 0, for each of the moments that are told."""
    if not isinstance(told, Mapping):
        levels = np.arange(told.shape[-1])
        off = (value[..., None] == levels) - told
        yield from ((f" = {k}", off[..., k]) for k in levels[1:])
        return
    if "mean" not in told or np.shape(told["mean"]) != value.shape or "concentration" in told:
        return
    off = value - told["mean"]
    yield ": mean", off
    spread = np.diagonal(told["cov"], axis1=-2, axis2=-1) if "cov" in told else told.get("var")
    if spread is not None and np.shape(spread) == value.shape:
        yield ": variance", off**2 - spread


def _mean_of_nothing(name: str, subject: str, rows: Array) -> Check:
    """How many standard errors a mean is from 0."""
    if len(rows) < LEAST:
        return skipped(name, subject, f"{len(rows)} elements are too few for a mean")
    note = "standard errors" if len(rows) >= AT_POINTS else f"standard errors, over {len(rows)} elements"
    return measured(name, subject, abs(_errors(rows)), FALSE_ALARM, note)


def _errors(rows: Array) -> float:
    return float(rows.sum()) / (float(np.sqrt((rows**2).sum())) + ROUNDING * len(rows))


def many(case: Case, rows: int = ROWS, each: float = 1.0) -> tuple[Drawn, dict[str, Array]]:
    """Many rows, and the parameters that they were drawn with: fewer of what is evaluated more often than log densities
    are, at `each` times so many numbers. Raises Unchecked."""
    if case.world.model.potentials:
        raise Unchecked("no data are drawn from factors")
    try:
        rows = min(rows, AT_POINTS) if case.model.derived.joint.clouds else rows  # each row is an integral then
        drawn = draw(case.world.model, case.seed + 31, PLATE, folded=case.drawn.setting.folded, many=rows)
        share = INSIDE / max(1.0, max(1.0, each) * numbers_of(case.model.derived.joint, drawn.latents))
        if share < 1:  # or one inside an integral
            rows = max(2 * LEAST, int(rows * share))
            drawn = draw(case.world.model, case.seed + 31, PLATE, folded=case.drawn.setting.folded, many=rows)
    except DataError as why:
        raise Unchecked(why.problems[0].message) from None
    return drawn, {n: np.asarray(v, float) for n, v in drawn.setting.params.items()}
