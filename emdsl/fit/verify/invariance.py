"""What must not change anything: the order of rows, a weight for a repeated row, chunks, where the module runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np

from emdsl.errors import DataError, EmdslError
from emdsl.families.scope import Array
from emdsl.fit.fitter import DegenerateError
from emdsl.fit.interpret import ragged_axes
from emdsl.fit.verify.blur import ROUNDED
from emdsl.fit.verify.case import Case
from emdsl.fit.verify.certificate import Check, far, largest, measured, reason, skipped
from emdsl.fit.verify.checks import SLOWLY
from emdsl.fit.verify.effort import MOST_POINTS, points_of
from emdsl.fit.verify.far import far_out
from emdsl.fit.verify.moved import MOVED, another_path
from emdsl.fit.verify.on_average import many
from emdsl.fit.verify.setting import Drawn, Setting, again, flat
from emdsl.fit.verify.world import Unchecked, World
from emdsl.language.model import Dim, ModelText, Ragged, Size, Variable
from emdsl.runtime.data.plates import nest_rows, ragged_rows
from emdsl.runtime.fitting.climbs import Climb, Setup
from emdsl.runtime.fitting.loop import climb
from emdsl.runtime.fitting.symmetry import alike

SAME = 1e-9
AS_GOOD_BY_SLOPES = 1e-6  # two ends of quasi-Newton where Q has kinks: as near as its slopes are held to be level
AS_GOOD = 1e-8  # of the objective: two ends of Newton's method on a ridge, which differ as parameters
NEIGHBOURS = 10  # times what a start a little beside moves: two fits differ by no more than that
OF_ESTIMATES = 100  # times what points miss of the log-likelihood may what they miss of a step be
LAST_DIGITS, AS_MODES_ARE = 1e-15, 1e-7  # how little; modes are found from those before, points stand about them
OTHERS = 10  # values of the latents, and data, with which the log joint is compared before an order means nothing
OF_A_START = 30  # rows
NO_MULTIPLES = ("simplex", "correlation")
TWICE = "a weight of 2 is the row twice"


def climbs(case: Case) -> Iterator[Check]:
    """The objective never falls, but for what twice the points of a quadrature tell of its error before and after."""
    starts = ((case.start, 8, ""), (None, 4, " from its own start"))  # many are tried before that one is found
    for start, steps, where in starts if case.first else starts[:1]:
        before, note = steps, ""
        if start is None and (points := points_of(case.model.derived.joint)) > MOST_POINTS:
            text = f"it is the best of many, each of some steps at the {points} points that an element has"
            yield skipped("EM climbs", f"{steps} steps{where}", text)
            return
        drawn = None if start is not None else _some_rows(case)
        while True:
            try:
                fit = case.fit(start, before, drawn)
                break
            except DegenerateError:
                if start is None:
                    yield skipped("EM climbs", f"{steps} steps{where}", "of so few rows the fit collapses from there")
                    return
                if before == 1:
                    raise
                before, note = before - 1, "the steps before something collapses: what is kept of that may fall"
        if fit.status_ == "decreased":  # the step that fell is not in the history
            yield Check("EM climbs", f"step {len(fit.history_)}{where}", "failed", note=fit.message_)
            continue
        history = np.asarray(fit.history_)
        falls = np.maximum(0.0, -np.diff(history)) / (1 + abs(history[-1]))
        most = SAME
        if falls.max(initial=0.0) > SAME and fit.quadrature_error_ is not None:
            worst = int(np.argmax(falls))
            ends = [case.fit(start, k, drawn, policy="keep").quadrature_error_ for k in (worst, worst + 1)]
            told = SLOWLY * sum(map(abs, ends)) / (1 + abs(history[-1]))
            most, note = told, "twice the points tell of errors up to this"
        yield measured("EM climbs", f"{steps} steps{where}", falls.max(initial=0.0), max(most, SAME), note)


def _some_rows(case: Case) -> Drawn:
    """More rows, in which less collapses: from a start of its own a likelihood of a few that has no end is climbed."""
    with suppress(Unchecked, EmdslError, NotImplementedError):
        more = many(case, OF_A_START)[0]
        case.fit(case.start, 0, more)  # thirty elements of which each pair is tied are too many to sum over
        return more
    return case.drawn


def memory(case: Case) -> Iterator[Check]:
    """Two steps are one step, twice: nothing is kept from one to the next but the parameters, and of mean-field q."""
    twice = case.fit(case.start, 2)
    if not case.exact:
        again = _one_more(case)
        off = largest(*(far(again.params[n], v) for n, v in twice.params_.items()))
        off = largest(off, far(again.objective, twice.history_[-1]))
        yield measured("two steps are one, twice", "with q of the step before", off, SAME)
        return
    if alike(twice.model.module.SPEC, case.step, twice.sizes_):
        raise Unchecked("after one step components are alike, and no fit starts there")
    once = case.fit(case.step, 1)
    off, most, note = _params_apart(once, twice), SAME, ""
    if off > SAME:  # a search that ends at a kink, or on what is all but level, ends by the last digit
        beside = LAST_DIGITS if once.quadrature_error_ is None else AS_MODES_ARE
        found = max((_params_apart(once, fit) for fit in _beside(case, beside)), default=0.0)
        if NEIGHBOURS * found > SAME:
            most, note = NEIGHBOURS * found, f"a start off by {beside:.0e} moves it so far"
        first = case.fit(case.start, 1)
        if off > most and len({fit._times for fit in (first, once, twice)}) > 1:
            raise Unchecked("of one step and of two not as many points of a quadrature are taken")
        missed = abs(first.quadrature_error_ or 0.0) / (1 + abs(first.history_[-1]))
        if most < off <= OF_ESTIMATES * missed:  # the points are placed anew, from the modes of those before
            raise Unchecked(f"twice the points tell of an error of {missed:.0e} after the first step")
    yield measured("two steps are one, twice", "", off, most, note)


def _one_more(case: Case) -> Climb:
    """The step after the first, by a copy of the module that remembers nothing, from the q that this one began with."""
    once, q = case.fit(case.start, 1), case.begun.factors_
    if q is None or not case.start:
        raise Unchecked("q is all that steps move" if q else "q has no factors that a step begins with")
    data, prepared = once._training[:2]
    module = once._variant.current.load_module()
    return climb(Setup(module, data, prepared, 1, 0.0, "raise"), once.params_, q)


def _params_apart(a: Any, b: Any) -> float:
    return largest(*(far(a.params_[n], v) for n, v in b.params_.items()))


def _beside(case: Case, by: float, at: Mapping[str, Array] | None = None) -> Iterator[Any]:
    """Fits of one step from parameters beside these, or those after the first, where the domains allow it.

    Shares go on adding up to one, and correlations keep their diagonal.
    """
    middle = case.step if at is None else at
    kept = {n: case.space.direction(n, case.rng(15)) for n in middle if case.space.domains[n][0] in NO_MULTIPLES}
    for off in (-by, -by / 4, by / 4, by):
        start = {n: np.asarray(v) * (1 + off) for n, v in middle.items() if n not in kept}
        moved = case.space.at({n: middle[n] for n in kept}, {n: off * step for n, step in kept.items()})
        try:
            yield case.fit({**start, **moved}, 1)
        except DataError:  # an end of a domain
            continue


def apart(a: Any, b: Any) -> float:
    """The largest difference of two fits, in parameters and history."""
    return largest(_climbs_apart(a, b), *(far(a.params_[n], v) for n, v in b.params_.items()))


def as_good(case: Case, a: Any, b: Any, drawn: Drawn, **beside: Any) -> tuple[float, float]:
    """How far two fits are apart, and how far they may be: Newton that ends elsewhere ends in as good a place."""
    off = apart(a, b)
    if off <= SAME:
        return off, SAME
    kinks = any(u.kind == "gradient" for u in case.derived.updates)  # between which a search may end
    most = AS_GOOD_BY_SLOPES if kinks else AS_GOOD
    off = largest(_climbs_apart(a, b), _worse(case, a.params_, b.params_, drawn, **beside))
    if kinks and off > most:  # where one search ends by the last digit, so does one over other sums
        once = case.fit(case.start, 1).history_
        most = max([most, *(NEIGHBOURS * far(fit.history_, once) for fit in _beside(case, LAST_DIGITS, case.start))])
    return off, most


def _climbs_apart(a: Any, b: Any) -> float:
    """The largest difference of two fits in their histories, of each of which rounding takes its own part."""
    return far(a.history_, np.asarray(b.history_))


def _worse(case: Case, a: Mapping[str, Any], b: Mapping[str, Any], drawn: Drawn, **beside: Any) -> float:
    """How far two ends are apart in the objective: on a ridge, where Newton ends anywhere, they must be as good."""
    one, other = (case.fit(p, 0, drawn, **beside).history_[0] for p in (a, b))
    return float(abs(one - other) / (1 + abs(one)))


def rows(case: Case) -> Iterator[Check]:
    """Plate by plate: elements in another order, and one of them given twice or with a weight of 2."""
    model = case.world.model
    if not case.exact:
        raise Unchecked("an approximate posterior starts at random, row by row")
    for name in outermost(model):
        for check, make in (("rows in another order", _permuted), (TWICE, repeated)):
            try:
                yield make(case, name)
            except Unchecked as why:
                yield skipped(check, name, str(why))
            except DegenerateError as why:  # of few rows, whose likelihood has no end: rounding decides
                yield skipped(check, name, f"with the rows so a fit collapses: {why.problems[0].message}")


Moved = tuple[Array, Drawn, dict[str, Array]]  # an order, data and parameters in it


def _in_another_order(case: Case, name: str) -> Moved:
    """An order in which the log joint stays, found once for each plate of a case; raises Unchecked without one."""
    if name not in case.moved:
        try:
            case.moved[name] = _find_order(case, name)
        except Unchecked as why:
            case.moved[name] = why
    found: Moved | Unchecked = case.moved[name]
    if isinstance(found, Unchecked):
        raise found
    return found


def _find_order(case: Case, name: str) -> Moved:
    rng, rows = case.rng(5), case.drawn.setting.sizes[name]
    order = rng.permutation(rows)
    while (order == np.arange(rows)).all() and rows > 1:
        order = order[::-1]
    first, (moved, params) = order, taken(case, name, order, case.start)
    places = np.arange(rows)
    for of, latents in _likewise(case):
        if not _is_alike(of, name, latents, (places, order)):
            raise Unchecked("the order is part of the model")
        order = rng.permutation(rows)  # of one, what another row is may be the same by chance
    return first, moved, params


def _is_alike(case: Case, name: str, latents: Mapping[str, Array], orders: Sequence[Any]) -> bool:
    """Whether the log joint of the elements of a plate is the same in two orders."""
    found = []
    for order in orders:
        there, params = taken(case, name, np.asarray(order), case.start, latents)
        found.append(float(World.of(case.world.model, there).rows(params, there.latents).sum()))
    before, now = found
    return before == now or abs(before - now) <= SAME * (1 + abs(before))


def _likewise(case: Case) -> Iterator[tuple[Case, Mapping[str, Array]]]:
    """The data with their latents and with others, then other data: of those drawn, rows may be alike by chance."""
    yield case, case.drawn.latents
    yield from ((case, _elsewhere(case, k)) for k in range(OTHERS))
    with suppress(DataError):
        for k in range(OTHERS):
            other = again(case.world.model, case.drawn, case.rng(80 + k))
            yield replace(case, drawn=other), other.latents


def _permuted(case: Case, name: str) -> Check:
    order, moved, params = _in_another_order(case, name)
    try:
        a, b = case.fit(params, 1, moved), case.fit(case.start, 1)
    except DataError as why:  # the first row, whose parent nobody asks for, is its own: elsewhere that is a cycle
        raise Unchecked("in another order these are no data") from why
    _, wanted = taken(case, name, order, {n: np.asarray(v) for n, v in b.params_.items()})
    off, most = _climbs_apart(a, b), SAME
    apart = largest(*(far(a.params_[n], v) for n, v in wanted.items()))
    if not apart <= SAME:
        apart, most = min(apart, _worse(case, a.params_, wanted, moved)), AS_GOOD
    off, note = largest(off, apart), ""
    if off > most:  # as above: where one search ends by the last digit, so does one over sums in another order
        found = max((_params_apart(b, fit) for fit in _beside(case, LAST_DIGITS, case.start)), default=0.0)
        if NEIGHBOURS * found > most:
            most, note = NEIGHBOURS * found, f"a start off by {LAST_DIGITS:.0e} moves it so far"
    return measured("rows in another order", name, off, most, note)


def _elsewhere(case: Case, number: int) -> Mapping[str, Array]:
    """Other values of the latents, with which the data are possible: where no density is, all orders are alike.

    Numbers as drawn, shuffled; states any, where all elements may have the same. What data tell without noise stays.
    """
    rng, sizes = case.rng(60 + number), case.drawn.setting.sizes
    states, numbers = {}, {}
    for n, value in case.drawn.latents.items():
        domain = case.world.model.variable(n).domain
        if isinstance(domain.levels, Dim) or domain.kind == "bool":
            levels = domain.levels.value(sizes) if isinstance(domain.levels, Dim) else 2
            states[n] = rng.integers(0, levels, np.shape(value))
        elif domain.interval and np.ndim(value):
            numbers[n] = rng.permutation(value)
    for other in (states | numbers, states, numbers):
        latents = {**case.drawn.latents, **other}
        if np.isfinite(_density(case, latents)):
            return latents
    return case.drawn.latents


def _density(case: Case, latents: Mapping[str, Array]) -> float:
    return float(case.world.rows(case.start, latents).sum())


def outermost(model: ModelText) -> list[str]:
    """Plates that have a name, and that others of the data lie in."""
    sizes = (v.plates[0].size for v in model.of_kind("observed") if v.plates)
    return list(dict.fromkeys(s.name for s in sizes if isinstance(s, Dim) and s.name))


def repeated(case: Case, name: str, drawn: Drawn | None = None) -> Check:
    """A weight of 2 beside the row twice, in the data of the case, or in others of its sizes. Raises Unchecked."""
    model = case.world.model
    if any(str(p.size) == name for f in model.potentials for p in f.plates):
        raise Unchecked("what a factor holds of data alone is a penalty, which no weight multiplies")
    for v in model.variables:
        if v.kind == "param" and _axes(v, name):
            raise Unchecked(f"the parameter {v.name} has an element for each")
        if any(isinstance(d, Dim) and d.name == name for d in v.domain.dims):
            raise Unchecked(f"an element of {v.name} runs over all of them")
        if v.domain.levels is not None and getattr(v.domain.levels, "name", None) == name:
            raise Unchecked(f"{v.name} points at its elements")
    _in_another_order(case, name)  # a row that stands elsewhere must mean the same
    n = case.drawn.setting.sizes[name]
    if not all(_is_alike(of, name, at, ([0, *range(n)], [*range(n), 0])) for of, at in _likewise(case)):
        raise Unchecked("of one row more the order is part of the model")
    twice, _ = taken(case if drawn is None else replace(case, drawn=drawn), name, np.array([0, *range(n)]), case.start)
    weight = np.ones(n)
    weight[0] = 2.0
    try:
        a = case.fit(case.start, 0, drawn, sample_weight=weight, weights_over=name)
        b = case.fit(case.start, 1, twice)
        no_end = far_out(case.model, case.drawn, b.params_)  # Newton ends anywhere on its way there
        if not no_end:
            try:
                a = case.fit(case.start, 1, drawn, sample_weight=weight, weights_over=name)
            except DegenerateError as collapsed:
                if ROUNDED in b.message_:  # a variance of last digits, which may be less than 0 as well
                    raise Unchecked("of the row twice a variance is last digits alone") from None
                return Check(TWICE, name, "failed", note=f"the row twice does not, but {reason(collapsed)}")
    except EmdslError as refused:
        raise Unchecked(refused.problems[0].message) from None
    ways = [_ways(fit) for fit in (a, b)]
    if ways[0] != ways[1] or "meanfield" in {*ways[0].values()} - {*_ways(case.begun).values()}:  # as the fit says
        raise Unchecked(f"what weighs has another posterior: {', '.join(dict.fromkeys(ways[0].values()))}")
    if no_end or another_path(case):
        off = float(abs(a.history_[0] - b.history_[0]) / (1 + abs(b.history_[0])))
        told = "the step finds no end: as it begins alone" if no_end else MOVED
        return measured(TWICE, name, off, SAME, told)
    off, most = as_good(case, a, b, twice)
    note = ""
    if off > most:
        points = max(abs(fit.quadrature_error_ or 0.0) for fit in (a, b)) / (1 + abs(b.history_[-1]))
        if off <= points:  # points stand where a mode was found
            most, note = points, "twice the points tell of errors up to this"
    return measured(TWICE, name, off, most, note)


def _ways(fit: Any) -> dict[str, str]:
    return {n: way.method for n, way in fit._variant.current.plan.items()}


def taken(
    case: Case, name: str, order: Array, params: Mapping[str, Array], latents: Mapping[str, Array] | None = None
) -> tuple[Drawn, dict[str, Array]]:  # fmt: skip
    """Data, latents (those drawn, or others) and parameters with these elements of a plate, in this order.

    Raises Unchecked.
    """
    model, s = case.world.model, case.drawn.setting
    lengths = dict(s.lengths)
    for ragged, axes in ragged_axes(model).items():
        if getattr(axes[0], "name", None) == name:
            blocks = _by_element(np.asarray(s.lengths[ragged]), axes, s)
            lengths[ragged] = np.concatenate([blocks[i] for i in order]).tolist()

    def move(values: Mapping[str, Array]) -> dict[str, Array]:
        return {n: _take(model.variable(n), a, name, order, s) for n, a in values.items()}

    sizes = {**s.sizes, name: len(order)}
    setting = s._replace(sizes=sizes, lengths=lengths, givens=move(s.givens))
    return Drawn(setting, move(case.drawn.data), move(case.drawn.latents if latents is None else latents)), move(params)


def _axes(v: Variable, name: str) -> list[int]:
    """Which axes of a variable's array run over a size."""
    return [k for k, d in enumerate(v.shape) if isinstance(d, Dim) and d.name == name]


