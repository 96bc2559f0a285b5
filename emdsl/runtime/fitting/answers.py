"""What a fitted estimator answers: posteriors, predictions, scores, information criteria."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from emdsl.runtime.data.arguments import Translated
from emdsl.runtime.data.binding import Bound, outer_plates
from emdsl.runtime.data.columns import Array
from emdsl.runtime.data.faults import DataError, DegenerateFit
from emdsl.runtime.data.plates import nest_rows
from emdsl.runtime.data.sizes import ragged_name, size_value
from emdsl.runtime.fitting.climbs import MIXED, Climb, Setup, error_told, points_told
from emdsl.runtime.fitting.forecast import ahead, last_rows, ordered_plates, unknown_ahead
from emdsl.runtime.fitting.rounding import taken, told
from emdsl.runtime.fitting.settings import NotFitted, Settings

ELSEWHERE = "emdsl does: emdsl.compile(model).fitter(init=fit.params_, max_iter=0).fit(data).forecast(steps)"
DISCRETE = ("category", "bool", "index", "count")


def outer_units(spec: Mapping[str, Any], lies: Mapping[str, Sequence[str]], bound: Bound) -> list[Bound | None]:
    """The data of each of the outermost groups alone, None where it has none.

    lies : plate -> the plate that its elements lie in, and the given that says which of them.
    """
    top = next(above for above, _ in lies.values() if above not in lies)
    unit = {top: np.arange(bound.sizes[top])}
    while len(unit) <= len(lies):
        unit |= {dim: unit[above][bound.values[at]] for dim, (above, at) in lies.items() if above in unit}
    observed = {v["plates"][0][1] for v in spec["variables"] if v["kind"] == "observed" and v["plates"]}
    plates = {v["name"]: v["plates"][0][1] for v in spec["variables"] if v["plates"] and v["plates"][0][1] in unit}
    order = {dim: np.argsort(of, kind="stable") for dim, of in unit.items()}
    ends = {dim: np.searchsorted(of[order[dim]], np.arange(bound.sizes[top] + 1)) for dim, of in unit.items()}
    parts: list[Bound | None] = []
    for n in range(bound.sizes[top]):
        rows = {dim: order[dim][ends[dim][n] : ends[dim][n + 1]] for dim in unit}
        values = {name: a[rows[plates[name]]] if name in plates else a for name, a in bound.values.items()}
        masks = {k: a[rows[plates[k]]] if a is not None and k in plates else a for k, a in bound.masks.items()}
        for above, at in lies.values():
            values[at] = np.searchsorted(rows[above], values[at])
        sizes = {**bound.sizes, **{dim: len(of) for dim, of in rows.items()}}
        some = any(len(rows[dim]) for dim in observed & set(rows))
        parts.append(bound._replace(sizes=sizes, values=values, masks=masks, weights=None) if some else None)
    return parts


class Answers(Settings):
    """Questions put to the parameters of a fit; data are given as to `fit`, options by keyword."""

    def _see(self, data: Any, **beside: Any) -> tuple[Bound, Mapping[str, Any]]:
        raise NotImplementedError

    def _fault(self, error: DataError) -> Exception:
        """The exception that users see for wrong data; emdsl's own fitter has its own kind."""
        return error

    def _told(self) -> Translated:
        """A context in which faults are raised as users see them, numbers out of range and memory among them."""
        return Translated((DataError, ArithmeticError, MemoryError), self._as_fault)

    def _as_fault(self, error: Exception) -> Exception:
        if isinstance(error, DataError):
            return self._fault(error)
        if isinstance(error, MemoryError):
            hint = "pass smaller sizes, or fewer rows"
            return self._fault(DataError(f"there is not memory enough: {error}", hint=hint, code="D043"))
        hint = "a number of the model, or what one is divided by, is 0 or out of range"
        return self._fault(DataError(f"the model cannot be evaluated: {error}", hint=hint, code="D015"))

    def _collapse(self, message: str) -> Exception:
        """The exception that users see for a matrix that cannot be inverted outside of any climb."""
        return DegenerateFit(message)

    def _ask(self, function: str, *arguments: Any, of: Any = None) -> Any:
        """A function of the generated module; log 0 and overflow are numbers there, not warnings."""
        module = self._module if of is None else of
        own = getattr(module, "DataError", DataError)  # a loaded module's own copy of the class
        try:
            with np.errstate(all="ignore"):
                return getattr(module, function)(*arguments)
        except own as error:
            raise DataError(error.message, error.hint, error.code, error.row) from None
        except module.Degenerate as error:
            told = "a given or a number of the model makes a variance 0, unless a parameter has collapsed"
            raise self._collapse(f"{error.message} ({told})") from None

    def _of_points(self, setup: Setup, best: Climb) -> str:
        """What twice the points of a fit's quadratures change, in words; where it is hurried, when it is asked for."""
        self.__dict__.pop("quadrature_error_", None)  # that of a fit before this one
        self._error = partial(error_told, setup, best)
        return "" if self.hurried else points_told(setup, self.quadrature_error_)

    def _rounding(self, setup: Setup, best: Climb) -> tuple[str, bool]:
        """What rounding has taken of a fit, in words; whether of its log-likelihood, or chains have hardly mixed."""
        words, blurred = told(setup, best, taken(setup, best))
        rhats = (best.report or {}).get("rhat", {}).values() if best.status == "converged" else ()
        return words, blurred or any(r > MIXED for r in rhats)

    # -------------------------------------------------------------- posteriors

    @property
    def posterior_(self) -> dict[str, Any]:
        """The posterior at `params_` given the data of the fit; computed when first asked for."""
        if "_posterior" not in self.__dict__:
            self.params_  # noqa: B018  (not fitted: says so)
            self._posterior = self._nested(self._ask("posterior", self.params_, *self._training), self._training[0])
        return self._posterior

    def posterior(self, data: Any, **beside: Any) -> dict[str, Any]:
        """Moments of each latent's posterior at `params_` given new data.

        Discrete latents: probabilities, (N, K) for a category, (N, 2) for a bool. Gaussian ones: a
        dict with mean and cov or var. Others: mean and the family's parameters. Lists on ragged plates.
        """
        bound, prepared = self._see(data, **beside)
        return self._nested(self._moments(bound, prepared), bound)

    def _moments(self, bound: Bound, prepared: Mapping[str, Any]) -> Mapping[str, Any]:
        """Posteriors of new data; of a fit that was read, DataError where its factors are none of this model's."""

        def foreign(error: Exception) -> Exception:
            text = f"the fit's factors of q are none of this model's: {error} is lacking, or has another shape"
            return self._fault(error if isinstance(error, DataError) else DataError(text, code="D020"))

        read = (KeyError, IndexError, TypeError, ValueError) if "_training" not in self.__dict__ else ()
        with Translated(read if self._learned() else (), foreign):
            found: Mapping[str, Any] = self._ask("posterior", self.params_, bound, prepared, *self._learned())
        return found

    def _learned(self) -> tuple[Any, ...]:
        """Where q is factorised: (no factors of the new data yet, those of the fit)."""
        learned = self.__dict__.get("factors_")
        return () if learned is None else (None, learned)

    def _nested(self, posterior: Mapping[str, Any], bound: Bound) -> dict[str, Any]:
        """Ragged plates as nested lists, by the plates of each variable."""
        plates = {v["name"]: [p[1] for p in v["plates"]] for v in self._module.SPEC["variables"]}

        def nested(name: str, value: Any) -> Any:
            if isinstance(value, Mapping):
                return {n: nested(name, v) for n, v in value.items()}
            return nest_rows(np.asarray(value), plates.get(name, []), bound.ragged, bound.sizes)

        return {name: nested(name, value) for name, value in posterior.items()}

    def predict_proba(self, data: Any, **beside: Any) -> Any:
        """Posterior probabilities of the discrete latent, (N, K); lists on ragged plates, a dict where several."""
        posterior = self.posterior(data, **beside)
        names = self._discrete([n for n, value in posterior.items() if not isinstance(value, Mapping)])
        return posterior[names[0]] if len(names) == 1 else {n: posterior[n] for n in names}

    def predict(self, data: Any, **beside: Any) -> Any:
        """The most probable value of the discrete latent, as integers; where elements are tied (a chain's path, a
        tree), the jointly most probable configuration of all discrete latents, by factors of q under these; beside a
        quadrature, each by itself.

        A list of arrays on ragged plates, a dict by name where there are several discrete latents.
        """
        bound, prepared = self._see(data, **beside)
        if hasattr(self._module, "most_probable"):
            found = self._ask("most_probable", self.params_, bound, prepared, *self._learned())
        else:
            posterior = self._moments(bound, prepared)
            found = {n: np.argmax(p, -1) for n, p in posterior.items() if not isinstance(p, Mapping)}
        names = self._discrete(found)
        nested = self._nested({n: np.asarray(found[n]) for n in names}, bound)
        return nested[names[0]] if len(names) == 1 else nested

    def _discrete(self, known: Any) -> list[str]:
        latents = [
            v["name"] for v in self._module.SPEC["variables"] if v["kind"] == "latent" and v["domain"] in DISCRETE
        ]
        names = [n for n in latents if n in known]
        if not names:
            raise NotImplementedError(
                f"{self._module.SPEC['model']} has no discrete latent to predict; see posterior(data)"
            )
        return names

    # -------------------------------------------------------------- scores

    def score_samples(self, data: Any, **beside: Any) -> Array:
        """The log-likelihood of each unit of the outermost observed plate, at `params_`; shape (N,).

        Where its rows share latents of another plate, through an index, of each element of that plate; where these lie
        in groups in the same way, of each of the outermost groups. DataError where it is no sum over these either.
        """
        bound, prepared = self._see(data, **beside)
        try:
            return np.asarray(self._ask("log_likelihood_rows", self.params_, bound, prepared))
        except DataError as error:
            lies = self._module.SPEC.get("units")
            if error.code != "D021" or not lies or hasattr(self._module, "climb_by_draws"):
                raise self._fault(error) from None
            scores = [self._log_likelihood(part) for part in outer_units(self._module.SPEC, lies, bound)]
            whole = self._log_likelihood(bound._replace(weights=None))
            if not np.isclose(sum(scores), whole, rtol=1e-8, atol=1e-8):  # something ties them after all
                raise self._fault(error) from None
            return np.array(scores)

    def _log_likelihood(self, bound: Bound | None) -> float:
        """Of these data, 0.0 of none."""
        if bound is None:
            return 0.0
        return float(self._ask("e_step", self.params_, bound, self._prepare(bound))["log_likelihood"])

    def score(self, data: Any, sample_weight: Any = None, **beside: Any) -> float:
        """The mean log-likelihood per unit of the outermost observed plate, at `params_`."""
        bound, prepared = self._see(data, sample_weight=sample_weight, **beside)
        try:
            rows = np.asarray(self._ask("log_likelihood_rows", self.params_, bound, prepared))
        except DataError as error:  # no sum over rows (D021): what there is is the total
            if hasattr(self._module, "climb_by_draws"):
                raise self._fault(error) from None
            total = float(self._ask("e_step", self.params_, bound, prepared)["log_likelihood"])
            return total / self._units(bound)
        if bound.weights is None:
            return float(rows.sum() / self._units(bound))
        return float(np.average(rows, weights=bound.weights))

    def _units(self, bound: Bound) -> float:
        """How many units the data hold: elements of the outermost observed plate, or their weights' sum."""
        plates = outer_plates(self._module.SPEC)
        if bound.weights is not None:
            return float(bound.weights.sum())
        return float(size_value(plates[0], bound.sizes)) if plates else 1.0

    def aic(self) -> float:
        """Akaike's criterion, 2 k - 2 log L: smaller is better."""
        return float(2 * self.n_parameters_) - 2 * self._likelihood()

    def bic(self) -> float:
        """Schwarz's criterion, k log n - 2 log L, n counting the outermost observed plate: smaller is better."""
        return float(self.n_parameters_ * np.log(self.n_units_)) - 2 * self._likelihood()

    def _likelihood(self) -> float:
        if self.log_likelihood_ is None:
            text = "this fit has no log-likelihood: its E-step is a bound or a sample (see objective_)"
            raise self._fault(DataError(text, code="D021"))
        return float(self.log_likelihood_)

    # -------------------------------------------------------------- beyond the data

    def sample(self, n: int | None = None, seed: int | None = None, **beside: Any) -> dict[str, Any]:
        """Data and latents drawn from the fitted model; emdsl's own fitter does this."""
        if not hasattr(self._module, "sample"):
            raise NotImplementedError("this generated module cannot sample: use emdsl.load(path).sample(n)")
        drawn: dict[str, Any] = self._ask("sample", self.params_, self.sizes_, n, np.random.default_rng(seed))
        return drawn

    def forecast(
        self,
        steps: int,
        givens: Mapping[str, Any] | None = None,
        data: Any = None,
        *,
        quantiles: Any = None,
        paths: int | None = None,
        seed: int | None = None,
        **beside: Any,
    ) -> dict[str, Any]:
        """The next `steps` elements of every sequence at `params_`, given the data of the fit, or other `data`.

        dict variable -> as in `posterior_`, the plate of steps where the ordered plate was (ragged sequences: one
        forecast each). givens : values of givens on the ordered plate for the steps ahead, (..., steps, ...). emdsl's
        own fitter gives observed variables, too, and what has no exact moments from `paths` drawn from the model, alike
        each time (`seed`): numbers then have `se`, the standard error of their mean, and `quantiles`, an axis at the
        end. quantiles : levels, for all numbers. Raises DataError where a given is needed.
        """
        self.params_  # noqa: B018  (not fitted: says so)
        if data is None and "_training" not in self.__dict__:
            raise NotFitted(
                "forecast continues the data of a fit, which do not travel with a saved one: "
                "pass them, forecast(steps, data=...)"
            )
        bound = self._training[0] if data is None else self._see(data, **beside)[0]
        more = {"quantiles": quantiles, "paths": paths, "seed": seed}
        with self._told():
            return self._ahead(self._module, bound, steps, {} if givens is None else givens, more)

    def _ahead(
        self, module: Any, bound: Bound, steps: int, givens: Mapping[str, Any], more: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The forecast of all latents that a module has on ordered plates."""
        if any(value is not None for value in more.values()):
            raise NotImplementedError(f"a generated module draws no paths; {ELSEWHERE}")
        if self._learned():
            raise NotImplementedError(
                f"a generated module forecasts by an exact posterior, which this fit has not; {ELSEWHERE}"
            )
        if (name := unknown_ahead(module.SPEC)) is not None:
            text = f"forecast: {name} is read by other densities, and its rows ahead are not known"
            raise DataError(text, hint=ELSEWHERE, code="D009")
        return self._last(module, *self._continued(module, bound, steps, givens), int(steps))

    def _continued(
        self, module: Any, bound: Bound, steps: int, givens: Mapping[str, Any]
    ) -> tuple[Bound, Mapping[str, Any]]:
        """The data with rows ahead, and the posterior of all rows."""
        longer = ahead(module.SPEC, bound, steps, givens, module.default_givens)
        prepared = self._ask("prepare", longer, self._ask("reference", bound, of=module), of=module)
        return longer, self._ask("posterior", self.params_, longer, prepared, of=module)

    def _last(self, module: Any, longer: Bound, found: Mapping[str, Any], steps: int) -> dict[str, Any]:
        """The rows ahead of those variables that lie on ordered plates."""
        plates = ordered_plates(module.SPEC)
        known = {v["name"]: v for v in module.SPEC["variables"] if v["name"] in found}
        on = {n: v for n, v in known.items() if any((ragged_name(p[1]) or p[1]) in plates for p in v["plates"])}
        return {n: last_rows(v, found[n], longer, steps, plates) for n, v in on.items()}
