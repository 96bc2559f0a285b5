"""Rounding: how far the objective moves where data and parameters have other last digits, and the oracle does not.

A likelihood that is the small difference of large numbers (components a million standard deviations apart) is known to
few digits, by whatever rule. What is wrong moves with the oracle: one that is off by a constant is off by it beside.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np

from emdsl.errors import DataError
from emdsl.families.scope import Array
from emdsl.fit.branches import has_atom
from emdsl.fit.fitter import DegenerateError
from emdsl.fit.verify.case import Case
from emdsl.fit.verify.certificate import Check, skipped
from emdsl.fit.verify.setting import Drawn
from emdsl.fit.verify.world import Unchecked, World

PLACES, LAST_DIGITS = 8, 1e-15  # how often, and how far off
A_STEP = 2e-4  # along which eight places tell what is smooth: to 8e-12 of a third derivative
OTHERS = 10  # times the range of so many: the data of other checks are others (gaps, a step later), and as large
ROUNDED = "rounding: the log-likelihood is known to"  # what a fit says where a variance is one of last digits
TELLS = 1e-3  # of the objective, or of a slope: where rounding takes more, a comparison says nothing


def beside_rounding(case: Case, check: Check, scale: float = 1.0) -> Check:
    """A failed check of the objective, of which rounding may be the cause, judged by that.

    scale : how much the figure moves for each 1 + |objective|.
    """
    if check.status != "failed" or check.figure is None or check.tolerance is None:
        return check
    return within(check, scale * blur(case))


def within(check: Check, moved: float) -> Check:
    """A failed check, judged by how far other last digits have `moved` its figure."""
    assert check.figure is not None and check.tolerance is not None
    most = OTHERS * moved
    if not check.tolerance < check.figure <= most:
        return check
    told = f"other last digits of the data move it by {most / OTHERS:.0e}"
    if most > TELLS:
        return skipped(check.name, check.subject, told)
    return replace(check, status="passed", tolerance=most, note=told)


def blur(case: Case) -> float:
    """The range of the objective less the oracle's, of 1 + |objective|, over places that differ in last digits: beside
    the start, and beside the results of one M-step and of three, where the objective is another."""
    places = [case.start, case.step]
    with suppress(DataError, DegenerateError):
        places.append({n: np.asarray(v) for n, v in case.fit(case.start, 3).params_.items()})
    return max([*(_range(case, params) for params in places), _roughness(case)])


def jitter(case: Case, drawn: Drawn, here: Mapping[str, Array]) -> float:
    """The range of the objective of other data over places that differ in last digits."""
    places = [params_beside(case, here, case.rng(90 + k)) for k in range(PLACES)]
    return float(np.ptp([case.fit(params, 0, drawn).history_[0] for params in places]))


def _roughness(case: Case) -> float:
    """How far the objective less the oracle's is from smooth, of 1 + |objective|, by third differences along a line.

    A precision that is rounded (1 + 1e-12) is so alike wherever last digits differ; what is wrong is smooth.
    """
    off, size = list[float](), 0.0
    for k in range(PLACES + 1):
        params = params_beside(case, case.start, case.rng(90), k * A_STEP)
        with suppress(DataError, DegenerateError, Unchecked, NotImplementedError, np.linalg.LinAlgError):
            objective = case.fit(params, 0).history_[0]
            off.append(objective - case.need().total(params))
            size = 1 + abs(objective)
    return float(np.abs(np.diff(off, 3)).max()) / (4 * size) if len(off) == PLACES + 1 else 0.0


def _range(case: Case, here: Mapping[str, Array]) -> float:
    off, size = [], 0.0
    for k in range(PLACES):
        rng = case.rng(90 + k)
        params, drawn = params_beside(case, here, rng), _data(case, rng)
        with suppress(DataError, DegenerateError, Unchecked, NotImplementedError, np.linalg.LinAlgError):
            oracle = case.need()
            there = replace(oracle, layout=replace(oracle.layout, world=World.of(case.world.model, drawn)))
            objective = case.fit(params, 0, drawn).history_[0]
            off.append(objective - there.total(params))
            size = 1 + abs(objective)
    return float(np.ptp(off)) / size if off else 0.0


def params_beside(
    case: Case, here: Mapping[str, Array], rng: np.random.Generator, by: float = LAST_DIGITS
) -> dict[str, Array]:
    """Parameters with other last digits: each number a little nearer to 0; what is tied to others by a step along its
    domain."""
    out = {n: np.asarray(v) for n, v in here.items()}
    for n, value in out.items():
        if case.world.model.variable(n).domain.interval:
            out[n] = _nearer(value, rng, by)
        else:
            with suppress(NotImplementedError, np.linalg.LinAlgError):
                out[n] = case.space.at(out, {n: by * case.space.direction(n, rng)})[n]
    return out


def _data(case: Case, rng: np.random.Generator) -> Drawn:
    """Observed numbers a little nearer to 0, but for what has a mass."""
    data: Mapping[str, Any] = dict(case.drawn.data)
    of_numbers = [v for v in case.world.model.of_kind("observed") if not v.domain.discrete and not v.domain.structured]
    free = [v.name for v in of_numbers if v.distribution is not None and not has_atom(v.distribution)]
    return case.drawn._replace(data={n: _nearer(a, rng) if n in free else a for n, a in data.items()})


def _nearer(value: Array, rng: np.random.Generator, by: float = LAST_DIGITS) -> Array:
    return np.asarray(value * (1 - by * rng.uniform(0.2, 1, np.shape(value))))
