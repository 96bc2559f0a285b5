"""What indices are called on paper: by the model's own loop names, else by the letter of their length.

Names are given while an expression is read, from outside to inside, so that no two indices in sight share one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import Expr, Ix
from emdsl.derive.algebra.made import STATISTIC
from emdsl.language import model as m
from emdsl.report import formula as f
from emdsl.report.formula import Formula
from emdsl.report.walking import parts, rebuilt

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
        elsewhere = {n for dim, names in self.loops.items() if dim != ix.dim for n in names}
        own = [base for base in self._candidates(ix) if base not in self.taken]
        own = [n for n in own if n not in elsewhere or n in self.loops.get(ix.dim, ())] or own
        for base in own:
            if base not in used:
                return base
        like = sorted(names[i] for i in names if i.dim == ix.dim)  # `i` of this length has `i'` beside it
        spare = [c for c in SPARE if c not in self.taken and c not in used]
        spare = [c for c in spare if c not in elsewhere] or spare
        name = own[0] if own else like[0].rstrip("'") if like else spare[0] if spare else "i"
        while name in used or name in self.taken:
            name += "'"
        return name

    def rank(self, ix: Ix, names: Names) -> tuple[int, str]:
        """Where an index stands beside others under one sum: plates as they are declared, then states and axes."""
        order = list(self.loops)
        at = order.index(ix.dim) if ix.dim in self.loops else len(order)
        return at, names.get(ix, ix.name)

    def _candidates(self, ix: Ix) -> Iterable[str]:
        loops = self.loops.get(ix.dim, ())
        if ix.name in loops:
            yield ix.name
        yield from loops
        letter = ix.dim[:1].lower()
        if letter.isalpha():
            yield letter

    def extend(self, names: Names, more: Iterable[Ix]) -> dict[Ix, str]:
        """The names with one for each further index, in order."""
        out = dict(names)
        for ix in more:
            if ix not in out:
                out[ix] = self.name(ix, out)
        return out


def unprimed(e: Formula, taken: Collection[str]) -> Formula:
    """The formula with no more primes than tell its indices apart: `sum_j''` is `sum_j` where no other j stands."""
    met = {p.text for p in parts(e) if isinstance(p, f.Name)}
    bound = {i.text for p in parts(e) if isinstance(p, f.Big) for i, _ in p.indices if isinstance(i, f.Name)}
    to: dict[str, str] = {}
    for n in sorted((n for n in bound if n.endswith("'")), key=len):
        used = {*taken, *(to.get(other, other) for other in met if other != n)}
        free = (n.rstrip("'") + "'" * k for k in range(len(n)))
        to[n] = next(name for name in free if name not in used)
    return rebuilt(e, lambda p: f.Name(to[p.text]) if isinstance(p, f.Name) and p.text in to else None) if to else e


def in_order(ixs: Sequence[Ix], factors: Sequence[Expr]) -> list[Ix]:
    """Indices of one length in the order in which conditions, then parameters, then statistics hold them."""
    met = [i for p in sorted(factors, key=_turn) for i in x.free(p) if i in ixs]
    met = list(dict.fromkeys((*met, *ixs)))
    left = {i.dim: [j for j in met if j.dim == i.dim] for i in ixs}
    return [left[i.dim].pop(0) for i in ixs]


def in_sight(ixs: Sequence[Ix], factors: Sequence[Expr]) -> list[Ix]:
    """The indices as a reader meets them: the first has the first letter."""
    met = dict.fromkeys(i for p in factors for i in x.free(p) if i in ixs)
    return list(dict.fromkeys((*met, *ixs)))


def _turn(e: Expr) -> int:
    if isinstance(e, x.Sel):
        return 0
    return 2 if any(n in STATISTIC for n in x.variables(e)) else 1


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
