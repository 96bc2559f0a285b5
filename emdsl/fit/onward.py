"""The fitter's rows ahead: by the posterior of unseen rows, in the model for them, by moments or by paths."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from emdsl.errors import ModelError
from emdsl.fit.ahead.forecasts import Seen, asked_of, completed, enough
from emdsl.fit.ahead.future import Future
from emdsl.fit.gaps import unseen
from emdsl.fit.imputed import Imputed, settled, warn_of_moments
from emdsl.fit.missing import read_ahead, renamed
from emdsl.fit.tied import tied
from emdsl.fit.variants import Variant
from emdsl.runtime.data import faults
from emdsl.runtime.data.binding import Bound
from emdsl.runtime.fitting.estimator import Estimator
from emdsl.runtime.fitting.forecast import ahead, ordered_plates, unknown_ahead


class Onward(Estimator):
    """An estimator that forecasts by whichever variant of its model knows the rows ahead."""

    _variant: Variant  # what the data last met are fitted by
    _fitted: Variant  # what the last fit used

    def _use(self, variant: Variant) -> None:
        """Take over the module of a variant of the model."""
        self._variant, self._module = variant, variant.current.module

    def _ahead(
        self, module: Any, bound: Bound, steps: int, givens: Mapping[str, Any], more: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Latents and observed variables: by the posterior of unseen rows, by moments that recur, or by paths.

        Observations that later rows read are latents of the rows ahead, in the completed model, where that is exact.
        """
        asked, here = asked_of(**more), bound
        if "_training" in self.__dict__ and bound is self._training[0]:
            self._use(self._fitted)  # new data may have been met since
            module = self._module
        if self._variant.tied is not None:
            module = self._variant.complete.module
            bound = renamed(self._variant.tied.written, self._variant.completed, module.SPEC)
        plates = frozenset(ordered_plates(module.SPEC))
        longer = ahead(module.SPEC, bound, steps, givens, module.default_givens)
        drawn = hasattr(module, "climb_by_draws")
        try:
            found = {} if drawn or self._learned() else self._unseen_rows(module, bound, steps, givens)
        except faults.DataError as error:
            if error.code != "D022":
                raise
            found = {}  # more configurations than are enumerated, with the rows ahead
        whole = self._variant.complete
        future = Future(whole.resolved, plates, int(steps), longer, self.params_)
        if enough(future, found, asked):
            return found
        state = self._training[2:] if "_training" in self.__dict__ and here is self._training[0] else self._learned()
        posterior = {} if drawn else self._ask("posterior", self.params_, here, self._prepare(here), *state)
        draws = state[0] if drawn and state else None
        return completed(
            future, Seen(whole, self.params_, bound, posterior, bool(self._learned()), drawn, draws), found, asked
        )

    def _unseen_rows(self, module: Any, bound: Bound, steps: int, givens: Mapping[str, Any]) -> dict[str, Any]:
        """What is exact as the posterior of rows that nobody has seen; nothing where that has no exact posterior."""
        read = read_ahead(module.SPEC)
        if read:
            module, bound = self._completed_for(read, module, bound)
        if unknown_ahead(module.SPEC):
            return {}
        names = tuple(sorted({*self._variant.completed, *read}))
        by_runs = self._tied_ahead(names, bound, steps, givens)
        longer, posterior = by_runs or self._continued(module, bound, steps, givens)
        out = self._last(module, longer, posterior, int(steps))
        whole = self._variant._replace(completed=names).complete
        for v in module.SPEC["variables"]:
            on = {p[1].split("[")[0] for p in v["plates"]} & set(module.SPEC["steps"])
            if v["kind"] != "observed" or not on or v.get("data_of") or v["name"] in out:
                continue
            copied = whole.with_copy(v["name"])
            if copied is not None:
                rows = self._last(copied.module, *self._continued(copied.module, bound, steps, givens), int(steps))
                copy = rows.get(unseen(v["name"]), {"mean": None})  # one without noise is no latent
                if not isinstance(copy, Mapping) or {"var", "cov"} & set(copy) or "mean" not in copy:
                    out[v["name"]] = copy  # else a family whose posterior does not tell its variance
        return out

    def _tied_ahead(
        self, names: tuple[str, ...], bound: Bound, steps: int, givens: Mapping[str, Any]
    ) -> tuple[Bound, Mapping[str, Any]] | None:
        """See `_continued`: where rows ahead, of which these variables are missing, are runs tied by gaps."""
        whole, current = self._variant.whole, self._variant._replace(completed=names).complete
        longer = ahead(current.module.SPEC, bound, steps, givens, current.module.default_givens)
        found = tied(whole, current, names, longer)
        if found is None:
            return None
        made = self._variant._replace(tied=found).current.module
        prepared = self._ask("prepare", found.data, self._ask("reference", found.data, of=made), of=made)
        return longer, found.posterior(self._ask("posterior", self.params_, found.data, prepared, of=made))

    def _completed_for(self, names: tuple[str, ...], module: Any, bound: Bound) -> tuple[Any, Bound]:
        """The module in which unseen entries of these are latents, and the data as it has them; else what there is."""
        try:
            whole = self._variant._replace(completed=tuple(sorted({*self._variant.completed, *names}))).complete
        except ModelError:
            return module, bound
        if whole.derived.drawn:  # a sample of the rows ahead: moments that recur, and paths, are better
            return module, bound
        return whole.module, renamed(bound, names, whole.module.SPEC)

    def _of_entries(self, found: Mapping[str, Any], params: Any, bound: Bound, *state: Any) -> dict[str, Any]:
        """The posteriors of missing entries that the likelihood leaves out."""
        return Imputed(self._ask, self._variant, params, bound).told(found, *state)

    def _of_latents(self, module: Any, names: Iterable[str], params: Any, bound: Bound) -> dict[str, Any]:
        """The posteriors of some latents in a module of the same model; moments by points of a quadrature that more of
        these move are NaN, and said to be: times behind a frailty may have no variance."""
        prepared = self._ask("prepare", bound, self._ask("reference", bound, of=module), of=module)
        told = self._ask("posterior", params, bound, prepared, of=module)
        found = {n: told[n] for n in sorted(names) if n in told}
        if "finer" not in vars(module):
            return found
        finer = self._ask("posterior", params, bound, self._ask("finer", prepared, of=module), of=module)
        out = {n: settled(told, finer[n], np.nan) for n, told in found.items()}
        for n, a in out.items():
            warn_of_moments(n, a)
        return out
