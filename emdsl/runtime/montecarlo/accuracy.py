"""What a fit by draws ends with: errors of its estimates, and in words whether it has converged."""

# mypy: disable-error-code="no-any-return"
# (operators on arrays of any dtype, and all of scipy, are Any to mypy)

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from emdsl.runtime.fitting.loop import Climb, Setup
from emdsl.runtime.montecarlo.mixing import mixing_of
from emdsl.runtime.montecarlo.newton import NewtonStep
from emdsl.runtime.montecarlo.sampler import Chain
from emdsl.runtime.montecarlo.scores import LastSample, has_weights

NEGLIGIBLE = 0.1  # Monte Carlo errors below this share of the standard errors
ROUNDS = 12  # of Newton steps at the estimate


class Ending(NamedTuple):
    """How a climb ended: its method, and how many draws the last step of Monte Carlo EM rested on."""

    status: str
    message: str
    method: str
    draws: int


def concluded(setup: Setup, params: Any, history: list[float], chains: Sequence[Chain], end: Ending) -> Climb:
    """Samples at the estimate, each with a Newton step on its mean score (Louis 1982), until that is lost in its noise.

    Their last is what errors of the estimates, R-hat and effective sizes are told by. After a climb that was cut short
    there is one sample, no larger than need be, and no step: no more is done than was asked for.
    """
    faults = [end.message] if end.message else []
    short = end.status in ("max_iter", "interrupted") and not end.message
    if end.status == "max_iter" and short:
        faults.append("max_iter was reached before the estimates settled")
    if has_weights(setup):
        faults.append("the error of a fit with weights is not told")
    told, length = None, 0.0
    for k in range(ROUNDS):
        sample = LastSample(setup, params, chains, grows=not short)
        told = sample.found
        if len(sample.flat) > sample.most:
            faults.append(f"the error of {len(sample.flat)} parameters is not told (of {sample.most} at most)")
        if short or told is None or not (told.trusted or told.uphill):
            break
        told = told.after(length)
        length = told.length
        spread = np.sqrt(np.diag(told.inverse))
        moved = sample.flat + np.clip(told.step, -spread, spread)
        params = sample.free.params(moved)
        if not told.far:
            break
        if k == ROUNDS - 1:
            faults.append("the mean score is not 0 yet")
    history.append(float(np.mean(sample.values)))
    report = mixing_of(sample.traces)
    report["acceptance"] = {n: a for chain in chains for n, a in chain.acceptance().items()}
    report["draws"] = sample.draws
    if sample.scored and (told is None or not told.trusted):
        nothing = {n: np.full(v.shape, np.nan) for n, v in sample.free.like.items()}
        report |= {"standard_errors": nothing, "monte_carlo_errors": nothing}
    elif told is not None:
        at = sample.free.vector(params)
        report["standard_errors"] = sample.free.spread(at, told.inverse)
        report["monte_carlo_errors"] = sample.free.spread(at, told.error)
        faults += _untold(sample, told, report)
    state = {f"draw:{n}": np.asarray(v) for n, v in chains[0].draws.items()}
    status, message = verdict_of_draws(end.status == "interrupted", faults, report, len(history) - 1)
    return Climb(params, tuple(history), history[-1], status, message, state, report=report)


def _untold(sample: LastSample, told: NewtonStep, report: dict[str, Any]) -> list[str]:
    """Errors of what is at an end of its domain, or nothing tells, are not known, and not 0; the latter is a fault."""
    faults, silent = [], np.diag(told.inverse) == 0
    for n, (at, _) in sample.free.places.items():
        if not silent[at].any():
            continue
        for errors in (report["standard_errors"], report["monte_carlo_errors"]):
            errors[n] = np.where(report["standard_errors"][n] > 0, errors[n], np.nan)
        if (silent & ~sample.free.ends)[at].any():
            faults.append(f"the data tell nothing of {n}")
        else:
            report.setdefault("ended", []).append(n)
    return faults


def verdict_of_draws(interrupted: bool, faults: list[str], report: Mapping[str, Any], count: int) -> tuple[str, str]:
    """Status and message: converged where the estimate has settled, its Monte Carlo error is small and chains mixed."""
    share = largest_share(report)
    rhat = max([r for r in report["rhat"].values() if np.isfinite(r)], default=1.0)
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
    if rhat > 1.1:
        faults = [*faults, "the chains have not mixed"]
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
