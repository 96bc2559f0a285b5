"""What a fit by draws ends with: errors of its estimates, and in words whether it has converged.

Errors are told by Louis's information (1982) and the long-run variance of the score over draws at the estimate.
"""

# mypy: disable-error-code="no-any-return"
# (operators on arrays of any dtype, and all of scipy, are Any to mypy)

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from emdsl.runtime.columns import Array
from emdsl.runtime.loop import Climb, Setup
from emdsl.runtime.mixing import _trace, long_run_covariance, mixing_of
from emdsl.runtime.sampler import Chain
from emdsl.runtime.unconstrained import from_free, to_free

NEGLIGIBLE = 0.1  # Monte Carlo errors below this share of the standard errors
LAST_SWEEPS = 200  # of the sample at the estimate, at least
MOST_SWEEPS = 4000
ENOUGH = 400.0  # effective draws of the score, for its variance
MOST_NUMBERS = 4e7  # numbers drawn, times evaluations of each draw
MOST_EVALUATIONS = 4e4  # of log p(data, draw) at the estimate
MOST_PARAMETERS = 60  # in whose number scores by differences are affordable
FAR_OFF = 0.1  # of a standard error: a Newton step so long is taken again
ROUNDS = 4  # of such steps
FLAT = 1e-3  # complete-data information of a free coordinate that has gone to its end: it has no error there


def complete_statistics(setup: Setup, params: Any, prepared: Any) -> Mapping[str, Any]:
    """Statistics at one draw, and log p(data, draw | params), what is exact given the draw summed out."""
    return setup.module.e_step(params, setup.data, prepared)


def flat_vector(values: Any, domains: Mapping[str, str], bounds: Any) -> Array:
    return np.concatenate([np.ravel(to_free(values[n], d, bounds[n])) for n, d in domains.items()])


def from_flat(flat: Array, like: Any, domains: Mapping[str, str], bounds: Any) -> dict[str, Array]:
    out, at = {}, 0
    for n, d in domains.items():
        shape = np.shape(to_free(like[n], d, bounds[n]))
        size = int(np.prod(shape))
        out[n] = from_free(flat[at : at + size].reshape(shape), d, bounds[n], np.shape(like[n]))
        at += size
    return out


def _hessian(slope: Callable[[Array], Array], at: Array) -> Array:
    """Central differences of a gradient, made symmetric."""
    h = 1e-4 * (1 + np.abs(at))
    rows = [(slope(at + h[i] * e) - slope(at - h[i] * e)) / (2 * h[i]) for i, e in enumerate(np.eye(len(at)))]
    return 0.5 * (np.array(rows) + np.array(rows).T)


class FreeParameters:
    """All parameters of a model as one vector without bounds."""

    def __init__(self, setup: Setup, params: Any) -> None:
        entries = {v["name"]: v for v in setup.module.SPEC["variables"] if v["name"] in params}
        self.domains = {n: v["domain"] for n, v in entries.items()}
        self.bounds = {n: (v["lower"], v["upper"]) for n, v in entries.items()}
        self.like = {n: np.asarray(v, float) for n, v in params.items()}

    def vector(self, params: Any) -> Array:
        return flat_vector(params, self.domains, self.bounds) if self.domains else np.zeros(0)

    def params(self, flat: Array) -> dict[str, Array]:
        return from_flat(flat, self.like, self.domains, self.bounds)

    def spread(self, flat: Array, covariance: Array) -> dict[str, Array]:
        """Standard errors on the declared scale, by the delta method."""
        h = 1e-5 * (1 + np.abs(flat))
        steps = []
        for i, e in enumerate(np.eye(len(flat))):
            up, down = self.params(flat + h[i] * e), self.params(flat - h[i] * e)
            steps.append({n: (up[n] - down[n]) / (2 * h[i]) for n in up})
        out = {}
        for n, v in self.like.items():
            slopes = np.array([np.ravel(s[n]) for s in steps]) if steps else np.zeros((0, v.size))
            variance = np.einsum("ik,ij,jk->k", slopes, covariance, slopes)
            out[n] = np.sqrt(np.maximum(variance, 0.0)).reshape(v.shape)
        return out


class Ending(NamedTuple):
    """How a climb ended: its method, and how many draws the last step of Monte Carlo EM rested on."""

    status: str
    message: str
    method: str
    draws: int


