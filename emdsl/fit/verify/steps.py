"""M-steps at draws, and what is told of latents that are exact given these: the module that draws beside the model in
which the draws are data, whose own derivation is checked by itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from emdsl.derive.joint.moving import moving
from emdsl.errors import DataError
from emdsl.families.scope import Array
from emdsl.fit.fitter import DegenerateError
from emdsl.fit.verify.case import Compiled, fitted
from emdsl.fit.verify.certificate import Check, far, largest, measured, reason, skipped
from emdsl.fit.verify.far import far_out
from emdsl.fit.verify.gaps import is_read
from emdsl.fit.verify.holes import with_holes
from emdsl.fit.verify.m_step import CLIMBS
from emdsl.fit.verify.setting import Drawn, draw, flat
from emdsl.fit.verify.site import NAME, POINTS, SAME, Site, Values
from emdsl.fit.verify.world import Unchecked
from emdsl.runtime.data import faults
from emdsl.runtime.fitting.climbs import Setup, evaluate
from emdsl.runtime.fitting.loop import advance

WIDER = 3  # times as many elements of a plate as an oracle takes: of few, all may be in one state
MOST_TRIED = 12  # of them, where a step from some finds no end
RIDGES = (*CLIMBS, "linear solve")  # updates that few rows leave several results of


def steps(given: Compiled, model: Compiled, seed: int, plates: int) -> Iterator[Check]:
    """M-steps at draws, of the module that draws, are those of the model in which the draws are data: at some of them,
    one after the other, so that nothing is kept of those before; with gaps, too, but where other densities read
    these."""
    if _latent(model) != _latent(given):
        raise Unchecked("once they are data, other latents are summed out")
    many = WIDER * plates
    whole = Site.of(model, seed, many)
    mine = [v for v in whole.world.model.of_kind("observed") if v.name not in whole.world.held]
    alike = _held(model) == _held(given)
    if alike:
        yield measured(NAME, "M-steps at draws", _steps(given, model, whole, seed, many), SAME)
    else:
        yield skipped(NAME, "M-steps at draws", "once they are data, parameters are raised given others than before")
    if hasattr(whole.module, "posterior_given"):
        yield measured(NAME, "moments of the rest at draws", _moments_given(given, model, whole), SAME)
    if any(is_read(v, whole.world) for v in mine):
        yield skipped(NAME, "M-steps at draws, with gaps", "other densities read what is missing")
        return
    if not alike:
        return
    try:
        rng = np.random.default_rng([seed, 43])  # of another length, so that nothing is kept of it
        site = Site.of(model, seed, many - 1, lambda drawn: with_holes(mine, drawn, True, rng))
        yield measured(NAME, "M-steps at draws, with gaps", _steps(given, model, site, seed, many - 1), SAME)
    except (DataError, faults.DataError) as why:  # of which some gaps are not integrated out
        yield skipped(NAME, "M-steps at draws, with gaps", reason(why))


def _moments_given(given: Compiled, model: Compiled, site: Site) -> float:
    """How far what is told of the rest, given draws, is from what the model says in which these are data."""
    data = {**site.drawn.data, **{n: site.world.latents[n] for n in model.derived.drawn}}
    left = {n: v for n, v in site.world.latents.items() if n not in model.derived.drawn}
    theirs = fitted(given.fitter, given, site.drawn._replace(data=data, latents=left), site.params, 0).posterior_
    mine = site.module.posterior_given(site.params, site.bound, site.with_draws(site.world.latents))

    def off(a: Any, b: Any) -> float:
        return largest(*(off(a[n], b[n]) for n in b)) if isinstance(b, Mapping) else far(flat(a), flat(b))

    return off(mine, {n: v for n, v in theirs.items() if n in mine})


def _latent(model: Compiled) -> set[str]:
    """What is summed out, and what is measured from places that parameters decide: of other complete data steps are
    others."""
    found = model.derived
    return {n for b in found.elimination.blocks for n in b.latents} | set(moving(found.joint.model, found.shifts))


def _held(model: Compiled) -> dict[str, set[str]]:
    """What each parameter is raised given (ECM): steps that hold others end elsewhere, and each of them rightly."""
    return {n: set(u.conditional_on) for u in model.derived.updates for n in u.params}


def _steps(given: Compiled, model: Compiled, site: Site, seed: int, plates: int) -> float:
    names, worst, compared = sorted(model.derived.drawn), 0.0, 0
    params = dict(site.params)
    for latents in _in_turn(site, names, seed, plates):
        data = {**site.drawn.data, **{n: latents[n] for n in names}}
        drawn = site.drawn._replace(data=data, latents={n: v for n, v in latents.items() if n not in names})
        setup = Setup(site.module, site.bound, {**site.prepared, **site.stored(latents)}, 1, 0.0, "raise")
        try:
            params, theirs = _first_of(given, drawn, params, site.params)
        except (DataError, DegenerateError) as why:
            if latents is not site.world.latents:
                continue  # beside other draws the data may be impossible
            raise Unchecked(reason(why)) from None
        here = evaluate(setup, params, None)
        try:
            mine, _ = advance(setup, here)
        except site.module.Degenerate:
            return np.inf  # where the other does not collapse
        beyond = far_out(given, drawn, theirs.params_)
        if not beyond and far_out(given, drawn, mine):  # on the same way, and further, unless it is worse there
            beyond = _objective(given, drawn, mine) >= theirs.history_[1]
        if beyond:
            if latents is not site.world.latents:
                continue
            raise Unchecked("a step finds no end: a scale of one row goes to 0, and a search stops on its way there")
        off = largest(*(far(mine[n], v) for n, v in theirs.params_.items()))
        if off > SAME and any(u.kind in RIDGES for u in given.derived.updates):  # on a ridge a step ends anywhere
            off = far(_objective(given, drawn, mine), theirs.history_[1])
        worst = largest(worst, far(here.objective, theirs.history_[0]), off)
        params, compared = {n: np.asarray(v, float) for n, v in theirs.params_.items()}, compared + 1
        if compared > POINTS:
            break
    return worst


def _first_of(given: Compiled, drawn: Drawn, params: dict[str, Array], start: Values) -> tuple[dict[str, Array], Any]:
    """Where a step is made from, and the fit of one step: the start, where the last step left no chance to draws that
    others are (a state that no draw was in)."""
    try:
        return params, fitted(given.fitter, given, drawn, params, 1)
    except (DataError, DegenerateError):
        return dict(start), fitted(given.fitter, given, drawn, start, 1)


def _in_turn(site: Site, names: Sequence[str], seed: int, plates: int) -> Iterator[Values]:
    """The latents, and then others of these names, drawn by themselves, more than are needed."""
    yield site.world.latents
    for k in range(MOST_TRIED):
        other = draw(site.world.model, 7000 + MOST_TRIED * seed + k, plates).latents
        yield {**site.world.latents, **{n: other[n] for n in names}}


def _objective(given: Compiled, drawn: Drawn, params: Values) -> float:
    """Of the model in which draws are data, at these parameters; -inf where the data have no density there."""
    try:
        return float(fitted(given.fitter, given, drawn, params, 0).history_[0])
    except (DataError, DegenerateError):
        return -np.inf
