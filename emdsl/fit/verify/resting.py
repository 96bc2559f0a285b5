"""The bound of mean-field as a function F of parameters and of q, where no sweep moves q any more.

    d F(theta, q*(theta)) / d theta  =  d F(theta, q) / d theta  at  q = q*(theta)

as nothing about q* is left to gain; and the M-step from there is where F(., q*) is level. Chains are tried so, too, of
which `posterior_` tells too little to draw from them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from emdsl.families.scope import Array
from emdsl.fit.verify.case import SETTLED, Case
from emdsl.fit.verify.certificate import Check, measured, skipped
from emdsl.fit.verify.checks import EXACT, SLOPE, direction
from emdsl.fit.verify.far import far_out
from emdsl.fit.verify.m_step import WIDE, held, rises
from emdsl.fit.verify.moved import another_path
from emdsl.fit.verify.setting import Drawn
from emdsl.fit.verify.space import Space
from emdsl.fit.verify.world import Unchecked, World
from emdsl.runtime.fitting.climbs import Point, Setup, finer_error
from emdsl.runtime.fitting.loop import advance

FISHER, M_STEP = "Fisher's identity of the bound", "M-step: the bound is level beside q"
RISES = "M-step: the bound rises beside q"
FINER = 3  # times that points of quadrature are doubled, less one
SWEEPS, RESTS = 400, 1e-13  # until the bound is the same but for its last digits


@dataclass(frozen=True)
class Bound:
    """A fit's bound, its priors among it, at any parameters and factors of q."""

    setup: Setup

    @staticmethod
    def of(fit: Any) -> Bound:
        data, prepared = fit._training[:2]
        return Bound(Setup(fit._module, data, prepared, 1, 0.0, "raise"))

    def finer(self) -> Bound:
        """The same at twice the points of quadrature."""
        return Bound(self.setup._replace(prepared=self.setup.module.finer(self.setup.prepared)))

    def at(self, params: Mapping[str, Any], q: Any, sweep: str = "") -> Point:
        """After a sweep over "all" factors, or beside q as it is."""
        s = self.setup
        found = s.module.e_step(params, s.data, s.prepared, q, None, sweep)
        bound = float(found["log_likelihood"])
        return Point(dict(params), found, bound, bound + float(s.module.log_prior(params, s.prepared)))

    def at_rest(self, params: Mapping[str, Any], q: Any) -> Point:
        """After as many sweeps as move it. Raises Unchecked."""
        before = -np.inf
        for _ in range(SWEEPS):
            found = self.at(params, q, "all")
            if abs(found.objective - before) <= RESTS * (1 + abs(found.objective)):
                return found
            before, q = found.objective, found.statistics["state"]
        raise Unchecked(f"q still moves after {SWEEPS} sweeps")

    def step(self, here: Point) -> dict[str, Array]:
        """The M-step from there. Raises Unchecked where it collapses, as of few rows."""
        try:
            return advance(self.setup, here)[0]
        except self.setup.module.Degenerate as why:
            raise Unchecked(f"an M-step collapses: {why.message}") from None


def resting(case: Case, drawn: Drawn) -> Iterator[Check]:
    """Both, of these data."""
    start = {n: np.asarray(v, float) for n, v in drawn.setting.params.items()}
    if not start:
        return
    if another_path(case):
        raise Unchecked("what latents or parameters are measured from moves with parameters, and so does q")
    begun = case.fit(start, 0, drawn)
    bound, found = Bound.of(begun), list[Check]()
    for _ in range(FINER):  # points of quadrature move with parameters, and few of them leave something out
        found = list(_at_rest(case, drawn, start, begun, bound))
        if all(c.status == "passed" for c in found if c.name == FISHER) or not hasattr(begun._module, "finer"):
            break
        bound = bound.finer()
    yield from found


def _at_rest(case: Case, drawn: Drawn, start: dict[str, Array], begun: Any, bound: Bound) -> Iterator[Check]:
    """Both, at the points of a quadrature that the bound has."""
    q = bound.at_rest(start, begun.factors_).statistics["state"]
    space = Space.of(case.world.model.of_kind("param"), World.of(case.world.model, drawn).scope, start)
    rng = case.rng(20)
    ways = {n: direction(space, n, rng) for n in start}
    before = bound.at(start, q)
    told = abs(finer_error(bound.setup, start, before.log_likelihood, q) or 0.0) / (1 + abs(before.log_likelihood))
    for param, way in ways.items():
        sides = [space.at(start, {param: side * WIDE * way}) for side in (1, -1)]
        (up, down), (above, below) = ([f(p, q).objective for p in sides] for f in (bound.at_rest, bound.at))
        slope, beside = (up - down) / (2 * WIDE), (above - below) / (2 * WIDE)
        check = measured(FISHER, param, abs(slope - beside) / (1 + abs(beside)), SLOPE)
        if check.status == "failed" and told > SETTLED:  # of points that move with parameters q is no best one
            check = skipped(FISHER, param, f"twice the points tell of an error of {told:.0e} of the bound")
        yield check
    params = bound.step(before)
    fall = before.objective - bound.at(params, q).objective
    far = far_out(case.model, drawn, params)
    if np.isfinite(fall) or not far:
        yield measured(RISES, "", fall / (1 + abs(before.objective)), EXACT)
    if far:
        yield skipped(M_STEP, "", "a parameter went far")
        return
    there = replace(case, drawn=drawn, start=start, step=params, space=space)
    for param, way in ways.items():
        here, _ = held(there, param)
        top = bound.at(here, q).objective

        def along(h: float, param: str = param, way: Array = way, at: Any = here, top: float = top) -> float:
            return bound.at(space.at(at, {param: h * way}), q).objective - top

        yield measured(M_STEP, param, rises(along)[0], SLOPE)
