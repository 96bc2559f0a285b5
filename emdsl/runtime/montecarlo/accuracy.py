"""What a fit by draws ends with: errors of its estimates, and in words whether it has converged."""

# mypy: disable-error-code="no-any-return"
# (operators on arrays of any dtype, and all of scipy, are Any to mypy)

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from emdsl.runtime.fitting.climbs import MIXED, Climb, Setup
from emdsl.runtime.fitting.untouched import named
from emdsl.runtime.montecarlo.mixing import UNMIXED, worst_rhat
from emdsl.runtime.montecarlo.newton import NewtonStep
from emdsl.runtime.montecarlo.sampler import Chain
from emdsl.runtime.montecarlo.scores import LAST_SWEEPS, MOST_SWEEPS, NEGLIGIBLE, LastSample, has_weights

ROUNDS = 12  # of Newton steps at the estimate
LOOKED_AT = (1.0, 2.0, 3.0, 4.0)  # logs from an end at which it is asked which way the likelihood rises
LEADS_BACK = 0.35  # what a Newton step is longer than from beside an end (-c exp(2 t): 0.5), shorter about a maximum
TURNS = 2  # away from ends, at most
LONGEST_UPHILL = 1.0  # in free coordinates: a step where it is not sure that information is left
STEPS_OF_A_SIZE = 4  # steps after which each is taken from twice as many draws


def concluded(setup: Setup, params: Any, history: list[float], chains: Sequence[Chain], status: str) -> Climb:
    """Samples at the estimate, each with a Newton step on its mean score (Louis 1982), until that is lost in its noise.

    Their last is what errors of the estimates, R-hat and effective sizes are told by. A chain by itself may have stayed
    at a mode of little mass: another begins apart. After a climb that was cut short there is one sample, no larger than
    need be, and no step: no more is done than was asked for. An interrupt here keeps the last step.
    """
    faults, short = [], status in ("max_iter", "interrupted")
    if not short and len(chains) == 1 and not chains[0].independent:
        chains = [*chains, chains[0].apart(params)]
    if status == "max_iter":
        faults.append("max_iter was reached before the estimates settled")
    if has_weights(setup):
        faults.append("the error of a fit with weights is not told")
    steps = LastSteps(params)
    try:
        faults += steps.take(setup, chains, short)
    except KeyboardInterrupt:
        status = "interrupted"
    sample, told, params = steps.sample, steps.told, steps.params
    state = {f"draw:{n}": np.asarray(v) for n, v in chains[0].draws.items()}
    report: dict[str, Any] = {"rhat": {}, "ess": {}, "draws": 0}
    if sample is not None:
        history.append(float(np.mean(sample.values)))
        report |= sample.traces.mixing() | {"draws": sample.draws}
        faults += _errors(sample, told, params, report)
    report["acceptance"] = {n: a for chain in chains for n, a in chain.acceptance().items()}
    status, message = verdict_of_draws(status == "interrupted", faults, report, max(0, len(history) - 1))
    value, idle = history[-1] if history else -np.inf, () if sample is None else untouched_in(setup, sample)
    return Climb(params, tuple(history) or (-np.inf,), value, status, message, state, report=report, idle=idle)


