"""Parameters as one vector without bounds, by the domains that a model declares.

Written for the certificate alone: the generated modules have coordinates of their own, which are among what is checked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit, logit, softmax

from emdsl.families.density import limits
from emdsl.families.scope import Array, Scope
from emdsl.fit.interpret import plate_rows
from emdsl.language.kinds import KINDS, DomainKind
from emdsl.language.model import Dim, Variable

TINY = 1e-12
Ends = tuple[Any, Any]  # numbers, or one for each element
Params = Mapping[str, Array]


def _finite(end: Any) -> bool:
    return bool(np.all(np.isfinite(end)))


def free(kind: DomainKind, ends: Ends, value: Array) -> Array:
    """A value of the domain, or many side by side, as numbers without bounds. Raises NotImplementedError."""
    low, high = ends
    if KINDS[kind].interval:
        if _finite(low) and _finite(high):
            return np.asarray(logit(np.clip((value - low) / (high - low), TINY, 1 - TINY)))
        if _finite(low):
            return np.asarray(np.log(np.maximum(value - low, 1e-300)))
        return np.asarray(-np.log(np.maximum(high - value, 1e-300))) if _finite(high) else value
    match kind:
        case "simplex":
            logs = np.log(np.maximum(value, TINY))
            return np.asarray(logs[..., 1:] - logs[..., :1])
        case "ordered":
            return np.concatenate([value[..., :1], np.log(np.diff(value, axis=-1))], -1)
        case "zero_sum":
            return np.asarray(value[..., :-1])
        case "spd":
            lower = np.linalg.cholesky(value)
            i, j = np.tril_indices(value.shape[-1], -1)
            return np.concatenate([np.log(np.diagonal(lower, axis1=-2, axis2=-1)), lower[..., i, j]], -1)
        case "correlation":  # rows of the factor are of length 1: what they are before that, with 1 on the diagonal
            lower = np.linalg.cholesky(value)
            i, j = np.tril_indices(value.shape[-1], -1)
            return np.asarray(lower[..., i, j] / lower[..., i, i])
    raise NotImplementedError(f"no coordinates for {kind}")


def constrained(kind: DomainKind, ends: Ends, t: Array, size: int) -> Array:
    """The inverse of `free`; `size` is the last axis of the value."""
    low, high = ends
    if KINDS[kind].interval:
        if _finite(low) and _finite(high):
            return np.asarray(low + (high - low) * expit(t))
        if _finite(low):
            return np.asarray(low + np.exp(t))
        return np.asarray(high - np.exp(-t)) if _finite(high) else t
    match kind:
        case "simplex":
            return np.asarray(softmax(np.concatenate([np.zeros((*t.shape[:-1], 1)), t], -1), axis=-1))
        case "ordered":
            return np.concatenate([t[..., :1], t[..., :1] + np.cumsum(np.exp(t[..., 1:]), -1)], -1)
        case "zero_sum":
            return np.concatenate([t, -t.sum(-1, keepdims=True)], -1)
        case "spd":
            lower = np.zeros((*t.shape[:-1], size, size))
            lower[..., np.arange(size), np.arange(size)] = np.exp(t[..., :size])
            i, j = np.tril_indices(size, -1)
            lower[..., i, j] = t[..., size:]
            return np.asarray(lower @ np.swapaxes(lower, -1, -2))
        case "correlation":
            lower = np.broadcast_to(np.eye(size), (*t.shape[:-1], size, size)).copy()
            lower[(..., *np.tril_indices(size, -1))] = t
            lower /= np.sqrt((lower**2).sum(-1, keepdims=True))
            return np.asarray(lower @ np.swapaxes(lower, -1, -2))
    raise NotImplementedError(f"no coordinates for {kind}")


@dataclass(frozen=True)
class Space:
    """`domains` are name -> (kind, ends); `like` are parameters of the right shapes."""

    domains: Mapping[str, tuple[DomainKind, Ends]]
    like: Params

    @staticmethod
    def of(variables: Sequence[Variable], scope: Scope, like: Params) -> Space:
        """The domains of declared params, their bounds evaluated at the givens."""
        found: dict[str, tuple[DomainKind, Ends]] = {}
        for v in variables:
            found[v.name] = (v.domain.kind, _ends(v, scope))
        return Space(found, {n: np.asarray(like[n], float) for n in found})

    def at(self, params: Params, moves: Mapping[str, Array]) -> dict[str, Array]:
        """The parameters where those of `moves` have gone by that much, in coordinates without bounds."""
        out = {n: np.asarray(v) for n, v in params.items()}
        for name, by in moves.items():
            kind, ends = self.domains[name]
            value = np.asarray(params[name], float)
            t = free(kind, ends, value)
            out[name] = constrained(kind, ends, t + by.reshape(t.shape), value.shape[-1] if value.ndim else 1)
        return out

    def direction(self, name: str, rng: np.random.Generator) -> Array:
        """A random direction of unit length for one parameter."""
        kind, ends = self.domains[name]
        shape = free(kind, ends, self.like[name]).shape
        step = rng.normal(size=shape)
        return np.asarray(step / max(float(np.sqrt((step**2).sum())), 1e-9))


def _ends(v: Variable, scope: Scope) -> Ends:
    """The ends of a domain: of each element, where givens set them."""
    if v.domain.lower is None and v.domain.upper is None:
        return v.domain.ends
    rows = plate_rows(v.plates, scope)
    shape = (
        *(s.value(scope.sizes) for s in v.shape[: len(v.plates)] if isinstance(s, Dim)),
        *[1] * (len(v.shape) - len(v.plates)),
    )
    low, high = (np.broadcast_to(end, (rows.count,)).reshape(shape) for end in limits(v.domain, rows))
    return low, high
