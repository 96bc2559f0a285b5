"""The kinds of domains: how each is written, and how its values lie. One row a kind.

Every stage before the module reads what it must know of a kind here, as a property of a `Domain`. Only what has a form
of its own (how an spd matrix is drawn, which function keeps a number positive) asks for a kind by its name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

DomainKind = Literal[
    "real", "positive", "unit", "bool", "count", "category", "index",
    "simplex", "spd", "ordered", "correlation", "zero_sum",
]  # fmt: skip
Range = tuple[float, float]
EVERYWHERE: Range = (-math.inf, math.inf)


@dataclass(frozen=True, slots=True)
class Kind:
    """Numbers that are free of one another lie between `ends`, integers among them or all; others are `structured`."""

    least: int = 0  # how many lengths its brackets hold at least
    most: int | None = None  # and at most; None: any number
    ends: Range = EVERYWHERE
    discrete: bool = False  # its values are integers
    structured: bool = False  # what one of its numbers may be depends on the others
    centred: bool = False  # all vectors whose numbers sum to 0
    symmetric: bool = False  # a matrix, D x D
    bounded: bool = False  # it takes `min` and `max`

    @property
    def interval(self) -> bool:
        """Each number lies anywhere between the ends, whatever the others are."""
        return not self.discrete and not self.structured

    def holds(self, number: float) -> bool:
        """Whether a number is a value of this kind; the ends of an interval are not, those of integers are."""
        low, high = self.ends
        return low <= number <= high and number == int(number) if self.discrete else low < number < high


KINDS: Mapping[DomainKind, Kind] = MappingProxyType({
    "real": Kind(bounded=True),
    "positive": Kind(ends=(0.0, math.inf), bounded=True),
    "unit": Kind(ends=(0.0, 1.0), bounded=True),
    "bool": Kind(ends=(0.0, 1.0), discrete=True),
    "count": Kind(ends=(0.0, math.inf), discrete=True, bounded=True),
    "category": Kind(1, 1, ends=(0.0, math.inf), discrete=True),  # below its levels, a length
    "index": Kind(1, 1, ends=(0.0, math.inf), discrete=True),
    "simplex": Kind(1, 1, structured=True),
    "spd": Kind(1, 1, structured=True, symmetric=True),
    "ordered": Kind(1, 1, structured=True),
    "correlation": Kind(1, 1, structured=True, symmetric=True),
    "zero_sum": Kind(1, 1, structured=True, centred=True),
})  # fmt: skip