class LastSample:
    """Draws at the estimate: scores of the complete data, their Hessians, traces of the latents."""

    def __init__(self, setup: Setup, params: Any, chains: Sequence[Chain], least: int) -> None:
        self.setup, self.params, self.chains = setup, params, chains
        self.free = FreeParameters(setup, params)
        self.flat = self.free.vector(params)
        self.scored = 0 < len(self.flat) <= MOST_PARAMETERS
        self.scores: list[list[Array]] = [[] for _ in chains]
        self.hessians: list[Array] = []
        self.values: list[float] = []
        self.traces: dict[str, list[list[Array]]] = {}
        each = (2 * len(self.flat) + 1) * len(chains)
        numbers = sum(np.size(v) for v in chains[0].draws.values()) * each
        most = int(np.clip(min(MOST_NUMBERS / max(1, numbers), MOST_EVALUATIONS / each), LAST_SWEEPS, MOST_SWEEPS))
        count = max(LAST_SWEEPS, min(least, most))
        self._extend(count)
        while self.scored and 2 * count <= most and not self.enough():
            self._extend(count)
            count *= 2

    def _at(self, prepared: Any) -> Callable[[Array], float]:
        setup, free = self.setup, self.free

        def value(t: Array) -> float:
            here = free.params(t)
            found = float(complete_statistics(setup, here, prepared)["log_likelihood"])
            return found + float(setup.module.log_prior(here, setup.prepared))

        return value

    def _extend(self, count: int) -> None:
        for c, chain in enumerate(self.chains):
            for k in range(count):
                chain.sweep(self.params)
                _trace(self.traces, chain, c)
                value = self._at(chain.here())
                self.values.append(value(self.flat))
                if not self.scored:
                    continue
                self.scores[c].append(_score(value, self.flat))
                if k % (count // 8) == 0 and len(self.hessians) < 16:
                    self.hessians.append(_hessian(lambda t, f=value: _score(f, t), self.flat))  # type: ignore[misc]

    def chains_of_scores(self) -> list[Array]:
        return [np.array(s) for s in self.scores]

    def enough(self, errors: float = 4.0) -> bool:
        """Whether the information left by the variance of the scores is so many of its own errors from 0."""
        scores = self.chains_of_scores()
        every = np.concatenate(scores)
        whole, observed, noise = self.curvature()
        effective = float(np.min(len(every) * every.var(0) / np.maximum(np.diag(noise), 1e-300)))
        root = np.sqrt(np.maximum(np.diag(whole), FLAT))
        told = np.diag(whole) > FLAT
        left = np.linalg.eigvalsh((observed / np.outer(root, root))[np.ix_(told, told)]).min(initial=1.0)
        wanted = ENOUGH if errors > 2 else ENOUGH / 8
        return effective > wanted and bool(left > errors * np.sqrt(2 / effective))

    def curvature(self) -> tuple[Array, Array, Array]:
        """E[-H], Louis's information E[-H] - Var[score], and the long-run covariance of scores."""
        scores = self.chains_of_scores()
        whole = -np.mean(self.hessians, axis=0)
        missing = np.atleast_2d(np.cov(np.concatenate(scores).T))
        observed = 0.5 * (whole - missing + (whole - missing).T)
        return whole, observed, long_run_covariance(scores)


def concluded(setup: Setup, params: Any, history: list[float], chains: Sequence[Chain], end: Ending) -> Climb:
    """Samples at the estimate, each with a Newton step on its mean score (Louis 1982), until that is lost in its noise.

    Their last is what errors of the estimates, R-hat and effective sizes are told by.
    """
    faults = [end.message] if end.message else []
    if end.status == "max_iter" and not end.message:
        faults.append("max_iter was reached before the estimates settled")
    least = end.draws if end.method == "mcmc" else LAST_SWEEPS
    for k in range(ROUNDS):
        sample = LastSample(setup, params, chains, least)
        if not sample.scored:
            break
        found, moved, far = errors_of_estimates(sample)
        if k == ROUNDS - 1 and far:
            faults.append("the mean score is not 0 yet")
        params = sample.free.params(moved)
        if not far:
            break
    history.append(float(np.mean(sample.values)))
    report = mixing_of(sample.traces)
    report["acceptance"] = {n: a for chain in chains for n, a in chain.acceptance().items()}
    report["draws"] = len(sample.values)
    report |= found if sample.scored else {}
    state = {f"draw:{n}": np.asarray(v) for n, v in chains[0].draws.items()}
    status, message = verdict_of_draws(end.status == "interrupted", faults, report, len(history) - 1)
    return Climb(params, tuple(history), history[-1], status, message, state, report=report)


def _score(f: Callable[[Array], float], at: Array) -> Array:
    h = 1e-4 * (1 + np.abs(at))
    return np.array([(f(at + h[i] * e) - f(at - h[i] * e)) / (2 * h[i]) for i, e in enumerate(np.eye(len(at)))])


def errors_of_estimates(sample: LastSample) -> tuple[dict[str, Any], Array, bool]:
    """Standard errors by Louis's information I, Monte Carlo errors, the estimate after a Newton step on the mean
    score, and whether the step went so far that it is to be taken again.

    A Newton step on n draws leaves an error of covariance inv(I) S inv(I) / n, S the long-run covariance of scores.
    """
    free, flat = sample.free, sample.flat
    whole, observed, noise = sample.curvature()
    nothing = {n: np.full(v.shape, np.nan) for n, v in free.like.items()}
    told = np.diag(whole) > FLAT
    inner = np.ix_(told, told)
    finite = np.isfinite(observed).all()
    if not finite or np.linalg.eigvalsh(observed[inner]).min(initial=1.0) <= 0 or not sample.enough(2.0):
        return {"standard_errors": nothing, "monte_carlo_errors": nothing}, flat, False
    inverse = np.zeros_like(observed)
    inverse[inner] = np.linalg.inv(observed[inner])
    spread = np.sqrt(np.diag(inverse))
    error = inverse @ noise @ inverse / len(sample.values)
    step = inverse @ np.mean(np.concatenate(sample.chains_of_scores()), axis=0)
    far = bool((np.abs(step) > FAR_OFF * spread + 3 * np.sqrt(np.diag(error))).any())
    moved = flat + np.clip(step, -spread, spread)
    found = {"standard_errors": free.spread(moved, inverse), "monte_carlo_errors": free.spread(moved, error)}
    return found, moved, far


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
