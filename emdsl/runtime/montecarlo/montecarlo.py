"""Monte Carlo EM: the E-step is a sample, which grows by the ascent rule (Caffo, Jank and Jones 2005)."""

# mypy: disable-error-code="no-any-return"
# (operators on arrays of any dtype, and all of scipy, are Any to mypy)

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from emdsl.runtime.data.columns import Array
from emdsl.runtime.fitting.climbs import Climb, Point, Setup
from emdsl.runtime.fitting.untouched import Untouched
from emdsl.runtime.montecarlo.accuracy import concluded
from emdsl.runtime.montecarlo.flat import flat_vector, from_flat, hessian_of
from emdsl.runtime.montecarlo.mixing import long_run_variance
from emdsl.runtime.montecarlo.sampler import Chain
from emdsl.runtime.montecarlo.scores import complete_density, complete_statistics
from emdsl.runtime.numeric.unconstrained import pullback, to_free, uphill

Statistics = Mapping[str, Any]
CONFIDENT = 0.674  # of the ascent rule: a quarter of the normal's tail (Caffo, Jank and Jones, section 4)
LEAST_DRAWS = 4  # of a chain in one E-step, of whose halves the noise of a step is told
FADED = 1e-8  # a probability that is 0 where so many draws in a row as halve it to this show nothing of it
GROWTH = 3.0  # a sample that does not show ascent grows by this share of itself
MOST_DRAWS = 4000  # in one E-step: Newton's steps at the end take the rest of the way
CURVED = 8  # draws whose Hessians make that of a numeric M-step
SMALL_STEP = 0.02  # of log-likelihood: a step whose upper bound is below this is no step


class Schedule(NamedTuple):
    """How many sweeps are drawn at first, left out before the first statistics, in how many chains; SAEM's warm-up."""

    sweeps: int
    burn_in: int
    chains: int
    warm: int


def new_chains(setup: Setup, rng: np.random.Generator, count: int, state: Any = None) -> list[Chain]:
    """Chains from their own starts, or from the draws of `state`."""
    out = []
    for child in rng.spawn(count):
        draws = setup.module.first_draws(setup.prepared, child)
        draws |= {n: np.array(state[f"draw:{n}"]) for n in draws if state is not None and f"draw:{n}" in state}
        out.append(Chain(setup.module, setup.prepared, draws, child))
    return out


def mean_of(found: Sequence[Statistics]) -> dict[str, Any]:
    """Statistics averaged over draws."""
    return {k: sum(np.asarray(s[k], float) for s in found) / len(found) for k in found[0]}


def _captured(setup: Setup, before: Any, params: Any, prepared: Any) -> tuple[Any, ...]:
    """What a numeric M-step would raise at one draw: (objective, start, domains, bounds), the objective's value and
    gradient alone."""
    found: list[tuple[Any, ...]] = []

    def record(*arguments: Any) -> Any:
        found.append(arguments)
        return arguments[1]

    setup.module.refine(before, params, setup.data, prepared, raised_by=record)
    start, domains, bounds = ({n: v for part in found for n, v in part[k].items()} for k in (1, 2, 3))

    def plain(values: Any) -> tuple[float, Any]:
        total = 0.0
        gradient: dict[str, Any] = {}
        for objective, *rest in found:  # parameters that meet in no term are climbed one group after the other
            value, slopes, *_ = objective(values)
            total += float(sum(value)) if len(rest) > 3 else float(value)  # Newton's objective gives its terms
            gradient |= slopes
        return total, gradient

    return plain, start, domains, bounds


def mean_objective(
    objectives: Sequence[Any], like: Any, domains: Any, bounds: Any
) -> Callable[[Array], tuple[float, Array]]:
    """The mean of several objectives and its gradient, in free coordinates."""

    def at(flat: Array) -> tuple[float, Array]:
        values = from_flat(flat, like, domains, bounds)
        total, slope = 0.0, np.zeros(len(flat))
        for objective in objectives:
            value, gradient = objective(values)
            cut, parts = 0, []
            for n, d in domains.items():
                shape = np.shape(to_free(like[n], d, bounds[n]))
                size = int(np.prod(shape))
                free = flat[cut : cut + size].reshape(shape)
                parts.append(np.ravel(pullback(free, gradient[n], d, bounds[n], values[n])))
                cut += size
            total += float(value)
            slope += np.concatenate(parts)
        return total / len(objectives), np.nan_to_num(slope / len(objectives))

    return at


