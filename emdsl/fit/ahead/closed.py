"""Exact moments of rows ahead, recursed along configurations of states.

    p_t(k) = P(s_t = k)      m_t(k) = E[u_t 1{s_t = k}]      S_t(k) = E[u_t u_t' 1{s_t = k}]

s are the states and u the numbers that later rows read, of a window of rows. Where E[y | u, s] is affine in u and
var[y | u, s] a quadratic, y's own moments and those with u are sums of these (Hamilton 1989, for a switching
autoregression; Timmermann 2000). Both functions are read off the density itself, at enough points to know them, and
at others to see that they are what they are taken for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from emdsl.families.scope import Array, Scope
from emdsl.fit.ahead.future import Future, distance, frontier, reads_of
from emdsl.fit.ahead.polynomial import is_state, recurring
from emdsl.fit.ahead.probing import Element, NotClosed, Rows, Window
from emdsl.fit.ahead.starts import Posterior, Weights, weights
from emdsl.fit.interpret import Density
from emdsl.language.model import Variable

MOST_STATES = 4096  # configurations of a window
MOST_IN_WINDOW = 40  # numbers of a window


def moments(future: Future, posterior: Posterior) -> dict[str, Any]:
    """Probabilities, or mean with var or cov, of those variables of the rows ahead whose moments recur."""
    without: frozenset[str] = frozenset()
    while True:
        variables = recurring(future, without)
        reads = frontier(future, variables)
        if not variables or reads is None:
            return {}
        start = weights(future, reads, posterior)
        if start is None:
            return {}
        try:
            with np.errstate(all="ignore"):
                return Recursion(future, variables).run(start)
        except NotClosed as found:
            without |= {found.name}


class Recursion:
    """One forecast: the rows ahead one after the other, each variable of a row after what it reads there."""

    def __init__(self, future: Future, variables: list[Variable]) -> None:
        self.rows = Rows(future, variables)
        self.future, self.variables = future, self.rows.variables
        self.lags = {v.name: 0 for v in variables}
        self.read: set[str] = set()
        for v in variables:
            for name, args, more in reads_of(v, future.model):
                if name in self.lags:
                    self.read.add(name)
                    back = max((distance(a) or 0 for a in args), default=0) + (more or 0)
                    self.lags[name] = max(self.lags[name], back)

    def run(self, start: Weights) -> dict[str, Any]:
        """Moments of every variable, (*sequences, steps, *inside), from the weights of what the first row reads."""
        window = self._first(start)
        found: dict[str, list[Any]] = {v.name: [] for v in self.variables}
        for step in range(self.future.steps):
            for v in self.variables:
                window, told = (self._state if is_state(v) else self._number)(v, window, step)
                found[v.name].append(told)
            window = self._shifted(window)
        axis = len(self.rows.lead)
        return {n: _stacked(parts, axis) for n, parts in found.items()}

    def _first(self, start: Weights) -> Window:
        """The window before the first row: states by their weights, what was seen as a point."""
        lead = self.rows.lead
        held, states = [Element(r.name, r.lag or None) for r in start.reads], start.states
        p = np.broadcast_to(
            start.p.reshape(len(states), *(start.p.shape[1:] or (1,) * len(lead))), (len(states), *lead)
        )
        numbers, values = [], [np.zeros((*lead, 0))]
        for v in self.variables:
            for lag in range(1, self.lags[v.name] + 1):
                if v.kind == "latent" and is_state(v):
                    continue  # among the weights
                value = self.rows.seen(v, lag)
                if value is None:
                    raise NotClosed(v.name)
                if is_state(v):
                    levels = np.unique(value)
                    held.append(Element(v.name, lag))
                    states = np.column_stack([np.repeat(states, len(levels), 0), np.tile(levels, len(states))])
                    same = value == levels.reshape(-1, *(1,) * len(lead))
                    p = (p[:, None] * same).reshape(len(states), *lead)
                else:
                    numbers.append(Element(v.name, lag))
                    values.append(self.rows.scaled(v.name, value).reshape(*lead, -1))
        u = np.concatenate(values, -1)
        m = p[..., None] * u
        return Window(tuple(held), states, tuple(numbers), p, m, m[..., :, None] * u[..., None, :])

    def _state(self, v: Variable, w: Window, step: int) -> tuple[Window, Array]:
        """Configurations that also say the state of v: P(s, v = k) = P(s) P(v = k | s)."""
        levels = self.rows.levels(v)
        if len(w.states) * levels > MOST_STATES:
            raise NotClosed(v.name)
        density = Density(self.rows.many, v)
        origin = np.zeros((len(w.states), w.m.shape[-1]))

        def chances(part: Scope) -> Array:
            none = np.zeros(part.count, bool)
            dist = v.distribution
            assert dist is not None
            each = [density.rows(dist, np.full(part.count, k), none, part) for k in range(levels)]
            return np.asarray(np.exp(np.stack([np.broadcast_to(e, (part.count,)) for e in each], -1)))

        q = np.moveaxis(
            self.rows.at(v, w, w.states, origin, step, chances), -1, 1
        )  # (configurations, levels, *sequences)
        q = np.where(w.p[:, None] > 0, q, 0.0)
        if not np.isfinite(q).all():
            raise NotClosed(v.name)
        told = np.moveaxis((w.p[:, None] * q).sum(0), 0, -1)
        if v.name not in self.read:
            return w, told
        states = np.column_stack([np.repeat(w.states, levels, 0), np.tile(np.arange(levels), len(w.states))])
        p, m, S = (
            (a[:, None] * q.reshape(*q.shape, *(1,) * k)).reshape(len(states), *a.shape[1:])
            for k, a in enumerate((w.p, w.m, w.S))
        )
        keep = p.reshape(len(p), -1).max(1) > 0
        held = (*w.held, Element(v.name, 0))
        return Window(held, states[keep], w.numbers, p[keep], m[keep], S[keep]), told

    def _number(self, v: Variable, w: Window, step: int) -> tuple[Window, dict[str, Array]]:
        """Moments of v from those of what it reads, and with them, configuration by configuration."""
        f, G, cov = self.rows.functions(v, w, step)
        y = f * w.p[..., None] + np.einsum("...en,...n->...e", G, w.m)
        moved = np.einsum("...en,...n->...e", G, w.m)
        cross = f[..., :, None] * w.m[..., None, :] + np.einsum("...en,...nk->...ek", G, w.S)
        square = f[..., :, None] * (f * w.p[..., None])[..., None, :] + cov
        square = square + f[..., :, None] * moved[..., None, :] + moved[..., :, None] * f[..., None, :]
        square = square + np.einsum("...en,...nk,...dk->...ed", G, w.S, G)
        told = self.rows.told(v, y.sum(0), square.sum(0))
        if v.name not in self.read:
            return w, told
        if w.m.shape[-1] + y.shape[-1] > MOST_IN_WINDOW:
            raise NotClosed(v.name)
        m = np.concatenate([w.m, y], -1)
        S = np.concatenate(
            [np.concatenate([w.S, np.swapaxes(cross, -1, -2)], -1), np.concatenate([cross, square], -1)], -2
        )
        return Window(w.held, w.states, (*w.numbers, Element(v.name, 0)), w.p, m, S), told

    def _shifted(self, w: Window) -> Window:
        """The window of the next row: what it cannot read any more is summed out."""
        held = [Element(e.name, e.lag if e.lag is None else e.lag + 1) for e in w.held]
        stay = [i for i, e in enumerate(held) if e.lag is None or e.lag <= self.lags[e.name]]
        numbers, columns, at = [], [np.zeros(0, int)], 0
        for e in w.numbers:
            size = self.rows.size(e.name)
            if e.lag is not None and e.lag + 1 <= self.lags[e.name]:
                numbers.append(Element(e.name, e.lag + 1))
                columns.append(np.arange(at, at + size))
            at += size
        keep = np.concatenate(columns)
        states, which = np.unique(w.states[:, stay], axis=0, return_inverse=True)

        def summed(a: Array) -> Array:
            out = np.zeros((len(states), *a.shape[1:]))
            np.add.at(out, np.asarray(which).ravel(), a)
            return out

        m, S = w.m[..., keep], w.S[..., keep, :][..., keep]
        return Window(tuple(held[i] for i in stay), states, tuple(numbers), summed(w.p), summed(m), summed(S))


def _stacked(parts: list[Any], axis: int) -> Any:
    if isinstance(parts[0], Mapping):
        return {n: np.stack([p[n] for p in parts], axis) for n in parts[0]}
    return np.stack(parts, axis)
