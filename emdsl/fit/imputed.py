"""What is known of missing entries on which nothing depends: their likelihood leaves them out, a user asks for them.

Given the latents they are independent of what was seen, and have the posterior of an unseen copy of their variable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from emdsl.fit.ahead.forecasts import Seen
from emdsl.fit.few import too_many
from emdsl.fit.gaps import may_stand_still, no_mean, no_variance, seen, unseen
from emdsl.fit.over_draws import over_draws
from emdsl.fit.tied import tied
from emdsl.fit.variants import CompiledModel, Variant
from emdsl.runtime.data.binding import Bound
from emdsl.runtime.data.faults import say
from emdsl.runtime.fitting.answers import DISCRETE

Array = np.ndarray[Any, np.dtype[Any]]
POINTS, FINER = (61, 21), (161, 31)  # of quadrature in one dimension, and in each of two
ROUNDING = 1e-9  # of a squared mean: a variance that is less is that of one number
SETTLED = 1e-3  # of its size: how far a moment may move with more points and be told


class Entries(NamedTuple):
    """An observed variable with missing entries: its record of the module, values, and which of them were seen."""

    variable: Mapping[str, Any]
    values: Array
    mask: Array

    @property
    def name(self) -> str:
        return str(self.variable["name"])

    def filled(self, told: Any) -> Any:
        """Moments or probabilities of all elements, of those that were seen their values."""
        mask, values = self.mask, self.values
        if not isinstance(told, Mapping):
            return np.where(mask[..., None], values[..., None] == np.arange(told.shape[-1]), told)
        out: dict[str, Array] = {}
        for n, a in told.items():
            both = mask[..., None] | mask[..., None, :] if n == "cov" else mask
            known = {"mean": values, "E[cos]": np.cos(values), "E[sin]": np.sin(values)}.get(n, 0.0)
            out[n] = np.where(both, known, a)
        return out

    def warn(self, told: Any) -> None:
        """Says of which entries there is no mean, or that their variance is not finite."""
        if not isinstance(told, Mapping):
            return
        spread = told.get("var", np.einsum("...ii->...i", told["cov"]) if "cov" in told else told["mean"])
        for a, lacks in (
            (told["mean"], "have no mean: their tails are too heavy"),
            (spread, "have no finite variance"),
        ):
            none = ~np.isfinite(a) & ~self.mask
            if none.any():
                text = f"{self.name}: {int(none.sum())} missing entries, the first in row {np.argwhere(none)[0][0]}, "
                say(text + lacks)
                return


def left_out(variables: Iterable[Mapping[str, Any]], bound: Bound, known: Mapping[str, Any]) -> list[Entries]:
    """The observed variables that have missing entries and no posterior of their own."""
    return [
        Entries(v, bound.values[v["name"]], np.asarray(mask)) for v in variables
        if v["kind"] == "observed" and not v.get("data_of") and v["name"] not in known
        and (mask := bound.masks.get(v["name"])) is not None and not np.all(mask)
    ]  # fmt: skip


def own_moments(entries: Entries, posterior: Mapping[str, Any]) -> Any:
    """What the posterior of an unseen copy tells; None where it has no variance, or of a number no mean."""
    copy = posterior.get(unseen(entries.name))
    if copy is None or not isinstance(copy, Mapping):
        return copy if entries.variable["domain"] in DISCRETE else None
    if "mean" in copy:
        kept = {n: copy[n] for n in ("mean", "var", "cov") if n in copy}
        return kept if len(kept) > 1 else None
    if "E[cos]" not in copy:
        return None
    return {"mean": np.arctan2(copy["E[sin]"], copy["E[cos]"]), **copy}


def gaussian_moments(entries: Entries, posterior: Mapping[str, Any], noise: float) -> Any:
    """Those of a copy by moments, of whose variance `noise` is its own alone."""
    copy = posterior.get(unseen(entries.name))
    if not isinstance(copy, Mapping) or "mean" not in copy:
        return None
    if entries.variable["domain"] == "bool":
        return np.stack([1 - copy["mean"], copy["mean"]], -1)
    told = {"mean": np.asarray(copy["mean"])}
    if "cov" in copy:
        told["cov"] = copy["cov"] - noise * np.eye(copy["cov"].shape[-1])
        spread = np.einsum("...ii->...i", told["cov"])
        spread[...] = np.maximum(spread, 0.0)
    else:
        told["var"] = np.maximum(copy["var"] - noise, 0.0)
    lost, wide = (posterior.get(n(entries.name)) for n in (no_mean, no_variance))
    if lost is not None and wide is not None:
        for n, a in told.items():
            none = np.asarray((lost if n == "mean" else wide)["mean"]) > 0
            none = none.reshape(*none.shape, *(1,) * (a.ndim - none.ndim))
            told[n] = np.where(none, np.nan if n == "mean" else np.inf, a)
        told = {n: np.where(np.isnan(told["mean"]), np.nan, a) if n == "var" else a for n, a in told.items()}
    return told


def settled(coarse: Any, fine: Any, wide: float = np.inf) -> Any:
    """Moments by points, where more of these move them NaN for a mean and `wide` for a variance: they are not finite,
    or no points tell them."""
    if coarse is None or fine is None or not isinstance(fine, Mapping):
        return fine
    mean, out = np.abs(np.asarray(fine.get("mean", 0.0))), dict[str, Array]()
    for n in sorted(fine, key="mean".__eq__):  # the last: a deviation that moves is no size
        a, size = fine[n], np.abs(fine[n])
        if n == "var":
            size = size + ROUNDING * mean**2
        if n == "mean" and "var" in out:
            size = size + np.where(np.isfinite(out["var"]), np.sqrt(np.abs(fine["var"])), 0.0)
        out[n] = np.where(np.abs(a - coarse[n]) <= SETTLED * size, a, np.nan if n == "mean" else wide)
    return {n: out[n] for n in fine}


def warn_of_moments(name: str, told: Any) -> None:
    """Says of which elements of a latent points of a quadrature tell no mean, or no variance."""
    if not isinstance(told, Mapping):
        return
    for n, words in (("mean", "mean"), ("var", "variance"), ("cov", "covariance")):
        none = ~np.isfinite(told[n]) if n in told else np.zeros(0, bool)
        if none.any():
            at = ", ".join(map(str, np.argwhere(none)[0]))
            text = f"{name}: {int(none.sum())} elements, the first at {at}, have tails so heavy that the {words}"
            say(f"{text} is infinite, or no points of a quadrature tell it")
            return


@dataclass(frozen=True)
class Imputed:
    """Posteriors of missing entries at parameters: `ask` calls a function of a module, as an estimator does.

    bound : the data as the variant's module takes them.
    """

    ask: Callable[..., Any]
    variant: Variant
    params: Any
    bound: Bound

    @property
    def data(self) -> Bound:
        """As they are written, where the module is of rows that gaps tie."""
        return self.bound if self.variant.tied is None else self.variant.tied.written

    def told(self, found: Mapping[str, Any], *state: Any) -> dict[str, Any]:
        """By name, of the variables that have no posterior in `found`; `state` is that of latents that are drawn."""
        out = self.held(found)
        whole = self.variant.complete if self.variant.tied is None else self.variant.whole
        for missing in left_out(whole.module.SPEC["variables"], self.data, found):
            drawn, factorised = bool(whole.derived.drawn), bool(whole.derived.elimination.parts)
            told = None if drawn or factorised else self.by_copies(whole, missing)
            if told is None:
                draws = state[0] if drawn and state else None
                rows = Seen(whole, self.params, self.data, found, factorised, drawn, draws)
                told = over_draws(rows, missing.name, missing.mask)
            if told is not None:
                out[missing.name] = missing.filled(told)
                missing.warn(out[missing.name])
        return out

    def held(self, found: Mapping[str, Any]) -> dict[str, Any]:
        """What may be missing cell by cell: of those that were seen the value and no variance, to the last digit."""
        out = {}
        for name in self.variant.completed:
            data = next((n for n in (name, seen(name)) if n in self.data.values), name)
            told, mask = found.get(name), self.data.masks.get(data)
            if mask is None or not isinstance(told, Mapping) or "mean" not in told or "var" not in told:
                continue
            if np.shape(told["var"]) == np.shape(mask):
                spread = np.where(mask, 0.0, np.maximum(told["var"], 0.0))
                out[name] = {**told, "mean": np.where(mask, self.data.values[data], told["mean"]), "var": spread}
        return out

    def by_copies(self, whole: CompiledModel, missing: Entries) -> Any:
        """What unseen copies of a variable tell: its own family exactly, its moments, its own family at points."""
        name = missing.name
        told = own_moments(missing, self.posterior(whole.with_copy(name)))
        if told is not None:
            return told
        noise = float(may_stand_still(whole.resolved.variable(name).domain))
        told = gaussian_moments(missing, self.posterior(whole.with_copy(name, by_moments=True, points=POINTS)), noise)
        if told is not None:
            return told
        coarse, fine = (own_moments(missing, self.posterior(whole.with_copy(name, points=k))) for k in (POINTS, FINER))
        return settled(coarse, fine)

    def posterior(self, copied: CompiledModel | None) -> Mapping[str, Any]:
        """In the model with a copy; nothing where there is none for these data."""
        if copied is None or too_many(copied.derived, self.data):
            return {}
        if self.variant.tied is None:
            return self.of_module(copied.module, self.data)
        names = self.variant.tied.runs.lags.names
        current = copied.complete(names) if self.variant.completed else None
        runs = tied(copied, current, names, self.data)
        by_runs = None if runs is None else copied.by_runs(runs.runs.lags, runs.runs.patterns)
        if runs is None or by_runs is None:
            return {}
        return runs.posterior(self.of_module(by_runs.module, runs.data))

    def of_module(self, module: Any, data: Bound) -> Mapping[str, Any]:
        prepared = self.ask("prepare", data, self.ask("reference", data, of=module), of=module)
        found: Mapping[str, Any] = self.ask("posterior", self.params, data, prepared, of=module)
        return found
