"""The rows ahead of a fit's data, many copies of them side by side, and what they read of the rows before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from emdsl.families.evaluate import rows_of
from emdsl.families.scope import Array, Scope, flat_row, length
from emdsl.families.table import form
from emdsl.fit.ahead.copies import COPIES, side_by_side
from emdsl.fit.branches import leaves
from emdsl.fit.interpret import model_scope, read_names
from emdsl.fit.sampling import Sampler, blank
from emdsl.language.model import (
    Call,
    Dim,
    Expr,
    Index,
    Loop,
    ModelText,
    Num,
    Plate,
    Potential,
    Ragged,
    Size,
    Var,
    Variable,
    walk,
)
from emdsl.language.transform import expressions_of
from emdsl.runtime.data.binding import Bound


class Read(NamedTuple):
    """An element that rows ahead read: of a latent, so many rows back (0: it lies on no ordered plate)."""

    name: str
    lag: int


@dataclass(frozen=True, slots=True)
class Future:
    """A model at parameters with rows ahead of its data: `data` holds both, the rows ahead unseen.

    model : the model, once. ordered : names of the plates that go on. params : by name.
    """

    model: ModelText
    ordered: frozenset[str]
    steps: int
    data: Bound
    params: Mapping[str, Array]

    def many(self) -> ModelText:
        return side_by_side(self.model)

    def on_plate(self, model: ModelText) -> list[Variable]:
        """Latents and observed variables of the rows ahead, but for those of which only data give the total."""
        on = [v for v in model.variables if v.kind in ("latent", "observed") and any(map(self.goes_on, v.plates))]
        read = {name for v in on for name, _, _ in reads_of(v, model)}
        return [v for v in on if v.name in read or not _splits(v)]

    def tied(self) -> Potential | None:
        """A factor of the model on its latents or observed variables, which drawing row after row leaves out."""
        names = {v.name for v in self.model.variables if v.kind in ("latent", "observed")}
        return next((p for p in self.model.potentials if names & read_names(p.expression, self.model)), None)

    def goes_on(self, plate: Plate) -> bool:
        return size_name(plate.size) in self.ordered

    def scope(self, many: ModelText, copies: int) -> tuple[Scope, dict[str, Array]]:
        """The scope of that many copies, and which elements are known: what was seen."""
        once = {n: a for n, a in self.data.values.items() if self.model.variable(n).kind == "given"}
        lengths = {n: r.lengths for n, r in self.data.ragged.items()}
        scope = model_scope(many, {**self.params, **once}, {**self.data.sizes, COPIES: copies}, lengths)
        values, known = dict(scope.values), {}
        for v in many.variables:
            if v.kind not in ("latent", "observed"):
                continue
            own = len(v.array) + len(v.domain.dims)
            values[v.name] = blank(v, scope)
            shape = values[v.name].shape
            known[v.name] = np.zeros(shape[: len(shape) - own], bool)
            if v.kind == "observed" and v.name in self.data.values:
                seen, mask = self.data.values[v.name], self.data.masks.get(v.name)
                whole = np.ones(seen.shape, bool) if mask is None else mask
                values[v.name][...] = _tiled(v, seen, copies)
                axes = tuple(range(seen.ndim - own, seen.ndim))
                known[v.name][...] = _tiled(v, np.asarray(whole.all(axes)), copies)
        return replace(scope, values=values), known

    def rows(self, v: Variable, scope: Scope, offsets: Sequence[int]) -> Scope:
        """The elements of v so many rows after the last one seen; -1 is the last one itself.

        Rows of sequences too short to have them are left out.
        """
        for plate in v.plates:
            if not self.goes_on(plate):
                scope, _ = scope.enter(plate.index, plate.size)
            else:
                scope = self._entered(plate, scope, np.asarray(offsets))
            if plate.condition is not None:
                keep = np.broadcast_to(rows_of(plate.condition, scope) != 0, (scope.count,))
                scope = scope.take(np.flatnonzero(keep))
        return scope

    def _entered(self, plate: Plate, scope: Scope, offsets: Array) -> Scope:
        first = np.broadcast_to(length(plate.size, scope), (scope.count,)) - self.steps
        old = np.repeat(np.arange(scope.count), len(offsets))
        at = first[old] + np.tile(offsets, scope.count)
        inner = scope.take(old)
        loops = {**inner.loops, plate.index: at.astype(np.int64)}
        stack = (*scope.stack, (plate.index, plate.size))
        return replace(inner, loops=loops, stack=stack).take(np.flatnonzero(at >= 0))

    def shape(self, v: Variable, scope: Scope, steps: int) -> tuple[int, ...]:
        """Axes of v's rows ahead: those around the ordered plate (one, if any is ragged), steps, those inside it."""
        at = next(i for i, p in enumerate(v.plates) if self.goes_on(p))
        outer = [p.size for p in v.plates[:at]]
        if any(isinstance(s, Ragged) for s in (*outer[1:], v.plates[at].size)):
            lead: tuple[int, ...] = (scope.sizes[COPIES], _count(outer[1:], scope))
        else:
            lead = tuple(s.value(scope.sizes) for s in outer if isinstance(s, Dim))
        inner = [p.size for p in v.plates[at + 1 :]]
        return (*lead, steps, *(s.value(scope.sizes) for s in inner if isinstance(s, Dim)))

    def places(self, v: Variable, part: Scope) -> tuple[Array, ...]:
        """Where rows of v stand in arrays of that shape."""
        at = next(i for i, p in enumerate(v.plates) if self.goes_on(p))
        loops = [part.loops[p.index] for p in v.plates]
        outer = tuple(p.size for p in v.plates[1:at])
        step = loops[at] - (np.broadcast_to(length(v.plates[at].size, part), (part.count,)) - self.steps)
        lead: tuple[Array, ...] = tuple(loops[:at])
        if any(isinstance(s, Ragged) for s in (*outer, v.plates[at].size)):
            lead = (loops[0], flat_row(outer, loops[1:at], part))
        return (*lead, step, *loops[at + 1 :])

    def around(self, v: Variable, part: Scope) -> tuple[Array, ...]:
        """The same without the axis of steps."""
        inner = len(v.plates) - 1 - next(i for i, p in enumerate(v.plates) if self.goes_on(p))
        at = self.places(v, part)
        return (*at[: len(at) - inner - 1], *at[len(at) - inner :])

    def ahead(self, v: Variable, scope: Scope, sampler: Sampler) -> Array:
        """v's rows ahead, (copies, *plates with steps, *own); NaN or 0 where a condition leaves one out."""
        part = self.rows(v, scope, range(self.steps))
        array = scope.values[v.name]
        own = array.shape[array.ndim - len(v.array) - len(v.domain.dims) :]
        out = np.full((*self.shape(v, scope, self.steps), *own), np.nan if array.dtype.kind == "f" else 0, array.dtype)
        out[self.places(v, part)] = array[sampler.position(v, part, scope)]
        return out


