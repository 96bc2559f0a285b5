"""The data that a certificate is made on: drawn from the model, as large as the oracle reaches."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from emdsl.derive.joint.constraints import seen_exactly
from emdsl.derive.joint.extremes import which_of_two
from emdsl.errors import DataError, EmdslError
from emdsl.families.scope import Array
from emdsl.fit.fitter import DegenerateError
from emdsl.fit.verify.cells import Unchecked, World
from emdsl.fit.verify.oracle import Oracle, Table, tables
from emdsl.fit.verify.setting import Drawn, as_data, draw, sized
from emdsl.fit.verify.space import Space
from emdsl.language.model import ModelText

PLATES = (6, 5, 4, 3, 2)  # sizes tried in turn, until the oracle reaches the whole
FAR, FACTOR = 10.0, 1000.0  # a step of a number on the line, and of its distance to an end, that is too far
DRAWS = 12  # data on which a component is empty are drawn again


class Compiled(Protocol):
    """What is verified: `emdsl.fit.model.Model`."""

    @property
    def name(self) -> str: ...
    @property
    def resolved(self) -> ModelText: ...
    @property
    def source(self) -> str: ...
    @property
    def plan(self) -> Mapping[str, Any]: ...
    @property
    def derived(self) -> Any: ...
    def load_module(self) -> Any: ...
    def fitter(self, **options: Any) -> Any: ...


@dataclass(frozen=True)
class Case:
    """A model, data, parameters, one M-step from there, and the oracle (or why there is none)."""

    model: Compiled
    seed: int
    drawn: Drawn
    world: World
    space: Space
    start: Mapping[str, Array]
    step: Mapping[str, Array]
    oracle: Oracle | None
    found: tuple[Table, ...]
    reason: str
    apart: bool = True  # whether the module is tried in an interpreter of its own, too

    def rng(self, salt: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, salt])

    def sizes(self) -> dict[str, int]:
        """The sizes that an estimator is told."""
        return told_sizes(self.model, self.drawn)

    def data(self) -> dict[str, Any]:
        """The data as an estimator takes them."""
        return as_data(self.model.resolved, self.drawn.data, self.drawn.setting.lengths)

    def need(self) -> Oracle:
        """The oracle. Raises Unchecked."""
        if self.oracle is None:
            raise Unchecked(self.reason)
        return self.oracle

    @property
    def exact(self) -> bool:
        """Whether the objective is the log-likelihood: the posterior is exact by the plan, or q is one factor."""
        found = self.model.derived.elimination
        whole = len(found.parts) == 1 and not any(b.apart for b in found.blocks)
        return whole or all(p.method.startswith(("exact", "quadrature")) for p in self.model.plan.values())

    @cached_property
    def begun(self) -> Any:
        """The fit at the start, before any M-step: made once for the checks that read it alone."""
        return self.fit(self.start)

    def fit(self, params: Mapping[str, Any], steps: int = 0, drawn: Drawn | None = None, **beside: Any) -> Any:
        """The package's fitter after some M-steps."""
        return fitted(self.model.fitter, self.model, drawn or self.drawn, params, steps, **beside)


def fitted(
    make: Any,
    model: Compiled,
    drawn: Drawn,
    params: Mapping[str, Any],
    steps: int,
    policy: str = "raise",
    **beside: Any,
) -> Any:
    """An estimator after `steps` M-steps from `params`."""
    sizes = told_sizes(model, drawn)
    data = as_data(model.resolved, drawn.data, drawn.setting.lengths)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a printed module has a warning class of its own
        return make(max_iter=steps, tol=0, seed=0, sizes=sizes, on_degenerate=policy).fit(data, init=params, **beside)


def told_sizes(model: Compiled, drawn: Drawn) -> dict[str, int]:
    """The sizes that the model has by name."""
    return {n: v for n, v in drawn.setting.sizes.items() if any(s.name == n for s in model.resolved.sizes)}


