"""The log joint density of a whole model by direct evaluation: the oracle of the tests.

    log p(all) = sum over declarations and rows of log p(element | what it depends on)  +  sum of factors

Everything is given, so no order is needed and a plate's rows are evaluated side by side. Shares no
code with `emdsl.derive`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, assert_never

import numpy as np

from emdsl.errors import NOWHERE, DataError, Problem
from emdsl.families.density import arrange, limits, log_density
from emdsl.families.evaluate import evaluate, rows_of
from emdsl.families.scope import Array, Lengths, Scope, split_rows, stretched
from emdsl.families.table import form, record
from emdsl.fit.branches import has_atom, is_density, split_leaves
from emdsl.fit.cut_mass import interval_mass
from emdsl.language.bounds import is_cut
from emdsl.language.model import (
    Branch,
    Dim,
    Dist,
    Expr,
    FamilyCall,
    Index,
    Loop,
    ModelText,
    Plate,
    Ragged,
    Size,
    Var,
    Variable,
    walk,
)

__all__ = ["evaluate", "log_joint", "log_prob", "model_scope", "plate_rows"]

CHUNK = 1 << 15  # rows evaluated at a time


def log_joint(
    model: ModelText,
    values: Mapping[str, Any],
    sizes: Mapping[str, int],
    lengths: Mapping[str, Any] | None = None,
    missing: Mapping[str, Any] | None = None,
) -> float:
    """log p(observed, latent | givens, params) + log priors + factors, at the given values of all of them.

    `values` has every variable as declared (a ragged plate and all that encloses it are one axis of
    rows); `lengths` per ragged size one length per parent row; `missing` per observed variable a
    boolean array of its shape. NaN counts as missing too. A missing element leaves its factor out;
    of a vector whose family can be marginalised, the missing entries alone. Givens with defaults may
    be left out. Raises DataError where an index is out of its range.
    """
    scope = model_scope(model, values, sizes, lengths)
    total = 0.0
    for v in model.variables:
        if v.distribution is not None:
            gone = None if missing is None or v.name not in missing else np.asarray(missing[v.name], bool)
            for part in log_prob(model, v, scope, gone):
                if np.any(part == -np.inf):
                    return -np.inf  # whatever the rest is: outside its domain a parameter may spoil others
                total += float(part.sum())
    for p in model.potentials:
        for some in chunks(plate_rows(p.plates, scope)):
            value = rows_of(p.expression, some)
            total += float(np.broadcast_to(value, (some.count, *value.shape[1:])).sum())
    return total


def model_scope(
    model: ModelText, values: Mapping[str, Any], sizes: Mapping[str, int], lengths: Mapping[str, Any] | None = None
) -> Scope:
    """The scope outside every plate: arrays, sizes, lets, ragged lengths, defaults of givens filled in."""
    axes = ragged_axes(model)
    ragged: dict[str, Lengths] = {}
    for name in sorted(axes, key=lambda n: len(axes[n])):  # a parent before what it encloses
        if name not in (lengths or {}):
            hint = f"give {name} in `sizes`: a length for each row around it, or one for all"
            raise DataError(Problem("D052", f"the lengths {name} of a ragged plate are not given", NOWHERE, hint))
        n = np.asarray((lengths or {})[name]).ravel().astype(np.int64)
        scope = Scope(sizes=sizes, ragged=ragged)
        count = rows_in(axes[name], scope)
        if len(n) and count % len(n) == 0:
            n = np.tile(n, count // len(n))
        ragged[name] = Lengths.of(n, axes[name])
    lets = {let.name: let for let in model.lets}
    arrays = {k: np.asarray(v) for k, v in values.items()}
    scope = Scope(arrays, sizes, lets, ragged)
    for v in given_order(model):
        if v.name not in scope.values and v.default is not None:
            value = rows_of(v.default, scope)[0]
            shape = tuple(d.value(sizes) for d in v.shape if isinstance(d, Dim))
            scope = replace(scope, values={**scope.values, v.name: np.broadcast_to(value, shape)})
    return scope


def given_order(model: ModelText) -> list[Variable]:
    """Givens with defaults, each after those its default speaks of."""
    pending = [v for v in model.of_kind("given") if v.default is not None]
    out: list[Variable] = []
    while pending:
        names = {v.name for v in pending}
        ready = [v for v in pending if not names & (read_names(v.default, model) - {v.name})]
        if not ready:
            raise DataError(Problem("D053", "the defaults of givens refer to one another in a circle", pending[0].span))
        out += ready
        pending = [v for v in pending if v not in ready]
    return out


def read_names(e: Expr | None, model: ModelText) -> set[str]:
    """The variables an expression reads, through lets."""
    lets = {let.name: let for let in model.lets}
    out: set[str] = set()
    stack = [] if e is None else [e]
    seen: set[str] = set()
    while stack:
        for node in walk(stack.pop()):
            if isinstance(node, Var) and node.name in lets:
                if node.name not in seen:
                    seen.add(node.name)
                    stack.append(lets[node.name].body)
            elif isinstance(node, Var):
                out.add(node.name)
    return out


def ragged_axes(model: ModelText) -> dict[str, tuple[Size, ...]]:
    """Per ragged size the axes that enclose it."""
    out: dict[str, tuple[Size, ...]] = {}
    for plates in [v.plates for v in model.variables] + [p.plates for p in model.potentials]:
        for k, plate in enumerate(plates):
            if isinstance(plate.size, Ragged):
                out.setdefault(plate.size.name, tuple(p.size for p in plates[:k]))
    return out


def rows_in(axes: tuple[Size, ...], scope: Scope) -> int:
    """How many flat rows nested axes have."""
    n = 1
    for axis in axes:
        n = n * axis.value(scope.sizes) if isinstance(axis, Dim) else int(scope.ragged[axis.name].lengths.sum())
    return n


def plate_rows(plates: Iterable[Plate], scope: Scope) -> Scope:
    """One row per element of the nested plates, those kept by their conditions."""
    for plate in plates:
        scope, _ = scope.enter(plate.index, plate.size)
        if plate.condition is not None:
            keep = np.broadcast_to(rows_of(plate.condition, scope) != 0, (scope.count,))
            scope = scope.take(np.flatnonzero(keep))
    return scope


def chunks(scope: Scope) -> Iterable[Scope]:
    if scope.count <= CHUNK:
        return [scope] if scope.count else []
    return [scope.take(np.arange(i, min(i + CHUNK, scope.count))) for i in range(0, scope.count, CHUNK)]


# ---------------------------------------------------------------- one declaration


def log_prob(model: ModelText, v: Variable, scope: Scope, gone: Array | None = None) -> Iterable[Array]:
    """log p per element of v, in chunks of rows; 0 where the element is missing."""
    assert v.distribution is not None
    for part in chunks(plate_rows(v.plates, scope)):
        x = element(v, scope.values[v.name], part)
        lost = np.isnan(x) if x.dtype.kind == "f" else np.zeros(x.shape, bool)
        if gone is not None:
            lost = lost | (element(v, gone, part) != 0)
        yield Density(model, v).rows(v.distribution, x, lost, part)


def element(v: Variable, array: Array, part: Scope) -> Array:
    """v's element per row: rows + the array's brackets + the domain's own axes."""
    if not v.plates:
        point = part.points(v.name)
        return array[None] if point is None else array[point]
    loops = tuple(Loop(p.index, p.size) for p in v.plates)
    named = replace(part, values={v.name: array})
    return rows_of(Index(Var(v.name, v.shape), loops, v.shape[len(loops) :]), named)


