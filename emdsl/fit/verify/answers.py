"""What is asked of a fit beside its estimates: the log-likelihood row by row, and the most probable states."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np

from emdsl.errors import DataError
from emdsl.families.scope import Array
from emdsl.fit.verify.case import Case
from emdsl.fit.verify.certificate import Check, far, largest, measured, skipped
from emdsl.fit.verify.checks import SLOWLY, at_twice_the_points, told_of
from emdsl.fit.verify.oracle import Oracle
from emdsl.fit.verify.setting import again
from emdsl.fit.verify.world import Unchecked
from emdsl.runtime.fitting.symmetry import alike

MOST = 150  # other configurations that the one told is compared with
SAME = 1e-8
OTHER = "by a fit of other data"
AT_ESTIMATES = "told at the estimates"


def scores(case: Case) -> Iterator[Check]:
    """The log-likelihoods of the rows add up to the whole."""
    name = "log-likelihood, row by row"
    if not case.exact or case.world.model.potentials:
        raise Unchecked("a bound is reported" if not case.exact else "factors are of the whole, not of its rows")
    fit = case.begun
    try:
        rows = np.asarray(fit.score_samples(case.data()))
    except DataError as refused:
        raise Unchecked(refused.problems[0].message) from None
    whole = fit.log_likelihood_
    yield measured(name, "their sum", abs(float(rows.sum()) - whole) / (1 + abs(whole)), SAME)
    try:  # what is measured from the middle of a fit's own data adds up to nothing over these
        other = case.fit(case.start, 0, again(case.world.model, case.drawn, case.rng(14)))
        rows = np.asarray(other.score_samples(case.data()))
    except DataError as refused:
        yield skipped(name, OTHER, refused.problems[0].message)
        return
    yield told_of(name, OTHER, abs(float(rows.sum()) - whole) / (1 + abs(whole)), fit, whole)


def at_estimates(case: Case) -> Iterator[Check]:
    """Posteriors, states and scores after a step are those of a fit that begins where it ended, of the fit's own data
    and of these as new ones."""
    if not case.exact:
        raise Unchecked("q depends on where it was swept from")
    if alike(case.begun.model.module.SPEC, case.step, case.begun.sizes_):
        raise Unchecked("after one step components are alike, and no fit starts there")
    ended, begun = case.fit(case.start, 1), case.fit(case.step, 0)
    wanted = _asked(case, begun, begun.posterior_)
    yield _as_wanted("after a step", _asked(case, ended, ended.posterior_), wanted, begun)
    yield _as_wanted("after a step, as new data", _asked(case, ended), wanted, begun)


def _as_wanted(subject: str, found: Any, wanted: Any, begun: Any) -> Check:
    """How far answers are apart, but for what a fit at points of a quadrature tells, which may stand elsewhere."""
    off = _unlike(found, wanted)
    points = abs(begun.quadrature_error_ or 0.0) if off > SAME else 0.0
    if off > SAME + SLOWLY * points and (more := at_twice_the_points(begun)):
        points = max(points, _unlike(more, begun.posterior_))
    return measured(AT_ESTIMATES, subject, off, SAME + SLOWLY * points)


def _asked(case: Case, fit: Any, posterior: Any = None) -> dict[str, Any]:
    """What a fit answers of the case's data: its `posterior`, or that of new data, states and scores."""
    out: dict[str, Any] = {"posterior": fit.posterior(case.data()) if posterior is None else posterior}
    for name, ask in (("states", fit.predict), ("scores", fit.score_samples)):
        with suppress(DataError, NotImplementedError):  # a model has no states, or its rows are not apart
            out[name] = ask(case.data())
    return out


def _unlike(found: Any, wanted: Any) -> float:
    """The largest difference of what two fits answer, name by name."""
    if isinstance(wanted, Mapping):
        return largest(*(_unlike(found[n], v) for n, v in wanted.items())) if found.keys() == wanted.keys() else np.inf
    return far(_flat(found), _flat(wanted))


def states(case: Case) -> Iterator[Check]:
    """The states told are more probable together than any that differ in one or two places; beside points of a
    quadrature each is the most probable one by itself."""
    name = "most probable states"
    oracle = case.need()
    counts = {n for n, p in case.plan.items() if p.method == "quadrature"}  # without an end: told by moments
    mine = [k for k, c in enumerate(oracle.layout.cells) if c.levels is not None and c.latent not in counts]
    if not mine or not case.exact:
        raise Unchecked("no latent is discrete" if case.exact else "the posterior is approximate by choice")
    told = case.begun.predict(case.data())
    told = told if isinstance(told, Mapping) else {oracle.layout.cells[mine[0]].latent: told}
    if unknown := {oracle.layout.cells[k].latent for k in mine} - set(told):
        raise Unchecked(f"{', '.join(sorted(unknown))} is not told")
    here = {k: int(_flat(told[oracle.layout.cells[k].latent])[oracle.layout.cells[k].at]) for k in mine}
    if case.derived.joint.clouds and not hasattr(case.begun._module, "most_probable"):
        if len({oracle.layout.cells[k].latent for k in mine}) > 1:
            raise Unchecked("several states of an element are told together, each element by itself")
        each = [(oracle.marginal(case.found, k), v) for k, v in here.items()]
        off, most = max(float(p.max() - p[v]) for p, v in each), SAME
        most += abs(case.begun.quadrature_error_ or 0.0) if off > SAME else 0.0
        yield measured(name, "", off, most, "each element by itself")
        return
    best = _value(case, oracle, here)
    others = [{**here, **dict(change)} for change in _changes(oracle, here)]
    kept = case.rng(8).permutation(len(others))[:MOST]
    above = max((_value(case, oracle, others[i]) - best for i in kept), default=0.0)
    yield measured(name, "", max(above, 0.0) / (1 + abs(best)), SAME, f"of {len(kept)} beside them")


def _changes(oracle: Oracle, here: Mapping[int, int]) -> Iterator[Sequence[tuple[int, int]]]:
    """Other levels of one cell, or of two."""
    each = {k: [(k, v) for v in range(oracle.layout.cells[k].levels or 0) if v != here[k]] for k in here}
    for k in here:
        yield from ([change] for change in each[k])
    for a, b in combinations(here, 2):
        yield from ([one, other] for one in each[a] for other in each[b])


def _value(case: Case, oracle: Oracle, at: Mapping[int, int]) -> float:
    """log p(data, these states), numbers integrated out."""
    weights = list(oracle.layout.weights)
    for k, v in at.items():
        weights[k] = np.where(np.arange(len(weights[k])) == v, 0.0, -np.inf)
    return float(replace(oracle, layout=replace(oracle.layout, weights=tuple(weights))).log_norm(case.found).real)


def _flat(value: Any) -> Array:
    """All elements in a row, ragged sequences one after the other."""
    return np.concatenate([_flat(v) for v in value]) if isinstance(value, list) else np.ravel(value)
