"""What the functions of one module have in common: what some make of the data, and others read by name."""

from __future__ import annotations

from dataclasses import dataclass, field

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr, Ix
from emdsl.derive.algebra.made import Q
from emdsl.derive.posteriors.block import Block
from emdsl.derive.posteriors.blocks import Part
from emdsl.derive.posteriors.once import DataSum, Known
from emdsl.derive.updates.handed import LookedUp
from emdsl.derive.updates.statistics import readable_name

SUMS, MOMENTS = "the sums", "the moments"


@dataclass
class Sums:
    """The sums that the functions of a module read, by the names they have in `prepared[key]`; who makes them."""

    known: Known
    key: str = SUMS
    found: dict[DataSum, str] = field(default_factory=dict)
    readers: dict[DataSum, dict[object, None]] = field(default_factory=dict)  # numbers of the equations they stand in

    @property
    def maker(self) -> str:
        return f"{self.key.removeprefix('the ')}_of_data"

    def name(self, s: DataSum, equation: object) -> str:
        self.readers.setdefault(s, {})[equation] = None
        if s not in self.found:
            self.found[s] = readable_name(s.factors, set(self.found.values()))
        return self.found[s]


@dataclass
class RowKinds:
    """What pieces of a precision take from data row by row, each under the name that its kinds have in `prepared`."""

    found: dict[tuple[tuple[Expr, ...], tuple[Ix, ...]], str] = field(default_factory=dict)
    readers: dict[str, dict[object, None]] = field(default_factory=dict)  # numbers of the equations they stand in

    def name(self, data: tuple[Expr, ...], home: tuple[Ix, ...], block: str, equation: object) -> str:
        key = (data, home)
        if key not in self.found:
            self.found[key] = f"{block}_{len(self.found) + 1}"
        self.readers.setdefault(self.found[key], {})[equation] = None
        return self.found[key]


@dataclass
class Handed:
    """The sums over the rows of one factor of q that the functions of a module read, by name.

    `whole` is whether somebody reads the probabilities of single rows, so that these are kept too.
    """

    part: Part
    block: Block
    row: Ix
    known: Known
    tables: LookedUp | None
    found: dict[DataSum, str] = field(default_factory=dict)
    readers: dict[str, dict[object, None]] = field(default_factory=dict)  # numbers of the equations they stand in
    whole: bool = False

    @property
    def q(self) -> str:
        return Q.of(self.block.name)

    def takes(self, s: DataSum) -> bool:
        """Whether a sum can be made where the rows are: by segments only through the codes of the tables."""
        chosen = [f for f in s.factors if isinstance(f, x.Sel)]
        if self.tables is None or not chosen:
            return not chosen
        codes = {c.value.var for c in self.tables.codes}
        (row,) = {i for f in s.factors for i in x.free(f) if i.dim == self.row.dim and i not in s.axes}
        others = [f for f in s.factors if f not in chosen and not (isinstance(f, El) and f.var == self.q)]
        coded = [isinstance(f.of, El) and f.of.var in codes and f.of.idx == (row,) for f in chosen]
        return coded == [True] and all(set(x.free(f)) <= {row} for f in others)
