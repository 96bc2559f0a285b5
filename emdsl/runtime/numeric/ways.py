"""Ways to the ends of what parameters may be, and the one question that is asked of each: does the objective still
rise along it where a climb has stopped?

Elements are looked at where they are so many times as far: a rate that goes to infinity as many times as large, a scale
that goes to 0 as many times smaller; so are the odds of a probability, and the least eigenvalue of a matrix of
correlations. Ordered elements move away from the nearest one that stays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from emdsl.runtime.data.columns import Array

SPREAD = 4.0  # times as far as the few values that tell of rounding, two others may lie apart
RISE = 0.5  # of a log-likelihood: what a climb has gained, and would gain, along a way without an end


class Going(NamedTuple):
    """A parameter some elements of which move, what it is where they are so many times as far, and where they go.

    `cell` is the first of several matrices that move.
    """

    name: str
    along: Callable[[float], Array]
    to: str
    cell: str = ""


Together = Sequence[Going]  # what moves together


class Ending(NamedTuple):
    """What is asked of the objective along a way: whether it was lower by more than `gained` where elements were `back`
    times as far (nothing is asked without), and is higher by `ahead` where they are `on` times as far."""

    words: str
    back: float | None
    gained: float
    on: float
    ahead: float
    beyond: bool  # whether it rises where it is no number any more

    def told(self, names: Sequence[str], to: str = "") -> str:
        return self.words.format(", ".join(names), to=to)


LIMIT = Ending("{} lies on the boundary of its domain", None, 0.0, 2.0, 0.0, False)
ENDLESS = Ending("{} goes to {to}", 0.5, 0.0, 2.0, 0.0, True)  # even 0 log 0 has no number out there
GROWN = Ending("{} has collapsed: the objective grows with it, without end", 0.01, RISE, 100.0, -RISE, True)
SHRUNK = Ending("{} has collapsed: the objective grows as it shrinks, without end", 0.01, RISE, 100.0, RISE, False)
SINGULAR = Ending("{} has collapsed: the objective grows as its matrix {to}", 0.01, RISE, 100.0, RISE, True)


def rises(at: Callable[[float], float], here: float, asked: Ending) -> bool:
    """Whether the objective, `here` where a climb has stopped, still rises along a way."""
    if asked.back is not None and not here - at(asked.back) > asked.gained:
        return False
    more = at(asked.on) - here
    return bool(more >= asked.ahead) or (asked.beyond and bool(np.isnan(more)))


def further(params: Mapping[str, Array], way: Together, far: float) -> dict[str, Array]:
    """The parameters where what is on its way is so many times as far."""
    return {**params, **{p.name: p.along(far) for p in way}}


def going(name: str, domain: str, value: Array, chosen: Array, inward: bool = False) -> Going:
    """Some elements of a parameter on their way, those of numbers to infinity, or `inward`, to 0."""
    value = np.asarray(value, np.float64)
    start = _nearest_that_stays(value, chosen) if domain == "ordered" else 0.0
    own = value[chosen]

    def along(far: float) -> Array:
        match domain:
            case "unit":
                rest = np.minimum(value, 1 - value)
                odds = rest / far / (1 - rest)
                moved = np.where(value > 0.5, 1 / (1 + odds), odds / (1 + odds))
            case "simplex":
                moved = np.where(chosen, value / far, value)
                return np.asarray(moved / moved.sum(-1, keepdims=True))
            case _:
                moved = start + (1 / far if inward else far) * (value - start)
        return np.where(chosen, moved, value)

    if domain == "unit":
        return Going(name, along, f"{round(float(own[0]))}")
    return Going(name, along, "0" if inward else goes(own))


def distance(domain: str, value: Array, chosen: Array) -> float:
    """How far the farthest of some elements has gone."""
    value = np.asarray(value)
    return float(np.abs((value - _nearest_that_stays(value, chosen) if domain == "ordered" else value)[chosen]).max())


def goes(value: Array) -> str:
    """Where the largest number goes."""
    return "infinity" if value.ravel()[np.abs(value).argmax()] > 0 else "minus infinity"


def _nearest_that_stays(value: Array, chosen: Array) -> Array:
    """What each ordered element is measured from: its nearest neighbour that stays where it is, 0 where none does."""
    if chosen.all() or not chosen.any():
        return np.zeros(value.shape)
    least = np.where(chosen, np.inf, value).min(-1, keepdims=True)
    most = np.where(chosen, -np.inf, value).max(-1, keepdims=True)
    anchor = np.where(value > most, most, least)
    return np.where(np.isfinite(anchor) & chosen, anchor, 0.0)


class FlatDirections(NamedTuple):
    """The correlations of a covariance parameter: standard deviations (..., d), eigenvalues (..., d), vectors."""

    spread: Array
    eigen: Array
    vectors: Array

    def going(self, name: str, thin: Array, small: Any = False) -> Going:
        """Matrices on their way to singular ones, by their least eigenvalue where `thin`, as a whole where `small`."""

        def along(far: float) -> Array:
            eigen = self.eigen.copy()
            eigen[..., 0] *= np.where(thin, 1 / far, 1.0)
            out = (self.vectors * eigen[..., None, :]) @ self.vectors.swapaxes(-1, -2)
            out = out * (self.spread[..., :, None] * self.spread[..., None, :])
            return np.asarray(out * np.where(small, 1 / far, 1.0)[..., None, None])

        first = (*np.argwhere(thin | small)[0],)
        axes = np.flatnonzero(np.abs(self.vectors[first][:, 0]) > 0.01)
        alike = f" (axes {', '.join(map(str, axes[:6]))} move together)" if thin.any() and len(axes) > 1 else ""
        cell = f" {tuple(int(i) for i in first)}" if thin.ndim else ""
        return Going(name, along, f"becomes singular{alike}", cell)
