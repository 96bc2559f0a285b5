"""Moments of latents over draws; exact moments given each draw, averaged."""

# mypy: disable-error-code="no-any-return"
# (operators on arrays of any dtype, and all of scipy, are Any to mypy)

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from emdsl.runtime.data.columns import Array
from emdsl.runtime.fitting.climbs import Setup
from emdsl.runtime.montecarlo.montecarlo import Schedule, _start, _stop_tuning, mean_of, new_chains
from emdsl.runtime.montecarlo.scores import LAST_SWEEPS, complete_statistics

THIN = 3  # sweeps from one draw to the next, where a sweep is no draw of all


class StoredDraw(NamedTuple):
    """How a drawn latent is stored: the place of each stored axis, its axes of one element, its number of states."""

    order: tuple[int, ...]
    own: int
    levels: int | None
    shift: Any = None


def posterior_by_draws(
    module: Any, params: Any, data: Any, prepared: Any, state: Any, schedule: Schedule, names: Sequence[str] = ()
) -> dict[str, Any]:
    """Moments of the latents over draws at `params`, seeded alike each time; exact ones given each draw, averaged.

    names : of the latents whose moments are over draws; left out, all that are drawn.
    """
    setup = Setup(module, data, prepared, 0, 0.0, "raise")
    chains = new_chains(setup, np.random.default_rng(0), schedule.chains, state)
    _start(chains, params, schedule.burn_in + 80)
    _stop_tuning(chains)
    count = max(LAST_SWEEPS, schedule.sweeps)
    kept: dict[str, StoredDraw] = module.stored_draws(params, prepared)
    values: dict[str, Moments] = {n: Moments(k) for n, k in kept.items() if not names or n in names}
    exact: list[Any] = []
    for chain in chains:
        for _ in range(count):
            chain.sweep(params)
            for n, m in values.items():
                m.add(chain.draws[n])
            if hasattr(module, "posterior_given"):
                exact.append(module.posterior_given(params, data, chain.here()))
    out = {n: m.result() for n, m in values.items()}
    return out | ({n: _mixture([e[n] for e in exact]) for n in exact[0]} if exact else {})


def draws_by_name(
    module: Any, params: Any, data: Any, prepared: Any, state: Any, count: int, rng: np.random.Generator
) -> dict[str, Array]:
    """Joint draws of the latents at `params`, (count, *plates, *own): every one of a chain that has settled.

    Where latents are drawn together by elimination they are independent; else `THIN` sweeps lie between two.
    """
    chains = new_chains(Setup(module, data, prepared, 0, 0.0, "raise"), rng, 1, state)
    single = chains[0].independent
    if not single:
        _start(chains, params, 80)
    _stop_tuning(chains)
    kept: dict[str, StoredDraw] = module.stored_draws(params, prepared)
    out: dict[str, list[Array]] = {n: [] for n in kept}
    for _ in range(count):
        chains[0].sweep(params, 1 if single else THIN)
        here = dict(chains[0].draws)
        if set(kept) - set(here):  # exact given these, and drawn by no sweep
            with np.errstate(all="ignore"):
                here |= module.draw_of_rest(params, {**prepared, **here}, chains[0].rng)
        for n, k in kept.items():
            value = np.transpose(here[n], np.argsort(k.order))
            out[n].append(np.array(value if k.shift is None else value + k.shift))
    return {n: np.array(found) for n, found in out.items()}


class Moments:
    """Means, variances (of vectors covariances) or frequencies of draws, plates first."""

    def __init__(self, kept: StoredDraw) -> None:
        self.kept, self.count = kept, 0
        self.mean: Any = 0.0
        self.second: Any = 0.0

    def add(self, stored: Array) -> None:
        value = np.transpose(stored, np.argsort(self.kept.order))
        self.count += 1
        if self.kept.levels is not None:
            value = (value[..., None] == np.arange(self.kept.levels)) + 0.0
            self.mean = self.mean + (value - self.mean) / self.count
            return
        off = value - self.mean
        self.mean = self.mean + off / self.count
        left = value - self.mean
        product = off[..., :, None] * left[..., None, :] if self.kept.own == 1 else off * left
        self.second = self.second + product

    def result(self) -> Any:
        if self.kept.levels is not None:
            return self.mean
        mean = self.mean if self.kept.shift is None else self.mean + self.kept.shift
        return {"mean": mean, ("cov" if self.kept.own == 1 else "var"): self.second / max(1, self.count - 1)}


def _mixture(found: Sequence[Any]) -> Any:
    """Moments of an equal mixture of posteriors: mean of probabilities, of means, and the whole variance."""
    if not isinstance(found[0], Mapping):
        return np.mean(found, axis=0)
    out = {"mean": np.mean([f["mean"] for f in found], axis=0)} if "mean" in found[0] else {}
    if "cov" in found[0]:
        means = np.array([f["mean"] for f in found]) - out["mean"]
        out["cov"] = np.mean([f["cov"] for f in found], axis=0) + np.mean(
            means[..., :, None] * means[..., None, :], axis=0
        )
    elif "mean" in found[0]:
        inner = np.mean([f["var"] for f in found], axis=0) if "var" in found[0] else 0.0
        out["var"] = inner + np.var([f["mean"] for f in found], axis=0)
    return out


def statistics_by_draws(
    module: Any, params: Any, data: Any, prepared: Any, rng: np.random.Generator, schedule: Schedule
) -> dict[str, Any]:
    """Statistics at `params`, averaged over the sweeps of an `infer` line (at least 50) after some to settle."""
    setup = Setup(module, data, prepared, 0, 0.0, "raise")
    chains = new_chains(setup, rng, schedule.chains)
    _start(chains, params, schedule.burn_in + 80)
    _stop_tuning(chains)
    found = []
    for chain in chains:
        for _ in range(max(50, schedule.sweeps)):
            chain.sweep(params)
            found.append(complete_statistics(setup, params, chain.here()))
    return mean_of(found)
