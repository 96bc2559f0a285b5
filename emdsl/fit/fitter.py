"""The estimator of a compiled model: the runtime's, with what only emdsl itself can do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np

from emdsl.derive.posteriors.configurations import asked
from emdsl.errors import DataError, EmdslError, ModelError, Problem, nearest
from emdsl.fit.again import sizes_and_givens
from emdsl.fit.apart import likelier_start
from emdsl.fit.cells import TellsMissing
from emdsl.fit.few import too_many
from emdsl.fit.identified import unidentified
from emdsl.fit.missing import LAST, are_last, has_gaps, located, renamed
from emdsl.fit.reached import of_no_row
from emdsl.fit.rings import refuse_rings
from emdsl.fit.rounded import ByMultipliers, Rounded
from emdsl.fit.tied import tied
from emdsl.fit.unsettled import Unidentified
from emdsl.fit.variants import CompiledModel, Variant
from emdsl.language.formatter import says_the_same
from emdsl.language.resized import MOST as MOST_WRITTEN
from emdsl.runtime.data import faults
from emdsl.runtime.data.arguments import by_name, seed_number
from emdsl.runtime.data.binding import Bound, outer_plates, refuse_weights
from emdsl.runtime.data.domains import parameter_numbers
from emdsl.runtime.fitting.climbs import Climb, Setup, enough_points, evaluate, is_exact
from emdsl.runtime.fitting.loop import climb
from emdsl.runtime.fitting.reach import drawn_nearer
from emdsl.runtime.fitting.storage import other_version, read_document

QUICK = 500  # elements from which on shared points are tried
SAME_POINTS = 1e-8  # two rules agree where their log-likelihoods differ by less of 1 + their size


class DegenerateError(EmdslError, faults.DegenerateFit):
    """A fit that collapsed, under `on_degenerate="raise"`: the likelihood has no maximum here."""


class Fitter(TellsMissing, ByMultipliers):
    """What `model.fitter(...)` gives; see `Estimator`. `fixed` compiles the model again with those params given."""

    def __init__(self, model: CompiledModel, **options: Any) -> None:
        self.model = model
        self._fitted = Variant(model)
        self._use(self._fitted)
        self._held: dict[str, Any] = {}
        super().__init__(**options)

    def __sklearn_clone__(self) -> Fitter:
        return type(self)(self.model, **self.get_params())

    def _repr_html_(self) -> str:
        """For a notebook: the estimates and how the fit ended, once there is one."""
        from emdsl.report.html import as_typed
        from emdsl.report.notebook import fit_html

        return fit_html(self, self._module.SPEC) if "params_" in self.__dict__ else as_typed(repr(self))

    def __getstate__(self) -> dict[str, Any]:
        return {n: v for n, v in super().__getstate__().items() if n != "_module"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._use(self._variant)

    def fit(self, data: Any, *arguments: Any, **beside: Any) -> Self:
        """See `Estimator.fit`. Missing entries are latents of their rows, where they cannot simply be left out."""
        self.__dict__.pop("_unsettled", None)
        over = beside.get("weights_over")
        over = over if isinstance(over, str) and len(outer_plates(self.model.module.SPEC)) > 1 else ""
        self._fitted = Variant(self.model, over=over)
        self._use(self._fitted)
        self._either(partial(super().fit, data, *arguments, **beside))
        self._fitted = self._variant
        if (found := self._fitted.tied) is not None:
            self.sizes_ = {n: size for n, size in self.sizes_.items() if n in found.written.sizes}
        return self

    @property
    def posterior_(self) -> dict[str, Any]:
        """See `Answers.posterior_`; new data may have been met since that another variant of the model is for."""
        self._use(self._fitted)
        return super().posterior_

    def _bind(self, data: Any, params: Any = None, **beside: Any) -> Bound:
        """Data as the model is written, compiled again where plates are written out that have other lengths here."""
        try:
            return self._bind_asked(data, params, **beside)
        except faults.WrittenOut as error:
            if any(k > MOST_WRITTEN for k in error.sizes.values()):
                hint = f"up to {MOST_WRITTEN} are; more of them are a model for `infer ... by mcmc`"
                raise faults.DataError(f"{error.message}: too many to write out", hint, error.code) from None
            self._fitted = self._fitted._replace(written=tuple(error.sizes.items()))
            return self._bind_asked(data, params, **beside)

    def _bind_asked(self, data: Any, params: Any = None, **beside: Any) -> Bound:
        """Data as the model is written, by the next way where configurations are too many to be enumerated unasked."""
        base = self._fitted._replace(completed=self._variant.completed, tied=None, absent=())  # parts are to add up
        configured = base.whole.module.SPEC.get("configurations") and not asked(base.whole.resolved)
        try:
            bound = self._bind_variant(base, data, params, **beside)
            reason = too_many(self._variant.current.derived, bound) if configured else ""
        except faults.DataError as error:
            if not configured or error.code != "D014" or base.whole.told(enumerated=False) is None:
                raise
            reason = error.message  # rows that are eliminated together have no weights: by the next way they may
        if not reason or base.whole.told(enumerated=False) is None:
            return bound
        bound = self._bind_variant(base._replace(many=True), data, params, **beside)
        choices = self._variant.current.derived.choices.values()
        ways = {c.method.partition(":")[0] for c in choices} - {"exact"}
        text = f"{reason}: by {' and '.join(sorted(ways))} instead, which is no exact posterior"
        faults.say(text)
        return bound

    def _bind_variant(self, base: Variant, data: Any, params: Any = None, **beside: Any) -> Bound:
        """Data as the model is written; where entries cannot be left out, the completed model takes over."""
        self._use(base._replace(completed=()))
        whole = base.whole
        bound = refuse_rings(whole.resolved, super()._bind(data, params, **beside))
        found = {v["name"]: v for v in self._module.SPEC["variables"] if has_gaps(v, bound.masks.get(v["name"]))}
        try:
            self._complete({*found, *base.completed})
        except ModelError as error:
            runs = tied(whole, None, tuple(sorted(found)), bound)
            if runs is None:
                raise located(error, found, bound, whole.module.SPEC) from None
            self._use(self._variant._replace(tied=runs))
            return runs.data
        completed = self._variant.completed
        bound = self._by_runs(bound)
        if completed and self._variant.tied is None:
            bound = renamed(bound, completed, self._module.SPEC)
            if bound.weighted is not None:  # rows of which all is seen may have weights where others have none
                refuse_weights(self._module.SPEC, bound.weighted)
        if self._module.SPEC.get("tails"):
            self._leave_out(bound)
        return bound

    def _by_runs(self, bound: Bound) -> Bound:
        """Where gaps would have all configurations enumerated, those of the rows that each gap ties are enough."""
        here = self._variant
        if not here.completed:
            return bound
        try:
            found = tied(here.whole, here.current, here.completed, bound)
        except faults.DataError as error:
            spec = here.whole.module.SPEC
            if all(are_last(v, bound, spec) for v in spec["variables"] if v["name"] in here.completed):
                raise faults.DataError(error.message, LAST, error.code, error.row) from None
            raise
        if found is None:
            return bound
        self._use(here._replace(tied=found))
        return found.data

    def _leave_out(self, bound: Bound) -> None:
        """Take over the model without the cases that no row of the data has, where that is exact in more latents.

        A saved fit is loaded into the model with all cases, so that both have the same reference points.
        """
        lean = self._variant._replace(absent=of_no_row(self._variant.current.derived.joint.cases, bound))
        if lean.current is not self._variant.current:
            points = [set(self._ask("reference", bound, of=m)) for m in (self._module, lean.current.module)]
            if points[0] == points[1]:
                self._use(lean)

    def _prepare(self, bound: Bound) -> Mapping[str, Any]:
        if self._variant.tied is not None:  # reference points are those of the runs that these data have
            return self._at_points(self._ask("prepare", bound, self._ask("reference", bound)))
        try:
            return super()._prepare(bound)
        except faults.DataError as error:
            spec = self._variant.whole.module.SPEC
            gaps = [v for v in spec["variables"] if v["name"] in self._variant.completed and v["name"] in bound.masks]
            if error.code == "D022" and gaps and all(are_last(v, bound, spec) for v in gaps):
                raise faults.DataError(error.message, hint=LAST, code="D022") from None
            raise

    def _ask(self, function: str, *arguments: Any, of: Any = None) -> Any:
        """A function of the module. The posterior of latents of which it has the tails alone is another module's: that
        of the model in which they are latents like the others."""
        found = super()._ask(function, *arguments, of=of)
        if function != "posterior" or of is not None:
            return found
        if self._variant.tied is not None:
            found = self._variant.tied.posterior(found)
        elif names := self._module.SPEC.get("untold"):
            kept = self._variant.current.told(tails="kept")
            found = found if kept is None else {**found, **self._of_latents(kept.module, names, *arguments[:2])}
        return {**found, **self._of_entries(found, *arguments[:2], *arguments[3:])}

    def _quick(self, setup: Setup) -> Setup | None:
        """The same fit where many elements share their points; None where that is not to be had, or not worth it."""
        modes = setup.prepared.get("the modes", {})
        many = modes and next(iter(modes.values())).shape[-1] >= QUICK
        if not many or self._variant.completed or (quick := self._variant.whole.quick) is None:
            return None
        return setup._replace(module=quick, prepared=self._ask("prepare", setup.data, self._reference, of=quick))

    def _drawn(self, setup: Setup, rng: np.random.Generator) -> dict[str, Any]:
        quick = self._quick(setup) or setup
        ask = partial(self._ask, "initial", quick.data, quick.prepared, of=quick.module)
        drawn = drawn_nearer(ask, rng, (DegenerateError, Rounded))
        tied = self._module.SPEC.get("configurations")
        return likelier_start(self._variant.current, self._ask, setup, drawn, rng) if tied else drawn

    def _climbed(self, setup: Setup, start: dict[str, Any], state: Any) -> Climb:
        """EM under shared points, taken where adapted ones have the same likelihood at its end; else EM under these."""
        if self._trying and state is None:
            self._look_at_start(setup, start)
        quick = None if state is not None or not setup.max_iter else self._quick(setup)
        if quick is None:
            return super()._climbed(setup, start, state)
        end = climb(quick, start)
        if end.failure is not None or end.status not in ("converged", "boundary", "max_iter", "interrupted"):
            return super()._climbed(setup, start, state)
        with np.errstate(all="ignore"):
            here = evaluate(setup, end.params, None)
            setup, told = enough_points(setup, end.params, here.log_likelihood)
            here = evaluate(setup, end.params, None)
        apart = abs(here.objective - end.objective)
        if not apart <= SAME_POINTS * (1 + abs(here.objective)) and (told is None or not apart <= 2 * abs(told)):
            return super()._climbed(setup, start, state)
        return end._replace(
            history=(*end.history[:-1], here.objective), log_likelihood=here.log_likelihood, prepared=setup.prepared,
            told=told,
        )  # fmt: skip

    def _complete(self, names: Iterable[str]) -> None:
        """Take over the model in which missing entries of these observed variables are latents."""
        whole = self._variant._replace(completed=())
        spec = whole.whole.module.SPEC["variables"]
        may = {v["name"] for v in spec if v.get("missing") in ("complete", "cells")}
        self._use(whole._replace(completed=tuple(sorted(may.intersection(names)))))

    def _fault(self, error: faults.DataError) -> Exception:
        wrong = DataError(Problem(error.code, error.message, hint=error.hint))
        of_table = error.of_table or error.code == "D019"  # which is said of rows before they are laid out
        wrong.row, wrong.of_table = error.row, of_table  # type: ignore[attr-defined]  # for the command line's line
        return wrong

    def _collapse(self, message: str) -> Exception:
        error = DegenerateError(Problem("D020", message))
        found = self._with_multipliers()
        return error if found is None else Rounded(found.multiplied, error)

    def _refuse_degenerate(self, best: Climb) -> None:
        try:
            super()._refuse_degenerate(best)
        except (faults.DegenerateFit, DataError) as error:
            told = error if isinstance(error, DataError) else DegenerateError(Problem("D020", str(error)))
            found = None if best.failure is None else self._with_multipliers()  # no density at its start
            raise (told if found is None else Rounded(found.multiplied, told)) from None

    def _constants(self) -> dict[str, Any]:
        return self._held

    def _hold_fixed(self, fixed: Mapping[str, Any] | None) -> None:
        """Parameters held at given values are givens: the model is compiled again with them as such."""
        fixed = by_name({} if fixed is None else fixed, "fixed", "values")
        known = [v["name"] for v in self.model.module.SPEC["variables"] if v["kind"] == "param"]
        for name in fixed:
            if name not in known:
                guess = nearest(name, known)
                hint = f"did you mean {guess}?" if guess else None
                raise faults.DataError(f"fixed: the model has no parameter {name}", hint=hint, code="D002")
        self._held = {n: parameter_numbers(n, v) for n, v in fixed.items()}
        if (names := tuple(sorted(fixed))) != self._fitted.held:
            self._fitted = self._fitted._replace(held=names)
            self._use(self._fitted)

    def sample(self, n: int | None = None, seed: int | None = None, **beside: Any) -> dict[str, Any]:
        """Data and latents drawn from the fitted model, as arrays by name.

        n : elements of the outermost plate, left out: as many as were fitted. data : the givens, by
        name, where the model has some (left out: those of the fit, which has n elements then). Lengths
        of ragged plates are those of the fit, drawn again with replacement where no given has them.
        Raises DataError where the givens are of another length, or point past the end of their plate.
        """
        if "params_" not in self.__dict__:
            self.params_  # noqa: B018  (not fitted: says so)
        bound = self._training[0] if "_training" in self.__dict__ else None
        spec, asked = self._module.SPEC, beside.get("data")
        if (found := self._variant.tied) is not None:
            bound, spec = bound and found.written, self._variant.whole.module.SPEC
        try:
            rng = np.random.default_rng(seed_number(seed))
            sizes, data = sizes_and_givens(spec, self.sizes_, bound, n, asked, rng)
        except faults.DataError as error:
            raise self._fault(error) from None
        if asked is None and data is not None:
            data = {k: v for k, v in data.items() if k not in self._held}
        return self.model.sample(self.params_, sizes, int(rng.integers(2**63)), data)

    @property
    def unidentified_(self) -> tuple[Unidentified, ...] | None:
        """What the data of the fit do not settle, each with its `params`, `directions` and, printed, a sentence.

        () where all is settled; None where that is not looked at: after a load, where the posterior is drawn or
        approximate, and where it would take long, by work that is counted: `unidentified_note_` says which. It costs
        two steps of EM for each free number, when first asked for.
        """
        found = self._looked_at()
        return None if isinstance(found, str) else found

    @property
    def unidentified_note_(self) -> str:
        """Why `unidentified_` is None; "" where it is not."""
        found = self._looked_at()
        return found if isinstance(found, str) else ""

    def _looked_at(self) -> tuple[Unidentified, ...] | str:
        if "params_" not in self.__dict__:
            self.params_  # noqa: B018  (not fitted: says so)
        if "_unsettled" not in self.__dict__:
            self._unsettled = self._not_looked_at() or unidentified(
                Setup(self._module, *self._training[:2], 1, 0.0, "raise"),
                {n: v for n, v in self.params_.items() if n not in self._held},
            )
        return self._unsettled

    def _not_looked_at(self) -> str:
        if len(self.__dict__.get("_training", ())) != 2:
            return "a fit that was loaded has no data"
        if not is_exact(self._module):
            return "the objective is a bound or drawn, and its steps of EM are not those of the likelihood"
        return f"the fit is {self.status_}" if self.status_ in ("degenerate", "interrupted") else ""

    def document(self) -> dict[str, Any]:
        """The fit with its model's text, so that `emdsl.load` needs nothing else."""
        from emdsl import __version__

        here, fitted = self._variant, self._fitted._replace(tied=None, absent=())  # what is of its data alone
        self._use(fitted)
        try:
            return {
                **super().document(),
                "source": self.model.text,
                "infer": dict(self.model.infer or {}),
                "fixed": list(fitted.held),
                "completed": list(fitted.completed),
                "many": fitted.many,
                "multiplied": fitted.multiplied,
                "emdsl_version": __version__,
            }
        finally:
            self._use(here)

    def restore(self, path: Any) -> Self:
        """Take over a saved fit of this model, parameters that were fixed included."""
        try:
            saved = read_document(path)
            if not says_the_same(saved.get("source", self.model.text), self.model.text):
                raise other_version(self._module.SPEC["model"], "its densities")
            held = {n: saved["params"][n] for n in saved.get("fixed") or () if n in saved["params"]}
            self.set_params(fixed=held or None)
            self._hold_fixed(held)
            more = (bool(saved.get("many")), saved.get("multiplied") or "")
            sizes = saved["sizes"]
            written = self._module.SPEC.get("written_out", {})
            other = tuple((n, sizes[n]) for n, k in written.items() if sizes.get(n, k) != k)
            self._use(self._fitted._replace(many=more[0], multiplied=more[1], written=other))
            self._complete(saved.get("completed") or ())
            self._fitted = self._variant
        except faults.DataError as error:
            raise self._fault(error) from None
        super().restore(saved)
        return self


def load_fit(path: str | Path, build: Callable[[str, Mapping[str, str] | None], CompiledModel]) -> Fitter:
    """A saved fit, ready to predict, score and sample; `build` compiles a text with its `infer` lines.

    Raises DataError where the file is no fit, is cut short, or holds no model text.
    """
    try:
        saved = read_document(path)
    except faults.DataError as error:
        raise DataError(Problem(error.code, error.message, hint=error.hint)) from None
    if not isinstance(saved.get("source"), str):
        message = f"{path}: holds no model text: it was saved by a generated module"
        raise DataError(Problem("D020", message, hint="load it with that module: Estimator.restore(path)"))
    return Fitter(build(saved["source"], saved.get("infer") or None)).restore(saved)
