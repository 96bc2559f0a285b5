"""The bound of mean-field against what it is by definition: the mean of log p - log q over draws from q.

log p is the interpreter's; the draws are those of `factors`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from emdsl.derive.joint.substituted import as_lets
from emdsl.errors import DataError
from emdsl.families.scope import Array
from emdsl.fit.fitter import DegenerateError
from emdsl.fit.verify.blur import PLACES, params_beside, within
from emdsl.fit.verify.case import Case
from emdsl.fit.verify.cells import cells_of
from emdsl.fit.verify.certificate import Check, largest, measured, reason, skipped
from emdsl.fit.verify.checks import SMALL, direction
from emdsl.fit.verify.factors import Ratios, ratios
from emdsl.fit.verify.far import far_out
from emdsl.fit.verify.gaps import is_read
from emdsl.fit.verify.holes import with_holes
from emdsl.fit.verify.m_step import held
from emdsl.fit.verify.moved import moves
from emdsl.fit.verify.rare import hardly_shown
from emdsl.fit.verify.resting import FISHER, Bound, resting
from emdsl.fit.verify.setting import Drawn, draw, flat
from emdsl.fit.verify.space import Space
from emdsl.fit.verify.world import Unchecked, World

DRAWS, STEPS, WIDE = 1000, 1, 0.5  # few steps: later factors are more certain, and tell less apart
ROWS = 5  # of a plate
CLIMB, SAME = 4, 1e-9  # steps beside gaps; rounding of a bound
SETTLED = (4000, 16_000)  # draws that tell whether a factor goes with anything; more where it seems to
BESIDE = 2e-3  # five of these are a gain of 5e-5 of the bound
LEVELS_AT, ELEMENTS, LEAST = 200, 3, 1e-200  # draws, and elements of a latent, at which each of its levels is tried
TRIES = 12  # data that the model refuses are drawn again
NAME = "the bound is the mean of log p - log q"
ON_AVERAGE = "M-step: the mean of log p over draws of q is level"
LEVEL = 1e-6  # of slopes: what differences leave where no draw moves them
BELOW = "the bound is no more than the mean of log p - log q"


def bound(case: Case) -> Iterator[Check]:
    """The objective after some sweeps, in standard errors of the mean over draws from the factors of q."""
    if not case.model.derived.elimination.parts:
        raise Unchecked("the objective is no bound")
    drawn, fit = _fitted(case)
    runs = (
        (FISHER, lambda: resting(case, drawn)),
        (NAME, lambda: _compared(case, drawn, fit)),
        (ON_AVERAGE, lambda: _stationary(case, drawn)),
    )
    for name, run in runs:
        yield from _or_why(name, run)
    for c in _with_gaps(case, drawn):
        yield replace(c, name=f"{c.name}, with gaps")


def _or_why(name: str, run: Callable[[], Iterator[Check]]) -> Iterator[Check]:
    """Checks, or why they are not made: those after them are made all the same."""
    try:
        yield from run()
    except (Unchecked, DataError) as why:  # other densities read what is missing
        yield skipped(name, "", reason(why))
    except DegenerateError as why:
        yield skipped(name, "", f"a fit collapses: {reason(why)}")


def _with_gaps(case: Case, drawn: Drawn) -> Iterator[Check]:
    """The same where a quarter of the data is missing, of which the log joint of the interpreter has no terms."""
    mine = case.world.model.of_kind("observed")
    if vectors := [v.name for v in mine if v.domain.dims]:
        yield skipped(NAME, f"some cells of {', '.join(vectors)}", "they are in q with what they belong to")
    gapped = with_holes(mine, drawn, True, case.rng(15))
    try:
        climb = case.fit(drawn.setting.params, CLIMB, gapped, policy="keep")
        if climb.status_ == "decreased":
            yield Check("EM climbs", f"step {len(climb.history_)}", "failed", note=climb.message_)
        else:
            falls = np.maximum(0.0, -np.diff(climb.history_)) / (1 + abs(climb.history_[-1]))
            yield measured("EM climbs", f"{CLIMB} steps", falls.max(initial=0.0), SAME)
    except DataError as why:
        yield skipped(NAME, "", reason(why))
        return
    yield from _or_why(FISHER, lambda: resting(case, gapped))
    yield from _or_why(NAME, lambda: _compared(case, gapped, case.fit(drawn.setting.params, STEPS, gapped)))
    yield from _or_why(ON_AVERAGE, lambda: _stationary(case, gapped))


def _compared(case: Case, drawn: Drawn, fit: Any) -> Iterator[Check]:
    """The objective of a fit, and its factors, against the log joint at draws from these. Raises Unchecked."""
    parts = case.model.derived.elimination.parts
    world = World.of(as_lets(case.world.model), drawn)  # functions of latents are no factors of q
    params = {n: np.asarray(v, float) for n, v in fit.params_.items()}
    unnamed = case.model.derived.joint.unnamed  # which addend an event is of: they leave the bound below that mean
    blocks = [b for p in parts for b in p.blocks if not unnamed & set(b.latents)]
    blocks.sort(key=lambda b: b.scale is not None)  # after their scales
    found = ratios(blocks, fit.posterior_, world, params, DRAWS, case.rng(9)).off
    error = float(found.std(ddof=1) / np.sqrt(DRAWS))
    if not error < WIDE:
        raise Unchecked(f"draws of log p - log q have a standard error of {error:.2g}")
    # a bound that is exact has no error but rounding
    far = (fit.objective_ - float(found.mean())) / max(error, 1e-9 * (1 + abs(fit.objective_)))
    far = max(far, 0.0) if unnamed else abs(far)
    yield measured(BELOW if unnamed else NAME, f"{DRAWS} draws, standard error {error:.1g}", far, 5.0)
    if hasattr(fit._module, "whole_bound"):  # what weighs factors that no sweep has made
        check = measured(NAME, "term by term as after a sweep", abs(_from_whole(world, fit)), SAME)
        if check.status == "failed":  # terms may be large, as beside a scale that collapses
            places = (params_beside(case, params, case.rng(90 + k), SAME) for k in range(PLACES))
            check = within(check, float(np.ptp([_from_whole(world, case.fit(at, 0, drawn)) for at in places])))
        yield check
    if not unnamed:
        yield from _settled(blocks, fit, world, params, case)


def _from_whole(world: World, fit: Any) -> float:
    """The bound as a sweep tells it, less the one added up term by term, of 1 + |bound|."""
    whole = fit._module.whole_bound(fit.params_, *fit._training[1:])
    priors = world.priors({n: np.asarray(v, float) for n, v in fit.params_.items()})
    return float((fit.objective_ - priors - whole) / (1 + abs(whole)))


def _stationary(case: Case, drawn: Drawn) -> Iterator[Check]:
    """The M-step is where the mean of the interpreter's log joint over draws from q before it is level. Raises
    Unchecked."""
    start = {n: np.asarray(v, float) for n, v in drawn.setting.params.items()}
    if not start or case.model.derived.joint.unnamed:  # which addend an event is of: Q is of more than this log joint
        return
    if moves(case):
        yield skipped(ON_AVERAGE, "", "where a latent is measured from moves with parameters, and so does q")
        return
    world = World.of(as_lets(case.world.model), drawn)
    gapped = [v for v in world.model.of_kind("observed") if np.isnan(np.asarray(drawn.data[v.name], float)).any()]
    if lost := [v.name for v in gapped if is_read(v, world)]:
        yield skipped(ON_AVERAGE, "", f"what is missing of {lost[0]}, which others read, is in q, and its terms in Q")
        return
    begun = case.fit(start, 0, drawn)
    bound = Bound.of(begun)
    rest = bound.at_rest(start, begun.factors_)
    shown = begun._module.posterior(start, *begun._training[:2], rest.statistics["state"])
    step = bound.step(bound.at(start, rest.statistics["state"]))
    blocks = sorted(
        (b for p in case.model.derived.elimination.parts for b in p.blocks), key=lambda b: b.scale is not None
    )
    found = ratios(blocks, shown, world, start, DRAWS, case.rng(17)).values
    values = {n: v.reshape(DRAWS, *world.latents[n].shape) for n, v in found.items()}
    told = {n: flat(v) for n, v in shown.items() if not isinstance(v, Mapping)}
    unseen = sum(float(v[hardly_shown(v, DRAWS)].sum()) for v in told.values())
    if unseen:  # levels that so few draws hardly show: what they do to a slope is told where they are likely
        even = {n: (v + 1 / v.shape[-1]) / 2 for n, v in told.items()}
        wide = ratios(blocks, {**shown, **even}, world, start, DRAWS, case.rng(19)).values
        rare = {n: v.reshape(DRAWS, *world.latents[n].shape) for n, v in wide.items()}
    space = Space.of(case.world.model.of_kind("param"), world.scope, start)
    there = replace(case, drawn=drawn, start=start, step=step, space=space)
    if far_out(case.model, drawn, step):
        yield skipped(ON_AVERAGE, "", "a parameter went far")
        return
    rng = case.rng(18)
    for param in start:
        here, _ = held(there, param)
        way = direction(space, param, rng)

        def log_p(
            side: float, at: Mapping[str, Array], param: str = param, way: Array = way, here: Mapping[str, Array] = here
        ) -> Array:
            params = space.at(here, {param: side * SMALL * way})
            rows = world.parts_at(world.declarations(), params, at)
            return np.asarray(sum(r.sum(axis=1) for r in rows))

        middle = log_p(0.0, values)  # neither way up: at a kink, as of a median, slopes need not be 0
        if not np.isfinite(middle).all():
            yield skipped(ON_AVERAGE, param, "numbers drawn by their moments miss a point that states tie them to")
            continue
        rises = []
        for side in (1.0, -1.0):
            slope = (log_p(side, values) - middle) / SMALL
            error = float(slope.std(ddof=1) / np.sqrt(DRAWS)) + LEVEL * (1 + float(np.abs(slope).max()))
            if unseen:
                error += unseen * float(np.ptp((log_p(side, rare) - log_p(0.0, rare)) / SMALL))
            rises.append(float(slope.mean()) / error)
        yield measured(ON_AVERAGE, param, largest(*rises), 5.0, "standard errors")


def _settled(
    blocks: Sequence[Any], fit: Any, world: World, params: Mapping[str, Array], case: Case
) -> Iterator[Check]:  # fmt: skip
    """Where sweeps have settled each factor is the best that there is beside the others.

    Then E[log p - log q | z_b] is one number whatever z_b, so no function of z_b goes with log p - log q.
    """
    told = fit._module.posterior(fit.params_, *fit._training[:2])
    rng = case.rng(13)
    worst: dict[str, float] = {}
    for draws in SETTLED:
        found = ratios(blocks, told, world, params, draws, rng)
        for block in blocks:
            n, value = block.name, found.values[block.name]
            along = value @ rng.standard_normal(value.shape[1])
            far = largest(*(_goes_with(f, found.off) for f in (found.own[n], along)))
            worst[n] = float(np.minimum(far, worst.get(n, np.inf)))
        if largest(*worst.values()) <= 5.0:
            break
    for n in (b.name for b in blocks if b.states and b.name in worst):
        worst[n] = largest(worst[n], _of_levels(n, flat(told[n]), world, params, found, rng))
    for n, far in worst.items():
        yield measured("no factor of q can be better", n, far, 5.0)


def _of_levels(
    n: str, p: Array, world: World, params: Mapping[str, Array], found: Ratios, rng: np.random.Generator
) -> float:  # fmt: skip
    """How far log q of some elements' levels is from the mean of log p with these there, in standard errors: of levels
    that draws never show, too."""
    values = {m: v[:LEVELS_AT].reshape(LEVELS_AT, *world.latents[m].shape) for m, v in found.values.items()}
    cells = [c.at for c in cells_of(world, world.model.variable(n))]
    table, worst = p.reshape(-1, p.shape[-1]), 0.0

    def log_p(at: int, level: int) -> Array:
        there = values[n].reshape(LEVELS_AT, -1).copy()
        there[:, at] = level
        moved = {**values, n: there.reshape(values[n].shape)}
        return np.asarray(sum(rows.sum(axis=1) for rows in world.parts_at(world.declarations(), params, moved)))

    for at in rng.permutation(cells)[:ELEMENTS]:
        best = int(table[at].argmax())
        top = log_p(at, best)
        for level in (k for k in range(table.shape[1]) if k != best and table[at, k] > LEAST):
            rise = log_p(at, level) - top
            wanted = np.log(table[at, level] / table[at, best])
            error = rise.std() / np.sqrt(LEVELS_AT) + BESIDE * (1 + abs(wanted))
            worst = largest(worst, float(abs(rise.mean() - wanted) / error))
    return worst


def _goes_with(f: Array, g: Array) -> float:
    """A covariance, in standard errors; sweeps end a little beside the best factor, which is no more than `BESIDE`."""
    product = (f - f.mean()) * (g - g.mean())
    error = product.std() / np.sqrt(len(f)) + BESIDE * f.std()
    return 0.0 if error == 0 else abs(float(product.mean())) / float(error)


def _fitted(case: Case) -> tuple[Drawn, Any]:
    """Data and a fit of them: others, where these are refused or collapse. Raises Unchecked where all do.

    Givens are not what they are by default: terms of log p and q that are 0 there are tried as well.
    """
    refused, folded = "", case.drawn.setting.folded
    for attempt in range(TRIES):
        drawn = draw(case.world.model, case.seed + 1000 * attempt, ROWS, folded=folded, other=True)
        try:
            return drawn, case.fit({n: np.asarray(v, float) for n, v in drawn.setting.params.items()}, STEPS, drawn)
        except (DataError, DegenerateError) as why:
            refused = reason(why)
    raise Unchecked(refused)
