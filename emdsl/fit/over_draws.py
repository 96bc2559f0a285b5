"""What missing entries are by draws of the latents that they depend on, where no posterior has them in closed form.

    E[y] ~ mean_s m(h_s),   Var[y] ~ mean_s v(h_s) + var_s m(h_s),   h_s from q or from a chain

Where the moments of a family are not known (a user's own, a cut domain) y itself is drawn given each h_s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from emdsl.derive.joint.substituted import as_lets
from emdsl.families.density import limits
from emdsl.families.scope import Array, Scope, own_shape
from emdsl.fit.ahead.forecasts import MOST_DRAWS, Seen
from emdsl.fit.ahead.future import reads_of
from emdsl.fit.ahead.probing import both_moments
from emdsl.fit.ahead.starts import drawn_from, form_told
from emdsl.fit.branches import leaves, split_leaves
from emdsl.fit.gaps import has_moments
from emdsl.fit.interpret import Density, chunks, model_scope, plate_rows
from emdsl.fit.sampling import Sampler, blank
from emdsl.language.model import ModelText, Variable
from emdsl.runtime.montecarlo.drawn import draws_by_name

DRAWS = 1000  # where they are independent


def over_draws(rows: Seen, name: str, mask: Array) -> dict[str, Array] | Array | None:
    """Moments of the missing elements of an observed variable, with the mean's standard error, or probabilities.

    mask : which numbers were seen. None where its latents cannot be drawn.
    """
    model = as_lets(rows.model.resolved)
    v, rng = model.variable(name), np.random.default_rng(0)
    draws = _by_q(rows, v, model, rng) or _by_chains(rows, rng)
    if draws is None:
        return None
    latents, together = draws
    count = len(next(iter(latents.values()))) if latents else DRAWS
    given = {n: a for n, a in rows.data.values.items() if n != name}
    lengths = {n: r.lengths for n, r in rows.data.ragged.items()}
    told, sampler, of = Told(count, together), Sampler(model, rng, {}), None
    for s in range(count):
        values = {**rows.params, **given, **{n: a[s] for n, a in latents.items()}}
        scope = model_scope(model, values, rows.data.sizes, lengths)
        of = of or Missing(sampler, v, scope, mask)
        told.add(*of.moments(scope))
    return told.result()


def _by_q(rows: Seen, v: Variable, model: ModelText, rng: np.random.Generator) -> tuple[dict[str, Array], int] | None:
    """Draws of the latents that a density reads, each by itself; None where they are tied, or of no known family."""
    if rows.drawn:
        return None
    reads = {(n, args) for n, args, _ in reads_of(v, model)}
    latents = {w.name for w in model.of_kind("latent")}
    read = [n for n, _ in sorted(reads, key=str) if n in latents]
    families = rows.families()
    for block in rows.model.derived.elimination.blocks:
        if sum(n in block.latents for n in read) > 1:
            return None
    for n in read:
        q = rows.marginals.get(n)
        if q is None or (isinstance(q, Mapping) and form_told(q, families.get(n, "")) is None):
            return None
    return {n: drawn_from(rows.marginals[n], families.get(n, ""), DRAWS, rng) for n in read}, 1


def _by_chains(rows: Seen, rng: np.random.Generator) -> tuple[dict[str, Array], int] | None:
    made = rows.model if rows.drawn else rows.model.drawn_together()
    if made is None:
        return None
    prepared = made.module.prepare(rows.data, made.module.reference(rows.data))
    with np.errstate(all="ignore"):
        draws = draws_by_name(made.module, rows.params, rows.data, prepared, rows.state, MOST_DRAWS, rng)
    return draws, int(np.sqrt(MOST_DRAWS))


class Missing:
    """The missing elements of a variable, given all that they read."""

    def __init__(self, sampler: Sampler, v: Variable, scope: Scope, mask: Array) -> None:
        assert v.distribution is not None
        self.sampler, self.v, self.dist = sampler, v, v.distribution
        whole = plate_rows(v.plates, scope)
        self.own, self.levels = own_shape(v.array + v.domain.dims, scope), _levels(v, whole)
        self.closed = all(has_moments(call, v) for call in leaves(v.distribution))
        self.size = int(np.prod(self.own, dtype=int)) if self.levels is None else self.levels
        array = blank(v, scope)
        self.plates = array.shape[: array.ndim - len(self.own)]
        seen = np.asarray(mask.reshape(*self.plates, -1).all(-1))
        if v.plates:
            whole = whole.take(np.flatnonzero(~seen[sampler.position(v, whole, scope)]))
        self.parts = list(chunks(whole))

    def moments(self, scope: Scope) -> tuple[Array, Array | None]:
        """First moments (or probabilities) and second moments; 0 of elements that were seen."""
        mean = np.zeros((*self.plates, *(self.own if self.levels is None else (self.levels,))))
        second = None if self.levels is not None else np.zeros((*self.plates, self.size, self.size))
        for old in self.parts:
            part = replace(old, values=scope.values)
            at = self.sampler.position(self.v, part, scope) if self.v.plates else ...
            first, cov = self.each(part)
            mean[at] = first.reshape(mean[at].shape)
            if second is not None:
                second[at] = (cov + first[:, :, None] * first[:, None, :]).reshape(second[at].shape)
        return mean, second

    def each(self, part: Scope) -> tuple[Array, Array]:
        """(rows, numbers) and (rows, numbers, numbers)."""
        n, size = part.count, self.size
        none = np.zeros((n, size, size))
        if self.levels is not None:
            density, seen = Density(self.sampler.model, self.v), np.zeros(n, bool)
            each = [density.rows(self.dist, np.full(n, k), seen, part) for k in range(size)]
            return np.exp(np.stack([np.broadcast_to(e, (n,)) for e in each], -1)), none
        if not self.closed:
            return self.sampler.rows(self.v, part).reshape(n, size).astype(float), none
        both = split_leaves(self.dist, part, lambda call, s: both_moments(call, s, self.own))
        return both[:, :size], both[:, size:].reshape(n, size, size)


def _levels(v: Variable, part: Scope) -> int | None:
    """How many values an element has at most; None where there is no end."""
    if not v.domain.discrete or v.domain.dims or v.array:
        return None
    high = limits(v.domain, part)[1]
    return int(high.max()) + 1 if high.size and np.isfinite(high).all() else None


class Told:
    """Moments over draws, `together` of which may be alike."""

    def __init__(self, count: int, together: int) -> None:
        self.count, self.together = count, together
        self.means: list[Array] = []
        self.second: Any = 0.0

    def add(self, mean: Array, second: Array | None) -> None:
        self.means.append(mean)
        self.second = None if second is None else self.second + second / self.count

    def result(self) -> dict[str, Array] | Array:
        means = np.array(self.means)
        mean = means.mean(0)
        if self.second is None:
            return np.asarray(mean)
        flat = mean.reshape(self.second.shape[:-1])
        cov = self.second - flat[..., :, None] * flat[..., None, :]
        runs = means[: self.count // self.together * self.together]
        runs = runs.reshape(-1, self.together, *mean.shape).mean(1)
        out = {"mean": mean}
        if mean.shape == flat.shape:
            out["cov"] = cov
        else:
            out["var"] = np.einsum("...ii->...i", cov).reshape(mean.shape)  # of a matrix, entry by entry
        return out | {"se": runs.std(0, ddof=1) / np.sqrt(len(runs))}
