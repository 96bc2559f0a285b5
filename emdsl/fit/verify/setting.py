"""Sizes, givens, parameters and data of moderate size for any model: something to evaluate it at."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from emdsl.families.normalised import random_element
from emdsl.families.scope import Array, Scope, own_shape
from emdsl.fit.interpret import model_scope, plate_rows, ragged_axes
from emdsl.fit.ragged import by_parent
from emdsl.fit.sampling import sample
from emdsl.language.model import Dim, ModelText, Ragged, SizeDecl, Variable

LENGTHS = (2, 3, 1, 2)  # of a ragged plate, for the elements around it in turn
SOME_EMPTY = (2, 0, 3, 1)  # the same, where givens are not what they are by default
TRIALS = 3  # of a vector of counts
LONG = 16  # elements that a plate has by default, beyond which fewer are drawn: what is derived holds for any number


class Setting(NamedTuple):
    sizes: dict[str, int]
    lengths: dict[str, list[int]]
    params: dict[str, Any]
    givens: dict[str, Any]  # those without a default
    folded: bool = False  # whether its givens on the line are positive and rise


Numbers = Mapping[str, frozenset[float]]  # per given


class Drawn(NamedTuple):
    """A setting with data drawn in it."""

    setting: Setting
    data: dict[str, Array]  # givens and observed variables
    latents: dict[str, Array]


def plausible(
    model: ModelText, seed: int = 0, plates: int = 4, others: tuple[int, ...] = (4,), folded: bool = False,
    near: Numbers | None = None, many: int = 0, other: bool = False,
) -> Setting:  # fmt: skip
    """Sizes that have no default are `plates`, or in turn `others` where no plate has them; values are from domains.

    Where `other`, givens with a default are not what they are by default, and some rows of ragged plates are empty.
    Outermost plates of which no parameter has an element for each are `many`, where it is given: rows alone are more,
    and what they point at is one more, so that nobody takes the one for the other.

    Where `folded`, givens on the line are positive and rise: distances and times are often declared as numbers alone.
    Half of the values of a given in `near` lie at those numbers, or beside them.
    """
    rng = np.random.default_rng(seed)
    around = set(plate_names(model))
    elements = {n for v in model.of_kind("param") for d in v.shape if isinstance(d, Dim) for n in d.names}
    sizes_of_rows = [v.plates[0].size for v in model.variables if v.plates]
    outermost = {n for size in sizes_of_rows if isinstance(size, Dim) for n in size.names}
    free = (around - elements) & outermost or around - elements or around  # rows, not what each row holds
    seen = {n for v in model.of_kind("observed") for p in v.plates[:1] if isinstance(p.size, Dim) for n in p.size.names}
    counts = {n: many + (n not in seen) if many and n in free else plates for n in around}
    axes = ragged_axes(model)
    sizes: dict[str, int] = {}
    rest = [s for s in model.sizes if s.name not in axes]
    for k, size in enumerate([s for s in rest if s.name not in around and s.default is None]):
        sizes[size.name] = others[k % len(others)]
    for size in rest:
        default = counts.get(size.name, plates) if size.default is None else size.default.value(sizes)
        sizes.setdefault(size.name, default)
    for _ in model.equal_sizes:
        sizes |= _equated(model, sizes)
    lengths: dict[str, list[int]] = {}
    for name, outer in sorted(axes.items(), key=lambda item: len(item[1])):
        rows = 1
        for axis in outer:  # a ragged one and what encloses it are one axis of rows
            rows = sum(lengths[axis.name]) if isinstance(axis, Ragged) else rows * axis.value(sizes)
        lengths[name] = [(SOME_EMPTY if other else LENGTHS)[i % 4] for i in range(rows)]
    values: dict[str, Any] = {}
    for variable in (*model.of_kind("given"), *model.of_kind("param")):
        values[variable.name] = _values(variable, sizes, lengths, values, rng)
        if folded and variable.kind == "given" and variable.domain.unbounded:
            values[variable.name] = _rising(np.abs(values[variable.name]), variable)
        if near and variable.name in near:
            values[variable.name] = _near(values[variable.name], near[variable.name], variable, rng)
    params = {v.name: values[v.name] for v in model.of_kind("param")}
    givens = {v.name: values[v.name] for v in model.of_kind("given") if v.default is None}
    if other:
        scope = model_scope(model, {**givens, **params}, sizes, lengths)
        given = [v for v in model.of_kind("given") if v.default is not None and v.name in scope.values]
        givens |= {v.name: _beside(scope.values[v.name], v, rng) for v in given if _is_free(v)}
    return Setting(sizes, lengths, params, givens, folded)


def _is_free(v: Variable) -> bool:
    """Whether a value a little beside another is in the domain, too."""
    return v.domain.interval and not v.domain.discrete and v.domain.lower is None and v.domain.upper is None


def _beside(value: Any, v: Variable, rng: np.random.Generator) -> Array:
    """All numbers of a given longer or shorter by one factor; those of an interval to a power."""
    by = np.exp(rng.uniform(0.1, 0.4) * rng.choice([-1, 1]))
    old = np.asarray(value, float)
    return np.asarray(old**by if np.isfinite(v.domain.ends).all() else old * by)


def _near(values: Array, numbers: frozenset[float], v: Variable, rng: np.random.Generator) -> Array:
    """Half of the values at one of the numbers, or on either side of it, where the domain is a whole half-line."""
    low, high = v.domain.ends
    if v.domain.lower is not None or v.domain.upper is not None or v.domain.dims or np.isfinite(high):
        return values
    beside = np.array([-1.0, 0.0, 1.0]) * (1.0 if v.domain.discrete else 0.5)
    picked = rng.choice(sorted(numbers), values.shape) + rng.choice(beside, values.shape)
    taken = (rng.random(values.shape) < 0.5) & (picked >= low) & ((picked > low) | v.domain.discrete)
    return np.where(taken, picked, values).astype(values.dtype)


def _rising(values: Array, v: Variable) -> Array:
    """Values in order along their last plate, as times of steps are; rows of a ragged one are one axis."""
    if not v.plates:
        return values
    return np.sort(values, axis=0 if any(isinstance(p.size, Ragged) for p in v.plates) else len(v.plates) - 1)


def draw(
    model: ModelText, seed: int, plates: int, others: tuple[int, ...] = (2, 3), folded: bool = False,
    near: Numbers | None = None, many: int = 0, other: bool = False,
) -> Drawn:  # fmt: skip
    """Parameters from their domains, then latents and data from the model. Raises what the sampler raises.

    The sampler has a stream of its own: of the numbers that the covariate of a row is made of, its noise would be a
    multiple, and a line would fit such data exactly.
    """
    s = plausible(model, seed, plates, others, folded, near, many, other)
    scope = Scope(sizes=s.sizes)
    shapes = {v.name: _shape(v, s.sizes, s.lengths) + own_shape(v.domain.dims, scope) for v in _split(model)}
    totals = {name: np.full(shape, TRIALS) for name, shape in shapes.items()}
    drawn = sample(
        unfactored(model), s.params, s.sizes, np.random.default_rng([seed, 1]), {**totals, **s.givens}, s.lengths
    )
    observed = {v.name: drawn[v.name] for v in model.of_kind("observed")}
    return Drawn(s, {**s.givens, **observed}, {v.name: drawn[v.name] for v in model.of_kind("latent")})


def again(model: ModelText, drawn: Drawn, rng: np.random.Generator) -> Drawn:
    """Other data and latents of the same givens and parameters."""
    s, kept = drawn.setting, {n: v for n, v in drawn.data.items() if model.variable(n).kind == "given"}
    totals = {v.name: drawn.data[v.name] for v in _split(model)}
    found = sample(unfactored(model), s.params, s.sizes, rng, {**totals, **kept}, s.lengths)
    data, latents = ({v.name: found[v.name] for v in model.of_kind(kind)} for kind in ("observed", "latent"))
    return Drawn(s, {**kept, **data}, latents)


def _split(model: ModelText) -> list[Variable]:
    """Vectors of counts, whose totals are told."""
    return [v for v in model.of_kind("observed") if v.domain.dims and v.domain.kind == "count"]


def unfactored(model: ModelText) -> ModelText:
    """The model that draws can be made of: data to check at need not be likely, but possible."""
    return replace(model, potentials=())


def sized(model: ModelText) -> ModelText:
    """Lengths that a use equates with a number, as defaults."""
    known = {}
    for a, b, _ in model.equal_sizes:
        for one, other in ((a, b), (b, a)):
            if isinstance(one, Dim) and isinstance(other, Dim) and one.name and other.constant is not None:
                known[one.name] = other
    return replace(model, sizes=tuple(replace(s, default=known.get(s.name, s.default)) for s in model.sizes))


def shortened(model: ModelText) -> ModelText:
    """The model in which plates of data or latents that are long by default have no default length."""
    pairs = [(a, b) for a, b, _ in model.equal_sizes if isinstance(a, Dim) and isinstance(b, Dim)]
    as_said = {n for a, b in pairs for d, e in ((a, b), (b, a)) if e.constant is not None for n in d.names}
    around = set(plate_names(model)) - as_said - set(dict(model.written_out))

    def short(s: SizeDecl) -> SizeDecl:
        long = s.default is not None and (s.default.constant or 0) > LONG
        return replace(s, default=None) if long and s.name in around else s

    return replace(model, sizes=tuple(map(short, model.sizes)))


def flat(told: Any) -> Any:
    """Ragged sequences one after the other, also where they are fields of a posterior."""
    if isinstance(told, Mapping):
        return {n: flat(v) for n, v in told.items()}
    if not isinstance(told, list):
        return np.asarray(told)
    parts = [part for part in map(flat, told) if part.size]
    return np.concatenate(parts) if parts else np.zeros(0)


def as_data(model: ModelText, drawn: Drawn) -> dict[str, Any]:
    """What a fitter takes: ragged variables as lists of arrays, per element of the plates around."""
    s = drawn.setting
    return by_parent(model, drawn.data, s.sizes, {n: np.asarray(counts) for n, counts in s.lengths.items()})


def plate_names(model: ModelText) -> list[str]:
    """Names of sizes that a plate of data or latents has."""
    drawn = [v for v in model.variables if v.kind != "param"]
    return [n for v in drawn for p in v.plates if isinstance(p.size, Dim) for n in p.size.names]


def _equated(model: ModelText, sizes: Mapping[str, int]) -> dict[str, int]:
    """Sizes that a use equates with another: both are the first's."""
    pairs = [(a, b) for a, b, _ in model.equal_sizes if isinstance(a, Dim) and isinstance(b, Dim)]
    return {b.name: a.value(sizes) for a, b in pairs if b.name and set(a.names) <= set(sizes)}


