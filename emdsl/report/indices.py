"""What indices are called on paper: by the model's own loop names, else by the letter of their length.

Names are given while an expression is read, from outside to inside, so that no two indices in sight share one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from emdsl.derive.algebra.expr import Ix
from emdsl.language import model as m

Names = Mapping[Ix, str]
SPARE = "ijlmpqrstuvw"


@dataclass(frozen=True)
class Letters:
    """Loop names by dimension, and the names that indices must leave alone."""

    loops: Mapping[str, tuple[str, ...]]
    taken: frozenset[str]

    def name(self, ix: Ix, names: Names) -> str:
        """A name for an index that nothing in sight has."""
        used = set(names.values())
        first: str | None = None
        for base in self._candidates(ix):
            if base in self.taken:
                continue
            first = first or base
            if base not in used:
                return base
        name = first or "i"
        while name in used or name in self.taken:
            name += "'"
        return name

    def rank(self, ix: Ix, names: Names) -> tuple[int, str]:
        """Where an index stands beside others under one sum: plates as they are declared, then states and axes."""
        order = list(self.loops)
        at = order.index(ix.dim) if ix.dim in self.loops else len(order)
        return at, names.get(ix, ix.name) if at < len(order) else ""

    def _candidates(self, ix: Ix) -> Iterable[str]:
        loops = self.loops.get(ix.dim, ())
        if ix.name in loops:
            yield ix.name
        yield from loops
        letter = ix.dim[:1].lower()
        if letter.isalpha():
            yield letter
        else:
            yield from SPARE

    def extend(self, names: Names, more: Iterable[Ix]) -> dict[Ix, str]:
        """The names with one for each further index, in order."""
        out = dict(names)
        for ix in more:
            if ix not in out:
                out[ix] = self.name(ix, out)
        return out


def letters(model: m.ModelText) -> Letters:
    """The loop names of a model's plates, by the dimension that they run over."""
    loops: dict[str, dict[str, None]] = {}
    plates = [v.plates for v in model.variables] + [v.plates for v in model.lets] + [v.plates for v in model.potentials]
    for own in plates:
        for p in own:
            dim = f"{p.size.name}[]" if isinstance(p.size, m.Ragged) else str(p.size)
            loops.setdefault(dim, {})[p.index] = None
    names = {v.name for v in model.variables} | {v.name for v in model.lets} | {s.name for s in model.sizes}
    return Letters({d: tuple(n) for d, n in loops.items()}, frozenset(names))
