"""Elements that the data make depend on themselves: `z[parent[n]]` where a parent's ancestor is its child.

The language says that what depends on what has no cycle. Lags cannot make one; positions that are data can, which is
found by evaluating each element's line at the data, as the interpreter does, and writing down what it reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import scipy

from emdsl.errors import EmdslError
from emdsl.families.scope import Array, Scope, Watch
from emdsl.fit.branches import split_leaves
from emdsl.fit.interpret import arguments, model_scope, plate_rows, read_names
from emdsl.fit.sampling import NO_DRAWS, Sampler, blank, components, variable_reads
from emdsl.language.model import Branch, Dist, FamilyCall, Index, Loop, ModelText, Var, Variable, walk
from emdsl.language.transform import expressions_of
from emdsl.runtime.data import faults
from emdsl.runtime.data.binding import Bound


def refuse_rings(model: ModelText, bound: Bound) -> Bound:
    """The data, unless an element depends on itself by what they say: `faults.DataError` with the element then."""
    if not any(v.domain.discrete for v in model.of_kind("given")):
        return bound
    drawn = [v for v in model.variables if v.kind in ("latent", "observed") and v.distribution is not None]
    for component in components(drawn, model):
        if any(_led_by_data(component, v, model) for v in component):
            _refuse(component, model, bound)
    return bound


def _led_by_data(component: Sequence[Variable], v: Variable, model: ModelText) -> bool:
    """Whether a variable reads one of the component at positions that are data."""
    names = {w.name for w in component}
    if not names & variable_reads(v, model) or v.distribution is None:
        return False
    givens = {g.name for g in model.of_kind("given")}
    lets = {let.name: let.body for let in model.lets}
    every = list(expressions_of(v.distribution))
    for e in every:  # which grows by the lets that are read
        every += [lets.pop(n.name) for n in walk(e) if isinstance(n, Var) and n.name in lets]
    read = (n for e in every for n in walk(e))
    at = (a for n in read if isinstance(n, Index) and isinstance(n.base, Var) and n.base.name in names for a in n.args)
    return any(not isinstance(a, Loop) and givens & read_names(a, model) for a in at)


@dataclass(slots=True)
class Reads(Watch):
    """Which elements of which arrays each row reads: `known` has the number of every element."""

    rows: list[Array] = field(default_factory=list)
    of: list[Array] = field(default_factory=list)

    def mark(self, name: str, index: tuple[Array, ...], s: Scope) -> None:
        numbers = self.known[name]
        inside = tuple(np.clip(i, 0, n - 1) for i, n in zip(index, numbers.shape, strict=False))
        read = np.broadcast_to(numbers[inside] if index else numbers[None], (s.count, *numbers[inside].shape[1:]))
        read = read.reshape(s.count, -1)
        assert s.row is not None
        self.rows.append(np.repeat(s.row, read.shape[1]))
        self.of.append(read.ravel())


def _refuse(component: Sequence[Variable], model: ModelText, bound: Bound) -> None:
    values: dict[str, Any] = {n: a for n, a in bound.values.items() if model.variable(n).kind == "given"}
    scope = model_scope(model, values, bound.sizes, {n: r.lengths for n, r in bound.ragged.items()})
    rest = {v.name: blank(v, scope) for v in model.variables if v.name not in scope.values}
    scope = replace(scope, values={**scope.values, **rest, **bound.values})
    sampler, numbers, count = Sampler(model, NO_DRAWS, {}), dict[str, Array](), 0
    for v in component:
        shape = sampler.plate_shape(v, scope)
        numbers[v.name] = count + np.arange(int(np.prod(shape))).reshape(shape)
        count += numbers[v.name].size
    reads = Reads(numbers, np.zeros(count, bool))
    try:
        for v in component:
            part = plate_rows(v.plates, scope)
            own = np.ravel(numbers[v.name][sampler.position(v, part, scope)])
            with np.errstate(all="ignore"):
                _read(v.distribution, replace(part, row=own, watch=reads), model)
    except EmdslError:  # an index out of its range, and other faults of data that are told elsewhere
        return
    if not reads.rows:  # of no elements none is read
        return
    ring = _ring(np.concatenate(reads.rows), np.concatenate(reads.of), count)
    for v in component:
        mine = np.flatnonzero(np.isin(numbers[v.name], ring))
        if len(mine):
            at = [int(i) for i in np.unravel_index(mine[0], numbers[v.name].shape)]
            told = f"{v.name}{at} depends on itself: what the data say of positions makes a cycle of {len(ring)}"
            raise faults.DataError(told, code="D053", row=at[0] if at else None)


def _read(dist: Dist | None, part: Scope, model: ModelText) -> None:
    """Evaluates what the rows read; branches that data do not decide are left out."""
    match dist:
        case Branch() if any(model.variable(n).kind != "given" for n in read_names(dist.cond, model)):
            return
        case Branch():
            split_leaves(dist, part, lambda call, s: _arguments(call, s))
        case FamilyCall():
            _arguments(dist, part)


def _arguments(call: FamilyCall, s: Scope) -> Array:
    arguments(call, s)
    return np.zeros(s.count)


def _ring(rows: Array, of: Array, count: int) -> Array:
    """The elements of one cycle of reads and of what leads back to it, none where there is no cycle."""
    alone = rows[rows == of]
    if len(alone):
        return np.asarray(alone[:1])
    graph = scipy.sparse.coo_array((np.ones(len(rows)), (rows, of)), (count, count)).tocsr()
    _, label = scipy.sparse.csgraph.connected_components(graph, connection="strong")
    sizes = np.bincount(label)
    return np.flatnonzero(label == np.argmax(sizes)) if sizes.max(initial=0) > 1 else np.zeros(0, int)
