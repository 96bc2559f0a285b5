"""A model with its data as a sum of rows: the log joint at any parameters and latents, by the interpreter alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from emdsl.families.evaluate import rows_of
from emdsl.families.scope import Array, Scope
from emdsl.fit.interpret import chunks, log_prob, model_scope, plate_rows, read_names
from emdsl.fit.sampling import variable_reads
from emdsl.fit.verify.held import Chart, charts, completed
from emdsl.fit.verify.setting import Drawn
from emdsl.fit.verify.sticks import sticks
from emdsl.language.model import ModelText, Potential, Variable


class Unchecked(Exception):
    """Something that no oracle here reaches, with the reason."""


@dataclass(frozen=True)
class World:
    """A model with its data: the log joint as rows, at any parameters and latents.

    `missing` marks entries of observed variables that are not seen: they are latents, and `latents` has their arrays.
    """

    model: ModelText
    scope: Scope
    latents: Mapping[str, Array]
    missing: Mapping[str, Array] = field(default_factory=dict)
    held: Mapping[str, Chart] = field(default_factory=dict)  # latents of which parts have no noise

    @staticmethod
    def of(model: ModelText, drawn: Drawn) -> World:
        s = drawn.setting
        scope = model_scope(model, {**drawn.data, **s.params}, s.sizes, s.lengths)
        return World(model, scope, drawn.latents, held=charts(model, scope, drawn.latents))

    def broken(self, name: str) -> bool:
        """Whether a variable's numbers are sticks."""
        return self.model.variable(name).domain.kind == "simplex"

    def numbers(self, name: str, value: Array) -> Array:
        """What the cells of a latent are numbers of: itself, or its sticks."""
        return sticks(value) if self.broken(name) else value

    def declarations(self) -> list[Variable | Potential]:
        """What has rows, in their order."""
        return [*(v for v in self.model.variables if v.distribution is not None), *self.model.potentials]

    def parts(
        self, some: Sequence[Variable | Potential], params: Mapping[str, Array], latents: Mapping[str, Array]
    ) -> list[Array]:
        """log p of every row, for some of the declarations."""
        if any(chart.moves for chart in self.held.values()):
            latents = completed(self.held, latents, params)
        scope = replace(self.scope, values={**self.scope.values, **params, **latents})
        out = []
        for d in some:
            if isinstance(d, Variable):
                found = list(log_prob(self.model, d, scope))
                if d.name in self.held and found:
                    volume = np.tile(self.held[d.name].volume, scope.count)
                    found = [np.concatenate([np.asarray(f, float) for f in found]) + volume]
            else:
                pieces = chunks(plate_rows(d.plates, scope))
                found = [np.broadcast_to(rows_of(d.expression, part), (part.count,)) for part in pieces]
            out.append(np.concatenate([np.asarray(f, float).reshape(-1) for f in found]) if found else np.zeros(0))
        return out

    def parts_at(
        self, some: Sequence[Variable | Potential], params: Mapping[str, Array], latents: Mapping[str, Array]
    ) -> list[Array]:
        """(points, rows) for each of the declarations: `parts` at the points along the arrays' first axis, which are
        evaluated side by side."""
        points = min((len(a) for a in latents.values()), default=1)
        free = all(self._kept(d) for d in some) and not any(chart.moves for chart in self.held.values())
        if points < 2 or not free:  # a condition that reads latents leaves other rows at each point
            each = [self.parts(some, params, {n: a[p] for n, a in latents.items()}) for p in range(points)]
            return [np.array(rows) for rows in zip(*each, strict=True)]
        scope = replace(self.scope, several=frozenset(latents), count=points, point=np.arange(points))
        side_by_side = replace(self, scope=scope)
        return [rows.reshape(points, -1) for rows in side_by_side.parts(some, params, latents)]

    def _kept(self, d: Variable | Potential) -> bool:
        """Whether the rows that the plates' conditions keep are the same whatever the latents are."""
        read = {n for p in d.plates if p.condition is not None for n in read_names(p.condition, self.model)}
        return read.isdisjoint(self.latents)

    def rows(self, params: Mapping[str, Array], latents: Mapping[str, Array]) -> Array:
        """log p of every row, declarations in order."""
        return np.concatenate([*self.parts(self.declarations(), params, latents), np.zeros(0)])

    def reads(self, d: Variable | Potential) -> set[str]:
        """The names that the rows of a declaration depend on."""
        if isinstance(d, Variable):
            ends = [e for e in (d.domain.lower, d.domain.upper) if e is not None]
            found = variable_reads(d, self.model).union({d.name}, *(read_names(e, self.model) for e in ends))
            return found.union(*(variable_reads(chart.variable, self.model) for chart in self.held.values()))
        every = [d.expression, *(p.condition for p in d.plates if p.condition is not None)]
        return set().union(*(read_names(e, self.model) for e in every))

    def priors(self, params: Mapping[str, Array]) -> float:
        """The log density of what is declared of the parameters, and the factors that no latent is in: penalties."""
        scope = replace(self.scope, values={**self.scope.values, **params})
        mine = [v for v in self.model.of_kind("param") if v.distribution is not None]
        penalties = [p for p in self.model.potentials if self.reads(p).isdisjoint(self.latents)]
        declared = sum(part.sum() for v in mine for part in log_prob(self.model, v, scope))
        return float(declared + sum(part.sum() for part in self.parts(penalties, params, self.latents)))
