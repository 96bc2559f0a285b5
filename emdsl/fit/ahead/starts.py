"""Where rows ahead start: the posterior of the latent elements that they read, as weights or as draws.

one element                      its own posterior
several discrete ones            p(e = k | x)  ~  p(x, e = k): the likelihood with them seen, for each configuration k
others                           draws of all latents together
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple, Protocol

import numpy as np

from emdsl.families import PRELUDE
from emdsl.families.records import Form
from emdsl.families.scope import Array
from emdsl.families.table import RECORDS
from emdsl.fit.ahead.future import Future, Read, reads_of, size_name
from emdsl.fit.ahead.paths import Starts
from emdsl.language.model import Loop, Ragged, Variable
from emdsl.runtime.data.binding import Bound
from emdsl.runtime.data.faults import DataError

MOST_CONFIGURATIONS = 256  # of several elements: an evaluation of the likelihood each


class Weights(NamedTuple):
    """Probabilities of configurations, (configurations, *plates), of discrete elements in the order of `reads`."""

    reads: tuple[Read, ...]
    states: Array
    p: Array

    def draws(self, paths: int, rng: np.random.Generator) -> Starts:
        """Configurations drawn for every sequence by itself."""
        total = np.cumsum(self.p, axis=0)
        u = rng.random((paths, *self.p.shape[1:])) * total[-1]
        which = np.minimum((u[:, None] >= total[None]).sum(1), len(self.states) - 1)
        return Starts({r: self.states[which, k] for k, r in enumerate(self.reads)})


class Posterior(Protocol):
    """What a fit knows of its latents: `marginals` of the data's rows, and the likelihood with some of them seen."""

    @property
    def data(self) -> Bound: ...
    @property
    def marginals(self) -> Mapping[str, Any]: ...
    @property
    def factorised(self) -> bool: ...
    def likelihood(self, values: Mapping[str, Array], masks: Mapping[str, Array], apart: bool) -> Array: ...


@dataclass(frozen=True, slots=True)
class Marginal:
    """The last elements of latents, each independent of the others: probabilities, or a family's own parameters."""

    found: Mapping[Read, Any]
    families: Mapping[str, str]

    def draws(self, paths: int, rng: np.random.Generator) -> Starts:
        """Each drawn for every sequence by itself."""
        return Starts({r: drawn_from(q, self.families.get(r.name, ""), paths, rng) for r, q in self.found.items()})


def drawn_from(q: Any, family: str, paths: int, rng: np.random.Generator) -> Array:
    if not isinstance(q, Mapping):
        total = np.cumsum(q, axis=-1)
        u = rng.random((paths, *q.shape[:-1], 1)) * total[..., -1:]
        return np.asarray(np.minimum((u >= total).sum(-1), q.shape[-1] - 1))
    known, by = RECORDS[family], form_told(q, family)
    assert by is not None
    args = [np.asarray(q[n], float) for n in by.arguments]
    mean = np.asarray(q["mean"])
    args = args if by.canonical is None else list(by.canonical(*args))
    batch = mean.shape[: mean.ndim - len(PRELUDE()[family].x.domain.dims)]
    return np.asarray(known.kernel.sample(rng, (paths, *batch), *args))


def form_told(q: Mapping[str, Any], family: str) -> Form | None:
    """The parameterisation of a family that a posterior tells."""
    forms = RECORDS[family].forms if family in RECORDS else ()
    return next((f for f in forms if f.arguments and set(f.arguments) <= set(q) and not f.event), None)


def weights(future: Future, reads: Sequence[Read], posterior: Posterior) -> Weights | None:
    """The joint probabilities of discrete elements; None where they are not discrete, too many, or tied across rows."""
    variables = [future.model.variable(r.name) for r in reads]
    if not reads:
        return Weights((), np.zeros((1, 0), int), np.ones(1))
    if any(v.domain.kind not in ("category", "bool") or v.array or v.domain.dims for v in variables):
        return None
    if posterior.factorised or not all(_apart(future, v) for v in variables):
        return None
    if len(reads) == 1:
        q = np.moveaxis(last(future, variables[0], reads[0].lag, posterior), -1, 0)
        return Weights(tuple(reads), np.arange(len(q))[:, None], q)
    return _clamped(future, reads, variables, posterior)


