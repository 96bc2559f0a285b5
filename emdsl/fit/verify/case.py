"""The data that a certificate is made on: drawn from the model, as large as the oracle reaches."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np

from emdsl.derive.joint.constraints import seen_exactly
from emdsl.derive.joint.extremes import which_of_several
from emdsl.derive.joint.spikes import is_point_mass, leaves
from emdsl.errors import DataError, EmdslError
from emdsl.families.scope import Array
from emdsl.fit.fitter import DegenerateError
from emdsl.fit.verify.effort import MOST_NUMBERS, MOST_POINTS, numbers_of, points_of, refuse_dear_gaps
from emdsl.fit.verify.far import far_out
from emdsl.fit.verify.oracle import FINE, Oracle
from emdsl.fit.verify.setting import Drawn, Numbers, as_data, draw, plate_names, shortened, sized
from emdsl.fit.verify.space import Space
from emdsl.fit.verify.tables import Table
from emdsl.fit.verify.tried import compared, never, tried
from emdsl.fit.verify.world import Unchecked, World
from emdsl.language.functions import COMPARISONS
from emdsl.language.model import ModelText
from emdsl.language.tree import Call, Expr, Var, children

PLATES = (6, 5, 4, 3, 2)  # sizes tried in turn, until the oracle reaches the whole
LEAST, MOST, ATTEMPTS = 1, 2, 6  # more data: so many in any case, at most, and how many are drawn for that
APART = 7919  # between their seeds
MOST_LATENTS = 200  # numbers of latents: the time of sums over them grows with their number, ten seconds there
DEAR = 20_000  # numbers in the oracle's tables, from which on there are no more than the least
SETTLED = 1e-10  # of a log-likelihood by points, of which slopes and moments are compared with exact ones
MANY = "the configurations of these data are more than are enumerated unasked: a fit goes the next way"
DRAWS = 12  # data on which a component is empty are drawn again
DOUBLED = 3  # times that data are twice as many where an M-step goes far: more rows than that no oracle reaches


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


class Begun(NamedTuple):
    """Data that were drawn, and where one M-step, and three, lead from the parameters that they were drawn with.

    Where the first goes far there are no three, and the last is that one.
    """

    drawn: Drawn
    step: Mapping[str, Array]
    third: Mapping[str, Array]


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
    fine: int = FINE  # nodes of the oracle's quadratures
    apart: bool = True  # whether the module is tried in an interpreter of its own, too
    seen: frozenset[str] = frozenset()  # data that stand for latents: they have no gaps
    first: bool = True  # of the data drawn: what costs as much as all else and asks little of data is tried there alone

    @property
    def derived(self) -> Any:
        """The derivation."""
        return self.model.derived

    @property
    def plan(self) -> Mapping[str, Any]:
        return self.model.plan

    def rng(self, salt: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, salt])

    def sizes(self) -> dict[str, int]:
        """The sizes that an estimator is told."""
        return told_sizes(self.model, self.drawn)

    def data(self) -> dict[str, Any]:
        """The data as an estimator takes them."""
        return as_data(self.model.resolved, self.drawn)

    def need(self) -> Oracle:
        """The oracle. Raises Unchecked."""
        if self.oracle is None:
            raise Unchecked(self.reason)
        return self.oracle

    @cached_property
    def exact(self) -> bool:
        """Whether the objective is the log-likelihood."""
        return is_exact(self.model) and not goes_on(self.model, self.drawn)

    @property
    def missed(self) -> float:
        """What twice the points change of the log-likelihood at the start, of 1 + its size."""
        return float(abs(self.begun.quadrature_error_ or 0.0) / (1 + abs(self.begun.history_[-1])))

    def settled(self) -> None:
        """Raises Unchecked where a fit's own points tell that they miss some of the mass: so do moments and slopes."""
        if (off := self.missed) > SETTLED:
            raise Unchecked(
                f"twice the points tell of an error of {off:.0e} of the log-likelihood: they miss some mass"
            )

    @cached_property
    def _fits(self) -> dict[int, Any]:
        """Fits from the start, by their steps."""
        return {}

    @property
    def begun(self) -> Any:
        """The fit at the start, before any M-step."""
        return self.fit(self.start)

    @cached_property
    def moved(self) -> dict[str, Any]:
        """Its plates in another order, or why the order means something: several checks ask for each of them."""
        return {}

    @cached_property
    def by_rows(self) -> dict[tuple[int, float], tuple[Drawn, Any]]:
        """Data of many rows, and the fit of each: several checks ask for the same."""
        return {}

    def fit(self, params: Mapping[str, Any] | None, steps: int = 0, drawn: Drawn | None = None, **beside: Any) -> Any:
        """The package's fitter after some M-steps; from the start, which many checks ask for, each is made once."""
        if params is not self.start or drawn is not None or beside:
            return fitted(self.model.fitter, self.model, drawn or self.drawn, params, steps, **beside)
        if steps not in self._fits:
            self._fits[steps] = fitted(self.model.fitter, self.model, self.drawn, params, steps)
        return self._fits[steps]


