"""The estimator that drives a generated module, in the manner of scikit-learn."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from typing import Any, Self

import numpy as np

from emdsl.runtime.data.advice import advise
from emdsl.runtime.data.arguments import as_returned, by_name
from emdsl.runtime.data.binding import BindOptions, Bound, bind_data
from emdsl.runtime.data.columns import Array
from emdsl.runtime.data.domains import free_parameters, parameter_numbers
from emdsl.runtime.data.faults import ConvergenceWarning, DataError, DegenerateFit, say
from emdsl.runtime.data.frames import as_table
from emdsl.runtime.data.table import read_data
from emdsl.runtime.data.weighed import unit_of, without_idle_rows
from emdsl.runtime.fitting.answers import Answers
from emdsl.runtime.fitting.climbs import Climb, Setup, is_exact, is_sampled, under_points
from emdsl.runtime.fitting.divisions import check_read, divided, first_step
from emdsl.runtime.fitting.loop import SAME, best_climb, climb, print_progress
from emdsl.runtime.fitting.reach import best_division, drawn_nearer, nearer_start
from emdsl.runtime.fitting.settings import (
    NotFitted,
    Seed,
    check_options,
    check_room,
    fresh_entropy,
    kept_labels,
    learned_sizes,
    sizes_of_parameters,
    starting_values,
    tied_sizes,
)
from emdsl.runtime.fitting.storage import FIT_FORMAT, check_same_model, points, read_document, spec_hash, write_document
from emdsl.runtime.fitting.symmetry import SHARES, alike, moved, off_zero, seeded_step

RESTARTS = 10  # new starts after a degenerate one, under on_degenerate="restart"
Start = tuple[dict[str, Array], dict[str, Any]]  # starting parameters, starting factors of latents


class Estimator(Answers):
    """Fits one model by EM. Keyword options only; sizes by their names (`K=3`) or in `sizes={...}`.

    max_iter : most M-steps. tol : stop when the objective moves by less than tol * (1 + |objective|), and no more than
    20 tol remains at the pace of its steps; 0 never stops early. n_init : number of seeded starts, the best kept.
    seed : int or None.
    init : starting values by name, some or all. fixed : parameters held at these values.
    progress : True, or a function of (iteration, objective). on_degenerate : raise, keep, restart or
    regularise.
    """

    _times = 1  # how many times the points of quadrature that a module begins with the fit has taken
    _reference: dict[str, Any] | None = None  # constants used for centring, from the first data seen
    _frame: tuple[Any, Any] = (None, None)  # the columns and index of the fit, for frames that come later
    _anchor: tuple[Mapping[str, Any], Mapping[str, Array]] | None = None  # what m_step needs beside statistics

    def __getstate__(self) -> dict[str, Any]:
        if "_training" in self.__dict__:
            self.posterior_, self.quadrature_error_  # noqa: B018  (computed now: the data do not travel)
        return {n: v for n, v in self.__dict__.items() if n not in ("_training", "_anchor", "_read", "_error")}

    # -------------------------------------------------------------- data

    def _constants(self) -> dict[str, Any]:
        """Givens that the estimator itself holds (parameters that are fixed)."""
        return {}

    def _bind(self, data: Any, params: Mapping[str, Array] | None = None, **beside: Any) -> Bound:
        """Data as the module reads them; with `params`, by their sizes and the text codings of the fit."""
        spec = self._module.SPEC
        passed, origin = self.passed_sizes(), "what was passed"
        labels: Mapping[str, list[str]] = {}
        if params is not None:
            before: Mapping[str, int] = self.__dict__.get("sizes_", {})
            spec = {
                **spec,
                "sizes": {n: passed.get(n, before.get(n) if d is None else d) for n, d in spec["sizes"].items()},
            }
            learned = learned_sizes(spec, before) if hasattr(self._module, "settle") else {}
            origin = "the fit" if learned else "the parameters"
            passed = {**learned, **sizes_of_parameters(spec, params)}
            tied = {**learned, **tied_sizes(spec, passed)}
            labels = kept_labels(spec, self.__dict__.get("labels_", {}), tied)
        held = self._constants()
        asked = {**spec, "variables": [v for v in spec["variables"] if v["name"] not in held]}
        columns, index = beside.pop("columns", None), beside.pop("index", None)
        if params is not None and columns is None and index is None and as_table(data) is not None:
            columns, index = self._frame
        read = read_data(asked, data, columns, index, labels)
        self._read = read if params is None else self.__dict__.get("_read")
        weights = read.weights(beside.pop("sample_weight", None), beside.get("weights_over"))
        lengths = passed_on if (passed_on := beside.pop("lengths", None)) is not None else read.lengths or None
        options = BindOptions(passed, origin, weights, lengths=lengths, labels=labels, fitting=params is None, **beside)
        module, told, given = self._module, vars(self._module), {**held, **read.values}
        try:
            bound = bind_data(spec, given, options, module.default_givens, told.get("kept"), told.get("limits"))
        except DataError as error:
            raise read.in_table(error) from None
        bound.labels.update({n: text for n, text in read.labels.items() if n not in bound.labels})
        return bound

    def _prepare(self, bound: Bound) -> Mapping[str, Any]:
        if self._reference is None:
            self._reference = self._ask("reference", bound)
        return self._at_points(self._ask("prepare", bound, self._reference))

    def _at_points(self, prepared: Mapping[str, Any]) -> Mapping[str, Any]:
        """The same data under as many points of quadrature as the fit has taken."""
        while prepared.get("times", 1) < self._times and "finer" in vars(self._module):
            prepared = self._ask("finer", prepared)
        return prepared

    def _see(self, data: Any, **beside: Any) -> tuple[Bound, Mapping[str, Any]]:
        """New data for the fitted model, bound and prepared."""
        if "params_" not in self.__dict__:
            raise NotFitted(f"{type(self).__name__} is not fitted yet: call fit first")
        with self._told():
            bound = self._bind(data, self.params_, **beside)
        return bound, self._prepare(bound)

    # -------------------------------------------------------------- fitting

    def fit(
        self,
        data: Any,
        sample_weight: Any = None,
        init: Any = None,
        *,
        columns: Mapping[str, Any] | None = None,
        index: Mapping[str, str] | None = None,
        lengths: Any = None,
        weights_over: str | None = None,
    ) -> Self:
        """Climb from each start and keep the best; results are in the attributes that end in `_`.

        data : dict of arrays by name, one array where one variable is observed, or a data frame with
        `columns={"x": ["a", "b"]}` where names differ and `index={"s": "subject"}` for nested plates.
        sample_weight : one number per element of the outermost plate. init : starting values by name.
        lengths : of a ragged plate whose arrays are flat. Raises DataError for wrong data, and
        DegenerateFit where every start collapses under on_degenerate="raise".
        """
        for name in [n for n in self.__dict__ if n.endswith("_") or n in ("_training", "_posterior")]:
            del self.__dict__[name]
        with self._told():
            check_options(self._options)
            self._hold_fixed(self._options["fixed"])
            beside = {"columns": columns, "index": index, "lengths": lengths}
            bound = self._bind(data, sample_weight=sample_weight, weights_over=weights_over, **beside)
            check_room(self._module.SPEC, bound.sizes)
            seen, bound = bound, without_idle_rows(self._module, bound)
            self._reference, self._frame, self._times = self._ask("reference", bound), (columns, index), 1
            init = self._options["init"] if init is None else init
            advise(self._module.SPEC, bound.values, bound.masks, bound.labels, bound.sizes)
            limits = vars(self._module).get("limits", lambda *_: {})
            ends = limits(bound.sizes, bound.values, bound.ragged)
            start = starting_values(self._module.SPEC, init, bound.sizes, self._constants(), ends)
            setup = self._setup(bound)
            climbs, interrupted = self._climb_all(setup, start)
        best = best_climb(climbs)
        self._refuse_degenerate(best)
        self._keep(best, setup, interrupted, seen)
        return self

    def _hold_fixed(self, fixed: Mapping[str, Any] | None) -> None:
        if fixed:
            raise NotImplementedError(
                "a generated module cannot hold parameters fixed, because their updates are already derived: "
                "use model.fitter(fixed=...) of emdsl, or declare them as `given` and compile again"
            )

    def _setup(self, bound: Bound) -> Setup:
        o = self._options
        progress = print_progress() if o["progress"] is True else (o["progress"] or None)
        asked = (int(o["max_iter"]), float(o["tol"]), o["on_degenerate"], progress)
        kind = (is_sampled(self._module), unit_of(bound.weights), self._module.SPEC.get("finest", 1))
        return Setup(self._module, bound, self._prepare(bound), *asked, *kind, hurried=self.hurried)

    def _climb_all(self, setup: Setup, start: Start) -> tuple[list[Climb], bool]:
        """One climb from each seeded start, one alone where every value is given; and whether Ctrl-C ended the list."""
        self.seed_ = fresh_entropy() if self._options["seed"] is None else self._options["seed"]
        complete = all(v["name"] in start[0] for v in self._module.SPEC["variables"] if v["kind"] == "param")
        climbs: list[Climb] = []
        for child in Seed(self.seed_).spawn(1 if complete and start[0] else int(self._options["n_init"])):
            try:
                climbs.append(self._climb_one(setup, start, child))
            except KeyboardInterrupt:
                if not climbs:
                    raise
                return climbs, True
            if climbs[-1].status == "interrupted":
                return climbs, True
        return climbs, False

    def _climb_one(self, setup: Setup, start: Start, seed: Seed) -> Climb:
        """EM from one seeded start; under "restart" from new ones, `init` left aside, for as long as it collapses."""
        module, again = self._module, RESTARTS if setup.policy == "restart" else 0
        for attempt in [seed, *seed.spawn(again)] if again else [seed]:
            given = start if attempt is seed else ({}, start[1])
            some = any(v["kind"] == "param" and v["name"] not in given[0] for v in module.SPEC["variables"])
            drawing = some or "start" in vars(module) or "climb_by_draws" in vars(module)
            rng: Any = attempt.generator() if drawing else attempt  # what may never be drawn is not set up
            begin = partial(self._begun, setup, given, some, rng)
            params, state = begin() if given[1] or (given[0] and not some) else best_division(setup, begin)
            if "climb_by_draws" in vars(module):
                return self._ask("climb_by_draws", setup, params, rng)  # type: ignore[no-any-return]
            mine = attempt is seed and state is None and any(start)
            untied = self._untied(setup, params, rng) if mine else None
            end = self._climbed(setup, params, state) if untied is None else untied
            if isinstance(end.failure, DataError) and state is None:
                nearer = nearer_start(setup, params, [n for n in params if n not in given[0]])
                end = end if nearer is None else self._climbed(setup, nearer, state)
            end = off_zero(partial(self._climbed, setup), setup, params, end, attempt)
            if end.status != "degenerate":
                break
        return end

    def _begun(self, setup: Setup, start: Start, some: bool, rng: Any) -> tuple[dict[str, Any], Any]:
        """A start: parameters, of which `some` are drawn, and factors of q where it is factorised, given ones among
        them, with the parameters that these lead to."""
        params = dict(start[0])
        if some:
            drawn = self._drawn(setup, rng)
            params = {n: params.get(n, np.asarray(value, np.float64)) for n, value in drawn.items()}
        if "start" not in vars(self._module):
            if some and start[1]:
                division, again = (divided(start[1], "climb_by_draws" in vars(self._module), rng) for _ in range(2))
                statistics = self._ask("e_step", params, setup.data, setup.prepared, division)
                check_read(division)
                params = first_step(self._ask, setup, start[0], params, statistics, again)
            return params, None
        state = self._ask("start", params, setup.data, setup.prepared, rng, dict(start[1]))
        if start[1]:
            statistics = self._ask("e_step", params, setup.data, setup.prepared, state, None, "")
            params = first_step(self._ask, setup, start[0], params, statistics, statistics["state"], None)
        return params, state

    def _drawn(self, setup: Setup, rng: np.random.Generator) -> dict[str, Any]:
        """Seeded starting values."""
        return drawn_nearer(lambda near: self._ask("initial", setup.data, setup.prepared, near), rng, (DegenerateFit,))

    def _climbed(self, setup: Setup, start: dict[str, Array], state: Any) -> Climb:
        """EM from here."""
        return climb(setup, start, state)

    def _untied(self, setup: Setup, start: dict[str, Array], rng: Any) -> Climb | None:
        """From a start whose components are alike, which EM keeps so: a climb from beside it. None from any other."""
        module, sizes = setup.module, setup.data.sizes
        tied = alike(module.SPEC, start, sizes)
        if not tied or not setup.max_iter:
            return None
        stuck = climb(setup._replace(progress=None), start)
        tied = {n: p for n, p in alike(module.SPEC, stuck.params, sizes).items() if n in tied}
        if not tied or stuck.status in ("degenerate", "interrupted") or not stuck.n_iter:
            return stuck
        rng = rng.generator() if isinstance(rng, Seed) else rng
        seeded = seeded_step(module, start, setup.data, setup.prepared, rng)
        for share in SHARES:
            end = climb(setup, moved(start, seeded, share))
            if end.status == "interrupted" or end.objective > stuck.objective + SAME * (1 + abs(stuck.objective)):
                break
        said = ", ".join(f"{i} and {j}" + ("" if n.isdigit() else f" of {n}") for n, (i, j) in tied.items())
        return end._replace(
            message=f"{end.message}; components {said} were alike at the start, which EM cannot leave (objective "
            f"{stuck.objective:.10g}): it was moved {share:.0%} towards a seeded division of the rows"
        )

    def _refuse_degenerate(self, best: Climb) -> None:
        if isinstance(best.failure, DataError):
            raise self._fault(best.failure)
        if best.failure is not None or (best.status == "degenerate" and self._options["on_degenerate"] == "raise"):
            others = "n_init=10 tries other starts, " if self._options["n_init"] < 10 else ""
            hint = f"{others}on_degenerate='keep' or 'regularise' goes on"
            raise DegenerateFit(f"{best.message} ({hint})")

    def _keep(self, best: Climb, setup: Setup, interrupted: bool, seen: Bound) -> None:
        """The attributes that a fit leaves, `seen` the data as they came, and a warning where it did not converge."""
        setup = under_points(setup, best)
        points = self._of_points(setup, best)
        rounding, blurred = self._rounding(setup, best)
        self._times = setup.prepared.get("times", 1)
        self.params_ = {**best.params, **{n: np.asarray(v) for n, v in self._constants().items()}}
        self.history_ = list(best.history)
        self.objective_ = best.objective
        self.log_likelihood_ = best.log_likelihood if is_exact(self._module) else None
        self.status_ = "interrupted" if interrupted else best.status
        early = interrupted and best.status != "interrupted"
        self.message_ = ("interrupted; the best so far: " if early else "") + best.message + points + rounding
        self.converged_ = self.status_ in ("converged", "boundary")
        self.n_iter_ = best.n_iter
        self.sizes_ = dict(setup.data.sizes)
        self.labels_ = dict(setup.data.labels)
        variables = self._module.SPEC["variables"]
        every = sum(free_parameters(v, self.sizes_) for v in variables if v["kind"] == "param")
        self.n_parameters_ = every - sum(count for _, count in best.idle)
        self.n_units_ = self._units(setup.data)
        prepared = setup.prepared if seen is setup.data else self._prepare(seen)
        self._training = (seen, prepared) if best.state is None else (seen, prepared, best.state)
        self._anchor = (setup.prepared, self.params_)
        self.factors_ = best.state
        self.monte_carlo_ = dict(best.report) if best.report is not None else None
        if blurred or (not self.converged_ and self.status_ != "interrupted"):
            say(self.message_, UserWarning if self.converged_ else ConvergenceWarning)
        if best.idle:
            names = ", ".join(name for name, _ in best.idle)
            text = f"the data say nothing of {names}: all expected counts are 0; what it started at is kept"
            say(text)

    # -------------------------------------------------------------- the two halves

    def e_step(self, params: Mapping[str, Any], data: Any, **beside: Any) -> dict[str, Any]:
        """Expected sufficient statistics at `params`: additive over data, with their "log_likelihood"."""
        with self._told():
            values = {n: parameter_numbers(n, v) for n, v in by_name(params, "params").items()}
            self._hold_fixed(self._options["fixed"])
            bound = self._bind(data, values, **beside)
        prepared = self._prepare(bound)
        self._anchor = (prepared, values)
        state: tuple[Any, ...] = ()
        if hasattr(self._module, "climb_by_draws"):
            rng = np.random.default_rng(self._options["seed"])
            return self._ask("drawn_statistics", values, bound, prepared, rng)  # type: ignore[no-any-return]
        if hasattr(self._module, "start"):
            rng = np.random.default_rng(self._options["seed"])
            state = (self._ask("start", values, bound, prepared, rng, {}),)
        statistics: dict[str, Any] = self._ask("e_step", values, bound, prepared, *state)
        return statistics

    def m_step(self, statistics: Mapping[str, Any], params: Mapping[str, Any] | None = None) -> dict[str, Array]:
        """The parameters that maximise the expected log joint with these statistics.

        `params`, the current ones, matter where an update is conditional on others (ECM, Newton);
        left out, they are those of the last `e_step` or fit.
        """
        if self._anchor is None:
            raise NotFitted("m_step needs the constants of an e_step or a fit on this estimator: call one first")
        prepared, current = self._anchor
        here = current if params is None else params
        policy = self._options["on_degenerate"]
        policy = "raise" if policy == "restart" else policy
        with self._told():
            with as_returned("e_step"):
                statistics, here = by_name(statistics, "statistics"), by_name(here, "params")
                return dict(self._ask("m_step", statistics, here, prepared, policy))

    # -------------------------------------------------------------- on disk

    def document(self) -> dict[str, Any]:
        """The fit as INTERFACE's FIT.json says it, arrays still arrays."""
        spec = self._module.SPEC
        return {
            "format": FIT_FORMAT,
            "model": spec["model"],
            "model_hash": spec_hash(spec),
            "params": self.params_,
            "objective": self.objective_,
            "log_likelihood": self.log_likelihood_,
            **({} if self.quadrature_error_ is None else {"quadrature_error": self.quadrature_error_}),
            **({"points_times": self._times} if self._times > 1 else {}),
            "history": self.history_,
            "converged": self.converged_,
            "status": self.status_,
            "message": self.message_,
            "n_iter": self.n_iter_,
            "n_parameters": self.n_parameters_,
            "n_units": self.n_units_,
            "sizes": self.sizes_,
            "labels": self.labels_,
            "plan": {n: method for n, (method, *_) in spec.get("plan", {}).items()},
            "updates": {n: kind for n, (kind, *_) in spec.get("updates", {}).items()},
            "seed": self.seed_,
            "reference": self._reference or {},
            "factors": self.factors_ or {},
            **({} if self.monte_carlo_ is None else {"monte_carlo": self.monte_carlo_}),
            "options": self._again(),
            "emdsl_version": spec.get("emdsl_version"),
        }

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fit as JSON, or npz where the path ends so; whole or not at all."""
        with self._told():
            write_document(path, self.document())

    def restore(self, path: str | os.PathLike[str] | Mapping[str, Any]) -> Self:
        """Take over a saved fit of this model, and how it was made; DataError where the file is not one."""
        with self._told():
            saved = read_document(path)
            check_same_model(saved, self._module.SPEC, bool({"start", "climb_by_draws"} & set(vars(self._module))))
            params, _ = starting_values(self._module.SPEC, saved["params"], saved["sizes"], self._constants())
            self._as_before(saved)
        self.params_ = {**params, **{n: np.asarray(v) for n, v in self._constants().items()}}
        self.history_ = [float("nan") if v is None else v for v in saved.get("history", [])]
        self.sizes_, self.labels_, self.seed_ = dict(saved["sizes"]), dict(saved.get("labels") or {}), saved.get("seed")
        self._reference = points(saved["reference"])
        self._times = saved.get("points_times", 1)
        self.factors_ = {n: np.asarray(v, np.float64) for n, v in saved["factors"].items()} or None
        return self
