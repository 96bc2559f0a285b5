"""Elements in the user's names: variables, and what the compiler makes of them, `q(z[n] = k)` for `q:z`.

A new kind of element (`derive/algebra/made`) is a case here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Idx, Ix
from emdsl.derive.algebra.made import FIT, LOCATION, MOMENT, PRESENT, STATISTIC, VARIANCE, among, is_made, made_of
from emdsl.derive.posteriors.block import Block
from emdsl.report import formula as f
from emdsl.report.formula import Formula
from emdsl.report.indices import Names
from emdsl.report.marginals import summed_out
from emdsl.report.pieces import (
    ONE,
    statistic,
)
from emdsl.report.structured import structured
from emdsl.report.writer import Writer


class Elements(Writer):
    """Writes elements, each kind in its way."""

    def places(self, idx: Sequence[Idx], names: Names) -> tuple[Formula, ...]:
        return tuple(p for i in idx for p in self.index(i, names))

    def own(self, e: El) -> int:
        """How many of its last places are an element's own axes."""
        if among(e.var, (MOMENT, LOCATION)):
            return len(self.blocks[made_of(e.var)[1][0]].own)
        if among(e.var, (FIT, VARIANCE)):  # of a matrix that scales a matrix, else a number
            block = self.blocks[made_of(e.var)[1][0]]
            return len(e.idx) - len(block.gates) - len(block.home)
        return self.axes.get(e.var, 0)

    def named(self, e: El, lead: Sequence[Idx], names: Names) -> Formula:
        """An element without its own axes."""
        return self._element(El(e.var, tuple(lead), e.sort), names)

    def _named(self, var: str, idx: Sequence[Idx], names: Names) -> Formula:
        return f.at(f.Name(var), *self.places(idx, names))

    def _element(self, e: El, names: Names) -> Formula:
        if not is_made(e.var):
            return self._named(self.tables.get(e.var, e.var), e.idx, names)
        head, (rest, *more) = made_of(e.var)
        match head:
            case "" | "count":  # the sample weights, the counts of equal rows
                return ONE
            case "S":
                return f.at(f.Name(STATISTIC.of(rest)), *self.places(e.idx, names))
            case "q":
                return self._probability(self.blocks[rest], e.idx, names)
            case "E":
                return self._moment(self.blocks[rest], more[0], e.idx, names)
            case "location" | "variance" | "fit":
                block = self.blocks[rest]
                return f.Apply(f.Word(head), (self._home(block, e.idx, names),))
            case "A":
                block = self.blocks[rest]
                at = dict(zip((*block.gates, *block.outside), e.idx, strict=True))
                own, given = self._home(block, e.idx, names), self.gates(block, at, names)
                return f.Apply(f.Word("A"), (f.Relation("|", own, f.Listed(tuple(given))) if given else own,))
            case "at" | "volume":
                lead = self.points[rest].lead
                point = self._point(rest, e.idx[lead:], self.places(e.idx[:lead], names), names)
                volume = f.Apply(f.Word("log"), (f.Apply(f.Word("volume"), (point,)),))
                return point if head == "at" else volume
            case "raw":
                return self._named(rest, e.idx, names)
            case "present":
                return f.Bracket(self._seen(e, names))
            case "length":
                return f.at(f.Name(rest), *self.places(e.idx, names))
            case "row":
                return f.Name(self.parents[rest][-1]) if self.parents.get(rest) else f.Name("row")
            case "position":
                return self.places(e.idx, names)[-1]
        found = structured(self, e, names)
        if found is not None:
            return found
        return f.at(f.Name(e.var.replace(":", " ", 1)), *self.places(e.idx, names))

    def named_at(self, var: str, idx: Sequence[Idx], names: Names) -> Formula:
        """A variable's element at a place."""
        return self._named(var, idx, names)

    def _seen(self, e: El, names: Names) -> Formula:
        return f.Relation("is", self._named(PRESENT.named(e.var), e.idx, names), f.Word("seen"))

    def states(self, block: Block, at: Mapping[Ix, Idx], names: Names) -> list[Formula]:
        """`z[n] = k` for the block's discrete latents and its gates."""
        places = tuple(at.get(h, h) for h in block.home)
        out: list[Formula] = []
        for latent, s in zip(block.latents, block.states, strict=False):
            if summed_out(at.get(s)):
                continue
            out.append(self._event(latent, places, self.index(at.get(s, s), names)[-1], names))
        return out + self.gates(block, at, names)

    def _event(self, latent: str, places: Sequence[Idx], level: Formula, names: Names) -> Formula:
        """`z[n] = k`; of a latent at points the point itself."""
        if latent in self.points:
            cloud = self.points[latent]
            each = tuple(self._point(n, places, (level,), names) for n in cloud.latents)
            return each[0] if len(each) == 1 else f.Listed(each)
        return f.Relation("=", self._named(latent, places, names), level)

    def _point(self, latent: str, places: Sequence[Idx], numbers: tuple[Formula, ...], names: Names) -> Formula:
        return f.at(f.Nth(f.Name(latent), numbers), *self.places(places, names))

    def gates(self, block: Block, at: Mapping[Ix, Idx], names: Names) -> list[Formula]:
        """`z[n] = k` for the neighbours that a block is given."""
        out: list[Formula] = []
        for gate in block.neighbours:
            assert isinstance(gate.of, El)
            of = x.substitute(gate.of, at)
            level = at.get(gate.at, gate.at) if isinstance(gate.at, Ix) else gate.at
            state = self.index(level, names)[-1]
            assert isinstance(of, El)
            out.append(self._event(of.var, of.idx, state, names) if of.var in self.points else
                       f.Relation("=", self.of(of, names), state))  # fmt: skip
        return out

    def _probability(self, block: Block, idx: Sequence[Idx], names: Names) -> Formula:
        home = block.home if block.field is None else block.outside
        at = dict(zip((*block.states, *block.gates, *home), idx, strict=True))
        return f.Apply(f.Word("q"), tuple(self.states(block, at, names)))

    def _moment(self, block: Block, kind: str, idx: Sequence[Idx], names: Names) -> Formula:
        axes = (*block.gates, *block.home)
        at = dict(zip(axes, idx, strict=False))
        latent = self._named(block.name, idx[len(block.gates) :], names)
        given = tuple(self.states(block, at, names))
        return f.Mean(statistic(kind, latent), f.Listed(given) if given else None)

    def _home(self, block: Block, idx: Sequence[Idx], names: Names) -> Formula:
        places = self.places(idx[len(block.gates) :], names)
        return f.Listed(tuple(f.at(f.Name(n), *places) for n in block.latents))
