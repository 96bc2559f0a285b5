"""Derivations broken one by one: ways to make a derived Q, a posterior or an E-step wrong, and to have a model so.

A fault stands in one of two places of the plan, `q` (its terms and statistics) or `blocks` (the terms of a posterior),
or in an E-step as it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from emdsl.derive import plan as planner
from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Ix
from emdsl.fit.model import Model

SIGN, PLATE, INDEX, EAGER, STALE = (
    "a wrong sign", "a dropped plate", "a swapped index", "an over-eager closed form", "a stale statistic",
)  # fmt: skip


def put(parts: tuple[Any, ...], k: int, *new: Any) -> tuple[Any, ...]:
    return (*parts[:k], *new, *parts[k + 1 :])


def _swapped(e: Any, factors: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """The factors with two indices of one element, of one dimension, the one for the other."""
    for n, f in enumerate(factors):
        for el in (el for el in x.walk(f) if isinstance(el, El)):
            at = [k for k, i in enumerate(el.idx) if isinstance(i, Ix)]
            for a in at:
                for b in (b for b in at if b > a and el.idx[b].dim == el.idx[a].dim and el.idx[b] != el.idx[a]):
                    idx = list(el.idx)
                    idx[a], idx[b] = idx[b], idx[a]
                    yield put(factors, n, x.put(f, el, El(el.var, tuple(idx), el.sort)))


def _first(part: Any, of: Ix) -> Any:
    """A sum over a plate of which the first element alone is taken; or which counts once, not for each element."""
    factors = tuple(x.substitute(f, {of: 0}) for f in part.factors)
    return replace(part, factors=factors, ixs=tuple(i for i in part.ixs if i != of))


def _summed(part: Any, kept: tuple[Ix, ...] = ()) -> list[Ix]:
    """In the order in which they are met."""
    met = [i for f in part.factors for el in x.walk(f) if isinstance(el, El) for i in el.idx]
    free = {i for f in part.factors for i in x.free(f)} | set(part.ixs)
    return [i for i in dict.fromkeys([*met, *part.ixs]) if isinstance(i, Ix) and i in free and i not in kept]


def _of_term(term: Any, name: str) -> Iterator[tuple[str, str, Any]]:
    yield SIGN, name, replace(term, coef=-term.coef)
    yield from ((PLATE, f"{name} {i.dim}", _first(term, i)) for i in _summed(term))
    yield from ((INDEX, name, replace(term, factors=f)) for f in _swapped(term, term.factors))
    yield EAGER, name, None  # the term that stands in its way is not looked at


def of_q(q: Any) -> Iterator[tuple[str, str, Any]]:
    """Every fault of Q: (kind, name of what is wrong, Q with it)."""
    for attr in ("terms", "prior"):
        for k, t in enumerate(getattr(q, attr)):
            for fault, name, term in _of_term(t, f"{attr} {k}"):
                new = put(getattr(q, attr), k, *([] if term is None else [term]))
                yield fault, name, replace(q, **{attr: new})
    for k, s in enumerate(q.statistics):
        ways = [(PLATE, i.dim, _first(s, i)) for i in _summed(s, s.axes)]
        ways += [(INDEX, "", replace(s, factors=f)) for f in _swapped(s, s.factors)]
        if len(s.axes) > 1 and s.axes[0].dim == s.axes[1].dim:
            ways.append((INDEX, "transposed", replace(s, axes=(s.axes[1], s.axes[0], *s.axes[2:]))))
        seen = [n for n, f in enumerate(s.factors) if isinstance(f, El) and f.var.startswith("present:")]
        ways += [(PLATE, "of what is seen", replace(s, factors=put(s.factors, n))) for n in seen]
        for fault, what, new in ways:
            yield fault, f"statistic {s.name} {what}".strip(), replace(q, statistics=put(q.statistics, k, new))


def of_posterior(found: Any) -> Iterator[tuple[str, str, Any]]:
    """Every fault of the terms that posteriors are made of."""
    for b in found.blocks:
        for k, t in enumerate(b.terms):
            for fault, name, term in _of_term(t, f"{b.name} {k}"):
                new = () if term is None else (term,)
                roles = put(b.roles, k, *b.roles[k : k + len(new)]) if b.roles else ()
                yield fault, name, _with(found, replace(b, terms=put(b.terms, k, *new), roles=roles))
        for n, c in enumerate(b.network):
            for k, t in enumerate(c.terms):
                for fault, name, term in _of_term(t, f"{b.name} clique {n} {k}"):
                    clique = replace(c, terms=put(c.terms, k, *(() if term is None else (term,))))
                    yield fault, name, _with(found, replace(b, network=put(b.network, n, clique)))


def _with(found: Any, block: Any) -> Any:
    """An elimination with this block in the place of the one of its name."""
    blocks = tuple(block if b.name == block.name else b for b in found.blocks)
    parts = [tuple(block if b.name == block.name else b for b in p.blocks) for p in found.parts]
    return replace(
        found, blocks=blocks, parts=tuple(replace(p, blocks=b) for p, b in zip(found.parts, parts, strict=True))
    )


def install(patch: pytest.MonkeyPatch, fault: str, site: str) -> list[str]:
    """Every derivation from now on has the fault where it has the site; these are named as they are broken."""
    hits: list[str] = []
    if fault == STALE:
        honest = Model.load_module

        def load(self: Model) -> Any:
            made = honest(self)
            made.e_step = _stale(made.e_step, site, hits)
            return made

        patch.setattr(Model, "load_module", load)
        return hits

    def broken(whole: Any, ways: Iterator[tuple[str, str, Any]]) -> Any:
        for kind, name, wrong in ways:
            if (kind, name) == (fault, site):
                hits.append(name)
                return wrong
        return whole

    expected, posteriors = planner.expected, planner.posteriors

    def eliminated(*a: Any) -> Any:
        joint, found, why = posteriors(*a)
        return joint, broken(found, of_posterior(found)), why

    def q(*a: Any) -> Any:
        found = expected(*a)
        return broken(found, of_q(found))

    patch.setattr(planner, "posteriors", eliminated)
    patch.setattr(planner, "expected", q)
    return hits


def _stale(e_step: Callable[..., Any], name: str, hits: list[str]) -> Callable[..., Any]:
    """An E-step that goes on with the first value of a statistic that it found, of the same data."""
    kept: dict[int, tuple[Any, Any]] = {}

    def stale(*a: Any, **beside: Any) -> Any:
        found = e_step(*a, **beside)
        if name not in found:
            return found
        hits.append(name)
        return {**found, name: kept.setdefault(id(a[1]), (found[name], a[1]))[0]}  # held, so that its id stays its own

    return stale
