"""Which start is climbed from: numbers drawn nearer 0 where the data have no density, the best of several divisions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from emdsl.runtime.data.columns import Array
from emdsl.runtime.fitting.climbs import Setup, evaluate
from emdsl.runtime.fitting.loop import climb
from emdsl.runtime.numeric.infinity import NUMERIC

HEATS = ((8, 3), (3, 6))  # how many divisions go on, and the M-steps that each is given then
DIVIDED = 50_000  # probabilities in a division beyond which one is climbed from unseen
NEARER = (0.1, 0.01, 1e-3, 1e-5, 1e-8, 0.0)  # shares of a start that are tried


class Nearer:
    """A generator whose normal numbers are a `share` of what they were."""

    def __init__(self, rng: np.random.Generator, share: float) -> None:
        self._rng, self._share = rng, share

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rng, name)

    def normal(self, *arguments: Any, **named: Any) -> Any:
        return self._share * self._rng.normal(*arguments, **named)


def drawn_nearer(
    draw: Callable[[Any], dict[str, Any]], rng: np.random.Generator, lost: tuple[type[Exception], ...]
) -> dict[str, Any]:
    """What is drawn; where all of it has no density, the same from numbers nearer 0. Raises the first of `lost`.

    Of entries of a covariance that are free, most numbers of order 1 leave it none; near 0 its diagonal is enough.
    """
    try:
        return draw(rng)
    except lost as error:
        for share in NEARER[:3]:
            try:
                return draw(Nearer(rng, share))
            except lost:
                continue
        raise error


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


def _handed_over(setup: Setup, state: Mapping[str, Any]) -> int:
    """How many probabilities factors have of which the state holds sums over rows alone."""
    sizes, ragged, total = setup.data.sizes, setup.data.ragged, 0
    for v in setup.module.SPEC["variables"]:
        n, levels = v["name"], v["levels"] or "2"
        if v["kind"] != "latent" or f"entropy {n}" not in state or f"q:{n}" in state:
            continue
        if v["domain"] in ("category", "bool"):
            count = 1
            for _, size, _ in v["plates"]:
                name = size.partition("[")[0]
                count = len(ragged[name].row) if name in ragged else count * sizes.get(size, 1)
            total += count * (int(levels) if levels.isdigit() else sizes.get(levels, 2))
    return total


def best_division(setup: Setup, draw: Callable[[], tuple[dict[str, Array], Any]]) -> tuple[dict[str, Array], Any]:
    """Parameters and factors of q to climb from: the best of a few seeded divisions after a few iterations each.

    A bound has optima that the likelihood lacks: a division of tied elements (the groups of a network) stays where it
    settles. Short runs, of which the best go on: Biernacki, Celeux and Govaert (2003). `draw` makes one. Without
    discrete factors, or with very many rows, the first is climbed from as it is.
    """
    first = draw()
    state = first[1] or {}
    divided = [n for n in state if n.startswith("q:") and f"volume:{n[2:]}" not in state]  # not what stands at points
    size = sum(np.size(state[n]) for n in divided) + _handed_over(setup, state)
    if not 0 < size <= DIVIDED or not setup.max_iter:
        return first
    short, runs = setup._replace(progress=None), [first, *(draw() for _ in range(HEATS[0][0] - 1))]
    for count, steps in HEATS:
        ends = [climb(short._replace(max_iter=min(steps, setup.max_iter)), *run) for run in runs[:count]]
        if any(e.status == "interrupted" for e in ends):
            raise KeyboardInterrupt
        sound = [e for e in ends if e.status != "degenerate" and np.isfinite(e.objective)]
        runs = [(e.params, e.state) for e in sorted(sound, key=lambda e: -e.objective)]
    return runs[0] if runs else first
