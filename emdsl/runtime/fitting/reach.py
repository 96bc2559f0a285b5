"""Starts at which the data have no density: numbers drawn too large for the columns that they multiply."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from emdsl.runtime.data.columns import Array
from emdsl.runtime.fitting.loop import Setup, evaluate
from emdsl.runtime.numeric.infinity import NUMERIC

NEARER = (0.1, 0.01, 1e-3, 1e-5, 1e-8, 0.0)  # shares of a start that are tried


def nearer_start(setup: Setup, params: Mapping[str, Array], drawn: Sequence[str]) -> dict[str, Array] | None:
    """The start, drawn numbers that a numeric step moves nearer 0: the best of several; None where none has a density.

    Coefficients of order 1 on columns that lie far out (years, prices) overflow a link; from near 0 Newton finds them.
    """
    best, top = None, -np.inf
    for start in _nearer(setup, params, drawn):
        try:
            with np.errstate(all="ignore"):
                value = evaluate(setup, start, None).objective
        except (setup.module.Degenerate, np.linalg.LinAlgError):
            continue
        if value > top and np.isfinite(value):
            best, top = start, value
    return best


def _nearer(setup: Setup, params: Mapping[str, Array], drawn: Sequence[str]) -> Iterator[dict[str, Array]]:
    """One parameter alone nearer 0, then all of them."""
    spec = setup.module.SPEC
    kinds = spec.get("updates", {})
    movable = [v["name"] for v in spec["variables"] if v["name"] in drawn and v["domain"] == "real"]
    movable = [n for n in movable if kinds.get(n, ("",))[0] in NUMERIC]
    for names in [*([n] for n in movable), movable]:
        for share in NEARER if names else ():
            yield {**params, **{n: share * params[n] for n in names}}