def fitted(
    make: Any,
    model: Compiled,
    drawn: Drawn,
    params: Mapping[str, Any] | None,
    steps: int,
    policy: str = "raise",
    tol: float = 0,
    **beside: Any,
) -> Any:
    """An estimator after `steps` M-steps from `params`, or fewer where one moves the objective by less than `tol`.

    Raises Unchecked where gaps make it one that draws.
    """
    sizes = told_sizes(model, drawn)
    data = as_data(model.resolved, drawn)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a printed module has a warning class of its own
        estimator = make(max_iter=steps, tol=tol, seed=0, sizes=sizes, on_degenerate=policy)
        estimator.as_printed = True  # another variant of the model may hide what is wrong with this one
        estimator.hurried = True  # what twice the points add, and where a few steps lead to, few of all fits are asked
        if not model.derived.drawn:
            refuse_dear_gaps(estimator, drawn.data, data)
        return estimator.fit(data, init=params, **beside)


def is_exact(model: Compiled) -> bool:
    """Whether the posterior is exact by the plan, or q is one factor."""
    found = model.derived.elimination
    whole = len(found.parts) == 1 and not any(b.apart for b in found.blocks)
    return whole or all(p.method.startswith(("exact", "quadrature")) for p in model.plan.values())


def goes_on(model: Compiled, drawn: Drawn) -> bool:
    """Whether data have more configurations than are enumerated unasked: their fit goes the next way."""
    if model.derived.joint.configurations is None:
        return False
    return bool(fitted(model.fitter, model, drawn, drawn.setting.params, 0)._variant.many)


def told_sizes(model: Compiled, drawn: Drawn) -> dict[str, int]:
    """The sizes that the model has by name."""
    return {n: v for n, v in drawn.setting.sizes.items() if any(s.name == n for s in model.resolved.sizes)}


def find_case(model: Compiled, seed: int, anyhow: bool = True) -> Case | None:
    """The largest data of those tried that the oracle reaches, and an E-step in little time.

    Without such a few rows; or None, where these are not to be taken anyhow. Raises EmdslError.
    """
    text = sized(model.resolved)
    if (short := shortened(text)) != text:
        with suppress(EmdslError, NotImplementedError):  # an element far along may be named
            return _find_case(model, short, seed, anyhow)
    return _find_case(model, text, seed, anyhow)


def _find_case(model: Compiled, text: ModelText, seed: int, anyhow: bool) -> Case | None:
    reason, first, end = "", None, None
    for plates in PLATES:
        least = anyhow and plates == PLATES[-1]
        first = _drawn_first(model, text, seed, plates, first, np.inf if least else MOST_NUMBERS)
        if first is not None and first.oracle is None:
            reason = reason or first.reason
            if not least:
                continue  # nothing is fitted to data that are not taken
        try:
            found = _draw(model, text, seed, plates, first=None if first is None else first.drawn)
        except (DegenerateError, DataError):  # of fewer elements there may be fewer configurations
            if plates == PLATES[-1]:
                raise
            continue
        assert found is not None
        mine = first if first is not None and found.drawn is first.drawn else _case(model, text, seed, found.drawn)
        end = replace(mine, step=found.step)
        if end.oracle is not None:
            return end
        reason = reason or end.reason
    return None if end is None else replace(end, reason=reason)


