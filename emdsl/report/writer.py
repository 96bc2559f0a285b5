"""What the writing of matrices and of structured posteriors asks of the writing of expressions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr, Idx, Ix
from emdsl.derive.joint.factors import Cloud
from emdsl.derive.posteriors.block import Block
from emdsl.report.factored import one_log
from emdsl.report.formula import Formula
from emdsl.report.indices import Letters, Names
from emdsl.report.known import Known
from emdsl.report.together import held_together


@dataclass(frozen=True)
class Writer(ABC):
    """How the expressions of one plan are written."""

    letters: Letters
    blocks: Mapping[str, Block]
    parents: Mapping[str, tuple[str, ...]]  # ragged size -> loop names of what encloses it
    known: Known
    tables: Mapping[str, str]  # literal tables by the names of the `let`s that hold them
    axes: Mapping[str, int]  # how many of an array's last axes are its elements' own
    points: Mapping[str, Cloud] = field(default_factory=dict)  # latents that stand at points
    together: Mapping[str, int] = field(default_factory=dict)  # ragged size -> how many of its parents are one axis
    around: Mapping[str, tuple[Formula, ...]] = field(default_factory=dict)  # ragged size -> its parents' lengths
    matrices: Sequence[tuple[str, Ix, Ix, Expr]] = ()  # what `let`s name: the element at two indices

    sums: dict[Any, Formula] = field(init=False, compare=False, default_factory=dict)  # written before, with its names

    def joined(self, e: x.Add) -> Expr:
        """A sum with one name for the two parts of a mean, `log(1/2) + log(a / 2 + 1)` as `log((a + 2) / 4)`."""
        return one_log(held_together(e, self.known.together, self.known.pairs))

    @abstractmethod
    def of(self, e: Expr, names: Names) -> Formula:
        """An expression."""

    @abstractmethod
    def index(self, i: Idx, names: Names) -> tuple[Formula, ...]:
        """An index position; a row of a ragged plate is the indices of its parents and its own."""

    @abstractmethod
    def matrix(self, e: x.MatInv | x.LogDet, names: Names) -> Formula:
        """The matrix whose element is the body: its name, where it is one array in order, else its element."""

    @abstractmethod
    def own(self, e: El) -> int:
        """How many of its last places are an element's own axes."""

    @abstractmethod
    def named(self, e: El, lead: Sequence[Idx], names: Names) -> Formula:
        """An element without its own axes."""

    @abstractmethod
    def named_at(self, var: str, idx: Sequence[Idx], names: Names) -> Formula:
        """A variable's element at a place."""

    @abstractmethod
    def states(self, block: Block, at: Mapping[Ix, Idx], names: Names) -> list[Formula]:
        """`z[n] = k` for the block's discrete latents and its gates."""

    @abstractmethod
    def gates(self, block: Block, at: Mapping[Ix, Idx], names: Names) -> list[Formula]:
        """`z[n] = k` for the neighbours that a block is given."""

    @abstractmethod
    def mean(self, value: Formula, given: Sequence[Expr], names: Names) -> Formula:
        """A value's expectation under q, given the states of gates."""

    @abstractmethod
    def plus(self, terms: list[tuple[bool, Formula]]) -> Formula:
        """A sum of terms, each with whether it is subtracted."""

    @abstractmethod
    def filters(self, e: Expr, ixs: Sequence[Ix]) -> bool:
        """Whether a factor stands under the sign of a sum over these indices."""

    @abstractmethod
    def big(self, ixs: Sequence[Ix], seen: Sequence[Expr], value: Formula, names: Names) -> Formula:
        """The sum over indices of a value, where what is needed is seen; the indices have their names."""
