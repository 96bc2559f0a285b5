"""Stochastic approximation EM (Delyon, Lavielle and Moulines 1999; Kuhn and Lavielle 2004), iterates averaged
(Polyak and Juditsky 1992)."""

# mypy: disable-error-code="no-any-return"
# (operators on arrays of any dtype, and all of scipy, are Any to mypy)

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from emdsl.runtime.data.columns import Array
from emdsl.runtime.fitting.climbs import Climb, Setup
from emdsl.runtime.montecarlo.accuracy import concluded
from emdsl.runtime.montecarlo.flat import FreeParameters, flat_vector, from_flat, hessian_of
from emdsl.runtime.montecarlo.montecarlo import (
    Schedule,
    Statistics,
    _captured,
    _collapsed,
    _start,
    _stop_tuning,
    closed_m_step,
    knowing_untouched,
    mean_objective,
    mean_of,
    new_chains,
)  # fmt: skip
from emdsl.runtime.montecarlo.scores import complete_statistics
from emdsl.runtime.numeric.unconstrained import uphill

FADING = 0.7  # SAEM's steps after the warm-up fall as k**-0.7
RESTING = 40  # draws on which a step of 1 rests: a spread of fewer walks to 0 by chance, where EM is slow
LEAST_STEP = 0.05  # in the warm-up
TUNED = 0.6  # of the warm-up: kernels that learn move what they draw, and a spread with it, which the rest mends
HALVED = 20  # times that a step is halved at most
FAR_OFF = 1.0  # in free coordinates: logs of what is positive
FEWEST = 200  # iterates that are averaged before a fit may settle


def climb_by_saem(setup: Setup, start: Any, rng: np.random.Generator, schedule: Schedule) -> Climb:
    """Stochastic approximation EM: steps of 1 in the warm-up, then falling as k**-0.7, iterates averaged.

    It goes on until its error is negligible. Statistics of closed forms are averaged; what passes over the data takes
    one Newton step on the gradient of the last draws, with an averaged Hessian, scaled likewise (Gu and Kong 1998).
    """
    climb = StochasticApproximation(setup, start, rng, schedule)
    wanted, end = FEWEST, None
    try:
        _start(climb.chains, climb.params, schedule.burn_in)
        while end is None or (end.status == "max_iter" and len(climb.history) < setup.max_iter):
            climb.run(min(wanted, max(1, setup.max_iter - schedule.warm)) if setup.tol > 0 else setup.max_iter)
            end = climb.end()
            wanted = 2 * len(climb.trace) + 1
            if end.status == "max_iter" and climb.left_behind(end.params):
                return climb.end(at=end.params)
    except (setup.module.Degenerate, np.linalg.LinAlgError) as fault:
        return _collapsed(setup, climb.params, climb.history, climb.chains, fault)
    except KeyboardInterrupt:
        return climb.end("interrupted")
    return end


class StochasticApproximation:
    """The state of a run of SAEM: where it is, statistics and curvature so far, iterates since the warm-up."""

    def __init__(self, setup: Setup, start: Any, rng: np.random.Generator, schedule: Schedule) -> None:
        self.schedule, self.rng = schedule, rng
        self.chains = new_chains(setup, rng, schedule.chains)
        self.setup = knowing_untouched(setup, self.chains)
        self.free = FreeParameters(setup, start)
        self.params: dict[str, Array] = dict(start)
        drawn = min((np.size(v) for v in self.chains[0].draws.values()), default=RESTING)
        self.least = float(np.clip(drawn * len(self.chains) * schedule.sweeps / RESTING, LEAST_STEP, 1.0))
        self.statistics: dict[str, Any] | None = None
        self.curvature: Array | None = None
        self.history: list[float] = []
        self.trace: list[Array] = []

    def run(self, least: int) -> None:
        """Iterations until so many iterates are averaged, or max_iter."""
        setup, warm = self.setup, self.schedule.warm
        for k in range(len(self.history), setup.max_iter):
            self._iterate(k)
            if setup.progress is not None:
                setup.progress(k + 1, self.history[-1])
            if k == int(TUNED * warm):
                _stop_tuning(self.chains)
            if k >= warm:
                self.trace.append(self.free.vector(self.params))
                if len(self.trace) >= least:
                    return

    def _iterate(self, k: int) -> None:
        setup, warm = self.setup, self.schedule.warm
        step = min(max(self.least, (k + 1.0) ** -FADING), 1.0 if k < warm else (k - warm + 1.0) ** -FADING)
        draws = []
        for chain in self.chains:
            chain.keep_tuned(self.params)
            for _ in range(self.schedule.sweeps):
                chain.sweep(self.params)
                draws.append(chain.here())
        found = mean_of([complete_statistics(setup, self.params, d) for d in draws])
        prior = float(setup.module.log_prior(self.params, setup.prepared))
        self.history.append(float(found["log_likelihood"]) + prior)
        before = self.statistics or found
        self.statistics = {n: s + step * (found[n] - s) for n, s in before.items()}
        self.params, self.curvature = _stochastic_m_step(
            setup, self.statistics, self.params, draws, step, self.curvature, k
        )

    def left_behind(self, params: Any) -> bool:
        """Whether steps at the end have led so far from the iterates that more of these lead nowhere."""
        off = self.free.vector(params) - np.mean(self.trace or [self.free.vector(params)], axis=0)
        return bool((np.abs(off) > FAR_OFF).any())

    def end(self, status: str = "", at: Any = None) -> Climb:
        """The average of the iterates, or `at`, taken the rest of the way, with its error."""
        _stop_tuning(self.chains)
        params = self.free.params(np.mean(self.trace, axis=0)) if self.trace and at is None else at or self.params
        status = status or ("settled" if self.trace else "max_iter")
        return concluded(self.setup, params, list(self.history), self.chains, status)


def _stochastic_m_step(
    setup: Setup, statistics: Statistics, params: Any, draws: Sequence[Any], step: float, curvature: Any, k: int
) -> tuple[dict[str, Array], Any]:
    new = closed_m_step(setup, statistics, params)
    if hasattr(setup.module, "refine"):
        parts = [_captured(setup, params, new, d) for d in draws]
        _, start, domains, bounds = parts[0]
        mean = mean_objective([p[0] for p in parts], start, domains, bounds)

        def slope(t: Array) -> Array:
            return mean(t)[1]

        at = flat_vector(start, domains, bounds)
        if curvature is None or k < 20 or k % 5 == 0:
            hessian = hessian_of(slope, at, 1e-4 * (1 + np.abs(at)))
            curvature = hessian if curvature is None else curvature + (hessian - curvature) * max(step / 2, 0.02)
        reach = 1.0 * (1 + np.abs(at).max(initial=0.0))
        value, gradient = mean(at)
        move = step * uphill(gradient, curvature, np.asarray(reach))
        for _ in range(HALVED):  # Q of these draws is to rise: from afar a whole step of Newton's leads anywhere
            if mean(at + move)[0] >= value:
                break
            move = 0.5 * move
        best = from_flat(at + move, start, domains, bounds)
        new = setup.module.refine(params, new, setup.data, draws[0], raised_by=lambda *_: best)
    return {n: np.asarray(v, np.float64) for n, v in new.items()}, curvature
