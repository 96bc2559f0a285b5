"""The rows ahead of a fit, by the most exact of three ways that its model allows, variable by variable.

posterior    rows that nobody has seen are rows all of whose cells are missing (`runtime.fitting.forecast`)
moments      of rows that read observations: recursions of moments over states (`closed`)
paths        drawn from the model, from draws of what they read (`paths`)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from emdsl.families.scope import Array
from emdsl.fit.ahead.closed import moments
from emdsl.fit.ahead.future import Future, Read, frontier, size_name
from emdsl.fit.ahead.paths import PATHS, QUANTILES, Starts, quantiles_of, simulate, summary
from emdsl.fit.ahead.polynomial import is_state
from emdsl.fit.ahead.starts import marginal, row_of, weights
from emdsl.fit.gaps import seen
from emdsl.language.model import Dim, ModelText, Variable
from emdsl.runtime.data.binding import Bound
from emdsl.runtime.data.faults import DataError
from emdsl.runtime.montecarlo.drawn import draws_by_name

MOST_DRAWS = 500  # of all latents: paths beyond these share them
MOST_HELD = 2**22  # numbers drawn of one variable, where nobody says how many paths
MIN_PATHS, MOST_PATHS = 100, 10**7


class Asked(NamedTuple):
    """What a user asked of a forecast beyond its moments."""

    paths: int | None = None
    quantiles: tuple[float, ...] = ()
    seed: int | None = None


class CompiledModel(Protocol):
    """What a forecast needs of `emdsl.fit.model.Model`."""

    @property
    def resolved(self) -> ModelText: ...
    @property
    def module(self) -> Any: ...
    @property
    def derived(self) -> Any: ...
    def revealed(self, names: tuple[str, ...]) -> CompiledModel | None: ...
    def drawn_together(self) -> CompiledModel | None: ...


@dataclass(frozen=True, slots=True)
class Seen:
    """A fit's rows: their data, the posterior of their latents, and the likelihood with some of these seen.

    factorised : whether the posterior is q of a mean field. drawn : whether latents are drawn, at last
    as in `state`.
    """

    model: CompiledModel
    params: Mapping[str, Array]
    data: Bound
    marginals: Mapping[str, Any]
    factorised: bool
    drawn: bool = False
    state: Any = None

    def likelihood(self, values: Mapping[str, Array], masks: Mapping[str, Array], apart: bool) -> Array:
        """With these latents seen where `masks` say: of each sequence, or (not `apart`) of all the data."""
        made = self.model.revealed(tuple(sorted(values)))
        if made is None:
            raise DataError("these latents cannot be held")
        told = {**self.data.values, **{seen(n): a for n, a in values.items()}}
        where = {**self.data.masks, **{seen(n): a for n, a in masks.items()}}
        data = self.data._replace(values=told, masks=where)
        module = made.module
        with np.errstate(all="ignore"):
            prepared = module.prepare(data, module.reference(data))
            if apart:
                return np.asarray(module.log_likelihood_rows(self.params, data, prepared))
            return np.asarray(module.e_step(self.params, data, prepared)["log_likelihood"])

    def families(self) -> dict[str, str]:
        """The family of each continuous latent's posterior, where it is one and no mixture of several."""
        out = {}
        for b in self.model.derived.elimination.blocks:
            if b.states or b.neighbours or b.cuts:
                continue
            for n in b.latents:
                q = self.marginals.get(n)
                normal = "MvNormal" if isinstance(q, Mapping) and "cov" in q else "Normal"
                out[n] = normal if b.gaussian is not None else (b.record.name if b.record is not None else "")
        return out


def asked_of(quantiles: Any = None, paths: Any = None, seed: int | None = None) -> Asked:
    """Options, checked. Raises DataError where they are no levels, no number of paths."""
    levels = () if quantiles is None else tuple(np.atleast_1d(np.asarray(quantiles, float)).tolist())
    if not all(0 <= q <= 1 for q in levels):
        raise DataError(f"quantiles: must be levels from 0 to 1, not {quantiles!r}", code="D014")
    whole = isinstance(paths, int | np.integer) and not isinstance(paths, bool)
    if paths is not None and not (whole and MIN_PATHS <= paths <= MOST_PATHS):
        raise DataError(f"paths: must be a whole number from {MIN_PATHS} to {MOST_PATHS}, not {paths!r}", code="D014")
    return Asked(paths, levels, seed)


def _wanted(future: Future) -> list[Variable]:
    return [v for v in future.on_plate(future.model) if not v.data_of]


