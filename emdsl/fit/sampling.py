"""Ancestral sampling: every variable drawn after those it depends on, a plate's rows side by side.

Variables that depend on one another element by element (chains, grids, trees) are drawn together,
in the order of the positions that a lag counts down; what still waits for an element not drawn
yet waits for the next pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from emdsl.errors import DataError, ModelError, Problem
from emdsl.families.density import arrange, limits
from emdsl.families.drawing import draw
from emdsl.families.scope import Array, Scope, Watch, flat_row, own_shape
from emdsl.families.table import form, record
from emdsl.fit.branches import split_leaves
from emdsl.fit.cut_draws import between
from emdsl.fit.drawable import checked, finite
from emdsl.fit.interpret import (
    arguments,
    chunks,
    model_scope,
    plate_rows,
    ragged_axes,
    read_names,
    rows_in,
)
from emdsl.fit.ragged import arrays_of, flat_rows
from emdsl.fit.sizes import complete_sizes
from emdsl.language.model import (
    Branch,
    Call,
    Dim,
    Dist,
    FamilyCall,
    Index,
    Loop,
    ModelText,
    Size,
    Var,
    Variable,
    walk,
)
from emdsl.language.transform import expressions_of

REJECTIONS = 200
NO_DRAWS = np.random.default_rng(0)  # of a sampler that only says where rows stand


def sample(
    model: ModelText,
    params: Mapping[str, Any] | None,
    sizes: Mapping[str, Any],
    seed: int | np.random.Generator | None = None,
    data: Mapping[str, Any] | None = None,
    lengths: Mapping[str, Any] | None = None,
) -> dict[str, Array]:
    """Latents and observed variables drawn from the model, shapes as declared.

    `params` by name; with None, every param is drawn from its prior and returned too. `data` holds the
    givens (those with defaults may be left out). `sizes` may leave out what params and data
    determine. A ragged size is given in `lengths` (or in `sizes`) as one length per parent row, or one for
    all; its variables come back with one axis of rows for that plate and all that enclose it. Elements that
    a plate's condition leaves out are 0. Raises ModelError for a model with factors on what is drawn,
    DataError for a param or a given that is missing.
    """
    return sample_in_scope(model, params, sizes, seed, data, lengths)[0]


def sample_in_scope(
    model: ModelText,
    params: Mapping[str, Any] | None,
    sizes: Mapping[str, Any],
    seed: int | np.random.Generator | None = None,
    data: Mapping[str, Any] | None = None,
    lengths: Mapping[str, Any] | None = None,
) -> tuple[dict[str, Array], Scope]:
    """What `sample` draws, and the sizes and lengths that it has."""
    drawn = to_draw(model, params)
    data, nested = flat_rows(model, data or {})
    sizes = {**nested, **sizes}
    arrays = arrays_of(model, {**data, **(params or {})})
    arrays = {k: v for k, v in arrays.items() if k not in {w.name for w in drawn}}
    flat = {k: int(v) for k, v in sizes.items() if np.ndim(v) == 0}
    numbers = complete_sizes(model, arrays, flat)
    ragged = {k: v for k, v in {**sizes, **(lengths or {})}.items() if k in ragged_axes(model)}
    scope = model_scope(model, arrays, numbers, {k: np.atleast_1d(v) for k, v in ragged.items()})
    _need_all(model, scope, drawn)
    totals = {k: np.asarray(v).sum(-1) for k, v in data.items() if np.ndim(v)}
    sampler = Sampler(model, np.random.default_rng(seed), totals)
    out: dict[str, Array] = {}
    scope = replace(scope, values={**scope.values, **out})
    for component in components(drawn, model):
        fresh = {v.name: blank(v, scope) for v in component}
        out |= fresh
        scope = replace(scope, values={**scope.values, **fresh})
        sampler.component(component, scope)
    return {v.name: out[v.name] for v in model.variables if v.name in out}, scope


def to_draw(model: ModelText, params: Mapping[str, Any] | None) -> list[Variable]:
    """Latents and observed, and params where none are given; refuses what a factor touches."""
    out = [v for v in model.variables if v.kind in ("latent", "observed") or (v.kind == "param" and params is None)]
    for v in out:
        if v.distribution is None:
            raise DataError(Problem("D051", f"`{v.name}` has no prior to draw it from", v.span, "give `params`"))
    names = {v.name for v in out}
    for p in model.potentials:
        touched = sorted(names & read_names(p.expression, model))
        if touched:
            message = f"a model with a factor on `{touched[0]}` has no ancestral order to draw it in"
            hint = "draw from its posterior by Monte Carlo, or leave the factor out"
            raise ModelError(Problem("E091", message, p.span, hint), model.source)
    return out


def _need_all(model: ModelText, scope: Scope, drawn: Sequence[Variable]) -> None:
    have = set(scope.values) | {v.name for v in drawn}
    problems = [
        Problem("D051", f"`{v.name}` is needed to draw from the model and was not given", v.span)
        for v in model.variables
        if v.name not in have
    ]
    if problems:
        raise DataError(problems)


# ---------------------------------------------------------------- order


def components(drawn: Sequence[Variable], model: ModelText) -> list[list[Variable]]:
    """Strongly connected components of `depends on`, what is depended on first (Tarjan 1972)."""
    by_name = {v.name: v for v in drawn}
    reads = {v.name: sorted(variable_reads(v, model) & set(by_name)) for v in drawn}
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    out: list[list[Variable]] = []

    def visit(name: str) -> None:
        number[name] = low[name] = len(number)
        stack.append(name)
        for other in reads[name]:
            if other not in number:
                visit(other)
            if other in stack:
                low[name] = min(low[name], low[other])
        if low[name] == number[name]:
            found = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            out.append([v for v in drawn if v.name in found])

    for v in drawn:
        if v.name not in number:
            visit(v.name)
    return out


def variable_reads(v: Variable, model: ModelText) -> set[str]:
    assert v.distribution is not None
    every = [*expressions_of(v.distribution), *(p.condition for p in v.plates if p.condition is not None)]
    return set().union(*(read_names(e, model) for e in every))


def ordered_plates(component: Sequence[Variable], model: ModelText) -> set[Size]:
    """The plates along which the component refers back to itself by a fixed lag."""
    names = {v.name for v in component}
    lets = {let.name: let for let in model.lets}
    found: set[Size] = set()
    stack = [e for v in component if v.distribution is not None for e in expressions_of(v.distribution)]
    seen: set[str] = set()
    while stack:
        for node in walk(stack.pop()):
            if isinstance(node, Var) and node.name in lets and node.name not in seen:
                seen.add(node.name)
                stack.append(lets[node.name].body)
            if isinstance(node, Index) and isinstance(node.base, Var) and node.base.name in names:
                for arg, axis in zip(node.args, node.base.shape, strict=False):
                    if isinstance(arg, Call) and arg.fn == "sub" and isinstance(arg.args[0], Loop):
                        found.add(axis)
    return found


# ---------------------------------------------------------------- drawing


def blank(v: Variable, scope: Scope) -> Array:
    """An array for v with harmless values in it."""
    last = max((i for i, p in enumerate(v.plates) if not isinstance(p.size, Dim)), default=-1)
    shape: tuple[int, ...] = (rows_in(v.shape[: last + 1], scope),) if last >= 0 else ()
    shape += own_shape(v.shape[last + 1 :], scope)
    kind = v.domain.kind
    if v.domain.discrete or (v.distribution is not None and discrete(v.distribution)):
        return np.zeros(shape, np.int64)
    if v.domain.symmetric:
        return np.broadcast_to(np.eye(shape[-1]), shape).copy()
    even = 1 / shape[-1] if kind == "simplex" and shape and shape[-1] else 1.0
    return np.full(shape, {"positive": 1.0, "unit": 0.5, "simplex": even}.get(kind, 0.0))


def discrete(dist: Dist) -> bool:
    if isinstance(dist, Branch):
        return discrete(dist.then) and discrete(dist.other)
    return dist.family.x.domain.discrete


@dataclass(frozen=True, slots=True)
class Sampler:
    """What every draw needs; `totals` are the row sums of data, for a split whose total only data give."""

    model: ModelText
    rng: np.random.Generator
    totals: Mapping[str, Array]

    def component(self, component: Sequence[Variable], scope: Scope) -> None:
        """Fills the arrays of one component, in place."""
        names = {v.name for v in component}
        places = {v.name: plate_rows(v.plates, scope) for v in component}
        if not any(names & variable_reads(v, self.model) for v in component):
            for v in component:
                for part in chunks(places[v.name]):
                    self.write(v, part, self.rows(v, part), scope)
            return
        known = {v.name: np.zeros(self.plate_shape(v, scope), bool) for v in component}
        self.settle(component, places, known, scope)

    def settle(
        self, component: Sequence[Variable], places: Mapping[str, Scope], known: Mapping[str, Array], scope: Scope
    ) -> None:
        """Draws the rows in `places`, each after the elements that it reads; `known` says which there are already.

        Raises DataError where some never come: a cycle, or an element that is neither known nor in `places`.
        """
        waiting: dict[str, Array] = {v.name: np.zeros(0, int) for v in component}
        for group in self.groups(component, places):
            turn = {name: np.concatenate([waiting[name], rows]) for name, rows in group.items()}
            waiting |= self.wave(component, places, turn, known, scope)
        late = self.wave(component, places, waiting, known, scope)
        stuck = [v for v in component if len(late[v.name])]
        if stuck:
            at = f"`{stuck[0].name}` depends on itself"
            raise DataError(Problem("D053", f"{at}: the data make a cycle, or a lag has no first case", stuck[0].span))

    def plate_shape(self, v: Variable, scope: Scope) -> tuple[int, ...]:
        array = scope.values[v.name]
        return array.shape[: array.ndim - len(v.array) - len(v.domain.dims)]

    def groups(self, component: Sequence[Variable], places: Mapping[str, Scope]) -> list[dict[str, Array]]:
        """Rows of every variable by their positions on the ordered plates, first positions first."""
        plates = ordered_plates(component, self.model)
        keyed: dict[tuple[int, ...], dict[str, Array]] = {}
        for v in component:
            s = places[v.name]
            loops = [p.index for p in v.plates if p.size in plates]
            keys = np.stack([s.loops[i] for i in loops], 1) if loops else np.zeros((s.count, 1), int)
            distinct, which = np.unique(keys, axis=0, return_inverse=True)
            order = np.argsort(np.asarray(which).ravel(), kind="stable")
            ends = np.cumsum(np.bincount(np.asarray(which).ravel(), minlength=len(distinct)))
            for key, rows in zip(distinct, np.split(order, ends[:-1]), strict=False):
                keyed.setdefault(tuple(int(i) for i in key), {})[v.name] = rows
        return [keyed[k] for k in sorted(keyed)]

    def wave(
        self,
        component: Sequence[Variable],
        places: Mapping[str, Scope],
        turn: Mapping[str, Array],
        known: Mapping[str, Array],
        scope: Scope,
    ) -> dict[str, Array]:
        """Draws what can be drawn of the rows in `turn`, round after round; returns what still waits."""
        left = {v.name: turn.get(v.name, np.zeros(0, int)) for v in component}
        moved = True
        while moved and any(len(rows) for rows in left.values()):
            moved = False
            for v in component:
                rows = left[v.name]
                if not len(rows):
                    continue
                watch = Watch(known, np.zeros(len(rows), bool))
                part = replace(places[v.name].take(rows), row=np.arange(len(rows)), watch=watch)
                value = self.rows(v, part)
                free = np.flatnonzero(~watch.blocked)
                self.write(v, part.take(free), value[free], scope)
                index = self.position(v, part.take(free), scope)
                known[v.name][index] = True
                left[v.name] = rows[watch.blocked]
                moved = moved or len(free) > 0
        return left

    def position(self, v: Variable, part: Scope, scope: Scope) -> tuple[Array, ...]:
        """Where the rows stand in v's array."""
        loops = [part.loops[p.index] for p in v.plates]
        last = max((i for i, p in enumerate(v.plates) if not isinstance(p.size, Dim)), default=-1)
        if last < 0:
            return tuple(loops)
        return (flat_row(tuple(p.size for p in v.plates[: last + 1]), loops[: last + 1], scope), *loops[last + 1 :])

    def write(self, v: Variable, part: Scope, value: Array, scope: Scope) -> None:
        if v.plates:
            scope.values[v.name][self.position(v, part, scope)] = value
        else:
            scope.values[v.name][...] = value[0]

    def rows(self, v: Variable, part: Scope) -> Array:
        """One element of v per row."""
        assert v.distribution is not None
        event = own_shape(v.array + v.domain.dims, part)
        out = split_leaves(v.distribution, part, lambda call, s: self.leaf(v, call, s, event))
        return np.broadcast_to(out, (part.count, *event))

    def leaf(self, v: Variable, call: FamilyCall, s: Scope, event: tuple[int, ...]) -> Array:
        own = len(call.family.x.domain.dims)
        given = arguments(call, s)
        if s.watch is not None and s.row is not None and s.watch.blocked[s.row].any():
            out, free = np.zeros((s.count, *event)), np.flatnonzero(~s.watch.blocked[s.row])
            if len(free):
                out[free] = self.leaf(v, call, s.take(free), event)
            return out  # the others wait for what they read: their arguments are no numbers yet
        args = arrange(call.family, call.signature, given, len(event))
        args = checked(v, call, args, event[len(event) - own :], s)
        by, known = form(call.family, call.signature), record(call.family)
        if by is not None and known is not None and by.given is not None:
            args = [*args, self.total(v, known.reasons.get("sample", ""), s)]
        batch = (s.count, *event[: len(event) - own])

        def attempt(a: list[Array], shape: tuple[int, ...]) -> Array:
            try:
                with np.errstate(all="ignore"):
                    drawn = draw(call.family, call.signature, self.rng, shape, a, event[len(event) - own :])
            except ValueError as why:  # numpy's own limits: a rate of which no count is an integer of 64 bits
                text = f"`{v.name}` cannot be drawn from {call.family.name} with these parameters: {why}"
                raise DataError(Problem("D051", text, v.span)) from None
            return finite(v, call, drawn, s)

        value = attempt(args, batch)
        return self.inside(v, s, value, lambda: attempt(args, batch), lambda a, b: between(call, args, a, b, self.rng))

    def total(self, v: Variable, reason: str, s: Scope) -> Array:
        if v.name not in self.totals:
            raise DataError(Problem("D051", reason, v.span, f"give `trials`, or the totals through `{v.name}` in data"))
        return np.asarray(self.totals[v.name][self.position(v, s, s)])

    def inside(self, v: Variable, s: Scope, value: Array, again: Any, cut: Any) -> Array:
        """Draws again what falls outside the variable's own domain (a truncated family); what hardly ever falls inside
        by the family's tails, where they are known."""
        kind = v.domain.kind
        if kind == "ordered":
            return np.sort(value, -1)
        if kind in ("zero_sum", "correlation"):
            raise ModelError(Problem("E091", f"no way to draw `{v.name}` on {kind} from its prior", v.span))
        if not (v.domain.interval or kind == "count"):
            return value
        low, high = (x.reshape(-1, *(1,) * (value.ndim - 1)) for x in limits(v.domain, s))
        for _ in range(REJECTIONS):
            bad = (value < low) | (value > high)
            if not bad.any():
                return value
            value = np.where(bad, again(), value)
        bad = (value < low) | (value > high)
        value = np.where(bad, cut(np.broadcast_to(low, value.shape), np.broadcast_to(high, value.shape)), value)
        if np.isnan(value).any():
            raise DataError(Problem("D051", f"draws of `{v.name}` hardly ever fall into its domain", v.span))
        return value