class LastSteps:
    """Where Newton's steps at the estimate have come to: parameters, and the sample and step that led there."""

    def __init__(self, params: Any) -> None:
        self.params = params
        self.sample: LastSample | None = None
        self.told: NewtonStep | None = None

    def take(self, setup: Setup, chains: Sequence[Chain], short: bool) -> list[str]:
        """Takes them; in words, why they did not come to an end. When it is `short`, a sample and no step."""
        length, left, turns = 0.0, ROUNDS, 0
        while left:
            least = LAST_SWEEPS * 2 ** ((ROUNDS - left) // STEPS_OF_A_SIZE)
            left -= 1
            for chain in chains:
                chain.keep_tuned(self.params)
            sample = LastSample(setup, self.params, chains, least, 0 if short else MOST_SWEEPS)
            self.sample, self.told = sample, sample.found
            if len(sample.flat) > sample.most:
                return [f"the error of {len(sample.flat)} parameters is not told (of {sample.most} at most)"]
            if short or self.told is None or not (self.told.trusted or self.told.uphill):
                return []
            self.told = self.told.after(length)
            length = self.told.length
            spread = np.sqrt(np.diag(self.told.inverse))
            if not self.told.trusted:
                spread = np.minimum(spread, LONGEST_UPHILL)
            self.params = sample.free.params(sample.flat + np.clip(self.told.step, -spread, spread))
            if not self.told.far:
                away = self._away_from_ends(setup, chains, sample, self.told) if turns < TURNS else None
                if away is None:
                    return []
                self.params, length, left, turns = away, 0.0, ROUNDS, turns + 1
        return ["the mean score is not 0 yet"]

    def _away_from_ends(
        self, setup: Setup, chains: Sequence[Chain], sample: LastSample, told: NewtonStep
    ) -> Any | None:
        """Parameters beside an end to which a coordinate seems to have gone, from which steps lead on away from it;
        None where they lead back, or where all is flat as far as is looked.

        Near an end a likelihood is flat wherever its maximum is: the spread of effects at 0.05 of one at 0.74.
        """
        free, here = sample.free, [(dict(c.draws), c.tuners) for c in chains]
        flat = free.vector(self.params)
        for i in np.flatnonzero(free.ends & ~told.told & ~sample.nothing):
            inwards = (-float(np.sign(flat[i])),) if free.logits[i] else (1.0, -1.0)
            for side in inwards:
                for far in LOOKED_AT:
                    away = free.params(flat + side * far * np.eye(len(flat))[i])
                    for chain in chains:
                        chain.tune_anew(away)
                    step = LastSample(setup, away, chains, sample.draws, sample.draws).found
                    if step is None or not step.told[i] or not (step.trusted or step.uphill):
                        continue
                    clear, back = 2 * np.sqrt(step.noise[i, i]), LEADS_BACK if step.trusted else 0.0
                    if side * step.step[i] > clear - back:
                        return away
                    if step.trusted and side * step.step[i] < -clear - back:
                        break
        for chain, (draws, tuners) in zip(chains, here, strict=True):
            chain.draws, chain.tuners = draws, tuners
        return None


def _errors(sample: LastSample, told: NewtonStep | None, params: Any, report: dict[str, Any]) -> list[str]:
    """Standard errors and Monte Carlo errors into the report; in words, what is not told."""
    if told is not None and told.trusted:
        at = sample.free.vector(params)
        report["standard_errors"] = sample.free.spread(at, told.inverse)
        report["monte_carlo_errors"] = sample.free.spread(at, told.error)
        return _untold(sample, told, report)
    if sample.scored:
        nothing = {n: np.full(v.shape, np.nan) for n, v in sample.free.like.items()}
        report |= {"standard_errors": nothing, "monte_carlo_errors": nothing}
    return []


def untouched_in(setup: Setup, sample: LastSample) -> tuple[tuple[str, int], ...]:
    """Parameters that no data touch, or their elements, by name, with how many free numbers they are."""
    masks = {n: np.reshape(sample.nothing[at], shape) for n, (at, shape) in sample.free.places.items()}
    entries = [v for v in setup.module.SPEC["variables"] if v["name"] in masks and masks[v["name"]].any()]
    return tuple(named(v, masks[v["name"]]) for v in entries)


def _untold(sample: LastSample, told: NewtonStep, report: dict[str, Any]) -> list[str]:
    """Errors of what is at an end of its domain, or nothing tells, are not known, and not 0; the latter is a fault but
    where no data touch it."""
    faults, silent, nothing = [], np.diag(told.inverse) == 0, sample.nothing
    for n, (at, _) in sample.free.places.items():
        if not silent[at].any():
            continue
        for errors in (report["standard_errors"], report["monte_carlo_errors"]):
            errors[n] = np.where(report["standard_errors"][n] > 0, errors[n], np.nan)
        if (silent & ~nothing & ~sample.free.ends)[at].any():
            faults.append(f"the data tell nothing of {n}")
        elif (silent & ~nothing)[at].any():
            report.setdefault("ended", []).append(n)
    return faults


def verdict_of_draws(interrupted: bool, faults: list[str], report: Mapping[str, Any], count: int) -> tuple[str, str]:
    """Status and message: converged where the estimate has settled, its Monte Carlo error is small and chains mixed."""
    share = largest_share(report)
    rhat = worst_rhat(report)
    about = "the Monte Carlo errors were not computed"
    if share is not None:
        about = f"the largest Monte Carlo error is {share:.1%} of a standard error"
    elif "monte_carlo_errors" in report:
        about = "the Monte Carlo errors are not known: too little information is left beside the draws' noise"
        faults = [*faults, "its error cannot be told"]
    if report.get("ended"):
        about += f"; {', '.join(report['ended'])} is at an end of its domain, where no error is told"
    about += f"; R-hat at most {rhat:.2f}, {report['draws']} draws"
    iterations = f"{count} iteration" + ("" if count == 1 else "s")
    if interrupted:
        return "interrupted", f"interrupted after {iterations}: {about}"
    if share is not None and share > NEGLIGIBLE:
        faults = [*faults, "the Monte Carlo error is not negligible"]
    if rhat > UNMIXED:
        faults = [*faults, "the chains have not mixed"]
    elif rhat > MIXED:
        about += f"; chains that have mixed are below {MIXED}: more `sweeps` or `chains` would tell more"
    if faults:
        return "max_iter", f"not converged after {iterations}: {', and '.join(faults)} ({about})"
    return "converged", f"converged after {iterations}: {about}"


def largest_share(report: Mapping[str, Any]) -> float | None:
    """The largest Monte Carlo error as a share of the same parameter's standard error."""
    if "monte_carlo_errors" not in report:
        return None
    shares = [
        np.ravel(report["monte_carlo_errors"][n] / np.where(s > 0, s, np.nan))
        for n, s in report["standard_errors"].items()
    ]
    found = np.concatenate([*shares, np.zeros(0)])
    found = found[np.isfinite(found)]
    return float(found.max()) if found.size else None