def _drawn_first(
    model: Compiled, text: ModelText, seed: int, plates: int, before: Case | None, most: float
) -> Case | None:
    """The data that are tried first, those `before` where the model says how large all is; None where a fit refuses
    them."""
    try:
        drawn = draw(text, 1000 * seed, plates)
        if before is not None and drawn.setting.sizes == before.drawn.setting.sizes and most < np.inf:
            return before
        return _case(model, text, seed, drawn, most)
    except (DegenerateError, DataError):
        return None


def further(model: Compiled, first: Case) -> Iterator[Case | list[str]]:
    """More data that the oracle reaches, each of which tries what those before did not; then what none of them tries.

    Sizes that no plate has are others than before, and givens than by default; givens lie near what conditions compare
    them with, plates are as long as positions are compared with.
    """
    text = first.world.model
    numbers, last = compared(text)
    met, cost = tried(text, first.drawn), sum(t.a.size for t in first.found)
    kept = 0

    def wanted(drawn: Drawn) -> bool:
        return kept < LEAST or bool(tried(text, drawn) - met)

    known = first.drawn.setting.sizes
    plates = min(PLATES[0], *(known[n] for n in plate_names(text) if n in known), PLATES[0])
    most = max(MOST_NUMBERS, numbers_of(model.derived.joint, first.drawn.latents))
    dear = cost > DEAR or points_of(model.derived.joint) > MOST_POINTS
    attempts = (LEAST if dear else ATTEMPTS) if first.oracle is not None else 0
    for k in range(attempts):
        if kept == MOST:
            break
        far = last + 2 > plates and k % 2 == 0
        try:
            found = _draw(
                model, text, first.seed + APART * (k + 1), last + 2 if far else plates, ((3, 2), (2, 3))[k % 2],
                numbers if k % 3 < 2 else None, 2, first.drawn.setting.folded, other=k % 2 == 0, wanted=wanted,
                most=most,
            )  # fmt: skip
            if found is None or far_out(model, found.drawn, found.third, every=True):
                continue
            case, facts = _case(model, text, first.seed, found.drawn), tried(text, found.drawn)
        except (EmdslError, NotImplementedError):
            continue
        if case.oracle is not None:
            kept, met = kept + 1, met | facts
            yield replace(case, step=found.step)
    yield never(text, met)


def _case(model: Compiled, text: ModelText, seed: int, drawn: Drawn, most: float = np.inf) -> Case:
    """These data with their oracle, or with the reason why there is none; no step is made yet."""
    world = World.of(text, drawn)
    start = {n: np.asarray(v, float) for n, v in drawn.setting.params.items()}
    space = Space.of(text.of_kind("param"), world.scope, start)
    try:
        if (points := numbers_of(model.derived.joint, drawn.latents)) > most:
            raise Unchecked(f"an E-step evaluates log densities at {points} numbers, and no more than {most} are taken")
        by_themselves(text)
        if goes_on(model, drawn):
            raise Unchecked(MANY)
        if (numbers := sum(a.size for a in world.latents.values())) > MOST_LATENTS:
            raise Unchecked(f"{numbers} numbers are latent; sums are made over no more than {MOST_LATENTS}")
        oracle, found_tables, fine = Oracle.settled(world, start, seed, FINE)
        oracle.log_norm(found_tables)
        _reached(oracle, world, start)
    except Unchecked as why:
        return Case(model, seed, drawn, world, space, start, {}, None, (), str(why))
    return Case(model, seed, drawn, world, space, start, {}, oracle, found_tables, "", fine)