def enough(future: Future, found: Mapping[str, Any], asked: Asked) -> bool:
    """Whether a forecast has all that was asked for."""
    return not asked.quantiles and asked.paths is None and all(v.name in found for v in _wanted(future))


def completed(future: Future, rows: Seen, found: dict[str, Any], asked: Asked) -> dict[str, Any]:
    """A forecast with what an exact posterior of the rows ahead left out: moments where they recur, else paths.

    Raises DataError where a draw needs what is not known, NotImplementedError where nothing draws the rows ahead.
    """
    tied = future.tied()
    if tied is not None:
        if found and not asked.quantiles and asked.paths is None:
            return found
        text = f"{future.model.name} cannot forecast: rows ahead are drawn in order, which a factor has none of"
        text += f" (line {tied.span.line}): write it as a density, given the row before"
        raise NotImplementedError(text)
    if any(v.name not in found for v in _wanted(future)) and not rows.factorised and not rows.drawn:
        found = {**moments(future, rows), **found}
    if enough(future, found, asked):
        return found
    paths, together = by_paths(future, rows, asked)
    out = {}
    for v in _wanted(future):
        out[v.name] = found.get(v.name)
        if v.name not in found:
            out[v.name] = summary(v, paths[v.name], together, asked.quantiles or QUANTILES, _levels(future, v))
        elif isinstance(out[v.name], Mapping):
            out[v.name] = {**found[v.name], "quantiles": quantiles_of(paths[v.name], asked.quantiles or QUANTILES)}
    return out


def _levels(future: Future, v: Variable) -> int | None:
    """How many values a state has; None of a number."""
    if not is_state(v):
        return None
    size = v.domain.levels
    return 2 if size is None else int(size.value(future.data.sizes)) if isinstance(size, Dim) else None


def by_paths(future: Future, rows: Seen, asked: Asked) -> tuple[dict[str, Array], int]:
    """Paths of the rows ahead, and how many in a row have starts that may be alike."""
    rng = np.random.default_rng(0 if asked.seed is None else asked.seed)
    count = asked.paths
    if count is None:
        widest = max((a.size // max(1, _length(future, v)) for v, a in _arrays(future)), default=1) * future.steps
        count = int(np.clip(MOST_HELD // max(1, widest), 2 * MIN_PATHS, PATHS))
    starts = _starts(future, rows, count, rng)
    return simulate(future, starts, count, rng), starts.together


def _arrays(future: Future) -> list[tuple[Variable, Array]]:
    return [(v, future.data.values[v.name]) for v in future.on_plate(future.model) if v.name in future.data.values]


def _length(future: Future, v: Variable) -> int:
    """Rows of one sequence, on average."""
    name = size_name(next(p.size for p in v.plates if future.goes_on(p)))
    if name in future.data.ragged:
        return max(1, int(future.data.ragged[name].lengths.mean())) if len(future.data.ragged[name].lengths) else 1
    return int(future.data.sizes[name])


def _starts(future: Future, rows: Seen, count: int, rng: np.random.Generator) -> Starts:
    """Draws of what rows ahead read: from probabilities or families where these are to be had, else all latents'."""
    reads = frontier(future, future.on_plate(future.model))
    if reads is not None and not rows.drawn:
        found = weights(future, reads, rows) or marginal(future, reads, rows, rows.families())
        if found is not None:
            return found.draws(count, rng)
    if reads is None:
        text = f"{future.model.name} cannot forecast: an index of a latent does not say how many rows back it reads"
        raise NotImplementedError(text)
    return _from_draws(future, reads, rows, count, rng)


def _from_draws(future: Future, reads: Sequence[Read], rows: Seen, count: int, rng: np.random.Generator) -> Starts:
    made = rows.model if rows.drawn else rows.model.drawn_together()
    if made is None:
        names = ", ".join(dict.fromkeys(r.name for r in reads))
        text = f"{future.model.name} cannot forecast: rows ahead read {names}, which no sampler draws together"
        raise NotImplementedError(text)
    module, again = made.module, max(1, -(-count // MOST_DRAWS))
    with np.errstate(all="ignore"):
        prepared = module.prepare(rows.data, module.reference(rows.data))
        draws = draws_by_name(module, rows.params, rows.data, prepared, rows.state, -(-count // again), rng)
    found = {r: row_of(draws[r.name], future, future.model.variable(r.name), r.lag, rows.data, 1) for r in reads}
    return Starts(found, again, again * max(1, int(np.sqrt(count // again))))
