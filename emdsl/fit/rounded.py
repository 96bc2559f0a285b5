"""Fits of which rounding takes digits: the same model with a multiplier for each Gaussian density is tried, and taken
where it has another likelihood."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import numpy as np

from emdsl.errors import DataError
from emdsl.fit.onward import Onward
from emdsl.fit.variants import Variant
from emdsl.runtime.data import faults
from emdsl.runtime.data.arguments import Translated
from emdsl.runtime.data.binding import Bound
from emdsl.runtime.fitting.climbs import Climb, Setup, evaluate
from emdsl.runtime.fitting.rounding import BLURRED_VARIANCES, DOUBTFUL, Lost, noted, taken, told


class Rounded(Exception):
    """Rounding has taken digits of a fit, or all of them (`first` is what it then ended in), that the same model with
    multipliers has; what weights count there."""

    def __init__(self, multiplied: str, first: Exception | None = None) -> None:
        super().__init__()
        self.multiplied, self.first = multiplied, first


class ByMultipliers(Onward):
    """An estimator that turns to the variant of its model with multipliers where digits are lost without."""

    _trying = False  # whether a fit may turn to it
    _weighed = False  # whether the rows of the data have weights
    as_printed = False  # whether none may: what a fit says is then of the module that is printed

    def _either(self, fit: Callable[[], Any]) -> None:
        """A fit; where rounding takes digits of it the same with multipliers, unless that fails."""
        self._trying = not self.as_printed
        try:
            fit()
        except Rounded as lost:
            self._trying, before = False, self._fitted
            self._use(before._replace(multiplied=lost.multiplied))
            self._fitted = self._variant
            try:
                fit()
            except (faults.DataError, faults.DegenerateFit, DataError):
                if lost.first is not None:
                    raise lost.first from None
                self._fitted = before  # with few digits then, which is told
                self._use(before)
                fit()
        finally:
            self._trying = False

    def _climb_all(self, setup: Setup, start: Any) -> tuple[list[Climb], bool]:
        own = getattr(setup.module, "DataError", faults.DataError)  # a module has a class of its own
        with Translated((own,), self._fault):
            return super()._climb_all(setup, start)

    def _prepare(self, bound: Bound) -> Mapping[str, Any]:
        self._weighed = bound.weights is not None
        return super()._prepare(bound)

    def _rounding(self, setup: Setup, best: Climb) -> tuple[str, bool]:
        """See `Estimator._rounding`; where multipliers tell another likelihood, the fit is made with these."""
        turned = self._variant.multiplied
        lost = taken(self._under(setup, self._variant._replace(multiplied="")) if turned else setup, best)
        if lost and not turned:
            self._turn_where_lost(setup, best.params, lost)
        if lost and turned:
            lost = lost._replace(of_variances=noted(setup, best.params).of_variances)
        return told(setup, best, lost)

    def _under(self, setup: Setup, other: Variant) -> Setup:
        """The same fit under another variant of its model."""
        module = other.current.module
        return setup._replace(module=module, prepared=self._ask("prepare", setup.data, self._reference, of=module))

    def _look_at_start(self, setup: Setup, start: dict[str, Any]) -> None:
        """A start from which rounding leads elsewhere may leave nothing to be seen at its end."""
        if self._with_multipliers() is not None and (lost := noted(setup, start)).missed:
            self._turn_where_lost(setup, start, lost)

    def _turn_where_lost(self, setup: Setup, params: dict[str, Any], lost: Lost) -> None:
        """Raises `Rounded` where the model with multipliers has another log-likelihood, or other variances."""
        other = self._with_multipliers()
        if other is None:
            return
        again = self._under(setup, other)
        failures = (again.module.Degenerate, again.module.DataError, np.linalg.LinAlgError)
        with suppress(*failures), np.errstate(all="ignore"):
            found = evaluate(again, params, None).log_likelihood
            if lost.of_variances > BLURRED_VARIANCES or not abs(found - lost.value) <= DOUBTFUL * (1 + abs(found)):
                raise Rounded(other.multiplied)

    def _with_multipliers(self) -> Variant | None:
        """This fit's variant with a multiplier for each Gaussian density, where there is one that it may turn to."""
        if not self._trying or self._variant.tied is not None or "LOOKED" not in vars(self._module):
            return None
        for by in ("by part", "by row"):
            found = self._variant._replace(multiplied=by)
            plan = found.current.derived
            fields = [b.field for b in plan.elimination.blocks if b.field is not None and b.field.asked]
            if not self._weighed or {any(i.dim == plan.weighted for i in f.outer) for f in fields} == {by == "by part"}:
                return found if fields else None
        return None
