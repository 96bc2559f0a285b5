"""Of chains and networks whose posterior is a point: what their names stand for in the expressions of a plan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from algebra import World

from emdsl.derive.algebra import expr as x
from emdsl.derive.joint.plates import home_of
from emdsl.derive.joint.terms import Term
from emdsl.derive.plan import Plan
from emdsl.derive.posteriors.block import Block
from emdsl.derive.posteriors.chains import behind, position_of
from emdsl.derive.posteriors.roles import Edge, Start


def tied(block: Block, plan: Plan, w: World) -> dict[str, Any]:
    """Joint probabilities of several elements, 1 or 0; what elimination leaves."""
    if block.network:
        return _network(block, plan, w)
    return _chain(block, w) if block.chain is not None else {}


def _network(block: Block, plan: Plan, w: World) -> dict[str, Any]:
    def sure(places: Any, states: Sequence[x.Ix], plates: Sequence[x.Ix], masks: Sequence[x.Expr] = ()) -> Any:
        selectors = [*masks, *(x.Sel(x.El(n, idx), s) for (n, idx), s in zip(places, states, strict=True))]
        return lambda *at: w.product(selectors, dict(zip((*states, *plates), at, strict=True)))

    def whole() -> float:
        total = 0.0
        for c in block.network:
            for here in w.over(c.plates, {}):
                if w.product(c.masks, here):
                    here |= {s: int(w.value(x.El(*p), here)) for p, s in zip(c.places, c.states, strict=True)}
                    total += _sum(c.terms, here, w)
        return total

    out: dict[str, Any] = {f"A:{block.name}": whole}
    for n, c in enumerate(block.network):
        out[f"clique{n}:{block.name}"] = sure(c.places, c.states, c.plates, c.masks)
    for latent, state in zip(block.latents, block.states, strict=True):
        home = home_of(plan.joint.model.variable(latent))
        out[f"q:{latent}"] = sure([(latent, home)], [state], home)
    return out


def _chain(block: Block, w: World) -> dict[str, Any]:
    chain = block.chain
    assert chain is not None

    def position(here: Any) -> int:
        return int(w.value(position_of(chain), here))

    def states(here: Any) -> dict[x.Ix, int]:
        """The states of an element and of those before it, as many as there are."""
        found = {}
        for lag in range(min(chain.depth, position(here)) + 1):
            of = block.states if lag == 0 else chain.past[lag - 1]
            place = behind(block.home, chain, lag)
            found |= {s: int(w.value(x.El(n, place), here)) for n, s in zip(block.latents, of, strict=True)}
        return {**dict.fromkeys(chain.before, 0), **found}

    def agree(said: Any, here: Any) -> bool:
        """Whether states, and gates, are what they are at an element."""
        true = states(here)
        return all(said[s] == true[s] for s in said if s in true) and w.product(block.neighbours, here) == 1

    def pair(*at: int) -> float:
        here = dict(zip((*chain.before, *block.states, *block.gates, *block.home), at, strict=True))
        return float(position(here) >= chain.depth and agree(here, here))

    def elements(outer: Any) -> Any:
        for here in w.over(block.home, outer):
            if all(w.index(r, here) == outer[o] for r, o in zip(chain.rows, chain.outer, strict=True)):
                yield here

    def first(r: int) -> Any:
        axes = (*(chain.before if r else ()), *block.states, *block.gates, *chain.outer)

        def start(*at: int) -> float:
            outer = dict(zip(axes, at, strict=True))
            return float(any(position(e) == r and agree(outer, e) for e in elements(outer)))

        return start

    def whole(*at: int) -> float:
        total = 0.0
        for here in elements(dict(zip((*block.gates, *chain.outer), at, strict=True))):
            role = Edge() if position(here) >= chain.depth else Start(position(here))
            chosen = [t for t, r in zip(block.terms, block.roles, strict=True) if r in ("", role)]
            total += _sum(chosen, {**here, **states(here)}, w)
        return total

    out: dict[str, Any] = {f"pair:{block.name}": pair, f"A:{block.name}": whole}
    return out | {f"first{r}:{block.name}": first(r) for r in range(chain.depth)}


def _sum(terms: Sequence[Term], here: Any, w: World) -> float:
    return sum(w.total(t.coef, t.factors, [i for i in t.ixs if i not in here], here) for t in terms)
