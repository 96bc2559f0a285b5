"""Which variant of a model data are fitted by: what is held, what is weighed, what the data lack."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from emdsl.fit.runs import Pattern
from emdsl.fit.shifted import Lags
from emdsl.fit.tied import Tied
from emdsl.language.model import ModelText


class CompiledModel(Protocol):
    """What a fitter needs of `emdsl.fit.model.Model`, which keeps the variants that it has made."""

    @property
    def text(self) -> str: ...
    @property
    def resolved(self) -> ModelText: ...
    @property
    def infer(self) -> Mapping[str, str] | None: ...
    @property
    def module(self) -> Any: ...
    @property
    def quick(self) -> Any: ...
    @property
    def derived(self) -> Any: ...
    def revealed(self, names: tuple[str, ...]) -> CompiledModel | None: ...
    def drawn_together(self) -> CompiledModel | None: ...
    def factorised(self) -> CompiledModel | None: ...
    def told(self, **what: Any) -> CompiledModel | None: ...
    def without_cases(self, cases: tuple[tuple[str, int], ...]) -> CompiledModel | None: ...
    def fix(self, names: tuple[str, ...]) -> CompiledModel: ...
    def complete(self, names: tuple[str, ...]) -> CompiledModel: ...
    def by_runs(self, lags: Lags, patterns: tuple[Pattern, ...], drawn: bool = True) -> CompiledModel | None: ...
    def with_copy(
        self, name: str, by_moments: bool = ..., points: tuple[int, int] | None = ...
    ) -> CompiledModel | None: ...
    def sample(self, params: Any, sizes: Any, seed: Any, data: Any = None) -> dict[str, Any]: ...


class Variant(NamedTuple):
    """What some data need of a model, beside what is written in it.

    held : the parameters that are fixed. over : the plate that is weighed, where the observed data lie on several.
    many : whether configurations are too many to be enumerated unasked. completed : the observed variables of which
    some entries are latents. tied : the rows that the gaps of the data tie. absent : the cases of latents, integrated
    out by their tails, that no row has. multiplied : where rounding takes digits of densities that
    lack multipliers, what weights count, parts or rows. written : sizes that are written out, with the data's numbers.
    """

    model: CompiledModel
    held: tuple[str, ...] = ()
    over: str = ""
    many: bool = False
    completed: tuple[str, ...] = ()
    tied: Tied | None = None
    absent: tuple[tuple[str, int], ...] = ()
    multiplied: str = ""
    written: tuple[tuple[str, int], ...] = ()

    @property
    def whole(self) -> CompiledModel:
        """The model for data that are complete."""
        whole = self.model.fix(self.held) if self.held else self.model
        whole = (whole.told(written_out=self.written) or whole) if self.written else whole
        whole = (whole.told(weights_over=self.over) or whole) if self.over else whole
        whole = (whole.told(enumerated=False) or whole) if self.many else whole
        return (whole.told(multiplied=self.multiplied) or whole) if self.multiplied else whole

    @property
    def complete(self) -> CompiledModel:
        """The model in which entries that these data lack are latents, where they cannot be left out."""
        return self.whole.complete(self.completed) if self.completed else self.whole

    @property
    def current(self) -> CompiledModel:
        """The model that these data are fitted by."""
        if self.tied is not None:
            found = self.tied.runs
            return self.whole.by_runs(found.lags, found.patterns) or self.complete
        return (self.complete.without_cases(self.absent) if self.absent else None) or self.complete
