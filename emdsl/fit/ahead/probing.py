"""Mean and variance of a row's density as functions of what it reads: read off at points, and tried at others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from emdsl.families.density import arrange
from emdsl.families.scope import Array, Scope, own_shape
from emdsl.families.table import form, record
from emdsl.fit.ahead.future import Future
from emdsl.fit.ahead.paths import MOST_NUMBERS, put
from emdsl.fit.ahead.polynomial import is_state
from emdsl.fit.branches import split_leaves
from emdsl.fit.interpret import arguments
from emdsl.fit.sampling import NO_DRAWS, Sampler
from emdsl.language.model import FamilyCall, Variable

MOST_SQUARED = 8  # numbers of a window in which a variance is a quadratic
SAME = 1e-7  # of the size of a function's values: how near they are to what it is taken for
TRIED = 3  # points at which a function is tried, beyond those that make it


class Element(NamedTuple):
    """A variable so many rows back; None: it lies on no ordered plate."""

    name: str
    lag: int | None


@dataclass(frozen=True)
class Window:
    """Moments of what the next row may read, of all sequences side by side.

    states : (configurations, elements). p : (configurations, *sequences). m, S : with the numbers of `numbers` in
    order, an axis (two of S) at the end; numbers are counted from the middle of the data, in halves of their range.
    """

    held: tuple[Element, ...]
    states: Array
    numbers: tuple[Element, ...]
    p: Array
    m: Array
    S: Array


class NotClosed(Exception):
    """A density whose moments are no affine function and no quadratic, or are not known."""

    def __init__(self, name: str) -> None:
        self.name = name


class Rows:
    """Densities of rows ahead, evaluated for many windows side by side: a copy of the model for each."""

    def __init__(self, future: Future, variables: list[Variable]) -> None:
        self.future, self.many = future, future.many()
        self.variables = [self.many.variable(v.name) for v in variables]
        rows = sum(a.size for a in future.data.values.values()) + 1
        self.width = max(1, MOST_NUMBERS // rows)
        once, self.known = self._scope(1)
        self.scopes: dict[int, Scope] = {1: once}
        self.own: dict[str, tuple[int, ...]] = {}
        self.inner: dict[str, int] = {}
        self.unit: dict[str, tuple[float, float]] = {}
        self.lead: tuple[int, ...] = ()
        for v in self.variables:
            self._measure(v, once)
        self.rng = np.random.default_rng(0)

    def _measure(self, v: Variable, once: Scope) -> None:
        """The axes of one row of a variable within a sequence, and the middle and half the range of its data."""
        array, events = once.values[v.name], len(v.array) + len(v.domain.dims)
        inner = len(v.plates) - 1 - next(i for i, p in enumerate(v.plates) if self.future.goes_on(p))
        shape = self.future.shape(v, once, 1)
        self.lead, self.inner[v.name] = shape[1 : len(shape) - inner - 1], inner
        self.own[v.name] = (*shape[len(shape) - inner :], *array.shape[array.ndim - events :])
        seen, mask = self.future.data.values.get(v.name), self.future.data.masks.get(v.name)
        values = np.zeros(0) if seen is None else (seen.ravel() if mask is None else seen[mask])
        low, high = (float(values.min()), float(values.max())) if values.size else (-1.0, 1.0)
        spread = high / 2 - low / 2
        self.unit[v.name] = (low + spread, spread if spread > 0 and np.isfinite(spread) else 1.0)

    def _scope(self, copies: int) -> tuple[Scope, dict[str, Array]]:
        """A scope in which counts, too, may stand between whole numbers."""
        scope, known = self.future.scope(self.many, copies)
        numbers = {v.name for v in self.variables if not is_state(v)}
        values = {n: a.astype(float) if n in numbers else a for n, a in scope.values.items()}
        return replace(scope, values=values), known

    def size(self, name: str) -> int:
        return int(np.prod(self.own[name], dtype=int))

    def levels(self, v: Variable) -> int:
        return 2 if v.domain.levels is None else own_shape((v.domain.levels,), self.scopes[1])[0]

    def scaled(self, name: str, value: Array) -> Array:
        middle, spread = self.unit[name]
        return np.asarray((value - middle) / spread)

    def seen(self, v: Variable, lag: int) -> Array | None:
        """What was seen of v so many rows back, (*sequences, *own); 0 where there is no such row, None if missing."""
        if v.kind != "observed":
            return None
        scope = self.scopes[1]
        part = self.future.rows(v, scope, [-lag])
        index = Sampler(self.many, NO_DRAWS, {}).position(v, part, scope)
        if not self.known[v.name][index].all():
            return None
        out = np.zeros((1, *self.lead, *self.own[v.name]))
        out[self.future.around(v, part)] = scope.values[v.name][index]
        return np.asarray(out[0])

    def at(
        self, v: Variable, w: Window, states: Array, points: Array, step: int, function: Callable[[Scope], Array]
    ) -> Array:
        """A function of v's rows at states and numbers of the window: (windows, *sequences, *inner plates, *own)."""
        parts = []
        count = min(self.width, 1 << max(0, len(states) - 1).bit_length())
        scope = self.scopes.get(count) or self.scopes.setdefault(count, self._scope(count)[0])
        for first in range(0, len(states), count):
            here = np.minimum(np.arange(first, first + count), len(states) - 1)
            self._assign(w, states[here], points[here], step, scope)
            part = self.future.rows(v, scope, [step])
            value = function(part)
            inner = self.own[v.name][: self.inner[v.name]]
            out = np.zeros((count, *self.lead, *inner, *value.shape[1:]))
            out[self.future.around(v, part)] = value
            parts.append(out)
        return np.concatenate(parts)[: len(states)]

    def _assign(self, w: Window, states: Array, points: Array, step: int, scope: Scope) -> None:
        def whole(value: Array, own: tuple[int, ...]) -> Array:
            shaped = value.reshape(len(states), *(1,) * len(self.lead), *own)
            return np.broadcast_to(shaped, (len(states), *self.lead, *own))

        for k, e in enumerate(w.held):
            u, offset = self.many.variable(e.name), None if e.lag is None else step - e.lag
            put(self.future, u, offset, whole(states[:, k], ()), scope)
        cut = 0
        for e in w.numbers:
            assert e.lag is not None
            middle, spread = self.unit[e.name]
            value = middle + spread * points[:, cut : cut + self.size(e.name)]
            cut += self.size(e.name)
            put(self.future, self.many.variable(e.name), step - e.lag, whole(value, self.own[e.name]), scope)

    # ------------------------------------------------------------ functions of the numbers

    def functions(self, v: Variable, w: Window, step: int) -> tuple[Array, Array, Array]:
        """f, G of the mean f + G u, and the mean of the variance times each weight: all in units of the data.

        Shapes (configurations, *sequences, e), (..., e, n), (..., e, e), e numbers of one row. Raises NotClosed.
        """
        n = w.m.shape[-1]
        tried = self.rng.uniform(-1, 1, size=(TRIED, n))  # inside the box of the data, where the density is one
        mean, cov = self._moments(v, w, np.concatenate([np.zeros((1, n)), np.eye(n), tried]), step)
        f, slopes = mean[0], mean[1 : 1 + n] - mean[0]
        told = f + np.tensordot(tried, slopes, 1)
        size = 1 + np.abs(f) + np.tensordot(np.abs(tried), np.abs(slopes), 1)
        possible = (w.p > 0)[..., None]
        if not np.where(possible, np.abs(mean[1 + n :] - told) <= SAME * size, True).all():
            raise NotClosed(v.name)
        V = self._expected_variance(v, w, cov, tried, step)
        f, G = np.where(possible, f, 0.0), np.where(possible[..., None], np.moveaxis(slopes, 0, -1), 0.0)
        return f, G, V

    def _expected_variance(self, v: Variable, w: Window, cov: Array, tried: Array, step: int) -> Array:
        """E[V(u) 1{s}]: of a constant V p, of a quadratic V p + b m + <Q, S>."""
        n, possible = w.m.shape[-1], (w.p > 0)[..., None, None]
        size = SAME * np.abs(np.where(possible, cov, 0.0)).max(initial=0.0)
        if np.where(possible, np.abs(cov - cov[0]) <= size, True).all():
            return np.where(possible, cov[0], 0.0) * w.p[..., None, None]
        if n > MOST_SQUARED:
            raise NotClosed(v.name)
        i, j = np.triu_indices(n, 1)
        pairs = np.eye(n)[i] + np.eye(n)[j]
        _, more = self._moments(v, w, np.concatenate([-np.eye(n), pairs]), step)
        up, down, both = cov[1 : 1 + n] - cov[0], more[:n] - cov[0], more[n:] - cov[0]
        b, Q = (up - down) / 2, np.zeros((n, n, *cov.shape[1:]))
        Q[np.arange(n), np.arange(n)] = (up + down) / 2
        Q[i, j] = Q[j, i] = (both - up[i] - up[j]) / 2
        told = cov[0] + np.tensordot(tried, b, 1) + np.einsum("ti,tj,ij...->t...", tried, tried, Q)
        if not np.where(possible, np.abs(cov[1 + n :] - told) <= SAME * (np.abs(told) + np.abs(cov[0])), True).all():
            raise NotClosed(v.name)
        out = cov[0] * w.p[..., None, None] + np.einsum("n...ed,...n->...ed", b, w.m)
        return np.asarray(np.where(possible, out + np.einsum("nk...ed,...nk->...ed", Q, w.S), 0.0))

    def _moments(self, v: Variable, w: Window, points: Array, step: int) -> tuple[Array, Array]:
        """Means and covariances at each point and configuration, (points, configurations, *sequences, e[, e])."""
        count, inner = len(w.states), self.own[v.name][: self.inner[v.name]]
        event = self.own[v.name][self.inner[v.name] :]
        d, j = int(np.prod(event, dtype=int)), int(np.prod(inner, dtype=int))

        def both(part: Scope) -> Array:
            assert v.distribution is not None
            return split_leaves(v.distribution, part, lambda call, s: both_moments(call, s, event))

        states, at = np.tile(w.states, (len(points), 1)), np.repeat(points, count, 0)
        found = self.at(v, w, states, at, step, both)
        found = found.reshape(len(points), count, *self.lead, j, d + d * d)
        mean = self.scaled(v.name, found[..., :d]).reshape(len(points), count, *self.lead, j * d)
        blocks = found[..., d:].reshape(*found.shape[:-1], d, d) / self.unit[v.name][1] ** 2
        if np.isnan(np.where((w.p > 0)[..., None, None, None], blocks, 0.0)).any():
            raise NotClosed(v.name)
        cov = np.zeros((len(points), count, *self.lead, j, d, j, d))
        cov[..., np.arange(j), :, np.arange(j), :] = np.moveaxis(blocks, -3, 0)
        return mean, cov.reshape(*mean.shape, j * d)

    def told(self, v: Variable, mean: Array, second: Array) -> dict[str, Array]:
        """Mean with var, or cov of a vector, in the data's own units, (*sequences, *inner plates, *own)."""
        middle, spread = self.unit[v.name]
        own, event = self.own[v.name], self.own[v.name][self.inner[v.name] :]
        cov = (second - mean[..., :, None] * mean[..., None, :]) * spread**2
        out = {"mean": (middle + spread * mean).reshape((*self.lead, *own))}
        if not event:
            return out | {"var": np.diagonal(cov, axis1=-2, axis2=-1).reshape((*self.lead, *own))}
        j, d = int(np.prod(own[: self.inner[v.name]], dtype=int)), event[0]
        blocks = cov.reshape(*self.lead, j, d, j, d)
        each = np.moveaxis(blocks[..., np.arange(j), :, np.arange(j), :], 0, -3)
        return out | {"cov": each.reshape(*self.lead, *own, d)}


def both_moments(call: FamilyCall, s: Scope, event: tuple[int, ...]) -> Array:
    """Mean and covariance of a row's element, flat, by the family's own."""
    by, known = form(call.family, call.signature), record(call.family)
    assert by is not None and known is not None
    args: list[Any] = arrange(call.family, call.signature, arguments(call, s), len(event))
    args = args if by.canonical is None else list(by.canonical(*args))
    d = int(np.prod(event, dtype=int))
    mean = np.broadcast_to(known.kernel.mean(*args), (s.count, *event)).reshape(s.count, d)
    variance = np.asarray(known.kernel.variance(*args), float)
    if call.family.x.domain.dims:
        cov = np.broadcast_to(variance, (s.count, d, d))
    else:
        cov = np.broadcast_to(variance, (s.count, *event)).reshape(s.count, d)[:, :, None] * np.eye(d)
    return np.concatenate([mean, cov.reshape(s.count, d * d)], 1)
