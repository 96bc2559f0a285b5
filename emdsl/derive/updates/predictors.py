"""Linear predictors that hold effects of groups beside parameters: what moves from these to those unseen by the data.

    b + v[g[n]],  v[j] ~ Normal(0, s):  b + a and v - a are the same predictor

where data say much of each group, q holds b + v fast, so that an M-step of b alone hardly moves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Expr, Idx, Ix
from emdsl.derive.algebra.nodes import DataIx
from emdsl.derive.joint.factors import LogJoint
from emdsl.language import model as m


@dataclass(frozen=True)
class Part:
    """`number * given * ... * leaf`. Of each axis of the leaf, where a row reads it: at a "number", at that of its
    "plate", at what a "given" tells (with the plates that it is read at), "each" element, or another ("all")."""

    leaf: str
    places: tuple[tuple[str, object], ...]
    number: float
    givens: tuple[tuple[str, tuple[int | str, ...]], ...]

    @property
    def found(self) -> bool:
        """Whether it is known which element each row reads."""
        return all(kind != "all" for kind, _ in self.places)


@dataclass(frozen=True)
class Predictor:
    """A sum that each row has one of; its rows lie on these plates."""

    plates: tuple[str, ...]
    latents: tuple[Part, ...]
    params: tuple[Part, ...]


def predictors(joint: LogJoint) -> tuple[Predictor, ...]:
    """All sums of latents and of parameters that are any real number, in densities of data."""
    variables = {v.name: v for v in joint.model.variables}
    found: dict[Predictor, None] = {}
    for f in joint.factors:
        if f.role != "observed" or not all(_plain(p.dim, joint) for p in f.plates):
            continue
        for node in x.walk(f.body):
            if isinstance(node, x.Add):
                parts = [p for t in node.terms if (p := _part(t, f.plates, variables)) is not None]
                effects = tuple(p for p in parts if variables[p.leaf].kind == "latent" and p.found)
                moved = tuple(p for p in parts if variables[p.leaf].kind == "param")
                if effects and moved:
                    found[Predictor(tuple(p.dim for p in f.plates), effects, moved)] = None
    return tuple(found)


def _plain(dim: str, joint: LogJoint) -> bool:
    """Whether a plate's rows are all those from 0 to its size."""
    return any(str(p.size) == dim and p.condition is None for v in joint.model.variables for p in v.plates)


def _part(term: Expr, plates: Sequence[Ix], variables: Mapping[str, m.Variable]) -> Part | None:
    """This addend, where it is a parameter or a latent times what rows give."""
    each, body = (term.ix, term.body) if isinstance(term, x.Sum) else (None, term)
    number, leaf, givens = 1.0, None, []
    for factor in x.factors_of(body):
        if isinstance(factor, x.Sum) and each is None:
            each, inner = factor.ix, x.factors_of(factor.body)
        else:
            inner = (factor,)
        for e in inner:
            v = variables.get(e.var) if isinstance(e, El) else None
            if isinstance(e, x.Num):
                number *= float(e.value)
            elif not isinstance(e, El) or v is None:
                return None
            elif v.kind == "given" and v.domain.interval:
                axes = _given_axes(e.idx, plates, each)
                if axes is None:
                    return None
                givens.append((e.var, axes))
            elif v.kind in ("latent", "param") and v.domain.unbounded and leaf is None:
                leaf = e
            else:
                return None
    if leaf is None:
        return None
    return Part(leaf.var, tuple(_place(i, plates, each) for i in leaf.idx), number, tuple(givens))


def _given_axes(idx: Sequence[Idx], plates: Sequence[Ix], each: Ix | None) -> tuple[int | str, ...] | None:
    """Of each axis of a given, the row's plate that it is read at, or "each": of which a row reads all."""
    axes = tuple(plates.index(i) if i in plates else "each" if i == each else None for i in idx)
    return None if None in axes else axes  # type: ignore[return-value]


def _place(i: Idx, plates: Sequence[Ix], each: Ix | None) -> tuple[str, object]:
    """Where on one of its axes a leaf is read."""
    if isinstance(i, int):
        return "number", i
    if i == each:
        return "each", None
    if isinstance(i, Ix) and i in plates:
        return "plate", plates.index(i)
    value = i.value if isinstance(i, DataIx) else None
    axes = _given_axes(value.idx, plates, None) if isinstance(value, El) else None
    return ("all", None) if axes is None or not isinstance(value, El) else ("given", (value.var, axes))
