"""Whether an M-step that collapses has cause to: beside what the others become, the objective has no best value between
the ends of what is lost."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

import numpy as np

from emdsl.errors import DataError
from emdsl.families.scope import Array
from emdsl.fit.fitter import DegenerateError
from emdsl.fit.verify.case import Compiled, fitted
from emdsl.fit.verify.far import far_out
from emdsl.fit.verify.setting import Drawn, draw, shortened, sized
from emdsl.fit.verify.space import Space, free
from emdsl.fit.verify.world import World

PLATES, TRIES = 4, 4  # of data
AWAY = (3.0, 6.0)  # to either side, in coordinates without bounds


def without_cause(model: Compiled, seed: int) -> str:
    """A parameter that an M-step loses on all data drawn, though each of its numbers has a best value; or none."""
    text, lost = shortened(sized(model.resolved)), list[set[str]]()
    for k in range(TRIES):
        with suppress(DataError, DegenerateError, NotImplementedError, np.linalg.LinAlgError):
            lost.append(set(_between(model, draw(text, 1000 * seed + k, PLATES))))
    return min(set.intersection(*lost), default="") if lost else ""


def _between(model: Compiled, drawn: Drawn) -> list[str]:
    """The lost parameters of which each number has a best value between its ends. Raises DegenerateError."""
    start = {n: np.asarray(v, float) for n, v in drawn.setting.params.items()}
    end = fitted(model.fitter, model, drawn, start, 1, policy="keep")
    step = {n: np.asarray(v, float) for n, v in end.params_.items()}
    params = model.resolved.of_kind("param")

    def gone(n: str) -> bool:
        return np.array_equal(step[n], start[n]) or far_out(model, drawn, {**start, n: step[n]}, True)

    lost = [v.name for v in params if v.domain.interval and gone(v.name)]
    there = {**step, **{n: start[n] for n in lost}}
    space = Space.of(params, World.of(model.resolved, drawn).scope, start)

    def objective(moves: Mapping[str, Array]) -> float:
        at = space.at(there, moves)
        return float(fitted(model.fitter, model, drawn, at, 0, policy="keep").history_[0])

    middle, out = objective({}), []
    for n in lost:
        ways = np.eye(free(*space.domains[n], start[n]).size)
        sides = [[objective({n: sign * size * way}) for size in AWAY] for way in ways for sign in (1.0, -1.0)]
        if all(middle > near > far for near, far in sides):
            out.append(n)
    return out
