"""The log-likelihood where entries are missing, against an oracle that has them as latents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from emdsl.errors import DataError
from emdsl.families.scope import Array
from emdsl.fit.fitter import DegenerateError
from emdsl.fit.sampling import variable_reads
from emdsl.fit.verify.case import Case, is_exact
from emdsl.fit.verify.certificate import Check, measured, reason, skipped
from emdsl.fit.verify.checks import told_of
from emdsl.fit.verify.far import far_out
from emdsl.fit.verify.holes import with_holes
from emdsl.fit.verify.invariance import TWICE, memory, outermost, repeated
from emdsl.fit.verify.m_step import level_with_gaps, maximises
from emdsl.fit.verify.oracle import Oracle
from emdsl.fit.verify.setting import Drawn, as_data
from emdsl.fit.verify.world import Unchecked, World
from emdsl.language.model import Variable

SAME = 1e-8


def gaps(case: Case) -> Iterator[Check]:
    """The log-likelihood where entries are missing: they are integrated out, whatever depends on them."""
    case.need()
    mine = [v for v in case.world.model.of_kind("observed") if v.name not in case.seen]
    if not case.exact:
        raise Unchecked("a bound is reported")
    refused, made = "", 0
    for whole in (False, True):  # entries, and of vectors all or none: those are other modules
        if whole and made and not any(v.domain.dims for v in mine):
            return
        drawn = with_holes(mine, case.drawn, whole, case.rng(4))
        try:
            fit = case.fit(case.start, 4, drawn, policy="keep")
        except DataError as why:  # of a family that cannot leave some of a vector out
            refused = why.problems[0].message
            continue
        if not is_exact(fit._variant.current):  # what is missing has factors of its own
            raise Unchecked("a bound is reported where entries are missing")
        if refused:
            yield skipped("log-likelihood with gaps", "some cells of a vector", refused)
        yield from _made(case, mine, drawn, fit, bool(refused), "" if not made else ", whole vectors")
        made += 1
    if not made:
        raise Unchecked(refused)


def _made(case: Case, mine: Sequence[Variable], drawn: Drawn, fit: Any, whole: bool, vectors: str) -> Iterator[Check]:
    """The checks of these data, of which some is missing."""
    total = _with_gaps(case, drawn.data, {v.name: np.isnan(drawn.data[v.name]) for v in mine if is_read(v, case.world)})
    # what is missing may be at points, and how many are taken, and what their error is, depends on where a fit ends
    begun = case.fit(case.start, 0, drawn) if "finer" in vars(fit._module) else fit
    off = abs(begun.history_[0] - total) / (1 + abs(total))
    yield told_of("log-likelihood with gaps", ", ".join(v.name for v in mine) + vectors, off, begun, total)
    yield from _rows(case, drawn)
    if fit.status_ == "decreased":
        yield _fell(case, drawn, fit)
    yield from (replace(c, name=f"{c.name}, with gaps") for c in _of_steps(case, drawn, mine, whole))
    for name in outermost(case.world.model):
        try:
            yield replace(repeated(case, name, drawn), name=f"{TWICE}, with gaps")
        except Unchecked as why:
            yield skipped(f"{TWICE}, with gaps", name, str(why))
        except DegenerateError as why:
            yield skipped(f"{TWICE}, with gaps", name, f"a fit collapses: {why.problems[0].message}")


def _of_steps(case: Case, drawn: Drawn, mine: Sequence[Variable], whole: bool) -> Iterator[Check]:
    """Nothing is kept of the step before; the M-step is the maximum of the oracle's Q where no density reads what is
    missing elsewhere, so that complete data lack it; else which latents stand for it is the plan's choice, and EM must
    end where the likelihood is level."""
    there = replace(case, drawn=drawn)
    try:
        there = replace(there, step={n: np.asarray(v, float) for n, v in there.fit(case.start, 1).params_.items()})
    except DegenerateError:  # of so few rows
        yield from level_with_gaps(case, mine, whole)
        return
    try:
        yield from memory(there)
    except (Unchecked, DegenerateError) as why:
        yield skipped("two steps are one, twice", "", reason(why))
    try:
        if (
            any(_in_part(v, drawn) or _elsewhere(v, case.world) for v in mine)
            or case.world.held
            or far_out(case.model, drawn, there.step)
        ):
            raise Unchecked
        world = World.of(case.world.model, drawn)
        oracle, found, fine = Oracle.settled(world, case.start, case.seed, case.fine)
        yield from maximises(replace(there, world=world, oracle=oracle, found=found, fine=fine))
    except Unchecked:
        yield from level_with_gaps(case, mine, whole)


def _fell(case: Case, drawn: Drawn, fit: Any) -> Check:
    """A fault, but where a scale was kept from 0: of what is divided by it, rounding is all that is left."""
    name, at = "EM climbs with gaps", f"step {len(fit.history_)}"
    try:
        case.fit(case.start, 4, drawn)
    except DegenerateError as why:
        return skipped(name, at, f"a fit collapses: {why.problems[0].message}")
    return Check(name, at, "failed", note=fit.message_)


def _rows(case: Case, drawn: Drawn) -> Iterator[Check]:
    """The log-likelihoods of rows with gaps add up to the whole, where rows have one each."""
    begun = case.fit(case.start, 0, drawn)
    try:
        rows = np.asarray(begun.score_samples(as_data(case.model.resolved, drawn)))
    except DataError as refused:
        yield skipped("log-likelihood with gaps", "row by row", refused.problems[0].message)
        return
    whole = begun.log_likelihood_
    yield measured("log-likelihood with gaps", "row by row", abs(float(rows.sum()) - whole) / (1 + abs(whole)), SAME)


def _with_gaps(case: Case, data: Mapping[str, Array], read: Mapping[str, Array]) -> float:
    """What is missing and read by others is a latent; the interpreter leaves out the terms of the rest."""
    gone = {n for n, where in read.items() if where.any() and case.world.model.variable(n).domain.discrete}
    model = case.world.model  # in which points that they may lead to are reached whatever they are
    kinds = [replace(v, kind="latent") if v.name in gone else v for v in model.variables]
    known = {n: case.drawn.data[n] for n in read}
    latents = {**case.drawn.latents, **{n: known[n] for n in gone}}
    drawn = case.drawn._replace(data={**data, **known}, latents=latents)
    world = World.of(replace(model, variables=tuple(kinds)), drawn)
    hidden = {**world.latents, **known}
    hidden_world = replace(world, latents=hidden, missing=read)
    oracle, found, _ = Oracle.settled(hidden_world, case.start, case.seed + 6, case.fine)
    return float(oracle.log_norm(found).real)


def is_read(v: Variable, world: World) -> bool:
    """Whether a density reads the variable other than at its own place, or it is a vector, missing in part."""
    return bool(v.domain.dims) or _elsewhere(v, world)


def _elsewhere(v: Variable, world: World) -> bool:
    """Whether a density reads the variable other than at its own place."""
    others = [d for d in world.declarations() if d is not v]
    return v.name in variable_reads(v, world.model) or any(v.name in world.reads(d) for d in others)


def _in_part(v: Variable, drawn: Drawn) -> bool:
    """Whether some cells of an element are missing, and not all."""
    lost = np.isnan(np.asarray(drawn.data[v.name], float))
    axes = tuple(range(lost.ndim - len(v.domain.dims), lost.ndim))
    return bool((lost.any(axes) & ~lost.all(axes)).any())
