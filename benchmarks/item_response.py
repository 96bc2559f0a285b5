"""Item response with two parameters an item, 1e4 people, 40 items, 21 points, beside girth: time of a whole fit."""

from __future__ import annotations

import numpy as np

import emdsl
from benchmarks.timing import MODELS, Line, by_turns

PEOPLE, ITEMS, POINTS = 10_000, 40, 21


def answers() -> np.ndarray:
    """Answers (people, items) of 0 and 1."""
    rng = np.random.default_rng(0)
    slope, easy = rng.uniform(0.5, 2, ITEMS), 1.2 * rng.normal(size=ITEMS)
    ability = rng.normal(size=(PEOPLE, 1))
    return (rng.random((PEOPLE, ITEMS)) < 1 / (1 + np.exp(-(slope * ability + easy)))).astype(np.int64)


def run() -> list[Line]:
    """Both are asked for their log-likelihood at adapted points: girth's estimates lie a little below ours."""
    y = answers()
    model = emdsl.compile(str(MODELS / "item_response.em"), infer={"ability": f"quadrature(points = {POINTS})"})
    fitter = model.fitter(seed=0, tol=1e-8)

    def ours() -> float:
        return float(fitter.fit({"y": y}).log_likelihood_)

    def girth() -> float:
        from girth import twopl_mml

        found = twopl_mml(y.T, options={"quadrature_n": POINTS})
        slope = np.asarray(found["Discrimination"])
        params = {"slope": slope, "easy": -slope * np.asarray(found["Difficulty"])}
        estimates.update(params)
        return 0.0

    estimates: dict[str, np.ndarray] = {}
    mine, other, left, _ = by_turns(ours, girth, 3)
    theirs = float(fitter.e_step(estimates, {"y": y})["log_likelihood"])
    work = f"2PL item response, {PEOPLE} people, {ITEMS} items, {POINTS} points, whole fit"
    return [Line(work, "girth", other * 1e3, mine * 1e3, "faster", f"{left:.3f}, girth's {theirs:.3f}")]