@dataclass(frozen=True, slots=True)
class Density:
    """How one variable's rows are scored; the model says which conditions can be decided without latents."""

    model: ModelText
    variable: Variable

    def rows(self, dist: Dist, x: Array, lost: Array, s: Scope) -> Array:
        """log p(x) per row, an observation equal to a reachable atom having only the atom's mass."""
        x, lost = (stretched(a, s.count) for a in (x, lost))
        inner = replace(s, local={**s.local, "": x, " ": lost})
        out = self.score(dist, inner)
        if isinstance(dist, Branch) and has_atom(dist):
            hit = self.atoms(dist, inner)
            smooth = split_leaves(dist, inner, lambda leaf, part: np.full(part.count, is_density(leaf)))
            out = np.where((hit != 0) & (smooth != 0) & ~lost.reshape(s.count, -1).all(1), -np.inf, out)
        return out

    def score(self, dist: Dist, s: Scope) -> Array:
        return split_leaves(dist, s, self.leaf)

    def atoms(self, dist: Dist, s: Scope) -> Array:
        """Whether x equals the value of a point mass that the row can reach, whatever the latents in conditions are.

        The atom's own value is taken at the latents given; where it has none there (an index that exists
        only in its branch) it is not reached.
        """
        match dist:
            case FamilyCall():
                found = record(dist.family)
                if found is None or not found.atom:
                    return np.zeros(s.count, np.int64)
                return self.at_atom(dist, s)
            case Branch(cond, then, other):
                if any(self.model.variable(n).kind in ("latent", "param") for n in read_names(cond, self.model)):
                    return np.maximum(self.atoms(then, s), self.atoms(other, s))
                c = rows_of(cond, s)
                return split_rows(c, s, lambda p: self.atoms(then, p), lambda p: self.atoms(other, p))
            case _:
                assert_never(dist)

    def at_atom(self, call: FamilyCall, s: Scope) -> Array:
        try:
            return np.asarray(self.leaf(call, s) == 0).astype(np.int64)
        except DataError:
            if s.count == 1:
                return np.zeros(1, np.int64)
            return np.concatenate([self.at_atom(call, s.take(np.array([k]))) for k in range(s.count)])

    def leaf(self, call: FamilyCall, s: Scope) -> Array:
        """log p per row under one family, missing entries left out."""
        x, lost = (stretched(s.local[k], s.count) for k in ("", " "))
        own = len(call.family.x.domain.dims)
        rank = x.ndim - 1
        args = arguments(call, s)
        flat_lost = lost.reshape(*lost.shape[: lost.ndim - own], -1) if own else lost[..., None]
        safe = np.where(lost, 0, x)
        if own and lost.any() and not (flat_lost.all(-1) == flat_lost.any(-1)).all():
            return self.partial(call, s, x, lost)
        whole = flat_lost.all(-1)
        if own:
            safe = np.where(whole.reshape(*whole.shape, *(1,) * own), stand_in(call, x), safe)
        arranged = arrange(call.family, call.signature, args, rank)
        value = log_density(call.family, call.signature, safe, arranged, sizes=s.sizes)
        value = value - self.truncation(call, s, arranged, safe)
        value = np.where(whole, 0.0, value if value.shape == whole.shape else np.broadcast_to(value, whole.shape))
        return np.asarray(value.reshape(s.count, -1).sum(1))

    def partial(self, call: FamilyCall, s: Scope, x: Array, lost: Array) -> Array:
        """Rows grouped by which entries are missing, each group under the marginal of the others."""
        known, by = record(call.family), form(call.family, call.signature)
        if known is None or by is None or known.kernel.marginal is None or x.ndim != 2:
            raise DataError(Problem("D054", f"part of a `{self.variable.name}` is missing, and {call.family.name} "
                                            "has no marginal", self.variable.span))  # fmt: skip
        args = arrange(call.family, call.signature, arguments(call, s), 1)
        if by.canonical is not None:
            args = list(by.canonical(*args))
        out = np.zeros(s.count)
        patterns, which = np.unique(lost, axis=0, return_inverse=True)
        for k, pattern in enumerate(patterns):
            rows = np.flatnonzero(np.asarray(which).ravel() == k)
            if not pattern.all():
                mine = [a if a.shape[0] == 1 else a[rows] for a in args]
                kept = known.kernel.marginal(~pattern, *mine)
                out[rows] = known.kernel.log_density(x[rows][:, ~pattern], *kept)
        return out

    def truncation(self, call: FamilyCall, s: Scope, args: list[Array], x: Array) -> Array:
        """log of the mass that the family puts on the variable's own narrower domain; inf where x is outside it."""
        domain, wide = self.variable.domain, call.family.x.domain
        if wide.dims or not (wide.interval or wide.kind == "count"):
            return np.zeros(1)
        if (wide.lower or wide.upper) and domain.kind == wide.kind and not is_cut(domain, call):
            return np.zeros(1)  # a Binomial up to its own trials
        if not is_density(call) and not wide.discrete:
            return np.zeros(1)  # a point mass is inside or outside, whole
        low, high = limits(domain, s)
        least, most = wide.ends
        if np.all(low <= least) and np.all(high >= most):
            return np.zeros(1)
        rank = x.ndim - 1
        a, b = (v.reshape(-1, *(1,) * rank) for v in (low, high))
        drop = self.variable.kind == "param" and not self.on_params(call)
        mass = np.zeros(1) if drop else interval_mass(call, low, high, args, rank)
        return np.where((x >= a) & (x <= b), mass, np.inf)

    def on_params(self, call: FamilyCall) -> bool:
        read = set().union(*(read_names(e, self.model) for _, e in call.args))
        return bool(read & {v.name for v in self.model.of_kind("param")})


def arguments(call: FamilyCall, s: Scope) -> dict[str, tuple[Array, int]]:
    return {name: (rows_of(e, s), len(e.shape)) for name, e in call.args}


def stand_in(call: FamilyCall, x: Array) -> Array:
    """A value inside the support for elements that are left out."""
    own = call.family.x.domain
    shape = x.shape[x.ndim - len(own.dims) :]
    if own.symmetric:
        return np.eye(shape[-1])
    return np.full(shape, 1 / shape[-1]) if own.kind == "simplex" else np.zeros(shape)