def find_case(model: Compiled, seed: int) -> Case:
    """The largest data of those tried that the oracle reaches; without one, a few rows. Raises EmdslError."""
    reason, last = "", None
    text = sized(model.resolved)
    for plates in PLATES:
        drawn, step = _draw(model, text, seed, plates)
        world = World.of(text, drawn)
        start = {n: np.asarray(v, float) for n, v in drawn.setting.params.items()}
        space = Space.of(text.of_kind("param"), world.scope, start)
        last = Case(model, seed, drawn, world, space, start, step, None, (), reason)
        try:
            if max(seen_exactly(text).values(), default=0) > 1 or which_of_two(text) != text:
                raise Unchecked("data are several latents together without noise: none of them is a number by itself")
            oracle = Oracle.of(world, start, np.random.default_rng(seed))
            found = tuple(tables(oracle.layout, start))
            oracle.settle(found)
            oracle.log_norm(found)
            _reached(oracle, world, start)
        except Unchecked as why:
            reason = reason or str(why)
            continue
        return Case(model, seed, drawn, world, space, start, step, oracle, found, "")
    assert last is not None
    return last


def _reached(oracle: Oracle, world: World, params: Mapping[str, Array]) -> None:
    """Raises Unchecked where nodes of a quadrature miss the mass: the latents that were drawn are no such outliers."""
    drawn = float(world.rows(params, world.latents).sum())
    numbers = sum(a.size for a in world.latents.values())
    if np.isfinite(drawn) and oracle.total(params) < drawn - 20 * (1 + numbers):
        raise Unchecked("the mass of the latents is narrower than the nodes of a quadrature find")


def _draw(model: Compiled, text: ModelText, seed: int, plates: int) -> tuple[Drawn, Mapping[str, Array]]:
    """Data on which an M-step has what it needs: others, and then more of them, where a component is empty.

    So where what is climbed to lies at infinity, as slopes of a separated regression do: no end there is stationary.
    Where all data are so, the first are taken.
    """
    last: EmdslError | None = None
    first: tuple[Drawn, Mapping[str, Array]] | None = None
    lost = 0  # times that the M-step went far: a likelihood of few rows that is unbounded, of which each try takes long
    for attempt in range(DRAWS):
        try:
            folded = last is not None and attempt % 2 == 1  # no density: numbers may have to be positive, or in order
            drawn = draw(text, 1000 * seed + attempt, plates * 2 ** ((attempt + 2 * lost) // 4), folded=folded)
            one = fitted(model.fitter, model, drawn, drawn.setting.params, 1)
            found = drawn, {n: np.asarray(v, float) for n, v in one.params_.items()}
            if far_out(model, drawn, found[1]):
                first, lost = first or found, lost + 1
                continue
            fitted(model.fitter, model, drawn, drawn.setting.params, 3)
        except (DegenerateError, DataError) as why:
            last = why
            continue
        return found
    if first is not None:
        return first
    assert last is not None
    raise last


def far_out(model: Compiled, drawn: Drawn, step: Mapping[str, Array]) -> bool:
    """Whether a climbed parameter went further in one M-step than a maximum at a finite place is likely to lie."""
    climbed = {n for u in model.derived.updates if u.kind in ("newton", "gradient") for n in u.params}
    for v in model.resolved.of_kind("param"):
        if v.name not in climbed or not (v.domain.interval or v.domain.kind == "spd"):
            continue
        before, after = (np.asarray(a, float) for a in (drawn.setting.params[v.name], step[v.name]))
        if v.domain.kind == "spd":
            was, now = np.linalg.eigvalsh(before), np.linalg.eigvalsh(after)
            if not ((now <= FACTOR * was) & (was <= FACTOR * now)).all():
                return True
            continue
        low, high = v.domain.ends
        if math.isinf(low) and math.isinf(high):
            near = np.abs(after - before) <= FAR * (1 + np.abs(before))
        else:
            near = np.array(True)
            for end in (e for e in (low, high) if math.isfinite(e)):
                was, now = np.abs(before - end), np.abs(after - end)
                near = near & (now <= FACTOR * was) & (was <= FACTOR * now)
        if not near.all():
            return True
    return False