def by_themselves(text: ModelText) -> None:
    """Raises Unchecked where data say what several latents are together."""
    exact = max(seen_exactly(text).values(), default=0)
    if exact > 1 or which_of_several(text) != text or any(together(text)):
        raise Unchecked("data are several latents together without noise: none of them is a number by itself")


def together(text: ModelText) -> Iterator[bool]:
    """For each point that data are, whether it is made of several latents, of which one at least is a real number."""
    kinds = {v.name: v.domain.interval for v in text.of_kind("latent")}
    points = (c for v in text.of_kind("observed") for _, c in leaves(v.distribution) if is_point_mass(c.family))
    for call in points:
        pending, read = list[Expr]([call.args[0][1]]), set[str]()
        while pending:
            e = pending.pop()
            if isinstance(e, Call) and e.fn in COMPARISONS:
                continue  # whether one is above another is no number
            read |= {e.name} & set(kinds) if isinstance(e, Var) else set()
            pending += children(e)
        yield len(read) > 1 and any(kinds[n] for n in read)


def _reached(oracle: Oracle, world: World, params: Mapping[str, Array]) -> None:
    """Raises Unchecked where nodes of a quadrature miss the mass: the latents that were drawn are no such outliers."""
    drawn = float(world.rows(params, world.latents).sum())
    numbers = sum(a.size for a in world.latents.values())
    if np.isfinite(drawn) and oracle.total(params) < drawn - 20 * (1 + numbers):
        raise Unchecked("the mass of the latents is narrower than the nodes of a quadrature find")


def _draw(
    model: Compiled, text: ModelText, seed: int, plates: int, others: tuple[int, ...] = (2, 3),
    near: Numbers | None = None, tries: int = DRAWS, rising: bool = False, other: bool = False,
    wanted: Callable[[Drawn], bool] = lambda drawn: True, most: float = np.inf, first: Drawn | None = None,
) -> Begun | None:  # fmt: skip
    """Data on which an M-step has what it needs: others, and then more of them, where a component is empty.

    So where what is climbed to lies at infinity, as slopes of a separated regression do: no end there is stationary.
    Where all data are so, the first are taken; `first`, where they are drawn already. Nothing is fitted to data that
    are not `wanted`, or where log densities are evaluated at more than `most` numbers, and none come after these: None
    where none came before.
    """
    last: EmdslError | None = None
    far: Begun | None = None
    lost = 0  # times that the M-step went far: a likelihood of few rows that is unbounded, of which each try takes long
    for attempt in range(tries):
        try:
            # no density: numbers may have to be positive, or in order
            folded = rising or (last is not None and attempt % 2 == 1)
            many = plates * 2 ** (attempt // 4 + lost) if attempt // 4 + lost else 0
            beside = near or (compared(text)[0] if last is not None else None)  # a branch that no row takes
            drawn = None if attempt else first
            drawn = drawn or draw(text, 1000 * seed + attempt, plates, others, folded, beside, many, other)
            numbers = numbers_of(model.derived.joint, drawn.latents)
            if numbers > most or not wanted(drawn):
                break
            most = min(most, max(numbers, MOST_NUMBERS))  # where the first data are many, no more of them
            step = _after(model, drawn, 1)
            third = step if far_out(model, drawn, step) else _after(model, drawn, 3)
        except (DegenerateError, DataError) as why:
            last = why
            continue
        found = Begun(drawn, step, third)
        if not far_out(model, drawn, third):
            return found
        far, lost = far or found, lost + 1
        if lost > DOUBLED:
            break
    if far is None and last is not None:
        raise last
    return far


def _after(model: Compiled, drawn: Drawn, steps: int) -> dict[str, Array]:
    """Where M-steps lead from the parameters that the data were drawn with."""
    fit = fitted(model.fitter, model, drawn, drawn.setting.params, steps)
    return {n: np.asarray(v, float) for n, v in fit.params_.items()}
