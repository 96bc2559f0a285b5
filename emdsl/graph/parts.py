"""The diagram as data: what is drawn, before anything has a place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# latent, observed: rings, open and shaded; partly: half shaded. param: a dot. given: a small square; gate: a
# given that selects, a diamond. let: a double ring. factor: a black square.
Mark = Literal["latent", "observed", "partly", "param", "given", "gate", "let", "factor"]
RINGS: tuple[Mark, ...] = ("latent", "observed", "partly", "let")


@dataclass(frozen=True)
class Plate:
    """Copies: `index` in `size`, of the length `size[by]` for a ragged plate, `size[r,c]` for one in another; of
    these the ones that meet `condition`.

    `part` is True where the condition alone tells it from a plate that is drawn around it.
    """

    key: str
    index: str
    size: str
    by: str = ""
    condition: str = ""
    part: bool = False


@dataclass(frozen=True)
class Node:
    """A variable, a shared `let` or a factor. `at` are its indices, `plates` the keys of its plates, from outside."""

    key: str
    name: str
    mark: Mark
    at: tuple[str, ...] = ()
    plates: tuple[str, ...] = ()
    fixed: bool = False  # a function of its parents: a double ring
    squared: bool = False  # `s2` means the square of s
    names: tuple[str, ...] = ()  # of nodes that are alike, and drawn as one


@dataclass(frozen=True)
class Edge:
    """`target` is written in terms of `source`. `selects`: by choosing among others; `back`: of earlier elements."""

    source: str
    target: str
    selects: bool = False
    back: bool = False
    arrow: bool = True
    label: str = ""


@dataclass(frozen=True)
class Graph:
    """A model's dependences, in the order of its text."""

    name: str
    nodes: tuple[Node, ...]
    plates: tuple[Plate, ...]
    edges: tuple[Edge, ...]

    def members(self, plate: str) -> tuple[str, ...]:
        return tuple(n.key for n in self.nodes if plate in n.plates)
