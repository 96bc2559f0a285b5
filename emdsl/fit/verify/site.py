"""A model whose latents are drawn, at data and parameters: what its module says there, and the interpreter."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from emdsl.derive.posteriors.draws import known
from emdsl.families.scope import Array
from emdsl.fit.verify.case import Compiled, told_sizes
from emdsl.fit.verify.held import completed
from emdsl.fit.verify.oracle import Oracle
from emdsl.fit.verify.setting import Drawn, as_data, draw, shortened, sized
from emdsl.fit.verify.tables import tables
from emdsl.fit.verify.world import World
from emdsl.runtime.data import faults
from emdsl.runtime.montecarlo.sampler import Chain

NAME, SAME = "how it is drawn", 1e-7
DRAWN_AGAIN, FURTHER = 5, 100_003  # times, and how far on the next seed is
POINTS = 3  # at which a density is compared with the one at the draws
Values = Mapping[str, Array]


@dataclass(frozen=True)
class Site:
    """A drawn model at data: its module, the data as the module has them, and the interpreter's log joint."""

    world: World
    drawn: Drawn
    params: Values
    module: Any
    bound: Any
    prepared: Mapping[str, Any]
    kept: Mapping[str, Any]  # how each latent is stored

    @staticmethod
    def of(model: Compiled, seed: int, plates: int, change: Callable[[Drawn], Drawn] = lambda drawn: drawn) -> Site:
        """Data drawn that the model refuses, as a share that was rounded to 1, are drawn again. Raises DataError."""
        text = shortened(sized(model.resolved))
        for again in range(DRAWN_AGAIN + 1):
            drawn = change(draw(text, seed + FURTHER * again, plates))
            fitter = model.fitter(seed=0, sizes=told_sizes(model, drawn))
            try:
                bound = fitter._bind(as_data(model.resolved, drawn))
                break
            except faults.DataError:
                if again == DRAWN_AGAIN:
                    raise
        prepared = fitter._prepare(bound)
        params = {n: np.asarray(v, float) for n, v in drawn.setting.params.items()}
        module = fitter._module
        kept = module.stored_draws(params, prepared)
        return Site(World.of(text, drawn), drawn, params, module, bound, prepared, kept)

    def at(self, params: Values) -> Site:
        """The same at other parameters, from which latents may be measured."""
        drawn = self.drawn._replace(setting=self.drawn.setting._replace(params=dict(params)))
        kept = self.module.stored_draws(params, self.prepared)
        return replace(self, world=World.of(self.world.model, drawn), drawn=drawn, params=params, kept=kept)

    def with_draws(self, values: Values) -> Mapping[str, Any]:
        """The prepared data with latents as they are stored."""
        found: Mapping[str, Any] = self.module.with_draws(self.prepared, self.stored(values))
        return found

    def stored(self, values: Values) -> dict[str, Array]:
        """Latents as the module's sampler has them. Those that the model does not name (which of several was the least)
        are drawn given what is."""
        out = {}
        for n, k in self.kept.items():
            if n in values:
                value = np.asarray(values[n]) if k.shift is None else values[n] - k.shift
                out[n] = np.asarray(np.transpose(value, k.order), order="C")
        if len(out) < len(self.kept) and hasattr(self.module, "draw_of_rest"):
            rest = self.module.draw_of_rest(self.params, {**self.prepared, **out}, np.random.default_rng(0))
            out |= {n: rest[n] for n in self.kept if n not in out}
        return out

    def shown(self, stored: Values) -> dict[str, Array]:
        """The inverse of `stored`, the other latents as they were drawn, or as they follow from these."""
        out = dict(self.world.latents)
        for n, k in self.kept.items():
            if n in out:
                value = np.transpose(stored[n], np.argsort(k.order))
                out[n] = np.reshape(value if k.shift is None else value + k.shift, out[n].shape)
        return completed(self.world.held, out)

    def chain(self, values: Values, rng: np.random.Generator) -> Chain:
        return Chain(self.module, self.prepared, self.stored(values), rng)

    def beside(self, held: Sequence[str], values: Values) -> World:
        """The model in which these latents are data."""
        if set(held) >= set(self.world.latents):
            return replace(self.world, latents=values)
        data = {**self.drawn.data, **{n: values[n] for n in held}}
        left = {n: v for n, v in values.items() if n not in held}
        return World.of(known(self.world.model, held), self.drawn._replace(data=data, latents=left))

    def log_joint(self, held: Sequence[str], values: Values) -> float:
        """log p(data, these latents), the others summed and integrated out. Raises Unchecked."""
        world = self.beside(held, values)
        if set(held) >= set(self.world.latents):
            return float(world.rows(self.params, values).sum())
        return oracle_of(world, self.params)[0].total(self.params)


def oracle_of(world: World, params: Values) -> tuple[Oracle, Any]:
    """An oracle whose integrals are settled, and its tables. Raises Unchecked."""
    oracle = Oracle.of(world, params, np.random.default_rng(0))
    found = tuple(tables(oracle.layout, params))
    oracle.settle(found)
    return oracle, found
