"""The certificate: a derivation checked on data drawn from the model, by means that share no code with it.

The model's interpreter and sampler are the semantics; the posterior, the statistics, the M-step and the printed
module are what is tested.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Protocol

import numpy as np

from emdsl.errors import DataError, EmdslError, ModelError
from emdsl.fit.fitter import DegenerateError
from emdsl.fit.verify import alone, answers, bounds, checks, gaps, invariance, m_step
from emdsl.fit.verify.blur import beside_rounding
from emdsl.fit.verify.case import SETTLED, Case, Compiled, find_case, further
from emdsl.fit.verify.certificate import Certificate, Check, reason, skipped, worst
from emdsl.fit.verify.collapsed import without_cause
from emdsl.fit.verify.drawn import drawing
from emdsl.fit.verify.far import far_out
from emdsl.fit.verify.world import Unchecked

__all__ = ["Certificate", "Check", "certify", "drawing", "with_draws", "with_factors"]

CHECKS: tuple[tuple[str, Callable[[Case], Iterator[Check]]], ...] = (
    ("draws have the density's moments", checks.sampler),
    ("log-likelihood", checks.likelihood),
    ("log-likelihood with gaps", gaps.gaps),
    (bounds.NAME, bounds.bound),
    ("posterior", checks.posterior),
    ("log-likelihood, row by row", answers.scores),
    ("most probable states", answers.states),
    (answers.AT_ESTIMATES, answers.at_estimates),
    ("Fisher's identity", checks.fisher),
    ("M-step", m_step.m_step),
    ("EM climbs", invariance.climbs),
    ("two steps are one, twice", invariance.memory),
    ("the module alone", alone.alone),
    ("rows in another order", invariance.rows),
)

ONCE = {
    "draws have the density's moments",
    "log-likelihood with gaps",
    bounds.NAME,
    "the module alone",
}  # the others are made on more data, too
TOO_MANY = "D022"  # what a fit says of data over whose latents it would have to sum for too long
NO_DENSITY = "D015"  # what a fit says of data that are impossible, or have no number for a density
OF_OBJECTIVES = (
    "log-likelihood",
    "log-likelihood with gaps",
    "log-likelihood, row by row",
    "rows in another order",
    "the module alone",
)  # kinds of checks whose figures are differences of objectives, of 1 + their size
OF_MOMENTS = ("posterior", "Fisher's identity", "M-step")  # which tails weigh more in than in a likelihood
OF_A_FACTOR = ("log-likelihood", "log-likelihood with gaps", "posterior", "Fisher's identity", "M-step", "EM climbs")


def certify(
    model: Compiled,
    seed: int = 0,
    apart: bool = True,
    only: tuple[str, ...] = (),
    seen: frozenset[str] = frozenset(),
    plain: Callable[[], Compiled] | None = None,
    finer: Callable[[], Compiled] | None = None,
) -> Certificate:
    """Every check of a compiled model, or `only` some; `apart`: its module in another interpreter, too.

    seen : data that stand for latents of another model, and have no gaps.
    plain : the model at fewer points, taken where no oracle is: what is known in standard errors asks for no more; and
    where even the smallest data are too many at all points.
    finer : the model at more points, taken where those that it has miss some of the mass.

    Raises ModelError where nothing was derived.
    """
    try:
        with np.errstate(all="ignore"):
            case = find_case(model, seed, anyhow=plain is None)
            if plain is not None and (case is None or case.oracle is None):
                model = plain()
                case = find_case(model, seed)
            assert case is not None
            case = replace(case, apart=apart, seen=seen)
            enough = case if finer is None else _at_enough(case, finer)
    except (ModelError, DataError, NotImplementedError) as why:
        told = reason(why)
        if isinstance(why, DataError) and why.problems[0].code == NO_DENSITY:
            told = f"on all data drawn, at the parameters that they were drawn with: {told}"
            return Certificate(model.name, seed, {}, (Check("log-likelihood", "", "failed", note=told),))
        return Certificate(model.name, seed, {}, (skipped("everything", "", f"no data could be drawn: {told}"),))
    except DegenerateError as why:
        told = f"an M-step collapses on all data drawn: {why.problems[0].message}"
        lost = without_cause(model, seed) if seen else ""  # one latent as data may be all that its scale has
        if lost:
            told = f"{told}, and {lost} has a best value between its ends"
        climbs = Check("EM climbs", "", "failed", note=told) if lost or not seen else skipped("EM climbs", "", told)
        return Certificate(model.name, seed, {}, (climbs,))
    except Exception as error:  # noqa: BLE001  (whatever the derivation or its module raises is a failed check)
        return Certificate(model.name, seed, {}, (raised("EM climbs", error),))
    checks = [(name, run) for name, run in CHECKS if not only or name in only]
    found = [c for name, run in checks for c in _guarded(name, run, enough if name in OF_MOMENTS else case)]
    found += _again(model, case, [(n, run) for n, run in checks if n not in ONCE], told=not only)
    return Certificate(model.name, seed, dict(case.drawn.setting.sizes), worst(found))


def _at_enough(case: Case, finer: Callable[[], Compiled]) -> Case:
    """The model at more points, where its own miss some of the mass and these do not."""
    with suppress(EmdslError, NotImplementedError):  # refused or collapsed, there or here: the checks tell of it
        if case.oracle is not None and case.exact and case.missed > SETTLED:
            more = find_case(finer(), case.seed, anyhow=False)
            if more is not None and more.oracle is not None and more.missed <= SETTLED:
                return replace(more, seen=case.seen)
    return case


def _again(
    model: Compiled, first: Case, checks: list[tuple[str, Callable[[Case], Iterator[Check]]]], told: bool
) -> list[Check]:
    """The checks on more data, and which branches no data took; that a component collapses on these is no fault."""
    out: list[Check] = []
    try:
        with np.errstate(all="ignore"):
            for more in further(model, first):
                if isinstance(more, Case):
                    more = replace(more, apart=False, first=False)
                    out += [c for name, run in checks for c in _guarded(name, run, more, (DegenerateError,))]
                elif told:
                    out += [skipped("every branch is taken", "", branch) for branch in more]
    except Exception as error:  # noqa: BLE001  (as above)
        out.append(raised("EM climbs", error))
    return out


class Factor(Compiled, Protocol):
    """The model of one factor of q, which may be refused."""

    @property
    def refusal(self) -> ModelError | None: ...


def with_draws(found: Certificate, drawn: tuple[Check, ...]) -> Certificate:
    """The certificate of a model in which drawn latents are data, with how they are drawn."""
    return replace(found, checks=(*found.checks, *drawn))


def with_factors(found: Certificate, factors: Mapping[str, Factor], latents: frozenset[str], seed: int) -> Certificate:
    """The certificate of a mean-field model, with each factor of q tried where the other latents are data.

    There a factor by itself is the posterior and the bound is the log-likelihood, so that its terms can be checked.
    """
    told = []
    for name, model in factors.items():
        if model.refusal is not None:
            told.append(skipped(f"q({name}), the others as data", "", model.refusal.problems[0].message))
            continue
        for c in certify(model, seed, apart=False, only=OF_A_FACTOR, seen=latents).checks:
            told.append(replace(c, name=f"q({name}), the others as data", subject=f"{c.name} {c.subject}".strip()))
    return replace(found, checks=(*found.checks, *told))


def _guarded(
    name: str, run: Callable[[Case], Iterator[Check]], case: Case, none: tuple[type[Exception], ...] = ()
) -> list[Check]:
    """The checks of one kind; what no oracle reaches is said, and what raises has failed, but for `none` of these."""
    out: list[Check] = []
    with np.errstate(all="ignore"):
        try:
            for check in run(case):
                out.append(beside_rounding(case, check) if name in OF_OBJECTIVES else check)
        except Unchecked as why:
            made = any(c.name == name and c.status != "not checked" for c in out)
            out.append(skipped(name, "the rest" if made else "", str(why)))
        except none as why:
            out.append(skipped(name, "", f"on more data a fit collapses: {why}"))
        except DegenerateError as why:
            if not far_out(case.model, case.drawn, case.step):
                out.append(raised(name, why))
            else:  # no data that were tried have an end for it
                out.append(skipped(name, "the rest" if out else "", f"a step goes far, and the next collapses: {why}"))
        except Exception as error:  # noqa: BLE001  (whatever the derivation or its module raises is a failed check)
            if isinstance(error, DataError) and error.problems[0].code == TOO_MANY:  # a row twice, more rows
                out.append(skipped(name, "on other data", error.problems[0].message))
            else:
                out.append(raised(name, error))
    return out or [skipped(name, "", "the model has nothing that this compares")]


def raised(name: str, error: Exception) -> Check:
    return Check(name, "", "failed", note=f"{type(error).__name__}: {error}")
