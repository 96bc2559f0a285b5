"""Whether rounding has taken digits of a fit: of its log-likelihood, of its estimates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from emdsl.runtime.data.columns import Array
from emdsl.runtime.fitting.climbs import Climb, Params, Setup, evaluate

DOUBTFUL = 1e-9  # of 1 + |log-likelihood|: what rounding may take before anybody is told
OUT_OF_MEASURE = 1e8  # a location from which on it is asked whether data say it, or their rounding
MOVED = 1e-3  # of a location
FINE = 1e-4  # of the data's scale: one of which opened squares have lost eight places
BLURRED_SCALES = 1e-8  # of a scale
BLURRED_VARIANCES = 1e-10  # of a variance of the posterior
OF_MANY = 10  # errors of what is added up to a variance: measured on chains and slopes
WHY = (
    "noises are far apart, or data far more exact than what they are of: give a scale that is all but 0 as 0, by "
    "`Delta`, or measure from nearer by"
)


class Lost(NamedTuple):
    """A log-likelihood, an upper bound of what rounding takes from it, and of what it takes from a variance of the
    posterior, as a part of that: 0.0 where no latent is Gaussian."""

    value: float
    taken: float
    of_variances: float

    @property
    def missed(self) -> bool:
        """Whether somebody would miss it."""
        return not (self.taken <= DOUBTFUL * (1 + abs(self.value)) and self.of_variances <= BLURRED_VARIANCES)


def noted(setup: Setup, params: Params) -> Lost:
    """What rounding takes at these parameters."""
    looked = vars(setup.module).get("LOOKED")
    if looked is None or setup.sampled:
        return Lost(0.0, 0.0, 0.0)
    found: list[tuple[float, float]] = []
    looked.append(found)
    try:
        with np.errstate(all="ignore"):
            here = evaluate(setup._replace(prepared={**setup.prepared, "the moments": None}), params, None)
    except (setup.module.Degenerate, np.linalg.LinAlgError):
        return Lost(math.nan, math.inf, math.inf)
    finally:
        looked.pop()
    weights = setup.data.weights
    often = 1.0 if weights is None else float(np.max(weights))
    sums, variances = (list(each) for each in zip((0.0, 0.0), *found, strict=True))
    return Lost(here.log_likelihood, sum(sums) * often, max(variances))


def taken(setup: Setup, best: Climb) -> Lost | None:
    """What rounding may have taken of a fit, where somebody would miss it."""
    if best.state is not None or best.failure is not None or best.status == "degenerate":
        return None
    lost = noted(setup, best.params)
    return lost if lost.missed else None


def told(setup: Setup, best: Climb, lost: Lost | None) -> tuple[str, bool]:
    """What rounding takes of a fit, in words, and whether of what is to be warned of."""
    text, blurred = rounded(setup, best, lost.taken) if lost else ("", False)
    if lost and lost.of_variances > BLURRED_VARIANCES:
        off = min(OF_MANY * lost.of_variances, 1.0)
        text += f"; rounding: variances of the posterior are known to {off:.0e} of themselves only"
    far = far_locations(setup, best)
    if not lost and _fine(setup, best) and (off := _jitter(setup, best)) > DOUBTFUL * (1 + abs(best.log_likelihood)):
        text, blurred = f"; rounding: the log-likelihood is known to {off:.0e} only, for {WHY}", True
    off = last_digit(setup, best, far) if far and not blurred else 0.0
    if off > DOUBTFUL * (1 + abs(best.log_likelihood)):
        text += (
            f"; rounding: the log-likelihood is known to {off:.0e} only, for the last digit of {', '.join(far)} moves "
            "it by as much: measure what they multiply from nearer by, `x - 2000` for `x`"
        )
        blurred = True
    names = unsettled(setup, best, far)
    if names:
        text += (
            f"; rounding: {', '.join(names)} moves by more than {MOVED:g} of itself where what is given is rounded "
            "otherwise: what it is multiplied by is a difference that cancels, and the data do not settle it"
        )
    return text, blurred or bool(names)


def _fine(setup: Setup, best: Climb) -> bool:
    """Whether a scale is next to nothing beside the data's own: its square is a small difference of theirs."""
    if best.state is not None or best.failure is not None or best.status == "degenerate":
        return False
    scale, found = [float(setup.prepared.get("the scale", 0.0))], list[Array]()
    for v in setup.module.SPEC["variables"]:
        if v["kind"] == "observed" and v["domain"] == "real" and np.size(setup.data.values[v["name"]]):
            scale.append(float(np.sqrt(np.nanmean(setup.data.values[v["name"]] ** 2))))
        elif v["kind"] == "param" and v["domain"] in ("positive", "spd") and v["name"] in best.params:
            value = best.params[v["name"]]
            found.append(value if v["domain"] == "positive" else np.sqrt(np.linalg.eigvalsh(value)))
    return any(bool((s < FINE * max(scale)).any()) for s in found)


