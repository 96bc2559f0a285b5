"""Lags of what is missing under hidden states: the rows that a gap ties together are a plate of their own.

    p(y_a, ..., y_b+L | z_a, ..., z_b+L)  =  int prod over t of p(y_t | z_t, y_t-1, ..., y_t-L) dy_missing

Rows whose densities some missing entry ties are a *run*: from the first missing row to L rows behind the last, L the
longest lag. A run's rows are private copies of the model's line, those missing latent, in a plate of all runs of one
pattern, whose elements are found by data: `z[s[r], t[r]]`. Given the states of its rows a run is one Gaussian, and
what it leaves, K^rows numbers, ties these states beside the chain's own terms. All other rows read data.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from emdsl.fit.shifted import Lags, lags_of
from emdsl.language import model as m
from emdsl.language.transform import Change, changed, in_leaves
from emdsl.runtime.data.binding import Bound
from emdsl.runtime.data.columns import Array

SEEN, GONE, PARTLY = 0, 1, 2
MOST = 400  # densities in all patterns together: each is derived, and printed
Pattern = tuple[tuple[int, ...], ...]  # of each row, what is seen of each variable of the group


@dataclass(frozen=True)
class Runs:
    """The runs of some data: of each pattern the sequence and the first row of each run (both in order), and the
    number of sequences around; `rows` counts all rows before a sequence starts."""

    lags: Lags
    first: Mapping[Pattern, tuple[Array, Array]]
    starts: Array

    @property
    def patterns(self) -> tuple[Pattern, ...]:
        return tuple(self.first)

    def rows(self, pattern: Pattern, j: int) -> Array:
        """Numbers of the j-th row of each run among all rows."""
        sequence, position = self.first[pattern]
        out: Array = self.starts[sequence] + position + j
        return out


def runs_of(model: m.ModelText, names: Sequence[str], bound: Bound) -> Runs | None:
    """The runs of the data; None where what is missing of these variables is tied to more than its own rows."""
    lags = lags_of(model, names)
    if lags is None or bound.weights is not None:
        return None
    first = model.variable(lags.group[0])
    lengths = _lengths(first, bound)
    starts = np.cumsum(lengths) - lengths
    state = {v: _states(model.variable(v), bound, int(lengths.sum())) for v in lags.group}
    gone = np.logical_or.reduce([state[v] > SEEN for v in lags.names])
    found: dict[Pattern, list[tuple[int, int]]] = {}
    for q, (at, length) in enumerate(zip(starts.tolist(), lengths.tolist(), strict=True)):
        for a, b in _stretches(np.flatnonzero(gone[at : at + length]), lags.longest, length):
            pattern = tuple(tuple(int(state[v][at + t]) for v in lags.group) for t in range(a, b))
            found.setdefault(pattern, []).append((q, a))
    if not found or sum(len(p) for p in found) * len(lags.group) > MOST:
        return None
    return Runs(lags, {p: tuple(np.array(found[p]).T) for p in sorted(found)}, starts)


def _lengths(v: m.Variable, bound: Bound) -> Array:
    """Of each sequence along the last plate."""
    *outer, last = (p.size for p in v.plates)
    if isinstance(last, m.Ragged):
        return np.asarray(bound.ragged[last.name].lengths)
    around = [d.value(bound.sizes) for d in outer if isinstance(d, m.Dim)]
    return np.full(int(np.prod(around)), last.value(bound.sizes))


def _states(v: m.Variable, bound: Bound, rows: int) -> Array:
    mask = bound.masks.get(v.name)
    if mask is None:
        return np.zeros(rows, int)
    cells = np.asarray(mask).reshape(rows, -1)
    return np.where(cells.all(1), SEEN, np.where(cells.any(1), PARTLY, GONE))


def _stretches(gone: Array, longest: int, length: int) -> Iterator[tuple[int, int]]:
    """First and end of each run, from the rows missing in one sequence."""
    for part in np.split(gone, np.flatnonzero(np.diff(gone) > longest) + 1):
        if len(part):
            yield int(part[0]), min(int(part[-1]) + longest + 1, length)


# ---------------------------------------------------------------------------- the model


def by_runs(model: m.ModelText, lags: Lags, patterns: Sequence[Pattern]) -> tuple[m.ModelText, tuple[str, ...]]:
    """The model with a plate for the runs of each pattern; the names of copies of which some cells are missing."""
    variables: list[m.Variable] = []
    sizes, partly = list(model.sizes), []
    copies = [(known(name), name) for name in lags.names]
    for v in model.variables:
        if v.name in lags.names:
            variables.append(replace(v, kind="given", name=known(v.name), distribution=None))
        if v.name in lags.group and v.distribution is not None:
            v = replace(v, distribution=in_leaves(v.distribution, _reads_data(lags)))
        variables.append(v)
    for n, pattern in enumerate(patterns):
        plate = m.Plate("r", m.Dim.of(runs(n)))
        sizes.append(m.SizeDecl(runs(n)))
        first = model.variable(lags.group[0])
        variables += [_given(at(n, p.index), plate) for p in first.plates[:-1]]
        for j, states in enumerate(pattern):
            variables.append(_given(at(n, first.plates[-1].index, j), plate))
            for name, state in zip(lags.group, states, strict=True):
                v = model.variable(name)
                if v.distribution is None or (state == GONE and name not in lags.names):
                    continue
                own = in_leaves(v.distribution, _reads_run(lags, first, n, j))
                kind: m.VariableKind = "latent" if state == GONE else "observed"
                variables.append(replace(v, kind=kind, name=copy(name, n, j), plates=(plate,), distribution=own))
                partly += [copy(name, n, j)] if state == PARTLY else []
                copies.append((copy(name, n, j), name))
    latents = {v.name for v in variables if v.kind == "latent"}
    infer = tuple(_of_copies(line, latents, copies) for line in model.infer)
    made = replace(model, variables=tuple(variables), sizes=tuple(sizes), copies=tuple(copies), infer=infer)
    return made, tuple(partly)


def _of_copies(line: m.Infer, latents: set[str], copies: Sequence[tuple[str, str]]) -> m.Infer:
    """What a line says of variables, said of those of their copies that are missing."""
    groups = [tuple(c for n in g for c, of in copies if of == n and c in latents) for g in line.groups]
    kept = [(g, b) for g, b in zip(groups, line.grouped, strict=True) if g]
    return replace(line, groups=tuple(g for g, _ in kept), grouped=tuple(b for _, b in kept))


def known(name: str) -> str:
    """The name of a variable's data where other densities read them; no user's name has a blank."""
    return f"{name} known"


def runs(n: int) -> str:
    return f"runs_{n}__"


def at(n: int, index: str, j: int | None = None) -> str:
    return f"{index} of run {n}" if j is None else f"{index} of run {n} {j}"


def copy(name: str, n: int, j: int) -> str:
    return f"{name} of run {n} {j}"


def _given(name: str, plate: m.Plate) -> m.Variable:
    return m.Variable("given", name, (plate,), (), m.Domain("index", levels=plate.size))


def _reads_data(lags: Lags) -> Change:
    def change(e: m.Expr) -> m.Expr | None:
        if isinstance(e, m.Index) and isinstance(e.base, m.Var) and e.base.name in lags.names:
            return replace(e, base=replace(e.base, name=known(e.base.name)))
        return None

    return change


def _reads_run(lags: Lags, first: m.Variable, n: int, j: int) -> Change:
    """The line of a row as the j-th of a run: what lies in the run is read there, what lies before it are data."""
    size = m.Dim.of(runs(n))
    r = (m.Loop("r", size),)
    places: dict[str, m.Expr] = {p.index: m.Index(m.Var(at(n, p.index), (size,)), r, ()) for p in first.plates[:-1]}
    last = first.plates[-1].index
    places[last] = m.Index(m.Var(at(n, last, j), (size,)), r, ())

    def place(e: m.Expr) -> m.Expr | None:
        return places.get(e.name) if isinstance(e, m.Loop) else None

    def change(e: m.Expr) -> m.Expr | None:
        if isinstance(e, m.Index) and isinstance(e.base, m.Var) and e.base.name in lags.names:
            lag, plates = lags.lag(e), len(first.plates)
            inner = tuple(changed(a, change) for a in e.args[plates:])
            if lag <= j:
                base = m.Var(copy(e.base.name, n, j - lag), (size, *e.base.shape[plates:]))
                return replace(e, base=base, args=(*r, *inner))
            outer = tuple(changed(a, place) for a in e.args[:plates])
            return replace(e, base=replace(e.base, name=known(e.base.name)), args=(*outer, *inner))
        return place(e)

    return change


# ---------------------------------------------------------------------------- the data


def with_runs(bound: Bound, found: Runs, model: m.ModelText) -> Bound:
    """The data of the model by runs: the rows of runs are no longer seen where they stood."""
    lags, first = found.lags, model.variable(found.lags.group[0])
    values, masks, sizes = dict(bound.values), dict(bound.masks), dict(bound.sizes)
    rows = int(_lengths(first, bound).sum())
    tied = np.zeros(rows, bool)
    outer = [d.value(bound.sizes) for p in first.plates[:-1] if isinstance(d := p.size, m.Dim)]
    for n, (pattern, (sequence, position)) in enumerate(found.first.items()):
        sizes[runs(n)] = len(sequence)
        for p, index in zip(first.plates[:-1], np.unravel_index(sequence, outer) if outer else (), strict=True):
            values[at(n, p.index)] = np.asarray(index, np.int64)
        for j, states in enumerate(pattern):
            values[at(n, first.plates[-1].index, j)] = position + j
            number = found.rows(pattern, j)
            tied[number] = True
            for name, state in zip(lags.group, states, strict=True):
                if state == GONE:
                    continue
                array = bound.values[name]
                own = array.shape[array.ndim - len(model.variable(name).domain.dims) :]
                values[copy(name, n, j)] = array.reshape(rows, *own)[number]
                mask = bound.masks.get(name)
                seen = None if state == SEEN or mask is None else np.asarray(mask).reshape(rows, *own)[number]
                masks[copy(name, n, j)] = seen
    for name in lags.group:
        if name in lags.names:
            values[known(name)], masks[known(name)] = bound.values[name], None
        mask = bound.masks.get(name)
        own = len(model.variable(name).domain.dims)
        shape = bound.values[name].shape
        free = np.broadcast_to((~tied).reshape(shape[: len(shape) - own] + (1,) * own), shape)
        masks[name] = np.array(free) if mask is None else free & mask
    return bound._replace(values=values, masks=masks, sizes=sizes)


def gathered(posterior: Mapping[str, Any], bound: Bound, found: Runs, model: m.ModelText) -> dict[str, Any]:
    """The posterior by the model's own names: what was missing of a variable, in all of its rows."""
    out = {n: p for n, p in posterior.items() if not any(f" of run {k}" in n for k in range(len(found.first)))}
    for name in found.lags.names:
        v = model.variable(name)
        if not any(copy(name, n, j) in posterior for n, p in enumerate(found.patterns) for j in range(len(p))):
            continue
        values = bound.values[known(name)]
        own = values.shape[values.ndim - len(v.domain.dims) :]
        mean = np.array(values, float).reshape(-1, *own)
        spread = np.zeros((len(mean), *own, *own))
        for n, pattern in enumerate(found.patterns):
            for j in range(len(pattern)):
                told = posterior.get(copy(name, n, j))
                if told is not None:
                    number = found.rows(pattern, j)
                    mean[number] = told["mean"]
                    spread[number] = told["cov" if own else "var"]
        plates = values.shape[: values.ndim - len(own)]
        out[name] = {"mean": mean.reshape(values.shape), ("cov" if own else "var"): spread.reshape(*plates, *own, *own)}
    return out