def _splits(v: Variable) -> bool:
    """Whether a density is one given a function of the variable itself: a split of a total."""
    forms = () if v.distribution is None else [form(c.family, c.signature) for c in leaves(v.distribution)]
    return any(f is not None and f.given is not None for f in forms)


def size_name(size: Size) -> str:
    return size.name if isinstance(size, Ragged) else (size.name or str(size))


def _count(sizes: Sequence[Size], scope: Scope) -> int:
    """How many sequences there are in one copy."""
    total = 1
    for s in sizes:
        total = total * s.value(scope.sizes) if isinstance(s, Dim) else int(scope.ragged[s.name].lengths.sum())
        total = total if isinstance(s, Dim) else total // scope.sizes[COPIES]
    return total


def _tiled(v: Variable, array: Array, copies: int) -> Array:
    """One copy's array for all of them: an axis before it, or the rows of ragged plates again and again."""
    if any(isinstance(p.size, Ragged) for p in v.plates):
        return np.tile(array, (copies, *(1,) * (array.ndim - 1)))
    return np.broadcast_to(array, (copies, *array.shape))


# ---------------------------------------------------------------- what rows ahead read


def frontier(future: Future, variables: Sequence[Variable]) -> list[Read] | None:
    """The latent elements before the rows ahead that these read; None where an index does not say which."""
    found: dict[Read, None] = {}
    latents = {v.name: v for v in future.model.of_kind("latent")}
    for v in variables:
        for name, args, more in reads_of(v, future.model):
            if more is None:
                return None
            if name not in latents:
                continue
            at = next((i for i, p in enumerate(latents[name].plates) if future.goes_on(p)), None)
            if at is None:
                found[Read(name, 0)] = None
                continue
            lag = distance(args[at]) if at < len(args) else None
            if lag is None:
                return None
            found.update((Read(name, back), None) for back in range(1, lag + more + 1))
    return list(found)


def reads_of(v: Variable, model: ModelText) -> Iterator[tuple[str, tuple[Expr, ...], int | None]]:
    """Every variable that a density reads, with its index, and how many rows back a let around it was read."""
    lets = {let.name: let for let in model.lets}
    first = [] if v.distribution is None else list(expressions_of(v.distribution))
    first += [p.condition for p in v.plates if p.condition is not None]
    stack: list[tuple[Expr, int | None]] = [(e, 0) for e in first]
    done: set[tuple[str, int | None]] = set()
    while stack:
        top, more = stack.pop()
        bases: set[int] = set()
        for node in walk(top):
            if isinstance(node, Index) and isinstance(node.base, Var):
                bases.add(id(node.base))
                name, args = node.base.name, node.args
            elif isinstance(node, Var) and id(node) not in bases:
                name, args = node.name, ()
            else:
                continue
            if name not in lets:
                yield name, args, more
                continue
            back = [distance(a) for a in args[: len(lets[name].plates)]]
            known = more is not None and all(k is not None for k in back) and len(back) == len(lets[name].plates)
            deeper = (more or 0) + max((k or 0 for k in back), default=0) if known else None
            if (name, deeper) not in done:
                done.add((name, deeper))
                stack.append((lets[name].body, deeper))


def distance(e: Expr) -> int | None:
    """How many rows back an index on an ordered plate reads: 0 for `t`, k for `t-k`; None for any other."""
    match e:
        case Loop():
            return 0
        case Call("sub", (Loop(), Num(k))) if isinstance(k, int) and k >= 0:
            return k
        case _:
            return None