def _jitter(setup: Setup, best: Climb) -> float:
    """How far the log-likelihood lies apart where parameters differ in their last places, each by itself.

    Those of a slope are squared over a scale: of one 1e-7 of the data 2^-49 of it moves the log-likelihood by 1e-15.
    """
    rng, values = np.random.default_rng(0), [best.log_likelihood]
    try:
        with np.errstate(all="ignore"):
            for _ in range(6):
                moved = {n: v * (1 + 2.0**-49 * rng.uniform(-1, 1, np.shape(v))) for n, v in best.params.items()}
                values.append(evaluate(setup, moved, None).log_likelihood)
    except (setup.module.Degenerate, np.linalg.LinAlgError):
        return 0.0
    return float(np.ptp(values))


def far_locations(setup: Setup, best: Climb) -> list[str]:
    """Locations out of all measure at the end of a fit that may say something of them."""
    if best.state is not None or not best.n_iter or best.status in ("degenerate", "interrupted"):
        return []
    return [v["name"] for v in setup.module.SPEC["variables"] if v["kind"] == "param" and v["domain"] == "real"
            and np.abs(best.params.get(v["name"], 0.0)).max(initial=0.0) > OUT_OF_MEASURE]  # fmt: skip


def last_digit(setup: Setup, best: Climb, far: Sequence[str]) -> float:
    """By how much the log-likelihood moves with the last digit of one of these: of polynomials of what lies far off."""
    try:
        with np.errstate(all="ignore"):
            moved = [{**best.params, n: np.nextafter(best.params[n], to)} for n in far for to in (-np.inf, np.inf)]
            return max(abs(evaluate(setup, p, None).log_likelihood - best.log_likelihood) for p in moved)
    except (setup.module.Degenerate, np.linalg.LinAlgError):
        return 0.0


def unsettled(setup: Setup, best: Climb, far: Sequence[str]) -> Sequence[str]:
    """Which of these the last digit of what is given makes others: of columns that add up to the same in every row, but
    for rounding."""
    if not far:
        return []
    variables = setup.module.SPEC["variables"]
    rng, values = np.random.default_rng(0), dict(setup.data.values)
    for v in variables:
        if v["kind"] == "given" and v["domain"] in ("real", "positive"):
            given = values[v["name"]]
            values[v["name"]] = given * (1 + 2.0**-52 * rng.choice((-1.0, 1.0), np.shape(given)))
    data = setup.data._replace(values=values)
    found = []
    try:
        with np.errstate(all="ignore"):
            again = setup._replace(data=data, prepared=setup.module.prepare(data, setup.module.reference(data)))
            for s in (setup, again):
                here = evaluate(s, best.params, None)
                found.append(s.module.m_step(here.statistics, here.params, s.prepared, "keep"))
    except (setup.module.Degenerate, np.linalg.LinAlgError):
        return far
    apart = {n: np.abs(found[1][n] - found[0][n]).max() / np.abs(found[0][n]).max() for n in far}
    return [n for n, off in apart.items() if not off <= MOVED]


def rounded(setup: Setup, best: Climb, lost: float) -> tuple[str, bool]:
    """What rounding takes, in words, and whether the log-likelihood itself is in doubt.

    How far it moves where parameters are rounded otherwise is seen; `lost`, what is noted where densities have no
    multipliers, is what scales lose: their statistics are small differences of what they are made of.
    """
    try:
        with np.errstate(all="ignore"):
            moved = [{n: v * (1 + by * 2.0**-51) for n, v in best.params.items()} for by in (-1, 2)]
            off = max(abs(evaluate(setup, p, None).log_likelihood - best.log_likelihood) for p in moved)
    except (setup.module.Degenerate, np.linalg.LinAlgError):
        off = math.inf
    blurred = not off <= DOUBTFUL * (1 + abs(best.log_likelihood))
    told = [f"the log-likelihood is known to {off:.0e} only"] if blurred else []
    seen = [v["name"] for v in setup.module.SPEC["variables"] if v["kind"] == "observed"]
    count = sum(int(np.size(setup.data.values[n])) for n in seen if n in setup.data.values)
    if lost > BLURRED_SCALES * max(count, 1):
        told.append(f"the next step of a tiny scale to {min(lost / max(count, 1), 1.0):.0e} of it")
    return (f"; rounding: {', '.join(told)}, for {WHY}" if told else ""), blurred
