"""Latents of which parts have no noise: the numbers that are free in them, and how all others follow from these.

    x - mean  =  E e,   e ~ N(0, R):      x  =  mean + E inv(E_I) (x_I - mean_I),     dx  =  vol(E) / |det E_I| dx_I

with E a basis of the range of a covariance, I as many of its rows as it has noises. Means are evaluated again and again
until nothing moves: each element follows from earlier ones. Nothing of this knows how a constraint is held.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy import linalg

from emdsl.families.scope import Array, Scope
from emdsl.families.table import record
from emdsl.fit.branches import split_leaves
from emdsl.fit.interpret import arguments, element, plate_rows, read_names
from emdsl.language.model import Branch, FamilyCall, ModelText, Variable

NONE = 1e-12  # of the largest eigenvalue of correlations


@dataclass(frozen=True)
class Chart:
    """One latent: places of its numbers (rows, D), which are free, `to` = E inv(E_I) in their columns, log volumes."""

    variable: Variable
    part: Scope
    at: Array
    free: Array
    to: Array
    volume: Array
    moves: bool = False  # whether a parameter says where a point is

    def completed(self, arrays: Mapping[str, Array]) -> Array:
        """The array with what is not free as it follows from what `arrays` hold: latents, and parameters if any."""
        v = self.variable
        assert v.distribution is not None
        part = replace(self.part, values={**self.part.values, **arrays})
        mean = split_leaves(v.distribution, part, lambda c, s: _moments(c, s, self.at.shape[1])[0])
        x = arrays[v.name].reshape(-1)[self.at]
        out = np.array(arrays[v.name], float)
        after = mean + (self.to @ (x - mean)[..., None])[..., 0]
        out.reshape(-1)[self.at] = np.where(self.free, x, after)  # what is free stays as it is, to the last digit
        return out


def charts(model: ModelText, scope: Scope, latents: Mapping[str, Array]) -> dict[str, Chart]:
    """The latents of which some row lacks noise somewhere, at the parameters of this scope."""
    out = {}
    for v in model.of_kind("latent"):
        if v.domain.kind != "real" or v.distribution is None or v.array or len(v.domain.dims) > 1:
            continue
        read = _read(v, model)
        if ("condition", "latent") in read:
            continue
        part = plate_rows(v.plates, replace(scope, values={**scope.values, **latents}))
        if not part.count:
            continue
        array = latents[v.name]
        at = element(v, np.arange(array.size).reshape(array.shape), part).reshape(part.count, -1)
        d = at.shape[1]
        cov = split_leaves(v.distribution, part, lambda c, s, d=d: _moments(c, s, d)[1])
        alike = {c.tobytes(): c for c in cov}  # rows of one covariance
        each = {k: _directions(c) for k, c in alike.items()}
        found = [each[c.tobytes()] for c in cov]
        free = np.array([f for f, _, _ in found])
        if not free.all():
            to, volume = np.array([t for _, t, _ in found]), np.array([w for *_, w in found])
            out[v.name] = Chart(v, part, at, free, to, volume, ("point", "param") in read)
    return out


def _read(v: Variable, model: ModelText) -> set[tuple[str, str]]:
    """The kinds of what conditions read, which say what part has no noise, and of what says where points are."""
    kinds = {u.name: u.kind for u in model.variables}
    pending, read = [v.distribution], set[tuple[str, str]]()
    while pending:
        match pending.pop():
            case Branch(cond, then, other):
                pending += [then, other]
                read |= {("condition", kinds.get(n, "")) for n in read_names(cond, model)}
            case FamilyCall() as call if (known := record(call.family)) is not None and known.atom:
                read |= {("point", kinds.get(n, "")) for _, e in call.args for n in read_names(e, model)}
    return read


def completed(
    found: Mapping[str, Chart], arrays: Mapping[str, Array], params: Mapping[str, Array] | None = None
) -> dict[str, Array]:
    """All latents, what is not free as it follows from what is, at the parameters of the charts or at others."""
    out = dict(arrays)
    for _ in range(2 + sum(len(c.at) for c in found.values())):
        moved = False
        for name, chart in found.items():
            after = chart.completed({**out, **(params or {})})
            moved = moved or not np.array_equal(after, out[name])
            out[name] = after
        if not moved:
            break
    return out


def _moments(call: FamilyCall, s: Scope, d: int) -> tuple[Array, Array]:
    """Mean (rows, D) and covariance (rows, D, D) of a point or of what may be singular; of others 0 and 1."""
    known = record(call.family)
    args = arguments(call, s)
    mean, cov = np.zeros((s.count, d)), np.broadcast_to(np.eye(d), (s.count, d, d))
    if known is not None and known.atom:
        value = args[call.args[0][0]][0]
        mean = np.broadcast_to(np.reshape(value, (len(value), -1)), (s.count, d))
        return mean, np.zeros((s.count, d, d))
    if known is not None and known.singular in args and not call.family.x.domain.structured:
        mean = np.broadcast_to(args["mean"][0], (s.count, d))
        cov = np.broadcast_to(args[known.singular][0], (s.count, d, d))
    return mean, cov


def _directions(cov: Array) -> tuple[Array, Array, float]:
    """Which numbers are free, what takes these to all, and the log volume of the support over theirs."""
    d, unit = len(cov), np.sqrt(np.maximum(cov.diagonal(), 0.0))
    unit = np.where(unit > 0, unit, 1.0)
    values, vectors = np.linalg.eigh(cov / np.outer(unit, unit))
    v, free, to = vectors[:, values > NONE], np.zeros(d, bool), np.zeros((d, d))
    rank = v.shape[1]
    if not rank:
        return free, to, 0.0
    free[linalg.qr(v.T, pivoting=True, mode="r")[1][:rank]] = True
    e = unit[:, None] * v
    to[:, free] = e @ np.linalg.inv(e[free])
    volume = np.log(np.abs(np.linalg.qr(e)[1].diagonal())).sum() - np.linalg.slogdet(e[free])[1]
    return free, to, float(volume)