def closed_m_step(setup: Setup, statistics: Statistics, params: Any) -> dict[str, Array]:
    """What has a closed form, from averaged statistics; what no data touch stays, what no draw shows fades."""
    m_step = setup.module.m_step
    policy = "raise" if setup.policy == "restart" else setup.policy
    try:
        new = m_step(statistics, params, setup.prepared, "raise")
    except setup.module.Degenerate:
        kept = setup.untouched.kept(Point(params, statistics, np.nan, np.nan))
        if kept is None and policy == "raise":
            raise
        new = m_step(statistics, params, setup.prepared, policy) if kept is None else kept
    simplexes = {v["name"] for v in setup.module.SPEC["variables"] if v["domain"] == "simplex"}
    return {n: _faded(p, params[n]) if n in simplexes and n in params else p for n, p in new.items()}


def _faded(new: Array, old: Array) -> Array:
    """Probabilities of which those that no draw shows halve: at 0 none ever would again, whatever the data say."""
    fading = (new == 0) & (old > FADED)
    if not fading.any():
        return new
    kept = np.where(fading, 0.5 * old, new)
    return kept / kept.sum(-1, keepdims=True)


def knowing_untouched(setup: Setup, chains: Sequence[Chain]) -> Setup:
    """The same, with what no data touch whatever the draws: found where it is asked for."""
    return setup._replace(untouched=Untouched(setup._replace(prepared=chains[0].here())))


