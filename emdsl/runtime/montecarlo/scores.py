"""Scores of the complete data at the estimate, over draws, and their Hessians: what a Newton step is made of."""

# mypy: disable-error-code="no-any-return"
# (operators on arrays of any dtype, and all of scipy, are Any to mypy)

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from emdsl.runtime.data.columns import Array
from emdsl.runtime.fitting.climbs import MIXED, Setup
from emdsl.runtime.montecarlo.carried import Carried
from emdsl.runtime.montecarlo.flat import FreeParameters, hessian_of, slope_of, steps_of
from emdsl.runtime.montecarlo.mixing import UNMIXED, Traces, worst_rhat
from emdsl.runtime.montecarlo.newton import Batch, NewtonStep, _empty, _joined, levelled, stepped, told_by
from emdsl.runtime.montecarlo.sampler import Chain
from emdsl.runtime.montecarlo.slopes import Slopes, has_slopes

PILOT = 200  # draws that tell how draws are carried along with the parameters
SETTLING = 20  # sweeps from the last parameters to these, where nothing is to be learnt on the way
LAST_SWEEPS = 200  # of the sample at the estimate, at least
LEAST_EACH = 4  # of them in each chain, whose halves are compared
MOST_SWEEPS = 8000
SURELY_ENDED = 1600  # draws by which a coordinate is told to be at its end
MOST_NUMBERS = 4e7  # numbers drawn, times evaluations of each draw
MOST_EVALUATIONS = 8e4  # of log p(data, draw) at the estimate
FURTHER = 4  # times as many where an error is not negligible by then
MOST_PARTS = 1000  # of which scores are kept: more are added up to so many
MOST_PARAMETERS = 60  # in whose number scores by differences are affordable
MOST_BY_SLOPES = 1500  # the same of scores by slopes: their Hessian is a table
MOST_KEPT = 60_000  # numbers in the scores of all parts, where parameters are many
LEAST_PARTS = 50
ACROSS_KINKS = 0.5  # of a standard error of the complete data: steps of Hessians whose density has kinks
A_HESSIAN_EACH = 60  # parameters: with more of them not every batch has a Hessian
BATCHES = 48  # of draws, at most: half as many at first
NEGLIGIBLE = 0.1  # Monte Carlo errors below this share of the standard errors
SMALL_SHARE = 0.05  # of a standard error: Monte Carlo errors at which the sample stops to grow
HOPELESS = 4.0  # R-hat of chains that longer ones do not bring together
LEAST_SHOWN = 1e-3  # of what a draw that stays tells of a coordinate: the unit of one that bends upwards


def complete_statistics(setup: Setup, params: Any, prepared: Any) -> Mapping[str, Any]:
    """Statistics at one draw, and log p(data, draw | params), what is exact given the draw summed out."""
    return setup.module.e_step(params, setup.data, prepared)


def complete_density(setup: Setup, params: Any, prepared: Any) -> float:
    """The log density alone, without the statistics."""
    return float(setup.module.density_with_draws(params, setup.data, prepared))


def has_weights(setup: Setup) -> bool:
    """Whether rows count more or less than once: then a sum of independent copies, of which one is drawn, is meant, and
    covariances of its score are not those of the copies."""
    return setup.data.weights is not None and bool((np.asarray(setup.data.weights) != 1).any())