def _by_element(rows: Array, axes: Sequence[Size], s: Setting) -> list[Array]:
    """Flat rows over nested axes, those of each element of the outermost."""
    inner = max((k + 1 for k, axis in enumerate(axes) if isinstance(axis, Ragged)), default=1)
    whole = rows.reshape(-1, *(axis.value(s.sizes) for axis in axes[inner:] if isinstance(axis, Dim)), *rows.shape[1:])
    ragged = {n: ragged_rows(np.asarray(counts)) for n, counts in s.lengths.items()}
    return [flat(part).reshape(-1, *rows.shape[1:]) for part in nest_rows(whole, list(map(str, axes)), ragged, s.sizes)]


def _take(v: Variable, value: Array, name: str, order: Array, s: Setting) -> Array:
    value = np.asarray(value)
    axes = _axes(v, name)
    last = max((k for k, d in enumerate(v.shape) if isinstance(d, Ragged)), default=None)
    if last is not None:
        if axes != [0]:
            raise Unchecked(f"{v.name} does not lie over it, or not with it outermost")
        blocks = _by_element(value, v.shape[: last + 1], s)
        return np.concatenate([blocks[i] for i in order])
    for axis in axes:
        value = np.take(value, order, axis)
    if getattr(v.domain.levels, "name", None) == name:
        inverse = np.argsort(order, kind="stable")
        value = inverse[value]
    return value
