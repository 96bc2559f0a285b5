"""A compiled model: what it declares, what was derived, the module that was printed, and its estimator."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from emdsl.errors import ModelError
from emdsl.fit import gaps as rewritten
from emdsl.fit.asked import names_of, of_a_log_joint, of_a_sample, place, told, within_reach
from emdsl.fit.loading import loaded
from emdsl.fit.members import Declared, Plan, Records, Statistic, Update, statistics_of, updates_of
from emdsl.fit.runs import Pattern, by_runs
from emdsl.fit.shifted import Lags, without_lets
from emdsl.language import model as m

if TYPE_CHECKING:
    from emdsl.derive.plan import Plan as Derived
    from emdsl.fit.fitter import Fitter
    from emdsl.fit.verify.certificate import Certificate
    from emdsl.graph.diagram import Diagram
    from emdsl.report.derivation import Derivation


Made = TypeVar("Made", "Model", "Model | None")


class Model:
    """A compiled model. Made by `emdsl.compile`; see INTERFACE in the documentation for its members."""

    def __init__(
        self, resolved: m.ModelText, text: str, infer: Mapping[str, str] | None, fixed: tuple[str, ...] = (),
        incomplete: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        self.text, self.infer, self.fixed, self.incomplete = text, infer, fixed, incomplete
        self.resolved = resolved
        self._variants: dict[tuple[Any, ...], Any] = {}
        self.warnings = resolved.warnings
        self.refusal: ModelError | None = None
        try:
            self.derived  # noqa: B018  (derived now, so that a refusal is known)
        except ModelError as error:
            told = error if incomplete else self._with_ways(error)
            self.refusal = ModelError(told.problems, told.source or resolved.source or text)

    def _with_ways(self, refusal: ModelError) -> ModelError:
        from emdsl.derive.ways import with_ways

        try:
            return with_ways(refusal, self.resolved)
        except (RecursionError, ArithmeticError):
            return refusal

    @cached_property
    def derived(self) -> Derived:
        """What the planner made of it. Raises ModelError where it refuses; such a model still samples."""
        from emdsl.derive.plan import derive

        if self.__dict__.get("refusal") is not None:
            raise self.refusal  # type: ignore[misc]
        with within_reach(self.resolved):
            return derive(self.resolved, self.incomplete)

    @cached_property
    def _parts(self) -> list[str]:
        from emdsl.generate.module import module_parts

        with within_reach(self.resolved):
            return module_parts(self.derived)

    @property
    def source(self) -> str:
        """The text of the generated module."""
        from emdsl.generate.module import print_module

        return print_module(self._parts)

    @classmethod
    def from_text(
        cls, source: str | bytes, file: str, infer: Mapping[str, str] | None = None, fixed: tuple[str, ...] = ()
    ) -> Model:
        """Parse, resolve and derive; the mistakes of all stages carry the source."""
        from emdsl.families import PRELUDE
        from emdsl.families.normalised import check_families
        from emdsl.language import parse_model

        text = source.decode("utf-8", "replace") if isinstance(source, bytes) else source
        parsed = parse_model(source, file, PRELUDE(), infer)
        wrong = check_families(parsed.families)
        if wrong:
            raise ModelError(wrong, parsed.source)
        resolved = rewritten.hold(parsed, fixed) if fixed else parsed
        return cls(resolved, text, infer, fixed)

    def __reduce__(self) -> tuple[Any, ...]:
        return (Model.from_text, (self.text, "<text>", self.infer, self.fixed))

    def fix(self, names: tuple[str, ...]) -> Model:
        """The same model with these parameters known: givens that the data must bring."""
        held = names_of(names, self.params, "parameter")
        resolved = rewritten.hold(self.resolved, held)
        return self._kept(("held", held), lambda: Model(resolved, self.text, self.infer, held))

    def complete(self, names: tuple[str, ...]) -> Model:
        """The same model where entries of these observed variables are missing: they are latents of their rows.

        Its module fits data with gaps where emdsl is not installed. Of a variable whose missing entries are only left
        out nothing changes. Raises ModelError where they cannot be integrated out, with the density in the way.
        """
        names = names_of(names, self.observed, "observed variable")
        rewritten.refuse_deciding(self.resolved, names)
        return self._kept(("completed", names), lambda: self._completed(names))

    def _completed(self, names: tuple[str, ...]) -> Model:
        if self.refusal is None:
            policies = {v["name"]: v["missing"] for v in self.module.SPEC["variables"]}
            names = tuple(n for n in names if policies.get(n) != "drop")
        discrete = tuple(n for n in names if rewritten.is_one_integer(self.resolved.variable(n)))
        gaps = tuple(n for n in names if n not in discrete)
        resolved = rewritten.through_scales(rewritten.seen_through_points(self.resolved, discrete), gaps)
        made = Model(resolved, self.text, self.infer, self.fixed, gaps)
        if made.refusal is None:
            return made
        numbers = tuple(n for n in gaps if rewritten.is_one_number(self.resolved.variable(n)))
        by_points = Model(
            rewritten.seen_through_points(self.resolved, (*discrete, *numbers)), self.text, self.infer, self.fixed
        )
        if len(numbers) < len(gaps) or by_points.refusal is not None or by_points.derived.drawn:
            raise made.refusal
        return by_points

    def by_runs(self, lags: Lags, patterns: tuple[Pattern, ...], drawn: bool = True) -> Model | None:
        """The same model where rows that what is missing ties together are plates of their own; None where it is
        refused, a bound, `drawn` where that is no way, or has the configurations of all rows enumerated."""

        def made() -> Model | None:
            resolved, partly = by_runs(without_lets(self.resolved, lags.names), lags, patterns)
            found = Model(replace(resolved, together=not drawn), self.text, self.infer, self.fixed, partly)
            if found.refusal is not None or found.derived.elimination.parts or (found.derived.drawn and not drawn):
                return None
            return found if found.derived.joint.configurations is None else None

        return self._kept(("by runs", lags.names, patterns), made)

    def with_copy(self, name: str, by_moments: bool = False, points: tuple[int, int] | None = None) -> Model | None:
        """The same model with an unseen copy of an observed variable, or (`by_moments`) of a Gaussian like it.

        Given the latents the copy is independent of what was seen: its posterior is the predictive distribution. None
        where there is no exact one; where `points` are given, none by quadrature at so many either.
        """
        (name,) = names_of((name,), self.observed, "observed variable")

        def made() -> Model | None:
            from emdsl.derive.posteriors.quadrature import denser

            resolved = (rewritten.with_moments if by_moments else rewritten.with_unseen_copy)(self.resolved, name)
            if resolved is None:
                return None
            incomplete = tuple(n for n in self.incomplete if n != name)
            found = self._kept(
                ("the copy", name, by_moments), lambda: Model(resolved, self.text, self.infer, self.fixed, incomplete)
            )
            if points is None or not found._exact:
                exact = found._exact and found.plan[rewritten.unseen(name)].method.startswith("exact")
                return found if exact else None
            text = denser(found.derived.joint, points)
            finer = Model(text, self.text, self.infer, self.fixed, incomplete) if text.infer else found
            return finer if finer.refusal is None else None

        return self._kept(("with a copy", name, by_moments, points), made)

    def revealed(self, names: tuple[str, ...]) -> Model | None:
        """The same model in which elements of these discrete latents may be seen, as data of their own; None if not.

        What was seen of `z` is `z seen`; where its mask is false z is as latent as before.
        """
        return self._told(("revealed", names), rewritten.seen_through_points(self.resolved, names))

    def drawn_together(self) -> Model | None:
        """The same model with all latents drawn, as many together as can be; None where that cannot be."""
        hidden = tuple(v.name for v in self.resolved.of_kind("latent"))
        groups = [(hidden,), tuple((n,) for n in hidden)] if len(hidden) > 1 else [(hidden,)]
        for some in groups:
            line = m.Infer(some, tuple(len(g) > 1 for g in some), "mcmc", ())
            found = self._told(("drawn", some), replace(self.resolved, infer=(line,)))
            if found is not None:
                return found
        return None

    def factorised(self) -> Model | None:
        """The same model with each latent a factor of q by itself; None where mean-field does not take it."""
        hidden = tuple((v.name,) for v in self.resolved.of_kind("latent"))
        line = m.Infer(hidden, (False,) * len(hidden), "meanfield", ())
        return self._told(("factorised",), replace(self.resolved, infer=(line,)))

    def told(self, **what: Any) -> Model | None:
        """The same model that is told more: `tails="kept"` integrates no latent out by its tails, `weights_over` names
        the plate that is weighed, `written_out` numbers of elements. None where it is refused then, or drawn, which
        longer vectors alone may be."""
        made = self._told(("told", *what.items()), replace(self.resolved, **what))
        return None if made is None or (made.derived.drawn and "written_out" not in what) else made

    def without_cases(self, cases: tuple[tuple[str, int], ...]) -> Model | None:
        """The same model for data of which no row has these cases of latents that are integrated out by their tails;
        None where it is no closer to exact."""
        if not cases or not self.derived.joint.clouds:
            return None
        made = self._told(("without", cases), replace(self.resolved, unreached=cases))
        return made if made is not None and len(made.derived.joint.clouds) < len(self.derived.joint.clouds) else None

    def written(self, resolved: m.ModelText) -> Model:
        """The same model, its text written in another way."""
        return Model(resolved, self.text, self.infer, self.fixed, self.incomplete)

    @property
    def _exact(self) -> bool:
        """Whether there is an exact posterior of all latents together."""
        return self.refusal is None and not self.derived.elimination.parts and not self.derived.drawn

    def _told(self, key: tuple[Any, ...], resolved: m.ModelText) -> Model | None:
        """The variant of this text; None where it is refused."""

        def made() -> Model | None:
            found = self.written(resolved)
            return found if found.refusal is None else None

        return self._kept(key, made)

    def _kept(self, key: tuple[Any, ...], make: Callable[[], Made]) -> Made:
        """A variant of this model, made once."""
        if key not in self._variants:
            self._variants[key] = make()
        made: Made = self._variants[key]
        return made

    # ------------------------------------------------------------ what the file declares

    @property
    def name(self) -> str:
        return self.resolved.name

    def _declared(self, kind: m.VariableKind) -> dict[str, Declared]:
        return {
            v.name: Declared(v.name, v.kind, v.domain.kind, tuple(str(s) for s in v.shape))
            for v in self.resolved.of_kind(kind)
        }

    @property
    def params(self) -> dict[str, Declared]:
        return self._declared("param")

    @property
    def latents(self) -> dict[str, Declared]:
        return self._declared("latent")

    @property
    def observed(self) -> dict[str, Declared]:
        return self._declared("observed")

    @property
    def givens(self) -> dict[str, Declared]:
        return self._declared("given")

    @property
    def sizes(self) -> dict[str, int | None]:
        return {s.name: None if s.default is None else s.default.constant for s in self.resolved.sizes}

    # ------------------------------------------------------------ what was derived

    @property
    def plan(self) -> dict[str, Plan]:
        plan = self.derived
        hidden = plan.joint.unnamed | plan.joint.model.of_vectors
        return Records({n: Plan(c.method, c.reason) for n, c in plan.choices.items() if n not in hidden})

    @cached_property
    def updates(self) -> dict[str, Update]:
        with within_reach(self.resolved):
            return updates_of(self.derived, lambda: self.derivation)

    @cached_property
    def statistics(self) -> dict[str, Statistic]:
        with within_reach(self.resolved):
            return statistics_of(self.derived, lambda: self.derivation)

    @property
    def derivation(self) -> Derivation:
        from emdsl.report.derivation import Derivation

        with within_reach(self.resolved):
            return Derivation.of(self.derived, self.source)

    # ------------------------------------------------------------ the generated module

    @cached_property
    def module(self) -> types.ModuleType:
        """The generated module, loaded. Its text is ours alone: users' names pass through one table of identifiers."""
        return self.load_module()

    @cached_property
    def quick(self) -> types.ModuleType | None:
        """The module in which all elements of a latent share their points of quadrature; None where that gains nothing.

        Many elements under few functions are climbed in it; the likelihood that is told is the adapted points' own.
        """
        from emdsl.derive.plan import derive
        from emdsl.generate.context import chunk_dimension
        from emdsl.generate.module import module_parts

        shared = any(c.method == "quadrature" for c in self.derived.joint.clouds)
        if not shared or self.derived.elimination.parts:
            return None
        try:
            plan = derive(self.resolved, self.incomplete, shared=True)
        except ModelError:
            return None
        return None if chunk_dimension(plan) is None else loaded(self.name, module_parts(plan))

    def load_module(self) -> types.ModuleType:
        """Another copy of the generated module, whose names are its own."""
        return loaded(self.name, self._parts)

    def write(self, path: str | Path) -> None:
        """Write the generated module, whole or not at all; it runs where emdsl is not installed."""
        from emdsl.runtime.fitting.whole import write_whole

        with told():
            write_whole(place(path), self.source.encode())

    def fitter(self, **options: Any) -> Fitter:
        """An estimator for this model: sizes by their names, `max_iter`, `tol`, `n_init`, `seed`, `init`, ..."""
        from emdsl.fit.fitter import Fitter

        return Fitter(self, **options)

    def sample(self, params: Any, sizes: Any = None, seed: Any = None, data: Any = None) -> dict[str, Any]:
        """Latents and data drawn from the model, as a fit takes them: lists of arrays on ragged plates.

        `sizes` by name, a ragged one as a length for each row around it or one for all; `data` holds the givens.
        """
        from emdsl.fit.ragged import by_parent
        from emdsl.fit.sampling import sample_in_scope

        with told():
            drawn, scope = sample_in_scope(self.resolved, *of_a_sample(params, sizes, seed, data))
            return by_parent(self.resolved, drawn, scope.sizes, {n: r.lengths for n, r in scope.ragged.items()})

    def log_joint(self, values: Mapping[str, Any], sizes: Mapping[str, int], lengths: Any = None) -> float:
        """The log joint density at given values of every variable, latents included. Sizes that these settle need not
        be given. Raises DataError for one that is missing, or whose lengths disagree."""
        from emdsl.fit.interpret import log_joint

        return float(log_joint(self.resolved, *of_a_log_joint(self.resolved, values, sizes, lengths)))

    def graph(self) -> Diagram:
        """The plate diagram: SVG text, which a notebook shows as a picture; `.dot` is the same graph as DOT text."""
        from emdsl.graph.diagram import Diagram

        return Diagram.of(self.resolved)

    def verify(self, seed: int = 0, apart: bool = True) -> Certificate:
        """The derivation checked by numbers, on data drawn from the model: see the page on verify in the documentation.

        What is integrated by quadrature is checked at more points than the fit has: the derivation is what is tried,
        and what its own points leave out is told by `quadrature_error_`. Of a model with drawn latents is checked how
        they are drawn, and all that follows once they are, on draws as data. Raises ModelError where the model is
        refused.
        """
        from emdsl.fit.verify.whole import certificate

        return certificate(self, seed, apart)

    def __repr__(self) -> str:
        if self.refusal is not None:
            return f"Model {self.name} (refused: {self.refusal.problems[0].message})"
        plans = ", ".join(f"{n}: {p.method}" for n, p in self.plan.items()) or "no latents"
        ups = ", ".join(f"{n}: {u.kind}" for u in self.derived.updates for n in u.params) or "no parameters"
        return f"Model {self.name} ({plans}; {ups})"

    def _repr_html_(self) -> str:
        """For a notebook: the diagram, the plan, the updates as equations."""
        from emdsl.report.html import as_typed
        from emdsl.report.notebook import model_html

        if self.refusal is not None:
            return as_typed(str(self.refusal))
        return model_html(self.name, str(self.graph()), self.plan, self.derivation)


def load(path: str | Path) -> Fitter:
    """A saved fit, ready to predict, score and sample. Raises DataError for what is no fit."""
    from emdsl.fit.fitter import load_fit

    return load_fit(path, lambda text, infer: Model.from_text(text, "<saved model>", infer))