def _clamped(
    future: Future, reads: Sequence[Read], variables: Sequence[Variable], posterior: Posterior
) -> Weights | None:
    plates = [[p.size for p in v.plates if not future.goes_on(p)] for v in variables]
    levels = [np.shape(posterior.marginals[r.name])[-1] for r in reads]
    if any(p != plates[0] for p in plates) or len(plates[0]) > 1 or np.prod(levels) > MOST_CONFIGURATIONS:
        return None
    states = np.array(list(product(*map(range, levels))))
    names = tuple(dict.fromkeys(r.name for r in reads))
    found = []
    for row in states:
        values, masks = {}, {}
        for name in names:
            shape = np.shape(posterior.marginals[name])[:-1]
            values[name], masks[name] = np.zeros(shape, np.int64), np.zeros(shape, bool)
        for k, r, v in zip(row, reads, variables, strict=True):
            at = _places(future, v, r.lag, posterior.data)
            values[r.name][at], masks[r.name][at] = k, True
        try:
            found.append(posterior.likelihood(values, masks, bool(plates[0])))
        except DataError:
            return None  # no likelihood for each sequence by itself
    log = np.array(found)
    with np.errstate(all="ignore"):
        p = np.exp(log - log.max(axis=0))
    return Weights(tuple(reads), states, p / p.sum(axis=0)) if np.isfinite(p).all() else None


def marginal(
    future: Future, reads: Sequence[Read], posterior: Posterior, families: Mapping[str, str]
) -> Marginal | None:
    """Each element by its own posterior: where there is one alone, or where q is factorised and each is of another.

    families : the family of each continuous latent's posterior, where it has one.
    """
    names = [r.name for r in reads]
    if len(names) > 1 and not (posterior.factorised and len(set(names)) == len(names)):
        return None
    found = {}
    for r in reads:
        v = future.model.variable(r.name)
        q = posterior.marginals.get(r.name)
        if q is None or not (posterior.factorised or _apart(future, v)):
            return None
        if isinstance(q, Mapping):
            if form_told(q, families.get(r.name, "")) is None:
                return None
        found[r] = last(future, v, r.lag, posterior)
    return Marginal(found, families)


def last(future: Future, v: Variable, lag: int, posterior: Posterior) -> Any:
    """The posterior of v's elements so many rows before the rows ahead: the ordered plate taken out."""
    q = posterior.marginals[v.name]
    if isinstance(q, Mapping):
        return {n: row_of(np.asarray(a), future, v, lag, posterior.data) for n, a in q.items()}
    return row_of(np.asarray(q), future, v, lag, posterior.data)


def row_of(array: Array, future: Future, v: Variable, lag: int, data: Bound, before: int = 0) -> Array:
    """The elements of v so many rows before the rows ahead, out of an array with `before` axes in front."""
    if lag == 0:
        return array
    axis, rows = _before(future, v, lag, data)
    axis += before
    if not array.shape[axis]:
        return np.zeros((*array.shape[:axis], *np.shape(rows), *array.shape[axis + 1 :]), array.dtype)
    return np.take(array, np.clip(rows, 0, array.shape[axis] - 1), axis=axis)


def _places(future: Future, v: Variable, lag: int, data: Bound) -> tuple[Any, ...]:
    """Where these elements stand in v's array; sequences too short to have one are left out."""
    if lag == 0:
        return (slice(None),)
    axis, rows = _before(future, v, lag, data)
    name = size_name(next(p.size for p in v.plates if future.goes_on(p)))
    there = data.ragged[name].lengths >= lag if name in data.ragged else np.asarray(rows >= 0)
    return (*(slice(None),) * axis, rows[there] if rows.ndim else rows[None][there[None]])


def _before(future: Future, v: Variable, lag: int, data: Bound) -> tuple[int, Array]:
    """The axis of the ordered plate in v's arrays, and where on it the rows are: one number, of ragged plates many."""
    at = next(i for i, p in enumerate(v.plates) if future.goes_on(p))
    name = size_name(v.plates[at].size)
    if name in data.ragged:
        return 0, data.ragged[name].start + data.ragged[name].lengths - lag
    outer = [isinstance(p.size, Ragged) for p in v.plates[:at]]
    return at - max((i for i, r in enumerate(outer) if r), default=0), np.asarray(data.sizes[name] - lag)


def _apart(future: Future, v: Variable) -> bool:
    """Whether each sequence reads elements of v of its own alone: no row ahead reads those of two."""
    plates = {p.size for p in v.plates if not future.goes_on(p)}
    for u in future.on_plate(future.model):
        own = {p.index: p.size for p in u.plates}
        for name, args, _ in reads_of(u, future.model):
            if name != v.name:
                continue
            if len(args) < len(v.plates):
                return False
            for arg, plate in zip(args, v.plates, strict=False):
                if future.goes_on(plate):
                    continue
                if not isinstance(arg, Loop) or own.get(arg.name) != plate.size:
                    return False
            if not plates <= set(own.values()):
                return False
    return True
