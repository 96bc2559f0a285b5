"""Where fits start whose classes are enumerated together: where the mean field of the same model goes.

A configuration is drawn whatever the data, and of several classes the means are then alike: EM stands at a saddle.
Under mean-field each class begins as a division of its own rows by what was seen of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from emdsl.fit.variants import CompiledModel
from emdsl.runtime.data import faults
from emdsl.runtime.fitting.climbs import Params, Setup, evaluate
from emdsl.runtime.fitting.loop import climb
from emdsl.runtime.fitting.reach import best_division

STEPS = 30  # of mean-field: enough to tell classes apart, and no more


def likelier_start(
    model: CompiledModel, ask: Callable[..., Any], setup: Setup, drawn: Params, rng: np.random.Generator
) -> Params:
    """`drawn`, or parameters at which mean-field arrives, whichever is likelier. `ask` calls functions of modules."""
    apart = model.factorised() if setup.max_iter else None
    if apart is None:
        return drawn
    try:
        found = _by_factors(apart.module, ask, setup, rng)
        with np.errstate(all="ignore"):
            here, there = (evaluate(setup, p, None).objective for p in (drawn, found))
    except (faults.DataError, faults.DegenerateFit, setup.module.Degenerate, np.linalg.LinAlgError):
        return drawn
    return found if there > here else drawn


def _by_factors(module: Any, ask: Callable[..., Any], setup: Setup, rng: np.random.Generator) -> Params:
    prepared = ask("prepare", setup.data, ask("reference", setup.data, of=module), of=module)

    def begin() -> tuple[Params, Any]:
        params = {n: np.asarray(v, float) for n, v in ask("initial", setup.data, prepared, rng, of=module).items()}
        return params, ask("start", params, setup.data, prepared, rng, {}, of=module)

    bound = setup._replace(module=module, prepared=prepared, max_iter=min(STEPS, setup.max_iter), progress=None)
    end = climb(bound, *best_division(bound, begin))
    if end.status == "interrupted":
        raise KeyboardInterrupt
    return end.params