def averaged_m_step(setup: Setup, statistics: Statistics, params: Any, draws: Sequence[Any]) -> dict[str, Array]:
    """Parameters that raise Q averaged over these draws; `statistics` are its averages.

    What has no closed form takes one Newton step, halved until Q does not fall: its gradient is that of all draws, its
    Hessian that of some.
    """
    module = setup.module
    new = closed_m_step(setup, statistics, params)
    if hasattr(module, "refine"):
        parts = [_captured(setup, params, new, d) for d in draws]
        _, start, domains, bounds = parts[0]
        at, whole = (
            flat_vector(start, domains, bounds),
            mean_objective([p[0] for p in parts], start, domains, bounds),
        )
        some = mean_objective([p[0] for p in parts[:: -(-len(parts) // CURVED)]], start, domains, bounds)
        value, slope = whole(at)
        hessian = hessian_of(lambda t: some(t)[1], at, 1e-4 * (1 + np.abs(at)))
        step = uphill(slope, hessian, 1 + np.abs(at).max(initial=0.0))
        for _ in range(20):
            if whole(at + step)[0] >= value:
                break
            step = step / 2
        best = from_flat(at + step, start, domains, bounds)
        new = module.refine(params, new, setup.data, draws[0], raised_by=lambda *_: best)
    return {n: np.asarray(v, np.float64) for n, v in new.items()}


def climb_by_mcmc(setup: Setup, start: Any, rng: np.random.Generator, schedule: Schedule) -> Climb:
    """Monte Carlo EM: a step is taken where its lower bound shows ascent, else the sample grows; it ends where the
    upper bound is negligible (Caffo, Jank and Jones 2005)."""
    chains = new_chains(setup, rng, schedule.chains)
    setup = knowing_untouched(setup, chains)
    params, history = dict(start), []
    size, small, status = max(schedule.sweeps, LEAST_DRAWS), 0, "max_iter"
    degenerate = (setup.module.Degenerate, np.linalg.LinAlgError)
    try:
        _start(chains, params, schedule.burn_in)
        for k in range(setup.max_iter):
            step = _ascent(setup, chains, params, size, schedule.burn_in)
            params, size = step.params, step.next_size
            history.append(step.objective)
            if setup.progress is not None:
                setup.progress(k + 1, step.objective)
            if k == 4:
                _stop_tuning(chains)
            least = max(SMALL_STEP, setup.tol * (1 + abs(step.objective)))
            small = small + 1 if step.upper < least and setup.tol > 0 else 0
            if small == 2 or (small and step.spent):
                status = "settled"
                break
            if step.spent and step.lower <= 0:  # no ascent is seen: the steps at the end tell whether any is left
                status = "settled"
                break
    except degenerate as fault:
        return _collapsed(setup, params, history, chains, fault)
    except KeyboardInterrupt:
        status = "interrupted"
    _stop_tuning(chains)
    return concluded(setup, params, history, chains, status)


class Step(NamedTuple):
    """One step of Monte Carlo EM: bounds of what it gains in Q, and the size of the next sample."""

    params: dict[str, Array]
    objective: float
    lower: float
    upper: float
    next_size: int
    spent: bool


def _ascent(setup: Setup, chains: Sequence[Chain], params: Any, size: int, burn_in: int) -> Step:
    """A step that is taken if its gain in Q less CONFIDENT errors is above 0; until then the sample grows by a third.

    The error is that of the mean over draws of log p(data, draw | new) - log p(data, draw | old), by batch means
    (Caffo, Jank and Jones 2005, section 3). The new parameters were made from these draws: of what they gain there the
    paper leaves out what is of second order, which of many parameters is all that there is (`_fitted_noise`). The next
    sample is as large as would have shown this gain but for one time in four; here it does not more than double.
    """
    _burn_in(chains, params, burn_in)
    draws: list[list[Any]] = [[] for _ in chains]
    found: list[list[Statistics]] = [[] for _ in chains]
    more = size
    while True:
        for c, chain in enumerate(chains):
            for _ in range(more):
                chain.sweep(params)
                draws[c].append(chain.here())
                found[c].append(complete_statistics(setup, params, draws[c][-1]))
        statistics = mean_of([s for f in found for s in f])
        new = averaged_m_step(setup, statistics, params, [d for f in draws for d in f])
        prior = setup.module.log_prior
        objective = float(statistics["log_likelihood"]) + float(prior(params, setup.prepared))
        if not np.isfinite(objective):  # any step leads away from where draws have no density
            return Step(new, objective, np.inf, np.inf, size, False)
        gain = prior(new, setup.prepared) - prior(params, setup.prepared)
        rises = [
            [complete_density(setup, new, d) - float(s["log_likelihood"]) for d, s in zip(ds, ss, strict=True)]
            for ds, ss in zip(draws, found, strict=True)
        ]
        count, noise = sum(map(len, rises)), _fitted_noise(setup, params, draws, found)
        mean, error = float(np.mean(np.concatenate(rises))) + gain, np.sqrt(long_run_variance(rises) / count)
        lower, upper = mean - 2 * noise - CONFIDENT * error, mean - noise + CONFIDENT * error
        spent = count >= MOST_DRAWS
        if lower > 0 or spent or upper < SMALL_STEP:
            break
        more = max(1, int(np.ceil(len(rises[0]) / GROWTH)))
    shown = max(mean - 2 * noise, 1e-9)
    wanted = long_run_variance(rises) * (2 * CONFIDENT) ** 2 / shown**2 / len(chains)
    next_size = int(np.clip(wanted, size, min(2 * len(rises[0]), MOST_DRAWS // len(chains))))
    return Step(new if lower > 0 else params, objective, lower, upper, next_size, spent)


def _fitted_noise(
    setup: Setup, params: Any, draws: Sequence[Sequence[Any]], found: Sequence[Sequence[Statistics]]
) -> float:
    """What a step gains on the draws that it is made from beyond the most that any gains in Q; as much again is what it
    loses there, being beside that place.

    Steps a and b of either half of each chain: each gains more on its own half, by eight times this in all.
    """
    parts = []
    for half in (slice(None, len(draws[0]) // 2), slice(len(draws[0]) // 2, None)):
        mine = [d for f in draws for d in f[half]]
        parts.append((mine, averaged_m_step(setup, mean_of([s for f in found for s in f[half]]), params, mine)))
    (ours, a), (theirs, b) = parts

    def more(here: Sequence[Any], better: Any, worse: Any) -> float:
        return float(np.mean([complete_density(setup, better, d) - complete_density(setup, worse, d) for d in here]))

    return max(0.0, more(ours, a, b) + more(theirs, b, a)) / 8


def _burn_in(chains: Sequence[Chain], params: Any, count: int) -> None:
    for chain in chains:
        for _ in range(count):
            chain.sweep(params)


def _start(chains: Sequence[Chain], params: Any, burn_in: int) -> None:
    """To the modes, then sweeps that nothing is kept of."""
    for chain in chains:
        chain.settle(params)
    _burn_in(chains, params, burn_in + 20)


def _stop_tuning(chains: Sequence[Chain]) -> None:
    for chain in chains:
        chain.stop_tuning()


def _collapsed(setup: Setup, params: Any, history: list[float], chains: Sequence[Chain], fault: Exception) -> Climb:
    words = str(getattr(fault, "message", fault)) or "a matrix is singular"
    state = {f"draw:{n}": np.asarray(v) for n, v in chains[0].draws.items()}
    return Climb(params, tuple(history) or (-np.inf,), -np.inf, "degenerate", words, state, fault)