class LastSample:
    """Draws at the estimate: scores of the complete data, their Hessians, traces of the latents.

    Scores are those of each independent part of the latents, where there are several: covariances are sums over them.
    """

    def __init__(
        self, setup: Setup, params: Any, chains: Sequence[Chain], least: int = 0, most: int = MOST_SWEEPS
    ) -> None:
        self.setup, self.params, self.chains, self.least = setup, params, chains, least
        self.free = FreeParameters(setup, params)
        self.flat = self.free.vector(params)
        self.most = MOST_BY_SLOPES if has_slopes(setup) else MOST_PARAMETERS
        self.nothing = np.zeros(len(self.flat), bool)
        self.scored = 0 < len(self.flat) <= self.most and not has_weights(setup)
        self.carried = Carried(setup, chains[0].draws, 1)  # nowhere, until that is learnt
        self.values: list[float] = []
        self.traces = Traces(len(chains))
        self.batches: list[list[Batch]] = [[] for _ in chains]
        self.slopes = Slopes(setup, self.free, params, self.flat) if self.scored and has_slopes(setup) else None
        each = (8 if self.slopes else 2 * len(self.flat) + 1) * len(chains)
        numbers = sum(np.size(v) for v in chains[0].draws.values()) * each
        cheap = int(np.clip(min(MOST_NUMBERS / max(1, numbers), MOST_EVALUATIONS / each), LAST_SWEEPS, MOST_SWEEPS))
        self.dear, most = min(most, cheap), min(most, FURTHER * cheap)
        count = max(LEAST_EACH, -(-LAST_SWEEPS // len(chains)))
        if self.scored:
            self._prepare()
        self._extend(count)
        self.found = self._newton()
        while self.scored and 2 * count * len(chains) <= most and not self._enough():
            self._extend(count)
            count *= 2
            self.found = self._newton()

    def _enough(self) -> bool:
        """Whether the error is small, or the estimate so far that a step is to be taken first."""
        found = self.found
        worst = worst_rhat(self.traces.mixing())
        if worst > HOPELESS and self.draws >= 2 * LAST_SWEEPS:
            return True
        dear = 2 * self.draws > self.dear
        if found is None or found.far:
            return dear or (found is not None and self.draws >= self.least)
        if not found.told.all() and self.draws < SURELY_ENDED:
            return dear
        share, most = (NEGLIGIBLE, UNMIXED) if dear else (SMALL_SHARE, MIXED)
        return found.trusted and found.share < share and worst <= most

    def _whole(self, draws: Mapping[str, Any]) -> Callable[..., float]:
        """log p(data, draws | params), with the prior's density; the draws carried along."""
        setup, free = self.setup, self.free

        def value(t: Array, off: Array | None = None) -> float:
            here = free.params(t)
            moved, stretched = self.carried.at(draws, t - self.flat if off is None else off)
            prepared = setup.module.with_draws(setup.prepared, moved)
            found = complete_density(setup, here, prepared)
            return found + float(setup.module.log_prior(here, setup.prepared)) + float(stretched.sum())

        return value

    def _parts(self, draws: Mapping[str, Any], binned: bool = True) -> Callable[[Array], Array]:
        """The same in independent parts, but for what holds no latent; (1,) where there are none."""
        setup, free, whole = self.setup, self.free, self._whole(draws)
        if not self.apart:
            return lambda t: np.array([whole(t)])

        def values(t: Array) -> Array:
            moved, stretched = self.carried.at(draws, t - self.flat)
            prepared = setup.module.with_draws(setup.prepared, moved)
            found = setup.module.log_density_units(free.params(t), prepared) + stretched
            return self._binned(found) if binned else found

        return values

    def _binned(self, found: Array) -> Array:
        """Parts, the last axis, added up to no more than are kept."""
        most = MOST_PARTS if self.slopes is None else max(LEAST_PARTS, min(MOST_PARTS, MOST_KEPT // len(self.flat)))
        bins = -(-found.shape[-1] // most)
        return np.add.reduceat(found, np.arange(0, found.shape[-1], bins), axis=-1) if bins > 1 else found

    def _whole_score(self, draws: Mapping[str, Any], t: Array) -> Array:
        """The score of everything, (p,)."""
        if self.slopes is not None:
            return self.slopes.whole(t, draws, self.carried)
        return slope_of(self._whole(draws), t, self.steps)

    def _apart_scores(self, draws: Mapping[str, Any], binned: bool = True) -> Array:
        """The score of each part, (p, parts)."""
        if self.slopes is None:
            return slope_of(self._parts(draws, binned), self.flat, self.steps)
        if not self.apart:
            return self.slopes.whole(self.flat, draws, self.carried)[:, None]
        found = self.slopes.apart(draws, self.carried)
        return self._binned(found) if binned else found

    def _prepare(self) -> None:
        """Steps for slopes; how draws are carried along; the slope of what holds no latent; where the scores of each
        part are about."""
        chain = self.chains[0]
        units = self.setup.module.log_density_units(self.params, chain.here())
        self.apart = units is not None
        self.carried = Carried(self.setup, chain.draws, len(units) if units is not None else 1)
        self.nowhere = Carried(self.setup, chain.draws, self.carried.parts)
        if self.slopes is None:
            self.steps = steps_of(self._whole(chain.draws), self.flat)
        else:
            self.steps = self.slopes.steps(chain.draws, self.nowhere)
        self.still = self._still(chain.draws)
        if self.carried.domains:
            for draws in self._pilot():
                self.carried.see(draws, self._apart_scores(draws, False))
        else:
            for c in self.chains:
                for _ in range(SETTLING):
                    c.sweep(self.params)
        if self.carried.together:
            self._combine()
        else:
            self.carried.learn()
        draws = chain.draws
        if self.slopes is not None:
            self.steps = self.slopes.steps(draws, self.carried)
        self.bends = self._across(self.carried.spread_of_scores())
        self.about = self._apart_scores(draws)
        self.constant = self._whole_score(draws, self.flat) - self.about.sum(-1)

    def _across(self, spread: Any) -> Array:
        """Steps for Hessians: of a density with kinks so long that draws lie between their ends, where it bends most.

        What |b - m| bends by, 2 for each draw at m, no derivative has: Laplace effects lost most of their information.
        """
        if not any(g.kinked for g in self.chains[0].groups):
            return self.steps
        return np.maximum(self.steps, np.where(spread > 0, ACROSS_KINKS / np.maximum(spread, 1e-300), 0.0))

    def _still(self, draws: Mapping[str, Any]) -> Array:
        """The complete data's information on each coordinate, of draws that do not move."""

        def at(i: int, h: float) -> float:
            return float(self._whole_score(draws, self.flat + h * np.eye(len(self.flat))[i])[i])

        return np.abs([(at(i, h) - at(i, -h)) / (2 * h) for i, h in enumerate(self.steps)])

    def _pilot(self) -> Iterator[Mapping[str, Any]]:
        """Draws of which nothing is kept but what they teach."""
        for chain in self.chains:
            for _ in range(PILOT * (1 + self.carried.together) // len(self.chains)):
                chain.sweep(self.params)
                yield chain.draws

    def _combine(self) -> None:
        """Few fields along which all draws move, in the combinations that leave least of the scores."""
        still, scores, slopes = np.zeros(self.carried.fields()), [], []
        steps = None
        for draws in self._pilot():
            if self.slopes is not None:
                scores.append(self.slopes.whole(self.flat, draws, self.nowhere))
                slopes.append(self.slopes.fields(self.flat, draws, self.carried))
                continue
            whole = self._whole(draws)

            def along(off: Array, whole: Any = whole) -> float:
                return float(whole(self.flat, off))

            steps = steps_of(along, still) if steps is None else steps
            scores.append(slope_of(lambda t, whole=whole: whole(t, still), self.flat, self.steps))  # type: ignore[misc]
            slopes.append(slope_of(along, still, steps))
        self.carried.combine(np.array(scores), np.array(slopes))

    def _extend(self, count: int) -> None:
        """Draws of each chain in half as many batches as may be; full ones are joined by twos before."""
        half = max(2, BATCHES // (2 * len(self.chains)))
        for c, chain in enumerate(self.chains):
            run = self.batches[c]
            if len(run) >= 2 * half:
                self.batches[c] = [_joined(a, b) for a, b in zip(run[::2], run[1::2], strict=True)]
            apart = -(-len(self.flat) // A_HESSIAN_EACH)  # batches from one that has Hessians to the next
            for b, part in enumerate(np.array_split(np.arange(count), half if self.scored else 1)):
                batch = _empty(len(self.flat), self.about.shape[-1]) if self.scored else None
                for k in range(len(part)):
                    chain.sweep(self.params)
                    self.traces.see(chain, c)
                    if batch is None or k == 0:
                        self.values.append(self._whole(chain.draws)(self.flat))
                    if batch is not None:
                        batch = self._scored(batch, chain.draws, k, b % apart == 0)
                if batch is not None:
                    self.batches[c].append(batch)

    def _scored(self, batch: Batch, draws: Mapping[str, Any], k: int, curved: bool) -> Batch:
        off = self._apart_scores(draws) - self.about
        batch = _joined(batch, Batch(1, off, off @ off.T, 0.0, 0))
        if curved and k % max(2, 2 * len(self.flat)) == 0:  # so that Hessians cost what scores do
            curve = hessian_of(lambda t: self._whole_score(draws, t), self.flat, self.bends)
            batch = _joined(batch, Batch(0, 0.0, 0.0, curve, 1, *self._beside(draws, curve)))
        return batch

    def _beside(self, draws: Mapping[str, Any], curve: Array) -> tuple[Any, ...]:
        """What is 0 on average at a draw, its products, and those with the rows of a Hessian there."""
        p = len(self.flat)
        if self.slopes is None or not self.carried.laws or p > A_HESSIAN_EACH:
            return ()
        found = self.slopes.turned(draws, self.carried)
        return found, np.outer(found, found), found[:, :, None] * curve

    @property
    def draws(self) -> int:
        return sum(b.draws for run in self.batches for b in run) if self.scored else len(self.values)

    def _newton(self) -> NewtonStep | None:
        """The step on the mean score; None where a score is not finite."""
        if not self.scored:
            return None
        batches = [b for run in self.batches for b in run]
        if not all(np.isfinite(v).all() for b in batches for v in (b.scores, b.outer, b.curve)):
            return None
        chains = levelled(self.batches)
        batches = [b for chain in chains for b in chain]
        about = self.about.sum(-1) + self.constant
        whole, told = told_by(batches, about, self.still, self.free.ends)
        self.nothing = (whole == 0) & (self.still == 0) & ~told  # no number of the data's density moves with it
        root = np.sqrt(np.maximum(whole, np.maximum(LEAST_SHOWN * self.still, np.finfo(float).tiny)))
        return stepped(chains, about, np.flatnonzero(told), root[told], self.free.ends)
