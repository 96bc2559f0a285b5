"""Which model takes data whose gaps tie rows under hidden states, and what is said where states are too many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from emdsl.fit.runs import GONE, Pattern, Runs, gathered, runs_of, with_runs
from emdsl.fit.shifted import Lags, without_lets
from emdsl.language import model as m
from emdsl.language.transform import expressions_of, names_in
from emdsl.runtime.data.binding import Bound
from emdsl.runtime.data.faults import DataError

MOST = 65_536  # configurations of the states of one run
MOST_NUMBERS = 2**26  # in the precisions of all runs together


class CompiledModel(Protocol):
    """What is needed of `emdsl.fit.model.Model`."""

    @property
    def resolved(self) -> m.ModelText: ...
    @property
    def module(self) -> Any: ...
    @property
    def derived(self) -> Any: ...
    def by_runs(self, lags: Lags, patterns: tuple[Pattern, ...], drawn: bool = True) -> Any: ...


class Tied(NamedTuple):
    """What the model by runs is made of, its data, and both as they are written."""

    runs: Runs
    data: Bound
    written: Bound
    text: m.ModelText

    def posterior(self, found: Mapping[str, Any]) -> dict[str, Any]:
        return gathered(found, self.data, self.runs, self.text)


def tied(whole: CompiledModel, current: CompiledModel | None, names: Sequence[str], bound: Bound) -> Tied | None:
    """The model by runs, where gaps would have all configurations of a chain enumerated, all rows of counts drawn, or
    be refused (`current` is None); None where that is no way.

    Raises DataError (D022) where the longest run has too many configurations, with their number.
    """
    states = [n for n in names if n not in bound.values]  # of which what was seen has another name
    if states or (
        current is not None and not _enumerated(current) and (whole.derived.drawn or not current.derived.drawn)
    ):
        return None
    found = runs_of(whole.resolved, names, bound)
    if found is None:
        return None
    _refuse_many(found, whole.resolved, bound)
    if whole.by_runs(found.lags, found.patterns, drawn=current is None) is None:
        return None
    return Tied(found, with_runs(bound, found, whole.resolved), bound, whole.resolved)


def _enumerated(current: CompiledModel) -> bool:
    joint = current.derived.joint
    return joint.configurations is not None and bool(joint.incomplete)


def _refuse_many(found: Runs, model: m.ModelText, bound: Bound) -> None:
    names = ", ".join(found.lags.names)
    states = _states(found.lags, model, bound)
    levels = int(np.prod(list(states.values())))
    longest = max(found.patterns, key=len)
    ways = f"write infer ({', '.join(states)}), ({names}) by meanfield"
    if levels > 1 and len(longest) * np.log(levels) > np.log(MOST) + 1e-9:
        row = int(found.rows(longest, 0)[0])
        gone = sum(GONE in row for row in longest)
        raise DataError(
            f"{names}: {gone} missing from row {row} on tie the states of {len(longest)} rows: {levels}^{len(longest)} "
            f"configurations, and at most {MOST} are summed",
            hint=ways, code="D022", row=row,
        )  # fmt: skip
    numbers = sum(len(p) ** 2 * levels ** len(p) * len(at) for p, (at, _) in found.first.items())
    if numbers > MOST_NUMBERS:
        text = (
            f"the gaps of {names} need {numbers} numbers for the configurations of their rows (at most {MOST_NUMBERS})"
        )
        raise DataError(text, hint=ways, code="D022")


def _states(lags: Lags, model: m.ModelText, bound: Bound) -> dict[str, int]:
    """The discrete latents of a row that what is missing reads, with the number of their states."""
    model = without_lets(model, lags.names)
    lets = {let.name: let.body for let in model.lets}
    read: set[str] = set()
    waiting = [
        e for v in model.variables if v.name in lags.group and v.distribution for e in expressions_of(v.distribution)
    ]
    while waiting:
        names = names_in(waiting.pop()) - read
        read |= names
        waiting += [lets[n] for n in names if n in lets]
    latents = [v for v in model.of_kind("latent") if v.name in read and v.domain.discrete]
    return {v.name: v.domain.levels.value(bound.sizes) if isinstance(v.domain.levels, m.Dim) else 2 for v in latents}