def _values(
    v: Variable, sizes: dict[str, int], lengths: dict[str, list[int]], known: dict[str, Any], rng: np.random.Generator
) -> Array:
    shape = _shape(v, sizes, lengths)
    rows = math.prod(shape)
    if isinstance(v.domain.levels, Ragged):
        drawn = _positions(v, v.domain.levels, sizes, lengths, rng)
    elif isinstance(v.domain.levels, Dim):
        drawn = rng.integers(0, v.domain.levels.value(sizes), rows)
        if v.domain.kind == "index" and [p.size for p in v.plates] == [v.domain.levels]:
            drawn = drawn % np.maximum(np.arange(rows), 1)  # an element of its own plate: one before it, as in a tree
    else:
        scope = Scope(sizes=sizes, count=rows, values=known)
        if v.domain.lower is not None or v.domain.upper is not None:
            if all(isinstance(p.size, Dim) and p.condition is None for p in v.plates):  # each has ends of its own
                own = plate_rows(v.plates, Scope(sizes=sizes, values=known))
                scope = own.take(np.arange(own.count).repeat(rows // max(own.count, 1)))
        drawn = np.asarray(random_element(v.domain, scope, rng))
    return drawn.reshape((*shape, *drawn.shape[1:]))


def _shape(v: Variable, sizes: Mapping[str, int], lengths: Mapping[str, list[int]]) -> tuple[int, ...]:
    """How many elements a variable has; a ragged plate and what encloses it are one axis of rows."""
    shape: tuple[int, ...] = ()
    for size in (*(plate.size for plate in v.plates), *v.array):
        shape = (sum(lengths[size.name]),) if isinstance(size, Ragged) else (*shape, size.value(sizes))
    return shape


def _positions(
    v: Variable, of: Ragged, sizes: dict[str, int], lengths: dict[str, list[int]], rng: np.random.Generator
) -> Array:
    """Elements of a ragged plate within the same sequence: of its own plate one before it, as in a tree."""
    if len(v.plates) != 2:
        raise NotImplementedError(f"`{v.name}` points into a ragged plate, and lies on {len(v.plates)} plates")
    inner = v.plates[1].size
    many = lengths[inner.name] if isinstance(inner, Ragged) else [inner.value(sizes)] * len(lengths[of.name])
    before = isinstance(inner, Ragged) and inner.name == of.name
    ends = [max(t, 1) if before else n for n, k in zip(lengths[of.name], many, strict=True) for t in range(k)]
    return rng.integers(0, np.array(ends, int))
