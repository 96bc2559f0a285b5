"""The plates that a variable stands in: its loops, then the axes of an array of parameters.

Two loops over one size are one plate; the second of two over one size around the same variable is another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from emdsl.graph.parts import Plate
from emdsl.graph.reads import spelt
from emdsl.language import model as m


@dataclass
class Plates:
    """The plates met so far, by key; `letters` are loop names by size, `taken` what an index may not be called."""

    letters: Mapping[str, str]
    taken: frozenset[str]
    found: dict[str, Plate] = field(default_factory=dict)

    def stand(self, loops: Sequence[m.Plate], array: Sequence[m.Size] = ()) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The keys of the plates around, from outside, with the key of each axis."""
        keys: list[str] = []
        axes: list[str] = []
        of_loop: dict[str, str] = {}
        for size, loop in (*((p.size, p) for p in loops), *((s, None) for s in array)):
            key = self._key(size, axes, of_loop)
            index = loop.index if loop is not None else self._letter(size, axes)
            by = self._by(size, of_loop) if isinstance(size, m.Ragged) else ""
            name = size.name if isinstance(size, m.Ragged) else str(size)
            self.found.setdefault(key, Plate(key, index, name, by))
            axes.append(key)
            keys.append(key)
            if loop is not None:
                of_loop[loop.index] = key
                if loop.condition is not None:
                    condition = spelt(loop.condition) or "some"
                    part = f"{key} | {condition}"
                    self.found.setdefault(part, Plate(part, index, name, by, condition, part=True))
                    keys.append(part)
        return tuple(keys), tuple(axes)

    def _key(self, size: m.Size, axes: Sequence[str], of_loop: Mapping[str, str]) -> str:
        base = f"{size.name}[{of_loop.get(size.by, size.by)}]" if isinstance(size, m.Ragged) else str(size)
        again = sum(a.partition("#")[0] == base for a in axes)
        return f"{base}#{again}"

    def _by(self, size: m.Ragged, of_loop: Mapping[str, str]) -> str:
        """The indices that a length depends on: those of the plate around, too, where that is ragged."""
        around = self.found[of_loop[size.by]].by if size.by in of_loop else ""
        return f"{around},{size.by}" if around else size.by

    def _letter(self, size: m.Size, axes: Sequence[str]) -> str:
        """The index of an array's axis: the loop name of its size, else the size's letter, if that is free."""
        used = {self.found[a].index for a in axes}
        own = self.letters.get(str(size), "")
        name = own or str(size)[:1].lower()
        if not name[:1].isalpha() or (name in self.taken and not own):
            return ""
        while name in used:
            name += "′"
        return name


def loop_letters(plates: Iterable[m.Plate]) -> dict[str, str]:
    """The first loop name over each size."""
    out: dict[str, str] = {}
    for p in plates:
        out.setdefault(str(p.size), p.index)
    return out


def settled(found: Mapping[str, Plate], members: Mapping[str, set[str]]) -> tuple[list[Plate], set[str]]:
    """The plates to draw; and the keys of those that a condition's own plate stands for, as both hold the same."""
    kept, dropped = [], set()
    for key, plate in found.items():
        whole = key.partition(" | ")[0]
        if plate.part and members[whole] == members[key]:
            dropped.add(whole)
            plate = replace(plate, part=False)
        kept.append(plate)
    return [p for p in kept if p.key not in dropped], dropped
